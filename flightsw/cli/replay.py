"""flightsw replay: a recorded run executed again and compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flightsw.log import Log
    from flightsw.replay import Library, ReplayResult


@click.command("replay")
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--set", "sets", multiple=True, metavar="NODE.TASK.PARAM=VALUE", help="Change a parameter of what flies.")
@click.option("--what-if", is_flag=True, help="Report differences, do not fail; also for logs that are not exact.")
@click.option("--bench", type=click.Path(path_type=Path), help="Bench file that names the user's own tasks and messages "
              "(default: the one that was flown).")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(log: Path, sets: tuple[str, ...], what_if: bool, bench: Path | None, as_json: bool) -> None:
    """Run the flight software of LOG again on its recorded inputs and compare every message it wrote.

    LOG is a log file or a run directory, for example runs/latest. Exit status 0: identical; 1: different, and the first
    difference is named; 2: the log cannot be replayed with this software, and the reason is named.
    """
    from flightsw.errors import LogError
    from flightsw.log import Log
    from flightsw.replay import replay
    from hil.load import parse_sets

    changes = parse_sets(sets)
    opened = Log.open(log)
    if changes and not opened.complete and not what_if:
        first = f"{opened.path}: is not exact (--what-if replays the part that is whole):"
        raise LogError("\n".join([first, *opened.problems]))
    result = replay(opened, changes if changes or what_if else None, _library(opened, bench))
    if as_json:
        click.echo(json.dumps(_as_dict(opened, result, changes), indent=1))
    else:
        _print(result, changes)
    sys.exit(0 if result.identical or what_if else 1)


def _library(log: Log, bench: Path | None) -> Library | None:
    """The user's own tasks and messages, where the bench names any."""
    from flightsw.replay import Library

    extensions = log.metadata.get("extensions", {})
    own = any(extensions.get(k, "[]") != "[]" for k in ("tasks", "messages", "plugins"))
    if bench is None and own and Path(extensions.get("bench_path", "")).is_file():
        bench = Path(extensions["bench_path"])
    if bench is None:
        return None
    from hil import Bench

    loaded = Bench.load(bench)
    return Library(loaded.task_types, loaded.messages)


def _as_dict(log: Log, result: ReplayResult, changes: dict[str, Any]) -> dict[str, Any]:
    return {"path": str(log.path), "identical": result.identical, "exact": result.exact, "ticks": result.ticks,
            "topics": result.topics, "messages": result.messages, "keyframes": result.keyframes, "changes": changes,
            "divergence": result.divergence.as_dict() if result.divergence else None,
            "differences": [{"topic": d.topic, "messages": d.messages, "first": d.first.as_dict()} for d in result.differences],
            "notes": result.notes, "wall_s": result.wall_s, "x_realtime": result.x_realtime}


def _thousands(n: int) -> str:
    return f"{n:,}".replace(",", " ")


def _print(result: ReplayResult, changes: dict[str, Any]) -> None:
    for note in result.notes:
        click.echo(note, err=True)
    click.echo(f"{_thousands(result.messages)} messages, {result.keyframes} keyframes, {result.wall_s:.2f} s, "
               f"{result.x_realtime:.0f} times real time", err=True)
    size = f"{_thousands(result.ticks)} ticks, {result.topics} topics"
    for key, value in changes.items():
        click.echo(f"changed: {key} = {value}")
    if result.divergence is None:
        click.echo(f"{size}, identical" + ("" if result.exact else " as far as the log goes"))
        return
    click.echo(f"{size}, different from {result.divergence.sentence()}")
    for d in result.differences:
        click.echo(f"  {d.topic}: {_thousands(d.messages)} messages differ, from tick {d.first.tick} on")
