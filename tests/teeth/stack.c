/* Uses a byte of its stack that it never wrote: the mistake of a struct of which one member was forgotten. */
#include "teeth.h"

typedef struct {
  double gain[40];
  uint8_t flags[8];
} scratch_t;

static void prepare(scratch_t *s, double x) {
  for (int k = 0; k < 39; k++) s->gain[k] = x + k; /* one short of all */
  for (int k = 0; k < 7; k++) s->flags[k] = 1;
}

static int32_t step(fsw_io_t *io) {
  scratch_t s;
  scratch_t *volatile p = &s; /* the compiler must not see that it is undefined */
  prepare(p, ((const fsw_radalt_t *)io->in[0])->range_m);
  ((fsw_baro_t *)io->out[0])->p_pa = 1000.0 + p->flags[7];
  return 0;
}

TEETH_TASK("teeth.stack", step)
