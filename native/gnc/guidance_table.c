/* guidance_table.c - last-chance table: the lowest height at which a start command of n engines still stops the vehicle at full
 * thrust (axial limit respected), by descent rate. One entry is refreshed per cycle with the estimates of that cycle. */
#include "flightsw/guidance.h"
#include "flightsw/vec.h"

void fsw_guid_table_step(fsw_guid_t *g, const fsw_law_params_t *m)
{
  fsw_guidance_state_t *s = g->s;
  int32_t k = s->table_next % (FSW_TABLE_ENGINES * FSW_TABLE_SPEEDS);
  if (k < 0) k = 0;
  double n = (double)(k / FSW_TABLE_SPEEDS + 1), v = s->v_table_m_s[k % FSW_TABLE_SPEEDS];
  double u = fsw_clamp(0.95 * m->axial_max_m_s2 * 0.92 * s->mass_kg / (n * m->thrust_sl_n * m->thrust_scale), m->throttle_min, 1.0);
  fsw_stop_in_t in = { .h_m = s->h_last_m[k], .v_m_s = v, .lat = 1.0, .mass_kg = s->mass_kg, .dead_s = m->start_dead_s,
    .ramp_s = m->start_ramp_s, .n_new = n };
  fsw_stop_out_t o;
  fsw_stop_predict(&in, m, u, &o);
  s->h_last_m[k] = fsw_clamp(s->h_last_m[k] - (o.h_rem_m - o.dist_m), 0.0, 50000.0);
  s->table_next = (k + 1) % (FSW_TABLE_ENGINES * FSW_TABLE_SPEEDS);
}

double fsw_guid_last_chance(const fsw_guidance_state_t *s, int32_t engines, double v)
{
  int32_t n = engines < 1 ? 0 : (engines > FSW_TABLE_ENGINES ? FSW_TABLE_ENGINES - 1 : engines - 1);
  const double *h = s->h_last_m + FSW_TABLE_SPEEDS * n, *vt = s->v_table_m_s;
  int i = 0;
  while (i < FSW_TABLE_SPEEDS - 2 && v > vt[i + 1]) i++;
  double f = (v - vt[i]) / fsw_max(vt[i + 1] - vt[i], 1.0);
  return fsw_max(h[i] + f * (h[i + 1] - h[i]), 0.0);
}
