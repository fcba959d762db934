"""Flies the small bench with writes that fail: a process per flight, forked from one that runs with write_faults.c preloaded.

    with FaultServer(library, folder) as server:
        outcome = server.fly(Plan(FAIL, errno.EIO, first=12))

`python fault_server.py` is the server itself: a JSON list of orders per line on stdin, one of answers on stdout.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash import rig

BUFFER = 4096
AT_A_TIME = os.cpu_count() or 1


@dataclass(frozen=True)
class Outcome:
    """How `flightsw run` ended. calls, taken: of write() on the log, bytes taken by the kernel. run: content of run.json."""

    code: int
    stdout: str
    stderr: str
    calls: int
    taken: int
    folder: Path
    run: Mapping[str, Any]

    @property
    def log(self) -> Path:
        return self.folder / "flight.mcap"


@dataclass(frozen=True)
class RealTimeOutcome:
    """How a flight against the wall clock ended. error: what closing its log said. ticks: flown. written: messages that its tasks
    and inputs wrote to recorded topics. dropped: messages not in the log, as its writer counts them. sleeps, switches: of the
    real-time thread. begun: length of the log when the flight began. calls, taken: of write() on the log since then, bytes taken by
    the kernel.
    """

    log: Path
    error: str
    why: str
    ticks: int
    written: int
    dropped: int
    sleeps: int
    switches: int
    begun: int
    calls: int
    taken: int


@dataclass(frozen=True)
class Plan:
    """What is to go wrong: a kind and its code (write_faults.c), from which call of write() on the log on, and how often.

    calls 0: always. limit: bytes that a file may have (RLIMIT_FSIZE), 0: any.
    """

    kind: int = rig.NONE
    code: int = 0
    first: int = 1
    calls: int = 1
    limit: int = 0


class FaultServer:
    """Starts the server and talks to it. folder: for run directories. match: end of the name of the file whose writes may fail."""

    def __init__(self, library: Path, folder: Path, match: str = ".mcap") -> None:
        self.folder, self.count = folder, 0
        environment = rig.environment(LD_PRELOAD=str(library), WRITE_FAULTS_MATCH=match)
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                         env=environment)

    def fly(self, plan: Plan = Plan(), sets: Sequence[str] = (), options: Sequence[str] = ()) -> Outcome:
        """One `flightsw run`."""
        return next(self.fly_each([plan], sets, options))

    def fly_each(self, plans: Iterable[Plan], sets: Sequence[str] = (), options: Sequence[str] = ()) -> Iterator[Outcome]:
        """A `flightsw run` for each plan, several at a time."""
        for told in self._ask(plans, {"sets": list(sets), "options": list(options)}):
            out = Path(told["out"])
            run, = (p for p in (out / "runs").iterdir() if not p.is_symlink())
            content = (run / "run.json").read_text("utf-8") if (run / "run.json").exists() else "{}"
            yield Outcome(told["code"], (out / "stdout").read_text("utf-8"), (out / "stderr").read_text("utf-8"), told["calls"],
                          told["taken"], run, json.loads(content))

    def fly_real_time(self, plans: Iterable[Plan], **options: Any) -> Iterator[RealTimeOutcome]:
        """The small bench against the wall clock, for each plan. options: see `fly_real_time` below."""
        for told in self._ask(plans, {"real_time": options}):
            yield RealTimeOutcome(log=Path(told.pop("out")) / "flight.mcap", **told)

    def _ask(self, plans: Iterable[Plan], more: Mapping[str, Any]) -> list[dict[str, Any]]:
        orders = []
        for plan in plans:
            self.count += 1
            orders.append({"plan": astuple(plan), "out": str(self.folder / f"{self.count:04d}"), **more})
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(orders) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the server has ended: what it said stands on stderr")
        told: list[dict[str, Any]] = json.loads(line)
        return told

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


# ---- the server ------------------------------------------------------------------------------------------------------------


def fly(order: Mapping[str, Any], library: Any) -> None:
    """In the child: `flightsw run` to its exit code."""
    from flightsw.cli import run_cli

    out = Path(order["out"])
    (out / "runs").mkdir(parents=True)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(out / name, os.O_WRONLY | os.O_CREAT), number)
    arguments = ["-q", "run", str(rig.SMALL), "--no-report", "--out", str(out / "runs"), *order["options"]]
    for text in order["sets"]:
        arguments += ["--set", text]
    begin(order, library)
    code = run_cli(arguments)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    tell(order, library, {"code": code})


def begin(order: Mapping[str, Any], library: Any) -> None:
    """From now on writes fail as planned."""
    *plan, limit = order["plan"]
    library.write_faults_plan(*plan)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # Python ignores SIGXFSZ


def tell(order: Mapping[str, Any], library: Any, values: Mapping[str, Any]) -> None:
    """Leave the result for the server."""
    counts = (ctypes.c_uint64 * 3)()
    library.write_faults_counts(counts)
    (Path(order["out"]) / "told").write_text(json.dumps({**values, "calls": counts[0], "taken": counts[1]}))


def fly_real_time(order: Mapping[str, Any], library: Any, *, until: float = 3.0, speed: float = 1000.0, blocks: int = 4,
                  block_bytes: int = 4096) -> None:
    """In the child: a flight against the wall clock, `speed` times as fast, with a ring of so many blocks."""
    from flightsw import LogError
    from flightsw.log import LogWriter
    from hil import Bench

    LogWriter.blocks, LogWriter.block_bytes = blocks, block_bytes
    out = Path(order["out"])
    out.mkdir()
    bench = Bench.load(rig.SMALL, [f"bench.duration_s={until}"], overlay={"bench": {"real_time": {"speed": speed, "noise_s": 0.0}}})
    flight = bench.start(log=out / "flight.mcap")
    writer, error = flight._writer, ""
    flight._writer.flush()
    begun = (out / "flight.mcap").stat().st_size
    begin(order, library)
    flight.run()
    written = sum(-(-flight.node(c.node).writes_of(c.topic) // c.every) for c in bench.channels()
                  if c.node != "host" and not c.topic.startswith("_"))
    report = flight.real_time
    assert writer is not None and report is not None
    try:
        flight.close()
    except LogError as exc:
        error = str(exc)
    values = {k: getattr(report, k) for k in ("why", "ticks", "sleeps", "switches")}
    written += report.missed  # each is a message
    tell(order, library, {**values, "error": error, "written": written, "dropped": writer.dropped, "begun": begun})


def warm() -> Any:
    """Import all that a run needs, so that children need not. Returns the preloaded library."""
    import hil.metadata
    import hil.run
    import hil.story
    from flightsw.cli import run

    rig.same_run_id()
    rig.small_buffers(BUFFER)
    hil.run.Bench.load(rig.SMALL).compiled()
    assert run.command is not None
    library = ctypes.CDLL(None)
    library.write_faults_plan.argtypes = [ctypes.c_int32, ctypes.c_int32, ctypes.c_uint64, ctypes.c_uint64]
    return library


def start(order: Mapping[str, Any], library: Any) -> int:
    """A child for an order; its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        if "real_time" in order:
            fly_real_time(order, library, **order["real_time"])
        else:
            fly(order, library)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(99)


def main() -> None:
    """Serve orders until stdin ends."""
    library = warm()
    for line in sys.stdin:
        orders, running, codes = json.loads(line), {}, {}
        for k, order in enumerate(orders):
            while len(running) >= AT_A_TIME:
                pid, status = os.wait()
                codes[running.pop(pid)] = os.waitstatus_to_exitcode(status)
            running[start(order, library)] = k
        for pid, k in running.items():
            codes[k] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        answers = []
        for k, order in enumerate(orders):
            told = Path(order["out"]) / "told"
            answers.append({"out": order["out"], **(json.loads(told.read_text("utf-8")) if codes[k] == 0 else
                                                    {"code": codes[k], "calls": 0, "taken": 0})})
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
