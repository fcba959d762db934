"""Bench side: vehicles, boards, links, faults, verdicts, reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hil.bench import Bench
    from hil.flight import Flight
    from hil.run import RunResult, run_bench
    from hil.verdict import CriterionResult, Verdict

_HOMES = {"Bench": "hil.bench", "Flight": "hil.flight", "RunResult": "hil.run", "run_bench": "hil.run",
          "CriterionResult": "hil.verdict", "Verdict": "hil.verdict"}

__all__ = ["Bench", "CriterionResult", "Flight", "RunResult", "Verdict", "run_bench"]


def __getattr__(name: str) -> Any:
    """Import on first use: pydantic and the C core are not needed for a help text."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hil' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
