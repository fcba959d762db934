"""Shared by the tests of replay: changing one bit of a log as if it had been written so."""

import zlib
from pathlib import Path

from flightsw.log import Log
from flightsw.log.mcap_format import MESSAGE_HEAD


def mend(log: Log, data: bytearray, at: int) -> None:
    """A chunk's checksum and that of the data section, so that only the content differs."""
    chunk = next(c for c in log._found.chunks if c.at < at < c.end)
    data[chunk.at + 33 : chunk.at + 37] = zlib.crc32(data[chunk.records_at : chunk.end]).to_bytes(4, "little")
    foot = len(data) - 8 - 20
    summary = int.from_bytes(data[foot : foot + 8], "little")
    data[summary - 4 : summary] = zlib.crc32(data[: summary - 13]).to_bytes(4, "little")


def flip(source: Path, target: Path, topic: str, k: int, bit: int) -> int:
    """Copy a log with one bit turned in the payload of message k of a topic; returns the tick of that message."""
    log = Log.open(source)
    records = log.records(topic)
    data = bytearray(source.read_bytes())
    at = int(records.offsets[k]) + MESSAGE_HEAD + bit // 8
    data[at] ^= 1 << bit % 8
    mend(log, data, at)
    target.write_bytes(data)
    return int(records.times()[k]) // log.base_tick_ns
