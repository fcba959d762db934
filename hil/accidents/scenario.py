"""A scenario: one TOML file that extends a bench, with a story, faults, criteria, and a naive twin.

    extends = "bench/landing.toml"     # what the twin and ours have in common
    [accident]                         # number, story, what is varied, which criteria count
    [[fault]], [[criterion]], ...      # as in a bench file
    [naive]                            # what the twin does wrong, how that shows, and what replaces the real software

The table [naive] is laid over the scenario like a file that extends it, apart from its keys `text` and `mechanism`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from flightsw.errors import ConfigError
from hil.bench import Bench
from hil.config import Criterion, unknown, validate
from hil.load import FieldRef, find_field
from hil.toml_file import Table, merge, read_toml, shown

FOLDER = Path("bench_configs/accidents")
HEAD = ("text", "mechanism", "count")  # keys of [naive] that are not laid over the bench
_Number = Annotated[str, StringConstraints(pattern=r"^HAS-[0-9]{2}$")]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class Change(_Model):
    """One constant of the flight computer turned into another: `task.parameter`, and what it is multiplied by or replaced with."""

    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]\w*\.\w+$")]
    by: float | None = None
    to: Annotated[float | None, Field(allow_inf_nan=True)] = None  # a constant that is not a number is one of the cases

    @model_validator(mode="after")
    def _one(self) -> Change:
        if (self.by is None) == (self.to is None):
            raise ValueError("give `by` or `to`, one of them")
        return self


class Count(_Model):
    """A number in the state of a task at the end of a flight, within limits: for what no topic tells."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    node: str
    task: str
    field: str
    min: float | None = None
    max: float | None = None


class Margin(_Model):
    """How far healthy flights stay below a limit of the flight computer, in sigmas.

    topic, field: what is measured in a flight. limit: a number, or parameters `task.parameter` of which the first that exists counts (of
    several numbers, the greatest).
    """

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    topic: str
    field: str
    limit: float | list[str]
    unit: str = ""
    sigmas: float = Field(3.0, gt=0.0, le=100.0)


class Accident(_Model):
    """What a scenario is about. offset_s: every fault begins later by something between these; judged: criteria that count (all);
    count: further ones; margin: how far all flights together must stay from limits; beyond_saving: no flight can be saved, which the
    independent calculation must say too.
    """

    number: _Number
    story: _Text
    kind: Literal["flight", "constants"] = "flight"
    offset_s: Annotated[list[Annotated[float, Field(ge=-1e3, le=1e3)]], Field(min_length=2, max_length=2)] = [0.0, 0.0]
    judged: list[str] = []
    count: list[Count] = []
    beyond_saving: bool = False
    change: list[Change] = []
    margin: list[Margin] = []

    @model_validator(mode="after")
    def _in_order(self) -> Accident:
        if self.offset_s[0] > self.offset_s[1]:
            raise ValueError("offset_s = [least, most]: the first number is greater than the second")
        if (self.kind == "constants") != bool(self.change):
            raise ValueError('`change` goes with kind = "constants"')
        return self


class Mechanism(_Model):
    """Of the table [naive]: in words, and what must be seen in a flight that failed as documented."""

    text: _Text
    mechanism: list[Criterion] = []
    count: list[Count] = []


class _Head(_Model):
    accident: Accident
    naive: Mechanism

    @model_validator(mode="after")
    def _shows(self) -> _Head:
        if self.accident.kind == "flight" and not self.naive.mechanism and not self.naive.count:
            raise ValueError("how the mechanism shows is wanted: [[naive.mechanism]] or [[naive.count]]")
        return self


@dataclass(frozen=True)
class Scenario:
    """A scenario file, read and checked. name: of the file, without its ending."""

    path: Path
    name: str
    accident: Accident
    twin: Mechanism
    base: Path
    tables: Table       # of the file itself, laid over the base
    twin_tables: Table  # laid over those

    @classmethod
    def load(cls, path: Path, check: bool = True) -> Scenario:
        """Read a scenario file. check: see also that ours and the twin can be loaded. Raises ConfigError."""
        root = read_toml(path)
        file = shown(path)
        base = root.pop("extends", None)
        if not isinstance(base, str):
            raise ConfigError.one(file, "extends", "the path of a bench file is wanted")
        naive = root.get("naive")
        twin = Table({k: v for k, v in naive.items() if k not in HEAD}, file) if isinstance(naive, Table) else Table({}, file)
        head = {k: root[k] for k in ("accident", "naive") if k in root}
        if isinstance(naive, Table):
            head["naive"] = Table({k: v for k, v in naive.items() if k in HEAD}, file)
        checked = validate(_Head, Table(head, file), file)
        for key in ("accident", "naive"):
            root.pop(key, None)
        out = cls(path, path.stem, checked.accident, checked.naive, path.parent / base, root, twin)
        if check:
            out._check(file)
        return out

    def _check(self, file: str) -> None:
        own = self.bench()
        names = [c.name for c, _ in own.criteria]
        for name in self.accident.judged:
            if name not in names:
                raise ConfigError.one(file, "accident.judged", f'there is no criterion "{name}"{unknown(name, names)}')
        if self.accident.kind == "flight" and not own.config.fault and self.accident.offset_s != [0.0, 0.0]:
            raise ConfigError.one(file, "accident.offset_s", "there is no fault that could begin later")
        twin = self.bench(naive=True)
        _ = self.mechanism, self.margins
        for bench, where, counts in ((own, "accident", self.accident.count), (twin, "naive", self.twin.count)):
            for c in counts:
                kind = next((t.type for t in bench.nominal[c.node].tasks if t.spec.name == c.task), None) if c.node in bench.nominal else None
                if kind is None or kind.state_dtype is None or c.field not in (kind.state_dtype.names or ()):
                    raise ConfigError.one(file, f"{where}.count[{c.name}]", f'no task "{c.task}" of node "{c.node}" keeps "{c.field}"')

    @cached_property
    def margins(self) -> list[tuple[Margin, FieldRef, float]]:
        """Margins to be measured: (margin, where, limit). Raises ConfigError."""
        own, out = self.bench(), []
        for k, m in enumerate(self.accident.margin):
            where = f"accident.margin[#{k + 1}]"
            found = find_field(m.topic, m.field, own.nominal)
            if not isinstance(found, FieldRef):
                raise ConfigError.one(shown(self.path), f"{where}.{found[0]}", found[1])
            limit = m.limit if isinstance(m.limit, float) else self._limit(own, m.limit)
            if limit is None:
                raise ConfigError.one(shown(self.path), f"{where}.limit", "the flight computer has none of these parameters")
            out.append((m, found, limit))
        return out

    @staticmethod
    def _limit(bench: Bench, names: Sequence[str]) -> float | None:
        for name in names:
            task, _, field = name.partition(".")
            kinds = [t.type for n in bench.nominal.values() for t in n.tasks if t.spec.name == task and field in t.type.params]
            if kinds:
                node = next(p.name for p in bench.plans for t in p.tasks if t.name == task)
                return float(np.max(bench.params(node, task, 0)[field]))
        return None

    @property
    def title(self) -> str:
        """As a table shows it."""
        return f"{self.accident.number} {self.name.partition('_')[2] or self.name}"

    @property
    def varies_time(self) -> bool:
        """Offsets move faults; otherwise they stand for further seeds."""
        return self.accident.offset_s[0] != self.accident.offset_s[1]

    def offsets(self, count: int) -> list[float]:
        """So many offsets of the fault time, s, evenly from the least to the most (one: the middle)."""
        low, high = self.accident.offset_s
        if count == 1:
            return [0.5 * (low + high)]
        return [low + (high - low) * k / (count - 1) for k in range(count)]

    def bench(self, naive: bool = False, offset_s: float = 0.0) -> Bench:
        """The bench with this flight software, or that of the twin, all faults later by the offset. Raises ConfigError."""
        tables = merge(self.tables, self.twin_tables) if naive else Table(self.tables, shown(self.path))
        section = Table(tables.get("bench", {}), shown(self.path))
        section.put("name", f"{self.name}_naive" if naive else self.name, shown(self.path))
        tables.put("bench", section, shown(self.path))
        if offset_s:
            tables.put("fault", [self._later(f, offset_s) for f in tables.get("fault", [])], shown(self.path))
        return Bench.load(self.base, [], tables)

    def _later(self, fault: Table, offset_s: float) -> Table:
        out = Table(fault, shown(self.path))
        after = float(out.get("after_s", 0.0)) + offset_s
        if after < -1e-9:
            raise ConfigError.one(shown(self.path), "accident.offset_s", f"{offset_s:g} would begin a fault before its trigger: "
                                  "after_s and the least offset must not add up to less than 0")
        out.put("after_s", max(0.0, after), shown(self.path))
        return out

    @cached_property
    def mechanism(self) -> list[tuple[Criterion, FieldRef]]:
        """How the documented mechanism shows in the twin's flight. Raises ConfigError."""
        out = []
        nodes = self.bench(naive=True).nominal
        for k, c in enumerate(self.twin.mechanism):
            found = find_field(c.topic, c.field, nodes)
            if not isinstance(found, FieldRef):
                raise ConfigError.one(shown(self.path), f"naive.mechanism[#{k + 1}].{found[0]}", found[1])
            out.append((c, found))
        return out


def find_scenarios(places: Sequence[str]) -> list[Scenario]:
    """Scenarios by folder, file, or part of a name within the usual folder; all of that when none is given. Raises ConfigError."""
    files: list[Path] = []
    for place in places or [str(FOLDER)]:
        path = Path(place)
        if path.is_dir():
            found = sorted(path.glob("*.toml"))
        elif path.suffix == ".toml" or os.sep in place:
            found = [path]
        else:
            known = sorted(FOLDER.glob("*.toml")) if FOLDER.is_dir() else []
            found = [f for f in known if place.lower().replace("-", "") in f.stem.lower()]
        if not found:
            raise ConfigError.one("--accidents", place, f"no scenario of this name, and no folder with scenarios, in {FOLDER}"
                                  if not path.is_dir() else "the folder has no scenario (*.toml)")
        files += [f for f in found if f not in files]
    return [Scenario.load(f) for f in files]


def as_dict(scenario: Scenario) -> dict[str, Any]:
    """For JSON."""
    return {"name": scenario.name, "number": scenario.accident.number, "file": shown(scenario.path), "story": scenario.accident.story,
            "naive": scenario.twin.text}
