/* Any state, any messages of any size up to the largest, any string missing, late or not bound. The step keeps out_mask within its bits. */
#include "flightsw/messages.h"
#include "flightsw/vote.h"

#include "any.h"

int main(void)
{
  static uint8_t message[FSW_STRINGS][FSW_MAX_MESSAGE], out[FSW_MAX_MESSAGE];
  fsw_topic_head_t head[FSW_STRINGS];
  const void *in[FSW_STRINGS];
  const fsw_topic_head_t *in_head[FSW_STRINGS];
  fsw_vote_t vote;
  fsw_vote_state_t state;
  ANY(message);
  ANY(head);
  ANY(state);
  for (int k = 0; k < FSW_STRINGS; k++) {
    in[k] = Frama_C_nondet(0, 1) ? message[k] : (const void *)0;
    in_head[k] = in[k] ? &head[k] : (const fsw_topic_head_t *)0;
  }
  void *outs[2] = { out, &vote };
  fsw_vote_params_t params = { Frama_C_unsigned_int_interval(1u, FSW_MAX_MESSAGE), Frama_C_unsigned_int_interval(1u, 1000000u) };
  fsw_io_t io = { .in = in, .in_head = in_head, .out = outs, .state = &state, .params = &params };
  ANY(io.tick);
  ANY(io.t_ns);
  io.publish = ANY_U32();
  fsw_vote_step(&io);
  return 0;
}
