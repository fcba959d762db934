/* sequencer_cluster.c - which engines run: symmetric sets and the choice among them. See sequencer.h. */
#include "flightsw/math.h"
#include "flightsw/sequencer.h"

#define ON_AXIS_M 0.1 /* positions closer than this are the same */

static uint32_t bit_of(uint32_t mask, uint32_t k) { return mask >> k & 1u; }

static uint32_t count(uint32_t mask)
{
  uint32_t n = 0;
  for (; mask; mask &= mask - 1) n++;
  return n;
}

static uint16_t steps16(double seconds, double step_s)
{
  return (uint16_t)fsw_clamp(seconds / step_s + 0.5, 1.0, 60000.0);
}

static uint8_t steps8(double n) { return (uint8_t)fsw_clamp(n, 1.0, 200.0); }

void fsw_seq_limits(const fsw_sequencer_params_t *p, double step_s, fsw_seq_limits_t *out)
{
  __builtin_memset(out, 0, sizeof *out);
  out->step_s = step_s;
  out->pc_mpa = p->pc_nominal_pa * 1e-6;
  out->inlet_min_pa = p->inlet_min_pa;
  out->chill_ready_k = p->chill_limit_k - p->chill_margin_k;
  out->lit_share = p->lit_share;
  out->rise_share = p->rise_share;
  out->dead_share = p->dead_share;
  out->redline_share = p->redline_share;
  out->disagree_share = p->disagree_share;
  out->check_min = steps16(p->check_s, step_s);
  out->check_max = steps16(p->check_max_s, step_s);
  out->purge = steps16(p->purge_s, step_s);
  out->chill_max = steps16(p->chill_max_s, step_s);
  out->igniter_min = 1;
  out->igniter_max = steps16(p->igniter_max_s, step_s);
  out->lead = steps16(p->lead_s, step_s);
  out->decide = steps16(p->decide_s, step_s);
  out->start_max = steps16(p->start_max_s, step_s);
  out->grace = steps16(p->grace_s, step_s);
  out->igniter_limit = steps16(p->igniter_limit_s, step_s);
  out->unburnt_limit = steps16(p->unburnt_limit_s, step_s);
  out->shutdown = steps16(p->shutdown_s, step_s);
  out->shutdown_lag = (uint16_t)(p->shutdown_lag_s > 0.0 ? steps16(p->shutdown_lag_s, step_s) : 0);
  out->after = steps16(p->after_purge_s, step_s);
  out->rearm = steps16(p->rearm_s, step_s);
  out->recover = steps16(p->recover_s, step_s);
  out->lit_steps = steps8(p->lit_steps);
  out->rise_steps = steps8(p->rise_steps);
  out->dead_steps = (uint8_t)fsw_clamp(p->dead_steps, 1.0, 60.0);
  out->redline_steps = steps8(p->redline_steps);
  out->max_starts = (uint8_t)(p->max_starts < 200 ? p->max_starts : 200);
  out->lead_fuel = (uint8_t)(p->lead_fuel != 0);
}

static int near(double a, double b) { return fsw_abs(a - b) < ON_AXIS_M; }

static int on_axis(const fsw_sequencer_params_t *p, uint32_t k)
{
  return near(p->engine_y_m[k], 0.0) && near(p->engine_z_m[k], 0.0);
}

/* Index of an engine in a parameter, or 9. */
static uint32_t engine_index(double x, uint32_t n)
{
  return x >= 0.0 && x < (double)n ? (uint32_t)x : 9u;
}

static uint32_t usable_mask(const fsw_sequencer_params_t *p, uint32_t n, uint32_t *gimballed)
{
  uint32_t mask = 0;
  *gimballed = 0;
  for (uint32_t k = 0; k < n; k++) {
    if (p->engine_restartable[k] > 0.5) mask |= 1u << k;
    if (p->engine_gimballed[k] > 0.5) *gimballed |= 1u << k;
  }
  return mask;
}

static uint32_t find_pairs(const fsw_sequencer_params_t *p, uint32_t n, uint32_t usable, uint32_t gimballed, uint16_t pairs[4])
{
  uint32_t n_pairs = 0, taken = 0;
  for (uint32_t i = 0; i < 4; i++) {
    uint32_t a = engine_index(p->pair_a[i], n), b = engine_index(p->pair_b[i], n);
    if (a < 9 && b < 9 && a != b) pairs[n_pairs++] = (uint16_t)(1u << a | 1u << b);
  }
  if (n_pairs) return n_pairs;
  for (uint32_t a = 0; a < n; a++) {
    for (uint32_t b = a + 1; b < n && n_pairs < 4; b++) {
      uint32_t m = 1u << a | 1u << b;
      if ((m & usable & gimballed & ~taken) != m || on_axis(p, a)) continue;
      if (!near(p->engine_y_m[a], -p->engine_y_m[b]) || !near(p->engine_z_m[a], -p->engine_z_m[b])) continue;
      pairs[n_pairs++] = (uint16_t)m;
      taken |= m;
    }
  }
  return n_pairs;
}

/* Engines that may land alone, best first: the given order, else those on the axis, else, without pairs, all. */
static uint32_t find_singles(const fsw_sequencer_params_t *p, uint32_t n, uint32_t usable, uint32_t n_pairs, uint16_t singles[9])
{
  uint32_t n_singles = 0;
  for (uint32_t i = 0; i < 9; i++) {
    uint32_t k = engine_index(p->land_order[i], n);
    if (k < 9) singles[n_singles++] = (uint16_t)(1u << k);
  }
  if (n_singles) return n_singles;
  for (uint32_t k = 0; k < n; k++) {
    if ((usable >> k & 1u) && on_axis(p, k)) singles[n_singles++] = (uint16_t)(1u << k);
  }
  if (n_singles || n_pairs) return n_singles;
  for (uint32_t k = 0; k < n; k++) {
    if (usable >> k & 1u) singles[n_singles++] = (uint16_t)(1u << k);
  }
  return n_singles;
}

static void add_set(fsw_sequencer_state_t *s, uint32_t set)
{
  if (set == 0 || s->n_sets >= FSW_SEQ_MAX_SETS) return;
  for (uint32_t i = 0; i < s->n_sets; i++) {
    if (s->sets[i] == set) return;
  }
  s->sets[s->n_sets++] = (uint16_t)set;
}

void fsw_seq_cluster_init(fsw_sequencer_state_t *s, const fsw_sequencer_params_t *p)
{
  uint16_t pairs[4] = { 0 }, singles[9] = { 0 };
  uint32_t n = p->n_engines <= 9 ? p->n_engines : 9, gimballed;
  uint32_t usable = usable_mask(p, n, &gimballed);
  uint32_t n_pairs = find_pairs(p, n, usable, gimballed, pairs);
  uint32_t n_singles = find_singles(p, n, usable, n_pairs, singles);
  s->startable_mask = (uint16_t)usable;
  s->n_sets = 0;
  for (uint32_t size = 1; size <= 9; size++) { /* by size, then in the order of preference */
    for (uint32_t combo = 0; combo < 1u << n_pairs; combo++) {
      uint32_t set = 0;
      for (uint32_t i = 0; i < n_pairs; i++) set |= combo >> i & 1u ? pairs[i] : 0u;
      if (count(set) == size) add_set(s, set);
      if (count(set) > size || count(set) + 1 != size) continue;
      for (uint32_t i = 0; i < n_singles; i++) add_set(s, count(set | singles[i]) == size ? set | singles[i] : 0u);
    }
  }
  /* an off-axis engine may burn alone when a gimbal can turn its thrust through the centre of mass */
  double arm = fsw_abs(p->engine_x_m - p->dry_cm_x_m), reach = arm * fsw_tan(p->gimbal_max_deg * FSW_DEG) * p->trim_share;
  for (uint32_t k = 0; k < n; k++) {
    double r = fsw_max(fsw_abs(p->engine_y_m[k]), fsw_abs(p->engine_z_m[k]));
    if (on_axis(p, k) || ((gimballed >> k & 1u) && r <= reach)) s->lone_mask |= (uint16_t)(1u << k);
  }
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

/* With engines running, never fewer than guidance wants while better ones are still starting. */
uint32_t fsw_seq_choose(const fsw_sequencer_state_t *s, uint32_t wanted, uint32_t available, uint32_t running, uint32_t lit)
{
  uint32_t have = count(running);
  if (wanted == 0) return 0;
  if (have == wanted) return running;
  if (have > wanted) { /* drop to a symmetric set of what runs; an engine that cannot burn alone keeps its partner */
    for (uint32_t size = wanted; size < have; size++) {
      uint32_t set = best_set(s, size, running, running);
      if (set && (set & ~lit) == 0) return set;
    }
    uint32_t lone = running & lit & s->lone_mask;
    return wanted == 1 && lone ? lone & (~lone + 1u) : running;
  }
  uint32_t patient = s->short_steps < s->wait_steps;
  for (uint32_t size = wanted; size <= 9 && size <= wanted + !patient; size++) {
    uint32_t set = best_set(s, size, available, running);
    if (set) return set | running; /* those outside it go when it is complete */
  }
  if (patient) return running;
  uint32_t mask = running; /* no symmetric set: what there is */
  for (uint32_t k = 0; k < 9 && count(mask) < wanted; k++) {
    if ((available >> k & 1u) && (wanted > 1 || bit_of(s->lone_mask, k))) mask |= 1u << k;
  }
  return mask;
}
