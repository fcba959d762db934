"""A snapshot of one graph as the starting point of another: what both have goes on, what is new begins anew.

Topics are matched by node and name, and kept where the message type is the same; task states by node and name, kept where type
and layout are the same; messages under way on links by source topic and latency. Parameters are those of the new graph, and
random numbers go on with the seed of the snapshot. Between graphs compiled the same way this is a restore.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flightsw._native import ffi
from flightsw.errors import ConfigError
from flightsw.graph import Graph, LinkSpec, Snapshot
from flightsw.log.layout import describe
from flightsw.messages import dtype_of
from flightsw.schedule import CompiledNode, CompiledTask

_HEAD = dtype_of(ffi.typeof("fsw_image_head_t"))
_TOPIC_HEAD = 16


def adopt(graph: Graph, snapshot: Snapshot, flown: Sequence[CompiledNode], links: Sequence[LinkSpec] = ()) -> list[str]:
    """Let a graph go on from a snapshot of another one: of nodes `flown`, joined by `links`.

    Returns a sentence for everything that was not simply kept. Raises ConfigError when the snapshot is not of those nodes, or the
    base ticks differ.
    """
    said: list[str] = []
    before = {n.name: n for n in flown}
    images: dict[str, bytes] = {}
    for node in graph.compiled:
        old = before.pop(node.name, None)
        if old is None:
            images[node.name] = _anew(graph, node, snapshot)
            said.append(f'node "{node.name}" is new: it starts with its initial state')
            continue
        images[node.name] = _image(node, old, _checked(old, snapshot), graph.nodes[node.name].image.tobytes(), said)
        if node.base_tick_ns != old.base_tick_ns:
            raise ConfigError.one("snapshot", node.name, f"has a base tick of {old.base_tick_ns} ns, here it is "
                                  f"{node.base_tick_ns} ns: a tick would be another time")
    said += [f'node "{name}" is gone, and its state with it' for name in before]
    under_way = _links(graph, snapshot, (list(flown), list(links)), said)
    graph.restore(Snapshot(snapshot.tick, images, under_way))
    return said


def _checked(old: CompiledNode, snapshot: Snapshot) -> bytes:
    image = snapshot.images.get(old.name, b"")
    if len(image) != old.image_size or image[:8] != old.hash.to_bytes(8, "little"):
        raise ConfigError.one("snapshot", old.name, "is not of this node: its load blob has another hash")
    return image


def _anew(graph: Graph, node: CompiledNode, snapshot: Snapshot) -> bytes:
    """The node's image as loaded, at the snapshot's tick."""
    image = graph.nodes[node.name].image.tobytes()
    head = np.frombuffer(image, _HEAD, 1).copy()
    head["tick"] = snapshot.tick
    return head.tobytes() + image[_HEAD.itemsize :]


def _image(node: CompiledNode, old: CompiledNode, was: bytes, fresh: bytes, said: list[str]) -> bytes:
    if node.hash == old.hash:
        return was
    out = bytearray(fresh)
    head, past = np.frombuffer(fresh, _HEAD, 1).copy(), np.frombuffer(was, _HEAD, 1)
    for name in past.dtype.names or ():
        if name != "blob_hash":
            head[name] = past[name]
    head["skip_mask"] = _skips(int(past["skip_mask"][0]), old, node)
    out[: _HEAD.itemsize] = head.tobytes()
    for name, topic in node.topics.items():
        mate = old.topics.get(name)
        if mate is None or mate.type.type_hash != topic.type.type_hash:
            said.append(f"/{node.name}/{name} starts empty: " + ("there was no such topic" if mate is None else
                        f"it was {mate.type.name}, and is {topic.type.name} of another layout"))
            continue
        size = _TOPIC_HEAD + topic.type.size
        out[topic.offset : topic.offset + size] = was[mate.offset : mate.offset + size]
    said += [f"/{node.name}/{name} is gone" for name in old.topics if name not in node.topics]
    others = {t.spec.name: t for t in old.tasks}
    for task in node.tasks:
        _state(out, node, task, (others.pop(task.spec.name, None), was), said)
    said += [f'task "{node.name}.{name}" is gone, and its state with it' for name in others]
    return bytes(out)


def _state(out: bytearray, node: CompiledNode, task: CompiledTask, before: tuple[CompiledTask | None, bytes],
           said: list[str]) -> None:
    """The state of one task: kept where it fits."""
    mate, was = before
    label = f'task "{node.name}.{task.spec.name}"'
    if mate is None:
        said.append(f"{label} is new: it starts with its initial state")
        return
    if mate.type.name != task.type.name:
        said.append(f"{label} starts with its initial state: it was {mate.type.name}, and is {task.type.name}")
        return
    if describe(mate.type.state_dtype) != describe(task.type.state_dtype):
        said.append(f"{label} starts with its initial state: the layout of its state is another")
        return
    if task.type.state_dtype is not None:
        size = task.type.state_dtype.itemsize
        out[task.state_offset : task.state_offset + size] = was[mate.state_offset : mate.state_offset + size]


def _skips(mask: int, old: CompiledNode, node: CompiledNode) -> int:
    """A decision not to run tasks in the next tick, with the tasks' new places."""
    names = {t.spec.name for k, t in enumerate(old.tasks) if mask >> k & 1}
    return sum(1 << k for k, t in enumerate(node.tasks) if t.spec.name in names and k < 64)


# ---- links -------------------------------------------------------------------------------------------------------------------
# Layout of a link image: native/core/bench.c.


@dataclass(frozen=True)
class _Route:
    """Links of one source topic with one latency: position and depth of the topic's ring in the link image, and where they end."""

    source: tuple[str, str]
    latency: int
    type_hash: int
    size: int
    ring: int
    depth: int
    ends: frozenset[tuple[str, str]]

    def slot(self, sent: int) -> int:
        """Offset of the payload that was sent in a tick."""
        return self.ring + sent % self.depth * _up8(self.size)


def _up8(n: int) -> int:
    return -(-n // 8) * 8


@dataclass(frozen=True)
class _Map:
    """Due lists, routes in the order of their numbers, and size of a link image."""

    slots: int
    stride: int
    routes: tuple[_Route, ...]
    size: int

    def due(self, tick: int) -> int:
        """Offset of the list of what arrives in a tick."""
        return tick % self.slots * self.stride


def _map(nodes: Sequence[CompiledNode], links: Sequence[LinkSpec]) -> _Map:
    longest = max([1, *(k.latency_ticks for k in links)])
    slots = 2
    while slots <= longest:
        slots *= 2
    stride = _up8(2 * (len(links) + 2))
    at = slots * stride
    routes = []
    for node in nodes:
        for name, topic in node.topics.items():
            mine = [k for k in links if (k.src_node, k.src_topic) == (node.name, name)]
            latencies = list(dict.fromkeys(k.latency_ticks for k in mine))
            for latency in latencies:
                ends = frozenset((k.dst_node, k.dst_topic) for k in mine if k.latency_ticks == latency)
                routes.append(_Route((node.name, name), latency, topic.type.type_hash, topic.type.size, at, max(latencies), ends))
            at += max(latencies, default=0) * _up8(topic.type.size)
    return _Map(slots, stride, tuple(routes), at)


def _arrivals(image: bytes, where: _Map, tick: int) -> Iterator[tuple[int, _Route]]:
    """(tick of arrival, route) of every message under way, in the order in which they arrive."""
    for arrival in range(tick, tick + where.slots):
        at = where.due(arrival)
        count = int.from_bytes(image[at : at + 2], "little")
        numbers = np.frombuffer(image, "<u2", count, at + 4)
        for number in numbers.tolist():
            yield arrival, where.routes[number]


def _links(graph: Graph, snapshot: Snapshot, flown: tuple[list[CompiledNode], list[LinkSpec]], said: list[str]) -> bytes:
    """The link image of the graph with what was under way."""
    old, new = _map(*flown), _map(graph.compiled, graph.links)
    size = graph.bench.link_image_size
    if not flown[1] and not graph.links:
        return bytes(size)
    if len(snapshot.links) != old.size or new.size != size:
        raise ConfigError.one("snapshot", "links", "are not those of this bench: what is under way on them has another layout")
    if old == new:
        return snapshot.links
    out = bytearray(size)
    by_key = {(r.source, r.latency, r.type_hash): (k, r) for k, r in enumerate(new.routes)}
    lost: dict[str, int] = {}
    changed: dict[str, None] = {}
    for arrival, route in _arrivals(snapshot.links, old, snapshot.tick):
        name = f"/{route.source[0]}/{route.source[1]}"
        number, mate = by_key.get((route.source, route.latency, route.type_hash), (-1, None))
        if mate is None or not mate.ends & route.ends:
            lost[name] = lost.get(name, 0) + 1
            continue
        if mate.ends != route.ends:
            changed[f"messages of {name} under way arrive where its links end now"] = None
        sent = arrival - route.latency
        out[mate.slot(sent) : mate.slot(sent) + route.size] = snapshot.links[route.slot(sent) : route.slot(sent) + route.size]
        at = new.due(arrival)
        count = int.from_bytes(out[at : at + 2], "little")
        out[at : at + 2] = (count + 1).to_bytes(2, "little")
        out[at + 4 + 2 * count : at + 6 + 2 * count] = number.to_bytes(2, "little")
    said += changed
    said += [f"{n} message{'s' if n > 1 else ''} of {name} under way lost: no such link is left" for name, n in lost.items()]
    return bytes(out)


def under_way(snapshot: Snapshot, nodes: Sequence[CompiledNode], links: Sequence[LinkSpec]) -> list[tuple[int, str]]:
    """(tick of arrival, "/node/topic") of every message under way in a snapshot, in the order in which they arrive."""
    return [(arrival, "/" + "/".join(r.source)) for arrival, r in _arrivals(snapshot.links, _map(nodes, links), snapshot.tick)]


def wiring(links: Sequence[LinkSpec]) -> list[Mapping[str, str | int]]:
    """Links as plain data, for a log's metadata."""
    return [dict(k.__dict__) for k in links]
