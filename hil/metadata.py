"""What a log and a run directory say about how they were made: names, versions, hashes, the files as they were."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flightsw._native import digest
from flightsw.adopt import wiring
from flightsw.flight_code import doubts
from flightsw.log.layout import layout_of
from flightsw.messages import fingerprint
from flightsw.schedule import CompiledNode
from flightsw.software import software

__all__ = ["attachments", "exactness", "hashes", "metadata", "software"]

if TYPE_CHECKING:
    from hil.bench import Bench
    from hil.config import Recording


def hashes(compiled: Sequence[CompiledNode]) -> dict[str, str]:
    """Load-blob hash of each node, and `messages`: fingerprint of all message types in use."""
    types = {t.type.name: t.type for c in compiled for t in c.topics.values()}
    return {**{c.name: f"{c.hash:016x}" for c in compiled}, "messages": f"{fingerprint(types.values()):016x}"}


def exactness(bench: Bench) -> str:
    """What a run of this bench is worth in a replay: "bit for bit", for which software, or "not exact" and why."""
    kinds = {t.type: bench.task_types[t.type] for plan in bench.plans for t in plan.tasks}
    why = {name: texts for name, kind in kinds.items() if (texts := doubts(kind))}
    refused = [f"{name}: {', '.join(texts)}" for name, texts in why.items() if not kinds[name].exact]
    if refused:
        return "not exact: " + "; ".join(refused)
    text = "for this interpreter and these library versions" if bench.has_python_tasks else "bit for bit"
    return text + "".join(f"; {name}: {', '.join(texts)}" for name, texts in why.items())


def metadata(bench: Bench, seed: int, compiled: Sequence[CompiledNode]) -> dict[str, Mapping[str, str]]:
    """Metadata records of a log, by name; all values are texts."""
    section = bench.config.bench
    run = {
        "bench": bench.name, "title": bench.title, "seed": str(seed), "expect": bench.expect,
        "duration_s": repr(bench.duration_s), "base_tick_ns": str(bench.base_tick_ns), "sets": json.dumps(bench.sets),
        "exact": exactness(bench),
        "roles": json.dumps({p.name: p.role for p in bench.plans if p.role}),
        "dispersed": json.dumps(bench.dispersed_values(seed)), "overlay": json.dumps(bench.overlay, default=str),
        "keyframe_s": repr(section.keyframe_s),
    }
    files = {_relative(bench, path): f"{digest(text.encode()):016x}" for path, text in bench.texts.items()}
    first = next(iter(bench.texts), "")
    vehicles = [_relative(bench, os.path.normpath(bench.path.parent / v)) for v in section.vehicle]
    extensions = {"tasks": json.dumps(section.tasks), "messages": json.dumps(section.messages),
                  "plugins": json.dumps([p.model_dump() for p in section.plugins]), "bench_path": str(bench.path)}
    return {
        "run": run, "software": software(), "schedule": hashes(compiled),
        "bench_file": {"path": _relative(bench, first), **{f"digest:{k}": v for k, v in files.items()},
                       "places": json.dumps(_places(bench))},
        "links": {"links": json.dumps(wiring(bench.links))},
        "vehicle_file": {f"path{i}": v for i, v in enumerate(vehicles)} | dict(bench.vehicle), "extensions": extensions,
        **({"recordings": {b.plan.name: _recording(b.recording) for b in bench.recorded},
            "recorded_topics": {f"/{k.dst_node}/{k.dst_topic}": b.plan.name for b in bench.recorded for k in b.links}}
           if bench.recorded else {}),
    }


def _places(bench: Bench) -> dict[str, str]:
    """Attached configuration files, by name, with their true place relative to the bench file."""
    section = bench.config.bench
    paths = [*bench.texts, *(str(bench.path.parent / name) for name in [*section.tasks, *section.messages])]
    return {f"config/{_relative(bench, p)}": Path(os.path.relpath(p, bench.path.parent)).as_posix() for p in paths}


def _recording(r: Recording) -> str:
    return f"{r.file}, SHA-256 {r.sha256 or 'not given'}, from {r.origin}"


def attachments(bench: Bench, compiled: Sequence[CompiledNode]) -> dict[str, bytes]:
    """Files of a log: each configuration text as it was read, the user's task and message files, each load blob as flown
    with its layout.
    """
    out = {f"config/{_relative(bench, path)}": text.encode() for path, text in bench.texts.items()}
    section = bench.config.bench
    for name in [*section.tasks, *section.messages]:
        path = bench.path.parent / name
        out[f"config/{_relative(bench, str(path))}"] = path.read_bytes()
    return out | {f"blob/{c.name}": c.blob for c in compiled} | {f"layout/{c.name}": layout_of(c) for c in compiled}


def _relative(bench: Bench, path: str) -> str:
    """A path relative to the bench file, with forward slashes, without steps upwards."""
    relative = Path(os.path.relpath(path, bench.path.parent))
    return "/".join("up" if part == ".." else part for part in relative.parts)
