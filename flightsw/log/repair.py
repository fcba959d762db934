"""Mending a log: everything that is sound, in a new file with an index."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from flightsw.errors import LogError
from flightsw.log import mcap_format as mf
from flightsw.log.chunk import Chunk
from flightsw.log.mcap_file import ChunkPlace, McapFile, message_index
from flightsw.log.reader import Log


def repair(source: Log, target: Path) -> bool:
    """Write an indexed MCAP file with all that is sound in `source`, which is only read.

    Returns True when nothing that was recorded is missing, False when the result is a part. Raises LogError when `target`
    exists or cannot be written. Chunks keep their run id and number, so the gaps stay visible.
    """
    from flightsw import __version__
    found = source._found
    whole = not found.lost and not found.parts_lost
    file = McapFile(target, f"flightsw {__version__}")
    try:
        _copy(source, file, whole)
    except OSError as exc:
        file.close()
        raise LogError(f"{target}: cannot be written: {exc.strerror}") from None
    return whole


def _copy(source: Log, file: McapFile, whole: bool) -> None:
    found = source._found
    for name, values in found.metadata.items():
        if name != "log_end":
            file.metadata(name, values)
    for name, data in found.attachments.items():
        file.attachment(name, data)
    schemas = [found.schemas[k] for k in sorted(found.schemas)]
    channels = [c for _, c in sorted(found.channels.items()) if c.schema_id == 0 or c.schema_id in found.schemas]
    file.write(b"".join(s.encode() for s in schemas) + b"".join(c.encode() for c in channels))
    for chunk in found.chunks:
        _append(file, chunk)
    end = dict(found.metadata.get("log_end", {}))
    own = found.chunks[-1].own if found.chunks else None
    if not end and own is not None:
        end = {"run_id": f"{own[0]:016x}", "chunks": str(own[1] + 1), "records": str(own[2] + found.chunks[-1].n),
               "dropped": str(own[3])}
    if not whole:
        end |= {"complete": "false", "reason": "repaired from a damaged log: parts of it are missing"}
    if end or "log" in found.metadata:
        file.metadata("log_end", end)
    file.finish(schemas, channels)


def _append(file: McapFile, chunk: Chunk) -> None:
    numbers = np.concatenate([np.full(len(o), c, np.uint16) for c, o in chunk.offsets.items()])
    offsets = np.concatenate(list(chunk.offsets.values()))
    order = np.argsort(offsets)
    numbers, offsets = numbers[order], offsets[order]
    times = np.ndarray((len(chunk.records) - 7,), "V8", chunk.records.data, strides=(1,))[offsets + 15].view("<u8")
    index, places, counts = message_index(numbers, times, offsets)
    content: Any = chunk.records.tobytes()
    start, end = int(times.min()), int(times.max())
    crc = zlib.crc32(content)
    head = mf.chunk_head(start, end, len(content), crc)
    place = ChunkPlace(start, end, file.at, len(head) + len(content), places, len(index), "", len(content), len(content))
    file.chunk(head + content + index, place, counts, crc)
