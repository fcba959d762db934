/* Any memory of the sensing, any measurement (not a number and infinity too), any limits and any table whose rows exist; up to 16
 * conditions. With FINITE every measurement is a number. */
#include "flightsw/sense.h"

#include "any.h"

int main(void)
{
  static fsw_seq_table_t table;
  static fsw_seq_sense_limits_t limits;
  fsw_seq_engine_t e;
  fsw_seq_sense_t q;
  fsw_seq_measured_t m;
  ANY(table);
  for (int k = 0; k < FSW_SEQ_ROWS; k++) table.row[k].next = UP_TO(FSW_SEQ_ROWS - 1);
  table.n_rows = UP_TO(FSW_SEQ_ROWS);
  ANY(limits);
  limits.n_conditions = UP_TO(FSW_SEQ_CONDITIONS);
  ANY(e);
  ANY(q);
  ANY(m);
#ifdef FINITE
  m.pc_a = NUMBER();
  m.pc_b = NUMBER();
  m.expect = NUMBER();
  m.inlet_pa = NUMBER();
  m.pump_k = NUMBER();
  m.throttle = NUMBER();
  m.axial_m_s2 = NUMBER();
#endif
  fsw_seq_sense(&q, &e, &m, &table, &limits);
  fsw_seq_sense_init(&q);
  return 0;
}
