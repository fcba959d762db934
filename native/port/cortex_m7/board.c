/* A board on a Cortex-M7: the session (flightsw/session.h) over its UART and its Ethernet port.
 *
 * UART: COBS frames as flightsw/frame.h says. Ethernet: bare frames, several in a packet, behind the head that devices.h describes. It answers
 * on the port on which it was asked. */
#include "devices.h"
#include "serve.h"

#define PSRAM 0x60000000u

static const uint8_t own_address[6] = {2, 0, 0, 0, 0, 1}, bench_address[6] = {2, 0, 0, 0, 0, 2}; /* locally administered */
static char token[17] = "0000000000000000";
static uint32_t heard;
static uint32_t packet[(M7_ETHER_MAX + 8u) / 4u], answer_packet[(M7_ETHER_MAX + 8u) / 4u];

void fsw_m7_write(const char *text);

/* The token is made of when the first bytes arrive, which nobody can foretell to the cycle. */
static void note_first(void) {
  if (!heard) serve_token((uint64_t)m7_cycles() << 32 | m7_ms(), token);
  heard = 1;
}

static int serve_uart(void) {
  static uint8_t bytes[1024];
  size_t n = m7_uart_read(bytes, sizeof bytes);
  if (n == 0) return 0;
  note_first();
  serve_stream(bytes, n, m7_ms(), m7_uart_write);
  return 1;
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
  const uint8_t *bytes = serve_reply();
  size_t used = 0;
  for (size_t at = 0; at < n;) {
    size_t size = serve_frame_size(bytes + at);
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
  note_first();
  for (size_t at = M7_ETHER_HEAD; at + FSW_FRAME_HEADER + FSW_FRAME_CRC <= M7_ETHER_HEAD + used;) {
    size_t size = serve_frame_size(p + at);
    if (size > M7_ETHER_HEAD + used - at) break;
    answer_on_ether(serve_take(p + at, size, m7_ms()));
    at += size;
  }
  return 1;
}

/* ---- program ------------------------------------------------------------------------------------------------------ */

int fsw_board_serve(const fsw_board_t *board, int argc, char **argv) {
  (void)argc;
  (void)argv;
  if (serve_begin(board, (uint8_t *)(uintptr_t)PSRAM, (uint8_t *)(uintptr_t)(PSRAM + SERVE_BUNDLE_BYTES), token)) {
    fsw_m7_write("board: arithmetic of this build is not exact\n");
    return 3;
  }
  m7_devices_init();
  for (;;) {
    int busy = serve_uart();
    busy |= serve_ether();
    serve_silence(m7_ms());
    if (!busy) m7_idle();
  }
}
