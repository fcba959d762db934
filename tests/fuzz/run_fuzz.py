"""Fuzzing of the link frame codec with libFuzzer: `python tests/fuzz/run_fuzz.py --seconds 60`.

Builds frame_fuzz.c with clang-19 and the address and undefined-behaviour sanitizers, writes a corpus of frames and of damage to
them, and lets one process per core mutate it. libFuzzer's own words go to a file per process; with --keep DIR they, the corpus and
the input that made it fail stay there. Exit code 0, 1 when an input was found on which the codec fails, 2 without clang-19.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import frame_programs as fp
from fuzz import link_page as page

BARE, SEND, STREAM, SEALED = 0, 1, 2, 4     # frame_fuzz.c, first byte of an input
SANITIZERS = ["-O1", "-g", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
LARGEST_INPUT = 2048


def frame(payload: bytes, reserved: int = 0) -> bytes:
    """A bare frame."""
    return page.frame({"type": 2, "src": 3, "dst": 4, "sequence": 0x04050607, "t_ns": -1, "reserved": reserved}, payload)


def corpus(seed: int = 1) -> Iterator[bytes]:
    """Inputs to begin with."""
    rng = random.Random(seed)
    payloads = [b"", b"\0", b"x", b"\0" * 624, b"\xff" * 624, b"\1" * 226, bytes(range(256)) * 2]
    payloads += [rng.randbytes(253), rng.randbytes(600)]
    for payload in payloads:
        bare = frame(payload)
        line = bytearray(page.stream(bare) + page.stream(frame(b"after")))
        yield bytes([BARE]) + bare
        yield bytes([BARE | SEALED]) + frame(payload, reserved=1)
        yield bytes([SEND]) + bare[:24] + b"\xff\3" + payload
        for piece in (0, 1, 7, 127):
            yield bytes([STREAM | piece << 1 & 255]) + page.stream(bare) * 2
        for _ in range(4):
            line[rng.randrange(len(line))] ^= 1 << rng.randrange(8)
            yield bytes([STREAM]) + line
    for n in (651, 652, 653, 700, 2000):
        yield bytes([STREAM]) + page.stream(b"\2" * n) + page.stream(frame(b""))
        yield bytes([STREAM, 0]) + b"\1" * n + page.stream(frame(b""))
    yield from (bytes([STREAM]) + rng.randbytes(n) for n in (10, 100, 1000))


def fuzz(program: Path, folder: Path, seconds: float, jobs: int, seed: int) -> list[subprocess.Popen[bytes]]:
    """Processes that have run; their words are in folder/N.log."""
    processes = []
    for job in range(jobs):
        found = folder / f"corpus{job}"
        found.mkdir()
        for i, data in enumerate(corpus()):
            (found / f"{i:03}").write_bytes(data)
        with (folder / f"{job}.log").open("wb") as log:
            command = [str(program), str(found), f"-max_total_time={max(1, round(seconds))}", f"-seed={seed + job}",
                       f"-max_len={LARGEST_INPUT}", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1",
                       f"-artifact_prefix={folder}/fails-{job}-"]
            processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder))
    began = time.monotonic()
    while any(p.poll() is None for p in processes):
        time.sleep(0.1)
        if sys.stderr.isatty():
            print(f"\r{time.monotonic() - began:.0f} of {seconds:.0f} s ", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    return processes


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="new folder for logs, corpora and failing inputs")
    args = parser.parse_args(arguments)
    if shutil.which("clang-19") is None:
        print("clang-19 is not installed (Debian: clang-19 libclang-rt-19-dev)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=args.keep is None)
        folder = folder.resolve()
        program = fp.build(folder / "frame_fuzz", compiler="clang-19", options=SANITIZERS,
                           sources=[fp.HERE / "frame_fuzz.c", fp.CORE / "frame.c", fp.CORE / "checksum.c"])
        processes = fuzz(program, folder, args.seconds, args.jobs, args.seed)
        logs = [(folder / f"{job}.log").read_text("utf-8", "replace") for job in range(args.jobs)]
        failed = [job for job, process in enumerate(processes) if process.returncode]
        runs = sum(int(n) for log in logs for n in re.findall(r"number_of_executed_units: (\d+)", log))
        edges = max((int(n) for log in logs for n in re.findall(r"cov: (\d+)", log)), default=0)
        for job in failed:
            print(logs[job][-3000:], file=sys.stderr)
            for path in sorted(folder.glob(f"fails-{job}-*")):
                print(f"input: {path.read_bytes().hex()}", file=sys.stderr)
        print(f"result: {'FAILS' if failed else 'ok'}, {runs} inputs in {args.seconds:.0f} s on {args.jobs} processes "
              f"({runs / max(args.seconds, 1):.0f}/s), {edges} edges of the program reached, seed {args.seed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
