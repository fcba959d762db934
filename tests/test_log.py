"""Writing and reading a log: what was recorded comes back, bit for bit."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flightsw import Graph, LogError, NodeSpec, TaskIO, TaskSpec, compile_node, load_messages, python_task
from flightsw._native import ffi
from flightsw.cli.diff import command as diff_command
from flightsw.cli.log import command as log_command
from flightsw.log import ChannelDef, Log, LogWriter
from flightsw.log.export import export, read_csv, write_csv
from flightsw.log.reader import schema_dtype
from flightsw.messages import MessageType

MESSAGES = load_messages([])
TICK = 1_000_000


@python_task("log.source", reads={}, writes={"imu": "fsw_imu_t", "touch": "fsw_touch_t"},
             state="typedef struct { double x; } log_source_t;")
def source(io: TaskIO) -> None:
    io.state["x"] = io.state["x"] * 1.0000001 + 0.1
    io.writes["imu"]["dv_b"] = io.gauss(1)[:3] * io.state["x"]
    io.writes["imu"]["seq"] = io.tick
    io.writes["touch"]["contact"] = io.tick % 251
    if io.tick % 3:
        io.withhold("touch")


class SmallBuffers(LogWriter):
    buffer_bytes = 9_000


def graph_of(seed: int = 3) -> tuple[Graph, list[ChannelDef]]:
    node = compile_node(NodeSpec("n", [TaskSpec("s", "log.source", 1)], TICK), {source.name: source}, MESSAGES, {})
    return Graph([node], [], MESSAGES, seed), [ChannelDef("n", t.name, t.type) for t in node.topics.values()]


def fly(path: Path, ticks: int = 500, writer: type[LogWriter] = SmallBuffers, **options: Any) -> tuple[Graph, LogWriter]:
    graph, channels = graph_of()
    w = writer(path, channels, {"run": {"seed": "3", "title": "ümläut"}}, {"config/a.toml": b"x = 1\n"}, TICK, **options)
    graph.attach_recorder(w.recorder, w.channel_map)
    while graph.run(ticks):
        w.drain()
    w.keyframe(graph.snapshot(), graph.digests())
    w.close()
    return graph, w


@pytest.mark.parametrize("writer", [LogWriter, SmallBuffers])
@pytest.mark.parametrize("compression", ["", "lz4", "zstd"])
def test_round_trip(tmp_path: Path, writer: type[LogWriter], compression: str) -> None:
    if compression:
        pytest.importorskip({"lz4": "lz4", "zstd": "backports.zstd"}[compression])
    fly(tmp_path / "flight.mcap", writer=writer, compression=compression)
    log = Log.open(tmp_path)
    assert log.complete and log.problems == []
    assert log.topics == {"/n/imu": 500, "/n/touch": 167}
    assert log["/n/imu"]["log_t_ns"].tolist() == [k * TICK for k in range(500)]
    assert log["/n/touch"]["log_seq"].tolist() == list(range(1, 168))
    assert log["n.touch"]["contact"][:, 3].tolist() == [k % 251 for k in range(0, 500, 3)]
    graph, _ = graph_of()
    for k in range(500):  # the same flight again, looked at tick by tick
        graph.run(k + 1)
        row = log["/n/imu"][k]
        for name in MESSAGES["fsw_imu_t"].dtype.names or ():
            assert np.array_equal(row[name], graph.nodes["n"].topic("imu")[name])
    assert log.metadata["run"] == {"seed": "3", "title": "ümläut"}
    assert log.attachments == {"config/a.toml": b"x = 1\n"}
    assert (log.duration_ns, log.base_tick_ns) == (499 * TICK, TICK)


def test_keyframes_restore(tmp_path: Path) -> None:
    graph, _ = fly(tmp_path / "flight.mcap")
    (snapshot, digests), = Log.open(tmp_path).keyframes()
    assert snapshot == graph.snapshot() and digests == graph.digests()
    other, _ = graph_of(seed=99)
    other.restore(snapshot)
    graph.attach_recorder(ffi.NULL, {})
    assert graph.run(900) == 0 and other.run(900) == 0
    assert other.digests() == graph.digests()


def test_every_nth_write(tmp_path: Path) -> None:
    graph, channels = graph_of()
    with LogWriter(tmp_path / "flight.mcap", [ChannelDef("n", "imu", channels[0].type, 10)], {}, {}, TICK) as w:
        graph.attach_recorder(w.recorder, w.channel_map)
        graph.run(95)
    log = Log.open(tmp_path)
    assert log["/n/imu"]["seq"].tolist() == list(range(0, 95, 10))
    assert log.channel("/n/imu").metadata["every"] == "10"


def test_all_messages_of_the_package(tmp_path: Path) -> None:
    """Every message definition gives the dtype that the C compiler has, through the text in the log alone."""
    for message in MESSAGES.values():
        dtype = schema_dtype(message.schema)
        assert dtype == message.dtype and dtype.itemsize == message.size, message.name
        assert (dtype.fields or {}).keys() == (message.dtype.fields or {}).keys()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Law: whatever bytes a topic holds, the log returns them (NaN payloads, subnormals, everything)."""
    path = tmp_path_factory.mktemp("any") / "flight.mcap"
    types: list[MessageType] = data.draw(st.lists(st.sampled_from(list(MESSAGES.values())), min_size=1, max_size=4))
    payloads = data.draw(st.lists(st.binary(min_size=608, max_size=608), min_size=1, max_size=5))
    sent = write_payloads(path, types, payloads)
    log = Log.open(path)
    for k, message in enumerate(types):
        table = log[f"/n{k}/x"]
        assert [b"".join(row[n].tobytes() for n in message.dtype.names or ()) for row in table] == sent[k]


def write_payloads(path: Path, types: list[MessageType], payloads: list[bytes]) -> list[list[bytes]]:
    """Log the same payloads on one topic per type, through the input gate of nodes that only read."""
    nodes = []
    tasks = {}
    for k, message in enumerate(types):
        task = python_task(f"log.sink{k}", reads={"x": message.name}, writes={})(lambda io: None)
        tasks[task.name] = task
        spec = NodeSpec(f"n{k}", [TaskSpec("t", task.name, 1)], TICK, frozenset({"x"}))
        nodes.append(compile_node(spec, tasks, MESSAGES, {}))
    graph = Graph(nodes, [], MESSAGES)
    sent: list[list[bytes]] = [[] for _ in types]
    with LogWriter(path, [ChannelDef(n.name, "x", t) for n, t in zip(nodes, types, strict=True)], {}, {}, TICK) as w:
        graph.attach_recorder(w.recorder, w.channel_map)
        for i, payload in enumerate(payloads):
            for k, message in enumerate(types):
                sent[k].append(payload[: message.size])
                graph.nodes[f"n{k}"].input("x", np.frombuffer(sent[k][-1], message.dtype)[0])
            graph.run(i + 1)
    return sent


def test_a_log_is_never_overwritten(tmp_path: Path) -> None:
    fly(tmp_path / "flight.mcap", 5)
    with pytest.raises(LogError, match="exists already"):
        LogWriter(tmp_path / "flight.mcap", [], {}, {}, TICK)
    with pytest.raises(LogError, match="cannot be created"):
        LogWriter(tmp_path / "no" / "folder" / "x.mcap", [], {}, {}, TICK)
    with pytest.raises(LogError, match='compression "brotli" is not known'):
        LogWriter(tmp_path / "y.mcap", [], {}, {}, TICK, "brotli")


def test_another_format_version_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flightsw.log.writer.FORMAT_VERSION", 2)
    fly(tmp_path / "flight.mcap", 5)
    with pytest.raises(LogError, match="is a log of format version 2, this software reads version 1"):
        Log.open(tmp_path)


def test_broken_off_run_says_so(tmp_path: Path) -> None:
    graph, channels = graph_of()
    with pytest.raises(RuntimeError), LogWriter(tmp_path / "flight.mcap", channels, {}, {}, TICK) as w:
        graph.attach_recorder(w.recorder, w.channel_map)
        graph.run(40)
        raise RuntimeError
    log = Log.open(tmp_path)
    assert log.topics["/n/imu"] == 40 and not log.complete and not log.lost
    assert any("broken off" in p for p in log.problems)


def test_open_log_can_be_read_after_flush(tmp_path: Path) -> None:
    graph, channels = graph_of()
    w = LogWriter(tmp_path / "flight.mcap", channels, {}, {}, TICK)
    graph.attach_recorder(w.recorder, w.channel_map)
    graph.run(40)
    w.flush()
    assert Log.open(tmp_path).topics["/n/imu"] == 40 and not Log.open(tmp_path).complete
    graph.run(60)
    w.close()
    w.close()
    assert Log.open(tmp_path).complete and Log.open(tmp_path).topics["/n/imu"] == 60
    with pytest.raises(LogError, match="is closed"):
        w.drain()
    assert graph.run(70) == 1  # no room any more: it says so instead of writing into freed memory


@pytest.mark.parametrize("fails_at", range(0, 12, 3))
@pytest.mark.parametrize("how", ["full", "short, then full", "once"])
def test_failing_disk_is_told_and_what_was_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int,
                                                         how: str) -> None:
    real, calls = os.write, [0]

    def write(fd: int, data: Any) -> int:
        calls[0] += 1
        if calls[0] == fails_at + 6 or (calls[0] > fails_at + 6 and how != "once"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[: len(data) // 2] if how[0] == "s" and len(data) > 1 and calls[0] > 4 else data)

    graph, channels = graph_of()
    w = SmallBuffers(tmp_path / "flight.mcap", channels, {}, {}, TICK)
    graph.attach_recorder(w.recorder, w.channel_map)
    monkeypatch.setattr("flightsw.log.mcap_file.os.write", write)
    with pytest.raises(LogError, match="cannot be written: No space left on device; the log ends after") as told:
        try:
            while graph.run(2000):
                w.drain()
        finally:
            w.close()
    monkeypatch.undo()
    log = Log.open(tmp_path)
    acknowledged = int(str(told.value).split("ends after ")[1].split()[0])
    assert acknowledged <= log.n_chunks <= acknowledged + 1  # a torn write may have brought all but the index of one more
    assert log["/n/imu"]["seq"].tolist() == list(range(log.topics["/n/imu"])) and not log.complete
    assert not any("missing" in p for p in log.problems)  # nothing stands behind what could not be written


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr("flightsw.log.mcap_file.os.write", lambda fd, data: real(fd, data[: 1 + len(data) // 3]))
    fly(tmp_path / "flight.mcap", 200)
    monkeypatch.undo()
    assert Log.open(tmp_path).complete and Log.open(tmp_path).topics["/n/imu"] == 200


def test_unknown_topic_has_a_suggestion(tmp_path: Path) -> None:
    fly(tmp_path / "flight.mcap", 5)
    with pytest.raises(LogError, match='no topic "/n/imo" in it, did you mean "/n/imu"'):
        Log.open(tmp_path)["/n/imo"]
    assert "n.imu" in Log.open(tmp_path) and "/n/nav" not in Log.open(tmp_path)


def test_csv_gives_back_the_same_bits(tmp_path: Path) -> None:
    values = np.array([0.1, -0.0, 5e-324, 1.7976931348623157e308, np.inf, -np.inf, np.nan, 1 / 3, 2**53 + 2.0])
    table = np.zeros(len(values), MESSAGES["fsw_radalt_t"].dtype)
    table["range_m"], table["t_valid_ns"], table["seq"] = values, -(2**63), 2**32 - 1
    text = io.StringIO()
    write_csv(table, text)
    text.seek(0)
    assert text.readline() == "t_valid_ns,range_m,seq,valid\n"
    text.seek(0)
    assert read_csv(text, table.dtype).tobytes() == table.tobytes()


def test_export(tmp_path: Path) -> None:
    fly(tmp_path / "flight.mcap", 50)
    log = Log.open(tmp_path)
    imu, _ = export(log, tmp_path / "csv", "csv")
    with imu.open(encoding="utf-8") as file:
        back = read_csv(file, log["/n/imu"].dtype)
    assert all(np.array_equal(back[n], log["/n/imu"][n]) for n in back.dtype.names or () if not n.startswith("pad"))
    path, = export(log, tmp_path / "npz", "npz", ["n.touch"])
    with np.load(path) as arrays:
        assert arrays.files == ["n.touch"] and np.array_equal(arrays["n.touch"], log["/n/touch"])


def test_command_info_and_repair(tmp_path: Path) -> None:
    fly(tmp_path / "flight.mcap", 500)
    run = CliRunner().invoke
    info = json.loads(run(log_command, ["info", str(tmp_path), "--json"], catch_exceptions=False).stdout)
    assert info["complete"] and info["messages"] == 667 and info["keyframe_ticks"] == [500]
    assert info["topics"][0] == {"topic": "/n/imu", "type": "fsw_imu_t", "messages": 500, "bytes": 500 * 99,
                                 "rate_hz": 1000.0, "every": "1"}
    text = run(log_command, ["info", str(tmp_path)], catch_exceptions=False).stdout
    assert "complete, 0.499 s, 667 messages" in text and "/n/touch" in text and "title = ümläut" in text
    cut = tmp_path / "cut.mcap"
    cut.write_bytes((tmp_path / "flight.mcap").read_bytes()[:30_000])
    result = run(log_command, ["repair", str(cut), str(tmp_path / "new.mcap")], catch_exceptions=False)
    assert result.exit_code == 1 and "a part of what was recorded" in result.stdout and "not closed" in result.stderr
    result = run(log_command, ["repair", str(tmp_path / "flight.mcap"), str(tmp_path / "same.mcap"), "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["whole"] is True
    paths = [str(tmp_path / n) for n in ("flight.mcap", "same.mcap", "new.mcap")]
    assert run(diff_command, paths[:2], catch_exceptions=False, standalone_mode=False).return_value == 0
    result = run(diff_command, [paths[0], paths[2]], catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 1 and "first log, but not second log" in result.stdout
