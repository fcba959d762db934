/* guidance.h - powered-landing guidance, the guidance tasks, and the touchdown decision.
 *
 * Tasks (descriptors at the end):
 *   gnc.guidance      50 Hz, a vehicle that arrives in flight with its engines off: AERO -> BURN -> LANDED
 *   gnc.guidance_hop  50 Hz, a vehicle that starts on its pad: ASCENT -> COAST -> AERO -> BURN -> LANDED
 *   gnc.touchdown    200 Hz, decides that the vehicle stands on the ground
 * All vectors are in L (east, north, up; origin on the pad), SI units. The reference point is the body origin (foot plane).
 *
 * Landing law (guidance_law.c), called every cycle, always answers:
 *   vertical   the constant thrust that stops the vehicle at the flare gate, by prediction with drag, plume, mass flow and engine
 *              start transient (guidance_predictor.c): `throttle_need`. Below the gate a constant-deceleration profile is tracked:
 *              v_ref^2 = v_td^2 + 2 a_flare h. The state is advanced by the throttle lag before use.
 *   lateral    of the centre of mass: zero-effort-miss / zero-effort-velocity feedback a = 6 ZEM/t^2 - 2 ZEV/t with the vertical time
 *              to go, horizon frozen near the ground, what cannot be reached any more given up (soft before near). C. N. D'Souza, AIAA 97-3709 (1997); Y. Guo, M. Hawkins, B. Wie, J. Guidance, Control and
 *              Dynamics 36(3), 2013.
 *   limits     tilt by height, throttle range, axial load.
 * Ignition is commanded when `throttle_need`, start transient included, reaches `plan_throttle`. A vehicle with more than 1 g at
 * minimum thrust cannot hover: a group of engines is never started before its need has risen well above its minimum.
 *
 * The last decimetres: with more than 1 g at minimum thrust a vehicle that has stopped rises again. Below `cut_height_m` the engines are
 * shut down as soon as the decaying thrust alone stops the descent; a vehicle that stops a little higher is cut off at once.
 *
 * Failures: with all engines out, guidance asks for 0 engines until the pair of spares would need `pair_throttle`, or until the
 * last-chance table (lowest useful start height by speed for 1, 2 and 3 engines, refreshed one entry per cycle) says it is now,
 * then for 2. Spare thrust is added to a running engine that is too weak. If nothing stops the vehicle the pad is given up
 * (`divert`), and whatever can be lit is still burnt. */
#ifndef FLIGHTSW_GUIDANCE_H
#define FLIGHTSW_GUIDANCE_H
#include "flightsw/messages.h"
#include "flightsw/task.h"

/* cffi: begin */
#define FSW_TABLE_SPEEDS 8
#define FSW_TABLE_ENGINES 3
#define FSW_LAW_OK 0          /* need within the throttle range */
#define FSW_LAW_LOW 1         /* minimum thrust is too much: would stop above the ground */
#define FSW_LAW_HIGH 2        /* full thrust is not enough */
#define FSW_LAW_FLARE 4       /* below the flare gate */

typedef struct { /* the vehicle as guidance believes it to be, and the tuning of the law */
  double thrust_sl_n;         /* N, one engine at sea level */
  double thrust_vac_n;        /* N, one engine in vacuum */
  double isp_sl_s;            /* s */
  double throttle_min;        /* 1 */
  double throttle_max;        /* 1 */
  double throttle_plan;       /* 1, while `hold` is set minimum thrust is kept until the need reaches this */
  double throttle_lag_s;      /* s, the state is advanced by this before use */
  double attitude_lag_s;      /* s, and the lateral state by this */
  double thrust_scale;        /* 1, true over nominal thrust / mass */
  double cda_m2;              /* m2, drag area tail first, engines off */
  double plume_factor;        /* 1, share of the drag left while engines run */
  double lift_area_m2;        /* m2/rad, lift area that acts during the burn */
  double rho_pad_kg_m3;       /* kg/m3 */
  double rho_height_m;        /* m, density rho_pad exp(-h/rho_height (1 + rho_curve h)) */
  double rho_curve_1_m;       /* 1/m */
  double mass_floor_kg;       /* kg, the mass never falls below this */
  double axial_max_m_s2;      /* m/s2, thrust and drag along the axis */
  double start_dead_s;        /* s, from the request to the first thrust */
  double start_ramp_s;        /* s, ramp to the commanded throttle */
  double td_speed_m_s;        /* m/s, wanted descent rate at the ground */
  double flare_height_m;      /* m, height of the flare gate */
  double flare_throttle;      /* 1, throttle of the flare */
  double tilt_max_rad;        /* rad, above 150 m */
  double tilt_low_rad;        /* rad, below 60 m */
  double tilt_td_rad;         /* rad, at the ground */
  double reach_tan;           /* 1, lateral over vertical thrust acceleration that the position error may ask for */
  double lat_min_s;           /* s, shortest lateral horizon */
  double lat_lead_s;          /* s, lateral motion ends this long before touchdown */
} fsw_law_params_t;

typedef struct {
  double r_l[3];              /* m */
  double v_l[3];              /* m/s */
  double a_l[3];              /* m/s2, measured acceleration (gravity included), for the lag */
  double target_l[3];         /* m */
  double wind_l[2];           /* m/s, air relative to the Earth, horizontal; 0 when unknown */
  double mass_kg;             /* kg */
  double need_prev;           /* 1, last answer, start of the search; 0 when there is none */
  int32_t n_engines;          /* running */
  int32_t hold;               /* 1: keep minimum thrust until the need reaches throttle_plan */
} fsw_law_in_t;

typedef struct {
  double a_cmd_l[3];          /* m/s2, thrust acceleration */
  double dir_l[3];            /* 1, commanded direction of the stage axis */
  double throttle;            /* 1, of each engine */
  double throttle_need;       /* 1, constant throttle that stops at the pad; unlimited */
  double t_go_s;              /* s */
  double fuel_kg;             /* kg, to touchdown */
  int32_t hold;               /* input of the next call */
  int32_t status;             /* FSW_LAW_* bits */
} fsw_law_out_t;

typedef struct { /* one vertical stop to predict */
  double h_m;                 /* m above the target */
  double v_m_s;               /* m/s, descent rate */
  double lat;                 /* 1, speed over descent rate */
  double mass_kg;
  double dead_s;              /* s, left until the new engines give thrust */
  double ramp_s;              /* s, left of their ramp */
  double ramp_from;           /* 1, share of the ramp already done */
  double n_new;               /* engines after the transient, besides n_base */
  double n_base;              /* engines running all the time */
  double u_base;              /* 1, their throttle until the ramp ends */
  double n_drop;              /* of n_base, shut down when the ramp ends */
} fsw_stop_in_t;

typedef struct {
  double h_rem_m;             /* m, height left above the gate when the transient ends */
  double dist_m;              /* m, needed from there to the gate speed */
  double t_s;                 /* s, to touchdown */
  double fuel_kg;             /* kg, to the gate */
  double load_m_s2;           /* m/s2, greatest axial load */
} fsw_stop_out_t;

typedef struct { /* a burn along the air-relative velocity: miss = r + v cover_s + w wind_s */
  double cover_s;             /* s, horizontal distance per horizontal speed */
  double wind_s;              /* s, drift per wind */
  double reversed_s;          /* s, for so long lift steers better than thrust */
  double t_s;                 /* s, to touchdown */
} fsw_burn_path_t;

/* The landing law. Returns the status bits. Pure function. */
int32_t fsw_landing_law(const fsw_law_in_t *in, const fsw_law_params_t *p, fsw_law_out_t *out);

/* Prediction with throttle u. h_rem_m - dist_m > 0: stops above the gate. */
void fsw_stop_predict(const fsw_stop_in_t *in, const fsw_law_params_t *p, double u, fsw_stop_out_t *out);

/* Horizontal motion of a burn of n_new engines at throttle u, start transient included (guidance_burn.c). */
void fsw_guid_burn_path(const fsw_stop_in_t *in, const fsw_law_params_t *p, double u, fsw_burn_path_t *out);

/* Constant throttle that stops at the gate, up to 9.99, by at most `iterations` secant steps from `guess`; out: at that throttle. */
double fsw_stop_need(const fsw_stop_in_t *in, const fsw_law_params_t *p, double guess, int32_t iterations, fsw_stop_out_t *out);

typedef struct { /* parameters of both guidance tasks */
  int64_t n_engines;          /* [1, 9] : engines of the vehicle */
  double thrust_sl_n;         /* [1, 1e8] : thrust of one engine at sea level */
  double thrust_vac_n;        /* [0, 1e8] = 0 : thrust of one engine in vacuum; 0: as at sea level */
  double isp_sl_s;            /* [50, 1000] : specific impulse at sea level */
  double throttle_min;        /* [0.05, 1] : lowest throttle */
  double throttle_lag_s;      /* [0, 2] = 0.15 : lag of the throttle valve */
  double start_dead_s;        /* [0, 5] = 0.6 : start of an engine, until the first thrust */
  double start_ramp_s;        /* [0, 5] = 0.9 : ramp of its thrust */
  double start_lead_s;        /* [0, 5] = 0.05 : from the request until the sequencer opens the main valves */
  double mass_dry_kg;         /* [1, 1e7] : mass without propellant */
  double propellant_kg;       /* [0, 1e7] : propellant at start */
  double dry_cm_x_m;          /* [-200, 200] = 0 : centre of mass ahead of the body origin, which lateral steering is about */
  double drag_area_m2;        /* [0, 1e4] = 18 : drag area tail first, engines off, first guess */
  double plume_factor;        /* [0, 1] = 0.3 : share of the drag left while engines run, first guess */
  double s_ref_m2;            /* [0, 1e4] = 15.904 : reference area of cl_alpha */
  double cl_alpha_1_rad;      /* [0, 100] = 2.4 : lift derivative tail first (see guidance_aero.c for the sign); 0: no lift steering */
  double burn_lift_factor;    /* [0, 1] = 1 : share of the lift left while engines run */
  double rho_pad_kg_m3;       /* [0, 2] = 1.225 : air density at the pad */
  double rho_height_m;        /* [1000, 20000] = 10400 : density scale height at the pad: rho_pad exp(-h/H (1 + c h)) */
  double rho_curve_1_m;       /* [0, 1e-3] = 1.25e-5 : c; the pair fits the standard atmosphere to 0.6 % up to 12 km */
  int64_t plan_engines;       /* [1, 9] = 1 : engines of the nominal landing burn */
  double plan_throttle;       /* [0.1, 1] = 0.8 : throttle of the nominal landing burn */
  double pair_throttle;       /* [0.1, 1] = 0.66 : throttle at which a spare group is started */
  double axial_max_g;         /* [1, 50] = 5.8 : axial load limit in 9.80665 m/s2 */
  double td_speed_m_s;        /* [0.1, 5] = 0.8 : wanted descent rate at the ground */
  double td_height_m;         /* [-1, 5] = -0.055 : height of the lowest foot at which that is reached */
  double leg_radius_m;        /* [0, 100] = 0 : foot circle: a leaning stage touches early */
  double flare_height_m;      /* [0.5, 200] = 10 : height where the last deceleration profile begins */
  double flare_throttle;      /* [0.05, 1] = 0.57 : throttle of that profile */
  double tilt_max_deg;        /* [0, 45] = 20 : tilt limit in the burn */
  double tilt_low_deg;        /* [0, 45] = 6 : tilt limit below 60 m */
  double tilt_td_deg;         /* [0, 45] = 1.2 : tilt limit at the ground */
  double reach_tan;           /* [0.01, 1] = 0.4 : lateral over vertical thrust that the position error may ask for; the rest stays a miss */
  double lat_min_s;           /* [0.5, 20] = 5.6 : shortest horizon of the lateral law */
  double lat_lead_s;          /* [0, 20] = 3 : lateral motion ends this long before touchdown */
  double shutdown_tau_s;      /* [0.001, 10] = 0.15 : decay of the thrust after cut-off */
  double cut_height_m;        /* [0, 5] = 0.2 : with the lowest foot below it the engines go off when the decaying thrust just stops the vehicle */
  double attitude_lag_s;      /* [0, 3] = 0.25 : lag of the attitude loop, for the lateral law */
  double slew_max_deg_s;      /* [0.1, 100] = 8 : rate limit of the commanded attitude */
  double aero_alpha_max_deg;  /* [0, 20] = 8 : angle of attack limit of the aerodynamic phase */
  double aero_gain;           /* [0, 20] = 3.5 : navigation constant of the aerodynamic phase */
  double aero_fade_m;         /* [0, 5000] = 50 : height above ignition where the angle of attack has gone to zero */
  double divert_m;            /* [0, 10000] = 250 : distance of the divert point */
  double hop_start_s;         /* [0, 1e6] = 2 : time of the ascent ignition (hop only) */
  double hop_apogee_m;        /* [1, 1e5] = 800 : planned apogee (hop only) */
  double hop_accel_m_s2;      /* [0.1, 100] = 3 : net upward acceleration of the ascent (hop only) */
  double hop_speed_m_s;       /* [1, 1000] = 80 : highest climb rate (hop only) */
  double hop_settle_s;        /* [0, 100] = 0.5 : time between apogee and the search for the ignition point (hop only) */
} fsw_guidance_params_t;

typedef struct { /* state of both guidance tasks */
  int64_t t_request_ns;       /* ns, last rise of the number of engines wanted */
  int64_t t_lit_ns;           /* ns, last change of the number of lit engines */
  int64_t t_phase_ns;         /* ns, begin of the phase */
  int64_t hopeless_ns;        /* ns, how long nothing has been able to stop the vehicle */
  int64_t short_ns;           /* ns, how long the running engines have been too weak */
  double q_cmd_bl[4];         /* 1, last command: its roll is kept */
  double target_l[3];         /* m */
  double mass_kg;             /* kg, nominal mass by integrated flow */
  double cda_m2;              /* m2, estimated (on the nominal mass) */
  double scale;               /* 1, estimated thrust / mass over nominal */
  double plume;               /* 1, estimated plume factor */
  double cov[3];              /* 1, covariance of (scale, plume): ss, sp, pp */
  double u_eff;               /* 1, commanded throttle through the valve lag */
  double avail;               /* 1, thrust of the lit engines over what their throttle promises */
  double lift_scale;          /* 1, estimated lift slope over cl_alpha_1_rad */
  double wind_l[2];           /* m/s, estimated wind, east and north */
  double lift_cov[6];         /* covariance of (lift_scale, wind east, north): 00 01 02 11 12 22 */
  double need;                /* 1, last throttle need */
  double need_spare;          /* 1, last need with the spare group */
  double h_ign_m;             /* m, predicted ignition height */
  double t_burn_s;            /* s, predicted time from ignition to touchdown */
  double h_last_m[24];        /* m, last-chance table, [engines - 1][speed] */
  double v_table_m_s[8];      /* m/s, its speeds */
  int32_t table_next;         /* entry to refresh */
  int32_t n_want;             /* engines wanted */
  int32_t n_lit;              /* engines lit, last cycle */
  int32_t n_base;             /* engines already running at the last request */
  int32_t failed;             /* 1 after an engine failed */
  int32_t n_failed;           /* engines reported failed, last cycle */
  uint8_t phase;              /* FSW_PHASE_* */
  uint8_t divert;
  uint8_t ready;              /* 1 after the first valid navigation solution */
  uint8_t steering;           /* 1 after thrust was confirmed */
  uint8_t cut;                /* 1 after the final cut-off */
  uint8_t pad0[3];
} fsw_guidance_state_t;

typedef struct {
  double arm_height_m;        /* [0, 100] = 3 : armed below this height */
  double arm_speed_m_s;       /* [0, 100] = 12 : and below this speed */
  double contact_height_m;    /* [-10, 10] = 0.3 : below this height one foot is enough */
  double contact_speed_m_s;   /* [0, 20] = 1.5 : and below this speed */
  double persist_s;           /* [0, 2] = 0.1 : two feet closed for this long */
  double persist_low_s;       /* [0, 2] = 0.05 : one foot closed, low and slow, for this long */
  double rest_s;              /* [0, 10] = 0.5 : without switches: low and at rest for this long */
} fsw_touchdown_params_t;

typedef struct {
  int64_t two_ns;             /* ns, how long two feet have been closed */
  int64_t one_ns;             /* ns, how long one has been closed, low and slow */
  int64_t rest_ns;            /* ns, how long at rest */
  uint8_t armed;
  uint8_t landed;
  uint8_t seen_mask;          /* feet reported */
  uint8_t pad0[5];
} fsw_touchdown_state_t;
/* cffi: end */

/* ---- inside guidance: not for others ---- */

typedef struct { /* what a cycle works on */
  const fsw_guidance_params_t *p;
  fsw_guidance_state_t *s;
  const fsw_nav_t *nav;       /* at_cm */
  const fsw_engines_t *eng;   /* NULL when not bound */
  fsw_guidance_t *out;
  fsw_events_t *ev;           /* NULL when not bound */
  int64_t t_ns;
  double dt_s;
  int32_t lit, starting, spares, failures;
  fsw_nav_t at_cm;            /* navigation with the horizontal motion of the centre of mass and the vertical one of the feet */
  double x_l[3];              /* stage axis */
  double f_l[3];              /* specific force */
} fsw_guid_t;

void fsw_guid_init(void *state, const void *params);
void fsw_guid_begin(fsw_guid_t *g, fsw_io_t *io);
void fsw_guid_model(const fsw_guid_t *g, fsw_law_params_t *m);
void fsw_guid_estimate(fsw_guid_t *g);
void fsw_guid_forget(fsw_guidance_state_t *s);
void fsw_guid_table_step(fsw_guid_t *g, const fsw_law_params_t *m);
double fsw_guid_density(double h_m, double rho_height_m, double rho_curve_1_m); /* over that at the pad */
double fsw_guid_full_thrust(const fsw_law_params_t *p, double sigma);  /* N, one engine at throttle 1 */
double fsw_guid_last_chance(const fsw_guidance_state_t *s, int32_t engines, double v_m_s);
double fsw_guid_need_start(const fsw_guid_t *g, const fsw_law_params_t *m, int32_t n_new, int32_t n_drop, double guess, fsw_stop_out_t *out);
void fsw_guid_aero_steer(fsw_guid_t *g, const fsw_law_params_t *m, double dir_l[3]);
void fsw_guid_attitude(fsw_guid_t *g, const double dir_l[3]);
void fsw_guid_landing(fsw_guid_t *g, const fsw_law_params_t *m, int32_t landed);
void fsw_guid_request(fsw_guid_t *g, int32_t engines);
void fsw_guid_phase(fsw_guid_t *g, uint8_t phase);
void fsw_guid_event(fsw_guid_t *g, uint16_t code, double arg0, double arg1);
int32_t fsw_guid_finish(fsw_guid_t *g, fsw_io_t *io);

extern const fsw_task_desc_t fsw_task_gnc_guidance;
extern const fsw_task_desc_t fsw_task_gnc_guidance_hop;
extern const fsw_task_desc_t fsw_task_gnc_touchdown;

#endif
