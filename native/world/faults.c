/* faults.c: sorts the fault message by what each fault hits; done when the message changes. */
#include "internal.h"

static void sort_unit(uint8_t type, double severity, uint32_t first, uint32_t last, uint8_t *types, double *severities)
{
    for (uint32_t k = first; k <= last; k++) {
        types[k] = type;
        severities[k] = severity;
    }
}

static void sort_thruster(fsw_world_faults_t *f, uint8_t type, uint32_t first, uint32_t last)
{
    for (uint32_t k = first; k <= last; k++) {
        if (type == FSW_FAULT_OFF) f->thruster_off_mask |= 1u << k;
        if (type == FSW_FAULT_STUCK) f->thruster_on_mask |= 1u << k;
    }
}

/* Faults of a controller or a driver are the boards' business (boards.h) and must not hide one of the thing itself. */
static int of_a_board(uint8_t target, uint8_t type)
{
    const uint32_t engine = 1u << FSW_FAULT_OFF | 1u << FSW_FAULT_WRONG | 1u << FSW_FAULT_WRONG_B | 1u << FSW_FAULT_GARBAGE |
                            1u << FSW_FAULT_DEAF | 1u << FSW_FAULT_CORRUPT;
    if (target == FSW_TARGET_ENGINE) return type < 32u && (engine >> type & 1u) != 0u;
    return type == FSW_FAULT_GARBAGE;
}

void fsw_world_faults_sort(fsw_world_faults_t *f, const fsw_faults_t *msg, uint32_t seq)
{
    if (seq == f->seq) return;
    if (msg->count == 0u && f->any == 0u) {
        f->seq = seq;
        return;
    }
    __builtin_memset(f, 0, sizeof *f);
    f->seq = seq;
    uint32_t n = msg->count < FSW_FAULT_SLOTS ? msg->count : FSW_FAULT_SLOTS;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t limit = msg->target[i] == FSW_TARGET_THRUSTER ? FSW_MAX_THRUSTERS
                         : msg->target[i] == FSW_TARGET_FIN    ? FSW_MAX_FINS
                                                               : FSW_MAX_ENGINES;
        uint32_t first = msg->index[i] == 255u ? 0u : msg->index[i];
        uint32_t last = msg->index[i] == 255u ? limit - 1u : msg->index[i];
        if (last >= limit || of_a_board(msg->target[i], msg->type[i])) continue;
        double sev = fsw_isfinite(msg->severity[i]) ? msg->severity[i] : 0.0;
        f->any = 1u;
        if (msg->target[i] == FSW_TARGET_ENGINE) sort_unit(msg->type[i], sev, first, last, f->engine_type, f->engine_severity);
        if (msg->target[i] == FSW_TARGET_GIMBAL) sort_unit(msg->type[i], sev, first, last, f->gimbal_type, f->gimbal_severity);
        if (msg->target[i] == FSW_TARGET_FIN) sort_unit(msg->type[i], sev, first, last, f->fin_type, f->fin_severity);
        if (msg->target[i] == FSW_TARGET_THRUSTER) sort_thruster(f, msg->type[i], first, last);
    }
}
