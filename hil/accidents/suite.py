"""Flying scenarios: ours and the naive twin over seeds and fault times, on all cores, judged.

A scenario holds when ours meets its criteria in every flight and the twin fails in every one by the documented mechanism. A flight in
which no fault came into force proves nothing and counts against both. Flights that physics cannot save, by the independent
calculation made before them, are no failures of ours when the pad was given up, and nothing is asked of the twin there.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hil.accidents.constants import fly_constants
from hil.accidents.scenario import Count, Scenario, as_dict
from hil.bench import Bench
from hil.config import Criterion
from hil.faults import INJECTOR
from hil.feasibility import assess
from hil.flight import Flight
from hil.verdict import CriterionResult, check, last_value

MARGIN_FLIGHTS = 15  # fewer do not tell a sigma
HOLDS, TOOTHLESS, BROKEN = "holds", "no teeth", "ours fails"
DIVERT = ("guidance", "divert")
FATE = ("touchdown speed, down", "touchdown speed, across", "touchdown tilt", "touchdown rate", "distance from the pad centre",
        "propellant left", "axial load", "tilt at rest")  # not asked of a flight that physics cannot save


@dataclass(frozen=True)
class Run:
    """One flight. met: what was asked of it (ours: criteria; twin: failed, by its mechanism). why: what was seen, for people."""

    scenario: str
    naive: bool
    seed: int
    offset_s: float
    met: bool
    feasible: bool
    why: str
    values: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """Flights of one bench: a scenario, one of the two flight computers, one fault time."""

    path: str
    naive: bool
    offset_s: float
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class MarginResult:
    """A limit and the healthy flights below it. sigmas: from their mean to the limit."""

    name: str
    limit: float
    mean: float
    sigma: float
    most: float
    sigmas: float
    wanted: float
    unit: str
    flights: int

    @property
    def ok(self) -> bool:
        """Far enough; of a few flights only whether all stayed below."""
        return self.most < self.limit and (self.sigmas >= self.wanted or self.flights < MARGIN_FLIGHTS)


@dataclass(frozen=True)
class ScenarioResult:
    """All flights of a scenario."""

    scenario: Scenario
    runs: list[Run]

    def side(self, naive: bool) -> list[Run]:
        """Flights of ours, or of the twin as far as physics could have saved them."""
        return [r for r in self.runs if r.naive is naive and (r.feasible or not naive or self.scenario.accident.beyond_saving)]

    @cached_property
    def margins(self) -> list[MarginResult]:
        """Of ours, over all flights."""
        out = []
        for m, _, limit in self.scenario.margins:
            x = np.array([r.values.get(m.name) for r in self.side(False)], float)
            mean, sigma, most = float(x.mean()), float(x.std(ddof=1)) if len(x) > 1 else 0.0, float(x.max())
            out.append(MarginResult(m.name, limit, mean, sigma, most, (limit - mean) / max(sigma, 1e-9), m.sigmas, m.unit, len(x)))
        return out

    @property
    def verdict(self) -> str:
        """HOLDS, or what does not."""
        if not all(r.met for r in self.side(False)) or not all(m.ok for m in self.margins):
            return BROKEN
        return HOLDS if self.side(True) and all(r.met for r in self.side(True)) else TOOTHLESS

    def as_dict(self) -> dict[str, Any]:
        """For JSON: counts, verdict, and every flight that was not as asked."""
        ours, twin = self.side(False), self.side(True)
        return {**as_dict(self.scenario), "ours_passed": sum(r.met for r in ours), "ours_flown": len(ours),
                "naive_failed": sum(r.met for r in twin), "naive_flown": len(twin),
                "infeasible": sum(not r.feasible for r in ours), "verdict": self.verdict,
                "margins": [asdict(m) for m in self.margins],
                "mechanism": self.scenario.twin.text, "not_as_asked": [asdict(r) for r in self.runs if not r.met]}


def jobs(scenario: Scenario, seeds: int, offsets: int) -> list[Job]:
    """All flights of a scenario. Where no fault can be moved, offsets are further seeds."""
    path = str(scenario.path)
    if scenario.accident.kind == "constants":
        return [Job(path, naive, 0.0, tuple(range(1, seeds + 1))) for naive in (False, True)]
    if scenario.varies_time:
        return [Job(path, naive, at, tuple(range(1, seeds + 1))) for naive in (False, True) for at in scenario.offsets(offsets)]
    own = [tuple(range(1 + k * seeds, 1 + (k + 1) * seeds)) for k in range(offsets)]
    return [Job(path, naive, 0.0, some) for naive in (False, True) for some in own]


def flights(scenario: Scenario, seeds: int, offsets: int) -> int:
    """How many flights that makes."""
    return sum(len(j.seeds) for j in jobs(scenario, seeds, offsets)) * max(1, len(scenario.accident.change))


def injected(bench: Bench, flight: Flight) -> bool:
    """Every fault of the bench came into force."""
    place = next(((p.name, t.name) for p in bench.plans for t in p.tasks if t.type == INJECTOR), None)
    if not bench.config.fault or place is None:
        return True
    return bool((flight.node(place[0]).state(place[1])["status"][: len(bench.config.fault)] >= 2).all())


def counted(flight: Flight, counts: Sequence[Count]) -> list[CriterionResult]:
    """Numbers in states, held against their limits."""
    out = []
    for c in counts:
        limits = Criterion(name=c.name, topic="a.b", field=c.field, min=c.min, max=c.max)
        out.append(check(limits, float(flight.node(c.node).state(c.task)[c.field])))
    return out


def _divert(flight: Flight) -> bool:
    return any(DIVERT[0] in view.compiled.topics and view.compiled.topics[DIVERT[0]].writer is not None
               and bool(view.topic(DIVERT[0])[DIVERT[1]]) for view in flight.graph.nodes.values())


def judge(scenario: Scenario, bench: Bench, flight: Flight, naive: bool, feasible: bool) -> tuple[bool, str, dict[str, float | None]]:
    """(as asked, what was seen, values of the criteria) of a flight that is over."""
    judged = scenario.accident.judged
    results = [c for c in flight.verdict().criteria if not judged or c.name in judged]
    results += counted(flight, scenario.accident.count)
    if not feasible and not naive:
        results = [c for c in results if c.name not in FATE]
    values = {c.name: c.value for c in results}
    broken = [f"{c.name} {'never' if c.value is None else f'{c.value:.4g}'}" for c in results if not c.ok]
    if not injected(bench, flight):
        return False, "a fault never came into force", values
    if scenario.accident.beyond_saving and feasible:
        return False, "the calculation before the flight says that it can be saved", values
    if not naive:
        values |= {m.name: last_value(flight.graph.nodes, ref) for m, ref, _ in scenario.margins}
        if not feasible and not _divert(flight):
            broken.append("beyond saving, and the pad was not given up")
        return not broken, ", ".join(broken), values
    seen = [check(c, last_value(flight.graph.nodes, ref)) for c, ref in scenario.mechanism]
    seen += counted(flight, scenario.twin.count)
    values |= {c.name: c.value for c in seen}
    missing = [c.name for c in seen if not c.ok]
    if not broken:
        return False, "the naive twin met every criterion", values
    if missing:
        return False, f"the naive twin failed, but not so: {', '.join(missing)}", values
    return True, "; ".join(f"{c.name}: {c.value:.4g} {c.unit}".strip() for c in seen), values


def fly(job: Job) -> list[Run]:
    """All flights of a job. A flight whose software fails counts as one that was not as asked."""
    scenario = Scenario.load(Path(job.path), check=False)  # whoever asked for the flights has checked it
    if scenario.accident.kind == "constants":
        return [Run(scenario.name, job.naive, seed, 0.0, met, True, why)
                for seed in job.seeds for met, why in fly_constants(scenario, job.naive, seed)]
    bench = scenario.bench(job.naive, job.offset_s)
    out = []
    for seed in job.seeds:
        feasible = assess(bench, seed).feasible
        try:
            with bench.start(seed) as flight:
                flight.run()
                met, why, values = judge(scenario, bench, flight, job.naive, feasible)
        except Exception as exc:  # the suite goes on; the run tells what happened
            met, why, values = False, f"{type(exc).__name__}: {exc}", {}
        out.append(Run(scenario.name, job.naive, seed, job.offset_s, met, feasible, why, values))
    return out


def _flown(todo: Sequence[Job], workers: int) -> Iterator[list[Run]]:
    if workers == 1:
        yield from map(fly, todo)
        return
    context = multiprocessing.get_context("spawn")  # fork would copy threads and locks of the caller
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(fly, todo)


def fly_scenarios(scenarios: Sequence[Scenario], seeds: int = 5, offsets: int = 3, workers: int = 1,
                  progress: Callable[[Run], None] | None = None) -> list[ScenarioResult]:
    """Fly all flights of all scenarios. The result does not depend on the number of workers.

    progress: called with every flight, in order.
    """
    todo = [job for s in scenarios for job in jobs(s, seeds, offsets)]
    runs: dict[str, list[Run]] = {s.name: [] for s in scenarios}
    for some in _flown(todo, workers):
        for run in some:
            runs[run.scenario].append(run)
            if progress is not None:
                progress(run)
    return [ScenarioResult(s, runs[s.name]) for s in scenarios]


def table(results: Sequence[ScenarioResult]) -> list[str]:
    """Line by line: scenario, ours passed of flown, twin failed of flown, how it failed, verdict; below, what was not as asked."""
    rows = [("scenario", "ours passed", "naive failed", "verdict", "how the naive twin fails")]
    for r in results:
        ours, twin = r.side(False), r.side(True)
        beyond = sum(not x.feasible for x in ours)
        rows.append((r.scenario.title, f"{sum(x.met for x in ours)}/{len(ours)}" + (f" ({beyond} beyond saving)" if beyond else ""),
                     f"{sum(x.met for x in twin)}/{len(twin)}", r.verdict, r.scenario.twin.text))
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]]) for row in rows]
    for m in [m for r in results for m in r.margins]:
        lines.append(f"  margin of {m.name}: {m.sigmas:.1f} sigma (limit {m.limit:.4g} {m.unit}, mean {m.mean:.4g}, sigma {m.sigma:.3g}, "
                     f"most {m.most:.4g}, {m.flights} flights)" + ("" if m.ok else f", {m.wanted:g} wanted"))
    for r in results:
        for x in [x for x in r.runs if not x.met and (x in r.side(x.naive))][:5]:
            lines.append(f"  {x.scenario}, {'naive' if x.naive else 'ours'}, seed {x.seed}, offset {x.offset_s:g} s: {x.why}")
    flown = sum(len(r.runs) for r in results)
    good = sum(r.verdict == HOLDS for r in results)
    lines.append(f"{good} of {len(results)} scenarios hold: ours passes and the naive twin fails by its mechanism ({flown} flights)")
    return lines
