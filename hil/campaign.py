"""Campaign: many dispersed flights of one bench, on all cores, without logs; any of them is rebuilt by its seed.

The result does not depend on the number of workers: each flight depends on its seed alone, and rows are in order of seed.
"""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hil.bench import Bench
from hil.feasibility import assess


@dataclass(frozen=True)
class Row:
    """One flight. values: criterion name to value; broken: names of the criteria that did not hold."""

    seed: int
    outcome: str
    met: bool
    feasible: bool
    values: dict[str, float | None]
    broken: list[str]
    sim_s: float
    error: str = ""


@dataclass(frozen=True)
class Result:
    """All flights of a campaign, in order of seed."""

    bench: str
    rows: list[Row] = field(default_factory=list)

    @property
    def feasible(self) -> list[Row]:
        """Flights that physics allows to save."""
        return [r for r in self.rows if r.feasible]

    @property
    def saved(self) -> list[Row]:
        """Those of them that met the expectation of the bench."""
        return [r for r in self.feasible if r.met]

    @property
    def share(self) -> float:
        """Met share of the feasible flights; 1 when none is feasible."""
        return len(self.saved) / len(self.feasible) if self.feasible else 1.0


_BENCH: dict[tuple[str, tuple[str, ...]], Bench] = {}


def _load(path: str, sets: tuple[str, ...]) -> Bench:
    if (path, sets) not in _BENCH:
        _BENCH.clear()
        _BENCH[path, sets] = Bench.load(path, sets)
    return _BENCH[path, sets]


def fly_one(path: str, sets: tuple[str, ...], seed: int) -> Row:
    """Fly one seed to its verdict. A flight whose software fails is a row too, with the error."""
    bench = _load(path, sets)
    feasible = assess(bench, seed).feasible
    try:
        with bench.start(seed) as flight:
            flight.run()
            verdict, sim_s = flight.verdict(), flight.t_s
    except Exception as exc:  # a campaign goes on; the row names what happened
        return Row(seed, "error", False, feasible, {}, [], 0.0, f"{type(exc).__name__}: {exc}")
    return Row(seed, verdict.outcome, verdict.met, feasible, {c.name: c.value for c in verdict.criteria},
               [c.name for c in verdict.criteria if not c.ok], sim_s)


def _rows(path: str, sets: tuple[str, ...], seeds: Sequence[int], workers: int) -> Iterator[Row]:
    if workers == 1:
        for seed in seeds:
            yield fly_one(path, sets, seed)
        return
    context = multiprocessing.get_context("spawn")  # fork would copy threads and locks of the caller
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        n = len(seeds)
        yield from pool.map(fly_one, [path] * n, [sets] * n, seeds, chunksize=4)


def fly_campaign(path: Path, seeds: Sequence[int], sets: Sequence[str] = (), workers: int = 1,
                 progress: Callable[[Row], None] | None = None) -> Result:
    """Fly a bench file once per seed. progress is called with each finished flight, in order of seed."""
    result = Result(Bench.load(path, sets).name)
    for row in _rows(str(path), tuple(sets), seeds, workers):
        result.rows.append(row)
        if progress:
            progress(row)
    return result


def summary(result: Result) -> list[str]:
    """What a person wants to know, line by line."""
    rows, feasible = result.rows, result.feasible
    lines = [f"{result.bench}: {len(rows)} flights, {len(feasible)} feasible, {len(result.saved)} of these as expected "
             f"({100 * result.share:.1f} %); {len(rows) - len(feasible)} declared infeasible before the run, "
             f"{sum(r.met for r in rows if not r.feasible)} of these as expected"]
    names = list(dict.fromkeys(name for r in feasible for name in r.values))
    for name in names:
        numbers = np.array([r.values[name] for r in feasible if r.values.get(name) is not None], float)
        if numbers.size:
            lines.append(f"  {name:32s} median {np.median(numbers):9.3f}   p99 {np.percentile(numbers, 99):9.3f}   "
                         f"min {numbers.min():9.3f}   max {numbers.max():9.3f}")
    for r in [r for r in feasible if not r.met][:20]:
        lines.append(f"  seed {r.seed}: {r.outcome}: {r.error or ', '.join(r.broken) or 'as if nothing were wrong'}")
    return lines


def write_csv(result: Result, path: Path) -> None:
    """One line per flight."""
    names = list(dict.fromkeys(name for r in result.rows for name in r.values))
    with path.open("w", newline="", encoding="utf-8") as stream:
        out: Any = csv.writer(stream, lineterminator="\n")
        out.writerow(["seed", "outcome", "met", "feasible", "sim_s", *names, "broken", "error"])
        for r in result.rows:
            out.writerow([r.seed, r.outcome, int(r.met), int(r.feasible), repr(r.sim_s),
                          *(repr(r.values.get(n)) if r.values.get(n) is not None else "" for n in names),
                          "; ".join(r.broken), r.error])
