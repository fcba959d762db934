"""Serial lines: `python tests/benchmarks/serial_lines.py unplug|safe|echo`.

unplug [--cycles 1000]   A flight whose line is pulled out and plugged in again so often, before, in the middle of and after an
answer. Wanted: the same
                         flight as without a line; nothing left behind; each time open again within 250 ms of being back.
safe [--times 10]        A LIVE board whose bench is killed, stopped, or whose line is cut, full of noise or pulled out, in processes of their
own. Wanted: outputs safe
                         within 100 ms.
echo [--pairs 10]        A round trip of 64 bytes over a pseudo-terminal: PING and PONG of the session against a bare pyserial
echo, in alternating pairs
                         with the far end in a process of its own. Wanted: the median ratio of the medians at most 1.5.

Times are of this computer at this moment. What does not depend on it is asserted; the exit code is 1 when a figure was not met.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))


def spread(values: list[float]) -> str:
    """p50, p99 and the greatest."""
    return "p50 {:.1f}, p99 {:.1f}, max {:.1f}".format(*np.quantile(values, [0.5, 0.99, 1.0]))


def load() -> str:
    """How busy this computer is."""
    return f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"


# ---- unplug ---------------------------------------------------------------------------------------------------------------


def unplug(cycles: int) -> bool:
    """1,000 times out and in again."""
    from serial_support import CONFIGS, Board, bench_file

    from hil import Bench
    from hil.link.serial_port import REOPEN_S, SerialTransport

    ticks = 20 + cycles // 2
    with Bench.load(CONFIGS / "hopper.toml").start(seed=7) as flight:
        flight.step(ticks)
        wanted = flight.graph.digests()
    opened: list[float] = []
    plugged: list[float] = []
    plain_open, plain_plug = SerialTransport._open, Board._plug

    def noted_open(self: Any) -> None:
        plain_open(self)
        opened.append(time.monotonic())

    def noted_plug(self: Any) -> Any:
        pty = plain_plug(self)
        plugged.append(time.monotonic())
        return pty

    SerialTransport._open, Board._plug = noted_open, noted_plug  # type: ignore[method-assign]
    pulls = [("tick", 10 + k // 2, ("before", "middle", "after")[k % 3]) for k in range(cycles)]
    rss: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["FLIGHTSW_LOCKS"] = str(folder / "locks")
        bench = Bench.load(bench_file(folder, f'port = "{folder}/port"\nresume = true\n', more="[bench]\nkeyframe_s = 0.1"))
        fds, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
        cpu, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        with Board(folder / "port", pulls=pulls), bench.start(seed=7, log=folder / "a.mcap") as flight:
            while flight.tick < ticks:
                flight.step(10)
                rss.append(int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]))  # type: ignore[index]
            group = flight._remote.groups[0]
            resumed, counters, turns, same = group.resumed, group.counters, group.transport.turns, flight.graph.digests() == wanted
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
        left = len(list(Path("/proc/self/fd").iterdir())) - fds, threading.active_count() - threads
    back = [1e3 * (o - max(p for p in plugged if p <= o)) for o in opened]
    half = len(rss) // 2
    growth = max(rss[half:]) - max(rss[:half])
    print(f"{cycles} times out and in again in {took:.1f} s ({load()}): {resumed} times taken up again, the flight is "
          f"{'the same' if same else 'NOT THE SAME'}")
    print(f"open again after it was back, ms: {spread(back)} (wanted: at most 250)")
    print(f"left behind: {left[0]} descriptors, {left[1]} threads; memory in the second half {growth} KiB above that in the first")
    print(f"loop turns while it was away: {turns}, each {1e3 * REOPEN_S:g} ms of sleep; processor time {_cpu(after) - _cpu(cpu):.1f} s in all")
    print(f"outcomes: {counters}")
    return same and left == (0, 0) and max(back) <= 250.0 and growth < 4096


def _cpu(usage: Any) -> float:
    return float(usage.ru_utime + usage.ru_stime)


# ---- safe -----------------------------------------------------------------------------------------------------------------


def safe(times: int) -> bool:
    """The tests of test_live_outputs.py with their strict limit."""
    found: dict[str, list[float]] = {}
    for _ in range(times):
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(TESTS / "test_live_outputs.py"),
                               "-k", "outputs_go_safe"], capture_output=True, text=True, check=False)
        for end, ms in re.findall(r"(kill|stop|cut|noise|unplug): safe ([\d.]+) ms after", done.stdout):
            found.setdefault(end, []).append(float(ms))
        if done.returncode:
            print(done.stdout[-3000:])
            return False
    print(f"outputs safe after the end of the bench or of the line, ms ({load()}; wanted: at most 100):")
    for end, ms in found.items():
        print(f"    {end:7} {len(ms)} times: {spread(ms)}")
    return max(max(ms) for ms in found.values()) <= 100.0


# ---- echo -----------------------------------------------------------------------------------------------------------------

_BARE = """
import sys, serial
port = serial.Serial(sys.argv[1], 115200, timeout=None)
port.write(b"!")  # opening throws away what has arrived
while True:
    port.write(port.read(64))
"""
_OURS = """
import sys
from hil.link.ports import PortIdentity
from hil.link.serial_serving import serve_port
from hil.link.session import BoardSession
serve_port(PortIdentity(sys.argv[1]), 115200, BoardSession(), lambda text: None)
"""


def _far(program: str, path: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen([sys.executable, "-c", program, path], env=environment, stdin=subprocess.DEVNULL)


def bare(trips: int) -> list[float]:
    """Round trips of pyserial on both ends, us. The near end is pyserial on the master, by its descriptor."""
    import serial

    from hil.link.serial_port import Pty

    pty = Pty()
    near = serial.Serial()
    near.fd, near.is_open, near._timeout = pty._master, True, None  # a master has no path of its own
    near.pipe_abort_read_r, near.pipe_abort_read_w = os.pipe()
    near.pipe_abort_write_r, near.pipe_abort_write_w = os.pipe()
    message, out = bytes(range(64)), []
    with _far(_BARE, pty.path) as far:
        assert near.read(1) == b"!"
        for _ in range(trips + 200):
            began = time.perf_counter_ns()
            near.write(message)
            assert len(near.read(64)) == 64
            out.append((time.perf_counter_ns() - began) / 1e3)
        far.kill()
    near.is_open = False
    pty.close()
    return out[200:]


def ours(trips: int) -> list[float]:
    """Round trips of PING and PONG, us: 28 bytes of frame, 33 of payload, COBS and delimiters are 64."""
    from hil.link import protocol
    from hil.link.serial_port import Pty

    pty = Pty()
    near, out = pty.transport(), []
    message = memoryview(protocol.encode(protocol.PING, bytes(range(1, 34)), src=1))
    with _far(_OURS, pty.path) as far:
        while not near.receive(0.1):
            near.send(message)
        while near.receive(0.1):
            pass
        for _ in range(trips + 200):
            began = time.perf_counter_ns()
            near.send(message)
            got: list[bytes] = []
            while not got:
                got = list(near.receive(60.0))
            out.append((time.perf_counter_ns() - began) / 1e3)
        far.kill()
    near.close()
    return out[200:]


def echo(pairs: int, trips: int = 2000) -> bool:
    """Pairs, the first taking turns."""
    ratios = []
    for k in range(pairs):
        runs = {f: f(trips) for f in ((bare, ours) if k % 2 else (ours, bare))}
        ratios.append(float(np.median(runs[ours]) / np.median(runs[bare])))
        print(f"pair {k + 1}: pyserial, us: {spread(runs[bare])}; session: {spread(runs[ours])}; ratio of the medians {ratios[-1]:.2f}")
    print(f"median of the ratios {np.median(ratios):.2f} (wanted: at most 1.5; {load()})")
    return bool(np.median(ratios) <= 1.5)


def main() -> int:
    """Entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["unplug", "safe", "echo"])
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=10)
    args = parser.parse_args()
    met = {"unplug": lambda: unplug(args.cycles), "safe": lambda: safe(args.times), "echo": lambda: echo(args.pairs)}[args.what]()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
