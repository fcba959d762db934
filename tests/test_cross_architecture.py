"""The same flight gives the same bits on every machine: all topics and all images, at every keyframe.

Reference is the flight in this process; native/test/fly_blob.c flies its bundle without Python, on each target of cross_targets.py.
"""

import os
import shutil
import struct
import subprocess
from dataclasses import replace

import crc32c
import cross_targets as ct
import numpy as np
import pytest
from cobs import cobs
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsw import python_task
from flightsw._native import digest, ffi, lib
from flightsw.bundle import bundle
from flightsw.errors import ConfigError
from flightsw.graph import Graph, Snapshot
from flightsw.messages import load_messages
from flightsw.schedule import NodeSpec, TaskSpec, compile_node

pytestmark = pytest.mark.timeout(400)   # the first that wants a target waits until it is built
E_VERSION, E_HASH, E_SIZE, E_RANGE, E_MAGIC = -2, -3, -4, -9, -1
HEAD = struct.Struct("<4sIQqIIII")      # magic, version, hash, start tick, size, nodes, links, link image


@pytest.fixture(scope="session")
def builder(request, tmp_path_factory):
    """Builds in the background what the tests of this session will want."""
    wanted = {item.callspec.params["target"].name for item in request.session.items
              if "target" in getattr(getattr(item, "callspec", None), "params", {})}
    builder = ct.Builder(tmp_path_factory.mktemp("targets"), [t for t in ct.TARGETS if t.name in wanted])
    yield builder
    builder.close()


def built(builder, target):
    """Build folder of a target. Skips with the packages that it lacks; in CI that is a failure."""
    if target.missing():
        text = f"{target.name}: not installed, apt: {' '.join(target.missing())}"
        if os.environ.get("CI"):
            pytest.fail(text, pytrace=False)
        pytest.skip(text)
    return builder.folder_of(target)


each_target = pytest.mark.parametrize("target", ct.TARGETS, ids=lambda t: t.name)


# ---- the flights -----------------------------------------------------------------------------------------------------


@each_target
@pytest.mark.parametrize("part", ct.PARTS, ids=lambda p: p.name)
def test_same_flight(builder, target, part):
    folder, expected = built(builder, target), ct.reference(part)
    lines = ct.fly(target, folder, expected.bundle, part.until)
    for mine, theirs in zip(lines, expected.lines, strict=False):
        assert mine == theirs, f"first difference: {target.name} says {mine}, this process {theirs}"
    assert len(lines) == len(expected.lines)


def engine_events(graph, until):
    """(starts, lit, touched, settled) whenever they change, looked at ten times a second."""
    out = []
    while graph.tick < until:
        graph.run(graph.tick + 100)
        engines, outcome = graph.nodes["fcc"].topic("engines"), graph.nodes["world"].topic("outcome")
        now = (int(engines["starts"][0]), int(engines["lit_mask"]), int(outcome["touched"]), int(outcome["settled"]))
        if not out or out[-1] != now:
            out.append(now)
    return out


def test_the_flights_hold_what_they_are_flown_for():
    hopper = engine_events(ct.graph_at_start(ct.HOPPER), ct.HOPPER.until)
    assert hopper == [(0, 0, 0, 0), (1, 0, 0, 0), (1, 1, 0, 0), (1, 0, 0, 0), (2, 0, 0, 0), (2, 1, 0, 0), (2, 1, 1, 0),
                      (2, 0, 1, 0), (2, 0, 1, 1)]        # start, take-off, engine off, relight, touchdown, engine off, at rest
    landing = engine_events(ct.graph_at_start(ct.LANDING), ct.LANDING.until)
    assert landing == [(0, 0, 0, 0), (1, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 1, 1)]


def test_topics_hold_everything_that_is_written_and_arrives():
    graph = ct.graph_at_start(ct.HOPPER)
    recorder = ct.Recorder(graph)
    recorder.run(3000)
    names = [(node, topic) for node in graph.compiled for topic in node.topics]
    assert recorder.c.records == sum(graph.nodes[node.name].writes_of(topic) for node, topic in names) > 50_000
    assert recorder.c.dropped == 0


def test_from_a_seed(builder):
    """A bundle without images starts as a graph does."""
    graph, expected = ct.graph_at_start(ct.HOPPER), ct.reference(ct.HOPPER).lines
    lines = ct.fly(ct.NATIVE, built(builder, ct.NATIVE), bundle(graph.compiled, graph.links, 1), 3000)
    assert lines == [line for line in expected if int(line.split()[0]) <= 3000]


# ---- link frames -----------------------------------------------------------------------------------------------------


def expected_frame(k):
    """What print_frames.c prints, by independent libraries."""
    length, t_ns = 48 * k, k * 1234567890123 - 5000000000001
    fields = (3 * k & 255, k + 1, 250 - k, 0x01020304 * (k + 1), 0xFFFEFDFC - k, t_ns)
    head = struct.pack("<BBBBHHIIq", 1, *fields[:3], length, 0, *fields[3:])
    body = head + bytes((i * (k + 7) >> 3) & 255 for i in range(length))
    bare = body + struct.pack("<I", crc32c.crc32c(body))
    stream = b"\0" + cobs.encode(bare) + b"\0"
    return f"{bare.hex()} {stream.hex()} {' '.join(map(str, fields))} {length}"


@pytest.mark.parametrize("target", [t for t in ct.TARGETS if not t.bare], ids=lambda t: t.name)
def test_same_frames(builder, target):
    folder = built(builder, target)
    result = subprocess.run([*target.runner, str(folder / "print_frames")], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == [expected_frame(k) for k in range(14)]


# ---- the gate has teeth ----------------------------------------------------------------------------------------------


def flipped(data, offset, bit=0):
    """The bytes with one bit changed."""
    out = bytearray(data)
    out[offset] ^= 1 << bit
    return bytes(out)


def in_flight(graph, node, topic):
    """Offset in the link image of a topic's message that arrives next."""
    k = next(i for i, c in enumerate(graph.compiled) if c.name == node)
    entry = graph.bench.nodes[k].topics[graph.compiled[k].topic_index(topic)]
    route = graph.bench.routes[entry.first_route]
    return route.ring - graph.bench.link_image + (graph.tick - route.latency) % route.depth * route.stride


def wrong(graph, what):
    """A snapshot of the graph with its lowest bit wrong somewhere."""
    snap, world = graph.snapshot(), next(c for c in graph.compiled if c.name == "world")
    task = world.tasks[0]
    if what == "message in flight":
        offset = graph.nodes["imu0"].compiled.topics["imu"].type.dtype.fields["dv_b"][1]
        return replace(snap, links=flipped(snap.links, in_flight(graph, "imu0", "imu") + offset))
    offset = {"seed": 16, "state": task.state_offset + task.type.state_dtype.fields["y"][1],
              "parameter": task.params_offset + task.type.params_dtype.fields["mass_dry_kg"][1]}[what]
    return replace(snap, images={**snap.images, "world": flipped(snap.images["world"], offset)})


def topic_lines(lines, until):
    """{tick: topic digest} up to a tick."""
    split = [line.split() for line in lines]
    return {int(tick): value for tick, what, value in split if what == "topics" and int(tick) <= until}


@pytest.mark.parametrize("what", ["seed", "state", "parameter", "message in flight"])
def test_one_wrong_bit_changes_the_digests(builder, what):
    folder, graph, right = built(builder, ct.NATIVE), ct.graph_at_start(ct.LANDING), ct.reference(ct.LANDING).lines
    until = ct.LANDING.first + 1500
    lines = ct.fly(ct.NATIVE, folder, bundle(graph.compiled, graph.links, wrong(graph, what)), until)
    assert topic_lines(lines, until)[until] != topic_lines(right, until)[until]
    images = slice(1, 1 + len(graph.nodes))                                   # of the first keyframe
    differ = [k for k, (a, b) in enumerate(zip(lines[images], right[images], strict=True)) if a != b]
    assert differ == ([] if what == "message in flight" else [0])             # that one enters with the first tick


def test_fused_multiply_add_is_refused_or_seen(builder, tmp_path):
    """aarch64 fuses a*b+c when it is allowed to: the canary refuses such a core, and a fused world flies elsewhere."""
    folder = built(builder, ct.AARCH64)
    whole = ct.reference(ct.LANDING)
    until = ct.LANDING.first + 1500

    def linked(*sources):
        objects = []
        for source in sources:
            objects.append(str(tmp_path / (source.replace("/", "_") + ".o")))
            ct.run_quietly(["aarch64-linux-gnu-gcc", "-std=c11", "-O2", "-ffreestanding", "-fno-math-errno", "-ffp-contract=fast",
                            f"-I{ct.ROOT}/native/include", "-c", f"{ct.ROOT}/native/{source}", "-o", objects[-1]])
        main = folder / "CMakeFiles/fly_blob.dir/native/test/fly_blob.c.o"
        archives = [str(folder / f"libfsw_{name}.a") for name in ("tasks", "gnc", "world", "core")]
        ct.run_quietly(["aarch64-linux-gnu-gcc", "-static", "-o", str(tmp_path / "fly_blob"), str(main), *objects,
                        "-Wl,--start-group", *archives, "-Wl,--end-group"])
        return tmp_path

    with pytest.raises(AssertionError, match=r"exit code 3: .*not exact"):
        ct.fly(ct.AARCH64, linked("core/exact.c"), whole.bundle, until)
    lines = ct.fly(ct.AARCH64, linked("world/derivative.c"), whole.bundle, until)
    mine, right = topic_lines(lines, until), topic_lines(whole.lines, until)
    assert [tick for tick in right if mine[tick] == right[tick]] == [ct.LANDING.first]   # nothing is recorded yet


def test_a_missing_tool_is_named(monkeypatch):
    target = next(t for t in ct.TARGETS if t.name.startswith("s390x"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(ct.Path, "exists", lambda self: False)
    assert target.missing() == ["cmake", "ninja-build", "gcc-s390x-linux-gnu", "libc6-dev-s390x-cross", "qemu-user-static"]
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="gcc-s390x-linux-gnu libc6-dev-s390x-cross"):
        built(None, target)
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="qemu-user-static"):
        built(None, target)


# ---- bundles ---------------------------------------------------------------------------------------------------------


class Loaded:
    """A bundle loaded by the core in this process."""

    def __init__(self, data, capacity=1 << 21):
        self.data = ffi.new("uint8_t[]", len(data))
        ffi.memmove(self.data, bytes(data), len(data))
        self.memory = ffi.new("uint64_t[]", capacity // 8)
        self.bench, n, used, culprit = (ffi.new(t) for t in ("fsw_bench_t *", "uint32_t *", "size_t *", "uint32_t *"))
        tasks = lib.fsw_builtin_tasks(n)
        self.rc = lib.fsw_bundle_load(self.bench, self.data, len(data), self.memory, capacity, used, tasks, n[0], culprit)
        self.used, self.culprit = used[0], culprit[0]

    def saved(self):
        assert lib.fsw_bundle_save(self.bench, self.data, len(self.data)) == 0
        return bytes(ffi.buffer(self.data))


def sealed(data):
    """The bytes with size and hash put right."""
    out = bytearray(data)
    out[24:28] = struct.pack("<I", len(out))
    out[8:16] = struct.pack("<Q", digest(bytes(out[16:])))
    return bytes(out)


def with_head(data, **changes):
    """The bundle with other fields of its head, sealed."""
    names = ("magic", "version", "hash", "tick", "size", "nodes", "links", "link_image")
    fields = dict(zip(names, HEAD.unpack_from(data), strict=True)) | changes
    return sealed(HEAD.pack(*fields.values()) + data[HEAD.size :])


def parts_of(data):
    """{name: offset} of the parts of a bundle: node heads, blobs, images, link table, link image."""
    _, _, _, _, _, n_nodes, n_links, _ = HEAD.unpack_from(data)
    at, out = HEAD.size, {}
    for k in range(n_nodes):
        blob, image = struct.unpack_from("<II", data, at)
        out[f"head{k}"], out[f"blob{k}"], out[f"image{k}"] = at, at + 24, at + 24 + -(-blob // 8) * 8
        at = out[f"image{k}"] + -(-image // 8) * 8
    return out | {"links": at, "link_image": at + 24 * n_links}


@pytest.fixture(scope="module")
def landing():
    return ct.reference(ct.LANDING).bundle


def test_load_and_save_are_inverse(landing):
    loaded = Loaded(landing)
    assert loaded.rc == 0 and loaded.bench.tick == ct.LANDING.first
    assert loaded.saved() == landing
    assert Loaded(landing, loaded.used // 8 * 8).rc == 0
    assert Loaded(landing, loaded.used - 8).rc == E_SIZE


def test_a_loaded_bundle_goes_on_like_a_restored_graph(landing):
    graph = ct.graph_at_start(ct.LANDING)
    snap, loaded = graph.snapshot(), Loaded(landing)
    graph.run(graph.tick + 700)
    assert lib.fsw_bench_run(loaded.bench, graph.tick) == 0
    assert loaded.saved() == bundle(graph.compiled, graph.links, graph.snapshot())
    graph.restore(snap)
    assert bundle(graph.compiled, graph.links, graph.snapshot()) == landing


def test_a_node_without_image_starts_anew_at_the_start_tick(landing):
    """What a restarted computer does: initial image of its blob, tick of the bench."""
    at, k = parts_of(landing), 1
    size = struct.unpack_from("<I", landing, at[f"head{k}"] + 4)[0]
    without = bytearray(landing)
    without[at[f"head{k}"] + 4 : at[f"head{k}"] + 8] = bytes(4)
    del without[at[f"image{k}"] : at[f"image{k}"] + -(-size // 8) * 8]
    loaded = Loaded(sealed(without))
    head = ffi.cast("fsw_image_head_t *", loaded.bench.nodes[k].image)
    assert loaded.rc == 0 and head.tick == ct.LANDING.first and head.seed == 1
    assert lib.fsw_bench_run(loaded.bench, ct.LANDING.first + 10) == 0
    assert lib.fsw_bundle_save(loaded.bench, loaded.data, len(loaded.data)) == E_SIZE   # there is no room for its image


def test_damage_is_found(landing):
    assert Loaded(flipped(landing, 0)).rc == E_MAGIC
    for offset in (8, 16, 28, 40, 1000, len(landing) // 2, len(landing) - 1):
        assert Loaded(flipped(landing, offset, 5)).rc == E_HASH
    for n in (0, 3, 39, 40, 64, len(landing) - 8, len(landing) - 1):
        assert Loaded(landing[:n]).rc == E_SIZE
    assert Loaded(landing + bytes(8)).rc == E_SIZE


def test_other_versions_are_refused_by_number(landing):
    assert Loaded(with_head(landing, version=1)).rc == E_VERSION
    assert Loaded(with_head(landing, version=3)).rc == E_VERSION


def test_what_does_not_fit_together_is_refused(landing):
    at = parts_of(landing)
    assert Loaded(with_head(landing, tick=ct.LANDING.first + 1)).rc == E_RANGE
    assert Loaded(with_head(landing, tick=-1)).rc == E_RANGE
    assert Loaded(with_head(landing, nodes=4097)).rc == E_RANGE
    of_other_blob = Loaded(sealed(flipped(landing, at["image3"])))
    assert (of_other_blob.rc, of_other_blob.culprit) == (E_HASH, 3)
    of_other_tick = Loaded(sealed(flipped(landing, at["image4"] + 8)))
    assert (of_other_tick.rc, of_other_tick.culprit) == (E_RANGE, 4)
    assert Loaded(sealed(flipped(landing, at["links"] + 2))).rc == E_RANGE
    assert Loaded(sealed(landing + bytes(8))).rc == E_SIZE
    _, _, _, _, _, nodes, _, _ = HEAD.unpack_from(landing)
    assert Loaded(with_head(landing, link_image=8)).rc == E_SIZE
    assert Loaded(sealed(landing)).rc == 0 and nodes > 20


def test_seed_and_stream_of_an_image_are_saved(landing):
    loaded = Loaded(landing)
    head = ffi.cast("fsw_image_head_t *", loaded.bench.nodes[2].image)
    head.seed, head.stream = 0x0102030405060708, 99
    again = Loaded(loaded.saved())
    head = ffi.cast("fsw_image_head_t *", again.bench.nodes[2].image)
    assert again.rc == 0 and (head.seed, head.stream) == (0x0102030405060708, 99)


def due_lists(loaded):
    """The due lists of a bench as an array: [slot, 2 + k]; count first."""
    b = loaded.bench
    raw = ffi.buffer(b.link_image, (b.due_mask + 1) * b.due_stride)
    return np.frombuffer(raw, "<u2").reshape(b.due_mask + 1, -1)


@pytest.mark.parametrize("ahead", [0, 1])
def test_due_lists_are_checked(landing, ahead):
    """A count beyond what can be due, and an index of a route that is not there or cannot be due yet."""
    loaded, start = Loaded(landing), parts_of(landing)["link_image"]
    lists = due_lists(loaded)
    slot = (ct.LANDING.first + ahead) % len(lists)
    row = start + slot * lists.shape[1] * 2

    def altered(k, value):
        return Loaded(sealed(landing[: row + 2 * k] + struct.pack("<H", value) + landing[row + 2 * k + 2 :])).rc

    routes = 1 + max(int(lists[:, 2:].max()), 0)
    assert altered(0, 0xFFFF) == E_RANGE
    assert altered(0, loaded.bench.n_links + 1) == E_RANGE
    if ahead == 0:
        assert lists[slot, 0] > 5
        assert altered(2, 0xFFFE) == E_RANGE
        assert altered(2, routes - 1) == 0
    else:
        assert altered(0, 1) == E_RANGE                       # nothing takes two ticks here
        assert altered(0, 0) == 0


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_malformed_bundle_is_refused_or_flies(landing, data):
    """Sealed, but with wrong bytes where it says how it is made up: no crash, and no index outside."""
    at = parts_of(landing)
    spans = [(16, HEAD.size), *((at[k], at[k] + 24) for k in at if k.startswith("head")), (at["links"], at["link_image"]),
             (at["link_image"], at["link_image"] + 400)]
    out = bytearray(landing)
    for _ in range(data.draw(st.integers(1, 3))):
        low, high = data.draw(st.sampled_from(spans))
        out[data.draw(st.integers(low, high - 1))] = data.draw(st.integers(0, 255))
    loaded = Loaded(sealed(out))
    assert loaded.rc in (0, -1, E_VERSION, E_HASH, E_SIZE, E_RANGE)
    if loaded.rc == 0:
        assert lib.fsw_bench_run(loaded.bench, loaded.bench.tick + 3) == 0


def test_bundle_refuses_what_it_cannot_hold():
    @python_task("mine.nothing", reads={}, writes={"truth": "fsw_truth_t"})
    def nothing(io):
        pass

    messages = load_messages([])
    node = compile_node(NodeSpec("n", [TaskSpec("t", "mine.nothing", 1)], 1_000_000), {"mine.nothing": nothing}, messages, {})
    with pytest.raises(ConfigError, match="Python task"):
        bundle([node], [], 1)
    graph = ct.graph_at_start(ct.HOPPER)
    snap = graph.snapshot()
    with pytest.raises(ConfigError, match="another hash"):
        bundle(graph.compiled, graph.links, Snapshot(0, {**snap.images, "fcc": bytes(100)}, snap.links))
    with pytest.raises(ConfigError, match="messages in flight"):
        bundle(graph.compiled, graph.links[1:], snap)


def test_links_with_latency_and_messages_in_flight():
    """Rings deeper than one, several latencies of one topic: a bundle goes on exactly at every tick of the ring."""
    bench_graph = ct.graph_at_start(ct.HOPPER)
    slow = [replace(k, latency_ticks=1 + i % 5) for i, k in enumerate(bench_graph.links)]
    graph = Graph(bench_graph.compiled, slow, load_messages([]), 7)
    graph.run(20)
    data = bundle(graph.compiled, slow, graph.snapshot())
    lists, row = due_lists(Loaded(data)), parts_of(data)["link_image"]
    row += 22 % len(lists) * lists.shape[1] * 2     # falls due two ticks ahead: only what takes three ticks or more can
    assert 1 <= lists[22 % len(lists), 0] < 30
    quick = next(r for r in range(10) if Loaded(data).bench.routes[r].latency <= 2)
    assert Loaded(sealed(data[: row + 4] + struct.pack("<H", quick) + data[row + 6 :])).rc == E_RANGE
    for _ in range(10):
        graph.run(graph.tick + 1)
        loaded = Loaded(bundle(graph.compiled, slow, graph.snapshot()))
        assert loaded.rc == 0
        other = Graph(graph.compiled, slow, load_messages([]), 7)
        other.restore(graph.snapshot())
        other.run(graph.tick + 40)
        assert lib.fsw_bench_run(loaded.bench, other.tick) == 0
        assert loaded.saved() == bundle(graph.compiled, slow, other.snapshot())
