"""Built-in tasks use no memory that they never wrote: flights under MemorySanitizer and under valgrind, without Python.

The image of a node is zeroed when it is loaded, so what is meant is the stack. Both tools report a branch, an address or a printed
digest that depends on such a byte; all of every image reaches a digest.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import hil
from flightsw.bundle import bundle

ROOT = Path(__file__).resolve().parents[1]
MEMORY = "-O1 -g -fno-omit-frame-pointer -fsanitize=memory -fsanitize-memory-track-origins"
TOOLS = {  # name: (programs, apt packages, CMake options, command in front)
    "sanitizer": (("clang-19",), "clang-19 libclang-rt-19-dev", ("-DCMAKE_C_COMPILER=clang-19", f"-DCMAKE_C_FLAGS={MEMORY}"), ()),
    "valgrind": (("gcc", "valgrind"), "gcc valgrind", ("-DCMAKE_C_COMPILER=gcc", "-DCMAKE_C_FLAGS=-O1 -g"),
                 ("valgrind", "--quiet", "--error-exitcode=77", "--track-origins=yes")),
}
TICKS = {("sanitizer", "hopper"): 12_000, ("sanitizer", "zhuque3_landing"): 40_000,
         ("valgrind", "hopper"): 1000, ("valgrind", "zhuque3_landing"): 1000}


def need(tool: str) -> None:
    """Skip where a tool is missing, with the reason; in CI that is a failure."""
    programs, packages, _, _ = TOOLS[tool]
    missing = [p for p in ("cmake", "ninja", *programs) if shutil.which(p) is None]
    if tool == "sanitizer" and not missing:
        found = subprocess.run(["clang-19", "-print-resource-dir"], capture_output=True, text=True, check=True).stdout.strip()
        missing += [] if list(Path(found).rglob("libclang_rt.msan*.a")) else ["libclang_rt.msan"]
    if missing:
        text = f"not installed: {', '.join(missing)} (apt: cmake ninja-build {packages})"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)


def build(source: Path, folder: Path, tool: str) -> Path:
    """fly_blob for a tool; returns its path."""
    configure = ["cmake", "-G", "Ninja", "-S", str(source), "-B", str(folder), "-DFSW_PYTHON=OFF", *TOOLS[tool][2]]
    for command in (configure, ["cmake", "--build", str(folder), "--target", "fly_blob"]):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return folder / "fly_blob"


@pytest.fixture(scope="module", params=TOOLS)
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """(tool, fly_blob of the sources as they are, fly_blob in which one task lets a byte that nobody wrote into its state)."""
    tool = request.param
    need(tool)
    folder = tmp_path_factory.mktemp(tool)
    for name in ("native", "cmake"):
        shutil.copytree(ROOT / name, folder / "copy" / name)
    shutil.copy(ROOT / "CMakeLists.txt", folder / "copy")
    good = shutil.copy(build(folder / "copy", folder / "build", tool), folder / "good")
    hurt = folder / "copy" / "native" / "gnc" / "touchdown.c"
    bad = "uint8_t scratch[16], *volatile at = scratch;\n  ((fsw_touchdown_state_t *)io->state)->landed |= at[5];\n"
    text, n = re.subn(r"(static int32_t step\(fsw_io_t \*io\)\s*\{\n)", rf"\1  {bad}", hurt.read_text("utf-8"))
    assert n == 1
    hurt.write_text(text, "utf-8")
    return tool, Path(good), build(folder / "copy", folder / "build", tool)


def fly(tool: str, program: Path, path: Path, ticks: int) -> subprocess.CompletedProcess[str]:
    command = [*TOOLS[tool][3], str(program), str(path), "1000", str(ticks)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bench to its bundle, seed 1."""
    out = {}
    for name in ("hopper", "zhuque3_landing"):
        bench = hil.Bench.load(ROOT / "bench_configs" / f"{name}.toml")
        out[name] = tmp_path_factory.mktemp("bundle") / f"{name}.fswn"
        out[name].write_bytes(bundle(bench.compiled(1), bench.links, 1))
    return out


def test_the_built_in_tasks_use_only_what_they_wrote(bundles: dict[str, Path], programs: tuple[str, Path, Path]) -> None:
    tool, program, _ = programs
    for name, path in bundles.items():
        done = fly(tool, program, path, TICKS[tool, name])
        assert done.returncode == 0, done.stderr[:4000]
        assert f"\n{TICKS[tool, name]} " in done.stdout and done.stderr == ""


def test_one_byte_that_nobody_wrote_is_found(bundles: dict[str, Path], programs: tuple[str, Path, Path]) -> None:
    tool, _, program = programs
    done = fly(tool, program, bundles["hopper"], 1000)
    assert done.returncode != 0
    assert re.search("use-of-uninitialized-value|uninitialised value", done.stderr), done.stderr[:4000]
    assert "touchdown.c" in done.stderr, done.stderr[:4000]
