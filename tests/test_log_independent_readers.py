"""Readers that are not ours decode every message of a log to the same values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flightsw import Graph, NodeSpec, TaskSpec, compile_node, load_messages, python_task
from flightsw.log import ChannelDef, Log, LogWriter, repair

MESSAGES = load_messages([])
TYPES = list(MESSAGES.values())


@pytest.fixture(scope="module")
def every_message(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with three messages of every type, each scalar another number."""
    path = tmp_path_factory.mktemp("every") / "flight.mcap"
    nodes, tasks = [], {}
    for k, message in enumerate(TYPES):
        task = python_task(f"readers.sink{k}", reads={"x": message.name}, writes={})(lambda io: None)
        tasks[task.name] = task
        spec = NodeSpec(message.name, [TaskSpec("t", task.name, 1)], 1_000_000, frozenset({"x"}))
        nodes.append(compile_node(spec, tasks, MESSAGES, {}))
    graph = Graph(nodes, [], MESSAGES)
    rng = np.random.default_rng(1)
    channels = [ChannelDef(t.name, "x", t) for t in TYPES]
    with LogWriter(path, channels, {"run": {"seed": "0"}}, {"blob/x": b"123"}, 1_000_000) as w:
        graph.attach_recorder(w.recorder, w.channel_map)
        for tick in range(3):
            for message in TYPES:
                graph.nodes[message.name].input("x", random_record(message.dtype, rng))
            graph.run(tick + 1)
            w.flush()  # a chunk for each tick
        w.keyframe(graph.snapshot(), graph.digests())
    return path


def random_record(dtype: np.dtype[Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    record = np.zeros((), dtype)
    for name in dtype.names or ():
        field = record[name]
        if field.dtype.kind == "f":
            record[name] = rng.normal(size=field.shape) * 10.0 ** rng.integers(-30, 30)
        else:
            info = np.iinfo(field.dtype)
            record[name] = rng.integers(info.min, info.max, size=field.shape, dtype=field.dtype, endpoint=True)
    return record


def cut(data: bytes, log: Log) -> bytes:
    """Without the third chunk's end and all that follows."""
    return data[: log._found.chunks[2].end - 1]


def flip(data: bytes, log: Log) -> bytes:
    """One bit of a message in the second chunk."""
    at = log._found.chunks[1].end - 5
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def lose_index(data: bytes, log: Log) -> bytes:
    """Without the end of the summary, and with a message index that lies."""
    at = log._found.chunks[0].end + 20
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 : -300]


DAMAGES = {"as written": None, "index lost": lose_index, "cut": cut, "bit turned": flip}


@pytest.fixture(params=DAMAGES)
def path(every_message: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A whole log, or one that was damaged in some way and repaired."""
    damage = DAMAGES[request.param]
    if damage is None:
        return every_message
    (tmp_path / "damaged.mcap").write_bytes(damage(every_message.read_bytes(), Log.open(every_message)))
    damaged = Log.open(tmp_path / "damaged.mcap")
    assert not damaged.complete
    assert repair(damaged, tmp_path / "mended.mcap") == (damage is lose_index)
    ticks = {lose_index: 3, cut: 2, flip: 2}[damage]
    assert set(Log.open(tmp_path / "mended.mcap").topics.values()) == {ticks}
    return tmp_path / "mended.mcap"


def check(ours: Log, topic: str, k: int, t_ns: int, get: Any) -> None:
    row = ours[topic][k]
    assert row["log_t_ns"] == t_ns
    for name in row.dtype.names[2:]:
        theirs = get(name)
        theirs = np.frombuffer(theirs, np.uint8) if isinstance(theirs, bytes) else np.asarray(theirs, row[name].dtype)
        assert theirs.shape == row[name].shape, (topic, name)
        assert theirs.tobytes() == row[name].tobytes(), (topic, name)


def test_mcap_ros2_support(path: Path) -> None:
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    log, seen = Log.open(path), dict.fromkeys(Log.open(path).topics, 0)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        for _, channel, message, decoded in reader.iter_decoded_messages(topics=list(log.topics)):
            check(log, channel.topic, seen[channel.topic], message.log_time, lambda n, d=decoded: getattr(d, n))
            assert message.sequence == log[channel.topic]["log_seq"][seen[channel.topic]]
            seen[channel.topic] += 1
    assert seen == log.topics and len(seen) == len(TYPES) and min(seen.values()) >= 2


def test_mcap_summary_and_crcs(path: Path) -> None:
    from mcap.reader import make_reader
    from mcap.stream_reader import StreamReader

    with path.open("rb") as file:
        assert sum(1 for _ in StreamReader(file, validate_crcs=True).records) > 10
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        log = Log.open(path)
        assert {c.topic: summary.statistics.channel_message_counts[c.id] for c in summary.channels.values()
                if c.topic in log.topics} == log.topics
        assert {m.name for m in reader.iter_metadata()} >= {"log", "run", "log_end"}
        assert [a.data for a in reader.iter_attachments()] == [b"123"]
        assert [m.log_time for _, _, m in reader.iter_messages(topics=["/fsw_imu_t/x"])] == log["/fsw_imu_t/x"]["log_t_ns"].tolist()
        assert reader.get_header().profile == "ros2"


def test_rosbags(path: Path, tmp_path: Path) -> None:
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    log, seen = Log.open(path), dict.fromkeys(Log.open(path).topics, 0)
    with AnyReader([path], default_typestore=get_typestore(Stores.EMPTY)) as reader:
        assert {c.topic for c in reader.connections} >= set(log.topics)
        for connection, t_ns, raw in reader.messages():
            message: Any = reader.deserialize(raw, connection.msgtype)  # also the log's own two channels
            if connection.topic in log.topics:
                check(log, connection.topic, seen[connection.topic], t_ns, lambda n, m=message: getattr(m, n))
                seen[connection.topic] += 1
            elif connection.topic == "/bench/keyframe":
                (snapshot, digests), = log.keyframes()
                assert message.tick == 3
                image = snapshot.images[message.node] if message.node else snapshot.links
                assert message.image.tobytes() == image and message.digest == digests.get(message.node, 0)
    assert seen == log.topics
