"""Link protocol between a bench and boards in another process: bounded ZeroMQ sockets, link frames, manifests.

A message is a list of parts; the first is a link frame (frame.h) whose type says what the message is:

    TICK      sequence n: n frames follow, one topic each: type = topic index, src or dst = board number (from 1), the other one
              0 (the bench), sequence = writes of the topic so far, tick and t_ns of the bench
    HELLO     manifest (msgpack) of the bench            MANIFEST  that of the boards, or the reason why not
    LOAD      board dst: description (msgpack), then its load blob in chunks
    GET       asks for all images                        STATE     board src: its image in chunks (payload: XXH64 of it)
    PUT       board dst: its image in chunks (payload: XXH64 of it)
    DONE      all images are in place                    FAILED    msgpack {"error": sentence, "kind": "step" or "link"}
    BYE       end of the session

Lockstep: the bench sends TICK with what arrived in this tick, the boards answer with TICK and what they wrote. Never pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack
import zmq

from flightsw._native import digest, ffi, lib
from flightsw.errors import BenchUnavailable
from flightsw.messages import builtin, fingerprint

PROTOCOL = 1
TICK, HELLO, MANIFEST, LOAD, GET, STATE, PUT, DONE, FAILED, BYE = 255, 254, 253, 252, 251, 250, 249, 248, 247, 246
MAX_TOPICS = 240      # of one board: topic indices are frame types
MAX_BOARDS = 250      # of one group
MAX_PART = 65536
CHUNK = 60_000
MAX_IMAGE = 16 << 20  # of one board: load blob or image
MAX_PARTS = 2 + max(MAX_IMAGE // CHUNK + 1, 8192)
HIGH_WATER = 256      # messages
SLICE_MS = 50         # longest wait in one call, so that a dead partner is noticed promptly
_LIMITS = {"max_str_len": 4096, "max_bin_len": 4096, "max_array_len": 1024, "max_map_len": 512, "max_ext_len": 0}


class LinkError(BenchUnavailable):
    """The partner said or did something that ends the session."""


# ---- sockets -------------------------------------------------------------------------------------------------------


def open_socket(context: zmq.Context[Any], endpoint: str, bind: bool) -> zmq.Socket[Any]:
    """One end of a link, every resource bounded. No heartbeats: a partner on this computer that ends closes its socket.

    LinkError when the endpoint cannot be used.
    """
    socket: zmq.Socket[Any] = context.socket(zmq.PAIR)
    for option, value in ((zmq.MAXMSGSIZE, MAX_PART), (zmq.SNDHWM, HIGH_WATER), (zmq.RCVHWM, HIGH_WATER), (zmq.LINGER, 0),
                          (zmq.IMMEDIATE, 1), (zmq.HANDSHAKE_IVL, 2000), (zmq.RCVTIMEO, SLICE_MS), (zmq.SNDTIMEO, SLICE_MS)):
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


def send(socket: zmq.Socket[Any], parts: Sequence[Any], wait: Callable[[], None]) -> None:
    """Send a message. `wait` is called after every SLICE_MS without success and raises when enough is enough."""
    last = len(parts) - 1
    for i, part in enumerate(parts):
        flags = zmq.SNDMORE if i < last else 0
        while True:
            try:
                socket.send(part, flags)
                break
            except zmq.Again:
                wait()


def receive(socket: zmq.Socket[Any], wait: Callable[[], None]) -> list[bytes]:
    """The next message, at most MAX_PARTS parts (LinkError). `wait` as in `send`."""
    while True:
        try:
            parts = [socket.recv()]
            break
        except zmq.Again:
            wait()
    while socket.getsockopt(zmq.RCVMORE):
        if len(parts) > MAX_PARTS:
            raise LinkError(f"a message of more than {MAX_PARTS} parts")
        parts.append(socket.recv())
    return parts


# ---- frames --------------------------------------------------------------------------------------------------------


class Frames:
    """Decoder of bare link frames; the result of `take` stays until the next one: h (header), payload (C pointer)."""

    def __init__(self) -> None:
        self.h = ffi.new("fsw_frame_header_t *")
        self._payload = ffi.new("const uint8_t **")
        self._keep: Any = None

    def take(self, part: bytes) -> Any:
        """Header of a part. LinkError when it is not an intact frame."""
        self._keep = ffi.from_buffer(part)
        rc = lib.fsw_frame_decode(self._keep, len(part), self.h, self._payload)
        if rc:
            raise LinkError(f"a damaged frame (error {rc})")
        return self.h

    @property
    def payload(self) -> Any:
        """Payload of the last frame: h.length bytes."""
        return self._payload[0]


class Port:
    """A topic that is sent again and again: `encode` gives its frame in a buffer of its own."""

    def __init__(self, topic: int, board: int, size: int, to_board: bool) -> None:
        self.h = ffi.new("fsw_frame_header_t *", {"version": lib.FSW_FRAME_VERSION, "type": topic, "length": size,
                                                  "dst" if to_board else "src": board})
        self._out = ffi.new("uint8_t[]", lib.FSW_FRAME_HEADER + size + lib.FSW_FRAME_CRC)
        self._size = len(self._out)
        self.frame = memoryview(ffi.buffer(self._out))

    def encode(self, payload: Any, sequence: int, tick: int, t_ns: int) -> memoryview:
        """Frame of a payload (C pointer)."""
        h = self.h
        h.sequence, h.tick, h.t_ns = sequence, tick & 0xFFFFFFFF, t_ns
        lib.fsw_frame_encode(h, payload, self._out, self._size)
        return self.frame


def mark(kind: int, *, board: int = 0, count: int = 0, tick: int = 0, t_ns: int = 0, payload: bytes = b"") -> bytes:
    """First part of a message. count goes into the sequence field, board into src and dst alike."""
    h = ffi.new("fsw_frame_header_t *", {"version": lib.FSW_FRAME_VERSION, "type": kind, "src": board, "dst": board,
                                         "tick": tick & 0xFFFFFFFF, "length": len(payload), "sequence": count, "t_ns": t_ns})
    out = ffi.new("uint8_t[]", lib.FSW_FRAME_MAX)
    size = lib.fsw_frame_encode(h, payload, out, len(out))
    return bytes(ffi.buffer(out, size))


# ---- manifests and images ------------------------------------------------------------------------------------------


def messages_fingerprint() -> str:
    """Of all built-in messages."""
    return f"{fingerprint(builtin().values()):016x}"


def pack(value: Mapping[str, Any]) -> bytes:
    """Mapping to msgpack. LinkError when it would not fit into one part."""
    raw: bytes = msgpack.packb(value)
    if len(raw) > MAX_PART:
        raise LinkError("a manifest is too long for one message part")
    return raw


def unpack(raw: bytes) -> dict[str, Any]:
    """Mapping with text keys from untrusted msgpack. LinkError for anything else."""
    try:
        value = msgpack.unpackb(raw, raw=False, strict_map_key=True, **_LIMITS) if len(raw) <= MAX_PART else None
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError):
        value = None
    if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
        raise LinkError("a manifest that cannot be read")
    return value


def entry(manifest: Mapping[str, Any], key: str, kind: type[Any]) -> Any:
    """A value of a manifest, checked. LinkError when it is missing or of another type."""
    value = manifest.get(key)
    if type(value) is not kind:
        raise LinkError(f'a manifest without a proper "{key}"')
    return value


def chunks(data: bytes) -> list[bytes]:
    """Data as message parts."""
    return [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)]


def joined(parts: Sequence[bytes], size: int, mark_of: bytes | None = None) -> bytes:
    """Data from parts. LinkError unless it has this size and, where given, this XXH64 (8 bytes, little-endian)."""
    if sum(map(len, parts)) != size:
        raise LinkError(f"{sum(map(len, parts))} bytes where {size} were announced")
    data = b"".join(parts)
    if mark_of is not None and digest(data).to_bytes(8, "little") != mark_of:
        raise LinkError("an image that differs from its hash")
    return data


def state_message(kind: int, board: int, image: bytes) -> list[bytes]:
    """STATE or PUT of one board."""
    return [mark(kind, board=board, payload=digest(image).to_bytes(8, "little")), *chunks(image)]


def tick_frames(parts: Sequence[bytes], frames: Frames, wanted: int) -> Iterator[Any]:
    """Headers of the topic frames of a TICK message, one after the other. LinkError when it is not of the tick wanted."""
    h = frames.take(parts[0])
    if h.tick != wanted & 0xFFFFFFFF or h.sequence != len(parts) - 1:
        raise LinkError(f"tick {h.tick} with {len(parts) - 1} of {h.sequence} messages where tick {wanted} was due")
    for part in parts[1:]:
        h = frames.take(part)
        if h.tick != wanted & 0xFFFFFFFF:
            raise LinkError(f"a message of tick {h.tick} in tick {wanted}")
        yield h
