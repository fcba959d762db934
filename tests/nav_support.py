"""The navigation filter driven by recorded or generated sensor data, for tests and benchmarks: one call of C per sensor sample.

Data as data set "estimation" defines them: times of validity, ECEF truth, body axes of the data with the IMU as the body origin.
Errors are truth minus estimate, Earth-fixed: position m, velocity m/s, attitude rad (left rotation vector), as nav.h defines them.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flightsw import _core
from flightsw.params import parse_struct

ffi, lib = _core.ffi, _core.lib
ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("FLIGHTSW_DATA") or ROOT.parent / "shared" / "data") / "estimation"
START_S, DT_S, EVERY = 0.6, 0.005, 20
BOOSTER = {"site_lat_deg": 28.4857, "site_lon_deg": -80.5449, "site_height_m": 12.0 - 38.3, "imu_x_m": 0.0, "gnss_x_m": 2.0,
           "gnss_y_m": 1.7, "radalt_x_m": -38.0, "radalt_y_m": 1.7, "radalt_bias_m": 0.0, "radalt_plume_m": 0.0,
           "imu_period_ms": 5.0, "cov_period_ticks": 4, "nav_init_t_s": START_S, "init_sigma_v_m_s": 0.02,
           "init_sigma_att_deg": [0.1, 0.1, 0.3]}


def load(name: str, path: Path) -> Any:
    """A Python file of the data set as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def tools(folder: Path = DATA) -> tuple[Any, Any]:
    """Generator and scoring of the data set."""
    score = load("score", folder / "score.py")
    return load("generate", folder / "booster_synth" / "generate.py"), score


def kept_truth(generate: Any, score: Any, rows: Any) -> dict[str, Any]:
    """Truth from the kept file. Its error-free increments are found by inverting the equations of motion, with the midpoint rule;
    they add up to those of the generator within the file's rounding (5e-4 m/s at top speed) and 3e-6 rad."""
    flight = generate.Flight()
    lat, lon = np.deg2rad(rows[:, 1]), np.deg2rad(rows[:, 2])
    to_ned = score.ned_from_ecef(lat, lon)
    r, v = score.geodetic_to_ecef(lat, lon, rows[:, 3]), np.einsum("kji,kj->ki", to_ned, rows[:, 4:7])
    q = score.quat_multiply(score.quat_from_dcm(np.swapaxes(to_ned, 1, 2)), rows[:, 7:11])
    q *= np.cumprod(np.concatenate([[1.0], np.where(np.sum(q[1:] * q[:-1], 1) < 0, -1.0, 1.0)]))[:, None]
    half = generate.EARTH_RATE * DT_S / 2
    turn = np.broadcast_to([np.cos(half), 0.0, 0.0, np.sin(half)], q[1:].shape)
    dq = score.quat_multiply(q[:-1] * [1, -1, -1, -1], score.quat_multiply(turn, q[1:]))
    sine = np.linalg.norm(dq[:, 1:], axis=1)
    dth = dq[:, 1:] * np.where(sine > 1e-14, 2 * np.arctan2(sine, dq[:, 0]) / np.maximum(sine, 1e-14), 2.0)[:, None]
    dth[1:] -= np.cross(dth[:-1], dth[1:]) / 12  # integral of the rate: the rotation without its coning part
    free = np.array([generate.gravity_e(x) for x in r]) - 2 * np.cross([0.0, 0.0, generate.EARTH_RATE], v)
    middle = q[:-1] + q[1:]
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    felt = np.diff(v, axis=0) - 0.5 * (free[1:] + free[:-1]) * DT_S
    dv = np.einsum("kji,kj->ki", score.dcm_from_quat(middle), felt)
    first = np.zeros((1, 3))  # before START_S, where flights begin
    return {"t": rows[:, 0], "dth": np.vstack([first, dth]), "dv": np.vstack([first, dv]), "r": r, "v": v, "q": q, "tr": rows,
            "pad_e": flight.pad_e, "up_e": flight.up_e, "C_ne": flight.C_ne, "r0_e": flight.r0_e}


def parameters(**given: Any) -> Any:
    """Defaults of nav.h and the booster of the data set, except what is given."""
    text = (ROOT / "native" / "include" / "flightsw" / "nav.h").read_text("utf-8")
    values = {name: f.default for name, f in parse_struct(text, "fsw_nav_params_t").items()} | BOOSTER | given
    p = ffi.new("fsw_nav_params_t *")
    for name, value in values.items():
        if name.startswith("pad"):
            continue
        there = getattr(p, name)
        if isinstance(there, ffi.CData):
            for i in range(len(there)):
                there[i] = value[i] if isinstance(value, list) else value
        else:
            setattr(p, name, int(value) if isinstance(there, int) else float(value))
    return p


def set_state(state: Any, score: Any, r_e: Any, v_e: Any, q_be: Any) -> None:
    """Nominal state of a filter that has been initialised; its covariance is left alone."""
    f = state.f
    f.r_e, f.v_e, f.q_be, f.q_sum = list(r_e), list(v_e), list(q_be), list(q_be)
    f.c_be = list(score.dcm_from_quat(np.asarray(q_be)).ravel())


def start(state: Any, params: Any, truth: dict[str, Any], error: Any, score: Any) -> None:
    """Truth plus an initial error (pad NED), as generate.initial_error defines it."""
    lib.fsw_nav_init(state, params)
    k = round(params.nav_init_t_s / DT_S) - 1
    to_e = truth["C_ne"].T
    dq = np.concatenate([[1.0], to_e @ error[6:] / 2])
    q = score.quat_multiply(dq / np.linalg.norm(dq), truth["q"][k])
    set_state(state, score, truth["r"][k] + to_e @ error[:3], truth["v"][k] + to_e @ error[3:6], q)


@dataclass
class Fixes:
    """Fixes of one receiver, in order of arrival: messages, and the time in ns at which each arrives."""

    messages: Any
    arrival_ns: Any

    def __len__(self) -> int:
        return len(self.arrival_ns)


def fixes(gnss: Any, score: Any, delay_s: Any = 0.0, seq: Any = None, velocity: bool = True) -> Fixes:
    """Rows of gnss.csv as messages, Earth-fixed. delay_s: of each row or of all; seq: counters, 1, 2, ... if None."""
    gnss = np.asarray(gnss)
    lat, lon = np.deg2rad(gnss[:, 1]), np.deg2rad(gnss[:, 2])
    r = score.geodetic_to_ecef(lat, lon, gnss[:, 3])
    v = np.einsum("kji,kj->ki", score.ned_from_ecef(lat, lon), gnss[:, 4:7])
    t_ns = np.round(gnss[:, 0] * 1e9).astype(np.int64)
    arrival = t_ns + np.round(np.broadcast_to(np.asarray(delay_s) * 1e9, t_ns.shape)).astype(np.int64)
    counters = np.arange(1, len(gnss) + 1) if seq is None else np.asarray(seq)
    order = np.argsort(arrival, kind="stable")
    out = ffi.new("fsw_gnss_t[]", max(len(gnss), 1))
    for i, k in enumerate(order):
        z = out[i]
        z.t_valid_ns, z.seq, z.valid = int(t_ns[k]), int(counters[k]), 1
        z.r_e, z.v_e = list(r[k]), list(v[k])
        z.sigma_r_m, z.sigma_v_m_s = list(gnss[k, 7:10]), list(gnss[k, 10:13]) if velocity else [0.0, 0.0, 0.0]
    return Fixes(out, arrival[order])


def ranges(radalt: Any) -> Fixes:
    """Rows of radalt.csv as messages."""
    out = ffi.new("fsw_radalt_t[]", max(len(radalt), 1))
    for k, row in enumerate(radalt):
        z = out[k]
        z.t_valid_ns, z.seq, z.valid, z.range_m = round(row[0] * 1e9), k + 1, 1, row[1]
    return Fixes(out, np.round(np.asarray(radalt)[:, 0] * 1e9).astype(np.int64))


@dataclass
class Flown:
    """What a flight of the filter left: every `every`-th IMU sample, and what it said of its receivers."""

    rows: Any
    x: Any                    # r_e, v_e, q_be
    cov: Any                  # 9 x 9, Earth-fixed; empty when not asked for
    nis: list[float]          # of each accepted position fix, over its degrees of freedom
    flagged: dict[int, float] = field(default_factory=dict)  # receiver: first time s at which it was not trusted, after `watch_s`
    rejected: int = 0
    stale: int = 0


class _Watch:
    """First time at which each receiver is not trusted: rejected for good, out of use, or its data seen frozen."""

    def __init__(self, state: Any, watch_s: float) -> None:
        self.state, self.watch_ns, self.found = state, watch_s * 1e9, {}

    def __call__(self, unit: int, t_ns: int) -> None:
        if unit in self.found or t_ns < self.watch_ns:
            return
        c = self.state.src[unit]
        if c.excluded or c.frozen or (c.started and not c.used):
            self.found[unit] = t_ns * 1e-9


def fly(imu: Any, receivers: list[Fixes], radalt: Fixes, params: Any, begin: Any, *, every: int = EVERY, covariance: bool = True,
        watch_s: float = 1e9, until_s: float = 1e9) -> Flown:
    """One flight. begin(state) initialises the filter; samples at or before its time are left out."""
    state = ffi.new("fsw_nav_state_t *")
    begin(state)
    t_ns = np.round(imu[:, 0] * 1e9).astype(np.int64)
    first, last = int(np.searchsorted(t_ns, state.f.t_ns, "right")), int(np.searchsorted(t_ns, until_s * 1e9, "right"))
    increments = np.ascontiguousarray(imu[:, 1:7])
    base = ffi.cast("double *", ffi.from_buffer(increments))
    arrivals = [[int(t) for t in z.arrival_ns] + [2**62] for z in receivers]
    range_t = [int(t) for t in radalt.arrival_ns] + [2**62]
    at = [int(np.searchsorted(z.arrival_ns, state.f.t_ns, "right")) for z in receivers]
    a = 0
    watch = _Watch(state, watch_s)
    rows, states, covs, nis = [], [], [], []
    p81 = np.empty((9, 9))
    p81_c = ffi.cast("double *", ffi.from_buffer(p81))
    for k, now in enumerate(t_ns.tolist()[first:last], first):
        if lib.fsw_nav_on_imu(state, params, now, base + 6 * k, base + 6 * k + 3) != 0:
            raise ValueError(f"IMU sample {k} refused")
        for unit, times in enumerate(arrivals):
            while times[at[unit]] <= now:
                if lib.fsw_nav_on_gnss(state, params, unit, receivers[unit].messages + at[unit], ffi.NULL) == 1:
                    nis.append(state.nis_gnss)
                at[unit] += 1
                watch(unit, now)
        while range_t[a] <= now:
            lib.fsw_nav_on_radalt(state, params, 0, radalt.messages + a, ffi.NULL)
            a += 1
        if k % every == every - 1:
            rows.append(k)
            states.append([*state.f.r_e, *state.f.v_e, *state.f.q_be])
            if covariance:
                lib.fsw_nav_update_covariance(state, params)
                lib.fsw_nav_covariance(state, p81_c)
                covs.append(p81.copy())
    if not min(state.f.d) >= 0.0 or not np.isfinite(states).all():
        raise ValueError("the covariance is not positive or a state is not finite")
    return Flown(np.array(rows), np.array(states), np.array(covs), nis, watch.found, state.rejected, state.stale)


def errors(truth: dict[str, Any], rows: Any, x: Any, score: Any) -> Any:
    """Truth minus estimate, one row of nine per instant."""
    dq = score.quat_multiply(truth["q"][rows], x[:, 6:] * np.array([1, -1, -1, -1]))
    dq *= np.where(dq[:, :1] < 0, -1, 1)
    return np.hstack([truth["r"][rows] - x[:, :3], truth["v"][rows] - x[:, 3:6], 2 * dq[:, 1:]])


def rms(x: Any) -> float:
    """Root of the mean squared length."""
    return float(np.sqrt(np.mean(np.sum(np.asarray(x)**2, -1))))


def solution(flown: Flown, t: Any, score: Any) -> Any:
    """Rows of the data set's solution format (those of truth.csv)."""
    lat, lon, h = score.ecef_to_geodetic(flown.x[:, :3])
    to_ned = score.ned_from_ecef(lat, lon)
    v = np.einsum("kij,kj->ki", to_ned, flown.x[:, 3:6])
    q = score.quat_multiply(score.quat_from_dcm(to_ned), flown.x[:, 6:])
    return np.column_stack([t[flown.rows], np.rad2deg(lat), np.rad2deg(lon), h, v, q])
