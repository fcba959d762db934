/* fault_injector.c - decides which faults are in force. Manual: flightsw/boards.h. */
#include <stdbool.h>
#include <stddef.h>

#include "flightsw/boards.h"
#include "flightsw/events.h"
#include "flightsw/math.h"

#define REPEAT_TICKS 100u /* the set is published again after so many ticks: a link may have lost it */

typedef struct { /* inputs that have been written at least once, else NULL */
  const fsw_truth_t *truth;
  const fsw_guidance_t *guidance;
  const fsw_engines_t *engines;
} inputs_t;

static const void *written(const fsw_io_t *io, uint32_t port) {
  return io->in[port] != NULL && io->in_head[port]->tick >= 0 ? io->in[port] : NULL;
}

static int64_t ns_from_s(double t_s) { return fsw_floor_i64(fsw_clamp(t_s, 0.0, 4e9) * 1e9 + 0.5); }

/* fault_at as a small whole number (phase or engine), -1 when it is none. */
static int32_t small_number(double x) { return x >= 0.0 && x < 256.0 ? (int32_t)x : -1; }

static bool fell_below(fsw_bench_faults_state_t *s, uint32_t k, const fsw_truth_t *t, double h_m) {
  if (t == NULL) return false;
  if (t->h_m >= h_m) {
    s->above[k] = 1;
    return false;
  }
  return s->above[k] != 0;
}

static bool engine_in(const fsw_engines_t *e, bool lit, double at) {
  int32_t k = small_number(at);
  if (e == NULL || k < 0 || k >= FSW_MAX_ENGINES) return false;
  return ((lit ? e->lit_mask : e->starting_mask) >> k & 1) != 0;
}

/* Does fault k's trigger hold now? For a time trigger *t_ns becomes that time, so that no tick is lost. */
static bool triggered(fsw_bench_faults_state_t *s, const fsw_bench_faults_params_t *p, uint32_t k, const inputs_t *in,
                      int64_t *t_ns) {
  double at = p->fault_at[k];
  switch (p->fault_trigger[k]) {
    case FSW_TRIGGER_TIME: *t_ns = ns_from_s(at); return true;
    case FSW_TRIGGER_ALTITUDE: return fell_below(s, k, in->truth, at);
    case FSW_TRIGGER_PHASE: return in->guidance != NULL && (int32_t)in->guidance->phase == small_number(at);
    case FSW_TRIGGER_LIT: return engine_in(in->engines, true, at);
    case FSW_TRIGGER_START: return engine_in(in->engines, false, at);
    default: return false;
  }
}

/* The unit meant: an IMU's index may carry the number of a sensor (boards.h). */
static uint16_t unit_of(const fsw_bench_faults_params_t *p, uint32_t k) {
  uint8_t index = p->fault_index[k];
  if (p->fault_target[k] != FSW_TARGET_IMU || p->fault_type[k] != FSW_FAULT_WRONG || index == 255) return index;
  return (index & 15u) == 15u ? 255u : (uint16_t)(index & 15u);
}

static void say(fsw_events_t *ev, const fsw_bench_faults_params_t *p, uint32_t k, int64_t t_ns, uint16_t code) {
  if (ev != NULL) fsw_event(ev, t_ns, code, unit_of(p, k), (double)p->fault_type[k], (double)p->fault_target[k]);
}

/* One fault through its life; true when it came into force or left it. */
static bool advance(fsw_bench_faults_state_t *s, const fsw_bench_faults_params_t *p, uint32_t k, const inputs_t *in, int64_t now,
                    fsw_events_t *ev) {
  if (s->status[k] == FSW_INJECT_WAITING) {
    int64_t t = now;
    if (!triggered(s, p, k, in, &t)) return false;
    s->t_begin_ns[k] = t + ns_from_s(p->fault_after_s[k]);
    s->t_end_ns[k] = p->fault_for_s[k] > 0.0 ? s->t_begin_ns[k] + ns_from_s(p->fault_for_s[k]) : INT64_MAX;
    s->status[k] = FSW_INJECT_TRIGGERED;
  }
  if (s->status[k] == FSW_INJECT_TRIGGERED && now >= s->t_begin_ns[k]) {
    s->status[k] = FSW_INJECT_ACTIVE;
    say(ev, p, k, now, FSW_EVENT_FAULT_BEGIN);
    return true;
  }
  if (s->status[k] == FSW_INJECT_ACTIVE && now >= s->t_end_ns[k]) {
    s->status[k] = FSW_INJECT_ENDED;
    say(ev, p, k, now, FSW_EVENT_FAULT_END);
    return true;
  }
  return false;
}

static void fill(const fsw_bench_faults_state_t *s, const fsw_bench_faults_params_t *p, uint32_t n, int64_t now,
                 fsw_faults_t *out) {
  __builtin_memset(out, 0, sizeof *out);
  out->t_ns = now;
  for (uint32_t k = 0; k < n; k++) {
    if (s->status[k] != FSW_INJECT_ACTIVE) continue;
    uint32_t i = out->count++;
    out->severity[i] = p->fault_severity[k];
    out->target[i] = p->fault_target[k];
    out->index[i] = p->fault_index[k];
    out->type[i] = p->fault_type[k];
  }
}

static int32_t step(fsw_io_t *io) {
  fsw_bench_faults_state_t *s = io->state;
  const fsw_bench_faults_params_t *p = io->params;
  fsw_events_t *ev = io->out[1];
  inputs_t in = { .truth = written(io, 0), .guidance = written(io, 1), .engines = written(io, 2) };
  uint32_t n = p->n_faults < FSW_FAULT_SLOTS ? p->n_faults : FSW_FAULT_SLOTS;
  bool changed = s->published == 0;
  if (ev != NULL) ev->count = 0;
  for (uint32_t k = 0; k < n; k++) {
    if (s->status[k] != FSW_INJECT_ENDED && advance(s, p, k, &in, io->t_ns, ev)) changed = true;
  }
  io->publish = 0;
  if (ev != NULL && ev->count > 0) io->publish |= 2u;
  s->since_publish++;
  if (!changed && s->since_publish < REPEAT_TICKS) return 0;
  fill(s, p, n, io->t_ns, io->out[0]);
  s->since_publish = 0;
  s->published++;
  io->publish |= 1u;
  return 0;
}

static const fsw_port_t reads[] = { FSW_READ_OPT("truth", fsw_truth_t), FSW_READ_OPT("guidance", fsw_guidance_t),
                                    FSW_READ_OPT("engines", fsw_engines_t) };
static const fsw_port_t writes[] = { FSW_WRITE("faults", fsw_faults_t), FSW_WRITE_OPT("events", fsw_events_t) };
FSW_TASK(fsw_task_bench_faults, "bench.faults", step, NULL, fsw_bench_faults_state_t, fsw_bench_faults_params_t, reads, writes,
         "Fault injector: triggers by time, altitude, phase or engine event; publishes the faults in force.");
