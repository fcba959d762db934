/* guidance_law.c - the landing law (described in guidance.h). */
#include "flightsw/guidance.h"
#include "flightsw/vec.h"

#define G0 9.80665
#define TRACK_GAIN_1_S 3.0  /* 1/s, speed error of the flare profile */
#define HOLD_TICKS_S 0.15   /* s before the gate: the predicted need is too noisy there and is kept */
#define NEED_ITERATIONS 4
#define REVERSED_LEAN 0.08  /* rad, largest lean off the air-relative velocity where lift outweighs thrust */
#define REVERSED_GAIN 2.5   /* navigation constant there */
#define STEERS_BELOW 0.7    /* lift over thrust below which thrust steers */
#define WIND_BELOW 0.75     /* mean wind of the rest of the burn over that of here */

typedef struct {
  double h, v;          /* m above the target, m/s descent rate, advanced by the lag */
  double r[3], vel[3];  /* relative to the target, advanced */
  double a_unit;        /* m/s2 of all engines at throttle 1 */
  double a_flare, v_gate, sigma;
} now_t;

/* The state when a throttle command given now takes effect. */
static void advance(const fsw_law_in_t *in, const fsw_law_params_t *p, now_t *n)
{
  for (int i = 0; i < 3; i++) {
    double tau = i < 2 ? p->attitude_lag_s : p->throttle_lag_s;
    n->r[i] = in->r_l[i] - in->target_l[i] + tau * in->v_l[i] + 0.5 * tau * tau * in->a_l[i];
    n->vel[i] = in->v_l[i] + tau * in->a_l[i];
  }
  n->h = n->r[2];
  n->v = -n->vel[2];
}

static void authority(const fsw_law_in_t *in, const fsw_law_params_t *p, now_t *n)
{
  double m = fsw_max(in->mass_kg, p->mass_floor_kg), k = (double)in->n_engines * p->thrust_scale / m;
  n->sigma = fsw_guid_density(n->h, p->rho_height_m, p->rho_curve_1_m);
  n->a_unit = fsw_max(k * fsw_guid_full_thrust(p, n->sigma), 0.1);
  n->a_flare = fsw_max(n->a_unit * p->flare_throttle - G0, 2.0);
  n->v_gate = fsw_sqrt(p->td_speed_m_s * p->td_speed_m_s + 2.0 * n->a_flare * p->flare_height_m);
}

/* Below the gate: deceleration on the profile plus speed feedback; returns the vertical thrust acceleration. */
static double flare(const fsw_law_params_t *p, const now_t *n, fsw_law_out_t *out)
{
  double td = p->td_speed_m_s, h = fsw_max(n->h, 0.0);
  double v_ref = fsw_sqrt(td * td + 2.0 * n->a_flare * h);
  double forward = n->a_flare * fsw_clamp(n->v / v_ref, 0.0, 1.5);
  if (n->h <= 0.0) forward = 0.0; /* at the wanted speed, waiting for the ground */
  out->t_go_s = fsw_max((v_ref - td) / n->a_flare, h / fsw_max(n->v, td));
  out->status |= FSW_LAW_FLARE;
  return G0 + forward + TRACK_GAIN_1_S * (n->v - v_ref);
}

/* Above the gate: constant thrust to the gate; returns the need in throttle. */
static double brake(const fsw_law_in_t *in, const fsw_law_params_t *p, const now_t *n, fsw_law_out_t *out)
{
  double above = n->h - p->flare_height_m, speed = fsw_v3_norm(n->vel);
  if (n->v < n->v_gate + 0.5) { /* slower than the gate: constant acceleration towards it */
    double a = (n->v * n->v - n->v_gate * n->v_gate) / (2.0 * fsw_max(above, 1.0));
    if (n->v < 0.0) a = -G0;
    out->t_go_s = above / fsw_max(0.5 * (n->v + n->v_gate), 1.0) + (n->v_gate - p->td_speed_m_s) / n->a_flare;
    return (G0 + a) / n->a_unit;
  }
  double t_gate = (n->v_gate - p->td_speed_m_s) / n->a_flare;
  if (above < HOLD_TICKS_S * n->v && in->need_prev > 0.0) {
    out->t_go_s = t_gate + 2.0 * above / (n->v + n->v_gate);
    return in->need_prev;
  }
  fsw_stop_in_t s = { .h_m = n->h, .v_m_s = n->v, .lat = fsw_min(speed / n->v, 2.0), .mass_kg = in->mass_kg,
    .n_new = (double)in->n_engines };
  fsw_stop_out_t o;
  double need = fsw_stop_need(&s, p, in->need_prev > 0.0 ? in->need_prev : p->throttle_plan, NEED_ITERATIONS, &o);
  out->t_go_s = o.t_s;
  out->fuel_kg = o.fuel_kg;
  return need;
}

/* With more thrust per mass than one engine gives, less time is left at the same height: the low limit is wider. */
static double tilt_limit(const fsw_law_params_t *p, double h, double a_v)
{
  double low = fsw_min(p->tilt_low_rad * fsw_clamp(a_v / 20.0, 1.0, 2.0), p->tilt_max_rad);
  if (h > 150.0) return p->tilt_max_rad;
  if (h > 60.0) return low + (p->tilt_max_rad - low) * (h - 60.0) / 90.0;
  double f = fsw_clamp((h - 1.0) / 25.0, 0.0, 1.0);
  return p->tilt_td_rad + (low - p->tilt_td_rad) * f;
}

/* ZEM/ZEV in the horizontal plane. Gravity has no part in it, and drag is left to the feedback. */
static void lateral(const fsw_law_params_t *p, const now_t *n, double t_go, double a_v, double a_h[2])
{
  double t_min = p->lat_min_s;
  double t_true = fsw_max(t_go - fsw_min(p->lat_lead_s, 0.3 * t_go), 0.1), t = fsw_max(t_true, t_min);
  double t_v = fsw_max(t_true, 0.6 * t_min);
  /* 6 ZEM/t^2 - 2 ZEV/t = -v/t - 6 e/t^2 with e the miss of a stop at constant deceleration. What of e cannot be reached in this
   * time is not tried: a soft landing beside the pad comes first. */
  double e[2] = { n->r[0] + 0.5 * n->vel[0] * t_v, n->r[1] + 0.5 * n->vel[1] * t_v }, miss = fsw_sqrt(e[0] * e[0] + e[1] * e[1]);
  double t_free = fsw_max(t_true - 0.2 * t_min, 0.0); /* the rest passes under the tilt limit of the last metres */
  double reach = p->reach_tan * fsw_max(a_v, 0.0) * t_free * t_free / 6.0, share = miss > reach ? reach / miss : 1.0;
  double damp = (1.0 + 0.8 * (1.0 - share)) / t_v;
  for (int i = 0; i < 2; i++) a_h[i] = -damp * n->vel[i] - 6.0 * share * e[i] / (t * t);
  /* the last second (0.4 of the shortest horizon): no more position, only speed and an upright stage */
  double w = fsw_clamp(t_go / (0.4 * t_min), 0.0, 1.0), k = 3.45 / t_min;
  if (w < 1.0) {
    for (int i = 0; i < 2; i++) a_h[i] = w * a_h[i] - (1.0 - w) * k * n->vel[i];
  }
}

/* Lean per wanted lean when lift L opposes thrust T, share = 1 - L/T: 1/share where one clearly wins (negative, the other way, where it
 * is lift), nothing where the two about cancel and the stage stays along its air-relative velocity. */
static double lean_gain(double share)
{
  if (share > 0.4 || share < -0.6) return 1.0 / share;
  if (share > 0.2) return 2.5 * (share - 0.2) / 0.2;
  return share < -0.3 ? (share + 0.3) / 0.18 : 0.0;
}

/* While lift outweighs thrust: steer by it towards a burn that ends at the target, relative to a stage along its air-relative velocity. */
static void reversed(const fsw_law_in_t *in, const fsw_law_params_t *p, const now_t *n, double a_v, double need, double a_h[2])
{
  fsw_burn_path_t path;
  fsw_stop_in_t s = { .h_m = n->h, .v_m_s = n->v, .lat = 1.0, .mass_kg = in->mass_kg, .n_new = (double)in->n_engines };
  fsw_guid_burn_path(&s, p, fsw_clamp(need, p->throttle_min, p->throttle_max), &path);
  double k = REVERSED_GAIN / (fsw_max(path.cover_s, 1.0) * fsw_max(path.reversed_s, 1.0));
  for (int i = 0; i < 2; i++) {
    double miss = n->r[i] + n->vel[i] * path.cover_s + in->wind_l[i] * WIND_BELOW * path.wind_s;
    a_h[i] = -(n->vel[i] - in->wind_l[i]) / fsw_max(n->v, 10.0) * a_v - k * miss;
  }
}

/* Lift over thrust, both per angle of lean. */
static double lift_share(const fsw_law_in_t *in, const fsw_law_params_t *p, const now_t *n, double a_v)
{
  double q = 0.5 * p->rho_pad_kg_m3 * n->sigma * fsw_v3_dot(n->vel, n->vel);
  return q * p->lift_area_m2 / fsw_max(in->mass_kg, p->mass_floor_kg) / fsw_max(a_v, 0.1);
}

/* The lift of a stage leaning away from its velocity opposes the thrust component of the same lean (guidance_aero.c). */
static void lean(const fsw_law_in_t *in, const fsw_law_params_t *p, const now_t *n, double a_v, double limit, double a_h[2])
{
  double ratio = lift_share(in, p, n, a_v), share = 1.0 - ratio;
  if (fsw_v3_norm(n->vel) > 20.0 && ratio > 0.02) {
    double retro[2], turn[2];
    for (int i = 0; i < 2; i++) {
      retro[i] = -(n->vel[i] - in->wind_l[i]) / fsw_max(n->v, 10.0) * a_v;
      turn[i] = lean_gain(share) * (a_h[i] - retro[i]);
    }
    double most = share < 0.0 ? REVERSED_LEAN * a_v : 1e3 * a_v, size = fsw_sqrt(turn[0] * turn[0] + turn[1] * turn[1]);
    for (int i = 0; i < 2; i++) a_h[i] = retro[i] + (size > most ? most / size : 1.0) * turn[i];
  }
  double most = fsw_max(a_v, 0.0) * fsw_tan(fsw_clamp(limit, 0.0, 1.2)), size = fsw_sqrt(a_h[0] * a_h[0] + a_h[1] * a_h[1]);
  if (size > most && size > 0.0) {
    a_h[0] *= most / size;
    a_h[1] *= most / size;
  }
}

/* Throttle limits and the axial limit. */
static double limited(const fsw_law_in_t *in, const fsw_law_params_t *p, const now_t *n, double u, double need, fsw_law_out_t *out)
{
  double drag = 0.5 * p->rho_pad_kg_m3 * p->cda_m2 * p->plume_factor * n->v * n->v / fsw_max(in->mass_kg, p->mass_floor_kg);
  double most = fsw_min(p->throttle_max, (p->axial_max_m_s2 - drag) / n->a_unit);
  most = fsw_max(most, p->throttle_min);
  out->hold = (in->hold && need < p->throttle_plan) ? 1 : 0;
  if (out->hold) u = p->throttle_min;
  if (need < p->throttle_min) out->status |= FSW_LAW_LOW;
  if (need > most) out->status |= FSW_LAW_HIGH;
  return fsw_clamp(u, p->throttle_min, most);
}

int32_t fsw_landing_law(const fsw_law_in_t *in, const fsw_law_params_t *p, fsw_law_out_t *out)
{
  now_t n;
  *out = (fsw_law_out_t){ .t_go_s = 0.0 };
  advance(in, p, &n);
  authority(in, p, &n);
  double need, a_v;
  if (n.h <= p->flare_height_m) {
    a_v = flare(p, &n, out);
    need = a_v / n.a_unit;
  } else {
    need = brake(in, p, &n, out);
    a_v = need * n.a_unit;
  }
  double a_h[2], floor_a = p->throttle_min * n.a_unit;
  double a_lean = fsw_clamp(a_v, fsw_max(floor_a, 1.0), p->throttle_max * n.a_unit);
  if (lift_share(in, p, &n, a_lean) > STEERS_BELOW)
    reversed(in, p, &n, a_lean, need, a_h);
  else
    lateral(p, &n, out->t_go_s, a_lean, a_h);
  lean(in, p, &n, a_lean, tilt_limit(p, n.h, a_lean), a_h);
  double a_abs = fsw_sqrt(a_v * a_v + a_h[0] * a_h[0] + a_h[1] * a_h[1]);
  double u = (a_v > 0.0 ? a_abs : 0.0) / n.a_unit;
  out->throttle_need = fsw_clamp(need, 0.0, 9.99);
  out->throttle = limited(in, p, &n, u, need * a_abs / fsw_max(fsw_abs(a_v), 0.1), out);
  double a_cmd = out->throttle * n.a_unit, dir[3] = { a_h[0], a_h[1], a_lean };
  if (!fsw_v3_unit(dir, out->dir_l)) fsw_v3_set(0.0, 0.0, 1.0, out->dir_l);
  fsw_v3_scale(a_cmd, out->dir_l, out->a_cmd_l);
  if (!fsw_isfinite(out->throttle_need) || !fsw_isfinite(out->t_go_s)) out->throttle_need = 9.99, out->t_go_s = 0.0;
  return out->status;
}
