"""Coverage gate of the code that decides about engines: `python tests/coverage/gate.py [--html FOLDER] [--teeth]`.

Functions, lines, branches and MC/DC (modified condition/decision coverage: for each condition of a decision, two cases in which it alone
turns the decision; J. J. Chilenski and S. P. Miller, Software Engineering Journal 9 (1994) 193) of the sequencer, its cluster manager,
redlines, command authentication, voting and framing, reached by the C tests alone, as clang source coverage measures them. Everything
below 100 % is named by file and line. Nothing is excluded; a decision that the compiler cannot instrument is an error.

--teeth takes single test cases out and expects the gate to fail each time: what it measures, it measures.
Exit code 0 when all is covered, 1 when not or when a test fails, 2 without the tools (Debian: clang-19 libclang-rt-19-dev llvm-19).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
TESTS = NATIVE / "test"
GATED = tuple(NATIVE / name for name in (
    "gnc/sequence.c", "gnc/sequence_table.c", "gnc/sense.c", "gnc/sequencer_task.c", "gnc/sequencer_thrust.c", "gnc/sequencer_cluster.c",
    "gnc/command.c",
    "gnc/command_task.c", "gnc/vote.c", "core/receiver.c", "core/frame.c"))
PROGRAMS = ("test_frame.c", "test_vote.c", "test_cluster.c", "test_sequence*.c", "test_sense*.c", "test_command*.c")
TOOLS = ("clang-19", "llvm-profdata-19", "llvm-cov-19", "llvm-ar-19")
# as CMakeLists.txt compiles, freestanding, but for the level of optimisation
EXACT = ("-std=c11", "-ffp-contract=off", "-fno-math-errno", f"-I{NATIVE / 'include'}")
MEASURE = ("-O1", "-ffreestanding", "-fprofile-instr-generate", "-fcoverage-mapping", "-fcoverage-mcdc")
PLAIN = ("-O2", "-ffreestanding")
KINDS = {"functions": "functions", "lines": "lines", "branches": "branches", "mcdc": "MC/DC"}
NOT_INSTRUMENTED = "will not be covered"   # what clang-19 says of a decision that it leaves out; a warning even with -Werror
# (program, line of it) without which the gate must fail
TEETH = (("test_frame.c", "    test_sizes();"), ("test_frame.c", "    test_counters();"), ("test_cluster.c", "  geometry();"),
         ("test_cluster.c", "  given_order();"), ("test_cluster.c", "  too_many_sets();"), ("test_vote.c", "  every_vote();"))


class Failed(Exception):
    """A test fails, or a source does not compile or cannot be measured; the text says which."""


@dataclass
class Found:
    """Coverage of one file: (covered, all) per kind, and the places that are not covered."""

    counts: dict[str, tuple[int, int]]
    missing: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """All of it, and there is something to cover."""
        return all(covered == count for covered, count in self.counts.values()) and self.counts["lines"][1] > 0 and not self.missing


def run(words: Sequence[object], *, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command, its output kept."""
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, env=env)


def compile_one(source: Path, target: Path, options: Sequence[str]) -> Path:
    """Compile to an object. Failed on an error, and on a decision that cannot be instrumented."""
    done = run(["clang-19", *EXACT, *options, "-c", source, "-o", target])
    if done.returncode:
        raise Failed(done.stderr)
    left_out = [line for line in done.stderr.splitlines() if NOT_INSTRUMENTED in line]
    if left_out:
        raise Failed("\n".join(left_out))
    return target


@dataclass
class Built:
    """Library of all flight code, the gated files in it instrumented."""

    folder: Path
    library: Path
    gated: list[Path]

    def program(self, source: Path, name: str | None = None) -> Path:
        """A test program linked with it. Failed when it does not compile."""
        target = self.folder / (name or source.stem)
        done = run(["clang-19", *EXACT, "-O1", "-fprofile-instr-generate", f"-I{TESTS}", source, self.library, "-lm", "-o", target])
        if done.returncode:
            raise Failed(done.stderr)
        return target


def build(folder: Path) -> Built:
    """Compile everything that flies or that flies are measured by; gated files with instrumentation."""
    gated = [path for path in GATED if path.is_file()]
    table = folder / "builtin_tasks.c"
    tasks = sorted([*(NATIVE / "gnc").glob("*.c"), *(NATIVE / "world").glob("*.c")])
    done = run([sys.executable, NATIVE / "tools" / "list_tasks.py", "fsw_builtin_tasks", table, *tasks])
    if done.returncode:
        raise Failed(done.stderr)
    sources = [*tasks, *sorted((NATIVE / "core").glob("*.c")), *sorted((NATIVE / "proof").glob("*.c")), table]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        objects = list(pool.map(lambda path: compile_one(path, folder / f"{path.parent.name}_{path.stem}.o",
                                                         MEASURE if path in gated else PLAIN), sources))
    library = folder / "libflight.a"
    run(["llvm-ar-19", "rcs", library, *objects])
    return Built(folder, library, gated)


def execute(program: Path, label: str) -> Path:
    """Run a test program; its raw profile. Failed with its words when it fails."""
    raw = program.with_suffix(".profraw")
    done = run([program], env=os.environ | {"LLVM_PROFILE_FILE": str(raw)})
    if done.returncode:
        raise Failed(f"{label} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return raw


def cov(verb: str, profile: Path, programs: Sequence[Path], words: Sequence[object]) -> str:
    """Output of llvm-cov over several programs. Failed when it complains."""
    objects = [word for program in programs[1:] for word in ("-object", program)]
    done = run(["llvm-cov-19", verb, f"-instr-profile={profile}", programs[0], *objects, *words])
    if done.returncode or "mismatched" in done.stderr:
        raise Failed(done.stderr)
    return done.stdout


def where(path: Path, record: Sequence[Any]) -> str:
    """File, line and column of a region, branch or decision."""
    return f"{path.relative_to(ROOT).as_posix()}:{record[0]}:{record[1]}"


def stretches(numbers: Sequence[int]) -> list[str]:
    """Ascending line numbers, neighbours joined: 3, 4, 5, 9 -> 3-5, 9."""
    out: list[list[int]] = []
    for number in numbers:
        if out and number == out[-1][1] + 1:
            out[-1][1] = number
        else:
            out.append([number, number])
    return [str(a) if a == b else f"{a}-{b}" for a, b in out]


def missing_branches(path: Path, branches: Sequence[Sequence[Any]]) -> list[str]:
    """Conditions that were never true or never false, or were never asked."""
    sums: dict[tuple[int, ...], tuple[int, int]] = {}
    for one in branches:
        key = tuple(one[:4])
        true, false = sums.get(key, (0, 0))
        sums[key] = (true + one[4], false + one[5])
    out = []
    for key, (true, false) in sorted(sums.items()):
        if true == 0 or false == 0:
            out.append(f"{where(path, key)}: never {'asked' if true == false else 'true' if true == 0 else 'false'}")
    return out


def missing_lines(lcov: str) -> dict[str, list[int]]:
    """Lines that were not executed, per file, from a trace in lcov's format."""
    out: dict[str, list[int]] = {}
    name = ""
    for line in lcov.splitlines():
        key, _, rest = line.partition(":")
        if key == "SF":
            name = rest
        elif key == "DA" and rest.split(",")[1] == "0":
            out.setdefault(name, []).append(int(rest.split(",")[0]))
    return out


def findings(data: dict[str, Any], lcov: str, gated: Sequence[Path]) -> dict[Path, Found]:
    """What llvm-cov exported, per gated file."""
    out: dict[Path, Found] = {}
    lines = missing_lines(lcov)
    for path in gated:
        entry = next((one for one in data["files"] if Path(one["filename"]) == path), None)
        if entry is None:
            out[path] = Found(dict.fromkeys(KINDS, (0, 0)), [f"{path.relative_to(ROOT).as_posix()}: no test program contains it"])
            continue
        found = Found({kind: (entry["summary"][kind]["covered"], entry["summary"][kind]["count"]) for kind in KINDS})
        dead: set[int] = set()   # lines of functions that are never called: said once
        for one in data["functions"]:
            if Path(one["filenames"][0]) == path and one["count"] == 0:
                first, _, last, *_ = one["regions"][0]
                dead.update(range(first, last + 1))
                found.missing.append(f"{where(path, one['regions'][0])}: function {one['name'].split(':')[-1]} is never called")
        not_run = [line for line in lines.get(str(path), []) if line not in dead]
        found.missing += [f"{path.relative_to(ROOT).as_posix()}:{text}: never executed" for text in stretches(not_run)]
        if found.counts["branches"][0] != found.counts["branches"][1]:
            found.missing += missing_branches(path, [one for one in entry["branches"] if one[0] not in dead])
        for record in entry["mcdc_records"]:
            dull = [str(k + 1) for k, shown in enumerate(record[6]) if not shown]
            if dull and record[0] not in dead and found.counts["mcdc"][0] != found.counts["mcdc"][1]:
                found.missing.append(f"{where(path, record)}: MC/DC, no pair of cases for condition {', '.join(dull)} of {len(record[6])}")
        out[path] = found
    return out


def measure(built: Built, programs: Sequence[Path], html: Path | None = None, gated: Sequence[Path] | None = None) -> dict[Path, Found]:
    """Run test programs and measure what they cover together."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        raw = list(pool.map(lambda program: execute(program, program.name), programs))
    profile = built.folder / "merged.profdata"
    done = run(["llvm-profdata-19", "merge", "-sparse", *raw, "-o", profile])
    if done.returncode:
        raise Failed(done.stderr)
    files = list(gated or built.gated)
    if html:
        cov("show", profile, programs, ["-format=html", "-show-branches=count", "-show-mcdc", f"-output-dir={html}", *files])
    text = cov("export", profile, programs, files)
    return findings(json.loads(text)["data"][0], cov("export", profile, programs, ["-format=lcov", *files]), files)


def table(found: dict[Path, Found]) -> str:
    """One line per file, one column per kind, covered of all."""
    rows = [["file", *KINDS.values()]]
    for path, one in found.items():
        rows.append([path.relative_to(ROOT).as_posix(), *(f"{covered}/{count}" for covered, count in one.counts.values())])
    sums = [[sum(one.counts[kind][i] for one in found.values()) for i in (0, 1)] for kind in KINDS]
    rows.append(["all", *(f"{covered}/{count}" for covered, count in sums)])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
                     for row in rows)


def teeth(built: Built) -> list[str]:
    """Test cases whose loss the gate does not notice; each program alone, on the files that it covers wholly."""
    out = []
    for name, line in TEETH:
        text = (TESTS / name).read_text("utf-8")
        if text.count(line + "\n") != 1:
            raise Failed(f"{name}: no line '{line.strip()}'")
        whole = measure(built, [built.program(TESTS / name)])
        covered = [path for path, one in whole.items() if one.whole]
        weaker = built.folder / "weaker.c"
        # still called "used", so that the compiler does not object to what is left over
        weaker.write_text(text.replace(line + "\n", f"  (void){line.strip().removesuffix('();')};\n"), "utf-8")
        found = measure(built, [built.program(weaker)], gated=covered)
        places = sum(len(one.missing) for one in found.values())
        print(f"without {line.strip().removesuffix('();')} of {name}: {places} places not covered")
        if not covered or places == 0:
            out.append(f"{name}: {line.strip()}")
    return out


def judge(folder: Path, html: Path | None, with_teeth: bool) -> int:
    """Measure, print, and say whether all is covered."""
    built = build(folder)
    sources = sorted({path for pattern in PROGRAMS for path in TESTS.glob(pattern)})
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        programs = list(pool.map(built.program, sources))
    found = measure(built, programs, html)
    print(table(found))
    print(f"by {', '.join(path.stem for path in sources)}; excluded: nothing")
    for path in sorted(set(GATED) - set(built.gated)):
        print(f"{path.relative_to(ROOT).as_posix()}: no such file")
    for one in found.values():
        for place in one.missing:
            print(place)
    unnoticed = teeth(built) if with_teeth else []
    for place in unnoticed:
        print(f"the gate does not notice the loss of {place}")
    return 0 if all(one.whole for one in found.values()) and built.gated == list(GATED) and not unnoticed else 1


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--html", type=Path, metavar="FOLDER", help="write the annotated sources there")
    parser.add_argument("--teeth", action="store_true", help="also take test cases out and expect the gate to fail")
    words = parser.parse_args()
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        print(f"not installed: {', '.join(absent)} (Debian: clang-19 libclang-rt-19-dev llvm-19)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        try:
            return judge(Path(folder), words.html, words.teeth)
        except Failed as error:
            print(error, file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
