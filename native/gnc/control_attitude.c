/* control_attitude.c - attitude error to moment. See control.h. */
#include "flightsw/control.h"
#include "flightsw/math.h"
#include "flightsw/vec.h"

/* Swing and twist: q = q_swing(y, z) q_twist(x), both of at most half a turn. */
void fsw_attitude_error(const double q_cmd_bl[4], const double q_bl[4], double err_b[3])
{
  double conj[4], q[4];
  fsw_q_conj(q_cmd_bl, conj);
  fsw_q_mul(conj, q_bl, q);
  (void)fsw_q_normalize(q);
  double n = fsw_sqrt(q[0] * q[0] + q[1] * q[1]);
  double c = 1.0, s = 0.0;
  if (n > 1e-9) {
    c = q[0] / n;
    s = q[1] / n;
  }
  if (c < 0.0) {
    c = -c;
    s = -s;
  }
  /* swing seen from the body: q_twist q_swing' with the swing axis turned back by the twist */
  double t[4] = { c, -s, 0.0, 0.0 }, w[4];
  fsw_q_mul(t, q, w);
  double sy = w[2], sz = w[3], sw = w[0];
  if (sw < 0.0) {
    sy = -sy;
    sz = -sz;
    sw = -sw;
  }
  double m = fsw_sqrt(sy * sy + sz * sz);
  double f = m > 1e-9 ? 2.0 * fsw_atan2(m, sw) / m : 2.0;
  err_b[0] = 2.0 * fsw_atan2(s, c);
  err_b[1] = f * sy;
  err_b[2] = f * sz;
}

double fsw_slew_rate(double err_rad, double k_1_s, double a_rad_s2, double rate_max_rad_s)
{
  double e_lin = a_rad_s2 / (k_1_s * k_1_s);
  double w = err_rad <= e_lin ? k_1_s * err_rad : fsw_sqrt(2.0 * a_rad_s2 * (err_rad - 0.5 * e_lin));
  return fsw_min(w, rate_max_rad_s);
}

/* Symmetric second-order notch, transposed direct form II. */
static double notch(fsw_control_state_t *s, int axis, double x)
{
  double *z = &s->notch_z[2 * axis];
  double y = s->notch_b[0] * x + z[0];
  z[0] = s->notch_b[1] * x - s->notch_a[0] * y + z[1];
  z[1] = s->notch_b[2] * x - s->notch_a[1] * y;
  return y;
}

/* Moment about one axis from the angular acceleration wanted. What is asked is bounded, and the integrator waits while it is: it learns
 * disturbances, not slews. Its limit leaves the thrusters out: a dead band is no place to integrate in. */
static double demand(fsw_control_state_t *s, const fsw_control_params_t *p, double inertia, int i, double alpha, double dt_s)
{
  double kw = i == 0 ? p->kw_roll_1_s : p->kw_1_s, ki = i == 0 ? p->ki_roll_1_s : p->ki_1_s;
  /* never hides from the thrusters what their dead band has to see */
  double most = fsw_max(p->demand_share * s->limit_b[i] / inertia, 3.0 * kw * p->thruster_on_rad_s);
  double limit = p->integral_share * s->firm_b[i] / inertia, step = ki * alpha * dt_s;
  if (s->sat_b[i] * step > 0.0 || fsw_abs(alpha) > p->integral_band * most) step = 0.0;
  s->wi[i] = fsw_clamp(s->wi[i] + step, -limit, limit);
  return inertia * (fsw_clamp(alpha, -most, most) + s->wi[i]);
}

/* Rate of the commanded attitude from one command to the next, for tilt; bounded and filtered, because commands can jump. */
void fsw_control_lead(fsw_control_state_t *s, const fsw_control_params_t *p, const double q_cmd_bl[4], int64_t t_ns, int64_t now_ns)
{
  double step_s = (double)(t_ns - s->t_cmd_ns) * 1e-9, turn[3], most = p->rate_max_deg_s * FSW_DEG;
  if (t_ns == s->t_cmd_ns) { /* no news; a command that stays is one that stands still */
    if (now_ns - t_ns > 200000000) fsw_v3_set(0.0, 0.0, 0.0, s->lead);
    return;
  }
  int usable = s->t_cmd_ns != 0 && step_s > 0.0 && step_s < 0.2;
  fsw_attitude_error(s->q_cmd, q_cmd_bl, turn);
  double a = usable ? step_s / (p->lead_tau_s + step_s) : 0.0;
  for (int i = 1; i < 3; i++) {
    double rate = usable ? fsw_clamp(turn[i] / step_s, -most, most) : 0.0;
    s->lead[i] += a * (rate - s->lead[i]);
  }
  for (int i = 0; i < 4; i++) s->q_cmd[i] = q_cmd_bl[i];
  s->t_cmd_ns = t_ns;
}

void fsw_control_moment(fsw_control_state_t *s, const fsw_control_params_t *p, const fsw_mass_props_t *mp,
                        const double err_b[3], const double omega_b[3], double dt_s, double m_b[3])
{
  double lp = dt_s * 2.0 * FSW_PI * p->rate_lp_hz;
  lp = s->ready ? lp / (1.0 + lp) : 1.0;
  s->ready = 1;
  for (int i = 0; i < 3; i++) s->omega_f[i] += lp * (omega_b[i] - s->omega_f[i]);

  double a_roll = p->authority_share * s->limit_b[0] / mp->ixx_kg_m2;
  double a_tilt = p->authority_share * fsw_min(s->limit_b[1], s->limit_b[2]) / mp->iyy_kg_m2;
  double roll = fsw_abs(err_b[0]), tilt = fsw_sqrt(err_b[1] * err_b[1] + err_b[2] * err_b[2]);
  double w_roll = fsw_slew_rate(roll, p->kp_roll_1_s, a_roll, p->roll_rate_max_deg_s * FSW_DEG);
  double w_tilt = fsw_slew_rate(tilt, p->kp_1_s, a_tilt, p->rate_max_deg_s * FSW_DEG);
  double k = tilt > 1e-12 ? w_tilt / tilt : p->kp_1_s;
  double ff = p->lead_share;
  double cmd[3] = { err_b[0] > 0.0 ? -w_roll : w_roll, ff * s->lead[1] - k * err_b[1], ff * s->lead[2] - k * err_b[2] };

  for (int i = 0; i < 3; i++) {
    double inertia = i == 0 ? mp->ixx_kg_m2 : mp->iyy_kg_m2;
    double alpha = (i == 0 ? p->kw_roll_1_s : p->kw_1_s) * (cmd[i] - s->omega_f[i]);
    m_b[i] = demand(s, p, inertia, i, alpha, dt_s);
    if (i == 0) continue;
    if (p->notch_hz > 0.0) m_b[i] = notch(s, i - 1, m_b[i]);
  }
}
