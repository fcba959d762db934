"""What can only be found by trying, done where it changes nothing: in a process of its own, and in a file that is removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hil.doctor.host import Host

SYNC_BYTES, SYNCS = 65536, 20


@dataclass(frozen=True)
class Measured:
    """priority: of SCHED_FIFO, as asked for. granted: what the kernel said ("fifo", "memory_lock"), empty when it was not asked.

    ordinary, fifo: RealTimeReport.as_dict of a thread that only waits, None when not measured. steal: share of processor time that
    a hypervisor took meanwhile. sync_ms: durations of fdatasync of 64 KiB. clock_resolution_ns: of CLOCK_MONOTONIC. problem: why
    something is missing.
    """

    priority: int = 50
    tick_us: int = 1000
    granted: Mapping[str, str] = field(default_factory=dict)
    ordinary: Mapping[str, Any] | None = None
    fifo: Mapping[str, Any] | None = None
    steal: float | None = None
    sync_ms: tuple[float, ...] = ()
    sync_problem: str = ""
    clock_resolution_ns: float | None = None
    problem: str = ""


def measure(host: Host, seconds: float, priority: int, tick_us: int) -> Measured:
    """Try and measure, `seconds` with each scheduling class; 0: only try what is granted. What a computer lacks is no error."""
    before = stolen(host)
    found, problem = _ask_child(seconds, priority, tick_us)
    after = stolen(host)
    sync_ms, sync_problem = sync_times(host.folder) if seconds > 0 else ((), "not measured")
    steal = None if before is None or after is None or after[1] <= before[1] else (after[0] - before[0]) / (after[1] - before[1])
    try:
        resolution: float | None = time.clock_getres(time.CLOCK_MONOTONIC) * 1e9
    except (AttributeError, OSError):
        resolution = None
    return Measured(priority, tick_us, found.get("granted", {}), found.get("ordinary"), found.get("fifo"), steal, sync_ms,
                    sync_problem, resolution, problem)


def _ask_child(seconds: float, priority: int, tick_us: int) -> tuple[dict[str, Any], str]:
    command = [sys.executable, "-m", "hil.doctor.probe", str(seconds), str(priority), str(tick_us)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 4 * seconds, stdin=subprocess.DEVNULL)
        found = json.loads(done.stdout)
        return (found, "") if isinstance(found, dict) else ({}, "the measuring process answered nonsense")
    except subprocess.TimeoutExpired:
        return {}, "the measuring process did not end"
    except OSError as exc:
        return {}, f"the measuring process cannot be started: {exc.strerror}"
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {}, f"the measuring process failed: {last[:200]}"


def stolen(host: Host) -> tuple[int, int] | None:
    """(steal, all) processor time so far, in the kernel's units; None when it is not told."""
    line = (host.read("proc/stat") or "").split("\n", 1)[0].split()
    if len(line) < 9 or line[0] != "cpu" or not all(v.isdigit() for v in line[1:9]):
        return None
    return int(line[8]), sum(int(v) for v in line[1:9])


def nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next((p for p in (folder, *folder.parents) if p.is_dir()), folder)


def sync_times(folder: Path, count: int = SYNCS) -> tuple[tuple[float, ...], str]:
    """Milliseconds that each of some fdatasync of 64 KiB takes in the nearest existing folder, or why it cannot be done."""
    sync = getattr(os, "fdatasync", os.fsync)
    out = []
    try:
        with tempfile.TemporaryFile(dir=nearest(folder), prefix=".flightsw-doctor-") as stream:
            for k in range(count):
                os.write(stream.fileno(), bytes([k]) * SYNC_BYTES)
                start = time.perf_counter()
                sync(stream.fileno())
                out.append((time.perf_counter() - start) * 1e3)
    except OSError as exc:
        return (), f"{nearest(folder)}: {exc.strerror}"
    return tuple(out), ""
