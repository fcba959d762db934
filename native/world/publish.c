/* publish.c: what the world tells: truth every step, the rest at lower rates. */
#include "internal.h"

enum { OUT_TRUTH, OUT_ENGINES, OUT_STATE, OUT_OUTCOME };

#define ENGINES_PERIOD 5
#define STATE_PERIOD 10
#define OUTCOME_PERIOD 100

void fsw_world_origin(const fsw_world_t *s, fsw_origin_t *o)
{
    const double *r = s->r_be;
    double d[3], v[3], u[3];
    for (int i = 0; i < 3; i++) o->rate_b[i] = s->y[Y_W + i] - s->omega_e_b[i];
    double arm[3] = {-s->cm_x_m, 0.0, 0.0};
    cross3(o->rate_b, arm, u);
    mul3(r, u, v);
    for (int i = 0; i < 3; i++) {
        d[i] = s->y[Y_R + i] - s->cm_x_m * r[3 * i] - s->site_r_e[i];
        v[i] += s->y[Y_V + i];
    }
    double axis[3] = {r[0], r[3], r[6]};
    mul3(s->r_le, d, o->r_l);
    mul3(s->r_le, v, o->v_l);
    mul3(s->r_le, axis, o->axis_l);
}

static void put_truth(const fsw_world_t *s, const fsw_io_t *io, fsw_truth_t *t, const double dtheta_b[4], const double dv_b[4])
{
    t->t_ns = io->t_ns;
    t->h_m = 0.0;
    for (int i = 0; i < 3; i++) t->h_m += s->r_le[6 + i] * (s->y[Y_R + i] - s->cm_x_m * s->r_be[3 * i] - s->site_r_e[i]);
    copy3(s->y + Y_R, t->r_e);
    copy3(s->y + Y_V, t->v_e);
    copy3(s->y + Y_W, t->omega_bi_b);
    for (int i = 0; i < 4; i++) t->q_be[i] = s->y[Y_Q + i];
    copy3(s->alpha_b, t->alpha_bi_b);
    copy3(s->f_b, t->f_b);
    copy3(dtheta_b, t->dtheta_b);
    copy3(dv_b, t->dv_b);
    t->cm_x_m = s->cm_x_m;
    t->p_pa = s->p_pa;
    t->contact_mask = s->contact_mask;
}

static void put_engines(const fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, fsw_engines_truth_t *t)
{
    double inlet = fsw_world_inlet_pa(s, p);
    t->t_ns = io->t_ns;
    for (uint32_t k = 0; k < p->n_engines; k++) {
        const fsw_world_engine_t *e = &s->engine[k];
        t->pc_pa[k] = fsw_max(e->pc_pa, s->p_pa);
        t->inlet_pa[k] = fsw_world_engine_inlet_pa(s, k, inlet);
        t->chill_k[k] = e->chill_k;
        t->throttle[k] = e->throttle;
        t->valves[k] = e->valves;
        t->fire[k] = e->fire;
    }
}

static void put_air(const fsw_world_t *s, fsw_world_state_t *t)
{
    double air_e[3], air_b[3];
    for (int i = 0; i < 3; i++) t->wind_l[i] = s->wind_l[i] + s->gust_l[i];
    double climb = t->r_bl_l[2] - s->wind_height_m;
    t->wind_l[0] += s->wind_slope_1_s[0] * climb;
    t->wind_l[1] += s->wind_slope_1_s[1] * climb;
    mul3t(s->r_le, t->wind_l, air_e);
    for (int i = 0; i < 3; i++) air_e[i] = s->y[Y_V + i] - air_e[i];
    mul3t(s->r_be, air_e, air_b);
    double across2 = air_b[1] * air_b[1] + air_b[2] * air_b[2];
    double v2 = across2 + air_b[0] * air_b[0];
    t->mach = fsw_sqrt(v2) / fsw_max(s->air.sound_m_s, 1.0);
    t->q_pa = 0.5 * s->rho_kg_m3 * v2;
    t->alpha_rad = fsw_atan2(fsw_sqrt(across2), air_b[0]);
}

static void put_state(const fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, const fsw_step_t *c,
                      const fsw_stage_t *e, fsw_world_state_t *t)
{
    fsw_origin_t o;
    double q_le[4] = {s->q_el[0], -s->q_el[1], -s->q_el[2], -s->q_el[3]};
    t->t_ns = io->t_ns;
    fsw_world_origin(s, &o);
    copy3(o.r_l, t->r_bl_l);
    copy3(o.v_l, t->v_bl_l);
    copy3(o.rate_b, t->omega_bl_b);
    quat_mul(q_le, s->y + Y_Q, t->q_bl);
    t->mass_kg = s->mass_kg;
    t->propellant_kg = s->ox_kg + s->fuel_kg;
    put_air(s, t);
    copy3(e->aero_b, t->f_aero_b);
    copy3(c->force, t->f_thrust_b);
    t->m_total_b[0] = e->roll;
    t->m_total_b[1] = -e->twist[1];
    t->m_total_b[2] = e->twist[0];
    for (uint32_t k = 0; k < p->n_engines; k++) t->thrust_n[k] = s->engine[k].thrust_n;
    for (uint32_t k = 0; k < p->n_fins; k++) t->fin_rad[k] = s->fin_rad[k];
    for (int i = 0; i < 4; i++) t->slosh_m[i] = s->y[Y_D + i];
    t->axial_g = s->f_b[0] / G0;
    t->gas_kg = s->gas_kg;
}

static void withhold(fsw_io_t *io, uint32_t port) { io->publish &= ~(1u << port); }

void fsw_world_publish(const fsw_world_t *s, const fsw_world_params_t *p, fsw_io_t *io, const fsw_step_t *c, const fsw_stage_t *e,
                       const double dtheta_b[4], const double dv_b[4])
{
    put_truth(s, io, io->out[OUT_TRUTH], dtheta_b, dv_b);
    if (io->out[OUT_ENGINES] != NULL && io->tick % ENGINES_PERIOD == 0) put_engines(s, p, io, io->out[OUT_ENGINES]);
    else withhold(io, OUT_ENGINES);
    if (io->out[OUT_STATE] != NULL && io->tick % STATE_PERIOD == 0) put_state(s, p, io, c, e, io->out[OUT_STATE]);
    else withhold(io, OUT_STATE);
    if (io->out[OUT_OUTCOME] != NULL && (s->outcome_changed != 0u || io->tick % OUTCOME_PERIOD == 0)) {
        __builtin_memcpy(io->out[OUT_OUTCOME], &s->outcome, sizeof s->outcome);
        ((fsw_outcome_t *)io->out[OUT_OUTCOME])->t_ns = io->t_ns;
    } else {
        withhold(io, OUT_OUTCOME);
    }
}
