/* A message of one's own: the same rules as flightsw/messages.h. */
#ifndef EXAMPLE_MESSAGES_H
#define EXAMPLE_MESSAGES_H
#include <stdint.h>
/* cffi: begin */
typedef struct { /* what the gauge says */
  double propellant_kg;   /* kg, left */
  double burn_time_s;     /* s, at the present flow; 0 with engines off */
  uint32_t updates;
  uint8_t low;            /* 1: below the reserve */
  uint8_t pad0[3];
} propellant_gauge_t;

typedef struct { /* what the advisor thinks of it */
  double reserve_s;       /* s, burn time left beyond the time to touchdown */
  uint8_t go;             /* 1: enough */
  uint8_t pad0[7];
} propellant_advice_t;
/* cffi: end */
#endif
