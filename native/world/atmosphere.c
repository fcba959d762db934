/* atmosphere.c: US Standard Atmosphere 1976 (NOAA-S/T 76-1562), layer formulas of its part 1, up to 86 km.
 * Molecular-scale temperature is used throughout (the kinetic one differs by up to 0.04 % between 80 and 86 km). */
#include "internal.h"

#define R_AIR (8314.32 / 28.9644) /* J/(kg K), the standard's constants */
#define R0_M 6356766.0            /* effective Earth radius of the standard */
#define N_LAYER 8

typedef struct {
    double h_m;  /* geopotential base */
    double t_k;
    double lapse_k_m;
    double p_pa;
} fsw_layer_t;

/* Bases by the standard's table 4; pressures continued by its own formulas at 40 digits. The last row carries on isothermally. */
static const fsw_layer_t LAYER[N_LAYER] = {
    {0.0, 288.15, -0.0065, 101325.0},
    {11000.0, 216.65, 0.0, 22632.06397346293},
    {20000.0, 216.65, 0.001, 5474.888669677779558},
    {32000.0, 228.65, 0.0028, 868.0186847552273301},
    {47000.0, 270.65, 0.0, 110.9063055549658773},
    {51000.0, 270.65, -0.0028, 66.93887311868726604},
    {71000.0, 214.65, -0.002, 3.956420428040728654},
    {84852.0, 186.946, 0.0, 0.3733835899762157843},
};

void fsw_air_us76(double h_m, fsw_air_t *air)
{
    double z = fsw_clamp(h_m, -5000.0, 1e6);
    double k = R0_M / (R0_M + z);
    double h = k * z;
    int i = 0;
    while (i < N_LAYER - 1 && h >= LAYER[i + 1].h_m) i++;
    const fsw_layer_t *l = &LAYER[i];
    double d = h - l->h_m;
    double t = l->t_k + l->lapse_k_m * d;
    double p;
    if (l->lapse_k_m > 0.0 || l->lapse_k_m < 0.0)
        p = l->p_pa * fsw_exp(-G0 / (R_AIR * l->lapse_k_m) * fsw_log(t / l->t_k));
    else
        p = l->p_pa * fsw_exp(-G0 / (R_AIR * l->t_k) * d);
    double rt = R_AIR * t;
    double dhdz = k * k;
    air->t_k = t;
    air->p_pa = p;
    air->rho_kg_m3 = p / rt;
    air->sound_m_s = fsw_sqrt(1.4 * rt);
    air->inv_scale_1_m = dhdz * (G0 / rt + l->lapse_k_m / t);
    air->dp_pa_m = -dhdz * G0 * air->rho_kg_m3;
    air->low_m = i > 0 ? R0_M * l->h_m / (R0_M - l->h_m) : -1e9;
    air->high_m = i < N_LAYER - 1 ? R0_M * LAYER[i + 1].h_m / (R0_M - LAYER[i + 1].h_m) : 1e9;
}
