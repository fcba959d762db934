/* sequencer_rig.h - the sequencer task with nine simple engine models, their controllers and links, for tests. */
#ifndef FLIGHTSW_TEST_SEQUENCER_RIG_H
#define FLIGHTSW_TEST_SEQUENCER_RIG_H
#include <stdio.h>
#include <string.h>

#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/random.h"
#include "flightsw/sequencer.h"

#include "sequencer_defaults.h"

static int failures;
#define CHECK(cond) ((cond) ? (void)0 : (failures++, (void)printf("%s:%d: %s\n", __func__, __LINE__, #cond)))

#define DELAY 16 /* ticks kept of commands and measurements */
#define BOTH (FSW_VALVE_FUEL | FSW_VALVE_OX)

typedef struct { /* one engine and its controller */
  double dead_s, ramp_s, clock_s, frac, throttle, chill_k;
  int lit, no_light, dies, offline, fire;
  double late_s, wrong_a, low;
  uint8_t valves, pipe[DELAY];
  fsw_engine_status_t line[DELAY];
  uint32_t seq;
  double igniter_s, open_s;
} engine_t;

typedef struct {
  fsw_sequencer_params_t p;
  fsw_sequencer_state_t s;
  fsw_guidance_t g;
  fsw_nav_t nav;
  fsw_touchdown_t td;
  fsw_engine_status_t st[9];
  fsw_engine_cmd_t cmd[9];
  fsw_engines_t engines;
  fsw_events_t ev;
  engine_t e[9];
  fsw_topic_head_t head_in[14];
  const void *in[14];
  const fsw_topic_head_t *in_head[14];
  void *out[11];
  fsw_io_t io;
  int64_t tick;
  double drag_a;                 /* m/s2, engines off */
  int n_events[80];
  int64_t when[80];
} rig_t;

static void rig_init(rig_t *r)
{
  memset(r, 0, sizeof *r);
  defaults(&r->p);
  fsw_sequencer_init(&r->s, &r->p);
  r->in[0] = &r->g;
  r->in[1] = &r->nav;
  r->in[2] = &r->td;
  r->in[3] = r->in[4] = NULL;
  for (int k = 0; k < 9; k++) {
    r->in[5 + k] = &r->st[k];
    r->out[k] = &r->cmd[k];
    r->e[k] = (engine_t){ .dead_s = 0.6, .ramp_s = 0.9, .throttle = 0.5, .chill_k = 150.0, .low = 1.0 };
  }
  r->out[9] = &r->engines;
  r->out[10] = &r->ev;
  for (int k = 0; k < 14; k++) {
    r->head_in[k].tick = k < 5 ? 0 : -1;
    r->in_head[k] = &r->head_in[k];
  }
  r->g.phase = FSW_PHASE_AERO;
  r->g.thrust_cmd_n = 650e3;
  r->nav.valid = 1;
  r->nav.q_bl[0] = 1.0;
  r->nav.r_bl_l[2] = 3000.0;
  r->nav.v_bl_l[2] = -276.0;
  r->drag_a = 0.5 * 1.225 * fsw_exp(-3000.0 / 8500.0) * 276.0 * 276.0 * 18.0 / 35000.0 * 1.07; /* truth: 7 % more */
  r->io = (fsw_io_t){ .dt_ns = 1000000, .in = r->in, .in_head = r->in_head, .out = r->out, .state = &r->s, .params = &r->p };
}

static void engine_tick(rig_t *r, int k)
{
  engine_t *e = &r->e[k];
  int slot = (int)(r->tick % DELAY);
  if (!e->offline) e->pipe[slot] = r->cmd[k].valves;
  e->valves = e->offline ? 0 : e->pipe[(slot + DELAY - 5) % DELAY];
  int main = (e->valves & BOTH) == BOTH;
  e->throttle += (fsw_max(r->cmd[k].throttle, 0.5) - e->throttle) / 150.0;
  if (e->valves & FSW_VALVE_CHILL) e->chill_k += (95.0 - e->chill_k) / 2000.0;
  e->igniter_s = e->valves & FSW_VALVE_IGNITER ? e->igniter_s + 1e-3 : 0.0;
  e->open_s += e->valves & BOTH ? 1e-3 : 0.0;
  if (!e->lit) {
    e->frac *= 1.0 - 1.0 / (e->dies ? 50.0 : 150.0);
    e->clock_s = main && (e->valves & FSW_VALVE_IGNITER) && e->chill_k <= 120.0 ? e->clock_s + 1e-3 : 0.0;
    if (e->clock_s >= e->dead_s + e->late_s && !e->no_light && !e->dies) {
      e->lit = 1;
      e->clock_s = 0.0;
    }
  } else {
    e->clock_s += 1e-3;
    e->frac = fsw_min(1.0, e->clock_s / e->ramp_s);
    if (!main || e->dies) e->lit = 0, e->clock_s = 0.0;
  }
  fsw_engine_status_t *m = &e->line[slot];
  double g[4], pc = e->frac * e->throttle * e->low;
  fsw_rng_t rng = { 7, (uint32_t)k, 0 };
  fsw_rng_gauss4(&rng, r->tick, 1, g);
  *m = (fsw_engine_status_t){ .pc_a_pa = 10e6 * (pc + 0.002 * g[0] + 0.004 + e->wrong_a), .pc_b_pa = 10e6 * (pc + 0.002 * g[1] - 0.003),
                              .inlet_pa = 3e5, .chill_k = e->chill_k, .valves = e->valves, .valid = 1, .fire = (uint8_t)e->fire };
  m->igniter_ok = (e->valves & FSW_VALVE_IGNITER) != 0;
  if (r->tick % 5 == 0 && !e->offline) {
    r->st[k] = e->line[(slot + DELAY - 6) % DELAY];
    r->st[k].seq = ++e->seq;
    r->head_in[5 + k].tick = r->tick;
  }
}

static void rig_tick(rig_t *r)
{
  double thrust = 0.0, ramp = 0.0, full = 923e3 - 109e3 * fsw_exp(-r->nav.r_bl_l[2] / 8500.0), g[4];
  for (int k = 0; k < 9; k++) {
    engine_tick(r, k);
    thrust += r->e[k].frac * r->e[k].throttle * r->e[k].low * full;
    ramp = fsw_max(ramp, r->e[k].frac);
  }
  fsw_rng_t rng = { 9, 99, 0 };
  fsw_rng_gauss4(&rng, r->tick, 1, g);
  r->nav.f_b[0] = thrust / 35000.0 + r->drag_a * (1.0 - 0.65 * ramp) + 0.3 * g[0]; /* truth: plume factor 0.35 */
  r->io.tick = r->tick;
  r->io.t_ns = r->tick * 1000000;
  r->io.publish = ~0u;
  CHECK(fsw_task_gnc_sequencer.step(&r->io) == 0);
  if (r->io.publish >> 10 & 1u) {
    for (uint32_t i = 0; i < r->ev.count; i++) {
      r->n_events[r->ev.code[i]]++;
      r->when[r->ev.code[i]] = r->tick;
    }
  }
  r->tick++;
}

static void run(rig_t *r, double seconds)
{
  for (int i = 0; i < (int)(seconds * 1000.0 + 0.5); i++) rig_tick(r);
}

__attribute__((unused)) static int until_valves(rig_t *r, int k, uint8_t valves, int limit)
{
  for (int i = 0; i < limit; i++) {
    rig_tick(r);
    if ((r->cmd[k].valves & valves) == valves) return i + 1;
  }
  return -1;
}

#endif
