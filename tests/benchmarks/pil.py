"""Speed of the processor-in-the-loop flight over each port of the emulated board; every flight must be bit-identical to that in process.

    python tests/benchmarks/pil.py [ethernet|uart ...] [--last S] [--at-least X]

Without --last the whole flight is flown, to its landing. --last S: the last S seconds, from a snapshot of the flight in process.
Times are of this computer as it is loaded now; --at-least makes less than so many times real time a failure.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from hil import Bench
from hil.run import Continuation, run_continued

CONFIGS = Path(__file__).resolve().parents[2] / "bench_configs"


def main() -> int:
    """0: identical and landed, and fast enough where that was asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ports", nargs="*", default=["ethernet"], choices=["ethernet", "uart"])
    parser.add_argument("--last", type=float, default=0.0)
    parser.add_argument("--at-least", type=float, default=0.0)
    options = parser.parse_args()
    with Bench.load(CONFIGS / "zhuque3_landing.toml").start() as flight:
        flight.run()
        end = flight.tick
    first = max(0, end - round(options.last * 1e3)) if options.last else 0
    with Bench.load(CONFIGS / "zhuque3_landing.toml").start() as flight:
        flight.step(first)
        snap = flight.snapshot()
    good = True
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for port in options.ports:
        bench = Bench.load(CONFIGS / "pil_cortex_m7.toml", overlay={"remote": {"m7": {"port": port}}})
        with tempfile.TemporaryDirectory() as folder:
            start = Continuation(lambda f: f.restore(snap), first * 1e-3, None, {}, False)
            run = run_continued(bench, bench.seed, Path(folder), None, start).run
        group, comparison = run["links"]["groups"][0], run["links"]["comparison"]
        trips = group["round_trip_us"]
        up, down = (group[f"{way}_bytes"] / trips["count"] for way in ("sent", "received"))
        times = ", ".join(f"{k} {trips[k] * 1e-3:.3f}" for k in ("p50", "p99", "max"))
        print(f"{port}: {run['x_realtime']:.3f} times real time, {run['sim_s']:.2f} s in {run['wall_s']:.1f} s; {run['outcome']}; "
              f"bytes a tick {up:.0f} to the board, {down:.0f} from it; round trip {times} ms; "
              + (f"{comparison['messages']} messages bit-identical" if comparison["identical"] else comparison["sentence"]), flush=True)
        good &= run["met"] and comparison["identical"] and run["x_realtime"] >= options.at_least
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
