#include "flightsw/checksum.h"

#include "checksum_tables.h"

static inline uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint32_t run(const uint32_t t[8][256], uint32_t crc, const uint8_t *p, size_t n)
{
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t a = crc ^ load32(p), b = load32(p + 4);
        crc = t[7][a & 255u] ^ t[6][a >> 8 & 255u] ^ t[5][a >> 16 & 255u] ^ t[4][a >> 24] ^
              t[3][b & 255u] ^ t[2][b >> 8 & 255u] ^ t[1][b >> 16 & 255u] ^ t[0][b >> 24];
    }
    for (; n; n--, p++) crc = crc >> 8 ^ t[0][(crc ^ *p) & 255u];
    return ~crc;
}

uint32_t fsw_crc32c(uint32_t crc, const void *data, size_t n) { return run(crc32c_table, crc, data, n); }

uint32_t fsw_crc32(uint32_t crc, const void *data, size_t n) { return run(crc32_table, crc, data, n); }
