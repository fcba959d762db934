"""What a check reads from: the computer, or a folder that looks like one; and what a check says: a point with a grade."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GOOD, USABLE, POOR, UNKNOWN = "good", "usable", "poor", "unknown"
GRADES = (GOOD, USABLE, POOR, UNKNOWN)


@dataclass(frozen=True)
class Point:
    """One point that was looked at.

    grade: one of GRADES. found: the value, for people. why: why it matters. mend: commands for a shell, in order; a line that
    starts with "#" says what no command can do. values: what was found, for programs; units in the keys.
    """

    key: str
    title: str
    grade: str
    found: str
    why: str
    mend: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.__dict__, "mend": list(self.mend), "values": dict(self.values)}


@dataclass(frozen=True)
class Host:
    """A computer. root: where /proc, /sys, /dev and /etc lie. folder: where runs are written. gids: groups of this process."""

    root: Path
    folder: Path
    system: str
    release: str
    version: str
    uid: int
    gids: frozenset[int]
    user: str
    which: Callable[[str], str | None] = shutil.which

    @classmethod
    def here(cls, folder: Path) -> Host:
        """This computer."""
        uid = os.getuid() if hasattr(os, "getuid") else -1
        gids = frozenset({*os.getgroups(), os.getegid()}) if hasattr(os, "getgroups") else frozenset()
        return cls(Path("/"), folder, platform.system(), platform.release(), platform.version(), uid, gids, _user(uid))

    def read(self, path: str) -> str | None:
        """Text of a file below the root without blanks at its ends, or None when it cannot be read."""
        try:
            return (self.root / path).read_text("utf-8", "replace").strip()
        except (OSError, ValueError):
            return None

    def number(self, path: str) -> int | None:
        """Whole number in a file, or None."""
        text = self.read(path)
        return int(text) if text is not None and re.fullmatch(r"-?\d{1,18}", text) else None

    def glob(self, pattern: str) -> list[Path]:
        """Paths below the root, sorted; empty when they cannot be listed."""
        try:
            return sorted(self.root.glob(pattern))
        except OSError:
            return []

    def shown(self, path: Path) -> str:
        """A path as it is called on that computer."""
        return "/" + str(path.relative_to(self.root))

    def limit(self, name: str) -> int | None:
        """Soft limit of this process by its name in /proc/self/limits; -1: unlimited, None: not told."""
        found = re.search(rf"^{re.escape(name)}\s+(\S+)", self.read("proc/self/limits") or "", re.M)
        if found is None:
            return None
        return -1 if found[1] == "unlimited" else int(found[1]) if found[1].isdigit() else None

    @property
    def distribution(self) -> str:
        """Family by its packages: debian, ubuntu, fedora, arch, suse, or "" when it is none of these."""
        text = self.read("etc/os-release") or ""
        words = " ".join(re.findall(r'^(?:ID|ID_LIKE)="?([^"\n]*)', text, re.M)).lower().split()
        alias = {"rhel": "fedora", "centos": "fedora", "raspbian": "debian", "opensuse": "suse", "sles": "suse"}
        names = [alias.get(w, w) for w in words]
        return next((n for n in names if n in ("debian", "ubuntu", "fedora", "arch", "suse")), "")

    @property
    def container(self) -> str:
        """Kind of container this process is in ("docker", "podman", "lxc", ...), or ""."""
        named = self.read("run/systemd/container")
        if named:
            return named
        disk = re.search(r"^/dev/\S+ / ", self.read("proc/mounts") or "", re.M)  # an image of docker can be the disk of a machine
        if (self.root / ".dockerenv").exists() and not disk:
            return "docker"
        if (self.root / "run" / ".containerenv").exists():
            return "podman"
        found = re.search(r"docker|kubepods|lxc|libpod", self.read("proc/1/cgroup") or "")
        return found[0] if found else ""

    @property
    def virtual(self) -> bool | None:
        """Is it a virtual machine? None: not told."""
        text = self.read("proc/cpuinfo")
        if text is None:
            return None
        product = " ".join(self.read(f"sys/class/dmi/id/{name}") or "" for name in ("product_name", "sys_vendor"))
        known = re.search(r"KVM|QEMU|VMware|VirtualBox|Virtual Machine|Xen|Amazon EC2|Google Compute", product)
        flag = re.search(r"^flags\s*:.*\bhypervisor\b", text, re.M)
        return known is not None or flag is not None or self.read("sys/hypervisor/type") is not None

    def install(self, packages: Mapping[str, str]) -> str:
        """Command that installs packages; `packages`: their names by distribution, "" for any other."""
        tool = {"debian": "sudo apt install", "ubuntu": "sudo apt install", "fedora": "sudo dnf install", "arch": "sudo pacman -S",
                "suse": "sudo zypper install"}
        family = self.distribution
        names = packages.get(family) or (packages.get("debian") if family == "ubuntu" else None)
        return f"{tool[family]} {names}" if family and names else f"# install {packages['']} with this system's package manager"

    def commands(self, mend: tuple[str, ...]) -> tuple[str, ...]:
        """Commands as this user types them: root needs no sudo."""
        return tuple(re.sub(r"\bsudo ", "", m) for m in mend) if self.uid == 0 else mend


def _user(uid: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return os.environ.get("USER", "") or "USER"


def first_of(grades: list[str]) -> str:
    """The worst of some grades; `unknown` only when all are."""
    return next((g for g in (POOR, USABLE, GOOD) if g in grades), UNKNOWN)


def kernel_parameter(host: Host, text: str) -> tuple[str, ...]:
    """How to start the kernel with one more parameter."""
    if host.container:
        return (f"# on the computer that runs the container, start the kernel with: {text}",)
    if host.distribution == "fedora":
        return (f'sudo grubby --update-kernel=ALL --args="{text}"', "sudo reboot")
    update = "sudo update-grub" if host.distribution in ("debian", "ubuntu") else "sudo grub-mkconfig -o /boot/grub/grub.cfg"
    if host.read("etc/default/grub") is None:
        return (f"# start the kernel with: {text}",)
    return (f"sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{text} /' /etc/default/grub", update, "sudo reboot")
