"""Topics exported from a log and read back: CSV number by number, Parquet and npz bit by bit, also by other programs."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flightsw import Graph, LogError, NodeSpec, TaskIO, TaskSpec, compile_node, load_messages, python_task
from flightsw.cli.log import command as log_command
from flightsw.log import ChannelDef, Log, LogWriter
from flightsw.log.export import columns_of, export, read_csv, read_parquet, write_csv, write_parquet

TICK = 1_000_000
MESSAGES = load_messages([])
NANS = np.array([0x7FF8000000000000, 0xFFF8DEADBEEF0001, 0x7FF0000000000001, 0x7FFFFFFFFFFFFFFF], "<u8").view("<f8")


@python_task("export.source", reads={}, writes={"imu": "fsw_imu_t", "touch": "fsw_touch_t"})
def source(io: TaskIO) -> None:
    io.writes["imu"]["dv_b"] = io.gauss(1)[:3]
    io.writes["imu"]["dtheta_b"] = NANS[io.tick % 4], -0.0, 5e-324
    io.writes["imu"]["seq"] = 2**32 - 1 - io.tick
    if io.tick:
        io.withhold("touch")


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Log:
    path = tmp_path_factory.mktemp("export") / "a.mcap"
    node = compile_node(NodeSpec("n", [TaskSpec("s", "export.source", 1)], TICK), {source.name: source}, MESSAGES, {})
    graph = Graph([node], [], MESSAGES, 3)
    w = LogWriter(path, [ChannelDef("n", t.name, t.type) for t in node.topics.values()], {"run": {"seed": "3"}}, {}, TICK)
    graph.attach_recorder(w.recorder, w.channel_map)
    while graph.run(300):
        w.drain()
    w.close()
    return Log.open(path)


def bits(table: np.ndarray) -> list[tuple[str, bytes]]:
    return [(n, np.ascontiguousarray(c).tobytes()) for n, c in columns_of(table)]


def test_parquet_of_a_log_is_exact(log, tmp_path):
    imu, touch = export(log, tmp_path, "parquet")
    assert [p.name for p in (imu, touch)] == ["n.imu.parquet", "n.touch.parquet"]
    for path, topic in ((imu, "/n/imu"), (touch, "/n/touch")):
        assert bits(read_parquet(path, log[topic].dtype)) == bits(log[topic])
    assert len(log["/n/imu"]) == 300 and len(log["/n/touch"]) == 1
    assert {v.tobytes() for v in log["/n/imu"]["dtheta_b"][:, 0]} == {v.tobytes() for v in NANS}


def test_other_programs_read_it(log, tmp_path):
    """Plain columns of the message's own types, no nulls: what pyarrow says without our reader."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, = export(log, tmp_path, "parquet", ["n.imu"])
    table = pq.read_table(path)
    assert table.schema.field("log_t_ns").type == pa.int64() and table.schema.field("seq").type == pa.uint32()
    assert table.schema.field("dv_b[2]").type == pa.float64() and table.schema.field("valid").type == pa.uint8()
    assert not [c for c in table.column_names if c.startswith("pad")]
    assert table["dtheta_b[0]"].null_count == 0 and np.isnan(table["dtheta_b[0]"].to_numpy()).all()
    assert table.schema.metadata[b"topic"] == b"/n/imu" and table.schema.metadata[b"type"] == b"fsw_imu_t"


def test_an_exported_topic_is_a_recording(log, tmp_path):
    """What goes out as Parquet or CSV comes in again by a mapping."""
    from hil.config import Recording
    from hil.recording import messages_of

    for kind in ("parquet", "csv"):
        path, = export(log, tmp_path, kind, ["n.imu"])
        r = Recording.model_validate({"file": path.name, "origin": "a test", "topic": "imu", "type": "fsw_imu_t", "time_unit": "ns",
                                      "time_column": "log_t_ns", "fields": {"dv_b": {"columns": [f"dv_b[{k}]" for k in range(3)]}}})
        t_ns, out = messages_of(r, path, MESSAGES["fsw_imu_t"])
        assert t_ns.tolist() == log["/n/imu"]["log_t_ns"].tolist()
        assert out["dv_b"].tobytes() == np.ascontiguousarray(log["/n/imu"]["dv_b"]).tobytes()


TYPES = ["<f8", "<f4", "<i8", "<u8", "<i4", "<u4", "<i2", "<u2", "<i1", "<u1"]
DTYPES = st.lists(st.tuples(st.sampled_from(TYPES), st.sampled_from([(), (1,), (3,)])), min_size=1, max_size=5).map(
    lambda fields: np.dtype([(f"x{k}", t, s) for k, (t, s) in enumerate(fields)]))


@settings(max_examples=60, deadline=None)
@given(st.data(), DTYPES, st.integers(0, 5))
def test_any_table_comes_back(tmp_path_factory, data, dtype, n):
    """Law: every bit pattern of every type, through Parquet; through CSV every number."""
    raw = data.draw(st.binary(min_size=n * dtype.itemsize, max_size=n * dtype.itemsize))
    table = np.frombuffer(raw, dtype)
    path = tmp_path_factory.mktemp("p") / "a.parquet"
    write_parquet(table, path, {})
    assert bits(read_parquet(path, dtype)) == bits(table)
    text = io.StringIO()
    write_csv(table, text)
    text.seek(0)
    back = read_csv(text, dtype)
    for (_, a), (_, b) in zip(columns_of(table), columns_of(back), strict=True):
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        if a.dtype.kind == "f":
            assert np.array_equal(np.signbit(a[~np.isnan(a)]), np.signbit(b[~np.isnan(b)]))


@settings(max_examples=20, deadline=None)
@given(hnp.arrays("<u8", st.integers(1, 8)))
def test_bits_of_doubles(tmp_path_factory, raw):
    table = np.zeros(len(raw), [("x", "<f8")])
    table["x"] = raw.view("<f8")
    path = tmp_path_factory.mktemp("p") / "a.parquet"
    write_parquet(table, path, {})
    assert read_parquet(path, table.dtype)["x"].tobytes() == raw.tobytes()


def test_another_table_is_refused(log, tmp_path):
    path, = export(log, tmp_path, "parquet", ["n.imu"])
    with pytest.raises(ValueError, match="not those of this topic"):
        read_parquet(path, log["/n/touch"].dtype)
    with pytest.raises(ValueError, match="seq is uint32, not int64"):
        read_parquet(path, np.dtype([(n, "<i8" if n == "seq" else log["/n/imu"].dtype[n]) for n in log["/n/imu"].dtype.names]))


def test_command(log, tmp_path):
    words = ["export", str(log.path), str(tmp_path / "out"), "--format", "parquet", "--topic", "n.touch"]
    result = CliRunner().invoke(log_command, words)
    assert result.exit_code == 0 and result.stdout.split() == [str(tmp_path / "out" / "n.touch.parquet")]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["n.touch.parquet"]


def test_without_pyarrow_one_sentence(log, tmp_path, monkeypatch):
    for module in [m for m in sys.modules if m.split(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LogError, match=r"pip install 'flightsw\[telemetry\]'"):
        export(log, tmp_path, "parquet")
    assert list(Path(tmp_path).iterdir()) == []
