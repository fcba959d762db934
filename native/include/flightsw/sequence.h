/* sequence.h - how one engine starts, runs and stops: a table, and a pure step over it.
 *
 * The sequence is data. A row is a step: the valves, igniter and purge that it energises, what must hold to enter it, to leave it, to
 * stay in it, how long it may last, which redlines are armed, and where it goes when something is wrong. The table is made from
 * parameters by fsw_seq_table(); `flightsw sequence check FILE` makes them from a TOML file, draws them, and explores every reachable
 * state under every input (proof.h).
 *
 * Three parts, so that each can be enumerated on its own:
 *   sense (sense.h)     measured values -> conditions that hold, one bit each, with their persistence
 *   step  (this file)   conditions and commands -> row, valves, counts. Knows no number but steps; everything it reads and writes is
 *                       an integer of bounded range, so its reachable states are finite: counters stop at the caps of the table
 *   cluster (sequencer.h)  which engines are to run
 * The step is explored with its condition bits free: whatever the sensing may deliver is among them.
 *
 * Rows 0 to 2 are built in: OFF, SAFED, INHIBITED, with everything closed. SAFED lasts `min` steps before a further start; INHIBITED is left
 * for OFF after `min` steps in a row in which its `exit` conditions held, when its cause can pass. The steps of the table follow, each in a role (FSW_ENGINE_* of
 * messages.h), in this order of roles; a role may have several steps or none (but MAIN exactly one, and at least one of SHUTDOWN):
 *   CHECK, PURGE, CHILL   preparation; nothing is admitted. Not wanted any more: OFF. Keep condition lost, limit or fire: abort path.
 *                         The last of them holds (`hold`) until RUN is commanded: READY while its exit conditions hold
 *   IGNITER, LEAD, RISE   the start. Counted when it begins, before anything is energised. Not wanted any more: SHUTDOWN
 *   MAIN                  lit; without limit of time
 *   SHUTDOWN              can only close: a valve is open in it when it was open before and the row allows it
 *   AFTER                 purge after a shutdown (role FSW_ENGINE_AFTER)
 * Of several reasons to leave a row the gravest is told and acted upon: in a command ABORT, then INHIBIT, then a stop; in a row a redline
 * (flame-out before others), fire, a lost keep condition (the link before others), unburnt propellant, igniter time; then its exit; then the
 * time of the start, the gate, and the time of the row.
 * Commands act in the step in which they are given, also between two steps of time (ADVANCE not set):
 *   ABORT    everything closed, also igniter and purge, as long as it stands; the engine is never started again. Legal in every state,
 *            idempotent, waits for nothing
 *   INHIBIT  everything closed, not to be used while it stands
 *   RUN      start when ready, stay in main stage; READY: purge, chill and hold; neither: off
 * A corrupted state (its check word is wrong) closes everything and is never left.
 * Sources: D. K. Huzel and D. H. Huang, Modern Engineering for Design of Liquid-Propellant Rocket Engines (1992), ch. 2 (start and
 * shutdown sequences); NASA NPR 7150.2D, SWE-134 (safety-critical software: known safe state, inhibits, two-step commands). */
#ifndef FLIGHTSW_SEQUENCE_H
#define FLIGHTSW_SEQUENCE_H
#include <stdint.h>

#include "flightsw/messages.h"

/* cffi: begin */
#define FSW_SEQ_ROWS 16
#define FSW_SEQ_STEPS 13          /* rows behind the three built in */
#define FSW_SEQ_ROW_OFF 0
#define FSW_SEQ_ROW_SAFED 1
#define FSW_SEQ_ROW_INHIBITED 2
#define FSW_SEQ_ROW_FIRST 3       /* of the table's own */

/* what holds: bits of `is` */
#define FSW_SEQ_IS_LINK 1u        /* the controller's samples arrive and it vouches for them */
#define FSW_SEQ_IS_FIRE 2u        /* bay temperature switch */
#define FSW_SEQ_IS_IGNITER 4u     /* igniter draws its current */
#define FSW_SEQ_IS_QUIET 8u       /* a usable pressure sensor lives and reads about nothing */
#define FSW_SEQ_IS_LIT 16u        /* ignition decided: truth table of pressure and acceleration (sense.h) */
#define FSW_SEQ_IS_SIGN 32u       /* a sign of light: rising pressure or acceleration */
#define FSW_SEQ_IS_FLAME 64u      /* pressure says that something burns */
#define FSW_SEQ_IS_OUT 128u       /* flame-out decided by the three witnesses (sense.h) */
#define FSW_SEQ_FIRST_CONDITION 8 /* bits 8 to 23: comparisons of the table, in their order */
#define FSW_SEQ_CONDITIONS 16
#define FSW_SEQ_IS_MASK 0xffffffu
/* commands: bits of `is` too */
#define FSW_SEQ_CMD_READY 0x1000000u
#define FSW_SEQ_CMD_RUN 0x2000000u
#define FSW_SEQ_CMD_ABORT 0x4000000u
#define FSW_SEQ_CMD_INHIBIT 0x8000000u
#define FSW_SEQ_CMD_ADVANCE 0x10000000u /* a step of time; without it only commands act */

/* flags of an engine */
#define FSW_SEQ_LIT 1             /* burnt since its last start command: main stage reached, or signs of flame */
#define FSW_SEQ_FAILED 2          /* did not light or died */
#define FSW_SEQ_FIRE 4            /* bay temperature switch seen: never started again */
#define FSW_SEQ_READY 8           /* holds, and its exit conditions hold */
#define FSW_SEQ_ABORTED 16        /* never started again */
#define FSW_SEQ_GATED 32          /* the gate of this row has been passed */

/* causes, in events ENGINE_INHIBITED and ENGINE_ABORT and in fsw_engines_t */
#define FSW_SEQ_CAUSE_NONE 0
#define FSW_SEQ_CAUSE_COMMAND 1
#define FSW_SEQ_CAUSE_STALE 2     /* link lost before commitment */
#define FSW_SEQ_CAUSE_CHECK 3     /* an entry check, or a check's time limit */
#define FSW_SEQ_CAUSE_CHILL 4     /* a purge's or chill's time limit or keep condition */
#define FSW_SEQ_CAUSE_IGNITER 5   /* igniter not confirmed, lost, or on for too long */
#define FSW_SEQ_CAUSE_LEAD 6
#define FSW_SEQ_CAUSE_UNBURNT 7   /* limit on unburnt propellant */
#define FSW_SEQ_CAUSE_NO_LIGHT 8
#define FSW_SEQ_CAUSE_DIED 9
#define FSW_SEQ_CAUSE_REDLINE 10
#define FSW_SEQ_CAUSE_FIRE 11
#define FSW_SEQ_CAUSE_ABORT 12
#define FSW_SEQ_CAUSE_INHIBIT 13
#define FSW_SEQ_CAUSE_CORRUPT 14

typedef struct { /* one row; times in steps; 36 bytes */
  uint32_t entry;             /* IS bits, all needed to enter it from the row before, else that row's abort path */
  uint32_t exit;              /* all needed to leave it for `next`, at or after `min`; 0: `min` alone */
  uint32_t keep;              /* all needed in it */
  uint32_t redline;           /* any of them ends it */
  uint32_t gate;              /* any of them needed `gate_t` steps after the start command; asked once */
  uint32_t pulse;             /* while all of them hold, the valves `pulsed` rest; 0: never */
  uint16_t min;
  uint16_t max;               /* 0: none, in MAIN; in a start row `start_max` alone. A hold: until ready. SHUTDOWN, AFTER: goes on */
  uint16_t gate_t;            /* 0: no gate */
  uint8_t role;               /* FSW_ENGINE_* */
  uint8_t valves;             /* FSW_VALVE_* to energise */
  uint8_t pulsed;             /* of them */
  uint8_t next;               /* row */
  uint8_t abort;              /* row, when something is wrong; INHIBITED or SAFED for preparation, a SHUTDOWN row behind it */
  uint8_t hold;               /* 1: leaves only on command RUN */
} fsw_seq_row_t;

typedef struct {
  fsw_seq_row_t row[16];
  uint16_t start_max;         /* from the start command to lit, most */
  uint16_t igniter_limit;     /* igniter on per start, most */
  uint16_t unburnt_limit;     /* a main valve open without flame per start, most */
  uint8_t n_rows;
  uint8_t max_starts;
} fsw_seq_table_t;

typedef struct { /* one engine, 20 bytes; all zero with its check word is OFF */
  uint16_t t;                 /* steps in this row, stops at the greatest limit of the row */
  uint16_t t_start;           /* since the start command; this and the next two are 0 outside of IGNITER, LEAD and RISE and stop at their limits */
  uint16_t igniter;           /* igniter on in this start */
  uint16_t unburnt;           /* a main valve open and no flame in this start */
  uint8_t row;
  uint8_t flags;
  uint8_t cause;              /* why it was last left for a SHUTDOWN or INHIBITED */
  uint8_t valves;             /* energised */
  uint8_t starts;             /* start commands so far */
  uint8_t pad0[3];
  uint32_t check;             /* over the fields before: a flipped bit is noticed */
} fsw_seq_engine_t;

#define FSW_SEQ_OUT_EVENTS 4
typedef struct {
  uint16_t code[4];           /* FSW_EVENT_*, in their order */
  uint8_t n_events;
  uint8_t valves;             /* to energise */
  uint8_t from;               /* row before the step */
  uint8_t pad0;
  uint16_t t_start;           /* steps since the start command, before the counters of a start that is over are cleared */
} fsw_seq_out_t;

/* One step of one engine. Pure: the result depends on the arguments alone. Never blocks, never fails. is: IS and CMD bits. */
void fsw_seq_step(fsw_seq_engine_t *s, uint32_t is, const fsw_seq_table_t *table, fsw_seq_out_t *out);
void fsw_seq_engine_init(fsw_seq_engine_t *s);
uint32_t fsw_seq_check_word(const fsw_seq_engine_t *s);
/* 1 when this engine may be given a start command, now or after getting ready. */
uint32_t fsw_seq_startable(const fsw_seq_engine_t *s, const fsw_seq_table_t *table);
/* Role (FSW_ENGINE_*) that an engine is in. */
uint32_t fsw_seq_role(const fsw_seq_engine_t *s, const fsw_seq_table_t *table);
/* Condition bits that the step looks at in a row; all others make no difference there. */
uint32_t fsw_seq_watched(const fsw_seq_table_t *table, uint32_t row);
/* 0, or 1 + the number of the first row that cannot be executed (row out of range, role out of order, a preparation or an AFTER that
 * opens a main valve or lights the igniter, a step without a limit, a way back). What it accepts, fsw_seq_step can be given; whether it is safe, proof.h tells. */
uint32_t fsw_seq_table_problem(const fsw_seq_table_t *table);
/* cffi: end */

#endif
