/* serve.h - what the ports of a board have in common: memory, session, frames of a byte stream, silence. For ports only. */
#ifndef FLIGHTSW_PORT_SERVE_H
#define FLIGHTSW_PORT_SERVE_H
#include "board.h"

#define SERVE_BUNDLE_BYTES (1u << 20)
#define SERVE_MEMORY_BYTES (2u << 20)

/* bundle, memory: of the sizes above, 8-byte aligned. token: kept, made anew in each power cycle. 0, or -1: this build is not exact. */
int serve_begin(const fsw_board_t *board, uint8_t *bundle, uint8_t *memory, const char *token);

/* A bare frame has arrived. Returns how many bytes of answer lie in serve_reply(): frames one after the other. */
size_t serve_take(const uint8_t *frame, size_t n, uint32_t now_ms);
const uint8_t *serve_reply(void);
size_t serve_frame_size(const uint8_t *frame);

/* Bytes of a stream have arrived; `write` sends what is to be said. */
void serve_stream(const uint8_t *bytes, size_t n, uint32_t now_ms, void (*write)(const uint8_t *bytes, size_t n));

/* To be called every few milliseconds, and whenever something was served. */
void serve_silence(uint32_t now_ms);

/* 16 hexadecimal digits and a zero byte, from 64 bits that nobody can foretell. */
void serve_token(uint64_t seed, char *token);

#endif
