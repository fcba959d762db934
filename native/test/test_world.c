/* test_world.c - the world against standards, closed forms and conservation laws. Exits non-zero on failure; prints a digest of a
 * busy flight that must be the same for every compiler, option and processor. */
#include "world_rig.h"

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
  test_fins();
  test_drag_and_plume();
  test_lift();
  test_repeats();
  test_wild_inputs();
  if (failures == 0) printf("world: all passed\n");
  return failures != 0;
}
