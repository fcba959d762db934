#include "flightsw/frame.h"

#include "flightsw/checksum.h"

_Static_assert(FSW_FRAME_HEADER + FSW_FRAME_PAYLOAD_MAX + FSW_FRAME_CRC == FSW_FRAME_MAX, "frame size");
_Static_assert(FSW_FRAME_MAX + FSW_FRAME_MAX / 254 + 1 + 2 == FSW_FRAME_STREAM_MAX, "COBS overhead and two delimiters");
_Static_assert((FSW_FRAME_MAX - FSW_FRAME_CRC) * 8 <= 5243, "CRC-32C keeps Hamming distance 6 up to 5243 data bits");
_Static_assert(sizeof(((fsw_cobs_decoder_t *)0)->buf) == FSW_FRAME_MAX, "decoder buffer");
_Static_assert(sizeof(fsw_cobs_decoder_t) == 40 + 8 + FSW_FRAME_MAX, "no implicit padding");
_Static_assert(sizeof(fsw_frame_header_t) == FSW_FRAME_HEADER, "no implicit padding");

/* The annotations behind an at sign state what tests/static/frama.py proves: no access outside the buffers, for any bytes. */

/*@ requires bytes <= 8 && \valid(p + (0 .. bytes - 1));
    assigns p[0 .. bytes - 1]; */
static inline void put(uint8_t *p, uint64_t v, unsigned bytes)
{
    /*@ loop invariant 0 <= i <= bytes;
        loop assigns i, p[0 .. bytes - 1];
        loop variant bytes - i; */
    for (unsigned i = 0; i < bytes; i++) p[i] = (uint8_t)(v >> (8u * i));
}

/*@ requires bytes <= 8 && \valid_read(p + (0 .. bytes - 1));
    assigns \nothing; */
static inline uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    /*@ loop invariant 0 <= i <= bytes;
        loop assigns i, v;
        loop variant bytes - i; */
    for (unsigned i = 0; i < bytes; i++) v |= (uint64_t)p[i] << (8u * i);
    return v;
}

/*@ requires \valid(counter);
    assigns *counter; */
static inline void count(uint32_t *counter) { *counter += *counter != UINT32_MAX; }

/* ---- bare frames --------------------------------------------------------------------------------------------------- */

/*@ requires \valid_read(h) && \valid(out + (0 .. cap - 1));
    requires h->length == 0 || \valid_read(payload + (0 .. h->length - 1));
    requires \separated(h, out + (0 .. cap - 1));
    assigns out[0 .. cap - 1];
    ensures \result <= FSW_FRAME_MAX;
    ensures \result <= cap; */
int fsw_frame_encode(const fsw_frame_header_t *h, const uint8_t *payload, uint8_t *out, size_t cap)
{
    if (h->version != FSW_FRAME_VERSION) return FSW_FRAME_ERR_VERSION;
    if (h->length > FSW_FRAME_PAYLOAD_MAX) return FSW_FRAME_ERR_LENGTH;
    if (h->reserved != 0) return FSW_FRAME_ERR_RESERVED;
    size_t body = (size_t)FSW_FRAME_HEADER + h->length;
    if (cap < body + FSW_FRAME_CRC) return FSW_FRAME_ERR_SPACE;
    out[0] = h->version;
    out[1] = h->type;
    out[2] = h->src;
    out[3] = h->dst;
    put(out + 4, h->length, 2);
    put(out + 6, 0, 2);
    put(out + 8, h->sequence, 4);
    put(out + 12, h->tick, 4);
    put(out + 16, (uint64_t)h->t_ns, 8);
    const uint8_t *in_place = out + FSW_FRAME_HEADER;
    if (h->length && payload != in_place) __builtin_memcpy(out + FSW_FRAME_HEADER, payload, h->length);
    put(out + body, fsw_crc32c(0, out, body), FSW_FRAME_CRC);
    return (int)(body + FSW_FRAME_CRC);
}

/*@ requires \valid_read(bytes + (0 .. n - 1)) && \valid(h) && \valid(payload);
    requires \separated(h, payload, bytes + (0 .. n - 1));
    assigns *h, *payload;
    ensures \result != 0 || (*payload == bytes + FSW_FRAME_HEADER && n == FSW_FRAME_HEADER + h->length + FSW_FRAME_CRC); */
int fsw_frame_decode(const uint8_t *bytes, size_t n, fsw_frame_header_t *h, const uint8_t **payload)
{
    if (n < FSW_FRAME_HEADER + FSW_FRAME_CRC) return FSW_FRAME_ERR_SHORT;
    if (bytes[0] != FSW_FRAME_VERSION) return FSW_FRAME_ERR_VERSION;
    size_t length = (size_t)get(bytes + 4, 2);
    if (length > FSW_FRAME_PAYLOAD_MAX || n != FSW_FRAME_HEADER + length + FSW_FRAME_CRC) return FSW_FRAME_ERR_LENGTH;
    if (fsw_crc32c(0, bytes, n - FSW_FRAME_CRC) != get(bytes + n - FSW_FRAME_CRC, FSW_FRAME_CRC)) return FSW_FRAME_ERR_CRC;
    if (get(bytes + 6, 2) != 0) return FSW_FRAME_ERR_RESERVED;
    uint64_t t = get(bytes + 16, 8);
    *h = (fsw_frame_header_t){
        .version = bytes[0],
        .type = bytes[1],
        .src = bytes[2],
        .dst = bytes[3],
        .length = (uint16_t)length,
        .sequence = (uint32_t)get(bytes + 8, 4),
        .tick = (uint32_t)get(bytes + 12, 4),
        /* two's complement without a conversion that ISO C leaves to the implementation */
        .t_ns = t > (uint64_t)INT64_MAX ? -(int64_t)(UINT64_MAX - t) - 1 : (int64_t)t,
    };
    *payload = bytes + FSW_FRAME_HEADER;
    return 0;
}

/* ---- COBS ---------------------------------------------------------------------------------------------------------- */

#define COBS_RUN 254u /* bytes of a full block; its code is 255 and no zero is implied after it */

/*@ requires n <= 1000000 && cap <= 2000000;
    requires \valid_read(in + (0 .. n - 1)) && \valid(out + (0 .. cap - 1));
    requires \separated(in + (0 .. n - 1), out + (0 .. cap - 1));
    assigns out[0 .. cap - 1];
    ensures \result <= cap; */
size_t fsw_cobs_encode(const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
    size_t i = 0, o = 0;
    /*@ loop invariant i <= n && o <= cap;
        loop assigns i, o, out[0 .. cap - 1]; */
    for (;;) { /* one block: its code, then bytes up to a zero, the end, or 254 of them */
        size_t left = n - i, most = left < COBS_RUN ? left : COBS_RUN, k = 0;
        if (o >= cap) return 0;
        /*@ loop invariant k <= most && o + k < cap;
            loop assigns k, out[0 .. cap - 1];
            loop variant most - k; */
        while (k < most && in[i + k]) {
            if (o + 1 + k >= cap) return 0;
            out[o + 1 + k] = in[i + k];
            k++;
        }
        out[o] = (uint8_t)(k + 1);
        o += k + 1;
        i += k;
        if (i == n) return o;
        if (k < COBS_RUN) i++; /* the zero that is implied; another block follows, even when that was the last byte */
    }
}

/*@ requires cap <= 2000000 && \valid_read(h) && \valid(out + (0 .. cap - 1));
    requires h->length == 0 || \valid_read(payload + (0 .. h->length - 1));
    assigns out[0 .. cap - 1]; */
int fsw_frame_encode_stream(const fsw_frame_header_t *h, const uint8_t *payload, uint8_t *out, size_t cap)
{
    uint8_t frame[FSW_FRAME_MAX];
    int n = fsw_frame_encode(h, payload, frame, sizeof frame);
    if (n < 0) return n;
    if (cap < 2) return FSW_FRAME_ERR_SPACE;
    size_t m = fsw_cobs_encode(frame, (size_t)n, out + 1, cap - 2);
    if (m == 0) return FSW_FRAME_ERR_SPACE;
    out[0] = 0;
    out[m + 1] = 0;
    return (int)(m + 2);
}

enum { UNSYNCED = 0, IDLE = 1, INSIDE = 2, SKIPPING = 3 };

/*@ requires \valid(d);
    assigns *d; */
void fsw_cobs_decoder_init(fsw_cobs_decoder_t *d) { *d = (fsw_cobs_decoder_t){ .state = UNSYNCED }; }

/*@ requires \valid(d);
    assigns d->state, d->fill, d->code, d->left;
    ensures d->fill == 0 && d->left == 0 && d->state == state; */
static inline void begin(fsw_cobs_decoder_t *d, uint8_t state)
{
    d->state = state;
    d->fill = 0;
    d->code = 0;
    d->left = 0;
}

/* Takes bytes of the current block, at most n: up to its end or a zero. bytes[0] is not zero. Returns how many, at least 1. */
/*@ requires \valid(d) && \valid_read(bytes + (0 .. n - 1)) && \separated(d, bytes + (0 .. n - 1));
    requires n >= 1 && d->left >= 1 && d->fill <= FSW_FRAME_MAX;
    assigns d->overlong, d->state, d->fill, d->code, d->left, d->buf[0 .. FSW_FRAME_MAX - 1];
    ensures \result <= n && d->fill <= FSW_FRAME_MAX; */
static inline size_t copy(fsw_cobs_decoder_t *d, const uint8_t *bytes, size_t n)
{
    if (d->fill >= FSW_FRAME_MAX) {
        count(&d->overlong);
        begin(d, SKIPPING);
        return 1;
    }
    size_t room = FSW_FRAME_MAX - (size_t)d->fill, most = d->left < n ? d->left : n, k = 0;
    uint8_t *to = d->buf + d->fill;
    if (room < most) most = room;
    /*@ loop invariant k <= most;
        loop assigns k, d->buf[0 .. FSW_FRAME_MAX - 1];
        loop variant most - k; */
    while (k < most && bytes[k]) {
        to[k] = bytes[k];
        k++;
    }
    d->fill = (uint16_t)(d->fill + k);
    d->left = (uint8_t)(d->left - k);
    return k;
}

/* A code byte: opens a block, behind the zero that the block before implies. */
/*@ requires \valid(d) && d->fill <= FSW_FRAME_MAX && code >= 1;
    assigns d->overlong, d->state, d->fill, d->code, d->left, d->buf[0 .. FSW_FRAME_MAX - 1];
    ensures d->fill <= FSW_FRAME_MAX; */
static inline void open_block(fsw_cobs_decoder_t *d, uint8_t code)
{
    if (d->code != 0 && d->code != COBS_RUN + 1u) {
        if (d->fill >= FSW_FRAME_MAX) {
            count(&d->overlong);
            begin(d, SKIPPING);
            return;
        }
        d->buf[d->fill++] = 0;
    }
    d->state = INSIDE;
    d->code = code;
    d->left = (uint8_t)(code - 1);
}

/*@ requires \valid(d) && \valid_read(bytes + (0 .. n - 1)) && \valid(frame) && \valid(frame_size);
    requires \separated(d, frame, frame_size, bytes + (0 .. n - 1)) && d->fill <= FSW_FRAME_MAX;
    assigns *d, *frame, *frame_size;
    ensures \result <= n && d->fill <= FSW_FRAME_MAX;
    ensures *frame == \null || (*frame == &d->buf[0] && *frame_size <= FSW_FRAME_MAX); */
size_t fsw_cobs_decoder_feed(fsw_cobs_decoder_t *d, const uint8_t *bytes, size_t n, const uint8_t **frame, size_t *frame_size)
{
    *frame = NULL;
    *frame_size = 0;
    /*@ loop invariant i <= n && d->fill <= FSW_FRAME_MAX && *frame == \null;
        loop assigns i, *d, *frame, *frame_size; */
    for (size_t i = 0; i < n;) {
        if (bytes[i] == 0) {
            uint8_t state = d->state, left = d->left;
            uint16_t fill = d->fill;
            i++;
            begin(d, IDLE); /* whatever was before; buf keeps the frame until it is fed again */
            if (state != INSIDE) continue;
            if (left) {
                count(&d->truncated);
                continue;
            }
            count(&d->frames);
            *frame = d->buf;
            *frame_size = fill;
            return i;
        }
        if (d->left) {
            i += copy(d, bytes + i, n - i);
            continue;
        }
        if (d->state == UNSYNCED) count(&d->unsynced_bytes);
        else if (d->state != SKIPPING) open_block(d, bytes[i]);
        i++;
    }
    return n;
}

/*@ requires \valid(d) && \valid_read(bytes + (0 .. n - 1)) && \valid(used) && \valid(h) && \valid(payload);
    requires \separated(d, used, h, payload, bytes + (0 .. n - 1)) && d->fill <= FSW_FRAME_MAX;
    assigns *d, *used, *h, *payload;
    ensures *used <= n && d->fill <= FSW_FRAME_MAX; */
int fsw_frame_receive(fsw_cobs_decoder_t *d, const uint8_t *bytes, size_t n, size_t *used, fsw_frame_header_t *h,
                      const uint8_t **payload)
{
    size_t at = 0, size;
    const uint8_t *frame;
    /*@ loop invariant at <= n && d->fill <= FSW_FRAME_MAX;
        loop assigns at, size, frame, *d, *h, *payload; */
    while (at < n) {
        at += fsw_cobs_decoder_feed(d, bytes + at, n - at, &frame, &size);
        if (!frame) break;
        switch (fsw_frame_decode(frame, size, h, payload)) {
        case 0:
            count(&d->good);
            *used = at;
            return 1;
        case FSW_FRAME_ERR_SHORT: count(&d->bad_short); break;
        case FSW_FRAME_ERR_VERSION: count(&d->bad_version); break;
        case FSW_FRAME_ERR_LENGTH: count(&d->bad_length); break;
        case FSW_FRAME_ERR_RESERVED: count(&d->bad_reserved); break;
        default: count(&d->bad_crc); break;
        }
    }
    *used = at;
    return 0;
}
