/* sequencer_engine.c - one engine, one step: a pure function on 32 bytes. See sequencer.h. */
#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/sequencer.h"

_Static_assert(sizeof(fsw_seq_engine_t) == 32, "state of one engine");

typedef struct { /* what the two pressure sensors say together */
  double pc;          /* qualified */
  uint8_t a, b;       /* usable */
  uint8_t agree;
  uint8_t sensor;     /* in use when they disagree */
} press_t;

uint32_t fsw_seq_check_word(const fsw_seq_engine_t *s)
{
  const uint32_t w[7] = { /* from the fields, not from memory: the image is the same on a big-endian machine */
    s->t | (uint32_t)s->t_start << 16, s->igniter | (uint32_t)s->unburnt << 16, s->peak | (uint32_t)s->t_main << 16,
    s->state | (uint32_t)s->flags << 8 | (uint32_t)s->cause << 16 | (uint32_t)s->valves << 24,
    s->starts | (uint32_t)s->n_p << 8 | (uint32_t)s->n_r << 16 | (uint32_t)s->n_a << 24,
    s->n_low | (uint32_t)s->n_low1 << 8 | (uint32_t)s->n_red << 16 | (uint32_t)s->n_ok << 24,
    s->n_dis | (uint32_t)s->pad0 << 8 | (uint32_t)s->pad1 << 16 };
  uint32_t h = 0;
  for (int i = 0; i < 7; i++) h = (h << 5 | h >> 27) ^ w[i]; /* linear over bits: every single flip changes it */
  return h;
}

void fsw_seq_engine_init(fsw_seq_engine_t *s)
{
  __builtin_memset(s, 0, sizeof *s);
  s->check = fsw_seq_check_word(s);
}

uint32_t fsw_seq_startable(const fsw_seq_engine_t *s, const fsw_seq_limits_t *p)
{
  if (s->flags & (FSW_SEQ_FIRE | FSW_SEQ_ABORTED)) return 0;
  if ((s->flags & FSW_SEQ_FAILED) && (s->flags & FSW_SEQ_LIT)) return 0;
  return s->starts < p->max_starts;
}

static void count8(uint8_t *n, int yes) { *n = yes ? (uint8_t)(*n < 255 ? *n + 1 : 255) : 0; }
static void count16(uint16_t *n) { *n = (uint16_t)(*n < 65535 ? *n + 1 : 65535); }

static void say(fsw_seq_out_t *out, uint16_t code, double arg0, double arg1)
{
  uint8_t k = out->n_events;
  if (k >= FSW_SEQ_OUT_EVENTS) return;
  out->code[k] = code;
  out->arg0[k] = arg0;
  out->arg1[k] = arg1;
  out->n_events = (uint8_t)(k + 1);
}

static void enter(fsw_seq_engine_t *s, uint8_t state)
{
  s->state = state;
  s->t = 0;
  s->n_ok = 0;
  s->flags &= (uint8_t)~FSW_SEQ_READY;
}

static void inhibit(fsw_seq_engine_t *s, uint8_t cause, fsw_seq_out_t *out)
{
  if (s->state != FSW_ENGINE_INHIBITED || s->cause != cause) say(out, FSW_EVENT_ENGINE_INHIBITED, (double)cause, 0.0);
  if (s->state != FSW_ENGINE_INHIBITED) enter(s, FSW_ENGINE_INHIBITED);
  s->cause = cause;
  s->valves = 0;
}

/* Start of a shutdown; valves are closed by set_valves(). */
static void shut(fsw_seq_engine_t *s, uint8_t cause, uint8_t failed)
{
  s->cause = cause;
  if (failed) s->flags |= FSW_SEQ_FAILED;
  s->flags &= (uint8_t)~FSW_SEQ_AFTER;
  s->n_p = 0;
  enter(s, FSW_ENGINE_SHUTDOWN);
}

static void stop_start(fsw_seq_engine_t *s, uint8_t cause, fsw_seq_out_t *out)
{
  say(out, FSW_EVENT_ENGINE_ABORT, (double)s->state, (double)cause);
  shut(s, cause, 1);
}

static void begin_start(fsw_seq_engine_t *s, fsw_seq_out_t *out)
{
  s->starts++;
  if (s->flags & FSW_SEQ_FAILED) say(out, FSW_EVENT_RETRY, 0.0, 0.0);
  say(out, FSW_EVENT_ENGINE_START, (double)s->starts, 0.0);
  s->flags &= (uint8_t)~(FSW_SEQ_FAILED | FSW_SEQ_LIT | FSW_SEQ_LATE | FSW_SEQ_AFTER);
  s->t_start = s->igniter = s->unburnt = s->peak = s->t_main = 0;
  s->n_p = s->n_r = s->n_a = s->n_low = s->n_low1 = s->n_red = 0;
  enter(s, FSW_ENGINE_IGNITER);
}

static int in_range(double x) { return x >= -0.1 && x <= 8.0; } /* false for NaN */

/* Two sensors to one pressure. Where they differ the expectation decides; without one, acceleration does. */
static void qualify(fsw_seq_engine_t *s, const fsw_seq_in_t *in, const fsw_seq_limits_t *p, press_t *q, fsw_seq_out_t *out)
{
  q->a = in->fresh && in->valid && in_range(in->pc_a);
  q->b = in->fresh && in->valid && in_range(in->pc_b);
  q->agree = q->a && q->b && fsw_abs(in->pc_a - in->pc_b) <= p->disagree_share;
  q->sensor = q->a ? 0 : 1;
  if (q->agree) {
    q->pc = 0.5 * (in->pc_a + in->pc_b);
  } else if (q->a && q->b) {
    if (s->state == FSW_ENGINE_MAIN && in->accel != FSW_SEQ_ACCEL_LOST) {
      q->sensor = fsw_abs(in->pc_a - in->expect) <= fsw_abs(in->pc_b - in->expect) ? 0 : 1;
    } else {
      int a_high = in->pc_a > in->pc_b, high = s->state == FSW_ENGINE_RISE && in->accel_rose;
      q->sensor = a_high == high ? 0 : 1;
    }
    q->pc = q->sensor == 0 ? in->pc_a : in->pc_b;
  } else if (q->a || q->b) {
    q->pc = q->a ? in->pc_a : in->pc_b;
  } else { /* none: what acceleration leaves possible */
    q->pc = s->state == FSW_ENGINE_MAIN && in->accel != FSW_SEQ_ACCEL_LOST ? in->expect : 0.0;
  }
  count8(&s->n_dis, !q->agree && q->a && q->b);
  if (s->n_dis == 5 && !(s->flags & FSW_SEQ_DISAGREE)) {
    s->flags |= FSW_SEQ_DISAGREE;
    say(out, FSW_EVENT_SENSOR_DISAGREE, fsw_abs(in->pc_a - in->pc_b) * p->pc_mpa, (double)q->sensor);
  }
}

static int checks(const fsw_seq_in_t *in, const fsw_seq_limits_t *p, const press_t *q)
{
  int quiet = (q->a && fsw_abs(in->pc_a) < 0.05) || (q->b && fsw_abs(in->pc_b) < 0.05);
  return in->fresh && in->valid && !in->fire && quiet && in->inlet_pa > 0.02 * p->inlet_min_pa; /* that sensor lives */
}

/* Pump cold and propellant at the inlet; false for NaN. */
static int cold(const fsw_seq_in_t *in, const fsw_seq_limits_t *p)
{
  return in->fresh && in->valid && in->chill_k > 1.0 && in->chill_k <= p->chill_ready_k && in->inlet_pa >= p->inlet_min_pa;
}

/* CHECK, PURGE before a start, CHILL: nothing has been admitted yet. */
static void prepare(fsw_seq_engine_t *s, const fsw_seq_in_t *in, const fsw_seq_limits_t *p, const press_t *q, fsw_seq_out_t *out)
{
  if (s->flags & FSW_SEQ_FIRE) {
    inhibit(s, FSW_SEQ_CAUSE_FIRE, out);
    return;
  }
  if (!in->fresh && s->state != FSW_ENGINE_CHECK) {
    inhibit(s, FSW_SEQ_CAUSE_STALE, out);
    return;
  }
  if (in->want == FSW_SEQ_WANT_OFF) {
    enter(s, FSW_ENGINE_OFF);
    return;
  }
  if (s->state == FSW_ENGINE_CHECK) {
    count8(&s->n_ok, checks(in, p, q));
    if (s->n_ok >= p->check_min) enter(s, FSW_ENGINE_PURGE);
    else if (s->t >= p->check_max) inhibit(s, in->fresh ? FSW_SEQ_CAUSE_CHECK : FSW_SEQ_CAUSE_STALE, out);
    return;
  }
  if (s->state == FSW_ENGINE_PURGE) {
    if (s->t >= p->purge) enter(s, FSW_ENGINE_CHILL);
    return;
  }
  count8(&s->n_ok, cold(in, p));
  if (s->n_ok >= 2) {
    s->flags |= FSW_SEQ_READY;
    s->t = 0; /* may wait here as long as it stays cold */
    if (in->want == FSW_SEQ_WANT_RUN && fsw_seq_startable(s, p)) begin_start(s, out);
  } else {
    s->flags &= (uint8_t)~FSW_SEQ_READY;
    if (s->t >= p->chill_max) inhibit(s, FSW_SEQ_CAUSE_CHILL, out);
  }
}

/* IGNITER and LEAD: not yet committed, so a stale link or a fire ends the start. */
static void ignite(fsw_seq_engine_t *s, const fsw_seq_in_t *in, const fsw_seq_limits_t *p, fsw_seq_out_t *out)
{
  if (s->flags & FSW_SEQ_FIRE) stop_start(s, FSW_SEQ_CAUSE_FIRE, out);
  else if (!in->fresh || !in->valid) stop_start(s, FSW_SEQ_CAUSE_STALE, out);
  else if (s->state == FSW_ENGINE_IGNITER) {
    if (in->igniter_ok && s->t >= p->igniter_min) enter(s, FSW_ENGINE_LEAD);
    else if (s->t >= p->igniter_max) stop_start(s, FSW_SEQ_CAUSE_IGNITER, out);
  } else if (!in->igniter_ok) {
    stop_start(s, FSW_SEQ_CAUSE_IGNITER, out);
  } else if (s->t >= p->lead) {
    enter(s, FSW_ENGINE_RISE);
  }
}

static void lit(fsw_seq_engine_t *s, const fsw_seq_limits_t *p, const press_t *q, fsw_seq_out_t *out)
{
  s->flags |= FSW_SEQ_LIT;
  say(out, FSW_EVENT_ENGINE_LIT, q->pc * p->pc_mpa, (double)s->t_start * p->step_s);
  enter(s, FSW_ENGINE_MAIN);
}

static void no_light(fsw_seq_engine_t *s, const fsw_seq_limits_t *p, const press_t *q, uint8_t cause, fsw_seq_out_t *out)
{
  say(out, FSW_EVENT_ENGINE_NO_LIGHT, q->pc * p->pc_mpa, (double)s->t_start * p->step_s);
  if (s->n_r >= p->rise_steps || (s->flags & FSW_SEQ_LATE)) s->flags |= FSW_SEQ_LIT; /* something burnt */
  shut(s, cause, 1);
}

/* The truth table of the header. */
static void rise(fsw_seq_engine_t *s, const fsw_seq_in_t *in, const fsw_seq_limits_t *p, const press_t *q, fsw_seq_out_t *out)
{
  int pa = q->a && in->pc_a >= p->lit_share, pb = q->b && in->pc_b >= p->lit_share;
  int both = pa && pb, one = pa != pb, alone = one && !(q->a && q->b);
  count8(&s->n_p, both || one);
  count8(&s->n_r, (q->a || q->b) && q->pc >= p->rise_share);
  count8(&s->n_a, in->accel_rose);
  int a_ok = s->n_a >= p->lit_steps, p_ok = s->n_p >= p->lit_steps;
  int long_p = s->n_p >= 2 * p->lit_steps, very_long_p = s->n_p >= 4 * p->lit_steps;
  if ((both && ((p_ok && a_ok) || long_p)) || (one && p_ok && a_ok) || (alone && very_long_p) ||
      (!q->a && !q->b && s->n_a >= 4 * p->lit_steps)) {
    lit(s, p, q, out);
  } else if (s->flags & FSW_SEQ_FIRE) {
    no_light(s, p, q, FSW_SEQ_CAUSE_FIRE, out);
  } else if (s->t_start >= p->start_max) {
    no_light(s, p, q, FSW_SEQ_CAUSE_NO_LIGHT, out);
  } else if (s->t_start >= p->decide && !(s->flags & FSW_SEQ_LATE)) {
    if (s->n_r >= p->rise_steps || a_ok) s->flags |= FSW_SEQ_LATE;
    else no_light(s, p, q, FSW_SEQ_CAUSE_NO_LIGHT, out);
  }
}

static void run(fsw_seq_engine_t *s, const fsw_seq_in_t *in, const fsw_seq_limits_t *p, const press_t *q, fsw_seq_out_t *out)
{
  count16(&s->t_main);
  double now = fsw_clamp(1000.0 * q->pc, 0.0, 8000.0);
  if (now > (double)s->peak) s->peak = (uint16_t)now;
  double expect = s->t_main < p->grace ? fsw_min(in->expect, 0.001 * (double)s->peak) : in->expect;
  double floor = p->dead_share * expect;
  int la = q->a && in->pc_a < floor, lb = q->b && in->pc_b < floor;
  int blind = !q->a && !q->b, lost = in->accel == FSW_SEQ_ACCEL_LOST;
  count8(&s->n_low, la && lb && in->accel != FSW_SEQ_ACCEL_HEALTHY);
  count8(&s->n_low1, lost && (la || lb || blind));
  uint32_t one = (s->flags & FSW_SEQ_FIRE) ? p->dead_steps : 4u * p->dead_steps;
  if (s->n_low >= p->dead_steps || s->n_low1 >= one) {
    say(out, FSW_EVENT_ENGINE_DIED, q->pc * p->pc_mpa, (double)s->t_main * p->step_s);
    shut(s, FSW_SEQ_CAUSE_DIED, 1);
  }
}

static void redline(fsw_seq_engine_t *s, const fsw_seq_in_t *in, const fsw_seq_limits_t *p, const press_t *q, fsw_seq_out_t *out)
{
  count8(&s->n_red, q->a && q->b && in->pc_a > p->redline_share && in->pc_b > p->redline_share);
  if (s->n_red < p->redline_steps) return;
  say(out, FSW_EVENT_REDLINE, q->pc * p->pc_mpa, 0.0);
  s->flags |= FSW_SEQ_LIT;
  shut(s, FSW_SEQ_CAUSE_REDLINE, 1);
}

/* Limits that hold whatever the sequence does. */
static void backstops(fsw_seq_engine_t *s, const fsw_seq_limits_t *p, const press_t *q, fsw_seq_out_t *out)
{
  if (s->valves & FSW_VALVE_IGNITER) count16(&s->igniter);
  int flame = q->pc >= p->rise_share || s->state == FSW_ENGINE_MAIN;
  if (!flame && (s->valves & (FSW_VALVE_FUEL | FSW_VALVE_OX))) count16(&s->unburnt);
  if (s->state < FSW_ENGINE_IGNITER || s->state > FSW_ENGINE_RISE) return;
  if (s->unburnt >= p->unburnt_limit) no_light(s, p, q, FSW_SEQ_CAUSE_UNBURNT, out);
  else if (s->igniter >= p->igniter_limit) no_light(s, p, q, FSW_SEQ_CAUSE_IGNITER, out);
}

/* SHUTDOWN, the purge after it, SAFED. A flame now comes too late and only costs the engine its further starts. */
static void safe(fsw_seq_engine_t *s, const fsw_seq_in_t *in, const fsw_seq_limits_t *p, const press_t *q, fsw_seq_out_t *out)
{
  int late = q->a && q->b && in->pc_a > 2.0 * p->rise_share && in->pc_b > 2.0 * p->rise_share;
  count8(&s->n_p, late && (s->flags & FSW_SEQ_FAILED));
  if (s->n_p >= p->rise_steps) s->flags |= FSW_SEQ_LIT;
  if (s->state == FSW_ENGINE_SHUTDOWN) {
    if (s->t < p->shutdown) return;
    if (s->flags & FSW_SEQ_FIRE) inhibit(s, FSW_SEQ_CAUSE_FIRE, out);
    else if (s->flags & FSW_SEQ_ABORTED) enter(s, FSW_ENGINE_SAFED);
    else {
      enter(s, FSW_ENGINE_PURGE);
      s->flags |= FSW_SEQ_AFTER;
    }
  } else if (s->state == FSW_ENGINE_PURGE) {
    if (s->t < p->after) return;
    s->flags &= (uint8_t)~FSW_SEQ_AFTER;
    enter(s, FSW_ENGINE_SAFED);
  } else if (s->t >= p->rearm && in->want != FSW_SEQ_WANT_OFF && fsw_seq_startable(s, p)) {
    enter(s, FSW_ENGINE_CHECK);
  }
}

static void recover(fsw_seq_engine_t *s, const fsw_seq_in_t *in, const fsw_seq_limits_t *p, const press_t *q)
{
  int curable = s->cause == FSW_SEQ_CAUSE_STALE || s->cause == FSW_SEQ_CAUSE_CHECK || s->cause == FSW_SEQ_CAUSE_CHILL ||
                s->cause == FSW_SEQ_CAUSE_INHIBIT;
  count8(&s->n_ok, curable && fsw_seq_startable(s, p) && checks(in, p, q));
  if (s->n_ok >= p->recover) enter(s, FSW_ENGINE_OFF);
}

static void advance(fsw_seq_engine_t *s, const fsw_seq_in_t *in, const fsw_seq_limits_t *p, fsw_seq_out_t *out)
{
  press_t q;
  int starting = s->state >= FSW_ENGINE_IGNITER && s->state <= FSW_ENGINE_RISE;
  qualify(s, in, p, &q, out);
  out->pc = q.pc;
  count16(&s->t);
  if (starting) count16(&s->t_start);
  if (starting || s->state == FSW_ENGINE_MAIN) redline(s, in, p, &q, out);
  backstops(s, p, &q, out);
  switch (s->state) {
    case FSW_ENGINE_OFF:
      if (in->want != FSW_SEQ_WANT_OFF && fsw_seq_startable(s, p)) enter(s, FSW_ENGINE_CHECK);
      break;
    case FSW_ENGINE_CHECK:
    case FSW_ENGINE_CHILL:
      prepare(s, in, p, &q, out);
      break;
    case FSW_ENGINE_PURGE:
      if (s->flags & FSW_SEQ_AFTER) safe(s, in, p, &q, out);
      else prepare(s, in, p, &q, out);
      break;
    case FSW_ENGINE_IGNITER:
    case FSW_ENGINE_LEAD:
      ignite(s, in, p, out);
      break;
    case FSW_ENGINE_RISE:
      rise(s, in, p, &q, out);
      break;
    case FSW_ENGINE_MAIN:
      run(s, in, p, &q, out);
      break;
    case FSW_ENGINE_SHUTDOWN:
    case FSW_ENGINE_SAFED:
      safe(s, in, p, &q, out);
      break;
    case FSW_ENGINE_INHIBITED:
      recover(s, in, p, &q);
      break;
    default:
      inhibit(s, FSW_SEQ_CAUSE_CORRUPT, out);
      break;
  }
}

static void abort_now(fsw_seq_engine_t *s, fsw_seq_out_t *out)
{
  s->valves = 0;
  s->flags |= FSW_SEQ_ABORTED;
  if (s->state == FSW_ENGINE_CHECK) enter(s, FSW_ENGINE_OFF);
  if (s->state < FSW_ENGINE_PURGE || s->state > FSW_ENGINE_MAIN) return;
  say(out, FSW_EVENT_ENGINE_ABORT, (double)s->state, (double)FSW_SEQ_CAUSE_ABORT);
  shut(s, FSW_SEQ_CAUSE_ABORT, 0);
}

static void inhibit_now(fsw_seq_engine_t *s, fsw_seq_out_t *out)
{
  if (s->state >= FSW_ENGINE_IGNITER && s->state <= FSW_ENGINE_SHUTDOWN) s->flags |= FSW_SEQ_FAILED | FSW_SEQ_LIT;
  s->flags &= (uint8_t)~FSW_SEQ_AFTER;
  s->n_ok = 0;
  if (s->state == FSW_ENGINE_INHIBITED && s->cause != FSW_SEQ_CAUSE_NONE) return; /* keeps its own cause */
  inhibit(s, FSW_SEQ_CAUSE_INHIBIT, out);
}

static void set_valves(fsw_seq_engine_t *s, const fsw_seq_in_t *in, const fsw_seq_limits_t *p)
{
  const uint8_t first = p->lead_fuel ? FSW_VALVE_FUEL : FSW_VALVE_OX, both = FSW_VALVE_FUEL | FSW_VALVE_OX;
  double keep = s->valves & FSW_VALVE_CHILL ? 2.0 : 1.0; /* K, the chill valve's hysteresis */
  switch (s->state) {
    case FSW_ENGINE_PURGE: s->valves = FSW_VALVE_PURGE; break;
    case FSW_ENGINE_CHILL: s->valves = in->chill_k < p->chill_ready_k - keep ? 0 : FSW_VALVE_CHILL; break;
    case FSW_ENGINE_IGNITER: s->valves = FSW_VALVE_IGNITER; break;
    case FSW_ENGINE_LEAD: s->valves = (uint8_t)(FSW_VALVE_IGNITER | first); break;
    case FSW_ENGINE_RISE: s->valves = (uint8_t)(FSW_VALVE_IGNITER | both); break;
    case FSW_ENGINE_MAIN: s->valves = both; break;
    case FSW_ENGINE_SHUTDOWN: {
      uint8_t may = s->t < p->shutdown_lag && !(s->flags & FSW_SEQ_ABORTED) ? FSW_VALVE_FUEL : 0;
      s->valves &= may;
      break;
    }
    default: s->valves = 0; break;
  }
}

void fsw_seq_step(fsw_seq_engine_t *s, const fsw_seq_in_t *in, const fsw_seq_limits_t *p, fsw_seq_out_t *out)
{
  out->n_events = 0;
  out->pc = 0.0;
  if (s->check != fsw_seq_check_word(s)) { /* corrupted: nothing in it can be believed */
    fsw_seq_engine_init(s);
    s->flags = FSW_SEQ_ABORTED;
    inhibit(s, FSW_SEQ_CAUSE_CORRUPT, out);
  }
  if (in->fire) s->flags |= FSW_SEQ_FIRE;
  int was_starting = s->state >= FSW_ENGINE_IGNITER && s->state <= FSW_ENGINE_MAIN;
  if (in->abort) {
    abort_now(s, out);
  } else if (in->inhibit) {
    inhibit_now(s, out);
  } else if (was_starting && in->want != FSW_SEQ_WANT_RUN) {
    say(out, FSW_EVENT_ENGINE_SHUTDOWN, 0.0, 0.0);
    shut(s, FSW_SEQ_CAUSE_COMMAND, 0);
  } else if (in->want == FSW_SEQ_WANT_RUN && (s->flags & FSW_SEQ_READY) && s->state == FSW_ENGINE_CHILL &&
             cold(in, p) && fsw_seq_startable(s, p)) {
    begin_start(s, out); /* at once, not at the next step of time */
  } else if (in->advance) {
    advance(s, in, p, out);
  }
  if (in->advance && in->abort && s->state == FSW_ENGINE_SHUTDOWN) { /* time goes on under a standing abort */
    count16(&s->t);
    if (s->t >= p->shutdown) enter(s, FSW_ENGINE_SAFED);
  }
  set_valves(s, in, p);
  s->check = fsw_seq_check_word(s);
  out->valves = s->valves;
}
