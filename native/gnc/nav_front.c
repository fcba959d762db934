/* nav_front.c - front end of the lanes: which unit's sample may feed its lane (nav_lanes.h).
 *
 * The tests, parity and membership of a sample are those of imu_vote.c, run here on a state of their own. This file adds what a vote of
 * one stream does not need: who gave what to which lane, saturation, and the hold after a common-mode failure. */
#include <stdbool.h>

#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/nav_lanes.h"
#include "flightsw/vec.h"

#define ALL ((1U << FSW_LANES) - 1U)

void fsw_nav_front_init(fsw_nav_front_t *f, double period_ms)
{
  __builtin_memset(f, 0, sizeof *f);
  f->vote_params = (fsw_imu_vote_params_t){.vote_gyro_deg_s = 0.3, .vote_gyro_share = 0.001, .vote_accel_m_s2 = 0.3,
                                           .vote_accel_share = 0.002, .vote_skew_ms = 0.5 * period_ms, .imu_period_ms = period_ms,
                                           .vote_run = 3, .vote_readmit = 500};
  fsw_task_gnc_imu_vote.init(&f->vote, &f->vote_params);
  f->t_hold_ns = -1;
}

static bool has(uint32_t mask, uint32_t k) { return (mask >> k & 1U) != 0U; }

/* Two or more bits. */
static bool several(uint32_t mask) { return (mask & (mask - 1U)) != 0U; }

/* The usual case: all three in use, none saturated or repeating, and their middle value is not zero, which two zero units would make it. */
static bool plain(const fsw_nav_front_t *f, const fsw_io_t *io)
{
  const double *a = f->voted.dtheta_b;
  const double *b = f->voted.dv_b;
  if (!f->fresh || f->voted.used_mask != ALL || a[0] == 0.0 || a[1] == 0.0 || a[2] == 0.0 || b[0] == 0.0) return false;
  const fsw_imu_t *x = io->in[0];
  const fsw_imu_t *y = io->in[1];
  const fsw_imu_t *z = io->in[2];
  bool repeats = f->vote.repeats[0] + f->vote.repeats[1] + f->vote.repeats[2] > 1U;
  return (x->saturated | y->saturated | z->saturated) == 0U && !repeats && x->valid && y->valid && z->valid;
}

/* Two or more units at a limit, all zero, repeating or not vouching together. */
static bool together(fsw_nav_front_t *f, const fsw_io_t *io)
{
  uint32_t zero = 0;
  uint32_t frozen = 0;
  uint32_t invalid = 0;
  int64_t skew = fsw_floor_i64(f->vote_params.vote_skew_ms * 1e6);
  for (uint32_t k = 0; k < FSW_LANES; k++) {
    const fsw_imu_t *z = io->in[k];
    if (!z || !has(f->vote.seen_mask, k) || z->t_valid_ns < f->voted.t_valid_ns - skew) continue; /* silent: its last word is old */
    const double *a = z->dtheta_b;
    const double *b = z->dv_b;
    uint32_t bit = 1U << k;
    if (z->saturated & 7U) f->sat_gyro = (uint8_t)(f->sat_gyro | bit);
    if (z->saturated & 56U) f->sat_accel = (uint8_t)(f->sat_accel | bit);
    if (fsw_abs(a[0]) + fsw_abs(a[1]) + fsw_abs(a[2]) + fsw_abs(b[0]) + fsw_abs(b[1]) + fsw_abs(b[2]) == 0.0) zero |= bit;
    if (f->vote.repeats[k] >= 2U) frozen |= bit;
    if (!z->valid) invalid |= bit;
  }
  return several((uint32_t)f->sat_gyro | f->sat_accel) || several(zero) || several(frozen) || several(invalid);
}

/* During the hold an isolation that the vote has just made is taken back; its samples stay unused while they disagree. */
static void take_back(fsw_nav_front_t *f, uint32_t before)
{
  uint32_t fresh = f->vote.excluded_mask & ~before;
  for (uint32_t k = 0; k < FSW_LANES; k++) {
    if (!has(fresh, k)) continue;
    f->vote.run[k] = 0;
    f->vote.history[k] = 0;
  }
  f->vote.excluded_mask = (uint8_t)(f->vote.excluded_mask & ~fresh);
  f->voted.excluded_mask = f->vote.excluded_mask;
}

static void tell(const fsw_events_t *from, bool held, fsw_events_t *ev)
{
  if (!ev) return;
  for (uint32_t i = 0; i < from->count; i++)
    if (!held || from->code[i] != FSW_EVENT_IMU_EXCLUDED)
      fsw_event(ev, from->t_ns, from->code[i], from->subject[i], from->arg0[i], from->arg1[i]);
}

/* The environment has failed the test: for half a second nobody is blamed. Returns whether the hold is in force. */
static bool hold(fsw_nav_front_t *f, const fsw_io_t *io, fsw_events_t *ev)
{
  f->sat_gyro = f->sat_accel = 0;
  bool common = !plain(f, io) && together(f, io);
  bool held = f->t_hold_ns >= 0 && io->t_ns < f->t_hold_ns;
  if (!common) return held;
  if (!held) {
    f->common++;
    if (ev) fsw_event(ev, io->t_ns, FSW_EVENT_IMU_COMMON, 0, (double)f->sat_accel, (double)f->sat_gyro);
  }
  f->t_hold_ns = io->t_ns + FSW_LANES_HOLD_NS;
  return true;
}

static void feed(fsw_nav_front_t *f, const fsw_io_t *io)
{
  f->own_mask = f->voted.used_mask;
  for (uint32_t k = 0; k < FSW_LANES; k++) {
    bool own = has(f->own_mask, k);
    const fsw_imu_t *z = io->in[k];
    bool clipped = has((uint32_t)f->sat_accel | f->sat_gyro, k); /* the end of a range is no measurement: the vote knows better */
    fsw_v3_copy(own && !clipped ? z->dtheta_b : f->voted.dtheta_b, f->dth + 3U * k);
    fsw_v3_copy(own && !clipped ? z->dv_b : f->voted.dv_b, f->dv + 3U * k);
    f->own[k] = own ? f->own[k] + 1U : 0U;
    f->carried[k] = own ? 0U : f->carried[k] + 1U;
  }
}

void fsw_nav_front_step(fsw_nav_front_t *f, const fsw_io_t *io, fsw_events_t *ev)
{
  fsw_events_t said;
  void *out[2] = {&f->voted, &said};
  fsw_io_t vote = {.tick = io->tick, .t_ns = io->t_ns, .dt_ns = io->dt_ns, .publish = 3U, .in = io->in, .in_head = io->in_head,
                   .out = out, .state = &f->vote, .params = &f->vote_params};
  uint32_t before = f->vote.excluded_mask;
  said.count = 0;
  said.t_ns = io->t_ns;
  said.lost = 0;
  (void)fsw_task_gnc_imu_vote.step(&vote);
  f->fresh = (vote.publish & 1U) != 0U && f->voted.valid ? 1 : 0;
  bool held = hold(f, io, ev);
  if (held) take_back(f, before);
  if (said.count > 0U) tell(&said, held, ev);
  if (f->fresh) feed(f, io);
}
