"""kill -9 at random moments: `python tests/crash/kill_campaign.py --kills 10000`.

Each kill: a flight with a log in a process of its own, which notes in shared memory when the kernel has taken a chunk; SIGKILL
after a random time; then the file must open, hold every chunk that was noted and nothing that the same flight without a kill did
not record. Every so often the file is repaired and read with the `mcap` package. --processes N does the same with N real
processes of `flightsw run`. Progress on stderr, the result as one line on stdout; exit code 1 when anything was lost.

The file system's cache outlives a process: this proves nothing about a loss of power.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from multiprocessing import connection
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash import rig

SETS = ["bench.duration_s=0.5", "bench.keyframe_s=0.1"]
BUFFER = 4096
START_S = 0.005     # about what a flight needs before it opens its log
LONGEST_QUEUE = 4  # chunks: three buffers, of which one is being filled, and keyframes


@dataclass
class Tally:
    """What was seen. kills counts flights killed before their end, whole those that were complete before the signal came."""

    kills: int = 0
    whole: int = 0
    before_log: int = 0
    acknowledged: int = 0
    chunks: int = 0
    lost: int = 0
    wrong: int = 0
    not_noted: int = 0
    in_memory: int = 0
    repaired: int = 0

    def add(self, other: Tally) -> None:
        for f in fields(self):
            mine, its = getattr(self, f.name), getattr(other, f.name)
            setattr(self, f.name, max(mine, its) if f.name == "in_memory" else mine + its)


# ---- one kill ------------------------------------------------------------------------------------------------------------


def check_killed(path: Path, reference: rig.Reference, ends: list[int]) -> Tally:
    """Judge what a killed flight has left. ends: the file's length at each acknowledged chunk."""
    from flightsw.log import Log

    tally = Tally(acknowledged=len(ends))
    if not path.exists():
        tally.before_log, tally.lost = 1, len(ends)
        return tally
    data = path.read_bytes()
    log = Log.open(path)
    tally.wrong += not reference.data.startswith(data)
    tally.wrong += ends != [after for _, _, after in reference.chunks[: len(ends)]]
    try:
        here = reference.chunks_of(log)
    except AssertionError:
        tally.wrong += 1
        return tally
    tally.chunks = len(here)
    tally.lost = len(set(range(len(ends))) - set(here))
    tally.wrong += here != list(range(reference.fits(len(data))))
    tally.wrong += log.complete != (data == reference.data)
    tally.not_noted = len(here) - len(ends)
    tally.whole = int(log.complete)
    return tally


def check_repaired(path: Path, mended: Path, reference: rig.Reference) -> None:
    """Repair a log: it opens as what it was, here and in the `mcap` package's indexed reader."""
    from mcap.reader import make_reader

    from flightsw.log import Log, repair

    source, before = Log.open(path), path.read_bytes()
    whole = repair(source, mended)
    assert path.read_bytes() == before and whole == (not source.lost)
    log = Log.open(mended)
    assert reference.chunks_of(log) == reference.chunks_of(source) and log.topics == source.topics
    with mended.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None and summary.statistics.chunk_count == log.n_chunks
        payloads: dict[str, list[bytes]] = {t: [] for t in log.topics}
        for _, channel, message in reader.iter_messages(topics=list(log.topics)):
            payloads[channel.topic].append(message.data[4:])
    for topic, parts in payloads.items():
        size = log.dtype(topic).itemsize
        rows = log[topic].view("u1").reshape(len(log[topic]), log[topic].dtype.itemsize)[:, -size:]
        assert b"".join(parts) == rows.tobytes(), topic


class Killer:
    """Forks a flight per kill. Make it before there is any thread."""

    def __init__(self, folder: Path, seed: int) -> None:
        import mcap.reader  # noqa: F401

        from hil import Bench, metadata  # noqa: F401  nothing is to be imported for the first time in a child

        self.folder, self.random = folder, random.Random(seed)
        rig.same_run_id()
        rig.small_buffers(BUFFER)
        self.bench = Bench.load(rig.SMALL, SETS)
        self.bench.compiled()
        self.notes = rig.Notes(folder / "notes")
        path = folder / "reference.mcap"
        rig.take_notes(self.notes)
        gc.collect()
        gc.freeze()  # the collector of a child is not to touch, and thereby copy, every page
        self.spent = min(self.whole_flight(path) for _ in range(3))
        self.reference = rig.Reference.of(path)
        assert self.notes.ends == [after for _, _, after in self.reference.chunks]

    def whole_flight(self, path: Path) -> float:
        """Fly to the end; wall seconds from the file's creation to the end."""
        path.unlink(missing_ok=True)
        self.notes.clear()
        pid = rig.forked(lambda: self.fly(path))
        self.wait_for_log(pid)
        began = time.perf_counter()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        return time.perf_counter() - began

    def wait_for_log(self, pid: int) -> None:
        """Until the file is about to be created (or the process has ended, which should not be)."""
        while not self.notes.opened and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(0.0002)

    def fly(self, path: Path) -> None:
        with self.bench.start(log=path) as flight:
            flight.run()

    def kill(self, repair: bool) -> Tally:
        """One flight, killed: most while they write their log, some anywhere between birth and end."""
        path = self.folder / "flight.mcap"
        path.unlink(missing_ok=True)
        self.notes.clear()
        writing, wait = self.random.random() < 0.9, self.random.random()
        pid = rig.forked(lambda: self.fly(path))
        if writing:
            self.wait_for_log(pid)
        time.sleep(wait * self.spent * 0.8 if writing else wait * 1.1 * (self.spent + START_S))
        os.kill(pid, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        tally = check_killed(path, self.reference, self.notes.ends)
        tally.kills = int(ended == -signal.SIGKILL)
        tally.wrong += ended not in (0, -signal.SIGKILL)
        if path.exists():
            tally.in_memory = max(0, self.notes.handed - tally.chunks)
            tally.wrong += tally.in_memory > LONGEST_QUEUE
        if repair and path.exists():
            mended = self.folder / "mended.mcap"
            mended.unlink(missing_ok=True)
            check_repaired(path, mended, self.reference)
            tally.repaired = 1
        return tally


# ---- real processes --------------------------------------------------------------------------------------------------------

SETS_OF_PROCESSES = ["bench.duration_s=40", "bench.keyframe_s=0.5", "bench.real_time.noise_s=0", "bench.real_time.shed_ticks=0"]
HOPPER = rig.ROOT / "bench_configs" / "hopper.toml"


def kill_processes(folder: Path, count: int, seed: int) -> Iterator[Tally]:
    """Kill processes of `flightsw run`, each at a random time after its first write; every other one flies against the clock."""
    from hil import Bench

    with Bench.load(HOPPER, SETS_OF_PROCESSES, real_time=False).start(log=folder / "reference.mcap") as flight:
        flight.run()
    reference = rig.Reference.of(folder / "reference.mcap")
    library, generator = rig.build_write_faults(folder), random.Random(seed)
    notes = rig.Notes(folder / "process_notes")
    environment = rig.environment(LD_PRELOAD=str(library), WRITE_FAULTS_MATCH=".mcap",
                                  WRITE_FAULTS_NOTES=str(folder / "process_notes"))
    for k in range(count):
        notes.clear()
        runs, real_time = folder / f"runs{k}", k % 2 == 1
        command = [sys.executable, "-m", "flightsw.cli", "-q", "run", str(HOPPER), "--no-report", "--out", str(runs)]
        command += ["--real-time" if real_time else "--simulated-time"]
        for text in SETS_OF_PROCESSES:
            command += ["--set", text]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            while notes.calls == 0 and process.poll() is None:
                time.sleep(0.001)
            time.sleep(generator.uniform(0, 0.8))
            process.kill()
        yield check_process(runs, reference, notes.taken, process.returncode, real_time)


def check_process(runs: Path, reference: rig.Reference, taken: int, code: int, real_time: bool) -> Tally:
    """Judge what a killed process has left. taken: bytes of the log that the kernel has acknowledged, write by write."""
    from flightsw.log import Log

    run, = (p for p in runs.iterdir() if not p.is_symlink())
    log, data = Log.open(run / "flight.mcap"), (run / "flight.mcap").read_bytes()
    places, at = [], 8  # of the chunks among what was acknowledged
    while at < taken:
        if data[at] == 6:
            places.append(at)
        at += 9 + int.from_bytes(data[at + 1 : at + 9], "little")
    here = [chunk.at for chunk in log._found.chunks]
    tally = Tally(kills=int(code == -signal.SIGKILL), whole=int(log.complete), chunks=len(here), acknowledged=len(places))
    tally.lost, tally.not_noted = len(set(places) - set(here)), len(here) - len(places)
    outcome = json.loads((run / "run.json").read_text("utf-8"))["outcome"]
    tally.wrong = (len(data) < taken) + (not log.complete and at not in (taken, 8)) + (outcome == "error")
    if real_time:  # cut into chunks by the clock: the messages themselves are compared
        rows = {topic: b"".join(parts) for topic, parts in reference.rows.items()}
        known = {t: rows[t][: n * log[t].itemsize] for t, n in log.topics.items() if t in rows and not t.endswith("/_inputs")}
        tally.wrong += sum(log[t].tobytes() != part for t, part in known.items()) + (log.n_chunks > 0 and not known)
    else:
        reference.chunks_of(log)
    return tally


# ---- many ------------------------------------------------------------------------------------------------------------------


def work(pipe: connection.Connection, folder: Path, kills: int, seed: int, repair_every: int) -> None:
    """A worker: so many kills, a tally after each."""
    killer = Killer(folder, seed)
    for k in range(kills):
        pipe.send(killer.kill(repair_every > 0 and k % repair_every == repair_every - 1))
    pipe.close()


def campaign(args: argparse.Namespace, folder: Path, progress: Callable[[int], None]) -> Tally:
    """All kills, in several workers."""
    total, pipes, workers = Tally(), [], []
    for w in range(args.workers):
        mine = args.kills // args.workers + (w < args.kills % args.workers)
        (folder / str(w)).mkdir()
        receive, send = connection.Pipe(duplex=False)

        def action(send: Any = send, w: int = w, mine: int = mine) -> None:
            work(send, folder / str(w), mine, args.seed + w, args.repair_every)

        workers.append(rig.forked(action))
        send.close()
        pipes.append(receive)
    done = 0
    for tally in rig.messages(pipes):
        total.add(tally)
        done += 1
        progress(done)
    if not rig.all_well(workers) or done != args.kills:
        total.wrong += 1
    return total


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300, help="flights in forked processes (default %(default)s)")
    parser.add_argument("--processes", type=int, default=0, help="processes of flightsw run (default %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="at the same time (default: one per core)")
    parser.add_argument("--repair-every", type=int, default=50, metavar="N", help="repair each N-th file (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    args = parser.parse_args()
    began = time.perf_counter()

    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        total = campaign(args, Path(name), rig.Progress("kills", args.kills))
        spent = time.perf_counter() - began
        processes, progress = Tally(), rig.Progress("processes", args.processes)
        for k, tally in enumerate(kill_processes(Path(name), args.processes, args.seed) if args.processes else ()):
            processes.add(tally)
            progress(k + 1)
    bad = total.lost + total.wrong + processes.lost + processes.wrong
    if args.json:
        print(json.dumps({"forked": asdict(total), "processes": asdict(processes), "seconds": spent}))
    else:
        print(f"{total.kills} flights killed in {spent:.0f} s ({args.kills / spent:.0f}/s), {total.whole} had ended: "
              f"{total.acknowledged} chunks acknowledged, {total.lost} lost, {total.wrong} files wrong; at most {total.in_memory} "
              f"chunks were still in memory; {total.repaired} files repaired"
              + (f"; {processes.kills} processes killed: {processes.acknowledged} chunks acknowledged, {processes.lost} lost, "
                 f"{processes.wrong} files wrong" if args.processes else ""))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
