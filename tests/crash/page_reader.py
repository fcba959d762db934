"""A reader of logs written from docs/log-format.md alone: nothing of flightsw is imported, nor any library that reads MCAP.

It believes nothing: every statement of that page about the bytes of a whole log is checked, and AssertionError says which is
not true.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

MAGIC = bytes.fromhex("894D434150300D0A")
SCALARS = {"int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
           "float32": "f", "float64": "d"}


class Bytes:
    """A piece of bytes, read from its start on; numbers are little-endian."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        assert self.at + n <= len(self.data), "a length goes beyond the record"
        self.at += n
        return self.data[self.at - n : self.at]

    def u(self, bits: int) -> int:
        return int.from_bytes(self.take(bits // 8), "little")

    def str(self) -> str:
        return self.take(self.u(32)).decode("utf-8")

    def map(self) -> dict[str, str]:
        inner, out = Bytes(self.take(self.u(32))), {}
        while inner.at < len(inner.data):
            key = inner.str()
            out[key] = inner.str()
        return out

    def done(self) -> None:
        assert self.at == len(self.data), "a record is longer than its content"


@dataclass
class Message:
    """t: log time, ns. values: field to number or tuple of numbers. payload: without encapsulation."""

    channel: int
    sequence: int
    t: int
    payload: bytes
    at: int  # of its record in the chunk's records


@dataclass
class Page:
    """What is in a log."""

    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    attachments: dict[str, bytes] = field(default_factory=dict)
    schemas: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    channels: dict[int, tuple[int, str, str, dict[str, str]]] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)  # in the order of the file, without those of channel 0
    keyframes: list[tuple[int, int, str, bytes]] = field(default_factory=list)
    chunk_sizes: list[int] = field(default_factory=list)   # bytes of Chunk and MessageIndex records
    summary: dict[str, Any] = field(default_factory=dict)

    def topic(self, name: str) -> list[tuple[int, int, dict[str, Any]]]:
        """(log time, sequence, fields) of each message of a topic."""
        number, = (c for c, (_, topic, _, _) in self.channels.items() if topic == name)
        text = self.schemas[self.channels[number][0]][2]
        return [(m.t, m.sequence, fields(text, m.payload)) for m in self.messages if m.channel == number]


def fields(definition: str, payload: bytes) -> dict[str, Any]:
    """Section 2: each field at the next multiple of its own size."""
    out, at = {}, 0
    for line in definition.splitlines():
        kind, name = line.split()
        base, _, count = kind.partition("[")
        letter = SCALARS[base]
        size = struct.calcsize("<" + letter)
        at = -(-at // size) * size
        n = int(count[:-1]) if count else 1
        values = struct.unpack_from(f"<{n}{letter}", payload, at)
        out[name] = values if count else values[0]
        at += n * size
    assert at == len(payload), "a message has padding that its definition does not name"
    return out


def records(data: bytes, start: int, end: int) -> list[tuple[int, int, Bytes]]:
    """(opcode, offset, content) of the records in a stretch."""
    out, at = [], start
    while at < end:
        length = int.from_bytes(data[at + 1 : at + 9], "little")
        assert at + 9 + length <= end, "a record goes beyond what it is in"
        out.append((data[at], at, Bytes(data[at + 9 : at + 9 + length])))
        at += 9 + length
    return out


def read(data: bytes) -> Page:
    """Sections 1 to 5: a whole log."""
    page = Page()
    assert data[:8] == data[-8:] == MAGIC
    foot = Bytes(data[-37:-8])
    assert foot.u(8) == 2 and foot.u(64) == 20
    summary, offsets, crc = foot.u(64), foot.u(64), foot.u(32)
    assert crc == zlib.crc32(data[summary:-12])
    front = records(data, 8, summary)
    order = bytes(op for op, _, _ in front)
    _check_order(order, page)
    for op, at, content in front:
        before = content.data
        if op == 1:
            assert content.str() == "ros2" and content.str().startswith("flightsw ")
        elif op == 0x0C:
            name, values = content.str(), content.map()
            _check_metadata(before, name, values)
            page.metadata[name] = values
        elif op == 9:
            _attachment(content, page)
        elif op == 0x0F:
            assert content.u(32) == zlib.crc32(data[:at])
        elif op == 6:
            _chunk(content, at, page)
        if op in (1, 9, 0x0C, 0x0F):
            content.done()
    _check_indexes(front, page)
    _check_manifest(page)
    _summary(data, summary, offsets, page)
    _check_end(page)
    _check_inputs(page)
    return page


def _check_order(order: bytes, page: Page) -> None:
    """Section 1: what stands in which order."""
    assert order[0] == 1 and order[1] == 0x0C and order[-1] == 0x0F
    first, last = order.index(6), order.rindex(6)
    header = order[1:first]
    assert header == bytes(sorted(header, reverse=True)), "metadata, then attachments, then chunks"
    tail = order[last:].lstrip(b"\x06").lstrip(b"\x07")
    assert tail.rstrip(b"\x0f") == b"\x0c" * (len(tail) - 1), "behind the last chunk there is metadata, then DataEnd"
    assert set(order[first:last]) <= {6, 7}, "between chunks there are only their indexes"


def _check_metadata(raw: bytes, name: str, values: dict[str, str]) -> None:
    """Section 5: the last entry is a checksum over name and the other entries."""
    key = list(values)[-1]
    assert key == "flightsw.crc32"
    stated = values.pop(key)
    head = 4 + len(name.encode())
    body = raw[head + 4 : len(raw) - (4 + len(key) + 4 + 8)]
    assert stated == f"{zlib.crc32(raw[:head] + struct.pack('<I', len(body)) + body):08x}"


def _attachment(content: Bytes, page: Page) -> None:
    assert content.u(64) == content.u(64) == 0
    name, media = content.str(), content.str()
    page.attachments[name] = content.take(content.u(64))
    assert zlib.crc32(content.data[: content.at]) == content.u(32)
    known = {"layout": "application/json", "config": "text/plain"}
    assert media == known.get(name.split("/")[0], "application/octet-stream")


def _chunk(content: Bytes, at: int, page: Page) -> None:
    """Section 3."""
    start, end, size, crc = content.u(64), content.u(64), content.u(64), content.u(32)
    assert content.str() == "" and content.u(64) == size and size == len(content.data) - 40
    inside = content.take(size)
    assert crc == zlib.crc32(inside)
    messages, definitions = [], []
    for op, offset, record in records(inside, 0, size):
        if op == 5:
            messages.append(_message(record, offset))
        else:
            assert not messages, "definitions stand first"
            definitions.append((op, record))
    number = len(page.chunk_sizes)
    assert bool(definitions) == (number % 8 == 0)
    for op, record in definitions:
        _definition(op, record, page)
    own = messages.pop(0)
    run, counter, before, dropped = struct.unpack("<QQQQ", own.payload)
    assert (own.channel, own.t, own.sequence) == (0, start, number) and counter == number and before == len(page.messages)
    assert f"{run:016x}" == page.metadata["log"]["run_id"]
    assert dropped == 0 and (start, end) == (min(m.t for m in messages), max(m.t for m in messages))
    keyframe = {m.channel for m in messages} == {1}
    assert keyframe or 1 not in {m.channel for m in messages}, "a keyframe has a chunk of its own"
    if keyframe:
        _keyframe(messages, page)
    page.messages += messages
    page.chunk_sizes.append(9 + len(content.data))
    page.summary.setdefault("chunks", []).append([start, end, at, 9 + len(content.data), [own, *messages], size])


def _message(record: Bytes, offset: int) -> Message:
    """Section 2."""
    channel, sequence, t, published = record.u(16), record.u(32), record.u(64), record.u(64)
    assert t == published and record.take(4) == b"\0\1\0\0"
    return Message(channel, sequence, t, record.take(len(record.data) - record.at), offset)


def _definition(op: int, record: Bytes, page: Page) -> None:
    number = record.u(16)
    if op == 3:
        schema = (record.str(), record.str(), record.take(record.u(32)).decode())
        assert page.schemas.setdefault(number, schema) == schema and number >= 1 and schema[1] == "ros2msg"
    else:
        assert op == 4
        channel = (record.u(16), record.str(), record.str(), record.map())
        assert page.channels.setdefault(number, channel) == channel and channel[0] in page.schemas and channel[2] == "cdr"
    record.done()


def _keyframe(messages: list[Message], page: Page) -> None:
    """Section 4."""
    names = []
    for m in messages:
        frame = Bytes(m.payload)
        tick, digest = struct.unpack("<qQ", frame.take(16))
        name = frame.take(frame.u(32))
        assert name.endswith(b"\0") and frame.take(-frame.at % 4).strip(b"\0") == b""
        image = frame.take(frame.u(32))
        frame.done()
        assert m.t == tick * int(page.metadata["log"]["base_tick_ns"])
        names.append(name[:-1].decode())
        page.keyframes.append((tick, digest, names[-1], image))
    assert names[-1] == "" and len(set(names)) == len(names) and page.keyframes[-1][1] == 0


def _check_indexes(front: list[tuple[int, int, Bytes]], page: Page) -> None:
    """Section 1: behind each chunk a MessageIndex per channel, whose entries point to its messages."""
    k = -1
    for op, at, content in front:
        if op == 6:
            k += 1
            place = page.summary["chunks"][k]
            place.append({})
        elif op == 7:
            channel, length = content.u(16), content.u(32)
            entries = [struct.unpack("<QQ", content.take(16)) for _ in range(length // 16)]
            content.done()
            assert entries == [(m.t, m.at) for m in place[4] if m.channel == channel]
            place[6][channel] = (at, 9 + len(content.data))
            page.chunk_sizes[k] += 9 + len(content.data)
    for place in page.summary["chunks"]:
        assert set(place[6]) == {m.channel for m in place[4]}


def _check_manifest(page: Page) -> None:
    """Section 5: the record "log" lists the others by checksum; those written at the end name the run."""
    log = page.metadata["log"]
    assert next(iter(page.metadata)) == "log" and log["format_version"] == "1"
    listed = {k: v for k, v in log.items() if ":" in k}
    for name, data in page.attachments.items():
        assert listed.pop(f"attachment:{name}") == f"{zlib.crc32(data):08x}"
    for name, values in page.metadata.items():
        if f"metadata:{name}" in listed:
            body = b"".join(struct.pack("<I", len(t)) + t for pair in values.items() for t in map(str.encode, pair))
            head = struct.pack("<I", len(name.encode())) + name.encode()
            assert listed.pop(f"metadata:{name}") == f"{zlib.crc32(head + struct.pack('<I', len(body)) + body):08x}"
        else:
            assert name == "log" or next(iter(values.items())) == ("run_id", log["run_id"])
    assert not listed
    assert set(log) - {"format_version", "run_id", "base_tick_ns"} == {k for k in log if k.startswith(("metadata:", "attachment:"))}


def _summary(data: bytes, start: int, offsets: int, page: Page) -> None:
    """Section 1: the summary."""
    groups: list[tuple[int, int, int]] = []
    for op, at, content in records(data, start, offsets):
        if not groups or groups[-1][0] != op:
            groups.append((op, at, 0))
        groups[-1] = (op, groups[-1][1], at + 9 + len(content.data) - groups[-1][1])
        if op in (3, 4):
            _definition(op, content, page)
            page.summary[f"definitions {op}"] = page.summary.get(f"definitions {op}", 0) + 1
        elif op == 0x0B:
            _statistics(content, page)
        elif op == 8:
            _chunk_index(content, page)
        elif op == 0x0A:
            place, length = content.u(64), content.u(64)
            assert content.u(64) == content.u(64) == 0
            size, name, _ = content.u(64), content.str(), content.str()
            assert data[place] == 9 and size == len(page.attachments[name])
            assert length == 9 + int.from_bytes(data[place + 1 : place + 9], "little")
        elif op == 0x0D:
            place, length, name = content.u(64), content.u(64), content.str()
            assert data[place] == 0x0C and length == 9 + int.from_bytes(data[place + 1 : place + 9], "little")
            assert name in page.metadata
        content.done()
    found = [(c.u(8), c.u(64), c.u(64)) for op, _, c in records(data, offsets, len(data) - 37) if op == 0x0E or not op]
    assert found == groups and [op for op, _, _ in groups] == [op for op in (3, 4, 0x0B, 8, 0x0A, 0x0D) if op in dict.fromkeys(
        op for op, _, _ in groups)]
    assert page.summary["definitions 3"] == len(page.schemas) and page.summary["definitions 4"] == len(page.channels)
    assert page.summary["index"] == len(page.summary["chunks"])


def _statistics(content: Bytes, page: Page) -> None:
    chunks = page.summary["chunks"]
    every = [m for place in chunks for m in place[4]]
    assert content.u(64) == len(every) and content.u(16) == len(page.schemas) and content.u(32) == len(page.channels)
    assert content.u(32) == len(page.attachments) and content.u(32) == len(page.metadata) and content.u(32) == len(chunks)
    assert (content.u(64), content.u(64)) == (min(c[0] for c in chunks), max(c[1] for c in chunks))
    counts = {}
    for _ in range(content.u(32) // 10):
        channel = content.u(16)
        counts[channel] = content.u(64)
    assert counts == {c: sum(m.channel == c for m in every) for c in {m.channel for m in every}}


def _chunk_index(content: Bytes, page: Page) -> None:
    k = page.summary.get("index", 0)
    page.summary["index"] = k + 1
    start, end, at, length, _, size, indexes = page.summary["chunks"][k]
    assert [content.u(64) for _ in range(4)] == [start, end, at, length]
    pairs = {}
    for _ in range(content.u(32) // 10):
        channel = content.u(16)
        pairs[channel] = content.u(64)
    assert pairs == {c: place for c, (place, _) in indexes.items()}
    assert content.u(64) == sum(n for _, n in indexes.values()) and content.str() == "" and content.u(64) == content.u(64) == size


def _check_end(page: Page) -> None:
    """Sections 2, 4 and 5: channels, sequence numbers, and what log_end says."""
    end = page.metadata["log_end"]
    assert list(page.metadata)[-1] == "log_end" and end["complete"] == "true" and end["dropped"] == "0"
    assert int(end["chunks"]) == len(page.chunk_sizes) and int(end["records"]) == len(page.messages)
    assert page.channels[0][1] == "/log/chunk" and page.channels[1][1] == "/bench/keyframe" and page.channels[0][0] == 1
    assert page.schemas[1][0] == "flightsw/msg/LogChunk" and page.schemas[2][0] == "flightsw/msg/Keyframe"
    assert sorted(page.channels) == list(range(len(page.channels)))
    for number, (schema, topic, _, more) in page.channels.items():
        if number >= 2:
            assert topic == f"/{more['node']}/{more['topic']}" and set(more) == {"node", "topic", "type", "type_hash", "every"}
            assert len(more["type_hash"]) == 16 and page.schemas[schema][0].split("/")[:2] in (["flightsw", "msg"], ["user", "msg"])
            seen = [m.sequence for m in page.messages if m.channel == number]
            assert seen == [1 + k * int(more["every"]) for k in range(len(seen))]
    for name in page.attachments:
        if name.startswith("layout/"):
            json.loads(page.attachments[name])
            assert page.attachments["blob/" + name[7:]]


def _check_inputs(page: Page) -> None:
    """Section 2: the digests of what entered a flight computer in each tick."""
    base = int(page.metadata["log"]["base_tick_ns"])
    for number, (_, _, _, more) in page.channels.items():
        if more.get("topic") != "_inputs":
            continue
        topics = json.loads(page.attachments["layout/" + more["node"]])["topics"]
        place = {t["name"]: i for i, t in enumerate(topics) if t["writer"] is None} | {"_skips": 65534}
        entering = {c: place[m["topic"]] for c, (_, _, _, m) in page.channels.items()
                    if m.get("node") == more["node"] and m["topic"] in place}
        digests: dict[int, int] = {}
        for m in page.messages:
            if m.channel in entering:
                h = _stir(digests.get(m.t // base, 0), (entering[m.channel] + 1 << 32) + m.sequence)
                for at in range(0, len(m.payload), 8):
                    h = _stir(h, int.from_bytes(m.payload[at : at + 8], "little"))
                digests[m.t // base] = h or 1
        stated: dict[int, int] = {}
        for m in (m for m in page.messages if m.channel == number):
            first, *values = struct.unpack("<q64Q", m.payload)
            assert first % 64 == 0 and m.sequence == first // 64 + 1 and first <= m.t // base < first + 64
            assert m.t // base == min(first + 63, page.keyframes[-1][0] - 1)
            stated |= {first + k: h for k, h in enumerate(values) if h}
        assert stated == digests
        page.summary["ticks with inputs"] = len(digests)


def _stir(h: int, word: int) -> int:
    h = (h ^ word) * 0x9E3779B185EBCA87 & 0xFFFFFFFFFFFFFFFF
    return h ^ h >> 29
