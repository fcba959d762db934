"""Before anything runs: is the software at hand that of the log, and what will fly?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flightsw.errors import LogError
from flightsw.graph import Snapshot
from flightsw.log.layout import Library, layout_of, structure_differences
from flightsw.log.reader import Log
from flightsw.messages import load_messages
from flightsw.replay import source
from flightsw.replay.patch import parameter_differences, patched
from flightsw.replay.result import AtHand, Options, ParameterDifference
from flightsw.schedule import CompiledNode
from flightsw.tasks import builtin_tasks


@dataclass
class Plan:
    """What a replay flies. recorded: per node as it was flown, None where its layout cannot be read with the software at hand.

    same: nodes whose images have the layout of those recorded. start: the snapshot to begin with, None for tick 0.
    """

    nodes: list[CompiledNode]
    recorded: list[CompiledNode | None]
    library: Library
    seed: int
    same: set[str]
    start: Snapshot | None = None
    parameters: list[ParameterDifference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def plan(log: Log, changes: Mapping[str, object] | None, library: Library | None, options: Options) -> Plan:
    """Decide what flies. changes: None unless a what-if. Raises LogError with everything that forbids a replay."""
    what_if = changes is not None and not options.strict
    here = options.at_hand
    library = library or (here.library if here is not None else Library(builtin_tasks(), load_messages([])))
    out = Plan([], [], library, 0, set(), notes=source.build_notes(log))
    out.notes = [*([] if log.complete else [f"not exact: {p}" for p in log.problems]), *out.notes]
    said = log.metadata.get("run", {}).get("exact", "")
    out.notes += [f"flown as {said}"] if said.startswith("not exact") else []
    if not log.complete and not what_if:
        raise LogError("\n".join([f"{log.path}: is not exact, so a replay of it proves nothing (a what-if is possible):",
                                  *log.problems]))
    out.ignored += [] if log.complete else log.problems or [f"{log.path}: was not closed"]
    refused = []
    for name in source.flight_computers(log):
        refused += _add(log, name, here, what_if, out)
    _refuse(log, here, refused)
    _python(log, what_if, out)
    if changes:
        _change(log, changes, here, out)
    out.seed = source.seed_of(log)
    out.start = source.keyframe_before(log, options.from_s, out.nodes[0].base_tick_ns)
    return out


def _add(log: Log, name: str, here: AtHand | None, what_if: bool, out: Plan) -> list[str]:
    """Put one flight computer into the plan. Returns what forbids it."""
    if here is None:
        node = source.node_in(log, name, out.library)
        out.nodes.append(node)
        out.recorded.append(node)
        out.same.add(name)
        return []
    layout = source.layout_in(log, name)
    node_here = here.nodes.get(name)
    if node_here is None:
        if not what_if:
            return [f'node "{name}" is in the log, not in {here.name}']
        out.ignored.append(f'node "{name}" is in the log, not in {here.name}: not replayed')
        return []
    found = [f'node "{name}": {d}' for d in structure_differences(layout, json.loads(layout_of(node_here)))]
    if found and not what_if:
        return found
    out.nodes.append(node_here)
    out.ignored += found
    try:
        flown = source.node_in(log, name, out.library)
    except LogError:
        if not found:
            raise
        out.recorded.append(None)
        return []
    out.recorded.append(flown)
    if not found:
        out.same.add(name)
    for d in parameter_differences(flown, node_here):
        task, parameter = d.key.split(".")[1:3]
        out.parameters.append(replace(d, origin=here.origin(name, task, parameter.partition("[")[0]) or here.name))
    return []


def _refuse(log: Log, here: AtHand | None, refused: list[str]) -> None:
    if refused and here is not None:
        raise LogError("\n".join([f"{log.path}: was flown with another schedule or other messages than those of {here.name} "
                                  "(--as-flown replays what the log carries, --what-if replays it all the same):", *refused]))


def _python(log: Log, what_if: bool, out: Plan) -> None:
    if not out.nodes:
        raise LogError(f"{log.path}: cannot be replayed: none of its flight computers is at hand")
    if all(t.type.python is None for n in out.nodes for t in n.tasks):
        return
    out.notes.append("Python tasks among the flight software: exact for this interpreter and these library versions only")
    found = source.interpreter_differences(log)
    if found and not what_if:
        raise LogError("\n".join(f"{log.path}: {text}" for text in found))
    out.ignored += found


def _change(log: Log, changes: Mapping[str, object], here: AtHand | None, out: Plan) -> None:
    """Put changed parameters in, and list them against what was recorded."""
    before = out.nodes
    out.nodes = patched(before, changes, log.path)
    listed = {d.key: d for d in out.parameters}
    for flown, now in zip(out.recorded, out.nodes, strict=True):
        for d in parameter_differences(flown, now) if flown is not None else ():
            changed = ".".join(d.key.split(".")[:3]).partition("[")[0] in changes
            listed[d.key] = replace(d, origin="--set") if changed else listed.get(d.key, d)
    out.parameters = list(listed.values())
    same = {d.key for flown, now in zip(out.recorded, out.nodes, strict=True) if flown is not None
            for d in parameter_differences(flown, now)}
    out.parameters = [d for d in out.parameters if d.key in same]
