/* test_nav_malformed.c - random malformed and extreme inputs to the navigation filter: NaN, infinities, huge numbers, negative sigmas,
 * times that go back or jump, repeated counters.
 *
 *   test_nav_malformed [inputs, 1000000] [seed, 1]
 *
 * Held after every input: what is refused (-1) leaves the filter and its past states as they were, byte for byte; the state is finite;
 * the covariance is positive (D >= 0, U and D finite); malformed input is never accepted. Between them good samples fly on, and
 * at the end of every episode a good fix is still taken. Exit 0 when all hold. */
#include <stdlib.h>

#include "nav_rig.h"

#define EPISODE 500 /* inputs before the flight starts anew */
#define MS 1000000

static fsw_nav_params_t par;
static fsw_nav_state_t s;
static fsw_nav_filter_t before; /* and past states: as they were when the last input came */
static fsw_nav_past_t ring[FSW_NAV_RING];
static uint64_t rng_state;
static uint32_t seq;
static long refused;
static long taken;

static uint64_t next(void) /* xorshift64*, Vigna 2016 */
{
  rng_state ^= rng_state >> 12;
  rng_state ^= rng_state << 25;
  rng_state ^= rng_state >> 27;
  return rng_state * 2685821657736338717ULL;
}

static double uniform(void) { return (double)(next() >> 11) * 0x1p-53; }
static uint32_t pick(uint32_t n) { return (uint32_t)(next() >> 33) % n; }

/* A number outside the range of every sensor. */
static double poison(void)
{
  static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 1e300, -1e300, 1e30, -1e15, 1.7976931348623157e308};
  return bad[pick(sizeof bad / sizeof bad[0])];
}

static double not_a_sigma(void)
{
  static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, -1e-300, -1.0, -1e300};
  return bad[pick(sizeof bad / sizeof bad[0])];
}

/* Legal bit patterns, but absurd: any double at all. */
static double any(void)
{
  union {
    uint64_t u;
    double d;
  } x = {next()};
  return x.d;
}

static void start(void)
{
  defaults(&par);
  par.baro_sigma_m = 5.0;
  par.baro_bias_m = 20.0;
  par.gnss_gm_m = 1.0;
  par.init_r_l_m[2] = 400.0 + 1000.0 * uniform();
  par.init_v_l_m_s[2] = -150.0 * uniform();
  fsw_nav_init(&s, &par);
  seq = 1;
}

static int positive(void)
{
  double worst = 0.0;
  for (uint32_t i = 0; i < FSW_NAV_N; i++) {
    if (!(s.f.d[i] >= 0.0) || !isfinite(s.f.d[i]) || s.f.x[i] != 0.0) return 0;
  }
  for (uint32_t i = 0; i < FSW_NAV_NU; i++) worst += s.f.u[i] * 0.0;
  return worst == 0.0; /* a NaN or an infinity times zero is not */
}

static int finite(void)
{
  const fsw_nav_filter_t *f = &s.f;
  double z = 0.0;
  for (int i = 0; i < 3; i++) {
    z += 0.0 * (f->r_e[i] + f->v_e[i] + f->b_a[i] + f->b_g[i] + f->s_a[i] + f->s_g[i] + f->b_n[i]);
    z += 0.0 * (f->g_e[i] + f->omega_b[i] + f->f_b[i] + f->dth_p[i] + f->dv_p[i] + f->sum_dth[i] + f->sum_dv[i]);
  }
  for (int i = 0; i < 9; i++) z += 0.0 * f->c_be[i];
  double q2 = 0.0;
  for (int i = 0; i < 4; i++) q2 += f->q_be[i] * f->q_be[i];
  z += 0.0 * (f->b_ra + f->b_baro + f->sum_dt + f->sum_qv + f->sum_qpsi);
  return z == 0.0 && fabs(q2 - 1.0) < 1e-9;
}

static int good_imu(int64_t dt_ns)
{
  double dth[3];
  double dv[3];
  double dt = (double)dt_ns * 1e-9;
  for (int i = 0; i < 3; i++) {
    dth[i] = 0.05 * dt * (uniform() - 0.5);
    dv[i] = (i == 0 ? 9.8 : 0.0) * dt + 0.01 * dt * (uniform() - 0.5);
  }
  return fsw_nav_on_imu(&s, &par, s.f.t_ns + dt_ns, dth, dv);
}

static int good_fix(uint32_t k)
{
  fsw_gnss_t z;
  gnss_of(&s, &z);
  z.seq = seq++;
  for (int i = 0; i < 3; i++) z.r_e[i] += s.f.b_n[i] + uniform() - 0.5;
  return fsw_nav_on_gnss(&s, &par, k, &z, NULL);
}

static int good_range(void)
{
  fsw_radalt_t z = {.t_valid_ns = s.f.t_ns, .range_m = range_of(&s) + s.f.b_ra, .seq = seq++, .valid = 1};
  return fsw_nav_on_radalt(&s, &par, 0, &z, NULL);
}

/* Times from long ago, the future, the edge of int64, and the past few milliseconds. */
static int64_t odd_time(void)
{
  switch (pick(6)) {
    case 0: return s.f.t_ns - (int64_t)(next() >> 1);
    case 1: return INT64_MAX - (int64_t)pick(1000);
    case 2: return INT64_MIN + (int64_t)pick(1000);
    case 3: return s.f.t_ns - (int64_t)pick(2000 * MS) - 301 * MS;
    case 4: return s.f.t_ns + 21 * MS + (int64_t)pick(2000 * MS);
    default: return -1;
  }
}

static void snapshot(void)
{
  before = s.f;
  memcpy(ring, s.ring, sizeof ring);
}

/* ---- one malformed input each; returns what the filter answered; *must is 1 when it has to refuse ------------------------------------ */

static int32_t bad_imu(int *must)
{
  double z[6];
  int64_t t = s.f.t_ns + MS;
  *must = 1;
  for (int i = 0; i < 6; i++) z[i] = 1e-3 * (uniform() - 0.5);
  switch (pick(6)) {
    case 0: z[pick(6)] = poison(); break;
    case 1: t = s.f.t_ns - (int64_t)pick(1000 * MS); break;                       /* back, or the same again */
    case 2: t = pick(2) ? INT64_MIN + (int64_t)pick(9) : INT64_MAX - (int64_t)pick(9); break;
    case 3:                                                                       /* poison after a gap */
      z[pick(6)] = poison();
      t += (int64_t)pick(3) * 900 * MS + (int64_t)pick(50 * MS);
      break;
    case 4: /* any bits at all */
      for (int i = 0; i < 6; i++) z[i] = any();
      *must = 0;
      break;
    default: /* just possible, and sometimes after a gap */
      for (int i = 0; i < 6; i++) z[i] = (i < 3 ? 0.17 : 20.0) * (2.0 * uniform() - 1.0);
      if (pick(8) == 0) t += (int64_t)pick(400 * MS);
      else if (pick(64) == 0) t += (int64_t)(next() >> 12); /* up to 52 days: the filter says lost and goes on */
      *must = 0;
  }
  return fsw_nav_on_imu(&s, &par, t, z, z + 3);
}

static int32_t bad_gnss(int *must)
{
  uint32_t k = pick(16) ? pick(2) : 2U + pick(1000);
  fsw_gnss_t z;
  gnss_of(&s, &z);
  z.seq = seq++;
  *must = 1;
  switch (pick(7)) {
    case 0: z.r_e[pick(3)] = poison(); break;
    case 1: z.v_e[pick(3)] = poison(); break;
    case 2: z.t_valid_ns = odd_time(); break;
    case 3: /* the same message twice */
      if (fsw_nav_on_gnss(&s, &par, k, &z, NULL) == -1) break;
      snapshot();
      break;
    case 4: z.valid = 0; break;
    case 5: (pick(2) ? z.sigma_r_m : z.sigma_v_m_s)[pick(3)] = not_a_sigma(); break;
    default:
      for (int i = 0; i < 3; i++) {
        z.r_e[i] = any();
        z.v_e[i] = any();
        z.sigma_r_m[i] = any();
        z.sigma_v_m_s[i] = any();
      }
      *must = 0;
  }
  return fsw_nav_on_gnss(&s, &par, k, &z, NULL);
}

static int32_t bad_radalt(int *must)
{
  uint32_t k = pick(16) ? pick(2) : 2U + pick(1000);
  fsw_radalt_t z = {.t_valid_ns = s.f.t_ns, .range_m = range_of(&s), .seq = seq++, .valid = 1};
  *must = 1;
  switch (pick(6)) {
    case 4:
      if (fsw_nav_on_radalt(&s, &par, k, &z, NULL) == -1) break; /* the same message twice */
      snapshot();
      break;
    case 0: z.range_m = poison(); break;
    case 1: z.range_m = -uniform() * 1e3; break;
    case 2: z.t_valid_ns = odd_time(); break;
    case 3: z.valid = 0; break;
    default: z.range_m = any(); *must = 0;
  }
  return fsw_nav_on_radalt(&s, &par, k, &z, NULL);
}

static int32_t bad_baro(int *must)
{
  fsw_baro_t z = {.t_valid_ns = s.f.t_ns, .p_pa = 95000.0, .seq = seq++, .valid = 1};
  *must = 1;
  switch (pick(5)) {
    case 3:
      if (fsw_nav_on_baro(&s, &par, &z, NULL) == -1) break; /* the same message twice */
      snapshot();
      break;
    case 0: z.p_pa = poison(); break;
    case 1: z.t_valid_ns = odd_time(); break;
    case 2: z.valid = 0; break;
    default: z.p_pa = any(); *must = 0;
  }
  return fsw_nav_on_baro(&s, &par, &z, NULL);
}

static void one(long n)
{
  static int32_t (*const kinds[4])(int *) = {bad_imu, bad_gnss, bad_radalt, bad_baro};
  uint32_t k = pick(4);
  int must = 0;
  fsw_nav_update_covariance(&s, &par); /* a refused measurement may have brought it up to date: not what is tested */
  snapshot();
  int32_t got = kinds[k](&must);
  CHECK(!must || got == -1, "input %ld, kind %u: answered %d", n, k, got);
  if (got == -1) {
    refused++;
    CHECK(memcmp(&before, &s.f, sizeof before) == 0, "input %ld, kind %u: refused, filter changed", n, k);
    CHECK(memcmp(ring, s.ring, sizeof ring) == 0, "input %ld, kind %u: refused, past states changed", n, k);
  } else taken++;
  CHECK(finite(), "input %ld, kind %u, answer %d", n, k, got);
  CHECK(positive(), "input %ld, kind %u, answer %d", n, k, got);
}

/* Between the malformed ones: a good sample every 7 inputs, now and then a fix and a range. */
static void fly_on(long n)
{
  if (n % EPISODE > 2 && n % 7 == 0) CHECK(good_imu(MS) == 0, "good sample refused after input %ld", n);
  if (s.imu_count == 0U) return;
  if (n % 49 == 0) (void)good_fix(pick(2));
  if (n % 35 == 0) (void)good_range();
}

/* 1.2 s of good samples and fixes. */
static void recover(long n)
{
  int fixed = 0;
  for (int i = 0; i < 60 && !fixed; i++) {
    for (int k = 0; k < 20; k++) (void)good_imu(MS);
    fixed = good_fix(0) == 1;
  }
  CHECK(fixed, "no good fix is taken after input %ld", n);
}

int main(int argc, char **argv)
{
  long count = argc > 1 ? strtol(argv[1], NULL, 10) : 1000000;
  rng_state = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1U) * 0x9E3779B97F4A7C15ULL + 1U;
  for (long n = 0; n < count && failures < 20; n++) {
    if (n % EPISODE == 0) start();
    fly_on(n);
    one(n);
    if (n % EPISODE == EPISODE - 1) recover(n);
  }
  printf("malformed inputs: %ld refused, %ld taken as extreme but possible, %d failures\n", refused, taken, failures);
  return failures != 0;
}
