/* nav_rig.h - what the tests of navigation share: checks, parameters, perfect sensors made of a state. */
#ifndef FLIGHTSW_TEST_NAV_RIG_H
#define FLIGHTSW_TEST_NAV_RIG_H
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/nav.h"
#include "flightsw/random.h"
#include "flightsw/vec.h"

static int failures;
#define CHECK(cond, ...) \
  do { \
    if (!(cond)) { \
      failures++; \
      printf("%s:%d: %s: ", __FILE__, __LINE__, #cond); \
      printf(__VA_ARGS__); \
      printf("\n"); \
    } \
  } while (0)

static inline double gauss(int64_t tick, uint32_t channel)
{
  fsw_rng_t rng = {7, 3, 0};
  double z[4];
  fsw_rng_gauss4(&rng, tick, channel, z);
  return z[0];
}

static void defaults(fsw_nav_params_t *p)
{
  memset(p, 0, sizeof *p);
  p->site_lat_deg = 38.6;
  p->site_lon_deg = 103.1;
  p->init_r_l_m[0] = -300.0;
  p->init_r_l_m[2] = 1500.0;
  p->init_v_l_m_s[0] = 20.0;
  p->init_v_l_m_s[2] = -150.0;
  p->init_tilt_deg = 7.6;
  for (int i = 0; i < 3; i++) {
    p->init_sigma_r_m[i] = 0.5;
    p->init_sigma_v_m_s[i] = 0.03;
    p->init_sigma_att_deg[i] = 0.05;
  }
  p->imu_x_m = 20.0;
  p->imu_axis_x = 1.0;
  p->imu_axis_y = 2.0;
  p->imu_axis_z = 3.0;
  p->imu_period_ms = 1.0;
  p->gyro_bias_deg_h = 5.0;
  p->gyro_bias_gm_deg_h = 1.0;
  p->accel_bias_m_s2 = 0.00980665;
  p->accel_bias_gm_m_s2 = 0.0004903325;
  p->bias_tau_s = 300.0;
  p->gyro_scale_ppm = 200.0;
  p->accel_scale_ppm = 300.0;
  p->arw_deg_rt_h = 0.05;
  p->vrw_m_s_rt_h = 0.03;
  p->hold_rate_rad_s = 0.05;
  p->hold_accel_m_s2 = 5.0;
  p->gnss_x_m = 40.0;
  p->gnss_y_m = 1.0;
  p->gnss_gm_tau_s = 120.0;
  p->gnss_floor_r_m = 0.1;
  p->gnss_floor_v_m_s = 0.02;
  p->gnss_lag_max_s = 0.3;
  p->radalt_x_m = 2.0;
  p->radalt_z_m = 1.0;
  p->radalt_sigma_m = 0.05;
  p->radalt_sigma_share = 0.003;
  p->radalt_max_m = 2500.0;
  p->radalt_tilt_max_deg = 25.0;
  p->radalt_bias_m = 0.01;
  p->radalt_bias_tau_s = 1000.0;
  p->radalt_plume_m = 60.0;
  p->baro_bias_tau_s = 300.0;
  p->baro_speed_max_m_s = 250.0;
  p->nav_gate_sigma = 5.0;
  p->cov_period_ticks = 20;
  p->nav_readmit = 5;
}

/* Error state of b relative to a in the filter's sense (truth b, estimate a). */
static inline void difference(const fsw_nav_filter_t *a, const fsw_nav_filter_t *b, double x[9])
{
  double q[4];
  double c[4];
  fsw_v3_sub(b->r_e, a->r_e, x);
  fsw_v3_sub(b->v_e, a->v_e, x + 3);
  fsw_q_conj(a->q_be, c);
  fsw_q_mul(b->q_be, c, q);
  for (int i = 0; i < 3; i++) x[6 + i] = 2.0 * q[1 + i] * (q[0] < 0.0 ? -1.0 : 1.0);
}

static inline void perturb(fsw_nav_filter_t *f, uint32_t j, double e)
{
  double *bias[4] = {f->b_a, f->b_g, f->s_a, f->s_g};
  if (j < 3) f->r_e[j] += e;
  else if (j < 6) f->v_e[j - 3U] += e;
  else if (j < 9) {
    double phi[3] = {0, 0, 0};
    double q[4];
    phi[j - 6U] = e;
    fsw_q_from_rotvec(phi, q);
    fsw_q_mul(q, f->q_be, f->q_be);
    fsw_q_to_dcm(f->q_be, f->c_be);
  } else if (j < 21) bias[(j - 9U) / 3U][(j - 9U) % 3U] += e;
}

/* What a perfect receiver and a perfect altimeter on that vehicle measure. */
static void gnss_of(const fsw_nav_state_t *s, fsw_gnss_t *z)
{
  double l[3];
  double t[3];
  memset(z, 0, sizeof *z);
  fsw_q_rotate(s->f.q_be, s->lever_gnss, l);
  fsw_v3_cross(s->f.omega_b, s->lever_gnss, t);
  fsw_q_rotate(s->f.q_be, t, t);
  for (int i = 0; i < 3; i++) {
    z->r_e[i] = s->f.r_e[i] + l[i];
    z->v_e[i] = s->f.v_e[i] + t[i];
    z->sigma_r_m[i] = 1.0;
    z->sigma_v_m_s[i] = 0.05;
  }
  z->v_e[0] += 7.292115e-5 * l[1];
  z->v_e[1] -= 7.292115e-5 * l[0];
  z->t_valid_ns = s->f.t_ns;
  z->valid = 1;
  z->seq = 1;
}

static inline double range_of(const fsw_nav_state_t *s)
{
  double l[3];
  double ax[3];
  double d[3];
  double xb[3] = {1, 0, 0};
  fsw_q_rotate(s->f.q_be, s->lever_radalt, l);
  fsw_q_rotate(s->f.q_be, xb, ax);
  for (int i = 0; i < 3; i++) d[i] = s->f.r_e[i] + l[i] - s->site_e[i];
  return fsw_v3_dot(s->c_le + 6, d) / fsw_v3_dot(s->c_le + 6, ax);
}

#endif
