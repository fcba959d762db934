"""Replay: the recorded inputs through the flight software at hand, every topic write compared with the recording.

Needs the log alone: load blobs and layouts of the flight computers are attached to it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from flightsw import params as parameters
from flightsw._native import digest, ffi, lib
from flightsw.errors import LogError
from flightsw.graph import NEED_DRAIN, Graph, NodeView
from flightsw.log import mcap_format as mf
from flightsw.log.compare import Divergence, Signal, field_difference, first_row, name_difference
from flightsw.log.layout import Library, layout_of, node_of
from flightsw.log.reader import Log, Records, rows_of
from flightsw.messages import dtype_of, load_messages
from flightsw.schedule import CompiledNode
from flightsw.tasks import TaskType, builtin_tasks

__all__ = ["Divergence", "Library", "ReplayResult", "layout_of", "replay"]

_BUFFER = 1 << 20   # small enough to stay in the cache between writing and comparing
_INDEX = dtype_of(ffi.typeof("fsw_index_entry_t"))
_BLOB = dtype_of(ffi.typeof("fsw_blob_head_t"))
_HEAD = dtype_of(ffi.typeof("fsw_image_head_t"))


@dataclass(frozen=True)
class TopicDifference:
    """What a what-if changed in one topic: messages that differ, and the first of them."""

    topic: str
    messages: int
    first: Divergence


@dataclass(frozen=True)
class ReplayResult:
    """ticks run, topics and messages compared, keyframes whose image digests were compared; the first divergence, if any.

    exact: the log is whole, so `identical` says something about all of it. notes: what else there is to know.
    differences: per topic, in a what-if (a plain replay stops at the first divergence).
    """

    ticks: int
    topics: int
    identical: bool
    divergence: Divergence | None
    exact: bool
    notes: list[str]
    messages: int = 0
    keyframes: int = 0
    base_tick_ns: int = 0
    wall_s: float = 0.0
    differences: list[TopicDifference] = field(default_factory=list)

    @property
    def x_realtime(self) -> float:
        """How many times faster than it was flown."""
        return self.ticks * self.base_tick_ns * 1e-9 / self.wall_s if self.wall_s else 0.0


def replay(log: Log, what_if: Mapping[str, object] | None = None, library: Library | None = None) -> ReplayResult:
    """Run the flight computers of a log again on its recorded inputs and compare every topic they wrote.

    what_if: parameters to change, "node.task.parameter" to a number or list (may be empty): differences are then collected
    to the end, and a log that is not exact is replayed as far as it goes. library: the software at hand (the package's).
    Raises LogError when the log cannot be replayed: it says exactly what is missing or differs.
    """
    if library is None:
        library = Library(builtin_tasks(), load_messages([]))
    notes = _notes(log)
    if not log.complete and what_if is None:
        raise LogError("\n".join([f"{log.path}: is not exact, so a replay of it proves nothing (a what-if is possible):",
                                  *log.problems]))
    nodes = [_load_node(log, name, library) for name in _flight_computers(log)]
    if any(t.type.python is not None for n in nodes for t in n.tasks):
        notes.append("Python tasks among the flight software: exact for this interpreter and these library versions only")
    nodes = _patched(nodes, what_if or {}, log)
    began = time.perf_counter()
    run = _Run(log, nodes, library, what_if is not None)
    run.go()
    divergence = min(run.found, key=run.order) if run.found else None
    if what_if is not None and run.digests_differ:
        notes.append(f"image digests differ at {run.digests_differ} of {run.keyframes} keyframes")
    changed = [TopicDifference(f"/{c.signal.node}/{c.signal.topic}", c.different, c.first)
               for c in run.channels if c.first is not None]
    return ReplayResult(run.graph.tick, len(run.channels), divergence is None, divergence, log.complete, notes, run.messages,
                        run.keyframes, run.base_tick_ns, time.perf_counter() - began,
                        changed)


# ---- what the log says ------------------------------------------------------------------------------------------------


def _notes(log: Log) -> list[str]:
    here = ffi.string(lib.fsw_source_fingerprint()).decode()
    there = log.metadata.get("software", {}).get("source_fingerprint", here)
    notes = [] if log.complete else [f"not exact: {p}" for p in log.problems]
    if there != here:
        notes.append(f"recorded with core sources {there}, replayed with {here}")
    return notes


def _flight_computers(log: Log) -> list[str]:
    """Nodes to replay: those the log names, else those whose inputs were recorded."""
    run = log.metadata.get("run", {})
    names: list[str] = []
    try:
        text = run.get("flight_computers", "")
        if text:
            names = json.loads(text) if text.startswith("[") else [n.strip() for n in text.split(",") if n.strip()]
        elif "roles" in run:
            names = [n for n, role in json.loads(run["roles"]).items() if role == "flight_computer"]
    except (ValueError, AttributeError):
        raise LogError(f'{log.path}: metadata "run" does not tell which nodes are flight computers') from None
    if not names:
        names = [a[7:] for a in log.attachments if a.startswith("layout/") and _inputs_recorded(log, a[7:])]
    if not names:
        raise LogError(f"{log.path}: there is no flight computer in it: no node has a load blob, a layout and recorded inputs")
    return names


def _inputs_recorded(log: Log, node: str) -> bool:
    try:
        topics = json.loads(log.attachments[f"layout/{node}"])["topics"]
        inputs = [t["name"] for t in topics if t["writer"] is None]
        return bool(inputs) and all(log.channel(f"/{node}/{t}").metadata.get("every", "1") == "1" for t in inputs)
    except (ValueError, KeyError, TypeError, LogError):
        return False


def _load_node(log: Log, name: str, library: Library) -> CompiledNode:
    for kind in ("blob", "layout"):
        if f"{kind}/{name}" not in log.attachments:
            raise LogError(f'{log.path}: cannot be replayed: it has no attachment "{kind}/{name}"')
    blob = log.attachments[f"blob/{name}"]
    node = node_of(blob, log.attachments[f"layout/{name}"], library, str(log.path))
    stated = log.metadata.get("schedule", {}).get(name)
    if stated is not None and stated != f"{node.hash:016x}":
        raise LogError(f'{log.path}: node "{name}": flown with load blob {stated}, attached is {node.hash:016x}')
    return node


def _seed(log: Log) -> int:
    text = log.metadata.get("run", {}).get("seed", "")
    if re.fullmatch(r"-?\d+", text):
        return int(text) & 0xFFFFFFFFFFFFFFFF
    for snapshot, _ in log.keyframes():
        for image in snapshot.images.values():
            return int(np.frombuffer(image, _HEAD, 1)["seed"][0])
    raise LogError(f'{log.path}: cannot be replayed: metadata "run" has no seed')


# ---- what-if ----------------------------------------------------------------------------------------------------------


def _patched(nodes: list[CompiledNode], changes: Mapping[str, object], log: Log) -> list[CompiledNode]:
    """The nodes with parameters changed in their load blobs; what the task's init makes of them follows."""
    out = {n.name: n for n in nodes}
    for key, value in changes.items():
        parts = key.split(".")
        known = [f"{n.name}.{t.spec.name}.{p}" for n in nodes for t in n.tasks if t.type.params_dtype is not None
                 for p in t.type.params_dtype.names or () if not p.startswith("pad")]
        if key not in known:
            raise LogError(f"{log.path}: {key}: no such parameter in the flight computers of this log"
                           f"{parameters.suggestion(key, known)}")
        out[parts[0]] = _patch(out[parts[0]], parts[1], parts[2], value)
    return [out[n.name] for n in nodes]


def _patch(node: CompiledNode, task: str, name: str, value: object) -> CompiledNode:
    t = next(t for t in node.tasks if t.spec.name == task)
    kind: TaskType = t.type
    assert kind.params_dtype is not None and kind.params_dtype.fields is not None
    rule = kind.params.get(name) or parameters.ParamField(name, -np.inf, np.inf, False, None, "")
    checked = parameters._check(rule, kind.params_dtype.fields[name][0], value)
    if isinstance(checked, str):
        raise LogError(f"{node.name}.{task}.{name}: {checked}")
    blob = bytearray(node.blob)
    image_at = int(np.frombuffer(blob, _BLOB, 1)["off_image"][0])
    at = image_at + t.params_offset
    record = np.frombuffer(bytes(blob[at : at + kind.params_dtype.itemsize]), kind.params_dtype).copy()[0:1].reshape(())
    record[name] = checked
    blob[at : at + record.nbytes] = record.tobytes()
    state = kind.initial_state(record)
    blob[image_at + t.state_offset : image_at + t.state_offset + len(state)] = state
    hash_ = digest(bytes(blob[16:]))
    blob[8:16] = hash_.to_bytes(8, "little")
    return replace(node, blob=bytes(blob), hash=hash_)


# ---- running and comparing --------------------------------------------------------------------------------------------


class _Channel:
    """One topic that is compared: what was recorded, and how far the comparison is."""

    def __init__(self, signal: Signal, records: Records, rank: tuple[int, int]) -> None:
        self.signal, self.records, self.rank = signal, records, rank
        self.times = records.times()
        self.at = 0
        self.first: Divergence | None = None
        self.different = 0
        self.aligned = True

    def compare(self, rows: np.ndarray[Any, Any], until_ns: int) -> Divergence | None:
        """Compare replayed rows with those recorded before `until_ns`; returns the first difference among them."""
        end = int(np.searchsorted(self.times, until_ns))
        recorded = self.records.rows(self.at, end)
        self.at = end
        k = first_row(recorded, rows) if self.aligned else None
        if k is None:
            return None
        found = name_difference(self.signal, recorded, rows, k)
        self.aligned = found.kind == "value"
        n = min(len(recorded), len(rows))
        size = rows.dtype.itemsize
        both = recorded[:n].view(np.uint8).reshape(n, size) != rows[:n].view(np.uint8).reshape(n, size)
        self.different += int(both.any(axis=1).sum()) + abs(len(recorded) - len(rows))
        self.first = self.first or found
        return found


class _Run:
    def __init__(self, log: Log, nodes: Sequence[CompiledNode], library: Library, what_if: bool) -> None:
        self.log, self.nodes, self.what_if = log, nodes, what_if
        self.base_tick_ns = nodes[0].base_tick_ns
        self.graph = Graph(nodes, [], library.messages, _seed(log))
        self.found: list[Divergence] = []
        self.messages = self.keyframes = self.digests_differ = 0
        self.channels: list[_Channel] = []
        self._by_number: dict[int, _Channel] = {}
        self._map: dict[tuple[str, str], tuple[int, int]] = {}
        for k, node in enumerate(nodes):
            self._add_outputs(k, node)
        self._record()
        self._feed = _feed(log, nodes, self.graph, self.base_tick_ns)

    def _add_outputs(self, k: int, node: CompiledNode) -> None:
        order = [t.spec.name for t in node.tasks]
        for j, topic in enumerate(node.topics.values()):
            name = f"/{node.name}/{topic.name}"
            if topic.writer is None or name not in self.log:
                continue
            records = self.log.records(name)
            number = records.channel.id
            self._map[node.name, topic.name] = number, int(records.channel.metadata.get("every", "1"))
            signal = Signal(node.name, topic.name, topic.writer, topic.type.dtype, self.base_tick_ns)
            channel = _Channel(signal, records, (order.index(topic.writer), j))
            self.channels.append(channel)
            self._by_number[number] = channel

    def order(self, d: Divergence) -> tuple[int, tuple[int, int]]:
        """Sorts divergences as they happened: by tick, then in the order in which the tasks of a tick run."""
        rank = next((c.rank for c in self.channels if (c.signal.node, c.signal.topic) == (d.node, d.topic)), (1 << 30, 0))
        return d.tick, rank

    def _record(self) -> None:
        """A recorder in memory with the channel numbers of the log."""
        rec = self._rec = ffi.new("fsw_recorder_t *")
        need = sum(n.topics[t].type.size + mf.MESSAGE_HEAD for n in self.nodes for t in n.topics)
        self._buffer = np.zeros(max(_BUFFER, 2 * need), np.uint8)
        self._index = np.zeros(len(self._buffer) // 40, _INDEX)
        rec.buffer = ffi.from_buffer("uint8_t[]", self._buffer, require_writable=True)
        rec.index = ffi.cast("fsw_index_entry_t *", ffi.from_buffer(self._index, require_writable=True))
        rec.capacity, rec.index_capacity = len(self._buffer), len(self._index)
        self.graph.attach_recorder(rec, self._map)

    def go(self) -> None:
        """Run to the end of the log, or to the first divergence."""
        frames = self.log.keyframes()
        frame = next(frames, None)
        end = self._end()
        while not self.found or self.what_if:
            if frame is not None and frame[0].tick == self.graph.tick:
                self._keyframe(*frame)
                frame = next(frames, None)
                continue
            if frame is not None and frame[0].tick < self.graph.tick:
                frame = next(frames, None)  # no bench writes such a keyframe
                continue
            if self.graph.tick >= end and frame is None:
                break
            target = end if frame is None else frame[0].tick
            while True:
                rc = self.graph.run(target)
                self._compare()
                if rc != NEED_DRAIN or (self.found and not self.what_if):
                    break

    def _end(self) -> int:
        last = max((int(c.times[-1]) for c in self.channels if len(c.times)), default=-self.base_tick_ns)
        last = max(last, self.log.end_ns if any(self.log.topics.values()) else last)
        return last // self.base_tick_ns + 1

    def _compare(self) -> None:
        rec, until_ns = self._rec, self.graph.tick * self.base_tick_ns
        entries = self._index[: rec.n_index]
        order = np.argsort(entries["channel"], kind="stable")
        numbers, offsets = entries["channel"][order], entries["offset"][order].astype(np.int64)
        ids, first, counts = np.unique(numbers, return_index=True, return_counts=True)
        spans = {i: (a, a + n) for i, a, n in zip(ids.tolist(), first.tolist(), counts.tolist(), strict=True)}
        for number, channel in self._by_number.items():
            a, b = spans.get(number, (0, 0))
            found = channel.compare(rows_of(self._buffer, offsets[a:b], channel.records.length), until_ns)
            if found is not None:
                self.found.append(found)
        self.messages += len(entries)
        rec.used = rec.n_index = 0

    def _keyframe(self, snapshot: Any, digests: Mapping[str, int]) -> None:
        """Compare the digests of the flight computers' images; where they differ, find the field."""
        self.keyframes += 1
        differs = False
        for node in self.nodes:
            view = self.graph.nodes[node.name]
            if node.name not in digests or digests[node.name] == view.digest():
                continue
            differs = True
            if not self.what_if:
                self.found.append(_image_difference(node, view, snapshot.images[node.name], snapshot.tick))
        self.digests_differ += differs


def _image_difference(node: CompiledNode, view: NodeView, recorded: bytes, tick: int) -> Divergence:
    """Name the first place at which an image differs from a keyframe."""
    replayed = view.image.tobytes()
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


def _feed(log: Log, nodes: Sequence[CompiledNode], graph: Graph, base_tick_ns: int) -> list[Any]:
    """Hand the recorded inputs to the bench. Returns what must stay alive."""
    columns = list(_input_columns(log, nodes))
    empty = np.zeros(0, np.int64)
    offsets = np.concatenate([c[0] for c in columns] or [empty])
    order = np.argsort(offsets, kind="stable")  # records lie in the file in the order in which they entered
    times = np.concatenate([c[1] for c in columns] or [empty])[order]
    numbers = [np.repeat(np.array([c[k] for c in columns], np.uint16), [len(c[0]) for c in columns])[order] for k in (2, 3)]
    ticks = times // base_tick_ns
    if len(ticks) and ((np.diff(ticks) < 0).any() or (times % base_tick_ns).any()):
        raise LogError(f"{log.path}: cannot be replayed: its inputs go back in time or lie between ticks")
    places = (offsets[order] + mf.MESSAGE_HEAD).astype(np.uint64)
    payload = log.data
    feed = graph.bench.feed
    keep = [ffi.from_buffer(f"{kind}_t[]", array) for kind, array in
            zip(("int64", "uint16", "uint16", "uint64", "uint8"), (ticks, *numbers, places, payload), strict=True)]
    feed.ticks, feed.nodes, feed.topics, feed.offsets, feed.payload = keep
    feed.count, feed.next = len(ticks), 0
    return keep


def _input_columns(log: Log, nodes: Sequence[CompiledNode]) -> Iterable[tuple[Any, Any, int, int]]:
    """(record offsets, times, node index, topic index) of each input topic."""
    for k, node in enumerate(nodes):
        for j, topic in enumerate(node.topics.values()):
            if topic.writer is not None:
                continue
            name = f"/{node.name}/{topic.name}"
            if name not in log:
                raise LogError(f"{log.path}: cannot be replayed: input {name} was not recorded")
            records = log.records(name)
            every = records.channel.metadata.get("every", "1")
            if every != "1":
                raise LogError(f"{log.path}: cannot be replayed: of input {name} only one message in {every} was recorded")
            if records.length != mf.MESSAGE_HEAD + topic.type.size:
                raise LogError(f"{log.path}: cannot be replayed: input {name} has another layout than {topic.type.name} here")
            yield records.offsets, records.times(), k, j
