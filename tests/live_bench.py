"""A bench in a process of its own that drives a LIVE board until it is killed: `python live_bench.py BENCH SERIAL`. Says "flying" on stdout."""

import sys

from hil import Bench
from hil.link.live import Access


def main(path, serial):
    bench = Bench.load(path)
    bench.access = Access((serial,))
    with bench.start() as flight:
        flight.step(20)
        print("flying", flush=True)
        while True:
            flight.step(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
