/* command.c - the permit that commands give. Manual: flightsw/command.h. */
#include "flightsw/command.h"

/* ns from `from` to `to`; a clock that goes back gives a very long time, which ends a token. */
static uint64_t elapsed(int64_t from, int64_t to) { return (uint64_t)to - (uint64_t)from; }

/* Each step can be undone, so two states that differ in one field have different words. */
static uint64_t check_word(const fsw_permit_state_t *s)
{
  uint64_t pad = 0;
  for (uint32_t i = 0; i < sizeof s->pad0; i++) pad = pad << 8 | s->pad0[i];
  const uint64_t field[6] = { s->counter, s->done, s->token, (uint64_t)s->t_armed_ns, (uint64_t)s->accepted << 32 | s->refused,
                              (uint64_t)s->reason << 8 | s->state | pad << 16 };
  uint64_t h = 0x9e3779b97f4a7c15u;
  for (uint32_t i = 0; i < 6; i++) {
    h = (h ^ field[i]) * 0xff51afd7ed558ccdu;
    h ^= h >> 32;
  }
  return h;
}

static void leave(fsw_permit_state_t *s, uint8_t state)
{
  s->state = state;
  s->token = 0;
  s->t_armed_ns = 0;
}

void fsw_permit_init(fsw_permit_state_t *s)
{
  *s = (fsw_permit_state_t){ .state = FSW_PERMIT_SAFE };
  s->check = check_word(s);
}

/* Has what was permitted come to its end without a command? */
static int32_t over(const fsw_permit_state_t *s, int64_t t_ns, int32_t landed)
{
  if (s->state == FSW_PERMIT_ARMED) return landed || elapsed(s->t_armed_ns, t_ns) >= FSW_PERMIT_TOKEN_NS;
  return s->state == FSW_PERMIT_FIRE && landed;
}

static uint32_t arm(fsw_permit_state_t *s, const fsw_command_t *c, int64_t t_ns, int32_t landed)
{
  if (s->state == FSW_PERMIT_FIRE || s->state == FSW_PERMIT_ABORT) return FSW_COMMAND_REFUSED_STATE;
  if (landed) return FSW_COMMAND_REFUSED_LANDED;
  if (c->token == 0) return FSW_COMMAND_REFUSED_TOKEN;
  s->state = FSW_PERMIT_ARMED;
  s->token = c->token;
  s->t_armed_ns = t_ns;
  return FSW_COMMAND_ACCEPTED;
}

static uint32_t fire(fsw_permit_state_t *s, const fsw_command_t *c, int64_t t_ns)
{
  uint32_t reason = FSW_COMMAND_ACCEPTED;
  if (s->state != FSW_PERMIT_ARMED) return FSW_COMMAND_REFUSED_STATE;
  if (t_ns == s->t_armed_ns) reason = FSW_COMMAND_REFUSED_SAME_TICK;
  else if (c->token != s->token) reason = FSW_COMMAND_REFUSED_TOKEN;
  leave(s, reason == FSW_COMMAND_ACCEPTED ? FSW_PERMIT_FIRE : FSW_PERMIT_SAFE);
  return reason;
}

static uint32_t act(fsw_permit_state_t *s, const fsw_command_t *c, int64_t t_ns, int32_t landed)
{
  if (c->counter <= s->counter) return FSW_COMMAND_REFUSED_COUNTER;
  s->counter = c->counter;
  switch (c->id) {
    case FSW_COMMAND_ABORT: leave(s, FSW_PERMIT_ABORT); return FSW_COMMAND_ACCEPTED;
    case FSW_COMMAND_DISARM:
      if (s->state == FSW_PERMIT_ABORT) return FSW_COMMAND_REFUSED_STATE;
      leave(s, FSW_PERMIT_SAFE);
      return FSW_COMMAND_ACCEPTED;
    case FSW_COMMAND_ARM: return arm(s, c, t_ns, landed);
    case FSW_COMMAND_FIRE: return fire(s, c, t_ns);
    default: return FSW_COMMAND_REFUSED_FORM;
  }
}

void fsw_permit_step(fsw_permit_state_t *s, const fsw_command_t *command, int64_t t_ns, int32_t landed)
{
  /* A counter that may be wrong is forgotten, or an ABORT could be refused for it; the receiver has its own. */
  if (s->check != check_word(s)) fsw_permit_init(s);
  if (over(s, t_ns, landed)) leave(s, FSW_PERMIT_SAFE);
  if (command != NULL) {
    uint32_t reason = act(s, command, t_ns, landed);
    if (reason == FSW_COMMAND_ACCEPTED) {
      s->accepted++;
      s->done = command->counter;
    } else {
      s->refused++;
      s->reason = (uint8_t)reason;
    }
  }
  s->check = check_word(s);
}
