"""An MCAP file being written: the data section in order, then the summary that lets stock readers find things."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flightsw._native import lib
from flightsw.errors import LogError
from flightsw.log import mcap_format as mf


@dataclass(frozen=True)
class ChunkPlace:
    """What the summary says about one chunk. Index offsets are relative to the end of the chunk record."""

    start_ns: int
    end_ns: int
    at: int
    length: int
    index_at: Mapping[int, int]
    index_length: int
    compression: str
    stored: int
    size: int

    def encode(self) -> bytes:
        """ChunkIndex record."""
        after = self.at + self.length
        offsets = b"".join(struct.pack("<HQ", c, after + o) for c, o in self.index_at.items())
        front = struct.pack("<QQQQI", self.start_ns, self.end_ns, self.at, self.length, len(offsets))
        back = struct.pack("<Q", self.index_length) + mf.text(self.compression) + struct.pack("<QQ", self.stored, self.size)
        return mf.record(mf.CHUNK_INDEX, front + offsets + back)


def message_index(channels: np.ndarray[Any, Any], times: np.ndarray[Any, Any],
                  offsets: np.ndarray[Any, Any]) -> tuple[bytes, dict[int, int], dict[int, int]]:
    """MessageIndex records of one chunk from the columns of its messages (n each, in file order).

    Returns (bytes, channel to offset of its record in these bytes, channel to number of messages).
    """
    order = np.argsort(channels, kind="stable")
    entries = np.empty(len(order), mf.INDEX_ENTRY)
    entries["t"], entries["offset"] = times[order], offsets[order]
    raw = entries.view(np.uint8).data
    counts = {channel: n for channel, n in enumerate(np.bincount(channels).tolist()) if n}
    parts: list[Any] = []
    places, first, at = {}, 0, 0
    for channel, n in counts.items():
        parts += [struct.pack("<BQHI", mf.MESSAGE_INDEX, 6 + 16 * n, channel, 16 * n), raw[16 * first : 16 * (first + n)]]
        places[channel] = at
        first += n
        at += len(parts[-2]) + 16 * n
    return b"".join(parts), places, counts


def _kind(name: str) -> str:
    """Media type of an attachment."""
    known = {"layout": "application/json", "config": "text/plain"}
    return known.get(name.split("/")[0], "application/octet-stream")


def _attachment_index(at: int, length: int, name: str, size: int) -> bytes:
    """AttachmentIndex record."""
    return mf.record(mf.ATTACHMENT_INDEX, struct.pack("<QQQQQ", at, length, 0, 0, size) + mf.text(name) + mf.text(_kind(name)))


class McapFile:
    """Append-only. Any OSError leaves the file as it stands: nothing is written behind a torn record.

    Raises LogError when the file cannot be created (it must not exist yet) or takes no first byte.
    """

    def __init__(self, path: Path, library: str) -> None:
        self.path = path
        self.at = 0
        self._crc = 0
        self._reserved = False
        self._chunks: list[ChunkPlace] = []
        self._counts: dict[int, int] = {}
        self._attachments: list[tuple[int, int, str, int]] = []
        self._metadata: list[tuple[int, int, str]] = []
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        except FileExistsError:
            raise LogError(f"{path}: exists already, and a log is never overwritten") from None
        except OSError as exc:
            raise LogError(f"{path}: cannot be created: {exc.strerror}") from None
        try:
            self.write(mf.MAGIC + mf.header(library))
        except OSError as exc:
            self.close()
            raise LogError(f"{path}: cannot be written: {exc.strerror}; the log ends after 0 chunks ({self.at} bytes)") from None

    @property
    def n_chunks(self) -> int:
        """Chunks written whole."""
        return len(self._chunks)

    def write(self, data: Any, known: tuple[int, int, int] | None = None) -> None:
        """Append bytes: one write, continued when the system takes only a part of it.

        known: first byte, end and CRC-32 of a part of them whose checksum need not be computed again.
        """
        view = memoryview(data).cast("B")
        if known is None:
            self._crc = zlib.crc32(view, self._crc)
        else:
            first, end, crc = known
            before = zlib.crc32(view[:first], self._crc)
            self._crc = zlib.crc32(view[end:], mf.crc32_joined(before, crc, end - first))
        while view:
            n = os.write(self._fd, view)
            self.at += n
            view = view[n:]

    def sync(self) -> None:
        """Let the operating system put on the disk what was written (fdatasync)."""
        getattr(os, "fdatasync", os.fsync)(self._fd)

    def reserve(self, size: int) -> None:
        """Reserve disk space behind the end, so that a full disk shows now and not in flight. OSError when it is not there."""
        rc = lib.fsw_reserve(self._fd, size)
        if rc == errno.ENOSPC:
            raise OSError(rc, os.strerror(rc))
        self._reserved = rc == 0

    def metadata(self, name: str, values: Mapping[str, str]) -> None:
        """Append a Metadata record."""
        raw = mf.metadata(name, values)
        self._metadata.append((self.at, len(raw), name))
        self.write(raw)

    def attachment(self, name: str, data: bytes) -> None:
        """Append an Attachment record."""
        raw = mf.attachment(name, data, 0, _kind(name))
        self._attachments.append((self.at, len(raw), name, len(data)))
        self.write(raw)

    def chunk(self, data: Any, place: ChunkPlace, counts: Mapping[int, int], crc: int) -> None:
        """Append a Chunk record and its MessageIndex records, given as one piece, at `place.at`. crc: of what is stored in it."""
        self.write(data, (place.length - place.stored, place.length, crc))
        self._chunks.append(place)
        for channel, n in counts.items():
            self._counts[channel] = self._counts.get(channel, 0) + n

    def finish(self, schemas: Sequence[mf.Schema], channels: Sequence[mf.Channel]) -> None:
        """End of data, summary, footer; closes the file."""
        self.write(mf.record(mf.DATA_END, struct.pack("<I", self._crc)))
        groups = [(mf.SCHEMA, [s.encode() for s in schemas]), (mf.CHANNEL, [c.encode() for c in channels]),
                  (mf.STATISTICS, [self._statistics(len(schemas), len(channels))]),
                  (mf.CHUNK_INDEX, [c.encode() for c in self._chunks]),
                  (mf.ATTACHMENT_INDEX, [_attachment_index(*a) for a in self._attachments]),
                  (mf.METADATA_INDEX, [mf.record(mf.METADATA_INDEX, struct.pack("<QQ", at, length) + mf.text(name))
                                       for at, length, name in self._metadata])]
        start = self.at
        body, offsets = bytearray(), bytearray()
        for opcode, records in groups:
            if records:
                raw = b"".join(records)
                offsets += mf.record(mf.SUMMARY_OFFSET, struct.pack("<BQQ", opcode, start + len(body), len(raw)))
                body += raw
        foot = struct.pack("<BQQQ", mf.FOOTER, 20, start, start + len(body))
        crc = zlib.crc32(bytes(body + offsets) + foot)
        self.write(bytes(body + offsets) + foot + struct.pack("<I", crc) + mf.MAGIC)
        self.close()

    def _statistics(self, n_schemas: int, n_channels: int) -> bytes:
        counts = b"".join(struct.pack("<HQ", c, n) for c, n in sorted(self._counts.items()))
        start = min((c.start_ns for c in self._chunks), default=0)
        end = max((c.end_ns for c in self._chunks), default=0)
        return mf.record(mf.STATISTICS, struct.pack("<QHIIIIQQI", sum(self._counts.values()), n_schemas, n_channels,
                                                    len(self._attachments), len(self._metadata), len(self._chunks), start, end,
                                                    len(counts)) + counts)

    def close(self) -> None:
        """Close the file as it stands. Safe to call again."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            if self._reserved:  # what was reserved and not used
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, self.at)
            os.close(fd)
