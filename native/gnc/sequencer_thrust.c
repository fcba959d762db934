/* sequencer_thrust.c - thrust of the engines from pressure and acceleration, and what acceleration says about each. See sequencer.h. */
#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/vec.h"
#include "sequencer_internal.h"

#define G0 9.80665

/* Mass, air and full thrust here. */
static void surroundings(fsw_seq_work_t *w)
{
  const fsw_sequencer_params_t *p = w->p;
  const fsw_nav_t *nav = w->io->in[IN_NAV];
  w->mass_kg = p->mass_dry_kg + w->s->propellant_kg;
  w->accel_ok = w->io->in_head[IN_NAV]->tick >= 0 && nav->valid && fsw_isfinite(nav->f_b[0]);
  double h = p->site_height_m, v2 = 0.0;
  if (w->accel_ok) {
    h += nav->r_bl_l[2];
    v2 = fsw_v3_dot(nav->v_bl_l, nav->v_bl_l);
    if (!fsw_isfinite(h + v2)) w->accel_ok = 0;
  }
  double pr = fsw_exp(-fsw_clamp(h, -2000.0, 200000.0) / p->scale_height_m);
  double vac = p->thrust_vac_n > 0.0 ? p->thrust_vac_n : p->thrust_sl_n;
  w->full_n = vac - (vac - p->thrust_sl_n) * pr;
  w->drag_a = fsw_min(0.5 * p->rho0_kg_m3 * pr * v2 * p->drag_area_m2 / w->mass_kg, 1e3);
}

/* Thrust of the confirmed engines, what their plume leaves of the drag, and what they burn. */
static void thrust_now(fsw_seq_work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  double thrust = 0.0, ramp = 0.0, flow = 0.0;
  for (uint32_t k = 0; k < w->n; k++) {
    flow += s->thrust_n[k];
    if (!bit_of(w->lit, k)) continue;
    thrust += s->thrust_n[k];
    ramp = fsw_max(ramp, fsw_clamp(s->sense[k].pc / fsw_max(s->expect[k], 0.1), 0.0, 1.0));
  }
  w->lit_a = thrust / w->mass_kg;
  w->plume = 1.0 - (1.0 - w->p->plume_factor) * ramp;
  s->propellant_kg = fsw_max(0.0, s->propellant_kg - flow * w->dt_s / (w->p->isp_sl_s * G0));
}

/* What the acceleration should be, and from it, where drag is small, the scale of thrust. */
void fsw_seq_model(fsw_seq_work_t *w)
{
  fsw_sequencer_state_t *s = w->s;
  const fsw_sequencer_params_t *p = w->p;
  surroundings(w);
  thrust_now(w);
  if (!w->accel_ok) return;
  const fsw_nav_t *nav = w->io->in[IN_NAV];
  double a = p->accel_tau_s > 0.0 ? w->dt_s / (p->accel_tau_s + w->dt_s) : 1.0;
  s->f_x += a * (nav->f_b[0] - s->f_x);
  if (w->starting != 0) return;
  s->f_0 += 0.1 * (s->f_x - w->lit_a - w->drag_a * w->plume - s->f_0);
  if (w->lit_a > 3.0 && w->drag_a < 1.0) {
    double k = s->scale * (s->f_x - w->drag_a * w->plume) / w->lit_a;
    s->scale += w->dt_s * (fsw_clamp(k, 1.0 - p->accel_trust_share, 1.0 + p->accel_trust_share) - s->scale);
  }
}

/* Did the specific force rise by more than the other starting engines explain? */
uint8_t fsw_seq_rose(const fsw_seq_work_t *w, uint32_t k)
{
  const fsw_sequencer_state_t *s = w->s;
  if (!w->accel_ok) return 0;
  double delta = s->f_x - w->lit_a - w->drag_a * w->plume - s->f_0;
  for (uint32_t j = 0; j < w->n; j++) {
    if (j != k && bit_of(w->starting, j)) delta -= fsw_max(s->sense[j].pc, 0.0) * w->full_n / w->mass_kg;
  }
  return delta > fsw_max(w->p->accel_lit_m_s2, 0.06 * w->drag_a);
}

/* Specific force with and without engine k; between them, by a margin for drag and thrust, nothing is said. */
uint8_t fsw_seq_witness(const fsw_seq_work_t *w, uint32_t k)
{
  const fsw_sequencer_state_t *s = w->s;
  const fsw_seq_sense_t *q = &s->sense[k];
  if (!w->accel_ok) return FSW_SEQ_ACCEL_UNKNOWN;
  double u = q->t_main < s->limits.grace ? fsw_min(s->expect[k], 0.001 * (double)q->peak) : s->expect[k];
  double mine = u * w->full_n / w->mass_kg, others = 0.0;
  for (uint32_t j = 0; j < w->n; j++) others += j != k && bit_of(w->lit, j) ? s->thrust_n[j] / w->mass_kg : 0.0;
  double bare = others > 0.0 ? w->p->plume_factor : 1.0, share = fsw_clamp(u / fsw_max(s->expect[k], 0.1), 0.0, 1.0);
  double with = mine + others + w->drag_a * fsw_min(bare, 1.0 - (1.0 - w->p->plume_factor) * share);
  double without = others + w->drag_a * bare;
  double margin = fsw_max(0.5 * (with - without), 1.0 + 0.2 * w->drag_a + 0.05 * (mine + others));
  if (s->f_x < with - margin) return FSW_SEQ_ACCEL_LOST;
  if (s->f_x <= without + margin) return FSW_SEQ_ACCEL_UNKNOWN;
  return s->f_x > with + fsw_max(0.2 * mine, 1.0 + 0.2 * w->drag_a) ? FSW_SEQ_ACCEL_EXCESS : FSW_SEQ_ACCEL_HEALTHY;
}

/* Thrust from pressure; where pressure says nothing while acceleration vouches for the engine, from its throttle. */
static void estimate(fsw_seq_work_t *w, uint32_t k, const fsw_seq_measured_t *in)
{
  fsw_sequencer_state_t *s = w->s;
  uint32_t role = fsw_seq_role(&s->engine[k], &s->table);
  double pc = fsw_clamp(s->sense[k].pc, 0.0, 8.0);
  int vouched = role == FSW_ENGINE_MAIN && (in->accel == FSW_SEQ_ACCEL_HEALTHY || in->accel == FSW_SEQ_ACCEL_EXCESS);
  if (vouched && pc < w->p->dead_share * s->expect[k]) pc = s->expect[k];
  int burning = role >= FSW_ENGINE_RISE && role <= FSW_ENGINE_SHUTDOWN && pc >= w->p->rise_share;
  s->thrust_n[k] = burning ? fsw_min(pc, 1.5) * w->full_n * s->scale : 0.0;
}

/* An engine that gives less than its throttle promises is reported once. */
static void weakness(fsw_seq_work_t *w, uint32_t k)
{
  fsw_sequencer_state_t *s = w->s;
  double promised = s->expect[k] * w->full_n;
  int settled = fsw_seq_role(&s->engine[k], &s->table) == FSW_ENGINE_MAIN && s->sense[k].t_main >= s->limits.grace;
  if (!settled || s->thrust_n[k] >= w->p->low_thrust_share * promised) {
    s->weak[k] = 0;
    return;
  }
  if (s->weak[k] > s->weak_steps) return;
  if (s->weak[k]++ == s->weak_steps) {
    fsw_event(w->ev, w->io->t_ns, FSW_EVENT_LOW_THRUST, (uint16_t)k, 100.0 * s->thrust_n[k] / fsw_max(promised, 1.0), 0.0);
  }
}

/* After a step of time: thrust, and what the throttle will have reached. */
void fsw_seq_follow(fsw_seq_work_t *w, uint32_t k, const fsw_seq_measured_t *in)
{
  fsw_sequencer_state_t *s = w->s;
  uint32_t role = fsw_seq_role(&s->engine[k], &s->table);
  double lag = role == FSW_ENGINE_MAIN ? w->dt_s / (w->p->throttle_lag_s + w->dt_s) : 1.0;
  estimate(w, k, in);
  weakness(w, k);
  s->expect[k] += lag * (s->throttle[k] - s->expect[k]);
}
