"""Writes that fail at the k-th call, for every k of a run: nothing acknowledged is lost, and everybody is told the truth."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from crash import rig
from crash.fault_server import FaultServer, Outcome, Plan, RealTimeOutcome
from crash.rig import ALL_BUT_THEN_FAIL, FAIL, SHORTEN, SHORTEN_THEN_FAIL, STALL, Reference

from flightsw.log import Log, repair
from hil import Bench

WORDS = {errno.EIO: "Input/output error", errno.ENOSPC: "No space left on device", errno.EFBIG: "File too large"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultServer]:
    folder = tmp_path_factory.mktemp("faults")
    with FaultServer(rig.build_write_faults(folder), folder) as running:
        yield running


@pytest.fixture(scope="module")
def calm(server: FaultServer) -> Outcome:
    """A run in which nothing fails."""
    outcome = server.fly()
    assert outcome.code == 0 and outcome.run["outcome"] == "done" and outcome.stderr == ""
    assert outcome.taken == outcome.log.stat().st_size
    assert server.fly().log.read_bytes() == outcome.log.read_bytes()  # always the same bytes: what follows depends on it
    return outcome


@pytest.fixture(scope="module")
def reference(calm: Outcome) -> Reference:
    found = Reference.of(calm.log)
    assert len(found.chunks) > 12 and calm.calls > len(found.chunks) + 10
    return found


def check_whole(outcome: Outcome, reference: Reference) -> None:
    """As if nothing had happened."""
    assert outcome.code == 0 and outcome.stderr == "" and outcome.run["outcome"] == "done"
    assert outcome.log.read_bytes() == reference.data
    assert Log.open(outcome.log).complete


def check_broken_off(outcome: Outcome, reference: Reference, code: int) -> Log:
    """The run ended in one sentence; the log ends where writing ended, and holds all that was acknowledged."""
    assert outcome.code == 2 and "Traceback" not in outcome.stderr
    sentence, = outcome.stderr.splitlines()
    assert str(outcome.log) in sentence and f"cannot be written: {WORDS[code]}; the log ends after" in sentence
    assert outcome.stdout == ""
    assert outcome.run["outcome"] == "error" and outcome.run["met"] is False and outcome.run["error"] in sentence
    data = outcome.log.read_bytes()
    assert reference.data.startswith(data)     # nothing stands behind what is torn
    assert len(data) == outcome.taken          # nothing that was acknowledged is missing
    log = Log.open(outcome.log)
    chunks = reference.chunks_of(log)
    assert chunks == [k for k, (_, end, _) in enumerate(reference.chunks) if end <= len(data)]
    assert f"the log ends after {len(chunks)} chunks ({len(data)} bytes)" in sentence
    assert not log.complete and log.problems
    assert log.lost == ("log_end" not in log.metadata)
    return log


@pytest.mark.parametrize("name, calls", [("EIO", 0), ("EIO", 1), ("ENOSPC", 0)])
def test_error_at_every_write(server: FaultServer, calm: Outcome, reference: Reference, name: str, calls: int) -> None:
    """calls 0: from there on always; 1: once, and whoever tried again would write behind a hole."""
    code = getattr(errno, name)
    plans = [Plan(FAIL, code, k, calls) for k in range(1, calm.calls + 1)]
    for plan, outcome in zip(plans, server.fly_each(plans), strict=True):
        check_broken_off(outcome, reference, code)
        assert outcome.calls == plan.first, "it was tried again"


def test_short_write_and_then_an_error_at_every_write(server: FaultServer, calm: Outcome, reference: Reference,
                                                      tmp_path: Path) -> None:
    plans = [Plan(SHORTEN_THEN_FAIL, errno.ENOSPC, k, 2) for k in range(1, calm.calls + 1)]
    for k, outcome in enumerate(server.fly_each(plans)):
        log = check_broken_off(outcome, reference, errno.ENOSPC)
        if k % 5 == 0:
            whole = repair(log, tmp_path / f"{k}.mcap")
            mended = Log.open(tmp_path / f"{k}.mcap")
            assert whole == mended.complete and mended.topics == log.topics


@pytest.mark.parametrize("what", ["interrupted", "one byte", "half"])
def test_interrupted_and_short_writes_are_continued(server: FaultServer, calm: Outcome, reference: Reference, what: str) -> None:
    plan = {"interrupted": Plan(FAIL, errno.EINTR, calls=2), "one byte": Plan(SHORTEN, 1, calls=3), "half": Plan(SHORTEN, 0)}[what]
    for outcome in server.fly_each([replace(plan, first=k) for k in range(1, calm.calls + 1)]):
        check_whole(outcome, reference)
        assert outcome.calls > calm.calls


def test_every_write_short(server: FaultServer, calm: Outcome, reference: Reference) -> None:
    outcome = server.fly(Plan(SHORTEN, 0, 1, 0))
    check_whole(outcome, reference)
    assert outcome.calls > 5 * calm.calls
    outcome = server.fly(Plan(SHORTEN, 100, 1, 0))
    check_whole(outcome, reference)
    assert outcome.calls > len(reference.data) // 100


def test_a_stalled_disk_only_costs_time(server: FaultServer, calm: Outcome, reference: Reference) -> None:
    for outcome in server.fly_each([Plan(STALL, 20, k) for k in range(1, calm.calls + 1)]):
        check_whole(outcome, reference)


def test_a_disk_that_stands_still_for_two_seconds(server: FaultServer, calm: Outcome, reference: Reference) -> None:
    outcome = server.fly(Plan(STALL, 2000, calm.calls // 2))
    check_whole(outcome, reference)
    assert outcome.run["wall_s"] >= 2.0  # simulated time waited: nothing was dropped


def test_a_file_that_may_not_grow(server: FaultServer, calm: Outcome, reference: Reference) -> None:
    """RLIMIT_FSIZE: the kernel takes a part of a write and refuses the rest (EFBIG), as a full disk does."""
    ends = [after for _, _, after in reference.chunks]
    plans = [Plan(limit=n) for n in (ends[2] + 100, ends[5] - 1, ends[5], ends[5] + 1, ends[-1] + 10, len(reference.data) - 1)]
    for plan, outcome in zip(plans, server.fly_each(plans), strict=True):
        check_broken_off(outcome, reference, errno.EFBIG)
        assert outcome.taken == plan.limit
    check_whole(server.fly(Plan(limit=len(reference.data))), reference)


def test_a_device_that_is_full(tmp_path: Path) -> None:
    """/dev/full behind the log's own descriptor, from some moment on."""
    if not os.access("/dev/full", os.W_OK):
        pytest.fail("this system has no /dev/full")
    code = f"""
import os, sys
sys.path.insert(0, {str(rig.HERE.parent)!r})
from pathlib import Path
from crash import rig
from hil import Bench
from flightsw import LogError
rig.same_run_id()
rig.small_buffers(4096)
path = Path({str(tmp_path)!r}) / "flight.mcap"
try:
    with Bench.load(rig.SMALL).start(log=path) as flight:
        flight.run(until=0.1)
        flight._writer.flush()
        os.dup2(os.open("/dev/full", os.O_WRONLY), flight._writer._file._fd)
        flight.run()
except LogError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=rig.environment())
    assert done.stderr == "" and "cannot be written: No space left on device; the log ends after" in done.stdout
    log = Log.open(tmp_path)
    assert log["/imu/imu"]["log_t_ns"][-1] >= 95_000_000 and log.topics["/world/truth"] >= 100
    assert [p for p in log.problems if "the log has no end" in p]


# ---- against the wall clock: the flight neither waits nor ends -----------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, bytes]]:
    """The same flight in simulated time: topic and sequence number to the message."""
    path = tmp_path_factory.mktemp("simulated") / "flight.mcap"
    with Bench.load(rig.SMALL, ["bench.duration_s=3"]).start(log=path) as flight:
        flight.run()
    log = Log.open(path)
    return {t: {int(row["log_seq"]): row.tobytes() for row in log[t]} for t in log.topics}


def check_flown(outcome: RealTimeOutcome, simulated: dict[str, dict[int, bytes]]) -> Log:
    """The flight went to its end undisturbed; what is in the log is true; every message is in it or counted as dropped."""
    assert outcome.why == "ran to its end" and outcome.ticks == 3000
    assert outcome.switches <= outcome.sleeps  # on that thread there was no system call but the sleep
    log = Log.open(outcome.log)
    assert sum(log.topics.values()) + outcome.dropped == outcome.written
    for topic, rows in simulated.items():
        if topic in log:  # in a log without a chunk there is none
            numbers = log[topic]["log_seq"].tolist()
            assert [row.tobytes() for row in log[topic]] == [rows[n] for n in numbers], topic
            assert numbers == sorted(set(numbers))
    assert outcome.log.stat().st_size == outcome.begun + outcome.taken
    assert not outcome.dropped or (log.lost and not log.complete)
    return log


def test_real_time_with_room_for_all(server: FaultServer, simulated: dict[str, dict[int, bytes]]) -> None:
    outcome, = server.fly_real_time([Plan()], blocks=512)
    log = check_flown(outcome, simulated)
    assert outcome.error == "" and outcome.dropped == 0 and log.complete
    assert {t: n for t, n in log.topics.items() if t in simulated} == {t: len(rows) for t, rows in simulated.items()}


def test_real_time_and_a_disk_that_stands_still(server: FaultServer, simulated: dict[str, dict[int, bytes]]) -> None:
    """The ring holds some 40 ticks; what finds no room meanwhile is dropped, counted, and told by the log."""
    plans = [Plan(STALL, ms, k) for k, ms in ((1, 300), (2, 300), (4, 300), (7, 300), (1, 2000))]
    for outcome in server.fly_real_time(plans):
        log = check_flown(outcome, simulated)
        assert outcome.error == "" and outcome.dropped > 0
        assert any(f"{outcome.dropped} messages were dropped while recording" in p for p in log.problems)


def test_real_time_and_a_large_ring_spans_a_stall(server: FaultServer, simulated: dict[str, dict[int, bytes]]) -> None:
    outcome, = server.fly_real_time([Plan(STALL, 300, 2)], blocks=512)
    assert check_flown(outcome, simulated).complete and outcome.dropped == 0


@pytest.mark.parametrize("kind, code", [(FAIL, errno.EIO), (SHORTEN_THEN_FAIL, errno.EIO), (ALL_BUT_THEN_FAIL, 1),
                                        (ALL_BUT_THEN_FAIL, 20)])
@pytest.mark.parametrize("blocks", [4, 512])
def test_real_time_and_writes_that_fail(server: FaultServer, simulated: dict[str, dict[int, bytes]], kind: int, code: int,
                                        blocks: int) -> None:
    """Also where only the index of a chunk is torn: its messages are in the log and count as written."""
    lost = 0
    plans = [Plan(kind, code, k, 0) for k in range(1, 16)]
    for plan, outcome in zip(plans, server.fly_real_time(plans, blocks=blocks), strict=True):
        log = check_flown(outcome, simulated)
        if outcome.calls < plan.first:
            continue  # fewer writes than that
        assert plan.first <= outcome.calls <= plan.first + 1 and "cannot be written: " in outcome.error
        assert not log.complete
        lost += outcome.dropped
    assert lost > 0


def test_real_time_and_interrupted_and_short_writes(server: FaultServer, simulated: dict[str, dict[int, bytes]]) -> None:
    plans = [Plan(FAIL, errno.EINTR, 2, 3), Plan(SHORTEN, 1, 2, 5), Plan(SHORTEN, 0, 1, 0)]
    for outcome in server.fly_real_time(plans, blocks=512):
        assert check_flown(outcome, simulated).complete and outcome.dropped == 0


def test_real_time_and_a_file_that_may_not_grow(server: FaultServer, simulated: dict[str, dict[int, bytes]]) -> None:
    plans = [Plan(limit=n) for n in (40_000, 100_000, 200_001)]
    for plan, outcome in zip(plans, server.fly_real_time(plans, blocks=512), strict=True):
        check_flown(outcome, simulated)
        assert "cannot be written: File too large" in outcome.error and outcome.dropped > 0
        assert outcome.log.stat().st_size == plan.limit


def test_real_time_run_by_the_command_with_a_failing_log(server: FaultServer) -> None:
    sets = ["bench.real_time.speed=1000", "bench.real_time.noise_s=0"]
    calm = server.fly(options=["--real-time"], sets=sets)
    assert calm.code == 0 and calm.run["outcome"] == "done" and calm.run["real_time"]["ticks"] == 200
    outcome = server.fly(Plan(FAIL, errno.ENOSPC, calm.calls - 5, 0), options=["--real-time"], sets=sets)
    assert outcome.code == 2 and outcome.run["outcome"] == "error" and outcome.run["sim_s"] == 0.2  # flown to its end all the same
    sentence, = outcome.stderr.splitlines()
    assert "cannot be written: No space left on device" in sentence and "messages are not in it" in sentence
    assert outcome.run["error"] in sentence and outcome.run["real_time"]["ticks"] == 200


# ---- run.json --------------------------------------------------------------------------------------------------------------


def test_run_json_is_true_although_the_disk_takes_no_new_file(tmp_path: Path) -> None:
    """run.json is replaced by a new file; where that finds no room it is written over."""
    with FaultServer(rig.build_write_faults(tmp_path), tmp_path, ".run.json.part") as server:
        calm = server.fly()
        assert calm.calls == 3 and calm.run["outcome"] == "done"
        for k in (2, 3):
            outcome = server.fly(Plan(FAIL, errno.ENOSPC, k, 0))
            assert outcome.code == 0 and outcome.run["outcome"] == "done" and outcome.run["criteria"] == calm.run["criteria"]
            assert sorted(p.name for p in outcome.folder.iterdir()) == ["flight.mcap", "run.json"]
        refused = server.fly(Plan(FAIL, errno.ENOSPC, 1, 0))
        assert refused.code == 2 and refused.stderr.endswith("run.json: cannot be written: No space left on device\n")
        assert list(refused.folder.iterdir()) == []
