"""A board at the end of a pseudo-terminal, in a thread, that is unplugged and plugged in again by count: never by the clock."""

import threading
from collections.abc import Callable
from pathlib import Path

from hil.link.protocol import CRC, FIRST, TICK, LinkError, crc, frames_in
from hil.link.serial_port import Pty
from hil.link.session import BoardSession, serve
from hil.link.transport import Transport

CONFIGS = Path(__file__).resolve().parents[1] / "bench_configs"


def bench_file(folder, keys, node="tvc", base="hopper.toml", more=""):
    """The hopper with one board on a serial line."""
    path = folder / "bench.toml"
    remote = f'[remote.line]\n{keys}\n[[node]]\nname = "{node}"\nwhere = "serial:line"\n'
    path.write_text(f'extends = "{CONFIGS / base}"\n{more}\n{remote}', "utf-8")
    return path


class Unplug(LinkError):
    """The board's end of the line is pulled out."""


class Pulled(Transport):
    """A line that is pulled out before, in the middle of, or after an answer: the n-th ("answer", n), or that to tick n ("tick", n)."""

    lossless = False

    def __init__(self, line, kind, number, where):
        self.line, self.kind, self.number, self.where, self.answers = line, kind, number, where, 0

    def send(self, message):
        self.answers += 1
        tick = int.from_bytes(message[12:16], "little") if message[1] == TICK else -1
        if (self.answers if self.kind == "answer" else tick) != self.number:
            return self.line.send(message)
        if self.where == "middle":
            data = self.line._encoder.encode(message)
            self.line._write(data[: len(data) // 2])
        elif self.where == "after":
            self.line.send(message)
        raise Unplug("is pulled out")

    def receive(self, timeout_s):
        return self.line.receive(timeout_s)

    def close(self):
        self.line.close()


class Losing(Transport):
    """A line on which frames are lost, once each: those of these ticks, on the way to the board and on the way back."""

    lossless = False

    def __init__(self, line, there, back):
        self.line, self.there, self.back = line, set(there), set(back)
        self._write, self._encoder = line._write, line._encoder

    def send(self, message):
        """Loses the last frame of an answer, and damages the others."""
        tick = int.from_bytes(message[12:16], "little") if message[1] == TICK else -1
        if tick not in self.back:
            return self.line.send(message)
        self.back.discard(tick)
        frames = [bytearray(f) for f in frames_in(message)]
        for frame in frames[1:-1]:
            frame[-1] ^= 0x10
        return self.line.send(memoryview(b"".join(frames[:-1])))

    def receive(self, timeout_s):
        out = []
        for frame in self.line.receive(timeout_s):
            tick = int.from_bytes(frame[12:16], "little")
            if tick in self.there and frame[1] < FIRST:
                self.there.discard(tick)
            else:
                out.append(frame)
        return out

    def close(self):
        self.line.close()


class Foreign(Transport):
    """A line that brings, before each answer, one to another session with other content."""

    lossless = False

    def __init__(self, line):
        self.line, self._write, self._encoder = line, line._write, line._encoder

    def send(self, message):
        out = bytearray()
        for frame in frames_in(message):
            other = bytearray(frame)
            other[3] = other[3] % 255 + 1
            if frame[1] < FIRST:
                other[-5] ^= 0x01
            other[-CRC:] = crc(bytes(other[:-CRC])).to_bytes(CRC, "little")
            out += other
        self.line.send(memoryview(bytes(out)))
        return self.line.send(message)

    def receive(self, timeout_s):
        return self.line.receive(timeout_s)

    def close(self):
        self.line.close()


class Keeping(Transport):
    """A line that keeps what went over it, and brings it again before the first answer after it was plugged in."""

    lossless = False

    def __init__(self, line, kept):
        self.line, self.kept, self.first = line, kept, True
        self._write, self._encoder = line._write, line._encoder

    def send(self, message):
        data = self._encoder.encode(message)
        before = bytes(self.kept) if self.first else b""
        self.first = False
        self.kept += data
        for at in range(0, len(before), 1000):
            self.line._rest = before[at : at + 1000]
            self.line._flush()
        return self.line.send(message)

    def receive(self, timeout_s):
        return self.line.receive(timeout_s)

    def close(self):
        self.line.close()


class Board:
    """`path` leads to the board while it is plugged in. pulls: what ends each time that it is plugged in, see Pulled.

    session: made anew after each pull where `power` says so: a board without a battery forgets all. kept: the line brings what the board said
    earlier. foreign: each answer comes to somebody else first. lost: ticks of which frames are lost on the way there, and on the way back.
    again: False: pulled out for good.
    """

    def __init__(self, path, session: Callable[[], BoardSession] = BoardSession, pulls=(), power="kept", kept=False, again=True, lost=None,
                 foreign=False):
        self.path, self.make, self.pulls, self.power, self.again = path, session, list(pulls), power, again
        self.foreign = foreign
        self.kept, self.lost = bytearray() if kept else None, lost
        self.session = session()
        self.plugged = 0
        self.stop = threading.Event()
        self.ready, self.gone = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _plug(self):
        pty = Pty()
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.symlink_to(pty.path)
        fresh.replace(self.path)
        self.plugged += 1
        self.ready.set()
        return pty

    def _run(self):
        while not self.stop.is_set():
            pty = self._plug()
            line = pty.transport()
            if self.kept is not None:
                line = Keeping(line, self.kept)
            if self.foreign:
                line = Foreign(line)
            if self.lost is not None:
                line = Losing(line, *self.lost)
            if self.pulls:
                line = Pulled(line, *self.pulls.pop(0))
            try:
                serve(line, self.session, lambda: not self.stop.is_set())
                self.gone.set()
            except LinkError:
                if self.power == "lost":
                    self.session = self.make()
                if not self.again:
                    self.path.unlink()
                    self.stop.set()
            finally:
                line.close()

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(10)
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()
