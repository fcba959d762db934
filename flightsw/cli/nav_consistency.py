"""flightsw nav consistency: many flights of one bench, the errors of navigation against its own covariance."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flightsw.cli import NOT_MET, OK, say
from flightsw.errors import ConfigError

if TYPE_CHECKING:
    from hil.nav_consistency import Sampled

MAX_SEED = 2**63 - 1
_EVERY_S = 5.0  # between lines of progress


class _Told:
    """Progress, told now and then on stderr."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.failed = total, 0, 0
        self.started = self.last = time.monotonic()

    def __call__(self, one: Sampled) -> None:
        self.done += 1
        self.failed += bool(one.problem)
        now = time.monotonic()
        if now - self.last > _EVERY_S:
            self.last = now
            rate = self.done / (now - self.started)
            say(f"{self.done} of {self.total} flights, {rate:.1f} per s, {(self.total - self.done) / rate:.0f} s left, {self.failed} failed")


@click.command("consistency")
@click.argument("bench", type=click.Path(path_type=Path))
@click.option("-n", "count", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Number of flights.")
@click.option("--first", type=click.IntRange(0, MAX_SEED), default=1, show_default=True, help="First seed.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a constant, a parameter or a bench key.")
@click.option("--workers", type=click.IntRange(1, 256), default=None, help="Processes; default: one per core.")
@click.option("--ratio", type=click.FloatRange(0.0, 1.0), default=0.07, show_default=True,
              help="NEES over its degrees of freedom may differ from 1 by so much, times sqrt(100 / n) below 100 flights.")
@click.option("--share", type=click.FloatRange(0.0, 1.0), default=0.85, show_default=True,
              help="Share of instants that must lie within the 95 % band, from 50 flights on.")
@click.option("--html", "page", type=click.Path(path_type=Path, dir_okay=False), default=Path("nav_consistency.html"), show_default=True,
              help="Where the diagrams go.")
@click.option("--json", "as_json", is_flag=True, help="Result as JSON on stdout.")
def command(bench: Path, count: int, first: int, sets: tuple[str, ...], workers: int | None, ratio: float, share: float, page: Path,
            as_json: bool) -> int:
    """Fly BENCH with COUNT seeds and hold the errors of navigation against the covariance that it states itself.

    Draws NEES and NIS of every instant within their two-sided 95 % bounds. Exit code 0: navigation is as good as it says, 1: it is not,
    2: the bench or an option cannot be used.
    """
    from hil.nav_consistency import fly, judge, summary, write_page

    if first + count - 1 > MAX_SEED:
        raise ConfigError.one("--first", str(first), f"with -n {count} the last seed is out of range, allowed 0 to {MAX_SEED}")
    if not page.parent.is_dir():
        raise ConfigError.one("--html", str(page), "there is no such folder")
    seeds = range(first, first + count)
    result = fly(bench, seeds, sets, workers or min(os.cpu_count() or 1, count), _Told(count))
    verdict = judge(result, ratio, share)
    write_page(page, result, verdict)
    whole = verdict.nees["all nine states"]
    if as_json:
        click.echo(json.dumps({"bench": result.bench, "flights": count, "failed": len(verdict.problems), "nees_ratio": whole.ratio,
                               "nees_inside": whole.inside, "nis_ratio": verdict.nis.ratio, "outside_3_sigma": verdict.outside_3_sigma,
                               "blocks": {k: c.ratio for k, c in verdict.nees.items()}, "met": verdict.ok}))
    else:
        click.echo("\n".join([*summary(result, verdict), f"diagrams: {page}"]))
    return OK if verdict.ok else NOT_MET
