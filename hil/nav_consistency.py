"""Is navigation as good as it says it is? Many flights of one bench, its errors against its own covariance.

Per flight and instant (10 Hz) the filter's state is read from the node that flies it and compared with the world at the filter's own time:
x = truth - estimate of position m, velocity m/s and attitude rad of the IMU, Earth-fixed, as nav.h defines them, and P its covariance.
NEES = x' P^-1 x, averaged over the flights that fly at that instant, divided by nine: 1 is right, more is overconfident, less too
cautious. The band of one instant with N flights holds 95 % of chi-square(9 N) / (9 N); likewise NIS of position fixes with three
degrees of freedom. Bar-Shalom, Li, Kirubarajan, Estimation with Applications to Tracking and Navigation, 2001, chapter 5.

Reading changes nothing: the covariance is brought up to date in a copy. A flight depends on its seed alone.
"""

from __future__ import annotations

import html
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flightsw import _core
from flightsw.errors import ConfigError
from hil.bench import Bench
from hil.flight import Flight
from hil.report.signals import interpolate, interpolate_hermite, interpolate_quat, quat_mul

Array = np.ndarray[Any, Any]
ffi, lib = _core.ffi, _core.lib
EVERY_S = 0.1
RATIO, SHARE, CERTAIN_RUNS = 0.07, 0.85, 50  # limits of the time means for 100 flights; runs from which the share is judged
_TRUTH_S = 0.024                             # of truth before an instant: the filter's own time lies within
_STATES = ("fsw_nav_state_t", "fsw_nav_lanes_state_t")  # of lanes the first, with which the other's state begins
_WORLD = "fsw_world_state_t"


@dataclass(frozen=True)
class Places:
    """Where a bench keeps what is compared: node and task of the filter, node and topic of the truth."""

    node: str
    task: str
    world: str
    topic: str


@dataclass(frozen=True)
class Sampled:
    """One flight, row by row: filter time s, error (n, 9), NEES of all nine and of each block of three, NIS of fixes over their dof."""

    seed: int
    t: Array
    error: Array
    nees: Array             # (n, 4): all nine, position, velocity, attitude
    nis_t: Array
    nis: Array
    problem: str = ""


@dataclass(frozen=True)
class Consistency:
    """All flights of a bench, in order of seed."""

    bench: str
    flights: list[Sampled] = field(default_factory=list)


def find(bench: Bench) -> Places:
    """Places of filter and truth. ConfigError when the bench has no navigation filter or no world here."""
    filters, worlds = [], []
    remote = {p.name for p in bench.plans if p.where != "here"}
    for name, node in bench.nominal.items():
        filters += [(name, t.spec.name) for t in node.tasks if t.type.state_name in _STATES and name not in remote]
        worlds += [(name, topic) for topic, t in node.topics.items() if t.type.name == _WORLD and _written(node, topic)]
    if not filters or not worlds:
        what = "a task with the state of the navigation filter (gnc.nav)" if not filters else "a topic fsw_world_state_t"
        raise ConfigError.one(bench.name, "nodes", f"wanted is {what} in a node that runs here")
    return Places(*filters[0], *worlds[0])


def _written(node: Any, topic: str) -> bool:
    return any(topic in t.spec.writes.values() or topic in {p.name for p in t.type.writes} for t in node.tasks)


# ---- one flight --------------------------------------------------------------------------------------------------------------------


def _truth(flight: Flight, at: Places) -> tuple[float, Array]:
    w = flight.node(at.world).topic(at.topic)
    return float(w["t_ns"]) * 1e-9, np.concatenate([w["r_bl_l"], w["v_bl_l"], w["q_bl"], w["omega_bl_b"]])


def _rotate(q: Array, v: Array) -> Array:
    """v turned by the unit quaternion q."""
    return np.asarray(v + 2.0 * np.cross(q[1:], np.cross(q[1:], v) + q[0] * v))


def _error(state: Any, t: Array, truth: Array) -> Array:
    """Truth minus estimate at the filter's time; truth: rows of position, velocity, attitude, rate in the site frame."""
    at = np.array([state.f.t_ns * 1e-9])
    q_bl = interpolate_quat(at, t, truth[:, 6:10])[0]
    lever = np.array(list(state.lever_imu))
    r_l = interpolate_hermite(at, t, truth[:, :3], truth[:, 3:6])[0] + _rotate(q_bl, lever)
    v_l = interpolate(at, t, truth[:, 3:6])[0] + _rotate(q_bl, np.cross(interpolate(at, t, truth[:, 10:13])[0], lever))
    c_le, q_le = np.array(list(state.c_le)).reshape(3, 3), np.array(list(state.q_le))
    q_true = quat_mul(q_le * np.array([1.0, -1.0, -1.0, -1.0]), q_bl)
    turn = quat_mul(q_true, np.array(list(state.f.q_be)) * np.array([1.0, -1.0, -1.0, -1.0]))
    r = np.array(list(state.site_e)) + c_le.T @ r_l - np.array(list(state.f.r_e))
    return np.concatenate([r, c_le.T @ v_l - np.array(list(state.f.v_e)), 2.0 * turn[1:] * (1.0 if turn[0] >= 0.0 else -1.0)])


def _nees(error: Array, p: Array) -> list[float]:
    blocks = (slice(0, 9), slice(0, 3), slice(3, 6), slice(6, 9))
    return [float(error[b] @ np.linalg.solve(p[b, b], error[b])) for b in blocks]


class _Reader:
    """Reads the filter of a running flight."""

    def __init__(self, flight: Flight, at: Places) -> None:
        self.flight, self.at = flight, at
        self.state, self.params = ffi.new("fsw_nav_state_t *"), ffi.new("fsw_nav_params_t *")
        self._copy(self.params, flight.node(at.node).params(at.task))
        self.rows: list[tuple[float, Array, list[float]]] = []
        self.nis: list[tuple[float, float]] = []
        self._last = 0.0

    def _copy(self, target: Any, record: Array) -> None:
        raw = record.tobytes()
        size = ffi.sizeof(target[0])
        if len(raw) < size:
            raise ConfigError.one(self.flight.bench.name, self.at.task, "its state is not that of this version's filter")
        ffi.memmove(target, raw, size)

    def sample(self, t: Array, truth: Array) -> None:
        """One instant; the filter before its first sample or without a position is left out."""
        s = self.state
        self._copy(s, self.flight.node(self.at.node).state(self.at.task))
        now = s.f.t_ns * 1e-9
        if s.imu_count == 0 or not t[0] <= now <= t[-1]:
            return
        lib.fsw_nav_update_covariance(s, self.params)
        p = np.empty((9, 9))
        lib.fsw_nav_covariance(s, ffi.cast("double *", ffi.from_buffer(p)))
        error = _error(s, t, truth)
        self.rows.append((now, error, _nees(error, p)))
        if s.nis_gnss != self._last:
            self._last = s.nis_gnss
            self.nis.append((now, s.nis_gnss))


def fly_one(path: str, sets: tuple[str, ...], seed: int) -> Sampled:
    """Fly one seed to its end and read the filter on the way. A flight that fails is told, not raised."""
    bench = Bench.load(path, sets)
    at = find(bench)
    none = np.zeros((0, 4))
    try:
        with bench.start(seed) as flight:
            reader = _Reader(flight, at)
            k = 1
            ticks = max(2, round(_TRUTH_S * 1e9 / bench.base_tick_ns))
            while not flight.stopped and flight.t_s < bench.duration_s:
                flight.run(until=k * EVERY_S - (ticks - 1) * bench.base_tick_ns * 1e-9)
                kept = [_truth(flight, at)]
                for _ in range(ticks):  # the last one is the first after the instant: then the world has told it
                    flight.step()
                    kept.append(_truth(flight, at))
                new = [x for i, x in enumerate(kept) if i == 0 or x[0] > kept[i - 1][0]]
                if len(new) > 1:
                    reader.sample(np.array([x[0] for x in new]), np.array([x[1] for x in new]))
                k += 1
    except ConfigError:
        raise
    except Exception as exc:  # the others go on; the summary names it
        return Sampled(seed, none[:, 0], np.zeros((0, 9)), none, none[:, 0], none[:, 0], f"{type(exc).__name__}: {exc}")
    t = np.array([r[0] for r in reader.rows])
    nis = np.array(reader.nis).reshape(-1, 2)
    return Sampled(seed, t, np.array([r[1] for r in reader.rows]).reshape(-1, 9), np.array([r[2] for r in reader.rows]).reshape(-1, 4),
                   nis[:, 0], nis[:, 1])


def _flights(path: str, sets: tuple[str, ...], seeds: Sequence[int], workers: int) -> Iterator[Sampled]:
    if workers == 1:
        for seed in seeds:
            yield fly_one(path, sets, seed)
        return
    context = multiprocessing.get_context("spawn")  # fork would copy threads and locks of the caller
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        n = len(seeds)
        yield from pool.map(fly_one, [path] * n, [sets] * n, seeds)


def fly(path: Path, seeds: Sequence[int], sets: Sequence[str] = (), workers: int = 1,
        progress: Callable[[Sampled], None] | None = None) -> Consistency:
    """Fly a bench file once per seed. progress is called with each finished flight, in order of seed. Raises ConfigError."""
    bench = Bench.load(path, sets)
    find(bench)
    result = Consistency(bench.name)
    for one in _flights(str(path), tuple(sets), seeds, workers):
        result.flights.append(one)
        if progress:
            progress(one)
    return result


# ---- what they say ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """Mean over flights at each instant, over its degrees of freedom, and the 95 % band of one instant."""

    t: Array
    mean: Array
    low: Array
    high: Array

    @property
    def ratio(self) -> float:
        """Mean over time; 1 is right."""
        return float(self.mean.mean()) if self.mean.size else float("nan")

    @property
    def inside(self) -> float:
        """Share of instants within the band of one instant."""
        return float(np.mean((self.mean > self.low) & (self.mean < self.high))) if self.mean.size else 0.0


def _chi_square(dof: Array, z: float) -> Array:
    """Quantile of chi-square / dof by Wilson and Hilferty, PNAS 17 (1931) 684: within 1 % from 9 degrees of freedom on."""
    k = 2.0 / (9.0 * dof)
    return np.asarray((1.0 - k + z * np.sqrt(k)) ** 3)


def curve(times: Sequence[Array], values: Sequence[Array], dof: int) -> Curve:
    """Average of several flights over bins of EVERY_S; bins with less than half of the flights are left out."""
    t = np.concatenate(list(times)) if times else np.zeros(0)
    x = np.concatenate(list(values)) if values else np.zeros(0)
    index = np.round(t / EVERY_S).astype(int)
    n = np.bincount(index, minlength=1).astype(float)
    total = np.bincount(index, weights=x, minlength=1)
    use = np.flatnonzero(n >= max(1.0, 0.5 * len(times)))
    return Curve(use * EVERY_S, total[use] / n[use], _chi_square(dof * n[use], -1.959964), _chi_square(dof * n[use], 1.959964))


@dataclass(frozen=True)
class Verdict:
    """Time means, and what of them is outside its limits."""

    nees: dict[str, Curve]
    nis: Curve
    outside_3_sigma: float
    problems: list[str]
    broken: list[str]

    @property
    def ok(self) -> bool:
        """All limits hold and every flight was flown."""
        return not self.broken and not self.problems


_NAMES = ("all nine states", "position", "velocity", "attitude")
_DOF = (9, 3, 3, 3)


def judge(result: Consistency, ratio: float = RATIO, share: float = SHARE) -> Verdict:
    """NEES over nine within 1 -+ ratio, two-sided; fewer than 100 flights scatter more, so its limit grows with sqrt(100 / n); the
    share of instants within the band from CERTAIN_RUNS flights on."""
    good = [f for f in result.flights if not f.problem and f.t.size]
    nees = {name: curve([f.t for f in good], [f.nees[:, i] / dof for f in good], dof)
            for i, (name, dof) in enumerate(zip(_NAMES, _DOF, strict=True))}
    nis = curve([f.nis_t for f in good], [f.nis for f in good], 3)
    whole = nees[_NAMES[0]]
    wide = ratio * max(1.0, (100.0 / max(1, len(good))) ** 0.5)
    broken = []
    if not abs(whole.ratio - 1.0) <= wide:
        broken.append(f"NEES over nine {whole.ratio:.3f}, allowed {max(0.0, 1 - wide):.3f} to {1 + wide:.3f}")
    if len(good) >= CERTAIN_RUNS and whole.inside < share:
        broken.append(f"share of instants within the 95 % band {whole.inside:.3f}, allowed {share:g} and more")
    tail = [f.nees[:, 1:] > 14.16 for f in good]  # chi-square of 3 beyond 3 sigma, 0.27 %
    outside = float(np.mean(np.concatenate(tail))) if tail else 0.0
    return Verdict(nees, nis, outside, [f"seed {f.seed}: {f.problem or 'the filter was never read'}" for f in result.flights
                                        if f.problem or not f.t.size], broken)


def summary(result: Consistency, verdict: Verdict) -> list[str]:
    """What a person wants to know, line by line."""
    lines = [f"{result.bench}: {len(result.flights)} flights, navigation against its own covariance"]
    for name, c in verdict.nees.items():
        lines.append(f"  NEES / degrees of freedom, {name:16s} {c.ratio:6.3f}   {100 * c.inside:5.1f} % of instants within the 95 % band")
    lines.append(f"  NIS / degrees of freedom, position fixes  {verdict.nis.ratio:6.3f}   {100 * verdict.nis.inside:5.1f} %")
    lines.append(f"  blocks of three beyond 3 sigma: {100 * verdict.outside_3_sigma:.2f} % (right: 0.27 %)")
    lines += [f"  {p}" for p in verdict.problems[:20]]
    lines += [f"  NOT MET: {b}" for b in verdict.broken] or ["  consistent" if verdict.ok else "  NOT MET: flights failed"]
    return lines


def write_page(path: Path, result: Consistency, verdict: Verdict) -> None:
    """Self-contained HTML: NEES of all states and of each block, NIS, each within its band. ConfigError when it cannot be written."""
    from hil.report.figures import RED, Line, Row, time_figure
    from hil.report.page import document

    curves = {**{f"NEES / dof, {k}": v for k, v in verdict.nees.items()}, "NIS / dof, position fixes": verdict.nis}
    figures, body = {}, []
    good = " good" if verdict.ok else " bad"
    told = "".join(f"<li>{html.escape(line.strip())}</li>" for line in summary(result, verdict)[1:])
    body.append(f'<div class="verdict{good}"><h1>{"CONSISTENT" if verdict.ok else "NOT CONSISTENT"}</h1>'
                f'<p class="title">{html.escape(result.bench)}, {len(result.flights)} flights</p></div><section id="told"><ul>{told}</ul>'
                "<p>Mean over the flights at each instant over its degrees of freedom, and the two-sided 95 % band of one instant. Above: "
                "navigation claims to be better than it is. Below: worse.</p></section>")
    rows = []
    for name, c in curves.items():
        if c.t.size > 1:
            top = float(max(2.0, min(5.0, 1.1 * c.mean.max())))
            bounds = [Line("95 % band", c.t, c.low, RED, "dash"), Line("", c.t, c.high, RED, "dash")]
            rows.append(Row(name, [Line("mean", c.t, c.mean), *bounds], span=(0.0, top)))
    if rows:
        figures["nees"] = time_figure(rows, [], (0.0, float(verdict.nees[_NAMES[0]].t[-1])))
        body.append(f'<section id="curves"><h2>NEES and NIS</h2><div class="plot" id="nees" '
                    f'style="min-height:{int(figures["nees"]["layout"]["height"])}px"></div></section>')
    page = document(f"{result.bench}: consistency of navigation", [("told", "Verdict"), ("curves", "NEES and NIS")], "\n".join(body), figures)
    try:
        path.write_text(page, "utf-8")
    except OSError as exc:
        raise ConfigError.one("--html", str(path), f"cannot be written: {exc.strerror}") from None
