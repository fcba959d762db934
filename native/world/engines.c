/* engines.c: start and shutdown of each engine, throttle, gimbal, thrust. Engines that are off cost next to nothing. */
#include "flightsw/random.h"
#include "internal.h"

#define START_CHANNEL 200u     /* + engine */
#define MAIN_VALVES (FSW_VALVE_FUEL | FSW_VALVE_OX)
#define FIRST_ENGINE_PORT 4u
#define GAS_PA 2e4             /* inlet pressure with gas or nothing there */
#define SETTLE_S 0.5           /* without axial specific force for so long: gas at the inlets */
#define UNBURNT_SHARE 0.1      /* of the nominal flow, through an open main valve without flame */
#define UNBURNT_HARD_KG 20.0
#define PURGE_TAU_S 0.3
#define SPIKE_S 0.05
#define DIES_TAU_S 0.05
#define COARSE 5
#define OUT_FRACTION 0.004     /* below this the flame is out */

double fsw_world_inlet_pa(const fsw_world_t *s, const fsw_world_params_t *p)
{
    if (!(s->ox_kg > 0.0) || !(s->fuel_kg > 0.0) || s->unsettled_s > SETTLE_S) return GAS_PA;
    double column = fsw_max(s->ox_h_m + p->tank_ox_x_m - p->engine_x_m, 0.0);
    return p->tank_p_pa + p->rho_ox_kg_m3 * fsw_max(s->f_b[0], 0.0) * column;
}

/* At the inlet of engine k: less than in the tank where its filter or line is blocked, or gas is drawn in. */
double fsw_world_engine_inlet_pa(const fsw_world_t *s, uint32_t k, double tank_pa)
{
    if (s->faults.engine_type[k] != FSW_FAULT_LOW_INLET) return tank_pa;
    return tank_pa * fsw_clamp(s->faults.engine_severity[k], 0.0, 1.0);
}

static void take_commands(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io)
{
    for (uint32_t k = 0; k < p->n_engines; k++) {
        const fsw_engine_cmd_t *m = io->in[FIRST_ENGINE_PORT + k];
        if (m == NULL) continue;
        fsw_world_engine_t *e = &s->engine[k];
        uint32_t seq = io->in_head[FIRST_ENGINE_PORT + k]->seq;
        if (seq == e->cmd_seq) continue;
        e->cmd_seq = seq;
        e->cmd_throttle = fsw_clamp(m->throttle, 0.0, 1.0);
        e->valves = m->valves;
        if (m->valves != 0u) s->active_mask |= 1u << k;
    }
}

static int32_t can_light(const fsw_world_t *s, const fsw_world_params_t *p, const fsw_world_engine_t *e, uint32_t k)
{
    uint8_t fault = s->faults.engine_type[k];
    return (e->valves & MAIN_VALVES) == MAIN_VALVES && (e->valves & FSW_VALVE_IGNITER) != 0u && e->chill_k <= p->chill_limit_k &&
           e->inlet_pa >= p->inlet_min_pa && fault != FSW_FAULT_DIES && fault != FSW_FAULT_NO_IGNITER;
}

static void begin_dead_time(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, uint32_t k)
{
    fsw_world_engine_t *e = &s->engine[k];
    fsw_rng_t rng = {io->seed, io->stream, 0};
    double g[4];
    fsw_rng_gauss4(&rng, (int64_t)e->starts, START_CHANNEL + k, g);
    e->starts++;
    e->phase = FSW_WORLD_DEAD;
    e->clock_s = 0.0;
    e->dead_s = fsw_max(p->start_dead_s + p->start_scatter_s * g[0], 0.05);
}

static void light(const fsw_world_t *s, fsw_world_engine_t *e, uint32_t k)
{
    e->phase = FSW_WORLD_RAMP;
    e->clock_s = 0.0;
    e->spike = 0.0;
    if (s->faults.engine_type[k] == FSW_FAULT_HARD_START) e->spike = fsw_clamp(s->faults.engine_severity[k], 1.0, 10.0);
    else if (e->unburnt_kg > UNBURNT_HARD_KG) e->spike = fsw_clamp(1.0 + e->unburnt_kg / (2.0 * UNBURNT_HARD_KG), 1.0, 3.0);
    e->spike_s = e->spike > 0.0 ? SPIKE_S : 0.0;
    e->unburnt_kg = 0.0;
}

static void without_flame(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, uint32_t k, double dt)
{
    fsw_world_engine_t *e = &s->engine[k];
    if (e->phase == FSW_WORLD_OFF) {
        if (can_light(s, p, e, k)) begin_dead_time(s, p, io, k);
        else if ((e->valves & MAIN_VALVES) != 0u)
            e->unburnt_kg += UNBURNT_SHARE * p->thrust_sl_n / (G0 * p->isp_sl_s) * dt;
        else if ((e->valves & FSW_VALVE_PURGE) != 0u) e->unburnt_kg *= fsw_max(1.0 - dt / PURGE_TAU_S, 0.0);
        return;
    }
    if (!can_light(s, p, e, k)) {
        e->phase = FSW_WORLD_OFF;
        return;
    }
    e->clock_s += dt;
    uint8_t fault = s->faults.engine_type[k];
    double late = fault == FSW_FAULT_LATE_LIGHT ? fsw_clamp(s->faults.engine_severity[k], 0.0, 1e3) : 0.0;
    if (e->clock_s >= e->dead_s + late - 1e-9 && fault != FSW_FAULT_NO_LIGHT) light(s, e, k);
}

static void with_flame(fsw_world_t *s, const fsw_world_params_t *p, uint32_t k, double dt)
{
    fsw_world_engine_t *e = &s->engine[k];
    int32_t dies = s->faults.engine_type[k] == FSW_FAULT_DIES;
    if (dies && s->faults.engine_severity[k] >= 2.0) e->fire = 1;
    if (dies || (e->valves & MAIN_VALVES) != MAIN_VALVES || e->inlet_pa < p->inlet_min_pa) e->phase = FSW_WORLD_DECAY;
    e->clock_s += dt;
    if (e->phase == FSW_WORLD_RAMP) {
        e->frac = e->clock_s / fsw_max(p->start_ramp_s, 0.05);
        if (e->frac >= 1.0) {
            e->frac = 1.0;
            e->phase = FSW_WORLD_MAIN;
        }
    }
    if (e->phase == FSW_WORLD_DECAY) {
        double tau = dies ? DIES_TAU_S : p->shutdown_tau_s;
        e->frac *= 1.0 - fsw_min(dt / tau, 1.0);
        if (e->frac < OUT_FRACTION) {
            e->frac = 0.0;
            e->phase = FSW_WORLD_OFF;
        }
    }
    e->spike_s = fsw_max(e->spike_s - dt, 0.0);
}

static void throttle_valve(const fsw_world_t *s, const fsw_world_params_t *p, fsw_world_engine_t *e, uint32_t k, double dt)
{
    uint8_t fault = s->faults.engine_type[k];
    if (fault == FSW_FAULT_STUCK) return;
    double lag = fault == FSW_FAULT_SLOW ? fsw_clamp(s->faults.engine_severity[k], 0.0, 100.0) : p->throttle_lag_s;
    double target = fsw_max(e->cmd_throttle, p->throttle_min);
    e->throttle += (target - e->throttle) * (lag > dt ? dt / lag : 1.0);
}

static void one_engine(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, uint32_t k, double dt, double full_n)
{
    fsw_world_engine_t *e = &s->engine[k];
    throttle_valve(s, p, e, k, dt);
    if (e->phase <= FSW_WORLD_DEAD) without_flame(s, p, io, k, dt);
    else with_flame(s, p, k, dt);
    double share = e->frac * e->throttle;
    if (s->faults.engine_type[k] == FSW_FAULT_LOW_PC) share *= fsw_clamp(s->faults.engine_severity[k], 0.0, 1.0);
    if (s->faults.engine_type[k] == FSW_FAULT_HIGH_PC) share *= fsw_clamp(s->faults.engine_severity[k], 1.0, 3.0);
    e->thrust_n = share * full_n;
    e->pc_pa = share * p->pc_nominal_pa;
    if (e->spike_s > 0.0) e->pc_pa = e->spike * p->pc_nominal_pa;
    if (e->phase == FSW_WORLD_OFF && e->valves == 0u) {
        s->active_mask &= ~(1u << k);
        e->thrust_n = e->pc_pa = 0.0;
    }
}

static void gimbal(fsw_world_t *s, const fsw_world_params_t *p, uint32_t k, double dt)
{
    double *g = s->engine[k].gimbal_rad;
    double c0 = s->gimbal_cmd_rad[2u * k], c1 = s->gimbal_cmd_rad[2u * k + 1u];
    uint8_t fault = s->faults.gimbal_type[k];
    if (fault == 0u && fsw_abs(c0 - g[0]) < 1e-7 && fsw_abs(c1 - g[1]) < 1e-7) return;
    double limit = p->gimbal_max_deg * FSW_DEG;
    double most = p->gimbal_rate_deg_s * FSW_DEG * dt;
    double gain = p->gimbal_lag_s > dt ? dt / p->gimbal_lag_s : 1.0;
    if (fault != 0u) {
        if (fault == FSW_FAULT_STUCK) return;
        if (fault == FSW_FAULT_SLOW) most *= fsw_clamp(s->faults.gimbal_severity[k], 0.0, 1.0);
        if (fault == FSW_FAULT_OFF) c0 = c1 = 0.0;
        if (fault == FSW_FAULT_WRONG) c0 = s->faults.gimbal_severity[k] < 0.0 ? -limit : limit;
    }
    g[0] = servo(g[0], c0, most, gain, limit);
    g[1] = servo(g[1], c1, most, gain, limit);
}

/* Those of silent engines move no force: they are followed in coarser steps. */
static void gimbals(fsw_world_t *s, const fsw_world_params_t *p, int64_t tick, double dt)
{
    int32_t coarse = tick % COARSE == 0;
    uint32_t all = (1u << p->n_engines) - 1u;
    for (uint32_t k = 0, todo = coarse ? all : s->active_mask & all; todo >> k != 0u; k++) {
        if ((todo >> k & 1u) == 0u || !(p->engine_gimballed[k] > 0.5)) continue;
        gimbal(s, p, k, (s->active_mask >> k & 1u) != 0u ? dt : COARSE * dt);
    }
}

static void burn(fsw_world_t *s, const fsw_world_params_t *p, double total_n, double dt)
{
    double x = s->p_pa / P0;
    double isp = fsw_max(p->isp_vac_s + (p->isp_sl_s - p->isp_vac_s) * x, 1.0);
    s->flow_kg_s = total_n / (G0 * isp);
    double fuel = s->flow_kg_s * dt / (1.0 + p->mixture_ratio);
    s->fuel_kg = fsw_max(s->fuel_kg - fuel, 0.0);
    s->ox_kg = fsw_max(s->ox_kg - fuel * p->mixture_ratio, 0.0);
}

void fsw_world_engines_update(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, double dt)
{
    take_commands(s, p, io);
    gimbals(s, p, io->tick, dt);
    s->unsettled_s = s->f_b[0] > 0.02 * G0 ? 0.0 : s->unsettled_s + dt;
    s->ramp = 0.0;
    s->flow_kg_s = 0.0;
    if (s->active_mask == 0u) return;
    double inlet = fsw_world_inlet_pa(s, p);
    double vac = p->thrust_vac_n > 0.0 ? p->thrust_vac_n : p->thrust_sl_n;
    double full = fsw_max(vac + (p->thrust_sl_n - vac) * (s->p_pa / P0), 0.0);
    double total = 0.0;
    for (uint32_t k = 0; s->active_mask >> k != 0u; k++) {
        if ((s->active_mask >> k & 1u) == 0u) continue;
        s->engine[k].inlet_pa = fsw_world_engine_inlet_pa(s, k, inlet);
        one_engine(s, p, io, k, dt, full);
        total += s->engine[k].thrust_n;
        s->ramp = fsw_max(s->ramp, s->engine[k].frac);
    }
    if (total > 0.0) burn(s, p, total, dt);
}

static void add_force(const fsw_world_params_t *p, fsw_step_t *c, uint32_t k, const double f[3])
{
    double r[3] = {p->engine_x_m - c->cm_x, p->engine_y_m[k], p->engine_z_m[k]};
    double m[3];
    cross3(r, f, m);
    for (int i = 0; i < 3; i++) {
        c->force[i] += f[i];
        c->moment[i] += m[i];
    }
}

/* Series to 1e-10 up to 0.3 rad: gimbals move every step. */
static inline void small_sincos(double x, double *s, double *c)
{
    double z = x * x;
    if (z > 0.09) {
        fsw_sincos(x, s, c);
        return;
    }
    *s = x * (1.0 - z * (1.0 / 6.0) * (1.0 - z * (1.0 / 20.0) * (1.0 - z * (1.0 / 42.0))));
    *c = 1.0 - z * 0.5 * (1.0 - z * (1.0 / 12.0) * (1.0 - z * (1.0 / 30.0) * (1.0 - z * (1.0 / 56.0))));
}

void fsw_world_engines_thrust(const fsw_world_t *s, fsw_step_t *c)
{
    const fsw_world_params_t *p = c->p;
    c->jet = 0.0;
    if (s->active_mask == 0u) return;
    for (uint32_t k = 0; s->active_mask >> k != 0u; k++) {
        const fsw_world_engine_t *e = &s->engine[k];
        if (!(e->thrust_n > 0.0) && !(e->spike_s > 0.0)) continue;
        double sa, ca, sb, cb;
        small_sincos(e->gimbal_rad[0], &sa, &ca);
        small_sincos(e->gimbal_rad[1], &sb, &cb);
        double f[3] = {e->thrust_n * ca * cb, e->thrust_n * sb, -e->thrust_n * sa * cb};
        if (e->spike_s > 0.0) { /* one-sided: outwards, +y for a central engine */
            double side = p->hard_start_side_share * e->spike * p->thrust_sl_n;
            double y = p->engine_y_m[k], z = p->engine_z_m[k];
            double d = fsw_sqrt(y * y + z * z);
            f[1] += d > 1e-3 ? side * y / d : side;
            f[2] += d > 1e-3 ? side * z / d : 0.0;
        }
        add_force(p, c, k, f);
    }
    double arm = p->engine_x_m - c->cm_x;
    c->jet = -p->jet_damping * s->flow_kg_s * arm * arm;
}

/* Pump temperatures; slow, so the caller does it every few steps. */
void fsw_world_chill(fsw_world_t *s, const fsw_world_params_t *p, double dt)
{
    for (uint32_t k = 0; k < p->n_engines; k++) {
        fsw_world_engine_t *e = &s->engine[k];
        int32_t cold = e->phase != FSW_WORLD_OFF || (e->valves & FSW_VALVE_CHILL) != 0u;
        double target = cold ? p->chill_cold_k : p->chill_warm_k;
        double tau = cold ? p->chill_tau_s : p->chill_warm_tau_s;
        e->chill_k += (target - e->chill_k) * fsw_min(dt / tau, 1.0);
    }
}
