"""flightsw campaign: many dispersed flights of one bench."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import click

from flightsw.errors import ConfigError

MAX_SEED = 2**63 - 1


def _make_writable(path: Path) -> None:
    """Open the file before the flights, so that none are flown in vain. It keeps what it holds until there is something new."""
    try:
        path.open("a").close()
    except OSError as exc:
        raise ConfigError.one("--csv", str(path), f"cannot be written: {exc.strerror}") from None


@click.command("campaign")
@click.argument("bench", type=click.Path(path_type=Path))
@click.option("-n", "count", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Number of flights.")
@click.option("--first", type=click.IntRange(0, MAX_SEED), default=1, show_default=True, help="First seed.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a constant, a parameter or a bench key.")
@click.option("--workers", type=click.IntRange(1, 256), default=None, help="Processes; default: one per core.")
@click.option("--at-least", type=click.FloatRange(0.0, 1.0), default=1.0, show_default=True,
              help="Share of the feasible flights that must end as expected, for exit code 0.")
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), default=None, help="Write one line per flight.")
@click.option("--json", "as_json", is_flag=True, help="Result as JSON on stdout.")
def command(bench: Path, count: int, first: int, sets: tuple[str, ...], workers: int | None, at_least: float,
            csv_path: Path | None, as_json: bool) -> None:
    """Fly BENCH with COUNT seeds and say how many ended as expected, apart from those that physics cannot save."""
    from hil.campaign import Row, fly_campaign, summary, write_csv

    if first + count - 1 > MAX_SEED:
        raise ConfigError.one("--first", str(first), f"with -n {count} the last seed is out of range, allowed 0 to {MAX_SEED}")
    if csv_path is not None:
        _make_writable(csv_path)
    started, last, failures, done = time.monotonic(), [time.monotonic()], [0], [0]

    def progress(row: Row) -> None:
        done[0] += 1
        failures[0] += row.feasible and not row.met
        now = time.monotonic()
        if now - last[0] > 5.0:
            last[0] = now
            rate = done[0] / (now - started)
            click.echo(f"{done[0]} of {count} flights, {rate:.1f} per s, {(count - done[0]) / rate:.0f} s left, "
                       f"{failures[0]} failed", err=True)

    cores = workers or min(os.cpu_count() or 1, count)
    result = fly_campaign(bench, range(first, first + count), sets, cores, progress)
    if csv_path is not None:
        write_csv(result, csv_path)
    if as_json:
        click.echo(json.dumps({"bench": result.bench, "flights": len(result.rows), "feasible": len(result.feasible),
                               "saved": len(result.saved), "share": result.share}))
    else:
        click.echo("\n".join(summary(result)))
    sys.exit(0 if result.share >= at_least else 1)
