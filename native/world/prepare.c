/* prepare.c: everything that stays the same through the stages of one step. */
#include "internal.h"

#define SLOSH_LIMIT 0.4 /* of the tank radius */
#define AIR_RANGE_M 4.0 /* of flight between two full evaluations of height and air */
#define AERO_PERIOD 4
#define GROUND_M 200.0  /* above this there is no ground: far away the pad plane leaves the ellipsoid */

/* Lateral equations of the rigid part together with the moving masses: [m - sum m_i, -sum m_i l_i; ., I - sum m_i l_i^2]. */
static void invert(double m, double ml, double inertia, int plane, fsw_step_t *c)
{
    double k = 1.0 / (m * inertia - ml * ml);
    c->inv11[plane] = inertia * k;
    c->inv12[plane] = ml * k;
    c->inv22[plane] = m * k;
}

/* A wall stops the liquid: no further out than 0.4 of the radius. d2: square of the displacement d, v: its rate. */
static void stop_at_wall(double limit, double d2, double *d, double *v)
{
    double k = limit / fsw_sqrt(d2);
    d[0] *= k;
    d[1] *= k;
    double out = (d[0] * v[0] + d[1] * v[1]) / (limit * limit);
    if (!(out > 0.0)) return;
    v[0] -= out * d[0];
    v[1] -= out * d[1];
}

static void prepare_slosh(fsw_world_t *s, const fsw_world_params_t *p, fsw_step_t *c)
{
    double kg[2] = {s->ox_kg, s->fuel_kg}, x[2] = {s->ox_x_m, s->fuel_x_m};
    double axial = fsw_max(s->f_b[0], 0.0);
    double sm = 0.0, sml = 0.0, smll = 0.0;
    double limit = SLOSH_LIMIT * p->tank_radius_m;
    double inv_limit2 = 1.0 / (limit * limit);
    for (int i = 0; i < 2; i++) {
        double *d = s->y + Y_D + 2 * i;
        double d2 = d[0] * d[0] + d[1] * d[1];
        if (d2 > limit * limit) stop_at_wall(limit, d2, d, s->y + Y_S + 2 * i);
        double m = p->slosh_mass_share * kg[i];
        double l = x[i] - s->cm_x_m;
        c->slosh_m[i] = m;
        c->slosh_l[i] = l;
        c->slosh_ml[i] = m * l;
        double w2 = s->slosh_k_1_m[i] * axial;
        c->slosh_w2[i] = -w2;
        double damping = p->slosh_damping + 0.3 * fsw_min(d2 * inv_limit2, 1.0);
        c->slosh_c[i] = -2.0 * damping * fsw_sqrt(w2);
        c->slosh_f[i] = m * s->f_b[0];
        sm += m;
        sml += m * l;
        smll += m * l * l;
    }
    invert(c->mass - sm, sml, c->inertia[2] - smll, 0, c);
    invert(c->mass - sm, sml, c->inertia[1] - smll, 1, c);
}

/* Height and air at c->ref_e: in full now and then, between by expansion about the last place. Returns the height. */
static double place_air(fsw_world_t *s, const fsw_earth_t *earth, fsw_step_t *c)
{
    double d[3] = {c->ref_e[0] - s->air_r_e[0], c->ref_e[1] - s->air_r_e[1], c->ref_e[2] - s->air_r_e[2]};
    double dh = dot3(s->air_up_e, d);
    if (!(dot3(d, d) < AIR_RANGE_M * AIR_RANGE_M && dh >= s->air_low_m && dh <= s->air_high_m)) {
        copy3(c->ref_e, s->air_r_e);
        s->air_h_m = fsw_earth_height(earth, c->ref_e, s->air_up_e);
        fsw_air_us76(s->air_h_m, &s->air);
        s->air_low_m = s->air.low_m - s->air_h_m;
        s->air_high_m = s->air.high_m - s->air_h_m;
        dh = 0.0;
    }
    copy3(s->air_up_e, c->up_e);
    double x = dh * s->air.inv_scale_1_m;
    double y = dh * s->air.dp_pa_m / s->air.p_pa;
    s->rho_kg_m3 = s->air.rho_kg_m3 * (1.0 - x + 0.5 * x * x);
    s->p_pa = s->air.p_pa * (1.0 + y + 0.5 * y * y);
    return s->air_h_m + dh;
}

static void place_wind(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, double above_m, double speed, double dt,
                       fsw_step_t *c)
{
    double wind_l[3];
    fsw_world_wind_update(s, p, io, above_m, speed, dt);
    double climb = above_m - s->wind_height_m;
    wind_l[0] = s->wind_l[0] + s->gust_l[0] + s->wind_slope_1_s[0] * climb;
    wind_l[1] = s->wind_l[1] + s->gust_l[1] + s->wind_slope_1_s[1] * climb;
    wind_l[2] = s->gust_l[2];
    mul3t(s->r_le, wind_l, c->wind_e);
}

/* Gravity, air, wind, aero coefficients and nearness of the ground, at the predicted middle of the step. */
static void prepare_place(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, double dt, fsw_step_t *c)
{
    fsw_earth_t earth = earth_of(p);
    const double *v_e = s->y + Y_V;
    double w2 = c->rate * c->rate;
    double speed = fsw_sqrt(dot3(v_e, v_e));
    for (int i = 0; i < 3; i++) c->ref_e[i] = s->y[Y_R + i] + 0.5 * dt * v_e[i];
    fsw_earth_gravitation(&earth, c->ref_e, c->g_e);
    c->g_e[0] += w2 * c->ref_e[0];
    c->g_e[1] += w2 * c->ref_e[1];
    double height = place_air(s, &earth, c);
    double climb = 0.5 * dt * dot3(c->up_e, v_e); /* in half a step */
    double thins = climb * s->air.inv_scale_1_m;
    c->rho[0] = s->rho_kg_m3 * (1.0 + thins);
    c->rho[1] = s->rho_kg_m3;
    c->rho[2] = s->rho_kg_m3 * (1.0 - thins);
    s->p_pa += s->air.dp_pa_m * climb; /* at the end of the step */
    place_wind(s, p, io, height - p->site_height_m, speed, dt, c);
    if (io->tick % AERO_PERIOD == 0 || s->started < 2u) {
        double air_e[3], air_b[3];
        for (int i = 0; i < 3; i++) air_e[i] = v_e[i] - c->wind_e[i];
        mul3t(s->r_be, air_e, air_b);
        fsw_world_aero_look(s, p, air_b);
    }
    fsw_world_aero_prepare(s, p, c);
    double d[3];
    for (int i = 0; i < 3; i++) d[i] = s->y[Y_R + i] - s->site_r_e[i] - s->cm_x_m * s->r_be[3 * i];
    double origin = dot3(s->r_le + 6, d);
    double axis_up = s->r_le[6] * s->r_be[0] + s->r_le[7] * s->r_be[3] + s->r_le[8] * s->r_be[6];
    c->legs_on = height - p->site_height_m < GROUND_M &&
                 (fsw_world_legs_near(p, origin, axis_up, speed, dt) || (p->n_legs == 0u && origin < 1.0));
}

static void prepare_legs(const fsw_world_t *s, const fsw_world_params_t *p, fsw_step_t *c)
{
    copy3(s->site_r_e, c->site_e);
    copy3(s->r_le + 6, c->pad_e);
    for (uint32_t k = 0; k < p->n_legs; k++) {
        c->leg_s[k] = s->leg_sc[2u * k];
        c->leg_c[k] = s->leg_sc[2u * k + 1u];
        c->leg_crushed[k] = s->leg_crushed_m[k];
    }
}

void fsw_world_prepare(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, double dt, fsw_step_t *c)
{
    c->p = p;
    c->mass = s->mass_kg;
    c->inv_mass = 1.0 / c->mass;
    c->inv_ixx = 1.0 / s->inertia_kg_m2[0];
    copy3(s->inertia_kg_m2, c->inertia);
    c->rate = p->earth_rate_rad_s;
    c->coriolis = 2.0 * c->rate;
    c->gyro_x = c->inertia[2] - c->inertia[1];
    c->gyro[0] = c->inertia[1] - c->inertia[0];
    c->gyro[1] = c->inertia[2] - c->inertia[0];
    c->cm_x = s->cm_x_m;
    for (int i = 0; i < 3; i++) c->force[i] = c->moment[i] = 0.0;
    fsw_world_engines_thrust(s, c);
    fsw_world_rcs_update(s, p, dt, c);
    c->twist[0] = c->moment[2];
    c->twist[1] = -c->moment[1];
    prepare_place(s, p, io, dt, c);
    c->slosh_on = s->slosh_on;
    if (s->slosh_on) {
        prepare_slosh(s, p, c);
    } else {
        c->inv11[0] = c->inv11[1] = c->inv_mass;
        c->inv22[0] = 1.0 / c->inertia[2];
        c->inv22[1] = 1.0 / c->inertia[1];
    }
    if (c->legs_on) prepare_legs(s, p, c);
}
