"""Who is at the other end of a serial port? Asked with one HELLO that begins no session, so a board goes on with whatever it does."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hil.link import protocol
from hil.link.protocol import FAILED, HELLO, MANIFEST, LinkError
from hil.link.serial_port import line

TIMEOUT_S = 1.0
AGAIN_S = 0.3    # a line whose partner wakes up at the first byte


@dataclass(frozen=True)
class Answer:
    """What a port said. manifest: of the board, {} when nobody answered properly; why: then, a sentence."""

    manifest: Mapping[str, Any]
    why: str = ""

    @property
    def fits(self) -> bool:
        """Are its messages and its protocol ours?"""
        return self.manifest.get("messages") == protocol.messages_fingerprint() and self.manifest.get("protocol") == protocol.PROTOCOL


def probe(path: str, baud: int, timeout_s: float = TIMEOUT_S) -> Answer:
    """Ask who is there. Nothing but that HELLO is ever sent."""
    try:
        with_line = line(path, baud)
    except LinkError as exc:
        return Answer({}, str(exc))
    src = 1 + secrets.randbelow(255)
    hello = {"protocol": protocol.PROTOCOL, "name": "list", "role": "bench", "mode": "SIM", "messages": protocol.messages_fingerprint(),
             "probe": 1}
    question = memoryview(protocol.encode(HELLO, protocol.pack(hello), src=src))
    until, asked = time.monotonic() + timeout_s, 0.0
    try:
        while (now := time.monotonic()) < until:
            if now - asked >= AGAIN_S:
                asked = now
                with_line.send(question)
            for raw in with_line.receive(min(0.05, until - now)):
                found = _answer(raw, src)
                if found is not None:
                    return found
        return Answer({}, "nobody answers" + (", but there are bytes of something else" if with_line.received_bytes else ""))
    except LinkError as exc:
        return Answer({}, f"the line {exc}")
    finally:
        with_line.close()


def _answer(raw: bytes, src: int) -> Answer | None:
    frame = protocol.decode(raw)
    if frame is None or frame.dst != src:
        return None
    if frame.type == FAILED:
        return Answer({}, f"a board refuses: {frame.payload.decode('utf-8', 'replace')}")
    if frame.type != MANIFEST:
        return None
    try:
        return Answer(protocol.unpack(frame.payload))
    except LinkError as exc:
        return Answer({}, str(exc))


NAMES = {int(getattr(protocol, n)): n for n in ("TICK", "HELLO", "MANIFEST", "LOAD", "DATA", "GET", "DONE", "FAILED", "BYE", "PING", "PONG")}


def told(raw: bytes) -> dict[str, Any] | None:
    """A frame for people: its kind, numbers and, where that is text, what it says. None when it is damaged."""
    frame = protocol.decode(raw)
    if frame is None:
        return None
    out: dict[str, Any] = {"type": NAMES.get(frame.type, f"topic {frame.type}" if frame.type < protocol.FIRST else f"type {frame.type}"),
                           "src": frame.src, "dst": frame.dst, "sequence": frame.sequence, "tick": frame.tick, "t_ns": frame.t_ns,
                           "bytes": len(frame.payload)}
    if frame.type == FAILED:
        out["says"] = frame.payload.decode("utf-8", "replace")
    if frame.type in (HELLO, MANIFEST):
        try:
            out["says"] = {k: v for k, v in protocol.unpack(frame.payload).items() if k not in ("token", "proof")}
        except LinkError as exc:
            out["says"] = str(exc)
    return out
