"""Wrong constants (HAS-13): each is refused when loaded, or by a flight in closed loop before the real one, or does no harm.

A constant of a flight computer's task is turned into another one: ten times, a tenth, the other sign, nothing, not a number, pounds for
newtons (4.448), the next number that a double can hold. The range that the task declares refuses what cannot be. What may be, but is
wrong, is flown in closed loop before the real flight: against the nominal world and against dispersed ones, none of them the one that is flown
then. Who does not land in each of these rehearsals does not fly. What passes and is lost all the same would be a silent loss.

    python -m hil.accidents.constants bench_configs/zhuque3_landing.toml --every 10
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from flightsw.errors import ConfigError, FlightswError
from hil.accidents.scenario import Change, Scenario
from hil.bench import Bench
from hil.verdict import LANDS

COMPUTER = "fcc"
WAYS = {"x 10": Change(key="a.b", by=10.0), "/ 10": Change(key="a.b", by=0.1), "sign": Change(key="a.b", by=-1.0),
        "zero": Change(key="a.b", to=0.0), "NaN": None, "x 4.448": Change(key="a.b", by=4.448), "1 ulp": None}
BY_RANGE, BY_REHEARSAL, ACCEPTED = "refused when loaded", "refused by a rehearsal", "accepted"
REHEARSALS = (0, *range(900_001, 900_013))  # seeds of the flights before; 0 is the nominal world


@dataclass(frozen=True)
class Constant:
    """A parameter of a task of the flight computer, and its new value."""

    task: str
    field: str
    way: str
    value: Any


def _nudged(value: Any) -> Any:
    return np.nextafter(np.asarray(value, float), np.inf).tolist()


def changed(old: Any, way: str, by: float | None = None, to: float | None = None) -> Any:
    """The wrong value for a right one, a number or a list of numbers."""
    array = np.asarray(old, float)
    if way == "NaN":
        return np.full(array.shape, math.nan).tolist()
    if way == "1 ulp":
        return _nudged(old)
    new = array * by if by is not None else np.full(array.shape, to)
    return new.tolist()


def constants(bench: Bench) -> Iterator[tuple[str, str, Any]]:
    """(task, parameter, value) of every real number that a task of the flight computer takes."""
    node = bench.nominal[COMPUTER]
    for task in [t.spec.name for t in node.tasks if t.type.params_dtype is not None]:
        record = bench.params(COMPUTER, task, 0)
        for name in record.dtype.names or ():
            if record.dtype.fields is not None and record.dtype.fields[name][0].base.kind == "f":
                yield task, name, record[name].tolist()


@lru_cache(maxsize=4)
def _plain(path: Path) -> Bench:
    return Bench.load(path)


def _loaded(path: Path, c: Constant) -> Bench:
    row = {"name": c.task, "params": {c.field: c.value}}
    return Bench.load(path, [], {"node": [{"name": COMPUTER, "task": [row]}]})


def lands(bench: Bench, seed: int, poke: Constant | None = None) -> bool:
    """Fly, and say whether it landed as the bench asks. poke: a constant put into memory, past all checks."""
    try:
        with bench.start(seed) as flight:
            if poke is not None:
                flight.node(COMPUTER).params(poke.task)[poke.field] = poke.value
            flight.run()
            return flight.verdict().outcome == LANDS
    except ConfigError:
        raise
    except FlightswError:
        return False


def gate(path: Path, c: Constant) -> tuple[str, Bench | None]:
    """What becomes of a wrong constant before the flight: (BY_RANGE, BY_REHEARSAL or ACCEPTED; the bench where it was accepted)."""
    try:
        bench = _loaded(path, c)
    except ConfigError:
        return BY_RANGE, None
    return (ACCEPTED, bench) if all(lands(bench, seed) for seed in REHEARSALS) else (BY_REHEARSAL, None)


def of_change(path: Path, change: Change) -> Constant:
    """The change of a scenario file, bound to the bench. Raises ConfigError for a constant that there is not."""
    task, field = change.key.split(".")
    for t, f, old in constants(_plain(path)):
        if (t, f) == (task, field):
            way = f"x {change.by:g}" if change.by is not None else f"= {change.to:g}"
            return Constant(task, field, way, changed(old, way, change.by, change.to))
    raise ConfigError.one(str(path), "accident.change", f'the flight computer has no constant "{change.key}"')


def fly_constants(scenario: Scenario, naive: bool, seed: int) -> Iterator[tuple[bool, str]]:
    """(as asked, what was seen) for every changed constant: ours refuses it or lands with it, the twin flies it and is lost."""
    for change in scenario.accident.change:
        c = of_change(scenario.base, change)
        name = f"{change.key} {c.way}"
        if naive:
            lost = not lands(_plain(scenario.base), seed, c)
            yield lost, f"{name}: {'flown and lost' if lost else 'flown, and it landed'}"
            continue
        verdict, bench = gate(scenario.base, c)
        good = bench is None or lands(bench, seed)
        yield good, f"{name}: {verdict}" + ("" if good else ", flown, and lost")


def sweep(path: Path, every: int = 1, seeds: Sequence[int] = (1, 2)) -> Iterator[tuple[Constant, str]]:
    """Every constant in every way, or each so many-th: (constant, what became of it). Silent losses are told as "silent loss"."""
    k = 0
    for task, field, old in constants(_plain(path)):
        for way, change in WAYS.items():
            value = changed(old, way, change.by if change else None, change.to if change else None)
            if way not in ("NaN", "1 ulp") and value == old:
                continue  # a zero stays a zero
            k += 1
            if k % every:
                continue
            c = Constant(task, field, way, value)
            verdict, bench = gate(path, c)
            if bench is not None:
                verdict = "no harm" if all(lands(bench, seed) for seed in seeds) else "silent loss"
            yield c, verdict


def main() -> int:
    """The sweep as a command: a count of each outcome, and every silent loss by name. Exit code 1 when there is one."""
    parser = argparse.ArgumentParser(description="Turn constants of a flight computer wrong, and see what becomes of them.")
    parser.add_argument("bench", type=Path)
    parser.add_argument("--every", type=int, default=1, help="only each so many-th")
    args = parser.parse_args()
    told: Counter[str] = Counter()
    for c, verdict in sweep(args.bench, max(1, args.every)):
        told[verdict] += 1
        if verdict == "silent loss":
            print(f"silent loss: {c.task}.{c.field} {c.way} ({c.value})")
    print(", ".join(f"{n} {verdict}" for verdict, n in sorted(told.items())), f"of {sum(told.values())}")
    return 1 if told["silent loss"] else 0


if __name__ == "__main__":
    sys.exit(main())
