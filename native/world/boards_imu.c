/* boards_imu.c - simulated inertial measurement unit. Manual: flightsw/boards.h. */
#include "boards_internal.h"

#define CH_CONST 0    /* 0..5: drawn once */
#define CH_WHITE 8
#define CH_SLOW 12    /* 12, 13 */
#define CH_GARBAGE 16 /* 16, 17 */
#define SLOW_SAMPLES 100u /* samples between updates of the slow biases */
#define DEG_H (FSW_DEG / 3600.0)

typedef struct { /* faults in force on this unit */
  board_faults_t all;
  double gyro[3];  /* rad/s */
  double accel[3]; /* m/s2 */
} imu_faults_t;

/* Scale factor and two misalignments per axis. */
static void draw_matrix(const fsw_rng_t *rng, uint32_t channel, double scale, double misalign, double m[9]) {
  double w[12];
  for (uint32_t k = 0; k < 3; k++) fsw_rng_gauss4(rng, 0, channel + k, w + 4 * k);
  for (uint32_t k = 0; k < 9; k++) m[k] = (k & 3u) == 0 ? 1.0 + scale * w[k] : misalign * w[k];
}

static void sum_biases(fsw_board_imu_state_t *s) {
  for (uint32_t k = 0; k < 3; k++) {
    s->bias_dtheta[k] = (s->bias0_gyro[k] + s->gm_gyro[k]) * s->dt_s;
    s->bias_dv[k] = (s->bias0_accel[k] + s->gm_accel[k]) * s->dt_s;
  }
}

/* Draws the errors of this power cycle. */
static void prepare(fsw_board_imu_state_t *s, const fsw_board_imu_params_t *p, const fsw_io_t *io) {
  fsw_rng_t rng = board_rng(io);
  double w[12];
  uint32_t channel = BOARD_CHANNEL(p->index, CH_CONST);
  draw_matrix(&rng, channel, p->gyro_scale_ppm * 1e-6, p->imu_misalign_rad, s->m_gyro);
  draw_matrix(&rng, channel + 3, p->accel_scale_ppm * 1e-6, p->imu_misalign_rad, s->m_accel);
  for (uint32_t k = 0; k < 3; k++) fsw_rng_gauss4(&rng, -1, channel + k, w + 4 * k);
  for (uint32_t k = 0; k < 3; k++) {
    s->bias0_gyro[k] = p->gyro_bias_deg_h * DEG_H * w[k];
    s->bias0_accel[k] = p->accel_bias_m_s2 * w[3 + k];
    s->gm_gyro[k] = p->gyro_bias_gm_deg_h * DEG_H * w[6 + k];
    s->gm_accel[k] = p->accel_bias_gm_m_s2 * w[9 + k];
  }
  double dt = board_period_s(io), rt_dt = fsw_sqrt(fsw_max(dt, 0.0));
  s->dt_s = dt;
  s->sigma_dtheta = p->arw_deg_rt_h * FSW_DEG / 60.0 * rt_dt;
  s->sigma_dv = p->vrw_m_s_rt_h / 60.0 * rt_dt;
  s->max_dtheta = p->gyro_max_deg_s * FSW_DEG * dt;
  s->max_dv = p->accel_max_m_s2 * dt;
  s->lsb_dtheta = fsw_max(p->gyro_lsb_rad, BOARD_FINEST * s->max_dtheta);
  s->lsb_dv = fsw_max(p->accel_lsb_m_s, BOARD_FINEST * s->max_dv);
  s->inv_lsb_dtheta = board_inverse(s->lsb_dtheta);
  s->inv_lsb_dv = board_inverse(s->lsb_dv);
  s->gm_keep = board_keep(dt * (double)SLOW_SAMPLES, p->bias_tau_s);
  s->gm_add = fsw_sqrt(fsw_max(1.0 - s->gm_keep * s->gm_keep, 0.0));
  sum_biases(s);
}

static void drift(fsw_board_imu_state_t *s, const fsw_board_imu_params_t *p, const fsw_io_t *io) {
  fsw_rng_t rng = board_rng(io);
  s->since_drift = 0;
  double w[8], g = s->gm_add * p->gyro_bias_gm_deg_h * DEG_H, a = s->gm_add * p->accel_bias_gm_m_s2;
  fsw_rng_gauss4(&rng, io->tick, BOARD_CHANNEL(p->index, CH_SLOW), w);
  fsw_rng_gauss4(&rng, io->tick, BOARD_CHANNEL(p->index, CH_SLOW + 1), w + 4);
  for (uint32_t k = 0; k < 3; k++) {
    s->gm_gyro[k] = s->gm_keep * s->gm_gyro[k] + g * w[k];
    s->gm_accel[k] = s->gm_keep * s->gm_accel[k] + a * w[3 + k];
  }
  sum_biases(s);
}

/* Velocity increment at the unit: that of the centre of mass plus (d omega) x l + omega x (omega x l) dt. */
static inline void at_lever_arm(fsw_board_imu_state_t *s, const fsw_board_imu_params_t *p, const fsw_truth_t *t, double dv[3]) {
  double lx = p->imu_x_m - t->cm_x_m, ly = p->imu_y_m, lz = p->imu_z_m, dt = s->dt_s;
  double wx = t->omega_bi_b[0], wy = t->omega_bi_b[1], wz = t->omega_bi_b[2];
  double dx = wx - s->omega_b[0], dy = wy - s->omega_b[1], dz = wz - s->omega_b[2];
  s->omega_b[0] = wx;
  s->omega_b[1] = wy;
  s->omega_b[2] = wz;
  wx -= 0.5 * dx; /* the middle of the interval */
  wy -= 0.5 * dy;
  wz -= 0.5 * dz;
  double along = (wx * lx + wy * ly + wz * lz) * dt, square = (wx * wx + wy * wy + wz * wz) * dt;
  dv[0] = t->dv_b[0] + (dy * lz - dz * ly) + (wx * along - lx * square);
  dv[1] = t->dv_b[1] + (dz * lx - dx * lz) + (wy * along - ly * square);
  dv[2] = t->dv_b[2] + (dx * ly - dy * lx) + (wz * along - lz * square);
}

typedef struct { /* the analogue-to-digital side of three axes */
  double limit, lsb, inv_lsb;
  double *rest;
  uint32_t saturated; /* bit k: axis k at its limit */
} digitiser_t;

/* Limits to the range, then to whole quanta, carrying the remainder on as a pulse counter does. */
static inline double digitise(digitiser_t *d, uint32_t k, double x) {
  if (!(fsw_abs(x) < d->limit)) {
    d->saturated |= 1u << k;
    d->rest[k] = 0.0;
    x = x > 0.0 ? d->limit : -d->limit;
  }
  x += d->rest[k];
  double whole = board_whole(x, d->lsb, d->inv_lsb);
  d->rest[k] = x - whole;
  return whole;
}

/* One triad: scale and misalignment, bias, noise, limits, quanta. Inlined twice, for a sixth of the cost of a sample. */
__attribute__((always_inline))
static inline void triad(digitiser_t *d, const double m[9], const double bias[3], double sigma, uint64_t bits, const double x[3],
                         double out[3]) {
  out[0] = digitise(d, 0, m[0] * x[0] + m[1] * x[1] + m[2] * x[2] + bias[0] + sigma * board_normal(bits, 0));
  out[1] = digitise(d, 1, m[3] * x[0] + m[4] * x[1] + m[5] * x[2] + bias[1] + sigma * board_normal(bits, 1));
  out[2] = digitise(d, 2, m[6] * x[0] + m[7] * x[1] + m[8] * x[2] + bias[2] + sigma * board_normal(bits, 2));
}

static void collect_faults(const fsw_faults_t *m, uint32_t unit, imu_faults_t *f) {
  __builtin_memset(f->gyro, 0, sizeof f->gyro);
  __builtin_memset(f->accel, 0, sizeof f->accel);
  board_collect(m, FSW_TARGET_IMU, unit, &f->all);
  uint32_t n = m->count < FSW_FAULT_SLOTS ? m->count : FSW_FAULT_SLOTS;
  for (uint32_t i = 0; i < n; i++) {
    if (m->target[i] != FSW_TARGET_IMU || m->type[i] != FSW_FAULT_WRONG) continue;
    uint32_t who = m->index[i] & 15u, what = m->index[i] == 255 ? 0u : m->index[i] >> 4;
    if ((who != unit && who != 15u) || what > 7u) continue;
    double *bias = what < 4u ? f->gyro : f->accel;
    for (uint32_t k = 0; k < 3; k++) {
      if ((what & 3u) == 0 || (what & 3u) == k + 1u) bias[k] += m->severity[i];
    }
  }
}

/* Replaces the sample by numbers from anywhere within the range. */
static void garbage(const fsw_board_imu_state_t *s, const fsw_io_t *io, uint32_t index, fsw_imu_t *out) {
  fsw_rng_t rng = board_rng(io);
  double w[8];
  fsw_rng_uniform4(&rng, io->tick, BOARD_CHANNEL(index, CH_GARBAGE), w);
  fsw_rng_uniform4(&rng, io->tick, BOARD_CHANNEL(index, CH_GARBAGE + 1), w + 4);
  for (uint32_t k = 0; k < 3; k++) {
    out->dtheta_b[k] = s->max_dtheta * (2.0 * w[k] - 1.0);
    out->dv_b[k] = s->max_dv * (2.0 * w[3 + k] - 1.0);
  }
}

/* Three axes at the end of their range, to the side of the sign, and said so, as a converter driven over its range does. */
static uint32_t saturate(const imu_faults_t *f, uint32_t type, double limit, double x[3]) {
  if (!board_has(&f->all, type)) return 0;
  for (uint32_t k = 0; k < 3; k++) x[k] = f->all.severity[type] < 0.0 ? -limit : limit;
  return 7;
}

/* The sample; with WRONG the biases, with GARBAGE the noise are larger, with ZERO the accelerometers were never switched on. */
static void measure(fsw_board_imu_state_t *s, const fsw_board_imu_params_t *p, const fsw_io_t *io, const imu_faults_t *f,
                    fsw_imu_t *out) {
  const fsw_truth_t *t = io->in[0];
  double dv[3], noise = 1.0, wrong_g[3], wrong_a[3];
  const double *bias_g = s->bias_dtheta, *bias_a = s->bias_dv;
  digitiser_t g = { s->max_dtheta, s->lsb_dtheta, s->inv_lsb_dtheta, s->rest_dtheta, 0 };
  digitiser_t a = { s->max_dv, s->lsb_dv, s->inv_lsb_dv, s->rest_dv, 0 };
  at_lever_arm(s, p, t, dv);
  uint64_t bits = s->bits; /* eight numbers a sample; a draw is good for two */
  if (s->bits_left == 0) bits = fsw_board_draw(io, BOARD_CHANNEL(p->index, CH_WHITE), &s->bits);
  s->bits_left ^= 1;
  if (f != NULL) {
    if (board_has(&f->all, FSW_FAULT_GARBAGE)) noise = f->all.severity[FSW_FAULT_GARBAGE];
    for (uint32_t k = 0; k < 3; k++) {
      wrong_g[k] = s->bias_dtheta[k] + f->gyro[k] * s->dt_s;
      wrong_a[k] = s->bias_dv[k] + f->accel[k] * s->dt_s;
    }
    bias_g = wrong_g;
    bias_a = wrong_a;
  }
  triad(&g, s->m_gyro, bias_g, noise * s->sigma_dtheta, bits, t->dtheta_b, out->dtheta_b);
  triad(&a, s->m_accel, bias_a, noise * s->sigma_dv, bits >> 24, dv, out->dv_b);
  out->saturated = (uint8_t)(g.saturated | a.saturated << 3);
  if (f != NULL && board_has(&f->all, FSW_FAULT_ZERO)) __builtin_memset(out->dv_b, 0, sizeof out->dv_b);
  if (f != NULL && board_has(&f->all, FSW_FAULT_GARBAGE) && !(noise > 0.0)) garbage(s, io, p->index, out);
  if (f != NULL) {
    uint32_t at_end = saturate(f, FSW_FAULT_SATURATE_GYRO, s->max_dtheta, out->dtheta_b);
    at_end |= saturate(f, FSW_FAULT_SATURATE_ACCEL, s->max_dv, out->dv_b) << 3;
    out->saturated = (uint8_t)(out->saturated | at_end);
  }
}

static int32_t step(fsw_io_t *io) {
  fsw_board_imu_state_t *s = io->state;
  const fsw_board_imu_params_t *p = io->params;
  const fsw_faults_t *m = board_faults_at(io, 1);
  const fsw_truth_t *t = io->in[0];
  fsw_imu_t *out = io->out[0], unseen;
  imu_faults_t faults, *f = NULL;
  io->publish = 0;
  if (!board_new_truth(io, &s->truth_seq)) return 0;
  if (!s->ready) {
    prepare(s, p, io);
    for (uint32_t k = 0; k < 3; k++) s->omega_b[k] = t->omega_bi_b[k] - t->alpha_bi_b[k] * s->dt_s;
    s->ready = 1;
  }
  if (m != NULL) {
    collect_faults(m, p->index, &faults);
    f = &faults;
  }
  int hold = f != NULL && (board_has(&f->all, FSW_FAULT_OFF) || board_has(&f->all, FSW_FAULT_STUCK));
  measure(s, p, io, f, hold ? &unseen : out);
  if (++s->since_drift == SLOW_SAMPLES) drift(s, p, io);
  if (f != NULL && board_has(&f->all, FSW_FAULT_OFF)) return 0;
  out->t_valid_ns = t->t_ns;
  out->seq = ++s->seq;
  out->valid = 1;
  out->pad0[0] = out->pad0[1] = 0;
  io->publish = 1;
  return 0;
}

static const fsw_port_t reads[] = { FSW_READ("truth", fsw_truth_t), FSW_READ_OPT("faults", fsw_faults_t) };
static const fsw_port_t writes[] = { FSW_WRITE("imu", fsw_imu_t) };
FSW_TASK(fsw_task_board_imu, "board.imu", step, NULL, fsw_board_imu_state_t, fsw_board_imu_params_t, reads, writes,
         "Inertial measurement unit: increments at its lever arm with bias, scale, misalignment, noise, quantisation, limits.");
