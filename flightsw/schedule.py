"""Schedule: from task tables to a load blob.

`compile_node` binds tasks to topics, checks everything that can be checked before a tick runs, lays out the image, and
returns the load blob: the bytes that every driver and every processor loads (layout: node.h).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flightsw._native import digest, ffi
from flightsw.errors import ConfigError, Problem
from flightsw.messages import MessageType, dtype_of, fingerprint
from flightsw.params import Given, resolve, suggestion
from flightsw.tasks import Port, TaskType

ON_MISS = ("warn", "skip", "safe", "stop")
UNBOUND = 0xFFFF
MAX_ENTRIES = 1_000_000
_HEAD = dtype_of(ffi.typeof("fsw_blob_head_t"))
_TOPIC = dtype_of(ffi.typeof("fsw_blob_topic_t"))
_TASK = dtype_of(ffi.typeof("fsw_blob_task_t"))
_RUN = dtype_of(ffi.typeof("fsw_run_t"))
_IMAGE_HEAD = dtype_of(ffi.typeof("fsw_image_head_t"))
_TOPIC_HEAD = dtype_of(ffi.typeof("fsw_topic_head_t"))


@dataclass(frozen=True)
class TaskSpec:
    """One row of a schedule table, with where it was written for messages."""

    name: str
    type: str
    period_ticks: int
    phase_ticks: int = 0
    budget_us: int = 0
    deadline_us: int = 0
    critical: bool = False
    on_miss: str = "warn"
    reads: Mapping[str, str] = field(default_factory=dict)
    writes: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Given] = field(default_factory=dict)
    file: str = ""
    key: str = ""


@dataclass(frozen=True)
class NodeSpec:
    """A node: its tasks in order, and the topics that enter it from outside."""

    name: str
    tasks: Sequence[TaskSpec]
    base_tick_ns: int
    inputs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Topic:
    """A topic of a compiled node. `writer` is None for inputs."""

    name: str
    type: MessageType
    offset: int
    writer: str | None
    readers: tuple[str, ...]


_Topics = dict[str, tuple[MessageType, str | None, list[str]]]  # by name: message, task that writes it, tasks that read it


@dataclass(frozen=True)
class CompiledTask:
    """A task of a compiled node, with offsets into the image."""

    spec: TaskSpec
    type: TaskType
    reads: Mapping[str, str | None]
    writes: Mapping[str, str | None]
    state_offset: int
    params_offset: int


@dataclass(frozen=True)
class CompiledNode:
    """Result of `compile_node`: the load blob and the map to it."""

    name: str
    blob: bytes
    hash: int
    base_tick_ns: int
    hyperperiod: int
    topics: Mapping[str, Topic]
    tasks: Sequence[CompiledTask]
    image_size: int
    fingerprint: int
    used_constants: frozenset[str]

    def topic_index(self, name: str) -> int:
        """Position of a topic in the blob's table. KeyError when there is none of that name."""
        return list(self.topics).index(name)

    def delayed_reads(self) -> list[tuple[str, str, str]]:
        """(reader, topic, writer) where the writer runs later in the tick: the reader sees the value of the tick before."""
        order = {t.spec.name: k for k, t in enumerate(self.tasks)}
        out = []
        for task in self.tasks:
            for topic in {t for t in task.reads.values() if t is not None}:
                writer = self.topics[topic].writer
                if writer is not None and order[writer] >= order[task.spec.name]:
                    out.append((task.spec.name, topic, writer))
        return sorted(out)


def _bind_side(spec: TaskSpec, side: str, ports: Sequence[Port], given: Mapping[str, str], available: set[str],
               problems: list[Problem]) -> dict[str, str | None]:
    bound: dict[str, str | None] = {}
    names = [p.name for p in ports]
    for port in given:
        if port not in names:
            text = f"{spec.type} has no such port{suggestion(port, names)}"
            problems.append(Problem(spec.file, f"{spec.key}.{side}.{port}", text))
    for p in ports:
        topic: str | None = given.get(p.name, p.name) or None
        if side == "reads" and topic is not None and topic not in available:
            if p.required or p.name in given:
                problems.append(Problem(spec.file, f"{spec.key}.reads.{p.name}",
                                        f'nothing writes or delivers topic "{topic}"{suggestion(topic, available)}'))
            topic = None
        if topic is None and p.required and p.name in given:
            problems.append(Problem(spec.file, f"{spec.key}.{side}.{p.name}", "this port must be bound to a topic"))
        bound[p.name] = topic
    return bound


def _check_table(spec: TaskSpec, problems: list[Problem]) -> None:
    if spec.period_ticks < 1:
        problems.append(Problem(spec.file, f"{spec.key}.period_ticks", f"{spec.period_ticks} is out of range, at least 1"))
    elif not 0 <= spec.phase_ticks < spec.period_ticks:
        problems.append(Problem(spec.file, f"{spec.key}.phase_ticks",
                                f"{spec.phase_ticks} is out of range, allowed 0 to {spec.period_ticks - 1} (period_ticks - 1)"))
    if spec.on_miss not in ON_MISS:
        problems.append(Problem(spec.file, f"{spec.key}.on_miss", f'"{spec.on_miss}" is not one of {", ".join(ON_MISS)}'))


def _timeline(specs: Sequence[TaskSpec], problems: list[Problem]) -> tuple[int, list[int], list[int]]:
    """(hyperperiod, starts, entries): which tasks run in which tick of the hyperperiod, in table order."""
    hyper = 1
    for s in specs:
        hyper = math.lcm(hyper, max(1, s.period_ticks))
    total = sum(hyper // max(1, s.period_ticks) for s in specs)
    if total > MAX_ENTRIES or hyper > MAX_ENTRIES:
        where = specs[0]
        problems.append(Problem(where.file, "task.period_ticks", f"the periods repeat together only after {hyper} ticks, "
                                f"which needs {total} table entries (at most {MAX_ENTRIES}): "
                                "choose periods that divide one another"))
        return 1, [0, 0], []
    slots: list[list[int]] = [[] for _ in range(hyper)]
    for index, s in enumerate(specs):
        for tick in range(s.phase_ticks % hyper, hyper, max(1, s.period_ticks)):
            slots[tick].append(index)
    starts, entries = [0], []
    for slot in slots:
        entries += slot
        starts.append(len(entries))
    return hyper, starts, entries


def _collect_topics(spec: NodeSpec, types: Sequence[TaskType], bound: Sequence[tuple[dict[str, str | None], dict[str, str | None]]],
                    messages: Mapping[str, MessageType], problems: list[Problem]) -> _Topics:
    topics: _Topics = {}
    for task, kind, (reads, writes) in zip(spec.tasks, types, bound, strict=True):
        for side, ports, binding in (("writes", kind.writes, writes), ("reads", kind.reads, reads)):
            for port in ports:
                topic = binding[port.name]
                if topic is None:
                    continue
                key = f"{task.key}.{side}.{port.name}"
                if port.type not in messages:
                    text = f"message type {port.type} is not known: list its header under messages"
                    problems.append(Problem(task.file, key, text))
                    continue
                message, writer, readers = topics.get(topic, (messages[port.type], None, []))
                if message.name != port.type:
                    problems.append(Problem(task.file, key, f'topic "{topic}" carries {message.name}, this port is {port.type}'))
                if side == "writes":
                    if writer is not None:
                        problems.append(Problem(task.file, key, f'topic "{topic}" is already written by task "{writer}"'))
                    if topic in spec.inputs:
                        problems.append(Problem(task.file, key, f'topic "{topic}" already comes in over a link'))
                    writer = task.name
                else:
                    readers.append(task.name)
                topics[topic] = (message, writer, readers)
    return topics


def _runs(dtype: np.dtype[Any]) -> list[tuple[int, int, int]]:
    """(width, kind, count) runs of scalars that cover a dtype, implicit padding as bytes."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return _runs(base) * int(np.prod(shape, dtype=int))
    if dtype.names is None:
        return [(dtype.itemsize, int(dtype.kind == "f"), 1)]
    out: list[tuple[int, int, int]] = []
    position = 0
    assert dtype.fields is not None
    for name in dtype.names:
        sub, offset = dtype.fields[name][:2]
        if offset > position:
            out.append((1, 0, offset - position))
        out += _runs(sub)
        position = offset + sub.itemsize
    if dtype.itemsize > position:
        out.append((1, 0, dtype.itemsize - position))
    return out


class _Image:
    """Grows an image block by block and remembers of which scalars it is made."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.runs: list[list[int]] = []

    def add(self, dtype: np.dtype[Any], content: bytes) -> int:
        offset = len(self.data)
        self.data += content
        pad = -len(self.data) % 8
        self.data += bytes(pad)
        for width, kind, count in [*_runs(dtype), (1, 0, pad)]:
            if count and self.runs and self.runs[-1][:2] == [width, kind]:
                self.runs[-1][2] += count
            elif count:
                self.runs.append([width, kind, count])
        return offset


def _never_written() -> bytes:
    head = np.zeros((), _TOPIC_HEAD)
    head["tick"] = -1
    return head.tobytes()


def compile_node(spec: NodeSpec, task_types: Mapping[str, TaskType], messages: Mapping[str, MessageType],
                 constants: Mapping[str, Given]) -> CompiledNode:
    """Bind, check and lay out a node. Raises ConfigError with every problem found."""
    problems: list[Problem] = []
    names: set[str] = set()
    types = []
    for s in spec.tasks:
        _check_table(s, problems)
        if s.name in names:
            problems.append(Problem(s.file, f"{s.key}.name", f'"{s.name}" is already the name of a task of this node'))
        names.add(s.name)
        if s.type not in task_types:
            problems.append(Problem(s.file, f"{s.key}.type", f'unknown task type "{s.type}"{suggestion(s.type, task_types)}'))
        else:
            types.append(task_types[s.type])
    if not spec.tasks:
        problems.append(Problem(spec.name, "task", "a node needs at least one task"))
    if problems:
        raise ConfigError(problems)
    written = {s.writes.get(p.name, p.name) for s, t in zip(spec.tasks, types, strict=True) for p in t.writes}
    available = (written | set(spec.inputs)) - {""}
    bound = [(_bind_side(s, "reads", t.reads, s.reads, available, problems),
              _bind_side(s, "writes", t.writes, s.writes, set(), problems))
             for s, t in zip(spec.tasks, types, strict=True)]
    topics = _collect_topics(spec, types, bound, messages, problems)
    used: set[str] = set()
    params = [resolve(t.params_dtype, t.params, s.params, constants, (s.file, s.key), used, problems)
              if t.params_dtype is not None else np.zeros((), "u1")
              for s, t in zip(spec.tasks, types, strict=True)]
    for s, t in zip(spec.tasks, types, strict=True):
        if t.params_dtype is None:
            problems += [Problem(g.file, g.key, f"{t.name} has no parameters") for g in s.params.values()]
    for name in spec.inputs - set(topics):
        problems.append(Problem(spec.name, name, f'no task of this node reads "{name}"{suggestion(name, topics)}'))
    hyper, starts, entries = _timeline(spec.tasks, problems)
    if problems:
        raise ConfigError(problems)
    return _lay_out(spec, types, bound, topics, params, used, (hyper, starts, entries))


def _lay_out(spec: NodeSpec, types: Sequence[TaskType], bound: Sequence[tuple[dict[str, str | None], dict[str, str | None]]],
             topics: Mapping[str, tuple[MessageType, str | None, list[str]]], params: Sequence[np.ndarray[Any, Any]],
             used: set[str], timeline: tuple[int, list[int], list[int]]) -> CompiledNode:
    image = _Image()
    image.add(_IMAGE_HEAD, bytes(_IMAGE_HEAD.itemsize))
    placed: dict[str, Topic] = {}
    table = np.zeros(len(topics), _TOPIC)
    for k, (name, (message, writer, readers)) in enumerate(topics.items()):
        offset = image.add(_TOPIC_HEAD, _never_written())
        image.add(message.dtype, bytes(message.size))
        placed[name] = Topic(name, message, offset, writer, tuple(dict.fromkeys(readers)))
        table[k] = (digest(name.encode()), message.type_hash, offset, message.size)
    index = {name: k for k, name in enumerate(topics)}
    rows = np.zeros(len(types), _TASK)
    ports: list[int] = []
    compiled = []
    for k, (s, t, (reads, writes)) in enumerate(zip(spec.tasks, types, bound, strict=True)):
        state = t.initial_state(params[k])
        state_at = image.add(t.state_dtype, state) if t.state_dtype is not None else 0
        params_at = image.add(t.params_dtype, params[k].tobytes()) if t.params_dtype is not None else 0
        row = rows[k]
        row["type_hash"], row["name_hash"] = digest(t.name.encode()), digest(s.name.encode())
        row["period_ticks"], row["phase_ticks"] = s.period_ticks, s.phase_ticks
        row["budget_us"], row["deadline_us"] = s.budget_us, s.deadline_us
        row["state_offset"], row["state_size"] = state_at, len(state)
        row["params_offset"], row["params_size"] = params_at, t.params_dtype.itemsize if t.params_dtype is not None else 0
        row["first_port"], row["n_reads"], row["n_writes"] = len(ports), len(t.reads), len(t.writes)
        row["critical"], row["on_miss"] = s.critical, ON_MISS.index(s.on_miss)
        names = [reads[p.name] for p in t.reads] + [writes[p.name] for p in t.writes]
        ports += [UNBOUND if n is None else index[n] for n in names]
        compiled.append(CompiledTask(s, t, reads, writes, state_at, params_at))
    types_used = {topic.type.name: topic.type for topic in placed.values()}
    mark = fingerprint(types_used.values())
    blob, hash_ = _blob(spec.base_tick_ns, mark, table, rows, ports, timeline, image)
    return CompiledNode(spec.name, blob, hash_, spec.base_tick_ns, timeline[0], placed, tuple(compiled), len(image.data), mark,
                        frozenset(used))


def _blob(base_tick_ns: int, mark: int, topics: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], ports: list[int],
          timeline: tuple[int, list[int], list[int]], image: _Image) -> tuple[bytes, int]:
    hyper, starts, entries = timeline
    runs = np.array([(count, width, kind) for width, kind, count in image.runs], _RUN)
    head = np.zeros((), _HEAD)
    body = bytearray()

    def section(content: bytes) -> int:
        offset = _HEAD.itemsize + len(body)
        body.extend(content + bytes(-len(content) % 8))
        return offset

    head["magic"], head["version"], head["fingerprint"], head["base_tick_ns"] = 0x42485346, 1, mark, base_tick_ns
    head["image_size"], head["n_topics"], head["n_tasks"], head["n_ports"] = len(image.data), len(topics), len(rows), len(ports)
    head["hyperperiod"], head["n_entries"], head["n_runs"] = hyper, len(entries), len(runs)
    head["off_topics"], head["off_tasks"] = section(topics.tobytes()), section(rows.tobytes())
    head["off_ports"] = section(np.array(ports, "<u2").tobytes())
    head["off_starts"] = section(np.array(starts, "<u4").tobytes())
    head["off_entries"] = section(np.array(entries, "<u2").tobytes())
    head["off_runs"] = section(runs.tobytes())
    head["off_image"] = section(bytes(image.data))
    head["size"] = _HEAD.itemsize + len(body)
    hash_ = digest(head.tobytes()[16:] + bytes(body))
    head["hash"] = hash_
    return head.tobytes() + bytes(body), hash_
