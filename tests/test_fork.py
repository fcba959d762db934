"""Fork: a flight goes on from a keyframe. Unchanged it is the same flight; changed it says what changed, and how it then went."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsw import (
    CompiledNode,
    ConfigError,
    Graph,
    LinkSpec,
    LogError,
    NodeSpec,
    TaskIO,
    TaskSpec,
    compile_node,
    load_messages,
    python_task,
)
from flightsw.adopt import adopt, under_way
from flightsw.cli.replay import command
from flightsw.graph import Snapshot
from flightsw.log import Log
from flightsw.log.compare import diff
from flightsw.replay import replay
from hil import Bench
from hil.fork import ForkOptions, ForkResult, fork
from hil.fork_parent import stop_held
from hil.report.overlay_page import MOST_BYTES
from hil.run import run_bench

BENCHES = Path(__file__).resolve().parents[1] / "bench_configs"
DIES = BENCHES / "fail_dies_3s.toml"
MESSAGES = load_messages([])


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directory of a landing whose engine dies at 24.6 s, with a keyframe every 0.25 s."""
    return run_bench(Bench.load(DIES, ["bench.keyframe_s=0.25"]), 1, tmp_path_factory.mktemp("runs"), report=False).run_dir


def forked(parent: Path, out: Path, from_s: float, **more: Any) -> ForkResult:
    return fork(Log.open(parent), ForkOptions(from_s, out_root=out, **{"pages": False, **more}))


def test_a_fork_without_a_change_is_the_same_flight(parent: Path, tmp_path: Path) -> None:
    """Every message, and every image at every keyframe, to the end: also the stop condition goes on where it was."""
    result = forked(parent, tmp_path, 20.3, pages=True)
    assert (result.tick, result.changes) == (20_250, [])
    assert result.diff.identical and result.diff.topics > 40 and result.diff.messages > 100_000
    was, now = Log.open(parent), Log.open(result.run.log_path)
    assert now.complete and now.end_ns == was.end_ns
    again = diff(was, now)
    assert again.identical and again.from_ns == 20_250_000_000 and any("begins at 20.25 s" in n for n in again.notes)
    digests = {s.tick: (d, s.links) for s, d in was.keyframes()}
    mine = {s.tick: (d, s.links) for s, d in now.keyframes()}
    assert min(mine) == 20_250 and mine == {t: v for t, v in digests.items() if t >= 20_250}
    assert result.parent["outcome"] == result.run.verdict.outcome == "lands"
    assert {f.name for f in result.run.run_dir.iterdir()} == {"flight.mcap", "run.json", "report.html", "fork.html"}
    assert not (tmp_path / "latest").exists()


def test_in_the_hold_time_of_the_stop_condition(parent: Path, tmp_path: Path) -> None:
    log, bench = Log.open(parent), Bench.load(DIES)
    settled = log["/world/outcome"]
    since = int(settled["log_t_ns"][np.argmax(settled["settled"] == 1)]) // 1_000_000
    frames = [s.tick for s, _ in log.keyframes()]
    inside = [t for t in frames if since < t < frames[-1]]
    assert inside and [stop_held(log, bench, t) for t in inside] == [t - since for t in inside]
    assert stop_held(log, bench, since) == 0 and stop_held(log, bench, 1000) == 0
    result = forked(parent, tmp_path, inside[-1] / 1000)
    assert result.diff.identical and Log.open(result.run.log_path).end_ns == log.end_ns
    told = Log.open(result.run.log_path).metadata["fork"]
    assert told["stop_held"] == str(inside[-1] - since)


def test_a_fork_is_replayed_and_forked_again(parent: Path, tmp_path: Path) -> None:
    first = forked(parent, tmp_path, 30.0, faults=['{target = "gimbal[*]", type = "slow", at_s = 31.0, severity = 0.5}'],
                   sets=["fcc.control.kp_1_s=1.6"], until_s=36.0)
    log = Log.open(first.run.log_path)
    result = replay(log)
    assert result.identical and (result.start_tick, result.ticks) == (30_000, 6000)
    second = fork(log, ForkOptions(32.0, out_root=tmp_path, until_s=35.0, pages=False))
    assert second.tick == 32_000 and second.diff.identical and second.changes == []


# ---- changes ---------------------------------------------------------------------------------------------------------------


def test_a_changed_parameter(parent: Path, tmp_path: Path) -> None:
    result = forked(parent, tmp_path, 33.0, sets=["fcc.control.kp_1_s=0.9"], pages=True)
    assert result.changes == ["fcc.control.kp_1_s: 1.5 in the log, 0.9 in --set (fcc.control.kp_1_s)"]
    d = result.divergence
    assert d is not None and d.tick == 33_000 and d.task == "control"
    assert any("states are those of the parent" in n for n in result.notes)
    log = Log.open(result.run.log_path)
    assert log.metadata["fork"]["parent_run_id"] == Log.open(parent).metadata["log"]["run_id"]
    assert json.loads(log.metadata["fork"]["changes"]) == result.changes and log.metadata["fork"]["tick"] == "33000"
    run = json.loads((result.run.run_dir / "run.json").read_text("utf-8"))
    assert run["fork"]["divergence"]["tick"] == 33_000 and run["fork"]["parent_verdict"]["outcome"] == "lands"
    assert run["sim_s"] == pytest.approx(log.end_ns * 1e-9 - 33.0, abs=0.01)
    page = (result.run.run_dir / "fork.html").read_text("utf-8")
    assert len(page.encode()) < MOST_BYTES
    for words in ("Another flight from 33.000000 s on", "Verdicts", result.changes[0], "touchdown speed, down"):
        assert words in page


@pytest.mark.parametrize(("option", "text"), [
    ("fcc.control.kp_1_s=2000", "2000 is out of range, allowed 0.05 to 20"),
    ("fcc.control.kp=2", "--set: fcc.control.kp: unknown parameter"),
    ("nonsense=2", "no task has a parameter of this name"),
])
def test_nonsense_is_refused_before_anything_is_made(parent: Path, tmp_path: Path, option: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        forked(parent, tmp_path, 33.0, sets=[option])
    assert not list(tmp_path.iterdir())


def test_another_fault(parent: Path, tmp_path: Path) -> None:
    """The fault of the parent goes on: its place and its life are kept."""
    result = forked(parent, tmp_path, 26.0, faults=['{target = "engine[1]", type = "no_light", at_s = 27.5}'], until_s=32.0)
    assert result.changes == ["fault: engine[1] no_light at time_s = 27.5"]
    d = result.divergence
    assert d is not None and (d.tick, d.node) == (27_500, "faults")
    events = [e for e in result.run.run["events"] if e["name"] == "FAULT_BEGIN"]
    assert [e["t_s"] for e in events] == [27.5]  # that of engine 0 began before the fork, and does not begin again
    faults = Log.open(result.run.log_path)["/faults/faults"]
    assert faults["count"][0] == 1 and faults["count"][-1] == 2


@pytest.mark.parametrize(("fault", "text"), [
    ('{target = "engine[1]", type = "no_light", at_s = 12.0}', r"a fault at 12 s lies before the fork at 26 s"),
    ('{target = "engine[1]", type = "no_light"}', "does not say when: give at_s"),
    ('{target = "engine[1]", type = "explodes", at_s = 30.0}', "--fault: .*is not implemented for engine"),
    ('{target = "engine[1]", type = "dies", at_s = 30.0, sevrity = 1.0}', "--fault: .*sevrity: unknown key"),
    ('{target = "engine[1]", at_s = 30.0, at = {time_s = 3.0}, type = "dies"}', "at_s and at are both given"),
    ("engine[1] dies", "is not a TOML table such as"),
])
def test_faults_that_cannot_be(parent: Path, tmp_path: Path, fault: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        forked(parent, tmp_path, 26.0, faults=[fault])
    assert not list(tmp_path.iterdir())


def test_a_fault_that_begins_late_after_an_early_time_is_none_of_the_past(parent: Path, tmp_path: Path) -> None:
    result = forked(parent, tmp_path, 26.0, until_s=28.0, faults=['{target = "gnss[0]", type = "off", at_s = 20.0, after_s = 7.0}'])
    assert result.divergence is not None and result.divergence.tick == 27_000


def test_another_bench_takes_over(parent: Path, tmp_path: Path) -> None:
    """Tasks at other rates, one more node, no fault: what fits goes on, the rest begins anew and is told."""
    benches = tmp_path / "benches"
    shutil.copytree(BENCHES, benches)
    other = benches / "other.toml"
    other.write_text('extends = "zhuque3_landing.toml"\n[bench]\nname = "other"\n'
                     '[[node]]\nname = "spare"\nrecord = "all"\n[[node.task]]\nname = "imu"\ntype = "board.imu"\nperiod_ticks = 1\n'
                     '[[link]]\nfrom = "world.truth"\nto = ["spare.truth"]\n'
                     '[[node]]\nname = "fcc"\n[[node.task]]\nname = "control"\nperiod_ticks = 5\n', "utf-8")
    result = forked(parent, tmp_path / "runs", 26.25, bench=other, until_s=30.0)
    assert 'node "fcc": task "control": period_ticks 10 in the log, 5 here' in result.changes
    assert "link world.truth to spare.truth, latency 1: is here, not in the log" in result.changes
    assert "fault number 1 of the parent is not one of this bench" in result.notes
    assert "a fault that was in force ends with the fork" in result.notes
    assert 'node "spare" is new: it starts with its initial state' in result.notes
    assert not any("starts with its initial state" in n and "spare" not in n for n in result.notes)
    log = Log.open(result.run.log_path)
    assert log["/faults/faults"]["count"][0] == 0 and log["/faults/faults"]["log_t_ns"][0] == 26_250_000_000  # at once
    seq = log["/fcc/nav"]["log_seq"]
    assert seq[0] == Log.open(parent)["/fcc/nav"]["log_seq"][26_250 - int(Log.open(parent)["/fcc/nav"]["log_t_ns"][0]) // 10**6]
    assert replay(log).identical


# ---- refused -----------------------------------------------------------------------------------------------------------------


def test_where_a_fork_can_begin(parent: Path, tmp_path: Path) -> None:
    cases = ((99.0, {}, "99 s is not within it"), (20.0, {"until_s": 20.0}, "--until 20 s does not lie behind the fork"))
    for from_s, more, text in cases:
        with pytest.raises(LogError, match=text):
            forked(parent, tmp_path, from_s, **more)
    assert not list(tmp_path.iterdir())


def test_a_configuration_that_does_not_give_what_was_flown_is_refused(parent: Path, tmp_path: Path) -> None:
    log = Log.open(parent)
    name = "config/vehicles/zhuque3.toml"
    text = log.attachments[name].decode()
    assert "mass_dry_kg = " in text
    line = next(row for row in text.splitlines() if row.startswith("mass_dry_kg"))
    log.attachments[name] = text.replace(line, "mass_dry_kg = 27001.0").encode()
    with pytest.raises(LogError, match=r"world\.dynamics\.mass_dry_kg: .* in the log, .* in this replay"):
        fork(log, ForkOptions(20.0, out_root=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("how", ["file", "sets", "overlay"])
def test_code_is_never_taken_from_a_log(parent: Path, tmp_path: Path, how: str) -> None:
    log = Log.open(parent)
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    if how == "file":
        name = "config/fail_dies_3s.toml"
        log.attachments[name] = log.attachments[name].replace(b"[bench]\n", f'[bench]\ntasks = ["{evil}"]\n'.encode(), 1)
        assert b"evil" in log.attachments[name]
    elif how == "sets":
        log.metadata["run"]["sets"] = json.dumps([f'bench.tasks="{evil}"'])
    else:
        log.metadata["run"]["overlay"] = json.dumps({"bench": {"tasks": [str(evil)]}})
    with pytest.raises(LogError, match=r"names code .* never taken from a log"):
        fork(log, ForkOptions(20.0, out_root=tmp_path / "runs"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("place", ["/etc/x", "../" * 40 + "x", "a/../../x", "a\\b", "", ".."])
def test_files_of_a_log_stay_in_their_folder(parent: Path, tmp_path: Path, place: str) -> None:
    log = Log.open(parent)
    places = json.loads(log.metadata["bench_file"]["places"])
    log.metadata["bench_file"]["places"] = json.dumps({**places, "config/../../x": place})
    log.attachments["config/../../x"] = b"x"
    with pytest.raises(LogError, match="places of its configuration files cannot be used"):
        fork(log, ForkOptions(20.0, out_root=tmp_path))


def test_a_log_without_configuration(parent: Path, tmp_path: Path) -> None:
    log = Log.open(parent)
    for name in [n for n in log.attachments if n.startswith("config/")]:
        del log.attachments[name]
    with pytest.raises(LogError, match="does not carry the bench file that was flown"):
        fork(log, ForkOptions(20.0, out_root=tmp_path))


def test_a_bench_with_python_tasks_flies_from_its_file(tmp_path: Path) -> None:
    drop = Path(__file__).parent / "drop"
    shutil.copytree(drop, tmp_path / "drop")
    run = run_bench(Bench.load(tmp_path / "drop" / "bench.toml", ["bench.keyframe_s=0.5"]), 1, tmp_path / "runs", report=False)
    log = Log.open(run.log_path)
    frames = [s.tick for s, _ in log.keyframes()]
    at = frames[len(frames) // 2] * log.base_tick_ns * 1e-9
    assert fork(log, ForkOptions(at, out_root=tmp_path / "forks", pages=False)).diff.identical
    shutil.rmtree(tmp_path / "drop")
    with pytest.raises(LogError, match=r"code is never taken from a log: the bench file .* is not there"):
        fork(log, ForkOptions(at, out_root=tmp_path / "forks"))


def test_the_command(parent: Path, tmp_path: Path) -> None:
    def run(*args: str) -> Any:
        return CliRunner().invoke(command, [str(parent), "--out", str(tmp_path), *args], standalone_mode=False)

    same = run("--from", "40.2", "--fork")
    assert same.return_value == 0 and "from the keyframe at tick 40000 (40.000000 s)" in same.stdout
    assert "changed: nothing" in same.stdout and "identical to the parent" in same.stdout and "outcome" in same.stdout
    told = run("--from", "40.2", "--fork", "--until", "41", "--set", "fcc.control.kp_1_s=3", "--json")
    found = json.loads(told.stdout)
    assert told.return_value == 0 and found["fork"]["tick"] == 40_000 and not found["fork"]["identical"]
    for args, text in ((["--fork"], "--fork needs --from"), (["--fault", "{}"], "--fault needs --fork"),
                       (["--fork", "--from", "1", "--what-if"], "do not go together")):
        assert text in str(run(*args).exception)


# ---- adopt: graphs of small nodes ------------------------------------------------------------------------------------------


@python_task("fork.source", reads={}, writes={"radalt": "fsw_radalt_t"}, state="typedef struct { double x; } fork_source_t;")
def source(io: TaskIO) -> None:
    io.state["x"] = 0.9 * io.state["x"] + io.gauss(0)[0]
    io.writes["radalt"]["range_m"] = io.state["x"]
    if io.tick % 3 == 1:
        io.withhold("radalt")


@python_task("fork.sink", reads={"a": "fsw_radalt_t", "b": "fsw_radalt_t"}, writes={"baro": "fsw_baro_t"}, optional=("b",),
             state="typedef struct { double sum; } fork_sink_t;")
def sink(io: TaskIO) -> None:
    io.state["sum"] += io.reads["a"]["range_m"] * (1 + (io.age_ticks("a") or 0))
    if io.reads["b"] is not None:
        io.state["sum"] -= 0.5 * io.reads["b"]["range_m"]
    io.writes["baro"]["p_pa"] = io.state["sum"]


TYPES = {t.name: t for t in (source, sink)}


def nodes(order: Sequence[str], spare: bool = False) -> list[CompiledNode]:
    made = {f"s{k}": NodeSpec(f"s{k}", [TaskSpec("source", "fork.source", 1 + k)], 10**6) for k in range(2)}
    made["sink"] = NodeSpec("sink", [TaskSpec("sink", "fork.sink", 2)], 10**6, frozenset({"a", "b"}))
    made["other"] = NodeSpec("other", [TaskSpec("sink", "fork.sink", 1)], 10**6, frozenset({"a"}))
    made["spare"] = NodeSpec("spare", [TaskSpec("source", "fork.source", 1)], 10**6)
    return [compile_node(made[n], TYPES, MESSAGES, {}) for n in [*order, *(["spare"] if spare else [])]]


def wired(first: int, second: int, third: int) -> list[LinkSpec]:
    """Links with these latencies."""
    return [LinkSpec("s0", "radalt", "sink", "a", first), LinkSpec("s1", "radalt", "sink", "b", second),
            LinkSpec("s0", "radalt", "other", "a", third)]


NAMES = ["s0", "s1", "sink", "other"]


@settings(max_examples=25, deadline=None)
@given(latencies=st.tuples(*[st.integers(1, 9)] * 3), tick=st.integers(0, 25), order=st.permutations(NAMES),
       turn=st.permutations(range(3)), spare=st.booleans())
def test_the_order_of_nodes_and_links_changes_nothing(latencies: tuple[int, int, int], tick: int, order: list[str], turn: list[int],
                                                      spare: bool) -> None:
    """Law: run, adopt into a graph in another order of nodes and links, run on: the images are those of one that ran through."""
    links = wired(*latencies)
    through = Graph(nodes(NAMES), links, MESSAGES, 5)
    through.run(tick)
    kept = through.snapshot()
    fresh = Graph(nodes(order, spare), [links[k] for k in turn], MESSAGES, 99)
    said = adopt(fresh, kept, through.compiled, links)
    assert said == (['node "spare" is new: it starts with its initial state'] if spare else [])
    ordered = sorted(under_way(kept, through.compiled, links))
    assert ordered == sorted(under_way(fresh.snapshot(), fresh.compiled, fresh.links))
    through.run(tick + 30)
    fresh.run(tick + 30)
    assert {n: through.nodes[n].digest() for n in NAMES} == {n: fresh.nodes[n].digest() for n in NAMES}


def test_the_same_graph_is_a_restore() -> None:
    links = wired(4, 2, 1)
    graph = Graph(nodes(NAMES), links, MESSAGES, 5)
    graph.run(17)
    kept = graph.snapshot()
    again = Graph(nodes(NAMES), links, MESSAGES, 5)
    assert adopt(again, kept, graph.compiled, links) == [] and again.snapshot() == kept


def test_a_node_with_one_more_task_goes_on() -> None:
    """State, topics, random numbers and decisions of what was there are kept."""
    through = Graph(nodes(["s0"]), [], MESSAGES, 5)
    through.run(11)
    spec = NodeSpec("s0", [TaskSpec("late", "fork.sink", 2, reads={"a": "radalt"}), TaskSpec("source", "fork.source", 1)], 10**6)
    more = Graph([compile_node(spec, TYPES, MESSAGES, {})], [], MESSAGES, 99)
    through.skip("s0", ["source"])
    assert adopt(more, through.snapshot(), through.compiled) == ["/s0/baro starts empty: there was no such topic",
                                                                 'task "s0.late" is new: it starts with its initial state']
    for graph in (through, more):
        graph.run(40)
    assert through.nodes["s0"].state("source")["x"] == more.nodes["s0"].state("source")["x"]
    assert through.nodes["s0"].writes_of("radalt") == more.nodes["s0"].writes_of("radalt")


def test_what_does_not_fit_is_told() -> None:
    links = wired(4, 2, 1)
    graph = Graph(nodes(NAMES), links, MESSAGES, 5)
    graph.run(17)
    kept = graph.snapshot()
    spec = NodeSpec("sink", [TaskSpec("sink", "fork.source", 1), TaskSpec("late", "fork.sink", 2, reads={"a": "radalt"})], 10**6)
    changed = compile_node(spec, TYPES, MESSAGES, {})
    less = Graph([*nodes(["s0", "other"]), changed], [LinkSpec("s0", "radalt", "other", "a", 2)], MESSAGES, 5)
    said = adopt(less, kept, graph.compiled, links)
    for text in ('node "s1" is gone, and its state with it', "/sink/radalt starts empty: there was no such topic",
                 "/sink/a is gone",
                 'task "sink.sink" starts with its initial state: it was fork.sink, and is fork.source',
                 'task "sink.late" is new: it starts with its initial state'):
        assert text in said
    assert any("of /s0/radalt under way lost: no such link is left" in s for s in said)
    less.run(20)
    with pytest.raises(ConfigError, match="load blob has another hash"):
        adopt(less, Snapshot(kept.tick, {**kept.images, "s0": kept.images["s1"]}, kept.links), graph.compiled, links)
    with pytest.raises(ConfigError, match="links"):
        adopt(less, Snapshot(kept.tick, kept.images, kept.links[:-8]), graph.compiled, links)


def test_two_flights_of_a_fork_are_one(parent: Path, tmp_path: Path) -> None:
    a, b = (forked(parent, tmp_path / n, 40.0, sets=["fcc.control.kp_1_s=2.5"], until_s=42.0) for n in "ab")
    assert diff(Log.open(a.run.log_path), Log.open(b.run.log_path)).identical
