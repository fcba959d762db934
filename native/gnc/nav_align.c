/* nav_align.c - alignment on the pad without Euler angles: attitude from two directions, then measurements at rest (nav.h). */
#include "nav_internal.h"

#include "flightsw/math.h"
#include "flightsw/vec.h"

#define REST_NS 1000000000 /* measurements at rest come once a second: the sway is another one by then */
#define LIFT_OFF_M_S2 0.5  /* mean specific force of a second this far from gravity: the vehicle does not rest */

/* ---- attitude of two directions ------------------------------------------------------------------------------------------------- */

/* Right-handed orthonormal triad, rows: the first direction, the normal of both, their product. */
static bool triad(const double first[3], const double second[3], double t[9])
{
  double a[3];
  if (!fsw_v3_unit(first, t) || !fsw_v3_unit(second, a)) return false;
  fsw_v3_cross(t, a, t + 3);
  if (!(fsw_v3_dot(t + 3, t + 3) > 1e-6) || !fsw_v3_unit(t + 3, t + 3)) return false;
  fsw_v3_cross(t, t + 3, t + 6);
  return true;
}

int32_t fsw_nav_triad(const double *first_b, const double *second_b, const double *first_r, const double *second_r, double *q_rb)
{
  double b[9];
  double r[9];
  double c[9];
  if (!triad(first_b, second_b, b) || !triad(first_r, second_r, r)) return -1;
  fsw_m3_t(r, r);
  fsw_m3_mul(r, b, c); /* C_rb = sum of t_r t_b^T */
  fsw_q_from_dcm(c, q_rb);
  return 0;
}

/* IMU at the body origin of init_r_l_m, in e. */
static void pad_position(const fsw_nav_state_t *s, const fsw_nav_params_t *p, double r_e[3])
{
  double lever[3];
  fsw_m3_mulv(s->f.c_be, s->lever_imu, lever);
  fsw_m3_tmulv(s->c_le, p->init_r_l_m, r_e);
  for (int i = 0; i < 3; i++) r_e[i] += s->site_e[i] + lever[i];
}

/* The accelerometers' biases tilt what is found: psi = up x C b_a / g, on top of the sigma of the parameters. Left unsaid, the measurements
 * at rest would count the same biases a second time. */
static void level_by_accelerometers(fsw_nav_state_t *s, const double up_g[3])
{
  fsw_nav_filter_t *f = &s->f;
  double ig2 = 1.0 / fsw_v3_dot(up_g, up_g);
  for (uint32_t k = 0; k < 3U; k++) {
    uint32_t j = FSW_NAV_BA + k;
    double axis[3] = {f->c_be[k], f->c_be[3U + k], f->c_be[6U + k]};
    double tilt[3];
    fsw_v3_cross(up_g, axis, tilt);
    if (f->d[j] > 0.0) fsw_v3_scale(ig2, tilt, f->u + j * (j - 1U) / 2U + 6);
  }
}

int32_t fsw_nav_align(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_rest_t *rest, const double *d_b, const double *d_l)
{
  fsw_nav_filter_t *f = &s->f;
  double up[3];
  double d_e[3];
  double q[4];
  if (!(rest->dt > 0.0)) return -1;
  fsw_nav_gravity(s->site_e, up); /* the plumb line, not the normal of the ellipsoid */
  fsw_v3_scale(-1.0, up, up);
  fsw_m3_tmulv(s->c_le, d_l, d_e);
  if (fsw_nav_triad(rest->dv, d_b, up, d_e, q) != 0) return -1;
  for (int i = 0; i < 4; i++) f->q_be[i] = f->q_sum[i] = q[i];
  fsw_q_to_dcm(q, f->c_be);
  pad_position(s, p, f->r_e);
  fsw_v3_set(0.0, 0.0, 0.0, f->v_e);
  fsw_nav_gravity(f->r_e, f->g_e);
  f->sum_dt = f->sum_qv = f->sum_qpsi = 0.0; /* the covariance begins anew, nothing of before is left to bridge */
  for (int i = 0; i < 3; i++) f->sum_dth[i] = f->sum_dv[i] = 0.0;
  f->cov_n = f->fold_n = 0;
  f->fold_s = 0.0;
  s->ring_count = 0;
  fsw_nav_init_covariance(s, p);
  level_by_accelerometers(s, up);
  return 0;
}

/* ---- measurements at rest ------------------------------------------------------------------------------------------------------- */

static void clear(fsw_nav_batch_t *b) { __builtin_memset(b, 0, sizeof *b); }

/* Velocity zero in e: rows 1 on dv. */
static void velocity_rows(const fsw_nav_state_t *s, const fsw_nav_params_t *p, fsw_nav_batch_t *b)
{
  clear(b);
  b->n = 3;
  for (uint32_t i = 0; i < 3U; i++) {
    b->h[i][3U + i] = 1.0;
    b->nu[i] = -s->f.v_e[i];
    b->r[i] = p->nav_pad_v_m_s * p->nav_pad_v_m_s;
  }
}

/* Mean measured rate = (1 + s_g) a_k w + b_g with a_k the body axes in e, w the Earth's rate: rows a_k x w on psi, 1 on b_g. */
static void rate_rows(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_rest_t *rest, fsw_nav_batch_t *b)
{
  clear(b);
  b->n = 3;
  double inv = 1.0 / rest->dt;
  for (uint32_t k = 0; k < 3U; k++) {
    double rate = FSW_NAV_OMEGA_E * s->f.c_be[6U + k];
    double gain = 1.0 + s->f.s_g[k];
    double *h = b->h[k];
    h[6] = gain * FSW_NAV_OMEGA_E * s->f.c_be[3U + k];
    h[7] = -gain * FSW_NAV_OMEGA_E * s->f.c_be[k];
    h[FSW_NAV_BG + k] = 1.0;
    nav_row_set(h, FSW_NAV_SG + k, rate);
    b->nu[k] = rest->dth[k] * inv - gain * rate - s->f.b_g[k];
    b->r[k] = p->nav_pad_rate_rad_s * p->nav_pad_rate_rad_s + s->arw * s->arw * inv;
  }
}

/* Seconds of the whole rest, at least one. */
static double rest_seconds(const fsw_nav_state_t *s)
{
  return fsw_max((double)(s->t_pad_ns - s->t_start_ns) * 1e-9, 1.0);
}

/* Body origin = r - C l: rows 1 on dr, n x C l on psi. The survey has one error, not a new one every second: its variance times the number
 * of seconds makes all of them together weigh as much as one survey. */
static void position_rows(const fsw_nav_state_t *s, const fsw_nav_params_t *p, fsw_nav_batch_t *b)
{
  double r[3];
  double lever[3];
  clear(b);
  if (!(p->nav_pad_r_m > 0.0)) return;
  b->n = 3;
  pad_position(s, p, r);
  fsw_m3_mulv(s->f.c_be, s->lever_imu, lever);
  for (uint32_t i = 0; i < 3U; i++) {
    double n[3] = {0.0, 0.0, 0.0};
    n[i] = 1.0;
    b->h[i][i] = 1.0;
    fsw_v3_cross(n, lever, b->h[i] + 6);
    b->nu[i] = r[i] - s->f.r_e[i];
    b->r[i] = p->nav_pad_r_m * p->nav_pad_r_m * rest_seconds(s) + p->nav_pad_v_m_s * p->nav_pad_v_m_s;
  }
}

uint32_t fsw_nav_rows_rest(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_rest_t *rest, double *h, double *nu, double *r)
{
  fsw_nav_batch_t b;
  if (!(rest->dt > 0.0)) return 0;
  velocity_rows(s, p, &b);
  uint32_t m = fsw_nav_batch_copy(&b, 0, h, nu, r);
  rate_rows(s, p, rest, &b);
  m += fsw_nav_batch_copy(&b, m, h, nu, r);
  position_rows(s, p, &b);
  return m + fsw_nav_batch_copy(&b, m, h, nu, r);
}

static bool fuse_inside(fsw_nav_state_t *s, const fsw_nav_params_t *p, fsw_nav_batch_t *b)
{
  if (b->n == 0U) return false;
  fsw_nav_batch_test(&s->f, b);
  if (!(b->nis <= fsw_nav_joint_gate(p, b->n))) {
    s->rejected += b->n;
    return false;
  }
  fsw_nav_batch_fuse(s, b);
  fsw_nav_inject(s);
  return true;
}

/* Does the vehicle rest? Its mean specific force is gravity's, as far as the accelerometers know. */
static bool rests(const fsw_nav_state_t *s)
{
  const double *dv = s->rest.dv;
  double g = fsw_v3_norm(s->f.g_e) * s->rest.dt;
  double f = fsw_v3_norm(dv);
  return fsw_abs(f - g) <= LIFT_OFF_M_S2 * s->rest.dt;
}

static void second_at_rest(fsw_nav_state_t *s, const fsw_nav_params_t *p)
{
  fsw_nav_batch_t b;
  if (!rests(s)) {
    s->t_pad_ns = 0; /* lift-off before the time given */
    return;
  }
  fsw_nav_update_covariance(s, p);
  velocity_rows(s, p, &b);
  if (fuse_inside(s, p, &b)) s->pad_updates++;
  rate_rows(s, p, &s->rest, &b);
  (void)fuse_inside(s, p, &b);
  position_rows(s, p, &b);
  if (fuse_inside(s, p, &b)) {
    s->t_fix_ns = s->f.t_ns;
    s->t_height_ns = s->f.t_ns;
  }
}

static void begin_second(fsw_nav_state_t *s)
{
  __builtin_memset(&s->rest, 0, sizeof s->rest);
  s->t_rest_ns = s->f.t_ns + REST_NS;
}

void fsw_nav_at_rest(fsw_nav_state_t *s, const fsw_nav_params_t *p, const double *dth, const double *dv, double dt)
{
  static const double y_b[3] = {0.0, 1.0, 0.0};
  fsw_v3_add(s->rest.dth, dth, s->rest.dth);
  fsw_v3_add(s->rest.dv, dv, s->rest.dv);
  s->rest.dt += dt;
  if (s->t_align_ns != 0) {
    if (s->f.t_ns < s->t_align_ns) return;
    s->t_align_ns = 0;
    if (rests(s)) (void)fsw_nav_align(s, p, &s->rest, y_b, s->azimuth_l); /* else the attitude handed over stands */
    begin_second(s);
  } else if (s->f.t_ns >= s->t_pad_ns) {
    s->t_pad_ns = 0;
  } else if (s->f.t_ns >= s->t_rest_ns) {
    second_at_rest(s, p);
    begin_second(s);
  }
}
