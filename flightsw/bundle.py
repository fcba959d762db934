"""Bundle: all load blobs and links of a graph in one file, to fly it without Python (native/test/fly_blob.c), on any processor.

Little-endian: "FSWN", version 1, node count, link count (u32 each); per node blob length u32, random stream u32, seed u64, blob
padded to 8 bytes; per link six u32: source node, source topic, destination node, destination topic, latency, payload size.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from flightsw._native import digest
from flightsw.errors import ConfigError
from flightsw.graph import LinkSpec
from flightsw.schedule import CompiledNode


def bundle(nodes: Sequence[CompiledNode], links: Sequence[LinkSpec], seed: int) -> bytes:
    """Bytes of the bundle. Raises ConfigError for a node with Python tasks: they cannot leave Python."""
    for node in nodes:
        for task in node.tasks:
            if task.type.python is not None:
                raise ConfigError.one(node.name, task.spec.name, "is a Python task and cannot be put into a bundle")
    out = bytearray(b"FSWN" + struct.pack("<III", 1, len(nodes), len(links)))
    for node in nodes:
        stream = digest(node.name.encode()) & 0xFFFFFFFF
        out += struct.pack("<IIQ", len(node.blob), stream, seed) + node.blob + bytes(-len(node.blob) % 8)
    names = [n.name for n in nodes]
    for link in links:
        src, dst = nodes[names.index(link.src_node)], nodes[names.index(link.dst_node)]
        out += struct.pack("<6I", names.index(link.src_node), src.topic_index(link.src_topic), names.index(link.dst_node),
                           dst.topic_index(link.dst_topic), link.latency_ticks, src.topics[link.src_topic].type.size)
    return bytes(out)
