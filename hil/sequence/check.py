"""Whether a sequence file makes sense as a whole: names, comparisons, times, order of roles, ways from step to step.

Everything that fsw_seq_table_problem() of the C would refuse is refused here first, with the key that is wrong and what is allowed.
Whether the sequence is safe is another question: hil.sequence.proof.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from flightsw._native import lib
from flightsw.errors import Problem
from hil.config import unknown
from hil.sequence.model import (
    BUILT_IN,
    CHANNELS,
    CLOSING,
    ENDS,
    FIRST_CONDITION,
    MAX_CONDITIONS,
    MAX_SAMPLES,
    MOST_TICKS,
    PREPARATION,
    RESERVED,
    ROLES,
    ROW_FIRST,
    START,
    Condition,
    SequenceFile,
    Step,
)

_WHEN = re.compile(r"^\s*(?P<channel>\w+)\s*(?P<op><=|>=)\s*(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$")


@dataclass(frozen=True)
class Comparison:
    """A condition or redline, understood. op: FSW_SEQ_BELOW or FSW_SEQ_ABOVE; samples: how many in a row."""

    name: str
    channel: str
    op: int
    value: float
    release: float
    samples: int
    redline: bool

    def __str__(self) -> str:
        sign = "<=" if self.op == lib.FSW_SEQ_BELOW else ">="
        return f"{self.channel} {sign} {self.value:g}"


@dataclass
class Checker:
    """Goes through a file and collects what is wrong with it. bits: condition name -> its bit; ticks: times in whole steps by key."""

    file: SequenceFile
    shown: str
    problems: list[Problem] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    bits: dict[str, int] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def run(self) -> None:
        """All checks. What they find is in `problems`."""
        self._conditions()
        self._names()
        self._limits()
        for k in range(len(self.file.step)):
            self._step(k)
        self._order()
        self._reached()
        self._use()

    def add(self, key: str, text: str) -> None:
        """One thing wrong."""
        self.problems.append(Problem(self.shown, key, text))

    def ticks(self, key: str, seconds: float | None, most: int = MOST_TICKS) -> int:
        """A time in steps. A problem where it is no whole number of steps, or too many."""
        if seconds is None:
            return 0
        step_s = self.file.sequence.step_s
        n = round(seconds / step_s)
        if abs(n * step_s - seconds) > 1e-6 * step_s or (n == 0 and seconds > 0.0):
            self.add(key, f"{seconds:g} is not a whole multiple of step_s = {step_s:g}, nearest {max(n, 1) * step_s:g}")
        elif n > most:
            self.add(key, f"{seconds:g} is out of range, allowed 0 to {most * step_s:g} ({most} steps)")
        return n

    # ---- conditions ------------------------------------------------------------------------------------------------

    def _conditions(self) -> None:
        named = [(c, f"condition[{c.name}]", False) for c in self.file.condition] + [(c, f"redline[{c.name}]", True) for c in self.file.redline]
        if len(named) > MAX_CONDITIONS:
            self.add("condition", f"{len(named)} conditions and redlines given, at most {MAX_CONDITIONS} wanted")
        for k, (c, key, redline) in enumerate(named):
            if c.name in BUILT_IN:
                self.add(f"{key}.name", f'"{c.name}" is built in ({BUILT_IN[c.name][1]}): give this one another name')
            elif c.name in self.bits:
                self.add(f"{key}.name", f'"{c.name}" is already used by another condition or redline')
            self.bits[c.name] = 1 << (FIRST_CONDITION + min(k, MAX_CONDITIONS - 1))
            understood = self._comparison(c, key, redline)
            if understood is not None:
                self.comparisons.append(understood)

    def _comparison(self, c: Condition, key: str, redline: bool) -> Comparison | None:
        match = _WHEN.match(c.when)
        if match is None:
            self.add(f"{key}.when", f'"{c.when}" is not of the form "channel <= number" or "channel >= number"')
            return None
        channel, value = match["channel"], float(match["value"])
        if channel not in CHANNELS:
            self.add(f"{key}.when", f'there is no channel "{channel}"{unknown(channel, CHANNELS)}')
            return None
        _, unit, least, most = CHANNELS[channel]
        for what, x in (("when", value), ("release", c.release)):
            if x is not None and not least <= x <= most:
                self.add(f"{key}.{what}", f"{x:g} is out of range, allowed {least:g} to {most:g} {unit}")
        below = match["op"] == "<="
        release = value if c.release is None else c.release
        if (release < value) if below else (release > value):
            self.add(f"{key}.release", f"{release:g} is out of range, allowed {value:g} or {'more' if below else 'less'}: "
                                       f"what {'falls' if below else 'rises'} to it is let go on the other side")
        samples = self.ticks(f"{key}.for_s", self.file.sequence.step_s if c.for_s is None else c.for_s, MAX_SAMPLES)
        if samples < 1:
            self.add(f"{key}.for_s", f"{c.for_s:g} is out of range, allowed {self.file.sequence.step_s:g} or more (one sample)")
        return Comparison(c.name, channel, int(lib.FSW_SEQ_BELOW if below else lib.FSW_SEQ_ABOVE), value, release, samples, redline)

    def mask(self, names: Iterable[str], key: str, redlines: bool = False) -> int:
        """Bits of conditions by name. redlines: the list is one of what ends a step."""
        ends = {c.name for c in self.file.redline}
        out = 0
        for name in names:
            self.used.add(name)
            if name not in self.bits and name not in BUILT_IN:
                known = [*ENDS, *ends] if redlines else [n for n in (*BUILT_IN, *self.bits) if n not in ends and n not in ENDS]
                self.add(key, f'there is no {"redline" if redlines else "condition"} "{name}"{unknown(name, known)}')
            elif redlines and name not in ends and name not in ENDS:
                self.add(key, f'"{name}" is a condition, not a redline: what ends a step is declared as [[redline]]')
            elif not redlines and (name in ends or name in ENDS):
                self.add(key, f'"{name}" is a redline: it belongs into `redlines`, conditions are declared as [[condition]]')
            out |= BUILT_IN[name][0] if name in BUILT_IN else self.bits.get(name, 0)
        return out

    def _use(self) -> None:
        for kind, declared in (("condition", self.file.condition), ("redline", self.file.redline)):
            for c in declared:
                if c.name not in self.used and c.name not in BUILT_IN:
                    where = "armed in no step: name it in `redlines` of a step" if kind == "redline" else "used nowhere"
                    self.add(f"{kind}[{c.name}]", f"is {where}")

    # ---- limits and steps ------------------------------------------------------------------------------------------

    def _names(self) -> None:
        seen: set[str] = set()
        for step in self.file.step:
            if step.name in RESERVED:
                self.add(f"step[{step.name}].name", f'"{step.name}" is built in: give this step another name')
            elif step.name in seen:
                self.add(f"step[{step.name}].name", f'"{step.name}" is already used by another step')
            seen.add(step.name)

    def _limits(self) -> None:
        limits, engine = self.file.limits, self.file.engine
        for name in ("start_max_s", "igniter_s", "rearm_s", "recover_s"):
            self.ticks(f"limits.{name}", getattr(limits, name))
        self.ticks("engine.purge_min_s", engine.purge_min_s)
        self.mask(limits.recover_needs, "limits.recover_needs")
        self.mask(engine.cold, "engine.cold")
        n, step_s = self.unburnt_ticks(), self.file.sequence.step_s
        if not 1 <= n <= MOST_TICKS:
            least, most = step_s * limits.unlit_flow_kg_s, MOST_TICKS * step_s * limits.unlit_flow_kg_s
            self.add("limits.unburnt_kg", f"{limits.unburnt_kg:g} is out of range, allowed {least:g} to {most:g} "
                                          f"(one step of {limits.unlit_flow_kg_s:g} kg/s, and {MOST_TICKS})")

    def unburnt_ticks(self) -> int:
        """Steps in which no more than unburnt_kg passes."""
        limits = self.file.limits
        return math.floor(limits.unburnt_kg / limits.unlit_flow_kg_s / self.file.sequence.step_s + 1e-9)

    def _step(self, k: int) -> None:
        step = self.file.step[k]
        key = f"step[{step.name}]"
        for name in ("enter_if", "leave_if", "keep", "gate", "rest_if"):
            self.mask(getattr(step, name), f"{key}.{name}")
        self.mask(step.redlines, f"{key}.redlines", redlines=True)
        self._times(step, key)
        self._valves(step, key)
        self._fields(step, key)
        self._ways(k, key)

    def _times(self, step: Step, key: str) -> None:
        if step.role == "main":
            for name in ("lasts_s", "min_s", "max_s", "leave_if"):
                if getattr(step, name):
                    self.add(f"{key}.{name}", "main stage has no end of its own: it lasts until the engine is no longer to run")
            return
        for name in ("lasts_s", "min_s"):
            if step.hold and getattr(step, name):
                self.add(f"{key}.{name}", "is not allowed in a step with hold = true: it is ready as soon as its conditions hold")
        times = [self.ticks(f"{key}.{name}", getattr(step, name)) for name in ("lasts_s", "min_s", "max_s", "gate_s")]
        if step.lasts_s is None and step.max_s is None and step.role != "rise":
            self.add(f"{key}.max_s", "is missing, allowed 0.001 to 600: no step may last for ever (lasts_s gives it a fixed length)")
        elif step.max_s is not None and times[1] > times[2]:
            self.add(f"{key}.min_s", f"{step.min_s:g} is out of range, allowed 0 to {step.max_s:g} (max_s)")
        if step.gate_s is not None and step.gate_s > self.file.limits.start_max_s:
            self.add(f"{key}.gate_s", f"{step.gate_s:g} is out of range, allowed up to {self.file.limits.start_max_s:g} (limits.start_max_s)")

    def _valves(self, step: Step, key: str) -> None:
        if step.role in (*PREPARATION, "after"):
            for valve in step.energise:
                if valve in ("fuel", "oxidiser", "igniter"):
                    self.add(f"{key}.energise", f'"{valve}" is not allowed in a step with role = "{step.role}", '
                                                'allowed "chill", "purge"')
        for valve in step.pulsed:
            if valve not in step.energise:
                self.add(f"{key}.pulsed", f'"{valve}" is not energised in this step')
        if step.role == "shutdown":
            for valve in step.energise:
                if not any(valve in s.energise for s in self._before(step)):
                    self.add(f"{key}.energise", f'"{valve}" is never open when this step begins, and a shutdown only closes; '
                                                'a step with role = "after" may open the purge valve')

    def _before(self, step: Step) -> list[Step]:
        """Steps that may lead to this one."""
        steps = self.file.step
        return [s for k, s in enumerate(steps) if step.name in (self.next_of(k), self.abort_of(k))]

    def _fields(self, step: Step, key: str) -> None:
        closing = step.role in CLOSING
        for name, allowed, text in (
            ("enter_if", not closing, "a shutdown and what comes after it is entered without asking"),
            ("keep", not closing, "a shutdown and what comes after it goes on whatever happens"),
            ("redlines", not closing, "a shutdown and what comes after it goes on whatever happens"),
            ("gate", step.role in START, f"a gate is for a step of the start, role = {_either(START)}"),
            ("hold", step.role in PREPARATION, f"only preparation waits for the command, role = {_either(PREPARATION)}"),
            ("pulsed", step.role != "shutdown", "a shutdown only closes"),
            ("abort", not closing, "a shutdown and what comes after it has no abort path: it ends in the safe state"),
        ):
            if getattr(step, name) and not allowed:
                self.add(f"{key}.{name}", f'is not allowed in a step with role = "{step.role}": {text}')

    # ---- ways ------------------------------------------------------------------------------------------------------

    def next_of(self, k: int) -> str:
        """Where a step leads to: a step's name or "safed"."""
        steps = self.file.step
        step = steps[k]
        if step.next is not None:
            return step.next
        if step.role == "main":
            return self._first_shutdown()
        return steps[k + 1].name if k + 1 < len(steps) else "safed"

    def abort_of(self, k: int) -> str:
        """Where a step leads to when something is wrong."""
        step = self.file.step[k]
        if step.abort is not None:
            return step.abort
        if step.role in PREPARATION:
            return "inhibited"
        return "safed" if step.role in CLOSING else self._first_shutdown()

    def _first_shutdown(self) -> str:
        return next((s.name for s in self.file.step if s.role == "shutdown"), "safed")

    def row(self, name: str) -> int:
        """Number of a row by name."""
        if name in RESERVED:
            return RESERVED[name]
        return ROW_FIRST + next((k for k, s in enumerate(self.file.step) if s.name == name), 0)

    def _ways(self, k: int, key: str) -> None:
        step = self.file.step[k]
        after = {s.name: s for s in self.file.step[k + 1:]}
        allowed = [s.name for s in after.values() if _may_follow(step, s)] + (["safed"] if step.role in CLOSING else [])
        target = self.next_of(k)
        if target not in allowed and not (step.next is None and step.role == "main"):  # a missing shutdown is said elsewhere
            if step.role in PREPARATION and not step.hold and target in after and after[target].role in START:
                self.add(f"{key}.hold", "is missing: the last step of preparation waits with hold = true until the engine is to run")
            else:
                names = _either(allowed) or "nothing: a step is missing behind it"
                self.add(f"{key}.next", f'"{target}" cannot follow this step, allowed {names}')
        if step.abort is not None and step.role not in CLOSING:
            ends = ["inhibited", "safed"] if step.role in PREPARATION else [s.name for s in self.file.step if s.role == "shutdown"]
            if step.abort not in ends:
                self.add(f"{key}.abort", f'"{step.abort}" is not where this step can end, allowed {_either(ends)}')

    def _order(self) -> None:
        steps = self.file.step
        for before, step in pairwise(steps):
            if ROLES[step.role] < ROLES[before.role]:
                self.add(f"step[{step.name}].role", f'"{step.role}" cannot stand behind "{before.role}", the order is {", ".join(ROLES)}')
        roles = [s.role for s in steps]
        if roles.count("main") != 1:
            count = "no step has" if "main" not in roles else f'{roles.count("main")} steps have'
            self.add("step", f'{count} role = "main", exactly one is wanted')
        if "shutdown" not in roles:
            self.add("step", 'no step has role = "shutdown", at least one is wanted')
        if roles[0] not in PREPARATION:
            self.add(f"step[{steps[0].name}].role", f'"{roles[0]}" cannot begin a sequence, allowed {_either(PREPARATION)}')

    def _reached(self) -> None:
        """Steps that nothing leads to."""
        names = {s.name: k for k, s in enumerate(self.file.step)}
        open_, seen = [self.file.step[0].name], set[str]()
        while open_:
            name = open_.pop()
            if name in seen or name not in names:
                continue
            seen.add(name)
            open_ += [self.next_of(names[name]), self.abort_of(names[name])]
        for step in self.file.step:
            if step.name not in seen:
                self.add(f"step[{step.name}]", "is never reached: no step names it in `next` or `abort`, or comes right before it")


def _may_follow(step: Step, after: Step) -> bool:
    if step.role in CLOSING:
        return after.role in CLOSING
    if step.role in PREPARATION:
        return after.role in (START if step.hold else PREPARATION)
    return after.role == "shutdown" if step.role == "main" else after.role in (*START, "main")


def _either(names: Sequence[str]) -> str:
    return ", ".join(f'"{n}"' for n in names)
