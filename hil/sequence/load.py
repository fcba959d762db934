"""A sequence file, read, checked and compiled to the parameters of the task gnc.sequencer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flightsw.errors import ConfigError
from flightsw.params import Given
from hil.config import validate
from hil.sequence.check import Checker, Comparison
from hil.sequence.model import CHANNELS, ROLES, VALVES, SequenceFile, Step
from hil.toml_file import parse, read_text, shown


@dataclass(frozen=True)
class Row:
    """A step as it was compiled. Times in s, None: no limit; bits as in sequence.h; next, abort: names."""

    step: Step
    min_s: float
    max_s: float | None
    next: str
    abort: str
    masks: dict[str, int]


@dataclass(frozen=True)
class Sequence:
    """A sequence that can be executed. rows: its steps; comparisons: its conditions, then its redlines; bits: of each, by name.

    unburnt_s: time in which no more than unburnt_kg passes. cold: bits of the engine's demand at a start. recover: bits of
    recover_needs.
    """

    path: Path
    file: SequenceFile
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    bits: dict[str, int]
    unburnt_s: float
    cold: int
    recover: int

    @property
    def name(self) -> str:
        """Name of the sequence."""
        return self.file.sequence.name

    @property
    def step_s(self) -> float:
        """s, length of a step of time."""
        return self.file.sequence.step_s

    def constants(self) -> dict[str, Given]:
        """Parameters seq_* (native/include/flightsw/sequencer.h), each with the file and key it came from."""
        where = shown(self.path)
        return {name: Given(value, where, key) for name, (value, key) in {**self._limits(), **self._rows(), **self._conditions()}.items()}

    def _limits(self) -> dict[str, tuple[Any, str]]:
        limits = self.file.limits
        return {
            "seq_step_s": (self.step_s, "sequence.step_s"),
            "seq_start_max_s": (limits.start_max_s, "limits.start_max_s"),
            "seq_igniter_s": (limits.igniter_s, "limits.igniter_s"),
            "seq_unburnt_s": (self.unburnt_s, "limits.unburnt_kg"),
            "seq_rearm_s": (limits.rearm_s, "limits.rearm_s"),
            "seq_recover_s": (limits.recover_s, "limits.recover_s"),
            "seq_recover_needs": (self.recover, "limits.recover_needs"),
            "seq_max_starts": (limits.starts, "limits.starts"),
            "seq_steps": (len(self.rows), "step"),
            "seq_conditions": (len(self.comparisons), "condition"),
        }

    def _rows(self) -> dict[str, tuple[Any, str]]:
        rows = self.rows
        columns: dict[str, list[Any]] = {
            "seq_min_s": [r.min_s for r in rows],
            "seq_max_s": [r.max_s or 0.0 for r in rows],
            "seq_gate_s": [r.step.gate_s or 0.0 for r in rows],
            "seq_role": [ROLES[r.step.role] for r in rows],
            "seq_hold": [int(r.step.hold) for r in rows],
            **{f"seq_{name}": [r.masks[name] for r in rows] for name in _MASKS},
        }
        return {name: (values, "step") for name, values in columns.items()}

    def _conditions(self) -> dict[str, tuple[Any, str]]:
        c = self.comparisons
        return {name: (values, "condition") for name, values in {
            "seq_cond_value": [x.value for x in c],
            "seq_cond_release": [x.release for x in c],
            "seq_cond_for_s": [round(x.samples * self.step_s, 9) for x in c],
            "seq_cond_channel": [CHANNELS[x.channel][0] for x in c],
            "seq_cond_op": [x.op for x in c],
        }.items()}


_MASKS = ("entry", "exit", "keep", "redline", "gate", "pulse", "valves", "pulsed", "next", "abort")


def load_sequence(path: Path, texts: dict[str, str] | None = None, named: str = "") -> Sequence:
    """The file, compiled. Its text is added to `texts`. named: the file and key that name it, for the message about a missing one.

    Raises ConfigError with every problem of the file, each as `file: key: problem, allowed range`.
    """
    text = read_text(path, named)
    if texts is not None:
        texts[shown(path)] = text
    return compile_sequence(text, path)


def compile_sequence(text: str, path: Path) -> Sequence:
    """Text of a sequence file, compiled. Raises ConfigError as load_sequence does."""
    where = shown(path)
    file = validate(SequenceFile, parse(text, where), where)
    checker = Checker(file, where)
    checker.run()
    if checker.problems:
        raise ConfigError(dict.fromkeys(checker.problems))
    rows = tuple(_row(checker, k) for k in range(len(file.step)))
    return Sequence(path, file, rows, tuple(checker.comparisons), checker.bits, round(checker.unburnt_ticks() * file.sequence.step_s, 9),
                    checker.mask(file.engine.cold, ""), checker.mask(file.limits.recover_needs, ""))


def _row(c: Checker, k: int) -> Row:
    step = c.file.step[k]
    following, abort = c.next_of(k), c.abort_of(k)
    longest = step.lasts_s if step.max_s is None else step.max_s
    masks = {"entry": c.mask(step.enter_if, ""), "exit": c.mask(step.leave_if, ""), "keep": c.mask(step.keep, ""),
             "redline": c.mask(step.redlines, "", True), "gate": c.mask(step.gate, ""), "pulse": c.mask(step.rest_if, ""),
             "valves": sum(VALVES[v] for v in set(step.energise)), "pulsed": sum(VALVES[v] for v in set(step.pulsed)),
             "next": c.row(following), "abort": c.row(abort)}
    return Row(step, step.lasts_s or step.min_s or 0.0, longest, following, abort, masks)
