/* Any parameters within their ranges (any_params, made from sequencer.h), any length of a step from 1 ms to 1 s; and any table whatever
 * before fsw_seq_table_problem(). */
#include "any_params.h"

int main(void)
{
  static fsw_sequencer_params_t p;
  static fsw_seq_table_t table;
  static fsw_seq_sense_limits_t limits;
  any_params(&p);
  fsw_seq_table(&p, Frama_C_double_interval(0.001, 1.0), &table, &limits);
  ANY(table);
  fsw_seq_table_problem(&table);
  return 0;
}
