/* Any state, any command, any touchdown or none; times up to 290 years from the start. */
#include "flightsw/command.h"

#include "any.h"

int main(void)
{
  static fsw_command_t command;
  static fsw_touchdown_t touchdown;
  static fsw_permit_t permit;
  static fsw_permit_task_state_t state;
  fsw_permit_task_params_t params = { Frama_C_unsigned_int_interval(1u, 100000u) };
  fsw_topic_head_t head[2];
  ANY(command);
  ANY(touchdown);
  ANY(state);
  ANY(head);
  state.permit.t_armed_ns = Frama_C_long_long_interval(0, 9000000000000000000LL);
  const void *in[2] = { &command, Frama_C_nondet(0, 1) ? &touchdown : (void *)0 };
  const fsw_topic_head_t *in_head[2] = { &head[0], in[1] ? &head[1] : (fsw_topic_head_t *)0 };
  void *out[1] = { &permit };
  fsw_io_t io = { .in = in, .in_head = in_head, .out = out, .state = &state, .params = &params };
  ANY(io.tick);
  io.t_ns = Frama_C_long_long_interval(0, 9000000000000000000LL);
  fsw_task_gnc_permit.step(&io);
  fsw_task_gnc_permit.init(&state, &params);
  return 0;
}
