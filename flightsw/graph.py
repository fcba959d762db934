"""Graph: compiled nodes joined by links, run by the C core.

This is the runtime under a bench and under a replay. A single node is a graph without links.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from flightsw._native import digest, ffi, lib
from flightsw.errors import ConfigError, FlightswError, StepError
from flightsw.messages import MessageType, dtype_of
from flightsw.schedule import CompiledNode
from flightsw.tasks import bind_python, keep_failure, take_failure, unbind_python

_REASONS = {-1: "not a load blob", -2: "a load blob of another version", -3: "bytes differ from their hash", -4: "truncated",
            -5: "a task is not linked in", -6: "a task has another layout here",
            -8: "a task returned an error", -9: "an index points outside"}
NEED_DRAIN, STOPPED = 1, 2
INPUTS, SKIPS, UPSETS, RESTORES = "_inputs", "_skips", "_upsets", "_restores"  # beside topics: no name begins so
TIMING = dtype_of(ffi.typeof("fsw_task_timing_t"))


@dataclass(frozen=True)
class LinkSpec:
    """A link between two topics of compiled nodes. latency_ticks >= 1."""

    src_node: str
    src_topic: str
    dst_node: str
    dst_topic: str
    latency_ticks: int = 1


@dataclass(frozen=True)
class Snapshot:
    """All images of a graph at one tick: enough to go on from there, anywhere."""

    tick: int
    images: Mapping[str, bytes]
    links: bytes


class Remote(Protocol):
    """What runs nodes elsewhere (hil.remote). Whatever a method raises comes out of `Graph.run`, `snapshot` or `restore`."""

    def begin(self, tick: int) -> None:
        """Inputs of this tick lie in the mirrors: send them."""

    def end(self, tick: int, node: int) -> None:
        """Publish what a node wrote in this tick."""

    def fetch(self) -> None:
        """Bring the images of the mirrors up to date."""

    def send(self) -> None:
        """Put the images of the mirrors in place over there."""


class NodeView:
    """A loaded node: topics, states and parameters as numpy records in the image (views, not copies)."""

    def __init__(self, compiled: CompiledNode, c: Any, image: np.ndarray[Any, Any]) -> None:
        self.compiled, self.c, self.image = compiled, c, image
        self.name = compiled.name
        self._scratch = np.zeros(-(-compiled.image_size // 8), np.uint64)

    def _record(self, offset: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        return self.image[offset : offset + dtype.itemsize].view(dtype).reshape(())

    def topic(self, name: str) -> np.ndarray[Any, Any]:
        """Record of a topic as it stands (a view). KeyError when the node has none of that name."""
        t = self.compiled.topics[name]
        return self._record(t.offset + 16, t.type.dtype)

    def writes_of(self, name: str) -> int:
        """How often the topic has been written or has arrived."""
        offset = self.compiled.topics[name].offset
        return int(self.image[offset + 8 : offset + 12].view("<u4")[0])

    def _task(self, name: str) -> Any:
        return next(t for t in self.compiled.tasks if t.spec.name == name)

    def state(self, task: str) -> np.ndarray[Any, Any]:
        """State record of a task (a view)."""
        t = self._task(task)
        return self._record(t.state_offset, t.type.state_dtype)

    def params(self, task: str) -> np.ndarray[Any, Any]:
        """Parameter record of a task (a view)."""
        t = self._task(task)
        return self._record(t.params_offset, t.type.params_dtype)

    def input(self, topic: str, record: np.ndarray[Any, Any]) -> None:
        """Put a message through the node's input gate, for the tick that comes next."""
        t = self.compiled.topics[topic]
        raw = np.ascontiguousarray(record, t.type.dtype).tobytes()
        lib.fsw_node_input(self.c, self.compiled.topic_index(topic), ffi.from_buffer(raw))

    def digest(self) -> int:
        """XXH64 of the image: little-endian, NaN made equal; the same on every machine."""
        return int(lib.fsw_node_digest(self.c, ffi.from_buffer("uint8_t[]", self._scratch, require_writable=True)))


class Graph:
    """Nodes and links, loaded and ready to run.

    seed: of all random numbers. Each node draws from its own stream, named by its name, so adding a node changes no other.
    Raises ConfigError when a blob cannot be loaded.
    """

    def __init__(self, nodes: Sequence[CompiledNode], links: Sequence[LinkSpec], messages: Mapping[str, MessageType],
                 seed: int = 0) -> None:
        self.compiled = list(nodes)
        self._keep: list[Any] = []
        self._c_nodes = ffi.new("fsw_node_t[]", max(1, len(nodes)))
        self._python: list[Any] = []
        self.nodes: dict[str, NodeView] = {}
        for k, node in enumerate(nodes):
            self._load(k, node, messages, seed)
        self._finalizer = weakref.finalize(self, _unbind, self._python)
        self._c_links = ffi.new("fsw_link_t[]", max(1, len(links)))
        names = [n.name for n in nodes]
        for k, link in enumerate(links):
            src, dst = names.index(link.src_node), names.index(link.dst_node)
            c = self._c_links[k]
            c.src_node, c.src_topic = src, nodes[src].topic_index(link.src_topic)
            c.dst_node, c.dst_topic = dst, nodes[dst].topic_index(link.dst_topic)
            c.latency_ticks, c.size = link.latency_ticks, nodes[src].topics[link.src_topic].type.size
        self.links = list(links)
        size = lib.fsw_bench_memory(self._c_links, len(links))
        memory = ffi.new("uint64_t[]", max(1, -(-size // 8)))
        self.bench = ffi.new("fsw_bench_t *")
        rc = lib.fsw_bench_init(self.bench, self._c_nodes, len(nodes), self._c_links, len(links), memory, size)
        if rc:
            raise ConfigError.one("links", "", f"cannot be joined: {_REASONS[rc]}")
        self._keep.append(memory)
        self._link_image = np.frombuffer(ffi.buffer(self.bench.link_image, self.bench.link_image_size), np.uint8)
        self._remote: Remote | None = None
        self._feed_ticks = np.zeros(0, np.int64)

    def _load(self, k: int, node: CompiledNode, messages: Mapping[str, MessageType], seed: int) -> None:
        blob = ffi.new("uint64_t[]", -(-len(node.blob) // 8))
        ffi.memmove(blob, node.blob, len(node.blob))
        rc = lib.fsw_blob_check(blob, len(node.blob))
        if rc:
            raise ConfigError.one(node.name, "", f"load blob refused: {_REASONS[rc]}")
        size = lib.fsw_node_memory(blob)
        memory = ffi.new("uint64_t[]", size // 8)
        descs = ffi.new("fsw_task_desc_t *[]", [t.type.desc for t in node.tasks])
        culprit = ffi.new("uint32_t *")
        c = self._c_nodes + k
        rc = lib.fsw_node_load(c, memory, size, blob, descs, len(node.tasks), culprit)
        if rc:
            raise ConfigError.one(node.name, node.tasks[culprit[0]].spec.name, f"load blob refused: {_REASONS[rc]}")
        self._keep += [blob, memory, descs]
        image = np.frombuffer(ffi.buffer(c.image, node.image_size), np.uint8)
        head = ffi.cast("fsw_image_head_t *", c.image)
        head.seed, head.stream = seed, digest(node.name.encode()) & 0xFFFFFFFF
        for i, task in enumerate(node.tasks):
            if task.type.python is not None:
                self._python.append(bind_python(ffi.addressof(c.tasks[i], "io"), task.type, messages))
        self.nodes[node.name] = NodeView(node, c, image)

    @property
    def tick(self) -> int:
        """Ticks completed."""
        return int(self.bench.tick)

    def run(self, until_tick: int) -> int:
        """Run until that many ticks are complete. Returns 0, NEED_DRAIN or STOPPED.

        Raises StepError when a task fails, and whatever a Python task raised.
        """
        rc = lib.fsw_bench_run(self.bench, until_tick)
        if rc >= 0:
            return int(rc)
        failure = take_failure()
        if failure is not None:
            raise failure
        raise self._step_error(rc)

    def _step_error(self, rc: int) -> FlightswError:
        node = self.compiled[self.bench.error_node]
        if rc != -8:
            return StepError(f'node "{node.name}": error {rc} in tick {self.tick}')
        head = ffi.cast("fsw_image_head_t *", self._c_nodes[self.bench.error_node].image)
        task = node.tasks[head.error_task].spec.name
        return StepError(f'node "{node.name}", task "{task}": error {head.error} in tick {self.tick}')

    def set_stop(self, node: str, topic: str, field: str, equals: float, hold_ticks: int) -> None:
        """Stop running once a field has had this value for so many ticks."""
        compiled = next(c for c in self.compiled if c.name == node)
        dtype, offset = compiled.topics[topic].type.dtype.fields[field][:2]  # type: ignore[index]
        s = self.bench.stop
        s.node, s.topic, s.offset = [c.name for c in self.compiled].index(node), compiled.topic_index(topic), offset
        s.width = 9 if dtype == np.dtype("f8") else dtype.itemsize
        s.value, s.hold_ticks, s.held = equals, hold_ticks, 0

    def set_remote(self, names: Collection[str], remote: Remote) -> None:
        """These nodes run elsewhere and are mirrored here: `remote` carries their inputs out and their writes and images in."""
        flags = ffi.new("uint8_t[]", [int(c.name in names) for c in self.compiled])
        handle = ffi.new_handle(remote)
        self._keep += [flags, handle]
        self._remote, self.bench.remote_context = remote, handle
        self.bench.remote = flags
        self.bench.remote_begin, self.bench.remote_end = lib.fsw_py_remote_begin, lib.fsw_py_remote_end

    def set_feed(self, ends: Sequence[tuple[str, str]], ticks: np.ndarray[Any, Any], which: np.ndarray[Any, Any],
                 offsets: np.ndarray[Any, Any], payload: np.ndarray[Any, Any]) -> None:
        """Put recorded messages through the input gate, message i at the start of tick ticks[i].

        ends: (node, topic) that are fed; topic SKIPS: decisions not to run tasks. ticks: int64, ascending.
        which: index into `ends` per message. offsets: byte offset of
        each message in `payload` (uint8), of the size of its topic.
        """
        names = [c.name for c in self.compiled]
        nodes = np.array([names.index(n) for n, _ in ends], np.uint16)[which]
        topics = np.array([self._feed_topic(self.compiled[names.index(n)], t) for n, t in ends], np.uint16)[which]
        columns = [("int64_t[]", np.ascontiguousarray(ticks, np.int64)), ("uint16_t[]", nodes), ("uint16_t[]", topics),
                   ("uint64_t[]", np.ascontiguousarray(offsets, np.uint64)), ("uint8_t[]", payload)]
        held = [ffi.from_buffer(kind, data) for kind, data in columns]
        self._keep.append((columns, held))
        self._feed_ticks = columns[0][1]
        f = self.bench.feed
        f.ticks, f.nodes, f.topics, f.offsets, f.payload = held
        f.count, f.next = len(ticks), int(np.searchsorted(self._feed_ticks, self.tick))

    @staticmethod
    def _feed_topic(node: CompiledNode, topic: str) -> int:
        return {SKIPS: int(lib.FSW_SKIP_TOPIC), UPSETS: int(lib.FSW_UPSET_TOPIC)}.get(topic) or node.topic_index(topic)

    def snapshot(self) -> Snapshot:
        """Copy of all images."""
        if self._remote is not None:
            self._remote.fetch()
        return Snapshot(self.tick, {n: v.image.tobytes() for n, v in self.nodes.items()}, self._link_image.tobytes())

    def restore(self, snap: Snapshot) -> None:
        """Put all images back. The snapshot must be of a graph compiled the same way (ConfigError otherwise)."""
        for name, view in self.nodes.items():
            data = snap.images.get(name, b"")
            if len(data) != len(view.image) or data[:8] != view.image[:8].tobytes():
                raise ConfigError.one("snapshot", name, "is not of this node: its load blob has another hash")
        for name, view in self.nodes.items():
            view.image[:] = np.frombuffer(snap.images[name], np.uint8)
            view.c.gate.first_tick = -1
        self._link_image[:] = np.frombuffer(snap.links, np.uint8)
        self.bench.tick, self.bench.stop.held = snap.tick, 0
        if len(self._feed_ticks):
            self.bench.feed.next = int(np.searchsorted(self._feed_ticks, snap.tick))
        if self._remote is not None:
            self._remote.send()

    def digests(self) -> dict[str, int]:
        """Image digest of every node."""
        if self._remote is not None:
            self._remote.fetch()
        return {n: v.digest() for n, v in self.nodes.items()}

    def attach_recorder(self, recorder: Any, channels: Mapping[tuple[str, str], tuple[int, int]]) -> None:
        """Record topics: (node, topic) to (log channel, every n-th write). `recorder`: cdata fsw_recorder_t *, or NULL.

        Topic INPUTS of a node: digests of all that enters it (fsw_gate_t); SKIPS: decisions not to run tasks (fsw_skip_t).
        """
        for name, view in self.nodes.items():
            for k, topic in enumerate(view.compiled.topics):
                channel, every = channels.get((name, topic), (0xFFFF, 1))
                view.c.topics[k].channel, view.c.topics[k].every = channel, every
            view.c.gate_channel = channels.get((name, INPUTS), (0xFFFF, 1))[0]
            view.c.skip_channel = channels.get((name, SKIPS), (0xFFFF, 1))[0]
            view.c.upset_channel = channels.get((name, UPSETS), (0xFFFF, 1))[0]
            view.c.gate.first_tick = -1
        self._recorder = recorder  # C keeps the address
        lib.fsw_bench_set_recorder(self.bench, recorder)

    def flush_inputs(self) -> None:
        """Record the digests of inputs of the ticks since the last multiple of 64: before a log is closed."""
        lib.fsw_bench_flush_gates(self.bench)

    def skip(self, node: str, tasks: Collection[str]) -> None:
        """Decide that these tasks of a node do not run in the tick that comes next. The decision is recorded."""
        compiled = next(c for c in self.compiled if c.name == node)
        mask = sum(1 << k for k, t in enumerate(compiled.tasks) if t.spec.name in tasks)
        lib.fsw_node_skip(self.nodes[node].c, mask)

    def upset(self, node: str, offset: int, mask: int) -> None:
        """Turn bits of one byte of a node's image, behind its head, in front of the tick that comes next. It is recorded. ValueError."""
        if self._remote is not None:
            self._remote.fetch()
        if lib.fsw_node_upset(self.nodes[node].c, offset, mask):
            raise ValueError(f"byte {offset} of the image of {node} cannot be turned")
        if self._remote is not None:
            self._remote.send()

    def replace_image(self, node: str, image: bytes) -> None:
        """Put another image of this tick and of the same load blob in the place of a node's, but for its random stream. ValueError."""
        view = self.nodes[node]
        if len(image) != len(view.image) or image[:16] != view.image[:16].tobytes():
            raise ValueError(f"the image is not of {node} at tick {self.tick}")
        if self._remote is not None:
            self._remote.fetch()
        stream = ffi.cast("fsw_image_head_t *", view.c.image).stream
        view.image[:] = np.frombuffer(image, np.uint8)
        ffi.cast("fsw_image_head_t *", view.c.image).stream = stream
        if self._remote is not None:
            self._remote.send()

    def watch(self, poison: int | None = None, clock: bool = False) -> dict[str, np.ndarray[Any, Any]]:
        """Watch all nodes from now on. poison: fill the stack below each task with this byte before it runs, so that a task which uses
        what it never wrote shows. clock: take execution times. Returns, per node, one record per task (fsw_task_timing_t), filled
        as the graph runs. The tasks do the same as without.
        """
        timings = {name: np.zeros(len(view.compiled.tasks), TIMING) for name, view in self.nodes.items()}
        for name, view in self.nodes.items():
            w = ffi.new("fsw_watch_t *")
            table = ffi.from_buffer(timings[name], require_writable=True)
            w.tasks = ffi.cast("fsw_task_timing_t *", table)
            w.clock_ns = ffi.addressof(lib, "fsw_rt_clock") if clock else ffi.NULL
            w.poison = 0 if poison is None else 1 + (poison & 0xFF)
            view.c.watch = w
            self._keep.append((w, table))
        return timings

    def poison(self, pattern: int) -> None:
        """Fill the stack below each task with this byte before it runs."""
        self.watch(poison=pattern)


def _unbind(handles: list[Any]) -> None:
    for h in handles:
        unbind_python(h)


@ffi.def_extern(error=-100, onerror=keep_failure)  # type: ignore[untyped-decorator]
def fsw_py_remote_begin(remote: Any, tick: int) -> int:
    ffi.from_handle(remote).begin(tick)
    return 0


@ffi.def_extern(error=-100, onerror=keep_failure)  # type: ignore[untyped-decorator]
def fsw_py_remote_end(remote: Any, tick: int, node: int) -> int:
    ffi.from_handle(remote).end(tick, node)
    return 0
