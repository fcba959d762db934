/* Draws from a random source that nobody seeded for this flight. */
#include <sys/random.h>

#include "teeth.h"

static int32_t step(fsw_io_t *io) {
  uint32_t word = 0;
  if (getrandom(&word, sizeof word, 0) != (ssize_t)sizeof word) return -1;
  ((fsw_baro_t *)io->out[0])->p_pa = (double)word;
  return 0;
}

TEETH_TASK("teeth.random", step)
