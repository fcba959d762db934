/* proof.h - every reachable state of one engine's sequence under every input: breadth-first over the step that flies.
 *
 * What is explored is fsw_seq_step() itself with the table that flies, its times in full length: from OFF, every state that some input
 * leads to is visited once and stepped with every combination of the commands and of the conditions that its row watches
 * (fsw_seq_watched(); the step masks the others off, so they make no difference). On each transition the invariants below are checked;
 * they know the declared requirements of the engine and the table, not the code of the step. Breadth first: the first
 * transition that violates an invariant ends a shortest way to it.
 * What is enumerated apart, and why that is sound: persistence of conditions (fsw_seq_persist(); here the held bits are free, so whatever the
 * counters deliver is among the inputs), the token of ARM and FIRE (command.h; here commands are free), the choice of engines (cluster;
 * engines share nothing but commands). Memory is the caller's; a call does a bounded share of the work. */
#ifndef FLIGHTSW_PROOF_H
#define FLIGHTSW_PROOF_H
#include "flightsw/sequence.h"

/* cffi: begin */
typedef struct { /* what must hold whatever the table says: the engine's own requirements */
  uint32_t cold;              /* IS bits that must hold in the step in which a start begins (pump cold, inlet pressure) */
  uint16_t purge_min;         /* steps with the purge valve open, in one go, before propellant may follow */
  uint8_t lead_fuel;          /* 1: fuel is admitted first, 0: oxidiser */
  uint8_t pad0;
} fsw_proof_requirements_t;

typedef struct { /* a state of the engine, and what the invariants remember of its past */
  fsw_seq_engine_t engine;
  uint32_t past;
} fsw_proof_node_t;

#define FSW_PROOF_INVARIANTS 40
typedef struct {
  fsw_proof_node_t *nodes;    /* [max_nodes] */
  uint32_t *parent;           /* [max_nodes]: node from which it was first reached; of the first node itself */
  uint32_t *via;              /* [max_nodes]: input of that step */
  uint32_t *slots;            /* [1 << slot_bits], zeroed: hash table of node number + 1 */
  uint32_t max_nodes;
  uint32_t slot_bits;
  uint32_t n_nodes;
  uint32_t next;              /* node to be stepped next */
  uint64_t n_transitions;
  uint64_t n_flips;           /* steps from damaged states */
  uint64_t violated;          /* bit k: invariant k */
  uint32_t from[40];          /* node of the first violation of invariant k */
  uint32_t input[40];         /* and its input */
  uint32_t worst_rest;        /* greatest number of steps to rest (liveness), over all states */
  uint32_t full;              /* 1: max_nodes reached, nothing is proved */
  uint32_t row_states[16];    /* states found per row */
} fsw_proof_t;

/* Begins: the first node. */
void fsw_proof_begin(fsw_proof_t *w, const fsw_seq_table_t *table, const fsw_proof_requirements_t *need);
/* Steps states until at least `most` further transitions are done or none is left; 1 when all are done. */
int32_t fsw_proof_explore(fsw_proof_t *w, const fsw_seq_table_t *table, const fsw_proof_requirements_t *need, uint64_t most);
/* After exploring: every bit and every pair of neighbouring bits of states [first, last) flipped, and rows that are none, each stepped under
 * eight inputs: every command, with every condition held and with none. */
void fsw_proof_flips(fsw_proof_t *w, const fsw_seq_table_t *table, uint32_t first, uint32_t last);
/* Name and sentence of invariant k, NULL behind the last. */
const char *fsw_proof_name(uint32_t k);
const char *fsw_proof_text(uint32_t k);
/* cffi: end */

#endif
