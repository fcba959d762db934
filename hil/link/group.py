"""The near end of a link: the boards behind one transport, stepped by a bench.

Lockstep: each tick waits for its answer, and the bench stops when none comes within the limit of wall time. On a link that may
lose a frame it asks
again meanwhile; a board answers a repeated question without running the tick twice.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flightsw._native import digest, ffi, lib
from flightsw.bundle import bundle, images_of
from flightsw.errors import StepError
from flightsw.graph import Graph, Snapshot
from hil.link import live, protocol
from hil.link.protocol import DATA, DONE, FAILED, GET, HELLO, LOAD, MANIFEST, SELECT, Frame, LinkError, entry
from hil.link.selection import mask_of
from hil.link.transport import Transport

START_S = 60.0    # until a process that was just started answers: a loaded machine imports slowly
MAX_BEHIND = 1024           # ticks that a freely paced link may lag behind
MAX_BEHIND_SIMULATED = 64   # and in simulated time, which waits
ANY_ROLE = "boards"  # of a board that takes nodes of any role
SLICE_S = 0.05    # longest wait in one call, so that a dead partner is noticed promptly
COUNTERS = ("answered", "late", "lost", "duplicate", "reordered", "stale", "corrupt", "wrong_tick", "superseded", "neutral")


@dataclass(frozen=True)
class Expected:
    """What a bench wants of the other end. token: of the process that it started, "" otherwise. serial: its serial number, "": any. roles: of
    the nodes. key: to prove to a LIVE board that it may be driven. sent: per node the topics that it sends, where not all that it writes.
    """

    limit_s: float = 10.0
    retry_s: float = 0.5
    pacing: str = "lockstep"
    on_loss: str = "stop"
    hold_ticks: int = 0
    token: str = ""
    live: bool = False
    serial: str = ""
    roles: frozenset[str] = frozenset()
    key: bytes = field(default=b"", repr=False)
    sent: Mapping[str, frozenset[str]] = field(default_factory=dict)
    started: bool = False  # by the bench, just now: it may take START_S to answer first


def _nothing() -> None:
    """There is no log."""


class Group:
    """The boards behind one transport: mirrors here, boards there. manifest: what the other end said about itself.

    indices: nodes of the graph, in the order of their board numbers. alive: raises LinkError when the partner is known to be gone.
    Methods raise LinkError; `StepError` when a task over there failed.
    """

    def __init__(self, name: str, indices: Sequence[int], graph: Graph, expected: Expected, alive: Callable[[], None] = lambda: None) -> None:
        self.name, self.indices, self.expected, self.alive = name, list(indices), expected, alive
        self._bench = graph.bench  # not the graph, which knows us: a flight that is forgotten must go at once
        self.nodes = [graph.compiled[i] for i in indices]
        self.views = [graph.nodes[n.name] for n in self.nodes]
        self.manifest: dict[str, Any] = {}
        self.make_room: Callable[[], None] = _nothing   # hands the log's buffer over, where there is a log
        self._silent = False
        self.real_time = False   # is the bench against the clock?
        self._queue: deque[tuple[int, bytes]] = deque()
        self._under_way: tuple[int, bytes, float] | None = None   # on a link that may lose it: tick, message, when it was sent
        self.round_trips_ns: list[int] = []
        self.broken = False
        self.transport: Transport | None = None
        self._c_indices = ffi.new("uint32_t[]", self.indices)
        self.c = ffi.new("fsw_mirror_t *", {"bench": graph.bench, "nodes": self._c_indices, "n_nodes": len(self.indices), "asked": -1,
                                            "answering": -1, "last": -1, "free_pacing": int(self.free)})
        self._writes = [ffi.new("uint8_t[]", [int(t.writer is not None) for t in n.topics.values()]) for n in self.nodes]
        self._all_writes = ffi.new("const uint8_t *[]", self._writes)
        self._neutral = False
        size = lib.fsw_mirror_bytes(self.c)
        self._out, self._size = ffi.new("uint8_t[]", size), size
        self._message = memoryview(b"")
        self._answered, self._sent_ns, self._bundle_size, self._session = -1, 0, 0, 0

    @property
    def free(self) -> bool:
        """Does a tick take what has arrived, and wait for nothing?"""
        return self.expected.pacing == "free"

    @property
    def counters(self) -> dict[str, int]:
        """Outcomes on this link so far, by name."""
        return {name: int(getattr(self.c, name)) for name in COUNTERS}

    # ---- questions and answers -------------------------------------------------------------------------------------------

    def _link(self) -> Transport:
        if self.transport is None:
            raise LinkError("is not connected")
        return self.transport

    def _wait(self, since: float, asked: float, limit_s: float, again: Callable[[], None] | None) -> float:
        """Waited in vain for a slice: is the partner there, is there time left, is it time to ask again? Returns when it was asked."""
        self.alive()
        now = time.monotonic()
        if now - since > limit_s:
            raise LinkError(f"no answer within {limit_s:g} s")
        if again is not None and now - asked > self.expected.retry_s:
            self.c.late += 1
            again()
            return now
        return asked

    def _send(self, message: memoryview, limit_s: float) -> float:
        """Send, in the end; returns when that was done."""
        link, since = self._link(), time.monotonic()
        while not link.send(message):
            self._wait(since, since, limit_s, None)
        return time.monotonic()

    def ask(self, kind: int, payload: bytes, want: int, *, sequence: int = 0, dst: int = 0, limit_s: float | None = None,
            fits: Callable[[Frame], bool] = lambda frame: True) -> Frame:
        """One frame there, one back, of the type wanted, and that fits."""
        link, limit = self._link(), self.expected.limit_s if limit_s is None else limit_s
        view = memoryview(protocol.encode(kind, payload, sequence=sequence, src=self.c.src, dst=dst))
        since = asked = self._send(view, limit)
        # a HELLO is also lost where the partner has not yet seen its last bench go
        again = (lambda: self._again(view)) if kind == HELLO or not link.lossless else None
        while True:
            frames = link.receive(SLICE_S)
            if not frames:
                asked = self._wait(since, asked, limit, again)
            for raw in frames:
                frame = protocol.decode(raw)
                if frame is None:
                    self.c.corrupt += 1
                elif frame.dst != self.c.src:
                    self.c.stale += 1  # of an earlier session
                elif frame.type == want and fits(frame):
                    return frame
                elif frame.type == FAILED:
                    raise self._failed(frame)

    def _failed(self, frame: Frame) -> Exception:
        text = frame.payload.decode("utf-8", "replace")
        match = re.fullmatch(r"a task failed: board (\d+), task (\d+), error (-?\d+)", text)
        if match is not None and 1 <= int(match[1]) <= len(self.nodes) and int(match[2]) < len(self.nodes[int(match[1]) - 1].tasks):
            self.broken = True
            node = self.nodes[int(match[1]) - 1]
            return StepError(f'node "{node.name}", task "{node.tasks[int(match[2])].spec.name}": error {match[3]} in tick {self._bench.tick}')
        if "task failed" in text:
            self.broken = True
            return StepError(f'boards "{self.name}": {text}')
        return LinkError(f"refused: {text}")

    # ---- the session -----------------------------------------------------------------------------------------------------

    def greet(self, transport: Transport) -> None:
        """Exchange manifests and load the boards with their images as they stand in the mirrors."""
        self.transport = transport
        self._greet()
        self.send_images()
        transport.waits = not self.free
        if self.expected.started:
            self.c.late = 0  # it was asked while it started

    def _greet(self) -> None:
        """A session of our own with the boards that we want."""
        hello = {"protocol": protocol.PROTOCOL, "name": "bench", "role": "bench", "serial": "", "mode": "LIVE" if self.expected.live else "SIM",
                 "messages": protocol.messages_fingerprint(), "group": self.name, "boards": len(self.nodes), "pacing": self.expected.pacing}
        self._begin_session(hello)
        self._check_manifest()
        if self.expected.live:
            self._arm(hello)

    def _begin_session(self, hello: dict[str, Any]) -> None:
        """A new session number: bytes arrive in order, so nothing that comes after the manifest with this number is of an earlier session."""
        self._session = secrets.randbits(63)
        self.c.src = self.c.src % 255 + 1 if self.c.src else 1 + self._session % 255  # in every frame, and in every answer
        hello["session"] = self._session
        self._hello(hello)

    def _hello(self, hello: dict[str, Any]) -> None:
        def ours(frame: Frame) -> bool:
            return protocol.unpack(frame.payload).get("session") == self._session

        limit = START_S if self.expected.token or self.expected.started else self.expected.limit_s
        self.manifest = protocol.unpack(self.ask(HELLO, protocol.pack(hello), MANIFEST, limit_s=limit, fits=ours).payload)

    def _arm(self, hello: dict[str, Any]) -> None:
        """Prove to a LIVE board that this bench may drive it."""
        m = self.manifest
        tag = live.proof(self.expected.key, entry(m, "token", str), entry(m, "serial", str), self._session, entry(m, "greeting", int))
        self._hello({**hello, "proof": tag.hex()})
        if self.manifest.get("armed") != 1:
            raise LinkError("the board does not say that it is armed")

    def _check_manifest(self) -> None:
        for key, mine in (("protocol", protocol.PROTOCOL), ("messages", protocol.messages_fingerprint()),
                          ("mode", "LIVE" if self.expected.live else "SIM")):
            theirs = entry(self.manifest, key, type(mine))
            if theirs != mine:
                raise LinkError(f"{key} of the boards is {theirs}, of the bench {mine}")
        serial, role = entry(self.manifest, "serial", str), entry(self.manifest, "role", str)
        if self.expected.serial and serial != self.expected.serial:
            raise LinkError(f'the board that answers has the serial number "{serial}", the bench wants "{self.expected.serial}"')
        roles = self.expected.roles - {ANY_ROLE}
        if self.expected.roles and role != ANY_ROLE and roles != {role} and (roles or role == "flight_computer"):
            raise LinkError(f'the board is a {role}, the bench wants it to be {" and ".join(sorted(self.expected.roles))}')
        if self.expected.token and not hmac.compare_digest(entry(self.manifest, "token", str).encode(), self.expected.token.encode()):
            raise LinkError("who answered is not the process that was started")

    def send_images(self) -> None:
        """Load the boards with the images of the mirrors: at the start, and after a restore."""
        nothing = bytes(lib.fsw_bench_memory(ffi.NULL, 0))  # in flight: the links are the bench's
        snap = Snapshot(self._bench.tick, {v.name: v.image.tobytes() for v in self.views}, nothing)
        data = bundle(self.nodes, [], snap, python=True)
        self._load(data)
        self._answered, self.c.n_pending, self.c.asked, self.c.last = -1, 0, -1, self._bench.tick - 1
        self.c.neutral, self._heard = 0, self._bench.tick - 1
        self._queue.clear()
        self._under_way = None

    def _load(self, data: bytes) -> None:
        """A bundle to the boards."""
        self._bundle_size = len(data)
        head = len(data).to_bytes(4, "little") + bytes(4) + digest(data).to_bytes(8, "little")
        self.ask(LOAD, head, DONE)
        at = 0
        while at < len(data):
            piece = data[at : at + protocol.MAX_PAYLOAD]
            done = self.ask(DATA, piece, DONE, sequence=at)
            if done.sequence < at + len(piece):
                continue  # an answer to an earlier piece, sent twice
            at += len(piece)
        for k, node in enumerate(self.nodes, 1):
            if node.name in self.expected.sent:
                mask = mask_of(node.topics, self.expected.sent[node.name])
                self.ask(SELECT, mask, DONE, sequence=k, dst=k, fits=lambda frame, k=k: frame.sequence == k)  # type: ignore[misc]

    def _get(self) -> bytes:
        """The bundle of this moment from the boards."""
        data = bytearray()
        while len(data) < self._bundle_size:
            frame = self.ask(GET, b"", DATA, sequence=len(data))
            if frame.sequence == len(data):
                data += frame.payload
        return bytes(data)

    def fetch(self) -> None:
        """Images from the boards into the mirrors. With free pacing the boards catch up first, for at most limit_s."""
        if self.free:
            self._catch_up()
        tick, images = images_of(self._get(), len(self.nodes))
        if tick != self._bench.tick:
            raise LinkError(f"images of tick {tick} where those of tick {self._bench.tick} were due")
        for view, image in zip(self.views, images, strict=True):
            if image[:16] != view.image[:16].tobytes():
                raise LinkError(f'the image of board "{view.name}" is of another load blob or tick')
            view.image[:] = np.frombuffer(image, np.uint8)
        self.c.neutral = 0  # the mirrors count as the boards do again

    def _room(self) -> None:
        """The log has room for a tick's worth of records: several answers may be noted in one tick."""
        bench = self._bench
        if bench.recorder != ffi.NULL and not lib.fsw_recorder_room(bench.recorder, bench.worst_bytes, bench.worst_records):
            self.make_room()

    def _note(self) -> None:
        self._room()
        lib.fsw_mirror_note(self.c)

    def _catch_up(self) -> None:
        since = time.monotonic()
        while self.c.last < self._bench.tick - 1:
            self._send_queue()
            frames = self._link().receive(SLICE_S)
            if not frames:
                self._wait(since, since, self.expected.limit_s, None)
            for raw in frames:
                if self._complete([raw]):
                    self._note()

    # ---- a tick ----------------------------------------------------------------------------------------------------------

    def send_tick(self, tick: int) -> None:
        """Send what entered the mirrors in this tick. With free pacing, publish what has arrived since."""
        n = lib.fsw_mirror_pack(self.c, tick, self._out, self._size)
        self._message = memoryview(ffi.buffer(self._out, n))
        self._sent_ns = time.perf_counter_ns()
        if self.free:
            self._queue.append((tick, bytes(self._message)))
            self._send_queue()
            self._take_what_is_there(tick)
        elif not self._link().send(self._message):
            self._send(self._message, self.expected.limit_s)

    def _send_queue(self) -> None:
        """Free pacing: what the link takes now; the rest stays for the next tick, since what entered the mirrors must enter the boards.

        Where a frame may be lost, one TICK at a time is under way, and is sent again when no answer comes: a board answers its last one again.
        """
        link = self._link()
        if link.lossless:
            while self._queue and link.send(memoryview(self._queue[0][1])):
                self._queue.popleft()
        else:
            self._send_one(time.monotonic())
        if len(self._queue) > MAX_BEHIND:
            raise LinkError(f"does not keep up: {len(self._queue)} ticks are waiting to be sent")

    def _hold_back(self, tick: int) -> None:
        """Simulated time waits for boards that are far behind: it would leave any of them behind for ever."""
        since = time.monotonic()
        while tick - self.c.last > MAX_BEHIND_SIMULATED and not self.real_time and not self._silent:
            frames = self._link().receive(SLICE_S)
            if not frames:
                self.alive()
                if time.monotonic() - since > self.expected.retry_s:
                    self._silent = True  # not slow: on_loss says what follows
            self._take(frames, tick)
            self._send_queue()

    def _take(self, frames: Sequence[bytes], tick: int) -> None:
        for raw in frames:
            if self._complete([raw]):
                self._neutral, self._silent, self._heard = False, False, tick
                self._note()
                self._send_queue()

    def _send_one(self, now: float) -> None:
        if self._under_way is not None and self.c.last < self._under_way[0]:
            tick, message, sent = self._under_way
            if now - sent > self.expected.retry_s and self._link().send(memoryview(message)):
                self._under_way = tick, message, now
            return
        self._under_way = None
        if self._queue and self._link().send(memoryview(self._queue[0][1])):
            self._under_way = (*self._queue.popleft(), now)

    def _take_what_is_there(self, tick: int) -> None:
        """Free pacing: all complete answers, in their order; then the policy, where there has been none for too long."""
        while frames := self._link().receive(0.0):
            self._take(frames, tick)
        self._hold_back(tick)
        self._room()
        lib.fsw_mirror_send_fresh(self.c)
        if tick - self._heard <= 1 + self.expected.hold_ticks or self._neutral:
            return
        self.c.late += 1
        if self.expected.on_loss == "stop":
            raise LinkError(f"no answer for {tick - self._heard} ticks")
        if self.expected.on_loss == "neutral":
            self._neutral = True
            lib.fsw_mirror_neutral(self.c, self._all_writes)

    def _again(self, message: memoryview) -> None:
        self._link().send(message)

    def take_tick(self, tick: int) -> None:
        """Wait for what the boards wrote; it lies in the mirrors then, and `publish` sends it on."""
        if self._answered == tick or self.free:
            return
        link = self._link()
        since = asked = time.monotonic()
        while True:
            frames = link.receive(SLICE_S)
            if not frames:
                again = None if link.lossless else lambda: self._again(self._message)
                asked = self._wait(since, asked, self.expected.limit_s, again)
            if self._complete(frames):
                self.round_trips_ns.append(time.perf_counter_ns() - self._sent_ns)
                self._answered = tick
                return

    def _complete(self, frames: Sequence[bytes]) -> bool:
        complete = False
        for raw in frames:
            rc = lib.fsw_mirror_take(self.c, ffi.from_buffer(raw), len(raw))
            complete |= rc == lib.FSW_MIRROR_COMPLETE
            if rc == lib.FSW_MIRROR_OTHER:
                frame = protocol.decode(raw)
                if frame is not None and frame.type == FAILED and frame.dst == self.c.src:
                    raise self._failed(frame)
            elif rc == lib.FSW_MIRROR_BROKEN and self._link().lossless:
                raise LinkError(f"what it answered in tick {self.c.asked} cannot be: {self.counters}")
        return complete

    def publish(self, k: int) -> None:
        """Publish what board k wrote."""
        if not self.free:
            lib.fsw_mirror_publish(self.c, k)
