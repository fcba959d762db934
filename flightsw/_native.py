"""The C core: one place that imports it and refuses a stale one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from flightsw._fingerprint import source_fingerprint

_REBUILD = "rebuild it with: pip install -e .   (in the folder that holds pyproject.toml)"

try:
    _core: Any = importlib.import_module("flightsw._core")
except ImportError as exc:
    raise ImportError(f"flightsw: the C core is not built or cannot be loaded ({exc}); {_REBUILD}") from None

ffi: Any = _core.ffi
lib: Any = _core.lib

_sources = Path(__file__).resolve().parent.parent / "native"


def _check() -> None:
    built = ffi.string(lib.fsw_source_fingerprint()).decode()
    if (_sources / "ffi").is_dir() and source_fingerprint(_sources) != built:
        raise ImportError(f"flightsw: the C core was built from other sources than those in {_sources}; {_REBUILD}")
    if lib.fsw_contracted():
        raise ImportError(f"flightsw: the C core was compiled with fused multiply-add and would not be exact; {_REBUILD}")
    if lib.fsw_flushes_denormals():
        raise ImportError(
            "flightsw: this process flushes denormal numbers to zero, so results would not be exact; "
            "a library loaded earlier switched that on (built with -ffast-math), import flightsw before it or remove it"
        )
    if sys.byteorder != "little":
        raise ImportError("flightsw: the Python package runs on little-endian computers only")


_check()


def include_dir() -> Path:
    """Folder to give a C compiler with -I: it holds flightsw/*.h."""
    if (_sources / "include").is_dir():
        return _sources / "include"
    return Path(_core.__file__).resolve().parent / "include"


def compiler() -> str:
    """Version text of the compiler that built the core."""
    return str(ffi.string(lib.fsw_compiler()).decode())


def digest(data: Any) -> int:
    """XXH64 (seed 0) of bytes or of anything with the buffer interface."""
    view = ffi.from_buffer(data)
    return int(lib.fsw_digest(view, len(view), 0))
