/* checksum.h: cyclic redundancy checks.
 *
 * Both are reflected, start from all ones, end with a final XOR of all ones, and chain as zlib.crc32 does: start with crc = 0,
 * feed the previous result to continue, crc(crc(0, A), B) = crc(0, AB). Table-driven, eight bytes a turn (M. Kounavis & F. Berry
 * 2005, "slicing-by-8"); the constant tables (8 KiB each) come from native/tools/gen_crc_tables.py. Depends on the bytes only, not on
 * byte order. Reentrant. data may be NULL when n is 0. */
#ifndef FLIGHTSW_CHECKSUM_H
#define FLIGHTSW_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
/* CRC-32C, Castagnoli, 0x1EDC6F41: link frames. Hamming distance 6 up to 5243 data bits, detects every odd number of errors. */
uint32_t fsw_crc32c(uint32_t crc, const void *data, size_t n);

/* CRC-32 of IEEE 802.3, 0x04C11DB7, equal to zlib.crc32: MCAP chunks. */
uint32_t fsw_crc32(uint32_t crc, const void *data, size_t n);
/* cffi: end */

#endif
