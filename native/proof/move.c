/* move.c - what a move of one engine amounts to, from the table and the declared meaning of its entries (sequence.h): which reasons end a
 * row, what the counters come to, and what is remembered of the past. */
#include "move.h"

static uint16_t role_cause(uint8_t role)
{
  switch (role) {
    case FSW_ENGINE_CHECK: return FSW_SEQ_CAUSE_CHECK;
    case FSW_ENGINE_PURGE:
    case FSW_ENGINE_CHILL: return FSW_SEQ_CAUSE_CHILL;
    case FSW_ENGINE_IGNITER: return FSW_SEQ_CAUSE_IGNITER;
    case FSW_ENGINE_LEAD: return FSW_SEQ_CAUSE_LEAD;
    case FSW_ENGINE_RISE: return FSW_SEQ_CAUSE_NO_LIGHT;
    default: return FSW_SEQ_CAUSE_DIED;
  }
}

/* Redlines, fire, conditions to be kept. */
static uint8_t why_wrong(const fsw_proof_move_t *m)
{
  uint32_t red = m->is & m->ra->redline, lost = m->ra->keep & ~m->is;
  if (red & FSW_SEQ_IS_OUT) return FSW_SEQ_CAUSE_DIED;
  if (red) return FSW_SEQ_CAUSE_REDLINE;
  if (on_fire(m) && m->role_a != FSW_ENGINE_MAIN) return FSW_SEQ_CAUSE_FIRE;
  if (lost & FSW_SEQ_IS_LINK) return FSW_SEQ_CAUSE_STALE;
  return lost ? (uint8_t)role_cause(m->role_a) : FSW_SEQ_CAUSE_NONE;
}

static uint8_t why_not_entered(const fsw_proof_move_t *m)
{
  return all(m, m->table->row[m->ra->next].entry) ? FSW_SEQ_CAUSE_NONE : FSW_SEQ_CAUSE_CHECK;
}

static uint8_t why_not_prepared(const fsw_proof_move_t *m)
{
  if (!(m->is & WANTED)) return FSW_SEQ_CAUSE_NONE;
  if (exit_due(m)) return m->ra->hold ? FSW_SEQ_CAUSE_NONE : why_not_entered(m);
  return !all(m, m->ra->exit) && m->t1 >= m->ra->max ? (uint8_t)role_cause(m->role_a) : FSW_SEQ_CAUSE_NONE;
}

static uint8_t why_too_much(const fsw_proof_move_t *m)
{
  if (m->unburnt1 >= m->table->unburnt_limit) return FSW_SEQ_CAUSE_UNBURNT;
  return m->igniter1 >= m->table->igniter_limit ? FSW_SEQ_CAUSE_IGNITER : FSW_SEQ_CAUSE_NONE;
}

static uint8_t why_too_late(fsw_proof_move_t *m)
{
  if (m->start1 >= m->table->start_max) return FSW_SEQ_CAUSE_NO_LIGHT;
  if (m->ra->gate_t && m->start1 >= m->ra->gate_t && !(m->a->flags & FSW_SEQ_GATED)) {
    if (!(m->is & m->ra->gate)) return FSW_SEQ_CAUSE_NO_LIGHT;
    m->gate_now = 1;
  }
  return m->ra->max && m->t1 >= m->ra->max ? (uint8_t)role_cause(m->role_a) : FSW_SEQ_CAUSE_NONE;
}

static uint8_t why(fsw_proof_move_t *m)
{
  if (!m->step || !(preparing(m->role_a) || active(m->role_a))) return FSW_SEQ_CAUSE_NONE;
  uint8_t cause = why_wrong(m);
  if (cause != FSW_SEQ_CAUSE_NONE || m->role_a == FSW_ENGINE_MAIN) return cause;
  if (preparing(m->role_a)) return why_not_prepared(m);
  cause = why_too_much(m);
  if (cause != FSW_SEQ_CAUSE_NONE) return cause;
  return exit_due(m) ? why_not_entered(m) : why_too_late(m);
}

static uint16_t one_more(uint16_t n, int yes) { return (uint16_t)(n + (yes ? 1 : 0)); }

static void count(fsw_proof_move_t *m)
{
  uint16_t cap = m->ra->min > m->ra->max ? m->ra->min : m->ra->max;
  m->t1 = m->a->t < cap ? (uint16_t)(m->a->t + 1) : cap;
  m->start1 = one_more(m->a->t_start, 1);
  m->igniter1 = one_more(m->a->igniter, m->a->valves & FSW_VALVE_IGNITER);
  m->unburnt1 = one_more(m->a->unburnt, (m->a->valves & MAINS) && !(m->is & FSW_SEQ_IS_FLAME));
}

static int is_ready_run(const fsw_proof_move_t *m)
{
  if (!(m->a->flags & FSW_SEQ_READY) || !(m->is & FSW_SEQ_CMD_RUN) || commanded(m)) return 0;
  return all(m, m->ra->exit | m->ra->keep | m->table->row[m->ra->next].entry) && !(m->is & m->ra->redline) && able(m);
}

void fsw_proof_prepare(fsw_proof_move_t *m)
{
  m->a = &m->from->engine;
  m->b = &m->to->engine;
  m->ra = &m->table->row[m->a->row % FSW_SEQ_ROWS];
  m->rb = &m->table->row[m->b->row % FSW_SEQ_ROWS];
  m->role_a = m->ra->role;
  m->role_b = m->rb->role;
  m->past = m->from->past;
  m->opened = (uint8_t)(m->b->valves & ~m->a->valves);
  m->begins = !active(m->role_a) && in_start(m->role_b);
  m->ready_run = (uint8_t)is_ready_run(m);
  m->step = (m->is & FSW_SEQ_CMD_ADVANCE) && !commanded(m) && !stops(m) && !m->ready_run;
  m->gate_now = 0;
  count(m);
  m->why = why(m);
}

/* Steps with the purge valve open in one go, in a preparation; the mark that they were enough lasts until propellant has flowed or the
 * engine is back at rest. */
static uint32_t purge_past(const fsw_proof_move_t *m)
{
  uint32_t run = m->past >> PAST_PURGE, done = m->past & PAST_PURGED;
  if (!preparing(m->role_b) && !in_start(m->role_b)) return 0;
  if ((m->is & FSW_SEQ_CMD_ADVANCE) && (m->a->valves & FSW_VALVE_PURGE)) run = run < m->need->purge_min ? run + 1u : run;
  if (run >= m->need->purge_min) done = PAST_PURGED;
  if (!(m->b->valves & FSW_VALVE_PURGE)) run = 0;
  return run << PAST_PURGE | done;
}

/* Failed after lighting, told without the engine's own flags. */
static int died(const fsw_proof_move_t *m)
{
  if (m->is & FSW_SEQ_CMD_ABORT) return 0;
  if (m->is & FSW_SEQ_CMD_INHIBIT) return active(m->role_a) || m->role_a == FSW_ENGINE_SHUTDOWN;
  if (!(m->is & FSW_SEQ_CMD_RUN) || active(m->role_b)) return 0;
  return m->role_a == FSW_ENGINE_MAIN || (in_start(m->role_a) && (m->is & FSW_SEQ_IS_FLAME));
}

void fsw_proof_remember(fsw_proof_move_t *m)
{
  uint32_t past = (m->past & (PAST_DEAD | PAST_FIRE | PAST_ABORT)) | purge_past(m);
  if (m->is & FSW_SEQ_CMD_ABORT) past |= PAST_ABORT;
  if (m->is & FSW_SEQ_IS_FIRE) past |= PAST_FIRE;
  if (died(m)) past |= PAST_DEAD;
  m->to->past = past;
}
