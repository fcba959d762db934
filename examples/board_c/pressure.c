/* A pressure gauge: follows the ambient pressure with a lag, in steps. The same file is a plug-in of the bench, which learns from it what the task
 * reads and writes, and a part of the board's firmware, which runs it. */
#include "pressure.h"

#include "flightsw/messages.h"
#include "flightsw/task.h"
#include "pressure_messages.h"

static int32_t step(fsw_io_t *io) {
  const fsw_truth_t *truth = io->in[0];
  const pressure_params_t *p = io->params;
  pressure_state_t *s = io->state;
  air_pressure_t *out = io->out[0];
  double dt_s = (double)io->dt_ns * 1e-9;
  s->filtered_pa += (truth->p_pa - s->filtered_pa) * (dt_s / (p->tau_s + dt_s));
  double steps = s->filtered_pa / p->step_pa;
  if (!(steps >= 0.0 && steps < 1e9)) return -1; /* not a number of steps that an integer holds */
  out->t_ns = io->t_ns;
  out->pressure_pa = (double)(int64_t)(steps + 0.5) * p->step_pa;
  out->readings++;
  out->lamp = out->pressure_pa < p->lamp_pa;
  return 0;
}

static const fsw_port_t reads[] = {FSW_READ("truth", fsw_truth_t)};
static const fsw_port_t writes[] = {FSW_WRITE("pressure", air_pressure_t)};
static FSW_TASK(pressure, "example.pressure", step, NULL, pressure_state_t, pressure_params_t, reads, writes, "Ambient pressure, with a lag.");

const fsw_task_desc_t *const *fsw_plugin_tasks(uint32_t *n);
const fsw_task_desc_t *const *fsw_plugin_tasks(uint32_t *n) {
  static const fsw_task_desc_t *const table[] = {&pressure};
  *n = 1;
  return table;
}
