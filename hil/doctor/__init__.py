"""What a computer grants for real time and for boards: each point found, graded, and the command that would mend it.

    host = Host.here(Path("runs"))
    for point in examine(host, measure(host, seconds=1.0, priority=50, tick_us=1000)):
        print(point.grade, point.title, point.found)

Nothing here changes a setting. Where something cannot be found out, the grade is `unknown`.
"""

from __future__ import annotations

from hil.doctor import boards, kernel, machine
from hil.doctor.host import GOOD, GRADES, POOR, UNKNOWN, USABLE, Host, Point
from hil.doctor.measure import Measured, measure

__all__ = ["GOOD", "GRADES", "POOR", "UNKNOWN", "USABLE", "Host", "Measured", "Point", "examine", "measure"]

_CHECKS = (
    kernel.scheduling, kernel.throttling, kernel.memory_lock, kernel.preemption, kernel.clock_source, kernel.timers,
    machine.governor, machine.idle_states, machine.cpus, machine.virtual, machine.load, machine.noise_ordinary, machine.noise_fifo,
    machine.swap, machine.disk_sync, machine.disk_space, boards.serial_ports, boards.latency_timers, boards.descriptors,
    boards.zeromq, boards.emulators,
)


def examine(host: Host, measured: Measured) -> list[Point]:
    """All points, in the order in which one would mend them. A check that fails becomes a point that is unknown."""
    out: list[Point] = []
    for check in _CHECKS:
        try:
            found = check(host, measured)
        except Exception as exc:  # a doctor that falls over what it finds helps nobody
            name = check.__name__
            text = f"cannot be looked at: {type(exc).__name__}: {exc}"
            found = Point(name, name.replace("_", " "), UNKNOWN, text, "this check failed")
        out += found if isinstance(found, list) else [found]
    return [Point(**{**p.__dict__, "mend": host.commands(p.mend)}) for p in out]
