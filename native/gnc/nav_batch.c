/* nav_batch.c - the navigation filter over arrays: order of arrival, solutions, what became of each measurement (nav_batch.h). */
#include "flightsw/nav_batch.h"

#include "flightsw/math.h"
#include "flightsw/vec.h"
#include "nav_internal.h"

typedef struct { /* prediction of one measurement, scalar by scalar */
  double z[FSW_NAV_SCALARS];
  bool ok;
} prediction_t;

typedef struct { /* a measurement as scalars: value and variance of each, where there is one */
  const fsw_nav_params_t *p;
  const fsw_gnss_t *gnss;
  const fsw_radalt_t *radalt;
  const fsw_baro_t *baro;
  int64_t t_valid_ns;
  double z[FSW_NAV_SCALARS];
  double r[FSW_NAV_SCALARS];
  double ned[9];          /* axes of a fix, the same for all predictions of it */
  double b_g[3];          /* rad/s, gyro bias that the rates of past states are free of */
  bool given[FSW_NAV_SCALARS];
} reading_t;

static bool sound(const fsw_nav_start_t *x)
{
  double q2 = 0.0;
  bool ok = x->t_ns >= 0 && x->t_ns < INT64_MAX / 4 && fsw_v3_dot(x->r_e, x->r_e) > 1e12;
  for (int i = 0; i < 4; i++) q2 += x->q_be[i] * x->q_be[i];
  for (int i = 0; i < 3; i++) ok = ok && fsw_abs(x->r_e[i]) < 1e8 && fsw_abs(x->v_e[i]) < 1e5;
  return ok && fsw_abs(q2 - 1.0) < 0.1;
}

int32_t fsw_nav_start(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_start_t *x)
{
  fsw_nav_filter_t *f = &s->f;
  if (!sound(x)) return -1;
  f->t_ns = s->t_start_ns = s->t_fix_ns = s->t_height_ns = x->t_ns;
  fsw_v3_copy(x->r_e, f->r_e);
  fsw_v3_copy(x->v_e, f->v_e);
  for (int i = 0; i < 4; i++) f->q_be[i] = x->q_be[i];
  (void)fsw_q_normalize(f->q_be);
  fsw_q_to_dcm(f->q_be, f->c_be);
  for (int i = 0; i < 4; i++) f->q_sum[i] = f->q_be[i];
  for (int i = 0; i < 3; i++) f->omega_b[i] = FSW_NAV_OMEGA_E * f->c_be[6 + i];
  fsw_nav_gravity(f->r_e, f->g_e);
  fsw_nav_init_covariance(s, p);
  return 0;
}

/* ---- predictions ------------------------------------------------------------------------------------------------------------------- */

/* Antenna of the receiver: r + C l + b_n, v + C (omega x l) - omega_ie x (C l), along north, east, down. */
static void predict_gnss(const fsw_nav_state_t *s, const fsw_nav_past_t *x, const reading_t *m, double z[FSW_NAV_SCALARS])
{
  double lever[3];
  double rate[3];
  double t[3];
  double r[3];
  double v[3];
  double omega[3];
  for (int i = 0; i < 3; i++) omega[i] = x->omega_b[i] - (s->f.b_g[i] - m->b_g[i]);
  fsw_q_rotate(x->q_be, s->lever_gnss, lever);
  fsw_v3_cross(omega, s->lever_gnss, t);
  fsw_q_rotate(x->q_be, t, rate);
  for (int i = 0; i < 3; i++) {
    r[i] = x->r_e[i] + lever[i] + s->f.b_n[i];
    v[i] = x->v_e[i] + rate[i];
  }
  v[0] += FSW_NAV_OMEGA_E * lever[1];
  v[1] -= FSW_NAV_OMEGA_E * lever[0];
  for (int k = 0; k < 3; k++) {
    z[k] = fsw_v3_dot(m->ned + 3 * k, r);
    z[3 + k] = fsw_v3_dot(m->ned + 3 * k, v);
  }
}

static bool predict_range(const fsw_nav_state_t *s, const fsw_nav_past_t *x, double *z)
{
  static const double x_b[3] = {1.0, 0.0, 0.0};
  double lever[3];
  double axis[3];
  const double *up = s->c_le + 6;
  fsw_q_rotate(x->q_be, s->lever_radalt, lever);
  fsw_q_rotate(x->q_be, x_b, axis);
  for (int i = 0; i < 3; i++) lever[i] += x->r_e[i] - s->site_e[i];
  double c = fsw_v3_dot(up, axis);
  if (!(c > s->cos_tilt_max) || !(c > 0.05)) return false;
  *z = fsw_v3_dot(up, lever) / c + s->f.b_ra;
  return true;
}

static void predict_height(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_past_t *x, double *z)
{
  double d[3];
  fsw_v3_sub(x->r_e, s->site_e, d);
  *z = fsw_v3_dot(s->c_le + 6, d) + p->site_height_m + s->f.b_baro;
}

static prediction_t predict(const fsw_nav_state_t *s, const reading_t *m)
{
  prediction_t out = {{0.0}, false};
  fsw_nav_past_t x;
  if (fsw_nav_past(s, m->t_valid_ns, &x) != 0) return out;
  out.ok = true;
  if (m->gnss) predict_gnss(s, &x, m, out.z);
  else if (m->radalt) out.ok = predict_range(s, &x, &out.z[0]);
  else predict_height(s, m->p, &x, &out.z[0]);
  return out;
}

/* ---- measurements as scalars --------------------------------------------------------------------------------------------------------- */

static void read_gnss(const fsw_nav_state_t *s, reading_t *m)
{
  const fsw_gnss_t *z = m->gnss;
  const double *l = s->lever_gnss;
  double rate_noise = s->arw * s->arw * 1e9 / (double)s->period_ns * fsw_v3_dot(l, l);
  fsw_nav_ned(s->f.r_e, m->ned);
  fsw_v3_copy(s->f.b_g, m->b_g);
  for (int k = 0; k < 3; k++) {
    double sr = z->sigma_r_m[k];
    double sv = z->sigma_v_m_s[k];
    m->given[k] = fsw_isfinite(sr) && sr > 0.0;
    m->given[3 + k] = fsw_isfinite(sv) && sv > 0.0;
    sr = fsw_clamp(sr, m->p->gnss_floor_r_m, 1e6);
    sv = fsw_clamp(sv, m->p->gnss_floor_v_m_s, 1e4);
    m->z[k] = fsw_v3_dot(m->ned + 3 * k, z->r_e);
    m->z[3 + k] = fsw_v3_dot(m->ned + 3 * k, z->v_e);
    m->r[k] = sr * sr;
    m->r[3 + k] = sv * sv + rate_noise;
  }
}

static void read_range(reading_t *m)
{
  double sd = m->p->radalt_sigma_m + m->p->radalt_sigma_share * m->radalt->range_m;
  if (m->radalt->range_m < m->p->radalt_plume_m) sd *= 2.0;
  m->given[0] = true;
  m->z[0] = m->radalt->range_m;
  m->r[0] = sd * sd;
}

static void reading(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_feed_t *feed, const fsw_nav_arrival_t *a,
                    reading_t *m)
{
  __builtin_memset(m, 0, sizeof *m);
  m->p = p;
  if (a->kind == FSW_NAV_TAKE_GNSS) {
    m->gnss = feed->gnss + a->index;
    m->t_valid_ns = m->gnss->t_valid_ns;
    read_gnss(s, m);
  } else if (a->kind == FSW_NAV_TAKE_RADALT) {
    m->radalt = feed->radalt + a->index;
    m->t_valid_ns = m->radalt->t_valid_ns;
    read_range(m);
  } else {
    m->baro = feed->baro + a->index;
    m->t_valid_ns = m->baro->t_valid_ns;
    m->given[0] = p->baro_sigma_m > 0.0;
    m->z[0] = fsw_nav_pressure_height(m->baro->p_pa);
    m->r[0] = p->baro_sigma_m * p->baro_sigma_m;
  }
}

/* ---- innovations ------------------------------------------------------------------------------------------------------------------------ */

/* Derivative of all scalars along sqrt(d_j) u_j, by the difference of two states moved to either side. */
static bool slope(const fsw_nav_feed_t *feed, const reading_t *m, uint32_t j, double g[FSW_NAV_SCALARS])
{
  const fsw_nav_filter_t *f = &feed->scratch->f;
  double root = fsw_sqrt(f->d[j]);
  prediction_t side[2];
  for (int k = 0; k < 2; k++) {
    double step = k == 0 ? root : -root;
    *feed->moved = *feed->scratch;
    double *x = feed->moved->f.x;
    for (uint32_t i = 0; i < FSW_NAV_N; i++) x[i] = i < j ? step * f->u[j * (j - 1U) / 2U + i] : 0.0;
    x[j] = step;
    fsw_nav_inject(feed->moved);
    side[k] = predict(feed->moved, m);
    if (!side[k].ok) return false;
  }
  for (uint32_t i = 0; i < FSW_NAV_SCALARS; i++) g[i] = 0.5 * (side[0].z[i] - side[1].z[i]);
  return true;
}

/* Joint normalised innovation squared of the n scalars that are given from `first` on: S by Cholesky without roots. */
static void joint(const reading_t *m, uint32_t first, const double *s, fsw_nav_outcome_t *out)
{
  double l[3][3] = {{0.0}};
  double d[3];
  double y[3];
  uint32_t n = 0;
  double nis = 0.0;
  for (uint32_t a = first; a < first + 3U; a++) {
    if (!m->given[a]) continue;
    y[n] = out->innovation[a];
    uint32_t c = 0;
    for (uint32_t b = first; b <= a; b++) {
      if (!m->given[b]) continue;
      double e = s[FSW_NAV_SCALARS * a + b];
      for (uint32_t k = 0; k < c; k++) e -= l[n][k] * l[c][k] * d[k];
      if (b == a) d[n] = fsw_max(e, 1e-300);
      else l[n][c] = e / d[c];
      c++;
    }
    for (uint32_t k = 0; k < n; k++) y[n] -= l[n][k] * y[k];
    nis += y[n] * y[n] / d[n];
    n++;
  }
  out->nis[first / 3U] = nis;
  out->dof[first / 3U] = n;
}

/* Innovation, its sigma and NIS against a copy of the filter, brought up to date. */
static void innovations(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_feed_t *feed, const reading_t *m,
                        fsw_nav_outcome_t *out)
{
  double cov[FSW_NAV_SCALARS * FSW_NAV_SCALARS] = {0.0};
  double g[FSW_NAV_SCALARS];
  *feed->scratch = *s;
  fsw_nav_update_covariance(feed->scratch, p);
  prediction_t at = predict(feed->scratch, m);
  if (!at.ok) return;
  for (uint32_t j = 0; j < FSW_NAV_N; j++) {
    if (!(feed->scratch->f.d[j] > 0.0)) continue;
    if (!slope(feed, m, j, g)) return;
    for (uint32_t a = 0; a < FSW_NAV_SCALARS; a++)
      for (uint32_t b = 0; b <= a; b++) cov[FSW_NAV_SCALARS * a + b] += g[a] * g[b];
  }
  for (uint32_t a = 0; a < FSW_NAV_SCALARS; a++) {
    if (!m->given[a]) continue;
    cov[(FSW_NAV_SCALARS + 1U) * a] += m->r[a];
    out->innovation[a] = m->z[a] - at.z[a];
    out->sigma[a] = fsw_sqrt(cov[(FSW_NAV_SCALARS + 1U) * a]);
  }
  joint(m, 0, cov, out);
  joint(m, 3, cov, out);
}

/* ---- what became of a measurement ------------------------------------------------------------------------------------------------ */

static bool is_valid(const reading_t *m)
{
  bool any = false;
  for (uint32_t a = 0; a < FSW_NAV_SCALARS; a++) {
    any = any || m->given[a];
    if (m->given[a] && !(fsw_abs(m->z[a]) < 1e9)) return false;
  }
  if (m->gnss) return any && m->gnss->valid != 0;
  return m->radalt ? m->radalt->valid != 0 && m->z[0] > 0.0 : m->baro->valid != 0;
}

/* Before the filter sees it: FSW_NAV_FUSED when nothing speaks against it. */
static uint32_t objection(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const reading_t *m, const fsw_nav_source_t *c)
{
  fsw_nav_past_t x;
  fsw_nav_source_t copy = *c;
  uint32_t seq = m->gnss ? m->gnss->seq : (m->radalt ? m->radalt->seq : m->baro->seq);
  if (!is_valid(m)) return FSW_NAV_INVALID;
  if (!nav_src_in_time(s, m->t_valid_ns, m->gnss ? p->gnss_lag_max_s : 0.3)) return FSW_NAV_STALE;
  if (nav_src_duplicate(&copy, seq)) return FSW_NAV_DUPLICATE;
  return fsw_nav_past(s, m->t_valid_ns, &x) != 0 ? FSW_NAV_STALE : FSW_NAV_FUSED;
}

/* Did a measurement that was not fused pass its gate? */
static bool passed(const fsw_nav_state_t *before, const fsw_nav_state_t *s, const reading_t *m, const fsw_nav_source_t *c)
{
  if (m->gnss) return c->goods > before->src[c - s->src].goods;
  return m->radalt && (c->history & 1U) != 0U;
}

/* After: from what the filter answered and how its book-keeping of the source has changed. */
static uint32_t verdict(const fsw_nav_state_t *s, const fsw_nav_state_t *before, const reading_t *m, const fsw_nav_source_t *c, int32_t answer)
{
  if (answer < 0) return m->gnss && c->frozen ? FSW_NAV_FROZEN : FSW_NAV_UNUSABLE;
  if (answer == 0) return passed(before, s, m, c) ? FSW_NAV_WAITING : FSW_NAV_GATED;
  if (s->resets != before->resets) return FSW_NAV_FUSED_RESET;
  bool all = !m->gnss || s->accepted - before->accepted > 3U || !m->given[3];
  return all ? FSW_NAV_FUSED : FSW_NAV_FUSED_POSITION;
}

static int32_t hand_over(fsw_nav_state_t *s, const fsw_nav_params_t *p, const reading_t *m, uint32_t unit)
{
  if (m->gnss) return fsw_nav_on_gnss(s, p, unit, m->gnss, NULL);
  if (m->radalt) return fsw_nav_on_radalt(s, p, unit, m->radalt, NULL);
  return fsw_nav_on_baro(s, p, m->baro, NULL);
}

/* Number of a source; FSW_NAV_SOURCES for a unit that does not exist. */
static uint32_t source_of(const fsw_nav_arrival_t *a)
{
  if (a->kind == FSW_NAV_TAKE_GNSS) return a->unit < FSW_NAV_GNSS ? a->unit : FSW_NAV_SOURCES;
  if (a->kind == FSW_NAV_TAKE_RADALT) return a->unit < FSW_NAV_RADALT ? SRC_RADALT + a->unit : FSW_NAV_SOURCES;
  return SRC_BARO;
}

static void take_measurement(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_feed_t *feed, const fsw_nav_arrival_t *a)
{
  reading_t m;
  reading(s, p, feed, a, &m);
  uint32_t k = source_of(a);
  if (!feed->outcomes || !feed->scratch || !feed->moved || k >= FSW_NAV_SOURCES) {
    (void)hand_over(s, p, &m, a->unit);
    return;
  }
  const fsw_nav_source_t *c = &s->src[k];
  fsw_nav_outcome_t *out = &feed->outcomes[a->slot];
  __builtin_memset(out, 0, sizeof *out);
  out->t_valid_ns = m.t_valid_ns;
  out->t_filter_ns = s->f.t_ns;
  out->kind = a->kind;
  out->unit = a->unit;
  out->outcome = objection(s, p, &m, c);
  if (out->outcome == FSW_NAV_FUSED) innovations(s, p, feed, &m, out);
  *feed->scratch = *s;
  int32_t answer = hand_over(s, p, &m, a->unit);
  if (out->outcome == FSW_NAV_FUSED) out->outcome = verdict(s, feed->scratch, &m, c, answer);
}

/* ---- arrays ------------------------------------------------------------------------------------------------ */

static void take_row(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_feed_t *feed, uint32_t slot)
{
  const fsw_nav_filter_t *f = &s->f;
  if (feed->rows) {
    fsw_nav_row_t *r = &feed->rows[slot];
    r->t_ns = f->t_ns;
    for (int i = 0; i < 4; i++) r->q_be[i] = f->q_be[i];
    const double *from[9] = {f->r_e, f->v_e, f->omega_b, f->f_b, f->b_a, f->b_g, f->s_a, f->s_g, f->b_n};
    double *to[9] = {r->r_e, r->v_e, r->omega_b, r->f_b, r->b_a, r->b_g, r->s_a, r->s_g, r->b_n};
    for (int k = 0; k < 9; k++) fsw_v3_copy(from[k], to[k]);
    r->b_ra = f->b_ra;
    r->b_baro = f->b_baro;
  }
  if (!feed->scratch) return;
  *feed->scratch = *s;
  fsw_nav_update_covariance(feed->scratch, p);
  if (feed->covariances) fsw_nav_covariance(feed->scratch, feed->covariances + 81U * (uint64_t)slot);
  for (uint32_t i = 0; feed->rows && i < FSW_NAV_N; i++)
    feed->rows[slot].sigma[i] = fsw_sqrt(fsw_max(fsw_ud_cov(feed->scratch->f.u, feed->scratch->f.d, FSW_NAV_N, i, i), 0.0));
}

void fsw_nav_feed(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_feed_t *feed, uint64_t from, uint64_t to)
{
  for (uint64_t k = from; k < to; k++) {
    const fsw_nav_arrival_t *a = &feed->arrivals[k];
    if (a->kind == FSW_NAV_TAKE_IMU) {
      const fsw_imu_t *z = &feed->imu[a->index];
      bool used = z->valid != 0 && fsw_nav_on_imu(s, p, z->t_valid_ns, z->dtheta_b, z->dv_b) == 0;
      if (feed->imu_used) feed->imu_used[a->slot] = used ? 1 : 0;
      nav_src_watch(s, NULL);
    } else if (a->kind == FSW_NAV_TAKE_ROW) {
      take_row(s, p, feed, a->slot);
    } else if (a->kind <= FSW_NAV_TAKE_BARO) {
      take_measurement(s, p, feed, a);
    }
  }
}
