"""Redundant flight computers: `[strings]` in a bench file flies one node in three, on three computers if wanted, and votes.

    [strings]
    of = "fcc"
    where = ["here", "zmq:fcc_b", "emulator:fcc_c"]

The node of that name becomes the voter: it has the topics that left the flight computer, each voted to the bit
(native/include/flightsw/vote.h), so that
links, criteria and the report find them where they were, a tick later. The flight computers are its strings, `fcc_a`, `fcc_b`,
`fcc_c`: each gets all
inputs, in the same tick.

A string that was out-voted is restored: a healthy string's image is taken, the inputs since then are kept, and `restore_ticks`
later the image, run up on these
inputs, takes the place of the faulty one: bit for bit what the healthy ones are at that tick, which is checked. It counts again
when it has agreed often enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flightsw._native import ffi, lib
from flightsw.errors import FlightswError, Problem
from flightsw.graph import RESTORES, Graph, LinkSpec, Snapshot
from flightsw.messages import MessageType, dtype_of
from flightsw.params import Given, ParamField, suggestion
from flightsw.schedule import CompiledNode, TaskSpec
from flightsw.tasks import Port, TaskType

if TYPE_CHECKING:
    from hil.config import Strings, Upset
    from hil.flight import Flight
    from hil.plan import NodePlan

LETTERS = "abc"
PREFIX = "gnc.vote."
VOTER = "voter"
_KEEP: list[Any] = []


def vote_type(message: MessageType) -> TaskType:
    """The voting task for a message: reads in_a, in_b, in_c (from the second on optional), writes out and vote."""
    name = PREFIX + message.name
    desc = ffi.new("fsw_task_desc_t *")
    reads = [Port(f"in_{c}", message.name, c == LETTERS[0]) for c in LETTERS]
    writes = [Port("out", message.name, True), Port("vote", "fsw_vote_t", True)]
    sizes = {message.name: message.size, "fsw_vote_t": ffi.sizeof("fsw_vote_t")}
    kept: list[Any] = []
    for side, ports in (("reads", reads), ("writes", writes)):
        array = ffi.new("fsw_port_t[]", len(ports))
        for k, p in enumerate(ports):
            texts = [ffi.new("char[]", t.encode()) for t in (p.name, p.type)]
            kept += texts
            array[k].name, array[k].type = texts
            array[k].size, array[k].count, array[k].required = sizes[p.type], 1, int(p.required)
        setattr(desc, side, array)
        setattr(desc, f"n_{side}", len(ports))
        kept.append(array)
    title = ffi.new("char[]", name.encode())
    desc.name, desc.step = title, ffi.addressof(lib, "fsw_vote_step")
    state, params = (dtype_of(ffi.typeof(f"fsw_vote_{n}_t")) for n in ("state", "params"))
    desc.state_size, desc.params_size = state.itemsize, params.itemsize
    _KEEP.append((desc, kept, title))
    fields = {"size": ParamField("size", 1, 608, False, None, "bytes of the message"),
              "rejoin_votes": ParamField("rejoin_votes", 1, 1e6, False, 10, "agreements in a row until a string counts again")}
    return TaskType(name, f"Votes {message.name} of redundant strings for equality.", tuple(reads), tuple(writes), "fsw_vote_state_t", state,
                    params, fields, desc)


@dataclass(frozen=True)
class Expanded:
    """A bench with its strings. names: of the strings, in order; tasks: voting tasks by name."""

    plans: list[NodePlan]
    links: list[LinkSpec]
    names: tuple[str, ...]
    tasks: dict[str, TaskType]


def expand(strings: Strings, plans: Sequence[NodePlan], links: Sequence[LinkSpec], types: Mapping[str, TaskType],
           messages: Mapping[str, MessageType], extra: Sequence[str], problems: list[Problem]) -> Expanded | None:
    """Plans and links with strings and voter. extra: topics of the node that must be there although no link takes them. None with a problem."""
    plan = next((p for p in plans if p.name == strings.of), None)
    if plan is None:
        problems.append(Problem("strings", "strings.of", f'there is no node "{strings.of}"'))
        return None
    written = {topic: port.type for task in plan.tasks for port in types[task.type].writes if (topic := task.writes.get(port.name, port.name))}
    wanted = [t for t in dict.fromkeys([*(k.src_topic for k in links if k.src_node == plan.name), *extra]) if t in written]
    names = tuple(f"{plan.name}_{c}" for c in LETTERS[: len(strings.where)])
    tasks = {kind: vote_type(messages[kind]) for kind in dict.fromkeys(written[t] for t in wanted)}
    rows = []
    for topic in wanted:
        message = messages[written[topic]]
        params = {"size": Given(message.size, "strings", "strings"),
                  "rejoin_votes": Given(strings.rejoin_votes, "strings", "strings.rejoin_votes")}
        reads = {f"in_{c}": f"{topic}_{c}" for c in LETTERS[: len(names)]} | {f"in_{c}": "" for c in LETTERS[len(names) :]}
        rows.append(TaskSpec(f"vote_{topic}", PREFIX + message.name, 1, critical=True, reads=reads,
                             writes={"out": topic, "vote": f"vote_{topic}"}, params=params, file="strings", key=f"strings.{topic}"))
    copies = [replace(plan, name=n, where=w) for n, w in zip(names, strings.where, strict=True)]
    voter = replace(plan, role=VOTER, where="here", tasks=tuple(rows), record="outputs", log={})
    out: list[LinkSpec] = []
    for k in links:
        out += [replace(k, dst_node=n) for n in names] if k.dst_node == plan.name else [k]
    out += [LinkSpec(n, topic, plan.name, f"{topic}_{c}") for topic in wanted for n, c in zip(names, LETTERS, strict=False)]
    expanded = [q for p in plans for q in ([*copies, voter] if p.name == plan.name else [p])]
    return Expanded(expanded, out, names, {t.name: t for t in tasks.values()})


def upset_place(node: CompiledNode, upset: Upset) -> tuple[int, int] | str:
    """(offset in the image, mask) of the bit that an upset turns, or what is wrong with it."""
    task = next((t for t in node.tasks if t.spec.name == upset.task), None)
    if task is None:
        return f'"{upset.task}" is no task of it{suggestion(upset.task, [t.spec.name for t in node.tasks])}'
    fields = task.type.state_dtype.fields if task.type.state_dtype is not None else None
    if fields is None or upset.field not in fields:
        return f'task "{upset.task}" has no state "{upset.field}"{suggestion(upset.field, fields or [])}'
    kind, offset = fields[upset.field][:2]
    byte, bit = divmod(upset.bit, 8)
    if byte >= kind.itemsize:
        return f'state "{upset.field}" of task "{upset.task}" has {8 * kind.itemsize} bits, there is no bit {upset.bit}'
    return task.state_offset + offset + byte, 1 << bit


class StringKeeper:
    """Turns bits where the bench file says so, and restores strings that were out-voted. Acts between ticks, at fixed ones."""

    def __init__(self, flight: Flight) -> None:
        self.flight, self.config = flight, flight.bench.config.strings
        assert self.config is not None
        self.names, self.voter = flight.bench.strings, self.config.of
        base = flight.bench.base_tick_ns
        self._upsets = sorted((round(u.at_s * 1e9 / base), k) for k, u in enumerate(self.config.upset))
        self._pending: tuple[str, str, Snapshot, int] | None = None   # faulty, healthy, snapshot, tick to restore at
        self._inputs: list[tuple[int, str, bytes]] = []
        self._wrong: dict[str, int] = {}      # votes against a string when it was restored: only new ones count
        self._settling: dict[str, int] = {}   # until this tick messages of the old image may still be under way
        self.story: list[dict[str, Any]] = []

    def out(self) -> list[str]:
        """Strings that do not count at present."""
        node = self.flight.node(self.voter)
        mask = 0
        for t in node.compiled.tasks:
            mask |= int(node.state(t.spec.name)["out_mask"])
        return [n for k, n in enumerate(self.names) if mask >> k & 1]

    def wrong(self, name: str) -> int:
        """Votes against a string so far."""
        node, k = self.flight.node(self.voter), self.names.index(name)
        return sum(int(node.state(t.spec.name)["wrong"][k]) for t in node.compiled.tasks)

    def next_tick(self, tick: int) -> int:
        """The tick up to which the flight may run before `act` is called."""
        if self._pending is not None:
            return tick + 1
        ends = [t for t, _ in self._upsets if t > tick][:1]
        return min([(tick // self.config.check_ticks + 1) * self.config.check_ticks, *ends])  # type: ignore[union-attr]

    def act(self) -> None:
        """What is due at this tick."""
        tick = self.flight.tick
        self._keep_inputs(tick)
        if self._pending is not None and tick >= self._pending[3]:
            self._restore(*self._pending[:3])
        while self._upsets and self._upsets[0][0] <= tick:
            self._upset(self._upsets.pop(0)[1])
        if self._pending is None and tick % self.config.check_ticks == 0:  # type: ignore[union-attr]
            self._begin(tick)

    def _tell(self, what: str, **more: Any) -> None:
        self.story.append({"tick": self.flight.tick, "t_s": self.flight.t_s, "what": what, **more})

    def facts(self) -> dict[str, Any]:
        """For run.json: the strings, who does not count at the end, and what happened, as sentences with their time."""
        return {"of": self.voter, "strings": list(self.names), "out": self.out(),
                "story": [{"tick": s["tick"], "t_s": s["t_s"], "text": _sentence(s)} for s in self.story]}

    def _upset(self, k: int) -> None:
        u = self.config.upset[k]  # type: ignore[union-attr]
        node = self.flight.node(self.names[u.string])
        place = upset_place(node.compiled, u)
        assert isinstance(place, tuple)  # checked when the bench was loaded
        self.flight.graph.upset(node.name, *place)
        self._tell("upset", string=node.name, task=u.task, field=u.field, bit=u.bit)

    def _begin(self, tick: int) -> None:
        for name, until in self._settling.items():
            if tick <= until:
                self._wrong[name] = self.wrong(name)
        out = self.out()
        healthy = [n for n in self.names if n not in out]
        out = [n for n in out if self.wrong(n) > self._wrong.get(n, 0)]
        if not out or not healthy:
            return
        snap = self.flight.graph.snapshot()
        self._pending = out[0], healthy[0], snap, tick + self.config.restore_ticks  # type: ignore[union-attr]
        self._inputs = []
        self._tell("out", string=out[0], healthy=healthy[0])

    def _keep_inputs(self, tick: int) -> None:
        """What entered the healthy string in the tick that has just run."""
        if self._pending is None or tick <= self._pending[2].tick:
            return
        view = self.flight.node(self._pending[1])
        for name, topic in view.compiled.topics.items():
            if topic.writer is None and int(view.image[topic.offset : topic.offset + 8].view("<i8")[0]) == tick - 1:
                self._inputs.append((tick - 1, name, view.topic(name).tobytes()))

    def _restore(self, faulty: str, healthy: str, snap: Snapshot) -> None:
        graph = self.flight.graph
        image = self._run_up(healthy, snap)
        now = graph.snapshot().images[healthy]
        if image != now:
            raise FlightswError(f"the image of {healthy}, run up from tick {snap.tick} on its logged inputs, is not what {healthy} is")
        graph.replace_image(faulty, image)
        self._tell("restored", string=faulty, healthy=healthy, from_tick=snap.tick, inputs=len(self._inputs))
        self.flight.note_restore(faulty, healthy, snap.tick, len(self._inputs))
        self._wrong[faulty] = self.wrong(faulty)
        self._settling[faulty] = self.flight.tick + self.config.check_ticks  # type: ignore[union-attr]
        self._pending, self._inputs = None, []

    def _run_up(self, healthy: str, snap: Snapshot) -> bytes:
        """The healthy string's image at this tick, made from its snapshot and the inputs since."""
        compiled = next(c for c in self.flight.graph.compiled if c.name == healthy)
        alone = Graph([compiled], [], self.flight.bench.messages, self.flight.seed)
        alone.restore(Snapshot(snap.tick, {healthy: snap.images[healthy]}, bytes(lib.fsw_bench_memory(ffi.NULL, 0))))
        ends = list(dict.fromkeys((healthy, name) for _, name, _ in self._inputs))
        payload = b"".join(p + bytes(-len(p) % 8) for _, _, p in self._inputs)
        sizes = np.array([-(-len(p) // 8) * 8 for _, _, p in self._inputs], np.uint64)
        which = np.array([ends.index((healthy, name)) for _, name, _ in self._inputs], np.int64)
        ticks = np.array([t for t, _, _ in self._inputs], np.int64)
        alone.set_feed(ends, ticks, which, np.cumsum(sizes) - sizes, np.frombuffer(payload, np.uint8))
        alone.run(self.flight.tick)
        return alone.nodes[healthy].image.tobytes()


def _sentence(s: Mapping[str, Any]) -> str:
    name = s["string"]
    if s["what"] == "upset":
        return f"{name}: bit {s['bit']} of {s['task']}.{s['field']} turned"
    if s["what"] == "out":
        return f"{name}: out-voted; {s['healthy']} is healthy, its image is taken"
    return (f"{name}: restored from the image of {s['healthy']} at tick {s['from_tick']} and {s['inputs']} inputs since; "
            f"bit for bit what {s['healthy']} is now")


def restore_record(graph: Graph, recorder: Any, channel: int, node: str, from_tick: int, healthy: str, inputs: int) -> None:
    """Note in the log that an image was replaced in front of this tick."""
    message = ffi.new("fsw_restore_t *", {"tick": from_tick, "source": [c.name for c in graph.compiled].index(healthy), "inputs": inputs})
    t_ns = graph.tick * graph.compiled[0].base_tick_ns
    lib.fsw_record(recorder, channel, graph.tick & 0xFFFFFFFF, t_ns, message, ffi.sizeof("fsw_restore_t"))


__all__ = ["RESTORES", "Expanded", "StringKeeper", "expand", "restore_record", "vote_type"]
