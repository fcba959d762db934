"""flightsw replay: a recorded run executed again and compared, asked what if, or flown on from the middle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flightsw.cli import NOT_MET, OK
from flightsw.cli.progress import simulated_time

if TYPE_CHECKING:
    from flightsw.log import Log
    from flightsw.replay import AtHand, Library, ReplayResult
    from hil.fork import ForkResult

_SHOWN = 20  # lines of a list on a terminal


@dataclass(frozen=True)
class _Asked:
    """The options of the command."""

    sets: tuple[str, ...]
    faults: tuple[str, ...]
    from_s: float | None
    until_s: float | None
    what_if: bool
    fork: bool
    hunt: bool
    as_flown: bool
    bench: Path | None
    out: Path
    as_json: bool

    def check(self) -> None:
        """UsageError for options that do not go together."""
        if self.fork and self.from_s is None:
            raise click.UsageError("--fork needs --from: the time at which the flight goes on")
        if self.faults and not self.fork:
            raise click.UsageError("--fault needs --fork: recorded inputs do not answer to a fault")
        for name in ("what_if", "hunt", "as_flown"):
            if self.fork and getattr(self, name):
                raise click.UsageError(f"--fork and --{name.replace('_', '-')} do not go together: a fork flies the whole bench")


@click.command("replay")
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--from", "from_s", type=click.FloatRange(min=0.0), metavar="S", help="Begin at the keyframe at or before this time.")
@click.option("--until", "until_s", type=click.FloatRange(min=0.0), metavar="S", help="End at this time.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a parameter of what flies (fcc.control.kp=2).")
@click.option("--what-if", is_flag=True, help="Report differences to the end, with a page of both; for any log.")
@click.option("--fork", is_flag=True, help="Fly on from --from: the whole bench, as a new run.")
@click.option("--fault", "faults", multiple=True, metavar="TABLE", help="With --fork: a fault, "
              "'{target = \"engine[0]\", type = \"dies\", at_s = 40.0}'.")
@click.option("--bench", type=click.Path(path_type=Path), help="The bench at hand (default: the file that was flown). With --fork: "
              "another bench takes over.")
@click.option("--as-flown", is_flag=True, help="Do not compare with the bench at hand: replay what the log carries.")
@click.option("--hunt", is_flag=True, help="Two more passes with patterns in unused memory.")
@click.option("--out", type=click.Path(path_type=Path), default="runs", show_default=True,
              help="Folder for what --what-if and --fork leave behind.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(log: Path, **options: Any) -> int:
    """Run the flight software of LOG again on its recorded inputs and compare every message it wrote.

    LOG is a log file or a run directory, for example runs/latest. Exit status 0: identical; 1: different, and the first
    difference is named; 2: the log cannot be replayed with this software, and each reason is named. With --fork those of `run`.
    """
    from flightsw.log import Log

    asked = _Asked(**options)
    asked.check()
    opened = Log.open(log)
    return _fork(opened, asked) if asked.fork else _replay(opened, asked)


# ---- replay ----------------------------------------------------------------------------------------------------------------------


def _replay(log: Log, asked: _Asked) -> int:
    from flightsw.errors import LogError
    from flightsw.replay import Options, replay
    from hil.load import parse_sets
    from hil.what_if import result_dict, what_if

    here, library, notes = _at_hand(log, asked)
    changes = {k: v for k, v in parse_sets(asked.sets).items() if not _for_bench(k)}
    if changes and not log.complete and not asked.what_if:
        raise LogError("\n".join([f"{log.path}: is not exact (--what-if replays the part that is whole):", *log.problems]))
    folder: Path | None = None
    with simulated_time("replayed", log.end_ns * 1e-9) as progress:
        options = Options(asked.from_s, asked.until_s, asked.hunt, here, progress, strict=not asked.what_if)
        if asked.what_if:
            result, folder = what_if(log, changes, library, options, asked.out)
        else:
            result = replay(log, changes if changes else None, library, options)
    if asked.as_json:
        more = {"what_if_dir": str(folder)} if folder is not None else {}
        found = result_dict(log, result, changes)
        click.echo(json.dumps({**found, "notes": [*notes, *result.notes], **more}, indent=1))
    else:
        _print(result, [*notes, *result.notes], folder, whole=asked.what_if or bool(changes))
    return OK if result.identical or asked.what_if else NOT_MET


def _for_bench(key: str) -> bool:
    """Is an option one that only a bench file can take: a constant or bench.key?"""
    return key.count(".") != 2 or key.startswith("bench.")


def _at_hand(log: Log, asked: _Asked) -> tuple[AtHand | None, Library | None, list[str]]:
    """The bench at hand, or only its task types, and what there is to say."""
    from flightsw.errors import ConfigError
    from hil.at_hand import at_hand, bench_path, library_of, own_code
    from hil.load import parse_sets

    path = asked.bench or bench_path(log)
    extra = [text for text in asked.sets if _for_bench(next(iter(parse_sets([text]))))]
    if path is not None and not asked.as_flown:
        return at_hand(log, path, extra), None, []
    if extra:
        why = "--as-flown replays what the log carries" if asked.as_flown else "the bench file is not there"
        raise ConfigError.one("--set", extra[0].partition("=")[0], f"is not of the form node.task.parameter, and {why}")
    named = log.metadata.get("extensions", {}).get("bench_path", "")
    notes = [f"the bench file {named} is not here: replayed as flown, compared with no bench"] if named and path is None else []
    return None, library_of(path) if path is not None and own_code(log) else None, notes


def _thousands(n: int) -> str:
    return f"{n:,}".replace(",", " ")


def _print(result: ReplayResult, notes: Sequence[str], folder: Path | None, whole: bool) -> None:
    """whole: differences were collected to the end."""
    for note in notes:
        click.echo(note, err=True)
    checked = f", inputs of {_thousands(result.inputs_checked)} ticks" if result.inputs_checked else ""
    click.echo(f"{_thousands(result.messages)} messages, {result.keyframes} keyframes{checked}, {result.wall_s:.2f} s, "
               f"{result.x_realtime:.0f} times real time", err=True)
    if result.start_tick:
        click.echo(f"from the keyframe at tick {result.start_tick} ({result.start_s:.6f} s)")
    _list("changed", [p.sentence() for p in result.parameters])
    _list("ignored", result.ignored)
    size = f"{_thousands(result.ticks)} ticks, {result.topics} topics"
    hunted = f", also with {' and '.join(f'0x{p:02X}' for p in result.hunted)} in unused memory" if result.hunted else ""
    if result.divergence is None:
        outcome = "identical" if result.identical else "identical until it ended early"
        click.echo(f"{size}, {outcome}" + ("" if result.exact else " as far as the log goes") + hunted)
    else:
        found = "" if result.found_with is None else f", found by hunting with 0x{result.found_with:02X} in unused memory"
        click.echo(f"{size}, different from {result.divergence.sentence()}{found}")
    for d in result.differences if whole else ():
        click.echo(f"  {d.topic}: {_thousands(d.messages)} messages differ, from tick {d.first.tick} on")
    if folder is not None:
        click.echo(f"{folder}")


def _list(word: str, lines: Sequence[str]) -> None:
    for line in lines[:_SHOWN]:
        click.echo(f"{word}: {line}")
    if len(lines) > _SHOWN:
        click.echo(f"{word}: and {len(lines) - _SHOWN} more (--json lists all)")


# ---- fork -----------------------------------------------------------------------------------------------------------------------


def _fork(log: Log, asked: _Asked) -> int:
    from hil.fork import ForkOptions, fork

    assert asked.from_s is not None
    with simulated_time("flying", asked.until_s) as progress:
        result = fork(log, ForkOptions(asked.from_s, asked.sets, asked.faults, asked.bench, asked.until_s, asked.out), progress)
    if asked.as_json:
        click.echo(json.dumps({**result.run.run, "run_dir": str(result.run.run_dir)}, indent=1, default=str))
    else:
        _print_fork(log, asked, result)
    return OK if result.run.verdict.met or asked.until_s is not None else NOT_MET


def _print_fork(log: Log, asked: _Asked, result: ForkResult) -> None:
    from hil.fork import verdict_rows

    for note in result.notes:
        click.echo(note, err=True)
    click.echo(f"fork of {log.path} from the keyframe at tick {result.tick} ({result.t_s:.6f} s)")
    _list("changed", result.changes or ["nothing"])
    d = result.divergence
    size = f"{result.diff.topics} topics, {_thousands(result.diff.messages)} messages"
    if d is None:
        click.echo(f"{size}, identical to the parent" if result.diff.identical else f"{size}, different from the parent")
    else:
        click.echo(f"{size}, different from {d.sentence('parent', 'fork')}")
    rows = verdict_rows(result)
    width = max(len(r[0]) for r in rows)
    click.echo(f"  {'':<{width}} {'parent':>12} {'fork':>12}")
    for what, was, now, unit, limit in rows:
        click.echo(f"  {what:<{width}} {was:>12} {now:>12}  {f'{unit:<6} limit {limit}' if limit else ''}".rstrip())
    if asked.until_s is not None:
        click.echo(f"  ended by --until at {asked.until_s:g} s: the verdict is that of this moment")
    click.echo(f"  {result.run.run_dir}")
