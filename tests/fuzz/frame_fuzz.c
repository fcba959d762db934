/* libFuzzer target: any bytes into the link frame codec. Built and run by run_fuzz.py.
 *
 * The first byte says what the rest is: bytes of a stream fed in pieces, one bare frame, or a frame to be sent. Each path is compared
 * with a plain decoder written from docs/link-format.md. Buffers have exactly the size that is promised, on the heap, so that
 * the address sanitizer sees a step beyond. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "flightsw/checksum.h"
#include "flightsw/frame.h"

#define REQUIRE(c) \
    do { \
        if (!(c)) __builtin_trap(); \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *heap(const void *data, size_t n)
{
    uint8_t *p = malloc(n ? n : 1);
    REQUIRE(p);
    if (n && data) memcpy(p, data, n);
    return p;
}

/* From the definition, one table of 256 made at the first call. */
static uint32_t plain_crc(const uint8_t *p, size_t n)
{
    static uint32_t table[256];
    for (uint32_t i = 0; table[255] == 0 && i < 256; i++) {
        uint32_t x = i;
        for (int k = 0; k < 8; k++) x = x >> 1 ^ (x & 1 ? 0x82F63B78u : 0);
        table[i] = x;
    }
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) crc = crc >> 8 ^ table[(crc ^ p[i]) & 255];
    return ~crc;
}

static int plain_verdict(const uint8_t *f, size_t n)
{
    if (n < 28) return FSW_FRAME_ERR_SHORT;
    if (f[0] != 1) return FSW_FRAME_ERR_VERSION;
    if ((size_t)f[4] + 256u * f[5] != n - 28 || n > 652) return FSW_FRAME_ERR_LENGTH;
    uint32_t crc = plain_crc(f, n - 4);
    for (unsigned i = 0; i < 4; i++)
        if (f[n - 4 + i] != (crc >> (8 * i) & 255)) return FSW_FRAME_ERR_CRC;
    return f[6] || f[7] ? FSW_FRAME_ERR_RESERVED : 0;
}

/* COBS between two delimiters, by the definition. -1: cut short; -2: more than 652 bytes. */
static long plain_cobs(const uint8_t *in, size_t n, uint8_t *out)
{
    size_t o = 0;
    for (size_t i = 0; i < n;) {
        unsigned code = in[i++];
        for (unsigned k = 1; k < code; k++) {
            if (i == n) return -1;
            if (o == FSW_FRAME_MAX) return -2;
            out[o++] = in[i++];
        }
        if (code != 255 && i < n) {
            if (o == FSW_FRAME_MAX) return -2;
            out[o++] = 0;
        }
    }
    return (long)o;
}

typedef struct {
    fsw_cobs_decoder_t d;      /* what it should have counted: the public part */
    uint64_t digest;           /* of the frames accepted */
} expected_t;

static void absorb(uint64_t *digest, const uint8_t *frame, size_t n)
{
    *digest = *digest * 0x100000001B3u + plain_crc(frame, n) + n;
}

/* The whole stream at once. */
static expected_t plain_stream(const uint8_t *data, size_t size)
{
    expected_t e = { .digest = 1 };
    uint8_t frame[FSW_FRAME_MAX];
    size_t at = 0;
    while (at < size && data[at]) at++;
    e.d.unsynced_bytes = (uint32_t)at;
    while (at < size) { /* data[at] is a delimiter */
        size_t end = ++at;
        while (end < size && data[end]) end++;
        long n = plain_cobs(data + at, end - at, frame);
        if (n == -2) e.d.overlong++;
        if (end == size) break;
        if (end > at && n == -1) e.d.truncated++;
        if (end > at && n >= 0) {
            e.d.frames++;
            switch (plain_verdict(frame, (size_t)n)) {
            case 0: e.d.good++, absorb(&e.digest, frame, (size_t)n); break;
            case FSW_FRAME_ERR_SHORT: e.d.bad_short++; break;
            case FSW_FRAME_ERR_VERSION: e.d.bad_version++; break;
            case FSW_FRAME_ERR_LENGTH: e.d.bad_length++; break;
            case FSW_FRAME_ERR_CRC: e.d.bad_crc++; break;
            default: e.d.bad_reserved++; break;
            }
        }
        at = end;
    }
    return e;
}

static void fuzz_stream(const uint8_t *data, size_t size, size_t piece)
{
    fsw_cobs_decoder_t *d = heap(NULL, sizeof *d);
    fsw_cobs_decoder_init(d);
    uint64_t digest = 1;
    uint8_t *bytes = heap(NULL, piece);
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece, used = 0;
        if (n < piece) free(bytes), bytes = heap(NULL, n);
        memcpy(bytes, data + at, n);
        for (size_t i = 0; i < n; i += used) {
            fsw_frame_header_t h;
            const uint8_t *payload;
            if (fsw_frame_receive(d, bytes + i, n - i, &used, &h, &payload)) {
                REQUIRE(payload == d->buf + FSW_FRAME_HEADER && h.length <= FSW_FRAME_PAYLOAD_MAX);
                absorb(&digest, d->buf, FSW_FRAME_HEADER + (size_t)h.length + FSW_FRAME_CRC);
            } else REQUIRE(used == n - i);
            REQUIRE(used >= 1 && used <= n - i);
        }
    }
    free(bytes);
    expected_t e = plain_stream(data, size);
    REQUIRE(digest == e.digest && memcmp(d, &e.d, offsetof(fsw_cobs_decoder_t, fill)) == 0);
    free(d);
}

static void fuzz_bare(const uint8_t *data, size_t size, int seal)
{
    uint8_t *frame = heap(data, size);
    if (seal && size >= 28) { /* past the length and the checksum, which no mutation meets */
        frame[4] = (uint8_t)(size - 28);
        frame[5] = (uint8_t)((size - 28) >> 8);
        uint32_t crc = plain_crc(frame, size - 4);
        for (unsigned i = 0; i < 4; i++) frame[size - 4 + i] = (uint8_t)(crc >> (8 * i));
    }
    fsw_frame_header_t h, before;
    memset(&h, 0x5A, sizeof h);
    memcpy(&before, &h, sizeof h);
    const uint8_t *payload = NULL;
    int rc = fsw_frame_decode(frame, size, &h, &payload);
    REQUIRE(rc == plain_verdict(frame, size));
    if (rc == 0) { /* what was understood says the same again */
        uint8_t *again = heap(NULL, size);
        REQUIRE(fsw_frame_encode(&h, payload, again, size) == (int)size && memcmp(again, frame, size) == 0);
        free(again);
    } else REQUIRE(payload == NULL && memcmp(&h, &before, sizeof h) == 0);
    free(frame);
}

static void fuzz_send(const uint8_t *data, size_t size)
{
    fsw_frame_header_t h, g;
    if (size < sizeof h + 2) return;
    memcpy(&h, data, sizeof h);
    size_t cap = (size_t)data[sizeof h] + 256u * (data[sizeof h + 1] & 3u), room = size - sizeof h - 2;
    if (h.length > room && h.length <= FSW_FRAME_PAYLOAD_MAX) h.length = (uint16_t)room;
    const uint8_t *sent = data + sizeof h + 2, *payload;
    uint8_t *out = heap(NULL, cap), *bare = heap(NULL, FSW_FRAME_MAX), *back = heap(NULL, FSW_FRAME_MAX);
    int n = fsw_frame_encode(&h, sent, bare, FSW_FRAME_MAX), m;
    REQUIRE(fsw_frame_encode(&h, sent, out, cap) == (n > 0 && (size_t)n > cap ? FSW_FRAME_ERR_SPACE : n));
    m = fsw_frame_encode_stream(&h, sent, out, cap);
    if (n < 0) REQUIRE(m == n);
    else if (m > 0) {
        REQUIRE(out[0] == 0 && out[m - 1] == 0 && !memchr(out + 1, 0, (size_t)m - 2));
        REQUIRE(plain_cobs(out + 1, (size_t)m - 2, back) == n && memcmp(back, bare, (size_t)n) == 0);
        REQUIRE(fsw_frame_decode(bare, (size_t)n, &g, &payload) == 0 && memcmp(&g, &h, sizeof h) == 0);
        REQUIRE(!h.length || memcmp(payload, sent, h.length) == 0);
    } else REQUIRE(m == FSW_FRAME_ERR_SPACE && cap < (size_t)n + 3 + (size_t)n / 254);
    free(out);
    free(bare);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    switch (data[0] & 3) {
    case 0: fuzz_bare(data + 1, size - 1, data[0] & 4); break;
    case 1: fuzz_send(data + 1, size - 1); break;
    default: fuzz_stream(data + 1, size - 1, 1u + (size_t)(data[0] >> 1)); break;
    }
    return 0;
}
