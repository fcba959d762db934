/* nav_source.c - bookkeeping of the filter's sources: counters, acceptance, runs of rejections, probation (nav.h). */
#include "nav_internal.h"

#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/vec.h"

void nav_src_say(fsw_events_t *ev, const fsw_nav_state_t *s, uint16_t code, uint32_t subject, double a, double b)
{
  if (ev) fsw_event(ev, s->f.t_ns, code, (uint16_t)subject, a, b);
}

/* A counter that was seen before is a duplicate; one up to 31 behind the newest may still come late. */
bool nav_src_duplicate(fsw_nav_source_t *c, uint32_t seq)
{
  if (c->t_valid_ns < 0) {
    c->seq = seq;
    c->seen = 1U;
    return false;
  }
  uint32_t up = seq - c->seq;
  if (up != 0U && up < 0x80000000U) {
    c->seen = up < 32U ? (c->seen << up) | 1U : 1U;
    c->seq = seq;
    return false;
  }
  uint32_t behind = c->seq - seq;
  if (behind > 31U) { /* the unit has restarted its counter */
    c->seq = seq;
    c->seen = 1U;
    return false;
  }
  if (c->seen & (1U << behind)) return true;
  c->seen |= 1U << behind;
  return false;
}

bool nav_src_in_time(const fsw_nav_state_t *s, int64_t t_valid_ns, double lag_max_s)
{
  if (t_valid_ns < 0 || t_valid_ns > INT64_MAX / 4) return false;
  return (double)(s->f.t_ns - t_valid_ns) * 1e-9 <= lag_max_s;
}

void nav_src_accepted(fsw_nav_state_t *s, fsw_nav_source_t *c)
{
  c->t_accept_ns = s->f.t_ns;
  c->t_reject_ns = -1;
  c->rejects = 0;
  c->consistent = 1;
  c->vel_rejected = 0;
}

void nav_src_announce(fsw_nav_state_t *s, fsw_nav_source_t *c, uint32_t k, uint8_t state, double arg, fsw_events_t *ev)
{
  static const uint16_t gnss[4] = {0, FSW_EVENT_GNSS_BACK, FSW_EVENT_GNSS_LOST, FSW_EVENT_GNSS_LOST};
  static const uint16_t radalt[4] = {0, FSW_EVENT_RADALT_LOCKED, FSW_EVENT_RADALT_LOST, FSW_EVENT_RADALT_EXCLUDED};
  if (c->announced == state) return;
  c->announced = state;
  if (k < SRC_RADALT) nav_src_say(ev, s, gnss[state], k, 0.0, 0.0);
  else if (k < SRC_BARO) nav_src_say(ev, s, radalt[state], k - SRC_RADALT, arg, 0.0);
}

bool nav_src_recent(const fsw_nav_state_t *s, const fsw_nav_source_t *c, int64_t age_ns)
{
  return c->t_accept_ns >= 0 && s->f.t_ns - c->t_accept_ns <= age_ns;
}

/* Do the rejections of this run agree with each other? Residuals may move by noise and by the velocity residual only. */
void nav_src_note_reject(fsw_nav_state_t *s, fsw_nav_source_t *c, const double res[3], const double sigma[3], double res_v, double dt)
{
  if (c->t_reject_ns < 0) {
    c->t_reject_ns = s->f.t_ns;
    c->consistent = 1;
    c->rejects = 0;
  } else {
    double slack = fsw_abs(res_v) * fsw_clamp(dt, 0.0, 10.0);
    for (int i = 0; i < 3; i++)
      if (!(fsw_abs(res[i] - c->res[i]) <= 7.0 * sigma[i] + slack)) c->consistent = 0;
  }
  c->rejects++;
  c->res_v = res_v;
  fsw_v3_copy(res, c->res);
  fsw_v3_copy(sigma, c->sigma);
}

bool nav_src_agree(const fsw_nav_source_t *a, const fsw_nav_source_t *b, int n)
{
  for (int i = 0; i < n; i++) {
    double d = a->res[i] - b->res[i];
    if (!(d * d <= 25.0 * (a->sigma[i] * a->sigma[i] + b->sigma[i] * b->sigma[i]))) return false;
  }
  return true;
}

bool nav_src_on_probation(const fsw_nav_state_t *s, const fsw_nav_source_t *c)
{
  return c->t_reject_ns >= 0 && c->rejects >= 3U && s->f.t_ns - c->t_reject_ns >= PROBATION_NS;
}

/* Readmission: nav_readmit fixes in a row inside the gate. True when the source may be fused now. */
bool nav_src_admitted(fsw_nav_source_t *c, uint32_t needed)
{
  c->goods++;
  if (c->excluded && c->goods < needed) return false;
  c->excluded = 0;
  c->used = 1;
  c->started = 1;
  return true;
}

/* A source in use from which nothing was accepted for two seconds is lost; it comes back by readmission. */
void nav_src_watch(fsw_nav_state_t *s, fsw_events_t *ev)
{
  for (uint32_t k = 0; k < FSW_NAV_SOURCES; k++) {
    fsw_nav_source_t *c = &s->src[k];
    if (!c->used || nav_src_recent(s, c, LOST_NS)) continue;
    c->used = 0;
    c->excluded = k < SRC_RADALT ? 1 : 0;
    c->goods = 0;
    c->history = 0;
    nav_src_announce(s, c, k, ANNOUNCED_LOST, 0.0, ev);
  }
  for (uint32_t k = 0; k < FSW_NAV_AIDS; k++)
    if (s->aid[k].used && !nav_src_recent(s, &s->aid[k], LOST_NS)) s->aid[k].used = 0;
}
