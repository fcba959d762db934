/* driver.c - explores one sequence step with the short tables until a first invariant is violated. Exit code 0: none was (the mutant
 * survived), 1: one was; its name is printed. 2: the exploration itself did not end as it must. */
#include <stdio.h>
#include <stdlib.h>

#include "sequence_table.h"

#define MAX_NODES 200000u
#define SLOT_BITS 19u

static int tell(const fsw_proof_t *w, int which)
{
  for (uint32_t k = 0; k < FSW_PROOF_INVARIANTS; k++) {
    if (w->violated >> k & 1u) printf("%s ", fsw_proof_name(k));
  }
  printf("table %d after %llu transitions\n", which, (unsigned long long)w->n_transitions);
  return 1;
}

static int explore(int which)
{
  fsw_seq_table_t table;
  fsw_proof_requirements_t need;
  fsw_proof_t w = { .max_nodes = MAX_NODES, .slot_bits = SLOT_BITS };
  if (which == 0) sequence_short(&table, &need);
  else sequence_other(&table, &need);
  w.nodes = malloc(MAX_NODES * sizeof *w.nodes);
  w.parent = malloc(MAX_NODES * sizeof *w.parent);
  w.via = malloc(MAX_NODES * sizeof *w.via);
  w.slots = calloc(1u << SLOT_BITS, sizeof *w.slots);
  if (!w.nodes || !w.parent || !w.via || !w.slots) return 2;
  fsw_proof_begin(&w, &table, &need);
  for (int done = 0; !done && !w.violated;) done = fsw_proof_explore(&w, &table, &need, 20000);
  if (!w.violated) fsw_proof_flips(&w, &table, 0, w.n_nodes);
  if (w.violated) return tell(&w, which);
  if (w.full) return 2;
  for (uint32_t k = 0; k < table.n_rows; k++) {
    if (w.row_states[k] == 0) return 2;
  }
  free(w.nodes), free(w.parent), free(w.via), free(w.slots);
  return 0;
}

int main(void)
{
  for (int which = 0; which < 2; which++) {
    int result = explore(which);
    if (result) return result;
  }
  printf("nothing violated\n");
  return 0;
}
