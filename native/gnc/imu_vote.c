/* imu_vote.c - task "gnc.imu_vote": one IMU stream of up to three units at the same place (nav.h).
 *
 * Per sample each fresh unit is tested (invalid, zero, saturated, frozen, parity with the others). A failing sample is not used; three
 * failures in a row or five of ten isolate the unit, half a second of clean samples readmits it. Common-mode rule: when two or more
 * units fail the same test together, the environment fails it, and nobody is blamed. Output: the middle value per component of three
 * (Broen 1975), the mean of two, the only one. Since members agree within the parity limit, a change of membership moves the output by
 * less than that limit. An axis that every unit in use declares saturated keeps its last value: the end of the range is no measurement, and
 * what moved the unit there is seldom what the vehicle does (Schiaparelli 2016, SSLV-D1 2022). When the only two units left disagree, the one nearer to the previous output is followed, and said so. */
#include <stdbool.h>

#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/nav.h"
#include "flightsw/vec.h"

#define N FSW_VOTE_UNITS
#define FUTURE_NS 100000000
enum { FINE, STALE, INVALID, ZERO, SATURATED, FROZEN, PARITY, CAUSES };

typedef struct {
  const fsw_imu_t *z[N]; /* fresh sample, or NULL */
  double x[N][6];        /* rad, m/s: its increments */
  double mid[6];         /* their middle values when calm */
  double limit_g;        /* rad, parity limits of this sample */
  double limit_a;        /* m/s */
  int64_t t_ns;          /* time of validity of the sample */
  uint32_t fresh;        /* number of units */
  bool held;             /* an axis keeps its last value, for every unit in use declares it saturated */
  bool calm;             /* three clean members that agree: the usual case, which skips the rest */
  uint8_t cause[N];
  uint8_t blame[N];      /* cause counts against the unit (common-mode rule applied) */
} round_t;

static bool has(uint32_t mask, uint32_t k) { return (mask >> k & 1U) != 0U; }

static uint32_t ones(uint32_t x)
{
  uint32_t n = 0;
  for (; x != 0U; x &= x - 1U) n++;
  return n;
}

static bool apart(const round_t *r, const double *a, const double *b)
{
  for (uint32_t i = 0; i < 3U; i++)
    if (!(fsw_abs(a[i] - b[i]) <= r->limit_g && fsw_abs(a[3U + i] - b[3U + i]) <= r->limit_a)) return true;
  return false;
}

static bool unit_apart(const round_t *r, uint32_t a, uint32_t b) { return apart(r, r->x[a], r->x[b]); }

static void collect(const fsw_io_t *io, fsw_imu_vote_state_t *s, round_t *r)
{
  for (uint32_t k = 0; k < N; k++) {
    r->z[k] = NULL;
    if (!io->in[k] || !io->in_head[k] || io->in_head[k]->tick < 0 || io->in_head[k]->seq == s->head_seq[k]) continue;
    const fsw_imu_t *z = io->in[k];
    s->head_seq[k] = io->in_head[k]->seq;
    s->seen_mask = (uint8_t)(s->seen_mask | 1U << k);
    if (z->t_valid_ns < 0 || z->t_valid_ns > io->t_ns + FUTURE_NS) continue; /* a clock gone mad must not carry ours away */
    r->z[k] = z;
    fsw_v3_copy(z->dtheta_b, r->x[k]);
    fsw_v3_copy(z->dv_b, r->x[k] + 3);
    r->fresh++;
  }
}

/* Time of the sample: the middle one of the fresh units' times, of two the later one (a unit may lag, none may lead). */
static int64_t common_time(const round_t *r)
{
  int64_t t[N] = {0};
  uint32_t n = 0;
  for (uint32_t k = 0; k < N; k++)
    if (r->z[k]) t[n++] = r->z[k]->t_valid_ns;
  if (n < 2U) return t[0];
  int64_t lo = t[0] < t[1] ? t[0] : t[1];
  int64_t hi = t[0] < t[1] ? t[1] : t[0];
  if (n == 2U) return hi;
  return t[2] < lo ? lo : (t[2] > hi ? hi : t[2]);
}

/* Tests of one unit by itself. Repetition is only counted here: a quantised unit at rest may repeat, and so may all of them. */
static uint8_t own_test(fsw_imu_vote_state_t *s, uint32_t k, const round_t *r, int64_t skew_ns)
{
  const fsw_imu_t *z = r->z[k];
  const double *x = r->x[k];
  double *last = s->last + 6U * k;
  double sum = fsw_abs(x[0]) + fsw_abs(x[1]) + fsw_abs(x[2]) + fsw_abs(x[3]) + fsw_abs(x[4]) + fsw_abs(x[5]);
  bool same = x[0] == last[0] && x[1] == last[1] && x[2] == last[2] && x[3] == last[3] && x[4] == last[4] && x[5] == last[5];
  fsw_v3_copy(x, last);
  fsw_v3_copy(x + 3, last + 3);
  s->repeats[k] = same ? s->repeats[k] + 1U : 0U;
  if (z->t_valid_ns < r->t_ns - skew_ns || z->t_valid_ns > r->t_ns + skew_ns) return STALE;
  if (!z->valid || !fsw_isfinite(sum)) return INVALID;
  if (sum == 0.0) return ZERO;
  if (z->saturated) return SATURATED;
  return s->repeats[k] >= 2U ? FROZEN : FINE;
}

static double middle(double a, double b, double c)
{
  double lo = a < b ? a : b;
  double hi = a < b ? b : a;
  return c < lo ? lo : (c > hi ? hi : c);
}

/* Middle values of three components; true when their spread is within the limit. */
static bool middle_of_all(const round_t *r, uint32_t first, double limit, double mid[3])
{
  bool agree = true;
  for (uint32_t i = 0; i < 3U; i++) {
    double a = r->x[0][first + i];
    double b = r->x[1][first + i];
    double c = r->x[2][first + i];
    double lo = fsw_min(a, b);
    double hi = fsw_max(b, a);
    mid[i] = fsw_max(lo, fsw_min(hi, c));
    agree = agree && fsw_max(hi, c) - fsw_min(lo, c) <= limit;
  }
  return agree;
}

static bool all_agree(round_t *r) { return middle_of_all(r, 0, r->limit_g, r->mid) && middle_of_all(r, 3, r->limit_a, r->mid + 3); }

/* Pairwise differences of the units that are fine so far: who disagrees with all others fails. */
static void parity_test(const fsw_imu_vote_state_t *s, round_t *r)
{
  bool bad[N] = {false};
  uint32_t m[N] = {0};
  uint32_t n = 0;
  for (uint32_t k = 0; k < N; k++)
    if (r->z[k] && r->cause[k] == FINE && !has(s->excluded_mask, k)) m[n++] = k;
  if (n == 2U) bad[m[0]] = bad[m[1]] = unit_apart(r, m[0], m[1]);
  if (n == 3U) {
    bool d01 = unit_apart(r, 0, 1);
    bool d02 = unit_apart(r, 0, 2);
    bool d12 = unit_apart(r, 1, 2);
    bad[0] = d01 && d02;
    bad[1] = d01 && d12;
    bad[2] = d02 && d12;
  }
  for (uint32_t k = 0; k < N; k++)
    if (bad[k]) r->cause[k] = PARITY;
}

/* Two or more units failing the same test together: the environment. A unit that never had company cannot be compared. */
static void common_mode(const fsw_imu_vote_state_t *s, round_t *r)
{
  bool alone = ones(s->seen_mask) < 2U;
  uint32_t count[CAUSES] = {0};
  for (uint32_t k = 0; k < N; k++) count[r->cause[k]]++;
  for (uint32_t k = 0; k < N; k++) r->blame[k] = r->cause[k] != FINE && count[r->cause[k]] < 2U && !alone ? 1 : 0;
}

static void judge(fsw_imu_vote_state_t *s, const fsw_imu_vote_params_t *p, round_t *r)
{
  int64_t skew_ns = fsw_floor_i64(p->vote_skew_ms * 1e6);
  double dt = p->imu_period_ms * 1e-3;
  double rate = 0.0;
  double force = 0.0;
  r->t_ns = common_time(r);
  for (int i = 0; i < 3; i++) {
    rate = fsw_max(rate, fsw_abs(s->out[i]));
    force = fsw_max(force, fsw_abs(s->out[3 + i]));
  }
  r->limit_g = p->vote_gyro_deg_s * FSW_DEG * dt + p->vote_gyro_share * rate;
  r->limit_a = p->vote_accel_m_s2 * dt + p->vote_accel_share * force;
  for (uint32_t k = 0; k < N; k++) {
    if (r->z[k]) r->cause[k] = own_test(s, k, r, skew_ns);
    else r->cause[k] = has(s->seen_mask, k) ? STALE : FINE;
  }
  r->calm = r->fresh == N && s->excluded_mask == 0U && (r->cause[0] | r->cause[1] | r->cause[2]) == FINE && all_agree(r);
  if (r->calm) return;
  parity_test(s, r);
  common_mode(s, r);
}

/* What may form the output: members first, then whatever vouches for itself. */
static uint32_t choose(const fsw_imu_vote_state_t *s, const round_t *r)
{
  if (r->calm) return 7U;
  uint32_t clean = 0;
  uint32_t shared = 0;
  uint32_t last = 0;
  for (uint32_t k = 0; k < N; k++) {
    if (!r->z[k] || r->cause[k] == STALE || r->cause[k] == INVALID) continue;
    bool member = !has(s->excluded_mask, k);
    if (member && r->cause[k] == FINE) clean |= 1U << k;
    if (member && !r->blame[k]) shared |= 1U << k;
    last |= 1U << k;
  }
  return clean ? clean : (shared ? shared : last);
}

/* Of two units that disagree, the one nearer to the previous output; once chosen, it stays until they agree again. */
static uint32_t follow(fsw_imu_vote_state_t *s, const round_t *r, uint32_t a, uint32_t b)
{
  double d[2] = {0.0, 0.0};
  if (s->lock == a + 1U || s->lock == b + 1U) return s->lock - 1U;
  for (uint32_t i = 0; i < 6U; i++) {
    double scale = i < 3U ? r->limit_g : r->limit_a;
    double ea = (r->x[a][i] - s->out[i]) / fsw_max(scale, 1e-12);
    double eb = (r->x[b][i] - s->out[i]) / fsw_max(scale, 1e-12);
    d[0] += ea * ea;
    d[1] += eb * eb;
  }
  uint32_t k = d[1] < d[0] ? b : a;
  s->lock = (uint8_t)(k + 1U);
  return k;
}

/* One component of the output: middle value of three, mean of two, the only one, of those not saturated in it; of none the last value. */
static double component(round_t *r, const uint32_t *m, uint32_t n, uint32_t i, double last)
{
  double v[N] = {0.0};
  uint32_t count = 0;
  for (uint32_t j = 0; j < n; j++)
    if (!has(r->z[m[j]]->saturated, i)) v[count++] = r->x[m[j]][i];
  if (count == 0U) {
    r->held = true;
    return last;
  }
  return count == 3U ? middle(v[0], v[1], v[2]) : (count == 2U ? 0.5 * (v[0] + v[1]) : v[0]);
}

/* Fills the output, which holds the last one, from the units in `use`; returns the mask really used. */
static uint32_t combine(fsw_imu_vote_state_t *s, round_t *r, uint32_t use, double out[6])
{
  uint32_t m[N] = {0};
  uint32_t n = 0;
  if (r->calm) {
    fsw_v3_copy(r->mid, out);
    fsw_v3_copy(r->mid + 3, out + 3);
    s->lock = 0;
    s->split_run = 0;
    return use;
  }
  for (uint32_t k = 0; k < N; k++)
    if (has(use, k)) m[n++] = k;
  bool split = n == 2U && unit_apart(r, m[0], m[1]);
  if (split) {
    m[0] = follow(s, r, m[0], m[1]);
    use = 1U << m[0];
    n = 1;
  } else {
    s->lock = 0;
  }
  s->split_run = split ? s->split_run + 1U : 0U;
  for (uint32_t i = 0; i < 6U; i++) out[i] = component(r, m, n, i, out[i]);
  return use;
}

/* Counts verdicts, isolates and readmits. An isolated unit is clean when it agrees with the output. */
static void membership(const fsw_io_t *io, fsw_imu_vote_state_t *s, const fsw_imu_vote_params_t *p, const round_t *r,
                       bool have_out, fsw_events_t *ev)
{
  if (r->calm && (s->history[0] | s->history[1] | s->history[2]) == 0U) return;
  for (uint32_t k = 0; k < N; k++) {
    if (!has(s->seen_mask, k)) continue;
    bool out = has(s->excluded_mask, k);
    bool bad = r->blame[k] != 0;
    if (!bad && !out && s->history[k] == 0U) continue; /* the usual case */
    if (out && r->z[k] && !bad)
      bad = r->cause[k] != FINE || !have_out || apart(r, r->x[k], s->out);
    s->run[k] = bad ? s->run[k] + 1U : 0U;
    s->good[k] = bad || !r->z[k] ? 0U : s->good[k] + 1U;
    s->history[k] = (s->history[k] << 1 | (bad ? 1U : 0U)) & 0x3ffU;
    bool last = ones((uint32_t)s->seen_mask & ~(uint32_t)s->excluded_mask) < 2U; /* the last one stays */
    if (!out && !last && (s->run[k] >= p->vote_run || ones(s->history[k]) >= 5U)) {
      s->excluded_mask = (uint8_t)(s->excluded_mask | 1U << k);
      s->good[k] = 0;
      if (ev) fsw_event(ev, io->t_ns, FSW_EVENT_IMU_EXCLUDED, (uint16_t)k, (double)r->cause[k], 0.0);
    } else if (out && s->good[k] >= p->vote_readmit) {
      s->excluded_mask = (uint8_t)(s->excluded_mask & ~(1U << k));
      s->history[k] = 0;
      if (ev) fsw_event(ev, io->t_ns, FSW_EVENT_IMU_READMITTED, (uint16_t)k, 0.0, 0.0);
    }
  }
}

/* A value that is held is a guess, and navigation must know. It bridges samples that are missing with noise of its own, at most two before
 * it calls the stream silent: so of three samples with a held axis two are left out. */
static bool left_out(const round_t *r, const fsw_imu_vote_params_t *p)
{
  return r->held && fsw_floor_i64((double)r->t_ns * 1e-6 / p->imu_period_ms + 0.5) % 3 != 0;
}

static int32_t step(fsw_io_t *io)
{
  fsw_imu_vote_state_t *s = io->state;
  const fsw_imu_vote_params_t *p = io->params;
  fsw_imu_voted_t *out = io->out[0];
  fsw_events_t *ev = io->out[1];
  round_t r = {.fresh = 0};
  if (ev) ev->count = 0;
  collect(io, s, &r);
  if (r.fresh > 0U) judge(s, p, &r);
  if (r.fresh == 0U || r.t_ns <= s->t_out_ns) { /* nothing new: navigation notices the silence */
    io->publish &= ~3U;
    return 0;
  }
  uint32_t use = choose(s, &r);
  if (use) use = combine(s, &r, use, s->out);
  membership(io, s, p, &r, use != 0U, ev);
  if (ev && s->split_run == p->vote_run) fsw_event(ev, io->t_ns, FSW_EVENT_IMU_NONE, 0, 0.0, 0.0);
  s->t_out_ns = r.t_ns;
  if (!ev || ev->count == 0U) io->publish &= ~2U;
  if (left_out(&r, p)) {
    io->publish &= ~1U;
    return 0;
  }
  s->seq++;
  __builtin_memset(out, 0, sizeof *out);
  out->t_valid_ns = r.t_ns;
  fsw_v3_copy(s->out, out->dtheta_b);
  fsw_v3_copy(s->out + 3, out->dv_b);
  out->seq = s->seq;
  out->valid = use ? 1 : 0;
  out->used_mask = (uint8_t)use;
  out->excluded_mask = s->excluded_mask;
  return 0;
}

static void init(void *state, const void *params)
{
  fsw_imu_vote_state_t *s = state;
  (void)params;
  s->t_out_ns = -1;
}

static const fsw_port_t reads[] = { FSW_READ_N("imu", fsw_imu_t, FSW_VOTE_UNITS, 1) };
static const fsw_port_t writes[] = {
  FSW_WRITE("imu_voted", fsw_imu_voted_t),
  FSW_WRITE_OPT("vote_events", fsw_events_t),
};

FSW_TASK(fsw_task_gnc_imu_vote, "gnc.imu_vote", step, init, fsw_imu_vote_state_t, fsw_imu_vote_params_t, reads, writes,
         "One inertial stream voted from up to three units by parity, mid-value and reversible isolation.");
