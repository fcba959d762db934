"""A serial line as a transport: opened through pyserial, read by its file descriptor, and opened again by its identity when it was away."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hil.link.ports import PortIdentity
from hil.link.protocol import LinkError, Unplugged
from hil.link.transport import StreamTransport, Transport

if TYPE_CHECKING:
    import serial

REOPEN_S = 0.02  # between attempts: a port is back within this time, and waiting costs next to nothing
BITS_PER_BYTE = 10  # 8N1: start, eight, stop

_WHY = {errno.ENOENT: "is not there", errno.ENODEV: "is not there", errno.ENXIO: "is not there", errno.EIO: "is not there",
        errno.EACCES: "may not be opened by this user (`flightsw doctor` shows the command that mends it)",
        errno.EBUSY: "is used by another program", errno.EAGAIN: "is used by another program", errno.EISDIR: "is a folder"}


def open_port(path: str, baud: int) -> serial.Serial:
    """The port, raw 8N1, for us alone, what it had received before thrown away.

    Unplugged when it is not there, or not for us, LinkError when it is of no use.
    """
    import serial

    try:
        port = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
    except ValueError as exc:
        raise LinkError(f"{path} cannot be used: {exc}") from None
    except serial.SerialException as exc:
        if "(25," in str(exc):
            raise LinkError(f"{path} is not a serial port") from None
        raise Unplugged(f"{path} {_WHY.get(exc.errno or 0, f'cannot be opened: {exc}')}") from None
    with contextlib.suppress(ValueError, OSError, NotImplementedError, AttributeError):
        port.set_low_latency_mode(True)  # a pseudo-terminal has none
    return port


def line(path: str, baud: int, name: str = "") -> StreamTransport:
    """A port as a transport that ends when it is unplugged. Raises as `open_port`."""
    port = open_port(path, baud)
    fd = port.fileno()
    return StreamTransport(name or path, fd, lambda n: os.read(fd, n), lambda data: os.write(fd, data), port.close)


class SerialTransport(Transport):
    """A line that may be away. Sending and receiving raise Unplugged then, and `reopen` waits for it.

    tolerant: they do not raise; the line takes nothing and brings nothing meanwhile, and is opened again as soon as it is back.
    opened: how often it was opened; turns: loop turns spent waiting for it.
    """

    lossless = False

    def __init__(self, name: str, identity: PortIdentity, baud: int, tolerant: bool = False) -> None:
        self.name, self.identity, self.baud, self.tolerant = name, identity, baud, tolerant
        self.opened = self.turns = 0
        self.why = ""
        self._bytes = [0, 0]
        self._line: StreamTransport | None = None
        self._tried = 0.0
        self._closed = False
        self._also: list[Callable[[], None]] = []
        self._open()

    @property
    def sent_bytes(self) -> int:
        """Over all times that it was open."""
        return self._bytes[0] + (self._line.sent_bytes if self._line is not None else 0)

    @property
    def received_bytes(self) -> int:
        """Over all times that it was open."""
        return self._bytes[1] + (self._line.received_bytes if self._line is not None else 0)

    @property
    def there(self) -> bool:
        """Is the line open?"""
        return self._line is not None

    def _open(self) -> None:
        self._tried = time.monotonic()
        self._line = line(self.identity.find(), self.baud, self.name)
        self._line.waits = self.waits
        self.opened += 1

    def _lose(self, why: str) -> None:
        gone, self._line = self._line, None
        self.why = why
        if gone is not None:
            self._bytes[0] += gone.sent_bytes
            self._bytes[1] += gone.received_bytes
            gone.close()
        if not self.tolerant:
            raise Unplugged(f"the line {self.identity} {why}")

    def _back(self) -> bool:
        """Is it there, or there again? Tries to open it now and then."""
        if self._line is None and not self._closed and time.monotonic() - self._tried >= REOPEN_S:
            try:
                self._open()
            except LinkError as exc:
                self.why = str(exc)
        return self._line is not None

    def _guarded(self, act: Callable[[StreamTransport], bool | Sequence[bytes]]) -> bool | Sequence[bytes] | None:
        if self._line is None and not (self.tolerant and self._back()):
            if not self.tolerant:
                raise Unplugged(f"the line {self.identity} {self.why or 'is closed'}")
            return None
        assert self._line is not None
        self._line.waits = self.waits
        try:
            return act(self._line)
        except LinkError as exc:
            self._lose(str(exc))
            return None

    def send(self, message: memoryview) -> bool:
        return bool(self._guarded(lambda to: to.send(message)))

    def receive(self, timeout_s: float) -> Sequence[bytes]:
        frames = self._guarded(lambda of: of.receive(timeout_s))
        if frames is None:
            self.turns += 1
            time.sleep(min(timeout_s, REOPEN_S))
            return ()
        return frames if isinstance(frames, list | tuple) else ()

    def reopen(self, limit_s: float) -> None:
        """Wait until the line is back and open it. Unplugged when it is not within so long."""
        until = time.monotonic() + limit_s
        while not self._back():
            if self._closed or time.monotonic() > until:
                raise Unplugged(f"the line {self.identity} was not back within {limit_s:g} s: {self.why}")
            self.turns += 1
            time.sleep(REOPEN_S)

    def also_close(self, act: Callable[[], None]) -> None:
        """Something to let go of together with the line."""
        self._also.append(act)

    def close(self) -> None:
        self._closed = True
        if self._line is not None:
            self._line.close()
            self._line = None
        while self._also:
            self._also.pop()()


class Pty:
    """A pseudo-terminal: a line without wires, whose bytes arrive at `path`. It is ours until closed: a partner that goes is silence, no end.

    A pseudo-terminal shows that something works, not how fast it would be on a wire.
    """

    def __init__(self) -> None:
        import tty

        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)

    def transport(self, name: str = "") -> StreamTransport:
        """The board's end. Closing it closes the pseudo-terminal."""
        fd = self._master
        return StreamTransport(name or self.path, fd, lambda n: os.read(fd, n), lambda data: os.write(fd, data), self.close)

    def close(self) -> None:
        """Unplug it. May be called twice."""
        master, self._master = self._master, -1
        slave, self._slave = self._slave, -1
        for fd in (master, slave):
            if fd >= 0:
                os.close(fd)
