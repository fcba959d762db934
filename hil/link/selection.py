"""Which topics a board sends back: all that it writes, or only those that somebody needs (`send = "linked"` in [remote.<group>]): a link, a
criterion, an outcome, the stop condition, [node.log], and whoever reads events.

A slow line carries the fewer bytes. A topic that is not sent is not in the log either, so a log holds nothing that is not so; the images at
keyframes hold it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hil.bench import Bench
    from hil.plan import NodePlan

EVENT = "fsw_events_t"  # rare, and what a verdict and a report are made of


def is_linked_only(bench: Bench, plan: NodePlan) -> bool:
    """Does this node send only what is needed? By default those on a serial line or a UART do."""
    kind, _, group = plan.where.partition(":")
    settings = bench.config.remote.get(group)
    if settings is not None and settings.send is not None:
        return settings.send == "linked"
    return kind == "serial" or (kind == "emulator" and settings is not None and settings.port == "uart")


def sent(bench: Bench, plan: NodePlan) -> frozenset[str]:
    """Topics that a node writes and sends to the bench."""
    topics = bench.nominal[plan.name].topics
    writes = frozenset(n for n, t in topics.items() if t.writer is not None)
    if not is_linked_only(bench, plan):
        return writes
    needed = {k.src_topic for k in bench.links if k.src_node == plan.name}
    needed |= {topic for node, _, topic in (ref.partition(".") for ref in _judged(bench)) if node == plan.name}
    needed |= {topic for topic, every in plan.log.items() if every}  # asked for by name
    return writes & (needed | {n for n, t in topics.items() if t.type.name == EVENT})


def _judged(bench: Bench) -> Iterable[str]:
    """Topics that the end of the flight and the verdict are read from."""
    config = bench.config
    return [*(c.topic for c in config.criterion), *(o.topic for o in config.outcome.values()),
            *([config.bench.stop.topic] if config.bench.stop is not None else [])]


def mask_of(topics: Iterable[str], wanted: frozenset[str]) -> bytes:
    """Payload of a SELECT: bit k of it (lowest first) for the k-th topic of the node."""
    bits = sum(1 << k for k, name in enumerate(topics) if name in wanted)
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")
