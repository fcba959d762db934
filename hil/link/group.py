"""The near end of a link: the boards behind one transport, stepped by a bench.

Lockstep: each tick waits for its answer, and the bench stops when none comes within the limit of wall time. On a link that may lose a frame it asks
again meanwhile; a board answers a repeated question without running the tick twice.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flightsw._native import digest, ffi, lib
from flightsw.bundle import bundle, images_of
from flightsw.errors import StepError
from flightsw.graph import Graph, Snapshot
from hil.link import protocol
from hil.link.protocol import DATA, DONE, FAILED, GET, HELLO, LOAD, MANIFEST, Frame, LinkError, entry
from hil.link.transport import Transport

START_S = 60.0    # until a process that was just started answers: a loaded machine imports slowly
SLICE_S = 0.05    # longest wait in one call, so that a dead partner is noticed promptly
COUNTERS = ("answered", "late", "lost", "duplicate", "reordered", "stale", "corrupt", "wrong_tick")


@dataclass(frozen=True)
class Expected:
    """What a bench wants of the other end. token: of the process that it started, "" otherwise."""

    limit_s: float = 10.0
    retry_s: float = 0.5
    pacing: str = "lockstep"
    token: str = ""
    live: bool = False


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
        self.round_trips_ns: list[int] = []
        self.broken = False
        self.transport: Transport | None = None
        self._c_indices = ffi.new("uint32_t[]", self.indices)
        self.c = ffi.new("fsw_mirror_t *", {"bench": graph.bench, "nodes": self._c_indices, "n_nodes": len(self.indices), "asked": -1,
                                            "answering": -1})
        size = lib.fsw_mirror_bytes(self.c)
        self._out, self._size = ffi.new("uint8_t[]", size), size
        self._message = memoryview(b"")
        self._answered, self._sent_ns, self._bundle_size = -1, 0, 0

    @property
    def counters(self) -> dict[str, int]:
        """Outcomes on this link so far, by name."""
        return {name: int(getattr(self.c, name)) for name in COUNTERS}

    # ---- questions and answers -------------------------------------------------------------------------------------------

    def _link(self) -> Transport:
        if self.transport is None:
            raise LinkError("is not connected")
        return self.transport

    def _wait(self, since: float, asked: float, limit_s: float, again: Callable[[], None]) -> float:
        """Waited in vain for a slice: is the partner there, is there time left, is it time to ask again? Returns when it was asked."""
        self.alive()
        now = time.monotonic()
        if now - since > limit_s:
            raise LinkError(f"no answer within {limit_s:g} s")
        if not self._link().lossless and now - asked > self.expected.retry_s:
            self.c.late += 1
            again()
            return now
        return asked

    def _send(self, message: memoryview, limit_s: float) -> float:
        """Send, in the end; returns when that was done."""
        link, since = self._link(), time.monotonic()
        while not link.send(message):
            self._wait(since, since + limit_s, limit_s, lambda: None)
        return time.monotonic()

    def ask(self, question: bytes, want: int, limit_s: float | None = None) -> Frame:
        """One frame there, one back, of this type."""
        link, limit = self._link(), self.expected.limit_s if limit_s is None else limit_s
        view = memoryview(question)
        since = asked = self._send(view, limit)
        while True:
            frames = link.receive(SLICE_S)
            if not frames:
                asked = self._wait(since, asked, limit, lambda: self._again(view))
            for raw in frames:
                frame = protocol.decode(raw)
                if frame is None:
                    self.c.corrupt += 1
                elif frame.type == want:
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
        hello = {"protocol": protocol.PROTOCOL, "name": "bench", "role": "bench", "serial": "", "mode": "LIVE" if self.expected.live else "SIM",
                 "messages": protocol.messages_fingerprint(), "group": self.name, "boards": len(self.nodes), "pacing": self.expected.pacing}
        limit = START_S if self.expected.token else self.expected.limit_s
        self.manifest = protocol.unpack(self.ask(protocol.encode(HELLO, protocol.pack(hello)), MANIFEST, limit).payload)
        self._check_manifest()
        self.send_images()

    def _check_manifest(self) -> None:
        for key, mine in (("protocol", protocol.PROTOCOL), ("messages", protocol.messages_fingerprint()),
                          ("mode", "LIVE" if self.expected.live else "SIM")):
            theirs = entry(self.manifest, key, type(mine))
            if theirs != mine:
                raise LinkError(f"{key} of the boards is {theirs}, of the bench {mine}")
        if self.expected.token and not hmac.compare_digest(entry(self.manifest, "token", str).encode(), self.expected.token.encode()):
            raise LinkError("who answered is not the process that was started")

    def send_images(self) -> None:
        """Load the boards with the images of the mirrors: at the start, and after a restore."""
        nothing = bytes(lib.fsw_bench_memory(ffi.NULL, 0))  # in flight: the links are the bench's
        snap = Snapshot(self._bench.tick, {v.name: v.image.tobytes() for v in self.views}, nothing)
        data = bundle(self.nodes, [], snap, python=True)
        self._bundle_size = len(data)
        head = len(data).to_bytes(4, "little") + bytes(4) + digest(data).to_bytes(8, "little")
        self.ask(protocol.encode(LOAD, head), DONE)
        at = 0
        while at < len(data):
            piece = data[at : at + protocol.MAX_PAYLOAD]
            done = self.ask(protocol.encode(DATA, piece, sequence=at), DONE)
            if done.sequence < at + len(piece):
                continue  # an answer to an earlier piece, sent twice
            at += len(piece)
        self._answered, self.c.n_pending, self.c.asked = -1, 0, -1

    def fetch(self) -> None:
        """Images from the boards into the mirrors."""
        data = bytearray()
        while len(data) < self._bundle_size:
            frame = self.ask(protocol.encode(GET, sequence=len(data)), DATA)
            if frame.sequence == len(data):
                data += frame.payload
        tick, images = images_of(bytes(data), len(self.nodes))
        if tick != self._bench.tick:
            raise LinkError(f"images of tick {tick} where those of tick {self._bench.tick} were due")
        for view, image in zip(self.views, images, strict=True):
            if image[:16] != view.image[:16].tobytes():
                raise LinkError(f'the image of board "{view.name}" is of another load blob or tick')
            view.image[:] = np.frombuffer(image, np.uint8)

    # ---- a tick ----------------------------------------------------------------------------------------------------------

    def send_tick(self, tick: int) -> None:
        """Send what entered the mirrors in this tick."""
        n = lib.fsw_mirror_pack(self.c, tick, self._out, self._size)
        self._message = memoryview(ffi.buffer(self._out, n))
        self._sent_ns = time.perf_counter_ns()
        if not self._link().send(self._message):
            self._send(self._message, self.expected.limit_s)

    def _again(self, message: memoryview) -> None:
        self._link().send(message)

    def take_tick(self, tick: int) -> None:
        """Wait for what the boards wrote; it lies in the mirrors then, and `publish` sends it on."""
        if self._answered == tick:
            return
        link = self._link()
        since = asked = time.monotonic()
        while True:
            frames = link.receive(SLICE_S)
            if not frames:
                asked = self._wait(since, asked, self.expected.limit_s, lambda: self._again(self._message))
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
                if frame is not None and frame.type == FAILED:
                    raise self._failed(frame)
            elif rc == lib.FSW_MIRROR_BROKEN and self._link().lossless:
                raise LinkError(f"what it answered in tick {self.c.asked} cannot be: {self.counters}")
        return complete

    def publish(self, k: int) -> None:
        """Publish what board k wrote."""
        lib.fsw_mirror_publish(self.c, k)
