#include "serve.h"

#include "flightsw/exact.h"

#ifndef FSW_BOARD_MESSAGES
#error "FSW_BOARD_MESSAGES: fingerprint of the message definitions, see fsw_board() in CMakeLists.txt"
#endif
#define BUFFER_BYTES (64u << 10)

static uint64_t inbox[BUFFER_BYTES / 8], reply[BUFFER_BYTES / 8], records[BUFFER_BYTES / 8];
static fsw_index_entry_t entries[BUFFER_BYTES / 64];
static fsw_session_t session;
static fsw_cobs_decoder_t decoder;
static uint32_t heard_ms;
static int has_outputs;

int serve_begin(const fsw_board_t *board, uint8_t *bundle, uint8_t *memory, const char *token) {
  if (fsw_contracted() || fsw_flushes_denormals()) return -1;
  fsw_session_config_t config = {.name = board->name, .role = board->role, .serial = board->serial, .token = token,
    .messages = FSW_BOARD_MESSAGES, .sources = FSW_BOARD_SOURCES, .live = board->live, .key = board->key,
    .n_tasks = board->n_tasks, .tasks = board->tasks,
    .bundle = bundle, .bundle_capacity = SERVE_BUNDLE_BYTES, .memory = memory, .memory_capacity = SERVE_MEMORY_BYTES,
    .inbox = (uint8_t *)inbox, .inbox_capacity = sizeof inbox, .reply = (uint8_t *)reply, .reply_capacity = sizeof reply,
    .records = (uint8_t *)records, .records_capacity = sizeof records, .entries = entries, .n_entries = BUFFER_BYTES / 64u,
    .context = board->context, .outputs = board->outputs, .safe = board->safe};
  has_outputs = board->outputs || board->safe;
  if (board->safe) board->safe(board->context);
  fsw_session_init(&session, &config);
  fsw_cobs_decoder_init(&decoder);
  return 0;
}

size_t serve_take(const uint8_t *frame, size_t n, uint32_t now_ms) {
  heard_ms = now_ms;
  return fsw_session_take(&session, frame, n);
}

const uint8_t *serve_reply(void) { return (const uint8_t *)reply; }

size_t serve_frame_size(const uint8_t *frame) {
  return FSW_FRAME_HEADER + FSW_FRAME_CRC + ((size_t)frame[4] | (size_t)frame[5] << 8);
}

static void answer(size_t n, void (*write)(const uint8_t *bytes, size_t n)) {
  static uint8_t out[FSW_FRAME_STREAM_MAX];
  const uint8_t *bytes = serve_reply();
  for (size_t at = 0; at < n;) {
    size_t size = serve_frame_size(bytes + at), used = fsw_cobs_encode(bytes + at, size, out + 1, sizeof out - 2);
    out[0] = 0;
    out[used + 1] = 0;
    write(out, used + 2);
    at += size;
  }
}

void serve_stream(const uint8_t *bytes, size_t n, uint32_t now_ms, void (*write)(const uint8_t *bytes, size_t n)) {
  for (size_t at = 0; at < n;) {
    const uint8_t *frame;
    size_t size;
    at += fsw_cobs_decoder_feed(&decoder, bytes + at, n - at, &frame, &size);
    if (frame) answer(serve_take(frame, size, now_ms), write);
  }
}

void serve_silence(uint32_t now_ms) { /* without outputs it may be kept waiting: by a bench that is looked into, for example */
  if (has_outputs) (void)fsw_session_silent(&session, now_ms - heard_ms, FSW_BOARD_SILENCE_MS);
}

void serve_token(uint64_t seed, char *token) {
  uint64_t v = seed * 0x9e3779b97f4a7c15u;
  for (uint32_t i = 0; i < 16; i++) {
    v ^= v >> 29;
    v *= 0xbf58476d1ce4e5b9u;
    token[i] = "0123456789abcdef"[v >> 60];
  }
  token[16] = 0;
}
