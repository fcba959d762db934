/* digest.h: 64-bit digest of bytes, for image and log comparison.
 *
 * XXH64, algorithm by Y. Collet (xxHash specification 0.1.1), written from the specification. Depends on the bytes only: equal on
 * little- and big-endian computers (whether the *bytes* are equal is the caller's business: images are little-endian).
 * Finds accidents, not attackers: anybody can construct collisions. Reentrant. */
#ifndef FLIGHTSW_DIGEST_H
#define FLIGHTSW_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
/* Digest of n bytes; data may be NULL when n is 0. */
uint64_t fsw_digest(const void *data, size_t n, uint64_t seed);

/* The same in pieces: init, update with any cuts, final (which leaves the state usable for further updates). No padding, no
 * pointers: the state may live in an image. */
typedef struct {
    uint64_t total;     /* bytes so far */
    uint64_t seed;
    uint64_t lane[4];
    uint8_t tail[32];   /* the total % 32 bytes not yet folded into the lanes */
} fsw_digest_t;

void fsw_digest_init(fsw_digest_t *d, uint64_t seed);
void fsw_digest_update(fsw_digest_t *d, const void *data, size_t n);
uint64_t fsw_digest_final(const fsw_digest_t *d);
/* cffi: end */

#endif
