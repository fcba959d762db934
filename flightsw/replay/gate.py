"""What entered a node, held against the digests that the gate recorded: a changed or lost input is found at its tick."""

from __future__ import annotations

from typing import Any

import numpy as np

from flightsw.log.compare import ROW_HEAD, Divergence
from flightsw.log.reader import Log
from flightsw.messages import builtin
from flightsw.replay.feed import Feed

TICKS = 64
_NOTHING = np.zeros(TICKS, np.uint64)


class Gate:
    """Channel "/<node>/_inputs" of a log: digests of what entered in each tick, 64 ticks to a message."""

    def __init__(self, log: Log, node: str, base_tick_ns: int, start: int, end: int) -> None:
        self.node, self.base_tick_ns, self.start, self.end = node, base_tick_ns, start, end
        name = f"/{node}/_inputs"
        self.number = log.channel(name).id
        rows = log[name]
        self.recorded = dict(zip(rows["first_tick"].tolist(), rows["digest"], strict=True))
        self.length = log.records(name).length
        self._dtype = builtin()["fsw_gate_t"].dtype
        self.checked = 0
        self._next = start // TICKS * TICKS  # first batch that was not compared
        self._whole = log.complete

    def compare(self, rows: np.ndarray[Any, Any], until: int, feed: Feed, last: bool = False) -> Divergence | None:
        """Compare replayed batches with those recorded, of ticks before `until`: whole ones, and at the last call the rest.

        A batch in which nothing entered is not written. Of a log that is not whole only the batches that it has are compared.
        """
        raw = rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)[:, ROW_HEAD:]
        replayed = np.ascontiguousarray(raw).view(self._dtype).reshape(-1)
        mine = dict(zip(replayed["first_tick"].tolist(), replayed["digest"], strict=True))
        stop = until if last else until // TICKS * TICKS
        batches = range(self._next, stop, TICKS)
        self._next = max(self._next, -(-stop // TICKS) * TICKS)
        for batch in batches:
            if batch not in self.recorded and not self._whole:
                continue
            a, b = self.recorded.get(batch, _NOTHING), mine.get(batch, _NOTHING)
            low, high = max(0, self.start - batch), min(TICKS, self.end - batch)
            self.checked += max(0, high - low)
            k = np.flatnonzero(a[low:high] != b[low:high])
            if len(k):
                at = low + int(k[0])
                return self._named(batch + at, int(a[at]), int(b[at]), feed)
        return None

    def _named(self, tick: int, a: int, b: int, feed: Feed) -> Divergence:
        topics = ", ".join(feed.entering(self.node, tick))
        return Divergence(tick, tick * self.base_tick_ns, self.node, "", topics, "digest", "input", a, b, f"{a:016x}", f"{b:016x}")
