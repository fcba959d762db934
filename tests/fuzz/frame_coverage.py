"""What native/test/test_frame.c covers of frame.c and checksum.c: `python tests/fuzz/frame_coverage.py`.

Lines, branches and MC/DC, by clang source coverage. Exit code 0 when all of it is covered, 1 when not (with the places), 2 without
clang-19 and llvm-cov-19 (Debian: clang-19 libclang-rt-19-dev llvm-19).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import frame_programs as fp

TOOLS = ("clang-19", "llvm-profdata-19", "llvm-cov-19")
SOURCES = ("frame.c", "checksum.c")
OPTIONS = ("-O1", "-fprofile-instr-generate", "-fcoverage-mapping", "-fcoverage-mcdc")
KINDS = ("lines", "branches", "mcdc")


def missing() -> list[str]:
    """Tools that are not installed."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def measure(folder: Path) -> tuple[dict[str, dict[str, tuple[int, int]]], str]:
    """Per source and kind (covered, all), and the annotated source of what is not covered.

    RuntimeError when the tests fail.
    """
    sources = [fp.ROOT / "native" / "test" / "test_frame.c", *(fp.CORE / name for name in SOURCES)]
    program = fp.build(folder / "test_frame", sources=sources, compiler="clang-19", options=OPTIONS)
    raw, merged = folder / "raw", folder / "merged"
    done = subprocess.run([str(program)], env=os.environ | {"LLVM_PROFILE_FILE": str(raw)}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout)
    subprocess.run(["llvm-profdata-19", "merge", "-sparse", str(raw), "-o", str(merged)], check=True)
    where = [str(program), f"-instr-profile={merged}", *(str(fp.CORE / name) for name in SOURCES)]
    text = subprocess.run(["llvm-cov-19", "export", "-summary-only", *where], capture_output=True, text=True, check=True).stdout
    out: dict[str, dict[str, tuple[int, int]]] = {}
    for file in json.loads(text)["data"][0]["files"]:
        summary: dict[str, Any] = file["summary"]
        out[Path(file["filename"]).name] = {kind: (summary[kind]["covered"], summary[kind]["count"]) for kind in KINDS}
    show = ["llvm-cov-19", "show", "-show-branches=count", "-show-mcdc", *where]
    return out, subprocess.run(show, capture_output=True, text=True, check=True).stdout


def main() -> int:
    if missing():
        print(f"not installed: {', '.join(missing())} (Debian: clang-19 libclang-rt-19-dev llvm-19)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        try:
            found, text = measure(Path(folder))
        except RuntimeError as error:
            print(f"the tests fail:\n{error}", file=sys.stderr)
            return 1
    for name, kinds in found.items():
        print(f"{name}: " + ", ".join(f"{kind} {covered} of {count}" for kind, (covered, count) in kinds.items()))
    whole = set(found) == set(SOURCES) and all(covered == count for kinds in found.values() for covered, count in kinds.values())
    if not whole:
        print(text, file=sys.stderr)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
