/* sequencer_internal.h - one step of the task gnc.sequencer at work, shared by its files. */
#ifndef FLIGHTSW_SEQUENCER_INTERNAL_H
#define FLIGHTSW_SEQUENCER_INTERNAL_H
#include "flightsw/sequencer.h"

enum { IN_GUIDANCE, IN_NAV, IN_TOUCHDOWN, IN_CONTROL, IN_PERMIT, IN_STATUS };
enum { OUT_CMD = 0, OUT_ENGINES = 9, OUT_EVENTS = 10 };
enum { STOP_LANDED = 1, STOP_ABORT = 2 };

typedef struct { /* one step at work */
  fsw_io_t *io;
  fsw_sequencer_state_t *s;
  const fsw_sequencer_params_t *p;
  const fsw_guidance_t *g;
  const fsw_control_t *control;
  fsw_events_t *ev;
  fsw_events_t none;       /* where events go when nobody listens */
  uint32_t n;
  double dt_s;
  double mass_kg;
  double full_n;           /* N, one engine at full throttle here */
  double drag_a;           /* m/s2, drag with engines off */
  double plume;            /* 1, share of it left now */
  double lit_a;            /* m/s2, thrust of confirmed engines over mass */
  uint32_t accel_ok;       /* navigation can be believed */
  uint32_t lit, starting, ready, available;
  uint8_t advance, stop, wanted, permitted;
} fsw_seq_work_t;

static inline uint32_t bit_of(uint32_t mask, uint32_t k) { return mask >> k & 1u; }

static inline uint32_t count(uint32_t mask)
{
  uint32_t n = 0;
  for (; mask; mask &= mask - 1) n++;
  return n;
}

static inline int starting_role(uint32_t role) { return role >= FSW_ENGINE_IGNITER && role <= FSW_ENGINE_RISE; }

/* sequencer_thrust.c */

/* Mass, air, thrust and what the acceleration should be; once in a step of time. */
void fsw_seq_model(fsw_seq_work_t *w);
/* Did the specific force rise by more than the other starting engines explain? */
uint8_t fsw_seq_rose(const fsw_seq_work_t *w, uint32_t k);
/* FSW_SEQ_ACCEL_*: specific force against what it is with and without engine k. */
uint8_t fsw_seq_witness(const fsw_seq_work_t *w, uint32_t k);
/* After a step of time: thrust, and what the throttle will have reached. */
void fsw_seq_follow(fsw_seq_work_t *w, uint32_t k, const fsw_seq_measured_t *in);

#endif
