"""A mapping file of `flightsw nav run`: read, checked, and its sensor data as arrays in the units and frames of the filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from flightsw.errors import ConfigError, LogError, Problem
from flightsw.messages import MessageType, builtin
from flightsw.navigation import KINDS, NavigationFilter, Start, dtype, parameters
from flightsw.params import suggestion
from hil.config import validate
from hil.nav.model import NavFile, Sensor
from hil.plan import NodePlan
from hil.recording import Recorded, data_file, mapping_problems, messages_of, sha256
from hil.toml_file import Table, file_of, key_of, merge, read_toml, shown

Array: TypeAlias = np.ndarray[Any, Any]
_TRUTH = np.dtype([("t_valid_ns", "i8"), ("geodetic", "f8", (2,)), ("height_m", "f8"), ("v_ned_m_s", "f8", (3,)), ("q_nb", "f8", (4,))])
_TRUTH_TYPE = MessageType("truth", _TRUTH, "", "", 0)
_BEAM_TYPES = {"imu": ("fsw_imu_t", "fsw_imu_voted_t"), "gnss": ("fsw_gnss_t",), "radalt": ("fsw_radalt_t",), "baro": ("fsw_baro_t",)}


@dataclass(frozen=True)
class Truth:
    """t_s [n]; geodetic [n, 3]: latitude, longitude (rad), height (m); v_ned [n, 3] m/s and q_nb [n, 4], None when not recorded."""

    t_s: Array
    geodetic: Array
    v_ned: Array | None
    q_nb: Array | None


@dataclass(frozen=True)
class Job:
    """A mapping with its data. sensors: arrays by kind, one per unit; files: (path as in the mapping, SHA-256)."""

    config: NavFile
    file: str
    sensors: Mapping[str, list[Array]]
    delay_s: Mapping[str, float]
    truth: Truth | None
    params: Mapping[str, Any]
    start: Start | None
    files: Sequence[tuple[str, str]]

    @property
    def every(self) -> int:
        """IMU samples per solution row."""
        return max(1, round(1e3 / (self.config.nav.rate_hz * float(self.params["imu_period_ms"]))))

    def filter(self) -> NavigationFilter:
        """The filter at its start. ConfigError when it cannot be."""
        return NavigationFilter(self.params, self.start, self.file, "filter")


@dataclass(frozen=True)
class _Source(Recorded):
    """A sensor's file, with where it stands in the mapping."""

    root: Table
    at: tuple[str | int, ...]
    file: str

    def problem(self, key: str, text: str) -> Problem:
        """A problem with a key of the mapping, in the file in which that key stands."""
        location = [*self.at, *(key.split(".") if key else [])]
        return Problem(file_of(self.root, location, self.file), key_of(self.root, location), text)


def load_job(path: Path) -> Job:
    """Read a mapping and the files it names. Raises ConfigError with every problem of the mapping, then of the files."""
    root = _with_mappings(read_toml(path), path)
    for kind in ("gnss", "radalt", "baro"):
        if isinstance(root.get(kind), dict):
            root.put(kind, [root[kind]], root.files[kind])
    config = validate(NavFile, root, shown(path))
    sources = _sources(config, root, shown(path))
    types = {**builtin(), "truth": _TRUTH_TYPE}
    problems = [p for s in sources if not _sensor(s).is_log for p in mapping_problems(s, types)]
    problems += _filter_problems(config, root, shown(path))
    if problems:
        raise ConfigError(problems)
    return _read(config, shown(path), sources, types)


def _with_mappings(root: Table, path: Path) -> Table:
    """Sensors that name a mapping file are laid over it, key by key."""
    for key in (*KINDS, "truth"):
        here = root.get(key)
        tables = here if isinstance(here, list) else [here]
        for k, own in enumerate(tables):
            if not isinstance(own, Table) or not isinstance(own.get("mapping"), str):
                continue
            place = path.parent / own["mapping"]
            base = read_toml(place, None, f"{shown(path)}: {key}.mapping")
            if "mapping" in base:
                raise ConfigError.one(shown(place), "mapping", "a mapping file cannot build on another one")
            whole = merge(base, own)
            whole.mapping = shown(place)
            for name in ("topic", "type"):  # what a bench needs to know of it
                whole.pop(name, None)
            if isinstance(here, list):
                here[k] = whole
            else:
                root.put(key, whole, root.files[key])
    return root


def _filter_problems(config: NavFile, root: Table, file: str) -> list[Problem]:
    try:
        parameters({"imu_period_ms": 1.0, **config.filter}, file, "filter")
    except ConfigError as exc:
        return [Problem(file_of(root, p.key.split("."), p.file), p.key, p.text) for p in exc.problems]
    return []


def _sources(config: NavFile, root: Table, file: str) -> list[_Source]:
    out = []
    for kind in (*KINDS, "truth"):
        given = getattr(config, kind)
        several = isinstance(given, list)
        for k, sensor in enumerate(given if several else [given] if given is not None else []):
            named = sensor.model_copy(update={"type": "truth" if kind == "truth" else _BEAM_TYPES[kind][0], "topic": kind})
            at: tuple[str | int, ...] = (kind, k) if several else (kind,)
            out.append(_Source(cast(NodePlan, None), named, (cast(Any, None),), root, at, file))
    return out


def _sensor(source: _Source) -> Sensor:
    return cast(Sensor, source.recording)


def _read(config: NavFile, file: str, sources: Sequence[_Source], types: Mapping[str, MessageType]) -> Job:
    sensors: dict[str, list[Array]] = {kind: [] for kind in KINDS}
    truth, problems, files = None, list[Problem](), []
    for source in sources:
        kind, sensor = str(source.at[0]), _sensor(source)
        try:
            path = data_file(source)
            files.append((sensor.file, sha256(path)))
            rows = _logged(source, path, kind) if sensor.is_log else messages_of(sensor, path, types[sensor.type])[1]
            if not len(rows):
                raise ConfigError([source.problem("file", "no row is at or after time 0")])
            if kind == "truth":
                truth = _truth(sensor, rows)
            else:
                sensors[kind].append(rows)
        except ConfigError as exc:
            problems += exc.problems
    if problems:
        raise ConfigError(problems)
    start = _start(config, file, truth)
    params = dict(config.filter)
    period = float(np.median(np.diff(sensors["imu"][0]["t_valid_ns"]))) * 1e-6 if len(sensors["imu"][0]) > 1 else 1.0
    params.setdefault("imu_period_ms", round(period, 6))
    begin = round(start.t_s * 1e9) if start is not None else round(float(params.get("nav_init_t_s", 0.0)) * 1e9)
    sensors = {kind: [a[a["t_valid_ns"] > begin] for a in units] for kind, units in sensors.items()}
    if not len(sensors["imu"][0]):
        raise ConfigError.one(file, "start.time_s", "there is no IMU sample after it")
    delay = {kind: max(s.delay_s for s in given) for kind in KINDS if (given := _given(config, kind))}
    return Job(config, file, sensors, delay, truth, params, start, files)


def _given(config: NavFile, kind: str) -> list[Sensor]:
    given = getattr(config, kind)
    return given if isinstance(given, list) else [given]


def _logged(source: _Source, path: Path, kind: str) -> Array:
    """Messages of a topic of a log, as they are."""
    from flightsw.log import Log

    sensor = _sensor(source)
    try:
        log = Log.open(path)
    except LogError as exc:
        raise ConfigError([source.problem("file", f"cannot be read: {exc}")]) from None
    topic = str(sensor.message)
    if topic not in log.topics:
        raise ConfigError([source.problem("message", f'there is no topic "{topic}" in this log{suggestion(topic, log.topics)}')])
    if kind == "truth":
        raise ConfigError([source.problem("file", "a truth cannot come from a log: export its topic with `flightsw log export`")])
    rows = log[topic]
    for name in _BEAM_TYPES[kind]:
        wanted = dtype(name)
        if set(wanted.names or ()) <= set(rows.dtype.names or ()):
            out = np.zeros(len(rows), dtype(_BEAM_TYPES[kind][0]))
            for field in set(out.dtype.names or ()) & set(rows.dtype.names or ()):
                out[field] = rows[field]
            return out
    raise ConfigError([source.problem("message", f'the messages of "{topic}" are not {" or ".join(_BEAM_TYPES[kind])}')])


def _truth(sensor: Sensor, rows: Array) -> Truth:
    given = {*sensor.fields, *sensor.values}
    geodetic = np.column_stack([rows["geodetic"], rows["height_m"]])
    return Truth(rows["t_valid_ns"] * 1e-9, geodetic, rows["v_ned_m_s"] if "v_ned_m_s" in given else None,
                 rows["q_nb"] if "q_nb" in given else None)


def _start(config: NavFile, file: str, truth: Truth | None) -> Start | None:
    s = config.start
    if s is None:
        return None
    if s.source == "given":
        assert s.latitude_deg is not None and s.longitude_deg is not None and s.height_m is not None and s.attitude is not None
        return Start.geodetic(s.time_s, s.latitude_deg, s.longitude_deg, s.height_m, s.velocity_ned_m_s, s.attitude)
    if truth is None or truth.v_ned is None or truth.q_nb is None:
        raise ConfigError.one(file, "start.from", "a truth with fields geodetic, height_m, v_ned_m_s and q_nb is wanted")
    k = int(np.argmin(np.abs(truth.t_s - s.time_s)))
    if abs(truth.t_s[k] - s.time_s) > 1e-4:
        raise ConfigError.one(file, "start.time_s", f"the truth has no row at this time, its nearest is at {truth.t_s[k]:.6f} s")
    lat, lon, height = truth.geodetic[k]
    return Start.geodetic(s.time_s, np.rad2deg(lat), np.rad2deg(lon), height, truth.v_ned[k].tolist(), truth.q_nb[k].tolist())
