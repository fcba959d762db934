/* mass.c: dry body and two liquid columns in cylinders; slosh frequency. */
#include "internal.h"

/* First root of J1'(xi) = 0: the first lateral mode of a cylinder. */
#define XI1 1.8411837813406593

double fsw_slosh_factor(double radius_m, double column_m)
{
    if (!(column_m > 0.0) || !(radius_m > 0.0)) return 0.0;
    double x = fsw_exp(-2.0 * XI1 * column_m / radius_m);
    return XI1 / radius_m * (1.0 - x) / (1.0 + x);
}

/* A liquid column does not turn with the roll of its wall: no part in the roll inertia. */
static double column(double kg, double rho, double radius, double bottom, double *h, double *mid)
{
    *h = kg / (rho * FSW_PI * radius * radius);
    *mid = bottom + 0.5 * *h;
    return kg * (3.0 * radius * radius + *h * *h) / 12.0;
}

/* Mass, centre of mass and inertia from the propellant left. shape: also the slosh frequency (slow, needed now and then). */
void fsw_world_mass_update(fsw_world_t *s, const fsw_world_params_t *p, int32_t shape)
{
    double io = column(s->ox_kg, p->rho_ox_kg_m3, p->tank_radius_m, p->tank_ox_x_m, &s->ox_h_m, &s->ox_x_m);
    double iu = column(s->fuel_kg, p->rho_fuel_kg_m3, p->tank_radius_m, p->tank_fuel_x_m, &s->fuel_h_m, &s->fuel_x_m);
    double m = p->mass_dry_kg + s->ox_kg + s->fuel_kg;
    double cm = (p->mass_dry_kg * p->dry_cm_x_m + s->ox_kg * s->ox_x_m + s->fuel_kg * s->fuel_x_m) / m;
    double ld = p->dry_cm_x_m - cm, lo = s->ox_x_m - cm, lu = s->fuel_x_m - cm;
    double lateral = io + iu + p->mass_dry_kg * ld * ld + s->ox_kg * lo * lo + s->fuel_kg * lu * lu;
    s->mass_kg = m;
    s->cm_x_m = cm;
    s->inertia_kg_m2[0] = p->dry_ixx_kg_m2;
    s->inertia_kg_m2[1] = p->dry_iyy_kg_m2 + lateral;
    s->inertia_kg_m2[2] = (p->dry_izz_kg_m2 > 0.0 ? p->dry_izz_kg_m2 : p->dry_iyy_kg_m2) + lateral;
    if (shape == 0 || s->slosh_on == 0) return;
    s->slosh_k_1_m[0] = fsw_slosh_factor(p->tank_radius_m, s->ox_h_m);
    s->slosh_k_1_m[1] = fsw_slosh_factor(p->tank_radius_m, s->fuel_h_m);
}
