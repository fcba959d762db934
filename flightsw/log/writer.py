"""Writing a log: the core fills buffers with finished records, one thread wraps each into a chunk and writes it.

The flight never writes to the disk itself. A buffer lies in memory as [room for a prefix | records]; the thread puts chunk
head, definitions and the chunk's own message in front and the message index behind, and hands all of it to one write.

In simulated time the flight waits for a free buffer. In real time it never waits: the core hands over a block of a ring at least
every 50 ms, and drops and counts what finds no room.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import struct
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from flightsw._native import ffi, lib
from flightsw.errors import FlightswError, LogError
from flightsw.graph import Snapshot
from flightsw.log import mcap_format as mf
from flightsw.log.mcap_file import ChunkPlace, McapFile, message_index
from flightsw.messages import MessageType, dtype_of

FORMAT_VERSION = 1
CHUNK_TOPIC, KEYFRAME_TOPIC = "/log/chunk", "/bench/keyframe"
CHUNK_CHANNEL, KEYFRAME_CHANNEL, FIRST_CHANNEL = 0, 1, 2
CHUNK_SCHEMA = mf.Schema(1, "flightsw/msg/LogChunk", "ros2msg",
                         b"uint64 run_id\nuint64 chunk\nuint64 records\nuint64 dropped\n")
KEYFRAME_SCHEMA = mf.Schema(2, "flightsw/msg/Keyframe", "ros2msg",
                            b"int64 tick\nuint64 digest\nstring node\nuint8[] image\n")
REPEAT_DEFINITIONS = 8  # every so many chunks
REAL_TIME_SPAN_NS = 50_000_000  # of a chunk
_INDEX = dtype_of(ffi.typeof("fsw_index_entry_t"))
_CHUNK_MESSAGE = struct.Struct("<QQQQ")
_ALIVE: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # recorder to its buffers, while C may still see them


@dataclass(frozen=True)
class ChannelDef:
    """One recorded topic of a node; `every`: each n-th write."""

    node: str
    topic: str
    type: MessageType
    every: int = 1


def definitions(channels: Sequence[ChannelDef]) -> tuple[list[mf.Schema], list[mf.Channel]]:
    """Schema and channel records of a log."""
    schemas = [CHUNK_SCHEMA, KEYFRAME_SCHEMA]
    ids: dict[str, int] = {}
    out = [mf.Channel(CHUNK_CHANNEL, CHUNK_SCHEMA.id, CHUNK_TOPIC, "cdr", {}),
           mf.Channel(KEYFRAME_CHANNEL, KEYFRAME_SCHEMA.id, KEYFRAME_TOPIC, "cdr", {})]
    for k, c in enumerate(channels):
        if c.type.name not in ids:
            ids[c.type.name] = len(schemas) + 1
            schemas.append(mf.Schema(ids[c.type.name], c.type.schema_name, "ros2msg", c.type.schema.encode()))
        out.append(mf.Channel(FIRST_CHANNEL + k, ids[c.type.name], f"/{c.node}/{c.topic}", "cdr",
                              {"node": c.node, "topic": c.topic, "type": c.type.name, "type_hash": f"{c.type.type_hash:016x}",
                               "every": str(c.every)}))
    return schemas, out


class _Block:
    """A buffer for records, with room in front of them for what the thread adds."""

    def __init__(self, room: int, capacity: int, entries: int, pooled: bool) -> None:
        self.data = np.zeros(room + capacity, np.uint8)
        self.index = np.zeros(entries, _INDEX)
        self.used, self.n, self.dropped, self.pooled = room, 0, 0, pooled


class _Chunks:
    """What the writer thread does: blocks in, chunks out."""

    def __init__(self, file: McapFile, schemas: Sequence[mf.Schema], channels: Sequence[mf.Channel], compression: str) -> None:
        self.file, self.compression = file, compression
        self.run_id = secrets.randbits(64)
        self.counter = self.records = 0
        self._defs = b"".join(s.encode() for s in schemas) + b"".join(c.encode() for c in channels)
        head = len(mf.chunk_head(0, 0, 0, 0))
        self.room = -(-(head + len(self._defs) + mf.MESSAGE_HEAD + _CHUNK_MESSAGE.size) // 64) * 64

    def write(self, block: _Block) -> None:
        """Wrap a block and append it. Raises OSError."""
        entries = block.index[: block.n]
        times = entries["t_ns"].astype(np.uint64)
        start_ns, end_ns = int(times.min()), int(times.max())
        own = mf.message(CHUNK_CHANNEL, self.counter, start_ns,
                         _CHUNK_MESSAGE.pack(self.run_id, self.counter, self.records, block.dropped))
        defs = self._defs if self.counter % REPEAT_DEFINITIONS == 0 else b""
        first = self.room - len(own)
        start = first - len(defs)
        block.data[start : self.room] = np.frombuffer(defs + own, np.uint8)
        content: Any = block.data[start : block.used].data
        index, places, counts = message_index(
            np.concatenate(([np.uint16(CHUNK_CHANNEL)], entries["channel"])), np.concatenate(([np.uint64(start_ns)], times)),
            np.concatenate(([np.uint64(first - start)], entries["offset"].astype(np.uint64) - np.uint64(start))))
        crc, size = zlib.crc32(content), len(content)
        stored_crc = crc
        if self.compression:
            content = mf.compress(self.compression, content)
            stored_crc = zlib.crc32(content)
        head = mf.chunk_head(start_ns, end_ns, size, crc, self.compression, len(content))
        place = ChunkPlace(start_ns, end_ns, self.file.at, len(head) + len(content), places, len(index), self.compression,
                           len(content), size)
        if self.compression:
            whole: Any = head + content + index
        else:
            whole = self._in_place(block, start, head, index)
        try:
            self.file.chunk(whole, place, counts, stored_crc)
        finally:
            if self.file.at >= place.at + place.length:  # a chunk is one although its index may be torn
                self.counter += 1
                self.records += block.n

    @staticmethod
    def _in_place(block: _Block, start: int, head: bytes, index: bytes) -> Any:
        """Head before the content and index behind it, in the block's own memory."""
        begin, end = start - len(head), block.used + len(index)
        if end > len(block.data):
            block.data = np.concatenate((block.data[: block.used], np.zeros(len(index), np.uint8)))
        block.data[begin:start] = np.frombuffer(head, np.uint8)
        block.data[block.used : end] = np.frombuffer(index, np.uint8)
        return block.data[begin:end].data


def _serve(chunks: _Chunks, jobs: queue.SimpleQueue[Any], free: queue.SimpleQueue[_Block], failure: list[Exception]) -> None:
    while (job := jobs.get()) is not None:
        if isinstance(job, threading.Event):
            job.set()
            continue
        if not failure:
            try:
                chunks.write(job)
            except Exception as exc:  # kept, and raised in the flight's own thread at its next drain
                failure.append(exc)
        if job.pooled:
            free.put(job)
    if failure:
        chunks.file.close()


class _Ring:
    """Blocks between the core, on its real-time thread, and the writer thread, which polls: nobody waits for a lock.

    extra: asked again and again for a block of its own to write, or None. Ends when `stop` is set and all is written; after a
    failure nothing more is written, and the core drops what the ring does not hold.
    """

    poll_s, sync_s = 0.01, 0.1

    def __init__(self, chunks: _Chunks, recorder: Any, capacity: int, blocks: int, channels: int) -> None:
        self.chunks, self.recorder, self.stop = chunks, recorder, threading.Event()
        self.extra: Callable[[], _Block | None] = lambda: None
        self.cpu_s = 0.0
        entries = capacity // mf.MESSAGE_HEAD + 1
        size = capacity + 16 * (entries + channels + 4)  # room for the message index behind the records
        self.blocks = [_Block(chunks.room, size, entries, True) for _ in range(blocks)]
        self._c = ffi.new("fsw_record_block_t[]", blocks)
        for c, block in zip(self._c, self.blocks, strict=True):
            block.data.fill(0)  # touches every page now, not in flight
            block.index.fill(0)
            c.buffer = ffi.from_buffer("uint8_t[]", block.data, require_writable=True)
            c.index = ffi.cast("fsw_index_entry_t *", ffi.from_buffer(block.index, require_writable=True))
        rec = recorder
        rec.blocks, rec.n_blocks, rec.start, rec.span_ns = self._c, blocks, chunks.room, REAL_TIME_SPAN_NS
        rec.buffer, rec.index = self._c[0].buffer, self._c[0].index
        rec.capacity, rec.index_capacity, rec.used = chunks.room + capacity, entries, chunks.room

    def held(self) -> list[int]:
        """Messages in each block that was handed over and is not written."""
        rec = self.recorder
        return [int(self._c[k % len(self.blocks)].n_index) for k in range(rec.freed, rec.filled)]

    def serve(self, failure: list[Exception]) -> None:
        """What the writer thread does."""
        try:
            self._serve(failure)
        finally:
            self.cpu_s = time.thread_time()

    def _serve(self, failure: list[Exception]) -> None:
        synced, number = time.monotonic(), 0
        while True:
            stopping = self.stop.is_set()
            block, c = self.extra(), ffi.NULL
            if block is None:
                c = lib.fsw_recorder_take(self.recorder)
                if c != ffi.NULL:
                    block = self.blocks[number % len(self.blocks)]
                    block.used, block.n, block.dropped = c.used, c.n_index, c.dropped
            if block is None:
                if stopping:
                    break
                time.sleep(self.poll_s)  # waiting for an event costs four times as much
                continue
            written = self.chunks.counter
            try:
                self.chunks.write(block)
                if time.monotonic() - synced >= self.sync_s:
                    self.chunks.file.sync()
                    synced = time.monotonic()
            except Exception as exc:  # told when the log is closed; the flight goes on without it
                failure.append(exc)
                self.chunks.file.close()
                if c != ffi.NULL and self.chunks.counter > written:
                    lib.fsw_recorder_release(self.recorder)
                return
            if c != ffi.NULL:
                lib.fsw_recorder_release(self.recorder)
                number += 1


class LogWriter:
    """A log being written.

    Attach with `graph.attach_recorder(writer.recorder, writer.channel_map)`; when `graph.run` asks for it, call `drain()`.
    metadata: name to entries; attachments: name to bytes. compression: "" (default), "zstd" or "lz4".
    real_time: bytes per second that are expected, 0: simulated time. In real time chunks span at most 50 ms, the flight never waits
    (needs no drain), and the ring holds 5 s of them; dropped records are counted. `reserve` takes disk space beforehand.
    Raises LogError when the file cannot be created, and, at the next drain, flush or close, when it could not be written
    (in real time only at the close: a flight does not end because its log does).
    """

    buffer_bytes = 4 << 20
    buffers = 3
    block_bytes = 64 << 10  # real time: at least so much for the records of 50 ms
    blocks = 100

    def __init__(self, path: Path | str, channels: Sequence[ChannelDef], metadata: Mapping[str, Mapping[str, str]],
                 attachments: Mapping[str, bytes], base_tick_ns: int, compression: str = "", *, real_time: int = 0) -> None:
        self.path = Path(path)
        self.base_tick_ns = base_tick_ns
        self.channel_map = {(c.node, c.topic): (FIRST_CHANNEL + k, c.every) for k, c in enumerate(channels)}
        if compression:
            try:
                mf.compress(compression, b"")
            except ValueError as exc:
                raise LogError(f"{self.path}: {exc}") from None
        from flightsw import __version__
        self._schemas, self._channels = definitions(channels)
        self._file = McapFile(self.path, f"flightsw {__version__}")
        self._chunks = _Chunks(self._file, self._schemas, self._channels, compression)
        self._failure: list[Exception] = []
        self._closed = False
        try:
            self._begin(metadata, attachments)
        except OSError as exc:
            self._failure.append(exc)
            self._file.close()
            raise self._error() from None
        self._keyframes = self._unwritten = 0
        self._notes: dict[str, dict[str, str]] = {}
        self.recorder: Any = ffi.new("fsw_recorder_t *")
        self._ring: _Ring | None = None
        sizes = [c.type.size + mf.MESSAGE_HEAD for c in channels]
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        if real_time:
            span = real_time * REAL_TIME_SPAN_NS // 800_000_000  # and a quarter more
            capacity = max(self.block_bytes, span, 2 * sum(sizes))
            self._ring = _Ring(self._chunks, self.recorder, capacity, max(2, self.blocks), len(channels))
            self._ring.extra = self._next_extra
            self.keyframe_source: Callable[[], tuple[Snapshot, Mapping[str, int]] | None] = lambda: None
            _ALIVE[self.recorder] = self._ring
            self._start(self._ring.serve, (self._failure,))
            self._finalizer: Any = weakref.finalize(self, self._ring.stop.set)
            return
        self._pool(sizes)
        self._start(_serve, (self._chunks, self._jobs, self._free, self._failure))
        self._finalizer = weakref.finalize(self, self._jobs.put, None)

    def _start(self, target: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._thread = threading.Thread(target=target, args=args, name="flightsw-log", daemon=True)
        self._thread.start()

    def _pool(self, sizes: Sequence[int]) -> None:
        """Buffers for simulated time."""
        capacity = max(self.buffer_bytes, 4 * sum(sizes))
        entries = capacity // min([*sizes, 256]) + 1
        self._free: queue.SimpleQueue[_Block] = queue.SimpleQueue()
        blocks = [_Block(self._chunks.room, capacity + 20 * entries, entries, True) for _ in range(max(2, self.buffers))]
        for block in blocks:
            block.data.fill(0)  # touches every page now, not in flight
            self._free.put(block)
        self._capacity = self._chunks.room + capacity
        _ALIVE[self.recorder] = blocks
        self._install(self._free.get())

    def reserve(self, size: int) -> None:
        """Take so many bytes of disk space now. LogError when they are not there."""
        try:
            self._file.reserve(size)
        except OSError as exc:
            raise LogError(f"{self.path}: {size / 1e6:.0f} MB for the log cannot be reserved: {exc.strerror}") from None

    def _begin(self, metadata: Mapping[str, Mapping[str, str]], attachments: Mapping[str, bytes]) -> None:
        texts = {name: {str(k): str(v) for k, v in values.items()} for name, values in metadata.items()}
        parts = {f"metadata:{name}": f"{mf.metadata_crc(name, values):08x}" for name, values in texts.items()}
        parts |= {f"attachment:{name}": f"{zlib.crc32(data):08x}" for name, data in attachments.items()}
        self._file.metadata("log", {"format_version": str(FORMAT_VERSION), "run_id": f"{self._chunks.run_id:016x}",
                                    "base_tick_ns": str(self.base_tick_ns), **parts})
        for name, values in texts.items():
            self._file.metadata(name, values)
        for name, data in attachments.items():
            self._file.attachment(name, bytes(data))

    def _install(self, block: _Block) -> None:
        self._current = block
        rec = self.recorder
        rec.buffer = ffi.from_buffer("uint8_t[]", block.data, require_writable=True)
        rec.index = ffi.cast("fsw_index_entry_t *", ffi.from_buffer(block.index, require_writable=True))
        rec.capacity, rec.index_capacity = self._capacity, len(block.index)
        rec.used, rec.n_index = self._chunks.room, 0

    def _error(self) -> FlightswError:
        cause = self._failure[0]
        why = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause) or type(cause).__name__
        missing = f", {self.dropped} messages are not in it" if self._closed and self._ring is not None else ""
        return LogError(f"{self.path}: cannot be written: {why}; the log ends after {self._chunks.counter} chunks "
                        f"({self._file.at} bytes){missing}")

    def drain(self) -> None:
        """Hand what is recorded to the writer thread and go on with an empty buffer; waits only when there is none.

        Raises LogError when something handed over earlier could not be written.
        """
        if self._closed:
            raise LogError(f"{self.path}: the log is closed")
        if self._ring is not None:
            lib.fsw_recorder_cut(self.recorder)
            return
        if self._failure:
            raise self._error()
        rec, block = self.recorder, self._current
        if rec.n_index == 0:
            return
        block.used, block.n, block.dropped = rec.used, rec.n_index, rec.dropped
        self._jobs.put(block)
        self._install(self._free.get())

    def flush(self) -> None:
        """Drain, and wait until all of it is with the operating system. Raises LogError like `drain`."""
        self.drain()
        if self._ring is not None:
            while lib.fsw_recorder_take(self.recorder) != ffi.NULL and self._thread.is_alive():
                self._thread.join(0.002)
        else:
            done = threading.Event()
            self._jobs.put(done)
            done.wait()
        if self._failure:
            raise self._error()

    def keyframe(self, snapshot: Snapshot, digests: Mapping[str, int]) -> None:
        """Record all images of a bench, in a chunk of their own, with the images' digests. Raises LogError like `drain`."""
        if self._ring is None:
            self.drain()
        self._jobs.put(self._keyframe_block(snapshot, digests))

    def _next_extra(self) -> _Block | None:
        """Real time, writer thread: the next keyframe to write, if there is one."""
        found = self.keyframe_source()
        if found is not None:
            return self._keyframe_block(*found)
        return None if self._jobs.empty() else self._jobs.get()  # there is no other consumer

    def _keyframe_block(self, snapshot: Snapshot, digests: Mapping[str, int]) -> _Block:
        parts = [*snapshot.images.items(), ("", snapshot.links)]
        t_ns = snapshot.tick * self.base_tick_ns
        records = []
        for node, image in parts:
            self._keyframes += 1
            records.append(mf.message(KEYFRAME_CHANNEL, self._keyframes, t_ns,
                                      _keyframe_payload(snapshot.tick, digests.get(node, 0), node, image)))
        sizes = np.array([len(r) for r in records])
        room = self._chunks.room
        block = _Block(room, int(sizes.sum()) + 64 * (len(records) + 4), len(records), False)
        block.used, block.n, block.dropped = room + int(sizes.sum()), len(records), self.recorder.dropped
        block.data[room : block.used] = np.frombuffer(b"".join(records), np.uint8)
        block.index["t_ns"], block.index["channel"] = t_ns, KEYFRAME_CHANNEL
        block.index["offset"] = room + np.cumsum(sizes) - sizes
        return block

    def note(self, name: str, values: Mapping[str, str]) -> None:
        """Metadata to be written when the log is closed: what is known only then."""
        self._notes[name] = dict(values)

    def close(self, complete: bool = True) -> None:
        """Write what is left, the index and the end of the file. complete=False: the run was broken off, and the log says so.

        Raises LogError when anything could not be written; the file then ends where writing ended. Safe to call again.
        """
        if self._closed:
            return
        with contextlib.suppress(LogError):  # raised again below, when the thread has ended
            self.drain()
        self._closed = True
        self._end_thread()
        self._finalizer.detach()
        if not self._failure:
            try:
                own = {"run_id": f"{self._chunks.run_id:016x}"}
                end = {**own, "complete": "true" if complete else "false", "chunks": str(self._chunks.counter),
                       "records": str(self._chunks.records), "dropped": str(int(self.recorder.dropped))}
                for name, values in self._notes.items():
                    self._file.metadata(name, {**own, **values})
                self._file.metadata("log_end", end)
                self._file.finish(self._schemas, self._channels)
            except OSError as exc:
                self._failure.append(exc)
        self._file.close()
        if self._failure:
            raise self._error()

    def _end_thread(self) -> None:
        rec = self.recorder
        if self._ring is not None:
            while rec.n_index and self._thread.is_alive() and not lib.fsw_recorder_cut(rec):
                self._thread.join(0.002)  # the ring is full: let it be written
            self._ring.stop.set()
        else:
            self._jobs.put(None)
        self._thread.join()
        if self._ring is not None:  # after a failure: what the ring still holds is lost
            self._unwritten = rec.n_index + sum(self._ring.held())
        # a graph that runs on finds no room: it is told so by drain(), or drops and counts
        rec.used = rec.capacity = rec.n_index = rec.index_capacity = 0

    @property
    def cpu_s(self) -> float:
        """Processor time of the writer thread in real time, s: known once closed."""
        return self._ring.cpu_s if self._ring is not None else 0.0

    @property
    def dropped(self) -> int:
        """Messages that are not in the log: dropped because no buffer was free, or not written after a failure (known once closed)."""
        return int(self.recorder.dropped) + self._unwritten

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close(complete=kind is None)
        except LogError:
            if kind is None:
                raise


def _keyframe_payload(tick: int, digest: int, node: str, image: bytes) -> bytes:
    """CDR of flightsw/msg/Keyframe without its encapsulation."""
    name = node.encode() + b"\0"
    front = struct.pack("<qQI", tick, digest, len(name)) + name
    return front + bytes(-len(front) % 4) + struct.pack("<I", len(image)) + image


def parse_keyframe(payload: bytes) -> tuple[int, int, str, bytes]:
    """(tick, digest, node, image) of a keyframe payload. Raises mcap_format.Damaged."""
    c = mf.Cursor(payload, 0, len(payload))
    tick, digest = c.unpack("qQ")
    node = c.text()
    c.take(-c.at % 4)
    image = c.take(c.unpack("I")[0])
    c.done()
    return tick, digest, node.rstrip("\0"), image

