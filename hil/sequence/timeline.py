"""A counter-example told as a timeline: when, in which step, what is energised, what was commanded, which conditions came and went."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Any

from flightsw._native import ffi, lib
from hil.sequence.load import Sequence
from hil.sequence.model import BUILT_IN, RESERVED, ROW_FIRST
from hil.sequence.proof import CounterExample, Move, valve_names

COMMANDS = {"READY": int(lib.FSW_SEQ_CMD_READY), "RUN": int(lib.FSW_SEQ_CMD_RUN), "ABORT": int(lib.FSW_SEQ_CMD_ABORT),
            "INHIBIT": int(lib.FSW_SEQ_CMD_INHIBIT)}
_HEAD = ("time s", "step", "energised", "commanded", "holds", "changed", "said")


@dataclass(frozen=True)
class Line:
    """One line: from first_s to last_s nothing changed. holds: conditions among those that the step looks at; came: that did not hold in the
    line before; went: that held there and are looked at here.
    """

    first_s: float
    last_s: float
    step: str
    energised: tuple[str, ...]
    commanded: tuple[str, ...]
    holds: tuple[str, ...]
    came: tuple[str, ...]
    went: tuple[str, ...]
    said: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {k: list(v) if isinstance(v, tuple) else round(v, 9) if isinstance(v, float) else v for k, v in vars(self).items()}


def row_name(sequence: Sequence, row: int) -> str:
    """Name of a step by the number of its row; those built in are in capitals."""
    if row < ROW_FIRST:
        return next(name for name, r in RESERVED.items() if r == row).upper()
    return sequence.rows[row - ROW_FIRST].step.name if row - ROW_FIRST < len(sequence.rows) else f"row {row}"


def condition_names(sequence: Sequence, is_: int) -> list[str]:
    """Names of the conditions whose bits are set."""
    known = {name: bit for name, (bit, _) in BUILT_IN.items()} | sequence.bits
    return [name for name, bit in known.items() if is_ & bit]


def timeline(sequence: Sequence, example: CounterExample) -> list[Line]:
    """Lines of a counter-example, steps in which nothing changes in one."""
    lines: list[Line] = []
    held: set[str] = set()
    for move in example.moves:
        line = _line(sequence, move, held)
        held = set(line.holds)
        if lines and _same(lines[-1], line) and move is not example.moves[-1]:
            lines[-1] = Line(lines[-1].first_s, line.last_s, *[getattr(lines[-1], n) for n in list(vars(line))[2:]])
        else:
            lines.append(line)
    return lines


def _line(sequence: Sequence, move: Move, before: set[str]) -> Line:
    holds = condition_names(sequence, move.is_)
    step = row_name(sequence, move.row)
    if move.row != move.before:
        step = f"{row_name(sequence, move.before)} -> {step}"
    said = tuple(ffi.string(lib.fsw_event_name(code)).decode() for code in move.events)
    return Line(move.t_s, move.t_s, step, tuple(valve_names(move.valves)), tuple(n for n, bit in COMMANDS.items() if move.is_ & bit),
                tuple(holds), tuple(n for n in holds if n not in before),
                tuple(n for n in condition_names(sequence, move.watched) if n in before and n not in holds), said)


def _same(a: Line, b: Line) -> bool:
    return (a.step, a.energised, a.commanded, a.holds) == (b.step, b.energised, b.commanded, b.holds) and not b.said


def told(sequence: Sequence, example: CounterExample) -> list[str]:
    """A counter-example as lines of text: the sentence, the table, what it ends in."""
    inv = example.invariant
    out = [f"violated: {inv.name}, {inv.text}"]
    if not example.moves:
        return [*out, "  the table itself violates it"]
    steps = sum(m.advances for m in example.moves)
    out.append(f"  shortest way there, from OFF: {len(example.moves)} moves, {steps} steps of time, {steps * sequence.step_s:.2f} s")
    lines = timeline(sequence, example)
    digits = max(2, len(f"{sequence.step_s:g}".partition(".")[2]))
    rows: list[Items[str]] = [_HEAD]
    for k in lines:
        time = f"{k.first_s:.{digits}f}" if k.first_s == k.last_s else f"{k.first_s:.{digits}f} to {k.last_s:.{digits}f}"
        changed = " ".join([*(f"+{n}" for n in k.came), *(f"-{n}" for n in k.went)])
        rows.append((time, k.step, _words(k.energised), _words(k.commanded), _words(k.holds), changed or "-", _words(k.said)))
    widths = [max(len(r[c]) for r in rows) for c in range(len(_HEAD))]
    out += ["    " + "  ".join(cell.ljust(w) for cell, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    if example.flipped:
        out.append("  then a bit of this state is turned, and it is not noticed")
    else:
        out.append(f"  the last move violates {inv.name}")
    return out


def _words(names: Items[str]) -> str:
    return " ".join(names) or "-"
