/* test_sequencer_inputs.c - the sequencer task and what it is given or not given: permit, control, navigation, status, ports that are not
 * bound, engines that run already, inhibits, tables that cannot be executed, flipped bits. Exits non-zero on failure. */
#include "sequencer_rig.h"

static fsw_permit_t permit;
static fsw_control_t control;

/* A rig with the optional inputs bound; the permit is not yet written. */
static rig_t *bound(void)
{
  static rig_t r;
  rig_init(&r);
  memset(&permit, 0, sizeof permit);
  memset(&control, 0, sizeof control);
  r.in[3] = &control;
  r.in[4] = &permit;
  r.head_in[3].tick = r.head_in[4].tick = -1;
  return &r;
}

static void no_start_without_permit(void)
{
  rig_t *r = bound();
  r->g.engines = 1;
  run(r, 6.0);
  CHECK(r->engines.starts[0] == 0 && r->engines.state[0] == FSW_ENGINE_OFF); /* never written: none */
  r->head_in[4].tick = 0;
  permit.state = FSW_PERMIT_ARMED;
  run(r, 3.0);
  CHECK(r->engines.state[0] == FSW_ENGINE_OFF);
  permit.state = FSW_PERMIT_FIRE;
  run(r, 6.0);
  CHECK(r->engines.lit_mask == 1);
  permit.state = FSW_PERMIT_SAFE; /* disarmed: what runs goes on, nothing else is started */
  r->g.engines = 3;
  run(r, 4.0);
  CHECK(r->engines.lit_mask == 1 && r->engines.starts[1] == 0 && r->n_events[FSW_EVENT_SPARES] == 0);
  permit.state = FSW_PERMIT_ABORT;
  rig_tick(r);
  for (int k = 0; k < 9; k++) CHECK(r->cmd[k].valves == 0);
  permit.state = FSW_PERMIT_FIRE; /* aborted for good */
  run(r, 6.0);
  CHECK(r->engines.lit_mask == 0);
}

static void throttle_of_control(void)
{
  rig_t *r = bound();
  r->head_in[4].tick = 0;
  permit.state = FSW_PERMIT_FIRE;
  run(r, 5.0);
  r->g.engines = 1;
  run(r, 2.0);
  CHECK(r->engines.lit_mask == 1 && fsw_abs(r->cmd[0].throttle - 650e3 / 847e3) < 0.02); /* guidance's, control has said nothing */
  r->head_in[3].tick = 0;
  control.throttle[0] = 0.61;
  run(r, 0.1);
  CHECK(r->cmd[0].throttle == 0.61);
  control.throttle[0] = 0.0; /* nothing asked of an engine that burns: as little as it can */
  run(r, 0.1);
  CHECK(r->cmd[0].throttle == 0.5);
  r->head_in[3].tick = -1;
  r->g.thrust_cmd_n = 0.0;
  run(r, 0.1);
  CHECK(r->cmd[0].throttle == 0.8);
}

static void throttle_before_it_burns(void)
{
  rig_t *r = bound();
  r->head_in[4].tick = 0;
  permit.state = FSW_PERMIT_FIRE;
  r->head_in[3].tick = 0;
  run(r, 5.0);
  r->g.engines = 1;
  run(r, 0.3);
  CHECK(r->engines.starting_mask == 1 && r->cmd[0].throttle == 0.8); /* a start for which control says nothing */
}

/* Without navigation acceleration says nothing: pressure alone decides, and the start is not lost. */
static void without_navigation(int how)
{
  static rig_t r;
  rig_init(&r);
  if (how == 3) r.p.thrust_vac_n = r.p.accel_tau_s = 0.0;
  if (how == 3) fsw_sequencer_init((memset(&r.s, 0, sizeof r.s), &r.s), &r.p);
  if (how == 0) r.head_in[1].tick = -1;
  if (how == 1) r.nav.valid = 0;
  run(&r, 5.0);
  r.g.engines = 1;
  if (how == 2) r.nav.v_bl_l[2] = 1e300;
  for (int i = 0; i < 3000; i++) {
    rig_tick(&r);
    if (how == 4) r.nav.v_bl_l[2] = __builtin_nan("");
  }
  CHECK(r.engines.lit_mask == 1);
  r.e[0].dies = 1;
  run(&r, 1.0);
  CHECK(r.engines.lit_mask == 0 && r.n_events[FSW_EVENT_ENGINE_DIED] == 1);
}

static void specific_force_that_is_no_number(void)
{
  static rig_t r;
  rig_init(&r);
  r.drag_a = __builtin_nan("");
  r.g.engines = 1;
  run(&r, 6.0);
  CHECK(r.engines.lit_mask == 1 && fsw_isfinite(r.s.f_x));
}

static void silent_guidance(void)
{
  static rig_t r;
  rig_init(&r);
  r.head_in[0].tick = r.head_in[2].tick = -1;
  r.g.engines = 3;
  r.td.landed = 1;
  run(&r, 2.0);
  CHECK(r.engines.state[0] == FSW_ENGINE_OFF && r.engines.starts[0] == 0);
  r.head_in[0].tick = 0;
  r.g.engines = 200; /* as many as there are */
  run(&r, 6.0);
  CHECK(r.engines.lit_mask == 0xab && r.s.wanted == 9);
  r.in[2] = NULL; /* no touchdown logic */
  r.g.phase = FSW_PHASE_LANDED;
  r.g.engines = 0;
  run(&r, 6.0);
  CHECK(r.engines.lit_mask == 0 && r.engines.state[0] == FSW_ENGINE_SAFED);
  r.g.phase = FSW_PHASE_IDLE;
  run(&r, 1.0);
  CHECK(r.engines.state[0] == FSW_ENGINE_SAFED);
}

/* One engine, one command port, no events: the rest is not bound. */
static void few_ports(void)
{
  static rig_t r;
  rig_init(&r);
  r.p.n_engines = 12; /* more than a vehicle can have */
  for (int k = 1; k < 9; k++) {
    r.in[5 + k] = NULL;
    r.out[k] = NULL;
  }
  r.out[10] = NULL;
  for (int i = 0; i < 8000; i++) {
    if (i == 5000) r.g.engines = 1;
    for (int k = 0; k < 1; k++) engine_tick(&r, k);
    r.nav.f_b[0] = r.e[0].frac * 20.0 + r.drag_a * (1.0 - 0.65 * r.e[0].frac);
    r.io.tick = r.tick;
    r.io.t_ns = r.tick++ * 1000000;
    r.io.publish = ~0u;
    CHECK(fsw_task_gnc_sequencer.step(&r.io) == 0 && !(r.io.publish >> 10 & 1u));
  }
  CHECK(r.engines.lit_mask == 1 && r.engines.starts[1] == 0 && r.engines.spares_left == 0);
}

static void runs_already(void)
{
  static rig_t r;
  rig_init(&r);
  memset(&r.s, 0, sizeof r.s);
  r.p.init_engines_on = 0x22;
  fsw_sequencer_init(&r.s, &r.p);
  r.g.engines = 2;
  r.g.phase = FSW_PHASE_BURN;
  for (int k = 1; k < 6; k += 4) r.e[k].lit = 1, r.e[k].frac = 1.0, r.e[k].clock_s = 5.0, r.e[k].chill_k = 100.0;
  for (int k = 1; k < 6; k += 4)
    for (int i = 0; i < DELAY; i++) r.e[k].pipe[i] = BOTH;
  for (int k = 1; k < 6; k += 4) r.cmd[k].valves = BOTH;
  run(&r, 3.0);
  CHECK(r.engines.lit_mask == 0x22 && r.engines.starts[1] == 1 && r.engines.starts[5] == 1 && r.engines.starts[0] == 0);
}

static void kept_out_of_use(void)
{
  static rig_t r;
  rig_init(&r);
  r.p.engine_inhibited[0] = 1.0;
  r.p.engine_restartable[3] = 0.0;
  memset(&r.s, 0, sizeof r.s);
  fsw_sequencer_init(&r.s, &r.p);
  run(&r, 5.0);
  CHECK(r.engines.state[0] == FSW_ENGINE_INHIBITED && r.engines.state[3] == FSW_ENGINE_OFF && r.engines.inhibited_mask == 1);
  r.g.engines = 1;
  run(&r, 3.0);
  CHECK(r.engines.lit_mask != 0 && !(r.engines.lit_mask & 9) && r.engines.starts[0] == 0);
  r.p.engine_inhibited[1] = r.p.engine_inhibited[5] = 1.0; /* an inhibit of one that burns closes it in the same step */
  rig_tick(&r);
  run(&r, 0.01);
  CHECK(r.cmd[1].valves == 0 && r.cmd[5].valves == 0 && r.engines.failed_mask & 0x22);
}

static void table_that_cannot_be_executed(void)
{
  static rig_t r;
  rig_init(&r);
  memset(&r.s, 0, sizeof r.s);
  r.p.seq_max_s[0] = 0.0;
  r.p.init_engines_on = 1;
  fsw_sequencer_init(&r.s, &r.p);
  CHECK(r.s.bad_table == 1);
  r.g.engines = 3;
  for (int i = 0; i < 3000; i++) {
    rig_tick(&r);
    for (int k = 0; k < 9; k++) CHECK(r.cmd[k].valves == 0);
  }
  rig_init(&r);
  memset(&r.s, 0, sizeof r.s);
  r.p.seq_role[6] = FSW_ENGINE_SHUTDOWN; /* no main stage at all */
  fsw_sequencer_init(&r.s, &r.p);
  CHECK(r.s.bad_table == 1);
  rig_init(&r);
  r.p.step_ticks = 20; /* not the step for which the table was made */
  r.io.publish = ~0u;
  CHECK(fsw_task_gnc_sequencer.step(&r.io) == FSW_SEQ_WRONG_STEP);
}

/* A flipped bit in an engine at rest or running closes it, and it is not used any more. */
static void flipped_bit(double when, int engine)
{
  static rig_t r;
  rig_init(&r);
  run(&r, fsw_min(when, 5.0));
  r.g.engines = when > 5.0;
  if (when > 5.0) run(&r, when - 5.0);
  r.s.engine[engine].valves ^= 1u << 3;
  run(&r, 0.02);
  CHECK(r.cmd[engine].valves == 0 && r.engines.state[engine] == FSW_ENGINE_INHIBITED && r.engines.cause[engine] == FSW_SEQ_CAUSE_CORRUPT);
  r.g.engines = 1;
  run(&r, 6.0);
  CHECK(r.engines.state[engine] == FSW_ENGINE_INHIBITED);
}

/* Two wanted before anything is ready: they start together when both are; as spares they are told when they start. */
static void two_at_once(void)
{
  static rig_t r;
  rig_init(&r);
  r.g.engines = 2;
  run(&r, 6.0);
  CHECK(r.engines.lit_mask == 0x22 && r.n_events[FSW_EVENT_SPARES] == 0);
  rig_init(&r);
  r.e[0].no_light = 1;
  r.g.engines = 1;
  for (int i = 0; i < 20000 && !r.n_events[FSW_EVENT_ENGINE_NO_LIGHT]; i++) rig_tick(&r);
  r.g.phase = FSW_PHASE_IDLE;
  r.g.engines = 0;
  for (int k = 1; k < 9; k++) r.e[k].chill_k = 150.0;
  run(&r, 1.0);
  r.g.engines = 2; /* one has failed, and of the pair no one is cold when it is asked for */
  run(&r, 9.0);
  CHECK(r.engines.lit_mask == 0x22 && r.engines.failed_mask == 1 && r.n_events[FSW_EVENT_SPARES] == 1);
}

/* The last spare fails: it is told once that nothing is left. */
static void none_left(void)
{
  static rig_t r;
  rig_init(&r);
  for (int k = 0; k < 9; k++) r.e[k].no_light = 1;
  r.g.engines = 3;
  run(&r, 60.0);
  CHECK(r.engines.lit_mask == 0 && r.engines.spares_left == 0 && r.n_events[FSW_EVENT_NO_SPARES] == 1);
  for (int k = 0; k < 9; k++) CHECK(r.engines.starts[k] <= 3);
}

/* What is left cannot burn alone: it is not used, and it is not said that nothing is left. */
static void not_alone(void)
{
  static rig_t r;
  rig_init(&r);
  for (int k = 0; k < 9; k++) r.p.engine_inhibited[k] = k == 1 ? 0.0 : 1.0;
  r.g.engines = 1;
  r.g.phase = FSW_PHASE_ABORT; /* abort with an engine wanted is none */
  run(&r, 8.0);
  CHECK(r.engines.lit_mask == 0 && r.engines.starts[1] == 0 && r.n_events[FSW_EVENT_NO_SPARES] == 0);
}

static void more_thrust_than_promised(void)
{
  static rig_t r;
  rig_init(&r);
  r.nav.v_bl_l[2] = -20.0;
  r.drag_a *= 20.0 * 20.0 / (276.0 * 276.0);
  run(&r, 5.0);
  r.g.engines = 1;
  run(&r, 5.0);
  r.e[0].low = 2.0; /* true overpressure */
  run(&r, 1.5);
  CHECK(r.n_events[FSW_EVENT_REDLINE] == 1 && !(r.engines.lit_mask & 1) && r.engines.cause[0] == FSW_SEQ_CAUSE_REDLINE);
}

int main(void)
{
  no_start_without_permit();
  throttle_of_control();
  throttle_before_it_burns();
  for (int how = 0; how < 5; how++) without_navigation(how);
  specific_force_that_is_no_number();
  silent_guidance();
  few_ports();
  runs_already();
  kept_out_of_use();
  table_that_cannot_be_executed();
  flipped_bit(1.0, 2);
  flipped_bit(4.0, 0);
  flipped_bit(8.0, 0);
  two_at_once();
  none_left();
  not_alone();
  more_thrust_than_promised();
  printf("test_sequencer_inputs: %d failures\n", failures);
  return failures != 0;
}
