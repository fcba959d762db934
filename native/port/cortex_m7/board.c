/* A flight computer on a Cortex-M7: the session (flightsw/session.h) over its UART and its Ethernet port. What it flies comes over the link.
 *
 * UART: COBS frames as flightsw/frame.h says. Ethernet: bare frames, several in a packet, behind the head that devices.h describes. It answers
 * on the port on which it was asked. It has no outputs of its own: a board that has some gives `outputs` and `safe` to its session. */
#include "devices.h"
#include "flightsw/exact.h"
#include "flightsw/session.h"

#ifndef FSW_BOARD_SERIAL
#define FSW_BOARD_SERIAL "emulated-0001"
#endif

#define BUNDLE_BYTES (1u << 20)
#define MEMORY_BYTES (2u << 20)
#define BUFFER_BYTES (64u << 10)
#define PSRAM 0x60000000u

static const uint8_t own_address[6] = {2, 0, 0, 0, 0, 1}, bench_address[6] = {2, 0, 0, 0, 0, 2}; /* locally administered */
static uint64_t inbox[BUFFER_BYTES / 8], reply[BUFFER_BYTES / 8], records[BUFFER_BYTES / 8];
static fsw_index_entry_t entries[BUFFER_BYTES / 64];
static fsw_session_t session;
static fsw_cobs_decoder_t decoder;
static char token[17] = "0000000000000000";
static uint32_t heard_ms, heard;
static uint32_t packet[(M7_ETHER_MAX + 8u) / 4u], answer_packet[(M7_ETHER_MAX + 8u) / 4u];

const fsw_task_desc_t *const *fsw_builtin_tasks(uint32_t *n);
void fsw_m7_write(const char *text);

/* Made from when the first byte arrives, which nobody can foretell to the cycle. */
static void make_token(void) {
  uint64_t v = ((uint64_t)m7_cycles() << 32 | m7_ms()) * 0x9e3779b97f4a7c15u;
  for (uint32_t i = 0; i < 16; i++) {
    v ^= v >> 29;
    v *= 0xbf58476d1ce4e5b9u;
    token[i] = "0123456789abcdef"[v >> 60];
  }
}

static size_t take(const uint8_t *frame, size_t n) {
  if (!heard) make_token();
  heard = 1;
  heard_ms = m7_ms();
  return fsw_session_take(&session, frame, n);
}

static size_t frame_size(const uint8_t *frame) {
  return FSW_FRAME_HEADER + FSW_FRAME_CRC + ((size_t)frame[4] | (size_t)frame[5] << 8);
}

/* ---- UART --------------------------------------------------------------------------------------------------------- */

static void answer_on_uart(size_t n) {
  static uint8_t out[FSW_FRAME_STREAM_MAX];
  const uint8_t *bytes = (const uint8_t *)reply;
  for (size_t at = 0; at < n;) {
    size_t size = frame_size(bytes + at), used = fsw_cobs_encode(bytes + at, size, out + 1, sizeof out - 2);
    out[0] = 0;
    out[used + 1] = 0;
    m7_uart_write(out, used + 2);
    at += size;
  }
}

static int serve_uart(void) {
  static uint8_t bytes[1024];
  size_t n = m7_uart_read(bytes, sizeof bytes);
  for (size_t at = 0; at < n;) {
    const uint8_t *frame;
    size_t size;
    at += fsw_cobs_decoder_feed(&decoder, bytes + at, n - at, &frame, &size);
    if (frame) answer_on_uart(take(frame, size));
  }
  return n > 0;
}

/* ---- Ethernet ----------------------------------------------------------------------------------------------------- */

static void send_packet(size_t used) {
  uint8_t *p = (uint8_t *)answer_packet;
  for (uint32_t i = 0; i < 6; i++) {
    p[i] = bench_address[i];
    p[6 + i] = own_address[i];
  }
  p[12] = 0x88;
  p[13] = 0xb5;
  p[14] = (uint8_t)used;
  p[15] = (uint8_t)(used >> 8);
  m7_ether_write(answer_packet, used + M7_ETHER_HEAD < 60 ? 60 : used + M7_ETHER_HEAD);
}

static void answer_on_ether(size_t n) {
  const uint8_t *bytes = (const uint8_t *)reply;
  size_t used = 0;
  for (size_t at = 0; at < n;) {
    size_t size = frame_size(bytes + at);
    if (used + size > M7_ETHER_MAX - M7_ETHER_HEAD) {
      send_packet(used);
      used = 0;
    }
    __builtin_memcpy((uint8_t *)answer_packet + M7_ETHER_HEAD + used, bytes + at, size);
    used += size;
    at += size;
  }
  if (used) send_packet(used);
}

static int serve_ether(void) {
  size_t n = m7_ether_read(packet);
  const uint8_t *p = (const uint8_t *)packet;
  if (n < M7_ETHER_HEAD) return n > 0;
  size_t used = (size_t)p[14] | (size_t)p[15] << 8;
  if (p[12] != 0x88 || p[13] != 0xb5 || used > n - M7_ETHER_HEAD) return 1;
  for (size_t at = M7_ETHER_HEAD; at + FSW_FRAME_HEADER + FSW_FRAME_CRC <= M7_ETHER_HEAD + used;) {
    size_t size = frame_size(p + at);
    if (size > M7_ETHER_HEAD + used - at) break;
    answer_on_ether(take(p + at, size));
    at += size;
  }
  return 1;
}

/* ---- program ------------------------------------------------------------------------------------------------------ */

int main(void) {
  if (fsw_contracted() || fsw_flushes_denormals()) {
    fsw_m7_write("board: arithmetic of this build is not exact\n");
    return 3;
  }
  fsw_session_config_t config = {.name = "cortex_m7", .role = "flight_computer", .serial = FSW_BOARD_SERIAL, .token = token,
    .messages = FSW_BOARD_MESSAGES, .sources = FSW_BOARD_SOURCES,
    .bundle = (uint8_t *)(uintptr_t)PSRAM, .bundle_capacity = BUNDLE_BYTES,
    .memory = (uint8_t *)(uintptr_t)(PSRAM + BUNDLE_BYTES), .memory_capacity = MEMORY_BYTES,
    .inbox = (uint8_t *)inbox, .inbox_capacity = sizeof inbox, .reply = (uint8_t *)reply, .reply_capacity = sizeof reply,
    .records = (uint8_t *)records, .records_capacity = sizeof records, .entries = entries, .n_entries = BUFFER_BYTES / 64u};
  config.tasks = fsw_builtin_tasks(&config.n_tasks);
  fsw_session_init(&session, &config);
  fsw_cobs_decoder_init(&decoder);
  m7_devices_init();
  for (;;) {
    int busy = serve_uart();
    busy |= serve_ether();
    if (!busy) m7_idle();
  }
}
