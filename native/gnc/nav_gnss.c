/* nav_gnss.c - GNSS position and velocity: rows, gates, the two-hypothesis test (nav.h). */
#include "nav_internal.h"

#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/vec.h"

typedef struct {
  fsw_nav_past_t x;   /* state at the time of validity */
  double tau;         /* s, its age */
  double ned[9];
  double lever_e[3];  /* C l */
  double rate_e[3];   /* C (omega x l) */
  double u[3];        /* m/s, velocity given by the specific force since then */
} gnss_frame_t;

static int32_t gnss_frame(const fsw_nav_state_t *s, const fsw_gnss_t *z, gnss_frame_t *g)
{
  double t[3];
  if (fsw_nav_past(s, z->t_valid_ns, &g->x) != 0) return -1;
  g->tau = (double)(s->f.t_ns - z->t_valid_ns) * 1e-9;
  fsw_nav_ned(g->x.r_e, g->ned);
  fsw_q_rotate(g->x.q_be, s->lever_gnss, g->lever_e);
  fsw_v3_cross(g->x.omega_b, s->lever_gnss, t);
  fsw_q_rotate(g->x.q_be, t, g->rate_e);
  for (int i = 0; i < 3; i++) g->u[i] = s->f.v_e[i] - g->x.v_e[i] - g->tau * s->f.g_e[i];
  return 0;
}

static bool is_sigma(double sigma) { return fsw_isfinite(sigma) && sigma >= 0.0; } /* 0: this component is not measured */
static bool stated(double sigma) { return sigma > 0.0; }

/* n (z - r - C l - b_n): rows n on dr and b_n, (C l) x n on psi, referred to the present by -tau on dv (and its tilt part). */
static void position_batch(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_gnss_t *z, const gnss_frame_t *g,
                           fsw_nav_batch_t *b)
{
  double e[3];
  for (int i = 0; i < 3; i++) e[i] = z->r_e[i] - g->x.r_e[i] - g->lever_e[i] - s->f.b_n[i];
  b->n = 0;
  for (uint32_t k = 0; k < 3U; k++) {
    const double *n = g->ned + 3U * k;
    double t[3];
    double sd = z->sigma_r_m[k];
    if (!stated(sd)) continue;
    sd = fsw_clamp(sd, p->gnss_floor_r_m, 1e6);
    double *h = b->h[b->n];
    __builtin_memset(h, 0, sizeof b->h[0]);
    fsw_v3_copy(n, h);
    fsw_v3_scale(-g->tau, n, h + 3);
    fsw_v3_cross(g->lever_e, n, h + 6);
    fsw_v3_cross(n, g->u, t);
    fsw_v3_axpy(-0.5 * g->tau, t, h + 6);
    for (uint32_t i = 0; i < 3U; i++) nav_row_set(h, FSW_NAV_BN + i, n[i]);
    b->nu[b->n] = fsw_v3_dot(n, e);
    b->r[b->n] = sd * sd;
    b->n++;
  }
}

/* v + C (omega x l) - omega_ie x (C l): rows n on dv, (C (omega x l) + u) turned on psi, n_b x l on b_g; gyro noise of one sample
 * times the lever adds to the variance. */
static void velocity_batch(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_gnss_t *z, const gnss_frame_t *g,
                           fsw_nav_batch_t *b)
{
  double e[3];
  const double *l = s->lever_gnss;
  double u_b[3];
  double rate_noise = s->arw * s->arw * 1e9 / (double)s->period_ns * fsw_v3_dot(l, l);
  for (int i = 0; i < 3; i++) e[i] = z->v_e[i] - g->x.v_e[i] - g->rate_e[i];
  fsw_q_rotate_inv(g->x.q_be, g->u, u_b);
  e[0] -= FSW_NAV_OMEGA_E * g->lever_e[1];
  e[1] += FSW_NAV_OMEGA_E * g->lever_e[0];
  b->n = 0;
  for (uint32_t k = 0; k < 3U; k++) {
    const double *n = g->ned + 3U * k;
    double nb[3];
    double t[3];
    double sd = z->sigma_v_m_s[k];
    if (!stated(sd)) continue;
    sd = fsw_clamp(sd, p->gnss_floor_v_m_s, 1e4);
    double *h = b->h[b->n];
    __builtin_memset(h, 0, sizeof b->h[0]);
    fsw_v3_copy(n, h + 3);
    fsw_v3_cross(g->rate_e, n, h + 6);
    fsw_v3_cross(n, g->u, t);
    fsw_v3_add(h + 6, t, h + 6);
    fsw_q_rotate_inv(g->x.q_be, n, nb);
    fsw_v3_cross(nb, l, h + FSW_NAV_BG);
    for (uint32_t i = 0; i < 3U && g->tau != 0.0; i++) { /* what the accelerometer's errors have done since then */
      h[FSW_NAV_BA + i] = g->tau * nb[i];
      nav_row_set(h, FSW_NAV_SA + i, u_b[i] * nb[i]);
    }
    b->nu[b->n] = fsw_v3_dot(n, e);
    b->r[b->n] = sd * sd + rate_noise;
    b->n++;
  }
}

/* Position repeated bit for bit although the filter moves: the receiver has frozen. */
static bool frozen(fsw_nav_state_t *s, fsw_nav_source_t *c, const fsw_gnss_t *z)
{
  bool same = c->t_valid_ns >= 0;
  for (int i = 0; i < 3; i++) same = same && z->r_e[i] == c->last[i];
  fsw_v3_copy(z->r_e, c->last);
  c->frozen = same && fsw_v3_dot(s->f.v_e, s->f.v_e) > 1.0 ? 1 : 0;
  return c->frozen != 0;
}

/* Two hypotheses for a rejected receiver: true when the filter is the one that is wrong. */
static bool gnss_filter_wrong(const fsw_nav_state_t *s, uint32_t k, bool velocity)
{
  const fsw_nav_source_t *c = &s->src[k];
  if (!nav_src_on_probation(s, c) || !c->consistent) return false;
  for (uint32_t j = 0; j < FSW_NAV_GNSS; j++) {
    const fsw_nav_source_t *o = &s->src[j];
    if (j == k || o->t_valid_ns < 0) continue;
    if (nav_src_recent(s, o, FRESH_NS)) return false; /* another receiver supports the filter */
    if (s->f.t_ns - o->t_valid_ns <= FRESH_NS) return o->rejects >= 3U && o->consistent && nav_src_agree(c, o, 3);
  }
  for (uint32_t j = SRC_RADALT; j < SRC_BARO; j++) /* the altimeter supports the filter against a false height */
    if (nav_src_recent(s, &s->src[j], PROBATION_NS) && fsw_abs(c->res[2]) > 5.0 * c->sigma[2]) return false;
  if (!velocity) return s->f.t_ns - s->t_fix_ns > ALONE_NS; /* alone, position only: when nothing has supported the filter for long */
  return c->vel_rejected != 0; /* alone: only if position and velocity contradict the filter together */
}

static void reset_position(fsw_nav_state_t *s, const fsw_nav_source_t *c, const gnss_frame_t *g, bool velocity, fsw_events_t *ev)
{
  for (uint32_t i = 0; i < 3U; i++) {
    fsw_nav_open(&s->f, 0, g->ned + 3U * i, c->res[i] * c->res[i]);
    if (c->vel_rejected || !velocity) fsw_nav_open(&s->f, 3, g->ned + 3U * i, c->res_v * c->res_v);
  }
  s->resets++;
  nav_src_say(ev, s, FSW_EVENT_NAV_RESET, 0, -c->res[2], 0.0);
}

static void gnss_residual(const fsw_nav_batch_t *pos, const fsw_gnss_t *z, double res[3], double sigma[3])
{
  uint32_t m = 0;
  for (uint32_t i = 0; i < 3U; i++) {
    res[i] = 0.0;
    sigma[i] = 1e6;
    if (!stated(z->sigma_r_m[i]) || m >= pos->n) continue;
    res[i] = pos->nu[m];
    sigma[i] = fsw_sqrt(pos->r[m]);
    m++;
  }
}

static void gnss_rejected(fsw_nav_state_t *s, const fsw_nav_params_t *p, uint32_t k, fsw_events_t *ev)
{
  fsw_nav_source_t *c = &s->src[k];
  s->rejected += 3U;
  c->goods = 0;
  if (c->rejects == 1U) nav_src_say(ev, s, FSW_EVENT_GATE, k, fsw_sqrt(fsw_max(s->nis_gnss, 0.0)), 0.0);
  if (nav_src_on_probation(s, c)) {
    c->used = 0;
    c->excluded = 1;
    nav_src_announce(s, c, k, 3, 0.0, ev);
  }
  (void)p;
}

/* Numbers of an antenna near the Earth; a velocity without a stated sigma may be anything. */
static bool well_formed(const fsw_gnss_t *z)
{
  bool ok = true;
  for (int i = 0; i < 3; i++) {
    ok = ok && is_sigma(z->sigma_r_m[i]) && is_sigma(z->sigma_v_m_s[i]);
    ok = ok && fsw_abs(z->r_e[i]) < 1e8 && (fsw_abs(z->v_e[i]) < 1e5 || !stated(z->sigma_v_m_s[i]));
  }
  return ok;
}

static bool usable_gnss(fsw_nav_state_t *s, const fsw_nav_params_t *p, fsw_nav_source_t *c, const fsw_gnss_t *z)
{
  bool ok = z->valid != 0 && nav_src_in_time(s, z->t_valid_ns, p->gnss_lag_max_s) && well_formed(z);
  if (!ok || nav_src_duplicate(c, z->seq)) {
    s->stale++;
    return false;
  }
  bool ice = frozen(s, c, z);
  if (z->t_valid_ns > c->t_valid_ns) c->t_valid_ns = z->t_valid_ns;
  if (ice) s->stale++;
  return !ice;
}

int32_t fsw_nav_on_gnss(fsw_nav_state_t *s, const fsw_nav_params_t *p, uint32_t k, const fsw_gnss_t *z, fsw_events_t *ev)
{
  if (k >= FSW_NAV_GNSS) return -1;
  fsw_nav_source_t *c = &s->src[k];
  gnss_frame_t g;
  fsw_nav_batch_t pos;
  fsw_nav_batch_t vel;
  double res[3];
  double sigma[3];
  double dt = (double)(z->t_valid_ns / 1000 - c->t_valid_ns / 1000) * 1e-6;
  if (!usable_gnss(s, p, c, z) || gnss_frame(s, z, &g) != 0) return -1;
  fsw_nav_update_covariance(s, p);
  position_batch(s, p, z, &g, &pos);
  velocity_batch(s, p, z, &g, &vel);
  if (pos.n + vel.n == 0U) return -1;
  fsw_nav_batch_test(&s->f, &pos);
  fsw_nav_batch_test(&s->f, &vel);
  bool pos_ok = pos.n > 0U && pos.nis <= fsw_nav_joint_gate(p, pos.n);
  bool vel_ok = vel.n > 0U && vel.nis <= fsw_nav_joint_gate(p, vel.n);
  if (pos.n > 0U) s->nis_gnss = pos.nis / (double)pos.n;
  double nv = 0.0;
  for (uint32_t i = 0; i < vel.n; i++) nv += vel.nu[i] * vel.nu[i];
  if (vel.n > 0U && !vel_ok) s->rejected += vel.n;
  c->vel_rejected = vel.n > 0U && !vel_ok ? 1 : 0;

  if (pos.n > 0U && !pos_ok) {
    gnss_residual(&pos, z, res, sigma);
    double outage = fsw_max((double)(s->f.t_ns - s->t_fix_ns) * 1e-9, 1.0); /* not measured: what could have led there since the last fix */
    double res_v = vel.n > 0U ? fsw_sqrt(nv) : 2.0 * fsw_sqrt(fsw_v3_dot(res, res)) / outage;
    nav_src_note_reject(s, c, res, sigma, res_v, dt);
    if (!gnss_filter_wrong(s, k, vel.n > 0U)) {
      gnss_rejected(s, p, k, ev);
      return 0;
    }
    reset_position(s, c, &g, vel.n > 0U, ev);
    vel_ok = vel.n > 0U;
    c->goods = p->nav_readmit;
  }
  if (!nav_src_admitted(c, p->nav_readmit)) return 0;
  fsw_nav_batch_fuse(s, &pos);
  if (vel_ok) fsw_nav_batch_fuse(s, &vel);
  fsw_nav_inject(s);
  nav_src_accepted(s, c);
  if (pos.n > 0U) s->t_fix_ns = s->f.t_ns;
  if (stated(z->sigma_r_m[2])) s->t_height_ns = s->f.t_ns;
  nav_src_announce(s, c, k, 1, 0.0, ev);
  return 1;
}

uint32_t fsw_nav_rows_gnss(const fsw_nav_state_t *s, const fsw_nav_params_t *p, const fsw_gnss_t *z, double *h, double *nu, double *r)
{
  gnss_frame_t g;
  fsw_nav_batch_t b;
  if (gnss_frame(s, z, &g) != 0) return 0;
  position_batch(s, p, z, &g, &b);
  uint32_t m = fsw_nav_batch_copy(&b, 0, h, nu, r);
  velocity_batch(s, p, z, &g, &b);
  return m + fsw_nav_batch_copy(&b, m, h, nu, r);
}
