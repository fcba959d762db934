/* test_nav_faults.c - IMU voting and navigation under faults: what must be excluded, what must not, and what must question itself. */
#include "nav_rig.h"

/* ---- voting --------------------------------------------------------------------------------------------------------------------- */

typedef struct {
  fsw_imu_vote_state_t s;
  fsw_imu_vote_params_t p;
  fsw_imu_t z[3];
  fsw_topic_head_t head[3];
  fsw_imu_voted_t out;
  fsw_events_t ev;
  int excluded[3];
  int readmitted[3];
  int none;
  double worst_dth; /* rad, output error */
  double worst_dv;  /* m/s */
  int64_t tick;
} vote_t;

enum { OK, OFF, STUCK, NOTHING, GYRO_BIAS, ACCEL_BIAS, SATURATED, INVALID, GARBAGE };

static void vote_start(vote_t *v)
{
  memset(v, 0, sizeof *v);
  v->p = (fsw_imu_vote_params_t){.vote_gyro_deg_s = 0.3, .vote_gyro_share = 0.001, .vote_accel_m_s2 = 0.3, .vote_accel_share = 0.002,
                                 .vote_skew_ms = 0.5, .imu_period_ms = 1.0, .vote_run = 3, .vote_readmit = 500};
  for (int k = 0; k < 3; k++) v->head[k].tick = -1;
  fsw_task_gnc_imu_vote.init(&v->s, &v->p);
}

static void unit_sample(vote_t *v, int k, int fault, const double *dth, const double *dv)
{
  fsw_imu_t *z = &v->z[k];
  if (fault == OFF) return;
  if (fault != STUCK)
    for (int i = 0; i < 3; i++) {
      z->dtheta_b[i] = dth[i] + 4.6e-7 * gauss(v->tick, 100U + 10U * (uint32_t)k + (uint32_t)i);
      z->dv_b[i] = dv[i] + 1.6e-5 * gauss(v->tick, 200U + 10U * (uint32_t)k + (uint32_t)i);
      if (fault == NOTHING) z->dtheta_b[i] = z->dv_b[i] = 0.0;
      if (fault == SATURATED) z->dv_b[i] = 0.3;
      if (fault == GARBAGE) z->dtheta_b[i] = 0.007 * gauss(v->tick, 300U + (uint32_t)i);
    }
  if (fault == GYRO_BIAS) z->dtheta_b[1] += 0.5 * FSW_DEG * 1e-3;
  if (fault == ACCEL_BIAS) z->dv_b[0] += 0.5 * 9.81e-3;
  z->saturated = fault == SATURATED ? 8 : 0;
  z->valid = fault == INVALID ? 0 : 1;
  z->t_valid_ns = (v->tick - 2) * 1000000;
  z->seq++;
  v->head[k].tick = v->tick;
  v->head[k].seq++;
}

static void vote_run(vote_t *v, int ticks, const int fault[3], int units)
{
  const void *in[3];
  const fsw_topic_head_t *head[3];
  void *out[2] = {&v->out, &v->ev};
  for (int k = 0; k < 3; k++) {
    in[k] = k < units ? &v->z[k] : NULL;
    head[k] = k < units ? &v->head[k] : NULL;
  }
  for (int n = 0; n < ticks; n++) {
    v->tick++;
    double w = 0.1 * (double)(v->tick % 1000) * 1e-3;
    double dth[3] = {1e-5, w * 1e-3, -5e-5};
    double dv[3] = {0.02, 1e-3, -1e-3};
    for (int k = 0; k < units; k++) unit_sample(v, k, fault[k], dth, dv);
    fsw_io_t io = {.tick = v->tick, .t_ns = v->tick * 1000000, .dt_ns = 1000000, .publish = 3, .in = in, .in_head = head, .out = out,
                   .state = &v->s, .params = &v->p};
    if (v->tick < 3) continue;
    fsw_task_gnc_imu_vote.step(&io);
    for (uint32_t i = 0; i < v->ev.count; i++) {
      if (v->ev.code[i] == FSW_EVENT_IMU_EXCLUDED) v->excluded[v->ev.subject[i]] = n + 1;
      if (v->ev.code[i] == FSW_EVENT_IMU_READMITTED) v->readmitted[v->ev.subject[i]] = n + 1;
      if (v->ev.code[i] == FSW_EVENT_IMU_NONE) v->none = n + 1;
    }
    for (int i = 0; i < 3; i++) {
      v->worst_dth = fmax(v->worst_dth, fabs(v->out.dtheta_b[i] - dth[i]));
      v->worst_dv = fmax(v->worst_dv, fabs(v->out.dv_b[i] - dv[i]));
    }
  }
}

static void test_vote_single_faults(void)
{
  static const int faults[] = {OFF, STUCK, NOTHING, GYRO_BIAS, ACCEL_BIAS, SATURATED, INVALID, GARBAGE};
  static const int none[3] = {OK, OK, OK};
  static vote_t v;
  vote_start(&v);
  vote_run(&v, 3000, none, 3);
  double clean_g = v.worst_dth;
  double clean_a = v.worst_dv;
  CHECK(v.s.excluded_mask == 0 && v.out.used_mask == 7 && v.out.valid, "clean run");
  for (int n = 0; n < 8; n++)
    for (int unit = 0; unit < 3; unit++) {
      int fault[3] = {OK, OK, OK};
      fault[unit] = faults[n];
      vote_start(&v);
      vote_run(&v, 200, none, 3);
      vote_run(&v, 200, fault, 3);
      CHECK(v.excluded[unit] > 0 && v.excluded[unit] <= 10, "fault %d unit %d excluded after %d", faults[n], unit, v.excluded[unit]);
      CHECK(v.s.excluded_mask == 1U << unit && v.out.used_mask == (7U ^ 1U << unit), "mask %d", v.s.excluded_mask);
      CHECK(v.worst_dth < 3.0 * clean_g && v.worst_dv < 3.0 * clean_a, "fault %d output %g %g", faults[n], v.worst_dth, v.worst_dv);
      vote_run(&v, 700, none, 3);
      CHECK(v.readmitted[unit] >= 500 && v.s.excluded_mask == 0, "fault %d not readmitted (%d)", faults[n], v.readmitted[unit]);
      CHECK(v.worst_dth < 3.0 * clean_g && v.worst_dv < 3.0 * clean_a, "output steps at readmission");
    }
}

static void test_vote_common_mode(void)
{
  static const int faults[] = {STUCK, NOTHING, SATURATED};
  static const int none[3] = {OK, OK, OK};
  static vote_t v;
  for (int n = 0; n < 3; n++) {
    int two[3] = {faults[n], OK, faults[n]};
    int all[3] = {faults[n], faults[n], faults[n]};
    vote_start(&v);
    vote_run(&v, 100, none, 3);
    vote_run(&v, 50, two, 3);
    CHECK(v.s.excluded_mask == 0, "two units, fault %d: somebody isolated", faults[n]);
    vote_run(&v, 50, all, 3);
    CHECK(v.s.excluded_mask == 0 && v.out.valid, "three units, fault %d: somebody isolated", faults[n]);
    vote_run(&v, 50, none, 3);
    CHECK(v.s.excluded_mask == 0 && v.out.used_mask == 7, "after fault %d", faults[n]);
  }
}

static void test_vote_few(void)
{
  static const int none[3] = {OK, OK, OK};
  static const int biased[3] = {OK, GYRO_BIAS, OK};
  static const int off[3] = {OK, OFF, OFF};
  static vote_t v;
  vote_start(&v);
  vote_run(&v, 100, none, 2);
  CHECK(v.out.used_mask == 3, "mean of two");
  vote_run(&v, 100, biased, 2);
  CHECK(v.none > 0 && v.none <= 5 && v.out.used_mask == 1, "two disagree: %d, used %d", v.none, v.out.used_mask);
  CHECK(v.worst_dth < 5e-6, "followed the wrong one: %g", v.worst_dth);
  vote_start(&v);
  vote_run(&v, 100, none, 3);
  vote_run(&v, 100, off, 3);
  CHECK(v.out.used_mask == 1 && v.out.valid && v.s.excluded_mask == 0, "one left");
  vote_start(&v);
  vote_run(&v, 100, none, 1);
  CHECK(v.out.used_mask == 1 && v.out.valid, "one unit");
}

/* ---- navigation task ---------------------------------------------------------------------------------------------------------- */

typedef struct {
  fsw_nav_params_t p;
  fsw_nav_state_t s;
  fsw_nav_state_t truth;
  fsw_imu_voted_t imu;
  fsw_gnss_t gnss[2];
  fsw_radalt_t radalt[2];
  fsw_topic_head_t head[5];
  fsw_nav_t nav;
  fsw_nav_status_t status;
  fsw_events_t ev;
  int events[80];
  int64_t tick;
  int imu_off;
  int gnss_off[2];
  int freeze;
  int radalt_silent;   /* the second one */
  double gnss_up[2];   /* m, false offset upwards */
  double radalt_off[2];/* m */
} flight_t;

static void flight_start(flight_t *f)
{
  memset(f, 0, sizeof *f);
  defaults(&f->p);
  for (int k = 0; k < 5; k++) f->head[k].tick = -1;
}

static void flight_init(flight_t *f, double height_error)
{
  fsw_nav_params_t p = f->p;
  fsw_nav_init(&f->truth, &p);
  f->p.init_r_l_m[2] += height_error;
  fsw_nav_init(&f->s, &f->p);
}

static void sense(flight_t *f)
{
  int64_t n = f->tick;
  if (n % 100 == 50)
    for (uint32_t k = 0; k < 2; k++) {
      fsw_gnss_t *z = &f->gnss[k];
      uint32_t seq = z->seq + 1U;
      if (f->gnss_off[k]) continue;
      if (f->freeze) {
        z->seq = seq;
        z->t_valid_ns = f->truth.f.t_ns;
      } else {
        gnss_of(&f->truth, z);
        z->seq = seq;
        for (int i = 0; i < 3; i++) {
          z->r_e[i] += gauss(n, 400U + 10U * k + (uint32_t)i) + f->gnss_up[k] * f->truth.c_le[6 + i];
          z->v_e[i] += 0.05 * gauss(n, 430U + 10U * k + (uint32_t)i);
        }
      }
      f->head[1U + k].tick = n;
      f->head[1U + k].seq++;
    }
  if (n % 20 == 0)
    for (uint32_t k = 0; k < (f->radalt_silent ? 1U : 2U); k++) {
      double range = range_of(&f->truth);
      f->radalt[k] = (fsw_radalt_t){.t_valid_ns = f->truth.f.t_ns, .seq = f->radalt[k].seq + 1U, .valid = 1};
      f->radalt[k].range_m = range + (0.05 + 0.003 * range) * gauss(n, 460U + k) + f->radalt_off[k];
      f->head[3U + k].tick = n;
      f->head[3U + k].seq++;
    }
}

static void fly(flight_t *f, int ticks)
{
  double dth[3] = {1e-5, 3e-5, -2e-5};
  double dv[3] = {0.0262, 0.0, 0.0};
  const void *in[6] = {&f->imu, &f->gnss[0], &f->gnss[1], &f->radalt[0], &f->radalt[1], NULL};
  const fsw_topic_head_t *head[6] = {&f->head[0], &f->head[1], &f->head[2], &f->head[3], &f->head[4], NULL};
  void *out[3] = {&f->nav, &f->status, &f->ev};
  for (int n = 0; n < ticks; n++) {
    f->tick++;
    fsw_nav_on_imu(&f->truth, &f->p, f->tick * 1000000, dth, dv);
    if (!f->imu_off) {
      f->imu = (fsw_imu_voted_t){.t_valid_ns = f->tick * 1000000, .valid = 1, .seq = f->imu.seq + 1U};
      for (uint32_t i = 0; i < 3; i++) {
        f->imu.dtheta_b[i] = dth[i] + 4.6e-7 * gauss(f->tick, 500U + i);
        f->imu.dv_b[i] = dv[i] + 1.6e-5 * gauss(f->tick, 510U + i);
      }
      f->head[0].tick = f->tick;
      f->head[0].seq++;
    }
    sense(f);
    fsw_io_t io = {.tick = f->tick, .t_ns = f->tick * 1000000, .dt_ns = 1000000, .publish = 7, .in = in, .in_head = head, .out = out,
                   .state = &f->s, .params = &f->p};
    fsw_task_gnc_nav.step(&io);
    for (uint32_t i = 0; i < f->ev.count; i++)
      if (f->ev.code[i] < 80) f->events[f->ev.code[i]]++;
  }
}

static double miss(const flight_t *f)
{
  double d[3];
  fsw_v3_sub(f->s.f.r_e, f->truth.f.r_e, d);
  return fsw_v3_norm(d);
}

static void test_nominal(void)
{
  static flight_t f;
  flight_start(&f);
  flight_init(&f, 0.4);
  fly(&f, 8000);
  CHECK(miss(&f) < 0.8 && f.nav.valid && f.nav.quality == 0, "%g", miss(&f));
  CHECK(f.events[FSW_EVENT_GATE] == 0 && f.events[FSW_EVENT_NAV_RESET] == 0, "%d gates", f.events[FSW_EVENT_GATE]);
  CHECK(f.status.gnss_used == 3 && f.status.radalt_used == 3, "used %d %d", f.status.gnss_used, f.status.radalt_used);
  CHECK(f.events[FSW_EVENT_GNSS_BACK] == 2 && f.events[FSW_EVENT_RADALT_LOCKED] == 2, "announcements");
}

static void test_imu_silent(void)
{
  static flight_t f;
  flight_start(&f);
  flight_init(&f, 0.0);
  fly(&f, 2000);
  f.imu_off = 1;
  fly(&f, 5);
  CHECK(f.nav.quality == 2, "silence not told within 5 ms: %d", f.nav.quality);
  fly(&f, 45);
  CHECK(miss(&f) < 0.5 && f.nav.valid, "held solution is off by %g", miss(&f));
  f.imu_off = 0;
  fly(&f, 500);
  CHECK(f.nav.quality == 0 && miss(&f) < 0.8, "after the silence: %d %g", f.nav.quality, miss(&f));
  f.imu_off = 1;
  fly(&f, 800);
  CHECK(f.nav.quality == 3 && !f.nav.valid, "lost IMU still valid");
}

static void test_gnss_one_wrong(void)
{
  static flight_t f;
  flight_start(&f);
  flight_init(&f, 0.0);
  fly(&f, 2000);
  f.gnss_up[1] = 40.0;
  fly(&f, 3000);
  CHECK(miss(&f) < 0.8 && f.s.resets == 0, "wrong receiver moves the solution: %g", miss(&f));
  CHECK(f.s.src[1].excluded && !f.s.src[0].excluded && f.nav.quality == 0, "exclusion");
  f.gnss_up[1] = 0.0;
  fly(&f, 1000);
  CHECK(f.s.src[1].used && f.status.gnss_used == 3, "not readmitted");
}

static void test_gnss_lost(void)
{
  static flight_t f;
  flight_start(&f);
  flight_init(&f, 0.0);
  fly(&f, 2000);
  f.gnss_off[0] = f.gnss_off[1] = 1;
  fly(&f, 4000);
  CHECK(f.nav.quality == 1 && f.nav.valid && miss(&f) < 1.5, "inertial: quality %d, %g m", f.nav.quality, miss(&f));
  CHECK(f.events[FSW_EVENT_GNSS_LOST] == 2, "told");
  f.gnss_off[0] = f.gnss_off[1] = 0;
  fly(&f, 1000);
  CHECK(f.nav.quality == 0 && f.status.gnss_used == 3, "back");
}

/* Handover 60 m wrong in height: both receivers are rejected in the same way, so the filter is wrong (HAS-03). */
static void test_filter_wrong(void)
{
  static flight_t f;
  flight_start(&f);
  flight_init(&f, 60.0);
  fly(&f, 3000);
  CHECK(f.s.resets >= 1 && f.events[FSW_EVENT_NAV_RESET] >= 1, "never questioned itself");
  CHECK(miss(&f) < 1.5 && f.nav.quality == 0, "after reset %g", miss(&f));
  flight_start(&f);
  flight_init(&f, 60.0);
  f.gnss_off[0] = f.gnss_off[1] = 1; /* the altimeters alone must do it too */
  fly(&f, 5000);
  CHECK(f.s.resets >= 1 && miss(&f) < 4.0, "altimeters alone: %g", miss(&f));
  flight_start(&f);
  f.p.radalt_max_m = 1.0; /* the receivers alone */
  flight_init(&f, 60.0);
  fly(&f, 3000);
  CHECK(f.s.resets >= 1 && miss(&f) < 1.5, "receivers alone: %g", miss(&f));
  flight_start(&f);
  flight_init(&f, 60.0);
  f.gnss_off[0] = f.gnss_off[1] = f.radalt_silent = 1; /* one altimeter, nothing else */
  fly(&f, 5000);
  CHECK(f.s.resets >= 1 && miss(&f) < 4.0, "one altimeter alone: %g", miss(&f));
}

static void test_radalt_wrong(void)
{
  static flight_t f;
  flight_start(&f);
  flight_init(&f, 0.0);
  fly(&f, 2000);
  f.radalt_off[0] = 60.0;
  fly(&f, 2000);
  CHECK(f.s.src[2].excluded && !f.s.src[3].excluded && miss(&f) < 0.8, "one altimeter wrong: %g", miss(&f));
  CHECK(f.events[FSW_EVENT_RADALT_EXCLUDED] == 1, "told %d times", f.events[FSW_EVENT_RADALT_EXCLUDED]);
  f.radalt_off[0] = 0.0;
  fly(&f, 500);
  CHECK(f.s.src[2].used, "not readmitted");
  f.radalt_off[0] = f.radalt_off[1] = 60.0; /* both, while two receivers support the filter */
  fly(&f, 2000);
  CHECK(f.s.resets == 0 && miss(&f) < 0.8, "both altimeters wrong: %g", miss(&f));
}

static void test_frozen(void)
{
  static flight_t f;
  flight_start(&f);
  flight_init(&f, 0.0);
  fly(&f, 2000);
  f.freeze = 1;
  fly(&f, 1000);
  CHECK(f.s.src[0].frozen && f.s.src[1].frozen, "not recognised within 1 s");
  fly(&f, 1500);
  CHECK(f.nav.quality == 1 && miss(&f) < 1.0, "frozen receivers: quality %d, %g m", f.nav.quality, miss(&f));
}

int main(void)
{
  test_vote_single_faults();
  test_vote_common_mode();
  test_vote_few();
  test_nominal();
  test_imu_silent();
  test_gnss_one_wrong();
  test_gnss_lost();
  test_filter_wrong();
  test_radalt_wrong();
  test_frozen();
  printf("test_nav_faults: %d failures\n", failures);
  return failures ? 1 : 0;
}
