"""Boards on a serial line: found by what stays the same, lost and found again between any two bytes, and the flight is the same."""

import fcntl
import os
import resource
import threading
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serial_support import CONFIGS, Board, bench_file
from test_pil import firmware  # noqa: F401

from flightsw._native import ffi
from flightsw.cli import run_cli
from flightsw.errors import BenchUnavailable, ConfigError
from hil import Bench
from hil.link import ports, protocol, serial_group
from hil.link.budget import Line, lines, stream_bytes
from hil.link.ports import PortIdentity, path_problem
from hil.link.protocol import LinkError, Unplugged
from hil.link.serial_port import REOPEN_S, Pty, SerialTransport, line, open_port
from hil.link.session import BoardSession, Identity
from hil.link.transport import Encoder, StreamTransport

WHERE = ("before", "middle", "after")  # its answer


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Locks of our own; the ports of this computer are left alone."""
    monkeypatch.setenv("FLIGHTSW_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setattr(ports, "_comports", list)


def flown(bench, ticks, look=lambda flight: None):
    """(records, digests) of so many ticks."""
    with bench.start(seed=7) as flight:
        size = 16 << 20
        buffer, index = ffi.new("uint8_t[]", size), ffi.new("fsw_index_entry_t[]", size // 32)
        recorder = ffi.new("fsw_recorder_t *", {"buffer": buffer, "index": index, "capacity": size, "index_capacity": size // 32})
        names = [(n, t) for n, view in flight.graph.nodes.items() for t in view.compiled.topics]
        flight.graph.attach_recorder(recorder, {name: (k, 1) for k, name in enumerate(names)})
        flight.step(ticks)
        look(flight)
        assert recorder.dropped == 0
        return bytes(ffi.buffer(buffer, recorder.used)), flight.graph.digests()


@pytest.fixture(scope="module")
def here():
    """200 ticks without any line."""
    return flown(Bench.load(CONFIGS / "hopper.toml"), 200)


def resumable(folder, more=""):
    return Bench.load(bench_file(folder, f'port = "{folder}/port"\nresume = true\n{more}'))


# ---- the same flight ------------------------------------------------------------------------------------------------------


def test_the_same_flight_over_a_line(tmp_path, here):
    with Board(tmp_path / "port"):
        assert flown(Bench.load(bench_file(tmp_path, f'port = "{tmp_path}/port"')), 200) == here


@pytest.mark.parametrize("power", ["kept", "lost"])
def test_unplugged_fifty_times(tmp_path, here, power):
    """In the greeting, while it is loaded and in flight: the same records, nothing left behind, no loop that spins."""
    greeting = [("answer", n, where) for n in (1, 2, 3) for where in WHERE]  # HELLO, LOAD, DATA
    pulls = greeting + [("tick", 10 + 4 * (k // 3), WHERE[k % 3]) for k in range(41)]
    before, threads, began, seen = len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), time.monotonic(), []

    def look(flight):
        group = flight._remote.groups[0]
        seen.append((group.resumed, group.transport.opened, group.transport.turns, group.counters))

    with Board(tmp_path / "port", pulls=pulls, power=power) as board:
        assert flown(resumable(tmp_path), 200, look) == here
    (resumed, opened, turns, counters), = seen
    assert opened == 51
    assert board.plugged >= 51
    assert resumed >= 41
    assert counters["answered"] == 200
    assert turns * REOPEN_S <= time.monotonic() - began  # each turn has slept
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert threading.active_count() == threads


def test_what_was_kept_on_the_way_is_not_taken(tmp_path, here):
    """After it was plugged in again the line brings all that the board had said before: whole answers to earlier ticks, and refusals."""
    pulls = [("tick", n, "after") for n in (20, 40, 60)]
    seen = []
    with Board(tmp_path / "port", pulls=pulls, kept=True):
        assert flown(resumable(tmp_path), 200, lambda f: seen.append(f._remote.groups[0].counters["stale"])) == here
    assert seen[0] > 100


def test_the_session_number_alone_tells_what_was_kept(tmp_path, here, monkeypatch):
    """Also where its short form, one byte in each frame, happens to be that of an earlier session."""
    begin = serial_group.ResumableGroup._begin_session

    def with_the_same_byte(self, hello):
        self.c.src = 7
        begin(self, hello)

    monkeypatch.setattr(serial_group.ResumableGroup, "_begin_session", with_the_same_byte)
    with Board(tmp_path / "port", pulls=[("tick", n, "after") for n in (20, 40, 60)], kept=True) as board:
        assert flown(resumable(tmp_path), 200) == here
    assert board.plugged >= 4


def test_answers_to_somebody_else_are_not_taken(tmp_path, here):
    """Each answer comes twice: first one to another session, with other content, then ours."""
    seen = []
    with Board(tmp_path / "port", foreign=True):
        assert flown(resumable(tmp_path), 200, lambda f: seen.append(f._remote.groups[0].counters)) == here
    assert seen[0]["stale"] > 200
    assert seen[0]["answered"] == 200


def test_images_are_fetched_anew_when_there_is_too_much_to_repeat(tmp_path, here, monkeypatch):
    monkeypatch.setattr(serial_group, "JOURNAL_BYTES", 2000)
    seen = []
    with Board(tmp_path / "port", pulls=[("tick", 150, "before")]):
        assert flown(resumable(tmp_path), 200, lambda f: seen.append(len(f._remote.groups[0]._journal))) == here
    assert seen[0] < 100


def test_a_logged_flight_is_taken_up_again(tmp_path):
    """The images of keyframes are where it begins again; the log is replayed bit for bit."""
    bench = Bench.load(bench_file(tmp_path, f'port = "{tmp_path}/port"\nresume = true', more="[bench]\nkeyframe_s = 0.05"))
    with Board(tmp_path / "port", pulls=[("tick", 30, "middle"), ("tick", 90, "after")]), bench.start(log=tmp_path / "a.mcap") as flight:
        flight.step(120)
        assert flight._remote.groups[0].resumed == 2
    assert run_cli(["replay", str(tmp_path / "a.mcap")]) == 0


def test_frames_are_lost_and_the_flight_is_the_same(tmp_path, here):
    """In lockstep whoever waits asks again; nothing is run twice."""
    seen, lost = [], (range(20, 60), range(70, 100))
    with Board(tmp_path / "port", lost=lost):
        bench = Bench.load(bench_file(tmp_path, f'port = "{tmp_path}/port"\nretry_s = 0.01\nsend = "all"'))
        assert flown(bench, 200, lambda f: seen.append(f._remote.groups[0].counters)) == here
    assert seen[0]["late"] > 30
    assert seen[0]["answered"] == 200


def test_frames_are_lost_and_the_bench_goes_on(tmp_path):
    """With free pacing, too, the boards get every tick; what the flight computer made of it meanwhile is replayed bit for bit."""
    ticks = 800
    keys = f'port = "{tmp_path}/port"\npacing = "free"\non_loss = "hold_last"\nhold_ticks = 1000\nretry_s = 0.01\nbaud = 3_000_000'
    bench = Bench.load(bench_file(tmp_path, keys), real_time=True)
    with Board(tmp_path / "port", lost=(range(50, 70), range(80, 100))), bench.start(log=tmp_path / "a.mcap") as flight:
        flight.run(until=ticks / 1000)
        group = flight._remote.groups[0]
        counters = group.counters
        (topic,) = [n for n, t in flight.node("tvc").compiled.topics.items() if t.writer is not None]
        assert flight.tick == ticks
        assert group.c.last > 150
        assert flight.node("tvc").writes_of(topic) > 150 // 5  # what came after the losses was taken
    assert counters["lost"] == counters["duplicate"] == 0
    assert run_cli(["replay", str(tmp_path / "a.mcap")]) == 0


@pytest.mark.parametrize("where", WHERE)
def test_a_freely_paced_line_is_opened_again(tmp_path, where):
    keys = f'port = "{tmp_path}/port"\npacing = "free"\non_loss = "hold_last"\nhold_ticks = 1000\nretry_s = 0.01\nbaud = 3_000_000'
    with Board(tmp_path / "port", pulls=[("tick", 100, where)]), Bench.load(bench_file(tmp_path, keys), real_time=True).start() as flight:
        flight.run(until=0.4)
        group = flight._remote.groups[0]
        assert flight.tick == 400
        assert group.transport.opened == 2
        assert group.c.last > 200


# ---- when it does not come back -------------------------------------------------------------------------------------------


def test_without_resume_the_bench_stops(tmp_path):
    bench = Bench.load(bench_file(tmp_path, f'port = "{tmp_path}/port"'))
    with Board(tmp_path / "port", pulls=[("tick", 20, "before")]), bench.start() as flight:
        with pytest.raises(BenchUnavailable, match=r'boards "line": the line .*/port has gone'):
            flight.step(100)
        assert flight.tick == 20


def test_it_is_waited_for_so_long(tmp_path):
    bench = resumable(tmp_path, "limit_s = 0.2")
    with Board(tmp_path / "port", pulls=[("tick", 20, "before")], again=False) as board, bench.start() as flight:
        with pytest.raises(BenchUnavailable, match=r"was not back within 0.2 s: there is no port .*/port"):
            flight.step(100)
        board.stop.set()


def test_a_line_that_never_holds(tmp_path):
    bench = resumable(tmp_path)
    with Board(tmp_path / "port", pulls=[("answer", 1, "before")] * 100), pytest.raises(BenchUnavailable, match="has gone"):
        bench.start()


def test_another_board_in_its_place(tmp_path):
    bench = resumable(tmp_path, 'serial = "A1"')
    boards = iter("ABCD")
    with Board(tmp_path / "port", lambda: BoardSession(Identity(serial=f"{next(boards)}1")), [("tick", 20, "after")], "lost"), \
            bench.start() as flight, pytest.raises(BenchUnavailable, match='has the serial number "B1", the bench wants "A1"'):
        flight.step(100)


@pytest.mark.parametrize(("role", "node", "fits"), [("boards", "tvc", True), ("flight_computer", "tvc", False),
                                                    ("flight_computer", "fcc", True), ("boards", "fcc", True), ("sensor", "fcc", False),
                                                    ("sensor", "tvc", True)])
def test_roles(tmp_path, role, node, fits):
    bench = Bench.load(bench_file(tmp_path, f'port = "{tmp_path}/port"', node))
    with Board(tmp_path / "port", lambda: BoardSession(Identity(role=role))):
        if fits:
            bench.start().close()
        else:
            with pytest.raises(BenchUnavailable, match=f"the board is a {role}, the bench wants"):
                bench.start()


@pytest.mark.parametrize(("keys", "says"), [
    ('port = "ttyS0"', 'remote.line.port: "ttyS0" is not an absolute path'),
    ('port = "/dev/pts/1"\nusb = { vid = 1, pid = 2, serial = "x" }', "one of port, usb is wanted, not several"),
    ("usb = { vid = 65536, pid = 2, serial = \"x\" }", "remote.line.usb.vid: 65536 is out of range, allowed 0 to 65535"),
    ('port = "/dev/pts/1"\nlive = true', "live = true needs `serial`"),
    ('port = "/dev/pts/1"\nlive = true\nserial = "A"\nresume = true', "do not go together"),
    ('port = "/dev/pts/1"\nresume = true\npacing = "free"', "resume = true is for lockstep"),
    ('port = "/dev/pts/1"\nbaud = 12', "remote.line.baud: 12 is out of range, allowed 300 to 12000000"),
    ('port = "/dev/pts/1"\nbaut = 9600', "did you mean"),
])
def test_keys_that_are_refused(tmp_path, keys, says):
    with pytest.raises(ConfigError) as caught:
        Bench.load(bench_file(tmp_path, keys))
    assert says in str(caught.value)


@pytest.mark.parametrize(("keys", "error", "says"), [
    ("", ConfigError, "remote.line.port: is missing"), ('port = "/dev/ttyUSB7"', ConfigError, "depends on the order of plugging"),
    ('port = "/nowhere/port"', BenchUnavailable, "there is no port /nowhere/port"),
    ('port = "/dev/null"', BenchUnavailable, "is not a serial port"),
    ('usb = { vid = 1027, pid = 24577, serial = "x" }', BenchUnavailable, "there is no port with the USB identity 0403:6001:x"),
])
def test_ports_that_cannot_be_opened(tmp_path, keys, error, says):
    with pytest.raises(error) as caught:
        Bench.load(bench_file(tmp_path, keys)).start()
    assert says in str(caught.value)


# ---- ports ----------------------------------------------------------------------------------------------------------------


def fake_port(device, vid=None, pid=None, serial=None):
    return SimpleNamespace(device=device, vid=vid, pid=pid, serial_number=serial, manufacturer=None, product=None, description="n/a")


@pytest.fixture
def plugged(tmp_path, monkeypatch):
    """Ports that the system lists, and the folder of their stable names."""
    found = []
    monkeypatch.setattr(ports, "_comports", lambda: found)
    monkeypatch.setattr(ports, "_BY_ID", tmp_path / "by-id")
    (tmp_path / "by-id").mkdir()
    return found, tmp_path / "by-id"


def test_found_by_usb_identity(plugged):
    found, _ = plugged
    it = PortIdentity(usb=(0x0403, 0x6001, "A1"))
    found += [fake_port("/dev/ttyUSB0", 0x0403, 0x6001, "B2"), fake_port("/dev/ttyUSB1", 0x0403, 0x6001, "A1"), fake_port("/dev/ttyS0")]
    assert it.find() == "/dev/ttyUSB1"
    found[1].device = "/dev/ttyUSB7"  # plugged in again in another order
    assert it.find() == "/dev/ttyUSB7"
    found.append(fake_port("/dev/ttyUSB8", 0x0403, 0x6001, "A1"))
    with pytest.raises(Unplugged, match="2 ports have the USB identity 0403:6001:A1"):
        it.find()


def test_names_that_depend_on_the_order_of_plugging(plugged):
    found, by_id = plugged
    (by_id / "usb-x").symlink_to("/dev/ttyUSB0")
    found += [fake_port("/dev/ttyUSB0", 1, 2, "A"), fake_port("/dev/ttyACM0", 1, 2, "B"), fake_port("/dev/ttyACM1")]
    assert str(by_id / "usb-x") in path_problem("/dev/ttyUSB0")
    assert 'usb = { vid = 0x0001, pid = 0x0002, serial = "B" }' in path_problem("/dev/ttyACM0")
    assert path_problem("/dev/ttyACM1") is None  # nothing else tells it apart
    assert "depends on the order" in path_problem("/dev/ttyUSB9")
    assert [path_problem(p) for p in ("/dev/pts/3", "/dev/ttyS0", "/dev/ttyAMA0", str(by_id / "usb-x"))] == [None] * 4
    assert ports.stable_name("/dev/ttyUSB0") == ports.stable_name(str(by_id / "usb-x")) == str(by_id / "usb-x")
    assert ports.stable_name("/dev/ttyACM0") == "0001:0002:B"


def test_one_program_at_a_time(tmp_path):
    pty = Pty()
    first = open_port(pty.path, 9600)
    with pytest.raises(Unplugged, match="is used by another program"):
        open_port(pty.path, 9600)
    first.close()
    open_port(pty.path, 9600).close()
    pty.close()


def test_a_descriptor_above_1024():
    """As a bench with many files and sockets has it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, 1400)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(hard, wanted), hard))
    a, b = os.pipe()
    high = fcntl.fcntl(a, fcntl.F_DUPFD, 1200)
    stream = StreamTransport("x", high, lambda n: os.read(high, n), lambda d: os.write(b, d), lambda: None)
    os.write(b, Encoder().encode(memoryview(protocol.encode(protocol.PING, b"hello"))))
    (frame,) = stream.receive(5.0)
    assert protocol.decode(frame).payload == b"hello"
    for fd in (a, b, high):
        os.close(fd)


def test_a_full_line_takes_the_rest_later():
    """Nothing waits where a bench is paced freely: a message that was begun is ended before the next."""
    pty = Pty()
    far, near = pty.transport(), line(pty.path, 9600)
    far.waits = False
    message, taken = memoryview(protocol.encode(protocol.PONG, bytes(range(256)) * 2)), 0
    while far.send(message):
        taken += 1
    got = []
    while len(got) < taken:
        got += near.receive(5.0)
        far._flush()
    assert taken > 1
    assert got == [bytes(message)] * taken
    near.close()
    far.close()


# ---- is the line fast enough? ---------------------------------------------------------------------------------------------


@given(st.binary(max_size=608))
def test_bytes_of_a_frame(payload):
    sent = len(Encoder().encode(memoryview(protocol.encode(1, payload))))
    assert stream_bytes(len(payload)) - 3 <= sent <= stream_bytes(len(payload))


def test_the_arithmetic():
    slow = Line("x", 115_200, False, 1_000_000, 1e-3, Fraction(100), Fraction(50), 400, 300)
    assert slow.sum() == ("100.0 + 50.0 bytes per tick (to the boards, back; headers, CRC and COBS included) x 10 bits / 115200 baud "
                          "= 13.021 ms")
    assert "a tick has 1 ms; 1500000 baud would do" in slow.problem(10.0)
    fast = Line("x", 1_500_000, False, 1_000_000, 1e-3, Fraction(100), Fraction(50), 400, 300)
    assert fast.problem(10.0) is None
    assert fast.told().endswith("100 % of a tick")
    both_at_once = Line("x", 1_000_000, True, 1_000_000, 1e-3, Fraction(100), Fraction(50), 400, 300)
    assert both_at_once.problem(10.0) is None
    assert "more than limit_s = 0.001 s" in fast.problem(0.001)
    unpaced = Line("x", 9600, False, 1_000_000, 0.0, Fraction(96), Fraction(0), 96, 0)
    assert unpaced.told().endswith("at most 0.01 times real time on a real line")


def test_a_line_that_is_too_slow_is_refused_at_load(tmp_path):
    path = bench_file(tmp_path, 'port = "/dev/pts/1"\nbaud = 9600')
    with pytest.raises(ConfigError, match=r"bench.toml: remote.line.baud: the line is too slow for the wall clock: .* bytes per tick .* baud"):
        Bench.load(path, real_time=True)
    assert Bench.load(path).name == "hopper"  # in lockstep without a clock it is only slow
    with pytest.raises(ConfigError, match="the fullest tick has"):
        Bench.load(bench_file(tmp_path, "baud = 300\nlimit_s = 0.1"))


def test_what_is_counted_is_what_is_sent(tmp_path):
    """The bytes of a flight, against those foretold from the schedule."""
    bench, ticks = Bench.load(bench_file(tmp_path, f'port = "{tmp_path}/port"', "fcc")), 1000
    (told,) = lines(bench)
    with Board(tmp_path / "port"), bench.start() as flight:
        link = flight._remote.groups[0].transport
        sent, received = link.sent_bytes, link.received_bytes
        flight.step(ticks)
        up, down = link.sent_bytes - sent, link.received_bytes - received
    assert 0.85 * ticks * told.up <= up <= ticks * told.up
    assert stream_bytes(0) * ticks <= down <= ticks * told.down


def test_a_line_that_is_lost_is_let_go_of(tmp_path):
    """Closed for good, however often that is said."""
    pty = Pty()
    link = SerialTransport("x", PortIdentity(pty.path), 9600)
    pty.close()
    with pytest.raises(Unplugged, match="has gone"):
        for _ in range(100):
            link.receive(1.0)
    with pytest.raises(Unplugged):
        link.send(memoryview(protocol.encode(protocol.PING)))
    link.close()
    link.close()
    with pytest.raises(LinkError):
        link.reopen(10.0)
