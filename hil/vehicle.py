"""Vehicle files: sections of numbers with units in their names, flattened into shared constants.

Every leaf name is unique in a file, because a task parameter of the same name takes it. A file may include others
(`include = ["aero.toml"]`); what it says itself rules over what it includes. It may name the start and shutdown sequence of its engines
(`sequence = "../sequences/tq12_class.toml"`), which becomes constants too (hil.sequence).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flightsw.errors import ConfigError, Problem
from flightsw.params import Given
from hil.config import numbers_only
from hil.toml_file import MAX_EXTENDS, Table, read_toml, real, shown

_ABOUT = "vehicle"  # the section that describes instead of being a constant


def load_vehicle(paths: Iterable[Path], texts: dict[str, str],
                 named: str = "") -> tuple[dict[str, Given], dict[str, Any]]:
    """Constants of vehicle files laid side by side, and what their [vehicle] sections say.

    The text of each file read is added to `texts`. named: the file and key that name the paths, for messages.
    Raises ConfigError with all problems of all files.
    """
    problems: list[Problem] = []
    constants: dict[str, Given] = {}
    about: dict[str, Any] = {}
    for path in paths:
        own = _load(path, texts, about, problems, (), named)
        for name, given in own.items():
            if name in constants and constants[name].file != given.file:
                other = constants[name]
                problems.append(Problem(given.file, given.key, f"is already set in {other.file} ({other.key})"))
            constants.setdefault(name, given)
    if problems:
        raise ConfigError(problems)
    return constants, about


def _load(path: Path, texts: dict[str, str], about: dict[str, Any], problems: list[Problem],
          above: tuple[Path, ...], named: str) -> dict[str, Given]:
    file = shown(path)
    try:
        here = real(path)
        if here in above or len(above) > MAX_EXTENDS:
            problems.append(Problem(shown(above[-1]), "include", f"{file} includes itself through this file"))
            return {}
        table = read_toml(path, texts, named)
    except ConfigError as exc:
        problems += exc.problems
        return {}
    includes = table.pop("include", [])
    constants: dict[str, Given] = {}
    if not isinstance(includes, list) or not all(isinstance(i, str) for i in includes):
        problems.append(Problem(file, "include", f"{includes!r} is not a list of paths"))
        includes = []
    for name in includes:
        constants |= _load(path.parent / name, texts, about, problems, (*above, here), f"{file}: include")
    sequence = table.pop("sequence", None)
    if sequence is not None:
        constants |= _sequence(path, sequence, texts, problems)
    about_here = table.pop(_ABOUT, Table({}, file))
    if isinstance(about_here, Table):
        problems += [Problem(file, f"{_ABOUT}.{k}", f"{v!r} is not a text; numbers belong into other sections")
                     for k, v in about_here.items() if not isinstance(v, str)]
        about |= about_here
    else:
        problems.append(Problem(file, _ABOUT, f"{about_here!r} is not a table"))
    return constants | flatten(table, file, problems)


def sequence_of(path: Path) -> Path | None:
    """The sequence that a vehicle file names, itself or through what it includes; None when it names none.

    Raises ConfigError as load_vehicle does.
    """
    problems: list[Problem] = []
    texts: dict[str, str] = {}
    constants = _load(path, texts, {}, problems, (), "")
    if problems:
        raise ConfigError(problems)
    given = constants.get("seq_steps")
    return Path(given.file) if given is not None else None


def name_sequence(problems: Iterable[Problem]) -> list[Problem]:
    """Missing parameters of an engine sequence, which nobody writes by hand, in one sentence that says what to do."""
    out: dict[Problem, None] = {}
    for p in problems:
        task, _, name = p.key.rpartition(".params.")
        if name.startswith("seq_") and p.text.startswith("missing"):
            p = Problem(p.file, task, "the vehicle names no engine sequence: give the vehicle file, above its first section, a line "
                                      'sequence = "file.toml" (see bench_configs/sequences)')
        out[p] = None
    return list(out)


def _sequence(path: Path, name: object, texts: dict[str, str], problems: list[Problem]) -> dict[str, Given]:
    """Constants of the sequence that a vehicle file names."""
    from hil.sequence import load_sequence

    if not isinstance(name, str) or not name:
        problems.append(Problem(shown(path), "sequence", f"{_text(name)} is not the path of a sequence file"))
        return {}
    try:
        return load_sequence(path.parent / name, texts, f"{shown(path)}: sequence").constants()
    except ConfigError as exc:
        problems += exc.problems
        return {}


def flatten(table: Mapping[str, Any], file: str, problems: list[Problem], prefix: str = "") -> dict[str, Given]:
    """Leaves of a tree of tables by their own names. Repeated names and leaves that are no numbers become problems."""
    out: dict[str, Given] = {}
    for key, value in table.items():
        where = f"{prefix}.{key}" if prefix else key
        source = table.files.get(key, file) if isinstance(table, Table) else file
        found = flatten(value, source, problems, where) if isinstance(value, Mapping) else {key: Given(value, source, where)}
        if not isinstance(value, Mapping) and not numbers_only(value):
            problems.append(Problem(source, where, f"{_text(value)} is not a finite number or a list of such"))
            continue
        for name, given in found.items():
            if name in out:
                problems.append(Problem(source, given.key, f"the name {name} is already used by {out[name].key}"))
            out[name] = given
    return out


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else repr(value)
