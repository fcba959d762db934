"""A board in an emulator: QEMU with the firmware of native/port/cortex_m7, joined by its UART or its Ethernet port.

UART: a pseudo-terminal or a socket of the file system carries the bytes, COBS frames on it. QEMU does not model the baud rate. Ethernet:
datagrams of the file system, each an Ethernet packet of type 88B5 with a u16 (little-endian) length and bare frames. Nothing of it leaves
this computer.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from hil.link.protocol import OVERHEAD, LinkError, frames_in
from hil.link.transport import StreamTransport, Transport

if TYPE_CHECKING:
    from hil.bench import Bench
    from hil.config import Remote

PROGRAM = "qemu-system-arm"
MACHINE = "mps2-an500"
PACKAGES = "apt: qemu-system-arm"
_HEAD = bytes([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xB5])  # to the board, from the bench, type
_PACKET = 1514 - 16
_START_S = 20.0
T = TypeVar("T", int, bytes)
_NAP_S, _NAPS = 1e-4, 50


class EthernetTransport(Transport):
    """Datagrams with bare frames. A packet may be lost where the board's FIFO is full, so it counts as a link that loses."""

    lossless = False

    def __init__(self, name: str, own: Path, other: Path, gone: Callable[[], None]) -> None:
        """gone: called when the other end is not there any more; may raise LinkError with the reason."""
        self.name, self._other, self._own, self._gone = name, str(other), own, gone
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(own))
        self.sent_bytes = self.received_bytes = 0
        self.socket.setblocking(False)

    def send(self, message: memoryview) -> bool:
        packet = bytearray()
        for frame in frames_in(message):
            if len(packet) + len(frame) > _PACKET:
                self._packet(packet)
                packet = bytearray()
            packet += frame
        self._packet(packet)
        return True

    def _packet(self, frames: bytearray) -> None:
        raw = _HEAD + len(frames).to_bytes(2, "little") + frames
        try:
            self.socket.sendto(raw + bytes(max(0, 60 - len(raw))), self._other)
            self.sent_bytes += len(raw)
        except BlockingIOError:
            return  # lost: whoever waits for the answer asks again
        except OSError as exc:
            self._gone()
            raise LinkError(f"has gone: {exc.strerror or exc}") from None

    def receive(self, timeout_s: float) -> Sequence[bytes]:
        if not select.select([self.socket], [], [], timeout_s)[0]:
            return ()
        out: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = self.socket.recv(2048)
                self.received_bytes += len(packet)
                out += _frames_of(packet)
        return out

    def close(self) -> None:
        self.socket.close()
        with contextlib.suppress(OSError):
            self._own.unlink()


def _frames_of(packet: bytes) -> list[bytes]:
    """Frames in an Ethernet packet; what is no frame is left to the frame decoder to refuse."""
    if len(packet) < 16 or packet[12:14] != b"\x88\xb5":
        return []
    used = int.from_bytes(packet[14:16], "little")
    at, end, out = 16, min(16 + used, len(packet)), []
    while at + OVERHEAD <= end:
        size = OVERHEAD + int.from_bytes(packet[at + 4 : at + 6], "little")
        if at + size > end:
            break
        out.append(packet[at : at + size])
        at += size
    return out


class Emulator:
    """A running emulator, stopped at first: `go` lets it run. BenchUnavailable (LinkError) when it cannot be started.

    firmware: an ELF file. uart: what its UART is joined to: a "socket" of the file system (`uart()` opens it), or a pseudo-terminal ("pty")
    whose path is `pty`: a serial port like any other to who opens it. QEMU looks once a second whether somebody has.
    """

    def __init__(self, firmware: Path, uart: Literal["socket", "pty"] = "socket") -> None:
        if shutil.which(PROGRAM) is None:
            raise LinkError(f"{PROGRAM} is not installed ({PACKAGES})")
        if not firmware.is_file():
            raise LinkError(f"there is no firmware {firmware}: build it with `flightsw board build cortex-m7`")
        self.folder = Path(tempfile.mkdtemp(prefix="fsw-"))  # short: a socket's path holds 107 characters
        f = self.folder
        # mux: QEMU then keeps bytes that have arrived ready for the UART, which has room for one only: half the time for each. No byte has
        # the value 256, so none is taken for a command to QEMU.
        command = [PROGRAM, "-M", MACHINE, "-S", "-kernel", str(firmware), "-display", "none", "-nodefaults",
                   "-chardev", ("pty" if uart == "pty" else f"socket,path={f}/u,server=on,wait=off") + ",id=u0,mux=on",
                   "-serial", "chardev:u0", "-echr", "256",
                   "-qmp", f"unix:{f}/q,server=on,wait=off", "-semihosting-config", "enable=on,target=native",
                   "-netdev", f"dgram,id=n0,local.type=unix,local.path={f}/n,remote.type=unix,remote.path={f}/h",
                   "-net", "nic,netdev=n0"]
        if shutil.which("setpriv"):  # ends with us, however we end
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        with (f / "stderr").open("wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        try:
            self._qmp = self._connect(f / "q")
            self._lines = self._qmp.makefile("rb")
            self._lines.readline()
            self._command("qmp_capabilities")
            self.pty = self._pty_path() if uart == "pty" else ""
        except BaseException:
            self.close()
            raise

    def _connect(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + _START_S
        while True:
            self.alive()
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(_START_S)
            try:
                s.connect(str(path))
                return s
            except (FileNotFoundError, ConnectionRefusedError):  # the file appears before anybody listens
                s.close()
                if time.monotonic() > deadline:
                    raise LinkError(f"{PROGRAM} does not answer") from None
                select.select([], [], [], 0.005)

    def _command(self, name: str) -> Any:
        with contextlib.suppress(OSError):
            self._qmp.sendall(json.dumps({"execute": name}).encode())
            while line := self._lines.readline():
                answer = json.loads(line)
                if "return" in answer or "error" in answer:
                    return answer.get("return")
        self._gone()
        raise LinkError(f"{PROGRAM} does not answer")

    def _gone(self) -> None:
        """It does not answer: LinkError with the reason when it has ended, or does so within a moment."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        self.alive()

    def _pty_path(self) -> str:
        chosen = next((str(c["filename"]) for c in self._command("query-chardev") or [] if c["filename"].startswith("pty:")), "")
        if not chosen:
            raise LinkError(f"{PROGRAM} has no pseudo-terminal for its UART")
        return chosen.removeprefix("pty:")

    def alive(self) -> None:
        """LinkError when it has ended."""
        if self.process.poll() is not None:
            words = (self.folder / "stderr").read_text("utf-8", "replace").strip().splitlines()
            raise LinkError(f"the emulator has ended (exit code {self.process.returncode}){': ' + words[-1] if words else ''}")

    def uart(self, name: str) -> StreamTransport:
        """Its UART."""
        s = self._connect(self.folder / "u")
        s.setblocking(False)
        return StreamTransport(name, s.fileno(), lambda n: self._there(lambda: _to_end_of_frame(s, n)),
                               lambda data: self._there(lambda: s.send(data)), s.close)

    def _there(self, act: Callable[[], T]) -> T:
        """What a call on a socket returns; LinkError with the reason when the emulator has ended."""
        try:
            done = act()
        except (ConnectionResetError, BrokenPipeError):
            self._gone()
            raise
        if not done:
            self._gone()
        return done

    def ethernet(self, name: str) -> EthernetTransport:
        """Its Ethernet port."""
        return EthernetTransport(name, self.folder / "h", self.folder / "n", self._gone)

    def go(self) -> None:
        """Let it run."""
        self._command("cont")

    def end(self) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """End it. May be called twice."""
        with contextlib.suppress(OSError, AttributeError, LinkError, ValueError):
            if self.process.poll() is None:
                self._qmp.settimeout(0.5)  # one that is stopped does not answer
                self._command("quit")
        try:
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(AttributeError, OSError):
            self._lines.close()
            self._qmp.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _to_end_of_frame(s: socket.socket, n: int) -> bytes:
    """What has arrived, and what arrives shortly after it up to the end of a frame: bytes come one by one, and waking for each would take the
    processor from the emulator.
    """
    data = s.recv(n)
    for _ in range(_NAPS):
        if not data or data[-1] == 0 or len(data) >= n:
            break
        time.sleep(_NAP_S)
        with contextlib.suppress(BlockingIOError):
            data += s.recv(n - len(data))
    return data


def firmware_for(bench: Bench, settings: Remote | None) -> Path:
    """The firmware that a bench names, or the one for this package, which is made when it is missing or older than its sources.

    BenchUnavailable when it cannot be had.
    """
    if settings is not None and settings.firmware is not None:
        return bench.path.parent / settings.firmware
    from hil.board_build import cached

    return cached()


def cache_folder() -> Path:
    """Where firmware is put that `flightsw board build` made."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "flightsw"
