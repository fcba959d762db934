/* sequencer_cluster.c - which engines run: symmetric sets and the choice among them. See sequencer.h. */
#include "flightsw/math.h"
#include "flightsw/sequencer.h"

#define ON_AXIS_M 0.1 /* positions closer than this are the same */
#define ENGINES 9u
#define PAIRS 4u

typedef struct { /* what a vehicle can do, before sets are made of it */
  uint32_t n;         /* engines */
  uint32_t usable;    /* may be started by the task */
  uint32_t gimballed;
  uint32_t n_pairs;
  uint32_t n_singles;
  uint16_t pair[4];   /* masks, best first */
  uint16_t single[9]; /* may land alone, best first */
} stage_t;

static uint32_t bit_of(uint32_t mask, uint32_t k) { return mask >> k & 1u; }

static uint32_t count(uint32_t mask)
{
  uint32_t n = 0;
  for (; mask; mask &= mask - 1) n++;
  return n;
}

static int near(double a, double b) { return fsw_abs(a - b) < ON_AXIS_M; }

static int on_axis(const fsw_sequencer_params_t *p, uint32_t k)
{
  return near(p->engine_y_m[k], 0.0) && near(p->engine_z_m[k], 0.0);
}

static int opposite(const fsw_sequencer_params_t *p, uint32_t a, uint32_t b)
{
  return near(p->engine_y_m[a], -p->engine_y_m[b]) && near(p->engine_z_m[a], -p->engine_z_m[b]);
}

/* Index of an engine in a parameter, or 9. */
static uint32_t engine_index(double x, uint32_t n)
{
  return x >= 0.0 && x < (double)n ? (uint32_t)x : ENGINES;
}

static void find_usable(stage_t *g, const fsw_sequencer_params_t *p)
{
  for (uint32_t k = 0; k < g->n; k++) {
    if (p->engine_restartable[k] > 0.5) g->usable |= 1u << k;
    if (p->engine_gimballed[k] > 0.5) g->gimballed |= 1u << k;
  }
}

static void given_pairs(stage_t *g, const fsw_sequencer_params_t *p)
{
  for (uint32_t i = 0; i < PAIRS; i++) {
    uint32_t a = engine_index(p->pair_a[i], g->n), b = engine_index(p->pair_b[i], g->n);
    if (a < ENGINES && b < ENGINES && a != b) g->pair[g->n_pairs++] = (uint16_t)(1u << a | 1u << b);
  }
}

/* Opposite engines that can be started and swivelled, each in one pair: nine engines make at most four. */
static void geometric_pairs(stage_t *g, const fsw_sequencer_params_t *p)
{
  uint32_t left = g->usable & g->gimballed;
  for (uint32_t a = 0; a < g->n; a++) {
    if (on_axis(p, a)) left &= ~(1u << a);
    for (uint32_t b = a + 1; b < g->n && g->n_pairs < PAIRS; b++) {
      uint32_t m = 1u << a | 1u << b;
      if ((m & ~left) || !opposite(p, a, b)) continue;
      g->pair[g->n_pairs++] = (uint16_t)m;
      left &= ~m;
    }
  }
}

static void given_singles(stage_t *g, const fsw_sequencer_params_t *p)
{
  for (uint32_t i = 0; i < ENGINES; i++) {
    uint32_t k = engine_index(p->land_order[i], g->n);
    if (k < ENGINES) g->single[g->n_singles++] = (uint16_t)(1u << k);
  }
}

/* Usable engines on the axis, or, with any, all usable ones. */
static void usable_singles(stage_t *g, const fsw_sequencer_params_t *p, int any)
{
  for (uint32_t k = 0; k < g->n; k++) {
    if (bit_of(g->usable, k) && (any || on_axis(p, k))) g->single[g->n_singles++] = (uint16_t)(1u << k);
  }
}

/* Pairs and singles: the given order, else the geometry. Without either every usable engine may land alone. */
static void find_parts(stage_t *g, const fsw_sequencer_params_t *p)
{
  given_pairs(g, p);
  if (g->n_pairs == 0) geometric_pairs(g, p);
  given_singles(g, p);
  if (g->n_singles == 0) usable_singles(g, p, 0);
  if (g->n_singles == 0 && g->n_pairs == 0) usable_singles(g, p, 1);
}

static void add_set(fsw_sequencer_state_t *s, uint32_t set, uint32_t size)
{
  if (count(set) != size || s->n_sets >= FSW_SEQ_MAX_SETS) return;
  for (uint32_t i = 0; i < s->n_sets; i++) {
    if (s->sets[i] == set) return;
  }
  s->sets[s->n_sets++] = (uint16_t)set;
}

/* All sets of this size: pairs alone, pairs and one single. */
static void add_sets(fsw_sequencer_state_t *s, const stage_t *g, uint32_t size)
{
  for (uint32_t combo = 0; combo < 1u << g->n_pairs; combo++) {
    uint32_t set = 0;
    for (uint32_t i = 0; i < g->n_pairs; i++) set |= bit_of(combo, i) ? g->pair[i] : 0u;
    add_set(s, set, size);
    if (count(set) + 1 != size) continue;
    for (uint32_t i = 0; i < g->n_singles; i++) add_set(s, set | g->single[i], size);
  }
}

/* On the axis, or a gimbal can turn its thrust through the centre of mass. */
static uint32_t may_burn_alone(const stage_t *g, const fsw_sequencer_params_t *p)
{
  double arm = fsw_abs(p->engine_x_m - p->dry_cm_x_m), reach = arm * fsw_tan(p->gimbal_max_deg * FSW_DEG) * p->trim_share;
  uint32_t mask = 0;
  for (uint32_t k = 0; k < g->n; k++) {
    double r = fsw_max(fsw_abs(p->engine_y_m[k]), fsw_abs(p->engine_z_m[k]));
    if (on_axis(p, k) || (bit_of(g->gimballed, k) && r <= reach)) mask |= 1u << k;
  }
  return mask;
}

void fsw_seq_cluster_init(fsw_sequencer_state_t *s, const fsw_sequencer_params_t *p)
{
  stage_t g = { .n = p->n_engines <= ENGINES ? p->n_engines : ENGINES };
  find_usable(&g, p);
  find_parts(&g, p);
  s->startable_mask = (uint16_t)g.usable;
  s->lone_mask = (uint16_t)may_burn_alone(&g, p);
  s->n_sets = 0;
  for (uint32_t size = 1; size <= ENGINES; size++) add_sets(s, &g, size); /* by size, then in the order of preference */
}

/* The set of this size that needs the fewest starts; 0 when there is none. */
static uint32_t best_set(const fsw_sequencer_state_t *s, uint32_t size, uint32_t available, uint32_t running)
{
  uint32_t best = 0, best_starts = 99;
  for (uint32_t i = 0; i < s->n_sets; i++) {
    uint32_t set = s->sets[i], starts = count(set & ~running);
    if (count(set) != size || (set & ~available) || starts >= best_starts) continue;
    best = set;
    best_starts = starts;
  }
  return best;
}

/* More run than are wanted: a symmetric set of them, not fewer than wanted and all lit. An engine that cannot burn alone keeps its partner. */
static uint32_t drop(const fsw_sequencer_state_t *s, uint32_t wanted, uint32_t running, uint32_t lit)
{
  uint32_t have = count(running), lone = running & lit & s->lone_mask;
  for (uint32_t size = wanted; size < have; size++) {
    uint32_t set = best_set(s, size, running, running);
    if (set && (set & ~lit) == 0) return set;
  }
  return wanted == 1 && lone ? lone & (~lone + 1u) : running;
}

/* No symmetric set: what there is, one after the other; alone only an engine that may burn alone. */
static uint32_t whatever(const fsw_sequencer_state_t *s, uint32_t wanted, uint32_t available, uint32_t running)
{
  uint32_t mask = running, good = wanted > 1 ? available : available & s->lone_mask;
  for (uint32_t k = 0; k < ENGINES && count(mask) < wanted; k++) mask |= good & 1u << k;
  return mask;
}

/* Fewer run than are wanted. Those outside the set stay until it is complete. */
static uint32_t add(const fsw_sequencer_state_t *s, uint32_t wanted, uint32_t available, uint32_t running)
{
  uint32_t set = best_set(s, wanted, available, running);
  if (set) return set | running;
  if (s->short_steps < s->wait_steps) return running;
  set = best_set(s, wanted + 1, available, running);
  return set ? set | running : whatever(s, wanted, available, running);
}

uint32_t fsw_seq_choose(const fsw_sequencer_state_t *s, uint32_t wanted, uint32_t available, uint32_t running, uint32_t lit)
{
  uint32_t have = count(running);
  if (wanted == 0) return 0;
  if (have > wanted) return drop(s, wanted, running, lit);
  return have == wanted ? running : add(s, wanted, available, running);
}
