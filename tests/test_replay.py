"""Replay: a recorded run executed again from its log alone, and the first difference named when there is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from replay_support import flip

from flightsw import (
    CompiledNode,
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
from flightsw.cli.replay import command
from flightsw.log import ChannelDef, Log, LogWriter
from flightsw.log.compare import diff
from flightsw.replay import Library, layout_of, replay

MESSAGES = load_messages([])
TICKS = 2000


@python_task("replay.sensor", reads={}, writes={"radalt": "fsw_radalt_t"},
             state="typedef struct { uint64_t n; } replay_sensor_t;")
def sensor(io: TaskIO) -> None:
    io.state["n"] += 1
    io.writes["radalt"]["range_m"] = 1000.0 - 0.1 * io.tick + io.gauss(0)[0]
    io.writes["radalt"]["seq"] = io.state["n"]
    if io.tick % 7 == 3:
        io.withhold("radalt")


@python_task("replay.filter", reads={"radalt": "fsw_radalt_t"}, writes={"nav": "fsw_nav_t"},
             state="typedef struct { double x; } replay_filter_t;",
             params="typedef struct { double gain; /* [0, 1] = 0.125 : share of a new measurement */ } replay_filter_params_t;")
def smooth(io: TaskIO) -> None:
    io.state["x"] += io.params["gain"] * (io.reads["radalt"]["range_m"] - io.state["x"])
    io.writes["nav"]["r_bl_l"][2] = io.state["x"]
    io.writes["nav"]["t_valid_ns"] = io.t_ns


@python_task("replay.law", reads={"nav": "fsw_nav_t"}, writes={"touchdown": "fsw_touchdown_t"})
def law(io: TaskIO) -> None:
    io.writes["touchdown"]["t_ns"] = io.t_ns
    io.writes["touchdown"]["armed"] = io.reads["nav"]["r_bl_l"][2] < 900.0


TYPES = {t.name: t for t in (sensor, smooth, law)}
LIBRARY = Library(TYPES, MESSAGES)


@dataclass
class Setup:
    board: CompiledNode
    computer: CompiledNode

    def graph(self, seed: int = 7) -> Graph:
        return Graph([self.board, self.computer], [LinkSpec("board", "radalt", "fcc", "radalt", 2)], MESSAGES, seed)


def setup() -> Setup:
    board = compile_node(NodeSpec("board", [TaskSpec("sensor", "replay.sensor", 1)], 1_000_000), TYPES, MESSAGES, {})
    tasks = [TaskSpec("filter", "replay.filter", 1), TaskSpec("law", "replay.law", 5, 1)]
    return Setup(board, compile_node(NodeSpec("fcc", tasks, 1_000_000, frozenset({"radalt"})), TYPES, MESSAGES, {}))


class SmallBuffers(LogWriter):
    buffer_bytes = 20_000


def fly(path: Path, disturb: Mapping[int, Any] | None = None, run: Mapping[str, str] | None = None,
        every: int = 1, seed: int = 7) -> Path:
    """Fly and log. disturb: tick to a function of the graph, called before that tick runs."""
    s = setup()
    graph = s.graph(seed)
    channels = [ChannelDef("fcc", t.name, t.type, every if t.name == "radalt" else 1) for t in s.computer.topics.values()]
    channels.append(ChannelDef("board", "radalt", s.board.topics["radalt"].type))
    metadata = {"run": {"seed": str(seed), "flight_computers": "fcc", **(run or {})}}
    attachments = {"blob/fcc": s.computer.blob, "layout/fcc": layout_of(s.computer)}
    with SmallBuffers(path, channels, metadata, attachments, 1_000_000) as w:
        graph.attach_recorder(w.recorder, w.channel_map)
        stops = sorted({*(disturb or {}), *range(0, TICKS + 1, 500)})
        for stop in stops:
            while graph.run(stop):
                w.drain()
            if stop % 500 == 0:
                w.keyframe(graph.snapshot(), graph.digests())
            if disturb and stop in disturb:
                disturb[stop](graph)
    return path


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fly(tmp_path_factory.mktemp("flown") / "flight.mcap")


def test_identical(flown: Path) -> None:
    result = replay(Log.open(flown), library=LIBRARY)
    assert result.identical and result.exact and result.divergence is None
    assert (result.ticks, result.topics, result.keyframes) == (TICKS, 2, 5)
    assert result.messages == TICKS + TICKS // 5
    assert any("Python tasks" in n for n in result.notes)


def test_twice_gives_the_same(flown: Path) -> None:
    a, b = (replay(Log.open(flown), library=LIBRARY) for _ in range(2))
    assert (a.ticks, a.messages, a.identical) == (b.ticks, b.messages, b.identical)


@pytest.mark.parametrize("k", [0, 1, 777, 1500])
def test_one_bit_in_one_input_is_found_at_its_tick(flown: Path, tmp_path: Path, k: int) -> None:
    path = tmp_path / "flight.mcap"
    tick = flip(flown, path, "/fcc/radalt", k, 64 + 20)  # a bit of the fraction of range_m that rounding cannot swallow
    assert Log.open(path).complete
    result = replay(Log.open(path), library=LIBRARY)
    assert not result.identical and result.divergence is not None
    d = result.divergence
    assert d.kind == "value" and d.tick == tick
    assert (d.node, d.topic, d.task, d.field) == ("fcc", "nav", "filter", "r_bl_l[2]")
    assert d.a_bits != d.b_bits and np.frombuffer(bytes.fromhex(d.a_bits)[::-1], "<f8")[0] == d.a
    assert d.a_bits in d.sentence() and d.b_bits in d.sentence()


def test_one_bit_that_no_output_shows_is_found_at_the_next_keyframe(flown: Path, tmp_path: Path) -> None:
    path = tmp_path / "flight.mcap"
    log = Log.open(flown)
    k = int(np.searchsorted(log["/fcc/radalt"]["log_t_ns"], 1_499_000_000))
    tick = flip(flown, path, "/fcc/radalt", k, 8 * 16)  # seq, which nothing reads; the topic keeps it until the next message
    assert tick == 1499
    d = replay(Log.open(path), library=LIBRARY).divergence
    assert d is not None and (d.kind, d.tick, d.topic, d.field) == ("state", 1500, "topic radalt", "seq")


def test_state_changed_behind_the_recorder_is_found(tmp_path: Path) -> None:
    def poke(graph: Graph) -> None:
        graph.nodes["fcc"].state("filter")["x"] += 1e-9

    d = replay(Log.open(fly(tmp_path / "flight.mcap", {1234: poke})), library=LIBRARY).divergence
    assert d is not None and (d.tick, d.topic, d.field) == (1234, "nav", "r_bl_l[2]")


def test_missing_and_extra_messages(tmp_path: Path) -> None:
    """A task skipped in the recording writes once more in the replay: an extra message at that tick."""
    def skip(graph: Graph) -> None:
        graph.nodes["fcc"].image[24:32].view("<u8")[0] = 2  # skip mask of the next tick: the law

    d = replay(Log.open(fly(tmp_path / "flight.mcap", {1001: skip})), library=LIBRARY).divergence
    assert d is not None and (d.kind, d.tick, d.topic, d.task) == ("extra", 1001, "touchdown", "law")


def test_what_if_names_what_changes(flown: Path) -> None:
    result = replay(Log.open(flown), {"fcc.filter.gain": 0.25}, LIBRARY)
    d = result.divergence
    assert not result.identical and d is not None and (d.tick, d.task, d.topic) == (2, "filter", "nav")
    assert result.ticks == TICKS and {x.topic for x in result.differences} == {"/fcc/nav", "/fcc/touchdown"}
    first = {x.topic: x.first.tick for x in result.differences}
    assert first["/fcc/nav"] == 2 < first["/fcc/touchdown"] and first["/fcc/touchdown"] % 5 == 1
    assert any("image digests differ" in n for n in result.notes)


def test_what_if_with_the_value_flown_is_identical(flown: Path) -> None:
    assert replay(Log.open(flown), {"fcc.filter.gain": 0.125}, LIBRARY).identical
    assert replay(Log.open(flown), {}, LIBRARY).identical


@pytest.mark.parametrize(("key", "value", "text"), [
    ("fcc.filter.gian", 1, 'no such parameter .* did you mean "fcc.filter.gain"'),
    ("fcc.filter.gain", 1.5, "out of range, allowed 0 to 1"),
    ("fcc.filter.gain", "high", "is not a number"),
])
def test_what_if_refuses_nonsense(flown: Path, key: str, value: object, text: str) -> None:
    with pytest.raises(LogError, match=text):
        replay(Log.open(flown), {key: value}, LIBRARY)


def test_changed_software_is_refused_with_the_difference(flown: Path) -> None:
    @python_task("replay.filter", reads={"radalt": "fsw_radalt_t"}, writes={"nav": "fsw_nav_t"},
                 state="typedef struct { double x; double y; } replay_filter2_t;",
                 params="typedef struct { double gain; /* [0, 1] = 0.125 : share */ } replay_filter2_params_t;")
    def other(io: TaskIO) -> None:
        io.writes["nav"]["t_valid_ns"] = 0

    log = Log.open(flown)
    with pytest.raises(LogError, match=r'task "filter" .* its state differ: "size 8" in the log, "f8 y at 8" here'):
        replay(log, library=Library({**TYPES, "replay.filter": other}, MESSAGES))
    with pytest.raises(LogError, match=r'"replay\.law", which this software does not have'):
        replay(log, library=Library({k: t for k, t in TYPES.items() if k != "replay.law"}, MESSAGES))
    from dataclasses import replace
    nav = MESSAGES["fsw_nav_t"]
    schema = nav.schema.replace("float64[3] v_bl_l", "float64[3] v_l")
    changed = {**MESSAGES, "fsw_nav_t": replace(nav, type_hash=1, schema=schema)}
    with pytest.raises(LogError, match=r'message fsw_nav_t differs: "float64\[3\] v_bl_l" in the log, "float64\[3\] v_l" here'):
        replay(log, library=Library(TYPES, changed))


def test_changed_code_of_the_same_layout_diverges(flown: Path) -> None:
    from dataclasses import replace

    def biased(io: TaskIO) -> None:
        assert smooth.python is not None
        smooth.python(io)
        if io.tick == 321:
            io.writes["nav"]["valid"] = 1

    library = Library({**TYPES, "replay.filter": replace(smooth, python=biased)}, MESSAGES)
    d = replay(Log.open(flown), library=library).divergence
    assert d is not None and (d.tick, d.task, d.topic, d.field, d.a, d.b) == (321, "filter", "nav", "valid", 0, 1)


def test_cut_log_is_not_exact(flown: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mcap"
    path.write_bytes(flown.read_bytes()[:200_000])
    with pytest.raises(LogError, match="is not exact"):
        replay(Log.open(path), library=LIBRARY)
    result = replay(Log.open(path), {}, LIBRARY)
    assert result.identical and not result.exact and 0 < result.ticks < TICKS
    assert any("not exact" in n for n in result.notes)


def test_logs_that_cannot_be_replayed(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="only one message in 2 was recorded"):
        replay(Log.open(fly(tmp_path / "thin.mcap", every=2)), library=LIBRARY)
    with pytest.raises(LogError, match='has no attachment "blob/x"'):
        replay(Log.open(fly(tmp_path / "other.mcap", run={"flight_computers": "x"})), library=LIBRARY)
    with LogWriter(tmp_path / "empty.mcap", [], {"run": {"seed": "1"}}, {}, 1_000_000):
        pass
    with pytest.raises(LogError, match="no flight computer in it"):
        replay(Log.open(tmp_path / "empty.mcap"), library=LIBRARY)


def test_flight_computer_by_role_or_found(tmp_path: Path) -> None:
    roles = json.dumps({"fcc": "flight_computer", "board": ""})
    for name, run in (("role", {"flight_computers": "", "roles": roles}), ("found", {"flight_computers": ""})):
        assert replay(Log.open(fly(tmp_path / f"{name}.mcap", run=run)), library=LIBRARY).identical


def test_diff(flown: Path, tmp_path: Path) -> None:
    same = diff(Log.open(flown), Log.open(fly(tmp_path / "same.mcap")))
    assert same.identical and same.topics == 4 and same.messages > 2 * TICKS

    def poke(graph: Graph) -> None:
        graph.nodes["fcc"].state("filter")["x"] += 1e-9

    other = diff(Log.open(flown), Log.open(fly(tmp_path / "other.mcap", {700: poke})))
    d = other.divergence
    assert d is not None and (d.tick, d.node, d.topic, d.field) == (700, "fcc", "nav", "r_bl_l[2]")
    seeds = diff(Log.open(flown), Log.open(fly(tmp_path / "seed.mcap", seed=8)))
    assert seeds.divergence is not None and (seeds.divergence.tick, seeds.divergence.topic) == (0, "radalt")
    assert seeds.divergence.node == "board"


# ---- the flagship, in C, and the command --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def booster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hil import Bench

    path = tmp_path_factory.mktemp("booster") / "flight.mcap"
    bench = Path(__file__).parent.parent / "bench_configs" / "zhuque3_landing.toml"
    with Bench.load(bench).start(log=path) as flight:
        flight.run(until=12.0)
    return path


def test_the_booster_is_identical(booster: Path) -> None:
    log = Log.open(booster)
    assert log.complete, log.problems
    result = replay(log)
    assert result.identical and result.exact, result.divergence
    assert result.ticks == 12_000 and result.topics > 15 and result.keyframes >= 2 and result.messages > 30_000
    assert result.notes == []


@pytest.mark.parametrize("option", ["fcc.nav.init_tilt_deg=3.5", "fcc.control.kp_1_s=0.77"])
def test_a_changed_parameter_makes_the_blob_that_the_bench_would_make(option: str) -> None:
    """Also where a task's init computes its first state from its parameters."""
    from flightsw.replay.patch import _patch
    from hil import Bench

    path = Path(__file__).parent.parent / "bench_configs" / "zhuque3_landing.toml"
    key, _, value = option.partition("=")
    _, task, name = key.split(".")
    flown, wanted = (next(c for c in Bench.load(path, sets).compiled(0) if c.name == "fcc") for sets in ([], [option]))
    assert flown.blob != wanted.blob
    assert _patch(flown, task, name, float(value)).blob == wanted.blob


def test_command_replay(booster: Path, tmp_path: Path) -> None:
    def run(*args: str) -> Any:
        return CliRunner().invoke(command, [*args], catch_exceptions=False, standalone_mode=False)

    same = run(str(booster))
    assert same.return_value == 0 and "12 000 ticks" in same.stdout and "identical" in same.stdout
    changed = tmp_path / "changed.mcap"
    tick = flip(booster, changed, "/fcc/imu0", 5000, 60 * 8)  # valid: the voter must do without this unit
    told = run(str(changed), "--json")
    first = json.loads(told.stdout)["divergence"]
    assert told.return_value == 1 and first["tick"] == tick and first["a_bits"] != first["b_bits"]
    assert first["kind"] == "input" and "imu0" in first["topic"].split(", ")  # before any task has read it
    name = "fcc.control.kp_1_s"
    assert run(str(booster), "--set", f"{name}=0.77").return_value == 1
    with pytest.raises(LogError, match="no such parameter"):
        run(str(booster), "--set", "fcc.control.nonsense=1")
