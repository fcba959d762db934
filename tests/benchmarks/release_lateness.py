"""How late ticks begin, beside `cyclictest`: `python tests/benchmarks/release_lateness.py [--pairs 10 --seconds 5]`.

The real-time driver with nothing to run, without spinning, against `cyclictest` of the package rt-tests, in pairs of runs one after
the other, the first of a pair taking turns: same period, priority, duration, memory lock, and an absolute sleep on the same clock.
Both take the time right after the sleep, and both distributions are in nanoseconds. Wanted: the median over the pairs of the ratio
of the medians at most 1.1. Then the hopper against the clock, for information: how late ticks begin when there is something to run.

Times are of this computer at this moment: nothing is asserted, and no test runs this.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flightsw.realtime import RUNNING, RealTime, RealTimeConfig
from hil import Bench
from hil.doctor import Host
from hil.doctor.kernel import preemption_model
from hil.doctor.measure import stolen

BENCH = Path(__file__).parents[2] / "bench_configs" / "hopper.toml"
QUANTILES = (0.5, 0.99, 0.999, 1.0)
NAMES = ("p50", "p99", "p99.9", "max")
WANTED = 1.1


@dataclass
class Result:
    """One run. late_us: as QUANTILES. missed: releases a period late or more. drift_us, end_ms: see `ours`; nan where not known."""

    late_us: np.ndarray[Any, Any]
    ticks: int
    missed: int
    fifo: str
    drift_us: float = float("nan")
    end_ms: float = float("nan")


def ours(ticks: int, period_us: int, priority: int) -> Result:
    """The driver with nothing to run, counted from its first tick on, as cyclictest does.

    late_us is without the ticks whose release had passed when the one before them began: cyclictest leaves these out, the driver
    runs them at once; missed counts them. drift_us: least lateness in the last tenth of the run less that in the first: lateness is
    against epoch + n * period, so it would grow if releases followed one another instead of the clock. end_ms: the whole run on
    the caller's clock, less the time from the first scheduled release to the last: 2 ms until the first one, memory lock, start
    and end of the thread, nothing that grows with the run.
    """
    driver = RealTime(None, RealTimeConfig(priority=priority, lock_memory=True, warm_up_ticks=0), ticks, period_ns=period_us * 1000)
    begin = time.monotonic()
    driver.start()
    while driver.wait(0.1) == RUNNING:
        pass
    end = time.monotonic()
    report = driver.join()
    late = driver.late_ns[: report.ticks] * 1e-3
    tenth = max(1, len(late) // 10)
    drift = float(late[-tenth:].min() - late[:tenth].min())
    left_ms = (end - begin) * 1e3 - (report.ticks - 1) * period_us * 1e-3
    quantiles = np.quantile(late[awaited(late, period_us)], QUANTILES)
    return Result(quantiles, report.ticks, report.missed, report.granted["fifo"], drift, left_ms)


def awaited(late_us: np.ndarray[Any, Any], period_us: int) -> np.ndarray[Any, Any]:
    """Which ticks were waited for: their release lay ahead when the last one before them that was waited for began."""
    release = np.arange(len(late_us)) * period_us
    passed = np.maximum.accumulate(release + late_us)  # the driver's own clock, at each tick
    return np.concatenate([[True], release[1:] > passed[:-1]])


def cyclictest(ticks: int, period_us: int, priority: int) -> Result:
    """The same of cyclictest. Its histogram, in ns, ends at 1 ms: what lies beyond counts as the greatest value."""
    policy = ["-p", str(priority)] if priority else ["--policy=other"]
    command = ["cyclictest", *policy, "-i", str(period_us), "-l", str(ticks), "-m", "-q", "-N", "-h", "1000000", "--default-system"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    pairs, over, greatest = [], 0, 0
    for line in done.stdout.splitlines():
        if line.startswith("# Max Latencies:"):
            greatest = int(line.split(":")[1])
        elif line.startswith("# Histogram Overflows:"):
            over = int(line.split(":")[1])
        elif line[:1].isdigit() and not line.endswith(" 000000"):
            pairs.append([int(v) for v in line.split()])
    values = np.repeat([p[0] for p in pairs] + [greatest], [p[1] for p in pairs] + [over])
    late = np.quantile(values, QUANTILES) * 1e-3
    return Result(late, len(values), int((values >= period_us * 1000).sum()), "granted" if priority else "not asked for")


def conditions(args: argparse.Namespace) -> str:
    """What one has to know to judge the figures."""
    host = Host.here(Path())
    where = "virtual machine" if host.virtual else "no virtual machine"
    return (f"{args.pairs} pairs of {args.seconds:g} s, period {args.period_us} us, priority {args.priority}; "
            f"{os.cpu_count()} CPUs, {where}, kernel {platform.release()}, preemption {preemption_model(host) or 'not told'}; "
            f"load average {os.getloadavg()[0]:.1f}")


def row(name: str, r: Result) -> str:
    """A line of the table."""
    return f"{name:22}" + "".join(f"{v:10.1f}" for v in r.late_us) + f"{r.missed:8d}{r.ticks:8d}"


def compare(args: argparse.Namespace) -> None:
    """The pairs, and what they say together."""
    ticks = round(args.seconds * 1e6 / args.period_us)
    sides = {"driver": ours, "cyclictest": cyclictest}
    results: dict[str, list[Result]] = {name: [] for name in sides}
    print(f"{'release lateness, us':22}" + "".join(f"{n:>10}" for n in NAMES) + f"{'missed':>8}{'ticks':>8}")
    for pair in range(args.pairs):
        for name in sorted(sides, reverse=bool(pair % 2)):
            results[name].append(sides[name](ticks, args.period_us, args.priority))
            print(row(f"{pair + 1:2d} {name}", results[name][-1]), flush=True)
    for name, runs in results.items():
        late = np.median([r.late_us for r in runs], axis=0)
        late[-1] = max(r.late_us[-1] for r in runs)
        print(row(f"all {name}", Result(late, sum(r.ticks for r in runs), sum(r.missed for r in runs), "")))
    ratios = np.array([a.late_us / b.late_us for a, b in zip(results["driver"], results["cyclictest"], strict=True)])
    median = np.median(ratios, axis=0)
    print("median of the ratios   " + "".join(f"{v:10.3f}" for v in median)[1:] + f"   p50 wanted: at most {WANTED}: "
          + ("met" if median[0] <= WANTED else "NOT MET"))
    mine = results["driver"]
    drift, ends = np.median([r.drift_us for r in mine]), [r.end_ms for r in mine]
    print(f"drift: {drift:.1f} us (median of runs; last tenth less first); end of a run against its schedule: {min(ends):.1f} to "
          f"{max(ends):.1f} ms, with start and end of the thread")
    print(f"SCHED_FIFO: driver {', '.join(sorted({r.fifo for r in mine}))}")


def fly(args: argparse.Namespace) -> None:
    """A bench that has something to run."""
    real_time = {"priority": args.priority, "lock_memory": True, "noise_s": 0.0}
    bench = Bench.load(BENCH, overlay={"bench": {"real_time": real_time}})
    with bench.start(seed=1) as flight:
        flight.run(until=args.seconds)
    report = flight.real_time
    assert report is not None
    late = [report.late_us[n] for n in ("p50", "p99", "p99_9", "max")]
    print(row("hopper, no log", Result(np.array(late), report.ticks, report.missed, report.granted["fifo"])))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--period-us", type=int, default=1000)
    parser.add_argument("--priority", type=int, default=80, help="of SCHED_FIFO; 0: ordinary scheduling on both sides")
    args = parser.parse_args()
    if not 50 <= args.period_us <= 1000:
        parser.error("--period-us lies between 50 and 1000: the histogram of cyclictest, which tells missed ticks, ends at 1 ms")
    if shutil.which("cyclictest") is None:
        print("there is no cyclictest: install the package rt-tests", file=sys.stderr)
        return 4
    before = stolen(Host.here(Path()))
    print(conditions(args))
    try:
        compare(args)
    except subprocess.CalledProcessError as exc:
        print(f"cyclictest: {(exc.stderr or exc.stdout).strip()[:300]}", file=sys.stderr)
        return 4
    fly(args)
    after = stolen(Host.here(Path()))
    if before and after and after[1] > before[1]:
        print(f"stolen by the hypervisor: {100 * (after[0] - before[0]) / (after[1] - before[1]):.2f} % of the time; steal counter "
              f"{before[0]} before, {after[0]} after; load average {os.getloadavg()[0]:.1f} after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
