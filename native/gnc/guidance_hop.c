/* guidance_hop.c - a vehicle that starts on its pad: up under closed-loop control to a cut-off for the planned apogee, engine off, and
 * down by the landing of guidance_landing.c. */
#include "flightsw/events.h"
#include "flightsw/guidance.h"
#include "flightsw/vec.h"

#define G0 9.80665
#define CLIMB_GAIN_1_S 1.5
#define HOLD_R_1_S2 0.15 /* lateral hold of the ascent */
#define HOLD_V_1_S 0.7

static const fsw_port_t reads[] = { FSW_READ("nav", fsw_nav_t), FSW_READ_OPT("engines", fsw_engines_t),
  FSW_READ_OPT("touchdown", fsw_touchdown_t) };
static const fsw_port_t writes[] = { FSW_WRITE("guidance", fsw_guidance_t), FSW_WRITE_OPT("guidance_events", fsw_events_t) };

/* Apogee of the ballistic rise from here, drag to first order in k v^2 / g. */
static double apogee(const fsw_guid_t *g, double h, double v)
{
  if (v <= 0.0) return h;
  double k = 0.5 * g->p->rho_pad_kg_m3 * fsw_guid_density(h, g->p->rho_height_m, g->p->rho_curve_1_m) * g->s->cda_m2 / g->s->mass_kg;
  return h + v * v / (2.0 * G0) / (1.0 + 0.5 * k * v * v / G0);
}

/* Climb rate: constant acceleration up to the highest speed; lateral hold on the pad axis. */
static void ascend(fsw_guid_t *g)
{
  const fsw_guidance_params_t *p = g->p;
  const double *r = g->nav->r_bl_l, *v = g->nav->v_bl_l;
  double h = fsw_max(r[2], 0.0), v_ref = fsw_min(fsw_sqrt(2.0 * p->hop_accel_m_s2 * (h + 0.2)), p->hop_speed_m_s);
  double forward = v_ref < p->hop_speed_m_s ? p->hop_accel_m_s2 : 0.0, a_unit = fsw_max(g->s->scale * p->thrust_sl_n / g->s->mass_kg, 0.1);
  double a_v = fsw_max(G0 + forward + CLIMB_GAIN_1_S * (v_ref - v[2]), 1.0), a[3], dir[3];
  double limit = h > 5.0 ? a_v * fsw_tan(p->tilt_low_deg * FSW_DEG) : 0.0;
  for (int i = 0; i < 2; i++) a[i] = fsw_clamp(-HOLD_R_1_S2 * r[i] - HOLD_V_1_S * v[i], -limit, limit);
  a[2] = a_v;
  double u = fsw_clamp(fsw_v3_norm(a) / a_unit, p->throttle_min, 1.0), n = (double)(g->lit > 0 ? g->lit : 1);
  if (!fsw_v3_unit(a, dir)) fsw_v3_set(0.0, 0.0, 1.0, dir);
  fsw_guid_attitude(g, dir);
  g->out->thrust_cmd_n = u * p->thrust_sl_n;
  fsw_v3_scale(u * a_unit, dir, g->out->a_cmd_l);
  if (g->lit > 1) g->out->thrust_cmd_n = fsw_max(u / n, p->throttle_min) * n * p->thrust_sl_n;
  g->out->t_go_s = -1.0;
  g->out->throttle_need = u;
}

static void idle(fsw_guid_t *g)
{
  double up[3] = { 0.0, 0.0, 1.0 };
  fsw_guid_attitude(g, up);
  fsw_v3_set(0.0, 0.0, 0.0, g->out->a_cmd_l);
  g->out->thrust_cmd_n = 0.0;
  g->out->throttle_need = 0.0;
  g->out->t_go_s = -1.0;
}

static void climb(fsw_guid_t *g)
{
  const double h = g->nav->r_bl_l[2], v = g->nav->v_bl_l[2];
  fsw_guid_request(g, 1);
  ascend(g);
  if (g->lit == 0 && g->starting == 0 && g->t_ns - g->s->t_request_ns > 3000000000LL && h < 1.0) { /* it never left the pad */
    fsw_guid_request(g, 0);
    fsw_guid_phase(g, FSW_PHASE_ABORT);
    fsw_guid_event(g, FSW_EVENT_ABORT, 1.0, 0.0);
    return;
  }
  int32_t died = g->lit == 0 && g->starting == 0 && h > 1.0;
  if (apogee(g, h, v) < g->p->hop_apogee_m && !died) return;
  fsw_guid_request(g, 0);
  fsw_guid_phase(g, FSW_PHASE_COAST);
  fsw_guid_event(g, FSW_EVENT_CUTOFF, h, v);
  fsw_guid_event(g, FSW_EVENT_COAST, apogee(g, h, v), 0.0);
  idle(g);
}

static void drift(fsw_guid_t *g)
{
  idle(g);
  if (g->nav->v_bl_l[2] > -G0 * g->p->hop_settle_s || g->lit > 0) return;
  fsw_guid_phase(g, FSW_PHASE_AERO);
  fsw_guid_event(g, FSW_EVENT_PHASE_AERO, g->nav->r_bl_l[2], fsw_v3_norm(g->nav->v_bl_l));
}

static void prepare(fsw_guid_t *g)
{
  fsw_guidance_state_t *s = g->s;
  double up[3] = { 0.0, 0.0, 1.0 };
  s->ready = 1;
  s->h_ign_m = 0.2 * g->p->hop_apogee_m;
  __builtin_memcpy(s->q_cmd_bl, g->nav->q_bl, sizeof s->q_cmd_bl);
  (void)fsw_q_normalize(s->q_cmd_bl);
  fsw_guid_attitude(g, up);
  fsw_guid_phase(g, FSW_PHASE_IDLE);
}

static int32_t step(fsw_io_t *io)
{
  fsw_guid_t g;
  fsw_law_params_t m;
  const fsw_touchdown_t *td = io->in[2];
  fsw_guid_begin(&g, io);
  if (!g.nav->valid) return fsw_guid_finish(&g, io);
  if (!g.s->ready) prepare(&g);
  fsw_guid_estimate(&g);
  fsw_guid_model(&g, &m);
  switch (g.s->phase) {
    case FSW_PHASE_IDLE:
      idle(&g);
      if ((double)io->t_ns * 1e-9 >= g.p->hop_start_s) {
        fsw_guid_phase(&g, FSW_PHASE_ASCENT);
        fsw_guid_event(&g, FSW_EVENT_ASCENT, 0.0, 0.0);
      }
      break;
    case FSW_PHASE_ASCENT: climb(&g); break;
    case FSW_PHASE_COAST: drift(&g); break;
    case FSW_PHASE_ABORT: idle(&g); break;
    default: fsw_guid_landing(&g, &m, td && td->landed); break;
  }
  return fsw_guid_finish(&g, io);
}

FSW_TASK(fsw_task_gnc_guidance_hop, "gnc.guidance_hop", step, fsw_guid_init, fsw_guidance_state_t, fsw_guidance_params_t, reads, writes,
  "Rises from the pad to a planned apogee, coasts with the engine off, and lands on it again.");
