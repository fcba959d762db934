/* control_throttle.c - one throttle per engine from the total thrust wanted. See control.h. */
#include "flightsw/control.h"
#include "flightsw/math.h"

/* Lean an unbalanced set towards its inner engines: the smallest change of the equal shares (sum zero) that removes the moment
 * of their positions. Works on the first moments sum(s y), sum(s z) of shares s about the stage axis. */
static void lean(const fsw_control_params_t *p, uint32_t mask, uint32_t n, double share[9])
{
  double my = 0.0, mz = 0.0, syy = 0.0, syz = 0.0, szz = 0.0, in = 1.0 / (double)n;
  for (uint32_t k = 0; k < 9; k++) {
    if (!(mask >> k & 1u)) continue;
    my += p->engine_y_m[k] * in;
    mz += p->engine_z_m[k] * in;
  }
  if (my * my + mz * mz < 1e-6) return; /* balanced */
  for (uint32_t k = 0; k < 9; k++) {
    if (!(mask >> k & 1u)) continue;
    double y = p->engine_y_m[k] - my, z = p->engine_z_m[k] - mz;
    syy += y * y;
    syz += y * z;
    szz += z * z;
  }
  double eps = 1e-3 * (syy + szz) + 1e-9;
  syy += eps;
  szz += eps;
  double det = syy * szz - syz * syz;
  double gy = (szz * my - syz * mz) / det, gz = (syy * mz - syz * my) / det;
  for (uint32_t k = 0; k < 9; k++) {
    if (mask >> k & 1u) share[k] -= (p->engine_y_m[k] - my) * gy + (p->engine_z_m[k] - mz) * gz;
  }
}

uint32_t fsw_share_thrust(const fsw_control_params_t *p, const double effect[9], uint32_t mask, double total_n, double pr,
                          double throttle[9])
{
  double share[9] = { 0 }, lo[9], hi[9], t[9], sum_lo = 0.0, sum_hi = 0.0, sum = 0.0;
  uint32_t n = 0;
  for (uint32_t k = 0; k < 9; k++) n += mask >> k & 1u;
  if (n == 0) return 0;
  double full = fsw_engine_thrust_n(1.0, pr, p->thrust_sl_n, p->thrust_vac_n);
  double least = fsw_engine_thrust_n(p->throttle_min, pr, p->thrust_sl_n, p->thrust_vac_n);
  for (uint32_t k = 0; k < 9; k++) share[k] = 1.0 / (double)n;
  lean(p, mask, n, share);
  for (uint32_t k = 0; k < 9; k++) {
    if (!(mask >> k & 1u)) continue;
    lo[k] = least * effect[k];
    hi[k] = full * effect[k];
    t[k] = fsw_clamp(total_n * share[k], lo[k], hi[k]);
    sum += t[k];
    sum_lo += lo[k];
    sum_hi += hi[k];
  }
  /* what the limits took away or added is spread over the room the others have */
  double want = fsw_clamp(total_n, sum_lo, sum_hi), rest = want - sum;
  double room = rest > 0.0 ? sum_hi - sum : sum - sum_lo;
  double f = room > 1e-6 * full ? fsw_clamp(rest / room, -1.0, 1.0) : 0.0;
  double slope = full - least > 1.0 ? (1.0 - p->throttle_min) / (full - least) : 0.0;
  for (uint32_t k = 0; k < 9; k++) {
    if (!(mask >> k & 1u)) continue;
    t[k] += f > 0.0 ? f * (hi[k] - t[k]) : f * (t[k] - lo[k]);
    double e = fsw_max(effect[k], 0.05);
    throttle[k] = fsw_clamp(p->throttle_min + (t[k] / e - least) * slope, p->throttle_min, 1.0);
  }
  return total_n > sum_hi * 1.001 || total_n < sum_lo * 0.999;
}
