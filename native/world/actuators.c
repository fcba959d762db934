/* actuators.c: rate- and angle-limited servos, grid fins, cold gas. */
#include "internal.h"

void fsw_world_fins_update(fsw_world_t *s, const fsw_world_params_t *p, double dt)
{
    double rate = p->fin_rate_deg_s * FSW_DEG, limit = p->fin_max_deg * FSW_DEG;
    double gain = p->fin_lag_s > dt ? dt / p->fin_lag_s : 1.0;
    for (uint32_t k = 0; k < p->n_fins; k++) {
        double command = s->fin_cmd_rad[k];
        double most = rate * dt;
        uint8_t fault = s->faults.fin_type[k];
        if (fault != 0u) {
            if (fault == FSW_FAULT_STUCK) continue;
            if (fault == FSW_FAULT_SLOW) most *= fsw_clamp(s->faults.fin_severity[k], 0.0, 1.0);
            if (fault == FSW_FAULT_OFF) command = 0.0;
        }
        if (fsw_abs(command - s->fin_rad[k]) < 1e-7) continue;
        s->fin_rad[k] = servo(s->fin_rad[k], command, most, gain, limit);
    }
}

void fsw_world_rcs_update(fsw_world_t *s, const fsw_world_params_t *p, double dt, fsw_step_t *c)
{
    uint32_t mask = (s->rcs_mask & ~s->faults.thruster_off_mask) | s->faults.thruster_on_mask;
    if (mask == 0u || !(s->gas_kg > 0.0)) return;
    for (uint32_t k = 0; k < p->n_thrusters; k++) {
        if ((mask >> k & 1u) == 0u) continue;
        double f[3] = {p->thruster_n * p->thruster_fx[k], p->thruster_n * p->thruster_fy[k], p->thruster_n * p->thruster_fz[k]};
        double r[3] = {p->thruster_x_m[k] - c->cm_x, p->thruster_y_m[k], p->thruster_z_m[k]};
        double m[3];
        cross3(r, f, m);
        for (int i = 0; i < 3; i++) {
            c->force[i] += f[i];
            c->moment[i] += m[i];
        }
        s->gas_kg -= p->thruster_n * dt / (G0 * p->thruster_isp_s);
    }
    s->gas_kg = fsw_max(s->gas_kg, 0.0);
}
