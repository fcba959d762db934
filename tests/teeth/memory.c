/* Keeps a variable of its own, which no snapshot brings back. */
#include "teeth.h"

static uint32_t steps_so_far;

static int32_t step(fsw_io_t *io) {
  ((fsw_baro_t *)io->out[0])->p_pa = (double)++steps_so_far;
  return 0;
}

TEETH_TASK("teeth.memory", step)
