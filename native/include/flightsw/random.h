/* random.h: random numbers that are a pure function of (seed, stream, tick, channel).
 *
 * No state to carry, save or advance: any number can be drawn again in any order, in any thread, on any computer, and a fault that
 * draws more numbers on one board does not shift those of another.
 *   seed     of the flight (campaigns: one per flight)
 *   stream   board number: boards draw independently
 *   tick     base tick of the draw, any int64
 *   channel  which purpose within the board and tick: each call site has its own; reusing one repeats its numbers
 * Generator: Philox4x32-10, J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011); passes BigCrush.
 * Counter = (tick low, tick high, channel, stream), key = (seed low, seed high). Not for cryptography. */
#ifndef FLIGHTSW_RANDOM_H
#define FLIGHTSW_RANDOM_H

#include <stdint.h>

#include "flightsw/exact.h"

/* cffi: begin */
typedef struct {
    uint64_t seed;
    uint32_t stream;
    uint32_t pad0; /* zero: part of images and hashes */
} fsw_rng_t;

/* The bare bijection, 10 rounds. out may be ctr. */
void fsw_philox4x32(const uint32_t ctr[4], const uint32_t key[2], uint32_t out[4]);

/* Four words, every value equally likely. */
void fsw_rng_u32x4(const fsw_rng_t *rng, int64_t tick, uint32_t channel, uint32_t out[4]);

/* Four doubles (word + 1/2) / 2^32: strictly inside (0, 1), spaced 2^-32, mean exactly 1/2. */
void fsw_rng_uniform4(const fsw_rng_t *rng, int64_t tick, uint32_t channel, double out[4]);

/* Four independent standard normal numbers: the same four words (do not draw uniforms from the same channel) through the inverse
 * distribution function PPND7 of M. J. Wichura, Algorithm AS 241, Applied Statistics 37 (1988). Relative error of the
 * inverse below 3e-7; 32 bits of resolution bound the result to |z| < 6.34, which a normal number exceeds once in 4e9.
 * 75 instructions per number on x86-64 with gcc 12 -O2, 65 with clang 19, the generator included. */
void fsw_rng_gauss4(const fsw_rng_t *rng, int64_t tick, uint32_t channel, double out[4]);
/* cffi: end */

#endif
