"""Finding what is sound in an MCAP file, however it ends and whatever happened to its bytes.

Trusted are chunks whose CRC-32 passes and that belong to this run, and nothing else: times, lengths and indexes outside are
hints that are checked against the records themselves. Where the chain of records breaks, the next sound record is searched.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flightsw.log import mcap_format as mf
from flightsw.log.chunk import Chunk, by_index, by_scan, definitions

CHUNK_TOPIC = "/log/chunk"
_START = re.compile(rb"[\x06\x09\x0c](?=[\s\S]{4}\x00\x00\x00\x00)")  # chunk, attachment or metadata of less than 4 GiB
_LONGEST = 1 << 40
_PARTS = ("metadata:", "attachment:")  # how the entries of the record "log" begin that list what else there is


@dataclass
class Scan:
    """What was found."""

    size: int
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    attachments: dict[str, bytes] = field(default_factory=dict)
    schemas: dict[int, mf.Schema] = field(default_factory=dict)
    channels: dict[int, mf.Channel] = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    closed: bool = False
    lost: bool = False           # messages are missing or may be
    parts_lost: bool = False     # metadata or attachments are missing or may be
    gaps: int = 0                # stretches of bytes that are no record
    loose: int = 0               # messages outside chunks


def scan(data: Any) -> Scan:
    """Examine a file's bytes (any buffer). Never raises for what the bytes are."""
    walk = _Walk(data)
    walk.run()
    _accept(walk)
    return walk.found


class _Walk:
    """Goes from record to record, and over what is damaged to the next sound one."""

    def __init__(self, data: Any) -> None:
        self.data, self.view, self.size = data, memoryview(data), len(data)
        self.found = Scan(self.size)
        self.candidates: list[Chunk] = []
        self.unchecked: dict[str, dict[str, str]] = {}  # metadata without a checksum
        self.library = ""
        self._indexes: dict[int, list[np.ndarray[Any, Any]]] = {}
        self._data_end: tuple[int, int] | None = None
        self._patience = 16 * self.size + (64 << 20)  # bytes that may be looked at in search of the next record

    @property
    def ours(self) -> bool:
        """Was it written by this software, which never leaves a checksum out?"""
        return "log" in self.found.metadata or self.library.startswith("flightsw")

    @property
    def ended(self) -> bool:
        """Was there a data end record?"""
        return self._data_end is not None

    def run(self) -> None:
        found = self.found
        at = len(mf.MAGIC)
        if bytes(self.view[:at]) != mf.MAGIC:
            found.problems.append("the file does not begin with the signature of MCAP")
        while self._data_end is None:
            try:
                at = self._record(at, strict=False)
            except mf.Damaged:
                after = self._resume(at)
                if after is None:
                    self._tail(at)
                    break
                found.problems.append(f"bytes {at} to {after} are not a sound record")
                found.gaps += 1
                found.parts_lost |= not self.candidates and "log" not in found.metadata  # which otherwise lists what there is
                at = after
        self._index_last()
        if self._data_end is not None:
            self._check_end(*self._data_end)

    def _record(self, at: int, strict: bool) -> int:
        """Take in the record at `at`, return where the next begins. strict: only one that its checksum proves."""
        if at + 9 > self.size:
            raise mf.Damaged
        opcode, length = struct.unpack_from("<BQ", self.view, at)
        start, end = at + 9, int(at + 9 + length)
        if length > _LONGEST or end > self.size:
            raise mf.Damaged
        if opcode == mf.CHUNK:
            self._chunk(at, start, end, strict)
        elif opcode == mf.METADATA:
            self._metadata(start, end, strict)
        elif opcode == mf.ATTACHMENT:
            self._attachment(start, end, strict)
        elif strict or opcode not in (mf.HEADER, mf.SCHEMA, mf.CHANNEL, mf.MESSAGE, mf.MESSAGE_INDEX, mf.DATA_END):
            raise mf.Damaged
        else:
            self._plain(opcode, at, start, end)
        return end

    def _plain(self, opcode: int, at: int, start: int, end: int) -> None:
        if opcode == mf.SCHEMA:
            schema = mf.parse_schema(self.view, start, end)
            self.found.schemas.setdefault(schema.id, schema)
        elif opcode == mf.CHANNEL:
            channel = mf.parse_channel(self.view, start, end)
            self.found.channels.setdefault(channel.id, channel)
        elif opcode == mf.MESSAGE_INDEX:
            number, entries = mf.parse_message_index(self.data, start, end)
            self._indexes.setdefault(number, []).append(entries)
        elif opcode == mf.MESSAGE:
            self.found.loose += 1
        elif opcode == mf.HEADER:
            c = mf.Cursor(self.view, start, end)
            c.text()
            self.library = c.text()
            c.done()
        else:
            if end - start != 4:
                raise mf.Damaged
            self._data_end = at, end

    def _metadata(self, start: int, end: int, strict: bool) -> None:
        name, values, sound = mf.parse_metadata(self.view, start, end, strict)
        if sound is None:
            self.unchecked.setdefault(name, values)
        elif not sound:
            self._unsound(f'metadata "{name}"')
        elif (name == "log" and self.candidates) or not self._is_ours("metadata", name, mf.metadata_crc(name, values), values):
            self.found.problems.append(f'metadata "{name}" of another log is not used')
        else:
            self.found.metadata.setdefault(name, values)

    def _attachment(self, start: int, end: int, strict: bool) -> None:
        name, content, sound = mf.parse_attachment(self.view, start, end)
        if not sound:
            if strict:
                raise mf.Damaged
            self._unsound(f'attachment "{name}"')
        elif not self._is_ours("attachment", name, zlib.crc32(content), {}):
            self.found.problems.append(f'attachment "{name}" of another log is not used')
        else:
            self.found.attachments.setdefault(name, content)

    def _unsound(self, what: str) -> None:
        self.found.parts_lost = True
        self.found.problems.append(f"{what}: its bytes differ from their checksum")

    def _is_ours(self, kind: str, name: str, crc: int, values: Mapping[str, str]) -> bool:
        """Is it the part that the record "log" lists, or one that names the same run? Blocks of another log may lie in the file."""
        log = self.found.metadata.get("log", {})
        listed = log.get(f"{kind}:{name}")
        if listed is not None:
            return listed == f"{crc:08x}"
        if "run_id" in values or any(k.startswith(_PARTS) for k in log):
            return values.get("run_id") == log.get("run_id", values.get("run_id"))
        return True

    def _chunk(self, at: int, start: int, end: int, strict: bool) -> None:
        head = mf.parse_chunk(self.view, start, end)
        content: Any = self.view[head.at : end]
        try:
            if head.compression:
                content = mf.decompress(head.compression, content, head.size)
            if head.crc == 0 or zlib.crc32(content) != head.crc:
                raise mf.Damaged
            records_at = -1 if head.compression else head.at
            chunk = Chunk(at, end, np.frombuffer(content, np.uint8), records_at)
            first = definitions(chunk)
        except (mf.Damaged, ValueError) as exc:
            if strict:
                raise mf.Damaged from None
            why = str(exc) or ("it carries no checksum" if head.crc == 0 else "its bytes differ from their checksum")
            self.found.problems.append(f"the chunk at byte {at} ({end - at} bytes) cannot be used: {why}")
            self.found.lost = True
            self._index_last()
            return
        self._index_last()
        self.candidates.append(chunk)
        self._first = first

    def _index_last(self) -> None:
        """Find the messages of the chunk before: by its index if that is right, else by going through them."""
        indexes, self._indexes = self._indexes, {}
        if not self.candidates or self.candidates[-1].offsets:
            return
        chunk = self.candidates[-1]
        if not by_index(chunk, indexes, self._first) and not by_scan(chunk, self._first):
            self.candidates.pop()
            self.found.lost = True
            self.found.problems.append(f"the chunk at byte {chunk.at} passes its checksum but does not consist of records")

    def _resume(self, at: int) -> int | None:
        """Where the next record begins that proves itself; None when there is none. It is not taken in yet.

        Bytes made to look like a great many records that reach to the end of the file could keep this busy for hours.
        """
        for match in _START.finditer(self.data, at + 1):
            if self._patience <= 0:
                self.found.problems.append(f"from byte {match.start()} on nothing more was searched: too much looks like a record")
                break
            try:
                self._probe(match.start())
            except mf.Damaged:
                continue
            return match.start()
        return None

    def _probe(self, at: int) -> None:
        """Raise Damaged unless a chunk, attachment or metadata record at `at` passes its checksum."""
        opcode, length = struct.unpack_from("<BQ", self.view, at)
        start, end = at + 9, at + 9 + length
        if end > self.size:
            raise mf.Damaged
        self._patience -= length
        if opcode == mf.METADATA:
            mf.parse_metadata(self.view, start, end, True)
        elif opcode == mf.ATTACHMENT:
            if not mf.parse_attachment(self.view, start, end)[2]:
                raise mf.Damaged
        else:
            head = mf.parse_chunk(self.view, start, end)
            content: Any = self.view[head.at : end]
            try:
                if head.compression:
                    content = mf.decompress(head.compression, content, head.size)
            except ValueError:
                raise mf.Damaged from None
            if head.crc == 0 or zlib.crc32(content) != head.crc:
                raise mf.Damaged

    def _tail(self, at: int) -> None:
        """The chain of records ends at `at`."""
        rest = self.size - at
        if rest <= 0:
            self.found.problems.append(f"the file ends after {self.size} bytes without an end record: it was not closed")
        elif not np.frombuffer(self.data, np.uint8, rest, at).any():
            self.found.problems.append(f"the file was not closed: from byte {at} on it holds {rest} zeros")
        else:
            self.found.problems.append(f"the file was not closed: its last {rest} bytes, from byte {at} on, are no record")

    def _check_end(self, at: int, end: int) -> None:
        """Data end record: does its checksum hold, and does a sound summary follow?"""
        found = self.found
        crc = struct.unpack_from("<I", self.view, at + 9)[0]
        if (crc or self.ours) and zlib.crc32(self.view[:at]) != crc:
            found.problems.append("the checksum over the whole data section does not hold: something in it was changed")
        foot = self.size - mf.FOOTER_SIZE - len(mf.MAGIC)
        if foot < end or bytes(self.view[self.size - len(mf.MAGIC) :]) != mf.MAGIC or self.view[foot] != mf.FOOTER:
            found.problems.append("the summary at the end of the file is missing or not whole")
            return
        length, summary, offsets, crc = struct.unpack_from("<QQQI", self.view, foot + 1)
        start = summary or foot
        if length != 20 or not end <= start <= foot or not (offsets == 0 or start <= offsets <= foot):
            found.problems.append("the footer of the file is damaged")
        elif (crc or self.ours) and zlib.crc32(self.view[start : self.size - len(mf.MAGIC) - 4]) != crc:
            found.problems.append("the summary at the end of the file is damaged")
        else:
            found.closed = True
            self._summary_definitions(start, foot)

    def _summary_definitions(self, at: int, end: int) -> None:
        try:
            while at + 9 <= end:
                opcode, length = struct.unpack_from("<BQ", self.view, at)
                if length > end - at - 9:
                    raise mf.Damaged
                if opcode in (mf.SCHEMA, mf.CHANNEL):
                    self._plain(opcode, at, at + 9, at + 9 + length)
                at += 9 + length
        except mf.Damaged:
            self.found.problems.append("the summary at the end of the file is damaged")


# ---- which chunks belong to the run -------------------------------------------------------------------------------------


def _accept(walk: _Walk) -> None:
    """Keep the chunks of this run in order, merge their definitions, say what is missing."""
    found, candidates = walk.found, walk.candidates
    ours = walk.ours or any(c.topic == CHUNK_TOPIC for k in candidates for c in k.channels)
    if not ours:
        for chunk in candidates:
            chunk.own = None
        found.chunks = candidates
        found.metadata = {**walk.unchecked, **found.metadata}
        found.lost |= found.gaps > 0 or not walk.ended
        _merge(found)
        return
    for name in walk.unchecked:
        found.parts_lost = True
        found.problems.append(f'metadata "{name}" carries no checksum')
    _missing_parts(found)
    run = _run_id(found, candidates)
    taken: dict[int, Chunk] = {}
    for chunk in candidates:
        if chunk.own is None or chunk.own[0] != run:
            found.problems.append(f"the chunk at byte {chunk.at} belongs to another log and is not used")
            found.lost = True
        elif chunk.own[1] in taken:
            found.problems.append(f"the chunk at byte {chunk.at} has the number {chunk.own[1]} a second time and is not used")
        else:
            taken[chunk.own[1]] = chunk
    found.chunks = [taken[k] for k in sorted(taken)]
    _missing(found)
    _merge(found)


def _run_id(found: Scan, candidates: list[Chunk]) -> int:
    try:
        return int(found.metadata["log"]["run_id"], 16)
    except (KeyError, ValueError):
        counts = Counter(k.own[0] for k in candidates if k.own is not None)
        return counts.most_common(1)[0][0] if counts else 0


def _missing_parts(found: Scan) -> None:
    """Compare metadata and attachments with the list in the record "log"."""
    for kind, here in (("metadata", found.metadata), ("attachment", found.attachments)):
        names = [k.partition(":")[2] for k in found.metadata.get("log", {}) if k.startswith(kind + ":")]
        gone = [f'"{n}"' for n in names if n not in here]
        if gone:
            found.parts_lost = True
            found.problems.append(f"missing {kind}: {', '.join(gone)}")


def _missing(found: Scan) -> None:
    """Compare the chunks' own counters, and those of the end of the log, with what is there."""
    expected, records = 0, 0
    end = found.metadata.get("log_end", {})
    stops = [(c.own[1], c.own[2]) for c in found.chunks if c.own is not None]
    counts = [c.n for c in found.chunks]
    try:
        final = [(int(end["chunks"]), int(end["records"]))] if end else []
        dropped = int(end.get("dropped", "0"))
    except (KeyError, ValueError):
        final, dropped = [], 0
    for k, (number, before) in enumerate(stops + final):
        if number > expected:
            which = f"chunk {expected}" if number == expected + 1 else f"chunks {expected} to {number - 1}"
            verb = "is" if number == expected + 1 else "are"
            found.problems.append(f"{which} of the log {verb} missing: {before - records} messages")
            found.lost = True
        expected, records = number + 1, before + (counts[k] if k < len(counts) else 0)
    if found.chunks and not final:
        own = found.chunks[-1].own
        dropped = own[3] if own is not None else 0
    if dropped:
        found.problems.append(f"{dropped} messages were dropped while recording")
        found.lost = True
    if not end:
        found.lost = True
        total = sum(counts)
        found.problems.append(f"the log has no end: {len(found.chunks)} chunks with {total} messages are whole, "
                              "how many followed is not known")
    elif end.get("complete") != "true":
        found.problems.append(end.get("reason", "the run was broken off before its end"))


def _merge(found: Scan) -> None:
    """Definitions: those in sound chunks count before those outside. A contradiction is told."""
    for kind, inside in (("schemas", [s for c in found.chunks for s in c.schemas]),
                         ("channels", [s for c in found.chunks for s in c.channels])):
        _merge_kind(found, kind, inside)
    used = {c for k in found.chunks for c in k.offsets}
    unknown = sorted(c for c in used if c not in found.channels or (
        found.channels[c].schema_id and found.channels[c].schema_id not in found.schemas))
    if unknown:
        found.lost = True
        numbers = ", ".join(map(str, unknown))
        found.problems.append(f"the definitions of channels {numbers} are lost: their messages cannot be read")
    if found.loose:
        found.problems.append(f"{found.loose} messages stand outside chunks, without a checksum, and are not read")


def _merge_kind(found: Scan, kind: str, inside: Iterable[Any]) -> None:
    outside: dict[int, Any] = getattr(found, kind)
    merged: dict[int, Any] = {}
    for item in inside:
        if merged.setdefault(item.id, item) != item:
            found.problems.append(f"two different {kind} have the number {item.id}; the first is used")
    setattr(found, kind, {**outside, **merged})
