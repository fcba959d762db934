"""Every damage to a log of 64 KiB: `python tests/crash/damage.py` cuts it at every byte, turns every bit, and puts zeros and
blocks of another log into it.

Each damaged file is opened with memory and time limited. It must open, hold exactly what was recorded in the chunks that are
whole, say what is missing, and lose no chunk but the one that was hit. Every so often it is repaired and read with the `mcap`
package. Progress on stderr, the result as one line per kind on stdout; exit code 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash import rig

from flightsw import Graph, LinkSpec, NodeSpec, TaskIO, TaskSpec, compile_node, load_messages, python_task
from flightsw.log import ChannelDef, Log, LogWriter, repair
from flightsw.log.mcap_format import MAGIC

KINDS = ("cuts", "flips", "lengths", "tails")
SIZE = 1 << 16
TICKS = 300
TICK_NS = 1_000_000
MEMORY = 64 << 20   # what opening a log of this size may need beyond what the process has
SECONDS = 5.0       # for one file; it needs a few ms
MESSAGES = load_messages([])


# ---- the log ---------------------------------------------------------------------------------------------------------------


@python_task("damage.source", reads={}, writes={"radalt": "fsw_radalt_t", "baro": "fsw_baro_t"},
             state="typedef struct { double x; } damage_t;")
def source(io: TaskIO) -> None:
    """A number that never repeats in a topic, so that a wrong record is always seen to be wrong."""
    io.state["x"] += 1.0
    io.writes["radalt"]["range_m"] = io.state["x"] * 1.25 + io.gauss(1)[0]
    io.writes["radalt"]["seq"] = io.tick
    io.writes["baro"]["p_pa"] = -io.state["x"]


@python_task("damage.sink", reads={"radalt": "fsw_radalt_t"}, writes={"touchdown": "fsw_touchdown_t"})
def sink(io: TaskIO) -> None:
    io.writes["touchdown"]["t_ns"] = int(io.reads["radalt"]["seq"])


class SmallBuffers(LogWriter):
    buffer_bytes = 3500


def _write(path: Path, seed: int, ticks: int, padding: int, compression: str) -> None:
    types = {source.name: source, sink.name: sink}
    a = compile_node(NodeSpec("n", [TaskSpec("s", source.name, 1)], TICK_NS), types, MESSAGES, {})
    b = compile_node(NodeSpec("m", [TaskSpec("k", sink.name, 30)], TICK_NS, frozenset({"radalt"})), types, MESSAGES, {})
    graph = Graph([a, b], [LinkSpec("n", "radalt", "m", "radalt", 2)], MESSAGES, seed)
    channels = [ChannelDef("n", t.name, t.type) for t in a.topics.values()]
    channels.append(ChannelDef("m", "touchdown", b.topics["touchdown"].type))
    parts = {"blob/n": a.blob, "config/pad": random.Random(seed).randbytes(padding)}
    with SmallBuffers(path, channels, {"run": {"seed": str(seed)}, "more": {"a": "ä"}}, parts, TICK_NS, compression) as writer:
        graph.attach_recorder(writer.recorder, writer.channel_map)
        writer.keyframe(graph.snapshot(), graph.digests())
        while graph.run(ticks):
            writer.drain()
        writer.keyframe(graph.snapshot(), graph.digests())


def write_log(path: Path, seed: int = 1, compression: str = "") -> None:
    """A log of exactly SIZE bytes (a little less when compressed): about fifteen chunks, metadata, attachments, two keyframes."""
    trial = path.with_suffix(".trial")
    _write(trial, seed, TICKS, 0, "")
    missing = SIZE - trial.stat().st_size
    trial.unlink()
    assert missing > 0, missing
    _write(path, seed, TICKS, missing, compression)
    assert path.stat().st_size == SIZE or compression


# ---- judging ---------------------------------------------------------------------------------------------------------------


class Judge:
    """Knows a whole log and says of a damaged one whether all that it holds is true."""

    def __init__(self, path: Path) -> None:
        log = Log.open(path)
        self.reference = rig.Reference.of(path)
        self.data = self.reference.data
        self.metadata, self.attachments = log.metadata, log.attachments
        self.keyframes = list(log.keyframes())
        self.frames_of = [k for k, c in enumerate(log._found.chunks) if 1 in c.offsets]

    def true(self, log: Log) -> list[int]:
        """Numbers of the chunks in a log, of which everything that it returns was recorded (AssertionError otherwise)."""
        here = self.reference.chunks_of(log)
        for name, values in log.metadata.items():
            if name == "log_end" and "reason" in values:
                continue  # written by a repair
            assert values == self.metadata.get(name), f"metadata {name}: not what was recorded"
        for name, data in log.attachments.items():
            assert data == self.attachments.get(name), f"attachment {name}: not what was recorded"
        expected = [self.keyframes[i] for i, k in enumerate(self.frames_of) if k in here]
        assert list(log.keyframes()) == expected, "keyframes: not those that were recorded"
        return here

    def cut(self, log: Log, n: int) -> None:
        """The log ends after n bytes."""
        assert self.true(log) == [k for k, (_, end, _) in enumerate(self.reference.chunks) if end <= n]
        assert not log.complete and log.problems
        assert log.lost == ("log_end" not in log.metadata)

    def flip(self, log: Log, bit: int) -> None:
        """One bit is another."""
        at = bit >> 3
        here = set(self.true(log))
        missing = set(range(len(self.reference.chunks))) - here
        assert missing <= {k for k, (begin, end, _) in enumerate(self.reference.chunks) if begin <= at < end}, missing
        assert log.problems and not log.complete, "a changed bit was not noticed"
        assert log.lost or not missing

    def mended(self, source: Log, target: Path) -> bool:
        """Repair, and read the result here and with the indexed reader of the `mcap` package. Is it whole?"""
        from mcap.reader import make_reader

        before = source.path.read_bytes()
        whole = repair(source, target)
        assert source.path.read_bytes() == before, "repair changed its input"
        assert whole == (not source.lost and not source._found.parts_lost)
        log = Log.open(target)
        assert self.true(log) == self.true(source) and log.topics == source.topics and log.attachments == source.attachments
        assert log._found.closed and log.complete == whole, log.problems
        counts = dict.fromkeys(log.topics, 0)
        with target.open("rb") as file:
            reader = make_reader(file, validate_crcs=True)
            for _, channel, message in reader.iter_messages(topics=list(log.topics)):
                row = log[channel.topic][counts[channel.topic]]
                assert (row["log_t_ns"], row["log_seq"]) == (message.log_time, message.sequence)
                assert row.tobytes()[24:] == message.data[4:]
                counts[channel.topic] += 1
        assert counts == log.topics
        return whole


# ---- the files -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A damaged file: its bytes, and how it is judged. what: for people."""

    what: str
    data: bytes
    judge: Callable[[Log], Any]


def cut_cases(judge: Judge, which: Any) -> Iterator[Case]:
    """Cut after n bytes."""
    for n in which:
        yield Case(f"cut after {n} bytes", judge.data[:n], lambda log, n=n: judge.cut(log, n))


def flip_cases(judge: Judge, which: Any) -> Iterator[Case]:
    """Bit n turned."""
    for n in which:
        changed = bytearray(judge.data)
        changed[n >> 3] ^= 1 << (n & 7)
        yield Case(f"bit {n} turned", bytes(changed), lambda log, n=n: judge.flip(log, n))


HOSTILE = (0, 1 << 32, (1 << 64) - 1, 1 << 63, (1 << 32) - 1, 0x7FFFFFFF, 1 << 40)


def length_cases(judge: Judge, which: Any) -> Iterator[Case]:
    """Eight bytes from n on replaced by a number that is a bad length: each length of the file is hit once by some of them."""
    for n in which:
        changed = bytearray(judge.data)
        changed[n : n + 8] = HOSTILE[n % len(HOSTILE)].to_bytes(8, "little")
        data = bytes(changed[: len(judge.data)])
        yield Case(f"bytes {n} to {n + 7} are a bad length", data, lambda log, data=data: tail(judge, log, data))


BLOCK = 4096
FIRST_TAIL = 8  # times 64 bytes: behind the record that says whose log it is


def tail_cases(judge: Judge, stale: bytes, which: Any) -> Iterator[Case]:
    """What a loss of power leaves: from byte n on zeros or another log's blocks; one block of them in the middle of the file."""
    size = len(judge.data)
    for n in which:
        block = -(-n // BLOCK) * BLOCK
        edge = judge.data[:n] + bytes(min(block, size) - n)
        for what, data in (("zeros to the end", judge.data[:n] + bytes(size - n + 5000)),
                           ("zeros to the end of the block, then another log", edge + stale[block:]),
                           ("another log", judge.data[:n] + stale[n:]),
                           ("zeros in a block", judge.data[:n] + bytes(BLOCK) + judge.data[n + BLOCK :]),
                           ("another log in a block", judge.data[:n] + stale[n : n + BLOCK] + judge.data[n + BLOCK :])):
            yield Case(f"from byte {n} on {what}", data, lambda log, data=data: tail(judge, log, data))


def tail(judge: Judge, log: Log, data: bytes) -> None:
    """Chunks whose bytes are as they were are there (one whose head says wrong times may be, too)."""
    here = judge.true(log)
    whole = {k for k, (begin, end, _) in enumerate(judge.reference.chunks) if data[begin:end] == judge.data[begin:end]}
    assert whole <= set(here), (here, whole)
    if data != judge.data:
        assert not log.complete and log.problems
        assert log.lost or len(here) == len(judge.reference.chunks)


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Within it, memory beyond what there is now is limited."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _too_long(number: int, frame: Any) -> None:
    raise TimeoutError("opening it takes too long")


@contextlib.contextmanager
def timed() -> Iterator[None]:
    """Within it, a file that hangs raises TimeoutError; call signal.setitimer for each file."""
    before = signal.signal(signal.SIGALRM, _too_long)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def examine(cases: Iterator[Case], judge: Judge, folder: Path, repair_every: int, done: Callable[[str], None]) -> int:
    """Open and judge each file; every so many also repair it. done: called per file with "" or what was wrong. Returns repairs."""
    path, mended, repairs = folder / "damaged.mcap", folder / "mended.mcap", 0
    with limited(), timed():
        for k, case in enumerate(cases):
            path.write_bytes(case.data)
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            try:
                log = Log.open(path)
                case.judge(log)
                if repair_every and k % repair_every == 0 and log._found.chunks:
                    mended.unlink(missing_ok=True)
                    judge.mended(log, mended)
                    repairs += 1
            except Exception as exc:
                last = traceback.extract_tb(exc.__traceback__)[-1]
                done(f"{case.what}: {type(exc).__name__}: {exc} ({Path(last.filename).name} line {last.lineno})")
            else:
                done("")
    return repairs


# ---- all of them -----------------------------------------------------------------------------------------------------------


def cases_of(kind: str, judge: Judge, stale: bytes, part: int, parts: int, sample: int) -> Iterator[Case]:
    """Cases of one kind: every parts-th from `part` on, or at most `sample` of them at random."""
    total = places(kind, len(judge.data))
    which = sorted(random.Random(kind).sample(range(total), sample)) if 0 < sample < total else range(total)
    mine = which[part::parts]
    if kind == "tails":
        return tail_cases(judge, stale, [64 * (n + FIRST_TAIL) for n in mine])
    return {"cuts": cut_cases, "flips": flip_cases, "lengths": length_cases}[kind](judge, mine)


def places(kind: str, size: int) -> int:
    """Where a damage of a kind can be done."""
    return {"cuts": size, "flips": 8 * size, "lengths": size - len(MAGIC), "tails": size // 64 - FIRST_TAIL}[kind]


def count_of(kind: str, size: int, sample: int) -> int:
    """How many files."""
    total = places(kind, size)
    return (min(sample, total) if sample else total) * (5 if kind == "tails" else 1)


def run(kind: str, folder: Path, args: argparse.Namespace) -> tuple[int, int, list[str]]:
    """All cases of a kind in several processes. Returns (files, repairs, what was wrong)."""
    judge, stale = Judge(folder / "whole.mcap"), (folder / "stale.mcap").read_bytes()
    progress = rig.Progress(kind, count_of(kind, len(judge.data), args.sample))
    pipes, pids = [], []
    for part in range(args.workers):
        own = folder / f"{kind}{part}"
        own.mkdir()
        receive, send = connection.Pipe(duplex=False)

        def action(part: int = part, own: Path = own, send: Any = send) -> None:
            cases = cases_of(kind, judge, stale, part, args.workers, args.sample)
            send.send(examine(cases, judge, own, args.repair_every, send.send))

        pids.append(rig.forked(action))
        send.close()
        pipes.append(receive)
    files = repairs = 0
    wrong: list[str] = []
    for message in rig.messages(pipes):
        if isinstance(message, int):
            repairs += message
            continue
        files += 1
        progress(files)
        wrong += [message] if message else []
    if not rig.all_well(pids):
        wrong.append("a worker died")
    return files, repairs, wrong


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)} (default: all)")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only N places of each kind")
    parser.add_argument("--repair-every", type=int, default=64, metavar="N",
                        help="repair each N-th file, 0: none (default %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="at the same time (default: one per core)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    args = parser.parse_args()
    results, bad = {}, False
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="damage-", dir=memory if os.access(memory, os.W_OK) else None) as name:
        folder = Path(name)
        write_log(folder / "whole.mcap")
        write_log(folder / "stale.mcap", seed=2)
        for kind in args.kinds or KINDS:
            began = time.perf_counter()
            files, repairs, wrong = run(kind, folder, args)
            results[kind] = {"files": files, "repaired": repairs, "wrong": len(wrong), "first": wrong[:5],
                             "seconds": time.perf_counter() - began}
            bad |= bool(wrong)
            if not args.json:
                print(f"{kind}: {files} files of {SIZE} bytes or less opened in {results[kind]['seconds']:.0f} s, "
                      f"{repairs} of them repaired, {len(wrong)} wrong", flush=True)
                print("\n".join(wrong[:5]), file=sys.stderr)
    if args.json:
        print(json.dumps(results))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
