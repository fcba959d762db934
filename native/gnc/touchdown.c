/* touchdown.c - the decision that the vehicle stands on the ground; it switches the engines off and cannot be taken back.
 *
 * Mars Polar Lander (JPL D-18709, 2000) was lost because leg switches were latched during leg deployment, by transients of 5 to 33 ms, and
 * the latch was read when the logic was enabled at 40 m. Here nothing is remembered until the logic is armed, arming needs the landing
 * burn, a low height and a low speed by navigation, and contact has to last longer than any transient while all of that holds. */
#include "flightsw/events.h"
#include "flightsw/guidance.h"
#include "flightsw/vec.h"

static const fsw_port_t reads[] = { FSW_READ("nav", fsw_nav_t), FSW_READ_OPT("touch", fsw_touch_t),
  FSW_READ_OPT("imu_voted", fsw_imu_voted_t), FSW_READ_OPT("guidance", fsw_guidance_t) };
static const fsw_port_t writes[] = { FSW_WRITE("touchdown", fsw_touchdown_t), FSW_WRITE_OPT("touchdown_events", fsw_events_t) };

static int32_t armed(const fsw_touchdown_params_t *p, const fsw_nav_t *nav, const fsw_guidance_t *g)
{
  if (!nav->valid || (g && g->phase != FSW_PHASE_BURN && g->phase != FSW_PHASE_LANDED)) return 0;
  return nav->r_bl_l[2] < p->arm_height_m && fsw_v3_norm(nav->v_bl_l) < p->arm_speed_m_s;
}

/* Feet closed now; -1 when there is no fresh report. */
static int32_t closed(const fsw_io_t *io, uint32_t *mask)
{
  const fsw_touch_t *t = io->in[1];
  *mask = 0;
  if (!t || io->in_head[1]->tick < 0 || io->tick - io->in_head[1]->tick > 50 || !t->valid) return -1;
  int32_t n = 0, legs = t->n_legs > FSW_MAX_LEGS ? FSW_MAX_LEGS : t->n_legs;
  for (int32_t k = 0; k < legs; k++) {
    if (!t->contact[k]) continue;
    *mask |= 1u << k;
    n++;
  }
  return n;
}

static int64_t held(int64_t before, int32_t now, int64_t dt) { return now ? before + dt : 0; }

/* Specific force close to one g: at rest on the ground or hovering; a falling or braking vehicle shows something else. */
static int32_t at_rest(const fsw_io_t *io, const fsw_nav_t *nav)
{
  const fsw_imu_voted_t *imu = io->in[2];
  if (imu && io->in_head[2]->tick >= 0 && !imu->valid) return 0;
  double f = fsw_v3_norm(nav->f_b);
  return f > 5.0 && f < 15.0 && fsw_v3_norm(nav->v_bl_l) < 0.4;
}

static int32_t step(fsw_io_t *io)
{
  const fsw_touchdown_params_t *p = io->params;
  fsw_touchdown_state_t *s = io->state;
  const fsw_nav_t *nav = io->in[0];
  fsw_touchdown_t *out = io->out[0];
  fsw_events_t *ev = io->out[1];
  uint32_t mask;
  if (ev) {
    uint32_t lost = ev->lost;
    *ev = (fsw_events_t){ .lost = lost };
  }
  int32_t n = closed(io, &mask), arm = armed(p, nav, io->in[3]);
  if (arm && !s->armed && ev) fsw_event(ev, io->t_ns, FSW_EVENT_TOUCHDOWN_ARMED, 0, nav->r_bl_l[2], 0.0);
  s->armed = (uint8_t)arm;
  if (!arm) s->seen_mask = 0; /* no memory of anything before arming */
  double h = nav->r_bl_l[2], v = fsw_v3_norm(nav->v_bl_l);
  s->two_ns = held(s->two_ns, arm && n >= 2, io->dt_ns);
  s->one_ns = held(s->one_ns, arm && n >= 1 && h < p->contact_height_m && v < p->contact_speed_m_s, io->dt_ns);
  s->rest_ns = held(s->rest_ns, arm && n != 0 && h < p->contact_height_m && at_rest(io, nav), io->dt_ns);
  if (arm && ev) {
    for (uint16_t k = 0; k < FSW_MAX_LEGS; k++)
      if (mask & ~(uint32_t)s->seen_mask & 1u << k) fsw_event(ev, io->t_ns, FSW_EVENT_TOUCHDOWN_CONTACT, k, h, v);
    s->seen_mask = (uint8_t)(s->seen_mask | mask);
  }
  if ((double)s->two_ns * 1e-9 >= p->persist_s || (double)s->one_ns * 1e-9 >= p->persist_low_s ||
      (double)s->rest_ns * 1e-9 >= p->rest_s)
    s->landed = 1;
  *out = (fsw_touchdown_t){ .t_ns = io->t_ns, .armed = s->armed, .landed = s->landed };
  if (!ev || ev->count == 0) io->publish &= ~2u;
  return 0;
}

FSW_TASK(fsw_task_gnc_touchdown, "gnc.touchdown", step, NULL, fsw_touchdown_state_t, fsw_touchdown_params_t, reads, writes,
  "Decides that the vehicle stands on the ground: armed late, nothing latched, contact must last.");
