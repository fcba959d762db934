"""The parent of a fork: what its log says about the bench that was flown. Code is never taken from a log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from flightsw.errors import ConfigError, LogError, Problem
from flightsw.graph import Graph, LinkSpec, Snapshot
from flightsw.log import Log
from flightsw.log.layout import layout_of, structure_differences
from flightsw.replay import Library
from flightsw.replay.patch import parameter_differences
from flightsw.replay.source import layout_in, node_in, seed_of
from flightsw.schedule import CompiledNode
from hil.at_hand import CODE, bench_path, recorded_overlay, refuse_table
from hil.bench import Bench
from hil.run import LOG, RUN
from hil.toml_file import read_extended
from hil.verdict import judge

DEEP = 32  # steps upwards that a configuration may take from its bench file


# ---- configuration ------------------------------------------------------------------------------------------------------------


def has_code(log: Log) -> bool:
    """Does the bench of this log name tasks or libraries of its own?"""
    extensions = log.metadata.get("extensions", {})
    return any(extensions.get(k, "[]") != "[]" for k in CODE)


def bench_file(log: Log, scratch: Path) -> Path:
    """Path of the bench file that was flown: made anew below `scratch` from the texts in the log, or, when it names code, on disk.

    Raises LogError when neither is possible.
    """
    if has_code(log):
        path = bench_path(log)
        if path is None:
            named = log.metadata.get("extensions", {}).get("bench_path", "")
            raise LogError(f"{log.path}: its bench has tasks or libraries of its own, and code is never taken from a log: the "
                           f'bench file "{named}" is not there (start where it is found, or give --bench)')
        return path
    path = _recreate(log, scratch)
    _refuse_code(log, path)
    return path


def _recreate(log: Log, scratch: Path) -> Path:
    about = log.metadata.get("bench_file", {})
    first = f"config/{about.get('path', '')}"
    if first not in log.attachments:
        raise LogError(f"{log.path}: cannot be forked: it does not carry the bench file that was flown (give --bench)")
    try:
        places = json.loads(about.get("places", "{}"))
        base = scratch.joinpath(*["d"] * DEEP)
        out = {name: _place(name, places.get(name), base, scratch) for name in log.attachments if name.startswith("config/")}
    except (ValueError, AttributeError):
        raise LogError(f"{log.path}: cannot be forked: the places of its configuration files cannot be used") from None
    for name, path in out.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(log.attachments[name])
    return out[first]


def _place(name: str, stated: object, base: Path, scratch: Path) -> Path:
    """Where an attachment goes. Raises ValueError for a place outside the scratch folder."""
    given = PurePosixPath(name.removeprefix("config/")).parts
    ups = next((k for k, part in enumerate(given) if part != "up"), len(given))
    parts = PurePosixPath(stated).parts if isinstance(stated, str) else ("..",) * ups + given[ups:]
    rest = [p for p in parts if p != ".."]
    leading = len(parts) - len(rest)
    if not rest or leading > DEEP - 1 or parts[:leading] != ("..",) * leading or any("\\" in p or "\0" in p or ":" in p or p == "/"
                                                                                     for p in rest):
        raise ValueError(name)
    path = base
    for _ in range(leading):
        path = path.parent
    path = path.joinpath(*rest)
    if not path.is_relative_to(scratch):
        raise ValueError(name)
    return path


def _refuse_code(log: Log, path: Path) -> None:
    """A configuration that came with a log must not make us load code or talk to anybody."""
    try:
        tables: list[Mapping[str, Any]] = [recorded_overlay(log), read_extended(path, {})]
    except ConfigError as exc:
        raise LogError("\n".join(f"{log.path}: its configuration cannot be used: {p.key}: {p.text}"
                                 for p in exc.problems)) from None
    refuse_table(log, tables[1])
    remotes = [t["remote"] for t in tables if isinstance(t.get("remote"), Mapping)]
    remote = [g for t in remotes for g, v in t.items() if isinstance(v, Mapping) and v.get("endpoint")]
    if remote:
        raise LogError(f"{log.path}: its boards are served at an endpoint (remote.{remote[0]}): give --bench with a file that "
                       "you trust")


def without_scratch(exc: ConfigError, scratch: Path) -> ConfigError:
    """The same problems with files named as in the log."""
    base = scratch.joinpath(*["d"] * DEEP)

    def name(file: str) -> str:
        path = Path(file)
        return f"{path.relative_to(scratch).name} (in the log)" if path.is_relative_to(scratch) else file.replace(f"{base}/", "")

    return ConfigError([Problem({"overlay": "--fault"}.get(p.file, name(p.file)), p.key, p.text) for p in exc.problems])


# ---- what was flown ----------------------------------------------------------------------------------------------------------


def flown_nodes(log: Log, library: Library) -> list[CompiledNode]:
    """All nodes of the bench as they were flown, in order. LogError when the log does not carry them."""
    names = [a[7:] for a in log.attachments if a.startswith("layout/")]
    if not names:
        raise LogError(f"{log.path}: cannot be forked: it carries no load blobs")
    return [node_in(log, name, library) for name in names]


def flown_links(log: Log) -> list[LinkSpec] | None:
    """Links of the bench as they were flown; None in a log that does not tell."""
    text = log.metadata.get("links", {}).get("links")
    if text is None:
        return None
    try:
        return [LinkSpec(**row) for row in json.loads(text)]
    except (ValueError, TypeError):
        raise LogError(f'{log.path}: metadata "links" cannot be read') from None


def refuse_other(log: Log, bench: Bench) -> None:
    """LogError with every difference between a bench and what the log says was flown."""
    found = []
    compiled = {n.name: n for n in bench.compiled(seed_of(log))}
    names = [a[7:] for a in log.attachments if a.startswith("layout/")]
    found += [f'node "{n}" is in the log, not in its configuration' for n in names if n not in compiled]
    found += [f'node "{n}" is in the configuration, not in the log' for n in compiled if n not in names]
    library = Library(bench.task_types, bench.messages)
    for name in names:
        if name not in compiled or compiled[name].blob == log.attachments[f"blob/{name}"]:
            continue
        here = [f'node "{name}": {d}' for d in structure_differences(layout_in(log, name), json.loads(layout_of(compiled[name])))]
        here = here or [d.sentence() for d in parameter_differences(node_in(log, name, library), compiled[name])]
        found += here or [f'node "{name}": its initial state is computed differently']
    links = flown_links(log)
    if links is not None and links != bench.links:
        found += _link_differences(links, bench.links)
    if found:
        first = f"{log.path}: its own configuration does not give what was flown with the software at hand:"
        raise LogError("\n".join([first, *found]))


def _link_differences(log: Sequence[LinkSpec], here: Sequence[LinkSpec]) -> list[str]:
    def text(k: LinkSpec) -> str:
        return f"link {k.src_node}.{k.src_topic} to {k.dst_node}.{k.dst_topic}, latency {k.latency_ticks}"

    out = [f"{text(k)}: is in the log, not here" for k in log if k not in here]
    out += [f"{text(k)}: is here, not in the log" for k in here if k not in log]
    return out or ["links are in another order"]


def link_changes(log: Sequence[LinkSpec], here: Sequence[LinkSpec]) -> list[str]:
    """Links that a fork does not have, or has new."""
    return [] if list(log) == list(here) else _link_differences(log, here)


# ---- beside the images --------------------------------------------------------------------------------------------------------


def stop_held(log: Log, bench: Bench, tick: int) -> int:
    """For how many ticks the stop condition had held when `tick` ticks were complete; 0 where the log does not tell.

    The core counts them beside the images; the topic in the log tells when the condition came true.
    """
    stop = bench.config.bench.stop
    told = log.metadata.get("fork", {})
    begin, before = (int(told.get(k, "0")) if told.get(k, "0").isdigit() else 0 for k in ("tick", "stop_held"))
    name = f"/{stop.topic.replace('.', '/')}" if stop is not None else ""
    if stop is None or name not in log or log.channel(name).metadata.get("every", "1") != "1":
        return 0
    data = log[name]
    data = data[data["log_t_ns"] < tick * log.base_tick_ns]
    holds = np.asarray(data[stop.field] == stop.equals)
    false = np.flatnonzero(~holds)
    if len(false) == len(data) == 0 or not len(false):
        if before or (begin == 0 and stop.equals == 0.0):
            return tick - begin + before
        return tick - int(data["log_t_ns"][0]) // log.base_tick_ns if len(data) else 0
    after = int(false[-1]) + 1
    return tick - int(data["log_t_ns"][after]) // log.base_tick_ns if after < len(data) else 0


def parent_verdict(log: Log, bench: Bench, nodes: Sequence[CompiledNode], last: Snapshot) -> dict[str, Any]:
    """Outcome and criteria of the parent: of the run.json beside its log, else judged on its last keyframe, else empty."""
    beside = log.path.parent / RUN
    if log.path.name == LOG and beside.is_file():
        try:
            run = json.loads(beside.read_text("utf-8"))
            return {k: run[k] for k in ("outcome", "expected", "met", "criteria")}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
    if last.tick * log.base_tick_ns <= log.end_ns:
        return {}
    graph = Graph(nodes, [], bench.messages)
    for name, view in graph.nodes.items():
        view.image[:] = np.frombuffer(last.images[name], np.uint8)
    try:
        return judge(bench.criteria, bench.outcomes, bench.expect, graph.nodes, bench.config.bench.success).as_dict()
    except KeyError:
        return {}
