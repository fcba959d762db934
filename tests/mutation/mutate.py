"""Mutation of the sequence step: does the proof notice every mistake that an operator can make in it?

Each mutant differs from ``native/gnc/sequence.c`` in one place: a relation, a sign, a connective, a condition negated or fixed, a constant,
a name of the same family, a statement left out. It is compiled with the explorer of ``native/proof`` and explored with the short tables of
``native/test/sequence_table.h``; the invariants alone judge it. A mutant whose machine code equals that of the original is no mutant
(trivial compiler equivalence, M. Papadakis et al., ICSE 2015). ``ALLOWED`` names those that cannot be told apart by any caller, each with its
reason; everything else must be killed. Exit code 1 on a survivor.

    python tests/mutation/mutate.py [--jobs 2] [--list] [--only TEXT]
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
SOURCE = NATIVE / "gnc" / "sequence.c"
FLAGS = ("-std=c11", "-ffp-contract=off", "-w", f"-I{NATIVE / 'include'}", f"-I{NATIVE / 'test'}")
OTHERS = [NATIVE / "gnc" / "sequence_table.c", NATIVE / "core" / "math.c", ROOT / "tests" / "mutation" / "driver.c"]
TIME_LIMIT_S = 20.0  # a survivor takes about half a second

# (part of the line, replacement or "" for any, why no caller can tell it apart from the original)
STOPS = "the counter grows by one and stops at this limit: on every reachable state >= is =="
CAP = "the limit ends the start in the step in which it is reached, so a greater cap never acts"
ALLOWED: tuple[tuple[str, str, str], ...] = (
    ("h = 0x5eed5eedu", "", "any start value of the check word will do: it is compared with itself only"),
    ("s->flags << 8", "7", "the bits that then share a place are the row's highest and LIT: a row that high is refused for itself"),
    ("s->pad0[", "", "padding is nought: a bit turned in it is seen wherever its place in the check word is"),
    ("->t >= r->max", "==", STOPS),
    ("->unburnt >= w->table->unburnt_limit", "==", STOPS),
    ("->igniter >= w->table->igniter_limit", "==", STOPS),
    ("->t_start >= w->table->start_max", "==", STOPS),
    ("w->s->t >= w->row->min", "==", STOPS),
    ("count(&s->igniter, w->table->igniter_limit)", "->start_max", CAP),
    ("count(&s->unburnt, w->table->unburnt_limit)", "->igniter_limit", CAP),
    ("count(&s->unburnt, w->table->unburnt_limit)", "->start_max", CAP),
)

RELATIONS = {"==": ("!=",), "!=": ("==",), "<": ("<=", ">="), ">": (">=", "<="), "<=": ("<", ">"), ">=": (">", "<", "==")}
CONNECTIVES = {"&&": "||", "||": "&&", "&": "|", "|": "&", "^": "|", "&=": "|=", "|=": "&=", "<<": ">>", ">>": "<<", "+": "-", "-": "+"}
FAMILIES = (
    ("FSW_SEQ_CAUSE_CHILL", "FSW_SEQ_CAUSE_STALE", "FSW_SEQ_CAUSE_CHECK", "FSW_SEQ_CAUSE_INHIBIT", "FSW_SEQ_CAUSE_IGNITER",
     "FSW_SEQ_CAUSE_LEAD", "FSW_SEQ_CAUSE_UNBURNT", "FSW_SEQ_CAUSE_NO_LIGHT", "FSW_SEQ_CAUSE_DIED", "FSW_SEQ_CAUSE_REDLINE",
     "FSW_SEQ_CAUSE_FIRE", "FSW_SEQ_CAUSE_ABORT", "FSW_SEQ_CAUSE_CORRUPT", "FSW_SEQ_CAUSE_COMMAND", "FSW_SEQ_CAUSE_NONE"),
    ("FSW_SEQ_FAILED", "FSW_SEQ_LIT", "FSW_SEQ_FIRE", "FSW_SEQ_ABORTED", "FSW_SEQ_READY", "FSW_SEQ_GATED"),
    ("FSW_SEQ_IS_FLAME", "FSW_SEQ_IS_FIRE", "FSW_SEQ_IS_LINK", "FSW_SEQ_IS_OUT"),
    ("FSW_SEQ_CMD_READY", "FSW_SEQ_CMD_RUN", "FSW_SEQ_CMD_ABORT", "FSW_SEQ_CMD_INHIBIT", "FSW_SEQ_CMD_ADVANCE"),
    ("FSW_SEQ_ROW_OFF", "FSW_SEQ_ROW_SAFED", "FSW_SEQ_ROW_INHIBITED", "FSW_SEQ_ROW_FIRST"),
    ("FSW_ENGINE_OFF", "FSW_ENGINE_SAFED", "FSW_ENGINE_INHIBITED"),
    ("FSW_ENGINE_IGNITER", "FSW_ENGINE_LEAD", "FSW_ENGINE_RISE", "FSW_ENGINE_MAIN", "FSW_ENGINE_SHUTDOWN", "FSW_ENGINE_AFTER"),
    ("FSW_EVENT_ENGINE_START", "FSW_EVENT_RETRY", "FSW_EVENT_ENGINE_LIT", "FSW_EVENT_ENGINE_GATE", "FSW_EVENT_ENGINE_DIED",
     "FSW_EVENT_ENGINE_NO_LIGHT", "FSW_EVENT_ENGINE_ABORT", "FSW_EVENT_ENGINE_SHUTDOWN", "FSW_EVENT_ENGINE_INHIBITED", "FSW_EVENT_REDLINE"),
    ("FSW_VALVE_FUEL", "FSW_VALVE_OX", "FSW_VALVE_IGNITER", "FSW_VALVE_PURGE", "FSW_VALVE_CHILL"),
    ("MAIN_VALVES", "FSW_VALVE_FUEL", "FSW_VALVE_OX"),
    ("->exit", "->keep", "->entry", "->redline", "->gate", "->pulse"),
    ("->min", "->max", "->gate_t"),
    ("->next", "->abort"),
    ("->unburnt_limit", "->igniter_limit", "->start_max"),
    ("->t_start", "->igniter", "->unburnt", "->t"),
    ("->valves", "->pulsed"),
)
STATEMENT = re.compile(
    r"(?:(?<=[;{}:)])|(?<=\belse))(\s*)((?:s|w|out|w->s|w->out)?(?:->)?[\w>.*\[\]-]+(?:\s*=\s*[\w>.*\[\]-]+)*\s*[|&^+-]?=(?!=)[^;{}]*"
    r"|[a-z_]+\([^;{}]*\)|\+\+\*?[\w>-]+|[\w>-]+\+\+|break|return);"
)


@dataclass(frozen=True)
class Mutant:
    """One change: characters [start, end) of the source become ``text``."""

    start: int
    end: int
    text: str
    operator: str


def blank_comments(source: str) -> str:
    """The source with comments, includes and assertions replaced by blanks of the same length."""
    pattern = r"/\*.*?\*/|//[^\n]*|^#include[^\n]*|^_Static_assert[^\n]*|^typedef struct.*?^\}[^\n]*"
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group()), source, flags=re.S | re.M)


def closing_parenthesis(code: str, start: int) -> int:
    """Place of the parenthesis that closes the one at ``start``."""
    depth = 0
    for place in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[place], 0)
        if depth == 0:
            return place
    raise ValueError("unbalanced")


def operators(code: str) -> list[Mutant]:
    """Relations and connectives replaced."""
    found = []
    for m in re.finditer(r"->|\+\+|--|<<|>>|&&|\|\||[=!<>]=|[|&^+-]=|(?<= )[<>&|^+-](?= )", code):
        for text in (*RELATIONS.get(m.group(), ()), *filter(None, [CONNECTIVES.get(m.group())])):
            found.append(Mutant(m.start(), m.end(), text, "relation" if m.group() in RELATIONS else "connective"))
    for m in re.finditer(r"\+\+", code):
        found.append(Mutant(m.start(), m.end(), "--", "sign"))
    for m in re.finditer(r"(?<=[(|&] |.\()[!~](?=[\w(])|(?<=\))~(?=[\w(])", code):
        found.append(Mutant(m.start(), m.end(), "", "negation"))
    return found


def conditions(code: str) -> list[Mutant]:
    """Conditions negated, and fixed to either answer; so are the answers of predicates and the parts of a conjunction."""
    found = []
    for m in re.finditer(r"\bif \(", code):
        end = closing_parenthesis(code, m.end() - 1)
        inner = code[m.end() : end]
        found += [Mutant(m.end(), end, text, "condition") for text in (f"!({inner})", "1", "0")]
    for m in re.finditer(r"\breturn ([^;]*(?:&&|\|\||[=!<>]=|has\()[^;]*);", code):
        found += [Mutant(m.start(1), m.end(1), text, "condition") for text in (f"!({m.group(1)})", "1", "0")]
    for m in re.finditer(r"(?:[\w>.()-]+ [&] [\w]+|has\([^&]*?\)|!?\([^()]*\)|!?[\w>-]+\([^()]*\)|[\w>-]+ [<>=!]=? [\w>.-]+) (&&|\|\|)", code):
        found.append(Mutant(m.start(), m.start(1), "1 " if m.group(1) == "&&" else "0 ", "part of a condition"))
    return found


def constants(code: str) -> list[Mutant]:
    """Numbers one up and one down."""
    found = []
    for m in re.finditer(r"(?<![\w.\[])(0x[0-9a-f]+|\d+)(u?)\b(?!\])", code):
        value = int(m.group(1), 0)
        found += [Mutant(m.start(), m.end(), f"{v}{m.group(2)}", "constant") for v in (value + 1, value - 1) if v >= 0]
    return found


def names(code: str) -> list[Mutant]:
    """Names replaced by the next one of their family, and in small families by the one after."""
    found = []
    for family in FAMILIES:
        for k, name in enumerate(family):
            for m in re.finditer(re.escape(name) + r"\b", code):
                others = {family[(k + d) % len(family)] for d in ((1, 2) if len(family) <= 5 else (1,))} - {name}
                found += [Mutant(m.start(), m.end(), text, "name") for text in sorted(others)]
    return found


def statements(code: str) -> list[Mutant]:
    """Statements left out."""
    return [Mutant(m.start(2), m.end(2), "", "statement left out") for m in STATEMENT.finditer(code)]


def mutants_of(source: str) -> list[Mutant]:
    """All of them, in the order of the source, without repetition."""
    code = blank_comments(source)
    every = [*operators(code), *conditions(code), *constants(code), *names(code), *statements(code)]
    unique = {(m.start, m.end, m.text): m for m in every if source[m.start : m.end] != m.text}
    return sorted(unique.values(), key=lambda m: (m.start, m.end, m.text))


def apply(source: str, m: Mutant) -> str:
    """The mutated source."""
    return source[: m.start] + m.text + source[m.end :]


def place(source: str, m: Mutant) -> tuple[int, str]:
    """Number of the line, and the change on one line."""
    line = source.count("\n", 0, m.start) + 1
    begin = source.rfind("\n", 0, m.start) + 1
    stop = source.find("\n", m.end)
    return line, " ".join(f"{source[begin : m.start]}[{source[m.start : m.end]} -> {m.text}]{source[m.end : stop]}".split())


def allowed(source: str, m: Mutant) -> str:
    """Reason why this one need not be killed, or nothing."""
    line = source[source.rfind("\n", 0, m.start) + 1 : source.find("\n", m.end)]
    for part, replacement, reason in ALLOWED:
        if part in line and replacement in ("", m.text):
            return reason
    return ""


def compile_to(source: Path, target: Path, *options: str) -> bool:
    """True when it compiled."""
    return subprocess.run(["cc", *FLAGS, *options, source, "-o", target], capture_output=True).returncode == 0


def code_digest(assembly: Path) -> str:
    """Digest of what the compiler made of it, without the name of the file."""
    return hashlib.sha256(re.sub(rb"\t\.file[^\n]*", b"", assembly.read_bytes())).hexdigest()


def judge(source: str, m: Mutant, work: Path, number: int, original: str) -> tuple[str, str]:
    """Outcome (killed, survived, equivalent, invalid) and what decided it."""
    stem = work / f"m{number}"
    file, item, program = stem.with_suffix(".c"), stem.with_suffix(".s"), stem.with_suffix(".exe")
    try:
        file.write_text(apply(source, m))
        if not compile_to(file, item, "-O1", "-S"):
            return "invalid", "does not compile"
        if code_digest(item) == original:
            return "equivalent", "same machine code"
        subprocess.run(["cc", item, work / "rest.o", "-lm", "-o", program], check=True)
        done = subprocess.run([program], capture_output=True, text=True, timeout=TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        return "killed", "never ends"
    finally:
        for path in work.glob(f"m{number}.*"):
            path.unlink()
    if done.returncode == 1:
        return "killed", done.stdout.strip()
    if done.returncode < 0:
        return "killed", f"signal {-done.returncode}"
    return "survived", done.stdout.strip() or "a row is never reached, or too many states"


def build(work: Path) -> str:
    """Objects of the explorer; digest of the original's code. The original itself must pass."""
    for number, path in enumerate([*sorted((NATIVE / "proof").glob("*.c")), *OTHERS]):
        if not compile_to(path, work / f"part{number}.o", "-O2", "-c"):
            raise SystemExit(f"{path.relative_to(ROOT)} does not compile")
    subprocess.run(["ld", "-r", *sorted(work.glob("part*.o")), "-o", work / "rest.o"], check=True)
    copy = work / "whole.c"
    shutil.copy(SOURCE, copy)
    if not compile_to(copy, work / "whole.s", "-O1", "-S"):
        raise SystemExit("the original does not compile")
    subprocess.run(["cc", work / "whole.s", work / "rest.o", "-lm", "-o", work / "whole"], check=True)
    done = subprocess.run([work / "whole"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the original is not proved: {done.stdout.strip()} (exit code {done.returncode})")
    return code_digest(work / "whole.s")


def report(source: str, results: list[tuple[Mutant, str, str]], seconds: float) -> int:
    """Prints the score; number of survivors."""
    by_outcome = collections.Counter(outcome for _, outcome, _ in results)
    by_operator = collections.Counter((m.operator, outcome) for m, outcome, _ in results)
    first = collections.Counter(why.split()[0] for _, outcome, why in results if outcome == "killed")
    for operator in sorted({m.operator for m, _, _ in results}):
        counts = ", ".join(f"{n} {outcome}" for (o, outcome), n in sorted(by_operator.items()) if o == operator)
        print(f"  {operator:20s} {counts}")
    print("first invariant violated: " + ", ".join(f"{name} {n}" for name, n in first.most_common()))
    for m, outcome, why in results:
        if outcome in ("survived", "allowed"):
            line, shown = place(source, m)
            print(f"{outcome}: sequence.c:{line}: {shown}  ({why})")
    judged = by_outcome["killed"] + by_outcome["survived"]
    print(f"{judged} mutants judged, {by_outcome['killed']} killed, {by_outcome['survived']} survived; {by_outcome['equivalent']} with the "
          f"same machine code, {by_outcome['allowed']} allowed, {by_outcome['invalid']} did not compile; {seconds:.0f} s")
    return by_outcome["survived"]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--at-least", type=int, default=200, help="mutants that must have been judged (default 200)")
    parser.add_argument("--list", action="store_true", help="print the mutants, judge none")
    parser.add_argument("--only", default="", help="only mutants whose line contains this text")
    args = parser.parse_args()
    source = SOURCE.read_text()
    mutants = [m for m in mutants_of(source) if args.only in place(source, m)[1]]
    if args.list:
        for m in mutants:
            print("{}: {}".format(*place(source, m)))
        print(f"{len(mutants)} mutants")
        return 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        original = build(work)
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            outcomes = list(pool.map(lambda item: judge(source, item[1], work, item[0], original), enumerate(mutants)))
    results = []
    for m, (outcome, why) in zip(mutants, outcomes, strict=True):
        reason = allowed(source, m) if outcome == "survived" else ""
        results.append((m, "allowed" if reason else outcome, reason or why))
    survivors = report(source, results, time.monotonic() - begin)
    judged = sum(outcome in ("killed", "survived") for _, outcome, _ in results)
    if not args.only and judged < args.at_least:
        print(f"only {judged} mutants, {args.at_least} are asked for")
        return 1
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
