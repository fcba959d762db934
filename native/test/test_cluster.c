/* test_cluster.c - the choice of engines, for every situation there is. Each of the nine engines is out of use, to be had, starting or
 * lit: 4^9 situations, times 0 to 10 engines wanted, times patient or not, for four vehicles. What must hold of each choice is stated
 * in `holds` and what it calls, and in `settles` and `more_wanted`; which sets are symmetric the test says by rules of its own. */
#include <stdio.h>
#include <string.h>

#include "flightsw/sequencer.h"

static int failures;
#define CHECK(cond) ((cond) ? (void)0 : (failures++ < 20 ? (void)printf("%s:%d: %s\n", __func__, __LINE__, #cond) : (void)0))

enum { SITUATIONS = 1 << 18, WANTED_MAX = 10 };

static uint16_t choice[2][WANTED_MAX + 1][SITUATIONS]; /* patient or not, wanted, situation */
static uint32_t sets_of_test[512], n_sets_of_test;
static uint64_t n_choices;

static uint32_t count(uint32_t mask)
{
  uint32_t n = 0;
  for (; mask; mask >>= 1) n += mask & 1;
  return n;
}

static int has(uint32_t mask, uint32_t k) { return (int)(mask >> k & 1u); }

/* ---- vehicles ---- */

static void booster(fsw_sequencer_params_t *p)
{
  static const double y[9] = { 0, 1.6, 1.1314, 0, -1.1314, -1.6, -1.1314, 0, 1.1314 };
  static const double z[9] = { 0, 0, 1.1314, 1.6, 1.1314, 0, -1.1314, -1.6, -1.1314 };
  memset(p, 0, sizeof *p);
  for (uint32_t k = 0; k < 9; k++) {
    p->engine_y_m[k] = y[k];
    p->engine_z_m[k] = z[k];
    p->engine_gimballed[k] = p->engine_restartable[k] = k == 0 || k % 2 == 1 ? 1.0 : 0.0;
    p->land_order[k] = -1.0;
  }
  for (uint32_t k = 0; k < 4; k++) p->pair_a[k] = p->pair_b[k] = -1.0;
  p->engine_x_m = 3.0;
  p->dry_cm_x_m = 16.0;
  p->gimbal_max_deg = 7.0;
  p->trim_share = 0.7;
  p->n_engines = 9;
}

static void all_nine(fsw_sequencer_params_t *p)
{
  booster(p);
  for (uint32_t k = 0; k < 9; k++) p->engine_gimballed[k] = p->engine_restartable[k] = 1.0;
}

static void hopper(fsw_sequencer_params_t *p)
{
  booster(p);
  p->n_engines = 1;
}

/* A ring without an axis engine, gimbals that cannot trim one engine alone. */
static void ring(fsw_sequencer_params_t *p)
{
  all_nine(p);
  for (uint32_t k = 0; k < 8; k++) {
    p->engine_y_m[k] = p->engine_y_m[k + 1];
    p->engine_z_m[k] = p->engine_z_m[k + 1];
  }
  p->n_engines = 8;
  p->gimbal_max_deg = 5.0;
}

static uint32_t n_sets_of_size(const fsw_sequencer_state_t *s, uint32_t size)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < s->n_sets; i++) n += count(s->sets[i]) == size;
  return n;
}

static int in_sets(const fsw_sequencer_state_t *s, uint32_t set)
{
  for (uint32_t i = 0; i < s->n_sets; i++)
    if (s->sets[i] == set) return 1;
  return 0;
}

/* Symmetric: each engine of the ring has its opposite with it; first: number of the first engine of the ring, eight of them. */
static void find_sets(uint32_t usable, uint32_t first)
{
  n_sets_of_test = 0;
  for (uint32_t mask = 1; mask < 512; mask++) {
    int symmetric = (mask & ~usable) == 0;
    for (uint32_t i = 0; i < 8 && symmetric; i++) symmetric = has(mask, first + i) == has(mask, first + (i + 4) % 8);
    if (symmetric) sets_of_test[n_sets_of_test++] = mask;
  }
}

/* ---- what must hold of every choice ---- */

typedef struct {
  uint32_t wanted, patient, available, running, lit;
} given_t;

static given_t situation(uint32_t code, uint32_t wanted, uint32_t patient)
{
  given_t g = { .wanted = wanted, .patient = patient };
  for (uint32_t k = 0; k < 9; k++, code >>= 2) {
    g.available |= (uint32_t)((code & 3) >= 1) << k;
    g.running |= (uint32_t)((code & 3) >= 2) << k;
    g.lit |= (uint32_t)((code & 3) == 3) << k;
  }
  return g;
}

static uint32_t least_starts(const given_t *g, uint32_t size)
{
  uint32_t best = 99;
  for (uint32_t i = 0; i < n_sets_of_test; i++) {
    uint32_t set = sets_of_test[i], starts = count(set & ~g->running);
    if (count(set) == size && (set & ~g->available) == 0 && starts < best) best = starts;
  }
  return best;
}

/* What runs and is started: R and a symmetric set of this size. */
static int is_set_with_running(const given_t *g, uint32_t size, uint32_t chosen)
{
  for (uint32_t i = 0; i < n_sets_of_test; i++)
    if (count(sets_of_test[i]) == size && (sets_of_test[i] | g->running) == chosen) return 1;
  return 0;
}

static int symmetric(uint32_t mask)
{
  for (uint32_t i = 0; i < n_sets_of_test; i++)
    if (sets_of_test[i] == mask) return 1;
  return 0;
}

/* Fewer run than are wanted: opposite pairs and symmetric sets before anything else, with the fewest starts. */
static void holds_of_starts(const fsw_sequencer_state_t *s, const given_t *g, uint32_t chosen)
{
  uint32_t starts = count(chosen & ~g->running), exact = least_starts(g, g->wanted), more = least_starts(g, g->wanted + 1);
  CHECK((g->running & ~chosen) == 0);
  if (exact < 99) {
    CHECK(is_set_with_running(g, g->wanted, chosen) && starts == exact);
  } else if (g->patient) {
    CHECK(starts == 0);
  } else if (more < 99) {
    CHECK(is_set_with_running(g, g->wanted + 1, chosen) && starts == more);
  } else { /* all that may be had, until there are enough */
    uint32_t free = g->available & ~g->running & (g->wanted == 1 ? s->lone_mask : 511u), need = g->wanted - count(g->running);
    CHECK(starts == (count(free) < need ? count(free) : need) && (chosen & ~g->running & ~free) == 0);
  }
}

/* More run than are wanted: what stays is lit and enough. */
static void holds_of_stops(const fsw_sequencer_state_t *s, const given_t *g, uint32_t chosen)
{
  CHECK((chosen & ~g->running) == 0);
  if (chosen == g->running) {
    for (uint32_t i = 0; g->wanted == 1 && i < 9; i++) CHECK(!has(g->lit & s->lone_mask, i));
    return;
  }
  CHECK((chosen & ~g->lit) == 0 && count(chosen) >= g->wanted);
  CHECK(symmetric(chosen) || (g->wanted == 1 && count(chosen) == 1 && (chosen & ~s->lone_mask) == 0));
}

static void holds(const fsw_sequencer_state_t *s, const given_t *g, uint32_t chosen)
{
  uint32_t have = count(g->running);
  CHECK((chosen & ~g->available) == 0);
  if (g->wanted == 0) {
    CHECK(chosen == 0);
    return;
  }
  /* the last flame is never put out, and none is as long as the set is not complete */
  CHECK((g->lit & chosen) || !g->lit);
  CHECK((g->lit & ~chosen) == 0 || ((chosen & ~g->lit) == 0 && count(chosen) >= g->wanted));
  if (have == g->wanted) CHECK(chosen == g->running);
  if (have < g->wanted) holds_of_starts(s, g, chosen);
  if (have > g->wanted) holds_of_stops(s, g, chosen);
}

static uint32_t code_of(uint32_t available, uint32_t running, uint32_t lit)
{
  uint32_t code = 0;
  for (uint32_t k = 0; k < 9; k++) code |= (uint32_t)(has(available, k) + has(running, k) + has(lit, k)) << 2 * k;
  return code;
}

/* Where everything lights, the choice comes to rest after three calls and stays, and it is not less than what was wanted and could be
 * had. One more engine to be had never makes fewer run, as far as they are wanted. */
static void settles(uint32_t code, uint32_t patient, uint32_t wanted, uint32_t engines)
{
  given_t g = situation(code, wanted, patient);
  uint32_t first = choice[patient][wanted][code], now = first;
  for (uint32_t i = 0; i < 2; i++) now = choice[patient][wanted][code_of(g.available, now, now)];
  CHECK(choice[patient][wanted][code_of(g.available, now, now)] == now);
  CHECK(count(now) >= (count(first) < wanted ? count(first) : wanted));
  for (uint32_t k = 0; k < 9; k++) {
    if ((code >> 2 * k & 3) || !has(engines, k)) continue;
    uint32_t more = count(choice[patient][wanted][code | 1u << 2 * k]), less = count(first);
    CHECK((more < wanted ? more : wanted) >= (less < wanted ? less : wanted));
  }
}

/* Codes of situations in which only engines of the mask are not out of use. */
static int concerns(uint32_t code, uint32_t mask)
{
  return (situation(code, 0, 0).available & ~mask) == 0;
}

static void every_situation(fsw_sequencer_state_t *s, uint32_t engines)
{
  for (uint32_t patient = 0; patient < 2; patient++) {
    s->wait_steps = 10;
    s->short_steps = (uint16_t)(patient ? 9 : 10);
    for (uint32_t code = 0; code < SITUATIONS; code++) {
      if (!concerns(code, engines)) continue;
      for (uint32_t wanted = 0; wanted <= WANTED_MAX; wanted++) {
        given_t g = situation(code, wanted, patient);
        uint32_t chosen = fsw_seq_choose(s, wanted, g.available, g.running, g.lit);
        holds(s, &g, chosen);
        choice[patient][wanted][code] = (uint16_t)chosen;
        n_choices++;
      }
    }
    for (uint32_t code = 0; code < SITUATIONS; code++) {
      if (!concerns(code, engines) || situation(code, 0, 0).available & ~s->startable_mask) continue;
      for (uint32_t wanted = 0; wanted <= WANTED_MAX; wanted++) settles(code, patient, wanted, engines);
    }
  }
}

/* Where more are wanted, never fewer run of those that are wanted (patience has ended). */
static void more_wanted(uint32_t engines)
{
  for (uint32_t code = 0; code < SITUATIONS; code++) {
    if (!concerns(code, engines)) continue;
    for (uint32_t wanted = 0; wanted < WANTED_MAX; wanted++) {
      uint32_t less = count(choice[0][wanted][code]), more = count(choice[0][wanted + 1][code]);
      CHECK((more < wanted + 1 ? more : wanted + 1) >= (less < wanted ? less : wanted));
    }
  }
}

static void vehicle(void (*make)(fsw_sequencer_params_t *), uint32_t usable, uint32_t lone, uint32_t first)
{
  static fsw_sequencer_params_t p;
  fsw_sequencer_state_t s;
  make(&p);
  memset(&s, 0, sizeof s);
  fsw_seq_cluster_init(&s, &p);
  find_sets(usable, first);
  CHECK(s.startable_mask == usable && s.lone_mask == lone && s.n_sets == n_sets_of_test);
  for (uint32_t i = 0; i < n_sets_of_test; i++) CHECK(in_sets(&s, sets_of_test[i]));
  for (uint32_t i = 1; i < s.n_sets; i++) CHECK(count(s.sets[i]) >= count(s.sets[i - 1])); /* by size */
  every_situation(&s, (1u << p.n_engines) - 1);
  more_wanted((1u << p.n_engines) - 1);
}

/* ---- preference, worked out by hand ---- */

static fsw_sequencer_state_t made(const fsw_sequencer_params_t *p)
{
  fsw_sequencer_state_t s;
  memset(&s, 0, sizeof s);
  fsw_seq_cluster_init(&s, p);
  return s;
}

static void preference(void)
{
  static fsw_sequencer_params_t p;
  booster(&p);
  fsw_sequencer_state_t s = made(&p);
  CHECK(fsw_seq_choose(&s, 1, 0x1ff, 0, 0) == 1);         /* the axis */
  CHECK(fsw_seq_choose(&s, 2, 0x1ff, 0, 0) == 0x22);      /* the first pair */
  CHECK(fsw_seq_choose(&s, 2, 0x1ff, 8, 8) == 0x88);      /* the pair of which one runs: one start, not two */
  CHECK(fsw_seq_choose(&s, 3, 0x1ff, 0, 0) == 0x23);
  CHECK(fsw_seq_choose(&s, 5, 0x1ff, 0, 0) == 0xab);
  CHECK(fsw_seq_choose(&s, 1, 0xaa, 0, 0) == 0x22);       /* the axis engine is lost: a pair, when waited long enough */
  s.wait_steps = 1;
  CHECK(fsw_seq_choose(&s, 1, 0xaa, 0, 0) == 0);
  s.wait_steps = 0;
  CHECK(fsw_seq_choose(&s, 1, 0x02, 0, 0) == 0);          /* moment beyond the gimbal: not alone */
  CHECK(fsw_seq_choose(&s, 2, 0x0a, 0, 0) == 0x0a);       /* no pair: what there is */
  CHECK(fsw_seq_choose(&s, 2, 0x1ff, 0x2b, 0x2b) == 0x22);/* of those that run */
  CHECK(fsw_seq_choose(&s, 1, 0x1ff, 0x2b, 0x2b) == 1);
  CHECK(fsw_seq_choose(&s, 2, 0x1ff, 0x2b, 0x0b) == 0x2b);/* one of the pair is not lit yet */
  CHECK(fsw_seq_choose(&s, 1, 0x1ff, 0x22, 0x22) == 0x22);/* neither may burn alone */
  CHECK(fsw_seq_choose(&s, 0, 0x1ff, 0x2b, 0x2b) == 0);
  CHECK(fsw_seq_choose(&s, 4294967295u, 0x1ff, 0, 0) == 0x1ff); /* nonsense asks for all */
  p.trim_share = 2.0; /* gimbals that reach through the centre of mass */
  s = made(&p);
  CHECK(s.lone_mask == 0xab);
  CHECK(fsw_seq_choose(&s, 1, 0x0a, 0, 0) == 2);
  CHECK(fsw_seq_choose(&s, 1, 0x1ff, 0x2a, 0x28) == 8);   /* the first lit one */
}

/* ---- parameters ---- */

static void given_order(void)
{
  static fsw_sequencer_params_t p;
  booster(&p);
  p.pair_a[0] = 3.0, p.pair_b[0] = 7.0; /* the other pair first */
  p.pair_a[1] = 1.0, p.pair_b[1] = 5.0;
  fsw_sequencer_state_t s = made(&p);
  CHECK(s.n_sets == 7 && fsw_seq_choose(&s, 2, 0x1ff, 0, 0) == 0x88 && fsw_seq_choose(&s, 3, 0x1ff, 0, 0) == 0x89);
  p.pair_a[0] = 4.0, p.pair_b[0] = 4.0; /* nonsense is no pair: twice the same, one or both missing or unknown */
  p.pair_a[1] = 1.0, p.pair_b[1] = -1.0;
  p.pair_a[2] = -1.0, p.pair_b[2] = 5.0;
  p.pair_a[3] = 2.0, p.pair_b[3] = 6.0;
  s = made(&p);
  CHECK(s.n_sets == 3 && in_sets(&s, 1) && in_sets(&s, 0x44) && in_sets(&s, 0x45));
  p.pair_a[3] = -1.0;
  s = made(&p);
  CHECK(s.n_sets == 7); /* none is left: from the geometry */
  p.pair_a[3] = 9.0, p.pair_b[3] = 0.0 / (p.pair_b[2] - 5.0); /* beyond the last engine; no number */
  s = made(&p);
  CHECK(s.n_sets == 7);
  p.land_order[4] = 3.0, p.land_order[7] = 0.0;
  s = made(&p);
  CHECK(fsw_seq_choose(&s, 1, 0x1ff, 0, 0) == 8 && fsw_seq_choose(&s, 1, 0x1f7, 0, 0) == 1);
  CHECK(in_sets(&s, 0x2a) && in_sets(&s, 0x23) && in_sets(&s, 0x89) && !in_sets(&s, 0x8a) && n_sets_of_size(&s, 1) == 2);
  p.land_order[7] = 3.0, p.pair_a[0] = 1.0, p.pair_b[0] = 5.0, p.pair_a[1] = 5.0, p.pair_b[1] = 1.0; /* the same twice counts once */
  s = made(&p);
  CHECK(s.n_sets == 3 && in_sets(&s, 8) && in_sets(&s, 0x22) && in_sets(&s, 0x2a));
  hopper(&p);
  p.land_order[0] = 1.0, p.pair_a[0] = -0.5, p.pair_b[0] = 1.0; /* there is no engine 1, and none before 0 */
  p.land_order[1] = -0.5;
  s = made(&p);
  CHECK(s.n_sets == 1 && s.sets[0] == 1);
  booster(&p);
  p.n_engines = 2, p.land_order[0] = -0.5, p.land_order[1] = 1.0;
  s = made(&p);
  CHECK(s.n_sets == 1 && s.sets[0] == 2); /* the axis engine was not named */
}

static void geometry(void)
{
  static fsw_sequencer_params_t p;
  booster(&p);
  p.engine_gimballed[5] = 0.0; /* a pair needs both gimbals */
  fsw_sequencer_state_t s = made(&p);
  CHECK(s.n_sets == 3 && in_sets(&s, 0x88) && s.startable_mask == 0xab);
  booster(&p);
  p.engine_restartable[5] = 0.0; /* and both starts */
  s = made(&p);
  CHECK(s.n_sets == 3 && in_sets(&s, 0x88) && s.startable_mask == 0x8b);
  p.engine_restartable[5] = 1.0; /* one engine is in one pair */
  p.engine_y_m[2] = p.engine_y_m[1], p.engine_z_m[2] = p.engine_z_m[1], p.engine_restartable[2] = p.engine_gimballed[2] = 1.0;
  s = made(&p);
  CHECK(s.n_sets == 7 && in_sets(&s, 0x22) && !in_sets(&s, 0x24));
  booster(&p);
  p.engine_gimballed[0] = 0.0; /* on the axis no gimbal is needed */
  s = made(&p);
  CHECK(s.lone_mask == 1);
  booster(&p);
  p.engine_restartable[0] = 0.0; /* the axis engine cannot be started: pairs alone */
  s = made(&p);
  CHECK(s.n_sets == 3 && in_sets(&s, 0x22) && in_sets(&s, 0x88) && in_sets(&s, 0xaa) && s.lone_mask == 1);
  for (uint32_t k = 0; k < 9; k++) p.engine_y_m[k] = p.engine_z_m[k] = 0.05 * (double)k; /* several near the axis are no pairs */
  p.n_engines = 2;
  p.engine_restartable[0] = 1.0;
  s = made(&p);
  CHECK(s.n_sets == 2 && in_sets(&s, 1) && in_sets(&s, 2));
  for (uint32_t k = 0; k < 9; k++) p.engine_y_m[k] = 3.0, p.engine_z_m[k] = (double)k; /* a row beside the axis: each alone */
  p.n_engines = 4;
  s = made(&p);
  CHECK(s.n_sets == 3 && s.lone_mask == 0 && fsw_seq_choose(&s, 1, 0xf, 0, 0) == 1);
  p.engine_z_m[1] = -p.engine_z_m[3], p.engine_y_m[1] = 2.0; /* opposite in one axis alone is not opposite */
  s = made(&p);
  CHECK(s.n_sets == 3 && n_sets_of_size(&s, 2) == 0);
  p.engine_x_m = 40.0; /* gimbal plane on the other side of the centre of mass */
  p.gimbal_max_deg = 45.0;
  s = made(&p);
  CHECK(s.lone_mask == 0xb);
  p.n_engines = 12; /* no more than nine */
  s = made(&p);
  CHECK((s.startable_mask | s.lone_mask) < 512);
  p.n_engines = 0;
  s = made(&p);
  CHECK(s.n_sets == 0 && s.startable_mask == 0 && s.lone_mask == 0 && fsw_seq_choose(&s, 1, 0, 0, 0) == 0);
}

/* More sets than there is room for: the smallest are kept, none twice. */
static void too_many_sets(void)
{
  static fsw_sequencer_params_t p;
  all_nine(&p);
  for (uint32_t k = 0; k < 9; k++) p.land_order[k] = (double)(8 - k);
  fsw_sequencer_state_t s = made(&p);
  CHECK(s.n_sets == FSW_SEQ_MAX_SETS && n_sets_of_size(&s, 1) == 9 && n_sets_of_size(&s, 2) == 4 && n_sets_of_size(&s, 3) == 28);
  CHECK(n_sets_of_size(&s, 4) == 6 && n_sets_of_size(&s, 5) == 1 && fsw_seq_choose(&s, 1, 0x1ff, 0, 0) == 0x100);
  for (uint32_t i = 0; i < s.n_sets; i++)
    for (uint32_t j = 0; j < i; j++) CHECK(s.sets[i] != s.sets[j]);
  fsw_seq_cluster_init(&s, &p); /* again: the same, not more */
  CHECK(s.n_sets == FSW_SEQ_MAX_SETS && s.lone_mask == 1);
  hopper(&p);
  fsw_seq_cluster_init(&s, &p); /* and nothing is left of it */
  CHECK(s.n_sets == 1 && s.sets[0] == 1 && s.startable_mask == 1);
}

int main(void)
{
  vehicle(booster, 0xab, 1, 1);
  vehicle(all_nine, 0x1ff, 1, 1);
  vehicle(ring, 0xff, 0, 0);
  vehicle(hopper, 1, 1, 1);
  preference();
  given_order();
  geometry();
  too_many_sets();
  printf("%s: %llu choices in every situation, %d failures\n", failures ? "FAILED" : "ok", (unsigned long long)n_choices, failures);
  return failures != 0;
}
