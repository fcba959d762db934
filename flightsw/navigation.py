"""The navigation filter over arrays: recorded or simulated sensor data in, solutions and what became of each measurement out.

The C filter of native/include/flightsw/nav.h, alone, at C speed; which states exist, lever arms and noise are parameters, so the vehicle
need not be a booster. Frames: e Earth-fixed (WGS 84), n local north-east-down, b body (the axes in which lever arms are given).
Times are int64 nanoseconds of one clock, not before 0. Quaternions are Hamilton, scalar first; q_nb takes body axes to north-east-down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from flightsw._native import ffi, include_dir, lib
from flightsw.errors import ConfigError, Problem
from flightsw.messages import dtype_of
from flightsw.params import Given, ParamField, parse_struct, resolve

Array: TypeAlias = np.ndarray[Any, Any]
IMU, GNSS, RADALT, BARO, ROW = 0, 1, 2, 3, 4
KINDS = ("imu", "gnss", "radalt", "baro")
UNITS = {"imu": 1, "gnss": 2, "radalt": 2, "baro": 1}
OUTCOMES = ("fused", "position fused, velocity rejected", "fused after a reset", "rejected by the gate", "waits for readmission", "invalid",
            "too old", "duplicate", "frozen", "not usable here")
TAKEN = 3                    # outcomes below this one were fused
_SEMI_MAJOR, _FLATTENING = 6378137.0, 1 / 298.257223563
_E2 = _FLATTENING * (2 - _FLATTENING)
_SLICE = 20_000              # arrivals between two calls of a progress function
_AT_IMU = {"imu_x_m": 0.0, "gnss_x_m": 0.0, "radalt_x_m": 0.0}   # the header's defaults are those of one vehicle
STATES = ("r", "v", "psi", "b_a", "b_g", "s_a", "s_g", "b_n")    # three each, then b_ra and b_baro


@lru_cache(maxsize=16)
def dtype(name: str) -> np.dtype[Any]:
    """numpy dtype of a C struct: "fsw_imu_t", "fsw_gnss_t", "fsw_radalt_t", "fsw_baro_t" (messages.h), "fsw_nav_row_t",
    "fsw_nav_outcome_t" (nav_batch.h).
    """
    return dtype_of(ffi.typeof(name))


@lru_cache(maxsize=1)
def parameter_fields() -> Mapping[str, ParamField]:
    """Parameters of the filter by name: range, default (None: must be given), meaning. Units are in the names."""
    fields = parse_struct((include_dir() / "flightsw" / "nav.h").read_text("utf-8"), "fsw_nav_params_t")
    return {n: ParamField(n, f.lo, f.hi, f.pad, _AT_IMU.get(n, f.default), f.doc) for n, f in fields.items()}


def parameters(values: Mapping[str, Any], file: str = "navigation filter", key: str = "") -> Array:
    """Record of all parameters from those given and defaults. Lever arms not given are zero: all sensors at the body origin.

    Raises ConfigError with every unknown name, missing value, wrong type and value out of range.
    """
    fields, problems = parameter_fields(), list[Problem]()
    where = f"{key}." if key else ""
    given = {n: Given(v, file, where + n) for n, v in values.items()}
    for n, f in fields.items():
        if f.default is None and n not in given and not n.startswith("pad"):
            problems.append(Problem(file, where + n, f"is missing, allowed {f.lo:g} to {f.hi:g}: {f.doc}"))
            given[n] = Given(min(max(0.0, f.lo), f.hi), file, where + n)
    out = resolve(dtype("fsw_nav_params_t"), fields, given, {}, (file, key), set(), problems)
    if problems:
        raise ConfigError(problems)
    return out


# ---- frames ------------------------------------------------------------------------------------------------------------


def geodetic_to_ecef(lat_rad: Array, lon_rad: Array, height_m: Array) -> Array:
    """[n, 3] m, Earth-fixed, of geodetic positions (WGS 84, height above the ellipsoid)."""
    c, radius = np.cos(lat_rad), _SEMI_MAJOR / np.sqrt(1 - _E2 * np.sin(lat_rad) ** 2)
    return np.stack([(radius + height_m) * c * np.cos(lon_rad), (radius + height_m) * c * np.sin(lon_rad),
                     (radius * (1 - _E2) + height_m) * np.sin(lat_rad)], -1)


def ecef_to_geodetic(r_e: Array) -> tuple[Array, Array, Array]:
    """Latitude, longitude (rad) and height (m), each [n], of Earth-fixed positions [n, 3] (WGS 84).

    Fixed-point iteration on the latitude (Groves 2013, appendix C); its error shrinks by e^2 = 0.0067 each of the eight times.
    """
    lon, p = np.arctan2(r_e[..., 1], r_e[..., 0]), np.hypot(r_e[..., 0], r_e[..., 1])
    lat = np.arctan2(r_e[..., 2], p * (1 - _E2))
    for _ in range(8):
        radius = _SEMI_MAJOR / np.sqrt(1 - _E2 * np.sin(lat) ** 2)
        lat = np.arctan2(r_e[..., 2] + _E2 * radius * np.sin(lat), p)
    height = p * np.cos(lat) + r_e[..., 2] * np.sin(lat) - _SEMI_MAJOR * np.sqrt(1 - _E2 * np.sin(lat) ** 2)
    return lat, lon, height


def ned_axes(lat_rad: Array, lon_rad: Array) -> Array:
    """[n, 3, 3]: rows north, east, down in Earth-fixed axes."""
    sl, cl, so, co = np.sin(lat_rad), np.cos(lat_rad), np.sin(lon_rad), np.cos(lon_rad)
    return np.stack([np.stack([-sl * co, -sl * so, cl], -1), np.stack([-so, co, np.zeros_like(sl)], -1),
                     np.stack([-cl * co, -cl * so, -sl], -1)], -2)


def ned_quaternion(lat_rad: Array, lon_rad: Array) -> Array:
    """[n, 4]: takes Earth-fixed axes to north-east-down. Turns by the longitude about z, then by -(latitude + 90 deg) about y, inverted."""
    a, b = np.asarray(lon_rad) / 2, -(np.asarray(lat_rad) + np.pi / 2) / 2
    z, y = np.zeros_like(a), np.zeros_like(b)
    q = quat_multiply(np.stack([np.cos(a), z, z, np.sin(a)], -1), np.stack([np.cos(b), y, np.sin(b), y], -1))
    return quat_conjugate(q)


def quat_multiply(p: Array, q: Array) -> Array:
    """Product of quaternions [..., 4]."""
    a, b, c, d = np.moveaxis(np.asarray(p), -1, 0)
    e, f, g, h = np.moveaxis(np.asarray(q), -1, 0)
    return np.stack([a * e - b * f - c * g - d * h, a * f + b * e + c * h - d * g, a * g - b * h + c * e + d * f,
                     a * h + b * g - c * f + d * e], -1)


def quat_conjugate(q: Array) -> Array:
    """Inverse of unit quaternions [..., 4]."""
    return np.asarray(np.multiply(q, np.array([1.0, -1.0, -1.0, -1.0])))


# ---- sensor data -------------------------------------------------------------------------------------------------------


def _ns(t_s: Any) -> Array:
    return np.rint(np.asarray(t_s, np.float64) * 1e9).astype(np.int64)


def imu_samples(t_s: Any, dtheta_b: Any, dv_b: Any) -> Array:
    """fsw_imu_t [n] from end of interval (s), angular increments [n, 3] (rad, relative to inertial space) and specific-force increments
    [n, 3] (m/s) over the interval, axes of the unit.
    """
    t_ns = _ns(t_s)
    out = np.zeros(len(t_ns), dtype("fsw_imu_t"))
    out["t_valid_ns"], out["dtheta_b"], out["dv_b"], out["valid"] = t_ns, dtheta_b, dv_b, 1
    out["seq"] = np.arange(1, len(out) + 1)
    return out


def gnss_fixes(t_s: Any, r_e: Any, v_e: Any, sigma_r_m: Any, sigma_v_m_s: Any) -> Array:
    """fsw_gnss_t [n] from time of validity (s), antenna position [n, 3] (m) and velocity [n, 3] (m/s), Earth-fixed, and their stated 1-sigma
    north, east, down ([n, 3] or [3]); a sigma of 0 says: not measured.
    """
    t_ns = _ns(t_s)
    out = np.zeros(len(t_ns), dtype("fsw_gnss_t"))
    out["t_valid_ns"], out["r_e"], out["v_e"], out["valid"] = t_ns, r_e, v_e, 1
    out["sigma_r_m"], out["sigma_v_m_s"] = sigma_r_m, sigma_v_m_s
    out["seq"] = np.arange(1, len(out) + 1)
    return out


def ranges(t_s: Any, range_m: Any) -> Array:
    """fsw_radalt_t [n] from time of validity (s) and slant range (m) along -x of the body to the pad plane."""
    t_ns = _ns(t_s)
    out = np.zeros(len(t_ns), dtype("fsw_radalt_t"))
    out["t_valid_ns"], out["range_m"], out["valid"], out["seq"] = t_ns, range_m, 1, np.arange(1, len(t_ns) + 1)
    return out


def pressures(t_s: Any, p_pa: Any) -> Array:
    """fsw_baro_t [n] from time of validity (s) and static pressure (Pa)."""
    t_ns = _ns(t_s)
    out = np.zeros(len(t_ns), dtype("fsw_baro_t"))
    out["t_valid_ns"], out["p_pa"], out["valid"], out["seq"] = t_ns, p_pa, 1, np.arange(1, len(t_ns) + 1)
    return out


@dataclass(frozen=True)
class Start:
    """State of the IMU at the start: time (s), position (m), velocity (m/s), attitude, Earth-fixed."""

    t_s: float
    r_e: Sequence[float]
    v_e: Sequence[float]
    q_be: Sequence[float]

    @classmethod
    def geodetic(cls, t_s: float, lat_deg: float, lon_deg: float, height_m: float, v_ned: Sequence[float], q_nb: Sequence[float]) -> Start:
        """From a geodetic position, a velocity north, east, down and an attitude body to north-east-down."""
        lat, lon = np.asarray(np.deg2rad(lat_deg)), np.asarray(np.deg2rad(lon_deg))
        v_e = np.asarray(v_ned, float) @ ned_axes(lat, lon)
        q_be = quat_multiply(quat_conjugate(ned_quaternion(lat, lon)), np.asarray(q_nb, float))
        r_e = geodetic_to_ecef(lat, lon, np.asarray(height_m))
        return cls(t_s, r_e.tolist(), v_e.tolist(), q_be.tolist())


# ---- results -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Solution:
    """What the filter said.

    rows [n]: fsw_nav_row_t (time, state of the IMU Earth-fixed, biases, sigma of every state). covariance [n, 9, 9]: of position (m),
    velocity (m/s) and attitude (rad) errors, Earth-fixed, None unless asked for. outcomes [m]: fsw_nav_outcome_t, one per measurement in
    the order in which they came in. imu_used [k]: False where a sample was refused.
    """

    rows: Array
    covariance: Array | None
    outcomes: Array
    imu_used: Array

    @property
    def t_s(self) -> Array:
        """[n] s."""
        t: Array = self.rows["t_ns"] * 1e-9
        return t

    def geodetic(self) -> tuple[Array, Array, Array]:
        """Latitude (rad), longitude (rad), height above the ellipsoid (m)."""
        return ecef_to_geodetic(self.rows["r_e"])

    def velocity_ned(self) -> Array:
        """[n, 3] m/s north, east, down."""
        lat, lon, _ = self.geodetic()
        v: Array = np.einsum("nij,nj->ni", ned_axes(lat, lon), self.rows["v_e"])
        return v

    def q_nb(self) -> Array:
        """[n, 4] attitude, body to north-east-down, scalar part not negative."""
        lat, lon, _ = self.geodetic()
        q = quat_multiply(ned_quaternion(lat, lon), self.rows["q_be"])
        return np.asarray(np.multiply(q, np.where(q[:, :1] < 0, -1.0, 1.0)))

    def covariance_ned(self) -> Array:
        """[n, 9, 9] with north, east, down in place of Earth-fixed axes. ValueError when no covariance was asked for."""
        if self.covariance is None:
            raise ValueError("run(..., covariance=True) keeps covariances")
        lat, lon, _ = self.geodetic()
        turn = np.zeros((len(self.rows), 9, 9))
        for k in range(0, 9, 3):
            turn[:, k:k + 3, k:k + 3] = ned_axes(lat, lon)
        return turn @ self.covariance @ np.swapaxes(turn, 1, 2)


# ---- the filter --------------------------------------------------------------------------------------------------------


class NavigationFilter:
    """The error-state filter of nav.h with its own state. `run` takes arrays and goes on from where the last call ended; the methods
    named after sensors take one sample. The same data in the same order give the same bits either way.
    """

    def __init__(self, params: Mapping[str, Any], start: Start | None = None, file: str = "navigation filter", key: str = "") -> None:
        """params: by the names of fsw_nav_params_t (see `parameter_fields`). start: None takes it from the init_* parameters.

        Raises ConfigError, see `parameters`, and for a start that is not finite or not near the Earth.
        """
        self.params, self.start = parameters(params, file, key), start
        self._p = ffi.from_buffer("fsw_nav_params_t *", self.params)
        self._state, self._scratch, self._moved = (ffi.new("fsw_nav_state_t *") for _ in range(3))
        self._file = file
        self.reset()

    def reset(self) -> None:
        """Back to the start."""
        lib.fsw_nav_init(self._state, self._p)
        if self.start is None:
            return
        s, x = self.start, ffi.new("fsw_nav_start_t *")
        x.t_ns = round(s.t_s * 1e9)
        x.r_e, x.v_e, x.q_be = list(map(float, s.r_e)), list(map(float, s.v_e)), list(map(float, s.q_be))
        if lib.fsw_nav_start(self._state, self._p, x) != 0:
            raise ConfigError.one(self._file, "start", "a finite position near the Earth, a finite velocity, a unit quaternion and a time "
                                                       "not before 0 are wanted")

    @property
    def t_s(self) -> float:
        """Time of the solution, s."""
        return int(self._state.f.t_ns) * 1e-9

    def run(self, imu: Array, gnss: Array | Sequence[Array] = (), radalt: Array | Sequence[Array] = (), baro: Array | None = None, *,
            delay_s: Mapping[str, float] | None = None, every: int = 1, covariance: bool = False,
            progress: Callable[[float], None] | None = None) -> Solution:
        """Everything that came in, through the filter.

        imu: fsw_imu_t [k]; gnss, radalt: one array or up to two of fsw_gnss_t, fsw_radalt_t (one per unit, in any order of time of
        validity); baro: fsw_baro_t [m]. delay_s: by kind, time from validity to arrival (s). A measurement is handed in with the first IMU
        sample that is not before its arrival. every: a solution row after so many IMU samples. progress: called with the time (s).
        Raises ConfigError for arrays of another dtype, too many units, or an IMU whose interval is not imu_period_ms.
        """
        arrays = {"imu": [imu], "gnss": _list(gnss), "radalt": _list(radalt), "baro": [baro] if baro is not None else []}
        self._check(arrays, delay_s or {}, every)
        joined = {kind: np.ascontiguousarray(np.concatenate(a)) if a else np.zeros(1, dtype(f"fsw_{kind}_t")) for kind, a in arrays.items()}
        arrivals, counts = _arrivals(arrays, delay_s or {}, every, int(self._state.period_ns))
        rows = np.zeros(counts[0], dtype("fsw_nav_row_t"))
        outcomes = np.zeros(counts[1], dtype("fsw_nav_outcome_t"))
        cov = np.zeros((counts[0], 9, 9)) if covariance else None
        used = np.zeros(len(imu), np.uint8)
        feed, keep = self._feed(joined, arrivals, rows, cov, outcomes, used)
        for at in range(0, len(arrivals), _SLICE):
            lib.fsw_nav_feed(self._state, self._p, feed, at, min(at + _SLICE, len(arrivals)))
            if progress is not None:
                progress(self.t_s)
        del keep
        return Solution(rows, cov, outcomes, used.astype(bool))

    def _check(self, arrays: Mapping[str, Sequence[Array]], delay_s: Mapping[str, float], every: int) -> None:
        problems = [Problem(self._file, kind, f"an array of {wanted} is wanted, see flightsw.navigation.dtype")
                    for kind, units in arrays.items() for a in units
                    if not isinstance(a, np.ndarray) or a.ndim != 1 or a.dtype != dtype(wanted := f"fsw_{kind}_t")]
        problems += [Problem(self._file, kind, f"{len(units)} units given, allowed at most {UNITS[kind]}") for kind, units in arrays.items()
                     if len(units) > UNITS[kind]]
        problems += [Problem(self._file, f"delay_s.{kind}", "is not a delay of a sensor, allowed 0 to 1000 s for one of " + ", ".join(KINDS))
                     for kind, value in delay_s.items() if kind not in KINDS or not 0.0 <= value <= 1000.0]
        if every < 1:
            problems.append(Problem(self._file, "every", "allowed 1 and more"))
        if not problems and len(arrays["imu"][0]) > 2:
            period = float(np.median(np.diff(arrays["imu"][0]["t_valid_ns"]))) * 1e-6
            told = float(self.params["imu_period_ms"])
            if not 2 / 3 < period / told < 1.5:
                problems.append(Problem(self._file, "imu_period_ms", f"is {told:g}, but the samples are {period:g} ms apart"))
        if problems:
            raise ConfigError(problems)

    def _feed(self, joined: Mapping[str, Array], arrivals: Array, rows: Array, cov: Array | None, outcomes: Array,
              used: Array) -> tuple[Any, list[Any]]:
        feed = ffi.new("fsw_nav_feed_t *")
        keep: list[Any] = []

        def at(array: Array, ctype: str, write: bool = False) -> Any:
            if not array.size:
                return ffi.NULL
            keep.append(ffi.from_buffer(ctype, array, require_writable=write))
            return keep[-1]

        feed.imu, feed.gnss, feed.radalt, feed.baro = (at(joined[k], f"fsw_{k}_t[]") for k in KINDS)
        feed.arrivals = at(arrivals, "fsw_nav_arrival_t[]")
        feed.rows, feed.outcomes = at(rows, "fsw_nav_row_t[]", True), at(outcomes, "fsw_nav_outcome_t[]", True)
        feed.covariances = at(cov, "double[]", True) if cov is not None else ffi.NULL
        feed.imu_used = at(used, "uint8_t[]", True)
        feed.scratch, feed.moved = self._scratch, self._moved
        return feed, [*keep, joined, arrivals]

    # ---- one sample at a time

    def imu(self, t_s: float, dtheta_b: Sequence[float], dv_b: Sequence[float]) -> bool:
        """One IMU sample, see `imu_samples`. False when it was refused."""
        a, b = (ffi.new("double[3]", list(map(float, x))) for x in (dtheta_b, dv_b))
        return bool(lib.fsw_nav_on_imu(self._state, self._p, round(t_s * 1e9), a, b) == 0)

    def measure(self, kind: str, sample: Any, unit: int = 0) -> Any:
        """One measurement that has come in now: a record of fsw_gnss_t, fsw_radalt_t or fsw_baro_t. Returns its fsw_nav_outcome_t.

        KeyError for another kind, IndexError for a unit that does not exist.
        """
        number = {k: n for n, k in enumerate(KINDS) if n > IMU}[kind]
        if not 0 <= unit < UNITS[kind]:
            raise IndexError(unit)
        joined = {k: np.zeros(1, dtype(f"fsw_{k}_t")) for k in KINDS} | {kind: np.array([sample], dtype(f"fsw_{kind}_t"))}
        arrivals = np.zeros(1, dtype("fsw_nav_arrival_t"))
        arrivals["kind"], arrivals["unit"] = number, unit
        outcomes = np.zeros(1, dtype("fsw_nav_outcome_t"))
        feed, keep = self._feed(joined, arrivals, np.zeros(0), None, outcomes, np.zeros(0, np.uint8))
        lib.fsw_nav_feed(self._state, self._p, feed, 0, 1)
        del keep
        return outcomes[0]

    def solution(self) -> Solution:
        """The solution now, with its covariance: one row."""
        arrivals = np.zeros(1, dtype("fsw_nav_arrival_t"))
        arrivals["kind"] = ROW
        rows, cov = np.zeros(1, dtype("fsw_nav_row_t")), np.zeros((1, 9, 9))
        nothing = {k: np.zeros(0, dtype(f"fsw_{k}_t")) for k in KINDS}
        outcomes, used = np.zeros(0, dtype("fsw_nav_outcome_t")), np.zeros(0, np.uint8)
        feed, keep = self._feed(nothing, arrivals, rows, cov, outcomes, used)
        lib.fsw_nav_feed(self._state, self._p, feed, 0, 1)
        del keep
        return Solution(rows, cov, outcomes, used.astype(bool))


def _list(given: Array | Sequence[Array]) -> list[Array]:
    return [given] if isinstance(given, np.ndarray) else list(given)


def _arrivals(arrays: Mapping[str, Sequence[Array]], delay_s: Mapping[str, float], every: int, period_ns: int) -> tuple[Array, tuple[int, int]]:
    """Everything in the order in which it comes in, and how many rows and outcomes that makes. At one time: IMU, GNSS, altimeters,
    barometer, row.
    """
    parts = []
    base = dict.fromkeys(KINDS, 0)
    imu_at = np.sort(arrays["imu"][0]["t_valid_ns"] + round(delay_s.get("imu", 0.0) * 1e9))
    for kind, units in arrays.items():
        for unit, a in enumerate(units):
            t = a["t_valid_ns"] + round(delay_s.get(kind, 0.0) * 1e9)
            if kind != "imu" and len(imu_at):
                after = imu_at[np.minimum(np.searchsorted(imu_at, t), len(imu_at) - 1)]
                t = np.where((after > t) & (2 * (after - t) <= 3 * period_ns), after, t)
            parts.append((t, KINDS.index(kind), unit, base[kind] + np.arange(len(a))))
            base[kind] += len(a)
    parts.append((imu_at[every - 1::every], ROW, 0, np.zeros(len(imu_at[every - 1::every]), np.int64)))
    t = np.concatenate([p[0] for p in parts])
    kinds = np.concatenate([np.full(len(p[0]), p[1]) for p in parts])
    order = np.lexsort((kinds, t))
    out = np.zeros(len(t), dtype("fsw_nav_arrival_t"))
    out["kind"] = kinds[order]
    out["unit"] = np.concatenate([np.full(len(p[0]), p[2]) for p in parts])[order]
    out["index"] = np.concatenate([p[3] for p in parts])[order]
    row, imu = out["kind"] == ROW, out["kind"] == IMU
    other = ~row & ~imu
    out["slot"][row], out["slot"][imu], out["slot"][other] = np.arange(row.sum()), out["index"][imu], np.arange(other.sum())
    return out, (int(row.sum()), int(other.sum()))
