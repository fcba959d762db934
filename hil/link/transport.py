"""Transports: how the frames of a message get from one end of a link to the other.

A message is bare frames one after the other in memory. Each transport is bounded in memory and in time, and says by `lossless` whether what
was sent arrives or the link is broken; on a link that may lose a frame, whoever asked asks again.
"""

from __future__ import annotations

import select
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from flightsw._native import ffi, lib
from hil.endpoints import endpoint_problem
from hil.link.protocol import MAX_FRAME, LinkError, frames_in

if TYPE_CHECKING:
    from hil.link.curve import Curve

MAX_PART = 65536
HIGH_WATER = 256      # messages
OWN_TCP = "tcp://127.0.0.1:*"  # a port that the system chooses


class Transport(ABC):
    """One end of a link. name: for messages. lossless: see above."""

    name = ""
    lossless = True
    waits = True     # may `send` wait for a moment until the link takes something? False where a bench is paced freely

    @abstractmethod
    def send(self, message: memoryview) -> bool:
        """Send the frames of a message; False when the link took nothing of it now: try again. LinkError when it is broken."""

    @abstractmethod
    def receive(self, timeout_s: float) -> Sequence[bytes]:
        """Bare frames that have arrived, as they came, damaged ones perhaps among them; waits for the first one for at most so long."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it. May be called twice."""


class ZmqTransport(Transport):
    """A PAIR socket; a message part is one bare frame."""

    def __init__(self, socket: zmq.Socket[Any], name: str) -> None:
        self.socket, self.name = socket, name
        self._limit_ms = -2   # RCVTIMEO as it is set: a blocking receive costs a third of a poll and a receive

    def send(self, message: memoryview) -> bool:
        """As above; waits for at most the socket's SNDTIMEO while nobody is there or the partner's queue is full."""
        send, flags = self.socket.send, 0 if self.waits else zmq.NOBLOCK
        last: memoryview | None = None
        try:
            for frame in frames_in(message):
                if last is not None:
                    send(last, flags | zmq.SNDMORE)
                last = frame
            if last is not None:
                send(last, flags)
        except zmq.Again:  # of the first part: a message that was begun is taken whole
            return False
        return True

    def receive(self, timeout_s: float) -> Sequence[bytes]:
        limit_ms = max(0, round(timeout_s * 1e3))
        socket = self.socket
        if limit_ms != self._limit_ms:
            socket.setsockopt(zmq.RCVTIMEO, limit_ms)
            self._limit_ms = limit_ms
        try:
            parts = [socket.recv()]
            while socket.getsockopt(zmq.RCVMORE):
                parts.append(socket.recv())
        except zmq.Again:
            return ()
        return parts

    def close(self) -> None:
        self.socket.close()


def open_socket(context: zmq.Context[Any], endpoint: str, bind: bool, curve: Curve | None = None) -> zmq.Socket[Any]:
    """One end of a link, every resource bounded. Heartbeats on tcp: a partner that is gone without a word is noticed. On ipc the system tells.

    curve: keys; needed for an endpoint that is not on this computer. LinkError when the endpoint cannot be used.
    """
    problem = endpoint_problem(endpoint, curve is not None) if endpoint != OWN_TCP else None
    if problem:
        raise LinkError(problem)
    socket: zmq.Socket[Any] = context.socket(zmq.PAIR)
    for option, value in ((zmq.MAXMSGSIZE, MAX_PART), (zmq.SNDHWM, HIGH_WATER), (zmq.RCVHWM, HIGH_WATER), (zmq.LINGER, 0),
                          (zmq.IMMEDIATE, 1), (zmq.HANDSHAKE_IVL, 2000), (zmq.SNDTIMEO, 50)):
        socket.setsockopt(option, value)
    if endpoint.startswith("tcp://"):
        for option, value in ((zmq.HEARTBEAT_IVL, 1000), (zmq.HEARTBEAT_TIMEOUT, 5000), (zmq.HEARTBEAT_TTL, 5000)):
            socket.setsockopt(option, value)
    if curve is not None:
        curve.protect(socket, bind)
    if endpoint.startswith("tcp://["):
        socket.setsockopt(zmq.IPV6, 1)
    try:
        (socket.bind if bind else socket.connect)(endpoint)
        if bind and endpoint.startswith("ipc://"):
            Path(endpoint.removeprefix("ipc://")).chmod(0o600)  # for this user only, whatever the folder allows
    except (zmq.ZMQError, OSError) as exc:
        socket.close()
        raise LinkError(f"{endpoint} cannot be used: {exc.strerror}") from None
    return socket


class Decoder:
    """Frames out of a byte stream: COBS, each between two zero bytes. Bounded, and in step again within one frame after any damage."""

    def __init__(self) -> None:
        self.c = ffi.new("fsw_cobs_decoder_t *")
        lib.fsw_cobs_decoder_init(self.c)
        self._frame, self._size = ffi.new("const uint8_t **"), ffi.new("size_t *")

    def feed(self, data: bytes) -> list[bytes]:
        """Frames that these bytes complete, damaged ones among them."""
        out, at, held = [], 0, ffi.from_buffer(data)
        while at < len(data):
            at += lib.fsw_cobs_decoder_feed(self.c, held + at, len(data) - at, self._frame, self._size)
            if self._frame[0] != ffi.NULL:
                out.append(bytes(ffi.buffer(self._frame[0], self._size[0])))
        return out


class Encoder:
    """A message as a byte stream."""

    def __init__(self) -> None:
        self._out = ffi.new("uint8_t[]", MAX_FRAME + MAX_FRAME // 254 + 1)

    def encode(self, message: memoryview) -> bytes:
        """All frames, each between two zero bytes."""
        out = bytearray()
        for frame in frames_in(message):
            n = lib.fsw_cobs_encode(ffi.from_buffer(frame), len(frame), self._out, len(self._out))
            out += b"\0" + bytes(ffi.buffer(self._out, n)) + b"\0"
        return bytes(out)


class StreamTransport(Transport):
    """A byte stream with a file descriptor: a serial line, a pseudo-terminal, a socket.

    read, write: as of a non-blocking file; `read` returns b"" when the other end has gone. Both may raise OSError. Where `waits`
    is False, what the
    line does not take at once follows before the next message.
    """

    lossless = False
    write_limit_s = 2.0

    def __init__(self, name: str, fd: int, read: Callable[[int], bytes], write: Callable[[bytes], int], close: Callable[[], object]) -> None:
        self.name, self.fd = name, fd
        self._read, self._write = read, write
        self._close: Callable[[], object] | None = close
        self._rest = b""
        self.decoder, self._encoder = Decoder(), Encoder()
        self.sent_bytes = self.received_bytes = 0
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(fd, select.POLLIN)
        self._writable.register(fd, select.POLLOUT)

    def send(self, message: memoryview) -> bool:
        if self._rest and not self._flush():
            return False
        self._rest = self._encoder.encode(message)
        self._flush()
        return True

    def _flush(self) -> bool:
        """Write what is to be written; False when some of it is left."""
        while self._rest:
            try:
                n = self._write(self._rest)
            except BlockingIOError:
                if not self.waits:
                    return False
                if not self._writable.poll(self.write_limit_s * 1e3):
                    raise LinkError("takes no bytes any more") from None
                continue
            except OSError as exc:
                raise LinkError(f"has gone: {exc.strerror or exc}") from None
            self.sent_bytes += n
            self._rest = self._rest[n:]
        return True

    def receive(self, timeout_s: float) -> Sequence[bytes]:
        if not self._readable.poll(timeout_s * 1e3):  # what hangs up is readable, too
            return ()
        try:
            data = self._read(65536)
        except BlockingIOError:
            return ()
        except OSError as exc:
            raise LinkError(f"has gone: {exc.strerror or exc}") from None
        if not data:
            raise LinkError("has gone: the other end is closed")
        self.received_bytes += len(data)
        return self.decoder.feed(data)

    def close(self) -> None:
        close, self._close = self._close, None
        if close is not None:
            close()
