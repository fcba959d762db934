"""Points about the computer: processors, what else wants them, how late a waiting thread wakes, memory and disk."""

from __future__ import annotations

import re
import shlex
import shutil
from collections import Counter
from collections.abc import Mapping
from typing import Any

from hil.doctor.host import GOOD, POOR, UNKNOWN, USABLE, Host, Point, first_of, kernel_parameter
from hil.doctor.kernel import NOT_TOLD
from hil.doctor.measure import Measured, nearest

_WHO = "ps -eo pid,user,pcpu,comm --sort=-pcpu | head   # who it is"


def governor(host: Host, measured: Measured) -> Point:
    """What decides about the clock frequency of the processors."""
    found = Counter(t for t in (host.read(str(p.relative_to(host.root)))
                                for p in host.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")) if t)
    why = "a slow clock makes every task longer, and a change of it takes time"
    driver = host.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver") or ""
    values = {"governors": dict(found), "driver": driver}
    if not found:
        text = "left to the hypervisor" if host.virtual else NOT_TOLD
        return Point("governor", "CPU governor", UNKNOWN, text, why, (), values)
    slow = "powersave" in found and driver not in ("intel_pstate", "amd-pstate-epp")
    grade = GOOD if set(found) == {"performance"} else POOR if slow else USABLE
    command = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor   # until the next start"
    mend = () if grade == GOOD else (command,)
    text = ", ".join(f"{name} on {n} CPUs" for name, n in sorted(found.items()))
    return Point("governor", "CPU governor", grade, text, why, mend, values)


def idle_states(host: Host, measured: Measured) -> Point:
    """The deepest sleep that is not disabled, on any processor."""
    deepest, name = -1, ""
    for folder in host.glob("sys/devices/system/cpu/cpu[0-9]*/cpuidle/state[0-9]*"):
        at = str(folder.relative_to(host.root))
        latency = host.number(f"{at}/latency")
        if latency is not None and latency > deepest and host.number(f"{at}/disable") != 1:
            deepest, name = latency, host.read(f"{at}/name") or folder.name
    why = "a processor that sleeps deeply wakes late"
    if deepest < 0:
        text = "left to the hypervisor" if host.virtual else NOT_TOLD
        return Point("idle_states", "idle states", UNKNOWN, text, why, (), {"deepest_us": None})
    grade = GOOD if deepest <= 10 else USABLE if deepest <= 200 else POOR
    command = "echo 10 | sudo tee /sys/devices/system/cpu/cpu*/power/pm_qos_resume_latency_us   # until the next start"
    mend = () if grade == GOOD else (command,)
    values = {"deepest_us": deepest, "name": name}
    return Point("idle_states", "idle states", grade, f"deepest {name}, {deepest} us to wake", why, mend, values)


def cpu_list(text: str) -> set[int] | None:
    """`0-2,5` as a set; None when it is not such a list."""
    out: set[int] = set()
    for part in text.split(",") if text else []:
        found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part.strip())
        if found is None:
            return None
        out |= set(range(int(found[1]), int(found[2] or found[1]) + 1))
    return out


def cpus(host: Host, measured: Measured) -> Point:
    """Processors that this process may use, those of them kept free of others, and the quota of its control group."""
    found = re.search(r"^Cpus_allowed_list:\s*(\S+)", host.read("proc/self/status") or "", re.M)
    allowed = cpu_list(found[1]) if found else None
    why = "on a processor of its own the driver shares with nobody; on the only one it shares with all"
    isolated = sorted(cpu_list(host.read("sys/devices/system/cpu/isolated") or "") or set())
    quota = _quota(host)
    values = {"allowed": sorted(allowed or []), "isolated": isolated, "quota_cpus": quota}
    if not allowed:
        return Point("cpus", "CPUs", UNKNOWN, NOT_TOLD, why, (), values)
    grade = GOOD if isolated else USABLE if len(allowed) > 1 else POOR
    text = f"{len(allowed)} usable, " + (f"isolated: {', '.join(map(str, isolated))}" if isolated else "none isolated")
    mend: tuple[str, ...] = ()
    if isolated:
        mend = (f"# in [bench.real_time]: cpu = {isolated[-1]}",)
    elif len(allowed) > 1:
        last = max(allowed)
        mend = (*kernel_parameter(host, f"isolcpus=managed_irq,domain,{last} rcu_nocbs={last}"),
                f"# then, in [bench.real_time]: cpu = {last}")
    else:
        mend = ("# give the machine, or this process, a second processor",)
    if quota is not None:
        text += f", quota of the control group {quota:g} CPUs"
        if quota < len(allowed):
            grade = POOR
            mend = ("# no CPU quota: docker --cpuset-cpus instead of --cpus, systemd CPUQuota= with nothing after it", *mend)
    return Point("cpus", "CPUs", grade, text, why, mend, values)


def _quota(host: Host) -> float | None:
    own = re.search(r"^0::/(\S*)$", host.read("proc/self/cgroup") or "", re.M)
    for folder in (f"sys/fs/cgroup/{own[1]}" if own and own[1] else "sys/fs/cgroup", "sys/fs/cgroup"):
        two = (host.read(f"{folder}/cpu.max") or "").split()
        if len(two) == 2 and two[0].isdigit() and two[1].isdigit() and int(two[1]):
            return int(two[0]) / int(two[1])
    quota, period = host.number("sys/fs/cgroup/cpu/cpu.cfs_quota_us"), host.number("sys/fs/cgroup/cpu/cpu.cfs_period_us")
    return quota / period if quota is not None and period and quota > 0 else None


def virtual(host: Host, measured: Measured) -> Point:
    """Virtual machine, container, and the time that a hypervisor took away while measuring."""
    is_vm, container, steal = host.virtual, host.container, measured.steal
    why = "a hypervisor stops the whole computer without asking, and no priority helps"
    values = {"virtual_machine": is_vm, "container": container, "steal_share": steal}
    if is_vm is None:
        return Point("virtual", "virtual machine", UNKNOWN, NOT_TOLD, why, (), values)
    text = ("virtual machine" if is_vm else "no virtual machine") + (f", container ({container})" if container else "")
    if is_vm and steal is not None:
        text += f", {100 * steal:.2g} % of the time stolen while measuring"
    grade = GOOD if not is_vm else POOR if steal is not None and steal > 0.005 else USABLE
    text_mend = "# run on the computer itself, or give each virtual processor one of its own: virsh vcpupin DOMAIN 0 2"
    mend = (text_mend,) if is_vm else ()
    return Point("virtual", "virtual machine", grade, text, why, mend, values)


def load(host: Host, measured: Measured) -> Point:
    """Load average per processor and the kernel's own measure of waiting."""
    average = re.match(r"([\d.]+)", host.read("proc/loadavg") or "")
    pressure = {}
    for kind in ("cpu", "io", "memory"):
        found = re.search(r"^some avg10=([\d.]+)", host.read(f"proc/pressure/{kind}") or "", re.M)
        if found:
            pressure[kind] = float(found[1])
    n = len(re.findall(r"^cpu\d+ ", host.read("proc/stat") or "", re.M)) or 1
    why = "what else runs delays whatever has no real-time priority, and fills caches and disks for all"
    values = {"load_1min": float(average[1]) if average else None, "cpus": n, "pressure_10s_percent": pressure}
    grades, text = [], []
    if average:
        each = float(average[1]) / n
        grades.append(GOOD if each < 0.5 else USABLE if each < 1.0 else POOR)
        text.append(f"load {float(average[1]):g} on {n} CPUs")
    for kind, percent in pressure.items():
        grades.append(GOOD if percent < 5 else USABLE if percent < 25 else POOR)
        text.append(f"{kind} waited for in {percent:g} % of the last 10 s")
    grade = first_of(grades)
    return Point("load", "load now", grade, ", ".join(text) or NOT_TOLD, why, () if grade in (GOOD, UNKNOWN) else (_WHO,), values)


def noise_ordinary(host: Host, measured: Measured) -> Point:
    """Lateness of a thread that only waits, with ordinary scheduling."""
    mend = f"# in [bench.real_time]: priority = {measured.priority}"
    return _noise("noise_ordinary", "noise, ordinary", measured.ordinary, measured, mend)


def noise_fifo(host: Host, measured: Measured) -> Point:
    """Lateness of a thread that only waits, with SCHED_FIFO."""
    mend = "# mend the points above; then run flightsw doctor --seconds 60"
    return _noise("noise_fifo", "noise, SCHED_FIFO", measured.fifo, measured, mend)


def _noise(key: str, title: str, report: Mapping[str, Any] | None, measured: Measured, mend: str) -> Point:
    why = "this much lateness is the computer's, whatever flies"
    if report is None:
        refused = measured.granted.get("fifo", "granted") != "granted" and key == "noise_fifo"
        text = "SCHED_FIFO is not granted" if refused else measured.problem or "not measured"
        return Point(key, title, UNKNOWN, text, why)
    late, missed, ticks = report["late_us"], report["missed"], report["ticks"]
    grade = POOR if missed else GOOD if late["max"] <= 0.2 * measured.tick_us else USABLE
    text = f"p50 {late['p50']:.0f}, p99 {late['p99']:.0f}, max {late['max']:.0f} us; {missed} of {ticks} ticks missed"
    values = {**{f"{name}_us": v for name, v in late.items()}, "missed": missed, "ticks": ticks, "tick_us": measured.tick_us}
    return Point(key, title, grade, text, why, () if grade == GOOD else (mend,), values)


def swap(host: Host, measured: Measured) -> Point:
    """Swap space, which locked memory does not enter."""
    text, why = host.read("proc/swaps"), "a page that was swapped out is fetched from the disk when it is touched"
    if text is None:
        return Point("swap", "swap", UNKNOWN, NOT_TOLD, why)
    rows = [line.split() for line in text.splitlines()[1:]]
    used = sum(int(r[3]) for r in rows if len(r) >= 4 and r[3].isdigit())
    values = {"areas": len(rows), "used_kib": used}
    if not rows:
        return Point("swap", "swap", GOOD, "none", why, (), values)
    locked = measured.granted.get("memory_lock") == "granted"
    grade = GOOD if locked else POOR if used else USABLE
    mend = () if locked else ("sudo swapoff -a   # until the next start",)
    found = f"{len(rows)} areas, {used >> 10} MiB used" + (", but memory can be locked" if locked else "")
    return Point("swap", "swap", grade, found, why, mend, values)


def disk_sync(host: Host, measured: Measured) -> Point:
    """How long the disk of the run directory takes to have 64 KiB for certain."""
    where, times = nearest(host.folder), sorted(measured.sync_ms)
    why = "the log waits for it; while it waits longer than the recorder's ring holds, messages are dropped"
    if not times:
        return Point("disk_sync", "disk", UNKNOWN, measured.sync_problem or "not measured", why)
    median, worst = times[len(times) // 2], times[-1]
    grade = GOOD if worst <= 50 else USABLE if worst <= 500 else POOR
    mend = () if grade == GOOD else (f"findmnt -T {shlex.quote(str(where))}   # which disk it is",
                                     "flightsw run BENCH --out FOLDER   # FOLDER on a faster one")
    found = f"fdatasync of 64 KiB: p50 {median:.1f}, max {worst:.1f} ms"
    values = {"p50_ms": median, "max_ms": worst, "folder": str(where)}
    return Point("disk_sync", "disk", grade, found, why, mend, values)


def disk_space(host: Host, measured: Measured) -> Point:
    """Free space where runs are written."""
    where, why = nearest(host.folder), "a flight of an hour with all topics is a few gigabytes"
    try:
        free = shutil.disk_usage(where).free
    except OSError as exc:
        return Point("disk_space", "disk space", UNKNOWN, f"{where}: {exc.strerror}", why)
    grade = GOOD if free >= 10e9 else USABLE if free >= 1e9 else POOR
    mend = () if grade == GOOD else (f"du -sh {shlex.quote(str(where))}/* | sort -h | tail   # what takes it",
                                     "flightsw run BENCH --out FOLDER   # FOLDER elsewhere")
    values = {"free_bytes": free, "folder": str(where)}
    return Point("disk_space", "disk space", grade, f"{free / 1e9:.1f} GB free", why, mend, values)
