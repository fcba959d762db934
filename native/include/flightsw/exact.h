/* exact.h: the arithmetic contract of everything that flies and everything it flies in.
 *
 * The same inputs give the same bits on every processor, compiler and optimisation level as long as code
 *   - uses only + - * / sqrt and comparisons on IEEE-754 doubles (elementary functions: flightsw/math.h);
 *   - is compiled with -std=c11 -ffp-contract=off -fno-math-errno -ffreestanding, never with -ffast-math or -Ofast
 *     (i386 also needs -msse2 -mfpmath=sse);
 *   - treats NaN bits as unspecified: canonicalise before hashing, logging or sending. Functions of this core that
 *     return NaN return the canonical one, 0x7ff8000000000000; the hardware square root does not.
 * Wrong flags are refused here where the compiler tells us; where it does not, by the two canaries, which a program
 * calls once at start. A wrong answer from a canary means that logs made here will not replay elsewhere. */
#ifndef FLIGHTSW_EXACT_H
#define FLIGHTSW_EXACT_H

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "fast-math breaks bit-exactness: remove -ffast-math / -Ofast / -ffinite-math-only"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 1
#error "excess precision (x87): compile with -msse2 -mfpmath=sse"
#endif

/* cffi: begin */
/* 1 when a*b+c was fused into one rounding: compiled without -ffp-contract=off. */
int fsw_contracted(void);

/* 1 when subnormals become zero. The compiler cannot know: a shared library linked with gcc -Ofast, loaded by anybody
 * in this process, switches the loading thread to flush-to-zero. Ask again in each thread that computes. */
int fsw_flushes_denormals(void);
/* cffi: end */

#endif
