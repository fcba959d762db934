"""Flight software for reusable rockets: a deterministic schedule with a C core.

The bench side (vehicles, boards, faults, verdicts) is the package `hil`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flightsw.errors import BenchUnavailable, ConfigError, FlightswError, LogError, Problem, StepError
    from flightsw.graph import Graph, LinkSpec, NodeView, Snapshot
    from flightsw.messages import MessageType, load_messages
    from flightsw.schedule import CompiledNode, NodeSpec, TaskSpec, compile_node
    from flightsw.tasks import TaskIO, TaskType, builtin_tasks, load_plugin, python_task

__version__ = "0.1.0"

__all__ = [
    "BenchUnavailable", "CompiledNode", "ConfigError", "FlightswError", "Graph", "LinkSpec", "LogError", "MessageType",
    "NodeSpec", "NodeView", "Problem", "Snapshot", "StepError", "TaskIO", "TaskSpec", "TaskType", "builtin_tasks",
    "compile_node", "load_messages", "load_plugin", "python_task",
]

_HOMES = {
    "errors": ("BenchUnavailable", "ConfigError", "FlightswError", "LogError", "Problem", "StepError"),
    "graph": ("Graph", "LinkSpec", "NodeView", "Snapshot"),
    "messages": ("MessageType", "load_messages"),
    "schedule": ("CompiledNode", "NodeSpec", "TaskSpec", "compile_node"),
    "tasks": ("TaskIO", "TaskType", "builtin_tasks", "load_plugin", "python_task"),
}


def __getattr__(name: str) -> Any:
    """Import on first use: a help text needs neither numpy nor the C core."""
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'flightsw' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"flightsw.{home}"), name)
    globals()[name] = value
    return value
