"""Limits of the code that decides about engines: `python tests/static/complexity.py`.

Cyclomatic complexity at most 10 (T. J. McCabe, IEEE Transactions on Software Engineering SE-2 (1976) 308; conditions of && and || and
cases counted one by one), at most 60 lines and 6 parameters per function, at most 500 lines per file, as lizard counts them. That lizard
has seen every function is checked against the text. Exit code 0 when all hold, 1 with the functions that do not, 2 without lizard.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GATED = ("gnc/sequence.c", "gnc/sequence_table.c", "gnc/sense.c", "gnc/sequencer_task.c", "gnc/sequencer_thrust.c",
         "gnc/sequencer_cluster.c", "gnc/command.c",
         "gnc/command_task.c", "gnc/vote.c", "core/receiver.c", "core/frame.c")
COMPLEXITY, LINES, PARAMETERS, FILE_LINES = 10, 60, 6, 500
COMMENT_OR_TEXT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
DEFINITION = re.compile(r"^\w[\w\s*]*?\b(\w+)\s*\([^;{}]*\)\s*\{", re.M)   # begins in the first column


def defined(text: str) -> list[str]:
    """Functions that a C source defines, in its order, read off its text."""
    plain = COMMENT_OR_TEXT.sub(lambda found: "\n" * found[0].count("\n"), text)
    return [found[1] for found in DEFINITION.finditer(plain)]


def main() -> int:
    """Measure the gated files and print what is beyond a limit, else the greatest values."""
    try:
        lizard: Any = import_module("lizard")
    except ImportError:
        print("not installed: lizard (pip install lizard)", file=sys.stderr)
        return 2
    bad: list[str] = []
    worst = (0, "", "")
    longest = (0, "", "")
    number = 0
    for name in GATED:
        path, shown = ROOT / "native" / name, f"native/{name}"
        if not path.is_file():
            bad.append(f"{shown}: no such file")
            continue
        text = path.read_text("utf-8")
        functions = lizard.analyze_file.analyze_source_code(path.name, text).function_list
        number += len(functions)
        if [one.name for one in functions] != defined(text):
            bad.append(f"{shown}: lizard sees the functions {[one.name for one in functions]}, the text has {defined(text)}")
        if len(text.splitlines()) > FILE_LINES:
            bad.append(f"{shown}: {len(text.splitlines())} lines, at most {FILE_LINES}")
        for one in functions:
            length = one.end_line - one.start_line + 1
            worst = max(worst, (one.cyclomatic_complexity, shown, one.name))
            longest = max(longest, (length, shown, one.name))
            for what, value, most in (("complexity", one.cyclomatic_complexity, COMPLEXITY), ("lines", length, LINES),
                                      ("parameters", one.parameter_count, PARAMETERS)):
                if value > most:
                    bad.append(f"{shown}:{one.start_line}: {one.name}: {what} {value}, at most {most}")
    for line in bad:
        print(line)
    print(f"{number} functions in {len(GATED)} files; greatest complexity {worst[0]} ({worst[2]}), longest {longest[0]} lines ({longest[2]})")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
