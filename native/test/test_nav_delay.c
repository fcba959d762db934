/* test_nav_delay.c - measurements that arrive late, out of order and twice: what that costs against fixes of now, how far the filter's way
 * (rows referred to the present) is from an exact rewind, and how far two orders of arrival are from each other. Exit 0 when all hold.
 *
 * Truth: 40 s of powered flight at 15 m/s2 and up to 0.15 rad/s, integrated by the strapdown equations from increments without errors.
 * Errors: those of the filter's own parameters. One seed per flight; every comparison is between flights with the same errors. */
#include "nav_rig.h"

#define STEP_NS 5000000LL
#define STEPS 8000
#define FLIGHTS 16
#define FIXES 400
#define RANGES 4

typedef struct {
  int64_t due_ns; /* arrives */
  fsw_gnss_t z;
} parcel_t;

typedef struct {
  double dth[STEPS][3];
  double dv[STEPS][3];
  fsw_nav_past_t truth[STEPS + 1];
  fsw_gnss_t fix[FIXES];
  uint32_t fixes;
} flight_t;

typedef struct {
  double sum[3]; /* m2, m2/s2, rad2 */
  uint32_t n;
  uint32_t refused;
} score_t;

static flight_t flight;
static fsw_nav_params_t params;
static double start_error[9];

static void motion(int64_t k, double dth[3], double dv[3])
{
  double t = 0.005 * (double)k;
  dth[0] = 0.005 * 0.02 * sin(0.5 * t);
  dth[1] = 0.005 * 0.15 * sin(0.9 * t);
  dth[2] = 0.005 * 0.10 * cos(0.7 * t);
  fsw_v3_set(0.005 * (15.0 + 5.0 * sin(0.2 * t)), 0.005 * 0.3 * cos(1.3 * t), 0.005 * 0.2, dv);
}

static double noise(int64_t run, int64_t k, uint32_t channel) { return gauss(run * 100000 + k, channel); }

/* Truth, increments with errors, and 5 fixes a second with 10 ms between the fix and the IMU sample before it. */
static void make_flight(int64_t run)
{
  static fsw_nav_state_t s;
  double bias[12];
  const double sigma_a = params.vrw_m_s_rt_h / 60.0 * sqrt(0.005);
  const double sigma_g = params.arw_deg_rt_h * FSW_DEG / 60.0 * sqrt(0.005);
  fsw_nav_init(&s, &params);
  for (uint32_t i = 0; i < 12; i++) bias[i] = noise(run, 99000, 100 + i);
  for (uint32_t i = 0; i < 9; i++) start_error[i] = noise(run, 99001, 120 + i);
  flight.fixes = 0;
  flight.truth[0] = (fsw_nav_past_t){0};
  for (int64_t k = 0; k < STEPS; k++) {
    double dth[3];
    double dv[3];
    motion(k, dth, dv);
    CHECK(fsw_nav_strapdown(&s.f, dth, dv, 0.005) == 0, "truth refused");
    s.f.t_ns = (k + 1) * STEP_NS;
    fsw_nav_past_t *x = &flight.truth[k + 1];
    x->t_ns = s.f.t_ns;
    fsw_v3_copy(s.f.r_e, x->r_e);
    fsw_v3_copy(s.f.v_e, x->v_e);
    for (int i = 0; i < 4; i++) x->q_be[i] = s.f.q_be[i];
    for (uint32_t i = 0; i < 3; i++) {
      flight.dth[k][i] = dth[i] * (1.0 + bias[6 + i] * 2e-4) + bias[i] * 2.5e-5 * 0.005 + sigma_g * noise(run, k, 10 + i);
      flight.dv[k][i] = dv[i] * (1.0 + bias[9 + i] * 3e-4) + bias[3 + i] * 0.0098 * 0.005 + sigma_a * noise(run, k, 20 + i);
    }
    if (k % 40 != 20) continue;
    fsw_gnss_t *z = &flight.fix[flight.fixes];
    double ned[9];
    gnss_of(&s, z);
    fsw_nav_ned(s.f.r_e, ned);
    for (uint32_t i = 0; i < 3; i++) {
      z->sigma_r_m[i] = 1.5;
      fsw_v3_axpy(1.5 * noise(run, k, 30 + i), ned + 3U * i, z->r_e);
      fsw_v3_axpy(0.05 * noise(run, k, 40 + i), ned + 3U * i, z->v_e);
    }
    z->seq = ++flight.fixes;
  }
}

static void begin(fsw_nav_state_t *s)
{
  fsw_nav_init(s, &params);
  double phi[3];
  double q[4];
  for (int i = 0; i < 3; i++) {
    s->f.r_e[i] += 0.5 * start_error[i];
    s->f.v_e[i] += 0.03 * start_error[3 + i];
    phi[i] = 0.05 * FSW_DEG * start_error[6 + i];
  }
  fsw_q_from_rotvec(phi, q);
  fsw_q_mul(q, s->f.q_be, s->f.q_be);
  fsw_q_to_dcm(s->f.q_be, s->f.c_be);
  for (int i = 0; i < 4; i++) s->f.q_sum[i] = s->f.q_be[i];
}

static void against_truth(const fsw_nav_state_t *s, const fsw_nav_past_t *x, score_t *out)
{
  static fsw_nav_filter_t truth;
  double e[9];
  fsw_v3_copy(x->r_e, truth.r_e);
  fsw_v3_copy(x->v_e, truth.v_e);
  for (int i = 0; i < 4; i++) truth.q_be[i] = x->q_be[i];
  difference(&s->f, &truth, e);
  for (int b = 0; b < 3; b++) out->sum[b] += fsw_v3_dot(e + 3 * b, e + 3 * b);
  out->n++;
}

/* One flight; parcels in the order in which they arrive. */
static void fly(fsw_nav_state_t *s, const parcel_t *parcel, uint32_t n, int64_t until, score_t *out)
{
  uint32_t next = 0;
  begin(s);
  for (int64_t k = 0; k < until; k++) {
    CHECK(fsw_nav_on_imu(s, &params, (k + 1) * STEP_NS, flight.dth[k], flight.dv[k]) == 0, "refused");
    for (; next < n && parcel[next].due_ns <= s->f.t_ns; next++)
      if (fsw_nav_on_gnss(s, &params, 0, &parcel[next].z, NULL) == -1 && out) out->refused++;
    if (out && k >= 1000 && k % 20 == 19) against_truth(s, &flight.truth[k + 1], out);
  }
}

static void sort(parcel_t *p, uint32_t n)
{
  for (uint32_t i = 1; i < n; i++) {
    parcel_t x = p[i];
    uint32_t j = i;
    for (; j > 0 && p[j - 1].due_ns > x.due_ns; j--) p[j] = p[j - 1];
    p[j] = x;
  }
}

/* All fixes with 150 ms +- 30 ms of delay, swapped where `wild`: every second one 290 ms late, the others 60 ms. Every fourth comes twice. */
static uint32_t post(int64_t run, parcel_t *p, int how)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < flight.fixes; i++) {
    double lag = how == 0 ? 0.0 : (how == 1 ? 0.15 + 0.03 * fsw_clamp(noise(run, i, 60), -3.0, 3.0) : (i % 2U ? 0.06 : 0.29));
    p[n] = (parcel_t){flight.fix[i].t_valid_ns + (int64_t)(lag * 1e9), flight.fix[i]};
    n++;
    if (how == 0 || i % 4U) continue;
    p[n] = p[n - 1];
    p[n].due_ns += 40000000;
    n++;
  }
  sort(p, n);
  return n;
}

static void test_cost(void)
{
  static parcel_t p[2 * FIXES];
  static fsw_nav_state_t s;
  score_t score[3] = {{{0.0}, 0, 0}};
  uint32_t repeats = 0;
  for (int64_t run = 0; run < FLIGHTS; run++) {
    make_flight(run);
    for (int how = 0; how < 3; how++) {
      uint32_t n = post(run, p, how);
      if (how == 1) repeats += n - flight.fixes;
      fly(&s, p, n, STEPS, &score[how]);
    }
  }
  CHECK(score[0].refused == 0 && score[1].refused == repeats && score[2].refused == repeats, "refused %u %u of %u", score[1].refused,
        score[2].refused, repeats);
  for (int how = 1; how < 3; how++) {
    double ratio[3];
    for (int b = 0; b < 3; b++) ratio[b] = sqrt(score[how].sum[b] / score[0].sum[b]);
    printf("%s: RMS of position, velocity, attitude against fixes of now: %.4f %.4f %.4f\n",
           how == 1 ? "150 +- 30 ms, a quarter twice" : "60 and 290 ms in turn, a quarter twice", ratio[0], ratio[1], ratio[2]);
    for (int b = 0; b < 3; b++) CHECK(ratio[b] < 1.03 && ratio[b] > 0.9, "block %d: %g", b, ratio[b]);
  }
}

/* Largest difference of two estimates in standard deviations of the first. */
static double apart(const fsw_nav_state_t *a, const fsw_nav_state_t *b)
{
  double x[9];
  double p[81];
  double worst = 0.0;
  difference(&a->f, &b->f, x);
  fsw_nav_covariance(a, p);
  for (int i = 0; i < 9; i++) worst = fmax(worst, fabs(x[i]) / sqrt(p[10 * i]));
  return worst;
}

/* The same fixes, that had arrived by the end, in three ways: as they came; each at its own time, then on without any (an exact rewind);
 * and the last five in reverse. */
static void test_order(void)
{
  static parcel_t p[2 * FIXES];
  static fsw_nav_state_t late;
  static fsw_nav_state_t exact;
  static fsw_nav_state_t other;
  double rewind = 0.0;
  double order = 0.0;
  for (int64_t run = 0; run < FLIGHTS; run++) {
    int64_t until = STEPS - 400 * (run % 8);
    make_flight(run);
    uint32_t n = post(run, p, 2);
    fly(&late, p, n, until, NULL);
    uint32_t m = 0;
    for (uint32_t i = 0; i < n; i++)
      if (p[i].due_ns <= until * STEP_NS) p[m++] = p[i];
    for (uint32_t i = 0; i + 1U < m; i++) /* 60 and 290 ms the other way round */
      p[i].due_ns = p[i].z.t_valid_ns + (p[i].z.seq % 2U ? 60000000 : 290000000);
    sort(p, m);
    for (uint32_t i = 0; i < m; i++)
      if (p[i].due_ns > until * STEP_NS) p[i].due_ns = until * STEP_NS;
    fly(&other, p, m, until, NULL);
    for (uint32_t i = 0; i < m; i++) p[i].due_ns = p[i].z.t_valid_ns;
    sort(p, m);
    fly(&exact, p, m, until, NULL);
    fsw_nav_update_covariance(&late, &params);
    fsw_nav_update_covariance(&exact, &params);
    fsw_nav_update_covariance(&other, &params);
    rewind = fmax(rewind, apart(&exact, &late));
    order = fmax(order, apart(&other, &late));
  }
  printf("against an exact rewind: %.4f sigma; two orders of arrival: %.4f sigma (largest of %d flights)\n", rewind, order, FLIGHTS);
  CHECK(rewind < 0.05, "%g", rewind);
  CHECK(order < 0.1, "%g", order);
}

/* Older than the window, repeated, of the future, not finite, and counters from far behind: refused, nothing touched. */
static void test_refused(void)
{
  static parcel_t p[2 * FIXES];
  static fsw_nav_state_t s;
  static fsw_nav_filter_t before;
  make_flight(1);
  uint32_t n = post(1, p, 0);
  fly(&s, p, n, STEPS, NULL);
  fsw_nav_update_covariance(&s, &params);
  before = s.f;
  fsw_gnss_t z = flight.fix[flight.fixes - 1];
  CHECK(fsw_nav_on_gnss(&s, &params, 0, &z, NULL) == -1, "repeated");
  z.seq++;
  z.t_valid_ns = s.f.t_ns - 301000000;
  CHECK(fsw_nav_on_gnss(&s, &params, 0, &z, NULL) == -1, "301 ms old");
  z.seq++;
  z.t_valid_ns = s.f.t_ns + 50000000;
  CHECK(fsw_nav_on_gnss(&s, &params, 0, &z, NULL) == -1, "50 ms ahead");
  CHECK(memcmp(&before, &s.f, sizeof before) == 0, "state touched");
  static const double age[RANGES] = {0.0, 0.1, 0.2, 0.299};
  for (int i = 0; i < RANGES; i++) {
    int64_t back = (int64_t)(age[i] * 1e9);
    fsw_nav_past_t x = flight.truth[STEPS - back / STEP_NS];
    fsw_v3_copy(x.r_e, z.r_e);
    z.seq++;
    z.t_valid_ns = s.f.t_ns - back;
    z.sigma_v_m_s[0] = z.sigma_v_m_s[1] = z.sigma_v_m_s[2] = 0.0;
    z.sigma_r_m[0] = z.sigma_r_m[1] = z.sigma_r_m[2] = 50.0; /* the antenna is 40 m away: only whether it is taken counts here */
    CHECK(fsw_nav_on_gnss(&s, &params, 0, &z, NULL) == 1, "%g s old refused", age[i]);
  }
}

int main(void)
{
  defaults(&params);
  params.imu_period_ms = 5.0;
  params.cov_period_ticks = 4;
  params.init_v_l_m_s[0] = 300.0;
  params.init_v_l_m_s[2] = 500.0;
  params.init_r_l_m[2] = 30000.0;
  params.init_tilt_deg = 60.0;
  test_cost();
  test_order();
  test_refused();
  printf("test_nav_delay: %d failures\n", failures);
  return failures ? 1 : 0;
}
