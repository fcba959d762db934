/* guidance_burn.c - where a burn along the air-relative velocity takes the vehicle, as long as lift keeps thrust from steering.
 *
 * Leaning by an angle gives a thrust component to one side and a lift to the other (guidance_aero.c). Early in the burn lift wins, then
 * they cancel, and only below some 100 m/s thrust steers. Until then the stage is best kept along its air-relative velocity, and the
 * motion across is known in closed form: thrust and drag act along -(v - w), so with y = v - w horizontally, dy/dt = -k y, k the
 * axial specific force over the speed. From where thrust steers a stop at constant deceleration covers half the speed times the
 * time. All is linear in v and w: miss = r + v cover_s + w wind_s. */
#include "flightsw/guidance.h"
#include "flightsw/vec.h"

#define G0 9.80665
#define STEPS_MAX 26
#define STEPS_ABOUT 20.0
#define STEERS_SHARE 0.5   /* thrust steers when lift is less than this share of it */
#define REVERSED_SHARE 1.3 /* lift steers while it is more than this */

void fsw_guid_burn_path(const fsw_stop_in_t *in, const fsw_law_params_t *p, double u, fsw_burn_path_t *out)
{
  double h = in->h_m, v = fsw_max(in->v_m_s, 1.0), t = 0.0, decay = 1.0, cover = 0.0, reversed = 0.0;
  double mass = fsw_max(in->mass_kg, p->mass_floor_kg), flow = p->thrust_sl_n / (p->isp_sl_s * G0) * in->n_new * u;
  double dt = 2.0 * h / v / STEPS_ABOUT, half_rho = 0.5 * p->rho_pad_kg_m3;
  for (int i = 0; i < STEPS_MAX && h > 0.0; i++) {
    double sigma = fsw_guid_density(h, p->rho_height_m, p->rho_curve_1_m);
    double f = fsw_clamp((t + 0.5 * dt - in->dead_s) / fsw_max(in->ramp_s, 0.01), 0.0, 1.0);
    double full = p->thrust_scale * in->n_new * u * fsw_guid_full_thrust(p, sigma) / mass;
    double lift = half_rho * sigma * v * v * p->lift_area_m2 / mass;
    if (f >= 1.0 && lift < STEERS_SHARE * full) break;
    if (lift > REVERSED_SHARE * full * f) reversed = t + dt;
    double a = full * f + half_rho * sigma * v * v * p->cda_m2 * (1.0 - (1.0 - p->plume_factor) * f) / mass, k = a / v;
    double vm = fsw_max(v + 0.5 * dt * (G0 - a), 1.0), kd = fsw_min(k * dt, 1.0);
    cover += decay * dt * (1.0 - 0.5 * kd);
    decay *= 1.0 - kd + 0.5 * kd * kd;
    h -= vm * dt;
    v = fsw_max(v + dt * (G0 - a), 1.0);
    mass = fsw_max(mass - flow * f * dt, p->mass_floor_kg);
    t += dt;
  }
  double rest = fsw_max(h, 0.0) / v;                             /* the stop takes twice this */
  double share = rest - 0.5 * fsw_min(p->lat_lead_s, 0.6 * rest); /* lateral motion ends earlier, as in the landing law */
  out->cover_s = cover + share * decay;
  out->wind_s = t - cover + share * (1.0 - decay);
  out->reversed_s = reversed;
  out->t_s = t + 2.0 * rest;
}
