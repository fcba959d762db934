"""Firmware for a board, made from the source tree with CMake: the same core, flight software and session as on the host.

The result lies in the user's cache folder, beside a note of what it was made of; what was made of the sources as they are is not made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import flightsw
from flightsw._fingerprint import source_fingerprint
from flightsw._native import ffi, lib
from flightsw.errors import BenchUnavailable, ConfigError
from hil.link.protocol import messages_fingerprint

TARGET = "cortex-m7"
SERIAL = "emulated-0001"
TOOLS = {"cmake": "cmake", "ninja": "ninja-build", "arm-none-eabi-gcc": "gcc-arm-none-eabi"}  # program: Debian package
_OF_FIRMWARE = ("CMakeLists.txt", "cmake/cortex-m7.cmake", "native/tools/list_tasks.py")
_SERIAL_MAX = 63


@dataclass(frozen=True)
class Firmware:
    """A firmware image. text, data, bss: bytes of code and constants, of initialised and of zeroed memory. made: just now, or found."""

    path: str
    target: str
    serial: str
    messages: str
    sources: str
    firmware: str
    compiler: str
    text: int
    data: int
    bss: int
    made: bool = True


def source_tree(given: Path | None = None) -> Path:
    """The folder with CMakeLists.txt and native/ that firmware is made from. ConfigError when there is none, or it is not of this package."""
    tree = (given or Path(flightsw.__file__).parents[1]).resolve()
    if not all((tree / part).exists() for part in (*_OF_FIRMWARE, "native/port/cortex_m7")):
        if given is None:
            raise ConfigError.one("--source", "", "is needed: this flightsw was installed without its sources; name a folder that holds them")
        raise ConfigError.one("--source", "", f"{given} does not hold the sources of flightsw")
    built = ffi.string(lib.fsw_source_fingerprint()).decode()
    if source_fingerprint(tree / "native") != built:
        raise ConfigError.one("--source", "", f"the sources in {tree} are not those that the flightsw which runs here was built from: "
                                              "its benches would refuse such a board")
    return tree


def firmware_fingerprint(tree: Path) -> str:
    """SHA-256 (first 16 hex digits) of everything that firmware is made of."""
    digest = hashlib.sha256(source_fingerprint(tree / "native").encode())
    of_port = sorted(p for p in (tree / "native/port").rglob("*") if p.suffix in (".c", ".h", ".ld"))
    for path in [*(tree / part for part in _OF_FIRMWARE), *of_port]:
        digest.update(path.relative_to(tree).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def missing_tools() -> list[str]:
    """What is not installed, each with its apt package."""
    return [f"{program} (apt: {package})" for program, package in TOOLS.items() if shutil.which(program) is None]


def cached(serial: str = SERIAL) -> Path:
    """Firmware for this package, made if need be. BenchUnavailable when it cannot be."""
    try:
        return Path(build(serial=serial).path)
    except ConfigError as exc:
        raise BenchUnavailable(f"there is no firmware: {exc}") from None


def build(out: Path | None = None, serial: str = SERIAL, source: Path | None = None,
          say: Callable[[str], None] = lambda text: None) -> Firmware:
    """Make firmware, or find it made. out: a copy of it goes there. say: told what happens.

    ConfigError for sources or a serial number that cannot be used; BenchUnavailable when a tool is missing or the compiler fails.
    """
    if not serial or len(serial) > _SERIAL_MAX or not all(" " <= c <= "~" and c not in '"\\$;' for c in serial):
        raise ConfigError.one("--serial", "", f"1 to {_SERIAL_MAX} printable ASCII characters are wanted, without quotes, backslashes, $ and ;")
    tree = source_tree(source)
    key = hashlib.sha256(f"{tree}\0{serial}".encode()).hexdigest()[:8]
    folder = _cache() / f"cortex_m7-{key}"
    with _alone(folder):
        found = _found(folder, firmware_fingerprint(tree))
        if found is None:
            absent = missing_tools()
            if absent:
                raise BenchUnavailable("firmware cannot be built here, not installed: " + ", ".join(absent))
            say(f"building {TARGET} firmware from {tree}")
            found = _make(tree, folder, serial)
    if out is not None:
        _copy(Path(found.path), out)
        return Firmware(**{**asdict(found), "path": str(out)})
    return found


def _cache() -> Path:
    from hil.link.emulator import cache_folder

    return cache_folder()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One build in a folder at a time, whichever process asks for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as exc:
        raise BenchUnavailable(f"{folder}: firmware cannot be put there: {exc.strerror}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _found(folder: Path, fingerprint: str) -> Firmware | None:
    """Firmware of these very sources that lies there."""
    try:
        told = Firmware(**{**json.loads((folder / "board.json").read_text("utf-8")), "made": False})
    except (OSError, ValueError, TypeError):
        return None
    return told if told.firmware == fingerprint and told.path == str(folder / "board.elf") and Path(told.path).is_file() else None


def _make(tree: Path, folder: Path, serial: str) -> Firmware:
    inside, messages = folder / "build", messages_fingerprint()
    sources, fingerprint = source_fingerprint(tree / "native"), firmware_fingerprint(tree)
    (folder / "board.json").unlink(missing_ok=True)
    _run(["cmake", "-G", "Ninja", "-S", str(tree), "-B", str(inside), f"-DCMAKE_TOOLCHAIN_FILE={tree}/cmake/cortex-m7.cmake",
          "-DFSW_PYTHON=OFF", "-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={sys.executable}", f"-DFSW_BOARD_MESSAGES={messages}",
          f"-DFSW_BOARD_SOURCES={sources}", f"-DFSW_BOARD_SERIAL={serial}"])
    _run(["cmake", "--build", str(inside), "--target", "board"])
    target = folder / "board.elf"
    _copy(inside / "board", target)
    compiler = _run(["arm-none-eabi-gcc", "--version"]).splitlines()[0]
    made = Firmware(str(target), TARGET, serial, messages, sources, fingerprint, compiler, *_sizes(target))
    (folder / "board.json").write_text(json.dumps(asdict(made), indent=1), "utf-8")
    return made


def _run(command: list[str]) -> str:
    """What a program says. BenchUnavailable with its last lines when it fails."""
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        last = [line for line in (result.stdout + result.stderr).splitlines() if line.strip()][-12:]
        raise BenchUnavailable("\n".join([f"firmware cannot be built: {command[0]} says:", *last]))
    return result.stdout


def _copy(path: Path, to: Path) -> None:
    """Readers see the old file or the new one. ConfigError when it cannot be written."""
    temporary = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        shutil.copyfile(path, temporary)
        temporary.replace(to)
    except OSError as exc:
        raise ConfigError.one(str(to), "", f"cannot be written: {exc.strerror}") from None


def _sizes(path: Path) -> tuple[int, int, int]:
    """Bytes of text (read-only), data and bss that an ELF file takes in memory."""
    from elftools.elf.elffile import ELFFile

    text = data = bss = 0
    with path.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            size, flags = int(section["sh_size"]), int(section["sh_flags"])
            if not flags & 2:  # takes no memory
                continue
            if section["sh_type"] == "SHT_NOBITS":
                bss += size
            elif flags & 1:
                data += size
            else:
                text += size
    return text, data, bss
