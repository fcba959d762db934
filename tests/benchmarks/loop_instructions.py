"""Instructions of the whole loop per simulated millisecond, beside the yardstick loopref.c, counted by callgrind in the same run.

usage: python tests/benchmarks/loop_instructions.py [--bench FILE] [--at SECONDS] [--limit 2.5]

Both programs are counted twice, for a short and a long flight, and the difference divided by the milliseconds between: start-up
cancels. The yardstick is a sketch of the same job (plant, sensors, filter, control, log) and is found through FLIGHTSW_DATA.
Exit code 1 when the loop needs more than `limit` times its instructions. Noise is below 1 %.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def instructions(command: list[str], work: Path) -> int:
    """Instructions executed by a command."""
    result = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={work / 'cg.out'}", *command],
                            capture_output=True, text=True, check=True, cwd=work)
    found = re.search(r"Collected : (\d+)", result.stderr)
    if found is None:
        raise SystemExit(f"callgrind said nothing about {command[0]}:\n{result.stderr}")
    return int(found[1])


def per_ms(make: list[str], short: int, long: int, work: Path) -> float:
    """Mean instructions per millisecond between `short` and `long` ms of flight; `{ms}` in the command is replaced."""
    counts = [instructions([part.replace("{ms}", str(ms)).replace("{s}", str(ms / 1000)) for part in make], work)
              for ms in (short, long)]
    return (counts[1] - counts[0]) / (long - short)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", type=Path, default=ROOT / "bench_configs" / "zhuque3_landing.toml")
    parser.add_argument("--from-ms", type=int, default=2000)
    parser.add_argument("--to-ms", type=int, default=46000)
    parser.add_argument("--limit", type=float, default=2.5)
    args = parser.parse_args()
    import hil
    from flightsw.bundle import bundle

    data = Path(os.environ.get("FLIGHTSW_DATA", ROOT.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        bench = hil.Bench.load(args.bench)
        (work / "flight.fswn").write_bytes(bundle(bench.compiled(0), bench.links, 1))
        subprocess.run(["cmake", "-G", "Ninja", "-S", ROOT, "-B", work / "b", "-DFSW_PYTHON=OFF", "-DCMAKE_BUILD_TYPE=Release"],
                       check=True, capture_output=True)
        subprocess.run(["cmake", "--build", work / "b", "--target", "fly_blob"], check=True, capture_output=True)
        ours = per_ms([str(work / "b" / "fly_blob"), "flight.fswn", "1000000", "{ms}"], args.from_ms, args.to_ms, work)
        subprocess.run(["cc", "-O2", "-msse4.2", data / "peers" / "loopref.c", "-lm", "-o", work / "loopref"], check=True)
        # loopref repeats its flight three times
        yard = per_ms([str(work / "loopref"), "{s}", "255", "loop.log"], 1000, 4000, work) / 3.0
    print(f"{args.bench.stem}: {ours:.0f} instructions per ms without log, {args.from_ms} to {args.to_ms} ms of flight")
    print(f"loopref.c: {yard:.0f} instructions per ms with its log")
    print(f"ratio {ours / yard:.2f}, limit {args.limit}")
    return 0 if ours <= args.limit * yard else 1


if __name__ == "__main__":
    sys.exit(main())
