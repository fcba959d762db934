/* world_rig.h - what the tests of the world share: checks, a booster, a world on a table. */
#ifndef FLIGHTSW_TEST_WORLD_RIG_H
#define FLIGHTSW_TEST_WORLD_RIG_H
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "flightsw/math.h"
#include "flightsw/world.h"

#define OPEN (FSW_VALVE_FUEL | FSW_VALVE_OX)
#define START (OPEN | FSW_VALVE_IGNITER)

static int failures;
#define CHECK(cond) ((cond) ? (void)0 : (failures++, (void)printf("%s:%d: %s\n", __func__, __LINE__, #cond)))
#define NEAR(a, b, tol) near_(__func__, __LINE__, #a, (a), (b), (tol))

static void near_(const char *func, int line, const char *what, double a, double b, double tol) {
  if (fabs(a - b) <= tol) return;
  failures++;
  printf("%s:%d: %s = %.12g, expected %.12g +- %.3g\n", func, line, what, a, b, tol);
}

/* ---- a world on a table --------------------------------------------------------------------------------------------------- */

enum { FAULTS, TVC, FINS, RCS, ENGINE };

typedef struct {
  fsw_world_params_t p;
  fsw_world_t s;
  fsw_faults_t faults;
  fsw_tvc_cmd_t tvc;
  fsw_fin_cmd_t fins;
  fsw_rcs_cmd_t rcs;
  fsw_engine_cmd_t act[9];
  fsw_topic_head_t head[13];
  const void *in[13];
  const fsw_topic_head_t *in_head[13];
  fsw_truth_t truth;
  fsw_engines_truth_t engines;
  fsw_world_state_t state;
  fsw_outcome_t outcome;
  void *out[4];
  int64_t tick;
  uint64_t seed;
  uint32_t publish;
} rig_t;

static void defaults(fsw_world_params_t *p) {
  memset(p, 0, sizeof *p);
  p->earth_gm_m3_s2 = 3.986004418e14;
  p->earth_a_m = 6378137.0;
  p->earth_inv_f = 298.257223563;
  p->earth_j2 = 1.08262982e-3;
  p->earth_rate_rad_s = 7.292115e-5;
  p->site_lat_deg = 38.6;
  p->site_lon_deg = 103.1;
  p->mass_dry_kg = 27000.0;
  p->mixture_ratio = 3.55;
  p->dry_cm_x_m = 16.0;
  p->dry_ixx_kg_m2 = 1.1e5;
  p->dry_iyy_kg_m2 = 4.2e6;
  p->tank_radius_m = 2.2;
  p->tank_ox_x_m = 17.0;
  p->tank_fuel_x_m = 5.5;
  p->rho_ox_kg_m3 = 1141.0;
  p->rho_fuel_kg_m3 = 423.0;
  p->drag_scale = p->lift_scale = p->wind_scale = 1.0;
  p->plume_factor = 1.0;
  p->l_ref_m = 4.5;
  p->thruster_isp_s = 65.0;
  p->gust_length_m = 300.0;
  p->leg_stiffness_n_m = 1.5e6;
  p->leg_crush_n = 6e5;
  p->isp_sl_s = p->isp_vac_s = 300.0;
  p->shutdown_tau_s = 0.15;
  p->chill_tau_s = p->chill_warm_tau_s = 1.0;
}

static inline void booster(fsw_world_params_t *p) {
  static const double Y[9] = {0.0, 1.6, 1.1314, 0.0, -1.1314, -1.6, -1.1314, 0.0, 1.1314};
  static const double Z[9] = {0.0, 0.0, 1.1314, 1.6, 1.1314, 0.0, -1.1314, -1.6, -1.1314};
  defaults(p);
  p->propellant_kg = 8000.0;
  p->n_engines = 9;
  memcpy(p->engine_y_m, Y, sizeof Y);
  memcpy(p->engine_z_m, Z, sizeof Z);
  for (int k = 0; k < 9; k++) p->engine_gimballed[k] = 1.0;
  p->engine_x_m = 3.0;
  p->thrust_sl_n = 814e3;
  p->thrust_vac_n = 923e3;
  p->isp_sl_s = 283.0;
  p->isp_vac_s = 321.0;
  p->throttle_min = 0.5;
  p->throttle_lag_s = 0.15;
  p->pc_nominal_pa = 10e6;
  p->start_dead_s = 0.6;
  p->start_ramp_s = 0.9;
  p->gimbal_max_deg = 7.0;
  p->gimbal_rate_deg_s = 20.0;
  p->gimbal_lag_s = 0.04;
  p->chill_init_k = p->chill_cold_k = 95.0;
  p->chill_limit_k = 120.0;
  p->chill_warm_k = 250.0;
  p->chill_tau_s = 2.0;
  p->chill_warm_tau_s = 300.0;
  p->tank_p_pa = 3e5;
  p->inlet_min_pa = 2e5;
  p->hard_start_side_share = 0.1;
  p->s_ref_m2 = 15.904;
  p->cd_const = 1.13;
  p->n_fins = 4;
  p->fin_x_m = 41.0;
  p->fin_r_m = 3.0;
  p->fin_azimuth_deg = 45.0;
  p->fin_area_m2 = 4.0;
  p->fin_cn_alpha_1_rad = 2.5;
  for (int i = 0; i < 12; i++) p->fin_mach_factor[i] = 1.0;
  p->fin_stall_deg = 30.0;
  p->fin_max_deg = 20.0;
  p->fin_rate_deg_s = 40.0;
  p->fin_lag_s = 0.05;
  p->n_legs = 4;
  p->leg_radius_m = 9.0;
  p->leg_azimuth_deg = 45.0;
  p->leg_damping_n_s_m = 1.2e5;
  p->leg_stroke_m = 0.6;
  p->leg_friction = 0.5;
  p->init_throttle = 0.7;
}

static void rig_start(rig_t *r) {
  void *out[4] = {&r->truth, &r->engines, &r->state, &r->outcome};
  const void *in[4] = {&r->faults, &r->tvc, &r->fins, &r->rcs};
  memset(&r->s, 0, sizeof r->s);
  memset(r->head, 0, sizeof r->head);
  memset(r->act, 0, sizeof r->act);
  memset(&r->faults, 0, sizeof r->faults);
  memset(&r->tvc, 0, sizeof r->tvc);
  memset(&r->fins, 0, sizeof r->fins);
  memset(&r->rcs, 0, sizeof r->rcs);
  memcpy(r->out, out, sizeof out);
  for (int k = 0; k < 13; k++) {
    r->in[k] = k < ENGINE ? in[k] : (const void *)&r->act[k - ENGINE];
    r->in_head[k] = &r->head[k];
    r->head[k].tick = -1;
  }
  r->tick = 0;
  r->seed = 1;
  fsw_task_world_dynamics.init(&r->s, &r->p);
}

static void sent(rig_t *r, int port) {
  r->head[port].tick = r->tick;
  r->head[port].seq++;
}

static int32_t one(rig_t *r) {
  fsw_io_t io = {.tick = r->tick, .t_ns = r->tick * 1000000, .dt_ns = 1000000, .seed = r->seed, .stream = 2, .publish = ~0u,
                 .in = r->in, .in_head = r->in_head, .out = r->out, .state = &r->s, .params = &r->p};
  int32_t rc = fsw_task_world_dynamics.step(&io);
  r->publish = io.publish;
  r->tick++;
  return rc;
}

static void fly(rig_t *r, int ticks) {
  for (int i = 0; i < ticks; i++) CHECK(one(r) == 0);
}

static inline void engine(rig_t *r, int k, double throttle, int valves) {
  r->act[k].throttle = throttle;
  r->act[k].valves = (uint8_t)valves;
  r->act[k].counter++;
  sent(r, ENGINE + k);
}

static inline void fault(rig_t *r, int target, int type, int index, double severity) {
  memset(&r->faults, 0, sizeof r->faults);
  r->faults.count = type != 0;
  r->faults.target[0] = (uint8_t)target;
  r->faults.type[0] = (uint8_t)type;
  r->faults.index[0] = (uint8_t)index;
  r->faults.severity[0] = severity;
  sent(r, FAULTS);
}

#endif
