/* test_boards.c - simulated sensors: statistics, geometry, limits, faults, repeatability.
 * Prints a digest of outputs, equal on every processor and compiler; exits non-zero on failure. */
#include "boards_rig.h"

static void mix3(const double x[3]) {
  for (int k = 0; k < 3; k++) mix(x[k]);
}

/* Stage axis tilted from the vertical of the pad towards the east; also the pad's axes. */
static void standing(fsw_truth_t *t, double tilt_deg, double h_m, double north[3], double east[3], double up[3]) {
  double slat, clat, slon, clon, st, ct, c[3], phi;
  fsw_sincos(38.6 * FSW_DEG, &slat, &clat);
  fsw_sincos(103.1 * FSW_DEG, &slon, &clon);
  fsw_sincos(tilt_deg * FSW_DEG, &st, &ct);
  double u[3] = { clat * clon, clat * slon, slat }, e[3] = { -slon, clon, 0.0 };
  double n[3] = { -slat * clon, -slat * slon, clat };
  double nn = 6378137.0 / sqrt(1.0 - 0.00669437999014 * slat * slat);
  memset(t, 0, sizeof *t);
  t->cm_x_m = 16.0;
  t->h_m = h_m;
  for (int k = 0; k < 3; k++) c[k] = ct * u[k] + st * e[k];
  /* shortest rotation that takes x to c: axis x cross c */
  phi = sqrt((1.0 + c[0]) * 2.0);
  t->q_be[0] = phi / 2.0;
  t->q_be[2] = -c[2] / phi;
  t->q_be[3] = c[1] / phi;
  for (int k = 0; k < 3; k++) {
    double along = (k == 2 ? nn * 0.99330562000985867 : nn) + h_m;
    t->r_e[k] = along * u[k] + 16.0 * c[k];
    north[k] = n[k];
    east[k] = e[k];
    up[k] = u[k];
  }
}

static double dot(const double a[3], const double b[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

/* ---- inertial unit ---------------------------------------------------------------------------------------------------------- */

static fsw_board_imu_params_t imu_ideal(void) {
  fsw_board_imu_params_t p = { .imu_x_m = 20.0, .bias_tau_s = 300.0, .gyro_max_deg_s = 400.0, .accel_max_m_s2 = 300.0 };
  return p;
}

static fsw_board_imu_params_t imu_default(void) {
  fsw_board_imu_params_t p = imu_ideal();
  p.gyro_bias_deg_h = 5.0, p.gyro_bias_gm_deg_h = 1.0;
  p.accel_bias_m_s2 = 0.00980665, p.accel_bias_gm_m_s2 = 0.0004903325;
  p.arw_deg_rt_h = 0.05, p.vrw_m_s_rt_h = 0.03;
  p.gyro_scale_ppm = 200.0, p.accel_scale_ppm = 300.0;
  p.imu_misalign_rad = 1e-4;
  p.gyro_lsb_rad = 1e-8, p.accel_lsb_m_s = 1e-6;
  return p;
}

typedef struct { rig_t rig; fsw_board_imu_state_t state; fsw_truth_t truth; fsw_faults_t faults; fsw_imu_t out; } imu_t;

static void imu_open(imu_t *m, const fsw_board_imu_params_t *p) {
  memset(m, 0, sizeof *m);
  rig_open(&m->rig, &fsw_task_board_imu, &m->state, p, 1);
  bind(&m->rig, 0, &m->truth);
  bind(&m->rig, 1, &m->faults);
  m->rig.out[0] = &m->out;
  m->truth.cm_x_m = 16.0;
  deliver(&m->rig, 1);
}

static uint32_t imu_sample(imu_t *m) {
  m->truth.t_ns = m->rig.io.t_ns;
  deliver(&m->rig, 0);
  return run(&m->rig);
}

static void test_imu_noise(void) {
  fsw_board_imu_params_t p = imu_ideal();
  imu_t m;
  stat_t s[6], lag = { 0 }, cross = { 0 };
  double last = 0.0, sg = 0.05 * FSW_DEG / 60.0 * sqrt(1e-3), sa = 0.03 / 60.0 * sqrt(1e-3);
  memset(s, 0, sizeof s);
  p.arw_deg_rt_h = 0.05, p.vrw_m_s_rt_h = 0.03;
  imu_open(&m, &p);
  for (int i = 0; i < 100000; i++) {
    CHECK(imu_sample(&m) == 1);
    for (int k = 0; k < 3; k++) add(&s[k], m.out.dtheta_b[k] / sg), add(&s[3 + k], m.out.dv_b[k] / sa);
    add(&lag, m.out.dv_b[1] * last / (sa * sa)), add(&cross, m.out.dv_b[1] * m.out.dv_b[2] / (sa * sa));
    last = m.out.dv_b[1];
  }
  for (int k = 0; k < 6; k++) {
    NEAR(mean(&s[k]), 0.0, 4.0 / sqrt(1e5));
    NEAR(deviation(&s[k]), 1.0, 0.01);
  }
  NEAR(mean(&lag), 0.0, 4.0 / sqrt(1e5));
  NEAR(mean(&cross), 0.0, 4.0 / sqrt(1e5));
  CHECK(m.out.seq == 100000 && m.out.valid == 1 && m.out.saturated == 0);
}

static void test_imu_constants(void) {
  fsw_board_imu_params_t p = imu_ideal();
  imu_t m;
  stat_t bias = { 0 }, scale = { 0 }, tilt = { 0 };
  for (uint32_t i = 0; i < 3000; i++) {
    p.gyro_bias_deg_h = 5.0, p.accel_bias_m_s2 = 0.0098, p.accel_scale_ppm = 0.0, p.imu_misalign_rad = 0.0;
    imu_open(&m, &p);
    m.rig.io.stream = i;
    imu_sample(&m);
    for (int k = 0; k < 3; k++) add(&bias, m.out.dtheta_b[k] / (5.0 * FSW_DEG / 3.6e6)), add(&bias, m.out.dv_b[k] / 9.8e-6);
    p.gyro_bias_deg_h = 0.0, p.accel_bias_m_s2 = 0.0, p.accel_scale_ppm = 300.0, p.imu_misalign_rad = 1e-4;
    imu_open(&m, &p);
    m.rig.io.stream = i;
    m.truth.dv_b[0] = 0.03;
    imu_sample(&m);
    add(&scale, (m.out.dv_b[0] / 0.03 - 1.0) / 3e-4);
    add(&tilt, m.out.dv_b[1] / 0.03 / 1e-4), add(&tilt, m.out.dv_b[2] / 0.03 / 1e-4);
  }
  NEAR(mean(&bias), 0.0, 4.0 / sqrt(18000.0));
  NEAR(deviation(&bias), 1.0, 0.02);
  NEAR(deviation(&scale), 1.0, 0.05);
  NEAR(deviation(&tilt), 1.0, 0.04);
}

static void test_imu_slow_bias(void) {
  fsw_board_imu_params_t p = imu_ideal();
  imu_t m;
  stat_t s = { 0 };
  p.accel_bias_gm_m_s2 = 0.01, p.bias_tau_s = 0.5;
  imu_open(&m, &p);
  for (int i = 0; i < 200000; i++) {
    imu_sample(&m);
    for (int k = 0; k < 3; k++) add(&s, m.out.dv_b[k] / 1e-5);
  }
  NEAR(mean(&s), 0.0, 0.15);
  NEAR(deviation(&s), 1.0, 0.08);
}

static void test_imu_lever_arm(void) {
  fsw_board_imu_params_t p = imu_ideal();
  imu_t m;
  double sum = 0.0, w = 0.0;
  p.imu_y_m = 0.5;
  imu_open(&m, &p);
  for (int i = 0; i < 1000; i++) { /* about z, 0 to 0.5 rad/s in 1 s: l = (4, 0.5, 0) */
    m.truth.alpha_bi_b[2] = 0.5;
    m.truth.dtheta_b[2] = (w + 0.25e-3) * 1e-3;
    w += 0.5e-3;
    m.truth.omega_bi_b[2] = w;
    m.truth.dv_b[0] = 0.01;
    imu_sample(&m);
    sum += m.out.dv_b[1];
    NEAR(m.out.dtheta_b[2], m.truth.dtheta_b[2], 1e-15);
  }
  NEAR(sum, 0.5 * 4.0 - 0.5 * 0.25 / 3.0, 1e-6); /* alpha x l, minus the centripetal part along y */
  m.truth.alpha_bi_b[2] = 0.0;
  imu_sample(&m);
  NEAR(m.out.dv_b[0], 0.01 - 0.25 * 4.0 * 1e-3, 1e-12);
  NEAR(m.out.dv_b[1], -0.25 * 0.5 * 1e-3, 1e-12);
}

static void test_imu_limits(void) {
  fsw_board_imu_params_t p = imu_ideal();
  imu_t m;
  double sum = 0.0;
  p.accel_lsb_m_s = 1e-4;
  imu_open(&m, &p);
  m.truth.dv_b[1] = 1.23456e-5;
  for (int i = 0; i < 10000; i++) {
    imu_sample(&m);
    sum += m.out.dv_b[1];
    NEAR(fmod(m.out.dv_b[1] + 0.5e-4, 1e-4), 0.5e-4, 1e-12);
  }
  NEAR(sum, 0.123456, 1e-4); /* the remainder is carried on */
  m.truth.dtheta_b[2] = 401.0 * FSW_DEG * 1e-3;
  m.truth.dv_b[0] = -0.31;
  imu_sample(&m);
  CHECK(m.out.saturated == (4 | 8));
  NEAR(m.out.dtheta_b[2], 400.0 * FSW_DEG * 1e-3, 1e-12);
  NEAR(m.out.dv_b[0], -0.3, 1e-9);
  m.truth.dtheta_b[2] = 399.0 * FSW_DEG * 1e-3;
  m.truth.dv_b[0] = 0.0;
  imu_sample(&m);
  CHECK(m.out.saturated == 0);
  CHECK(run(&m.rig) == 0); /* no new truth, nothing measured */
}

static void test_imu_faults(void) {
  fsw_board_imu_params_t p = imu_ideal();
  imu_t m;
  p.index = 1;
  imu_open(&m, &p);
  m.truth.dv_b[0] = 0.01;
  CHECK(imu_sample(&m) == 1);
  one_fault(&m.faults, FSW_TARGET_IMU, FSW_FAULT_OFF, 0, 0.0);
  CHECK(imu_sample(&m) == 1); /* another unit's */
  one_fault(&m.faults, FSW_TARGET_IMU, FSW_FAULT_OFF, 1, 0.0);
  CHECK(imu_sample(&m) == 0);
  one_fault(&m.faults, FSW_TARGET_IMU, FSW_FAULT_STUCK, 255, 0.0);
  m.truth.dv_b[0] = 0.02;
  CHECK(imu_sample(&m) == 1);
  NEAR(m.out.dv_b[0], 0.01, 1e-12);
  CHECK(m.out.seq == 3 && m.out.t_valid_ns == 3000000);
  one_fault(&m.faults, FSW_TARGET_IMU, FSW_FAULT_WRONG, 1, 0.1);
  imu_sample(&m);
  for (int k = 0; k < 3; k++) NEAR(m.out.dtheta_b[k], 1e-4, 1e-12);
  NEAR(m.out.dv_b[0], 0.02, 1e-12);
  one_fault(&m.faults, FSW_TARGET_IMU, FSW_FAULT_WRONG, 1 + 16 * 6, 3.0);
  imu_sample(&m);
  NEAR(m.out.dtheta_b[1], 0.0, 0.0);
  NEAR(m.out.dv_b[0], 0.02, 1e-12);
  NEAR(m.out.dv_b[1], 3e-3, 1e-12);
  one_fault(&m.faults, FSW_TARGET_IMU, FSW_FAULT_WRONG, 79, 3.0);
  imu_sample(&m);
  NEAR(m.out.dv_b[0], 0.023, 1e-12);
  NEAR(m.out.dv_b[2], 3e-3, 1e-12);
  one_fault(&m.faults, FSW_TARGET_IMU, FSW_FAULT_GARBAGE, 1, 0.0);
  imu_sample(&m);
  CHECK(fabs(m.out.dv_b[1]) > 1e-3 && fabs(m.out.dv_b[1]) <= 0.3 && m.out.valid == 1);
  m.faults.count = 0;
  imu_sample(&m);
  NEAR(m.out.dv_b[0], 0.02, 1e-12);
}

static uint64_t imu_stream(uint64_t seed, uint32_t stream, uint32_t index) {
  fsw_board_imu_params_t p = imu_default();
  imu_t m;
  uint64_t keep = digest, result;
  digest = 1;
  p.index = index;
  imu_open(&m, &p);
  m.rig.io.seed = seed;
  m.rig.io.stream = stream;
  for (int i = 0; i < 500; i++) {
    m.truth.dv_b[0] = 0.01 + 1e-5 * i;
    m.truth.omega_bi_b[1] = 1e-4 * i;
    m.truth.dtheta_b[1] = 1e-7 * i;
    imu_sample(&m);
    mix3(m.out.dtheta_b);
    mix3(m.out.dv_b);
  }
  result = digest;
  digest = keep;
  mix_u64(result);
  return result;
}

static void test_imu_repeats(void) {
  CHECK(imu_stream(1, 1, 0) == imu_stream(1, 1, 0));
  CHECK(imu_stream(1, 1, 0) != imu_stream(2, 1, 0));
  CHECK(imu_stream(1, 1, 0) != imu_stream(1, 2, 0));
  CHECK(imu_stream(1, 1, 0) != imu_stream(1, 1, 1));
}

/* ---- GNSS -------------------------------------------------------------------------------------------------------------------- */

typedef struct { rig_t rig; fsw_board_gnss_state_t state; fsw_truth_t truth; fsw_faults_t faults; fsw_gnss_t out; } gnss_t;

static fsw_board_gnss_params_t gnss_default(void) {
  fsw_board_gnss_params_t p = { .gnss_x_m = 40.0, .gnss_sigma_r_m = 1.5, .gnss_sigma_r_d_m = 2.5, .gnss_sigma_v_m_s = 0.05,
    .gnss_sigma_v_d_m_s = 0.08, .gnss_gm_tau_s = 120.0, .gnss_stated_scale = 1.0, .gnss_satellites = 14 };
  return p;
}

static void gnss_open(gnss_t *m, const fsw_board_gnss_params_t *p) {
  memset(&m->faults, 0, sizeof m->faults);
  rig_open(&m->rig, &fsw_task_board_gnss, &m->state, p, 100);
  bind(&m->rig, 0, &m->truth);
  bind(&m->rig, 1, &m->faults);
  m->rig.out[0] = &m->out;
  deliver(&m->rig, 1);
}

static uint32_t gnss_sample(gnss_t *m) {
  m->truth.t_ns = m->rig.io.t_ns;
  deliver(&m->rig, 0);
  return run(&m->rig);
}

static void test_gnss_noise(void) {
  fsw_board_gnss_params_t p = gnss_default();
  gnss_t m;
  stat_t r[3], v[3];
  double ax[3][3], up[3], antenna[3], sr[3] = { 1.5, 1.5, 2.5 }, sv[3] = { 0.05, 0.05, 0.08 };
  memset(r, 0, sizeof r), memset(v, 0, sizeof v);
  standing(&m.truth, 0.0, 1000.0, ax[0], ax[1], up);
  for (int k = 0; k < 3; k++) ax[2][k] = -up[k], antenna[k] = m.truth.r_e[k] + 24.0 * up[k];
  gnss_open(&m, &p);
  for (int i = 0; i < 100000; i++) {
    double d[3];
    CHECK(gnss_sample(&m) == 1);
    for (int k = 0; k < 3; k++) d[k] = m.out.r_e[k] - antenna[k];
    for (int k = 0; k < 3; k++) {
      double turn = k == 1 ? 7.292115e-5 * 24.0 * cos(38.6 * FSW_DEG) : 0.0; /* the truth says omega_bi = 0 */
      add(&r[k], dot(d, ax[k]) / sr[k]);
      add(&v[k], (dot(m.out.v_e, ax[k]) + turn) / sv[k]);
    }
    if (i % 1000 == 0) mix3(m.out.r_e), mix3(m.out.v_e);
  }
  for (int k = 0; k < 3; k++) {
    NEAR(mean(&r[k]), 0.0, 4.0 / sqrt(1e5));
    NEAR(deviation(&r[k]), 1.0, 0.01);
    NEAR(mean(&v[k]), 0.0, 4.0 / sqrt(1e5));
    NEAR(deviation(&v[k]), 1.0, 0.01);
    NEAR(m.out.sigma_r_m[k], sr[k], 0.0);
    NEAR(m.out.sigma_v_m_s[k], sv[k], 0.0);
  }
  CHECK(m.out.valid == 1 && m.out.satellites == 14 && m.out.seq == 100000);
}

static void test_gnss_geometry(void) {
  fsw_board_gnss_params_t p = gnss_default();
  gnss_t m;
  stat_t slow = { 0 };
  double north[3], east[3], up[3], d[3];
  standing(&m.truth, 0.0, 1000.0, north, east, up);
  p.gnss_sigma_r_m = p.gnss_sigma_r_d_m = p.gnss_sigma_v_m_s = p.gnss_sigma_v_d_m_s = 0.0;
  m.truth.omega_bi_b[1] = 0.2; /* moves the antenna, 24 m up, sideways */
  gnss_open(&m, &p);
  gnss_sample(&m);
  for (int k = 0; k < 3; k++) d[k] = m.out.r_e[k] - m.truth.r_e[k];
  NEAR(dot(d, up), 24.0, 1e-6);
  NEAR(sqrt(dot(m.out.v_e, m.out.v_e)), 4.8, 0.01);
  NEAR(dot(m.out.v_e, up), 0.0, 1e-3);
  p.gnss_gm_m = 1.0, p.gnss_gm_tau_s = 5.0;
  gnss_open(&m, &p);
  for (int i = 0; i < 100000; i++) {
    gnss_sample(&m);
    for (int k = 0; k < 3; k++) d[k] = m.out.r_e[k] - m.truth.r_e[k];
    add(&slow, dot(d, north));
  }
  NEAR(mean(&slow), 0.0, 0.15);
  NEAR(deviation(&slow), 1.0, 0.1);
}

static void test_gnss_faults(void) {
  fsw_board_gnss_params_t p = gnss_default();
  gnss_t m;
  double north[3], east[3], up[3], d[3], old[3];
  standing(&m.truth, 0.0, 1000.0, north, east, up);
  p.gnss_sigma_r_m = p.gnss_sigma_r_d_m = p.gnss_sigma_v_m_s = p.gnss_sigma_v_d_m_s = 0.0;
  gnss_open(&m, &p);
  gnss_sample(&m);
  memcpy(old, m.out.r_e, sizeof old);
  one_fault(&m.faults, FSW_TARGET_GNSS, FSW_FAULT_OFF, 0, 0.0);
  CHECK(gnss_sample(&m) == 0);
  one_fault(&m.faults, FSW_TARGET_GNSS, FSW_FAULT_WRONG, 0, 40.0);
  CHECK(gnss_sample(&m) == 1);
  for (int k = 0; k < 3; k++) d[k] = m.out.r_e[k] - old[k];
  NEAR(dot(d, east), 40.0, 0.01);
  NEAR(dot(d, up), 40.0, 0.01);
  NEAR(dot(d, north), 0.0, 0.01);
  one_fault(&m.faults, FSW_TARGET_GNSS, FSW_FAULT_STUCK, 0, 0.0);
  m.truth.r_e[0] += 100.0;
  memcpy(old, m.out.r_e, sizeof old);
  CHECK(gnss_sample(&m) == 1);
  CHECK(memcmp(old, m.out.r_e, sizeof old) == 0 && m.out.seq == 3 && m.out.t_valid_ns == 300000000);
  one_fault(&m.faults, FSW_TARGET_GNSS, FSW_FAULT_GARBAGE, 255, 0.0);
  gnss_sample(&m);
  CHECK(fabs(m.out.r_e[0] - m.truth.r_e[0]) > 100.0);
  CHECK(run(&m.rig) == 0);
}

/* ---- altimeter and barometer ---------------------------------------------------------------------------------------------------- */

typedef struct { rig_t rig; fsw_board_radalt_state_t state; fsw_truth_t truth; fsw_faults_t faults; fsw_radalt_t out; } radalt_t;

static fsw_board_radalt_params_t radalt_default(void) {
  fsw_board_radalt_params_t p = { .site_lat_deg = 38.6, .site_lon_deg = 103.1, .radalt_x_m = 2.0, .radalt_sigma_m = 0.05,
    .radalt_sigma_share = 0.003, .radalt_min_m = 0.3, .radalt_max_m = 2500.0, .radalt_tilt_max_deg = 25.0, .radalt_lsb_m = 0.01 };
  return p;
}

static void radalt_open(radalt_t *m, const fsw_board_radalt_params_t *p) {
  memset(&m->faults, 0, sizeof m->faults);
  memset(&m->out, 0, sizeof m->out);
  rig_open(&m->rig, &fsw_task_board_radalt, &m->state, p, 20);
  bind(&m->rig, 0, &m->truth);
  bind(&m->rig, 1, &m->faults);
  m->rig.out[0] = &m->out;
  deliver(&m->rig, 1);
}

static uint32_t radalt_sample(radalt_t *m) {
  m->truth.t_ns = m->rig.io.t_ns;
  deliver(&m->rig, 0);
  return run(&m->rig);
}

static void test_radalt(void) {
  fsw_board_radalt_params_t p = radalt_default();
  radalt_t m;
  double a[3], b[3], c[3], ct = cos(10.0 * FSW_DEG), expected = 500.0 / ct + 2.0;
  stat_t s = { 0 };
  standing(&m.truth, 10.0, 500.0, a, b, c);
  radalt_open(&m, &p);
  for (int i = 0; i < 100000; i++) {
    CHECK(radalt_sample(&m) == 1);
    add(&s, (m.out.range_m - expected) / (0.05 + 0.003 * expected));
    if (i % 1000 == 0) mix(m.out.range_m);
  }
  NEAR(mean(&s), 0.0, 4.0 / sqrt(1e5));
  NEAR(deviation(&s), 1.0, 0.01);
  CHECK(m.out.valid == 1);
  const double invalid[3][2] = { { 25.1, 500.0 }, { 0.0, 2499.0 }, { 0.0, -1.8 } };
  const double valid[3][2] = { { 24.9, 500.0 }, { 0.0, 2497.0 }, { 0.0, 0.0 } };
  for (int i = 0; i < 3; i++) {
    standing(&m.truth, invalid[i][0], invalid[i][1], a, b, c);
    CHECK(radalt_sample(&m) == 1 && m.out.valid == 0 && !(m.out.range_m > 0.0));
    standing(&m.truth, valid[i][0], valid[i][1], a, b, c);
    CHECK(radalt_sample(&m) == 1 && m.out.valid == 1);
  }
  NEAR(m.out.range_m, 2.0, 0.3);
}

static void test_radalt_faults(void) {
  fsw_board_radalt_params_t p = radalt_default();
  radalt_t m;
  double a[3], b[3], c[3], old;
  stat_t s = { 0 };
  p.radalt_sigma_m = p.radalt_sigma_share = 0.0;
  standing(&m.truth, 0.0, 500.0, a, b, c);
  radalt_open(&m, &p);
  radalt_sample(&m);
  NEAR(m.out.range_m, 502.0, 0.006);
  one_fault(&m.faults, FSW_TARGET_RADALT, FSW_FAULT_WRONG, 0, -100.0);
  radalt_sample(&m);
  NEAR(m.out.range_m, 402.0, 0.006);
  one_fault(&m.faults, FSW_TARGET_RADALT, FSW_FAULT_STUCK, 0, 0.0);
  old = m.out.range_m;
  m.truth.h_m = 300.0;
  CHECK(radalt_sample(&m) == 1 && !(m.out.range_m < old) && m.out.seq == 3);
  one_fault(&m.faults, FSW_TARGET_RADALT, FSW_FAULT_GARBAGE, 0, 0.0);
  radalt_sample(&m);
  CHECK(fabs(m.out.range_m - 302.0) > 1.0 && m.out.valid == 1);
  one_fault(&m.faults, FSW_TARGET_RADALT, FSW_FAULT_OFF, 255, 0.0);
  CHECK(radalt_sample(&m) == 0);
  p.radalt_sigma_m = 0.1;
  one_fault(&m.faults, FSW_TARGET_RADALT, FSW_FAULT_GARBAGE, 0, 20.0);
  for (int i = 0; i < 20000; i++) radalt_sample(&m), add(&s, m.out.range_m);
  NEAR(mean(&s), 302.0, 0.06);
  NEAR(deviation(&s), 2.0, 0.05);
}

static void test_baro(void) {
  fsw_board_baro_params_t p = { .baro_sigma_pa = 10.0, .baro_lsb_pa = 1.0, .baro_max_pa = 120000.0 };
  fsw_board_baro_state_t state;
  fsw_truth_t truth;
  fsw_baro_t out;
  rig_t r;
  stat_t s = { 0 }, bias = { 0 };
  memset(&truth, 0, sizeof truth);
  truth.p_pa = 50000.0;
  rig_open(&r, &fsw_task_board_baro, &state, &p, 20);
  bind(&r, 0, &truth);
  r.out[0] = &out;
  CHECK(run(&r) == 0);
  for (int i = 0; i < 100000; i++) {
    deliver(&r, 0);
    CHECK(run(&r) == 1);
    add(&s, (out.p_pa - 50000.0) / 10.0);
  }
  NEAR(mean(&s), 0.0, 4.0 / sqrt(1e5));
  NEAR(deviation(&s), 1.0, 0.01);
  p.baro_bias_pa = 50.0, p.baro_sigma_pa = 0.0;
  for (uint32_t i = 0; i < 3000; i++) {
    rig_open(&r, &fsw_task_board_baro, &state, &p, 20);
    bind(&r, 0, &truth);
    r.out[0] = &out;
    r.io.stream = i;
    deliver(&r, 0);
    run(&r);
    add(&bias, (out.p_pa - 50000.0) / 50.0);
  }
  NEAR(deviation(&bias), 1.0, 0.05);
}

int main(void) {
  test_imu_noise();
  test_imu_constants();
  test_imu_slow_bias();
  test_imu_lever_arm();
  test_imu_limits();
  test_imu_faults();
  test_imu_repeats();
  test_gnss_noise();
  test_gnss_geometry();
  test_gnss_faults();
  test_radalt();
  test_radalt_faults();
  test_baro();
  return report("test_boards");
}
