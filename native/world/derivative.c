/* derivative.c: right-hand side of the equations of motion, one Runge-Kutta stage. Runs four times per step: kept lean.
 * The lateral axes go side by side in pairs: (y, z) for vectors; for moments and rates the pair of the same planes, (z, -y), so that
 * a lateral force F at x ahead of the centre of mass adds x F to it. Called "twist" here. */
#include "internal.h"

typedef struct {
    double force_x, roll;
    pair force, twist; /* (fy, fz); (mz, -my) */
} load;

/* Body: drag against the flow, lift across it, in one expression without dividing by the speed. wt: (wz, -wy). */
static inline load body_forces(const fsw_step_t *restrict c, double rho, double air_x, pair air, double wx, pair wt)
{
    load l;
    pair across = air * air;
    double speed2 = air_x * air_x + (across[0] + across[1]);
    double speed = fsw_sqrt(speed2);
    double h = 0.5 * rho;
    double k = rho * speed;
    double along = -h * (speed * c->drag_area + c->lift_area * air_x);
    l.force_x = along * air_x + h * c->lift_area * speed2;
    l.force = along * air;
    l.roll = k * c->damp_x * wx;
    l.twist = k * load2(c->damp_zy) * wt + c->xcp_arm * l.force;
    return l;
}

/* Adds the fins. Far from stall all are linear and their sum needs no loop. */
static inline void fin_forces(const fsw_step_t *restrict c, double rho, double ux, pair air, double wx, pair wt, load *l)
{
    double speed = fsw_abs(ux);
    double gain = rho * c->fin_gain * speed;
    pair u = air + c->fin_arm * wt;
    double uy = u[0], uz = u[1], roll = wx * c->fin_r, sum;
    pair f;
    if (fsw_abs(roll) + fsw_abs(uy) + fsw_abs(uz) < speed * (c->fin_stall - c->fin_most)) {
        const double *t = c->fin_pair;
        f = gain * (roll * load2(t) + uy * load2(t + 2) + uz * load2(t + 4) + ux * load2(t + 6));
        sum = gain * (uy * t[0] + uz * t[1] - ux * c->fin_sum - roll * c->fin_count);
    } else {
        double most = speed * c->fin_stall;
        f = both(0.0);
        sum = 0.0;
        for (uint32_t k = 0; k < c->n_fins; k++) {
            double sk = c->fin_sc[2u * k], ck = c->fin_sc[2u * k + 1u];
            double one = gain * fsw_clamp(sk * uy - ck * uz - roll - ux * c->fin_delta[k], -most, most);
            f += one * (pair){-sk, ck};
            sum += one;
        }
    }
    l->force += f;
    l->roll += c->fin_r * sum;
    l->twist += c->fin_arm * f;
}

static void legs(const fsw_step_t *c, const double *y, const double r[9], const double rate[3], load *l, fsw_stage_t *e)
{
    double f[3] = {l->force_x, l->force[0], l->force[1]};
    double m[3] = {l->roll, -l->twist[1], l->twist[0]};
    fsw_world_leg_forces(c, y + Y_R, y + Y_V, r, rate, f, m, e->depth_m);
    l->force_x = f[0];
    l->force = (pair){f[1], f[2]};
    l->roll = m[0];
    l->twist = (pair){m[2], -m[1]};
}

/* Lateral acceleration and angular acceleration of the rigid part together with the moving masses. */
static inline void slosh(const fsw_step_t *restrict c, const double *restrict y, double *restrict dy, pair force, pair twist, pair *a,
                         pair *turn)
{
    pair pull[2];
    for (int i = 0; i < 2; i++) {
        pair d = load2(y + Y_D + 2 * i), v = load2(y + Y_S + 2 * i);
        pull[i] = c->slosh_w2[i] * d + c->slosh_c[i] * v;
        force -= c->slosh_m[i] * pull[i];
        twist += c->slosh_f[i] * d - c->slosh_ml[i] * pull[i]; /* the displaced mass is carried along the axis off centre */
        store2(dy + Y_D + 2 * i, v);
    }
    *a = load2(c->inv11) * force + load2(c->inv12) * twist;
    *turn = load2(c->inv12) * force + load2(c->inv22) * twist;
    for (int i = 0; i < 2; i++) store2(dy + Y_S + 2 * i, pull[i] - *a - c->slosh_l[i] * *turn);
}

static inline double row(double rx, pair ryz, double x, pair yz)
{
    pair t = ryz * yz;
    return rx * x + (t[0] + t[1]);
}

typedef struct { /* rows of the rotation from b to e: x part, (y, z) part */
    double r0, r3, r6;
    pair m0, m1, m2;
} rows;

static inline rows rotation(const double *restrict q)
{
    double x2 = q[1] + q[1], y2 = q[2] + q[2], z2 = q[3] + q[3];
    double wx = q[0] * x2, wy = q[0] * y2, wz = q[0] * z2, xx = q[1] * x2, xy = q[1] * y2, xz = q[1] * z2;
    double yy = q[2] * y2, yz = q[2] * z2, zz = q[3] * z2;
    rows m;
    m.r0 = 1.0 - (yy + zz);
    m.r3 = xy + wz;
    m.r6 = xz - wy;
    m.m0 = (pair){xy - wz, xz + wy};
    m.m1 = (pair){1.0 - (xx + zz), yz - wx};
    m.m2 = (pair){yz + wx, 1.0 - (xx + yy)};
    return m;
}

/* Half of q times the rate relative to the Earth; hx, h: half the rate. */
static inline void attitude_rate(const double *restrict q, double hx, pair h, double *restrict dq)
{
    double q0 = q[0], q1 = q[1], q2 = q[2], q3 = q[3];
    dq[0] = -q1 * hx - q2 * h[0] - q3 * h[1];
    dq[1] = q0 * hx + q2 * h[1] - q3 * h[0];
    dq[2] = q0 * h[0] + q3 * hx - q1 * h[1];
    dq[3] = q0 * h[1] + q1 * h[0] - q2 * hx;
}

void fsw_world_derivative(const fsw_step_t *restrict c, double rho, const double *restrict y, double *restrict dy,
                          fsw_stage_t *restrict e)
{
    double vx = y[Y_V], vy = y[Y_V + 1], vz = y[Y_V + 2];
    double wx = y[Y_W];
    pair w = load2(y + Y_W + 1);
    rows m = rotation(y + Y_Q);
    double ax = vx - c->wind_e[0], ay = vy - c->wind_e[1], az = vz - c->wind_e[2];
    double air_x = m.r0 * ax + m.r3 * ay + m.r6 * az;
    pair air = ax * m.m0 + ay * m.m1 + az * m.m2;
    double wrx = wx - c->rate * m.r6; /* rate relative to the Earth */
    pair wr = w - c->rate * m.m2;
    pair wt = {wr[1], -wr[0]};
    load l = body_forces(c, rho, air_x, air, wrx, wt);
    if (c->n_fins > 0u) fin_forces(c, rho, air_x, air, wrx, wt, &l);
    e->aero_b[0] = l.force_x;
    store2(e->aero_b + 1, l.force);
    l.force_x += c->force[0];
    l.force += load2(c->force + 1);
    l.roll += c->moment[0];
    l.twist += load2(c->twist) + c->jet * wt;
    if (c->legs_on) {
        double r[9] = {m.r0, m.m0[0], m.m0[1], m.r3, m.m1[0], m.m1[1], m.r6, m.m2[0], m.m2[1]}, rate[3] = {wrx, wr[0], wr[1]};
        legs(c, y, r, rate, &l, e);
    }
    e->roll = l.roll;
    store2(e->twist, l.twist);
    pair a, turn, twist = l.twist - wx * load2(c->gyro) * w;
    pair cross = w * (pair){w[1], w[0]};
    if (c->slosh_on) {
        slosh(c, y, dy, l.force, twist, &a, &turn);
    } else {
        a = load2(c->inv11) * l.force;
        turn = load2(c->inv22) * twist;
    }
    double fx = l.force_x * c->inv_mass;
    e->f_b[0] = fx;
    store2(e->f_b + 1, a);
    e->f_b[3] = 0.0;
    dy[0] = vx;
    dy[1] = vy;
    dy[2] = vz;
    dy[Y_V] = row(m.r0, m.m0, fx, a) + (c->g_e[0] + c->coriolis * vy);
    dy[Y_V + 1] = row(m.r3, m.m1, fx, a) + (c->g_e[1] - c->coriolis * vx);
    dy[Y_V + 2] = row(m.r6, m.m2, fx, a) + c->g_e[2];
    attitude_rate(y + Y_Q, 0.5 * wrx, 0.5 * wr, dy + Y_Q);
    dy[Y_W] = (l.roll - c->gyro_x * cross[0]) * c->inv_ixx;
    dy[Y_W + 1] = -turn[1];
    dy[Y_W + 2] = turn[0];
    dy[Y_W + 3] = 0.0;
}
