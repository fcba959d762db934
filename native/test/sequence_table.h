/* sequence_table.h - the booster's sequence in steps of 10 ms as bench_configs/sequences gives it, and others for tests. */
#ifndef FLIGHTSW_TEST_SEQUENCE_TABLE_H
#define FLIGHTSW_TEST_SEQUENCE_TABLE_H
#include <string.h>

#include "flightsw/proof.h"

/* conditions of the table, in their order */
#define COND_INLET_ALIVE 0x100u
#define COND_INLET 0x200u
#define COND_PUMP_COLD 0x400u
#define COND_PUMP_COLDER 0x800u  /* cold with a margin: the chill valve rests */
#define COND_OVER 0x1000u        /* chamber pressure far above what the throttle promises */

enum { ROW_CHECK = 3, ROW_PURGE, ROW_CHILL, ROW_IGNITER, ROW_LEAD, ROW_RISE, ROW_MAIN, ROW_LAG, ROW_SHUTDOWN, ROW_AFTER, ROWS };

static inline void times(fsw_seq_row_t *r, uint16_t min, uint16_t max) { r->min = min, r->max = max; }

static inline void path(fsw_seq_table_t *t)
{
  static const uint8_t role[ROWS] = { FSW_ENGINE_OFF, FSW_ENGINE_SAFED, FSW_ENGINE_INHIBITED, FSW_ENGINE_CHECK, FSW_ENGINE_PURGE,
                                      FSW_ENGINE_CHILL, FSW_ENGINE_IGNITER, FSW_ENGINE_LEAD, FSW_ENGINE_RISE, FSW_ENGINE_MAIN,
                                      FSW_ENGINE_SHUTDOWN, FSW_ENGINE_SHUTDOWN, FSW_ENGINE_AFTER };
  t->n_rows = ROWS;
  for (uint8_t k = 0; k < ROWS; k++) {
    t->row[k].role = role[k];
    t->row[k].next = (uint8_t)(k < ROW_CHECK ? ROW_CHECK : k + 1);
    t->row[k].abort = (uint8_t)(k < ROW_CHECK ? k : k < ROW_IGNITER ? FSW_SEQ_ROW_INHIBITED : k < ROW_LAG ? ROW_LAG : FSW_SEQ_ROW_SAFED);
  }
  t->row[ROW_AFTER].next = FSW_SEQ_ROW_SAFED;
}

/* The sequence of the booster: oxidiser leads. */
static inline void sequence_shipped(fsw_seq_table_t *t, fsw_proof_requirements_t *need)
{
  const uint8_t both = FSW_VALVE_FUEL | FSW_VALVE_OX;
  memset(t, 0, sizeof *t);
  path(t);
  fsw_seq_row_t *r = t->row;
  times(&r[FSW_SEQ_ROW_SAFED], 20, 20);
  times(&r[FSW_SEQ_ROW_INHIBITED], 20, 20);
  r[FSW_SEQ_ROW_INHIBITED].exit = FSW_SEQ_IS_LINK | FSW_SEQ_IS_QUIET | COND_INLET_ALIVE;
  r[ROW_CHECK].exit = FSW_SEQ_IS_LINK | FSW_SEQ_IS_QUIET | COND_INLET_ALIVE;
  times(&r[ROW_CHECK], 3, 200);
  r[ROW_PURGE].keep = FSW_SEQ_IS_LINK;
  r[ROW_PURGE].valves = FSW_VALVE_PURGE;
  times(&r[ROW_PURGE], 50, 50);
  r[ROW_CHILL].keep = FSW_SEQ_IS_LINK;
  r[ROW_CHILL].exit = FSW_SEQ_IS_LINK | COND_INLET | COND_PUMP_COLD;
  r[ROW_CHILL].pulse = COND_PUMP_COLDER;
  r[ROW_CHILL].valves = r[ROW_CHILL].pulsed = FSW_VALVE_CHILL;
  r[ROW_CHILL].hold = 1;
  times(&r[ROW_CHILL], 0, 3000);
  r[ROW_IGNITER].keep = FSW_SEQ_IS_LINK;
  r[ROW_IGNITER].exit = FSW_SEQ_IS_IGNITER;
  r[ROW_IGNITER].valves = FSW_VALVE_IGNITER;
  times(&r[ROW_IGNITER], 1, 20);
  r[ROW_LEAD].keep = FSW_SEQ_IS_LINK | FSW_SEQ_IS_IGNITER;
  r[ROW_LEAD].valves = FSW_VALVE_IGNITER | FSW_VALVE_OX;
  r[ROW_LEAD].redline = r[ROW_RISE].redline = COND_OVER;
  times(&r[ROW_LEAD], 1, 1);
  r[ROW_RISE].exit = FSW_SEQ_IS_LIT;
  r[ROW_RISE].gate = FSW_SEQ_IS_SIGN;
  r[ROW_RISE].gate_t = 125;
  r[ROW_RISE].valves = (uint8_t)(FSW_VALVE_IGNITER | both);
  times(&r[ROW_RISE], 1, 0); /* start_max limits it */
  r[ROW_MAIN].redline = FSW_SEQ_IS_OUT | COND_OVER;
  r[ROW_MAIN].valves = both;
  r[ROW_LAG].valves = FSW_VALVE_FUEL;
  times(&r[ROW_LAG], 2, 2);
  times(&r[ROW_SHUTDOWN], 28, 28);
  r[ROW_AFTER].valves = FSW_VALVE_PURGE;
  times(&r[ROW_AFTER], 100, 100);
  t->start_max = 220;
  t->igniter_limit = 240;
  t->unburnt_limit = 130;
  t->max_starts = 3;
  memset(need, 0, sizeof *need);
  need->cold = COND_INLET | COND_PUMP_COLD;
  need->purge_min = 50;
}

/* The same with short timers, so that each of its limits is the first to act on some path. */
static inline void sequence_short(fsw_seq_table_t *t, fsw_proof_requirements_t *need)
{
  sequence_shipped(t, need);
  fsw_seq_row_t *r = t->row;
  times(&r[FSW_SEQ_ROW_SAFED], 3, 3);
  times(&r[FSW_SEQ_ROW_INHIBITED], 3, 3);
  times(&r[ROW_CHECK], 2, 5);
  times(&r[ROW_PURGE], 4, 4);
  times(&r[ROW_CHILL], 0, 6);
  times(&r[ROW_IGNITER], 2, 4);
  times(&r[ROW_RISE], 2, 0);
  r[ROW_RISE].gate_t = 7;
  times(&r[ROW_LAG], 2, 2);
  times(&r[ROW_SHUTDOWN], 3, 3);
  times(&r[ROW_AFTER], 4, 4);
  t->start_max = 12;
  t->igniter_limit = 11;
  t->unburnt_limit = 6;
  t->max_starts = 2;
  need->purge_min = 4;
}

/* A step of the start in which nothing is energised yet, before the igniter. */
static inline void insert_spin(fsw_seq_table_t *t)
{
  for (uint32_t k = t->n_rows++; k > ROW_IGNITER; k--) t->row[k] = t->row[k - 1];
  for (uint32_t k = ROW_IGNITER + 1; k < t->n_rows; k++) {
    if (t->row[k].next > ROW_IGNITER) t->row[k].next++;
    if (t->row[k].abort > ROW_IGNITER) t->row[k].abort++;
  }
  t->row[ROW_IGNITER].abort++;
  t->row[ROW_IGNITER].valves = 0;
  t->row[ROW_IGNITER].exit = 0;
  times(&t->row[ROW_IGNITER], 2, 2);
}

/* One with as much as possible different: fuel leads, entry conditions and exit conditions everywhere, conditions to be kept in every row,
 * a hold that purges on while its chill valve rests, gates in two rows, rows with limits of their own, preparation given up to SAFED. */
static inline void sequence_other(fsw_seq_table_t *t, fsw_proof_requirements_t *need)
{
  sequence_short(t, need);
  fsw_seq_row_t *r = t->row;
  insert_spin(t);
  times(&r[FSW_SEQ_ROW_SAFED], 2, 4);
  times(&r[FSW_SEQ_ROW_INHIBITED], 2, 5);
  r[ROW_CHECK].entry = COND_INLET_ALIVE;
  r[ROW_CHECK].exit = FSW_SEQ_IS_LINK;
  r[ROW_CHECK].abort = r[ROW_CHILL].abort = FSW_SEQ_ROW_SAFED;
  r[ROW_CHECK].redline = COND_OVER;
  times(&r[ROW_CHECK], 1, 3);
  r[ROW_PURGE].exit = FSW_SEQ_IS_QUIET;
  r[ROW_PURGE].pulsed = FSW_VALVE_PURGE; /* never: it names no condition */
  r[ROW_PURGE].redline = FSW_SEQ_IS_OUT;
  times(&r[ROW_PURGE], 3, 5);
  r[ROW_CHILL].entry = COND_INLET;
  r[ROW_CHILL].valves = FSW_VALVE_CHILL | FSW_VALVE_PURGE;
  r[ROW_CHILL].redline = COND_OVER;
  r[ROW_CHILL].exit = COND_PUMP_COLD | FSW_SEQ_IS_QUIET;
  r[ROW_CHILL].keep = FSW_SEQ_IS_LINK | COND_INLET;
  times(&r[ROW_CHILL], 0, 3);
  r[ROW_IGNITER].entry = COND_INLET_ALIVE;
  r[ROW_IGNITER].redline = FSW_SEQ_IS_OUT | COND_OVER;
  times(&r[ROW_IGNITER + 1], 1, 3);
  r[ROW_LEAD + 1].valves = FSW_VALVE_IGNITER | FSW_VALVE_FUEL;
  r[ROW_LEAD + 1].exit = FSW_SEQ_IS_SIGN;
  r[ROW_LEAD + 1].gate = COND_PUMP_COLDER | COND_INLET_ALIVE;
  r[ROW_LEAD + 1].gate_t = 4;
  times(&r[ROW_LEAD + 1], 1, 4);
  r[ROW_RISE + 1].entry = FSW_SEQ_IS_LINK | FSW_SEQ_IS_IGNITER;
  r[ROW_RISE + 1].keep = COND_INLET_ALIVE;
  times(&r[ROW_RISE + 1], 3, 6);
  r[ROW_RISE + 1].gate_t = 6;
  r[ROW_MAIN + 1].entry = COND_INLET;
  r[ROW_MAIN + 1].keep = FSW_SEQ_IS_LINK | COND_INLET_ALIVE;
  r[ROW_MAIN + 1].min = 2;
  r[ROW_LAG + 1].valves = FSW_VALVE_OX;
  r[ROW_LAG + 1].exit = COND_PUMP_COLDER;
  times(&r[ROW_LAG + 1], 1, 3);
  r[ROW_AFTER + 1].exit = FSW_SEQ_IS_QUIET;
  times(&r[ROW_AFTER + 1], 2, 4);
  t->start_max = 11;
  t->igniter_limit = 10;
  t->unburnt_limit = 5;
  t->max_starts = 1;
  need->lead_fuel = 1;
  need->purge_min = 3;
  need->cold = COND_PUMP_COLD | COND_INLET;
}

#endif
