/* nav_strapdown.c - strapdown integration in the Earth-fixed frame, gravity, frames. No transcendental function in the step. */
#include "nav_internal.h"

#include "flightsw/math.h"
#include "flightsw/vec.h"

#define GM_E 3.986004418e14    /* m3/s2, WGS-84 */
#define J2_E 1.082629821e-3
#define A_E 6378137.0          /* m */
#define F_E (1.0 / 298.257223563)
#define E2_E (F_E * (2.0 - F_E))
#define W_E FSW_NAV_OMEGA_E

void fsw_nav_gravity(const double *r_e, double *g_e)
{
  double r2 = fsw_max(fsw_v3_dot(r_e, r_e), 1e12);
  double ir2 = 1.0 / r2;
  double k = 1.5 * J2_E * A_E * A_E * ir2;
  double s = 5.0 * r_e[2] * r_e[2] * ir2;
  double m = -GM_E * ir2 * fsw_sqrt(ir2);
  double xy = m * (1.0 + k * (1.0 - s)) + W_E * W_E;
  g_e[0] = xy * r_e[0];
  g_e[1] = xy * r_e[1];
  g_e[2] = m * (1.0 + k * (3.0 - s)) * r_e[2];
}

/* Increments free of bias and scale factor: measured = (1 + s) true + b dt; 1/(1 + s) to third order. */
static void clean(const double z[3], const double b[3], const double s[3], double dt, double out[3])
{
  for (int i = 0; i < 3; i++) out[i] = (z[i] - b[i] * dt) * (1.0 - s[i] * (1.0 - s[i]));
}

bool fsw_nav_plausible(const double dth[3], const double dv[3], double dt)
{
  double a2 = fsw_v3_dot(dth, dth);
  double v2 = fsw_v3_dot(dv, dv);
  return a2 < 0.09 && v2 < 1e6 && dt > 0.0 && dt <= 1.0; /* a NaN fails each */
}

/* Coning, rotation and sculling terms (Savage 1998, two-sample form with the increments of the sample before). */
static void rotation_terms(const fsw_nav_filter_t *f, const double dth[3], const double dv[3], double phi[3], double u[3])
{
  double a[3];
  double b[3];
  fsw_v3_cross(f->dth_p, dth, a);
  for (int i = 0; i < 3; i++) phi[i] = dth[i] + a[i] * (1.0 / 12.0);
  fsw_v3_cross(dth, dv, a);
  for (int i = 0; i < 3; i++) u[i] = dv[i] + 0.5 * a[i];
  fsw_v3_cross(f->dth_p, dv, a);
  fsw_v3_cross(f->dv_p, dth, b);
  for (int i = 0; i < 3; i++) u[i] += (a[i] + b[i]) * (1.0 / 12.0);
}

/* Even series of cos(a/2) and sin(a/2)/a: to the sixth order below 0.05 rad, to the tenth below 0.32 rad (remainders below 4e-18). */
static void series(const double phi[3], double z, double q[4])
{
  double c = 1.0 / 384.0 - z * (1.0 / 46080.0);
  double s = 1.0 / 3840.0 - z * (1.0 / 645120.0);
  if (!(z < 2.5e-3)) {
    c = 1.0 / 384.0 - z * (1.0 / 46080.0 - z * (1.0 / 10321920.0 - z * (1.0 / 3715891200.0)));
    s = 1.0 / 3840.0 - z * (1.0 / 645120.0 - z * (1.0 / 185794560.0 - z * (1.0 / 81749606400.0)));
  }
  q[0] = 1.0 - z * (1.0 / 8.0 - z * c);
  fsw_v3_scale(0.5 - z * (1.0 / 48.0 - z * s), phi, q + 1);
}

/* A rotation too large for the series (a first correction; strapdown refuses them) is halved until it fits, then squared. */
void fsw_nav_turn(const double *phi, double *q)
{
  double z = fsw_v3_dot(phi, phi);
  double part[3];
  double scale = 1.0;
  uint32_t n = 0;
  for (; n < 16U && z > 0.1; n++) {
    z *= 0.25;
    scale *= 0.5;
  }
  fsw_v3_scale(scale, phi, part);
  series(part, z, q);
  for (; n > 0U; n--) fsw_q_mul(q, q, q);
}

/* q(-w) q q(phi); the Earth turns by w = omega_ie dt about z. One Newton step keeps the length: it is off by rounding only. */
static void turn(double q[4], const double phi[3], double w)
{
  double p[4];
  series(phi, fsw_v3_dot(phi, phi), p); /* |phi| < 0.31: fsw_nav_strapdown refuses more */
  fsw_q_mul(q, p, p);
  double h = -0.5 * w;
  q[0] = p[0] - h * p[3];
  q[1] = p[1] - h * p[2];
  q[2] = p[2] + h * p[1];
  q[3] = p[3] + h * p[0];
  double k = 1.5 - 0.5 * (q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  for (int i = 0; i < 4; i++) q[i] *= k;
}

int32_t fsw_nav_strapdown(fsw_nav_filter_t *f, const double *dth_z, const double *dv_z, double dt)
{
  double dth[3];
  double dv[3];
  double phi[3];
  double u[3];
  double ue[3];
  if (!fsw_nav_plausible(dth_z, dv_z, dt)) return -1;
  clean(dth_z, f->b_g, f->s_g, dt, dth);
  clean(dv_z, f->b_a, f->s_a, dt, dv);
  rotation_terms(f, dth, dv, phi, u);

  fsw_m3_mulv(f->c_be, u, ue);
  double w = W_E * dt;
  double ux = ue[0];
  ue[0] += 0.5 * w * ue[1]; /* - w x (C u) / 2 */
  ue[1] -= 0.5 * w * ux;

  double rm[3];
  double vm[3];
  double v1[3];
  for (int i = 0; i < 3; i++) rm[i] = f->r_e[i] + 0.5 * dt * f->v_e[i];
  fsw_nav_gravity(rm, f->g_e);
  for (int i = 0; i < 3; i++) vm[i] = f->v_e[i] + 0.5 * (ue[i] + f->g_e[i] * dt);
  for (int i = 0; i < 3; i++) v1[i] = f->v_e[i] + ue[i] + f->g_e[i] * dt;
  v1[0] += 2.0 * w * vm[1]; /* - 2 omega x v dt */
  v1[1] -= 2.0 * w * vm[0];

  double idt = 1.0 / dt;
  for (int i = 0; i < 3; i++) {
    f->r_e[i] += 0.5 * dt * (f->v_e[i] + v1[i]);
    f->v_e[i] = v1[i];
    f->dth_p[i] = dth[i];
    f->dv_p[i] = dv[i];
    f->omega_b[i] = dth[i] * idt;
    f->f_b[i] = dv[i] * idt;
    f->sum_dth[i] += dth[i];
    f->sum_dv[i] += dv[i];
  }
  f->sum_dt += dt;
  turn(f->q_be, phi, w);
  fsw_q_to_dcm(f->q_be, f->c_be);
  return 0;
}

void fsw_nav_transition(const fsw_nav_filter_t *f, double vrw, double arw, fsw_nav_transition_t *t)
{
  double q[4];
  double ir2 = 1.0 / fsw_max(fsw_v3_dot(f->r_e, f->r_e), 1e12);
  double m = -GM_E * ir2 * fsw_sqrt(ir2) * f->sum_dt;
  for (int i = 0; i < 4; i++) q[i] = f->q_sum[i] + f->q_be[i];
  (void)fsw_q_normalize(q);
  fsw_q_to_dcm(q, t->c);
  fsw_m3_mulv(t->c, f->sum_dv, t->u_e);
  t->dt = f->sum_dt;
  t->w_z = W_E * f->sum_dt;
  const double *r = f->r_e;
  t->g_dt[0] = m * (1.0 - 3.0 * r[0] * r[0] * ir2);
  t->g_dt[1] = m * (-3.0 * r[0] * r[1] * ir2);
  t->g_dt[2] = m * (-3.0 * r[0] * r[2] * ir2);
  t->g_dt[3] = m * (1.0 - 3.0 * r[1] * r[1] * ir2);
  t->g_dt[4] = m * (-3.0 * r[1] * r[2] * ir2);
  t->g_dt[5] = m * (1.0 - 3.0 * r[2] * r[2] * ir2);
  fsw_v3_copy(f->sum_dv, t->dv);
  fsw_v3_copy(f->sum_dth, t->dth);
  t->q_v = vrw * vrw * f->sum_dt + f->sum_qv;
  t->q_psi = arw * arw * f->sum_dt + f->sum_qpsi;
}

/* Bowring, Survey Review 23 (1976): tan(lat) from the parametric latitude of the first guess. */
void fsw_nav_ned(const double *r_e, double *n)
{
  const double b = A_E * (1.0 - F_E);
  const double ep2 = E2_E / (1.0 - E2_E);
  double p = fsw_sqrt(r_e[0] * r_e[0] + r_e[1] * r_e[1]);
  double cl = 1.0;
  double sl = 0.0;
  if (p > 1.0) {
    cl = r_e[0] / p;
    sl = r_e[1] / p;
  }
  double tb_n = r_e[2] * A_E; /* tan(beta) = z a / (p b) */
  double tb_d = p * b;
  double ih = 1.0 / fsw_sqrt(fsw_max(tb_n * tb_n + tb_d * tb_d, 1.0));
  double sb = tb_n * ih;
  double cb = tb_d * ih;
  double num = r_e[2] + ep2 * b * sb * sb * sb;
  double den = p - E2_E * A_E * cb * cb * cb;
  double ik = 1.0 / fsw_sqrt(fsw_max(num * num + den * den, 1.0));
  double sp = num * ik;
  double cp = den * ik;
  fsw_v3_set(-sp * cl, -sp * sl, cp, n);
  fsw_v3_set(-sl, cl, 0.0, n + 3);
  fsw_v3_set(-cp * cl, -cp * sl, -sp, n + 6);
}

void fsw_nav_start_attitude(double tilt_rad, double roll_rad, const double *v_l, double *q_bl)
{
  static const double upright[4] = {0.5, -0.5, -0.5, -0.5}; /* x up, y east, z north */
  double s;
  double c;
  double vh = fsw_sqrt(v_l[0] * v_l[0] + v_l[1] * v_l[1]);
  double hx = 1.0;
  double hy = 0.0;
  if (vh > 0.0) {
    hx = -v_l[0] / vh;
    hy = -v_l[1] / vh;
  }
  fsw_sincos(0.5 * tilt_rad, &s, &c);
  double lean[4] = {c, -s * hy, s * hx, 0.0}; /* about up x h */
  fsw_sincos(0.5 * roll_rad, &s, &c);
  double roll[4] = {c, s, 0.0, 0.0};
  fsw_q_mul(lean, upright, q_bl);
  fsw_q_mul(q_bl, roll, q_bl);
}

void fsw_nav_site(double lat_rad, double lon_rad, double h_m, double *site_e, double *c_le, double *q_le)
{
  double sp;
  double cp;
  double sl;
  double cl;
  fsw_sincos(lat_rad, &sp, &cp);
  fsw_sincos(lon_rad, &sl, &cl);
  double nn = A_E / fsw_sqrt(1.0 - E2_E * sp * sp);
  fsw_v3_set((nn + h_m) * cp * cl, (nn + h_m) * cp * sl, (nn * (1.0 - E2_E) + h_m) * sp, site_e);
  fsw_v3_set(-sl, cl, 0.0, c_le);
  fsw_v3_set(-sp * cl, -sp * sl, cp, c_le + 3);
  fsw_v3_set(cp * cl, cp * sl, sp, c_le + 6);
  fsw_q_from_dcm(c_le, q_le);
}
