"""flightsw run: fly one bench to its verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flightsw.cli import NOT_MET, OK, console, say, settings
from flightsw.cli.bench_options import BoardOptions, board_options, load_bench
from flightsw.cli.progress import simulated_time

if TYPE_CHECKING:
    from hil.bench import Bench
    from hil.run import RunResult
    from hil.verdict import CriterionResult


@click.command(name="run")
@click.argument("bench", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Seed of noise and dispersions; 0: nothing dispersed.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE",
              help="A constant (mass_dry_kg=28000), a task's parameter (fcc.control.kp=2) or a bench key (bench.duration_s=5).")
@click.option("--out", type=click.Path(path_type=Path), default="runs", show_default=True, help="Folder for run directories.")
@click.option("--log/--no-log", default=True, help="Write flight.mcap.")
@click.option("--real-time/--simulated-time", default=None, help="Against the wall clock, or as fast as it goes (default: as the bench says).")
@click.option("--no-report", is_flag=True, help="Do not write report.html.")
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON on stdout.")
@board_options
def command(bench: Path, seed: int | None, sets: tuple[str, ...], out: Path, log: bool, real_time: bool | None, no_report: bool,
            as_json: bool, **boards: Any) -> int:
    """Fly one bench to its verdict.

    Exit code 0: what the bench expects came true; 1: it did not. The run directory holds flight.mcap, run.json and report.html.
    """
    from hil.metadata import exactness
    from hil.run import run_bench

    loaded = load_bench(bench, sets, real_time, BoardOptions(**boards))
    exact = exactness(loaded)
    if exact.startswith("not exact"):
        say(f"{exact}; a replay will find differences")
    with simulated_time("flying", loaded.duration_s) as progress:
        result = run_bench(loaded, seed, out, progress, log=log, report=not no_report)
    if as_json:
        click.echo(json.dumps({**result.run, "run_dir": str(result.run_dir)}, indent=1, default=str))
    else:
        _print(loaded, result)
    return OK if result.verdict.met else NOT_MET


def _print(bench: Bench, result: RunResult) -> None:
    verdict, run = result.verdict, result.run
    out = console()
    mark = "[green]as expected[/]" if verdict.met else f'[red]expected "{verdict.expected}"[/]'
    if not ((run.get("links") or {}).get("comparison") or {"identical": True})["identical"]:
        mark = '[red]but not the same as in process[/]' if verdict.outcome == verdict.expected else mark
    out.print(f"{_escape(bench.title)}: [bold]{verdict.outcome}[/], {mark}")
    width = max((len(c.name) for c in verdict.criteria), default=0)
    for c in verdict.criteria:
        out.print(_criterion(c, width))
    for line in _facts(verdict.summary):
        out.print(f"  {_escape(line)}")
    feasibility = run.get("feasibility") or {}
    if feasibility.get("feasible") is False:
        reason = _escape(str(feasibility.get("reason", "")))
        out.print(f"  [yellow]beyond physics, by a calculation made before the run:[/] {reason}")
    out.print(f"  seed {run['seed']}, {run['sim_s']:.2f} s flown in {run['wall_s']:.2f} s "
              f"({run['x_realtime']:.0f} times real time)")
    if run.get("real_time"):
        for line in _real_time(run):
            out.print(f"  {_escape(line)}")
    for s in (run.get("strings") or {}).get("story", []):
        out.print(f"  {s['t_s']:9.3f} s  {_escape(s['text'])}")
    for line in _links(run.get("links") or {}):
        out.print(line)
    if settings().verbosity > 0:
        for event in run.get("events", []):
            out.print(f"  {event['t_s']:9.3f} s  {_escape(event['text'])}")
    out.print(f"  {_escape(str(result.run_dir))}")


def _links(links: dict[str, Any]) -> Iterator[str]:
    """Boards elsewhere: round trips, what went wrong on the way, and whether they did what they do in process."""
    for g in links.get("groups", []):
        trips, outcomes = g["round_trip_us"], {k: v for k, v in g["outcomes"].items() if v and k != "answered"}
        times = "round trip " + ", ".join(f"{k} {trips[k] * 1e-3:.3g} ms" for k in ("p50", "p99", "max") if k in trips)
        said = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in outcomes.items()) or "nothing lost, late or damaged"
        over = f"{g['kind']}, {g['port']}" if g["port"] else g["kind"]
        yield _escape(f'  boards "{g["name"]}" ({over}): {g["outcomes"]["answered"]} ticks answered; {times}; {said}')
    c = links.get("comparison")
    if c and c["identical"]:
        yield _escape(f"  {', '.join(c['boards'])}: bit-identical to the same flight in process, tick by tick: {c['messages']} messages of "
                      f"{c['topics']} topics, images at {c['keyframes']} keyframes")
    elif c:
        yield f"  [red]not the same as in process:[/] {_escape(c['sentence'])}"


def _real_time(run: dict[str, Any]) -> Iterator[str]:
    """How it went against the clock."""
    r, noise = run["real_time"], run.get("noise")
    late = r["late_us"]
    alone = f"; this computer alone: p50 {noise['late_us']['p50']:.0f}, max {noise['late_us']['max']:.0f}" if noise else ""
    yield f"release lateness p50 {late['p50']:.0f}, p99 {late['p99']:.0f}, max {late['max']:.0f} us{alone}"
    yield f"{r['missed']} of {r['ticks']} ticks missed (run late), {r['shed']} without the non-critical tasks"
    refused = [f"{name}: {answer}" for name, answer in r["granted"].items() if answer.startswith("refused")]
    if refused:
        yield "not granted: " + "; ".join(refused)


def _criterion(c: CriterionResult, width: int) -> str:
    word = "[green]ok    [/]" if c.ok else "[red]BROKEN[/]"
    if c.value is None or c.margin is None:
        return f"  {word} {_escape(c.name):<{width}}  no value (limit {c.limit_text} {c.unit})"
    return f"  {word} {_escape(c.name):<{width}} {c.value:>10.3f} {c.unit:<6} limit {c.limit_text:<10} margin {c.margin:+.3f}"


def _facts(summary: dict[str, Any]) -> Iterator[str]:
    started, failed = summary.get("engines_started"), summary.get("engines_failed")
    if started is not None:
        yield f"started: {_engines(started)}" + (f"; failed: {_engines(failed)}" if failed else "")
    if "t_touchdown_s" in summary:
        yield f"touchdown at {summary['t_touchdown_s']:.2f} s" + (", structure broken" if summary.get("broken") else "")
    elif summary.get("touched") is False:
        yield f"no touchdown within {summary['t_end_s']:.1f} s"


def _engines(numbers: list[int]) -> str:
    """"engine 0", so that nobody takes a number for a count."""
    return f"engine{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}" if numbers else "no engine"


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
