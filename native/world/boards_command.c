/* boards_command.c - ground range and command receiver of a bench. Manual: flightsw/command_boards.h. */
#include <stdbool.h>

#include "flightsw/command_boards.h"
#include "flightsw/math.h"

static void take_key(fsw_command_key_t *key, const uint8_t *bytes, uint32_t size) {
  __builtin_memcpy(key->bytes, bytes, sizeof key->bytes);
  key->size = size;
}

/* ---- receiver -------------------------------------------------------------------------------------------------------------- */

static void receiver_init(void *state, const void *params) {
  fsw_board_receiver_state_t *s = state;
  const fsw_board_receiver_params_t *p = params;
  take_key(&s->key, p->command_key, p->command_key_size);
  s->receiver.counter = p->last_counter;
}

static int32_t receiver_step(fsw_io_t *io) {
  fsw_board_receiver_state_t *s = io->state;
  fsw_permit_t *status = io->out[1];
  uint8_t bytes[FSW_COMMAND_BYTES];
  io->publish = 0;
  if (io->in_head[0]->seq == s->command_seq) return 0;
  s->command_seq = io->in_head[0]->seq;
  fsw_command_pack(io->in[0], bytes); /* what a radio would have delivered */
  if (fsw_command_open(&s->key, bytes, sizeof bytes, &s->receiver, io->t_ns, io->out[0]) == FSW_COMMAND_ACCEPTED) io->publish = 1;
  if (status == NULL) return 0;
  *status = (fsw_permit_t){ .t_ns = io->t_ns, .counter = s->receiver.counter, .accepted = s->receiver.accepted,
                            .refused = s->receiver.refused, .reason = s->receiver.reason };
  io->publish |= 2u;
  return 0;
}

static const fsw_port_t receiver_reads[] = { FSW_READ("command", fsw_command_t) };
static const fsw_port_t receiver_writes[] = { FSW_WRITE("accepted", fsw_command_t), FSW_WRITE_OPT("status", fsw_permit_t) };
FSW_TASK(fsw_task_board_receiver, "board.receiver", receiver_step, receiver_init, fsw_board_receiver_state_t, fsw_board_receiver_params_t,
         receiver_reads, receiver_writes, "Command receiver: has the key, passes on only commands that are authentic and new.");

/* ---- ground range ---------------------------------------------------------------------------------------------------------- */

enum { SAY_ABORT, SAY_DISARM, SAY_ARM, SAY_FIRE, SAY_REPLAY, SAY_FLIP, SAY_FORGE, SAY_COUNT };
static const uint16_t id_of[SAY_COUNT] = { FSW_COMMAND_ABORT, FSW_COMMAND_DISARM, FSW_COMMAND_ARM, FSW_COMMAND_FIRE, 0, FSW_COMMAND_ABORT,
                                           FSW_COMMAND_ABORT };

static void range_init(void *state, const void *params) {
  fsw_bench_range_state_t *s = state;
  const fsw_bench_range_params_t *p = params;
  take_key(&s->key, p->command_key, p->command_key_size);
  s->counter = p->first_counter - 1u;
}

/* The open token as the vehicle tells it, 0 when there is none. */
static uint64_t token_told(const fsw_io_t *io) {
  const fsw_permit_t *permit = io->in[0];
  return permit != NULL && permit->state == FSW_PERMIT_ARMED ? permit->token : 0;
}

static bool due(const fsw_bench_range_state_t *s, const fsw_io_t *io, uint32_t k, double at_s) {
  if (at_s < 0.0 || (s->sent >> k & 1u) || io->t_ns < fsw_floor_i64(at_s * 1e9 + 0.5)) return false;
  if (k == SAY_FIRE) return token_told(io) != 0;
  return k != SAY_REPLAY || s->last.id != 0;
}

/* First entry of the script that is due; SAY_COUNT when there is none. One command per tick: the others wait. */
static uint32_t next_entry(const fsw_bench_range_state_t *s, const fsw_bench_range_params_t *p, const fsw_io_t *io) {
  const double at_s[SAY_COUNT] = { p->abort_s, p->disarm_s, p->arm_s, p->fire_s, p->replay_s, p->flip_s, p->forge_s };
  uint32_t k = 0;
  while (k < SAY_COUNT && !due(s, io, k, at_s[k])) k++;
  return k;
}

static void say(fsw_bench_range_state_t *s, const fsw_bench_range_params_t *p, uint32_t k, uint64_t token, fsw_command_t *out) {
  uint8_t bytes[FSW_COMMAND_BYTES];
  fsw_command_key_t key = s->key;
  if (k == SAY_FORGE) key.bytes[0] ^= 1u;
  *out = (fsw_command_t){ .counter = ++s->counter, .token = k == SAY_FIRE ? token : 0, .id = id_of[k], .source = p->source };
  fsw_command_pack(out, bytes);
  fsw_command_tag(&key, bytes, bytes + FSW_COMMAND_SIGNED);
  if (k == SAY_FLIP) bytes[p->flip_bit / 8u % FSW_COMMAND_BYTES] ^= (uint8_t)(1u << p->flip_bit % 8u);
  fsw_command_unpack(bytes, out);
}

static int32_t range_step(fsw_io_t *io) {
  fsw_bench_range_state_t *s = io->state;
  const fsw_bench_range_params_t *p = io->params;
  uint32_t k = next_entry(s, p, io);
  io->publish = 0;
  if (k == SAY_COUNT) return 0;
  s->sent |= 1u << k;
  if (k == SAY_REPLAY) *(fsw_command_t *)io->out[0] = s->last;
  else say(s, p, k, token_told(io), io->out[0]);
  s->last = *(const fsw_command_t *)io->out[0];
  io->publish = 1;
  return 0;
}

static const fsw_port_t range_reads[] = { FSW_READ_OPT("permit", fsw_permit_t) };
static const fsw_port_t range_writes[] = { FSW_WRITE("command", fsw_command_t) };
FSW_TASK(fsw_task_bench_range, "bench.range", range_step, range_init, fsw_bench_range_state_t, fsw_bench_range_params_t, range_reads,
         range_writes, "Ground range: gives commands by a script, and can be made to misbehave.");
