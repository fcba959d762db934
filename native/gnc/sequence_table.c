/* sequence_table.c - parameters to the table of a sequence, and whether it can be executed. See sequence.h, sequencer.h. */
#include "flightsw/math.h"
#include "flightsw/sequencer.h"

#define MAIN_VALVES (FSW_VALVE_FUEL | FSW_VALVE_OX)
#define MOST_STEPS 60000.0

static uint16_t steps(double seconds, double step_s)
{
  if (!(seconds > 0.0)) return 0;
  return (uint16_t)fsw_clamp(seconds / step_s + 0.5, 1.0, MOST_STEPS);
}

static uint8_t steps8(double n) { return (uint8_t)fsw_clamp(n, 1.0, 250.0); }

static void built_in(const fsw_sequencer_params_t *p, double step_s, fsw_seq_row_t *row)
{
  static const uint8_t role[FSW_SEQ_ROW_FIRST] = { FSW_ENGINE_OFF, FSW_ENGINE_SAFED, FSW_ENGINE_INHIBITED };
  for (uint8_t k = 0; k < FSW_SEQ_ROW_FIRST; k++) {
    row[k].role = role[k];
    row[k].next = k == FSW_SEQ_ROW_INHIBITED ? FSW_SEQ_ROW_OFF : FSW_SEQ_ROW_FIRST;
    row[k].abort = k;
  }
  row[FSW_SEQ_ROW_SAFED].min = row[FSW_SEQ_ROW_SAFED].max = steps(p->seq_rearm_s, step_s);
  row[FSW_SEQ_ROW_INHIBITED].min = row[FSW_SEQ_ROW_INHIBITED].max = steps(p->seq_recover_s, step_s);
  row[FSW_SEQ_ROW_INHIBITED].exit = p->seq_recover_needs;
}

static void own_row(const fsw_sequencer_params_t *p, double step_s, uint32_t k, fsw_seq_row_t *r)
{
  r->entry = p->seq_entry[k];
  r->exit = p->seq_exit[k];
  r->keep = p->seq_keep[k];
  r->redline = p->seq_redline[k];
  r->gate = p->seq_gate[k];
  r->pulse = p->seq_pulse[k];
  r->min = steps(p->seq_min_s[k], step_s);
  r->max = steps(p->seq_max_s[k], step_s);
  r->gate_t = steps(p->seq_gate_s[k], step_s);
  r->role = p->seq_role[k];
  r->valves = p->seq_valves[k];
  r->pulsed = p->seq_pulsed[k];
  r->next = p->seq_next[k];
  r->abort = p->seq_abort[k];
  r->hold = p->seq_hold[k];
}

static void sensing(const fsw_sequencer_params_t *p, double step_s, fsw_seq_sense_limits_t *out)
{
  __builtin_memset(out, 0, sizeof *out);
  out->n_conditions = (uint8_t)(p->seq_conditions < FSW_SEQ_CONDITIONS ? p->seq_conditions : FSW_SEQ_CONDITIONS);
  for (uint32_t k = 0; k < out->n_conditions; k++) {
    fsw_seq_condition_t *c = &out->condition[k];
    c->value = p->seq_cond_value[k];
    c->release = p->seq_cond_release[k];
    c->channel = p->seq_cond_channel[k];
    c->op = p->seq_cond_op[k];
    c->persist = steps8(p->seq_cond_for_s[k] / step_s + 0.5);
  }
  out->lit_share = p->lit_share;
  out->rise_share = p->rise_share;
  out->dead_share = p->dead_share;
  out->disagree_share = p->disagree_share;
  out->range_share = p->range_share;
  out->grace = steps(p->grace_s, step_s);
  out->lit_steps = (uint8_t)fsw_clamp(p->lit_steps, 1.0, 60.0);
  out->rise_steps = steps8(p->rise_steps);
  out->dead_steps = (uint8_t)fsw_clamp(p->dead_steps, 1.0, 60.0);
  out->disqualify_steps = steps8(p->disqualify_steps);
}

uint32_t fsw_seq_table(const fsw_sequencer_params_t *p, double step_s, fsw_seq_table_t *table, fsw_seq_sense_limits_t *limits)
{
  uint32_t n = p->seq_steps < FSW_SEQ_STEPS ? p->seq_steps : FSW_SEQ_STEPS;
  __builtin_memset(table, 0, sizeof *table);
  built_in(p, step_s, table->row);
  for (uint32_t k = 0; k < n; k++) own_row(p, step_s, k, &table->row[FSW_SEQ_ROW_FIRST + k]);
  table->start_max = steps(p->seq_start_max_s, step_s);
  table->igniter_limit = steps(p->seq_igniter_s, step_s);
  table->unburnt_limit = steps(p->seq_unburnt_s, step_s);
  table->n_rows = (uint8_t)(FSW_SEQ_ROW_FIRST + n);
  table->max_starts = (uint8_t)(p->seq_max_starts < 200 ? p->seq_max_starts : 200);
  sensing(p, step_s, limits);
  return fsw_seq_table_problem(table);
}

static int preparing(uint8_t role) { return role >= FSW_ENGINE_CHECK && role <= FSW_ENGINE_CHILL; }
static int in_start(uint8_t role) { return role >= FSW_ENGINE_IGNITER && role <= FSW_ENGINE_RISE; }
static int closing(uint8_t role) { return role == FSW_ENGINE_SHUTDOWN || role == FSW_ENGINE_AFTER; }
static int a_role(uint8_t role) { return (role >= FSW_ENGINE_CHECK && role <= FSW_ENGINE_SHUTDOWN) || role == FSW_ENGINE_AFTER; }

/* Forward within the sequence, or out of it at its end; a hold leads into a start, MAIN to a shutdown. */
static int next_fits(const fsw_seq_table_t *t, uint32_t k)
{
  const fsw_seq_row_t *r = &t->row[k];
  if (closing(r->role) && r->next == FSW_SEQ_ROW_SAFED) return 1;
  if (r->next <= k || r->next >= t->n_rows) return 0;
  uint8_t to = t->row[r->next].role;
  if (closing(r->role)) return closing(to);
  if (preparing(r->role)) return r->hold ? to >= FSW_ENGINE_IGNITER && to <= FSW_ENGINE_RISE : preparing(to);
  return r->role == FSW_ENGINE_MAIN ? to == FSW_ENGINE_SHUTDOWN : to <= FSW_ENGINE_MAIN; /* roles do not go back: row_fits() */
}

static int abort_fits(const fsw_seq_table_t *t, const fsw_seq_row_t *r)
{
  if (preparing(r->role)) return r->abort == FSW_SEQ_ROW_INHIBITED || r->abort == FSW_SEQ_ROW_SAFED;
  if (closing(r->role)) return 1;
  return r->abort < t->n_rows && t->row[r->abort].role == FSW_ENGINE_SHUTDOWN;
}

static int times_fit(const fsw_seq_table_t *t, const fsw_seq_row_t *r)
{
  if (r->role == FSW_ENGINE_MAIN) return r->max == 0 && r->exit == 0;
  if (r->hold && r->min != 0) return 0; /* it is ready as soon as its conditions hold */
  if (r->max == 0) return in_start(r->role) && r->gate_t <= t->start_max; /* start_max limits it */
  return r->min <= r->max && r->gate_t <= t->start_max;
}

static int valves_fit(const fsw_seq_row_t *r)
{
  if (!preparing(r->role) && r->role != FSW_ENGINE_AFTER) return 1;
  return (r->valves & (MAIN_VALVES | FSW_VALVE_IGNITER)) == 0;
}

static int row_fits(const fsw_seq_table_t *t, uint32_t k)
{
  const fsw_seq_row_t *r = &t->row[k];
  if (!a_role(r->role) || (r->hold && !preparing(r->role))) return 0;
  if (k > FSW_SEQ_ROW_FIRST && r->role < t->row[k - 1].role) return 0;
  return next_fits(t, k) && abort_fits(t, r) && times_fit(t, r) && valves_fit(r);
}

static int limits_fit(const fsw_seq_table_t *t)
{
  return t->start_max > 0 && t->igniter_limit > 0 && t->unburnt_limit > 0 && t->max_starts > 0;
}

/* Begins with a preparation and has one MAIN, behind which, as its next, is a shutdown. */
static int whole(const fsw_seq_table_t *t)
{
  uint32_t mains = 0;
  for (uint32_t k = FSW_SEQ_ROW_FIRST; k < t->n_rows; k++) mains += t->row[k].role == FSW_ENGINE_MAIN;
  return preparing(t->row[FSW_SEQ_ROW_FIRST].role) && mains == 1;
}

uint32_t fsw_seq_table_problem(const fsw_seq_table_t *t)
{
  if (t->n_rows <= FSW_SEQ_ROW_FIRST || t->n_rows > FSW_SEQ_ROWS || !limits_fit(t)) return 1;
  for (uint32_t k = FSW_SEQ_ROW_FIRST; k < t->n_rows; k++) {
    if (!row_fits(t, k)) return k + 1;
  }
  return whole(t) ? 0 : 1;
}
