"""A graph against the wall clock: the real-time driver (native/include/flightsw/realtime.h) from Python.

    driver = RealTime(graph, RealTimeConfig(priority=80, spin_us=50), until_tick=60_000)
    driver.start()
    while driver.wait(0.1) == RUNNING:
        ...
    print(driver.join().missed)
"""

from __future__ import annotations

import contextlib
import gc
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flightsw._native import ffi, lib
from flightsw.errors import FlightswError, StepError
from flightsw.graph import Graph, Snapshot
from flightsw.tasks import take_failure

RUNNING, DONE, STOPPED, ASKED, FAILED, TOO_LATE, DEADLINE = range(7)
WHY = {DONE: "ran to its end", STOPPED: "its stop condition was met", ASKED: "was asked to stop", FAILED: "a task failed",
       TOO_LATE: "fell behind the clock by more than stop_ticks", DEADLINE: "a task whose on_miss is stop missed its deadline"}
QUANTILES = (0.5, 0.9, 0.99, 0.999)
KEYFRAME_SLOTS = 4


@dataclass(frozen=True)
class RealTimeConfig:
    """What is asked for. speed: wall seconds per second are 1 / speed. priority: of SCHED_FIFO, 0: ordinary scheduling.

    spin_us: spun before each release instead of slept. cpu: the only one to run on, -1: any. shed_ticks: late by so many, the
    flight computers do without their non-critical tasks (0: never). stop_ticks: late by so many, it ends (0: never).
    miss_limit: deadline misses in a row until a task's on_miss is done. warm_up_ticks: not in the statistics of lateness.
    """

    speed: float = 1.0
    priority: int = 0
    spin_us: int = 0
    cpu: int = -1
    lock_memory: bool = False
    shed_ticks: int = 2
    stop_ticks: int = 0
    miss_limit: int = 3
    warm_up_ticks: int = 100


@dataclass(frozen=True)
class TaskTimes:
    """Executions of one task, as measured: all times in microseconds. histogram: executions of [2^k, 2^(k+1)) ns."""

    node: str
    task: str
    python: bool
    runs: int
    mean_us: float
    max_us: float
    max_tick: int
    budget_us: int
    deadline_us: int
    overruns: int
    misses: int
    skipped: int
    histogram: list[int] = field(repr=False, default_factory=list)


@dataclass(frozen=True)
class RealTimeReport:
    """How a run against the clock went. granted: what the kernel said to each wish ("granted", "not asked for", or why not).

    late_us: quantiles of release lateness ("p50", ... "max"), after the warm-up. missed: ticks that began a period late or more (all
    of them, in the warm-up too). switches: voluntary context switches of the thread; more than sleeps would be a system call too many.
    """

    state: int
    why: str
    ticks: int
    period_us: float
    missed: int
    shed: int
    late_us: dict[str, float]
    late_mean_us: float
    late_max_tick: int
    granted: dict[str, str]
    sleeps: int
    switches: int
    preempted: int
    page_faults: int
    keyframes_lost: int
    late_blocks_us: list[float]  # greatest lateness in each of at most 600 equal parts of the run, warm-up included
    histogram: list[int]         # ticks released [2^k, 2^(k+1)) ns late
    tasks: list[TaskTimes]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.__dict__, "tasks": [t.__dict__ for t in self.tasks]}


class RealTime:
    """A graph, or nothing but the clock (graph None: the noise of this computer), on a thread of its own from `start` to `join`.

    While it runs, nobody else may touch the graph. keyframe_ticks: copy all images so often; `next_keyframe` takes them. shed: nodes whose
    non-critical tasks may be left out. channels: log channel numbers of ("host", "late") and ("host", "overruns"), if they are logged.
    """

    def __init__(self, graph: Graph | None, config: RealTimeConfig, until_tick: int, *, period_ns: int = 0, keyframe_ticks: int = 0,
                 shed: Sequence[str] = (), channels: Mapping[tuple[str, str], tuple[int, int]] | None = None) -> None:
        self.graph, self.config = graph, config
        base = period_ns or (graph.compiled[0].base_tick_ns if graph is not None else 1_000_000)
        channels = channels or {}
        c = self._c_config = ffi.new("fsw_rt_config_t *")
        c.period_ns, c.spin_ns = round(base / config.speed), config.spin_us * 1000
        c.until_tick, c.keyframe_ticks = until_tick, keyframe_ticks
        c.shed_ticks, c.stop_ticks, c.warm_up_ticks = config.shed_ticks, config.stop_ticks, config.warm_up_ticks
        c.miss_limit, c.priority, c.cpu, c.lock_memory = config.miss_limit, config.priority, config.cpu, config.lock_memory
        c.late_channel = channels.get(("host", "late"), (0xFFFF, 1))[0]
        c.overrun_channel = channels.get(("host", "overruns"), (0xFFFF, 1))[0]
        self._memory = ffi.new("uint64_t[]", -(-lib.fsw_rt_bytes() // 8))
        self._rt = ffi.cast("fsw_rt_t *", self._memory)
        names = list(graph.nodes) if graph is not None else []
        self._shed = ffi.new("uint8_t[]", [int(n in shed) for n in names] or [0])
        lib.fsw_rt_init(self._rt, c, graph.bench if graph is not None else ffi.NULL, self._shed)
        first = graph.tick if graph is not None else 0
        self.late_ns = np.zeros(max(0, until_tick - first), np.int32)
        self._slots(keyframe_ticks)
        self.timings = graph.watch(clock=True) if graph is not None else {}
        self._started = False

    def _slots(self, keyframe_ticks: int) -> None:
        g = self.graph
        size = 8 + sum(len(v.image) for v in g.nodes.values()) + g.bench.link_image_size if g is not None and keyframe_ticks else 0
        size = -(-size // 8) * 8
        self._slot_bytes = np.zeros(KEYFRAME_SLOTS * size, np.uint8)
        self._slot_bytes.fill(0)
        self.late_ns.fill(0)  # touch every page now
        self._keep = (ffi.from_buffer("int32_t[]", self.late_ns, require_writable=True),
                      ffi.from_buffer("uint8_t[]", self._slot_bytes, require_writable=True))
        lib.fsw_rt_buffers(self._rt, self._keep[0], len(self.late_ns), self._keep[1], KEYFRAME_SLOTS if size else 0, size)

    def start(self) -> None:
        """Begin. FlightswError when the system gives no thread."""
        rc = lib.fsw_rt_start(self._rt)
        if rc:
            raise FlightswError(f"the real-time thread cannot be started: {os.strerror(rc)}")
        self._started = True
        self._guard = weakref.finalize(self, _let_go, self._rt, self._alive())

    def _alive(self) -> tuple[Any, ...]:
        """What the thread uses: it must not go before the thread does."""
        return self._memory, self._c_config, self._shed, self._keep, self.late_ns, self._slot_bytes, self.timings, self.graph

    def wait(self, seconds: float) -> int:
        """Wait for its end, but not longer than this; returns the state (RUNNING, DONE, ...)."""
        return int(lib.fsw_rt_wait(self._rt, max(1, round(seconds * 1e3))))

    @property
    def tick(self) -> int:
        """Ticks complete."""
        return int(lib.fsw_rt_tick(self._rt))

    def stop(self) -> None:
        """Ask it to end at the next tick."""
        lib.fsw_rt_stop(self._rt)

    def next_keyframe(self) -> tuple[Snapshot, dict[str, int]] | None:
        """The oldest keyframe not taken yet, with the digests of its images. For one other thread, also while it runs."""
        slot = lib.fsw_rt_keyframe(self._rt)
        if slot == ffi.NULL or self.graph is None:
            return None
        tick, at, images, digests = int(ffi.cast("int64_t *", slot)[0]), 8, {}, {}
        for name, view in self.graph.nodes.items():
            images[name] = bytes(ffi.buffer(slot + at, len(view.image)))
            aligned = np.zeros(-(-len(view.image) // 8), np.uint64)
            scratch = np.zeros_like(aligned)
            aligned.view(np.uint8)[: len(view.image)] = np.frombuffer(images[name], np.uint8)
            digests[name] = int(lib.fsw_canonical_digest(ffi.from_buffer(aligned), view.c.runs, view.c.n_runs, len(view.image),
                                                         ffi.from_buffer(scratch, require_writable=True)))
            at += len(view.image)
        links = bytes(ffi.buffer(slot + at, self.graph.bench.link_image_size))
        lib.fsw_rt_keyframe_release(self._rt)
        return Snapshot(tick, images, links), digests

    def join(self) -> RealTimeReport:
        """Wait for its end and tell. Raises what a Python task raised, or StepError, when a task failed."""
        if not self._started or not self._guard.detach():
            raise FlightswError("a real-time run is joined once, after it was started")
        r = ffi.new("fsw_rt_report_t *")
        lib.fsw_rt_join(self._rt, r)
        if self.graph is not None:
            for view in self.graph.nodes.values():
                view.c.watch = ffi.NULL
        if r.state == FAILED:
            failure = take_failure()
            if failure is not None:
                raise failure
            raise self.graph._step_error(r.code) if self.graph is not None else StepError(f"error {r.code}")
        return self._report(r)

    def _report(self, r: Any) -> RealTimeReport:
        ticks = int(r.tick - r.first_tick)
        late = self.late_ns[min(self.config.warm_up_ticks, ticks) : ticks] * 1e-3
        values = np.quantile(late, QUANTILES).tolist() if len(late) else [0.0] * len(QUANTILES)
        late_us = {f"p{100 * q:g}".replace(".", "_"): v for q, v in zip(QUANTILES, values, strict=True)}
        late_us["max"] = r.late_max_ns * 1e-3
        granted = {"fifo": _answer(r.fifo), "memory_lock": _answer(r.memory), "cpu": _answer(r.affinity)}
        return RealTimeReport(r.state, WHY.get(r.state, "?"), ticks, self._c_config.period_ns * 1e-3, r.missed, r.shed, late_us,
                              r.late_sum_ns * 1e-3 / max(1, r.late_count), r.late_max_tick, granted, r.sleeps, r.switches, r.preempted,
                              r.faults, r.keyframes_lost, _greatest(self.late_ns[:ticks]), list(r.histogram), self._task_times())

    def _task_times(self) -> list[TaskTimes]:
        out = []
        for name, table in self.timings.items():
            assert self.graph is not None
            for task, t in zip(self.graph.nodes[name].compiled.tasks, table, strict=True):
                runs = int(t["runs"])
                out.append(TaskTimes(name, task.spec.name, task.type.python is not None, runs, t["sum_ns"] * 1e-3 / max(1, runs),
                                     t["max_ns"] * 1e-3, int(t["max_tick"]), task.spec.budget_us, task.spec.deadline_us,
                                     int(t["overruns"]), int(t["misses"]), int(t["skipped"]), t["histogram"].tolist()))
        return out


def _let_go(rt: Any, alive: tuple[Any, ...]) -> None:
    """Nobody joined the thread: it is ended before its memory goes."""
    lib.fsw_rt_stop(rt)
    lib.fsw_rt_join(rt, ffi.new("fsw_rt_report_t *"))


def _greatest(late_ns: np.ndarray[Any, Any]) -> list[float]:
    parts = np.array_split(late_ns, min(600, len(late_ns))) if len(late_ns) else []
    return [float(p.max()) * 1e-3 for p in parts]


def _answer(code: int) -> str:
    return {0: "granted", -1: "not asked for"}.get(code, f"refused: {os.strerror(max(code, 0))}")


@contextlib.contextmanager
def no_collections(python_tasks: bool) -> Iterator[None]:
    """While Python tasks run against the clock: what exists is no longer looked at by the garbage collector, and it does not run."""
    if not python_tasks:
        yield
        return
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


def noise(seconds: float, period_ns: int, config: RealTimeConfig) -> RealTimeReport:
    """What this computer does to a thread that only waits for its next release: the lateness that no software of ours causes."""
    driver = RealTime(None, config, max(1, round(seconds * 1e9 / period_ns * config.speed)), period_ns=period_ns)
    driver.start()
    try:
        while driver.wait(0.1) == RUNNING:
            pass
    finally:  # interrupted: the thread must not outlive what it works on
        driver.stop()
        report = driver.join()
    return report
