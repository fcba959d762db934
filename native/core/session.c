#include "flightsw/session.h"

#include "flightsw/blake2s.h"
#include "flightsw/digest.h"
#include "flightsw/exact.h"
#include "flightsw/pack.h"
#include "publish.h"

#define FRAME_OVERHEAD (FSW_FRAME_HEADER + FSW_FRAME_CRC)
#define LOAD_PAYLOAD 16u
#define MAX_CATCH_UP 1000   /* ticks that a bench may leave out at once */

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p) { return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32; }

static void put64(uint8_t *p, uint64_t v) {
  for (uint32_t i = 0; i < 8; i++) p[i] = (uint8_t)(v >> (8u * i));
}

static uint32_t length_of(const char *text) {
  uint32_t n = 0;
  while (n < FSW_FRAME_PAYLOAD_MAX && text[n]) n++;
  return n;
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

/* Append a frame to the answer. 0 when it does not fit. */
static int append(fsw_session_t *s, const fsw_frame_header_t *h, const uint8_t *payload) {
  int n = fsw_frame_encode(h, payload, s->config.reply + s->reply_used, s->config.reply_capacity - s->reply_used);
  if (n < 0) return 0;
  s->reply_used += (size_t)n;
  return 1;
}

static size_t answer(fsw_session_t *s, uint8_t type, uint32_t sequence, int64_t tick, const uint8_t *payload, uint32_t size) {
  s->reply_used = 0;
  s->reply_tick = -1;
  fsw_frame_header_t h = {.version = FSW_FRAME_VERSION, .type = type, .dst = (uint8_t)s->pending_src, .length = (uint16_t)size,
                          .sequence = sequence, .tick = (uint32_t)tick};
  (void)append(s, &h, payload);
  return s->reply_used;
}

static size_t failed(fsw_session_t *s, const char *why) {
  s->refused++;
  return answer(s, FSW_LINK_FAILED, 0, s->bench.tick, (const uint8_t *)why, length_of(why));
}

/* ---- greeting ----------------------------------------------------------------------------------------------------- */

static void go_safe(fsw_session_t *s) {
  s->driven = 0;
  if (s->config.safe) s->config.safe(s->config.context);
}

static int same_text(const char *a, const char *b) {
  uint32_t n = length_of(a);
  if (n != length_of(b)) return 0;
  for (uint32_t i = 0; i < n; i++)
    if (a[i] != b[i]) return 0;
  return 1;
}

static void mark_text(uint64_t value, char *out) {
  for (uint32_t i = 0; i < 16; i++) out[i] = "0123456789abcdef"[value >> (60u - 4u * i) & 15u];
  out[16] = 0;
}

static size_t manifest(fsw_session_t *s) {
  uint8_t out[FSW_FRAME_PAYLOAD_MAX];
  fsw_pack_t p = {.at = out, .left = sizeof out};
  const fsw_session_config_t *c = &s->config;
  fsw_pack_map(&p, 12);
  fsw_pack_text(&p, "protocol");
  fsw_pack_number(&p, FSW_LINK_PROTOCOL);
  fsw_pack_text(&p, "name");
  fsw_pack_text(&p, c->name);
  fsw_pack_text(&p, "role");
  fsw_pack_text(&p, c->role);
  fsw_pack_text(&p, "serial");
  fsw_pack_text(&p, c->serial);
  fsw_pack_text(&p, "mode");
  fsw_pack_text(&p, c->live ? "LIVE" : "SIM");
  fsw_pack_text(&p, "messages");
  fsw_pack_mark(&p, c->messages);
  fsw_pack_text(&p, "sources");
  fsw_pack_mark(&p, c->sources);
  fsw_pack_text(&p, "token");
  fsw_pack_text(&p, c->token);
  fsw_pack_text(&p, "capacity");
  fsw_pack_number(&p, c->bundle_capacity);
  fsw_pack_text(&p, "session");
  fsw_pack_number(&p, s->session);
  fsw_pack_text(&p, "greeting");
  fsw_pack_number(&p, s->greetings);
  fsw_pack_text(&p, "armed");
  fsw_pack_number(&p, s->armed);
  if (p.full) return failed(s, "the board's manifest does not fit into a frame");
  return answer(s, FSW_LINK_MANIFEST, 0, 0, out, (uint32_t)(sizeof out - p.left));
}

static uint8_t *put_bytes(uint8_t *at, const void *bytes, size_t n) {
  __builtin_memcpy(at, bytes, n);
  return at + n;
}

/* The tag that whoever knows the key sends back in this greeting: over the power cycle, the board, the session and the manifest it answers. */
static int32_t expected_proof(const fsw_session_t *s, uint64_t session, uint8_t *tag) {
  static const char purpose[] = "flightsw live 1";
  const fsw_session_config_t *c = &s->config;
  uint8_t text[sizeof purpose + 2u * FSW_SESSION_TEXT + 16u], *at = put_bytes(text, purpose, sizeof purpose);
  uint32_t token = length_of(c->token), serial = length_of(c->serial);
  if (!c->key || token == 0 || token >= FSW_SESSION_TEXT || serial >= FSW_SESSION_TEXT) return -1;
  at = put_bytes(at, c->token, token + 1u);
  at = put_bytes(at, c->serial, serial + 1u);
  put64(at, session);
  put64(at + 8, s->greetings);
  return fsw_blake2s(c->key, FSW_BLAKE2S_KEY, text, (size_t)(at + 16 - text), tag, FSW_SESSION_PROOF);
}

static int32_t from_hex(const char *text, uint8_t *out, uint32_t n) {
  if (length_of(text) != 2u * n) return -1;
  for (uint32_t i = 0; i < 2u * n; i++) {
    char c = text[i];
    uint32_t v = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10u : 16u;
    if (v > 15u) return -1;
    out[i / 2u] = (uint8_t)(i % 2u ? out[i / 2u] | v : v << 4);
  }
  return 0;
}

/* Arms a LIVE board when the bench has proved that it knows the key. A greeting that came twice, because its answer was lost, is good twice. */
static const char *arm(fsw_session_t *s, const char *text, uint64_t session, int32_t again) {
  uint8_t given[FSW_SESSION_PROOF], wanted[FSW_SESSION_PROOF];
  if (!s->config.live) return "this board is SIM: it has nothing to arm";
  if (!s->config.key) return "this board has no key: it cannot be armed";
  if (from_hex(text, given, FSW_SESSION_PROOF) != 0) return "a proof that cannot be read";
  if (!again || !fsw_same_secret(given, s->proof, FSW_SESSION_PROOF)) {
    if (expected_proof(s, session, wanted) != 0) return "this board's token or serial number is of no use";
    if (!fsw_same_secret(given, wanted, FSW_SESSION_PROOF)) return "the proof is wrong: another key, another power cycle, or one that was used before";
    __builtin_memcpy(s->proof, given, FSW_SESSION_PROOF);
  }
  s->armed = 1;
  return NULL;
}

static size_t hello(fsw_session_t *s, const uint8_t *payload, uint32_t size) {
  char text[64], mine[17];
  uint64_t number = 0, session = 0;
  if (fsw_pack_find(payload, size, "probe", text, sizeof text, &number) == 2 && number) return manifest(s); /* who is there? no session begins */
  int32_t again = s->armed && s->state == FSW_SESSION_GREETED;
  if (s->state == FSW_SESSION_RUNNING) go_safe(s);
  s->state = FSW_SESSION_IDLE;
  s->armed = 0;
  s->bench.tick = 0;
  if (fsw_pack_find(payload, size, "protocol", text, sizeof text, &number) != 2) return failed(s, "the bench's manifest cannot be read");
  if (number != FSW_LINK_PROTOCOL) return failed(s, "the bench speaks another version of the link protocol");
  mark_text(s->config.messages, mine);
  if (fsw_pack_find(payload, size, "messages", text, sizeof text, &number) != 1 || !same_text(text, mine))
    return failed(s, "the bench's message definitions are not those of this board");
  if (fsw_pack_find(payload, size, "mode", text, sizeof text, &number) != 1 || !same_text(text, s->config.live ? "LIVE" : "SIM"))
    return failed(s, s->config.live ? "this board is LIVE, the bench asks for a simulated one" : "this board is SIM, the bench asks for another");
  s->free_pacing = fsw_pack_find(payload, size, "pacing", text, sizeof text, &number) == 1 && same_text(text, "free");
  if (fsw_pack_find(payload, size, "session", text, sizeof text, &session) != 2) session = 0;
  if (fsw_pack_find(payload, size, "proof", text, sizeof text, &number) == 1) {
    const char *why = arm(s, text, session, again && session == s->session);
    if (why) return failed(s, why);
  }
  s->session = session;
  s->greetings++;
  s->state = FSW_SESSION_GREETED;
  return manifest(s);
}

/* ---- loading ------------------------------------------------------------------------------------------------------ */

static size_t load(fsw_session_t *s, const uint8_t *payload, uint32_t size) {
  if (s->state == FSW_SESSION_IDLE || s->state == FSW_SESSION_SAFE) return failed(s, "nobody has said HELLO");
  if (s->config.live && !s->armed) return failed(s, "this board is LIVE, and the bench has not proved that it may drive it");
  if (size != LOAD_PAYLOAD) return failed(s, "a LOAD of another length");
  uint32_t bytes = get32(payload);
  if (bytes == 0 || bytes > s->config.bundle_capacity) return failed(s, "the bundle is larger than this board's memory for it");
  if (s->state == FSW_SESSION_RUNNING) go_safe(s);
  s->expected = bytes;
  s->received = 0;
  s->bundle_hash = get64(payload + 8);
  s->state = FSW_SESSION_LOADING;
  return answer(s, FSW_LINK_DONE, 0, 0, NULL, 0);
}

static size_t start(fsw_session_t *s) {
  size_t used;
  uint32_t culprit = 0;
  uint8_t mark[8];
  if (fsw_digest(s->config.bundle, s->expected, 0) != s->bundle_hash) return failed(s, "the bundle differs from its hash");
  int32_t rc = fsw_bundle_load(&s->bench, s->config.bundle, s->expected, s->config.memory, s->config.memory_capacity, &used, s->config.tasks,
                               s->config.n_tasks, &culprit);
  if (rc == FSW_E_TASK) return failed(s, "a task of the bundle is not linked into this board");
  if (rc == FSW_E_TASK_LAYOUT) return failed(s, "a task of the bundle has another layout on this board");
  if (rc == FSW_E_SIZE) return failed(s, "the bundle needs more memory than this board has");
  if (rc != FSW_OK) return failed(s, "the bundle is refused: it is damaged, or of another version");
  if (s->bench.n_nodes > 250) return failed(s, "more than 250 boards in one bundle");
  for (uint32_t n = 0; n < s->bench.n_nodes; n++) {
    if (s->bench.nodes[n].n_topics > FSW_LINK_FIRST) return failed(s, "a board of more than 240 topics");
    for (uint32_t t = 0; t < s->bench.nodes[n].n_topics; t++) s->bench.nodes[n].topics[t].channel = (uint16_t)(n << 8 | t);
  }
  s->recorder = (fsw_recorder_t){.buffer = s->config.records, .index = s->config.entries, .capacity = s->config.records_capacity,
                                 .index_capacity = s->config.n_entries};
  fsw_bench_set_recorder(&s->bench, &s->recorder);
  go_safe(s);
  s->pending_tick = -1;
  s->state = FSW_SESSION_RUNNING;
  put64(mark, s->bundle_hash);
  return answer(s, FSW_LINK_DONE, s->expected, s->bench.tick, mark, sizeof mark);
}

static size_t data(fsw_session_t *s, uint32_t offset, const uint8_t *payload, uint32_t size) {
  if (s->state == FSW_SESSION_RUNNING && offset + size == s->expected) { /* the last answer was lost */
    uint8_t mark[8];
    put64(mark, s->bundle_hash);
    return answer(s, FSW_LINK_DONE, s->expected, s->bench.tick, mark, sizeof mark);
  }
  if (s->state != FSW_SESSION_LOADING) return failed(s, "a piece of a bundle that was not announced");
  if (offset > s->received || size > s->expected - offset) return failed(s, "a piece of a bundle that is out of order");
  if (offset == s->received) {
    __builtin_memcpy(s->config.bundle + offset, payload, size);
    s->received += size;
  }
  return s->received == s->expected ? start(s) : answer(s, FSW_LINK_DONE, s->received, 0, NULL, 0);
}

static const char *not_running(const fsw_session_t *s) {
  return s->state == FSW_SESSION_SAFE ? "the link was silent for too long, outputs are safe until the next HELLO" : "no bundle is loaded";
}

static size_t get(fsw_session_t *s, uint32_t offset) {
  if (s->state != FSW_SESSION_RUNNING) return failed(s, not_running(s));
  if (offset >= s->expected) return failed(s, "an offset past the end of the bundle");
  if (offset == 0 && fsw_bundle_save(&s->bench, s->config.bundle, s->expected) != FSW_OK)
    return failed(s, "the bundle has no room for images: load one with start images");
  uint32_t size = s->expected - offset < FSW_FRAME_PAYLOAD_MAX ? s->expected - offset : FSW_FRAME_PAYLOAD_MAX;
  return answer(s, FSW_LINK_DATA, offset, s->bench.tick, s->config.bundle + offset, size);
}

/* ---- what is sent ------------------------------------------------------------------------------------------------- */

static size_t choose(fsw_session_t *s, const fsw_frame_header_t *h, const uint8_t *mask) {
  if (s->state != FSW_SESSION_RUNNING) return failed(s, not_running(s));
  if (h->dst == 0 || h->dst > s->bench.n_nodes) return failed(s, "a choice of topics for a board that there is not");
  fsw_node_t *node = &s->bench.nodes[h->dst - 1u];
  for (uint32_t t = 0; t < node->n_topics; t++) {
    int wanted = t / 8u < h->length && (mask[t / 8u] >> (t % 8u) & 1);
    node->topics[t].channel = wanted ? (uint16_t)((h->dst - 1u) << 8 | t) : (uint16_t)FSW_UNBOUND;
  }
  fsw_bench_set_recorder(&s->bench, &s->recorder);
  return answer(s, FSW_LINK_DONE, h->sequence, s->bench.tick, NULL, 0);
}

/* ---- ticks -------------------------------------------------------------------------------------------------------- */

/* All frames of a TICK are there: check them all before the first one enters a node. */
static const char *check_inputs(const fsw_session_t *s) {
  for (size_t at = 0; at < s->inbox_used;) {
    const uint8_t *f = s->config.inbox + at;
    uint32_t type = f[1], board = f[3], size = (uint32_t)f[4] | (uint32_t)f[5] << 8;
    if (board == 0 || board > s->bench.n_nodes) return "a message for a board that there is not";
    const fsw_node_t *node = &s->bench.nodes[board - 1u];
    if (type >= node->n_topics || node->topics[type].size != size) return "a message that this board does not have, or of another size";
    const fsw_topic_head_t *head = (const fsw_topic_head_t *)(const void *)(node->image + node->topics[type].offset);
    if (get32(f + 8) != head->seq + 1u) return "a message was lost or doubled";
    at += FRAME_OVERHEAD + size;
  }
  return NULL;
}

static void enter_inputs(fsw_session_t *s) {
  uint64_t aligned[(FSW_FRAME_PAYLOAD_MAX + 7u) / 8u];
  for (size_t at = 0; at < s->inbox_used;) {
    const uint8_t *f = s->config.inbox + at;
    uint32_t type = f[1], size = (uint32_t)f[4] | (uint32_t)f[5] << 8;
    fsw_node_t *node = &s->bench.nodes[f[3] - 1u];
    __builtin_memcpy(aligned, f + FSW_FRAME_HEADER, size);
    if (BIG_ENDIAN_HOST) fsw_node_swap(node, node->topics[type].offset + (uint32_t)sizeof(fsw_topic_head_t), (uint8_t *)aligned, size);
    fsw_node_input(node, type, aligned);
    at += FRAME_OVERHEAD + size;
  }
  s->recorder.used = s->recorder.n_index = 0; /* what enters is not sent back */
}

/* What the boards wrote, as frames: the recorder has kept it in order. */
static size_t written(fsw_session_t *s, int64_t tick) {
  s->reply_used = 0;
  fsw_frame_header_t h = {.version = FSW_FRAME_VERSION, .type = FSW_LINK_TICK, .dst = (uint8_t)s->pending_src, .sequence = s->recorder.n_index,
                          .tick = (uint32_t)tick, .t_ns = tick * s->bench.nodes[0].base_tick_ns};
  int ok = append(s, &h, NULL);
  for (uint32_t i = 0; ok && i < s->recorder.n_index; i++) {
    const uint8_t *r = s->recorder.buffer + s->recorder.index[i].offset;
    uint32_t channel = s->recorder.index[i].channel;
    h.type = (uint8_t)channel;
    h.src = (uint8_t)(1u + (channel >> 8));
    h.length = (uint16_t)(get32(r + 1) + 9u - FSW_RECORD_OVERHEAD);
    h.sequence = get32(r + 11);
    ok = append(s, &h, r + FSW_RECORD_OVERHEAD);
  }
  s->recorder.used = s->recorder.n_index = 0;
  if (!ok) return failed(s, "what was written in a tick does not fit into the answer");
  s->reply_tick = tick;
  return s->reply_used;
}

static char *put_text(char *at, const char *text) {
  while (*text) *at++ = *text++;
  return at;
}

static char *put_decimal(char *at, int64_t value) {
  char digits[20];
  uint32_t n = 0;
  uint64_t v = value < 0 ? 0u - (uint64_t)value : (uint64_t)value;
  if (value < 0) *at++ = '-';
  do digits[n++] = (char)('0' + v % 10u);
  while (v /= 10u);
  while (n) *at++ = digits[--n];
  return at;
}

/* Names are known to the bench. */
static size_t task_failed(fsw_session_t *s) {
  char text[120], *at = put_text(text, "a task failed: board ");
  const fsw_image_head_t *head = (const fsw_image_head_t *)(const void *)s->bench.nodes[s->bench.error_node].image;
  at = put_decimal(at, (int64_t)s->bench.error_node + 1);
  at = put_decimal(put_text(at, ", task "), (int64_t)head->error_task);
  at = put_decimal(put_text(at, ", error "), head->error);
  *at = 0;
  return failed(s, text);
}

static size_t run(fsw_session_t *s, int64_t tick) {
  if (tick < s->bench.tick || (tick > s->bench.tick && (!s->free_pacing || tick - s->bench.tick > MAX_CATCH_UP))) {
    s->wrong_tick++;
    return failed(s, "a tick that is not the next one");
  }
  int32_t rc = FSW_OK;
  while (rc == FSW_OK && s->bench.tick < tick) {
    rc = fsw_bench_run(&s->bench, s->bench.tick + 1);
    s->recorder.used = s->recorder.n_index = 0;
  }
  const char *why = check_inputs(s);
  if (why) return failed(s, why);
  enter_inputs(s);
  if (rc == FSW_OK) rc = fsw_bench_run(&s->bench, tick + 1);
  if (rc != FSW_OK) go_safe(s);
  if (rc != FSW_OK) return rc == FSW_NEED_DRAIN ? failed(s, "what is written in a tick does not fit into this board's memory") : task_failed(s);
  s->ticks++;
  s->driven = 1;
  if (s->config.outputs) s->config.outputs(s->config.context, &s->bench);
  return written(s, tick);
}

/* The tick that 32 bits stand for: the one nearest to the next. */
static int64_t whole_tick(const fsw_session_t *s, uint32_t low) {
  return s->bench.tick + (int64_t)(int32_t)(low - (uint32_t)s->bench.tick);
}

static size_t complete(fsw_session_t *s) {
  int64_t tick = s->pending_tick;
  s->pending_tick = -1;
  if (tick == s->reply_tick && s->reply_used) {
    s->repeated++;
    return s->reply_used;
  }
  return run(s, tick);
}

static size_t tick_begins(fsw_session_t *s, const fsw_frame_header_t *h) {
  if (s->state != FSW_SESSION_RUNNING) return failed(s, not_running(s));
  if (s->pending_tick >= 0) s->incomplete++;
  s->pending_tick = whole_tick(s, h->tick);
  s->pending_count = h->sequence;
  s->pending_got = 0;
  s->inbox_used = 0;
  return s->pending_count ? 0 : complete(s);
}

static size_t topic_arrives(fsw_session_t *s, const fsw_frame_header_t *h, const uint8_t *frame, size_t n) {
  if (s->state != FSW_SESSION_RUNNING || s->pending_tick < 0 || (uint32_t)s->pending_tick != h->tick) {
    s->stray++;
    return 0;
  }
  if (n > s->config.inbox_capacity - s->inbox_used) {
    s->pending_tick = -1;
    return failed(s, "the messages of a tick do not fit into this board's memory");
  }
  __builtin_memcpy(s->config.inbox + s->inbox_used, frame, n);
  s->inbox_used += n;
  return ++s->pending_got == s->pending_count ? complete(s) : 0;
}

/* ---- frames ------------------------------------------------------------------------------------------------------- */

void fsw_session_init(fsw_session_t *s, const fsw_session_config_t *config) {
  __builtin_memset(s, 0, sizeof *s);
  s->config = *config;
  s->pending_tick = s->reply_tick = -1;
}

size_t fsw_session_take(fsw_session_t *s, const uint8_t *frame, size_t n) {
  fsw_frame_header_t h;
  const uint8_t *payload;
  if (fsw_frame_decode(frame, n, &h, &payload) != 0) {
    s->bad_frames++;
    return 0;
  }
  if (h.type < FSW_LINK_FIRST) return topic_arrives(s, &h, frame, n);
  s->pending_src = h.src;
  if (h.type == FSW_LINK_TICK) return tick_begins(s, &h);
  s->pending_tick = -1;
  switch (h.type) {
    case FSW_LINK_HELLO: return hello(s, payload, h.length);
    case FSW_LINK_LOAD: return load(s, payload, h.length);
    case FSW_LINK_DATA: return data(s, h.sequence, payload, h.length);
    case FSW_LINK_GET: return get(s, h.sequence);
    case FSW_LINK_SELECT: return choose(s, &h, payload);
    case FSW_LINK_PING: return answer(s, FSW_LINK_PONG, h.sequence, s->bench.tick, payload, h.length);
    case FSW_LINK_BYE:
      if (s->state == FSW_SESSION_RUNNING) go_safe(s);
      s->state = FSW_SESSION_IDLE;
      s->armed = 0;
      return 0;
    default: return failed(s, "a message of a type that this board does not know");
  }
}

int32_t fsw_session_silent(fsw_session_t *s, uint32_t silent_ms, uint32_t limit_ms) {
  if (s->state != FSW_SESSION_RUNNING || !s->driven || silent_ms <= limit_ms) return 0;
  s->state = FSW_SESSION_SAFE;
  s->armed = 0;
  s->silences++;
  go_safe(s);
  return 1;
}
