/* nav_altitude.c - radar altimeters and barometer: rows, gates, cross-check, the two-hypothesis test (nav.h). */
#include "nav_internal.h"

#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/vec.h"

/* ---- radar altimeter ------------------------------------------------------------------------------------------------------------ */

/* Slant range along -x to the pad plane: z/c + b_ra with z = u (r + C l - p_pad), c = u (C x_b), u = up. Rows u/c on dr,
 * (C l x u)/c - (z/c^2) (C x_b x u) on psi, 1 on b_ra. False: tilted too far, below the pad, or out of range. */
static bool radalt_batch(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_radalt_t *z, fsw_nav_batch_t *b)
{
  static const double x_b[3] = {1.0, 0.0, 0.0};
  fsw_nav_past_t x;
  double lever[3];
  double axis[3];
  double d[3];
  double t[3];
  const double *up = s->c_le + 6;
  if (fsw_nav_past(s, z->t_valid_ns, &x) != 0) return false;
  double tau = (double)(s->f.t_ns - z->t_valid_ns) * 1e-9;
  fsw_q_rotate(x.q_be, s->lever_radalt, lever);
  fsw_q_rotate(x.q_be, x_b, axis);
  for (int i = 0; i < 3; i++) d[i] = x.r_e[i] + lever[i] - s->site_e[i];
  double h = fsw_v3_dot(up, d);
  double c = fsw_v3_dot(up, axis);
  if (!(c > s->cos_tilt_max) || !(c > 0.05)) return false;
  double ic = 1.0 / c;
  double *row = b->h[0];
  __builtin_memset(row, 0, sizeof b->h[0]);
  fsw_v3_scale(ic, up, row);
  fsw_v3_scale(-tau * ic, up, row + 3);
  fsw_v3_cross(lever, up, row + 6);
  fsw_v3_scale(ic, row + 6, row + 6);
  fsw_v3_cross(axis, up, t);
  fsw_v3_axpy(-h * ic * ic, t, row + 6);
  nav_row_set(row, FSW_NAV_BRA, 1.0);
  double sd = p->radalt_sigma_m + p->radalt_sigma_share * z->range_m;
  if (z->range_m < p->radalt_plume_m) sd *= 2.0; /* plume and dust */
  b->nu[0] = z->range_m - h * ic - s->f.b_ra;
  b->r[0] = sd * sd;
  b->n = 1;
  return true;
}

/* Short echoes (dust, plume) are gated at 3/5 of the ordinary gate, long ones at the whole. */
static bool radalt_gate(const fsw_nav_params_t *p, const fsw_nav_batch_t *b)
{
  double g = b->nu[0] < 0.0 ? 0.6 * p->nav_gate_sigma : p->nav_gate_sigma;
  return b->nis <= g * g;
}

/* Two altimeters that disagree, the prediction being the third voter: true when this one is the further from it. */
static bool radalt_outvoted(const fsw_nav_state_t *s, uint32_t k, double nu, double sigma)
{
  for (uint32_t j = 0; j < FSW_NAV_RADALT; j++) {
    const fsw_nav_source_t *o = &s->src[SRC_RADALT + j];
    if (j == k || o->t_valid_ns < 0 || s->f.t_ns - o->t_valid_ns > 100000000) continue;
    double d = nu - o->res[0];
    bool disagree = d * d > 25.0 * (sigma * sigma + o->sigma[0] * o->sigma[0]);
    if (disagree && fsw_abs(nu) > fsw_abs(o->res[0])) return true;
  }
  return false;
}

/* Two hypotheses: the filter is wrong when the other altimeter is rejected in the same way and no receiver supports the
 * filter, or when this altimeter is consistent with itself and nothing else is left to support the filter. */
static bool radalt_filter_wrong(const fsw_nav_state_t *s, uint32_t k)
{
  const fsw_nav_source_t *c = &s->src[SRC_RADALT + k];
  if (!nav_src_on_probation(s, c) || !c->consistent) return false;
  for (uint32_t j = 0; j < FSW_NAV_GNSS; j++)
    if (nav_src_recent(s, &s->src[j], FRESH_NS)) return false;
  for (uint32_t j = 0; j < FSW_NAV_RADALT; j++) {
    const fsw_nav_source_t *o = &s->src[SRC_RADALT + j];
    if (j == k || o->t_valid_ns < 0) continue;
    if (nav_src_recent(s, o, FRESH_NS)) return false;
    if (s->f.t_ns - o->t_valid_ns <= FRESH_NS) return o->rejects >= 3U && o->consistent && nav_src_agree(c, o, 1);
  }
  return s->f.t_ns - s->t_fix_ns > LOST_NS;
}

static void radalt_rejected(fsw_nav_state_t *s, uint32_t k, double nu, double sigmas, fsw_events_t *ev)
{
  fsw_nav_source_t *c = &s->src[SRC_RADALT + k];
  s->rejected++;
  if (c->rejects == 5U) nav_src_say(ev, s, FSW_EVENT_GATE, SRC_RADALT + k, sigmas, nu);
  if (nav_src_on_probation(s, c) && !c->excluded) {
    c->used = 0;
    c->excluded = 1;
    c->history = 0;
    nav_src_announce(s, c, SRC_RADALT + k, ANNOUNCED_EXCLUDED, nu, ev);
  }
}

static uint32_t ones(uint32_t x)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < 8U; i++) n += (x >> i) & 1U;
  return n;
}

static bool usable_radalt(fsw_nav_state_t *s, const fsw_nav_params_t *p, fsw_nav_source_t *c, const fsw_radalt_t *z)
{
  bool ok = z->valid != 0 && z->range_m > 0.0 && z->range_m <= p->radalt_max_m && nav_src_in_time(s, z->t_valid_ns, 0.3);
  if (!ok || nav_src_duplicate(c, z->seq)) {
    if (z->valid != 0) s->stale++;
    return false;
  }
  return true;
}

int32_t fsw_nav_on_radalt(fsw_nav_state_t *s, const fsw_nav_params_t *p, uint32_t k, const fsw_radalt_t *z, fsw_events_t *ev)
{
  if (k >= FSW_NAV_RADALT) return -1;
  fsw_nav_source_t *c = &s->src[SRC_RADALT + k];
  fsw_nav_batch_t b;
  if (!usable_radalt(s, p, c, z)) return -1;
  fsw_nav_update_covariance(s, p);
  if (!radalt_batch(s, p, z, &b)) return -1;
  if (z->t_valid_ns > c->t_valid_ns) c->t_valid_ns = z->t_valid_ns;
  fsw_nav_batch_test(&s->f, &b);
  s->nis_radalt = b.nis;
  double res[3] = {b.nu[0], 0.0, 0.0};
  double sigma[3] = {fsw_sqrt(b.r[0]), 1.0, 1.0};
  bool ok = radalt_gate(p, &b) && !radalt_outvoted(s, k, res[0], sigma[0]);
  c->history = (c->history << 1 | (ok ? 1U : 0U)) & 0xffU;
  if (!ok) {
    nav_src_note_reject(s, c, res, sigma, 0.0, 0.0);
    if (!radalt_filter_wrong(s, k)) {
      radalt_rejected(s, k, res[0], fsw_sqrt(b.nis), ev);
      return 0;
    }
    fsw_nav_open(&s->f, 0, s->c_le + 6, res[0] * res[0]);
    s->resets++;
    nav_src_say(ev, s, FSW_EVENT_NAV_RESET, k, res[0], 0.0);
    c->history = 0xffU;
  }
  fsw_v3_copy(res, c->res);
  fsw_v3_copy(sigma, c->sigma);
  if ((c->excluded || !c->used) && ones(c->history) < 4U) return 0; /* 4 of 8 (re)admit */
  c->excluded = 0;
  c->used = 1;
  fsw_nav_batch_fuse(s, &b);
  fsw_nav_inject(s);
  nav_src_accepted(s, c);
  s->t_height_ns = s->f.t_ns;
  nav_src_announce(s, c, SRC_RADALT + k, ANNOUNCED_USED, z->range_m, ev);
  return 1;
}

/* ---- barometer -------------------------------------------------------------------------------------------------------------------- */

/* ICAO standard atmosphere (Doc 7488, 1993): troposphere to 11 km, isothermal to 20 km. */
double fsw_nav_pressure_height(double p_pa)
{
  const double p11 = 22632.06;
  double p = fsw_clamp(p_pa, 5474.9, 120000.0);
  if (p > p11) return 44330.77 * (1.0 - fsw_pow(p / 101325.0, 0.19026324));
  return 11000.0 - 6341.62 * fsw_log(p / p11);
}

/* Faster than the limit beyond doubt: by three sigma. A filter that has drifted without fixes does not know its speed, and must not refuse
 * for a false one the pressure that could mend its height. */
static bool surely_faster(const fsw_nav_filter_t *f, double limit)
{
  double speed = fsw_v3_norm(f->v_e);
  if (speed <= limit) return false;
  double var = 0.0;
  for (uint32_t i = 3; i < 6U; i++) var += fsw_ud_cov(f->u, f->d, FSW_NAV_N, i, i);
  return (speed - limit) * (speed - limit) > 9.0 * var;
}

static bool usable_baro(const fsw_nav_state_t *s, const fsw_nav_params_t *p, fsw_nav_source_t *c, const fsw_baro_t *z)
{
  if (!(p->baro_sigma_m > 0.0) || z->valid == 0 || !(z->p_pa > 5500.0 && z->p_pa < 120000.0)) return false;
  if (!nav_src_in_time(s, z->t_valid_ns, 0.3) || nav_src_duplicate(c, z->seq)) return false;
  return !surely_faster(&s->f, p->baro_speed_max_m_s);
}

/* h = u (r - p_pad) + height of the site + b_baro. */
static bool baro_batch(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_baro_t *z, fsw_nav_batch_t *b)
{
  fsw_nav_past_t x;
  double d[3];
  const double *up = s->c_le + 6;
  if (fsw_nav_past(s, z->t_valid_ns, &x) != 0) return false;
  for (int i = 0; i < 3; i++) d[i] = x.r_e[i] - s->site_e[i];
  __builtin_memset(b->h[0], 0, sizeof b->h[0]);
  fsw_v3_copy(up, b->h[0]);
  fsw_v3_scale(-(double)(s->f.t_ns - z->t_valid_ns) * 1e-9, up, b->h[0] + 3);
  nav_row_set(b->h[0], FSW_NAV_BBARO, 1.0);
  b->nu[0] = fsw_nav_pressure_height(z->p_pa) - fsw_v3_dot(up, d) - p->site_height_m - s->f.b_baro;
  b->r[0] = p->baro_sigma_m * p->baro_sigma_m;
  b->n = 1;
  return true;
}

int32_t fsw_nav_on_baro(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_baro_t *z, fsw_events_t *ev)
{
  fsw_nav_source_t *c = &s->src[SRC_BARO];
  fsw_nav_batch_t b;
  if (!usable_baro(s, p, c, z)) return -1;
  fsw_nav_update_covariance(s, p);
  if (!baro_batch(s, p, z, &b)) return -1;
  c->t_valid_ns = z->t_valid_ns;
  fsw_nav_batch_test(&s->f, &b);
  if (!(b.nis <= p->nav_gate_sigma * p->nav_gate_sigma)) {
    double res[3] = {b.nu[0], 0.0, 0.0};
    double sigma[3] = {p->baro_sigma_m, 1.0, 1.0};
    nav_src_note_reject(s, c, res, sigma, 0.0, 0.0);
    bool alone = s->f.t_ns - s->t_height_ns > LOST_NS; /* nothing else knows the height */
    if (!alone || !nav_src_on_probation(s, c)) {
      s->rejected++;
      return 0;
    }
    fsw_nav_open(&s->f, 0, s->c_le + 6, res[0] * res[0]);
    fsw_nav_open(&s->f, 3, s->c_le + 6, 0.25 * res[0] * res[0]);
    s->resets++;
    nav_src_say(ev, s, FSW_EVENT_NAV_RESET, SRC_BARO, res[0], 0.0);
  }
  c->used = 1;
  fsw_nav_batch_fuse(s, &b);
  fsw_nav_inject(s);
  nav_src_accepted(s, c);
  return 1;
}

uint32_t fsw_nav_rows_radalt(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_radalt_t *z, double *h, double *nu, double *r)
{
  fsw_nav_batch_t b;
  return radalt_batch(s, p, z, &b) ? fsw_nav_batch_copy(&b, 0, h, nu, r) : 0U;
}

uint32_t fsw_nav_rows_baro(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_baro_t *z, double *h, double *nu, double *r)
{
  fsw_nav_batch_t b;
  return baro_batch(s, p, z, &b) ? fsw_nav_batch_copy(&b, 0, h, nu, r) : 0U;
}
