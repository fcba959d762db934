"""What the crash tests share: a small log from a small bench, always the same bytes, and the library that makes writes fail."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    if "numpy" not in sys.modules:
        os.environ[_name] = "1"  # a process with threads must not be forked

import numpy as np  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SMALL = HERE / "small.toml"
RUN_ID = 0x1122334455667788
PAGE = 1 << 16
NONE, FAIL, SHORTEN, SHORTEN_THEN_FAIL, STALL, ALL_BUT_THEN_FAIL = range(6)  # kinds of write_faults.c


def same_run_id() -> None:
    """From now on every log of this process has the same run id, so that two flights that are alike give two files that are."""
    from flightsw.log import writer

    writer.secrets = types.SimpleNamespace(randbits=lambda bits: RUN_ID)  # type: ignore[assignment]


def small_buffers(size: int) -> None:
    """From now on the recorder's buffers hold so many bytes (or four ticks, if that is more)."""
    from flightsw.log import LogWriter

    LogWriter.buffer_bytes = size


def build_write_faults(folder: Path) -> Path:
    """Compile write_faults.c into a folder. RuntimeError with the compiler's words when that fails."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError("no C compiler (cc, gcc or clang) is installed: Debian package build-essential")
    target = folder / "write_faults.so"
    done = subprocess.run([compiler, "-std=c11", "-O2", "-shared", "-fPIC", "-o", target, HERE / "write_faults.c"],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return target


def forked(action: Callable[[], None]) -> int:
    """Run an action in a child process; returns its process id. The child ends with status 0, or 1 after an exception."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        action()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def all_well(pids: list[int]) -> bool:
    """Wait for all these processes. Did each end with status 0?"""
    return not sum([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0 for pid in pids])


def environment(**more: str) -> dict[str, str]:
    """For a process that is to find this software, with these variables as well."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **more}


def messages(pipes: list[connection.Connection]) -> Iterator[Any]:
    """What the processes at the other ends send, until all have ended."""
    waiting = list(pipes)
    while waiting:
        for pipe in connection.wait(waiting):
            assert isinstance(pipe, connection.Connection)
            try:
                yield pipe.recv()
            except EOFError:
                waiting.remove(pipe)


class Progress:
    """How far a command is, on stderr: a bar on a terminal, a line for each tenth elsewhere."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.began, self.terminal = what, total, time.perf_counter(), sys.stderr.isatty()

    def __call__(self, done: int) -> None:
        steps = 200 if self.terminal else 10
        if done * steps // self.total == (done - 1) * steps // self.total:
            return
        text = f"{done} of {self.total} {self.what}, {done / (time.perf_counter() - self.began):.0f}/s"
        if self.terminal:
            bar = "#" * (40 * done // self.total)
            sys.stderr.write(f"\r[{bar:<40}] {text}  " + ("\n" if done == self.total else ""))
            sys.stderr.flush()
        else:
            print(text, file=sys.stderr)


class Notes:
    """Numbers in a page of memory that outlives the process that writes them.

    The writer calls `acknowledged` when the kernel has taken a chunk whole. A number is one aligned store of 8 bytes, and the count
    comes after what it counts, so the page is right at whatever instruction the writer is killed.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.truncate(PAGE)
            self._map = mmap.mmap(file.fileno(), PAGE)
        self._words = memoryview(self._map).cast("Q")

    def clear(self) -> None:
        self._words[0] = self._words[1] = self._words[2] = 0

    def begin(self) -> None:
        """The next thing is that the file is created."""
        self._words[2] = 1

    def handed_over(self) -> None:
        """A chunk goes to the writer thread."""
        self._words[1] += 1

    def acknowledged(self, end: int) -> None:
        """The file holds another chunk, and with its index ends at byte `end`."""
        n = self._words[0]
        self._words[3 + n] = end
        self._words[0] = n + 1

    @property
    def calls(self) -> int:
        """Calls of write(), as write_faults.c notes them."""
        return self._words[0]

    @property
    def taken(self) -> int:
        """Bytes that the kernel has taken, as write_faults.c notes them."""
        return self._words[1]

    @property
    def opened(self) -> bool:
        """Has the file been created, or is it just about to be?"""
        return bool(self._words[2])

    @property
    def handed(self) -> int:
        """Chunks handed over."""
        return self._words[1]

    @property
    def ends(self) -> list[int]:
        """File length at each acknowledgement."""
        return self._words[3 : 3 + self._words[0]].tolist()


def take_notes(notes: Notes) -> None:
    """Let every log of this process note what is handed over and what is acknowledged."""
    from flightsw.log import LogWriter
    from flightsw.log.mcap_file import McapFile

    create, chunk, drain, keyframe = McapFile.__init__, McapFile.chunk, LogWriter.drain, LogWriter.keyframe

    def noted_create(self: Any, *args: Any) -> None:
        notes.begin()
        create(self, *args)

    def noted_chunk(self: Any, *args: Any) -> None:
        chunk(self, *args)
        notes.acknowledged(self.at)

    def noted_drain(self: Any) -> None:
        if self.recorder.n_index:
            notes.handed_over()
        drain(self)

    def noted_keyframe(self: Any, *args: Any) -> None:
        keyframe(self, *args)
        notes.handed_over()

    McapFile.__init__, McapFile.chunk = noted_create, noted_chunk  # type: ignore[method-assign]
    LogWriter.drain, LogWriter.keyframe = noted_drain, noted_keyframe  # type: ignore[method-assign]


@dataclass(frozen=True)
class Reference:
    """A log that nothing happened to. data: its bytes. chunks: (begin, end, end with its index) of each in the file.

    rows: per topic and chunk the bytes of that chunk's messages, as `Log` returns them.
    """

    data: bytes
    chunks: list[tuple[int, int, int]]
    rows: dict[str, list[bytes]]

    @classmethod
    def of(cls, path: Path) -> Reference:
        from flightsw.log import Log

        log = Log.open(path)
        assert log.complete, log.problems
        data = path.read_bytes()
        places = []
        for chunk in log._found.chunks:
            after = chunk.end
            while data[after] == 7:
                after += 9 + int.from_bytes(data[after + 1 : after + 9], "little")
            places.append((chunk.at, chunk.end, after))
        rows: dict[str, list[bytes]] = {}
        for topic in log.topics:
            table, channel, at = log[topic], log.channel(topic).id, 0
            rows[topic] = []
            for chunk in log._found.chunks:
                n = len(chunk.offsets.get(channel, ()))
                rows[topic].append(table[at : at + n].tobytes())
                at += n
            assert at == len(table)
        return cls(data, places, rows)

    def fits(self, size: int) -> int:
        """Chunks that lie whole in the first `size` bytes."""
        return sum(end <= size for _, end, _ in self.chunks)

    def chunks_of(self, log: Any) -> list[int]:
        """Numbers of the chunks in a log, after checking that it holds exactly what was recorded in them."""
        here = [chunk.own[1] for chunk in log._found.chunks]
        assert here == sorted(set(here)) and (not here or here[-1] < len(self.chunks))
        for topic in log.topics:
            assert topic in self.rows, f"a topic {topic} that was never recorded"
            table: np.ndarray[Any, Any] = log[topic]
            assert table.tobytes() == b"".join([self.rows[topic][k] for k in here]), f"{topic}: not what was recorded"
            assert log.topics[topic] == len(table)
        return here
