"""Honesty of the navigation filter: Monte Carlo over the synthetic booster flight, errors against the filter's own covariance.

By default 8 flights per filter (about 15 s in all), seeds fixed, over the kept truth of the data set. FLIGHTSW_NAV_RUNS=100 (or 50)
is the full campaign of about 3 minutes: the same seeds and more, narrower limits, a filter that differs little from the right one
must be caught as well, and the truth is computed anew by the data set's generator (20 to 40 s; kept in the file that
FLIGHTSW_NAV_TRUTH names, if it names one).

Limits on means over N flights follow the scatter of one flight's time mean, measured over 100 flights: NEES per state 0.13 (white
GNSS) to 0.29 (correlated), of a block of three states 0.13 to 0.75, RMS errors about a third of their value, NIS 0.012. A right
filter has 79 to 99 % of its instants inside the 95 % band in batches of 100 flights: errors are correlated along a flight.
"""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from flightsw import _core
from flightsw.params import parse_struct

ffi, lib = _core.ffi, _core.lib
ROOT = Path(__file__).resolve().parents[1]
RUNS = int(os.environ.get("FLIGHTSW_NAV_RUNS", "8"))
FULL = RUNS >= 50
RMS_SLACK = 1.0 if FULL else 1.25  # on RMS bars
START_S, DT_S, EVERY = 0.6, 0.005, 20
pytestmark = pytest.mark.timeout(600 if FULL else 120)


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(data_set):
    return data_set("estimation")


@pytest.fixture(scope="module")
def synth(folder):
    """The data set's own generator and scoring."""
    pytest.importorskip("scipy")
    score = load("score", folder / "score.py")
    return load("generate", folder / "booster_synth" / "generate.py"), score


@pytest.fixture(scope="module")
def truth(synth, folder, tmp_path_factory):
    """As generate.make_truth() describes it."""
    if FULL:
        return synth[0].load_truth(os.environ.get("FLIGHTSW_NAV_TRUTH") or str(tmp_path_factory.mktemp("nav") / "truth.npz"))
    return kept_truth(*synth, np.loadtxt(folder / "booster_synth" / "truth.csv.gz", delimiter=","))


def kept_truth(generate, score, rows):
    """Truth from the kept file. Its error-free increments are found by inverting the equations of motion, with the midpoint rule;
    they add up to those of the generator within the file's rounding (5e-4 m/s at top speed) and 3e-6 rad."""
    flight = generate.Flight()
    lat, lon = np.deg2rad(rows[:, 1]), np.deg2rad(rows[:, 2])
    to_ned = score.ned_from_ecef(lat, lon)
    r, v = score.geodetic_to_ecef(lat, lon, rows[:, 3]), np.einsum("kji,kj->ki", to_ned, rows[:, 4:7])
    q = score.quat_multiply(score.quat_from_dcm(np.swapaxes(to_ned, 1, 2)), rows[:, 7:11])
    q *= np.cumprod(np.concatenate([[1.0], np.where(np.sum(q[1:] * q[:-1], 1) < 0, -1.0, 1.0)]))[:, None]
    half = generate.EARTH_RATE * DT_S / 2
    turn = np.broadcast_to([np.cos(half), 0.0, 0.0, np.sin(half)], q[1:].shape)
    dq = score.quat_multiply(q[:-1] * [1, -1, -1, -1], score.quat_multiply(turn, q[1:]))
    sine = np.linalg.norm(dq[:, 1:], axis=1)
    dth = dq[:, 1:] * np.where(sine > 1e-14, 2 * np.arctan2(sine, dq[:, 0]) / np.maximum(sine, 1e-14), 2.0)[:, None]
    dth[1:] -= np.cross(dth[:-1], dth[1:]) / 12  # integral of the rate: the rotation without its coning part
    free = np.array([generate.gravity_e(x) for x in r]) - 2 * np.cross([0.0, 0.0, generate.EARTH_RATE], v)
    middle = q[:-1] + q[1:]
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    felt = np.diff(v, axis=0) - 0.5 * (free[1:] + free[:-1]) * DT_S
    dv = np.einsum("kji,kj->ki", score.dcm_from_quat(middle), felt)
    first = np.zeros((1, 3))  # before START_S, where flights begin
    return {"t": rows[:, 0], "dth": np.vstack([first, dth]), "dv": np.vstack([first, dv]), "r": r, "v": v, "q": q, "tr": rows,
            "pad_e": flight.pad_e, "up_e": flight.up_e, "C_ne": flight.C_ne, "r0_e": flight.r0_e}


def parameters(**given):
    """Defaults of nav.h; the body origin is the data's reference point, its IMU."""
    text = (ROOT / "native" / "include" / "flightsw" / "nav.h").read_text("utf-8")
    values = {name: f.default for name, f in parse_struct(text, "fsw_nav_params_t").items()}
    values |= {"site_lat_deg": 28.4857, "site_lon_deg": -80.5449, "site_height_m": 12.0 - 38.3, "imu_x_m": 0.0, "gnss_x_m": 2.0,
               "gnss_y_m": 1.7, "radalt_x_m": -38.0, "radalt_y_m": 1.7, "radalt_bias_m": 0.0, "radalt_plume_m": 0.0,
               "imu_period_ms": 5.0, "cov_period_ticks": 4, "nav_init_t_s": START_S, "init_sigma_v_m_s": 0.02,
               "init_sigma_att_deg": [0.1, 0.1, 0.3]} | given
    p = ffi.new("fsw_nav_params_t *")
    for name, value in values.items():
        if not name.startswith("pad"):
            field = getattr(p, name)
            if ffi.typeof("fsw_nav_params_t").fields and isinstance(field, ffi.CData):
                for i in range(len(field)):
                    field[i] = value[i] if isinstance(value, list) else value
            else:
                setattr(p, name, int(value) if isinstance(field, int) else float(value))
    return p


def start(state, params, truth, error, score):
    """Truth plus an initial error (pad NED), as generate.initial_error defines it."""
    lib.fsw_nav_init(state, params)
    k = round(START_S / DT_S) - 1
    to_e = truth["C_ne"].T
    dq = np.concatenate([[1.0], to_e @ error[6:] / 2])
    q = score.quat_multiply(dq / np.linalg.norm(dq), truth["q"][k])
    f = state.f
    f.r_e = list(truth["r"][k] + to_e @ error[:3])
    f.v_e = list(truth["v"][k] + to_e @ error[3:6])
    f.q_be = f.q_sum = list(q)
    f.c_be = list(score.dcm_from_quat(q).ravel())


def fixes(gnss, score):
    """(t_ns, message) per fix, Earth-fixed."""
    lat, lon = np.deg2rad(gnss[:, 1]), np.deg2rad(gnss[:, 2])
    r = score.geodetic_to_ecef(lat, lon, gnss[:, 3])
    v = np.einsum("kji,kj->ki", score.ned_from_ecef(lat, lon), gnss[:, 4:7])
    out = []
    for k, row in enumerate(gnss):
        z = ffi.new("fsw_gnss_t *")
        z.t_valid_ns, z.seq, z.valid = round(row[0] * 1e9), k + 1, 1
        z.r_e, z.v_e, z.sigma_r_m, z.sigma_v_m_s = list(r[k]), list(v[k]), list(row[7:10]), list(row[10:13])
        out.append(z)
    return out


def ranges(radalt):
    out = []
    for k, row in enumerate(radalt):
        z = ffi.new("fsw_radalt_t *")
        z.t_valid_ns, z.seq, z.valid, z.range_m = round(row[0] * 1e9), k + 1, 1, row[1]
        out.append(z)
    return out


def fly(truth, data, error, params, score, gnss_until=1e9, lag_s=0.0):
    """One flight. Returns row numbers, r v q, covariances and NIS per degree of freedom of the fixes."""
    imu, gnss, radalt, _ = data
    state = ffi.new("fsw_nav_state_t *")
    start(state, params, truth, error, score)
    t_ns = np.round(imu[:, 0] * 1e9).astype(np.int64).tolist()
    increments = np.ascontiguousarray(imu[:, 1:7])
    base = ffi.cast("double *", ffi.from_buffer(increments))
    first = round(START_S / DT_S)
    z_gnss = [z for z in fixes(gnss, score) if t_ns[first - 1] < z.t_valid_ns <= gnss_until * 1e9]
    z_range = ranges(radalt)
    lag_ns, g, a = round(lag_s * 1e9), 0, 0
    rows, states, covs, nis = [], [], [], []
    p81 = np.empty((9, 9))
    for k in range(first, len(t_ns)):
        assert lib.fsw_nav_on_imu(state, params, t_ns[k], base + 6 * k, base + 6 * k + 3) == 0
        while g < len(z_gnss) and z_gnss[g].t_valid_ns + lag_ns <= t_ns[k]:
            if lib.fsw_nav_on_gnss(state, params, 0, z_gnss[g], ffi.NULL) == 1:
                nis.append(state.nis_gnss)
            g += 1
        while a < len(z_range) and z_range[a].t_valid_ns <= t_ns[k]:
            lib.fsw_nav_on_radalt(state, params, 0, z_range[a], ffi.NULL)
            a += 1
        if k % EVERY == EVERY - 1:
            lib.fsw_nav_update_covariance(state, params)
            lib.fsw_nav_covariance(state, ffi.cast("double *", ffi.from_buffer(p81)))
            rows.append(k)
            states.append([*state.f.r_e, *state.f.v_e, *state.f.q_be])
            covs.append(p81.copy())
    assert min(state.f.d) >= 0.0
    return np.array(rows), np.array(states), np.array(covs), nis


def errors(truth, rows, x, score):
    dq = score.quat_multiply(truth["q"][rows], x[:, 6:] * np.array([1, -1, -1, -1]))
    dq *= np.where(dq[:, :1] < 0, -1, 1)
    return np.hstack([truth["r"][rows] - x[:, :3], truth["v"][rows] - x[:, 3:6], 2 * dq[:, 1:]])


def campaign(synth, truth, params, sensors=None, **how):
    generate, score = synth
    err, cov, nis = [], [], []
    for k in range(RUNS):
        data = generate.sensors(truth, 1000 + k, **(sensors or {}))
        rows, x, p, n = fly(truth, data, generate.initial_error(5000 + k), params, score, **how)
        err.append(errors(truth, rows, x, score))
        cov.append(p)
        nis.append(np.mean(n))
    t = truth["t"][rows]
    return t, np.array(err), np.array(cov), float(np.mean(nis))


def rms(x):
    return float(np.sqrt(np.mean(np.sum(x**2, -1))))


def check(result, score, share):
    """Two-sided limits on the time means (1.6 and more standard deviations of N flights), then the share inside the band."""
    t, err, cov, nis = result
    widen = max(1.0, float(np.sqrt(100 / RUNS)))
    r = score.consistency(err, cov)
    print(f"NEES per degree of freedom {r['nees9']['ratio']:.3f}, NIS {nis:.3f}")  # shown by pytest -rP
    assert abs(r["nees9"]["ratio"] - 1) < 0.07 * widen, r["nees9"]
    for block in ("nees3_0", "nees3_3", "nees3_6"):
        assert abs(r[block]["ratio"] - 1) < 0.12 * widen, (block, r[block])
    assert r["nees9"]["inside"] >= share - (0.0 if FULL else 0.1), r["nees9"]
    assert r["outside_3_sigma"] < (0.006 if FULL else 0.012), r["outside_3_sigma"]
    assert abs(nis - 1) < 0.02, nis
    return t >= 438.0, err


def test_mechanisation_with_perfect_increments(synth, truth):
    """461 s with error-free increments: the equations of motion themselves (bar 0.05 m, 1e-4 m/s, 1e-4 deg)."""
    score = synth[1]
    none = np.zeros((0, 13))
    imu = np.column_stack([truth["t"], truth["dth"], truth["dv"]])
    rows, x, _, _ = fly(truth, (imu, none, none[:, :3], None), np.zeros(9), parameters(), score)
    e = errors(truth, rows, x, score)[-1]
    assert np.linalg.norm(e[:3]) < 0.05
    assert np.linalg.norm(e[3:6]) < 1e-4
    assert np.rad2deg(np.linalg.norm(e[6:])) < 1e-4


def test_accuracy_on_the_kept_flight(synth, truth):
    """Seed 20260601, started from truth: coast and landing burn."""
    generate, score = synth
    rows, x, _, _ = fly(truth, generate.sensors(truth, 20260601), np.zeros(9), parameters(), score)
    t, e = truth["t"][rows], errors(truth, rows, x, score)
    bars = {(205, 377): (0.22, 0.0105, 0.050), (438, 461): (0.20, 0.024, 0.025)}
    for (lo, hi), (r, v, a) in bars.items():
        w = e[(t >= lo) & (t <= hi)]
        print(f"{lo} to {hi} s: {rms(w[:, :3]):.3f} m, {rms(w[:, 3:6]):.4f} m/s, {np.rad2deg(rms(w[:, 6:])):.4f} deg")
        assert rms(w[:, :3]) < r
        assert rms(w[:, 3:6]) < v
        assert np.rad2deg(rms(w[:, 6:])) < a


def test_white_gnss(synth, truth):
    burn, err = check(campaign(synth, truth, parameters()), synth[1], 0.85)
    e = err[:, burn]
    assert rms(e[..., :3]) < 0.26 * RMS_SLACK
    assert rms(e[..., 3:6]) < 0.020 * RMS_SLACK
    assert np.rad2deg(rms(e[..., 6:])) < 0.030 * RMS_SLACK


def test_correlated_gnss_is_modelled(synth, truth):
    burn, err = check(campaign(synth, truth, parameters(gnss_gm_m=1.0), {"gnss_gm": 1.0}), synth[1], 0.85)
    assert rms(err[:, burn][..., :3]) < 0.90 * RMS_SLACK


def test_gnss_lost_for_the_whole_burn(synth, truth):
    t, err, _, _ = campaign(synth, truth, parameters(), gnss_until=438.0)
    end = np.einsum("ij,ntj->nti", truth["C_ne"], err[:, t > t[-1] - 0.25, :3])
    assert rms(end[..., :2]) < 1.2 * RMS_SLACK


def test_fixes_120_ms_late(synth, truth):
    """Compared with the past state: no worse than fixes of now (bar 1.03 of the landing burn's 0.26 m), and honest."""
    burn, err = check(campaign(synth, truth, parameters(), lag_s=0.12), synth[1], 0.80)
    assert rms(err[:, burn][..., :3]) < 0.27 * RMS_SLACK


WRONG = [
    ("correlated GNSS taken for white", {}, {"gnss_gm": 1.0}),
    ("no scale factors", {"accel_scale_ppm": 0.0, "gyro_scale_ppm": 0.0}, {}),
    ("lever arm omitted", {"gnss_x_m": 0.0, "gnss_y_m": 0.0}, {}),
]
NEARLY_RIGHT = [("gyro noise doubled", {"arw_deg_rt_h": 0.1}, {})]


@pytest.mark.parametrize(("name", "given", "sensors"), WRONG + (NEARLY_RIGHT if FULL else []))
def test_these_filters_are_caught(synth, truth, name, given, sensors):
    """A gate that a wrong filter passes is not a gate."""
    with pytest.raises(AssertionError):
        check(campaign(synth, truth, parameters(**given), sensors), synth[1], 0.85)
