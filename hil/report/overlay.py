"""Two logs over one another: the signals that differ most, on a page like that of the report.

Used for a what-if (recorded and replayed), a fork (parent and fork) and `flightsw diff`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flightsw._native import include_dir
from flightsw.errors import LogError
from flightsw.log import Log
from flightsw.log.compare import HOST, ROW_HEAD
from flightsw.params import parse_struct
from hil.report.signals import Array

MOST_SIGNALS, MOST_PER_TOPIC = 12, 3
_UNITS = frozenset(("ns", "us", "ms", "s", "m", "m/s", "m/s2", "m/s^2", "rad", "deg", "rad/s", "deg/s", "kg", "kg/s", "N", "N m",
                    "Pa", "K", "Hz", "V", "A", "W", "J", "%", "g"))
_CLOCKS = re.compile(r"(^t_|_t_|^seq$|_ns$|counter|^pad\d*$)")  # differ as a matter of course, once anything does


@dataclass(frozen=True)
class TopicChange:
    """How one topic differs: messages in each log, those that differ (missing and extra ones too), since when.

    field: the one that differs most, with its greatest difference; empty when no number differs.
    """

    topic: str
    messages: tuple[int, int]
    different: int
    first_s: float
    field: str
    greatest: float
    unit: str


@dataclass(frozen=True)
class Signal:
    """A number in a topic in both logs. t: time, s; y: value; d: b minus a at common times."""

    topic: str
    field: str
    unit: str
    score: float
    t: tuple[Array, Array, Array]
    y: tuple[Array, Array]
    d: Array


def units_of(log: Log) -> Mapping[str, Mapping[str, str]]:
    """Message type to field to unit, from the comments in the headers of the package and those attached to a log."""
    texts = [(include_dir() / "flightsw" / "messages.h").read_text("utf-8")]
    texts += [data.decode("utf-8", "replace") for name, data in log.attachments.items() if name.endswith(".h")]
    types = {log.channel(t).metadata.get("type", "") for t in log.topics} - {""}
    out: dict[str, dict[str, str]] = {}
    for kind in types:
        for text in texts:
            for name, field in parse_struct(text, kind).items():
                unit = field.doc.split(",")[0].split(":")[0].strip()
                if unit in _UNITS:
                    out.setdefault(kind, {})[name] = unit
    return out


def compare(a: Log, b: Log, from_ns: int, until_ns: int | None = None) -> tuple[list[TopicChange], list[Signal]]:
    """Topics that differ from a time on, and of their signals those that differ most, greatest first."""
    changes: list[TopicChange] = []
    signals: list[Signal] = []
    units = units_of(a)
    for topic in a.topics:
        if topic.rsplit("/", 1)[-1].startswith("_") or topic.startswith(HOST) or topic not in b.topics:
            continue
        try:
            if a.schema(topic).data != b.schema(topic).data:
                continue
            rows = [_span(log[topic], from_ns, until_ns) for log in (a, b)]
        except LogError:
            continue
        found = _topic(topic, rows[0], rows[1], units.get(a.channel(topic).metadata.get("type", ""), {}))
        if found is not None:
            changes.append(found[0])
            signals += found[1]
    signals.sort(key=lambda s: -s.score)
    return changes, _chosen(signals)


def _span(data: Array, from_ns: int, until_ns: int | None) -> Array:
    end = None if until_ns is None else int(np.searchsorted(data["log_t_ns"], until_ns))
    return data[int(np.searchsorted(data["log_t_ns"], from_ns)) : end]


def _chosen(signals: list[Signal]) -> list[Signal]:
    """The first so many, not too many of one topic."""
    out: list[Signal] = []
    taken: dict[str, int] = {}
    for s in signals:
        if len(out) < MOST_SIGNALS and taken.get(s.topic, 0) < MOST_PER_TOPIC:
            taken[s.topic] = taken.get(s.topic, 0) + 1
            out.append(s)
    return out


def _topic(topic: str, a: Array, b: Array, units: Mapping[str, str]) -> tuple[TopicChange, list[Signal]] | None:
    """How a topic differs, and its signals that do; None when it does not."""
    times, ia, ib = np.intersect1d(a["log_t_ns"], b["log_t_ns"], return_indices=True)
    left, right = a[ia], b[ib]
    bytes_a, bytes_b = (np.ascontiguousarray(x).view(np.uint8).reshape(len(x), x.dtype.itemsize)[:, ROW_HEAD:][k]
                        for x, k in ((a, ia), (b, ib)))
    unlike = (bytes_a != bytes_b).any(axis=1) if len(times) else np.zeros(0, bool)
    alone = [np.setdiff1d(x["log_t_ns"], times) for x in (a, b)]
    different = int(unlike.sum()) + len(alone[0]) + len(alone[1])
    if not different:
        return None
    since = min(int(t[0]) for t in (times[unlike], *alone) if len(t))
    found = sorted(_signals(topic, (a, b), (left, right), units), key=lambda s: -s.score)
    first = next(((s.field, float(np.nanmax(np.abs(s.d))), s.unit) for s in found if np.isfinite(s.d).any()), ("", 0.0, ""))
    return TopicChange(topic, (len(a), len(b)), different, since * 1e-9, *first), found


def _signals(topic: str, whole: tuple[Array, Array], common: tuple[Array, Array], units: Mapping[str, str]) -> Iterator[Signal]:
    """Every number of a topic that differs."""
    for name in whole[0].dtype.names or ():
        if name in ("log_t_ns", "log_seq") or name.startswith("pad"):
            continue
        shape = whole[0].dtype[name].shape
        for index in np.ndindex(shape):
            place = (slice(None), *index)
            x, y = (np.asarray(data[name][place], float) for data in common)
            with np.errstate(all="ignore"):
                d = y - x
            moved = np.nan_to_num(np.abs(d), nan=0.0, posinf=0.0)
            if not len(moved) or (not moved.any() and (np.isnan(x) == np.isnan(y)).all()):
                continue
            t = tuple(np.asarray(data["log_t_ns"], np.int64) * 1e-9 for data in (*whole, common[0]))
            values = tuple(np.asarray(data[name][place], float) for data in whole)
            label, score = name + "".join(f"[{k}]" for k in index), _score(name, x, y, moved)
            yield Signal(topic, label, units.get(name, ""), score, (t[0], t[1], t[2]), (values[0], values[1]), d)


def _score(name: str, x: Array, y: Array, moved: Array) -> float:
    """Greatest difference against the span of the signal; flags and states come behind quantities, clocks and counters last."""
    both = np.concatenate((x, y))
    both = both[np.isfinite(both)]
    span = float(np.ptp(both)) if len(both) else 0.0
    score = float(moved.max()) / span if span > 0.0 else 0.0
    whole = bool((both == np.rint(both)).all())
    return score * (1e-6 if _CLOCKS.search(name) else 0.3 if whole else 1.0)


def as_dict(change: TopicChange) -> dict[str, Any]:
    """For JSON."""
    greatest = change.greatest if np.isfinite(change.greatest) else None
    return {**change.__dict__, "messages": list(change.messages), "greatest": greatest}
