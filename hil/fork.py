"""Fork: a recorded flight goes on from a keyframe with other parameters, faults, tasks, or none: then it is the same flight.

The whole bench is continued: world, boards, flight computers, and what was under way on the links.
"""

from __future__ import annotations

import contextlib
import html
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flightsw.adopt import adopt
from flightsw.errors import ConfigError, LogError
from flightsw.graph import Snapshot
from flightsw.log import Log
from flightsw.log.compare import Diff, Divergence, diff
from flightsw.log.layout import layout_of, structure_differences
from flightsw.replay import Library
from flightsw.replay.patch import parameter_differences
from flightsw.replay.source import interpreter_differences, keyframe_before, layout_in, seed_of
from flightsw.schedule import CompiledNode
from hil import fork_parent as parent_of
from hil.at_hand import Origins, recorded_overlay, recorded_sets
from hil.bench import Bench
from hil.flight import Flight
from hil.fork_faults import carry_over, parse_faults, sentence
from hil.run import RUN, Continuation, RunResult, run_continued, write_json

PAGE = "fork.html"


@dataclass(frozen=True)
class ForkOptions:
    """Where a flight goes on, and with what. from_s: the keyframe at or before it. sets, faults: options as on the command line.

    bench: another bench file, whose tasks, schedule and parameters then fly. until_s: end of the flight. pages: write report.html
    and fork.html.
    """

    from_s: float
    sets: Sequence[str] = ()
    faults: Sequence[str] = ()
    bench: Path | None = None
    until_s: float | None = None
    out_root: Path = Path("runs")
    pages: bool = True


@dataclass(frozen=True)
class ForkResult:
    """A finished fork. changes: what is not as in the parent. notes: what was kept, what began anew. diff: against the parent.

    parent: outcome, expected, met, criteria of the parent's flight; empty when nothing tells.
    """

    run: RunResult
    tick: int
    t_s: float
    changes: list[str]
    notes: list[str]
    diff: Diff
    parent: dict[str, Any] = field(default_factory=dict)

    @property
    def divergence(self) -> Divergence | None:
        """First difference between parent and fork."""
        return self.diff.divergence


@dataclass
class _Fork:
    """What flies, and from what."""

    log: Log
    options: ForkOptions
    bench: Bench
    flown: list[CompiledNode]
    snapshot: Snapshot
    seed: int
    changes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def t_s(self) -> float:
        return self.snapshot.tick * self.log.base_tick_ns * 1e-9


def fork(log: Log, options: ForkOptions, progress: Callable[[float], None] | None = None) -> ForkResult:
    """Continue the flight of a log from a keyframe in a new run directory, and hold it against its parent.

    The directory has flight.mcap, run.json and report.html like any run, and fork.html with parent and fork over one another.
    Raises LogError when the log does not tell what was flown, or its own configuration gives something else with the software at
    hand, ConfigError for options and bench files.
    """
    with tempfile.TemporaryDirectory(prefix="flightsw-") as folder, _named(Path(folder)):
        chosen = _choose(log, options, Path(folder))
        run = run_continued(chosen.bench, chosen.seed, options.out_root, progress, _continuation(chosen))
    return _compared(chosen, run)


@contextlib.contextmanager
def _named(scratch: Path) -> Iterator[None]:
    """Problems in files that came out of a log are told with the names that they have there."""
    try:
        yield
    except ConfigError as exc:
        raise parent_of.without_scratch(exc, scratch) from None


# ---- before the flight -----------------------------------------------------------------------------------------------------------


def _choose(log: Log, options: ForkOptions, scratch: Path) -> _Fork:
    """The bench that flies, and the snapshot from which it does, put into its shape."""
    faults = parse_faults(options.faults)
    snapshot = keyframe_before(log, options.from_s, log.base_tick_ns)
    assert snapshot is not None
    seed = seed_of(log)
    bench = _bench(log, options, faults, scratch)
    flown = parent_of.flown_nodes(log, Library(bench.task_types, bench.messages))
    if bench.base_tick_ns != log.base_tick_ns:
        raise ConfigError.one(str(bench.path), "bench.base_tick_ns", f"{bench.base_tick_ns} ns, but the flight has ticks of "
                              f"{log.base_tick_ns} ns: it cannot go on with others")
    out = _Fork(log, options, bench, flown, snapshot, seed)
    if options.until_s is not None and options.until_s <= out.t_s:
        raise LogError(f"{log.path}: --until {options.until_s:g} s does not lie behind the fork at {out.t_s:g} s")
    carried = carry_over(snapshot, flown, bench.compiled(seed), out.t_s)
    out.snapshot = carried.snapshot
    out.notes += carried.said
    out.changes = _changes(out, carried.new)
    if out.changes:
        out.notes.append("what is changed is so from the keyframe on; states are those of the parent, also what a task once "
                         "computed from its parameters")
    if bench.has_python_tasks:
        out.notes += interpreter_differences(log)
    if "real_time" in log.metadata:
        out.notes.append("the parent flew in real time; the fork flies in simulated time, and repeats no decision about lateness")
    return out


def _bench(log: Log, options: ForkOptions, faults: Sequence[Mapping[str, Any]], scratch: Path) -> Bench:
    """The bench of the fork: the parent's own with changes, or another one."""
    if options.bench is not None:
        return Bench.load(options.bench, options.sets, {"fault": list(faults)} if faults else None, real_time=False)
    path = parent_of.bench_file(log, scratch)
    sets, overlay = recorded_sets(log), recorded_overlay(log)
    own = Bench.load(path, sets, overlay, real_time=False)
    parent_of.refuse_other(log, own)
    if not options.sets and not faults:
        return own
    laid = {**overlay, "fault": [*overlay.get("fault", []), *faults]} if faults else overlay
    return Bench.load(path, [*sets, *options.sets], laid, real_time=False)


def _changes(f: _Fork, faults: Sequence[int]) -> list[str]:
    """What is not as in the parent, one sentence each. faults: numbers of those that are new."""
    here = {n.name: n for n in f.bench.compiled(f.seed)}
    origin = Origins(f.bench, f.seed)
    given = f.bench.config.fault
    out = [f"fault: {sentence(given[k])}" for k in faults if k < len(given)]
    for old in f.flown:
        new = here.get(old.name)
        if new is None or new.blob == old.blob:
            continue
        out += [f'node "{old.name}": {d}' for d in structure_differences(layout_in(f.log, old.name), json.loads(layout_of(new)))]
        for d in parameter_differences(old, new):
            _, task, name = d.key.split(".")[:3]
            name = name.partition("[")[0]
            if not (name.startswith("fault_") or name == "n_faults"):  # they are told as faults
                out.append(replace(d, origin=origin(old.name, task, name)).sentence())
    links = parent_of.flown_links(f.log)
    if links is None and f.options.bench is not None:
        raise LogError(f"{f.log.path}: does not tell the links of its bench, so another bench cannot take over")
    out += parent_of.link_changes(links, f.bench.links) if links is not None else []
    if f.options.bench is not None:
        lost = [s for s in recorded_sets(f.log) if s not in f.options.sets]
        f.notes += [f"--set {s} of the parent's run is not applied to another bench: give it again if it is meant" for s in lost]
    return out


def _continuation(f: _Fork) -> Continuation:
    """How the flight is put in place, and what its log and run.json say about it."""
    links = parent_of.flown_links(f.log)
    held = parent_of.stop_held(f.log, f.bench, f.snapshot.tick)

    def prepare(flight: Flight) -> None:
        f.notes += adopt(flight.graph, f.snapshot, f.flown, f.bench.links if links is None else links)
        flight.graph.bench.stop.held = held
        flight.told["fork"] = {"parent_run_id": told["parent_run_id"], "tick": str(f.snapshot.tick), "t_s": repr(f.t_s),
                               "changes": json.dumps(f.changes), "stop_held": str(held)}
        if f.options.bench is None:
            names = ("tasks", "messages", "plugins", "bench_path")
            flight.told["extensions"] = {k: v for k, v in f.log.metadata.get("extensions", {}).items() if k in names}

    told: dict[str, Any] = {"parent_run_id": f.log.metadata.get("log", {}).get("run_id", ""), "tick": f.snapshot.tick,
                            "parent": f.log.path.resolve().parent.name, "t_s": f.t_s, "changes": f.changes,
                            "until_s": f.options.until_s}
    return Continuation(prepare, f.t_s, f.options.until_s, told, f.options.pages)


# ---- after the flight ------------------------------------------------------------------------------------------------------------


def _compared(f: _Fork, run: RunResult) -> ForkResult:
    """Parent and fork beside one another: verdicts, first divergence, the page."""
    log = Log.open(run.log_path)
    from_ns = f.snapshot.tick * f.log.base_tick_ns
    ends = [f.options.until_s * 1e9] if f.options.until_s is not None else []
    ends += [f.log.end_ns + 1] if not f.log.complete else []
    until_ns = round(min(ends)) if ends else None
    found = diff(f.log, log, from_ns, until_ns)
    last = list(f.log.keyframes())[-1][0]
    parent = parent_of.parent_verdict(f.log, f.bench, f.flown, last)
    notes = list(dict.fromkeys([*f.notes, *(f"parent: {p}" for p in f.log.problems)]))
    if f.log.end_ns < from_ns:
        notes.append("the parent's log ends at this keyframe: there is nothing to compare with")
    told = {**run.run["fork"], "notes": notes, "identical": found.identical, "topics": found.topics, "messages": found.messages,
            "divergence": found.divergence.as_dict() if found.divergence else None, "parent_verdict": parent}
    run.run["fork"] = told
    write_json(run.run_dir / RUN, run.run)
    result = ForkResult(run, f.snapshot.tick, f.t_s, f.changes, notes, found, parent)
    if f.options.pages:
        _page(result, f.log, log, (from_ns, until_ns))
    return result


def _page(result: ForkResult, parent: Log, log: Log, span: tuple[int, int | None]) -> None:
    from hil.report.overlay_page import Page, write_overlay

    d = result.divergence
    headline = "The same flight as the parent" if d is None else f"Another flight from {d.t_ns * 1e-9:.6f} s on (tick {d.tick})"
    title = f"Fork of {result.run.run.get('title', '')} at {result.t_s:g} s"
    tables = [("Verdicts", _verdict_table(result))]
    write_overlay(result.run.run_dir / PAGE, parent, log, Page(
        title, headline, ("parent", "fork"), None if d is not None else True,
        (("What changed", result.changes or ["nothing"]), ("Notes", result.notes)), d, span[0], span[1], tables))


def verdict_rows(result: ForkResult) -> list[tuple[str, str, str, str, str]]:
    """(what, value in the parent, value in the fork, unit, limit), outcome first; "?" where nothing tells."""
    def text(criterion: Mapping[str, Any] | None) -> str:
        value = criterion.get("value") if criterion is not None else None
        return "?" if value is None else f"{value:.3f}"

    was = {c["name"]: c for c in result.parent.get("criteria", [])}
    verdict = result.run.verdict
    out = [("outcome", str(result.parent.get("outcome", "?")), verdict.outcome, "", "")]
    return out + [(c.name, text(was.get(c.name)), text(c.__dict__), c.unit, c.limit_text) for c in verdict.criteria]


def _verdict_table(result: ForkResult) -> str:
    from hil.report.facts import table

    rows = [tuple(html.escape(cell) for cell in row) for row in verdict_rows(result)]
    return table(("", "parent", "fork", "unit", "limit"), rows)
