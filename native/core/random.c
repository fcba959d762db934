#include "flightsw/random.h"

#include "flightsw/math.h"

/* One round in two halves of 32 bits each. Written out ten times: as a loop it costs half as much again. */
#define ROUND(c0, c1, c2, c3, i)                                                              \
    do {                                                                                      \
        uint64_t a = UINT64_C(0xD2511F53) * c0, b = UINT64_C(0xCD9E8D57) * c2;                \
        c0 = (uint32_t)(b >> 32) ^ c1 ^ (k0 + i * 0x9E3779B9u);                               \
        c1 = (uint32_t)b;                                                                     \
        c2 = (uint32_t)(a >> 32) ^ c3 ^ (k1 + i * 0xBB67AE85u);                               \
        c3 = (uint32_t)a;                                                                     \
    } while (0)

static inline void philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1, uint32_t out[4])
{
    ROUND(c0, c1, c2, c3, 0u);
    ROUND(c0, c1, c2, c3, 1u);
    ROUND(c0, c1, c2, c3, 2u);
    ROUND(c0, c1, c2, c3, 3u);
    ROUND(c0, c1, c2, c3, 4u);
    ROUND(c0, c1, c2, c3, 5u);
    ROUND(c0, c1, c2, c3, 6u);
    ROUND(c0, c1, c2, c3, 7u);
    ROUND(c0, c1, c2, c3, 8u);
    ROUND(c0, c1, c2, c3, 9u);
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void fsw_philox4x32(const uint32_t ctr[4], const uint32_t key[2], uint32_t out[4])
{
    philox(ctr[0], ctr[1], ctr[2], ctr[3], key[0], key[1], out);
}

static inline void draw(const fsw_rng_t *rng, int64_t tick, uint32_t channel, uint32_t out[4])
{
    uint64_t t = (uint64_t)tick;
    philox((uint32_t)t, (uint32_t)(t >> 32), channel, rng->stream, (uint32_t)rng->seed, (uint32_t)(rng->seed >> 32), out);
}

/* The word as a number in (-1/2, 1/2), exactly. The conversion is from int32 because that is one instruction everywhere. */
static inline double centred(uint32_t w)
{
    return ((double)(int32_t)(w ^ 0x80000000u) + 0.5) * 0x1p-32;
}

void fsw_rng_u32x4(const fsw_rng_t *rng, int64_t tick, uint32_t channel, uint32_t out[4])
{
    draw(rng, tick, channel, out);
}

void fsw_rng_uniform4(const fsw_rng_t *rng, int64_t tick, uint32_t channel, double out[4])
{
    uint32_t w[4];
    draw(rng, tick, channel, w);
    for (int i = 0; i < 4; i++) out[i] = centred(w[i]) + 0.5;
}

/* AS 241, PPND7. The third branch of the paper, sqrt(-log p) > 5, is out of reach: p >= 2^-33 gives 4.79. */
static inline double normal_centre(double q)
{
    double r = 0.180625 - q * q;
    return q * (((5.9109374720e+01 * r + 1.5929113202e+02) * r + 5.0434271938e+01) * r + 3.3871327179e+00) /
           (((6.7187563600e+01 * r + 7.8757757664e+01) * r + 1.7895169469e+01) * r + 1.0);
}

/* -log(p) for 2^-33 <= p < 1/2 to 1e-9: half the cost of fsw_log, and the rational below keeps seven digits anyway. p = 2^k m with m in
 * [sqrt(1/2), sqrt(2)), then the series of log((1 + s) / (1 - s)). */
static inline double minus_log(double p)
{
    union { double d; uint64_t u; } x = { .d = p };
    uint32_t t = (uint32_t)(x.u >> 32) - 0x3fe6a09eu + (1024u << 20), k = t >> 20;
    x.u -= ((uint64_t)k - 1024u) << 52;
    double s = (x.d - 1.0) / (x.d + 1.0), z = s * s;
    return (double)(1024 - (int32_t)k) * 0x1.62e42fefa39efp-1 -
           s * ((((2.0 / 9.0 * z + 2.0 / 7.0) * z + 2.0 / 5.0) * z + 2.0 / 3.0) * z + 2.0);
}

static double normal_tail(double q)
{
    double r = fsw_sqrt(minus_log(0.5 - fsw_abs(q))) - 1.6;
    double z = (((1.7023821103e-01 * r + 1.3067284816e+00) * r + 2.7568153900e+00) * r + 1.4234372777e+00) /
               ((1.2021132975e-01 * r + 7.3700164250e-01) * r + 1.0);
    return __builtin_copysign(z, q); /* z > 0 */
}

static inline void finish(double q, double *z)
{
    if (fsw_abs(q) > 0.425) *z = normal_tail(q);
}

void fsw_rng_gauss4(const fsw_rng_t *rng, int64_t tick, uint32_t channel, double out[4])
{
    uint32_t w[4];
    double q[4];
    draw(rng, tick, channel, w);
    /* The central form for all four, then the 15 % that lie outside once more: without a branch the compiler takes two or four
     * numbers per instruction. Its denominator stays above 0.1 out there. */
    for (int i = 0; i < 4; i++) q[i] = centred(w[i]);
    for (int i = 0; i < 4; i++) out[i] = normal_centre(q[i]);
    finish(q[0], out);
    finish(q[1], out + 1);
    finish(q[2], out + 2);
    finish(q[3], out + 3);
}
