"""The independent feasibility calculation against published anchors of the same point-mass study."""

from pathlib import Path

import pytest

import hil
from hil import feasibility

BENCHES = Path(__file__).resolve().parents[1] / "bench_configs"


@pytest.fixture(scope="module")
def vehicle():
    bench = hil.Bench.load(BENCHES / "zhuque3_landing.toml")
    return feasibility._Vehicle(bench.params("world", "dynamics", 0), bench.constants["engine_restartable"].value)


def start():
    return feasibility._State(0.0, 12000.0, 480.0, 35000.0)


@pytest.mark.parametrize(("throttle", "height"), [(0.7, 4730.0), (0.8, 3173.0), (0.9, 2437.0), (1.0, 2001.0)])
def test_start_height_of_a_one_engine_burn(vehicle, throttle, height):
    # 35 t, 814 kN, CdA 18 m2, plume factor 0.3, 0.6 s dead and 0.9 s ramp: heights of the Zhuque-3 class landing study
    assert feasibility._ignition_height(vehicle, start(), throttle, 1) == pytest.approx(height, rel=0.02)


@pytest.mark.parametrize(("engines", "height"), [(2, 827.0), (3, 586.0)])
def test_last_useful_start_height(vehicle, engines, height):
    assert feasibility._ignition_height(vehicle, start(), 1.0, engines) == pytest.approx(height, rel=0.02)


def test_groups_are_balanced_and_restartable(vehicle):
    assert vehicle.groups() == [[0], [1, 5], [3, 7], [0, 1, 5], [0, 3, 7]]


@pytest.mark.parametrize(("name", "feasible", "words"), [
    ("zhuque3_landing", True, "one engine stops it"),
    ("fail_no_light", True, "does not light"),
    ("fail_dies_3s", True, "can still stop it"),
    ("fail_no_light_one_pair", True, "engines [3, 7]"),
    ("fail_beyond_saving", False, "no engine is left that lights"),
    ("hopper", True, "not assessed"),
])
def test_benches(name, feasible, words):
    found = feasibility.assess(hil.Bench.load(BENCHES / f"{name}.toml"), 0)
    assert found.feasible is feasible
    assert words in found.reason


def test_too_late_even_for_a_pair():
    overlay = {"fault": [{"target": "engine[0]", "type": "dies", "at": {"altitude_m": 300.0}}],
               "constants": {"plume_factor": 0.0}}
    bench = hil.Bench.load(BENCHES / "zhuque3_landing.toml", overlay=overlay)
    found = feasibility.assess(bench, 0)
    # at 300 m the burn has already taken most of the speed; a pair needs its start transient of 1.5 s
    assert found.table
    assert all(row["throttle"] * len(row["engines"]) * 814e3 <= 6.0 * 9.80665 * 27000 * 1.001 for row in found.table)


def test_propellant_that_runs_out_is_not_feasible():
    overlay = {"constants": {"propellant_kg": 3000.0}}  # the nominal burn takes about 5 t
    found = feasibility.assess(hil.Bench.load(BENCHES / "zhuque3_landing.toml", overlay=overlay), 0)
    assert not found.feasible


def assess(**fault):
    overlay = {"fault": [{"target": "engine[0]", **fault}]}
    return feasibility.assess(hil.Bench.load(BENCHES / "zhuque3_landing.toml", overlay=overlay), 0)


def test_delay_after_the_trigger_counts():
    height = [assess(type="dies", at={"engine_lit": 0}, after_s=s).table[0]["start_m"] for s in (1.0, 4.0)]
    assert height[0] - height[1] > 3.0 * 150.0  # three seconds at more than 150 m/s


def test_detection_of_a_start_that_fails_takes_its_time():
    found = assess(type="no_light", at={"time_s": 0.0})
    # commanded at 3157 m and 275 m/s; known 1.25 s later
    assert found.table[0]["start_m"] == pytest.approx(3157.0 - 1.25 * 271.0, abs=12.0)
