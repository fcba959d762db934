"""The frame layer written again from docs/link-format.md, with nothing else to hand: slow, plain, no import.

test_frames.py holds it against the C core. Section numbers are those of the page.
"""

from __future__ import annotations


def crc32c(data: bytes) -> int:
    """Section 2."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ 0x82F63B78 if register & 1 else register >> 1
    return register ^ 0xFFFFFFFF


FIELDS = {"version": 1, "type": 1, "src": 1, "dst": 1, "length": 2, "reserved": 2, "sequence": 4, "tick": 4, "t_ns": 8}  # bytes


def frame(values: dict[str, int], payload: bytes) -> bytes:
    """Section 1. Fields that are not named are zero, version and length right."""
    values = {"version": 1, "length": len(payload)} | values
    body = b"".join((values.get(name, 0) % 256**size).to_bytes(size, "little") for name, size in FIELDS.items()) + payload
    return body + crc32c(body).to_bytes(4, "little")


def cobs_encode(data: bytes) -> bytes:
    """Section 3."""
    out, at = b"", 0
    while True:
        run = data[at : at + 254].split(b"\0")[0]
        out += bytes([len(run) + 1]) + run
        at += len(run)
        if at == len(data):
            return out
        if len(run) < 254:
            at += 1


def stream(data: bytes) -> bytes:
    """Section 3: what is sent for one frame."""
    return b"\0" + cobs_encode(data) + b"\0"


def verdict(data: bytes) -> str:
    """Section 4: "good" or why not."""
    if len(data) < 28:
        return "short"
    if data[0] != 1:
        return "version"
    if int.from_bytes(data[4:6], "little") > 624 or len(data) != 28 + int.from_bytes(data[4:6], "little"):
        return "length"
    if crc32c(data[:-4]) != int.from_bytes(data[-4:], "little"):
        return "crc"
    return "reserved" if data[6:8] != b"\0\0" else "good"


COUNTERS = ("frames", "unsynced_bytes", "truncated", "overlong", "good", "short", "version", "length", "crc", "reserved")


class Receiver:
    """Sections 3 and 4: `feed` gives the good frames, `counters` says what became of everything."""

    def __init__(self) -> None:
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.state = "unsynced"
        self.decoded, self.code, self.left = b"", 0, 0

    def feed(self, data: bytes) -> list[bytes]:
        """Frames that these bytes complete."""
        return [found for byte in data if (found := self.byte(byte))]

    def byte(self, byte: int) -> bytes:
        """The frame that this byte completes, or nothing."""
        if byte == 0:
            return self.delimiter()
        if self.state == "unsynced":
            self.counters["unsynced_bytes"] += 1
        elif self.state != "skipping":
            self.inside(byte)
        return b""

    def delimiter(self) -> bytes:
        state, decoded, left = self.state, self.decoded, self.left
        self.state, self.decoded, self.code, self.left = "idle", b"", 0, 0
        if state != "inside":
            return b""
        if left:
            self.counters["truncated"] += 1
            return b""
        self.counters["frames"] += 1
        found = verdict(decoded)
        self.counters[found] += 1
        return decoded if found == "good" else b""

    def inside(self, byte: int) -> None:
        new = b""
        if self.left:
            new, self.left = bytes([byte]), self.left - 1
        else:
            if self.code not in (0, 255):
                new = b"\0"
            self.code, self.left = byte, byte - 1
        self.state = "inside"
        if len(self.decoded) + len(new) > 652:
            self.counters["overlong"] += 1
            self.state, self.left = "skipping", 0
            return
        self.decoded += new
