"""Messages: C structs, seen from Python as numpy records, in the log as ROS 2 messages.

The C header is the only definition. Layouts come from cffi exactly as the compiler made them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI

from flightsw._native import digest, ffi, include_dir
from flightsw.errors import ConfigError, Problem

MAX_MESSAGE = 608
_ROS = {"i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32", "i8": "int64",
        "u8": "uint64", "f4": "float32", "f8": "float64"}
_CTYPES = {"int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t", "int64_t", "uint64_t", "float", "double"}


def cffi_section(text: str) -> str:
    """What stands between the cffi markers of a header (all of it, if there are several)."""
    return "".join(re.findall(r"/\* cffi: begin \*/(.*?)/\* cffi: end \*/", text, re.S))


def dtype_of(ctype: Any) -> np.dtype[Any]:
    """numpy dtype of a cffi type: offsets, padding and size exactly as the C compiler laid them out.

    Raises TypeError for anything without a fixed data layout (pointers, bit-fields, open arrays).
    """
    if ctype.kind == "primitive":
        if ctype.cname in ("float", "double"):
            return np.dtype("f4" if ctype.cname == "float" else "f8")
        return np.dtype(f"{'i' if int(ffi.cast(ctype.cname, -1)) < 0 else 'u'}{ffi.sizeof(ctype.cname)}")
    if ctype.kind == "array":
        shape = []
        while ctype.kind == "array":
            if ctype.length is None:
                raise TypeError(f"{ctype.cname}: open array")
            shape.append(int(ctype.length))
            ctype = ctype.item
        return np.dtype((dtype_of(ctype), tuple(shape)))
    if ctype.kind == "struct" and ctype.fields is not None and all(f.bitsize < 0 for _, f in ctype.fields):
        names = [n for n, _ in ctype.fields]
        size = _sizeof(ctype)
        return np.dtype({"names": names, "formats": [dtype_of(f.type) for _, f in ctype.fields],
                         "offsets": [f.offset for _, f in ctype.fields], "itemsize": size})
    raise TypeError(f"{ctype.cname}: {ctype.kind} has no fixed data layout")


def _sizeof(ctype: Any) -> int:
    end = 0
    align = 1
    for _, f in ctype.fields:
        dt = dtype_of(f.type)
        scalar = dt.base if dt.subdtype else dt
        align = max(align, scalar.itemsize if scalar.names is None else 8)
        end = f.offset + dt.itemsize
    return -(-end // align) * align


@dataclass(frozen=True)
class MessageType:
    """One message: its C name, numpy dtype, and definition in the ROS 2 interface language."""

    name: str
    dtype: np.dtype[Any]
    schema: str
    schema_name: str
    type_hash: int

    @property
    def size(self) -> int:
        return self.dtype.itemsize


def _schema_name(cname: str) -> str:
    stem = re.sub(r"_t$", "", cname)
    package, stem = ("flightsw", stem[4:]) if stem.startswith("fsw_") else ("user", stem)
    return f"{package}/msg/" + "".join(part.capitalize() for part in stem.split("_"))


def _fields(dtype: np.dtype[Any]) -> list[tuple[str, np.dtype[Any], tuple[int, ...], int]]:
    assert dtype.fields is not None
    out = []
    for name in dtype.names or ():
        field, offset = dtype.fields[name][:2]
        base, shape = field.subdtype or (field, ())
        out.append((name, base, tuple(shape), offset))
    return out


def _check_rules(name: str, dtype: np.dtype[Any], file: str) -> list[Problem]:
    problems = []
    position = 0
    for field, base, shape, offset in _fields(dtype):
        key = f"{name}.{field}"
        if not re.fullmatch(r"[a-z](_?[a-z0-9])*", field):
            problems.append(Problem(file, key, "field names are lower case letters, digits and single underscores"))
        if base.names is not None:
            problems.append(Problem(file, key, "nested structs are not allowed in a message"))
        if len(shape) > 1:
            problems.append(Problem(file, key, "arrays in a message have one dimension"))
        if offset != position:
            problems.append(Problem(file, key, f"{offset - position} bytes of implicit padding before it: add an explicit pad"))
        position = offset + base.itemsize * int(np.prod(shape, dtype=int))
    if position != dtype.itemsize:
        missing = dtype.itemsize - position
        problems.append(Problem(file, name, f"{missing} bytes of implicit padding at its end: add an explicit pad"))
    if dtype.itemsize > MAX_MESSAGE:
        problems.append(Problem(file, name, f"{dtype.itemsize} bytes long, at most {MAX_MESSAGE} allowed"))
    return problems


def _make(name: str, dtype: np.dtype[Any]) -> MessageType:
    lines = []
    for field, base, shape, _ in _fields(dtype):
        ros = _ROS[base.str[1:]]
        lines.append(f"{ros}[{shape[0]}] {field}" if shape else f"{ros} {field}")
    schema = "\n".join(lines) + "\n"
    return MessageType(name, dtype, schema, _schema_name(name), digest(f"{name}\n{schema}".encode()))


def messages_of(text: str, file: str, ffi_: Any = None) -> dict[str, MessageType]:
    """Message types defined in a header's text. Raises ConfigError with every rule that is broken."""
    section = cffi_section(text) or text
    bare = re.sub(r"/\*.*?\*/|//[^\n]*", " ", section, flags=re.S)
    names = re.findall(r"}\s*(\w+)\s*;", bare)
    problems = []
    for body in re.findall(r"\{(.*?)}", bare, re.S):
        for declaration in filter(None, map(str.strip, body.split(";"))):
            spaced = declaration.replace("*", " * ")
            kind, _, rest = declaration.partition(" ") if "[" in declaration else spaced.rpartition(" ")
            if kind.strip() not in _CTYPES or ":" in rest:
                allowed = ", ".join(sorted(_CTYPES))
                problems.append(Problem(file, declaration, f"this type is not allowed in a message: use {allowed}"))
    if problems:
        raise ConfigError(problems)
    if ffi_ is None:
        ffi_ = FFI()
        try:
            ffi_.cdef(section)
        except Exception as exc:  # cffi raises many kinds, all meaning the same to the user
            raise ConfigError.one(file, "", f"cannot be read as C declarations: {str(exc).splitlines()[0]}") from None
    found = {}
    for name in names:
        dtype = dtype_of(ffi_.typeof(name))
        problems += _check_rules(name, dtype, file)
        if not problems:
            found[name] = _make(name, dtype)
    if problems:
        raise ConfigError(problems)
    return found


@lru_cache(maxsize=1)
def builtin() -> Mapping[str, MessageType]:
    """The package's own messages, by C name."""
    path = include_dir() / "flightsw" / "messages.h"
    return messages_of(path.read_text("utf-8"), "messages.h", ffi)


def load_messages(headers: Iterable[Path]) -> dict[str, MessageType]:
    """Built-in messages and those of a user's headers. A name defined twice is refused."""
    every = dict(builtin())
    for header in headers:
        try:
            text = header.read_text("utf-8")
        except UnicodeDecodeError:
            raise ConfigError.one(str(header), "", "is not UTF-8 text") from None
        except OSError as exc:
            raise ConfigError.one(str(header), "", f"cannot be read: {exc.strerror or exc}") from None
        for name, message in messages_of(text, str(header)).items():
            if name in every:
                raise ConfigError.one(str(header), name, "this message name is already defined")
            every[name] = message
    return every


def fingerprint(types: Iterable[MessageType]) -> int:
    """One number for a set of message definitions: equal only if every definition is."""
    return digest("".join(f"{t.name} {t.type_hash:016x}\n" for t in sorted(types, key=lambda t: t.name)).encode())
