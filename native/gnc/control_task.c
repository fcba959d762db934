/* control_task.c - the task gnc.control. See control.h. */
#include "flightsw/control.h"
#include "flightsw/math.h"
#include "flightsw/vec.h"

enum { IN_NAV, IN_GUIDANCE, IN_ENGINES };
enum { OUT_TVC, OUT_FINS, OUT_RCS, OUT_CONTROL };
enum { SAT_GIMBAL = 1, SAT_FINS = 2, SAT_THRUSTERS = 4, SAT_THROTTLE = 8 };

typedef struct { /* what one step works with */
  const fsw_control_params_t *p;
  fsw_control_state_t *s;
  fsw_mass_props_t mp;
  fsw_alloc_t alloc;
  double pr;          /* ambient over sea-level pressure */
  double fin_n_rad;   /* N/rad, side force of one fin, signed by the direction of the flow */
  double thrust_n[9]; /* estimated */
  double offset_b[3]; /* N m, moment of the engines with gimbals at zero */
  double dt_s;
  int8_t engine_of[9];/* engine behind gimbal pair j of the allocation */
  uint32_t n_pairs;
} work_t;

static const double *finite_or(const double *v, int n, const double *fallback)
{
  for (int i = 0; i < n; i++) {
    if (!fsw_isfinite(v[i])) return fallback;
  }
  return v;
}

/* Second-order notch by the bilinear transform, frequency pre-warped (J. G. Proakis and D. Manolakis, Digital Signal Processing). */
static void notch_design(fsw_control_state_t *s, const fsw_control_params_t *p, double dt_s)
{
  double w = fsw_tan(fsw_min(FSW_PI * p->notch_hz * dt_s, 1.5));
  double q = p->notch_width * w, d = 1.0 + q + w * w;
  s->notch_b[0] = (1.0 + p->notch_depth * q + w * w) / d;
  s->notch_b[1] = 2.0 * (w * w - 1.0) / d;
  s->notch_b[2] = (1.0 - p->notch_depth * q + w * w) / d;
  s->notch_a[0] = s->notch_b[1];
  s->notch_a[1] = (1.0 - q + w * w) / d;
}

void fsw_control_init(void *state, const void *params)
{
  fsw_control_state_t *s = state;
  const fsw_control_params_t *p = params;
  s->propellant_kg = p->propellant_kg;
  for (int k = 0; k < 9; k++) s->effect[k] = 1.0;
}

static void air(work_t *w, const fsw_nav_t *nav)
{
  const fsw_control_params_t *p = w->p;
  double h = nav->r_bl_l[2] + p->site_height_m, v_b[3];
  w->pr = fsw_exp(-fsw_clamp(h, -2000.0, 200000.0) / p->scale_height_m);
  fsw_q_rotate_inv(nav->q_bl, nav->v_bl_l, v_b);
  double q = 0.5 * p->rho0_kg_m3 * w->pr * v_b[0] * v_b[0];
  w->fin_n_rad = (v_b[0] < 0.0 ? q : -q) * p->fin_area_m2 * p->fin_cn_alpha_1_rad;
}

/* Propellant and the effectiveness of each engine follow the sequencer's thrust estimates. */
static void follow_engines(work_t *w, const fsw_engines_t *e)
{
  const fsw_control_params_t *p = w->p;
  fsw_control_state_t *s = w->s;
  double flow = 0.0, lag = w->dt_s / (p->throttle_lag_s + w->dt_s), slow = w->dt_s / (p->low_thrust_tau_s + w->dt_s);
  uint32_t n = p->n_engines <= 9 ? p->n_engines : 9;
  for (uint32_t k = 0; k < 9; k++) w->thrust_n[k] = 0.0;
  if (!e) return;
  for (uint32_t k = 0; k < n; k++) {
    double t = fsw_clamp(e->thrust_n[k], 0.0, 3.0 * p->thrust_sl_n);
    w->thrust_n[k] = t;
    if (!(t > 0.0)) continue; /* an engine at rest costs nothing */
    flow += t;
    double u = fsw_clamp(e->throttle[k], 0.0, 1.0);
    s->throttle_f[k] += lag * (u - s->throttle_f[k]);
    double promised = fsw_engine_thrust_n(s->throttle_f[k], w->pr, p->thrust_sl_n, p->thrust_vac_n);
    s->lit_s[k] = (e->lit_mask >> k & 1u) ? fsw_min(s->lit_s[k] + w->dt_s, 1e6) : 0.0;
    if (s->lit_s[k] > p->low_thrust_wait_s && promised > 0.0) { /* past its ramp: it tells how good it is */
      s->effect[k] += slow * (fsw_clamp(t / promised, 0.4, 1.1) - s->effect[k]);
    } else {
      s->effect[k] += slow * (1.0 - s->effect[k]);
    }
  }
  s->propellant_kg = fsw_max(0.0, s->propellant_kg - flow * w->dt_s / (p->isp_sl_s * 9.80665));
}

static void column(work_t *w, double mx, double my, double mz, double limit, double weight)
{
  fsw_alloc_t *a = &w->alloc;
  if (a->n >= FSW_ALLOC_MAX) return;
  double *b = &a->b[3 * a->n];
  b[0] = mx;
  b[1] = my;
  b[2] = mz;
  a->limit[a->n] = limit;
  a->weight[a->n] = weight * weight * limit * limit;
  a->n++;
}

static void build_columns(work_t *w)
{
  const fsw_control_params_t *p = w->p;
  double floor_n = p->thrust_floor_share * p->thrust_sl_n, x = p->engine_x_m - w->mp.cm_x_m;
  w->alloc.n = 0;
  w->n_pairs = 0;
  fsw_v3_set(0.0, 0.0, 0.0, w->offset_b);
  for (uint32_t k = 0; k < 9; k++) {
    double t = w->thrust_n[k], y = p->engine_y_m[k], z = p->engine_z_m[k];
    if (!(t > 0.0)) continue;
    w->offset_b[1] += t * z;
    w->offset_b[2] -= t * y;
    if (t < floor_n || p->engine_gimballed[k] < 0.5) continue;
    w->engine_of[w->n_pairs++] = (int8_t)k;
    column(w, -t * y, t * x, 0.0, p->gimbal_max_deg * FSW_DEG, 1.0);
    column(w, -t * z, 0.0, t * x, p->gimbal_max_deg * FSW_DEG, 1.0);
  }
  double weight = w->n_pairs ? p->fin_share_lit : 1.0, arm = p->fin_x_m - w->mp.cm_x_m, f = w->fin_n_rad;
  uint32_t n = p->n_fins <= FSW_MAX_FINS ? p->n_fins : FSW_MAX_FINS;
  for (uint32_t k = 0; k < n; k++) {
    double s, c;
    fsw_sincos((p->fin_azimuth_deg + 360.0 * (double)k / (double)n) * FSW_DEG, &s, &c);
    column(w, f * p->fin_r_m, -f * arm * c, -f * arm * s, p->fin_max_deg * FSW_DEG, weight);
  }
}

static void thruster_reach(work_t *w)
{
  double got[3];
  for (int i = 0; i < 3; i++) {
    const int8_t dir[3] = { (int8_t)(i == 0), (int8_t)(i == 1), (int8_t)(i == 2) };
    if (w->p->n_thrusters == 0 || (w->s->ready && w->s->counter % 3 != (uint32_t)i)) continue;
    (void)fsw_select_thrusters(w->p, w->mp.cm_x_m, dir, got);
    w->s->reach_b[i] = fsw_max(got[i], 0.0);
  }
}

/* Moment limits: what gimbals, fins and thrusters can do together about each axis, less what the offset already takes. */
static void limits(work_t *w)
{
  double full[3] = { 0.0, 0.0, 0.0 };
  thruster_reach(w);
  for (uint32_t j = 0; j < w->alloc.n; j++) {
    for (int i = 0; i < 3; i++) full[i] += w->alloc.limit[j] * fsw_abs(w->alloc.b[3 * j + (uint32_t)i]);
  }
  for (int i = 0; i < 3; i++) {
    double left = full[i] - fsw_abs(w->offset_b[i]);
    w->s->firm_b[i] = fsw_max(left, 0.1 * full[i]);
    w->s->limit_b[i] = w->s->firm_b[i] + w->s->reach_b[i];
  }
}

/* Thrusters: hysteresis on the rate error that the others leave, and a shortest pulse. */
static uint32_t thrusters(work_t *w, const double rest_b[3], double got_b[3])
{
  const fsw_control_params_t *p = w->p;
  fsw_control_state_t *s = w->s;
  double steps = fsw_clamp(p->thruster_min_s / w->dt_s, 0.0, 250.0);
  fsw_v3_set(0.0, 0.0, 0.0, got_b);
  if (p->n_thrusters == 0) return 0;
  for (int i = 0; i < 3; i++) {
    double gain = i == 0 ? w->mp.ixx_kg_m2 * p->kw_roll_1_s : w->mp.iyy_kg_m2 * p->kw_1_s;
    double e = rest_b[i] / gain;
    if (s->hold[i]) {
      s->hold[i]--;
      continue;
    }
    int8_t dir = s->dir[i];
    if (dir != 0 && (double)dir * e < p->thruster_off_rad_s) dir = 0;
    if (dir == 0 && fsw_abs(e) > p->thruster_on_rad_s) dir = e > 0.0 ? 1 : -1;
    if (dir != s->dir[i]) s->hold[i] = (uint8_t)steps;
    s->dir[i] = dir;
  }
  if (s->dir[0] == 0 && s->dir[1] == 0 && s->dir[2] == 0) return 0;
  return fsw_select_thrusters(p, w->mp.cm_x_m, s->dir, got_b);
}

static uint8_t steer(work_t *w, const fsw_nav_t *nav, const fsw_guidance_t *g, fsw_control_t *c)
{
  fsw_control_lead(w->s, w->p, g->q_cmd_bl, g->t_ns, c->t_ns);
  const double zero[3] = { 0.0, 0.0, 0.0 };
  double ask[3], rest[3], got[3], rcs[3], reg[3];
  fsw_attitude_error(g->q_cmd_bl, nav->q_bl, c->att_err_b);
  fsw_control_moment(w->s, w->p, &w->mp, finite_or(c->att_err_b, 3, zero), nav->omega_bl_b, w->dt_s, c->moment_cmd_b);
  reg[0] = 1e-3 * w->mp.ixx_kg_m2 + 1e-6;
  reg[1] = reg[2] = 1e-3 * w->mp.iyy_kg_m2 + 1e-6;
  fsw_v3_sub(c->moment_cmd_b, w->offset_b, ask);
  uint32_t hit = fsw_allocate(&w->alloc, ask, reg, got);
  fsw_v3_sub(ask, got, rest);
  w->s->on_mask = thrusters(w, rest, rcs);
  uint32_t gimbals = (1u << (2 * w->n_pairs)) - 1u;
  uint8_t sat = (uint8_t)(((hit & gimbals) ? SAT_GIMBAL : 0) | ((hit & ~gimbals) ? SAT_FINS : 0));
  for (int i = 0; i < 3; i++) {
    c->moment_alloc_b[i] = got[i] + w->offset_b[i] + rcs[i];
    double over = fsw_abs(rest[i]) - w->s->reach_b[i] - 0.02 * w->s->limit_b[i];
    w->s->sat_b[i] = over > 0.0 ? (rest[i] > 0.0 ? 1.0 : -1.0) : 0.0;
    if (over > 0.0 && w->s->dir[i] != 0) sat |= SAT_THRUSTERS;
  }
  return sat;
}

static uint8_t throttles(work_t *w, const fsw_guidance_t *g, const fsw_engines_t *e, fsw_control_t *c)
{
  const fsw_control_params_t *p = w->p;
  uint32_t lit = e ? e->lit_mask : 0u, rising = e ? (uint32_t)(e->starting_mask & ~e->lit_mask) : 0u;
  double want = fsw_clamp(g->thrust_cmd_n, 0.0, 1e9);
  uint8_t sat = 0;
  for (int k = 0; k < 9; k++) c->throttle[k] = 0.0;
  if (want <= 0.0) return 0;
  if (fsw_share_thrust(p, w->s->effect, lit, want, w->pr, c->throttle)) sat = SAT_THROTTLE;
  /* engines still starting, or not yet commanded, get the share they will have */
  double after[9] = { 0 }, good[9];
  for (int k = 0; k < 9; k++) good[k] = 1.0;
  if (rising) {
    (void)fsw_share_thrust(p, good, lit | rising, want, w->pr, after);
  } else if (lit == 0) {
    double n = g->engines ? (double)g->engines : 1.0;
    double full = fsw_engine_thrust_n(1.0, w->pr, p->thrust_sl_n, p->thrust_vac_n);
    for (int k = 0; k < 9; k++) after[k] = fsw_clamp(want / (n * full), p->throttle_min, 1.0);
    rising = 0x1ffu;
  }
  for (int k = 0; k < 9; k++) {
    if (rising >> k & 1u) c->throttle[k] = after[k];
  }
  return sat;
}

static void write_actuators(work_t *w, fsw_io_t *io)
{
  fsw_control_state_t *s = w->s;
  fsw_tvc_cmd_t *tvc = io->out[OUT_TVC];
  fsw_fin_cmd_t *fins = io->out[OUT_FINS];
  fsw_rcs_cmd_t *rcs = io->out[OUT_RCS];
  s->counter++;
  __builtin_memset(tvc, 0, sizeof *tvc);
  for (uint32_t j = 0; j < w->n_pairs; j++) {
    int k = w->engine_of[j];
    tvc->gimbal_rad[2 * k] = w->alloc.u[2 * j];
    tvc->gimbal_rad[2 * k + 1] = w->alloc.u[2 * j + 1];
  }
  tvc->counter = s->counter;
  if (fins) {
    __builtin_memset(fins, 0, sizeof *fins);
    for (uint32_t j = 2 * w->n_pairs; j < w->alloc.n; j++) fins->fin_rad[j - 2 * w->n_pairs] = w->alloc.u[j];
    fins->counter = s->counter;
  }
  if (rcs) {
    rcs->on_mask = s->on_mask;
    rcs->counter = s->counter;
  }
}

static int usable(const fsw_nav_t *nav, const fsw_guidance_t *g)
{
  static const double none[4] = { 0.0, 0.0, 0.0, 0.0 };
  return finite_or(nav->q_bl, 4, none) != none && finite_or(nav->omega_bl_b, 3, none) != none &&
         finite_or(nav->v_bl_l, 3, none) != none && finite_or(nav->r_bl_l, 3, none) != none &&
         finite_or(g->q_cmd_bl, 4, none) != none;
}

static int32_t step(fsw_io_t *io)
{
  const fsw_nav_t *nav = io->in[IN_NAV];
  const fsw_guidance_t *g = io->in[IN_GUIDANCE];
  const fsw_engines_t *e = io->in[IN_ENGINES];
  fsw_control_t *c = io->out[OUT_CONTROL];
  work_t w;
  if (e && io->in_head[IN_ENGINES]->tick < 0) e = NULL;
  __builtin_memset(c, 0, sizeof *c);
  c->t_ns = io->t_ns;
  w.p = io->params;
  w.s = io->state;
  w.dt_s = fsw_max((double)io->dt_ns * 1e-9, 1e-6);
  w.alloc.n = 0;
  w.n_pairs = 0;
  int ready = io->in_head[IN_NAV]->tick >= 0 && io->in_head[IN_GUIDANCE]->tick >= 0 && usable(nav, g);
  if (!ready || g->phase == FSW_PHASE_LANDED || g->phase == FSW_PHASE_IDLE) { /* neutral: centred, closed, no throttle */
    w.s->on_mask = 0;
    __builtin_memset(w.s->dir, 0, sizeof w.s->dir);
    __builtin_memset(w.s->wi, 0, sizeof w.s->wi);
    write_actuators(&w, io);
    return 0;
  }
  if (w.p->notch_hz > 0.0 && !w.s->ready) notch_design(w.s, w.p, w.dt_s);
  air(&w, nav);
  follow_engines(&w, e);
  fsw_mass_props(w.p, w.s->propellant_kg, &w.mp);
  build_columns(&w);
  limits(&w);
  c->saturated = steer(&w, nav, g, c);
  c->saturated |= throttles(&w, g, e, c);
  for (int k = 0; k < 9; k++) c->thrust_est_n += w.thrust_n[k];
  write_actuators(&w, io);
  return 0;
}

static const fsw_port_t READS[] = { FSW_READ("nav", fsw_nav_t), FSW_READ("guidance", fsw_guidance_t),
                                    FSW_READ_OPT("engines", fsw_engines_t) };
static const fsw_port_t WRITES[] = { FSW_WRITE("tvc", fsw_tvc_cmd_t), FSW_WRITE_OPT("fins", fsw_fin_cmd_t),
                                     FSW_WRITE_OPT("rcs", fsw_rcs_cmd_t), FSW_WRITE("control", fsw_control_t) };
FSW_TASK(fsw_task_gnc_control, "gnc.control", step, fsw_control_init, fsw_control_state_t, fsw_control_params_t, READS, WRITES,
         "Attitude control with allocation over gimbals, fins and thrusters, and a throttle per engine.");
