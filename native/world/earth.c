/* earth.c: ellipsoid, local frames, J2 gravitation. */
#include "internal.h"

static double flattening(const fsw_earth_t *earth) { return earth->inv_f > 0.0 ? 1.0 / earth->inv_f : 0.0; }

void fsw_earth_from_geodetic(const fsw_earth_t *earth, double lat_rad, double lon_rad, double h_m, double r_e[3])
{
    double sl, cl, so, co;
    fsw_sincos(lat_rad, &sl, &cl);
    fsw_sincos(lon_rad, &so, &co);
    double f = flattening(earth);
    double e2 = f * (2.0 - f);
    double n = earth->a_m / fsw_sqrt(1.0 - e2 * sl * sl);
    r_e[0] = (n + h_m) * cl * co;
    r_e[1] = (n + h_m) * cl * so;
    r_e[2] = (n * (1.0 - e2) + h_m) * sl;
}

double fsw_earth_height(const fsw_earth_t *earth, const double r_e[3], double normal_e[3])
{
    double p2 = r_e[0] * r_e[0] + r_e[1] * r_e[1];
    double p = fsw_sqrt(p2);
    double r = fsw_max(fsw_sqrt(p2 + r_e[2] * r_e[2]), 1.0);
    double f = flattening(earth);
    double e2 = f * (2.0 - f);
    double b = earth->a_m * (1.0 - f);
    double ep2b = e2 / ((1.0 - f) * (1.0 - f)) * b;
    /* parametric latitude u, then one step of Bowring's iteration; written with sine and cosine so that poles are no exception */
    double su = r_e[2] * (1.0 - f) * (1.0 + ep2b / r);
    double cu = p;
    double k = 1.0 / fsw_max(fsw_sqrt(su * su + cu * cu), 1e-9);
    su *= k;
    cu *= k;
    double s = r_e[2] + ep2b * su * su * su;
    double c = p - e2 * earth->a_m * cu * cu * cu;
    k = 1.0 / fsw_max(fsw_sqrt(s * s + c * c), 1e-9);
    s *= k;
    c *= k;
    double ip = p > 1e-6 ? c / p : 0.0;
    normal_e[0] = r_e[0] * ip;
    normal_e[1] = r_e[1] * ip;
    normal_e[2] = s;
    return p * c + r_e[2] * s - earth->a_m * fsw_sqrt(1.0 - e2 * s * s);
}

void fsw_earth_local(double lat_rad, double lon_rad, double r_le[9])
{
    double sl, cl, so, co;
    fsw_sincos(lat_rad, &sl, &cl);
    fsw_sincos(lon_rad, &so, &co);
    r_le[0] = -so;
    r_le[1] = co;
    r_le[2] = 0.0;
    r_le[3] = -sl * co;
    r_le[4] = -sl * so;
    r_le[5] = cl;
    r_le[6] = cl * co;
    r_le[7] = cl * so;
    r_le[8] = sl;
}

void fsw_earth_gravitation(const fsw_earth_t *earth, const double r_e[3], double g_e[3])
{
    double r2 = fsw_max(dot3(r_e, r_e), 1.0);
    double ir2 = 1.0 / r2;
    double k = earth->gm_m3_s2 * ir2 / fsw_sqrt(r2);
    double j = 1.5 * earth->j2 * earth->a_m * earth->a_m * ir2;
    double z2 = 5.0 * r_e[2] * r_e[2] * ir2;
    double kxy = -k * (1.0 + j * (1.0 - z2));
    g_e[0] = kxy * r_e[0];
    g_e[1] = kxy * r_e[1];
    g_e[2] = -k * (1.0 + j * (3.0 - z2)) * r_e[2];
}
