"""A damaged log: cut at any byte, any bit turned, lengths that lie, zeros at its end, blocks of another log.

It opens, tells what is missing, and never returns what was not recorded. Here damages are sampled;
`python tests/crash/damage.py` tries every byte and every bit.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crash import damage, rig
from crash.damage import Case, Judge, SmallBuffers, source, write_log

from flightsw import Graph, LinkSpec, LogError, NodeSpec, TaskIO, TaskSpec, compile_node, load_messages, python_task
from flightsw.log import ChannelDef, Log, repair
from flightsw.log import mcap_format as mf

MESSAGES = load_messages([])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "flight.mcap"
    write_log(path)
    return path


@pytest.fixture(scope="module")
def judge(whole: Path) -> Judge:
    return Judge(whole)


def rows(log: Log) -> dict[str, set[bytes]]:
    return {topic: {r.tobytes() for r in log[topic]} for topic in log.topics}


def check_part(path: Path, truth: dict[str, set[bytes]]) -> Log:
    """Open a damaged log: nothing is raised, and whatever is returned was recorded."""
    log = Log.open(path)
    for topic, found in rows(log).items():
        assert topic in truth
        assert len(found) == log.topics[topic]
        assert found <= truth[topic], topic
    list(log.keyframes())
    return log


def test_whole_log_is_complete(whole: Path) -> None:
    log = Log.open(whole)
    assert log.complete and log.problems == [] and not log.lost
    assert log.topics == {"/n/radalt": damage.TICKS, "/n/baro": damage.TICKS, "/m/touchdown": damage.TICKS // 30}
    assert log.n_chunks > 12 and whole.stat().st_size == 65_536


@pytest.mark.parametrize("kind, sample", [("cuts", 600), ("flips", 900), ("lengths", 500), ("tails", 60)])
def test_damages_by_the_command(kind: str, sample: int) -> None:
    """Files of this kind, with 64 MiB and 5 s for each: they open, and what they return is true."""
    command = [sys.executable, rig.HERE / "damage.py", kind, "--sample", str(sample), "--repair-every", "15", "--workers", "2"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, env=rig.environment())
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)[kind]
    assert found["wrong"] == 0 and found["files"] >= 300 and found["repaired"] >= 15


def test_the_ends_of_the_file_byte_by_byte(judge: Judge, tmp_path: Path) -> None:
    """Signature, header and footer are short: every one of their bytes."""
    size = len(judge.data)
    problems: list[str] = []
    cases = [*damage.cut_cases(judge, [*range(300), *range(size - 60, size)]),
             *damage.flip_cases(judge, [*range(8 * 80), *range(8 * (size - 40), 8 * size)])]
    damage.examine(iter(cases), judge, tmp_path, 0, problems.append)
    assert len(problems) == len(cases) and not any(problems), [p for p in problems if p][:3]


def test_the_judge_sees_what_is_wrong(judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that returns a wrong number, one that gives up, one that takes long, one that takes much memory, are all found."""

    def found(cases: Any) -> list[str]:
        out: list[str] = []
        damage.examine(iter(cases), judge, tmp_path, 0, out.append)
        return out

    flips = [8 * (begin + 100) for begin, _, _ in judge.reference.chunks[3:6]]
    assert found(damage.flip_cases(judge, flips)) == ["", "", ""]
    honest = Log.__getitem__

    def lying(self: Log, topic: str) -> np.ndarray[Any, Any]:
        table = np.frombuffer(bytearray(honest(self, topic).tobytes()), honest(self, topic).dtype)
        table["log_seq"][-1:] += topic == "/n/baro"
        return table

    with monkeypatch.context() as patch:
        patch.setattr(Log, "__getitem__", lying)
        wrong = found(damage.flip_cases(judge, flips))
        assert all("AssertionError: /n/baro: not what was recorded" in p for p in wrong), wrong
    with monkeypatch.context() as patch:  # one that stops at the first damage
        patch.setattr("flightsw.log.scan._Walk._resume", lambda self, at: None)
        cases = list(damage.length_cases(judge, [judge.reference.chunks[3][0]]))
        assert "AssertionError" in found(cases)[0]
    greedy = Case("greedy", judge.data, lambda log: np.zeros(2 * damage.MEMORY, np.uint8))
    assert "MemoryError" in found([greedy])[0]
    monkeypatch.setattr(damage, "SECONDS", 0.05)
    assert "TimeoutError" in found([Case("slow", judge.data, lambda log: [None for _ in iter(int, 1)])])[0]


def hostile_files(judge: Judge) -> dict[str, bytes]:
    """Files made to take long or much: claims within claims, lengths near 2^64, a great many records without content."""
    claims = bytearray(judge.data[: judge.reference.chunks[3][2]] + b"\xff")
    total = 3 << 20
    while (rest := total - len(claims) - 49) > 0:
        claims += mf.chunk_head(0, 1, rest, 1)  # each claims all that follows
    empty = mf.record(mf.MESSAGE_INDEX, struct.pack("<HI", 1, 0)) * 100_000
    index = mf.record(mf.MESSAGE_INDEX, struct.pack("<HI", 1, 0xFFFFFFF0))
    begin = judge.data[: judge.reference.chunks[3][1]]
    return {"claims within claims": bytes(claims.ljust(total)), "empty indexes": begin + empty, "an index of 4 GB": begin + index,
            "an attachment of 2^64 bytes": begin + struct.pack("<BQ", mf.ATTACHMENT, (1 << 64) - 1) + bytes(100),
            "metadata of a 4 GB name": begin + mf.record(mf.METADATA, b"\xff\xff\xff\xff" + bytes(100)),
            "a compressed chunk of 2^63 bytes": begin + mf.chunk_head(0, 1, 1 << 63, 1, "lz4", 50) + bytes(50),
            "signs of chunks": begin + b"\xff" + b"\x06\x00\x00\x00\x00" * 100_000}


@pytest.mark.parametrize("name", ["claims within claims", "empty indexes", "an index of 4 GB", "an attachment of 2^64 bytes",
                                  "metadata of a 4 GB name", "a compressed chunk of 2^63 bytes", "signs of chunks"])
def test_hostile_files(judge: Judge, tmp_path: Path, name: str) -> None:
    problems: list[str] = []
    data = hostile_files(judge)[name]

    def check(log: Log) -> None:
        assert judge.true(log) == [0, 1, 2, 3] and log.lost and log.problems

    damage.examine(iter([Case(name, data, check)]), judge, tmp_path, 1, problems.append)
    assert problems == [""]


def test_a_metadata_record_whose_checksum_has_lost_its_name_is_not_believed(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    at = data.index(b"flightsw.crc32", data.index(b"\x04\0\0\0more"))
    path = tmp_path / "flip.mcap"
    path.write_bytes(data[: at + 4] + b"X" + data[at + 5 :])
    log = Log.open(path)
    assert "more" not in log.metadata and any('metadata "more" carries no checksum' in p for p in log.problems)
    assert repair(log, tmp_path / "mended.mcap") is False


@pytest.mark.parametrize("what", ["summary", "data"])
def test_a_checksum_of_zero_is_damage(whole: Path, tmp_path: Path, what: str) -> None:
    """MCAP lets a writer leave it out; ours never does."""
    data = bytearray(whole.read_bytes())
    start = int.from_bytes(data[-28:-20], "little")
    at = len(data) - 12 if what == "summary" else start - 4
    assert data[start - 13] == mf.DATA_END
    data[at : at + 4] = bytes(4)
    path = tmp_path / "zero.mcap"
    path.write_bytes(data)
    log = Log.open(path)
    assert not log.complete and not log.lost and any(what in p for p in log.problems)


def test_parts_of_another_log_are_refused_and_missing_ones_named(whole: Path, tmp_path: Path) -> None:
    """The record "log" lists the others with their checksums: a sound one of another run is not taken for ours."""
    other, path = tmp_path / "other.mcap", tmp_path / "mixed.mcap"
    write_log(other, seed=2)
    data, foreign = whole.read_bytes(), other.read_bytes()
    at = data.index(b"\x0a\0\0\0config/pad") - 25  # of the attachment's record
    assert data[at] == 9 and foreign[at] == 9
    path.write_bytes(data[:at] + foreign[at:])
    log = Log.open(path)
    assert "config/pad" not in log.attachments and "log_end" not in log.metadata and log.n_chunks == 0
    for text in ('attachment "config/pad" of another log', 'metadata "log_end" of another log', 'missing attachment: "config/pad"',
                 "belongs to another log"):
        assert any(text in p for p in log.problems), text
    path.write_bytes(data[: at + 50])
    assert any('missing attachment: "config/pad"' in p for p in Log.open(path).problems)


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
    mine, theirs = [c.end for c in Log.open(whole)._found.chunks], Log.open(other)._found.chunks
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
