"""No fused multiply-add in the machine code of core, flight software and world: `python tests/static/no_fma.py [FILE ...]`.

A fused operation rounds once where the source rounds twice, so the bits of a flight would depend on the processor. The flags of
CMakeLists.txt forbid it; compilers have emitted it all the same (gcc 12 from its vectoriser of straight code), so the result is
looked at. Disassembled are the extension module that is imported here and the libraries built for processors that have such
instructions: AArch64, RISC-V, and x86-64 with -march=x86-64-v3. FILE: look only at these.

First the check itself is tried on a multiply-add that was compiled to be fused. Exit code 0 when none is found, 1 with functions and
instructions otherwise or when the trial is not seen, 2 when a tool is missing (0 with the reason outside CI).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# x86 vfmadd132pd, vfnmsub, vfmaddsub, bfloat vdpbf16 is none; AArch64 and RISC-V fmadd, fmla, vfmacc, vfnmsac; 32-bit Arm vfma;
# PowerPC xsmaddadp, xvnmsub; s390x madbr, wfmadb
FUSED = re.compile(r"\A(?:vfn?m(?:add|sub|addsub|subadd)\w*|vfw?n?m(?:acc|sac|add|sub)(?:\.\w+)*|fn?m(?:add|sub)s?(?:\.[sdqh])?|"
                   r"f(?:c?mla|mls|mlal|mlsl)\w*|vfn?m[as](?:\.\w+)*|x[sv]n?m(?:add|sub)\w+|m[as][de]br?|w?vfn?m[as]\w*|wfn?m[as]\w+)\Z")
SYMBOL = re.compile(r"^[0-9a-f]+ <(.+)>:$")
# Machine code by the name of its objdump, and the option of CMake that makes it
BUILDS = {
    "x86-64-v3": ("objdump", ["-DCMAKE_C_FLAGS=-march=x86-64-v3"], "cc"),
    "aarch64": ("aarch64-linux-gnu-objdump", ["-DFSW_TRIPLE=aarch64-linux-gnu"], "aarch64-linux-gnu-gcc"),
    "riscv64": ("riscv64-linux-gnu-objdump", ["-DFSW_TRIPLE=riscv64-linux-gnu"], "riscv64-linux-gnu-gcc"),
}
LIBRARIES = ("fsw_core", "fsw_gnc", "fsw_world", "fsw_tasks")


def fused(text: str) -> list[tuple[str, str]]:
    """(function, instruction) of every fused operation in a disassembly of objdump."""
    found, function = [], "?"
    for line in text.splitlines():
        symbol = SYMBOL.match(line)
        if symbol:
            function = symbol[1]
            continue
        parts = line.split("\t")
        if len(parts) < 2 or not parts[0].rstrip().endswith(":"):
            continue
        word = parts[-1 if len(parts) == 2 else 1].split()
        if word and FUSED.match(word[0]):
            found.append((function, " ".join([*word, *parts[2:]])))
    return found


def instructions(text: str) -> int:
    """Lines with an instruction: a disassembly without any says nothing."""
    return sum("\t" in line and line.split("\t")[0].rstrip().endswith(":") for line in text.splitlines())


def disassembly(path: Path, objdump: str) -> str:
    """Machine code of an object, library or module. SystemExit when it cannot be read."""
    result = subprocess.run([objdump, "-d", "--no-show-raw-insn", str(path)], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{path}: {result.stderr.strip()}")
    return result.stdout


def trial(folder: Path) -> str:
    """The instruction found in a multiply-add that was compiled to be fused; empty when it was missed."""
    source, made = folder / "trial.c", folder / "trial.o"
    source.write_text("double trial(double a, double b, double c) { return a * b + c; }\n", "utf-8")
    flags = ["-mfma"] if os.uname().machine == "x86_64" else []
    subprocess.run(["cc", "-O2", *flags, "-ffp-contract=fast", "-c", source, "-o", made], check=True)
    found = fused(disassembly(made, "objdump"))
    return found[0][1].split()[0] if found and found[0][0] == "trial" else ""


def built(name: str, folder: Path) -> list[Path]:
    """The libraries, built for a processor with the flags of the project."""
    _, options, _ = BUILDS[name]
    cross = [f"-DCMAKE_TOOLCHAIN_FILE={ROOT}/cmake/linux-cross.cmake", "-DFSW_QEMU=true"] if "TRIPLE" in options[0] else []
    for command in (["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(folder), "-DFSW_PYTHON=OFF", "-DCMAKE_BUILD_TYPE=Release",
                     *cross, *options], ["cmake", "--build", str(folder), "--target", *LIBRARIES]):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return [folder / f"lib{library}.a" for library in LIBRARIES]


def look(name: str, paths: list[Path], objdump: str) -> int:
    """Print what was found in some files; its number."""
    total, functions = 0, Counter[str]()
    for path in paths:
        text = disassembly(path, objdump)
        if not instructions(text) and path.suffix != ".a":
            raise SystemExit(f"{path}: no instruction in its disassembly")
        total += instructions(text)
        functions.update(f"{function}: {instruction}" for function, instruction in fused(text))
    if total < 100:
        raise SystemExit(f"{name}: {total} instructions only; nothing was looked at")
    print(f"{name}: {total} instructions, {sum(functions.values())} fused multiply-adds")
    for what, times in functions.most_common(20):
        print(f"  {what}" + (f" ({times} times)" if times > 1 else ""))
    return sum(functions.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--objdump", default="objdump", help="for FILE")
    args = parser.parse_args()
    missing = [tool for tool in ("objdump", "cc", "cmake", "ninja") if not shutil.which(tool)]
    if missing:
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return 2 if os.environ.get("CI") else 0
    with tempfile.TemporaryDirectory() as work:
        seen = trial(Path(work))
        if not seen:
            print("a fused multiply-add made on purpose was not found", file=sys.stderr)
            return 1
        print(f"on purpose: {seen} found")
        if args.files:
            return int(look(", ".join(p.name for p in args.files), args.files, args.objdump) > 0)
        sys.path.insert(0, str(ROOT))
        from flightsw import _core
        count = look("extension module", [Path(_core.__file__)], "objdump")
        for name, (objdump, _, compiler) in BUILDS.items():
            if shutil.which(objdump) and shutil.which(compiler):
                count += look(name, built(name, Path(work) / name), objdump)
            elif os.environ.get("CI"):
                print(f"{name}: not installed: {compiler}", file=sys.stderr)
                return 2
            else:
                print(f"{name}: left out, not installed: {compiler}")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
