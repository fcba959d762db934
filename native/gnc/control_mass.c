/* control_mass.c - mass properties from the propellant left, and the thrust law of an engine. */
#include "flightsw/control.h"
#include "flightsw/math.h"

/* A column of liquid standing in a tank: centre of mass above the tank bottom, and inertia about a transverse axis through it
 * (cylinder). Liquid does not follow roll, so it adds nothing about x. */
static void column(double mass, double rho, double radius, double *half, double *iyy)
{
  double height = mass / (rho * FSW_PI * radius * radius);
  *half = 0.5 * height;
  *iyy = mass * (height * height / 12.0 + radius * radius / 4.0);
}

void fsw_mass_props(const fsw_control_params_t *p, double propellant_kg, fsw_mass_props_t *out)
{
  double ox = propellant_kg * p->mixture_ratio / (1.0 + p->mixture_ratio), fuel = propellant_kg - ox;
  double half_ox, half_fuel, i_ox, i_fuel;
  column(ox, p->rho_ox_kg_m3, p->tank_radius_m, &half_ox, &i_ox);
  column(fuel, p->rho_fuel_kg_m3, p->tank_radius_m, &half_fuel, &i_fuel);
  double x_ox = p->tank_ox_x_m + half_ox, x_fuel = p->tank_fuel_x_m + half_fuel;
  double mass = p->mass_dry_kg + propellant_kg;
  double cm = (p->mass_dry_kg * p->dry_cm_x_m + ox * x_ox + fuel * x_fuel) / mass;
  double d = p->dry_cm_x_m - cm, d_ox = x_ox - cm, d_fuel = x_fuel - cm;
  out->mass_kg = mass;
  out->cm_x_m = cm;
  out->ixx_kg_m2 = p->dry_ixx_kg_m2;
  out->iyy_kg_m2 = p->dry_iyy_kg_m2 + p->mass_dry_kg * d * d + i_ox + ox * d_ox * d_ox + i_fuel + fuel * d_fuel * d_fuel;
}

/* The whole thrust follows the throttle, as in world.h: u (F_vac - (F_vac - F_sl) p / p_sl). */
double fsw_engine_thrust_n(double u, double pr, double thrust_sl_n, double thrust_vac_n)
{
  double vac = thrust_vac_n > 0.0 ? thrust_vac_n : thrust_sl_n;
  return fsw_max(0.0, u * (vac - (vac - thrust_sl_n) * pr));
}
