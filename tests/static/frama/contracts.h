/* contracts.h - what the proof of frame.c takes for granted of what is outside it. Included before it. The stand-ins take bytes instead of
 * `void`, which the memory model of the proof does not follow through a conversion. */
#ifndef FLIGHTSW_FRAMA_CONTRACTS_H
#define FLIGHTSW_FRAMA_CONTRACTS_H
#include "flightsw/checksum.h"

/*@ requires \valid_read(data + (0 .. n - 1));
    assigns \nothing; */
uint32_t crc_of_bytes(uint32_t crc, const uint8_t *data, size_t n);
#define fsw_crc32c crc_of_bytes

/*@ requires \valid(to + (0 .. n - 1)) && \valid_read(from + (0 .. n - 1));
    assigns to[0 .. n - 1]; */
void copy_bytes(uint8_t *to, const uint8_t *from, size_t n);
#define __builtin_memcpy copy_bytes
#endif
