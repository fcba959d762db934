"""The engine sequence that flew, as the log carries it, and every step of it told in words.

The table is read from the load blob of the flight computer, so it is what flew, whatever a file says. Names of steps and conditions
come from the sequence file among the attachments; without it steps are called by their role and conditions by what they compare.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flightsw._native import lib
from flightsw.replay.patch import image_at
from hil.report.sections import number
from hil.report.signals import Array

ROLES = ("off", "check", "purge", "chill", "igniter", "lead", "rise", "main stage", "shutdown", "safed", "inhibited", "after purge")
OFF, SAFED, INHIBITED, FIRST = (
    int(getattr(lib, f"FSW_SEQ_ROW_{n}")) for n in ("OFF", "SAFED", "INHIBITED", "FIRST")
)
IGNITER, RISE, MAIN, SHUTDOWN, SAFED_ROLE, INHIBITED_ROLE = (
    int(getattr(lib, f"FSW_ENGINE_{n}")) for n in ("IGNITER", "RISE", "MAIN", "SHUTDOWN", "SAFED", "INHIBITED")
)
READY, RUN, ABORT, INHIBIT = (int(getattr(lib, f"FSW_SEQ_CMD_{n}")) for n in ("READY", "RUN", "ABORT", "INHIBIT"))
LINK, FIRE, IGNITED, QUIET, LIT, SIGN, FLAME, OUT = (
    int(getattr(lib, f"FSW_SEQ_IS_{n}")) for n in ("LINK", "FIRE", "IGNITER", "QUIET", "LIT", "SIGN", "FLAME", "OUT")
)
_FIRST_CONDITION = int(lib.FSW_SEQ_FIRST_CONDITION)
_CAUSE = {n: int(getattr(lib, f"FSW_SEQ_CAUSE_{n}")) for n in (
    "COMMAND", "STALE", "CHECK", "CHILL", "IGNITER", "LEAD", "UNBURNT", "NO_LIGHT", "DIED", "REDLINE", "FIRE", "CORRUPT")}
# what a condition compares: words, unit, factor from the unit of the table
_CHANNELS = (
    ("chamber pressure", "of nominal", 1.0), ("inlet pressure", "MPa", 1e-6), ("pump temperature", "K", 1.0),
    ("throttle valve", "of full", 1.0), ("specific force", "m/s2", 1.0),
    ("chamber pressure beyond what the throttle promises", "of nominal", 1.0),
)


@dataclass(frozen=True)
class Condition:
    """A comparison of the table. name: "" where nobody gave it one."""

    name: str
    channel: int
    above: bool
    value: float
    for_s: float

    def label(self) -> str:
        """What it wants, for example "pump temperature at most 116 K"."""
        what, unit, factor = _CHANNELS[self.channel] if self.channel < len(_CHANNELS) else (f"channel {self.channel}", "", 1.0)
        return f"{what} at {'least' if self.above else 'most'} {number(self.value * factor)} {unit}".rstrip()


@dataclass(frozen=True)
class Step:
    """A row of the table; masks are condition bits, times in s, 0: none."""

    name: str
    role: int
    entry: int = 0
    exit: int = 0
    keep: int = 0
    redline: int = 0
    gate: int = 0
    min_s: float = 0.0
    max_s: float = 0.0
    gate_s: float = 0.0
    next: int = 0
    hold: bool = False


@dataclass(frozen=True)
class Table:
    """Sequence of an engine. steps: by row number. Shares are of nominal pressure."""

    steps: tuple[Step, ...]
    conditions: tuple[Condition, ...] = ()
    step_s: float = 0.01
    start_max_s: float = 0.0
    igniter_s: float = 0.0
    unburnt_s: float = 0.0
    pc_nominal_pa: float = 0.0
    lit_share: float = 0.0
    rise_share: float = 0.0
    file: str = ""

    def step(self, row: int) -> Step:
        """A row, known or not."""
        return self.steps[row] if 0 <= row < len(self.steps) else Step(f"row {row}", -1)

    def ready(self) -> list[Condition]:
        """Comparisons that must hold when a start is commanded."""
        mask = 0
        for step in self.steps:
            mask |= step.exit if step.hold else 0
        return [c for k, c in enumerate(self.conditions) if mask >> (_FIRST_CONDITION + k) & 1]


def by_role() -> Table:
    """Where the log tells no table: "rows" are roles."""
    return Table(tuple(Step(name, role) for role, name in enumerate(ROLES)))


# ---- from the log ---------------------------------------------------------------------------------------------------------


def flown(log: Any, node: str) -> Table | None:
    """Table of the sequencer on this node (or on the first that has one); None where the log carries none."""
    names = sorted((n for n in log.attachments if n.startswith("layout/")), key=lambda n: (n != f"layout/{node}", n))
    for name in names:
        try:
            values = _parameters(log.attachments[name], log.attachments[f"blob/{name[7:]}"])
            if values is not None:
                return _named(_table(values), log.attachments)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            continue
    return None


def _parameters(layout: bytes, blob: bytes) -> dict[str, Array] | None:
    """Parameters of the task that has a sequence, by name, found by the description of its struct in the log."""
    for task in json.loads(layout)["tasks"]:
        described = [re.fullmatch(r"([iuf]\d)((?:\[\d+\])?) (\w+) at (\d+)", text) for text in task["params"]]
        found = {m[3]: m for m in described if m is not None}
        if "seq_role" not in found:
            continue
        base = image_at(blob) + int(task["params_offset"])
        return {
            name: np.frombuffer(blob, f"<{m[1]}", int(m[2][1:-1]) if m[2] else 1, base + int(m[4])) for name, m in found.items()
        }
    return None


def _table(p: Mapping[str, Array]) -> Table:
    def one(name: str) -> float:
        return float(p[name][0])

    steps = [
        Step("off", 0, next=FIRST),
        Step("safed", SAFED_ROLE, min_s=one("seq_rearm_s"), next=FIRST),
        Step("inhibited", INHIBITED_ROLE, exit=int(p["seq_recover_needs"][0]), min_s=one("seq_recover_s")),
    ]
    for k in range(int(p["seq_steps"][0])):
        role = int(p["seq_role"][k])
        masks = {name: int(p[f"seq_{name}"][k]) for name in ("entry", "exit", "keep", "redline", "gate", "next")}
        times = {f"{name}_s": float(p[f"seq_{name}_s"][k]) for name in ("min", "max", "gate")}
        steps.append(Step(ROLES[role], role, **masks, **times, hold=bool(p["seq_hold"][k])))  # type: ignore[arg-type]
    conditions = [
        Condition("", int(p["seq_cond_channel"][k]), bool(p["seq_cond_op"][k]), float(p["seq_cond_value"][k]), float(p["seq_cond_for_s"][k]))
        for k in range(int(p["seq_conditions"][0]))
    ]
    return Table(
        tuple(steps), tuple(conditions), one("seq_step_s"), one("seq_start_max_s"), one("seq_igniter_s"), one("seq_unburnt_s"),
        one("pc_nominal_pa"), one("lit_share"), one("rise_share"),
    )



def _named(table: Table, attachments: Mapping[str, bytes]) -> Table:
    """The table with the names of the first sequence file that has the same roles and as many conditions."""
    for name in sorted(attachments):
        if not name.startswith("config/") or not name.endswith(".toml"):
            continue
        try:
            found = tomllib.loads(attachments[name].decode("utf-8"))
            if "sequence" not in found or "step" not in found:
                continue
            names = [(str(s["name"]), s["role"]) for s in found["step"]]
            said = [str(c["name"]) for c in [*found.get("condition", []), *found.get("redline", [])]]
        except (ValueError, KeyError, TypeError):
            continue
        roles = [ROLES[s.role].split()[0] for s in table.steps[FIRST:]]
        if [role for _, role in names] != roles or len(said) != len(table.conditions):
            continue
        steps = [replace(s, name=n.replace("_", " ")) for s, (n, _) in zip(table.steps[FIRST:], names, strict=True)]
        conditions = [replace(c, name=n.replace("_", " ")) for c, n in zip(table.conditions, said, strict=True)]
        return replace(table, steps=(*table.steps[:FIRST], *steps), conditions=tuple(conditions), file=name.removeprefix("config/"))
    return table


# ---- in words -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """What was measured when a decision was taken; not a number: unknown. Pressures in MPa, times in s."""

    pc: tuple[float, float] = (np.nan, np.nan)
    qualified: float = np.nan
    inlet: float = np.nan
    pump_k: float = np.nan
    throttle: float = np.nan
    axial: float = np.nan
    axial_before: float = np.nan  # m/s2
    before: str = "at the command"  # when that was
    promised: float = np.nan  # about what the throttle promises
    age_s: float = np.nan  # of the last valid sample
    stale_s: float = 0.05  # an older one is told with its age
    wish: str = ""  # what guidance wants, or why it wants nothing


@dataclass(frozen=True)
class Change:
    """One step from row to row. at_s in the old row, since_s the start command (s); is_: bits of the step in which it was decided."""

    table: Table
    a: int
    b: int
    is_: int
    cause: int
    at_s: float
    since_s: float
    now: Measured

    @property
    def step(self) -> Step:
        """The row that is left."""
        return self.table.step(self.a)


def _pressures(now: Measured) -> str:
    a, b = now.pc
    if np.isfinite(a) and np.isfinite(b):
        return f"{a:z.2f} and {b:z.2f} MPa" + (f" {now.age_s:.2f} s ago, the last sample" if now.age_s > now.stale_s else "")
    return f"{now.qualified:z.2f} MPa" if np.isfinite(now.qualified) else "unknown"


def _force(now: Measured) -> str:
    if not np.isfinite(now.axial):
        return ""
    if not np.isfinite(now.axial_before):
        return f"{now.axial:z.1f} m/s2"
    return f"{now.axial_before:z.1f} m/s2 {now.before}, {now.axial:z.1f} now"


def _with(words: str, *facts: str) -> str:
    said = "; ".join(f for f in facts if f)
    return f"{words} ({said})" if said else words


def _builtin(bit: int, held: bool, table: Table, now: Measured) -> str:
    pc, force = f"chamber pressure {_pressures(now)}", _force(now)
    force = f"specific force {force}" if force else ""
    lit = f"; lit is {number(table.lit_share * table.pc_nominal_pa * 1e-6)}" if table.pc_nominal_pa else ""
    promise = f"the throttle promises about {now.promised:z.1f} MPa" if now.promised > 0.0 else ""
    age = f"last valid sample {now.age_s:.3f} s ago" if np.isfinite(now.age_s) else ""
    words = {
        LINK: ("the link lives", _with("link lost: no fresh sample that the controller vouches for", age)),
        FIRE: ("the bay temperature switch has tripped", "the bay temperature switch has not tripped"),
        IGNITED: ("igniter draws its current", "igniter does not draw its current"),
        QUIET: (_with("the chamber is quiet", pc), _with("the chamber is not quiet", pc)),
        LIT: (_with("pressure and acceleration say lit", pc + lit, force), _with("not lit", pc + lit, force)),
        SIGN: (_with("a sign of light", pc, force), f"no sign of light: {_with(pc + ', acceleration did not rise', force)}"),
        FLAME: (_with("pressure says that something burns", pc), _with("no flame", pc)),
        OUT: (_with("its witnesses say flame-out", pc, promise, force), "no flame-out"),
    }
    return words[bit][0 if held else 1]


def _comparison(c: Condition, held: bool, now: Measured) -> str:
    values = {1: f"{now.inlet:z.3f} MPa", 2: f"{now.pump_k:.1f} K", 3: f"{now.throttle:.2f}", 4: f"{now.axial:z.1f} m/s2"}
    is_now = f"chamber pressure {_pressures(now)}" if c.channel in (0, 5) else values.get(c.channel, "")
    wants = c.label() + (f" for {number(c.for_s)} s" if c.for_s and not held else "")
    said = wants if not c.name or wants.startswith(c.name) else f"{c.name}: {wants}"
    known = is_now if "nan" not in is_now else ""
    return _with(said if held else f"not {said}", f"it is {known}" if known and c.channel not in (0, 5) else known)


def _bits(mask: int) -> Iterator[int]:
    return (k for k in range(24) if mask >> k & 1)


def told(mask: int, held: bool, table: Table, now: Measured) -> str:
    """Every condition of a mask in words, as holding or as lacking."""
    said = []
    for k in _bits(mask):
        if k < _FIRST_CONDITION:
            said.append(_builtin(1 << k, held, table, now))
        elif k - _FIRST_CONDITION < len(table.conditions):
            said.append(_comparison(table.conditions[k - _FIRST_CONDITION], held, now))
        else:
            said.append(f"condition {k - _FIRST_CONDITION} {'holds' if held else 'does not hold'}")
    return "; ".join(said)


def because(c: Change) -> str:
    """Why the step was taken, without the word "because"."""
    if c.is_ & ABORT and c.step.role < SHUTDOWN:
        return "abort commanded"
    if c.is_ & INHIBIT and c.b == INHIBITED:
        return "this engine is not to be used"
    if c.b == INHIBITED and c.cause == _CAUSE["CORRUPT"]:
        return "its state was corrupted: nothing in it can be believed"
    if c.step.role in (0, SAFED_ROLE, INHIBITED_ROLE):
        return _resting(c)
    if c.step.role < IGNITER:
        return _preparing(c)
    return _running(c) if c.step.role <= MAIN else _after(c)


def _resting(c: Change) -> str:
    if c.b == INHIBITED:
        return "the bay temperature switch has tripped"
    if c.step.role == INHIBITED_ROLE:
        return f"all well again for {number(c.step.min_s)} s: {told(c.step.exit, True, c.table, c.now)}"
    wish = _with("it is to run", c.now.wish) if c.is_ & RUN else "it is to be made ready ahead of need"
    entry = told(c.table.step(c.b).entry, True, c.table, c.now)
    return f"{wish}{'; ' if entry else ''}{entry}"


def _lasted(c: Change) -> str:
    """How long the step took and what it had to take at least."""
    least = f", at least {number(c.step.min_s)} s" if c.step.min_s else ""
    return f"{c.at_s:.2f} s in this step{least}"


def _done(c: Change) -> str:
    holds = told(c.step.exit, True, c.table, c.now)
    return _with(holds, _lasted(c)) if holds else f"{c.at_s:.2f} s have passed"


def _preparing(c: Change) -> str:
    if c.b == c.step.next:
        if not c.step.hold:
            return _done(c)
        ready = told(c.step.exit, True, c.table, c.now)
        return f"{_with('start commanded', c.now.wish)}, and it is ready{': ' if ready else ''}{ready}"
    if c.b == OFF:
        return _with("not wanted any more", c.now.wish)
    return failure(c)


def _running(c: Change) -> str:
    if c.b == c.step.next and c.step.role != MAIN:
        return _done(c)
    if c.cause == _CAUSE["COMMAND"] or (c.cause == 0 and not c.is_ & RUN):
        return _with("commanded off", c.now.wish)
    return failure(c)


def _after(c: Change) -> str:
    return _done(c) if c.step.exit and c.is_ & c.step.exit == c.step.exit else f"{c.at_s:.2f} s have passed"


def failure(c: Change) -> str:
    """Why it went along its abort path."""
    step, table, now = c.step, c.table, c.now
    missing = step.keep & ~c.is_
    fixed = {
        _CAUSE["FIRE"]: "the bay temperature switch has tripped",
        _CAUSE["UNBURNT"]: f"a main valve has been open without flame for {number(table.unburnt_s)} s, the limit on unburnt propellant",
    }
    if c.cause in fixed:
        return fixed[c.cause]
    if c.cause == _CAUSE["REDLINE"]:
        return f"redline: {told(step.redline & c.is_ & ~OUT, True, table, now)}"
    if c.cause == _CAUSE["DIED"]:
        return told(OUT, True, table, now)
    if missing:
        return told(missing, False, table, now)
    entry = table.step(step.next).entry & ~c.is_
    if c.cause == _CAUSE["CHECK"] and entry and step.exit & ~c.is_ == 0:
        return f'"{table.step(step.next).name}" may not begin: {told(entry, False, table, now)}'
    return _overdue(c)


def _overdue(c: Change) -> str:
    """A limit of time, the one that was reached."""
    step, table, near = c.step, c.table, 0.5 * c.table.step_s
    lacks = told(step.exit & ~c.is_, False, table, c.now)
    if step.role >= IGNITER and c.cause == _CAUSE["IGNITER"] and table.igniter_s and c.since_s > table.igniter_s - near:
        return f"igniter on for {number(table.igniter_s)} s, its limit in one start"
    if step.role >= IGNITER and table.start_max_s and c.since_s > table.start_max_s - near:
        return f"{number(table.start_max_s)} s after the command, the longest that a start may take: {lacks}"
    gated = step.gate and c.since_s > step.gate_s - near and not c.is_ & step.gate
    if gated and (not step.max_s or c.at_s < step.max_s - near):
        return f"at the gate ({number(step.gate_s)} s after the command) {told(step.gate, False, table, c.now)}"
    limit = f"within {number(step.max_s)} s" if step.max_s else f"after {c.at_s:.2f} s"
    return f"{limit}: {lacks}" if lacks else f"not done {limit}"
