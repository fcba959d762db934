"""Two people cannot drive one bench, each sees who does, and nobody is kept out by a process that has ended."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from serial_support import Board, bench_file

from flightsw.cli import run_cli
from flightsw.errors import BenchUnavailable
from hil import Bench, bench_lock
from hil.bench_lock import Locked

HOLD = """
import sys
from hil import bench_lock
held = bench_lock.use(sys.argv[1], "hopper")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("FLIGHTSW_LOCKS", str(tmp_path / "locks"))
    return tmp_path / "locks"


@pytest.fixture
def other():
    """A process that uses "stand"."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen([sys.executable, "-c", HOLD, "stand"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def as_another_user(monkeypatch):
    """From here on we are somebody else."""
    monkeypatch.setattr(bench_lock.os, "getuid", lambda: 4242)


def test_one_at_a_time():
    held = bench_lock.use("stand", "hopper")
    with pytest.raises(Locked, match=rf'"stand" is used by \S+ \(process {os.getpid()}, bench "hopper"\) since \d{{4}}-') as caught:
        bench_lock.use("stand", "other")
    assert caught.value.exit_code == 4
    assert caught.value.holder.pid == os.getpid()
    held.close()
    held.close()
    bench_lock.use("stand", "other").close()
    assert bench_lock.everything() == {}


def test_another_process(other):
    assert bench_lock.running("stand").pid == other.pid
    with pytest.raises(Locked, match=f"process {other.pid}"):
        bench_lock.use("stand", "mine")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_process_keeps_nobody_out(other, own_locks, end):
    other.send_signal(end)
    other.wait()
    assert (own_locks / "stand.run").exists()
    assert bench_lock.running("stand") is None
    bench_lock.use("stand", "mine").close()


def test_a_stopped_process_is_no_dead_one(other):
    other.send_signal(signal.SIGSTOP)
    with pytest.raises(Locked):
        bench_lock.use("stand", "mine")
    other.send_signal(signal.SIGCONT)


def test_waiting(other):
    said = []

    def say(text):
        said.append(text)
        other.stdin.close()  # it ends while we wait

    bench_lock.use("stand", "mine", 60.0, say).close()
    assert len(said) == 1
    assert "waiting for at most 60 s" in said[0]


def test_reservation(monkeypatch):
    bench_lock.reserve("stand", "static fire")
    bench_lock.use("stand", "mine").close()  # one's own
    as_another_user(monkeypatch)
    with pytest.raises(Locked, match=r'"stand" is reserved by \S+ since .*: static fire'):
        bench_lock.use("stand", "theirs")
    with pytest.raises(Locked):
        bench_lock.reserve("stand")
    with pytest.raises(Locked):
        bench_lock.release("stand")
    monkeypatch.undo()


def test_release():
    assert bench_lock.release("stand") is False
    bench_lock.reserve("stand")
    bench_lock.reserve("stand", "again")
    assert bench_lock.reserved("stand").note == "again"
    assert bench_lock.release("stand") is True
    assert bench_lock.reserved("stand") is None


def test_nobody_is_reserved_over(monkeypatch):
    held = bench_lock.use("stand", "mine")
    as_another_user(monkeypatch)
    with pytest.raises(Locked, match="is used by"):
        bench_lock.reserve("stand")
    held.close()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff" * 40, b'{"uid": "x"}', json.dumps({"user": "a" * 9000}).encode()])
def test_a_spoilt_file_still_keeps_others_out(own_locks, content, monkeypatch):
    own_locks.mkdir()
    (own_locks / "stand.held").write_bytes(content)
    as_another_user(monkeypatch)
    with pytest.raises(Locked, match="stand"):
        bench_lock.check("stand")


def test_links_are_not_followed(own_locks, tmp_path):
    own_locks.mkdir()
    target = tmp_path / "precious"
    target.write_text("precious")
    (own_locks / "stand.run").symlink_to(target)
    with pytest.raises(BenchUnavailable, match="the lock cannot be"):
        bench_lock.use("stand", "mine")
    assert target.read_text() == "precious"


def test_names_become_different_files():
    names = ["stand", "/dev/serial/by-id/usb-x", "/dev/serial/by-id/usb_x", "a/b", "a_b", "..", "x" * 300, "x" * 301, "é"]
    files = [bench_lock.file_name(n) for n in names]
    assert len(set(files)) == len(names)
    assert all("/" not in f and not f.startswith(".") and len(f) < 100 for f in files)


def test_everybody_may_write_the_folder(own_locks):
    bench_lock.use("stand", "mine").close()
    assert own_locks.stat().st_mode & 0o7777 == 0o1777


# ---- runs -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def line(tmp_path):
    """A bench with a board on a line, and the board."""
    path = bench_file(tmp_path, f'port = "{tmp_path}/port"')
    with Board(tmp_path / "port") as board:
        yield path, board


def test_a_run_holds_its_line(line):
    path, board = line
    bench = Bench.load(path)
    with bench.start() as flight:
        flight.step(5)
        (holders,) = bench_lock.everything().values()
        assert holders[0].pid == os.getpid()
        assert holders[0].bench == "hopper"
        with pytest.raises(BenchUnavailable, match=rf"is used by \S+ \(process {os.getpid()}"):
            bench.start()
        flight.step(5)
    assert bench_lock.everything() == {}
    board.gone.wait(10)


def test_a_refused_run_leaves_nothing_held(line):
    path, _ = line
    bench = Bench.load(path)
    bench.config.remote["line"].__dict__["serial"] = "another"
    with pytest.raises(BenchUnavailable, match="serial number"):
        bench.start()
    assert bench_lock.everything() == {}


def test_the_command_says_who(line, tmp_path, capsys):
    path, _ = line
    mine = bench_lock.reserve("hopper", "do not touch")
    held = tmp_path / "locks" / "hopper.held"
    held.write_text(json.dumps(asdict(replace(mine, uid=os.getuid() + 1, user="ada"))))
    assert run_cli(["run", str(path), "--out", str(tmp_path / "runs"), "--set", "bench.duration_s=0.01"]) == 4
    assert '"hopper" is reserved by ada since' in capsys.readouterr().err


def test_commands(capsys):
    assert run_cli(["board", "status"]) == 0
    assert run_cli(["board", "lock", "stand", "--note", "mine today"]) == 0
    assert run_cli(["board", "status", "stand"]) == 1
    assert capsys.readouterr().out.count(": mine today") == 2
    assert run_cli(["board", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stand"][0]["note"] == "mine today"
    assert run_cli(["board", "release", "stand"]) == 0
    assert run_cli(["board", "release", "stand"]) == 1
    assert run_cli(["board", "status", "stand"]) == 0
