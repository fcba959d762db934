"""flightsw doctor: what this computer grants for real time and for boards, and what would mend it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flightsw.cli import NOT_MET, OK, console, say

if TYPE_CHECKING:
    from hil.doctor import Point

_COLOR = {"good": "green", "usable": "yellow", "poor": "red", "unknown": "dim"}


@click.command("doctor")
@click.option("--seconds", type=click.FloatRange(0.0, 3600.0), default=1.0, show_default=True,
              help="Measure for so long with each scheduling class; 0: do not measure.")
@click.option("--priority", type=click.IntRange(1, 99), default=50, show_default=True, help="Priority of SCHED_FIFO to try.")
@click.option("--tick-us", type=click.IntRange(50, 1_000_000), default=1000, show_default=True, help="Tick to measure with.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True,
              help="Where runs are written: the disk to look at.")
@click.option("--strict", is_flag=True, help="Exit with 1 when something is poor.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def command(seconds: float, priority: int, tick_us: int, out: Path, strict: bool, as_json: bool) -> int:
    """Say what this computer grants for real time and for boards.

    Each point is graded and comes with the command that would mend it. Nothing is changed.
    """
    from hil.doctor import GRADES, POOR, Host, examine, measure

    host = Host.here(out)
    if seconds:
        say(f"measuring for about {2 * seconds:g} s")
    points = examine(host, measure(host, seconds, priority, tick_us))
    counts = {g: sum(p.grade == g for p in points) for g in GRADES}
    if as_json:
        system = {"system": host.system, "release": host.release, "version": host.version, "distribution": host.distribution}
        click.echo(json.dumps({"host": system, "counts": counts, "points": [p.as_dict() for p in points]}, indent=1))
    else:
        _print(points)
        click.echo(f"{len(points)} points: " + ", ".join(f"{n} {g}" for g, n in counts.items()))
    return NOT_MET if strict and counts[POOR] else OK


def _print(points: Sequence[Point]) -> None:
    import sys

    if sys.stdout.isatty():
        _table(points)
        return
    for p in points:
        click.echo(f"{p.grade:8}{p.title}: {p.found}")
        if p.grade != "good":
            click.echo(f"        why: {p.why}")
        for line in p.mend:
            click.echo(f"        mend: {line}")


def _table(points: Sequence[Point]) -> None:
    from rich.table import Table
    from rich.text import Text

    terminal = console()
    terminal.soft_wrap = False
    table = Table("grade", "point", "found", "why it matters", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for p in points:
        table.add_row(Text(p.grade, _COLOR[p.grade]), Text(p.title), Text(p.found), Text(p.why, "dim"))
    terminal.print(table)
    for p in points:
        if p.mend:
            click.echo(f"\n{p.title}:")
            for line in p.mend:
                click.echo(f"  {line}")  # never wrapped: these are to be copied
    click.echo()
