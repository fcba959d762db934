/* boards_drivers.c - simulated drivers of gimbal, grid fins and thrusters. Manual: flightsw/boards.h.
 * Faults of the actuators themselves (stuck, slow, hard over, dead) are the world's; a driver's own one is garbage. */
#include "boards_internal.h"

#define CH_GARBAGE 8 /* and up: four channels of actuators each */

static void driver_init(void *state, const void *params) {
  fsw_board_driver_state_t *s = state;
  const fsw_board_driver_params_t *p = params;
  s->inv_lsb = board_inverse(p->driver_lsb_rad);
}

/* True when port 0 holds a command not looked at before whose counter is greater than the last accepted one's. */
static bool take_command(fsw_board_driver_state_t *s, const fsw_io_t *io, uint32_t counter, bool finite) {
  const fsw_topic_head_t *head = io->in_head[0];
  if (head->tick < 0 || head->seq == s->cmd_seq) return false;
  s->cmd_seq = head->seq;
  if ((s->ever && counter <= s->counter) || !finite) {
    s->refused++;
    return false;
  }
  s->t_cmd_ns = io->t_ns;
  s->counter = counter;
  s->have_cmd = 1;
  s->ever = 1;
  return true;
}

/* True when the driver has nothing to follow: before the first command and after a timeout, which it counts. */
static bool is_neutral(fsw_board_driver_state_t *s, const fsw_board_driver_params_t *p, const fsw_io_t *io) {
  if (s->have_cmd && (double)(io->t_ns - s->t_cmd_ns) * 1e-6 > p->driver_timeout_ms) {
    s->have_cmd = 0;
    s->timeouts++;
  }
  return !s->have_cmd;
}

/* Garbage: actuator k (255 all), of `axes` consecutive angles each, is sent anywhere within the severity. */
static void garble_angles(const fsw_io_t *io, uint8_t target, uint32_t axes, double *out, uint32_t n) {
  const fsw_faults_t *m = board_faults_at(io, 1);
  board_faults_t f;
  if (m == NULL) return;
  fsw_rng_t rng = board_rng(io);
  double w[4];
  for (uint32_t k = 0; k < n; k++) {
    board_collect(m, target, k / axes, &f);
    if (!board_has(&f, FSW_FAULT_GARBAGE)) continue;
    fsw_rng_uniform4(&rng, io->tick, CH_GARBAGE + k, w);
    out[k] = f.severity[FSW_FAULT_GARBAGE] * (2.0 * w[0] - 1.0);
  }
}

/* Angles are followed in whole quanta; out keeps the last accepted ones. */
static void follow_angles(fsw_board_driver_state_t *s, const fsw_board_driver_params_t *p, const fsw_io_t *io,
                          const double *cmd, uint32_t counter, double *out, uint32_t n) {
  double sum = 0.0;
  if (cmd != NULL) {
    for (uint32_t k = 0; k < n; k++) sum += cmd[k] - cmd[k]; /* 0 unless one of them is not a finite number */
    if (take_command(s, io, counter, sum == 0.0)) {
      for (uint32_t k = 0; k < n; k++) out[k] = board_quantise(cmd[k], p->driver_lsb_rad, s->inv_lsb);
    }
  }
  if (is_neutral(s, p, io)) {
    for (uint32_t k = 0; k < n; k++) out[k] = 0.0;
  }
}

static int32_t tvc_step(fsw_io_t *io) {
  fsw_board_driver_state_t *s = io->state;
  const fsw_tvc_cmd_t *cmd = io->in[0];
  fsw_tvc_cmd_t *act = io->out[0];
  follow_angles(s, io->params, io, cmd != NULL ? cmd->gimbal_rad : NULL, cmd != NULL ? cmd->counter : 0, act->gimbal_rad,
                FSW_MAX_GIMBAL);
  garble_angles(io, FSW_TARGET_GIMBAL, 2, act->gimbal_rad, FSW_MAX_GIMBAL);
  act->counter = ++s->act_counter;
  __builtin_memset(act->pad0, 0, sizeof act->pad0);
  return 0;
}

static int32_t fins_step(fsw_io_t *io) {
  fsw_board_driver_state_t *s = io->state;
  const fsw_fin_cmd_t *cmd = io->in[0];
  fsw_fin_cmd_t *act = io->out[0];
  follow_angles(s, io->params, io, cmd != NULL ? cmd->fin_rad : NULL, cmd != NULL ? cmd->counter : 0, act->fin_rad, FSW_MAX_FINS);
  garble_angles(io, FSW_TARGET_FIN, 1, act->fin_rad, FSW_MAX_FINS);
  act->counter = ++s->act_counter;
  __builtin_memset(act->pad0, 0, sizeof act->pad0);
  return 0;
}

static void garble_thrusters(const fsw_io_t *io, fsw_rcs_cmd_t *act) {
  const fsw_faults_t *m = board_faults_at(io, 1);
  board_faults_t f;
  if (m == NULL) return;
  fsw_rng_t rng = board_rng(io);
  uint32_t w[4];
  fsw_rng_u32x4(&rng, io->tick, CH_GARBAGE, w);
  for (uint32_t k = 0; k < FSW_MAX_THRUSTERS; k++) {
    board_collect(m, FSW_TARGET_THRUSTER, k, &f);
    if (board_has(&f, FSW_FAULT_GARBAGE)) act->on_mask = (act->on_mask & ~(1u << k)) | (w[0] & 1u << k);
  }
}

static int32_t rcs_step(fsw_io_t *io) {
  fsw_board_driver_state_t *s = io->state;
  const fsw_rcs_cmd_t *cmd = io->in[0];
  fsw_rcs_cmd_t *act = io->out[0];
  if (cmd != NULL && take_command(s, io, cmd->counter, true)) act->on_mask = cmd->on_mask & ((1u << FSW_MAX_THRUSTERS) - 1u);
  if (is_neutral(s, io->params, io)) act->on_mask = 0;
  garble_thrusters(io, act);
  act->counter = ++s->act_counter;
  return 0;
}

static const fsw_port_t tvc_reads[] = { FSW_READ_OPT("cmd", fsw_tvc_cmd_t), FSW_READ_OPT("faults", fsw_faults_t) };
static const fsw_port_t tvc_writes[] = { FSW_WRITE("act", fsw_tvc_cmd_t) };
FSW_TASK(fsw_task_board_tvc, "board.tvc", tvc_step, driver_init, fsw_board_driver_state_t, fsw_board_driver_params_t, tvc_reads,
         tvc_writes, "Gimbal driver: follows fresh commands, holds the last one, neutral when it is stale.");

static const fsw_port_t fins_reads[] = { FSW_READ_OPT("cmd", fsw_fin_cmd_t), FSW_READ_OPT("faults", fsw_faults_t) };
static const fsw_port_t fins_writes[] = { FSW_WRITE("act", fsw_fin_cmd_t) };
FSW_TASK(fsw_task_board_fins, "board.fins", fins_step, driver_init, fsw_board_driver_state_t, fsw_board_driver_params_t,
         fins_reads, fins_writes, "Grid-fin driver: follows fresh commands, holds the last one, neutral when it is stale.");

static const fsw_port_t rcs_reads[] = { FSW_READ_OPT("cmd", fsw_rcs_cmd_t), FSW_READ_OPT("faults", fsw_faults_t) };
static const fsw_port_t rcs_writes[] = { FSW_WRITE("act", fsw_rcs_cmd_t) };
FSW_TASK(fsw_task_board_rcs, "board.rcs", rcs_step, driver_init, fsw_board_driver_state_t, fsw_board_driver_params_t, rcs_reads,
         rcs_writes, "Thruster driver: follows fresh commands, holds the last one, all closed when it is stale.");
