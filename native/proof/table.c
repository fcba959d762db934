/* table.c - what must hold of the table itself and of states that no move leads to. */
#include "flightsw/events.h"
#include "move.h"

/* All that the table names in a row is watched there, flame where propellant or its rest may burn, and nothing that is no condition. */
static int watches(const fsw_seq_table_t *table, uint32_t row)
{
  const fsw_seq_row_t *r = &table->row[row];
  const int flame = (r->valves & MAINS) || closing(r->role) || r->role == FSW_ENGINE_SAFED;
  const uint32_t named = r->exit | r->keep | r->redline | r->gate | r->pulse | table->row[r->next % FSW_SEQ_ROWS].entry |
                         FSW_SEQ_IS_FIRE | (flame ? FSW_SEQ_IS_FLAME : 0);
  const uint32_t seen = fsw_seq_watched(table, row), more = seen & ~named;
  return (seen & named) == (named & FSW_SEQ_IS_MASK) && (more == 0 || (more == FSW_SEQ_IS_FLAME && r->role == FSW_ENGINE_INHIBITED));
}

/* No command can be hidden among the conditions of a row. */
static int commands_are_none(const fsw_seq_table_t *table)
{
  fsw_seq_table_t all_set = *table;
  all_set.row[FSW_SEQ_ROW_FIRST].exit = 0xffffffffu;
  return fsw_seq_watched(&all_set, FSW_SEQ_ROW_FIRST) == FSW_SEQ_IS_MASK;
}

uint64_t fsw_proof_table(const fsw_seq_table_t *table)
{
  const uint64_t refused = fsw_seq_table_problem(table) != 0;
  uint64_t unseen = 0;
  if (table->n_rows > FSW_SEQ_ROWS) return 1ull << FSW_PROOF_TABLE;
  for (uint32_t row = 0; row < table->n_rows; row++) unseen |= !watches(table, row);
  return refused << FSW_PROOF_TABLE | (unseen | !commands_are_none(table)) << FSW_PROOF_UNSEEN;
}

int fsw_proof_corrupt_safe(fsw_seq_engine_t e, uint32_t is, const fsw_seq_table_t *table)
{
  fsw_seq_out_t out;
  const uint8_t row = e.row;
  if (row >= table->n_rows && fsw_seq_role(&e, table) != FSW_ENGINE_INHIBITED) return 0;
  fsw_seq_step(&e, is, table, &out);
  const int closed = e.row == FSW_SEQ_ROW_INHIBITED && (e.valves | out.valves) == 0;
  const int spent = e.cause == FSW_SEQ_CAUSE_CORRUPT && e.flags == FSW_SEQ_ABORTED && !fsw_seq_startable(&e, table);
  const int whole = e.check == fsw_seq_check_word(&e) && (e.t | e.t_start | e.igniter | e.unburnt) == 0;
  return closed && spent && whole && out.from == row && out.n_events == 1 && out.code[0] == FSW_EVENT_ENGINE_INHIBITED;
}
