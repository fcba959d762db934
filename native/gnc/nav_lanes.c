/* nav_lanes.c - lanes of redundant navigation: their increments, membership, forks, and the output (nav_lanes.h). */
#include "flightsw/nav_lanes.h"

#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/vec.h"
#include "nav_internal.h"

#define N FSW_LANES
#define READY_NS 2000000000   /* a forked lane is not a member so long */
#define BLEND_NS 100000000
#define CARRIED_MAX 10U       /* samples in a row from other units: not a member */
#define CARRIED_STALE 500U    /* and its own IMU errors are no longer known */
#define OWN_MIN 10U           /* samples in a row of its own before it is one again */
#define FORK_NS 5000000000    /* a lane isolated by the monitor is forked after so long, doubling to eight times */
#define TOGETHER 10U          /* samples: so often at least all lanes stand together */
#define BETTER 0.8            /* of two lanes the other is taken when its NIS is below this share */

static bool has(uint32_t mask, uint32_t k) { return (mask >> k & 1U) != 0U; }

static uint32_t ones(uint32_t x)
{
  uint32_t n = 0;
  for (; x != 0U; x &= x - 1U) n++;
  return n;
}

static uint32_t lowest(uint32_t mask)
{
  uint32_t k = 0;
  while (k < N - 1U && !has(mask, k)) k++;
  return k;
}

void fsw_nav_lanes_init(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p)
{
  __builtin_memset(s, 0, sizeof *s);
  for (uint32_t k = 0; k < N; k++) {
    fsw_nav_init(&s->lane[k], p);
    fsw_nav_solution(&s->lane[k], &s->sol[k]);
    s->health[k].t_ready_ns = -1;
    s->health[k].t_out_ns = -1;
  }
  fsw_nav_front_init(&s->front, p->imu_period_ms);
  fsw_nav_monitor_init(&s->mon);
  s->out = s->sol[0];
  s->t_blend_ns = -1;
}

/* ---- increments ----------------------------------------------------------------------------------------------------------------- */

/* Noise that a sample has beyond that of a healthy unit: errors of another unit, or what a clipped axis did not show. The filter bridges
 * with one noise for all axes, so a clipped axis inflates its neighbours too. */
static void extra_noise(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, uint32_t k)
{
  fsw_nav_filter_t *f = &s->lane[k].f;
  double dt = (double)s->lane[k].period_ns * 1e-9;
  double a = 0.0;
  double w = 0.0;
  if (!has(s->front.own_mask, k)) {
    double g = p->gyro_bias_deg_h * FSW_DEG / 3600.0;
    a = 2.0 * p->accel_bias_m_s2 * p->accel_bias_m_s2;
    w = 2.0 * g * g;
  } else {
    if (has(s->front.sat_accel, k)) a = fsw_v3_dot(f->f_b, f->f_b);
    if (has(s->front.sat_gyro, k)) w = fsw_v3_dot(f->omega_b, f->omega_b);
  }
  f->sum_qv += 0.1 * a * dt;
  f->sum_qpsi += 0.1 * w * dt;
}

static void keep_bias(fsw_nav_lanes_state_t *s, uint32_t k)
{
  const fsw_nav_filter_t *f = &s->lane[k].f;
  double *b = s->health[k].bias;
  fsw_v3_copy(f->b_a, b);
  fsw_v3_copy(f->b_g, b + 3);
  fsw_v3_copy(f->s_a, b + 6);
  fsw_v3_copy(f->s_g, b + 9);
}

/* One step of n samples that end at t_ns. The filter is told that its sample interval is this long, else it would bridge a gap. */
static int32_t advance(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, uint32_t k, uint32_t n, const double *dth, const double *dv)
{
  fsw_nav_state_t *x = &s->lane[k];
  int64_t period_ns = x->period_ns;
  int64_t t_ns = n > 1U ? s->acc_t_ns : s->front.voted.t_valid_ns;
  uint32_t before = s->length[k];
  if (before != n && before != 0U) {
    double t = (double)n;
    double c = 2.0 * t * t / ((double)before * (double)(before + n));
    fsw_v3_scale(c, x->f.dth_p, x->f.dth_p);
    fsw_v3_scale(c, x->f.dv_p, x->f.dv_p);
  }
  s->length[k] = n;
  if (n > 1U) x->period_ns = t_ns - x->f.t_ns;
  x->f.cov_n += n - 1U;
  int32_t result = fsw_nav_on_imu(x, p, t_ns, dth, dv);
  x->period_ns = period_ns;
  return result;
}

/* What has been summed for a lane, up to its last sample. */
static void flush(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, uint32_t k)
{
  if (s->acc_n == 0U || k == s->ref) return;
  if (s->acc_n > 1U) {
    (void)advance(s, p, k, s->acc_n, s->acc_dth + 3U * k, s->acc_dv + 3U * k);
    return;
  }
  s->length[k] = 1;
  (void)fsw_nav_on_imu(&s->lane[k], p, s->acc_t_ns, s->acc_dth + 3U * k, s->acc_dv + 3U * k);
}

static void take_sample(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, uint32_t k, int64_t dt_ns)
{
  fsw_nav_state_t *x = &s->lane[k];
  const fsw_nav_front_t *f = &s->front;
  if (!f->fresh || advance(s, p, k, 1U, f->dth + 3U * k, f->dv + 3U * k) != 0) {
    fsw_nav_silence(x, p, dt_ns);
    return;
  }
  x->t_gap_ns = 0;
  x->t_held_ns = 0;
}

static void sum_up(fsw_nav_lanes_state_t *s)
{
  for (uint32_t i = 0; i < 9U; i++) {
    s->acc_dth[i] += s->front.dth[i];
    s->acc_dv[i] += s->front.dv[i];
  }
  s->acc_n++;
  s->acc_t_ns = s->front.voted.t_valid_ns;
}

/* Whether this sample may wait: an ordinary one, a period after the one before. */
static bool may_wait(const fsw_nav_lanes_state_t *s)
{
  const fsw_nav_front_t *f = &s->front;
  const fsw_nav_state_t *x = &s->lane[s->ref];
  int64_t dt_ns = f->voted.t_valid_ns - x->f.t_ns;
  bool usual = f->fresh && f->own_mask == s->own_mask && (f->sat_accel | f->sat_gyro) == 0U && s->select_mask != 0U;
  return usual && x->imu_count > 0U && s->acc_n + 1U < TOGETHER && 2 * dt_ns > x->period_ns && 2 * dt_ns < 3 * x->period_ns;
}

static void feed_lane(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, uint32_t k, bool wait, int64_t dt_ns)
{
  const fsw_nav_front_t *f = &s->front;
  bool calm = f->own_mask == (1U << N) - 1U && (f->sat_accel | f->sat_gyro) == 0U;
  if (f->fresh && f->carried[k] == 1U) keep_bias(s, k);
  if (!wait) flush(s, p, k);
  if (!wait || k == s->ref) take_sample(s, p, k, dt_ns);
  if (!calm && f->fresh) extra_noise(s, p, k);
}

int32_t fsw_nav_lanes_imu(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, int32_t together, int64_t dt_ns)
{
  const fsw_nav_front_t *f = &s->front;
  bool wait = !together && may_wait(s);
  s->own_mask = f->own_mask;
  for (uint32_t k = 0; k < N; k++)
    if (has(f->vote.seen_mask, k)) feed_lane(s, p, k, wait, dt_ns);
  if (wait) {
    sum_up(s);
    return 0;
  }
  s->acc_n = 0;
  for (uint32_t i = 0; i < 9U; i++) s->acc_dth[i] = s->acc_dv[i] = 0.0;
  return 1;
}

/* ---- membership ------------------------------------------------------------------------------------------------------------------- */

/* Position, velocity and covariance of a member, its own IMU errors as they were last known, reopened by their initial sigma. */
static void fork_lane(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, uint32_t k, uint32_t from, fsw_events_t *ev)
{
  fsw_nav_lane_t *h = &s->health[k];
  fsw_nav_filter_t *f = &s->lane[k].f;
  double d[3];
  double g = p->gyro_bias_deg_h * FSW_DEG / 3600.0;
  double a = p->accel_bias_m_s2;
  fsw_v3_sub(s->lane[k].f.r_e, s->lane[from].f.r_e, d);
  s->lane[k] = s->lane[from];
  fsw_v3_copy(h->bias, f->b_a);
  fsw_v3_copy(h->bias + 3, f->b_g);
  fsw_v3_copy(h->bias + 6, f->s_a);
  fsw_v3_copy(h->bias + 9, f->s_g);
  fsw_nav_open(f, FSW_NAV_BA, NULL, a * a);
  fsw_nav_open(f, FSW_NAV_BG, NULL, g * g);
  fsw_nav_open(f, FSW_NAV_SA, NULL, p->accel_scale_ppm * p->accel_scale_ppm * 1e-12);
  fsw_nav_open(f, FSW_NAV_SG, NULL, p->gyro_scale_ppm * p->gyro_scale_ppm * 1e-12);
  h->t_ready_ns = f->t_ns + READY_NS;
  h->t_out_ns = -1;
  h->stale = 0;
  s->length[k] = s->length[from];
  h->forks++;
  s->mon.lane_nis[k] = s->mon.lane_nis[from];
  s->mon.apart[k] = 0;
  if (ev) fsw_event(ev, f->t_ns, FSW_EVENT_LANE_FORKED, (uint16_t)k, (double)from, fsw_v3_norm(d));
}

/* Why lane k may not be a member now; 0 it may. */
static uint8_t unfit(const fsw_nav_lanes_state_t *s, uint32_t k)
{
  const fsw_nav_lane_t *h = &s->health[k];
  const fsw_nav_front_t *f = &s->front;
  const fsw_nav_t *x = &s->sol[k];
  bool member = has(s->member_mask, k);
  if (!fsw_isfinite(fsw_v3_dot(x->r_bl_l, x->r_bl_l) + fsw_v3_dot(x->v_bl_l, x->v_bl_l)) || x->quality >= 2U) return FSW_LANE_INVALID;
  if (h->t_out_ns >= 0) return FSW_LANE_APART;
  if (h->stale || f->carried[k] >= CARRIED_MAX || (!member && f->own[k] < OWN_MIN)) return FSW_LANE_CARRIED;
  return h->t_ready_ns >= 0 && s->lane[k].f.t_ns < h->t_ready_ns ? h->cause : 0;
}

/* Whether a lane whose unit delivers again is to be forked now: no longer a number, its time out over, or its IMU errors too old. */
static bool to_fork(const fsw_nav_lanes_state_t *s, uint32_t k, int64_t t_ns)
{
  const fsw_nav_lane_t *h = &s->health[k];
  uint32_t times = h->isolations > 3U ? 3U : (h->isolations > 0U ? h->isolations - 1U : 0U);
  if (!fsw_isfinite(fsw_v3_norm(s->sol[k].r_bl_l))) return true;
  return h->t_out_ns >= 0 ? t_ns - h->t_out_ns >= FORK_NS << times : h->stale != 0U;
}

/* A lane that cannot return by itself is forked from a member when its unit delivers again and its time is over. */
static void renew(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, uint32_t k, int64_t t_ns, fsw_events_t *ev)
{
  fsw_nav_lane_t *h = &s->health[k];
  uint32_t others = s->member_mask & ~(1U << k);
  if (s->front.carried[k] >= CARRIED_STALE) h->stale = 1;
  bool late = !h->started && ones(others) > 0U && s->lane[lowest(others)].imu_count > s->lane[k].imu_count + 1U;
  h->started = 1;
  if (others == 0U || s->front.own[k] < OWN_MIN) {
    if (late) h->stale = 1;
    return;
  }
  if (to_fork(s, k, t_ns)) fork_lane(s, p, k, lowest(others), ev);
}

static void member_events(const fsw_nav_lanes_state_t *s, uint32_t k, bool was, bool is, fsw_events_t *ev)
{
  if (!ev || was == is) return;
  int64_t t_ns = s->lane[k].f.t_ns;
  if (is) fsw_event(ev, t_ns, FSW_EVENT_LANE_BACK, (uint16_t)k, 0.0, 0.0);
  else fsw_event(ev, t_ns, FSW_EVENT_LANE_OUT, (uint16_t)k, (double)s->health[k].cause, 0.0);
}

/* Whether lane k is a member from now on. At the very first sample every lane is. */
static bool fit(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, uint32_t k, int64_t t_ns, fsw_events_t *ev)
{
  fsw_nav_lane_t *h = &s->health[k];
  uint8_t cause = s->select_mask == 0U ? 0 : unfit(s, k);
  if (cause) h->cause = cause;
  if (h->cause != 0U || !h->started) renew(s, p, k, t_ns, ev);
  if (cause == 0U) h->cause = 0;
  return cause == 0U && !h->stale;
}

void fsw_nav_lanes_health(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, int64_t t_ns, fsw_events_t *ev)
{
  uint32_t seen = s->front.vote.seen_mask;
  uint32_t members = 0;
  bool first = s->select_mask == 0U;
  for (uint32_t k = 0; k < N; k++) {
    if (!has(seen, k)) continue;
    bool was = has(s->member_mask, k);
    bool is = fit(s, p, k, t_ns, ev);
    if (is) members |= 1U << k;
    member_events(s, k, was || first, is, ev);
  }
  s->member_mask = (uint8_t)members;
  uint32_t n = ones(members);
  uint8_t level = (uint8_t)(n >= 3U ? 0U : 3U - n);
  if (level != s->level && ev && !first) fsw_event(ev, t_ns, FSW_EVENT_LANES_LEVEL, 0, (double)n, 0.0);
  s->level = level;
  if (members && !has(members, s->ref)) s->ref = (uint8_t)lowest(members);
}

/* ---- output ----------------------------------------------------------------------------------------------------------------------- */

/* Which lanes form the output: three all, of two the better one, with hysteresis; none: the reference goes on. */
static uint32_t selection(const fsw_nav_lanes_state_t *s)
{
  uint32_t m = s->member_mask;
  if (m == 0U) return 1U << s->ref;
  if (ones(m) != 2U) return m;
  uint32_t a = lowest(m);
  uint32_t b = lowest(m & ~(1U << a));
  uint32_t now = s->select_mask;
  if (now == 1U << a) return s->mon.lane_nis[b] < BETTER * s->mon.lane_nis[a] ? 1U << b : now;
  if (now == 1U << b) return s->mon.lane_nis[a] < BETTER * s->mon.lane_nis[b] ? 1U << a : now;
  return s->mon.lane_nis[b] < s->mon.lane_nis[a] ? 1U << b : 1U << a;
}

static void middle(const double *a, const double *b, const double *c, double out[3])
{
  for (uint32_t i = 0; i < 3U; i++) {
    double lo = fsw_min(a[i], b[i]);
    double hi = fsw_max(b[i], a[i]);
    out[i] = fsw_max(lo, fsw_min(hi, c[i]));
  }
}

/* Small rotation from a to b, in the axes of a's body. */
static void rotation(const double a[4], const double b[4], double phi[3])
{
  double c[4];
  double d[4];
  fsw_q_conj(a, c);
  fsw_q_mul(c, b, d);
  for (uint32_t i = 0; i < 3U; i++) phi[i] = (d[0] < 0.0 ? -2.0 : 2.0) * d[1U + i];
}

/* Rotates by a small rotation vector: its third order is below 1e-9 rad at 2 mrad, and the result is normalised. */
static void rotate(const double q[4], const double phi[3], double out[4])
{
  double e[4] = {1.0, 0.5 * phi[0], 0.5 * phi[1], 0.5 * phi[2]};
  double r[4];
  fsw_q_mul(q, e, r);
  (void)fsw_q_normalize(r);
  for (uint32_t i = 0; i < 4U; i++) out[i] = r[i];
}

static void combine(const fsw_nav_lanes_state_t *s, uint32_t use, fsw_nav_t *out)
{
  uint32_t k = lowest(use);
  *out = s->sol[k];
  if (ones(use) < 3U) return;
  static const double zero[3] = {0.0, 0.0, 0.0};
  const fsw_nav_t *a = &s->sol[0];
  const fsw_nav_t *b = &s->sol[1];
  const fsw_nav_t *c = &s->sol[2];
  double ab[3];
  double ac[3];
  double phi[3];
  middle(a->r_bl_l, b->r_bl_l, c->r_bl_l, out->r_bl_l);
  middle(a->v_bl_l, b->v_bl_l, c->v_bl_l, out->v_bl_l);
  middle(a->omega_bl_b, b->omega_bl_b, c->omega_bl_b, out->omega_bl_b);
  middle(a->f_b, b->f_b, c->f_b, out->f_b);
  rotation(a->q_bl, b->q_bl, ab);
  rotation(a->q_bl, c->q_bl, ac);
  middle(zero, ab, ac, phi);
  rotate(a->q_bl, phi, out->q_bl);
}

/* Share of the offset that is still in force. */
static double share(const fsw_nav_lanes_state_t *s, int64_t t_ns)
{
  if (s->t_blend_ns < 0) return 0.0;
  return fsw_clamp(1.0 - (double)(t_ns - s->t_blend_ns) / (double)BLEND_NS, 0.0, 1.0);
}

static void add_offset(const fsw_nav_lanes_state_t *s, double w, fsw_nav_t *out)
{
  double phi[3];
  if (!(w > 0.0)) return;
  fsw_v3_axpy(w, s->off_r, out->r_bl_l);
  fsw_v3_axpy(w, s->off_v, out->v_bl_l);
  fsw_v3_scale(w, s->off_q, phi);
  rotate(out->q_bl, phi, out->q_bl);
}

/* What the output would be had the selection not changed; when that is no longer a number, the last output carried on. */
static void unchanged(const fsw_nav_lanes_state_t *s, double w, int64_t dt_ns, fsw_nav_t *out)
{
  combine(s, s->select_mask, out);
  add_offset(s, w, out);
  double sum = fsw_v3_norm(out->r_bl_l) + fsw_v3_norm(out->v_bl_l) + out->q_bl[0] + out->q_bl[1] + out->q_bl[2] + out->q_bl[3];
  if (fsw_isfinite(sum)) return;
  *out = s->out;
  fsw_v3_axpy((double)dt_ns * 1e-9, s->out.v_bl_l, out->r_bl_l);
}

/* The combination of the lanes, blended when the selection changes. Returns the share of the offset in force. */
static double select_and_combine(fsw_nav_lanes_state_t *s, int64_t t_ns, int64_t dt_ns, fsw_nav_t *out)
{
  uint32_t use = selection(s);
  double w = share(s, t_ns);
  combine(s, use, out);
  if (s->select_mask != 0U && use != s->select_mask) {
    fsw_nav_t old;
    unchanged(s, w, dt_ns, &old);
    fsw_v3_sub(old.r_bl_l, out->r_bl_l, s->off_r);
    fsw_v3_sub(old.v_bl_l, out->v_bl_l, s->off_v);
    rotation(out->q_bl, old.q_bl, s->off_q);
    s->t_blend_ns = t_ns;
    s->switches++;
    w = 1.0;
  }
  s->select_mask = (uint8_t)use;
  const fsw_nav_t *ref = &s->sol[s->ref];
  fsw_v3_sub(out->r_bl_l, ref->r_bl_l, s->shift_r);
  fsw_v3_sub(out->v_bl_l, ref->v_bl_l, s->shift_v);
  rotation(ref->q_bl, out->q_bl, s->shift_q);
  return w;
}

void fsw_nav_lanes_output(fsw_nav_lanes_state_t *s, int32_t together, int64_t t_ns, int64_t dt_ns)
{
  fsw_nav_t out;
  double w;
  if (together) {
    w = select_and_combine(s, t_ns, dt_ns, &out);
  } else {
    out = s->sol[s->ref];
    fsw_v3_add(out.r_bl_l, s->shift_r, out.r_bl_l);
    fsw_v3_add(out.v_bl_l, s->shift_v, out.v_bl_l);
    rotate(out.q_bl, s->shift_q, out.q_bl);
    w = share(s, t_ns);
  }
  if (w <= 0.0) s->t_blend_ns = -1;
  add_offset(s, w, &out);
  if (s->member_mask == 0U && out.quality < 2U) out.quality = 2;
  s->out = out;
}
