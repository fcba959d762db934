/* blake2s.h - BLAKE2s with a key, as a proof that two ends of a link know the same secret.
 *
 * Method: RFC 7693, "The BLAKE2 Cryptographic Hash and Message Authentication Code (MAC)" (2015); sequential, no salt, no personal text. The
 * same bytes as Python's hashlib.blake2s(data, key=key, digest_size=size). Nothing here allocates or keeps state. */
#ifndef FLIGHTSW_BLAKE2S_H
#define FLIGHTSW_BLAKE2S_H
#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
#define FSW_BLAKE2S_KEY 32
#define FSW_BLAKE2S_SIZE 32

/* Tag of n bytes of data. key_size: 0 to 32, size: 1 to 32 bytes written to out. Returns 0, or -1 for sizes out of range (out is untouched). */
int32_t fsw_blake2s(const uint8_t *key, size_t key_size, const uint8_t *data, size_t n, uint8_t *out, size_t size);

/* 1 when n bytes are the same. Its time depends on n only. */
int32_t fsw_same_secret(const uint8_t *a, const uint8_t *b, size_t n);
/* cffi: end */

#endif
