"""How fast a log is written and read: `python tests/benchmarks/bench_log.py [LOG]`.

Without LOG a log of the booster's size is made in a temporary folder. Prints messages per second of this reader and of the
stock Python reader on the same file in the same run, their ratio, and the conditions: each on one core, the file in the page cache,
every checksum checked and every topic an array here, messages not decoded there.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy

from flightsw.log import Log


def ours(path: Path) -> tuple[int, float]:
    """(messages, seconds): open, check every checksum, every topic as an array."""
    began = time.perf_counter()
    log = Log.open(path)
    count = sum(len(log[topic]) for topic in log.topics)
    return count, time.perf_counter() - began


def stock(path: Path, limit: int = 200_000) -> tuple[int, float]:
    """(messages, seconds) of the `mcap` package, without decoding, at most `limit` messages."""
    from mcap.reader import make_reader

    began = time.perf_counter()
    count = 0
    with path.open("rb") as file:
        for _ in make_reader(file).iter_messages(log_time_order=False):
            count += 1
            if count == limit:
                break
    return count, time.perf_counter() - began


def make(path: Path) -> None:
    """A flight of the flagship, logged; prints what logging costs."""
    from hil import Bench

    bench = Bench.load(Path(__file__).parents[2] / "bench_configs" / "zhuque3_landing.toml")
    for log in (None, path):
        began = time.perf_counter()
        with bench.start(log=log) as flight:
            flight.run()
            t_s = flight.t_s
        print(f"flight {'with' if log else 'without'} log: {t_s / (time.perf_counter() - began):.0f} times real time")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", nargs="?", type=Path)
    given = parser.parse_args().log
    with tempfile.TemporaryDirectory() as folder:
        path = given or Path(folder) / "flight.mcap"
        if given is None:
            make(path)
        ours(path)  # once to bring the file into the page cache
        n, spent = min((ours(path) for _ in range(3)), key=lambda r: r[1])
        m, theirs = stock(path)
        size = path.stat().st_size
        print(f"{path.name}: {n} messages, {size / 1e6:.1f} MB; Python {platform.python_version()}, numpy {numpy.__version__}, "
              f"mcap {version('mcap')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(f"flightsw: {n / spent / 1e6:.2f} million messages/s, {size / spent / 1e6:.0f} MB/s (wanted: 1 and 200), best of 3")
        print(f"mcap:     {m / theirs / 1e6:.3f} million messages/s, the first {m} messages, not decoded")
        print(f"ratio:    {n / spent / (m / theirs):.1f} (wanted: 8)")


if __name__ == "__main__":
    main()
