"""One pass of a replay: the graph runs, every write is compared with the recording, every keyframe with the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from flightsw._native import ffi, lib
from flightsw.adopt import adopt
from flightsw.errors import LogError, StepError
from flightsw.graph import INPUTS, NEED_DRAIN, RESTORES, SKIPS, UPSETS, Graph, NodeView, Snapshot
from flightsw.log import mcap_format as mf
from flightsw.log.compare import ROW_HEAD, Divergence, Signal, field_difference, first_row, name_difference
from flightsw.log.reader import Log, Records, rows_of
from flightsw.messages import dtype_of
from flightsw.replay.feed import feed
from flightsw.replay.gate import Gate
from flightsw.replay.patch import as_recorded
from flightsw.replay.plan import Plan
from flightsw.replay.result import Options
from flightsw.schedule import CompiledNode

_BUFFER = 1 << 20   # small enough to stay in the cache between writing and comparing
_INDEX = dtype_of(ffi.typeof("fsw_index_entry_t"))
_HEAD = dtype_of(ffi.typeof("fsw_image_head_t"))


class Channel:
    """One topic that is compared: what was recorded, and how far the comparison is."""

    def __init__(self, signal: Signal, records: Records, rank: tuple[int, int], start_ns: int) -> None:
        self.signal, self.records, self.rank = signal, records, rank
        self.times = records.times()
        self.at = int(np.searchsorted(self.times, start_ns))
        self.first: Divergence | None = None
        self.different = 0

    def compare(self, rows: np.ndarray[Any, Any], until_ns: int) -> Divergence | None:
        """Compare replayed rows with those recorded before `until_ns`; returns the first difference among them."""
        end = int(np.searchsorted(self.times, until_ns))
        recorded = self.records.rows(self.at, end)
        self.at = end
        k = first_row(recorded, rows)
        if k is None:
            return None
        self.different += _unlike(recorded, rows)
        if self.first is not None and self.first.kind != "value":
            return None  # a message too many or too few: all sequence numbers behind it differ, which is not worth a word
        found = name_difference(self.signal, recorded, rows, k)
        self.first = self.first or found
        return found


def _unlike(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> int:
    """Messages of one span of time that differ in their content, or stand on one side only."""
    x, y = (side.view(np.uint8).reshape(len(side), side.dtype.itemsize) for side in (a, b))
    times = [np.ascontiguousarray(side[:, 4:12]).view("<i8").reshape(-1) for side in (x, y)]
    common, i, j = np.intersect1d(times[0], times[1], return_indices=True)
    return int((x[i, ROW_HEAD:] != y[j, ROW_HEAD:]).any(axis=1).sum()) + len(a) + len(b) - 2 * len(common)


def build_graph(plan: Plan) -> tuple[Graph, list[str]]:
    """The graph of a plan, at its start. Returns it and what adopting the snapshot had to say."""
    graph = Graph(plan.nodes, [], plan.library.messages, plan.seed)
    if plan.start is None:
        return graph, []
    flown = [n for n in plan.recorded if n is not None]
    names = {n.name for n in plan.nodes}
    return graph, adopt(graph, plan.start, [n for n in flown if n.name in names])


def end_tick(log: Log, until_s: float | None, base_tick_ns: int, start: int) -> int:
    """Ticks of a log, or those before `until_s`. LogError when that lies before the start."""
    last = log.end_ns if any(log.topics.values()) else -base_tick_ns
    end = max(last // base_tick_ns + 1, 0)
    if until_s is None:
        return int(end)
    until = round(until_s * 1e9 / base_tick_ns)
    if until <= start:
        raise LogError(f"{log.path}: --until {until_s:g} s does not lie behind the start at {start * base_tick_ns * 1e-9:g} s")
    return int(min(end, until))


class Run:
    """One pass. found: divergences; graph: as it stands now. poison: pattern for memory that no task wrote."""

    def __init__(self, log: Log, plan: Plan, options: Options, what_if: bool, poison: int | None = None) -> None:
        self.log, self.plan, self.what_if, self.options = log, plan, what_if, options
        self.lenient = what_if and not options.strict
        self.nodes = plan.nodes
        self.base_tick_ns = self.nodes[0].base_tick_ns
        self.graph, self.adopted = build_graph(plan)
        self.start = self.graph.tick
        self.end = end_tick(log, options.until_s, self.base_tick_ns, self.start)
        if poison is not None:
            self.graph.poison(poison)
        self.found: list[Divergence] = []
        self.failure = ""
        self.messages = self.keyframes = self.digests_differ = 0
        self.channels: list[Channel] = []
        self.gates: list[Gate] = []
        self._by_number: dict[int, Channel] = {}
        self._map: dict[tuple[str, str], tuple[int, int]] = {}
        for k, node in enumerate(self.nodes):
            self._add_outputs(k, node)
            self._add_gate(node)
        self._record()
        self.feed = feed(log, plan, self.graph, self.lenient)

    def _add_outputs(self, k: int, node: CompiledNode) -> None:
        order = [t.spec.name for t in node.tasks]
        for j, topic in enumerate(node.topics.values()):
            name = f"/{node.name}/{topic.name}"
            if topic.writer is None or name not in self.log:
                continue
            told = self.log.channel(name).metadata
            records = self.log.records(name)
            if (told.get("type_hash", f"{topic.type.type_hash:016x}") != f"{topic.type.type_hash:016x}"
                    or records.length != mf.MESSAGE_HEAD + topic.type.size):
                if not self.lenient:
                    raise LogError(f"{self.log.path}: cannot be replayed: {name} has another layout than {topic.type.name} here")
                self.plan.ignored.append(f"{name} has another layout than {topic.type.name} here: not compared")
                continue
            number = records.channel.id
            self._map[node.name, topic.name] = number, int(told.get("every", "1"))
            signal = Signal(node.name, topic.name, topic.writer, topic.type.dtype, self.base_tick_ns)
            channel = Channel(signal, records, (order.index(topic.writer), j), self.start * self.base_tick_ns)
            self.channels.append(channel)
            self._by_number[number] = channel

    def _add_gate(self, node: CompiledNode) -> None:
        if f"/{node.name}/{INPUTS}" in self.log and node.name in self.plan.same:
            gate = Gate(self.log, node.name, self.base_tick_ns, self.start, self.end)
            self.gates.append(gate)
            self._map[node.name, INPUTS] = gate.number, 1
            inputs = [t.name for t in node.topics.values() if t.writer is None]
            for topic in [*inputs, SKIPS, UPSETS]:  # the gate takes the digest of what it records
                if f"/{node.name}/{topic}" in self.log:
                    self._map[node.name, topic] = self.log.channel(f"/{node.name}/{topic}").id, 1

    def order(self, d: Divergence) -> tuple[int, int, tuple[int, int]]:
        """Sorts divergences as they happened: by tick, inputs first, then in the order in which the tasks of a tick run.

        A keyframe's image is that before its tick.
        """
        rank = next((c.rank for c in self.channels if (c.signal.node, c.signal.topic) == (d.node, d.topic)), (1 << 30, 0))
        return d.tick, {"state": 0, "input": 1}.get(d.kind, 2), rank

    def _record(self) -> None:
        """A recorder in memory with the channel numbers of the log."""
        rec = self._rec = ffi.new("fsw_recorder_t *")
        need = sum(n.topics[t].type.size + mf.MESSAGE_HEAD for n in self.nodes for t in n.topics)
        need += sum(g.length for g in self.gates)
        self._buffer = np.zeros(max(_BUFFER, 2 * need), np.uint8)
        self._index = np.zeros(len(self._buffer) // 40, _INDEX)
        rec.buffer = ffi.from_buffer("uint8_t[]", self._buffer, require_writable=True)
        rec.index = ffi.cast("fsw_index_entry_t *", ffi.from_buffer(self._index, require_writable=True))
        rec.capacity, rec.index_capacity = len(self._buffer), len(self._index)
        self.graph.attach_recorder(rec, self._map)

    def go(self) -> None:
        """Run to the end of the log, or to the first divergence."""
        frames = [f for f in self.log.keyframes() if self.start <= f[0].tick <= self._last_frame()]
        try:
            for snapshot, digests in frames:
                self._until(snapshot.tick)
                if self._enough():
                    break
                self._keyframe(snapshot, digests)
            if not self._enough():
                self._until(self.end)
            self._last_inputs()
        except StepError as exc:
            if not self.what_if:
                raise
            self._compare()
            self.failure = str(exc)

    def _restored(self, node: str) -> set[int]:
        """Ticks in front of which the image of a node was replaced."""
        name = f"/{node}/{RESTORES}"
        if name not in self.log or node not in self.plan.same:
            return set()
        return {int(t) // self.base_tick_ns for t in self.log.records(name).times()}

    def _last_frame(self) -> int:
        return 1 << 62 if self.options.until_s is None else self.end

    def _enough(self) -> bool:
        return bool(self.found) and not self.what_if

    def _until(self, tick: int) -> None:
        while self.graph.tick < tick and not self._enough():
            self.graph.run(tick)
            self._compare()
        if self.options.progress is not None:
            self.options.progress(self.graph.tick * self.base_tick_ns * 1e-9)

    def _compare(self, last: bool = False) -> None:
        rec, until = self._rec, self.graph.tick
        entries = self._index[: rec.n_index]
        order = np.argsort(entries["channel"], kind="stable")
        numbers, offsets = entries["channel"][order], entries["offset"][order].astype(np.int64)
        ids, first, counts = np.unique(numbers, return_index=True, return_counts=True)
        spans = {i: (a, a + n) for i, a, n in zip(ids.tolist(), first.tolist(), counts.tolist(), strict=True)}
        for number, channel in self._by_number.items():
            a, b = spans.get(number, (0, 0))
            self.messages += b - a
            found = channel.compare(rows_of(self._buffer, offsets[a:b], channel.records.length), until * self.base_tick_ns)
            if found is not None:
                self.found.append(found)
        for gate in self.gates:
            a, b = spans.get(gate.number, (0, 0))
            found = gate.compare(rows_of(self._buffer, offsets[a:b], gate.length), min(until, self.end), self.feed, last)
            if found is not None:
                self.found.append(found)
        rec.used = rec.n_index = 0

    def _last_inputs(self) -> None:
        """Digests of the inputs since the last whole batch. After a divergence: an input may be its cause, and comes before it."""
        if not self.gates:
            return
        try:
            if self._enough():  # the topics have been compared to here: only inputs are of interest from here on
                upto = min(self.end, max(d.tick for d in self.found) + 1)
                self._by_number = {}
                while self.graph.tick < upto:
                    if self.graph.run(upto) == NEED_DRAIN:
                        self._compare()
        except StepError:
            pass
        self.graph.flush_inputs()
        self._compare(last=True)

    def _keyframe(self, snapshot: Snapshot, digests: Mapping[str, int]) -> None:
        """Compare the digests of the flight computers' images; where they differ, find the field."""
        self.keyframes += 1
        differs = False
        for node, recorded in zip(self.nodes, self.plan.recorded, strict=True):
            if node.name not in digests or recorded is None or node.name not in self.plan.same:
                continue
            view = self.graph.nodes[node.name]
            if snapshot.tick in self._restored(node.name):  # its image was replaced here: so it is again
                view.image[:] = np.frombuffer(snapshot.images[node.name], np.uint8)
                continue
            image = as_recorded(view.image.tobytes(), node, recorded) if node.hash != recorded.hash else None
            if digests[node.name] == (view.digest() if image is None else _digest(view, image)):
                continue
            differs = True
            if not self.what_if:
                replayed = view.image.tobytes() if image is None else image
                self.found.append(_image_difference(node, replayed, snapshot.images[node.name], snapshot.tick))
        self.digests_differ += differs


def _digest(view: NodeView, image: bytes) -> int:
    """Canonical digest of an image that is not the one in the node."""
    words = np.frombuffer(image + bytes(-len(image) % 8), np.uint64).copy()
    scratch = np.zeros(len(words), np.uint64)
    return int(lib.fsw_canonical_digest(ffi.from_buffer(words), view.c.runs, view.c.n_runs, len(image),
                                        ffi.from_buffer(scratch, require_writable=True)))


def _image_difference(node: CompiledNode, replayed: bytes, recorded: bytes, tick: int) -> Divergence:
    """Name the first place at which an image differs from a keyframe."""
    places: list[tuple[str, str, np.dtype[Any], int]] = [("", "image head", _HEAD, 0)]
    places += [(t.writer or "", f"topic {t.name}", t.type.dtype, t.offset + 16) for t in node.topics.values()]
    for t in node.tasks:
        if t.type.state_dtype is not None:
            places.append((t.spec.name, f"state of task {t.spec.name}", t.type.state_dtype, t.state_offset))
        if t.type.params_dtype is not None:
            places.append((t.spec.name, f"parameters of task {t.spec.name}", t.type.params_dtype, t.params_offset))
    t_ns = tick * node.base_tick_ns
    for task, label, dtype, at in places:
        found = field_difference(dtype, recorded, replayed, at)
        if found is not None:
            return Divergence(tick, t_ns, node.name, task, label, found[0], "state", *found[1:])
    at = next((k for k, (x, y) in enumerate(zip(recorded, replayed, strict=False)) if x != y), len(recorded))
    x, y = (list(side[at : at + 1]) or [0] for side in (recorded, replayed))
    return Divergence(tick, t_ns, node.name, "", "image", f"byte {at}", "state", x[0], y[0], f"{x[0]:02x}", f"{y[0]:02x}")
