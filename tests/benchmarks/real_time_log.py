"""What logging costs in real time: `python tests/benchmarks/real_time_log.py [--seconds 20]`.

The flagship against the wall clock with every topic of every node recorded at its full rate. Prints the share of one core that the writer
thread takes, what it wrote, and that nothing was dropped. Times are of this computer at this moment: nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from flightsw.log import Log
from hil import Bench

BENCH = Path(__file__).parents[2] / "bench_configs" / "zhuque3_realtime.toml"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    bench = Bench.load(BENCH)
    for plan in bench.plans:
        object.__setattr__(plan, "record", "all")
        object.__setattr__(plan, "log", {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flight.mcap"
        with bench.start(log=path) as flight:
            writer = flight._writer
            flight.run(until=seconds)
        log = Log.open(path)
        assert writer is not None and flight.real_time is not None
        late = flight.real_time.late_us
        print(f"{len(log.topics)} topics, {sum(log.topics.values()) / seconds:.0f} messages/s, {log.size_bytes / seconds / 1e6:.2f} MB/s, "
              f"{log.n_chunks} chunks, {writer.dropped} dropped; load average {os.getloadavg()[0]:.1f}")
        print(f"writer thread: {100 * writer.cpu_s / seconds:.1f} % of one core (wanted: less than 5 %)")
        print(f"release lateness p50 {late['p50']:.0f}, p99 {late['p99']:.0f}, max {late['max']:.0f} us; "
              f"{flight.real_time.missed} of {flight.real_time.ticks} ticks missed")


if __name__ == "__main__":
    main()
