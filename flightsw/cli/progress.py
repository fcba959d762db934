"""How far a flight or a replay has come, told in its own time."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from flightsw.cli import console, say, settings

_EVERY_S = 3.0  # between lines of progress where there is no terminal


@contextlib.contextmanager
def simulated_time(word: str, end_s: float | None) -> Iterator[Callable[[float], None] | None]:
    """A bar on a terminal, a line now and then elsewhere, nothing when quiet."""
    if settings().verbosity < 0:
        yield None
    elif sys.stderr.isatty():
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn(word), BarColumn(), TextColumn("{task.completed:.1f} s"), TimeElapsedColumn())
        with Progress(*columns, console=console(stderr=True), transient=True) as bar:
            task = bar.add_task(word, total=end_s)
            yield lambda t_s: bar.update(task, completed=t_s)
    else:
        last = time.monotonic()

        def line(t_s: float) -> None:
            nonlocal last
            if time.monotonic() - last >= _EVERY_S:
                last = time.monotonic()
                say(f"{word}: {t_s:.1f} s" + (f" of at most {end_s:g} s" if end_s is not None else ""))

        yield line
