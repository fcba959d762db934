/* webcast.h - messages of a bench that tracks a booster by what its webcast displayed: speed and altitude. */
#include <stdint.h>

/* cffi: begin */
typedef struct { /* one reading of the display */
  int64_t t_valid_ns;
  double altitude_m;            /* m, in steps of 100 m, of 1 km above 100 km */
  double speed_m_s;             /* m/s, relative to the ground, without direction */
} webcast_t;

typedef struct { /* estimate at the time of a reading; sigma_x: 1 sigma of x; innov_x: measured minus predicted, last time x was used */
  int64_t t_valid_ns;
  double altitude_m;
  double speed_m_s;
  double v_vertical_m_s;        /* m/s, up */
  double v_horizontal_m_s;      /* m/s, its size: the data cannot tell towards from away */
  double a_along_m_s2;          /* m/s2, specific force (thrust and drag) along the velocity */
  double a_normal_m_s2;         /* m/s2, across it, in the vertical plane */
  double sigma_altitude_m;
  double sigma_speed_m_s;
  double sigma_v_vertical_m_s;
  double sigma_v_horizontal_m_s;
  double sigma_a_along_m_s2;
  double innov_altitude_m;
  double innov_speed_m_s;
  double innov_sigma_altitude_m;
  double innov_sigma_speed_m_s;
  double nis_altitude;          /* mean normalised innovation squared so far; 1 for a filter that knows its errors */
  double nis_speed;
  uint32_t samples;             /* readings */
  uint32_t altitude_updates;    /* of these with a step of the altitude, the only ones whose altitude was used */
  uint32_t gaps;                /* times without a reading for more than 0.2 s */
  uint32_t phase;               /* 0 pad, 1 ascent, 2 coast, 3 boostback, 4 entry burn, 5 air, 6 landing burn, 7 landed */
} webcast_track_t;

typedef struct { /* when things happened, s of mission time; not a number: not yet */
  int64_t t_ns;
  double t_meco_s;              /* engines off after the ascent */
  double t_boostback_start_s;
  double t_boostback_end_s;
  double t_apogee_s;
  double t_entry_start_s;
  double t_entry_end_s;
  double t_landing_start_s;
  double t_landing_end_s;
} webcast_events_t;

typedef struct { /* events beside times annotated by hand; diff: ours minus annotated */
  int64_t t_ns;
  double t_meco_s;
  double t_boostback_start_s;
  double t_boostback_end_s;
  double t_apogee_s;
  double t_entry_start_s;
  double t_entry_end_s;
  double t_landing_start_s;
  double t_landing_end_s;
  double annotated_meco_s;
  double annotated_boostback_start_s;
  double annotated_boostback_end_s;
  double annotated_apogee_s;
  double annotated_entry_start_s;
  double annotated_entry_end_s;
  double annotated_landing_start_s;
  double annotated_landing_end_s;
  double diff_meco_s;
  double diff_boostback_start_s;
  double diff_boostback_end_s;
  double diff_apogee_s;
  double diff_entry_start_s;
  double diff_entry_end_s;
  double diff_landing_start_s;
  double diff_landing_end_s;
} webcast_judgement_t;
/* cffi: end */
