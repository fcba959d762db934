"""How fast it is, in one run on this computer: `python tests/benchmarks/speed.py [--json] [--basilisk PYTHON] [--bench FILE]`.

Flight of the flagship without and with its full log, the yardstick loopref.c beside it, dispatch of C and Python tasks, a fresh
process up to the tenth second of flight, peak memory. Times are the best of several: others use this computer too. CPU time is
that of the whole process, the log's writer thread included. `--basilisk PYTHON`: an interpreter that can import Basilisk, for
its closed loop on the common workload. Yardstick and workload are found through FLIGHTSW_DATA (default ../shared/data).
`--limit` multiplies the targets of time, for a busy computer. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench_configs" / "zhuque3_landing.toml"
REPEATS = 5


@dataclass(frozen=True)
class Figure:
    """One line of the table. target: text; ok: None where there is none."""

    name: str
    value: float
    unit: str
    target: str = ""
    ok: bool | None = None
    note: str = ""


def at_most(name: str, value: float, unit: str, limit: float, note: str = "") -> Figure:
    """A figure with an upper limit."""
    return Figure(name, value, unit, f"<= {limit:g}", value <= limit, note)


def at_least(name: str, value: float, unit: str, limit: float, note: str = "") -> Figure:
    """A figure with a lower limit."""
    return Figure(name, value, unit, f">= {limit:g}", value >= limit, note)


def best(measure: Callable[[], tuple[float, ...]], repeats: int = REPEATS) -> tuple[float, ...]:
    """Least of each figure over some repetitions."""
    return tuple(map(min, zip(*(measure() for _ in range(repeats)), strict=True)))


# ---- the flight -----------------------------------------------------------------------------------------------------------


def fly(bench: Any, log: Path | None) -> tuple[float, float, float, float]:
    """(CPU s, wall s, simulated s, part of the CPU s in the system) of one flight from start to a complete log."""
    wall, cpu, system = time.perf_counter(), time.process_time(), os.times().system
    with bench.start(log=log) as flight:
        flight.run()
        t_s = flight.t_s
    return time.process_time() - cpu, time.perf_counter() - wall, t_s, os.times().system - system


def flight_figures(path: Path, work: Path, slack: float) -> tuple[list[Figure], float]:
    """Flight without and with its full log, and CPU ns per simulated ms without."""
    import hil

    bench = hil.Bench.load(path)
    log = work / "flight.mcap"
    size = 0

    def logged() -> tuple[float, float, float, float]:
        nonlocal size
        log.unlink(missing_ok=True)
        result = fly(bench, log)
        size = log.stat().st_size
        return result

    bare_cpu, bare_wall, t_s, _ = best(lambda: fly(bench, None))
    full_cpu, full_wall, _, system = best(logged)
    log.unlink(missing_ok=True)
    note = f"{t_s:.1f} s of flight"
    return [
        Figure("flight without log, CPU time", t_s / bare_cpu, "x real time", note=note),
        Figure("flight without log, wall time", t_s / bare_wall, "x real time"),
        at_least("flight with full log, CPU time", t_s / full_cpu, "x real time", 300 / slack,
                 f"writer thread included; {system / full_cpu:.0%} of it the file system"),
        at_least("flight with full log, wall time", t_s / full_wall, "x real time", 300 / slack, "file closed at the end"),
        Figure("log", size / 1e6, "MB", note=f"{size / 1e6 / t_s:.2f} MB per simulated second"),
        Figure("log, written in wall time", size / 1e6 / full_wall, "MB/s"),
        Figure("what the log costs", (full_cpu - bare_cpu) / size * 1e9, "ns of CPU per byte"),
    ], bare_cpu / t_s * 1e6


def yardstick_figures(data: Path, work: Path, ours_ns: float) -> list[Figure]:
    """loopref.c compiled and run here."""
    source = data / "peers" / "loopref.c"
    if not source.is_file():
        return [Figure("loopref.c", float("nan"), "ns per ms", note=f"not there: {source} (set FLIGHTSW_DATA)")]
    subprocess.run(["cc", "-O2", "-msse4.2", source, "-lm", "-o", work / "loopref"], check=True)

    def run() -> tuple[float]:
        out = subprocess.run([work / "loopref", "60", "255", work / "loop.log"], check=True, capture_output=True, text=True).stdout
        (work / "loop.log").unlink(missing_ok=True)
        return (float(json.loads(out)["ns_per_ms_step"]),)

    ns = best(run)[0]
    return [Figure("flagship without log", ours_ns, "ns per simulated ms", note="CPU time"),
            Figure("yardstick loopref.c", ns, "ns per simulated ms", note="CPU time, its log included"),
            Figure("flagship over yardstick", ours_ns / ns, "", note="instructions: loop_instructions.py")]


# ---- dispatch -------------------------------------------------------------------------------------------------------------

EMPTY_C = """#include "flightsw/task.h"
static int32_t step(fsw_io_t *io) { (void)io; return 0; }
static const fsw_task_desc_t empty = {.name = "speed.empty", .doc = "Does nothing.", .step = step};
const fsw_task_desc_t *const *fsw_plugin_tasks(uint32_t *n);
const fsw_task_desc_t *const *fsw_plugin_tasks(uint32_t *n) {
  static const fsw_task_desc_t *const table[] = {&empty};
  *n = 1;
  return table;
}
"""
IDLE_PERIOD = 4096  # ticks: longer than a measurement


def graph_of(task: Any, size: int, due: bool) -> Any:
    """One node with `size` tasks of a type that are due in every tick, or in none of those that are measured."""
    from flightsw import Graph, NodeSpec, TaskSpec, compile_node, load_messages

    period, phase = (1, 0) if due else (IDLE_PERIOD, IDLE_PERIOD - 1)
    rows = [TaskSpec(f"t{k}", task.name, period, phase) for k in range(size)]
    return Graph([compile_node(NodeSpec("n", rows, 1_000_000), {task.name: task}, load_messages([]), {})], [], load_messages([]))


def dispatch_ns(task: Any, size: int) -> float:
    """CPU time of one due task: a table in which all are due against the same table in which none is."""
    ticks = max(4, min(IDLE_PERIOD - 2, 40_000 // size))
    graphs = [graph_of(task, size, due) for due in (True, False)]
    starts = [g.snapshot() for g in graphs]

    def run(k: int) -> float:
        spent, rounds = 0.0, 1 + 80_000 // (ticks * size)
        for _ in range(rounds):
            graphs[k].restore(starts[k])
            began = time.thread_time_ns()
            graphs[k].run(ticks)
            spent += time.thread_time_ns() - began
        return spent / rounds

    due, idle = best(lambda: (run(0), run(1)), 7)
    return (due - idle) / (ticks * size)


def dispatch_figures(work: Path, slack: float) -> list[Figure]:
    """Dispatch of C tasks at several table sizes and of a Python task."""
    from flightsw import load_plugin, python_task
    from flightsw._native import include_dir

    (work / "empty.c").write_text(EMPTY_C)
    subprocess.run(["cc", "-std=c11", "-O2", "-fPIC", "-shared", f"-I{include_dir()}", work / "empty.c", "-o", work / "empty.so"],
                   check=True)
    task = load_plugin(work / "empty.so", [])["speed.empty"]

    @python_task("speed.python", reads={}, writes={}, doc="Does nothing.")
    def empty(io: Any) -> None:
        return None

    out = [at_most(f"dispatch of a due C task, table of {n}", dispatch_ns(task, n), "ns", 10 * slack) for n in (1, 10, 100, 1000)]
    return [*out, at_most("dispatch of a due Python task", dispatch_ns(empty, 10), "ns", 600 * slack)]


# ---- fresh processes ------------------------------------------------------------------------------------------------------

FRESH = """
import json, resource, sys, time
t = [time.perf_counter()]
def lap(): t.append(time.perf_counter())
import flightsw; lap()
from hil import Bench; lap()
bench = Bench.load(sys.argv[1]); lap()
flight = bench.start(); lap()
flight.run(until=10.0); lap()
print(json.dumps([b - a for a, b in zip(t, t[1:])]))
"""
MEMORY = """
import json, resource, sys
from pathlib import Path
from hil import Bench
flight = Bench.load(sys.argv[1]).start(log=Path(sys.argv[2]))
flight.step(int(float(sys.argv[3]) * 1e9 / flight.bench.base_tick_ns))
flight.close()
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
"""


def fresh(code: str, *args: Any) -> Any:
    """Run code in a new interpreter; returns what it prints as JSON."""
    result = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"speed.py: a process of its own failed:\n{result.stderr}")
    return json.loads(result.stdout)


def start_figures(path: Path, slack: float) -> list[Figure]:
    """From the start of a process to the tenth second of flight."""

    def run() -> tuple[float, ...]:
        began = time.perf_counter()
        laps = fresh(FRESH, path)
        return (time.perf_counter() - began, *laps)

    wall, *laps = best(run, 5)
    names = ("import flightsw", "import hil", "load and check the bench", "compile, first images", "10 s of flight")
    return [at_most("fresh process to 10 s of flight", wall, "s of wall time", 0.6 * slack),
            *(Figure(f"  {name}", s * 1e3, "ms") for name, s in zip(names, laps, strict=True))]


def memory_figures(path: Path, work: Path) -> list[Figure]:
    """Peak memory of a logged flight, short and long (past the landing), each in a process of its own."""
    out = []
    for seconds in (10, 300):
        log = work / "memory.mcap"
        peak = fresh(MEMORY, path, log, seconds)
        size = log.stat().st_size / 1e6
        log.unlink()
        out.append(at_most(f"peak memory, {seconds} s logged", peak, "MB", 200, f"log of {size:.0f} MB"))
    return out


def basilisk_figures(data: Path, python: str, ours_ns: float) -> list[Figure]:
    """Basilisk's closed loop on the common workload, run with an interpreter that has it."""
    script = data / "peers" / "bsk_closed.py"
    result = subprocess.run([python, script, "60"], capture_output=True, text=True)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        return [Figure("Basilisk, closed loop", float("nan"), "ns per simulated ms", note=reason)]
    row = json.loads(result.stdout.strip().splitlines()[-1])
    ns = row["full_us_per_ms_step"] * 1e3
    return [Figure("Basilisk, closed loop", ns, "ns per simulated ms", note="CPU time; V120 workload, in-memory recorders"),
            Figure("Basilisk over flagship", ns / ours_ns, "", note="the flagship does more: 23 nodes, filter, 9 engines")]


# ---- output ---------------------------------------------------------------------------------------------------------------


def busy_share(since: tuple[int, int] | None = None) -> tuple[int, int] | float:
    """Ticks of all processors (total, idle), or the share of others' and own work since such a pair."""
    try:
        v = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return (0, 0) if since is None else float("nan")
    now = sum(v), v[3] + v[4]
    if since is None:
        return now
    return 1.0 - (now[1] - since[1]) / max(now[0] - since[0], 1)


def conditions() -> dict[str, Any]:
    """What the figures depend on."""
    from flightsw._native import compiler

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        cpu = next((line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), cpu)
    load = [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else []
    return {"processor": cpu, "cores": os.cpu_count(), "load_average": load, "python": platform.python_version(),
            "core_compiler": compiler(), "system": platform.system()}


def show(figures: list[Figure], facts: dict[str, Any]) -> None:
    """The table."""
    for key, value in facts.items():
        print(f"{key}: {value}")
    print()
    width = max(len(f.name) for f in figures)
    for f in figures:
        mark = "" if f.ok is None else (f"target {f.target}: " + ("met" if f.ok else "MISSED"))
        print(f"{f.name:<{width}}  {f.value:>10.4g} {f.unit:<22} {mark:<26} {f.note}".rstrip())


def main() -> int:
    """Measure and print. 0: all targets met, 1: not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--bench", type=Path, default=BENCH)
    parser.add_argument("--basilisk", metavar="PYTHON", help="interpreter that can import Basilisk")
    parser.add_argument("--limit", type=float, default=1.0, metavar="FACTOR", help="factor on the targets of time")
    args = parser.parse_args()
    data = Path(os.environ.get("FLIGHTSW_DATA", ROOT.parent / "shared" / "data"))
    facts, since = conditions(), busy_share()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        figures, ours_ns = flight_figures(args.bench, work, args.limit)
        figures += yardstick_figures(data, work, ours_ns)
        if args.basilisk:
            figures += basilisk_figures(data, args.basilisk, ours_ns)
        figures += dispatch_figures(work, args.limit)
        figures += start_figures(args.bench, args.limit)
        figures += memory_figures(args.bench, work)
    assert isinstance(since, tuple)
    facts["processors_busy"] = f"{busy_share(since):.0%} of {facts['cores']} during the run"
    if args.json:
        print(json.dumps({"conditions": facts, "figures": [asdict(f) for f in figures]}, indent=1))
    else:
        show(figures, facts)
    return 0 if all(f.ok is not False for f in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
