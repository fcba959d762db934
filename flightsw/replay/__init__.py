"""Replay: the recorded inputs through the flight software at hand, every topic write compared with the recording.

Needs the log alone: load blobs and layouts of the flight computers are attached to it. Given the bench at hand as well, it says
what differs between the two, and flies what is at hand.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from flightsw.log.compare import Divergence
from flightsw.log.layout import Library, layout_of
from flightsw.log.reader import Log
from flightsw.replay.plan import Plan, plan
from flightsw.replay.record import record
from flightsw.replay.result import AtHand, Options, ParameterDifference, ReplayResult, TopicDifference
from flightsw.replay.run import Run

__all__ = ["AtHand", "Divergence", "Library", "Options", "ParameterDifference", "ReplayResult", "TopicDifference", "layout_of",
           "record_replay", "replay"]

HUNT = (0x55, 0xAA)


def replay(log: Log, what_if: Mapping[str, object] | None = None, library: Library | None = None,
           options: Options | None = None) -> ReplayResult:
    """Run the flight computers of a log again on its recorded inputs and compare every topic they wrote.

    what_if: parameters to change, "node.task.parameter" to a number or list (may be empty): differences are then collected
    to the end, and what forbids a replay otherwise is listed as ignored. library: the software at hand (the package's).
    Raises LogError when the log cannot be replayed: it says exactly what is missing or differs.
    """
    options = options or Options()
    chosen = plan(log, what_if, library, options)
    began = time.perf_counter()
    run = Run(log, chosen, options, what_if is not None)
    run.go()
    wall_s = time.perf_counter() - began
    hunted: list[int] = []
    found_with = None
    while options.hunt and not run.found and len(hunted) < len(HUNT):
        hunted.append(HUNT[len(hunted)])
        other = Run(log, chosen, options, False, hunted[-1])
        other.go()
        if other.found:
            run, found_with = other, hunted[-1]
    return _result(log, chosen, run, (hunted, found_with, wall_s))


def record_replay(log: Log, what_if: Mapping[str, object], path: Path, library: Library | None = None,
                  options: Options | None = None) -> None:
    """Replay once more and write what the flight computers say into a log of its own. Raises LogError like `replay`."""
    options = options or Options()
    record(log, plan(log, what_if, library, options), options, path, what_if)


def _result(log: Log, chosen: Plan, run: Run, hunt: tuple[list[int], int | None, float]) -> ReplayResult:
    hunted, found_with, wall_s = hunt
    divergence = min(run.found, key=run.order) if run.found else None
    notes = [*chosen.notes, *run.adopted]
    if chosen.start is not None and chosen.parameters:
        notes.append("parameters are changed from the keyframe on; the states of the tasks are those of the flight")
    if run.what_if and run.digests_differ:
        notes.append(f"image digests differ at {run.digests_differ} of {run.keyframes} keyframes")
    if run.failure:
        notes.append(f"ended early: {run.failure}")
    if found_with is not None:
        notes.append(f"found by hunting: with unused memory filled with 0x{found_with:02X} the software does something else, so a "
                     "task uses what nobody wrote")
    changed = [TopicDifference(f"/{c.signal.node}/{c.signal.topic}", c.different, c.first)
               for c in run.channels if c.first is not None]
    return ReplayResult(
        run.graph.tick - run.start, len(run.channels), divergence is None and not run.failure, divergence, log.complete, notes,
        run.messages, run.keyframes, run.base_tick_ns, wall_s, changed, run.start, chosen.parameters,
        list(dict.fromkeys(chosen.ignored)), hunted, found_with, sum(g.checked for g in run.gates))
