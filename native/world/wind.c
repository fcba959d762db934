/* wind.c: profile, shear, gusts. */
#include "flightsw/random.h"
#include "internal.h"

#define GUST_CHANNEL 100u
#define GUST_PERIOD 10

void fsw_wind_profile(const fsw_world_params_t *params, double height_m, double wind_l[3], double slope_1_s[2])
{
    const fsw_world_params_t *p = params;
    double e = 0.0, n = 0.0, se = 0.0, sn = 0.0;
    uint32_t count = p->n_wind < 8u ? p->n_wind : 8u;
    if (count > 0u) {
        uint32_t i = 0;
        while (i + 2u < count && height_m >= p->wind_h_m[i + 1u]) i++;
        uint32_t j = i + 1u < count ? i + 1u : i;
        double span = p->wind_h_m[j] - p->wind_h_m[i];
        double x = height_m - p->wind_h_m[i];
        e = p->wind_east_m_s[i];
        n = p->wind_north_m_s[i];
        if (span > 0.0 && x > 0.0) {
            se = (p->wind_east_m_s[j] - e) / span;
            sn = (p->wind_north_m_s[j] - n) / span;
            double inside = fsw_min(x, span);
            e += se * inside;
            n += sn * inside;
            if (x >= span) se = sn = 0.0;
        }
    }
    slope_1_s[0] = p->wind_scale * se + p->wind_shear_east_1_s;
    slope_1_s[1] = p->wind_scale * sn + p->wind_shear_north_1_s;
    wind_l[0] = p->wind_scale * e + p->wind_shear_east_1_s * height_m;
    wind_l[1] = p->wind_scale * n + p->wind_shear_north_1_s * height_m;
    wind_l[2] = 0.0;
}

/* Every tenth step: the slow parts. Between, the caller follows the slope. */
void fsw_world_wind_update(fsw_world_t *s, const fsw_world_params_t *p, const fsw_io_t *io, double height_m, double speed_m_s,
                           double dt)
{
    if (io->tick % GUST_PERIOD != 1 && s->started > 1u) return;
    fsw_wind_profile(p, height_m, s->wind_l, s->wind_slope_1_s);
    s->wind_height_m = height_m;
    if (!(p->gust_m_s > 0.0)) return;
    /* the air passes at the airspeed, at least 3 m/s: it also changes for a vehicle at rest */
    double x = fsw_min(dt * GUST_PERIOD * fsw_max(speed_m_s, 3.0) / p->gust_length_m, 1.0);
    double decay = 1.0 - x;
    double kick = p->gust_m_s * fsw_sqrt(1.0 - decay * decay);
    fsw_rng_t rng = {io->seed, io->stream, 0};
    double g[4];
    fsw_rng_gauss4(&rng, io->tick, GUST_CHANNEL, g);
    for (int i = 0; i < 3; i++) s->gust_l[i] = decay * s->gust_l[i] + kick * g[i];
}
