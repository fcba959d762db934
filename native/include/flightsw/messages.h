/* messages.h - every message of the package, once.
 *
 * Each struct here is at the same time the bus topic, the payload of a link frame, the CDR payload of a log record and
 * (through cffi) the numpy dtype. Rules, checked by a test: naturally aligned, no implicit padding, no pointer, enum, long,
 * char or bit-field, one-dimensional arrays only, at most 608 bytes, lower-case field names. Little-endian on wire and in log.
 *
 * Frames: e Earth-fixed (ECEF, WGS-84); l landing site (east, north, up; origin at the pad centre on its surface);
 * b body (origin in the centre of the foot plane, x forward along the stage axis, y and z completing a right-handed triad).
 * r_bl_l is the position of B relative to L in L. q_be (scalar first) is the attitude of B relative to E: it takes the
 * components of a vector in B to its components in E, v_e = q_be v_b q_be*. omega_bi_b is the rate of B relative to the
 * inertial frame in B. t_ns is mission elapsed time; t_valid_ns says to which instant the content belongs.
 * The comment after a field gives unit and meaning. */
#ifndef FLIGHTSW_MESSAGES_H
#define FLIGHTSW_MESSAGES_H
#include <stdint.h>

/* cffi: begin */
#define FSW_MAX_ENGINES 9
#define FSW_MAX_GIMBAL 18
#define FSW_MAX_FINS 4
#define FSW_MAX_THRUSTERS 16
#define FSW_MAX_LEGS 4
#define FSW_MAX_MESSAGE 608

/* ---- what the boards measure ------------------------------------------------------------------------------------ */

typedef struct { /* inertial measurement unit: increments over one sample interval, at the unit, body axes */
  int64_t t_valid_ns;  /* ns, end of the interval */
  double dtheta_b[3];  /* rad, integrated angular rate relative to the inertial frame */
  double dv_b[3];      /* m/s, integrated specific force */
  uint32_t seq;        /* sample counter of the unit */
  uint8_t valid;       /* 1 when the unit vouches for the sample */
  uint8_t saturated;   /* bit 0-2 gyro x y z, bit 3-5 accelerometer x y z at its limit */
  uint8_t pad0[2];
} fsw_imu_t;

typedef struct { /* GNSS receiver: antenna position and velocity */
  int64_t t_valid_ns;
  double r_e[3];       /* m, antenna, Earth-fixed */
  double v_e[3];       /* m/s, antenna, relative to the Earth, Earth-fixed axes */
  double sigma_r_m[3]; /* m, stated 1-sigma, north east down */
  double sigma_v_m_s[3];/* m/s, stated 1-sigma, north east down */
  uint32_t seq;
  uint8_t valid;
  uint8_t satellites;
  uint8_t pad0[2];
} fsw_gnss_t;

typedef struct { /* radar altimeter: slant range along -x of the body to the pad plane */
  int64_t t_valid_ns;
  double range_m;      /* m */
  uint32_t seq;
  uint8_t valid;       /* 1 when locked */
  uint8_t pad0[3];
} fsw_radalt_t;

typedef struct { /* barometer */
  int64_t t_valid_ns;
  double p_pa;         /* Pa, static pressure */
  uint32_t seq;
  uint8_t valid;
  uint8_t pad0[3];
} fsw_baro_t;

typedef struct { /* attitude from outside the navigation filter: star tracker, reference unit */
  int64_t t_valid_ns;
  double q_be[4];      /* body components to Earth-fixed components, scalar first; its length is not used */
  double sigma_rad[3]; /* rad, 1-sigma about the body axes */
  uint32_t seq;
  uint8_t valid;
  uint8_t pad0[3];
} fsw_attitude_t;

typedef struct { /* magnetometer, hard and soft iron removed */
  int64_t t_valid_ns;
  double b_b[3];       /* field in body axes; only its direction is used */
  uint32_t seq;
  uint8_t valid;
  uint8_t pad0[3];
} fsw_mag_t;

typedef struct { /* engine controller: what it measures of its engine */
  int64_t t_valid_ns;
  double pc_a_pa;      /* Pa, chamber pressure, sensor A */
  double pc_b_pa;      /* Pa, chamber pressure, sensor B */
  double inlet_pa;     /* Pa, oxidiser inlet pressure */
  double chill_k;      /* K, pump temperature */
  double throttle;     /* 1, throttle valve position 0..1 */
  uint32_t seq;
  uint32_t cmd_counter;/* counter of the last command accepted */
  uint8_t valves;      /* FSW_VALVE_* bits, position feedback (set = open or on) */
  uint8_t igniter_ok;  /* 1 when the igniter draws its current */
  uint8_t valid;
  uint8_t fire;        /* 1 when the bay temperature switch has tripped */
  uint8_t pad0[4];
} fsw_engine_status_t;

typedef struct { /* touchdown switches, one per leg */
  int64_t t_valid_ns;
  uint32_t seq;
  uint8_t contact[FSW_MAX_LEGS]; /* 1 when closed */
  uint8_t n_legs;
  uint8_t valid;
  uint8_t pad0[6];
} fsw_touch_t;

/* ---- what the flight computer commands -------------------------------------------------------------------------- */

#define FSW_VALVE_CHILL 1
#define FSW_VALVE_IGNITER 2
#define FSW_VALVE_FUEL 4
#define FSW_VALVE_OX 8
#define FSW_VALVE_PURGE 16

typedef struct { /* to one engine controller, and from it to its valves */
  double throttle;     /* 1, share of sea-level thrust, 0..1 */
  uint32_t counter;    /* strictly increasing */
  uint8_t valves;      /* FSW_VALVE_* bits to energise; 0 is the safe vector */
  uint8_t pad0[3];
} fsw_engine_cmd_t;

typedef struct { /* to the gimbal driver: pairs (pitch about body y, yaw about body z) per engine */
  double gimbal_rad[FSW_MAX_GIMBAL]; /* rad, [2k] rotates engine k's thrust about +y, [2k+1] about +z */
  uint32_t counter;
  uint8_t pad0[4];
} fsw_tvc_cmd_t;

typedef struct { /* to the grid-fin driver */
  double fin_rad[FSW_MAX_FINS]; /* rad, positive deflection rotates the fin about its outward hinge axis */
  uint32_t counter;
  uint8_t pad0[4];
} fsw_fin_cmd_t;

typedef struct { /* to the cold-gas thruster driver */
  uint32_t on_mask;    /* bit k opens thruster k */
  uint32_t counter;
} fsw_rcs_cmd_t;

/* ---- what the flight software tells itself ---------------------------------------------------------------------- */

typedef struct { /* one IMU stream voted from the redundant units */
  int64_t t_valid_ns;
  double dtheta_b[3];  /* rad */
  double dv_b[3];      /* m/s, at the navigation unit's lever arm */
  uint32_t seq;
  uint8_t valid;       /* 0: no unit agrees with any other */
  uint8_t used_mask;   /* bit k: unit k took part */
  uint8_t excluded_mask; /* bit k: unit k is isolated (reversible) */
  uint8_t pad0[1];
} fsw_imu_voted_t;

typedef struct { /* navigation solution of the body origin */
  int64_t t_valid_ns;
  double r_bl_l[3];    /* m */
  double v_bl_l[3];    /* m/s, relative to the Earth */
  double q_bl[4];      /* 1 */
  double omega_bl_b[3];/* rad/s, relative to the Earth, bias removed */
  double f_b[3];       /* m/s2, specific force, bias removed */
  uint8_t valid;
  uint8_t quality;     /* 0 full, 1 inertial only (no position fix for 2 s), 2 attitude only, 3 lost */
  uint8_t pad0[6];
} fsw_nav_t;

typedef struct { /* how good the navigation solution says it is */
  int64_t t_valid_ns;
  double sigma_r_m[3]; /* m, 1-sigma, east north up */
  double sigma_v_m_s[3];
  double sigma_att_rad[3]; /* rad, about east north up */
  double bias_a_m_s2[3];
  double bias_g_rad_s[3];
  double nis_gnss;     /* 1, last normalised innovation squared / degrees of freedom */
  double nis_radalt;
  uint32_t accepted;   /* scalar measurements since start */
  uint32_t rejected;
  uint8_t gnss_used;   /* bit k: receiver k in use */
  uint8_t radalt_used; /* bit k: altimeter k in use */
  uint8_t pad0[6];
} fsw_nav_status_t;

#define FSW_PHASE_IDLE 0
#define FSW_PHASE_ASCENT 1
#define FSW_PHASE_COAST 2
#define FSW_PHASE_AERO 3
#define FSW_PHASE_BURN 4
#define FSW_PHASE_LANDED 5
#define FSW_PHASE_ABORT 6

typedef struct { /* guidance to control and sequencing */
  int64_t t_ns;
  double q_cmd_bl[4];  /* 1, commanded attitude of B relative to L */
  double a_cmd_l[3];   /* m/s2, commanded thrust acceleration (without gravity and drag) */
  double thrust_cmd_n; /* N, total along the stage axis; 0 with engines off */
  double t_go_s;       /* s, to touchdown or end of phase; negative when unknown */
  double throttle_need;/* 1, constant throttle of the lit engines that would stop at the pad; > 1: beyond them */
  double target_l[3];  /* m, aim point: the pad, or the divert point */
  uint8_t phase;       /* FSW_PHASE_* */
  uint8_t engines;     /* number of engines wanted running */
  uint8_t divert;      /* 1 when the pad has been given up */
  uint8_t pad0[5];
} fsw_guidance_t;

#define FSW_ENGINE_OFF 0
#define FSW_ENGINE_CHECK 1
#define FSW_ENGINE_PURGE 2
#define FSW_ENGINE_CHILL 3
#define FSW_ENGINE_IGNITER 4
#define FSW_ENGINE_LEAD 5
#define FSW_ENGINE_RISE 6
#define FSW_ENGINE_MAIN 7
#define FSW_ENGINE_SHUTDOWN 8
#define FSW_ENGINE_SAFED 9
#define FSW_ENGINE_INHIBITED 10
#define FSW_ENGINE_AFTER 11 /* purge after a shutdown */

typedef struct { /* state of the engines as the sequencer sees it */
  int64_t t_ns;
  double pc_pa[FSW_MAX_ENGINES];   /* Pa, qualified chamber pressure */
  double thrust_n[FSW_MAX_ENGINES];/* N, estimated from pressure and acceleration */
  double throttle[FSW_MAX_ENGINES];/* 1, commanded */
  uint16_t lit_mask;     /* confirmed running */
  uint16_t starting_mask;/* between start command and confirmation */
  uint16_t failed_mask;  /* did not light or died; never restarted after lighting */
  uint16_t inhibited_mask; /* not available for cause */
  uint32_t holds[FSW_MAX_ENGINES]; /* what held and was commanded in the last step, bits of sequence.h */
  uint8_t state[FSW_MAX_ENGINES];  /* FSW_ENGINE_*: role of its row */
  uint8_t starts[FSW_MAX_ENGINES]; /* start commands so far */
  uint8_t row[FSW_MAX_ENGINES];    /* of its sequence */
  uint8_t cause[FSW_MAX_ENGINES];  /* FSW_SEQ_CAUSE_*: why it was last shut down or inhibited */
  uint8_t spares_left;
  uint8_t pad0[7];
} fsw_engines_t;

#define FSW_COMMAND_DISARM 1   /* no permit; engines that run go on */
#define FSW_COMMAND_ARM 2      /* a token is issued that FIRE must carry */
#define FSW_COMMAND_FIRE 3     /* permits starts until DISARM, ABORT or touchdown */
#define FSW_COMMAND_ABORT 4    /* everything closed */

typedef struct { /* a command from outside; authentic by its tag: see command.h */
  uint64_t counter;    /* strictly increasing */
  uint64_t token;      /* FIRE: the one that ARM was answered with; else 0 */
  uint16_t id;         /* FSW_COMMAND_* */
  uint16_t source;     /* who sends it */
  uint8_t pad0[4];
  uint8_t tag[16];     /* keyed BLAKE2s of the bytes before it */
} fsw_command_t;

#define FSW_PERMIT_SAFE 0
#define FSW_PERMIT_ARMED 1
#define FSW_PERMIT_FIRE 2
#define FSW_PERMIT_ABORT 3

typedef struct { /* what commands have permitted */
  int64_t t_ns;
  int64_t t_expires_ns; /* ns, of the token; 0 where there is none */
  uint64_t token;      /* single use; 0: none open */
  uint64_t counter;    /* of the last command accepted */
  uint32_t accepted;
  uint32_t refused;
  uint8_t state;       /* FSW_PERMIT_* */
  uint8_t reason;      /* of the last refusal, FSW_COMMAND_REFUSED_* of command.h */
  uint8_t pad0[6];
} fsw_permit_t;

typedef struct { /* touchdown decision */
  int64_t t_ns;
  uint8_t armed;       /* the logic may fire */
  uint8_t landed;      /* decided; engines go off */
  uint8_t pad0[6];
} fsw_touchdown_t;

typedef struct { /* control's own telemetry */
  int64_t t_ns;
  double att_err_b[3]; /* rad, rotation vector from command to attitude, body axes */
  double moment_cmd_b[3]; /* N m, asked */
  double moment_alloc_b[3]; /* N m, what the allocation could give */
  double throttle[FSW_MAX_ENGINES]; /* 1, per engine, asked of the sequencer */
  double thrust_est_n; /* N, sum used in the allocation */
  uint8_t saturated;   /* bit 0 gimbal, 1 fins, 2 thrusters, 3 throttle */
  uint8_t pad0[7];
} fsw_control_t;

#define FSW_EVENT_SLOTS 8

typedef struct { /* up to eight things that happened to one task in one tick; see events.h for the words */
  int64_t t_ns;
  double arg0[FSW_EVENT_SLOTS];
  double arg1[FSW_EVENT_SLOTS];
  uint16_t code[FSW_EVENT_SLOTS];
  uint16_t subject[FSW_EVENT_SLOTS]; /* engine, unit or receiver number, where there is one */
  uint32_t count;      /* slots used */
  uint32_t lost;       /* events that found no slot since start */
} fsw_events_t;

typedef struct { /* health of redundant navigation: lanes, their IMUs, their common sources (GNSS 0-1, altimeters 2-3, barometer 4) */
  int64_t t_valid_ns;
  double separation[3];/* 1, chi-square between lanes 01, 02, 12, the greatest of position, velocity, attitude */
  double lane_nis[3];  /* 1, GNSS position NIS per degree of freedom, mean over 5 s */
  double nis_sum[4];   /* 1, of the last 30 accepted measurements of a source */
  double cusum[6];     /* 1, receiver 0 less receiver 1: upwards east north up, downwards east north up */
  uint32_t lane_isolations[3];
  uint32_t lane_forks[3];
  uint32_t source_exclusions[4];
  uint32_t switches;   /* changes of the selection */
  uint32_t common_modes;
  uint8_t member_mask; /* bit k: lane k is fit for the output */
  uint8_t select_mask; /* bit k: lane k forms it */
  uint8_t imu_used;    /* bit k: the last sample of unit k fed its lane */
  uint8_t imu_excluded;/* bit k: unit k is isolated (reversible) */
  uint8_t imu_saturated;
  uint8_t source_out;  /* bit k: source k is excluded by the monitor (reversible) */
  uint8_t source_suspect; /* bit k: the NIS sum of source k is outside its bounds */
  uint8_t frozen;      /* bit k: source k repeats itself in motion */
  uint8_t level;       /* 0 three lanes, 1 two, 2 one, 3 none */
  uint8_t blending;    /* 1 while a change of the selection is blended out */
  uint8_t pad0[6];
} fsw_nav_lanes_t;

/* ---- the world and the bench ------------------------------------------------------------------------------------ */

typedef struct { /* true motion, to the boards */
  int64_t t_ns;
  double r_e[3];       /* m, centre of mass, Earth-fixed */
  double v_e[3];       /* m/s, centre of mass relative to the Earth */
  double q_be[4];
  double omega_bi_b[3];/* rad/s, relative to the inertial frame */
  double alpha_bi_b[3];/* rad/s2 */
  double f_b[3];       /* m/s2, specific force at the centre of mass */
  double dtheta_b[3];  /* rad, integrated omega_bi_b over the last tick */
  double dv_b[3];      /* m/s, integrated specific force at the centre of mass over the last tick, body axes */
  double cm_x_m;       /* m, centre of mass ahead of the body origin */
  double h_m;          /* m, body origin above the pad plane */
  double p_pa;         /* Pa, ambient pressure */
  uint32_t contact_mask; /* bit k: foot k touches */
  uint8_t pad0[4];
} fsw_truth_t;

typedef struct { /* true engine state, to the engine controllers */
  int64_t t_ns;
  double pc_pa[FSW_MAX_ENGINES];
  double inlet_pa[FSW_MAX_ENGINES];
  double chill_k[FSW_MAX_ENGINES];
  double throttle[FSW_MAX_ENGINES];
  uint8_t valves[FSW_MAX_ENGINES]; /* FSW_VALVE_* bits that are really open or on */
  uint8_t fire[FSW_MAX_ENGINES];
  uint8_t pad0[6];
} fsw_engines_truth_t;

typedef struct { /* everything else of the world that people want to look at, at a lower rate */
  int64_t t_ns;
  double r_bl_l[3];    /* m, true position of the body origin */
  double v_bl_l[3];    /* m/s */
  double q_bl[4];
  double omega_bl_b[3];
  double mass_kg;
  double propellant_kg;
  double mach;
  double q_pa;         /* Pa, dynamic pressure */
  double alpha_rad;    /* rad, between air-relative velocity and +x of the body; pi is tail first */
  double wind_l[3];    /* m/s, air relative to the Earth */
  double f_aero_b[3];  /* N */
  double f_thrust_b[3];/* N */
  double m_total_b[3]; /* N m */
  double thrust_n[FSW_MAX_ENGINES];
  double fin_rad[FSW_MAX_FINS];
  double slosh_m[4];   /* m, lateral slosh displacement, oxidiser y z, fuel y z */
  double axial_g;      /* 9.80665 m/s2, along the stage axis */
  double gas_kg;       /* kg, cold gas left */
} fsw_world_state_t;

typedef struct { /* how the flight ended, from the truth */
  int64_t t_ns;
  int64_t t_touch_ns;  /* ns, first contact; -1 before */
  double v_down_m_s;   /* m/s, of the body origin, latched at first contact */
  double v_across_m_s;
  double tilt_deg;     /* deg, latched at first contact */
  double rate_deg_s;   /* deg/s, latched at first contact */
  double miss_m;       /* m, from the pad centre, latched at first contact */
  double propellant_kg;/* kg, left at first contact */
  double peak_axial_g;
  double leg_stroke_m; /* m, greatest compression of a leg */
  double final_tilt_deg;
  double final_speed_m_s;
  uint8_t touched;
  uint8_t settled;     /* at rest on its legs for 1 s, or broken */
  uint8_t broken;      /* legs crushed beyond their stroke, or the body struck */
  uint8_t pad0[5];
} fsw_outcome_t;

#define FSW_FAULT_SLOTS 12
/* target kinds and fault types; one vocabulary for simulated and real boards */
#define FSW_TARGET_ENGINE 1
#define FSW_TARGET_IMU 2
#define FSW_TARGET_GNSS 3
#define FSW_TARGET_RADALT 4
#define FSW_TARGET_GIMBAL 5
#define FSW_TARGET_FIN 6
#define FSW_TARGET_THRUSTER 7
#define FSW_TARGET_TOUCH 8
#define FSW_FAULT_OFF 1
#define FSW_FAULT_STUCK 2
#define FSW_FAULT_WRONG 3
#define FSW_FAULT_GARBAGE 4
#define FSW_FAULT_SLOW 5
#define FSW_FAULT_NO_LIGHT 6
#define FSW_FAULT_DIES 7
#define FSW_FAULT_LATE_LIGHT 8
#define FSW_FAULT_LOW_PC 9
#define FSW_FAULT_HARD_START 10
#define FSW_FAULT_WRONG_B 11
#define FSW_FAULT_NO_IGNITER 12
#define FSW_FAULT_LOW_INLET 13
#define FSW_FAULT_DEAF 14
#define FSW_FAULT_CORRUPT 15
#define FSW_FAULT_ZERO 16
#define FSW_FAULT_HIGH_PC 17
#define FSW_FAULT_SATURATE_GYRO 18
#define FSW_FAULT_SATURATE_ACCEL 19
#define FSW_FAULT_SHORT_RANGE 20
#define FSW_FAULT_OUTLIERS 21
#define FSW_FAULT_UNFLAGGED 22

typedef struct { /* faults in force, from the injector to world and boards */
  int64_t t_ns;
  double severity[FSW_FAULT_SLOTS]; /* meaning by type; see docs/reference/faults.md */
  uint8_t target[FSW_FAULT_SLOTS];  /* FSW_TARGET_* */
  uint8_t index[FSW_FAULT_SLOTS];   /* which one; 255 all */
  uint8_t type[FSW_FAULT_SLOTS];    /* FSW_FAULT_* */
  uint32_t count;
} fsw_faults_t;

/* ---- what the runtime records beside the topics ------------------------------------------------------------------- */

#define FSW_GATE_TICKS 64

typedef struct { /* what entered a node in 64 ticks: topic "_inputs" of a node in a log */
  int64_t first_tick;              /* a multiple of 64 */
  uint64_t digest[FSW_GATE_TICKS]; /* of all messages that entered in tick first_tick + k, in their order; 0: none did */
} fsw_gate_t;

typedef struct { /* a decision about the tick of its time stamp: topic "_skips" of a node in a log */
  uint64_t mask;       /* bit k: task k of the schedule table does not run */
} fsw_skip_t;

typedef struct { /* one byte of an image was turned, to see what follows: topic "_upsets" of a node in a log */
  uint32_t offset;     /* in the image, behind its head */
  uint32_t mask;       /* bits that were turned */
} fsw_upset_t;

typedef struct { /* the image of a node was replaced in front of this tick; a keyframe of the tick holds the new one: topic "_restores" */
  int64_t tick;        /* tick of the snapshot that it was made from */
  uint32_t source;     /* node that was copied, in the order of the bench */
  uint32_t inputs;     /* inputs since then that were fed to it */
} fsw_restore_t;

typedef struct { /* a vote of redundant strings on one message; bit k: string k */
  int64_t t_ns;
  uint32_t present;    /* strings whose message arrived in this tick */
  uint32_t disagree;   /* of them, those that differ from the majority */
  uint32_t out;        /* strings that do not count at present */
  uint32_t no_majority; /* 1: nothing was published */
} fsw_vote_t;

typedef struct { /* a tick that began when it should have been over: topic "late" of node "host" in the log of a real-time run */
  int64_t tick;
  int64_t late_ns;     /* ns, from its scheduled to its actual release */
  uint32_t missed;     /* ticks missed so far */
  uint32_t shed;       /* 1: non-critical tasks do not run in it */
} fsw_late_tick_t;

typedef struct { /* a task that was complete after its deadline: topic "overruns" of node "host" in the log of a real-time run */
  int64_t tick;
  int64_t after_ns;    /* ns, from the scheduled release of the tick to its completion */
  uint32_t node;       /* in the order of the bench */
  uint32_t task;       /* in the order of the node's schedule table */
  uint32_t consecutive; /* misses in a row */
  uint32_t on_miss;    /* what was done: 0 counted, 1 its next release is skipped, 2 the node is silent from now on, 3 stop */
} fsw_overrun_t;
/* cffi: end */

#endif
