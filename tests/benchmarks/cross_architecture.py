"""The same flights on each compiler and processor: digests at the end, and time.

usage: python tests/benchmarks/cross_architecture.py [--target WORD]

Per target and flight: digest of all topics from the start, digest of the bundle of the last moment (all images and all messages
in flight), whether each line of each keyframe is that of the flight in this process, and the time to fly it. A target whose
compiler or emulator is not installed is named with the packages that it wants. Exit code 1 when a line differs, 2 when nothing
could be run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cross_targets as ct


def last(lines: list[str], what: str) -> str:
    """The digest of the last line of a kind."""
    return next((line.split()[2] for line in reversed(lines) if line.split()[1] == what), "nothing")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="", help="only targets whose name contains this word")
    args = parser.parse_args()
    chosen = [t for t in ct.TARGETS if args.target in t.name]
    row = "{:<31} {:<22} {:<16} {:<16} {:<6} {:>6}"
    print(row.format("target", "flight", "topics", "bundle", "equal", "s"))
    for part in ct.PARTS:
        began = time.perf_counter()
        lines = ct.reference(part).lines
        took = f"{time.perf_counter() - began:.1f}"
        print(row.format("in process", part.name, last(lines, "topics"), last(lines, "bundle"), "", took))
    different = ran = 0
    with tempfile.TemporaryDirectory() as folder:
        builder = ct.Builder(Path(folder), chosen)
        for target in chosen:
            if target.missing():
                print(f"{target.name:<31} not installed: {' '.join(target.missing())}")
                continue
            build = builder.folder_of(target)
            for part in ct.PARTS:
                expected, began = ct.reference(part), time.perf_counter()
                lines = ct.fly(target, build, expected.bundle, part.until)
                took = f"{time.perf_counter() - began:.1f}"
                ran += 1
                different += lines != expected.lines
                print(row.format(target.name, part.name, last(lines, "topics"), last(lines, "bundle"),
                                 "yes" if lines == expected.lines else "NO", took), flush=True)
        builder.close()
    return 2 if not ran else int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
