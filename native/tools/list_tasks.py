"""Write a C table of the task descriptors that sources define with FSW_TASK.

usage: list_tasks.py FUNCTION OUT.c SOURCE.c ...
The function returns the table and its length: const fsw_task_desc_t *const *FUNCTION(uint32_t *n).
"""

import re
import sys
from pathlib import Path

function, out, *sources = sys.argv[1:]
definition = re.compile(r"^(?:FSW_TASK\(\s*|const fsw_task_desc_t\s+)(fsw_task_\w+)", re.M)
symbols = sorted({s for src in sources for s in definition.findall(Path(src).read_text("utf-8"))})
lines = ['#include "flightsw/task.h"', ""]
lines += [f"extern const fsw_task_desc_t {s};" for s in symbols]
head = f"const fsw_task_desc_t *const *{function}(uint32_t *n)"
lines += ["", f"{head};", "", f"{head} {{"]
lines += ["  static const fsw_task_desc_t *const table[] = {"]
lines += [f"    &{s}," for s in symbols] or ["    0,"]
lines += ["  };", f"  *n = {len(symbols)}u;", "  return table;", "}", ""]
Path(out).write_text("\n".join(lines), "utf-8")
