"""Reading a log: every topic as one numpy structured array, no Python per message.

A log opens however it ends; `complete` and `problems` say what is missing. What is returned passed its checksum.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from flightsw.errors import LogError
from flightsw.graph import Snapshot
from flightsw.log import mcap_format as mf
from flightsw.log.chunk import Chunk
from flightsw.log.scan import scan
from flightsw.log.writer import CHUNK_TOPIC, FORMAT_VERSION, KEYFRAME_TOPIC, parse_keyframe
from flightsw.params import suggestion

_SCALARS = {"int8": "i1", "uint8": "u1", "byte": "u1", "char": "u1", "bool": "u1", "int16": "<i2", "uint16": "<u2",
            "int32": "<i4", "uint32": "<u4", "int64": "<i8", "uint64": "<u8", "float32": "<f4", "float64": "<f8"}
_FIELD = re.compile(r"(\w+)(?:\[(\d+)\])?\s+(\w+)\s*")
_ROW = 24  # bytes in front of the payload in an array returned: time 0-7, sequence 8-11
_FROM = 11  # a row is read from this byte of the record on: sequence, two times, encapsulation, payload


@lru_cache(maxsize=256)
def schema_dtype(schema: str) -> np.dtype[Any]:
    """numpy dtype of a ros2msg definition with numbers and fixed arrays only. Raises ValueError for any other."""
    names, formats, offsets, at, widest = [], [], [], 0, 1
    for line in schema.splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        match = _FIELD.fullmatch(line)
        if match is None or match[1] not in _SCALARS:
            raise ValueError(line)
        base = np.dtype(_SCALARS[match[1]])
        at = -(-at // base.itemsize) * base.itemsize
        widest = max(widest, base.itemsize)
        dtype = np.dtype((base, (int(match[2]),))) if match[2] else base
        names.append(match[3])
        formats.append(dtype)
        offsets.append(at)
        at += dtype.itemsize
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": at})


@dataclass(frozen=True)
class Records:
    """All Message records of one channel: `offsets` (n, file order) into `data` (uint8), each `length` bytes long."""

    channel: mf.Channel
    data: np.ndarray[Any, Any]
    offsets: np.ndarray[Any, Any]
    length: int

    def rows(self, first: int = 0, last: int | None = None) -> np.ndarray[Any, Any]:
        """Bytes of records from the sequence number to the end, as void scalars: equal rows are equal messages."""
        return rows_of(self.data, self.offsets[first:last], self.length)

    def times(self) -> np.ndarray[Any, Any]:
        """Log times, ns."""
        return _numbers(self.data, self.offsets + 15, "<i8")


def _numbers(data: np.ndarray[Any, Any], places: np.ndarray[Any, Any], kind: str) -> np.ndarray[Any, Any]:
    """One number at each place of a uint8 array."""
    width = np.dtype(kind).itemsize
    if len(places) == 0:
        return np.zeros(0, kind)
    windows: np.ndarray[Any, Any] = np.ndarray((len(data) - width + 1,), f"V{width}", data.data, strides=(1,))
    out: np.ndarray[Any, Any] = windows[places].view(kind)
    return out


def rows_of(data: np.ndarray[Any, Any], offsets: np.ndarray[Any, Any], length: int) -> np.ndarray[Any, Any]:
    """Rows (void scalars of length - 11 bytes) of the records at these offsets of a uint8 array."""
    size = length - _FROM
    if len(offsets) == 0:
        return np.zeros(0, f"V{size}")
    windows: np.ndarray[Any, Any] = np.ndarray((len(data) - size + 1,), f"V{size}", data.data, strides=(1,))
    out: np.ndarray[Any, Any] = windows[offsets + _FROM]
    return out


def row_dtype(message: np.dtype[Any]) -> np.dtype[Any]:
    """dtype of what `Log` returns for a message dtype: log_t_ns, log_seq, then the message's fields."""
    assert message.fields is not None
    fields = message.fields
    names = list(message.names or ())
    return np.dtype({"names": ["log_t_ns", "log_seq", *names], "formats": ["<i8", "<u4", *(fields[n][0] for n in names)],
                     "offsets": [0, 8, *(_ROW + fields[n][1] for n in names)], "itemsize": _ROW + message.itemsize})


def find_log(path: Path | str) -> Path:
    """The log that a path means: a file, or a run directory with flight.mcap in it. Raises LogError."""
    path = Path(path)
    if path.is_dir():
        path = path / "flight.mcap"
    if not path.is_file():
        raise LogError(f"{path}: there is no such log")
    return path


class Log:
    """A log opened for reading.

    topics: name ("/node/topic") to number of messages. `log[name]`: structured array (n,) with log_t_ns, log_seq and the
    message's fields. metadata, attachments: by name. complete: closed properly, nothing missing or damaged. problems: sentences
    about what is.
    """

    def __init__(self, path: Path, data: Any) -> None:
        self.path = path
        found = scan(data)
        self._found = found
        self.metadata, self.attachments = found.metadata, found.attachments
        self.problems = [f"{path}: {p}" for p in found.problems]
        self.lost = found.lost
        self.size_bytes = found.size
        self.complete = found.closed and not found.lost and not found.problems
        self._channels = {c.topic: c for c in found.channels.values()}
        self._data, self._bases = _arena(data, found.chunks)
        counts: dict[int, int] = {}
        for chunk in found.chunks:
            for channel, offsets in chunk.offsets.items():
                counts[channel] = counts.get(channel, 0) + len(offsets)
        self.topics = {c.topic: counts.get(c.id, 0) for c in sorted(found.channels.values(), key=lambda c: c.id)
                       if c.topic not in (CHUNK_TOPIC, KEYFRAME_TOPIC)}
        self._arrays: dict[str, np.ndarray[Any, Any]] = {}
        self._range: tuple[int, int] | None = None

    @classmethod
    def open(cls, path: Path | str) -> Log:
        """Open a log file, or the flight.mcap of a run directory.

        Damage is no error: see `problems`. Raises LogError when it is no MCAP file at all or cannot be read.
        """
        path = find_log(path)
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                data: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except OSError as exc:
            raise LogError(f"{path}: cannot be read: {exc.strerror}") from None
        log = cls(path, data)
        begins = bytes(data[: len(mf.MAGIC)])
        if not mf.MAGIC.startswith(begins) and not log._found.chunks and not log.attachments and not log.metadata:
            raise LogError(f"{path}: is not a log: it neither begins like an MCAP file nor holds any chunk of one")
        version = log.metadata.get("log", {}).get("format_version", str(FORMAT_VERSION))
        if version != str(FORMAT_VERSION):
            raise LogError(f"{path}: is a log of format version {version}, this software reads version {FORMAT_VERSION}")
        return log

    @property
    def base_tick_ns(self) -> int:
        """Base tick of the run, ns; 0 when the log does not say."""
        text = self.metadata.get("log", {}).get("base_tick_ns", "")
        return int(text) if text.isdigit() else 0

    @property
    def start_ns(self) -> int:
        """Time of the first message, ns; 0 in an empty log."""
        return self._times()[0]

    @property
    def end_ns(self) -> int:
        """Time of the last message, ns; 0 in an empty log."""
        return self._times()[1]

    @property
    def duration_ns(self) -> int:
        """From the first to the last message, ns."""
        return self.end_ns - self.start_ns

    @property
    def data(self) -> np.ndarray[Any, Any]:
        """Bytes (uint8) that record offsets refer to: the file itself unless its chunks are compressed."""
        return self._data

    @property
    def n_chunks(self) -> int:
        """Chunks that can be read."""
        return len(self._found.chunks)

    def _times(self) -> tuple[int, int]:
        if self._range is None:
            ends = [(int(t.min()), int(t.max())) for t in (self._gather(c).times() for c, n in self.topics.items() if n)]
            self._range = (min(a for a, _ in ends), max(b for _, b in ends)) if ends else (0, 0)
        return self._range

    def __contains__(self, topic: str) -> bool:
        return _name(topic) in self.topics

    def channel(self, topic: str) -> mf.Channel:
        """Channel record of a topic. LogError when the log has none."""
        name = _name(topic)
        if name not in self.topics:
            raise LogError(f'{self.path}: there is no topic "{name}" in it{suggestion(name, self.topics)}')
        return self._channels[name]

    def schema(self, topic: str) -> mf.Schema:
        """Schema record of a topic. LogError when the log has none."""
        channel = self.channel(topic)
        if channel.schema_id not in self._found.schemas:
            raise LogError(f'{self.path}: the definition of topic "{channel.topic}" is lost')
        return self._found.schemas[channel.schema_id]

    def _gather(self, topic: str) -> Records:
        channel = self._channels[topic]
        lengths = {c.lengths[channel.id] for c in self._found.chunks if channel.id in c.offsets}
        parts = [c.offsets[channel.id] + base for c, base in zip(self._found.chunks, self._bases, strict=True)
                 if channel.id in c.offsets]
        offsets = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        return Records(channel, self._data, offsets, lengths.pop() if len(lengths) == 1 else -1)

    def dtype(self, topic: str) -> np.dtype[Any]:
        """dtype of a topic's message, without time and sequence. LogError when it has no fixed layout."""
        schema = self.schema(topic)
        if schema.encoding != "ros2msg" or self.channel(topic).encoding != "cdr":
            raise LogError(f'{self.path}: topic "{_name(topic)}" is encoded as {self.channel(topic).encoding} with a '
                           f"{schema.encoding} definition; arrays are made of cdr with ros2msg")
        try:
            return schema_dtype(schema.data.decode())
        except (ValueError, UnicodeDecodeError) as exc:
            raise LogError(f'{self.path}: topic "{_name(topic)}" has no fixed layout ({exc})') from None

    def records(self, topic: str) -> Records:
        """Message records of a topic with a fixed layout. LogError when there are none of that name or layout."""
        dtype = self.dtype(topic)
        out = self._gather(_name(topic))
        if len(out.offsets) and out.length != mf.MESSAGE_HEAD + dtype.itemsize:
            raise LogError(f'{self.path}: messages of topic "{_name(topic)}" do not have the {dtype.itemsize} bytes '
                           "of their definition")
        return Records(out.channel, out.data, out.offsets, mf.MESSAGE_HEAD + dtype.itemsize)

    def __getitem__(self, topic: str) -> np.ndarray[Any, Any]:
        name = _name(topic)
        if name not in self._arrays:
            records = self.records(name)
            self._arrays[name] = _array(records, row_dtype(self.dtype(name)), self.path)
        return self._arrays[name]

    def keyframes(self) -> Iterator[tuple[Snapshot, dict[str, int]]]:
        """Recorded snapshots with the digests of their images, in time order."""
        if KEYFRAME_TOPIC not in self._channels:
            return
        number = self._channels[KEYFRAME_TOPIC].id
        frames: dict[int, dict[str, tuple[int, bytes]]] = {}
        for chunk in self._found.chunks:
            for at in chunk.offsets.get(number, np.zeros(0, np.int64)).tolist():
                length = int.from_bytes(chunk.records[at + 1 : at + 9].tobytes(), "little")
                try:
                    tick, digest, node, image = parse_keyframe(chunk.records[at + mf.MESSAGE_HEAD : at + 9 + length].tobytes())
                except mf.Damaged:
                    raise LogError(f"{self.path}: a keyframe in it has another layout") from None
                frames.setdefault(tick, {})[node] = (digest, image)
        for tick in sorted(frames):
            nodes = {n: v for n, v in frames[tick].items() if n}
            yield (Snapshot(tick, {n: v[1] for n, v in nodes.items()}, frames[tick].get("", (0, b""))[1]),
                   {n: v[0] for n, v in nodes.items()})


def _name(topic: str) -> str:
    """"/node/topic", also for "node.topic"."""
    return topic if topic.startswith("/") else "/" + topic.replace(".", "/", 1)


def _arena(data: Any, chunks: list[Chunk]) -> tuple[np.ndarray[Any, Any], list[int]]:
    """One array that holds the records of all chunks, and where each chunk's begin: the file itself unless compressed."""
    if all(c.records_at >= 0 for c in chunks):
        return np.frombuffer(data, np.uint8), [c.records_at for c in chunks]
    sizes = np.array([len(c.records) for c in chunks])
    return np.concatenate([c.records for c in chunks]), (np.cumsum(sizes) - sizes).tolist()


def _array(records: Records, dtype: np.dtype[Any], path: Path) -> np.ndarray[Any, Any]:
    raw = records.rows().view(np.uint8).reshape(len(records.offsets), dtype.itemsize)
    if len(raw) and (raw[:, 20:24] != np.frombuffer(mf.ENCAPSULATION, np.uint8)).any():
        raise LogError(f'{path}: topic "{records.channel.topic}" is not encoded as little-endian CDR')
    front = np.zeros((len(raw), _ROW), np.uint8)  # sequence, time -> time, sequence, zeros
    front[:, 0:8], front[:, 8:12] = raw[:, 4:12], raw[:, 0:4]
    raw[:, :_ROW] = front
    return raw.reshape(-1).view(dtype)
