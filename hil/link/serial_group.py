"""Boards on a serial line: opened by identity, and, where the bench file says `resume = true`, taken up again after the line was away.

Taken up again exactly: the boards are loaded with their last images that the bench has, and get the inputs of all ticks since once more.
What they do then is what they would have done, so the flight is the same as without the break.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from flightsw.errors import ConfigError
from flightsw.graph import Graph
from hil import bench_lock
from hil.link import live, protocol
from hil.link.group import SLICE_S, Expected, Group
from hil.link.ports import identity, path_problem, stable_name
from hil.link.protocol import FAILED, FIRST, TICK, Unplugged
from hil.link.serial_port import SerialTransport
from hil.link.transport import Transport

if TYPE_CHECKING:
    from hil.bench import Bench
    from hil.config import Remote
    from hil.flight import Flight

JOURNAL_BYTES = 16 << 20  # of inputs since the last images; with more, the images are fetched anew
MAX_BREAKS = 20           # of the line in a row, without a tick between them
T = TypeVar("T")


def open_serial(flight: Flight, name: str, rows: Sequence[int], settings: Remote | None, expected: Expected) -> tuple[Group, SerialTransport]:
    """The near end of a group on a serial line, and the line, not greeted yet.

    ConfigError when the bench file, or whoever starts the run, does not say enough; LinkError when the port is not there.
    """
    bench = flight.bench
    if settings is None or (settings.port is None and settings.usb is None):
        text = "is missing: the port of the boards, here, as `usb = ...`, or with --port PATH"
        raise ConfigError.one(str(bench.path), f"remote.{name}.port", text)
    roles = frozenset(bench.plans[i].role or "boards" for i in rows)
    expected = replace(expected, serial=settings.serial or "", roles=roles, live=settings.live, key=live.key_for(bench, name, settings))
    line = _open_line(bench, name, settings)
    line.tolerant = settings.pacing == "free" and not settings.live
    kind = ResumableGroup if settings.resume else Group
    return kind(name, rows, flight.graph, expected), line


def _open_line(bench: Bench, name: str, settings: Remote) -> SerialTransport:
    """The line, for this run alone."""
    problem = path_problem(settings.port) if settings.port is not None else None
    if problem:
        raise ConfigError.one(str(bench.path), f"remote.{name}.port", problem)
    port = identity(settings.port, settings.usb)
    bench_lock.check(bench.name)
    ours = bench_lock.use(stable_name(port.find()), bench.name, bench.access.wait_s, bench.access.say)
    try:
        line = SerialTransport(name, port, settings.baud)
    except BaseException:
        ours.close()
        raise
    line.also_close(ours.close)
    return line


class ResumableGroup(Group):
    """A group whose line may go and come back between any two bytes (lockstep). resumed: how often it was taken up again."""

    def __init__(self, name: str, indices: Sequence[int], graph: Graph, expected: Expected) -> None:
        super().__init__(name, indices, graph, expected)
        self.resumed = 0
        self._base = b""                              # the last images, as a bundle
        self._journal: list[tuple[int, bytes]] = []   # TICKs since
        self._journal_bytes = self._breaks = 0

    # ---- as the other groups, but held ---------------------------------------------------------------------------------

    def _held(self, act: Callable[[], T]) -> T:
        """Do it, and again whenever the line went and came back meanwhile."""
        while True:
            try:
                return act()
            except Unplugged as exc:
                self._resume(exc)

    def _start_from(self, data: bytes) -> None:
        self._base, self._journal_bytes = data, 0
        self._journal.clear()

    def _load(self, data: bytes) -> None:
        self._start_from(data)
        super()._load(data)

    def _get(self) -> bytes:
        data = self._held(super()._get)
        self._start_from(data)
        return data

    def greet(self, transport: Transport) -> None:
        greet = super().greet
        self._held(lambda: greet(transport))

    def send_images(self) -> None:
        self._held(super().send_images)

    def send_tick(self, tick: int) -> None:
        if self._journal_bytes > JOURNAL_BYTES:
            self._get()
        gone = None
        try:
            super().send_tick(tick)
        except Unplugged as exc:
            gone = exc
        self._journal.append((tick, bytes(self._message)))
        self._journal_bytes += len(self._message)
        if gone is not None:
            self._resume(gone)

    def take_tick(self, tick: int) -> None:
        take = super().take_tick
        self._held(lambda: take(tick))
        self._breaks = 0

    # ---- after a break -------------------------------------------------------------------------------------------------

    def _resume(self, gone: Unplugged) -> None:
        """Wait for the line, and bring the boards to where they were. Raises `gone`, or what followed it, when that is not possible."""
        line = self._link()
        assert isinstance(line, SerialTransport)
        while True:
            self._breaks += 1
            if self._breaks > MAX_BREAKS:
                raise gone
            line.reopen(self.expected.limit_s)
            if not self._base:
                return  # it was not greeted yet
            try:
                self._greet()
                super()._load(self._base)
                self._redo()
            except Unplugged as exc:
                gone = exc
                continue
            self.resumed += 1
            return

    def _redo(self) -> None:
        """All ticks since the last images once more; the last one is only asked when its answer is still wanted."""
        self._journal = [(tick, _readdressed(message, self.c.src)) for tick, message in self._journal]
        wanted = bool(self._journal) and self._journal[-1][0] != self._answered
        for tick, message in self._journal[: len(self._journal) - wanted]:
            self._repeat(tick & 0xFFFFFFFF, memoryview(message))
        if wanted:
            self._message = memoryview(self._journal[-1][1])
            self._link().send(self._message)

    def _repeat(self, tick: int, message: memoryview) -> None:
        """One tick again. What the boards write in it is known."""
        link, limit_s = self._link(), self.expected.limit_s
        since = asked = self._send(message, limit_s)
        count, got = -1, 0
        while got != count:
            frames = link.receive(SLICE_S)
            if not frames:
                asked = self._wait(since, asked, limit_s, lambda: self._again(message))
            for raw in frames:
                frame = protocol.decode(raw)
                if frame is None:
                    self.c.corrupt += 1
                elif frame.dst != self.c.src or frame.tick != tick:
                    self.c.stale += 1
                elif frame.type == FAILED:
                    raise self._failed(frame)
                elif frame.type == TICK:
                    count, got = frame.sequence, 0
                elif frame.type < FIRST:
                    got += 1


def _readdressed(message: bytes, src: int) -> bytes:
    """The same frames from a bench of another number: that of the new session."""
    out = bytearray()
    for frame in protocol.frames_in(memoryview(message)):
        data = bytearray(frame)
        data[2] = src
        end = len(data) - protocol.CRC
        data[end:] = protocol.crc(bytes(data[:end])).to_bytes(protocol.CRC, "little")
        out += data
    return bytes(out)
