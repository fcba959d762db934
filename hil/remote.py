"""Boards in other processes, seen from the bench: every tick in lockstep, or the bench stops (protocol: hil.wire).

Each group of nodes with the same `where = "zmq:<group>"` runs in one process, which the bench starts and ends, unless the bench
file names an endpoint where somebody serves the boards (`flightsw board serve`). The bench holds a mirror of each such node:
inputs are delivered into it, recorded and sent out; what the board writes is published from it. So links, log and sequence
numbers are those of a flight in one process.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq

from flightsw._native import ffi, lib
from flightsw.errors import BenchUnavailable, ConfigError, Problem, StepError
from flightsw.graph import Graph
from flightsw.messages import builtin
from flightsw.schedule import CompiledNode
from flightsw.tasks import builtin_tasks
from hil import wire
from hil.endpoints import MAX_IPC_PATH, endpoint_problem
from hil.wire import LinkError, entry

if TYPE_CHECKING:
    from hil.bench import Flight
    from hil.plan import NodePlan

PREFIX = "zmq:"
START_S = 60.0  # until a process that was just started answers: a loaded machine imports slowly
LIMIT_S = 10.0  # wall time that a tick may take


# ---- the other process ---------------------------------------------------------------------------------------------


@dataclass
class _Child:
    """A worker process with its private folder."""

    process: subprocess.Popen[bytes]
    folder: Path

    def last_words(self) -> str:
        """Last line that it wrote to stderr."""
        lines = (self.folder / "stderr").read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""


def _launch(socket_endpoint: str, token: str, folder: Path) -> _Child:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}  # the packages of this process
    with (folder / "stderr").open("wb") as errors:
        process = subprocess.Popen([sys.executable, "-P", "-m", "hil.remote_worker"], stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, stderr=errors, env=environment, start_new_session=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"endpoint": socket_endpoint, "token": token}).encode() + b"\n")
    process.stdin.flush()
    return _Child(process, folder)


def _release(socket: Any, context: Any, child: _Child | None) -> None:
    """Let go of everything: closing the worker's stdin ends it."""
    socket.close()
    context.term()
    if child is None:
        return
    assert child.process.stdin is not None
    child.process.stdin.close()
    try:
        child.process.wait(2.0)
    except subprocess.TimeoutExpired:
        child.process.kill()
        child.process.wait()
    shutil.rmtree(child.folder, ignore_errors=True)


# ---- one group -----------------------------------------------------------------------------------------------------


class _Input:
    """An input topic of a mirror: where its head and payload lie, and its frame."""

    __slots__ = ("head", "payload", "port")

    def __init__(self, node: CompiledNode, image: Any, topic: int, board: int) -> None:
        t = list(node.topics.values())[topic]
        self.head = ffi.cast("fsw_topic_head_t *", image + t.offset)
        self.payload = image + t.offset + 16
        self.port = wire.Port(topic, board, t.type.size, to_board=True)


class _Output:
    """An output topic of a mirror."""

    __slots__ = ("head", "payload", "size")

    def __init__(self, image: Any, offset: int, size: int) -> None:
        self.head, self.payload, self.size = ffi.cast("fsw_topic_head_t *", image + offset), image + offset + 16, size


class Group:
    """The boards of one process: mirrors here, boards there. `manifest`: what the process said about itself."""

    def __init__(self, name: str, indices: Sequence[int], graph: Graph, seed: int, limit_s: float) -> None:
        self.name, self.indices, self.limit_s, self.seed = name, list(indices), limit_s, seed
        self.nodes = [graph.compiled[i] for i in indices]
        self.views = [graph.nodes[n.name] for n in self.nodes]
        self.base_tick_ns = self.nodes[0].base_tick_ns
        self.manifest: dict[str, Any] = {}
        self.broken = False
        self.pending: list[list[int]] = [[] for _ in self.nodes]
        self._answered, self._waited_ms = -1, 0
        self._frames = wire.Frames()
        self._inputs, self._outputs = self._ports()
        self._token = ""
        self._child: _Child | None = None
        self._close: Any = None

    def _ports(self) -> tuple[list[_Input], list[dict[int, _Output]]]:
        inputs, outputs = [], []
        for b, (node, view) in enumerate(zip(self.nodes, self.views, strict=True)):
            outputs.append({k: _Output(view.c.image, t.offset, t.type.size) for k, t in enumerate(node.topics.values())
                            if t.writer is not None})
            inputs += [_Input(node, view.c.image, k, b + 1) for k, t in enumerate(node.topics.values()) if t.writer is None]
        return inputs, outputs

    # ---- life ----------------------------------------------------------------------------------------------------------

    def start(self, endpoint: str | None) -> None:
        """Open the link and announce the boards: to a new process, or to who serves the endpoint."""
        context: zmq.Context[Any] = zmq.Context()
        try:
            socket = self._join(context, endpoint)
        except LinkError as exc:
            context.term()
            raise self._unavailable(str(exc)) from None
        self.socket = socket
        self._close = weakref.finalize(self, _release, socket, context, self._child)

    def _join(self, context: zmq.Context[Any], endpoint: str | None) -> zmq.Socket[Any]:
        if endpoint is not None:
            problem = endpoint_problem(endpoint)
            if problem:
                raise LinkError(problem)
            return wire.open_socket(context, endpoint, bind=False)
        folder = Path(tempfile.mkdtemp(prefix="flightsw-"))  # mode 0700
        path = f"ipc://{folder / 'link'}"
        usable = zmq.has("ipc") and len(os.fsencode(path)) <= MAX_IPC_PATH
        socket = wire.open_socket(context, path if usable else "tcp://127.0.0.1:*", bind=True)
        self._token = secrets.token_hex(16)
        self._child = _launch(socket.get_string(zmq.LAST_ENDPOINT), self._token, folder)
        return socket

    def greet(self) -> None:
        """Exchange manifests and load blobs. BenchUnavailable with the reason when the link is refused, here or there."""
        started = self._child is not None
        limit, self.limit_s = self.limit_s, START_S if started else self.limit_s
        try:
            hello = {"protocol": wire.PROTOCOL, "name": "bench", "role": "bench", "serial": "", "mode": "SIM",
                     "messages": wire.messages_fingerprint(), "group": self.name, "boards": len(self.nodes), "seed": self.seed}
            self._send([wire.mark(wire.HELLO), wire.pack(hello)])
            for k, node in enumerate(self.nodes):
                self._send([wire.mark(wire.LOAD, board=k + 1), wire.pack(_about(node)), *wire.chunks(node.blob)])
            parts = self._receive(wire.MANIFEST)
            self.manifest = wire.unpack(parts[1]) if len(parts) == 2 else {}
            self._check_manifest()
        except LinkError as exc:
            raise self._unavailable(str(exc)) from None
        finally:
            self.limit_s = limit

    def _check_manifest(self) -> None:
        for key, mine in (("protocol", wire.PROTOCOL), ("messages", wire.messages_fingerprint()), ("mode", "SIM"),
                          ("blobs", {n.name: f"{n.hash:016x}" for n in self.nodes})):
            theirs = entry(self.manifest, key, type(mine))
            if theirs != mine:
                raise LinkError(f"{key} of the boards is {theirs}, of the bench {mine}")
        if not hmac.compare_digest(entry(self.manifest, "token", str).encode(), self._token.encode()):
            raise LinkError("who answered is not the process that was started")

    def close(self) -> None:
        """End the session and the process. May be called twice."""
        if self._close is not None and self._close.alive:
            if not self.broken:
                try:
                    self.socket.send(wire.mark(wire.BYE))
                except zmq.ZMQError:
                    self.broken = True
            self._close()

    def _unavailable(self, text: str) -> BenchUnavailable:
        self.broken = True
        return BenchUnavailable(f'boards "{self.name}": {text}')

    # ---- messages ------------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Waited in vain: is the process there, is there time left? Slices are counted: a suspended bench loses none."""
        if self._child is not None and self._child.process.poll() is not None:
            words = self._child.last_words()
            code = self._child.process.returncode
            raise LinkError(f"their process has ended (exit code {code}){': ' + words if words else ''}")
        self._waited_ms += wire.SLICE_MS
        if self._waited_ms > 1e3 * self.limit_s:
            raise LinkError(f"no answer within {self.limit_s:g} s")

    def _send(self, parts: Sequence[Any]) -> None:
        self._waited_ms = 0
        wire.send(self.socket, parts, self._wait)

    def _receive(self, kind: int) -> list[bytes]:
        """The next message, which must be of this type."""
        self._waited_ms = 0
        parts = wire.receive(self.socket, self._wait)
        got = self._frames.take(parts[0]).type
        if got == wire.FAILED and len(parts) == 2:
            failure = wire.unpack(parts[1])
            if failure.get("kind") == "step":
                self.broken = True
                raise StepError(entry(failure, "error", str))
            raise LinkError(f"refused: {entry(failure, 'error', str)}")
        if got != kind:
            raise LinkError(f"a message of type {got} where one of type {kind} was due")
        return parts

    # ---- a tick --------------------------------------------------------------------------------------------------------

    def send_tick(self, tick: int) -> None:
        """Send what was delivered into the mirrors in this tick."""
        t_ns = tick * self.base_tick_ns
        parts: list[Any] = [b""]
        for i in self._inputs:
            if i.head.tick == tick:
                parts.append(i.port.encode(i.payload, i.head.seq, tick, t_ns))
        parts[0] = wire.mark(wire.TICK, count=len(parts) - 1, tick=tick, t_ns=t_ns)
        self._send(parts)

    def take_tick(self, tick: int) -> None:
        """Wait for what the boards wrote and put it into the mirrors; `pending` has the topics per board, in order."""
        if self._answered == tick:
            return
        parts = self._receive(wire.TICK)
        for h in wire.tick_frames(parts, self._frames, tick):
            board = h.src - 1
            output = self._outputs[board].get(h.type) if 0 <= board < len(self._outputs) else None
            if output is None or output.size != h.length:
                raise LinkError(f"a message of board {h.src}, topic {h.type}, which there is not")
            if h.sequence != output.head.seq + 1 & 0xFFFFFFFF or h.type in self.pending[board]:
                raise LinkError(f'a message of board "{self.nodes[board].name}" is lost or doubled')
            ffi.memmove(output.payload, self._frames.payload, output.size)
            self.pending[board].append(h.type)
        self._answered = tick

    # ---- images --------------------------------------------------------------------------------------------------------

    def fetch(self) -> None:
        """Images from the boards into the mirrors."""
        self._send([wire.mark(wire.GET)])
        for k, view in enumerate(self.views):
            parts = self._receive(wire.STATE)
            h = self._frames.h
            if h.src != k + 1:
                raise LinkError(f"the image of board {h.src} where that of board {k + 1} was due")
            image = wire.joined(parts[1:], len(view.image), bytes(ffi.buffer(self._frames.payload, h.length)))
            if image[:16] != view.image[:16].tobytes():
                raise LinkError(f'the image of board "{view.name}" is of another load blob or tick')
            view.image[:] = np.frombuffer(image, np.uint8)

    def send_images(self) -> None:
        """Images of the mirrors to the boards."""
        for k, view in enumerate(self.views):
            self._send(wire.state_message(wire.PUT, k + 1, view.image.tobytes()))
            self._receive(wire.DONE)
        self._answered = -1
        for row in self.pending:
            row.clear()


def _about(node: CompiledNode) -> dict[str, Any]:
    return {"name": node.name, "hash": f"{node.hash:016x}", "size": len(node.blob),
            "topics": [[t.name, t.type.name, t.writer or ""] for t in node.topics.values()],
            "tasks": [[t.spec.name, t.type.name] for t in node.tasks]}


# ---- all groups of a flight ----------------------------------------------------------------------------------------


class Groups:
    """All boards of a flight that run elsewhere (flightsw.graph.Remote)."""

    def __init__(self, groups: Sequence[Group], graph: Graph) -> None:
        self.groups = list(groups)
        self._of = {i: (g, k) for g in groups for k, i in enumerate(g.indices)}
        self._c_nodes = [v.c for v in graph.nodes.values()]
        self._fetched = -1

    @property
    def broken(self) -> bool:
        """True once a group has been lost: the flight cannot go on."""
        return any(g.broken for g in self.groups)

    @property
    def forkable(self) -> bool:
        """True when every group's process was started by the bench, so that more can be."""
        return all(g._child is not None for g in self.groups)

    def begin(self, tick: int) -> None:
        """Send the inputs of a tick. BenchUnavailable when a group is not there."""
        self._fetched = -1
        for g in self.groups:
            self._guard(g, lambda g=g: g.send_tick(tick))

    def end(self, tick: int, node: int) -> None:
        """Publish what a board wrote, in its order. BenchUnavailable when its group does not answer in time."""
        g, k = self._of[node]
        self._guard(g, lambda: g.take_tick(tick))
        c = self._c_nodes[node]
        for topic in g.pending[k]:
            lib.fsw_bench_publish(c, topic)
        g.pending[k].clear()

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

    def _guard(self, group: Group, act: Any) -> None:
        if group.broken:
            raise BenchUnavailable(f'boards "{group.name}": are lost')
        try:
            act()
        except LinkError as exc:
            raise group._unavailable(str(exc)) from None

    def close(self) -> None:
        """End all sessions and processes."""
        for g in self.groups:
            g.close()


def start(flight: Flight) -> Groups:
    """Start or join all groups of a flight's bench.

    Raises ConfigError for boards that cannot run elsewhere, BenchUnavailable when a group is not there.
    """
    bench, graph = flight.bench, flight.graph
    by_group: dict[str, list[int]] = {}
    problems: list[Problem] = []
    for i, plan in enumerate(bench.plans):
        if plan.where.startswith(PREFIX):
            by_group.setdefault(plan.where.removeprefix(PREFIX), []).append(i)
            text = _cannot(plan, graph.compiled[i])
            if text:
                problems.append(Problem(plan.file, f"{plan.key}.where", text))
    problems += [Problem(str(bench.path), "node.where", f'"{name}" has {len(rows)} boards, at most {wire.MAX_BOARDS} allowed')
                 for name, rows in by_group.items() if len(rows) > wire.MAX_BOARDS]
    if problems:
        raise ConfigError(problems)
    settings = bench.config.remote
    groups = [Group(name, rows, graph, flight.seed, settings[name].limit_s if name in settings else LIMIT_S)
              for name, rows in by_group.items()]
    all_groups = Groups(groups, graph)
    try:
        for g in groups:  # all processes first, so that they start together
            g.start(settings[g.name].endpoint if g.name in settings else None)
        for g in groups:
            g.greet()
    except BaseException:
        all_groups.close()
        raise
    graph.set_remote([bench.plans[i].name for rows in by_group.values() for i in rows], all_groups)
    return all_groups


def _cannot(plan: NodePlan, node: CompiledNode) -> str | None:
    """Why a node cannot run in another process, or None."""
    for task in node.tasks:
        if task.type.python is not None:
            return f'task "{task.spec.name}" is a Python task: it cannot run in another process yet'
        if builtin_tasks().get(task.type.name) is not task.type:
            return f'task "{task.spec.name}" is of a plug-in library: it cannot run in another process yet'
    foreign = [t.type.name for t in node.topics.values() if t.type.name not in builtin()]
    if foreign:
        return f"{foreign[0]} is a message of your own: boards in other processes know those of the package only"
    if len(node.topics) > wire.MAX_TOPICS:
        return f"it has {len(node.topics)} topics, at most {wire.MAX_TOPICS} can be sent"
    return None
