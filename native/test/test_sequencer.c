/* test_sequencer.c - the sequencer task against simple engine models: starts, failures, faults, choice of engines and abort.
 * Exits non-zero on failure. */
#include "sequencer_rig.h"

static void nominal_start(void)
{
  static rig_t r;
  rig_init(&r);
  run(&r, 5.0);
  CHECK(r.engines.state[0] == FSW_ENGINE_CHILL && r.engines.spares_left == 5);
  CHECK(r.s.engine[2].row == FSW_SEQ_ROW_OFF); /* not restartable: left alone */
  r.g.engines = 1;
  r.g.phase = FSW_PHASE_BURN;
  int wait = until_valves(&r, 0, BOTH, 200);
  CHECK(wait > 0 && wait <= 50);
  run(&r, 1.25);
  CHECK(r.engines.lit_mask == 1 && r.n_events[FSW_EVENT_ENGINE_LIT] == 1 && r.engines.spares_left == 4);
  run(&r, 3.0);
  CHECK(fsw_abs(r.engines.thrust_n[0] - r.e[0].throttle * 847e3) < 15e3);
  r.g.engines = 0;
  rig_tick(&r);
  CHECK((r.cmd[0].valves & FSW_VALVE_OX) == 0); /* in the same tick */
  run(&r, 0.05);
  CHECK(r.cmd[0].valves == 0);
  run(&r, 4.0);
  CHECK(r.engines.state[0] == FSW_ENGINE_CHILL && r.engines.failed_mask == 0);
  r.g.engines = 1; /* a commanded shutdown may be followed by another start */
  run(&r, 2.0);
  CHECK(r.engines.lit_mask == 1 && r.engines.starts[0] == 2);
  r.td.landed = 1;
  rig_tick(&r);
  CHECK((r.cmd[0].valves & FSW_VALVE_OX) == 0);
  run(&r, 3.0);
  CHECK(r.engines.state[0] == FSW_ENGINE_SAFED && r.engines.lit_mask == 0);
}

static void no_light_then_pair(void)
{
  static rig_t r;
  rig_init(&r);
  r.e[0].no_light = 1;
  run(&r, 5.0);
  r.g.engines = 1;
  int64_t t0 = r.tick;
  run(&r, 1.24);
  CHECK(r.n_events[FSW_EVENT_ENGINE_NO_LIGHT] == 0);
  run(&r, 0.03);
  CHECK(r.n_events[FSW_EVENT_ENGINE_NO_LIGHT] == 1 && r.when[FSW_EVENT_ENGINE_NO_LIGHT] - t0 <= 1251);
  CHECK(r.engines.failed_mask == 1 && (r.cmd[0].valves & FSW_VALVE_OX) == 0);
  r.g.engines = 2;
  rig_tick(&r);
  CHECK(r.engines.starting_mask == 0x22); /* engines 1 and 5 in one tick */
  CHECK(r.n_events[FSW_EVENT_SPARES] == 1);
  run(&r, 1.6);
  CHECK(r.engines.lit_mask == 0x22 && r.engines.starts[0] == 1);
  r.g.engines = 1; /* one of a pair cannot burn alone here: both stay */
  run(&r, 0.5);
  CHECK(r.engines.lit_mask == 0x22);
}

static void dies(int with_fire, double drag_factor)
{
  static rig_t r;
  rig_init(&r);
  if (drag_factor <= 0.0) {
    r.nav.v_bl_l[2] = -30.0;
    r.drag_a *= 30.0 * 30.0 / (276.0 * 276.0);
  }
  run(&r, 5.0);
  r.g.engines = 1;
  run(&r, 4.0);
  CHECK(r.engines.lit_mask == 1);
  r.e[0].dies = 1;
  r.e[0].fire = with_fire;
  int64_t t0 = r.tick;
  for (int i = 0; i < 300 && !r.n_events[FSW_EVENT_ENGINE_DIED]; i++) rig_tick(&r);
  CHECK(r.n_events[FSW_EVENT_ENGINE_DIED] == 1 && r.when[FSW_EVENT_ENGINE_DIED] - t0 <= 150);
  printf("died: declared after %d ms\n", (int)(r.when[FSW_EVENT_ENGINE_DIED] - t0));
  r.e[0].dies = 0;
  run(&r, 0.02); /* guidance still says 1: nothing hasty */
  CHECK(r.engines.starting_mask == 0);
  r.g.engines = 2;
  run(&r, 1.6);
  CHECK(r.engines.lit_mask == 0x22 && r.engines.failed_mask == 1);
  r.g.engines = 3; /* the axis engine is out for good: two pairs are the next symmetric set */
  run(&r, 10.0);
  CHECK(r.engines.lit_mask == 0xaa && r.engines.starts[0] == 1 && !(r.cmd[0].valves & BOTH));
  CHECK(!with_fire || (r.engines.inhibited_mask & 1));
}

static void late_light(double late_s, int expect_lit)
{
  static rig_t r;
  rig_init(&r);
  r.e[0].late_s = late_s;
  run(&r, 5.0);
  r.g.engines = 1;
  run(&r, 1.3);
  r.g.engines = expect_lit ? 1 : 0;
  run(&r, 8.0);
  CHECK((r.engines.lit_mask & 1) == expect_lit && (r.engines.failed_mask & 1) == !expect_lit);
  CHECK(expect_lit || (r.cmd[0].valves & BOTH) == 0);
}

static void late_flame_is_not_relit(void)
{
  static rig_t r;
  rig_init(&r);
  r.e[0].late_s = 0.62; /* lights while its valves are being closed */
  run(&r, 5.0);
  r.g.engines = 1;
  run(&r, 1.3);
  CHECK(r.n_events[FSW_EVENT_ENGINE_NO_LIGHT] == 1);
  r.e[0].frac = 0.3; /* residual flame */
  run(&r, 0.1);
  CHECK(r.s.engine[0].flags & FSW_SEQ_LIT);
  r.e[0].late_s = 0.0;
  run(&r, 10.0);
  CHECK(r.engines.starts[0] == 1); /* guidance still asks for one: the pair took over */
  CHECK(r.engines.lit_mask == 0x22);
}

static void sensor_fault(double wrong, int in_start)
{
  static rig_t r;
  rig_init(&r);
  if (in_start) r.e[0].wrong_a = wrong;
  run(&r, 5.0);
  r.g.engines = 1;
  run(&r, 4.0);
  CHECK(r.engines.lit_mask == 1);
  r.e[0].wrong_a = wrong;
  run(&r, 5.0);
  CHECK(r.engines.lit_mask == 1 && r.n_events[FSW_EVENT_ENGINE_DIED] == 0);
  CHECK(fsw_abs(wrong) < 0.09 || r.n_events[FSW_EVENT_SENSOR_DISAGREE] == 1);
  r.e[0].dies = 1; /* and a true flame-out is still seen */
  run(&r, 0.6);
  CHECK(r.engines.lit_mask == 0);
}

static void stale_link(void)
{
  static rig_t r;
  rig_init(&r);
  run(&r, 5.0);
  r.g.engines = 1;
  run(&r, 4.0);
  r.e[3].offline = 1; /* an idle one: inhibited, and back when it is back */
  run(&r, 0.2);
  CHECK(r.engines.inhibited_mask == 8 && r.engines.spares_left == 3);
  r.e[3].offline = 0;
  run(&r, 4.0);
  CHECK(r.engines.inhibited_mask == 0 && r.engines.spares_left == 4);
  for (int i = 0; i < 3000; i++) { /* the running one's status stops, the engine does not */
    r.head_in[5].tick = 0;
    r.st[0].seq = r.s.status_seq[0];
    uint32_t keep = r.e[0].seq;
    r.e[0].seq = r.s.status_seq[0] - 1;
    rig_tick(&r);
    r.e[0].seq = keep;
    r.st[0].seq = r.s.status_seq[0];
  }
  CHECK(r.engines.lit_mask == 1);
  r.e[0].offline = 1; /* its controller dies: valves close */
  run(&r, 1.0);
  CHECK(r.engines.lit_mask == 0 && (r.engines.failed_mask & 1));
}

static void pair_of_which_one_fails(void)
{
  static rig_t r;
  rig_init(&r);
  run(&r, 5.0);
  r.e[5].no_light = 1;
  r.g.engines = 2;
  run(&r, 1.3);
  CHECK(r.engines.lit_mask == 2 && r.engines.failed_mask == 0x20);
  run(&r, 1.6); /* a further pair, then the odd one out goes */
  CHECK(r.engines.lit_mask == 0x88);
  r.g.engines = 3;
  run(&r, 1.6);
  CHECK(r.engines.lit_mask == 0x89);
  r.g.engines = 2;
  run(&r, 0.1);
  CHECK(r.engines.lit_mask == 0x88);
}

static void weak_engine(void)
{
  static rig_t r;
  rig_init(&r);
  r.e[0].low = 0.7;
  run(&r, 5.0);
  r.g.engines = 1;
  run(&r, 5.0);
  CHECK(r.engines.lit_mask == 1 && r.n_events[FSW_EVENT_LOW_THRUST] == 1);
}

static void abort_in_every_state(void)
{
  static rig_t r;
  static const double at[] = { 0.005, 0.02, 0.2, 2.0, 5.005, 5.015, 5.025, 5.035, 5.5, 6.0, 8.0, 8.005, 8.1, 8.5 };
  uint32_t seen = 0;
  for (uint32_t i = 0; i < sizeof at / sizeof at[0]; i++) {
    rig_init(&r);
    run(&r, fsw_min(at[i], 5.0));
    r.g.engines = 1;
    if (at[i] > 5.0) run(&r, fsw_min(at[i], 8.0) - 5.0);
    r.g.engines = at[i] > 8.0 ? 0 : 1;
    if (at[i] > 8.0) run(&r, at[i] - 8.0);
    seen |= 1u << fsw_seq_role(&r.s.engine[0], &r.s.table);
    r.g.phase = FSW_PHASE_ABORT;
    r.g.engines = 0;
    rig_tick(&r);
    for (int k = 0; k < 9; k++) CHECK(r.cmd[k].valves == 0);
    run(&r, 3.0);
    for (int k = 0; k < 9; k++) CHECK(r.cmd[k].valves == 0 && (r.engines.state[k] == FSW_ENGINE_SAFED || r.engines.state[k] == FSW_ENGINE_OFF));
    r.g.phase = FSW_PHASE_BURN;
    r.g.engines = 3;
    run(&r, 5.0);
    CHECK(r.engines.starts[0] <= 1 && r.engines.lit_mask == 0);
  }
  printf("abort tried in states 0x%x\n", seen);
}

static void hopper(void)
{
  static rig_t r;
  rig_init(&r);
  memset(&r.s, 0, sizeof r.s);
  r.p.n_engines = 1;
  r.p.drag_area_m2 = 1.0;
  fsw_sequencer_init(&r.s, &r.p);
  r.nav.v_bl_l[2] = 0.0;
  r.drag_a = 9.8;
  r.g.phase = FSW_PHASE_ASCENT;
  r.g.engines = 1;
  run(&r, 6.0);
  CHECK(r.engines.lit_mask == 1);
  r.g.phase = FSW_PHASE_COAST;
  r.g.engines = 0;
  run(&r, 5.0);
  CHECK(r.engines.lit_mask == 0 && r.engines.state[0] == FSW_ENGINE_CHILL);
  r.g.phase = FSW_PHASE_BURN;
  r.g.engines = 1;
  run(&r, 1.5);
  CHECK(r.engines.lit_mask == 1 && r.engines.starts[0] == 2);
}

static void words(void)
{
  CHECK(strcmp(fsw_event_name(FSW_EVENT_ENGINE_LIT), "ENGINE_LIT") == 0 && fsw_event_text(FSW_EVENT_SPARES) != NULL);
  CHECK(fsw_event_text(999) == NULL && fsw_event_name(0) == NULL);
}

int main(void)
{
  nominal_start();
  no_light_then_pair();
  dies(0, 1.0);
  dies(1, 1.0);
  dies(0, 0.0);
  late_light(0.3, 1);
  late_light(0.7, 0);
  late_light(5.0, 0);
  late_flame_is_not_relit();
  for (int in_start = 0; in_start < 2; in_start++) {
    sensor_fault(0.5, in_start);
    sensor_fault(-0.6, in_start);
    sensor_fault(0.05, in_start);
  }
  stale_link();
  pair_of_which_one_fails();
  weak_engine();
  abort_in_every_state();
  hopper();
  words();
  printf("test_sequencer: %d failures\n", failures);
  return failures != 0;
}
