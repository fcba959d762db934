/* Any parameters within their ranges, any state whose table names rows that exist, any message. */
#include "any_params.h"

int main(void)
{
  static fsw_sequencer_params_t p;
  static fsw_sequencer_state_t s;
  static fsw_guidance_t guidance;
  static fsw_nav_t nav;
  static fsw_touchdown_t touchdown;
  static fsw_control_t control;
  static fsw_permit_t permit;
  static fsw_engine_status_t status[9];
  static fsw_engine_cmd_t cmd[9];
  static fsw_engines_t engines;
  static fsw_events_t events;
  static fsw_topic_head_t head[14];
  const void *in[14] = { &guidance, &nav, &touchdown, &control, &permit };
  const fsw_topic_head_t *in_head[14];
  void *out[11];
  any_params(&p);
  ANY(guidance);
  ANY(nav);
  ANY(touchdown);
  ANY(control);
  ANY(permit);
  ANY(status);
  ANY(head);
  for (int k = 0; k < 14; k++) in_head[k] = &head[k];
  for (int k = 0; k < 9; k++) {
    in[5 + k] = &status[k];
    out[k] = &cmd[k];
  }
  out[9] = &engines;
  out[10] = &events;
  ANY(s);
  for (int k = 0; k < FSW_SEQ_ROWS; k++) {
    s.table.row[k].role = UP_TO(FSW_ENGINE_AFTER);
    s.table.row[k].next = UP_TO(FSW_SEQ_ROWS - 1);
    s.table.row[k].abort = UP_TO(FSW_SEQ_ROWS - 1);
  }
  s.table.n_rows = UP_TO(FSW_SEQ_ROWS);
  s.limits.n_conditions = UP_TO(FSW_SEQ_CONDITIONS);
  s.n_sets = UP_TO(FSW_SEQ_MAX_SETS);
  for (int k = 0; k < 9; k++) s.engine[k].cause = UP_TO(FSW_SEQ_CAUSE_CORRUPT);
  fsw_io_t io = { .dt_ns = 1000000, .in = in, .in_head = in_head, .out = out, .state = &s, .params = &p };
  ANY(io.tick);
  ANY(io.t_ns);
  fsw_task_gnc_sequencer.step(&io);
  return 0;
}
