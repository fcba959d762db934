/* initial.c: the state at t = 0 from the parameters. */
#include "internal.h"

/* Quaternion of a rotation about a unit axis. */
static void about(const double axis[3], double angle, double q[4])
{
    double s, c;
    fsw_sincos(0.5 * angle, &s, &c);
    q[0] = c;
    for (int i = 0; i < 3; i++) q[1 + i] = s * axis[i];
}

/* Attitude of the local east-north-up frame relative to e. */
static void local_attitude(double lat_rad, double lon_rad, double q[4])
{
    static const double X[3] = {1.0, 0.0, 0.0}, Z[3] = {0.0, 0.0, 1.0};
    double a[4], b[4];
    about(Z, lon_rad + 0.5 * FSW_PI, a);
    about(X, 0.5 * FSW_PI - lat_rad, b);
    quat_mul(a, b, q);
}

static void site(fsw_world_t *s, const fsw_world_params_t *p)
{
    fsw_earth_t earth = earth_of(p);
    double lat = p->site_lat_deg * FSW_DEG, lon = p->site_lon_deg * FSW_DEG;
    fsw_earth_from_geodetic(&earth, lat, lon, p->site_height_m, s->site_r_e);
    fsw_earth_local(lat, lon, s->r_le);
    local_attitude(lat, lon, s->q_el);
}

/* Upright (x up, y east, z north), leant over, rolled; relative to L. */
static void attitude_l(const fsw_world_params_t *p, double q_bl[4])
{
    static const double X[3] = {1.0, 0.0, 0.0};
    double ve = p->init_v_l_m_s[0], vn = p->init_v_l_m_s[1];
    double vh = fsw_sqrt(ve * ve + vn * vn);
    double lean_e = vh > 1e-6 ? -ve / vh : 1.0; /* horizontal direction in which the top leans */
    double lean_n = vh > 1e-6 ? -vn / vh : 0.0;
    double axis[3] = {-lean_n, lean_e, 0.0};    /* up x lean */
    double upright[4] = {0.5, -0.5, -0.5, -0.5}; /* b to l: x to up, y to east, z to north */
    double tilt[4], roll[4], t[4];
    about(axis, p->init_tilt_deg * FSW_DEG, tilt);
    about(X, p->init_roll_deg * FSW_DEG, roll);
    quat_mul(tilt, upright, t);
    quat_mul(t, roll, q_bl);
}

static void place_l(fsw_world_t *s, const fsw_world_params_t *p)
{
    double q_bl[4], r[9], r_l[3], w[3], u[3], cm[3] = {s->cm_x_m, 0.0, 0.0};
    attitude_l(p, q_bl);
    quat_mul(s->q_el, q_bl, s->y + Y_Q);
    matrix_of(s->y + Y_Q, r);
    copy3(p->init_r_l_m, r_l);
    if (p->init_on_pad != 0u && p->n_legs > 0u) {
        fsw_earth_t earth = earth_of(p);
        double g[3];
        fsw_earth_gravitation(&earth, s->site_r_e, g);
        double w2 = p->earth_rate_rad_s * p->earth_rate_rad_s;
        g[0] += w2 * s->site_r_e[0];
        g[1] += w2 * s->site_r_e[1];
        r_l[2] = s->mass_kg * dot3(g, s->r_le + 6) / ((double)p->n_legs * p->leg_stiffness_n_m);
    }
    mul3t(s->r_le, r_l, s->y + Y_R);
    mul3t(s->r_le, p->init_v_l_m_s, s->y + Y_V);
    for (int i = 0; i < 3; i++) w[i] = p->init_omega_b_deg_s[i] * FSW_DEG;
    cross3(w, cm, u);
    mul3(r, u, u);
    for (int i = 0; i < 3; i++) {
        s->y[Y_R + i] += s->site_r_e[i] + r[3 * i] * s->cm_x_m;
        s->y[Y_V + i] += u[i];
        s->omega_e_b[i] = p->earth_rate_rad_s * r[6 + i];
        s->y[Y_W + i] = w[i] + s->omega_e_b[i];
    }
}

static void place_geodetic(fsw_world_t *s, const fsw_world_params_t *p)
{
    static const double X[3] = {1.0, 0.0, 0.0}, Y[3] = {0.0, 1.0, 0.0}, Z[3] = {0.0, 0.0, 1.0};
    fsw_earth_t earth = earth_of(p);
    double lat = p->init_lat_deg * FSW_DEG, lon = p->init_lon_deg * FSW_DEG;
    double ned[4] = {0.0, FSW_HALF_SQRT2, FSW_HALF_SQRT2, 0.0}; /* north east down relative to east north up */
    double q[4], a[4], r[9];
    fsw_earth_from_geodetic(&earth, lat, lon, p->init_h_m, s->y + Y_R);
    local_attitude(lat, lon, q);
    quat_mul(q, ned, q);
    matrix_of(q, r);
    mul3(r, p->init_v_ned_m_s, s->y + Y_V);
    about(Z, p->init_ypr_deg[0] * FSW_DEG, a);
    quat_mul(q, a, q);
    about(Y, p->init_ypr_deg[1] * FSW_DEG, a);
    quat_mul(q, a, q);
    about(X, p->init_ypr_deg[2] * FSW_DEG, a);
    quat_mul(q, a, s->y + Y_Q);
    matrix_of(s->y + Y_Q, r);
    for (int i = 0; i < 3; i++) {
        s->y[Y_W + i] = p->init_omega_b_deg_s[i] * FSW_DEG;
        s->omega_e_b[i] = p->earth_rate_rad_s * r[6 + i];
    }
}

static void engines(fsw_world_t *s, const fsw_world_params_t *p)
{
    for (uint32_t k = 0; k < p->n_engines; k++) {
        fsw_world_engine_t *e = &s->engine[k];
        e->chill_k = p->chill_init_k;
        e->throttle = p->throttle_min;
        if ((p->init_engines_on >> k & 1u) == 0u) continue;
        e->phase = FSW_WORLD_MAIN;
        e->frac = 1.0;
        e->valves = FSW_VALVE_FUEL | FSW_VALVE_OX;
        e->chill_k = p->chill_cold_k;
        e->throttle = e->cmd_throttle = fsw_max(p->init_throttle, p->throttle_min);
        e->pc_pa = e->throttle * p->pc_nominal_pa;
        e->thrust_n = e->throttle * p->thrust_sl_n;
        s->active_mask |= 1u << k;
        s->ramp = 1.0;
    }
}

static void azimuths(fsw_world_t *s, const fsw_world_params_t *p)
{
    for (uint32_t k = 0; k < p->n_fins; k++)
        fsw_sincos((p->fin_azimuth_deg + 360.0 * (double)k / (double)p->n_fins) * FSW_DEG, &s->fin_sc[2u * k], &s->fin_sc[2u * k + 1u]);
    for (uint32_t k = 0; k < p->n_fins; k++) {
        double sk = s->fin_sc[2u * k], ck = s->fin_sc[2u * k + 1u];
        s->fin_pair[0] += sk;
        s->fin_pair[1] -= ck;
        s->fin_pair[2] -= sk * sk;
        s->fin_pair[3] += sk * ck;
        s->fin_pair[4] += sk * ck;
        s->fin_pair[5] -= ck * ck;
    }
    for (uint32_t k = 0; k < p->n_legs; k++)
        fsw_sincos((p->leg_azimuth_deg + 360.0 * (double)k / (double)p->n_legs) * FSW_DEG, &s->leg_sc[2u * k], &s->leg_sc[2u * k + 1u]);
}

static void damping(fsw_world_t *s, const fsw_world_params_t *p)
{
    double c[3] = {p->clp, p->cmq, p->cnr};
    for (int i = 0; i < 3; i++) {
        double l = p->damp_l_m[i] > 0.0 ? p->damp_l_m[i] : p->l_ref_m;
        s->damp_m4[i] = 0.25 * p->s_ref_m2 * l * l * c[i];
    }
}

void fsw_world_init(void *state, const void *params)
{
    fsw_world_t *s = state;
    const fsw_world_params_t *p = params;
    s->ox_kg = p->propellant_kg * p->mixture_ratio / (1.0 + p->mixture_ratio);
    s->fuel_kg = p->propellant_kg - s->ox_kg;
    s->gas_kg = p->gas_kg;
    s->slosh_on = p->slosh_mass_share > 0.0 && p->propellant_kg > 0.0;
    s->airborne = p->init_on_pad == 0u;
    s->outcome.t_touch_ns = -1;
    fsw_world_mass_update(s, p, 1);
    site(s, p);
    azimuths(s, p);
    damping(s, p);
    if (p->init_mode == 0u) place_l(s, p);
    else place_geodetic(s, p);
    quat_unit(s->y + Y_Q);
    matrix_of(s->y + Y_Q, s->r_be);
    engines(s, p);
}
