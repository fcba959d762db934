/* explore.c - breadth-first exploration of one engine's sequence. See proof.h. */
#include <stddef.h>

#include "flightsw/proof.h"
#include "invariants.h"

#define COMMANDS (FSW_SEQ_CMD_READY | FSW_SEQ_CMD_RUN | FSW_SEQ_CMD_ABORT | FSW_SEQ_CMD_INHIBIT | FSW_SEQ_CMD_ADVANCE)
#define RECENT 16u /* successors of the state at hand that were looked up already; most inputs lead to few of them */

_Static_assert(sizeof(fsw_proof_node_t) == 24, "node is hashed and compared as three words");

typedef struct { /* successors found for one state */
  fsw_proof_node_t node[RECENT];
  uint32_t n;
} recent_t;

static uint64_t word(const fsw_proof_node_t *n, uint32_t k)
{
  uint64_t w;
  __builtin_memcpy(&w, (const unsigned char *)n + 8u * k, 8);
  return w;
}

static int same(const fsw_proof_node_t *x, const fsw_proof_node_t *y)
{
  return ((word(x, 0) ^ word(y, 0)) | (word(x, 1) ^ word(y, 1)) | (word(x, 2) ^ word(y, 2))) == 0;
}

static uint32_t hash(const fsw_proof_node_t *n)
{
  uint64_t h = word(n, 0) * 0x9e3779b97f4a7c15u;
  h = (h ^ (h >> 32) ^ word(n, 1)) * 0xbf58476d1ce4e5b9u;
  h = (h ^ (h >> 29) ^ word(n, 2)) * 0x94d049bb133111ebu;
  return (uint32_t)(h >> 32);
}

/* Adds a state unless it is known. The table is never full: it has more slots than there may be nodes. */
static void visit(fsw_proof_t *w, const fsw_proof_node_t *n, uint32_t parent, uint32_t via)
{
  const uint32_t mask = (1u << w->slot_bits) - 1u;
  uint32_t slot = hash(n) & mask;
  while (w->slots[slot]) {
    if (same(&w->nodes[w->slots[slot] - 1u], n)) return;
    slot = (slot + 1u) & mask;
  }
  if (w->n_nodes >= w->max_nodes || w->n_nodes >= mask) {
    w->full = 1;
    return;
  }
  w->nodes[w->n_nodes] = *n;
  w->parent[w->n_nodes] = parent;
  w->via[w->n_nodes] = via;
  w->row_states[n->engine.row % FSW_SEQ_ROWS]++;
  w->slots[slot] = ++w->n_nodes;
}

static void visit_new(fsw_proof_t *w, recent_t *r, const fsw_proof_node_t *n, uint32_t via)
{
  for (uint32_t k = 0; k < r->n && k < RECENT; k++) {
    if (same(&r->node[k], n)) return;
  }
  r->node[r->n++ % RECENT] = *n;
  visit(w, n, w->next, via);
}

static void violation(fsw_proof_t *w, uint64_t bad, uint32_t from, uint32_t input)
{
  for (uint32_t k = 0; k < FSW_PROOF_INVARIANTS; k++) {
    if (!(bad >> k & 1u) || (w->violated >> k & 1u)) continue;
    w->from[k] = from;
    w->input[k] = input;
  }
  w->violated |= bad;
}

void fsw_proof_begin(fsw_proof_t *w, const fsw_seq_table_t *table, const fsw_proof_requirements_t *need)
{
  fsw_proof_node_t first;
  (void)need;
  __builtin_memset(&first, 0xa5, sizeof first); /* whatever was there before */
  first.past = 0;
  fsw_seq_engine_init(&first.engine);
  w->n_nodes = w->next = w->full = w->worst_rest = 0;
  w->n_transitions = w->n_flips = w->violated = 0;
  for (uint32_t k = 0; k < FSW_SEQ_ROWS; k++) w->row_states[k] = 0;
  for (uint32_t k = 0; k < FSW_PROOF_INVARIANTS; k++) w->from[k] = w->input[k] = 0;
  visit(w, &first, 0, 0);
  violation(w, fsw_proof_table(table), 0, 0);
}

/* Conditions that the row does not watch, all of them held under each command: what the subsets below leave out makes no difference. */
static void unseen(fsw_proof_t *w, const fsw_seq_table_t *table, const fsw_seq_engine_t *from, uint32_t watched)
{
  for (uint32_t k = 0; k < 64u; k++) {
    uint32_t is = (k & 31u) * FSW_SEQ_CMD_READY | (k & 32u ? watched : 0);
    fsw_seq_engine_t x = *from, y = *from;
    fsw_seq_out_t out_x, out_y;
    fsw_seq_step(&x, is, table, &out_x);
    fsw_seq_step(&y, is | (FSW_SEQ_IS_MASK & ~watched), table, &out_y);
    if (x.check == y.check && __builtin_memcmp(&x, &y, sizeof x) == 0 && __builtin_memcmp(&out_x, &out_y, sizeof out_x) == 0) continue;
    violation(w, 1ull << FSW_PROOF_UNSEEN, w->next, is | (FSW_SEQ_IS_MASK & ~watched));
  }
}

/* Every input of one state. */
static void expand(fsw_proof_t *w, const fsw_seq_table_t *table, const fsw_proof_requirements_t *need)
{
  const fsw_proof_node_t from = w->nodes[w->next];
  const uint32_t watched = fsw_seq_watched(table, from.engine.row), mask = watched | COMMANDS;
  recent_t recent = { .n = 0 };
  uint32_t is = 0, rank = fsw_proof_rank(&from.engine, table);
  if (rank > w->worst_rest) w->worst_rest = rank;
  unseen(w, table, &from.engine, watched);
  do { /* all subsets of the mask */
    fsw_proof_node_t to = from;
    fsw_seq_out_t out;
    fsw_seq_step(&to.engine, is, table, &out);
    fsw_proof_move_t move = { .from = &from, .to = &to, .out = &out, .table = table, .need = need, .is = is };
    uint64_t bad = fsw_proof_check(&move);
    if (__builtin_expect(bad != 0, 0)) violation(w, bad, w->next, is);
    if (to.engine.row < table->n_rows) visit_new(w, &recent, &to, is); /* what is no row cannot be stepped; it is a violation */
    w->n_transitions++;
    is = (is - mask) & mask;
  } while (is != 0);
}

int32_t fsw_proof_explore(fsw_proof_t *w, const fsw_seq_table_t *table, const fsw_proof_requirements_t *need, uint64_t most)
{
  const uint64_t until = w->n_transitions + most;
  while (w->next < w->n_nodes && w->n_transitions < until && !w->full) {
    expand(w, table, need);
    w->next++;
  }
  return w->next >= w->n_nodes || w->full;
}

#define BITS (8u * (uint32_t)sizeof(fsw_seq_engine_t))
#define DAMAGES (2u * BITS + 1u) /* each bit, each pair of neighbours, two rows that are none */

static void flip(fsw_seq_engine_t *e, uint32_t bit)
{
  unsigned char *byte = (unsigned char *)e + bit / 8u;
  *byte = (unsigned char)(*byte ^ 1u << bit % 8u);
}

static void damage(fsw_seq_engine_t *e, uint32_t k, const fsw_seq_table_t *table)
{
  if (k < 2u * BITS - 1u) {
    flip(e, k % BITS);
    if (k >= BITS) flip(e, k % BITS + 1u);
    return;
  }
  e->row = k == 2u * BITS - 1u ? table->n_rows : 255u; /* whole, but behind the table's last row */
  e->check = fsw_seq_check_word(e);
}

void fsw_proof_flips(fsw_proof_t *w, const fsw_seq_table_t *table, uint32_t first, uint32_t last)
{
  static const uint32_t inputs[8] = {
    0, FSW_SEQ_CMD_ADVANCE, FSW_SEQ_CMD_READY, FSW_SEQ_CMD_RUN, FSW_SEQ_CMD_ABORT, FSW_SEQ_CMD_INHIBIT,
    FSW_SEQ_CMD_READY | FSW_SEQ_CMD_RUN | FSW_SEQ_CMD_ADVANCE | FSW_SEQ_IS_MASK, FSW_SEQ_CMD_ADVANCE | FSW_SEQ_IS_MASK };
  for (uint32_t k = first; k < last && k < w->n_nodes; k++) {
    for (uint32_t i = 0; i < 8u * DAMAGES; i++) {
      fsw_seq_engine_t e = w->nodes[k].engine;
      damage(&e, i / 8u, table);
      if (!fsw_proof_corrupt_safe(e, inputs[i % 8u], table)) violation(w, 1ull << FSW_PROOF_FLIP, k, inputs[i % 8u]);
      w->n_flips++;
    }
  }
}
