"""Faults of a fork: given on the command line, and their life in the injector carried over from the parent."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flightsw.errors import ConfigError, Problem
from flightsw.graph import Snapshot
from flightsw.replay.patch import params_of
from flightsw.schedule import CompiledNode, CompiledTask
from hil.config import Fault
from hil.faults import INJECTOR, SLOTS

OPTION = "--fault"
_ROW = ("fault_severity", "fault_at", "fault_after_s", "fault_for_s", "fault_target", "fault_index", "fault_type", "fault_trigger")
_LIFE = ("t_begin_ns", "t_end_ns", "status", "above")
_TIME, _ACTIVE = 1, 2


def parse_faults(texts: Sequence[str]) -> list[dict[str, Any]]:
    """`{target = "engine[0]", type = "dies", at_s = 40.0}` as the tables of a bench file; at_s stands for at = {time_s = ...}.

    Raises ConfigError with every option that is no table.
    """
    out, problems = [], []
    for text in texts:
        try:
            table = tomllib.loads(f"fault = {text}")["fault"]
        except (tomllib.TOMLDecodeError, RecursionError):
            table = None
        if not isinstance(table, dict):
            example = '{target = "engine[0]", type = "dies", at_s = 40.0}'
            problems.append(Problem(OPTION, text, f"is not a TOML table such as {example}"))
            continue
        if "at_s" in table and "at" in table:
            problems.append(Problem(OPTION, text, "at_s and at are both given: at_s stands for at = {time_s = ...}"))
        if "at_s" in table:
            table["at"] = {"time_s": table.pop("at_s")}
        if "at" not in table:
            problems.append(Problem(OPTION, text, "does not say when: give at_s, or at = {...} as in a bench file"))
        out.append(table)
    if problems:
        raise ConfigError(problems)
    return out


def sentence(fault: Fault) -> str:
    """A fault for people."""
    at = next(f"{k} = {v}" for k, v in fault.at.model_dump().items() if v is not None)
    more = [f"{k} {v:g} {unit}".strip() for k, v, unit in (("after", fault.after_s or None, "s"), ("for", fault.for_s, "s"),
                                                  ("severity", fault.severity, "")) if v is not None]
    return ", ".join([f"{fault.target} {fault.type} at {at}", *more])


def _injectors(nodes: Sequence[CompiledNode]) -> dict[tuple[str, str], tuple[CompiledNode, CompiledTask]]:
    return {(n.name, t.spec.name): (n, t) for n in nodes for t in n.tasks if t.type.name == INJECTOR}


def _rows(node: CompiledNode, task: CompiledTask) -> list[tuple[float, ...]]:
    assert task.type.params_dtype is not None
    p = np.frombuffer(params_of(node, task), task.type.params_dtype, 1)[0]
    return [tuple(float(p[c][k]) for c in _ROW) for k in range(min(int(p["n_faults"]), SLOTS))]


@dataclass(frozen=True)
class CarriedOver:
    """The snapshot with faults in their new places; numbers of those that the parent did not have; what else there is to say."""

    snapshot: Snapshot
    new: list[int]
    said: list[str]


def carry_over(snapshot: Snapshot, flown: Sequence[CompiledNode], here: Sequence[CompiledNode], t_s: float) -> CarriedOver:
    """Put the lives of the faults into the places that they have in the new bench.

    A fault that the parent did not have begins to wait now. Raises ConfigError for one whose time is over.
    """
    old, problems, said, new = _injectors(flown), list[Problem](), list[str](), list[int]()
    images = dict(snapshot.images)
    for key, (node, task) in _injectors(here).items():
        rows = _rows(node, task)
        before = _rows(*old[key]) if key in old else []
        source = _match(before, rows)
        new += [k for k, j in enumerate(source) if j < 0]
        for row, j in zip(rows, source, strict=True):
            begin_s = row[1] + row[2]
            if j < 0 and int(row[7]) == _TIME and begin_s < t_s:
                problems.append(Problem(OPTION, "at", f"a fault at {begin_s:g} s lies before the fork at {t_s:g} s: what is past "
                                        "stays as it was flown, so it can only begin later"))
        if key not in old:
            continue
        lost = [k for k in range(len(before)) if k not in source]
        image, ended = _moved(images[node.name], old[key][1], source, lost)
        images[node.name] = image
        said += [f"fault number {k + 1} of the parent is not one of this bench" for k in lost]
        said += ["a fault that was in force ends with the fork"] * ended
    if problems:
        raise ConfigError(problems)
    return CarriedOver(replace(snapshot, images=images), new, said)


def _match(before: Sequence[tuple[float, ...]], rows: Sequence[tuple[float, ...]]) -> list[int]:
    """For each fault the place it had before, -1 for a new one."""
    free = set(range(len(before)))
    out = []
    for k, row in enumerate(rows):
        same = [j for j in sorted(free, key=lambda j: (j != k, j)) if before[j] == row]
        out.append(same[0] if same else -1)
        free -= set(same[:1])
    return out


def _moved(image: bytes, task: CompiledTask, source: Sequence[int], lost: Sequence[int]) -> tuple[bytes, int]:
    """An image with the injector's state rearranged; and how many of the lost faults were in force."""
    dtype = task.type.state_dtype
    assert dtype is not None
    state = np.frombuffer(image, dtype, 1, task.state_offset).copy()
    old: Mapping[str, Any] = {name: state[name][0].copy() for name in _LIFE}
    for name in _LIFE:
        for k in range(SLOTS):
            j = source[k] if k < len(source) else -1
            state[name][0][k] = old[name][j] if j >= 0 else 0
    ended = sum(int(old["status"][k]) == _ACTIVE for k in lost)
    if ended:
        state["since_publish"] = np.iinfo(np.uint32).max - 1  # the set in force has changed: say so at once
    return image[: task.state_offset] + state.tobytes() + image[task.state_offset + dtype.itemsize :], ended
