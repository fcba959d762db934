"""The navigation filter in C against its readable reference (flightsw/nav_reference.py), by random states and side by side in flight.

The reference runs in extended precision, so differences are the rounding of the C. Tolerances are stated in units in the last place
of the largest term, times the operations of the path: a few for one equation, their number for a sequence.

FLIGHTSW_NAV_PAIRS=1000000 is the full run of the random predict and update pairs (default 20000).
"""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from nav_reference_support import (
    LONG,
    NU,
    SIGMA,
    N,
    array,
    c_transition,
    covariance,
    distance,
    doubles,
    ffi,
    get,
    lib,
    parameters,
    put,
    random_state,
    random_transition,
    random_ud,
    set_covariance,
    settings,
)

from flightsw import nav_reference as ref

EPS = np.finfo(np.float64).eps
PAIRS = int(os.environ.get("FLIGHTSW_NAV_PAIRS", "20000"))
pytestmark = [
    pytest.mark.timeout(600 if PAIRS > 100000 else 120),
    pytest.mark.skipif(np.finfo(LONG).nmant < 60, reason="long double is no more than double on this machine"),
]
seeds = st.integers(0, 2**32 - 1)
angles = st.floats(-np.pi, np.pi)


def near(got, want, tolerance):
    got = array(got)
    assert np.max(np.abs(got - want)) <= tolerance, (got, want)


# ---- one equation at a time --------------------------------------------------------------------------------------------------------


@budget(deadline=None)
@given(st.floats(-np.pi / 2, np.pi / 2), angles, st.floats(-1e4, 1e6))
def test_gravity_and_level_frame(lat, lon, h):
    """A few roundings each; one pass of Bowring is better than 2e-9 rad up to 1000 km (the rows only weight errors)."""
    r, c_le = ref.site(lat, lon, h)
    pointer, _keep = doubles(r)
    g, n = ffi.new("double[3]"), ffi.new("double[9]")
    lib.fsw_nav_gravity(pointer, g)
    lib.fsw_nav_ned(pointer, n)
    r = r.astype(LONG)
    near(g, ref.gravity(r), 8 * EPS * 10)
    rows = array(n).reshape(3, 3)
    near(rows, ref.ned(r), 8 * EPS)
    near(rows @ rows.T, np.eye(3), 8 * EPS)
    down = rows[2] + c_le[2]
    assert np.sqrt(down @ down) < 2e-9


@budget(deadline=None)
@given(angles, angles, st.floats(-500, 9000))
def test_site(lat, lon, h):
    r, c, q = ffi.new("double[3]"), ffi.new("double[9]"), ffi.new("double[4]")
    lib.fsw_nav_site(lat / 2, lon, h, r, c, q)
    want_r, want_c = ref.site(lat / 2, lon, h)
    near(r, want_r, 8 * EPS * 6.4e6)
    near(c, want_c.ravel(), 8 * EPS)
    near(ref.dcm(array(q)).ravel(), want_c.ravel(), 16 * EPS)


@budget(max_examples=60, deadline=None)
@given(seeds, st.floats(5e-4, 0.05), st.floats(0, 3.0))
def test_strapdown(seed, dt, rate):
    """Forty steps of random increments: up to two roundings of a coordinate per step, of velocity and attitude likewise."""
    rng = np.random.default_rng(seed)
    f = ffi.new("fsw_nav_filter_t *")
    put(f, random_state(rng))
    x = get(f)
    steps = 40
    for _ in range(steps):
        dth = rng.normal(size=3) * rate * dt / 2
        dv = rng.normal(size=3) * 60 * dt
        a, _keep_a = doubles(dth)
        b, _keep_b = doubles(dv)
        assert lib.fsw_nav_strapdown(f, a, b, dt) == 0
        x = ref.strapdown(x, dth.astype(LONG), dv.astype(LONG), LONG(dt))
    near(f.q_be, x.q_be, 8 * EPS * steps)
    near(f.c_be, ref.dcm(x.q_be).ravel(), 32 * EPS * steps)
    near(f.v_e, x.v_e, 4 * EPS * 8192 * steps)
    near(f.r_e, x.r_e, 2 * EPS * 2**23 * steps + 4 * EPS * 8192 * steps * steps * dt)
    near(f.omega_b, x.omega_b, 1e-12)
    near(f.g_e, x.g_e, 1e-13)


IMPLAUSIBLE = [(0.31, 0.1, 0.01), (0.01, 1001.0, 0.01), (0.01, 0.1, 0.0), (0.01, 0.1, 1.01), (np.nan, 0.1, 0.01), (0.01, np.inf, 0.01)]


@pytest.mark.parametrize(("dth", "dv", "dt"), IMPLAUSIBLE)
def test_implausible_increments_change_nothing(dth, dv, dt):
    f = ffi.new("fsw_nav_filter_t *")
    put(f, random_state(np.random.default_rng(1)))
    before = bytes(ffi.buffer(f))
    a, _keep_a = doubles([dth, 0, 0])
    b, _keep_b = doubles([dv, 0, 0])
    assert lib.fsw_nav_strapdown(f, a, b, dt) == -1
    assert bytes(ffi.buffer(f)) == before


@budget(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 20))
def test_transition(seed, steps):
    """The sums over several samples and the mean attitude."""
    rng = np.random.default_rng(seed)
    f = ffi.new("fsw_nav_filter_t *")
    put(f, random_state(rng))
    x = ref.Filter(get(f), np.eye(N, dtype=LONG), ref.Settings(5e-4, 1.5e-5, 0.005, 10**6, 0, 0, 300))
    for _ in range(steps):
        dth, dv = rng.normal(size=3) * 2e-3, rng.normal(size=3) * 0.2
        a, _keep_a = doubles(dth)
        b, _keep_b = doubles(dv)
        assert lib.fsw_nav_strapdown(f, a, b, 0.005) == 0
        x.on_imu(dth.astype(LONG), dv.astype(LONG), LONG(0.005))
    t = ffi.new("fsw_nav_transition_t *")
    lib.fsw_nav_transition(f, 5e-4, 1.5e-5, t)
    want = c_transition(x.transition())
    for name in ("dt", "w_z", "g_dt", "c", "u_e", "dv", "dth", "q_v", "q_psi"):
        got, expected = np.atleast_1d(array(getattr(t, name))), np.atleast_1d(array(getattr(want, name)))
        near(got, expected, 16 * EPS * steps * max(np.max(np.abs(expected)), 1e-30))


@budget(max_examples=40, deadline=None)
@given(seeds, st.floats(1e-3, 0.1))
def test_covariance_predict(seed, dt):
    """Phi P Phi^T + Q of a random, strongly correlated P: relative to the sigmas, n roundings."""
    rng = np.random.default_rng(seed)
    u, d = random_ud(rng)
    t = random_transition(rng, dt=dt)
    want = ref.propagate(ref.unpack_ud(u.astype(LONG), d.astype(LONG)), ref.transition_matrix(t), ref.noise_matrix(t))
    pu, u = doubles(u)
    pd, d = doubles(d)
    lib.fsw_ud_predict(pu, pd, c_transition(t))
    assert min(d) >= 0
    assert distance(ref.unpack_ud(u.astype(LONG), d.astype(LONG)), want) < 4 * N * EPS


@budget(max_examples=60, deadline=None)
@given(seeds, st.floats(1e-6, 1e6), st.floats(0.5, 1.0), st.integers(0, N - 1))
def test_rank_one_and_decay(seed, c, m, j):
    rng = np.random.default_rng(seed)
    u, d = random_ud(rng)
    a = rng.normal(size=N) * SIGMA
    a[j + 1 :] = 0
    want = ref.rank1(ref.unpack_ud(u.astype(LONG), d.astype(LONG)), LONG(c), a.astype(LONG))
    want = ref.decay(want, j, LONG(m))
    pu, u = doubles(u)
    pd, d = doubles(d)
    pa, _keep = doubles(a)
    lib.fsw_ud_rank1(pu, pd, c, pa, j)
    lib.fsw_ud_decay(pu, pd, N, j, m)
    assert distance(ref.unpack_ud(u.astype(LONG), d.astype(LONG)), want) < 16 * N * EPS


@budget(max_examples=60, deadline=None)
@given(seeds, st.floats(1e-3, 1e3), st.booleans())
def test_scalar_update(seed, ratio, sparse):
    """Bierman against Joseph: covariance, gain and normalised innovation; noise from a thousandth to a thousand times h P h."""
    rng = np.random.default_rng(seed)
    u, d = random_ud(rng)
    p = ref.unpack_ud(u.astype(LONG), d.astype(LONG))
    h = rng.normal(size=N) / SIGMA * (rng.random(N) < (0.3 if sparse else 1.0))
    r, x = float(h @ p @ h) * ratio + 1e-9, rng.normal(size=N) * SIGMA * 0.1
    want_p, want_x, want_nis = ref.scalar_update(p, x.astype(LONG), h.astype(LONG), LONG(1.5), LONG(r))
    (pu, u), (pd, d), (px, x), (ph, h) = doubles(u), doubles(d), doubles(x), doubles(h)
    nis = lib.fsw_ud_scalar(pu, pd, px, N, ph, 1.5, r)
    slack = 64 * N * EPS * max(1.0, 1 / ratio)
    assert distance(ref.unpack_ud(u.astype(LONG), d.astype(LONG)), want_p) < slack
    near(x / SIGMA, want_x / SIGMA, slack * 10)
    near(nis, want_nis, slack * max(float(want_nis), 1.0) * 10)


# ---- whole measurements -------------------------------------------------------------------------------------------------------------


def landing_state(rng, params):
    """A C filter above its pad, upright within 15 degrees, with a random covariance; it has flown 0.2 s, so the ring is filled."""
    s = ffi.new("fsw_nav_state_t *")
    lib.fsw_nav_init(s, params)
    x = random_state(rng)
    c_le, up = array(s.c_le, float).reshape(3, 3), array(s.c_le, float)[6:]
    x.r_e = array(s.site_e, float) + c_le.T @ [rng.normal() * 300, rng.normal() * 300, rng.uniform(100, 1500)]
    x.v_e = c_le.T @ [rng.normal() * 20, rng.normal() * 20, -rng.uniform(1, 200)]
    q_bl = ffi.new("double[4]")
    v_l, _keep = doubles([1.0, 0, 0])
    lib.fsw_nav_start_attitude(rng.uniform(-0.25, 0.25), rng.uniform(-3, 3), v_l, q_bl)
    x.q_be = ref.quat_multiply(array(s.q_le, float) * [1, -1, -1, -1], array(q_bl, float))
    put(s.f, x)
    increments = [rng.normal(size=3) * 0.1 * 0.005, (rng.normal(size=3) + np.array([25, 0, 0])) * 0.005]
    (a, _a), (b, _b) = doubles(increments[0]), doubles(increments[1])
    for _ in range(40):
        assert lib.fsw_nav_on_imu(s, params, s.f.t_ns + 5_000_000, a, b) == 0
    set_covariance(s.f, *random_ud(rng))
    s.f.q_sum = list(s.f.q_be)
    return s, up


def past_state(s, t_ns):
    """The state of the ring at t_ns by the reference's interpolation."""
    entries = [s.ring[i] for i in range(s.ring_count)]

    def convert(e):
        return ref.Past(array(e.r_e), array(e.v_e), array(e.q_be), array(e.omega_b))

    if t_ns == s.f.t_ns:
        return convert(s.f)
    old = max((e for e in entries if e.t_ns <= t_ns), key=lambda e: e.t_ns)
    new = min((e for e in [*entries, s.f] if e.t_ns > t_ns), key=lambda e: e.t_ns)
    span = LONG(new.t_ns - old.t_ns) * LONG(1e-9)
    past = ref.between(convert(old), convert(new), span, LONG(t_ns - old.t_ns) * LONG(1e-9) / span)
    past.tau = LONG(s.f.t_ns - t_ns) * LONG(1e-9)
    past.u = array(s.f.v_e) - past.v_e - past.tau * array(s.f.g_e)
    return past


def check_epoch(s, x, p, scalars):
    """The C's state and covariance against the reference's epoch. 1e-9: r is only known to 9e-10 m in double precision, and through
    innovation and gain that reaches every state; 1e-7 of a sigma elsewhere."""
    e = np.zeros(N, dtype=LONG)
    for nu, h, r in scalars:
        p, e, _ = ref.scalar_update(p, e, h, nu, r)
    want, got = ref.inject(x, e), get(s.f)
    error = ref.difference(got, want)
    near(error[:3], 0, 2e-8)
    near(error[3:] / SIGMA[3:], 0, 1e-7)
    assert distance(covariance(s.f), p) < 1e-10


def gnss_scalars(s, p, x, past, z, position=True, velocity=True):
    """Six scalars of a fix and their variances as nav.h states them."""
    lever, out = array(s.lever_gnss), []
    rows = ref.ned(past.r_e)
    spread = LONG(s.arw) ** 2 / LONG(p.imu_period_ms * 1e-3) * (lever @ lever)
    if position:
        for k in range(3):
            sd = max(z.sigma_r_m[k], p.gnss_floor_r_m)
            out.append((*ref.gnss_position(x, past, lever, array(z.r_e), rows[k]), LONG(sd) ** 2))
    if velocity:
        for k in range(3):
            sd = max(z.sigma_v_m_s[k], p.gnss_floor_v_m_s)
            out.append((*ref.gnss_velocity(past, lever, array(z.v_e), rows[k]), LONG(sd) ** 2 + spread))
    return out


@budget(max_examples=40, deadline=None)
@given(seeds, st.integers(0, 280_000_000))
def test_gnss_fix(seed, age_ns):
    """A fix of now (age 0) and late ones: innovation, rows, variances, joint gate, updates, reset."""
    rng = np.random.default_rng(seed)
    p = parameters(gnss_gm_m=1.0)
    s, _ = landing_state(rng, p)
    age_ns = 0 if age_ns > 190_000_000 else age_ns
    past = past_state(s, s.f.t_ns - age_ns)
    lever = array(s.lever_gnss)
    c = ref.dcm(past.q_be)
    z = ffi.new("fsw_gnss_t *")
    z.t_valid_ns, z.seq, z.valid = s.f.t_ns - age_ns, 1, 1
    z.sigma_r_m, z.sigma_v_m_s = [1.5, 1.5, 2.5], [0.05, 0.05, 0.08]
    z.r_e = [float(v) for v in past.r_e + c @ lever + array(s.f.b_n) + rng.normal(size=3) * 0.5]
    antenna = past.v_e + c @ ref.cross(past.omega_b, lever) - ref.cross(np.array([0, 0, ref.OMEGA_E]), c @ lever)
    z.v_e = [float(v) for v in antenna + rng.normal(size=3) * 0.02]
    x, cov = get(s.f), covariance(s.f)
    scalars = gnss_scalars(s, p, x, past, z)
    nu, rows, var = (list(v) for v in zip(*scalars[:3], strict=True))
    assert lib.fsw_nav_on_gnss(s, p, 0, z, ffi.NULL) == 1
    assert s.accepted == 6
    near(s.nis_gnss, ref.innovation_squared(cov, rows, nu, var) / 3, 1e-7)
    check_epoch(s, x, cov, scalars)


@budget(max_examples=40, deadline=None)
@given(seeds, st.integers(0, 190_000_000))
def test_radar_altimeter(seed, age_ns):
    rng = np.random.default_rng(seed)
    p = parameters()
    s, up = landing_state(rng, p)
    lever, pad = array(s.lever_radalt), array(s.site_e)
    past = past_state(s, s.f.t_ns - age_ns)
    x, cov = get(s.f), covariance(s.f)
    z = ffi.new("fsw_radalt_t *")
    z.t_valid_ns, z.seq, z.valid = s.f.t_ns - age_ns, 1, 1
    z.range_m = float(ref.radar_range(past, lever, up.astype(LONG), pad)) + rng.normal() * 0.1
    nu, h = ref.radar_altimeter(x, past, lever, up.astype(LONG), pad, LONG(z.range_m))
    s.src[2].used, s.src[2].history = 1, 255
    assert lib.fsw_nav_on_radalt(s, p, 0, z, ffi.NULL) == 1
    check_epoch(s, x, cov, [(nu, h, LONG(p.radalt_sigma_m + p.radalt_sigma_share * z.range_m) ** 2)])


@budget(max_examples=40, deadline=None)
@given(seeds, st.integers(0, 190_000_000))
def test_barometer(seed, age_ns):
    rng = np.random.default_rng(seed)
    p = parameters(baro_sigma_m=5.0, baro_bias_m=20.0)
    s, up = landing_state(rng, p)
    past = past_state(s, s.f.t_ns - age_ns)
    x, cov = get(s.f), covariance(s.f)
    z = ffi.new("fsw_baro_t *")
    z.t_valid_ns, z.seq, z.valid = s.f.t_ns - age_ns, 1, 1
    height = float(up @ (past.r_e - array(s.site_e))) + p.site_height_m + s.f.b_baro
    z.p_pa = 101325.0 * (1 - height / 44330.77) ** (1 / 0.19026324)
    read = LONG(lib.fsw_nav_pressure_height(z.p_pa))
    assert abs(read - height) < 1e-3
    nu, h = ref.barometer(x, past, up.astype(LONG), array(s.site_e), LONG(p.site_height_m), read)
    assert lib.fsw_nav_on_baro(s, p, z, ffi.NULL) == 1
    check_epoch(s, x, cov, [(nu, h, LONG(p.baro_sigma_m) ** 2)])


# ---- long sequences -------------------------------------------------------------------------------------------------------------------


def test_ten_thousand_pairs_against_dense():
    """UD in double against dense in extended precision over 10^4 random predict and update pairs: 1e-9 of the sigmas."""
    rng = np.random.default_rng(20260601)
    (pu, u), (pd, d) = doubles(np.zeros(NU)), doubles(SIGMA**2)
    px, x = doubles(np.zeros(N))
    p = np.diag(d.astype(LONG))
    pool = [random_transition(rng) for _ in range(64)]
    pool = [(c_transition(t), ref.transition_matrix(t), ref.noise_matrix(t)) for t in pool]
    worst = 0.0
    for k in range(10_000):
        c, phi, q = pool[rng.integers(64)]
        lib.fsw_ud_predict(pu, pd, c)
        p = ref.propagate(p, phi, q)
        h = rng.normal(size=N) / SIGMA * (rng.random(N) < 0.4)
        ph, h = doubles(h)
        x[:] = 0
        lib.fsw_ud_scalar(pu, pd, px, N, ph, 0.0, 2.0)
        p, _, _ = ref.scalar_update(p, np.zeros(N, dtype=LONG), h.astype(LONG), LONG(0), LONG(2.0))
        if k % 10 == 9:  # keep the biases uncertain, and forget
            for j in range(9, N):
                pa, a = doubles(np.zeros(N))
                a[j] = 1.0
                lib.fsw_ud_rank1(pu, pd, float(SIGMA[j] ** 2 * 1e-3), pa, j)
                p[j, j] += LONG(float(SIGMA[j] ** 2 * 1e-3))
            for j in range(21, N):
                lib.fsw_ud_decay(pu, pd, N, j, 0.999)
                p = ref.decay(p, j, LONG(0.999))
        if k % 100 == 99:
            worst = max(worst, distance(ref.unpack_ud(u.astype(LONG), d.astype(LONG)), p))
            assert worst < 1e-9, k
    print(f"UD against dense after 10000 pairs: {worst:.2g} of the sigmas")


def test_factors_stay_positive():
    """Random pairs with noise over fourteen decades and nearly collinear rows: D >= 0, everything finite, always."""
    rng = np.random.default_rng(7)
    (pu, u), (pd, d), (px, _x) = doubles(np.zeros(NU)), doubles((SIGMA * 1e3) ** 2), doubles(np.zeros(N))
    transitions = [c_transition(random_transition(rng, dt=10.0 ** rng.uniform(-3, -0.5))) for _ in range(256)]
    base = rng.normal(size=N) / SIGMA
    rows = [doubles(base * (1 + 1e-9 * rng.normal(size=N)) if k % 2 else rng.normal(size=N) / SIGMA) for k in range(256)]
    noises = (10.0 ** rng.uniform(-12, 2, size=256)).tolist()
    picks = rng.integers(256, size=(PAIRS, 2)).tolist()
    for k, (i, j) in enumerate(picks):
        lib.fsw_ud_predict(pu, pd, transitions[i])
        lib.fsw_ud_scalar(pu, pd, px, N, rows[j][0], 0.0, noises[i ^ j])
        if not (d.min() >= 0.0 and d.max() < 1e30):
            raise AssertionError((k, d))
        if k % 64 == 0:
            assert np.all(np.isfinite(u)), k


def test_ill_conditioned_case():
    """The case `ill_conditioning` of the estimation data set: 9 states, sigma 1e4, R 1e-16, 400 updates, every second along a nearly
    identical direction. The dense forms in double precision lose positiveness there, the factors never do."""
    rng = np.random.default_rng(3)
    n = 9
    (pu, u), (pd, d), (px, _x) = doubles(np.zeros(n * (n - 1) // 2)), doubles(np.full(n, 1e8)), doubles(np.zeros(n))
    plain = np.diag(np.full(n, 1e8))
    same = rng.normal(size=n)
    failures = dense_failures = 0
    for k in range(400):
        h = same + 1e-9 * rng.normal(size=n) if k % 2 else rng.normal(size=n)
        ph, h = doubles(h)
        lib.fsw_ud_scalar(pu, pd, px, n, ph, 0.0, 1e-16)
        failures += not (np.all(d > 0) and np.all(np.isfinite(d)) and np.all(np.isfinite(u)))
        gain = plain @ h / (h @ plain @ h + 1e-16)
        plain = plain - np.outer(gain, h @ plain)
        dense_failures += not np.linalg.eigvalsh((plain + plain.T) / 2)[0] >= 0
    assert failures == 0
    assert dense_failures > 0, "the case is not ill-conditioned"


# ---- side by side in flight -------------------------------------------------------------------------------------------------------------


def fix_message(row, seq):
    z = ffi.new("fsw_gnss_t *")
    r, c_le = ref.site(np.deg2rad(row[1]), np.deg2rad(row[2]), row[3])
    z.t_valid_ns, z.seq, z.valid = round(row[0] * 1e9), seq, 1
    z.r_e, z.v_e = list(r), list(c_le.T @ [row[5], row[4], -row[6]])
    z.sigma_r_m, z.sigma_v_m_s = list(row[7:10]), list(row[10:13])
    return z


def range_message(row, seq):
    z = ffi.new("fsw_radalt_t *")
    z.t_valid_ns, z.seq, z.valid, z.range_m = round(row[0] * 1e9), seq, 1, row[1]
    return z


def start_from(row, s, p):
    """Truth of one row into a C filter (quaternion body to NED)."""
    lat, lon = np.deg2rad(row[1]), np.deg2rad(row[2])
    r, c_le = ref.site(lat, lon, row[3])
    turn = np.array([np.cos(lon / 2), 0, 0, np.sin(lon / 2)])
    tilt = -(np.pi / 2 + lat) / 2
    q_en = ref.quat_multiply(turn, np.array([np.cos(tilt), 0, np.sin(tilt), 0]))
    put(s.f, ref.State(r, c_le.T @ [row[5], row[4], -row[6]], ref.quat_normalize(ref.quat_multiply(q_en, row[7:11]))))
    s.f.t_ns = s.t_start_ns = s.t_fix_ns = s.t_height_ns = round(row[0] * 1e9)
    lib.fsw_nav_init_covariance(s, p)


def test_landing_side_by_side(data_set):
    """Descent and landing burn of the synthetic booster, 430 s to touchdown: identical measurements to both, all that the C accepts.

    6166 strapdown steps, 1540 covariance steps, 930 GNSS scalars and 1000 ranges later the two differ by rounding: 1e-6 m (a
    coordinate has 9e-10 m resolution), 1e-6 of the other sigmas, 1e-9 in the covariance."""
    folder = data_set("estimation") / "booster_synth"
    imu, gnss, ranges, truth = (
        np.loadtxt(folder / name, delimiter=",") for name in ("imu.csv.gz", "gnss.csv.gz", "radalt.csv", "truth.csv.gz")
    )
    first = int(np.searchsorted(truth[:, 0], 430.0 - 1e-6))
    p = parameters(gnss_gm_m=1.0, baro_bias_m=20.0, init_sigma_v_m_s=0.02, init_sigma_att_deg=[0.1, 0.1, 0.3])
    s = ffi.new("fsw_nav_state_t *")
    lib.fsw_nav_init(s, p)
    start_from(truth[first], s, p)
    flight = ref.Filter(get(s.f), covariance(s.f), settings(s, p))
    fixes = {z.t_valid_ns: z for k, row in enumerate(gnss) if (z := fix_message(row, k + 1)).t_valid_ns > s.f.t_ns}
    slants = {z.t_valid_ns: z for k, row in enumerate(ranges) if (z := range_message(row, k + 1)).t_valid_ns > s.f.t_ns}
    up, pad = array(s.c_le)[6:], array(s.site_e)
    fused = [0, 0]
    begin = int(np.searchsorted(imu[:, 0], truth[first, 0] + 1e-6))
    for row in imu[begin:]:
        t_ns = round(row[0] * 1e9)
        dt_ns = t_ns - s.f.t_ns
        (a, dth), (b, dv) = doubles(row[1:4]), doubles(row[4:7])
        assert lib.fsw_nav_on_imu(s, p, t_ns, a, b) == 0
        flight.on_imu(dth.astype(LONG), dv.astype(LONG), LONG(dt_ns * 1e-9))
        if (z := fixes.get(t_ns)) and lib.fsw_nav_on_gnss(s, p, 0, z, ffi.NULL) == 1:
            flight.update_covariance()
            before = fused[0]
            fused[0] = s.accepted - fused[1]
            assert fused[0] - before == 6
            flight.fuse(gnss_scalars(s, p, flight.x, ref.present(flight.x), z))
        if (z := slants.get(t_ns)) and lib.fsw_nav_on_radalt(s, p, 0, z, ffi.NULL) == 1:
            flight.update_covariance()
            fused[1] += 1
            nu, h = ref.radar_altimeter(flight.x, ref.present(flight.x), array(s.lever_radalt), up, pad, LONG(z.range_m))
            flight.fuse([(nu, h, LONG(p.radalt_sigma_m + p.radalt_sigma_share * z.range_m) ** 2)])
    flight.update_covariance()
    lib.fsw_nav_update_covariance(s, p)
    assert fused[0] >= 0.95 * 6 * len(fixes)
    assert fused[1] >= 0.9 * len(slants)
    error = ref.difference(get(s.f), flight.x)
    apart = distance(covariance(s.f), flight.p)
    relative = float(np.max(np.abs(error[3:]) / np.sqrt(np.diag(flight.p))[3:]))
    print(f"after {len(imu) - begin} steps, {fused} scalars: {np.max(np.abs(error[:3])):.2g} m, {relative:.2g} sigma, covariance {apart:.2g}")
    near(error[:3], 0, 1e-6)
    assert relative < 1e-6
    assert apart < 1e-9
    last = truth[-1]
    position, _ = ref.site(np.deg2rad(last[1]), np.deg2rad(last[2]), last[3])
    near(flight.x.r_e, position, 1.0)  # and it is a navigation solution, not an agreement of two wrong ones
