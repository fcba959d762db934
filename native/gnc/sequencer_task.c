/* sequencer_task.c - the task gnc.sequencer: measurements in, engines stepped, commands out. See sequencer.h. */
#include "flightsw/events.h"
#include "flightsw/math.h"
#include "sequencer_internal.h"

#define WEAK_S 0.5 /* thrust below its command for so long is told */
#define STEP_TOLERANCE 1e-6

static uint8_t main_row(const fsw_seq_table_t *table)
{
  uint8_t row = FSW_SEQ_ROW_FIRST;
  while (table->row[row].role != FSW_ENGINE_MAIN) row++; /* a table that can be executed has one */
  return row;
}

static void already_running(fsw_sequencer_state_t *s, const fsw_sequencer_params_t *p, uint32_t k)
{
  fsw_seq_engine_t *e = &s->engine[k];
  e->row = main_row(&s->table);
  e->flags = FSW_SEQ_LIT;
  e->valves = s->table.row[e->row].valves;
  e->starts = 1;
  e->check = fsw_seq_check_word(e);
  s->run_mask |= (uint16_t)(1u << k);
  s->throttle[k] = s->expect[k] = p->throttle_start;
}

static uint16_t steps16(double seconds, double step_s, double least) { return (uint16_t)fsw_clamp(seconds / step_s + 0.5, least, 60000.0); }

void fsw_sequencer_init(void *state, const void *params)
{
  fsw_sequencer_state_t *s = state;
  const fsw_sequencer_params_t *p = params;
  s->bad_table = fsw_seq_table(p, p->seq_step_s, &s->table, &s->limits) != 0;
  s->stale_steps = steps16(p->stale_s, p->seq_step_s, 1.0);
  s->weak_steps = steps16(WEAK_S, p->seq_step_s, 1.0);
  s->wait_steps = steps16(p->spare_wait_s, p->seq_step_s, 0.0);
  for (uint32_t k = 0; k < 9; k++) {
    fsw_seq_engine_init(&s->engine[k]);
    fsw_seq_sense_init(&s->sense[k]);
    s->age[k] = s->stale_steps;
    if (k < p->n_engines && bit_of(p->init_engines_on, k) && !s->bad_table) already_running(s, p, k);
  }
  s->propellant_kg = p->propellant_kg;
  s->scale = 1.0;
  fsw_seq_cluster_init(s, p);
}

static const fsw_engine_status_t *status_of(const fsw_seq_work_t *w, uint32_t k) { return w->io->in[IN_STATUS + k]; }

static void note_ages(fsw_seq_work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  for (uint32_t k = 0; k < w->n; k++) {
    const fsw_engine_status_t *m = status_of(w, k);
    if (m && m->seq != s->status_seq[k]) { /* a controller counts from 1 */
      s->status_seq[k] = m->seq;
      s->age[k] = 0;
    } else if (s->age[k] < s->stale_steps) {
      s->age[k]++;
    }
  }
}

/* May be started by this task, now or after getting ready. */
static int to_be_had(const fsw_seq_work_t *w, uint32_t k, uint32_t role)
{
  if (role == FSW_ENGINE_INHIBITED || !bit_of(w->s->startable_mask, k) || w->p->engine_inhibited[k] > 0.5) return 0;
  return fsw_seq_startable(&w->s->engine[k], &w->s->table) != 0;
}

static void masks(fsw_seq_work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  w->lit = w->starting = w->ready = w->available = 0;
  for (uint32_t k = 0; k < w->n; k++) {
    const fsw_seq_engine_t *e = &s->engine[k];
    uint32_t bit = 1u << k, role = fsw_seq_role(e, &s->table);
    if (role == FSW_ENGINE_MAIN) w->lit |= bit;
    else if (starting_role(role)) w->starting |= bit;
    else if (to_be_had(w, k, role)) {
      w->available |= bit;
      if (e->flags & FSW_SEQ_READY) w->ready |= bit;
    }
  }
}

static double throttle_for(const fsw_seq_work_t *w, uint32_t k)
{
  const fsw_sequencer_params_t *p = w->p;
  double u = p->throttle_start;
  if (w->control) {
    if (w->control->throttle[k] > 0.0) u = w->control->throttle[k];
    else if (bit_of(w->lit, k)) u = p->throttle_min;
  } else if (w->g->thrust_cmd_n > 0.0) {
    uint32_t n = count(w->lit | w->starting);
    u = w->g->thrust_cmd_n / (w->full_n * (n ? (double)n : 1.0));
  }
  return fsw_clamp(u, p->throttle_min, 1.0);
}

/* A pair that replaces failed engines is told as such, in the step in which it starts. */
static void tell_spares(fsw_seq_work_t *w, uint32_t fresh)
{
  uint32_t a = 0, b, failed = 0;
  if (count(fresh) != 2 || (fresh & ~w->ready)) return;
  for (uint32_t k = 0; k < w->n; k++) failed |= w->s->engine[k].flags & FSW_SEQ_FAILED;
  if (!failed) return;
  while (!(fresh >> a & 1u)) a++;
  for (b = a + 1; !(fresh >> b & 1u);) b++;
  fsw_event(w->ev, w->io->t_ns, FSW_EVENT_SPARES, 0, (double)a, (double)b);
}

static void choose(fsw_seq_work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  uint32_t running = s->run_mask & (w->lit | w->starting);
  uint32_t target = fsw_seq_choose(s, w->wanted, (w->available & w->ready) | running, running, w->lit);
  if (count(target) < w->wanted) target = fsw_seq_choose(s, w->wanted, w->available | running, running, w->lit);
  if (count(target) >= w->wanted) {
    s->short_steps = 0;
    s->told = 0;
  } else {
    if (w->advance && s->short_steps <= s->wait_steps) s->short_steps++;
    if (s->short_steps > s->wait_steps && (w->available & ~target) == 0 && !s->told) {
      s->told = 1;
      fsw_event(w->ev, w->io->t_ns, FSW_EVENT_NO_SPARES, 0, 0.0, 0.0);
    }
  }
  if (!w->permitted) target &= w->lit | w->starting;
  tell_spares(w, target & ~running);
  s->run_mask = (uint16_t)target;
}

static void measure(const fsw_seq_work_t *w, uint32_t k, fsw_seq_measured_t *in)
{
  const fsw_sequencer_state_t *s = w->s;
  const fsw_engine_status_t *m = status_of(w, k);
  uint32_t role = fsw_seq_role(&s->engine[k], &s->table);
  __builtin_memset(in, 0, sizeof *in);
  in->expect = s->expect[k];
  in->axial_m_s2 = s->f_x;
  if (m) {
    double inv = 1.0 / w->p->pc_nominal_pa;
    in->fresh = s->age[k] < s->stale_steps;
    in->pc_a = m->pc_a_pa * inv;
    in->pc_b = m->pc_b_pa * inv;
    in->inlet_pa = m->inlet_pa;
    in->pump_k = m->chill_k;
    in->throttle = m->throttle;
    in->valid = m->valid != 0;
    in->igniter_ok = m->igniter_ok != 0;
    in->fire = in->fresh && m->valid && m->fire;
  }
  if (starting_role(role)) in->accel_rose = fsw_seq_rose(w, k);
  if (role == FSW_ENGINE_MAIN) in->accel = fsw_seq_witness(w, k);
}

/* What engine k is told to do, as bits for its sequence. */
static uint32_t orders(const fsw_seq_work_t *w, uint32_t k, uint32_t together, uint32_t prepare_all)
{
  uint32_t is = w->advance ? FSW_SEQ_CMD_ADVANCE : 0u;
  if (w->stop & STOP_ABORT || w->s->bad_table) is |= FSW_SEQ_CMD_ABORT;
  if (w->p->engine_inhibited[k] > 0.5) is |= FSW_SEQ_CMD_INHIBIT;
  if (bit_of(w->s->run_mask, k)) return is | (bit_of(w->lit | w->starting, k) || together ? FSW_SEQ_CMD_RUN : FSW_SEQ_CMD_READY);
  return prepare_all && bit_of(w->s->startable_mask, k) ? is | FSW_SEQ_CMD_READY : is;
}

static void command(fsw_seq_work_t *w, uint32_t k, uint8_t valves, double throttle)
{
  fsw_engine_cmd_t *c = w->io->out[OUT_CMD + k];
  if (!c) return;
  __builtin_memset(c, 0, sizeof *c);
  c->throttle = throttle;
  c->counter = w->s->counter;
  c->valves = valves;
  w->io->publish |= 1u << (OUT_CMD + k);
}

/* The story of a step, with the numbers behind it. */
static void tell(fsw_seq_work_t *w, uint32_t k, const fsw_seq_out_t *out)
{
  const fsw_sequencer_state_t *s = w->s;
  const fsw_seq_engine_t *e = &s->engine[k];
  double mpa = s->sense[k].pc * w->p->pc_nominal_pa * 1e-6, since = (double)out->t_start * w->dt_s;
  for (uint32_t i = 0; i < out->n_events; i++) {
    double arg0 = mpa, arg1 = since;
    switch (out->code[i]) {
      case FSW_EVENT_ENGINE_START: arg0 = (double)e->starts; arg1 = 0.0; break;
      case FSW_EVENT_ENGINE_DIED: arg1 = (double)s->sense[k].t_main * w->dt_s; break;
      case FSW_EVENT_ENGINE_INHIBITED: arg0 = (double)e->cause; arg1 = 0.0; break;
      case FSW_EVENT_ENGINE_ABORT: arg0 = (double)s->table.row[out->from].role; arg1 = (double)e->cause; break;
      default: break;
    }
    fsw_event(w->ev, w->io->t_ns, out->code[i], (uint16_t)k, arg0, arg1);
  }
}

/* A sample of time: what is measured, and what it means. */
static void sample(fsw_seq_work_t *w, uint32_t k, fsw_seq_measured_t *in)
{
  fsw_sequencer_state_t *s = w->s;
  fsw_seq_sense_t *q = &s->sense[k];
  uint8_t before = q->flags;
  measure(w, k, in);
  s->is[k] = fsw_seq_sense(q, &s->engine[k], in, &s->table, &s->limits);
  if (q->flags & ~before & FSW_SEQ_SENSE_DISAGREE) {
    fsw_event(w->ev, w->io->t_ns, FSW_EVENT_SENSOR_DISAGREE, (uint16_t)k, fsw_abs(in->pc_a - in->pc_b) * w->p->pc_nominal_pa * 1e-6,
              (double)q->sensor);
  }
}

static int running_role(uint32_t role) { return role >= FSW_ENGINE_IGNITER && role <= FSW_ENGINE_MAIN; }

/* Nothing is wanted of it, and it is whole: there is nothing to sense. */
static int idle(const fsw_seq_engine_t *e, uint32_t told)
{
  return e->row == FSW_SEQ_ROW_OFF && (told & ~FSW_SEQ_CMD_ADVANCE) == 0 && e->check == fsw_seq_check_word(e);
}

static void step_engine(fsw_seq_work_t *w, uint32_t k, uint32_t together, uint32_t prepare_all)
{
  fsw_sequencer_state_t *s = w->s;
  fsw_seq_engine_t *e = &s->engine[k];
  fsw_seq_measured_t in = { .accel = FSW_SEQ_ACCEL_UNKNOWN };
  fsw_seq_out_t out;
  uint8_t before = e->valves;
  uint32_t told = orders(w, k, together, prepare_all);
  if (idle(e, told)) {
    s->is[k] = told;
    if (w->advance) command(w, k, 0, 0.0);
    return;
  }
  if (w->advance) sample(w, k, &in);
  s->is[k] = (s->is[k] & FSW_SEQ_IS_MASK) | told;
  fsw_seq_step(e, s->is[k], &s->table, &out);
  tell(w, k, &out);
  s->throttle[k] = running_role(fsw_seq_role(e, &s->table)) ? throttle_for(w, k) : 0.0;
  if (w->advance) fsw_seq_follow(w, k, &in);
  if (w->advance || out.valves != before) command(w, k, out.valves, s->throttle[k]);
}

static void publish_engines(fsw_seq_work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  fsw_engines_t *o = w->io->out[OUT_ENGINES];
  masks(w);
  __builtin_memset(o, 0, sizeof *o);
  o->t_ns = w->io->t_ns;
  for (uint32_t k = 0; k < w->n; k++) {
    const fsw_seq_engine_t *e = &s->engine[k];
    uint16_t bit = (uint16_t)(1u << k);
    o->pc_pa[k] = s->sense[k].pc * w->p->pc_nominal_pa;
    o->thrust_n[k] = s->thrust_n[k];
    o->throttle[k] = s->throttle[k];
    o->holds[k] = s->is[k];
    o->state[k] = (uint8_t)fsw_seq_role(e, &s->table);
    o->starts[k] = e->starts;
    o->row[k] = e->row;
    o->cause[k] = e->cause;
    if (e->flags & FSW_SEQ_FAILED) o->failed_mask |= bit;
    if (o->state[k] == FSW_ENGINE_INHIBITED || (e->flags & (FSW_SEQ_FIRE | FSW_SEQ_ABORTED))) o->inhibited_mask |= bit;
  }
  o->lit_mask = (uint16_t)w->lit;
  o->starting_mask = (uint16_t)w->starting;
  o->spares_left = (uint8_t)count(w->available & ~(uint32_t)s->run_mask);
  w->io->publish |= 1u << OUT_ENGINES;
}

/* Idle engines are made ready ahead of need. */
static uint32_t make_ready(const fsw_seq_work_t *w)
{
  if (w->stop || !w->permitted) return 0;
  return w->wanted > 0 || (w->g->phase >= w->p->ready_phase && w->g->phase <= FSW_PHASE_BURN);
}

static void work(fsw_seq_work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  if (w->advance) note_ages(w);
  masks(w);
  if (w->advance) fsw_seq_model(w);
  if (w->stop) s->run_mask = 0;
  else choose(w);
  uint32_t fresh = s->run_mask & ~(w->lit | w->starting);
  uint32_t together = (fresh & ~w->ready) == 0, prepare_all = make_ready(w);
  s->counter++;
  for (uint32_t k = 0; k < w->n; k++) step_engine(w, k, together, prepare_all);
  s->wanted = w->wanted;
  s->stop = w->stop;
  s->permitted = w->permitted;
  publish_engines(w);
}

/* Payload of an optional input that is bound and has been written, else NULL. */
static const void *written(const fsw_io_t *io, uint32_t port)
{
  return io->in[port] && io->in_head[port]->tick >= 0 ? io->in[port] : NULL;
}

/* The wishes of others: guidance, touchdown, permit. */
static void read_wishes(fsw_seq_work_t *w)
{
  static const fsw_guidance_t silent = { 0 };
  const fsw_io_t *io = w->io;
  const fsw_touchdown_t *t = written(io, IN_TOUCHDOWN);
  const fsw_permit_t *permit = written(io, IN_PERMIT);
  uint8_t given = permit ? permit->state : FSW_PERMIT_SAFE;
  w->g = io->in_head[IN_GUIDANCE]->tick >= 0 ? io->in[IN_GUIDANCE] : &silent;
  w->wanted = w->g->engines <= 9 ? w->g->engines : 9;
  w->permitted = io->in[IN_PERMIT] == NULL || given == FSW_PERMIT_FIRE;
  w->stop = t && t->landed ? STOP_LANDED : 0;
  if (given == FSW_PERMIT_ABORT || (w->g->phase == FSW_PHASE_ABORT && w->wanted == 0)) w->stop |= STOP_ABORT;
}

/* Something to do between two steps of time. */
static int changed(const fsw_seq_work_t *w)
{
  return w->stop != w->s->stop || w->wanted != w->s->wanted || w->permitted != w->s->permitted;
}

static int32_t step(fsw_io_t *io)
{
  fsw_sequencer_state_t *s = io->state;
  const fsw_sequencer_params_t *p = io->params;
  fsw_events_t *ev = io->out[OUT_EVENTS];
  fsw_seq_work_t w = { .io = io, .s = s, .p = p, .n = p->n_engines <= 9 ? p->n_engines : 9, .plume = 1.0, .full_n = p->thrust_sl_n };
  w.dt_s = (double)io->dt_ns * 1e-9 * (double)p->step_ticks;
  if (fsw_abs(w.dt_s - p->seq_step_s) > STEP_TOLERANCE * p->seq_step_s) return FSW_SEQ_WRONG_STEP; /* not what was checked */
  io->publish = 0;
  if (ev) ev->count = 0;
  w.ev = ev ? ev : &w.none;
  w.control = written(io, IN_CONTROL);
  w.mass_kg = p->mass_dry_kg + s->propellant_kg;
  read_wishes(&w);
  s->phase_step++;
  w.advance = s->phase_step >= p->step_ticks;
  if (!w.advance && !changed(&w)) return 0;
  if (w.advance) s->phase_step = 0;
  work(&w);
  if (ev && ev->count) io->publish |= 1u << OUT_EVENTS;
  return 0;
}

static const fsw_port_t READS[] = { FSW_READ("guidance", fsw_guidance_t), FSW_READ("nav", fsw_nav_t),
                                    FSW_READ_OPT("touchdown", fsw_touchdown_t), FSW_READ_OPT("control", fsw_control_t),
                                    FSW_READ_OPT("permit", fsw_permit_t),
                                    FSW_READ_N("engine_status", fsw_engine_status_t, 9, 1) };
static const fsw_port_t WRITES[] = { FSW_WRITE_N("engine_cmd", fsw_engine_cmd_t, 9, 1), FSW_WRITE("engines", fsw_engines_t),
                                     FSW_WRITE_OPT("seq_events", fsw_events_t) };
FSW_TASK(fsw_task_gnc_sequencer, "gnc.sequencer", step, fsw_sequencer_init, fsw_sequencer_state_t, fsw_sequencer_params_t, READS,
         WRITES, "Starts, watches and shuts down the engines, and chooses which of them run.");
