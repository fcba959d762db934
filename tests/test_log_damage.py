"""A damaged log: cut at any byte, any bit turned, zeros at its end, parts of another log.

It opens, tells what is missing, and never returns what was not recorded. FLIGHTSW_FULL_DAMAGE=1 tries every byte and bit.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flightsw import Graph, LinkSpec, LogError, NodeSpec, TaskIO, TaskSpec, compile_node, load_messages, python_task
from flightsw.log import ChannelDef, Log, LogWriter, repair

FULL = bool(os.environ.get("FLIGHTSW_FULL_DAMAGE"))  # every byte and every bit instead of a sample
TICKS = 120
MESSAGES = load_messages([])


@python_task("damage.source", reads={}, writes={"radalt": "fsw_radalt_t", "baro": "fsw_baro_t"},
             state="typedef struct { double x; } damage_t;")
def source(io: TaskIO) -> None:
    """A number that never repeats in a topic, so that a wrong record is always seen to be wrong."""
    io.state["x"] += 1.0
    io.writes["radalt"]["range_m"] = io.state["x"] * 1.25
    io.writes["radalt"]["seq"] = io.tick
    io.writes["baro"]["p_pa"] = -io.state["x"]


class SmallBuffers(LogWriter):
    buffer_bytes = 1500


def write_log(path: Path, seed: int = 1) -> None:
    """A log of about 25 KiB with a dozen chunks, metadata, an attachment and two keyframes."""
    node = compile_node(NodeSpec("n", [TaskSpec("s", "damage.source", 1)], 1_000_000), {source.name: source}, MESSAGES, {})
    graph = Graph([node], [], MESSAGES, seed)
    with SmallBuffers(path, [ChannelDef("n", t.name, t.type) for t in node.topics.values()], {"run": {"seed": str(seed)}},
                      {"blob/n": node.blob}, 1_000_000) as writer:
        graph.attach_recorder(writer.recorder, writer.channel_map)
        writer.keyframe(graph.snapshot(), graph.digests())
        while graph.run(TICKS):
            writer.drain()
        writer.keyframe(graph.snapshot(), graph.digests())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "flight.mcap"
    write_log(path)
    return path


def rows(log: Log) -> dict[str, set[bytes]]:
    return {topic: {r.tobytes() for r in log[topic]} for topic in log.topics}


def chunk_ends(log: Log) -> list[int]:
    return [chunk.end for chunk in log._found.chunks]


def check_part(path: Path, truth: dict[str, set[bytes]]) -> Log:
    """Open a damaged log: nothing is raised, and whatever is returned was recorded."""
    log = Log.open(path)
    for topic, found in rows(log).items():
        assert topic in truth
        assert len(found) == log.topics[topic]
        assert found <= truth[topic], topic
    list(log.keyframes())
    return log


def cuts(size: int) -> Iterator[int]:
    if FULL:
        yield from range(size)
        return
    yield from range(12)
    yield from range(size - 60, size)
    yield from random.Random(5).sample(range(size), 350)


def test_whole_log_is_complete(whole: Path) -> None:
    log = Log.open(whole)
    assert log.complete and log.problems == [] and not log.lost
    assert log.topics == {"/n/radalt": TICKS, "/n/baro": TICKS}
    assert log.n_chunks > 10


def test_cut_at_any_byte_gives_the_chunks_that_fit(whole: Path, tmp_path: Path) -> None:
    data, truth, ends = whole.read_bytes(), rows(Log.open(whole)), chunk_ends(Log.open(whole))
    path = tmp_path / "cut.mcap"
    for n in cuts(len(data)):
        path.write_bytes(data[:n])
        log = check_part(path, truth)
        assert log.n_chunks == sum(end <= n for end in ends), n
        assert not log.complete and log.problems, n


def test_any_bit_turned_is_found_and_costs_one_chunk_at_most(whole: Path, tmp_path: Path) -> None:
    data, log = whole.read_bytes(), Log.open(whole)
    truth, n_chunks = rows(log), log.n_chunks
    path = tmp_path / "flip.mcap"
    bits = range(len(data) * 8) if FULL else random.Random(6).sample(range(len(data) * 8), 900)
    for bit in bits:
        changed = bytearray(data)
        changed[bit >> 3] ^= 1 << (bit & 7)
        path.write_bytes(changed)
        part = check_part(path, truth)
        assert part.n_chunks >= n_chunks - 1, bit
        assert part.problems and not part.complete, bit


def test_every_length_field_of_a_chunk_may_lie(whole: Path, tmp_path: Path) -> None:
    data, log = whole.read_bytes(), Log.open(whole)
    truth, n_chunks = rows(log), log.n_chunks
    at = log._found.chunks[7].at
    path = tmp_path / "length.mcap"
    for offset in (at + 1, at + 25, at + 33, at + 37, at + 41, log._found.chunks[7].end + 1, log._found.chunks[7].end + 11):
        for value in (0, 1, 7, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF):
            width = 8 if offset in (at + 1, at + 25, at + 41, log._found.chunks[7].end + 1) else 4
            changed = bytearray(data)
            changed[offset : offset + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
            path.write_bytes(changed)
            part = check_part(path, truth)
            assert part.n_chunks >= n_chunks - 1 and (part.problems or changed == data)


def test_zeros_at_the_end_are_end_of_data(whole: Path, tmp_path: Path) -> None:
    data, truth, ends = whole.read_bytes(), rows(Log.open(whole)), chunk_ends(Log.open(whole))
    path = tmp_path / "zeros.mcap"
    for n in (8, 100, ends[3], ends[3] + 40, ends[-1], len(data)):
        path.write_bytes(data[:n] + bytes(5000))
        log = check_part(path, truth)
        assert log.n_chunks == sum(end <= n for end in ends)
        assert not log.complete


def test_missing_chunk_is_counted(whole: Path, tmp_path: Path) -> None:
    data, log = whole.read_bytes(), Log.open(whole)
    chunks = log._found.chunks
    path = tmp_path / "hole.mcap"
    path.write_bytes(data[: chunks[5].at] + data[chunks[7].at :])
    part = check_part(path, rows(log))
    lost = chunks[5].n + chunks[6].n
    assert any(f"chunks 5 to 6 of the log are missing: {lost} messages" in p for p in part.problems)
    assert part.lost


def test_chunks_of_another_log_are_refused(whole: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mcap"
    write_log(other, seed=2)
    data, foreign = whole.read_bytes(), other.read_bytes()
    mine, theirs = chunk_ends(Log.open(whole)), Log.open(other)._found.chunks
    path = tmp_path / "stale.mcap"
    path.write_bytes(data[: mine[9]] + foreign[theirs[10].at :])
    log = check_part(path, rows(Log.open(whole)))
    assert log.n_chunks == 10
    assert any("belongs to another log" in p for p in log.problems)


def test_a_chunk_twice_counts_once(whole: Path, tmp_path: Path) -> None:
    data, log = whole.read_bytes(), Log.open(whole)
    chunks = log._found.chunks
    path = tmp_path / "twice.mcap"
    path.write_bytes(data[: chunks[5].at] + data[chunks[3].at : chunks[4].at] + data[chunks[5].at :])
    part = check_part(path, rows(log))
    assert part.topics == log.topics and any("a second time" in p for p in part.problems)


def test_lying_index_is_not_believed(whole: Path, tmp_path: Path) -> None:
    data, log = whole.read_bytes(), Log.open(whole)
    end = log._found.chunks[4].end
    changed = bytearray(data)
    length = int.from_bytes(changed[end + 1 : end + 9], "little")
    second = end + 9 + length  # the index of the next channel: swap two of its entries
    k = second + 9 + 6
    changed[k : k + 32] = changed[k + 16 : k + 32] + changed[k : k + 16]
    path = tmp_path / "index.mcap"
    path.write_bytes(changed)
    part = check_part(path, rows(log))
    for topic in log.topics:
        assert part[topic].tobytes() == log[topic].tobytes()
    assert part.problems and not part.lost


def test_not_a_log(tmp_path: Path) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(b"this is no log at all, but long enough to be one")
    with pytest.raises(LogError, match="is not a log"):
        Log.open(path)
    with pytest.raises(LogError, match="there is no such log"):
        Log.open(tmp_path / "nothing.mcap")
    path.write_bytes(b"")
    assert Log.open(path).problems


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.8])
def test_repair_of_a_cut_log(whole: Path, tmp_path: Path, keep: float) -> None:
    from mcap.reader import make_reader
    data = whole.read_bytes()
    path, mended = tmp_path / "cut.mcap", tmp_path / "mended.mcap"
    path.write_bytes(data[: int(len(data) * keep)])
    damaged, before = Log.open(path), path.read_bytes()
    assert repair(damaged, mended) is False
    assert path.read_bytes() == before
    log = check_part(mended, rows(Log.open(whole)))
    assert log.topics == damaged.topics and log._found.closed and not log.complete
    assert log.attachments == damaged.attachments and "repaired from a damaged log" in " ".join(log.problems)
    with mended.open("rb") as file:
        count = sum(1 for _ in make_reader(file, validate_crcs=True).iter_messages(topics=list(log.topics)))
    assert count == sum(log.topics.values())


def test_repair_of_a_lost_index_is_whole(whole: Path, tmp_path: Path) -> None:
    data, log = whole.read_bytes(), Log.open(whole)
    path, mended = tmp_path / "index.mcap", tmp_path / "mended.mcap"
    changed = bytearray(data)
    changed[log._found.chunks[4].end + 2] ^= 0xFF
    changed[-40] ^= 1
    path.write_bytes(changed)
    assert not Log.open(path).complete
    assert repair(Log.open(path), mended) is True
    again = Log.open(mended)
    assert again.complete and all(np.array_equal(again[t], log[t]) for t in log.topics)
    with pytest.raises(LogError, match="exists already"):
        repair(Log.open(path), mended)


def test_link_is_recorded_like_any_input(tmp_path: Path) -> None:
    """The same law for inputs: what enters over a link is in the log, and a cut log still gives only true records."""
    @python_task("damage.sink", reads={"radalt": "fsw_radalt_t"}, writes={"touchdown": "fsw_touchdown_t"})
    def sink(io: TaskIO) -> None:
        io.writes["touchdown"]["t_ns"] = int(io.reads["radalt"]["seq"])

    types = {source.name: source, sink.name: sink}
    a = compile_node(NodeSpec("a", [TaskSpec("s", source.name, 1)], 1_000_000), types, MESSAGES, {})
    b = compile_node(NodeSpec("b", [TaskSpec("k", sink.name, 2)], 1_000_000, frozenset({"radalt"})), types, MESSAGES, {})
    graph = Graph([a, b], [LinkSpec("a", "radalt", "b", "radalt", 2)], MESSAGES)
    path = tmp_path / "flight.mcap"
    with SmallBuffers(path, [ChannelDef("b", t.name, t.type) for t in b.topics.values()], {}, {}, 1_000_000) as writer:
        graph.attach_recorder(writer.recorder, writer.channel_map)
        while graph.run(50):
            writer.drain()
    log = Log.open(tmp_path)
    assert log["b.radalt"]["log_t_ns"].tolist() == [k * 1_000_000 for k in range(2, 50)]
    assert log["/b/radalt"]["seq"].tolist() == list(range(48))
