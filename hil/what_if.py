"""What a what-if leaves behind: a folder with the replayed log, a page that lays it over the recorded one, and a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flightsw.log import Log
from flightsw.replay import Library, Options, ReplayResult, record_replay, replay
from hil.report.overlay import as_dict
from hil.report.overlay_page import Page, write_overlay
from hil.run import new_run_dir, write_json

REPLAYED, PAGE, RESULT = "replayed.mcap", "what_if.html", "what_if.json"


def what_if(log: Log, changes: Mapping[str, object], library: Library | None, options: Options,
            out_root: Path) -> tuple[ReplayResult, Path]:
    """Replay with changes into a new folder `<utc>-<bench>-what_if-<id>`; returns the result and the folder.

    The folder is made when the replay has succeeded. Raises LogError like `replay`; `latest` is left alone.
    """
    name = log.metadata.get("run", {}).get("bench", "") or log.path.stem
    result = replay(log, changes, library, options)
    folder = new_run_dir(out_root, f"{_plain(name)}-what_if", datetime.now(UTC))
    record_replay(log, changes, folder / REPLAYED, library, options)
    differences = write_overlay(folder / PAGE, log, Log.open(folder / REPLAYED), page_of(log, result))
    write_json(folder / RESULT, {**result_dict(log, result, changes), "topics_compared": [as_dict(d) for d in differences]})
    return result, folder


def _plain(name: str) -> str:
    """A bench's name as part of a folder's name: a log may say anything."""
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in name)[:64] or "log"


def page_of(log: Log, result: ReplayResult) -> Page:
    """The page's words for a what-if."""
    title = log.metadata.get("run", {}).get("title", "") or log.path.name
    d = result.divergence
    headline = ("The same in every message" if d is None else f"Different from {d.t_ns * 1e-9:.6f} s on (tick {d.tick})")
    end_ns = (result.start_tick + result.ticks) * result.base_tick_ns
    return Page(
        f"What if: {title}", headline, ("recorded", "replayed"), None if d is not None else True,
        (("What changed", [p.sentence() for p in result.parameters] or ["nothing"]), ("What was ignored", result.ignored),
         ("Notes", [*result.notes, "The inputs are those of the recording: this is what the software would have said in each "
                    "moment, not how the flight would have gone on."])),
        d, result.start_tick * result.base_tick_ns, end_ns)


def result_dict(log: Log, result: ReplayResult, changes: Mapping[str, object]) -> dict[str, Any]:
    """A result as JSON."""
    return {
        "path": str(log.path), "identical": result.identical, "exact": result.exact, "ticks": result.ticks,
        "start_tick": result.start_tick, "start_s": result.start_s, "topics": result.topics, "messages": result.messages,
        "keyframes": result.keyframes, "inputs_checked": result.inputs_checked, "changes": dict(changes),
        "parameters": [p.as_dict() for p in result.parameters], "ignored": result.ignored,
        "divergence": result.divergence.as_dict() if result.divergence else None,
        "differences": [{"topic": d.topic, "messages": d.messages, "first": d.first.as_dict()} for d in result.differences],
        "notes": result.notes, "hunted": [f"0x{p:02X}" for p in result.hunted],
        "found_with": None if result.found_with is None else f"0x{result.found_with:02X}", "wall_s": result.wall_s,
        "x_realtime": result.x_realtime}
