/* events.c - words of the coded events, from the table in events.h. */
#include <stddef.h>

#include "flightsw/events.h"

const char *fsw_event_text(uint32_t code)
{
  switch (code) {
#define FSW_X(code_, name, text) case code_: return text;
    FSW_EVENT_TABLE(FSW_X)
#undef FSW_X
    default: return NULL;
  }
}

const char *fsw_event_name(uint32_t code)
{
  switch (code) {
#define FSW_X(code_, name, text) case code_: return #name;
    FSW_EVENT_TABLE(FSW_X)
#undef FSW_X
    default: return NULL;
  }
}
