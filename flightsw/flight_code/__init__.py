"""Checks that refuse flight code whose result depends on more than its inputs: clocks, random sources, addresses, own state.

C: what a user's library calls, read from its symbol table before it is loaded. Python: what a task and the functions that it
reaches name, read from their source. Both find what an author writes without thinking of replay, not what somebody hides on
purpose; the last word has the replay, which compares bits.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from flightsw.errors import ConfigError, Problem

if TYPE_CHECKING:
    from flightsw.tasks import TaskType

__all__ = ["DECLARED", "doubts", "problems_of", "refuse"]

DECLARED = "it is declared with exact=False"


def problems_of(task: TaskType) -> list[Problem]:
    """Everything in a Python task that could make two runs differ: file, line, what, and what to use instead. C tasks: none, their
    library was checked when it was loaded.
    """
    if task.python is None:
        return []
    from flightsw.flight_code.source import check

    return check(task.python, task.name).problems


def refuse(task: TaskType) -> None:
    """Raise ConfigError with every problem of a Python task, unless it was declared with exact=False."""
    problems = problems_of(task) if task.exact else []
    if problems:
        raise ConfigError(problems)


def doubts(task: TaskType) -> tuple[str, ...]:
    """Why a run with this task may not be exact, one text per reason; empty when it was checked and nothing was found."""
    if task.python is None:
        return task.doubts
    from flightsw.flight_code.source import check

    found, before = check(task.python, task.name), f'task "{task.name}" '
    texts = [f"{PurePath(p.file).name} {p.key} {p.text.partition(':')[0].removeprefix(before)}" for p in found.problems]
    if not found.checked:
        texts.append("its source is not at hand and was not checked")
    if not task.exact and not texts:
        texts.append(DECLARED)
    return tuple(texts)
