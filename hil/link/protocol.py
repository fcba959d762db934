"""Frames, manifests and what both ends of a link have in common. The protocol is described in native/include/flightsw/session.h."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from flightsw._native import ffi, lib
from flightsw.errors import BenchUnavailable
from flightsw.messages import builtin, fingerprint

PROTOCOL = int(lib.FSW_LINK_PROTOCOL)
TICK, HELLO, MANIFEST, LOAD, DATA, GET, DONE, FAILED, BYE, PING, PONG, SELECT = (
    int(getattr(lib, f"FSW_LINK_{n}"))
    for n in ("TICK", "HELLO", "MANIFEST", "LOAD", "DATA", "GET", "DONE", "FAILED", "BYE", "PING", "PONG", "SELECT"))
OVERHEAD = int(lib.FSW_FRAME_HEADER + lib.FSW_FRAME_CRC)
MAX_FRAME, MAX_PAYLOAD = int(lib.FSW_FRAME_MAX), int(lib.FSW_FRAME_PAYLOAD_MAX)
FIRST, CRC = int(lib.FSW_LINK_FIRST), int(lib.FSW_FRAME_CRC)
MAX_TOPICS = FIRST  # of one board: topic indices are frame types
MAX_BOARDS = 250                      # of one link
MAX_BUNDLE = 16 << 20
_LIMITS = {"max_str_len": 4096, "max_bin_len": 4096, "max_array_len": 1024, "max_map_len": 512, "max_ext_len": 0}


class LinkError(BenchUnavailable):
    """The partner said or did something that ends the session."""


class Unplugged(LinkError):
    """The line to the partner is not there, or not any more; it may come back."""


@dataclass(frozen=True)
class Frame:
    """An intact frame. tick is its low 32 bits."""

    type: int
    src: int
    dst: int
    sequence: int
    tick: int
    t_ns: int
    payload: bytes


def encode(kind: int, payload: bytes = b"", *, sequence: int = 0, tick: int = 0, src: int = 0, dst: int = 0) -> bytes:
    """A bare frame. src: of the bench, its number in this session, which is the dst of each answer."""
    h = ffi.new("fsw_frame_header_t *", {"version": lib.FSW_FRAME_VERSION, "type": kind, "src": src, "dst": dst, "length": len(payload),
                                         "sequence": sequence, "tick": tick & 0xFFFFFFFF})
    out = ffi.new("uint8_t[]", MAX_FRAME)
    n = lib.fsw_frame_encode(h, payload, out, MAX_FRAME)
    if n < 0:
        raise ValueError(f"a frame with {len(payload)} bytes of payload")
    return bytes(ffi.buffer(out, n))


def decode(frame: bytes) -> Frame | None:
    """What a bare frame says; None when it is not intact."""
    h, payload = ffi.new("fsw_frame_header_t *"), ffi.new("const uint8_t **")
    held = ffi.from_buffer(frame)
    if lib.fsw_frame_decode(held, len(frame), h, payload):
        return None
    return Frame(h.type, h.src, h.dst, h.sequence, h.tick, h.t_ns, bytes(ffi.buffer(payload[0], h.length)))


def crc(data: bytes) -> int:
    """CRC-32C of a frame's bytes."""
    return int(lib.fsw_crc32c(0, data, len(data)))


def frames_in(message: memoryview) -> Iterator[memoryview]:
    """The bare frames that lie one after the other in a message."""
    at, end = 0, len(message)
    while at < end:
        size = OVERHEAD + (message[at + 4] | message[at + 5] << 8)
        yield message[at : at + size]
        at += size


def messages_fingerprint() -> str:
    """Of all built-in messages: 16 hexadecimal digits."""
    return f"{fingerprint(builtin().values()):016x}"


def pack(value: Mapping[str, Any]) -> bytes:
    """A manifest as msgpack. LinkError when it does not fit into a frame."""
    raw: bytes = msgpack.packb(value)
    if len(raw) > MAX_PAYLOAD:
        raise LinkError("a manifest is too long for a frame")
    return raw


def unpack(raw: bytes) -> dict[str, Any]:
    """Mapping with text keys from untrusted msgpack. LinkError for anything else."""
    try:
        value = msgpack.unpackb(raw, raw=False, strict_map_key=True, **_LIMITS) if len(raw) <= MAX_PAYLOAD else None
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
