/* sequencer_defaults.h - parameters of the booster, as zhuque3.toml and the defaults of sequencer.h give them, for tests. */
#ifndef FLIGHTSW_TEST_SEQUENCER_DEFAULTS_H
#define FLIGHTSW_TEST_SEQUENCER_DEFAULTS_H
#include <string.h>

#include "flightsw/sequencer.h"

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
  p->inlet_min_pa = 2e5;
  p->chill_limit_k = 120.0;
  p->chill_margin_k = 4.0;
  p->check_s = 0.03;
  p->check_max_s = 2.0;
  p->purge_s = 0.5;
  p->chill_max_s = 30.0;
  p->igniter_max_s = 0.2;
  p->lead_s = 0.01;
  p->decide_s = 1.25;
  p->start_max_s = 2.2;
  p->grace_s = 1.6;
  p->igniter_limit_s = 2.4;
  p->unburnt_limit_s = 1.3;
  p->shutdown_lag_s = 0.02;
  p->shutdown_s = 0.3;
  p->after_purge_s = 1.0;
  p->rearm_s = 0.2;
  p->recover_s = 0.2;
  p->stale_s = 0.05;
  p->lit_share = 0.15;
  p->rise_share = 0.02;
  p->dead_share = 0.3;
  p->redline_share = 1.3;
  p->disagree_share = 0.08;
  p->lit_steps = 2;
  p->rise_steps = 2;
  p->dead_steps = 3;
  p->redline_steps = 12;
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
  p->max_starts = 3;
  p->ready_phase = 2;
}

#endif
