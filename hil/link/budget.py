"""Does what a bench says in a tick fit into its serial lines? Known before anything is opened.

A message takes its bytes, 28 of header and CRC, one in 254 of COBS and two delimiters, and each byte ten bits on the wire (8N1). Counted is the
most that can be said: every task writes whenever it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from flightsw.errors import Problem
from hil.link.protocol import OVERHEAD
from hil.link.selection import sent
from hil.link.serial_port import BITS_PER_BYTE

if TYPE_CHECKING:
    from hil.bench import Bench
    from hil.config import Remote


def stream_bytes(payload: int) -> int:
    """Bytes of a frame on a byte stream: with header, CRC, COBS and delimiters."""
    n = payload + OVERHEAD
    return n + n // 254 + 1 + 2


@dataclass(frozen=True)
class Line:
    """What a group says over its line. up (to the boards), down: bytes per base tick, on average; worst_*: in one tick. tick_s: of wall
    time, 0 where nothing paces the bench.
    """

    group: str
    baud: int
    free: bool
    tick_ns: int
    tick_s: float
    up: Fraction
    down: Fraction
    worst_up: int
    worst_down: int

    def seconds(self, count: Fraction | int) -> float:
        """Time of so many bytes on the wire."""
        return float(count) * BITS_PER_BYTE / self.baud

    @property
    def per_tick_s(self) -> float:
        """Wire time that a tick needs on average: there and back in turn in lockstep, both at once with free pacing."""
        return self.seconds(max(self.up, self.down) if self.free else self.up + self.down)

    def sum(self) -> str:
        """The arithmetic."""
        up, down = float(self.up), float(self.down)
        both = f"the greater of {up:.1f} and {down:.1f}" if self.free else f"{up:.1f} + {down:.1f}"
        return (f"{both} bytes per tick (to the boards, back; headers, CRC and COBS included) x {BITS_PER_BYTE} bits / {self.baud} baud "
                f"= {1e3 * self.per_tick_s:.3f} ms")

    def problem(self, limit_s: float) -> str | None:
        """Why the bench cannot run over this line, or None."""
        worst = self.seconds(self.worst_up + self.worst_down)
        if worst > limit_s:
            return (f"the fullest tick has {self.worst_up} + {self.worst_down} bytes x {BITS_PER_BYTE} bits / {self.baud} baud = "
                    f"{worst:.3f} s, more than limit_s = {limit_s:g} s")
        if self.tick_s and self.per_tick_s > self.tick_s:
            needed = self.baud * self.per_tick_s / self.tick_s
            return (f"the line is too slow for the wall clock: {self.sum()}, a tick has {1e3 * self.tick_s:g} ms; "
                    f"{needed:.0f} baud would do")
        return None

    def told(self) -> str:
        """What the line means for the speed of the bench, a sentence."""
        share = self.per_tick_s / (self.tick_s or self.tick_ns * 1e-9)
        if self.tick_s:
            return f'line "{self.group}": {self.sum()}, {100 * share:.0f} % of a tick'
        speed = f"at most {1 / share:.2g} times real time" if share > 0 else "no bound"
        return f'line "{self.group}": {self.sum()} for a tick of {self.tick_ns * 1e-6:g} ms: {speed} on a real line'


def lines(bench: Bench) -> list[Line]:
    """All serial lines of a bench."""
    groups: dict[str, list[str]] = {}
    for plan in bench.plans:
        kind, _, name = plan.where.partition(":")
        if kind == "serial":
            groups.setdefault(name, []).append(plan.name)
    return [_line(bench, name, nodes) for name, nodes in groups.items()]


def line_problems(bench: Bench, file: str) -> list[Problem]:
    """Lines that are too slow for the bench."""
    out = []
    for line in lines(bench):
        settings = bench.config.remote.get(line.group)
        text = line.problem(settings.limit_s) if settings is not None else None
        if text:
            out.append(Problem(file, f"remote.{line.group}.baud", text))
    return out


def _period(bench: Bench, node: str, topic: str) -> int:
    """Base ticks between two writes of a topic, at the least."""
    compiled = bench.nominal.get(node)
    if compiled is None or topic not in compiled.topics:
        return 1
    writer = compiled.topics[topic].writer
    return next((t.spec.period_ticks for t in compiled.tasks if t.spec.name == writer), 1)


def _line(bench: Bench, name: str, nodes: list[str]) -> Line:
    settings: Remote | None = bench.config.remote.get(name)
    links = [k for k in (*bench.links, *(k for r in bench.recorded for k in r.links)) if k.dst_node in nodes]
    up = [(bench.nominal[k.dst_node].topics[k.dst_topic].type.size, _period(bench, k.src_node, k.src_topic)) for k in links]
    plans = [p for p in bench.plans if p.name in nodes]
    down = [(bench.nominal[p.name].topics[topic].type.size, _period(bench, p.name, topic)) for p in plans for topic in sorted(sent(bench, p))]
    head = stream_bytes(0)
    pace = bench.real_time
    tick_s = bench.base_tick_ns * 1e-9 / pace.speed if pace is not None else 0.0
    return Line(name, settings.baud if settings is not None else 115_200, settings is not None and settings.pacing == "free",
                bench.base_tick_ns, tick_s,
                head + sum((Fraction(stream_bytes(size), period) for size, period in up), Fraction(0)),
                head + sum((Fraction(stream_bytes(size), period) for size, period in down), Fraction(0)),
                head + sum(stream_bytes(size) for size, _ in up), head + sum(stream_bytes(size) for size, _ in down))
