/* internal.h: shared by the files of the world; not public. */
#ifndef FLIGHTSW_WORLD_INTERNAL_H
#define FLIGHTSW_WORLD_INTERNAL_H

#include "flightsw/math.h"
#include "flightsw/world.h"

#define G0 9.80665
#define P0 101325.0
#define FSW_HALF_SQRT2 0.7071067811865476

/* indices into fsw_world_t.y */
enum { Y_R = 0, Y_V = 3, Y_Q = 6, Y_W = 10, Y_D = 14, Y_S = 18, Y_N = 22 }; /* 13 stays zero, so that all go in pairs */

/* Everything that stays the same through the four stages of a step. */
typedef struct {
    const fsw_world_params_t *p;
    double mass, inv_mass, inv_ixx;
    double inertia[3];    /* kg m2 */
    double gyro_x, gyro[2]; /* kg m2, differences: zz - yy; yy - xx, zz - xx */
    double rate, coriolis; /* rad/s, Earth, and twice that */
    double g_e[3];        /* gravitation + centrifugal, middle of the step */
    double ref_e[3];      /* the place predicted for the middle */
    double up_e[3];       /* normal of the ellipsoid there */
    double rho[3];        /* kg/m3, beginning, middle, end */
    double wind_e[3];
    double drag_area;     /* m2, CD S with scale and plume */
    double lift_area;     /* m2, CL S / sin alpha */
    double xcp_arm;       /* m, centre of pressure ahead of the centre of mass */
    double damp_x, damp_zy[2]; /* m4, S l^2 c / 4; yaw, pitch */
    double fin_gain;      /* m2/2 */
    double fin_arm, fin_r, fin_stall;
    const double *fin_sc, *fin_delta;
    double fin_pair[8];   /* sums over the fins: s, -c; -ss, sc; sc, -cc; s delta, -c delta */
    double fin_sum;       /* of delta */
    double fin_count;
    double fin_most;      /* largest deflection */
    uint32_t n_fins;
    int32_t slosh_on, legs_on;
    double force[3];      /* N, thrust and cold gas, body */
    double moment[3];     /* N m, about the centre of mass, body */
    double twist[2];      /* N m, mz and -my of it */
    double jet;           /* N m s, jet damping */
    double slosh_m[2], slosh_l[2], slosh_w2[2], slosh_c[2]; /* kg, m ahead of cm, 1/s2, 1/s per tank */
    double slosh_f[2];    /* N, axial force carried by each moving mass */
    double inv11[2], inv12[2], inv22[2]; /* inverse of the lateral 2 x 2 systems, planes of y and z */
    double slosh_ml[2];   /* kg m */
    double site_e[3], pad_e[3]; /* pad centre and its normal */
    double cm_x;
    double leg_s[4], leg_c[4], leg_crushed[4];
} fsw_step_t;

/* What a stage finds out besides the derivative. */
typedef struct {
    double f_b[4];        /* specific force, and a zero */
    double aero_b[3];     /* N */
    double roll;          /* N m, everything about the centre of mass: mx */
    double twist[2];      /* N m, mz, -my */
    double depth_m[4];    /* legs, positive in the ground */
} fsw_stage_t;

/* Two numbers side by side (lateral axes y and z, or neighbours in the state): plain element-wise IEEE arithmetic on every
 * target, half the instructions where the processor has such registers. */
typedef double pair __attribute__((vector_size(16)));
typedef double pair_mem __attribute__((vector_size(16), aligned(8), may_alias));

static inline pair load2(const double *p) { return *(const pair_mem *)p; }
static inline void store2(double *p, pair x) { *(pair_mem *)p = x; }
static inline pair both(double x) { return (pair){x, x}; }

static inline double dot3(const double a[3], const double b[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

static inline void cross3(const double a[3], const double b[3], double out[3])
{
    double x = a[1] * b[2] - a[2] * b[1];
    double y = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
    out[0] = x;
    out[1] = y;
}

static inline void copy3(const double a[3], double out[3])
{
    out[0] = a[0];
    out[1] = a[1];
    out[2] = a[2];
}

/* Rotation matrix (row major) of a unit quaternion: v_e = r v_b for q_be. */
static inline void matrix_of(const double q[4], double r[9])
{
    double x2 = q[1] + q[1], y2 = q[2] + q[2], z2 = q[3] + q[3];
    double wx = q[0] * x2, wy = q[0] * y2, wz = q[0] * z2;
    double xx = q[1] * x2, xy = q[1] * y2, xz = q[1] * z2;
    double yy = q[2] * y2, yz = q[2] * z2, zz = q[3] * z2;
    r[0] = 1.0 - (yy + zz);
    r[1] = xy - wz;
    r[2] = xz + wy;
    r[3] = xy + wz;
    r[4] = 1.0 - (xx + zz);
    r[5] = yz - wx;
    r[6] = xz - wy;
    r[7] = yz + wx;
    r[8] = 1.0 - (xx + yy);
}

static inline void mul3(const double r[9], const double v[3], double out[3])
{
    double x = r[0] * v[0] + r[1] * v[1] + r[2] * v[2];
    double y = r[3] * v[0] + r[4] * v[1] + r[5] * v[2];
    out[2] = r[6] * v[0] + r[7] * v[1] + r[8] * v[2];
    out[0] = x;
    out[1] = y;
}

static inline void mul3t(const double r[9], const double v[3], double out[3])
{
    double x = r[0] * v[0] + r[3] * v[1] + r[6] * v[2];
    double y = r[1] * v[0] + r[4] * v[1] + r[7] * v[2];
    out[2] = r[2] * v[0] + r[5] * v[1] + r[8] * v[2];
    out[0] = x;
    out[1] = y;
}

static inline void quat_mul(const double a[4], const double b[4], double out[4])
{
    double w = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3];
    double x = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2];
    double y = a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1];
    out[3] = a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0];
    out[0] = w;
    out[1] = x;
    out[2] = y;
}

/* Makes q a unit quaternion; the identity if it has no direction. */
static inline void quat_unit(double q[4])
{
    double n2 = q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3];
    if (!(n2 > 1e-300)) {
        q[0] = 1.0;
        q[1] = q[2] = q[3] = 0.0;
        return;
    }
    double k = 1.0 / fsw_sqrt(n2);
    for (int i = 0; i < 4; i++) q[i] *= k;
}

/* First-order servo with rate and angle limits over one step: most: rate limit x step; gain: step / lag, at most 1. A command that
 * is not a number goes to -limit. */
static inline double servo(double position, double command, double most, double gain, double limit)
{
    return position + fsw_clamp((fsw_clamp(command, -limit, limit) - position) * gain, -most, most);
}

/* The body origin seen from the pad. */
typedef struct {
    double r_l[3], v_l[3], axis_l[3], rate_b[3];
} fsw_origin_t;

/* mass.c */
void fsw_world_mass_update(fsw_world_t *s, const fsw_world_params_t *p, int32_t shape);
/* engines.c: valves, flames, gimbals, propellant over dt; adds thrust to the step. */
void fsw_world_faults_sort(fsw_world_faults_t *f, const fsw_faults_t *msg, uint32_t seq);
void fsw_world_engines_update(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, double dt);
void fsw_world_engines_thrust(const fsw_world_t *s, fsw_step_t *c);
void fsw_world_chill(fsw_world_t *s, const fsw_world_params_t *p, double dt);
double fsw_world_inlet_pa(const fsw_world_t *s, const fsw_world_params_t *p);
double fsw_world_engine_inlet_pa(const fsw_world_t *s, uint32_t k, double tank_pa);
/* actuators.c: fins and cold gas */
void fsw_world_fins_update(fsw_world_t *s, const fsw_world_params_t *p, double dt);
void fsw_world_rcs_update(fsw_world_t *s, const fsw_world_params_t *p, double dt, fsw_step_t *c);
/* aero.c */
void fsw_world_aero_look(fsw_world_t *s, const fsw_world_params_t *p, const double air_b[3]);
void fsw_world_aero_prepare(const fsw_world_t *s, const fsw_world_params_t *p, fsw_step_t *c);
/* wind.c */
void fsw_world_wind_update(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, double height_m, double speed_m_s,
                           double dt);
/* legs.c */
void fsw_world_leg_forces(const fsw_step_t *c, const double r_e[3], const double v_e[3], const double r_be[9], const double rate_b[3],
                          double force_b[3], double moment_b[3], double depth_m[4]);
int32_t fsw_world_legs_near(const fsw_world_params_t *p, double height_m, double axis_up, double speed_m_s, double dt);
void fsw_world_outcome(fsw_world_t *s, const fsw_world_params_t *p, int64_t t_ns, double dt, const double depth_m[4],
                       const fsw_origin_t *before);
/* derivative.c */
void fsw_world_derivative(const fsw_step_t *restrict c, double rho, const double *restrict y, double *restrict dy,
                          fsw_stage_t *restrict e);
/* prepare.c */
void fsw_world_prepare(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, double dt, fsw_step_t *c);
/* publish.c */
void fsw_world_origin(const fsw_world_t *s, fsw_origin_t *o);
void fsw_world_publish(const fsw_world_t *s, const fsw_world_params_t *p, fsw_io_t *io, const fsw_step_t *c, const fsw_stage_t *e,
                       const double dtheta_b[4], const double dv_b[4]);

static inline fsw_earth_t earth_of(const fsw_world_params_t *p)
{
    fsw_earth_t e = {p->earth_a_m, p->earth_inv_f, p->earth_gm_m3_s2, p->earth_j2, p->earth_rate_rad_s};
    return e;
}

#endif
