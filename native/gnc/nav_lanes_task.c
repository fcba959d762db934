/* nav_lanes_task.c - task "gnc.nav_lanes": feeds front end, lanes and monitor from topics, publishes one solution (nav_lanes.h). */
#include <stdbool.h>

#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/nav_lanes.h"
#include "flightsw/vec.h"
#include "nav_internal.h"

#define IN_GNSS FSW_LANES
#define IN_RADALT (IN_GNSS + FSW_NAV_GNSS)
#define IN_BARO (IN_RADALT + FSW_NAV_RADALT)
#define STATUS_EVERY 20
#define COMPARE_EVERY 200
#define WATCH_EVERY 20

static bool has(uint32_t mask, uint32_t k) { return (mask >> k & 1U) != 0U; }

/* A topic that was written since the last look; the counter starts at 0, the first write makes it 1. */
static bool fresh(const fsw_io_t *io, uint32_t port, uint32_t *seen)
{
  if (!io->in[port] || !io->in_head[port] || io->in_head[port]->tick < 0 || io->in_head[port]->seq == *seen) return false;
  *seen = io->in_head[port]->seq;
  return true;
}

/* One measurement to every lane; what the reference makes of it is for the monitor. */
static int32_t give(fsw_nav_state_t *x, const fsw_nav_params_t *p, uint32_t src, const void *z, fsw_events_t *ev)
{
  if (src < SRC_RADALT) return fsw_nav_on_gnss(x, p, src, z, ev);
  if (src < SRC_BARO) return fsw_nav_on_radalt(x, p, src - SRC_RADALT, z, ev);
  return fsw_nav_on_baro(x, p, z, ev);
}

static void note(fsw_nav_lanes_state_t *s, uint32_t k, uint32_t src, fsw_events_t *ev)
{
  const fsw_nav_state_t *x = &s->lane[k];
  if (src < SRC_RADALT) {
    int64_t dt_ns = s->mon.t_lane_fix_ns[k] < 0 ? 0 : x->f.t_ns - s->mon.t_lane_fix_ns[k];
    double w = fsw_clamp((double)dt_ns * 1e-9 / 5.0, 0.0, 1.0);
    s->mon.lane_nis[k] += w * (x->nis_gnss - s->mon.lane_nis[k]);
    s->mon.t_lane_fix_ns[k] = x->f.t_ns;
  }
  if (k == s->ref && src < SRC_BARO) fsw_nav_monitor_nis(&s->mon, src, src < SRC_RADALT ? x->nis_gnss : x->nis_radalt, x->f.t_ns, ev);
}

static void take(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, uint32_t src, const void *z, fsw_events_t *ev)
{
  bool out = s->mon.src[src].out != 0U; /* as it was before this sample, for all lanes alike */
  for (uint32_t k = 0; k < FSW_LANES && !out; k++)
    if (has(s->front.vote.seen_mask, k) && give(&s->lane[k], p, src, z, k == s->ref ? ev : NULL) > 0) note(s, k, src, ev);
  if (src < SRC_RADALT) fsw_nav_monitor_fix(&s->mon, &s->lane[s->ref], src, z, ev);
}

static void aids(const fsw_io_t *io, fsw_nav_lanes_state_t *s, fsw_events_t *ev)
{
  for (uint32_t src = 0; src < FSW_NAV_SOURCES; src++)
    if (fresh(io, IN_GNSS + src, &s->head_seq[src])) take(s, io->params, src, io->in[IN_GNSS + src], ev);
  for (uint32_t k = 0; k < FSW_LANES && io->tick % WATCH_EVERY == 0; k++) nav_src_watch(&s->lane[k], k == s->ref ? ev : NULL);
}

/* A measurement has come: all lanes must stand at the present. */
static bool awaited(const fsw_io_t *io, const fsw_nav_lanes_state_t *s)
{
  for (uint32_t src = 0; src < FSW_NAV_SOURCES; src++) {
    const fsw_topic_head_t *h = io->in_head[IN_GNSS + src];
    if (h && h->tick >= 0 && h->seq != s->head_seq[src]) return true;
  }
  return false;
}

/* Lanes against each other, five times a second; a lane apart from both others goes out while two others remain. */
static void compare(fsw_nav_lanes_state_t *s, int64_t t_ns)
{
  uint32_t apart = fsw_nav_monitor_lanes(&s->mon, s, s->member_mask);
  for (uint32_t k = 0; k < FSW_LANES; k++)
    if (has(apart, k) && s->health[k].t_out_ns < 0) {
      s->health[k].t_out_ns = t_ns;
      s->health[k].isolations++;
    }
}

static void fill(const fsw_nav_lanes_state_t *s, fsw_nav_lanes_t *m)
{
  __builtin_memset(m, 0, sizeof *m);
  m->t_valid_ns = s->out.t_valid_ns;
  for (uint32_t k = 0; k < FSW_LANES; k++) {
    m->separation[k] = s->mon.separation[k];
    m->lane_nis[k] = s->mon.lane_nis[k];
    m->lane_isolations[k] = s->health[k].isolations;
    m->lane_forks[k] = s->health[k].forks;
  }
  for (uint32_t k = 0; k < SRC_BARO; k++) {
    const fsw_nav_window_t *w = &s->mon.src[k];
    m->nis_sum[k] = w->sum;
    m->source_exclusions[k] = w->exclusions;
    m->source_out = (uint8_t)(m->source_out | (w->out ? 1U << k : 0U));
    m->source_suspect = (uint8_t)(m->source_suspect | (w->suspect ? 1U << k : 0U));
    m->frozen = (uint8_t)(m->frozen | (s->lane[s->ref].src[k].frozen ? 1U << k : 0U));
  }
  for (uint32_t i = 0; i < 6U; i++) m->cusum[i] = s->mon.cusum[i];
  m->switches = s->switches;
  m->common_modes = s->front.common;
  m->member_mask = s->member_mask;
  m->select_mask = s->select_mask;
  m->imu_used = s->front.own_mask;
  m->imu_excluded = s->front.vote.excluded_mask;
  m->imu_saturated = (uint8_t)(s->front.sat_accel | s->front.sat_gyro);
  m->level = s->level;
  m->blending = s->t_blend_ns >= 0 ? 1 : 0;
}

static void publish(fsw_io_t *io, const fsw_nav_lanes_state_t *s, bool changed)
{
  fsw_nav_t *nav = io->out[0];
  *nav = s->out;
  if (io->out[1] && io->tick % STATUS_EVERY == 0) {
    fsw_nav_status_t *st = io->out[1];
    fsw_nav_status(&s->lane[s->ref], st);
    st->gnss_used = (uint8_t)(st->gnss_used & ~((s->mon.src[0].out ? 1U : 0U) | (s->mon.src[1].out ? 2U : 0U)));
  } else {
    io->publish &= ~2U;
  }
  if (io->out[2] && (changed || io->tick % STATUS_EVERY == 0)) fill(s, io->out[2]);
  else io->publish &= ~4U;
}

/* Increments to the lanes, and the integral of velocity for the monitor. */
static int32_t integrate(const fsw_io_t *io, fsw_nav_lanes_state_t *s)
{
  const fsw_nav_filter_t *f = &s->lane[s->ref].f;
  int64_t t_ns = f->t_ns;
  int32_t must = awaited(io, s) || io->tick % COMPARE_EVERY == 0 ? 1 : 0;
  int32_t together = fsw_nav_lanes_imu(s, io->params, must, io->dt_ns);
  fsw_v3_axpy((double)(f->t_ns - t_ns) * 1e-9, f->v_e, s->mon.path_e);
  return together;
}

/* Solutions of the lanes that moved, their health, the output. Before the first sample there is nothing to select. */
static void conclude(const fsw_io_t *io, fsw_nav_lanes_state_t *s, int32_t together, fsw_events_t *ev)
{
  if (s->front.vote.seen_mask == 0U) return;
  for (uint32_t k = 0; k < FSW_LANES; k++)
    if (has(s->front.vote.seen_mask, k) && (together || k == s->ref)) fsw_nav_solution(&s->lane[k], &s->sol[k]);
  if (io->tick % COMPARE_EVERY == 0) compare(s, io->t_ns);
  if (together) fsw_nav_lanes_health(s, io->params, io->t_ns, ev);
  fsw_nav_lanes_output(s, together, io->t_ns, io->dt_ns);
}

static int32_t step(fsw_io_t *io)
{
  fsw_nav_lanes_state_t *s = io->state;
  fsw_events_t *ev = io->out[3];
  uint32_t before = (uint32_t)s->member_mask << 8 | s->select_mask;
  uint8_t quality = s->out.quality;
  if (ev) ev->count = 0;
  fsw_nav_front_step(&s->front, io, ev);
  int32_t together = integrate(io, s);
  aids(io, s, ev);
  fsw_nav_monitor_watch(&s->mon, io->t_ns, ev);
  conclude(io, s, together, ev);
  if (ev && quality < 2U && s->out.quality >= 2U && !s->front.fresh) fsw_event(ev, io->t_ns, FSW_EVENT_IMU_SILENT, 0, 0.0, 0.0);
  publish(io, s, before != ((uint32_t)s->member_mask << 8 | s->select_mask));
  if (!ev || ev->count == 0U) io->publish &= ~8U;
  return 0;
}

static void init(void *state, const void *params) { fsw_nav_lanes_init(state, params); }

static const fsw_port_t reads[] = {
  FSW_READ_N("imu", fsw_imu_t, FSW_LANES, 1),
  FSW_READ_N("gnss", fsw_gnss_t, FSW_NAV_GNSS, 0),
  FSW_READ_N("radalt", fsw_radalt_t, FSW_NAV_RADALT, 0),
  FSW_READ_OPT("baro", fsw_baro_t),
};
static const fsw_port_t writes[] = {
  FSW_WRITE("nav", fsw_nav_t),
  FSW_WRITE_OPT("nav_status", fsw_nav_status_t),
  FSW_WRITE_OPT("nav_lanes", fsw_nav_lanes_t),
  FSW_WRITE_OPT("nav_events", fsw_events_t),
};

FSW_TASK(fsw_task_gnc_nav_lanes, "gnc.nav_lanes", step, init, fsw_nav_lanes_state_t, fsw_nav_params_t, reads, writes,
         "Fault-tolerant navigation: one filter per IMU, sensors monitored, the middle value of the lanes without steps.");
