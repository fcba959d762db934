"""Who uses a bench: so that two people never drive one at the same time, and each can see who does.

Two files for a name, in a folder that all users of this computer share (FLIGHTSW_LOCKS, else `flightsw` in /run/lock or among temporary
files): `<name>.run` belongs to a running process, which holds a kernel lock on it (flock); when the process ends, however it ends, the
kernel lets go, and the file that is left says nothing any more. `<name>.held` is a reservation by a person; it stays until it is
released, and runs of the same person pass it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import re
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from flightsw.errors import BenchUnavailable

POLL_S = 0.1
MAX_BYTES = 4096
RUN, HELD = ".run", ".held"


class Locked(BenchUnavailable):
    """Somebody else has it. holder: who, as far as is known."""

    def __init__(self, name: str, holder: Holder) -> None:
        self.name, self.holder = name, holder
        super().__init__(f'"{name}" is {holder.told()}')


@dataclass(frozen=True)
class Holder:
    """Who holds a name. pid: of the process, 0 for a reservation. since: UTC."""

    user: str
    uid: int
    pid: int
    bench: str
    since: str
    host: str = ""
    note: str = ""

    def told(self) -> str:
        """As the end of a sentence."""
        what = f'used by {self.user} (process {self.pid}, bench "{self.bench}")' if self.pid else f"reserved by {self.user}"
        return f"{what} since {self.since}" + (f": {self.note}" if self.note else "")


def folder() -> Path:
    """Where the files are: for all users of this computer, files there can only be removed by their owner."""
    given = os.environ.get("FLIGHTSW_LOCKS")
    if given:
        return Path(given)
    shared = Path("/run/lock")
    return (shared if os.access(shared, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())) / "flightsw"


def file_name(name: str) -> str:
    """A name as the stem of a file: told apart even where letters had to be replaced."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name).strip(".")[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _me(bench: str, pid: int, note: str = "") -> Holder:
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    return Holder(user, uid, pid, bench, datetime.now(UTC).isoformat(timespec="seconds"), socket.gethostname(), note)


def _make_folder(path: Path) -> None:
    with contextlib.suppress(FileExistsError):
        path.mkdir(parents=True)
        path.chmod(0o1777)  # as /tmp: everybody may add files, nobody may remove those of others


def _read(fd: int) -> Holder:
    try:
        said = json.loads(os.pread(fd, MAX_BYTES, 0))
        user, bench, since, host, note = (str(said[k])[:200] for k in ("user", "bench", "since", "host", "note"))
        return Holder(user, int(said["uid"]), int(said["pid"]), bench, since, host, note)
    except (ValueError, TypeError, KeyError):
        return Holder("somebody", os.fstat(fd).st_uid, 0, "", "some time", note="the lock file cannot be read")


def _open(path: Path, flags: int) -> int | None:
    """An existing file, or None. BenchUnavailable when it is not one of ours."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise BenchUnavailable(f"{path}: the lock cannot be read: {exc.strerror}") from None


def _try_flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _holder(path: Path) -> Holder | None:
    fd = _open(path, os.O_RDONLY)
    if fd is None:
        return None
    try:
        return None if path.suffix == RUN and _try_flock(fd) else _read(fd)
    finally:
        os.close(fd)


def _flock(fd: int) -> bool:
    """As above; whoever only looks holds it for a moment."""
    for _ in range(5):
        if _try_flock(fd):
            return True
        time.sleep(0.01)
    return False


def running(name: str) -> Holder | None:
    """The process that uses it now. A file left by one that has ended counts for nothing."""
    return _holder(folder() / (file_name(name) + RUN))


def reserved(name: str) -> Holder | None:
    """Who has reserved it."""
    return _holder(folder() / (file_name(name) + HELD))


def reserve(name: str, note: str = "") -> Holder:
    """Reserve it for this user until `release`. Locked when somebody else has it; a reservation of one's own is made anew."""
    for other in (running(name), reserved(name)):
        if other is not None and other.uid != os.getuid():
            raise Locked(name, other)
    where = folder()
    _make_folder(where)
    path, me = where / (file_name(name) + HELD), _me(name, 0, note)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise Locked(name, reserved(name) or me) from None
    except OSError as exc:
        raise BenchUnavailable(f"{path}: the lock cannot be made: {exc.strerror}") from None
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(asdict(me), file)
    return me


def release(name: str) -> bool:
    """End a reservation of this user's; False when there is none. Locked when it is somebody else's."""
    holder = reserved(name)
    if holder is None:
        return False
    if holder.uid != os.getuid() and os.getuid() != 0:
        raise Locked(name, holder)
    (folder() / (file_name(name) + HELD)).unlink(missing_ok=True)
    return True


class Use:
    """A name that this process uses, until closed or until the process ends."""

    def __init__(self, name: str, bench: str) -> None:
        self.name, self._fd = name, -1
        check(name)
        where = folder()
        _make_folder(where)
        self._path = where / (file_name(name) + RUN)
        self._fd = self._take()
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(asdict(_me(bench, os.getpid()))).encode(), 0)

    def _take(self) -> int:
        while True:
            fd = _open(self._path, os.O_RDWR)
            if fd is None:
                fd = self._made()
            if fd is None:
                continue  # somebody made it meanwhile
            if not _flock(fd):
                holder = _read(fd)
                os.close(fd)
                raise Locked(self.name, holder)
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(fd).st_ino == self._path.stat().st_ino:
                    return fd
            os.close(fd)  # somebody removed it, and another has made a new one

    def _made(self) -> int | None:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return None
        except OSError as exc:
            raise BenchUnavailable(f"{self._path}: the lock cannot be made: {exc.strerror}") from None
        os.fchmod(fd, 0o666)  # what counts is the kernel's lock; whoever comes next may be another user
        return fd

    def close(self) -> None:
        """Let go of it. May be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # made by another user: it stays, and says nothing any more
                self._path.unlink()  # while it is still ours
            os.close(fd)


def check(name: str) -> None:
    """Locked when somebody else has reserved it."""
    holder = reserved(name)
    if holder is not None and holder.uid != os.getuid():
        raise Locked(name, holder)


def everything() -> dict[str, list[Holder]]:
    """All that is held, by the stem of its file."""
    out: dict[str, list[Holder]] = {}
    for path in sorted(folder().glob("*")):
        if path.suffix in (RUN, HELD):
            holder = _holder(path)
            if holder is not None:
                out.setdefault(path.stem, []).append(holder)
    return out


def use(name: str, bench: str, wait_s: float = 0.0, say: Callable[[str], None] = lambda text: None) -> Use:
    """Use it, waiting for at most wait_s for whoever has it. Locked when that does not help."""
    until, told = time.monotonic() + wait_s, False
    while True:
        try:
            return Use(name, bench)
        except Locked as exc:
            if time.monotonic() >= until:
                raise
            if not told:
                say(f"{exc}; waiting for at most {wait_s:g} s")
                told = True
        time.sleep(POLL_S)
