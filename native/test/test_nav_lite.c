/* test_nav_lite.c - the 15-state variant: the same sources, compiled with FSW_NAV_LITE into this program. It builds, it flies, its
 * covariance is the dense one, and it is honest where its model holds and not where scale factors matter. Exit 0 when all hold. */
#define FSW_NAV_LITE
#include "nav_rig.h"

/* Each source brings its own constants and helpers. */
#include "../gnc/nav_strapdown.c"
#undef W_E
#include "../gnc/nav_ud.c"
#include "../gnc/nav_filter.c"
#include "../gnc/nav_source.c"
#include "../gnc/nav_gnss.c"
#include "../gnc/nav_altitude.c"
#include "../gnc/nav_align.c"
#include "../gnc/nav_attitude.c"

#define FLIGHTS 40
#define STEPS 6000 /* 5 ms */

_Static_assert(FSW_NAV_N == 15 && FSW_NAV_NU == 105, "fifteen states");
_Static_assert(sizeof(((fsw_nav_filter_t *)0)->u) == 840, "U of fifteen states");

/* e^T P^-1 e of nine states by Cholesky. */
static double nees(const double p[81], const double e[9])
{
  double l[9][9] = {{0}};
  double y[9];
  double sum = 0.0;
  for (int i = 0; i < 9; i++) {
    for (int k = 0; k <= i; k++) {
      double s = p[9 * i + k];
      for (int j = 0; j < k; j++) s -= l[i][j] * l[k][j];
      l[i][k] = i == k ? sqrt(s) : s / l[k][k];
    }
    y[i] = e[i];
    for (int j = 0; j < i; j++) y[i] -= l[i][j] * y[j];
    y[i] /= l[i][i];
    sum += y[i] * y[i];
  }
  return sum;
}

static void motion(int64_t k, double dth[3], double dv[3])
{
  double t = 0.005 * (double)k;
  fsw_v3_set(0.0, 0.005 * 0.1 * sin(0.4 * t), 0.005 * 0.1 * cos(0.3 * t), dth);
  fsw_v3_set(0.005 * (k % 2000 < 1000 ? 30.0 : 2.0), 0.0, 0.0, dv); /* burns of 3 g */
}

/* One flight of 30 s with fixes of 5 Hz and ranges; errors of scale factors by `ppm`. Mean NEES/9 from 5 s on. */
static double one_flight(int64_t run, const fsw_nav_params_t *p, double ppm)
{
  static fsw_nav_state_t s;
  static fsw_nav_state_t truth;
  double bias[12];
  double sum = 0.0;
  int n = 0;
  fsw_nav_init(&truth, p);
  fsw_nav_init(&s, p);
  for (uint32_t i = 0; i < 12; i++) bias[i] = gauss(run * 100000, 10 + i);
  for (uint32_t j = 0; j < 9; j++) perturb(&s.f, j, (j < 3 ? 0.5 : (j < 6 ? 0.03 : 0.05 * FSW_DEG)) * gauss(run * 100000, 30 + j));
  for (int i = 0; i < 4; i++) s.f.q_sum[i] = s.f.q_be[i];
  const double gyro = p->gyro_bias_deg_h * FSW_DEG / 3600.0;
  const double arw = p->arw_deg_rt_h * FSW_DEG / 60.0 * sqrt(0.005);
  const double vrw = p->vrw_m_s_rt_h / 60.0 * sqrt(0.005);
  for (int64_t k = 1; k <= STEPS; k++) {
    int64_t at = run * 100000 + k;
    double dth[3];
    double dv[3];
    motion(k, dth, dv);
    CHECK(fsw_nav_strapdown(&truth.f, dth, dv, 0.005) == 0, "truth");
    truth.f.t_ns = k * 5000000;
    for (uint32_t i = 0; i < 3; i++) {
      dth[i] = dth[i] * (1.0 + ppm * 2e-6 / 3.0 * bias[6 + i]) + bias[i] * gyro * 0.005 + arw * gauss(at, 50 + i);
      dv[i] = dv[i] * (1.0 + ppm * 1e-6 * bias[9 + i]) + bias[3 + i] * p->accel_bias_m_s2 * 0.005 + vrw * gauss(at, 60 + i);
    }
    CHECK(fsw_nav_on_imu(&s, p, k * 5000000, dth, dv) == 0, "refused");
    if (k % 40 == 0) {
      fsw_gnss_t z;
      double ned[9];
      gnss_of(&truth, &z);
      fsw_nav_ned(truth.f.r_e, ned);
      for (uint32_t i = 0; i < 3; i++) {
        fsw_v3_axpy(gauss(at, 70 + i), ned + 3U * i, z.r_e);
        fsw_v3_axpy(0.05 * gauss(at, 80 + i), ned + 3U * i, z.v_e);
      }
      z.seq = (uint32_t)k;
      (void)fsw_nav_on_gnss(&s, p, 0, &z, NULL);
    }
    if (k < 1000 || k % 20 != 10) continue;
    double e[9];
    double cov[81];
    fsw_nav_update_covariance(&s, p);
    fsw_nav_covariance(&s, cov);
    difference(&s.f, &truth.f, e);
    sum += nees(cov, e) / 9.0;
    n++;
  }
  for (uint32_t i = 0; i < FSW_NAV_N; i++) CHECK(s.f.d[i] >= 0.0 && s.f.d[i] < 1e9, "D");
  CHECK(s.accepted > 400U, "%u scalars", s.accepted);
  CHECK(s.f.s_a[0] == 0.0 && s.f.s_g[0] == 0.0 && s.f.b_n[0] == 0.0 && s.f.b_ra == 0.0 && s.f.b_baro == 0.0, "states that do not exist moved");
  return sum / n;
}

static double campaign(const fsw_nav_params_t *p, double ppm)
{
  double sum = 0.0;
  for (int64_t run = 0; run < FLIGHTS; run++) sum += one_flight(run, p, ppm) / FLIGHTS;
  return sum;
}

/* Altimeter, barometer, attitude input and rest work on fifteen states as well. */
static void test_other_inputs(void)
{
  fsw_nav_params_t p;
  static fsw_nav_state_t s;
  double dth[3] = {0, 0, 0};
  double dv[3] = {0.098, 0, 0};
  defaults(&p);
  p.imu_period_ms = 10.0;
  p.baro_sigma_m = 1000.0;
  p.nav_pad_until_s = 5.0;
  p.nav_pad_v_m_s = 200.0;
  p.nav_pad_rate_rad_s = 1e-3;
  fsw_nav_init(&s, &p);
  for (int64_t k = 1; k <= 300; k++) fsw_nav_on_imu(&s, &p, k * 10000000, dth, dv);
  CHECK(s.pad_updates == 2U || s.pad_updates == 3U, "%u seconds at rest", s.pad_updates);
  double before = s.f.d[2];
  for (uint32_t k = 1; k <= 8; k++) {
    fsw_radalt_t r = {.t_valid_ns = s.f.t_ns, .range_m = range_of(&s), .seq = k, .valid = 1};
    CHECK(fsw_nav_on_radalt(&s, &p, 0, &r, NULL) == (k < 4U ? 0 : 1), "range %u", k);
  }
  CHECK(s.f.d[2] < before, "range without effect");
  fsw_baro_t b = {.t_valid_ns = s.f.t_ns, .p_pa = 86000.0, .seq = 1, .valid = 1};
  CHECK(fsw_nav_on_baro(&s, &p, &b, NULL) == 1, "pressure");
  fsw_attitude_t a = {.t_valid_ns = s.f.t_ns, .sigma_rad = {1e-3, 1e-3, 1e-3}, .seq = 1, .valid = 1};
  for (int i = 0; i < 4; i++) a.q_be[i] = s.f.q_be[i];
  CHECK(fsw_nav_on_attitude(&s, &p, &a, NULL) == 1, "attitude");
}

int main(void)
{
  fsw_nav_params_t p;
  defaults(&p);
  p.imu_period_ms = 5.0;
  p.cov_period_ticks = 4;
  p.init_v_l_m_s[2] = 100.0;
  p.init_tilt_deg = 20.0;
  double right = campaign(&p, 0.0);
  double wrong = campaign(&p, 1000.0);
  printf("15 states, NEES/9: %.3f without scale factors, %.2f with 1000 ppm (accelerometers) and 670 ppm (gyros)\n", right, wrong);
  CHECK(fabs(right - 1.0) < 0.12, "%g", right);
  CHECK(wrong > 1.3, "%g: a dishonest filter must show", wrong);
  test_other_inputs();
  printf("test_nav_lite: %d failures\n", failures);
  return failures ? 1 : 0;
}
