/* Any memory of the receiver, any key, any bytes of any length up to 64, any time. */
#include "flightsw/command.h"

#include "any.h"

int main(void)
{
  static uint8_t bytes[64];
  fsw_command_key_t key;
  fsw_command_receiver_t r;
  fsw_command_t command;
  ANY(bytes);
  ANY(key);
  ANY(r);
  int64_t t_ns = Frama_C_long_long_interval(-9223372036854775807LL - 1, 9223372036854775807LL);
  fsw_command_open(&key, bytes, UP_TO(sizeof bytes), &r, t_ns, &command);
  ANY(command);
  fsw_command_pack(&command, bytes);
  return 0;
}
