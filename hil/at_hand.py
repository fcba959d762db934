"""The bench at hand against a log: loaded from its file, compiled with the log's seed, ready to be compared and flown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flightsw.errors import ConfigError, LogError
from flightsw.log import Log
from flightsw.replay import AtHand, Library
from flightsw.replay.source import seed_of
from hil.bench import Bench

CODE = ("tasks", "plugins")  # keys of [bench] that name code


def bench_path(log: Log) -> Path | None:
    """The bench file that a log names, if it is there."""
    text = log.metadata.get("extensions", {}).get("bench_path", "")
    return Path(text) if text and Path(text).is_file() else None


def own_code(log: Log) -> bool:
    """Does the bench of this log name code or messages of its own?"""
    extensions = log.metadata.get("extensions", {})
    return any(extensions.get(k, "[]") != "[]" for k in ("tasks", "messages", "plugins"))


def recorded_sets(log: Log) -> list[str]:
    """The `--set` options of the run. LogError when they cannot be read or name code."""
    found = _json(log, "sets", [])
    if not isinstance(found, list) or not all(isinstance(s, str) for s in found):
        raise LogError(f'{log.path}: "sets" of metadata "run" cannot be read')
    refuse_code(log, [s.partition("=")[0].strip() for s in found])
    return found


def recorded_overlay(log: Log) -> dict[str, Any]:
    """What was laid over the bench file in the run, such as the faults of a fork. LogError when it cannot be read or names code."""
    found = _json(log, "overlay", {})
    if not isinstance(found, dict):
        raise LogError(f'{log.path}: "overlay" of metadata "run" cannot be read')
    refuse_table(log, found)
    return found


def refuse_table(log: Log, table: Mapping[str, Any]) -> None:
    """LogError when a table of a bench file that came with a log names code."""
    section = table.get("bench")
    if isinstance(section, Mapping):
        refuse_code(log, [f"bench.{k}" for k in CODE if section.get(k)])


def refuse_code(log: Log, keys: Sequence[str]) -> None:
    """LogError when one of these keys, which came with a log, names code."""
    named = [k for k in keys if k.split(".")[0] == "bench" and set(k.split(".")[1:2]) & set(CODE)]
    if named:
        raise LogError(f"{log.path}: its configuration names code ({', '.join(named)}), which is never taken from a log")


def _json(log: Log, key: str, default: Any) -> Any:
    try:
        return json.loads(log.metadata.get("run", {}).get(key, "") or json.dumps(default))
    except (ValueError, RecursionError):
        raise LogError(f'{log.path}: "{key}" of metadata "run" cannot be read') from None


def library_of(path: Path) -> Library:
    """Task types and messages of a bench: those of the package and its own. Raises ConfigError."""
    bench = Bench.load(path)
    return Library(bench.task_types, bench.messages)


def at_hand(log: Log, path: Path, sets: Sequence[str] = ()) -> AtHand:
    """A bench file as it is now, with the options and the seed of the log. sets: further options.

    Raises LogError with everything that is wrong with the file.
    """
    try:
        options = [*recorded_sets(log), *sets]
        bench = Bench.load(path, options, recorded_overlay(log))
        seed = seed_of(log)
        nodes = {n.name: n for n in bench.compiled(seed)}
    except ConfigError as exc:
        first = f"{log.path}: cannot be compared with the bench at hand (--as-flown replays what the log carries):"
        raise LogError("\n".join([first, *map(str, exc.problems)])) from None
    return AtHand(str(path), nodes, Library(bench.task_types, bench.messages), options, Origins(bench, seed))


class Origins:
    """Where the parameters of a bench were written: call it with node, task and parameter for "file (key)"."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.dispersed = set(bench.dispersed_values(seed))

    def __call__(self, node: str, task: str, name: str) -> str:
        plan = next((p for p in self.bench.plans if p.name == node), None)
        row = next((t for t in plan.tasks if t.name == task), None) if plan is not None else None
        given = row.params.get(name) if row is not None else None
        given = given or self.bench.constants.get(name)
        note = ", dispersed" if f"{node}.{task}.{name}" in self.dispersed else ""
        if given is None:
            return f"{row.type if row is not None else task} (default of {name}{note})"
        return f"{given.file} ({given.key}{note})"
