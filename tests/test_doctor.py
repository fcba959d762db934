"""flightsw doctor: every grade of every point on computers made of files, and that the real one is looked at without a change."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from flightsw.cli import run_cli
from hil import doctor
from hil.doctor import GRADES, Host, Measured, Point, boards, examine, measure
from hil.doctor.host import kernel_parameter
from hil.doctor.machine import cpu_list
from hil.doctor.measure import nearest, stolen, sync_times

CPU = "sys/devices/system/cpu"
CLOCK = "sys/devices/system/clocksource/clocksource0"
DEBIAN = {"etc/os-release": 'ID=debian\n', "etc/default/grub": 'GRUB_CMDLINE_LINUX=""\n'}
LIMITS = ("Limit  Soft Limit  Hard Limit  Units\nMax open files  {files}  4096  files\n"
          "Max locked memory  8388608  8388608  bytes\nMax realtime priority  {rtprio}  0\n")
VM = {"proc/cpuinfo": "flags\t\t: fpu tsc hypervisor\n"}
METAL = {"proc/cpuinfo": "flags\t\t: fpu tsc\n"}
DYNAMIC = "#1 SMP PREEMPT_DYNAMIC Debian 6.12"


def late(maximum: float, missed: int = 0) -> dict[str, Any]:
    return {"late_us": {"p50": 10.0, "p90": 12.0, "p99": 20.0, "p99_9": 50.0, "max": maximum}, "missed": missed, "ticks": 1000}


def host_of(root: Path, files: dict[str, str | bytes], **changes: Any) -> Host:
    """A computer with these files below `root`."""
    root.mkdir(exist_ok=True)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, "utf-8")
    given = {"folder": root, "system": "Linux", "release": "6.1.0", "version": "#1 SMP", "uid": 1000, "gids": frozenset({1000}),
             "user": "ada", "which": lambda name: f"/usr/bin/{name}", **changes}
    return Host(root=root, **given)


def points(host: Host, measured: Measured | None = None) -> dict[str, Point]:
    found = {p.key: p for p in examine(host, measured or Measured())}
    assert all(p.grade in GRADES and p.found and p.why and p.title for p in found.values())
    assert not [p for p in found.values() if "Error" in p.found]
    assert not [p for p in found.values() if p.grade == "good" and p.mend and p.key != "cpus"], "what is good needs no mending"
    return found


def case(key: str, grade: str, found: str, mend: str = "", **given: dict[str, Any]) -> Any:
    """A point: its grade, part of what is found, part of a command ("": none). given: files, host, measured."""
    return pytest.param(key, grade, found, mend, given, id=f"{key}-{grade}-{found[:20]}")


CASES = [
    case("scheduling", "good", "SCHED_FIFO 50 granted", measured={"granted": {"fifo": "granted"}}),
    case("scheduling", "poor", "(RLIMIT_RTPRIO 0)", "sudo prlimit --pid $$ --rtprio=95:95",
         files={"proc/self/limits": LIMITS.format(files=1024, rtprio=0)},
         measured={"granted": {"fifo": "refused: Operation not permitted"}}),
    case("scheduling", "poor", "refused", "--cap-add SYS_NICE --ulimit rtprio=95", files={".dockerenv": ""},
         measured={"granted": {"fifo": "refused: no"}}),
    case("scheduling", "poor", "refused", "echo 950000 | tee /sys/fs/cgroup/cpu/a/b/cpu.rt_runtime_us", host={"uid": 0},
         files={"sys/fs/cgroup/cpu/a/b/cpu.rt_runtime_us": "0", "proc/self/cgroup": "3:cpuset:/\n2:cpu,cpuacct:/a/b\n"},
         measured={"granted": {"fifo": "refused: no"}}),
    case("scheduling", "poor", "refused", "AmbientCapabilities=CAP_SYS_NICE", host={"uid": 0},
         files={"sys/fs/cgroup/cpu/cpu.rt_runtime_us": "950000", "proc/self/cgroup": "2:cpu:/\n"},
         measured={"granted": {"fifo": "refused: no"}}),
    case("scheduling", "unknown", "it did not end", measured={"problem": "it did not end"}),
    case("throttling", "good", "95 % of each 1 s", files={"proc/sys/kernel/sched_rt_runtime_us": "950000"}),
    case("throttling", "usable", "off", "sudo sysctl -w kernel.sched_rt_runtime_us=950000",
         files={"proc/sys/kernel/sched_rt_runtime_us": "-1"}),
    case("throttling", "usable", "70 %", "sysctl", files={"proc/sys/kernel/sched_rt_runtime_us": "700000"}),
    case("throttling", "poor", "0 %", "sysctl", files={"proc/sys/kernel/sched_rt_runtime_us": "0"}),
    case("throttling", "unknown", "not told"),
    case("memory_lock", "good", "granted", measured={"granted": {"memory_lock": "granted"}}),
    case("memory_lock", "poor", "(RLIMIT_MEMLOCK 8192 KiB)", "--memlock=unlimited:unlimited",
         files={"proc/self/limits": LIMITS.format(files=1024, rtprio=0)},
         measured={"granted": {"memory_lock": "refused: Cannot allocate memory"}}),
    case("memory_lock", "unknown", "not told"),
    case("preemption", "good", "PREEMPT_RT", files={"sys/kernel/realtime": "1\n"}),
    case("preemption", "good", "PREEMPT_RT", host={"version": "#1 SMP PREEMPT_RT Debian"}),
    case("preemption", "usable", "full", "install", files={"sys/kernel/debug/sched/preempt": "none voluntary (full) lazy"},
         host={"version": DYNAMIC}),
    case("preemption", "usable", "voluntary", "echo full | sudo tee /sys/kernel/debug/sched/preempt",
         files={**DEBIAN, "boot/config-6.1.0": "CONFIG_PREEMPT_VOLUNTARY=y\n"}, host={"version": DYNAMIC}),
    case("preemption", "usable", "voluntary", "sudo apt install linux-image-rt-amd64",
         files={**DEBIAN, "proc/cmdline": "quiet preempt=none preempt=voluntary"}, host={"version": DYNAMIC}),
    case("preemption", "usable", "full", "sudo pro enable realtime-kernel", files={"etc/os-release": "ID=ubuntu\nID_LIKE=debian\n"},
         host={"version": "#1 SMP PREEMPT Wed"}),
    case("preemption", "poor", "none", "preempt=full", files={"proc/config.gz": gzip.compress(b"CONFIG_PREEMPT_NONE=y\n")},
         host={"version": DYNAMIC}),
    case("preemption", "unknown", "not told", "CONFIG_PREEMPT_RT", files={"proc/config.gz": b"\x1f\x8b damaged"}),
    case("clock_source", "good", "tsc", files={f"{CLOCK}/current_clocksource": "tsc\n"}),
    case("clock_source", "usable", "xen", f"echo tsc | sudo tee /{CLOCK}/current_clocksource",
         files={f"{CLOCK}/current_clocksource": "xen\n", f"{CLOCK}/available_clocksource": "xen tsc\n"}),
    case("clock_source", "poor", "hpet", "tsc=reliable",
         files={**DEBIAN, f"{CLOCK}/current_clocksource": "hpet", f"{CLOCK}/available_clocksource": "hpet acpi_pm"}),
    case("clock_source", "unknown", "sundial", files={f"{CLOCK}/current_clocksource": "sundial"}),
    case("timers", "good", "high resolution, slack 50 us",
         files={"proc/timer_list": "  .hres_active    : 1\n  .hres_active    : 1\n", "proc/self/timerslack_ns": "50000"}),
    case("timers", "good", "high resolution", measured={"clock_resolution_ns": 1.0}),
    case("timers", "usable", "slack 40000 us", "timerslack_ns", files={"proc/self/timerslack_ns": "40000000"},
         measured={"clock_resolution_ns": 1.0}),
    case("timers", "poor", "low resolution", "highres=on",
         files={"proc/timer_list": "  .hres_active    : 1\n  .hres_active    : 0\n"}, measured={"clock_resolution_ns": 1.0}),
    case("timers", "unknown", "not told"),
    case("governor", "good", "performance on 1 CPUs", files={f"{CPU}/cpu0/cpufreq/scaling_governor": "performance"}),
    case("governor", "usable", "schedutil on 1 CPUs", f"echo performance | sudo tee /{CPU}/cpu*/cpufreq/scaling_governor",
         files={f"{CPU}/cpu0/cpufreq/scaling_governor": "performance", f"{CPU}/cpu1/cpufreq/scaling_governor": "schedutil"}),
    case("governor", "usable", "powersave", "performance",
         files={f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave", f"{CPU}/cpu0/cpufreq/scaling_driver": "intel_pstate"}),
    case("governor", "poor", "powersave", "performance",
         files={f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave", f"{CPU}/cpu0/cpufreq/scaling_driver": "acpi-cpufreq"}),
    case("governor", "unknown", "hypervisor", files=VM),
    case("idle_states", "good", "2 us",
         files={f"{CPU}/cpu0/cpuidle/state0/latency": "0", f"{CPU}/cpu0/cpuidle/state1/latency": "2",
                f"{CPU}/cpu0/cpuidle/state2/latency": "890", f"{CPU}/cpu0/cpuidle/state2/disable": "1"}),
    case("idle_states", "usable", "deepest C6, 133 us", f"echo 10 | sudo tee /{CPU}/cpu*/power/pm_qos_resume_latency_us",
         files={f"{CPU}/cpu1/cpuidle/state2/latency": "133", f"{CPU}/cpu1/cpuidle/state2/name": "C6"}),
    case("idle_states", "poor", "890 us", "pm_qos_resume_latency_us", files={f"{CPU}/cpu0/cpuidle/state3/latency": "890"}),
    case("idle_states", "unknown", "not told", files=METAL),
    case("cpus", "good", "isolated: 2, 3", "cpu = 3",
         files={"proc/self/status": "Cpus_allowed_list:\t0-3\n", f"{CPU}/isolated": "2-3\n"}),
    case("cpus", "usable", "3 usable, none isolated", "isolcpus=managed_irq,domain,3 rcu_nocbs=3",
         files={**DEBIAN, "proc/self/status": "Cpus_allowed_list:\t0-1,3\n", f"{CPU}/isolated": "\n"}),
    case("cpus", "poor", "1 usable", "second processor", files={"proc/self/status": "Cpus_allowed_list:\t0\n"}),
    case("cpus", "poor", "1.5 CPUs", "CPUQuota",
         files={"proc/self/status": "Cpus_allowed_list:\t0-3\n", "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}),
    case("cpus", "poor", "0.5 CPUs", "CPUQuota",
         files={"proc/self/status": "Cpus_allowed_list:\t0-3\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}),
    case("cpus", "usable", "4 usable", "isolcpus",
         files={"proc/self/status": "Cpus_allowed_list:\t0-3\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}),
    case("cpus", "unknown", "not told", files={"proc/self/status": "Cpus_allowed_list:\tmany\n"}),
    case("virtual", "good", "no virtual machine", files=METAL),
    case("virtual", "good", "container (podman)", files={**METAL, "run/.containerenv": ""}),
    case("virtual", "usable", "0.1 % of the time stolen", "virsh vcpupin", files=VM, measured={"steal": 0.001}),
    case("virtual", "usable", "virtual machine", "vcpupin",
         files={**METAL, "sys/class/dmi/id/product_name": "VMware Virtual Platform"}),
    case("virtual", "poor", "3 % of the time stolen", "vcpupin", files=VM, measured={"steal": 0.03}),
    case("virtual", "unknown", "not told"),
    case("load", "good", "load 0.1 on 2 CPUs",
         files={"proc/loadavg": "0.10 0.2 0.3 1/9 1", "proc/stat": "cpu  1\ncpu0 1\ncpu1 1\n",
                "proc/pressure/cpu": "some avg10=0.50 avg60=9.0"}),
    case("load", "usable", "load 1.5", "ps -eo", files={"proc/loadavg": "1.50 0 0 1/9 1", "proc/stat": "cpu  1\ncpu0 1\ncpu1 1\n"}),
    case("load", "usable", "io waited for in 12 %", "ps -eo",
         files={"proc/loadavg": "0.10 0 0 1/9 1", "proc/pressure/io": "some avg10=12.00 avg60=0"}),
    case("load", "poor", "load 2", "ps -eo", files={"proc/loadavg": "2.00 0 0 1/9 1", "proc/stat": "cpu  1\ncpu0 1\ncpu1 1\n"}),
    case("load", "poor", "memory waited for", "ps -eo", files={"proc/pressure/memory": "some avg10=25.00 avg60=0"}),
    case("load", "unknown", "not told"),
    case("noise_ordinary", "good", "p50 10, p99 20, max 200 us; 0 of 1000", measured={"ordinary": late(200.0)}),
    case("noise_ordinary", "usable", "max 201", "priority = 50", measured={"ordinary": late(201.0)}),
    case("noise_ordinary", "poor", "1 of 1000", "priority = 50", measured={"ordinary": late(1500.0, 1)}),
    case("noise_ordinary", "unknown", "not measured"),
    case("noise_fifo", "good", "max 90", measured={"fifo": late(90.0)}),
    case("noise_fifo", "usable", "max 90", "--seconds 60", measured={"fifo": late(90.0), "tick_us": 100}),
    case("noise_fifo", "poor", "3 of 1000", "--seconds 60", measured={"fifo": late(1500.0, 3)}),
    case("noise_fifo", "unknown", "SCHED_FIFO is not granted", measured={"granted": {"fifo": "refused: no"}}),
    case("swap", "good", "none", files={"proc/swaps": "Filename Type Size Used Priority\n"}),
    case("swap", "good", "4 MiB used, but memory can be locked",
         files={"proc/swaps": "Filename Type Size Used Priority\n/swap file 9 4096 -2\n"},
         measured={"granted": {"memory_lock": "granted"}}),
    case("swap", "usable", "0 MiB used", "sudo swapoff -a",
         files={"proc/swaps": "Filename Type Size Used Priority\n/swap file 9 0 -2\n"}),
    case("swap", "poor", "4 MiB used", "swapoff", files={"proc/swaps": "Filename Type Size Used Priority\n/swap file 9 4096 -2\n"}),
    case("swap", "unknown", "not told"),
    case("disk_sync", "good", "p50 2.0, max 9.0 ms", measured={"sync_ms": (9.0, 1.0, 2.0)}),
    case("disk_sync", "usable", "max 50.1", "findmnt -T", measured={"sync_ms": (2.0, 50.1)}),
    case("disk_sync", "poor", "max 501.0", "--out", measured={"sync_ms": (2.0, 501.0)}),
    case("disk_sync", "unknown", "Permission denied", measured={"sync_problem": "/x: Permission denied"}),
    case("serial", "good", "group dialout may open them", files={"etc/group": "dialout:x:20:\n"}, host={"gids": frozenset({20})}),
    case("serial", "usable", "ada is not in group uucp", "sudo usermod -aG uucp ada", files={"etc/group": "uucp:x:14:\n"}),
    case("serial", "unknown", "not told", host={"system": "Darwin"}),
    case("latency_timer:ttyUSB0", "good", "1 ms", files={"sys/bus/usb-serial/devices/ttyUSB0/latency_timer": "1\n"}),
    case("latency_timer:ttyUSB0", "usable", "4 ms", "echo 1 |", files={"sys/bus/usb-serial/devices/ttyUSB0/latency_timer": "4\n"}),
    case("latency_timer:ttyUSB7", "poor", "16 ms", "echo 1 | sudo tee /sys/bus/usb-serial/devices/ttyUSB7/latency_timer",
         files={"sys/bus/usb-serial/devices/ttyUSB7/latency_timer": "16\n"}),
    case("latency_timer:ttyUSB0", "unknown", "not told", files={"sys/bus/usb-serial/devices/ttyUSB0/latency_timer": "soon"}),
    case("descriptors", "good", "1024", files={"proc/self/limits": LIMITS.format(files=1024, rtprio=0)}),
    case("descriptors", "good", "unlimited", files={"proc/self/limits": LIMITS.format(files="unlimited", rtprio=0)}),
    case("descriptors", "usable", "256", "ulimit -n 4096", files={"proc/self/limits": LIMITS.format(files=256, rtprio=0)}),
    case("descriptors", "poor", "64", "ulimit -n 4096", files={"proc/self/limits": LIMITS.format(files=64, rtprio=0)}),
    case("descriptors", "unknown", "not told"),
    case("emulators", "good", "qemu-system-arm"),
    case("emulators", "usable", "not found", "sudo apt install qemu-system-arm gcc-arm-none-eabi", files=DEBIAN,
         host={"which": lambda name: None}),
    case("emulators", "usable", "not found", "sudo dnf install qemu-system-arm arm-none-eabi-gcc-cs",
         files={"etc/os-release": 'ID="rocky"\nID_LIKE="rhel centos fedora"\n'}, host={"which": lambda name: None}),
    case("emulators", "usable", "not found", "# install qemu-system-arm and arm-none-eabi-gcc", host={"which": lambda name: None}),
]


@pytest.mark.parametrize(("key", "grade", "found", "mend", "given"), CASES)
def test_grades(tmp_path: Path, key: str, grade: str, found: str, mend: str, given: dict[str, dict[str, Any]]) -> None:
    host = host_of(tmp_path / "root", given.get("files", {}), **given.get("host", {}))
    point = points(host, Measured(**given.get("measured", {})))[key]
    assert point.grade == grade and found in point.found, point
    assert any(mend in line for line in point.mend) if mend else point.mend == (), point.mend


def test_every_point_has_a_test_of_each_grade_that_it_can_have() -> None:
    tested: dict[str, set[str]] = {}
    for key, grade, *_ in (c.values for c in CASES):
        tested.setdefault(key.split(":")[0], set()).add(grade)
    full = set(GRADES)
    assert {k: full - v for k, v in tested.items() if v != full} == {
        "memory_lock": {"usable"}, "scheduling": {"usable"}, "serial": {"poor"}, "emulators": {"poor", "unknown"}}


def test_a_computer_that_tells_nothing(tmp_path: Path) -> None:
    found = points(host_of(tmp_path / "root", {}, system="Windows", uid=-1, gids=frozenset(), which=lambda name: None))
    assert {k for k, p in found.items() if p.grade != "unknown"} <= {"zeromq", "emulators", "disk_space"}
    assert not [p for p in found.values() if p.grade == "poor"]


def test_serial_ports(tmp_path: Path) -> None:
    files = {"dev/ttyUSB0": "", "dev/ttyACM0": "", "etc/group": "root:x:0:\ndialout:x:20:\nown:x:4321:\n"}
    host = host_of(tmp_path / "root", files)
    for name in ("ttyUSB0", "ttyACM0"):
        (host.root / "dev" / name).chmod(0o660)
    (host.root / "dev/serial/by-id").mkdir(parents=True)
    (host.root / "dev/serial/by-id/usb-Acme-if00").symlink_to("../../ttyACM0")
    st = (host.root / "dev/ttyACM0").stat()
    stranger = {"uid": st.st_uid + 1, "gids": frozenset({st.st_gid + 1})}
    found = points(host_of(host.root, {}, **stranger))
    assert found["serial:/dev/ttyUSB0"].grade == "poor" and "ada may not open it" in found["serial:/dev/ttyUSB0"].found
    assert any("usermod -aG" in m for m in found["serial:/dev/ttyUSB0"].mend)
    member = {"uid": st.st_uid + 1, "gids": frozenset({st.st_gid})}
    found = points(host_of(host.root, {}, **member))
    assert found["serial:/dev/ttyUSB0"].grade == "usable" and "no stable name" in found["serial:/dev/ttyUSB0"].found
    assert found["serial:/dev/ttyACM0"].grade == "good" and found["serial:/dev/ttyACM0"].found == "/dev/serial/by-id/usb-Acme-if00"
    assert "serial" not in found
    found = points(host_of(host.root, {"proc/77/comm": "ModemManager\n"}, **member))
    assert found["serial:/dev/ttyACM0"].grade == "usable"
    assert found["serial:/dev/ttyACM0"].mend[0].startswith("sudo systemctl stop ModemManager")
    (host.root / "dev/ttyUSB1").symlink_to("gone")
    assert points(host_of(host.root, {}, **member))["serial:/dev/ttyUSB1"].grade == "unknown"


def test_a_port_that_no_group_may_open_needs_a_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_of(tmp_path / "root", {"dev/ttyUSB0": "", "etc/group": "root:x:0:\ndialout:x:20:\n"})
    monkeypatch.setattr(boards, "_may_open", lambda host, path: (False, 0))
    mend = points(host)["serial:/dev/ttyUSB0"].mend
    assert 'KERNEL=="ttyUSB[0-9]*"' in mend[0] and mend[1].startswith("sudo udevadm control --reload")


@pytest.mark.parametrize(("facts", "grade"), [
    ({"version": "4.3.5", "pyzmq": "26", "ipc": True, "curve": True}, "good"),
    ({"version": "4.3.5", "pyzmq": "26", "ipc": True, "curve": False}, "usable"),
    ({"version": "4.3.5", "pyzmq": "26", "ipc": False, "curve": True}, "poor"),
    ({"error": "no module named zmq"}, "poor")])
def test_zeromq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], grade: str) -> None:
    monkeypatch.setattr(boards, "zmq_facts", lambda: facts)
    point = points(host_of(tmp_path / "root", {}))["zeromq"]
    assert point.grade == grade and bool(point.mend) == (grade != "good")


@pytest.mark.parametrize(("free", "grade"), [(10e9, "good"), (9.9e9, "usable"), (0.9e9, "poor"), (None, "unknown")])
def test_disk_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float | None, grade: str) -> None:
    class Usage:
        def __init__(self, path: Path) -> None:
            if free is None:
                raise PermissionError(13, "Permission denied")
            self.free = free

    monkeypatch.setattr("shutil.disk_usage", Usage)
    assert points(host_of(tmp_path / "root", {}))["disk_space"].grade == grade


def test_commands_are_those_of_this_user_and_distribution(tmp_path: Path) -> None:
    files = {**DEBIAN, "proc/swaps": "Filename\n/swap file 9 0 -2\n"}
    assert points(host_of(tmp_path / "a", files))["swap"].mend == ("sudo swapoff -a   # until the next start",)
    assert points(host_of(tmp_path / "b", files, uid=0))["swap"].mend == ("swapoff -a   # until the next start",)
    grub = kernel_parameter(host_of(tmp_path / "a", {}), "x=1")
    assert grub == ("sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&x=1 /' /etc/default/grub", "sudo update-grub", "sudo reboot")
    fedora = kernel_parameter(host_of(tmp_path / "c", {"etc/os-release": "ID=fedora"}), "x=1")
    assert fedora == ('sudo grubby --update-kernel=ALL --args="x=1"', "sudo reboot")
    assert kernel_parameter(host_of(tmp_path / "d", {}), "x=1") == ("# start the kernel with: x=1",)
    inside = host_of(tmp_path / "e", {"run/systemd/container": "lxc"})
    assert kernel_parameter(inside, "x=1")[0].startswith("# on the computer that runs the container")


def test_the_image_of_a_container_on_a_disk_is_no_container(tmp_path: Path) -> None:
    assert host_of(tmp_path / "a", {".dockerenv": "", "proc/mounts": "overlay / overlay rw 0 0\n"}).container == "docker"
    assert host_of(tmp_path / "b", {".dockerenv": "", "proc/mounts": "/dev/vda / ext4 rw 0 0\n"}).container == ""
    assert host_of(tmp_path / "c", {"proc/1/cgroup": "0::/kubepods/x\n"}).container == "kubepods"


def test_a_check_that_fails_is_a_point_that_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(host: Host, measured: Measured) -> Point:
        raise ZeroDivisionError("of the doctor")

    monkeypatch.setattr(doctor, "_CHECKS", (broken,))
    (only,) = examine(host_of(tmp_path / "root", {}), Measured())
    assert (only.key, only.grade) == ("broken", "unknown") and "ZeroDivisionError: of the doctor" in only.found


def test_lists_of_cpus_and_stolen_time(tmp_path: Path) -> None:
    assert cpu_list("0-2,5") == {0, 1, 2, 5} and cpu_list("") == set() and cpu_list("0-x") is None
    assert stolen(host_of(tmp_path / "a", {"proc/stat": "cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 1\n"})) == (8, 36)
    assert stolen(host_of(tmp_path / "b", {"proc/stat": "intr 5\n"})) is None and stolen(host_of(tmp_path / "c", {})) is None


def test_the_disk_is_tried_and_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "not" / "there"
    assert nearest(folder) == tmp_path
    times, problem = sync_times(folder, 3)
    assert len(times) == 3 and min(times) >= 0 and problem == "" and list(tmp_path.iterdir()) == []

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fdatasync", full)
    assert sync_times(folder, 3) == ((), f"{tmp_path}: No space left on device")


def test_what_cannot_be_measured_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    measured = measure(host_of(tmp_path / "root", {}), 0.0, 50, 1000)
    assert measured.granted == {} and "cannot be started" in measured.problem
    found = points(host_of(tmp_path / "root", {}), measured)
    assert found["scheduling"].grade == found["noise_fifo"].grade == "unknown" and "cannot be started" in found["scheduling"].found


def settings_of_this_process() -> list[Any]:
    import resource

    limits = [resource.getrlimit(n) for n in (resource.RLIMIT_RTPRIO, resource.RLIMIT_MEMLOCK, resource.RLIMIT_NOFILE)]
    locked = re.search(r"^VmLck:.*$", Path("/proc/self/status").read_text("utf-8"), re.M)
    return [os.sched_getscheduler(0), os.sched_getparam(0).sched_priority, os.sched_getaffinity(0), limits, locked and locked[0]]


def test_this_computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    before = settings_of_this_process()
    assert run_cli(["doctor", "--json", "--seconds", "0.05"]) == 0
    assert settings_of_this_process() == before and list(tmp_path.iterdir()) == []
    told = json.loads(capsys.readouterr().out)
    found = {p["key"]: p for p in told["points"]}
    assert sum(told["counts"].values()) == len(found) == len(told["points"]) >= 20
    assert found["scheduling"]["grade"] in ("good", "poor") and found["memory_lock"]["grade"] in ("good", "poor")
    assert found["noise_ordinary"]["values"]["ticks"] == 50
    assert ("ticks" in found["noise_fifo"]["values"]) == (found["scheduling"]["grade"] == "good")
    assert run_cli(["doctor", "--seconds", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[8:].split(":")[0] for line in lines[:-1] if not line.startswith(" ")] == [p["title"] for p in told["points"]]
    assert re.fullmatch(r"\d+ points: \d+ good, \d+ usable, \d+ poor, \d+ unknown", lines[-1])


@pytest.mark.parametrize("poor", [False, True])
def test_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], poor: bool) -> None:
    given = [Point("a", "first", "usable", "x", "y", ("do this",)), Point("b", "second", "poor" if poor else "unknown", "x", "y")]
    monkeypatch.setattr(doctor, "measure", lambda *args: Measured())
    monkeypatch.setattr(doctor, "examine", lambda host, measured: given)
    assert run_cli(["doctor"]) == 0
    assert run_cli(["doctor", "--strict"]) == int(poor)
    assert run_cli(["doctor", "--priority", "100"]) == 2
    assert "usable  first: x\n        why: y\n        mend: do this\n" in capsys.readouterr().out


def test_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    long = "echo '" + "x" * 200 + "'"
    monkeypatch.setattr(doctor, "measure", lambda *args: Measured())
    monkeypatch.setattr(doctor, "examine", lambda host, measured: [Point("a", "first", "poor", "[red]found", "why", (long,))])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run_cli(["doctor", "--seconds", "0"]) == 0
    out = capsys.readouterr().out
    assert "[red]found" in out and f"\nfirst:\n  {long}\n" in out, "a command is never broken over lines"
