"""Topics of a log as CSV or npz.

CSV: one file per topic, one row per message, an array spread over columns `name[0]`, `name[1]`, ...; floating-point numbers
with as many digits as give back the same bits (NaN as `nan`), so reading the file gives what was recorded.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from flightsw.errors import LogError
from flightsw.log.reader import Log

_BLOCK = 10_000


def columns_of(table: np.ndarray[Any, Any]) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """(name, one-dimensional column) of a structured array, arrays spread, padding left out."""
    out = []
    for name in table.dtype.names or ():
        if name.startswith("pad") and name[3:].isdigit():
            continue
        column = table[name]
        if column.ndim == 1:
            out.append((name, column))
        else:
            flat = column.reshape(len(table), -1)
            out += [(f"{name}[{k}]", flat[:, k]) for k in range(flat.shape[1])]
    return out


def write_csv(table: np.ndarray[Any, Any], file: TextIO) -> None:
    """One topic as CSV."""
    columns = columns_of(table)
    out = csv.writer(file, lineterminator="\n")
    out.writerow([name for name, _ in columns])
    for at in range(0, len(table), _BLOCK):
        # tolist gives Python numbers; the repr of a Python float is the shortest text that reads back as the same number
        block = [[repr(x) for x in c[at : at + _BLOCK].tolist()] if c.dtype.kind == "f" else c[at : at + _BLOCK].tolist()
                 for _, c in columns]
        out.writerows(zip(*block, strict=True))


def read_csv(file: TextIO, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """What `write_csv` wrote, for a dtype as `log[topic].dtype` has it. Raises ValueError for another table."""
    rows = csv.reader(file)
    names = next(rows, [])
    lines = list(rows)
    table = np.zeros(len(lines), dtype)
    columns = columns_of(table)
    if [n for n, _ in columns] != names:
        raise ValueError("the columns are not those of this topic")
    for k, (_, column) in enumerate(columns):
        if column.dtype.kind == "f":
            column[:] = [float(line[k]) for line in lines]
        else:
            column[:] = np.array([int(line[k]) for line in lines], column.dtype)
    return table


def file_stem(topic: str) -> str:
    """File name for a topic: "/fcc/nav" gives "fcc.nav"."""
    return topic.strip("/").replace("/", ".")


def export(log: Log, folder: Path, kind: str, topics: Sequence[str] = ()) -> list[Path]:
    """Write topics (all with a fixed layout when none are named) into a folder. kind: "csv" or "npz".

    Returns the files written: one CSV per topic, or one npz with an array per topic. Raises LogError.
    """
    wanted = [t if t.startswith("/") else "/" + t.replace(".", "/", 1) for t in topics] or list(_fixed(log))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "npz":
            path = folder / f"{log.path.stem}.npz"
            arrays: dict[str, Any] = {file_stem(t): log[t] for t in wanted}
            np.savez(path, **arrays)
            return [path]
        paths = []
        for topic in wanted:
            table = log[topic]
            paths.append(folder / f"{file_stem(topic)}.csv")
            with paths[-1].open("w", encoding="utf-8", newline="") as file:
                write_csv(table, file)
        return paths
    except OSError as exc:
        raise LogError(f"{folder}: cannot be written: {exc.strerror}") from None


def _fixed(log: Log) -> Iterable[str]:
    for topic in log.topics:
        try:
            log.dtype(topic)
        except LogError:
            continue
        yield topic
