"""Replay against the bench at hand: what differs is named, what forbids a replay is refused, and the rest is flown."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from replay_support import flip

import flightsw.replay
from flightsw import Graph, LinkSpec, LogError, NodeSpec, TaskIO, TaskSpec, compile_node, load_messages, python_task
from flightsw.cli.replay import command
from flightsw.log import ChannelDef, Log, LogWriter
from flightsw.replay import AtHand, Library, Options, layout_of, replay
from flightsw.tasks import TaskType, load_plugin
from hil import Bench

CONFIGS = Path(__file__).resolve().parents[1] / "bench_configs"
BENCH, SCHEDULE = "zhuque3_landing.toml", "schedules/booster_fcc.toml"


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the benches and a flight of 3 s with a keyframe every second."""
    folder = tmp_path_factory.mktemp("at_hand")
    shutil.copytree(CONFIGS, folder / "benches")
    bench = Bench.load(folder / "benches" / BENCH, ["bench.keyframe_s=1.0"])
    with bench.start(log=folder / "flight.mcap") as flight:
        flight.run(until=3.0)
    return folder


@pytest.fixture
def folder(flown: Path, tmp_path: Path) -> Path:
    """A copy of that, whose log names the copied bench."""
    shutil.copytree(flown / "benches", tmp_path / "benches")
    shutil.copy(flown / "flight.mcap", tmp_path / "flight.mcap")
    return tmp_path


def run(folder: Path, *args: str) -> Result:
    bench = ["--bench", str(folder / "benches" / BENCH)]
    words = [str(folder / "flight.mcap"), *bench, "--out", str(folder / "runs"), *args]
    return CliRunner().invoke(command, words, catch_exceptions=False, standalone_mode=False)


def refused(folder: Path, *args: str) -> str:
    with pytest.raises(LogError) as found:
        run(folder, *args)
    return str(found.value)


def edit(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / "benches" / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_the_bench_that_the_log_names_is_found(flown: Path) -> None:
    result = CliRunner().invoke(command, [str(flown / "flight.mcap"), "--json"], catch_exceptions=False, standalone_mode=False)
    found = json.loads(result.stdout)
    assert result.return_value == 0 and found["identical"] and found["notes"] == [] and found["parameters"] == []
    assert found["inputs_checked"] == found["ticks"] == 3000


def test_a_changed_gain_is_named_and_flown(folder: Path) -> None:
    edit(folder, BENCH, "[constants]", "[constants]\nkp_1_s = 0.77")
    result = run(folder)
    assert result.return_value == 1
    file = folder / "benches" / BENCH
    assert f"changed: fcc.control.kp_1_s: 1.5 in the log, 0.77 in {file} (constants.kp_1_s)" in result.stdout
    assert 'different from tick 20 (0.020000 s): /fcc/fins, written by task "control", fin_rad[0]: recorded ' in result.stdout
    assert "(0x" in result.stdout
    found = json.loads(run(folder, "--json").stdout)
    assert [p["key"] for p in found["parameters"]] == ["fcc.control.kp_1_s"]
    assert found["divergence"]["a_bits"] != found["divergence"]["b_bits"]
    assert run(folder, "--as-flown").return_value == 0


def test_a_changed_parameter_that_nothing_shows_is_named_and_identical(folder: Path) -> None:
    """Keyframes are compared without the parameters: what was computed is the same."""
    edit(folder, BENCH, "[constants]", "[constants]\nrest_s = 0.6")
    result = run(folder)
    assert result.return_value == 0 and "3 000 ticks, 24 topics, identical" in result.stdout
    assert "changed: fcc.touchdown.rest_s: 0.5 in the log, 0.6 in " in result.stdout


@pytest.mark.parametrize(("old", "new", "text"), [
    ("period_ticks = 10\n", "period_ticks = 20\n", 'node "fcc": task "control": period_ticks 10 in the log, 20 here'),
    ("budget_us = 300\n", "budget_us = 301\n", 'node "fcc": task "guidance": budget_us 300 in the log, 301 here'),
    ('on_miss = "safe"', 'on_miss = "skip"', 'node "fcc": task "sequencer": on_miss "safe" in the log, "skip" here'),
    ('name = "control"\ntype', 'name = "steer"\ntype', 'node "fcc": task "control" (gnc.control) is in the log, not here'),
    ('name = "control"\ntype', 'name = "steer"\ntype', 'node "fcc": task "steer" (gnc.control) is here, not in the log'),
])
def test_another_schedule_is_refused_with_every_difference(folder: Path, old: str, new: str, text: str) -> None:
    edit(folder, SCHEDULE, old, new)
    told = refused(folder)
    assert text in told and "--what-if" in told and "--as-flown" in told
    assert run(folder, "--as-flown").return_value == 0
    asked = run(folder, "--what-if", "--json")
    found = json.loads(asked.stdout)
    assert asked.return_value == 0 and text in found["ignored"]
    assert Log.open(next((folder / "runs").iterdir()) / "replayed.mcap").complete


def test_a_changed_parameter_is_no_leave_to_ignore_a_schedule(folder: Path) -> None:
    edit(folder, SCHEDULE, "period_ticks = 10\n", "period_ticks = 20\n")
    assert "period_ticks 10 in the log, 20 here" in refused(folder, "--set", "fcc.control.kp_1_s=2")


def test_options_of_a_log_name_no_code(folder: Path) -> None:
    from hil.at_hand import at_hand

    log = Log.open(folder / "flight.mcap")
    log.metadata["run"]["sets"] = json.dumps(['bench.tasks="evil.py"'])
    with pytest.raises(LogError, match=r"names code \(bench\.tasks\), which is never taken from a log"):
        at_hand(log, folder / "benches" / BENCH)


def test_two_differences_are_both_named(folder: Path) -> None:
    edit(folder, SCHEDULE, "period_ticks = 10\n", "period_ticks = 20\n")
    edit(folder, SCHEDULE, "period_ticks = 20\nbudget_us = 300", "period_ticks = 25\nbudget_us = 300")
    told = refused(folder)
    assert "period_ticks 10 in the log, 20 here" in told and "period_ticks 20 in the log, 25 here" in told


def test_tasks_in_another_order_are_refused(folder: Path) -> None:
    path = folder / "benches" / SCHEDULE
    head, *tasks = path.read_text("utf-8").split("[[task]]")
    path.write_text("[[task]]".join([head, *tasks[::-1]]), "utf-8")
    assert "tasks run in another order: imu_vote, nav, touchdown, guidance, control, sequencer in the log" in refused(folder)


def test_a_broken_bench_at_hand_is_told_with_the_way_out(folder: Path) -> None:
    edit(folder, BENCH, "period_ticks = 1\n", "period_ticks = 1\nnonsense = 2\n")
    told = refused(folder)
    assert "nonsense: unknown key" in told and "--as-flown" in told
    assert run(folder, "--as-flown").return_value == 0


def test_without_the_bench_it_is_replayed_as_flown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log.open(folder / "flight.mcap")
    log.metadata["extensions"]["bench_path"] = "nowhere/bench.toml"
    monkeypatch.setattr(Log, "open", classmethod(lambda cls, path: log))
    result = CliRunner().invoke(command, ["flight.mcap", "--json"], catch_exceptions=False, standalone_mode=False)
    found = json.loads(result.stdout)
    assert found["identical"]
    assert found["notes"] == ["the bench file nowhere/bench.toml is not here: replayed as flown, compared with no bench"]


def test_a_constant_is_set_through_the_bench(folder: Path) -> None:
    result = run(folder, "--set", "kp_1_s=0.77")
    assert result.return_value == 1 and "fcc.control.kp_1_s: 1.5 in the log, 0.77 in --set (kp_1_s)" in result.stdout
    assert "no task has a parameter of this name" in refused(folder, "--set", "kp_1_t=0.77")
    with pytest.raises(Exception, match=r"is not of the form node\.task\.parameter"):
        run(folder, "--as-flown", "--set", "kp_1_s=0.77")


# ---- a part of a log ----------------------------------------------------------------------------------------------------


def test_from_and_until(folder: Path) -> None:
    result = run(folder, "--from", "1.7")
    assert result.return_value == 0
    assert "from the keyframe at tick 1000 (1.000000 s)" in result.stdout and "2 000 ticks, 24 topics, identical" in result.stdout
    found = json.loads(run(folder, "--from", "1.0", "--until", "2.5", "--json").stdout)
    assert (found["start_tick"], found["ticks"], found["keyframes"], found["inputs_checked"]) == (1000, 1500, 2, 1500)
    assert json.loads(run(folder, "--until", "0.5", "--json").stdout)["ticks"] == 500
    assert "3.5 s is not within it: it ends at 3 s" in refused(folder, "--from", "3.5")
    assert "does not lie behind the start at 2 s" in refused(folder, "--from", "2.2", "--until", "2.0")


def test_what_lies_before_the_start_is_not_compared(folder: Path, tmp_path: Path) -> None:
    source, path = folder / "flight.mcap", tmp_path / "changed.mcap"
    tick = flip(source, path, "/fcc/imu0", 500, 60 * 8)
    assert tick == 500 + int(Log.open(source)["/fcc/imu0"]["log_t_ns"][0]) // 1_000_000
    d = replay(Log.open(path)).divergence
    assert d is not None and (d.kind, d.tick) == ("input", tick)
    assert replay(Log.open(path), options=Options(from_s=1.5)).identical
    assert not replay(Log.open(path), options=Options(until_s=0.6)).identical
    assert replay(Log.open(path), options=Options(until_s=tick / 1000)).identical


@pytest.mark.parametrize("k", [0, 1, 62, 63, 64, 1499, 2900])
def test_a_changed_input_is_found_at_its_tick_and_named(folder: Path, tmp_path: Path, k: int) -> None:
    """Also a bit that no task reads: the digest of what entered tells."""
    path = tmp_path / "changed.mcap"
    tick = flip(folder / "flight.mcap", path, "/fcc/imu1", k, 56 * 8 + 3)  # seq
    for from_s in (None, tick // 1000):
        d = replay(Log.open(path), options=Options(from_s=from_s)).divergence
        assert d is not None and (d.kind, d.tick, d.node) == ("input", tick, "fcc") and "imu1" in d.topic.split(", ")
        assert 'what entered node "fcc" in this tick is not what was recorded as entering it (one of ' in d.sentence()


def test_a_changed_parameter_from_a_keyframe_on(folder: Path) -> None:
    result = run(folder, "--from", "1.0", "--set", "fcc.control.kp_1_s=0.77", "--json")
    found = json.loads(result.stdout)
    assert found["divergence"]["tick"] == 1000 and found["start_tick"] == 1000
    assert any("states of the tasks are those of the flight" in n for n in found["notes"])


# ---- software, interpreter ----------------------------------------------------------------------------------------------

MESSAGES = load_messages([])


@python_task("hand.echo", reads={"radalt": "fsw_radalt_t"}, writes={"baro": "fsw_baro_t"})
def echo(io: TaskIO) -> None:
    io.writes["baro"]["p_pa"] = io.reads["radalt"]["range_m"] + io.tick


@python_task("hand.board", reads={}, writes={"radalt": "fsw_radalt_t"})
def board(io: TaskIO) -> None:
    io.writes["radalt"]["range_m"] = io.tick


TYPES: Mapping[str, TaskType] = {t.name: t for t in (echo, board)}
LIBRARY = Library(TYPES, MESSAGES)


def small(path: Path, software: dict[str, str], skips: dict[int, list[str]] | None = None, types: Mapping[str, TaskType] = TYPES,
          poison: int | None = None) -> Log:
    """A flight of 200 ticks; skips: ticks in which tasks of the computer do not run; poison: in unused memory."""
    nodes = [compile_node(NodeSpec("b", [TaskSpec("board", "hand.board", 1)], 1_000_000), types, MESSAGES, {}),
             compile_node(NodeSpec("fcc", [TaskSpec("echo", "hand.echo", 1)], 1_000_000, frozenset({"radalt"})), types, MESSAGES,
                          {})]
    graph = Graph(nodes, [LinkSpec("b", "radalt", "fcc", "radalt", 1)], MESSAGES, 1)
    if poison is not None:
        graph.poison(poison)
    channels = [ChannelDef("fcc", t.name, t.type) for t in nodes[1].topics.values()]
    channels += [ChannelDef("fcc", "_inputs", MESSAGES["fsw_gate_t"]), ChannelDef("fcc", "_skips", MESSAGES["fsw_skip_t"])]
    with LogWriter(path, channels, {"run": {"seed": "1", "flight_computers": "fcc"}, "software": software},
                   {"blob/fcc": nodes[1].blob, "layout/fcc": layout_of(nodes[1])}, 1_000_000) as w:
        graph.attach_recorder(w.recorder, w.channel_map)
        for tick in range(200):
            if tick % 50 == 0:
                w.keyframe(graph.snapshot(), graph.digests())
            if skips and tick in skips:
                graph.skip("fcc", skips[tick])
            assert graph.run(tick + 1) == 0
        graph.flush_inputs()
    return Log.open(path)


def test_recorded_decisions_not_to_run_tasks_are_repeated(tmp_path: Path) -> None:
    log = small(tmp_path / "a.mcap", {}, {10: ["echo"], 64: ["echo"], 150: ["echo"]})
    assert len(log["/fcc/baro"]) == 197
    for from_s in (None, 0.05, 0.1):
        result = replay(log, library=LIBRARY, options=Options(from_s=from_s))
        assert result.identical and result.topics == 1, result.divergence
    whole = Log.open(tmp_path / "a.mcap")
    del whole.topics["/fcc/_skips"]
    d = replay(whole, library=LIBRARY).divergence
    assert d is not None and (d.tick, d.kind) == (10, "input")


@pytest.mark.parametrize("key", ["python", "numpy"])
def test_python_tasks_of_another_interpreter_are_refused(tmp_path: Path, key: str) -> None:
    log = small(tmp_path / "a.mcap", {key: "0.0.1"})
    text = rf"has Python tasks, which are exact for one {key} only: .* 0\.0\.1 in the log, [\d.]+ here"
    with pytest.raises(LogError, match=text):
        replay(log, library=LIBRARY)
    result = replay(log, {}, LIBRARY)
    assert result.identical and any("0.0.1 in the log" in text for text in result.ignored)


@pytest.mark.parametrize("key", ["compiler", "source_fingerprint", "version", "machine"])
def test_another_build_is_told(tmp_path: Path, key: str) -> None:
    result = replay(small(tmp_path / "a.mcap", {key: "something else"}), library=LIBRARY)
    assert result.identical and any("something else in the log, " in n for n in result.notes)


def test_a_message_of_another_layout_in_a_what_if(folder: Path, tmp_path: Path) -> None:
    """The input stays empty and is listed; the output is not compared and is listed."""
    log = small(tmp_path / "a.mcap", {})
    other = {n: replace(m, type_hash=1, schema=m.schema.replace("range_m", "height_m")) if n == "fsw_radalt_t" else m
             for n, m in MESSAGES.items()}
    node = compile_node(NodeSpec("fcc", [TaskSpec("echo", "hand.echo", 1)], 1_000_000, frozenset({"radalt"})), TYPES, other, {})
    here = AtHand("b.toml", {"fcc": node}, Library(TYPES, other))
    with pytest.raises(LogError, match=r'message fsw_radalt_t differs: "float64 range_m" in the log, "float64 height_m" here'):
        replay(log, options=Options(at_hand=here))
    result = replay(log, {}, options=Options(at_hand=here))
    assert "input /fcc/radalt has another layout than fsw_radalt_t here: it stays empty" in result.ignored
    d = result.divergence
    assert d is not None and (d.topic, d.tick) == ("baro", 2)
    assert np.isfinite(float(d.a or 0.0))


# ---- hunting --------------------------------------------------------------------------------------------------------------

FORGETFUL = r"""
#include "flightsw/messages.h"
#include "flightsw/task.h"
static int32_t step(fsw_io_t *io) {
  volatile uint8_t memory[256];
  fsw_baro_t *out = io->out[0];
  out->p_pa = io->tick == 7 ? (double)memory[100] : 1.0;
  return 0;
}
static const fsw_port_t reads[] = { FSW_READ("radalt", fsw_radalt_t) };
static const fsw_port_t writes[] = { FSW_WRITE("baro", fsw_baro_t) };
static const fsw_task_desc_t task = { .name = "hand.echo", .doc = "", .step = step, .reads = reads, .n_reads = 1, .writes = writes,
                                      .n_writes = 1 };
const fsw_task_desc_t *const *fsw_plugin_tasks(uint32_t *n);
const fsw_task_desc_t *const *fsw_plugin_tasks(uint32_t *n) {
  static const fsw_task_desc_t *const table[] = { &task };
  *n = 1;
  return table;
}
"""


def test_hunting_finds_a_task_that_reads_what_nobody_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the memory happens to hold the same in flight and replay: here it is zero in both."""
    (tmp_path / "forgetful.c").write_text(FORGETFUL)
    include = subprocess.run([sys.executable, "-m", "flightsw.include"], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["cc", "-std=c11", "-O1", "-fPIC", "-shared", f"-I{include}", "-o", "forgetful.so", "forgetful.c"], cwd=tmp_path,
                   check=True)
    types = {**TYPES, **load_plugin(tmp_path / "forgetful.so", [])}
    log = small(tmp_path / "a.mcap", {}, types=types, poison=0)
    run_of = flightsw.replay.Run
    monkeypatch.setattr("flightsw.replay.Run", lambda log, plan, options, what_if, poison=0:
                        run_of(log, plan, options, what_if, poison))
    library = Library(types, MESSAGES)
    assert replay(log, library=library).identical
    result = replay(log, library=library, options=Options(hunt=True))
    d = result.divergence
    assert not result.identical and d is not None and (d.tick, d.task, d.field, d.a, d.b) == (7, "echo", "p_pa", 0.0, 0x55)
    assert result.found_with == 0x55 and any("found by hunting" in n for n in result.notes)
    quiet = replay(small(tmp_path / "b.mcap", {}), library=LIBRARY, options=Options(hunt=True))
    assert quiet.identical and quiet.hunted == [0x55, 0xAA] and quiet.found_with is None
