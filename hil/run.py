"""One run of a bench into a directory of its own: flight.mcap, run.json, report.html; never overwritten."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flightsw.errors import FlightswError, LogError
from hil.bench import Bench
from hil.flight import Flight
from hil.link.told import compare_in_process, link_facts, to_compare
from hil.metadata import exactness, hashes, software
from hil.recording import data_file
from hil.verdict import Verdict

SCHEMA_VERSION = 1
LOG, RUN = "flight.mcap", "run.json"


@dataclass(frozen=True)
class RunResult:
    """A finished run. run: the content of run.json."""

    run_dir: Path
    verdict: Verdict
    run: dict[str, Any]

    @property
    def log_path(self) -> Path:
        """The flight's log (it may not have been asked for)."""
        return self.run_dir / LOG


def new_run_dir(out_root: Path, name: str, when: datetime) -> Path:
    """Make `<utc>-<name>-<id>` under a folder. FlightswError when that cannot be written."""
    for _ in range(10):
        path = out_root / f"{when:%Y%m%dT%H%M%SZ}-{name}-{secrets.token_hex(3)}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if out_root.exists() and not out_root.is_dir():
                break
            continue
        except OSError as exc:
            raise OutputError(f"{out_root}: the run directory cannot be made: {exc.strerror}") from None
        return path
    raise OutputError(f"{out_root}: the run directory cannot be made: a file is in the way")


class OutputError(FlightswError):
    """The place for results cannot be used."""

    exit_code = 2


def point_latest(run_dir: Path) -> None:
    """Let `latest` beside the run directory point to it. Where links are not possible there is none."""
    link = run_dir.parent / f".latest-{secrets.token_hex(3)}"
    with contextlib.suppress(OSError):
        link.symlink_to(run_dir.name, target_is_directory=True)
        link.replace(run_dir.parent / "latest")
    with contextlib.suppress(OSError):
        link.unlink()


def write_json(path: Path, content: Any, room: int = 0) -> None:
    """Write JSON so that readers see the old file or the new one, never half of it.

    room: spaces at its end. A disk that has filled since then takes no other file, but so much more over the old one.
    Raises OSError when that fails too.
    """
    text = json.dumps(content, indent=1, allow_nan=False, default=_plain) + " " * room + "\n"
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, "utf-8")
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if not path.exists():
            raise
        with path.open("r+b") as file:
            file.write(text.encode())
            file.truncate()


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


@dataclass(frozen=True)
class Continuation:
    """A flight that goes on from a snapshot: `prepare` puts it in place (see Bench.start), at mission time start_s.

    until_s: end of the flight before the bench's own. told: for run.json, as "fork". report: write report.html.
    """

    prepare: Callable[[Flight], None]
    start_s: float
    until_s: float | None
    told: dict[str, Any]
    report: bool = True


class _Run:
    """Keeps run.json true at every moment: running, interrupted, failed, or finished with a verdict."""

    def __init__(self, bench: Bench, seed: int, out_root: Path, keep_log: bool, of: Continuation | None = None) -> None:
        self.bench, self.seed, self.keep_log, self.of = bench, seed, keep_log, of
        self.started = datetime.now(UTC)
        self.clock = time.perf_counter()
        self.dir = new_run_dir(out_root, bench.name if of is None else f"{bench.name}-fork", self.started)
        self.content: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION, "bench": bench.name, "title": bench.title, "seed": seed, "outcome": "running",
            "expected": bench.expect, "met": False, "criteria": [], "summary": {}, "events": [],
            "feasibility": _feasibility(bench, seed), "hashes": hashes(bench.compiled(seed)), "software": software(),
            "exact": exactness(bench), "sets": bench.sets, "dispersed": bench.dispersed_values(seed),
            "started_utc": self.started.isoformat(timespec="seconds"), "wall_s": 0.0, "sim_s": 0.0, "x_realtime": 0.0,
        }
        if of is not None:
            self.content["fork"] = of.told
        self.write()
        if of is None:  # a fork is beside its parent, which stays the latest
            point_latest(self.dir)

    def write(self) -> None:
        try:
            write_json(self.dir / RUN, _finite(self.content), 1000 if self.content["outcome"] == "running" else 0)
        except OSError as exc:
            raise OutputError(f"{self.dir / RUN}: cannot be written: {exc.strerror}") from None

    def end(self, outcome: str, sim_s: float, **more: Any) -> None:
        wall = time.perf_counter() - self.clock
        self.content |= {"outcome": outcome, "wall_s": wall, "sim_s": sim_s, "x_realtime": sim_s / max(wall, 1e-9), **more}
        self.write()

    def _told_in_real_time(self, flight: Flight | None) -> None:
        if flight is not None and flight.real_time is not None:
            noise = flight.noise.as_dict() if flight.noise is not None else None
            self.content |= {"real_time": flight.real_time.as_dict(), "noise": noise}
        if flight is not None and flight.keeper is not None:
            self.content["strings"] = flight.keeper.facts()

    def fly(self, progress: Callable[[float], None] | None) -> Verdict:
        flight: Flight | None = None
        try:
            flight = self.bench.start(self.seed, self.dir / LOG if self.keep_log else None, self.of.prepare if self.of else None)
            self.clock = time.perf_counter()
            flight.run(self.of.until_s if self.of else None, progress)
            verdict = flight.verdict()
            wall = time.perf_counter() - self.clock
            links = link_facts(flight)
            flight.close()
        except BaseException as exc:
            if flight is not None:
                with contextlib.suppress(LogError):  # `exc` is what went wrong first
                    flight.close(complete=False)
            interrupted = isinstance(exc, KeyboardInterrupt)
            self._told_in_real_time(flight)
            with contextlib.suppress(OutputError):
                self.end("interrupted" if interrupted else "error", flight.t_s if flight is not None else 0.0,
                         error="" if interrupted else str(exc))
            raise
        events = _events(self.dir / LOG) if self.keep_log else []
        self._told_in_real_time(flight)
        if links:
            verdict = self._told_of_links(flight, links, verdict)
        flown_s = flight.t_s - (self.of.start_s if self.of else 0.0)
        self.end(verdict.outcome, flown_s, met=verdict.met, criteria=[asdict(c) for c in verdict.criteria],
                 summary=verdict.summary, events=events)
        self.content |= {"wall_s": wall, "x_realtime": flown_s / max(wall, 1e-9)}
        self.write()
        return verdict


    def _told_of_links(self, flight: Flight, links: list[dict[str, Any]], verdict: Verdict) -> Verdict:
        """Facts about the links, and whether boards did what they do in process: if not, the run has not met what was expected."""
        boards = to_compare(flight) if self.keep_log else []
        comparison = compare_in_process(self.bench, self.seed, self.dir / LOG, boards, self._in_process) if boards else None
        self.content["links"] = {"groups": links, "comparison": comparison}
        return verdict if comparison is None or comparison["identical"] else replace(verdict, met=False)

    def _in_process(self, bench: Bench, log: Path) -> None:
        with bench.start(self.seed, log, self.of.prepare if self.of else None) as flight:
            flight.run(self.of.until_s if self.of else None)


def run_bench(bench: Bench, seed: int | None = None, out_root: Path | str = "runs",
              progress: Callable[[float], None] | None = None, *, log: bool = True, report: bool = True) -> RunResult:
    """Fly a bench to its verdict in a new run directory under `out_root`, and let `latest` point to it.

    progress: called with the mission time in seconds now and then. A recording that is not there is refused (ConfigError) before
    anything is written. A report needs the log. On Ctrl-C the log is closed,
    run.json says "interrupted" and KeyboardInterrupt goes on; on any other error run.json says "error".
    """
    for board in bench.recorded:
        data_file(board)  # refuse before a directory is made and `latest` moves
    return _flown(_Run(bench, bench.seed if seed is None else seed, Path(out_root), log), progress, report and log)


def run_continued(bench: Bench, seed: int, out_root: Path, progress: Callable[[float], None] | None, of: Continuation) -> RunResult:
    """Like `run_bench`, from a snapshot on, into `<utc>-<bench>-fork-<id>`; `latest` stays where it is."""
    for board in bench.recorded:
        data_file(board)
    return _flown(_Run(bench, seed, out_root, True, of), progress, of.report)


def _flown(run: _Run, progress: Callable[[float], None] | None, report: bool) -> RunResult:
    try:
        verdict = run.fly(progress)
    except BaseException as exc:
        exc.run_dir = run.dir  # type: ignore[attr-defined]
        raise
    if report and _is_there("hil.report"):
        from hil.report import write_report  # type: ignore[import-not-found,unused-ignore]

        write_report(run.dir)
    return RunResult(run.dir, verdict, run.content)


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _feasibility(bench: Bench, seed: int) -> dict[str, Any]:
    """What an independent calculation says before the run; empty when it does not apply to this bench."""
    if not _is_there("hil.feasibility"):
        return {}
    from hil.feasibility import assess  # type: ignore[import-not-found,unused-ignore]

    return asdict(assess(bench, seed))


def _events(log: Path) -> Sequence[dict[str, Any]]:
    if not _is_there("hil.story"):
        return []
    from flightsw.log import Log
    from hil.story import events  # type: ignore[import-not-found,unused-ignore]

    return [asdict(e) for e in events(Log.open(log))]


def _finite(value: Any) -> Any:
    """Numbers that JSON cannot say become null."""
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


