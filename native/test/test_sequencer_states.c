/* test_sequencer_states.c - every reachable state of one engine, every quantised input: breadth-first over the compiled
 * fsw_seq_step() with short timers, and on every transition the invariants that invariants() below states (order of purge, chill, leads
 * and igniter; everything shut when safe or aborted; limits in time). Then the same step under every single bit flip of its state. Exits non-zero on failure; the ranges enumerated are printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flightsw/math.h"
#include "flightsw/sequencer.h"

#define BOTH (FSW_VALVE_FUEL | FSW_VALVE_OX)
#define TABLE_BITS 23
#define MAX_STATES (1u << 22)

typedef struct { /* engine and what the invariants remember of its past */
  fsw_seq_engine_t e;
  uint8_t dead;      /* failed after lighting, caught fire or was aborted */
  uint8_t purged;    /* purge completed since it was last off */
  uint8_t chilled;   /* was measured cold for two steps before it left CHILL */
  uint8_t cold;      /* steps in a row measured cold, at most 2 */
} node_t;

static node_t *nodes;
static uint32_t *table, n_nodes;
static uint64_t n_transitions;
static int failures;

static uint32_t hash(const node_t *n)
{
  uint32_t w[sizeof(node_t) / 4], h = 2166136261u;
  memcpy(w, n, sizeof w);
  for (size_t i = 0; i < sizeof w / 4; i++) h = (h ^ w[i]) * 16777619u, h ^= h >> 15;
  return h;
}

static void visit(const node_t *n)
{
  uint32_t slot = hash(n) & ((1u << TABLE_BITS) - 1u);
  while (table[slot]) {
    if (memcmp(&nodes[table[slot] - 1], n, sizeof *n) == 0) return;
    slot = (slot + 1u) & ((1u << TABLE_BITS) - 1u);
  }
  if (n_nodes >= MAX_STATES) {
    printf("too many states\n");
    exit(1);
  }
  nodes[n_nodes] = *n;
  table[slot] = ++n_nodes;
}

static void broken(const char *what, const node_t *from, const fsw_seq_in_t *in, const node_t *to)
{
  if (failures++ < 20) {
    printf("%s: state %u flags %u t %u -> %u flags %u t %u valves %u; want %u abort %u inhibit %u fresh %u fire %u pc %.2f %.2f rose %u "
           "accel %u advance %u\n", what, from->e.state, from->e.flags, from->e.t, to->e.state, to->e.flags, to->e.t, to->e.valves,
           in->want, in->abort, in->inhibit, in->fresh, in->fire, in->pc_a, in->pc_b, in->accel_rose, in->accel, in->advance);
  }
}
#define HOLDS(what, cond) do { if (!(cond)) broken(what, from, in, to); } while (0)

static int closed_state(uint8_t s)
{
  return s == FSW_ENGINE_OFF || s == FSW_ENGINE_CHECK || s == FSW_ENGINE_SAFED || s == FSW_ENGINE_INHIBITED;
}

static void invariants(const node_t *from, const fsw_seq_in_t *in, const node_t *to, const fsw_seq_limits_t *p)
{
  const fsw_seq_engine_t *a = &from->e, *b = &to->e;
  uint8_t main = b->valves & BOTH, opened = (uint8_t)(b->valves & ~a->valves);
  HOLDS("I1 fuel without oxidiser lead", !(opened & FSW_VALVE_FUEL) || (a->valves & FSW_VALVE_OX));
  HOLDS("I2 propellant before purge", !main || to->purged);
  HOLDS("I3 start before chill", !(main || b->state == FSW_ENGINE_IGNITER) || to->chilled);
  HOLDS("I4 valves open in a safe state", !closed_state(b->state) || b->valves == 0);
  HOLDS("I5 abort", !in->abort || b->valves == 0);
  HOLDS("I6 inhibit", !in->inhibit || b->valves == 0);
  HOLDS("I7 unburnt limit", b->state == FSW_ENGINE_MAIN || b->unburnt <= p->unburnt_limit);
  HOLDS("I9 purge into open propellant", !(b->valves & FSW_VALVE_PURGE) || !main);
  HOLDS("I10 abort in one step", !in->abort || closed_state(b->state) || b->state == FSW_ENGINE_SHUTDOWN);
  HOLDS("I11 stale link and propellant", in->fresh || !(opened & BOTH) || a->state >= FSW_ENGINE_RISE);
  HOLDS("I11 stale link and start", in->fresh || b->state != FSW_ENGINE_IGNITER || a->state == FSW_ENGINE_IGNITER);
  HOLDS("I13 igniter limit", b->igniter <= p->igniter_limit + 1);
  HOLDS("I14 shutdown opens a valve", b->state != FSW_ENGINE_SHUTDOWN || opened == 0);
  HOLDS("I15 time limit", b->state == FSW_ENGINE_MAIN || b->t <= 60 || closed_state(b->state));
  HOLDS("I20 start counter", b->starts >= a->starts && b->starts <= p->max_starts);
  HOLDS("I21 counted before energised", !(b->valves & (BOTH | FSW_VALVE_IGNITER)) || b->starts > 0);
  HOLDS("I22 dead engine commanded", !from->dead || !(opened & (BOTH | FSW_VALVE_IGNITER)));
  HOLDS("I23 igniter before propellant", !(opened & BOTH) || (b->valves & FSW_VALVE_IGNITER));
  HOLDS("I24 stop in one step", in->want == FSW_SEQ_WANT_RUN || !(b->valves & FSW_VALVE_OX));
  HOLDS("I25 check word", b->check == fsw_seq_check_word(b));
  int sure = a->state == FSW_ENGINE_MAIN && b->state == FSW_ENGINE_SHUTDOWN && b->cause == FSW_SEQ_CAUSE_DIED;
  HOLDS("I26 one witness shut it down", !sure || in->accel == FSW_SEQ_ACCEL_LOST || (in->pc_a < 0.5 && in->pc_b < 0.5 && in->fresh && in->valid));
  HOLDS("I27 healthy engine shut down", !sure || in->accel != FSW_SEQ_ACCEL_HEALTHY);
  HOLDS("I28 no decision on time", b->state != FSW_ENGINE_RISE || b->t_start <= p->decide || (b->flags & FSW_SEQ_LATE));
}

static void remember(const node_t *from, const fsw_seq_in_t *in, node_t *to)
{
  const fsw_seq_engine_t *a = &from->e, *b = &to->e;
  to->purged = from->purged || (a->state == FSW_ENGINE_PURGE && b->state == FSW_ENGINE_CHILL);
  int cold = in->chill_k <= 116.0;
  if (a->state != FSW_ENGINE_CHILL || (in->advance && !cold)) to->cold = 0;
  else to->cold = (uint8_t)(from->cold + in->advance > 2 ? 2 : from->cold + in->advance);
  to->chilled = a->state == FSW_ENGINE_CHILL ? to->cold == 2 && cold : from->chilled && a->state >= FSW_ENGINE_IGNITER;
  if (b->state == FSW_ENGINE_OFF || b->state == FSW_ENGINE_CHECK) to->purged = 0;
  to->dead = from->dead || ((b->flags & FSW_SEQ_FAILED) && (b->flags & FSW_SEQ_LIT)) || (in->abort != 0);
  to->dead = (uint8_t)(to->dead || (in->fire && a->state < FSW_ENGINE_IGNITER));
}

static uint32_t make_inputs(fsw_seq_in_t *list)
{
  static const double pc[4][2] = { { 0.0, 0.0 }, { 0.05, 0.05 }, { 0.8, 0.8 }, { 0.8, 0.0 } };
  uint32_t n = 0;
  for (uint32_t i = 0; i < 4 * 3 * 3 * 32; i++) {
    fsw_seq_in_t in;
    memset(&in, 0, sizeof in);
    uint32_t x = i;
    in.pc_a = pc[x % 4][0];
    in.pc_b = pc[x % 4][1];
    x /= 4;
    in.want = (uint8_t)(x % 3);
    x /= 3;
    in.accel = (uint8_t)(x % 3);
    x /= 3;
    in.accel_rose = in.accel == FSW_SEQ_ACCEL_HEALTHY;
    in.fresh = x & 1;
    in.valid = 1;
    in.fire = x >> 1 & 1;
    in.igniter_ok = x >> 2 & 1;
    in.chill_k = x >> 3 & 1 ? 100.0 : 150.0;
    in.inlet_pa = 3e5;
    in.advance = x >> 4 & 1;
    in.expect = 0.8;
    if (in.fire && in.accel == FSW_SEQ_ACCEL_UNKNOWN) continue; /* thinned: fire with the two clear answers */
    list[n++] = in;
    if (i % 96 == 7 || i % 96 == 40) {
      in.abort = 1;
      list[n++] = in;
      in.abort = 0;
      in.inhibit = 1;
      list[n++] = in;
    }
  }
  return n;
}

static void limits(fsw_seq_limits_t *p)
{
  memset(p, 0, sizeof *p);
  p->step_s = 0.01;
  p->pc_mpa = 10.0;
  p->inlet_min_pa = 2e5;
  p->chill_ready_k = 116.0;
  p->lit_share = 0.15;
  p->rise_share = 0.02;
  p->dead_share = 0.3;
  p->redline_share = 1.3;
  p->disagree_share = 0.08;
  p->check_min = p->purge = p->lead = p->shutdown_lag = p->igniter_min = p->rearm = 1;
  p->check_max = p->igniter_max = p->grace = p->shutdown = p->after = p->recover = 2;
  p->chill_max = 3;
  p->decide = 5;
  p->start_max = 7;
  p->igniter_limit = 8;
  p->unburnt_limit = 6;
  p->lit_steps = p->rise_steps = p->redline_steps = 1;
  p->dead_steps = 2;
  p->max_starts = 2;
}

/* Counters that have passed every limit they are compared with are held, so that the set of states is finite; each saturation point
 * lies above the limits(), so nothing that decides is lost. */
static void saturate(fsw_seq_engine_t *e)
{
  uint8_t *small[] = { &e->n_p, &e->n_r, &e->n_a, &e->n_low, &e->n_low1, &e->n_red, &e->n_ok, &e->n_dis };
  static const uint8_t cap[] = { 4, 1, 4, 2, 8, 1, 3, 6 };
  for (size_t i = 0; i < sizeof cap; i++) *small[i] = *small[i] > cap[i] ? cap[i] : *small[i];
  if (e->state != FSW_ENGINE_RISE) e->n_a = e->n_r = 0;
  if (e->state != FSW_ENGINE_MAIN) e->n_low = e->n_low1 = 0;
  if (e->state != FSW_ENGINE_MAIN) e->t_main = e->peak = 0;
  if (e->state < FSW_ENGINE_IGNITER || e->state > FSW_ENGINE_RISE) e->t_start = e->igniter = e->unburnt = 0;
  if (e->state == FSW_ENGINE_MAIN || e->state == FSW_ENGINE_OFF || e->state == FSW_ENGINE_INHIBITED || e->state == FSW_ENGINE_SAFED) e->t = e->t > 2 ? 2 : e->t;
  if (e->t_main > 3) e->t_main = 3;
  e->check = fsw_seq_check_word(e);
}

static void explore(const fsw_seq_limits_t *p, const fsw_seq_in_t *inputs, uint32_t n_inputs)
{
  node_t start;
  memset(&start, 0, sizeof start);
  fsw_seq_engine_init(&start.e);
  visit(&start);
  for (uint32_t i = 0; i < n_nodes; i++) {
    for (uint32_t k = 0; k < n_inputs; k++) {
      node_t to = nodes[i];
      fsw_seq_out_t out;
      fsw_seq_step(&to.e, &inputs[k], p, &out);
      remember(&nodes[i], &inputs[k], &to);
      invariants(&nodes[i], &inputs[k], &to, p);
      if (out.valves != to.e.valves) broken("output", &nodes[i], &inputs[k], &to);
      saturate(&to.e);
      visit(&to);
      n_transitions++;
    }
  }
}

/* I16: left alone (nothing wanted, link fine, no flame) every state comes to rest with everything closed. */
static void liveness(const fsw_seq_limits_t *p)
{
  fsw_seq_in_t rest;
  memset(&rest, 0, sizeof rest);
  rest.fresh = rest.valid = rest.advance = 1;
  rest.inlet_pa = 3e5;
  rest.chill_k = 100.0;
  for (uint32_t i = 0; i < n_nodes; i++) {
    fsw_seq_engine_t e = nodes[i].e;
    fsw_seq_out_t out;
    for (int k = 0; k < 40; k++) fsw_seq_step(&e, &rest, p, &out);
    if (!closed_state(e.state) || e.valves) failures++, printf("I16: state %u does not come to rest\n", nodes[i].e.state);
  }
}

/* I18: a flipped bit is noticed, and closes everything. */
static void flips(const fsw_seq_limits_t *p, const fsw_seq_in_t *in)
{
  uint64_t n = 0;
  for (uint32_t i = 0; i < n_nodes; i += 7) {
    for (uint32_t bit = 0; bit < 256; bit++) {
      fsw_seq_engine_t e = nodes[i].e;
      uint8_t raw[32];
      fsw_seq_out_t out;
      memcpy(raw, &e, 32);
      raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
      memcpy(&e, raw, 32);
      fsw_seq_step(&e, in, p, &out);
      if (out.valves || e.state != FSW_ENGINE_INHIBITED || fsw_seq_startable(&e, p)) failures++;
      n++;
    }
  }
  printf("%llu bit flips\n", (unsigned long long)n);
}

int main(void)
{
  static fsw_seq_in_t inputs[2048];
  fsw_seq_limits_t p;
  uint32_t n_inputs = make_inputs(inputs), per_state[11] = { 0 };
  nodes = calloc(MAX_STATES, sizeof *nodes);
  table = calloc(1u << TABLE_BITS, sizeof *table);
  if (!nodes || !table) return 3;
  limits(&p);
  explore(&p, inputs, n_inputs);
  for (uint32_t i = 0; i < n_nodes; i++) per_state[nodes[i].e.state]++;
  printf("%u states x %u inputs = %llu transitions; timers to %u steps; per state:", n_nodes, n_inputs, (unsigned long long)n_transitions, p.igniter_limit);
  for (int k = 0; k < 11; k++) {
    printf(" %u", per_state[k]);
    if (per_state[k] == 0) failures++; /* every state has been reached */
  }
  printf("\n");
  liveness(&p);
  flips(&p, &inputs[n_inputs - 1]);
  printf("test_sequencer_states: %d failures\n", failures);
  free(nodes);
  free(table);
  return failures != 0;
}
