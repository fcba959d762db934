/* boards_internal.h - what the simulated boards share. Not a public header. */
#ifndef FLIGHTSW_BOARDS_INTERNAL_H
#define FLIGHTSW_BOARDS_INTERNAL_H
#include <stdbool.h>
#include <stddef.h>

#include "flightsw/boards.h"
#include "flightsw/math.h"
#include "flightsw/random.h"
#include "flightsw/vec.h"

/* Random channels: 64 per unit, the low ones for what is drawn once, each sensor's own from 8. */
#define BOARD_CHANNEL(index, k) ((uint32_t)(index) * 64u + (uint32_t)(k))

static inline fsw_rng_t board_rng(const fsw_io_t *io) {
  fsw_rng_t rng = { .seed = io->seed, .stream = io->stream, .pad0 = 0 };
  return rng;
}

/* Noise at high rate. One draw gives 16 bytes, each byte one number out of 256 equally likely levels of a normal distribution:
 * mean 0, variance 1, kurtosis 2.92 instead of 3, ending at 2.89 sigma, a step of 0.01 sigma in the middle (a real converter's
 * is coarser). What integrates such noise cannot tell it from normal. A bias, drawn once, takes fsw_rng_gauss4. */
extern const double fsw_board_normal[256];
uint64_t fsw_board_draw(const fsw_io_t *io, uint32_t channel, uint64_t *second); /* returns the first eight bytes */

static inline double board_normal(uint64_t bits, uint32_t k) { return fsw_board_normal[bits >> (8u * k) & 255u]; }

typedef struct { /* the fault of each type in force on one unit */
  uint32_t types;                          /* bit FSW_FAULT_* */
  double severity[FSW_FAULT_UNFLAGGED + 1];
} board_faults_t;

static inline bool board_has(const board_faults_t *f, uint32_t type) { return (f->types >> type & 1u) != 0; }

/* The faults message at a port, or NULL when nothing is in force (nearly always). */
static inline const fsw_faults_t *board_faults_at(const fsw_io_t *io, uint32_t port) {
  const fsw_faults_t *m = io->in[port];
  return m != NULL && io->in_head[port]->tick >= 0 && m->count > 0 ? m : NULL;
}

/* Collects what concerns one unit of a target kind; of two faults of one type the later entry counts. */
static inline void board_collect(const fsw_faults_t *m, uint8_t target, uint32_t unit, board_faults_t *f) {
  f->types = 0;
  if (m == NULL) return;
  uint32_t n = m->count < FSW_FAULT_SLOTS ? m->count : FSW_FAULT_SLOTS;
  for (uint32_t i = 0; i < n; i++) {
    if (m->target[i] != target || (m->index[i] != unit && m->index[i] != 255)) continue;
    if (m->type[i] > FSW_FAULT_UNFLAGGED) continue;
    f->types |= 1u << m->type[i];
    f->severity[m->type[i]] = m->severity[i];
  }
}

/* True when port 0 holds truth newer than *seen, which is then brought up to date. */
static inline bool board_new_truth(const fsw_io_t *io, uint32_t *seen) {
  const fsw_topic_head_t *head = io->in_head[0];
  if (io->in[0] == NULL || head->tick < 0 || head->seq == *seen) return false;
  *seen = head->seq;
  return true;
}

/* Nearest whole number, ties to even: adding 1.5 * 2^52 leaves no bits for a fraction. Needs |x| < 2^51, else returns x. */
static inline double board_round(double x) {
  if (!(fsw_abs(x) < 0x1p51)) return x;
  return (x + 0x1.8p52) - 0x1.8p52;
}

/* x in whole quanta, |x| below the range for which lsb >= BOARD_FINEST * range, which stands for no quantisation. */
#define BOARD_FINEST 0x1p-50
static inline double board_whole(double x, double lsb, double inv_lsb) {
  return ((x * inv_lsb + 0x1.8p52) - 0x1.8p52) * lsb;
}

static inline double board_inverse(double lsb) { return lsb > 0.0 ? 1.0 / lsb : 0.0; }

/* x in whole quanta; inv_lsb = 0: no quantisation. */
static inline double board_quantise(double x, double lsb, double inv_lsb) {
  return inv_lsb > 0.0 ? board_round(x * inv_lsb) * lsb : x;
}

static inline double board_period_s(const fsw_io_t *io) { return (double)io->dt_ns * 1e-9; }

/* Share that a first-order process keeps over dt. */
static inline double board_keep(double dt_s, double tau_s) { return tau_s > 0.0 ? fsw_exp(-dt_s / tau_s) : 0.0; }

#endif
