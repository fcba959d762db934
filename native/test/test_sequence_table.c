/* test_sequence_table.c - parameters to the table of a sequence: times in steps, and every rule that a table must keep to be executed.
 * Exits non-zero on failure. */
#include <stdio.h>
#include <string.h>

#include "sequencer_defaults.h"

static int failures;
#define CHECK(cond) ((cond) ? (void)0 : (failures++, (void)printf("%s:%d: %s\n", __func__, __LINE__, #cond)))

enum { CHECK_ROW = 3, PURGE_ROW, CHILL_ROW, IGNITER_ROW, LEAD_ROW, RISE_ROW, MAIN_ROW, OX_ROW, SHUT_ROW, AFTER_ROW, N_ROWS };

static fsw_seq_table_t shipped(void)
{
  fsw_sequencer_params_t p;
  fsw_seq_table_t t;
  fsw_seq_sense_limits_t s;
  defaults(&p);
  CHECK(fsw_seq_table(&p, 0.01, &t, &s) == 0);
  return t;
}

static void conversion(void)
{
  fsw_sequencer_params_t p;
  fsw_seq_table_t t;
  fsw_seq_sense_limits_t s;
  defaults(&p);
  CHECK(fsw_seq_table(&p, 0.01, &t, &s) == 0 && t.n_rows == N_ROWS && t.max_starts == 3);
  CHECK(t.start_max == 220 && t.igniter_limit == 240 && t.unburnt_limit == 130);
  CHECK(t.row[FSW_SEQ_ROW_SAFED].min == 20 && t.row[FSW_SEQ_ROW_INHIBITED].min == 20 && t.row[FSW_SEQ_ROW_INHIBITED].exit == p.seq_recover_needs);
  CHECK(t.row[CHILL_ROW].max == 3000 && t.row[RISE_ROW].gate_t == 125 && t.row[LEAD_ROW].min == 1 && t.row[MAIN_ROW].max == 0);
  CHECK(s.n_conditions == 5 && s.condition[4].persist == 12 && s.condition[0].persist == 3 && s.condition[3].release == 115.0);
  CHECK(s.lit_steps == 2 && s.dead_steps == 3 && s.disqualify_steps == 5 && s.grace == 160);
  CHECK(fsw_seq_table(&p, 0.05, &t, &s) == 0 && t.row[LEAD_ROW].min == 1 && t.row[PURGE_ROW].min == 10); /* never less than one step */
  p.seq_min_s[1] = -1.0; /* no time: no steps */
  CHECK(fsw_seq_table(&p, 0.01, &t, &s) == 0 && t.row[PURGE_ROW].min == 0);
  p.seq_max_starts = 1000; /* what would not fit is cut */
  p.seq_conditions = 1000;
  p.seq_steps = 1000;
  CHECK(fsw_seq_table(&p, 0.01, &t, &s) != 0 && t.max_starts == 200 && s.n_conditions == 16 && t.n_rows == FSW_SEQ_ROWS);
}

#define REFUSED(where, change) \
  do { \
    fsw_seq_table_t t = shipped(); \
    change; \
    uint32_t problem = fsw_seq_table_problem(&t); \
    if (problem != (where)) failures++, (void)printf("%d: %s: %u\n", __LINE__, #change, problem); \
  } while (0)
#define WHOLE 1u
#define AT(k) ((uint32_t)(k) + 1u)

static void limits(void)
{
  REFUSED(WHOLE, t.n_rows = 3);
  REFUSED(WHOLE, t.n_rows = 17);
  REFUSED(WHOLE, t.start_max = 0);
  REFUSED(WHOLE, t.igniter_limit = 0);
  REFUSED(WHOLE, t.unburnt_limit = 0);
  REFUSED(WHOLE, t.max_starts = 0);
}

static void roles(void)
{
  REFUSED(AT(CHECK_ROW), t.row[CHECK_ROW].role = FSW_ENGINE_OFF);
  REFUSED(AT(CHECK_ROW), t.row[CHECK_ROW].role = FSW_ENGINE_SAFED);
  REFUSED(AT(CHECK_ROW), t.row[PURGE_ROW].role = FSW_ENGINE_OFF);
  REFUSED(AT(CHECK_ROW), t.row[PURGE_ROW].role = FSW_ENGINE_SAFED); /* nowhere to go from the row before */
  REFUSED(AT(CHECK_ROW), t.row[PURGE_ROW].role = FSW_ENGINE_INHIBITED); /* nowhere to go from the row before */
  REFUSED(AT(CHECK_ROW), t.row[PURGE_ROW].role = 200); /* nowhere to go from the row before */
  REFUSED(AT(CHILL_ROW), t.row[PURGE_ROW].role = FSW_ENGINE_CHILL; t.row[CHILL_ROW].role = FSW_ENGINE_PURGE); /* out of order */
  REFUSED(AT(IGNITER_ROW), t.row[IGNITER_ROW].hold = 1);
  REFUSED(WHOLE, t.row[RISE_ROW] = t.row[MAIN_ROW]; t.row[RISE_ROW].next = OX_ROW; t.row[LEAD_ROW].next = RISE_ROW); /* two main stages */
  REFUSED(0, t.row[PURGE_ROW].role = FSW_ENGINE_CHECK);
  REFUSED(AT(MAIN_ROW), t.row[MAIN_ROW].abort = CHILL_ROW);
  for (uint32_t k = 0; k < 3; k++) { /* begins with a start, has no main stage, no shutdown */
    fsw_seq_table_t t = shipped(), part = t;
    if (k == 0) {
      memmove(&part.row[3], &t.row[IGNITER_ROW], 7 * sizeof t.row[0]);
      part.n_rows = 10;
      for (uint32_t i = 3; i < 10; i++) part.row[i].next = (uint8_t)(i + 1), part.row[i].abort = 7;
      part.row[9].next = FSW_SEQ_ROW_SAFED;
    } else {
      memmove(&part.row[3], &t.row[k == 1 ? OX_ROW : CHECK_ROW], 3 * sizeof t.row[0]);
      part.n_rows = 6;
      for (uint32_t i = 3; i < 6; i++) part.row[i].next = (uint8_t)(i + 1);
      part.row[5].next = FSW_SEQ_ROW_SAFED;
    }
    CHECK(fsw_seq_table_problem(&part) != 0);
  }
}

static void ways(void)
{
  REFUSED(AT(CHECK_ROW), t.row[CHECK_ROW].next = CHECK_ROW);
  REFUSED(AT(CHILL_ROW), t.row[CHILL_ROW].next = PURGE_ROW);
  REFUSED(AT(AFTER_ROW), t.row[AFTER_ROW].next = 13);
  REFUSED(AT(CHECK_ROW), t.row[CHECK_ROW].next = FSW_SEQ_ROW_SAFED);
  REFUSED(AT(PURGE_ROW), t.row[PURGE_ROW].next = IGNITER_ROW); /* without a hold */
  REFUSED(AT(CHILL_ROW), t.row[CHILL_ROW].hold = 0);
  REFUSED(AT(CHILL_ROW), t.row[CHILL_ROW].next = MAIN_ROW);
  REFUSED(AT(PURGE_ROW), t.row[PURGE_ROW].hold = 1);
  REFUSED(0, t.row[CHILL_ROW].next = LEAD_ROW);
  REFUSED(0, t.row[CHECK_ROW].next = CHILL_ROW);
  REFUSED(AT(RISE_ROW), t.row[RISE_ROW].next = OX_ROW);
  REFUSED(AT(MAIN_ROW), t.row[MAIN_ROW].next = AFTER_ROW);
  REFUSED(0, t.row[LEAD_ROW].next = MAIN_ROW);
  REFUSED(AT(AFTER_ROW), t.row[AFTER_ROW].next = SHUT_ROW);
  REFUSED(0, t.row[SHUT_ROW].next = FSW_SEQ_ROW_SAFED);
  REFUSED(AT(CHECK_ROW), t.row[CHECK_ROW].abort = OX_ROW);
  REFUSED(0, t.row[CHECK_ROW].abort = FSW_SEQ_ROW_SAFED);
  REFUSED(AT(LEAD_ROW), t.row[LEAD_ROW].abort = FSW_SEQ_ROW_INHIBITED);
  REFUSED(AT(LEAD_ROW), t.row[LEAD_ROW].abort = 13);
  REFUSED(AT(MAIN_ROW), t.row[MAIN_ROW].abort = AFTER_ROW);
  REFUSED(0, t.row[AFTER_ROW].abort = 99); /* of no meaning there */
}

static void times_and_valves(void)
{
  REFUSED(AT(PURGE_ROW), t.row[PURGE_ROW].max = 0);
  REFUSED(AT(PURGE_ROW), t.row[PURGE_ROW].min = 101);
  REFUSED(AT(SHUT_ROW), t.row[SHUT_ROW].min = t.row[SHUT_ROW].max = 0);
  REFUSED(AT(RISE_ROW), t.row[RISE_ROW].gate_t = 221);
  REFUSED(AT(RISE_ROW), t.row[RISE_ROW].gate_t = 221; t.row[RISE_ROW].max = 50);
  REFUSED(0, t.row[RISE_ROW].max = 50);
  REFUSED(AT(CHILL_ROW), t.row[CHILL_ROW].min = 1); /* a hold is ready as soon as its conditions hold */
  REFUSED(AT(MAIN_ROW), t.row[MAIN_ROW].max = 5);
  REFUSED(AT(MAIN_ROW), t.row[MAIN_ROW].exit = FSW_SEQ_IS_LINK);
  REFUSED(AT(CHILL_ROW), t.row[CHILL_ROW].valves |= FSW_VALVE_OX);
  REFUSED(AT(CHECK_ROW), t.row[CHECK_ROW].valves |= FSW_VALVE_IGNITER);
  REFUSED(AT(AFTER_ROW), t.row[AFTER_ROW].valves |= FSW_VALVE_FUEL);
  REFUSED(0, t.row[AFTER_ROW].valves = FSW_VALVE_CHILL);
}

int main(void)
{
  conversion();
  limits();
  roles();
  ways();
  times_and_valves();
  printf("test_sequence_table: %d failures\n", failures);
  return failures != 0;
}
