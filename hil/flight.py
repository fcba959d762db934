"""Flight: a running bench. Look into it, go on, go back, fork it, judge it, close its log."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from flightsw import realtime
from flightsw._native import ffi
from flightsw.errors import BenchUnavailable, FlightswError, LogError, StepError
from flightsw.graph import NEED_DRAIN, RESTORES, STOPPED, Graph, NodeView, Snapshot
from flightsw.realtime import RealTime, RealTimeConfig, RealTimeReport, no_collections
from flightsw.schedule import CompiledNode
from hil.recording import attach
from hil.strings import StringKeeper, restore_record
from hil.verdict import Verdict, judge

if TYPE_CHECKING:
    from flightsw.log import Log, LogWriter
    from hil.bench import Bench
    from hil.link.remote import Groups

_SLICE_S = 0.05      # wall time of one call into the core, so that Ctrl-C and progress are prompt
T = TypeVar("T")


class Flight:
    """A running bench. Use as a context manager, or close it: that completes its log.

    told: further metadata of the log, by name.
    """

    def __init__(self, bench: Bench, seed: int, log: Path | None = None, prepare: Callable[[Flight], None] | None = None) -> None:
        self.bench, self.seed, self.stopped = bench, seed, False
        self.told: dict[str, Mapping[str, str]] = {}
        compiled = bench.compiled(seed)
        self.graph = Graph(compiled, bench.links, bench.messages, seed)
        stop = bench.config.bench.stop
        if stop is not None:
            node, topic = stop.topic.split(".")
            self.graph.set_stop(node, topic, stop.field, stop.equals, self._ticks(stop.hold_s))
        self._slice = 64
        self._writer: LogWriter | None = None
        self._log_path = log
        self._keyframe_ticks = max(1, self._ticks(bench.config.bench.keyframe_s))
        self._last_keyframe = -1
        self.real_time: RealTimeReport | None = None
        self.noise: RealTimeReport | None = None
        attach(self.graph, bench.recorded, bench.messages, bench.base_tick_ns)
        self._remote: Any = self._start_remote()
        self.keeper = StringKeeper(self) if bench.strings else None
        try:
            if prepare is not None:
                prepare(self)
            if log is not None:
                self._open_log(log, compiled)
        except BaseException:
            self.close(complete=False)
            raise

    # ---- where it is -----------------------------------------------------------------------------------------------

    @property
    def tick(self) -> int:
        """Base ticks completed."""
        return self.graph.tick

    @property
    def t_s(self) -> float:
        """Mission elapsed time, s."""
        return self.graph.tick * self.bench.base_tick_ns / 1e9

    @property
    def remote(self) -> Groups | None:
        """Boards that run elsewhere."""
        groups: Groups | None = self._remote
        return groups

    def node(self, name: str) -> NodeView:
        """Topics, states and parameters of a node, as views. KeyError when there is none of that name."""
        return self.graph.nodes[name]

    def _ticks(self, seconds: float) -> int:
        return round(seconds * 1e9 / self.bench.base_tick_ns)

    # ---- going on --------------------------------------------------------------------------------------------------

    def step(self, n: int = 1) -> None:
        """Run n ticks, past any stop condition. Raises StepError when a task fails."""
        self._advance(self.tick + n, True, None)

    def run(self, until: float | None = None, progress: Callable[[float], None] | None = None) -> None:
        """Run to the stop condition, the bench's duration, or `until` seconds of mission time, whichever comes first.

        progress: called with the mission time now and then. Raises StepError when a task fails.
        """
        end = self.bench.duration_s if until is None else min(until, self.bench.duration_s)
        if self.stopped:
            return
        if self.bench.real_time is not None:
            self._run_real_time(self._ticks(end), progress)
        else:
            self._advance(self._ticks(end), False, progress)

    def _run_real_time(self, target: int, progress: Callable[[float], None] | None) -> None:
        """Against the wall clock. Raises BenchUnavailable when this computer fell too far behind, StepError for a missed deadline."""
        wanted = self.bench.real_time
        assert wanted is not None
        config = RealTimeConfig(**wanted.model_dump(exclude={"noise_s"}))
        shed = [p.name for p in self.bench.plans if p.role == "flight_computer"]
        self.noise = realtime.noise(wanted.noise_s, self.bench.base_tick_ns, config) if wanted.noise_s else None
        driver = RealTime(self.graph, config, target, keyframe_ticks=self._keyframe_ticks if self._writer is not None else 0, shed=shed,
                          channels=self._writer.channel_map if self._writer is not None else None)
        if self._writer is not None:
            self._writer.keyframe_source = driver.next_keyframe
        with no_collections(self.bench.has_python_tasks):
            driver.start()
            try:
                while driver.wait(0.1) == realtime.RUNNING:
                    if progress is not None:
                        progress(driver.tick * self.bench.base_tick_ns / 1e9)
            finally:
                driver.stop()
                self.real_time = self._guarded(driver.join)
        self._end_real_time(self.real_time)

    def _end_real_time(self, report: RealTimeReport) -> None:
        if self._writer is not None:
            flat = {k: str(v) for k, v in report.as_dict().items() if isinstance(v, int | float | str)}
            self._writer.note("real_time", {**flat, **report.granted, **{f"late_{k}_us": f"{v:.3f}" for k, v in report.late_us.items()}})
        self.stopped = report.state == realtime.STOPPED
        at = f"at tick {self.tick} ({self.t_s:.3f} s)"
        if report.state == realtime.TOO_LATE:
            raise BenchUnavailable(f"{at}: this computer is behind the clock by more than stop_ticks; {report.missed} ticks were missed")
        if report.state == realtime.DEADLINE:
            missed = [f'"{t.task}" of node "{t.node}"' for t in report.tasks if t.misses]
            raise StepError(f'{at}: a task whose on_miss is "stop" missed its deadline; tasks with misses: {", ".join(missed)}')

    def _advance(self, target: int, past_stop: bool, progress: Callable[[float], None] | None) -> None:
        while self.tick < target:
            before, began, keyframe = self.tick, time.perf_counter(), self._next_keyframe()
            keeper = self.keeper.next_tick(before) if self.keeper is not None else target
            rc = self._core_run(min(target, before + self._slice, keyframe, keeper))
            spent, ran = time.perf_counter() - began, self.tick - before
            if rc == NEED_DRAIN and self._writer is not None:
                self._writer.drain()
                if ran == 0 and self._core_run(before + 1) == NEED_DRAIN:
                    raise FlightswError("the log buffer is too small for the records of one tick")
            if ran:  # only how the ticks are cut into calls depends on the clock, not what they do
                self._slice = max(1, min(4 * self._slice, 1_000_000, int(ran * _SLICE_S / max(spent, 1e-6))))
            if self._writer is not None and self.tick == keyframe:
                self._keyframe()
            if self.keeper is not None and ran:  # what it does comes behind the keyframe of this tick
                self.keeper.act()
            if progress is not None:
                progress(self.t_s)
            if rc == STOPPED:
                self.stopped = True
                if not past_stop:
                    return

    def note_restore(self, node: str, healthy: str, from_tick: int, inputs: int) -> None:
        """The image of a node was replaced: into the log, with a keyframe of this tick."""
        if self._writer is None:
            return
        self._writer.drain()
        channel = self._writer.channel_map[node, RESTORES][0]
        restore_record(self.graph, self._writer.recorder, channel, node, from_tick, healthy, inputs)
        self._keyframe()

    def _next_keyframe(self) -> int:
        """The first tick of a keyframe after this one (without a log as well: then it is only a place to pause)."""
        return (max(self.tick, self._last_keyframe) // self._keyframe_ticks + 1) * self._keyframe_ticks

    def _core_run(self, until: int) -> int:
        return self._guarded(lambda: self.graph.run(until))

    def _guarded(self, run: Callable[[], T]) -> T:
        try:
            return run()
        except (FlightswError, KeyboardInterrupt):
            raise
        except Exception as exc:  # of a Python task
            node = self.graph.compiled[self.graph.bench.error_node]
            last = traceback.extract_tb(exc.__traceback__)[-1]
            raise StepError(f'node "{node.name}", tick {self.tick}: {type(exc).__name__}: {exc} '
                            f"({Path(last.filename).name} line {last.lineno})") from exc

    # ---- going back ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """All images at this tick."""
        return self.graph.snapshot()

    def restore(self, snap: Snapshot) -> None:
        """Go to a snapshot. A flight that is being logged cannot (FlightswError): fork it instead."""
        if self._writer is not None:
            raise FlightswError("a flight that is being logged cannot go back in time: fork it and restore the fork")
        self.graph.restore(snap)
        self.stopped = False

    def fork(self) -> Flight:
        """A second flight from here, without a log. What happens to one does not touch the other."""
        if self._remote is not None and not self._remote.forkable:
            raise FlightswError("a flight with boards that somebody else serves cannot be forked: they serve one flight")
        other = Flight(self.bench, self.seed)
        other.graph.restore(self.graph.snapshot())
        return other

    # ---- ending ----------------------------------------------------------------------------------------------------

    def verdict(self) -> Verdict:
        """Judgement on the flight as it stands now."""
        verdict = judge(self.bench.criteria, self.bench.outcomes, self.bench.expect, self.graph.nodes,
                        self.bench.config.bench.success)
        verdict.summary.update({"t_end_s": self.t_s, "stopped": self.stopped})
        return verdict

    @property
    def log(self) -> Log:
        """What has been written so far. LogError when nothing is logged."""
        from flightsw.log import Log

        if self._log_path is None:
            raise LogError("this flight is not logged: start it with log=PATH")
        if self._writer is not None:
            self._writer.flush()
        return Log.open(self._log_path)

    def close(self, complete: bool = True) -> None:
        """Complete the log and let go of processes. complete=False marks the log as cut short. May be called twice."""
        remote, self._remote = self._remote, None
        complete = complete and not (remote is not None and remote.broken)
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                self._close_log(writer, complete)
        finally:
            if remote is not None:
                remote.close()

    def _close_log(self, writer: LogWriter, complete: bool) -> None:
        try:
            self.graph.flush_inputs()
            if self._last_keyframe != self.tick and complete:
                writer.keyframe(self.graph.snapshot(), self.graph.digests())
        finally:  # whatever the disk says: the thread ends and the file is closed
            self.graph.attach_recorder(ffi.NULL, {})
            writer.close(complete)

    def __enter__(self) -> Flight:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close(complete=kind is None)
        except LogError:
            if kind is None:  # otherwise what went wrong first is what counts
                raise

    def _keyframe(self) -> None:
        assert self._writer is not None
        self._last_keyframe = self.tick
        self._writer.keyframe(self.graph.snapshot(), self.graph.digests())

    def _open_log(self, path: Path, compiled: Sequence[CompiledNode]) -> None:
        from flightsw.log import LogWriter
        from hil.metadata import attachments, metadata

        rate = self._log_rate() if self.bench.real_time is not None else 0
        self._writer = LogWriter(path, self.bench.channels(), {**metadata(self.bench, self.seed, compiled), **self.told},
                                 attachments(self.bench, compiled),
                                 self.bench.base_tick_ns, real_time=rate)
        if rate:
            self._writer.reserve(round(rate * self.bench.duration_s))
        for group in self._remote.groups if self._remote is not None else ():
            group.make_room = self._writer.drain
        self.graph.attach_recorder(self._writer.recorder, self._writer.channel_map)
        self._keyframe()

    def _log_rate(self) -> int:
        """Bytes per second that a log gets at most, keyframes not counted: each recorded topic as often as its writer runs."""
        total = 0.0
        for c in self.bench.channels():
            node = next((n for n in self.graph.compiled if n.name == c.node), None)
            writer = node.topics[c.topic].writer if node is not None and c.topic in node.topics else None
            period = next((t.spec.period_ticks for t in node.tasks if t.spec.name == writer), 1) if node is not None else 64
            total += (c.type.size + 51) / (period * c.every)  # record and its index entry
        return round(total * 1e9 / self.bench.base_tick_ns)

    def _start_remote(self) -> Any:
        if all(p.where == "here" for p in self.bench.plans):
            return None
        from hil.link import remote

        return remote.start(self)
