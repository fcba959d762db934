"""Points about the kernel: what it grants to a real-time thread, how it preempts, what clock and timers it has."""

from __future__ import annotations

import gzip
import re

from hil.doctor.host import GOOD, POOR, UNKNOWN, USABLE, Host, Point, kernel_parameter
from hil.doctor.measure import Measured

NOT_TOLD = "not told by this system"


def scheduling(host: Host, measured: Measured) -> Point:
    """Can a thread have SCHED_FIFO? What was tried counts; without it, nothing is promised from the limit alone."""
    limit, answer = host.limit("Max realtime priority"), measured.granted.get("fifo")
    told = "" if limit is None else f" (RLIMIT_RTPRIO {'unlimited' if limit < 0 else limit})"
    values = {"rlimit_rtprio": limit, "priority": measured.priority, "answer": answer}
    why = "with SCHED_FIFO a release waits for no ordinary thread"
    if answer == "granted":
        return Point("scheduling", "scheduling class", GOOD, f"SCHED_FIFO {measured.priority} granted{told}", why, (), values)
    if answer is None:
        return Point("scheduling", "scheduling class", UNKNOWN, (measured.problem or NOT_TOLD) + told, why, (), values)
    return Point("scheduling", "scheduling class", POOR, f"SCHED_FIFO {measured.priority} {answer}{told}", why,
                 _mend_limit(host, "rtprio", str(max(95, measured.priority)), "SYS_NICE"), values)


def _mend_limit(host: Host, name: str, value: str, capability: str) -> tuple[str, ...]:
    if host.container:
        docker = "-1" if value == "unlimited" else value
        return (f"# start the container again with: --cap-add {capability} --ulimit {name}={docker}",)
    now = f"sudo prlimit --pid $$ --{name}={value}:{value}   # this shell, now"
    if host.uid == 0:
        group = _starved_group(host) if name == "rtprio" else None
        if group is not None:
            return (f"echo 950000 | sudo tee /{group}   # no real-time thread may run in this control group",)
        return (now, f"# or give the service the capability, in systemd AmbientCapabilities=CAP_{capability}")
    line = f"{host.user} - {name} {value}"
    return (now, f"echo '{line}' | sudo tee -a /etc/security/limits.d/99-flightsw.conf   # from the next login on")


def _starved_group(host: Host) -> str | None:
    """File of this process's own control group (version 1) that gives real-time threads no time, if there is one."""
    own = re.search(r"^\d+:(?:[\w,]*,)?cpu(?:,[\w,]*)?:/(\S*)$", host.read("proc/self/cgroup") or "", re.M)
    path = f"sys/fs/cgroup/cpu/{own[1]}/cpu.rt_runtime_us".replace("//", "/") if own else ""
    return path if path and host.number(path) == 0 else None


def throttling(host: Host, measured: Measured) -> Point:
    """Share of the time that real-time threads may have."""
    runtime = host.number("proc/sys/kernel/sched_rt_runtime_us")
    period = host.number("proc/sys/kernel/sched_rt_period_us") or 1_000_000
    title, why = "real-time throttling", "threads that used up their share are stopped for the rest of the period"
    values = {"runtime_us": runtime, "period_us": period}
    back = ("sudo sysctl -w kernel.sched_rt_runtime_us=950000   # until the next start",)
    if runtime is None:
        return Point("throttling", title, UNKNOWN, NOT_TOLD, why, (), values)
    if runtime < 0:
        return Point("throttling", title, USABLE, "off: a thread that never sleeps stops this computer", why, back, values)
    share = runtime / max(1, period)
    grade = GOOD if share >= 0.9 else USABLE if share >= 0.5 else POOR
    found = f"{100 * share:.0f} % of each {period * 1e-6:g} s"
    return Point("throttling", title, grade, found, why, () if grade == GOOD else back, values)


def memory_lock(host: Host, measured: Measured) -> Point:
    """mlockall by the driver, in a process of its own."""
    limit, answer = host.limit("Max locked memory"), measured.granted.get("memory_lock")
    told = "" if limit is None else f" (RLIMIT_MEMLOCK {'unlimited' if limit < 0 else f'{limit >> 10} KiB'})"
    values = {"rlimit_memlock_bytes": limit, "answer": answer}
    title, why = "memory lock", "memory that is not locked may have to be fetched from the disk in the middle of a tick"
    if answer == "granted":
        return Point("memory_lock", title, GOOD, f"mlockall granted{told}", why, (), values)
    if answer is None:
        return Point("memory_lock", title, UNKNOWN, (measured.problem or NOT_TOLD) + told, why, (), values)
    mend = _mend_limit(host, "memlock", "unlimited", "IPC_LOCK")
    return Point("memory_lock", title, POOR, f"mlockall {answer}{told}", why, mend, values)


def preemption_model(host: Host) -> str:
    """rt, full, lazy, voluntary, none, or "" when it is not told."""
    if host.read("sys/kernel/realtime") == "1" or re.search(r"PREEMPT[_ ]RT\b", host.version):
        return "rt"
    chosen = re.search(r"\((\w+)\)", host.read("sys/kernel/debug/sched/preempt") or "")
    if chosen:
        return chosen[1]
    if "PREEMPT_DYNAMIC" in host.version:
        asked = re.findall(r"\bpreempt=(none|voluntary|full|lazy)\b", host.read("proc/cmdline") or "")
        return asked[-1] if asked else _built_in(host)
    if re.search(r"\bPREEMPT\b", host.version):
        return "full"
    return _built_in(host)


def _built_in(host: Host) -> str:
    text = host.read(f"boot/config-{host.release}")
    if text is None:
        try:
            text = gzip.decompress((host.root / "proc/config.gz").read_bytes()).decode("utf-8", "replace")
        except (OSError, EOFError, ValueError):
            return ""
    found = re.search(r"^CONFIG_PREEMPT_(NONE|VOLUNTARY|LAZY)=y$", text, re.M)
    return found[1].lower() if found else "full" if re.search(r"^CONFIG_PREEMPT=y$", text, re.M) else ""


_MODEL = {"rt": (GOOD, "PREEMPT_RT"), "full": (USABLE, "full"), "lazy": (USABLE, "lazy"), "voluntary": (USABLE, "voluntary"),
          "none": (POOR, "none: kernel code runs to its end")}
_RT_KERNEL = {"debian": "linux-image-rt-amd64", "fedora": "kernel-rt", "arch": "linux-rt", "suse": "kernel-rt",
              "": "a kernel with CONFIG_PREEMPT_RT"}


def preemption(host: Host, measured: Measured) -> Point:
    """Preemption model of the kernel."""
    model = preemption_model(host)
    grade, found = _MODEL.get(model, (UNKNOWN, NOT_TOLD))
    mend: tuple[str, ...] = ()
    if grade != GOOD and host.system == "Linux":
        if host.container:
            mend = ("# the kernel is that of the computer that runs the container: run flightsw doctor there",)
        else:
            switch = "sys/kernel/debug/sched/preempt"  # for root only: others cannot see whether it is there
            if model in ("none", "voluntary", "lazy") and "DYNAMIC" in host.version:
                if host.uid != 0 or host.read(switch) is not None:
                    mend = (f"echo full | sudo tee /{switch}   # until the next start",)
                mend += kernel_parameter(host, "preempt=full")
            mend += ("sudo pro enable realtime-kernel" if host.distribution == "ubuntu" else host.install(_RT_KERNEL),)
    return Point("preemption", "preemption", grade, f"{found}; kernel {host.release}" if model else found,
                 "what the kernel does for others delays a release unless it can be preempted", mend, {"model": model})


_FAST = {"tsc": GOOD, "arch_sys_counter": GOOD, "riscv_clocksource": GOOD, "kvm-clock": GOOD, "hyperv_clocksource_tsc_page": GOOD,
         "xen": USABLE, "hpet": POOR, "acpi_pm": POOR, "jiffies": POOR, "refined-jiffies": POOR, "pit": POOR}


def clock_source(host: Host, measured: Measured) -> Point:
    """What CLOCK_MONOTONIC is read from."""
    folder = "sys/devices/system/clocksource/clocksource0"
    current, available = host.read(f"{folder}/current_clocksource"), (host.read(f"{folder}/available_clocksource") or "").split()
    why = "the clock is read several times in every tick; some sources take microseconds and a system call"
    grade = _FAST.get(current or "", UNKNOWN)
    mend: tuple[str, ...] = ()
    better = next((s for s in available if _FAST.get(s) == GOOD), None)
    if grade in (USABLE, POOR):
        mend = ((f"echo {better} | sudo tee /{folder}/current_clocksource   # until the next start",) if better
                else kernel_parameter(host, "tsc=reliable"))
    values = {"current": current, "available": available}
    return Point("clock_source", "clock source", grade, current or NOT_TOLD, why, mend, values)


def timers(host: Host, measured: Measured) -> Point:
    """High-resolution timers, and the slack of ordinary threads."""
    slack, text = host.number("proc/self/timerslack_ns"), host.read("proc/timer_list")
    active = [int(v) for v in re.findall(r"^\s*\.hres_active\s*:\s*(\d)", text or "", re.M)]
    fine = all(active) if active else None if measured.clock_resolution_ns is None else measured.clock_resolution_ns <= 1000
    why = "without them a thread wakes at the kernel's own tick, 1 to 10 ms apart; slack delays ordinary threads further"
    values = {"high_resolution": fine, "slack_ns": slack}
    slow = slack is not None and slack > 1_000_000
    grade = UNKNOWN if fine is None else POOR if not fine else USABLE if slow else GOOD
    found = NOT_TOLD if fine is None else "high resolution" if fine else "low resolution"
    found += "" if slack is None else f", slack {slack * 1e-3:g} us"
    mend: tuple[str, ...] = ()
    if fine is False:
        mend = kernel_parameter(host, "highres=on")
    elif slow:
        mend = ("echo 50000 | sudo tee /proc/$$/timerslack_ns   # this shell, now",)
    return Point("timers", "timers", grade, found, why, mend, values)
