/* What the bad tasks of this folder have in common: each writes a barometer message whose pressure comes from where it must not. */
#include <stdint.h>

#include "flightsw/messages.h"
#include "flightsw/task.h"

#define TEETH_TASK(nm, step) \
  static const fsw_port_t reads[] = {FSW_READ("radalt", fsw_radalt_t)}; \
  static const fsw_port_t writes[] = {FSW_WRITE("tooth", fsw_baro_t)}; \
  static const fsw_task_desc_t tooth = {.name = nm, .doc = "Bad.", .step = step, .reads = reads, .writes = writes, .n_reads = 1, \
    .n_writes = 1}; \
  const fsw_task_desc_t *const *fsw_plugin_tasks(uint32_t *n); \
  const fsw_task_desc_t *const *fsw_plugin_tasks(uint32_t *n) { \
    static const fsw_task_desc_t *const table[] = {&tooth}; \
    *n = 1; \
    return table; \
  }
