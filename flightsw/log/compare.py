"""Comparing recorded messages, byte for byte, and naming the first difference."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flightsw._native import ffi
from flightsw.errors import LogError
from flightsw.log.reader import Log, Records

HOST = "/host/"  # topics on how the computer kept up, of a run in real time
BLOCK = 20_000   # rows compared at once
ROW_HEAD = 24    # bytes of a row before the payload: sequence, two times, encapsulation


@dataclass(frozen=True)
class Divergence:
    """The first place where two recordings differ. `a` is what was recorded, `b` what it is compared with.

    kind: "value", "missing" (only a has the message), "extra" (only b has it), "state" (an image at a keyframe) or "input" (what
    entered a node in this tick; topic: those with an input in it, separated by commas).
    field: with its index for an element of an array. a, b and their bits: None and "" where there is no message.
    """

    tick: int
    t_ns: int
    node: str
    task: str
    topic: str
    field: str
    kind: str
    a: float | int | None = None
    b: float | int | None = None
    a_bits: str = ""
    b_bits: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: numbers that JSON does not have become texts; the bits are exact in any case."""
        out = dict(self.__dict__)
        for side in ("a", "b"):
            value = out[side]
            if isinstance(value, float) and not np.isfinite(value):
                out[side] = repr(value)
        return out

    def sentence(self, a: str = "recorded", b: str = "replayed") -> str:
        """What differs, for people."""
        where = f"tick {self.tick} ({self.t_ns * 1e-9:.6f} s)"
        task = f', written by task "{self.task}"' if self.task else ""
        if self.kind == "input":
            among = f" (one of {self.topic})" if self.topic else " (nothing enters)"
            return (f'{where}: what entered node "{self.node}" in this tick is not what was {a} as entering it{among}: digest '
                    f"{a} {self.a_bits}, {b} {self.b_bits}")
        if self.kind == "missing":
            return f"{where}: /{self.node}/{self.topic}{task}: {a}, but not {b}"
        if self.kind == "extra":
            return f"{where}: /{self.node}/{self.topic}{task}: {b}, but not {a}"
        name = f"/{self.node}/{self.topic}" if self.kind == "value" else f'node "{self.node}", {self.topic}'
        return (f"{where}: {name}{task}, {self.field}: {a} {self.a!r} (0x{self.a_bits}), "
                f"{b} {self.b!r} (0x{self.b_bits})")


def same_bytes(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Are two contiguous arrays the same bytes?"""
    return a.nbytes == b.nbytes and (a.nbytes == 0 or bool(ffi.buffer(ffi.from_buffer(a)) == ffi.buffer(ffi.from_buffer(b))))


def first_row(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> int | None:
    """Index of the first row that differs; rows past the end of the shorter differ. None: all equal."""
    n = min(len(a), len(b))
    if same_bytes(a[:n], b[:n]):
        return None if len(a) == len(b) else n
    size = a.dtype.itemsize
    x, y = (side[:n].view(np.uint8).reshape(n, size) for side in (a, b))
    return int(np.argmax((x != y).any(axis=1)))


def field_difference(dtype: np.dtype[Any], a: bytes, b: bytes, base: int) -> tuple[str, Any, Any, str, str] | None:
    """(field, value in a, value in b, bits, bits) of the first field of `dtype`, which begins at `base`, that differs."""
    for name in dtype.names or ():
        assert dtype.fields is not None
        field, offset = dtype.fields[name][:2]
        scalar, shape = field.subdtype or (field, ())
        if scalar.names is not None:
            continue
        for k in range(int(np.prod(shape, dtype=int))):
            at = base + offset + k * scalar.itemsize
            x, y = a[at : at + scalar.itemsize], b[at : at + scalar.itemsize]
            if x != y:
                label = name + "".join(f"[{i}]" for i in np.unravel_index(k, shape)) if shape else name
                values = [np.frombuffer(side, scalar)[0].item() for side in (x, y)]
                return label, values[0], values[1], x[::-1].hex(), y[::-1].hex()
    return None


@dataclass(frozen=True)
class Signal:
    """What is needed to name a difference in a topic."""

    node: str
    topic: str
    task: str
    dtype: np.dtype[Any]
    base_tick_ns: int


def row_time(row: np.ndarray[Any, Any]) -> int:
    """Log time of a row."""
    return int.from_bytes(row.tobytes()[4:12], "little", signed=True)


def name_difference(signal: Signal, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], k: int) -> Divergence:
    """Divergence for row k of two columns, the first that differs."""
    times = [row_time(side[k]) if k < len(side) else None for side in (a, b)]
    t_a, t_b = times

    def make(t_ns: int, field: str, kind: str, *values: Any) -> Divergence:
        tick = t_ns // signal.base_tick_ns if signal.base_tick_ns else 0
        return Divergence(tick, t_ns, signal.node, signal.task, signal.topic, field, kind, *values)

    if t_b is None or (t_a is not None and t_a < t_b):
        assert t_a is not None
        return make(t_a, "", "missing")
    if t_a is None or t_b < t_a:
        return make(t_b, "", "extra")
    x, y = a[k].tobytes(), b[k].tobytes()
    found = field_difference(signal.dtype, x, y, ROW_HEAD)
    if found is None:
        seq = [int.from_bytes(row[:4], "little") for row in (x, y)]
        return make(t_a, "log_seq", "value", *seq, x[3::-1].hex(), y[3::-1].hex())
    return make(t_a, found[0], "value", *found[1:])


@dataclass(frozen=True)
class Diff:
    """Result of comparing two logs: topics and messages compared, topics that differ with their first difference, notes.

    from_ns, until_ns: the time that was compared (until_ns None: to the end).
    """

    topics: int
    messages: int
    divergence: Divergence | None
    differences: dict[str, Divergence]
    notes: list[str]
    from_ns: int = 0
    until_ns: int | None = None

    @property
    def identical(self) -> bool:
        """No message of a common topic differs."""
        return self.divergence is None and not any("differs" in n for n in self.notes)


def start_of(log: Log) -> int:
    """Tick at which a log begins: that of its first keyframe where nothing lies before it (a fork's log), else 0."""
    first = next((snapshot.tick for snapshot, _ in log.keyframes()), 0)
    return first if first > 0 and log.start_ns >= first * log.base_tick_ns else 0


def diff(a: Log, b: Log, from_ns: int | None = None, until_ns: int | None = None) -> Diff:
    """Compare all topics that both logs have: times, sequence numbers and every byte. Raises LogError when there is none.

    from_ns, until_ns: the time compared; default: from where both have begun (one may be a fork) to the end of the later one.
    """
    common = [t for t in a.topics if t in b.topics]
    if not common:
        raise LogError(f"{a.path} and {b.path} have no topic in common")
    notes = [f"only in {x.path}: {t}" for x, y in ((a, b), (b, a)) for t in x.topics if t not in y.topics]
    notes += [p for log in (a, b) for p in log.problems]
    if from_ns is None:
        starts = [start_of(log) * log.base_tick_ns for log in (a, b)]
        from_ns = max(starts)
        if starts[0] != starts[1]:
            notes.append(f"{(a, b)[starts[1] > starts[0]].path} begins at {from_ns * 1e-9:g} s: compared from there on")
    found: dict[str, tuple[int, Divergence]] = {}
    tasks = writers(a)
    compared = messages = 0
    for topic in common:
        if topic.rsplit("/", 1)[-1].startswith("_") or topic.startswith(HOST):
            continue  # follows from the topics, or tells of the computer and not of the flight
        if a.schema(topic).data != b.schema(topic).data:
            notes.append(f"{topic}: its definition differs")
            continue
        try:
            x, y = (_between(log.records(topic), from_ns, until_ns) for log in (a, b))
        except LogError as exc:
            notes.append(f"not compared: {exc}")
            continue
        compared += 1
        messages += max(len(x.offsets), len(y.offsets))
        difference = _first(x, y, a, (topic, tasks.get(topic, "")))
        if difference is not None:
            found[topic] = difference
    first = min(found.values(), key=lambda f: (f[1].t_ns, f[0]))[1] if found else None
    return Diff(compared, messages, first, {t: d for t, (_, d) in found.items()}, notes, from_ns, until_ns)


def _between(records: Records, from_ns: int, until_ns: int | None) -> Records:
    """The records of a span of time; whole columns are left as they are."""
    if not from_ns and until_ns is None:
        return records
    times = records.times()
    end = len(times) if until_ns is None else int(np.searchsorted(times, until_ns))
    return replace(records, offsets=records.offsets[int(np.searchsorted(times, from_ns)) : end])


def _first(x: Records, y: Records, log: Log, where: tuple[str, str]) -> tuple[int, Divergence] | None:
    """First difference of a topic (where: its name and its task), with its place in the file for order within a tick."""
    topic, task = where
    node, _, name = topic[1:].partition("/")
    signal = Signal(node, name, task, log.dtype(topic), log.base_tick_ns)
    n = max(len(x.offsets), len(y.offsets))
    for at in range(0, n, BLOCK):
        rows = x.rows(at, at + BLOCK), y.rows(at, at + BLOCK)
        k = first_row(*rows)
        if k is not None:
            place = int(x.offsets[at + k]) if at + k < len(x.offsets) else 1 << 62
            return place, name_difference(signal, *rows, k)
    return None


def writers(log: Log) -> dict[str, str]:
    """Topic to the task that writes it, as far as the layouts attached to a log tell."""
    out: dict[str, str] = {}
    for name, data in log.attachments.items():
        if not name.startswith("layout/"):
            continue
        try:
            out |= {f"/{name[7:]}/{t['name']}": t["writer"] for t in json.loads(data)["topics"] if isinstance(t["writer"], str)}
        except (ValueError, KeyError, TypeError):
            continue
    return out
