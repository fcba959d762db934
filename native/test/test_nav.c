/* test_nav.c - UD factors against a dense 113-bit reference, Jacobians by finite differences, mechanisation, IMU voting, the task.
 * Exit 0 when all hold. */
#include "nav_rig.h"

#define N FSW_NAV_N
#define COL(j) ((j) * ((j) - 1U) / 2U)
typedef long double real; /* 113 or 64 bit: either is far beyond the bar of 1e-9 */

/* ---- dense reference ----------------------------------------------------------------------------------------------------- */

static real ref_p[N][N];

static void expand(const double *u, const double *d, real p[N][N])
{
  for (uint32_t i = 0; i < N; i++)
    for (uint32_t k = 0; k < N; k++) {
      real s = 0;
      for (uint32_t j = i > k ? i : k; j < N; j++) {
        real ui = j == i ? 1 : (real)u[COL(j) + i];
        real uk = j == k ? 1 : (real)u[COL(j) + k];
        if (d[j] > 0.0) s += ui * d[j] * uk;
      }
      p[i][k] = s;
    }
}

/* Largest difference relative to the standard deviations. */
static double distance(const double *u, const double *d)
{
  static real p[N][N];
  real worst = 0;
  expand(u, d, p);
  for (uint32_t i = 0; i < N; i++)
    for (uint32_t k = 0; k < N; k++) {
      real s = sqrtl(ref_p[i][i] * ref_p[k][k]);
      real e = fabsl(p[i][k] - ref_p[i][k]);
      if (s > 0 && e / s > worst) worst = e / s;
      else if (s == 0 && e > 0) worst = 1;
    }
  return (double)worst;
}

static void ref_scalar(const double *h, double r)
{
  real ph[N];
  real s = r;
  for (uint32_t i = 0; i < N; i++) {
    ph[i] = 0;
    for (uint32_t k = 0; k < N; k++) ph[i] += ref_p[i][k] * h[k];
    s += h[i] * ph[i];
  }
  for (uint32_t i = 0; i < N; i++)
    for (uint32_t k = 0; k < N; k++) ref_p[i][k] -= ph[i] * ph[k] / s;
}

/* Dense transition matrix, written out from the equations in nav.h and not from the code under test. */
static void dense_phi(const fsw_nav_transition_t *t, real phi[N][N])
{
  static const int g[3][3] = {{0, 1, 2}, {1, 3, 4}, {2, 4, 5}};
  real e[3][N] = {{0}};
  memset(phi, 0, sizeof(real) * N * N);
  for (int i = 0; i < 3; i++) {
    for (int k = 0; k < 3; k++) {
      e[i][k] = t->g_dt[g[i][k]];
      e[i][9 + k] = -(real)t->c[3 * i + k] * t->dt;
      e[i][15 + k] = -(real)t->c[3 * i + k] * t->dv[k];
    }
  }
  e[0][4] = 2 * (real)t->w_z;
  e[1][3] = -2 * (real)t->w_z;
  e[0][7] = t->u_e[2];
  e[0][8] = -t->u_e[1];
  e[1][6] = -t->u_e[2];
  e[1][8] = t->u_e[0];
  e[2][6] = t->u_e[1];
  e[2][7] = -t->u_e[0];
  for (int i = 0; i < N; i++) phi[i][i] = 1;
  for (int i = 0; i < 3; i++) {
    phi[i][3 + i] += t->dt;
    for (int k = 0; k < N; k++) {
      phi[i][k] += 0.5L * t->dt * e[i][k];
      phi[3 + i][k] += e[i][k];
    }
    for (int k = 0; k < 3; k++) {
      phi[6 + i][12 + k] = -(real)t->c[3 * i + k] * t->dt;
      phi[6 + i][18 + k] = -(real)t->c[3 * i + k] * t->dth[k];
    }
  }
  phi[6][7] = t->w_z;
  phi[7][6] = -(real)t->w_z;
  for (int k = 0; k < 3; k++) { /* - u_e x (change of psi by the IMU errors) / 2 */
    static const int at[2] = {12, 18};
    for (int n = 0; n < 2; n++) {
      int c = at[n] + k;
      real de[3] = {0.5L * (t->u_e[2] * phi[7][c] - t->u_e[1] * phi[8][c]), 0.5L * (t->u_e[0] * phi[8][c] - t->u_e[2] * phi[6][c]),
                    0.5L * (t->u_e[1] * phi[6][c] - t->u_e[0] * phi[7][c])};
      for (int i = 0; i < 3; i++) {
        phi[3 + i][c] += de[i];
        phi[i][c] += 0.5L * t->dt * de[i];
      }
    }
  }
}

static void ref_predict(const fsw_nav_transition_t *t)
{
  static real phi[N][N];
  static real a[N][N];
  dense_phi(t, phi);
  for (int i = 0; i < N; i++)
    for (int k = 0; k < N; k++) {
      a[i][k] = 0;
      for (int j = 0; j < N; j++) a[i][k] += phi[i][j] * ref_p[j][k];
    }
  for (int i = 0; i < N; i++)
    for (int k = 0; k < N; k++) {
      ref_p[i][k] = 0;
      for (int j = 0; j < N; j++) ref_p[i][k] += a[i][j] * phi[k][j];
    }
  for (int i = 0; i < 3; i++) {
    ref_p[3 + i][3 + i] += t->q_v;
    ref_p[6 + i][6 + i] += t->q_psi;
  }
}

static void random_transition(int64_t n, fsw_nav_transition_t *t)
{
  double phi[3] = {gauss(n, 1), gauss(n, 2), gauss(n, 3)};
  double q[4];
  t->dt = 0.02;
  t->w_z = FSW_DEG * 0.004178 * t->dt;
  for (int i = 0; i < 6; i++) t->g_dt[i] = 1e-6 * gauss(n, 10 + (uint32_t)i) * t->dt;
  fsw_q_from_rotvec(phi, q);
  fsw_q_to_dcm(q, t->c);
  for (int i = 0; i < 3; i++) {
    t->dv[i] = 20.0 * t->dt * gauss(n, 20 + (uint32_t)i);
    t->dth[i] = 0.3 * t->dt * gauss(n, 30 + (uint32_t)i);
  }
  fsw_m3_mulv(t->c, t->dv, t->u_e);
  t->q_v = 2.5e-7 * t->dt;
  t->q_psi = 2e-10 * t->dt;
}

static const double start_sigma[N] = {1, 1, 1, .1, .1, .1, 1e-3, 1e-3, 1e-3, .01, .01, .01, 2e-5, 2e-5, 2e-5,
                                      3e-4, 3e-4, 3e-4, 2e-4, 2e-4, 2e-4, 1, 1, 1, .05, 0};

static void test_ud_against_dense(void)
{
  static double u[FSW_NAV_NU];
  static double d[N];
  double x[N] = {0};
  double worst = 0.0;
  for (uint32_t i = 0; i < N; i++) d[i] = start_sigma[i] * start_sigma[i];
  expand(u, d, ref_p);
  for (int64_t n = 0; n < 400; n++) {
    fsw_nav_transition_t t;
    random_transition(n, &t);
    fsw_ud_predict(u, d, &t);
    ref_predict(&t);
    if (n % 5 == 4) {
      double h[N];
      for (uint32_t i = 0; i < N; i++) h[i] = (i + (uint32_t)n) % 3U ? 0.0 : gauss(n, 40 + i);
      (void)fsw_ud_scalar(u, d, x, N, h, 0.1, 0.5);
      ref_scalar(h, 0.5);
    }
    if (n % 10 == 9) {
      for (uint32_t j = 9; j < 15; j++) {
        double a[N] = {0};
        a[j] = 1.0;
        fsw_ud_rank1(u, d, 1e-14, a, j);
        ref_p[j][j] += 1e-14L;
      }
      real m = 1.0L - 0.001L;
      fsw_ud_decay(u, d, N, 22, (double)m);
      for (int k = 0; k < N; k++) {
        ref_p[22][k] *= (double)m;
        ref_p[k][22] *= (double)m;
      }
    }
    double e = distance(u, d);
    if (e > worst) worst = e;
  }
  CHECK(worst < 1e-9, "%g", worst);
  double lo = 0.0;
  double hi = 0.0;
  for (uint32_t k = 0; k < N; k++) {
    double c = fsw_ud_cov(u, d, N, 2, k);
    hi = fmax(hi, fabs(c - (double)ref_p[2][k]) / sqrt((double)(ref_p[2][2] * fmaxl(ref_p[k][k], 1e-30L))));
  }
  CHECK(lo <= hi && hi < 1e-9, "%g", hi);
  printf("ud against dense reference: %.2g of a standard deviation after 400 steps\n", worst);
}

/* P += c v v^T with a full vector, and correction x = K nu against the dense gain. */
static void test_rank1_and_gain(void)
{
  static double u[FSW_NAV_NU];
  static double d[N];
  double a[N];
  double v[N];
  double x[N] = {0};
  double h[N];
  for (uint32_t i = 0; i < N; i++) d[i] = 0.5 + (double)i;
  for (uint32_t i = 0; i < FSW_NAV_NU; i++) u[i] = 0.1 * gauss((int64_t)i, 90);
  expand(u, d, ref_p);
  for (uint32_t i = 0; i < N; i++) a[i] = v[i] = gauss((int64_t)i, 91);
  fsw_ud_rank1(u, d, 0.7, a, N - 1U);
  for (uint32_t i = 0; i < N; i++)
    for (uint32_t k = 0; k < N; k++) ref_p[i][k] += 0.7L * v[i] * v[k];
  CHECK(distance(u, d) < 1e-12, "%g", distance(u, d));
  for (uint32_t i = 0; i < N; i++) h[i] = gauss((int64_t)i, 92);
  real s = 2.0L;
  real ph[N];
  for (uint32_t i = 0; i < N; i++) {
    ph[i] = 0;
    for (uint32_t k = 0; k < N; k++) ph[i] += ref_p[i][k] * h[k];
    s += h[i] * ph[i];
  }
  double f[N];
  fsw_ud_project(u, d, N, h, f);
  CHECK(fabs(fsw_ud_inner(d, N, f, f) + 2.0 - (double)s) < 1e-9 * (double)s, "innovation variance");
  double nis = fsw_ud_scalar(u, d, x, N, h, 3.0, 2.0);
  CHECK(fabs(nis - 9.0 / (double)s) < 1e-12, "%g", nis);
  for (uint32_t i = 0; i < N; i++) CHECK(fabs(x[i] - (double)(3 * ph[i] / s)) < 1e-12, "gain %u", i);
}

/* D stays >= 0 and finite over many random pairs and nearly collinear, nearly perfect measurements. */
static void test_definite(int64_t pairs)
{
  static double u[FSW_NAV_NU];
  static double d[N];
  double x[N] = {0};
  int bad = 0;
  for (uint32_t i = 0; i < N; i++) d[i] = start_sigma[i] * start_sigma[i] * 1e8;
  for (int64_t n = 0; n < pairs; n++) {
    fsw_nav_transition_t t;
    double h[N];
    random_transition(n, &t);
    fsw_ud_predict(u, d, &t);
    for (uint32_t i = 0; i < N; i++) h[i] = n % 2 ? gauss(n, 60 + i) : 1.0 + 1e-9 * gauss(n, 60 + i);
    (void)fsw_ud_scalar(u, d, x, N, h, 0.0, n % 4 ? 1e-12 : 1.0);
    for (uint32_t i = 0; i < N; i++) bad += !(d[i] >= 0.0 && d[i] < 1e30);
    for (uint32_t i = 0; i < FSW_NAV_NU; i++) bad += !isfinite(u[i]);
  }
  CHECK(bad == 0, "%d", bad);
}

/* ---- filter around a state --------------------------------------------------------------------------------------------------- */

/* Central differences of the nominal strapdown over one step against the transition used by the covariance. */
static void test_transition_jacobian(void)
{
  static const double eps[5] = {10.0, 1.0, 0.01, 0.5, 0.02};
  static real phi[N][N];
  fsw_nav_params_t p;
  static fsw_nav_state_t s;
  double dth[3] = {0.002, -0.001, 0.0015};
  double dv[3] = {0.25, -0.02, 0.03};
  double worst = 0.0;
  defaults(&p);
  fsw_nav_init(&s, &p);
  fsw_nav_filter_t base = s.f;
  CHECK(fsw_nav_strapdown(&base, dth, dv, 0.01) == 0, "refused");
  fsw_nav_transition_t t;
  fsw_nav_transition(&base, 0.0, 0.0, &t);
  dense_phi(&t, phi);
  for (uint32_t j = 0; j < 21; j++) {
    double e = j < 9 ? eps[j / 3U] : (j < 15 ? eps[3] : eps[4]);
    fsw_nav_filter_t a = s.f;
    fsw_nav_filter_t b = s.f;
    double x[9];
    perturb(&a, j, -e);
    perturb(&b, j, e);
    fsw_nav_strapdown(&a, dth, dv, 0.01);
    fsw_nav_strapdown(&b, dth, dv, 0.01);
    difference(&a, &b, x);
    for (int i = 0; i < 9; i++) {
      double scale = i < 3 ? 0.01 : 1.0; /* a position moves by dt times what a velocity does */
      double jac = x[i] / (2.0 * e);
      double diff = fabs(jac - (double)phi[i][j]) / scale;
      if (diff > worst) worst = diff;
    }
  }
  CHECK(worst < 3e-5, "%g", worst); /* second order in the rotation over the step (2 mrad) times u_e (0.25) */
  printf("transition against finite differences: %.2g\n", worst);
}

/* A measurement made of a perturbed state must pull the estimate there. Only state j is uncertain; truth differs by e in it. After one fix with tiny noise the estimate must have moved there. */
static void test_measurement_rows(void)
{
  static const uint32_t states[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  static const double size[3] = {0.3, 0.05, 1e-4};
  fsw_nav_params_t p;
  static fsw_nav_state_t s;
  static fsw_nav_state_t truth;
  defaults(&p);
  p.radalt_sigma_m = 1e-4;
  p.radalt_sigma_share = 0.0;
  for (uint32_t n = 0; n < 9; n++) {
    uint32_t j = states[n];
    double x[9];
    double dth[3] = {1e-4, 2e-4, -1e-4};
    double dv[3] = {0.02, 0.001, 0.0};
    fsw_gnss_t z;
    fsw_nav_init(&s, &p);
    fsw_nav_on_imu(&s, &p, 1000000, dth, dv);
    truth = s;
    perturb(&truth.f, j, size[j / 3U]);
    memset(s.f.u, 0, sizeof s.f.u);
    for (uint32_t i = 0; i < N; i++) s.f.d[i] = i == j ? size[j / 3U] * size[j / 3U] * 1e8 : 0.0;
    s.f.sum_dt = 0.0;
    gnss_of(&truth, &z);
    CHECK(fsw_nav_on_gnss(&s, &p, 0, &z, NULL) == 1, "state %u not fused", j);
    difference(&s.f, &truth.f, x);
    CHECK(fabs(x[j]) < 2e-3 * size[j / 3U], "gnss, state %u: %g", j, x[j]);
    if (j < 3 || j >= 6) {
      fsw_radalt_t r = {.t_valid_ns = truth.f.t_ns, .range_m = range_of(&truth), .seq = 1, .valid = 1};
      s = truth;
      perturb(&s.f, j, -size[j / 3U]);
      memset(s.f.u, 0, sizeof s.f.u);
      for (uint32_t i = 0; i < N; i++) s.f.d[i] = i == j ? size[j / 3U] * size[j / 3U] * 1e8 : 0.0;
      s.src[2].used = 1;
      int32_t got = fsw_nav_on_radalt(&s, &p, 0, &r, NULL);
      difference(&s.f, &truth.f, x);
      double pull = fabs(x[j]) / size[j / 3U];
      CHECK(got == 1 && (pull < 5e-3 || fabs(range_of(&s) - r.range_m) < 1e-3), "radalt, state %u: %g", j, x[j]);
    }
  }
}

/* A fix that is 100 ms old: the error began as one state j 300 ms ago (and nothing else is uncertain), so that now it is spread over
 * others; with the right rows, one almost perfect fix must remove it, now and from the states remembered. */
static void delayed_fix(uint32_t j, double size)
{
  fsw_nav_params_t p;
  static fsw_nav_state_t s;
  static fsw_nav_state_t truth;
  fsw_gnss_t z;
  double dth[3] = {1e-4, -5e-5, 2e-5};
  double dv[3] = {0.025, 0.0, 0.001};
  double x[9];
  double before[9];
  static const double unit[3] = {1.0, 0.1, 1e-2};
  defaults(&p);
  p.gnss_floor_r_m = 1e-3;
  p.gnss_floor_v_m_s = 1e-4;
  fsw_nav_init(&s, &p);
  s.arw = s.vrw = 0.0;
  truth = s;
  perturb(&truth.f, j, size);
  for (uint32_t i = 0; i < N; i++) s.f.d[i] = i == j ? 1e4 * size * size : 0.0;
  memset(s.f.u, 0, sizeof s.f.u);
  for (int64_t k = 1; k <= 300; k++) {
    fsw_nav_on_imu(&s, &p, k * 1000000, dth, dv);
    fsw_nav_on_imu(&truth, &p, k * 1000000, dth, dv);
    if (k == 200) gnss_of(&truth, &z);
  }
  difference(&s.f, &truth.f, before);
  for (int i = 0; i < 3; i++) {
    z.sigma_r_m[i] = 1e-3;
    z.sigma_v_m_s[i] = 1e-4;
  }
  CHECK(fsw_nav_on_gnss(&s, &p, 0, &z, NULL) == 1, "late fix refused, state %u", j);
  difference(&s.f, &truth.f, x);
  for (int b = 0; b < 3; b++) /* blocks in units of what they were, or of a small part of the largest */
    CHECK(fsw_v3_norm(x + 3 * b) < 2e-3 * fsw_v3_norm(before + 3 * b) + 1e-4 * size * unit[b] / unit[j / 3U], "state %u block %d: %g of %g", j, b,
          fsw_v3_norm(x + 3 * b), fsw_v3_norm(before + 3 * b));
  for (uint32_t k = 0; k < s.ring_count; k++) {
    double r[3];
    double v[3];
    fsw_v3_sub(s.ring[k].r_e, truth.ring[k].r_e, r);
    fsw_v3_sub(s.ring[k].v_e, truth.ring[k].v_e, v);
    CHECK(fsw_v3_norm(r) < 1e-2 * size * unit[0] / unit[j / 3U] && fsw_v3_norm(v) < 1e-2 * size * unit[1] / unit[j / 3U],
          "remembered state %u, error %u: %g m %g m/s", k, j, fsw_v3_norm(r), fsw_v3_norm(v));
  }
  CHECK(fsw_nav_on_gnss(&s, &p, 0, &z, NULL) == -1, "duplicate taken");
  z.seq = 2;
  z.t_valid_ns = -100000000;
  CHECK(fsw_nav_on_gnss(&s, &p, 0, &z, NULL) == -1, "fix from before the start taken");
}

static void test_delay(void)
{
  static const double size[3] = {0.5, 0.05, 1e-3};
  for (uint32_t j = 0; j < 9; j++) delayed_fix(j, size[j / 3U]);
}

/* Start attitude in the words of nav.h. */
static void test_start(void)
{
  fsw_nav_params_t p;
  static fsw_nav_state_t s;
  fsw_nav_t out;
  double v[3];
  double x_b[3] = {1, 0, 0};
  double y_b[3] = {0, 1, 0};
  double up[3] = {0, 0, 0};
  double q[4];
  fsw_nav_start_attitude(0.0, 0.0, up, q);
  fsw_q_rotate(q, x_b, v);
  CHECK(fabs(v[2] - 1.0) < 1e-15, "x is up");
  fsw_q_rotate(q, y_b, v);
  CHECK(fabs(v[0] - 1.0) < 1e-15, "y is east");
  defaults(&p);
  fsw_nav_init(&s, &p);
  fsw_nav_solution(&s, &out);
  for (int i = 0; i < 3; i++) {
    CHECK(fabs(out.r_bl_l[i] - p.init_r_l_m[i]) < 1e-8, "r %d: %g", i, out.r_bl_l[i]);
    CHECK(fabs(out.v_bl_l[i] - p.init_v_l_m_s[i]) < 1e-9, "v %d", i);
  }
  fsw_q_rotate(out.q_bl, x_b, v);
  CHECK(fabs(v[2] - cos(7.6 * FSW_DEG)) < 1e-12 && fabs(v[0] + sin(7.6 * FSW_DEG)) < 1e-12, "leans against the velocity");
}

/* At rest on the pad: increments of gravity and Earth rate keep it there for a minute. */
static void test_rest(void)
{
  fsw_nav_params_t p;
  static fsw_nav_state_t s;
  fsw_nav_t out;
  double w_e[3] = {0, 0, 7.292115e-5};
  double dth[3];
  double dv[3];
  double g[3];
  defaults(&p);
  p.init_tilt_deg = 0.0;
  for (int i = 0; i < 3; i++) p.init_r_l_m[i] = p.init_v_l_m_s[i] = 0.0;
  fsw_nav_init(&s, &p);
  fsw_m3_tmulv(s.f.c_be, w_e, dth);
  fsw_nav_gravity(s.f.r_e, g);
  fsw_m3_tmulv(s.f.c_be, g, dv);
  for (int i = 0; i < 3; i++) {
    dth[i] *= 1e-3;
    dv[i] *= -1e-3;
  }
  for (int64_t k = 1; k <= 60000; k++) CHECK(fsw_nav_on_imu(&s, &p, k * 1000000, dth, dv) == 0, "refused %d", (int)k);
  fsw_nav_solution(&s, &out);
  CHECK(fsw_v3_norm(out.r_bl_l) < 1e-4 && fsw_v3_norm(out.v_bl_l) < 1e-5, "%g m %g m/s", fsw_v3_norm(out.r_bl_l), fsw_v3_norm(out.v_bl_l));
  CHECK(fsw_v3_norm(out.omega_bl_b) < 1e-9, "rate relative to the Earth");
  for (uint32_t i = 0; i < N; i++) CHECK(s.f.d[i] >= 0.0, "D");
}

/* Malformed input leaves the state untouched. */
static void test_malformed(void)
{
  fsw_nav_params_t p;
  static fsw_nav_state_t s;
  static fsw_nav_filter_t before;
  fsw_gnss_t z;
  double dth[3] = {0, 0, 0};
  double dv[3] = {0.0098, 0, 0};
  double bad[] = {NAN, INFINITY, -INFINITY, 1e300};
  defaults(&p);
  fsw_nav_init(&s, &p);
  for (int64_t k = 1; k <= 100; k++) fsw_nav_on_imu(&s, &p, k * 1000000, dth, dv);
  before = s.f;
  for (int k = 0; k < 4; k++) {
    double w[3] = {0, bad[k], 0};
    CHECK(fsw_nav_on_imu(&s, &p, 101000000, w, dv) == -1, "bad rate %d", k);
    CHECK(fsw_nav_on_imu(&s, &p, 101000000, dth, w) == -1, "bad force %d", k);
    gnss_of(&s, &z);
    z.r_e[1] = bad[k];
    z.seq = 10U + (uint32_t)k;
    CHECK(fsw_nav_on_gnss(&s, &p, 0, &z, NULL) == -1, "bad fix %d", k);
    fsw_radalt_t r = {.t_valid_ns = s.f.t_ns, .range_m = bad[k], .seq = 1, .valid = 1};
    CHECK(fsw_nav_on_radalt(&s, &p, 0, &r, NULL) == -1, "bad range %d", k);
  }
  CHECK(fsw_nav_on_imu(&s, &p, -5, dth, dv) == -1 && fsw_nav_on_imu(&s, &p, 100000000, dth, dv) == -1, "time backwards");
  CHECK(fsw_nav_on_imu(&s, &p, INT64_MIN, dth, dv) == -1, "absurd time");
  CHECK(memcmp(&before, &s.f, sizeof before) == 0, "state touched");
}

/* Above baro_speed_max_m_s pressure is refused, unless the filter does not know its speed well enough to say so. */
static void test_pressure_of_a_lost_filter(void)
{
  fsw_nav_params_t p;
  static fsw_nav_state_t s;
  defaults(&p);
  p.baro_sigma_m = 500.0;
  p.baro_speed_max_m_s = 100.0;
  for (int lost = 0; lost < 2; lost++) {
    fsw_baro_t z = {.p_pa = 84000.0, .seq = 1, .valid = 1};
    for (int i = 0; i < 3; i++) p.init_sigma_v_m_s[i] = lost ? 40.0 : 0.03;
    fsw_nav_init(&s, &p); /* 151 m/s */
    CHECK(fsw_nav_on_baro(&s, &p, &z, NULL) == (lost ? 1 : -1), "lost %d", lost);
  }
}

int main(int argc, char **argv)
{
  int64_t pairs = argc > 1 && argv[1][0] == 'l' ? 10000000 : 20000; /* "long": the ten million pairs of the acceptance */
  test_ud_against_dense();
  test_rank1_and_gain();
  test_definite(pairs);
  test_transition_jacobian();
  test_measurement_rows();
  test_delay();
  test_start();
  test_rest();
  test_malformed();
  test_pressure_of_a_lost_filter();
  printf("test_nav: %d failures\n", failures);
  return failures ? 1 : 0;
}
