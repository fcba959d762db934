/* aero.c: body and fin forces. The tables and the conventions are described in world.h. */
#include "internal.h"

/* Interval and share in it; ends held. */
static uint32_t locate(const double *bp, uint32_t n, double x, double *share)
{
    uint32_t i = n > 3u && x >= bp[n / 2u] ? n / 2u : 0u;
    while (i + 2u < n && x >= bp[i + 1u]) i++;
    if (n < 2u) {
        *share = 0.0;
        return 0;
    }
    double span = bp[i + 1u] - bp[i];
    *share = span > 0.0 ? fsw_clamp((x - bp[i]) / span, 0.0, 1.0) : 0.0;
    return i;
}

void fsw_aero_lookup(const fsw_world_params_t *params, double mach, double alpha_rad, double *cd, double *cl, double *xcp_m)
{
    uint32_t nm = params->n_mach < 12u ? params->n_mach : 12u;
    uint32_t na = params->n_alpha < 12u ? params->n_alpha : 12u;
    if (nm == 0u || na == 0u) {
        *cd = params->cd_const;
        *cl = 0.0;
        *xcp_m = 0.0;
        return;
    }
    double u, w;
    uint32_t i = locate(params->mach_bp, nm, mach, &u);
    uint32_t j = locate(params->alpha_bp_deg, na, alpha_rad / FSW_DEG, &w);
    uint32_t a = i * na + j;
    uint32_t b = nm > 1u ? a + na : a;
    uint32_t d = na > 1u ? 1u : 0u;
    double k00 = (1.0 - u) * (1.0 - w), k01 = (1.0 - u) * w, k10 = u * (1.0 - w), k11 = u * w;
    const double *t = params->cd_table;
    *cd = k00 * t[a] + k01 * t[a + d] + k10 * t[b] + k11 * t[b + d];
    t = params->cl_table;
    *cl = k00 * t[a] + k01 * t[a + d] + k10 * t[b] + k11 * t[b + d];
    t = params->xcp_m_table;
    *xcp_m = k00 * t[a] + k01 * t[a + d] + k10 * t[b] + k11 * t[b + d];
}

/* Share of the fins' slope at a Mach number: grid fins choke around Mach 1. */
static double fin_factor(const fsw_world_params_t *p, double mach)
{
    uint32_t n = p->n_mach < 12u ? p->n_mach : 12u;
    if (n == 0u || p->n_fins == 0u) return 1.0;
    double u;
    uint32_t i = locate(p->mach_bp, n, mach, &u);
    return n > 1u ? p->fin_mach_factor[i] + u * (p->fin_mach_factor[i + 1u] - p->fin_mach_factor[i]) : p->fin_mach_factor[0];
}

static void prepare_fins(const fsw_world_t *s, const fsw_world_params_t *p, fsw_step_t *c)
{
    c->fin_gain = 0.5 * p->fin_area_m2 * p->fin_cn_alpha_1_rad * s->fin_factor;
    c->fin_arm = p->fin_x_m - c->cm_x;
    c->fin_r = p->fin_r_m;
    double x = p->fin_stall_deg * FSW_DEG;
    c->fin_stall = x * (1.0 + x * x * (1.0 / 3.0)); /* tangent, to 1 % at 30 deg */
    double sd = 0.0, cd = 0.0, sum = 0.0, most = 0.0;
    for (uint32_t k = 0; k < p->n_fins; k++) {
        double d = s->fin_rad[k];
        sd += s->fin_sc[2u * k] * d;
        cd += s->fin_sc[2u * k + 1u] * d;
        sum += d;
        most = fsw_max(most, fsw_abs(d));
    }
    for (int i = 0; i < 6; i += 2) store2(c->fin_pair + i, load2(s->fin_pair + i));
    c->fin_pair[6] = sd;
    c->fin_pair[7] = -cd;
    c->fin_sum = sum;
    c->fin_count = (double)p->n_fins;
    c->fin_most = most;
    c->fin_sc = s->fin_sc;
    c->fin_delta = s->fin_rad;
}

/* Looks up the coefficients for the present flow; the caller decides how often. */
void fsw_world_aero_look(fsw_world_t *s, const fsw_world_params_t *p, const double air_b[3])
{
    double across2 = air_b[1] * air_b[1] + air_b[2] * air_b[2];
    double v = fsw_sqrt(across2 + air_b[0] * air_b[0]);
    s->cd = p->cd_const;
    s->cl_sin = 0.0;
    s->xcp_m = s->cm_x_m;
    s->fin_factor = fin_factor(p, v / fsw_max(s->air.sound_m_s, 1.0));
    if (p->n_mach == 0u || !(v > 0.1)) return;
    double across = fsw_sqrt(across2), cl;
    fsw_aero_lookup(p, v / s->air.sound_m_s, fsw_atan2(across, air_b[0]), &s->cd, &cl, &s->xcp_m);
    s->cl_sin = cl / fsw_max(across / v, 1e-6);
}

void fsw_world_aero_prepare(const fsw_world_t *s, const fsw_world_params_t *p, fsw_step_t *c)
{
    c->lift_area = p->lift_scale * p->s_ref_m2 * s->cl_sin;
    c->drag_area = p->drag_scale * p->s_ref_m2 * s->cd * (1.0 - (1.0 - p->plume_factor) * s->ramp);
    c->xcp_arm = s->xcp_m - c->cm_x;
    c->damp_x = s->damp_m4[0];
    c->damp_zy[0] = s->damp_m4[2];
    c->damp_zy[1] = s->damp_m4[1];
    c->n_fins = p->n_fins;
    if (p->n_fins > 0u) prepare_fins(s, p, c);
}
