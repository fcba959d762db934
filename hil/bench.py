"""Bench and Flight: load a bench file, fly it, look into it, go back, fork it.

    with Bench.load("bench_configs/hop.toml").start() as flight:
        flight.run(until=5.0)
        kept = flight.snapshot()
        flight.run()
        print(flight.verdict().outcome)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flightsw.errors import ConfigError, Problem
from flightsw.graph import INPUTS, RESTORES, SKIPS, UPSETS, LinkSpec
from flightsw.messages import MessageType
from flightsw.params import Given, suggestion
from flightsw.schedule import CompiledNode, NodeSpec, compile_node
from flightsw.tasks import TaskType
from hil.config import BenchFile, Condition, Criterion, RealTimeSection, unknown, validate
from hil.faults import INJECTOR, injector_params
from hil.flight import Flight
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
from hil.recording import Recorded, mapping_problems, split
from hil.strings import expand, upset_place
from hil.toml_file import Table, file_of, key_of, merge, read_extended, shown
from hil.vehicle import flatten, load_vehicle, name_sequence
from hil.verdict import DONE, LOST

if TYPE_CHECKING:
    from flightsw.log import ChannelDef

_OVERLAY = "overlay"


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
                problems += name_sequence(exc.problems)
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
