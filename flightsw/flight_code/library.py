"""What a user's shared library needs from outside, read from its symbol table without loading it.

A library runs code of its own as soon as it is loaded; so the check comes first. Only names are seen: a system call or a
clock instruction in inline assembler is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from flightsw._native import include_dir
from flightsw.errors import Problem
from flightsw.flight_code.rules import C_HINTS, EXACT_LIBM, RULE, RUNTIME, STATE, TASK_HEADERS

_STARTUP = frozenset({"__dso_handle", "completed.0", "completed", "__TMC_END__", "_DYNAMIC", "_GLOBAL_OFFSET_TABLE_",
                      "__data_start", "__bss_start", "_edata", "_end"})
_STARTUP_BYTES = 8  # what these take in .data and in .bss, each
_CONSTANT_ONCE_LOADED = re.compile(r"\.(data\.rel\.ro|dynamic|got|init_array|fini_array|ctors|dtors|tm_clone_table|jcr|eh_frame)")
_WRITE, _TLS = 0x1, 0x400  # section flags
NOT_ELF = "not checked: only libraries in the ELF format can be"


@lru_cache(maxsize=1)
def core_functions() -> frozenset[str]:
    """Functions of the core that a task may call: those of its headers for tasks, see rules.TASK_HEADERS."""
    texts = (re.sub(r"/\*.*?\*/", "", (include_dir() / "flightsw" / name).read_text("utf-8"), flags=re.S) for name in TASK_HEADERS)
    return frozenset(name for text in texts for name in re.findall(r"\b((?:fsw|nav)_\w+)\s*\(", text))


def check_library(path: Path) -> list[Problem] | None:
    """One problem per function and variable that flight code may not have. None: not an ELF library, so it cannot be checked."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    shown = str(path)
    with path.open("rb") as f:
        if f.read(4) != b"\x7fELF":
            return None
        try:
            elf = ELFFile(f)
            symbols = list(_dynamic_symbols(elf))
            variables = list(_variables(elf))
        except (ELFError, OSError, ValueError, KeyError, AssertionError) as exc:
            return [Problem(shown, "", f"is damaged: {exc}")]
    needed = sorted({s.name for s in symbols if s.name and s["st_shndx"] == "SHN_UNDEF"})
    defined = sorted({s.name for s in symbols if s.name and s["st_shndx"] != "SHN_UNDEF"})
    out = [Problem(shown, f"calls {name}", RULE + _hint(name)) for name in needed if not _allowed(name)]
    out += [Problem(shown, f"defines {name}", "a name of the core, which would be called in its place; make it static")
            for name in defined if name in core_functions()]
    return out + [Problem(shown, what, f"{RULE}; {STATE}") for what in variables]


def _allowed(name: str) -> bool:
    return name in RUNTIME or name in EXACT_LIBM or name in core_functions()


def _hint(name: str) -> str:
    return f"; {C_HINTS[name]}" if name in C_HINTS else ""


def _dynamic_symbols(elf: Any) -> Iterator[Any]:
    """Symbols that the loader sees, also in a library without section headers."""
    section = elf.get_section_by_name(".dynsym")
    if section is not None:
        yield from section.iter_symbols()
        return
    for segment in elf.iter_segments("PT_DYNAMIC"):
        yield from segment.iter_symbols()


def _variables(elf: Any) -> Iterator[str]:
    """What keeps its value between steps: names where the library still has them, else sizes."""
    writable = {k: s for k, s in enumerate(elf.iter_sections()) if s["sh_flags"] & _WRITE and s["sh_size"]
                and not _CONSTANT_ONCE_LOADED.match(s.name)}
    named = elf.get_section_by_name(".symtab")
    names = {s.name for s in named.iter_symbols() if s["st_shndx"] in writable and s["st_info"]["type"] in ("STT_OBJECT", "STT_TLS")
             and s["st_size"]} if named is not None else set()
    if named is not None:
        for name in sorted(names - _STARTUP):
            yield f"keeps the variable {name}"
        return
    for section in writable.values():
        if section["sh_size"] > _STARTUP_BYTES or section["sh_flags"] & _TLS:
            yield f"keeps {section['sh_size']} bytes of variables in {section.name}"
