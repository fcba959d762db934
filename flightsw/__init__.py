"""Flight software for reusable rockets: a deterministic schedule with a C core.

The bench side (vehicles, boards, faults, verdicts) is the package `hil`.
"""

from flightsw.errors import BenchUnavailable, ConfigError, FlightswError, LogError, Problem, StepError
from flightsw.graph import Graph, LinkSpec, NodeView, Snapshot
from flightsw.messages import MessageType, load_messages
from flightsw.schedule import CompiledNode, NodeSpec, TaskSpec, compile_node
from flightsw.tasks import TaskIO, TaskType, builtin_tasks, load_plugin, python_task

__version__ = "0.1.0"

__all__ = [
    "BenchUnavailable", "CompiledNode", "ConfigError", "FlightswError", "Graph", "LinkSpec", "LogError", "MessageType", "NodeSpec",
    "NodeView", "Problem", "Snapshot", "StepError", "TaskIO", "TaskSpec", "TaskType", "builtin_tasks", "compile_node",
    "load_messages", "load_plugin", "python_task",
]
