/* sense.c - measured values of one engine to condition bits: qualified pressures, persistence, ignition and flame-out. See sense.h. */
#include "flightsw/sense.h"

#include "flightsw/math.h"

#define QUIET_SHARE 0.05    /* pressure over nominal that counts as none */
#define LOWEST_SHARE (-0.1) /* a pressure below is no measurement */
#define PEAK_UNIT 0.001
#define MOST_PEAK 60000.0
#define PEAK_STEP 40.0      /* a sample; a ramp of 0.25 s to full */
#define SPIKE_SHARE 1.1     /* of what the throttle promises */

typedef struct { /* the two pressure sensors */
  uint8_t a, b;             /* usable: fresh, in range */
  uint8_t qa, qb;           /* qualified: usable and not disqualified */
  double low, high;         /* of the qualified ones */
} press_t;

typedef struct { /* one sample at work */
  fsw_seq_sense_t *q;
  const fsw_seq_measured_t *m;
  const fsw_seq_sense_limits_t *p;
  press_t s;
  uint32_t role;
  uint8_t link;
} work_t;

static uint64_t bits_of(double x)
{
  uint64_t u;
  __builtin_memcpy(&u, &x, sizeof u);
  return u;
}

static uint32_t fold(uint32_t h, uint32_t w) { return (h << 5 | h >> 27) ^ w; } /* linear over bits: every single flip changes it */

static uint32_t four(uint8_t a, uint8_t b, uint8_t c, uint8_t d) { return a | (uint32_t)b << 8 | (uint32_t)c << 16 | (uint32_t)d << 24; }

uint32_t fsw_seq_sense_check(const fsw_seq_sense_t *q) /* from the fields, not from memory: the same on a big-endian machine */
{
  uint64_t pc = bits_of(q->pc);
  uint32_t h = fold(fold(0x5eed5eedu, (uint32_t)pc), (uint32_t)(pc >> 32));
  h = fold(fold(h, q->held), q->peak | (uint32_t)q->t_main << 16);
  for (int i = 0; i < 16; i += 4) h = fold(h, four(q->count[i], q->count[i + 1], q->count[i + 2], q->count[i + 3]));
  h = fold(h, four(q->n_p, q->n_r, q->n_a, q->n_low));
  h = fold(h, four(q->n_low1, q->n_dis, q->n_agree, q->n_late));
  return fold(h, four(q->row, q->flags, q->sensor, q->n_lone));
}

void fsw_seq_sense_init(fsw_seq_sense_t *q)
{
  __builtin_memset(q, 0, sizeof *q);
  q->check = fsw_seq_sense_check(q);
}

uint8_t fsw_seq_persist(uint8_t count, uint32_t raw, uint8_t persist)
{
  if (!raw) return 0;
  return count < persist ? (uint8_t)(count + 1) : persist;
}

static void count8(uint8_t *n, int yes) { *n = fsw_seq_persist(*n, yes != 0, 250); }

/* ---- pressure ------------------------------------------------------------------------------------------------------ */

static int in_range(const work_t *w, double x) { return x >= LOWEST_SHARE && x <= w->p->range_share; } /* false for NaN */

/* Of two usable sensors that differ: the one that is believed. */
static uint8_t believed(const work_t *w)
{
  const fsw_seq_measured_t *m = w->m;
  if (w->role == FSW_ENGINE_MAIN && m->accel != FSW_SEQ_ACCEL_LOST) {
    return fsw_abs(m->pc_a - m->expect) <= fsw_abs(m->pc_b - m->expect) ? 0 : 1;
  }
  int a_high = m->pc_a > m->pc_b, high = w->role == FSW_ENGINE_RISE && m->accel_rose;
  return a_high == high ? 0 : 1;
}

/* Both agree where the throttle wants them, or nothing is promised. */
static int plausible(const work_t *w)
{
  if (w->role != FSW_ENGINE_MAIN) return 1;
  return fsw_abs(0.5 * (w->m->pc_a + w->m->pc_b) - w->m->expect) <= 2.0 * w->p->disagree_share;
}

static void compare_sensors(work_t *w)
{
  fsw_seq_sense_t *q = w->q;
  int both = w->s.a && w->s.b, differ = both && fsw_abs(w->m->pc_a - w->m->pc_b) > w->p->disagree_share;
  count8(&q->n_dis, differ);
  count8(&q->n_agree, both && !differ && plausible(w));
  if (differ) q->sensor = believed(w);
  if (q->n_dis >= w->p->disqualify_steps) {
    q->flags = (uint8_t)(FSW_SEQ_SENSE_DISAGREE | (q->sensor == 0 ? FSW_SEQ_SENSE_B_OUT : FSW_SEQ_SENSE_A_OUT));
  } else if (q->n_agree >= w->p->disqualify_steps) {
    q->flags = 0;
  }
}

/* The one qualified sensor that is left may drift too. */
static void doubt_lone_sensor(work_t *w)
{
  fsw_seq_sense_t *q = w->q;
  const fsw_seq_measured_t *m = w->m;
  int lone = w->s.qa != w->s.qb && w->role == FSW_ENGINE_MAIN && m->accel == FSW_SEQ_ACCEL_HEALTHY;
  double x = w->s.qa ? m->pc_a : m->pc_b;
  count8(&q->n_lone, lone && x > m->expect + w->p->disagree_share);
  if (q->n_lone < w->p->disqualify_steps) return;
  q->flags |= w->s.qa ? FSW_SEQ_SENSE_A_OUT : FSW_SEQ_SENSE_B_OUT;
  w->s.qa = w->s.qb = 0;
}

static double qualified(const work_t *w)
{
  const fsw_seq_measured_t *m = w->m;
  if (w->s.qa && w->s.qb) {
    int differ = fsw_abs(m->pc_a - m->pc_b) > w->p->disagree_share;
    if (!differ) return 0.5 * (m->pc_a + m->pc_b);
    return w->q->sensor == 0 ? m->pc_a : m->pc_b;
  }
  if (w->s.qa) return m->pc_a;
  if (w->s.qb) return m->pc_b;
  return w->role == FSW_ENGINE_MAIN && m->accel != FSW_SEQ_ACCEL_LOST ? m->expect : 0.0; /* what acceleration leaves possible */
}

static void qualify(work_t *w)
{
  press_t *s = &w->s;
  s->a = w->link && in_range(w, w->m->pc_a);
  s->b = w->link && in_range(w, w->m->pc_b);
  compare_sensors(w);
  s->qa = s->a && !(w->q->flags & FSW_SEQ_SENSE_A_OUT);
  s->qb = s->b && !(w->q->flags & FSW_SEQ_SENSE_B_OUT);
  doubt_lone_sensor(w);
  s->low = s->qa ? w->m->pc_a : w->m->pc_b;
  s->high = s->low;
  if (s->qa && s->qb) {
    s->low = fsw_min(w->m->pc_a, w->m->pc_b);
    s->high = fsw_max(w->m->pc_a, w->m->pc_b);
  }
  w->q->pc = qualified(w);
}

/* ---- conditions of the table --------------------------------------------------------------------------------------- */

/* Measured value that a comparison looks at; 0 when there is none. */
static int measured(const work_t *w, const fsw_seq_condition_t *c, double *x)
{
  const fsw_seq_measured_t *m = w->m;
  double pc = c->op == FSW_SEQ_ABOVE ? w->s.low : w->s.high; /* must be true of every qualified sensor */
  switch (c->channel) {
    case FSW_SEQ_CHANNEL_PC: *x = pc; return w->s.qa || w->s.qb;
    case FSW_SEQ_CHANNEL_PC_OVER: *x = pc - m->expect; return w->s.qa || w->s.qb;
    case FSW_SEQ_CHANNEL_INLET: *x = m->inlet_pa; return w->link;
    case FSW_SEQ_CHANNEL_PUMP: *x = m->pump_k; return w->link && m->pump_k > 1.0; /* a broken sensor reads nothing */
    case FSW_SEQ_CHANNEL_THROTTLE: *x = m->throttle; return w->link;
    default: *x = m->axial_m_s2; return 1;
  }
}

static uint32_t holds(const work_t *w, const fsw_seq_condition_t *c, uint32_t held)
{
  double x, limit = held ? c->release : c->value;
  if (!measured(w, c, &x)) return 0;
  return c->op == FSW_SEQ_ABOVE ? x >= limit : x <= limit; /* false for NaN */
}

static void conditions(work_t *w, uint32_t watched)
{
  fsw_seq_sense_t *q = w->q;
  uint32_t held = 0;
  for (uint32_t k = 0; k < w->p->n_conditions; k++) {
    const fsw_seq_condition_t *c = &w->p->condition[k];
    uint32_t bit = 1u << (FSW_SEQ_FIRST_CONDITION + k);
    uint32_t raw = (watched & bit) ? holds(w, c, q->held & bit) : 0;
    q->count[k] = fsw_seq_persist(q->count[k], raw, c->persist);
    if (q->count[k] >= c->persist) held |= bit;
  }
  q->held = held;
}

/* ---- ignition and flame-out ---------------------------------------------------------------------------------------- */

static int in_start(uint32_t role) { return role >= FSW_ENGINE_IGNITER && role <= FSW_ENGINE_RISE; }

/* The truth table of the header. */
static int is_lit(const work_t *w, int both, int one)
{
  const fsw_seq_sense_t *q = w->q;
  uint32_t lit = w->p->lit_steps;
  int usable = w->s.a + w->s.b, a_ok = q->n_a >= lit, p_ok = q->n_p >= lit;
  if (usable == 0) return q->n_a >= 4u * lit;
  if (both) return (p_ok && a_ok) || q->n_p >= 2u * lit;
  return one && ((p_ok && a_ok) || (usable == 1 && q->n_p >= 4u * lit));
}

static uint32_t ignition(work_t *w)
{
  fsw_seq_sense_t *q = w->q;
  const fsw_seq_measured_t *m = w->m;
  uint32_t is = 0;
  if (!in_start(w->role)) {
    q->n_p = q->n_r = q->n_a = 0;
    return 0;
  }
  int pa = w->s.a && m->pc_a >= w->p->lit_share, pb = w->s.b && m->pc_b >= w->p->lit_share;
  count8(&q->n_p, pa || pb);
  count8(&q->n_r, q->pc >= w->p->rise_share);
  count8(&q->n_a, m->accel_rose);
  if (is_lit(w, pa && pb, pa != pb)) is |= FSW_SEQ_IS_LIT;
  if (q->n_r >= w->p->rise_steps) is |= FSW_SEQ_IS_FLAME | FSW_SEQ_IS_SIGN;
  if (q->n_a >= w->p->lit_steps) is |= FSW_SEQ_IS_SIGN;
  return is;
}

/* The highest pressure of the ramp. The spike of a hard start is none: it is above the promise, and faster than any ramp. */
static void raise_peak(work_t *w)
{
  fsw_seq_sense_t *q = w->q;
  if (q->pc > SPIKE_SHARE * w->m->expect) return;
  double now = fsw_clamp(q->pc / PEAK_UNIT, 0.0, fsw_min((double)q->peak + PEAK_STEP, MOST_PEAK));
  if (now > (double)q->peak) q->peak = (uint16_t)now;
}

/* What the three witnesses say in this sample: both sensors low and acceleration not healthy; lost, and one sensor low or none there. */
static void hear_witnesses(work_t *w)
{
  fsw_seq_sense_t *q = w->q;
  const fsw_seq_measured_t *m = w->m;
  double expect = q->t_main < w->p->grace ? fsw_min(m->expect, PEAK_UNIT * (double)q->peak) : m->expect;
  double floor = w->p->dead_share * expect;
  int la = w->s.a && m->pc_a < floor, lb = w->s.b && m->pc_b < floor, usable = w->s.a + w->s.b;
  int lost = m->accel == FSW_SEQ_ACCEL_LOST, healthy = m->accel != FSW_SEQ_ACCEL_UNKNOWN && !lost;
  count8(&q->n_low, la && lb && !healthy);
  count8(&q->n_low1, lost && (la || lb || usable == 0));
}

static uint32_t flame_out(work_t *w)
{
  fsw_seq_sense_t *q = w->q;
  const fsw_seq_measured_t *m = w->m;
  if (w->role != FSW_ENGINE_MAIN) {
    q->n_low = q->n_low1 = 0;
    q->t_main = q->peak = 0;
    return 0;
  }
  if (q->t_main < 65535) q->t_main++;
  raise_peak(w);
  hear_witnesses(w);
  uint32_t one = m->fire ? w->p->dead_steps : 4u * w->p->dead_steps;
  return FSW_SEQ_IS_FLAME | (q->n_low >= w->p->dead_steps || q->n_low1 >= one ? FSW_SEQ_IS_OUT : 0u);
}

static uint32_t late_flame(work_t *w)
{
  fsw_seq_sense_t *q = w->q;
  double level = 2.0 * w->p->rise_share;
  count8(&q->n_late, w->role >= FSW_ENGINE_SHUTDOWN && w->s.a && w->s.b && w->m->pc_a > level && w->m->pc_b > level);
  return q->n_late >= w->p->rise_steps ? FSW_SEQ_IS_FLAME : 0u;
}

static int reads_nothing(int usable, double pc) { return usable && fsw_abs(pc) < QUIET_SHARE; }

static uint32_t plain(const work_t *w)
{
  const fsw_seq_measured_t *m = w->m;
  uint32_t is = 0;
  if (w->link) is |= FSW_SEQ_IS_LINK;
  if (m->fire) is |= FSW_SEQ_IS_FIRE;
  if (w->link && m->igniter_ok) is |= FSW_SEQ_IS_IGNITER;
  if (reads_nothing(w->s.a, m->pc_a) || reads_nothing(w->s.b, m->pc_b)) is |= FSW_SEQ_IS_QUIET;
  return is;
}

uint32_t fsw_seq_sense(fsw_seq_sense_t *q, const fsw_seq_engine_t *e, const fsw_seq_measured_t *m, const fsw_seq_table_t *table,
                       const fsw_seq_sense_limits_t *limits)
{
  if (q->check != fsw_seq_sense_check(q)) fsw_seq_sense_init(q); /* corrupted: everything is counted anew */
  work_t w = { .q = q, .m = m, .p = limits, .role = fsw_seq_role(e, table), .link = m->fresh && m->valid };
  uint32_t row = e->row < table->n_rows ? e->row : (uint32_t)FSW_SEQ_ROW_INHIBITED;
  if (q->row != e->row) { /* a condition is counted in its row */
    __builtin_memset(q->count, 0, sizeof q->count);
    q->held = 0;
    q->row = e->row;
  }
  qualify(&w);
  conditions(&w, fsw_seq_watched(table, row));
  uint32_t is = plain(&w) | ignition(&w);
  is |= flame_out(&w) | late_flame(&w) | q->held;
  q->check = fsw_seq_sense_check(q);
  return is;
}
