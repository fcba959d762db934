"""The same bench computes the same images on every compiler and processor: digests of all nodes, tick by tick.

The hopper's bundle is flown without Python by native/test/fly_blob.c, 6 s of flight with take-off: gcc and clang at several levels
of optimisation, a big-endian s390x under user-mode emulation, and a bare Cortex-M7 in system emulation.
"""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

import hil
from flightsw.bundle import bundle

ROOT = Path(__file__).resolve().parents[1]
EVERY, TICKS = 1500, 6000


def need(*programs):
    """Skip where a tool is missing, with the reason; in CI that is a failure."""
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        text = f"not installed: {', '.join(missing)} (apt: qemu-user-static gcc-s390x-linux-gnu libc6-dev-s390x-cross " \
               "qemu-system-arm gcc-arm-none-eabi clang-19 cmake ninja-build)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)


@pytest.fixture(scope="module")
def flight(tmp_path_factory):
    """(bundle file, digests per line as Python computes them in process)."""
    folder = tmp_path_factory.mktemp("bundle")
    bench = hil.Bench.load(ROOT / "bench_configs" / "hopper.toml")
    path = folder / "hopper.fswn"
    path.write_bytes(bundle(bench.compiled(1), bench.links, 1))
    lines = []
    with bench.start(seed=1) as f:
        for tick in range(EVERY, TICKS + 1, EVERY):
            f.step(tick - f.tick)
            lines += [f"{tick} {n} {d:016x}" for n, d in enumerate(f.graph.digests().values())]
    return path, lines


def build(folder, *options):
    """fly_blob built with CMake options; returns its path."""
    configure = ["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(folder), "-DFSW_PYTHON=OFF", *options]
    for command in (configure, ["cmake", "--build", str(folder), "--target", "fly_blob"]):
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return folder / "fly_blob"


def fly(command, path):
    """Output lines of a fly_blob."""
    result = subprocess.run([*command, str(path), str(EVERY), str(TICKS)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.split("\n")[:-1]


@pytest.mark.parametrize(("compiler", "level"), [("gcc", "-O0"), ("gcc", "-O3"), ("clang-19", "-O2")])
def test_compilers_and_levels(flight, tmp_path, compiler, level):
    need("cmake", "ninja", compiler)
    program = build(tmp_path / "b", f"-DCMAKE_C_COMPILER={compiler}", f"-DCMAKE_C_FLAGS_RELEASE={level}",
                    "-DCMAKE_BUILD_TYPE=Release")
    assert fly([str(program)], flight[0]) == flight[1]


def test_big_endian(flight, tmp_path):
    need("cmake", "ninja", "s390x-linux-gnu-gcc", "qemu-s390x-static")
    program = build(tmp_path / "b", f"-DCMAKE_TOOLCHAIN_FILE={ROOT}/cmake/linux-cross.cmake", "-DFSW_TRIPLE=s390x-linux-gnu",
                    "-DFSW_QEMU=qemu-s390x-static", "-DCMAKE_BUILD_TYPE=Release")
    assert fly(["qemu-s390x-static", str(program)], flight[0]) == flight[1]


def test_cortex_m7(flight, tmp_path):
    need("cmake", "ninja", "arm-none-eabi-gcc", "qemu-system-arm")
    program = build(tmp_path / "b", f"-DCMAKE_TOOLCHAIN_FILE={ROOT}/cmake/cortex-m7.cmake", "-DCMAKE_BUILD_TYPE=Release")
    ticks = 3000  # the rest adds time, not cover: the emulated processor is slow
    data = flight[0].read_bytes()
    image = tmp_path / "image.bin"
    image.write_bytes(b"FLYB" + struct.pack("<III", len(data), EVERY, ticks) + data)
    result = subprocess.run(
        ["qemu-system-arm", "-M", "mps2-an500", "-kernel", str(program), "-display", "none", "-nodefaults", "-serial", "none",
         "-device", f"loader,file={image},addr=0x60000000,force-raw=on", "-semihosting-config", "enable=on,target=native"],
        capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stdout[-500:] + result.stderr[-500:]
    printed = (result.stdout + result.stderr).split("\n")
    assert [line for line in printed if line[:1].isdigit()] == flight[1][: len(flight[1]) * ticks // TICKS]


def test_a_wrong_bit_would_be_seen(flight, tmp_path):
    """The comparison has teeth: one changed parameter bit in the bundle changes a digest, or the bundle is refused."""
    need("cmake", "ninja", "gcc")
    program = build(tmp_path / "b", "-DCMAKE_BUILD_TYPE=Release")
    data = bytearray(flight[0].read_bytes())
    data[16 + 8] ^= 1  # seed of the first node, the world: outside the blob's own hash
    hurt = tmp_path / "hurt.fswn"
    hurt.write_bytes(data)
    assert fly([str(program)], hurt) != flight[1]
    data[400] ^= 1     # inside a blob
    hurt.write_bytes(data)
    assert subprocess.run([str(program), str(hurt)], capture_output=True).returncode != 0
