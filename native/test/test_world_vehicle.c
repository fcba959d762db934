/* test_world_vehicle.c - engines, gimbals, slosh, cold gas and legs of the world. Exits non-zero on failure. */
#include "world_rig.h"

/* ---- engines -------------------------------------------------------------------------------------------------------------- */

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
  CHECK(hypot(r.s.y[14], r.s.y[15]) <= 0.4 * 2.2 + 0.02);
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

int main(void) {
  test_start_timing();
  test_start_conditions();
  test_engine_faults();
  test_start_scatter();
  test_gimbal();
  test_slosh();
  test_cold_gas();
  test_legs();
  if (failures == 0) printf("world vehicle: all passed\n");
  return failures != 0;
}
