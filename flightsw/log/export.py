"""Topics of a log as CSV, Parquet or npz.

CSV and Parquet: one file per topic, one row per message, an array spread over columns `name[0]`, `name[1]`, ..., padding left out.
CSV: floating-point numbers with as many digits as give back the same bits (NaN as `nan`, whatever its payload), so reading the
file gives what was recorded. Parquet: each column in its own type and bit for bit, NaN payloads included; message type and
source are in the metadata of its schema. npz: arrays as in memory, bit for bit.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
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
            flat = column.reshape(len(table), int(np.prod(column.shape[1:])))  # -1 would not do for no rows
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


def write_parquet(table: np.ndarray[Any, Any], path: Path, about: Mapping[str, str]) -> None:
    """One topic as Parquet. about: texts for the metadata of the schema. Raises LogError without pyarrow."""
    pa, pq = _arrow()
    columns = columns_of(table)
    arrays = [pa.array(np.ascontiguousarray(c)) for _, c in columns]
    fields = [pa.field(n, a.type, nullable=False) for (n, _), a in zip(columns, arrays, strict=True)]
    # NaN is a value here, not a gap: pyarrow keeps its bits as long as nothing is converted
    pq.write_table(pa.table(arrays, schema=pa.schema(fields, metadata=dict(about))), path, compression="zstd")


def read_parquet(path: Path, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """What `write_parquet` wrote, for a dtype as `log[topic].dtype` has it. Raises ValueError for another table."""
    _, pq = _arrow()
    found = pq.read_table(path)
    table = np.zeros(found.num_rows, dtype)
    columns = columns_of(table)
    if [n for n, _ in columns] != found.column_names:
        raise ValueError("the columns are not those of this topic")
    for name, column in columns:
        values = found[name].to_numpy()
        if values.dtype != column.dtype:
            raise ValueError(f"{name} is {values.dtype}, not {column.dtype}")
        column[:] = values
    return table


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise LogError("Parquet files are written by pyarrow, which is not installed: pip install 'flightsw[telemetry]'") from None
    return pa, pq


def file_stem(topic: str) -> str:
    """File name for a topic: "/fcc/nav" gives "fcc.nav"."""
    return topic.strip("/").replace("/", ".")


def export(log: Log, folder: Path, kind: str, topics: Sequence[str] = ()) -> list[Path]:
    """Write topics (all with a fixed layout when none are named) into a folder. kind: "csv", "parquet" or "npz".

    Returns the files written: one per topic, or one npz with an array per topic. Raises LogError.
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
        if kind == "parquet":
            _arrow()
        for topic in wanted:
            table = log[topic]
            if kind == "parquet":
                paths.append(folder / f"{file_stem(topic)}.parquet")
                write_parquet(table, paths[-1], {"topic": topic, "type": log.channel(topic).metadata.get("type", "")})
                continue
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
