"""Files of recorded telemetry: CSV, JSON, Parquet and ULog, read into columns of numbers.

Whatever the format, the same numbers give the same columns. Files are somebody else's: sizes are bounded before anything is
allocated, nothing in them is executed, and whatever is wrong is one ConfigError that names the file, and the row where there is
one. Rows are counted from 1, as they stand in the file.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

import numpy as np

from flightsw.errors import ConfigError, Problem
from flightsw.params import suggestion

if TYPE_CHECKING:
    from hil.config import RecordedRows, Recording

MAX_BYTES = 1 << 30            # of a file, and of what it unpacks to
MAX_JSON_BYTES = 1 << 28       # JSON becomes Python objects first, about ten times as large
MAX_LINE = 1 << 16             # characters in a line of CSV
MAX_NUMBERS = 100_000_000      # rows times columns
_SUFFIXES = {".csv": "csv", ".txt": "csv", ".tsv": "csv", ".json": "json", ".parquet": "parquet", ".pq": "parquet",
             ".ulg": "ulog", ".ulog": "ulog"}
_FORMATS = "csv, json, parquet, ulog"
EXTRA = "flightsw[telemetry]"
Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Columns:
    """Columns by name (float64, or whole numbers where the file has such), number of each row in the file, and the start of the
    log by its own clock (ns; ULog only).
    """

    values: Mapping[str, Array]
    rows: Array
    start_ns: int | None = None


def format_of(name: str, given: str | None) -> str | None:
    """Format of a file by its name, `.gz` left aside; None when the name does not tell."""
    return given or _SUFFIXES.get(Path(name.removesuffix(".gz")).suffix.lower())


def format_problem(name: str, given: str | None) -> str | None:
    """What is wrong with the format of a recording, before its file is looked at."""
    kind = format_of(name, given)
    if kind is None:
        return f'the suffix of "{name}" does not tell the format: give format = one of {_FORMATS}'
    if name.endswith(".gz") and kind not in ("csv", "json"):
        return f"a {kind} file cannot be read packed: only CSV and JSON may end in .gz"
    return None


def read(path: Path, r: Recording, names: Sequence[str]) -> Columns:
    """The named columns of a file, as far as the rows meant by `where` go, gaps treated as `gaps` says.

    The first name is the time column. Raises ConfigError.
    """
    kind = format_of(path.name, r.format)
    try:
        found = {"csv": _csv, "json": _json, "parquet": _parquet, "ulog": _ulog}[kind or "csv"](path, r, names)
    except (OSError, EOFError, zlib.error) as exc:
        raise _bad(path, f"cannot be read: {getattr(exc, 'strerror', None) or exc}") from None
    except UnicodeDecodeError:
        raise _bad(path, "is not UTF-8 text") from None
    if not len(found.rows):
        raise _bad(path, f"has no row whose {r.where.column} is {r.where.equals}" if r.where is not None else "has no rows")
    return _without_gaps(path, found, r.gaps)


def _bad(path: Path, text: str, row: int | None = None) -> ConfigError:
    return ConfigError.one(path.name, "" if row is None else f"row {row}", text)


def _missing(path: Path, names: Iterable[str], known: Iterable[str]) -> None:
    words = list(known)
    lacking = [n for n in dict.fromkeys(names) if n not in words]
    if lacking:
        raise ConfigError([Problem(path.name, n, f"there is no such column{suggestion(n, words)}") for n in lacking])


def _without_gaps(path: Path, found: Columns, policy: str) -> Columns:
    finite = np.ones(len(found.rows), bool)
    for name, column in found.values.items():
        here = np.isfinite(column)
        if policy == "refuse" and not here.all():
            raise _bad(path, f'"{name}" is not a finite number (gaps = "skip" leaves such rows out)',
                       int(found.rows[np.argmin(here)]))
        finite &= here
    if finite.all():
        return found
    if not finite.any():
        raise _bad(path, "has no row without a gap")
    return Columns({n: c[finite] for n, c in found.values.items()}, found.rows[finite], found.start_ns)


def _enough(path: Path, count: int) -> None:
    if count > MAX_NUMBERS:
        raise _bad(path, f"has more than {MAX_NUMBERS // 1_000_000} million numbers in the columns wanted, the most allowed")


# ---- text ----------------------------------------------------------------------------------------------------------


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.name.endswith(".gz") else path.open("rb")


def _lines(path: Path, stream: io.TextIOBase) -> Iterator[str]:
    """Lines, each and all of them bounded: also a packed file cannot fill the memory."""
    total = number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        total += len(line)
        if len(line) > MAX_LINE:
            raise ConfigError.one(path.name, f"line {number}", f"is longer than {MAX_LINE >> 10} KiB, the most allowed")
        if total > MAX_BYTES:
            raise _bad(path, f"unpacks to more than {MAX_BYTES >> 20} MiB, the most allowed")
        yield line


def _number(text: str) -> float:
    """A number as text; NaN where there is none. ValueError for another text."""
    if not text or text.isspace():
        return float("nan")
    if "_" in text:
        raise ValueError(text)
    return float(text)


def _csv(path: Path, r: Recording, names: Sequence[str]) -> Columns:
    with _open(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as stream:
        rows = csv.reader(_lines(path, stream), delimiter=r.delimiter, skipinitialspace=True)
        try:
            return _csv_columns(path, r, names, rows)
        except csv.Error as exc:
            raise _bad(path, f"cannot be read: {exc}") from None


def _csv_columns(path: Path, r: Recording, names: Sequence[str], rows: Iterator[list[str]]) -> Columns:
    first = next(rows, [])
    headings = [h.strip() for h in first] if r.headings else [str(k + 1) for k in range(len(first))]
    if not r.headings:
        rows = _chain(first, rows)
    _missing(path, [*names, *([r.where.column] if r.where is not None else [])], headings)
    places = [headings.index(n) for n in names]
    twice = next((n for n in names if headings.count(n) > 1), None)
    if twice is not None:
        raise ConfigError.one(path.name, twice, "there are several columns of this name")
    chosen = (headings.index(r.where.column), r.where) if r.where is not None else None
    columns, numbers, ticks = [array("d") for _ in names], array("q"), array("q")
    whole = True  # the time column holds whole numbers only, which float64 may not tell apart
    for row, cells in enumerate(rows, 1):
        if not cells or (chosen is not None and not _is_meant(cells, *chosen)):
            continue
        for name, place, column in zip(names, places, columns, strict=True):
            text = cells[place] if place < len(cells) else ""
            try:
                column.append(_number(text))
            except ValueError:
                raise _bad(path, f'"{name}" is "{text[:40]}", not a number', row) from None
        whole = whole and _append_whole(ticks, cells[places[0]] if places[0] < len(cells) else "")
        numbers.append(row)
        _enough(path, len(numbers) * len(names))
    out: dict[str, Array] = {n: np.array(c, np.float64) for n, c in zip(names, columns, strict=True)}
    if whole and len(ticks):
        out[names[0]] = np.array(ticks, np.int64)
    return Columns(out, np.array(numbers, np.int64))


def _chain(first: list[str], rest: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rest


def _append_whole(to: array[int], text: str) -> bool:
    try:
        to.append(int(text))
    except (ValueError, OverflowError):
        return False
    return True


def _is_meant(cells: Sequence[str], place: int, where: RecordedRows) -> bool:
    text = cells[place].strip() if place < len(cells) else ""
    if isinstance(where.equals, str):
        return text == where.equals
    try:
        return float(text) == where.equals
    except ValueError:
        return False


def _json(path: Path, r: Recording, names: Sequence[str]) -> Columns:
    with _open(path) as stream:
        raw = stream.read(MAX_JSON_BYTES + 1)
    if len(raw) > MAX_JSON_BYTES:
        raise _bad(path, f"is longer than {MAX_JSON_BYTES >> 20} MiB, the most allowed for JSON")
    try:
        data = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_pairs)
    except (json.JSONDecodeError, RecursionError, _TwiceError) as exc:
        text = "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise _bad(path, f"cannot be read: {text}") from None
    except UnicodeDecodeError:
        raise
    except ValueError:  # a whole number with thousands of digits
        raise _bad(path, "cannot be read: a number is too long") from None
    wanted = list(dict.fromkeys([*names, *([r.where.column] if r.where is not None else [])]))
    if isinstance(data, dict):
        table = _json_arrays(path, data, wanted)
    elif isinstance(data, list) and all(isinstance(row, dict) for row in data):
        known = dict.fromkeys(k for row in data for k in row)
        _missing(path, wanted if data else [], known)
        table = {n: [row.get(n) for row in data] for n in wanted}
    else:
        raise _bad(path, "is neither an object of arrays nor an array of objects")
    count = len(table[names[0]])
    _enough(path, count * len(names))
    meant = [k for k in range(count) if r.where is None or _same(table[r.where.column][k], r.where.equals)]
    return Columns({n: _numbers(path, n, table[n], meant) for n in names}, np.array(meant, np.int64) + 1)


class _TwiceError(ValueError):
    """A key stands in an object twice."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise _TwiceError("a key stands in an object twice")
    return out


def _json_arrays(path: Path, data: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, list[Any]]:
    _missing(path, wanted, data)
    for name in wanted:
        if not isinstance(data[name], list):
            raise ConfigError.one(path.name, name, "is not an array")
        if len(data[name]) != len(data[wanted[0]]):
            raise ConfigError.one(path.name, name, f"has {len(data[name])} values, {wanted[0]} has {len(data[wanted[0]])}")
    return {n: data[n] for n in wanted}


def _same(value: object, wanted: str | float) -> bool:
    return not isinstance(value, bool) and isinstance(value, str) == isinstance(wanted, str) and value == wanted


def _numbers(path: Path, name: str, values: Sequence[Any], meant: Sequence[int]) -> Array:
    """Values as an array: whole numbers where all are, else float64 with NaN for null."""
    picked = [values[k] for k in meant]
    bad = next((k for k, v in zip(meant, picked, strict=True)
                if v is not None and (isinstance(v, bool) or not isinstance(v, int | float))), None)
    if bad is not None:
        raise _bad(path, f'"{name}" is {json.dumps(values[bad])[:40]}, not a number', bad + 1)
    try:
        if all(isinstance(v, int) for v in picked):
            return np.array(picked, np.int64)
        return np.array([np.nan if v is None else float(v) for v in picked], np.float64)
    except OverflowError:
        raise ConfigError.one(path.name, name, "a number in it is too great") from None


# ---- Parquet -------------------------------------------------------------------------------------------------------


def _lacks(path: Path, library: str, what: str) -> ConfigError:
    return _bad(path, f"{what} files are read by {library}, which is not installed: pip install '{EXTRA}'")


def _parquet(path: Path, r: Recording, names: Sequence[str]) -> Columns:
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise _lacks(path, "pyarrow", "Parquet") from None
    wanted = list(dict.fromkeys([*names, *([r.where.column] if r.where is not None else [])]))
    try:
        with pq.ParquetFile(path) as file:
            return _parquet_columns(path, file, r, names, wanted)
    except ConfigError:
        raise
    except Exception as exc:  # the library's errors on damaged files are of many kinds
        raise _bad(path, f"cannot be read: {(str(exc).splitlines() or [type(exc).__name__])[0][:200]}") from None


def _parquet_columns(path: Path, file: Any, r: Recording, names: Sequence[str], wanted: Sequence[str]) -> Columns:
    import pyarrow as pa

    schema, meta = file.schema_arrow, file.metadata
    _missing(path, wanted, schema.names)
    _enough(path, meta.num_rows * len(wanted))
    if sum(meta.row_group(k).total_byte_size for k in range(meta.num_row_groups)) > MAX_BYTES:
        raise _bad(path, f"unpacks to more than {MAX_BYTES >> 20} MiB, the most allowed")
    for n in names:
        kind = schema.field(n).type
        if pa.types.is_timestamp(kind) and (n != names[0] or r.time_unit != "ns"):
            raise ConfigError.one(path.name, n, 'is a timestamp: it can be the time column, with time_unit = "ns" (since 1970)')
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_timestamp(kind)):
            raise ConfigError.one(path.name, n, f"holds {kind}, not numbers")
    parts: dict[str, list[Array]] = {n: [] for n in names}
    rows: list[Array] = []
    seen = 0
    for batch in file.iter_batches(1 << 16, columns=list(wanted)):
        seen += batch.num_rows
        _enough(path, seen * len(wanted))
        meant = np.arange(batch.num_rows)
        if r.where is not None:
            meant = np.flatnonzero([_same(v, r.where.equals) for v in batch.column(r.where.column).to_pylist()])
        rows.append(meant + (seen - batch.num_rows + 1))
        for n in names:
            parts[n].append(_arrow_numbers(batch.column(n))[meant])
    return Columns({n: _joined(parts[n]) for n in names}, np.concatenate(rows) if rows else np.zeros(0, np.int64))


def _arrow_numbers(column: Any) -> Array:
    """Whole numbers, times in ns, or float64 with NaN for null."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
    if column.null_count or pa.types.is_floating(column.type):
        return cast(Array, column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    return cast(Array, column.to_numpy(zero_copy_only=False))


def _joined(parts: Sequence[Array]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0)


# ---- ULog ----------------------------------------------------------------------------------------------------------


def _ulog(path: Path, r: Recording, names: Sequence[str]) -> Columns:
    try:
        import pyulog
    except ImportError:
        raise _lacks(path, "pyulog", "ULog") from None
    if r.message is None:
        raise _bad(path, 'a ULog holds many messages: say which one with message = "sensor_combined"')
    try:
        with path.open("rb") as stream, contextlib.redirect_stdout(io.StringIO()):  # it prints what it finds damaged
            log = pyulog.ULog(stream, [r.message])
    except Exception as exc:  # the library's errors on damaged files are of many kinds
        raise _bad(path, f"cannot be read: {str(exc) or type(exc).__name__}") from None
    if log.file_corruption:
        raise _bad(path, "is damaged")
    found = next((d for d in log.data_list if d.name == r.message and d.multi_id == r.multi_id), None)
    if found is None:
        units = sorted(d.multi_id for d in log.data_list)
        raise _bad(path, f'has no message "{r.message}"' + (f" of multi_id {r.multi_id}, it has {units}" if units else "")
                   + ("" if units else suggestion(r.message, log.message_formats)))
    wanted = [*names, *([r.where.column] if r.where is not None else [])]
    _missing(path, wanted, found.data)
    count = len(found.data["timestamp"])
    _enough(path, count * len(names))
    meant = np.arange(count)
    if r.where is not None:
        meant = np.flatnonzero([_same(v, r.where.equals) for v in found.data[r.where.column].tolist()])
    return Columns({n: found.data[n][meant] for n in names}, meant + 1, int(log.start_timestamp) * 1000)
