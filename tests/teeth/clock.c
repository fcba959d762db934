/* Reads the clock of the computer. */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include "teeth.h"

static int32_t step(fsw_io_t *io) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  ((fsw_baro_t *)io->out[0])->p_pa = (double)now.tv_nsec;
  return 0;
}

TEETH_TASK("teeth.clock", step)
