/* nav.h - navigation: IMU voting, strapdown integration and an error-state filter with honest covariance.
 *
 * Two tasks: "gnc.imu_vote" makes one IMU stream of up to three units; "gnc.nav" integrates it and corrects it with GNSS, radar
 * altimeters and a barometer. Their parts are pure functions below, usable without a schedule (recordings, Monte Carlo).
 *
 * FRAMES e Earth-fixed, l landing site (east, north, up), b body. Nominal state: position and velocity of the IMU in e, q_be.
 * STRAPDOWN with the bias- and scale-free increments dth, dv, those of the sample before primed, w = omega_ie dt:
 *   phi = dth + dth' x dth / 12                                    (coning)
 *   u = dv + dth x dv / 2 + (dth' x dv + dv' x dth) / 12           (rotation, sculling);  u_e = C u - w x (C u) / 2
 *   v+ = v + u_e + (g(r + v dt/2) - 2 omega_ie x v_mid) dt,  r+ = r + (v + v+) dt/2,  q+ = q(-w) q q(phi)
 * (Savage, JGCD 21, 1998; Groves, Principles of GNSS, Inertial and Multisensor Navigation, 2013); g = J2 gravitation plus centrifugal.
 * ERROR STATE x = [dr dv psi | b_a b_g s_a s_g | b_n | b_ra | b_baro] = truth - estimate, C_true = (I + [psi]x) C_est, all in e except the
 * IMU errors (body). b_n: correlated GNSS position error (e), b_ra: altimeter or pad-height bias, b_baro: barometer height bias.
 * Over dt, G the gravity gradient:  e = G dr dt - 2 omega_ie x dv dt - u_e x (psi + psi+)/2 - C db_a dt - C diag(dv) ds_a;
 *   dv+ = dv + e,  dr+ = dr + (dv + e/2) dt,  psi+ = psi - w x psi - C db_g dt - C diag(dth) ds_g.
 * IMU model: measured increment = (1 + s) true increment + b dt.
 * COVARIANCE U D U^T, U unit upper triangular, vehicle block first: Gram-Schmidt for the 9 vehicle states, product for the bias columns
 * (Thornton and Bierman 1977; Carpenter and D'Souza, NASA/TP-2018-219822), Agee-Turner for bias noise, Bierman's scalar update.
 * A bias-type state whose initial sigma and noise are zero does not exist: D = 0, its column is skipped.
 * The covariance takes steps of cov_period_ticks IMU samples and is always brought up to date before a measurement.
 * TIME OF VALIDITY: a measurement is compared with the state at its own time, from a ring of past states (0.3 s, corrected with every
 * correction of the filter) and its rows are referred to the present error. Older ones and repeated counters are refused.
 *   With Phi the transition from t_v to now and w the process noise between them, x(t_v) = Phi^-1 (x - w): rows H Phi^-1, of which
 *   Phi^-1 = [1 -tau (tau/2) [u]x^T; 0 1 [u]x; 0 0 1] is kept, u the velocity given by the specific force since t_v. Neglected: w, with
 *   0.03 m/s/rt-h and 0.15 s 2e-4 m/s and 2e-5 m against fixes of 0.05 m/s and 1.5 m, and what gyro errors do in tau; accelerometer bias and scale have
 *   their columns in late velocities. test_nav_delay.c measures it: 150 +- 30 ms out of order cost at most 2 % RMS; against an exact rewind
 *   at worst 0.01 sigma with 1 mg at 60 and 290 ms in turn. After a gap of the IMU that had to be bridged w is large: late fixes then weigh too much.
 * ALIGNMENT on the pad (nav_align_s): TRIAD of mean specific force and surveyed azimuth of body y, matrix to quaternion by its largest
 * component; the accelerometer biases enter U as the tilt they cause. Until nav_pad_until_s, once a second: velocity zero, mean rate that
 * of the Earth, known position, each inside its gate; lift-off (mean specific force 0.5 m/s2 off gravity) ends it. In flight: the state
 * handed over by init_*.
 * ATTITUDE INPUT and MAGNETOMETER (fsw_nav_on_attitude, fsw_nav_on_magnetometer) are optional and at their time of validity too: rotation
 * vector between estimate and input, body axis k on psi; two components of the field's direction t at right angles to the reference m,
 * t x m on psi. Chi-square gate; out after 0.5 s of rejections, back after nav_readmit good ones in a row; an attitude input that agrees
 * with itself is believed instead when no fix was accepted for 2 s.
 * GATES: position triple by its joint chi-square (1e-4), velocity triple likewise, single scalars 5 sigma, altimeters 3 sigma short and 5
 * long. Bounded rejection: a source rejected for 0.5 s is tested against two hypotheses. "Filter wrong" needs an independent witness
 * (second receiver or altimeter that is rejected in the same way, or nothing left that supports the filter); then the block concerned is
 * opened by the size of the contradiction, the sample is fused and NAV_RESET is published (the barometer: when nothing else knows the height). A lone receiver
 * without velocity is right when no fix was accepted for 10 s. Otherwise the source stays out until nav_readmit samples in a row
 * (altimeter: 4 of 8) pass the gate.
 * Attitude at the start: upright x up, y east, z north; then the minimal rotation that takes up to the axis leaning init_tilt_deg
 * towards minus the horizontal velocity (east without one); then init_roll_deg about x. */
#ifndef FLIGHTSW_NAV_H
#define FLIGHTSW_NAV_H
#include "flightsw/messages.h"
#include "flightsw/task.h"

/* Error states: all 26, or with -DFSW_NAV_LITE the first 15 (position, velocity, attitude, biases of the accelerometers and gyros) for a
 * small processor: 40 % of the memory, and dishonest where scale factors or correlated GNSS errors matter (test_nav_lite.c measures it).
 * The nominal values of the states left out stay zero. */
#ifdef FSW_NAV_LITE
#define FSW_NAV_N 15
#define FSW_NAV_NU 105
#else
/* cffi: begin */
#define FSW_NAV_N 26
#define FSW_NAV_NU 325
/* cffi: end */
#endif

/* cffi: begin */
#define FSW_VOTE_UNITS 3
#define FSW_NAV_NX 9
#define FSW_NAV_BA 9
#define FSW_NAV_BG 12
#define FSW_NAV_SA 15 /* this and the following: not in the 15-state variant */
#define FSW_NAV_SG 18
#define FSW_NAV_BN 21
#define FSW_NAV_BRA 24
#define FSW_NAV_BBARO 25
#define FSW_NAV_RING 17
#define FSW_NAV_GNSS 2
#define FSW_NAV_RADALT 2
#define FSW_NAV_SOURCES 5
#define FSW_NAV_AIDS 2

/* ---- IMU voting ------------------------------------------------------------------------------------------------------------ */
/* Causes of an exclusion (arg0 of IMU_EXCLUDED): 1 stale, 2 invalid, 3 zero, 4 saturated, 5 frozen, 6 parity. */

typedef struct {
  double vote_gyro_deg_s;      /* [0, 100] = 0.3 : parity limit between two units, 6 sigma of the difference and more */
  double vote_gyro_share;      /* [0, 1] = 0.001 : plus this share of the rate (scale factor, misalignment) */
  double vote_accel_m_s2;      /* [0, 100] = 0.3 : the same for the specific force */
  double vote_accel_share;     /* [0, 1] = 0.002 : plus this share of the specific force */
  double vote_skew_ms;         /* [0, 1000] = 0.5 : samples further apart in time of validity are not the same sample */
  double imu_period_ms;        /* [0.01, 1000] = 1 : nominal sample interval */
  uint32_t vote_run;           /* [1, 1000] = 3 : failures in a row that exclude (or 5 of 10) */
  uint32_t vote_readmit;       /* [1, 100000] = 500 : clean samples in a row that readmit */
} fsw_imu_vote_params_t;

typedef struct {
  double last[18];             /* rad, m/s: previous sample of each unit, dtheta then dv */
  double out[6];               /* rad, m/s: previous output */
  int64_t t_out_ns;
  uint32_t head_seq[FSW_VOTE_UNITS];
  uint32_t repeats[FSW_VOTE_UNITS]; /* samples in a row equal bit for bit to the one before */
  uint32_t run[FSW_VOTE_UNITS];     /* failures in a row */
  uint32_t good[FSW_VOTE_UNITS];    /* clean samples in a row */
  uint32_t history[FSW_VOTE_UNITS]; /* last ten verdicts, newest in bit 0, 1 failed */
  uint32_t seq;
  uint32_t split_run;          /* samples in a row in which the only two units disagreed */
  uint8_t excluded_mask;
  uint8_t seen_mask;           /* units that ever delivered */
  uint8_t lock;                /* 1 + unit followed while the only two disagree, 0 none */
  uint8_t pad0[1];
} fsw_imu_vote_state_t;

/* ---- navigation filter -------------------------------------------------------------------------------------------------------- */

typedef struct { /* what a covariance step needs to know of the interval it bridges */
  double dt;                   /* s */
  double w_z;                  /* rad, Earth rotation over dt */
  double g_dt[6];              /* 1/s, gravity gradient times dt: xx xy xz yy yz zz */
  double c[9];                 /* C_be in the middle of the interval */
  double u_e[3];               /* m/s, velocity increment */
  double dv[3];                /* m/s, body increments, sums */
  double dth[3];               /* rad */
  double q_v;                  /* m2/s2, white noise over the interval, per axis */
  double q_psi;                /* rad2 */
} fsw_nav_transition_t;

typedef struct { /* a past state */
  int64_t t_ns;
  double r_e[3];
  double v_e[3];
  double q_be[4];
  double omega_b[3];
} fsw_nav_past_t;

typedef struct { /* the strapdown solution and its covariance */
  int64_t t_ns;                /* time of validity */
  double r_e[3];               /* m, IMU */
  double v_e[3];               /* m/s */
  double q_be[4];
  double b_a[3];               /* m/s2; from here to b_baro in the order of the error state */
  double b_g[3];               /* rad/s */
  double s_a[3];               /* 1 */
  double s_g[3];               /* 1 */
  double b_n[3];               /* m */
  double b_ra;                 /* m */
  double b_baro;               /* m */
  double c_be[9];              /* of q_be */
  double g_e[3];               /* m/s2, gravity at the last step */
  double omega_b[3];           /* rad/s, relative to inertial, of the last interval */
  double f_b[3];               /* m/s2 */
  double dth_p[3];             /* rad, last increments, free of bias and scale */
  double dv_p[3];              /* m/s */
  double sum_dth[3];           /* rad, since the last covariance step */
  double sum_dv[3];            /* m/s */
  double sum_dt;               /* s */
  double sum_qv;               /* m2/s2, extra noise of bridged gaps */
  double sum_qpsi;             /* rad2 */
  double q_sum[4];             /* attitude at the last covariance step */
  double fold_s;               /* s, since bias noise was last added */
  double x[FSW_NAV_N];         /* correction collected in the present epoch */
  double d[FSW_NAV_N];
  double u[FSW_NAV_NU];
  uint32_t fold_n;             /* covariance steps since then */
  uint32_t cov_n;              /* IMU samples since the last covariance step */
} fsw_nav_filter_t;

typedef struct { /* what is known about one source: GNSS 0-1, altimeters 2-3, barometer 4 */
  int64_t t_valid_ns;          /* of the newest sample taken; -1 none */
  int64_t t_accept_ns;         /* filter time of the last acceptance; -1 never */
  int64_t t_reject_ns;         /* start of the present run of rejections; -1 none */
  double last[3];              /* m, last reading, to see it frozen */
  double res[3];               /* m, last residual: north east down, or the range */
  double res_v;                /* m/s, size of the last velocity residual */
  double sigma[3];             /* m, of the residual's measurement noise */
  uint32_t seq;                /* greatest counter seen */
  uint32_t seen;               /* bit k: counter seq - k was seen */
  uint32_t head_seq;
  uint32_t rejects;            /* in the present run */
  uint32_t goods;              /* in a row, while not in use */
  uint32_t history;            /* last eight gate results, newest in bit 0, 1 passed */
  uint8_t used;                /* being fused */
  uint8_t excluded;            /* out after the two-hypothesis test, or lost */
  uint8_t consistent;          /* rejections of this run agree with each other */
  uint8_t vel_rejected;        /* its velocity does not agree either */
  uint8_t started;             /* has been used before */
  uint8_t announced;           /* state told in an event: 1 in use, 2 lost, 3 excluded */
  uint8_t frozen;              /* readings in a row repeated bit for bit in motion */
  uint8_t pad0[1];
} fsw_nav_source_t;

typedef struct { /* increments gathered at rest, for the alignment and the zero-rate measurement */
  double dth[3];               /* rad, sums of measured increments, body axes */
  double dv[3];                /* m/s */
  double dt;                   /* s */
} fsw_nav_rest_t;

typedef struct {
  double site_lat_deg;         /* [-90, 90] : geodetic latitude of the landing site */
  double site_lon_deg;         /* [-360, 360] : longitude */
  double site_height_m;        /* [-500, 9000] : height of the pad plane above the ellipsoid */
  double init_r_l_m[3];        /* [-1e7, 1e7] = 0 : body origin at the start, site frame */
  double init_v_l_m_s[3];      /* [-12000, 12000] = 0 : relative to the Earth */
  double init_tilt_deg;        /* [-180, 180] = 0 : stage axis from the vertical towards minus the horizontal velocity */
  double init_roll_deg;        /* [-360, 360] = 0 : then about the stage axis */
  double nav_init_att_err_deg[3]; /* [-180, 180] = 0 : error of the attitude handed over, rotation vector in the site frame */
  double init_sigma_r_m[3];    /* [0, 1e5] = 0.5 : 1-sigma of the state handed over, east north up */
  double init_sigma_v_m_s[3];  /* [0, 1000] = 0.03 : */
  double init_sigma_att_deg[3];/* [0, 90] = 0.05 : */
  double nav_init_t_s;         /* [0, 1e6] = 0 : time the initial state belongs to */
  double imu_x_m;              /* [-200, 200] = 20 : IMU in body axes, from the body origin */
  double imu_y_m;              /* [-200, 200] = 0 : */
  double imu_z_m;              /* [-200, 200] = 0 : */
  double imu_axis_x;           /* [-3, 3] = 1 : body x is this axis of the IMU, signed: 1 x, 2 y, 3 z */
  double imu_axis_y;           /* [-3, 3] = 2 : */
  double imu_axis_z;           /* [-3, 3] = 3 : */
  double imu_period_ms;        /* [0.01, 1000] = 1 : nominal sample interval */
  double gyro_bias_deg_h;      /* [0, 100000] = 5 : 1-sigma of the constant bias */
  double gyro_bias_gm_deg_h;   /* [0, 100000] = 1 : 1-sigma of the slow bias */
  double accel_bias_m_s2;      /* [0, 10] = 0.00980665 : 1-sigma of the constant bias (1 mg) */
  double accel_bias_gm_m_s2;   /* [0, 10] = 0.0004903325 : 1-sigma of the slow bias */
  double bias_tau_s;           /* [0.1, 1000000] = 300 : correlation time of the slow biases */
  double gyro_scale_ppm;       /* [0, 100000] = 200 : 1-sigma */
  double accel_scale_ppm;      /* [0, 100000] = 300 : 1-sigma */
  double arw_deg_rt_h;         /* [0, 1000] = 0.05 : angle random walk */
  double vrw_m_s_rt_h;         /* [0, 1000] = 0.03 : velocity random walk */
  double hold_rate_rad_s;      /* [0, 10] = 0.05 : change of the rate while the IMU is silent, 0.1 s correlated */
  double hold_accel_m_s2;      /* [0, 100] = 5 : the same for the specific force */
  double gnss_x_m;             /* [-200, 200] = 40 : antenna in body axes, from the body origin */
  double gnss_y_m;             /* [-200, 200] = 0 : */
  double gnss_z_m;             /* [-200, 200] = 0 : */
  double gnss_gm_m;            /* [0, 10000] = 0 : correlated position error that the stated sigma omits, 1-sigma; 0: white errors */
  double gnss_gm_tau_s;        /* [0.1, 1000000] = 120 : its correlation time */
  double gnss_floor_r_m;       /* [0, 1000] = 0.1 : least position sigma believed */
  double gnss_floor_v_m_s;     /* [0, 100] = 0.02 : least velocity sigma believed */
  double gnss_lag_max_s;       /* [0, 0.3] = 0.3 : older samples are refused */
  double radalt_x_m;           /* [-200, 200] = 2 : altimeter in body axes, from the body origin, looking along -x */
  double radalt_y_m;           /* [-200, 200] = 0 : */
  double radalt_z_m;           /* [-200, 200] = 0 : */
  double radalt_sigma_m;       /* [0.001, 1000] = 0.05 : noise, 1-sigma, fixed part */
  double radalt_sigma_share;   /* [0, 1] = 0.003 : and share of the range */
  double radalt_max_m;         /* [1, 100000] = 2500 : longest range used */
  double radalt_tilt_max_deg;  /* [0, 85] = 25 : greatest angle from the vertical used */
  double radalt_bias_m;        /* [0, 1000] = 0.01 : 1-sigma of its bias or of the pad height */
  double radalt_bias_tau_s;    /* [0.1, 1000000] = 1000 : its correlation time */
  double radalt_plume_m;       /* [0, 1000] = 60 : below this range plume and dust double the sigma */
  double baro_sigma_m;         /* [0, 10000] = 0 : noise of the pressure height, 1-sigma; 0: barometer not used */
  double baro_bias_m;          /* [0, 10000] = 0 : 1-sigma of its bias, atmosphere included */
  double baro_bias_tau_s;      /* [0.1, 1000000] = 300 : its correlation time */
  double baro_speed_max_m_s;   /* [0, 10000] = 250 : faster, its pressure is not static */
  double nav_gate_sigma;       /* [1, 100] = 5 : gate of a single scalar */
  double nav_align_s;          /* [0, 600] = 0 : first so many seconds at rest: mean specific force and azimuth give the attitude; 0: off */
  double nav_azimuth_deg;      /* [-360, 360] = 90 : surveyed azimuth of body axis y (nose up) from north towards east */
  double nav_pad_until_s;      /* [0, 1e6] = 0 : at rest on the pad until then: zero velocity, zero rate, known position; 0: off */
  double nav_pad_v_m_s;        /* [0.0001, 10] = 0.02 : sway velocity, 1-sigma, new every second */
  double nav_pad_rate_rad_s;   /* [1e-7, 1] = 0.001 : sway rate, mean of a second, 1-sigma */
  double nav_pad_r_m;          /* [0, 1e5] = 0 : survey of the position, 1-sigma of all of it together; 0: no position used */
  double att_floor_deg;        /* [0, 90] = 0.001 : least sigma of an attitude input believed */
  double mag_ref_l[3];         /* [-1e6, 1e6] = 0 : reference field, any unit, site frame (east north up) */
  double mag_sigma_deg;        /* [0, 90] = 0 : error of its direction, 1-sigma per axis; 0: magnetometer not used */
  uint32_t cov_period_ticks;   /* [1, 1000] = 20 : IMU samples per covariance step */
  uint32_t nav_readmit;        /* [1, 1000] = 5 : fixes in a row that readmit a receiver */
} fsw_nav_params_t;

typedef struct {
  fsw_nav_filter_t f;
  fsw_nav_past_t ring[FSW_NAV_RING];
  fsw_nav_source_t src[FSW_NAV_SOURCES];
  fsw_nav_source_t aid[FSW_NAV_AIDS]; /* attitude input, magnetometer */
  double site_e[3];            /* m, pad centre */
  double c_le[9];              /* e components to l components */
  double q_le[4];
  double axes[9];              /* IMU axes to body axes */
  double lever_imu[3];         /* m, body origin to IMU */
  double lever_gnss[3];        /* m, IMU to antenna */
  double lever_radalt[3];      /* m, IMU to altimeter */
  double arw;                  /* rad/sqrt(s) */
  double vrw;                  /* m/s/sqrt(s) */
  double cos_tilt_max;
  double nis_gnss;             /* last, over degrees of freedom */
  double nis_radalt;
  int64_t period_ns;           /* nominal IMU interval */
  int64_t t_start_ns;
  int64_t t_gap_ns;            /* length of the present silence of the IMU, as of the last tick */
  int64_t t_held_ns;           /* part of it bridged by holding the last increments */
  int64_t t_fix_ns;            /* last accepted position fix */
  int64_t t_height_ns;         /* last accepted fix with height, or range */
  uint32_t imu_head_seq;
  uint32_t imu_count;          /* samples taken */
  uint32_t imu_dropped;        /* not monotonic, not finite, too fast */
  uint32_t ring_next;
  uint32_t ring_count;
  uint32_t accepted;           /* scalars */
  uint32_t rejected;
  uint32_t stale;              /* samples too old, repeated or not finite */
  uint32_t resets;             /* of the two-hypothesis test */
  uint32_t pad_updates;        /* seconds at rest fused */
  int64_t t_align_ns;          /* the alignment ends; 0 off or over */
  int64_t t_pad_ns;            /* the rest on the pad ends; 0 off or over */
  int64_t t_rest_ns;           /* the present second at rest ends */
  double azimuth_l[3];         /* direction of body axis y at rest, site frame */
  fsw_nav_rest_t rest;
} fsw_nav_state_t;

/* ---- UD factors: u[n(n-1)/2] strictly upper columns, d[n]. n <= FSW_NAV_N -------------------------------------------------------- */

/* P += c a a^T, c >= 0; a is destroyed; a[top] is its last element that is not zero. */
void fsw_ud_rank1(double *u, double *d, double c, double *a, uint32_t top);
/* State j times m, 0 < m <= 1. */
void fsw_ud_decay(double *u, double *d, uint32_t n, uint32_t j, double m);
/* f = U^T h, so that h_a P h_b^T = sum d f_a f_b (fsw_ud_inner). */
void fsw_ud_project(const double *u, const double *d, uint32_t n, const double *h, double *f);
/* The same for three rows h[3][n], f[3][n]. */
void fsw_ud_project3(const double *u, const double *d, uint32_t n, const double *h, double *f);
double fsw_ud_inner(const double *d, uint32_t n, const double *fa, const double *fb);
/* One element of P. */
double fsw_ud_cov(const double *u, const double *d, uint32_t n, uint32_t i, uint32_t k);
/* Scalar update with innovation nu (of the nominal state; x is the correction so far) and variance r > 0; returns the NIS. */
double fsw_ud_scalar(double *u, double *d, double *x, uint32_t n, const double *h, double nu, double r);
/* Time update of the FSW_NAV_N states (bias noise apart: fsw_nav_bias_noise). */
void fsw_ud_predict(double *u, double *d, const fsw_nav_transition_t *t);

/* ---- strapdown ---------------------------------------------------------------------------------------------------------------- */

/* Gravity in e, m/s2, J2 and centrifugal, at |r| > 1e6 m. */
void fsw_nav_gravity(const double *r_e, double *g_e);
/* One step with measured increments in body axes over dt seconds. 0; -1 refused (not finite, |dth| >= 0.3 rad, dt not in (0, 1]). */
int32_t fsw_nav_strapdown(fsw_nav_filter_t *f, const double *dth, const double *dv, double dt);
/* Transition over everything since the last covariance step. */
void fsw_nav_transition(const fsw_nav_filter_t *f, double vrw, double arw, fsw_nav_transition_t *t);
/* Rows north, east, down of the local level frame at r_e (Bowring 1976, one pass, no trigonometry). */
void fsw_nav_ned(const double *r_e, double *ned9);
/* q_bl of the start, as described above. */
void fsw_nav_start_attitude(double tilt_rad, double roll_rad, const double *v_l, double *q_bl);
/* Site frame: origin in e, C_le, q_le. */
void fsw_nav_site(double lat_rad, double lon_rad, double h_m, double *site_e, double *c_le, double *q_le);

/* ---- the filter without a schedule: same code as the task. Events may be NULL. ----------------------------------------------------- */

void fsw_nav_init(fsw_nav_state_t *s, const fsw_nav_params_t *p);
/* Sets the covariance from the parameters at the present state. */
void fsw_nav_init_covariance(fsw_nav_state_t *s, const fsw_nav_params_t *p);
int32_t fsw_nav_on_imu(fsw_nav_state_t *s, const fsw_nav_params_t *p, int64_t t_valid_ns, const double *dth, const double *dv);
/* Repeats the last increments over dt_ns with more noise. */
void fsw_nav_hold(fsw_nav_state_t *s, const fsw_nav_params_t *p, int64_t dt_ns);
/* A tick of dt_ns without a sample: counts the silence, and from the fourth missing sample on holds the last rates (fsw_nav_hold), so that
 * the solution goes on, for at most FSW_NAV_HOLD_MAX_NS. */
#define FSW_NAV_SILENT_PERIODS 3      /* so many missing samples and the solution says so */
#define FSW_NAV_HOLD_MAX_NS 500000000 /* beyond, the held increments mean nothing */
void fsw_nav_silence(fsw_nav_state_t *s, const fsw_nav_params_t *p, int64_t dt_ns);
/* 1 fused, 0 rejected by a gate or not yet readmitted, -1 refused (invalid, repeated, too old, outside its range). */
int32_t fsw_nav_on_gnss(fsw_nav_state_t *s, const fsw_nav_params_t *p, uint32_t k, const fsw_gnss_t *z, fsw_events_t *ev);
int32_t fsw_nav_on_radalt(fsw_nav_state_t *s, const fsw_nav_params_t *p, uint32_t k, const fsw_radalt_t *z, fsw_events_t *ev);
int32_t fsw_nav_on_baro(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_baro_t *z, fsw_events_t *ev);
int32_t fsw_nav_on_attitude(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_attitude_t *z, fsw_events_t *ev);
int32_t fsw_nav_on_magnetometer(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_mag_t *z, fsw_events_t *ev);
void fsw_nav_update_covariance(fsw_nav_state_t *s, const fsw_nav_params_t *p);
void fsw_nav_solution(const fsw_nav_state_t *s, fsw_nav_t *out);
/* 9 x 9 covariance of [dr dv psi] in e, row by row, of the present filter time. */
void fsw_nav_covariance(const fsw_nav_state_t *s, double *out81);
void fsw_nav_status(const fsw_nav_state_t *s, fsw_nav_status_t *out);

/* ---- rows of a measurement, for tests by finite differences and for other filters: nothing is changed ------------------------------- */

/* Rows h[m][FSW_NAV_N], innovations nu[m], variances r[m] of one sample at the present state; the number m of scalars (6, 1, 1, 3, 2, 9 at
 * most); 0 not usable. State j of the row is the derivative of the expected measurement by error state j (nu falls by h_j x_j). */
uint32_t fsw_nav_rows_gnss(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_gnss_t *z, double *h, double *nu, double *r);
uint32_t fsw_nav_rows_radalt(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_radalt_t *z, double *h, double *nu, double *r);
uint32_t fsw_nav_rows_baro(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_baro_t *z, double *h, double *nu, double *r);
uint32_t fsw_nav_rows_attitude(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_attitude_t *z, double *h, double *nu, double *r);
uint32_t fsw_nav_rows_magnetometer(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_mag_t *z, double *h, double *nu, double *r);
/* At rest: velocity, mean rate of `rest`, and (nav_pad_r_m > 0) position. */
uint32_t fsw_nav_rows_rest(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_rest_t *rest, double *h, double *nu, double *r);

/* ---- alignment on the pad ------------------------------------------------------------------------------------------------------------- */

/* q_rb of two directions known in frames b and r (TRIAD, Black, AIAA J. 2(7), 1964): the first exactly, the second as to azimuth about it.
 * 0; -1 when one is no direction or they are parallel within 0.06 deg. */
int32_t fsw_nav_triad(const double *first_b, const double *second_b, const double *first_r, const double *second_r, double *q_rb);
/* Attitude from the mean specific force of `rest` and direction d_b (body) that is d_l (site frame). Position of init_r_l_m, velocity zero
 * and covariance of the parameters. 0; -1 refused: state untouched. */
int32_t fsw_nav_align(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_rest_t *rest, const double *d_b, const double *d_l);
/* One sample at rest; called by fsw_nav_on_imu while nav_align_s or nav_pad_until_s last. */
void fsw_nav_at_rest(fsw_nav_state_t *s, const fsw_nav_params_t *p, const double *dth, const double *dv, double dt);

/* Pressure height above the 101325 Pa level, m (ICAO standard atmosphere to 20 km; above that clamped). */
double fsw_nav_pressure_height(double p_pa);
/* cffi: end */

extern const fsw_task_desc_t fsw_task_gnc_imu_vote;
extern const fsw_task_desc_t fsw_task_gnc_nav;

#endif
