/* test_nav_lanes.c - redundant navigation under faults: what goes out and when, what does not, and that the output never steps. */
#include "flightsw/nav_lanes.h"
#include "nav_rig.h"

enum { OK, OFF, STUCK, ZERO, GYRO_BIAS, ACCEL_BIAS, SATURATED, SLOW_GYRO, KINDS };
static const char *const names[KINDS] = {"ok", "off", "stuck", "zero", "+0.5 deg/s", "+0.5 g", "saturated", "+0.05 deg/s"};

typedef struct {
  fsw_nav_params_t p;
  fsw_nav_lanes_state_t s;
  fsw_nav_state_t truth;
  fsw_imu_t imu[3];
  fsw_gnss_t gnss[2];
  fsw_radalt_t radalt[2];
  fsw_topic_head_t head[7];
  fsw_nav_t nav;
  fsw_nav_status_t status;
  fsw_nav_lanes_t lanes;
  fsw_events_t ev;
  int fault[3];
  int units;
  double gnss_east[2]; /* m, false offset */
  int freeze[2];
  int gnss_off[2];
  int events[80];
  int first[80];       /* tick of the first event of a code, 0 none */
  double arg[80];      /* its first argument */
  double err[3];       /* greatest error of the output since reset: m, m/s, rad */
  double step_v;       /* m/s, greatest change of the velocity error in one tick */
  double gnss_step;    /* the same in ticks with a measurement: those may correct */
  double last[3];
  int begun;
  int64_t tick;
} flight_t;

static double err_v[3];

static void flight_start(flight_t *f)
{
  memset(f, 0, sizeof *f);
  defaults(&f->p);
  f->p.imu_x_m = 0.0; /* at the body origin, whose velocity would else carry gyro noise times the lever: no step, but as large as one */
  f->units = 3;
  for (int k = 0; k < 7; k++) f->head[k].tick = -1;
  fsw_nav_init(&f->truth, &f->p);
  fsw_task_gnc_nav_lanes.init(&f->s, &f->p);
}

static void imus(flight_t *f, const double *dth, const double *dv)
{
  for (int k = 0; k < f->units; k++) {
    fsw_imu_t *z = &f->imu[k];
    int fault = f->fault[k];
    if (fault == OFF) continue;
    for (int i = 0; i < 3 && fault != STUCK; i++) {
      z->dtheta_b[i] = dth[i] + 4.6e-7 * gauss(f->tick, 500U + 20U * (uint32_t)k + (uint32_t)i);
      z->dv_b[i] = dv[i] + 1.6e-5 * gauss(f->tick, 510U + 20U * (uint32_t)k + (uint32_t)i) + 1e-6 * (k - 1);
      if (fault == ZERO) z->dtheta_b[i] = z->dv_b[i] = 0.0;
    }
    if (fault == GYRO_BIAS) z->dtheta_b[1] += 0.5 * FSW_DEG * 1e-3;
    if (fault == SLOW_GYRO) z->dtheta_b[1] += 0.05 * FSW_DEG * 1e-3;
    if (fault == ACCEL_BIAS) z->dv_b[0] += 0.5 * 9.80665e-3;
    if (fault == SATURATED) z->dv_b[0] = 0.02;
    z->saturated = fault == SATURATED ? 8 : 0;
    z->valid = 1;
    z->seq++;
    z->t_valid_ns = f->tick * 1000000;
    f->head[k].tick = f->tick;
    f->head[k].seq++;
  }
}

static void aids(flight_t *f)
{
  int64_t n = f->tick;
  for (uint32_t k = 0; k < 2 && n % 100 == 50; k++) {
    fsw_gnss_t *z = &f->gnss[k];
    uint32_t seq = z->seq + 1U;
    if (f->gnss_off[k]) continue;
    if (!f->freeze[k]) {
      gnss_of(&f->truth, z);
      for (int i = 0; i < 3; i++) {
        z->r_e[i] += gauss(n, 400U + 10U * k + (uint32_t)i) + f->gnss_east[k] * f->truth.c_le[i];
        z->v_e[i] += 0.05 * gauss(n, 430U + 10U * k + (uint32_t)i);
      }
    }
    z->t_valid_ns = f->truth.f.t_ns;
    z->seq = seq;
    f->head[3U + k].tick = n;
    f->head[3U + k].seq++;
  }
  for (uint32_t k = 0; k < 2 && n % 20 == 0; k++) {
    double range = range_of(&f->truth);
    f->radalt[k] = (fsw_radalt_t){.t_valid_ns = f->truth.f.t_ns, .seq = f->radalt[k].seq + 1U, .valid = 1};
    f->radalt[k].range_m = range + (0.05 + 0.003 * range) * gauss(n, 460U + k);
    f->head[5U + k].tick = n;
    f->head[5U + k].seq++;
  }
}

static void measure(flight_t *f)
{
  fsw_nav_t t;
  double d[3];
  double c[4];
  double q[4];
  fsw_nav_solution(&f->truth, &t);
  fsw_v3_sub(f->nav.r_bl_l, t.r_bl_l, d);
  f->err[0] = fmax(f->err[0], fsw_v3_norm(d));
  fsw_v3_sub(f->nav.v_bl_l, t.v_bl_l, err_v);
  f->err[1] = fmax(f->err[1], fsw_v3_norm(err_v));
  fsw_q_conj(t.q_bl, c);
  fsw_q_mul(c, f->nav.q_bl, q);
  f->err[2] = fmax(f->err[2], 2.0 * fsw_v3_norm(q + 1));
  fsw_v3_sub(err_v, f->last, d);
  bool aided = f->tick % 100 == 50 || f->tick % 20 == 0;
  if (f->begun && !aided) f->step_v = fmax(f->step_v, fsw_v3_norm(d));
  if (f->begun && aided) f->gnss_step = fmax(f->gnss_step, fsw_v3_norm(d));
  fsw_v3_copy(err_v, f->last);
  f->begun = 1;
}

static void fly(flight_t *f, int ticks)
{
  static const double dth[3] = {1e-5, 3e-5, -2e-5};
  static const double dv[3] = {0.0262, 1e-4, -2e-4};
  const void *in[8] = {NULL};
  const fsw_topic_head_t *head[8] = {NULL};
  void *out[4] = {&f->nav, &f->status, &f->lanes, &f->ev};
  for (int k = 0; k < 7; k++) head[k] = &f->head[k];
  for (int k = 0; k < 2; k++) {
    in[3 + k] = &f->gnss[k];
    in[5 + k] = &f->radalt[k];
  }
  for (int k = 0; k < 3; k++) in[k] = k < f->units ? &f->imu[k] : NULL;
  for (int n = 0; n < ticks; n++) {
    f->tick++;
    fsw_nav_on_imu(&f->truth, &f->p, f->tick * 1000000, dth, dv);
    imus(f, dth, dv);
    aids(f);
    fsw_io_t io = {.tick = f->tick, .t_ns = f->tick * 1000000, .dt_ns = 1000000, .publish = 15, .in = in, .in_head = head, .out = out,
                   .state = &f->s, .params = &f->p};
    fsw_task_gnc_nav_lanes.step(&io);
    measure(f);
    for (uint32_t i = 0; i < f->ev.count; i++) {
      uint32_t code = f->ev.code[i] % 80U;
      f->events[code]++;
      if (f->first[code]) continue;
      f->first[code] = (int)f->tick;
      f->arg[code] = f->ev.arg0[i];
    }
  }
}

static void clear(flight_t *f)
{
  f->err[0] = f->err[1] = f->err[2] = f->step_v = f->gnss_step = 0.0;
  memset(f->events, 0, sizeof f->events);
  memset(f->first, 0, sizeof f->first);
}

/* ---- tests ---------------------------------------------------------------------------------------------------------------------- */

static void test_nominal(void)
{
  static flight_t f;
  flight_start(&f);
  fly(&f, 1);
  CHECK(f.nav.valid && f.nav.quality == 0 && f.s.member_mask == 7, "first sample: quality %d members %d", f.nav.quality, f.s.member_mask);
  fly(&f, 8000);
  CHECK(f.err[0] < 1.0 && f.err[1] < 0.07, "%g m %g m/s", f.err[0], f.err[1]);
  CHECK(f.step_v < 0.002 && f.gnss_step < 0.07, "steps %g %g", f.step_v, f.gnss_step);
  for (int code = 40; code < 60; code++)
    CHECK(f.events[code] == 0 || code == FSW_EVENT_GNSS_BACK || code == FSW_EVENT_RADALT_LOCKED, "event %d, %d times", code, f.events[code]);
  CHECK(f.lanes.member_mask == 7 && f.lanes.select_mask == 7 && f.lanes.level == 0 && f.lanes.switches == 0, "lanes");
  CHECK(f.status.gnss_used == 3 && f.status.radalt_used == 3, "used");
}

/* Each single fault on each unit: out within 50 ms, output as good as without, no step, back when the fault is over. */
static void test_single_imu(void)
{
  static flight_t f;
  flight_start(&f);
  fly(&f, 1000);
  clear(&f);
  fly(&f, 4000);
  double clean[3] = {f.err[0], f.err[1], f.err[2]};
  double correction = f.gnss_step; /* what a fix may do to the output */
  for (int kind = OFF; kind <= SATURATED; kind++)
    for (uint32_t k = 0; k < 3; k++) {
      flight_start(&f);
      fly(&f, 1000);
      clear(&f);
      f.fault[k] = kind;
      fly(&f, 50);
      int out = f.first[FSW_EVENT_LANE_OUT];
      CHECK(f.events[FSW_EVENT_IMU_EXCLUDED] == 1 && out > 0, "%s on %u: not excluded within 50 ms", names[kind], k);
      CHECK(f.s.member_mask == (7U ^ 1U << k) && f.lanes.level == 1, "%s on %u: members %d", names[kind], k, f.s.member_mask);
      fly(&f, 1950);
      f.fault[k] = OK;
      fly(&f, 500);
      CHECK(f.s.member_mask != 7, "%s on %u: back without probation", names[kind], k);
      fly(&f, 3500);
      CHECK(f.s.member_mask == 7 && f.s.health[k].forks == 1, "%s on %u: not readmitted (%d, forks %u)", names[kind], k,
            f.s.member_mask, f.s.health[k].forks);
      CHECK(f.first[FSW_EVENT_LANE_BACK] >= f.first[FSW_EVENT_LANE_FORKED] + 2000, "%s on %u: member too soon", names[kind], k);
      for (int i = 0; i < 3; i++) CHECK(f.err[i] <= 3.0 * clean[i], "%s on %u: error %d %g, clean %g", names[kind], k, i, f.err[i], clean[i]);
      CHECK(f.step_v < 0.005 && f.gnss_step < correction + 0.005, "%s on %u: output steps %g %g", names[kind], k, f.step_v, f.gnss_step);
    }
}

/* A gyro that lies less than parity can see: found by what the lanes make of it. */
static void test_slow_gyro(void)
{
  static flight_t f;
  for (uint32_t k = 0; k < 3; k++) {
    flight_start(&f);
    fly(&f, 1000);
    clear(&f);
    f.fault[k] = SLOW_GYRO;
    fly(&f, 9000);
    CHECK(f.events[FSW_EVENT_IMU_EXCLUDED] == 0, "parity saw it: the test tests nothing");
    CHECK(f.s.health[k].isolations >= 1, "lane %u not isolated, separation %g", k, f.s.mon.separation[0]);
    CHECK(f.s.health[(k + 1) % 3].isolations + f.s.health[(k + 2) % 3].isolations == 0, "the wrong lane isolated");
    CHECK(f.err[2] < 0.2 * FSW_DEG && f.step_v < 0.005 && f.gnss_step < 0.03, "attitude %g deg, steps %g %g", f.err[2] / FSW_DEG, f.step_v,
          f.gnss_step);
  }
}

static void test_all_saturated(void)
{
  static const int ms[] = {2, 5, 20, 50, 200};
  static flight_t f;
  for (int n = 0; n < 5; n++) {
    flight_start(&f);
    fly(&f, 1000);
    clear(&f);
    double before = fsw_ud_cov(f.s.lane[0].f.u, f.s.lane[0].f.d, FSW_NAV_N, 3, 3);
    f.fault[0] = f.fault[1] = f.fault[2] = SATURATED;  /* after 50 ms a fix has just told the velocity */
    fly(&f, ms[n]);
    CHECK(f.s.front.common == 1 && f.events[FSW_EVENT_IMU_COMMON] == 1, "not seen as common");
    f.fault[0] = f.fault[1] = OK;
    fly(&f, 20); /* the last one comes out of its limit later */
    fsw_nav_update_covariance(&f.s.lane[0], &f.p);
    double after = fsw_ud_cov(f.s.lane[0].f.u, f.s.lane[0].f.d, FSW_NAV_N, 3, 3);
    CHECK(ms[n] < 20 || ms[n] == 50 || after > before + 0.2, "%d ms: variance of velocity not inflated", ms[n]);
    f.fault[2] = OK;
    CHECK(f.events[FSW_EVENT_IMU_EXCLUDED] == 0 && f.s.front.vote.excluded_mask == 0, "%d ms: unit isolated", ms[n]);
    fly(&f, 2000);
    CHECK(f.s.member_mask == 7 && f.nav.quality == 0, "%d ms: members %d", ms[n], f.s.member_mask);
    CHECK(f.s.health[0].forks + f.s.health[1].forks + f.s.health[2].forks == 0, "forked");
  }
}

static void test_silence(void)
{
  static flight_t f;
  flight_start(&f);
  fly(&f, 1000);
  f.fault[0] = OFF;
  fly(&f, 500);
  f.fault[1] = OFF;
  fly(&f, 500);
  CHECK(f.s.level == 2 && f.lanes.select_mask == 4 && f.nav.quality == 0, "one left: level %d", f.s.level);
  clear(&f);
  f.fault[2] = OFF;
  fly(&f, 5);
  CHECK(f.nav.quality == 2 && f.events[FSW_EVENT_IMU_SILENT] == 1 && f.s.level == 3, "not told within 5 ms: %d", f.nav.quality);
  CHECK(f.nav.valid, "attitude is still valid");
  fly(&f, 45);
  CHECK(f.err[0] < 1.0 && f.err[1] < 0.1, "held: %g m %g m/s", f.err[0], f.err[1]);
  fly(&f, 700);
  CHECK(f.nav.quality == 3 && !f.nav.valid, "lost and still valid");
  f.fault[0] = f.fault[1] = f.fault[2] = OK;
  fly(&f, 5000);
  CHECK(f.s.member_mask == 7 && f.nav.quality == 0 && f.nav.valid, "after silence: members %d, quality %d", f.s.member_mask, f.nav.quality);
}

static void test_two_units_disagree(void)
{
  static flight_t f;
  flight_start(&f);
  f.units = 2;
  fly(&f, 2000);
  CHECK(f.s.level == 1 && (f.s.select_mask == 1 || f.s.select_mask == 2), "two units: select %d", f.s.select_mask);
  clear(&f);
  f.fault[1] = ACCEL_BIAS;
  fly(&f, 1000);
  CHECK(f.s.select_mask == 1 && f.err[1] < 0.1 && f.step_v < 0.02 && f.step_v > 0.0, "select %d, %g m/s", f.s.select_mask, f.err[1]);
}

/* Receiver 1 walks away at 0.2 m/s for 60 s with an honest velocity, then tells the truth again. */
static void test_ramp(void)
{
  static flight_t f;
  for (uint32_t k = 0; k < 2; k++) {
    flight_start(&f);
    f.p.radalt_max_m = 1.0; /* the receivers alone */
    fly(&f, 10000);
    clear(&f);
    for (int n = 0; n < 60; n++)
      for (int m = 0; m < 10; m++) {
        f.gnss_east[k] = 0.2 * (n + 0.1 * m);
        fly(&f, 100);
      }
    CHECK(f.s.mon.src[k].exclusions == 1 && f.s.mon.src[k].out && !f.s.mon.src[1U - k].out, "receiver %u: exclusions %u %u, cusum %g", k,
          f.s.mon.src[0].exclusions, f.s.mon.src[1].exclusions, f.s.mon.cusum[3]);
    CHECK(f.first[FSW_EVENT_SOURCE_OUT] < 10000 + 25000, "found after %g s", f.first[FSW_EVENT_SOURCE_OUT] * 1e-3 - 10.0);
    CHECK((int)f.arg[FSW_EVENT_SOURCE_OUT] == FSW_SOURCE_DRIFT, "not found by the comparison of receivers");
    CHECK(f.err[0] <= 3.0, "receiver %u: %g m", k, f.err[0]);
    CHECK((f.lanes.source_out & 1U << k) != 0U && f.status.gnss_used == 1U << (1U - k), "told");
    f.gnss_east[k] = 0.0;
    fly(&f, 6000);
    CHECK(!f.s.mon.src[k].out && f.status.gnss_used == 3, "receiver %u not readmitted", k);
  }
}

/* Lanes that take ten samples at a time against the one that takes each: the same units, coning at 3 Hz with 20 deg/s, and thrust that
 * turns with it. What would be left without the terms of unequal steps is fourteen times the limit. */
static void test_steps_of_ten(void)
{
  static flight_t f;
  double x[9];
  flight_start(&f);
  const void *in[8] = {&f.imu[0], &f.imu[1], &f.imu[2], NULL};
  const fsw_topic_head_t *head[8] = {&f.head[0], &f.head[1], &f.head[2], NULL};
  void *out[4] = {&f.nav, NULL, NULL, NULL};
  int apart = 0;
  for (f.tick = 1; f.tick <= 20000; f.tick++) {
    double t = (double)f.tick * 1e-3 * 2.0 * FSW_PI * 3.0;
    for (int k = 0; k < 3; k++) {
      double a = 20.0 * FSW_DEG * 1e-3;
      f.imu[k] = (fsw_imu_t){.t_valid_ns = f.tick * 1000000, .seq = (uint32_t)f.tick, .valid = 1,
                             .dtheta_b = {1e-5, a * cos(t), a * sin(t)}, .dv_b = {0.02, 2e-3 * sin(t), 2e-3 * cos(t)}};
      f.head[k].tick = f.tick;
      f.head[k].seq++;
    }
    fsw_io_t io = {.tick = f.tick, .t_ns = f.tick * 1000000, .dt_ns = 1000000, .publish = 15, .in = in, .in_head = head, .out = out,
                   .state = &f.s, .params = &f.p};
    fsw_task_gnc_nav_lanes.step(&io);
    apart += f.s.lane[1].f.t_ns != f.s.lane[0].f.t_ns ? 1 : 0;
  }
  CHECK(apart > 17000, "lanes step together: the test tests nothing (%d)", apart);
  CHECK(f.s.lane[1].f.t_ns == f.s.lane[0].f.t_ns, "not together in the end");
  difference(&f.s.lane[0].f, &f.s.lane[1].f, x);
  CHECK(fsw_v3_norm(x) < 0.05 && fsw_v3_norm(x + 3) < 0.005, "after 20 s: %g m, %g m/s", fsw_v3_norm(x), fsw_v3_norm(x + 3));
  CHECK(fsw_v3_norm(x + 6) < 1e-3 * FSW_DEG, "after 20 s: %g deg", fsw_v3_norm(x + 6) / FSW_DEG);
}

/* An excluded receiver is taken when the other falls silent. */
static void test_ramp_then_alone(void)
{
  static flight_t f;
  flight_start(&f);
  fly(&f, 2000);
  for (int n = 0; n < 300; n++) {
    f.gnss_east[1] = 0.02 * n;
    fly(&f, 100);
  }
  CHECK(f.s.mon.src[1].out, "not excluded");
  f.gnss_off[0] = 1;
  fly(&f, 2500);
  CHECK(!f.s.mon.src[1].out, "kept out although alone");
}

static void test_frozen(void)
{
  static flight_t f;
  flight_start(&f);
  fly(&f, 2000);
  f.freeze[1] = 1;
  fly(&f, 1000);
  CHECK((f.lanes.frozen & 2U) != 0U && (f.lanes.frozen & 1U) == 0U, "not flagged within 1 s: %d", f.lanes.frozen);
  fly(&f, 2000);
  CHECK(f.err[0] < 1.0 && f.nav.quality == 0 && f.status.gnss_used == 1, "frozen receiver: %g m, used %d", f.err[0], f.status.gnss_used);
}

/* The windowed sum: one receiver noisier than it says is excluded, two are not; both are suspect. */
static void test_window(void)
{
  static fsw_nav_monitor_t m;
  fsw_nav_monitor_init(&m);
  for (int n = 0; n < 60; n++) {
    fsw_nav_monitor_nis(&m, 0, 1.0, n * 100000000LL, NULL);
    fsw_nav_monitor_nis(&m, 1, 2.0, n * 100000000LL, NULL);
  }
  CHECK(m.src[1].out && !m.src[0].out && m.src[1].exclusions == 1, "one noisy receiver");
  fsw_nav_monitor_init(&m);
  for (int n = 0; n < 60; n++)
    for (uint32_t k = 0; k < 2; k++) fsw_nav_monitor_nis(&m, k, 2.0, n * 100000000LL, NULL);
  CHECK(!m.src[0].out && !m.src[1].out && m.src[0].suspect == 1 && m.src[1].suspect == 1, "both noisy");
  fsw_nav_monitor_init(&m);
  for (int n = 0; n < 30; n++) fsw_nav_monitor_nis(&m, 2, 0.1, n * 20000000LL, NULL);
  CHECK(m.src[2].suspect == 2 && !m.src[2].out, "too good to be true is suspect");
  fsw_nav_monitor_init(&m);
  for (int n = 0; n < 60; n++) {
    fsw_nav_monitor_nis(&m, 2, 3.0, n * 20000000LL, NULL);
    fsw_nav_monitor_nis(&m, 3, 1.0, n * 20000000LL, NULL);
  }
  CHECK(m.src[2].out, "altimeter");
  fsw_nav_monitor_watch(&m, m.src[2].t_out_ns + 1900000000, NULL);
  CHECK(m.src[2].out, "back too early");
  fsw_nav_monitor_watch(&m, m.src[2].t_out_ns + 2000000000, NULL);
  CHECK(!m.src[2].out, "altimeter not back");
}

static void test_determinism(void)
{
  static flight_t a;
  static flight_t b;
  flight_t *both[2] = {&a, &b};
  for (int n = 0; n < 2; n++) {
    flight_start(both[n]);
    fly(both[n], 700);
    both[n]->fault[1] = GYRO_BIAS;
    fly(both[n], 700);
    both[n]->fault[1] = OK;
    fly(both[n], 3000);
  }
  CHECK(memcmp(&a.s, &b.s, sizeof a.s) == 0 && memcmp(&a.nav, &b.nav, sizeof a.nav) == 0, "two runs differ");
}

int main(void)
{
  test_nominal();
  test_single_imu();
  test_slow_gyro();
  test_all_saturated();
  test_silence();
  test_two_units_disagree();
  test_ramp();
  test_ramp_then_alone();
  test_steps_of_ten();
  test_frozen();
  test_window();
  test_determinism();
  printf("test_nav_lanes: %d failures\n", failures);
  return failures ? 1 : 0;
}
