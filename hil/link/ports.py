"""Serial ports of this computer: found by what stays the same, never by the order of plugging.

A port is named by a stable path (/dev/serial/by-id/..., a UART of the computer, a pseudo-terminal) or by the USB identity of its adapter.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.link.protocol import Unplugged

if TYPE_CHECKING:
    from hil.config import Usb

_BY_ID = Path("/dev/serial/by-id")
_FLEETING = re.compile(r"^/dev/(ttyUSB|ttyACM|cu\.usb|tty\.usb)")  # numbered in the order of plugging


@dataclass(frozen=True)
class PortInfo:
    """A serial port that is there. stable: a name that stays, "" when there is none. usb: (vid, pid, serial), or None."""

    device: str
    stable: str
    usb: tuple[int, int, str] | None
    text: str


@dataclass(frozen=True)
class PortIdentity:
    """What a port is recognised by after it was away: a path or a USB identity (one of them)."""

    path: str = ""
    usb: tuple[int, int, str] | None = None

    def find(self) -> str:
        """The device that has this identity now. Unplugged when there is none, or more than one."""
        if self.usb is None:
            if not Path(self.path).exists():
                raise Unplugged(f"there is no port {self.path}")
            return self.path
        found = sorted(p.device for p in ports() if p.usb == self.usb)
        if not found:
            raise Unplugged(f"there is no port with the USB identity {self}")
        if len(found) > 1:
            raise Unplugged(f"{len(found)} ports have the USB identity {self} ({', '.join(found)}): give one by its path below {_BY_ID}")
        return found[0]

    def __str__(self) -> str:
        return self.path if self.usb is None else "{:04x}:{:04x}:{}".format(*self.usb)


def identity(port: str | None, usb: Usb | None) -> PortIdentity:
    """Of the keys of a bench file."""
    if usb is not None:
        return PortIdentity(usb=(usb.vid, usb.pid, usb.serial))
    return PortIdentity(port or "")


def ports() -> list[PortInfo]:
    """Serial ports of this computer, pseudo-terminals not among them, by device name."""
    links = {os.path.realpath(p): str(p) for p in sorted(_BY_ID.glob("*"))}
    return sorted((_info(p, links) for p in _comports()), key=lambda p: p.device)


def _comports() -> list[Any]:
    from serial.tools.list_ports import comports

    return list(comports())


def _info(port: Any, links: dict[str, str]) -> PortInfo:
    usb = (port.vid, port.pid, port.serial_number) if port.vid is not None and port.pid is not None and port.serial_number else None
    stable = links.get(os.path.realpath(port.device), "")
    if not stable and not _FLEETING.match(port.device):
        stable = port.device  # a UART of the computer itself: its name stays
    words = [w for w in (port.manufacturer, port.product) if w]
    return PortInfo(port.device, stable, usb, " ".join(words) or (port.description if port.description != "n/a" else ""))


def stable_name(device: str) -> str:
    """The name of a port that stays, whatever it is called now: for locks."""
    here = os.path.realpath(device)
    info = next((p for p in ports() if os.path.realpath(p.device) == here), None)
    if info is None:
        return here
    return info.stable or (str(PortIdentity(usb=info.usb)) if info.usb is not None else here)


def path_problem(path: str) -> str | None:
    """Why a path is no name for a port, or None. A name that depends on the order of plugging is refused where there is another."""
    if not path.startswith("/"):
        return f'"{path}" is not an absolute path, as in {_BY_ID}/usb-...'
    if not _FLEETING.match(path):
        return None
    info = next((p for p in ports() if p.device == path), None)
    if info is not None and not info.stable and info.usb is None:
        return None  # nothing else tells it apart
    better = info.stable if info is not None and info.stable else _toml(info.usb) if info is not None and info.usb else f"{_BY_ID}/..."
    return f'"{path}" depends on the order of plugging: name the port by what stays, {better} (`flightsw board list` shows it)'


def _toml(usb: tuple[int, int, str]) -> str:
    return f'usb = {{ vid = 0x{usb[0]:04x}, pid = 0x{usb[1]:04x}, serial = "{usb[2]}" }}'


def toml_lines(info: PortInfo) -> list[str]:
    """The lines of a bench file that name this port."""
    if info.stable:
        return [f'port = "{info.stable}"']
    return [_toml(info.usb)] if info.usb is not None else [f'port = "{info.device}"   # nothing tells this port from others of its kind']
