/* The same without any call that a check could see: the address of its own state of the world. */
#include "teeth.h"

static int32_t step(fsw_io_t *io) {
  ((fsw_baro_t *)io->out[0])->p_pa = (double)((uintptr_t)io->out[0] >> 12);
  return 0;
}

TEETH_TASK("teeth.own_address", step)
