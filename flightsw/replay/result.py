"""What a replay is asked, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flightsw.log.compare import Divergence
from flightsw.log.layout import Library
from flightsw.schedule import CompiledNode


@dataclass(frozen=True)
class AtHand:
    """The bench at hand, against which a log is held. name: its file, for messages. nodes: compiled with the log's seed.

    library: its task types and messages. sets: the options it was loaded with. origin: (node, task, parameter) to where the
    value was written, "file (key)".
    """

    name: str
    nodes: Mapping[str, CompiledNode]
    library: Library
    sets: Sequence[str] = ()
    origin: Callable[[str, str, str], str] = lambda node, task, name: ""


@dataclass(frozen=True)
class Options:
    """How a replay is run.

    from_s, until_s: mission time at which it starts (at the keyframe at or before it) and ends. hunt: two more passes with
    patterns in unused memory. at_hand: the bench to compare with and to fly. progress: called with the mission time, s, now
    and then. strict: refuse what differs also where parameters are changed (a what-if lists it as ignored).
    """

    from_s: float | None = None
    until_s: float | None = None
    hunt: bool = False
    at_hand: AtHand | None = None
    progress: Callable[[float], None] | None = None
    strict: bool = False


@dataclass(frozen=True)
class TopicDifference:
    """What changed in one topic: messages that differ, and the first of them."""

    topic: str
    messages: int
    first: Divergence


@dataclass(frozen=True)
class ParameterDifference:
    """A parameter that is not as recorded. key: "node.task.parameter", with an index in an array. origin: where it was written."""

    key: str
    recorded: float | int
    here: float | int
    origin: str = ""

    def sentence(self) -> str:
        """For people."""
        return f"{self.key}: {self.recorded!r} in the log, {self.here!r} in {self.origin or 'this replay'}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class ReplayResult:
    """ticks run, topics and messages compared, keyframes whose image digests were compared; the first divergence, if any.

    exact: the log is whole, so `identical` says something about all of it. start_tick: where the replay began (a keyframe, or 0).
    notes: what else there is to know. parameters: those that are not as recorded. ignored: what a what-if did not insist on.
    differences: per topic, in a what-if (a plain replay stops at the first divergence). hunted: patterns of the extra passes;
    found_with: the pattern with which the divergence was found, when only a hunt found it. inputs_checked: ticks whose inputs
    were held against what was recorded at the gate.
    """

    ticks: int
    topics: int
    identical: bool
    divergence: Divergence | None
    exact: bool
    notes: list[str]
    messages: int = 0
    keyframes: int = 0
    base_tick_ns: int = 0
    wall_s: float = 0.0
    differences: list[TopicDifference] = field(default_factory=list)
    start_tick: int = 0
    parameters: list[ParameterDifference] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    hunted: list[int] = field(default_factory=list)
    found_with: int | None = None
    inputs_checked: int = 0

    @property
    def x_realtime(self) -> float:
        """How many times faster than it was flown."""
        return self.ticks * self.base_tick_ns * 1e-9 / self.wall_s if self.wall_s else 0.0

    @property
    def start_s(self) -> float:
        """Mission time at which the replay began, s."""
        return self.start_tick * self.base_tick_ns * 1e-9
