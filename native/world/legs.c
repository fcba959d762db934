/* legs.c: feet on the pad plane, and what the verdict says about the touchdown. */
#include "internal.h"

#define SLIP_M_S 0.05          /* below this sliding speed friction fades to zero */
#define TIP_COS 0.9063077870366499 /* cos 25 deg */
#define REST_M_S 0.05
#define REST_RAD_S (0.2 * FSW_DEG)
#define HOLD_S 1.0
#define AIRBORNE_M 0.5         /* origin this high and no foot on the ground: has taken off */

/* Adds the contact forces. Everything in b except the pad normal, which is turned into b once. */
void fsw_world_leg_forces(const fsw_step_t *c, const double r_e[3], const double v_e[3], const double r_be[9], const double rate_b[3],
                          double force_b[3], double moment_b[3], double depth_m[4])
{
    const fsw_world_params_t *p = c->p;
    double up_b[3], v_b[3];
    double d[3] = {r_e[0] - c->site_e[0], r_e[1] - c->site_e[1], r_e[2] - c->site_e[2]};
    double height = dot3(d, c->pad_e);
    mul3t(r_be, c->pad_e, up_b);
    mul3t(r_be, v_e, v_b);
    for (uint32_t k = 0; k < p->n_legs; k++) {
        double rho[3] = {-c->cm_x, p->leg_radius_m * c->leg_c[k], p->leg_radius_m * c->leg_s[k]};
        depth_m[k] = -(height + dot3(up_b, rho));
        double squeeze = depth_m[k] - c->leg_crushed[k];
        if (!(squeeze > 0.0)) continue;
        double u[3];
        cross3(rate_b, rho, u);
        for (int i = 0; i < 3; i++) u[i] += v_b[i];
        double un = dot3(u, up_b);
        double normal = fsw_clamp(p->leg_stiffness_n_m * squeeze - p->leg_damping_n_s_m * un, 0.0, p->leg_crush_n);
        double t[3] = {u[0] - un * up_b[0], u[1] - un * up_b[1], u[2] - un * up_b[2]};
        double slip = fsw_max(fsw_sqrt(dot3(t, t)), SLIP_M_S);
        double drag = p->leg_friction * normal / slip;
        double f[3], m[3];
        for (int i = 0; i < 3; i++) f[i] = normal * up_b[i] - drag * t[i];
        cross3(rho, f, m);
        for (int i = 0; i < 3; i++) {
            force_b[i] += f[i];
            moment_b[i] += m[i];
        }
    }
}

/* Can any foot touch within this step? axis_up: cosine of the tilt. */
int32_t fsw_world_legs_near(const fsw_world_params_t *p, double height_m, double axis_up, double speed_m_s, double dt)
{
    double sine = fsw_sqrt(fsw_max(1.0 - axis_up * axis_up, 0.0));
    return p->n_legs > 0u && height_m < p->leg_radius_m * sine + 2.0 * speed_m_s * dt + 0.1;
}

static void latch_touch(fsw_world_t *s, int64_t t_ns, const fsw_origin_t *at)
{
    fsw_outcome_t *o = &s->outcome;
    o->touched = 1;
    o->t_touch_ns = t_ns;
    o->v_down_m_s = -at->v_l[2];
    o->v_across_m_s = fsw_sqrt(at->v_l[0] * at->v_l[0] + at->v_l[1] * at->v_l[1]);
    o->tilt_deg = fsw_acos(fsw_clamp(at->axis_l[2], -1.0, 1.0)) / FSW_DEG;
    o->rate_deg_s = fsw_sqrt(dot3(at->rate_b, at->rate_b)) / FSW_DEG;
    o->miss_m = fsw_sqrt(at->r_l[0] * at->r_l[0] + at->r_l[1] * at->r_l[1]);
    o->propellant_kg = s->ox_kg + s->fuel_kg;
    s->outcome_changed = 1;
}

static void crush(fsw_world_t *s, const fsw_world_params_t *p, const double depth_m[4])
{
    double elastic = p->leg_crush_n / p->leg_stiffness_n_m;
    for (uint32_t k = 0; k < p->n_legs; k++) {
        s->leg_crushed_m[k] = fsw_max(s->leg_crushed_m[k], depth_m[k] - elastic);
        s->outcome.leg_stroke_m = fsw_max(s->outcome.leg_stroke_m, depth_m[k]);
    }
}

/* Once per step near the ground. depth_m: of the feet at the end of the step, negative in the air. before: at its beginning, before
 * the ground could act; what a first contact latches. */
void fsw_world_outcome(fsw_world_t *s, const fsw_world_params_t *p, int64_t t_ns, double dt, const double depth_m[4],
                       const fsw_origin_t *before)
{
    fsw_origin_t now;
    fsw_outcome_t *o = &s->outcome;
    fsw_world_origin(s, &now);
    const double *r_l = now.r_l, *v_l = now.v_l, *axis_l = now.axis_l, *rate_b = now.rate_b;
    double deepest = p->n_legs > 0u ? -1.0 : -r_l[2];
    s->contact_mask = 0;
    for (uint32_t k = 0; k < p->n_legs; k++) {
        if (depth_m[k] > 0.0) s->contact_mask |= 1u << k;
        deepest = fsw_max(deepest, depth_m[k]);
    }
    crush(s, p, depth_m);
    int32_t contact = deepest > 0.0;
    if (!contact && r_l[2] > AIRBORNE_M) s->airborne = 1;
    int32_t breaks = contact && o->broken == 0u && (deepest > p->leg_stroke_m || axis_l[2] < TIP_COS || p->n_legs == 0u);
    if (contact && o->touched == 0u && (s->airborne != 0u || breaks)) latch_touch(s, t_ns, before);
    if (breaks) {
        o->broken = 1;
        s->outcome_changed = 1;
    }
    int32_t rest = contact && o->touched != 0u && dot3(v_l, v_l) < REST_M_S * REST_M_S && dot3(rate_b, rate_b) < REST_RAD_S * REST_RAD_S;
    s->rest_s = rest ? s->rest_s + dt : 0.0;
    s->broken_s = o->broken ? s->broken_s + dt : 0.0;
    if (o->settled == 0u && (s->rest_s > HOLD_S || s->broken_s > HOLD_S)) {
        o->settled = 1;
        s->outcome_changed = 1;
    }
    o->final_tilt_deg = fsw_acos(fsw_clamp(axis_l[2], -1.0, 1.0)) / FSW_DEG;
    o->final_speed_m_s = fsw_sqrt(dot3(v_l, v_l));
}
