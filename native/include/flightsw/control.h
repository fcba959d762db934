/* control.h - attitude control, control allocation and throttle distribution: the manual.
 *
 * Task gnc.control (100 Hz by default) turns guidance's attitude and thrust into gimbal angles, fin angles, thruster pulses and
 * one throttle per engine, for any set of engines that happens to be burning.
 *
 *   reads   nav, guidance, engines (optional: written later in the tick by gnc.sequencer, so one tick old)
 *   writes  tvc, fins (optional), rcs (optional), control
 *
 * Attitude law. The error quaternion q_cmd* q_bl is split into a tilt of the stage axis and a roll about it (swing and twist).
 * Tilt and roll each give a rate command, linear in the error when it is small and along the square-root profile
 * w = sqrt(2 a (e - a / (2 k^2))) when it is large, so that the deceleration never asks for more than the share
 * `authority_share` of what the effectors can give now (a = share * moment limit / inertia). The moment is
 * I (kw (w_cmd - w) + wi), its first part at most `demand_share` of the limit, with wi an integrator of the rate error for a misaligned thrust or a displaced centre of mass; it is
 * frozen while the allocation is saturated. kp 1.5 and kw 4 make a pair of poles at 2.4 rad/s, damping 0.8; gimbal lag 0.04 s,
 * sampling and links (about 0.07 s altogether) cost 16 deg of the phase at the rate loop's crossover of 4 rad/s.
 * The rate of the commanded attitude can be fed forward (`lead_share`; a steady turn then has no lag), if it is smooth.
 * The rate is low-passed (`rate_lp_hz`); a notch (`notch_hz`, 0 off) is there for a slosh or bending mode.
 * Sources: B. Wie, Space Vehicle Dynamics and Control (2008), ch. 7; A. L. Greensite, Analysis and Design of Space Vehicle
 * Flight Control Systems, NASA CR-820 (1967).
 *
 * Signs, body axes, small angles; r is the point of attack minus the centre of mass:
 *   gimbal  [2k] = a turns engine k's thrust T about +y, [2k+1] = b about +z: F = T (1, b, -a)
 *           M = r x F = T (-y a - z b,  z + x a,  x b - y),  x = engine_x_m - cm_x (negative)
 *   fin     at azimuth phi from +y towards +z: radial (hinge) e_r = (0, cos phi, sin phi), tangent e_t = e_x x e_r =
 *           (0, -sin phi, cos phi). A deflection d > 0 about e_r turns the fin's normal from e_t to e_t cos d + e_x sin d. Air
 *           moving along +x over the body (tail first) then pushes along +e_t: F = q S cn_alpha d e_t (nose first: - ).
 *           M = F_t (fin_r, -(fin_x - cm_x) cos phi, -(fin_x - cm_x) sin phi)
 *   thruster  F = thruster_n (fx, fy, fz)
 * These are the signs of world.h.
 * Allocation: weighted least squares, u = W B' (B W B' + R)^-1 M over the gimbals of all burning engines and the fins, W the
 * squares of the limits (fins times `fin_share_lit` while gimbals work), R a small regularisation; columns that hit their limit are
 * fixed there and the rest of the moment is given once more to the free ones (J. Virnig and D. Bodden, AIAA 94-3690, "redistributed
 * pseudo-inverse"). What is left over beyond a dead band goes to the thrusters, on or off, with hysteresis and a shortest pulse.
 *
 * Throttles. The commanded total is shared equally over lit engines; an engine that gives less than its throttle says gets more,
 * and what it cannot give the others take; an unbalanced set is leaned towards the engines near the axis so that gimbals keep
 * their range. Mass, centre of mass and inertia follow the propellant, integrated from estimated thrust. */
#ifndef FLIGHTSW_CONTROL_H
#define FLIGHTSW_CONTROL_H
#include "flightsw/messages.h"
#include "flightsw/task.h"

/* cffi: begin */
#define FSW_ALLOC_MAX 22

typedef struct {
  /* vehicle: the shared constants */
  double engine_x_m;          /* [-200, 200] : gimbal plane ahead of the body origin */
  double engine_y_m[9];       /* [-20, 20] pad = 0 : */
  double engine_z_m[9];       /* [-20, 20] pad = 0 : */
  double thrust_sl_n;         /* [1, 1e8] : one engine at full throttle, sea level */
  double thrust_vac_n;        /* [0, 1e8] = 0 : in vacuum; 0: equal to thrust_sl_n */
  double isp_sl_s;            /* [1, 1000] = 280 : specific impulse at sea level */
  double mixture_ratio;       /* [0, 20] = 3.55 : oxidiser over fuel, by mass */
  double throttle_min;        /* [0.01, 1] = 0.5 : lowest throttle */
  double throttle_lag_s;      /* [0, 10] = 0.15 : lag of the throttle valve */
  double gimbal_max_deg;      /* [0.1, 45] = 7 : */
  double mass_dry_kg;         /* [1, 1e7] : */
  double propellant_kg;       /* [0, 1e7] : at the start of the run */
  double dry_cm_x_m;          /* [-200, 200] : dry centre of mass ahead of the body origin */
  double dry_ixx_kg_m2;       /* [0.01, 1e12] : */
  double dry_iyy_kg_m2;       /* [0.01, 1e12] : */
  double tank_radius_m;       /* [0.01, 20] = 2.2 : */
  double tank_ox_x_m;         /* [-200, 200] = 0 : bottom of the oxidiser tank */
  double tank_fuel_x_m;       /* [-200, 200] = 0 : bottom of the fuel tank */
  double rho_ox_kg_m3;        /* [1, 3000] = 1141 : */
  double rho_fuel_kg_m3;      /* [1, 3000] = 423 : */
  double fin_x_m;             /* [-200, 200] = 0 : fins ahead of the body origin */
  double fin_azimuth_deg;     /* [-360, 360] = 45 : of fin 0 from +y towards +z, the others follow at 360 deg / n_fins */
  double fin_r_m;             /* [0, 50] = 0 : lever arm of a fin about the stage axis */
  double fin_area_m2;         /* [0, 100] = 0 : */
  double fin_cn_alpha_1_rad;  /* [0, 20] = 2.5 : normal force slope on the fin's own area */
  double fin_max_deg;         /* [0, 45] = 20 : */
  double thruster_n;          /* [0, 1e6] = 0 : */
  double thruster_x_m[16];    /* [-200, 200] pad = 0 : */
  double thruster_y_m[16];    /* [-20, 20] pad = 0 : */
  double thruster_z_m[16];    /* [-20, 20] pad = 0 : */
  double thruster_fx[16];     /* [-1, 1] pad = 0 : direction of the force on the vehicle */
  double thruster_fy[16];     /* [-1, 1] pad = 0 : */
  double thruster_fz[16];     /* [-1, 1] pad = 0 : */
  double site_height_m;       /* [-500, 9000] = 0 : pad above sea level */
  /* tuning */
  double kp_1_s;              /* [0.05, 20] = 1.5 : tilt error to rate */
  double kw_1_s;              /* [0.1, 50] = 4 : rate error to angular acceleration, tilt */
  double kp_roll_1_s;         /* [0.05, 20] = 0.8 : roll error to rate */
  double kw_roll_1_s;         /* [0.1, 50] = 4 : rate error to angular acceleration, roll */
  double ki_1_s;              /* [0, 5] = 0.5 : integrator, tilt */
  double ki_roll_1_s;         /* [0, 5] = 0.8 : integrator, roll */
  double integral_share;      /* [0, 1] = 0.4 : its limit, share of the moment limit */
  double integral_band;       /* [0, 1] = 0.5 : it waits while more than this share of the greatest demand is asked */
  double rate_max_deg_s;      /* [0.1, 100] = 10 : fastest tilt commanded */
  double roll_rate_max_deg_s; /* [0.1, 100] = 8 : fastest roll commanded */
  double authority_share;     /* [0.05, 1] = 0.4 : share of the moment limit planned for braking a slew */
  double lead_share;          /* [0, 1.5] = 0 : share of the commanded attitude's own rate that is fed forward; wants a smooth command */
  double lead_tau_s;          /* [0, 10] = 0.15 : filter on that rate */
  double demand_share;        /* [0.05, 2] = 0.7 : share of it asked at most; less to turn round at the gimbal's rate */
  double rate_lp_hz;          /* [0.1, 1000] = 8 : low-pass on the body rate */
  double notch_hz;            /* [0, 40] = 0 : notch on the tilt moment, 0 off */
  double notch_width;         /* [0.05, 2] = 0.6 : its width over its frequency */
  double notch_depth;         /* [0, 1] = 0.2 : gain left at its centre */
  double fin_share_lit;       /* [0, 1] = 0.6 : weight of the fins against gimbals while engines burn */
  double thrust_floor_share;  /* [0, 1] = 0.15 : an engine below this share of full thrust does not steer */
  double thruster_on_rad_s;   /* [0, 1] = 0.008 : rate error left over that opens thrusters */
  double thruster_off_rad_s;  /* [0, 1] = 0.002 : and closes them */
  double thruster_min_s;      /* [0, 1] = 0.03 : shortest pulse */
  double low_thrust_tau_s;    /* [0.05, 10] = 0.4 : how fast a weak engine is believed to be weak */
  double low_thrust_wait_s;   /* [0, 60] = 1.5 : not judged before this long after lighting: its ramp */
  double rho0_kg_m3;          /* [0, 10] = 1.225 : air density at sea level, exponential atmosphere */
  double scale_height_m;      /* [100, 100000] = 8500 : */
  double engine_gimballed[9]; /* [0, 1] pad = 1 : 1 where engine k can be turned */
  uint32_t n_engines;         /* [0, 9] : */
  uint32_t n_fins;            /* [0, 4] = 0 : */
  uint32_t n_thrusters;       /* [0, 16] = 0 : */
  uint32_t pad0;              /* [0, 0] = 0 : unused */
} fsw_control_params_t;

typedef struct {
  double mass_kg;
  double cm_x_m;              /* m, ahead of the body origin */
  double ixx_kg_m2;
  double iyy_kg_m2;           /* about the centre of mass; izz alike */
} fsw_mass_props_t;

typedef struct {
  double propellant_kg;       /* kg, left */
  double omega_f[3];          /* rad/s, low-passed body rate */
  double wi[3];               /* rad/s2, integrator */
  double q_cmd[4];            /* 1, last commanded attitude */
  double lead[3];             /* rad/s, its filtered rate */
  int64_t t_cmd_ns;           /* ns, its time; 0 before the first */
  double notch_z[4];          /* N m, notch memory, y and z */
  double notch_b[3];          /* 1, notch coefficients */
  double notch_a[2];          /* 1 */
  double effect[9];           /* 1, thrust of engine k over what its throttle promises */
  double throttle_f[9];       /* 1, throttle through the valve's lag */
  double lit_s[9];            /* s, since engine k was confirmed running */
  double limit_b[3];          /* N m, moment limit at the last step, thrusters included */
  double firm_b[3];           /* N m, without thrusters */
  double reach_b[3];          /* N m, of the thrusters; one axis is refreshed per step, it follows the centre of mass */
  double sat_b[3];            /* -1, 0, 1: direction in which the last allocation fell short */
  uint32_t counter;           /* commands so far */
  uint32_t on_mask;           /* thrusters open */
  int8_t dir[3];              /* thruster demand per axis */
  uint8_t hold[3];            /* steps it still has to be kept */
  uint8_t ready;              /* the rate filter has been started */
  uint8_t pad0[1];
} fsw_control_state_t;

typedef struct { /* what one allocation works on; pure, for tests and for use without the task */
  double b[66];               /* N m/rad, moment of effector j: [3j..3j+2] */
  double limit[22];           /* rad, each way */
  double weight[22];          /* rad2 */
  double u[22];               /* rad, result */
  uint32_t n;
  uint32_t pad0;
} fsw_alloc_t;

void fsw_mass_props(const fsw_control_params_t *p, double propellant_kg, fsw_mass_props_t *out);
/* thrust of one engine at throttle u (share of sea-level thrust) and ambient pressure over sea-level pressure pr */
double fsw_engine_thrust_n(double u, double pr, double thrust_sl_n, double thrust_vac_n); /* thrust_vac_n 0: as at sea level */
/* moment asked m_b (N m), r_b the regularisation (N m); returns a mask of limited effectors; got_b: the moment given */
uint32_t fsw_allocate(fsw_alloc_t *a, const double m_b[3], const double r_b[3], double got_b[3]);
/* thruster mask for a demand of -1, 0 or 1 per axis, and the moment it gives */
uint32_t fsw_select_thrusters(const fsw_control_params_t *p, double cm_x_m, const int8_t dir[3], double got_b[3]);
/* attitude error from q_cmd to q_bl: tilt (y, z) and roll (x), rad, body axes */
void fsw_attitude_error(const double q_cmd_bl[4], const double q_bl[4], double err_b[3]);
/* braking-limited rate towards zero error, for a positive error */
double fsw_slew_rate(double err_rad, double k_1_s, double a_rad_s2, double rate_max_rad_s);
/* throttles of the engines in mask that give total_n together; effect as in the state; returns 1 when it is out of reach */
uint32_t fsw_share_thrust(const fsw_control_params_t *p, const double effect[9], uint32_t mask, double total_n, double pr,
                          double throttle[9]);
/* cffi: end */

void fsw_control_init(void *state, const void *params);
/* follow the commanded attitude's rate */
void fsw_control_lead(fsw_control_state_t *s, const fsw_control_params_t *p, const double q_cmd_bl[4], int64_t t_ns, int64_t now_ns);
/* one step of the attitude law: moment asked of the allocation */
void fsw_control_moment(fsw_control_state_t *s, const fsw_control_params_t *p, const fsw_mass_props_t *mp,
                        const double err_b[3], const double omega_b[3], double dt_s, double m_b[3]);
extern const fsw_task_desc_t fsw_task_gnc_control;

#endif
