/* guidance_landing.c - the landing both tasks share: ignition decision, burn, and what to do when engines fail. */
#include "flightsw/events.h"
#include "flightsw/guidance.h"
#include "flightsw/vec.h"

#define G0 9.80665
#define SECOND_NS 1000000000LL
#define PREPARE_NS 4000000000LL
#define REACTION_NS 100000000LL  /* the sequencer answers a request within this */
#define WEAK_NEED 1.03           /* running engines are too weak above this */
#define WEAK_NS 500000000LL      /* longer than the sequencer needs to see that an engine has died */
#define HOPELESS_NEED 1.15
#define HOPELESS_NS 500000000LL
#define CUT_DELAY_S 0.03         /* request to closing valves, half a cycle included */
#define STOP_HEIGHT_M 20.0
#define FOOT_LEAN_MAX 0.06       /* rad, a greater lean is still being taken out */
#define MORE_THROTTLE 0.57       /* a pair relieves or joins a running engine when all that then run need this */
#define URGENT_S 0.4             /* start at the latest this long before the last chance */

double fsw_guid_need_start(const fsw_guid_t *g, const fsw_law_params_t *m, int32_t n_new, int32_t n_drop, double guess,
                           fsw_stop_out_t *out)
{
  const double *v = g->nav->v_bl_l;
  double down = -v[2];
  *out = (fsw_stop_out_t){ .t_s = -1.0 };
  if (!(down > 8.0)) return 0.0;
  fsw_stop_in_t in = { .h_m = g->nav->r_bl_l[2], .v_m_s = down, .lat = fsw_min(fsw_v3_norm(v) / down, 2.0),
    .mass_kg = g->s->mass_kg, .dead_s = m->start_dead_s, .ramp_s = m->start_ramp_s, .n_new = (double)n_new,
    .n_base = (double)g->lit, .u_base = m->throttle_max, .n_drop = (double)n_drop };
  return fsw_stop_need(&in, m, guess, 3, out);
}

static double full_thrust(const fsw_guid_t *g, const fsw_law_params_t *m)
{
  return fsw_guid_full_thrust(m, fsw_guid_density(g->nav->r_bl_l[2], m->rho_height_m, m->rho_curve_1_m));
}

static double last_need(const fsw_guidance_state_t *s, double plan) { return s->need > 0.0 && s->need < 5.0 ? s->need : plan; }

/* Need while engines are starting: the rest of the transient by the clock. */
static double need_starting(fsw_guid_t *g, const fsw_law_params_t *m, fsw_stop_out_t *out)
{
  const double *v = g->nav->v_bl_l;
  fsw_guidance_state_t *s = g->s;
  double e = (double)(g->t_ns - s->t_request_ns) / (double)SECOND_NS, down = -v[2];
  *out = (fsw_stop_out_t){ .t_s = -1.0 };
  if (!(down > 8.0)) return s->need;
  double done = fsw_clamp((e - m->start_dead_s) / fsw_max(m->start_ramp_s, 0.05), 0.0, 0.85);
  int32_t n_new = g->starting > 0 ? g->starting : (s->n_want > g->lit ? s->n_want - g->lit : 1);
  fsw_stop_in_t in = { .h_m = g->nav->r_bl_l[2], .v_m_s = down, .lat = fsw_min(fsw_v3_norm(v) / down, 2.0), .mass_kg = s->mass_kg,
    .dead_s = fsw_max(m->start_dead_s - e, 0.0), .ramp_s = m->start_ramp_s * (1.0 - done), .ramp_from = done,
    .n_new = (double)n_new, .n_base = (double)g->lit, .u_base = 1.0 };
  return fsw_stop_need(&in, m, last_need(s, g->p->plan_throttle), 3, out);
}

static void divert(fsw_guid_t *g)
{
  fsw_guidance_state_t *s = g->s;
  const double *r = g->nav->r_bl_l, *v = g->nav->v_bl_l;
  double t = r[2] / fsw_max(-v[2], 10.0), d[3] = { r[0] + v[0] * t, r[1] + v[1] * t, 0.0 };
  double down = -v[2], a = (double)g->lit * s->scale * g->p->thrust_sl_n / s->mass_kg - G0;
  if (fsw_v3_norm(d) < 1.0) fsw_v3_set(v[0], v[1], 0.0, d);
  if (!fsw_v3_unit(d, d)) d[0] = 1.0;
  fsw_v3_scale(g->p->divert_m, d, s->target_l);
  s->divert = 1;
  double v2 = g->lit > 0 ? down * down - 2.0 * a * r[2] : down * down;
  fsw_guid_event(g, FSW_EVENT_DIVERT, g->p->divert_m, fsw_sqrt(fsw_max(v2, 0.0)));
}

/* Nothing that could be lit stops the vehicle any more, for half a second: give up the pad. */
static void judge(fsw_guid_t *g, double best_need)
{
  fsw_guidance_state_t *s = g->s;
  s->hopeless_ns = best_need > HOPELESS_NEED && g->nav->r_bl_l[2] > 50.0 ? s->hopeless_ns + (int64_t)(g->dt_s * 1e9) : 0;
  if (s->hopeless_ns >= HOPELESS_NS && !s->divert) divert(g);
}

/* Too few engines run: choose the spare group and its time. Returns the best need that can be had. */
static double recover(fsw_guid_t *g, const fsw_law_params_t *m)
{
  fsw_guidance_state_t *s = g->s;
  int32_t group = g->spares >= 2 ? 2 : g->spares;
  if (group == 0) { /* only a second start of the same engine is left, if the sequencer allows one */
    if (g->lit == 0) fsw_guid_request(g, (int32_t)g->p->plan_engines);
    return g->lit > 0 ? s->need / m->throttle_max : 9.99;
  }
  fsw_stop_out_t o;
  int32_t drop = g->lit == 1 && group == 2 ? 1 : 0; /* a weak engine gives way to a sound pair */
  double need = fsw_guid_need_start(g, m, group, drop, s->need_spare > 0.0 ? s->need_spare : g->p->pair_throttle, &o);
  s->need_spare = fsw_clamp(need, 0.0, 3.0);
  if (need > 1.0 && g->spares >= 4) {
    double four = fsw_guid_need_start(g, m, 4, drop, 0.7, &o);
    if (four < need) group = 4, need = four;
  }
  int32_t total = g->lit - drop + group;
  double start = total == 1 ? g->p->plan_throttle : (g->lit > 0 ? MORE_THROTTLE : g->p->pair_throttle);
  double down = -g->nav->v_bl_l[2], last = fsw_guid_last_chance(s, total, down);
  int32_t urgent = g->lit == 0 && down > 8.0 && g->nav->r_bl_l[2] < last + URGENT_S * down;
  fsw_guid_request(g, need >= start || urgent ? total : g->lit);
  return need;
}

static void starting(fsw_guid_t *g, const fsw_law_params_t *m)
{
  fsw_stop_out_t o;
  double dir[3], need = need_starting(g, m, &o);
  g->s->need = fsw_clamp(need, 0.0, 9.99);
  fsw_guid_aero_steer(g, m, dir);
  fsw_guid_attitude(g, dir);
  double n = (double)(g->starting > 0 ? g->starting : g->s->n_want), u = fsw_clamp(need, g->p->throttle_min, 1.0);
  g->out->thrust_cmd_n = u * n * full_thrust(g, m);
  fsw_v3_scale(g->out->thrust_cmd_n * g->s->scale / g->s->mass_kg, dir, g->out->a_cmd_l);
  g->out->throttle_need = g->s->need;
  g->out->t_go_s = o.t_s;
}

/* How much lower than the middle of the foot plane the lowest foot stands with the present lean. */
static double foot_drop(const fsw_guid_t *g)
{
  return g->p->leg_radius_m * fsw_min(fsw_sqrt(g->x_l[0] * g->x_l[0] + g->x_l[1] * g->x_l[1]), FOOT_LEAN_MAX);
}

/* The landing law on the engines that run. */
static void steer(fsw_guid_t *g, const fsw_law_params_t *m)
{
  fsw_guidance_state_t *s = g->s;
  fsw_law_in_t in = { .mass_kg = s->mass_kg, .need_prev = s->need > 0.0 && s->need < 5.0 ? s->need : 0.0, .n_engines = g->lit };
  fsw_law_out_t law;
  double axial = fsw_v3_dot(g->f_l, g->x_l), foot = foot_drop(g);
  double below = fsw_sqrt(fsw_clamp(g->nav->r_bl_l[2] / fsw_max(s->h_ign_m, 100.0), 0.02, 1.0)); /* last seen at ignition */
  for (int i = 0; i < 3; i++) {
    in.r_l[i] = g->nav->r_bl_l[i];
    in.v_l[i] = g->nav->v_bl_l[i];
    /* sideways only what the axial force gives: the lateral accelerometer also feels the turning of the stage */
    in.a_l[i] = i == 2 ? fsw_clamp(g->f_l[2], -100.0, 100.0) - G0 : fsw_clamp(axial, 0.0, 100.0) * g->x_l[i];
    in.target_l[i] = s->target_l[i] + (i == 2 ? g->p->td_height_m + foot : 0.0);
    if (i < 2) in.wind_l[i] = below * s->wind_l[i];
  }
  (void)fsw_landing_law(&in, m, &law);
  s->need = law.throttle_need;
  fsw_guid_attitude(g, law.dir_l);
  fsw_v3_copy(law.a_cmd_l, g->out->a_cmd_l);
  g->out->thrust_cmd_n = law.throttle * (double)g->lit * full_thrust(g, m);
  g->out->throttle_need = law.throttle_need;
  g->out->t_go_s = law.t_go_s;
  int32_t weak = law.throttle_need > WEAK_NEED * m->throttle_max && g->nav->r_bl_l[2] > 60.0 && g->starting == 0;
  s->short_ns = weak ? s->short_ns + (int64_t)(g->dt_s * 1e9) : 0;
}

/* Would the thrust still to come after a cut-off (delay, then exponential decay until it is below gravity) stop the descent above the
 * ground? Close to the ground, where it no longer does, the wanted touchdown speed decides. */
static int32_t cut_stops(const fsw_guid_t *g, double h, double down)
{
  double a = fsw_v3_dot(g->f_l, g->x_l), tau = g->p->shutdown_tau_s;
  if (!(a > G0)) return 0;
  double log_a = fsw_log(fsw_min(a, 300.0) / G0), t = CUT_DELAY_S + tau * log_a;
  double speed = (a - G0) * (CUT_DELAY_S + tau) - G0 * tau * log_a;
  return down < speed && (h > 0.5 * down * t || down < g->p->td_speed_m_s);
}

/* The engines go off for good: at the ground, or stopped above it with a minimum thrust that would lift the vehicle. */
static int32_t cut_off(const fsw_guid_t *g, const fsw_law_params_t *m)
{
  double h = g->nav->r_bl_l[2] - foot_drop(g), down = -g->nav->v_bl_l[2];
  if (h < g->p->cut_height_m && cut_stops(g, h, down)) return 1;
  double least = (double)g->lit * g->s->scale * m->throttle_min * full_thrust(g, m) / g->s->mass_kg;
  return h < STOP_HEIGHT_M && down < 0.0 && least > G0;
}

static void coast(fsw_guid_t *g, const fsw_law_params_t *m)
{
  double dir[3];
  fsw_guid_aero_steer(g, m, dir);
  fsw_guid_attitude(g, dir);
  fsw_v3_set(0.0, 0.0, 0.0, g->out->a_cmd_l);
  g->out->thrust_cmd_n = 0.0;
}

static void burn(fsw_guid_t *g, const fsw_law_params_t *model)
{
  fsw_law_params_t now = *model, *m = &now;
  fsw_guidance_state_t *s = g->s;
  if (s->cut || (g->lit > 0 && cut_off(g, m))) {
    double up[3] = { 0.0, 0.0, 1.0 };
    s->cut = 1;
    fsw_guid_request(g, 0);
    fsw_guid_attitude(g, up);
    fsw_v3_set(0.0, 0.0, 0.0, g->out->a_cmd_l);
    g->out->thrust_cmd_n = g->out->throttle_need = 0.0;
    return;
  }
  int32_t running = g->lit + g->starting;
  int64_t patience = g->failures == 0 && g->spares < 2 ? PREPARE_NS : REACTION_NS; /* a lone engine may have to be chilled */
  int32_t fresh = g->t_ns - s->t_request_ns < patience;
  if (running == 0 && fresh && s->n_want > 0) { /* the request has not been answered yet */
    starting(g, m);
    return;
  }
  if ((running < s->n_want && !fresh) || g->failures > s->n_failed) s->failed = 1;
  double best = g->spares > 0 || g->starting > 0 ? 0.0 : s->need; /* nothing is hopeless while something can be added */
  /* after a failure with nothing lit the time of the next start is decided here, even if the sequencer has begun one by itself */
  int32_t lost = g->failures > s->n_failed && g->lit == 0;
  s->n_failed = g->failures;
  if (lost) {
    s->n_want = 0;
    fsw_guid_forget(s);
    fsw_guid_model(g, m);
  }
  int32_t spare_time = lost || (g->lit == 0 ? (g->starting == 0 || s->n_want == 0) : g->starting == 0 && s->short_ns >= WEAK_NS);
  if (spare_time) best = recover(g, m);
  if (g->lit > 0) {
    if (!s->steering) fsw_guid_event(g, FSW_EVENT_BURN_STEERING, g->nav->r_bl_l[2], -g->nav->v_bl_l[2]);
    s->steering = 1;
    steer(g, m);
  } else if (g->starting > 0 && s->n_want > 0) {
    starting(g, m);
    best = s->need;
  } else {
    coast(g, m);
    g->out->throttle_need = fsw_clamp(best, 0.0, 9.99);
    s->need = 0.0;
  }
  judge(g, best);
}

void fsw_guid_landing(fsw_guid_t *g, const fsw_law_params_t *m, int32_t landed)
{
  fsw_guidance_state_t *s = g->s;
  if (landed || s->phase == FSW_PHASE_LANDED) {
    double up[3] = { 0.0, 0.0, 1.0 };
    if (s->phase != FSW_PHASE_LANDED) {
      fsw_guid_phase(g, FSW_PHASE_LANDED);
      fsw_guid_event(g, FSW_EVENT_LANDED, g->nav->r_bl_l[2], -g->nav->v_bl_l[2]);
    }
    fsw_guid_request(g, 0);
    fsw_guid_attitude(g, up);
    fsw_v3_set(0.0, 0.0, 0.0, g->out->a_cmd_l);
    g->out->thrust_cmd_n = g->out->throttle_need = g->out->t_go_s = 0.0;
    return;
  }
  fsw_guid_table_step(g, m);
  if (s->phase == FSW_PHASE_BURN) {
    burn(g, m);
    return;
  }
  fsw_stop_out_t o;
  double need = fsw_guid_need_start(g, m, (int32_t)g->p->plan_engines, 0, last_need(s, g->p->plan_throttle), &o);
  s->need = fsw_clamp(need, 0.0, 9.99);
  coast(g, m);
  g->out->throttle_need = s->need;
  g->out->t_go_s = o.t_s;
  if (need < g->p->plan_throttle) return;
  fsw_guid_phase(g, FSW_PHASE_BURN);
  fsw_guid_event(g, FSW_EVENT_IGNITION_DECIDED, g->nav->r_bl_l[2], -g->nav->v_bl_l[2]);
  fsw_guid_request(g, (int32_t)g->p->plan_engines);
  g->out->thrust_cmd_n = g->p->plan_throttle * (double)g->p->plan_engines * full_thrust(g, m);
}
