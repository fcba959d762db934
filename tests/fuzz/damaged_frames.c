/* Damages link frames by the million, and feeds garbage by the gigabyte. Driven by frame_programs.py, which see.
 *
 *     damaged_frames bare    SEED COUNT         COUNT bare frames, each damaged by 1 to 5 bits or by one burst of 2 to 32 bits
 *     damaged_frames stream  SEED COUNT         the same damage to the frames as they stand on a byte stream, delimiters included
 *     damaged_frames header  SEED COUNT         COUNT candidates with a perfect header, the rest random
 *     damaged_frames garbage SEED BYTES [V:N].. BYTES random bytes, value V with probability N / 65536; without V all alike
 *     damaged_frames feed    NAME BYTES         BYTES of a fixed pattern through the receiver, nothing else: to count instructions
 *
 * Prints "p DONE" now and then, and in the end one line "r NAME=NUMBER ...". With -DCRC_BITS=n the decoder looks at the last n bits
 * of the CRC only, so that what slips through can be counted: frame.c itself is the same text in both. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flightsw/checksum.h"

#ifdef CRC_BITS
/* The stored checksum stands behind the n bytes; all but CRC_BITS of it are taken as they are. */
static uint32_t shortened_crc32c(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *p = (const uint8_t *)data + n;
    uint32_t stored = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    uint32_t mask = (1u << CRC_BITS) - 1u;
    return (fsw_crc32c(crc, data, n) & mask) | (stored & ~mask);
}
#define fsw_crc32c shortened_crc32c
#include "../../native/core/frame.c"
#undef fsw_crc32c
#else
#include "flightsw/frame.h"
#endif

typedef struct {
    uint64_t damaged, bursts;  /* frames damaged, those of them by a burst */
    uint64_t accepted;         /* wrong frames accepted */
    uint64_t same;             /* frames accepted that are the frame sent: the damage hit nothing that says anything */
    uint64_t only_crc;         /* candidates that nothing but the CRC could refuse */
    uint64_t uncovered;        /* those of them that differ from the frame sent by more than 5 bits and more than a burst of 32 */
    uint64_t uncovered_accepted;
    uint64_t lost;             /* intact frames behind a damaged one that did not arrive */
} tally_t;

typedef struct {
    uint8_t bytes[FSW_FRAME_MAX];
    size_t n;
} frame_t;

/* ---- random numbers (G. Steele, D. Lea & C. Flood, SplitMix64, 2014) ---- */

static uint64_t state;

static inline uint64_t next(void)
{
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static inline uint32_t below(uint32_t n) { return (uint32_t)((next() >> 32) * n >> 32); }

static void fill(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t r = next();
        memcpy(p + i, &r, n - i < 8 ? n - i : 8);
    }
}

/* ---- frames ---- */

static uint32_t crc_of(const uint8_t *p, size_t n) { return fsw_crc32c(0, p, n); }

static void seal(frame_t *f)
{
    uint32_t crc = crc_of(f->bytes, f->n - FSW_FRAME_CRC);
    for (unsigned i = 0; i < 4; i++) f->bytes[f->n - 4 + i] = (uint8_t)(crc >> (8 * i));
}

/* Payloads of five kinds: random, half zeros, without zeros, zeros, and numbers that look like telemetry. */
static void make(frame_t *f)
{
    size_t n = below(2) ? below(64) : below(FSW_FRAME_PAYLOAD_MAX + 1);
    uint8_t *p = f->bytes + FSW_FRAME_HEADER;
    unsigned kind = below(5);
    f->n = FSW_FRAME_HEADER + n + FSW_FRAME_CRC;
    fill(f->bytes, FSW_FRAME_HEADER + n);
    f->bytes[0] = FSW_FRAME_VERSION;
    f->bytes[4] = (uint8_t)n;
    f->bytes[5] = (uint8_t)(n >> 8);
    f->bytes[6] = f->bytes[7] = 0;
    if (kind >= 1) memset(f->bytes + 12, 0, 2), memset(f->bytes + 20, 0, 4); /* early in a flight */
    for (size_t i = 0; i < n; i++) {
        if (kind == 1 && p[i] & 1) p[i] = 0;
        if (kind == 2 && p[i] == 0) p[i] = 255;
        if (kind == 3) p[i] = 0;
        if (kind == 4 && i % 8 >= 6) p[i] = i % 8 == 7 ? 0x40 : 0x0c;
        if (kind == 4 && i % 8 < 3) p[i] = 0;
    }
    seal(f);
}

static inline void flip(uint8_t *p, size_t bit) { p[bit / 8] ^= (uint8_t)(1u << bit % 8); }

/* Flips 1 to 5 bits, or one burst: its first and last bit, those between at random. Bits are in the order of a serial line. */
static void damage(uint8_t *p, size_t n, tally_t *t)
{
    uint32_t bits = (uint32_t)(8 * n);
    t->damaged++;
    if (below(2)) {
        uint32_t length = 2 + below(31), at = below(bits - length + 1);
        uint64_t r = next();
        flip(p, at);
        flip(p, at + length - 1);
        for (uint32_t i = 1; i + 1 < length; i++)
            if (r >> i & 1) flip(p, at + i);
        t->bursts++;
    } else {
        size_t at[5];
        unsigned count = 1 + below(5);
        for (unsigned i = 0; i < count; i++) {
            unsigned known = 0;
            at[i] = below(bits);
            for (unsigned k = 0; k < i; k++) known |= at[k] == at[i];
            if (known) i--;
            else flip(p, at[i]);
        }
    }
}

/* Is this what the CRC detects for certain: at most 5 bits, or a burst of at most 32? */
static int covered(const frame_t *sent, const uint8_t *p, size_t n)
{
    unsigned weight = 0;
    size_t first = SIZE_MAX, last = 0;
    if (n != sent->n) return 0;
    for (size_t i = 0; i < n; i++) {
        unsigned x = p[i] ^ sent->bytes[i];
        if (!x) continue;
        weight += (unsigned)__builtin_popcount(x);
        if (first == SIZE_MAX) first = 8 * i + (unsigned)__builtin_ctz(x);
        last = 8 * i + 31 - (unsigned)__builtin_clz(x);
    }
    return weight <= 5 || last - first < 32;
}

/* A candidate for a frame arrived. Returns 1 when it was accepted. */
static int judge(const frame_t *sent, const uint8_t *p, size_t n, tally_t *t)
{
    fsw_frame_header_t h;
    const uint8_t *payload;
    int rc = fsw_frame_decode(p, n, &h, &payload);
    if (n == sent->n && memcmp(p, sent->bytes, n) == 0) {
        t->same += rc == 0;
        return rc == 0;
    }
    if (rc == 0 || (rc == FSW_FRAME_ERR_CRC && p[6] == 0 && p[7] == 0)) {
        int open = !covered(sent, p, n);
        t->only_crc++;
        t->uncovered += (unsigned)open;
        t->uncovered_accepted += open && rc == 0;
    }
    t->accepted += rc == 0;
    return rc == 0;
}

static void progress(uint64_t i)
{
    if (i && i % 1000000 == 0) printf("p %llu\n", (unsigned long long)i), fflush(stdout);
}

static void run_bare(uint64_t count, tally_t *t)
{
    frame_t sent, hit;
    for (uint64_t i = 0; i < count; i++) {
        if (i % 8 == 0) make(&sent);
        hit = sent;
        damage(hit.bytes, hit.n, t);
        judge(&sent, hit.bytes, hit.n, t);
        progress(i);
    }
}

/* Each damaged frame is followed by an intact one, which must arrive whatever happened. */
static void run_stream(uint64_t count, tally_t *t)
{
    static uint8_t line[FSW_FRAME_STREAM_MAX], hit[2 * FSW_FRAME_STREAM_MAX];
    fsw_cobs_decoder_t d;
    frame_t sent, after = { .n = 28, .bytes = { FSW_FRAME_VERSION, 0xA5, 1, 2 } };
    size_t n = 0;
    seal(&after);
    fsw_cobs_decoder_init(&d);
    for (uint64_t i = 0; i < count; i++) {
        if (i % 4 == 0) {
            make(&sent);
            n = fsw_cobs_encode(sent.bytes, sent.n, line + 1, sizeof line - 2) + 2;
            line[0] = line[n - 1] = 0;
        }
        memcpy(hit, line, n);
        damage(hit, n, t);
        hit[n] = 0;
        size_t all = n + 2 + fsw_cobs_encode(after.bytes, after.n, hit + n + 1, 64), size, arrived = 0;
        hit[all - 1] = 0;
        for (size_t at = 0; at < all;) {
            const uint8_t *p;
            at += fsw_cobs_decoder_feed(&d, hit + at, all - at, &p, &size);
            if (!p) break;
            if (at == all) arrived = size == after.n && memcmp(p, after.bytes, size) == 0;
            else judge(&sent, p, size, t);
        }
        t->lost += !arrived;
        progress(i);
    }
}

static void run_header(uint64_t count, tally_t *t)
{
    fsw_cobs_decoder_t d;
    frame_t f, none = { .n = 0 };
    uint8_t line[FSW_FRAME_STREAM_MAX];
    size_t size;
    const uint8_t *p;
    fsw_cobs_decoder_init(&d);
    for (uint64_t i = 0; i < count; i++) {
        size_t n = below(65);
        f.n = FSW_FRAME_HEADER + n + FSW_FRAME_CRC;
        fill(f.bytes, f.n);
        memcpy(f.bytes, (const uint8_t[]){ FSW_FRAME_VERSION, 1, 2, 3, (uint8_t)n, 0, 0, 0 }, 8);
        size_t m = fsw_cobs_encode(f.bytes, f.n, line + 1, sizeof line - 2) + 2;
        line[0] = line[m - 1] = 0;
        fsw_cobs_decoder_feed(&d, line, m, &p, &size);
        t->damaged++;
        if (p) judge(&none, p, size, t);
        progress(i);
    }
}

/* ---- garbage ---- */

static uint8_t shape[65536];

static int set_shape(int argc, char **argv)
{
    unsigned at = 0;
    for (int i = 0; i < argc; i++) {
        unsigned value, count;
        if (sscanf(argv[i], "%u:%u", &value, &count) != 2 || value > 255 || at + count > 65536) return 1;
        memset(shape + at, (int)value, count);
        at += count;
    }
    for (unsigned i = 0; argc == 0 && i < 65536; i++) shape[i] = (uint8_t)i;
    return argc != 0 && at != 65536;
}

static void drain(fsw_cobs_decoder_t *d, const uint8_t *bytes, size_t n)
{
    fsw_frame_header_t h;
    const uint8_t *payload;
    for (size_t at = 0, used; at < n; at += used) fsw_frame_receive(d, bytes + at, n - at, &used, &h, &payload);
}

static void print_counters(const fsw_cobs_decoder_t *d, uint64_t bytes)
{
    printf("r bytes=%llu frames=%u truncated=%u overlong=%u good=%u short=%u version=%u length=%u crc=%u reserved=%u\n",
           (unsigned long long)bytes, d->frames, d->truncated, d->overlong, d->good, d->bad_short, d->bad_version, d->bad_length,
           d->bad_crc, d->bad_reserved);
}

static void run_garbage(uint64_t bytes)
{
    static uint8_t buffer[4096];
    fsw_cobs_decoder_t d;
    fsw_cobs_decoder_init(&d);
    for (uint64_t done = 0; done < bytes; done += sizeof buffer) {
        for (size_t i = 0; i < sizeof buffer; i += 4) {
            uint64_t r = next();
            for (unsigned k = 0; k < 4; k++) buffer[i + k] = shape[r >> (16 * k) & 0xFFFF];
        }
        drain(&d, buffer, sizeof buffer);
        if (done % (sizeof buffer << 14) == 0) printf("p %llu\n", (unsigned long long)done), fflush(stdout);
    }
    print_counters(&d, (bytes + sizeof buffer - 1) / sizeof buffer * sizeof buffer);
}

/* ---- patterns ---- */

static int run_feed(const char *name, uint64_t bytes)
{
    static uint8_t buffer[65536];
    fsw_cobs_decoder_t d;
    size_t n = 0;
    frame_t f = { .n = strcmp(name, "small") ? FSW_FRAME_MAX : 28 };
    if (!strcmp(name, "small") || !strcmp(name, "large") || !strcmp(name, "wrong")) {
        fill(f.bytes + 8, f.n - 8);
        memcpy(f.bytes, (const uint8_t[]){ FSW_FRAME_VERSION, 1, 2, 3, (uint8_t)(f.n - 28), (uint8_t)((f.n - 28) >> 8), 0, 0 }, 8);
        seal(&f);
        f.bytes[f.n - 1] ^= !strcmp(name, "wrong");
        while (n + FSW_FRAME_STREAM_MAX < sizeof buffer) {
            buffer[n++] = 0;
            n += fsw_cobs_encode(f.bytes, f.n, buffer + n, FSW_FRAME_STREAM_MAX);
            buffer[n++] = 0;
        }
    } else {
        static const char *const names[] = { "zeros", "ones", "full", "pairs", "garbage" };
        unsigned which = 0;
        while (which < 5 && strcmp(name, names[which])) which++;
        if (which == 5) return 1;
        n = sizeof buffer;
        memset(buffer, which == 1 ? 1 : which == 2 ? 255 : 0, n);
        for (size_t i = 0; which == 3 && i < n; i += 2) buffer[i] = 1;
        if (which == 4) fill(buffer, n);
    }
    fsw_cobs_decoder_init(&d);
    for (uint64_t done = 0; done < bytes; done += n) drain(&d, buffer, bytes - done < n ? (size_t)(bytes - done) : n);
    print_counters(&d, bytes);
    return 0;
}

int main(int argc, char **argv)
{
    tally_t t = { 0 };
    if (argc < 4) return 2;
    uint64_t count = strtoull(argv[3], NULL, 10);
    if (!strcmp(argv[1], "feed")) return run_feed(argv[2], count) ? 2 : 0;
    state = strtoull(argv[2], NULL, 10) * 0xD1342543DE82EF95u; /* seeds give sequences far apart */
    if (!strcmp(argv[1], "garbage")) {
        if (set_shape(argc - 4, argv + 4)) return 2;
        run_garbage(count);
        return 0;
    }
    if (!strcmp(argv[1], "bare")) run_bare(count, &t);
    else if (!strcmp(argv[1], "stream")) run_stream(count, &t);
    else if (!strcmp(argv[1], "header")) run_header(count, &t);
    else return 2;
    printf("r damaged=%llu bursts=%llu accepted=%llu same=%llu only_crc=%llu uncovered=%llu uncovered_accepted=%llu lost=%llu\n",
           (unsigned long long)t.damaged, (unsigned long long)t.bursts, (unsigned long long)t.accepted, (unsigned long long)t.same,
           (unsigned long long)t.only_crc, (unsigned long long)t.uncovered, (unsigned long long)t.uncovered_accepted,
           (unsigned long long)t.lost);
    return 0;
}
