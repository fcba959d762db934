"""Faults of a bench file: from words to the parameters of the fault injector (task type `bench.faults`).

What each target and type does, and what severity means: docs/reference/faults.md and native/include/flightsw/boards.h.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flightsw.errors import Problem
from flightsw.params import suggestion
from hil.config import Fault

INJECTOR = "bench.faults"
SLOTS = 12
ALL = 255

TARGETS = {"engine": 1, "imu": 2, "gnss": 3, "radalt": 4, "gimbal": 5, "fin": 6, "thruster": 7, "touch": 8}
UNITS = {"engine": 9, "imu": 15, "gnss": 16, "radalt": 16, "gimbal": 9, "fin": 4, "thruster": 16, "touch": 4}
TYPES = {"off": 1, "stuck": 2, "wrong": 3, "garbage": 4, "slow": 5, "no_light": 6, "dies": 7, "late_light": 8, "low_pc": 9,
         "hard_start": 10, "wrong_b": 11, "no_igniter": 12, "low_inlet": 13, "deaf": 14, "corrupt": 15, "zero": 16,
         "high_pc": 17, "saturate_gyro": 18, "saturate_accel": 19, "short_range": 20, "outliers": 21, "unflagged": 22}
PHASES = {"idle": 0, "ascent": 1, "coast": 2, "aero": 3, "burn": 4, "landed": 5, "abort": 6}
IMU_SENSORS = {"gyro": 0, "gyro_x": 1, "gyro_y": 2, "gyro_z": 3, "accel": 4, "accel_x": 5, "accel_y": 6, "accel_z": 7}
_TRIGGERS = {"time_s": 1, "altitude_m": 2, "phase": 3, "engine_lit": 4, "engine_start": 5}
_TARGET = re.compile(r"^(?P<kind>[a-z_]+)\[(?P<unit>\d+|\*)\](?:\.(?P<part>[a-z_]+))?$")

# What is implemented: (lowest, highest, default) of severity. A default of None: it must be given. No range: it has no meaning.
_Range = tuple[float, float, float | None]
_FREE: _Range = (-1e9, 1e9, None)
_NOISE: _Range = (0.0, 1e9, 0.0)
_SHARE: _Range = (0.0, 1.0, None)
_SIGN: _Range = (-1.0, 1.0, 1.0)
IMPLEMENTED: Mapping[str, Mapping[str, _Range | None]] = {
    "engine": {"off": None, "stuck": None, "slow": (0.0, 100.0, None), "wrong": (-10.0, 10.0, None), "garbage": None,
               "no_light": None, "dies": (0.0, 2.0, 0.0), "late_light": (0.0, 1000.0, None), "low_pc": _SHARE,
               "hard_start": (1.0, 10.0, 2.0), "wrong_b": (-10.0, 10.0, None), "no_igniter": None, "low_inlet": _SHARE, "deaf": None,
               "corrupt": (0.0, 0.5, None), "high_pc": (1.0, 3.0, None)},
    "imu": {"off": None, "stuck": None, "wrong": _FREE, "garbage": _NOISE, "zero": None, "saturate_gyro": _SIGN,
            "saturate_accel": _SIGN},
    "gnss": {"off": None, "stuck": None, "wrong": _FREE, "garbage": _NOISE},
    "radalt": {"off": None, "stuck": None, "wrong": _FREE, "garbage": _NOISE, "short_range": (0.0, 1e5, None), "outliers": _SHARE,
               "unflagged": None},
    "gimbal": {"off": None, "stuck": None, "slow": _SHARE, "wrong": _SIGN, "garbage": _SHARE},
    "fin": {"off": None, "stuck": None, "slow": _SHARE, "garbage": (0.0, 1.6, None)},
    "thruster": {"off": None, "stuck": None, "garbage": None},
    "touch": {"off": None, "stuck": None, "wrong": None},
}


def _target(fault: Fault, problems: list[tuple[str, str]]) -> tuple[str, int] | None:
    """(kind, index as the injector wants it), or None after adding what is wrong: (key, text)."""
    match = _TARGET.match(fault.target)
    if match is None:
        problems.append(("target", f'"{fault.target}" is not of the form "engine[0]", "gnss[*]" or "imu[1].accel_x"'))
        return None
    kind, unit, part = match["kind"], match["unit"], match["part"]
    if kind not in TARGETS:
        problems.append(("target", f'unknown target "{kind}"{suggestion(kind, TARGETS)}; known: {", ".join(TARGETS)}'))
        return None
    if unit != "*" and int(unit) >= UNITS[kind]:
        problems.append(("target", f"there is no {kind}[{int(unit)}], allowed 0 to {UNITS[kind] - 1} or *"))
        return None
    index = ALL if unit == "*" else int(unit)
    if kind == "imu" and fault.type == "wrong":
        if part not in IMU_SENSORS:
            problems.append(("target", f'say which sensor is wrong: "{kind}[{unit}].accel_x", one of {", ".join(IMU_SENSORS)}'))
            return None
        return kind, (15 if unit == "*" else index) + 16 * IMU_SENSORS[part]
    if part is not None:
        problems.append(("target", f'"{kind}" with type "{fault.type}" has no part "{part}"; only a wrong imu names a sensor'))
        return None
    return kind, index


def _severity(fault: Fault, kind: str, problems: list[tuple[str, str]]) -> float:
    possible = IMPLEMENTED[kind]
    if fault.type not in possible:
        hint = suggestion(fault.type, TYPES) if fault.type not in TYPES else ""
        problems.append(("type", f'"{fault.type}" is not implemented for {kind}{hint}; implemented: {", ".join(possible)}'))
        return 0.0
    limits = possible[fault.type]
    if limits is None:
        if fault.severity is not None:
            problems.append(("severity", f"{kind} {fault.type} has no severity: leave it out"))
        return 0.0
    low, high, default = limits
    value = default if fault.severity is None else fault.severity
    if value is None:
        problems.append(("severity", f"{kind} {fault.type} needs one, allowed {low:g} to {high:g}"))
        return 0.0
    if not low <= value <= high:
        problems.append(("severity", f"{value:g} is out of range, allowed {low:g} to {high:g} for {kind} {fault.type}"))
    return value


def _trigger(fault: Fault, problems: list[tuple[str, str]]) -> tuple[int, float]:
    for name, code in _TRIGGERS.items():
        value = getattr(fault.at, name)
        if value is None:
            continue
        if name != "phase":
            return code, float(value)
        if value not in PHASES:
            problems.append(("at.phase", f'unknown phase "{value}"{suggestion(value, PHASES)}; known: {", ".join(PHASES)}'))
            return code, 0.0
        return code, float(PHASES[value])
    raise AssertionError("the model wants one trigger")


def injector_params(faults: Sequence[Fault], where: Sequence[tuple[str, str]], problems: list[Problem]) -> dict[str, Any]:
    """Parameters of the injector for these faults, ready to be given to its task.

    where: (file, key) of each fault. What is wrong is added to `problems`.
    """
    if len(faults) > SLOTS:
        problems.append(Problem(where[SLOTS][0], "fault", f"{len(faults)} faults given, at most {SLOTS} allowed"))
    columns: dict[str, list[float]] = {f"fault_{c}": [] for c in
                                       ("severity", "at", "after_s", "for_s", "target", "index", "type", "trigger")}
    for fault, (file, key) in zip(faults[:SLOTS], where, strict=False):
        found: list[tuple[str, str]] = []
        target = _target(fault, found)
        severity = _severity(fault, target[0], found) if target is not None else 0.0
        trigger, at = _trigger(fault, found)
        problems += [Problem(file, f"{key}.{k}", text) for k, text in found]
        if found or target is None:
            continue
        row = (severity, at, fault.after_s, fault.for_s or 0.0, TARGETS[target[0]], target[1], TYPES[fault.type], trigger)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return {**columns, "n_faults": len(columns["fault_at"])}
