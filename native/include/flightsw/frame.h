/* frame.h: the link frame, and its codec for byte streams.
 *
 * Frame, all integers little-endian:
 *     offset  size  field
 *          0     1  version     FSW_FRAME_VERSION
 *          1     1  type        message type
 *          2     1  src         node number of the sender
 *          3     1  dst         node number of the receiver
 *          4     2  length      payload bytes, 0 .. 624 (a 16-byte authentication tag included where there is one)
 *          6     2  reserved    zero
 *          8     4  sequence    counts frames of one (src, dst, type), wraps
 *         12     4  tick        base tick of the sender, modulo 2^32
 *         16     8  t_ns        mission elapsed time, signed
 *         24  length            payload
 *  24+length     4  crc         CRC-32C of everything before it
 * A ZeroMQ message part is one bare frame. On a byte stream a frame is COBS-encoded (S. Cheshire & M. Baker, "Consistent
 * Overhead Byte Stuffing", IEEE/ACM Trans. Networking 7 (1999)) between two zero bytes: one opens it, so that noise before it or a
 * damaged end of the previous frame does not take it along; one ends it, and without that one nothing is delivered.
 *
 * Why this CRC and this size: over at most 5243 data bits (648 bytes are 5184) CRC-32C detects every pattern of up to 5 wrong bits.
 * The final XOR and the protected length stop the classic COBS trap, where a damaged delimiter yields a valid frame one byte longer.
 * On a byte stream a wrong bit may hit what says where zeros are; what then holds for certain, and what with which probability, is in
 * docs/link-format.md, section 6.
 *
 * Received bytes are untrusted: any bytes of any length may be given to the decoders, which never read or write out of bounds, never
 * allocate, and do work proportional to the bytes given. A decoded frame is intact, not authentic. Nothing here keeps global state. */
#ifndef FLIGHTSW_FRAME_H
#define FLIGHTSW_FRAME_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
#define FSW_FRAME_VERSION 1
#define FSW_FRAME_HEADER 24
#define FSW_FRAME_PAYLOAD_MAX 624
#define FSW_FRAME_CRC 4
#define FSW_FRAME_MAX 652         /* header + payload + crc */
#define FSW_FRAME_STREAM_MAX 657  /* the same as COBS, with both delimiters */

/* Negative results of this header. Decoding tests in this order; the first that applies is returned. */
enum {
    FSW_FRAME_ERR_SHORT = -1,    /* fewer bytes than an empty frame has */
    FSW_FRAME_ERR_VERSION = -2,  /* version differs from FSW_FRAME_VERSION */
    FSW_FRAME_ERR_LENGTH = -3,   /* length field above the limit, or not the length of what was given */
    FSW_FRAME_ERR_CRC = -4,      /* damaged */
    FSW_FRAME_ERR_RESERVED = -5, /* intact, but the reserved field is not zero */
    FSW_FRAME_ERR_SPACE = -6     /* encoding only: output buffer too small */
};

/* Host byte order, no implicit padding. */
typedef struct {
    uint8_t version;
    uint8_t type;
    uint8_t src;
    uint8_t dst;
    uint16_t length;
    uint16_t reserved;
    uint32_t sequence;
    uint32_t tick;
    int64_t t_ns;
} fsw_frame_header_t;

/* Writes the frame of h and its h->length payload bytes (payload may be NULL when that is 0) to out. Returns its size, or VERSION,
 * LENGTH, RESERVED for a header that must not be sent, or SPACE; then out is untouched. out must not overlap payload, except that
 * payload == out + FSW_FRAME_HEADER is allowed. */
int fsw_frame_encode(const fsw_frame_header_t *h, const uint8_t *payload, uint8_t *out, size_t cap);

/* Exactly one frame of n bytes. Returns 0 and sets *h and *payload (pointing into bytes), or an error and leaves both untouched. */
int fsw_frame_decode(const uint8_t *bytes, size_t n, fsw_frame_header_t *h, const uint8_t **payload);

/* As fsw_frame_encode, but ready for a byte stream: zero, COBS, zero. cap of FSW_FRAME_STREAM_MAX always suffices; with SPACE, out may
 * hold a part without a delimiter behind it. */
int fsw_frame_encode_stream(const fsw_frame_header_t *h, const uint8_t *payload, uint8_t *out, size_t cap);

/* Bare COBS of n bytes, without delimiters: at most n + n / 254 + 1 bytes, none of them zero. Returns the size, or 0 when cap is too
 * small (out then holds part of it). in and out must not overlap. */
size_t fsw_cobs_encode(const uint8_t *in, size_t n, uint8_t *out, size_t cap);

/* Incremental decoder of a stream. Counters saturate; they describe the link and stay outside what redundant computers compare.
 * Contains no pointers and no padding: may live in an image. */
typedef struct {
    /* what arrived */
    uint32_t frames;          /* frames delivered by fsw_cobs_decoder_feed, good or not for the layer above */
    uint32_t unsynced_bytes;  /* dropped before the first delimiter */
    uint32_t truncated;       /* delimiter inside a COBS block: bytes were lost, or a byte became zero */
    uint32_t overlong;        /* more than FSW_FRAME_MAX bytes: a delimiter was lost, or noise */
    /* verdicts of fsw_frame_receive */
    uint32_t good;
    uint32_t bad_short;
    uint32_t bad_version;
    uint32_t bad_length;
    uint32_t bad_crc;
    uint32_t bad_reserved;
    /* private */
    uint16_t fill;            /* decoded bytes in buf */
    uint8_t state;
    uint8_t code;             /* code byte of the current block, 0 before the first */
    uint8_t left;             /* bytes of the current block still to come */
    uint8_t pad0[3];
    uint8_t buf[652];
} fsw_cobs_decoder_t;

void fsw_cobs_decoder_init(fsw_cobs_decoder_t *d);

/* Feeds up to n bytes, stops behind a delimiter that completes a frame. Returns the number of bytes consumed; *frame is the decoded
 * frame of *frame_size bytes (valid until the next call), or NULL when all n bytes were consumed without one. Call again with the
 * rest. Any damage costs the frames that it touches and none after the next delimiter. Repeated delimiters are idle line, not errors. */
size_t fsw_cobs_decoder_feed(fsw_cobs_decoder_t *d, const uint8_t *bytes, size_t n, const uint8_t **frame, size_t *frame_size);

/* The usual receive loop: feeds until a frame passes fsw_frame_decode, counting those that do not. Returns 1 with *h and *payload set
 * (valid until the next call) or 0 when the bytes are used up; *used is the number of bytes consumed. */
int fsw_frame_receive(fsw_cobs_decoder_t *d, const uint8_t *bytes, size_t n, size_t *used, fsw_frame_header_t *h,
                      const uint8_t **payload);
/* cffi: end */

#endif
