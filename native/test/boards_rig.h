/* boards_rig.h - what the tests of the simulated boards share: checks, a digest, a task on a table, statistics. */
#ifndef FLIGHTSW_TEST_BOARDS_RIG_H
#define FLIGHTSW_TEST_BOARDS_RIG_H
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "flightsw/boards.h"
#include "flightsw/events.h"
#include "flightsw/math.h"

static int failures;
static uint64_t digest = UINT64_C(14695981039346656037); /* FNV-1a, 64 bit */

#define CHECK(cond) \
  do { \
    if (!(cond)) { \
      failures++; \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
    } \
  } while (0)
#define NEAR(a, b, tol) \
  do { \
    double a_ = (a), b_ = (b); \
    if (!(fabs(a_ - b_) <= (tol))) { \
      failures++; \
      fprintf(stderr, "%s:%d: %s = %.9g, expected %.9g +- %.3g\n", __FILE__, __LINE__, #a, a_, b_, (double)(tol)); \
    } \
  } while (0)

static void mix_u64(uint64_t x) {
  for (int i = 0; i < 8; i++, x >>= 8) digest = (digest ^ (x & 255)) * UINT64_C(1099511628211);
}

static void mix(double x) {
  uint64_t bits;
  memcpy(&bits, &x, 8);
  mix_u64(bits);
}

/* ---- a task on a table: its ports, state and tick ------------------------------------------------------------------------ */

typedef struct {
  fsw_io_t io;
  const fsw_task_desc_t *desc;
  const void *in[4];
  const fsw_topic_head_t *in_head[4];
  fsw_topic_head_t head[4];
  void *out[2];
  int64_t period_ticks;
} rig_t;

static void rig_open(rig_t *r, const fsw_task_desc_t *desc, void *state, const void *params, int64_t period_ticks) {
  memset(r, 0, sizeof *r);
  memset(state, 0, desc->state_size);
  r->desc = desc;
  r->period_ticks = period_ticks;
  r->io.dt_ns = period_ticks * 1000000;
  r->io.seed = 7;
  r->io.stream = 3;
  r->io.state = state;
  r->io.params = params;
  r->io.in = r->in;
  r->io.in_head = r->in_head;
  r->io.out = r->out;
  for (int k = 0; k < 4; k++) r->head[k].tick = -1;
  if (desc->init) desc->init(state, params);
}

static void bind(rig_t *r, int port, const void *payload) {
  r->in[port] = payload;
  r->in_head[port] = &r->head[port];
}

static void deliver(rig_t *r, int port) {
  r->head[port].tick = r->io.tick;
  r->head[port].seq++;
}

static uint32_t run(rig_t *r) {
  r->io.publish = (1u << r->desc->n_writes) - 1u;
  CHECK(r->desc->step(&r->io) == 0);
  r->io.tick += r->period_ticks;
  r->io.t_ns += r->io.dt_ns;
  return r->io.publish;
}

static void one_fault(fsw_faults_t *f, uint8_t target, uint8_t type, uint8_t index, double severity) {
  memset(f, 0, sizeof *f);
  f->count = 1;
  f->target[0] = target;
  f->type[0] = type;
  f->index[0] = index;
  f->severity[0] = severity;
}

typedef struct { double n, sum, square; } stat_t;
static void add(stat_t *s, double x) { s->n += 1.0, s->sum += x, s->square += x * x; }
static double mean(const stat_t *s) { return s->sum / s->n; }
static double deviation(const stat_t *s) { return sqrt(s->square / s->n - mean(s) * mean(s)); }

static int report(const char *name) {
  printf("%s: %d failures, digest %016llx\n", name, failures, (unsigned long long)digest);
  return failures != 0;
}

#endif
