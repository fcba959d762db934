"""What the tests of the navigation filter against its reference share: random states, parameters, the way between Python and C."""

from pathlib import Path

import numpy as np

from flightsw import _core
from flightsw import nav_reference as ref
from flightsw.params import parse_struct

ffi, lib = _core.ffi, _core.lib
ROOT = Path(__file__).resolve().parents[1]
N, NU = lib.FSW_NAV_N, lib.FSW_NAV_NU
LONG = np.longdouble
FIELDS = ("r_e", "v_e", "q_be", "b_a", "b_g", "s_a", "s_g", "b_n", "b_ra", "b_baro")
# 1-sigma of the error state in a landing: what errors of the covariance are measured against
SIGMA = np.repeat([1, 0.1, 1e-3, 0.01, 2e-5, 3e-4, 2e-4, 1, 0.05], [3] * 8 + [2])


def parameters(**given):
    """fsw_nav_params_t: defaults of nav.h at the landing site of the synthetic booster, IMU in the body origin."""
    text = (ROOT / "native" / "include" / "flightsw" / "nav.h").read_text("utf-8")
    values = {name: f.default for name, f in parse_struct(text, "fsw_nav_params_t").items() if not name.startswith("pad")}
    values |= {"site_lat_deg": 28.4857, "site_lon_deg": -80.5449, "site_height_m": 12.0 - 38.3, "imu_x_m": 0.0, "gnss_x_m": 2.0}
    values |= {"gnss_y_m": 1.7, "radalt_x_m": -38.0, "radalt_y_m": 1.7, "radalt_plume_m": 0.0, "imu_period_ms": 5.0, "cov_period_ticks": 4}
    values |= given
    p = ffi.new("fsw_nav_params_t *")
    for name, value in values.items():
        old = getattr(p, name)
        if isinstance(old, ffi.CData):
            setattr(p, name, list(value) if isinstance(value, list) else [value] * len(old))
        else:
            setattr(p, name, int(value) if isinstance(old, int) else float(value))
    return p


def settings(s, p):
    """The same for the reference."""
    dph = np.pi / 180 / 3600
    return ref.Settings(
        vrw=s.vrw,
        arw=s.arw,
        period_s=p.imu_period_ms * 1e-3,
        cov_period=p.cov_period_ticks,
        accel_gm=p.accel_bias_gm_m_s2,
        gyro_gm=p.gyro_bias_gm_deg_h * dph,
        bias_tau=p.bias_tau_s,
        gnss_gm=p.gnss_gm_m,
        gnss_tau=p.gnss_gm_tau_s,
        radalt_bias=p.radalt_bias_m,
        radalt_tau=p.radalt_bias_tau_s,
        baro_bias=p.baro_bias_m,
        baro_tau=p.baro_bias_tau_s,
    )


def doubles(x):
    """double * onto a new contiguous copy of x, which the caller must keep: (pointer, array)."""
    a = np.ascontiguousarray(x, dtype=np.float64).copy()
    return ffi.cast("double *", ffi.from_buffer(a)), a


def array(c, kind=LONG):
    """A C array or number as numpy."""
    return np.asarray(list(c) if isinstance(c, ffi.CData) else c, dtype=kind)


def put(f, x):
    """State -> fsw_nav_filter_t."""
    for name in (*FIELDS, "omega_b", "f_b", "dth_p", "dv_p", "g_e"):
        value = getattr(x, name)
        setattr(f, name, [float(v) for v in value] if np.ndim(value) else float(value))
    f.q_sum = list(f.q_be)
    f.c_be = [float(v) for v in ref.dcm(array(f.q_be)).ravel()]


def get(f):
    """fsw_nav_filter_t -> State in extended precision."""
    names = (*FIELDS, "omega_b", "f_b", "dth_p", "dv_p", "g_e")
    return ref.State(**{name: array(getattr(f, name)) for name in names})


def covariance(f):
    return ref.unpack_ud(array(f.u), array(f.d))


def set_covariance(f, u, d):
    f.u, f.d, f.x = [float(v) for v in u], [float(v) for v in d], [0.0] * N
    f.sum_dt, f.sum_dv, f.sum_dth = 0.0, [0.0] * 3, [0.0] * 3


def random_ud(rng, sigma=SIGMA):
    """Factors of a random covariance with about these sigmas and strong correlations."""
    a = rng.normal(size=(N, N + 4)).astype(LONG) * np.asarray(sigma, dtype=LONG)[:, None]
    p = a @ a.T / (N + 4)
    u, d = np.zeros(NU, dtype=LONG), np.zeros(N, dtype=LONG)
    for j in reversed(range(N)):
        d[j] = p[j, j]
        if d[j] > 0:
            col = p[:j, j] / d[j]
            u[j * (j - 1) // 2 : j * (j + 1) // 2] = col
            p[:j, :j] -= d[j] * np.outer(col, col)
    return u.astype(np.float64), d.astype(np.float64)


def random_state(rng, height=(0.0, 2e5), speed=2500.0, rate=1.0):
    """A state of the flight envelope: anywhere on the Earth, any attitude, biases and scale factors of several sigma."""
    r_e, _ = ref.site(rng.uniform(-1.57, 1.57), rng.uniform(-np.pi, np.pi), rng.uniform(*height))
    q = ref.quat_normalize(rng.normal(size=4))
    small = {"b_a": 0.05, "b_g": 1e-4, "s_a": 1e-3, "s_g": 1e-3, "b_n": 3.0}
    x = ref.State(r_e, rng.normal(size=3) * speed / 2, q, **{k: rng.normal(size=3) * v for k, v in small.items()})
    x.b_ra, x.b_baro = rng.normal() * 0.05, rng.normal() * 5
    x.omega_b, x.f_b = rng.normal(size=3) * rate / 2, rng.normal(size=3) * 20
    x.dth_p, x.dv_p = x.omega_b * 0.005, x.f_b * 0.005
    x.g_e = ref.gravity(x.r_e)
    return x


def distance(p, q):
    """Largest difference of two covariances, relative to the standard deviations of q."""
    sigma = np.sqrt(np.diag(q))
    sigma = np.where(sigma > 0, sigma, 1)
    return float(np.max(np.abs(p - q) / np.outer(sigma, sigma)))


def c_transition(t):
    """Transition -> fsw_nav_transition_t."""
    c = ffi.new("fsw_nav_transition_t *")
    c.dt, c.w_z, c.q_v, c.q_psi = float(t.dt), float(ref.OMEGA_E * t.dt), float(t.q_v), float(t.q_psi)
    g = t.gradient * t.dt
    c.g_dt = [float(g[i, k]) for i, k in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))]
    c.c, c.u_e = [float(v) for v in t.c.ravel()], [float(v) for v in t.c @ t.dv]
    c.dv, c.dth = [float(v) for v in t.dv], [float(v) for v in t.dth]
    return c


def random_transition(rng, x=None, dt=0.02):
    x = x or random_state(rng)
    noise = 2.5e-7 * dt, 2e-10 * dt
    a = (ref.gravity_gradient(x.r_e), ref.dcm(x.q_be), rng.normal(size=3) * 20 * dt, rng.normal(size=3) * 0.3 * dt)
    return ref.Transition(LONG(dt), *(v.astype(LONG) for v in a), LONG(noise[0]), LONG(noise[1]))
