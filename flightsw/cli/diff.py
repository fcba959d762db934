"""flightsw diff: two logs, compared message by message."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command("diff")
@click.argument("a", metavar="LOG", type=click.Path(path_type=Path))
@click.argument("b", metavar="LOG", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(a: Path, b: Path, as_json: bool) -> None:
    """Compare all topics that two logs have in common: times, sequence numbers, every byte.

    Each LOG is a log file or a run directory. Exit status 0: identical; 1: different, and the first difference is named.
    """
    from flightsw.log import Log
    from flightsw.log.compare import diff

    first, second = Log.open(a), Log.open(b)
    result = diff(first, second)
    if as_json:
        click.echo(json.dumps({"a": str(first.path), "b": str(second.path), "identical": result.identical,
                               "topics": result.topics, "messages": result.messages, "notes": result.notes,
                               "divergence": result.divergence.as_dict() if result.divergence else None,
                               "differences": {t: d.as_dict() for t, d in result.differences.items()}}, indent=1))
    else:
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
    sys.exit(0 if result.identical else 1)
