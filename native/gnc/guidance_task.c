/* guidance_task.c - what both guidance tasks do around the landing, and the task of a vehicle that arrives in flight. */
#include "flightsw/events.h"
#include "flightsw/guidance.h"
#include "flightsw/vec.h"

#define G0 9.80665

static const fsw_port_t reads[] = { FSW_READ("nav", fsw_nav_t), FSW_READ_OPT("engines", fsw_engines_t),
  FSW_READ_OPT("touchdown", fsw_touchdown_t) };
static const fsw_port_t writes[] = { FSW_WRITE("guidance", fsw_guidance_t), FSW_WRITE_OPT("guidance_events", fsw_events_t) };

void fsw_guid_init(void *state, const void *params)
{
  fsw_guidance_state_t *s = state;
  const fsw_guidance_params_t *p = params;
  s->q_cmd_bl[0] = 1.0;
  s->mass_kg = p->mass_dry_kg + p->propellant_kg;
  s->cda_m2 = p->drag_area_m2;
  s->scale = s->avail = 1.0;
  s->plume = p->plume_factor;
  s->cov[0] = 0.03 * 0.03;
  s->cov[2] = 0.12 * 0.12;
  s->lift_scale = 1.0;
  s->lift_cov[0] = 0.25 * 0.25;
  s->lift_cov[3] = s->lift_cov[5] = 100.0;
  s->h_ign_m = 3000.0;
  s->t_burn_s = 20.0;
  s->t_request_ns = s->t_lit_ns = -1000000000LL;
  for (int i = 0; i < FSW_TABLE_SPEEDS; i++) {
    s->v_table_m_s[i] = 50.0 + 40.0 * i;
    for (int n = 0; n < FSW_TABLE_ENGINES; n++) s->h_last_m[FSW_TABLE_SPEEDS * n + i] = 10.0 * s->v_table_m_s[i] / (1.0 + n);
  }
}

static int32_t bits(uint32_t mask)
{
  int32_t n = 0;
  for (int k = 0; k < FSW_MAX_ENGINES; k++) n += (int32_t)(mask >> k & 1u);
  return n;
}

/* Without an engines topic a request is taken as fulfilled after the nominal start. */
static void engines(fsw_guid_t *g)
{
  fsw_guidance_state_t *s = g->s;
  if (g->eng) {
    g->lit = bits(g->eng->lit_mask);
    g->starting = bits((uint32_t)(g->eng->starting_mask & ~g->eng->lit_mask));
    g->spares = g->eng->spares_left;
    g->failures = bits(g->eng->failed_mask);
  } else {
    double e = (double)(g->t_ns - s->t_request_ns) * 1e-9;
    int32_t up = e > g->p->start_lead_s + g->p->start_dead_s + g->p->start_ramp_s;
    g->lit = up || s->n_want <= s->n_base ? s->n_want : s->n_base;
    g->starting = s->n_want - g->lit;
  }
  if (g->lit != s->n_lit) s->t_lit_ns = g->t_ns;
  s->n_lit = g->lit;
}

void fsw_guid_begin(fsw_guid_t *g, fsw_io_t *io)
{
  *g = (fsw_guid_t){ .p = io->params, .s = io->state, .nav = io->in[0], .eng = io->in[1], .out = io->out[0], .ev = io->out[1],
    .t_ns = io->t_ns, .dt_s = fsw_clamp((double)io->dt_ns * 1e-9, 1e-4, 1.0) };
  if (g->eng && io->in_head[1] && io->in_head[1]->tick < 0) g->eng = NULL;
  if (io->in[1] && !g->eng) g->lit = g->starting = g->spares = 0;
  else engines(g);
  if (g->ev) {
    g->ev->count = 0;
    __builtin_memset(g->ev->code, 0, sizeof g->ev->code);
    __builtin_memset(g->ev->subject, 0, sizeof g->ev->subject);
    __builtin_memset(g->ev->arg0, 0, sizeof g->ev->arg0);
    __builtin_memset(g->ev->arg1, 0, sizeof g->ev->arg1);
  }
  double x_b[3] = { 1.0, 0.0, 0.0 };
  fsw_q_rotate(g->nav->q_bl, x_b, g->x_l);
  /* a turning stage moves its feet sideways; what has to be steered is the centre of mass */
  double turn_b[3], turn_l[3];
  g->at_cm = *g->nav;
  fsw_v3_cross(g->nav->omega_bl_b, x_b, turn_b);
  fsw_q_rotate(g->nav->q_bl, turn_b, turn_l);
  for (int i = 0; i < 2; i++) {
    g->at_cm.r_bl_l[i] += g->p->dry_cm_x_m * g->x_l[i];
    g->at_cm.v_bl_l[i] += g->p->dry_cm_x_m * turn_l[i];
  }
  g->nav = &g->at_cm;
  fsw_q_rotate(g->nav->q_bl, g->nav->f_b, g->f_l);
}

/* Shortest turn of the last command to the new axis, limited in rate: the roll about the axis is kept. Opposite directions, which have no
 * shortest turn, go about any perpendicular axis. */
void fsw_guid_attitude(fsw_guid_t *g, const double dir[3])
{
  double x_b[3] = { 1.0, 0.0, 0.0 }, x[3], axis[3], *q = g->s->q_cmd_bl;
  fsw_q_rotate(q, x_b, x);
  fsw_v3_cross(x, dir, axis);
  double s = fsw_v3_norm(axis), angle = fsw_atan2(s, fsw_v3_dot(x, dir));
  double most = g->p->slew_max_deg_s * FSW_DEG * g->dt_s;
  if (s < 1e-12) {
    if (angle < 1.0) return;
    fsw_v3_set(-x[1], x[0], 0.0, axis);
    if (!fsw_v3_unit(axis, axis)) fsw_v3_set(1.0, 0.0, 0.0, axis);
    s = 1.0;
  }
  double turn[4], phi[3];
  fsw_v3_scale(fsw_clamp(angle, 0.0, most) / s, axis, phi);
  fsw_q_from_rotvec(phi, turn);
  fsw_q_mul(turn, q, q);
  (void)fsw_q_normalize(q);
}

void fsw_guid_request(fsw_guid_t *g, int32_t n)
{
  fsw_guidance_state_t *s = g->s;
  if (n > s->n_want) {
    s->t_request_ns = g->t_ns;
    s->n_base = g->lit;
  }
  s->n_want = n;
}

void fsw_guid_phase(fsw_guid_t *g, uint8_t phase)
{
  g->s->phase = phase;
  g->s->t_phase_ns = g->t_ns;
}

void fsw_guid_event(fsw_guid_t *g, uint16_t code, double arg0, double arg1)
{
  if (g->ev) fsw_event(g->ev, g->t_ns, code, 0, arg0, arg1);
}

int32_t fsw_guid_finish(fsw_guid_t *g, fsw_io_t *io)
{
  fsw_guidance_state_t *s = g->s;
  fsw_guidance_t *o = g->out;
  o->t_ns = io->t_ns;
  __builtin_memcpy(o->q_cmd_bl, s->q_cmd_bl, sizeof o->q_cmd_bl);
  fsw_v3_copy(s->target_l, o->target_l);
  o->phase = s->phase;
  o->engines = (uint8_t)(s->n_want < 0 ? 0 : (s->n_want > FSW_MAX_ENGINES ? FSW_MAX_ENGINES : s->n_want));
  o->divert = s->divert;
  __builtin_memset(o->pad0, 0, sizeof o->pad0);
  if (!g->ev || g->ev->count == 0) io->publish &= ~2u;
  return 0;
}

static int32_t landed(const fsw_io_t *io)
{
  const fsw_touchdown_t *td = io->in[2];
  return td && td->landed;
}

static int32_t step(fsw_io_t *io)
{
  fsw_guid_t g;
  fsw_law_params_t m;
  fsw_guid_begin(&g, io);
  if (g.nav->valid) {
    if (!g.s->ready) {
      g.s->ready = 1;
      __builtin_memcpy(g.s->q_cmd_bl, g.nav->q_bl, sizeof g.s->q_cmd_bl);
      (void)fsw_q_normalize(g.s->q_cmd_bl);
      fsw_guid_phase(&g, FSW_PHASE_AERO);
      fsw_guid_event(&g, FSW_EVENT_PHASE_AERO, g.nav->r_bl_l[2], fsw_v3_norm(g.nav->v_bl_l));
    }
    fsw_guid_estimate(&g);
    fsw_guid_model(&g, &m);
    fsw_guid_landing(&g, &m, landed(io));
  }
  return fsw_guid_finish(&g, io);
}

FSW_TASK(fsw_task_gnc_guidance, "gnc.guidance", step, fsw_guid_init, fsw_guidance_state_t, fsw_guidance_params_t, reads, writes,
  "Steers the unpowered descent, decides the landing burn, lands on the engines that run.");
