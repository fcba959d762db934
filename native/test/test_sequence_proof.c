/* test_sequence_proof.c - every reachable state of the booster's sequence under every input (proof.h), at the length at which it flies; the
 * same for shorter sequences of other shapes; damaged states; persistence on its own; and tables with a mistake in them, each of which must
 * violate the invariant that forbids it. Exits non-zero on a failure. Built for debugging or with sanitizers the long sequence is explored
 * for a part, and that is said. */
#include <stdio.h>
#include <stdlib.h>

#include "flightsw/sense.h"
#include "sequence_table.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(coverage_sanitizer)
#define SLOW 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__)
#define SLOW 1
#endif
#ifdef SLOW
#define MOST 10000000ull
#else
#define MOST 0ull /* all */
#endif

#define MAX_NODES (1u << 21)
#define SLOT_BITS 22u

typedef void (*table_fn)(fsw_seq_table_t *t, fsw_proof_requirements_t *need);

static int failures;

static void check(int ok, const char *what)
{
  if (ok) return;
  printf("FAILED: %s\n", what);
  failures++;
}

static void room(fsw_proof_t *w)
{
  memset(w, 0, sizeof *w);
  w->max_nodes = MAX_NODES;
  w->slot_bits = SLOT_BITS;
  w->nodes = malloc(MAX_NODES * sizeof *w->nodes);
  w->parent = malloc(MAX_NODES * sizeof *w->parent);
  w->via = malloc(MAX_NODES * sizeof *w->via);
  w->slots = malloc((sizeof *w->slots) << SLOT_BITS);
  if (w->nodes && w->parent && w->via && w->slots) return;
  printf("no memory\n");
  exit(1);
}

static void clear(fsw_proof_t *w) { memset(w->slots, 0, (sizeof *w->slots) << SLOT_BITS); }

static void tell(const fsw_proof_t *w)
{
  for (uint32_t k = 0; k < FSW_PROOF_INVARIANTS; k++) {
    if (!(w->violated >> k & 1u)) continue;
    const fsw_seq_engine_t *e = &w->nodes[w->from[k]].engine;
    printf("  %s violated: %s\n    in row %u at step %u, %u since the start command, flags %u, under input %08x\n", fsw_proof_name(k),
           fsw_proof_text(k), e->row, e->t, e->t_start, e->flags, w->input[k]);
  }
}

/* Explores all of it, or `most` transitions; then damages every `stride`-th state. */
static void prove(fsw_proof_t *w, const char *what, table_fn make, uint64_t most, uint32_t stride)
{
  fsw_seq_table_t table;
  fsw_proof_requirements_t need;
  make(&table, &need);
  clear(w);
  fsw_proof_begin(w, &table, &need);
  int32_t done = fsw_proof_explore(w, &table, &need, most ? most : ~0ull);
  for (uint32_t k = 0; k < w->n_nodes; k += stride) fsw_proof_flips(w, &table, k, k + 1u);
  printf("%s: %u states, %llu transitions, %llu steps from damaged states (every %u. state), at rest within %u steps%s\n", what, w->n_nodes,
         (unsigned long long)w->n_transitions, (unsigned long long)w->n_flips, stride, w->worst_rest,
         done ? "" : "; CUT SHORT, not all of it");
  for (uint32_t k = 0; k < table.n_rows; k++) {
    printf("  row %2u: %6u states\n", k, w->row_states[k]);
    check(w->row_states[k] > 0 || !done, "every row is reached");
  }
  tell(w);
  check(w->violated == 0 && w->full == 0, what);
  check(done || most != 0, "all of it is explored");
}

/* ---- tables with one mistake ---- */
static void fuel_first(fsw_seq_table_t *t) { t->row[ROW_LEAD].valves = FSW_VALVE_IGNITER | FSW_VALVE_FUEL; }
static void both_at_once(fsw_seq_table_t *t) { t->row[ROW_LEAD].valves |= FSW_VALVE_FUEL; }
static void no_purge(fsw_seq_table_t *t) { t->row[ROW_PURGE].valves = 0; }
static void short_purge(fsw_seq_table_t *t) { times(&t->row[ROW_PURGE], 3, 3); }
static void purge_left_out(fsw_seq_table_t *t) { t->row[ROW_CHECK].next = ROW_CHILL; }
static void not_cold(fsw_seq_table_t *t) { t->row[ROW_CHILL].exit = FSW_SEQ_IS_LINK | COND_INLET; }
static void igniter_by_time(fsw_seq_table_t *t)
{
  t->row[ROW_IGNITER].exit = 0;
  t->row[ROW_LEAD].keep = FSW_SEQ_IS_LINK;
}
static void check_that_purges(fsw_seq_table_t *t) { t->row[ROW_CHECK].valves = FSW_VALVE_PURGE; }
static void purge_into_lead(fsw_seq_table_t *t) { t->row[ROW_LEAD].valves |= FSW_VALVE_PURGE; }
static void igniter_stays_on(fsw_seq_table_t *t) { t->row[ROW_MAIN].valves |= FSW_VALVE_IGNITER; }
static void stale_lead(fsw_seq_table_t *t) { t->row[ROW_LEAD].keep = FSW_SEQ_IS_IGNITER; }
static void stale_preparation(fsw_seq_table_t *t) { t->row[ROW_PURGE].keep = 0; }
static void chill_after(fsw_seq_table_t *t) { t->row[ROW_AFTER].valves |= FSW_VALVE_CHILL; }
static void cuts_nothing(fsw_seq_table_t *t) { t->row[ROW_LAG].valves = FSW_VALVE_FUEL | FSW_VALVE_OX; }
static void no_maximum(fsw_seq_table_t *t) { t->row[ROW_CHECK].max = 0; }
static void purge_opens_propellant(fsw_seq_table_t *t) { t->row[ROW_PURGE].valves |= FSW_VALVE_OX; }
static void no_shutdown(fsw_seq_table_t *t) { t->row[ROW_MAIN].abort = FSW_SEQ_ROW_INHIBITED; }
static void way_back(fsw_seq_table_t *t) { t->row[ROW_RISE].next = ROW_LEAD; }

static void teeth(fsw_proof_t *w)
{
  static const struct {
    void (*spoil)(fsw_seq_table_t *t);
    const char *what, *invariant;
  } cases[] = {
    { fuel_first, "fuel first where oxidiser must lead", "I1" },        { both_at_once, "both propellants at once", "I1" },
    { no_purge, "a purge that opens nothing", "I2" },                   { short_purge, "a purge too short", "I2" },
    { purge_left_out, "purge left out", "I2" },                         { not_cold, "started without a cold pump", "I3" },
    { igniter_by_time, "igniter by time, not confirmed", "I22" },       { check_that_purges, "a check that energises", "I4" },
    { purge_into_lead, "purge on with the lead", "I9" },                { igniter_stays_on, "igniter on in main stage", "I13" },
    { stale_lead, "lead on a stale link", "I11" },                      { stale_preparation, "prepared on a stale link", "I11" },
    { chill_after, "chill valve open after a shutdown", "I14" },        { cuts_nothing, "a shutdown that cuts nothing", "I23" },
    { cuts_nothing, "a redline that cuts nothing", "I8" },              { no_maximum, "a check without a limit", "I42" },
    { purge_opens_propellant, "propellant in the purge", "I42" },       { no_shutdown, "main stage without a shutdown", "I42" },
    { way_back, "a way back", "I42" },
  };
  for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
    fsw_seq_table_t table;
    fsw_proof_requirements_t need;
    uint64_t named = 0;
    sequence_short(&table, &need);
    cases[k].spoil(&table);
    clear(w);
    fsw_proof_begin(w, &table, &need);
    if (fsw_seq_table_problem(&table) == 0) fsw_proof_explore(w, &table, &need, ~0ull); /* what is refused is never stepped */
    for (uint32_t i = 0; i < FSW_PROOF_INVARIANTS; i++) named |= (uint64_t)(strcmp(fsw_proof_name(i), cases[k].invariant) == 0) << i;
    int told = (w->violated & named) != 0;
    printf("%-42s %s%s\n", cases[k].what, cases[k].invariant, told ? "" : ": NOT NOTICED");
    check(told, cases[k].what);
  }
}

/* All counts, both answers, every persistence: a condition holds after exactly `persist` samples in a row, and is lost with the first that
 * says otherwise. */
static void persistence(void)
{
  uint32_t n = 0;
  for (uint32_t persist = 1; persist <= 250; persist++) {
    for (uint32_t count = 0; count <= 255; count++, n += 2) {
      uint32_t up = fsw_seq_persist((uint8_t)count, 1, (uint8_t)persist);
      check(fsw_seq_persist((uint8_t)count, 0, (uint8_t)persist) == 0, "one sample against it clears the count");
      check(count < persist ? up == count + 1u : up >= persist, "one more in a row, and it stays held");
      check(count != persist - 1u || up >= persist, "held at exactly `persist`");
    }
    for (uint32_t row = 1, count = 0; row <= 600; row++) {
      count = fsw_seq_persist((uint8_t)count, 1, (uint8_t)persist);
      check((count >= persist) == (row >= persist), "N samples in a row, no fewer and no more");
    }
  }
  printf("persistence: %u counts, answers and persistences\n", n);
}

/* Too little room is said, and proves nothing. */
static void too_small(fsw_proof_t *w)
{
  fsw_seq_table_t table;
  fsw_proof_requirements_t need;
  sequence_short(&table, &need);
  clear(w);
  w->max_nodes = 1000;
  fsw_proof_begin(w, &table, &need);
  check(fsw_proof_explore(w, &table, &need, ~0ull) == 1 && w->full == 1, "full is said");
  w->max_nodes = MAX_NODES;
}

int main(void)
{
  fsw_proof_t w;
  room(&w);
  for (uint32_t k = 0; k < FSW_PROOF_INVARIANTS; k++) check(fsw_proof_name(k) && fsw_proof_text(k), "named and stated");
  check(!fsw_proof_name(FSW_PROOF_INVARIANTS) && !fsw_proof_text(FSW_PROOF_INVARIANTS), "and there is none behind the last");
  prove(&w, "short timers", sequence_short, 0, 1);
  prove(&w, "another sequence", sequence_other, 0, 1);
  prove(&w, "the booster's sequence", sequence_shipped, MOST, 50);
  if (MOST == 0) check(w.n_transitions >= 100000000ull, "at least 1e8 transitions");
  teeth(&w);
  too_small(&w);
  persistence();
  free(w.nodes), free(w.parent), free(w.via), free(w.slots);
  if (failures == 0) printf("ok\n");
  return failures != 0;
}
