/* sequencer.h - engine start, run and shutdown, and the choice of engines: the manual.
 *
 * Task gnc.sequencer (run it at 1 kHz; engines are stepped every `step_ticks` ticks, 10 ms; a changed wish of guidance, an abort and
 * touchdown act in the tick in which they are read).
 *   reads   guidance, nav, touchdown (optional), control (optional), engine_status0..8 (the first required)
 *   writes  engine_cmd0..8 (the first required), engines, seq_events (optional)
 *
 * One engine: fsw_seq_step(), a pure function on a state of 32 bytes, so that every reachable state can be enumerated.
 *
 *   OFF -> CHECK -> PURGE -> CHILL ..ready.. -> IGNITER -> LEAD -> RISE -> MAIN -> SHUTDOWN -> PURGE -> SAFED (-> CHECK)
 *                                                       any of them -> SHUTDOWN, INHIBITED
 *   CHECK     link fresh, sample valid, no fire, an inlet pressure, a chamber pressure near zero
 *   PURGE     purge valve for purge_s
 *   CHILL     chill valve until the pump is colder than chill_limit_k - chill_margin_k; then it holds there (valve pulsing), ready as
 *             long as the inlet pressure is sufficient too (propellant settled)
 *   IGNITER   igniter on, confirmed by its current; the start is counted before anything is energised
 *   LEAD      first propellant (oxidiser, or fuel with lead_fuel) for lead_s
 *   RISE      both valves; decided by chamber pressure and acceleration together, see below
 *   MAIN      igniter off
 *   SHUTDOWN  oxidiser valve first, fuel valve after shutdown_lag_s: never opens a valve
 *   SAFED     everything closed. A commanded shutdown, or a start that never lit, may be followed by another start
 *   INHIBITED not available: fire, corrupted state, failed checks, stale link. The last two are left again when all is well.
 *             Valves are closed in OFF, CHECK, SAFED and INHIBITED, and after an abort.
 * A ready engine takes igniter confirmation (two steps) and lead (one step): start command to both main valves within 50 ms.
 * The waiting states CHILL (ready) and MAIN have no time limit; every other state has one.
 *
 * Was it lit? Truth table over P (chamber pressure above lit_share), R (above rise_share), A (measured axial acceleration rose by
 * what an engine gives), each held for some steps:
 *   both sensors agree:  P and A -> lit          P alone, twice as long -> lit (the plume takes drag away and can hide A)
 *   they disagree:       one says P, and A -> lit
 *   none usable, link stale:  A, four times as long -> lit
 *   decide_s after the start command: neither R nor A -> no light; R or A -> it has until start_max_s, then P or no light
 * An engine that lights after it was given up finds its valves closed and is marked as having burnt: never started again.
 * Did it die? Three witnesses in MAIN: sensor A below dead_share of what is expected, sensor B, acceleration (lost / healthy /
 * unknown). Both sensors for dead_steps and acceleration not healthy -> died. One sensor and acceleration, 4 x dead_steps -> died.
 * One witness alone never shuts an engine down. A qualified sensor is finite and in range; of two that disagree, the one nearer to
 * the expectation is used. Redline: both sensors above redline_share for redline_steps.
 * Unburnt propellant (a main valve open without flame) and igniter time have limits of their own, whatever the state.
 *
 * The set of engines: guidance asks for a number. 1: the landing engine (land_order, default the one on the axis); 2: an opposite
 * pair; 3: the axis engine and a pair; and so on. Of the symmetric sets of that size whose members are all available, the one that
 * needs the fewest starts. All its starts are commanded in one tick. Engines outside the set are shut down when the set is complete.
 * If a size cannot be made for spare_wait_s (guidance may change its mind after a failure), the next larger symmetric set is used,
 * then whatever is left. A set that is ready at once goes before one that is not; a set starts when all its members are ready.
 * A single off-axis engine is not kept alone when its moment is beyond `trim_share` of the gimbal's (one of a pair is then not
 * dropped).
 * Sources: landings lost by an engine that did not light or died, as published (Falcon Heavy demonstration core 2018, Starship flight 3
 * 2024, New Glenn 1 2025, Zhuque-3 2025); D. K. Huzel and D. H. Huang, Modern Engineering for Design of Liquid-Propellant Rocket
 * Engines (1992), ch. 2 (start and shutdown sequences). */
#ifndef FLIGHTSW_SEQUENCER_H
#define FLIGHTSW_SEQUENCER_H
#include "flightsw/messages.h"
#include "flightsw/task.h"

/* cffi: begin */
#define FSW_SEQ_WANT_OFF 0
#define FSW_SEQ_WANT_READY 1   /* purge, chill and hold */
#define FSW_SEQ_WANT_RUN 2

#define FSW_SEQ_LIT 1          /* burnt since its last check */
#define FSW_SEQ_FAILED 2       /* did not light or died */
#define FSW_SEQ_FIRE 4         /* bay temperature switch seen: never started again */
#define FSW_SEQ_READY 8        /* in CHILL, cold */
#define FSW_SEQ_ABORTED 16     /* never started again */
#define FSW_SEQ_DISAGREE 32    /* pressure sensors disagree */
#define FSW_SEQ_AFTER 64       /* PURGE after a shutdown */
#define FSW_SEQ_LATE 128       /* start prolonged: signs of light at the decision */

#define FSW_SEQ_ACCEL_UNKNOWN 0
#define FSW_SEQ_ACCEL_HEALTHY 1
#define FSW_SEQ_ACCEL_LOST 2

/* causes, in events ENGINE_INHIBITED and ENGINE_ABORT */
#define FSW_SEQ_CAUSE_NONE 0
#define FSW_SEQ_CAUSE_COMMAND 1
#define FSW_SEQ_CAUSE_STALE 2
#define FSW_SEQ_CAUSE_CHECK 3
#define FSW_SEQ_CAUSE_CHILL 4
#define FSW_SEQ_CAUSE_IGNITER 5
#define FSW_SEQ_CAUSE_LEAD 6
#define FSW_SEQ_CAUSE_UNBURNT 7
#define FSW_SEQ_CAUSE_NO_LIGHT 8
#define FSW_SEQ_CAUSE_DIED 9
#define FSW_SEQ_CAUSE_REDLINE 10
#define FSW_SEQ_CAUSE_FIRE 11
#define FSW_SEQ_CAUSE_ABORT 12
#define FSW_SEQ_CAUSE_INHIBIT 13
#define FSW_SEQ_CAUSE_CORRUPT 14
#define FSW_SEQ_CAUSE_STARTS 15

typedef struct { /* one engine, 32 bytes; all zero with its check word is OFF */
  uint16_t t;                 /* steps in this state */
  uint16_t t_start;           /* steps since the start command */
  uint16_t igniter;           /* steps the igniter has been on in this start */
  uint16_t unburnt;           /* steps with a main valve open and no flame in this start */
  uint16_t peak;              /* 1e-3 of nominal, highest pressure since lighting */
  uint16_t t_main;            /* steps since lighting */
  uint8_t state;              /* FSW_ENGINE_* */
  uint8_t flags;
  uint8_t cause;              /* why it left, FSW_SEQ_CAUSE_* */
  uint8_t valves;             /* commanded */
  uint8_t starts;             /* start commands so far */
  uint8_t n_p;                /* steps in a row: pressure above lit_share */
  uint8_t n_r;                /* above rise_share */
  uint8_t n_a;                /* acceleration rose */
  uint8_t n_low;              /* both sensors low */
  uint8_t n_low1;             /* one sensor low and acceleration lost */
  uint8_t n_red;              /* above the redline */
  uint8_t n_ok;               /* checks passed */
  uint8_t n_dis;              /* sensors disagree */
  uint8_t pad0;
  uint16_t pad1;
  uint32_t check;             /* over the words before: a flipped bit is noticed */
} fsw_seq_engine_t;

typedef struct {
  double pc_a;                /* 1, chamber pressures over nominal */
  double pc_b;
  double expect;              /* 1, what the throttle promises */
  double inlet_pa;
  double chill_k;
  uint8_t want;               /* FSW_SEQ_WANT_* */
  uint8_t abort;              /* 1: everything closed now */
  uint8_t inhibit;            /* 1: not to be used; closes a running engine */
  uint8_t fresh;              /* 1: the link delivers */
  uint8_t valid;              /* 1: the controller vouches for its sample */
  uint8_t igniter_ok;
  uint8_t fire;
  uint8_t accel_rose;         /* 1: acceleration rose by what this engine gives */
  uint8_t accel;              /* FSW_SEQ_ACCEL_* */
  uint8_t advance;            /* 1: a step of time; 0: only commands act */
  uint8_t pad0[6];
} fsw_seq_in_t;

#define FSW_SEQ_OUT_EVENTS 3
typedef struct {
  double arg0[3];
  double arg1[3];
  double pc;                  /* 1, qualified chamber pressure over nominal */
  uint16_t code[3];           /* FSW_EVENT_* */
  uint8_t n_events;
  uint8_t valves;             /* to energise */
} fsw_seq_out_t;

typedef struct { /* limits in steps, made from the task's parameters by fsw_seq_limits() */
  double step_s;
  double pc_mpa;              /* MPa, nominal, for event texts */
  double inlet_min_pa;
  double chill_ready_k;
  double lit_share, rise_share, dead_share, redline_share, disagree_share;
  uint16_t check_min, check_max, purge, chill_max, igniter_min, igniter_max, lead, lead_max;
  uint16_t decide, start_max, grace, igniter_limit, unburnt_limit, shutdown, shutdown_lag, after, rearm, recover;
  uint8_t lit_steps, rise_steps, dead_steps, redline_steps;
  uint8_t max_starts, lead_fuel;
  uint8_t pad0[6];
} fsw_seq_limits_t;

typedef struct {
  /* vehicle: the shared constants */
  double engine_x_m;          /* [-200, 200] = 0 : gimbal plane ahead of the body origin */
  double engine_y_m[9];       /* [-50, 50] pad = 0 : */
  double engine_z_m[9];       /* [-50, 50] pad = 0 : */
  double engine_gimballed[9]; /* [0, 1] pad = 1 : */
  double engine_restartable[9];/* [0, 1] pad = 1 : 1 where engine k may be started by this task */
  double engine_inhibited[9]; /* [0, 1] pad = 0 : 1 keeps engine k out of use from the start */
  double thrust_sl_n;         /* [1, 1e8] : one engine, sea level */
  double thrust_vac_n;        /* [0, 1e8] = 0 : in vacuum; 0: equal to thrust_sl_n */
  double isp_sl_s;            /* [1, 1000] = 280 : */
  double pc_nominal_pa;       /* [1000, 1e9] = 10e6 : chamber pressure at full throttle */
  double throttle_min;        /* [0.01, 1] = 0.5 : */
  double throttle_lag_s;      /* [0, 10] = 0.15 : */
  double gimbal_max_deg;      /* [0, 45] = 7 : */
  double mass_dry_kg;         /* [1, 1e7] : */
  double propellant_kg;       /* [0, 1e7] = 0 : at the start of the run */
  double dry_cm_x_m;          /* [-200, 200] = 0 : */
  double plume_factor;        /* [0, 2] = 1 : drag left while engines run */
  double drag_area_m2;        /* [0, 1e4] = 18 : drag area with engines off, tail first */
  double inlet_min_pa;        /* [0, 1e7] = 2e5 : below this no start */
  double chill_limit_k;       /* [20, 400] = 120 : a warmer pump does not start */
  double site_height_m;       /* [-500, 9000] = 0 : */
  /* tuning */
  double chill_margin_k;      /* [0, 100] = 4 : colder than the limit by this: ready */
  double check_s;             /* [0, 10] = 0.03 : checks passed for this long */
  double check_max_s;         /* [0.01, 60] = 2 : or the engine is inhibited until they are */
  double purge_s;             /* [0, 60] = 0.5 : before chill */
  double chill_max_s;         /* [0.1, 600] = 30 : */
  double igniter_max_s;       /* [0.02, 10] = 0.2 : to confirm the igniter */
  double lead_s;              /* [0, 10] = 0.01 : first propellant alone */
  double decide_s;            /* [0.1, 30] = 1.25 : start command to decision */
  double start_max_s;         /* [0.1, 60] = 2.2 : for a start with signs of light */
  double grace_s;             /* [0, 60] = 1.6 : after lighting, the ramp: expectation is what has been reached */
  double igniter_limit_s;     /* [0.1, 60] = 2.4 : igniter on per start */
  double unburnt_limit_s;     /* [0.01, 60] = 1.3 : main valve open without flame */
  double shutdown_lag_s;      /* [0, 10] = 0.02 : fuel valve after oxidiser valve */
  double shutdown_s;          /* [0.01, 60] = 0.3 : until the purge */
  double after_purge_s;       /* [0, 60] = 1 : purge after a shutdown */
  double rearm_s;             /* [0, 60] = 0.2 : in SAFED before a further start */
  double recover_s;           /* [0.01, 60] = 0.2 : all well again before INHIBITED is left */
  double stale_s;             /* [0.001, 10] = 0.05 : without a new sample the link is stale */
  double lit_share;           /* [0.01, 1] = 0.15 : pressure over nominal that means flame */
  double rise_share;          /* [0.005, 1] = 0.02 : pressure over nominal that means a rise */
  double dead_share;          /* [0.01, 1] = 0.3 : pressure over expected that means flame-out */
  double redline_share;       /* [0.5, 10] = 1.3 : pressure over nominal */
  double disagree_share;      /* [0.005, 1] = 0.08 : between the two sensors, over nominal */
  double lit_steps;           /* [1, 100] = 2 : persistence of P and A */
  double rise_steps;          /* [1, 100] = 2 : persistence of R */
  double dead_steps;          /* [1, 60] = 3 : persistence of flame-out */
  double redline_steps;       /* [1, 100] = 12 : persistence of the redline; rides out the spike of a hard start */
  double accel_lit_m_s2;      /* [0.01, 100] = 0.8 : rise of specific force that counts */
  double accel_tau_s;         /* [0, 10] = 0.03 : filter on the measured specific force */
  double accel_trust_share;   /* [0, 1] = 0.05 : correction of estimated thrust by measured acceleration, most; 0: none */
  double low_thrust_share;    /* [0.1, 1] = 0.9 : of the command: reported as weak below */
  double spare_wait_s;        /* [0, 10] = 0.1 : before another number of engines than asked for is used */
  double throttle_start;      /* [0.01, 1] = 0.8 : for a start when control says nothing */
  double trim_share;          /* [0, 2] = 0.7 : of the gimbal range that a lone off-axis engine may need */
  double rho0_kg_m3;          /* [0, 10] = 1.225 : exponential atmosphere */
  double scale_height_m;      /* [100, 100000] = 8500 : */
  double land_order[9];       /* [-1, 8] pad = -1 : engines to land on alone, best first; all -1: those on the axis */
  double pair_a[4];           /* [-1, 8] pad = -1 : opposite pairs, best first; all -1: from the geometry */
  double pair_b[4];           /* [-1, 8] pad = -1 : */
  uint32_t n_engines;         /* [1, 9] : */
  uint32_t step_ticks;        /* [1, 1000] = 10 : ticks between steps of the engines */
  uint32_t max_starts;        /* [1, 200] = 3 : start commands per engine */
  uint32_t lead_fuel;         /* [0, 1] = 0 : 1 fuel first, 0 oxidiser first */
  uint32_t init_engines_on;   /* [0, 511] = 0 : bit k: engine k is running at the start */
  uint32_t ready_phase;       /* [0, 6] = 2 : from this guidance phase on engines are made ready ahead of need */
} fsw_sequencer_params_t;

#define FSW_SEQ_MAX_SETS 48
typedef struct {
  fsw_seq_engine_t engine[9];
  fsw_seq_limits_t limits;
  double expect[9];           /* 1, throttle through the valve's lag */
  double throttle[9];         /* 1, commanded */
  double pc[9];               /* 1, qualified, over nominal */
  double thrust_n[9];
  double f_x;                 /* m/s2, filtered specific force along +x */
  double f_0;                 /* m/s2, measured minus modelled at the last start command */
  double scale;               /* 1, measured over modelled thrust */
  double propellant_kg;
  uint32_t status_seq[9];     /* last sample seen */
  uint32_t counter;           /* commands so far */
  uint32_t pad1;
  uint16_t age[9];            /* steps since the last new sample */
  uint16_t weak[9];           /* steps with thrust below its command */
  uint16_t stale_steps;
  uint16_t weak_steps;
  uint16_t wait_steps;
  uint16_t sets[48];          /* symmetric sets, by size, best first */
  uint16_t run_mask;          /* engines that are to run */
  uint16_t startable_mask;    /* may be started by this task at all */
  uint16_t lone_mask;         /* may burn alone */
  uint16_t short_steps;       /* steps with fewer engines to be had than guidance asks for */
  uint16_t phase_step;        /* ticks since the last step */
  uint8_t n_sets;
  uint8_t wanted;             /* as last acted upon */
  uint8_t stop;               /* 1 landed, 2 abort, as last acted upon */
  uint8_t told;               /* 1: no engine left has been reported */
  uint8_t pad0[4];
} fsw_sequencer_state_t;

/* One step of one engine. Pure: the result depends on the arguments alone; never blocks, never fails. */
void fsw_seq_step(fsw_seq_engine_t *s, const fsw_seq_in_t *in, const fsw_seq_limits_t *p, fsw_seq_out_t *out);
void fsw_seq_engine_init(fsw_seq_engine_t *s);
uint32_t fsw_seq_check_word(const fsw_seq_engine_t *s);
/* 1 when this engine may be given a start command, now or after getting ready */
uint32_t fsw_seq_startable(const fsw_seq_engine_t *s, const fsw_seq_limits_t *p);
void fsw_seq_limits(const fsw_sequencer_params_t *p, double step_s, fsw_seq_limits_t *out);
/* Symmetric sets from geometry or from the given order; called by the task's init. */
void fsw_seq_cluster_init(fsw_sequencer_state_t *s, const fsw_sequencer_params_t *p);
/* Engines that are to run when `wanted` are asked for: available = startable or running, running = starting or burning, lit confirmed */
uint32_t fsw_seq_choose(const fsw_sequencer_state_t *s, uint32_t wanted, uint32_t available, uint32_t running, uint32_t lit);
/* cffi: end */

void fsw_sequencer_init(void *state, const void *params);
extern const fsw_task_desc_t fsw_task_gnc_sequencer;

#endif
