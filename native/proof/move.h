/* move.h - words that the invariants are written in. Inner to native/proof. */
#ifndef FLIGHTSW_PROOF_MOVE_INNER_H
#define FLIGHTSW_PROOF_MOVE_INNER_H
#include "invariants.h"

#define MAINS (FSW_VALVE_FUEL | FSW_VALVE_OX)
#define WANTED (FSW_SEQ_CMD_READY | FSW_SEQ_CMD_RUN)

/* the past, beside the engine's own state */
#define PAST_PURGED 1u   /* purged for long enough */
#define PAST_DEAD 2u     /* failed after lighting */
#define PAST_FIRE 4u
#define PAST_ABORT 8u
#define PAST_PURGE 16    /* from this bit on: steps of purge in one go */

void fsw_proof_prepare(fsw_proof_move_t *m);
void fsw_proof_remember(fsw_proof_move_t *m);

static inline int preparing(uint8_t role) { return role >= FSW_ENGINE_CHECK && role <= FSW_ENGINE_CHILL; }
static inline int in_start(uint8_t role) { return role >= FSW_ENGINE_IGNITER && role <= FSW_ENGINE_RISE; }
static inline int active(uint8_t role) { return role >= FSW_ENGINE_IGNITER && role <= FSW_ENGINE_MAIN; }
static inline int closing(uint8_t role) { return role == FSW_ENGINE_SHUTDOWN || role == FSW_ENGINE_AFTER; }
static inline int at_rest(uint8_t role) { return role == FSW_ENGINE_OFF || role == FSW_ENGINE_SAFED || role == FSW_ENGINE_INHIBITED; }
static inline int all(const fsw_proof_move_t *m, uint32_t bits) { return (m->is & bits) == bits; }
static inline int aborts(const fsw_proof_move_t *m) { return (m->is & FSW_SEQ_CMD_ABORT) != 0; }
static inline int commanded(const fsw_proof_move_t *m) { return (m->is & (FSW_SEQ_CMD_ABORT | FSW_SEQ_CMD_INHIBIT)) != 0; }
static inline int inhibits(const fsw_proof_move_t *m) { return (m->is & FSW_SEQ_CMD_INHIBIT) && !aborts(m); }
static inline int stops(const fsw_proof_move_t *m) { return active(m->role_a) && !(m->is & FSW_SEQ_CMD_RUN) && !commanded(m); }
static inline int on_fire(const fsw_proof_move_t *m) { return (m->is & FSW_SEQ_IS_FIRE) || (m->a->flags & FSW_SEQ_FIRE); }
static inline int advances(const fsw_proof_move_t *m) { return (m->is & FSW_SEQ_CMD_ADVANCE) != 0; }

/* Time and conditions to leave row a for the next are there. */
static inline int exit_due(const fsw_proof_move_t *m) { return all(m, m->ra->exit) && (m->ra->hold || m->t1 >= m->ra->min); }

/* A flame in an engine that was given up, while time passes over its shutdown, the purge after it or SAFED. */
static inline int late_flame(const fsw_proof_move_t *m)
{
  if (!(m->a->flags & FSW_SEQ_FAILED) || !(m->is & FSW_SEQ_IS_FLAME) || !advances(m)) return 0;
  return closing(m->role_a) ? !inhibits(m) : m->role_a == FSW_ENGINE_SAFED && !commanded(m);
}

/* May be given a start command, by its flags. */
static inline int able(const fsw_proof_move_t *m)
{
  uint8_t flags = m->a->flags;
  if (on_fire(m) || (flags & FSW_SEQ_ABORTED)) return 0;
  if ((flags & FSW_SEQ_FAILED) && ((flags & FSW_SEQ_LIT) || late_flame(m))) return 0;
  return m->a->starts < m->table->max_starts;
}

#endif
