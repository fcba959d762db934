/* control_alloc.c - redistributed weighted pseudo-inverse, and thruster selection. See control.h. */
#include "flightsw/control.h"
#include "flightsw/math.h"
#include "flightsw/vec.h"

/* y = (B W B' + R)^-1 m for a symmetric 3x3 matrix by its adjugate; R keeps it positive definite. */
static void solve(const double g[6], const double m[3], double y[3])
{
  double a = g[0], b = g[1], c = g[2], d = g[3], e = g[4], f = g[5]; /* a b c / b d e / c e f */
  double A = d * f - e * e, B = c * e - b * f, C = b * e - c * d;
  double det = a * A + b * B + c * C;
  double k = det > 0.0 ? 1.0 / det : 0.0;
  y[0] = k * (A * m[0] + B * m[1] + C * m[2]);
  y[1] = k * (B * m[0] + (a * f - c * c) * m[1] + (b * c - a * e) * m[2]);
  y[2] = k * (C * m[0] + (b * c - a * e) * m[1] + (a * d - b * b) * m[2]);
}

/* One pass over the effectors not in `fixed`: adds to u, clamps, returns the mask of those at their limit. */
static uint32_t pass(fsw_alloc_t *a, uint32_t fixed, const double m[3], const double r_b[3])
{
  double g[6] = { r_b[0] * r_b[0], 0.0, 0.0, r_b[1] * r_b[1], 0.0, r_b[2] * r_b[2] }, y[3];
  for (uint32_t j = 0; j < a->n; j++) {
    if (fixed >> j & 1u) continue;
    const double *b = &a->b[3 * j];
    double w = a->weight[j];
    g[0] += w * b[0] * b[0];
    g[1] += w * b[0] * b[1];
    g[2] += w * b[0] * b[2];
    g[3] += w * b[1] * b[1];
    g[4] += w * b[1] * b[2];
    g[5] += w * b[2] * b[2];
  }
  solve(g, m, y);
  uint32_t hit = 0;
  for (uint32_t j = 0; j < a->n; j++) {
    if (fixed >> j & 1u) continue;
    double u = a->u[j] + a->weight[j] * fsw_v3_dot(&a->b[3 * j], y);
    double v = fsw_clamp(u, -a->limit[j], a->limit[j]);
    if (v < u || v > u) hit |= 1u << j;
    a->u[j] = v;
  }
  return hit;
}

uint32_t fsw_allocate(fsw_alloc_t *a, const double m_b[3], const double r_b[3], double got_b[3])
{
  if (a->n > FSW_ALLOC_MAX) a->n = FSW_ALLOC_MAX;
  for (uint32_t j = 0; j < a->n; j++) a->u[j] = 0.0;
  uint32_t hit = pass(a, 0, m_b, r_b);
  for (int round = 0; round < 2; round++) {
    fsw_v3_set(0.0, 0.0, 0.0, got_b);
    for (uint32_t j = 0; j < a->n; j++) fsw_v3_axpy(a->u[j], &a->b[3 * j], got_b);
    if (round == 1 || hit == 0) break;
    double rest[3];
    fsw_v3_sub(m_b, got_b, rest);
    hit |= pass(a, hit, rest, r_b);
  }
  return hit;
}

uint32_t fsw_select_thrusters(const fsw_control_params_t *p, double cm_x_m, const int8_t dir[3], double got_b[3])
{
  double m[3 * FSW_MAX_THRUSTERS], reach[3] = { 0.0, 0.0, 0.0 };
  uint32_t n = p->n_thrusters <= FSW_MAX_THRUSTERS ? p->n_thrusters : FSW_MAX_THRUSTERS, mask = 0;
  for (uint32_t k = 0; k < n; k++) {
    double x = p->thruster_x_m[k] - cm_x_m, *mk = &m[3 * k];
    mk[0] = p->thruster_n * (p->thruster_y_m[k] * p->thruster_fz[k] - p->thruster_z_m[k] * p->thruster_fy[k]);
    mk[1] = p->thruster_n * (p->thruster_z_m[k] * p->thruster_fx[k] - x * p->thruster_fz[k]);
    mk[2] = p->thruster_n * (x * p->thruster_fy[k] - p->thruster_y_m[k] * p->thruster_fx[k]);
    for (int i = 0; i < 3; i++) reach[i] += fsw_abs(mk[i]);
  }
  fsw_v3_set(0.0, 0.0, 0.0, got_b);
  for (uint32_t k = 0; k < n; k++) {
    double score = 0.0; /* what it does for the demand, each axis in units of its own reach */
    for (int i = 0; i < 3; i++) {
      if (reach[i] > 0.0) score += (double)dir[i] * m[3 * k + (uint32_t)i] / reach[i];
    }
    if (score > 0.01) {
      mask |= 1u << k;
      fsw_v3_add(got_b, &m[3 * k], got_b);
    }
  }
  return mask;
}
