/* Prints link frames as this processor encodes them, and what it makes of them when they come back over a byte stream: one line per frame,
 * bare and as COBS, then the decoded fields. The same lines must come out of every machine. */
#include <inttypes.h>
#include <stdio.h>

#include "flightsw/frame.h"

static void print_hex(const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++) printf("%02x", p[i]);
  putchar(' ');
}

static int print_frame(uint32_t k) {
  uint8_t payload[FSW_FRAME_PAYLOAD_MAX], bare[FSW_FRAME_MAX], stream[FSW_FRAME_STREAM_MAX];
  fsw_cobs_decoder_t decoder;
  const uint8_t *received;
  size_t used;
  fsw_frame_header_t h = {.version = FSW_FRAME_VERSION, .type = (uint8_t)(3u * k), .src = (uint8_t)(k + 1u), .dst = (uint8_t)(250u - k),
                          .length = (uint16_t)(k * 48u), .sequence = 0x01020304u * (k + 1u), .tick = 0xfffefdfcu - k,
                          .t_ns = (int64_t)k * 1234567890123 - 5000000000001}, back;
  for (uint32_t i = 0; i < h.length; i++) payload[i] = (uint8_t)(i * (k + 7u) >> 3);
  int n = fsw_frame_encode(&h, payload, bare, sizeof bare), m = fsw_frame_encode_stream(&h, payload, stream, sizeof stream);
  if (n < 0 || m < 0) return 1;
  print_hex(bare, (size_t)n);
  print_hex(stream, (size_t)m);
  fsw_cobs_decoder_init(&decoder);
  if (fsw_frame_receive(&decoder, stream, (size_t)m, &used, &back, &received) != 1) return 1;
  printf("%u %u %u %" PRIu32 " %" PRIu32 " %" PRId64 " %u\n", back.type, back.src, back.dst, back.sequence, back.tick, back.t_ns,
         back.length);
  return 0;
}

int main(void) {
  for (uint32_t k = 0; k <= 13; k++)
    if (print_frame(k)) return 1;
  return 0;
}
