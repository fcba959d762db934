"""Small files of recorded telemetry in every format, from the same numbers; and a made booster flight as a webcast shows it."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Table = Mapping[str, Sequence[int | float | None]]


def csv_text(table: Table, headings: bool = True, delimiter: str = ",") -> str:
    """Floats with all their digits, None as an empty cell."""
    rows = zip(*table.values(), strict=True)
    lines = [delimiter.join(table)] if headings else []
    return "\n".join([*lines, *(delimiter.join("" if v is None else repr(v) for v in row) for row in rows)]) + "\n"


def write_csv(path: Path, table: Table) -> None:
    path.write_text(csv_text(table), "utf-8")


def write_csv_gz(path: Path, table: Table) -> None:
    path.write_bytes(gzip.compress(csv_text(table).encode()))


def write_json(path: Path, table: Table) -> None:
    path.write_text(json.dumps({n: list(c) for n, c in table.items()}), "utf-8")


def write_json_rows(path: Path, table: Table) -> None:
    path.write_text(json.dumps([dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]), "utf-8")


def write_parquet(path: Path, table: Table) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({n: pa.array(list(c)) for n, c in table.items()}), path)


def _message(kind: bytes, payload: bytes) -> bytes:
    return struct.pack("<HB", len(payload), kind[0]) + payload


def ulog_bytes(messages: Sequence[tuple[str, int, Table]], start_us: int = 0) -> bytes:
    """ULog after its public format (docs.px4.io, "ULog file format"): header, flag bits, a format and a subscription for each
    message, data. Each table has a column "timestamp" (us); the others are doubles.
    """
    out = b"ULog\x01\x125\x01" + struct.pack("<Q", start_us) + _message(b"B", bytes(40))
    for name in dict.fromkeys(m[0] for m in messages):
        columns = [c for c in next(t for n, _, t in messages if n == name) if c != "timestamp"]
        out += _message(b"F", (f"{name}:uint64_t timestamp;" + "".join(f"double {c};" for c in columns)).encode())
    for k, (name, multi_id, _) in enumerate(messages):
        out += _message(b"A", struct.pack("<BH", multi_id, k) + name.encode())
    for k, (_, _, table) in enumerate(messages):
        columns = [c for c in table if c != "timestamp"]
        for i, t in enumerate(table["timestamp"]):
            values = [float("nan") if table[c][i] is None else table[c][i] for c in columns]
            out += _message(b"D", struct.pack(f"<HQ{len(columns)}d", k, t, *values))
    return out


def write_ulog(path: Path, table: Table) -> None:
    path.write_bytes(ulog_bytes([("sensor", 0, table)]))


WRITERS = {"a.csv": write_csv, "a.csv.gz": write_csv_gz, "a.json": write_json, "rows.json": write_json_rows,
           "a.parquet": write_parquet, "a.ulg": write_ulog}


# ---- a booster's flight ------------------------------------------------------------------------------------------------


def booster_flight() -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """A made flight in a plane over a round Earth (100 Hz: t, h, vz, vx), and when its events are."""
    dt, t, h, vz, vx = 0.01, 0.0, 0.0, 0.0, 0.0
    rows, events = [], dict[str, float]()
    boost_end, landing_from = 211.0, 3_400.0
    burn = None
    while t < 600.0 and not (t > 300.0 and h <= 0.05):
        rows.append((t, h, vz, vx))
        v, r = max(1e-6, float(np.hypot(vz, vx))), 6.371e6 + h
        g = 9.80665 * (6.371e6 / r) ** 2
        drag = 5e-4 * 0.5 * 1.225 * np.exp(-h / 7500.0) * v * v * (1.0 if burn != "landing" else 0.5)
        az, ax = -g - drag * vz / v + vx * vx / r, -drag * vx / v - vx * vz / r
        if t < 145.0:  # a pitch program: from upright to 42 deg, speed by thrust and gravity
            angle = np.pi / 2 - 0.84 * min(1.0, max(0.0, (t - 12.0) / 120.0))
            v += dt * (13.0 + 20.0 * (t / 145.0) ** 2 - g * np.sin(angle))
            az, ax = (v * np.sin(angle) - vz) / dt, (v * np.cos(angle) - vx) / dt
        elif 165.0 <= t < boost_end:
            ax -= 36.0
        elif burn is None and vz < 0.0 and h < 48_000.0 and "entry_start" not in events:
            burn, events["entry_start"] = "entry", t
        elif burn == "entry" and t > events["entry_start"] + 12.0:
            burn, events["entry_end"] = None, t
        elif burn is None and vz < 0.0 and h < landing_from:
            burn, events["landing_start"] = "landing", t
        if burn == "entry":
            az, ax = az - 35.0 * vz / v, ax - 35.0 * vx / v
        if burn == "landing":
            az, ax = vz * vz / (2.0 * max(h, 0.02)), -vx * 0.3
        if "apogee" not in events and t > 150.0 and vz <= 0.0:
            events["apogee"] = t
        if burn == "landing" and v < 3.0 and "landing_end" not in events:
            events["landing_end"] = t
        h, vz, vx, t = h + dt * vz, vz + dt * az, vx + dt * ax, t + dt
    rows += [(t + k * dt, 0.0, 0.0, 0.0) for k in range(300)]
    events |= {"meco": 145.0, "boostback_start": 165.0, "boostback_end": boost_end}
    return dict(zip(("t", "h", "vz", "vx"), np.array(rows).T, strict=True)), events


def webcast(flight: Mapping[str, np.ndarray], gaps: Sequence[tuple[float, float]] = ()) -> dict[str, list[float]]:
    """What a display shows of a flight 30 times a second: speed in km/h, altitude in steps of 100 m (of 1 km above 100 km),
    each up to two frames old.
    """
    t = np.round(np.arange(0.0, flight["t"][-1], 1 / 30), 3)
    t = t[~np.any([(t > a) & (t < b) for a, b in gaps], axis=0)] if gaps else t
    age_v, age_h = np.random.default_rng(11).uniform(0.0, 0.06, (2, len(t)))
    h = np.interp(t - age_h, flight["t"], flight["h"]) * 1e-3
    v = np.interp(t - age_v, flight["t"], np.hypot(flight["vz"], flight["vx"]))
    shown = np.where(h < 99.95, np.round(h, 1), np.round(h))
    return {"time": t.tolist(), "velocity": (np.round(v * 3.6) / 3.6).tolist(), "altitude": shown.tolist()}
