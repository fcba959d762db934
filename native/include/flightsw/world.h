/* world.h: what the flight software flies in. A rigid vehicle with engines, fins, cold gas, sloshing tanks and legs over a
 * rotating ellipsoid with atmosphere and wind; one task, "world.dynamics", and the pure functions it is built from.
 *
 * FRAMES  e Earth-fixed (WGS-84), l landing site (east, north, up), b body (origin in the foot plane, x along the stage axis),
 * as in messages.h. State is kept in e: centre of mass r_e, v_e (relative to the Earth), q_be, omega_bi_b, and two lateral slosh
 * displacements per tank with their rates.
 *
 * INTEGRATION  Classical RK4, one step per period of the task, quaternion normalised once per step. Once per step, at the
 * position predicted for its middle: gravity + centrifugal force, air density and its gradient, wind; thrust, valves, actuators
 * and mass also change once per step, aero coefficients every fourth. In the four stages: velocity and attitude dependent
 * forces (Coriolis, drag, lift, fins, damping), density at the predicted place, gyroscopic terms, slosh, ground contact.
 * Freezing gravity at the middle costs 1e-13 m per step at 300 m/s. At tick 0 the initial state is published; tick n publishes
 * t = n dt.
 *
 * EARTH  ellipsoid and J2 by five numbers (earth_*); flattening 0, J2 0 and rate 0 give the round non-rotating Earth of the NESC
 * check case 04. Gravity: Vallado, Fundamentals of Astrodynamics (2013), eq. 8-27 to second degree. Height: Bowring,
 * Survey Review 28 (1985).
 *
 * AIR  US Standard Atmosphere 1976 (NOAA-S/T 76-1562), its own layer formulas with geopotential height up to 86 km; above,
 * isothermal decay. The function is exact to 1e-12; between full evaluations (after 4 m of flight, or at a layer boundary) the step
 * follows its logarithm to second order: within 3e-8 of the standard's density, 1e-5 in the one step that crosses a boundary.
 *
 * AERO  alpha in [0, 180] deg is the angle between the air-relative velocity and +x: 0 nose first, 180 tail first. Wind axes:
 *   F = q S ( -CD v^ + CL n^ ),  n^ = unit vector of the part of x^ normal to v^  (nose first and lifting: CL > 0; tail first a
 * slender body is pushed away from where its top leans: CL < 0 for alpha in (90, 180)). F acts at xcp_m on the axis.
 * Held for four steps: CD and CL / sin(alpha), so lift stays linear in the small angle meanwhile. Rate damping
 *   M_i = q S l_i c_i (omega_i l_i / 2V).
 * Plume: drag is multiplied by 1 - (1 - plume_factor) ramp, ramp = largest start fraction of the running engines.
 * Without table (n_mach 0): CD = cd_const, no lift, xcp at the centre of mass.
 *
 * FINS  fin k at azimuth phi_k = fin_azimuth_deg + k 360/n_fins, from +y towards +z; position rho_k = (fin_x_m, fin_r_m cos phi,
 * fin_r_m sin phi); hinge axis e_k = (0, cos phi, sin phi), outward; deflection delta_k positive by the right-hand rule about e_k
 * (the trailing edge of tail-first flow, +x, moves towards -tau_k). With tau_k = (0, -sin phi, cos phi), u the velocity of the fin
 * relative to the air:  F_k = rho/2 fin_area_m2 fin_cn_alpha_1_rad |u_x| clamp(-u.tau - u_x delta_k, +-|u_x| tan(fin_stall_deg)) tau_k.
 * Tail first (u_x < 0, q = rho u_x^2 / 2), linearised about no deflection, with L = fin_x_m - cm_x_m:
 *   dF_k/d delta_k = q fin_area_m2 fin_cn_alpha_1_rad tau_k
 *   dM_k/d delta_k = q fin_area_m2 fin_cn_alpha_1_rad ( fin_r_m, -L cos phi_k, -L sin phi_k )
 * Nose first the sign changes. The slope is multiplied by fin_mach_factor. The drag of the fins is in the body's table.
 *
 * ENGINES  thrust frac * throttle * (Fvac - (Fvac - Fsl) p/p0), mass flow thrust / (g0 Isp), Isp linear in p likewise. Gimbal angles
 * [2k] about +y, [2k+1] about +z turn the thrust direction from +x to (cos a cos b, sin b, -sin a cos b).
 * A start needs: oxidiser and fuel valve open, igniter on, pump colder than chill_limit_k, inlet pressure (propellant left and
 * settled: more than 0.02 g along +x within the last 0.5 s). Then start_dead_s (+ scatter, drawn per engine and start) without
 * pressure, during which valves and igniter must stay, then a linear ramp of start_ramp_s; then the igniter may go off. Closing either main valve,
 * or losing the inlet, ends it with shutdown_tau_s. Main valve open without flame collects unburnt propellant; more than
 * 20 kg at light is a hard start. The purge valve clears it.
 *
 * SLOSH  one lateral mode per tank and axis as spring and mass, omega^2 = (f_x / R) 1.8412 tanh(1.8412 h / R) (H. N. Abramson, NASA
 * SP-106, 1966; F. T. Dodge, The New Dynamic Behavior of Liquids in Moving Containers, 2000), f_x the axial specific force of the
 * step before, h the liquid column. The moving mass (slosh_mass_share of the liquid, at mid column) is taken out of the rigid body
 * in the lateral equations, which are solved together. r_e is the centre of mass with undisplaced liquid. Displacement is limited
 * to 0.4 R, damping grows with amplitude (wave breaking). Left out: gyroscopic coupling of the moving mass.
 *
 * LEGS  foot k at (0, leg_radius_m cos, sin)(leg_azimuth_deg + k 360/n): spring and damper, force at most leg_crush_n (crush core; what it
 * crushed stays crushed), Coulomb friction regularised below 0.05 m/s. Beyond leg_stroke_m, or tilted more than 25 deg on the
 * ground, or struck without legs: broken; the wreck stays where it is. The ground is the plane z_l = 0, below 200 m of height.
 *
 * OUTCOME  latched at the first contact after having been in the air; settled after 1 s at rest, or 1 s after breaking. */
#ifndef FLIGHTSW_WORLD_H
#define FLIGHTSW_WORLD_H

#include <stdint.h>

#include "flightsw/messages.h"
#include "flightsw/task.h"

/* cffi: begin */
typedef struct {
    /* where: landing site, frame L */
    double site_lat_deg;       /* [-90, 90] : geodetic latitude of the pad */
    double site_lon_deg;       /* [-360, 360] : longitude of the pad */
    double site_height_m;      /* [-500, 9000] = 0 : pad above the ellipsoid, also taken as height in the standard atmosphere */
    double earth_gm_m3_s2;     /* [0, 1e15] = 3.986004418e14 : WGS-84 */
    double earth_a_m;          /* [1e6, 1e8] = 6378137 : equatorial radius, WGS-84 */
    double earth_inv_f;        /* [0, 1000] = 298.257223563 : inverse flattening, WGS-84; 0: a sphere */
    double earth_j2;           /* [0, 0.01] = 1.08262982e-3 : second zonal coefficient */
    double earth_rate_rad_s;   /* [0, 0.001] = 7.292115e-5 : rotation, WGS-84 */

    /* how it starts: mode 0 in frame L, for the body origin */
    double init_r_l_m[3];      /* [-1e6, 1e6] = 0 : body origin */
    double init_v_l_m_s[3];    /* [-1e4, 1e4] = 0 : body origin, relative to the Earth */
    double init_tilt_deg;      /* [-90, 90] = 0 : stage axis from the vertical towards minus the horizontal velocity (east without one) */
    double init_roll_deg;      /* [-360, 360] = 0 : then about the stage axis; at 0 and upright y is east, z north */
    double init_omega_b_deg_s[3]; /* [-360, 360] = 0 : relative to the Earth (mode 1: to the inertial frame) */
    /* mode 1, for the centre of mass: geodetic position, velocity and 3-2-1 attitude from local north east down */
    uint32_t init_mode;        /* [0, 1] = 0 : 0 frame L, 1 geodetic */
    uint32_t init_on_pad;      /* [0, 1] = 0 : 1 stands on its legs at the pad, at rest */
    uint32_t init_engines_on;  /* [0, 511] = 0 : bit k: engine k is running at the start */
    uint32_t pad0;             /* [0, 0] = 0 : unused */
    double init_throttle;      /* [0, 1] = 0.7 : of the engines running at the start */
    double init_lat_deg;       /* [-90, 90] = 0 : mode 1 */
    double init_lon_deg;       /* [-360, 360] = 0 : mode 1 */
    double init_h_m;           /* [-500, 1e6] = 0 : mode 1 */
    double init_v_ned_m_s[3];  /* [-1e4, 1e4] = 0 : mode 1 */
    double init_ypr_deg[3];    /* [-360, 360] = 0 : mode 1, yaw pitch roll */

    /* mass */
    double mass_dry_kg;        /* [1e-3, 1e7] : without propellant */
    double propellant_kg;      /* [0, 1e7] = 0 : at the start */
    double mixture_ratio;      /* [0.1, 20] = 3.5 : oxidiser to fuel by mass, in the tanks and in the engines */
    double dry_cm_x_m;         /* [-100, 200] = 0 : centre of dry mass ahead of the body origin */
    double dry_ixx_kg_m2;      /* [1e-9, 1e12] : about the dry centre of mass */
    double dry_iyy_kg_m2;      /* [1e-9, 1e12] : about the dry centre of mass */
    double dry_izz_kg_m2;      /* [0, 1e12] = 0 : 0: equal to dry_iyy_kg_m2 */
    double tank_radius_m;      /* [0.01, 20] = 1 : inner radius of both tanks */
    double tank_ox_x_m;        /* [-100, 200] = 0 : bottom of the oxidiser tank */
    double tank_fuel_x_m;      /* [-100, 200] = 0 : bottom of the fuel tank */
    double rho_ox_kg_m3;       /* [10, 3000] = 1141 : oxidiser */
    double rho_fuel_kg_m3;     /* [10, 3000] = 423 : fuel */
    double slosh_mass_share;   /* [0, 0.9] = 0 : share of a tank's liquid that moves; 0 switches slosh off */
    double slosh_damping;      /* [0, 1] = 0.02 : share of critical */
    double jet_damping;        /* [0, 1] = 1 : 1 with, 0 without the damping by the exhaust */

    /* engines */
    uint32_t n_engines;        /* [0, 9] = 0 : number */
    uint32_t n_fins;           /* [0, 4] = 0 : number */
    uint32_t n_thrusters;      /* [0, 16] = 0 : number */
    uint32_t n_legs;           /* [0, 4] = 0 : number */
    double engine_x_m;         /* [-100, 200] = 0 : gimbal plane */
    double engine_y_m[9];      /* [-50, 50] pad = 0 : position */
    double engine_z_m[9];      /* [-50, 50] pad = 0 : position */
    double engine_gimballed[9];/* [0, 1] pad = 1 : 1 turns, 0 is fixed */
    double thrust_sl_n;        /* [0, 1e8] = 0 : one engine, sea level, full throttle */
    double thrust_vac_n;       /* [0, 1e8] = 0 : one engine, vacuum; 0: equal to thrust_sl_n */
    double isp_sl_s;           /* [1, 1000] = 280 : sea level */
    double isp_vac_s;          /* [1, 1000] = 310 : vacuum */
    double throttle_min;       /* [0, 1] = 0.5 : lowest stable throttle */
    double throttle_lag_s;     /* [0, 10] = 0.15 : first order */
    double pc_nominal_pa;      /* [0, 1e8] = 10e6 : chamber pressure at full throttle */
    double start_dead_s;       /* [0, 10] = 0.6 : valves open to first pressure rise */
    double start_ramp_s;       /* [0, 10] = 0.9 : linear ramp */
    double start_scatter_s;    /* [0, 1] = 0.05 : 1 sigma of the dead time, drawn per engine and start */
    double shutdown_tau_s;     /* [0.001, 10] = 0.15 : decay */
    double gimbal_max_deg;     /* [0, 45] = 7 : each axis */
    double gimbal_rate_deg_s;  /* [0, 1000] = 20 : each axis */
    double gimbal_lag_s;       /* [0, 10] = 0.04 : first order */
    double chill_init_k;       /* [20, 400] = 150 : pumps at the start */
    double chill_limit_k;      /* [20, 400] = 120 : warmer than this they do not start */
    double chill_cold_k;       /* [20, 400] = 95 : with the chill valve open for long */
    double chill_warm_k;       /* [20, 400] = 250 : with it closed for long */
    double chill_tau_s;        /* [0.01, 1000] = 2 : cooling */
    double chill_warm_tau_s;   /* [0.01, 1e5] = 300 : warming up again */
    double tank_p_pa;          /* [0, 1e7] = 3e5 : ullage pressure */
    double inlet_min_pa;       /* [0, 1e7] = 2e5 : below this an engine does not start or run */
    double hard_start_side_share; /* [0, 1] = 0.1 : side force in a hard start, of sea-level thrust and severity */

    /* aerodynamics */
    double s_ref_m2;           /* [0, 1e4] = 0 : reference area */
    double l_ref_m;            /* [0, 1e3] = 1 : reference length */
    double drag_scale;         /* [0, 10] = 1 : on CD */
    double lift_scale;         /* [-10, 10] = 1 : on CL */
    double plume_factor;       /* [0, 2] = 1 : drag left while engines run */
    double cd_const;           /* [0, 100] = 0 : used when there is no table */
    uint32_t n_mach;           /* [0, 12] = 0 : break points used; 0: no table */
    uint32_t n_alpha;          /* [0, 12] = 0 : break points used */
    double mach_bp[12];        /* [0, 100] pad = 0 : ascending */
    double alpha_bp_deg[12];   /* [0, 180] pad = 0 : ascending */
    double cd_table[144];      /* [0, 100] pad = 0 : row per Mach number, n_alpha columns, rows close up */
    double cl_table[144];      /* [-100, 100] pad = 0 : as cd_table */
    double xcp_m_table[144];   /* [-200, 200] pad = 0 : as cd_table, ahead of the body origin */
    double clp;                /* [-1000, 1000] = 0 : roll damping */
    double cmq;                /* [-10000, 10000] = 0 : pitch damping */
    double cnr;                /* [-10000, 10000] = 0 : yaw damping */
    double damp_l_m[3];        /* [0, 1000] pad = 0 : lengths of roll, pitch, yaw damping; 0: l_ref_m */

    /* grid fins */
    double fin_x_m;            /* [-100, 200] = 0 : station */
    double fin_r_m;            /* [0, 50] = 0 : of the fin centre from the axis */
    double fin_azimuth_deg;    /* [-360, 360] = 45 : of fin 0 from +y towards +z */
    double fin_area_m2;        /* [0, 1000] = 0 : one fin */
    double fin_cn_alpha_1_rad; /* [0, 100] = 0 : normal force slope on the fin's area */
    double fin_mach_factor[12]; /* [0, 10] = 1 : on that slope, at the Mach numbers of mach_bp */
    double fin_stall_deg;      /* [1, 80] = 30 : local angle beyond which the force no longer grows */
    double fin_max_deg;        /* [0, 90] = 20 : deflection */
    double fin_rate_deg_s;     /* [0, 1000] = 40 : deflection rate */
    double fin_lag_s;          /* [0, 10] = 0.05 : first order */

    /* cold gas */
    double thruster_n;         /* [0, 1e6] = 0 : one thruster */
    double thruster_isp_s;     /* [1, 1000] = 65 : specific impulse */
    double gas_kg;             /* [0, 1e5] = 0 : at the start; its mass is part of the dry mass */
    double thruster_x_m[16];   /* [-100, 200] pad = 0 : position */
    double thruster_y_m[16];   /* [-50, 50] pad = 0 : position */
    double thruster_z_m[16];   /* [-50, 50] pad = 0 : position */
    double thruster_fx[16];    /* [-1, 1] pad = 0 : direction of the force on the vehicle */
    double thruster_fy[16];    /* [-1, 1] pad = 0 : direction of the force on the vehicle */
    double thruster_fz[16];    /* [-1, 1] pad = 0 : direction of the force on the vehicle */

    /* legs */
    double leg_radius_m;       /* [0, 100] = 0 : foot circle */
    double leg_azimuth_deg;    /* [-360, 360] = 45 : of foot 0 from +y towards +z */
    double leg_stiffness_n_m;  /* [1, 1e9] = 1e6 : one leg, along the pad normal */
    double leg_damping_n_s_m;  /* [0, 1e9] = 1e5 : one leg */
    double leg_crush_n;        /* [1, 1e9] = 1e6 : greatest force of one leg */
    double leg_stroke_m;       /* [0, 10] = 0.5 : beyond it the leg is broken */
    double leg_friction;       /* [0, 5] = 0.5 : Coulomb */

    /* wind, by height above the pad */
    uint32_t n_wind;           /* [0, 8] = 0 : points of the profile used */
    uint32_t pad1;             /* [0, 0] = 0 : unused */
    double wind_h_m[8];        /* [-500, 1e5] pad = 0 : ascending */
    double wind_east_m_s[8];   /* [-200, 200] pad = 0 : air moving east */
    double wind_north_m_s[8];  /* [-200, 200] pad = 0 : air moving north */
    double wind_scale;         /* [-10, 10] = 1 : on the profile */
    double wind_shear_east_1_s;/* [-1, 1] = 0 : added, times height */
    double wind_shear_north_1_s;/* [-1, 1] = 0 : added, times height */
    double gust_m_s;           /* [0, 50] = 0 : 1 sigma per axis, first-order Gauss-Markov (Dryden's longitudinal form) */
    double gust_length_m;      /* [1, 1e5] = 300 : scale length */
} fsw_world_params_t;

typedef struct { /* air at a height */
    double t_k;                /* molecular-scale temperature */
    double p_pa;
    double rho_kg_m3;
    double sound_m_s;
    double inv_scale_1_m;      /* -d ln rho / dh */
    double dp_pa_m;            /* dp/dh */
    double low_m;              /* the layer whose formula holds, geometric height */
    double high_m;
} fsw_air_t;

#define FSW_WORLD_OFF 0
#define FSW_WORLD_DEAD 1
#define FSW_WORLD_RAMP 2
#define FSW_WORLD_MAIN 3
#define FSW_WORLD_DECAY 4

typedef struct { /* one engine */
    double cmd_throttle;       /* 1 */
    double throttle;           /* 1, valve position */
    double frac;               /* 1, share of the throttled thrust that has built up */
    double clock_s;            /* s, in the present phase */
    double dead_s;             /* s, drawn for this start */
    double chill_k;            /* K */
    double unburnt_kg;         /* kg */
    double spike;              /* 1, factor on chamber pressure while spike_s > 0 */
    double spike_s;            /* s, left of a hard start */
    double thrust_n;           /* N */
    double pc_pa;              /* Pa */
    double inlet_pa;           /* Pa */
    double gimbal_rad[2];      /* rad, about y, about z */
    uint32_t cmd_seq;          /* of the last command taken */
    uint32_t starts;           /* dead times begun */
    uint8_t phase;             /* FSW_WORLD_* */
    uint8_t valves;            /* FSW_VALVE_* */
    uint8_t fire;              /* 1 once on fire */
    uint8_t pad0[5];
} fsw_world_engine_t;

typedef struct { /* faults in force, sorted by what they hit */
    double engine_severity[9];
    double gimbal_severity[9];
    double fin_severity[4];
    uint32_t thruster_off_mask;
    uint32_t thruster_on_mask;
    uint32_t seq;              /* of the message sorted */
    uint32_t any;
    uint8_t engine_type[9];    /* FSW_FAULT_*, 0 none */
    uint8_t gimbal_type[9];
    uint8_t fin_type[4];
    uint8_t pad0[2];
} fsw_world_faults_t;

typedef struct {
    double y[22];              /* r_e, v_e, q_be, omega_bi_b, 0, slosh displacement (ox y z, fuel y z), slosh rate */
    double r_be[9];            /* rotation from b to e of the last instant, row major */
    double site_r_e[3];        /* m, pad centre */
    double r_le[9];            /* rotation from e to l, rows east, north, up */
    double q_el[4];            /* attitude of L relative to E */
    double omega_e_b[3];       /* rad/s, Earth rate in B at the last instant */
    double f_b[3];             /* m/s2, specific force at the last instant */
    double alpha_b[3];         /* rad/s2 */
    double mass_kg;
    double cm_x_m;
    double inertia_kg_m2[3];
    double ox_kg;
    double fuel_kg;
    double ox_h_m;             /* m, liquid column */
    double fuel_h_m;
    double ox_x_m;             /* m, mid column */
    double fuel_x_m;
    double slosh_k_1_m[2];     /* 1/m, omega^2 per axial specific force */
    double gas_kg;
    double flow_kg_s;          /* kg/s, all engines */
    double unsettled_s;        /* s, since the axial specific force was above 0.02 g */
    double ramp;               /* 1, plume */
    double rho_kg_m3;          /* at the last instant */
    double p_pa;
    double air_r_e[3];         /* where height and air were last evaluated in full */
    double air_up_e[3];
    double air_h_m;
    double air_low_m;          /* the expansion holds for height changes between these */
    double air_high_m;
    fsw_air_t air;
    double cd;                 /* 1, of the last look into the tables */
    double cl_sin;             /* 1, CL / sin alpha */
    double xcp_m;
    double fin_factor;         /* fin_mach_factor at the present Mach number */
    double wind_l[3];          /* m/s, at wind_height_m, without gust */
    double wind_slope_1_s[2];  /* 1/s */
    double wind_height_m;
    double gust_l[3];          /* m/s */
    double fin_rad[4];
    double damp_m4[3];         /* S l^2 c / 4 of the rate damping */
    double fin_pair[6];        /* sums over the fins of sin s and cos c of the azimuth: s, -c, -ss, sc, sc, -cc */
    double fin_sc[8];          /* sin, cos of the azimuth of each fin */
    double leg_sc[8];          /* sin, cos of the azimuth of each leg */
    double leg_crushed_m[4];   /* m, plastic part */
    double fin_cmd_rad[4];
    double gimbal_cmd_rad[18];
    double rest_s;             /* s, at rest on the ground */
    double broken_s;           /* s, since it broke */
    fsw_world_engine_t engine[9];
    fsw_world_faults_t faults;
    fsw_outcome_t outcome;
    uint32_t started;          /* initial state published */
    uint32_t rcs_mask;
    uint32_t contact_mask;
    uint32_t active_mask;      /* engines that need work */
    uint32_t tvc_seq;          /* of the last command taken */
    uint32_t fin_seq;
    uint8_t airborne;          /* has been in the air */
    uint8_t outcome_changed;
    uint8_t slosh_on;
    uint8_t pad0[5];
} fsw_world_t;

typedef struct { /* the figure of the Earth */
    double a_m;
    double inv_f;
    double gm_m3_s2;
    double j2;
    double rate_rad_s;
} fsw_earth_t;

/* Geodetic to Earth-fixed and back (Bowring 1985: height below 1e-6 m up to 100 km). normal_e: outward normal of the ellipsoid. */
void fsw_earth_from_geodetic(const fsw_earth_t *earth, double lat_rad, double lon_rad, double h_m, double r_e[3]);
double fsw_earth_height(const fsw_earth_t *earth, const double r_e[3], double normal_e[3]);
/* Rows east, north, up of the local frame. */
void fsw_earth_local(double lat_rad, double lon_rad, double r_le[9]);
/* Gravitation (without centrifugal part), m/s2. */
void fsw_earth_gravitation(const fsw_earth_t *earth, const double r_e[3], double g_e[3]);
/* US Standard Atmosphere 1976 at geometric height h_m (clamped to [-5 km, 1000 km]). */
void fsw_air_us76(double h_m, fsw_air_t *air);
/* Wind profile and its slope with height; without gusts. */
void fsw_wind_profile(const fsw_world_params_t *params, double height_m, double wind_l[3], double slope_1_s[2]);
/* CD, CL and centre of pressure from the tables, bilinear, ends held; scale factors not applied. */
void fsw_aero_lookup(const fsw_world_params_t *params, double mach, double alpha_rad, double *cd, double *cl, double *xcp_m);
/* Factor k of the first lateral slosh mode: omega^2 = k f_x; 0 for an empty tank. */
double fsw_slosh_factor(double radius_m, double column_m);
/* Initial state and one step, as the runtime calls them. */
void fsw_world_init(void *state, const void *params);
int32_t fsw_world_step(fsw_io_t *io);
/* cffi: end */

extern const fsw_task_desc_t fsw_task_world_dynamics;

#endif
