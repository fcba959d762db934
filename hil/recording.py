"""Recordings played as if they were boards: rows of a CSV file become messages, put through the input gate at their time.

The bench file says how (a [node.recording] table): which columns make which field, their units, the axes they belong to, the
time base. The file itself lies below the folder that the environment variable FLIGHTSW_DATA names and is read when a flight
starts. A row is delivered in the first tick that is not before its time, plus the latency of its link. Nothing is invented
between rows.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flightsw._native import ffi, lib
from flightsw.errors import ConfigError, Problem
from flightsw.graph import Graph, LinkSpec
from flightsw.messages import MessageType
from flightsw.params import suggestion
from hil.config import RecordedField, Recording, numbers_only
from hil.plan import NodePlan

VARIABLE = "FLIGHTSW_DATA"
MAX_BYTES = 1 << 30
_DEG = np.pi / 180.0
UNITS = {"": 1.0, "m": 1.0, "km": 1e3, "ft": 0.3048, "m/s": 1.0, "ft/s": 0.3048, "m/s2": 1.0, "g": 9.80665, "rad": 1.0,
         "deg": _DEG, "rad/s": 1.0, "deg/s": _DEG, "Pa": 1.0, "hPa": 1e2, "mbar": 1e2, "kPa": 1e3, "bar": 1e5, "K": 1.0,
         "N": 1.0, "kg": 1.0, "s": 1.0}
_TIME = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}
_STAMPS = ("t_valid_ns", "t_ns")
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Recorded:
    """A board that is a recording, and the links that lead away from it."""

    plan: NodePlan
    recording: Recording
    links: tuple[LinkSpec, ...]


def split(plans: Sequence[NodePlan], links: Sequence[LinkSpec]) -> tuple[list[NodePlan], list[LinkSpec], list[Recorded]]:
    """Nodes that run, links between them, and boards that are recordings."""
    played = {p.name: p.recording for p in plans if p.recording is not None}
    recorded = [Recorded(p, p.recording, tuple(k for k in links if k.src_node == p.name))
                for p in plans if p.recording is not None]
    return [p for p in plans if p.recording is None], [k for k in links if k.src_node not in played], recorded


def mapping_problems(board: Recorded, messages: Mapping[str, MessageType]) -> list[Problem]:
    """What is wrong with a mapping, as far as can be said without its file."""
    r, out = board.recording, []

    def say(key: str, text: str) -> None:
        out.append(Problem(board.plan.file, f"{board.plan.key}.recording.{key}", text))

    message = messages.get(r.type)
    if message is None:
        say("type", f'there is no message "{r.type}"{suggestion(r.type, messages)}')
        return out
    sizes = {n: int(np.prod(message.dtype[n].shape, dtype=int)) for n in message.dtype.names or ()}
    given = [*((f"fields.{n}", n, len(f.columns)) for n, f in r.fields.items()),
             *((f"values.{n}", n, len(v) if isinstance(v, list) else 1) for n, v in r.values.items()),
             *([("position.field", r.position.field, 3)] if r.position is not None else [])]
    for key, name, count in given:
        if name not in sizes:
            say(key, f"{r.type} has no such field{suggestion(name, sizes)}")
        elif count != sizes[name]:
            say(key, f"{count} given, {r.type}.{name} has {sizes[name]}")
    for name, field in r.fields.items():
        if field.unit not in UNITS:
            say(f"fields.{name}.unit", f'"{field.unit}" is not a known unit, allowed {", ".join(u for u in UNITS if u)}')
    for name, value in r.values.items():
        if not numbers_only(value):
            say(f"values.{name}", "is not a number or a list of numbers")
    for name in {n for _, n, _ in given} & {*_STAMPS, "seq"}:
        say("fields", f"{name} is filled from the time column and the count of rows")
    if not board.links:
        say("topic", f'no link leads away from "{board.plan.name}.{r.topic}"')
    return out


# ---- files ---------------------------------------------------------------------------------------------------------


def data_file(board: Recorded) -> Path:
    """Path of a recording. ConfigError with where to get it when it is not there, or is not the file that was meant."""
    r = board.recording

    def problem(text: str) -> ConfigError:
        return ConfigError.one(board.plan.file, f"{board.plan.key}.recording.file", text)

    root = os.environ.get(VARIABLE, "")
    if not root:
        raise problem(f'"{r.file}" is looked for below the folder that {VARIABLE} names, and it names none; '
                      f"the file comes from {r.origin}")
    if Path(r.file).is_absolute() or ".." in Path(r.file).parts:
        raise problem(f'"{r.file}" must be a relative path, without "..", below the folder that {VARIABLE} names')
    path = Path(root) / r.file
    if not path.is_file():
        raise problem(f'there is no file "{r.file}" below the folder that {VARIABLE} names; it comes from {r.origin}')
    if path.stat().st_size > MAX_BYTES:
        raise problem(f"the file is longer than {MAX_BYTES >> 20} MiB, the greatest size allowed")
    if r.sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != r.sha256:
        raise problem(f'"{r.file}" is not the file that this bench was written for: its SHA-256 differs; '
                      f"that file comes from {r.origin}")
    return path


def read_columns(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """Columns of a CSV file with one line of headings, as float64. ConfigError when one is missing or not all numbers."""
    file = path.name
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            headings = [h.strip() for h in stream.readline().split(",")]
            missing = [n for n in names if n not in headings]
            if missing:
                raise ConfigError([Problem(file, n, f"there is no such column{suggestion(n, headings)}") for n in missing])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # no rows: said below
                table = np.loadtxt(stream, np.float64, delimiter=",", usecols=[headings.index(n) for n in names], ndmin=2)
    except (OSError, UnicodeDecodeError, ValueError) as exc:
        raise ConfigError.one(file, "", f"cannot be read: {str(exc).splitlines()[0]}") from None
    if not len(table):
        raise ConfigError.one(file, "", "has no rows")
    for k, name in enumerate(names):
        bad = np.flatnonzero(~np.isfinite(table[:, k]))
        if len(bad):
            raise ConfigError.one(file, f"row {bad[0] + 1}", f'"{name}" is not a finite number')
    return {n: table[:, k] for k, n in enumerate(names)}


# ---- rows to messages ----------------------------------------------------------------------------------------------


def _column(name: str) -> tuple[str, float]:
    return (name[1:], -1.0) if name.startswith("-") else (name, 1.0)


def _columns_of(r: Recording) -> list[str]:
    out = [r.time_column] + [_column(c)[0] for f in r.fields.values() for c in f.columns]
    if r.position is not None:
        out += [r.position.latitude, r.position.longitude]
        out += [r.position.height] if isinstance(r.position.height, str) else []
    return list(dict.fromkeys(out))


def _field(field: RecordedField, columns: Mapping[str, Array], t_s: Array) -> Array:
    """[n, len(columns)] values in SI units. Integrated: increments over the interval that ends at each row, by the trapezoidal
    rule; the interval before the first row is taken to be as long as the next one, with its first value throughout.
    """
    parts = [_column(c) for c in field.columns]
    x = np.stack([sign * columns[name] for name, sign in parts], axis=1) * UNITS[field.unit]
    if not field.integrate:
        return x
    dt = np.diff(t_s)[:, None]
    first = x[:1] * (dt[:1] if len(dt) else 0.0)
    return np.concatenate([first, 0.5 * (x[1:] + x[:-1]) * dt])


def earth_fixed(lat_deg: Array, lon_deg: Array, height_m: Array) -> Array:
    """[n, 3] m, from geodetic WGS 84 positions, by the core's own functions."""
    out = np.zeros((len(lat_deg), 3))
    site, dcm, quaternion = (ffi.new("double[]", n) for n in (3, 9, 4))
    for k in range(len(out)):
        lib.fsw_nav_site(lat_deg[k] * _DEG, lon_deg[k] * _DEG, height_m[k], site, dcm, quaternion)
        out[k] = list(site)
    return out


def messages_of(r: Recording, path: Path, message: MessageType) -> tuple[Array, Array]:
    """(times, ns from mission time 0; messages) of all rows not before it. ConfigError when time does not go forward."""
    columns = read_columns(path, _columns_of(r))
    t_ns = np.rint(columns[r.time_column] * _TIME[r.time_unit]).astype(np.int64) + round(r.time_offset_s * 1e9)
    back = np.flatnonzero(np.diff(t_ns) <= 0)
    if len(back):
        raise ConfigError.one(path.name, f"row {back[0] + 2}", f'"{r.time_column}" does not go forward')
    out = np.zeros(len(t_ns), message.dtype)
    for name, field in r.fields.items():
        out[name] = _field(field, columns, t_ns * 1e-9).reshape(out[name].shape)
    for name, value in r.values.items():
        out[name] = value
    if r.position is not None:
        p = r.position
        height = columns[p.height] if isinstance(p.height, str) else np.full(len(out), float(p.height))
        out[p.field] = earth_fixed(columns[p.latitude], columns[p.longitude], height)
    for stamp in set(_STAMPS) & set(message.dtype.names or ()):
        out[stamp] = t_ns
    if "seq" in (message.dtype.names or ()):
        out["seq"] = np.arange(1, len(out) + 1)
    late = t_ns >= 0
    return t_ns[late], out[late]


def _ticks(board: Recorded, t_ns: Array, base_tick_ns: int) -> Array:
    """First tick that is not before each time. ConfigError when two rows share one: the second would hide the first."""
    ticks = -(-t_ns // base_tick_ns)
    same = np.flatnonzero(np.diff(ticks) == 0)
    if len(same):
        raise ConfigError.one(board.plan.file, f"{board.plan.key}.recording", f"two rows (at {t_ns[same[0]] * 1e-9:.6f} s and "
                              f"{t_ns[same[0] + 1] * 1e-9:.6f} s) fall into one tick: choose a shorter base_tick_ns")
    return ticks


def attach(graph: Graph, boards: Sequence[Recorded], messages: Mapping[str, MessageType], base_tick_ns: int) -> None:
    """Let a graph be fed from recordings. Raises ConfigError with every problem of the files."""
    if not boards:
        return
    ends: list[tuple[str, str]] = []
    ticks, which, offsets, payload = [], [], [], []
    size, problems = 0, list[Problem]()
    for board in boards:
        try:
            t_ns, rows = messages_of(board.recording, data_file(board), messages[board.recording.type])
            at = _ticks(board, t_ns, base_tick_ns)
        except ConfigError as exc:
            problems += exc.problems
            continue
        payload.append(np.frombuffer(rows.tobytes(), np.uint8))
        for link in board.links:
            ends.append((link.dst_node, link.dst_topic))
            ticks.append(at + link.latency_ticks)
            which.append(np.full(len(at), len(ends) - 1))
            offsets.append(size + np.arange(len(at), dtype=np.uint64) * rows.dtype.itemsize)
        size += -(-rows.nbytes // 8) * 8
        payload.append(np.zeros(-rows.nbytes % 8, np.uint8))
    if problems:
        raise ConfigError(problems)
    every = np.concatenate(ticks)
    order = np.argsort(every, kind="stable")
    graph.set_feed(ends, every[order], np.concatenate(which)[order], np.concatenate(offsets)[order], np.concatenate(payload))
