/* test_guidance.c - guidance against a dispersed point mass with attitude lag, engine starts, a stand-in for the sequencer, wind, lift
 * and noisy navigation. `test_guidance` runs a short campaign and checks it; `test_guidance N [seed] [verbose run]` a long one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "flightsw/events.h"
#include "flightsw/guidance.h"
#include "flightsw/random.h"
#include "flightsw/vec.h"

#define G0 9.80665
#define DT 0.005
#define NE 5
#define ENG_OFF 0
#define ENG_START 1
#define ENG_RUN 2
#define ENG_DEAD 3

typedef enum { NOMINAL, NO_LIGHT, DIES_3S, DIES_3S_NO_SPARE, LOW_THRUST, ALL_DEAD, N_CASE } case_t;
static const char *const case_name[N_CASE] = { "nominal", "centre does not light", "centre dies 3 s after lighting",
  "dies after 3 s, no spares", "centre at 70 % thrust", "nothing lights" };

typedef struct {
  int state;
  double clock, frac, throttle, cmd;
  int lit, can_light, failed;
} engine_t;

typedef struct {
  double r[3], v[3], x[3], w[3], m, t;
  double thrust_sl, isp, cda, cl, plume, dead, ramp, wind[2], nav_bias[3];
  engine_t e[NE];
  double peak_g;
  double die_at, low;
  int spares_ok;
} world_t;

typedef struct {
  double v_down, v_across, miss, tilt, fuel, peak_g, h_ign, v_ign, t;
  int landed, divert;
} result_t;

static fsw_guidance_params_t params(void)
{
  fsw_guidance_params_t p;
  memset(&p, 0, sizeof p);
  p = (fsw_guidance_params_t){ .n_engines = 9, .thrust_sl_n = 814e3, .thrust_vac_n = 923e3, .isp_sl_s = 283, .throttle_min = 0.5,
    .throttle_lag_s = 0.15, .start_dead_s = 0.6, .start_ramp_s = 0.9, .start_lead_s = 0.05, .mass_dry_kg = 27000,
    .propellant_kg = 8000, .drag_area_m2 = 18, .plume_factor = 0.3, .s_ref_m2 = 15.904, .cl_alpha_1_rad = 2.2,
    .burn_lift_factor = 1.0, .rho_pad_kg_m3 = 1.225, .rho_height_m = 10400, .rho_curve_1_m = 1.25e-5, .plan_engines = 1,
    .plan_throttle = 0.8, .pair_throttle = 0.66, .axial_max_g = 5.8, .td_speed_m_s = 0.8, .td_height_m = 0.15, .flare_height_m = 10,
    .flare_throttle = 0.57, .tilt_max_deg = 20, .tilt_low_deg = 6, .tilt_td_deg = 1.2, .reach_tan = 0.4, .lat_min_s = 6, .lat_lead_s = 3,
    .shutdown_tau_s = 0.15, .cut_height_m = 0.3, .attitude_lag_s = 0.3, .slew_max_deg_s = 8, .aero_alpha_max_deg = 8, .aero_gain = 3.5, .aero_fade_m = 250, .divert_m = 250, .hop_start_s = 2,
    .hop_apogee_m = 500, .hop_accel_m_s2 = 3, .hop_speed_m_s = 80, .hop_settle_s = 0.5 };
  return p;
}

static void gauss(uint64_t seed, int64_t tick, uint32_t ch, double out[4])
{
  fsw_rng_t r = { seed, 7, 0 };
  fsw_rng_gauss4(&r, tick, ch, out);
}

static void setup(world_t *w, uint64_t seed, case_t c)
{
  double a[4], b[4], d[4], e[4], u[4], f[4];
  memset(w, 0, sizeof *w);
  gauss(seed, 0, 1, a), gauss(seed, 0, 2, b), gauss(seed, 0, 3, d), gauss(seed, 0, 4, e), gauss(seed, 0, 5, f);
  fsw_rng_t r = { seed, 8, 0 };
  fsw_rng_uniform4(&r, 0, 6, u);
  double r0[3] = { -1500 + 100 * a[0], 600 + 100 * a[1], 12000 + 25 * a[2] };
  double v0[3] = { 60 + 3 * b[0], -24 + 3 * b[1], -475 + 3 * b[2] };
  memcpy(w->r, r0, sizeof r0);
  memcpy(w->v, v0, sizeof v0);
  for (int i = 0; i < 3; i++) w->x[i] = -v0[i];
  (void)fsw_v3_unit(w->x, w->x);
  w->m = 27000 * (1 + 0.015 * d[0]) + 8000;
  w->thrust_sl = 814e3 * (1 + 0.02 * d[1]);
  w->isp = 283 * (1 + 0.005 * d[2]);
  w->cda = 18 * (1 + 0.08 * d[3]);
  w->cl = 2.5 * (1 + 0.2 * a[3]);
  w->plume = 0.15 + 0.35 * u[0];
  w->dead = fsw_max(0.6 + 0.15 * e[0], 0.2);
  w->ramp = fsw_max(0.9 + 0.15 * e[1], 0.3);
  w->wind[0] = 7 * e[2], w->wind[1] = 7 * e[3];
  w->nav_bias[0] = 0.3 * f[0], w->nav_bias[1] = 0.3 * f[1], w->nav_bias[2] = 0.03 * f[2];
  for (int k = 0; k < NE; k++) w->e[k].can_light = 1, w->e[k].throttle = 0.5;
  w->e[0].can_light = c != NO_LIGHT && c != ALL_DEAD;
  if (c == ALL_DEAD) for (int k = 0; k < NE; k++) w->e[k].can_light = 0;
  w->die_at = c == DIES_3S || c == DIES_3S_NO_SPARE ? 3.0 : 1e9;
  w->low = c == LOW_THRUST ? 0.7 : 1.0;
  w->spares_ok = c != DIES_3S_NO_SPARE;
}

static void air(double h, double *rho, double *p)
{
  double x = fsw_max(1 - 2.25577e-5 * fsw_clamp(h, 0, 11000), 0.01), l = fsw_log(x);
  *rho = 1.225 * fsw_exp(4.2559 * l), *p = fsw_exp(5.2559 * l);
  if (h > 11000) *rho *= fsw_exp(-(h - 11000) / 6341.6), *p *= fsw_exp(-(h - 11000) / 6341.6);
}

/* Stand-in for the sequencer: engine 0 for one, pairs (1,2) (3,4) for two, 0 and a pair for three. */
static void sequence(world_t *w, const fsw_guidance_t *g, fsw_engines_t *e, double dt)
{
  int want[NE] = { 0 }, n = g->engines, ok0 = !w->e[0].failed;
  int pair = !w->spares_ok ? 0 : (!w->e[1].failed && !w->e[2].failed ? 1 : (!w->e[3].failed && !w->e[4].failed ? 3 : 0));
  if ((n == 1 || n == 3 || (n == 2 && pair && !(e->lit_mask >> pair & e->lit_mask >> (pair + 1) & 1))) && ok0 && (n != 2 || w->e[0].state == ENG_RUN))
    want[0] = 1; /* a running centre engine is kept until the pair is complete */
  if (n >= 2 && pair) want[pair] = want[pair + 1] = 1;
  if (n >= 4 && pair == 1) want[3] = want[4] = 1;
  e->lit_mask = e->starting_mask = 0;
  int left = 0;
  for (int k = 0; k < NE; k++) {
    engine_t *q = &w->e[k];
    if (want[k] && q->state == ENG_OFF) q->state = ENG_START, q->clock = -0.04;
    if (!want[k] && q->state == ENG_START) q->state = ENG_OFF, q->frac = 0;
    if (!want[k] && q->state == ENG_RUN) q->frac *= 1 - fsw_min(dt / 0.15, 1);
    q->clock += dt;
    double target = fsw_clamp(q->cmd, 0.5, 1.0);
    q->throttle += (target - q->throttle) * dt / 0.15;
    if (q->state == ENG_START) {
      if (q->can_light && q->clock > w->dead) q->frac = fsw_min((q->clock - w->dead) / w->ramp, 1.0);
      if (q->frac > 0.35) q->state = ENG_RUN, q->lit = 1, q->clock = 0;
      if (q->clock > 1.25 && q->state == ENG_START && q->frac <= 0) q->state = ENG_DEAD, q->failed = 1;
    } else if (q->state == ENG_RUN && want[k]) {
      q->frac = fsw_min(q->frac + dt / w->ramp, 1.0);
      if (k == 0 && q->clock > w->die_at) q->frac = 0.0;
      if (k == 0 && q->clock > w->die_at + 0.3) q->state = ENG_DEAD, q->failed = 1, q->lit = 0;
    }
    if (q->state == ENG_RUN && want[k]) e->lit_mask |= (uint16_t)(1u << k);
    if (q->state == ENG_START) e->starting_mask |= (uint16_t)(1u << k);
    if (q->failed) e->failed_mask |= (uint16_t)(1u << k);
    if (k && q->state == ENG_OFF && w->spares_ok) left++;
  }
  e->spares_left = (uint8_t)left;
}

static void share(world_t *w, const fsw_guidance_t *g, fsw_engines_t *e, double full_nominal)
{
  int n = 0;
  for (int k = 0; k < NE; k++) n += e->lit_mask >> k & 1;
  for (int k = 0; k < NE; k++) {
    engine_t *q = &w->e[k];
    if (n && (e->lit_mask >> k & 1)) q->cmd = fsw_clamp(g->thrust_cmd_n / (n * full_nominal * (k == 0 ? w->low : 1.0)), 0.5, 1.0);
    else if (e->starting_mask >> k & 1) q->cmd = fsw_clamp(g->thrust_cmd_n / full_nominal, 0.5, 1.0);
    e->throttle[k] = q->cmd;
    e->thrust_n[k] = q->frac * q->throttle * full_nominal * (k == 0 ? w->low : 1.0);
  }
}

static void move(world_t *w, const double dir[3], double f_l[3], double dt)
{
  double rho, p, up[3], av[3], thrust = 0, ramp = 0;
  air(w->r[2], &rho, &p);
  /* attitude: second order towards the command */
  for (int i = 0; i < 3; i++) {
    double acc = 4.0 * (dir[i] - w->x[i]) - 3.0 * w->w[i];
    w->w[i] += acc * dt;
    w->x[i] += w->w[i] * dt;
  }
  (void)fsw_v3_unit(w->x, w->x);
  for (int k = 0; k < NE; k++) {
    double full = w->thrust_sl * (1 + (923.0 / 814.0 - 1) * (1 - p));
    double t = w->e[k].frac * w->e[k].throttle * full * (k == 0 ? w->low : 1.0);
    thrust += t;
    ramp = fsw_max(ramp, w->e[k].frac);
    w->m -= w->e[k].frac * w->e[k].throttle * (k == 0 ? w->low : 1.0) * w->thrust_sl / (w->isp * G0) * dt;
  }
  double s = 0.3 + 0.7 * fsw_clamp(w->r[2] / 8000, 0, 1.5);
  av[0] = w->v[0] - s * w->wind[0], av[1] = w->v[1] - s * w->wind[1], av[2] = w->v[2];
  double sp = fsw_max(fsw_v3_norm(av), 1e-3), q = 0.5 * rho * sp * sp;
  fsw_v3_scale(-1 / sp, av, up);
  double along = fsw_v3_dot(w->x, up), drag = q * w->cda * (1 - (1 - w->plume) * ramp), lift = q * 15.904 * w->cl;
  for (int i = 0; i < 3; i++) {
    f_l[i] = (thrust * w->x[i] + drag * up[i] - lift * (w->x[i] - along * up[i])) / w->m;
    double a = f_l[i] - (i == 2 ? G0 : 0);
    w->r[i] += w->v[i] * dt + 0.5 * a * dt * dt;
    w->v[i] += a * dt;
  }
  w->peak_g = fsw_max(w->peak_g, fsw_v3_dot(f_l, w->x) / G0);
  w->t += dt;
}

static void measure(const world_t *w, const double f_l[3], uint64_t seed, int64_t tick, fsw_nav_t *nav)
{
  double a[4], b[4], c[4], q[4], x[3] = { 1, 0, 0 }, axis[3];
  gauss(seed, tick, 10, a), gauss(seed, tick, 11, b), gauss(seed, tick, 12, c);
  fsw_v3_cross(x, w->x, axis);
  q[0] = 1 + w->x[0];
  fsw_v3_copy(axis, q + 1);
  (void)fsw_q_normalize(q);
  for (int i = 0; i < 3; i++) {
    nav->r_bl_l[i] = w->r[i] + w->nav_bias[i] + 0.02 * a[i];
    nav->v_bl_l[i] = w->v[i] + 0.03 * b[i];
  }
  memcpy(nav->q_bl, q, sizeof q);
  fsw_q_rotate_inv(q, f_l, nav->f_b);
  for (int i = 0; i < 3; i++) nav->f_b[i] += 0.1 * c[i];
  nav->valid = 1;
  nav->t_valid_ns = tick * 1000000;
}

static int verbose;

static void say(const fsw_events_t *ev)
{
  for (uint32_t k = 0; k < ev->count; k++)
    printf("   %7.2f s  event %d  %.1f %.1f\n", 1e-9 * (double)ev->t_ns, ev->code[k], ev->arg0[k], ev->arg1[k]);
}

static result_t fly(uint64_t seed, case_t c, const fsw_guidance_params_t *p)
{
  world_t w;
  result_t res = { 0 };
  fsw_guidance_state_t s;
  fsw_nav_t nav;
  fsw_guidance_t g;
  fsw_engines_t eng;
  fsw_events_t ev;
  fsw_touchdown_t td;
  memset(&s, 0, sizeof s), memset(&nav, 0, sizeof nav), memset(&g, 0, sizeof g), memset(&eng, 0, sizeof eng);
  memset(&ev, 0, sizeof ev), memset(&td, 0, sizeof td);
  setup(&w, seed, c);
  double m0 = w.m, f_l[3] = { 0 }, dir[3];
  fsw_task_gnc_guidance.init(&s, p);
  const void *in[3] = { &nav, &eng, &td };
  void *out[2] = { &g, &ev };
  fsw_topic_head_t head = { 0, 1, 0 };
  const fsw_topic_head_t *heads[3] = { &head, &head, &head };
  fsw_v3_copy(w.x, dir);
  for (int64_t n = 0; n < 24000; n++) {
    int64_t tick = n * 5;
    if (n % 4 == 0) {
      measure(&w, f_l, seed, tick, &nav);
      fsw_io_t io = { .tick = tick, .t_ns = tick * 1000000, .dt_ns = 20000000, .seed = seed, .publish = 3, .in = in, .in_head = heads,
        .out = out, .state = &s, .params = p };
      head.tick = tick;
      fsw_task_gnc_guidance.step(&io);
      if (verbose) say(&ev);
      for (uint32_t k = 0; k < ev.count; k++)
        if (ev.code[k] == FSW_EVENT_IGNITION_DECIDED) res.h_ign = ev.arg0[k], res.v_ign = ev.arg1[k];
      double x[3] = { 1, 0, 0 };
      fsw_q_rotate(g.q_cmd_bl, x, dir);
      if (verbose && n % (w.r[2] < 30 ? 8 : 100) == 0)
        printf("%6.2f h %8.2f vz %8.2f r %7.1f %7.1f v %6.2f %6.2f need %5.3f u %5.3f n %d lit %x st %x tilt %5.2f scale %.3f kp %.2f cda %.1f av %.2f hign %.0f tgo %.2f ls %.2f w %.1f %.1f true %.1f %.1f\n",
          w.t, w.r[2], w.v[2], w.r[0], w.r[1], w.v[0], w.v[1], g.throttle_need, w.e[0].throttle, g.engines, eng.lit_mask, eng.starting_mask,
          fsw_atan2(fsw_sqrt(w.x[0] * w.x[0] + w.x[1] * w.x[1]), w.x[2]) / FSW_DEG, s.scale, s.plume, s.cda_m2, s.avail, s.h_ign_m, g.t_go_s,
          s.lift_scale, s.wind_l[0], s.wind_l[1],
          w.wind[0] * (0.3 + 0.7 * fsw_clamp(w.r[2] / 8000, 0, 1.5)), w.wind[1] * (0.3 + 0.7 * fsw_clamp(w.r[2] / 8000, 0, 1.5)));
    }
    double rho, pr;
    air(w.r[2], &rho, &pr);
    eng.failed_mask = 0;
    sequence(&w, &g, &eng, DT);
    share(&w, &g, &eng, 814e3 * (1 + (923.0 / 814.0 - 1) * (1 - pr)));
    move(&w, dir, f_l, DT);
    if (w.r[2] <= 0 || w.m < 26000) {
      res.landed = w.r[2] <= 0;
      break;
    }
  }
  res.v_down = -w.v[2];
  res.v_across = fsw_sqrt(w.v[0] * w.v[0] + w.v[1] * w.v[1]);
  res.miss = fsw_sqrt(w.r[0] * w.r[0] + w.r[1] * w.r[1]);
  res.tilt = fsw_atan2(fsw_sqrt(w.x[0] * w.x[0] + w.x[1] * w.x[1]), w.x[2]) / FSW_DEG;
  res.fuel = m0 - w.m;
  res.peak_g = w.peak_g;
  res.t = w.t;
  res.divert = g.divert;
  return res;
}

static int compare(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void quantiles(const char *name, double *x, int n)
{
  qsort(x, (size_t)n, sizeof *x, compare);
  printf("   %-22s p50 %8.2f  p90 %8.2f  p99 %8.2f  max %8.2f\n", name, x[n / 2], x[n * 9 / 10], x[n * 99 / 100], x[n - 1]);
}

static double campaign(case_t c, int n, uint64_t seed0, const fsw_guidance_params_t *p)
{
  double *q[7];
  int good = 0, diverts = 0, bad_v = 0, bad_a = 0, bad_m = 0, bad_t = 0;
  for (int i = 0; i < 7; i++) q[i] = malloc(sizeof(double) * (size_t)n);
  for (int i = 0; i < n; i++) {
    result_t r = fly(seed0 + (uint64_t)i, c, p);
    double v[7] = { r.v_down, r.v_across, r.miss, r.tilt, r.fuel, r.peak_g, r.h_ign };
    for (int k = 0; k < 7; k++) q[k][i] = v[k];
    int a = !(r.landed && r.v_down <= 2.0), b = r.v_across > 1.0, m = r.miss > 10, t = r.tilt > 3;
    bad_v += a, bad_a += b, bad_m += m, bad_t += t, diverts += r.divert;
    good += !a && !b && !m && !t;
    if ((a || b || m || t) && n > 100 && c < DIES_3S_NO_SPARE && bad_v + bad_a + bad_m + bad_t < 8)
      printf("   run %d: %.2f down %.2f across %.1f m %.1f deg landed %d\n", i, r.v_down, r.v_across, r.miss, r.tilt, r.landed);
  }
  static const char *const names[7] = { "v down m/s", "v across m/s", "miss m", "tilt deg", "fuel kg", "peak g", "ignition height m" };
  printf("%s: %d of %d land; beyond gate: down %d, across %d, miss %d, tilt %d; diverts %d\n", case_name[c], good, n, bad_v, bad_a, bad_m,
    bad_t, diverts);
  for (int k = 0; k < 7; k++) quantiles(names[k], q[k], n), free(q[k]);
  return (double)good / n;
}

#include "test_guidance_units.h"

int main(int argc, char **argv)
{
  fsw_guidance_params_t p = params();
  int n = argc > 1 ? atoi(argv[1]) : 40;
  uint64_t seed = argc > 2 ? (uint64_t)atoll(argv[2]) : 1;
  if (argc > 4) {
    verbose = 1;
    result_t r = fly(seed + (uint64_t)atoi(argv[3]), (case_t)atoi(argv[4]), &p);
    printf("%.2f down %.2f across %.1f m %.1f deg fuel %.0f landed %d\n", r.v_down, r.v_across, r.miss, r.tilt, r.fuel, r.landed);
    return 0;
  }
  int bad = units();
  static const double least[N_CASE] = { 0.85, 0.9, 0.85, 0.0, 0.0, 0.0 };
  for (int c = 0; c < N_CASE; c++) {
    if (argc > 3 && c != atoi(argv[3])) continue;
    if (campaign((case_t)c, n, seed, &p) < least[c]) printf("FAIL: too few landings\n"), bad++;
  }
  printf(bad ? "FAILED\n" : "ok\n");
  return bad != 0;
}
