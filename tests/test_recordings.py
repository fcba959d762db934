"""Recorded telemetry in CSV, JSON, Parquet and ULog: the same numbers give the same messages, gaps and bad files are told."""

from __future__ import annotations

import gzip
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry_support import WRITERS, csv_text, ulog_bytes, write_json, write_parquet

from flightsw.errors import ConfigError
from flightsw.messages import builtin
from hil import recording_files as files
from hil.config import Recording
from hil.recording import messages_of

RANGE = builtin()["fsw_baro_t"]
IMU = builtin()["fsw_imu_t"]
FORMATS = sorted(WRITERS)
TABLE = {"timestamp": [0, 10_000, 25_000, 90_000], "p": [1013.25, -0.0, 5e-324, 1e300], "q": [1.0, 2.5, -3.0, 4.0]}


def mapping(file: str, **more: Any) -> Recording:
    """A mapping of two columns; in a ULog they stand in the message "sensor"."""
    given = {"file": file, "origin": "a test", "topic": "baro", "type": "fsw_baro_t", "time_column": "timestamp", "time_unit": "us",
             "fields": {"p_pa": {"columns": "p", "unit": "hPa"}}, "values": {"valid": 1}}
    given |= {"message": "sensor"} if file.endswith(".ulg") else {}
    return Recording.model_validate(given | more)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(r: Recording, path: Path, message=RANGE) -> str:
    with pytest.raises(ConfigError) as caught:
        messages_of(r, path, message)
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)
    return str(caught.value)


# ---- the same numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_these_messages(tmp_path, name):
    WRITERS[name](tmp_path / name, TABLE)
    t_ns, out = messages_of(mapping(name), tmp_path / name, RANGE)
    assert t_ns.tolist() == out["t_valid_ns"].tolist() == [0, 10_000_000, 25_000_000, 90_000_000]
    assert out["p_pa"].tobytes() == (np.array(TABLE["p"]) * 100.0).tobytes()
    assert out["valid"].tolist() == [1, 1, 1, 1] and out["seq"].tolist() == [1, 2, 3, 4]


NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**12), NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=8))
def test_all_formats_agree(rows):
    """Law: times and values as numbers determine the messages, whatever the file they stand in, integrated or not."""
    times = np.cumsum([r[0] for r in rows]).tolist()
    table = {"timestamp": times, **{n: [r[k + 1] for r in rows] for k, n in enumerate("xyz")}}
    more = {"type": "fsw_imu_t", "fields": {"dv_b": {"columns": ["-z", "x", "y"], "unit": "m/s2", "integrate": True},
                                            "dtheta_b": {"columns": ["x", "-y", "z"], "unit": "deg/s"}}}
    found = {}
    with tempfile.TemporaryDirectory() as folder, np.errstate(over="ignore", invalid="ignore"):
        for name, writer in WRITERS.items():
            writer(Path(folder, name), table)
            t_ns, out = messages_of(mapping(name, **more), Path(folder, name), IMU)
            found[name] = (t_ns.tolist(), out.tobytes())
    assert len(set(map(str, found.values()))) == 1
    assert found["a.csv"][0] == [1000 * t for t in times]


@pytest.mark.parametrize(("name", "unit"), [("a.csv", "ns"), ("a.json", "ns"), ("a.parquet", "ns"), ("stamp.parquet", "ns")])
def test_whole_times_stay_exact(tmp_path, name, unit):
    """Nanoseconds since 1970 need more digits than float64 has."""
    start = 1_760_000_000_123_456_789
    table = {"timestamp": [start, start + 1, start + 1_000_003], "p": [1.0, 2.0, 3.0]}
    if name == "stamp.parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"timestamp": pa.array(table["timestamp"], pa.timestamp("ns")), "p": table["p"]}), tmp_path / name)
    else:
        WRITERS[name](tmp_path / name, table)
    t_ns, _ = messages_of(mapping(name, time_unit=unit, time_zero="first_row", time_offset_s=0.5), tmp_path / name, RANGE)
    assert t_ns.tolist() == [500_000_000, 500_000_001, 501_000_003]


def test_timestamp_columns_are_told_apart(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"timestamp": pa.array([1, 2], pa.timestamp("us")), "p": ["a", "b"]}), tmp_path / "a.parquet")
    told = refused(mapping("a.parquet"), tmp_path / "a.parquet")
    assert 'timestamp: is a timestamp: it can be the time column, with time_unit = "ns"' in told
    assert "p: holds string, not numbers" in refused(mapping("a.parquet", time_unit="ns"), tmp_path / "a.parquet")


def test_time_zero_of_a_ulog_is_its_start(tmp_path):
    write(tmp_path, "a.ulg", ulog_bytes([("sensor", 0, {"timestamp": [7_000_100, 7_000_200], "p": [1.0, 2.0]})], 7_000_000))
    t_ns, _ = messages_of(mapping("a.ulg", time_zero="log_start"), tmp_path / "a.ulg", RANGE)
    assert t_ns.tolist() == [100_000, 200_000]


def test_rows_before_mission_time_0_are_left_out(tmp_path):
    write(tmp_path, "a.csv", "timestamp,p\n-5,1\n0,2\n5,3\n")
    t_ns, out = messages_of(mapping("a.csv"), tmp_path / "a.csv", RANGE)
    assert t_ns.tolist() == [0, 5000] and out["seq"].tolist() == [2, 3]


# ---- which rows, which columns -------------------------------------------------------------------------------------------


MIXED = "timestamp;sensor;p\n1;imu;x\n2;baro;10\n3;baro;20\n3;imu;\n4;7;30\n"


def test_rows_of_one_kind(tmp_path):
    path = write(tmp_path, "a.csv", MIXED)
    more = {"delimiter": ";", "where": {"column": "sensor", "equals": "baro"}}
    assert messages_of(mapping("a.csv", **more), path, RANGE)[1]["p_pa"].tolist() == [1000.0, 2000.0]
    more["where"] = {"column": "sensor", "equals": 7}
    assert messages_of(mapping("a.csv", **more), path, RANGE)[0].tolist() == [4000]
    more["where"] = {"column": "sensor", "equals": "gnss"}
    assert "has no row whose sensor is gnss" in refused(mapping("a.csv", **more), path)
    more["where"] = {"column": "sensor", "equals": "imu"}
    assert 'row 1: "p" is "x", not a number' in refused(mapping("a.csv", **more), path)


@pytest.mark.parametrize("name", ["a.json", "rows.json", "a.parquet"])
def test_rows_of_one_kind_in_other_formats(tmp_path, name):
    table = {"timestamp": [1, 1, 2], "sensor": ["baro", "imu", "baro"], "p": [1.0, 9.0, 2.0]}
    WRITERS[name](tmp_path / name, table)
    r = mapping(name, where={"column": "sensor", "equals": "baro"})
    assert messages_of(r, tmp_path / name, RANGE)[1]["p_pa"].tolist() == [100.0, 200.0]


def test_units_of_a_ulog(tmp_path):
    units = [("sensor", 0, 1.0), ("sensor", 1, 2.0), ("other", 0, 3.0)]
    write(tmp_path, "a.ulg", ulog_bytes([(name, k, {"timestamp": [1], "p": [p]}) for name, k, p in units]))
    got = [messages_of(mapping("a.ulg", **m), tmp_path / "a.ulg", RANGE)[1]["p_pa"][0]
           for m in ({}, {"multi_id": 1}, {"message": "other"})]
    assert got == [100.0, 200.0, 300.0]
    assert "of multi_id 2, it has [0, 1]" in refused(mapping("a.ulg", multi_id=2), tmp_path / "a.ulg")
    assert 'has no message "sensors", did you mean "sensor"?' in refused(mapping("a.ulg", message="sensors"), tmp_path / "a.ulg")


def test_rows_of_one_kind_in_a_ulog(tmp_path):
    write(tmp_path, "a.ulg", ulog_bytes([("sensor", 0, {"timestamp": [1, 2, 3], "id": [1.0, 2.0, 1.0], "p": [1.0, 2.0, 3.0]})]))
    r = mapping("a.ulg", where={"column": "id", "equals": 1})
    assert messages_of(r, tmp_path / "a.ulg", RANGE)[1]["p_pa"].tolist() == [100.0, 300.0]


def test_a_table_without_headings(tmp_path):
    path = write(tmp_path, "a.txt", csv_text({"t": [1, 2], "p": [3.0, 4.0]}, headings=False, delimiter="\t"))
    r = mapping("a.txt", headings=False, delimiter="\t", time_column="1", fields={"p_pa": {"columns": "-2"}})
    assert messages_of(r, path, RANGE)[1]["p_pa"].tolist() == [-3.0, -4.0]
    r = mapping("a.txt", headings=False, delimiter="\t", time_column="1", fields={"p_pa": {"columns": "3"}})
    assert "3: there is no such column" in refused(r, path)


def test_position_and_velocity(tmp_path):
    """Eastward on the equator at longitude 90 deg is -x; upward at the north pole is z. Units of a PX4 receiver."""
    lat, lon = [0, 900_000_000], [900_000_000, 0]
    table = {"timestamp": [0, 1], "lat": lat, "lon": lon, "alt": [1000, 2000], "n": [0.0, 0.0], "e": [7.0, 0.0], "d": [0.0, -5.0]}
    write_json(tmp_path / "a.json", table)
    r = mapping("a.json", type="fsw_gnss_t", fields={}, position={
        "field": "r_e", "latitude": "lat", "longitude": "lon", "unit": "1e-7 deg", "height": "alt", "height_unit": "mm",
        "velocity_field": "v_e", "velocity_ned": ["n", "e", "d"]})
    _, out = messages_of(r, tmp_path / "a.json", builtin()["fsw_gnss_t"])
    assert np.allclose(out["r_e"], [[0.0, 6378138.0, 0.0], [0.0, 0.0, 6356754.314245]], atol=1e-5)
    assert np.allclose(out["v_e"], [[-7.0, 0.0, 0.0], [0.0, 0.0, 5.0]], atol=1e-12)
    with pytest.raises(ValueError, match="go together"):
        mapping("a.json", position={"field": "r_e", "latitude": "lat", "longitude": "lon", "velocity_field": "v_e"})


def test_whole_fields_do_not_lose_anything(tmp_path):
    r = mapping("a.csv", type="fsw_gnss_t", fields={"satellites": {"columns": "p"}})
    for text, ok in (("12", True), ("12.5", False), ("256", False), ("-1", False)):
        path = write(tmp_path, "a.csv", f"timestamp,p\n1,{text}\n")
        if ok:
            assert messages_of(r, path, builtin()["fsw_gnss_t"])[1]["satellites"].tolist() == [12]
        else:
            assert "row 1: satellites holds whole numbers from 0 to 255" in refused(r, path, builtin()["fsw_gnss_t"])


# ---- gaps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("hole", [None, math.nan, math.inf])
def test_gaps_are_refused_or_left_out(tmp_path, name, hole):
    table = {"timestamp": [1, 2, 3], "p": [1.0, hole, 3.0]}
    WRITERS[name](tmp_path / name, table)
    assert 'row 2: "p" is not a finite number (gaps = "skip" leaves such rows out)' in refused(mapping(name), tmp_path / name)
    t_ns, out = messages_of(mapping(name, gaps="skip"), tmp_path / name, RANGE)
    assert t_ns.tolist() == [1000, 3000] and out["p_pa"].tolist() == [100.0, 300.0]


def test_a_missing_key_is_a_gap(tmp_path):
    path = write(tmp_path, "a.json", '[{"timestamp": 1, "p": 1}, {"timestamp": 2}]')
    assert "row 2" in refused(mapping("a.json"), path)
    assert messages_of(mapping("a.json", gaps="skip"), path, RANGE)[0].tolist() == [1000]
    path = write(tmp_path, "b.json", '[{"timestamp": 1, "p": null}]')
    assert "has no row without a gap" in refused(mapping("b.json", gaps="skip"), path)


# ---- what is wrong with a file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_time_must_go_forward(tmp_path, name):
    WRITERS[name](tmp_path / name, {"timestamp": [1, 5, 4], "p": [1.0, 2.0, 3.0]})
    assert 'row 3: "timestamp" does not go forward' in refused(mapping(name), tmp_path / name)
    WRITERS[name](tmp_path / name, {"timestamp": [1, 5, 7, 5], "p": [1.0, 2.0, None, 3.0]})
    assert 'row 4: "timestamp" does not go forward' in refused(mapping(name, gaps="skip"), tmp_path / name)


def test_rows_of_a_long_parquet_file_keep_their_numbers(tmp_path):
    """It is read in pieces of 65536 rows."""
    n = 70_000
    write_parquet(tmp_path / "a.parquet", {"timestamp": list(range(n)), "p": [*range(n - 1), math.nan]})
    assert f"row {n}: " in refused(mapping("a.parquet"), tmp_path / "a.parquet")
    _, out = messages_of(mapping("a.parquet", gaps="skip"), tmp_path / "a.parquet", RANGE)
    assert np.array_equal(out["p_pa"], 100.0 * np.arange(n - 1))


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_column_is_named(tmp_path, name):
    WRITERS[name](tmp_path / name, {"timestamp": [1], "pressure": [1.0]})
    r = mapping(name, fields={"p_pa": {"columns": "presure"}})
    assert f'{name}: presure: there is no such column, did you mean "pressure"?' in refused(r, tmp_path / name)


@pytest.mark.parametrize(("name", "content", "text"), [
    ("a.csv", "timestamp,p\n1,1_0\n", 'row 1: "p" is "1_0", not a number'),
    ("a.csv", "timestamp,p,p\n1,1,2\n", "p: there are several columns of this name"),
    ("a.csv", b"timestamp,p\n1,\xff\n", "is not UTF-8 text"),
    ("a.csv", "timestamp,p\n1,2\x00\n", "row 1"),
    ("a.csv", "timestamp,p\n1e12,1\n1e300,2\n", "timestamp: goes beyond"),
    ("a.csv.gz", b"not packed", "cannot be read"),
    ("a.csv.gz", gzip.compress(b"timestamp,p\n1,2\n")[:-9], "cannot be read"),
    ("a.json", "[1, 2]", "is neither an object of arrays nor an array of objects"),
    ("a.json", "{", "cannot be read"),
    ("a.json", "[" * 100_000, "it is nested too deeply"),
    ("a.json", '{"timestamp": [1], "timestamp": [2], "p": [1]}', "a key stands in an object twice"),
    ("a.json", '{"timestamp": [1], "p": [1, 2]}', "p: has 2 values, timestamp has 1"),
    ("a.json", '{"timestamp": [1], "p": 1}', "p: is not an array"),
    ("a.json", '{"timestamp": [1], "p": [true]}', 'row 1: "p" is true, not a number'),
    ("a.json", '{"timestamp": [1], "p": ["1"]}', 'row 1: "p" is "1", not a number'),
    ("a.json", '{"timestamp": [1], "p": [1' + "0" * 400 + "]}", "a number in it is too great"),
    ("a.json", '{"timestamp": [1], "p": [1' + "0" * 5000 + "]}", "a number is too long"),
    ("a.json", '{"timestamp": [], "p": []}', "has no rows"),
    ("a.json", "[]", "has no rows"),
    ("a.parquet", b"PAR1 nothing PAR1", "cannot be read"),
    ("a.parquet", b"", "cannot be read"),
    ("a.ulg", b"ULog", "cannot be read"),
    ("a.ulg", ulog_bytes([("sensor", 0, {"timestamp": [], "p": []})]), 'has no message "sensor"'),
])
def test_a_bad_file_is_one_sentence(tmp_path, name, content, text):
    assert text in refused(mapping(name), write(tmp_path, name, content))


def test_a_file_cut_short_is_never_misread(tmp_path):
    """Parquet: refused. ULog, whose end is open by design: whole rows from the beginning, or refused."""
    table = {"timestamp": list(range(1, 41)), "p": [float(k) for k in range(40)]}
    write_parquet(tmp_path / "whole.parquet", table)
    whole = {"a.parquet": (tmp_path / "whole.parquet").read_bytes(), "a.ulg": ulog_bytes([("sensor", 0, table)])}
    for name, content in whole.items():
        for cut in range(0, len(content), 37):
            path = write(tmp_path, name, content[:cut])
            if name == "a.parquet":
                refused(mapping(name), path)
                continue
            try:
                t_ns, out = messages_of(mapping(name), path, RANGE)
            except ConfigError:
                continue
            assert t_ns.tolist() == [1000 * t for t in table["timestamp"][: len(t_ns)]]
            assert out["p_pa"].tolist() == [100.0 * p for p in table["p"][: len(t_ns)]]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FORMATS), st.binary(max_size=300), st.integers(0, 2000), st.integers(0, 200))
def test_a_spoiled_file_gives_messages_or_a_sentence(name, junk, at, cut):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        WRITERS[name](path, TABLE)
        content = path.read_bytes()
        path.write_bytes(content[:at] + junk + content[at + cut :])
        try:
            t_ns, out = messages_of(mapping(name), path, RANGE)
        except ConfigError as exc:
            assert str(exc).startswith(name)
        else:
            assert len(out) == len(t_ns) and np.isfinite(out["p_pa"] / 1e10).all()


def test_sizes_are_bounded(tmp_path, monkeypatch):
    path = write(tmp_path, "a.csv.gz", gzip.compress(b"timestamp,p\n" + b"1,2\n" * 1000))
    monkeypatch.setattr(files, "MAX_BYTES", 2 << 10)
    assert "unpacks to more than" in refused(mapping("a.csv.gz"), path)
    monkeypatch.setattr(files, "MAX_NUMBERS", 10)
    for name in FORMATS:
        WRITERS[name](tmp_path / name, {"timestamp": list(range(20)), "p": [1.0] * 20})
        assert "has more than" in refused(mapping(name), tmp_path / name)
    monkeypatch.setattr(files, "MAX_JSON_BYTES", 10)
    assert "the most allowed for JSON" in refused(mapping("a.json"), tmp_path / "a.json")


def test_a_packed_line_without_end_is_not_unpacked(tmp_path):
    path = write(tmp_path, "a.csv.gz", gzip.compress(b"timestamp,p\n1," + b"1" * 50_000_000))
    assert f"line 2: is longer than {files.MAX_LINE >> 10} KiB" in refused(mapping("a.csv.gz"), path)


@pytest.mark.parametrize(("name", "library"), [("a.parquet", "pyarrow"), ("a.ulg", "pyulog")])
def test_a_missing_library_is_named(tmp_path, monkeypatch, name, library):
    WRITERS[name](tmp_path / name, TABLE)
    for module in [m for m in sys.modules if m.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    told = refused(mapping(name), tmp_path / name)
    assert f"are read by {library}, which is not installed: pip install 'flightsw[telemetry]'" in told
