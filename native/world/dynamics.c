/* dynamics.c: one step of the world, and its task. */
#include "internal.h"

#define NOT_FINITE (-1)
#define SHAPE_PERIOD 10
#define CHILL_PERIOD 20

enum { IN_FAULTS, IN_TVC, IN_FINS, IN_RCS };

static void take_inputs(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io)
{
    if (io->in[IN_FAULTS] != NULL) fsw_world_faults_sort(&s->faults, io->in[IN_FAULTS], io->in_head[IN_FAULTS]->seq);
    if (io->in[IN_TVC] != NULL && io->in_head[IN_TVC]->seq != s->tvc_seq) {
        const fsw_tvc_cmd_t *m = io->in[IN_TVC];
        s->tvc_seq = io->in_head[IN_TVC]->seq;
        for (uint32_t k = 0; k < 2u * p->n_engines; k++) s->gimbal_cmd_rad[k] = m->gimbal_rad[k];
    }
    if (io->in[IN_FINS] != NULL && io->in_head[IN_FINS]->seq != s->fin_seq) {
        const fsw_fin_cmd_t *m = io->in[IN_FINS];
        s->fin_seq = io->in_head[IN_FINS]->seq;
        for (uint32_t k = 0; k < p->n_fins; k++) s->fin_cmd_rad[k] = m->fin_rad[k];
    }
    if (io->in[IN_RCS] != NULL) s->rcs_mask = ((const fsw_rcs_cmd_t *)io->in[IN_RCS])->on_mask & ((1u << p->n_thrusters) - 1u);
}

/* The centre of mass moves in the structure: position and velocity of the structure must not jump. */
static void use_propellant(fsw_world_t *s, const fsw_world_params_t *p, int64_t tick)
{
    double before = s->cm_x_m;
    fsw_world_mass_update(s, p, tick % SHAPE_PERIOD == 0);
    const double *r = s->r_be;
    double d[3] = {s->cm_x_m - before, 0.0, 0.0};
    double w[3] = {s->y[Y_W] - s->omega_e_b[0], s->y[Y_W + 1] - s->omega_e_b[1], s->y[Y_W + 2] - s->omega_e_b[2]};
    double u[3];
    cross3(w, d, u);
    mul3(r, u, u);
    for (int i = 0; i < 3; i++) {
        s->y[Y_R + i] += r[3 * i] * d[0];
        s->y[Y_V + i] += u[i];
    }
}

/* Written out: a loop of eleven pairs costs as much again. DO(i) handles elements i and i + 1. */
#define EACH_RIGID DO(0) DO(2) DO(4) DO(6) DO(8) DO(10) DO(12)
#define EACH_SLOSH DO(14) DO(16) DO(18) DO(20)

/* y = y0 + h k */
static inline void argument(int32_t slosh_on, const double *restrict y0, double h, const double *restrict k, double *restrict y)
{
#define DO(i) store2(y + (i), load2(y0 + (i)) + h * load2(k + (i)));
    EACH_RIGID
    if (slosh_on) {
        EACH_SLOSH
    }
#undef DO
}

/* y += w (a + 2 (b + c) + d) */
static inline void combine(int32_t slosh_on, double *restrict y, double w, const double (*restrict k)[Y_N])
{
#define DO(i) \
    { \
        pair m = load2(k[1] + (i)) + load2(k[2] + (i)); \
        store2(y + (i), load2(y + (i)) + w * (load2(k[0] + (i)) + (m + m) + load2(k[3] + (i)))); \
    }
    EACH_RIGID
    if (slosh_on) {
        EACH_SLOSH
    }
#undef DO
}

/* Classical Runge-Kutta; dtheta and dv are the same weighted sums of rate and specific force. */
static void integrate(fsw_world_t *s, const fsw_step_t *c, double dt, fsw_stage_t *e, double dtheta_b[4], double dv_b[4])
{
    static const double H[3] = {0.5, 0.5, 1.0}, W[3] = {2.0, 2.0, 1.0};
    double y[Y_N], k[4][Y_N];
    double w = dt * (1.0 / 6.0);
    fsw_world_derivative(c, c->rho[0], s->y, k[0], e);
    pair t0 = load2(s->y + Y_W), t1 = load2(s->y + Y_W + 2), v0 = load2(e->f_b), v1 = load2(e->f_b + 2);
    for (int n = 0; n < 3; n++) {
        argument(c->slosh_on, s->y, H[n] * dt, k[n], y);
        fsw_world_derivative(c, c->rho[n < 2 ? 1 : 2], y, k[n + 1], e);
        t0 += W[n] * load2(y + Y_W);
        t1 += W[n] * load2(y + Y_W + 2);
        v0 += W[n] * load2(e->f_b);
        v1 += W[n] * load2(e->f_b + 2);
    }
    combine(c->slosh_on, s->y, w, (const double(*)[Y_N])k);
    store2(dtheta_b, w * t0);
    store2(dtheta_b + 2, w * t1);
    store2(dv_b, w * v0);
    store2(dv_b + 2, w * v1);
    quat_unit(s->y + Y_Q);
    matrix_of(s->y + Y_Q, s->r_be);
    for (int i = 0; i < 3; i++) s->omega_e_b[i] = c->rate * s->r_be[6 + i];
    copy3(e->f_b, s->f_b);
    copy3(k[3] + Y_W, s->alpha_b);
}

/* After the crash: at rest on the rotating Earth. */
static void lie(fsw_world_t *s, const fsw_world_params_t *p, double dt, double dtheta_b[4], double dv_b[4])
{
    const double *r = s->r_be;
    double g[3];
    fsw_earth_t earth = earth_of(p);
    fsw_earth_gravitation(&earth, s->y + Y_R, g);
    double w2 = p->earth_rate_rad_s * p->earth_rate_rad_s;
    g[0] += w2 * s->y[Y_R];
    g[1] += w2 * s->y[Y_R + 1];
    mul3t(r, g, s->f_b);
    for (int i = 0; i < 3; i++) {
        s->f_b[i] = -s->f_b[i];
        s->omega_e_b[i] = p->earth_rate_rad_s * r[6 + i];
        s->y[Y_V + i] = 0.0;
        s->y[Y_W + i] = s->omega_e_b[i];
        s->alpha_b[i] = 0.0;
        dtheta_b[i] = s->omega_e_b[i] * dt;
        dv_b[i] = s->f_b[i] * dt;
    }
    for (int i = Y_D; i < Y_N; i++) s->y[i] = 0.0;
    for (uint32_t k = 0; k < p->n_engines; k++) {
        s->engine[k].phase = FSW_WORLD_OFF;
        s->engine[k].valves = 0;
        s->engine[k].thrust_n = s->engine[k].pc_pa = s->engine[k].frac = 0.0;
    }
    s->active_mask = 0;
    s->flow_kg_s = s->ramp = 0.0;
}

static int32_t finite(const double *y)
{
    return fsw_isfinite(y[Y_R] + y[Y_V] + y[Y_Q] + y[Y_W]); /* what is wrong in one number is in all one step later */
}

static void advance(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, fsw_step_t *c, fsw_stage_t *e, double dtheta_b[4],
                    double dv_b[4])
{
    double dt = (double)io->dt_ns * 1e-9;
    take_inputs(s, p, io);
    fsw_world_engines_update(s, p, io, dt);
    if (s->flow_kg_s > 0.0) use_propellant(s, p, io->tick);
    if (io->tick % CHILL_PERIOD == 0) fsw_world_chill(s, p, CHILL_PERIOD * dt);
    fsw_world_fins_update(s, p, dt);
    fsw_world_prepare(s, p, io, dt, c);
    fsw_origin_t before;
    if (c->legs_on) fsw_world_origin(s, &before);
    integrate(s, c, dt, e, dtheta_b, dv_b);
    s->outcome.peak_axial_g = fsw_max(s->outcome.peak_axial_g, fsw_abs(s->f_b[0]) / G0);
    s->contact_mask = 0;
    if (c->legs_on) fsw_world_outcome(s, p, io->t_ns, dt, e->depth_m, &before);
    else if (s->airborne == 0u) s->airborne = 1;
}

/* First call: the initial state, with the forces that act in it, without moving on. */
static void look(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, fsw_step_t *c, fsw_stage_t *e)
{
    double k[Y_N];
    take_inputs(s, p, io);
    fsw_world_prepare(s, p, io, 0.0, c);
    fsw_world_derivative(c, c->rho[0], s->y, k, e);
    copy3(e->f_b, s->f_b);
    copy3(k + Y_W, s->alpha_b);
    s->outcome_changed = 1;
    for (uint32_t j = 0; c->legs_on != 0 && j < p->n_legs; j++)
        if (e->depth_m[j] > 0.0) s->contact_mask |= 1u << j;
}

int32_t fsw_world_step(fsw_io_t *io)
{
    fsw_world_t *s = io->state;
    const fsw_world_params_t *p = io->params;
    fsw_step_t c;
    fsw_stage_t e;
    double dtheta_b[4] = {0.0, 0.0, 0.0, 0.0}, dv_b[4] = {0.0, 0.0, 0.0, 0.0};
    s->outcome_changed = 0;
    if (s->started == 0u) {
        s->started = 1;
        look(s, p, io, &c, &e);
    } else if (s->outcome.broken != 0u) {
        double dt = (double)io->dt_ns * 1e-9;
        double depth[4] = {0.0, 0.0, 0.0, 0.0};
        fsw_origin_t still;
        fsw_world_origin(s, &still);
        __builtin_memset(&c, 0, sizeof c);
        __builtin_memset(&e, 0, sizeof e);
        lie(s, p, dt, dtheta_b, dv_b);
        fsw_world_outcome(s, p, io->t_ns, dt, depth, &still);
    } else {
        advance(s, p, io, &c, &e, dtheta_b, dv_b);
        s->started = 2;
    }
    if (!finite(s->y)) return NOT_FINITE;
    fsw_world_publish(s, p, io, &c, &e, dtheta_b, dv_b);
    return 0;
}

static const fsw_port_t READS[] = {
    FSW_READ_OPT("faults", fsw_faults_t),
    FSW_READ_OPT("tvc", fsw_tvc_cmd_t),
    FSW_READ_OPT("fins", fsw_fin_cmd_t),
    FSW_READ_OPT("rcs", fsw_rcs_cmd_t),
    FSW_READ_N("engine_act", fsw_engine_cmd_t, 9, 0),
};

static const fsw_port_t WRITES[] = {
    FSW_WRITE("truth", fsw_truth_t),
    FSW_WRITE_OPT("engines_truth", fsw_engines_truth_t),
    FSW_WRITE_OPT("state", fsw_world_state_t),
    FSW_WRITE_OPT("outcome", fsw_outcome_t),
};

FSW_TASK(fsw_task_world_dynamics, "world.dynamics", fsw_world_step, fsw_world_init, fsw_world_t, fsw_world_params_t, READS, WRITES,
         "Vehicle, Earth, air, engines, slosh and ground contact: the world the flight software flies in.");
