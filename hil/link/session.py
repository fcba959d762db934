"""The far end of a link in a Python process: boards by the core's session (native/include/flightsw/session.h), Python tasks among them.

    session = BoardSession("thermo", [my_task])       # my_task: made with @python_task, or nothing: the tasks of the package
    serve(transport, session)
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flightsw._native import digest, ffi, lib
from flightsw.messages import MessageType, builtin, dtype_of
from flightsw.tasks import TaskType, bind_python, builtin_tasks, keep_failure, take_failure, unbind_python
from hil.link import protocol
from hil.link.transport import Transport

RUNNING, SAFE = int(lib.FSW_SESSION_RUNNING), int(lib.FSW_SESSION_SAFE)
SILENCE_MS = 80       # of the link, after which outputs are safe: within 100 ms, what this computer needs to wake up included
_BUNDLE, _MEMORY, _BUFFER = protocol.MAX_BUNDLE // 4, protocol.MAX_BUNDLE, 1 << 20
_HEAD, _TASK, _TOPIC = (dtype_of(ffi.typeof(f"fsw_blob_{n}_t")) for n in ("head", "task", "topic"))


@dataclass(frozen=True)
class Identity:
    """Who a board says it is. token: what a bench that started this process knows; a random one by default, made anew in each power cycle.
    key: 32 bytes that a bench must know to drive a LIVE board (hil.link.live).
    """

    name: str = "boards"
    role: str = "boards"
    serial: str = ""
    live: bool = False
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    key: bytes = field(default=b"", repr=False)


class Outputs:
    """What a board does beyond answering. Both are called from the session; neither may raise."""

    def drive(self, session: BoardSession) -> None:
        """A tick is complete: drive the outputs from the boards' topics."""

    def safe(self) -> None:
        """Outputs to their safe state, now."""


class BoardSession:
    """Boards that a bench loads and steps. tasks, messages: beside those of the package."""

    def __init__(self, identity: Identity | None = None, tasks: Sequence[TaskType] = (), messages: Mapping[str, MessageType] | None = None,
                 outputs: Outputs | None = None) -> None:
        self.identity, self.outputs = identity or Identity(), outputs
        self.messages = messages or builtin()
        self.tasks = {**builtin_tasks(), **{t.name: t for t in tasks}}
        self._python: list[Any] = []
        self._handle = ffi.new_handle(self)
        self._config()
        self.c = ffi.new("fsw_session_t *")
        lib.fsw_session_init(self.c, self._c_config)

    def _config(self) -> None:
        c = self._c_config = ffi.new("fsw_session_config_t *")
        who = self.identity
        texts = [ffi.new("char[]", t.encode()) for t in (who.name, who.role, who.serial, who.token)]
        c.name, c.role, c.serial, c.token = texts
        c.messages = int(protocol.messages_fingerprint(), 16)
        c.sources = int(ffi.string(lib.fsw_source_fingerprint()).decode(), 16)
        c.live = who.live
        key = ffi.new("uint8_t[]", who.key) if who.key else ffi.NULL
        c.key = key
        descs = ffi.new("fsw_task_desc_t *[]", [t.desc for t in self.tasks.values()])
        c.tasks, c.n_tasks = ffi.cast("const fsw_task_desc_t *const *", descs), len(self.tasks)
        areas = [ffi.new("uint64_t[]", n // 8) for n in (_BUNDLE, _MEMORY, _BUFFER, _BUFFER, _BUFFER)]
        bundle, memory, inbox, reply, records = (ffi.cast("uint8_t *", a) for a in areas)
        c.bundle, c.bundle_capacity, c.memory, c.memory_capacity = bundle, _BUNDLE, memory, _MEMORY
        c.inbox, c.inbox_capacity, c.reply, c.reply_capacity = inbox, _BUFFER, reply, _BUFFER
        entries = ffi.new("fsw_index_entry_t[]", _BUFFER // 64)
        c.records, c.records_capacity, c.entries, c.n_entries = records, _BUFFER, entries, _BUFFER // 64
        c.context = self._handle
        if self.outputs is not None:
            c.outputs, c.safe = lib.fsw_py_board_outputs, lib.fsw_py_board_safe
        self._keep = (key, texts, descs, areas, entries)

    @property
    def running(self) -> bool:
        """Has a bundle been loaded, and is the link alive?"""
        return bool(self.c.state == RUNNING)

    def take(self, frame: bytes) -> memoryview | None:
        """A bare frame from the bench; returns the answer, all its frames, or None. It is valid until the next call."""
        was, mark = self.c.state, self.c.bundle_hash
        n = lib.fsw_session_take(self.c, ffi.from_buffer(frame), len(frame))
        if self.c.state == RUNNING and (was != RUNNING or mark != self.c.bundle_hash):
            problem = self._loaded()
            if problem:
                self.c.state = lib.FSW_SESSION_GREETED
                return self._failed(problem)
        failure = take_failure()
        if failure is not None:
            if self.outputs is not None:
                self.outputs.safe()
                self.c.state = SAFE
            text = f"a Python task failed: {type(failure).__name__}: {failure}"
            return self._failed(text)
        return memoryview(ffi.buffer(self.c.config.reply, n)) if n else None

    def _failed(self, text: str) -> memoryview:
        return memoryview(protocol.encode(protocol.FAILED, text.encode()[: protocol.MAX_PAYLOAD], dst=self.c.pending_src))

    def silent(self, silent_ms: float) -> bool:
        """To be called with the time since the last frame: makes outputs safe after SILENCE_MS. True when it did just now."""
        return bool(lib.fsw_session_silent(self.c, round(silent_ms), SILENCE_MS))

    def _loaded(self) -> str:
        """A bundle was loaded: bind its Python tasks. Returns what is wrong with its messages."""
        self.release()
        types = {t.type_hash for t in self.messages.values()}
        by_hash = {digest(t.name.encode()): t for t in self.tasks.values() if t.python is not None}
        for blob, node in zip(self._blobs(), range(self.c.bench.n_nodes), strict=True):
            head = np.frombuffer(blob, _HEAD, 1)[0]
            topics = np.frombuffer(blob, _TOPIC, int(head["n_topics"]), int(head["off_topics"]))
            if not set(topics["type_hash"].tolist()) <= types:
                return "a message of the bundle is not defined in the same way here"
            rows = np.frombuffer(blob, _TASK, int(head["n_tasks"]), int(head["off_tasks"]))
            for k, row in enumerate(rows):
                kind = by_hash.get(int(row["type_hash"]))
                if kind is not None:
                    io = ffi.addressof(self.c.bench.nodes[node].tasks[k], "io")
                    self._python.append(bind_python(io, kind, self.messages))
        return ""

    def _blobs(self) -> list[bytes]:
        """Load blobs in the bundle, which the core has checked."""
        data = bytes(ffi.buffer(self.c.config.bundle, self.c.expected))
        at, out = 40, []
        for _ in range(self.c.bench.n_nodes):
            blob, image = (int.from_bytes(data[at + k : at + k + 4], "little") for k in (0, 4))
            out.append(data[at + 24 : at + 24 + blob])
            at += 24 + -(-blob // 8) * 8 + -(-image // 8) * 8
        return out

    def release(self) -> None:
        """Forget the Python tasks that are bound."""
        for handle in self._python:
            unbind_python(handle)
        self._python.clear()


@ffi.def_extern(onerror=keep_failure)  # type: ignore[untyped-decorator]
def fsw_py_board_outputs(context: Any, bench: Any) -> None:
    session = ffi.from_handle(context)
    session.outputs.drive(session)


@ffi.def_extern(onerror=keep_failure)  # type: ignore[untyped-decorator]
def fsw_py_board_safe(context: Any) -> None:
    ffi.from_handle(context).outputs.safe()


def _until_silent(heard: float) -> float:
    """Seconds to wait for a frame: no longer than the link may be silent."""
    return min(0.02, max(0.0, heard + (SILENCE_MS + 1) * 1e-3 - time.monotonic()))


def serve(transport: Transport, session: BoardSession, keep_on: Callable[[], bool] = lambda: True,
          say: Callable[[str], None] = lambda text: None) -> None:
    """Answer a bench until it says goodbye, the link breaks (LinkError), or `keep_on` says no. Outputs are safe afterwards."""
    heard, greeted, told, over = time.monotonic(), False, False, False
    try:
        while keep_on():
            for frame in transport.receive(_until_silent(heard) if session.outputs is not None and session.running else 0.02):
                damaged = session.c.bad_frames
                answer = session.take(frame)
                if answer is not None:
                    transport.send(answer)
                if session.c.bad_frames == damaged:  # noise keeps no link alive
                    heard = time.monotonic()
                    over |= frame[1] == protocol.BYE
            if session.outputs is not None:  # boards without any may be kept waiting: a bench that is looked into, or forked
                session.silent((time.monotonic() - heard) * 1e3)
            greeted |= bool(session.c.state)
            if session.running and not told:
                told = True
                say(f"serving {session.c.bench.n_nodes} boards")
            if over and greeted:
                return
            over = False
    finally:
        if session.outputs is not None:
            session.outputs.safe()
        session.release()


