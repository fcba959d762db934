"""Bench and Flight from Python: load, run, step, go back, fork, change, disperse, replace tasks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightsw import ConfigError, FlightswError, StepError
from flightsw.log import Log
from hil import Bench, dispersion, run_bench
from hil.config import Criterion
from hil.dispersion import Law, offset
from hil.verdict import check

DROP = Path(__file__).parent / "drop" / "bench.toml"
FLAGSHIP = Path(__file__).parent.parent / "bench_configs" / "zhuque3_landing.toml"


def extend(tmp_path: Path, text: str) -> Path:
    """A bench file that extends the drop bench."""
    path = tmp_path / "own.toml"
    path.write_text(f'extends = "{DROP.as_posix()}"\n{text}', "utf-8")
    return path


def test_runs_to_its_stop_condition_and_verdict() -> None:
    with Bench.load(DROP).start(seed=0) as flight:
        flight.run()
        verdict = flight.verdict()
    assert flight.stopped and 5 < flight.t_s < 20
    assert (verdict.outcome, verdict.expected, verdict.met) == ("lands", "lands", True)
    (speed,) = verdict.criteria
    assert speed.ok and speed.value is not None and speed.margin == pytest.approx(2.0 - speed.value)
    assert verdict.summary["t_touchdown_s"] < flight.t_s == verdict.summary["t_end_s"]


def test_until_step_and_duration_agree() -> None:
    bench = Bench.load(DROP, ["bench.duration_s=2"])
    one, two = bench.start(), bench.start()
    one.run(until=1.0)
    assert one.tick == 1000 and one.t_s == 1.0
    two.step(400)
    two.step(600)
    assert one.graph.digests() == two.graph.digests()
    one.run()
    assert one.t_s == 2.0 and not one.stopped
    two.step(1001)  # single steps may go beyond the duration
    assert two.tick == 2001


@pytest.mark.parametrize(("limits", "value", "ok", "margin"), [
    ({"max": 2.0}, 2.0, True, 0.0), ({"max": 2.0}, 2.5, False, -0.5), ({"min": 2.0}, 2.0, True, 0.0),
    ({"min": 1.0, "max": 4.0}, 3.5, True, 0.5), ({"min": 1.0, "max": 4.0}, 0.0, False, -1.0),
    ({"equals": 3.0}, 3.0, True, 0.0), ({"equals": 3.0}, 1.0, False, -2.0), ({"equals": 3.0}, 5.0, False, -2.0),
    ({"max": 2.0}, float("nan"), False, None), ({"min": 2.0}, float("inf"), False, None), ({"max": 2.0}, None, False, None),
])
def test_a_value_at_its_limit_is_met_and_the_margin_has_its_sign(limits: dict[str, float], value: float | None, ok: bool,
                                                                 margin: float | None) -> None:
    result = check(Criterion(name="x", topic="a.b", field="f", **limits), value)
    assert (result.ok, result.margin) == (ok, margin)


def test_a_share_of_a_negative_number_scatters_like_one_of_its_size() -> None:
    base = np.array([-2.0, 2.0])
    assert np.array_equal(offset(Law(sigma_percent=5.0), 7, 3, base), offset(Law(sigma=(0.1,)), 7, 3, base))


def test_a_criterion_whose_topic_was_never_written_fails() -> None:
    verdict = Bench.load(DROP).start().verdict()
    assert verdict.criteria[0].value is None and not verdict.criteria[0].ok
    assert verdict.outcome == "lost" and not verdict.met


def test_snapshot_restore_fork() -> None:
    flight = Bench.load(DROP, ["noise_m=0.1"]).start(seed=7)
    flight.run(until=3.0)
    kept = flight.snapshot()
    fork = flight.fork()
    flight.run(until=4.0)
    after = flight.graph.digests()
    assert fork.tick == 3000
    flight.restore(kept)
    assert flight.tick == 3000 and flight.graph.digests() == fork.graph.digests()
    flight.run(until=4.0)
    fork.run(until=4.0)
    assert flight.graph.digests() == after == fork.graph.digests()
    fork.node("world").state("world")["h"] = 1.0
    assert float(flight.node("world").state("world")["h"]) != 1.0


def test_a_logged_flight_does_not_go_back(tmp_path: Path) -> None:
    with Bench.load(DROP).start(log=tmp_path / "f.mcap") as flight:
        flight.step(10)
        snapshot = flight.snapshot()
        with pytest.raises(FlightswError, match="fork it"):
            flight.restore(snapshot)
        assert flight.fork().tick == 10


def test_set_reaches_constants_tasks_and_bench() -> None:
    bench = Bench.load(DROP, ["h0_m=20", "fcc.law.kp = 0.7", "bench.seed=0", "bench.title='x y'", "bench.expect=lost"])
    assert float(bench.params("world", "world")["h0_m"]) == 20.0
    assert float(bench.params("fcc", "law")["kp"]) == 0.7
    assert (bench.seed, bench.title, bench.expect) == (0, "x y", "lost")
    flight = bench.start()
    flight.step(1)
    assert float(flight.node("world").topic("radalt")["range_m"]) == pytest.approx(20.0, abs=0.01)


@pytest.mark.parametrize(("option", "fragment"), [
    ("h0=20", 'no task has a parameter of this name, did you mean "h0_m"?'),
    ("fc.law.kp=2", 'there is no node "fc", did you mean "fcc"?'),
    ("fcc.lw.kp=2", 'node "fcc" has no task "lw"'),
    ("fcc.law.kpp=2", "unknown parameter"),
    ("fcc.law.kp=99", "99 is out of range, allowed 0 to 10"),
    ("fcc.law.kp=true", "is not a number"),
    ("fcc.law.kp=nan", "not a finite number"),
    ("fcc.law.kp=[1", "is not a TOML value"),
    ("fcc.kp=1", "neither a constant, nor node.task.parameter"),
    ("fcc.law.kp", "not of the form key=value"),
    ("bench.duration_s=0", "0 is out of range, allowed more than 0"),
    ("bench.duration=3", 'unknown key, did you mean "duration_s"?'),
])
def test_set_that_cannot_be(option: str, fragment: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Bench.load(DROP, [option])
    assert fragment in str(caught.value) and str(caught.value).startswith("--set: ")


def test_dispersion_is_drawn_by_seed() -> None:
    bench = Bench.load(DROP)
    height = {seed: float(bench.params("world", "world", seed)["h0_m"]) for seed in range(6)}
    assert height[0] == 50.0
    assert len(set(height.values())) == 6
    again = Bench.load(DROP)
    assert {seed: float(again.params("world", "world", seed)["h0_m"]) for seed in reversed(range(6))} == height
    assert bench.dispersed_values(3) == {"world.world.h0_m": height[3]} and bench.dispersed_values(0) == {}


def test_dispersions_add_up_and_keep_to_the_range(tmp_path: Path) -> None:
    both = Bench.load(extend(tmp_path, '[[disperse]]\nkey = "h0_m"\nsigma_percent = 10.0\nnodes = ["world"]\n'))
    first = Bench.load(DROP)
    more = offset(Law(sigma_percent=10.0), 4, 1, np.array(50.0))
    expected = float(first.params("world", "world", 4)["h0_m"]) + float(more)
    assert float(both.params("world", "world", 4)["h0_m"]) == pytest.approx(expected, rel=1e-15)
    wide = Bench.load(extend(tmp_path, '[[disperse]]\nkey = "kp"\nuniform = [10.0, 10.0]\n'
                             '[[disperse]]\nkey = "kp"\nsigma = 1e6\n'))
    values = [float(wide.params("fcc", "law", s)["kp"]) for s in range(1, 9)]
    assert set(values) <= {0.0, 10.0} and len(set(values)) == 2


def test_one_table_gives_all_its_nodes_the_same_draw() -> None:
    bench = Bench.load(FLAGSHIP)
    world, nav = bench.params("world", "dynamics", 5), bench.params("fcc", "nav", 5)
    apart = np.asarray(world["init_r_l_m"]) - np.asarray(nav["init_r_l_m"])
    assert np.all(np.abs(np.asarray(world["init_r_l_m"]) - [-1500.0, 600.0, 12000.0]) > 1e-3)
    assert np.all(np.abs(apart) <= 1.5 + 1e-9) and np.any(apart != 0)  # navigation's own error, at most 3 sigma of 0.5 m


@given(st.integers(1, 2**63 - 1), st.integers(0, 1000), st.integers(1, 20))
def test_draws_are_a_function_of_seed_position_and_element(seed: int, position: int, count: int) -> None:
    numbers = dispersion.gauss(seed, position, count)
    assert np.array_equal(numbers, dispersion.gauss(seed, position, count + 5)[:count])
    assert np.all(np.abs(numbers) <= 3.0)
    assert not np.array_equal(numbers, dispersion.gauss(seed, position + 1, count))
    u = dispersion.uniform(seed, position, count)
    assert np.all((u > 0) & (u < 1))
    low_high = offset(Law(uniform=(2.0, 3.0)), seed, position, np.full(count, 7.0)) + 7.0
    assert np.all((low_high >= 2.0) & (low_high <= 3.0))
    assert not offset(Law(sigma=(1.0,)), 0, position, np.zeros(count)).any()


def test_draws_have_the_moments_they_should() -> None:
    z = np.array([dispersion.gauss(seed, 0, 4) for seed in range(1, 2001)])
    assert np.all(np.abs(z.mean(axis=0)) < 0.1) and np.all(np.abs(z.std(axis=0) - 0.99) < 0.06)


def test_a_task_is_replaced_by_name_and_keeps_its_timing(tmp_path: Path) -> None:
    path = extend(tmp_path, '[[node]]\nname = "fcc"\n[[node.task]]\nname = "law"\ntype = "drop.nothing"\n')
    bench = Bench.load(path)
    (task,) = next(p for p in bench.plans if p.name == "fcc").tasks
    assert (task.type, task.period_ticks, task.budget_us) == ("drop.nothing", 20, 100)
    assert [k.dst_node for k in bench.links] == ["world"]  # nobody wants the altimeter any more


def test_a_replaced_task_changes_the_flight(tmp_path: Path) -> None:
    own = tmp_path / "own_tasks.py"
    own.write_text('from flightsw import python_task\n\n\n'
                   '@python_task("own.law", reads={"radalt": "fsw_radalt_t"}, writes={"cmd": "fsw_engine_cmd_t"})\n'
                   'def law(io):\n    io.writes["cmd"]["throttle"] = 0.0\n', "utf-8")
    path = extend(tmp_path, f'[bench]\nexpect = "lost"\ntasks = ["{(DROP.parent / "tasks.py").as_posix()}", "own_tasks.py"]\n'
                  '[[node]]\nname = "fcc"\n[[node.task]]\nname = "law"\ntype = "own.law"\n')
    flight = Bench.load(path).start(seed=0)
    flight.run()
    verdict = flight.verdict()
    assert verdict.outcome == "lost" and verdict.met  # what was expected of a brick
    assert verdict.criteria[0].value == pytest.approx(np.sqrt(2 * 9.81 * 50), rel=0.01)


def test_named_outcome_rules(tmp_path: Path) -> None:
    path = extend(tmp_path, '[bench]\nexpect = "diverts"\n[outcome]\n'
                  'diverts = { topic = "world.outcome", field = "touched", equals = 1 }\n')
    flight = Bench.load(path).start()
    assert flight.verdict().outcome == "lost"
    flight.run()
    assert (flight.verdict().outcome, flight.verdict().met) == ("diverts", True)
    other = Bench.load(path, ["bench.expect=lost"]).start()
    other.run()
    assert (other.verdict().outcome, other.verdict().met) == ("diverts", True)  # "lost": anything but a landing
    third = Bench.load(path, ["bench.expect=lands"]).start()
    third.run()
    assert not third.verdict().met


def test_many_nodes_from_one_table(tmp_path: Path) -> None:
    path = extend(tmp_path, """
[[node]]
name = "spare{k}"
for = 3
record = "none"
[node.log]
cmd = 5
[[node.task]]
name = "law"
type = "drop.law"
rate_hz = 100
params = { index = "{k}" }
[[link]]
for = 3
from = "world.radalt"
to = ["spare{k}.radalt"]
latency_ticks = 2
""")
    bench = Bench.load(path, ["spare*.law.kd=0.25", "spare1.law.kp=0.125"])
    assert [int(bench.params(f"spare{k}", "law")["index"]) for k in range(3)] == [0, 1, 2]
    assert [float(bench.params(f"spare{k}", "law")["kp"]) for k in range(3)] == [0.5, 0.125, 0.5]
    assert [float(bench.params(f"spare{k}", "law")["kd"]) for k in range(3)] == [0.25] * 3
    assert [c.topic for c in bench.channels() if c.node == "spare2"] == ["cmd"]
    assert next(c.every for c in bench.channels() if c.node == "spare2") == 5
    flight = bench.start()
    flight.step(3)
    assert flight.node("spare2").writes_of("radalt") == 1


def test_run_directory(tmp_path: Path) -> None:
    seen: list[float] = []
    result = run_bench(Bench.load(DROP), 2, tmp_path / "runs", seen.append, report=False)
    run = json.loads((result.run_dir / "run.json").read_text("utf-8"))
    assert run["outcome"] == "lands" and run["met"] is True and run["seed"] == 2 and run["schema_version"] == 1
    assert set(run["hashes"]) == {"world", "fcc", "messages"} and run["software"]["version"]
    assert (tmp_path / "runs" / "latest").resolve() == result.run_dir.resolve()
    assert seen == sorted(seen) and seen[-1] == run["sim_s"]
    second = run_bench(Bench.load(DROP), 2, tmp_path / "runs", report=False)
    assert second.run_dir != result.run_dir and (tmp_path / "runs" / "latest").resolve() == second.run_dir.resolve()


def test_the_log_of_a_run(tmp_path: Path) -> None:
    bench = Bench.load(DROP, ["bench.keyframe_s=2.0"])
    with bench.start(seed=3, log=tmp_path / "flight.mcap") as flight:
        flight.run(until=5.0)
        assert flight.log.topics["/fcc/cmd"] == 250
    log = Log.open(tmp_path / "flight.mcap")
    assert log.complete and set(log.topics) >= {"/world/outcome", "/world/radalt", "/fcc/cmd", "/fcc/radalt"}
    assert [s.tick for s, _ in log.keyframes()] == [0, 2000, 4000, 5000]
    assert log.metadata["run"]["seed"] == "3" and "interpreter" in log.metadata["run"]["exact"]
    assert log.attachments["config/bench.toml"] == DROP.read_bytes()
    assert log.attachments["blob/fcc"] == bench.compiled(3)[1].blob
    fork = bench.start(seed=3)
    fork.restore(next(s for s, _ in log.keyframes() if s.tick == 4000))
    fork.run(until=5.0)
    assert fork.graph.digests() == flight.graph.digests()


def test_logging_changes_nothing(tmp_path: Path) -> None:
    bench = Bench.load(DROP, ["noise_m=0.5"])
    with bench.start(seed=1, log=tmp_path / "a.mcap") as logged:
        logged.run()
    plain = bench.start(seed=1)
    plain.run()
    assert plain.tick == logged.tick and plain.graph.digests() == logged.graph.digests()


def test_a_failing_python_task_is_named(tmp_path: Path) -> None:
    path = extend(tmp_path, '[[node]]\nname = "fcc"\n[[node.task]]\nname = "law"\ntype = "drop.fails"\n')
    with pytest.raises(StepError, match=r'node "fcc", tick 100: ValueError: no more \(tasks.py line \d+\)'):
        Bench.load(path).start().run()
    with pytest.raises(StepError):
        run_bench(Bench.load(path), out_root=tmp_path / "runs")
    run = json.loads((tmp_path / "runs" / "latest" / "run.json").read_text("utf-8"))
    assert run["outcome"] == "error" and "no more" in run["error"]
    assert Log.open(tmp_path / "runs" / "latest").complete is False


def test_faults_become_parameters_of_the_injector(tmp_path: Path) -> None:
    path = tmp_path / "faulty.toml"
    path.write_text(f'extends = "{FLAGSHIP.as_posix()}"\n' + """
[bench]
expect = "lost"
[[fault]]
target = "engine[1]"
type = "low_pc"
severity = 0.6
at = { engine_lit = 1 }
after_s = 2.0
for_s = 3.0
[[fault]]
target = "imu[2].accel_x"
type = "wrong"
severity = 0.5
at = { phase = "burn" }
[[fault]]
target = "gnss[*]"
type = "off"
at = { altitude_m = 900.0 }
""", "utf-8")
    p = Bench.load(path).params("faults", "injector")
    assert int(p["n_faults"]) == 3
    rows = [[float(p[f"fault_{c}"][k]) for c in ("target", "index", "type", "trigger", "at", "after_s", "for_s", "severity")]
            for k in range(3)]
    assert rows == [[1, 1, 9, 4, 1, 2, 3, 0.6], [2, 2 + 16 * 5, 3, 3, 4, 0, 0, 0.5], [3, 255, 1, 2, 900, 0, 0, 0]]


def test_an_overlay_is_like_a_file_that_extends() -> None:
    bench = Bench.load(FLAGSHIP, overlay={"fault": [{"target": "engine[0]", "type": "no_light"}]})
    assert int(bench.params("faults", "injector")["n_faults"]) == 1
    with pytest.raises(ConfigError, match=r"overlay: fault\[engine\[0\]\].type"):
        Bench.load(FLAGSHIP, overlay={"fault": [{"target": "engine[0]", "type": "explodes"}]})
