/* boards.h - simulated avionics boards and the fault injector: the manual.
 *
 * A simulated board is a node with one task. It sees the truth only through a link (so at least one tick old, and stamped
 * with the instant it belongs to), adds the errors of a real unit, and publishes the same message a real board would.
 *
 *   task            reads                                 writes          what it is
 *   board.imu       truth, faults?                        imu             inertial unit, one sample per new truth
 *   board.gnss      truth, faults?                        gnss            receiver: antenna position and velocity
 *   board.radalt    truth, faults?                        radalt          slant range along -x of the body
 *   board.baro      truth                                 baro            static pressure
 *   board.touch     truth, faults?                        touch           one switch per leg
 *   board.engine    cmd?, engines_truth?, faults?         act, status     controller of one engine
 *   board.tvc       cmd?, faults?                         act             gimbal driver
 *   board.fins      cmd?, faults?                         act             grid-fin driver
 *   board.rcs       cmd?, faults?                         act             thruster driver
 *   bench.faults    truth?, guidance?, engines?           faults, events? fault injector
 *                                                         (? optional)
 *
 * Errors are reproducible: every random number is keyed by (seed, node stream, tick, channel), the channel holding `index`,
 * so two units of a kind differ even in one node, and a run is repeated bit for bit by its seed. What is constant for a
 * power cycle (bias, scale factor, misalignment) is drawn at a unit's first sample and kept in its state.
 * A sensor whose truth did not change since its last sample publishes nothing: it has measured nothing.
 *
 * Faults on boards. `unit` is the parameter `index` of the board; fault index 255 means every unit of the kind.
 *   target   type      effect                                                                severity
 *   IMU      OFF       no output                                                             -
 *            STUCK     last sample repeated with new time and counter                        -
 *            WRONG     bias added; which sensor and axis by index, see below                 rad/s or m/s2
 *            GARBAGE   0: uniform over the range of the unit; s > 0: white noise s times larger   factor
 *   GNSS     OFF       no output                                                             -
 *            STUCK     as above                                                              -
 *            WRONG     position moved by s to the east and s up                              m
 *            GARBAGE   0: uniform within 100 km and 1 km/s; s > 0: white noise s times larger     factor
 *   RADALT   OFF       no output                                                             -
 *            STUCK     as above                                                              -
 *            WRONG     s added to a valid range                                              m
 *            GARBAGE   0: uniform over the range, valid; s > 0: noise s times larger          factor
 *   TOUCH    OFF       the switch of leg `index` reads open; 255: no output of the board     -
 *            STUCK     the switch of leg `index` (255: each) keeps its reading               -
 *            WRONG     the switch of leg `index` (255: each) reads closed                    -
 *   ENGINE   OFF       controller dead: no status, safe vector to the valves                 -
 *            WRONG     sensor A reads s more than it should                                  share of pc_nominal_pa
 *            GARBAGE   sensor A reads anything within its range                              -
 *   GIMBAL   GARBAGE   driver sends both angles of engine `index` anywhere within +-s          rad
 *   FIN      GARBAGE   driver sends fin `index` anywhere within +-s                            rad
 *   THRUSTER GARBAGE   driver opens thruster `index` at random                                 -
 * The other ENGINE types, and STUCK, SLOW, WRONG, OFF of GIMBAL, FIN and THRUSTER are physical and belong to the world.
 * IMU WRONG: index = unit + 16 * sensor; unit 0..14, 15 every unit; sensor 0 gyro x y z alike, 1 2 3 gyro x, y, z,
 * 4 accelerometer x y z alike, 5 6 7 accelerometer x, y, z. 255 means every unit, gyro x y z; 79 every unit, accelerometers.
 *
 * Methods. Lever arm: rigid-body kinematics; the tangential part uses the change of the rate over the interval, which
 * integrates the angular acceleration without error (Titterton and Weston, Strapdown Inertial Navigation Technology, 2004).
 * Bias drift: exactly discretised first-order Gauss-Markov process (Gelb, Applied Optimal Estimation, 1974). Default sizes:
 * a tactical MEMS unit and a single-frequency receiver, those of data/estimation/booster_synth. */
#ifndef FLIGHTSW_BOARDS_H
#define FLIGHTSW_BOARDS_H
#include "flightsw/messages.h"
#include "flightsw/task.h"

/* cffi: begin */
/* ---- inertial measurement unit. Run it at the rate of the truth: each sample holds the motion of one world tick. -------- */

typedef struct {
  double imu_x_m;             /* [-200, 200] = 20 : unit in body axes, from the body origin */
  double imu_y_m;             /* [-200, 200] = 0 : */
  double imu_z_m;             /* [-200, 200] = 0 : */
  double gyro_bias_deg_h;     /* [0, 100000] = 5 : 1-sigma of the constant bias, per axis */
  double gyro_bias_gm_deg_h;  /* [0, 100000] = 1 : 1-sigma of the slow bias */
  double accel_bias_m_s2;     /* [0, 10] = 0.00980665 : 1-sigma of the constant bias (1 mg) */
  double accel_bias_gm_m_s2;  /* [0, 10] = 0.0004903325 : 1-sigma of the slow bias (0.05 mg) */
  double bias_tau_s;          /* [0.1, 1000000] = 300 : correlation time of the slow biases */
  double arw_deg_rt_h;        /* [0, 1000] = 0.05 : angle random walk */
  double vrw_m_s_rt_h;        /* [0, 1000] = 0.03 : velocity random walk */
  double gyro_scale_ppm;      /* [0, 100000] = 200 : 1-sigma of the scale-factor error */
  double accel_scale_ppm;     /* [0, 100000] = 300 : 1-sigma */
  double imu_misalign_rad;    /* [0, 0.1] = 0.0001 : 1-sigma of each axis misalignment */
  double gyro_max_deg_s;      /* [1, 100000] = 400 : range */
  double accel_max_m_s2;      /* [1, 100000] = 300 : range */
  double gyro_lsb_rad;        /* [0, 0.01] = 1e-8 : quantum of an angle increment, 0 none; the remainder is carried on */
  double accel_lsb_m_s;       /* [0, 1] = 1e-6 : quantum of a velocity increment */
  uint32_t index;             /* [0, 14] = 0 : number of this unit */
  uint32_t pad0;
} fsw_board_imu_params_t;

typedef struct {
  double m_gyro[9];           /* 1, scale and misalignment, row by row */
  double m_accel[9];
  double bias0_gyro[3];       /* rad/s, constant */
  double bias0_accel[3];      /* m/s2 */
  double gm_gyro[3];          /* rad/s, slow */
  double gm_accel[3];         /* m/s2 */
  double bias_dtheta[3];      /* rad, both, per sample */
  double bias_dv[3];          /* m/s */
  double rest_dtheta[3];      /* rad, remainder of the quantisation */
  double rest_dv[3];          /* m/s */
  double omega_b[3];          /* rad/s, at the last truth */
  double dt_s;                /* s, sample interval */
  double sigma_dtheta;        /* rad, white noise per sample */
  double sigma_dv;            /* m/s */
  double max_dtheta;          /* rad, range per sample */
  double max_dv;              /* m/s */
  double lsb_dtheta;          /* rad, quantum */
  double lsb_dv;              /* m/s */
  double inv_lsb_dtheta;      /* 1/rad */
  double inv_lsb_dv;          /* s/m */
  double gm_keep;             /* 1, share of the slow bias left after one update interval */
  double gm_add;              /* 1, and the fresh share */
  uint64_t bits;              /* random, for the next sample */
  uint32_t seq;
  uint32_t truth_seq;         /* last truth used */
  uint32_t since_drift;       /* samples since the slow biases moved */
  uint8_t ready;              /* errors drawn */
  uint8_t bits_left;          /* 1: bits are unused */
  uint8_t pad0[2];
} fsw_board_imu_state_t;

/* ---- GNSS receiver --------------------------------------------------------------------------------------------------- */

typedef struct {
  double gnss_x_m;            /* [-200, 200] = 40 : antenna in body axes, from the body origin */
  double gnss_y_m;            /* [-200, 200] = 0 : */
  double gnss_z_m;            /* [-200, 200] = 0 : */
  double gnss_sigma_r_m;      /* [0, 10000] = 1.5 : white position noise, 1-sigma, north and east */
  double gnss_sigma_r_d_m;    /* [0, 10000] = 2.5 : and down */
  double gnss_sigma_v_m_s;    /* [0, 1000] = 0.05 : white velocity noise, 1-sigma, north and east */
  double gnss_sigma_v_d_m_s;  /* [0, 1000] = 0.08 : and down */
  double gnss_gm_m;           /* [0, 10000] = 0 : correlated position error per axis, 1-sigma, not part of the stated sigma */
  double gnss_gm_tau_s;       /* [0.1, 1000000] = 120 : its correlation time */
  double gnss_stated_scale;   /* [0.01, 100] = 1 : stated sigma over true white sigma */
  uint32_t gnss_satellites;   /* [0, 60] = 14 : reported */
  uint32_t index;             /* [0, 254] = 0 : number of this receiver */
} fsw_board_gnss_params_t;

typedef struct {
  double gm_m[3];             /* m, correlated error, north east down */
  double gm_keep;
  double gm_add;
  uint32_t seq;
  uint32_t truth_seq;
  uint8_t ready;
  uint8_t pad0[7];
} fsw_board_gnss_state_t;

/* ---- radar altimeter ---------------------------------------------------------------------------------------------------- */

typedef struct {
  double site_lat_deg;        /* [-90, 90] : geodetic latitude of the pad, for its vertical */
  double site_lon_deg;        /* [-360, 360] : longitude of the pad */
  double radalt_x_m;          /* [-200, 200] = 2 : antenna in body axes, from the body origin */
  double radalt_y_m;          /* [-200, 200] = 0 : */
  double radalt_z_m;          /* [-200, 200] = 0 : */
  double radalt_sigma_m;      /* [0, 1000] = 0.05 : noise, 1-sigma, fixed part */
  double radalt_sigma_share;  /* [0, 1] = 0.003 : and share of the range */
  double radalt_min_m;        /* [0, 1000] = 0.3 : shortest range */
  double radalt_max_m;        /* [1, 100000] = 2500 : longest range */
  double radalt_tilt_max_deg; /* [0, 85] = 25 : lock is lost beyond this angle from the vertical */
  double radalt_lsb_m;        /* [0, 10] = 0.01 : quantum of the range, 0 none */
  uint32_t index;             /* [0, 254] = 0 : number of this altimeter */
  uint32_t pad0;
} fsw_board_radalt_params_t;

typedef struct {
  double up_e[3];             /* 1, vertical of the pad, Earth-fixed */
  double cos_tilt_max;
  double inv_lsb;             /* 1/m, 0 none */
  uint32_t seq;
  uint32_t truth_seq;
} fsw_board_radalt_state_t;

/* ---- barometer ------------------------------------------------------------------------------------------------------------ */

typedef struct {
  double baro_bias_pa;        /* [0, 10000] = 50 : 1-sigma of the constant bias */
  double baro_sigma_pa;       /* [0, 10000] = 10 : white noise, 1-sigma */
  double baro_lsb_pa;         /* [0, 1000] = 1 : quantum, 0 none */
  double baro_max_pa;         /* [1, 1000000] = 120000 : range */
  uint32_t index;             /* [0, 254] = 0 : number of this barometer */
  uint32_t pad0;
} fsw_board_baro_params_t;

typedef struct {
  double bias_pa;
  double inv_lsb;
  uint32_t seq;
  uint32_t truth_seq;
  uint8_t ready;
  uint8_t pad0[7];
} fsw_board_baro_state_t;

/* ---- touchdown switches. A changed contact bounces for a while; a reading changes after enough equal samples. ---------------- */

typedef struct {
  double touch_bounce_s;      /* [0, 1] = 0.015 : raw switch chatters this long after a change of contact */
  uint32_t n_legs;            /* [0, 4] = 4 : number of legs */
  uint32_t touch_debounce;    /* [1, 100] = 3 : equal raw samples that make a reading */
} fsw_board_touch_params_t;

typedef struct {
  int64_t t_change_ns[FSW_MAX_LEGS]; /* ns, last change of true contact */
  uint32_t contact_mask;      /* true contact at the last sample */
  uint32_t seq;
  uint32_t truth_seq;
  uint8_t reading[FSW_MAX_LEGS];
  uint8_t run[FSW_MAX_LEGS];  /* raw samples in a row that contradict the reading */
  uint8_t pad0[4];
} fsw_board_touch_state_t;

/* ---- engine controller -------------------------------------------------------------------------------------------------------
 * A command is accepted when its counter is greater than the last one's (the first: any) and its throttle is a number. Before
 * the first command, and when the last accepted one is older than engine_timeout_ms, the valves get the safe vector: all closed,
 * throttle 0. After such a timeout the main valves stay closed until a command with both closed has been seen, so that a
 * link that comes back cannot pour propellant into an engine that has gone out. `act.counter` counts the controller's own
 * outputs; `status.cmd_counter` tells which command is in force. Fault CORRUPT flips bits of commands and status on the line, each with
 * the probability given; with link_checked, as on every line of this package, the checksum finds such a frame and it is as if never sent. */

typedef struct {
  double pc_nominal_pa;       /* [1000, 1e9] : chamber pressure at full thrust */
  double pc_bias_share;       /* [0, 1] = 0.003 : 1-sigma of the constant bias of each sensor, of pc_nominal_pa */
  double pc_sigma_share;      /* [0, 1] = 0.002 : noise, 1-sigma, of pc_nominal_pa */
  double pc_range_share;      /* [1, 100] = 2 : full scale, of pc_nominal_pa */
  double pc_lsb_share;        /* [0, 1] = 0.0005 : quantum, of pc_nominal_pa, 0 none */
  double pc_lag_s;            /* [0, 10] = 0.005 : first-order lag of sensor and line */
  double inlet_bias_pa;       /* [0, 1e7] = 2000 : 1-sigma of the constant bias */
  double inlet_lsb_pa;        /* [0, 1e6] = 500 : quantum */
  double chill_bias_k;        /* [0, 100] = 0.5 : 1-sigma of the constant bias */
  double chill_lsb_k;         /* [0, 100] = 0.1 : quantum */
  double engine_timeout_ms;   /* [1, 10000] = 90 : older commands are stale */
  uint32_t index;             /* [0, 8] = 0 : engine number */
  uint32_t link_checked;      /* [0, 1] = 1 : a damaged frame is noticed and dropped; 0: taken as it is */
} fsw_board_engine_params_t;

typedef struct {
  int64_t t_cmd_ns;           /* ns, when the command in force was accepted */
  double pc_lag_pa;           /* Pa, lagged true chamber pressure */
  double lag_gain;            /* 1, per period */
  double bias_pa[4];          /* Pa Pa Pa K: pressure A and B, inlet, chill */
  double pc_sigma_pa;         /* Pa, noise */
  double pc_min_pa;           /* Pa, lowest reading */
  double pc_max_pa;           /* Pa, full scale */
  double lsb[3];              /* Pa Pa K: pressure, inlet, chill */
  double inv_lsb[3];          /* 1/Pa 1/Pa 1/K */
  int64_t timeout_ns;
  uint64_t bits[2];           /* random, two bytes a sample */
  double throttle;            /* 1, in force */
  uint32_t counter;           /* of the command in force */
  uint32_t cmd_seq;           /* last command looked at */
  uint32_t act_counter;       /* outputs so far */
  uint32_t seq;               /* status messages so far */
  uint32_t refused;           /* commands refused: counter not greater, or not a number */
  uint32_t timeouts;          /* times the command in force became stale */
  uint32_t damaged;           /* frames with flipped bits, both ways */
  uint32_t delivered;         /* of them, delivered as they were */
  uint8_t valves;             /* in force */
  uint8_t have_cmd;           /* a command is in force */
  uint8_t ever;               /* a command has been accepted since start */
  uint8_t locked;             /* main valves held closed after a timeout */
  uint8_t ready;              /* errors drawn */
  uint8_t pad0[3];
} fsw_board_engine_state_t;

/* ---- drivers of gimbal, fins and thrusters -------------------------------------------------------------------------------------
 * A command is accepted when its counter is greater than the last one's (the first: any) and all its numbers are numbers. The
 * last accepted command is held; when it is older than driver_timeout_ms the driver goes to neutral (0) and counts a timeout. */

typedef struct {
  double driver_lsb_rad;      /* [0, 0.1] = 0.0001 : quantum of an angle, 0 none */
  double driver_timeout_ms;   /* [1, 10000] = 100 : older commands are stale */
} fsw_board_driver_params_t;

typedef struct {
  int64_t t_cmd_ns;
  double inv_lsb;
  uint32_t counter;
  uint32_t cmd_seq;
  uint32_t act_counter;
  uint32_t refused;
  uint32_t timeouts;
  uint8_t have_cmd;
  uint8_t ever;
  uint8_t pad0[2];
} fsw_board_driver_state_t;

/* ---- fault injector -------------------------------------------------------------------------------------------------------------
 * Fault k (k < n_faults) of the bench file becomes entry k of each array:
 *   fault_target   FSW_TARGET_*          fault_index   unit, 255 all (IMU WRONG: see above)
 *   fault_type     FSW_FAULT_*           fault_severity by type
 *   fault_trigger  FSW_TRIGGER_*         fault_at      by trigger:
 *     NONE      never
 *     TIME      at fault_at s of mission elapsed time
 *     ALTITUDE  when truth.h_m first falls from above fault_at m to below it
 *     PHASE     when guidance.phase is fault_at (FSW_PHASE_*) for the first time
 *     LIT       when engine number fault_at is confirmed running (lit_mask) for the first time
 *     START     when the start of engine number fault_at is commanded (starting_mask) for the first time
 *   fault_after_s  delay after the trigger  fault_for_s   duration; 0 or less: until the end
 * The set in force is published when it changes and every 100th tick, faults in the order of the list; events FAULT_BEGIN
 * and FAULT_END (subject: unit, arguments: type, target) prove each injection in the log. A trigger seen in tick n at the
 * injector was true in the world at least one link latency earlier; with no delay the fault is published in tick n. */

#define FSW_TRIGGER_NONE 0
#define FSW_TRIGGER_TIME 1
#define FSW_TRIGGER_ALTITUDE 2
#define FSW_TRIGGER_PHASE 3
#define FSW_TRIGGER_LIT 4
#define FSW_TRIGGER_START 5

typedef struct {
  double fault_severity[12];  /* [-1e9, 1e9] pad = 0 : meaning by target and type */
  double fault_at[12];        /* [-1e9, 1e9] pad = 0 : s, m, phase or engine number, by trigger */
  double fault_after_s[12];   /* [0, 1e6] pad = 0 : delay after the trigger */
  double fault_for_s[12];     /* [-1, 1e6] pad = 0 : duration, 0 or less for ever */
  uint8_t fault_target[12];   /* [0, 8] pad = 0 : FSW_TARGET_* */
  uint8_t fault_index[12];    /* [0, 255] pad = 0 : which unit, 255 all */
  uint8_t fault_type[12];     /* [0, 22] pad = 0 : FSW_FAULT_* */
  uint8_t fault_trigger[12];  /* [0, 5] pad = 0 : FSW_TRIGGER_* */
  uint32_t n_faults;          /* [0, 12] = 0 : entries used */
  uint32_t pad0;
} fsw_bench_faults_params_t;

#define FSW_INJECT_WAITING 0
#define FSW_INJECT_TRIGGERED 1
#define FSW_INJECT_ACTIVE 2
#define FSW_INJECT_ENDED 3

typedef struct {
  int64_t t_begin_ns[12];     /* ns, when the fault begins, once triggered */
  int64_t t_end_ns[12];       /* ns, when it ends */
  uint8_t status[12];         /* FSW_INJECT_* */
  uint8_t above[12];          /* 1 once the altitude was above fault_at */
  uint32_t since_publish;     /* ticks since the set was published */
  uint32_t published;         /* times */
} fsw_bench_faults_state_t;
/* cffi: end */

extern const fsw_task_desc_t fsw_task_board_imu;
extern const fsw_task_desc_t fsw_task_board_gnss;
extern const fsw_task_desc_t fsw_task_board_radalt;
extern const fsw_task_desc_t fsw_task_board_baro;
extern const fsw_task_desc_t fsw_task_board_touch;
extern const fsw_task_desc_t fsw_task_board_engine;
extern const fsw_task_desc_t fsw_task_board_tvc;
extern const fsw_task_desc_t fsw_task_board_fins;
extern const fsw_task_desc_t fsw_task_board_rcs;
extern const fsw_task_desc_t fsw_task_bench_faults;

#endif
