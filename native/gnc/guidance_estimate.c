/* guidance_estimate.c - what the vehicle tells about itself: drag area with the engines off, thrust over mass and plume factor with
 * them on, mass by integrated flow. Bounded, and slow enough for the predictor. */
#include "flightsw/guidance.h"
#include "flightsw/vec.h"

#define G0 9.80665
#define DRAG_TAU_S 1.5
#define DRAG_Q_MIN_PA 8000.0
#define SETTLE_NS 600000000LL  /* after a change of the number of lit engines */
#define MEAS_VAR 1.0           /* (m/s2)^2, of one sample: throttle dynamics and model errors, correlated over a second */
#define AVAIL_TAU_S 0.3
#define DYING_SHARE 0.4        /* of the promised thrust: an engine below this tells nothing about itself */
#define SCALE_WALK 2e-6        /* 1/s */
#define SCALE_SIGMA 0.03
#define PLUME_SIGMA 0.12

static double sigma_now(const fsw_guid_t *g) { return fsw_guid_density(g->nav->r_bl_l[2], g->p->rho_height_m, g->p->rho_curve_1_m); }

static void drag(fsw_guid_t *g, double speed, double q)
{
  if (q < DRAG_Q_MIN_PA || speed < 50.0) return;
  double along = -fsw_v3_dot(g->f_l, g->nav->v_bl_l) / speed; /* m/s2, against the velocity */
  double area = along * g->s->mass_kg / q, nominal = g->p->drag_area_m2;
  double k = fsw_min(g->dt_s / DRAG_TAU_S, 1.0);
  g->s->cda_m2 = fsw_clamp(g->s->cda_m2 + k * (area - g->s->cda_m2), 0.5 * nominal, 1.7 * nominal);
}

/* Kalman filter of two constants: f = scale a_nominal + plume a_drag; a_nominal from the thrust the sequencer sees. */
static void thrust(fsw_guid_t *g, double q, double thrust_n)
{
  fsw_guidance_state_t *s = g->s;
  double hs = thrust_n / s->mass_kg, hp = q * s->cda_m2 / s->mass_kg;
  double *c = s->cov;
  c[0] = fsw_min(c[0] + SCALE_WALK * g->dt_s, 4.0 * SCALE_SIGMA * SCALE_SIGMA);
  double res = fsw_v3_dot(g->f_l, g->x_l) - s->scale * hs - s->plume * hp;
  double ps = c[0] * hs + c[1] * hp, pp = c[1] * hs + c[2] * hp, var = hs * ps + hp * pp + MEAS_VAR;
  if (!(var > 0.0)) return;
  if (res * res > 25.0 * var) c[0] = fsw_min(c[0] + 0.002 * g->dt_s, 0.01); /* far off: the engine is not what it was */
  double ks = ps / var, kp = pp / var;
  s->scale = fsw_clamp(s->scale + ks * res, 0.55, 1.15);
  s->plume = fsw_clamp(s->plume + kp * res, 0.05, 0.8);
  double c0 = c[0] - ks * ps, c1 = c[1] - ks * pp, c2 = c[2] - kp * pp;
  c[0] = fsw_max(c0, 1e-7);
  c[1] = c1;
  c[2] = fsw_max(c2, 1e-6);
  if (c[1] * c[1] > 0.98 * c[0] * c[2]) c[1] = (c[1] > 0.0 ? 0.98 : -0.98) * fsw_sqrt(c[0] * c[2]);
}

/* Mean commanded throttle of the lit engines, and the thrust they are believed to give (0: nobody says). */
static double commanded(const fsw_guid_t *g, double full_n, double *thrust_n)
{
  double n = (double)g->lit, u = g->out->thrust_cmd_n / (n * full_n), sum = 0.0;
  *thrust_n = 0.0;
  if (g->eng) {
    for (int k = 0; k < FSW_MAX_ENGINES; k++) {
      if (!(g->eng->lit_mask >> k & 1)) continue;
      sum += g->eng->throttle[k];
      *thrust_n += g->eng->thrust_n[k];
    }
    if (sum > 0.0) u = sum / n;
  }
  return fsw_clamp(u, 0.0, 1.1);
}

void fsw_guid_estimate(fsw_guid_t *g)
{
  fsw_guidance_state_t *s = g->s;
  fsw_law_params_t m;
  fsw_guid_model(g, &m);
  double speed2 = fsw_v3_dot(g->nav->v_bl_l, g->nav->v_bl_l), sigma = sigma_now(g);
  double q = 0.5 * g->p->rho_pad_kg_m3 * sigma * speed2, full = fsw_guid_full_thrust(&m, sigma), n = (double)g->lit, seen = 0.0;
  double u = g->lit > 0 ? commanded(g, full, &seen) : 0.0;
  int32_t settled = g->starting == 0 && g->t_ns - s->t_lit_ns > SETTLE_NS;
  s->u_eff += fsw_min(g->dt_s / fsw_max(g->p->throttle_lag_s, 0.02), 1.0) * (u - s->u_eff);
  double promised = n * s->u_eff * full;
  if (!g->eng) seen = promised;
  if (!settled) {
    s->avail = 1.0;
    if (g->lit == 0 && s->failed) fsw_guid_forget(s);
  }
  int32_t sound = g->lit > 0 && settled && seen > DYING_SHARE * promised && promised > 0.0;
  if (sound) s->avail += fsw_min(g->dt_s / AVAIL_TAU_S, 1.0) * (fsw_clamp(seen / promised, 0.3, 1.05) - s->avail);
  s->mass_kg = fsw_max(s->mass_kg - seen / full * g->p->thrust_sl_n / (g->p->isp_sl_s * G0) * g->dt_s, 0.9 * g->p->mass_dry_kg);
  if (g->lit == 0 && settled) drag(g, fsw_sqrt(speed2), q);
  if (sound) thrust(g, q, seen);
}

/* Other engines come next. */
void fsw_guid_forget(fsw_guidance_state_t *s)
{
  s->scale = s->avail = 1.0;
  s->cov[0] = SCALE_SIGMA * SCALE_SIGMA;
  s->cov[1] = 0.0;
}

void fsw_guid_model(const fsw_guid_t *g, fsw_law_params_t *m)
{
  const fsw_guidance_params_t *p = g->p;
  *m = (fsw_law_params_t){ .thrust_sl_n = p->thrust_sl_n, .thrust_vac_n = p->thrust_vac_n, .isp_sl_s = p->isp_sl_s,
    .throttle_min = p->throttle_min, .throttle_max = fsw_clamp(g->s->avail, p->throttle_min, 1.0), .throttle_plan = p->plan_throttle, .throttle_lag_s = p->throttle_lag_s + 0.02,
    .attitude_lag_s = p->attitude_lag_s,
    .thrust_scale = g->s->scale, .cda_m2 = g->s->cda_m2, .plume_factor = g->s->plume,
    .lift_area_m2 = p->s_ref_m2 * p->cl_alpha_1_rad * p->burn_lift_factor * g->s->lift_scale, .rho_pad_kg_m3 = p->rho_pad_kg_m3,
    .rho_height_m = p->rho_height_m, .rho_curve_1_m = p->rho_curve_1_m, .mass_floor_kg = 0.9 * p->mass_dry_kg, .axial_max_m_s2 = p->axial_max_g * G0,
    .start_dead_s = p->start_dead_s + p->start_lead_s, .start_ramp_s = p->start_ramp_s, .td_speed_m_s = p->td_speed_m_s,
    .flare_height_m = p->flare_height_m, .flare_throttle = fsw_max(p->flare_throttle, p->throttle_min),
    .tilt_max_rad = p->tilt_max_deg * FSW_DEG, .tilt_low_rad = p->tilt_low_deg * FSW_DEG, .tilt_td_rad = p->tilt_td_deg * FSW_DEG,
    .reach_tan = p->reach_tan,
    .lat_min_s = p->lat_min_s, .lat_lead_s = p->lat_lead_s };
}
