/* invariants.c - what must hold of every move of one engine. Each is stated from the requirements (order of a start, limits, commands) and
 * from the table's declared meaning, never from the code of the step. */
#include <stddef.h>

#include "flightsw/events.h"
#include "move.h"

typedef const fsw_proof_move_t move_t;

/* ---- order of a start ---- */
static int lead(move_t *m)
{
  const uint8_t first = m->need->lead_fuel ? FSW_VALVE_FUEL : FSW_VALVE_OX, second = (uint8_t)(MAINS & ~first);
  return !(m->opened & second) || (m->a->valves & m->b->valves & first);
}

static int purged(move_t *m) { return !(m->opened & MAINS) || (m->past & PAST_PURGED); }

static int chilled(move_t *m) { return !m->begins || all(m, m->need->cold); }

static int igniter_first(move_t *m)
{
  return !(m->opened & MAINS) || ((m->a->valves & m->b->valves & FSW_VALVE_IGNITER) && (m->is & FSW_SEQ_IS_IGNITER));
}

static int no_purge_into_propellant(move_t *m)
{
  return !(m->b->valves & FSW_VALVE_PURGE) || !(m->b->valves & MAINS) || m->role_b == FSW_ENGINE_SHUTDOWN;
}

/* ---- nothing energised ---- */
static int rest_closed(move_t *m) { return m->b->valves == 0 || !(at_rest(m->role_b) || m->role_b == FSW_ENGINE_CHECK); }

static int prepared_closed(move_t *m)
{
  return !(m->b->valves & (MAINS | FSW_VALVE_IGNITER)) || active(m->role_b) || m->role_b == FSW_ENGINE_SHUTDOWN;
}

static int abort_closes(move_t *m) { return !aborts(m) || ((m->b->valves | m->out->valves) == 0 && (m->b->flags & FSW_SEQ_ABORTED)); }

static int inhibit_closes(move_t *m)
{
  return !inhibits(m) || ((m->b->valves | m->out->valves) == 0 && m->b->row == FSW_SEQ_ROW_INHIBITED);
}

static int shutdown_closes(move_t *m)
{
  return !closing(m->role_b) || (m->opened & ~(m->role_b == FSW_ENGINE_AFTER ? FSW_VALVE_PURGE : 0)) == 0;
}

/* ---- limits ---- */
static int unburnt_limited(move_t *m) { return m->b->unburnt < m->table->unburnt_limit; }

static int igniter_limited(move_t *m)
{
  return m->b->igniter < m->table->igniter_limit && (!(m->b->valves & FSW_VALVE_IGNITER) || in_start(m->role_b));
}

static int start_limited(move_t *m) { return m->b->t_start < m->table->start_max; }

static int row_limited(move_t *m)
{
  if (!start_limited(m)) return 0;
  if (at_rest(m->role_b)) return m->b->t <= m->rb->max;
  return m->b->t < m->rb->max || m->rb->max == 0;
}

static int row_minimum(move_t *m)
{
  if (m->b->row == m->a->row || !(preparing(m->role_a) || in_start(m->role_a) || closing(m->role_a))) return 1;
  if (m->b->row != m->ra->next || inhibits(m) || m->ra->next == m->ra->abort) return 1;
  return aborts(m) || m->ra->hold || (m->t1 >= m->ra->min && advances(m));
}

/* ---- commands ---- */
static int abort_path(move_t *m)
{
  if (!aborts(m)) return 1;
  if (active(m->role_a)) return m->b->row == m->ra->abort;
  if (preparing(m->role_a)) return m->b->row == FSW_SEQ_ROW_SAFED;
  return at_rest(m->role_a) ? m->b->row == m->a->row && m->b->t == m->a->t : closing(m->role_b) || at_rest(m->role_b);
}

static int cut(move_t *m) { return (m->b->valves & MAINS) != MAINS && !(m->b->valves & FSW_VALVE_IGNITER); }

static int stopped_at_once(move_t *m)
{
  return !stops(m) || (m->b->row == m->ra->abort && m->role_b == FSW_ENGINE_SHUTDOWN && cut(m));
}

static int started_at_once(move_t *m) { return !m->ready_run || m->b->row == m->ra->next; }

static int only_commands(move_t *m)
{
  return advances(m) || commanded(m) || stops(m) || m->ready_run || (m->b->row == m->a->row && m->b->t == m->a->t);
}

static int stale_waits(move_t *m)
{
  if ((m->is & FSW_SEQ_IS_LINK) || m->role_a >= FSW_ENGINE_RISE) return 1;
  if (m->role_a == FSW_ENGINE_OFF) return m->b->valves == 0;
  return (m->opened & ~m->rb->pulsed) == 0 && (m->b->row == m->a->row || at_rest(m->role_b) || closing(m->role_b));
}

/* ---- starts and spent engines ---- */
static int starts_counted(move_t *m)
{
  return m->b->starts == m->a->starts + m->begins && m->b->starts <= m->table->max_starts &&
         (!(m->b->valves & (MAINS | FSW_VALVE_IGNITER)) || m->b->starts > 0);
}

static int spent_stays_closed(move_t *m)
{
  if (!(m->past & (PAST_DEAD | PAST_FIRE | PAST_ABORT))) return 1;
  return !m->begins && !(at_rest(m->role_a) && preparing(m->role_b));
}

static int starts_left(move_t *m) { return m->a->starts < m->table->max_starts || !(at_rest(m->role_a) && preparing(m->role_b)); }

/* ---- what ends a row, and what must not ---- */
static int redline_ends(move_t *m)
{
  if (!m->step || !(m->is & m->ra->redline) || !(preparing(m->role_a) || active(m->role_a))) return 1;
  return m->b->row == m->ra->abort && (m->opened & MAINS) == 0 && cut(m);
}

static int wrong_ends(move_t *m) { return m->why == FSW_SEQ_CAUSE_NONE || m->b->row == m->ra->abort; }

static int lit_goes_on(move_t *m)
{
  if (!m->step || !in_start(m->role_a) || m->why != FSW_SEQ_CAUSE_NONE) return 1;
  return m->b->row == (exit_due(m) ? m->ra->next : m->a->row);
}

static int main_stays(move_t *m)
{
  return !m->step || m->role_a != FSW_ENGINE_MAIN || m->why != FSW_SEQ_CAUSE_NONE || m->b->row == m->a->row;
}

static int preparation_goes_on(move_t *m)
{
  if (!m->step || !preparing(m->role_a) || m->why != FSW_SEQ_CAUSE_NONE) return 1;
  if (!(m->is & WANTED)) return m->b->row == FSW_SEQ_ROW_OFF;
  return m->b->row == (exit_due(m) && !m->ra->hold ? m->ra->next : m->a->row);
}

static int closing_goes_on(move_t *m)
{
  if (!closing(m->role_a) || inhibits(m) || !advances(m)) return inhibits(m) || !closing(m->role_a) || m->b->row == m->a->row;
  return m->b->row == (m->t1 >= m->ra->max || exit_due(m) ? m->ra->next : m->a->row);
}

static int rest_is_left_rightly(move_t *m)
{
  if (!m->step || (m->role_a != FSW_ENGINE_OFF && m->role_a != FSW_ENGINE_SAFED)) return 1;
  if (m->role_a == FSW_ENGINE_SAFED && on_fire(m)) return m->b->row == FSW_SEQ_ROW_INHIBITED;
  int go = (m->is & WANTED) && m->t1 >= m->ra->min && able(m) && all(m, m->table->row[FSW_SEQ_ROW_FIRST].entry);
  return m->b->row == (go ? FSW_SEQ_ROW_FIRST : m->a->row);
}

/* Causes that pass: link, entry checks, chill, inhibit. */
static int well(move_t *m)
{
  uint8_t c = m->a->cause;
  int passing = c == FSW_SEQ_CAUSE_STALE || c == FSW_SEQ_CAUSE_CHECK || c == FSW_SEQ_CAUSE_CHILL || c == FSW_SEQ_CAUSE_INHIBIT;
  return passing && all(m, m->ra->exit) && able(m);
}

static int inhibited_recovers(move_t *m)
{
  if (m->role_a != FSW_ENGINE_INHIBITED || aborts(m) || !(inhibits(m) || advances(m))) return 1;
  if (inhibits(m) || !well(m)) return m->b->row == m->a->row && m->b->t == 0;
  return m->t1 >= m->ra->min ? m->b->row == FSW_SEQ_ROW_OFF : m->b->row == m->a->row && m->b->t == m->t1;
}

/* ---- accounts ---- */
static int valves_of_row(move_t *m)
{
  uint8_t v = m->rb->valves;
  if (aborts(m)) v = 0;
  else if (m->role_b == FSW_ENGINE_SHUTDOWN) v &= m->a->valves;
  else if (m->rb->pulse && all(m, m->rb->pulse)) v &= (uint8_t)~m->rb->pulsed;
  return m->b->valves == v && m->out->valves == v;
}

static int time_counted(move_t *m)
{
  if (m->role_a == FSW_ENGINE_INHIBITED) return m->b->row == m->a->row || m->b->t == 0;
  if (m->b->row != m->a->row) return m->b->t == 0;
  int stands = commanded(m) && at_rest(m->role_a);
  if (!advances(m) || stands) return m->b->t == m->a->t;
  int holds = m->ra->hold && all(m, m->ra->exit);
  return m->b->t == (holds ? 0 : m->t1);
}

static int start_counted(move_t *m)
{
  const fsw_seq_engine_t *a = m->a, *b = m->b;
  if (!in_start(m->role_b) || m->begins) return (b->t_start | b->igniter | b->unburnt) == 0;
  if (!m->step) return b->t_start == a->t_start && b->igniter == a->igniter && b->unburnt == a->unburnt;
  return b->t_start == m->start1 && b->igniter == m->igniter1 && b->unburnt == m->unburnt1;
}

static int ready_flag(move_t *m)
{
  int ready = m->step ? m->ra->hold && all(m, m->ra->exit) : (m->a->flags & FSW_SEQ_READY) != 0;
  if (m->b->row != m->a->row) ready = 0;
  return ready == ((m->b->flags & FSW_SEQ_READY) != 0);
}

static int gate_flag(move_t *m)
{
  int gated = m->b->row == m->a->row && (m->gate_now || (m->a->flags & FSW_SEQ_GATED));
  if (gated != ((m->b->flags & FSW_SEQ_GATED) != 0)) return 0;
  return gated || !m->step || !in_start(m->role_b) || m->b->row != m->a->row || m->rb->gate_t == 0 || m->b->t_start < m->rb->gate_t;
}

static int failed_flag(move_t *m)
{
  int failed = (m->a->flags & FSW_SEQ_FAILED) || (active(m->role_a) && m->why != FSW_SEQ_CAUSE_NONE) ||
               (inhibits(m) && (active(m->role_a) || m->role_a == FSW_ENGINE_SHUTDOWN));
  if (m->begins) failed = 0;
  return failed == ((m->b->flags & FSW_SEQ_FAILED) != 0);
}

/* Signs of flame in a start, or a main stage, when it ends wrongly. */
static int burnt(move_t *m)
{
  if (inhibits(m)) return active(m->role_a) || m->role_a == FSW_ENGINE_SHUTDOWN;
  if (m->why == FSW_SEQ_CAUSE_NONE) return 0;
  return (m->is & FSW_SEQ_IS_FLAME) || m->gate_now || (m->a->flags & FSW_SEQ_GATED) || m->role_a == FSW_ENGINE_MAIN;
}

static int lit_flag(move_t *m)
{
  int lit = (m->a->flags & FSW_SEQ_LIT) || m->role_b == FSW_ENGINE_MAIN || burnt(m) || late_flame(m);
  if (m->begins) lit = 0;
  return lit == ((m->b->flags & FSW_SEQ_LIT) != 0);
}

static int kept_flags(move_t *m)
{
  uint8_t more = (uint8_t)((m->is & FSW_SEQ_IS_FIRE ? FSW_SEQ_FIRE : 0) | (aborts(m) ? FSW_SEQ_ABORTED : 0));
  return (m->b->flags & (FSW_SEQ_FIRE | FSW_SEQ_ABORTED)) == ((m->a->flags | more) & (FSW_SEQ_FIRE | FSW_SEQ_ABORTED)) &&
         m->b->flags < 64;
}

static uint8_t commanded_cause(move_t *m)
{
  if (aborts(m)) return preparing(m->role_a) || active(m->role_a) ? FSW_SEQ_CAUSE_ABORT : m->a->cause;
  if (inhibits(m)) return m->role_a != FSW_ENGINE_INHIBITED ? FSW_SEQ_CAUSE_INHIBIT : m->a->cause;
  return stops(m) ? FSW_SEQ_CAUSE_COMMAND : FSW_SEQ_CAUSE_NONE;
}

static int caught_at_rest(move_t *m) { return m->step && m->role_a == FSW_ENGINE_SAFED && on_fire(m); }

static int cause_told(move_t *m)
{
  uint8_t c = m->a->cause;
  if (commanded(m) || stops(m)) c = commanded_cause(m);
  else if (m->begins) c = FSW_SEQ_CAUSE_NONE;
  else if (caught_at_rest(m)) c = FSW_SEQ_CAUSE_FIRE;
  else if (m->why != FSW_SEQ_CAUSE_NONE) c = m->why;
  return m->b->cause == c;
}

/* Event of a row that ended for a cause of its own. */
static uint64_t event_of_end(move_t *m)
{
  if (preparing(m->role_a)) return m->ra->abort == FSW_SEQ_ROW_INHIBITED ? FSW_EVENT_ENGINE_INHIBITED : FSW_EVENT_ENGINE_ABORT;
  switch (m->why) {
    case FSW_SEQ_CAUSE_DIED: return FSW_EVENT_ENGINE_DIED;
    case FSW_SEQ_CAUSE_REDLINE: return FSW_EVENT_REDLINE;
    case FSW_SEQ_CAUSE_NO_LIGHT:
    case FSW_SEQ_CAUSE_UNBURNT: return FSW_EVENT_ENGINE_NO_LIGHT;
    default: return FSW_EVENT_ENGINE_ABORT;
  }
}

static uint64_t event_of_command(move_t *m)
{
  if (aborts(m)) return preparing(m->role_a) || active(m->role_a) ? FSW_EVENT_ENGINE_ABORT : 0;
  if (inhibits(m)) return m->role_a != FSW_ENGINE_INHIBITED ? FSW_EVENT_ENGINE_INHIBITED : 0;
  return FSW_EVENT_ENGINE_SHUTDOWN;
}

static uint64_t event_of_step(move_t *m)
{
  if (m->why != FSW_SEQ_CAUSE_NONE) return event_of_end(m);
  if (caught_at_rest(m)) return FSW_EVENT_ENGINE_INHIBITED;
  return m->role_b == FSW_ENGINE_MAIN && m->role_a != FSW_ENGINE_MAIN ? FSW_EVENT_ENGINE_LIT : 0;
}

/* All that is said in this move, in its order, 16 bits each. */
static uint64_t events_due(move_t *m)
{
  if (commanded(m) || stops(m)) return event_of_command(m);
  if (m->begins) {
    if (m->a->flags & FSW_SEQ_FAILED) return FSW_EVENT_RETRY | (uint64_t)FSW_EVENT_ENGINE_START << 16;
    return FSW_EVENT_ENGINE_START;
  }
  uint64_t own = event_of_step(m);
  return m->gate_now ? FSW_EVENT_ENGINE_GATE | own << 16 : own;
}

static int events_told(move_t *m)
{
  uint64_t said = 0, due = events_due(m);
  for (uint32_t k = 0; k < FSW_SEQ_OUT_EVENTS; k++) said |= (uint64_t)m->out->code[k] << (16u * k);
  uint32_t n = (due != 0 ? 1u : 0u) + (due >> 16 != 0 ? 1u : 0u);
  return said == due && m->out->n_events == n;
}

static int out_told(move_t *m)
{
  uint16_t since = m->step && in_start(m->role_a) ? m->start1 : m->a->t_start;
  return m->out->from == m->a->row && m->out->t_start == since && fsw_seq_role(m->b, m->table) == m->role_b;
}

static int check_word(move_t *m)
{
  const fsw_seq_engine_t *b = m->b;
  return b->check == fsw_seq_check_word(b) && (b->pad0[0] | b->pad0[1] | b->pad0[2]) == 0 && b->row < m->table->n_rows;
}

/* ---- liveness ---- */
static uint32_t rank_of_closing(const fsw_seq_table_t *table, uint32_t row)
{
  uint32_t sum = 0;
  for (uint32_t k = 0; k < FSW_SEQ_ROWS && closing(table->row[row].role); k++) {
    sum += table->row[row].max;
    row = table->row[row].next % FSW_SEQ_ROWS;
  }
  return sum;
}

uint32_t fsw_proof_rank(const fsw_seq_engine_t *e, const fsw_seq_table_t *table)
{
  const fsw_seq_row_t *r = &table->row[e->row % FSW_SEQ_ROWS];
  if (at_rest(r->role)) return 0;
  if (closing(r->role)) return rank_of_closing(table, e->row % FSW_SEQ_ROWS) - e->t;
  uint32_t worst = r->abort < FSW_SEQ_ROWS ? rank_of_closing(table, r->abort) : 0;
  return 1u + worst;
}

/* Nothing wanted: each step of time brings it nearer to rest, whatever is measured and commanded against it. */
static int comes_to_rest(move_t *m)
{
  if (m->is & WANTED) return 1;
  uint32_t before = fsw_proof_rank(m->a, m->table), after = fsw_proof_rank(m->b, m->table);
  return after + ((m->is & FSW_SEQ_CMD_ADVANCE) != 0) <= before || (after == 0 && before == 0);
}

static int always(move_t *m)
{
  (void)m;
  return 1;
}

/* name, check, sentence; the order is the number */
#define INVARIANTS(X) \
  X("I1", lead, "the second propellant is admitted only while the first is open already") \
  X("I2", purged, "a main valve opens only after the purge has run for its least time in one go") \
  X("I3", chilled, "a start begins only in a step in which the pump is measured cold and the inlet pressure is there") \
  X("I4", rest_closed, "off, in its checks, safed or inhibited: nothing is energised") \
  X("I5", abort_closes, "an abort de-energises everything in the same step, in every state") \
  X("I6", inhibit_closes, "an inhibit de-energises everything in the same step, in every state") \
  X("I7", unburnt_limited, "a main valve is never open without flame for longer than the limit on unburnt propellant") \
  X("I8", redline_ends, "a redline that holds where it is armed leads to the abort path in that step: a propellant is cut, none opens") \
  X("I9", no_purge_into_propellant, "the purge is never open together with a main valve, except in a shutdown") \
  X("I10", abort_path, "an abort is honoured in one step in every state, and repeated it changes nothing") \
  X("I11", stale_waits, "with a stale link and the engine not committed, no step is taken towards fire and nothing but a pulsed valve opens") \
  X("I13", igniter_limited, "the igniter is on only in a start, and never for longer than its limit") \
  X("I14", shutdown_closes, "a shutdown never opens a valve, and what follows it opens the purge alone") \
  X("I15", row_limited, "no step of the sequence lasts longer than its maximum") \
  X("I15b", row_minimum, "no step of the sequence is left for the next before its minimum") \
  X("I16", comes_to_rest, "with nothing wanted every step of time brings the engine nearer to rest, whatever is measured") \
  X("I18", always, "one bit or two neighbours flipped, or a row that is none, are noticed: everything closed, never started again") \
  X("I20", starts_counted, "the start counter grows by one at each start command, before anything is energised, never beyond its limit") \
  X("I21", spent_stays_closed, "an engine that failed after lighting, burnt in its bay or was aborted is never prepared or started again") \
  X("I22", igniter_first, "a main valve opens in a start only while the igniter is on and confirmed") \
  X("I23", stopped_at_once, "an engine that is no longer to run goes to shutdown in the same step: igniter off, a propellant cut") \
  X("I24", check_word, "the state that a step leaves is whole: check word, row and padding") \
  X("I25", out_told, "a step reports the row it began in and the time since the start command") \
  X("I26", valves_of_row, "what is energised is what the row says, and the output equals the state") \
  X("I27", time_counted, "time in a row grows by one a step of time and begins at nought") \
  X("I28", start_counted, "time since the start command, igniter and unburnt time are counted step by step, and nought outside of a start") \
  X("I29", gate_flag, "a start goes on beyond its gate only if a sign of light was there when the gate was due") \
  X("I30", events_told, "every change is told by its event, and nothing else is told") \
  X("I31", only_commands, "between two steps of time nothing but a command changes anything") \
  X("I32", ready_flag, "an engine is ready while it holds and its exit conditions hold") \
  X("I33", started_at_once, "an engine that is ready starts in the step in which it is commanded to run") \
  X("I34", lit_goes_on, "a start goes on when its exit conditions hold after the least time, and stays while nothing is wrong") \
  X("I35", main_stays, "a main stage that is to run and in which nothing is wrong is not left") \
  X("I36", preparation_goes_on, "a preparation goes on when its exit conditions hold, and is given up when nothing is wanted") \
  X("I37", rest_and_recovery, "rest is left when an engine that may be started is wanted or well again, after its least time, and never else") \
  X("I38", cause_told, "the cause of a shutdown or inhibit is the gravest one that is there") \
  X("I39", flags_follow, "failed, lit, fire and aborted are set when they are true and last until the next start, fire and abort for ever") \
  X("I40", wrong_ends, "a lost condition, fire, a limit or a missed gate ends the row along its abort path in that step") \
  X("I41", always, "a condition that a row does not watch makes no difference in it") \
  X("I42", always, "the table can be executed")

static int rest_and_recovery(move_t *m) { return rest_is_left_rightly(m) && inhibited_recovers(m) && closing_goes_on(m) && starts_left(m); }
static int flags_follow(move_t *m) { return failed_flag(m) && lit_flag(m) && kept_flags(m) && prepared_closed(m); }

#define NAME(name, holds, text) name,
#define TEXT(name, holds, text) text,
static const char *const names[] = { INVARIANTS(NAME) };
static const char *const texts[] = { INVARIANTS(TEXT) };
_Static_assert(sizeof names / sizeof names[0] == FSW_PROOF_INVARIANTS, "as many as there are slots");

const char *fsw_proof_name(uint32_t k) { return k < FSW_PROOF_INVARIANTS ? names[k] : NULL; }
const char *fsw_proof_text(uint32_t k) { return k < FSW_PROOF_INVARIANTS ? texts[k] : NULL; }

#define CHECK(name, holds, text) bad |= (uint64_t)!holds(m) << n++;
uint64_t fsw_proof_check(fsw_proof_move_t *m)
{
  uint64_t bad = 0;
  uint32_t n = 0;
  fsw_proof_prepare(m);
  INVARIANTS(CHECK)
  fsw_proof_remember(m);
  return bad;
}
