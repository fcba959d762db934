/* nav_monitor.c - monitor of the lanes: windowed NIS, receiver against receiver, solution separation (nav_lanes.h).
 *
 * A gate looks at one innovation and does not see a slow lie, which the filter follows; sums over time do. Each test below is such a sum. */
#include <stdbool.h>

#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/nav_lanes.h"
#include "flightsw/vec.h"
#include "nav_internal.h"

#define NIS_GNSS_LOW 48.41    /* chi-square, 90 degrees of freedom, 1e-4 below */
#define NIS_GNSS_HIGH 148.6   /* and above */
#define NIS_RADALT_LOW 9.258  /* 30 degrees of freedom */
#define NIS_RADALT_HIGH 67.63
#define NIS_RUN 10U           /* sums in a row above the bound that exclude: the tests of a flight are many and overlap */
#define CUSUM_DRIFT 0.25      /* sigma */
#define CUSUM_LIMIT 40.0
#define CUSUM_CLIP 8.0        /* sigma: one outlier must not decide */
#define FAST_S 2.0
#define SLOW_S 20.0
#define DRIFT_MIN_M 0.5
#define PAIR_NS 200000000     /* fixes further apart are not compared */
#define PAIR_SIGMA 3.5        /* of a difference that speaks for readmission */
#define PAIR_GOODS 30U
#define MEAN_SIGMA 4.0        /* and of the sum of all */
#define ALONE_OUT_NS 2000000000 /* other receiver silent so long: an excluded one is better than none, and the filter's gates remain */
#define BACK_NS 2000000000    /* an altimeter comes back, doubling to eight times */
#define SEPARATION_LIMIT 30.7 /* chi-square, 3 degrees of freedom, 1e-6 above */
#define APART_RUN 2U          /* tests in a row, five a second */

void fsw_nav_monitor_init(fsw_nav_monitor_t *m)
{
  __builtin_memset(m, 0, sizeof *m);
  for (uint32_t k = 0; k < FSW_NAV_GNSS; k++) m->rx[k].t_ns = -1;
  for (uint32_t k = 0; k < FSW_LANES; k++) {
    m->lane_nis[k] = 1.0;
    m->t_lane_fix_ns[k] = -1;
  }
  m->t_pair_ns = -1;
}

/* ---- windowed NIS --------------------------------------------------------------------------------------------------------------- */

static void forget(fsw_nav_window_t *w)
{
  w->next = w->count = w->high = 0;
  w->sum = 0.0;
  w->suspect = 0;
}

static void exclude(fsw_nav_monitor_t *m, uint32_t k, uint32_t cause, double statistic, int64_t t_ns, fsw_events_t *ev)
{
  fsw_nav_window_t *w = &m->src[k];
  w->out = 1;
  w->t_out_ns = t_ns;
  w->exclusions++;
  forget(w);
  m->pair_goods = 0;
  if (ev) fsw_event(ev, t_ns, FSW_EVENT_SOURCE_OUT, (uint16_t)k, (double)cause, statistic);
}

static void readmit(fsw_nav_monitor_t *m, uint32_t k, int64_t t_ns, fsw_events_t *ev)
{
  m->src[k].out = 0;
  if (ev) fsw_event(ev, t_ns, FSW_EVENT_SOURCE_BACK, (uint16_t)k, 0.0, 0.0);
}

static uint32_t twin(uint32_t k) { return k ^ 1U; } /* GNSS 0-1, altimeters 2-3 */

/* A second source of the kind is used and nothing is held against it. If both are suspect, the filter or the environment is. */
static bool twin_vouches(const fsw_nav_monitor_t *m, uint32_t k)
{
  const fsw_nav_window_t *o = &m->src[twin(k)];
  return !o->out && o->count == FSW_LANES_WINDOW && (o->suspect & 1U) == 0U;
}

/* The sum of a full window against its bounds. */
static void judge(fsw_nav_window_t *w, bool gnss)
{
  bool high = w->sum > (gnss ? NIS_GNSS_HIGH : NIS_RADALT_HIGH);
  bool low = w->sum < (gnss ? NIS_GNSS_LOW : NIS_RADALT_LOW);
  w->suspect = (uint8_t)((high ? 1U : 0U) | (low ? 2U : 0U));
  w->high = high ? w->high + 1U : 0U;
}

void fsw_nav_monitor_nis(fsw_nav_monitor_t *m, uint32_t k, double nis, int64_t t_ns, fsw_events_t *ev)
{
  if (k >= SRC_BARO || !(nis >= 0.0 && nis < 1e6)) return;
  fsw_nav_window_t *w = &m->src[k];
  bool gnss = k < SRC_RADALT;
  w->nis[w->next] = gnss ? 3.0 * nis : nis;
  w->next = (w->next + 1U) % FSW_LANES_WINDOW;
  if (w->count < FSW_LANES_WINDOW) w->count++;
  w->sum = 0.0; /* afresh: a running sum would keep its rounding */
  for (uint32_t i = 0; i < w->count; i++) w->sum += w->nis[i];
  if (w->count < FSW_LANES_WINDOW) return;
  judge(w, gnss);
  if (w->high >= NIS_RUN && twin_vouches(m, k)) exclude(m, k, FSW_SOURCE_NIS, w->sum, t_ns, ev);
}

/* ---- receiver against receiver ------------------------------------------------------------------------------------------------------ */

/* Means of position less the lanes' integral of velocity: constant for an honest receiver, a ramp for one that drifts away. */
static void track(fsw_nav_monitor_t *m, const fsw_nav_state_t *lane, fsw_nav_receiver_t *r, const fsw_gnss_t *z)
{
  fsw_nav_past_t x;
  double lever[3];
  double dt = r->t_ns < 0 ? 0.0 : fsw_clamp((double)(z->t_valid_ns - r->t_ns) * 1e-9, 0.0, 1.0);
  if (fsw_nav_past(lane, z->t_valid_ns, &x) != 0) return;
  double lag = (double)(lane->f.t_ns - z->t_valid_ns) * 1e-9;
  double young = 1.0 / (double)(r->fixes + 1U); /* at first the mean of all: one fix must not weigh for 20 s */
  if (r->fixes < 1000U) r->fixes++;
  fsw_q_rotate(x.q_be, lane->lever_gnss, lever);
  for (uint32_t i = 0; i < 3U; i++) {
    double path = m->path_e[i] - 0.5 * lag * (lane->f.v_e[i] + x.v_e[i]);
    double e = z->r_e[i] - lever[i] - path;
    r->fast[i] += fsw_max(dt / FAST_S, young) * (e - r->fast[i]);
    r->slow[i] += fsw_max(dt / SLOW_S, young) * (e - r->slow[i]);
  }
}

static double drift(const fsw_nav_receiver_t *r)
{
  double d[3];
  fsw_v3_sub(r->fast, r->slow, d);
  return fsw_v3_norm(d);
}

static double greatest(const double *x, uint32_t n)
{
  double most = 0.0;
  for (uint32_t i = 0; i < n; i++) most = fsw_max(most, x[i]);
  return most;
}

/* The two receivers no longer tell the same: the one that drifts from the lanes' velocity is wrong; while that is open, both stay. */
static void decide(fsw_nav_monitor_t *m, int64_t t_ns, fsw_events_t *ev)
{
  double most = greatest(m->cusum, 6U);
  if (most < CUSUM_LIMIT || m->src[0].out || m->src[1].out) return;
  double a = drift(&m->rx[0]);
  double b = drift(&m->rx[1]);
  uint32_t k = a > b ? 0U : 1U;
  if (fsw_max(a, b) < DRIFT_MIN_M || fsw_max(a, b) < 2.0 * fsw_min(a, b)) return;
  exclude(m, k, FSW_SOURCE_DRIFT, most, t_ns, ev);
  for (uint32_t i = 0; i < 6U; i++) m->cusum[i] = 0.0;
}

static void both_honest(fsw_nav_monitor_t *m, int64_t t_ns, fsw_events_t *ev)
{
  for (uint32_t i = 0; i < 6U; i++) m->cusum[i] = 0.0;
  for (uint32_t k = 0; k < FSW_NAV_GNSS; k++) {
    fsw_v3_copy(m->rx[k].fast, m->rx[k].slow);
    if (m->src[k].out) readmit(m, k, t_ns, ev);
  }
}

/* An excluded receiver is believed again when it has agreed with the other for thirty fixes, singly and in the mean. */
static void regain(fsw_nav_monitor_t *m, const double zn[3], int64_t t_ns, fsw_events_t *ev)
{
  bool good = true;
  for (uint32_t i = 0; i < 3U; i++) good = good && fsw_abs(zn[i]) < PAIR_SIGMA;
  m->pair_goods = good ? m->pair_goods + 1U : 0U;
  for (uint32_t i = 0; i < 3U; i++) m->mean[i] = m->pair_goods <= 1U ? (good ? zn[i] : 0.0) : m->mean[i] + zn[i];
  if (m->pair_goods < PAIR_GOODS) return;
  double limit = MEAN_SIGMA * fsw_sqrt((double)PAIR_GOODS);
  m->pair_goods = 0;
  for (uint32_t i = 0; i < 3U; i++)
    if (fsw_abs(m->mean[i]) > limit) return;
  both_honest(m, t_ns, ev);
}

/* Difference of the last fixes of both, east north up, over its sigma; false when they do not belong together. */
static bool difference(fsw_nav_monitor_t *m, const fsw_nav_state_t *lane, double zn[3])
{
  const fsw_nav_receiver_t *a = &m->rx[0];
  const fsw_nav_receiver_t *b = &m->rx[1];
  double d[3];
  double l[3];
  if (a->t_ns < 0 || b->t_ns < 0) return false;
  int64_t dt_ns = a->t_ns - b->t_ns;
  int64_t newest = dt_ns > 0 ? a->t_ns : b->t_ns;
  if (dt_ns > PAIR_NS || dt_ns < -PAIR_NS || newest == m->t_pair_ns) return false;
  m->t_pair_ns = newest;
  for (uint32_t i = 0; i < 3U; i++) d[i] = a->r_e[i] - b->r_e[i] - lane->f.v_e[i] * (double)dt_ns * 1e-9;
  fsw_m3_mulv(lane->c_le, d, l);
  for (uint32_t i = 0; i < 3U; i++) zn[i] = l[i] / fsw_sqrt(a->sigma[i] * a->sigma[i] + b->sigma[i] * b->sigma[i]);
  return true;
}

static bool sound(const fsw_nav_state_t *lane, const fsw_gnss_t *z, int64_t last_ns)
{
  bool ok = z->valid != 0 && z->t_valid_ns > last_ns && z->t_valid_ns <= lane->f.t_ns + 20000000;
  for (uint32_t i = 0; i < 3U; i++) ok = ok && fsw_abs(z->r_e[i]) < 1e8 && z->sigma_r_m[i] > 0.0 && z->sigma_r_m[i] < 1e4;
  return ok;
}

void fsw_nav_monitor_fix(fsw_nav_monitor_t *m, const fsw_nav_state_t *lane, uint32_t k, const fsw_gnss_t *z, fsw_events_t *ev)
{
  static const uint8_t ned[3] = {1, 0, 2};
  if (k >= FSW_NAV_GNSS || !sound(lane, z, m->rx[k].t_ns)) return;
  fsw_nav_receiver_t *r = &m->rx[k];
  double zn[3];
  track(m, lane, r, z);
  fsw_v3_copy(z->r_e, r->r_e);
  for (uint32_t i = 0; i < 3U; i++) r->sigma[i] = fsw_max(z->sigma_r_m[ned[i]], 0.05);
  r->t_ns = z->t_valid_ns;
  if (!difference(m, lane, zn)) return;
  for (uint32_t i = 0; i < 3U; i++) {
    double x = fsw_clamp(zn[i], -CUSUM_CLIP, CUSUM_CLIP);
    m->cusum[i] = fsw_clamp(m->cusum[i] + x - CUSUM_DRIFT, 0.0, 2.0 * CUSUM_LIMIT);
    m->cusum[3U + i] = fsw_clamp(m->cusum[3U + i] - x - CUSUM_DRIFT, 0.0, 2.0 * CUSUM_LIMIT);
  }
  decide(m, lane->f.t_ns, ev);
  if (m->src[0].out || m->src[1].out) regain(m, zn, lane->f.t_ns, ev);
}

void fsw_nav_monitor_watch(fsw_nav_monitor_t *m, int64_t t_ns, fsw_events_t *ev)
{
  for (uint32_t k = 0; k < SRC_BARO; k++) {
    fsw_nav_window_t *w = &m->src[k];
    if (!w->out) continue;
    if (k >= SRC_RADALT) {
      uint32_t times = w->exclusions > 3U ? 3U : w->exclusions - 1U;
      if (t_ns - w->t_out_ns >= BACK_NS << times) readmit(m, k, t_ns, ev);
    } else if (m->rx[k].t_ns >= 0 && m->rx[k].t_ns - m->rx[twin(k)].t_ns > ALONE_OUT_NS) {
      readmit(m, k, t_ns, ev);
    }
  }
}

/* ---- solution separation ------------------------------------------------------------------------------------------------------------ */

static double block(const double *a, const double *b, const double *sa, const double *sb)
{
  double chi = 0.0;
  for (uint32_t i = 0; i < 3U; i++) chi += (a[i] - b[i]) * (a[i] - b[i]) / (sa[i] * sa[i] + sb[i] * sb[i] + 1e-18);
  return chi;
}

static double separation(const fsw_nav_t *a, const fsw_nav_t *b, const fsw_nav_status_t *sa, const fsw_nav_status_t *sb,
                         const double c_lb[9])
{
  static const double zero[3] = {0.0, 0.0, 0.0};
  double c[4];
  double d[4];
  double phi[3];
  double l[3];
  fsw_q_conj(a->q_bl, c);
  fsw_q_mul(c, b->q_bl, d);
  for (uint32_t i = 0; i < 3U; i++) phi[i] = (d[0] < 0.0 ? -2.0 : 2.0) * d[1U + i];
  fsw_m3_mulv(c_lb, phi, l);
  double r = block(a->r_bl_l, b->r_bl_l, sa->sigma_r_m, sb->sigma_r_m);
  double v = block(a->v_bl_l, b->v_bl_l, sa->sigma_v_m_s, sb->sigma_v_m_s);
  return fsw_max(fsw_max(r, v), block(l, zero, sa->sigma_att_rad, sb->sigma_att_rad));
}

uint32_t fsw_nav_monitor_lanes(fsw_nav_monitor_t *m, const fsw_nav_lanes_state_t *s, uint32_t mask)
{
  static const uint8_t pair[3][2] = {{0, 1}, {0, 2}, {1, 2}};
  fsw_nav_status_t st[FSW_LANES];
  uint32_t far[FSW_LANES] = {0};
  uint32_t result = 0;
  for (uint32_t k = 0; k < FSW_LANES; k++) fsw_nav_status(&s->lane[k], &st[k]);
  for (uint32_t n = 0; n < 3U; n++) {
    uint32_t a = pair[n][0];
    uint32_t b = pair[n][1];
    double c[9];
    m->separation[n] = 0.0;
    if (((mask >> a) & (mask >> b) & 1U) == 0U) continue;
    fsw_q_to_dcm(s->sol[a].q_bl, c);
    m->separation[n] = separation(&s->sol[a], &s->sol[b], &st[a], &st[b], c);
    if (m->separation[n] <= SEPARATION_LIMIT) continue;
    far[a]++;
    far[b]++;
  }
  uint32_t most = far[0] + far[1] + far[2]; /* one lane apart from two that agree: 2 + 1 + 1 */
  for (uint32_t k = 0; k < FSW_LANES; k++) {
    m->apart[k] = far[k] == 2U && most == 4U ? m->apart[k] + 1U : 0U;
    if (m->apart[k] >= APART_RUN) result |= 1U << k;
  }
  return result;
}
