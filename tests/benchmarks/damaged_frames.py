"""Damaged frames and garbage by the million: `python tests/benchmarks/damaged_frames.py --frames 1e8`.

1. `--frames` bare frames, and as many on a byte stream with delimiters: each damaged by 1 to 5 bits or a burst of 2 to 32 bits.
2. `--garbage` random bytes.
3. The same with only 4, 8 or 12 bits of the CRC looked at, so that there is something to count, beside the number expected.
4. With valgrind: instructions per received byte.

Progress on stderr, results on stdout. Exit code 0; 1 when a wrong frame was accepted, an intact one behind a damaged one was lost,
or a count is more than 6 standard deviations from what arithmetic expects; 2 without a compiler. What holds for certain and what
with which probability is said in docs/link-format.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import frame_programs as fp

PATTERNS = {"small": "frames without payload", "large": "frames of 652 bytes", "wrong": "frames of 652 bytes with a wrong CRC",
            "zeros": "zeros", "ones": "ones", "full": "255s", "pairs": "01 00", "garbage": "garbage"}


def share(program: Path, jobs: int, total: int, seed: int, what: str, *words: str) -> dict[str, int]:
    """Sum of the results of `jobs` processes that share the work. Seeds follow one another."""
    parts = [total // jobs + (i < total % jobs) for i in range(jobs)]
    runs = [fp.Run(program, what, seed + i, part, *words) for i, part in enumerate(parts) if part]
    while any(run.is_alive() for run in runs):
        for run in runs:
            run.join(0.5)
        if sys.stderr.isatty():
            print(f"\r{what}: {sum(run.done for run in runs):.3g} of {total:.3g}   ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    if any(run.failed for run in runs):
        raise SystemExit(f"{program.name} {what} failed")
    return {name: sum(run.found[name] for run in runs) for name in runs[0].found}


def beside(found: int, expected: float, together: int = 1) -> tuple[str, bool]:
    """Text of a count beside its expectation, and whether it is within 6 standard deviations. together: how many come at a time."""
    good = abs(found - expected) <= 6 * math.sqrt(together * max(expected, 1.0))
    return f"{found} found, {expected:.4g} expected" + ("" if good else " NOT AS EXPECTED"), good


def damaged(program: Path, args: argparse.Namespace, result: dict[str, Any]) -> bool:
    """Part 1."""
    good = True
    for medium in ("bare", "stream"):
        began = time.perf_counter()
        r = share(program, args.jobs, args.frames, args.seed, medium)
        good &= r["accepted"] == r["lost"] == 0
        result[medium] = r
        print(f"{medium}: {r['damaged']} damaged frames ({r['bursts']} by a burst), {r['accepted']} wrong ones accepted, "
              f"{r['lost']} intact ones lost behind them, {time.perf_counter() - began:.0f} s")
        print(f"    {r['only_crc']} of them only the CRC refused, {r['uncovered']} of these without its guarantee: "
              f"{r['uncovered'] * 2.0**-32:.2g} accepted expected")
    return good


def garbage(program: Path, args: argparse.Namespace, result: dict[str, Any]) -> bool:
    """Part 2."""
    rates = fp.garbage_rates(fp.probabilities({}))
    r = result["garbage"] = share(program, args.jobs, args.garbage, args.seed, "garbage")
    n, good = r["bytes"], r["good"] == 0
    print(f"garbage: {n} bytes, {r['good']} frames accepted, {rates['accepted'] * 2.0**-32 * n:.2g} expected")
    for name in ("frames", "short", "version", "length"):
        text, as_expected = beside(r[name], rates[name] * n)
        good &= as_expected
        print(f"    {name}: {text}")
    return good


def shortened(folder: Path, args: argparse.Namespace, result: dict[str, Any]) -> bool:
    """Part 3."""
    good = True
    rates = fp.garbage_rates(fp.probabilities(fp.FRAME_LIKE))
    for bits in (4, 8, 12):
        program = fp.build_damager(folder, bits)
        header = share(program, args.jobs, args.frames // 10, args.seed, "header")
        stream = share(program, args.jobs, args.frames // 10, args.seed, "stream")
        noise = share(program, args.jobs, args.garbage, args.seed, "garbage", *fp.shape_words(fp.FRAME_LIKE))
        # the same damage to the zeros of another frame has the same verdict: a checksum is linear
        for name, found, of, together in (
                ("perfect header, rest random", header["accepted"], header["only_crc"], 1),
                ("stream damage without guarantee", stream["uncovered_accepted"], stream["uncovered"], 4),
                ("noise that looks like frames", noise["good"], rates["accepted"] * noise["bytes"], 1)):
            text, as_expected = beside(found, of * 2.0**-bits, together)
            good &= as_expected
            print(f"{bits} bits of CRC, {name}: {text}")
            result[f"{bits} bits, {name}"] = {"found": found, "expected": of * 2.0**-bits}
    return good


def instructions_per_byte(program: Path, pattern: str, folder: Path) -> float:
    """Instructions of the receiver per byte of a pattern; what start-up takes cancels."""
    counts = []
    for size in (1 << 18, 1 << 19):
        done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder / 'callgrind'}", str(program), "feed",
                               pattern, str(size)], capture_output=True, text=True, check=True)
        found = re.search(r"Collected : (\d+)", done.stderr)
        assert found, done.stderr
        counts.append(int(found[1]))
    return (counts[1] - counts[0]) / (1 << 18)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=lambda text: int(float(text)), default=10**8)
    parser.add_argument("--garbage", type=lambda text: int(float(text)), default=10**9, help="bytes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument("--json", action="store_true", help="all counts as one line more")
    args = parser.parse_args(arguments)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = fp.build_damager(folder)
        good = all([damaged(program, args, result), garbage(program, args, result), shortened(folder, args, result)])
        for pattern, text in PATTERNS.items() if shutil.which("valgrind") else ():
            result[f"instructions, {pattern}"] = per_byte = instructions_per_byte(program, pattern, folder)
            print(f"instructions per byte, {text}: {per_byte:.1f}")
    if args.json:
        print(json.dumps(result))
    print(f"result: {'ok' if good else 'NOT OK'}, twice {args.frames:.3g} frames and {args.garbage:.3g} bytes of garbage "
          f"on {args.jobs} processes, seed {args.seed}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
