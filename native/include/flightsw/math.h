/* math.h: elementary functions with the same bits on every computer (rules: flightsw/exact.h).
 *
 * Built from + - * / sqrt only: argument reduction and reconstruction after fdlibm (Sun Microsystems 1993) and
 * W. J. Cody & W. Waite, "Software Manual for the Elementary Functions" (1980), on Chebyshev fits computed at 60 digits
 * by native/tools/gen_math_coefficients.py. Angles in rad.
 * Errors are in ulp of the result, the largest seen against mpmath on 20 000 random arguments of the stated range
 * (tests/test_core_math.py repeats it). Results differ from a libm by 1 ulp now and then: never mix the two.
 * Outside the stated range each function returns what is written here, never undefined behaviour and never an
 * infinity; NaN in gives NaN out. All are pure and reentrant, without loops except fsw_soft_sqrt. */
#ifndef FLIGHTSW_MATH_H
#define FLIGHTSW_MATH_H

#include <stdbool.h>
#include <stdint.h>

#include "flightsw/exact.h"

#define FSW_PI 0x1.921fb54442d18p+1
#define FSW_DEG 0x1.1df46a2529d39p-6      /* rad per degree: 20.0 * FSW_DEG */
#define FSW_TRIG_MAX 1e5                  /* |x| limit of sin, cos, tan: longer reductions need more parts of pi/2 */
#define FSW_EXP_MIN (-708.0)              /* keeps results normal numbers */
#define FSW_EXP_MAX 0x1.62e42fefa39efp+9  /* log of the largest double */
#define FSW_DOUBLE_MAX 0x1.fffffffffffffp+1023

/* cffi: begin */
/* |x| < 1e5: sin 0.8 ulp, cos 0.85 ulp, tan 2.1 ulp; otherwise NaN. fsw_sincos gives the same bits as the two apart,
 * for little more than the price of one. sin(-0) = -0. */
double fsw_sin(double x);
double fsw_cos(double x);
void fsw_sincos(double x, double *s, double *c);
double fsw_tan(double x);

/* Any x, infinities too: 0.8 ulp. */
double fsw_atan(double x);

/* Angle of the point (x, y), in [-pi, pi]: 1.2 ulp. Zeros and infinities as in ISO C annex F (atan2(0, 0) = 0). */
double fsw_atan2(double y, double x);

/* |x| <= 1: 1.8 ulp; otherwise NaN. Clamp first where rounding may have pushed a cosine beyond 1. */
double fsw_asin(double x);
double fsw_acos(double x);

/* -708 <= x <= 709.78: 0.9 ulp. Below 0, above the largest double. */
double fsw_exp(double x);

/* x > 0, subnormals too: 0.8 ulp. NaN for 0, negative numbers and infinity. */
double fsw_log(double x);

/* exp(y log x) for x > 0. The rounding of the logarithm is multiplied by y: relative error below (1 + 1.3 |y log x|) 2^-52, that is
 * 5e-16 for results near 1 and 2e-13 at the ends of the range. Saturates as fsw_exp. x = 0: 0 for y > 0, 1 for y = 0; NaN for
 * y < 0 and for x < 0. */
double fsw_pow(double x, double y);

/* Square root in integer arithmetic, correctly rounded: same bits as the hardware instruction, canonical NaN for x < 0.
 * What fsw_sqrt becomes on processors without the instruction. */
double fsw_soft_sqrt(double x);
/* cffi: end */

/* Correctly rounded; one instruction with -fno-math-errno. NaN (bits unspecified) for x < 0. */
static inline double fsw_sqrt(double x)
{
#if (defined(__arm__) && !(defined(__ARM_FP) && (__ARM_FP & 8))) || (defined(__powerpc__) && !defined(_ARCH_PPCSQ)) || \
    (defined(__riscv) && !(defined(__riscv_flen) && __riscv_flen >= 64)) || defined(__SOFTFP__) || defined(__mips_soft_float)
    return fsw_soft_sqrt(x);
#else
    return __builtin_sqrt(x);
#endif
}

static inline double fsw_abs(double x) { return __builtin_fabs(x); }

/* With a NaN among the arguments both return b. */
static inline double fsw_min(double a, double b) { return a < b ? a : b; }
static inline double fsw_max(double a, double b) { return a > b ? a : b; }

/* x within [lo, hi], lo <= hi. NaN gives lo: make lo the safe end. */
static inline double fsw_clamp(double x, double lo, double hi) { return x > lo ? (x < hi ? x : hi) : lo; }

static inline bool fsw_isfinite(double x) { return x - x == 0.0; }

/* Largest integer <= x, clamped to int64; NaN gives INT64_MIN (the low end, as in fsw_clamp). Clamp before using as an index. */
static inline int64_t fsw_floor_i64(double x)
{
    if (!(x >= -0x1p63)) return INT64_MIN;
    if (x >= 0x1p63) return INT64_MAX;
    int64_t i = (int64_t)x;
    return i - (x < (double)i);
}

#endif
