"""flightsw sequence: an engine's start and shutdown sequence, checked exhaustively and drawn."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flightsw.cli import NOT_MET, OK, console, say, settings

if TYPE_CHECKING:
    from hil.sequence import Sequence
    from hil.sequence.proof import Proof

_EVERY_S = 3.0  # between lines of progress where there is no terminal


@click.group(name="sequence")
def command() -> None:
    """Engine sequences: check and draw them."""


@command.command(name="check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Where the state diagram goes; default: NAME.svg here.")
@click.option("--explore/--no-explore", default=True, show_default=True, help="Step every reachable state with every input.")
@click.option("--flips/--no-flips", default=True, show_default=True, help="Then turn every bit of every state.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def check(file: Path, svg: Path | None, explore: bool, flips: bool, as_json: bool) -> int:
    """Compile FILE (a sequence file, or a vehicle file that names one), draw it, and hold it against the invariants.

    Every reachable state is stepped with every combination of commands and conditions, by the C that flies. Exit code 0: all invariants
    hold, 1: one does not, its shortest counter-example follows, 2: the file cannot be used.
    """
    from hil.sequence import diagram
    from hil.sequence.proof import Explorer, c_table

    sequence = _load(file)
    c_table(sequence)
    path = svg or Path(f"{sequence.name}.svg")
    _write(path, diagram(sequence))
    if not as_json:
        for line in table_lines(sequence):
            click.echo(line)
        click.echo(f"\nstate diagram: {path}")
    proof = None
    if explore:
        with _progress() as progress:
            proof = Explorer(sequence).run(progress, flips)
    if as_json:
        click.echo(json.dumps(_plain(sequence, path, proof), indent=1))
    elif proof is not None:
        for line in proof_lines(sequence, proof):
            click.echo(line)
    return OK if proof is None or proof.holds else NOT_MET


def _load(file: Path) -> Sequence:
    """A sequence file, or what a vehicle file names."""
    from flightsw.errors import ConfigError
    from hil.sequence import load_sequence
    from hil.toml_file import read_toml, shown
    from hil.vehicle import sequence_of

    table = read_toml(file)
    if isinstance(table.get("sequence"), dict) or "step" in table or not ({"sequence", "include", "vehicle"} & set(table)):
        return load_sequence(file)
    named = sequence_of(file)
    if named is None:
        text = 'is missing: neither a sequence file, nor a vehicle file with a line sequence = "file.toml"'
        raise ConfigError.one(shown(file), "sequence", text)
    return load_sequence(named)


def _write(path: Path, text: str) -> None:
    from flightsw.errors import ConfigError

    try:
        path.write_text(text, "utf-8")
    except OSError as exc:
        raise ConfigError.one(str(path), "--svg", f"cannot be written: {exc.strerror or exc}") from None


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int, int], None] | None]:
    """A bar on a terminal, a line now and then elsewhere, nothing when quiet."""
    if settings().verbosity < 0:
        yield None
    elif sys.stderr.isatty():
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} states"),
                   TextColumn("{task.fields[steps]}"), TimeElapsedColumn())
        with Progress(*columns, console=console(stderr=True), transient=True) as bar:
            task = bar.add_task("exploring", total=1, steps="")
            yield lambda word, done, known, steps: bar.update(task, description=word, completed=done, total=known, steps=_millions(steps))
    else:
        last = time.monotonic()

        def line(word: str, done: int, known: int, steps: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _EVERY_S:
                last = time.monotonic()
                say(f"{word}: {done} of {known} states, {_millions(steps)}")

        yield line


def _millions(steps: int) -> str:
    return f"{steps / 1e6:.0f} million steps"


def table_lines(sequence: Sequence) -> list[str]:
    """The table as it was compiled, columns lined up; conditions and limits below."""
    head = ("step", "role", "energised", "enter if", "leave if", "keep", "redlines", "time s", "then", "if wrong")
    rows: list[tuple[str, ...]] = [head]
    for r in sequence.rows:
        s = r.step
        valves = " ".join(f"{v}~" if v in s.pulsed else v for v in s.energise) or "-"
        gate = f", gate at {s.gate_s:g}: {' or '.join(s.gate)}" if s.gate_s is not None else ""
        span = f"{r.min_s:g}" if r.max_s == r.min_s else f"{r.min_s:g} to {r.max_s:g}" if r.max_s is not None else "no limit"
        if s.role == "rise" and r.max_s is None:
            span = f"{r.min_s:g} to start {sequence.file.limits.start_max_s:g}"
        then = f"{r.next} on RUN" if s.hold else r.next
        rows.append((s.name, s.role, valves, *(" ".join(x) or "-" for x in (s.enter_if, s.leave_if, s.keep, s.redlines)), span + gate,
                     then, "-" if s.role in ("shutdown", "after") else r.abort))
    shown = [k for k in range(len(head)) if any(r[k] != "-" for r in rows[1:])]
    rows = [tuple(r[k] for k in shown) for r in rows]
    widths = [max(len(r[k]) for r in rows) for k in range(len(shown))]
    out = [f"{sequence.file.sequence.title or sequence.name}: {len(sequence.rows)} steps of a table in steps of {sequence.step_s:g} s"]
    out += ["  " + "  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    if any(r.step.pulsed for r in sequence.rows):
        pulsed = ", ".join(f"{r.step.name}: while {' and '.join(r.step.rest_if)}" for r in sequence.rows if r.step.pulsed)
        out.append(f"  ~ rests in {pulsed}")
    for c in sequence.comparisons:
        release = f", let go at {c.release:g}" if c.release != c.value else ""
        out.append(f"  {'redline' if c.redline else 'condition'} {c.name}: {c} for {c.samples * sequence.step_s:g} s{release}")
    limits = sequence.file.limits
    out.append(f"  limits: {limits.starts} starts, start {limits.start_max_s:g} s, igniter {limits.igniter_s:g} s, "
               f"unburnt {limits.unburnt_kg:g} kg = {sequence.unburnt_s:g} s; rearm {limits.rearm_s:g} s, "
               f"recover {limits.recover_s:g} s of {' '.join(limits.recover_needs)}")
    return out


def proof_lines(sequence: Sequence, proof: Proof) -> list[str]:
    """What was found, as lines."""
    from hil.sequence.timeline import told

    rate = proof.transitions / max(proof.explore_s, 1e-9) / 1e6
    out = [f"explored: {proof.states} states, {proof.transitions} transitions in {proof.explore_s:.1f} s ({rate:.0f} million/s); "
           f"at rest within {proof.rest_s:g} s when nothing is wanted"]
    if proof.flips:
        out.append(f"bit flips: {proof.flips} in {proof.flips_s:.1f} s")
    out.append("enumerated apart: persistence of conditions (whatever holds is free here), the token of ARM and FIRE (commands are free here), "
               "the choice of engines (they share nothing but commands)")
    if not proof.complete:
        out.append("not complete: more states than the memory that may be used; shorten the limits or watch fewer conditions")
    width = max(len(i.name) for i in proof.invariants)
    out += [f"  {'holds' if i.holds else 'FAILS'}  {i.name.ljust(width)}  {i.text}" for i in proof.invariants]
    for example in proof.counter_examples:
        out += ["", *told(sequence, example)]
    good = sum(i.holds for i in proof.invariants)
    out.append("")
    if proof.holds:
        out.append(f"all {good} invariants hold in every reachable state under every input")
    else:
        out.append(f"{good} of {len(proof.invariants)} invariants hold" + ("" if proof.complete else " as far as was explored"))
    return out


def _plain(sequence: Sequence, svg: Path, proof: Proof | None) -> dict[str, Any]:
    from hil.sequence.timeline import timeline

    out: dict[str, Any] = {"file": str(sequence.path), "name": sequence.name, "svg": str(svg),
                           "parameters": {name: given.value for name, given in sequence.constants().items()}}
    if proof is not None:
        out["proof"] = {
            "holds": proof.holds, "complete": proof.complete, "states": proof.states, "transitions": proof.transitions, "flips": proof.flips,
            "explore_s": round(proof.explore_s, 3), "flips_s": round(proof.flips_s, 3), "rest_s": proof.rest_s,
            "invariants": [{"name": i.name, "text": i.text, "holds": i.holds} for i in proof.invariants],
            "counter_examples": [{"invariant": c.invariant.name, "text": c.invariant.text, "flipped": c.flipped,
                                  "timeline": [line.plain() for line in timeline(sequence, c)]} for c in proof.counter_examples],
        }
    return out
