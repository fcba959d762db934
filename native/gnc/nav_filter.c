/* nav_filter.c - the filter's own life: start, IMU samples, covariance steps, past states, fusion of scalars, injection. */
#include "nav_internal.h"

#include "flightsw/math.h"
#include "flightsw/vec.h"

#define RING_STEP_NS 20000000 /* 17 states 20 ms apart reach back 0.32 s */
#define FOLD_STEPS 10U        /* bias noise is added every ten covariance steps: nothing moves that fast */

/* ---- start ------------------------------------------------------------------------------------------------------------------- */

/* Vehicle block of a vector whose covariance in l is diagonal: 3 x 3 UD factors of C_el diag(s^2) C_le. */
static void start_block(fsw_nav_state_t *s, uint32_t first, const double sigma_l[3])
{
  double p[3][3];
  for (uint32_t i = 0; i < 3; i++)
    for (uint32_t k = 0; k < 3; k++) {
      p[i][k] = 0.0;
      for (uint32_t a = 0; a < 3; a++) p[i][k] += s->c_le[3 * a + i] * sigma_l[a] * sigma_l[a] * s->c_le[3 * a + k];
    }
  double *d = s->f.d + first;
  double i2 = p[2][2] > 0.0 ? 1.0 / p[2][2] : 0.0;
  double u02 = p[0][2] * i2;
  double u12 = p[1][2] * i2;
  d[2] = p[2][2];
  d[1] = fsw_max(p[1][1] - u12 * p[1][2], 0.0);
  double u01 = d[1] > 0.0 ? (p[0][1] - u02 * p[1][2]) / d[1] : 0.0;
  d[0] = fsw_max(p[0][0] - u02 * p[0][2] - u01 * u01 * d[1], 0.0);
  double *u = s->f.u;
  uint32_t j = first + 1U;
  u[j * (j - 1U) / 2U + first] = u01;
  j++;
  u[j * (j - 1U) / 2U + first] = u02;
  u[j * (j - 1U) / 2U + first + 1U] = u12;
}

void fsw_nav_init_covariance(fsw_nav_state_t *s, const fsw_nav_params_t *p)
{
  fsw_nav_filter_t *f = &s->f;
  for (uint32_t i = 0; i < FSW_NAV_NU; i++) f->u[i] = 0.0;
  for (uint32_t i = 0; i < FSW_NAV_N; i++) f->d[i] = f->x[i] = 0.0;
  double att[3];
  for (int i = 0; i < 3; i++) att[i] = p->init_sigma_att_deg[i] * FSW_DEG;
  start_block(s, 0, p->init_sigma_r_m);
  start_block(s, 3, p->init_sigma_v_m_s);
  start_block(s, 6, att);
  const double dph = FSW_DEG / 3600.0;
  double g0 = p->gyro_bias_deg_h * dph;
  double g1 = p->gyro_bias_gm_deg_h * dph;
  double bg = g0 * g0 + g1 * g1;
  double ba = p->accel_bias_m_s2 * p->accel_bias_m_s2 + p->accel_bias_gm_m_s2 * p->accel_bias_gm_m_s2;
  for (uint32_t i = 0; i < 3; i++) {
    f->d[FSW_NAV_BA + i] = ba;
    f->d[FSW_NAV_BG + i] = bg;
    nav_row_set(f->d, FSW_NAV_SA + i, p->accel_scale_ppm * p->accel_scale_ppm * 1e-12);
    nav_row_set(f->d, FSW_NAV_SG + i, p->gyro_scale_ppm * p->gyro_scale_ppm * 1e-12);
    nav_row_set(f->d, FSW_NAV_BN + i, p->gnss_gm_m * p->gnss_gm_m);
  }
  nav_row_set(f->d, FSW_NAV_BRA, p->radalt_bias_m * p->radalt_bias_m);
  nav_row_set(f->d, FSW_NAV_BBARO, p->baro_bias_m * p->baro_bias_m);
}

/* One row of the IMU-to-body axes: +-1, +-2, +-3. Anything else leaves the row zero, which the init repairs. */
static void axis_row(double a, double row[3])
{
  fsw_v3_set(0.0, 0.0, 0.0, row);
  double m = fsw_abs(a);
  uint32_t k = m > 2.5 ? 2U : (m > 1.5 ? 1U : 0U);
  row[k] = a < 0.0 ? -1.0 : 1.0;
}

static void start_geometry(fsw_nav_state_t *s, const fsw_nav_params_t *p)
{
  fsw_nav_site(p->site_lat_deg * FSW_DEG, p->site_lon_deg * FSW_DEG, p->site_height_m, s->site_e, s->c_le, s->q_le);
  fsw_v3_set(p->imu_x_m, p->imu_y_m, p->imu_z_m, s->lever_imu);
  fsw_v3_set(p->gnss_x_m, p->gnss_y_m, p->gnss_z_m, s->lever_gnss);
  fsw_v3_set(p->radalt_x_m, p->radalt_y_m, p->radalt_z_m, s->lever_radalt);
  fsw_v3_sub(s->lever_gnss, s->lever_imu, s->lever_gnss);
  fsw_v3_sub(s->lever_radalt, s->lever_imu, s->lever_radalt);
  fsw_sincos(p->nav_azimuth_deg * FSW_DEG, &s->azimuth_l[0], &s->azimuth_l[1]);
  axis_row(p->imu_axis_x, s->axes);
  axis_row(p->imu_axis_y, s->axes + 3);
  axis_row(p->imu_axis_z, s->axes + 6);
}

static void start_state(fsw_nav_state_t *s, const fsw_nav_params_t *p)
{
  fsw_nav_filter_t *f = &s->f;
  double q_bl[4];
  double err[3];
  double q_err[4];
  double q_el[4];
  double t[3];
  fsw_nav_start_attitude(p->init_tilt_deg * FSW_DEG, p->init_roll_deg * FSW_DEG, p->init_v_l_m_s, q_bl);
  for (int i = 0; i < 3; i++) err[i] = p->nav_init_att_err_deg[i] * FSW_DEG;
  fsw_q_from_rotvec(err, q_err);
  fsw_q_mul(q_err, q_bl, q_bl);
  fsw_q_conj(s->q_le, q_el);
  fsw_q_mul(q_el, q_bl, f->q_be);
  (void)fsw_q_normalize(f->q_be);
  fsw_q_to_dcm(f->q_be, f->c_be);
  for (int i = 0; i < 4; i++) f->q_sum[i] = f->q_be[i];
  fsw_m3_mulv(f->c_be, s->lever_imu, t);
  fsw_m3_tmulv(s->c_le, p->init_r_l_m, f->r_e);
  for (int i = 0; i < 3; i++) f->r_e[i] += s->site_e[i] + t[i];
  fsw_m3_tmulv(s->c_le, p->init_v_l_m_s, f->v_e); /* the body does not turn relative to the Earth: */
  for (int i = 0; i < 3; i++) f->omega_b[i] = FSW_NAV_OMEGA_E * f->c_be[6 + i];
  fsw_nav_gravity(f->r_e, f->g_e);
}

static void start_source(fsw_nav_source_t *c)
{
  c->t_valid_ns = -1;
  c->t_accept_ns = -1;
  c->t_reject_ns = -1;
  c->consistent = 1;
}

void fsw_nav_init(fsw_nav_state_t *s, const fsw_nav_params_t *p)
{
  __builtin_memset(s, 0, sizeof *s);
  start_geometry(s, p);
  start_state(s, p);
  fsw_nav_init_covariance(s, p);
  s->arw = p->arw_deg_rt_h * FSW_DEG / 60.0;
  s->vrw = p->vrw_m_s_rt_h / 60.0;
  s->cos_tilt_max = fsw_cos(p->radalt_tilt_max_deg * FSW_DEG);
  s->period_ns = fsw_floor_i64(fsw_clamp(p->imu_period_ms, 0.01, 1000.0) * 1e6 + 0.5);
  s->t_start_ns = fsw_floor_i64(fsw_clamp(p->nav_init_t_s, 0.0, 1e6) * 1e9 + 0.5);
  s->f.t_ns = s->t_start_ns;
  s->t_fix_ns = s->t_start_ns;
  s->t_height_ns = s->t_start_ns;
  if (p->nav_align_s > 0.0) s->t_align_ns = s->t_start_ns + fsw_floor_i64(fsw_clamp(p->nav_align_s, 0.0, 600.0) * 1e9 + 0.5);
  if (p->nav_pad_until_s > 0.0) s->t_pad_ns = fsw_floor_i64(fsw_clamp(p->nav_pad_until_s, 0.0, 1e6) * 1e9 + 0.5);
  s->t_rest_ns = s->t_start_ns + 1000000000;
  for (uint32_t k = 0; k < FSW_NAV_SOURCES; k++) start_source(&s->src[k]);
  for (uint32_t k = 0; k < FSW_NAV_AIDS; k++) start_source(&s->aid[k]);
}

/* ---- covariance -------------------------------------------------------------------------------------------------------------- */

static void bias_state(fsw_nav_filter_t *f, uint32_t j, double q, double m, double *value)
{
  if (j >= FSW_NAV_N) return;
  if (m < 1.0) {
    fsw_ud_decay(f->u, f->d, FSW_NAV_N, j, m);
    *value *= m;
  }
  if (q > 0.0) {
    double a[FSW_NAV_N] = {0.0};
    a[j] = 1.0;
    fsw_ud_rank1(f->u, f->d, q, a, j);
  }
}

/* Turn-on bias plus slow Gauss-Markov part of an IMU are one state with random walk 2 sigma^2 / tau; the others decay. */
static void bias_noise(fsw_nav_filter_t *f, const fsw_nav_params_t *p)
{
  double dt = f->fold_s;
  double g = p->gyro_bias_gm_deg_h * FSW_DEG / 3600.0;
  double walk = 2.0 * dt / fsw_max(p->bias_tau_s, 0.1);
  double qg = g * g * walk;
  double qa = p->accel_bias_gm_m_s2 * p->accel_bias_gm_m_s2 * walk;
  for (uint32_t i = 0; i < 3U; i++) {
    bias_state(f, FSW_NAV_BA + i, qa, 1.0, &f->b_a[i]);
    bias_state(f, FSW_NAV_BG + i, qg, 1.0, &f->b_g[i]);
  }
  double mn = 1.0 - dt / fsw_max(p->gnss_gm_tau_s, 10.0 * dt); /* exp(-dt/tau) to first order: dt is 0.1 s, tau minutes */
  double mr = 1.0 - dt / fsw_max(p->radalt_bias_tau_s, 10.0 * dt);
  double mb = 1.0 - dt / fsw_max(p->baro_bias_tau_s, 10.0 * dt);
  double vn = p->gnss_gm_m * p->gnss_gm_m;
  if (vn > 0.0)
    for (uint32_t i = 0; i < 3U; i++) bias_state(f, FSW_NAV_BN + i, vn * (1.0 - mn * mn), mn, &f->b_n[i]);
  bias_state(f, FSW_NAV_BRA, p->radalt_bias_m * p->radalt_bias_m * (1.0 - mr * mr), mr, &f->b_ra);
  bias_state(f, FSW_NAV_BBARO, p->baro_bias_m * p->baro_bias_m * (1.0 - mb * mb), mb, &f->b_baro);
  f->fold_s = 0.0;
  f->fold_n = 0;
}

void fsw_nav_update_covariance(fsw_nav_state_t *s, const fsw_nav_params_t *p)
{
  fsw_nav_filter_t *f = &s->f;
  if (!(f->sum_dt > 0.0)) return;
  fsw_nav_transition_t t;
  fsw_nav_transition(f, s->vrw, s->arw, &t);
  fsw_ud_predict(f->u, f->d, &t);
  f->fold_s += f->sum_dt;
  f->fold_n++;
  f->cov_n = 0;
  f->sum_dt = f->sum_qv = f->sum_qpsi = 0.0;
  for (int i = 0; i < 3; i++) f->sum_dth[i] = f->sum_dv[i] = 0.0;
  for (int i = 0; i < 4; i++) f->q_sum[i] = f->q_be[i];
  if (f->fold_n >= FOLD_STEPS) bias_noise(f, p);
}

/* ---- IMU ------------------------------------------------------------------------------------------------------------------------ */

static void present(const fsw_nav_filter_t *f, fsw_nav_past_t *x)
{
  x->t_ns = f->t_ns;
  fsw_v3_copy(f->r_e, x->r_e);
  fsw_v3_copy(f->v_e, x->v_e);
  for (int i = 0; i < 4; i++) x->q_be[i] = f->q_be[i];
  fsw_v3_copy(f->omega_b, x->omega_b);
}

static void remember(fsw_nav_state_t *s)
{
  uint32_t last = (s->ring_next + FSW_NAV_RING - 1U) % FSW_NAV_RING;
  if (s->ring_count > 0U && s->f.t_ns - s->ring[last].t_ns < RING_STEP_NS) return;
  present(&s->f, &s->ring[s->ring_next]);
  s->ring_next = (s->ring_next + 1U) % FSW_NAV_RING;
  if (s->ring_count < FSW_NAV_RING) s->ring_count++;
}

static void advance(fsw_nav_state_t *s, const fsw_nav_params_t *p, int64_t dt_ns)
{
  s->f.t_ns += dt_ns;
  s->f.cov_n++;
  if (s->f.cov_n >= p->cov_period_ticks) fsw_nav_update_covariance(s, p);
  remember(s);
}

/* The measured increments of the last sample again: strapdown removes bias and scale once more, so put them back first. */
void fsw_nav_hold(fsw_nav_state_t *s, const fsw_nav_params_t *p, int64_t dt_ns)
{
  fsw_nav_filter_t *f = &s->f;
  double dth[3];
  double dv[3];
  double dt = (double)dt_ns * 1e-9;
  for (int i = 0; i < 3; i++) {
    dth[i] = (f->omega_b[i] * (1.0 + f->s_g[i]) + f->b_g[i]) * dt;
    dv[i] = (f->f_b[i] * (1.0 + f->s_a[i]) + f->b_a[i]) * dt;
  }
  if (fsw_nav_strapdown(f, dth, dv, dt) != 0) return;
  f->sum_qv += p->hold_accel_m_s2 * p->hold_accel_m_s2 * 0.1 * dt;
  f->sum_qpsi += p->hold_rate_rad_s * p->hold_rate_rad_s * 0.1 * dt;
  advance(s, p, dt_ns);
}

void fsw_nav_silence(fsw_nav_state_t *s, const fsw_nav_params_t *p, int64_t dt_ns)
{
  if (s->imu_count == 0U || s->t_gap_ns > INT64_MAX / 4) return;
  s->t_gap_ns += dt_ns;
  if (s->t_gap_ns <= FSW_NAV_SILENT_PERIODS * s->period_ns) return;
  for (uint32_t k = 0; k < 8U && s->t_gap_ns - s->t_held_ns >= s->period_ns && s->t_held_ns < FSW_NAV_HOLD_MAX_NS; k++) {
    fsw_nav_hold(s, p, s->period_ns);
    s->t_held_ns += s->period_ns;
  }
}

/* A silence before this sample is bridged in at most 64 pieces; beyond 2 s the clock jumps and the status says lost. */
static void bridge(fsw_nav_state_t *s, const fsw_nav_params_t *p, int64_t gap_ns)
{
  if (gap_ns > 2000000000) {
    s->f.t_ns += gap_ns;
    fsw_nav_open(&s->f, 0, NULL, 1e8);
    fsw_nav_open(&s->f, 3, NULL, 1e4);
    return;
  }
  int64_t step = gap_ns / 64 > s->period_ns ? gap_ns / 64 : s->period_ns;
  for (uint32_t k = 0; k < 80U && gap_ns > 0; k++) {
    int64_t dt = gap_ns < 2 * step ? gap_ns : step;
    fsw_nav_hold(s, p, dt);
    gap_ns -= dt;
  }
}

int32_t fsw_nav_on_imu(fsw_nav_state_t *s, const fsw_nav_params_t *p, int64_t t_valid_ns, const double *dth, const double *dv)
{
  double a[3];
  double b[3];
  bool sane = t_valid_ns >= 0 && t_valid_ns < INT64_MAX / 4;
  int64_t dt_ns = sane ? t_valid_ns - s->f.t_ns : 0;
  fsw_m3_mulv(s->axes, dth, a);
  fsw_m3_mulv(s->axes, dv, b);
  if (dt_ns <= s->period_ns / 2 || !fsw_nav_plausible(a, b, 1.0)) { /* before a gap is bridged: what is refused changes nothing */
    s->imu_dropped++;
    return -1;
  }
  if (2 * dt_ns > 3 * s->period_ns) {
    if (s->imu_count == 0U) { /* nothing to hold yet: take the first sample's rates for the time before it */
      double k = 1e9 / (double)s->period_ns;
      fsw_v3_scale(k, a, s->f.omega_b);
      fsw_v3_scale(k, b, s->f.f_b);
    }
    bridge(s, p, dt_ns - s->period_ns);
    dt_ns = t_valid_ns - s->f.t_ns;
  }
  if (dt_ns <= 0 || fsw_nav_strapdown(&s->f, a, b, (double)dt_ns * 1e-9) != 0) {
    s->imu_dropped++;
    return -1;
  }
  s->imu_count++;
  advance(s, p, dt_ns);
  if ((s->t_pad_ns | s->t_align_ns) != 0) fsw_nav_at_rest(s, p, a, b, (double)dt_ns * 1e-9);
  return 0;
}

/* ---- past states ------------------------------------------------------------------------------------------------------------------ */

/* State at t_ns after the newest one: constant acceleration, for the few milliseconds a measurement may be ahead of the IMU. */
static void ahead(const fsw_nav_filter_t *f, int64_t t_ns, fsw_nav_past_t *x)
{
  double tau = (double)(t_ns - f->t_ns) * 1e-9;
  double a[3];
  double q[4];
  double phi[3];
  fsw_m3_mulv(f->c_be, f->f_b, a);
  fsw_v3_add(a, f->g_e, a);
  a[0] += 2.0 * FSW_NAV_OMEGA_E * f->v_e[1];
  a[1] -= 2.0 * FSW_NAV_OMEGA_E * f->v_e[0];
  for (int i = 0; i < 3; i++) {
    x->r_e[i] += tau * (x->v_e[i] + 0.5 * tau * a[i]);
    x->v_e[i] += tau * a[i];
    phi[i] = tau * f->omega_b[i];
  }
  fsw_nav_turn(phi, q);
  fsw_q_mul(x->q_be, q, x->q_be);
  x->t_ns = t_ns;
}

/* Between two states: cubic in position (their velocities are known), linear in velocity, rate and (normalised) attitude. */
static void between(const fsw_nav_past_t *a, const fsw_nav_past_t *b, int64_t t_ns, fsw_nav_past_t *x)
{
  double span = (double)(b->t_ns - a->t_ns) * 1e-9;
  double w = span > 0.0 ? (double)(t_ns - a->t_ns) * 1e-9 / span : 0.0;
  double w2 = w * w;
  double h1 = w2 * (3.0 - 2.0 * w);
  double h2 = w * (1.0 - w) * (1.0 - w) * span;
  double h3 = w2 * (w - 1.0) * span;
  x->t_ns = t_ns;
  for (int i = 0; i < 3; i++) {
    x->r_e[i] = a->r_e[i] + h1 * (b->r_e[i] - a->r_e[i]) + h2 * a->v_e[i] + h3 * b->v_e[i];
    x->v_e[i] = a->v_e[i] + w * (b->v_e[i] - a->v_e[i]);
    x->omega_b[i] = a->omega_b[i] + w * (b->omega_b[i] - a->omega_b[i]);
  }
  for (int i = 0; i < 4; i++) x->q_be[i] = a->q_be[i] + w * (b->q_be[i] - a->q_be[i]);
  (void)fsw_q_normalize(x->q_be);
}

int32_t fsw_nav_past(const fsw_nav_state_t *s, int64_t t_ns, fsw_nav_past_t *out)
{
  fsw_nav_past_t newer;
  present(&s->f, out);
  if (t_ns == s->f.t_ns) return 0;
  if (t_ns > s->f.t_ns) {
    if (t_ns - s->f.t_ns > 20000000) return -1;
    ahead(&s->f, t_ns, out);
    return 0;
  }
  newer = *out;
  for (uint32_t k = 1; k <= s->ring_count; k++) {
    const fsw_nav_past_t *x = &s->ring[(s->ring_next + FSW_NAV_RING - k) % FSW_NAV_RING];
    if (x->t_ns <= t_ns) {
      between(x, &newer, t_ns, out);
      return 0;
    }
    newer = *x;
  }
  return -1;
}

/* ---- fusion ----------------------------------------------------------------------------------------------------------------------- */

/* Joint normalised innovation squared: S = H P H^T + R factored by Cholesky without roots, n <= 3. */
void fsw_nav_batch_test(const fsw_nav_filter_t *f, fsw_nav_batch_t *b)
{
  double g[FSW_NAV_MAX_BATCH][FSW_NAV_N];
  double l[3][3] = {{0.0}};
  double d[3] = {0.0, 0.0, 0.0};
  double y[3];
  b->nis = 0.0;
  if (b->n == 3U) fsw_ud_project3(f->u, f->d, FSW_NAV_N, b->h[0], g[0]);
  for (uint32_t i = 0; i < b->n; i++) {
    if (b->n < 3U) fsw_ud_project(f->u, f->d, FSW_NAV_N, b->h[i], g[i]);
    y[i] = b->nu[i];
    for (uint32_t j = 0; j <= i; j++) {
      double sij = fsw_ud_inner(f->d, FSW_NAV_N, g[i], g[j]) + (i == j ? b->r[i] : 0.0);
      if (i == 0U) b->s0 = sij;
      for (uint32_t k = 0; k < j; k++) sij -= l[i][k] * l[j][k] * d[k];
      if (i == j) d[i] = fsw_max(sij, 1e-300);
      else l[i][j] = sij / d[j];
    }
    for (uint32_t k = 0; k < i; k++) y[i] -= l[i][k] * y[k];
    b->nis += y[i] * y[i] / d[i];
  }
}

/* Joint chi-square at 1e-4 for two and three scalars, the plain gate for one. */
double fsw_nav_joint_gate(const fsw_nav_params_t *p, uint32_t n)
{
  double one = p->nav_gate_sigma * p->nav_gate_sigma;
  return n == 3U ? 21.108 * one / 25.0 : (n == 2U ? 18.421 * one / 25.0 : one);
}

uint32_t fsw_nav_batch_copy(const fsw_nav_batch_t *b, uint32_t at, double *h, double *nu, double *r)
{
  for (uint32_t i = 0; i < b->n; i++) {
    for (uint32_t j = 0; j < FSW_NAV_N; j++) h[(at + i) * FSW_NAV_N + j] = b->h[i][j];
    nu[at + i] = b->nu[i];
    r[at + i] = b->r[i];
  }
  return b->n;
}

void fsw_nav_batch_fuse(fsw_nav_state_t *s, const fsw_nav_batch_t *b)
{
  fsw_nav_filter_t *f = &s->f;
  for (uint32_t i = 0; i < b->n; i++) (void)fsw_ud_scalar(f->u, f->d, f->x, FSW_NAV_N, b->h[i], b->nu[i], b->r[i]);
  s->accepted += b->n;
}

void fsw_nav_open(fsw_nav_filter_t *f, uint32_t first, const double *n_e, double variance)
{
  for (uint32_t i = 0; i < 3U; i++) {
    double a[FSW_NAV_N] = {0.0};
    if (n_e) {
      if (i > 0U) return;
      fsw_v3_copy(n_e, a + first);
    } else {
      a[first + i] = 1.0;
    }
    fsw_ud_rank1(f->u, f->d, variance, a, first + 2U);
  }
}

/* Left error: C_true = (I + [psi]x) C_est. */
static void correct_attitude(double q[4], const double psi[3])
{
  double e[4];
  fsw_nav_turn(psi, e);
  fsw_q_mul(e, q, q);
  (void)fsw_q_normalize(q);
}

/* A past state moves with the correction, referred to its time: dr - tau dv, dv + u x psi with u the velocity that the specific force
 * has given since, psi; less what the corrected IMU errors have done meanwhile. */
static void correct_past(fsw_nav_state_t *s, const double *x)
{
  const fsw_nav_filter_t *f = &s->f;
  double da[3];
  double dg[3];
  for (uint32_t i = 0; i < 3U; i++) {
    da[i] = x[FSW_NAV_BA + i] + f->f_b[i] * nav_row_get(x, FSW_NAV_SA + i);
    dg[i] = x[FSW_NAV_BG + i] + f->omega_b[i] * nav_row_get(x, FSW_NAV_SG + i);
  }
  fsw_m3_mulv(f->c_be, da, da);
  fsw_m3_mulv(f->c_be, dg, dg);
  for (uint32_t k = 0; k < s->ring_count; k++) {
    fsw_nav_past_t *p = &s->ring[k];
    double tau = (double)(f->t_ns - p->t_ns) * 1e-9;
    double u[3];
    double c[3];
    for (int i = 0; i < 3; i++) u[i] = f->v_e[i] - p->v_e[i] - tau * f->g_e[i];
    double psi[3];
    for (int i = 0; i < 3; i++) psi[i] = x[6 + i] + tau * dg[i];
    fsw_v3_cross(u, x + 6, c);
    for (int i = 0; i < 3; i++) {
      c[i] += tau * da[i];
      p->r_e[i] += x[i] - tau * (x[3 + i] + 0.5 * c[i]);
      p->v_e[i] += x[3 + i] + c[i];
    }
    double *q = p->q_be; /* small angle: the interpolation normalises */
    double w = q[0];
    double a = q[1];
    double b = q[2];
    double d = q[3];
    q[0] -= 0.5 * (psi[0] * a + psi[1] * b + psi[2] * d);
    q[1] += 0.5 * (psi[0] * w + psi[1] * d - psi[2] * b);
    q[2] += 0.5 * (psi[1] * w + psi[2] * a - psi[0] * d);
    q[3] += 0.5 * (psi[2] * w + psi[0] * b - psi[1] * a);
  }
}

void fsw_nav_inject(fsw_nav_state_t *s)
{
  fsw_nav_filter_t *f = &s->f;
  double *b[6] = {f->b_a, f->b_g, f->s_a, f->s_g, f->b_n, NULL};
  correct_past(s, f->x);
  fsw_v3_add(f->r_e, f->x, f->r_e);
  fsw_v3_add(f->v_e, f->x + 3, f->v_e);
  correct_attitude(f->q_be, f->x + 6);
  correct_attitude(f->q_sum, f->x + 6);
  fsw_q_to_dcm(f->q_be, f->c_be);
  for (uint32_t k = 0; k < 5U && 9U + 3U * k < FSW_NAV_N; k++) fsw_v3_add(b[k], f->x + 9U + 3U * k, b[k]);
  f->b_ra += nav_row_get(f->x, FSW_NAV_BRA);
  f->b_baro += nav_row_get(f->x, FSW_NAV_BBARO);
  for (uint32_t i = 0; i < FSW_NAV_N; i++) f->x[i] = 0.0;
}

void fsw_nav_covariance(const fsw_nav_state_t *s, double *out)
{
  for (uint32_t i = 0; i < FSW_NAV_NX; i++)
    for (uint32_t k = 0; k < FSW_NAV_NX; k++) out[FSW_NAV_NX * i + k] = fsw_ud_cov(s->f.u, s->f.d, FSW_NAV_N, i, k);
}
