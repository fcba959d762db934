/* A C task of one's own: integrates the propellant from the thrust that the sequencer estimates.
 * Build:  cc -std=c11 -O2 -ffp-contract=off -fPIC -shared -I"$(python -m flightsw.include)" -o libgauge.so gauge.c */
#include "gauge.h"

#include "example_messages.h"
#include "flightsw/messages.h"
#include "flightsw/task.h"

#define G0 9.80665

static void init(void *state, const void *params) {
  ((gauge_state_t *)state)->left_kg = ((const gauge_params_t *)params)->propellant_kg;
}

static int32_t step(fsw_io_t *io) {
  const fsw_engines_t *engines = io->in[0];
  const gauge_params_t *p = io->params;
  gauge_state_t *s = io->state;
  propellant_gauge_t *out = io->out[0];
  double thrust_n = 0.0;
  for (int k = 0; k < FSW_MAX_ENGINES; k++) thrust_n += engines->thrust_n[k];
  double flow_kg_s = thrust_n / (p->isp_sl_s * G0);
  s->left_kg -= flow_kg_s * (double)io->dt_ns * 1e-9;
  if (s->left_kg < 0.0) s->left_kg = 0.0;
  out->propellant_kg = s->left_kg;
  out->burn_time_s = flow_kg_s > 1.0 ? s->left_kg / flow_kg_s : 0.0;
  out->updates++;
  out->low = s->left_kg < p->reserve_kg;
  return 0;
}

static const fsw_port_t reads[] = {FSW_READ("engines", fsw_engines_t)};
static const fsw_port_t writes[] = {FSW_WRITE("gauge", propellant_gauge_t)};
static FSW_TASK(gauge, "example.gauge", step, init, gauge_state_t, gauge_params_t, reads, writes, "Propellant left, from thrust.");

const fsw_task_desc_t *const *fsw_plugin_tasks(uint32_t *n);
const fsw_task_desc_t *const *fsw_plugin_tasks(uint32_t *n) {
  static const fsw_task_desc_t *const table[] = {&gauge};
  *n = 1;
  return table;
}
