"""flightsw.navigation: the C filter over arrays, for a vehicle that is not a booster: a boat on a lake, made here."""

import numpy as np
import pytest

from flightsw._native import ffi, lib
from flightsw.errors import ConfigError
from flightsw.navigation import (
    OUTCOMES,
    NavigationFilter,
    Start,
    dtype,
    ecef_to_geodetic,
    geodetic_to_ecef,
    gnss_fixes,
    imu_samples,
    ned_axes,
    ned_quaternion,
    parameter_fields,
    pressures,
    quat_multiply,
    ranges,
)

FUSED, FUSED_POSITION, RESET, GATED, WAITING, INVALID, STALE, DUPLICATE, FROZEN, UNUSABLE = range(10)
LAT, LON, HEIGHT = np.deg2rad(46.4), np.deg2rad(6.5), 372.0
PARAMS = {"site_lat_deg": 46.4, "site_lon_deg": 6.5, "site_height_m": 372.0, "imu_period_ms": 10.0, "cov_period_ticks": 5,
          "gnss_x_m": 1.5, "gnss_y_m": -0.4, "init_sigma_r_m": [2.0, 2.0, 2.0], "init_sigma_v_m_s": [0.2] * 3,
          "init_sigma_att_deg": [1.0, 1.0, 2.0], "baro_sigma_m": 1.0, "baro_bias_m": 30.0, "radalt_tilt_max_deg": 85.0}
SPEED, TURN = 6.0, 0.05  # m/s, rad/s: a circle of 120 m


def boat(seconds=30.0, seed=1):
    """Heading, position and velocity on a level circle; IMU by inverting the motion, x forward, z down; a receiver on a lever arm."""
    dt, rng = 0.01, np.random.default_rng(seed)
    t = np.arange(0.0, seconds + dt / 2, dt)
    psi = TURN * t
    ned = ned_axes(LAT, LON)
    offset = SPEED / TURN * np.stack([np.sin(psi), 1 - np.cos(psi), 0 * t], -1)
    r_e = geodetic_to_ecef(LAT, LON, HEIGHT) + offset @ ned
    v_n = SPEED * np.stack([np.cos(psi), np.sin(psi), 0 * t], -1)
    v_e = v_n @ ned
    q_nb = np.stack([np.cos(psi / 2), 0 * t, 0 * t, np.sin(psi / 2)], -1)
    c_nb = np.zeros((len(t), 3, 3))
    c_nb[:, 0, 0] = c_nb[:, 1, 1] = np.cos(psi)
    c_nb[:, 1, 0], c_nb[:, 0, 1], c_nb[:, 2, 2] = np.sin(psi), -np.sin(psi), 1.0
    c_be = np.einsum("ji,njk->nik", ned, c_nb)
    g = ffi.new("double[3]")
    gravity = np.zeros_like(r_e)
    for k, r in enumerate(r_e):
        lib.fsw_nav_gravity(list(r), g)
        gravity[k] = list(g)
    omega_ie = np.array([0.0, 0.0, 7.292115e-5])
    a_e = SPEED * TURN * np.stack([-np.sin(psi), np.cos(psi), 0 * t], -1) @ ned
    f_b = np.einsum("nij,ni->nj", c_be, a_e - gravity + 2 * np.cross(omega_ie, v_e))
    w_b = np.einsum("nij,i->nj", c_be, omega_ie) + np.array([0.0, 0.0, TURN])
    mid = lambda x: 0.5 * (x[1:] + x[:-1]) * dt  # noqa: E731
    imu = imu_samples(t[1:], mid(w_b) + rng.normal(0, 1e-6, (len(t) - 1, 3)), mid(f_b) + rng.normal(0, 1e-4, (len(t) - 1, 3)))
    at = np.arange(20, len(t), 20)
    lever = np.array([1.5, -0.4, 0.0])
    r_a = r_e[at] + c_be[at] @ lever
    v_a = v_e[at] + c_be[at] @ np.cross([0.0, 0.0, TURN], lever)
    gnss = gnss_fixes(t[at], r_a + rng.normal(0, 1.0, (len(at), 3)) @ ned, v_a + rng.normal(0, 0.05, (len(at), 3)) @ ned, [1.0] * 3, [0.05] * 3)
    start = Start.geodetic(0.0, 46.4, 6.5, HEIGHT, v_n[0], q_nb[0])
    return imu, gnss, start, {"t": t, "r_e": r_e, "v_e": v_e, "q_nb": q_nb}


@pytest.fixture(scope="module")
def data():
    return boat()


def make(start, **given):
    return NavigationFilter(PARAMS | given, start)


def state_of(nav):
    return bytes(ffi.buffer(nav._state))


# ---- arrays ------------------------------------------------------------------------------------------------------------


def test_a_boat_knows_where_it_is(data):
    imu, gnss, start, truth = data
    s = make(start).run(imu, gnss, covariance=True)
    assert len(s.rows) == len(imu) == s.imu_used.sum()
    assert np.array_equal(s.rows["t_ns"], imu["t_valid_ns"])
    late = s.t_s > 15.0
    error = s.rows["r_e"] - truth["r_e"][1:]
    assert np.sqrt((error[late] ** 2).sum(1).mean()) < 1.0
    assert np.abs(s.velocity_ned()[late, 0] - SPEED * np.cos(TURN * s.t_s[late])).max() < 0.15
    q = np.abs((s.q_nb() * truth["q_nb"][1:]).sum(1))
    assert np.rad2deg(2 * np.arccos(np.clip(q[late], 0, 1))).max() < 2.5
    sigma = np.sqrt(np.einsum("nii->ni", s.covariance_ned()))
    assert np.allclose(np.sqrt(np.einsum("nii->ni", s.covariance)), s.rows["sigma"][:, :9], rtol=1e-9)
    assert np.abs(error[late] / s.rows["sigma"][late, :3]).max() < 4.5
    assert sigma[-1, 2] < 0.5 and sigma[0, 0] > 1.5


def test_chunks_and_single_samples_give_the_same_bits(data):
    imu, gnss, start, _ = data
    whole = make(start)
    s = whole.run(imu, gnss)
    parts = make(start)
    a = parts.run(imu[:1200], gnss[gnss["t_valid_ns"] <= imu[1199]["t_valid_ns"]])
    b = parts.run(imu[1200:], gnss[gnss["t_valid_ns"] > imu[1199]["t_valid_ns"]])
    assert state_of(parts) == state_of(whole)
    assert np.concatenate([a.rows, b.rows]).tobytes() == s.rows.tobytes()
    assert np.concatenate([a.outcomes, b.outcomes]).tobytes() == s.outcomes.tobytes()
    single, fixes = make(start), iter(gnss)
    nxt = next(fixes)
    for z in imu:
        assert single.imu(z["t_valid_ns"] * 1e-9, z["dtheta_b"], z["dv_b"])
        while nxt is not None and nxt["t_valid_ns"] <= z["t_valid_ns"]:
            single.measure("gnss", nxt)
            nxt = next(fixes, None)
    assert single.solution().rows.tobytes() == s.rows[-1:].tobytes()
    whole.reset()
    assert whole.run(imu, gnss).rows.tobytes() == s.rows.tobytes()


def test_looking_does_not_change_the_filter(data):
    """Rows, covariances and innovations are computed on a copy."""
    imu, gnss, start, _ = data
    seen, plain = make(start), make(start)
    seen.run(imu[:800], gnss[:40], every=1, covariance=True)
    fixes = iter(gnss[:40])
    nxt = next(fixes)
    for z in imu[:800]:
        lib.fsw_nav_on_imu(plain._state, plain._p, int(z["t_valid_ns"]), list(z["dtheta_b"]), list(z["dv_b"]))
        while nxt is not None and nxt["t_valid_ns"] <= z["t_valid_ns"]:
            message = ffi.new("fsw_gnss_t *")
            ffi.memmove(message, nxt.tobytes(), ffi.sizeof("fsw_gnss_t"))
            lib.fsw_nav_on_gnss(plain._state, plain._p, 0, message, ffi.NULL)
            nxt = next(fixes, None)
    assert list(seen._state.f.r_e) == list(plain._state.f.r_e)
    assert list(seen._state.f.u) == list(plain._state.f.u)


@pytest.mark.parametrize("age_ns", [0, 120_000_000])
def test_innovations_are_those_that_the_filter_tests(data, age_ns):
    """The filter publishes its joint NIS of position and range; ours comes from differences of predictions instead of rows."""
    imu, gnss, start, _ = data
    nav = make(start, gnss_gm_m=0.5)
    for z in imu[:1000]:
        nav.imu(z["t_valid_ns"] * 1e-9, z["dtheta_b"], z["dv_b"])
        due = gnss[gnss["t_valid_ns"] == z["t_valid_ns"] - age_ns]
        if len(due):
            out = nav.measure("gnss", due[0])
            assert out["outcome"] == FUSED
            assert out["dof"].tolist() == [3, 3]
            assert out["nis"][0] / 3 == pytest.approx(nav._state.nis_gnss, rel=1e-3)
    assert np.all(out["sigma"] > 0)
    assert 0.9 < out["sigma"][0] < 1.6  # a metre of noise, and what the filter does not know


def test_velocity_of_a_far_antenna_shares_the_uncertainty_of_the_gyro(data):
    imu, gnss, start, _ = data
    nav = make(start, gnss_x_m=100.0, gnss_y_m=0.0, gyro_bias_deg_h=3600.0)
    nav.imu(0.01, imu[0]["dtheta_b"], imu[0]["dv_b"])
    fix = gnss[0].copy()
    fix["t_valid_ns"] = 10_000_000
    sigma = nav.measure("gnss", fix)["sigma"]
    bias = np.deg2rad(1.0) * 100.0
    assert sigma[4] == pytest.approx(np.hypot(bias, 0.2), rel=0.02)  # across the lever
    assert sigma[3] == pytest.approx(np.hypot(TURN * 100.0 * np.deg2rad(2.0), 0.2), rel=0.05)  # along it: heading turns the rate's part


def test_innovations_of_a_fixed_filter_have_the_size_they_say(data):
    nis, each = [], []
    for seed in range(6):
        imu, gnss, start, _ = boat(20.0, seed)
        out = make(start).run(imu, gnss, every=100).outcomes[20:]
        nis.append(out["nis"].mean(0) / 3)
        each.append((out["innovation"] / out["sigma"]).std(0))
    assert np.all(np.abs(np.mean(nis, 0) - 1) < 0.12)
    assert np.all(np.abs(np.mean(each, 0) - 1) < 0.12)


# ---- what became of a measurement --------------------------------------------------------------------------------------


def outcomes(data, gnss, **given):
    imu, _, start, _ = data
    return make(start, **given).run(imu, gnss, every=100).outcomes


def test_reasons_of_rejection(data):
    gnss = data[1].copy()
    gnss["valid"][10] = 0
    gnss["r_e"][20] += 300.0
    gnss["r_e"][30] = gnss["r_e"][29]
    gnss["v_e"][40] += 9.0
    gnss["sigma_r_m"][50] = gnss["sigma_v_m_s"][50] = 0.0
    gnss["r_e"][60, 1] = np.nan
    gnss["seq"][70] = gnss["seq"][69]
    gnss["t_valid_ns"][80] += 5_000_000_000  # from the future: it comes in with the sample of that time, out of turn but in time
    out = outcomes(data, gnss)
    said = dict(zip(np.rint(out["t_valid_ns"] * 5e-9).astype(int), out["outcome"], strict=True))
    wanted = {11: INVALID, 21: GATED, 31: FROZEN, 41: FUSED_POSITION, 51: INVALID, 61: INVALID, 71: DUPLICATE}
    assert {k: OUTCOMES[said[k]] for k in wanted} == {k: OUTCOMES[v] for k, v in wanted.items()}
    assert [OUTCOMES[said[k]] for k in (12, 22, 42)] == [OUTCOMES[FUSED]] * 3
    assert out["sigma"][out["outcome"] == INVALID].max() == 0
    gated = out[out["outcome"] == GATED][0]
    assert np.abs(gated["innovation"][:3]).max() > 100 and gated["nis"][0] > 1000


def test_late_and_too_late(data):
    imu, gnss, start, _ = data
    early = gnss[:-3]  # the others would come in after the end of the data
    late = make(start).run(imu, early, delay_s={"gnss": 0.25}).outcomes
    assert set(late["outcome"]) == {FUSED}
    assert np.all(late["t_filter_ns"] - late["t_valid_ns"] == 250_000_000)
    gone = make(start).run(imu, early, delay_s={"gnss": 0.4}).outcomes
    assert set(gone["outcome"]) == {STALE}


def test_a_lying_receiver_is_rejected_then_waits(data):
    gnss = data[1].copy()
    gnss["r_e"][40:60] += [0.0, 0.0, 80.0]
    out = outcomes(data, gnss)["outcome"]
    assert set(out[40:60]) == {GATED}
    assert out[60:64].tolist() == [WAITING] * 4
    assert set(out[64:]) == {FUSED}


def test_a_wrong_filter_is_reset(data):
    """Position and velocity of the only receiver contradict the filter together, for half a second."""
    imu, gnss, start, _ = data
    wrong = Start(0.0, [x + 500.0 for x in start.r_e], [x + 20.0 for x in start.v_e], start.q_be)
    out = make(wrong).run(imu, gnss).outcomes["outcome"]
    assert out[0] == GATED
    assert RESET in out[:6]
    assert set(out[10:]) == {FUSED}


def test_two_units_altimeter_and_barometer(data):
    imu, gnss, start, _ = data
    t = np.arange(0.5, 30.0, 0.5)
    p = 101325.0 * (1 - 372.0 / 44330.77) ** (1 / 0.19026324)
    nav = make(start)
    s = nav.run(imu, [gnss, gnss], ranges(t, np.full(len(t), 50.0)), pressures(t, np.full(len(t), p)), every=10)
    of = lambda kind, unit: s.outcomes[(s.outcomes["kind"] == kind) & (s.outcomes["unit"] == unit)]["outcome"]  # noqa: E731
    assert len(of(1, 0)) == len(of(1, 1)) == len(gnss)
    assert set(of(1, 1)) == {FUSED}
    assert set(of(2, 0)) == {UNUSABLE}  # its beam leaves along -x, level here
    assert set(of(3, 0)) == {FUSED}
    assert s.outcomes[s.outcomes["kind"] == 3]["dof"].tolist() == [[1, 0]] * len(t)
    assert s.outcomes[s.outcomes["kind"] == 3]["nis"][0, 0] == pytest.approx(
        (s.outcomes[s.outcomes["kind"] == 3]["innovation"][0, 0] / s.outcomes[s.outcomes["kind"] == 3]["sigma"][0, 0]) ** 2)


def test_refused_imu_samples_are_marked(data):
    imu, gnss, start, _ = data
    bad = imu.copy()
    bad["dtheta_b"][100, 0] = np.nan
    bad["valid"][200] = 0
    used = make(start).run(bad, gnss).imu_used
    assert np.flatnonzero(~used).tolist() == [100, 200]


# ---- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "text"), [
    ({"gnss_x": 1.0}, 'gnss_x: unknown parameter, did you mean "gnss_x_m"?'),
    ({"gnss_x_m": 500.0}, "gnss_x_m: 500 is out of range, allowed -200 to 200"),
    ({"arw_deg_rt_h": float("nan")}, "arw_deg_rt_h: nan is not a finite number"),
    ({"cov_period_ticks": 2.5}, "cov_period_ticks: 2.5 is not a whole number"),
    ({"init_sigma_r_m": [1.0]}, "init_sigma_r_m: 1 numbers given, 3 wanted"),
    ({"baro_sigma_m": True}, "baro_sigma_m: True is not a number"),
])
def test_bad_parameters_are_refused(given, text):
    with pytest.raises(ConfigError) as caught:
        NavigationFilter(PARAMS | given)
    assert text in str(caught.value)


def test_the_site_must_be_given_and_sensors_sit_at_the_origin():
    with pytest.raises(ConfigError) as caught:
        NavigationFilter({})
    assert [p.key for p in caught.value.problems] == ["site_lat_deg", "site_lon_deg", "site_height_m"]
    nav = NavigationFilter({"site_lat_deg": 0.0, "site_lon_deg": 0.0, "site_height_m": 0.0})
    assert list(nav._state.lever_gnss) == list(nav._state.lever_radalt) == [0.0, 0.0, 0.0]
    assert parameter_fields()["gnss_x_m"].default == 0.0


def test_bad_arrays_are_refused(data):
    imu, gnss, start, _ = data
    nav = make(start)
    for args, how, text in [((gnss,), {}, "imu: an array of fsw_imu_t"), ((imu, [gnss] * 3), {}, "gnss: 3 units given, allowed at most 2"),
                            ((imu, gnss), {"delay_s": {"gps": 0.1}}, "delay_s.gps"), ((imu,), {"every": 0}, "every"),
                            ((imu[::4],), {}, "imu_period_ms: is 10, but the samples are 40 ms apart")]:
        before = state_of(nav)
        with pytest.raises(ConfigError, match=text.replace("(", r"\(")):
            nav.run(*args, **how)
        assert state_of(nav) == before
    with pytest.raises(KeyError):
        nav.measure("imu", imu[0])
    with pytest.raises(IndexError):
        nav.measure("gnss", gnss[0], 2)
    for bad in (Start(0.0, [0.0] * 3, [0.0] * 3, [1.0, 0.0, 0.0, 0.0]), Start(0.0, start.r_e, [np.nan] * 3, start.q_be),
                Start(-1.0, start.r_e, start.v_e, start.q_be), Start(0.0, start.r_e, start.v_e, [0.0] * 4)):
        with pytest.raises(ConfigError, match="start"):
            make(bad)


def test_hostile_messages_leave_a_sound_state(data):
    """Values of every size in every field: the state stays finite, no variance becomes negative."""
    imu, _, start, _ = data
    rng = np.random.default_rng(5)
    nav, n = make(start), 3000
    wild = np.zeros(n, dtype("fsw_gnss_t"))
    pool = np.array([0.0, -1.0, 1e-300, 1e300, np.inf, -np.inf, np.nan, 6.4e6, 1e9, 1.0])
    for name in ("r_e", "v_e", "sigma_r_m", "sigma_v_m_s"):
        wild[name] = rng.choice(pool, (n, 3))
    near = rng.random(n) < 0.5
    wild["r_e"][near] = np.array(start.r_e) + rng.normal(0, 100, (near.sum(), 3))
    wild["t_valid_ns"] = np.sort(rng.integers(0, int(imu["t_valid_ns"][-1]), n))
    wild["seq"], wild["valid"] = rng.integers(0, 2**32, n), 1
    s = nav.run(imu, wild, every=10, covariance=True)
    assert len(s.outcomes) == n
    for name in ("r_e", "v_e", "q_be", "sigma"):
        assert np.isfinite(s.rows[name]).all()
    assert min(nav._state.f.d) >= 0.0


# ---- frames ------------------------------------------------------------------------------------------------------------


def test_geodetic_round_trip_and_the_cores_own_frames():
    rng = np.random.default_rng(2)
    lat, lon, h = rng.uniform(-1.57, 1.57, 500), rng.uniform(-3.1, 3.1, 500), rng.uniform(-400, 2e5, 500)
    back = ecef_to_geodetic(geodetic_to_ecef(lat, lon, h))
    assert np.allclose(back[0], lat, rtol=0, atol=1e-12) and np.allclose(back[1], lon, rtol=0, atol=1e-12)
    assert np.allclose(back[2], h, rtol=0, atol=1e-5)
    site, dcm, q = (ffi.new("double[]", n) for n in (3, 9, 4))
    for k in range(20):
        lib.fsw_nav_site(lat[k], lon[k], h[k], site, dcm, q)
        assert np.allclose(geodetic_to_ecef(lat[k], lon[k], h[k]), list(site), rtol=0, atol=1e-6)
        east, north, up = np.array(list(dcm)).reshape(3, 3)
        assert np.allclose(ned_axes(lat[k], lon[k]), [north, east, -up], rtol=0, atol=1e-12)
        v = rng.normal(size=3)
        turned = quat_multiply(quat_multiply(ned_quaternion(lat[k], lon[k]), np.r_[0, v]), ned_quaternion(lat[k], lon[k]) * [1, -1, -1, -1])
        assert np.allclose(turned[1:], ned_axes(lat[k], lon[k]) @ v, rtol=0, atol=1e-12)
