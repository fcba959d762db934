"""Pieces of loading a bench: `--set` options, a user's extensions, dispersed parameters, references to fields of topics."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import tomllib
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flightsw._native import ffi
from flightsw.errors import ConfigError, Problem
from flightsw.flight_code import problems_of
from flightsw.messages import MessageType, dtype_of, load_messages
from flightsw.params import Given, suggestion
from flightsw.schedule import CompiledNode, TaskSpec
from flightsw.tasks import TaskType, builtin_tasks, load_plugin
from hil.config import BenchFile, unknown
from hil.dispersion import Law, offset, problem_with
from hil.plan import NodePlan, select
from hil.toml_file import OPTION, Table, file_of, key_of, shown

_HEAD = dtype_of(ffi.typeof("fsw_blob_head_t"))
_FIELD = re.compile(r"^(\w+)(?:\[(\d+)\])?$")
_BARE = re.compile(r"^[A-Za-z_][\w./:-]*$")


# ---- options -------------------------------------------------------------------------------------------------------


def parse_sets(sets: Iterable[str]) -> dict[str, Any]:
    """`key=value` options as a mapping, values read as TOML (a bare word is a text). Raises ConfigError."""
    out: dict[str, Any] = {}
    problems = []
    for text in sets:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key or not value:
            problems.append(Problem(OPTION, text, "is not of the form key=value"))
            continue
        try:
            out[key] = tomllib.loads(f"v = {value}")["v"]
        except (tomllib.TOMLDecodeError, RecursionError):
            if _BARE.match(value) is None:
                problems.append(Problem(OPTION, key, f"{value!r} is not a TOML value, such as 2.5, true, \"text\" or [1, 2]"))
            else:
                out[key] = value
    if problems:
        raise ConfigError(problems)
    return out


def apply_bench_sets(root: Table, sets: Mapping[str, Any]) -> dict[str, Any]:
    """Put `bench.*` options into the tree of a bench file; the rest is returned."""
    rest = {}
    for key, value in sets.items():
        path = key.split(".")
        if path[0] != "bench" or len(path) < 2:
            rest[key] = value
            continue
        table = root
        for part in path[:-1]:
            if not isinstance(table.get(part), Table):
                table.put(part, Table({}, OPTION), OPTION)
            table = table[part]
        table.put(path[-1], value, OPTION)
    return rest


def apply_task_sets(plans: Sequence[NodePlan], sets: Mapping[str, Any],
                    problems: list[Problem]) -> tuple[list[NodePlan], dict[str, Given]]:
    """Put `node.task.param` options into the plans. Returns them, and the options that are constants."""
    out = list(plans)
    constants = {}
    for key, value in sets.items():
        path = key.split(".")
        if len(path) == 1:
            constants[key] = Given(value, OPTION, key)
            continue
        if len(path) != 3:
            problems.append(Problem(OPTION, key, "is neither a constant, nor node.task.parameter, nor bench.key"))
            continue
        node, task, name = path
        chosen = select([node], out, lambda text, key=key: problems.append(Problem(OPTION, key, text)))  # type: ignore[misc]
        tasks = {t.name for p in out if p.name in chosen for t in p.tasks}
        if chosen and task not in tasks:
            problems.append(Problem(OPTION, key, f'node "{node}" has no task "{task}"{unknown(task, tasks)}'))
        for i, plan in enumerate(out):
            if plan.name in chosen:
                given = {name: Given(value, OPTION, key)}
                rows = tuple(replace(t, params={**t.params, **given}) if t.name == task else t for t in plan.tasks)
                out[i] = replace(plan, tasks=rows)
    return out, constants


# ---- a user's extensions -------------------------------------------------------------------------------------------


def load_extensions(config: BenchFile, folder: Path, root: Table) -> tuple[dict[str, TaskType], dict[str, MessageType]]:
    """Task types and messages of the package and of the files that the bench names. Raises ConfigError."""
    problems: list[Problem] = []
    types = dict(builtin_tasks())
    messages: dict[str, MessageType] = {}

    def add(found: Iterable[TaskType], file: str) -> None:
        for kind in found:
            if kind.name in types:
                problems.append(Problem(file, kind.name, "a task type of this name is already there"))
            types[kind.name] = kind

    try:
        messages = load_messages([folder / m for m in config.bench.messages])
    except ConfigError as exc:
        problems += exc.problems
    for plugin in config.bench.plugins:
        missing = [h for h in plugin.headers if not (folder / h).is_file()]
        file = file_of(root, ["bench", "plugins"], "")
        problems += [Problem(file, "bench.plugins.headers", f"there is no file {shown(folder / h)}") for h in missing]
        if not missing:
            try:
                headers = [folder / h for h in plugin.headers]
                add(load_plugin(folder / plugin.library, headers, plugin.exact).values(), plugin.library)
            except ConfigError as exc:
                problems += exc.problems
    for name in config.bench.tasks:
        try:
            add(python_tasks(folder / name), shown(folder / name))
        except ConfigError as exc:
            problems += exc.problems
    if problems:
        raise ConfigError(problems)
    return types, messages


def python_tasks(path: Path) -> list[TaskType]:
    """Task types defined in a Python file. ConfigError names the line where the file failed, or where a task uses what flight code
    may not use.
    """
    file = shown(path)
    if not path.is_file():
        raise ConfigError.one(file, "", "there is no such file (bench.tasks)")
    name = f"flightsw_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError.one(file, "", "is not a Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles of the user's own need it
    try:
        spec.loader.exec_module(module)
    except ConfigError as exc:
        raise ConfigError([Problem(file, p.key, p.text) for p in exc.problems]) from None
    except Exception as exc:
        lines = [f.lineno for f in traceback.extract_tb(exc.__traceback__) if f.filename == str(path)]
        line = exc.lineno if isinstance(exc, SyntaxError) else lines[-1] if lines else None
        raise ConfigError.one(file, f"line {line}" if line else "", f"{type(exc).__name__}: {exc}") from exc
    found = {id(v): v for v in vars(module).values() if isinstance(v, TaskType) and v.python is not None}
    if not found:
        raise ConfigError.one(file, "", "defines no task: none of its functions is decorated with @flightsw.python_task")
    refused = [p for kind in found.values() if kind.exact for p in problems_of(kind)]
    if refused:
        raise ConfigError(dict.fromkeys(refused))
    return list(found.values())


# ---- parameters as compiled, and dispersed -------------------------------------------------------------------------


def compiled_params(node: CompiledNode, task: str) -> np.ndarray[Any, Any] | None:
    """Parameter record of a task as it stands in the load blob (a view that cannot be written); None when it has none."""
    found = next(t for t in node.tasks if t.spec.name == task)
    dtype = found.type.params_dtype
    if dtype is None:
        return None
    start = int(np.frombuffer(node.blob, _HEAD, 1)["off_image"][0]) + found.params_offset
    return np.frombuffer(node.blob, dtype, 1, start).reshape(())


@dataclass(frozen=True)
class Dispersal:
    """One [[disperse]] table bound to the parameters that it reaches. position: of its table, which names its random stream."""

    position: int
    key: str
    law: Law
    reaches: tuple[tuple[str, str], ...]  # (node, task)
    file: str
    where: str


def bind_dispersals(root: Table, config: BenchFile, plans: Sequence[NodePlan], nodes: Mapping[str, CompiledNode],
                    problems: list[Problem]) -> list[Dispersal]:
    """Find the parameters of each [[disperse]] table. Keys that no task has become problems."""
    out = []
    for position, table in enumerate(config.disperse):
        location: list[str | int] = ["disperse", position]
        file, where = file_of(root, [*location, "key"], ""), key_of(root, location)
        bad: list[str] = []
        chosen = select(table.nodes, plans, bad.append)
        problems += [Problem(file, f"{where}.nodes", text) for text in bad]
        law = Law(tuple(table.sigma) if table.sigma is not None else None, table.sigma_percent,
                  (table.uniform[0], table.uniform[1]) if table.uniform is not None else None)
        known: set[str] = set()
        reaches = []
        for name in chosen:
            for task in nodes[name].tasks:
                record = compiled_params(nodes[name], task.spec.name)
                known |= set(record.dtype.names or ()) if record is not None else set()
                if record is None or table.key not in (record.dtype.names or ()):
                    continue
                text = problem_with(law, np.asarray(record[table.key]))
                if text:
                    problems.append(Problem(file, where, f"{table.key} {text}"))
                reaches.append((name, task.spec.name))
        if chosen and not reaches:
            problems.append(Problem(file, f"{where}.key", f'no task of these nodes has a parameter "{table.key}"'
                                    f"{suggestion(table.key, known)}"))
        out.append(Dispersal(position, table.key, law, tuple(reaches), file, where))
    return out


def dispersed(dispersals: Sequence[Dispersal], nodes: Mapping[str, CompiledNode],
              seed: int) -> dict[tuple[str, str], dict[str, Given]]:
    """New parameter values by (node, task): nominal value plus the offsets of all tables, kept within the parameter's range."""
    total: dict[tuple[str, str, str], np.ndarray[Any, Any]] = {}
    source: dict[tuple[str, str, str], Dispersal] = {}
    for d in dispersals:
        for node, task in d.reaches:
            record = compiled_params(nodes[node], task)
            assert record is not None
            base = np.asarray(record[d.key])
            at = (node, task, d.key)
            total[at] = total.get(at, np.zeros(base.shape)) + offset(d.law, seed, d.position, base)
            source[at] = d
    out: dict[tuple[str, str], dict[str, Given]] = {}
    for (node, task, key), add in total.items():
        record = compiled_params(nodes[node], task)
        assert record is not None
        limits = next(t for t in nodes[node].tasks if t.spec.name == task).type.params.get(key)
        value = np.asarray(record[key]) + add
        if limits is not None:
            value = np.clip(value, limits.lo, limits.hi)
        d = source[node, task, key]
        out.setdefault((node, task), {})[key] = Given(value.tolist(), d.file, d.where)
    return out


def with_params(tasks: Sequence[TaskSpec], node: str, values: Mapping[tuple[str, str], Mapping[str, Given]]) -> list[TaskSpec]:
    """Task rows with parameters replaced."""
    return [replace(t, params={**t.params, **values.get((node, t.name), {})}) for t in tasks]


# ---- fields of topics ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FieldRef:
    """A number in a topic of a node. index: element of an array, None for a scalar."""

    node: str
    topic: str
    field: str
    index: int | None


def find_field(topic: str, field: str, nodes: Mapping[str, CompiledNode]) -> FieldRef | tuple[str, str]:
    """Resolve "node.topic" and "field" or "field[2]"; else (key, what is wrong)."""
    node, name = topic.split(".")
    if node not in nodes:
        return "topic", f'there is no node "{node}"{unknown(node, nodes)}'
    topics = nodes[node].topics
    if name not in topics:
        return "topic", f'node "{node}" has no topic "{name}"{unknown(name, topics)}'
    dtype = topics[name].type.dtype
    match = _FIELD.match(field)
    if match is None or match[1] not in (dtype.names or ()):
        return "field", f'{topics[name].type.name} has no field "{field}"{suggestion(field, dtype.names or ())}'
    assert dtype.fields is not None
    shape = dtype.fields[match[1]][0].shape
    index = int(match[2]) if match[2] is not None else None
    if shape and index is None:
        return "field", f'"{field}" has {shape[0]} elements: say which, as in "{match[1]}[0]"'
    if not shape and index is not None:
        return "field", f'"{match[1]}" is one number, without an index'
    if index is not None and index >= shape[0]:
        return "field", f'"{field}" is out of range, allowed [0] to [{shape[0] - 1}]'
    return FieldRef(node, name, match[1], index)
