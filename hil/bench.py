"""Bench and Flight: load a bench file, fly it, look into it, go back, fork it.

    with Bench.load("bench_configs/hop.toml").start() as flight:
        flight.run(until=5.0)
        kept = flight.snapshot()
        flight.run()
        print(flight.verdict().outcome)
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from flightsw import realtime
from flightsw._native import ffi
from flightsw.errors import BenchUnavailable, ConfigError, FlightswError, LogError, Problem, StepError
from flightsw.graph import INPUTS, NEED_DRAIN, RESTORES, SKIPS, STOPPED, UPSETS, Graph, LinkSpec, NodeView, Snapshot
from flightsw.messages import MessageType
from flightsw.params import Given, suggestion
from flightsw.realtime import RealTime, RealTimeConfig, RealTimeReport, no_collections
from flightsw.schedule import CompiledNode, NodeSpec, compile_node
from flightsw.tasks import TaskType
from hil.config import BenchFile, Condition, Criterion, RealTimeSection, unknown, validate
from hil.faults import INJECTOR, injector_params
from hil.link.live import Access
from hil.load import (
    Dispersal,
    FieldRef,
    apply_bench_sets,
    apply_task_sets,
    bind_dispersals,
    compiled_params,
    dispersed,
    find_field,
    load_extensions,
    parse_sets,
    with_params,
)
from hil.plan import NodePlan, Planner
from hil.recording import Recorded, attach, mapping_problems, split
from hil.strings import StringKeeper, expand, restore_record, upset_place
from hil.toml_file import Table, file_of, key_of, merge, read_extended, shown
from hil.vehicle import flatten, load_vehicle
from hil.verdict import DONE, LOST, Verdict, judge

if TYPE_CHECKING:
    from flightsw.log import ChannelDef, Log, LogWriter
    from hil.link.remote import Groups

_SLICE_S = 0.05      # wall time of one call into the core, so that Ctrl-C and progress are prompt
_OVERLAY = "overlay"
T = TypeVar("T")


class Bench:
    """A bench file, loaded and checked as far as can be without a tick.

    path, name, title, seed, duration_s, base_tick_ns, expect: of the file. config: the validated file. vehicle: texts of the
    vehicle's [vehicle] section. constants: shared parameters by name. plans: nodes before compilation. links: between them.
    recorded: files played as boards. task_types, messages: all that are known. texts: every configuration file read, by path.
    sets, overlay: as given. access: what whoever starts a run gives beside the file, see hil.link.live.
    """

    path: Path
    name: str
    title: str
    seed: int
    duration_s: float
    base_tick_ns: int
    expect: str
    config: BenchFile
    plans: list[NodePlan]
    links: list[LinkSpec]
    recorded: list[Recorded]
    constants: dict[str, Given]
    vehicle: dict[str, Any]
    task_types: dict[str, TaskType]
    messages: dict[str, MessageType]
    texts: dict[str, str]
    sets: list[str]
    overlay: dict[str, Any]
    criteria: list[tuple[Criterion, FieldRef]]
    outcomes: dict[str, tuple[Condition, FieldRef]]
    real_time: RealTimeSection | None
    strings: tuple[str, ...] = ()
    access: Access = Access()

    def __init__(self) -> None:
        self.texts, self.vehicle, self.outcomes, self.criteria = {}, {}, {}, []
        self._root = Table({}, "")
        self._nominal: dict[str, CompiledNode] = {}
        self._dispersals: list[Dispersal] = []
        self._cache: dict[int, list[CompiledNode]] = {}

    @classmethod
    def load(cls, path: str | Path, sets: Sequence[str] = (), overlay: Mapping[str, Any] | None = None, *,
             real_time: bool | None = None) -> Bench:
        """Read a bench file. sets: `key=value` options. overlay: more tables, laid over the file like one that extends it.

        real_time: True: against the wall clock, with defaults where the file has no [bench.real_time]; False: not; None: as the file says.

        Raises ConfigError with all problems found.
        """
        self = cls()
        self.path, self.sets, self.overlay = Path(path), list(sets), dict(overlay or {})
        options = parse_sets(sets)
        root = read_extended(self.path, self.texts)
        if overlay:
            root = merge(root, Table(overlay, _OVERLAY))
        if real_time:
            root = merge(root, Table({"bench": {"real_time": {}}}, _OVERLAY))
        rest = apply_bench_sets(root, options)
        self._root = root
        self.config = validate(BenchFile, root, shown(self.path))
        self.real_time = self.config.bench.real_time if real_time is not False else None
        section = self.config.bench
        self.name, self.title, self.seed = section.name, section.title or section.name, section.seed
        self.duration_s, self.base_tick_ns = section.duration_s, section.base_tick_ns
        self.expect = section.expect or (section.success if self.config.criterion else DONE)
        planner = self._read_parts()
        constants_set = self._place(planner, rest)
        self._compile_nominal()
        self._check_ends(constants_set)
        self._check_lines()
        self._check_upsets()
        return self

    # ---- loading, step by step -------------------------------------------------------------------------------------

    def _read_parts(self) -> Planner:
        """Everything that stands in other files, and [constants]."""
        problems: list[Problem] = []
        folder = self.path.parent
        self.constants = {}
        try:
            named = f"{file_of(self._root, ['bench', 'vehicle'], shown(self.path))}: bench.vehicle"
            self.constants, self.vehicle = load_vehicle([folder / v for v in self.config.bench.vehicle], self.texts, named)
        except ConfigError as exc:
            problems += exc.problems
        own = self._root.get("constants", Table({}, ""))
        self.constants |= flatten(own, shown(self.path), problems, "constants")
        planner = Planner(self._root, self.config, self.path, self.texts)
        try:
            self.task_types, self.messages = load_extensions(self.config, folder, self._root)
        except ConfigError as exc:
            problems += exc.problems
        self.plans = planner.nodes()
        problems += planner.problems
        planner.problems = []
        if problems:
            raise ConfigError(dict.fromkeys(problems))
        return planner

    def _place(self, planner: Planner, options: Mapping[str, Any]) -> dict[str, Given]:
        """Options, faults and links onto the planned nodes. Returns the constants that options gave."""
        problems = planner.problems
        self.plans, constants = apply_task_sets(self.plans, options, problems)
        self.constants |= constants
        self._place_faults(problems)
        self.plans, self.links, self.recorded = split(self.plans, planner.links(self.plans, self.task_types))
        self._place_strings(problems)
        for board in self.recorded:
            problems += mapping_problems(board, self.messages)
        if problems:
            raise ConfigError(dict.fromkeys(problems))
        return constants

    def _place_strings(self, problems: list[Problem]) -> None:
        """Redundant flight computers and their voter in the place of one."""
        strings = self.config.strings
        if strings is None or problems:
            return
        section = self.config.bench
        places = [c.topic for c in self.config.criterion] + [o.topic for o in self.config.outcome.values()]
        places += [section.stop.topic] if section.stop is not None else []
        extra = [t.partition(".")[2] for t in places if t.partition(".")[0] == strings.of]
        found = expand(strings, self.plans, self.links, self.task_types, self.messages, extra, problems)
        if found is not None:
            self.plans, self.links, self.strings = found.plans, found.links, found.names
            self.task_types = {**self.task_types, **found.tasks}

    def _place_faults(self, problems: list[Problem]) -> None:
        faults = self.config.fault
        if not faults:
            return
        places: list[list[str | int]] = [["fault", i] for i in range(len(faults))]
        where = [(file_of(self._root, [*at, "target"], ""), key_of(self._root, at)) for at in places]
        tasks = [(p.name, t.name) for p in self.plans for t in p.tasks if t.type == INJECTOR]
        if len(tasks) != 1:
            problems.append(Problem(where[0][0], "fault", f'one task of type "{INJECTOR}" is wanted to inject them, '
                                    f"the bench has {len(tasks) or 'none'}"))
        params = injector_params(faults, where, problems)
        if len(tasks) == 1:
            given = {tasks[0]: {k: Given(v, where[0][0], f"fault.{k}") for k, v in params.items()}}
            self.plans = [replace(p, tasks=tuple(with_params(p.tasks, p.name, given))) for p in self.plans]

    def _spec(self, plan: NodePlan) -> NodeSpec:
        links = [*self.links, *(k for r in self.recorded for k in r.links)]
        inputs = frozenset(k.dst_topic for k in links if k.dst_node == plan.name)
        return NodeSpec(plan.name, plan.tasks, self.base_tick_ns, inputs)

    def _compile_nominal(self) -> None:
        problems: list[Problem] = []
        for plan in self.plans:
            try:
                self._nominal[plan.name] = compile_node(self._spec(plan), self.task_types, self.messages, self.constants)
            except ConfigError as exc:
                problems += exc.problems
        if problems:
            raise ConfigError(dict.fromkeys(problems))

    def _check_ends(self, options: Mapping[str, Given]) -> None:
        """All that refers to compiled nodes: criteria, outcomes, stop, log rates, dispersions, constants that nobody takes."""
        problems: list[Problem] = []
        config, root = self.config, self._root

        def find(location: list[str | int], topic: str, field: str) -> FieldRef | None:
            found = find_field(topic, field, self._nominal)
            if isinstance(found, FieldRef):
                return found
            file = file_of(root, [*location, found[0]], shown(self.path))
            problems.append(Problem(file, f"{key_of(root, location)}.{found[0]}", found[1]))
            return None

        for i, c in enumerate(config.criterion):
            ref = find(["criterion", i], c.topic, c.field)
            if ref is not None:
                self.criteria.append((c, ref))
        for name, o in config.outcome.items():
            ref = find(["outcome", name], o.topic, o.field)
            if ref is not None:
                self.outcomes[name] = (o, ref)
        if config.bench.stop is not None:
            ref = find(["bench", "stop"], config.bench.stop.topic, config.bench.stop.field)
            text = self._stop_problem(ref) if ref is not None else None
            if text:
                problems.append(Problem(file_of(root, ["bench", "stop"], ""), "bench.stop.field", text))
        known = [config.bench.success, LOST, DONE, *config.outcome]
        if self.expect not in known:
            problems.append(Problem(file_of(root, ["bench", "expect"], ""), "bench.expect", f'"{self.expect}" is not a known '
                                    f"outcome, allowed {', '.join(known)} (others need an [outcome] entry)"))
        for plan in self.plans:
            for topic in plan.log:
                topics = self._nominal[plan.name].topics
                if topic not in topics:
                    text = f"the node has no such topic{unknown(topic, topics)}"
                    problems.append(Problem(plan.file, f"{plan.key}.log.{topic}", text))
        self._dispersals = bind_dispersals(root, config, self.plans, self._nominal, problems)
        self._check_constants(options, problems)
        if problems:
            raise ConfigError(dict.fromkeys(problems))

    def _check_upsets(self) -> None:
        """Upsets must name a bit that there is, in a string that there is."""
        problems = []
        for k, u in enumerate(self.config.strings.upset if self.config.strings is not None else []):
            there = u.string < len(self.strings)
            place = upset_place(self._nominal[self.strings[u.string]], u) if there else f"there are {len(self.strings)} strings, from 0 on"
            if isinstance(place, str):
                problems.append(Problem(file_of(self._root, ["strings", "upset", k, "string"], shown(self.path)), f"strings.upset[{k}]", place))
        if problems:
            raise ConfigError(problems)

    def _check_lines(self) -> None:
        """Serial lines must be fast enough for what is said on them."""
        if any(p.where.startswith("serial:") for p in self.plans):
            from hil.link.budget import line_problems

            problems = line_problems(self, shown(self.path))
            if problems:
                raise ConfigError(problems)

    @property
    def nominal(self) -> Mapping[str, CompiledNode]:
        """Nodes as compiled without dispersions, by name."""
        return self._nominal

    def _stop_problem(self, ref: FieldRef) -> str | None:
        dtype = self._nominal[ref.node].topics[ref.topic].type.dtype.fields[ref.field][0]  # type: ignore[index]
        if ref.index is not None or dtype.str[1:] not in ("u1", "u2", "u4", "f8"):
            return f'"{ref.field}" cannot stop a flight: a single uint8, uint16, uint32 or float64 is wanted'
        return None

    def _check_constants(self, options: Mapping[str, Given], problems: list[Problem]) -> None:
        """[constants] and options must be taken by a task of this bench; a vehicle's may be meant for other known tasks."""
        used = {name for node in self._nominal.values() for name in node.used_constants}
        here = {n for node in self._nominal.values() for t in node.tasks for n in t.type.params}
        everywhere = {n for t in self.task_types.values() for n in t.params}
        for name, given in self.constants.items():
            own = name in options or given.key.startswith("constants")
            if name not in used and (own or name not in everywhere):
                problems.append(Problem(given.file, given.key, "no task has a parameter of this name"
                                        f"{suggestion(name, here if own else everywhere)}"))

    # ---- using -----------------------------------------------------------------------------------------------------

    def compiled(self, seed: int | None = None) -> list[CompiledNode]:
        """Nodes as flown with this seed: dispersed, except with seed 0. Raises ConfigError."""
        seed = self.seed if seed is None else seed
        if seed not in self._cache:
            values = dispersed(self._dispersals, self._nominal, seed) if seed else {}
            touched = {node for node, _ in values}
            self._cache.clear()  # one seed at a time: campaigns use thousands
            self._cache[seed] = [self._recompiled(p, values) if p.name in touched else self._nominal[p.name]
                                 for p in self.plans]
        return self._cache[seed]

    def _recompiled(self, plan: NodePlan, values: Mapping[tuple[str, str], Mapping[str, Given]]) -> CompiledNode:
        spec = self._spec(plan)
        spec = NodeSpec(spec.name, with_params(spec.tasks, plan.name, values), spec.base_tick_ns, spec.inputs)
        return compile_node(spec, self.task_types, self.messages, self.constants)

    def params(self, node: str, task: str, seed: int | None = None) -> np.ndarray[Any, Any]:
        """Parameter record of a task as flown with this seed. KeyError when there is none."""
        compiled = next((c for c in self.compiled(seed) if c.name == node), None)
        if compiled is None or task not in [t.spec.name for t in compiled.tasks]:
            raise KeyError(f"{node}.{task}")
        record = compiled_params(compiled, task)
        if record is None:
            raise KeyError(f"{node}.{task} has no parameters")
        return record

    def dispersed_values(self, seed: int | None = None) -> dict[str, Any]:
        """`node.task.parameter` to its dispersed value, for this seed; empty for seed 0."""
        seed = self.seed if seed is None else seed
        values = dispersed(self._dispersals, self._nominal, seed) if seed else {}
        return {f"{node}.{task}.{key}": given.value for (node, task), row in values.items() for key, given in row.items()}

    @property
    def has_python_tasks(self) -> bool:
        """True when results are exact for this interpreter and these library versions only."""
        return any(self.task_types[t.type].python is not None for p in self.plans for t in p.tasks)

    def channels(self) -> list[ChannelDef]:
        """Topics that a log of this bench holds."""
        from flightsw.log import ChannelDef
        from hil.link.selection import sent

        out = []
        for plan in self.plans:
            unsent = frozenset() if plan.where == "here" else {n for n, t in self._nominal[plan.name].topics.items()
                                                               if t.writer is not None} - sent(self, plan)
            for name, topic in self._nominal[plan.name].topics.items():
                if name in unsent:
                    continue
                wanted = plan.record == "all" or (plan.record == "outputs" and topic.writer is not None)
                every = plan.log.get(name, 1 if wanted else 0)
                if every:
                    out.append(ChannelDef(plan.name, name, topic.type, every))
            if plan.role == "flight_computer":
                out += [ChannelDef(plan.name, INPUTS, self.messages["fsw_gate_t"]), ChannelDef(plan.name, SKIPS, self.messages["fsw_skip_t"])]
            if plan.name in self.strings:
                out += [ChannelDef(plan.name, UPSETS, self.messages["fsw_upset_t"]),
                        ChannelDef(plan.name, RESTORES, self.messages["fsw_restore_t"])]
        if self.real_time is not None:
            out += [ChannelDef("host", "late", self.messages["fsw_late_tick_t"]),
                    ChannelDef("host", "overruns", self.messages["fsw_overrun_t"])]
        return out

    def start(self, seed: int | None = None, log: Path | None = None, prepare: Callable[[Flight], None] | None = None) -> Flight:
        """A flight at tick 0. seed: the file's when None. log: write an MCAP log there.

        prepare: called with the flight before its log is opened; it may restore a snapshot, and add to `Flight.told`.
        """
        return Flight(self, self.seed if seed is None else seed, log, prepare)


class Flight:
    """A running bench. Use as a context manager, or close it: that completes its log.

    told: further metadata of the log, by name.
    """

    def __init__(self, bench: Bench, seed: int, log: Path | None = None, prepare: Callable[[Flight], None] | None = None) -> None:
        self.bench, self.seed, self.stopped = bench, seed, False
        self.told: dict[str, Mapping[str, str]] = {}
        compiled = bench.compiled(seed)
        self.graph = Graph(compiled, bench.links, bench.messages, seed)
        stop = bench.config.bench.stop
        if stop is not None:
            node, topic = stop.topic.split(".")
            self.graph.set_stop(node, topic, stop.field, stop.equals, self._ticks(stop.hold_s))
        self._slice = 64
        self._writer: LogWriter | None = None
        self._log_path = log
        self._keyframe_ticks = max(1, self._ticks(bench.config.bench.keyframe_s))
        self._last_keyframe = -1
        self.real_time: RealTimeReport | None = None
        self.noise: RealTimeReport | None = None
        attach(self.graph, bench.recorded, bench.messages, bench.base_tick_ns)
        self._remote: Any = self._start_remote()
        self.keeper = StringKeeper(self) if bench.strings else None
        try:
            if prepare is not None:
                prepare(self)
            if log is not None:
                self._open_log(log, compiled)
        except BaseException:
            self.close(complete=False)
            raise

    # ---- where it is -----------------------------------------------------------------------------------------------

    @property
    def tick(self) -> int:
        """Base ticks completed."""
        return self.graph.tick

    @property
    def t_s(self) -> float:
        """Mission elapsed time, s."""
        return self.graph.tick * self.bench.base_tick_ns / 1e9

    @property
    def remote(self) -> Groups | None:
        """Boards that run elsewhere."""
        groups: Groups | None = self._remote
        return groups

    def node(self, name: str) -> NodeView:
        """Topics, states and parameters of a node, as views. KeyError when there is none of that name."""
        return self.graph.nodes[name]

    def _ticks(self, seconds: float) -> int:
        return round(seconds * 1e9 / self.bench.base_tick_ns)

    # ---- going on --------------------------------------------------------------------------------------------------

    def step(self, n: int = 1) -> None:
        """Run n ticks, past any stop condition. Raises StepError when a task fails."""
        self._advance(self.tick + n, True, None)

    def run(self, until: float | None = None, progress: Callable[[float], None] | None = None) -> None:
        """Run to the stop condition, the bench's duration, or `until` seconds of mission time, whichever comes first.

        progress: called with the mission time now and then. Raises StepError when a task fails.
        """
        end = self.bench.duration_s if until is None else min(until, self.bench.duration_s)
        if self.stopped:
            return
        if self.bench.real_time is not None:
            self._run_real_time(self._ticks(end), progress)
        else:
            self._advance(self._ticks(end), False, progress)

    def _run_real_time(self, target: int, progress: Callable[[float], None] | None) -> None:
        """Against the wall clock. Raises BenchUnavailable when this computer fell too far behind, StepError for a missed deadline."""
        wanted = self.bench.real_time
        assert wanted is not None
        config = RealTimeConfig(**wanted.model_dump(exclude={"noise_s"}))
        shed = [p.name for p in self.bench.plans if p.role == "flight_computer"]
        self.noise = realtime.noise(wanted.noise_s, self.bench.base_tick_ns, config) if wanted.noise_s else None
        driver = RealTime(self.graph, config, target, keyframe_ticks=self._keyframe_ticks if self._writer is not None else 0, shed=shed,
                          channels=self._writer.channel_map if self._writer is not None else None)
        if self._writer is not None:
            self._writer.keyframe_source = driver.next_keyframe
        with no_collections(self.bench.has_python_tasks):
            driver.start()
            try:
                while driver.wait(0.1) == realtime.RUNNING:
                    if progress is not None:
                        progress(driver.tick * self.bench.base_tick_ns / 1e9)
            finally:
                driver.stop()
                self.real_time = self._guarded(driver.join)
        self._end_real_time(self.real_time)

    def _end_real_time(self, report: RealTimeReport) -> None:
        if self._writer is not None:
            flat = {k: str(v) for k, v in report.as_dict().items() if isinstance(v, int | float | str)}
            self._writer.note("real_time", {**flat, **report.granted, **{f"late_{k}_us": f"{v:.3f}" for k, v in report.late_us.items()}})
        self.stopped = report.state == realtime.STOPPED
        at = f"at tick {self.tick} ({self.t_s:.3f} s)"
        if report.state == realtime.TOO_LATE:
            raise BenchUnavailable(f"{at}: this computer is behind the clock by more than stop_ticks; {report.missed} ticks were missed")
        if report.state == realtime.DEADLINE:
            missed = [f'"{t.task}" of node "{t.node}"' for t in report.tasks if t.misses]
            raise StepError(f'{at}: a task whose on_miss is "stop" missed its deadline; tasks with misses: {", ".join(missed)}')

    def _advance(self, target: int, past_stop: bool, progress: Callable[[float], None] | None) -> None:
        while self.tick < target:
            before, began, keyframe = self.tick, time.perf_counter(), self._next_keyframe()
            keeper = self.keeper.next_tick(before) if self.keeper is not None else target
            rc = self._core_run(min(target, before + self._slice, keyframe, keeper))
            spent, ran = time.perf_counter() - began, self.tick - before
            if rc == NEED_DRAIN and self._writer is not None:
                self._writer.drain()
                if ran == 0 and self._core_run(before + 1) == NEED_DRAIN:
                    raise FlightswError("the log buffer is too small for the records of one tick")
            if ran:  # only how the ticks are cut into calls depends on the clock, not what they do
                self._slice = max(1, min(4 * self._slice, 1_000_000, int(ran * _SLICE_S / max(spent, 1e-6))))
            if self._writer is not None and self.tick == keyframe:
                self._keyframe()
            if self.keeper is not None and ran:  # what it does comes behind the keyframe of this tick
                self.keeper.act()
            if progress is not None:
                progress(self.t_s)
            if rc == STOPPED:
                self.stopped = True
                if not past_stop:
                    return

    def note_restore(self, node: str, healthy: str, from_tick: int, inputs: int) -> None:
        """The image of a node was replaced: into the log, with a keyframe of this tick."""
        if self._writer is None:
            return
        self._writer.drain()
        channel = self._writer.channel_map[node, RESTORES][0]
        restore_record(self.graph, self._writer.recorder, channel, node, from_tick, healthy, inputs)
        self._keyframe()

    def _next_keyframe(self) -> int:
        """The first tick of a keyframe after this one (without a log as well: then it is only a place to pause)."""
        return (max(self.tick, self._last_keyframe) // self._keyframe_ticks + 1) * self._keyframe_ticks

    def _core_run(self, until: int) -> int:
        return self._guarded(lambda: self.graph.run(until))

    def _guarded(self, run: Callable[[], T]) -> T:
        try:
            return run()
        except (FlightswError, KeyboardInterrupt):
            raise
        except Exception as exc:  # of a Python task
            node = self.graph.compiled[self.graph.bench.error_node]
            last = traceback.extract_tb(exc.__traceback__)[-1]
            raise StepError(f'node "{node.name}", tick {self.tick}: {type(exc).__name__}: {exc} '
                            f"({Path(last.filename).name} line {last.lineno})") from exc

    # ---- going back ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """All images at this tick."""
        return self.graph.snapshot()

    def restore(self, snap: Snapshot) -> None:
        """Go to a snapshot. A flight that is being logged cannot (FlightswError): fork it instead."""
        if self._writer is not None:
            raise FlightswError("a flight that is being logged cannot go back in time: fork it and restore the fork")
        self.graph.restore(snap)
        self.stopped = False

    def fork(self) -> Flight:
        """A second flight from here, without a log. What happens to one does not touch the other."""
        if self._remote is not None and not self._remote.forkable:
            raise FlightswError("a flight with boards that somebody else serves cannot be forked: they serve one flight")
        other = Flight(self.bench, self.seed)
        other.graph.restore(self.graph.snapshot())
        return other

    # ---- ending ----------------------------------------------------------------------------------------------------

    def verdict(self) -> Verdict:
        """Judgement on the flight as it stands now."""
        verdict = judge(self.bench.criteria, self.bench.outcomes, self.bench.expect, self.graph.nodes,
                        self.bench.config.bench.success)
        verdict.summary.update({"t_end_s": self.t_s, "stopped": self.stopped})
        return verdict

    @property
    def log(self) -> Log:
        """What has been written so far. LogError when nothing is logged."""
        from flightsw.log import Log

        if self._log_path is None:
            raise LogError("this flight is not logged: start it with log=PATH")
        if self._writer is not None:
            self._writer.flush()
        return Log.open(self._log_path)

    def close(self, complete: bool = True) -> None:
        """Complete the log and let go of processes. complete=False marks the log as cut short. May be called twice."""
        remote, self._remote = self._remote, None
        complete = complete and not (remote is not None and remote.broken)
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                self._close_log(writer, complete)
        finally:
            if remote is not None:
                remote.close()

    def _close_log(self, writer: LogWriter, complete: bool) -> None:
        try:
            self.graph.flush_inputs()
            if self._last_keyframe != self.tick and complete:
                writer.keyframe(self.graph.snapshot(), self.graph.digests())
        finally:  # whatever the disk says: the thread ends and the file is closed
            self.graph.attach_recorder(ffi.NULL, {})
            writer.close(complete)

    def __enter__(self) -> Flight:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close(complete=kind is None)
        except LogError:
            if kind is None:  # otherwise what went wrong first is what counts
                raise

    def _keyframe(self) -> None:
        assert self._writer is not None
        self._last_keyframe = self.tick
        self._writer.keyframe(self.graph.snapshot(), self.graph.digests())

    def _open_log(self, path: Path, compiled: Sequence[CompiledNode]) -> None:
        from flightsw.log import LogWriter
        from hil.metadata import attachments, metadata

        rate = self._log_rate() if self.bench.real_time is not None else 0
        self._writer = LogWriter(path, self.bench.channels(), {**metadata(self.bench, self.seed, compiled), **self.told},
                                 attachments(self.bench, compiled),
                                 self.bench.base_tick_ns, real_time=rate)
        if rate:
            self._writer.reserve(round(rate * self.bench.duration_s))
        for group in self._remote.groups if self._remote is not None else ():
            group.make_room = self._writer.drain
        self.graph.attach_recorder(self._writer.recorder, self._writer.channel_map)
        self._keyframe()

    def _log_rate(self) -> int:
        """Bytes per second that a log gets at most, keyframes not counted: each recorded topic as often as its writer runs."""
        total = 0.0
        for c in self.bench.channels():
            node = next((n for n in self.graph.compiled if n.name == c.node), None)
            writer = node.topics[c.topic].writer if node is not None and c.topic in node.topics else None
            period = next((t.spec.period_ticks for t in node.tasks if t.spec.name == writer), 1) if node is not None else 64
            total += (c.type.size + 51) / (period * c.every)  # record and its index entry
        return round(total * 1e9 / self.bench.base_tick_ns)

    def _start_remote(self) -> Any:
        if all(p.where == "here" for p in self.bench.plans):
            return None
        from hil.link import remote

        return remote.start(self)
