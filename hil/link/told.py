"""What a run says about its links: who answered, how long it took, what went wrong on the way, and whether boards did as they do in process."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.link.selection import is_linked_only, sent

if TYPE_CHECKING:
    from flightsw.log import Log
    from hil.bench import Bench
    from hil.flight import Flight
    from hil.link.group import Group

BINS = 48  # of a histogram: bin k holds round trips of [2^(k/2), 2^((k+1)/2)) us


def link_facts(flight: Flight) -> list[dict[str, Any]]:
    """One entry per group of boards that run elsewhere, for run.json; none when all run here."""
    remote = flight.remote
    return [] if remote is None else [_group(flight, g) for g in remote.groups]


def _group(flight: Flight, group: Group) -> dict[str, Any]:
    bench = flight.bench
    plans = [bench.plans[i] for i in group.indices]
    settings = bench.config.remote.get(group.name)
    kind = plans[0].where.partition(":")[0]
    port = (settings.port if settings is not None and settings.port is not None else "ethernet") if kind == "emulator" else None
    transport: Any = group.transport
    unsent = {p.name: sorted({n for n, t in bench.nominal[p.name].topics.items() if t.writer is not None} - sent(bench, p))
              for p in plans if is_linked_only(bench, p)}
    return {
        "name": group.name, "kind": kind, "port": port, "boards": [p.name for p in plans], "pacing": group.expected.pacing,
        "transport": type(transport).__name__, "manifest": {k: v for k, v in group.manifest.items() if k != "token"},
        "not_sent": {n: t for n, t in unsent.items() if t}, "outcomes": group.counters,
        "sent_bytes": getattr(transport, "sent_bytes", None), "received_bytes": getattr(transport, "received_bytes", None),
        "round_trip_us": round_trips(group.round_trips_ns),
    }


def round_trips(ns: list[int]) -> dict[str, Any]:
    """Statistics of round trips: count, p50, p99, p99_9, max and mean in us, histogram (see BINS)."""
    if not ns:
        return {"count": 0}
    us = np.array(ns, np.float64) * 1e-3
    bins = np.clip(np.floor(2.0 * np.log2(np.maximum(us, 1.0))), 0, BINS - 1).astype(int)
    p50, p99, p999 = np.percentile(us, [50.0, 99.0, 99.9]).tolist()
    return {"count": len(ns), "p50": p50, "p99": p99, "p99_9": p999, "max": float(us.max()), "mean": float(us.mean()),
            "histogram": np.bincount(bins, minlength=BINS).tolist()}


# ---- the same flight in this process ---------------------------------------------------------------------------------


def to_compare(flight: Flight) -> list[str]:
    """Boards whose flight is to be held against the same one in process: of emulated boards in lockstep, or as the bench file says."""
    bench, out = flight.bench, []
    shed = flight.real_time is not None and flight.real_time.shed > 0  # what was decided in that flight is not known to another
    for plan in bench.plans:
        kind, _, group = plan.where.partition(":")
        settings = bench.config.remote.get(group)
        lockstep = settings is None or settings.pacing == "lockstep"
        wish = settings.compare if settings is not None else None
        if wish == "in_process" or (wish is None and kind == "emulator" and lockstep and not shed):
            out.append(plan.name)
    return out


def compare_in_process(bench: Bench, seed: int, path: Path, boards: list[str], go: Callable[[Bench, Path], None]) -> dict[str, Any]:
    """Fly the same in this process (`go`: with a bench, into a log) and compare all that both logs hold, and all images at keyframes.

    Returns for run.json: identical, messages, keyframes, ticks, the first difference.
    """
    from flightsw.log import Log
    from flightsw.log.compare import diff

    here = copy.copy(bench)
    here.plans = [replace(p, where="here") for p in bench.plans]
    here.real_time = None
    with tempfile.TemporaryDirectory(prefix="fsw-compare-") as folder:
        other_path = Path(folder) / "in_process.mcap"
        go(here, other_path)
        flown, other = Log.open(path), Log.open(other_path)
        found = diff(flown, other)
        keyframes, state = _images(flown, other, boards)
        mine = [f"/{b}/" for b in boards]
        written = [t for t in flown.topics if t.startswith(tuple(mine)) and not t.rsplit("/", 1)[-1].startswith("_")
                   and t.rsplit("/", 1)[-1] in _writes(bench, t)]
        messages = sum(len(flown.records(t).offsets) for t in written)
        first = found.divergence
        ticks = [flown.start_ns // bench.base_tick_ns, flown.end_ns // bench.base_tick_ns]
    return {
        "boards": boards, "with": "the same flight in one process", "identical": found.identical and not state, "first_tick": ticks[0],
        "last_tick": ticks[1], "topics": len(written), "messages": messages, "all_messages": found.messages, "keyframes": keyframes,
        "first_difference": first.as_dict() if first is not None else None,
        "sentence": first.sentence("from the link", "in process") if first is not None else state,
    }


def _writes(bench: Bench, topic: str) -> set[str]:
    node = topic.split("/")[1]
    return {n for n, t in bench.nominal[node].topics.items() if t.writer is not None} if node in bench.nominal else set()


def _images(flown: Log, other: Log, boards: list[str]) -> tuple[int, str]:
    """(keyframes compared, the first difference of an image in words)."""
    theirs = {snap.tick: digests for snap, digests in other.keyframes()}
    count = 0
    for snap, digests in flown.keyframes():
        if snap.tick not in theirs:
            continue
        count += 1
        for board in boards:
            a, b = digests.get(board), theirs[snap.tick].get(board)
            if a != b:
                return count, f'tick {snap.tick}: the image of "{board}" differs: digest from the link {a or 0:016x}, in process {b or 0:016x}'
    return count, ""
