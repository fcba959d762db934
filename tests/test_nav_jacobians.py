"""Every Jacobian of the navigation filter by central differences of the nominal model (flightsw/nav_reference.py).

Differences are taken in extended precision with the five-point formula, whose error is of fourth order in the step, so that 1e-6
of a block means the Jacobian and not the difference quotient. What the filter leaves out on purpose (the gradient of J2 and of the
centrifugal term; what the tilt does to the Earth's rotation, and the gyro scale factor, in the antenna velocity) is bounded by its
effect at one sigma of the states.
"""

from dataclasses import replace

import numpy as np
import pytest
from nav_reference_support import (
    LONG,
    NU,
    SIGMA,
    N,
    array,
    c_transition,
    doubles,
    ffi,
    get,
    lib,
    parameters,
    put,
    random_state,
    set_covariance,
)

from flightsw import nav_reference as ref

pytestmark = pytest.mark.skipif(np.finfo(LONG).nmant < 60, reason="long double is no more than double on this machine")
STEP = np.repeat([10.0, 1.0, 1e-2, 10.0, 0.3, 0.1, 0.1, 1.0, 1.0], [3] * 8 + [2]).astype(LONG)
BLOCKS = {"r": ref.R, "v": ref.V, "psi": ref.PSI, "b_a": ref.B_A, "b_g": ref.B_G, "s_a": ref.S_A, "s_g": ref.S_G, "b_n": ref.B_N}
EARTH = np.array([0, 0, ref.OMEGA_E])


def differentiate(function, n=N):
    """Derivative of function(error state) at zero by columns, five points each."""
    columns = []
    for j in range(n):
        h = np.zeros(N, dtype=LONG)
        h[j] = STEP[j]
        columns.append((8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * STEP[j]))
    return np.array(columns).T


def long_state(rng, **how):
    x = random_state(rng, **how)
    return ref.State(**{k: np.asarray(v, dtype=LONG) if np.ndim(v) else LONG(v) for k, v in vars(x).items()})


def perturbed(x, e, dt):
    """x with its error e; the IMU errors also act on the increments of the interval before, which the coning and sculling terms use."""
    y = ref.inject(x, e)
    dth_z = (x.dth_p + x.b_g * dt) if not x.s_g.any() else x.dth_p * (1 + x.s_g) + x.b_g * dt
    dv_z = (x.dv_p + x.b_a * dt) if not x.s_a.any() else x.dv_p * (1 + x.s_a) + x.b_a * dt
    return replace(y, dth_p=ref.clean_increment(dth_z, y.b_g, y.s_g, dt), dv_p=ref.clean_increment(dv_z, y.b_a, y.s_a, dt))


def transition(seed, dt, steps, rate):
    """Numeric and the filter's transition over some steps of constant rate and specific force, without IMU errors."""
    rng = np.random.default_rng(seed)
    x = long_state(rng)
    x = replace(x, **{k: np.zeros(3, dtype=LONG) for k in ("b_a", "b_g", "s_a", "s_g")})
    dt = LONG(dt)
    dth, dv = rng.normal(size=3).astype(LONG) * rate * dt, rng.normal(size=3).astype(LONG) * 20 * dt
    x = replace(x, dth_p=dth, dv_p=dv)

    def fly(y):
        for _ in range(steps):
            y = ref.strapdown(y, dth, dv, dt)
        return y

    end = fly(x)
    numeric = differentiate(lambda e: ref.difference(fly(perturbed(x, e, dt)), end))
    flight = ref.Filter(x, np.eye(N, dtype=LONG), ref.Settings(0, 0, float(dt), 10**6, 0, 0, 300))
    for _ in range(steps):
        flight.on_imu(dth, dv, dt)
    return numeric, flight.transition()


def relative(numeric, matrix):
    """Error of every block that is not zero, relative to its largest element; (rows, columns) -> error."""
    out = {}
    for a in ("r", "v", "psi"):
        for b in BLOCKS:
            want, got = numeric[BLOCKS[a], BLOCKS[b]], matrix[BLOCKS[a], BLOCKS[b]]
            size = np.max(np.abs(want))
            if size == 0 or (size < 1e-12 and not got.any()):
                assert not got.any(), (a, b)
                continue
            noise = 2e-12 / STEP[BLOCKS[b]][0] if a == "r" else 0  # what rounding of 6.4e6 m does to the difference quotient
            out[a, b] = float(max(np.max(np.abs(want - got)) - noise, 0) / size)
    return out


def central_gravity(r_e):
    return -ref.GM_E / np.sqrt(r_e @ r_e) ** 3 * r_e


@pytest.mark.parametrize("seed", range(5))
def test_gravity_gradient(seed):
    """The central gradient to 1e-9; against all of gravity it lacks J2 and the centrifugal term: 1.3 per cent at most."""
    x = long_state(np.random.default_rng(seed))
    gradient = ref.gravity_gradient(x.r_e)
    whole = differentiate(lambda e: ref.gravity(x.r_e + e[:3]), 3)
    central = differentiate(lambda e: central_gravity(x.r_e + e[:3]), 3)
    size = np.max(np.abs(gradient))
    assert np.max(np.abs(central - gradient)) < 1e-9 * size
    assert 1e-4 * size < np.max(np.abs(whole - gradient)) < 0.013 * size


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dt", [0.001, 0.005])
def test_every_block_of_the_transition(seed, dt, monkeypatch):
    """One sample without rotation relative to space, central gravity: each block to 1e-6 of itself (the gradient to 5e-6: it is taken at
    the end of the interval and not in its middle, v dt / 2 r), what is zero is zero."""
    monkeypatch.setattr(ref, "gravity", central_gravity)
    numeric, t = transition(seed, dt, 1, 0.0)
    matrix = ref.transition_matrix(t)
    found = relative(numeric, matrix)
    expected = {("r", b) for b in ("r", "v", "psi", "b_a", "b_g", "s_a")} | {("v", b) for b in ("r", "v", "psi", "b_a", "b_g", "s_a")}
    assert expected | {("psi", "psi"), ("psi", "b_g")} <= set(found)
    assert max(e for block, e in found.items() if block != ("v", "r")) < 1e-6, found
    assert np.max(np.abs(numeric[9:] - matrix[9:])) < 1e-15
    assert np.max(np.abs(numeric[:9, 21:])) < 1e-12
    coriolis = numeric[ref.V, ref.V] - np.eye(3)
    assert np.max(np.abs(coriolis - (matrix[ref.V, ref.V] - np.eye(3)))) < 1e-4 * np.max(np.abs(coriolis))
    gradient = numeric[ref.V, ref.R]
    assert np.max(np.abs(gradient - matrix[ref.V, ref.R])) < 5e-6 * np.max(np.abs(gradient))


@pytest.mark.parametrize("seed", range(3))
def test_transition_while_turning(seed, monkeypatch):
    """Over several samples in a turn the leading blocks are right to second order in the interval, those of position (and what gyro
    errors do to velocity, itself of second order) to first: halving the interval quarters and halves the relative error. The Earth
    stands still here: its own rotation of 1e-6 over the interval would hide that."""
    monkeypatch.setattr(ref, "gravity", central_gravity)
    monkeypatch.setattr(ref, "OMEGA_E", 0.0)
    coarse, fine = (relative(a, ref.transition_matrix(t)) for a, t in (transition(seed, dt, 4, 0.5) for dt in (0.005, 0.0025)))
    second = [("v", "psi"), ("v", "b_a"), ("v", "s_a"), ("psi", "b_g"), ("psi", "s_g")]
    first = [("r", "psi"), ("r", "b_a"), ("r", "s_a"), ("v", "b_g"), ("v", "s_g")]
    for block in second:
        assert coarse[block] < 1e-4, block
        assert fine[block] < coarse[block] / 3.3, (block, coarse[block], fine[block])
    for block in first:
        assert coarse[block] < 0.02, block
        assert fine[block] < coarse[block] / 1.6, (block, coarse[block], fine[block])


@pytest.mark.parametrize("seed", range(3))
def test_columns_that_the_c_uses(seed, monkeypatch):
    """fsw_ud_predict with one uncertain state and no noise: the column of the transition, against the numeric one (1e-5: the smallest
    elements of position are 1e-9 of what the difference quotient rounds)."""
    monkeypatch.setattr(ref, "gravity", central_gravity)
    numeric, t = transition(seed, 0.005, 1, 0.0)
    t.q_v = t.q_psi = LONG(0)
    c = c_transition(t)
    for j in range(N):
        (pu, u), (pd, d) = doubles(np.zeros(NU)), doubles(np.zeros(N))
        d[j] = SIGMA[j] ** 2
        lib.fsw_ud_predict(pu, pd, c)
        column = numeric[:, j] * SIGMA[j]
        want = np.outer(column, column)
        scale = np.repeat([max(float(np.max(np.abs(column[k : k + 3]))), 1e-30) for k in range(0, 9, 3)], 3)
        got = ref.unpack_ud(u.astype(LONG), d.astype(LONG))
        assert np.max(np.abs(got - want)[:9, :9] / np.outer(scale, scale)) < 1e-5, j
        if j >= 9:
            assert np.max(np.abs(got - want)[:9, j] / scale / SIGMA[j]) < 1e-5, j


def test_reset_and_difference_are_inverse():
    rng = np.random.default_rng(2)
    x = long_state(rng)
    for _ in range(20):
        e = rng.normal(size=N).astype(LONG) * STEP * 10
        error = np.abs(ref.difference(ref.inject(x, e), x) - e)
        assert np.max(error[:3]) < 1e-11
        assert np.max(error[3:]) < 1e-15


# ---- measurement rows -----------------------------------------------------------------------------------------------------------------

LEVER = np.array([2.0, 1.7, -0.4], dtype=LONG)


def antenna_position(x, e):
    y = ref.inject(x, e)
    return y.r_e + ref.dcm(y.q_be) @ LEVER + y.b_n


def antenna_velocity(x, e, earth=1, scale=1):
    """The rate is that of the last sample, freed of bias (and scale factor)."""
    y = ref.inject(x, e)
    c = ref.dcm(y.q_be)
    omega = x.omega_b - e[ref.B_G] - scale * x.omega_b * e[ref.S_G]
    return y.v_e + c @ ref.cross(omega, LEVER) - earth * ref.cross(EARTH, c @ LEVER)


def over_pad(rng):
    """A state above a pad, upright within half a radian."""
    x = long_state(rng, height=(100.0, 2000.0), speed=100.0)
    pad, c_le = (a.astype(LONG) for a in ref.site(0.49, -1.4, -26.3))
    position, tilted = ref.site(0.49 + 1e-5, -1.4 - 2e-5, 700.0)[0], c_le[2] + 0.2 * rng.normal(size=3).astype(LONG)
    axis = ref.cross(np.array([1, 0, 0], dtype=LONG), tilted / np.sqrt(tilted @ tilted))
    angle = np.arctan2(np.sqrt(axis @ axis), tilted[0] / np.sqrt(tilted @ tilted))
    roll = ref.quat_from_rotvec(np.array([rng.uniform(-3, 3), 0, 0], dtype=LONG))
    q = ref.quat_multiply(ref.quat_from_rotvec(axis / np.sqrt(axis @ axis) * angle), roll)
    return replace(x, r_e=position.astype(LONG), q_be=q), pad, c_le[2]


def same_row(row, numeric):
    """To 1e-6 of the largest element of each block."""
    for block in (*(slice(k, k + 3) for k in range(0, 24, 3)), slice(24, 26)):
        size = max(float(np.max(np.abs(numeric[block]))), 1e-9)
        assert np.max(np.abs(row[block] - numeric[block])) < 1e-6 * size, (block, row[block], numeric[block])


@pytest.mark.parametrize("seed", range(8))
def test_measurement_rows(seed):
    rng = np.random.default_rng(seed)
    x, pad, up = over_pad(rng)
    now, level = ref.present(x), ref.ned(x.r_e)
    zero = np.zeros(3, dtype=LONG)
    position = differentiate(lambda e: antenna_position(x, e))
    velocity = differentiate(lambda e: antenna_velocity(x, e, earth=0, scale=0))
    for n in level:
        same_row(ref.gnss_position(x, now, LEVER, zero, n)[1], n @ position)
        same_row(ref.gnss_velocity(now, LEVER, zero, n)[1], n @ velocity)
    arm = np.array([-38.0, 1.7, 0.3], dtype=LONG)

    def slant(e):
        y = ref.inject(x, e)
        return np.atleast_1d(ref.radar_range(ref.present(y), arm, up, pad) + y.b_ra)

    def height(e):
        y = ref.inject(x, e)
        return np.atleast_1d(up @ (y.r_e - pad) + y.b_baro)

    same_row(ref.radar_altimeter(x, now, arm, up, pad, LONG(500))[1], differentiate(slant)[0])
    same_row(ref.barometer(x, now, up, pad, LONG(0), LONG(500))[1], differentiate(height)[0])


@pytest.mark.parametrize("seed", range(4))
def test_what_the_velocity_row_leaves_out_is_small(seed):
    """At one sigma of the states: less than a hundredth of the least noise that is believed (0.02 m/s), on a lever of 40 m at 0.5 rad/s
    less than a quarter of it."""
    rng = np.random.default_rng(seed)
    x, _, _ = over_pad(rng)
    x = replace(x, omega_b=x.omega_b / np.sqrt(x.omega_b @ x.omega_b) * LONG(0.5))
    whole = differentiate(lambda e: antenna_velocity(x, e))
    used = np.array([ref.gnss_velocity(ref.present(x), LEVER, np.zeros(3, dtype=LONG), n)[1] for n in np.eye(3)])
    left_out = np.sqrt(np.sum(((whole - used) * SIGMA) ** 2, axis=1))
    assert 0 < np.max(left_out) < 0.01 * 0.02 * 2
    assert np.max(left_out) * 40 / np.sqrt(LEVER @ LEVER) < 0.25 * 0.02


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_late_measurements(seed):
    """0.1 s of flight without rotation: the row on the present error times what the nominal model makes of a past error is the row
    on the past error. 3e-4: the velocity since then holds a Coriolis part of 1e-3 of it, the Earth turns by 7e-6."""
    rng = np.random.default_rng(seed)
    x, _, _ = over_pad(rng)
    x = replace(x, **{k: np.zeros(3, dtype=LONG) for k in ("b_a", "b_g", "s_a", "s_g", "omega_b", "dth_p")})
    dt, steps = LONG(0.005), 20
    dv = np.array([25.0, -1.0, 2.0], dtype=LONG) * dt
    x = replace(x, dv_p=dv)

    def fly(y):
        for _ in range(steps):
            y = ref.strapdown(y, np.zeros(3, dtype=LONG), dv, dt)
        return y

    end = fly(x)
    phi = differentiate(lambda e: ref.difference(fly(ref.inject(x, e)), end), 9)[:9]
    tau = dt * steps
    past = ref.Past(x.r_e, x.v_e, x.q_be, x.omega_b, tau, end.v_e - x.v_e - tau * end.g_e)
    back = ref.refer_to_past(tau, past.u)
    scale = np.repeat([1.0, 1.0, 5.0], 3)
    assert np.max(np.abs(back @ phi - np.eye(9)) / scale) < 3e-4
    for n in ref.ned(x.r_e):
        then = ref.gnss_position(x, ref.present(x), LEVER, np.zeros(3, dtype=LONG), n)[1][:9]
        now = ref.gnss_position(end, past, LEVER, np.zeros(3, dtype=LONG), n)[1][:9]
        assert np.max(np.abs(now @ phi - then) / scale) < 3e-4
        assert np.max(np.abs(then @ phi - then)) > 0.05  # without the reference to the past it would be far off


def c_filter(x, params):
    """A C filter in state x whose states are uncertain and uncorrelated."""
    s = ffi.new("fsw_nav_state_t *")
    lib.fsw_nav_init(s, params)
    put(s.f, x)
    set_covariance(s.f, np.zeros(NU), SIGMA**2)
    s.f.q_sum = list(s.f.q_be)
    return s


def correction(s, x):
    return ref.difference(get(s.f), x)


@pytest.mark.parametrize("seed", range(6))
def test_rows_that_the_c_uses(seed):
    """One scalar fused into uncorrelated states moves state i by P_ii h_i nu / (h P h + r): with h by differences of the nominal model.
    2e-5 of the move in sigmas; 1e-9 m is the resolution of a coordinate."""
    rng = np.random.default_rng(seed)
    lever = {"gnss_x_m": 2.0, "gnss_y_m": 1.7, "gnss_z_m": -0.4, "radalt_z_m": 0.3, "gnss_gm_m": 1.0, "radalt_tilt_max_deg": 85.0}
    p = parameters(baro_sigma_m=5.0, baro_bias_m=20.0, **lever)
    start, _, _ = over_pad(rng)
    x = get(c_filter(start, p).f)
    s = c_filter(x, p)
    up, pad, arm = array(s.c_le)[6:], array(s.site_e), array(s.lever_radalt)
    level = ref.ned(x.r_e)
    none = np.zeros(N, dtype=LONG)
    position = differentiate(lambda e: antenna_position(x, e))
    velocity = differentiate(lambda e: antenna_velocity(x, e, earth=0, scale=0))

    def check(h, nu, r, answer):
        assert answer == 1
        variance = SIGMA.astype(LONG) ** 2
        want = variance * h * nu / (h * variance @ h + r)
        got = correction(s, x)
        slack = np.repeat([2e-9, 1e-12], [3, N - 3]) + 2e-5 * np.max(np.abs(want / SIGMA)) * SIGMA
        assert np.all(np.abs(got - want) < slack), (got / SIGMA, want / SIGMA)

    for k, n in enumerate(level):
        z = ffi.new("fsw_gnss_t *")
        z.t_valid_ns, z.seq, z.valid = s.f.t_ns, 1, 1
        z.r_e, z.v_e = [float(v) for v in antenna_position(x, none)], [float(v) for v in antenna_velocity(x, none)]
        z.r_e = [a + 0.5 * float(b) for a, b in zip(z.r_e, n, strict=True)]
        z.sigma_r_m[k] = 1.5
        s = c_filter(x, p)
        answer = lib.fsw_nav_on_gnss(s, p, 0, z, ffi.NULL)
        nu = n @ (array(z.r_e) - antenna_position(x, none))
        check(n @ position, nu, LONG(1.5) ** 2, answer)

    # velocity alone: no position sigma is stated
    for k, n in enumerate(level):
        z.r_e = [float(v) for v in antenna_position(x, none)]
        z.v_e = [float(a + LONG(0.05) * b) for a, b in zip(antenna_velocity(x, none), n, strict=True)]
        z.sigma_r_m, z.sigma_v_m_s = [0.0] * 3, [0.0] * 3
        z.sigma_v_m_s[k] = 0.05
        s = c_filter(x, p)
        answer = lib.fsw_nav_on_gnss(s, p, 0, z, ffi.NULL)
        spread = LONG(s.arw) ** 2 / LONG(p.imu_period_ms * 1e-3) * (LEVER @ LEVER)
        check(n @ velocity, n @ (array(z.v_e) - antenna_velocity(x, none)), LONG(0.05) ** 2 + spread, answer)

    def slant(e):
        y = ref.inject(x, e)
        return np.atleast_1d(ref.radar_range(ref.present(y), arm, up, pad) + y.b_ra)

    r = ffi.new("fsw_radalt_t *")
    r.t_valid_ns, r.seq, r.valid, r.range_m = s.f.t_ns, 1, 1, float(slant(none)[0]) + 0.1
    s = c_filter(x, p)
    s.src[2].used, s.src[2].history = 1, 255
    answer = lib.fsw_nav_on_radalt(s, p, 0, r, ffi.NULL)
    check(differentiate(slant)[0], r.range_m - slant(none)[0], LONG(p.radalt_sigma_m + p.radalt_sigma_share * r.range_m) ** 2, answer)

    def height(e):
        y = ref.inject(x, e)
        return np.atleast_1d(up @ (y.r_e - pad) + LONG(p.site_height_m) + y.b_baro)

    b = ffi.new("fsw_baro_t *")
    b.t_valid_ns, b.seq, b.valid = s.f.t_ns, 1, 1
    b.p_pa = 101325.0 * (1 - (float(height(none)[0]) + 1.0) / 44330.77) ** (1 / 0.19026324)
    s = c_filter(x, p)
    p.baro_speed_max_m_s = 1e4
    answer = lib.fsw_nav_on_baro(s, p, b, ffi.NULL)
    check(differentiate(height)[0], LONG(lib.fsw_nav_pressure_height(b.p_pa)) - height(none)[0], LONG(p.baro_sigma_m) ** 2, answer)
