/* boards_gnss.c - simulated GNSS receiver. Manual: flightsw/boards.h. */
#include "boards_internal.h"

#define CH_CONST 0
#define CH_POSITION 8
#define CH_VELOCITY 9
#define CH_SLOW 10
#define CH_GARBAGE 11 /* 11, 12 */
#define EARTH_RATE_RAD_S 7.292115e-5       /* WGS-84 */
#define ONE_MINUS_E2 0.993305620009858683  /* WGS-84, squared ratio of the axes */

static void prepare(fsw_board_gnss_state_t *s, const fsw_board_gnss_params_t *p, const fsw_io_t *io) {
  fsw_rng_t rng = board_rng(io);
  double w[4];
  fsw_rng_gauss4(&rng, 0, BOARD_CHANNEL(p->index, CH_CONST), w);
  for (uint32_t k = 0; k < 3; k++) s->gm_m[k] = p->gnss_gm_m * w[k];
  s->gm_keep = board_keep(board_period_s(io), p->gnss_gm_tau_s);
  s->gm_add = fsw_sqrt(fsw_max(1.0 - s->gm_keep * s->gm_keep, 0.0));
  s->ready = 1;
}

/* North, east, down at a point: down is against the gradient of the ellipsoid family through it, which is the geodetic
 * vertical to better than 1e-4 rad below 100 km. On the Earth's axis, where north has no meaning, x serves as east. */
static void ned_axes(const double r_e[3], double n[3], double e[3], double d[3]) {
  double up[3] = { r_e[0], r_e[1], r_e[2] / ONE_MINUS_E2 };
  double size = fsw_sqrt(up[0] * up[0] + up[1] * up[1] + up[2] * up[2]), across = fsw_sqrt(up[0] * up[0] + up[1] * up[1]);
  double inv = size > 0.0 ? 1.0 / size : 0.0;
  for (uint32_t k = 0; k < 3; k++) d[k] = -up[k] * inv;
  e[0] = across > 0.0 ? -up[1] / across : 1.0;
  e[1] = across > 0.0 ? up[0] / across : 0.0;
  e[2] = 0.0;
  fsw_v3_cross(e, d, n);
}

/* Antenna position and velocity without error. */
static void at_antenna(const fsw_board_gnss_params_t *p, const fsw_truth_t *t, fsw_gnss_t *out) {
  double l_b[3] = { p->gnss_x_m - t->cm_x_m, p->gnss_y_m, p->gnss_z_m }, l_e[3], wl_b[3], wl_e[3];
  fsw_v3_cross(t->omega_bi_b, l_b, wl_b);
  fsw_q_rotate(t->q_be, l_b, l_e);
  fsw_q_rotate(t->q_be, wl_b, wl_e);
  for (uint32_t k = 0; k < 3; k++) {
    out->r_e[k] = t->r_e[k] + l_e[k];
    out->v_e[k] = t->v_e[k] + wl_e[k];
  }
  out->v_e[0] += EARTH_RATE_RAD_S * l_e[1]; /* minus omega_ie x l */
  out->v_e[1] -= EARTH_RATE_RAD_S * l_e[0];
}

static void add_errors(fsw_board_gnss_state_t *s, const fsw_board_gnss_params_t *p, const fsw_io_t *io,
                       const board_faults_t *f, fsw_gnss_t *out) {
  fsw_rng_t rng = board_rng(io);
  double r[4], v[4], n[3], e[3], d[3], noise = 1.0, jump = 0.0;
  fsw_rng_gauss4(&rng, io->tick, BOARD_CHANNEL(p->index, CH_POSITION), r);
  fsw_rng_gauss4(&rng, io->tick, BOARD_CHANNEL(p->index, CH_VELOCITY), v);
  if (board_has(f, FSW_FAULT_GARBAGE)) noise = f->severity[FSW_FAULT_GARBAGE];
  if (board_has(f, FSW_FAULT_WRONG)) jump = f->severity[FSW_FAULT_WRONG];
  if (p->gnss_gm_m > 0.0) {
    double w[4];
    fsw_rng_gauss4(&rng, io->tick, BOARD_CHANNEL(p->index, CH_SLOW), w);
    for (uint32_t k = 0; k < 3; k++) s->gm_m[k] = s->gm_keep * s->gm_m[k] + s->gm_add * p->gnss_gm_m * w[k];
  }
  ned_axes(out->r_e, n, e, d);
  double rn = noise * p->gnss_sigma_r_m * r[0] + s->gm_m[0], re = noise * p->gnss_sigma_r_m * r[1] + s->gm_m[1] + jump;
  double rd = noise * p->gnss_sigma_r_d_m * r[2] + s->gm_m[2] - jump;
  double vn = noise * p->gnss_sigma_v_m_s * v[0], ve = noise * p->gnss_sigma_v_m_s * v[1];
  double vd = noise * p->gnss_sigma_v_d_m_s * v[2];
  for (uint32_t k = 0; k < 3; k++) {
    out->r_e[k] += rn * n[k] + re * e[k] + rd * d[k];
    out->v_e[k] += vn * n[k] + ve * e[k] + vd * d[k];
  }
}

static void garbage(const fsw_io_t *io, uint32_t index, fsw_gnss_t *out) {
  fsw_rng_t rng = board_rng(io);
  double w[8];
  fsw_rng_uniform4(&rng, io->tick, BOARD_CHANNEL(index, CH_GARBAGE), w);
  fsw_rng_uniform4(&rng, io->tick, BOARD_CHANNEL(index, CH_GARBAGE + 1), w + 4);
  for (uint32_t k = 0; k < 3; k++) {
    out->r_e[k] += 1e5 * (2.0 * w[k] - 1.0);
    out->v_e[k] = 1e3 * (2.0 * w[3 + k] - 1.0);
  }
}

static void state_quality(const fsw_board_gnss_params_t *p, fsw_gnss_t *out) {
  double scale = p->gnss_stated_scale;
  out->sigma_r_m[0] = out->sigma_r_m[1] = scale * p->gnss_sigma_r_m;
  out->sigma_r_m[2] = scale * p->gnss_sigma_r_d_m;
  out->sigma_v_m_s[0] = out->sigma_v_m_s[1] = scale * p->gnss_sigma_v_m_s;
  out->sigma_v_m_s[2] = scale * p->gnss_sigma_v_d_m_s;
  out->satellites = (uint8_t)(p->gnss_satellites < 255 ? p->gnss_satellites : 255);
  out->valid = 1;
}

static int32_t step(fsw_io_t *io) {
  fsw_board_gnss_state_t *s = io->state;
  const fsw_board_gnss_params_t *p = io->params;
  const fsw_truth_t *t = io->in[0];
  fsw_gnss_t *out = io->out[0], fresh;
  board_faults_t f;
  io->publish = 0;
  if (!board_new_truth(io, &s->truth_seq)) return 0;
  if (!s->ready) prepare(s, p, io);
  board_collect(board_faults_at(io, 1), FSW_TARGET_GNSS, p->index, &f);
  __builtin_memset(&fresh, 0, sizeof fresh);
  at_antenna(p, t, &fresh);
  add_errors(s, p, io, &f, &fresh);
  if (board_has(&f, FSW_FAULT_GARBAGE) && !(f.severity[FSW_FAULT_GARBAGE] > 0.0)) garbage(io, p->index, &fresh);
  state_quality(p, &fresh);
  if (board_has(&f, FSW_FAULT_OFF)) return 0;
  s->seq++;
  if (!board_has(&f, FSW_FAULT_STUCK)) *out = fresh;
  out->t_valid_ns = t->t_ns;
  out->seq = s->seq;
  io->publish = 1;
  return 0;
}

static const fsw_port_t reads[] = { FSW_READ("truth", fsw_truth_t), FSW_READ_OPT("faults", fsw_faults_t) };
static const fsw_port_t writes[] = { FSW_WRITE("gnss", fsw_gnss_t) };
FSW_TASK(fsw_task_board_gnss, "board.gnss", step, NULL, fsw_board_gnss_state_t, fsw_board_gnss_params_t, reads, writes,
         "GNSS receiver: antenna position and velocity with white and correlated errors and a stated accuracy.");
