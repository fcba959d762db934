"""Signals of a log for the report: found by message type, not by the name of a node, and thinned for drawing."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import numpy as np

from flightsw.errors import LogError
from hil.story import message_types

Array: TypeAlias = np.ndarray[Any, Any]
Q_UPRIGHT = np.array([0.5, -0.5, -0.5, -0.5])  # body x up, y east, z north
G0 = 9.80665


class Signals:
    """A log seen by message type.

    `used` collects the channels that were drawn, so that what nobody knows can be drawn at the end. Where several nodes publish
    a type, the one with the most channels of it counts, then the first by name.
    """

    def __init__(self, log: Any) -> None:
        self.log = log
        self.used: set[str] = set()
        self._types = message_types(log)

    def channels(self, type_name: str) -> list[str]:
        """Channels of a type that hold messages, all of one node, in natural order of their names."""
        nodes: dict[str, list[str]] = {}
        for topic in self.all_of(type_name):
            nodes.setdefault(topic.split("/")[1], []).append(topic)
        if not nodes:
            return []
        best = min(nodes, key=lambda n: (-len(nodes[n]), n))
        return sorted(nodes[best], key=_natural)

    def all_of(self, type_name: str) -> list[str]:
        """Channels of a type that hold messages, of all nodes."""
        return [topic for topic, kind in self._types.items() if kind == type_name]

    def get(self, type_name: str) -> Array | None:
        """Messages of the first channel of a type, in time order; None when there are none."""
        found = self.channels(type_name)
        return self.read(found[0]) if found else None

    def indexed(self, type_name: str) -> dict[int, Array]:
        """Messages of numbered channels (engine_cmd0, engine_cmd1, ...) by number."""
        out = {}
        for position, topic in enumerate(self.channels(type_name)):
            match = re.search(r"(\d+)$", topic)
            data = self.read(topic)
            if data is not None:
                out[int(match[1]) if match else position] = data
        return out

    def read(self, topic: str) -> Array | None:
        """Messages of a channel in time order; None when they cannot be read as an array."""
        self.used.add(topic)
        try:
            data: Array = self.log[topic]
        except LogError:
            return None
        order = np.argsort(data["log_t_ns"], kind="stable")
        return data if np.array_equal(order, np.arange(len(data))) else data[order]

    def rest(self) -> list[str]:
        """Channels with messages that nobody has read, in natural order."""
        return sorted((t for t in self._types if t not in self.used), key=_natural)


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def seconds(data: Array, field: str = "log_t_ns") -> Array:
    """Time of each message, s."""
    return np.asarray(data[field], np.int64) * 1e-9


def thin(t: Array, y: Array, most: int) -> tuple[Array, Array]:
    """At most `most` points that keep every peak: of each group of points the least and the greatest, in time order."""
    n = len(t)
    if n <= most:
        return t, y
    groups = max(1, most // 2)
    size = -(-n // groups)
    pad = groups * size - n
    rows = np.concatenate((y, np.full(pad, y[-1]))).reshape(groups, size).astype(float)
    bad = ~np.isfinite(rows)
    low = np.where(bad, np.inf, rows).argmin(axis=1)
    high = np.where(bad, -np.inf, rows).argmax(axis=1)
    base = np.arange(groups) * size
    index = np.unique(np.minimum(np.concatenate((base + low, base + high, [0, n - 1])), n - 1))
    return t[index], y[index]


def stride(n: int, most: int) -> slice:
    """Every so many of n rows, so that at most about `most` remain."""
    return slice(None, None, max(1, -(-n // most)))


def quat_mul(a: Array, b: Array) -> Array:
    """Product of quaternions, scalar first, shape (..., 4)."""
    a0, a1, a2, a3 = np.moveaxis(a, -1, 0)
    b0, b1, b2, b3 = np.moveaxis(b, -1, 0)
    return np.stack(
        (
            a0 * b0 - a1 * b1 - a2 * b2 - a3 * b3,
            a0 * b1 + a1 * b0 + a2 * b3 - a3 * b2,
            a0 * b2 - a1 * b3 + a2 * b0 + a3 * b1,
            a0 * b3 + a1 * b2 - a2 * b1 + a3 * b0,
        ),
        -1,
    )


def conj(q: Array) -> Array:
    """Conjugate, shape (..., 4)."""
    return np.asarray(q * np.array([1.0, -1.0, -1.0, -1.0]))


def tilt_rad(q_bl: Array) -> Array:
    """Angle between the stage axis and the vertical, (n, 4) to (n,)."""
    _, x, y, z = np.moveaxis(q_bl, -1, 0)
    w = q_bl[..., 0]
    up = 2.0 * (x * z - w * y)
    east, north = 1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z)
    return np.asarray(np.arctan2(np.hypot(east, north), up))


def roll_rad(q_bl: Array) -> Array:
    """Angle about the stage axis against upright with y east, without jumps, (n, 4) to (n,)."""
    d = quat_mul(np.broadcast_to(conj(Q_UPRIGHT), q_bl.shape), q_bl)
    angle: Array = np.unwrap(2.0 * np.arctan2(d[..., 1], d[..., 0]))
    turns = np.round(np.nanmedian(angle) / (2.0 * np.pi)) if len(angle) else 0.0
    return np.asarray(angle - 2.0 * np.pi * turns)


def rotation_error(q_true: Array, q_est: Array) -> Array:
    """Small rotation in L that takes the estimate to the truth, (n, 3), rad."""
    d = quat_mul(q_true, conj(q_est))
    sign = np.where(d[..., :1] < 0.0, -1.0, 1.0)
    return np.asarray(2.0 * sign * d[..., 1:])


def interpolate(t: Array, t_from: Array, y_from: Array) -> Array:
    """Linear in each column, (m,) and (n, k) to (m, k)."""
    return np.stack([np.interp(t, t_from, y_from[:, k]) for k in range(y_from.shape[1])], -1)


def interpolate_hermite(t: Array, t_from: Array, r: Array, v: Array) -> Array:
    """Position at times t from positions and velocities at t_from: cubic, so that acceleration makes no error. (m, 3)."""
    if len(t_from) < 2:
        return interpolate(t, t_from, r)
    k = np.clip(np.searchsorted(t_from, t, "right") - 1, 0, len(t_from) - 2)
    h = np.maximum(t_from[k + 1] - t_from[k], 1e-9)[:, None]
    s = np.clip((t - t_from[k])[:, None] / h, 0.0, 1.0)
    a, b = r[k], r[k + 1]
    return np.asarray(
        a * (1 + 2 * s) * (1 - s) ** 2 + b * s * s * (3 - 2 * s) + h * (v[k] * s * (1 - s) ** 2 - v[k + 1] * s * s * (1 - s))
    )


def interpolate_quat(t: Array, t_from: Array, q: Array) -> Array:
    """Attitude at times t: linear between neighbours with equal signs, normalised. (m, 4)."""
    q = np.array(q)
    flips = np.cumsum(np.einsum("ij,ij->i", q[1:], q[:-1]) < 0.0) % 2 == 1
    q[1:][flips] *= -1.0
    out = interpolate(t, t_from, q)
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True))


def runs_of(values: Array) -> list[tuple[int, int, int]]:
    """(first, last + 1, value) of each stretch of equal values."""
    if len(values) == 0:
        return []
    cut = np.flatnonzero(np.diff(values.astype(np.int64))) + 1
    starts, ends = [0, *cut.tolist()], [*cut.tolist(), len(values)]
    return [(a, b, int(values[a])) for a, b in zip(starts, ends, strict=True)]
