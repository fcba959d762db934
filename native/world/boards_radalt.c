/* boards_radalt.c - simulated radar altimeter and barometer. Manual: flightsw/boards.h. */
#include "boards_internal.h"

#define CH_CONST 0
#define CH_WHITE 8
#define CH_GARBAGE 9
#define CH_OUTLIER 10

static void radalt_init(void *state, const void *params) {
  fsw_board_radalt_state_t *s = state;
  const fsw_board_radalt_params_t *p = params;
  double slat, clat, slon, clon;
  fsw_sincos(p->site_lat_deg * FSW_DEG, &slat, &clat);
  fsw_sincos(p->site_lon_deg * FSW_DEG, &slon, &clon);
  s->up_e[0] = clat * clon;
  s->up_e[1] = clat * slon;
  s->up_e[2] = slat;
  s->cos_tilt_max = fsw_cos(p->radalt_tilt_max_deg * FSW_DEG);
  s->inv_lsb = board_inverse(p->radalt_lsb_m);
}

/* True slant range along -x of the body from the antenna to the pad plane, or -1 when the beam is too far off the vertical.
 * truth.h_m is the height of the body origin; the antenna is l further along the body. */
static double slant_range(const fsw_board_radalt_state_t *s, const fsw_board_radalt_params_t *p, const fsw_truth_t *t) {
  double l_b[3] = { p->radalt_x_m, p->radalt_y_m, p->radalt_z_m }, x_b[3] = { 1.0, 0.0, 0.0 }, l_e[3], x_e[3];
  fsw_q_rotate(t->q_be, l_b, l_e);
  fsw_q_rotate(t->q_be, x_b, x_e);
  double cos_tilt = s->up_e[0] * x_e[0] + s->up_e[1] * x_e[1] + s->up_e[2] * x_e[2];
  double z = t->h_m + s->up_e[0] * l_e[0] + s->up_e[1] * l_e[1] + s->up_e[2] * l_e[2];
  if (!(cos_tilt >= s->cos_tilt_max) || !(cos_tilt > 0.05)) return -1.0;
  return z / cos_tilt;
}

static void radalt_measure(const fsw_board_radalt_state_t *s, const fsw_board_radalt_params_t *p, const fsw_io_t *io,
                           const board_faults_t *f, fsw_radalt_t *out) {
  fsw_rng_t rng = board_rng(io);
  double w[4], noise = 1.0, range = slant_range(s, p, io->in[0]);
  if (board_has(f, FSW_FAULT_GARBAGE)) {
    noise = f->severity[FSW_FAULT_GARBAGE];
    if (!(noise > 0.0)) {
      fsw_rng_uniform4(&rng, io->tick, BOARD_CHANNEL(p->index, CH_GARBAGE), w);
      out->range_m = p->radalt_max_m * w[0];
      out->valid = 1;
      return;
    }
  }
  if (!(range >= p->radalt_min_m) || !(range <= p->radalt_max_m)) return;
  if (board_has(f, FSW_FAULT_SHORT_RANGE) && range > f->severity[FSW_FAULT_SHORT_RANGE]) return;
  fsw_rng_gauss4(&rng, io->tick, BOARD_CHANNEL(p->index, CH_WHITE), w);
  range += noise * (p->radalt_sigma_m + p->radalt_sigma_share * range) * w[0];
  if (board_has(f, FSW_FAULT_WRONG)) range += f->severity[FSW_FAULT_WRONG];
  if (board_has(f, FSW_FAULT_OUTLIERS)) {
    fsw_rng_uniform4(&rng, io->tick, BOARD_CHANNEL(p->index, CH_OUTLIER), w);
    if (w[0] < f->severity[FSW_FAULT_OUTLIERS]) range = p->radalt_max_m * w[1];
  }
  out->range_m = fsw_max(board_quantise(range, p->radalt_lsb_m, s->inv_lsb), 0.0);
  out->valid = board_has(f, FSW_FAULT_UNFLAGGED) ? 0 : 1;
}

static int32_t radalt_step(fsw_io_t *io) {
  fsw_board_radalt_state_t *s = io->state;
  const fsw_board_radalt_params_t *p = io->params;
  const fsw_truth_t *t = io->in[0];
  fsw_radalt_t *out = io->out[0], fresh;
  board_faults_t f;
  io->publish = 0;
  if (!board_new_truth(io, &s->truth_seq)) return 0;
  board_collect(board_faults_at(io, 1), FSW_TARGET_RADALT, p->index, &f);
  if (board_has(&f, FSW_FAULT_OFF)) return 0;
  __builtin_memset(&fresh, 0, sizeof fresh);
  radalt_measure(s, p, io, &f, &fresh);
  s->seq++;
  if (!board_has(&f, FSW_FAULT_STUCK)) *out = fresh;
  out->t_valid_ns = t->t_ns;
  out->seq = s->seq;
  io->publish = 1;
  return 0;
}

static int32_t baro_step(fsw_io_t *io) {
  fsw_board_baro_state_t *s = io->state;
  const fsw_board_baro_params_t *p = io->params;
  const fsw_truth_t *t = io->in[0];
  fsw_baro_t *out = io->out[0];
  fsw_rng_t rng = board_rng(io);
  double w[4];
  io->publish = 0;
  if (!board_new_truth(io, &s->truth_seq)) return 0;
  if (!s->ready) {
    fsw_rng_gauss4(&rng, 0, BOARD_CHANNEL(p->index, CH_CONST), w);
    s->bias_pa = p->baro_bias_pa * w[0];
    s->inv_lsb = board_inverse(p->baro_lsb_pa);
    s->ready = 1;
  }
  fsw_rng_gauss4(&rng, io->tick, BOARD_CHANNEL(p->index, CH_WHITE), w);
  double p_pa = board_quantise(t->p_pa + s->bias_pa + p->baro_sigma_pa * w[0], p->baro_lsb_pa, s->inv_lsb);
  __builtin_memset(out, 0, sizeof *out);
  out->valid = p_pa <= p->baro_max_pa ? 1 : 0;
  out->p_pa = fsw_clamp(p_pa, 0.0, p->baro_max_pa);
  out->t_valid_ns = t->t_ns;
  out->seq = ++s->seq;
  io->publish = 1;
  return 0;
}

static const fsw_port_t radalt_reads[] = { FSW_READ("truth", fsw_truth_t), FSW_READ_OPT("faults", fsw_faults_t) };
static const fsw_port_t radalt_writes[] = { FSW_WRITE("radalt", fsw_radalt_t) };
FSW_TASK(fsw_task_board_radalt, "board.radalt", radalt_step, radalt_init, fsw_board_radalt_state_t, fsw_board_radalt_params_t,
         radalt_reads, radalt_writes, "Radar altimeter: slant range along -x of the body to the pad plane, with lock limits.");

static const fsw_port_t baro_reads[] = { FSW_READ("truth", fsw_truth_t) };
static const fsw_port_t baro_writes[] = { FSW_WRITE("baro", fsw_baro_t) };
FSW_TASK(fsw_task_board_baro, "board.baro", baro_step, NULL, fsw_board_baro_state_t, fsw_board_baro_params_t, baro_reads,
         baro_writes, "Barometer: static pressure with bias, noise and quantisation.");
