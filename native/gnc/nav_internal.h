/* nav_internal.h - what the files of the navigation filter share and nobody else needs. */
#ifndef FLIGHTSW_NAV_INTERNAL_H
#define FLIGHTSW_NAV_INTERNAL_H
#include <stdbool.h>

#include "flightsw/nav.h"

#define FSW_NAV_OMEGA_E 7.292115e-5 /* rad/s, WGS-84 */
#define FSW_NAV_MAX_BATCH 3U
#define SRC_RADALT FSW_NAV_GNSS
#define SRC_BARO (FSW_NAV_GNSS + FSW_NAV_RADALT)
#define AID_ATTITUDE 0U
#define AID_MAG 1U
#define PROBATION_NS 500000000 /* a source rejected for so long is put to the test */
#define FRESH_NS 1000000000    /* a witness must have been heard within this time */
#define LOST_NS 2000000000     /* no accepted sample for so long: lost */
#define ALONE_NS 10000000000   /* no accepted fix for so long: a lone receiver without velocity may be right */
#define ANNOUNCED_USED 1U
#define ANNOUNCED_LOST 2U
#define ANNOUNCED_EXCLUDED 3U

typedef struct { /* up to three scalars of one instant */
  double h[FSW_NAV_MAX_BATCH][FSW_NAV_N];
  double nu[FSW_NAV_MAX_BATCH];
  double r[FSW_NAV_MAX_BATCH];
  double s0;       /* innovation variance of the first */
  double nis;      /* joint */
  uint32_t n;
} fsw_nav_batch_t;

/* Sets element j of a row, if the state exists in this variant. */
static inline void nav_row_set(double h[FSW_NAV_N], uint32_t j, double value)
{
  if (j < FSW_NAV_N) h[j] = value;
}

/* Element j, zero where the state does not exist. */
static inline double nav_row_get(const double h[FSW_NAV_N], uint32_t j) { return j < FSW_NAV_N ? h[j] : 0.0; }

/* nav_strapdown.c */
void fsw_nav_turn(const double *phi, double *q); /* unit quaternion of a rotation vector, no transcendental function */

/* nav_strapdown.c */
bool fsw_nav_plausible(const double dth[3], const double dv[3], double dt); /* increments that the strapdown takes */

/* nav_filter.c */
int32_t fsw_nav_past(const fsw_nav_state_t *s, int64_t t_ns, fsw_nav_past_t *out); /* -1: outside the ring */
void fsw_nav_batch_test(const fsw_nav_filter_t *f, fsw_nav_batch_t *b);            /* fills s0 and nis */
void fsw_nav_batch_fuse(fsw_nav_state_t *s, const fsw_nav_batch_t *b);             /* scalar updates, not yet injected */
void fsw_nav_inject(fsw_nav_state_t *s);                                           /* the collected correction into the nominal state */
void fsw_nav_open(fsw_nav_filter_t *f, uint32_t first, const double *n_e, double variance); /* along n_e, or all three axes */

double fsw_nav_joint_gate(const fsw_nav_params_t *p, uint32_t n);                   /* chi-square of n <= 3 scalars at 1e-4 */
uint32_t fsw_nav_batch_copy(const fsw_nav_batch_t *b, uint32_t at, double *h, double *nu, double *r); /* to row `at` on; its scalars */

/* nav_source.c */
void nav_src_say(fsw_events_t *ev, const fsw_nav_state_t *s, uint16_t code, uint32_t subject, double a, double b);
bool nav_src_duplicate(fsw_nav_source_t *c, uint32_t seq);
bool nav_src_in_time(const fsw_nav_state_t *s, int64_t t_valid_ns, double lag_max_s);
void nav_src_accepted(fsw_nav_state_t *s, fsw_nav_source_t *c);
void nav_src_announce(fsw_nav_state_t *s, fsw_nav_source_t *c, uint32_t k, uint8_t state, double arg, fsw_events_t *ev);
bool nav_src_recent(const fsw_nav_state_t *s, const fsw_nav_source_t *c, int64_t age_ns);
void nav_src_note_reject(fsw_nav_state_t *s, fsw_nav_source_t *c, const double res[3], const double sigma[3], double res_v, double dt);
bool nav_src_agree(const fsw_nav_source_t *a, const fsw_nav_source_t *b, int n);
bool nav_src_on_probation(const fsw_nav_state_t *s, const fsw_nav_source_t *c);
bool nav_src_admitted(fsw_nav_source_t *c, uint32_t needed);
void nav_src_watch(fsw_nav_state_t *s, fsw_events_t *ev); /* sources that fell silent */

#endif
