"""Commands from the ground: tagged bytes that a command receiver accepts (native/include/flightsw/command.h).

A key is in a file that only its owner can read, 32 to 64 hexadecimal digits (16 to 32 bytes), as `flightsw board keygen FILE` makes one;
or in a descriptor inherited from whoever started the process, whose number is in the environment variable FLIGHTSW_COMMAND_KEY_FD. It is
never an argument of a program, and nothing here writes it anywhere or shows it.

A receiver accepts a counter once, and none below. So the counter of the next command is written to a file, and is on disk, before
the command exists: after a crash a counter may be missing, and none is used twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flightsw.errors import ConfigError

KEY_FD = "FLIGHTSW_COMMAND_KEY_FD"
KEY_MIN, KEY_MAX = 16, 32  # bytes
TAG_BYTES = 16
COMMAND_BYTES = 40
TOKEN_S = 10.0  # how long the token of an ARM holds, s
DISARM, ARM, FIRE, ABORT = 1, 2, 3, 4
COUNTER_MAX = 2**64 - 1
_FIELDS = struct.Struct("<QQHH4x")  # counter, token, id, source, reserved
_TOKEN_SAYS = b"flightsw token 1\0"
_KEY_TEXT = re.compile(rb"(?:[0-9A-Fa-f]{2}){16,32}")
_COUNTER_TEXT = re.compile(r"[0-9]{1,20}\n?")


def _key_in(fd: int, shown: str) -> bytes:
    """The key in an open file or pipe. ConfigError, which never shows any of it, when it is open to others or no key."""
    about = os.fstat(fd)
    if stat.S_ISREG(about.st_mode) and (about.st_uid not in (os.geteuid(), 0) or about.st_mode & 0o077):
        raise ConfigError.one(shown, "", f"the command key is open to others (mode {about.st_mode & 0o777:04o}): chmod 600 it")
    text = b""
    while len(text) <= 1000 and (part := os.read(fd, 1001 - len(text))):
        text += part
    if len(text) > 1000 or not _KEY_TEXT.fullmatch(text.strip()):
        raise ConfigError.one(shown, "", f"is not a command key: {2 * KEY_MIN} to {2 * KEY_MAX} hexadecimal digits, two a byte, are wanted")
    return bytes.fromhex(text.strip().decode("ascii"))


def read_key(path: Path) -> bytes:
    """The key in a file, 16 to 32 bytes. ConfigError, which never shows any of it, when the file cannot be used."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        hint = f"; make one with `flightsw board keygen {path}`" if isinstance(exc, FileNotFoundError) else ""
        raise ConfigError.one(str(path), "", f"the command key cannot be read: {exc.strerror}{hint}") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ConfigError.one(str(path), "", "the command key is not a regular file")
        return _key_in(fd, str(path))
    finally:
        os.close(fd)


def inherited_key() -> bytes | None:
    """The key in the descriptor that FLIGHTSW_COMMAND_KEY_FD names, which is closed; None when there is no such variable.

    The variable is removed, so that programs started from here do not look for it. ConfigError when it cannot be used.
    """
    number = os.environ.pop(KEY_FD, None)
    if number is None:
        return None
    try:
        fd = int(number)
        os.fstat(fd)
    except (ValueError, OverflowError, OSError):
        raise ConfigError.one(KEY_FD, "", f"{number!r} is not the number of an open descriptor") from None
    try:
        return _key_in(fd, KEY_FD)
    except OSError as exc:
        raise ConfigError.one(KEY_FD, "", f"the command key cannot be read: {exc.strerror}") from None
    finally:
        os.close(fd)


def tag(key: bytes, signed: bytes) -> bytes:
    """Tag (16 bytes) over the 24 bytes of a command before it: BLAKE2s with a key (RFC 7693)."""
    return hashlib.blake2s(signed, key=key, digest_size=TAG_BYTES).digest()


def token_of(key: bytes, counter: int) -> int:
    """Token that a receiver with this key gives an ARM with this counter. A range does not compute it but waits for it."""
    said = hashlib.blake2s(_TOKEN_SAYS + counter.to_bytes(8, "little"), key=key, digest_size=8).digest()
    return int.from_bytes(said, "little") or 1


class Counter:
    """A strictly increasing counter in a file, for one key. Several processes may use the file: each number is given once.

    Without a file it begins at 1. If the file was lost, a receiver that knows the key refuses what is below the last counter it accepted.
    ConfigError when the file cannot be used, or what is in it is no number.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def next(self) -> int:
        """The next number, 1 at first. It is on disk when this returns."""
        with self._locked():
            now = self._read()
            if now >= COUNTER_MAX:
                raise ConfigError.one(str(self.path), "", "the counter of commands is at its end: another key is wanted")
            self._write(now + 1)
        return now + 1

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """A lock in a file beside it, which stays: the file itself is replaced."""
        try:
            fd = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise ConfigError.one(str(self.path), "", f"the counter of commands cannot be locked: {exc.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _read(self) -> int:
        try:
            text = self.path.read_text("ascii")
        except FileNotFoundError:
            return 0
        except (OSError, UnicodeDecodeError):
            text = ""
        if not _COUNTER_TEXT.fullmatch(text) or int(text) > COUNTER_MAX:
            raise ConfigError.one(str(self.path), "", f"is not a counter of commands, a whole number from 0 to {COUNTER_MAX}: put in one "
                                  "that is above all that were used")
        return int(text)

    def _write(self, value: int) -> None:
        """Whole or not at all, whenever the machine stops."""
        new = self.path.with_name(self.path.name + ".new")
        try:
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="ascii") as file:
                file.write(f"{value}\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as exc:
            raise ConfigError.one(str(self.path), "", f"the counter of commands cannot be written: {exc.strerror}") from None


@dataclass(frozen=True)
class Command:
    """A command, as a receiver reads it. data: its 40 bytes."""

    counter: int
    token: int
    id: int
    source: int
    data: bytes


class CommandSender:
    """Makes the bytes of commands. How they get to the receiver is up to the caller: each exactly once, in their order.

    After a time without an answer a command is not sent again but made again: its counter is new. source: 0 to 65535, who says it.
    """

    def __init__(self, key: bytes, counter_file: Path, source: int = 1) -> None:
        """ConfigError for a key of another length or a source out of range; the counter's file is used at the first command."""
        if not KEY_MIN <= len(key) <= KEY_MAX:
            raise ConfigError.one("command key", "", f"has {len(key)} bytes, {KEY_MIN} to {KEY_MAX} are wanted")
        if not 0 <= source <= 65535:
            raise ConfigError.one("command source", "", f"{source} is out of range, allowed 0 to 65535")
        self._key = key
        self._counter = Counter(counter_file)
        self.source = source

    def __repr__(self) -> str:
        return f"CommandSender({str(self._counter.path)!r}, source={self.source})"

    def __reduce__(self) -> str:
        raise TypeError("a CommandSender holds a key and is not copied into a file or another process")

    def arm(self) -> Command:
        """ARM: answered, in `permit`, with a token that holds for 10 s."""
        return self._make(ARM, 0)

    def fire(self, token: int) -> Command:
        """FIRE, with the token that `permit` told. ConfigError for one that cannot be."""
        if not 1 <= token <= COUNTER_MAX:
            raise ConfigError.one("command token", "", f"{token} is out of range, allowed 1 to {COUNTER_MAX}")
        return self._make(FIRE, token)

    def disarm(self) -> Command:
        """DISARM: nothing is started any more; engines that run go on."""
        return self._make(DISARM, 0)

    def abort(self) -> Command:
        """ABORT: everything is closed."""
        return self._make(ABORT, 0)

    def _make(self, command: int, token: int) -> Command:
        counter = self._counter.next()
        signed = _FIELDS.pack(counter, token, command, self.source)
        return Command(counter, token, command, self.source, signed + tag(self._key, signed))
