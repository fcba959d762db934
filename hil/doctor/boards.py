"""Points about boards: serial ports, ZeroMQ, emulators."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hil.doctor.host import GOOD, POOR, UNKNOWN, USABLE, Host, Point
from hil.doctor.kernel import NOT_TOLD
from hil.doctor.measure import Measured

_PORTS = ("ttyUSB[0-9]*", "ttyACM[0-9]*", "ttyAMA[0-9]*")
_GROUPS = ("dialout", "uucp")
_MEDDLERS = {"ModemManager": "sends commands to every new ttyACM port", "brltty": "takes ports of CH340 adapters"}


def _groups(host: Host) -> dict[str, int]:
    """Groups of that computer by name."""
    found = re.findall(r"^([^:\n]+):[^:\n]*:(\d+):", host.read("etc/group") or "", re.M)
    return {name: int(gid) for name, gid in found}


def _may_open(host: Host, path: Path) -> tuple[bool, int] | None:
    """May this user read and write the device, and its group; None when it cannot be looked at."""
    try:
        st = path.stat()
    except OSError:
        return None
    shift = 6 if st.st_uid == host.uid else 3 if st.st_gid in host.gids else 0
    return host.uid == 0 or (st.st_mode >> shift) & 0o6 == 0o6, st.st_gid


def serial_ports(host: Host, measured: Measured) -> list[Point]:
    """One point per serial port that is there; one about the group when there is none."""
    paths = [p for pattern in _PORTS for p in host.glob(f"dev/{pattern}")]
    if not paths:
        return [_no_port(host)]
    names = {os.path.realpath(link): host.shown(link) for link in host.glob("dev/serial/by-id/*")}
    return [_port(host, p, names.get(os.path.realpath(p), "")) for p in paths]


def _no_port(host: Host) -> Point:
    groups = _groups(host)
    group = next((g for g in _GROUPS if g in groups), None)
    why = "boards on a serial port are opened as this user"
    values: dict[str, Any] = {"ports": []}
    if group is None:
        return Point("serial", "serial ports", UNKNOWN, "none attached" if host.system == "Linux" else NOT_TOLD, why, (), values)
    if host.uid == 0 or groups[group] in host.gids:
        found = f"none attached; {'root' if host.uid == 0 else f'group {group}'} may open them"
        return Point("serial", "serial ports", GOOD, found, why, (), values)
    found = f"none attached; {host.user} is not in group {group}"
    return Point("serial", "serial ports", USABLE, found, why, _join(host, group), values)


def _join(host: Host, group: str) -> tuple[str, ...]:
    return (f"sudo usermod -aG {group} {host.user}   # from the next login on", f"newgrp {group}   # this shell, now")


def _port(host: Host, path: Path, by_id: str) -> Point:
    name, allowed = host.shown(path), _may_open(host, path)
    key, title, why = f"serial:{name}", f"port {name}", "a board is opened as this user, and found again by its stable name"
    values: dict[str, Any] = {"port": name, "by_id": by_id, "may_open": allowed[0] if allowed else None}
    if allowed is None:
        return Point(key, title, UNKNOWN, "cannot be looked at", why, (), values)
    if not allowed[0]:
        group = next((n for n, gid in _groups(host).items() if gid == allowed[1]), str(allowed[1]))
        if group == "root":  # no group could help: a rule of udev is missing
            rule = f'SUBSYSTEM=="tty", KERNEL=="{re.sub(r"[0-9]+$", "", path.name)}[0-9]*", GROUP="dialout", MODE="0660"'
            mend = (f"echo '{rule}' | sudo tee /etc/udev/rules.d/60-flightsw-serial.rules",
                    "sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=tty", *_join(host, "dialout"))
        else:
            mend = _join(host, group)
        return Point(key, title, POOR, f"{host.user} may not open it (group {group})", why, mend, values)
    running = {host.read(str(p.relative_to(host.root))) for p in host.glob("proc/[0-9]*/comm")}
    meddler = next((m for m in _MEDDLERS if m in running), None)
    found = by_id or "no stable name below /dev/serial/by-id"
    if meddler:
        return Point(key, title, USABLE, f"{found}; {meddler} is running, which {_MEDDLERS[meddler]}", why,
                     (f"sudo systemctl stop {meddler}   # until the next start",), values)
    mend = () if by_id else (f"udevadm info -q property -n {name}   # has it ID_SERIAL?",)
    return Point(key, title, GOOD if by_id else USABLE, found, why, mend, values)


def latency_timers(host: Host, measured: Measured) -> list[Point]:
    """The latency timer of each USB adapter that has one (FTDI)."""
    why = "the adapter keeps short answers back for so long"
    out = []
    for path in host.glob("sys/bus/usb-serial/devices/*/latency_timer"):
        name, ms = path.parent.name, host.number(str(path.relative_to(host.root)))
        key, title, values = f"latency_timer:{name}", f"USB latency, {name}", {"port": f"/dev/{name}", "latency_ms": ms}
        if ms is None:
            out.append(Point(key, title, UNKNOWN, NOT_TOLD, why, (), values))
            continue
        grade = GOOD if ms <= 1 else USABLE if ms <= 4 else POOR
        rule = 'ACTION=="add", SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{latency_timer}="1"'
        mend = () if grade == GOOD else (
            f"echo 1 | sudo tee {host.shown(path)}   # until it is unplugged",
            f"echo '{rule}' | sudo tee /etc/udev/rules.d/60-flightsw-latency.rules   # from the next plugging on")
        out.append(Point(key, title, grade, f"{ms} ms", why, mend, values))
    return out


def descriptors(host: Host, measured: Measured) -> Point:
    """How many files and sockets this process may have open."""
    limit, why = host.limit("Max open files"), "each port, socket and log takes some; ZeroMQ ends the process when none are left"
    grade = UNKNOWN if limit is None else GOOD if limit < 0 or limit >= 1024 else USABLE if limit >= 256 else POOR
    found = NOT_TOLD if limit is None else "unlimited" if limit < 0 else str(limit)
    mend = ("ulimit -n 4096   # this shell, now",) if grade in (USABLE, POOR) else ()
    return Point("descriptors", "open files", grade, found, why, mend, {"limit": limit})


def zmq_facts() -> dict[str, Any]:
    """Version of ZeroMQ and what it was built with; {"error": ...} when it cannot be had."""
    try:
        import zmq
    except ImportError as exc:
        return {"error": str(exc)}
    has = {name: bool(zmq.has(name)) for name in ("ipc", "curve")}
    return {"version": zmq.zmq_version(), "pyzmq": zmq.pyzmq_version(), **has}


def zeromq(host: Host, measured: Measured) -> Point:
    """ZeroMQ, for boards in other processes (ipc) and on other computers (CURVE)."""
    facts, why = zmq_facts(), "boards in other processes are reached over ipc, those on other computers only with CURVE"
    mend = ("python -m pip install --upgrade --force-reinstall pyzmq",)
    if "error" in facts:
        return Point("zeromq", "ZeroMQ", POOR, f"cannot be imported: {facts['error']}", why, mend, facts)
    grade = GOOD if facts["ipc"] and facts["curve"] else USABLE if facts["ipc"] else POOR
    found = f"{facts['version']}, ipc {'yes' if facts['ipc'] else 'no'}, CURVE {'yes' if facts['curve'] else 'no'}"
    return Point("zeromq", "ZeroMQ", grade, found, why, () if grade == GOOD else mend, facts)


_EMULATOR = {"debian": "qemu-system-arm gcc-arm-none-eabi", "fedora": "qemu-system-arm arm-none-eabi-gcc-cs",
             "arch": "qemu-system-arm arm-none-eabi-gcc", "": "qemu-system-arm and arm-none-eabi-gcc"}


def emulators(host: Host, measured: Measured) -> Point:
    """What the emulated Cortex-M7 needs. Nothing else needs it, so its lack is never poor."""
    paths = {name: host.which(name) for name in ("qemu-system-arm", "arm-none-eabi-gcc")}
    missing = [name for name, path in paths.items() if path is None]
    found = "qemu-system-arm, arm-none-eabi-gcc" if not missing else f"not found: {', '.join(missing)}"
    why, mend = "firmware is built and flown in an emulator with these", (host.install(_EMULATOR),) if missing else ()
    return Point("emulators", "emulated board", USABLE if missing else GOOD, found, why, mend, paths)
