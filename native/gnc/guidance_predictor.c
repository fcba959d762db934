/* guidance_predictor.c - vertical stop with drag, plume, mass flow and engine start.
 *
 * The engine start is integrated in time, the braking in speed: dh = v dv / a, dt = dv / a, midpoint rule, a fixed number of steps.
 * Height over distance is nearly linear in throttle, so a secant search converges in two or three steps. */
#include "flightsw/guidance.h"
#include "flightsw/vec.h"

#define G0 9.80665
#define BRAKE_STEPS 8
#define DEAD_STEPS 2
#define RAMP_STEPS 3
#define NET_MIN 0.4 /* m/s2: below this the vehicle is taken not to decelerate */

typedef struct { /* constants of one prediction */
  double scale;
  double flow;          /* kg/s per engine at throttle 1 */
  double k_drag;        /* N s2/m2 at the pad, engines off */
  const fsw_law_params_t *p;
} brake_t;

double fsw_guid_density(double h_m, double rho_height_m, double rho_curve_1_m)
{
  double h = fsw_max(h_m, 0.0);
  return fsw_exp(-h / rho_height_m * (1.0 + rho_curve_1_m * h));
}

/* The pressure deficit is 1.2 times that of the density, within 2 % up to 5 km (standard atmosphere). */
double fsw_guid_full_thrust(const fsw_law_params_t *p, double sigma)
{
  double extra = fsw_max(p->thrust_vac_n - p->thrust_sl_n, 0.0);
  return p->thrust_sl_n + extra * fsw_min(1.2 * (1.0 - sigma), 1.0);
}

/* Axial specific force (thrust and drag) of n_u engines' worth of throttle. */
static double specific_force(const brake_t *b, double h, double v, double mass, double n_u, double share)
{
  double sigma = fsw_guid_density(h, b->p->rho_height_m, b->p->rho_curve_1_m);
  double thrust = b->scale * n_u * fsw_guid_full_thrust(b->p, sigma);
  return (thrust + b->k_drag * sigma * v * v * share) / mass;
}

static void brake_init(brake_t *b, const fsw_stop_in_t *in, const fsw_law_params_t *p)
{
  b->scale = p->thrust_scale;
  b->flow = p->thrust_sl_n / (p->isp_sl_s * G0);
  b->k_drag = 0.5 * p->rho_pad_kg_m3 * p->cda_m2 * in->lat;
  b->p = p;
}

typedef struct {
  double h, v, m, t, load;
} motion_t;

/* One midpoint step in time; u_new is the throttle of the new engines, f the share of their ramp. */
static void time_step(const brake_t *b, const fsw_stop_in_t *in, motion_t *x, double dt, double u_new, double f)
{
  double n_u = in->n_base * in->u_base + in->n_new * u_new * f;
  double lit = in->n_base > 0.0 ? 1.0 : f;
  double share = 1.0 - (1.0 - b->p->plume_factor) * lit;
  double vm = x->v + 0.5 * dt * (G0 - specific_force(b, x->h, x->v, x->m, n_u, share));
  double load = specific_force(b, x->h - 0.5 * dt * x->v, vm, x->m, n_u, share);
  x->v += dt * (G0 - load);
  x->h -= dt * vm;
  x->m = fsw_max(x->m - dt * b->flow * n_u, b->p->mass_floor_kg);
  x->t += dt;
  x->load = fsw_max(x->load, load);
}

static void transient(const brake_t *b, const fsw_stop_in_t *in, motion_t *x, double u)
{
  if (in->dead_s > 0.0) {
    for (int k = 0; k < DEAD_STEPS; k++) time_step(b, in, x, in->dead_s / DEAD_STEPS, 0.0, 0.0);
  }
  if (in->ramp_s > 0.0) {
    double left = 1.0 - in->ramp_from;
    for (int k = 0; k < RAMP_STEPS; k++)
      time_step(b, in, x, in->ramp_s / RAMP_STEPS, u, in->ramp_from + left * (k + 0.5) / RAMP_STEPS);
  }
}

/* Flare deceleration of n engines at this mass. */
static double flare_decel(const fsw_law_params_t *p, double n, double mass)
{
  double a = p->thrust_scale * n * p->thrust_sl_n * p->flare_throttle / mass - G0;
  return fsw_max(a, 2.0);
}

void fsw_stop_predict(const fsw_stop_in_t *in, const fsw_law_params_t *p, double u, fsw_stop_out_t *out)
{
  brake_t b;
  brake_init(&b, in, p);
  motion_t x = { .h = in->h_m, .v = in->v_m_s, .m = fsw_max(in->mass_kg, p->mass_floor_kg), .t = 0.0, .load = 0.0 };
  double m0 = x.m, n = fsw_max(in->n_base + in->n_new - in->n_drop, 1.0);
  transient(&b, in, &x, u);
  /* mass at the gate: a stop costs about 1.6 times the speed, gravity included */
  double m_gate = fsw_max(x.m * (1.0 - 1.6 * fsw_max(x.v, 0.0) / (p->isp_sl_s * G0)), p->mass_floor_kg);
  double a_flare = flare_decel(p, n, m_gate);
  double v_gate = fsw_sqrt(p->td_speed_m_s * p->td_speed_m_s + 2.0 * a_flare * p->flare_height_m);
  out->h_rem_m = x.h - p->flare_height_m;
  double h0 = x.h, dv = (x.v - v_gate) / BRAKE_STEPS;
  for (int k = 0; k < BRAKE_STEPS; k++) { /* a speed below the gate speed gives a negative distance: speeding up is needed */
    double f1 = specific_force(&b, x.h, x.v, x.m, n * u, p->plume_factor);
    double a1 = fsw_max(f1 - G0, NET_MIN), half = 0.5 * dv / a1;
    double hm = x.h - x.v * half, vm = x.v - 0.5 * dv;
    double mm = fsw_max(x.m - b.flow * n * u * half, p->mass_floor_kg);
    double a2 = fsw_max(specific_force(&b, hm, vm, mm, n * u, p->plume_factor) - G0, NET_MIN), dt = dv / a2;
    x.h -= vm * dt;
    x.m = fsw_max(x.m - b.flow * n * u * dt, p->mass_floor_kg);
    x.t += dt;
    x.load = fsw_max(x.load, f1);
    x.v -= dv;
  }
  out->dist_m = h0 - x.h;
  out->t_s = x.t + (v_gate - p->td_speed_m_s) / a_flare;
  out->fuel_kg = m0 - x.m;
  out->load_m_s2 = x.load;
}

/* Height over distance: above 1 the stop is too early. */
static double ratio(const fsw_stop_in_t *in, const fsw_law_params_t *p, double u, fsw_stop_out_t *out)
{
  fsw_stop_predict(in, p, u, out);
  return out->h_rem_m / fsw_max(out->dist_m, 0.01);
}

double fsw_stop_need(const fsw_stop_in_t *in, const fsw_law_params_t *p, double guess, int32_t iterations, fsw_stop_out_t *out)
{
  double u0 = fsw_clamp(guess, 0.15, 3.0);
  double f0 = ratio(in, p, u0, out);
  if (out->h_rem_m <= 0.0) return 9.99;
  double u1 = fsw_clamp(f0 < 1.0 ? u0 * 1.06 : u0 * 0.94, 0.1, 9.99);
  for (int32_t k = 0; k < iterations; k++) {
    double f1 = ratio(in, p, u1, out);
    double slope = (f1 - f0) / ((u1 - u0) != 0.0 ? (u1 - u0) : 1e-9);
    if (!(slope > 1e-3)) slope = 0.3; /* not decelerating at all: go up */
    u0 = u1;
    f0 = f1;
    if (fsw_abs(1.0 - f1) < 2e-4) break;
    u1 = fsw_clamp(u1 + (1.0 - f1) / slope, 0.05, 9.99);
    if (fsw_abs(u1 - u0) < 1e-4) break;
  }
  return u1;
}
