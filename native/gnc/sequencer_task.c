/* sequencer_task.c - the task gnc.sequencer: measurements in, engines stepped, commands out. See sequencer.h. */
#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/sequencer.h"
#include "flightsw/vec.h"

enum { IN_GUIDANCE, IN_NAV, IN_TOUCHDOWN, IN_CONTROL, IN_STATUS };
enum { OUT_CMD = 0, OUT_ENGINES = 9, OUT_EVENTS = 10 };
enum { STOP_LANDED = 1, STOP_ABORT = 2 };
#define G0 9.80665

typedef struct { /* one step at work */
  fsw_io_t *io;
  fsw_sequencer_state_t *s;
  const fsw_sequencer_params_t *p;
  const fsw_guidance_t *g;
  const fsw_control_t *control;
  fsw_events_t *ev;
  fsw_events_t none;       /* where events go when nobody listens */
  uint32_t n;
  double dt_s;
  double mass_kg;
  double full_n;           /* N, one engine at full throttle here */
  double drag_a;           /* m/s2, drag with engines off */
  double plume;            /* 1, share of it left now */
  double lit_a;            /* m/s2, thrust of confirmed engines over mass */
  uint32_t accel_ok;       /* navigation can be believed */
  uint32_t lit, starting, ready, available;
  uint8_t advance, stop, wanted;
} work_t;

static uint32_t bit_of(uint32_t mask, uint32_t k) { return mask >> k & 1u; }

static uint32_t count(uint32_t mask)
{
  uint32_t n = 0;
  for (; mask; mask &= mask - 1) n++;
  return n;
}

void fsw_sequencer_init(void *state, const void *params)
{
  fsw_sequencer_state_t *s = state;
  const fsw_sequencer_params_t *p = params;
  for (uint32_t k = 0; k < 9; k++) fsw_seq_engine_init(&s->engine[k]);
  for (uint32_t k = 0; k < p->n_engines && k < 9; k++) {
    if (!bit_of(p->init_engines_on, k)) continue;
    s->engine[k].state = FSW_ENGINE_MAIN;
    s->engine[k].flags = FSW_SEQ_LIT;
    s->engine[k].valves = FSW_VALVE_FUEL | FSW_VALVE_OX;
    s->engine[k].starts = 1;
    s->engine[k].check = fsw_seq_check_word(&s->engine[k]);
    s->run_mask |= (uint16_t)(1u << k);
    s->throttle[k] = s->expect[k] = p->throttle_start;
  }
  s->propellant_kg = p->propellant_kg;
  s->scale = 1.0;
  fsw_seq_cluster_init(s, p);
}

/* Step length is known when the first tick tells its period. */
static void prepare(work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  if (s->limits.step_s > 0.0) return;
  fsw_seq_limits(w->p, w->dt_s, &s->limits);
  s->stale_steps = (uint16_t)fsw_clamp(w->p->stale_s / w->dt_s + 0.5, 1.0, 60000.0);
  s->weak_steps = (uint16_t)fsw_clamp(0.5 / w->dt_s, 1.0, 60000.0);
  s->wait_steps = (uint16_t)fsw_clamp(w->p->spare_wait_s / w->dt_s + 0.5, 0.0, 60000.0);
  for (uint32_t k = 0; k < 9; k++) s->age[k] = s->stale_steps;
}

static const fsw_engine_status_t *status_of(const work_t *w, uint32_t k) { return w->io->in[IN_STATUS + k]; }

static void note_ages(work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  for (uint32_t k = 0; k < w->n; k++) {
    const fsw_engine_status_t *m = status_of(w, k);
    if (m && w->io->in_head[IN_STATUS + k]->tick >= 0 && m->seq != s->status_seq[k]) {
      s->status_seq[k] = m->seq;
      s->age[k] = 0;
    } else if (s->age[k] < s->stale_steps) {
      s->age[k]++;
    }
  }
}

static void masks(work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  w->lit = w->starting = w->ready = w->available = 0;
  for (uint32_t k = 0; k < w->n; k++) {
    const fsw_seq_engine_t *e = &s->engine[k];
    uint32_t bit = 1u << k;
    if (e->state == FSW_ENGINE_MAIN) w->lit |= bit;
    else if (e->state >= FSW_ENGINE_IGNITER && e->state <= FSW_ENGINE_RISE) w->starting |= bit;
    else if (e->state != FSW_ENGINE_INHIBITED && bit_of(s->startable_mask, k) && !(w->p->engine_inhibited[k] > 0.5) &&
             fsw_seq_startable(e, &s->limits)) {
      w->available |= bit;
      if (e->flags & FSW_SEQ_READY) w->ready |= bit;
    }
  }
}

/* Mass, air and what the acceleration should be. */
static void model(work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  const fsw_sequencer_params_t *p = w->p;
  const fsw_nav_t *nav = w->io->in[IN_NAV];
  w->mass_kg = p->mass_dry_kg + s->propellant_kg;
  w->accel_ok = w->io->in_head[IN_NAV]->tick >= 0 && nav->valid && fsw_isfinite(nav->f_b[0]);
  double h = p->site_height_m, v2 = 0.0;
  if (w->accel_ok) {
    h += nav->r_bl_l[2];
    v2 = fsw_v3_dot(nav->v_bl_l, nav->v_bl_l);
  }
  double pr = fsw_exp(-fsw_clamp(h, -2000.0, 200000.0) / p->scale_height_m);
  double vac = p->thrust_vac_n > 0.0 ? p->thrust_vac_n : p->thrust_sl_n;
  w->full_n = vac - (vac - p->thrust_sl_n) * pr;
  w->drag_a = fsw_min(0.5 * p->rho0_kg_m3 * pr * v2 * p->drag_area_m2 / w->mass_kg, 1e3);
  if (!fsw_isfinite(w->drag_a)) w->accel_ok = 0;
  double thrust = 0.0, ramp = 0.0, flow = 0.0;
  for (uint32_t k = 0; k < w->n; k++) {
    flow += s->thrust_n[k];
    if (!(w->lit >> k & 1u)) continue;
    thrust += s->thrust_n[k];
    ramp = fsw_max(ramp, fsw_clamp(s->pc[k] / fsw_max(s->expect[k], 0.1), 0.0, 1.0));
  }
  w->lit_a = thrust / w->mass_kg;
  w->plume = 1.0 - (1.0 - p->plume_factor) * ramp;
  s->propellant_kg = fsw_max(0.0, s->propellant_kg - flow * w->dt_s / (p->isp_sl_s * G0));
  if (!w->accel_ok) return;
  double a = p->accel_tau_s > 0.0 ? w->dt_s / (p->accel_tau_s + w->dt_s) : 1.0;
  s->f_x += a * (nav->f_b[0] - s->f_x);
  double rest = s->f_x - w->lit_a - w->drag_a * w->plume;
  if (w->starting == 0) s->f_0 += 0.1 * (rest - s->f_0);
  /* where drag is small, acceleration tells the thrust scale */
  if (w->starting == 0 && w->lit_a > 3.0 && w->drag_a < 1.0) {
    double k = s->scale * (s->f_x - w->drag_a * w->plume) / w->lit_a;
    s->scale += w->dt_s * (fsw_clamp(k, 1.0 - p->accel_trust_share, 1.0 + p->accel_trust_share) - s->scale);
  }
}

/* Did the specific force rise by more than the other starting engines explain? */
static uint8_t rose(const work_t *w, uint32_t k)
{
  const fsw_sequencer_state_t *s = w->s;
  if (!w->accel_ok) return 0;
  double delta = s->f_x - w->lit_a - w->drag_a * w->plume - s->f_0;
  for (uint32_t j = 0; j < w->n; j++) {
    if (j != k && (w->starting >> j & 1u)) delta -= fsw_max(s->pc[j], 0.0) * w->full_n / w->mass_kg;
  }
  return delta > fsw_max(w->p->accel_lit_m_s2, 0.06 * w->drag_a);
}

/* Specific force with and without engine k; between them, by a margin for drag and thrust, nothing is said. */
static uint8_t witness(const work_t *w, uint32_t k)
{
  const fsw_sequencer_state_t *s = w->s;
  if (!w->accel_ok) return FSW_SEQ_ACCEL_UNKNOWN;
  const fsw_seq_engine_t *e = &s->engine[k];
  double u = e->t_main < s->limits.grace ? fsw_min(s->expect[k], 0.001 * (double)e->peak) : s->expect[k];
  double mine = u * w->full_n / w->mass_kg, others = 0.0;
  for (uint32_t j = 0; j < w->n; j++) others += j != k && (w->lit >> j & 1u) ? s->thrust_n[j] / w->mass_kg : 0.0;
  double bare = others > 0.0 ? w->p->plume_factor : 1.0, share = fsw_clamp(u / fsw_max(s->expect[k], 0.1), 0.0, 1.0);
  double with = mine + others + w->drag_a * fsw_min(bare, 1.0 - (1.0 - w->p->plume_factor) * share);
  double without = others + w->drag_a * bare;
  double margin = fsw_max(0.5 * (with - without), 1.0 + 0.2 * w->drag_a + 0.05 * (mine + others));
  if (s->f_x < with - margin) return FSW_SEQ_ACCEL_LOST;
  if (s->f_x > without + margin) return FSW_SEQ_ACCEL_HEALTHY;
  return FSW_SEQ_ACCEL_UNKNOWN;
}

static double throttle_for(const work_t *w, uint32_t k)
{
  const fsw_sequencer_params_t *p = w->p;
  double u = p->throttle_start;
  if (w->control) {
    if (w->control->throttle[k] > 0.0) u = w->control->throttle[k];
    else if (w->lit >> k & 1u) u = p->throttle_min;
  } else if (w->g->thrust_cmd_n > 0.0) {
    uint32_t n = count(w->lit | w->starting);
    u = w->g->thrust_cmd_n / (w->full_n * (n ? (double)n : 1.0));
  }
  return fsw_clamp(u, p->throttle_min, 1.0);
}

/* A pair that replaces failed engines is told as such, in the step in which it starts. */
static void tell_spares(work_t *w, uint32_t fresh)
{
  uint32_t a = 0, b, failed = 0;
  if (count(fresh) != 2 || (fresh & ~w->ready)) return;
  for (uint32_t k = 0; k < w->n; k++) failed |= w->s->engine[k].flags & FSW_SEQ_FAILED;
  if (!failed) return;
  while (!(fresh >> a & 1u)) a++;
  for (b = a + 1; !(fresh >> b & 1u);) b++;
  fsw_event(w->ev, w->io->t_ns, FSW_EVENT_SPARES, 0, (double)a, (double)b);
}

static void choose(work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  uint32_t running = s->run_mask & (w->lit | w->starting);
  uint32_t target = fsw_seq_choose(s, w->wanted, (w->available & w->ready) | running, running, w->lit);
  if (count(target) < w->wanted) target = fsw_seq_choose(s, w->wanted, w->available | running, running, w->lit);
  if (count(target) >= w->wanted) {
    s->short_steps = 0;
    s->told = 0;
  } else {
    if (s->short_steps < 65535 && w->advance) s->short_steps++;
    if (s->short_steps > s->wait_steps && (w->available & ~target) == 0 && !s->told) {
      s->told = 1;
      fsw_event(w->ev, w->io->t_ns, FSW_EVENT_NO_SPARES, 0, 0.0, 0.0);
    }
  }
  tell_spares(w, target & ~running);
  s->run_mask = (uint16_t)target;
}

static void fill(const work_t *w, uint32_t k, uint32_t together, uint32_t prepare_all, fsw_seq_in_t *in)
{
  const fsw_sequencer_state_t *s = w->s;
  const fsw_engine_status_t *m = status_of(w, k);
  __builtin_memset(in, 0, sizeof *in);
  in->advance = w->advance;
  in->abort = w->stop & STOP_ABORT ? 1 : 0;
  in->inhibit = w->p->engine_inhibited[k] > 0.5;
  in->fresh = m && s->age[k] < s->stale_steps;
  in->expect = s->expect[k];
  if (bit_of(s->run_mask, k)) in->want = ((w->lit | w->starting) >> k & 1u) || together ? FSW_SEQ_WANT_RUN : FSW_SEQ_WANT_READY;
  else in->want = prepare_all && bit_of(s->startable_mask, k) ? FSW_SEQ_WANT_READY : FSW_SEQ_WANT_OFF;
  if (m) {
    double inv = 1.0 / w->p->pc_nominal_pa;
    in->pc_a = m->pc_a_pa * inv;
    in->pc_b = m->pc_b_pa * inv;
    in->inlet_pa = m->inlet_pa;
    in->chill_k = m->chill_k;
    in->valid = m->valid != 0;
    in->igniter_ok = m->igniter_ok != 0;
    in->fire = in->fresh && m->valid && m->fire;
  }
  if (s->engine[k].state == FSW_ENGINE_RISE) in->accel_rose = rose(w, k);
  if (s->engine[k].state == FSW_ENGINE_MAIN) in->accel = witness(w, k);
}

/* Thrust from pressure; where pressure says nothing while acceleration vouches for the engine, from its throttle. */
static void estimate(work_t *w, uint32_t k, const fsw_seq_in_t *in, double pc)
{
  fsw_sequencer_state_t *s = w->s;
  const fsw_seq_engine_t *e = &s->engine[k];
  if (e->state == FSW_ENGINE_MAIN && in->accel == FSW_SEQ_ACCEL_HEALTHY && pc < w->p->dead_share * s->expect[k]) pc = s->expect[k];
  s->pc[k] = fsw_clamp(pc, 0.0, 8.0);
  int burning = e->state >= FSW_ENGINE_RISE && e->state <= FSW_ENGINE_SHUTDOWN && pc >= w->p->rise_share;
  s->thrust_n[k] = burning ? fsw_min(s->pc[k], 1.5) * w->full_n * s->scale : 0.0;
  if (e->state != FSW_ENGINE_MAIN || e->t_main < s->limits.grace) {
    s->weak[k] = 0;
    return;
  }
  double promised = s->expect[k] * w->full_n;
  if (s->thrust_n[k] >= w->p->low_thrust_share * promised) s->weak[k] = 0;
  else if (s->weak[k] <= s->weak_steps && s->weak[k]++ == s->weak_steps) {
    fsw_event(w->ev, w->io->t_ns, FSW_EVENT_LOW_THRUST, (uint16_t)k, 100.0 * s->thrust_n[k] / fsw_max(promised, 1.0), 0.0);
  }
}

static void command(work_t *w, uint32_t k, uint8_t valves, double throttle)
{
  fsw_engine_cmd_t *c = w->io->out[OUT_CMD + k];
  if (!c) return;
  __builtin_memset(c, 0, sizeof *c);
  c->throttle = throttle;
  c->counter = w->s->counter;
  c->valves = valves;
  w->io->publish |= 1u << (OUT_CMD + k);
}

static void step_engine(work_t *w, uint32_t k, uint32_t together, uint32_t prepare_all)
{
  fsw_sequencer_state_t *s = w->s;
  fsw_seq_engine_t *e = &s->engine[k];
  fsw_seq_in_t in;
  fsw_seq_out_t out;
  uint8_t before = e->valves;
  int idle = e->state == FSW_ENGINE_OFF && !bit_of(s->run_mask, k) && !w->stop && !(w->p->engine_inhibited[k] > 0.5) &&
             !(prepare_all && bit_of(s->startable_mask, k));
  if (idle) {
    if (w->advance) command(w, k, 0, 0.0);
    return;
  }
  fill(w, k, together, prepare_all, &in);
  fsw_seq_step(e, &in, &s->limits, &out);
  for (uint32_t i = 0; i < out.n_events; i++) fsw_event(w->ev, w->io->t_ns, out.code[i], (uint16_t)k, out.arg0[i], out.arg1[i]);
  int active = e->state >= FSW_ENGINE_IGNITER && e->state <= FSW_ENGINE_MAIN;
  s->throttle[k] = active ? throttle_for(w, k) : 0.0;
  if (w->advance) {
    estimate(w, k, &in, out.pc);
    double lag = e->state == FSW_ENGINE_MAIN ? w->dt_s / (w->p->throttle_lag_s + w->dt_s) : 1.0;
    s->expect[k] += lag * (s->throttle[k] - s->expect[k]);
  }
  if (w->advance || out.valves != before) command(w, k, out.valves, s->throttle[k]);
}

static void publish_engines(work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  fsw_engines_t *o = w->io->out[OUT_ENGINES];
  masks(w);
  __builtin_memset(o, 0, sizeof *o);
  o->t_ns = w->io->t_ns;
  for (uint32_t k = 0; k < w->n; k++) {
    const fsw_seq_engine_t *e = &s->engine[k];
    uint16_t bit = (uint16_t)(1u << k);
    o->pc_pa[k] = s->pc[k] * w->p->pc_nominal_pa;
    o->thrust_n[k] = s->thrust_n[k];
    o->throttle[k] = s->throttle[k];
    o->state[k] = e->state;
    o->starts[k] = e->starts;
    if (e->flags & FSW_SEQ_FAILED) o->failed_mask |= bit;
    if (e->state == FSW_ENGINE_INHIBITED || (e->flags & (FSW_SEQ_FIRE | FSW_SEQ_ABORTED))) o->inhibited_mask |= bit;
  }
  o->lit_mask = (uint16_t)w->lit;
  o->starting_mask = (uint16_t)w->starting;
  o->spares_left = (uint8_t)count(w->available & ~(uint32_t)s->run_mask);
  w->io->publish |= 1u << OUT_ENGINES;
}

static void work(work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  prepare(w);
  if (w->advance) note_ages(w);
  masks(w);
  if (w->advance) model(w);
  if (w->stop) s->run_mask = 0;
  else choose(w);
  uint32_t fresh = s->run_mask & ~(w->lit | w->starting);
  uint32_t together = (fresh & ~w->ready) == 0;
  uint32_t prepare_all = !w->stop && (w->wanted > 0 || (w->g->phase >= w->p->ready_phase && w->g->phase <= FSW_PHASE_BURN));
  s->counter++;
  for (uint32_t k = 0; k < w->n; k++) step_engine(w, k, together, prepare_all);
  s->wanted = w->wanted;
  s->stop = w->stop;
  publish_engines(w);
}

static uint8_t stop_wish(const fsw_io_t *io, const fsw_guidance_t *g)
{
  const fsw_touchdown_t *t = io->in[IN_TOUCHDOWN];
  uint8_t landed = t && io->in_head[IN_TOUCHDOWN]->tick >= 0 && t->landed ? STOP_LANDED : 0;
  return (uint8_t)(landed | (g->phase == FSW_PHASE_ABORT && g->engines == 0 ? STOP_ABORT : 0));
}

static int32_t step(fsw_io_t *io)
{
  fsw_sequencer_state_t *s = io->state;
  const fsw_sequencer_params_t *p = io->params;
  static const fsw_guidance_t silent = { 0 };
  const fsw_guidance_t *g = io->in_head[IN_GUIDANCE]->tick >= 0 ? io->in[IN_GUIDANCE] : &silent;
  fsw_events_t *ev = io->out[OUT_EVENTS];
  io->publish = 0;
  if (ev) ev->count = 0;
  uint8_t stop = stop_wish(io, g), wanted = g->engines <= 9 ? g->engines : 9;
  s->phase_step++;
  uint8_t advance = s->phase_step >= p->step_ticks;
  if (!advance && stop == s->stop && wanted == s->wanted && s->limits.step_s > 0.0) return 0;
  work_t w;
  w.io = io;
  w.s = s;
  w.p = p;
  w.g = g;
  w.stop = stop;
  w.wanted = wanted;
  w.advance = advance;
  w.n = p->n_engines <= 9 ? p->n_engines : 9;
  w.dt_s = fsw_max((double)io->dt_ns * 1e-9 * (double)p->step_ticks, 1e-6);
  w.none.count = w.none.lost = 0;
  w.ev = ev ? ev : &w.none;
  w.control = io->in[IN_CONTROL] && io->in_head[IN_CONTROL]->tick >= 0 ? io->in[IN_CONTROL] : NULL;
  w.full_n = p->thrust_sl_n;
  w.mass_kg = p->mass_dry_kg + s->propellant_kg;
  w.drag_a = w.lit_a = 0.0;
  w.plume = 1.0;
  w.accel_ok = 0;
  if (advance) s->phase_step = 0;
  work(&w);
  if (ev && ev->count) io->publish |= 1u << OUT_EVENTS;
  return 0;
}

static const fsw_port_t READS[] = { FSW_READ("guidance", fsw_guidance_t), FSW_READ("nav", fsw_nav_t),
                                    FSW_READ_OPT("touchdown", fsw_touchdown_t), FSW_READ_OPT("control", fsw_control_t),
                                    FSW_READ_N("engine_status", fsw_engine_status_t, 9, 1) };
static const fsw_port_t WRITES[] = { FSW_WRITE_N("engine_cmd", fsw_engine_cmd_t, 9, 1), FSW_WRITE("engines", fsw_engines_t),
                                     FSW_WRITE_OPT("seq_events", fsw_events_t) };
FSW_TASK(fsw_task_gnc_sequencer, "gnc.sequencer", step, fsw_sequencer_init, fsw_sequencer_state_t, fsw_sequencer_params_t, READS,
         WRITES, "Starts, watches and shuts down the engines, and chooses which of them run.");
