"""Links that leave this computer: CURVE on the wire, and an allow-list of keys (ZAP) at the end that listens.

CURVE without an allow-list encrypts and authorises everybody, so neither end is ever opened with one without the other: the end
that listens admits
the public keys it was given and nobody else, the end that connects knows the one public key that it will talk to. There is no
trust on first use.
Keys: two files per party, NAME.key (secret and public key, for its owner only) and NAME.pub. (CurveZMQ, RFC 26; ZAP, RFC 27.)
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
import zmq.utils.z85
from zmq.auth.thread import ThreadAuthenticator

from flightsw.errors import ConfigError

DOMAIN = "flightsw"
_KEY = "flightsw-curve-secret "
_PUB = "flightsw-curve-public "


@dataclass(frozen=True)
class Curve:
    """One party's keys (Z85) and the public keys of those it deals with."""

    secret: bytes
    public: bytes
    peers: frozenset[bytes]

    def protect(self, socket: zmq.Socket[Any], listens: bool) -> None:
        """Set a socket's options before it is bound or connected."""
        socket.curve_secretkey, socket.curve_publickey = self.secret, self.public
        if listens:
            socket.curve_server = True
            socket.zap_domain = DOMAIN.encode()
        else:
            (socket.curve_serverkey,) = self.peers


def _z85(text: str, file: Path) -> bytes:
    try:
        raw = text.strip().encode("ascii")
        if len(raw) == 40 and len(zmq.utils.z85.decode(raw)) == 32:
            return raw
    except (UnicodeEncodeError, ValueError, KeyError):
        pass
    raise ConfigError.one(str(file), "", "holds no key")


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(4096)
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError.one(str(path), "", f"cannot be read: {getattr(exc, 'strerror', None) or 'it is not text'}") from None


def read_curve(key: Path, peers: Sequence[Path]) -> Curve:
    """Keys from files. ConfigError when one cannot be read, or when others may read the secret one."""
    lines = _read(key).splitlines()
    if len(lines) < 2 or not lines[0].startswith(_KEY) or not lines[1].startswith(_PUB):
        raise ConfigError.one(str(key), "", "is not a key file: make one with `flightsw board keygen --link NAME`")
    mode = key.stat()
    if mode.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or mode.st_uid != os.geteuid():
        raise ConfigError.one(str(key), "", f"others may read this secret: chmod 600 {key}, and it must be yours")
    found = set()
    for peer in peers:
        text = _read(peer)
        if not text.startswith(_PUB):
            raise ConfigError.one(str(peer), "", "is not a file with a public key (NAME.pub)")
        found.add(_z85(text.removeprefix(_PUB), peer))
    if not found:
        raise ConfigError.one(str(key), "", "a key without the public key of anybody else is of no use")
    return Curve(_z85(lines[0].removeprefix(_KEY), key), _z85(lines[1].removeprefix(_PUB), key), frozenset(found))


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """New keys as NAME.key (mode 0600) and NAME.pub; neither may exist. ConfigError."""
    public, secret = zmq.curve_keypair()
    paths = folder / f"{name}.key", folder / f"{name}.pub"
    texts = f"{_KEY}{secret.decode()}\n{_PUB}{public.decode()}\n", f"{_PUB}{public.decode()}\n"
    for path, text, mode in zip(paths, texts, (0o600, 0o644), strict=True):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except OSError as exc:
            raise ConfigError.one(str(path), "", f"cannot be made: {exc.strerror}") from None
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(text)
    return paths


class _AllowList:
    """What the authenticator asks: the key arrives Z85-encoded."""

    def __init__(self, peers: frozenset[bytes]) -> None:
        self.peers = peers

    def callback(self, domain: str, key: bytes) -> bool:
        return domain == DOMAIN and key in self.peers


@contextmanager
def admitted(context: zmq.Context[Any], curve: Curve | None) -> Iterator[None]:
    """While sockets of this context listen: only the keys of the list are admitted. Without keys: nothing to do."""
    if curve is None:
        yield
        return
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    try:
        authenticator.configure_curve_callback(DOMAIN, _AllowList(curve.peers))
        yield
    finally:
        authenticator.stop()
