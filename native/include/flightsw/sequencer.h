/* sequencer.h - the engines of a vehicle: which of them run, and the task that runs them. The manual.
 *
 * Task gnc.sequencer (run it at 1 kHz; engines are stepped every `step_ticks` ticks, 10 ms; a changed wish of guidance, an abort, a
 * changed permit and touchdown act in the tick in which they are read).
 *   reads   guidance, nav, touchdown (optional), control (optional), permit (optional), engine_status0..8 (the first required)
 *   writes  engine_cmd0..8 (the first required), engines, seq_events (optional)
 * It is the one writer of engine commands. Where `permit` (command.h) is bound, no engine is started, and none is made ready, unless
 * firing has been permitted; an engine that runs is not stopped when the permit ends.
 *
 * One engine: the table and its step are in sequence.h, its sensing in sense.h. The table comes from the parameters seq_*, which
 * `sequence = "file.toml"` in a vehicle file fills (docs/engine-sequencing.md).
 *
 * The set of engines: guidance asks for a number. 1: the landing engine (land_order, default the one on the axis); 2: an opposite
 * pair; 3: the axis engine and a pair; and so on. Of the symmetric sets of that size whose members are all available, the one that
 * needs the fewest starts. All its starts are commanded in one tick. Engines outside the set are shut down when the set is complete.
 * If a size cannot be made for spare_wait_s (guidance may change its mind after a failure), the next larger symmetric set is used,
 * then whatever is left. A set that is ready at once goes before one that is not; a set starts when all its members are ready.
 * A single off-axis engine is not kept alone when its moment is beyond `trim_share` of the gimbal's (one of a pair is then not
 * dropped).
 * An engine that failed after lighting, caught fire or was aborted is never started again; one that did not light may be retried.
 * Sources: landings lost by an engine that did not light or died, as published (Falcon Heavy demonstration core 2018, Starship flight 3
 * 2024, New Glenn 1 2025, Zhuque-3 2025). */
#ifndef FLIGHTSW_SEQUENCER_H
#define FLIGHTSW_SEQUENCER_H
#include "flightsw/messages.h"
#include "flightsw/sense.h"
#include "flightsw/sequence.h"
#include "flightsw/task.h"

/* cffi: begin */
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
  double site_height_m;       /* [-500, 9000] = 0 : */
  /* tuning */
  double grace_s;             /* [0, 60] = 1.6 : after lighting, the ramp: expectation is what has been reached */
  double stale_s;             /* [0.001, 10] = 0.05 : without a new sample the link is stale */
  double lit_share;           /* [0.01, 1] = 0.15 : pressure over nominal that means flame */
  double rise_share;          /* [0.005, 1] = 0.02 : pressure over nominal that means a rise */
  double dead_share;          /* [0.01, 1] = 0.3 : pressure over expected that means flame-out */
  double disagree_share;      /* [0.005, 1] = 0.08 : between the two sensors, over nominal */
  double range_share;         /* [1, 100] = 8 : a pressure above, over nominal, is no measurement */
  double lit_steps;           /* [1, 100] = 2 : persistence of P and A */
  double rise_steps;          /* [1, 100] = 2 : persistence of R */
  double dead_steps;          /* [1, 60] = 3 : persistence of flame-out */
  double disqualify_steps;    /* [1, 250] = 5 : disagreement for so long disqualifies a sensor */
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
  uint32_t init_engines_on;   /* [0, 511] = 0 : bit k: engine k is running at the start */
  uint32_t ready_phase;       /* [0, 6] = 2 : from this guidance phase on engines are made ready ahead of need */
  /* the sequence of one engine, made by `sequence = "file.toml"` of a vehicle file; rows are numbered as in sequence.h */
  double seq_step_s;          /* [0.001, 1] : length of a step for which it was checked */
  double seq_min_s[13];       /* [0, 600] pad = 0 : */
  double seq_max_s[13];       /* [0, 600] pad = 0 : 0 none */
  double seq_gate_s[13];      /* [0, 600] pad = 0 : after the start command; 0 none */
  double seq_start_max_s;     /* [0.01, 600] : start command to lit, most */
  double seq_igniter_s;       /* [0.01, 600] : igniter on per start, most */
  double seq_unburnt_s;       /* [0.01, 600] : a main valve open without flame per start, most */
  double seq_rearm_s;         /* [0, 600] : in SAFED before a further start */
  double seq_recover_s;       /* [0.01, 600] : all well again before INHIBITED is left */
  double seq_cond_value[16];  /* [-1e9, 1e9] pad = 0 : compared with */
  double seq_cond_release[16];/* [-1e9, 1e9] pad = 0 : */
  double seq_cond_for_s[16];  /* [0, 10] pad = 0 : persistence */
  uint32_t seq_entry[13];     /* [0, 16777215] pad = 0 : conditions, bits of sequence.h */
  uint32_t seq_exit[13];      /* [0, 16777215] pad = 0 : */
  uint32_t seq_keep[13];      /* [0, 16777215] pad = 0 : */
  uint32_t seq_redline[13];   /* [0, 16777215] pad = 0 : */
  uint32_t seq_gate[13];      /* [0, 16777215] pad = 0 : */
  uint32_t seq_pulse[13];     /* [0, 16777215] pad = 0 : */
  uint32_t seq_recover_needs; /* [0, 16777215] : */
  uint32_t seq_steps;         /* [2, 13] : steps of the table */
  uint32_t seq_max_starts;    /* [1, 200] : start commands per engine */
  uint32_t seq_conditions;    /* [0, 16] : */
  uint8_t seq_role[13];       /* [0, 11] pad = 0 : */
  uint8_t seq_valves[13];     /* [0, 31] pad = 0 : */
  uint8_t seq_pulsed[13];     /* [0, 31] pad = 0 : */
  uint8_t seq_next[13];       /* [0, 15] pad = 0 : row */
  uint8_t seq_abort[13];      /* [0, 15] pad = 0 : row */
  uint8_t seq_hold[13];       /* [0, 1] pad = 0 : */
  uint8_t seq_cond_channel[16];/* [0, 5] pad = 0 : */
  uint8_t seq_cond_op[16];    /* [0, 1] pad = 0 : */
  uint8_t pad0[2];
} fsw_sequencer_params_t;

#define FSW_SEQ_WRONG_STEP -2     /* the task's period times step_ticks is not seq_step_s, for which the sequence was checked: the node stops */

#define FSW_SEQ_MAX_SETS 48
typedef struct {
  fsw_seq_table_t table;
  fsw_seq_sense_limits_t limits;
  fsw_seq_engine_t engine[9];
  uint32_t is[9];             /* conditions and commands of the last step */
  fsw_seq_sense_t sense[9];
  double expect[9];           /* 1, throttle through the valve's lag */
  double throttle[9];         /* 1, commanded */
  double thrust_n[9];
  double f_x;                 /* m/s2, filtered specific force along +x */
  double f_0;                 /* m/s2, measured minus modelled at the last start command */
  double scale;               /* 1, measured over modelled thrust */
  double propellant_kg;
  uint32_t status_seq[9];     /* last sample seen */
  uint32_t counter;           /* commands so far */
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
  uint8_t permitted;          /* as last acted upon */
  uint8_t told;               /* 1: no engine left has been reported */
  uint8_t bad_table;          /* 1: the table cannot be executed; nothing is ever energised */
  uint8_t pad0[4];
} fsw_sequencer_state_t;

/* Parameters -> table and limits of sensing, for steps of step_s seconds. Times are rounded to whole steps, at least one where they are not
 * zero. Returns fsw_seq_table_problem() of the table. */
uint32_t fsw_seq_table(const fsw_sequencer_params_t *p, double step_s, fsw_seq_table_t *table, fsw_seq_sense_limits_t *limits);
/* Symmetric sets from geometry or from the given order; called by the task's init. */
void fsw_seq_cluster_init(fsw_sequencer_state_t *s, const fsw_sequencer_params_t *p);
/* Engines that are to run when `wanted` are asked for: available = startable or running, running = starting or burning, lit confirmed */
uint32_t fsw_seq_choose(const fsw_sequencer_state_t *s, uint32_t wanted, uint32_t available, uint32_t running, uint32_t lit);
/* cffi: end */

void fsw_sequencer_init(void *state, const void *params);
extern const fsw_task_desc_t fsw_task_gnc_sequencer;

#endif
