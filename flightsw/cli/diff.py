"""flightsw diff: two logs, compared message by message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flightsw.cli import NOT_MET, OK

if TYPE_CHECKING:
    from flightsw.log import Log
    from flightsw.log.compare import Diff


@click.command("diff")
@click.argument("a", metavar="LOG", type=click.Path(path_type=Path))
@click.argument("b", metavar="LOG", type=click.Path(path_type=Path))
@click.option("--from", "from_s", type=click.FloatRange(min=0.0), metavar="S", help="Compare from this time on.")
@click.option("--until", "until_s", type=click.FloatRange(min=0.0), metavar="S", help="Compare up to this time.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write a page with both over one another.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(a: Path, b: Path, from_s: float | None, until_s: float | None, report: Path | None, as_json: bool) -> int:
    """Compare all topics that two logs have in common: times, sequence numbers, every byte.

    Each LOG is a log file or a run directory. A log that begins in mid-flight, such as that of a fork, is compared from there on.
    Exit status 0: identical; 1: different, and the first difference is named.
    """
    from flightsw.log import Log
    from flightsw.log.compare import diff

    if from_s is not None and until_s is not None and until_s <= from_s:
        raise click.UsageError(f"--until {until_s:g} does not lie behind --from {from_s:g}")
    first, second = Log.open(a), Log.open(b)
    span = tuple(None if t is None else round(t * 1e9) for t in (from_s, until_s))
    result = diff(first, second, *span)
    if report is not None:
        _report(report, first, second, result)
    if as_json:
        click.echo(json.dumps({"a": str(first.path), "b": str(second.path), "identical": result.identical,
                               "topics": result.topics, "messages": result.messages, "notes": result.notes,
                               "from_s": result.from_ns * 1e-9,
                               "divergence": result.divergence.as_dict() if result.divergence else None,
                               "differences": {t: d.as_dict() for t, d in result.differences.items()},
                               "report": str(report) if report is not None else None}, indent=1))
    else:
        _print(result, report)
    return OK if result.identical else NOT_MET


def _print(result: Diff, report: Path | None) -> None:
    for note in result.notes:
        click.echo(note, err=True)
    if result.divergence is None:
        outcome = "identical" if result.identical else "different"
        click.echo(f"{result.topics} topics, {result.messages} messages, {outcome}")
    else:
        click.echo(f"{result.topics} topics, {len(result.differences)} different, first at "
                   f"{result.divergence.sentence('first log', 'second log')}")
        for topic, d in result.differences.items():
            click.echo(f"  {topic}: from tick {d.tick} on, {d.field or d.kind}")
    if report is not None:
        click.echo(f"{report}")


def _report(path: Path, first: Log, second: Log, result: Diff) -> None:
    from hil.report.overlay_page import Page, write_overlay

    d = result.divergence
    headline = f"Different from {d.t_ns * 1e-9:.6f} s on (tick {d.tick})" if d is not None else \
        "The same in every message" if result.identical else "Different in what there is"
    write_overlay(path, first, second, Page(
        f"{first.path} and {second.path}", headline, ("first log", "second log"), True if result.identical else None,
        (("Notes", result.notes),), d, result.from_ns, result.until_ns))
