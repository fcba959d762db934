/* test_command_permit.c - the permit that commands give, and the tasks from range to permit.
 *
 * Every state of the permit, each age of a token to the millisecond, under every command; every order of five commands; single bit flips of its
 * state; the chain of tasks. Prints what was enumerated; exits non-zero on failure. */
#include <stdio.h>
#include <string.h>

#include "flightsw/command_boards.h"

#define MS 1000000
#define T_TICKS (FSW_PERMIT_TOKEN_NS / MS)

static int failures;
#define CHECK(cond) \
  do { \
    if (!(cond)) { \
      if (failures++ < 30) fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
    } \
  } while (0)

static fsw_command_key_t test_key(void) {
  fsw_command_key_t key = { .size = 32 };
  for (uint32_t i = 0; i < 32; i++) key.bytes[i] = (uint8_t)i;
  return key;
}

/* ---- every state, every age of a token, every command --------------------------------------------------------------- */

/* A state of the permit is its FSW_PERMIT_* and, when ARMED, the age of the token in ticks of 1 ms; counters and tokens are only compared, so
 * one of each order stands for all. Breadth first from power-up: `reached` marks what has been found. */
enum { TOKEN_RIGHT, TOKEN_WRONG, TOKEN_NONE, TOKEN_USED, TOKENS };
enum { COUNTER_NEXT, COUNTER_SAME, COUNTER_BEHIND, COUNTERS };
#define TOKEN_NOW 0xa1a2a3a4a5a6a7a8u
#define TOKEN_OLD 0xb1b2b3b4b5b6b7b8u
#define TOKEN_OTHER 0xc1c2c3c4c5c6c7c8u
#define BASE_NS ((int64_t)50 * 1000 * MS)
#define IDS 7 /* none, the four, two unknown ones */
#define NO_COMMAND 0xffff
static const uint16_t ids[IDS] = { NO_COMMAND, FSW_COMMAND_DISARM, FSW_COMMAND_ARM, FSW_COMMAND_FIRE, FSW_COMMAND_ABORT, 0, 5 };

typedef struct { uint32_t id, token, counter, landed; int64_t ticks; } input_t;
typedef struct { uint64_t steps, to_fire, flips; } census_t;

/* A state of the class, made as the real thing makes it: by commands. t_ns: of its last tick. */
static fsw_permit_state_t state_of(uint32_t state, int64_t age, int64_t *t_ns) {
  fsw_permit_state_t s;
  fsw_command_t c = { .counter = 10, .id = FSW_COMMAND_ARM, .token = TOKEN_OLD };
  *t_ns = BASE_NS;
  fsw_permit_init(&s);
  fsw_permit_step(&s, &c, *t_ns, 0);
  c = (fsw_command_t){ .counter = 11, .id = FSW_COMMAND_DISARM };
  fsw_permit_step(&s, &c, *t_ns, 0);
  if (state == FSW_PERMIT_SAFE) return s;
  c = (fsw_command_t){ .counter = 12, .id = FSW_COMMAND_ARM, .token = TOKEN_NOW };
  fsw_permit_step(&s, &c, *t_ns, 0);
  *t_ns += age * MS;
  if (state == FSW_PERMIT_ARMED) {
    fsw_permit_step(&s, NULL, *t_ns, 0);
    return s;
  }
  *t_ns += MS;
  c = (fsw_command_t){ .counter = 13, .id = state == FSW_PERMIT_FIRE ? FSW_COMMAND_FIRE : FSW_COMMAND_ABORT, .token = TOKEN_NOW };
  fsw_permit_step(&s, &c, *t_ns, 0);
  return s;
}

static uint64_t token_of(uint32_t which, uint32_t state) {
  if (which == TOKEN_NONE) return 0;
  if (which == TOKEN_USED) return state == FSW_PERMIT_FIRE || state == FSW_PERMIT_ABORT ? TOKEN_NOW : TOKEN_OLD;
  return which == TOKEN_RIGHT ? TOKEN_NOW : TOKEN_OTHER;
}

/* What must hold of one step, said without the code of the step. age: of the token after the time of this step. */
static void must_hold(const fsw_permit_state_t *from, const fsw_permit_state_t *to, const input_t *in, const fsw_command_t *c, int64_t age) {
  uint32_t given = in->id != 0, id = given ? ids[in->id] : NO_COMMAND, fresh = in->counter == COUNTER_NEXT && given;
  CHECK((to->token != 0) == (to->state == FSW_PERMIT_ARMED));
  CHECK((to->t_armed_ns != 0) == (to->state == FSW_PERMIT_ARMED));
  uint32_t open = from->state == FSW_PERMIT_ARMED && age > 0 && age < T_TICKS && !in->landed;
  uint32_t may_fire = open && id == FSW_COMMAND_FIRE && fresh && c->token == from->token;
  if (from->state != FSW_PERMIT_FIRE) CHECK((to->state == FSW_PERMIT_FIRE) == may_fire);
  if (to->state == FSW_PERMIT_ARMED && to->token != from->token) CHECK(id == FSW_COMMAND_ARM && fresh && to->token == c->token);
  if (id == FSW_COMMAND_ARM && fresh && c->token && !in->landed && (from->state == FSW_PERMIT_SAFE || from->state == FSW_PERMIT_ARMED))
    CHECK(to->state == FSW_PERMIT_ARMED && to->token == c->token);
  if (id == FSW_COMMAND_ARM && from->state == FSW_PERMIT_FIRE && !in->landed)
    CHECK(to->state == FSW_PERMIT_FIRE && to->accepted == from->accepted);
  if (id == FSW_COMMAND_FIRE) CHECK(to->state != FSW_PERMIT_ARMED || !fresh); /* a FIRE always ends the token */
  if (id == FSW_COMMAND_ABORT && fresh) CHECK(to->state == FSW_PERMIT_ABORT && to->accepted == from->accepted + 1);
  if (from->state == FSW_PERMIT_ABORT) CHECK(to->state == FSW_PERMIT_ABORT);
  if (id == FSW_COMMAND_DISARM && fresh && from->state != FSW_PERMIT_ABORT) CHECK(to->state == FSW_PERMIT_SAFE);
  if (in->landed) CHECK(to->state != FSW_PERMIT_ARMED && to->state != FSW_PERMIT_FIRE);
  if (from->state == FSW_PERMIT_ARMED && age >= T_TICKS) CHECK(to->token != from->token);
  uint32_t ends = id == FSW_COMMAND_DISARM || id == FSW_COMMAND_ABORT;
  if (from->state == FSW_PERMIT_FIRE && !in->landed && (!fresh || !ends))
    CHECK(to->state == FSW_PERMIT_FIRE); /* latched */
  CHECK(to->counter >= from->counter && to->done >= from->done && to->done <= to->counter);
  if (given && !fresh) CHECK(to->accepted == from->accepted && to->refused == from->refused + 1 && to->reason == FSW_COMMAND_REFUSED_COUNTER);
  CHECK(to->accepted + to->refused == from->accepted + from->refused + given);
  if (!given) CHECK(to->counter == from->counter);
  if (given && (id < FSW_COMMAND_DISARM || id > FSW_COMMAND_ABORT)) CHECK(to->accepted == from->accepted);
}

static void every_input(uint32_t state, int64_t age, uint8_t *reached, census_t *n) {
  static const int64_t ticks[] = { 0, 1, T_TICKS }; /* the same tick, the next one, and a long silence */
  int64_t t_ns;
  fsw_permit_state_t from = state_of(state, age, &t_ns);
  CHECK(from.state == state && (state != FSW_PERMIT_ARMED || from.t_armed_ns == t_ns - age * MS));
  for (uint32_t k = 0; k < IDS * TOKENS * COUNTERS * 2 * 3; k++) {
    uint32_t rest = k / IDS / TOKENS / COUNTERS;
    input_t in = { k % IDS, k / IDS % TOKENS, k / IDS / TOKENS % COUNTERS, rest % 2, ticks[rest / 2] };
    fsw_command_t c = { .counter = from.counter + (in.counter == COUNTER_NEXT) - (in.counter == COUNTER_BEHIND), .id = ids[in.id],
                        .token = token_of(in.token, state) };
    if (c.id == FSW_COMMAND_ARM && c.token) c.token = TOKEN_OTHER; /* the receiver never issues one twice */
    fsw_permit_state_t to = from;
    fsw_permit_step(&to, in.id == 0 ? NULL : &c, t_ns + in.ticks * MS, (int32_t)in.landed);
    must_hold(&from, &to, &in, &c, age + in.ticks);
    n->steps++;
    n->to_fire += to.state == FSW_PERMIT_FIRE && state != FSW_PERMIT_FIRE;
    int64_t new_age = to.state == FSW_PERMIT_ARMED ? (t_ns + in.ticks * MS - to.t_armed_ns) / MS : 0;
    CHECK(new_age < T_TICKS);
    if (to.state < 4 && new_age < T_TICKS) reached[to.state * T_TICKS + new_age] |= 1;
  }
}

/* Any bit of a state flipped: it does not permit more than before, and it holds no token. */
static void every_flip(uint32_t state, int64_t age, census_t *n) {
  int64_t t_ns;
  fsw_permit_state_t whole = state_of(state, age, &t_ns);
  for (uint32_t bit = 0; bit < 8 * sizeof whole; bit++) {
    fsw_permit_state_t s = whole;
    fsw_command_t fire = { .counter = UINT64_MAX, .id = FSW_COMMAND_FIRE, .token = TOKEN_NOW };
    ((uint8_t *)&s)[bit / 8u] ^= (uint8_t)(1u << bit % 8u);
    fsw_permit_step(&s, NULL, t_ns + MS, 0);
    CHECK(s.state == FSW_PERMIT_SAFE && s.token == 0);
    fsw_permit_step(&s, &fire, t_ns + 2 * MS, 0);
    CHECK(s.state == FSW_PERMIT_SAFE);
    n->flips++;
  }
}

static void test_every_state(void) {
  static uint8_t reached[4 * T_TICKS]; /* 1: reached, 2: done */
  census_t n = { 0 };
  uint32_t states = 0, left = 1;
  reached[FSW_PERMIT_SAFE * T_TICKS] = 1;
  while (left) {
    left = 0;
    for (uint32_t k = 0; k < 4 * T_TICKS; k++) {
      if (reached[k] != 1) continue;
      every_input(k / T_TICKS, k % T_TICKS, reached, &n);
      if (k % 97 == 0 || k % T_TICKS == 0) every_flip(k / T_TICKS, k % T_TICKS, &n);
      reached[k] = 3;
      states++;
      left++;
    }
  }
  CHECK(states == T_TICKS + 3 && n.to_fire > 0);
  printf("permit: %u states reached, %llu steps, %llu of them to FIRE; %llu flipped bits, none permits\n", states, (unsigned long long)n.steps,
         (unsigned long long)n.to_fire, (unsigned long long)n.flips);
}

/* Every order of commands up to a depth, with a record of what was said: one FIRE for one ARM, never in its tick, never after its time. */
typedef struct { fsw_permit_state_t s; int64_t t_ns, armed_ns; uint64_t open, used[6]; uint32_t n_used; } told_t;

static uint64_t orders;
static void every_order(const told_t *from, uint32_t depth) {
  static const int64_t ticks[] = { 0, 1, T_TICKS - 1 };
  for (uint32_t k = 0; k < 3 * 6; k++) {
    static const uint16_t said[6] = { FSW_COMMAND_ARM, FSW_COMMAND_FIRE, FSW_COMMAND_FIRE, FSW_COMMAND_DISARM, FSW_COMMAND_ABORT, 0 };
    told_t n = *from;
    uint64_t last = n.n_used ? n.used[n.n_used - 1] : 0xdead;
    fsw_command_t c = { .counter = n.s.counter + 1, .id = said[k % 6] };
    c.token = k % 6 == 0 ? 0x100 + c.counter : k % 6 == 1 ? n.open : k % 6 == 2 ? last : 0;
    n.t_ns += ticks[k / 6] * MS;
    int was = n.s.state;
    fsw_permit_step(&n.s, c.id ? &c : NULL, n.t_ns, 0);
    orders++;
    if (n.s.state == FSW_PERMIT_FIRE && was != FSW_PERMIT_FIRE) {
      CHECK(n.open != 0 && c.token == n.open && n.t_ns > n.armed_ns && n.t_ns - n.armed_ns < FSW_PERMIT_TOKEN_NS);
      for (uint32_t u = 0; u < n.n_used; u++) CHECK(n.used[u] != c.token);
      n.used[n.n_used++] = c.token;
      n.open = 0;
    }
    if (c.id == FSW_COMMAND_ARM && n.s.state == FSW_PERMIT_ARMED && n.s.token == c.token) n.open = c.token, n.armed_ns = n.t_ns;
    if (depth > 1) every_order(&n, depth - 1);
  }
}

static void test_orders(void) {
  told_t begin = { .t_ns = BASE_NS };
  fsw_permit_init(&begin.s);
  every_order(&begin, 5);
  printf("permit: %llu steps in every order of five commands\n", (unsigned long long)orders);
}

static void test_permit_edges(void) {
  fsw_permit_state_t s;
  fsw_command_t c = { .counter = 1, .id = FSW_COMMAND_ARM, .token = 5 };
  fsw_permit_init(&s);
  fsw_permit_step(&s, &c, 1000, 1);
  CHECK(s.state == FSW_PERMIT_SAFE && s.reason == FSW_COMMAND_REFUSED_LANDED && s.counter == 1 && s.done == 0);
  c.counter = 2, c.token = 0;
  fsw_permit_step(&s, &c, 1000, 0);
  CHECK(s.state == FSW_PERMIT_SAFE && s.reason == FSW_COMMAND_REFUSED_TOKEN);
  c.counter = 3, c.token = 5;
  fsw_permit_step(&s, &c, 1000, 0);
  CHECK(s.state == FSW_PERMIT_ARMED && s.done == 3);
  c = (fsw_command_t){ .counter = 4, .id = FSW_COMMAND_FIRE, .token = 5 };
  fsw_permit_step(&s, &c, 1000, 0);
  CHECK(s.state == FSW_PERMIT_SAFE && s.reason == FSW_COMMAND_REFUSED_SAME_TICK);
  c = (fsw_command_t){ .counter = 5, .id = FSW_COMMAND_ARM, .token = 6 };
  fsw_permit_step(&s, &c, 2000, 0);
  fsw_permit_step(&s, NULL, 1999, 0); /* a clock that goes back ends the token */
  CHECK(s.state == FSW_PERMIT_SAFE);
  c = (fsw_command_t){ .counter = 6, .id = FSW_COMMAND_FIRE, .token = 6 };
  fsw_permit_step(&s, &c, 3000, 0);
  CHECK(s.state == FSW_PERMIT_SAFE && s.reason == FSW_COMMAND_REFUSED_STATE);
  c.counter = UINT64_MAX, c.id = FSW_COMMAND_ABORT;
  fsw_permit_step(&s, &c, 3000, 0);
  c.counter = 0, c.id = FSW_COMMAND_DISARM;
  fsw_permit_step(&s, &c, 3000, 0);
  CHECK(s.state == FSW_PERMIT_ABORT && s.reason == FSW_COMMAND_REFUSED_COUNTER);
}

/* ---- the tasks: a range, a receiver and a permit, one tick between each -------------------------------------------------------------- */

typedef struct {
  fsw_bench_range_state_t range;
  fsw_board_receiver_state_t receiver;
  fsw_permit_task_state_t permit;
  fsw_bench_range_params_t range_p;
  fsw_board_receiver_params_t receiver_p;
  fsw_permit_task_params_t permit_p;
  fsw_command_t sent, arriving, accepted, passed;
  fsw_permit_t told, downlink, status;
  fsw_touchdown_t touchdown;
  fsw_topic_head_t head[4]; /* arriving, passed, touchdown, downlink */
  uint32_t publish[3];
  uint32_t bound;
} chain_t;

static void chain_begin(chain_t *m) {
  memset(m, 0, sizeof *m);
  fsw_command_key_t key = test_key();
  m->range_p = (fsw_bench_range_params_t){ -1, -1, -1, -1, -1, -1, -1, .first_counter = 1, .command_key_size = 32, .source = 3 };
  memcpy(m->range_p.command_key, key.bytes, 32);
  m->receiver_p.command_key_size = 32;
  memcpy(m->receiver_p.command_key, key.bytes, 32);
  m->permit_p.repeat_ticks = 100;
  m->bound = 1;
  for (int k = 0; k < 4; k++) m->head[k].tick = -1;
}

static void chain_start(chain_t *m) {
  fsw_task_bench_range.init(&m->range, &m->range_p);
  fsw_task_board_receiver.init(&m->receiver, &m->receiver_p);
  fsw_task_gnc_permit.init(&m->permit, &m->permit_p);
}

static void arrive(fsw_topic_head_t *h, int64_t tick) { h->tick = tick, h->seq++; }

static void chain_tick(chain_t *m, int64_t tick) {
  const void *range_in[] = { m->bound ? &m->downlink : NULL }, *receiver_in[] = { &m->arriving };
  const void *permit_in[] = { &m->passed, m->bound ? &m->touchdown : NULL };
  const fsw_topic_head_t *range_h[] = { &m->head[3] }, *receiver_h[] = { &m->head[0] }, *permit_h[] = { &m->head[1], &m->head[2] };
  void *range_out[] = { &m->sent }, *receiver_out[] = { &m->accepted, m->bound ? &m->status : NULL }, *permit_out[] = { &m->told };
  fsw_io_t io = { .tick = tick, .t_ns = tick * MS, .dt_ns = MS, .publish = 1, .in = range_in, .in_head = range_h, .out = range_out,
                  .state = &m->range, .params = &m->range_p };
  CHECK(fsw_task_bench_range.step(&io) == 0);
  m->publish[0] = io.publish;
  io.in = receiver_in, io.in_head = receiver_h, io.out = receiver_out, io.state = &m->receiver, io.params = &m->receiver_p, io.publish = 3;
  CHECK(fsw_task_board_receiver.step(&io) == 0);
  m->publish[1] = io.publish;
  io.in = permit_in, io.in_head = permit_h, io.out = permit_out, io.state = &m->permit, io.params = &m->permit_p, io.publish = 1;
  CHECK(fsw_task_gnc_permit.step(&io) == 0);
  m->publish[2] = io.publish;
  if (m->publish[0] & 1) m->arriving = m->sent, arrive(&m->head[0], tick);
  if (m->publish[1] & 1) m->passed = m->accepted, arrive(&m->head[1], tick);
  if (m->publish[2] & 1) m->downlink = m->told, arrive(&m->head[3], tick);
}

static void test_chain(void) {
  chain_t m;
  chain_begin(&m);
  m.range_p.arm_s = 0.01, m.range_p.fire_s = 0.0, m.range_p.replay_s = 0.05;
  m.range_p.flip_s = 0.06, m.range_p.flip_bit = 319, m.range_p.forge_s = 0.07;
  m.range_p.disarm_s = 0.2, m.range_p.abort_s = 0.3;
  chain_start(&m);
  int64_t armed = -1, fired = -1;
  uint32_t published = 0;
  for (int64_t tick = 0; tick < 200; tick++) {
    chain_tick(&m, tick);
    published += m.publish[2];
    if (armed < 0 && m.told.state == FSW_PERMIT_ARMED) {
      armed = tick;
      fsw_command_key_t key = test_key();
      CHECK(m.told.token == fsw_command_token(&key, 1) && m.told.t_expires_ns == tick * MS + FSW_PERMIT_TOKEN_NS);
    }
    if (fired < 0 && m.told.state == FSW_PERMIT_FIRE) fired = tick;
  }
  CHECK(armed == 12 && fired == 15 && published == 1 + 2 + 1); /* a tick from node to node; at first, and a repeat while nothing changes */
  CHECK(m.told.state == FSW_PERMIT_FIRE && m.told.token == 0 && m.told.t_expires_ns == 0 && m.told.accepted == 2 && m.told.refused == 0);
  CHECK(m.status.refused == 3 && m.status.accepted == 2 && m.status.reason == FSW_COMMAND_REFUSED_TAG && m.told.counter == 2);
  CHECK(m.passed.tag[0] == 0 && m.passed.tag[15] == 0);
  for (int64_t tick = 200; tick < 290; tick++) chain_tick(&m, tick);
  CHECK(m.told.state == FSW_PERMIT_SAFE && m.told.counter == 5); /* flipped and forged ones used a counter of the range each */
  for (int64_t tick = 290; tick < 320; tick++) chain_tick(&m, tick);
  CHECK(m.told.state == FSW_PERMIT_ABORT && m.status.refused == 3);
}

static void test_chain_apart(void) {
  chain_t m;
  chain_begin(&m);
  m.bound = 0; /* no way back, no status: ARM gets through, FIRE is never sent; a replay without a command before it neither */
  m.range_p.arm_s = 0.01, m.range_p.fire_s = 0.02, m.range_p.replay_s = 0.0;
  m.receiver_p.last_counter = 1;
  chain_start(&m);
  for (int64_t tick = 0; tick < 50; tick++) chain_tick(&m, tick);
  CHECK(m.told.state == FSW_PERMIT_SAFE && m.receiver.receiver.refused == 2); /* counter 1 was said before power-up */
  CHECK(m.receiver.receiver.reason == FSW_COMMAND_REFUSED_COUNTER);
  chain_begin(&m);
  m.range_p.arm_s = 0.0, m.range_p.fire_s = 0.0;
  chain_start(&m);
  for (int64_t tick = 0; tick < 50; tick++) chain_tick(&m, tick);
  CHECK(m.told.state == FSW_PERMIT_FIRE);
  m.touchdown.landed = 1;
  chain_tick(&m, 50);
  CHECK(m.told.state == FSW_PERMIT_SAFE);
}

int main(void) {
  test_permit_edges();
  test_every_state();
  test_orders();
  test_chain();
  test_chain_apart();
  printf(failures ? "FAILED: %d\n" : "ok\n", failures);
  return failures != 0;
}
