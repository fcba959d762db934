"""From a validated bench file to node plans and links: `for` and {k} expanded, schedules loaded, rates turned into ticks."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from flightsw.errors import ConfigError, Problem
from flightsw.graph import LinkSpec
from flightsw.params import Given, suggestion
from flightsw.schedule import TaskSpec
from flightsw.tasks import TaskType
from hil.config import BenchFile, Link, Node, Recording, ScheduleFile, Task, unknown, validate
from hil.toml_file import Table, file_of, key_of, merge_lists, read_toml, shown


@dataclass(frozen=True)
class NodePlan:
    """A node as it will be compiled. `base` is its name in the file, {k} not replaced; `replaced` are (type, reads) of tasks in
    whose place others stand now.
    """

    name: str
    base: str
    role: str
    record: str
    where: str
    tasks: tuple[TaskSpec, ...]
    log: Mapping[str, int]
    file: str
    key: str
    recording: Recording | None = None
    mapping: Table | None = None  # the table in which `recording` was written
    replaced: tuple[tuple[str, Mapping[str, str]], ...] = ()


@dataclass(frozen=True)
class Topics:
    """Topics that a node writes and reads, with their message types; `idle`: read only by tasks that were replaced."""

    writes: Mapping[str, str]
    reads: Mapping[str, str]
    idle: frozenset[str] = frozenset()


def fill(value: Any, k: int | None) -> Any:
    """Replace {k} in strings of any nesting; the bare text "{k}" as a parameter becomes the number."""
    if k is None:
        return value
    if isinstance(value, str):
        return value.replace("{k}", str(k))
    if isinstance(value, Mapping):
        return {fill(n, k): fill(v, k) for n, v in value.items()}
    return [fill(v, k) for v in value] if isinstance(value, list) else value


def ticks_of(task: Task, base_tick_ns: int) -> int | str:
    """Period in base ticks, or what is wrong with the rate."""
    if task.period_ticks is not None:
        return task.period_ticks
    if task.rate_hz is None:
        return "is missing, allowed 1 to 1000000 (or give rate_hz)"
    per_second = Fraction(10**9, base_tick_ns)
    exact = per_second / Fraction(str(task.rate_hz))
    if exact.denominator == 1:
        return int(exact)
    near = [n for n in (int(exact), int(exact) + 1) if n >= 1]
    legal = " or ".join(f"{float(per_second / n):.9g} Hz ({n} tick{'s' if n > 1 else ''})" for n in near)
    return f"{task.rate_hz:g} Hz is {float(exact):.6g} base ticks of {base_tick_ns} ns and cannot be exact; nearest: {legal}"


class Planner:
    """Expands one bench file; problems gather in `problems`."""

    def __init__(self, root: Table, config: BenchFile, path: Path, texts: dict[str, str]) -> None:
        self.root, self.config, self.path, self.texts = root, config, path, texts
        self.problems: list[Problem] = []
        self._schedules: dict[str, Table | None] = {}

    def nodes(self) -> list[NodePlan]:
        """All nodes, in the order of the file."""
        plans: list[NodePlan] = []
        for index, node in enumerate(self.config.node):
            where = ("node", index)
            file, key = self._at(where)
            many = "{k}" in node.name
            if many != (node.for_ is not None):
                self._say(file, f"{key}.for", "is missing: the name has a {k}" if many else
                                             "the name needs a {k} to tell the nodes apart")
                continue
            tasks = self._tasks(node, where)
            if tasks is None:
                continue
            replaced = tuple((str(old.get("type")), dict(old.get("reads", {})))
                             for row in self._rows(node, where) or [] for old in row.replaced)
            for k in range(node.for_) if node.for_ is not None else [None]:
                plan = self._plan(node, tasks, k, (file, key))
                plan = replace(plan, mapping=self.root["node"][index] if node.recording is not None else None)
                plans.append(replace(plan, replaced=tuple((t, fill(reads, k)) for t, reads in replaced)))
        names: dict[str, NodePlan] = {}
        for plan in plans:
            if plan.name in names:
                self._say(plan.file, f"{plan.key}.name", f'there are two nodes with the name "{plan.name}"')
            names[plan.name] = plan
        return plans

    def _say(self, file: str, key: str, text: str) -> None:
        self.problems.append(Problem(file, key, text))

    def _at(self, location: Sequence[str | int]) -> tuple[str, str]:
        return file_of(self.root, [*location, "name"], shown(self.path)), key_of(self.root, location)

    def _plan(self, node: Node, tasks: Sequence[TaskSpec], k: int | None, at: tuple[str, str]) -> NodePlan:
        filled = tuple(replace(t, name=fill(t.name, k), reads=fill(t.reads, k), writes=fill(t.writes, k),
                               params={n: replace(g, value=_number(g.value, k)) for n, g in t.params.items()}) for t in tasks)
        return NodePlan(fill(node.name, k), node.name, node.role, node.record, fill(node.where, k), filled, fill(node.log, k),
                        at[0], at[1], _filled_recording(node.recording, k))

    def _schedule(self, name: str, file: str, key: str) -> Table | None:
        """A schedule file as a table, checked by itself; None when it is of no use."""
        if name not in self._schedules:
            self._schedules[name] = None
            path = self.path.parent / name
            if not path.is_file():
                self._say(file, f"{key}.schedule", f"there is no file {shown(path)}")
                return None
            try:
                table = read_toml(path, self.texts)
                validate(ScheduleFile, table, shown(path))
                self._schedules[name] = table
            except ConfigError as exc:
                self.problems += exc.problems
        return self._schedules[name]

    def _rows(self, node: Node, where: tuple[str, int]) -> list[Table] | None:
        """Task tables of a node: those of its schedule, its own laid over them. None when the schedule is of no use."""
        file, key = self._at(where)
        own: list[Table] = self.root["node"][where[1]].get("task", [])
        if node.schedule is None:
            return own
        table = self._schedule(node.schedule, file, key)
        return None if table is None else merge_lists(table["task"], own, "task")

    def _tasks(self, node: Node, where: tuple[str, int]) -> list[TaskSpec] | None:
        file, key = self._at(where)
        if node.recording is not None:
            return []
        own = self.root["node"][where[1]].get("task", [])
        rows = self._rows(node, where)
        if rows is None:
            return None
        if not rows:
            self._say(file, key, "a node needs a schedule or a [[node.task]]")
            return None
        merged = Table({"task": rows}, file)
        tasks = validate(ScheduleFile, merged, file).task
        mine = {t.get("name") for t in own}
        return [self._spec(task, merged, i, key if task.name in mine else "") for i, task in enumerate(tasks)]

    def _spec(self, task: Task, table: Table, index: int, prefix: str) -> TaskSpec:
        raw = table["task"][index]
        file = raw.files.get("name", shown(self.path))
        key = f"{prefix}.task[{task.name}]" if prefix else f"task[{task.name}]"
        ticks = ticks_of(task, self.config.bench.base_tick_ns)
        if isinstance(ticks, str):
            self._say(file, f"{key}.{'rate_hz' if task.rate_hz is not None else 'period_ticks'}", ticks)
            ticks = 1_000_000
        if task.type is None:
            self._say(file, f"{key}.type", "is missing: no task of this name stands in the schedule")
        params = {n: Given(v, raw["params"].files.get(n, file), f"{key}.params.{n}") for n, v in task.params.items()}
        return TaskSpec(task.name, task.type or "", ticks, task.phase_ticks, task.budget_us, task.deadline_us, task.critical,
                        task.on_miss, task.reads, task.writes, params, file, key)

    # ---- links -------------------------------------------------------------------------------------------------------------

    def links(self, plans: Sequence[NodePlan], types: Mapping[str, TaskType]) -> list[LinkSpec]:
        """All links between nodes that exist, checked end by end; what is wrong becomes a problem."""
        strangers = [(p, t) for p in plans for t in p.tasks if t.type not in types]
        for _, t in strangers:
            self._say(t.file, f"{t.key}.type", f'unknown task type "{t.type}"{suggestion(t.type, types)}')
        if strangers:
            return []  # what they read and write is not known
        topics = {p.name: topics_of(p, types) for p in plans}
        taken: dict[tuple[str, str], str] = {}
        out: list[LinkSpec] = []
        for index, link in enumerate(self.config.link):
            file, key = file_of(self.root, ["link", index, "from"], shown(self.path)), key_of(self.root, ["link", index])
            if ("{k}" in link.from_ + "".join(link.to)) != (link.for_ is not None):
                self._say(file, f"{key}.for", "is missing: {k} is used" if link.for_ is None else
                                             "nothing in this link has a {k}")
                continue
            for k in range(link.for_) if link.for_ is not None else [None]:
                for spec in _one_link(link, k):
                    if self._link_fits(spec, topics, (file, key)):
                        end = (spec.dst_node, spec.dst_topic)
                        if end in taken:
                            self._say(file, f"{key}.to", f'"{".".join(end)}" is already fed by {taken[end]}')
                            continue
                        taken[end] = f"{spec.src_node}.{spec.src_topic}"
                        out.append(spec)
        return out

    def _link_fits(self, link: LinkSpec, topics: Mapping[str, Topics], at: tuple[str, str]) -> bool:
        file, key = at
        before = len(self.problems)
        for end, node in (("from", link.src_node), ("to", link.dst_node)):
            if node not in topics:
                self._say(file, f"{key}.{end}", f'there is no node "{node}"{unknown(node, topics)}')
        if len(self.problems) > before:
            return False
        if link.dst_topic in topics[link.dst_node].idle:
            return False  # its reader was replaced by a task that does not want it: nothing is wrong, nothing is linked
        written, read = topics[link.src_node].writes, topics[link.dst_node].reads
        if link.src_topic not in written:
            self._say(file, f"{key}.from", f'node "{link.src_node}" writes no topic "{link.src_topic}"'
                                         f"{unknown(link.src_topic, written)}")
        if link.dst_topic not in read:
            self._say(file, f"{key}.to", f'no task of node "{link.dst_node}" reads a topic "{link.dst_topic}"'
                                         f"{unknown(link.dst_topic, read)}")
        elif link.dst_topic in topics[link.dst_node].writes:
            self._say(file, f"{key}.to", f'"{link.dst_node}.{link.dst_topic}" is written by a task of that node')
        elif link.src_topic in written and written[link.src_topic] != read[link.dst_topic]:
            self._say(file, f"{key}.to", f'"{link.src_node}.{link.src_topic}" is {written[link.src_topic]}, but '
                                         f'"{link.dst_node}.{link.dst_topic}" is {read[link.dst_topic]}')
        return len(self.problems) == before


def _filled_recording(recording: Recording | None, k: int | None) -> Recording | None:
    return None if recording is None else recording.model_copy(update={"file": fill(recording.file, k)})


def _number(value: Any, k: int | None) -> Any:
    return k if value == "{k}" and k is not None else value


def _one_link(link: Link, k: int | None) -> list[LinkSpec]:
    source = fill(link.from_, k).split(".")
    ends = [fill(to, k).split(".") for to in link.to]
    return [LinkSpec(source[0], source[1], end[0], end[1], link.latency_ticks) for end in ends]


def topics_of(plan: NodePlan, types: Mapping[str, TaskType]) -> Topics:
    """What a node's tasks write and read. Tasks of unknown type have no topics."""
    writes: dict[str, str] = {} if plan.recording is None else {plan.recording.topic: plan.recording.type}
    reads: dict[str, str] = {}
    idle: set[str] = set()
    for spec in plan.tasks:
        kind = types.get(spec.type)
        if kind is not None:
            writes |= {spec.writes.get(p.name, p.name): p.type for p in kind.writes}
            reads |= {spec.reads.get(p.name, p.name): p.type for p in kind.reads}
    for name, renamed in plan.replaced:
        idle |= {renamed.get(p.name, p.name) for p in (types[name].reads if name in types else ())}
    writes.pop("", None)
    reads.pop("", None)
    return Topics(writes, reads, frozenset(idle - set(reads)))


def select(patterns: Sequence[str] | None, plans: Sequence[NodePlan], problem: Callable[[str], None]) -> list[str]:
    """Names of nodes meant by names, by names with {k} or *, or all. `problem` gets a sentence for each that means none."""
    if patterns is None:
        return [p.name for p in plans]
    out: list[str] = []
    for pattern in patterns:
        found = [p.name for p in plans if pattern in (p.name, p.base) or fnmatch.fnmatchcase(p.name, pattern)]
        if not found:
            problem(f'there is no node "{pattern}"{suggestion(pattern, [p.name for p in plans])}')
        out += [n for n in found if n not in out]
    return out
