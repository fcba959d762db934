#include "flightsw/digest.h"

#define P1 UINT64_C(0x9E3779B185EBCA87)
#define P2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define P3 UINT64_C(0x165667B19E3779F9)
#define P4 UINT64_C(0x85EBCA77C2B2AE63)
#define P5 UINT64_C(0x27D4EB2F165667C5)

static inline uint64_t rotl(uint64_t x, unsigned n) { return (x << n) | (x >> (64u - n)); }

/* Shifts, not casts: one plain load on little-endian machines, correct on all. */
static inline uint64_t load32(const uint8_t *p)
{
    return (uint64_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
}

static inline uint64_t load64(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

static inline uint64_t mix(uint64_t lane, uint64_t word) { return rotl(lane + word * P2, 31) * P1; }

static inline void start(uint64_t lane[4], uint64_t seed)
{
    lane[0] = seed + P1 + P2;
    lane[1] = seed + P2;
    lane[2] = seed;
    lane[3] = seed - P1;
}

static const uint8_t *stripes(uint64_t lane[4], const uint8_t *p, size_t count)
{
    uint64_t a = lane[0], b = lane[1], c = lane[2], d = lane[3];
    for (; count; count--, p += 32) {
        a = mix(a, load64(p));
        b = mix(b, load64(p + 8));
        c = mix(c, load64(p + 16));
        d = mix(d, load64(p + 24));
    }
    lane[0] = a;
    lane[1] = b;
    lane[2] = c;
    lane[3] = d;
    return p;
}

static uint64_t finish(const uint64_t lane[4], uint64_t seed, uint64_t total, const uint8_t *p)
{
    uint64_t h = seed + P5;
    if (total >= 32) {
        h = rotl(lane[0], 1) + rotl(lane[1], 7) + rotl(lane[2], 12) + rotl(lane[3], 18);
        for (int i = 0; i < 4; i++) h = (h ^ mix(0, lane[i])) * P1 + P4;
    }
    h += total;
    unsigned n = (unsigned)(total & 31u);
    for (; n >= 8; n -= 8, p += 8) h = rotl(h ^ mix(0, load64(p)), 27) * P1 + P4;
    if (n >= 4) {
        h = rotl(h ^ (load32(p) * P1), 23) * P2 + P3;
        p += 4;
        n -= 4;
    }
    for (; n; n--, p++) h = rotl(h ^ (*p * P5), 11) * P1;
    h = (h ^ (h >> 33)) * P2;
    h = (h ^ (h >> 29)) * P3;
    return h ^ (h >> 32);
}

uint64_t fsw_digest(const void *data, size_t n, uint64_t seed)
{
    uint64_t lane[4];
    const uint8_t *p = data;
    start(lane, seed);
    if (n >= 32) p = stripes(lane, p, n / 32);
    return finish(lane, seed, n, p);
}

void fsw_digest_init(fsw_digest_t *d, uint64_t seed)
{
    *d = (fsw_digest_t){ .seed = seed };
    start(d->lane, seed);
}

void fsw_digest_update(fsw_digest_t *d, const void *data, size_t n)
{
    const uint8_t *p = data;
    size_t held = (size_t)(d->total & 31u);
    if (n == 0) return;
    d->total += n;
    if (held) {
        size_t take = 32 - held < n ? 32 - held : n;
        __builtin_memcpy(d->tail + held, p, take);
        if (held + take < 32) return;
        stripes(d->lane, d->tail, 1);
        p += take;
        n -= take;
    }
    p = stripes(d->lane, p, n / 32);
    __builtin_memcpy(d->tail, p, n % 32);
}

uint64_t fsw_digest_final(const fsw_digest_t *d)
{
    return finish(d->lane, d->seed, d->total, d->tail);
}
