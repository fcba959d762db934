/* test_nav_batch.c - the filter over arrays, as a program in C uses it: a vehicle at rest, its receiver and barometer (nav_batch.h). */
#include "flightsw/nav_batch.h"
#include "nav_rig.h"

enum { SAMPLES = 2000, ROW_AFTER = 1981 /* between two covariance steps */, FIXES = 40, LATE = 25, WILD = 30, TWICE = 31 };

static fsw_imu_t imu[SAMPLES];
static fsw_gnss_t gnss[FIXES];
static fsw_nav_arrival_t arrivals[SAMPLES + FIXES + 1];
static fsw_nav_row_t rows[1];
static double covariances[81];
static fsw_nav_outcome_t outcomes[FIXES];
static uint8_t imu_used[SAMPLES];
static fsw_nav_state_t state, other, scratch, moved;
static fsw_nav_params_t params;
static fsw_nav_start_t start;

/* Nose up on the pad: specific force against gravity, rates of the Earth. */
static void at_rest(void)
{
  defaults(&params);
  params.imu_x_m = params.init_tilt_deg = 0.0;
  params.imu_period_ms = 10.0;
  params.cov_period_ticks = 3;
  params.gnss_lag_max_s = 0.3;
  fsw_nav_init(&state, &params);
  memset(&start, 0, sizeof start);
  fsw_v3_copy(state.site_e, start.r_e);
  memcpy(start.q_be, state.f.q_be, sizeof start.q_be);
  CHECK(fsw_nav_start(&state, &params, &start) == 0, "start refused");
  double g[3];
  double c[9];
  fsw_nav_gravity(start.r_e, g);
  fsw_q_to_dcm(start.q_be, c);
  for (int k = 0; k < SAMPLES; k++) {
    imu[k].t_valid_ns = (k + 1) * INT64_C(10000000);
    imu[k].valid = 1;
    for (int i = 0; i < 3; i++) {
      imu[k].dtheta_b[i] = 7.292115e-5 * c[6 + i] * 0.01;
      imu[k].dv_b[i] = -(c[i] * g[0] + c[3 + i] * g[1] + c[6 + i] * g[2]) * 0.01;
    }
  }
}

/* One fix each half second at the antenna, then what is wrong with some of them. */
static void fixes(void)
{
  for (uint32_t k = 0; k < FIXES; k++) {
    gnss_of(&state, &gnss[k]);
    gnss[k].t_valid_ns = (k + 1) * INT64_C(500000000);
    gnss[k].seq = k + 1;
    for (uint32_t i = 0; i < 3; i++) {
      gnss[k].r_e[i] += gauss(k, 10 + i);
      gnss[k].v_e[i] += 0.05 * gauss(k, 20 + i);
    }
  }
  gnss[LATE].t_valid_ns -= 400000000;
  gnss[WILD].r_e[0] += 1000.0;
  gnss[TWICE] = gnss[TWICE - 2];
  gnss[TWICE].t_valid_ns += INT64_C(1000000000);
}

static uint64_t in_order(void)
{
  uint64_t n = 0;
  for (uint32_t k = 0; k < SAMPLES; k++) {
    arrivals[n++] = (fsw_nav_arrival_t){FSW_NAV_TAKE_IMU, 0, k, k};
    if (k + 1U == ROW_AFTER) arrivals[n++] = (fsw_nav_arrival_t){FSW_NAV_TAKE_ROW, 0, 0, 0};
    if (k % 50U != 49U) continue;
    arrivals[n++] = (fsw_nav_arrival_t){FSW_NAV_TAKE_GNSS, 0, k / 50U, k / 50U};
  }
  return n;
}

static void test_arrays(void)
{
  fsw_nav_feed_t feed = {imu, gnss, NULL, NULL, arrivals, rows, covariances, outcomes, imu_used, &scratch, &moved};
  uint64_t n = in_order();
  other = state;
  fsw_nav_feed(&state, &params, &feed, 0, n);
  for (uint32_t k = 0; k < FIXES; k++) {
    uint32_t wanted = k == LATE ? FSW_NAV_STALE : (k == WILD ? FSW_NAV_GATED : (k == TWICE ? FSW_NAV_DUPLICATE : FSW_NAV_FUSED));
    const fsw_nav_outcome_t *o = &outcomes[k];
    CHECK(o->outcome == wanted, "fix %u: %u, not %u", k, o->outcome, wanted);
    CHECK((o->sigma[0] > 0.0) == (wanted == FSW_NAV_FUSED || wanted == FSW_NAV_GATED), "fix %u: sigma %g", k, o->sigma[0]);
    CHECK(wanted != FSW_NAV_FUSED || (o->sigma[0] > 1.0 && o->sigma[0] < 1.3), "fix %u: sigma %g", k, o->sigma[0]);
    CHECK(wanted != FSW_NAV_FUSED || (o->dof[0] == 3 && o->nis[0] < 21.0), "fix %u: NIS %g", k, o->nis[0]);
  }
  double e[3];
  fsw_v3_sub(rows[0].r_e, start.r_e, e);
  CHECK(rows[0].t_ns == ROW_AFTER * INT64_C(10000000), "row at %lld ns", (long long)rows[0].t_ns);
  CHECK(fsw_v3_norm(e) < 1.0, "%g m away", fsw_v3_norm(e));
  for (int i = 0; i < 9; i++)
    CHECK(fabs(rows[0].sigma[i] - sqrt(covariances[10 * i])) < 1e-9 * rows[0].sigma[i], "sigma %d: %g", i, rows[0].sigma[i]);
  for (int k = 0; k < SAMPLES; k++) CHECK(imu_used[k] == 1, "sample %d refused", k);
}

/* In pieces, and without anything written: the same state to the bit. */
static void test_nothing_written(void)
{
  fsw_nav_feed_t feed = {imu, gnss, NULL, NULL, arrivals, NULL, NULL, NULL, NULL, NULL, NULL};
  uint64_t n = in_order();
  for (uint64_t k = 0; k < n; k += 7) fsw_nav_feed(&other, &params, &feed, k, k + 7 < n ? k + 7 : n);
  CHECK(memcmp(&other.f, &state.f, sizeof state.f) == 0, "another state");
  CHECK(memcmp(other.src, state.src, sizeof state.src) == 0, "another account of the sources");
}

static void test_bad_starts(void)
{
  const fsw_nav_state_t before = state;
  for (int k = 0; k < 5; k++) {
    fsw_nav_start_t bad = start;
    if (k == 0) bad.t_ns = -1;
    if (k == 1) bad.r_e[1] = NAN;
    if (k == 2) bad.v_e[2] = INFINITY;
    if (k == 3) bad.q_be[0] = bad.q_be[1] = bad.q_be[2] = bad.q_be[3] = 0.0;
    if (k == 4) bad.r_e[0] = bad.r_e[1] = bad.r_e[2] = 0.0;
    CHECK(fsw_nav_start(&state, &params, &bad) == -1, "start %d taken", k);
    CHECK(memcmp(&before, &state, sizeof state) == 0, "start %d left something", k);
  }
}

int main(void)
{
  at_rest();
  fixes();
  test_arrays();
  test_nothing_written();
  test_bad_starts();
  printf("test_nav_batch: %d failures\n", failures);
  return failures ? 1 : 0;
}
