"""Dispersions: parameters that vary from seed to seed, drawn so that any draw can be repeated alone.

A number depends only on the seed, the position of its table in the bench file and the element of the parameter. Seed 0 is the
nominal bench: nothing is dispersed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flightsw._native import ffi, lib

CLIP = 3.0       # sigma: what lies further out is another vehicle, not a dispersion
_BEFORE_START = -1  # tick of the draws; tasks draw at ticks from 0 on, so no stream is shared with them


@dataclass(frozen=True)
class Law:
    """How one table of a bench file disperses one parameter. Exactly one of the three is set."""

    sigma: tuple[float, ...] | None = None
    sigma_percent: float | None = None
    uniform: tuple[float, float] | None = None


def _draws(seed: int, position: int, count: int, function: Any) -> np.ndarray[Any, Any]:
    out = np.empty(-(-count // 4) * 4)
    rng = ffi.new("fsw_rng_t *", {"seed": seed, "stream": position})
    for channel in range(len(out) // 4):
        four = out[4 * channel : 4 * channel + 4]
        function(rng, _BEFORE_START, channel, ffi.from_buffer("double[]", four, require_writable=True))
    return out[:count]


def gauss(seed: int, position: int, count: int) -> np.ndarray[Any, Any]:
    """`count` standard normal numbers, clipped to +-3."""
    return np.asarray(np.clip(_draws(seed, position, count, lib.fsw_rng_gauss4), -CLIP, CLIP))


def uniform(seed: int, position: int, count: int) -> np.ndarray[Any, Any]:
    """`count` numbers uniform in (0, 1)."""
    return _draws(seed, position, count, lib.fsw_rng_uniform4)


def problem_with(law: Law, base: np.ndarray[Any, Any]) -> str | None:
    """Why a law cannot be applied to a parameter of this shape and type, or None."""
    if base.dtype.kind != "f":
        return "is a whole number and cannot be dispersed"
    if law.sigma is not None and len(law.sigma) > 1 and len(law.sigma) > base.size:
        return f"{len(law.sigma)} sigmas given for {base.size} {'numbers' if base.size > 1 else 'number'}"
    return None


def offset(law: Law, seed: int, position: int, base: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What this table adds to a nominal parameter (array of the parameter's shape, zeros for seed 0)."""
    if seed == 0:
        return np.zeros(base.shape)
    flat = base.reshape(-1).astype(float)
    if law.uniform is not None:
        low, high = law.uniform
        return np.asarray((low + (high - low) * uniform(seed, position, flat.size) - flat).reshape(base.shape))
    z = gauss(seed, position, flat.size)
    if law.sigma_percent is not None:
        return np.asarray((z * np.abs(flat) * (law.sigma_percent / 100.0)).reshape(base.shape))
    sigma = np.zeros(flat.size)
    given: Sequence[float] = law.sigma or (0.0,)
    sigma[: len(given)] = given
    if len(given) == 1:
        sigma[:] = given[0]
    return np.asarray((z * sigma).reshape(base.shape))
