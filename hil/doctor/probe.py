"""The measuring process: `python -m hil.doctor.probe SECONDS PRIORITY TICK_US` prints JSON.

With its end all that it was granted ends too.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from flightsw.realtime import RealTimeConfig, noise

_LEAST_S = 0.02  # long enough to be answered


def probe(seconds: float, priority: int, tick_us: int) -> dict[str, Any]:
    """What the real-time driver is granted, and its lateness with ordinary scheduling and with SCHED_FIFO where that is granted."""
    out: dict[str, Any] = {}
    asked = noise(_LEAST_S, tick_us * 1000, RealTimeConfig(priority=priority, lock_memory=True, warm_up_ticks=0))
    out["granted"] = dict(asked.granted)
    if seconds > 0:
        ticks = seconds * 1e6 / tick_us
        warm_up = int(min(100, ticks / 2))
        out["ordinary"] = noise(seconds, tick_us * 1000, RealTimeConfig(lock_memory=True, warm_up_ticks=warm_up)).as_dict()
        if asked.granted["fifo"] == "granted":
            config = RealTimeConfig(priority=priority, lock_memory=True, warm_up_ticks=warm_up)
            out["fifo"] = noise(seconds, tick_us * 1000, config).as_dict()
    return out


if __name__ == "__main__":
    print(json.dumps(probe(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
