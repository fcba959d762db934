"""The messages inside a chunk whose checksum passed: by its message index if that is proved right, else by going through them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flightsw.log import mcap_format as mf

_HEADS = np.dtype({"names": ["op", "length", "channel"], "formats": ["u1", "<u8", "<u2"], "offsets": [0, 1, 9], "itemsize": 11})


@dataclass
class Chunk:
    """A chunk whose checksum passed. Offsets of messages are relative to its records."""

    at: int                      # of the Chunk record in the file
    end: int
    records: np.ndarray[Any, Any]  # uint8
    records_at: int              # of the records in the file; -1: they were compressed
    schemas: list[mf.Schema] = field(default_factory=list)
    channels: list[mf.Channel] = field(default_factory=list)
    offsets: dict[int, np.ndarray[Any, Any]] = field(default_factory=dict)   # channel: Message records, in file order
    lengths: dict[int, int] = field(default_factory=dict)    # channel: length of each of these records, -1: they differ
    own: tuple[int, int, int, int] | None = None             # run id, counter, records before it, records dropped before it

    @property
    def n(self) -> int:
        """Messages, without the chunk's own."""
        return sum(map(len, self.offsets.values())) - (self.own is not None)


def definitions(chunk: Chunk) -> int:
    """Read schemas and channels up to the first message; returns where that begins."""
    data, at = chunk.records.data, 0
    while at + 9 <= len(data):
        opcode, length = struct.unpack_from("<BQ", data, at)
        end = at + 9 + length
        if opcode == mf.MESSAGE:
            break
        if end > len(data):
            raise mf.Damaged
        if opcode == mf.SCHEMA:
            chunk.schemas.append(mf.parse_schema(data, at + 9, end))
        elif opcode == mf.CHANNEL:
            chunk.channels.append(mf.parse_channel(data, at + 9, end))
        at = end
    return at


def _heads(records: np.ndarray[Any, Any], offsets: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Opcode, length and channel of the records at these offsets."""
    windows: np.ndarray[Any, Any] = np.ndarray((len(records) - 10,), "V11", records.data, strides=(1,))
    heads: np.ndarray[Any, Any] = windows[offsets].view(_HEADS)
    return heads


def by_index(chunk: Chunk, indexes: dict[int, list[np.ndarray[Any, Any]]], first: int) -> bool:
    """Use the message index if it is exactly right, which is proved, not believed.

    Each entry must point to a Message of its channel, every record must end where another begins or the chunk ends, and
    the lengths must add up to the chunk: then the entries are all of its messages, once each.
    """
    size = len(chunk.records)
    if any(len(parts) > 1 for parts in indexes.values()):
        return False
    used = {channel: parts[0] for channel, parts in indexes.items() if len(parts[0])}
    if not used:
        return False
    counts = np.array([len(entries) for entries in used.values()], np.int64)
    offsets = np.concatenate([entries["offset"] for entries in used.values()]).astype(np.int64)
    if offsets.min() < 0 or offsets.max() > size - mf.MESSAGE_HEAD + 4:
        return False
    heads = _heads(chunk.records, offsets)
    lengths = heads["length"].astype(np.int64)
    if (heads["op"] != mf.MESSAGE).any() or (heads["channel"] != np.repeat(list(used), counts)).any():
        return False
    if lengths.min() < 22 or lengths.max() > size:
        return False
    ends = offsets + 9 + lengths
    starts = np.zeros(size + 1, bool)
    starts[offsets] = True
    begins = bool(starts[first])
    starts[size] = True
    if not begins or ends.max() > size or not starts[ends].all() or int(ends.sum() - offsets.sum()) != size - first:
        return False
    stops = np.cumsum(counts, dtype=np.int64)
    firsts = stops - counts
    rising = offsets[1:] > offsets[:-1]
    rising[firsts[1:] - 1] = True  # from one channel to the next it may fall
    if not rising.all():
        return False
    least, most = np.minimum.reduceat(lengths, firsts), np.maximum.reduceat(lengths, firsts)
    for channel, begin, stop, low, high in zip(used, firsts.tolist(), stops.tolist(), least.tolist(), most.tolist(), strict=True):
        chunk.offsets[channel] = offsets[begin:stop]
        chunk.lengths[channel] = low + 9 if low == high else -1
    _read_own(chunk, first)
    return True


def _put(chunk: Chunk, channel: int, offsets: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> None:
    chunk.offsets[channel] = offsets
    chunk.lengths[channel] = int(lengths[0]) + 9 if (lengths == lengths[0]).all() else -1


def by_scan(chunk: Chunk, first: int) -> bool:
    """Go through the records one by one."""
    chunk.offsets.clear()
    data, at, size = chunk.records.data, first, len(chunk.records)
    rows: list[tuple[int, int, int]] = []
    unpack = struct.Struct("<BQH").unpack_from
    while at < size:
        if at + 11 > size:
            return False
        opcode, length, channel = unpack(data, at)
        end = at + 9 + length
        if end > size or (opcode == mf.MESSAGE and length < 22):
            return False
        if opcode == mf.MESSAGE:
            rows.append((channel, at, length))
        else:
            try:
                if opcode == mf.SCHEMA:
                    chunk.schemas.append(mf.parse_schema(data, at + 9, end))
                elif opcode == mf.CHANNEL:
                    chunk.channels.append(mf.parse_channel(data, at + 9, end))
            except mf.Damaged:
                return False
        at = end
    table = np.array(rows, np.int64).reshape(-1, 3)
    for channel in np.unique(table[:, 0]).tolist():
        mine = table[table[:, 0] == channel]
        _put(chunk, channel, mine[:, 1].copy(), mine[:, 2])
    _read_own(chunk, first)
    return True


def _read_own(chunk: Chunk, first: int) -> None:
    """The chunk's own message, if its first message looks like one; whether it is one is known when the channels are."""
    data = chunk.records.data
    if len(data) >= first + mf.MESSAGE_HEAD + 32:
        opcode, length, channel = struct.unpack_from("<BQH", data, first)
        if opcode == mf.MESSAGE and length == 26 + 32 and channel == 0:
            chunk.own = struct.unpack_from("<QQQQ", data, first + mf.MESSAGE_HEAD)
