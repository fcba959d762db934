"""The recorded inputs of flight computers, handed to a graph in the order in which they entered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from flightsw.errors import LogError
from flightsw.graph import SKIPS, UPSETS, Graph
from flightsw.log import mcap_format as mf
from flightsw.log.reader import Log
from flightsw.replay.plan import Plan
from flightsw.schedule import CompiledNode, Topic


@dataclass
class Feed:
    """What is fed. ends: (node, topic). ticks, which: per message, ascending; index into ends."""

    ends: list[tuple[str, str]]
    ticks: np.ndarray[Any, Any]
    which: np.ndarray[Any, Any]

    def entering(self, node: str, tick: int) -> list[str]:
        """Topics of a node with an input in a tick."""
        a, b = np.searchsorted(self.ticks, [tick, tick + 1]).tolist()
        names = [self.ends[k] for k in dict.fromkeys(self.which[a:b].tolist())]
        return [t for n, t in names if n == node]


def feed(log: Log, plan: Plan, graph: Graph, lenient: bool) -> Feed:
    """Let the graph be fed from the log.

    LogError when an input was not recorded as it entered; lenient: it then stays empty, and is listed.
    """
    base_tick_ns = plan.nodes[0].base_tick_ns
    ends: list[tuple[str, str]] = []
    columns: list[tuple[Any, Any]] = []
    for node in plan.nodes:
        for name, offsets, times in _inputs(log, node, plan, lenient):
            ends.append((node.name, name))
            columns.append((offsets, times))
    empty = np.zeros(0, np.int64)
    offsets = np.concatenate([c[0] for c in columns] or [empty])
    order = np.argsort(offsets, kind="stable")  # records lie in the file in the order in which they entered
    times = np.concatenate([c[1] for c in columns] or [empty])[order]
    which = np.repeat(np.arange(len(ends)), [len(c[0]) for c in columns])[order]
    ticks = times // base_tick_ns
    if len(ticks) and ((np.diff(ticks) < 0).any() or (times % base_tick_ns).any()):
        raise LogError(f"{log.path}: cannot be replayed: its inputs go back in time or lie between ticks")
    graph.set_feed(ends, ticks, which, offsets[order] + mf.MESSAGE_HEAD, log.data)
    return Feed(ends, ticks, which)


def _inputs(log: Log, node: CompiledNode, plan: Plan, lenient: bool) -> Iterator[tuple[str, Any, Any]]:
    """(topic, record offsets, times) of each input of a node, and of the decisions not to run tasks."""
    for topic in node.topics.values():
        if topic.writer is not None:
            continue
        name = f"/{node.name}/{topic.name}"
        problem = _unfit(log, name, topic)
        if problem:
            if not lenient:
                raise LogError(f"{log.path}: cannot be replayed: {problem}")
            plan.ignored.append(f"{problem}: it stays empty")
            continue
        records = log.records(name)
        yield topic.name, records.offsets, records.times()
    upsets = f"/{node.name}/{UPSETS}"
    if upsets in log and node.name in plan.same:
        records = log.records(upsets)
        yield UPSETS, records.offsets, records.times()
    skips = f"/{node.name}/{SKIPS}"
    if skips in log:
        records = log.records(skips)
        if node.name not in plan.same and len(records.offsets):
            plan.ignored.append(f"{len(records.offsets)} recorded decisions of {skips} not to run tasks: the schedule is another")
            return
        yield SKIPS, records.offsets, records.times()
    if lenient and node.name not in plan.same:
        mine = f"/{node.name}/"
        plan.ignored += [f"{t} was recorded, and nothing takes it here" for t in log.topics
                         if t.startswith(mine) and t[len(mine) :] not in node.topics and not t[len(mine) :].startswith("_")]


def _unfit(log: Log, name: str, topic: Topic) -> str:
    """Why recorded messages cannot be the input of a topic; empty when they can."""
    if name not in log:
        return f"input {name} was not recorded"
    told = log.channel(name).metadata
    every = told.get("every", "1")
    if every != "1":
        return f"of input {name} only one message in {every} was recorded"
    same = told.get("type_hash", f"{topic.type.type_hash:016x}") == f"{topic.type.type_hash:016x}"
    if not same or log.records(name).length != mf.MESSAGE_HEAD + topic.type.size:
        return f"input {name} has another layout than {topic.type.name} here"
    return ""
