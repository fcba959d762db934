"""Recordings played as if they were boards: rows of a file become messages, put through the input gate at their time.

A mapping says how (the [node.recording] table of a bench file, or a mapping file that it names): which columns make which field,
their units, the axes they belong to, the time base. The recorded file itself (CSV, JSON, Parquet, ULog: hil.recording_files) lies
below the folder that the environment variable FLIGHTSW_DATA names and is read when a flight starts. A row is delivered in the
first tick that is not before its time, plus the latency of its link. Nothing is invented between rows.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flightsw._native import ffi, lib
from flightsw.errors import ConfigError, Problem
from flightsw.graph import Graph, LinkSpec
from flightsw.messages import MessageType
from flightsw.params import suggestion
from hil.config import RecordedField, RecordedPosition, Recording, numbers_only
from hil.plan import NodePlan
from hil.recording_files import MAX_BYTES, Columns, format_of, format_problem, read
from hil.toml_file import file_of, key_of

VARIABLE = "FLIGHTSW_DATA"
_DEG = np.pi / 180.0
UNITS = {"": 1.0, "m": 1.0, "mm": 1e-3, "cm": 1e-2, "km": 1e3, "ft": 0.3048, "m/s": 1.0, "mm/s": 1e-3, "cm/s": 1e-2,
         "km/h": 1 / 3.6, "ft/s": 0.3048, "m/s2": 1.0, "g": 9.80665, "rad": 1.0, "deg": _DEG, "1e-7 deg": 1e-7 * _DEG,
         "rad/s": 1.0, "deg/s": _DEG, "Pa": 1.0, "hPa": 1e2, "mbar": 1e2, "kPa": 1e3, "bar": 1e5, "K": 1.0, "N": 1.0, "kg": 1.0,
         "s": 1.0}
_TIME = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_MAX_NS = 2**62
_STAMPS = ("t_valid_ns", "t_ns")
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Recorded:
    """A board that is a recording, and the links that lead away from it."""

    plan: NodePlan
    recording: Recording
    links: tuple[LinkSpec, ...]

    def problem(self, key: str, text: str) -> Problem:
        """A problem with a key of the mapping, in the file in which that key stands."""
        table, parts = self.plan.mapping, key.split(".") if key else []
        if table is None:
            return Problem(self.plan.file, f"{self.plan.key}.recording" + (f".{key}" if key else ""), text)
        return Problem(file_of(table, ["recording", *parts], self.plan.file),
                       key_of(table, ["recording", *parts], self.plan.key), text)


def split(plans: Sequence[NodePlan], links: Sequence[LinkSpec]) -> tuple[list[NodePlan], list[LinkSpec], list[Recorded]]:
    """Nodes that run, links between them, and boards that are recordings."""
    played = {p.name: p.recording for p in plans if p.recording is not None}
    recorded = [Recorded(p, p.recording, tuple(k for k in links if k.src_node == p.name))
                for p in plans if p.recording is not None]
    return [p for p in plans if p.recording is None], [k for k in links if k.src_node not in played], recorded


def mapping_problems(board: Recorded, messages: Mapping[str, MessageType]) -> list[Problem]:
    """What is wrong with a mapping, as far as can be said without its file."""
    r, out = board.recording, list[Problem]()

    def say(key: str, text: str) -> None:
        out.append(board.problem(key, text))

    _say_file(r, say)
    message = messages.get(r.type)
    if message is None:
        say("type", f'there is no message "{r.type}"{suggestion(r.type, messages)}')
        return out
    sizes = {n: int(np.prod(message.dtype[n].shape, dtype=int)) for n in message.dtype.names or ()}
    given = _given(r)
    for key, name, count in given:
        if name not in sizes:
            say(key, f"{r.type} has no such field{suggestion(name, sizes)}")
        elif count != sizes[name]:
            say(key, f"{count} given, {r.type}.{name} has {sizes[name]}")
    names = [n for _, n, _ in given]
    for name in dict.fromkeys(n for n in names if names.count(n) > 1):
        say("fields", f"{name} is given twice")
    for name, value in r.values.items():
        if not numbers_only(value):
            say(f"values.{name}", "is not a number or a list of numbers")
    for name in set(names) & {*_STAMPS, "seq"}:
        say("fields", f"{name} is filled from the time column and the count of rows")
    if not board.links:
        say("topic", f'no link leads away from "{board.plan.name}.{r.topic}"')
    return out


def _given(r: Recording) -> list[tuple[str, str, int]]:
    """(key, field of the message, count of values) of everything a mapping fills."""
    out = [*((f"fields.{n}", n, len(f.columns)) for n, f in r.fields.items()),
           *((f"values.{n}", n, len(v) if isinstance(v, list) else 1) for n, v in r.values.items())]
    if r.position is not None:
        out.append(("position.field", r.position.field, 3))
        if r.position.velocity_field is not None:
            out.append(("position.velocity_field", r.position.velocity_field, 3))
    return out


def _say_file(r: Recording, say: Callable[[str, str], None]) -> None:
    """Problems of format and units."""
    text = format_problem(r.file, r.format)
    if text:
        say("file" if r.format is None else "format", text)
    kind = format_of(r.file, r.format)
    if kind == "ulog" and r.message is None:
        say("file", 'a ULog holds many messages: say which one, as in message = "sensor_combined"')
    if kind not in ("ulog", None) and r.message is not None:
        say("message", "belongs to a ULog, this is another format")
    if kind not in ("ulog", None) and r.time_zero == "log_start":
        say("time_zero", 'only a ULog has a start of the log: "clock" or "first_row"')
    units = [(f"fields.{n}.unit", f.unit) for n, f in r.fields.items()]
    if r.position is not None:
        p = r.position
        units += [("position.unit", p.unit), ("position.height_unit", p.height_unit), ("position.velocity_unit", p.velocity_unit)]
    for key, unit in units:
        if unit not in UNITS:
            say(key, f'"{unit}" is not a known unit, allowed {", ".join(u for u in UNITS if u)}')


# ---- files ---------------------------------------------------------------------------------------------------------


def data_file(board: Recorded) -> Path:
    """Path of a recording. ConfigError with where to get it when it is not there, or is not the file that was meant."""
    r = board.recording

    def problem(text: str) -> ConfigError:
        return ConfigError([board.problem("file", text)])

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
    if r.sha256 is not None and sha256(path) != r.sha256:
        raise problem(f'"{r.file}" is not the file that this bench was written for: its SHA-256 differs; '
                      f"that file comes from {r.origin}")
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file, as text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# ---- rows to messages ----------------------------------------------------------------------------------------------


def _column(name: str) -> tuple[str, float]:
    return (name[1:], -1.0) if name.startswith("-") else (name, 1.0)


def _columns_of(r: Recording) -> list[str]:
    out = [r.time_column] + [_column(c)[0] for f in r.fields.values() for c in f.columns]
    if r.position is not None:
        p = r.position
        out += [p.latitude, p.longitude, *(_column(c)[0] for c in p.velocity_ned or ())]
        out += [p.height] if isinstance(p.height, str) else []
    return list(dict.fromkeys(out))


def _picked(columns: Sequence[str], unit: str, values: Mapping[str, Array]) -> Array:
    """[n, len(columns)] in SI units, columns with a minus sign turned round."""
    parts = [_column(c) for c in columns]
    return np.stack([sign * values[name].astype(np.float64) for name, sign in parts], axis=1) * UNITS[unit]


def _field(field: RecordedField, values: Mapping[str, Array], t_s: Array) -> Array:
    """[n, len(columns)] values in SI units. Integrated: increments over the interval that ends at each row, by the trapezoidal
    rule; the interval before the first row is taken to be as long as the next one, with its first value throughout.
    """
    x = _picked(field.columns, field.unit, values)
    if not field.integrate:
        return x
    dt = np.diff(t_s)[:, None]
    first = x[:1] * (dt[:1] if len(dt) else 0.0)
    return np.concatenate([first, 0.5 * (x[1:] + x[:-1]) * dt])


def earth_fixed(lat_rad: Array, lon_rad: Array, height_m: Array, v_ned: Array | None = None) -> tuple[Array, Array]:
    """([n, 3] m, [n, 3] m/s), Earth-fixed, from geodetic WGS 84 positions and velocities north, east, down (zero when not
    given), by the core's own functions.
    """
    r, v = np.zeros((len(lat_rad), 3)), np.zeros((len(lat_rad), 3))
    site, dcm, quaternion = (ffi.new("double[]", n) for n in (3, 9, 4))
    for k in range(len(r)):
        lib.fsw_nav_site(lat_rad[k], lon_rad[k], height_m[k], site, dcm, quaternion)
        r[k] = list(site)
        if v_ned is not None:
            north, east, down = v_ned[k]
            c_le = np.array(list(dcm)).reshape(3, 3)  # rows: east, north, up
            v[k] = east * c_le[0] + north * c_le[1] - down * c_le[2]
    return r, v


def _fill_position(p: RecordedPosition, values: Mapping[str, Array], out: Array) -> None:
    n = len(out)
    height = _picked([p.height], p.height_unit, values)[:, 0] if isinstance(p.height, str) else np.full(n, float(p.height))
    lat, lon = _picked([p.latitude, p.longitude], p.unit, values).T
    v_ned = _picked(p.velocity_ned, p.velocity_unit, values) if p.velocity_ned is not None else None
    r_e, v_e = earth_fixed(lat, lon, height, v_ned)
    out[p.field] = r_e
    if p.velocity_field is not None:
        out[p.velocity_field] = v_e


def _mission_time(r: Recording, path: Path, found: Columns) -> Array:
    """[n] int64 ns from mission time 0. Whole numbers stay exact. ConfigError when time does not go forward or is out of range."""
    t, factor = found.values[r.time_column], _TIME[r.time_unit]
    low, high = (v.item() for v in (t.min(), t.max()))
    if max(abs(low), abs(high)) * factor >= _MAX_NS:
        raise ConfigError.one(path.name, r.time_column, f"goes beyond {_MAX_NS * 1e-9:.3g} s")
    whole = t.dtype.kind in "iu"
    t_ns = t.astype(np.int64) * factor if whole else np.rint(t * float(factor)).astype(np.int64)
    back = np.flatnonzero(np.diff(t_ns) <= 0)
    if len(back):
        raise ConfigError.one(path.name, f"row {found.rows[back[0] + 1]}", f'"{r.time_column}" does not go forward')
    zero = {"clock": 0, "first_row": int(t_ns[0]), "log_start": found.start_ns or 0}[r.time_zero]
    return t_ns - zero + round(r.time_offset_s * 1e9)


def messages_of(r: Recording, path: Path, message: MessageType) -> tuple[Array, Array]:
    """(times, ns from mission time 0; messages) of all rows not before it. ConfigError when the file does not fit its mapping."""
    found = read(path, r, _columns_of(r))
    t_ns = _mission_time(r, path, found)
    out = np.zeros(len(t_ns), message.dtype)
    for name, field in r.fields.items():
        out[name] = _fitting(_field(field, found.values, t_ns * 1e-9), out[name], (path, name, found.rows))
    for name, value in r.values.items():
        out[name] = value
    if r.position is not None:
        _fill_position(r.position, found.values, out)
    for stamp in set(_STAMPS) & set(message.dtype.names or ()):
        out[stamp] = t_ns
    if "seq" in (message.dtype.names or ()):
        out["seq"] = np.arange(1, len(out) + 1)
    late = t_ns >= 0
    return t_ns[late], out[late]


def _fitting(values: Array, into: Array, at: tuple[Path, str, Array]) -> Array:
    """Values in the shape of a field. ConfigError when it is an integer and they do not fit: nothing is cut off silently."""
    if into.dtype.kind in "iu":
        limits = np.iinfo(into.dtype)
        bad = np.flatnonzero(((values != np.rint(values)) | (values < limits.min) | (values > limits.max)).any(axis=1))
        if len(bad):
            path, name, rows = at
            raise ConfigError.one(path.name, f"row {rows[bad[0]]}", f"{name} holds whole numbers from {limits.min} to {limits.max}")
    return values.reshape(into.shape)


def _ticks(board: Recorded, t_ns: Array, base_tick_ns: int) -> Array:
    """First tick that is not before each time. ConfigError when two rows share one: the second would hide the first."""
    ticks = -(-t_ns // base_tick_ns)
    same = np.flatnonzero(np.diff(ticks) == 0)
    if len(same):
        one, two = (f"{t_ns[k] * 1e-9:.6f} s" for k in (same[0], same[0] + 1))
        raise ConfigError([board.problem("", f"two rows (at {one} and {two}) fall into one tick: choose a shorter base_tick_ns")])
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
