"""Programs that attack the link frame codec: how they are built and run, and what arithmetic says they will find.

Used by test_frames.py, run_fuzz.py, frame_coverage.py and benchmarks/damaged_frames.py. Needs a C compiler and numpy, nothing of
the package: the sources under test are native/core/frame.c and checksum.c as they stand.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORE = ROOT / "native" / "core"
FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Werror",
         f"-I{ROOT / 'native' / 'include'}")
HEADER, CRC, LARGEST = 24, 4, 652   # bytes, docs/link-format.md
WHOLE_CRC = 32


def build(output: Path, *, sources: Sequence[Path], compiler: str = "cc", options: Sequence[str] = ("-O2",)) -> Path:
    """Compile a program, warnings are errors. SystemExit(2) with the compiler's words when that fails."""
    if shutil.which(compiler) is None:
        print(f"{compiler} is not installed", file=sys.stderr)
        raise SystemExit(2)
    done = subprocess.run([compiler, *FLAGS, *options, *map(str, sources), "-o", str(output)], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        raise SystemExit(2)
    return output


def build_damager(folder: Path, crc_bits: int = WHOLE_CRC) -> Path:
    """damaged_frames.c, with a decoder that looks at the last crc_bits bits of the CRC only when that is less than 32."""
    sources = [HERE / "damaged_frames.c", CORE / "checksum.c"]
    if crc_bits == WHOLE_CRC:
        return build(folder / "damaged_frames", sources=[*sources, CORE / "frame.c"])
    return build(folder / f"damaged_frames_{crc_bits}", sources=sources, options=["-O2", f"-DCRC_BITS={crc_bits}"])


class Run(Thread):
    """One process of damaged_frames. `done` grows while it runs; `found` is there after join(). failed: its exit code."""

    def __init__(self, program: Path, *words: object) -> None:
        super().__init__()
        self.done, self.failed = 0, 0
        self.found: dict[str, int] = {}
        self.process = subprocess.Popen([str(program), *map(str, words)], stdout=subprocess.PIPE, text=True)
        self.start()

    def run(self) -> None:
        with self.process as process:
            assert process.stdout is not None
            for line in process.stdout:
                kind, *rest = line.split()
                if kind == "p":
                    self.done = int(rest[0])
                else:
                    self.found = {name: int(value) for name, value in (word.split("=") for word in rest)}
        self.failed = process.returncode


def run(program: Path, *words: object) -> dict[str, int]:
    """Result of one process of damaged_frames, waited for."""
    one = Run(program, *words)
    one.join()
    if one.failed or not one.found:
        raise SystemExit(f"{program.name} {words} ended with {one.failed}")
    return one.found


# ---- arithmetic ----------------------------------------------------------------------------------------------------
#
# Garbage is a sequence of independent bytes, value v with probability p[v]. A candidate starts behind every zero (the state of the
# decoder is then always the same) and is over at the next one. As a Markov chain over (bytes of the block still to come, whether
# the block is full): B[k] is the probability that from such a state exactly k more bytes are decoded and then a zero comes with
# no byte missing.


def endings(p: np.ndarray, longest: int = LARGEST) -> np.ndarray:
    """B[k, r, f]: r bytes of the block to come (0..254), f = 1 for a block of 254, which no implied zero follows."""
    some = 1.0 - p[0]
    out = np.zeros((longest + 1, 255, 2))
    out[0, 0] = p[0]
    for k in range(longest + 1):
        if k:
            out[k, 1:] = some * out[k - 1, :-1]
            out[k, 0, 0] = p[1:255] @ out[k - 1, :254, 0] + p[255] * out[k - 1, 254, 1]
        out[k, 0, 1] += p[1:255] @ out[k, :254, 0] + p[255] * out[k, 254, 1]
    return out


def starts(p: np.ndarray, values: Sequence[int | None]) -> np.ndarray:
    """F[r, f]: probability that behind a zero the first len(values) decoded bytes are these (None: any), and the state then."""
    state = np.zeros((255, 2))
    state[:254, 0], state[254, 1] = p[1:255], p[255]
    fresh = state.copy()
    for value in values:
        weight = 1.0 - p[0] if value is None else float(p[value]) if value else 0.0
        after = np.zeros_like(state)
        after[:-1] = weight * state[1:]
        if not value:
            after += state[0, 0] * fresh
        state = after
    return state


def garbage_rates(p: np.ndarray) -> dict[str, float]:
    """Expected number per byte of garbage of what the decoder counts, `passed` being all that nothing but the CRC refuses.

    p: probabilities of the 256 byte values. With b bits of CRC, `accepted` * 2^-b of the bytes end a frame that is accepted: those
    of `passed` whose reserved field is zero.
    """
    end, begin = endings(p), starts(p, [])
    delivered = p[0] * np.einsum("krf,rf->k", end, begin)
    version = p[0] * np.einsum("krf,rf->k", end[: LARGEST], starts(p, [1]))  # k bytes follow the first
    passed = accepted = 0.0
    for length in range(LARGEST - HEADER - CRC + 1):
        head = [1, None, None, None, length & 255, length >> 8]
        passed += float(p[0]) * float(np.sum(starts(p, head) * end[length + HEADER + CRC - 6]))
        accepted += float(p[0]) * float(np.sum(starts(p, [*head, 0, 0]) * end[length + HEADER + CRC - 8]))
    short, right = float(delivered[:28].sum()), float(version[27:].sum())
    return {"frames": float(delivered.sum()), "short": short, "version": float(delivered.sum()) - short - right,
            "length": right - passed, "passed": passed, "accepted": accepted}


def probabilities(shape: Mapping[int, int]) -> np.ndarray:
    """Of the 256 byte values, from counts out of 65536; without any, all alike."""
    p = np.full(256, 1 / 256) if not shape else np.zeros(256)
    for value, count in shape.items():
        p[value] = count / 65536
    assert abs(p.sum() - 1) < 1e-12
    return p


def shape_words(shape: Mapping[int, int]) -> list[str]:
    """A shape for the command line of damaged_frames."""
    return [f"{value}:{count}" for value, count in shape.items()]


# Noise that looks like a frame often, and is hardly ever the same twice: one candidate in 120 000 bytes passes all but the CRC.
FRAME_LIKE = {0: 4096, 1: 40960} | dict.fromkeys(range(2, 10), 2560)
