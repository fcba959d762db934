"""flightsw nav: the navigation filter alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flightsw.cli import NOT_MET, OK, console
from flightsw.cli.lazy_group import LazyGroup

if TYPE_CHECKING:
    from hil.nav import NavResult

# name: (module in this package, help line shown without importing it)
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("nav", "Run the filter on recorded sensor data."),
    "consistency": ("nav_consistency", "Fly a bench many times and hold navigation's errors against its own covariance."),
}


@click.group(name="nav", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """The navigation filter alone: on recorded data, and its honesty."""


@click.command(name="run")
@click.argument("mapping", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of the recorded files; default: FLIGHTSW_DATA.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Where the run directory goes.")
@click.option("--no-report", is_flag=True, help="Leave the page out.")
@click.option("--json", "as_json", is_flag=True, help="Scores as JSON on stdout.")
def run(mapping: Path, data: Path | None, out: Path, no_report: bool, as_json: bool) -> int:
    """Run the C filter on the sensor data that MAPPING names (CSV, JSON, Parquet, ULog, MCAP) and write a report.

    Exit code 0: all limits of the mapping hold (or it has none), 1: one does not, 2: the mapping or its data cannot be used.
    """
    from flightsw.cli.progress import simulated_time
    from hil.nav import load_job, run_job
    from hil.recording import VARIABLE

    if data is not None:
        os.environ[VARIABLE] = str(data)
    job = load_job(mapping)
    end = float(job.sensors["imu"][0]["t_valid_ns"][-1]) * 1e-9
    with simulated_time("filtering", end) as progress:
        result = run_job(job, out, progress, not no_report)
    if as_json:
        click.echo(json.dumps({**result.content, "run_dir": str(result.run_dir)}, indent=1))
    else:
        _tell(result)
    return OK if result.met else NOT_MET


def _tell(result: NavResult) -> None:
    from rich.markup import escape

    out, c = console(), result.content
    mark = "" if not c["limits"] else "[green]within all limits[/]" if c["met"] else "[red]outside its limits[/]"
    out.print(f"{escape(c['title'])}" + (f": {mark}" if mark else ""))
    for w in c["scores"]:
        parts = [f"{q} {w[q]['rms']:.4g} {w[q]['unit']}" for q in ("position", "velocity", "attitude") if w[q]["rms"] is not None]
        nees = f", NEES per state {w['nees_per_state']:.2f}" if w["nees_per_state"] is not None else ""
        out.print(f"  {escape(w['name'])} ({w['from_s']:g} to {w['to_s']:g} s): RMS {', '.join(parts) or 'unknown'}{nees}")
    for limit in c["limits"]:
        if not limit["ok"]:
            value = f"{limit['value']:.4g}" if limit["value"] is not None else "no value"
            out.print(f"  [red]BROKEN[/] {escape(limit['name'])} {value} {limit['unit']}, limit {limit['limit']:g}")
    for name, fates in c["measurements"].items():
        out.print(f"  {name}: " + ", ".join(f"{n} {escape(fate)}" for fate, n in fates.items()))
    for name, rows in c["innovations"].items():
        nis = [f"{r['mean']:.3f}" for n, r in rows.items() if n.startswith("nis")]
        if nis:
            out.print(f"  {name}: NIS per degree of freedom {' and '.join(nis)}")
    out.print(f"  {c['imu']['samples']} IMU samples ({c['imu']['refused']} refused), {c['span_s']:.1f} s in {c['wall_s']:.2f} s "
              f"({c['x_realtime']:.0f} times real time)")
    out.print(f"  {escape(str(result.run_dir))}")
