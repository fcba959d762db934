/* test_boards_control.c - touchdown switches, engine controller, drivers, fault injector: link rules, faults, triggers.
 * Prints a digest of outputs, equal on every processor and compiler; exits non-zero on failure. */
#include "boards_rig.h"

/* ---- touchdown switches --------------------------------------------------------------------------------------------------------- */

typedef struct { rig_t rig; fsw_board_touch_state_t state; fsw_truth_t truth; fsw_faults_t faults; fsw_touch_t out; } touch_t;

static uint32_t touch_sample(touch_t *m) {
  m->truth.t_ns = m->rig.io.t_ns;
  deliver(&m->rig, 0);
  return run(&m->rig);
}

static void test_touch(void) {
  fsw_board_touch_params_t p = { .touch_bounce_s = 0.015, .n_legs = 3, .touch_debounce = 3 };
  touch_t m;
  int first = -1;
  memset(&m, 0, sizeof m);
  rig_open(&m.rig, &fsw_task_board_touch, &m.state, &p, 5);
  bind(&m.rig, 0, &m.truth);
  bind(&m.rig, 1, &m.faults);
  m.rig.out[0] = &m.out;
  deliver(&m.rig, 1);
  for (int i = 0; i < 20; i++) CHECK(touch_sample(&m) == 1 && m.out.contact[1] == 0);
  m.truth.contact_mask = 2 | 8;
  for (int i = 0; i < 20; i++) {
    touch_sample(&m);
    if (first < 0 && m.out.contact[1]) first = i;
    CHECK(m.out.contact[0] == 0 && m.out.contact[2] == 0 && m.out.contact[3] == 0); /* three legs */
  }
  CHECK(first >= 2 && first <= 6 && m.out.contact[1] == 1 && m.out.n_legs == 3);
  one_fault(&m.faults, FSW_TARGET_TOUCH, FSW_FAULT_OFF, 1, 0.0);
  CHECK(touch_sample(&m) == 1 && m.out.contact[1] == 0);
  m.faults.index[0] = 255;
  CHECK(touch_sample(&m) == 0);
  one_fault(&m.faults, FSW_TARGET_TOUCH, FSW_FAULT_WRONG, 0, 0.0);
  CHECK(touch_sample(&m) == 1 && m.out.contact[0] == 1 && m.out.contact[1] == 1);
  one_fault(&m.faults, FSW_TARGET_TOUCH, FSW_FAULT_STUCK, 1, 0.0);
  m.truth.contact_mask = 0;
  for (int i = 0; i < 20; i++) touch_sample(&m);
  CHECK(m.out.contact[1] == 1 && m.out.contact[0] == 0);
  m.faults.count = 0;
  touch_sample(&m);
  CHECK(m.out.contact[1] == 0);
  mix_u64(m.state.seq), mix_u64((uint64_t)first);
}

/* ---- engine controller ------------------------------------------------------------------------------------------------------------ */

typedef struct {
  rig_t rig;
  fsw_board_engine_state_t state;
  fsw_engine_cmd_t cmd;
  fsw_engines_truth_t truth;
  fsw_faults_t faults;
  fsw_engine_cmd_t act;
  fsw_engine_status_t status;
} ecu_t;

static fsw_board_engine_params_t ecu_ideal(void) {
  fsw_board_engine_params_t p = { .pc_nominal_pa = 10e6, .pc_range_share = 2.0, .engine_timeout_ms = 100.0, .index = 2 };
  return p;
}

static void ecu_open(ecu_t *m, const fsw_board_engine_params_t *p) {
  memset(m, 0, sizeof *m);
  rig_open(&m->rig, &fsw_task_board_engine, &m->state, p, 5);
  bind(&m->rig, 0, &m->cmd);
  bind(&m->rig, 1, &m->truth);
  bind(&m->rig, 2, &m->faults);
  m->rig.out[0] = &m->act;
  m->rig.out[1] = &m->status;
}

static void ecu_command(ecu_t *m, uint32_t counter, double throttle, uint8_t valves) {
  m->cmd.counter = counter;
  m->cmd.throttle = throttle;
  m->cmd.valves = valves;
  deliver(&m->rig, 0);
  CHECK(run(&m->rig) == 3);
}

static int is_safe(const fsw_engine_cmd_t *act) { return act->valves == 0 && !(act->throttle > 0.0); }

static void test_ecu_link(void) {
  const uint8_t main = FSW_VALVE_FUEL | FSW_VALVE_OX;
  fsw_board_engine_params_t p = ecu_ideal();
  ecu_t m;
  ecu_open(&m, &p);
  m.cmd.valves = main;
  for (int i = 0; i < 50; i++) CHECK(run(&m.rig) == 3 && is_safe(&m.act)); /* nothing has arrived yet */
  ecu_command(&m, 10, 0.8, main);
  CHECK(m.act.valves == main && m.act.throttle > 0.79 && m.status.cmd_counter == 10);
  ecu_command(&m, 10, 0.5, 0);
  ecu_command(&m, 9, 0.5, 0);
  CHECK(m.act.valves == main && m.act.throttle > 0.79 && m.state.refused == 2);
  ecu_command(&m, 11, (double)NAN, 0);
  CHECK(m.act.valves == main && m.state.refused == 3);
  ecu_command(&m, 11, 1.7, main | 0xe0);
  CHECK(m.act.valves == main && !(m.act.throttle > 1.0) && m.status.cmd_counter == 11);
  for (int i = 0; i < 20; i++) {
    run(&m.rig);
    CHECK(m.act.valves == main); /* 5 to 100 ms old */
  }
  run(&m.rig);
  CHECK(is_safe(&m.act) && m.state.timeouts == 1);
  for (uint32_t i = 0; i < 50; i++) ecu_command(&m, 11 - (i & 1), 1.0, main);
  CHECK(is_safe(&m.act)); /* replays do not revive it */
  ecu_command(&m, 12, 1.0, main | FSW_VALVE_PURGE);
  CHECK(m.act.valves == FSW_VALVE_PURGE && !(m.act.throttle > 0.0)); /* main valves wait for a closed command */
  ecu_command(&m, 13, 0.0, FSW_VALVE_CHILL);
  ecu_command(&m, 14, 1.0, main);
  CHECK(m.act.valves == main && m.act.throttle > 0.99);
  uint32_t before = m.act.counter;
  run(&m.rig);
  CHECK(m.act.counter == before + 1);
}

static void test_ecu_measures(void) {
  fsw_board_engine_params_t p = ecu_ideal();
  ecu_t m;
  stat_t s[2] = { { 0 } }, diff = { 0 };
  p.pc_sigma_share = 0.002, p.pc_lsb_share = 0.0005;
  ecu_open(&m, &p);
  run(&m.rig);
  CHECK(m.status.valid == 0); /* engine not seen yet */
  m.truth.pc_pa[2] = 8e6, m.truth.pc_pa[1] = 3e6, m.truth.inlet_pa[2] = 4e5, m.truth.chill_k[2] = 111.0, m.truth.throttle[2] = 0.75;
  m.truth.valves[2] = FSW_VALVE_IGNITER | FSW_VALVE_OX, m.truth.fire[2] = 1;
  for (int i = 0; i < 100000; i++) {
    m.truth.t_ns = m.rig.io.t_ns;
    deliver(&m.rig, 1);
    run(&m.rig);
    add(&s[0], (m.status.pc_a_pa - 8e6) / 2e4), add(&s[1], (m.status.pc_b_pa - 8e6) / 2e4);
    add(&diff, (m.status.pc_a_pa - m.status.pc_b_pa) / 2e4 / sqrt(2.0));
    if (i % 1000 == 0) mix(m.status.pc_a_pa), mix(m.status.pc_b_pa);
  }
  for (int k = 0; k < 2; k++) {
    NEAR(mean(&s[k]), 0.0, 4.0 / sqrt(1e5));
    NEAR(deviation(&s[k]), 1.0, 0.015);
  }
  NEAR(deviation(&diff), 1.0, 0.015);
  NEAR(m.status.inlet_pa, 4e5, 1e-6);
  NEAR(m.status.chill_k, 111.0, 1e-9);
  NEAR(m.status.throttle, 0.75, 0.001);
  CHECK(m.status.valves == (FSW_VALVE_IGNITER | FSW_VALVE_OX) && m.status.igniter_ok == 1 && m.status.fire == 1 && m.status.valid == 1);
  for (int i = 0; i < 30; i++) run(&m.rig);
  CHECK(m.status.valid == 0); /* truth has stopped */
  p.pc_sigma_share = 0.0, p.pc_lsb_share = 0.0, p.pc_lag_s = 0.02;
  ecu_open(&m, &p);
  m.truth.pc_pa[2] = 1e6;
  deliver(&m.rig, 1);
  for (int i = 0; i < 4; i++) run(&m.rig);
  NEAR(m.status.pc_a_pa, 1e6 * (1.0 - exp(-1.0)), 1.0);
}

static void test_ecu_faults(void) {
  fsw_board_engine_params_t p = ecu_ideal();
  ecu_t m;
  ecu_open(&m, &p);
  m.truth.pc_pa[2] = 8e6;
  deliver(&m.rig, 1);
  deliver(&m.rig, 2);
  ecu_command(&m, 1, 1.0, FSW_VALVE_OX);
  one_fault(&m.faults, FSW_TARGET_ENGINE, FSW_FAULT_WRONG, 2, -0.5);
  run(&m.rig);
  NEAR(m.status.pc_a_pa, 3e6, 1.0);
  NEAR(m.status.pc_b_pa, 8e6, 1.0);
  one_fault(&m.faults, FSW_TARGET_ENGINE, FSW_FAULT_GARBAGE, 2, 0.0);
  run(&m.rig);
  CHECK(fabs(m.status.pc_a_pa - 8e6) > 1e3);
  one_fault(&m.faults, FSW_TARGET_ENGINE, FSW_FAULT_DIES, 2, 0.0);
  run(&m.rig);
  NEAR(m.status.pc_a_pa, 8e6, 1.0); /* the world's */
  one_fault(&m.faults, FSW_TARGET_ENGINE, FSW_FAULT_OFF, 1, 0.0);
  CHECK(run(&m.rig) == 3 && m.act.valves == FSW_VALVE_OX);
  m.faults.index[0] = 2;
  CHECK(run(&m.rig) == 1 && is_safe(&m.act));
}

/* ---- drivers ------------------------------------------------------------------------------------------------------------------------ */

static void test_drivers(void) {
  fsw_board_driver_params_t p = { .driver_lsb_rad = 1e-3, .driver_timeout_ms = 100.0 };
  fsw_board_driver_state_t state;
  fsw_tvc_cmd_t cmd, act;
  fsw_faults_t faults;
  rig_t r;
  memset(&cmd, 0, sizeof cmd), memset(&act, 0, sizeof act), memset(&faults, 0, sizeof faults);
  rig_open(&r, &fsw_task_board_tvc, &state, &p, 5);
  bind(&r, 0, &cmd), bind(&r, 1, &faults);
  r.out[0] = &act;
  deliver(&r, 1);
  for (int k = 0; k < FSW_MAX_GIMBAL; k++) cmd.gimbal_rad[k] = 0.01234 * (k - 5);
  CHECK(run(&r) == 1 && !(fabs(act.gimbal_rad[0]) > 0.0));
  cmd.counter = 1;
  deliver(&r, 0), run(&r);
  NEAR(act.gimbal_rad[7], 0.025, 1e-12);
  NEAR(act.gimbal_rad[0], -0.062, 1e-12);
  cmd.gimbal_rad[7] = 0.1;
  deliver(&r, 0), run(&r);
  NEAR(act.gimbal_rad[7], 0.025, 1e-12); /* counter did not grow */
  cmd.counter = 2, cmd.gimbal_rad[0] = (double)NAN;
  deliver(&r, 0), run(&r);
  NEAR(act.gimbal_rad[7], 0.025, 1e-12);
  CHECK(state.refused == 2);
  one_fault(&faults, FSW_TARGET_GIMBAL, FSW_FAULT_GARBAGE, 3, 0.1);
  run(&r);
  CHECK(fabs(act.gimbal_rad[7] - 0.025) > 1e-6 && fabs(act.gimbal_rad[7]) <= 0.1 && fabs(act.gimbal_rad[0] + 0.062) < 1e-12);
  faults.count = 0;
  for (int i = 0; i < 17; i++) run(&r);
  NEAR(act.gimbal_rad[0], -0.062, 1e-12);
  run(&r);
  for (int k = 0; k < FSW_MAX_GIMBAL; k++) NEAR(act.gimbal_rad[k], 0.0, 0.0);
  CHECK(state.timeouts == 1 && act.counter == 23);
}

static void test_thruster_driver(void) {
  fsw_board_driver_params_t p = { .driver_timeout_ms = 20.0 };
  fsw_board_driver_state_t state;
  fsw_rcs_cmd_t cmd = { .on_mask = 0x10005, .counter = 5 }, act = { 0 };
  fsw_fin_cmd_t fin_cmd, fin_act;
  rig_t r;
  rig_open(&r, &fsw_task_board_rcs, &state, &p, 5);
  bind(&r, 0, &cmd);
  r.out[0] = &act;
  CHECK(run(&r) == 1 && act.on_mask == 0);
  deliver(&r, 0), run(&r);
  CHECK(act.on_mask == 5);
  for (int i = 0; i < 4; i++) {
    run(&r);
    CHECK(act.on_mask == 5);
  }
  run(&r);
  CHECK(act.on_mask == 0 && state.timeouts == 1);
  memset(&fin_cmd, 0, sizeof fin_cmd), memset(&fin_act, 0, sizeof fin_act);
  rig_open(&r, &fsw_task_board_fins, &state, &p, 5);
  bind(&r, 0, &fin_cmd);
  r.out[0] = &fin_act;
  fin_cmd.fin_rad[3] = 0.123;
  deliver(&r, 0), run(&r);
  NEAR(fin_act.fin_rad[3], 0.123, 1e-15); /* a first counter of zero counts, no quantum set */
}

/* ---- fault injector ------------------------------------------------------------------------------------------------------------------ */

typedef struct {
  rig_t rig;
  fsw_bench_faults_state_t state;
  fsw_truth_t truth;
  fsw_guidance_t guidance;
  fsw_engines_t engines;
  fsw_faults_t out;
  fsw_events_t events;
} injector_t;

static void injector_open(injector_t *m, const fsw_bench_faults_params_t *p) {
  memset(m, 0, sizeof *m);
  rig_open(&m->rig, &fsw_task_bench_faults, &m->state, p, 1);
  bind(&m->rig, 0, &m->truth), bind(&m->rig, 1, &m->guidance), bind(&m->rig, 2, &m->engines);
  m->rig.out[0] = &m->out, m->rig.out[1] = &m->events;
}

static void plan(fsw_bench_faults_params_t *p, uint8_t type, uint8_t trigger, double at, double after_s, double for_s) {
  uint32_t k = p->n_faults++;
  p->fault_target[k] = FSW_TARGET_ENGINE, p->fault_type[k] = type, p->fault_trigger[k] = trigger, p->fault_index[k] = (uint8_t)k;
  p->fault_at[k] = at, p->fault_after_s[k] = after_s, p->fault_for_s[k] = for_s, p->fault_severity[k] = 0.5 + k;
}

static void test_injector_time(void) {
  fsw_bench_faults_params_t p;
  injector_t m;
  int writes = 0;
  memset(&p, 0, sizeof p);
  injector_open(&m, &p);
  for (int i = 0; i < 1000; i++) writes += run(&m.rig) == 1;
  CHECK(writes == 10 && m.out.count == 0);
  plan(&p, FSW_FAULT_DIES, FSW_TRIGGER_TIME, 0.5, 0.02, 0.1);
  plan(&p, FSW_FAULT_WRONG, FSW_TRIGGER_TIME, 0.55, 0.0, 0.0);
  plan(&p, FSW_FAULT_OFF, FSW_TRIGGER_NONE, 0.0, 0.0, 0.0);
  injector_open(&m, &p);
  for (int i = 0; i < 1000; i++) {
    uint32_t published = run(&m.rig);
    uint32_t expected = (uint32_t)(i >= 520 && i < 620) + (uint32_t)(i >= 550);
    CHECK(m.out.count == expected);
    if (i == 520 || i == 550 || i == 620) {
      CHECK(published == 3 && m.events.count == 1 && m.out.t_ns == (int64_t)i * 1000000);
      CHECK(m.events.code[0] == (i == 620 ? FSW_EVENT_FAULT_END : FSW_EVENT_FAULT_BEGIN));
      CHECK(m.events.subject[0] == (i == 550) && m.events.arg1[0] > 0.5);
    } else {
      CHECK((published & 2) == 0);
    }
  }
  CHECK(m.out.type[0] == FSW_FAULT_WRONG && m.out.index[0] == 1 && m.out.target[0] == FSW_TARGET_ENGINE);
  NEAR(m.out.severity[0], 1.5, 0.0);
}

static void test_injector_events(void) {
  fsw_bench_faults_params_t p;
  injector_t m;
  memset(&p, 0, sizeof p);
  plan(&p, FSW_FAULT_OFF, FSW_TRIGGER_ALTITUDE, 200.0, 0.0, 0.0);
  plan(&p, FSW_FAULT_STUCK, FSW_TRIGGER_PHASE, FSW_PHASE_BURN, 0.0, 0.0);
  plan(&p, FSW_FAULT_WRONG, FSW_TRIGGER_LIT, 4.0, 0.0, 0.0);
  plan(&p, FSW_FAULT_SLOW, FSW_TRIGGER_START, 8.0, 0.01, 0.005);
  plan(&p, FSW_FAULT_GARBAGE, FSW_TRIGGER_PHASE, FSW_PHASE_IDLE, 0.0, 0.0);
  injector_open(&m, &p);
  run(&m.rig);
  CHECK(m.out.count == 0); /* inputs that never arrived trigger nothing */
  m.guidance.phase = FSW_PHASE_AERO;
  for (int k = 0; k < 3; k++) deliver(&m.rig, k);
  run(&m.rig);
  CHECK(m.out.count == 0); /* below, but never above */
  m.truth.h_m = 300.0, run(&m.rig);
  m.truth.h_m = 199.0, run(&m.rig);
  CHECK(m.out.count == 1 && m.out.type[0] == FSW_FAULT_OFF);
  m.truth.h_m = 400.0;
  m.guidance.phase = FSW_PHASE_BURN, run(&m.rig);
  m.guidance.phase = FSW_PHASE_LANDED, run(&m.rig);
  CHECK(m.out.count == 2 && m.out.type[1] == FSW_FAULT_STUCK); /* latched */
  m.engines.lit_mask = 1 << 3, run(&m.rig);
  CHECK(m.out.count == 2);
  m.engines.lit_mask = 1 << 4, run(&m.rig);
  CHECK(m.out.count == 3 && m.out.type[2] == FSW_FAULT_WRONG);
  m.engines.starting_mask = 1 << 8;
  for (int i = 0; i < 20; i++) {
    run(&m.rig);
    CHECK(m.out.count == (i >= 10 && i < 15 ? 4 : 3));
  }
  mix_u64((uint64_t)m.state.t_begin_ns[3]);
  memset(&p, 0, sizeof p);
  plan(&p, FSW_FAULT_WRONG, FSW_TRIGGER_TIME, 0.0, 0.0, 0.0);
  p.fault_target[0] = FSW_TARGET_IMU, p.fault_index[0] = 1 + 16 * 5;
  injector_open(&m, &p);
  CHECK(run(&m.rig) == 3 && m.events.subject[0] == 1 && m.out.index[0] == 81);
}

int main(void) {
  test_touch();
  test_ecu_link();
  test_ecu_measures();
  test_ecu_faults();
  test_drivers();
  test_thruster_driver();
  test_injector_time();
  test_injector_events();
  return report("test_boards_control");
}
