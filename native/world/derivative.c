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
        pull[i] = -c->slosh_w2[i] * d - c->slosh_c[i] * v;
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

void fsw_world_derivative(const fsw_step_t *restrict c, const double *restrict y, double *restrict dy, fsw_stage_t *restrict e)
{
    double q0 = y[Y_Q], q1 = y[Y_Q + 1], q2 = y[Y_Q + 2], q3 = y[Y_Q + 3];
    double vx = y[Y_V], vy = y[Y_V + 1], vz = y[Y_V + 2];
    double wx = y[Y_W];
    pair w = load2(y + Y_W + 1);
    double x2 = q1 + q1, y2 = q2 + q2, z2 = q3 + q3;
    double p1 = q0 * x2, p2 = q0 * y2, p3 = q0 * z2, xx = q1 * x2, xy = q1 * y2, xz = q1 * z2;
    double yy = q2 * y2, yz = q2 * z2, zz = q3 * z2;
    double r0 = 1.0 - (yy + zz), r3 = xy + p3, r6 = xz - p2; /* rows of b to e: x part, (y, z) part */
    pair m0 = {xy - p3, xz + p2}, m1 = {1.0 - (xx + zz), yz - p1}, m2 = {yz + p1, 1.0 - (xx + yy)};
    double ax = vx - c->wind_e[0], ay = vy - c->wind_e[1], az = vz - c->wind_e[2];
    double air_x = r0 * ax + r3 * ay + r6 * az;
    pair air = ax * m0 + ay * m1 + az * m2;
    double wrx = wx - c->rate * r6; /* rate relative to the Earth */
    pair wr = w - c->rate * m2;
    pair wt = {wr[1], -wr[0]};
    double dh = c->up_e[0] * (y[0] - c->ref_e[0]) + c->up_e[1] * (y[1] - c->ref_e[1]) + c->up_e[2] * (y[2] - c->ref_e[2]);
    double rho = c->rho * (1.0 - dh * c->inv_scale);
    load l = body_forces(c, rho, air_x, air, wrx, wt);
    if (c->n_fins > 0u) fin_forces(c, rho, air_x, air, wrx, wt, &l);
    e->aero_b[0] = l.force_x;
    store2(e->aero_b + 1, l.force);
    l.force_x += c->force[0];
    l.force += load2(c->force + 1);
    l.roll += c->moment[0];
    l.twist += load2(c->twist) + c->jet * wt;
    if (c->legs_on) {
        double r[9] = {r0, m0[0], m0[1], r3, m1[0], m1[1], r6, m2[0], m2[1]}, rate[3] = {wrx, wr[0], wr[1]};
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
    dy[Y_V] = row(r0, m0, fx, a) + (c->g_e[0] + c->coriolis * vy);
    dy[Y_V + 1] = row(r3, m1, fx, a) + (c->g_e[1] - c->coriolis * vx);
    dy[Y_V + 2] = row(r6, m2, fx, a) + c->g_e[2];
    double hx = 0.5 * wrx;
    pair h = 0.5 * wr;
    dy[Y_Q] = -q1 * hx - q2 * h[0] - q3 * h[1];
    dy[Y_Q + 1] = q0 * hx + q2 * h[1] - q3 * h[0];
    dy[Y_Q + 2] = q0 * h[0] + q3 * hx - q1 * h[1];
    dy[Y_Q + 3] = q0 * h[1] + q1 * h[0] - q2 * hx;
    dy[Y_W] = (l.roll - c->gyro_x * cross[0]) * c->inv_ixx;
    dy[Y_W + 1] = -turn[1];
    dy[Y_W + 2] = turn[0];
    dy[Y_W + 3] = 0.0;
}
