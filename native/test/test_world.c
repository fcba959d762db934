/* test_world.c - the world against standards, closed forms and conservation laws. Exits non-zero on failure; prints a digest of a
 * dispersed flight that must be the same for every compiler, option and processor. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "flightsw/math.h"
#include "flightsw/world.h"

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

static void booster(fsw_world_params_t *p) {
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

static void engine(rig_t *r, int k, double throttle, int valves) {
  r->act[k].throttle = throttle;
  r->act[k].valves = (uint8_t)valves;
  r->act[k].counter++;
  sent(r, ENGINE + k);
}

static void fault(rig_t *r, int target, int type, int index, double severity) {
  memset(&r->faults, 0, sizeof r->faults);
  r->faults.count = type != 0;
  r->faults.target[0] = (uint8_t)target;
  r->faults.type[0] = (uint8_t)type;
  r->faults.index[0] = (uint8_t)index;
  r->faults.severity[0] = severity;
  sent(r, FAULTS);
}

/* ---- surroundings --------------------------------------------------------------------------------------------------------- */

static void test_atmosphere(void) {
  static const double T[][4] = { /* geometric height m, K, Pa, kg/m3: US Standard Atmosphere 1976, table I */
    {0.0, 288.150, 101325.0, 1.2250},      {1000.0, 281.651, 89876.0, 1.1117},    {5000.0, 255.676, 54048.0, 0.73643},
    {11000.0, 216.774, 22700.0, 0.36480},  {20000.0, 216.650, 5529.3, 0.088910},  {32000.0, 228.490, 889.06, 0.013555},
    {50000.0, 270.650, 79.779, 0.0010269}, {70000.0, 219.585, 5.2209, 8.2829e-5}, {86000.0, 186.946, 0.37338, 6.958e-6}};
  fsw_air_t air, below, above;
  for (size_t i = 0; i < sizeof T / sizeof T[0]; i++) {
    fsw_air_us76(T[i][0], &air);
    NEAR(air.t_k, T[i][1], 1e-3 * 0.6);
    NEAR(air.p_pa / T[i][2], 1.0, 6e-5);
    NEAR(air.rho_kg_m3 / T[i][3], 1.0, 8e-5);
  }
  NEAR((fsw_air_us76(0.0, &air), air.sound_m_s), 340.294, 1e-3);
  for (double h = -4000.0; h < 120000.0; h += 777.7) { /* gradients; continuity comes with them */
    fsw_air_us76(h, &air);
    fsw_air_us76(h - 0.5, &below);
    fsw_air_us76(h + 0.5, &above);
    if (above.high_m - below.high_m > 1.0) continue;
    NEAR((below.rho_kg_m3 - above.rho_kg_m3) / air.rho_kg_m3 / air.inv_scale_1_m, 1.0, 1e-6);
    NEAR((above.p_pa - below.p_pa) / air.dp_pa_m, 1.0, 1e-6);
  }
  for (double edge = air.low_m; edge > 0.0; edge = air.low_m) { /* each layer joins the one below */
    fsw_air_us76(edge + 1e-6, &above);
    fsw_air_us76(edge - 1e-6, &air);
    NEAR(above.p_pa / air.p_pa, 1.0, 1e-8);
    NEAR(above.t_k / air.t_k, 1.0, 1e-8);
  }
  fsw_air_us76(500000.0, &air);
  CHECK(air.rho_kg_m3 < 1e-30 && air.rho_kg_m3 >= 0.0);
}

static void test_earth(void) {
  fsw_earth_t earth = {6378137.0, 298.257223563, 3.986004418e14, 1.08262982e-3, 7.292115e-5};
  double r[3], g[3], n[3], l[9];
  for (int lat = -90; lat <= 90; lat += 5) {
    for (double h = -5000.0; h < 100000.0; h += 21000.0) {
      fsw_earth_from_geodetic(&earth, lat * FSW_DEG, 0.7, h, r);
      NEAR(fsw_earth_height(&earth, r, n), h, 1e-6);
      fsw_earth_local(lat * FSW_DEG, 0.7, l);
      for (int i = 0; i < 3 && lat > -90 && lat < 90; i++) NEAR(n[i], l[6 + i], 1e-9);
    }
  }
  /* Normal gravity of WGS-84 at equator and pole; J2 alone misses the higher terms, 5e-5 and 1.2e-4 m/s2. */
  fsw_earth_from_geodetic(&earth, 0.0, 0.0, 0.0, r);
  fsw_earth_gravitation(&earth, r, g);
  NEAR(-(g[0] + 7.292115e-5 * 7.292115e-5 * r[0]), 9.7803253359, 6e-5);
  fsw_earth_from_geodetic(&earth, 0.5 * FSW_PI, 0.0, 0.0, r);
  fsw_earth_gravitation(&earth, r, g);
  NEAR(-g[2], 9.8321849379, 1.5e-4);
}

static void test_wind(void) {
  fsw_world_params_t p;
  double w[3], slope[2];
  defaults(&p);
  p.n_wind = 3;
  p.wind_h_m[1] = 1000.0;
  p.wind_h_m[2] = 3000.0;
  p.wind_east_m_s[0] = 2.0;
  p.wind_east_m_s[1] = 12.0;
  p.wind_east_m_s[2] = 8.0;
  p.wind_scale = 2.0;
  p.wind_shear_north_1_s = 0.01;
  fsw_wind_profile(&p, 500.0, w, slope);
  NEAR(w[0], 14.0, 1e-12);
  NEAR(slope[0], 0.02, 1e-15);
  NEAR(w[1], 5.0, 1e-12);
  fsw_wind_profile(&p, 2000.0, w, slope);
  NEAR(w[0], 20.0, 1e-12);
  fsw_wind_profile(&p, 9000.0, w, slope);
  NEAR(w[0], 16.0, 1e-12);
  NEAR(slope[0], 0.0, 0.0);
  fsw_wind_profile(&p, -10.0, w, slope);
  NEAR(w[0], 4.0, 1e-12);
}

/* ---- motion --------------------------------------------------------------------------------------------------------------- */

static void turn(const double q[4], const double v[3], double out[3]) {
  double t[3], u[3];
  for (int i = 0; i < 3; i++) {
    int j = (i + 1) % 3, k = (i + 2) % 3;
    t[i] = 2.0 * (q[1 + j] * v[k] - q[1 + k] * v[j]);
  }
  for (int i = 0; i < 3; i++) {
    int j = (i + 1) % 3, k = (i + 2) % 3;
    u[i] = v[i] + q[0] * t[i] + q[1 + j] * t[k] - q[1 + k] * t[j];
  }
  memcpy(out, u, sizeof u);
}

static void test_tumbling(void) {
  static rig_t r;
  double l0[3], l1[3];
  defaults(&r.p);
  r.p.earth_gm_m3_s2 = r.p.earth_rate_rad_s = 0.0;
  r.p.dry_izz_kg_m2 = 5e6;
  r.p.dry_ixx_kg_m2 = 1e6;
  r.p.init_mode = 1;
  r.p.init_h_m = 2e5;
  r.p.init_omega_b_deg_s[0] = 40.0;
  r.p.init_omega_b_deg_s[1] = 90.0;
  r.p.init_omega_b_deg_s[2] = -60.0;
  rig_start(&r);
  fly(&r, 1);
  const double inertia[3] = {1e6, 4.2e6, 5e6};
  double e0 = 0.0, e1 = 0.0, lb[3], size = 0.0;
  for (int i = 0; i < 3; i++) {
    lb[i] = inertia[i] * r.truth.omega_bi_b[i];
    e0 += 0.5 * lb[i] * r.truth.omega_bi_b[i];
    size += lb[i] * lb[i];
  }
  turn(r.truth.q_be, lb, l0);
  fly(&r, 20000);
  for (int i = 0; i < 3; i++) {
    lb[i] = inertia[i] * r.truth.omega_bi_b[i];
    e1 += 0.5 * lb[i] * r.truth.omega_bi_b[i];
  }
  turn(r.truth.q_be, lb, l1);
  NEAR(e1 / e0, 1.0, 1e-10);
  for (int i = 0; i < 3; i++) NEAR((l1[i] - l0[i]) / sqrt(size), 0.0, 1e-9);
}

/* The increments are the motion: turning and summing dv reproduces the velocity, dtheta the attitude. */
static void test_increments(void) {
  static rig_t r;
  booster(&r.p);
  r.p.earth_gm_m3_s2 = r.p.earth_rate_rad_s = 0.0;
  r.p.n_legs = 0;
  r.p.init_r_l_m[2] = 5000.0;
  r.p.init_v_l_m_s[0] = 30.0;
  r.p.init_v_l_m_s[2] = -300.0;
  r.p.init_omega_b_deg_s[0] = 20.0;
  r.p.init_omega_b_deg_s[1] = 30.0;
  rig_start(&r);
  fly(&r, 1);
  double v[3], q[4];
  memcpy(v, r.truth.v_e, sizeof v);
  memcpy(q, r.truth.q_be, sizeof q);
  for (int n = 0; n < 2000; n++) {
    double half[4] = {1.0, 0, 0, 0}, mid[4], dv[3], full[4];
    fly(&r, 1);
    double a2 = 0.0;
    for (int i = 0; i < 3; i++) a2 += r.truth.dtheta_b[i] * r.truth.dtheta_b[i];
    for (int i = 0; i < 3; i++) half[1 + i] = 0.25 * r.truth.dtheta_b[i];
    for (int i = 0; i < 3; i++) full[1 + i] = 0.5 * (1.0 - a2 / 24.0) * r.truth.dtheta_b[i];
    full[0] = 1.0 - a2 / 8.0;
    for (int pass = 0; pass < 2; pass++) {
      const double *d = pass ? full : half;
      double o[4] = {q[0] * d[0] - q[1] * d[1] - q[2] * d[2] - q[3] * d[3], q[0] * d[1] + q[1] * d[0] + q[2] * d[3] - q[3] * d[2],
                     q[0] * d[2] - q[1] * d[3] + q[2] * d[0] + q[3] * d[1], q[0] * d[3] + q[1] * d[2] - q[2] * d[1] + q[3] * d[0]};
      if (pass == 0) {
        memcpy(mid, o, sizeof o);
        turn(mid, r.truth.dv_b, dv);
      } else {
        memcpy(q, o, sizeof o);
      }
    }
    for (int i = 0; i < 3; i++) v[i] += dv[i];
  }
  for (int i = 0; i < 3; i++) NEAR(v[i], r.truth.v_e[i], 2e-6);
  for (int i = 0; i < 4; i++) NEAR(q[i], r.truth.q_be[i], 1e-7);
  CHECK(fabs(r.truth.f_b[0]) > 1.0);
}

static void test_start_frame(void) {
  static rig_t r;
  booster(&r.p);
  r.p.init_r_l_m[0] = -1500.0;
  r.p.init_r_l_m[1] = 600.0;
  r.p.init_r_l_m[2] = 12000.0;
  r.p.init_v_l_m_s[0] = 60.0;
  r.p.init_v_l_m_s[1] = -24.0;
  r.p.init_v_l_m_s[2] = -475.0;
  r.p.init_tilt_deg = 7.6;
  rig_start(&r);
  fly(&r, 1);
  for (int i = 0; i < 3; i++) {
    NEAR(r.state.r_bl_l[i], r.p.init_r_l_m[i], 1e-6);
    NEAR(r.state.v_bl_l[i], r.p.init_v_l_m_s[i], 1e-9);
    NEAR(r.state.omega_bl_b[i], 0.0, 1e-12);
  }
  NEAR(r.truth.h_m, 12000.0, 1e-6);
  NEAR(r.state.alpha_rad / FSW_DEG, 179.8, 0.2); /* tail first along the velocity */
  CHECK(r.truth.t_ns == 0 && r.publish == ~0u);
  fly(&r, 1);
  CHECK(r.truth.t_ns == 1000000 && (r.publish & 15u) == 1u); /* only the truth at tick 1 */
}

/* ---- engines -------------------------------------------------------------------------------------------------------------- */

#define OPEN (FSW_VALVE_FUEL | FSW_VALVE_OX)
#define START (OPEN | FSW_VALVE_IGNITER)

static void hold(rig_t *r) { /* bolted down: heavy enough not to lift off, so that the inlets stay wet */
  booster(&r->p);
  r->p.init_on_pad = 1;
  r->p.mass_dry_kg = 2e6;
  r->p.leg_stiffness_n_m = 1e8;
  r->p.leg_crush_n = 1e9;
  rig_start(r);
}

static void test_start_timing(void) {
  static rig_t r;
  hold(&r);
  fly(&r, 10);
  engine(&r, 0, 1.0, START);
  double first = 0.0, full = 0.0;
  for (int n = 1; n < 2000; n++) {
    fly(&r, 1);
    if (first == 0.0 && r.s.engine[0].thrust_n > 0.0) first = n * 1e-3;
    if (full == 0.0 && r.s.engine[0].frac >= 1.0) full = n * 1e-3;
    if (n == 700) engine(&r, 0, 1.0, OPEN); /* burning: the igniter is no longer needed */
  }
  NEAR(first, 0.6, 0.003);
  NEAR(full, 1.5, 0.003);
  NEAR(r.s.engine[0].pc_pa / 10e6, 1.0, 1e-4);
  double x = r.truth.p_pa / 101325.0, thrust = 923e3 + (814e3 - 923e3) * x, isp = 321.0 + (283.0 - 321.0) * x;
  NEAR(r.s.engine[0].thrust_n / thrust, 1.0, 1e-4);
  double before = r.s.ox_kg + r.s.fuel_kg, ox = r.s.ox_kg;
  fly(&r, 1000);
  double used = before - r.s.ox_kg - r.s.fuel_kg;
  NEAR(used / (thrust / (9.80665 * isp)), 1.0, 1e-3);
  NEAR((ox - r.s.ox_kg) / used, 3.55 / 4.55, 1e-9);
  engine(&r, 0, 0.1, OPEN); /* below the lowest throttle: held there */
  fly(&r, 1500);
  NEAR(r.s.engine[0].pc_pa / 10e6, 0.5, 1e-3);
  engine(&r, 0, 0.1, FSW_VALVE_FUEL);
  fly(&r, 150);
  NEAR(r.s.engine[0].pc_pa / 10e6, 0.5 * exp(-1.0), 0.01);
  fly(&r, 1500);
  CHECK(r.s.engine[0].phase == FSW_WORLD_OFF && r.s.engine[0].thrust_n == 0.0);
  fly(&r, 5);
  NEAR(r.engines.pc_pa[0], r.truth.p_pa, 100.0); /* an idle chamber reads the air */
}

static int burns(rig_t *r, int ticks) {
  fly(r, ticks);
  return r->s.engine[0].thrust_n > 0.0;
}

static void test_start_conditions(void) {
  static rig_t r;
  hold(&r);
  fly(&r, 10);
  engine(&r, 0, 1.0, FSW_VALVE_IGNITER);
  CHECK(!burns(&r, 2000));
  engine(&r, 0, 1.0, OPEN);
  CHECK(!burns(&r, 2000));
  CHECK(r.s.engine[0].unburnt_kg > 50.0); /* 10 % of 293 kg/s for 2 s */
  engine(&r, 0, 1.0, FSW_VALVE_PURGE);
  CHECK(!burns(&r, 2000) && r.s.engine[0].unburnt_kg < 0.1);
  r.s.engine[0].chill_k = 200.0;
  engine(&r, 0, 1.0, START);
  CHECK(!burns(&r, 2000));
  engine(&r, 0, 1.0, FSW_VALVE_CHILL);
  fly(&r, 4000); /* 2 s time constant towards 95 K */
  NEAR(r.s.engine[0].chill_k, 95.0 + 104.0 * exp(-2.0), 2.0);
  engine(&r, 0, 1.0, START);
  CHECK(burns(&r, 800));
  hold(&r); /* gas at the inlet in free fall */
  r.p.init_on_pad = 0;
  r.p.init_r_l_m[2] = 9000.0;
  r.p.cd_const = 0.0;
  rig_start(&r);
  fly(&r, 600);
  engine(&r, 0, 1.0, START);
  CHECK(!burns(&r, 1000));
}

static void test_engine_faults(void) {
  static rig_t r;
  hold(&r);
  fly(&r, 10);
  fault(&r, FSW_TARGET_ENGINE, FSW_FAULT_NO_LIGHT, 255, 0.0);
  engine(&r, 0, 1.0, START);
  CHECK(!burns(&r, 2000));
  fault(&r, 0, 0, 0, 0.0);
  CHECK(burns(&r, 1000));
  fault(&r, FSW_TARGET_ENGINE, FSW_FAULT_LOW_PC, 0, 0.7);
  fly(&r, 1000);
  NEAR(r.s.engine[0].pc_pa / 10e6, 0.7, 1e-3);
  fault(&r, FSW_TARGET_ENGINE, FSW_FAULT_STUCK, 0, 0.0);
  engine(&r, 0, 0.5, OPEN);
  fly(&r, 1000);
  NEAR(r.s.engine[0].pc_pa / 10e6, 1.0, 1e-3);
  fault(&r, FSW_TARGET_ENGINE, FSW_FAULT_DIES, 0, 2.0);
  fly(&r, 500);
  CHECK(r.s.engine[0].thrust_n == 0.0 && r.s.engine[0].fire == 1);
  hold(&r);
  fault(&r, FSW_TARGET_ENGINE, FSW_FAULT_LATE_LIGHT, 0, 0.5);
  fly(&r, 10);
  engine(&r, 0, 1.0, START);
  CHECK(!burns(&r, 1090));
  CHECK(burns(&r, 30));
  hold(&r);
  fault(&r, FSW_TARGET_ENGINE, FSW_FAULT_HARD_START, 0, 2.5);
  fly(&r, 10);
  engine(&r, 0, 1.0, START);
  fly(&r, 620);
  NEAR(r.s.engine[0].pc_pa, 25e6, 1.0);
  CHECK(fabs(r.truth.f_b[1]) > 0.05);
  fly(&r, 60);
  CHECK(r.s.engine[0].pc_pa < 3e6);
}

static void test_start_scatter(void) {
  static rig_t r;
  double sum = 0.0, square = 0.0, first = 0.0;
  for (int n = 0; n < 400; n++) {
    hold(&r);
    r.p.start_scatter_s = 0.05;
    r.seed = (uint64_t)n;
    fly(&r, 3);
    engine(&r, 0, 1.0, START);
    fly(&r, 2);
    double d = r.s.engine[0].dead_s - 0.6;
    sum += d;
    square += d * d;
    if (n == 0) first = d;
  }
  NEAR(sum / 400.0, 0.0, 0.01);
  NEAR(sqrt(square / 400.0), 0.05, 0.006);
  hold(&r);
  r.p.start_scatter_s = 0.05;
  r.seed = 0;
  fly(&r, 3);
  engine(&r, 0, 1.0, START);
  fly(&r, 2);
  CHECK(r.s.engine[0].dead_s - 0.6 == first);
}

static void test_gimbal(void) {
  static rig_t r;
  booster(&r.p);
  r.p.init_r_l_m[2] = 3000.0;
  r.p.init_engines_on = 1;
  r.p.cd_const = 0.0;
  r.p.n_fins = 0;
  rig_start(&r);
  fly(&r, 1);
  NEAR(r.truth.alpha_bi_b[1], 0.0, 1e-8);
  r.tvc.gimbal_rad[0] = 2.0 * FSW_DEG;
  sent(&r, TVC);
  fly(&r, 1000);
  double a = 2.0 * FSW_DEG, thrust = r.s.engine[0].thrust_n, arm = r.truth.cm_x_m - 3.0;
  NEAR(r.s.engine[0].gimbal_rad[0], a, 1e-6);
  NEAR(r.state.f_thrust_b[2], -thrust * sin(a), 1.0); /* thrust turned about +y points to -z */
  NEAR(r.truth.alpha_bi_b[1], -thrust * sin(a) * arm / r.s.inertia_kg_m2[1], 2e-4); /* jet damping is the difference */
  r.tvc.gimbal_rad[0] = 0.0;
  r.tvc.gimbal_rad[1] = 20.0 * FSW_DEG;
  sent(&r, TVC);
  fly(&r, 100); /* 20 deg/s */
  NEAR(r.s.engine[0].gimbal_rad[1], 2.0 * FSW_DEG, 0.05 * FSW_DEG);
  fly(&r, 900);
  NEAR(r.s.engine[0].gimbal_rad[1], 7.0 * FSW_DEG, 1e-4);
  CHECK(r.state.f_thrust_b[1] > 0.0 && r.truth.alpha_bi_b[2] < 0.0);
}

/* ---- air ------------------------------------------------------------------------------------------------------------------ */

static void test_fins(void) {
  static rig_t r;
  double base[3] = {0.0, 0.0, 0.0}, q, gain;
  for (int k = -1; k < 4; k++) {
    booster(&r.p);
    r.p.init_r_l_m[2] = 5000.0;
    r.p.init_v_l_m_s[2] = -300.0;
    rig_start(&r);
    if (k >= 0) r.s.fin_rad[k] = r.s.fin_cmd_rad[k] = 0.02;
    fly(&r, 11);
    if (k < 0) {
      memcpy(base, r.state.m_total_b, sizeof base);
      continue;
    }
    q = r.state.q_pa;
    gain = q * 4.0 * 2.5 * 0.02;
    double phi = (45.0 + 90.0 * k) * FSW_DEG, arm = 41.0 - r.truth.cm_x_m;
    NEAR((r.state.m_total_b[0] - base[0]) / gain, 3.0, 0.02); /* what world.h promises to the control allocation */
    NEAR((r.state.m_total_b[1] - base[1]) / gain / arm, -cos(phi), 0.01);
    NEAR((r.state.m_total_b[2] - base[2]) / gain / arm, -sin(phi), 0.01);
  }
  r.fins.fin_rad[0] = 1.0;
  sent(&r, FINS);
  fly(&r, 1500);
  NEAR(r.state.fin_rad[0], 20.0 * FSW_DEG, 1e-6);
  fault(&r, FSW_TARGET_FIN, FSW_FAULT_STUCK, 0, 0.0);
  r.fins.fin_rad[0] = 0.0;
  sent(&r, FINS);
  fly(&r, 500);
  NEAR(r.s.fin_rad[0], 20.0 * FSW_DEG, 1e-6);
  fault(&r, FSW_TARGET_FIN, FSW_FAULT_SLOW, 0, 0.2);
  fly(&r, 500); /* 8 deg/s */
  NEAR(r.s.fin_rad[0], 16.0 * FSW_DEG, 0.1 * FSW_DEG);
}

static void test_drag_and_plume(void) {
  static rig_t r;
  booster(&r.p);
  r.p.init_r_l_m[2] = 5000.0;
  r.p.init_v_l_m_s[2] = -300.0;
  r.p.plume_factor = 0.3;
  rig_start(&r);
  fly(&r, 11);
  NEAR(r.state.f_aero_b[0] / r.state.q_pa, 1.13 * 15.904, 0.01);
  r.p.init_engines_on = 1;
  rig_start(&r);
  fly(&r, 11);
  NEAR(r.state.f_aero_b[0] / r.state.q_pa, 0.3 * 1.13 * 15.904, 0.01);
}

static void test_lift(void) {
  static rig_t r;
  fsw_world_params_t *p = &r.p;
  booster(p);
  p->n_fins = 0;
  p->n_mach = 1;
  p->n_alpha = 3;
  p->alpha_bp_deg[1] = 90.0;
  p->alpha_bp_deg[2] = 180.0;
  p->cd_table[0] = p->cd_table[1] = p->cd_table[2] = 1.0;
  p->cl_table[1] = -1.0;
  for (int i = 0; i < 3; i++) p->xcp_m_table[i] = 20.0;
  p->init_r_l_m[2] = 3000.0;
  p->init_v_l_m_s[2] = -200.0;
  p->init_tilt_deg = 9.0; /* top leans east, alpha 171 deg: CL -0.1 */
  rig_start(&r);
  fly(&r, 1);
  double qs = r.state.q_pa * 15.904, b = 9.0 * FSW_DEG;
  NEAR(r.state.alpha_rad / FSW_DEG, 171.0, 0.01);
  NEAR(r.state.f_aero_b[0] / qs, cos(b) - 0.1 * sin(b), 1e-3);
  NEAR(r.state.f_aero_b[1] / qs, -0.1 * cos(b) - sin(b), 1e-3); /* y is east: pushed west */
  NEAR(r.state.m_total_b[2], (20.0 - r.truth.cm_x_m) * r.state.f_aero_b[1], 1.0);
}

/* ---- slosh, cold gas, legs ------------------------------------------------------------------------------------------------- */

static void test_slosh(void) {
  static rig_t r;
  booster(&r.p);
  r.p.init_r_l_m[2] = 3000.0;
  r.p.init_engines_on = 1;
  r.p.cd_const = 0.0;
  r.p.n_fins = 0;
  r.p.earth_gm_m3_s2 = r.p.earth_rate_rad_s = 0.0;
  r.p.dry_iyy_kg_m2 = 1e13; /* does not turn: the lateral motion alone */
  r.p.slosh_mass_share = 0.001;
  rig_start(&r);
  r.s.y[14] = 0.01; /* oxygen, y */
  fly(&r, 2);
  double f = r.truth.f_b[0], k = fsw_slosh_factor(2.2, r.s.ox_h_m), last = 0.01, crossings[2] = {0.0, 0.0};
  int found = 0;
  for (int n = 0; n < 6000 && found < 2; n++) {
    fly(&r, 1);
    if (r.s.y[14] <= 0.0 && last > 0.0) crossings[found++] = (double)r.tick * 1e-3;
    last = r.s.y[14];
  }
  k = 0.5 * (k + fsw_slosh_factor(2.2, r.s.ox_h_m));
  f = 0.5 * (f + r.truth.f_b[0]);
  NEAR((crossings[1] - crossings[0]) * sqrt(k * f) / (2.0 * FSW_PI), 1.0, 0.01);
  NEAR(fsw_slosh_factor(2.0, 20.0), 1.8411837813406593 / 2.0, 1e-9); /* deep tank: 1.841 / R */
  NEAR(fsw_slosh_factor(2.0, 0.02), 1.8411837813406593 * 1.8411837813406593 * 0.02 / 4.0, 1e-5); /* shallow: xi^2 h / R^2 */

  r.p.slosh_mass_share = 0.3;
  rig_start(&r);
  r.s.y[14] = 0.05;
  r.s.y[16] = -0.03;
  double m0[3] = {r.s.y[3], r.s.y[4], r.s.y[5]};
  fly(&r, 801);
  /* lateral momentum of body and liquid together stays (thrust along x; x is up) */
  double east = 0.0, liquid = 0.3 * (r.s.ox_kg * r.s.y[18] + r.s.fuel_kg * r.s.y[20]);
  for (int i = 0; i < 3; i++) east += (r.s.y[3 + i] - m0[i]) * r.s.r_le[i];
  CHECK(fabs(liquid) > 1.0);
  NEAR((r.s.mass_kg * east + liquid) / fabs(liquid), 0.0, 0.02);
  rig_start(&r); /* bounded whatever happens */
  r.s.y[18] = 50.0;
  fly(&r, 3000);
  CHECK(hypot(r.s.y[14], r.s.y[15]) <= 0.4 * 2.2 + 1e-9);
}

static void test_cold_gas(void) {
  static rig_t r;
  booster(&r.p);
  r.p.cd_const = 0.0;
  r.p.n_fins = 0;
  r.p.init_r_l_m[2] = 90000.0;
  r.p.n_thrusters = 2;
  r.p.thruster_n = 1500.0;
  r.p.gas_kg = 10.0;
  r.p.thruster_x_m[0] = r.p.thruster_x_m[1] = 42.0;
  r.p.thruster_y_m[0] = 2.25;
  r.p.thruster_fz[0] = 1.0;
  rig_start(&r);
  fly(&r, 1);
  r.rcs.on_mask = 1;
  sent(&r, RCS);
  fly(&r, 1000);
  NEAR(r.s.gas_kg, 10.0 - 1500.0 / (9.80665 * 65.0), 1e-3);
  NEAR(r.truth.alpha_bi_b[0], 2.25 * 1500.0 / 1.1e5, 1e-6);
  NEAR(r.truth.alpha_bi_b[1], -(42.0 - r.truth.cm_x_m) * 1500.0 / r.s.inertia_kg_m2[1], 1e-5);
  fault(&r, FSW_TARGET_THRUSTER, FSW_FAULT_OFF, 0, 0.0);
  fly(&r, 1);
  NEAR(r.truth.alpha_bi_b[0], 0.0, 1e-6);
  fault(&r, FSW_TARGET_THRUSTER, FSW_FAULT_STUCK, 0, 0.0);
  r.rcs.on_mask = 0;
  sent(&r, RCS);
  fly(&r, 10000);
  CHECK(r.s.gas_kg == 0.0);
  NEAR(r.truth.alpha_bi_b[0], 0.0, 1e-6);
}

static void test_legs(void) {
  static rig_t r;
  booster(&r.p);
  r.p.init_on_pad = 1;
  r.p.propellant_kg = 3000.0;
  rig_start(&r);
  fly(&r, 1);
  double sink = 30000.0 * 9.80 / (4.0 * 1.5e6), h0 = r.truth.h_m;
  NEAR(h0, -sink, 1e-4);
  CHECK(r.truth.contact_mask == 15u);
  fly(&r, 5000);
  NEAR(r.truth.h_m, h0, 1e-5); /* no jump, no creep */
  NEAR(r.truth.f_b[0], 9.80, 0.02);
  NEAR(hypot(r.state.r_bl_l[0], r.state.r_bl_l[1]), 0.0, 1e-3);
  CHECK(r.outcome.touched == 0 && r.outcome.settled == 0); /* never flew */

  r.p.init_on_pad = 0;
  r.p.init_r_l_m[0] = 3.0;
  r.p.init_r_l_m[2] = 0.2;
  r.p.init_v_l_m_s[0] = 0.5;
  rig_start(&r);
  fly(&r, 6000);
  NEAR(r.outcome.v_down_m_s, sqrt(2.0 * 9.80 * 0.2), 0.02);
  NEAR(r.outcome.v_across_m_s, 0.5, 1e-3);
  NEAR(r.outcome.miss_m, 3.1, 0.02);
  CHECK(r.outcome.touched == 1 && r.outcome.settled == 1 && r.outcome.broken == 0);
  CHECK(r.outcome.final_tilt_deg < 0.1 && r.outcome.leg_stroke_m > sink);

  r.p.init_v_l_m_s[2] = -20.0; /* far beyond the stroke */
  rig_start(&r);
  fly(&r, 2000);
  CHECK(r.outcome.broken == 1 && r.outcome.settled == 1);
  NEAR(r.outcome.v_down_m_s, 20.1, 0.1);
  NEAR(r.truth.f_b[0], 9.80, 0.5);

  r.p.init_v_l_m_s[2] = 0.0; /* tips over: one leg's width sideways at 12 m/s */
  r.p.init_v_l_m_s[0] = 25.0;
  rig_start(&r);
  fly(&r, 12000);
  CHECK(r.outcome.broken == 1 && r.outcome.final_tilt_deg > 20.0);
}

/* ---- repeatability --------------------------------------------------------------------------------------------------------- */

static uint64_t digest_of(const double *x, size_t n) { /* of values, not of bytes in memory: any byte order */
  uint64_t h = UINT64_C(14695981039346656037), bits;
  for (size_t i = 0; i < n; i++) {
    memcpy(&bits, &x[i], sizeof bits);
    for (int b = 0; b < 64; b += 8) h = (h ^ (bits >> b & 255)) * UINT64_C(1099511628211);
  }
  return h;
}

static uint64_t busy_flight(rig_t *r, uint64_t seed) {
  booster(&r->p);
  r->p.slosh_mass_share = 0.3;
  r->p.slosh_damping = 0.02;
  r->p.gust_m_s = 2.0;
  r->p.jet_damping = 1.0;
  r->p.start_scatter_s = 0.05;
  r->p.init_r_l_m[2] = 2500.0;
  r->p.init_v_l_m_s[0] = 10.0;
  r->p.init_v_l_m_s[2] = -260.0;
  rig_start(r);
  r->seed = seed;
  for (int n = 0; n < 1200 && r->outcome.broken == 0; n++) {
    for (int k = 0; k < 18; k++) r->tvc.gimbal_rad[k] = 0.01 * ((n + k) % 7 - 3);
    for (int k = 0; k < 4; k++) r->fins.fin_rad[k] = 0.02 * ((n + k) % 5 - 2);
    sent(r, TVC);
    sent(r, FINS);
    if (n == 20 || n == 80) engine(r, 0, 0.8, n == 20 ? START : OPEN);
    fly(r, 50);
  }
  return digest_of(r->s.y, 22) ^ digest_of(r->truth.f_b, 9) ^ digest_of(&r->s.ox_kg, 1);
}

static void test_repeats(void) {
  static rig_t a, b;
  uint64_t first = busy_flight(&a, 5);
  CHECK(first == busy_flight(&b, 5));
  CHECK(first != busy_flight(&b, 6));
  printf("busy flight %016llx, touched at %.3f s with %.3f m/s\n", (unsigned long long)first, (double)a.outcome.t_touch_ns * 1e-9,
         a.outcome.v_down_m_s);
}

/* Wild inputs never make a number that is none. */
static void test_wild_inputs(void) {
  static rig_t r;
  booster(&r.p);
  r.p.init_r_l_m[2] = 1000.0;
  r.p.init_engines_on = 511;
  rig_start(&r);
  const double wild[4] = {NAN, INFINITY, -INFINITY, 1e308};
  for (int n = 0; n < 2000; n++) {
    for (int k = 0; k < 18; k++) r.tvc.gimbal_rad[k] = wild[(n + k) & 3];
    for (int k = 0; k < 4; k++) r.fins.fin_rad[k] = wild[(n + k) & 3];
    r.rcs.on_mask = ~0u;
    sent(&r, TVC);
    sent(&r, FINS);
    sent(&r, RCS);
    for (int k = 0; k < 9; k++) engine(&r, k, wild[n & 3], 255);
    fault(&r, 1 + n % 8, n % 11, n % 13 == 0 ? 255 : n % 13, wild[n & 3]);
    CHECK(one(&r) == 0);
    CHECK(isfinite(r.truth.h_m) && isfinite(r.truth.alpha_bi_b[1]) && isfinite(r.truth.f_b[2]));
  }
}

int main(void) {
  test_atmosphere();
  test_earth();
  test_wind();
  test_tumbling();
  test_increments();
  test_start_frame();
  test_start_timing();
  test_start_conditions();
  test_engine_faults();
  test_start_scatter();
  test_gimbal();
  test_fins();
  test_drag_and_plume();
  test_lift();
  test_slosh();
  test_cold_gas();
  test_legs();
  test_repeats();
  test_wild_inputs();
  if (failures == 0) printf("world: all passed\n");
  return failures != 0;
}
