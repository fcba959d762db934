"""Transports: how the frames of a message get from one end of a link to the other.

A message is bare frames one after the other in memory. Each transport is bounded in memory and in time, and says by `lossless` whether what
was sent arrives or the link is broken; on a link that may lose a frame, whoever asked asks again.
"""

from __future__ import annotations

import select
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zmq

from flightsw._native import ffi, lib
from hil.link.protocol import MAX_FRAME, LinkError, frames_in

MAX_PART = 65536
HIGH_WATER = 256      # messages


class Transport(ABC):
    """One end of a link. name: for messages. lossless: see above."""

    name = ""
    lossless = True

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

    def send(self, message: memoryview) -> bool:
        """As above; waits for at most the socket's SNDTIMEO while nobody is there or the partner's queue is full."""
        try:
            self.socket.send_multipart(list(frames_in(message)), copy=True)
        except zmq.Again:
            return False
        return True

    def receive(self, timeout_s: float) -> Sequence[bytes]:
        if not self.socket.poll(max(0, round(timeout_s * 1e3))):
            return ()
        return self.socket.recv_multipart(zmq.NOBLOCK, copy=True)

    def close(self) -> None:
        self.socket.close()


def open_socket(context: zmq.Context[Any], endpoint: str, bind: bool) -> zmq.Socket[Any]:
    """One end of a link, every resource bounded. No heartbeats: a partner on this computer that ends closes its socket.

    LinkError when the endpoint cannot be used.
    """
    socket: zmq.Socket[Any] = context.socket(zmq.PAIR)
    for option, value in ((zmq.MAXMSGSIZE, MAX_PART), (zmq.SNDHWM, HIGH_WATER), (zmq.RCVHWM, HIGH_WATER), (zmq.LINGER, 0),
                          (zmq.IMMEDIATE, 1), (zmq.HANDSHAKE_IVL, 2000), (zmq.SNDTIMEO, 50)):
        socket.setsockopt(option, value)
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

    read, write: as of a non-blocking file; `read` returns b"" when the other end has gone. Both may raise OSError.
    """

    lossless = False
    write_limit_s = 2.0

    def __init__(self, name: str, fd: int, read: Any, write: Any, close: Any) -> None:
        self.name, self.fd = name, fd
        self._read, self._write, self._close = read, write, close
        self.decoder, self._encoder = Decoder(), Encoder()
        self.sent_bytes = self.received_bytes = 0

    def send(self, message: memoryview) -> bool:
        data = self._encoder.encode(message)
        at = 0
        while at < len(data):
            try:
                at += self._write(data[at:])
            except BlockingIOError:
                if not select.select([], [self.fd], [], self.write_limit_s)[1]:
                    raise LinkError("takes no bytes any more") from None
            except OSError as exc:
                raise LinkError(f"has gone: {exc.strerror or exc}") from None
        self.sent_bytes += len(data)
        return True

    def receive(self, timeout_s: float) -> Sequence[bytes]:
        if not select.select([self.fd], [], [], timeout_s)[0]:
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
