"""Redundant navigation in the whole flight: it lands nominally and with failing IMUs, and a replay is identical."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hil
from flightsw.log import Log
from flightsw.replay import replay
from hil.story import Event, events

BENCH = Path(__file__).resolve().parents[1] / "bench_configs" / "zhuque3_lanes.toml"
FAULTS = {
    "none": "",
    "off": '[[fault]]\ntarget = "imu[0]"\ntype = "off"\nat = { time_s = 12.0 }\n',
    "zero": '[[fault]]\ntarget = "imu[1]"\ntype = "zero"\nat = { time_s = 15.0 }\nfor_s = 2.0\n',
    "rate": '[[fault]]\ntarget = "imu[1].gyro"\ntype = "wrong"\nseverity = 0.01\nat = { time_s = 15.0 }\n',
    "two": '[[fault]]\ntarget = "imu[0]"\ntype = "off"\nat = { time_s = 12.0 }\n'
           '[[fault]]\ntarget = "imu[2]"\ntype = "off"\nat = { time_s = 25.0 }\n',
}


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Fault name -> (run.json content, events, log), each flown once with seed 3."""
    cache: dict[str, tuple[Any, list[Event], Path]] = {}

    def fly(name: str) -> tuple[Any, list[Event], Path]:
        if name not in cache:
            folder = tmp_path_factory.mktemp(name)
            path = folder / "bench.toml"
            path.write_text(f'extends = "{BENCH}"\n\n[bench]\nname = "lanes_{name}"\n\n{FAULTS[name]}', "utf-8")
            result = hil.run_bench(hil.Bench.load(path), 3, folder, None, report=False)
            cache[name] = (result.run, events(Log.open(result.log_path)), result.log_path)
        return cache[name]

    return fly


def _first(story: list[Event], name: str, subject: int | None = None) -> float | None:
    return next((e.t_s for e in story if e.name == name and subject in (None, e.subject)), None)


@pytest.mark.parametrize("name", FAULTS)
def test_lands(flown: Any, name: str) -> None:
    run, _, _ = flown(name)
    assert run["met"], [c for c in run["criteria"] if not c["ok"]]
    assert run["expected"] == "lands"


def test_nothing_is_isolated_in_a_flight_without_faults(flown: Any) -> None:
    _, story, path = flown("none")
    wrong = {"LANE_OUT", "LANE_FORKED", "SOURCE_OUT", "IMU_EXCLUDED", "IMU_SILENT", "LANES_LEVEL"}
    assert [e.name for e in story if e.name in wrong and e.t_s < 45.0] == []
    lanes = Log.open(path)["/fcc/nav_lanes"]
    flight = lanes[(lanes["t_valid_ns"] > 0) & (lanes["t_valid_ns"] < 45_000_000_000)]
    assert len(flight) > 1000
    assert np.all(flight["select_mask"] == 7)
    assert np.all(flight["lane_isolations"] == 0)


@pytest.mark.parametrize(("name", "unit", "begin"), [("off", 0, 12.0), ("zero", 1, 15.0), ("rate", 1, 15.0)])
def test_failed_imu_leaves_within_50_ms(flown: Any, name: str, unit: int, begin: float) -> None:
    _, story, _ = flown(name)
    seen, out = _first(story, "IMU_EXCLUDED", unit), _first(story, "LANE_OUT", unit)
    assert seen is not None and begin < seen <= begin + 0.05
    assert out is not None and begin < out <= begin + 0.05


def test_imu_that_recovers_comes_back(flown: Any) -> None:
    _, story, _ = flown("zero")
    forked, back = _first(story, "LANE_FORKED", 1), _first(story, "LANE_BACK", 1)
    assert forked is not None and 17.5 <= forked < 18.5
    assert back is not None and back == pytest.approx(forked + 2.0, abs=0.02)  # not a member for 2 s after its start


def test_output_does_not_step_when_a_lane_leaves_or_returns(flown: Any) -> None:
    """Velocity less the integral of specific force is smooth: its change over 1 ms around the events is that of any other time."""
    for name, times in (("rate", (15.0,)), ("zero", (15.0, 20.0))):
        _, _, path = flown(name)
        nav = Log.open(path)["/fcc/nav"]
        t, dv = nav["t_valid_ns"] * 1e-9, np.linalg.norm(np.diff(nav["v_bl_l"], n=2, axis=0), axis=1)
        for at in times:
            near = dv[(t[2:] > at - 0.2) & (t[2:] < at + 1.0)]
            usual = dv[(t[2:] > at - 3.0) & (t[2:] < at - 0.5)]
            assert len(near) > 10
            assert near.max() < usual.max() + 0.02, (name, at, near.max(), usual.max())


def test_last_imu_flies_on_and_says_so(flown: Any) -> None:
    _, _, path = flown("two")
    lanes = Log.open(path)["/fcc/nav_lanes"]
    late = lanes[(lanes["t_valid_ns"] > 26_000_000_000) & (lanes["t_valid_ns"] < 40_000_000_000)]
    assert np.all(late["level"] == 2)
    assert np.all(late["select_mask"] == 2)


def test_replay_is_identical(flown: Any) -> None:
    _, _, path = flown("zero")
    assert replay(Log.open(path)).identical
