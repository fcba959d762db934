"""The report of a run: one HTML file that opens without a network."""

from __future__ import annotations

from pathlib import Path


def write_report(path: Path | str) -> Path:
    """Write the report of a run directory and return its path.

    path: a run directory, or a log file. Reads flight.mcap and run.json and nothing else; writes report.html beside them.
    A log with another name becomes a report of that name. The same input gives the same bytes.
    Raises LogError when there is no readable log.
    """
    from hil.report.page import render_file

    return render_file(Path(path))


__all__ = ["write_report"]
