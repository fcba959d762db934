"""Elementary functions of the C core for Python tasks: the same bits on every computer, unlike those of `math` and `numpy`.

One number in, one number out; angles in rad. Ranges, errors and values outside the ranges: flightsw/math.h.
"""

from __future__ import annotations

from flightsw._native import lib

__all__ = ["acos", "asin", "atan", "atan2", "cos", "exp", "log", "pow", "sin", "sqrt", "tan"]


def sin(x: float) -> float:
    """Sine; NaN for |x| >= 1e5."""
    return float(lib.fsw_sin(x))


def cos(x: float) -> float:
    """Cosine; NaN for |x| >= 1e5."""
    return float(lib.fsw_cos(x))


def tan(x: float) -> float:
    """Tangent; NaN for |x| >= 1e5."""
    return float(lib.fsw_tan(x))


def asin(x: float) -> float:
    """Arc sine; NaN for |x| > 1."""
    return float(lib.fsw_asin(x))


def acos(x: float) -> float:
    """Arc cosine; NaN for |x| > 1."""
    return float(lib.fsw_acos(x))


def atan(x: float) -> float:
    """Arc tangent."""
    return float(lib.fsw_atan(x))


def atan2(y: float, x: float) -> float:
    """Angle of the point (x, y), in [-pi, pi]."""
    return float(lib.fsw_atan2(y, x))


def exp(x: float) -> float:
    """Exponential function; 0 below -708, the largest double above 709.78."""
    return float(lib.fsw_exp(x))


def log(x: float) -> float:
    """Natural logarithm; NaN for x <= 0."""
    return float(lib.fsw_log(x))


def pow(x: float, y: float) -> float:
    """x to the power y, x >= 0."""
    return float(lib.fsw_pow(x, y))


def sqrt(x: float) -> float:
    """Square root, correctly rounded; NaN for x < 0."""
    return float(lib.fsw_soft_sqrt(x))
