"""Fingerprint of the native sources: which C code an extension was built from."""

import hashlib
from pathlib import Path


def source_fingerprint(native: Path) -> str:
    """SHA-256 (first 16 hex digits) over names and contents of all sources of the extension below `native`: not of its tests, nor of what
    only firmware is made of (the folders in port).
    """
    digest = hashlib.sha256()
    for part in ("include", "core", "gnc", "world", "port", "ffi"):
        for path in sorted((native / part).rglob("*")):
            if path.suffix in (".c", ".h", ".py") and (part != "port" or path.parent.name == part):
                digest.update(path.relative_to(native).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
