"""Schedule, binding, images: what a table may say, and that a node is a value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flightsw
from flightsw import Graph, LinkSpec, NodeSpec, TaskSpec, compile_node, python_task
from flightsw.params import Given

MS = 1_000_000
COUNTER = "typedef struct { double n; } counter_t;"
GAIN = "typedef struct { double step; /* [0, 10] = 1 : increment */ } gain_t;"


@python_task("test.source", reads={}, writes={"imu": "fsw_imu_t"}, state=COUNTER, params=GAIN)
def source(io):
    """Counts up."""
    io.state["n"] += io.params["step"]
    io.writes["imu"]["dv_b"][0] = io.state["n"]


@python_task("test.follow", reads={"imu": "fsw_imu_t"}, writes={"nav": "fsw_nav_t"})
def follow(io):
    """Copies what it reads, with the tick."""
    io.writes["nav"]["f_b"][0] = io.reads["imu"]["dv_b"][0]
    io.writes["nav"]["t_valid_ns"] = io.t_ns


@python_task("test.noise", reads={}, writes={"imu": "fsw_imu_t"})
def noise(io):
    """White noise."""
    io.writes["imu"]["dv_b"][:] = io.gauss(0)[:3]


@python_task("test.broken", reads={}, writes={"imu": "fsw_imu_t"})
def broken(io):
    """Fails in tick 3."""
    if io.tick == 3:
        raise RuntimeError("out of cheese")


TASKS = {t.name: t for t in (source, follow, noise, broken)}
MESSAGES = flightsw.load_messages([])


def node(name, *tasks, inputs=(), constants=None):
    return compile_node(NodeSpec(name, tasks, MS, frozenset(inputs)), TASKS, MESSAGES, constants or {})


def graph(*nodes, links=(), seed=1):
    return Graph(nodes, links, MESSAGES, seed)


def refused(*tasks, inputs=()):
    with pytest.raises(flightsw.ConfigError) as info:
        node("n", *tasks, inputs=inputs)
    return str(info.value)


def test_unknown_type_is_refused_with_a_suggestion():
    assert 'unknown task type "test.sorce", did you mean "test.source"?' in refused(TaskSpec("a", "test.sorce", 1))


def test_two_writers_of_one_topic_are_refused():
    text = refused(TaskSpec("a", "test.source", 1), TaskSpec("b", "test.noise", 1))
    assert 'topic "imu" is already written by task "a"' in text


def test_topic_that_nobody_writes_is_refused():
    assert 'nothing writes or delivers topic "imu"' in refused(TaskSpec("a", "test.follow", 1))


def test_type_mismatch_is_refused():
    text = refused(TaskSpec("a", "test.source", 1), TaskSpec("b", "test.follow", 1, writes={"nav": "imu"}, reads={"imu": "imu"}))
    assert "carries fsw_imu_t, this port is fsw_nav_t" in text


@pytest.mark.parametrize(("change", "words"), [
    ({"period_ticks": 0}, "out of range, at least 1"),
    ({"period_ticks": 5, "phase_ticks": 5}, "allowed 0 to 4"),
    ({"period_ticks": 1, "on_miss": "panic"}, "not one of warn, skip, safe, stop"),
    ({"period_ticks": 1, "params": {"stop": Given(1.0, "f", "stop")}}, 'unknown parameter, did you mean "step"'),
    ({"period_ticks": 1, "params": {"step": Given(11.0, "f", "step")}}, "11 is out of range, allowed 0 to 10"),
    ({"period_ticks": 1, "params": {"step": Given(True, "f", "step")}}, "is not a number, allowed 0 to 10"),
    ({"period_ticks": 1, "params": {"step": Given(float("nan"), "f", "step")}}, "not a finite number"),
    ({"period_ticks": 1, "params": {"step": Given([1.0], "f", "step")}}, "one number is wanted"),
    ({"period_ticks": 1, "writes": {"imo": "x"}}, 'no such port, did you mean "imu"'),
])
def test_bad_rows_are_refused(change, words):
    assert words in refused(TaskSpec("a", "test.source", **change))


def test_table_whose_periods_hardly_repeat_is_refused():
    tasks = [TaskSpec(f"t{p}", "test.source", p, writes={"imu": f"imu{p}"}) for p in (997, 991, 983)]
    assert "choose periods that divide one another" in refused(*tasks)


def test_all_problems_are_reported_together():
    text = refused(TaskSpec("a", "test.sorce", 0), TaskSpec("a", "test.source", 1, on_miss="x"))
    assert len(text.splitlines()) == 4


def test_reading_a_later_writer_is_a_one_tick_delay():
    n = node("n", TaskSpec("f", "test.follow", 1), TaskSpec("s", "test.source", 1))
    assert n.delayed_reads() == [("f", "imu", "s")]
    g = graph(n)
    g.run(5)
    assert g.nodes["n"].topic("nav")["f_b"][0] == 4.0
    g = graph(node("n", TaskSpec("s", "test.source", 1), TaskSpec("f", "test.follow", 1)))
    g.run(5)
    assert g.nodes["n"].topic("nav")["f_b"][0] == 5.0


def test_constant_of_the_same_name_is_taken_and_an_own_value_wins():
    constants = {"step": Given(3.0, "vehicle.toml", "x.step")}
    n = node("n", TaskSpec("s", "test.source", 1), constants=constants)
    assert n.used_constants == {"step"}
    g = graph(n)
    g.run(2)
    assert g.nodes["n"].state("s")["n"] == 6.0
    own = TaskSpec("s", "test.source", 1, params={"step": Given(4.0, "f", "k")})
    g = graph(node("n", own, constants=constants))
    g.run(2)
    assert g.nodes["n"].state("s")["n"] == 8.0


@given(st.lists(st.tuples(st.sampled_from([1, 2, 4, 5, 10, 20]), st.integers(0, 19)), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_tasks_run_exactly_when_the_table_says(rows):
    tasks = [TaskSpec(f"t{i}", "test.source", p, phase % p, writes={"imu": f"imu{i}"}) for i, (p, phase) in enumerate(rows)]
    g = graph(node("n", *tasks))
    g.run(60)
    for i, (p, phase) in enumerate(rows):
        assert g.nodes["n"].state(f"t{i}")["n"] == sum(1 for t in range(60) if t % p == phase % p)
        assert g.nodes["n"].writes_of(f"imu{i}") == g.nodes["n"].state(f"t{i}")["n"]


@pytest.mark.parametrize("latency", [1, 2, 3, 7])
def test_link_delivers_after_its_latency(latency):
    g = graph(node("a", TaskSpec("s", "test.source", 1)), node("b", TaskSpec("f", "test.follow", 1), inputs=["imu"]),
              links=[LinkSpec("a", "imu", "b", "imu", latency)])
    for tick in range(1, 20):
        g.run(tick)
        # what was written in tick n (value n + 1) is read in tick n + latency
        assert g.nodes["b"].topic("nav")["f_b"][0] == max(0, tick - latency)


def test_order_of_nodes_changes_nothing():
    a = node("a", TaskSpec("s", "test.source", 2))
    b = node("b", TaskSpec("f", "test.follow", 3), inputs=["imu"])
    link = [LinkSpec("a", "imu", "b", "imu", 2)]
    one, other = graph(a, b, links=link), graph(b, a, links=link)
    one.run(50)
    other.run(50)
    assert one.digests() == other.digests()


def test_snapshot_restore_and_fork():
    nodes = (node("a", TaskSpec("s", "test.noise", 1)), node("b", TaskSpec("f", "test.follow", 1), inputs=["imu"]))
    links = [LinkSpec("a", "imu", "b", "imu", 4)]
    g = graph(*nodes, links=links)
    g.run(10)
    snap = g.snapshot()
    g.run(30)
    after = g.digests()
    g.restore(snap)
    assert g.tick == 10
    g.run(30)
    assert g.digests() == after
    fork = graph(*nodes, links=links, seed=99)  # even the seed comes from the snapshot
    fork.restore(snap)
    fork.run(30)
    assert fork.digests() == after


def test_snapshot_of_another_node_is_refused():
    snap = graph(node("n", TaskSpec("s", "test.source", 1))).snapshot()
    other = graph(node("n", TaskSpec("s", "test.source", 2)))
    with pytest.raises(flightsw.ConfigError, match="another hash"):
        other.restore(snap)


def test_seed_decides_the_noise_and_the_digest_sees_one_bit():
    def run(seed):
        g = graph(node("n", TaskSpec("s", "test.noise", 1)), seed=seed)
        g.run(20)
        return g
    assert run(1).digests() == run(1).digests() != run(2).digests()
    g = run(1)
    before = g.digests()
    g.nodes["n"].image[-1] ^= 1
    assert g.digests() != before


def test_every_nan_has_the_same_digest():
    g = graph(node("n", TaskSpec("s", "test.source", 1)))
    values = []
    for bits in (0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000123):
        g.nodes["n"].topic("imu")["dv_b"][:] = np.array([bits], "<u8").view("<f8")[0]
        values.append(g.digests()["n"])
    assert values[0] == values[1] == values[2]


def test_exception_in_a_python_task_stops_the_run_and_reaches_the_caller():
    g = graph(node("n", TaskSpec("s", "test.broken", 1)))
    with pytest.raises(RuntimeError, match="out of cheese"):
        g.run(10)
    with pytest.raises(flightsw.StepError, match='node "n", task "s": error -100'):
        g.run(10)


def test_damaged_load_blob_is_refused():
    from flightsw._native import ffi, lib

    blob = node("n", TaskSpec("s", "test.source", 1)).blob

    def check(data):
        memory = ffi.new("uint64_t[]", -(-len(data) // 8))
        ffi.memmove(memory, data, len(data))
        return lib.fsw_blob_check(memory, len(data))

    assert check(blob) == 0
    for position in range(0, len(blob), 7):
        hurt = bytearray(blob)
        hurt[position] ^= 0x10
        assert check(bytes(hurt)) < 0, f"byte {position}"
    assert check(blob[:-8]) < 0
