/* sequence.c - one step of one engine's sequence: integers and bits, nothing else. See sequence.h. */
#include "flightsw/sequence.h"

#include "flightsw/events.h"

_Static_assert(sizeof(fsw_seq_engine_t) == 20, "state of one engine");

#define MAIN_VALVES (FSW_VALVE_FUEL | FSW_VALVE_OX)
#define WANTED (FSW_SEQ_CMD_READY | FSW_SEQ_CMD_RUN)
#define COMMANDS (WANTED | FSW_SEQ_CMD_ABORT | FSW_SEQ_CMD_INHIBIT | FSW_SEQ_CMD_ADVANCE)
/* an engine inhibited for one of these is available again when all is well */
#define CURABLE (1u << FSW_SEQ_CAUSE_STALE | 1u << FSW_SEQ_CAUSE_CHECK | 1u << FSW_SEQ_CAUSE_CHILL | 1u << FSW_SEQ_CAUSE_INHIBIT)

typedef struct { /* one step at work */
  fsw_seq_engine_t *s;
  const fsw_seq_table_t *table;
  const fsw_seq_row_t *row;   /* in which the step began */
  uint32_t is;
  fsw_seq_out_t *out;
} work_t;

uint32_t fsw_seq_check_word(const fsw_seq_engine_t *s)
{
  const uint32_t w[4] = { /* from the fields, not from memory: the image is the same on a big-endian machine */
    s->t | (uint32_t)s->t_start << 16, s->igniter | (uint32_t)s->unburnt << 16,
    s->row | (uint32_t)s->flags << 8 | (uint32_t)s->cause << 16 | (uint32_t)s->valves << 24,
    s->starts | (uint32_t)s->pad0[0] << 8 | (uint32_t)s->pad0[1] << 16 | (uint32_t)s->pad0[2] << 24 };
  uint32_t h = 0x5eed5eedu;
  for (int i = 0; i < 4; i++) h = (h << 5 | h >> 27) ^ w[i]; /* linear over bits: every single flip changes it */
  return h;
}

void fsw_seq_engine_init(fsw_seq_engine_t *s)
{
  __builtin_memset(s, 0, sizeof *s);
  s->check = fsw_seq_check_word(s);
}

uint32_t fsw_seq_startable(const fsw_seq_engine_t *s, const fsw_seq_table_t *table)
{
  const uint8_t burnt = FSW_SEQ_FAILED | FSW_SEQ_LIT; /* failed after lighting */
  if (s->flags & (FSW_SEQ_FIRE | FSW_SEQ_ABORTED)) return 0;
  return (s->flags & burnt) != burnt && s->starts < table->max_starts;
}

uint32_t fsw_seq_role(const fsw_seq_engine_t *s, const fsw_seq_table_t *table)
{
  return s->row < table->n_rows ? table->row[s->row].role : FSW_ENGINE_INHIBITED;
}

static int in_start(uint32_t role) { return role >= FSW_ENGINE_IGNITER && role <= FSW_ENGINE_RISE; }
static int has(uint32_t is, uint32_t need) { return (is & need) == need; }
static uint16_t greater(uint16_t a, uint16_t b) { return a > b ? a : b; }

uint32_t fsw_seq_watched(const fsw_seq_table_t *table, uint32_t row)
{
  const fsw_seq_row_t *r = &table->row[row];
  uint32_t mask = FSW_SEQ_IS_FIRE | r->exit | r->keep | r->redline | r->gate | r->pulse | table->row[r->next].entry;
  if ((r->valves & MAIN_VALVES) || r->role >= FSW_ENGINE_SHUTDOWN) mask |= FSW_SEQ_IS_FLAME;
  return mask & FSW_SEQ_IS_MASK;
}

static void say(work_t *w, uint16_t code) { w->out->code[w->out->n_events++] = code; }

static void count(uint16_t *n, uint16_t cap)
{
  if (*n < cap) ++*n;
}

static void enter(work_t *w, uint8_t row)
{
  w->s->row = row;
  w->s->t = 0;
  w->s->flags &= (uint8_t)~(FSW_SEQ_READY | FSW_SEQ_GATED);
  if (!in_start(w->table->row[row].role)) w->s->t_start = w->s->igniter = w->s->unburnt = 0;
}

/* What is said when the engine leaves its row for this cause. */
static uint16_t event_of(const work_t *w, uint8_t cause)
{
  if (w->row->role < FSW_ENGINE_IGNITER) return w->row->abort == FSW_SEQ_ROW_INHIBITED ? FSW_EVENT_ENGINE_INHIBITED : FSW_EVENT_ENGINE_ABORT;
  switch (cause) {
    case FSW_SEQ_CAUSE_DIED: return FSW_EVENT_ENGINE_DIED;
    case FSW_SEQ_CAUSE_REDLINE: return FSW_EVENT_REDLINE;
    case FSW_SEQ_CAUSE_NO_LIGHT:
    case FSW_SEQ_CAUSE_UNBURNT: return FSW_EVENT_ENGINE_NO_LIGHT;
    default: return FSW_EVENT_ENGINE_ABORT;
  }
}

/* Something is wrong: along the abort path. An engine that may have burnt is marked as such. */
static void fail(work_t *w, uint8_t cause)
{
  fsw_seq_engine_t *s = w->s;
  say(w, event_of(w, cause));
  s->cause = cause;
  if (w->row->role >= FSW_ENGINE_IGNITER) s->flags |= FSW_SEQ_FAILED;
  if (w->is & FSW_SEQ_IS_FLAME || s->flags & FSW_SEQ_GATED) s->flags |= FSW_SEQ_LIT; /* in MAIN it is set */
  enter(w, w->row->abort);
}

static void begin_start(work_t *w)
{
  fsw_seq_engine_t *s = w->s;
  if (s->flags & FSW_SEQ_FAILED) say(w, FSW_EVENT_RETRY);
  say(w, FSW_EVENT_ENGINE_START);
  s->starts++; /* before anything is energised */
  s->cause = FSW_SEQ_CAUSE_NONE;
  s->flags &= (uint8_t)~(FSW_SEQ_FAILED | FSW_SEQ_LIT);
  enter(w, w->row->next);
}

static int may_start(const work_t *w)
{
  const fsw_seq_row_t *r = w->row;
  if (!(w->s->flags & FSW_SEQ_READY) || !(w->is & FSW_SEQ_CMD_RUN)) return 0;
  return has(w->is, r->exit | r->keep | w->table->row[r->next].entry) && !(w->is & r->redline) && fsw_seq_startable(w->s, w->table);
}

static uint8_t cause_of_role(uint8_t role)
{
  static const uint8_t cause[] = { /* by role, CHECK to MAIN */
    FSW_SEQ_CAUSE_CHECK, FSW_SEQ_CAUSE_CHILL, FSW_SEQ_CAUSE_CHILL, FSW_SEQ_CAUSE_IGNITER, FSW_SEQ_CAUSE_LEAD,
    FSW_SEQ_CAUSE_NO_LIGHT, FSW_SEQ_CAUSE_DIED };
  return cause[role - FSW_ENGINE_CHECK];
}

/* What forbids to go on at once in this row; NONE: nothing. */
static uint8_t fault(const work_t *w)
{
  const fsw_seq_row_t *r = w->row;
  uint32_t red = w->is & r->redline, lost = r->keep & ~w->is;
  if (red) return red & FSW_SEQ_IS_OUT ? FSW_SEQ_CAUSE_DIED : FSW_SEQ_CAUSE_REDLINE;
  if ((w->s->flags & FSW_SEQ_FIRE) && r->role != FSW_ENGINE_MAIN) return FSW_SEQ_CAUSE_FIRE;
  if (lost) return lost & FSW_SEQ_IS_LINK ? FSW_SEQ_CAUSE_STALE : cause_of_role(r->role);
  return FSW_SEQ_CAUSE_NONE;
}

/* Leaves for the next row when that may be entered. */
static void go_on(work_t *w)
{
  const fsw_seq_row_t *next = &w->table->row[w->row->next];
  if (!has(w->is, next->entry)) {
    fail(w, FSW_SEQ_CAUSE_CHECK);
    return;
  }
  if (next->role == FSW_ENGINE_MAIN) {
    say(w, FSW_EVENT_ENGINE_LIT);
    w->s->flags |= FSW_SEQ_LIT;
  }
  enter(w, w->row->next);
}

static void begin_preparing(work_t *w)
{
  if ((w->is & WANTED) && has(w->is, w->table->row[FSW_SEQ_ROW_FIRST].entry) && fsw_seq_startable(w->s, w->table)) enter(w, FSW_SEQ_ROW_FIRST);
}

/* CHECK, PURGE, CHILL: nothing has been admitted yet. */
static void prepare(work_t *w)
{
  fsw_seq_engine_t *s = w->s;
  const fsw_seq_row_t *r = w->row;
  uint8_t cause = fault(w);
  if (cause != FSW_SEQ_CAUSE_NONE) fail(w, cause);
  else if (!(w->is & WANTED)) enter(w, FSW_SEQ_ROW_OFF);
  else if (!has(w->is, r->exit)) {
    s->flags &= (uint8_t)~FSW_SEQ_READY;
    if (s->t >= r->max) fail(w, cause_of_role(r->role));
  } else if (r->hold) {
    s->flags |= FSW_SEQ_READY;
    s->t = 0; /* may wait here as long as its conditions hold */
  } else if (s->t >= r->min) {
    go_on(w);
  }
}

/* Limits of a start: they hold whatever else is true. */
static uint8_t beyond_limits(const work_t *w)
{
  if (w->s->unburnt >= w->table->unburnt_limit) return FSW_SEQ_CAUSE_UNBURNT;
  if (w->s->igniter >= w->table->igniter_limit) return FSW_SEQ_CAUSE_IGNITER;
  return FSW_SEQ_CAUSE_NONE;
}

/* What ends a start that has not come to its exit conditions. */
static uint8_t overdue(work_t *w)
{
  fsw_seq_engine_t *s = w->s;
  const fsw_seq_row_t *r = w->row;
  if (s->t_start >= w->table->start_max) return FSW_SEQ_CAUSE_NO_LIGHT;
  if (r->gate_t != 0 && s->t_start >= r->gate_t && !(s->flags & FSW_SEQ_GATED)) {
    if (!(w->is & r->gate)) return FSW_SEQ_CAUSE_NO_LIGHT;
    say(w, FSW_EVENT_ENGINE_GATE);
    s->flags |= FSW_SEQ_GATED;
  }
  return r->max != 0 && s->t >= r->max ? cause_of_role(r->role) : FSW_SEQ_CAUSE_NONE;
}

static void start(work_t *w)
{
  fsw_seq_engine_t *s = w->s;
  count(&s->t_start, w->table->start_max);
  if (s->valves & FSW_VALVE_IGNITER) count(&s->igniter, w->table->igniter_limit);
  if ((s->valves & MAIN_VALVES) && !(w->is & FSW_SEQ_IS_FLAME)) count(&s->unburnt, w->table->unburnt_limit);
  w->out->t_start = s->t_start;
  uint8_t cause = fault(w);
  if (cause == FSW_SEQ_CAUSE_NONE) cause = beyond_limits(w);
  if (cause == FSW_SEQ_CAUSE_NONE && has(w->is, w->row->exit) && s->t >= w->row->min) {
    go_on(w);
    return;
  }
  if (cause == FSW_SEQ_CAUSE_NONE) cause = overdue(w);
  if (cause != FSW_SEQ_CAUSE_NONE) fail(w, cause);
}

static void burn(work_t *w)
{
  uint8_t cause = fault(w);
  if (cause != FSW_SEQ_CAUSE_NONE) fail(w, cause);
}

/* A flame in an engine that was given up comes too late and costs it its further starts. */
static void note_late_flame(work_t *w)
{
  if ((w->is & FSW_SEQ_IS_FLAME) && (w->s->flags & FSW_SEQ_FAILED)) w->s->flags |= FSW_SEQ_LIT;
}

/* SHUTDOWN, AFTER. */
static void settle(work_t *w)
{
  const fsw_seq_row_t *r = w->row;
  note_late_flame(w);
  if (w->s->t >= r->max || (w->s->t >= r->min && has(w->is, r->exit))) enter(w, r->next);
}

static void rest_safed(work_t *w)
{
  note_late_flame(w);
  if (w->s->flags & FSW_SEQ_FIRE) {
    say(w, FSW_EVENT_ENGINE_INHIBITED);
    w->s->cause = FSW_SEQ_CAUSE_FIRE;
    enter(w, FSW_SEQ_ROW_INHIBITED);
  } else if (w->s->t >= w->row->min) {
    begin_preparing(w);
  }
}

static void recover(work_t *w)
{
  int well = (CURABLE >> w->s->cause & 1u) && has(w->is, w->row->exit) && fsw_seq_startable(w->s, w->table);
  if (!well) w->s->t = 0;
  else if (w->s->t >= w->row->min) enter(w, FSW_SEQ_ROW_OFF);
}

static void advance(work_t *w)
{
  count(&w->s->t, greater(w->row->min, w->row->max));
  switch (w->row->role) {
    case FSW_ENGINE_OFF: begin_preparing(w); break;
    case FSW_ENGINE_SAFED: rest_safed(w); break;
    case FSW_ENGINE_INHIBITED: recover(w); break;
    case FSW_ENGINE_MAIN: burn(w); break;
    case FSW_ENGINE_IGNITER:
    case FSW_ENGINE_LEAD:
    case FSW_ENGINE_RISE: start(w); break;
    case FSW_ENGINE_SHUTDOWN:
    case FSW_ENGINE_AFTER: settle(w); break;
    default: prepare(w); break;
  }
}

static int closing(uint8_t role) { return role == FSW_ENGINE_SHUTDOWN || role == FSW_ENGINE_AFTER; }
static int active(uint8_t role) { return in_start(role) || role == FSW_ENGINE_MAIN; }

static void abort_now(work_t *w)
{
  uint8_t role = w->row->role;
  w->s->flags |= FSW_SEQ_ABORTED;
  if (closing(role)) {
    if (w->is & FSW_SEQ_CMD_ADVANCE) advance(w); /* time goes on */
  } else if (role != FSW_ENGINE_OFF && role != FSW_ENGINE_SAFED && role != FSW_ENGINE_INHIBITED) {
    say(w, FSW_EVENT_ENGINE_ABORT);
    w->s->cause = FSW_SEQ_CAUSE_ABORT;
    enter(w, active(role) ? w->row->abort : FSW_SEQ_ROW_SAFED);
  }
}

static void inhibit_now(work_t *w)
{
  uint8_t role = w->row->role;
  if (role == FSW_ENGINE_INHIBITED) { /* keeps its own cause */
    w->s->t = 0;
    return;
  }
  if (active(role) || role == FSW_ENGINE_SHUTDOWN) w->s->flags |= FSW_SEQ_FAILED | FSW_SEQ_LIT;
  say(w, FSW_EVENT_ENGINE_INHIBITED);
  w->s->cause = FSW_SEQ_CAUSE_INHIBIT;
  enter(w, FSW_SEQ_ROW_INHIBITED);
}

static void stop(work_t *w)
{
  say(w, FSW_EVENT_ENGINE_SHUTDOWN);
  w->s->cause = FSW_SEQ_CAUSE_COMMAND;
  enter(w, w->row->abort);
}

static uint8_t valves_of(const work_t *w)
{
  const fsw_seq_row_t *r = &w->table->row[w->s->row];
  if (w->is & FSW_SEQ_CMD_ABORT) return 0;
  if (r->role == FSW_ENGINE_SHUTDOWN) return w->s->valves & r->valves; /* only closes */
  if (r->pulse != 0 && has(w->is, r->pulse)) return (uint8_t)(r->valves & ~r->pulsed);
  return r->valves;
}

/* Nothing in it can be believed. */
static void refuse(fsw_seq_engine_t *s, fsw_seq_out_t *out)
{
  __builtin_memset(s, 0, sizeof *s);
  s->row = FSW_SEQ_ROW_INHIBITED;
  s->flags = FSW_SEQ_ABORTED;
  s->cause = FSW_SEQ_CAUSE_CORRUPT;
  s->check = fsw_seq_check_word(s);
  out->code[0] = FSW_EVENT_ENGINE_INHIBITED;
  out->n_events = 1;
}

void fsw_seq_step(fsw_seq_engine_t *s, uint32_t is, const fsw_seq_table_t *table, fsw_seq_out_t *out)
{
  __builtin_memset(out, 0, sizeof *out);
  out->from = s->row;
  if (s->check != fsw_seq_check_word(s) || s->row >= table->n_rows) {
    refuse(s, out);
    return;
  }
  work_t w = { s, table, &table->row[s->row], is & (fsw_seq_watched(table, s->row) | COMMANDS), out };
  out->t_start = s->t_start;
  if (w.is & FSW_SEQ_IS_FIRE) s->flags |= FSW_SEQ_FIRE;
  if (w.is & FSW_SEQ_CMD_ABORT) abort_now(&w);
  else if (w.is & FSW_SEQ_CMD_INHIBIT) inhibit_now(&w);
  else if (active(w.row->role) && !(w.is & FSW_SEQ_CMD_RUN)) stop(&w);
  else if (may_start(&w)) begin_start(&w);
  else if (w.is & FSW_SEQ_CMD_ADVANCE) advance(&w);
  s->valves = valves_of(&w);
  s->check = fsw_seq_check_word(s);
  out->valves = s->valves;
}
