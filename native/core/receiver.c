/* receiver.c - commands that are authentic and new. Manual: flightsw/command.h. */
#include "flightsw/command.h"

#include "flightsw/blake2s.h"

#define TOKEN_TEXT 17u /* bytes of token_says, its closing zero included */

static const uint8_t token_says[TOKEN_TEXT] = "flightsw token 1"; /* keeps tokens apart from every other use of the key */

static void put(uint8_t *out, uint64_t value, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) out[i] = (uint8_t)(value >> 8u * i);
}

static uint64_t get(const uint8_t *bytes, uint32_t n) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < n; i++) value |= (uint64_t)bytes[i] << 8u * i;
  return value;
}

/* ns from `from` to `to`; a clock that goes back gives a very long time, after which nothing counts. */
static uint64_t elapsed(int64_t from, int64_t to) { return (uint64_t)to - (uint64_t)from; }

void fsw_command_pack(const fsw_command_t *command, uint8_t *out) {
  put(out, command->counter, 8);
  put(out + 8, command->token, 8);
  put(out + 16, command->id, 2);
  put(out + 18, command->source, 2);
  __builtin_memcpy(out + 20, command->pad0, sizeof command->pad0);
  __builtin_memcpy(out + FSW_COMMAND_SIGNED, command->tag, FSW_COMMAND_TAG);
}

void fsw_command_unpack(const uint8_t *bytes, fsw_command_t *out) {
  out->counter = get(bytes, 8);
  out->token = get(bytes + 8, 8);
  out->id = (uint16_t)get(bytes + 16, 2);
  out->source = (uint16_t)get(bytes + 18, 2);
  __builtin_memcpy(out->pad0, bytes + 20, sizeof out->pad0);
  __builtin_memcpy(out->tag, bytes + FSW_COMMAND_SIGNED, FSW_COMMAND_TAG);
}

int32_t fsw_command_key_usable(const fsw_command_key_t *key) {
  return key->size >= FSW_COMMAND_KEY_MIN && key->size <= FSW_COMMAND_KEY_MAX;
}

void fsw_command_tag(const fsw_command_key_t *key, const uint8_t *bytes, uint8_t *tag) {
  (void)fsw_blake2s(key->bytes, key->size, bytes, FSW_COMMAND_SIGNED, tag, FSW_COMMAND_TAG);
}

uint64_t fsw_command_token(const fsw_command_key_t *key, uint64_t counter) {
  uint8_t said[TOKEN_TEXT + 8u], out[8];
  __builtin_memcpy(said, token_says, TOKEN_TEXT);
  put(said + TOKEN_TEXT, counter, 8);
  (void)fsw_blake2s(key->bytes, key->size, said, sizeof said, out, sizeof out);
  uint64_t token = get(out, 8);
  return token + (token == 0); /* 0 stands for none */
}

/* ---- the receiver ------------------------------------------------------------------------------------------------------- */

static int32_t muted(fsw_command_receiver_t *r, int64_t t_ns) {
  if (r->muted && elapsed(r->t_mute_ns, t_ns) < FSW_COMMAND_MUTE_NS) return 1;
  r->muted = 0;
  return 0;
}

static void note_wrong(fsw_command_receiver_t *r, int64_t t_ns) {
  r->t_wrong_ns[r->next % FSW_COMMAND_WRONG_MAX] = t_ns;
  r->next = (uint8_t)((r->next + 1u) % FSW_COMMAND_WRONG_MAX);
  if (r->next == 0) r->full = 1;
  if (!r->full || elapsed(r->t_wrong_ns[r->next], t_ns) >= FSW_COMMAND_MUTE_NS) return;
  r->muted = 1;
  r->t_mute_ns = t_ns;
}

/* Does whoever sent these bytes have the key? */
static uint32_t authentic(const fsw_command_key_t *key, const uint8_t *bytes, size_t n, fsw_command_receiver_t *r, int64_t t_ns) {
  uint8_t tag[FSW_COMMAND_TAG];
  if (!fsw_command_key_usable(key)) return FSW_COMMAND_REFUSED_KEY;
  if (muted(r, t_ns)) return FSW_COMMAND_REFUSED_MUTED;
  if (n != FSW_COMMAND_BYTES) return FSW_COMMAND_REFUSED_LENGTH;
  fsw_command_tag(key, bytes, tag);
  if (fsw_same_secret(tag, bytes + FSW_COMMAND_SIGNED, FSW_COMMAND_TAG)) return FSW_COMMAND_ACCEPTED;
  note_wrong(r, t_ns);
  return FSW_COMMAND_REFUSED_TAG;
}

static int32_t well_formed(const fsw_command_t *c) {
  if (c->id < FSW_COMMAND_DISARM || c->id > FSW_COMMAND_ABORT) return 0;
  if (get(c->pad0, sizeof c->pad0) != 0) return 0;
  return (c->id == FSW_COMMAND_FIRE) == (c->token != 0);
}

/* An authentic command, for the first time? Its counter is kept before anything is done with it. */
static uint32_t fresh(fsw_command_receiver_t *r, const fsw_command_t *c) {
  if (c->counter <= r->counter) return FSW_COMMAND_REFUSED_COUNTER;
  r->counter = c->counter;
  return well_formed(c) ? FSW_COMMAND_ACCEPTED : FSW_COMMAND_REFUSED_FORM;
}

uint32_t fsw_command_open(const fsw_command_key_t *key, const uint8_t *bytes, size_t n, fsw_command_receiver_t *r, int64_t t_ns,
                          fsw_command_t *out) {
  fsw_command_t c;
  uint32_t reason = authentic(key, bytes, n, r, t_ns);
  if (reason == FSW_COMMAND_ACCEPTED) {
    fsw_command_unpack(bytes, &c);
    reason = fresh(r, &c);
  }
  if (reason != FSW_COMMAND_ACCEPTED) {
    r->refused++;
    r->reason = (uint8_t)reason;
    return reason;
  }
  r->accepted++;
  if (c.id == FSW_COMMAND_ARM) c.token = fsw_command_token(key, c.counter);
  __builtin_memset(c.tag, 0, sizeof c.tag); /* whoever comes later has no use for it */
  *out = c;
  return reason;
}
