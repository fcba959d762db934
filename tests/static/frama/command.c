/* Any state, any command or none, any time. */
#include "flightsw/command.h"

#include "any.h"

int main(void)
{
  fsw_command_t command;
  fsw_permit_state_t permit;
  ANY(permit);
  ANY(command);
  int64_t t_ns = Frama_C_long_long_interval(-9223372036854775807LL - 1, 9223372036854775807LL);
  fsw_permit_step(&permit, Frama_C_nondet(0, 1) ? &command : (fsw_command_t *)0, t_ns, Frama_C_interval(0, 1));
  fsw_permit_init(&permit);
  return 0;
}
