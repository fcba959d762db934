/* invariants.h - one move of the exploration, and what must hold of it. Inner to native/proof. */
#ifndef FLIGHTSW_PROOF_INVARIANTS_INNER_H
#define FLIGHTSW_PROOF_INVARIANTS_INNER_H
#include "flightsw/proof.h"

#define FSW_PROOF_FLIP 16u     /* numbers of the invariants that are not checked on a single move */
#define FSW_PROOF_UNSEEN 38u
#define FSW_PROOF_TABLE 39u

typedef struct { /* one transition; the caller fills the first six, fsw_proof_check the rest */
  const fsw_proof_node_t *from;
  fsw_proof_node_t *to;            /* its past is filled in by the check */
  const fsw_seq_out_t *out;
  const fsw_seq_table_t *table;
  const fsw_proof_requirements_t *need;
  uint32_t is;
  const fsw_seq_engine_t *a, *b;   /* before, after */
  const fsw_seq_row_t *ra, *rb;
  uint32_t past;
  uint16_t t1;                     /* what the time in row a comes to */
  uint16_t start1, igniter1, unburnt1;
  uint8_t role_a, role_b;
  uint8_t opened;                  /* energised now and not before */
  uint8_t step;                    /* 1: a step of time that no command pre-empts */
  uint8_t begins;                  /* 1: from no start into a start */
  uint8_t ready_run;               /* 1: ready, commanded to run and allowed to */
  uint8_t gate_now;                /* 1: the gate is passed in this step */
  uint8_t why;                     /* gravest reason that ends row a in this step; NONE: none */
} fsw_proof_move_t;

/* Bits of the invariants that this move violates. */
uint64_t fsw_proof_check(fsw_proof_move_t *m);
/* Bits of those that the table itself violates. */
uint64_t fsw_proof_table(const fsw_seq_table_t *table);
/* Upper bound on the steps of time to rest from here when nothing is wanted; 0 at rest. */
uint32_t fsw_proof_rank(const fsw_seq_engine_t *e, const fsw_seq_table_t *table);
/* 1 when a state of which a bit was flipped, or that names a row that is none, did the safe thing under this input. */
int fsw_proof_corrupt_safe(fsw_seq_engine_t e, uint32_t is, const fsw_seq_table_t *table);

#endif
