"""Errors of a solution against a truth, and whether the filter's own covariance explains them.

Errors are estimate minus truth: position north, east, down from geodetic differences (m), velocity (m/s), attitude as the rotation vector
of q_est * conj(q_true) in north-east-down (rad). The truth is interpolated linearly to the epochs of the solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from flightsw.navigation import Solution, quat_conjugate, quat_multiply
from hil.nav.load import Truth
from hil.nav.model import Window

Array: TypeAlias = np.ndarray[Any, Any]
_A, _E2 = 6378137.0, 0.0066943799901413165  # WGS 84: semi-major axis, first eccentricity squared
LIMITS = (("position_m", "position", "m"), ("velocity_m_s", "velocity", "m/s"), ("attitude_deg", "attitude", "deg"))


@dataclass(frozen=True)
class Errors:
    """t_s [n]; error [n, 9] in the order position, velocity, attitude, NaN where the truth says nothing; sigma [n, 9] and nees [n] (of
    `dof` states) by the filter's covariance.
    """

    t_s: Array
    error: Array
    sigma: Array
    nees: Array
    dof: int


def _at(t: Array, ts: Array, x: Array) -> Array:
    return np.stack([np.interp(t, ts, x[:, k]) for k in range(x.shape[1])], 1)


def errors_of(solution: Solution, truth: Truth) -> Errors:
    """Errors at all epochs of a solution (with covariances) inside the truth's time."""
    t = solution.t_s
    inside = (t >= truth.t_s[0]) & (t <= truth.t_s[-1])
    t, error = t[inside], np.full((int(inside.sum()), 9), np.nan)
    geodetic = np.stack(solution.geodetic(), 1)[inside]
    true = _at(t, truth.t_s, np.column_stack([truth.geodetic[:, 0], np.unwrap(truth.geodetic[:, 1]), truth.geodetic[:, 2]]))
    s2 = np.sin(true[:, 0]) ** 2
    transverse = _A / np.sqrt(1 - _E2 * s2)
    meridian = transverse * (1 - _E2) / (1 - _E2 * s2)
    d = geodetic - true
    d[:, 1] = (d[:, 1] + np.pi) % (2 * np.pi) - np.pi
    error[:, 0] = d[:, 0] * (meridian + true[:, 2])
    error[:, 1] = d[:, 1] * (transverse + true[:, 2]) * np.cos(true[:, 0])
    error[:, 2] = -d[:, 2]
    if truth.v_ned is not None:
        error[:, 3:6] = solution.velocity_ned()[inside] - _at(t, truth.t_s, truth.v_ned)
    if truth.q_nb is not None:
        error[:, 6:] = _turned(solution.q_nb()[inside], t, truth)
    cov = solution.covariance_ned()[inside]
    known = np.flatnonzero(np.isfinite(error).all(0)) if len(t) else np.arange(3)
    e, p = error[:, known], cov[:, known[:, None], known]
    scale = np.sqrt(np.maximum(np.einsum("nii->ni", p), 1e-300))
    p = p / (scale[:, :, None] * scale[:, None, :]) + 1e-12 * np.eye(len(known))  # of unlike size: scaled before it is inverted
    nees = np.einsum("ni,ni->n", e / scale, np.linalg.solve(p, (e / scale)[..., None])[..., 0])
    return Errors(t, error, np.sqrt(np.maximum(np.einsum("nii->ni", cov), 0.0)), nees, len(known))


def _turned(q: Array, t: Array, truth: Truth) -> Array:
    assert truth.q_nb is not None
    turns = np.where(np.sum(truth.q_nb[1:] * truth.q_nb[:-1], 1) < 0, -1.0, 1.0)
    true = _at(t, truth.t_s, truth.q_nb * np.cumprod(np.concatenate([[1.0], turns]))[:, None])  # q and -q are one attitude
    true = true / np.linalg.norm(true, axis=1, keepdims=True)
    dq = quat_multiply(q, quat_conjugate(true))
    dq *= np.where(dq[:, :1] < 0, -1.0, 1.0)
    n = np.linalg.norm(dq[:, 1:], axis=1)
    return np.asarray(dq[:, 1:] * np.where(n > 1e-12, 2 * np.arctan2(n, dq[:, 0]) / np.maximum(n, 1e-12), 2.0)[:, None])


def score(errors: Errors, windows: Sequence[Window]) -> list[dict[str, Any]]:
    """Per window: RMS and greatest 3-D errors, NEES over its number of states, and the limits with whether they hold."""
    out = []
    for w in windows:
        m = (errors.t_s >= w.from_s) & (errors.t_s <= w.to_s)
        e = errors.error[m]
        span = (float(errors.t_s[m][0]), float(errors.t_s[m][-1])) if m.any() else (w.from_s, w.to_s)
        told: dict[str, Any] = {"name": w.name, "from_s": span[0], "to_s": span[1], "epochs": int(m.sum()), "limits": []}
        for k, (key, name, unit) in enumerate(LIMITS):
            part = e[:, 3 * k:3 * k + 3] * (180.0 / np.pi if unit == "deg" else 1.0)
            known = bool(len(part)) and bool(np.isfinite(part).all())
            rms = float(np.sqrt(np.mean(np.sum(part**2, 1)))) if known else None
            told[name] = {"rms": rms, "rms_ned": np.sqrt(np.mean(part**2, 0)).tolist() if known else None,
                          "max": float(np.max(np.linalg.norm(part, axis=1))) if known else None, "unit": unit}
            limit = getattr(w, key)
            if limit is not None:
                told["limits"].append({"name": f"{w.name}: {name}, RMS", "value": rms, "limit": limit, "unit": unit,
                                       "ok": rms is not None and rms <= limit})
        told["nees_per_state"] = float(errors.nees[m].mean() / errors.dof) if m.any() else None
        out.append(told)
    return out
