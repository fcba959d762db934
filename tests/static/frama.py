"""Absence of run-time errors in the code that decides about engines: `python tests/static/frama.py [FILE ...]`.

Frama-C (P. Cuoq et al., "Frama-C: a software analysis perspective", SEFM 2012) looks at each gated file for indices out of bounds, invalid
pointers, signed overflow, division by zero, shifts beyond the width and floating-point numbers beyond the range of an integer:
- Eva, abstract interpretation: a driver in tests/static/frama calls the functions of a file with arbitrary arguments, within what the
  driver's first comment says. No alarm: no such error for any of these arguments. Not a number and infinity are allowed as values.
  Of the task as a whole (sequencer_task.c) alarms remain: they are printed, and do not count.
- WP, deductive proof with z3: contracts and loop invariants in the source, for buffers of any size.
Parameters are taken anywhere within the ranges that sequencer.h states for them. Compiler built-ins are replaced by words that the tool
knows (builtins.h, contracts.h). The target is 64-bit x86; what holds for it holds for all with the same widths of the integers.
Exit code 0 when no error is possible, 1 when one is not excluded, 2 without the tools in CI (CI=true); elsewhere they are then skipped
(Debian: frama-c-base why3 z3).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
DRIVERS = Path(__file__).resolve().parent / "frama"
TOOLS = ("frama-c", "why3", "z3")
LIMIT_S = 600   # of one analysis: it hangs
COMMON = ("-c11", "-machdep", "gcc_x86_64")
EVA = ("-eva", "-eva-auto-loop-unroll", "64", "-warn-special-float", "none", "-eva-no-show-progress")
WP = ("-wp", "-wp-rte", "-wp-prover", "z3", "-wp-timeout", "60", "-wp-par", "2")
RANGE = re.compile(r"(double|uint32_t|uint8_t) (\w+)(?:\[(\d+)\])?;\s*/\* \[([^,\]]+), ([^\]]+)\]")
ALARM = re.compile(r"^\[eva:alarm\] (\S+):(\d+): Warning: *\n((?: .*\n)+)", re.M)
STATEMENTS = re.compile(r"(\d+) statements reached \(out of (\d+)\)")
NO_CODE = re.compile(r"[Nn]either code nor specification for function (\w+)")
GOAL = re.compile(r"^\[wp\] \[.*\] Goal (\w+) : (?!Valid)(\w+)", re.M)
PROVED = re.compile(r"Proved goals: +(\d+) / (\d+)")


@dataclass(frozen=True)
class Job:
    """One run of the tool: what is analysed, and by which driver."""

    name: str                       # of the driver, or of the source for WP
    sources: tuple[str, ...]        # below native/
    options: tuple[str, ...] = ()
    defines: str = ""
    says: str = ""                  # beside the driver's name
    known: tuple[tuple[str, str], ...] = ()  # (text of an alarm, why it is none)
    unproved: str = ""              # why alarms of this run are printed and do not count


@dataclass
class Result:
    """What came out of it."""

    line: str
    problems: list[str]
    seconds: float


NAN = ("no error: the branch is taken where now > peak, which is false for what is no number; the tool does not learn that from a comparison."
       " With measurements that are numbers there is no alarm: run FINITE")
JOBS = (
    Job("sequence", ("gnc/sequence.c",), ("-eva-precision", "1")),
    Job("sequence_table", ("gnc/sequence_table.c",), ("-eva-precision", "3")),
    Job("sense", ("gnc/sense.c", "gnc/sequence.c"), ("-eva-precision", "2"), known=((r"\is_finite(now)", NAN),)),
    Job("sense", ("gnc/sense.c", "gnc/sequence.c"), ("-eva-precision", "2"), "-DFINITE", " FINITE"),
    Job("sequencer_cluster", ("gnc/sequencer_cluster.c", "core/math.c"), ("-eva-precision", "3", "-eva-min-loop-unroll", "16")),
    Job("vote", ("gnc/vote.c",), ("-eva-precision", "3")),
    Job("command", ("gnc/command.c",), ("-eva-precision", "2")),
    Job("receiver", ("core/receiver.c", "core/blake2s.c"), ("-eva-precision", "4")),
    Job("command_task", ("gnc/command_task.c", "gnc/command.c"), ("-eva-precision", "2")),
)
UNPROVED = ("not proved: the tool does not relate values to each other over the whole task (that a role read twice is the same,"
            " that a mask with two bits has a second one)")
TASK = Job("sequencer_task", ("gnc/sequencer_task.c", "gnc/sequencer_thrust.c", "gnc/sequencer_cluster.c", "gnc/sequence.c", "gnc/sense.c",
                              "gnc/sequence_table.c",
                              "core/math.c", "core/events.c"), ("-eva-precision", "0", "-eva-min-loop-unroll", "16"), unproved=UNPROVED)
PROOFS = (Job("frame", ("core/frame.c",)),)
EVERY = (*JOBS, TASK, *PROOFS)


def any_params() -> str:
    """A function that gives each parameter of the sequencer any value of its range, made from sequencer.h."""
    text = (NATIVE / "include" / "flightsw" / "sequencer.h").read_text("utf-8")
    struct = re.search(r"typedef struct \{([^}]*)\} fsw_sequencer_params_t;", text)
    assert struct, "parameters in sequencer.h"
    lines = []
    for kind, name, number, low, high in RANGE.findall(struct[1]):
        value = (f"Frama_C_double_interval({float(low)!r}, {float(high)!r})" if kind == "double"
                 else f"({kind})Frama_C_unsigned_int_interval({low}u, {high}u)")
        lines.append(f"  for (int k = 0; k < {number}; k++) p->{name}[k] = {value};" if number else f"  p->{name} = {value};")
    fields = len(re.findall(r"^\s*(?:double|uint\d+_t) (?!pad)\w", struct[1], re.M))
    assert len(lines) == fields, f"{len(lines)} ranges of {fields} parameters"
    return "\n".join(['#include "flightsw/sequencer.h"', '#include "any.h"', "static void any_params(fsw_sequencer_params_t *p)", "{",
                      *lines, "}", ""])


def preprocessor(folder: Path, first: str, defines: str = "") -> str:
    """Option that tells the tool how to preprocess."""
    include = f"-I{NATIVE / 'include'} -I{folder} -I{DRIVERS} -ffreestanding -include {DRIVERS / first}"
    return f"-cpp-extra-args={include} {defines}".rstrip()


def run(words: list[str], folder: Path) -> str:
    """Output of the tool; on failure its words as one alarm."""
    env = os.environ | {"WHY3CONFIG": str(folder / "why3.conf")}
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, env=env, cwd=folder)
    except subprocess.TimeoutExpired:
        return f"no result within {LIMIT_S} s"
    return done.stdout + done.stderr


def eva(job: Job, folder: Path) -> Result:
    """Abstract interpretation of a driver."""
    began = time.monotonic()
    files = [str(DRIVERS / f"{job.name}.c"), *(str(NATIVE / one) for one in job.sources)]
    text = run(["frama-c", *COMMON, *EVA, *job.options, preprocessor(folder, "builtins.h", job.defines), *files], folder)
    problems: list[str] = []
    known: list[str] = []
    for path, line, what in ALARM.findall(text):
        alarm = " ".join(what.split())
        reason = next((why for part, why in job.known if part in alarm), None)
        (known if reason else problems).append(f"{os.path.relpath(path, ROOT)}:{line}: {alarm}" + (f" ({reason})" if reason else ""))
    reached = STATEMENTS.search(text)
    if reached is None:
        problems.append(f"{job.name}: the analysis failed: {text[-600:]}")
    elif len(problems) + len(known) == 0 and "0 alarms generated" not in text:
        problems.append(f"{job.name}: alarms that this script does not understand")
    problems += [f"{job.name}: no code of {name}" for name in NO_CODE.findall(text)]
    if job.unproved and reached:
        line = f"{job.sources[0]:26} Eva  {reached[1]} of {reached[2]} statements reached, {len(problems)} alarms; {job.unproved}"
        return Result("\n".join([line, *(f"  open: {one}" for one in problems)]), [], time.monotonic() - began)
    counted = f"{reached[1]} of {reached[2]} statements reached" if reached else "no result"
    line = f"{job.sources[0]:26} Eva  {counted}, {len(problems) + len(known)} alarms{job.says}"
    return Result("\n".join([line, *(f"  known: {one}" for one in known)]), problems, time.monotonic() - began)


def wp(job: Job, folder: Path) -> Result:
    """Deductive proof of a source's own annotations and of what may go wrong in it."""
    began = time.monotonic()
    text = run(["frama-c", *COMMON, *WP, preprocessor(folder, "contracts.h"), str(NATIVE / job.sources[0])], folder)
    proved = PROVED.search(text)
    problems = [f"{job.sources[0]}: goal {name}: {verdict}" for name, verdict in GOAL.findall(text)]
    if proved is None:
        problems.append(f"{job.name}: the proof failed: {text[-600:]}")
    elif proved[1] != proved[2] and not problems:
        problems.append(f"{job.sources[0]}: {proved[1]} of {proved[2]} goals proved")
    return Result(f"{job.sources[0]:26} WP   {proved[1] if proved else 0} of {proved[2] if proved else '?'} goals proved", problems,
                  time.monotonic() - began)


def main() -> int:
    """Analyse all files, or those named."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        in_ci = os.environ.get("CI") == "true"
        print(f"{'' if in_ci else 'skipped: '}not installed: {', '.join(absent)} (Debian: frama-c-base why3 z3)", file=sys.stderr)
        return 2 if in_ci else 0
    names = sys.argv[1:]
    unknown = [name for name in names if all(name != job.name for job in EVERY)]
    if unknown:
        print(f"no analysis of {', '.join(unknown)}; there are {', '.join(sorted({job.name for job in EVERY}))}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "any_params.h").write_text(any_params(), "utf-8")
        subprocess.run(["why3", "config", "detect", "-C", str(folder / "why3.conf")], capture_output=True, check=False)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            running = [pool.submit(how, job, folder) for how, jobs in ((wp, PROOFS), (eva, (*JOBS, TASK))) for job in jobs
                       if not names or job.name in names]
            results = [one.result() for one in running]
    for one in results:
        print(f"{one.line}  [{one.seconds:.0f} s]")
    for one in results:
        for problem in one.problems:
            print(problem)
    return 1 if any(one.problems for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
