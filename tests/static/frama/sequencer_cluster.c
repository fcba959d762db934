/* Any parameters within their ranges (any_params, made from sequencer.h); the choice for any masks, any sets, any wish. */
#include "any_params.h"

int main(void)
{
  static fsw_sequencer_params_t p;
  static fsw_sequencer_state_t s;
  any_params(&p);
  fsw_seq_cluster_init(&s, &p);
  //@ assert s.n_sets <= FSW_SEQ_MAX_SETS;
  ANY(s.sets);
  ANY(s.lone_mask);
  ANY(s.short_steps);
  ANY(s.wait_steps);
  s.n_sets = UP_TO(FSW_SEQ_MAX_SETS);
  fsw_seq_choose(&s, ANY_U32(), ANY_U32(), ANY_U32(), ANY_U32());
  return 0;
}
