/* nav_task.c - task "gnc.nav": feeds the filter from topics, watches for silence, publishes solution, status and events. */
#include "nav_internal.h"

#include "flightsw/events.h"
#include "flightsw/math.h"
#include "flightsw/vec.h"

#define IN_IMU 0U
#define IN_GNSS 1U
#define IN_RADALT (IN_GNSS + FSW_NAV_GNSS)
#define IN_BARO (IN_RADALT + FSW_NAV_RADALT)
#define STATUS_EVERY 20

/* ---- solution -------------------------------------------------------------------------------------------------------------------- */

static uint8_t quality(const fsw_nav_state_t *s)
{
  const fsw_nav_filter_t *f = &s->f;
  double all = fsw_v3_dot(f->r_e, f->r_e) + fsw_v3_dot(f->v_e, f->v_e) + f->q_be[0] + f->q_be[1] + f->q_be[2] + f->q_be[3];
  if (!fsw_isfinite(all) || s->t_held_ns >= FSW_NAV_HOLD_MAX_NS || s->imu_count == 0U) return 3;
  if (s->t_gap_ns > FSW_NAV_SILENT_PERIODS * s->period_ns) return 2;
  return f->t_ns - s->t_fix_ns > LOST_NS ? 1 : 0;
}

/* From the IMU in e to the body origin in l: v_b = v - C (omega_eb x l), with omega_eb = omega_ib - C^T omega_ie. */
void fsw_nav_solution(const fsw_nav_state_t *s, fsw_nav_t *out)
{
  const fsw_nav_filter_t *f = &s->f;
  double a[3];
  double b[3];
  __builtin_memset(out, 0, sizeof *out);
  out->t_valid_ns = f->t_ns;
  for (int i = 0; i < 3; i++) out->omega_bl_b[i] = f->omega_b[i] - FSW_NAV_OMEGA_E * f->c_be[6 + i];
  fsw_m3_mulv(f->c_be, s->lever_imu, a);
  for (int i = 0; i < 3; i++) a[i] = f->r_e[i] - a[i] - s->site_e[i];
  fsw_m3_mulv(s->c_le, a, out->r_bl_l);
  fsw_v3_cross(out->omega_bl_b, s->lever_imu, a);
  fsw_m3_mulv(f->c_be, a, b);
  fsw_v3_sub(f->v_e, b, b);
  fsw_m3_mulv(s->c_le, b, out->v_bl_l);
  fsw_q_mul(s->q_le, f->q_be, out->q_bl);
  fsw_v3_copy(f->f_b, out->f_b);
  out->quality = quality(s);
  out->valid = out->quality < 3U ? 1 : 0;
}

/* Adds d (c u)^2 of one column to the variances of the first n_blocks vehicle blocks along the axes of l. */
static void add_column(const double c_le[9], const double *u, uint32_t n_blocks, double d, double var[9])
{
  for (uint32_t b = 0; b < 3U * n_blocks; b += 3U) {
    double t[3];
    fsw_m3_mulv(c_le, u + b, t);
    for (uint32_t i = 0; i < 3U; i++) var[b + i] += d * t[i] * t[i];
  }
}

/* Standard deviations of the three vehicle blocks along the axes of l. */
static void sigmas(const fsw_nav_state_t *s, double *sigma_l[3])
{
  double var[9] = {0.0};
  for (uint32_t j = 0; j < FSW_NAV_NX; j++) {
    double col[FSW_NAV_NX] = {0.0};
    const double *uj = s->f.u + j * (j - 1U) / 2U;
    for (uint32_t i = 0; i < j; i++) col[i] = uj[i];
    col[j] = 1.0;
    if (s->f.d[j] > 0.0) add_column(s->c_le, col, j / 3U + 1U, s->f.d[j], var);
  }
  for (uint32_t j = FSW_NAV_NX; j < FSW_NAV_N; j++)
    if (s->f.d[j] > 0.0) add_column(s->c_le, s->f.u + j * (j - 1U) / 2U, 3U, s->f.d[j], var);
  for (uint32_t b = 0; b < 3U; b++)
    for (uint32_t i = 0; i < 3U; i++) sigma_l[b][i] = fsw_sqrt(fsw_max(var[3U * b + i], 0.0));
}

void fsw_nav_status(const fsw_nav_state_t *s, fsw_nav_status_t *out)
{
  __builtin_memset(out, 0, sizeof *out);
  out->t_valid_ns = s->f.t_ns;
  double *sigma[3] = {out->sigma_r_m, out->sigma_v_m_s, out->sigma_att_rad};
  sigmas(s, sigma);
  fsw_v3_copy(s->f.b_a, out->bias_a_m_s2);
  fsw_v3_copy(s->f.b_g, out->bias_g_rad_s);
  out->nis_gnss = s->nis_gnss;
  out->nis_radalt = s->nis_radalt;
  out->accepted = s->accepted;
  out->rejected = s->rejected;
  for (uint32_t k = 0; k < FSW_NAV_GNSS; k++)
    out->gnss_used = (uint8_t)(out->gnss_used | (s->src[k].used ? 1U << k : 0U));
  for (uint32_t k = 0; k < FSW_NAV_RADALT; k++)
    out->radalt_used = (uint8_t)(out->radalt_used | (s->src[SRC_RADALT + k].used ? 1U << k : 0U));
}

/* ---- task ---------------------------------------------------------------------------------------------------------------------------- */

/* A topic that was written since the last look; the counter starts at 0, the first write makes it 1. */
static bool fresh(const fsw_io_t *io, uint32_t k, uint32_t *seen)
{
  if (!io->in[k] || !io->in_head[k] || io->in_head[k]->tick < 0 || io->in_head[k]->seq == *seen) return false;
  *seen = io->in_head[k]->seq;
  return true;
}

static void take_imu(fsw_io_t *io, fsw_nav_state_t *s, const fsw_nav_params_t *p)
{
  const fsw_imu_voted_t *z = io->in[IN_IMU];
  if (fresh(io, IN_IMU, &s->imu_head_seq) && z->valid && fsw_nav_on_imu(s, p, z->t_valid_ns, z->dtheta_b, z->dv_b) == 0) {
    s->t_gap_ns = 0;
    s->t_held_ns = 0;
    return;
  }
  fsw_nav_silence(s, p, io->dt_ns);
}

static int32_t step(fsw_io_t *io)
{
  fsw_nav_state_t *s = io->state;
  const fsw_nav_params_t *p = io->params;
  fsw_events_t *ev = io->out[2];
  if (ev) ev->count = 0;
  take_imu(io, s, p);
  for (uint32_t k = 0; k < FSW_NAV_GNSS; k++)
    if (fresh(io, IN_GNSS + k, &s->src[k].head_seq)) (void)fsw_nav_on_gnss(s, p, k, io->in[IN_GNSS + k], ev);
  for (uint32_t k = 0; k < FSW_NAV_RADALT; k++)
    if (fresh(io, IN_RADALT + k, &s->src[SRC_RADALT + k].head_seq)) (void)fsw_nav_on_radalt(s, p, k, io->in[IN_RADALT + k], ev);
  if (fresh(io, IN_BARO, &s->src[SRC_BARO].head_seq)) (void)fsw_nav_on_baro(s, p, io->in[IN_BARO], ev);
  nav_src_watch(s, ev);
  fsw_nav_solution(s, io->out[0]);
  if (io->out[1] && io->tick % STATUS_EVERY == 0) fsw_nav_status(s, io->out[1]);
  else io->publish &= ~2U;
  if (!ev || ev->count == 0U) io->publish &= ~4U;
  return 0;
}

static void init(void *state, const void *params) { fsw_nav_init(state, params); }

static const fsw_port_t reads[] = {
  FSW_READ("imu_voted", fsw_imu_voted_t),
  FSW_READ_N("gnss", fsw_gnss_t, FSW_NAV_GNSS, 0),
  FSW_READ_N("radalt", fsw_radalt_t, FSW_NAV_RADALT, 0),
  FSW_READ_OPT("baro", fsw_baro_t),
};
static const fsw_port_t writes[] = {
  FSW_WRITE("nav", fsw_nav_t),
  FSW_WRITE_OPT("nav_status", fsw_nav_status_t),
  FSW_WRITE_OPT("nav_events", fsw_events_t),
};

FSW_TASK(fsw_task_gnc_nav, "gnc.nav", step, init, fsw_nav_state_t, fsw_nav_params_t, reads, writes,
         "Strapdown navigation in the Earth-fixed frame with a UD error-state filter (GNSS, radar altimeters, barometer).");
