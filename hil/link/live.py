"""LIVE boards: who may drive outputs that move something.

Three things are wanted (docs/serial.md): the board's serial number typed in full by whoever starts the run, the token that the board
made in this power cycle (it is in its manifest), and the bench's own key file. The bench answers the manifest with a tag over token,
serial number, session and greeting; the board computes the same (native/core/session.c) and loads nothing before.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flightsw.errors import ConfigError, Problem

if TYPE_CHECKING:
    from hil.bench import Bench
    from hil.config import Remote

KEY_BYTES = 32
TAG_BYTES = 16
_PURPOSE = b"flightsw live 1\0"


def print_nothing(text: str) -> None:
    """In place of somewhere to tell it."""


@dataclass(frozen=True)
class Access:
    """What whoever starts a run gives beside the bench file. live: serial numbers typed in full. wait_s: for a bench that is held. say:
    where it is told that there is something to wait for.
    """

    live: tuple[str, ...] = ()
    wait_s: float = 0.0
    say: Callable[[str], None] = print_nothing


def default_key_file() -> Path:
    """Where a bench's key is kept: flightsw/bench.key below the user's configuration."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "flightsw" / "bench.key"


def make_key(path: Path) -> None:
    """A new random key in a new file that only its owner can read: 64 hexadecimal digits. ConfigError when it cannot be made."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise ConfigError.one(str(path), "", "is there already: boards know this key; remove it yourself to make another") from None
    except OSError as exc:
        raise ConfigError.one(str(path), "", f"cannot be made: {exc.strerror}") from None
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(KEY_BYTES) + "\n")


def read_key(path: Path) -> bytes:
    """The key in a file. ConfigError, which never shows any of it, when the file is absent, of no use or open to others."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as exc:
        hint = "; make one with `flightsw board keygen`" if isinstance(exc, FileNotFoundError) else ""
        raise ConfigError.one(str(path), "", f"the bench's key cannot be read: {exc.strerror}{hint}") from None
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise ConfigError.one(str(path), "", "the bench's key is not a regular file")
        if about.st_uid not in (os.geteuid(), 0) or about.st_mode & 0o077:
            mode = f"{about.st_mode & 0o777:04o}"
            raise ConfigError.one(str(path), "", f"the bench's key is open to others (mode {mode}): chmod 600 it")
        text = os.read(fd, 1000).strip()
    finally:
        os.close(fd)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError.one(str(path), "", f"is not a key: {2 * KEY_BYTES} hexadecimal digits are wanted")
    return key


def proof(key: bytes, token: str, serial: str, session: int, greeting: int) -> bytes:
    """The tag (16 bytes) that arms a board: BLAKE2s (RFC 7693) with the bench's key, over what makes this moment unique."""
    said = _PURPOSE + token.encode() + b"\0" + serial.encode() + b"\0"
    said += session.to_bytes(8, "little") + (greeting & (2**64 - 1)).to_bytes(8, "little")
    return hashlib.blake2s(said, key=key, digest_size=TAG_BYTES).digest()


def key_for(bench: Bench, name: str, settings: Remote) -> bytes:
    """The key with which this bench arms the board of a group; b"" for boards that are not LIVE.

    ConfigError when the run was not started for this board, or there is no proper key.
    """
    if not settings.live:
        return b""
    if settings.serial not in bench.access.live:
        raise ConfigError.one(str(bench.path), f"remote.{name}.live", "the board is LIVE, its outputs move something: `flightsw run` wants "
                              "--live and the board's serial number, typed in full")
    return read_key(bench.path.parent / settings.live_key if settings.live_key else default_key_file())


def unknown_boards(bench: Bench) -> list[Problem]:
    """Serial numbers given with --live that no LIVE board of the bench has."""
    known = {r.serial for r in bench.config.remote.values() if r.live}
    return [Problem("--live", "", f'no board of this bench that is LIVE has the serial number "{serial}"')
            for serial in bench.access.live if serial not in known]
