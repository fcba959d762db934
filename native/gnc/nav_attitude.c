/* nav_attitude.c - attitude input (star tracker, reference unit) and magnetometer: rows, gates, exclusion (nav.h). */
#include "nav_internal.h"

#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/vec.h"

/* A row on psi at the time of validity, tau seconds ago, seen from now: psi_then = psi_now + C db_g tau. */
static void psi_row(const double q_be[4], double tau, const double row[3], double h[FSW_NAV_N])
{
  double body[3];
  fsw_v3_copy(row, h + 6);
  fsw_q_rotate_inv(q_be, row, body);
  for (uint32_t i = 0; i < 3U; i++) h[FSW_NAV_BG + i] = tau * body[i];
}

/* Measured q = C_true exp(noise about the body axes); residual: rotation vector of conj(q_est) q. Rows: body axis k on psi. */
static bool attitude_batch(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_attitude_t *z, fsw_nav_batch_t *b)
{
  fsw_nav_past_t x;
  double q[4];
  double c[9];
  for (int i = 0; i < 4; i++) q[i] = z->q_be[i];
  if (!fsw_q_normalize(q) || fsw_nav_past(s, z->t_valid_ns, &x) != 0) return false;
  double tau = (double)(s->f.t_ns - z->t_valid_ns) * 1e-9;
  fsw_q_to_dcm(x.q_be, c);
  fsw_q_conj(x.q_be, x.q_be);
  fsw_q_mul(x.q_be, q, q);
  fsw_q_conj(x.q_be, x.q_be);
  double n = fsw_v3_dot(q + 1, q + 1);
  double gain = 2.0 + n * (1.0 / 3.0 + n * (3.0 / 20.0)); /* 2 asin(|v|) / |v|; beyond half a radian no one needs its digits */
  if (q[0] < 0.0) gain = -gain;
  __builtin_memset(b, 0, sizeof *b);
  for (uint32_t k = 0; k < 3U; k++) {
    double axis[3] = {c[k], c[3U + k], c[6U + k]};
    double sd = z->sigma_rad[k];
    if (!(sd > 0.0 && sd < 10.0)) continue;
    sd = fsw_max(sd, p->att_floor_deg * FSW_DEG);
    psi_row(x.q_be, tau, axis, b->h[b->n]);
    b->nu[b->n] = gain * q[1U + k];
    b->r[b->n] = sd * sd;
    b->n++;
  }
  return b->n > 0U;
}

/* Two directions at right angles to a unit vector, away from the axis it is nearest to. */
static void across(const double m[3], double t[6])
{
  double axis[3] = {0.0, 0.0, 0.0};
  uint32_t least = fsw_abs(m[0]) <= fsw_abs(m[1]) ? 0U : 1U;
  if (fsw_abs(m[2]) < fsw_abs(m[least])) least = 2U;
  axis[least] = 1.0;
  fsw_v3_cross(m, axis, t);
  (void)fsw_v3_unit(t, t);
  fsw_v3_cross(m, t, t + 3);
}

/* Two scalars t (C m_b - m_e), t at right angles to the reference m_e: rows t x m_e on psi. The length of the field says nothing. */
static bool mag_batch(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_mag_t *z, fsw_nav_batch_t *b)
{
  fsw_nav_past_t x;
  double m[3];
  double ref[3];
  double t[6];
  if (!(p->mag_sigma_deg > 0.0) || !fsw_v3_unit(z->b_b, m) || !fsw_v3_unit(p->mag_ref_l, ref)) return false;
  if (fsw_nav_past(s, z->t_valid_ns, &x) != 0) return false;
  double tau = (double)(s->f.t_ns - z->t_valid_ns) * 1e-9;
  fsw_m3_tmulv(s->c_le, ref, ref);
  fsw_q_rotate(x.q_be, m, m);
  across(ref, t);
  __builtin_memset(b, 0, sizeof *b);
  b->n = 2;
  for (uint32_t k = 0; k < 2U; k++) {
    double row[3];
    fsw_v3_cross(t + 3U * k, ref, row);
    psi_row(x.q_be, tau, row, b->h[k]);
    b->nu[k] = fsw_v3_dot(t + 3U * k, m);
    b->r[k] = p->mag_sigma_deg * p->mag_sigma_deg * FSW_DEG * FSW_DEG;
  }
  return fsw_v3_dot(m, ref) > 0.0; /* pointing the other way: no small error */
}

/* Valid, in time, not seen before; the time of validity is noted. */
static bool usable(fsw_nav_state_t *s, fsw_nav_source_t *c, int64_t t_valid_ns, uint32_t seq, bool valid)
{
  if (!valid || !nav_src_in_time(s, t_valid_ns, 0.3) || nav_src_duplicate(c, seq)) {
    s->stale++;
    return false;
  }
  if (t_valid_ns > c->t_valid_ns) c->t_valid_ns = t_valid_ns;
  return true;
}

/* Outside the gate. True when the filter is taken to be wrong: its attitude is opened and the sample fused. Only an attitude input that
 * agrees with itself for 0.5 s can do that, and only while nothing else supports the filter. */
static bool rejected(fsw_nav_state_t *s, uint32_t k, const fsw_nav_batch_t *b, fsw_events_t *ev)
{
  fsw_nav_source_t *c = &s->aid[k];
  double res[3] = {0.0, 0.0, 0.0};
  double sigma[3] = {1.0, 1.0, 1.0};
  for (uint32_t i = 0; i < b->n; i++) {
    res[i] = b->nu[i];
    sigma[i] = fsw_sqrt(b->r[i]);
  }
  nav_src_note_reject(s, c, res, sigma, 0.0, 0.0);
  if (c->rejects == 1U) nav_src_say(ev, s, FSW_EVENT_GATE, FSW_NAV_SOURCES + k, fsw_sqrt(b->nis), 0.0);
  c->goods = 0;
  if (nav_src_on_probation(s, c)) {
    if (k == AID_ATTITUDE && c->consistent && s->f.t_ns - s->t_fix_ns > LOST_NS) {
      fsw_nav_open(&s->f, 6, NULL, fsw_v3_dot(res, res));
      s->resets++;
      c->excluded = 0;
      return true;
    }
    c->used = 0;
    c->excluded = 1;
  }
  s->rejected += b->n;
  return false;
}

static int32_t take(fsw_nav_state_t *s, const fsw_nav_params_t *p, uint32_t k, fsw_nav_batch_t *b, fsw_events_t *ev)
{
  fsw_nav_source_t *c = &s->aid[k];
  fsw_nav_batch_test(&s->f, b);
  if (!(b->nis <= fsw_nav_joint_gate(p, b->n)) && !rejected(s, k, b, ev)) return 0;
  if (!nav_src_admitted(c, p->nav_readmit)) return 0;
  fsw_nav_batch_fuse(s, b);
  fsw_nav_inject(s);
  nav_src_accepted(s, c);
  return 1;
}

int32_t fsw_nav_on_attitude(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_attitude_t *z, fsw_events_t *ev)
{
  fsw_nav_batch_t b;
  if (!usable(s, &s->aid[AID_ATTITUDE], z->t_valid_ns, z->seq, z->valid != 0)) return -1;
  fsw_nav_update_covariance(s, p);
  return attitude_batch(s, p, z, &b) ? take(s, p, AID_ATTITUDE, &b, ev) : -1;
}

int32_t fsw_nav_on_magnetometer(fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_mag_t *z, fsw_events_t *ev)
{
  fsw_nav_batch_t b;
  if (!usable(s, &s->aid[AID_MAG], z->t_valid_ns, z->seq, z->valid != 0)) return -1;
  fsw_nav_update_covariance(s, p);
  return mag_batch(s, p, z, &b) ? take(s, p, AID_MAG, &b, ev) : -1;
}

uint32_t fsw_nav_rows_attitude(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_attitude_t *z, double *h, double *nu, double *r)
{
  fsw_nav_batch_t b;
  return attitude_batch(s, p, z, &b) ? fsw_nav_batch_copy(&b, 0, h, nu, r) : 0U;
}

uint32_t fsw_nav_rows_magnetometer(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_mag_t *z, double *h, double *nu, double *r)
{
  fsw_nav_batch_t b;
  return mag_batch(s, p, z, &b) ? fsw_nav_batch_copy(&b, 0, h, nu, r) : 0U;
}
