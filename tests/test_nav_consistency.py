"""Honesty of the navigation filter: Monte Carlo over the synthetic booster flight, errors against the filter's own covariance.

By default 8 flights per filter (about 15 s in all), seeds fixed, over the kept truth of the data set. FLIGHTSW_NAV_RUNS=100 (or 50)
is the full campaign of about 3 minutes: the same seeds and more, narrower limits, a filter that differs little from the right one
must be caught as well, and the truth is computed anew by the data set's generator (20 to 40 s; kept in the file that
FLIGHTSW_NAV_TRUTH names, if it names one).

Limits on means over N flights follow the scatter of one flight's time mean, measured over 100 flights: NEES per state 0.13 (white
GNSS) to 0.29 (correlated), of a block of three states 0.13 to 0.75, RMS errors about a third of their value, NIS 0.012. A right
filter has 79 to 99 % of its instants inside the 95 % band in batches of 100 flights: errors are correlated along a flight.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from nav_support import START_S, errors, fixes, fly, kept_truth, parameters, ranges, rms, start, tools

from flightsw.errors import ConfigError
from hil import Bench, nav_consistency

RUNS = int(os.environ.get("FLIGHTSW_NAV_RUNS", "8"))
FULL = RUNS >= 50
RMS_SLACK = 1.0 if FULL else 1.25  # on RMS bars
pytestmark = pytest.mark.timeout(600 if FULL else 120)


@pytest.fixture(scope="module")
def folder(data_set):
    return data_set("estimation")


@pytest.fixture(scope="module")
def synth(folder):
    """The data set's own generator and scoring."""
    pytest.importorskip("scipy")
    return tools(folder)


@pytest.fixture(scope="module")
def truth(synth, folder, tmp_path_factory):
    """As generate.make_truth() describes it."""
    if FULL:
        return synth[0].load_truth(os.environ.get("FLIGHTSW_NAV_TRUTH") or str(tmp_path_factory.mktemp("nav") / "truth.npz"))
    return kept_truth(*synth, np.loadtxt(folder / "booster_synth" / "truth.csv.gz", delimiter=","))


def flight(truth, data, error, params, score, gnss_until=1e9, lag_s=0.0, claimed=1.0):
    """One flight from START_S. lag_s: of the fixes; claimed: factor on the position sigma that the receiver states."""
    imu, gnss, radalt, _ = data
    gnss = gnss[gnss[:, 0] <= gnss_until]
    gnss = np.column_stack([gnss[:, :7], gnss[:, 7:10] * claimed, gnss[:, 10:]])
    assert params.nav_init_t_s == START_S
    return fly(imu, [fixes(gnss, score, lag_s)], ranges(radalt), params, lambda state: start(state, params, truth, error, score))


def campaign(synth, truth, params, sensors=None, **how):
    generate, score = synth
    err, cov, nis = [], [], []
    for k in range(RUNS):
        data = generate.sensors(truth, 1000 + k, **(sensors or {}))
        flown = flight(truth, data, generate.initial_error(5000 + k), params, score, **how)
        err.append(errors(truth, flown.rows, flown.x, score))
        cov.append(flown.cov)
        nis.append(np.mean(flown.nis))
    t = truth["t"][flown.rows]
    return t, np.array(err), np.array(cov), float(np.mean(nis))


def nees_gate(consistency, share):
    """Why the NEES of all nine states does not pass, both sides; empty when it does."""
    r, widen = consistency["nees9"], max(1.0, float(np.sqrt(100 / RUNS)))
    why = [f"ratio {r['ratio']:.3f}"] if abs(r["ratio"] - 1) >= 0.07 * widen else []
    return why + ([f"share {r['inside']:.3f}"] if r["inside"] < share - (0.0 if FULL else 0.1) else [])


def check(result, score, share):
    """Two-sided limits on the time means (1.6 and more standard deviations of N flights), then the share inside the band."""
    t, err, cov, nis = result
    widen = max(1.0, float(np.sqrt(100 / RUNS)))
    r = score.consistency(err, cov)
    print(f"NEES per degree of freedom {r['nees9']['ratio']:.3f}, NIS {nis:.3f}")  # shown by pytest -rP
    assert not nees_gate(r, share), nees_gate(r, share)
    for block in ("nees3_0", "nees3_3", "nees3_6"):
        assert abs(r[block]["ratio"] - 1) < 0.12 * widen, (block, r[block])
    assert r["outside_3_sigma"] < (0.006 if FULL else 0.012), r["outside_3_sigma"]
    assert abs(nis - 1) < 0.02, nis
    return t >= 438.0, err


def test_mechanisation_with_perfect_increments(synth, truth):
    """461 s with error-free increments: the equations of motion themselves (bar 0.05 m, 1e-4 m/s, 1e-4 deg)."""
    score = synth[1]
    none = np.zeros((0, 13))
    imu = np.column_stack([truth["t"], truth["dth"], truth["dv"]])
    flown = flight(truth, (imu, none, none[:, :3], None), np.zeros(9), parameters(), score)
    e = errors(truth, flown.rows, flown.x, score)[-1]
    assert np.linalg.norm(e[:3]) < 0.05
    assert np.linalg.norm(e[3:6]) < 1e-4
    assert np.rad2deg(np.linalg.norm(e[6:])) < 1e-4


def test_accuracy_on_the_kept_flight(synth, truth):
    """Seed 20260601, started from truth: coast and landing burn."""
    generate, score = synth
    flown = flight(truth, generate.sensors(truth, 20260601), np.zeros(9), parameters(), score)
    t, e = truth["t"][flown.rows], errors(truth, flown.rows, flown.x, score)
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


# name, parameters, errors of the sensors, how it is flown. What each reaches over 100 flights: docs/navigation.md
WRONG = [
    ("15 states: no scale factors", {"accel_scale_ppm": 0.0, "gyro_scale_ppm": 0.0}, {}, {}),
    ("no GNSS bias states under correlated errors", {}, {"gnss_gm": 1.0}, {}),
    ("GNSS sigma times 2.5 in place of bias states", {}, {"gnss_gm": 1.0}, {"claimed": 2.5}),
    ("lever arm omitted", {"gnss_x_m": 0.0, "gnss_y_m": 0.0}, {}, {}),
    ("no process noise of the IMU biases", {"bias_tau_s": 1e6}, {}, {}),
]
SLIGHTLY_WRONG = [  # seen by 100 flights only
    ("bias states under white GNSS", {"gnss_gm_m": 1.0}, {}, {}),
    ("gyro noise doubled", {"arw_deg_rt_h": 0.1}, {}, {}),
    ("gyro noise halved", {"arw_deg_rt_h": 0.025}, {}, {}),
    ("lever arm 10 cm wrong", {"gnss_x_m": 2.1}, {}, {}),
]


@pytest.mark.parametrize(("name", "given", "sensors", "how"), WRONG + (SLIGHTLY_WRONG if FULL else []))
def test_the_nees_gate_catches_a_wrong_filter(synth, truth, name, given, sensors, how):
    """A gate that a wrong filter passes is not a gate."""
    _, err, cov, nis = campaign(synth, truth, parameters(**given), sensors, **how)
    r = synth[1].consistency(err, cov)
    print(f"{name}: NEES per degree of freedom {r['nees9']['ratio']:.3f}, share {r['nees9']['inside']:.3f}, NIS {nis:.3f}")
    assert nees_gate(r, 0.85)


def test_the_nees_gate_has_two_sides():
    """A filter that claims too much uncertainty is caught like one that claims too little; the scores are made, not flown."""
    good = {"ratio": 1.0, "inside": 0.95}
    assert not nees_gate({"nees9": good}, 0.85)
    for ratio in (0.7, 1.3):
        assert nees_gate({"nees9": good | {"ratio": ratio}}, 0.85)
    assert nees_gate({"nees9": good | {"inside": 0.7}}, 0.85)


# ---- `flightsw nav consistency`: the filter that flies a bench ---------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "bench_configs" / "zhuque3_landing.toml"


@pytest.fixture(scope="module")
def flown():
    return nav_consistency.fly(BENCH, range(1, 5))


def test_errors_of_a_bench_are_read_at_the_time_of_the_filter(flown):
    """Ten milliseconds at 300 m/s would be 3 m, an IMU taken for the body origin 20 m."""
    for flight in flown.flights:
        assert not flight.problem
        assert len(flight.t) > 300 and np.all(np.diff(flight.t) > 0)
        start = flight.error[0]
        assert np.linalg.norm(start[:3]) < 2.5, "the handed-over state is wrong by 0.5 m per axis, 1 sigma"
        assert np.linalg.norm(start[3:6]) < 0.3
        assert np.mean(flight.nees[:, 1]) / 3 < 5
        typical = np.median(np.abs(flight.error), axis=0)
        assert np.all(typical[:3] < 1.5) and np.all(typical[3:6] < 0.1) and np.all(typical[6:] < np.deg2rad(0.1)), typical


def test_a_flight_read_by_many_is_that_of_one(flown):
    again = nav_consistency.fly(BENCH, range(2, 4), workers=2)
    for a, b in zip(flown.flights[1:3], again.flights, strict=True):
        assert a.seed == b.seed and np.array_equal(a.error, b.error) and np.array_equal(a.nees, b.nees)


def made(scale, n=60, seed=1):
    """Flights whose errors have `scale` times the sigma claimed."""
    rng = np.random.default_rng(seed)
    t = np.arange(1, 201) * 0.1
    out = []
    for k in range(n):
        e = scale * rng.standard_normal((200, 9))
        blocks = np.stack([np.sum(e**2, 1), *(np.sum(e[:, i : i + 3] ** 2, 1) for i in (0, 3, 6))], 1)
        out.append(nav_consistency.Sampled(k, t, e, blocks, t, np.sum(e[:, :3] ** 2, 1) / 3))
    return nav_consistency.Consistency("made", out)


def test_the_verdict_on_a_bench_has_two_sides():
    right = nav_consistency.judge(made(1.0))
    assert right.ok and abs(right.nees["all nine states"].ratio - 1) < 0.02 and abs(right.nis.ratio - 1) < 0.03
    assert 0.92 < right.nees["all nine states"].inside < 0.98, "the band of one instant holds 95 %"
    assert 0.001 < right.outside_3_sigma < 0.005
    for scale in (0.9, 1.1):
        wrong = nav_consistency.judge(made(scale))
        assert not wrong.ok and len(wrong.broken) == 2


def test_consistency_by_command(tmp_path):
    from flightsw.cli.nav_consistency import command

    page = tmp_path / "c.html"
    result = CliRunner().invoke(command, [str(BENCH), "-n", "1", "--workers", "1", "--ratio", "1", "--html", str(page), "--json"],
                                standalone_mode=False)
    assert result.exception is None, result.exception
    told = json.loads(result.stdout)
    assert result.return_value == (0 if told["met"] else 1)
    assert told["flights"] == 1 and 0 < told["nees_ratio"] < 12
    text = page.read_text("utf-8")
    assert "NEES / dof, attitude" in text and "CONSISTENT" in text and "src=" not in text.split("<body>")[0]


def test_a_bench_without_the_filter_is_refused_in_a_sentence():
    with pytest.raises(ConfigError, match="navigation filter"):
        nav_consistency.find(Bench.load(ROOT / "bench_configs" / "falcon9_recorded.toml"))
