/* sense.h - from what is measured of one engine to the condition bits of its sequence (sequence.h).
 *
 * Two pressure sensors to one pressure. A sensor is qualified when its sample is fresh, finite, in range, and it has not been
 * disqualified: of two that differ by more than disagree_share for disqualify_steps, the one further from what the throttle promises is
 * disqualified (without a main stage: the one that acceleration contradicts), until both agree again as long, near the promise; a lone
 * sensor above what the throttle promises is disqualified while acceleration says HEALTHY, that is, neither less nor more than promised. Neither usable: limits on
 * pressure are inhibited, and acceleration decides.
 *   q->pc      qualified pressure over nominal: mean of two that agree, else the one in use
 *   low, high  least and greatest of the qualified ones
 *
 * Conditions of the table are comparisons of a channel with a number, each with a persistence in steps: the bit is set when the
 * comparison has held in that many samples in a row, and cleared at once - or, with `release` beyond `value`, when it is passed. What is
 * asked of pressure must be true of every qualified sensor: of the least for `above`, of the greatest for `below`. A comparison whose
 * measurement is missing, stale or no number does not hold. A condition that its row does not watch starts counting anew.
 *
 * Was it lit (IS_LIT)? Truth table over P (chamber pressure above lit_share), R (above rise_share), A (measured axial acceleration rose
 * by what an engine gives), each held for some steps:
 *   both sensors usable:  P of both and A -> lit;  P of both alone, twice as long -> lit (the plume takes drag away and can hide A)
 *                         P of one and A -> lit
 *   one usable:           P and A -> lit;  P alone, four times as long -> lit
 *   none usable:          A, four times as long -> lit
 *   IS_SIGN               R or A
 * Did it die (IS_OUT)? Three witnesses in MAIN: sensor A below dead_share of what is expected, sensor B, acceleration (lost / healthy /
 * unknown). Both sensors for dead_steps and acceleration not healthy -> died. One sensor, or none usable, and acceleration lost, 4 x
 * dead_steps -> died (dead_steps after the bay temperature switch has tripped). One witness alone never shuts an engine down.
 * During the ramp (grace) the expectation is the highest pressure reached.
 * IS_FLAME: R, or MAIN. In SHUTDOWN and later it means a flame that comes too late: both sensors above twice
 * rise_share for rise_steps. */
#ifndef FLIGHTSW_SENSE_H
#define FLIGHTSW_SENSE_H
#include "flightsw/sequence.h"

/* cffi: begin */
#define FSW_SEQ_ACCEL_UNKNOWN 0
#define FSW_SEQ_ACCEL_HEALTHY 1
#define FSW_SEQ_ACCEL_LOST 2
#define FSW_SEQ_ACCEL_EXCESS 3      /* healthy, and more thrust than promised */

/* channels of conditions */
#define FSW_SEQ_CHANNEL_PC 0        /* 1, chamber pressure over nominal, of every qualified sensor */
#define FSW_SEQ_CHANNEL_INLET 1     /* Pa */
#define FSW_SEQ_CHANNEL_PUMP 2      /* K, pump temperature */
#define FSW_SEQ_CHANNEL_THROTTLE 3  /* 1, throttle valve position */
#define FSW_SEQ_CHANNEL_AXIAL 4     /* m/s2, specific force along the stage axis */
#define FSW_SEQ_CHANNEL_PC_OVER 5   /* 1, chamber pressure minus what the throttle promises, over nominal */
#define FSW_SEQ_CHANNELS 6
#define FSW_SEQ_BELOW 0             /* channel <= value */
#define FSW_SEQ_ABOVE 1             /* channel >= value */

typedef struct {
  double value;
  double release;             /* once it holds, it holds until this is passed; equal to value: none */
  uint8_t channel;
  uint8_t op;
  uint8_t persist;            /* samples in a row, 1 to 250 */
  uint8_t pad0[5];
} fsw_seq_condition_t;

typedef struct { /* limits of sensing, in shares of nominal pressure and in steps */
  fsw_seq_condition_t condition[16];
  double lit_share, rise_share, dead_share, disagree_share;
  double range_share;         /* a pressure above is no measurement */
  uint16_t grace;             /* steps of MAIN in which the ramp goes on */
  uint8_t lit_steps, rise_steps, dead_steps, disqualify_steps;
  uint8_t n_conditions;
  uint8_t pad0;
} fsw_seq_sense_limits_t;

typedef struct {
  double pc_a;                /* 1, chamber pressures over nominal */
  double pc_b;
  double expect;              /* 1, what the throttle promises */
  double inlet_pa;
  double pump_k;
  double throttle;            /* 1, valve position measured */
  double axial_m_s2;          /* not a number: unknown */
  uint8_t fresh;              /* 1: the link delivers */
  uint8_t valid;              /* 1: the controller vouches for its sample */
  uint8_t igniter_ok;
  uint8_t fire;
  uint8_t accel_rose;         /* 1: acceleration rose by what this engine gives */
  uint8_t accel;              /* FSW_SEQ_ACCEL_* */
  uint8_t pad0[2];
} fsw_seq_measured_t;

#define FSW_SEQ_SENSE_DISAGREE 1  /* sensors disagree, said */
#define FSW_SEQ_SENSE_A_OUT 2     /* sensor A disqualified */
#define FSW_SEQ_SENSE_B_OUT 4

typedef struct { /* of one engine; all zero with its check word is the start */
  double pc;                  /* 1, qualified pressure over nominal, of the last sample */
  uint32_t held;              /* conditions that hold, bits as in `is` */
  uint16_t peak;              /* 1e-3 of nominal, highest pressure since lighting */
  uint16_t t_main;            /* steps in MAIN */
  uint8_t count[16];          /* samples in a row, per condition */
  uint8_t n_p, n_r, n_a;      /* pressure above lit_share, above rise_share, acceleration rose */
  uint8_t n_low, n_low1;      /* both sensors low; one low and acceleration lost */
  uint8_t n_dis, n_agree;     /* sensors disagree, agree */
  uint8_t n_late;             /* a flame that comes too late */
  uint8_t row;                /* of the last sample */
  uint8_t flags;              /* FSW_SEQ_SENSE_* */
  uint8_t sensor;             /* in use where they disagree: 0 A, 1 B */
  uint8_t n_lone;             /* a lone sensor above its promise, acceleration healthy */
  uint32_t check;             /* a flipped bit is noticed: everything is counted anew */
} fsw_seq_sense_t;

/* One sample of one engine -> IS bits. Counters of an ignition, of MAIN, of what comes after begin anew with the role. */
uint32_t fsw_seq_sense(fsw_seq_sense_t *q, const fsw_seq_engine_t *e, const fsw_seq_measured_t *m, const fsw_seq_table_t *table,
                       const fsw_seq_sense_limits_t *limits);
void fsw_seq_sense_init(fsw_seq_sense_t *q);
uint32_t fsw_seq_sense_check(const fsw_seq_sense_t *q);
/* Persistence of one comparison: the counter after a sample; it holds at `persist`. Enumerated apart (proof.h). */
uint8_t fsw_seq_persist(uint8_t count, uint32_t raw, uint8_t persist);
/* cffi: end */

#endif
