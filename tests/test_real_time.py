"""The real-time driver: releases, lateness, decisions, and that a run against the clock replays bit for bit.

No test asserts a time. What depends on the computer's load is only looked at through counters that must agree with one another.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hil
from flightsw import BenchUnavailable, FlightswError, StepError
from flightsw.log import Log
from flightsw.realtime import RUNNING, RealTime, RealTimeConfig, noise
from flightsw.replay import replay

BENCHES = Path(__file__).parents[1] / "bench_configs"
FAST = {"noise_s": 0.0, "speed": 1000.0}  # a microsecond per tick: every tick is late, on any computer


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Other processes that want the computer too."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for b in burners:
            b.kill()
            b.wait()


def tasks_of_fcc(**changes: dict[str, Any]) -> dict[str, Any]:
    return {"node": [{"name": "fcc", "task": [{"name": name, **keys} for name, keys in changes.items()]}]}


def fly(path: Path, bench: str, until: float, real_time: dict[str, Any], **overlay: Any) -> hil.Flight:
    """Fly a bench against the clock, with a log."""
    with hil.Bench.load(BENCHES / bench, overlay={"bench": {"real_time": real_time}, **overlay}).start(seed=1, log=path) as flight:
        flight.run(until=until)
    return flight


@pytest.mark.timeout(200)
def test_a_flight_on_a_loaded_computer_replays_identically_twice(tmp_path: Path) -> None:
    path = tmp_path / "flight.mcap"
    with load(3):
        flight = fly(path, "zhuque3_landing.toml", 6.0, {"noise_s": 0.0})
    report = flight.real_time
    assert report is not None and report.ticks == 6000 and report.switches <= report.sleeps
    log = Log.open(path)
    assert log.complete, log.problems
    assert log.topics["/host/late"] == report.missed
    assert int(log.metadata["real_time"]["missed"]) == report.missed
    for _ in range(2):
        result = replay(log)
        assert result.identical and result.exact and result.ticks == 6000, result.divergence
        assert result.keyframes >= 2


def test_the_same_happens_as_in_simulated_time(tmp_path: Path) -> None:
    fly(tmp_path / "clock.mcap", "hopper.toml", 4.0, FAST)
    with hil.Bench.load(BENCHES / "hopper.toml").start(seed=1, log=tmp_path / "simulated.mcap") as flight:
        flight.run(until=4.0)
    a, b = Log.open(tmp_path / "clock.mcap"), Log.open(tmp_path / "simulated.mcap")
    for topic in b.topics:
        assert a[topic].tobytes() == b[topic].tobytes(), topic
    images = [{s.tick: s.images for s, _ in log.keyframes()} for log in (a, b)]
    assert images[0][4000] == images[1][4000]


def test_chunks_span_50_ms_at_most(tmp_path: Path) -> None:
    path = tmp_path / "flight.mcap"
    fly(path, "hopper.toml", 2.0, FAST)
    log = Log.open(path)
    spans = []
    for chunk in log._found.chunks:
        times = [int.from_bytes(chunk.records[at + 15 : at + 23].tobytes(), "little") for offsets in chunk.offsets.values()
                 for at in offsets.tolist()]
        spans.append(max(times) - min(times))
    assert len(spans) >= 2000 // 50 and max(spans) < 50_000_000


def test_non_critical_tasks_are_shed_and_a_replay_sheds_them_too(tmp_path: Path) -> None:
    path = tmp_path / "flight.mcap"
    flight = fly(path, "hopper.toml", 3.0, {**FAST, "shed_ticks": 1}, **tasks_of_fcc(guidance={"critical": False}))
    report = flight.real_time
    assert report is not None and report.shed == report.missed
    done = {t.task: (t.runs, t.skipped) for t in report.tasks if t.node == "fcc"}
    assert done["guidance"][1] > 100 and sum(done["guidance"]) == 150
    assert all(done[name][1] == 0 for name in done if name != "guidance")
    log = Log.open(path)
    assert log.topics["/fcc/_skips"] == done["guidance"][1]
    result = replay(log)
    assert result.identical and result.exact, result.divergence


def test_a_task_that_misses_its_deadline_is_skipped_at_its_next_release(tmp_path: Path) -> None:
    path = tmp_path / "flight.mcap"
    late = {"deadline_us": 1, "on_miss": "skip"}
    flight = fly(path, "hopper.toml", 2.0, {**FAST, "shed_ticks": 0, "miss_limit": 1}, **tasks_of_fcc(control=late))
    times = next(t for t in flight.real_time.tasks if t.task == "control")
    assert times.misses == times.runs == times.skipped == 100  # every other release
    log = Log.open(path)
    overruns = log["/host/overruns"]
    assert len(overruns) == 100 and (overruns["on_miss"] == 1).all() and (overruns["after_ns"] > 1000).all()
    names = [t.spec.name for t in flight.node("fcc").compiled.tasks]
    assert {names[k] for k in overruns["task"]} == {"control"}
    assert replay(log).identical


def test_a_node_is_silent_or_the_flight_ends_as_on_miss_says(tmp_path: Path) -> None:
    real_time = {**FAST, "shed_ticks": 0, "miss_limit": 3}
    flight = fly(tmp_path / "safe.mcap", "hopper.toml", 1.0, real_time, **tasks_of_fcc(control={"deadline_us": 1, "on_miss": "safe"}))
    runs = {t.task: t.runs for t in flight.real_time.tasks if t.node == "fcc"}
    assert runs["control"] == 3 and runs["nav"] < 40
    log = Log.open(tmp_path / "safe.mcap")
    assert log["/fcc/nav"]["log_t_ns"].max() < 40_000_000 and log.duration_ns > 900_000_000
    assert replay(log).identical
    with pytest.raises(StepError, match=r'at tick \d+ .*"control" of node "fcc"'):
        fly(tmp_path / "stop.mcap", "hopper.toml", 1.0, real_time, **tasks_of_fcc(control={"deadline_us": 1, "on_miss": "stop"}))
    assert Log.open(tmp_path / "stop.mcap").problems != []  # closed, but broken off


def test_a_computer_that_falls_too_far_behind_is_not_good_enough(tmp_path: Path) -> None:
    with pytest.raises(BenchUnavailable, match="behind the clock by more than stop_ticks"):
        fly(tmp_path / "flight.mcap", "hopper.toml", 5.0, {**FAST, "stop_ticks": 50})


def test_drops_are_counted_exactly(tmp_path: Path) -> None:
    """Writes of all topics = messages in the log + dropped, whatever the writer thread could take away."""
    from flightsw.log import LogWriter

    class Tiny(LogWriter):
        block_bytes, blocks = 4 << 10, 2

    bench = hil.Bench.load(BENCHES / "hopper.toml")
    compiled = bench.compiled(1)
    with bench.start(seed=1) as flight:
        channels = [c for c in bench.channels() if not c.topic.startswith("_")]  # digests of inputs that were dropped are not made
        writer = Tiny(tmp_path / "flight.mcap", channels, {"run": {"seed": "1"}}, {}, bench.base_tick_ns, real_time=1)
        flight.graph.attach_recorder(writer.recorder, writer.channel_map)
        driver = RealTime(flight.graph, RealTimeConfig(speed=1000.0), 4000)
        driver.start()
        while driver.wait(0.1) == RUNNING:
            pass
        driver.join()
        writer.close()
    log = Log.open(tmp_path / "flight.mcap")
    assert writer.dropped > 0 and not log.complete
    assert any(f"{writer.dropped} messages were dropped while recording" in p for p in log.problems)
    written = sum(-(-flight.node(node).writes_of(topic) // every) for (node, topic), (_, every) in writer.channel_map.items()
                  if topic in next(c for c in compiled if c.name == node).topics)
    assert written == sum(log.topics.values()) + writer.dropped


def test_noise_and_report(tmp_path: Path) -> None:
    alone = noise(0.2, 1_000_000, RealTimeConfig(warm_up_ticks=0))
    assert alone.ticks == 200 and sum(alone.histogram) == 200 and alone.tasks == [] and alone.late_us["p50"] <= alone.late_us["max"]
    bench = hil.Bench.load(BENCHES / "hopper.toml", ["bench.duration_s=0.5"], real_time=True)
    result = hil.run_bench(bench, 1, tmp_path)
    assert result.run["real_time"]["ticks"] == 500 and result.run["noise"]["ticks"] == 1000
    page = (result.run_dir / "report.html").read_text("utf-8")
    assert "Against the wall clock" in page and "What the kernel granted" in page and "Execution times" in page


def test_wishes_that_are_refused_are_told() -> None:
    report = noise(0.01, 1_000_000, RealTimeConfig(cpu=4000))
    assert report.granted == {"fifo": "not asked for", "memory_lock": "not asked for", "cpu": "refused: Invalid argument"}
    assert report.ticks == 10


def test_a_driver_can_be_stopped() -> None:
    driver = RealTime(None, RealTimeConfig(), 10_000_000, period_ns=1_000_000)
    driver.start()
    driver.stop()
    report = driver.join()
    assert report.why == "was asked to stop" and report.ticks < 10_000_000
    assert np.isfinite(list(report.late_us.values())).all()


def test_a_driver_that_is_forgotten_ends_and_one_is_joined_once() -> None:
    driver = RealTime(None, RealTimeConfig(), 10_000_000, period_ns=1_000_000)
    driver.start()
    guard = driver._guard
    del driver
    gc.collect()
    assert not guard.alive  # its thread was ended before its memory went
    with pytest.raises(FlightswError, match="joined once"):
        RealTime(None, RealTimeConfig(), 5, period_ns=1_000_000).join()
    driver = RealTime(None, RealTimeConfig(), 5, period_ns=1_000_000)
    driver.start()
    driver.join()
    with pytest.raises(FlightswError, match="joined once"):
        driver.join()
