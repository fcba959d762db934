"""flightsw report: the report of a run, again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(path: Path, as_json: bool) -> None:
    """Write the report of PATH again and print where it is.

    PATH is a run directory, runs/latest, or a log file. The report is one HTML file that opens without a network.
    """
    from hil.report import write_report

    written = write_report(path)
    if as_json:
        import json

        click.echo(json.dumps({"report": str(written)}))
    else:
        click.echo(str(written))
