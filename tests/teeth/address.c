/* Lets an address into its result: memory is laid out anew in each process. */
#include <stdlib.h>

#include "teeth.h"

static int32_t step(fsw_io_t *io) {
  void *block = malloc(64);
  ((fsw_baro_t *)io->out[0])->p_pa = (double)((uintptr_t)block >> 12);
  free(block);
  return 0;
}

TEETH_TASK("teeth.address", step)
