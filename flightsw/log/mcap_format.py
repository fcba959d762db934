"""MCAP records as bytes: encoding and strict parsing (docs/log-format.md has the layout in full).

Parsers never trust a length: each is checked against the bytes that are there, and every record must be consumed exactly.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX = 1, 2, 3, 4, 5, 6, 7, 8
ATTACHMENT, ATTACHMENT_INDEX, STATISTICS, METADATA, METADATA_INDEX, SUMMARY_OFFSET, DATA_END = 9, 10, 11, 12, 13, 14, 15

FOOTER_SIZE = 9 + 20
MESSAGE_HEAD = 35                    # bytes of a Message record before its payload, encapsulation included
ENCAPSULATION = b"\x00\x01\x00\x00"  # CDR, little-endian
CRC_KEY = "flightsw.crc32"           # entry of a Metadata record that protects the others
INDEX_ENTRY = np.dtype([("t", "<u8"), ("offset", "<u8")])


class Damaged(Exception):
    """These bytes are not the record they should be. Internal: readers turn it into a sentence."""


# ---- encoding -----------------------------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    """A string with its 32-bit length."""
    raw = value.encode()
    return struct.pack("<I", len(raw)) + raw


def text_map(values: Mapping[str, str]) -> bytes:
    """A map of strings with its length in bytes."""
    body = b"".join(text(k) + text(v) for k, v in values.items())
    return struct.pack("<I", len(body)) + body


def record(opcode: int, content: bytes) -> bytes:
    """Opcode, 64-bit length, content."""
    return struct.pack("<BQ", opcode, len(content)) + content


def header(library: str) -> bytes:
    """Header record of profile ros2."""
    return record(HEADER, text("ros2") + text(library))


@dataclass(frozen=True)
class Schema:
    """A message definition as it stands in a log."""

    id: int
    name: str
    encoding: str
    data: bytes

    def encode(self) -> bytes:
        return record(SCHEMA, struct.pack("<H", self.id) + text(self.name) + text(self.encoding)
                      + struct.pack("<I", len(self.data)) + self.data)


@dataclass(frozen=True)
class Channel:
    """A channel as it stands in a log."""

    id: int
    schema_id: int
    topic: str
    encoding: str
    metadata: Mapping[str, str]

    def encode(self) -> bytes:
        return record(CHANNEL, struct.pack("<HH", self.id, self.schema_id) + text(self.topic) + text(self.encoding)
                      + text_map(self.metadata))


def message(channel: int, sequence: int, t_ns: int, payload: bytes) -> bytes:
    """Message record with CDR encapsulation in front of the payload, as the recorder in C writes it."""
    return record(MESSAGE, struct.pack("<HIQQ", channel, sequence & 0xFFFFFFFF, t_ns, t_ns) + ENCAPSULATION + payload)


def chunk_head(start_ns: int, end_ns: int, size: int, crc: int, compression: str = "", stored: int | None = None) -> bytes:
    """A Chunk record up to its records: `size` bytes uncompressed with CRC-32 `crc`, `stored` bytes as compressed."""
    stored = size if stored is None else stored
    tail = text(compression) + struct.pack("<Q", stored)
    return struct.pack("<BQQQQI", CHUNK, 28 + len(tail) + stored, start_ns, end_ns, size, crc) + tail


def metadata(name: str, values: Mapping[str, str]) -> bytes:
    """Metadata record with the checksum entry."""
    checked = {**values, CRC_KEY: f"{metadata_crc(name, values):08x}"}
    return record(METADATA, text(name) + text_map(checked))


def metadata_crc(name: str, values: Mapping[str, str]) -> int:
    """Checksum over name and entries in order."""
    return zlib.crc32(text(name) + text_map(values))


def attachment(name: str, data: bytes, t_ns: int, media_type: str = "application/octet-stream") -> bytes:
    """Attachment record with its CRC-32."""
    body = struct.pack("<QQ", t_ns, t_ns) + text(name) + text(media_type) + struct.pack("<Q", len(data)) + data
    return record(ATTACHMENT, body + struct.pack("<I", zlib.crc32(body)))


_CRC_POLYNOMIAL = 0xEDB88320  # of CRC-32, reflected: bit 31 is x^0


def _crc_product(a: int, b: int) -> int:
    """a times b modulo the polynomial of CRC-32."""
    product = 0
    for _ in range(32):
        if a & 0x80000000:
            product ^= b
        a = a << 1 & 0xFFFFFFFF
        b = b >> 1 ^ (_CRC_POLYNOMIAL if b & 1 else 0)
    return product


def crc32_joined(first: int, second: int, length: int) -> int:
    """CRC-32 of two pieces of data, one after the other, from theirs; `length`: bytes of the second.

    Appending zero bits multiplies by a power of x, here x^(8 length) by repeated squaring.
    """
    power, factor = 0x80000000, 0x00800000  # x^0, x^8
    while length:
        if length & 1:
            power = _crc_product(power, factor)
        factor = _crc_product(factor, factor)
        length >>= 1
    return _crc_product(power, first) ^ second


# ---- parsing ------------------------------------------------------------------------------------------------------------


class Cursor:
    """Reads fields of one record; raises Damaged when a field does not fit."""

    def __init__(self, data: Any, start: int, end: int) -> None:
        self.data, self.at, self.end = data, start, end

    def take(self, n: int) -> bytes:
        if n < 0 or n > self.end - self.at:
            raise Damaged
        self.at += n
        return bytes(self.data[self.at - n : self.at])

    def unpack(self, fmt: str) -> Any:
        """Numbers, little-endian."""
        return struct.unpack("<" + fmt, self.take(struct.calcsize("<" + fmt)))

    def text(self) -> str:
        try:
            return self.take(self.unpack("I")[0]).decode()
        except UnicodeDecodeError:
            raise Damaged from None

    def text_map(self) -> dict[str, str]:
        end = self.at + 4 + self.unpack("I")[0]
        if end > self.end:
            raise Damaged
        out = {}
        while self.at < end:
            key = self.text()
            out[key] = self.text()
        if self.at != end:
            raise Damaged
        return out

    def done(self) -> None:
        """The record must end here."""
        if self.at != self.end:
            raise Damaged


def parse_schema(data: Any, start: int, end: int) -> Schema:
    """Content of a Schema record."""
    c = Cursor(data, start, end)
    out = Schema(c.unpack("H")[0], c.text(), c.text(), c.take(c.unpack("I")[0]))
    c.done()
    return out


def parse_channel(data: Any, start: int, end: int) -> Channel:
    """Content of a Channel record."""
    c = Cursor(data, start, end)
    number, schema = c.unpack("HH")
    out = Channel(number, schema, c.text(), c.text(), c.text_map())
    c.done()
    return out


def parse_metadata(data: Any, start: int, end: int, must_be_checked: bool) -> tuple[str, dict[str, str], bool | None]:
    """(name, entries, sound) of a Metadata record. `sound`: does its checksum entry agree? None: it has none.

    must_be_checked: raise Damaged unless it agrees.
    """
    c = Cursor(data, start, end)
    name, values = c.text(), c.text_map()
    c.done()
    stated = values.pop(CRC_KEY, None)
    sound = None if stated is None else stated == f"{metadata_crc(name, values):08x}"
    if must_be_checked and not sound:
        raise Damaged
    return name, values, sound


def parse_attachment(data: Any, start: int, end: int) -> tuple[str, bytes, bool]:
    """(name, data, sound) of an Attachment record; a CRC of 0 counts as not sound."""
    c = Cursor(data, start, end)
    c.unpack("QQ")
    name, _ = c.text(), c.text()
    content = c.take(c.unpack("Q")[0])
    crc = c.unpack("I")[0]
    c.done()
    return name, content, crc == zlib.crc32(data[start : end - 4])


@dataclass(frozen=True)
class ChunkHead:
    """Fields of a Chunk record, and where its (maybe compressed) records lie."""

    size: int
    crc: int
    compression: str
    at: int
    stored: int


def parse_chunk(data: Any, start: int, end: int) -> ChunkHead:
    """Head of a Chunk record's content."""
    c = Cursor(data, start, end)
    _, _, size, crc = c.unpack("QQQI")
    compression = c.text()
    stored = c.unpack("Q")[0]
    if stored != end - c.at or (compression == "" and size != stored) or compression not in ("", "lz4", "zstd"):
        raise Damaged
    return ChunkHead(size, crc, compression, c.at, stored)


def parse_message_index(data: Any, start: int, end: int) -> tuple[int, np.ndarray[Any, Any]]:
    """(channel, entries) of a MessageIndex record; the entries are a view."""
    if end - start < 6:
        raise Damaged
    channel, size = struct.unpack_from("<HI", data, start)
    if size != end - start - 6 or size % 16:
        raise Damaged
    return channel, np.frombuffer(data, INDEX_ENTRY, size // 16, start + 6)


# ---- compression (not used by default; needs the package it names) -------------------------------------------------------


def compress(name: str, data: Any) -> bytes:
    """Bytes compressed. Raises ValueError when this is not available."""
    if name == "zstd":
        return bytes(_zstd().compress(bytes(data)))
    if name == "lz4":
        return bytes(_lz4().compress(bytes(data)))
    raise ValueError(f'compression "{name}" is not known: "", "zstd" or "lz4"')


def decompress(name: str, data: Any, size: int) -> bytes:
    """Bytes uncompressed; exactly `size` of them or Damaged. Raises ValueError when this is not available.

    Nothing more than `size` bytes is ever held: a chunk head that lies about it cannot fill the memory.
    """
    if size > 1 << 30 or size > 2000 * (len(data) + 64):
        raise Damaged
    module = _zstd() if name == "zstd" else _lz4()
    try:
        decoder = module.ZstdDecompressor() if name == "zstd" else module.LZ4FrameDecompressor()
        out = decoder.decompress(bytes(data), size + 1)
    except Exception:
        raise Damaged from None
    if len(out) != size:
        raise Damaged
    return bytes(out)


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        try:
            from backports import zstd  # type: ignore[import-not-found,import-untyped,no-redef,unused-ignore]
        except ImportError:
            raise ValueError("chunks compressed with zstd need the package backports.zstd") from None
    return zstd


def _lz4() -> Any:
    try:
        import lz4.frame  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise ValueError("chunks compressed with lz4 need the package lz4") from None
    return lz4.frame
