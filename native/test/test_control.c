/* test_control.c - the control task flying a rigid body with actuator lags and link delays: gimbals, fins, thrusters, trim of an
 * off-axis engine, disturbances, throttle sharing. Exits non-zero on failure. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "flightsw/control.h"
#include "flightsw/math.h"
#include "flightsw/vec.h"

static int failures;
#define CHECK(cond) ((cond) ? (void)0 : (failures++, (void)printf("%s:%d: %s\n", __func__, __LINE__, #cond)))

typedef struct {
  fsw_control_params_t p;
  fsw_control_state_t s;
  fsw_nav_t nav;
  fsw_guidance_t g;
  fsw_engines_t e;
  fsw_tvc_cmd_t tvc;
  fsw_fin_cmd_t fins;
  fsw_rcs_cmd_t rcs;
  fsw_control_t c;
  const void *in[3];
  const fsw_topic_head_t *in_head[3];
  fsw_topic_head_t head;
  void *out[4];
  fsw_io_t io;
  /* truth */
  double q[4], w[3], gimbal[18], fin[4], thrust[9], disturb[3], cm_shift_y;
  double pipe_g[8][18], pipe_f[8][4];
  uint32_t pipe_r[8], on;
  double gas_s, fin_stuck; /* thruster seconds; fin 0 frozen when 1 */
  int64_t tick;
  double rho;
} rig_t;

static void defaults(fsw_control_params_t *p)
{
  static const double y[9] = { 0, 1.6, 1.1314, 0, -1.1314, -1.6, -1.1314, 0, 1.1314 };
  static const double z[9] = { 0, 0, 1.1314, 1.6, 1.1314, 0, -1.1314, -1.6, -1.1314 };
  static const double ty[8] = { 2.25, 2.25, -2.25, -2.25, 0, 0, 0, 0 }, tz[8] = { 0, 0, 0, 0, 2.25, 2.25, -2.25, -2.25 };
  static const double fy[8] = { 0, 0, 0, 0, 1, -1, 1, -1 }, fz[8] = { 1, -1, 1, -1, 0, 0, 0, 0 };
  *p = (fsw_control_params_t){ .engine_x_m = 3.0, .thrust_sl_n = 814e3, .thrust_vac_n = 923e3, .isp_sl_s = 283.0, .mixture_ratio = 3.55,
    .throttle_min = 0.5, .throttle_lag_s = 0.15, .gimbal_max_deg = 7.0, .mass_dry_kg = 27000.0, .propellant_kg = 8000.0,
    .dry_cm_x_m = 16.0, .dry_ixx_kg_m2 = 1.1e5, .dry_iyy_kg_m2 = 4.2e6, .tank_radius_m = 2.2, .tank_ox_x_m = 17.0, .tank_fuel_x_m = 5.5,
    .rho_ox_kg_m3 = 1141.0, .rho_fuel_kg_m3 = 423.0, .fin_x_m = 41.0, .fin_azimuth_deg = 45.0, .fin_r_m = 3.0, .fin_area_m2 = 4.0,
    .fin_cn_alpha_1_rad = 2.5, .fin_max_deg = 20.0, .thruster_n = 1500.0, .kp_1_s = 1.5, .kw_1_s = 4.0, .kp_roll_1_s = 0.8,
    .kw_roll_1_s = 4.0, .ki_1_s = 0.5, .ki_roll_1_s = 0.8, .integral_share = 0.4, .integral_band = 0.5, .rate_max_deg_s = 10.0, .roll_rate_max_deg_s = 8.0,
    .authority_share = 0.4, .demand_share = 0.7, .lead_share = 1.0, .lead_tau_s = 0.15,
    .rate_lp_hz = 8.0, .notch_width = 0.6, .notch_depth = 0.2, .fin_share_lit = 0.6, .thrust_floor_share = 0.15,
    .thruster_on_rad_s = 0.008, .thruster_off_rad_s = 0.002, .thruster_min_s = 0.03, .low_thrust_tau_s = 0.4, .low_thrust_wait_s = 1.5,
    .rho0_kg_m3 = 1.225, .scale_height_m = 8500.0, .n_engines = 9, .n_fins = 4, .n_thrusters = 8 };
  for (int k = 0; k < 9; k++) {
    p->engine_y_m[k] = y[k];
    p->engine_z_m[k] = z[k];
    p->engine_gimballed[k] = (k == 0 || k % 2 == 1) ? 1.0 : 0.0;
  }
  for (int k = 0; k < 8; k++) {
    p->thruster_x_m[k] = 42.0;
    p->thruster_y_m[k] = ty[k];
    p->thruster_z_m[k] = tz[k];
    p->thruster_fy[k] = fy[k];
    p->thruster_fz[k] = fz[k];
  }
}

static void rig_init(rig_t *r, double q_pa, uint32_t lit, double thrust_n)
{
  memset(r, 0, sizeof *r);
  defaults(&r->p);
  fsw_control_init(&r->s, &r->p);
  r->in[0] = &r->nav;
  r->in[1] = &r->g;
  r->in[2] = &r->e;
  for (int k = 0; k < 3; k++) r->in_head[k] = &r->head;
  r->out[0] = &r->tvc;
  r->out[1] = &r->fins;
  r->out[2] = &r->rcs;
  r->out[3] = &r->c;
  r->io = (fsw_io_t){ .dt_ns = 10000000, .in = r->in, .in_head = r->in_head, .out = r->out, .state = &r->s, .params = &r->p };
  r->q[0] = r->g.q_cmd_bl[0] = 1.0;
  r->rho = 1.225;
  double v = sqrt(2.0 * q_pa / r->rho);
  r->nav.v_bl_l[0] = -v; /* here L has its x along the stage axis of the command: tail first */
  r->nav.valid = 1;
  r->g.phase = FSW_PHASE_BURN;
  r->g.thrust_cmd_n = thrust_n;
  r->e.lit_mask = (uint16_t)lit;
  uint32_t n = (uint32_t)__builtin_popcount(lit);
  for (int k = 0; k < 9; k++) {
    r->thrust[k] = lit >> k & 1u ? thrust_n / n : 0.0;
    r->e.thrust_n[k] = r->thrust[k];
    r->e.throttle[k] = r->thrust[k] / 814e3;
  }
}

static double follow(double x, double cmd, double rate, double lag, double limit)
{
  double d = fsw_clamp((fsw_clamp(cmd, -limit, limit) - x) / lag, -rate, rate);
  return x + d * 1e-3;
}

static void moments(rig_t *r, const fsw_mass_props_t *mp, double m[3])
{
  double cm = mp->cm_x_m;
  fsw_v3_copy(r->disturb, m);
  for (int k = 0; k < 9; k++) {
    double t = r->thrust[k], a = r->gimbal[2 * k], b = r->gimbal[2 * k + 1];
    double f[3] = { t * cos(a) * cos(b), t * sin(b), -t * sin(a) * cos(b) };
    double at[3] = { r->p.engine_x_m - cm, r->p.engine_y_m[k] - r->cm_shift_y, r->p.engine_z_m[k] }, mk[3];
    fsw_v3_cross(at, f, mk);
    fsw_v3_add(m, mk, m);
  }
  double v_b[3];
  fsw_q_rotate_inv(r->q, r->nav.v_bl_l, v_b);
  for (int k = 0; k < 4; k++) {
    double phi = (45.0 + 90.0 * k) * FSW_DEG, at[3] = { 41.0 - cm, 3.0 * cos(phi), 3.0 * sin(phi) }, tau[3] = { 0.0, -sin(phi), cos(phi) }, mk[3];
    double f = 0.5 * r->rho * 4.0 * 2.5 * fabs(v_b[0]) * (-fsw_v3_dot(v_b, tau) - v_b[0] * r->fin[k]);
    fsw_v3_scale(f, tau, tau);
    fsw_v3_cross(at, tau, mk);
    fsw_v3_add(m, mk, m);
  }
  for (int k = 0; k < 8; k++) {
    if (!(r->on >> k & 1u)) continue;
    double at[3] = { 42.0 - cm, r->p.thruster_y_m[k], r->p.thruster_z_m[k] }, f[3] = { 0.0, 1500.0 * r->p.thruster_fy[k], 1500.0 * r->p.thruster_fz[k] }, mk[3];
    fsw_v3_cross(at, f, mk);
    fsw_v3_add(m, mk, m);
    r->gas_s += 1e-3;
  }
}

static void rig_tick(rig_t *r)
{
  fsw_mass_props_t mp;
  int slot = (int)(r->tick % 8), old = (slot + 4) % 8; /* 4 ms on the links */
  if (r->tick % 10 == 0) {
    memcpy(r->nav.q_bl, r->q, sizeof r->q);
    memcpy(r->nav.omega_bl_b, r->w, sizeof r->w);
    r->io.tick = r->tick;
    r->io.t_ns = r->tick * 1000000;
    CHECK(fsw_task_gnc_control.step(&r->io) == 0);
  }
  memcpy(r->pipe_g[slot], r->tvc.gimbal_rad, sizeof r->pipe_g[0]);
  memcpy(r->pipe_f[slot], r->fins.fin_rad, sizeof r->pipe_f[0]);
  r->pipe_r[slot] = r->rcs.on_mask;
  for (int k = 0; k < 18; k++) r->gimbal[k] = follow(r->gimbal[k], r->pipe_g[old][k], 20 * FSW_DEG, 0.04, 7 * FSW_DEG);
  for (int k = 0; k < 4; k++) r->fin[k] = k == 0 && r->fin_stuck > 0.0 ? r->fin[k] : follow(r->fin[k], r->pipe_f[old][k], 40 * FSW_DEG, 0.05, 20 * FSW_DEG);
  r->on = r->pipe_r[old];
  fsw_mass_props(&r->p, r->s.propellant_kg, &mp);
  double m[3], dphi[3], dq[4];
  moments(r, &mp, m);
  r->w[0] += 1e-3 * m[0] / mp.ixx_kg_m2;
  r->w[1] += 1e-3 * m[1] / mp.iyy_kg_m2;
  r->w[2] += 1e-3 * m[2] / mp.iyy_kg_m2;
  fsw_v3_scale(1e-3, r->w, dphi);
  fsw_q_from_rotvec(dphi, dq);
  fsw_q_mul(r->q, dq, r->q);
  (void)fsw_q_normalize(r->q);
  r->tick++;
}

typedef struct { double settle_s, over_deg, end_deg, end_roll_deg, max_rate_deg_s, tail_rate_deg_s; } result_t;

/* Tilt errors of the flight from the present attitude to the command; settled: below band_deg for good. */
static result_t fly(rig_t *r, const char *name, double seconds, double band_deg)
{
  result_t x = { 0 };
  double err[3], dir[3] = { 0 };
  for (int i = 0; i < (int)(seconds * 1000); i++) {
    rig_tick(r);
    fsw_attitude_error(r->g.q_cmd_bl, r->q, err);
    double tilt = sqrt(err[1] * err[1] + err[2] * err[2]) / FSW_DEG;
    if (i == 0) fsw_v3_copy(err, dir);
    double along = (err[1] * dir[1] + err[2] * dir[2]) / fsw_max(sqrt(dir[1] * dir[1] + dir[2] * dir[2]), 1e-9) / FSW_DEG;
    x.over_deg = fsw_max(x.over_deg, -along);
    if (tilt > band_deg) x.settle_s = 1e-3 * i;
    double rate = sqrt(r->w[1] * r->w[1] + r->w[2] * r->w[2]) / FSW_DEG;
    x.max_rate_deg_s = fsw_max(x.max_rate_deg_s, rate);
    if (i > seconds * 1000 - 1000) x.tail_rate_deg_s = fsw_max(x.tail_rate_deg_s, rate);
    x.end_deg = tilt;
    x.end_roll_deg = err[0] / FSW_DEG;
  }
  printf("%-34s settled %5.2f s, overshoot %5.2f deg, at the end tilt %5.3f roll %6.3f deg, rate %4.1f (last second %5.3f) deg/s, gas %4.1f s\n", name,
         x.settle_s, x.over_deg, x.end_deg, x.end_roll_deg, x.max_rate_deg_s, x.tail_rate_deg_s, r->gas_s);
  return x;
}

static void tilt(rig_t *r, double y_deg, double z_deg, double x_deg)
{
  double phi[3] = { x_deg * FSW_DEG, y_deg * FSW_DEG, z_deg * FSW_DEG };
  fsw_q_from_rotvec(phi, r->q);
}

static void engines(void)
{
  static rig_t r;
  static const struct { const char *name; uint32_t lit; double thrust, q; } cases[] = {
    { "centre, no air", 1, 600e3, 1.0 }, { "centre, q 30 kPa", 1, 600e3, 30e3 }, { "centre, q 3 kPa", 1, 450e3, 3e3 },
    { "pair 1-5, no air", 0x22, 900e3, 1.0 }, { "pair 3-7, q 10 kPa", 0x88, 900e3, 10e3 }, { "centre and pair", 0x23, 1300e3, 1e3 } };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    rig_init(&r, cases[i].q, cases[i].lit, cases[i].thrust);
    tilt(&r, 8.0, 6.0, 0.0);
    result_t x = fly(&r, cases[i].name, 8.0, 0.5);
    CHECK(x.settle_s < 5.0 && x.over_deg < 1.0 && x.tail_rate_deg_s < 0.1 && x.end_deg < 0.15);
    rig_init(&r, cases[i].q, cases[i].lit, cases[i].thrust);
    r.disturb[1] = 0.15 * cases[i].thrust * 1.5; /* as much as 1 deg of thrust misalignment */
    r.cm_shift_y = 0.05;
    x = fly(&r, "  disturbed", 10.0, 0.5);
    CHECK(x.end_deg < 0.2 && x.tail_rate_deg_s < 0.1);
  }
}

/* A command that turns at 3 deg/s, new every 20 ms: little lag. */
static void turning(void)
{
  static rig_t r;
  double worst = 0.0, err[3];
  rig_init(&r, 1e3, 1, 600e3);
  for (int i = 0; i < 4000; i++) {
    if (i % 20 == 0) {
      double phi[3] = { 0.0, 3.0 * FSW_DEG * 1e-3 * i, 0.0 };
      fsw_q_from_rotvec(phi, r.g.q_cmd_bl);
      r.g.t_ns = (r.tick + 1) * 1000000;
    }
    rig_tick(&r);
    fsw_attitude_error(r.g.q_cmd_bl, r.q, err);
    if (i > 2000) worst = fsw_max(worst, fabs(err[1]) / FSW_DEG);
  }
  printf("turning at 3 deg/s: lags %.2f deg\n", worst);
  CHECK(worst < 0.7);
}

static void with_notch(void)
{
  static rig_t r;
  rig_init(&r, 1e3, 1, 600e3);
  r.p.notch_hz = 2.5;
  tilt(&r, 8.0, 6.0, 0.0);
  result_t x = fly(&r, "centre, notch at 2.5 Hz", 8.0, 0.5);
  CHECK(x.settle_s < 5.0 && x.over_deg < 1.0 && x.tail_rate_deg_s < 0.1);
}

static void one_off_axis(void)
{
  static rig_t r;
  rig_init(&r, 10e3, 2, 450e3); /* 1.6 m at 12.7 m: all of the gimbal's 7 deg; fins do the rest */
  result_t x = fly(&r, "one off-axis engine, q 10 kPa", 10.0, 2.0);
  CHECK(x.end_deg < 0.5 && x.tail_rate_deg_s < 0.2);
  rig_init(&r, 1.0, 2, 450e3);
  r.p.engine_y_m[1] = 1.0;
  tilt(&r, 3.0, 3.0, 0.0);
  x = fly(&r, "one engine 1 m off axis, no air", 12.0, 1.0);
  CHECK(x.end_deg < 0.7 && x.tail_rate_deg_s < 0.4);
  rig_init(&r, 1.0, 3, 1200e3); /* centre and one: throttles lean to the centre */
  x = fly(&r, "centre and one, no air", 8.0, 0.5);
  CHECK(r.c.throttle[0] > 0.95 && r.c.throttle[1] < r.c.throttle[0] - 0.1 && x.end_deg < 0.3);
}

static void no_engines(void)
{
  static rig_t r;
  rig_init(&r, 30e3, 0, 0.0);
  r.g.phase = FSW_PHASE_AERO;
  tilt(&r, 8.0, -6.0, 10.0);
  result_t x = fly(&r, "fins, q 30 kPa, with roll", 8.0, 0.5);
  CHECK(x.settle_s < 4.0 && x.end_deg < 0.15 && fabs(x.end_roll_deg) < 0.6 && x.tail_rate_deg_s < 0.1 && r.gas_s < 0.5);
  rig_init(&r, 30e3, 0, 0.0);
  r.g.phase = FSW_PHASE_AERO;
  r.fin_stuck = 1.0;
  r.fin[0] = 5.0 * FSW_DEG;
  x = fly(&r, "fins, q 30 kPa, fin 0 stuck 5 deg", 12.0, 0.5);
  CHECK(x.end_deg < 0.5 && x.tail_rate_deg_s < 0.3);
  rig_init(&r, 20.0, 0, 0.0);
  r.g.phase = FSW_PHASE_AERO;
  tilt(&r, 8.0, 6.0, 0.0);
  x = fly(&r, "thrusters, q 20 Pa", 30.0, 1.0);
  CHECK(x.settle_s < 20.0 && x.end_deg < 1.0 && x.tail_rate_deg_s < 0.3);
  rig_init(&r, 20.0, 1, 500e3);
  tilt(&r, 0.0, 0.0, 8.0);
  x = fly(&r, "roll by thrusters, centre engine", 20.0, 1.0);
  CHECK(fabs(x.end_roll_deg) < 1.5);
}

static void sharing(void)
{
  fsw_control_params_t p;
  double u[9], effect[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };
  defaults(&p);
  memset(u, 0, sizeof u);
  CHECK(fsw_share_thrust(&p, effect, 0x22, 2 * 0.8 * 814e3, 1.0, u) == 0);
  CHECK(fsw_abs(u[1] - 0.8) < 1e-9 && fsw_abs(u[5] - 0.8) < 1e-9 && u[0] == 0.0);
  effect[1] = 0.7; /* a weak one: it is opened, the other takes the rest */
  CHECK(fsw_share_thrust(&p, effect, 0x22, 2 * 0.8 * 814e3, 1.0, u) == 0);
  CHECK(fsw_abs(u[1] * 0.7 + u[5] - 1.6) < 1e-9 && fsw_abs(u[1] - 1.0) < 1e-9);
  CHECK(fsw_share_thrust(&p, effect, 0x1, 2e6, 1.0, u) == 1 && u[0] == 1.0);
  CHECK(fsw_share_thrust(&p, effect, 0x1, 1e3, 1.0, u) == 1 && u[0] == 0.5);
  CHECK(fsw_share_thrust(&p, effect, 0, 1e3, 1.0, u) == 0);
}

static void bad_numbers(void)
{
  static rig_t r;
  rig_init(&r, 1e3, 1, 500e3);
  r.g.q_cmd_bl[0] = NAN;
  rig_tick(&r);
  for (int k = 0; k < 18; k++) CHECK(r.tvc.gimbal_rad[k] == 0.0);
  rig_init(&r, 1e3, 1, 500e3);
  r.in[2] = NULL; /* no sequencer bound, no fins, no thrusters */
  r.out[1] = r.out[2] = NULL;
  for (int i = 0; i < 100; i++) rig_tick(&r);
  CHECK(r.c.thrust_est_n == 0.0);
}

int main(void)
{
  engines();
  turning();
  with_notch();
  one_off_axis();
  no_engines();
  sharing();
  bad_numbers();
  printf("test_control: %d failures\n", failures);
  return failures != 0;
}
