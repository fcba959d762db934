"""flightsw board list, sniff and serve, and flightsw run --port: boards on serial ports from the command line."""

import json
import os
import subprocess
import sys
import threading

import pytest
from serial_support import CONFIGS, Board, bench_file
from test_pil import firmware  # noqa: F401

from flightsw.cli import run_cli
from flightsw.log import Log
from hil import Bench
from hil.link import ports, protocol
from hil.link.emulator import Emulator
from hil.link.probe import probe
from hil.link.serial_port import Pty
from hil.link.session import BoardSession, Identity


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Locks of our own; the ports of this computer are left alone."""
    monkeypatch.setenv("FLIGHTSW_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setattr(ports, "_comports", list)


def listed(capsys, *more):
    assert run_cli(["board", "list", "--json", "--timeout", "5", *more]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("identity", "lines_of_it"), [
    (Identity("tvc_stand", "actuator", "T-1"), ['serial = "T-1"']),
    (Identity("stand", "engine", "E-9", live=True, key=bytes(32)), ['serial = "E-9"', "live = true"]),
])
def test_list_shows_who_answers(tmp_path, capsys, identity, lines_of_it):
    with Board(tmp_path / "port", lambda: BoardSession(identity)) as board:
        (row,) = listed(capsys, f"{tmp_path}/port")
        assert board.session.c.state == 0  # no session was begun
    assert row["toml"] == [f'port = "{tmp_path}/port"', "baud = 115200", *lines_of_it]
    assert row["fits"] is True
    assert (row["board"]["name"], row["board"]["mode"]) == (identity.name, "LIVE" if identity.live else "SIM")


def test_the_lines_that_list_shows_make_a_bench(tmp_path, capsys):
    with Board(tmp_path / "port", lambda: BoardSession(Identity(serial="T-1"))):
        (row,) = listed(capsys, f"{tmp_path}/port")
        Bench.load(bench_file(tmp_path, "\n".join(row["toml"]))).start().close()


def test_list_of_a_board_with_other_messages(tmp_path, capsys, monkeypatch):
    session = BoardSession()
    session.c.config.messages = 1
    with Board(tmp_path / "port", lambda: session):
        assert run_cli(["board", "list", f"{tmp_path}/port"]) == 0
    assert "its messages (0000000000000001)" in capsys.readouterr().out


def test_list_of_a_port_in_use_does_not_touch_it(tmp_path, capsys):
    bench = Bench.load(bench_file(tmp_path, f'port = "{tmp_path}/port"'))
    with Board(tmp_path / "port"), bench.start() as flight:
        flight.step(5)
        (row,) = listed(capsys, f"{tmp_path}/port")
        flight.step(5)
    assert f"process {os.getpid()}" in row["used"]
    assert row["board"] is None


def test_list_of_a_port_where_nobody_is(tmp_path, capsys):
    pty = Pty()
    (row,) = json.loads((run_cli(["board", "list", "--json", "--timeout", "0.05", pty.path]), capsys.readouterr().out)[1])
    assert row["answer"] == "nobody answers"
    assert listed(capsys, "--no-probe", pty.path)[0]["answer"] == ""
    assert listed(capsys, "/nowhere")[0]["answer"] == "/nowhere is not there"
    pty.close()


def test_a_probe_says_hello_and_nothing_else():
    pty, got = Pty(), []
    far = pty.transport()
    assert probe(pty.path, 9600, 0.5).why == "nobody answers"
    while frames := far.receive(0.0):
        got += frames
    assert {protocol.decode(f).type for f in got} == {protocol.HELLO}
    assert all(protocol.unpack(protocol.decode(f).payload)["probe"] == 1 for f in got)
    far.close()


def test_sniff(capsys):
    pty = Pty()
    far = pty.transport()
    done = threading.Event()

    def say():
        frames = protocol.encode(protocol.FAILED, b"a sentence", sequence=7, tick=9, dst=3) + protocol.encode(5, b"12345678", tick=10)
        bad = bytearray(protocol.encode(6, b"12345678"))
        bad[26] ^= 1
        for _ in range(200):  # until somebody has opened the other end and seen it
            far.send(memoryview(frames))
            far.send(memoryview(bytes(bad)))
            if done.wait(0.02):
                return

    thread = threading.Thread(target=say)
    thread.start()
    try:
        assert run_cli(["board", "sniff", pty.path, "--json", "--count", "6"]) == 0
    finally:
        done.set()
        thread.join()
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    kinds = {row.get("type") for row in rows}
    assert {"FAILED", "topic 5", "damaged"} <= kinds
    failed = next(r for r in rows if r.get("type") == "FAILED")
    assert (failed["says"], failed["sequence"], failed["tick"], failed["dst"]) == ("a sentence", 7, 9, 3)
    assert rows[-1]["counters"]["damaged"] >= 1
    far.close()


@pytest.fixture
def served(tmp_path):
    """Path of a pseudo-terminal where `flightsw board serve --pty` serves in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "flightsw.cli", "-q", "board", "serve", "--pty", "--serial", "PTY-1", "--role", "flight_computer"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        yield process.stdout.readline().decode().strip()
        process.terminate()


def test_the_flight_computer_on_a_line(served, tmp_path, capsys):
    """bench_configs/serial_fcc.toml as it stands, with --port, twice on one board."""
    for _ in range(2):
        code = run_cli(["run", str(CONFIGS / "serial_fcc.toml"), "--port", served, "--out", str(tmp_path / "runs"),
                        "--set", "bench.duration_s=0.3", "--json", "--no-report"])
        run = json.loads(capsys.readouterr().out)
        assert code == 1  # 0.3 s are no flight
        assert run["sim_s"] == pytest.approx(0.3)
    assert run_cli(["diff", *sorted(str(p) for p in (tmp_path / "runs").glob("2*/flight.mcap"))]) == 0


@pytest.mark.parametrize(("given", "says"), [
    (["--port", "tty"], '"tty" is not an absolute path'), (["--port", "x=/dev/pts/1"], 'there is no serial line "x", known: fcc'),
    (["--port", "/dev/pts/1", "--port", "/dev/pts/2"], "given twice"), (["--port", "/dev/ttyUSB0"], "depends on the order of plugging"),
    (["--port", "fcc=/nowhere"], "there is no port /nowhere"),
])
def test_port_options_that_do_not_fit(tmp_path, capsys, given, says):
    assert run_cli(["run", str(CONFIGS / "serial_fcc.toml"), "--out", str(tmp_path), *given]) in (2, 4)
    assert says in capsys.readouterr().err


def test_the_flight_computer_on_an_emulated_board(firmware, tmp_path, capsys):  # noqa: F811
    """A Cortex-M7 on a pseudo-terminal that somebody plugged in: found, named, flown, and the same as in process."""
    board = Emulator(firmware, uart="pty")
    try:
        board.go()
        (row,) = listed(capsys, board.pty)
        assert (row["board"]["role"], row["board"]["mode"], row["fits"]) == ("flight_computer", "SIM", True)
        for name, more in (("hopper", []), ("serial_fcc", ["--port", board.pty])):
            arguments = ["--set", "bench.duration_s=0.4", "--no-report", "--json", "--out", str(tmp_path / name), *more]
            assert run_cli(["run", str(CONFIGS / f"{name}.toml"), *arguments]) == 1  # 0.4 s are no flight
        logs = [Log.open(tmp_path / name / "latest" / "flight.mcap") for name in ("hopper", "serial_fcc")]
    finally:
        board.close()
    snaps = [list(log.keyframes())[-1][0] for log in logs]
    assert snaps[0].tick == snaps[1].tick == 400
    assert snaps[0].images == snaps[1].images
    commands = [log["/fcc/engines"] for log in logs]
    assert len(commands[0]) > 0
    assert commands[0].tobytes() == commands[1].tobytes()
