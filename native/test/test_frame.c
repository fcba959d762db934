/* Tests of frame.h and checksum.h to destruction: every damage of a kind, not a sample. Needs nothing but C. */
#include <stdio.h>
#include <string.h>

#include "flightsw/checksum.h"
#include "flightsw/frame.h"

static int failures;

#define CHECK(c) \
    do { \
        if (!(c)) { \
            if (failures++ < 20) printf("%s:%d: %s\n", __func__, __LINE__, #c); \
        } \
    } while (0)

enum { HEAD = FSW_FRAME_HEADER, LARGEST = FSW_FRAME_MAX, ROOM = 4 * FSW_FRAME_STREAM_MAX };

static const fsw_frame_header_t example = { .version = FSW_FRAME_VERSION, .type = 2, .src = 3, .dst = 4, .sequence = 0x01020304,
                                            .tick = 0xfffefdfc, .t_ns = -2 };

static void put_crc(uint8_t *f, size_t n)
{
    uint32_t crc = fsw_crc32c(0, f, n - 4);
    for (unsigned i = 0; i < 4; i++) f[n - 4 + i] = (uint8_t)(crc >> (8 * i));
}

static void flip(uint8_t *p, size_t bit) { p[bit / 8] ^= (uint8_t)(1u << bit % 8); }

static int decode(const uint8_t *f, size_t n)
{
    fsw_frame_header_t h;
    const uint8_t *payload;
    return fsw_frame_decode(f, n, &h, &payload);
}

/* ---- checksums ---- */

static uint32_t bit_by_bit(uint32_t reflected, const uint8_t *p, size_t n)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? reflected : 0);
    }
    return ~crc;
}

static void test_crc_by_definition(void)
{
    uint8_t data[120];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * i * 7 + i + 3);
    for (size_t at = 0; at < 9; at++) { /* each alignment */
        for (size_t n = 0; n <= 100; n++) {
            CHECK(fsw_crc32c(0, data + at, n) == bit_by_bit(0x82F63B78u, data + at, n));
            CHECK(fsw_crc32(0, data + at, n) == bit_by_bit(0xEDB88320u, data + at, n));
            CHECK(fsw_crc32c(fsw_crc32c(0, data, at), data + at, n) == fsw_crc32c(0, data, at + n));
            CHECK(fsw_crc32(fsw_crc32(0, data, at), data + at, n) == fsw_crc32(0, data, at + n));
        }
    }
}

/* ---- bare frames ---- */

static void test_encode_refusals(void)
{
    uint8_t out[LARGEST], payload[700] = { 0 }, before[LARGEST];
    fsw_frame_header_t h = example;
    memset(out, 0xEE, sizeof out);
    memcpy(before, out, sizeof out);
    h.version = FSW_FRAME_VERSION + 1;
    CHECK(fsw_frame_encode(&h, payload, out, LARGEST) == FSW_FRAME_ERR_VERSION);
    CHECK(fsw_frame_encode_stream(&h, payload, out, LARGEST) == FSW_FRAME_ERR_VERSION);
    h = example, h.length = FSW_FRAME_PAYLOAD_MAX + 1;
    CHECK(fsw_frame_encode(&h, payload, out, LARGEST) == FSW_FRAME_ERR_LENGTH);
    h.length = 65535;
    CHECK(fsw_frame_encode(&h, payload, out, LARGEST) == FSW_FRAME_ERR_LENGTH);
    h = example, h.reserved = 0x100;
    CHECK(fsw_frame_encode(&h, payload, out, LARGEST) == FSW_FRAME_ERR_RESERVED);
    h = example, h.length = 9;
    for (size_t cap = 0; cap < HEAD + 9 + 4; cap++) CHECK(fsw_frame_encode(&h, payload, out, cap) == FSW_FRAME_ERR_SPACE);
    CHECK(memcmp(out, before, sizeof out) == 0);
    CHECK(fsw_frame_encode(&h, payload, out, HEAD + 9 + 4) == HEAD + 9 + 4);
    CHECK(memcmp(out + HEAD + 9 + 4, before, 8) == 0);
    /* payload in place */
    uint8_t again[LARGEST];
    for (size_t i = 0; i < 9; i++) payload[i] = again[HEAD + i] = (uint8_t)(200 - i);
    int n = fsw_frame_encode(&h, payload, out, LARGEST);
    CHECK(fsw_frame_encode(&h, again + HEAD, again, LARGEST) == n && memcmp(out, again, (size_t)n) == 0);
}

static void test_decode_verdicts(void)
{
    uint8_t f[LARGEST + 1] = { 0 };
    fsw_frame_header_t h = example, g, untouched;
    const uint8_t *payload = NULL;
    memset(&g, 0x77, sizeof g);
    memcpy(&untouched, &g, sizeof g);
    h.length = 5;
    CHECK(fsw_frame_encode(&h, (const uint8_t *)"he\0lo", f, LARGEST) == 33);
    for (size_t n = 0; n < 28; n++) CHECK(fsw_frame_decode(f, n, &g, &payload) == FSW_FRAME_ERR_SHORT);
    for (size_t n = 28; n <= LARGEST; n++)
        if (n != 33) CHECK(fsw_frame_decode(f, n, &g, &payload) == FSW_FRAME_ERR_LENGTH);
    for (unsigned v = 0; v < 256; v++) {
        f[0] = (uint8_t)v;
        if (v != FSW_FRAME_VERSION) CHECK(fsw_frame_decode(f, 33, &g, &payload) == FSW_FRAME_ERR_VERSION);
    }
    f[0] = FSW_FRAME_VERSION;
    for (unsigned length = 0; length < 65536; length++) { /* whatever the CRC says */
        f[4] = (uint8_t)length, f[5] = (uint8_t)(length >> 8);
        put_crc(f, 33);
        if (length != 5) CHECK(fsw_frame_decode(f, 33, &g, &payload) == FSW_FRAME_ERR_LENGTH);
    }
    f[4] = 5, f[5] = 0;
    for (unsigned reserved = 1; reserved < 65536; reserved++) {
        f[6] = (uint8_t)reserved, f[7] = (uint8_t)(reserved >> 8);
        put_crc(f, 33);
        CHECK(fsw_frame_decode(f, 33, &g, &payload) == FSW_FRAME_ERR_RESERVED);
    }
    CHECK(memcmp(&g, &untouched, sizeof g) == 0 && payload == NULL);
    f[6] = f[7] = 0;
    put_crc(f, 33);
    CHECK(fsw_frame_decode(f, 33, &g, &payload) == 0 && payload == f + HEAD && memcmp(payload, "he\0lo", 5) == 0);
    CHECK(g.version == 1 && g.length == 5 && g.reserved == 0 && g.type == 2 && g.src == 3 && g.dst == 4);
    CHECK(g.sequence == 0x01020304 && g.tick == 0xfffefdfc && g.t_ns == -2);
    /* the largest frame; one byte more than the largest frame is refused, even where the length field and the CRC agree with it */
    static const uint8_t payload_max[FSW_FRAME_PAYLOAD_MAX] = { 9 };
    h.length = FSW_FRAME_PAYLOAD_MAX;
    CHECK(fsw_frame_encode(&h, payload_max, f, LARGEST) == LARGEST);
    CHECK(fsw_frame_decode(f, LARGEST, &g, &payload) == 0 && g.length == FSW_FRAME_PAYLOAD_MAX && payload[0] == 9);
    f[4] = (FSW_FRAME_PAYLOAD_MAX + 1) & 255, f[5] = (FSW_FRAME_PAYLOAD_MAX + 1) >> 8;
    put_crc(f, LARGEST + 1);
    CHECK(decode(f, LARGEST + 1) == FSW_FRAME_ERR_LENGTH);
    static const int64_t times[] = { 0, 1, -1, INT64_MAX, INT64_MIN, INT64_MIN + 1 };
    for (unsigned i = 0; i < 6; i++) {
        h.length = 0, h.t_ns = times[i];
        CHECK(fsw_frame_encode(&h, NULL, f, 28) == 28 && fsw_frame_decode(f, 28, &g, &payload) == 0 && g.t_ns == times[i]);
    }
}

/* All patterns of 1, 2 and 3 bits, and all bursts of up to 16 bits, of a frame of 28 bytes. The proof for up to 5 bits and
 * bursts of up to 32, for every frame, is in tests/test_frames.py. */
static void test_bare_damage(void)
{
    uint8_t f[28];
    const size_t bits = 8 * sizeof f;
    CHECK(fsw_frame_encode(&example, NULL, f, sizeof f) == 28);
    for (size_t a = 0; a < bits; a++) {
        flip(f, a);
        CHECK(decode(f, 28) < 0);
        for (size_t b = a + 1; b < bits; b++) {
            flip(f, b);
            CHECK(decode(f, 28) < 0);
            for (size_t c = b + 1; c < bits; c++) {
                flip(f, c);
                CHECK(decode(f, 28) < 0);
                flip(f, c);
            }
            flip(f, b);
        }
        flip(f, a);
    }
    for (size_t at = 0; at < bits; at++) {
        for (uint32_t pattern = 1; pattern < 65536; pattern += 2) { /* starts with a wrong bit, so that none comes twice */
            uint32_t moved = pattern << at % 8;
            uint8_t g[31] = { 0 };
            memcpy(g, f, 28);
            for (unsigned i = 0; i < 3; i++) g[at / 8 + i] ^= (uint8_t)(moved >> (8 * i));
            CHECK(decode(g, 28) < 0 || (memcmp(g, f, 28) == 0));
        }
    }
    CHECK(decode(f, 28) == 0);
}

/* ---- COBS ---- */

/* Decoder by the definition, of the bytes between two delimiters; -1 where a block is cut short. */
static long by_definition(const uint8_t *in, size_t n, uint8_t *out)
{
    size_t o = 0;
    for (size_t i = 0; i < n;) {
        unsigned code = in[i++];
        if (i + code - 1 > n) return -1;
        for (unsigned k = 1; k < code; k++) out[o++] = in[i++];
        if (code != 255 && i < n) out[o++] = 0;
    }
    return (long)o;
}

static void test_cobs_blocks(void)
{
    uint8_t in[800], out[810], back[1100];
    for (size_t n = 0; n <= 780; n++) {
        for (size_t zero = 0; zero <= n; zero += n < 40 || n % 254 < 4 ? 1 : 97) { /* n: no zero at all */
            for (size_t i = 0; i < n; i++) in[i] = i == zero ? 0 : (uint8_t)(1 + (i + n) % 255);
            size_t m = fsw_cobs_encode(in, n, out, sizeof out);
            CHECK(m >= 1 && m <= n + n / 254 + 1 && !memchr(out, 0, m));
            CHECK(by_definition(out, m, back) == (long)n && memcmp(back, in, n) == 0);
            CHECK(fsw_cobs_encode(in, n, out, m) == m);
            if (n < 300 || n % 254 < 2) CHECK(fsw_cobs_encode(in, n, out, m - 1) == 0);
        }
    }
    fsw_frame_header_t h = example;
    h.length = 300;
    memset(in, 9, sizeof in);
    int m = fsw_frame_encode_stream(&h, in, out, sizeof out);
    CHECK(m > 0);
    for (size_t cap = 0; cap < (size_t)m; cap++) {
        memset(back, 0xEE, sizeof back);
        CHECK(fsw_frame_encode_stream(&h, in, back, cap) == FSW_FRAME_ERR_SPACE);
        for (size_t i = cap; i < (size_t)m; i++) CHECK(back[i] == 0xEE);
    }
    CHECK(fsw_frame_encode_stream(&h, in, back, (size_t)m) == m && memcmp(back, out, (size_t)m) == 0);
}

/* ---- streams ---- */

typedef struct {
    uint8_t bytes[ROOM];
    size_t n;
    size_t at[9];      /* where each frame begins: its first delimiter */
    unsigned frames;
} line_t;

/* kind 0: zeros here and there; 1: no zero, last block full (the frame ends with a code of 255); 2: only zeros; 3: bare header */
static void add(line_t *s, unsigned kind)
{
    uint8_t payload[FSW_FRAME_PAYLOAD_MAX] = { 0 }, f[LARGEST];
    fsw_frame_header_t h = example;
    h.type = (uint8_t)s->frames;
    h.length = (uint16_t)(kind == 1 ? 234 : kind == 3 ? 0 : 4);
    for (size_t i = 0; i < h.length; i++) payload[i] = (uint8_t)(kind == 2 || (kind == 0 && i == 2) ? 0 : 1 + i);
    int n = 0;
    for (int searching = 1; searching; h.sequence++) { /* full: 254 bytes without a zero behind the zeros of the reserved field */
        n = fsw_frame_encode(&h, payload, f, sizeof f);
        searching = kind == 1 && memchr(f + 8, 0, (size_t)n - 8) != NULL;
    }
    s->at[s->frames++] = s->n;
    s->bytes[s->n++] = 0;
    s->n += fsw_cobs_encode(f, (size_t)n, s->bytes + s->n, sizeof s->bytes - s->n);
    s->bytes[s->n++] = 0;
    s->at[s->frames] = s->n;
}

static line_t line_of(unsigned kind)
{
    line_t s = { .n = 0 };
    add(&s, 3);
    add(&s, kind);
    add(&s, 3);
    return s;
}

/* Bit i: frame of type i arrived. Bit 31: something else did. Every byte is used once, in order; what arrives is counted. */
static uint32_t feed(fsw_cobs_decoder_t *d, const uint8_t *bytes, size_t n)
{
    uint32_t mask = 0, good = d->good;
    for (size_t at = 0, used; at < n; at += used) {
        fsw_frame_header_t h;
        const uint8_t *payload;
        int one = fsw_frame_receive(d, bytes + at, n - at, &used, &h, &payload);
        CHECK(used >= 1 && used <= n - at && (one || used == n - at));
        if (one) mask |= h.type < 8 && h.src == 3 && h.tick == example.tick && h.t_ns == -2 ? 1u << h.type : 1u << 31;
        good += (unsigned)one;
    }
    CHECK(d->good == good && d->frames == good + d->bad_short + d->bad_version + d->bad_length + d->bad_crc + d->bad_reserved);
    return mask;
}

static uint32_t fresh(const uint8_t *bytes, size_t n)
{
    fsw_cobs_decoder_t d;
    fsw_cobs_decoder_init(&d);
    return feed(&d, bytes, n);
}

/* Frames 0 and 2 arrive, nothing false does; frame 1 was damaged. */
#define NEIGHBOURS(bytes, n) ((fresh(bytes, n) & ~2u) == 5u)

static void test_stream_bits(void)
{
    for (unsigned kind = 0; kind < 4; kind++) {
        line_t s = line_of(kind);
        size_t first = 8 * s.at[1], bits = 8 * s.at[2];
        CHECK(fresh(s.bytes, s.n) == 7);
        for (size_t a = first; a < bits; a++) {
            flip(s.bytes, a);
            CHECK(NEIGHBOURS(s.bytes, s.n));
            for (size_t b = a + 1; b < bits && kind != 1; b++) {
                flip(s.bytes, b);
                CHECK(NEIGHBOURS(s.bytes, s.n));
                for (size_t c = b + 1; c < bits && kind == 3 && a % 8 == 7; c++) {
                    flip(s.bytes, c);
                    CHECK(NEIGHBOURS(s.bytes, s.n));
                    flip(s.bytes, c);
                }
                flip(s.bytes, b);
            }
            flip(s.bytes, a);
        }
        for (size_t at = first; at + 9 < bits; at++) { /* all bursts of up to 10 bits */
            for (uint32_t pattern = 1; pattern < 1024; pattern += kind == 1 ? 74 : 2) {
                uint8_t copy[ROOM];
                memcpy(copy, s.bytes, s.n);
                for (unsigned i = 0; i < 3; i++) copy[at / 8 + i] ^= (uint8_t)((pattern << at % 8) >> (8 * i));
                CHECK(NEIGHBOURS(copy, s.n));
            }
        }
    }
}

/* The classic trap: a damaged delimiter joins what it should part. All values of each delimiter, and of two side by side. */
static void test_delimiters(void)
{
    for (unsigned kind = 0; kind < 4; kind++) {
        line_t s = line_of(kind);
        for (unsigned v = 1; v < 256; v++) {
            s.bytes[s.at[1]] = (uint8_t)v; /* opening: the frame is lost */
            CHECK(fresh(s.bytes, s.n) == 5);
            s.bytes[s.at[1]] = 0;
            s.bytes[s.at[2] - 1] = (uint8_t)v; /* closing: lost, or whole where 01 stands behind a full block */
            CHECK(fresh(s.bytes, s.n) == (kind == 1 && v == 1 ? 7u : 5u));
            for (unsigned w = 1; w < 256; w++) { /* closing, and opening of the next: both lost, the one after them not */
                s.bytes[s.at[2]] = (uint8_t)w;
                uint32_t mask = fresh(s.bytes, s.n);
                CHECK(mask == 1);
            }
            s.bytes[s.at[2]] = 0;
            s.bytes[s.at[2] - 1] = 0;
        }
    }
    /* a stream whose damage ate both delimiters between two frames loses these two, not the third */
    line_t s = line_of(0);
    add(&s, 3);
    s.bytes[s.at[2] - 1] = s.bytes[s.at[2]] = 7;
    CHECK(fresh(s.bytes, s.n) == 9);
}

static void test_missing_and_more(void)
{
    uint8_t copy[2 * ROOM];
    for (unsigned kind = 0; kind < 4; kind++) {
        line_t s = line_of(kind);
        size_t a = s.at[1], z = s.at[2];
        /* every stretch of the frame missing */
        for (size_t from = a; from < z; from++) {
            for (size_t to = from + 1; to <= z; to++) {
                memcpy(copy, s.bytes, from);
                memcpy(copy + from, s.bytes + to, s.n - to);
                uint32_t mask = fresh(copy, s.n - (to - from));
                CHECK((mask & ~2u) == 5);
                /* one delimiter may be missing where that of a neighbour stands beside it */
                if (mask & 2) CHECK(to == from + 1 && (from == a || from == z - 1));
            }
        }
        /* cut off at every byte: what was complete before the cut arrives, and a new sender is understood at once */
        for (size_t cut = 0; cut <= s.n; cut++) {
            uint32_t whole = cut < s.at[1] ? 0 : cut < z ? 1 : cut < s.n ? 3 : 7;
            fsw_cobs_decoder_t d;
            fsw_cobs_decoder_init(&d);
            uint32_t mask = feed(&d, s.bytes, cut);
            CHECK(mask == whole);
            mask = feed(&d, s.bytes, s.n);
            CHECK(mask == 7);
        }
        /* joining late at every byte: whatever has its opening delimiter still before it */
        for (size_t from = 0; from < s.n; from++) {
            uint32_t mask = fresh(s.bytes + from, s.n - from);
            CHECK(mask == (from == 0 ? 7u : from <= a ? 6u : from <= z ? 4u : 0u));
        }
        /* one byte of every value, at every place */
        for (size_t at = 0; at <= s.n; at++) {
            for (unsigned v = 0; v < 256; v += kind == 1 ? 51 : 1) {
                memcpy(copy, s.bytes, at);
                copy[at] = (uint8_t)v;
                memcpy(copy + at + 1, s.bytes + at, s.n - at);
                uint32_t hit = at == 0 || at == s.n || at == a || at == z ? 0 : at < a ? 1 : at < z ? 2 : 4;
                uint32_t mask = fresh(copy, s.n + 1);
                CHECK((mask | hit) == 7);
            }
        }
    }
}

static void test_pieces(void)
{
    for (unsigned kind = 0; kind < 4; kind++) {
        line_t s = line_of(kind);
        for (size_t a = 0; a <= s.n; a++) {
            for (size_t b = a; b <= s.n; b += kind == 1 ? 13 : 1) {
                fsw_cobs_decoder_t d;
                fsw_cobs_decoder_init(&d);
                uint32_t mask = feed(&d, s.bytes, a);
                mask |= feed(&d, s.bytes + a, b - a);
                mask |= feed(&d, s.bytes + b, s.n - b);
                CHECK(mask == 7 && d.frames == 3 && d.good == 3 && d.truncated + d.overlong + d.unsynced_bytes == 0);
            }
        }
    }
}

/* Garbage of many kinds before, between and behind: no frame is lost. The garbage is what opens, cuts and fills blocks. */
static void test_garbage_around(void)
{
    static const uint8_t values[] = { 0, 1, 2, 254, 255 };
    line_t s = line_of(0);
    uint8_t copy[ROOM + 2000];
    for (size_t n = 0; n < 5 * 5 * 5 * 5; n++) {
        for (size_t repeat = 1; repeat < 700; repeat = repeat * 5 + 1) {
            uint8_t noise[2000];
            size_t size = 0;
            for (size_t i = 0; i < repeat && size + 4 <= 1300; i++)
                for (size_t k = 0, x = n; k < 4; k++, x /= 5) noise[size++] = values[x % 5];
            for (unsigned where = 0; where < 3; where++) {
                size_t at = s.at[where];
                memcpy(copy, s.bytes, at);
                memcpy(copy + at, noise, size);
                memcpy(copy + at + size, s.bytes + at, s.n - at);
                CHECK(fresh(copy, s.n + size) == 7);
            }
        }
    }
}

/* After a zero the decoder does not know what was before. */
static void test_zero_forgets(void)
{
    static const uint8_t before[][4] = { { 0, 0, 0, 0 }, { 5, 5, 5, 5 }, { 0, 5, 5, 5 },
                                         { 0, 1, 1, 1 }, { 0, 255, 9, 9 }, { 0, 3, 1, 1 } };
    for (unsigned long_ago = 0; long_ago < 2; long_ago++) {
        for (size_t i = 0; i < 6; i++) {
            fsw_cobs_decoder_t d;
            fsw_cobs_decoder_init(&d);
            uint8_t many[1000], zero = 0;
            memset(many, 1, sizeof many);
            feed(&d, &zero, long_ago);
            feed(&d, many, long_ago * 1000);
            feed(&d, before[i], 4);
            feed(&d, &zero, 1);
            CHECK(d.state == 1 && d.fill == 0 && d.code == 0 && d.left == 0);
        }
    }
}

/* Candidates of every size around the limits, and the two spellings of one frame. */
static void test_sizes(void)
{
    static uint8_t frame[LARGEST + 3], s[2 * FSW_FRAME_STREAM_MAX];
    for (unsigned fill = 0; fill < 2; fill++) {
        memset(frame, (int)fill, sizeof frame);
        for (size_t n = 0; n <= LARGEST + 2; n++) {
            fsw_cobs_decoder_t d;
            const uint8_t *out;
            size_t size, m = fsw_cobs_encode(frame, n, s + 1, sizeof s - 2) + 2;
            s[0] = s[m - 1] = 0;
            fsw_cobs_decoder_init(&d);
            CHECK(fsw_cobs_decoder_feed(&d, s, m, &out, &size) == m);
            CHECK(d.overlong == (n > LARGEST) && d.frames == (n <= LARGEST) && d.truncated == 0);
            if (n <= LARGEST) CHECK(out == d.buf && size == n && memcmp(out, frame, n) == 0);
            else CHECK(out == NULL && size == 0);
            CHECK(d.state == 1);
            if (n && n % 254 == 0 && fill) { /* code 01 behind a full last block adds nothing */
                s[m - 1] = 1, s[m] = 0;
                CHECK(fsw_cobs_decoder_feed(&d, s, m + 1, &out, &size) == m + 1 && size == n);
            }
        }
    }
}

static void test_counters(void)
{
    fsw_cobs_decoder_t d;
    uint8_t s[LARGEST + 100], f[40];
    size_t n = 0;
    CHECK(fsw_frame_encode(&example, NULL, f, sizeof f) == 28);
    for (unsigned verdict = 0; verdict < 6; verdict++) { /* one of each */
        uint8_t g[40];
        size_t size = verdict == 0 ? 27 : 28;
        memcpy(g, f, 28);
        if (verdict == 1) g[0] = 7;
        if (verdict == 2) g[4] = 1;
        if (verdict == 3) g[9] ^= 1;
        if (verdict == 4) g[6] = 1, put_crc(g, 28);
        s[n++] = 0;
        n += fsw_cobs_encode(g, size, s + n, sizeof s - n);
        s[n++] = 0;
    }
    fsw_frame_header_t h;
    const uint8_t *payload;
    size_t used;
    for (size_t end = 1; end < n - 31; end++) { /* after a refused frame the bytes given still end where they end */
        fsw_cobs_decoder_init(&d);
        CHECK(fsw_frame_receive(&d, s, end, &used, &h, &payload) == 0 && used == end);
    }
    fsw_cobs_decoder_init(&d);
    CHECK(feed(&d, (const uint8_t *)"abc", 3) == 0 && d.unsynced_bytes == 3);
    CHECK(feed(&d, s, n) == 1u << 2);
    CHECK(d.frames == 6 && d.good == 1 && d.bad_short == 1 && d.bad_version == 1);
    CHECK(d.bad_length == 1 && d.bad_crc == 1 && d.bad_reserved == 1);
    CHECK(feed(&d, (const uint8_t *)"\3a", 3) == 0 && d.truncated == 1);
    uint32_t *counters = &d.frames; /* ten of them, one after the other */
    for (unsigned i = 0; i < 10; i++) counters[i] = UINT32_MAX;
    d.state = 0;
    fsw_frame_receive(&d, (const uint8_t *)"abc", 4, &used, &h, &payload);
    for (size_t at = 0; at < n; at += used) fsw_frame_receive(&d, s + at, n - at, &used, &h, &payload);
    memset(s, 1, sizeof s);
    fsw_frame_receive(&d, s, sizeof s, &used, &h, &payload);
    fsw_frame_receive(&d, (const uint8_t *)"\0\3", 3, &used, &h, &payload);
    for (unsigned i = 0; i < 10; i++) CHECK(counters[i] == UINT32_MAX);
    CHECK(fsw_frame_receive(&d, NULL, 0, &used, &h, &payload) == 0 && used == 0);
}

/* A known limit. Who chooses the payload can put the image of another frame into it; where errors then make zeros of the two bytes
 * around that image, it arrives. Nothing in a checksum can prevent it: commands carry a tag. */
static void test_frame_inside_a_frame(void)
{
    uint8_t payload[64] = { 0 }, s[128], inner[FSW_FRAME_STREAM_MAX];
    fsw_frame_header_t h = example;
    h.type = 6;
    int m = fsw_frame_encode_stream(&h, NULL, inner, sizeof inner); /* zero, 29 bytes, zero */
    h.type = 5, h.length = 34;
    memcpy(payload + 1, inner, (size_t)m);
    int n = fsw_frame_encode_stream(&h, payload, s, sizeof s);
    CHECK(m == 31 && n > 0 && fresh(s, (size_t)n) == 1u << 5);
    for (size_t i = 1; i + 1 < (size_t)n; i++) /* the codes in place of the two zeros */
        if (memcmp(s + i, inner + 1, 29) == 0) s[i - 1] = s[i + 29] = 0;
    CHECK(fresh(s, (size_t)n) == 1u << 6);
}

int main(void)
{
    test_crc_by_definition();
    test_encode_refusals();
    test_decode_verdicts();
    test_bare_damage();
    test_cobs_blocks();
    test_stream_bits();
    test_delimiters();
    test_missing_and_more();
    test_pieces();
    test_garbage_around();
    test_zero_forgets();
    test_sizes();
    test_counters();
    test_frame_inside_a_frame();
    if (failures) printf("%d failures\n", failures);
    return failures != 0;
}
