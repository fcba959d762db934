"""All boards of a flight that run elsewhere (flightsw.graph.Remote): one group per `[remote.<group>]`.

The bench holds a mirror of each such node: inputs are delivered into it, recorded and sent out; what the board writes is published
from it. So links, log and sequence numbers are those of a flight in one process.
"""

from __future__ import annotations

import contextlib
import secrets
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import zmq

from flightsw._native import ffi
from flightsw.errors import BenchUnavailable, ConfigError, Problem
from flightsw.graph import Graph
from flightsw.messages import builtin
from flightsw.schedule import CompiledNode
from flightsw.tasks import builtin_tasks
from hil.link import protocol
from hil.link.group import Expected, Group
from hil.link.process import launch, own_endpoint, private_folder
from hil.link.protocol import LinkError
from hil.link.selection import is_linked_only, sent
from hil.link.transport import Transport, ZmqTransport, open_socket

if TYPE_CHECKING:
    from hil.config import Remote
    from hil.flight import Flight
    from hil.link.curve import Curve
    from hil.plan import NodePlan

LIMIT_S = 10.0  # wall time that a tick may take


class Started(Protocol):
    """A process that the bench started."""

    def end(self) -> None:
        """Let it end, or end it."""


class Far:
    """A group and what has to be let go of with it. child: its process, when the bench started one."""

    def __init__(self, group: Group, transport: Transport, child: Started | None, context: zmq.Context[Any] | None) -> None:
        self.group, self.child = group, child
        self.transport = transport
        self.close = weakref.finalize(self, _release, transport, context, child)


def _release(transport: Transport, context: zmq.Context[Any] | None, child: Started | None) -> None:
    """Say goodbye and let go of everything. Holds no part of the flight, so that one that is forgotten is let go of too."""
    with contextlib.suppress(LinkError):
        transport.send(memoryview(protocol.encode(protocol.BYE)))
    transport.close()
    if context is not None:
        context.term()
    if child is not None:
        child.end()


class Groups:
    """The groups of a flight. `groups`: their near ends."""

    def __init__(self, fars: Sequence[Far], graph: Graph) -> None:
        self.fars = list(fars)
        self.groups = [f.group for f in fars]
        self._of = {i: (g, k) for g in self.groups for k, i in enumerate(g.indices)}
        self._fetched = -1

    @property
    def broken(self) -> bool:
        """True once a group has been lost: the flight cannot go on."""
        return any(g.broken for g in self.groups)

    @property
    def forkable(self) -> bool:
        """True when every group's process was started by the bench, so that more can be."""
        return all(f.child is not None for f in self.fars)

    def begin(self, tick: int) -> None:
        """Send the inputs of a tick. BenchUnavailable when a group is not there."""
        self._fetched = -1
        for g in self.groups:
            self._guard(g, partial(g.send_tick, tick))

    def end(self, tick: int, node: int) -> None:
        """Publish what a board wrote, in its order. BenchUnavailable when its group does not answer in time."""
        g, k = self._of[node]
        self._guard(g, lambda: g.take_tick(tick))
        g.publish(k)

    def fetch(self) -> None:
        """Bring the mirrors up to date (once per tick)."""
        ticks = [int(ffi.cast("fsw_image_head_t *", v.c.image).tick) for g in self.groups for v in g.views[:1]]
        if ticks and ticks[0] == self._fetched:
            return
        for g in self.groups:
            self._guard(g, g.fetch)
        self._fetched = ticks[0]

    def send(self) -> None:
        """Put the images of the mirrors in place."""
        self._fetched = -1
        for g in self.groups:
            self._guard(g, g.send_images)

    def _guard(self, group: Group, act: Callable[[], None]) -> None:
        if group.broken:
            raise BenchUnavailable(f'boards "{group.name}": are lost')
        try:
            act()
        except (LinkError, ConfigError) as exc:
            raise _unavailable(group, str(exc)) from None

    def close(self) -> None:
        """End all sessions and processes. May be called twice."""
        for f in self.fars:
            f.close()


def _unavailable(group: Group, text: str) -> BenchUnavailable:
    group.broken = True
    return BenchUnavailable(f'boards "{group.name}": {text}')


def start(flight: Flight) -> Groups:
    """Start or join all groups of a flight's bench.

    Raises ConfigError for boards that cannot run elsewhere, BenchUnavailable when a group is not there.
    """
    bench, graph = flight.bench, flight.graph
    by_group: dict[tuple[str, str], list[int]] = {}
    for i, plan in enumerate(bench.plans):
        if plan.where != "here":
            kind, _, name = plan.where.partition(":")
            by_group.setdefault((kind, name), []).append(i)
    problems = [Problem(bench.plans[i].file, f"{bench.plans[i].key}.where", text) for (kind, _), rows in by_group.items() for i in rows
                if (text := _cannot(bench.plans[i], graph.compiled[i], kind))]
    problems += [Problem(str(bench.path), "node.where", f'"{name}" has {len(rows)} boards, at most {protocol.MAX_BOARDS} allowed')
                 for (_, name), rows in by_group.items() if len(rows) > protocol.MAX_BOARDS]
    if problems:
        raise ConfigError(problems)
    fars: list[Far] = []
    groups = Groups([], graph)
    try:
        for (kind, name), rows in by_group.items():  # all processes first, so that they start together
            fars.append(_open(flight, kind, name, rows))
        groups = Groups(fars, graph)
        for g in groups.groups:
            g.real_time = bench.real_time is not None
        for far in fars:
            try:
                far.group.greet(far.transport)
            except LinkError as exc:
                raise _unavailable(far.group, str(exc)) from None
    except BaseException:
        for far in fars:
            far.close()
        raise
    graph.set_remote([bench.plans[i].name for rows in by_group.values() for i in rows], groups)
    return groups


def _open(flight: Flight, kind: str, name: str, rows: Sequence[int]) -> Far:
    settings = flight.bench.config.remote.get(name)
    try:
        if kind == "zmq":
            return _open_zmq(flight, name, rows, settings)
        if kind == "serial":
            from hil.link.serial_group import open_serial

            group, line = open_serial(flight, name, rows, settings, _sent(flight, rows, _expected(settings)))
            return Far(group, line, None, None)
        if kind == "emulator":
            return _open_emulator(flight, name, rows, settings)
        raise LinkError(f"no transport of kind {kind}")
    except LinkError as exc:
        raise BenchUnavailable(f'boards "{name}": {exc}') from None


def _curve(flight: Flight, settings: Remote) -> Curve | None:
    if settings.key is None or settings.peer is None:
        return None
    from hil.link.curve import read_curve

    folder = flight.bench.path.parent
    return read_curve(folder / settings.key, [folder / settings.peer])


def _expected(settings: Remote | None) -> Expected:
    if settings is None:
        return Expected(LIMIT_S)
    return Expected(settings.limit_s, settings.retry_s, settings.pacing, settings.on_loss, settings.hold_ticks)


def _sent(flight: Flight, rows: Sequence[int], expected: Expected) -> Expected:
    plans = [flight.bench.plans[i] for i in rows]
    return replace(expected, sent={p.name: sent(flight.bench, p) for p in plans if is_linked_only(flight.bench, p)})


def _open_emulator(flight: Flight, name: str, rows: Sequence[int], settings: Remote | None) -> Far:
    from hil.link.emulator import Emulator, firmware_for

    emulator, transport = Emulator(firmware_for(flight.bench, settings)), None
    try:
        roles = frozenset(flight.bench.plans[i].role or "boards" for i in rows)
        expected = replace(_sent(flight, rows, _expected(settings)), roles=roles, started=True)
        transport = emulator.uart(name) if settings is not None and settings.port == "uart" else emulator.ethernet(name)
        emulator.go()
    except BaseException:
        if transport is not None:
            transport.close()
        emulator.close()
        raise
    return Far(Group(name, rows, flight.graph, expected, emulator.alive), transport, emulator, None)


def _open_zmq(flight: Flight, name: str, rows: Sequence[int], settings: Remote | None) -> Far:
    expected = _expected(settings)
    endpoint = settings.endpoint if settings is not None else None
    context: zmq.Context[Any] = zmq.Context()
    try:
        if endpoint is not None:
            assert settings is not None
            transport = ZmqTransport(open_socket(context, endpoint, bind=False, curve=_curve(flight, settings)), name)
            return Far(Group(name, rows, flight.graph, expected), transport, None, context)
        folder = private_folder()
        socket = own_endpoint(context, folder)
        token = secrets.token_hex(16)
        section = flight.bench.config.bench
        tasks = [str((flight.bench.path.parent / t).resolve()) for t in section.tasks]
        child = launch({"endpoint": socket.get_string(zmq.LAST_ENDPOINT), "token": token, "name": name, "tasks": tasks}, folder)
        group = Group(name, rows, flight.graph, replace(expected, token=token), child.alive)
        return Far(group, ZmqTransport(socket, name), child, context)
    except (LinkError, ConfigError):
        context.term()
        raise


def _cannot(plan: NodePlan, node: CompiledNode, kind: str) -> str | None:
    """Why a node cannot run there, or None."""
    for task in node.tasks:
        if task.type.python is not None and kind not in ("zmq", "serial"):
            return f'task "{task.spec.name}" is a Python task: it cannot run on such a board'
        if kind == "zmq" and task.type.python is None and builtin_tasks().get(task.type.name) is not task.type:
            return f'task "{task.spec.name}" is of a plug-in library: it cannot run in another process yet'
    foreign = [t.type.name for t in node.topics.values() if t.type.name not in builtin()]
    if foreign and kind == "zmq":  # a board of one's own may know it; one that does not have the task refuses
        return f"{foreign[0]} is a message of your own: boards in other processes know those of the package only"
    if len(node.topics) > protocol.MAX_TOPICS:
        return f"it has {len(node.topics)} topics, at most {protocol.MAX_TOPICS} can be sent"
    return None
