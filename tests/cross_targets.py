"""The same flight on other compilers and processors: what there is to run on, what to fly, and what must come out.

Used by test_cross_architecture.py and by benchmarks/cross_architecture.py, see docs/exactness.md.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import hil
from flightsw._native import ffi, lib
from flightsw.bundle import bundle
from flightsw.graph import NEED_DRAIN, Graph
from flightsw.messages import dtype_of

ROOT = Path(__file__).resolve().parents[1]
EVERY = 1000                # ticks between keyframes
_BUFFER = 1 << 20
_INDEX = dtype_of(ffi.typeof("fsw_index_entry_t"))
_PACKAGES = {
    "/usr/aarch64-linux-gnu/lib/libc.a": "libc6-dev-arm64-cross", "/usr/riscv64-linux-gnu/lib/libc.a": "libc6-dev-riscv64-cross",
    "/usr/s390x-linux-gnu/lib/libc.a": "libc6-dev-s390x-cross", "/usr/powerpc64-linux-gnu/lib/libc.a": "libc6-dev-ppc64-cross",
    "ninja": "ninja-build", "arm-none-eabi-gcc": "gcc-arm-none-eabi",
}


# ---- targets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A compiler at a level of optimisation for a processor, and how to run what it makes.

    needs: programs and files without which it cannot be. options: of CMake. runner: command in front of the program. level: of
    optimisation. bare: a machine without an operating system.
    """

    name: str
    needs: tuple[str, ...]
    options: tuple[str, ...]
    runner: tuple[str, ...] = ()
    level: str = "-O2"
    bare: bool = False

    def missing(self) -> list[str]:
        """apt packages that are wanted and not installed."""
        found = ["cmake", "ninja", *self.needs]
        return [_package(n) for n in found if not (Path(n).exists() if n.startswith("/") else shutil.which(n))]


def _package(need: str) -> str:
    if need.endswith("-linux-gnu-gcc"):
        return "gcc-" + need.removesuffix("-gcc")
    return "qemu-user-static" if need.startswith("qemu-") and need.endswith("-static") else _PACKAGES.get(need, need)


def _native(compiler: str, level: str) -> Target:
    return Target(f"x86-64 {compiler} {level}", (compiler,), (f"-DCMAKE_C_COMPILER={compiler}",), level=level)


def _emulated(name: str, triple: str, emulator: str, level: str = "-O2") -> Target:
    needs = (f"{triple}-gcc", f"/usr/{triple}/lib/libc.a", emulator)
    options = (f"-DCMAKE_TOOLCHAIN_FILE={ROOT}/cmake/linux-cross.cmake", f"-DFSW_TRIPLE={triple}", f"-DFSW_QEMU={emulator}")
    return Target(f"{name} gcc {level}", needs, options, (emulator,), level)


NATIVE = _native("gcc", "-O2")
AARCH64 = _emulated("aarch64", "aarch64-linux-gnu", "qemu-aarch64-static")
TARGETS = [
    NATIVE, _native("gcc", "-O0"), _native("gcc", "-O3"),
    _native("clang-19", "-O0"), _native("clang-19", "-O2"), _native("clang-19", "-O3"),
    AARCH64, _emulated("aarch64", "aarch64-linux-gnu", "qemu-aarch64-static", "-O3"),
    _emulated("riscv64", "riscv64-linux-gnu", "qemu-riscv64-static"),
    _emulated("s390x, big-endian,", "s390x-linux-gnu", "qemu-s390x-static"),
    _emulated("ppc64, big-endian,", "powerpc64-linux-gnu", "qemu-ppc64-static"),
    Target("Cortex-M7, bare metal, gcc -O2", ("arm-none-eabi-gcc", "qemu-system-arm"),
           (f"-DCMAKE_TOOLCHAIN_FILE={ROOT}/cmake/cortex-m7.cmake",), bare=True),
]


class Builder:
    """Builds each wanted target once, two at a time, in a folder of its own."""

    def __init__(self, folder: Path, targets: Iterable[Target]) -> None:
        self.folder = folder
        self._pool = ThreadPoolExecutor(2)
        self._made: dict[str, Future[Path]] = {t.name: self._pool.submit(self._build, t) for t in targets if not t.missing()}

    def folder_of(self, target: Target) -> Path:
        """The CMake build folder of a target. AssertionError with what the compiler says when it does not build."""
        if target.name not in self._made:
            self._made[target.name] = self._pool.submit(self._build, target)
        return self._made[target.name].result()

    def _build(self, target: Target) -> Path:
        folder = self.folder / target.name.translate({ord(" "): "_", ord(","): None})
        programs = ["fly_blob"] if target.bare else ["fly_blob", "print_frames"]
        run_quietly(["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(folder), "-DFSW_PYTHON=OFF", "-DCMAKE_BUILD_TYPE=Release",
                     f"-DCMAKE_C_FLAGS_RELEASE={target.level}", *target.options])
        flags = re.findall(r"^  FLAGS = (.*)$", (folder / "build.ninja").read_text("utf-8"), re.M)
        levels = {flag for line in flags for flag in line.split() if flag.startswith("-O")}
        assert levels == {target.level}, f"{target.name} is compiled with {levels}"
        run_quietly(["cmake", "--build", str(folder), "-j", "1", "--target", *programs])
        return folder

    def close(self) -> None:
        """Forget what has not begun, wait for the rest."""
        self._pool.shutdown(cancel_futures=True)


def run_quietly(command: Sequence[str]) -> None:
    """AssertionError with the end of its output when a command fails."""
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, " ".join(command) + "\n" + result.stdout[-2000:] + result.stderr[-2000:]


def fly(target: Target, build: Path, data: bytes, until: int, every: int = EVERY) -> list[str]:
    """What fly_blob prints on a target that flies a bundle up to a tick. AssertionError when it stops."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flight.fswn"
        if target.bare:
            path.write_bytes(b"FLYB" + struct.pack("<III", len(data), every, until) + data)
            result = subprocess.run(
                ["qemu-system-arm", "-M", "mps2-an500", "-kernel", str(build / "fly_blob"), "-display", "none", "-nodefaults",
                 "-serial", "none", "-device", f"loader,file={path},addr=0x60000000,force-raw=on",
                 "-semihosting-config", "enable=on,target=native"], capture_output=True, text=True)
        else:
            path.write_bytes(data)
            result = subprocess.run([*target.runner, str(build / "fly_blob"), "-t", str(path), str(every), str(until)],
                                    capture_output=True, text=True)
    printed = result.stdout + result.stderr
    assert result.returncode == 0, f"{target.name}: exit code {result.returncode}: {printed[-500:]}"
    return [line for line in printed.split("\n") if line[:1].isdigit()]


# ---- flights ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A part of a flight: of which bench (seed 1), from tick to tick."""

    name: str
    bench: str
    first: int
    until: int


HOPPER = Part("hopper, whole flight", "hopper", 0, 64_000)
LANDING = Part("booster, landing burn", "zhuque3_landing", 20_500, 50_000)
PARTS = [HOPPER, LANDING]


@dataclass(frozen=True)
class Reference:
    """A part of a flight as Python flies it in this process: its bundle, and the lines that must be printed."""

    bundle: bytes
    lines: list[str]


class Recorder:
    """A recorder in memory on all topics of a graph; channel: running number of the topic over all nodes."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.digest = ffi.new("fsw_digest_t *")
        lib.fsw_digest_init(self.digest, 0)
        self._buffer, self._index = np.zeros(_BUFFER, np.uint8), np.zeros(_BUFFER // 32, _INDEX)
        rec = self.c = ffi.new("fsw_recorder_t *")
        rec.buffer = ffi.from_buffer("uint8_t[]", self._buffer, require_writable=True)
        rec.index = ffi.cast("fsw_index_entry_t *", ffi.from_buffer(self._index, require_writable=True))
        rec.capacity, rec.index_capacity = len(self._buffer), len(self._index)
        names = [(c.name, t) for c in graph.compiled for t in c.topics]
        graph.attach_recorder(rec, {name: (k, 1) for k, name in enumerate(names)})

    def run(self, until: int) -> None:
        """Run the graph, digesting its records."""
        while True:
            rc = self.graph.run(until)
            lib.fsw_digest_update(self.digest, self.c.buffer, self.c.used)
            self.c.used = self.c.n_index = 0
            if rc != NEED_DRAIN:
                return


def graph_at_start(part: Part) -> Graph:
    """A graph of the part's bench, flown to where the part begins."""
    bench = hil.Bench.load(ROOT / "bench_configs" / f"{part.bench}.toml")
    graph = Graph(bench.compiled(1), bench.links, bench.messages, 1)
    graph.run(part.first)
    return graph


@cache
def reference(part: Part) -> Reference:
    """A part of a flight, flown on in this process from where its bundle was made."""
    graph = graph_at_start(part)
    data = bundle(graph.compiled, graph.links, graph.snapshot())
    recorder, lines = Recorder(graph), []
    for tick in (part.first, *range((part.first // EVERY + 1) * EVERY, part.until, EVERY), part.until):
        recorder.run(tick)
        lines.append(f"{tick} topics {lib.fsw_digest_final(recorder.digest):016x}")
        lines += [f"{tick} {k} {d:016x}" for k, d in enumerate(graph.digests().values())]
    end = bundle(graph.compiled, graph.links, graph.snapshot())
    return Reference(data, [*lines, f"{part.until} bundle {lib.fsw_digest(end, len(end), 0):016x}"])
