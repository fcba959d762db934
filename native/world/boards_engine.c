/* boards_engine.c - simulated engine controller. Manual: flightsw/boards.h. */
#include "boards_internal.h"

#define CH_CONST 0
#define CH_WHITE 8
#define CH_GARBAGE 9
#define CH_FLIPS_IN 10  /* four channels each */
#define CH_FLIPS_OUT 14
#define MAX_FLIPS 16
#define ALL_VALVES (FSW_VALVE_CHILL | FSW_VALVE_IGNITER | FSW_VALVE_FUEL | FSW_VALVE_OX | FSW_VALVE_PURGE)
#define MAIN_VALVES (FSW_VALVE_FUEL | FSW_VALVE_OX)
#define INLET_MAX_PA 1e8
#define CHILL_MAX_K 1e4
#define TRUTH_STALE_NS INT64_C(100000000) /* nothing measured for this long: status is not valid */

/* Draws the errors of this power cycle. */
static void prepare(fsw_board_engine_state_t *s, const fsw_board_engine_params_t *p, const fsw_io_t *io) {
  fsw_rng_t rng = board_rng(io);
  double w[4];
  fsw_rng_gauss4(&rng, 0, BOARD_CHANNEL(p->index, CH_CONST), w);
  s->bias_pa[0] = p->pc_nominal_pa * p->pc_bias_share * w[0];
  s->bias_pa[1] = p->pc_nominal_pa * p->pc_bias_share * w[1];
  s->bias_pa[2] = p->inlet_bias_pa * w[2];
  s->bias_pa[3] = p->chill_bias_k * w[3];
  s->pc_sigma_pa = p->pc_nominal_pa * p->pc_sigma_share;
  s->pc_min_pa = -0.02 * p->pc_nominal_pa;
  s->pc_max_pa = p->pc_range_share * p->pc_nominal_pa;
  s->lsb[0] = fsw_max(p->pc_nominal_pa * p->pc_lsb_share, BOARD_FINEST * s->pc_max_pa);
  s->lsb[1] = fsw_max(p->inlet_lsb_pa, BOARD_FINEST * INLET_MAX_PA);
  s->lsb[2] = fsw_max(p->chill_lsb_k, BOARD_FINEST * CHILL_MAX_K);
  for (uint32_t k = 0; k < 3; k++) s->inv_lsb[k] = board_inverse(s->lsb[k]);
  s->timeout_ns = (int64_t)(fsw_clamp(p->engine_timeout_ms, 0.0, 1e6) * 1e6);
  s->lag_gain = 1.0 - board_keep(board_period_s(io), p->pc_lag_s);
  s->ready = 1;
}

/* A message as bits: 64-bit words to word_bits, 32-bit ones to half_bits, bytes to the end. By value, so alike in any byte order. */
typedef struct {
  uint32_t word_bits, half_bits, bits;
} shape_t;

static const shape_t command_shape = { 64, 96, 8 * sizeof(fsw_engine_cmd_t) };
static const shape_t status_shape = { 384, 448, 8 * sizeof(fsw_engine_status_t) };

static void flip(uint8_t *raw, const shape_t *shape, uint32_t bit) {
  if (bit < shape->word_bits) {
    uint64_t w;
    __builtin_memcpy(&w, raw + bit / 64 * 8, 8);
    w ^= UINT64_C(1) << bit % 64;
    __builtin_memcpy(raw + bit / 64 * 8, &w, 8);
  } else if (bit < shape->half_bits) {
    uint32_t w;
    __builtin_memcpy(&w, raw + bit / 32 * 4, 4);
    w ^= UINT32_C(1) << bit % 32;
    __builtin_memcpy(raw + bit / 32 * 4, &w, 4);
  } else {
    raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
}

/* Noise on the line: each bit turns with the probability of the fault. False: the frame was damaged and its checksum told. */
static bool pass_line(fsw_board_engine_state_t *s, const fsw_board_engine_params_t *p, const fsw_io_t *io, const board_faults_t *f,
                      uint32_t channel, uint8_t *raw, const shape_t *shape) {
  double rate = f->severity[FSW_FAULT_CORRUPT], w[4], at = -1.0;
  if (!(rate > 0.0)) return true;
  fsw_rng_t rng = board_rng(io);
  double per_gap = 1.0 / fsw_log(1.0 - fsw_min(rate, 0.5));
  uint32_t n = 0;
  for (uint32_t i = 0; i < MAX_FLIPS; i++) { /* gaps between flipped bits are geometric */
    if ((i & 3u) == 0) fsw_rng_uniform4(&rng, io->tick, BOARD_CHANNEL(p->index, channel + (i >> 2)), w);
    at += 1.0 + fsw_min(fsw_log(w[i & 3u]) * per_gap, 1e6);
    if (!(at < (double)shape->bits)) break;
    n++;
    if (!p->link_checked) flip(raw, shape, (uint32_t)at);
  }
  if (n == 0) return true;
  s->damaged++;
  if (p->link_checked) return false;
  s->delivered++;
  return true;
}

/* The link gate: looks at a command once, when it is new. */
static void take_command(fsw_board_engine_state_t *s, const fsw_board_engine_params_t *p, const fsw_io_t *io,
                         const board_faults_t *f) {
  const fsw_engine_cmd_t *cmd = io->in[0];
  if (cmd == NULL || io->in_head[0]->tick < 0 || io->in_head[0]->seq == s->cmd_seq) return;
  s->cmd_seq = io->in_head[0]->seq;
  if (board_has(f, FSW_FAULT_DEAF)) return;
  fsw_engine_cmd_t noisy;
  if (board_has(f, FSW_FAULT_CORRUPT)) {
    noisy = *cmd;
    cmd = &noisy;
    if (!pass_line(s, p, io, f, CH_FLIPS_IN, (uint8_t *)&noisy, &command_shape)) return;
  }
  if ((s->ever && cmd->counter <= s->counter) || !fsw_isfinite(cmd->throttle)) {
    s->refused++;
    return;
  }
  s->t_cmd_ns = io->t_ns;
  s->counter = cmd->counter;
  s->throttle = fsw_clamp(cmd->throttle, 0.0, 1.0);
  s->valves = cmd->valves & ALL_VALVES;
  s->have_cmd = 1;
  s->ever = 1;
  if ((s->valves & MAIN_VALVES) == 0) s->locked = 0;
}

/* Stale is safe. */
static void check_age(fsw_board_engine_state_t *s, const fsw_io_t *io) {
  if (!s->have_cmd || io->t_ns - s->t_cmd_ns <= s->timeout_ns) return;
  if (s->valves & MAIN_VALVES) s->locked = 1;
  s->have_cmd = 0;
  s->throttle = 0.0;
  s->valves = 0;
  s->timeouts++;
}

static void drive_valves(fsw_board_engine_state_t *s, const board_faults_t *f, fsw_engine_cmd_t *act) {
  __builtin_memset(act, 0, sizeof *act);
  act->counter = ++s->act_counter;
  if (!s->have_cmd || board_has(f, FSW_FAULT_OFF)) return;
  act->valves = s->locked ? (uint8_t)(s->valves & ~MAIN_VALVES) : s->valves;
  act->throttle = s->locked ? 0.0 : s->throttle;
}

/* What a pressure sensor says: its amplifier ends a little below zero and at full scale. */
static inline double pressure(const fsw_board_engine_state_t *s, double pc_pa) {
  return board_whole(fsw_clamp(pc_pa, s->pc_min_pa, s->pc_max_pa), s->lsb[0], s->inv_lsb[0]);
}

/* Random bytes of this sample: a draw lasts for eight, two bytes each. */
static inline uint64_t sample_bits(fsw_board_engine_state_t *s, const fsw_io_t *io, uint32_t index) {
  uint32_t k = s->seq & 7u;
  if (k == 0) s->bits[0] = fsw_board_draw(io, BOARD_CHANNEL(index, CH_WHITE), &s->bits[1]);
  return s->bits[k >> 2] >> (16u * (k & 3u));
}

static double garbage(const fsw_board_engine_state_t *s, const fsw_io_t *io, uint32_t index) {
  fsw_rng_t rng = board_rng(io);
  double w[4];
  fsw_rng_uniform4(&rng, io->tick, BOARD_CHANNEL(index, CH_GARBAGE), w);
  return w[0] * s->pc_max_pa;
}

static inline void measure(fsw_board_engine_state_t *s, const fsw_board_engine_params_t *p, const fsw_io_t *io,
                           const board_faults_t *f, fsw_engine_status_t *out) {
  const fsw_engines_truth_t *t = io->in[1];
  uint32_t k = p->index < FSW_MAX_ENGINES ? p->index : 0;
  uint64_t bits = sample_bits(s, io, p->index);
  double a, b, pc = s->pc_lag_pa + s->lag_gain * (t->pc_pa[k] - s->pc_lag_pa);
  s->pc_lag_pa = pc;
  a = pc + s->bias_pa[0] + s->pc_sigma_pa * board_normal(bits, 0);
  b = pc + s->bias_pa[1] + s->pc_sigma_pa * board_normal(bits, 1);
  if (f->types) {
    if (board_has(f, FSW_FAULT_WRONG)) a += f->severity[FSW_FAULT_WRONG] * p->pc_nominal_pa;
    if (board_has(f, FSW_FAULT_WRONG_B)) b += f->severity[FSW_FAULT_WRONG_B] * p->pc_nominal_pa;
    if (board_has(f, FSW_FAULT_GARBAGE)) a = garbage(s, io, p->index);
  }
  out->t_valid_ns = t->t_ns;
  out->pc_a_pa = pressure(s, a);
  out->pc_b_pa = pressure(s, b);
  out->inlet_pa = board_whole(fsw_clamp(t->inlet_pa[k] + s->bias_pa[2], 0.0, INLET_MAX_PA), s->lsb[1], s->inv_lsb[1]);
  out->chill_k = board_whole(fsw_clamp(t->chill_k[k] + s->bias_pa[3], 0.0, CHILL_MAX_K), s->lsb[2], s->inv_lsb[2]);
  out->throttle = board_whole(fsw_clamp(t->throttle[k], 0.0, 2.0), 0x1p-10, 0x1p10);
  out->valves = t->valves[k];
  out->igniter_ok = (t->valves[k] & FSW_VALVE_IGNITER) != 0 && !board_has(f, FSW_FAULT_NO_IGNITER);
  out->fire = t->fire[k];
  out->valid = io->t_ns - t->t_ns <= TRUTH_STALE_NS;
}

/* The engine cannot be seen: nothing is vouched for. */
static void measure_nothing(const fsw_io_t *io, fsw_engine_status_t *out) {
  __builtin_memset(out, 0, sizeof *out);
  out->t_valid_ns = io->t_ns;
}

static int32_t step(fsw_io_t *io) {
  fsw_board_engine_state_t *s = io->state;
  const fsw_board_engine_params_t *p = io->params;
  fsw_engine_status_t *out = io->out[1];
  board_faults_t f;
  if (!s->ready) prepare(s, p, io);
  board_collect(board_faults_at(io, 2), FSW_TARGET_ENGINE, p->index, &f);
  take_command(s, p, io, &f);
  check_age(s, io);
  drive_valves(s, &f, io->out[0]);
  if (board_has(&f, FSW_FAULT_OFF)) {
    io->publish = 1;
    return 0;
  }
  if (io->in[1] != NULL && io->in_head[1]->tick >= 0) measure(s, p, io, &f, out);
  else measure_nothing(io, out);
  out->seq = ++s->seq;
  out->cmd_counter = s->counter;
  if (board_has(&f, FSW_FAULT_CORRUPT) && !pass_line(s, p, io, &f, CH_FLIPS_OUT, (uint8_t *)out, &status_shape)) io->publish = 1;
  return 0;
}

static const fsw_port_t reads[] = { FSW_READ_OPT("cmd", fsw_engine_cmd_t), FSW_READ_OPT("engines_truth", fsw_engines_truth_t),
                                    FSW_READ_OPT("faults", fsw_faults_t) };
static const fsw_port_t writes[] = { FSW_WRITE("act", fsw_engine_cmd_t), FSW_WRITE("status", fsw_engine_status_t) };
FSW_TASK(fsw_task_board_engine, "board.engine", step, NULL, fsw_board_engine_state_t, fsw_board_engine_params_t, reads, writes,
         "Engine controller: passes fresh commands to the valves, safe vector on a stale link, measures the engine.");
