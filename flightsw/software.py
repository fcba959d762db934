"""What this installation is made of: versions, sources, compiler, interpreter. No names of computers or people."""

from __future__ import annotations

import platform

import flightsw
from flightsw._native import compiler, ffi, lib


def software() -> dict[str, str]:
    """Version, fingerprint of the core's sources, compiler, interpreter, numpy, machine and system."""
    import numpy

    return {
        "version": flightsw.__version__, "source_fingerprint": ffi.string(lib.fsw_source_fingerprint()).decode(),
        "compiler": compiler(), "python": platform.python_version(), "numpy": numpy.__version__,
        "machine": platform.machine(), "system": platform.system(),
    }
