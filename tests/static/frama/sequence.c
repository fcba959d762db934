/* Any state with a known cause, any conditions and commands, any table whose rows name rows and roles that exist (what
 * fsw_seq_table_problem() accepts is among them). The step keeps the cause known: with the initial state that is an induction over time. */
#include "flightsw/sequence.h"

#include "any.h"

static void any_table(fsw_seq_table_t *t)
{
  Frama_C_make_unknown((char *)t, sizeof *t);
  for (int k = 0; k < FSW_SEQ_ROWS; k++) {
    t->row[k].role = UP_TO(FSW_ENGINE_AFTER);
    t->row[k].next = UP_TO(FSW_SEQ_ROWS - 1);
    t->row[k].abort = UP_TO(FSW_SEQ_ROWS - 1);
  }
  t->n_rows = UP_TO(FSW_SEQ_ROWS);
}

int main(void)
{
  static fsw_seq_table_t table;
  fsw_seq_engine_t s;
  fsw_seq_out_t out;
  any_table(&table);
  //@ loop unroll 17;
  for (int row = 0; row <= FSW_SEQ_ROWS; row++) { /* one by one: what is read of a row twice is then the same */
    ANY(s);
    s.cause = UP_TO(FSW_SEQ_CAUSE_CORRUPT);
    s.row = row < FSW_SEQ_ROWS ? row : Frama_C_unsigned_int_interval(FSW_SEQ_ROWS, 255u);
    fsw_seq_step(&s, ANY_U32(), &table, &out);
    //@ assert s.cause <= FSW_SEQ_CAUSE_CORRUPT && out.n_events <= FSW_SEQ_OUT_EVENTS;
  }
  ANY(s);
  fsw_seq_startable(&s, &table);
  fsw_seq_role(&s, &table);
  fsw_seq_watched(&table, UP_TO(FSW_SEQ_ROWS - 1));
  fsw_seq_engine_init(&s);
  //@ assert s.cause <= FSW_SEQ_CAUSE_CORRUPT;
  return 0;
}
