"""flightsw campaign: many dispersed flights of one bench, or the accident scenarios."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flightsw.errors import ConfigError

if TYPE_CHECKING:
    from hil.accidents import Run

MAX_SEED = 2**63 - 1
_EVERY_S = 5.0  # between lines of progress
SEEDS, OFFSETS = 5, 3


def _make_writable(path: Path) -> None:
    """Open the file before the flights, so that none are flown in vain. It keeps what it holds until there is something new."""
    try:
        path.open("a").close()
    except OSError as exc:
        raise ConfigError.one("--csv", str(path), f"cannot be written: {exc.strerror}") from None


class _Told:
    """Progress, told now and then on stderr."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.failures = total, 0, 0
        self.started = self.last = time.monotonic()

    def __call__(self, failed: bool) -> None:
        self.done += 1
        self.failures += failed
        now = time.monotonic()
        if now - self.last > _EVERY_S:
            self.last = now
            rate = self.done / (now - self.started)
            click.echo(f"{self.done} of {self.total} flights, {rate:.1f} per s, {(self.total - self.done) / rate:.0f} s left, "
                       f"{self.failures} failed", err=True)


def _accidents(places: tuple[str, ...], seeds: int, offsets: int, workers: int | None, as_json: bool) -> int:
    """Fly the accident scenarios; 0 when all hold."""
    from hil.accidents import find_scenarios, fly_scenarios
    from hil.accidents.suite import HOLDS, flights, table

    scenarios = find_scenarios(places)
    told = _Told(sum(flights(s, seeds, offsets) for s in scenarios))

    def progress(run: Run) -> None:
        told(not run.met)

    results = fly_scenarios(scenarios, seeds, offsets, workers or os.cpu_count() or 1, progress)
    if as_json:
        click.echo(json.dumps({"seeds": seeds, "offsets": offsets, "scenarios": [r.as_dict() for r in results]}))
    else:
        click.echo("\n".join(table(results)))
    return 0 if all(r.verdict == HOLDS for r in results) else 1


@click.command("campaign")
@click.argument("bench", nargs=-1)
@click.option("-n", "count", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Number of flights.")
@click.option("--first", type=click.IntRange(0, MAX_SEED), default=1, show_default=True, help="First seed.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a constant, a parameter or a bench key.")
@click.option("--workers", type=click.IntRange(1, 256), default=None, help="Processes; default: one per core.")
@click.option("--at-least", type=click.FloatRange(0.0, 1.0), default=1.0, show_default=True,
              help="Share of the feasible flights that must end as expected, for exit code 0.")
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), default=None, help="Write one line per flight.")
@click.option("--accidents", is_flag=True, help="Fly accident scenarios, ours and the naive twin: BENCH are folders, files or parts "
              "of names; default: all of bench_configs/accidents.")
@click.option("--seeds", type=click.IntRange(1, 10_000), default=SEEDS, show_default=True, help="With --accidents: seeds of each.")
@click.option("--offsets", type=click.IntRange(1, 1_000), default=OFFSETS, show_default=True,
              help="With --accidents: fault times of each.")
@click.option("--json", "as_json", is_flag=True, help="Result as JSON on stdout.")
@click.pass_context
def command(context: click.Context, bench: tuple[str, ...], count: int, first: int, sets: tuple[str, ...], workers: int | None,
            at_least: float, csv_path: Path | None, accidents: bool, seeds: int, offsets: int, as_json: bool) -> None:
    """Fly BENCH with COUNT seeds and say how many ended as expected, apart from those that physics cannot save.

    With --accidents: fly what once went wrong; exit code 0 when this flight software passes every flight and each naive twin fails in
    every one as documented.
    """
    given = {p for p in ("count", "first", "sets", "at_least", "csv_path", "seeds", "offsets")
             if context.get_parameter_source(p) is click.core.ParameterSource.COMMANDLINE}
    idle = given & ({"count", "first", "sets", "at_least", "csv_path"} if accidents else {"seeds", "offsets"})
    for p in context.command.params:
        if p.name in idle:
            raise click.UsageError(f"{p.opts[0]} does not go {'with' if accidents else 'without'} --accidents")
    if accidents:
        sys.exit(_accidents(bench, seeds, offsets, workers, as_json))
    if len(bench) != 1:
        raise click.UsageError("one BENCH is wanted" + (f", {len(bench)} given" if bench else ""))
    sys.exit(_campaign(Path(bench[0]), range(first, first + count), sets, workers, at_least, csv_path, as_json))


def _campaign(bench: Path, seeds: range, sets: tuple[str, ...], workers: int | None, at_least: float, csv_path: Path | None,
              as_json: bool) -> int:
    """Fly one bench with these seeds; 0 when enough ended as expected."""
    from hil.campaign import Row, fly_campaign, summary, write_csv

    if seeds.stop - 1 > MAX_SEED:
        raise ConfigError.one("--first", str(seeds.start), f"with -n {len(seeds)} the last seed is out of range, allowed 0 to {MAX_SEED}")
    if csv_path is not None:
        _make_writable(csv_path)
    told = _Told(len(seeds))

    def progress(row: Row) -> None:
        told(row.feasible and not row.met)

    result = fly_campaign(bench, seeds, sets, workers or min(os.cpu_count() or 1, len(seeds)), progress)
    if csv_path is not None:
        write_csv(result, csv_path)
    if as_json:
        click.echo(json.dumps({"bench": result.bench, "flights": len(result.rows), "feasible": len(result.feasible),
                               "saved": len(result.saved), "share": result.share}))
    else:
        click.echo("\n".join(summary(result)))
    return 0 if result.share >= at_least else 1
