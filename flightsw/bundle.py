"""Bundle: a whole bench in one piece of memory, to fly it without Python, on any processor, from any tick.

The bytes are specified in native/include/flightsw/bundle.h; `fsw_bundle_load` there reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from flightsw._native import digest, ffi, lib
from flightsw.errors import ConfigError, Problem
from flightsw.graph import LinkSpec, Snapshot
from flightsw.messages import dtype_of
from flightsw.schedule import CompiledNode

_IMAGE_HEAD = dtype_of(ffi.typeof("fsw_image_head_t"))
_HASHED_FROM = 16


def bundle(nodes: Sequence[CompiledNode], links: Sequence[LinkSpec], start: int | Snapshot, *, python: bool = False) -> bytes:
    """Bytes of the bundle of a graph made of these nodes and links, in this order.

    start: seed of a flight from tick 0, or a snapshot of the graph from which to go on; it holds its seed.
    python: it is for a process that has the Python tasks too.
    Raises ConfigError for a node with Python tasks otherwise, since they cannot leave Python, and for a snapshot of other nodes or links.
    """
    problems = [Problem(n.name, t.spec.name, "is a Python task and cannot be put into a bundle")
                for n in nodes for t in n.tasks if t.type.python is not None and not python]
    if isinstance(start, Snapshot):
        problems += [Problem("snapshot", n.name, "is not of this node: its load blob has another hash")
                     for n in nodes if start.images.get(n.name, b"")[:8] != struct.pack("<Q", n.hash)]
    if problems:
        raise ConfigError(problems)
    body = bytearray()
    for node in nodes:
        image = start.images[node.name] if isinstance(start, Snapshot) else b""
        stream, seed = _random(node, start)
        body += struct.pack("<4IQ", len(node.blob), len(image), stream, 0, seed) + _padded(node.blob) + _padded(image)
    table = _link_table(nodes, links)
    for row in table:
        body += struct.pack("<6I", *row)
    in_flight = start.links if isinstance(start, Snapshot) else b""
    if isinstance(start, Snapshot) and len(in_flight) != _link_image_size(table):
        raise ConfigError.one("snapshot", "links", "is not of these links: their messages in flight have another size")
    body += _padded(in_flight)
    tick = start.tick if isinstance(start, Snapshot) else 0
    rest = struct.pack("<q4I", tick, _HASHED_FROM + 24 + len(body), len(nodes), len(links), len(in_flight)) + body
    return b"FSWN" + struct.pack("<IQ", lib.FSW_BUNDLE_VERSION, digest(rest)) + rest


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _random(node: CompiledNode, start: int | Snapshot) -> tuple[int, int]:
    """(stream, seed) of a node."""
    if isinstance(start, Snapshot):
        head = np.frombuffer(start.images[node.name], _IMAGE_HEAD, 1)[0]
        return int(head["stream"]), int(head["seed"])
    return digest(node.name.encode()) & 0xFFFFFFFF, start


def _link_table(nodes: Sequence[CompiledNode], links: Sequence[LinkSpec]) -> list[tuple[int, ...]]:
    """Per link: source node and topic, destination node and topic, latency in ticks, payload size."""
    names = [n.name for n in nodes]
    out: list[tuple[int, ...]] = []
    for link in links:
        s, d = names.index(link.src_node), names.index(link.dst_node)
        out.append((s, nodes[s].topic_index(link.src_topic), d, nodes[d].topic_index(link.dst_topic), link.latency_ticks,
                    nodes[s].topics[link.src_topic].type.size))
    return out


def _link_image_size(table: Sequence[tuple[int, ...]]) -> int:
    c = ffi.new("fsw_link_t[]", list(table))
    beside = ffi.sizeof("fsw_route_t") + ffi.sizeof("fsw_end_t")  # what the bench needs for a link beside the image, see bench.h
    return int(lib.fsw_bench_memory(c, len(table)) - len(table) * beside)


def images_of(data: bytes, count: int) -> tuple[int, list[bytes]]:
    """(tick, start images) of a bundle of so many nodes. ConfigError when it is damaged or of other nodes."""
    if data[:8] != b"FSWN" + struct.pack("<I", lib.FSW_BUNDLE_VERSION) or digest(data[_HASHED_FROM:]) != int.from_bytes(data[8:16], "little"):
        raise ConfigError.one("bundle", "", "is damaged, or of another version")
    tick, size, nodes = struct.unpack_from("<qII", data, _HASHED_FROM)
    if size != len(data) or nodes != count:
        raise ConfigError.one("bundle", "", f"holds {nodes} nodes in {size} bytes, where {count} in {len(data)} are due")
    at, out = _HASHED_FROM + 24, []
    for _ in range(nodes):
        blob, image = struct.unpack_from("<II", data, at)
        at += 24 + len(_padded(bytes(blob)))
        out.append(data[at : at + image])
        at += len(_padded(bytes(image)))
    return tick, out
