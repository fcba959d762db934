/* nav_lanes.h - fault-tolerant navigation: one filter per IMU, a monitor over them, one output that does not step.
 *
 * Task "gnc.nav_lanes" replaces "gnc.imu_vote" and "gnc.nav" together: same output, same parameters (fsw_nav_params_t).
 * FRONT END (nav_front.c), per IMU sample: the tests, parity and membership of imu_vote.c. A unit whose sample fails does not feed its
 * lane: the lane takes the voted increments instead, with more noise, so that no lane is ever driven by a sample known to be wrong. Two or
 * more units that fail the same test together are the environment: for FSW_LANES_HOLD_NS nobody is isolated. A saturated unit that must
 * be used nevertheless adds (specific force)^2 to the velocity noise and (rate)^2 to the attitude noise, correlated over 0.1 s.
 * LANES: each a full fsw_nav_state_t with its own IMU errors, fed with all other sensors. A lane is a MEMBER of the output when its unit
 * delivers, the monitor has nothing against it, and it was not forked within the last 2 s. A lane that was carried by the others for half
 * a second is forked from a member when its unit is back: state and covariance of the member, its own last IMU errors, reopened.
 * MONITOR (nav_monitor.c)
 *   windowed NIS per source: sum over 30 accepted fixes against the two-sided 1e-4 bounds of chi-square (Mehra and Peschon 1971);
 *   receiver against receiver: two-sided CUSUM (Page 1954) of their difference per axis, drift 0.25 sigma, threshold 40. The liar is the
 *     one whose positions drift from the integral of the lanes' velocity (means over 2 s and 20 s, the greater drift by a factor of 2);
 *   solution separation (Brown and McBurney 1988): chi-square of position, velocity and attitude between two lanes with P_i + P_j, an
 *     upper bound since the lanes share all other sensors; a lane apart from both others twice in a row, five tests a second, is out.
 * A source goes out only while a second one of its kind is in good standing. A receiver comes back after 30 differences to the other that
 * are small singly and in the mean (or when the other is gone), an altimeter after 2 s, doubling to 16 s; a lane is forked again after
 * 5 s, doubling to 40 s. Every isolation is reversible, counted and told in an event.
 * TIME: the reference lane takes every sample. The others take ten at a time, nine as one step and the newest alone (so that their rate is
 * the present one), and all stand together in front of each measurement. The terms of coning and sculling with the step before are
 * scaled for steps of unequal length: for a rate linear in time, T' before T, by 2 T^2 / (T' (T + T')). Between, the output is that of
 * the reference plus the distance between it and the combination when they last stood together.
 * OUTPUT: three members: middle value per component (Broen 1975), attitude as rotation vectors relative to one of them. Two: the one with
 * the lower NIS over 5 s (hysteresis 20 %). One: that one, level 2. None: the lane closest to health, quality 2, level 3. When the
 * selection changes, the difference is blended out over 0.1 s. */
#ifndef FLIGHTSW_NAV_LANES_H
#define FLIGHTSW_NAV_LANES_H
#include "flightsw/nav.h"

/* cffi: begin */
#define FSW_LANES 3
#define FSW_LANES_WINDOW 30
#define FSW_LANES_HOLD_NS 500000000
/* causes of LANE_OUT */
#define FSW_LANE_CARRIED 1     /* its unit is excluded, silent or overruled */
#define FSW_LANE_APART 2       /* solution separation */
#define FSW_LANE_INVALID 3     /* not finite, or lost */
/* causes of SOURCE_OUT */
#define FSW_SOURCE_NIS 1
#define FSW_SOURCE_DRIFT 2

typedef struct { /* front end of the three units */
  fsw_imu_vote_state_t vote;
  fsw_imu_vote_params_t vote_params;
  fsw_imu_voted_t voted;       /* last output of the vote */
  double dth[9];               /* rad, IMU axes: increments for each lane */
  double dv[9];                /* m/s */
  int64_t t_hold_ns;           /* until then nobody is isolated; -1: no common-mode failure */
  uint32_t carried[FSW_LANES]; /* samples in a row that other units gave */
  uint32_t own[FSW_LANES];     /* samples in a row of the lane's own unit */
  uint32_t common;             /* common-mode failures so far */
  uint8_t fresh;               /* 1: this tick has a sample */
  uint8_t own_mask;            /* lanes fed by their own unit in it */
  uint8_t sat_gyro;            /* bit k: unit k, at the limit of a gyro axis */
  uint8_t sat_accel;
} fsw_nav_front_t;

typedef struct { /* a sequence of accepted fixes of one source */
  double nis[FSW_LANES_WINDOW]; /* not divided by the degrees of freedom */
  double sum;
  int64_t t_out_ns;            /* when it was excluded */
  uint32_t next;
  uint32_t count;
  uint32_t high;               /* sums in a row above the upper bound */
  uint32_t exclusions;
  uint8_t out;                 /* excluded: not given to the lanes */
  uint8_t suspect;             /* bit 0 above, bit 1 below its bounds */
  uint8_t pad0[6];
} fsw_nav_window_t;

typedef struct { /* one receiver in the comparison of receivers */
  double r_e[3];               /* m, last fix */
  double sigma[3];             /* m, east north up */
  double fast[3];              /* m, mean over 2 s of the position less the integral of velocity, e */
  double slow[3];              /* m, over 20 s */
  int64_t t_ns;                /* of the last fix; -1 none */
  uint32_t fixes;              /* up to 1000 */
  uint32_t pad0;
} fsw_nav_receiver_t;

typedef struct {
  fsw_nav_window_t src[FSW_NAV_SOURCES];
  fsw_nav_receiver_t rx[FSW_NAV_GNSS];
  double path_e[3];            /* m, integral of velocity since the start */
  double cusum[6];             /* upwards, downwards: east north up of receiver 0 less receiver 1 */
  double mean[3];              /* sum of normalised differences since the last bad one */
  double lane_nis[FSW_LANES];  /* mean over 5 s, per degree of freedom */
  double separation[3];        /* chi-square of pairs 01 02 12, the greatest of position, velocity, attitude */
  int64_t t_pair_ns;           /* time of the last pair compared */
  int64_t t_lane_fix_ns[FSW_LANES];
  uint32_t pair_goods;         /* differences in a row that were small */
  uint32_t apart[FSW_LANES];   /* tests in a row in which the lane was apart from both others */
} fsw_nav_monitor_t;

typedef struct { /* health of one lane */
  double bias[12];             /* its IMU errors when its unit was last in use */
  int64_t t_ready_ns;          /* not a member before */
  int64_t t_out_ns;            /* isolated by the monitor at; -1 not */
  uint32_t forks;
  uint32_t isolations;
  uint8_t cause;               /* FSW_LANE_*, 0 member */
  uint8_t stale;               /* must be forked before it may be a member */
  uint8_t started;
  uint8_t pad0[5];
} fsw_nav_lane_t;

typedef struct {
  fsw_nav_state_t lane[FSW_LANES];
  fsw_nav_lane_t health[FSW_LANES];
  fsw_nav_front_t front;
  fsw_nav_monitor_t mon;
  fsw_nav_t sol[FSW_LANES];
  fsw_nav_t out;               /* last output */
  double acc_dth[9];           /* rad, IMU axes: increments of each lane that are not yet integrated */
  double acc_dv[9];            /* m/s */
  int64_t acc_t_ns;            /* end of the last of them */
  double shift_r[3];           /* m, l: combination of the lanes less the reference, when they were last together */
  double shift_v[3];           /* m/s, l */
  double shift_q[3];           /* rad, b */
  double off_r[3];             /* m, l: difference blended out since t_blend_ns */
  double off_v[3];             /* m/s, l */
  double off_q[3];             /* rad, b */
  int64_t t_blend_ns;          /* -1: none */
  uint32_t head_seq[FSW_NAV_SOURCES];
  uint32_t acc_n;              /* samples in the sums */
  uint32_t length[FSW_LANES];  /* samples in the last step of a lane */
  uint32_t switches;           /* changes of the selection */
  uint32_t pad0;
  uint8_t select_mask;         /* lanes that form the output */
  uint8_t member_mask;
  uint8_t ref;                 /* the lane that speaks in status and events */
  uint8_t level;               /* 0 three members, 1 two, 2 one, 3 none */
  uint8_t own_mask;            /* of the sample before */
  uint8_t pad1[3];
} fsw_nav_lanes_state_t;

/* ---- front end: io has the units as its first three inputs; ev may be NULL ---------------------------------------------------------- */
void fsw_nav_front_init(fsw_nav_front_t *f, double period_ms);
void fsw_nav_front_step(fsw_nav_front_t *f, const fsw_io_t *io, fsw_events_t *ev);

/* ---- monitor -------------------------------------------------------------------------------------------------------------------- */
void fsw_nav_monitor_init(fsw_nav_monitor_t *m);
/* Result of source k (GNSS 0-1, altimeters 2-3) in the reference lane: its NIS per degree of freedom when it was accepted. */
void fsw_nav_monitor_nis(fsw_nav_monitor_t *m, uint32_t k, double nis, int64_t t_ns, fsw_events_t *ev);
/* A fix of receiver k, fed to the lanes or not, against the other receiver. */
void fsw_nav_monitor_fix(fsw_nav_monitor_t *m, const fsw_nav_state_t *lane, uint32_t k, const fsw_gnss_t *z, fsw_events_t *ev);
/* Sources whose time out is over. */
void fsw_nav_monitor_watch(fsw_nav_monitor_t *m, int64_t t_ns, fsw_events_t *ev);
/* Separation of the lanes in `mask`; returns the mask of lanes that are apart from both others. */
uint32_t fsw_nav_monitor_lanes(fsw_nav_monitor_t *m, const fsw_nav_lanes_state_t *s, uint32_t mask);

/* ---- lanes ------------------------------------------------------------------------------------------------------------------------ */
void fsw_nav_lanes_init(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p);
/* Strapdown of the reference with what the front end has; with `together`, and whenever the units are not as before, of all lanes. A
 * silence holds the last rates. Returns 1 when all lanes stand at the same time. */
int32_t fsw_nav_lanes_imu(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, int32_t together, int64_t dt_ns);
/* Membership, forks; ev may be NULL. */
void fsw_nav_lanes_health(fsw_nav_lanes_state_t *s, const fsw_nav_params_t *p, int64_t t_ns, fsw_events_t *ev);
/* Output into s->out: of all lanes when they stand together, else of the reference and its distance to the combination of then. */
void fsw_nav_lanes_output(fsw_nav_lanes_state_t *s, int32_t together, int64_t t_ns, int64_t dt_ns);
/* cffi: end */

extern const fsw_task_desc_t fsw_task_gnc_nav_lanes;

#endif
