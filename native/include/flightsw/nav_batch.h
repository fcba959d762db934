/* nav_batch.h - the navigation filter over arrays: recorded or simulated sensor data in, solutions and a verdict per measurement out.
 *
 * The arrays hold messages as sensors deliver them. `arrivals` says in which order they come in; their times of validity may be in any
 * order, late ones are compared with the state of their own time (nav.h). An arrival of kind FSW_NAV_TAKE_ROW asks for the solution at
 * that point. Nothing that is written changes the filter: what is needed beyond its state is computed on a copy.
 *   fsw_nav_init(&s, &p);  fsw_nav_start(&s, &p, &start);  fsw_nav_feed(&s, &p, &feed, 0, n);
 * INNOVATION: measured minus predicted, before the measurement was used. Its covariance is R plus the sum over the columns u_j of U of
 * d_j (dh/dx u_j)(dh/dx u_j)^T; the derivative is the difference of the predictions of two states moved by plus and minus sqrt(d_j) u_j. */
#ifndef FLIGHTSW_NAV_BATCH_H
#define FLIGHTSW_NAV_BATCH_H
#include "flightsw/nav.h"

/* cffi: begin */
#define FSW_NAV_TAKE_IMU 0
#define FSW_NAV_TAKE_GNSS 1
#define FSW_NAV_TAKE_RADALT 2
#define FSW_NAV_TAKE_BARO 3
#define FSW_NAV_TAKE_ROW 4
#define FSW_NAV_SCALARS 6
/* What became of a measurement. */
#define FSW_NAV_FUSED 0
#define FSW_NAV_FUSED_POSITION 1 /* its velocity was rejected by the gate */
#define FSW_NAV_FUSED_RESET 2    /* the two-hypothesis test found the filter wrong: covariance opened, then fused */
#define FSW_NAV_GATED 3
#define FSW_NAV_WAITING 4        /* passes the gate, but its source is not yet (re)admitted */
#define FSW_NAV_INVALID 5        /* not valid by its own word, not finite, or without any stated sigma */
#define FSW_NAV_STALE 6          /* older than the filter looks back, or from the future */
#define FSW_NAV_DUPLICATE 7
#define FSW_NAV_FROZEN 8         /* repeats its last reading bit for bit although the vehicle moves */
#define FSW_NAV_UNUSABLE 9       /* outside its range, tilted too far, too fast for a barometer, or not configured */

typedef struct { /* state of the IMU at the start, Earth-fixed */
  int64_t t_ns;
  double r_e[3];               /* m */
  double v_e[3];               /* m/s */
  double q_be[4];
} fsw_nav_start_t;

typedef struct {
  uint32_t kind;               /* FSW_NAV_TAKE_* */
  uint32_t unit;               /* number of the receiver or altimeter */
  uint32_t index;              /* into the array of its kind */
  uint32_t slot;               /* of `rows` and `covariances`, or of `outcomes`; of `imu_used` for an IMU sample */
} fsw_nav_arrival_t;

typedef struct { /* solution: IMU, Earth-fixed; biases in body axes */
  int64_t t_ns;                /* time of validity */
  double r_e[3];               /* m */
  double v_e[3];               /* m/s */
  double q_be[4];
  double omega_b[3];           /* rad/s, relative to inertial space, bias removed */
  double f_b[3];               /* m/s2, specific force, bias removed */
  double b_a[3];               /* m/s2 */
  double b_g[3];               /* rad/s */
  double s_a[3];               /* 1 */
  double s_g[3];               /* 1 */
  double b_n[3];               /* m, correlated error of the receiver, Earth-fixed axes */
  double b_ra;                 /* m */
  double b_baro;               /* m */
  double sigma[26];            /* 1-sigma in the order of the error state (nav.h); 0: the state does not exist */
} fsw_nav_row_t;

typedef struct { /* what became of a measurement */
  int64_t t_valid_ns;          /* its time of validity */
  int64_t t_filter_ns;         /* time of the filter when it came in */
  double innovation[6];        /* GNSS: position north east down, m, velocity north east down, m/s; altimeter, barometer: [0], m */
  double sigma[6];             /* 1-sigma of each innovation; 0: not measured, or not computed (invalid, stale, duplicate) */
  double nis[2];               /* joint normalised innovation squared of position (or range, height), of velocity */
  uint32_t dof[2];             /* its degrees of freedom */
  uint32_t kind;               /* FSW_NAV_TAKE_* */
  uint32_t unit;
  uint32_t outcome;            /* FSW_NAV_FUSED and following */
  uint32_t pad0;
} fsw_nav_outcome_t;

typedef struct {
  const fsw_imu_t *imu;
  const fsw_gnss_t *gnss;
  const fsw_radalt_t *radalt;
  const fsw_baro_t *baro;
  const fsw_nav_arrival_t *arrivals; /* in the order in which they come in */
  fsw_nav_row_t *rows;         /* NULL: not wanted, as for the following three */
  double *covariances;         /* 81 per row: 9 x 9 of [dr dv psi], Earth-fixed */
  fsw_nav_outcome_t *outcomes;
  uint8_t *imu_used;           /* 1 integrated, 0 refused */
  fsw_nav_state_t *scratch;    /* room for a copy of the state; needed for covariances and innovations */
  fsw_nav_state_t *moved;      /* room for another one */
} fsw_nav_feed_t;

/* State and covariance of the start, in place of the init_* parameters; the init_sigma_* parameters stand, along east, north, up of the
 * site. After fsw_nav_init. 0; -1 refused: not finite, or further than 1e8 m. */
int32_t fsw_nav_start(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_start_t *x);
/* Arrivals from .. to - 1 through the filter. */
void fsw_nav_feed(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_nav_feed_t *feed, uint64_t from, uint64_t to);
/* cffi: end */

#endif
