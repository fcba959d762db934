/* guidance_aero.c - unpowered descent: steering the predicted landing point to the pad with small angles of attack.
 *
 * Sign of the lift, tail first. Let u = -v/|v| (up along the path) and let the top of the stage lean by a small angle: x = u cos a +
 * d sin a, d a unit vector across the path. The air streams past the stage along u. Its part across the axis,
 *     u - (u.x) x = u (1 - cos^2 a) - d sin a cos a  ~  -a d,
 * pushes the body, so the normal force acts towards -d: away from the side to which the top leans. The axial force acts along +x and
 * has a part +a d, so in wind axes the lift is -(CN_alpha - CA) a d = -cl_alpha a d. Hence with the offset vector
 * delta = x - (x.u) u the lateral acceleration is -(q s_ref cl_alpha / m) delta, and to accelerate towards the pad the top leans away
 * from it. Thrust acts along +x, towards the side of the lean: the two oppose each other in the burn (guidance_law.c).
 *
 * Prediction: point mass with drag to the ignition height, then the burn (guidance_burn.c), both along the air-relative velocity in the
 * estimated wind, which is taken to grow with the square root of height.
 * Command: proportional navigation on the predicted miss, a = -N miss / (t_eff t_left); lift slope and wind are estimated from the measured
 * lateral specific force (Kalman filter). The angle of attack fades to zero before ignition. */
#include "flightsw/guidance.h"
#include "flightsw/vec.h"

#define G0 9.80665
#define FALL_STEPS 12
#define BURN_HEIGHT 0.5   /* of the ignition height: where the wind of the burn is taken */
#define FADE_M 400.0
#define WIND_WALK 0.15  /* (m/s)^2/s, shear flown through */
#define AERO_VAR 2.0    /* (m/s2)^2 of one sample: gusts and turning, correlated over half a second */
#define LIFT_WALK 1e-6  /* 1/s */
#define LIFT_SIGMA 0.05 /* 1, the slope is known to this: in a closed loop it can hardly be told from wind */
#define IGN_RELAX 0.5
#define SPEED_MIN_M_S 40.0 /* slower than this the stage stays upright */

typedef struct { /* free fall from now to a height */
  double t_s, decay, cover_s, v_m_s;  /* cover: horizontal distance per initial horizontal speed */
} fall_t;

/* Integrated over height with the midpoint rule; v is the descent rate, lat the ratio of speed to it. */
static void fall(const fsw_law_params_t *m, double h, double v, double lat, double h_end, double mass, fall_t *f)
{
  double dh = (h - h_end) / FALL_STEPS, k0 = 0.5 * m->rho_pad_kg_m3 * m->cda_m2 * lat / mass;
  double t = 0.0, decay = 1.0, cover = 0.0;
  for (int i = 0; i < FALL_STEPS; i++) {
    double hm = h - 0.5 * dh, k = k0 * fsw_guid_density(hm, m->rho_height_m, m->rho_curve_1_m);
    double a = G0 - k * v * v, vm = fsw_max(v + 0.5 * dh * a / fsw_max(v, 5.0), 5.0);
    a = G0 - k * vm * vm;
    double dt = dh / vm, half = decay * (1.0 - 0.5 * k * vm * dt);
    cover += half * dt;
    decay = fsw_max(decay - half * k * vm * dt, 0.05);
    v = fsw_max(v + a * dt, 5.0);
    h -= dh;
    t += dt;
  }
  *f = (fall_t){ .t_s = t, .decay = decay, .cover_s = cover, .v_m_s = v };
}

/* Ignition height: one step of a fixed-point iteration per cycle with the predicted speed there. */
static void ignition_height(fsw_guid_t *g, const fsw_law_params_t *m, double v_ign)
{
  fsw_guidance_state_t *s = g->s;
  int32_t n = s->failed && g->spares >= 2 ? 2 : (int32_t)g->p->plan_engines;
  double u = s->failed ? g->p->pair_throttle : g->p->plan_throttle;
  fsw_stop_in_t in = { .h_m = s->h_ign_m, .v_m_s = v_ign, .lat = 1.0, .mass_kg = s->mass_kg, .dead_s = m->start_dead_s,
    .ramp_s = m->start_ramp_s, .n_new = (double)n };
  fsw_stop_out_t o;
  fsw_stop_predict(&in, m, u, &o);
  s->h_ign_m = fsw_clamp(s->h_ign_m - IGN_RELAX * (o.h_rem_m - o.dist_m), 20.0, 30000.0);
  s->t_burn_s = o.t_s;
}

/* One scalar measurement z = h.x of the three unknowns. */
static void update(double x[3], double c[6], const double h[3], double z, double var)
{
  double p[3] = { c[0] * h[0] + c[1] * h[1] + c[2] * h[2], c[1] * h[0] + c[3] * h[1] + c[4] * h[2],
    c[2] * h[0] + c[4] * h[1] + c[5] * h[2] };
  double s = fsw_v3_dot(h, p) + var, res = z - fsw_v3_dot(h, x);
  if (!(s > 0.0)) return;
  for (int i = 0; i < 3; i++) x[i] += p[i] / s * res;
  c[0] = fsw_max(c[0] - p[0] * p[0] / s, 1e-5);
  c[1] -= p[0] * p[1] / s;
  c[2] -= p[0] * p[2] / s;
  c[3] = fsw_max(c[3] - p[1] * p[1] / s, 1e-3);
  c[4] -= p[1] * p[2] / s;
  c[5] = fsw_max(c[5] - p[2] * p[2] / s, 1e-3);
}

/* Lift slope and wind from the lateral specific force, engines off. In wind w the air comes from u + w/|v|, so that across the path
 * f = -scale L delta + (L + D) w/|v| with L the lift per rad and D the drag (both accelerations). */
static void observe(fsw_guid_t *g, const double up[3], double speed, double lift, double drag)
{
  fsw_guidance_state_t *s = g->s;
  double along = fsw_v3_dot(g->f_l, up), lean = fsw_v3_dot(g->x_l, up), x[3] = { s->lift_scale, s->wind_l[0], s->wind_l[1] };
  double k = (lift * s->lift_scale + drag) / speed, *c = s->lift_cov;
  c[0] = fsw_min(c[0] + LIFT_WALK * g->dt_s, LIFT_SIGMA * LIFT_SIGMA);
  c[3] = fsw_min(c[3] + WIND_WALK * g->dt_s, 400.0);
  c[5] = fsw_min(c[5] + WIND_WALK * g->dt_s, 400.0);
  for (int i = 0; i < 2; i++) {
    double h[3] = { -lift * (g->x_l[i] - lean * up[i]), i == 0 ? k : 0.0, i == 1 ? k : 0.0 };
    update(x, c, h, g->f_l[i] - along * up[i], AERO_VAR);
  }
  s->lift_scale = fsw_clamp(x[0], 0.4, 3.0);
  for (int i = 0; i < 2; i++) s->wind_l[i] = fsw_clamp(x[i + 1], -60.0, 60.0);
}

/* Wanted horizontal acceleration. */
static void navigate(fsw_guid_t *g, const fsw_law_params_t *m, double a[3])
{
  const double *r = g->nav->r_bl_l, *v = g->nav->v_bl_l;
  double down = -v[2], lat = fsw_min(fsw_v3_norm(v) / down, 3.0), h_end = fsw_min(g->s->h_ign_m, r[2]);
  fall_t f;
  fall(m, r[2], down, lat, h_end, g->s->mass_kg, &f);
  ignition_height(g, m, f.v_m_s);
  fsw_burn_path_t burn;
  int32_t n = g->s->failed && g->spares >= 2 ? 2 : (int32_t)g->p->plan_engines;
  fsw_stop_in_t in = { .h_m = h_end, .v_m_s = f.v_m_s, .lat = 1.0, .mass_kg = g->s->mass_kg, .dead_s = m->start_dead_s,
    .ramp_s = m->start_ramp_s, .n_new = (double)n };
  fsw_guid_burn_path(&in, m, g->s->failed ? g->p->pair_throttle : g->p->plan_throttle, &burn);
  double t_eff = fsw_max(f.cover_s + f.decay * burn.cover_s, 1.0), h = fsw_max(r[2], 1.0);
  double w_fall = fsw_sqrt(0.5 * (h + h_end) / h), w_burn = fsw_sqrt(BURN_HEIGHT * h_end / h);
  double t_wind = w_fall * (f.t_s - f.cover_s + (1.0 - f.decay) * burn.cover_s) + w_burn * burn.wind_s;
  double t_left = fsw_max(f.t_s - (g->s->failed ? 0.3 : 1.0) * g->p->aero_fade_m / fsw_max(f.v_m_s, 50.0), 2.0);
  for (int i = 0; i < 2; i++) {
    double miss = r[i] - g->s->target_l[i] + v[i] * t_eff + g->s->wind_l[i] * t_wind;
    a[i] = -g->p->aero_gain * miss / (t_eff * t_left);
  }
  a[2] = 0.0;
}

void fsw_guid_aero_steer(fsw_guid_t *g, const fsw_law_params_t *m, double dir[3])
{
  const double *v = g->nav->v_bl_l;
  double speed = fsw_v3_norm(v), up[3], a[3];
  fsw_v3_set(0.0, 0.0, 1.0, dir);
  if (!(speed > SPEED_MIN_M_S) || -v[2] < 0.5 * speed) return;
  fsw_v3_scale(-1.0 / speed, v, up);
  double q = 0.5 * m->rho_pad_kg_m3 * fsw_guid_density(g->nav->r_bl_l[2], m->rho_height_m, m->rho_curve_1_m) * speed * speed;
  double lift = q * g->p->s_ref_m2 * g->p->cl_alpha_1_rad / g->s->mass_kg, drag = q * m->cda_m2 / g->s->mass_kg;
  if (lift > 0.5 && g->lit == 0 && g->starting == 0) observe(g, up, speed, lift, drag);
  navigate(g, m, a);
  fsw_v3_copy(up, dir);
  lift *= g->s->lift_scale;
  if (lift < 0.2) return;
  double late = g->s->failed ? 0.3 : 1.0; /* after a failure there is no height to spare */
  double fade = (g->nav->r_bl_l[2] - g->s->h_ign_m - late * g->p->aero_fade_m) / (late * FADE_M);
  double limit = g->p->aero_alpha_max_deg * FSW_DEG * (g->s->divert ? 1.0 : fsw_clamp(fade, 0.0, 1.0)), delta[3];
  double along = fsw_v3_dot(a, up), k = (1.0 + drag / lift) / speed;
  for (int i = 0; i < 3; i++) delta[i] = -(a[i] - along * up[i]) / lift + (i < 2 ? k * g->s->wind_l[i] : 0.0);
  double size = fsw_v3_norm(delta);
  if (size > limit) fsw_v3_scale(limit / size, delta, delta);
  fsw_v3_add(up, delta, dir);
  (void)fsw_v3_unit(dir, dir);
}
