#include "flightsw/math.h"

#include "math_coefficients.h"

/* Adding and subtracting 1.5 * 2^52 rounds to an integer, |x| < 2^51: one rule on every processor, no rounding instruction. */
#define ROUND_MAGIC 0x1.8p52

static inline double from_bits(uint64_t u)
{
    union { uint64_t u; double d; } v = { .u = u };
    return v.d;
}

static inline uint64_t to_bits(double d)
{
    union { double d; uint64_t u; } v = { .d = d };
    return v.u;
}

static inline double canonical_nan(void) { return from_bits(0x7ff8000000000000u); }

/* ---- sin, cos, tan ------------------------------------------------------------------------------------------------ */

/* x = k pi/2 + (r + lo), |r| < 0.793. Returns k mod 4. Precondition |x| < FSW_TRIG_MAX, so that |k| < 2^17: its products with the
 * first two parts of pi/2 (33 bits each) are exact. */
static inline uint32_t reduce(double x, double *r, double *lo)
{
    double k = (x * TWO_OVER_PI + ROUND_MAGIC) - ROUND_MAGIC;
    double a = x - k * HALF_PI_1;  /* exact */
    double b = k * HALF_PI_2;      /* exact */
    double d = a - b;
    double bb = a - d;             /* Knuth's two-sum: near a multiple of pi/2, a may be smaller than b */
    double e = (a - (d + bb)) + (bb - b);
    e -= k * HALF_PI_3;
    double hi = d + e;
    *r = hi;
    *lo = (d - hi) + e;
    return (uint32_t)(int32_t)k & 3u;
}

static inline double sin_kernel(double r, double lo)
{
    double z = r * r;
    return r + (z * r * poly_sin(z) + (lo - lo * (0.5 * z)));
}

static inline double cos_kernel(double r, double lo)
{
    double z = r * r, h = 0.5 * z, w = 1.0 - h;
    return w + (((1.0 - w) - h) + (z * z * poly_cos(z) - r * lo));
}

double fsw_sin(double x)
{
    double a = fsw_abs(x), r, lo;
    if (!(a < FSW_TRIG_MAX)) return canonical_nan();
    if (a < 0x1p-27) return x; /* keeps -0 */
    uint32_t q = reduce(x, &r, &lo);
    double v = q & 1u ? cos_kernel(r, lo) : sin_kernel(r, lo);
    return q & 2u ? -v : v;
}

double fsw_cos(double x)
{
    double r, lo;
    if (!(fsw_abs(x) < FSW_TRIG_MAX)) return canonical_nan();
    uint32_t q = reduce(x, &r, &lo);
    double v = q & 1u ? sin_kernel(r, lo) : cos_kernel(r, lo);
    return (q + 1u) & 2u ? -v : v;
}

void fsw_sincos(double x, double *s, double *c)
{
    double a = fsw_abs(x), r, lo;
    if (!(a < FSW_TRIG_MAX)) {
        *s = *c = canonical_nan();
        return;
    }
    uint32_t q = reduce(x, &r, &lo);
    double vs = a < 0x1p-27 ? x : sin_kernel(r, lo);
    double vc = cos_kernel(r, lo);
    double ws = q & 1u ? vc : vs;
    double wc = q & 1u ? vs : vc;
    *s = q & 2u ? -ws : ws;
    *c = (q + 1u) & 2u ? -wc : wc;
}

double fsw_tan(double x)
{
    double s, c;
    if (!(fsw_abs(x) < FSW_TRIG_MAX)) return canonical_nan();
    fsw_sincos(x, &s, &c);
    return s / c; /* c is never 0: no double is that close to an odd multiple of pi/2 */
}

/* ---- atan, atan2, asin, acos -------------------------------------------------------------------------------------- */

/* hi + lo = atan(n / d) for n, d >= 0, not both 0, well inside the range of exponents. Working on n and d instead of their quotient
 * needs one division, and cancels exactly near the table's points. */
static inline void atan_ratio(double n, double d, double *hi, double *lo)
{
    double r, z, base, low;
    if (n < 0.4375 * d) {
        r = n / d;
        z = r * r;
        *hi = r;
        *lo = z * r * poly_atan(z);
        return;
    }
    if (n < 1.1875 * d) {
        if (n < 0.6875 * d) {
            r = (2.0 * n - d) / (2.0 * d + n), base = ATAN_1_2_HI, low = ATAN_1_2_LO;
        } else {
            r = (n - d) / (n + d), base = ATAN_1_HI, low = ATAN_1_LO;
        }
    } else if (n < 2.4375 * d) {
        r = (n - 1.5 * d) / (d + 1.5 * n), base = ATAN_3_2_HI, low = ATAN_3_2_LO;
    } else {
        r = -d / n, base = ATAN_INF_HI, low = ATAN_INF_LO;
    }
    z = r * r;
    *hi = base;
    *lo = (z * r * poly_atan(z) + low) + r;
}

double fsw_atan(double x)
{
    if (x != x) return canonical_nan();
    double a = fsw_abs(x), hi, lo;
    if (a > 0x1p60) a = 0x1p60; /* the result no longer changes; keeps 1.5 * a finite */
    atan_ratio(a, 1.0, &hi, &lo);
    return __builtin_copysign(hi + lo, x);
}

/* Brings operands of atan2 that are zero, infinite, or would overflow or underflow inside atan_ratio into its range, with the same
 * quotient. Scaling by powers of two is exact where it matters. */
static void rescale(double *n, double *d)
{
    double m = fsw_max(*n, *d);
    if (m == 0.0) {
        *d = 1.0;
    } else if (m > FSW_DOUBLE_MAX) {
        *n = *n > FSW_DOUBLE_MAX ? 1.0 : 0.0;
        *d = *d > FSW_DOUBLE_MAX ? 1.0 : 0.0;
    } else {
        double s = m > 1.0 ? 0x1p-100 : 0x1p900;
        *n *= s;
        *d *= s;
    }
}

double fsw_atan2(double y, double x)
{
    if (y != y || x != x) return canonical_nan();
    double n = fsw_abs(y), d = fsw_abs(x), m = fsw_max(n, d), hi, lo;
    if (!(m > 0x1p-900 && m < 0x1p1000)) rescale(&n, &d);
    atan_ratio(n, d, &hi, &lo);
    double a = to_bits(x) >> 63 ? (PI_HI - hi) + (PI_LO - lo) : hi + lo;
    return __builtin_copysign(a, y);
}

double fsw_asin(double x)
{
    if (!(fsw_abs(x) <= 1.0)) return canonical_nan();
    return fsw_atan2(x, fsw_sqrt((1.0 - x) * (1.0 + x)));
}

double fsw_acos(double x)
{
    if (!(fsw_abs(x) <= 1.0)) return canonical_nan();
    return fsw_atan2(fsw_sqrt((1.0 - x) * (1.0 + x)), x);
}

/* ---- exp, log, pow ------------------------------------------------------------------------------------------------ */

double fsw_exp(double x)
{
    if (!(x >= FSW_EXP_MIN && x <= FSW_EXP_MAX)) {
        if (x != x) return canonical_nan();
        return x < 0.0 ? 0.0 : FSW_DOUBLE_MAX;
    }
    double k = (x * INV_LN2 + ROUND_MAGIC) - ROUND_MAGIC;
    double hi = x - k * LN2_HI, lo = k * LN2_LO; /* first product exact */
    double r = hi - lo, z = r * r;
    double c = r - z * poly_exp(z);
    double y = 1.0 + ((r * c / (2.0 - c) - lo) + hi); /* in [0.70, 1.42] */
    return from_bits(to_bits(y) + ((uint64_t)(int64_t)(int32_t)k << 52)); /* the range above keeps the exponent in 1 .. 2046 */
}

double fsw_log(double x)
{
    if (!(x >= 0x1p-1022 && x <= FSW_DOUBLE_MAX)) {
        if (!(x > 0.0 && x < 1.0)) return canonical_nan();
        return fsw_log(x * 0x1p54) - 54.0 * (LN2_HI + LN2_LO); /* subnormal: the argument of this call is normal */
    }
    /* x = 2^k m with m in [sqrt(1/2), sqrt(2)): the bias of 2048 keeps the shifted difference positive */
    uint64_t u = to_bits(x), t = u - 0x3fe6a09e667f3bcdu + (UINT64_C(2048) << 52);
    double k = (double)((int32_t)(t >> 52) - 2048);
    double f = from_bits(u - (t & 0xfff0000000000000u) + (UINT64_C(2048) << 52)) - 1.0;
    double s = f / (2.0 + f), z = s * s, rest = z * poly_log(z), h = 0.5 * f * f;
    return k * LN2_HI - ((h - (s * (h + rest) + k * LN2_LO)) - f);
}

double fsw_pow(double x, double y)
{
    if (x == 0.0 && y >= 0.0) return y > 0.0 ? 0.0 : 1.0;
    return fsw_exp(y * fsw_log(x));
}

/* ---- square root without the instruction --------------------------------------------------------------------------- */

double fsw_soft_sqrt(double x)
{
    uint64_t u = to_bits(x), m = u & 0xfffffffffffffu, rem = 0, root = 0;
    int32_t e = (int32_t)(u >> 52) & 0x7ff;
    if (u == 0 || u == 0x8000000000000000u || u == 0x7ff0000000000000u) return x;
    if (u >> 63 || e == 0x7ff) return canonical_nan();
    if (e == 0) {
        for (e = 1; !(m >> 52); e--) m <<= 1; /* at most 52 turns: m is not 0 */
    } else {
        m |= UINT64_C(1) << 52;
    }
    e -= 1023;
    if (e & 1) {
        m <<= 1;
        e--;
    }
    m <<= 10;
    for (int i = 0; i < 54; i++) { /* 53 bits and a guard; a tie cannot occur */
        rem = (rem << 2) | (m >> 62);
        m <<= 2;
        root <<= 1;
        uint64_t trial = (root << 1) | 1u;
        if (rem >= trial) {
            rem -= trial;
            root |= 1u;
        }
    }
    return from_bits(((uint64_t)(int64_t)(e / 2 + 1022) << 52) + (root >> 1) + (root & 1u));
}
