/* What the judge of the accident scenarios notes of a flight, from the truth and from the faults in force. */
#ifndef ACCIDENT_MESSAGES_H
#define ACCIDENT_MESSAGES_H
#include <stdint.h>

/* cffi: begin */
typedef struct { /* engines as they really were; a start is both main valves open, a flame is more than 5 % of nominal pressure */
  double t_fault_s;        /* s, mission time of the first fault in force; -1 before */
  double t_first_start_s;  /* s, mission time of the first start; -1 before */
  double t_spare_s;        /* s, from the first start to the first start of another engine; -1: none */
  double start_to_flame_s; /* s, longest of the starts that lit */
  double start_to_full_s;  /* s, longest from start to 90 % of the pressure that the throttle valve promises */
  double over_s;           /* s, longest above 130 % of nominal pressure in one go */
  double flameless_s;      /* s, longest with both main valves open and no flame, in one go */
  double dead_open_s;      /* s, longest with both main valves open after a flame had gone out by itself */
  double after_fault_s;    /* s, from the first fault to the last main valve open; -1 before */
  double dry_open_s;       /* s, both main valves open with less than 1 bar at the inlet and no flame, summed */
  double longest_burn_s;   /* s, longest with a flame in some engine, in one go */
  double peak_pc;          /* 1, highest chamber pressure over nominal */
  uint32_t starts;         /* of all engines */
  uint32_t starts_most;    /* of one engine */
  uint32_t starts_of_lost; /* of engines that had already failed to light or gone out by themselves */
  uint32_t lit_engines;    /* engines that ever had a flame */
  uint32_t healthy_stops;  /* burning engines without a fault of their own whose valves closed in flight while as many were wanted */
  uint8_t pad0[4];
} accident_engines_t;

typedef struct { /* navigation against the truth at the time of validity of the solution; late: from 2 s after the last fault ended */
  double h_err_m;          /* m, believed minus true height, last in flight */
  double h_err_max_m;      /* m, greatest magnitude since the first fault */
  double h_err_late_m;     /* m, the same, late */
  double att_err_max_deg;  /* deg, greatest since the first fault */
  double att_err_late_deg; /* deg, the same, late */
  double v_err_max_m_s;    /* m/s, greatest since the first fault */
  double v_err_added_m_s;  /* m/s, greatest, until 1 s after the faults, minus that at the first fault */
  double wrong_height_s;   /* s, with the height more than 20 m wrong and the ground in range of an altimeter (below 2470 m), summed */
  double lowest_m;         /* m, lowest height believed with more than 100 m of true height */
  double landed_at_m;      /* m, true height when navigation's landing was announced; -1: not yet */
  double end_s;            /* s, mission time when the last fault ended; -1 before */
  double v_err_start_m_s;  /* m/s, at the first fault */
} accident_nav_t;
/* cffi: end */

#endif
