"""Boards in a process of their own: load what the bench sends, then answer every tick (protocol: hil.wire).

Started by the bench as `python -m hil.remote_worker` with one line of JSON on stdin (endpoint, token); stdin stays open, and
its end is the bench's end. `flightsw board serve` runs the same on an endpoint of the user's choice.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq

from flightsw._native import digest, ffi, lib
from flightsw.errors import ConfigError, FlightswError, StepError
from flightsw.graph import Graph
from flightsw.messages import builtin, dtype_of, fingerprint
from flightsw.schedule import CompiledNode, CompiledTask, TaskSpec, Topic
from flightsw.tasks import builtin_tasks
from hil import wire
from hil.wire import LinkError, entry

if TYPE_CHECKING:
    from hil.wire import Frames

_HEAD, _TOPIC, _TASK = (dtype_of(ffi.typeof(f"fsw_blob_{n}_t")) for n in ("head", "topic", "task"))
_RECORD_HEAD = 35  # bytes of a log record in front of the message: FSW_RECORD_OVERHEAD
_RECORD_SEQ = 11   # offset of its sequence number


# ---- loading -------------------------------------------------------------------------------------------------------


def compiled_from(blob: bytes, about: Mapping[str, Any]) -> CompiledNode:
    """A node from its load blob and the names that its hashes stand for. LinkError when they or this software disagree."""
    name = entry(about, "name", str)
    if len(blob) < _HEAD.itemsize:
        raise LinkError(f'board "{name}": its load blob is truncated')
    head = np.frombuffer(blob, _HEAD, 1)[0]
    if f"{digest(blob[16:]):016x}" != entry(about, "hash", str) or f"{int(head['hash']):016x}" != about["hash"]:
        raise LinkError(f'board "{name}": its load blob has another hash than the manifest says')
    aligned = ffi.new("uint64_t[]", -(-len(blob) // 8))
    ffi.memmove(aligned, blob, len(blob))
    rc = lib.fsw_blob_check(aligned, len(blob))  # ranges, before its tables are read
    if rc:
        raise LinkError(f'board "{name}": its load blob is refused (error {rc})')
    topics = _topics(name, blob, head, entry(about, "topics", list))
    used = {t.type.name: t.type for t in topics.values()}
    if fingerprint(used.values()) != int(head["fingerprint"]):
        raise LinkError(f'board "{name}": its message definitions differ from those here')
    tasks = _tasks(name, blob, head, entry(about, "tasks", list))
    return CompiledNode(name, blob, int(head["hash"]), int(head["base_tick_ns"]), int(head["hyperperiod"]), topics, tasks,
                        int(head["image_size"]), int(head["fingerprint"]), frozenset())


def _topics(name: str, blob: bytes, head: Any, about: Sequence[Any]) -> dict[str, Topic]:
    table = np.frombuffer(blob, _TOPIC, int(head["n_topics"]), int(head["off_topics"]))
    out = {}
    if len(about) != len(table) or len(table) > wire.MAX_TOPICS:
        raise LinkError(f'board "{name}": {len(about)} topics described, {len(table)} in its load blob, '
                        f"at most {wire.MAX_TOPICS} allowed")
    for row, words in zip(table, about, strict=True):
        topic, kind, writer = _texts(words, 3)
        message = builtin().get(kind)
        if digest(topic.encode()) != int(row["name_hash"]):
            raise LinkError(f'board "{name}": topic "{topic}" is not the one in its load blob')
        if message is None or message.type_hash != int(row["type_hash"]) or message.size != int(row["size"]):
            raise LinkError(f'board "{name}": message {kind} is not defined in the same way here')
        out[topic] = Topic(topic, message, int(row["offset"]), writer or None, ())
    if len(out) != len(about):
        raise LinkError(f'board "{name}": two topics of the same name')
    return out


def _tasks(name: str, blob: bytes, head: Any, about: Sequence[Any]) -> list[CompiledTask]:
    table = np.frombuffer(blob, _TASK, int(head["n_tasks"]), int(head["off_tasks"]))
    if len(about) != len(table):
        raise LinkError(f'board "{name}": {len(about)} tasks described, {len(table)} in its load blob')
    out = []
    for row, words in zip(table, about, strict=True):
        task, kind = _texts(words, 2)
        known = builtin_tasks().get(kind)
        if known is None or digest(kind.encode()) != int(row["type_hash"]):
            raise LinkError(f'board "{name}": this process has no task "{kind}"')
        spec = TaskSpec(task, kind, int(row["period_ticks"]))
        out.append(CompiledTask(spec, known, {}, {}, int(row["state_offset"]), int(row["params_offset"])))
    return out


def _texts(value: Any, count: int) -> list[str]:
    if not isinstance(value, list) or len(value) != count or not all(isinstance(v, str) for v in value):
        raise LinkError("a description that cannot be read")
    return value


# ---- a session -----------------------------------------------------------------------------------------------------


class Boards:
    """Loaded boards. What they write in a tick is caught by a recorder of the core, in order."""

    def __init__(self, nodes: Sequence[CompiledNode], seed: int) -> None:
        self.graph = Graph(nodes, [], builtin(), seed)
        self.views = list(self.graph.nodes.values())
        self._sizes = [[t.type.size for t in n.topics.values()] for n in nodes]
        self._offsets = [[t.offset for t in n.topics.values()] for n in nodes]
        outputs = [(b, n, t) for b, n in enumerate(nodes) for t in n.topics.values() if t.writer is not None]
        self._ports = [wire.Port(n.topic_index(t.name), b + 1, t.type.size, to_board=False) for b, n, t in outputs]
        room = sum(t.type.size + _RECORD_HEAD for _, _, t in outputs)
        self._buffer, self._index = ffi.new("uint8_t[]", room + 8), ffi.new("fsw_index_entry_t[]", len(outputs) + 1)
        self._recorder = ffi.new("fsw_recorder_t *", {"buffer": self._buffer, "index": self._index, "capacity": room + 8,
                                                      "index_capacity": len(outputs) + 1})
        self.graph.attach_recorder(self._recorder, {(n.name, t.name): (k, 1) for k, (_, n, t) in enumerate(outputs)})
        self._base_tick_ns = nodes[0].base_tick_ns if nodes else 0

    def take(self, h: Any, payload: Any) -> None:
        """Put an input through a board's gate. LinkError when there is no such topic."""
        board, topic = h.dst - 1, h.type
        if not 0 <= board < len(self.views) or topic >= len(self._sizes[board]) or self._sizes[board][topic] != h.length:
            raise LinkError(f"a message for board {h.dst}, topic {h.type}, which there is not")
        c = self.views[board].c
        ffi.cast("fsw_topic_head_t *", c.image + self._offsets[board][topic]).seq = (h.sequence - 1) & 0xFFFFFFFF
        lib.fsw_node_input(c, topic, payload)

    def tick(self, tick: int) -> list[Any]:
        """Run a tick. Returns the answer: everything written, in order. StepError when a task fails."""
        r = self._recorder
        r.used = r.n_index = 0
        self.graph.run(tick + 1)
        t_ns = tick * self._base_tick_ns
        parts: list[Any] = [wire.mark(wire.TICK, count=r.n_index, tick=tick, t_ns=t_ns)]
        for i in range(r.n_index):
            at = self._buffer + self._index[i].offset
            sequence = int.from_bytes(ffi.buffer(at + _RECORD_SEQ, 4), "little")
            parts.append(self._ports[self._index[i].channel].encode(at + _RECORD_HEAD, sequence, tick, t_ns))
        return parts

    def put(self, board: int, parts: Sequence[bytes], mark_of: bytes) -> None:
        """Replace a board's image."""
        if not 1 <= board <= len(self.views):
            raise LinkError(f"an image for board {board}, which there is not")
        view = self.views[board - 1]
        image = wire.joined(parts, len(view.image), mark_of)
        if image[:8] != view.image[:8].tobytes():
            raise LinkError(f'an image that is not of board "{view.name}"')
        view.image[:] = np.frombuffer(image, np.uint8)
        self.graph.bench.tick = ffi.cast("fsw_image_head_t *", view.c.image).tick


class Session:
    """One end of a link: answers until the partner says BYE or `idle` raises."""

    def __init__(self, socket: zmq.Socket[Any], token: str, idle: Callable[[], None], say: Callable[[str], None]) -> None:
        self.socket, self.token, self.idle, self.say = socket, token, idle, say
        self.frames: Frames = wire.Frames()
        self.hello: dict[str, Any] = {}
        self.loaded: list[CompiledNode] = []
        self.boards: Boards | None = None

    def run(self) -> None:
        """Serve one bench."""
        while True:
            parts = wire.receive(self.socket, self.idle)
            try:
                if not self._answer(parts):
                    return
            except StepError as exc:
                self._send([wire.mark(wire.FAILED), wire.pack({"error": str(exc), "kind": "step"})])
            except FlightswError as exc:
                self.boards = None
                self.say(f"refused: {exc}")
                self._send([wire.mark(wire.FAILED), wire.pack({"error": str(exc), "kind": "link"})])

    def _send(self, parts: Sequence[Any]) -> None:
        wire.send(self.socket, parts, self.idle)

    def _answer(self, parts: list[bytes]) -> bool:
        """Act on a message. False at the end of the session."""
        h = self.frames.take(parts[0])
        kind, board = h.type, h.dst
        if kind == wire.TICK:
            self._send(self._tick(parts))
        elif kind == wire.HELLO and len(parts) == 2:
            self._begin(wire.unpack(parts[1]))
        elif kind == wire.LOAD and len(parts) >= 3:
            self._load(parts)
        elif kind == wire.GET:
            for k, view in enumerate(self._ready().views):
                self._send(wire.state_message(wire.STATE, k + 1, view.image.tobytes()))
        elif kind == wire.PUT:
            self._ready().put(board, parts[1:], bytes(ffi.buffer(self.frames.payload, h.length)))
            self._send([wire.mark(wire.DONE, board=board)])
        elif kind == wire.BYE:
            return False
        else:
            raise LinkError(f"a message of unknown type {kind}")
        return True

    def _ready(self) -> Boards:
        if self.boards is None:
            raise LinkError("no boards are loaded")
        return self.boards

    def _tick(self, parts: list[bytes]) -> list[Any]:
        boards = self._ready()
        tick = boards.graph.tick
        for h in wire.tick_frames(parts, self.frames, tick):
            boards.take(h, self.frames.payload)
        return boards.tick(tick)

    def _begin(self, hello: dict[str, Any]) -> None:
        """Check the manifest of the bench."""
        self.hello, self.loaded, self.boards = {}, [], None
        for key, mine in (("protocol", wire.PROTOCOL), ("messages", wire.messages_fingerprint()), ("mode", "SIM")):
            theirs = entry(hello, key, type(mine))
            if theirs != mine:
                raise LinkError(f"{key} of the bench is {theirs}, of these boards {mine}")
        if not 1 <= entry(hello, "boards", int) <= wire.MAX_BOARDS:
            raise LinkError(f"{hello['boards']} boards, allowed 1 to {wire.MAX_BOARDS}")
        entry(hello, "seed", int)
        entry(hello, "group", str)
        self.hello = hello

    def _load(self, parts: list[bytes]) -> None:
        if not self.hello or len(self.loaded) >= self.hello["boards"]:
            raise LinkError("a load blob that was not announced")
        about = wire.unpack(parts[1])
        size = entry(about, "size", int)
        if not 0 < size <= wire.MAX_IMAGE:
            raise LinkError(f"a load blob of {size} bytes, allowed up to {wire.MAX_IMAGE}")
        self.loaded.append(compiled_from(wire.joined(parts[2:], size), about))
        if len(self.loaded) == self.hello["boards"]:
            try:
                self.boards = Boards(self.loaded, self.hello["seed"])
            except ConfigError as exc:
                raise LinkError(str(exc)) from None
            self._send([wire.mark(wire.MANIFEST), wire.pack(self._manifest())])
            names = ", ".join(n.name for n in self.loaded)
            self.say(f'serving {len(self.loaded)} boards of group "{self.hello["group"]}": {names}')

    def _manifest(self) -> dict[str, Any]:
        faulty = [n.name for n in self.loaded if any(t.type.name == "fsw_faults_t" for t in n.topics.values())]
        return {"protocol": wire.PROTOCOL, "name": self.hello["group"], "role": "boards", "serial": "", "mode": "SIM",
                "messages": wire.messages_fingerprint(), "sources": ffi.string(lib.fsw_source_fingerprint()).decode(),
                "blobs": {n.name: f"{n.hash:016x}" for n in self.loaded}, "faults": faulty, "token": self.token}


# ---- processes -----------------------------------------------------------------------------------------------------


def serve(endpoint: str, say: Callable[[str], None], sessions: int = 0) -> None:
    """Serve one bench after the other on an endpoint, for ever or so many times. LinkError when the endpoint is of no use."""
    with zmq.Context() as context, wire.open_socket(context, endpoint, bind=True) as socket:
        say(f"waiting for a bench on {endpoint}")
        done = 0
        while not sessions or done < sessions:
            Session(socket, "", _nothing, say).run()
            done += 1
            say("the bench has said goodbye")


def _nothing() -> None:
    """Wait on."""


def _exit_with_stdin() -> None:
    """The bench holds the other end of stdin: when that closes, whatever the reason, this process has no purpose."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> None:
    """Entry of the process that a bench starts."""
    first = sys.stdin.buffer.readline(4096)
    start = json.loads(first)
    threading.Thread(target=_exit_with_stdin, daemon=True).start()
    with zmq.Context() as context, wire.open_socket(context, start["endpoint"], bind=False) as socket:
        Session(socket, start["token"], _nothing, lambda text: None).run()


if __name__ == "__main__":
    main()
