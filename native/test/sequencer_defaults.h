/* sequencer_defaults.h - parameters of the booster, as zhuque3.toml and the defaults of sequencer.h give them, for tests. */
#ifndef FLIGHTSW_TEST_SEQUENCER_DEFAULTS_H
#define FLIGHTSW_TEST_SEQUENCER_DEFAULTS_H
#include <string.h>

#include "flightsw/sequencer.h"

#define CONDITION(k) (1u << (FSW_SEQ_FIRST_CONDITION + (k)))

static void condition(fsw_sequencer_params_t *p, uint8_t channel, uint8_t op, double value, double release, double for_s)
{
  uint32_t k = p->seq_conditions++;
  p->seq_cond_channel[k] = channel;
  p->seq_cond_op[k] = op;
  p->seq_cond_value[k] = value;
  p->seq_cond_release[k] = release;
  p->seq_cond_for_s[k] = for_s;
}

/* Appends a step: its next is the one behind it, its abort path INHIBITED before a start, else the first shutdown (row 10). */
static uint32_t step_of(fsw_sequencer_params_t *p, uint8_t role, uint8_t valves, double min_s, double max_s)
{
  uint32_t k = p->seq_steps++;
  p->seq_role[k] = role;
  p->seq_valves[k] = valves;
  p->seq_min_s[k] = min_s;
  p->seq_max_s[k] = max_s;
  p->seq_next[k] = (uint8_t)(FSW_SEQ_ROW_FIRST + k + 1);
  p->seq_abort[k] = role <= FSW_ENGINE_CHILL ? FSW_SEQ_ROW_INHIBITED : 10;
  return k;
}

/* bench_configs/sequences/tq12_class.toml */
static void default_sequence(fsw_sequencer_params_t *p)
{
  const uint32_t inlet_alive = CONDITION(0), cold = CONDITION(1), inlet = CONDITION(2), topped = CONDITION(3), red = CONDITION(4);
  const uint32_t link = FSW_SEQ_IS_LINK;
  condition(p, FSW_SEQ_CHANNEL_INLET, FSW_SEQ_ABOVE, 4e3, 4e3, 0.03);
  condition(p, FSW_SEQ_CHANNEL_PUMP, FSW_SEQ_BELOW, 116.0, 116.0, 0.02);
  condition(p, FSW_SEQ_CHANNEL_INLET, FSW_SEQ_ABOVE, 2e5, 2e5, 0.02);
  condition(p, FSW_SEQ_CHANNEL_PUMP, FSW_SEQ_BELOW, 114.0, 115.0, 0.01);
  condition(p, FSW_SEQ_CHANNEL_PC, FSW_SEQ_ABOVE, 1.3, 1.3, 0.12);
  uint32_t k = step_of(p, FSW_ENGINE_CHECK, 0, 0.03, 2.0);
  p->seq_exit[k] = link | FSW_SEQ_IS_QUIET | inlet_alive;
  k = step_of(p, FSW_ENGINE_PURGE, FSW_VALVE_PURGE, 0.5, 0.5);
  p->seq_keep[k] = link;
  k = step_of(p, FSW_ENGINE_CHILL, FSW_VALVE_CHILL, 0.0, 30.0);
  p->seq_keep[k] = link;
  p->seq_exit[k] = cold | inlet;
  p->seq_pulsed[k] = FSW_VALVE_CHILL;
  p->seq_pulse[k] = topped;
  p->seq_hold[k] = 1;
  k = step_of(p, FSW_ENGINE_IGNITER, FSW_VALVE_IGNITER, 0.01, 0.2);
  p->seq_keep[k] = link;
  p->seq_exit[k] = FSW_SEQ_IS_IGNITER;
  k = step_of(p, FSW_ENGINE_LEAD, FSW_VALVE_IGNITER | FSW_VALVE_OX, 0.01, 0.01);
  p->seq_keep[k] = link | FSW_SEQ_IS_IGNITER;
  k = step_of(p, FSW_ENGINE_RISE, FSW_VALVE_IGNITER | FSW_VALVE_OX | FSW_VALVE_FUEL, 0.01, 0.0);
  p->seq_exit[k] = FSW_SEQ_IS_LIT;
  p->seq_redline[k] = red;
  p->seq_gate[k] = FSW_SEQ_IS_SIGN;
  p->seq_gate_s[k] = 1.25;
  k = step_of(p, FSW_ENGINE_MAIN, FSW_VALVE_OX | FSW_VALVE_FUEL, 0.0, 0.0);
  p->seq_redline[k] = red | FSW_SEQ_IS_OUT;
  step_of(p, FSW_ENGINE_SHUTDOWN, FSW_VALVE_FUEL, 0.02, 0.02);
  step_of(p, FSW_ENGINE_SHUTDOWN, 0, 0.28, 0.28);
  k = step_of(p, FSW_ENGINE_AFTER, FSW_VALVE_PURGE, 1.0, 1.0);
  p->seq_next[k] = FSW_SEQ_ROW_SAFED;
  p->seq_recover_needs = link | FSW_SEQ_IS_QUIET;
  p->seq_step_s = 0.01;
  p->seq_start_max_s = 2.2;
  p->seq_igniter_s = 2.4;
  p->seq_unburnt_s = 1.3;
  p->seq_rearm_s = p->seq_recover_s = 0.2;
  p->seq_max_starts = 3;
}

static void defaults(fsw_sequencer_params_t *p)
{
  static const double y[9] = { 0, 1.6, 1.1314, 0, -1.1314, -1.6, -1.1314, 0, 1.1314 };
  static const double z[9] = { 0, 0, 1.1314, 1.6, 1.1314, 0, -1.1314, -1.6, -1.1314 };
  memset(p, 0, sizeof *p);
  for (int k = 0; k < 9; k++) {
    p->engine_y_m[k] = y[k];
    p->engine_z_m[k] = z[k];
    p->engine_gimballed[k] = p->engine_restartable[k] = (k == 0 || k % 2 == 1) ? 1.0 : 0.0;
    p->land_order[k] = -1.0;
  }
  for (int k = 0; k < 4; k++) p->pair_a[k] = p->pair_b[k] = -1.0;
  p->engine_x_m = 3.0;
  p->thrust_sl_n = 814e3;
  p->thrust_vac_n = 923e3;
  p->isp_sl_s = 283.0;
  p->pc_nominal_pa = 10e6;
  p->throttle_min = 0.5;
  p->throttle_lag_s = 0.15;
  p->gimbal_max_deg = 7.0;
  p->mass_dry_kg = 27000.0;
  p->propellant_kg = 8000.0;
  p->dry_cm_x_m = 16.0;
  p->plume_factor = 0.3;
  p->drag_area_m2 = 18.0;
  p->grace_s = 1.6;
  p->stale_s = 0.05;
  p->lit_share = 0.15;
  p->range_share = 8.0;
  p->disqualify_steps = 5;
  default_sequence(p);
  p->rise_share = 0.02;
  p->dead_share = 0.3;
  p->disagree_share = 0.08;
  p->lit_steps = 2;
  p->rise_steps = 2;
  p->dead_steps = 3;
  p->accel_lit_m_s2 = 0.8;
  p->accel_tau_s = 0.03;
  p->accel_trust_share = 0.05;
  p->low_thrust_share = 0.9;
  p->spare_wait_s = 0.1;
  p->throttle_start = 0.8;
  p->trim_share = 0.7;
  p->rho0_kg_m3 = 1.225;
  p->scale_height_m = 8500.0;
  p->n_engines = 9;
  p->step_ticks = 10;
  p->ready_phase = 2;
}

#endif
