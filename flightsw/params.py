"""Parameters: what the annotations in C headers say about names, ranges and defaults, and how values become bytes.

Annotation grammar, in the comment after a field (see task.h): `[lo, hi] pad = default : text`, each part optional.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flightsw.errors import Problem

_FIELD = re.compile(r"(\w+)\s+(\w+)\s*((?:\[\s*\w+\s*\]\s*)*);\s*/\*(.*?)\*/", re.S)
_NOTE = re.compile(r"^\s*(?:\[\s*(?P<lo>[^,\]]+),\s*(?P<hi>[^\]]+)\])?\s*(?P<pad>pad)?\s*(?:=\s*(?P<default>[-+.\w]+))?"
                   r"\s*(?::\s*(?P<doc>.*))?$", re.S)


@dataclass(frozen=True)
class ParamField:
    """One parameter: inclusive range, default (None: required), whether a shorter list is filled with zeros."""

    name: str
    lo: float
    hi: float
    pad: bool
    default: float | None
    doc: str


def parse_struct(text: str, struct: str) -> dict[str, ParamField]:
    """Annotations of a struct in a header's text, by field name. Empty when the struct is not in it."""
    end = re.search(r"}\s*" + re.escape(struct) + r"\s*;", text)
    if end is None:
        return {}
    start = text.rfind("typedef struct", 0, end.start())
    fields = {}
    for _, name, _, note in _FIELD.findall(text[start:end.start()]):
        match = _NOTE.match(note.strip())
        if match is None:
            fields[name] = ParamField(name, -math.inf, math.inf, False, None, note.strip())
            continue
        lo, hi, default = match["lo"], match["hi"], match["default"]
        fields[name] = ParamField(name, float(lo) if lo else -math.inf, float(hi) if hi else math.inf, bool(match["pad"]),
                                  float(default) if default else None, " ".join((match["doc"] or "").split()))
    return fields


def suggestion(word: str, words: Any) -> str:
    """`, did you mean "x"?` for a near miss, else nothing."""
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f', did you mean "{near[0]}"?' if near else ""


def _range_text(f: ParamField) -> str:
    return "" if math.isinf(f.lo) and math.isinf(f.hi) else f", allowed {f.lo:g} to {f.hi:g}"


def _numbers(value: Any) -> list[float] | None:
    """Flat list of numbers, or None when anything in it is not a number (booleans are not)."""
    if isinstance(value, list | tuple | np.ndarray):
        out: list[float] = []
        for item in value:
            inner = _numbers(item)
            if inner is None:
                return None
            out += inner
        return out
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    return [float(value)]


def _check(f: ParamField, dtype: np.dtype[Any], value: Any) -> np.ndarray[Any, Any] | str:
    """The field's bytes as an array, or what is wrong with the value."""
    base, shape = dtype.subdtype or (dtype, ())
    numbers = _numbers(value)
    if numbers is None:
        return f"{value!r} is not {'a list of numbers' if shape else 'a number'}{_range_text(f)}"
    count = int(np.prod(shape, dtype=int))
    if not shape and (isinstance(value, list) or len(numbers) != 1):
        return "one number is wanted, not a list"
    if shape and (len(numbers) > count or (len(numbers) < count and not f.pad)):
        return f"{len(numbers)} numbers given, {'at most ' if f.pad else ''}{count} wanted"
    for x in numbers:
        if not math.isfinite(x):
            return f"{x} is not a finite number{_range_text(f)}"
        if not f.lo <= x <= f.hi:
            return f"{x:g} is out of range{_range_text(f)}"
        if base.kind in "iu":
            info = np.iinfo(base)
            if x != int(x) or not info.min <= x <= info.max:
                return f"{x:g} is not a whole number from {info.min} to {info.max}{_range_text(f)}"
    out = np.zeros(count, base)
    out[: len(numbers)] = numbers
    return out.reshape(shape)


@dataclass(frozen=True)
class Given:
    """A value from a file, with where it stands."""

    value: Any
    file: str
    key: str


def resolve(dtype: np.dtype[Any], fields: Mapping[str, ParamField], own: Mapping[str, Given], constants: Mapping[str, Given],
            where: tuple[str, str], used: set[str], problems: list[Problem]) -> np.ndarray[Any, Any]:
    """Parameter record from, in this order, the task's own values, shared constants of the same name, and defaults.

    where: (file, key) of the task for messages about what is missing. Names of constants taken are added to `used`,
    what is wrong to `problems`.
    """
    record = np.zeros((), dtype)
    names = [n for n in dtype.names or () if not n.startswith("pad")]
    for name in own:
        if name not in names:
            problems.append(Problem(own[name].file, own[name].key, f"unknown parameter{suggestion(name, names)}"))
    for name in names:
        f = fields.get(name) or ParamField(name, -math.inf, math.inf, False, None, "")
        given = own.get(name)
        if given is None and name in constants:
            given = constants[name]
        if name in constants:
            used.add(name)
        assert dtype.fields is not None
        field_type = dtype.fields[name][0]
        if given is None:
            if f.default is None:
                problems.append(Problem(where[0], f"{where[1]}.params.{name}",
                                        f"missing, and neither the vehicle nor [constants] has it{_range_text(f)}"))
            else:
                record[name] = f.default
            continue
        result = _check(f, field_type, given.value)
        if isinstance(result, str):
            problems.append(Problem(given.file, given.key, result))
        else:
            record[name] = result
    return record
