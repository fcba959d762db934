"""Reading TOML that somebody else wrote: size and nesting are bounded, every error is one sentence with its line.

A file may build on another (`extends = "base.toml"`). What results is a tree of `Table`s: dictionaries that remember from
which file each of their keys came, so that a problem found later still names the right file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flightsw.errors import ConfigError

MAX_BYTES = 256 * 1024
MAX_DOTS = 8
MAX_EXTENDS = 8
OPTION = "--set"

_SEGMENT = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED = re.compile(rf"(?s:\"\"\".*?\"\"\"|'''.*?''')|\#[^\n]*|(?P<key>{_SEGMENT}(?:[ \t]*\.[ \t]*{_SEGMENT})*)")
_LINE = re.compile(r" \(at line (\d+), column (\d+)\)$")
_BY_NAME = ("node", "criterion", "task")  # arrays of tables whose entries are merged by name


class Table(dict[str, Any]):
    """A TOML table that knows the file of each key, the mapping file it was laid over ("": none), and the task tables of other
    types that it replaced.
    """

    def __init__(self, content: Mapping[str, Any], file: str) -> None:
        super().__init__({k: _wrap(v, file) for k, v in content.items()})
        self.files = dict.fromkeys(self, file)
        self.replaced: list[Table] = []
        self.mapping = ""

    def put(self, key: str, value: Any, file: str) -> None:
        """Set a key and remember where it came from."""
        self[key] = _wrap(value, file)
        self.files[key] = file


def _wrap(value: Any, file: str) -> Any:
    if isinstance(value, Table):
        return value
    if isinstance(value, dict):
        return Table(value, file)
    return [_wrap(v, file) for v in value] if isinstance(value, list) else value


def shown(path: Path) -> str:
    """A path as messages show it."""
    return os.path.normpath(path)


def real(path: Path) -> Path:
    """The file behind all links. ConfigError where links lead in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        raise ConfigError.one(shown(path), "", "cannot be read: its links lead in a circle") from None


def read_text(path: Path, named: str = "") -> str:
    """Text of a configuration file. ConfigError when it is missing, too long or not UTF-8.

    named: the file and key that name it, for the message about one that is missing.
    """
    file = shown(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError.one(file, "", "there is no such file" + (f" (named by {named})" if named else "")) from None
    except IsADirectoryError:
        raise ConfigError.one(file, "", "is a folder, a file is wanted") from None
    except (OSError, ValueError) as exc:
        raise ConfigError.one(file, "", f"cannot be read: {getattr(exc, 'strerror', None) or exc}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError.one(file, "", f"is longer than {MAX_BYTES // 1024} KiB, the greatest size allowed")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigError.one(file, f"line {line}", "is not UTF-8 text") from None


def parse(text: str, file: str) -> Table:
    """Text to a table. ConfigError names the line of the first syntax error or duplicate key."""
    for match in _DOTTED.finditer(text):
        key = match["key"]
        if key and key.count(".") > MAX_DOTS and len(re.findall(_SEGMENT, key)) > MAX_DOTS + 1:
            line = text.count("\n", 0, match.start()) + 1
            raise ConfigError.one(file, f"line {line}", f"a key with more than {MAX_DOTS} dots is not allowed")
    try:
        return Table(tomllib.loads(text), file)
    except tomllib.TOMLDecodeError as exc:
        raise _syntax(str(exc), text, file) from None
    except RecursionError:
        raise ConfigError.one(file, "", "is nested too deeply") from None


def _syntax(message: str, text: str, file: str) -> ConfigError:
    found = _LINE.search(message)
    line = int(found[1]) if found else text.count("\n") + 1
    words = _LINE.sub("", message).removesuffix(" (at end of document)")
    if "Cannot overwrite" in words or "Cannot declare" in words or "Duplicate" in words or "Cannot mutate" in words:
        words = f"this key or table is already there ({words})"
    return ConfigError.one(file, f"line {line}", words)


def read_toml(path: Path, texts: dict[str, str] | None = None, named: str = "") -> Table:
    """A file as a table; its text is added to `texts` under the shown path. Raises ConfigError, see `read_text`."""
    text = read_text(path, named)
    if texts is not None:
        texts[shown(path)] = text
    return parse(text, shown(path))


def read_extended(path: Path, texts: dict[str, str]) -> Table:
    """A file merged over the file it extends, and so on. Relative paths in each are made relative to the last one.

    Raises ConfigError for cycles, for chains that are too long and for whatever is wrong with a file.
    """
    chain: list[tuple[Path, Table]] = []
    seen: list[Path] = []
    here: Path | None = path
    while here is not None:
        if real(here) in seen:
            raise ConfigError.one(shown(chain[-1][0]), "extends", f"{shown(here)} extends itself through this file")
        if len(seen) >= MAX_EXTENDS:
            raise ConfigError.one(shown(here), "extends", f"the chain is longer than {MAX_EXTENDS} files")
        seen.append(real(here))
        table = read_toml(here, texts, f"{shown(chain[-1][0])}: extends" if chain else "")
        chain.append((here, table))
        base = table.pop("extends", None)
        if base is not None and not isinstance(base, str):
            raise ConfigError.one(shown(here), "extends", f"{base!r} is not the path of a bench file")
        here = here.parent / base if base is not None else None
    merged = _with_paths(chain[-1], path)
    for item in reversed(chain[:-1]):
        merged = merge(merged, _with_paths(item, path))
    return _with_mappings(merged, path, texts)


def _with_mappings(root: Table, path: Path, texts: dict[str, str]) -> Table:
    """Recordings that name a mapping file are laid over it, key by key. ConfigError when such a file cannot be used."""
    nodes = root.get("node")
    for node in nodes if isinstance(nodes, list) else []:
        own = node.get("recording") if isinstance(node, Table) else None
        if not isinstance(own, Table) or not isinstance(own.get("mapping"), str):
            continue
        place = path.parent / own["mapping"]
        base = read_toml(place, texts, f"{own.files['mapping'] or shown(path)}: node[{node.get('name')}].recording.mapping")
        if "mapping" in base:
            raise ConfigError.one(shown(place), "mapping", "a mapping file cannot build on another one")
        node["recording"] = merge(base, own)
        node["recording"].mapping = shown(place)
    return root


def _with_paths(item: tuple[Path, Table], first: Path) -> Table:
    """Paths in the file, relative to the file, become relative to the first file of the chain."""
    path, table = item
    folder = os.path.relpath(path.parent, first.parent)

    def move(value: Any) -> Any:
        if isinstance(value, str) and value:
            return os.path.normpath(Path(folder, value))
        if isinstance(value, Table):
            for key in ("library", "headers"):
                if key in value:
                    value[key] = move(value[key])
            return value
        return [move(v) for v in value] if isinstance(value, list) else value

    bench = table.get("bench")
    if isinstance(bench, Table) and folder != ".":
        for key in ("vehicle", "tasks", "plugins", "messages"):
            if key in bench:
                bench[key] = move(bench[key])
    nodes = table.get("node")
    for node in nodes if isinstance(nodes, list) and folder != "." else []:
        if isinstance(node, Table) and "schedule" in node:
            node["schedule"] = move(node["schedule"])
        recording = node.get("recording") if isinstance(node, Table) else None
        if isinstance(recording, Table) and "mapping" in recording:
            recording["mapping"] = move(recording["mapping"])
    return table


def merge(base: Table, over: Table, key: str = "") -> Table:
    """`over` laid on `base`: tables key by key, nodes, tasks and criteria by name, other arrays of tables one after the other.

    A criterion is replaced whole. A task of another type keeps its place and timing, but not the old ports and parameters.
    """
    out = Table(base, "")
    out.files, out.replaced = dict(base.files), list(base.replaced)
    if key == "task" and over.get("type", base.get("type")) != base.get("type"):
        out.replaced.append(base)
        for gone in ("params", "reads", "writes"):
            out.pop(gone, None)
    if key == "task" and ("rate_hz" in over or "period_ticks" in over):
        out.pop("rate_hz", None)
        out.pop("period_ticks", None)
    for name, value in over.items():
        old = out.get(name)
        if isinstance(old, Table) and isinstance(value, Table):
            value = merge(old, value, name)
        elif _tables(old) and _tables(value):
            value = merge_lists(old or [], value, name) if name in _BY_NAME else [*(old or []), *value]
        out[name] = value
        out.files[name] = over.files.get(name, "")
    return out


def merge_lists(old: Sequence[Table], new: Sequence[Table], key: str) -> list[Table]:
    """Arrays of tables merged by `name`; what has no partner is appended."""
    out = list(old)
    names = [t.get("name") for t in out]
    for table in new:
        name = table.get("name")
        if name is None or name not in names:
            out.append(table)
        elif key == "criterion":
            out[names.index(name)] = table
        else:
            k = names.index(name)
            out[k] = merge(out[k], table, key)
    return out


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, Table) for v in value)


def file_of(root: Table, location: Sequence[str | int], default: str) -> str:
    """File in which the value at a location was written."""
    node: Any = root
    file = default
    for part in location:
        if isinstance(node, Table) and isinstance(part, str):
            file = node.files.get(part, file) or file
            if part not in node:
                files = set(node.files.values())
                file = files.pop() if len(files) == 1 else file
                break
            node = node[part]
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
            if isinstance(node, Table) and len(set(node.files.values())) == 1:
                file = next(iter(node.files.values()))
        else:
            break
    return file


def key_of(root: Any, location: Sequence[str | int], before: str = "") -> str:
    """Location as text: `node[imu{k}].task[imu].period_ticks`, naming array entries by what identifies them.

    What stands in a mapping file is located from the top of that file. before: what the root itself is called.
    """
    out = before
    node = root
    for part in location:
        if isinstance(part, int):
            node = node[part] if isinstance(node, list) and part < len(node) else None
            label = next((node[k] for k in ("name", "from", "target", "key") if isinstance(node.get(k), str)), None) \
                if isinstance(node, dict) else None
            out += f"[{label}]" if label else f"[#{part + 1}]"
        else:
            if isinstance(node, Table) and node.mapping and node.files.get(part) == node.mapping:
                out = ""
            node = node.get(part) if isinstance(node, dict) else None
            out += f".{part}" if out else part
    return out
