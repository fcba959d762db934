"""What a log says about how it was flown: flight computers, load blobs, seed, where it begins."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from flightsw._native import ffi
from flightsw.errors import LogError
from flightsw.graph import Snapshot
from flightsw.log.layout import LAYOUT_FORMAT, Library, node_of
from flightsw.log.reader import Log
from flightsw.messages import dtype_of
from flightsw.schedule import CompiledNode
from flightsw.software import software

_HEAD = dtype_of(ffi.typeof("fsw_image_head_t"))
_BUILD = {"version": "flightsw", "source_fingerprint": "core sources", "compiler": "compiler", "machine": "machine"}


def flight_computers(log: Log) -> list[str]:
    """Nodes to replay: those the log names, else those whose inputs were recorded. LogError when there are none."""
    run = log.metadata.get("run", {})
    names: list[str] = []
    try:
        text = run.get("flight_computers", "")
        if text:
            names = json.loads(text) if text.startswith("[") else [n.strip() for n in text.split(",") if n.strip()]
        elif "roles" in run:
            names = [n for n, role in json.loads(run["roles"]).items() if role == "flight_computer"]
    except (ValueError, AttributeError):
        raise LogError(f'{log.path}: metadata "run" does not tell which nodes are flight computers') from None
    if not names:
        names = [a[7:] for a in log.attachments if a.startswith("layout/") and _inputs_recorded(log, a[7:])]
    if not names:
        raise LogError(f"{log.path}: there is no flight computer in it: no node has a load blob, a layout and recorded inputs")
    return names


def _inputs_recorded(log: Log, node: str) -> bool:
    try:
        topics = json.loads(log.attachments[f"layout/{node}"])["topics"]
        inputs = [t["name"] for t in topics if t["writer"] is None]
        return bool(inputs) and all(log.channel(f"/{node}/{t}").metadata.get("every", "1") == "1" for t in inputs)
    except (ValueError, KeyError, TypeError, LogError):
        return False


def layout_in(log: Log, name: str) -> dict[str, Any]:
    """Layout of a node as the log carries it. LogError when it is missing or cannot be read."""
    for kind in ("blob", "layout"):
        if f"{kind}/{name}" not in log.attachments:
            raise LogError(f'{log.path}: cannot be replayed: it has no attachment "{kind}/{name}"')
    try:
        raw = json.loads(log.attachments[f"layout/{name}"])
        found = raw["format"]
        complete = {"hash", "base_tick_ns", "image_size", "topics", "tasks"} <= set(raw)
    except (ValueError, KeyError, TypeError):
        complete, found = False, LAYOUT_FORMAT
    if found != LAYOUT_FORMAT:
        raise LogError(f"{log.path}: layouts of format {found} in it, this software reads {LAYOUT_FORMAT}")
    if not complete:
        raise LogError(f'{log.path}: attachment "layout/{name}" cannot be read')
    return dict(raw)


def node_in(log: Log, name: str, library: Library) -> CompiledNode:
    """A node as it was flown, bound to the software at hand. LogError with every difference between the two."""
    layout_in(log, name)
    node = node_of(log.attachments[f"blob/{name}"], log.attachments[f"layout/{name}"], library, str(log.path))
    stated = log.metadata.get("schedule", {}).get(name)
    if stated is not None and stated != f"{node.hash:016x}":
        raise LogError(f'{log.path}: node "{name}": flown with load blob {stated}, attached is {node.hash:016x}')
    return node


def seed_of(log: Log) -> int:
    """Seed of the run. LogError when the log does not tell."""
    text = log.metadata.get("run", {}).get("seed", "")
    if re.fullmatch(r"-?\d+", text):
        return int(text) & 0xFFFFFFFFFFFFFFFF
    for snapshot, _ in log.keyframes():
        for image in snapshot.images.values():
            return int(np.frombuffer(image, _HEAD, 1)["seed"][0])
    raise LogError(f'{log.path}: cannot be replayed: metadata "run" has no seed')


def build_notes(log: Log) -> list[str]:
    """What differs between the software that flew and the one at hand, as far as results of C code must not depend on it."""
    then, now = log.metadata.get("software", {}), software()
    exact = log.metadata.get("run", {}).get("exact", "")
    return [*([f"the run says of itself: {exact}"] if exact.startswith("not exact") else []),
            *(f"{label}: {then[key]} in the log, {now[key]} here" for key, label in _BUILD.items()
              if key in then and then[key] != now[key])]


def interpreter_differences(log: Log) -> list[str]:
    """What differs among what Python tasks depend on."""
    then, now = log.metadata.get("software", {}), software()
    return [f"the flight software has Python tasks, which are exact for one {key} only: {label} {then[key]} in the log, "
            f"{now[key]} here" for key, label in (("python", "Python"), ("numpy", "numpy"))
            if key in then and then[key] != now[key]]


def keyframe_before(log: Log, from_s: float | None, base_tick_ns: int) -> Snapshot | None:
    """The snapshot to start from: the last at or before a time, s, or the first of a log that begins in mid-flight. None: tick 0.

    LogError when the log has none so early, or ends before that time.
    """
    frames = [snapshot for snapshot, _ in log.keyframes()]
    if from_s is None:
        late = frames and frames[0].tick > 0 and log.start_ns >= frames[0].tick * base_tick_ns
        return frames[0] if late else None
    from_ns = round(from_s * 1e9)
    end_ns = max(log.end_ns, frames[-1].tick * base_tick_ns if frames else 0)
    if from_ns < 0 or from_ns > end_ns:
        raise LogError(f"{log.path}: {from_s:g} s is not within it: it ends at {end_ns * 1e-9:g} s")
    found = [s for s in frames if s.tick * base_tick_ns <= from_ns]
    if found:
        return found[-1]
    first = f"its first keyframe is at {frames[0].tick * base_tick_ns * 1e-9:g} s" if frames else "it has no keyframe"
    raise LogError(f"{log.path}: cannot be started at {from_s:g} s: {first}")
