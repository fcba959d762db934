"""LIVE boards: nothing moves before three things have been given, and everything is safe when the bench, or the line, is gone."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serial_support import Board, bench_file

from flightsw._native import ffi, lib
from flightsw.cli import run_cli
from flightsw.errors import BenchUnavailable, ConfigError
from hil import Bench
from hil.link import live, protocol
from hil.link.live import Access
from hil.link.serial_port import Pty
from hil.link.session import SILENCE_MS, BoardSession, Identity, Outputs

TESTS = Path(__file__).resolve().parent
KEY = bytes(range(32))
SERIAL = "FSW-0007"
ALLOWANCE_MS = 20  # between the silence limit and what is demanded, for this computer to wake up


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("FLIGHTSW_LOCKS", str(tmp_path / "locks"))


# ---- BLAKE2s ------------------------------------------------------------------------------------------------------------


def tag(key, data, size):
    out = ffi.new("uint8_t[32]")
    assert lib.fsw_blake2s(key, len(key), data, len(data), out, size) == 0
    return bytes(ffi.buffer(out, size))


def test_the_vector_of_the_rfc():
    assert tag(b"", b"abc", 32).hex() == "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=32), st.binary(max_size=300), st.integers(1, 32))
def test_the_same_bytes_as_hashlib(key, data, size):
    assert tag(key, data, size) == hashlib.blake2s(data, key=key, digest_size=size).digest()


def test_block_borders():
    for n in (0, 1, 63, 64, 65, 127, 128, 129, 192):
        for key in (b"", b"k", KEY):
            assert tag(key, bytes(n), 32) == hashlib.blake2s(bytes(n), key=key).digest()


def test_sizes_out_of_range_are_refused():
    out = ffi.new("uint8_t[32]")
    assert [lib.fsw_blake2s(bytes(64), k, b"", 0, out, s) for k, s in ((33, 16), (0, 0), (0, 33))] == [-1, -1, -1]


# ---- the board's own gate -----------------------------------------------------------------------------------------------


class Relay(Outputs):
    def __init__(self):
        self.orders = []

    def drive(self, session):
        self.orders.append("drive")

    def safe(self):
        self.orders.append("safe")


def board(key=KEY, is_live=True, serial=SERIAL):
    return BoardSession(Identity("stand", serial=serial, live=is_live, key=key), outputs=Relay())


def say_hello(session, number=5, **more):
    """What a board answers: its manifest, or the reason why not."""
    hello = {"protocol": protocol.PROTOCOL, "mode": "LIVE", "messages": protocol.messages_fingerprint(), "session": number, **more}
    frame = protocol.decode(bytes(session.take(protocol.encode(protocol.HELLO, protocol.pack(hello)))))
    return protocol.unpack(frame.payload) if frame.type == protocol.MANIFEST else frame.payload.decode()


def proof_for(manifest, key=KEY, **other):
    m = {**manifest, **other}
    return live.proof(key, m["token"], m["serial"], m["session"], m["greeting"]).hex()


def load_answer(session):
    frame = protocol.decode(bytes(session.take(protocol.encode(protocol.LOAD, b"\x08" + bytes(15)))))
    return "loading" if frame.type == protocol.DONE else frame.payload.decode()


def test_nothing_is_loaded_without_a_proof():
    session = board()
    assert say_hello(session)["armed"] == 0
    assert "has not proved" in load_answer(session)


def test_the_proof_arms():
    session = board()
    first = say_hello(session)
    armed = say_hello(session, proof=proof_for(first))
    assert armed["armed"] == 1
    assert load_answer(session) == "loading"


@pytest.mark.parametrize("wrong", [{"key": bytes(32)}, {"token": "0" * 32}, {"serial": "FSW-0008"}, {"session": 6}, {"greeting": 2}])
def test_a_proof_of_anything_else_is_wrong(wrong):
    session = board()
    assert "the proof is wrong" in say_hello(session, proof=proof_for(say_hello(session), **wrong))
    assert "nobody has said HELLO" in load_answer(session)


@settings(max_examples=128, deadline=None)
@given(st.integers(0, 127))
def test_every_bit_of_the_proof_counts(bit):
    session = board()
    good = bytearray.fromhex(proof_for(say_hello(session)))
    good[bit // 8] ^= 1 << bit % 8
    assert "the proof is wrong" in say_hello(session, proof=good.hex())


@pytest.mark.parametrize("text", ["", "0", "g" * 32, "0" * 31, "0" * 33, "A" * 32, 7])
def test_a_proof_that_is_none(text):
    session = board()
    say_hello(session)
    answer = say_hello(session, proof=text)
    assert answer["armed"] == 0 if isinstance(text, int) else "a proof that cannot be read" in answer


def test_a_proof_is_good_once():
    """Whoever has listened and says the same again gets nothing; a bench whose answer was lost gets it again."""
    session = board()
    proof = proof_for(say_hello(session))
    assert say_hello(session, proof=proof)["armed"] == 1
    assert say_hello(session, proof=proof)["armed"] == 1  # nothing was loaded between
    assert load_answer(session) == "loading"
    assert "the proof is wrong" in say_hello(session, proof=proof)
    assert "nobody has said HELLO" in load_answer(session)


@pytest.mark.parametrize("end", ["bye", "hello"])
def test_the_end_of_a_session_disarms(end):
    session = board()
    say_hello(session, proof=proof_for(say_hello(session)))
    if end == "bye":
        session.take(protocol.encode(protocol.BYE))
    assert say_hello(session)["armed"] == 0
    assert "has not proved" in load_answer(session)


def test_another_power_cycle_is_another_token():
    first, second = board(), board()
    proof = proof_for(say_hello(first))
    say_hello(second)
    assert "the proof is wrong" in say_hello(second, proof=proof)


def test_a_live_board_without_a_key_is_never_armed():
    session = board(key=b"")
    assert "this board has no key" in say_hello(session, proof=proof_for(say_hello(session), key=bytes(32)))


def test_a_simulated_board_has_nothing_to_arm():
    session = board(is_live=False)
    assert "has nothing to arm" in say_hello(session, mode="SIM", proof="0" * 32)


def test_who_is_there_changes_nothing():
    """A probe of a board that is armed leaves it armed."""
    session = board()
    say_hello(session, proof=proof_for(say_hello(session)))
    assert say_hello(session, probe=1, mode="SIM", messages="x")["mode"] == "LIVE"
    assert load_answer(session) == "loading"


# ---- the bench's key ----------------------------------------------------------------------------------------------------


def test_key_file(tmp_path, capsys):
    path = tmp_path / "new" / "bench.key"
    assert run_cli(["board", "keygen", str(path)]) == 0
    assert path.stat().st_mode & 0o777 == 0o600
    key = live.read_key(path)
    assert len(key) == 32
    assert key.hex() not in capsys.readouterr().out
    assert run_cli(["board", "keygen", str(path)]) == 2
    assert live.read_key(path) == key


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda p: p.chmod(0o640), "open to others (mode 0640)"), (lambda p: p.unlink(), "flightsw board keygen"),
    (lambda p: p.write_text("0" * 63), "is not a key"), (lambda p: p.write_text("x" * 64), "is not a key"),
    (lambda p: p.rename(p.with_name("other")) and p.symlink_to(p.with_name("other")), "cannot be read"),
    (lambda p: p.unlink() or p.mkdir(), "not a regular file"), (lambda p: p.unlink() or os.mkfifo(p), "not a regular file"),
])
def test_key_files_that_are_refused(tmp_path, spoil, says):
    path = tmp_path / "bench.key"
    live.make_key(path)
    digits = path.read_text().strip()
    spoil(path)
    with pytest.raises(ConfigError) as caught:
        live.read_key(path)
    assert says in str(caught.value)
    assert digits[:16] not in str(caught.value)


# ---- a bench and a LIVE board -------------------------------------------------------------------------------------------


def live_bench(folder, serial=SERIAL, is_live="true", given=(SERIAL,), key=KEY):
    file = folder / "bench.key"
    file.write_text(key.hex())
    file.chmod(0o600)
    keys = f'port = "{folder}/port"\nserial = "{serial}"\nlive = {is_live}\nlive_key = "bench.key"\nlimit_s = 5.0'
    bench = Bench.load(bench_file(folder, keys))
    bench.access = Access(given)
    return bench


def test_a_live_board_is_driven(tmp_path):
    with Board(tmp_path / "port", board) as there:
        with live_bench(tmp_path).start() as flight:
            flight.step(20)
        there.gone.wait(10)
        orders = there.session.outputs.orders
    assert orders.count("drive") == 20
    assert orders[-1] == "safe"


@pytest.mark.parametrize(("bench", "there", "error", "says"), [
    ({"given": ()}, {}, ConfigError, "remote.line.live: the board is LIVE"),
    ({"given": (SERIAL.lower(),)}, {}, ConfigError, "remote.line.live: the board is LIVE"),
    ({"serial": "FSW-0008", "given": ("FSW-0008",)}, {}, BenchUnavailable, 'has the serial number "FSW-0007", the bench wants "FSW-0008"'),
    ({"key": bytes(32)}, {}, BenchUnavailable, "the proof is wrong"),
    ({}, {"key": b""}, BenchUnavailable, "this board has no key"),
    ({}, {"is_live": False}, BenchUnavailable, "this board is SIM"),
    ({"is_live": "false"}, {}, BenchUnavailable, "this board is LIVE, the bench asks for a simulated one"),
])
def test_what_keeps_a_board_from_being_driven(tmp_path, bench, there, error, says):
    with Board(tmp_path / "port", lambda: board(**there)) as far:
        with pytest.raises(error) as caught:
            live_bench(tmp_path, **bench).start()
        assert says in str(caught.value)
        assert "drive" not in far.session.outputs.orders


def test_the_command_wants_the_serial_number(tmp_path, capsys):
    live_bench(tmp_path)
    file = str(tmp_path / "bench.toml")
    assert run_cli(["run", file, "--out", str(tmp_path / "runs"), "--live", "FSW-0008"]) == 2
    assert 'no board of this bench that is LIVE has the serial number "FSW-0008"' in capsys.readouterr().err
    assert run_cli(["run", file, "--out", str(tmp_path / "runs")]) == 2
    assert "flightsw run` wants --live" in capsys.readouterr().err


def test_a_replay_opens_no_link(tmp_path, monkeypatch, capsys):
    """The log of a flight with a LIVE board is replayed without any way to reach it."""
    with Board(tmp_path / "port", board) as there:
        bench = live_bench(tmp_path)
        with bench.start(log=tmp_path / "flight.mcap") as flight:
            flight.step(200)
        there.gone.wait(10)
        driven = there.session.outputs.orders.count("drive")
        for name in ("hil.link.serial_port.open_port", "hil.link.remote.start", "hil.link.transport.open_socket", "hil.link.process.launch"):
            monkeypatch.setattr(name, lambda *args, **more: pytest.fail("a replay opens a link"))
        assert run_cli(["replay", str(tmp_path / "flight.mcap")]) == 0
        assert there.session.outputs.orders.count("drive") == driven


# ---- gone -----------------------------------------------------------------------------------------------------------------


class Cable(threading.Thread):
    """Two pseudo-terminals and what carries bytes between them, until it is cut."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.ends = [Pty(), Pty()]
        for name, pty in zip(("port", "board"), self.ends, strict=True):
            (folder / name).symlink_to(pty.path)
        self.cut, self.noise = threading.Event(), threading.Event()

    def run(self):
        import select

        fds = [p._master for p in self.ends]
        while not self.cut.is_set():
            if self.noise.is_set():
                self._make_noise(fds[1])
                continue
            for fd in select.select(fds, [], [], 0.02)[0]:
                with contextlib.suppress(BlockingIOError):
                    data = os.read(fd, 4096)
                    while data and not self.cut.is_set():
                        with contextlib.suppress(BlockingIOError):
                            data = data[os.write(fds[fd == fds[0]], data):]

    def _make_noise(self, fd):
        """Frames without end, each of them damaged."""
        with contextlib.suppress(BlockingIOError):
            os.write(fd, b"\0" + bytes(range(1, 40)) + b"\0\0\5abcd\0")
        self.cut.wait(0.005)

    def close(self):
        self.cut.set()
        self.join(10)
        for pty in self.ends:
            pty.close()


def wait_for(condition, what, limit_s=60.0):
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.005)


def records(path):
    rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(what, int(at), int(tick)) for what, at, tick in rows]


@pytest.fixture
def stand(tmp_path):
    """(cable, bench's process, record of the relay), with the relay driven by the bench."""
    live_bench(tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    cable, record = Cable(tmp_path), tmp_path / "relay"
    cable.start()
    board_command = [sys.executable, str(TESTS / "live_board.py"), str(tmp_path / "board"), str(record), KEY.hex(), SERIAL]
    with subprocess.Popen(board_command, env=environment, stdin=subprocess.DEVNULL) as far:
        wait_for(record.exists, "the board does not start")
        near = subprocess.Popen([sys.executable, str(TESTS / "live_bench.py"), str(tmp_path / "bench.toml"), SERIAL], env=environment,
                                stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert near.stdout.readline() == b"flying\n"
            yield cable, near, record
        finally:
            near.kill()
            near.wait()
            near.stdout.close()
            far.kill()
            cable.close()


@pytest.mark.parametrize("end", ["kill", "stop", "cut", "noise", "unplug"])
def test_outputs_go_safe(stand, end):
    """The relay is let go of after the silence limit, and nothing drives it any more."""
    cable, near, record = stand
    ended = time.monotonic_ns()
    if end == "kill":
        near.kill()
    elif end == "stop":
        near.send_signal(signal.SIGSTOP)
    elif end in ("cut", "noise"):
        (cable.cut if end == "cut" else cable.noise).set()
    else:
        cable.close()
    wait_for(lambda: records(record)[-1][0] == "safe", "the relay stays energised")
    if end == "stop":
        near.send_signal(signal.SIGCONT)
        assert near.wait(60) != 0  # what it was told is that the board is safe, not one more tick
    rows = records(record)
    assert [r[0] for r in rows if r[1] > ended][-1] == "safe"
    last = max(i for i, r in enumerate(rows) if r[0] == "drive")
    safe = rows[last + 1]
    silence_ms, after_ms = (safe[1] - rows[last][1]) / 1e6, (safe[1] - ended) / 1e6
    print(f"{end}: safe {after_ms:.1f} ms after the end, {silence_ms:.1f} ms after the last order")
    assert all(r[0] == "safe" for r in rows[last + 1:])
    if end != "unplug":  # that is seen at once
        assert silence_ms >= SILENCE_MS
    if os.environ.get("FLIGHTSW_STRICT_TIMING"):
        assert after_ms <= SILENCE_MS + ALLOWANCE_MS
