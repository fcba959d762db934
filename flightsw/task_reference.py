"""`python -m flightsw.task_reference` prints docs/reference/tasks.md: every built-in task type with its ports and parameters.

Nothing is written by hand there: names, ranges, defaults and meanings are those of the C headers, against which configuration
is checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flightsw._native import ffi, include_dir
from flightsw.params import ParamField
from flightsw.tasks import TaskType, builtin_tasks

_HEAD = """\
# Built-in task types

<!-- Written by: python -m flightsw.task_reference. Do not edit by hand: a test compares this page with what that prints. -->

What can stand as `type` in a [schedule table](../bench-files.md#task-rows). A port is bound to the topic of its own name unless
`reads` or `writes` of the task says another; a port that is not needed may stay unbound. A parameter takes, in this order, the
value given for the task, the constant of the same name in `[constants]` or in the vehicle file, its default. *Required*: it has
no default. *Padded*: a shorter list is filled with zeros. Where a list has one default, each of its elements has it.

How each task works is described at the top of the header named with it.
"""


def reference() -> str:
    """The page as text."""
    headers = {p.name: p.read_text("utf-8") for p in sorted((include_dir() / "flightsw").glob("*.h"))}
    types = sorted(builtin_tasks().values(), key=lambda t: t.name)
    index = "\n".join(f"- [`{t.name}`](#{t.name.replace('.', '')}): {_first(t.doc)}" for t in types)
    return "\n".join([_HEAD, index, *(line for t in types for line in _task(t, headers))]) + "\n"


def _first(doc: str) -> str:
    return " ".join(doc.split()).rstrip(".") + "."


def _task(task: TaskType, headers: Mapping[str, str]) -> Iterator[str]:
    yield f"\n## {task.name}\n"
    struct = _text(task.desc.params_type)
    where = next((name for name, text in headers.items() if f"}} {struct};" in text), "") if struct else ""
    source = f" Header: [`{where}`](../../native/include/flightsw/{where})." if where else ""
    yield f"{_first(task.doc)}{source}\n"
    yield "| port | direction | message | needed |"
    yield "|---|---|---|---|"
    yield from _ports("read", task.desc.reads, task.desc.n_reads)
    yield from _ports("written", task.desc.writes, task.desc.n_writes)
    if task.params_dtype is not None:
        yield "\n| parameter | type | range | default | meaning |"
        yield "|---|---|---|---|---|"
        yield from _params(task.params_dtype, task.params)


def _ports(direction: str, ports: Any, count: int) -> Iterator[str]:
    for i in range(count):
        p = ports[i]
        name, needed = f"`{_text(p.name)}`", "yes" if p.required else "no"
        if p.count > 1:
            name = f"`{_text(p.name)}0` to `{_text(p.name)}{p.count - 1}`"
            needed = f"the first {p.required}" if 0 < p.required < p.count else needed
        yield f"| {name} | {direction} | `{_text(p.type)}` | {needed} |"


def _params(dtype: np.dtype[Any], fields: Mapping[str, ParamField]) -> Iterator[str]:
    for name in dtype.names or ():
        f = fields.get(name)
        if name.startswith("pad") or f is None:
            continue
        assert dtype.fields is not None
        base, shape = dtype.fields[name][0].subdtype or (dtype.fields[name][0], ())
        kind = base.name + (f"[{int(np.prod(shape, dtype=int))}]" if shape else "") + (", padded" if f.pad else "")
        bounded = not (math.isinf(f.lo) and math.isinf(f.hi))
        cells = (f"`{name}`", kind, f"{f.lo:.12g} to {f.hi:.12g}" if bounded else "any",
                 "required" if f.default is None else f"{f.default:.12g}", f.doc.replace("|", "\\|"))
        yield _row(cells)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells).rstrip() + " |"


def _text(pointer: Any) -> str:
    return "" if pointer == ffi.NULL else str(ffi.string(pointer).decode())


if __name__ == "__main__":
    print(reference(), end="")
