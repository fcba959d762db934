"""Boards in another process: the flight is the same, record by record, and what is wrong stops the bench with the reason."""

import gc
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsw._native import ffi
from flightsw.errors import BenchUnavailable, ConfigError, FlightswError, StepError
from flightsw.log import Log
from flightsw.replay import replay
from hil import Bench
from hil.endpoints import endpoint_problem
from hil.link import group, protocol, remote, transport
from hil.link.serving import serve_zmq
from hil.link.session import BoardSession

CONFIGS = Path(__file__).resolve().parents[1] / "bench_configs"
NOBODY = Path("tests/none")  # in place of a bench file where none is read


@pytest.fixture(scope="module")
def here():
    return Bench.load(CONFIGS / "zhuque3_landing.toml")


@pytest.fixture(scope="module")
def there():
    return Bench.load(CONFIGS / "zhuque3_zmq.toml")


class Records:
    """Every topic write and arrival of a flight, as the core's own log records, in order."""

    def __init__(self, flight, capacity=64 << 20):
        self.buffer, self.index = ffi.new("uint8_t[]", capacity), ffi.new("fsw_index_entry_t[]", capacity // 32)
        self.recorder = ffi.new("fsw_recorder_t *", {"buffer": self.buffer, "index": self.index, "capacity": capacity,
                                                     "index_capacity": capacity // 32})
        names = [(n, t) for n, view in flight.graph.nodes.items() for t in view.compiled.topics]
        flight.graph.attach_recorder(self.recorder, {name: (k, 1) for k, name in enumerate(names)})

    def bytes(self):
        assert self.recorder.dropped == 0
        return bytes(ffi.buffer(self.buffer, self.recorder.used))


def flown(bench, ticks, start=None):
    """(records, digests, links in flight) of so many ticks, from the beginning or a snapshot."""
    with bench.start(seed=7) as flight:
        if start is not None:
            flight.restore(start)
        records = Records(flight)
        flight.step(ticks)
        return records.bytes(), flight.graph.digests(), flight.snapshot().links


@pytest.fixture(autouse=True)
def launched(monkeypatch):
    """Processes that the bench has started in this test; none outlives it."""
    children, launch = [], remote.launch

    def noted(*args):
        children.append(launch(*args))
        return children[-1]

    monkeypatch.setattr(remote, "launch", noted)
    yield children
    gc.collect()
    assert all(c.process.poll() is not None and not c.folder.exists() for c in children)


@pytest.fixture
def worker(there):
    """(flight, pid of the process of its boards)."""
    with there.start(seed=1) as flight:
        yield flight, flight._remote.fars[0].child.process


# ---- the same flight ---------------------------------------------------------------------------------------------------


def test_start_is_the_same(here, there):
    a, b = flown(here, 1500), flown(there, 1500)
    assert len(a[0]) > 5_000_000
    assert a[0] == b[0]
    assert a[1:] == b[1:]


def test_ignition_is_the_same(here, there):
    with here.start(seed=7) as flight:
        while not flight.node("fcc").topic("engines")["starting_mask"]:
            flight.step(100)
            assert flight.t_s < 60.0
        start = flight.snapshot()
    a, b = flown(here, 2000, start), flown(there, 2000, start)
    assert a == b


def test_log_of_the_boards(there, tmp_path):
    with there.start(seed=1, log=tmp_path / "a.mcap") as flight:
        flight.step(300)
        assert flight.node("imu0").state("imu") is not None
    log = flight.log
    assert log.complete
    assert len(log["/imu0/imu"]) == len(log["/imu0/truth"]) == 299
    snaps = [snap for snap, _ in log.keyframes()]
    assert [s.tick for s in snaps] == [0, 300]
    assert snaps[0].images["imu0"] != snaps[1].images["imu0"]


def test_back_and_fork(there):
    with there.start(seed=2) as flight:
        flight.step(50)
        kept = flight.snapshot()
        flight.step(50)
        first = flight.graph.digests()
        with flight.fork() as other:
            other.step(10)
            flight.step(10)
            assert other.graph.digests() == flight.graph.digests()
        flight.restore(kept)
        flight.step(50)
        assert flight.graph.digests() == first


def test_stop_condition_in_a_mirror(there):
    with there.start(seed=1) as flight:
        flight.graph.set_stop("feet", "touch", "valid", 1, 0)
        flight.run(until=1.0)
        assert flight.stopped
        assert flight.tick < 1000


# ---- replay --------------------------------------------------------------------------------------------------------------


def test_a_flight_over_zeromq_replays_identically_twice(there, tmp_path):
    with there.start(seed=5, log=tmp_path / "a.mcap") as flight:
        flight.run(until=3.0)
    for _ in range(2):
        result = replay(Log.open(tmp_path / "a.mcap"))
        assert result.identical and result.exact and result.ticks == 3000, result.divergence


# ---- free pacing ---------------------------------------------------------------------------------------------------------


def freely(**settings):
    remote = {"pacing": "free", "on_loss": "hold_last", **settings}
    return Bench.load(CONFIGS / "zhuque3_zmq.toml", overlay={"remote": {"boards": remote}})


@pytest.mark.parametrize("real_time", [False, True])
def test_free_pacing_replays_identically_twice(tmp_path, real_time):
    """When a board's answer arrives depends on the computer; what the flight computer makes of it does not."""
    overlay = {"remote": {"boards": {"pacing": "free", "on_loss": "hold_last"}}}
    if real_time:
        overlay["bench"] = {"real_time": {"noise_s": 0.0}}
    with Bench.load(CONFIGS / "zhuque3_zmq.toml", overlay=overlay).start(seed=5, log=tmp_path / "a.mcap") as flight:
        flight.run(until=1.5)
        counters = flight._remote.groups[0].counters
    assert counters["answered"] > 0 and counters["lost"] == counters["corrupt"] == counters["wrong_tick"] == 0
    for _ in range(2):
        result = replay(Log.open(tmp_path / "a.mcap"))
        assert result.identical and result.exact and result.ticks == 1500, result.divergence


def stopped_boards(bench, log=None):
    """A flight whose boards have stopped answering after 200 ticks, and went on for 400 more."""
    with bench.start(seed=5, log=log) as flight:
        flight.step(200)
        pid = flight._remote.fars[0].child.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            flight.step(400)
        finally:
            os.kill(pid, signal.SIGCONT)
        writes = {t: flight.node("fcc").writes_of(t) for t in ("imu0", "gnss0")}
        return writes, flight.node("fcc").topic("imu0").copy(), flight._remote.groups[0].counters


def test_a_silent_board_is_held(tmp_path):
    writes, imu, counters = stopped_boards(freely(), tmp_path / "a.mcap")
    assert counters["late"] >= 300 and writes["imu0"] <= 210 and imu["valid"] == 1
    assert replay(Log.open(tmp_path / "a.mcap")).identical


def test_a_silent_board_is_neutral_once(tmp_path):
    _, imu, counters = stopped_boards(freely(on_loss="neutral", hold_ticks=50), tmp_path / "a.mcap")
    assert imu["valid"] == 0 and imu["seq"] == 0
    log = Log.open(tmp_path / "a.mcap")
    told = (log["/fcc/imu0"]["valid"] == 0).sum()  # once per silence, through the gate, and recorded
    assert 1 <= told == counters["neutral"]
    assert replay(log).identical


def test_a_silent_board_stops_the_bench():
    with pytest.raises(BenchUnavailable, match="no answer for 32 ticks"):
        stopped_boards(freely(on_loss="stop", hold_ticks=30))


# ---- what goes wrong ---------------------------------------------------------------------------------------------------


def test_killed_process_is_noticed(worker):
    flight, process = worker
    flight.step(20)
    os.kill(process.pid, signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(BenchUnavailable, match=r'boards "boards": their process has ended') as caught:
        flight.step(1000)
    assert time.monotonic() - began < 2.0
    assert caught.value.exit_code == 4
    with pytest.raises(BenchUnavailable, match="are lost"):
        flight.step()
    with pytest.raises(BenchUnavailable):
        flight.snapshot()


def test_log_is_closed_when_boards_die(there, tmp_path):
    flight = there.start(seed=1, log=tmp_path / "a.mcap")
    flight.step(20)
    os.kill(flight._remote.fars[0].child.process.pid, signal.SIGKILL)
    with pytest.raises(BenchUnavailable):
        flight.step(20)
    flight.close()
    assert not flight.log.complete
    assert len(flight.log["/fcc/nav"]) >= 20


def test_silent_process_stops_the_bench(there):
    bench = Bench.load(CONFIGS / "zhuque3_zmq.toml", overlay={"remote": {"boards": {"limit_s": 0.3}}})
    with bench.start(seed=1) as flight:
        pid = flight._remote.fars[0].child.process.pid
        flight.step(5)
        before = flight.tick
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(BenchUnavailable, match=r"no answer within 0\.3 s"):
                flight.step(100)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert flight.tick == before  # nothing is held, nothing invented


def test_nothing_is_left_behind(there):
    threads = threading.active_count()
    flight = there.start(seed=1)
    child = flight._remote.fars[0].child
    assert child.folder.stat().st_mode & 0o777 == 0o700
    assert all(p.stat().st_mode & 0o077 == 0 for p in child.folder.iterdir() if p.is_socket())
    flight.step(3)
    flight.close()
    flight.close()
    assert child.process.returncode == 0
    assert not child.folder.exists()
    assert threading.active_count() == threads
    flight = there.start(seed=1)
    child = flight._remote.fars[0].child
    del flight  # forgotten, not closed
    assert child.process.poll() is not None
    assert not child.folder.exists()


def test_task_error_is_told(there):
    with there.start(seed=1) as flight:
        snap = flight.snapshot()
        broken = bytearray(snap.images["imu0"])
        broken[44 - 8 : 44 - 4] = (5).to_bytes(4, "little")  # fsw_image_head_t.error: the node does not run on
        flight.restore(type(snap)(snap.tick, {**snap.images, "imu0": bytes(broken)}, snap.links))
        with pytest.raises(StepError, match='node "imu0", task "imu": error 5 in tick 0'):
            flight.step()


# ---- manifests ---------------------------------------------------------------------------------------------------------


def refused(there, monkeypatch, match, **changes):
    for name, value in changes.items():
        monkeypatch.setattr(f"hil.{name}", value)
    with pytest.raises(BenchUnavailable, match=match):
        there.start(seed=1)


def test_other_messages_are_refused(there, monkeypatch):
    hello = group.protocol.pack

    def changed(manifest):
        return hello({**manifest, "messages": "0" * 16})

    refused(there, monkeypatch, "refused: the bench's message definitions are not those of this board", **{"link.protocol.pack": changed})


def test_other_protocol_is_refused(there, monkeypatch):
    refused(there, monkeypatch, "refused: the bench speaks another version of the link protocol", **{"link.protocol.PROTOCOL": 99})


def test_changed_bundle_is_refused(there, monkeypatch):
    made = group.bundle
    refused(there, monkeypatch, "refused: the bundle is refused: it is damaged, or of another version",
            **{"link.group.bundle": lambda *args, **more: made(*args, **more)[:-1] + b"\x7f"})


def test_stranger_is_refused(there, monkeypatch):
    launch = remote.launch
    refused(there, monkeypatch, "is not the process that was started",
            **{"link.remote.launch": lambda start, folder: launch({**start, "token": "guess"}, folder)})


def test_worker_that_cannot_start(there, monkeypatch, tmp_path):
    assert "msgpack" in sys.modules  # this process has it
    (tmp_path / "msgpack.py").write_text('raise ImportError("msgpack is damaged")\n')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BenchUnavailable, match=r"their process has ended \(exit code 1\): .*msgpack is damaged"):
        there.start(seed=1)


# ---- served boards -----------------------------------------------------------------------------------------------------


def joined(endpoint, limit_s=5.0):
    return Bench.load(CONFIGS / "zhuque3_zmq.toml", overlay={"remote": {"boards": {"endpoint": endpoint, "limit_s": limit_s}}})


@pytest.fixture
def short_folder():
    """A folder of its own with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="b") as folder:
        yield folder


def test_served_boards(there, short_folder):
    endpoint = f"ipc://{short_folder}/b"
    said: list[str] = []
    server = threading.Thread(target=serve_zmq, args=(endpoint, said.append, 2))
    server.start()
    bench = joined(endpoint)
    digests = []
    for _ in range(2):
        with bench.start(seed=3) as flight:
            flight.step(20)
            digests.append(flight.graph.digests())
            with pytest.raises(FlightswError, match="cannot be forked"):
                flight.fork()
    server.join(10.0)
    assert not server.is_alive()
    assert digests[0] == digests[1]
    assert any("20 boards" in line for line in said)


def test_nobody_serves(tmp_path):
    with pytest.raises(BenchUnavailable, match=r"no answer within 0\.2 s"):
        joined("ipc:///nonexistent/b", 0.2).start(seed=1)


@pytest.mark.parametrize("endpoint", ["tcp://192.168.1.7:5555", "tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://example.org:5555",
                                      "tcp://localhost:5555", "tcp://[::]:5555", "tcp://127.0.0.1:0", "tcp://127.0.0.1:70000",
                                      "ipc://relative", "ipc://@abstract", "udp://127.0.0.1:5555", "inproc://a", "",
                                      "tcp://127.0.0.1"])
def test_endpoints_elsewhere_are_refused(endpoint):
    assert endpoint_problem(endpoint)
    with pytest.raises(ConfigError, match=r"remote\.boards\.endpoint"):
        joined(endpoint)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:5555", "tcp://127.1.2.3:1", "tcp://[::1]:65535", "ipc:///run/x/boards"])
def test_endpoints_here_are_taken(endpoint):
    assert endpoint_problem(endpoint) is None


@pytest.mark.parametrize("where", ["elsewhere", "zmq:", "zmq:a b", "tcp://1.2.3.4:5"])
def test_unknown_place_is_refused(where):
    with pytest.raises(ConfigError, match='is not "here", "zmq:<group>"'):
        Bench.load(CONFIGS / "zhuque3_landing.toml", overlay={"node": [{"name": "feet", "where": where}]})


PYTHON_BOARD = """from flightsw import python_task
@python_task('my.gauge', reads={}, writes={'baro': 'fsw_baro_t'}, state='typedef struct { double x; } gauge_t;')
def gauge(io):
    io.state['x'] += 0.5
    io.writes['baro']['p_pa'] = io.state['x'] + io.uniform(0)[0]
"""


def test_python_tasks_run_there_too(tmp_path):
    (tmp_path / "t.py").write_text(PYTHON_BOARD)
    text = ('[bench]\nname = "b"\nduration_s = 1.0\ntasks = "t.py"\n[[node]]\nname = "n"\nwhere = "WHERE"\nrecord = "all"\n'
            '[[node.task]]\nname = "t"\ntype = "my.gauge"\nperiod_ticks = 1\n')
    ends = []
    for where in ("here", "zmq:g"):
        (tmp_path / "b.toml").write_text(text.replace("WHERE", where))
        with Bench.load(tmp_path / "b.toml").start(seed=4) as flight:
            flight.step(100)
            ends.append((float(flight.node("n").topic("baro")["p_pa"]), flight.graph.digests()))
    assert ends[0] == ends[1] and ends[0][0] > 50.0


def test_a_python_task_that_fails_there_is_told(tmp_path):
    (tmp_path / "t.py").write_text(PYTHON_BOARD + "    if io.tick == 7:\n        raise ValueError('no pressure')\n")
    (tmp_path / "b.toml").write_text('[bench]\nname = "b"\nduration_s = 1.0\ntasks = "t.py"\n[[node]]\nname = "n"\nwhere = "zmq:g"\n'
                                     '[[node.task]]\nname = "t"\ntype = "my.gauge"\nperiod_ticks = 1\n')
    with Bench.load(tmp_path / "b.toml").start() as flight, pytest.raises(StepError, match=r'boards "g": a Python task failed: ValueError: no'):
        flight.step(10)


# ---- hostile bytes -----------------------------------------------------------------------------------------------------


def hello(**changes):
    manifest = {"protocol": protocol.PROTOCOL, "messages": protocol.messages_fingerprint(), "mode": "SIM"}
    return protocol.encode(protocol.HELLO, protocol.pack({**manifest, **changes}))


@pytest.mark.parametrize("frames", [
    [protocol.encode(protocol.TICK)], [protocol.encode(protocol.GET)], [protocol.encode(protocol.DATA, b"x")],
    [protocol.encode(protocol.LOAD, bytes(16))], [protocol.encode(protocol.HELLO, b"\xdd\xff\xff\xff\xff")],
    [protocol.encode(protocol.HELLO, b"\x91" * 600)], [protocol.encode(protocol.HELLO)], [protocol.encode(241)],
    [hello(), protocol.encode(protocol.LOAD, b"x")], [hello(), protocol.encode(protocol.LOAD, b"\xff" * 16)],
    [hello(), protocol.encode(protocol.LOAD, b"\x08" + bytes(15)), protocol.encode(protocol.DATA, bytes(9))],
    [hello(), protocol.encode(protocol.LOAD, b"\x08" + bytes(15)), protocol.encode(protocol.DATA, bytes(8))],
    [hello(mode="LIVE")], [hello(protocol=True)], [hello(messages=7)],
])
def test_a_session_answers_nonsense_with_a_reason(frames):
    session = BoardSession()
    assert all(protocol.decode(bytes(session.take(f))).type != protocol.FAILED for f in frames[:-1])
    answer = protocol.decode(bytes(session.take(frames[-1])))
    assert answer.type == protocol.FAILED and len(answer.payload.decode()) > 10


def test_a_session_is_silent_to_what_is_no_frame():
    session = BoardSession()
    assert [session.take(b) for b in (b"", b"x" * 700, bytes(28), hello()[:-1], protocol.encode(7))] == [None] * 5
    assert session.c.bad_frames == 4 and session.c.stray == 1


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=64), st.integers(0, 2**32 - 1)), max_size=12))
@settings(max_examples=200, deadline=None)
def test_no_sequence_of_frames_hurts_a_session(frames):
    session = BoardSession()
    session.take(hello())
    for kind, payload, sequence in frames:
        answer = session.take(protocol.encode(kind, payload, sequence=sequence, tick=sequence))
        assert answer is None or all(protocol.decode(bytes(f)) is not None for f in transport.frames_in(answer))
    assert not session.running


def test_oversize_part_is_cut_off():
    context = zmq.Context()
    with (context, transport.open_socket(context, "tcp://127.0.0.1:*", bind=True) as server,
          transport.open_socket(context, server.get_string(zmq.LAST_ENDPOINT), bind=False) as client):
        server.setsockopt(zmq.RCVTIMEO, 300)
        client.send(bytes(transport.MAX_PART + 1))
        with pytest.raises(zmq.Again):
            server.recv()


def test_every_socket_is_bounded():
    with (zmq.Context() as context, transport.open_socket(context, "tcp://127.0.0.1:*", bind=True) as tcp,
          tempfile.TemporaryDirectory(prefix="b") as folder, transport.open_socket(context, f"ipc://{folder}/s", bind=True) as ipc):
        for s in (tcp, ipc):
            assert s.getsockopt(zmq.MAXMSGSIZE) == transport.MAX_PART and s.getsockopt(zmq.LINGER) == 0
            assert s.getsockopt(zmq.SNDHWM) == s.getsockopt(zmq.RCVHWM) == transport.HIGH_WATER <= 256
            assert s.getsockopt(zmq.IMMEDIATE) == 1 and s.getsockopt(zmq.HANDSHAKE_IVL) == 2000
        assert tcp.getsockopt(zmq.HEARTBEAT_IVL) == 1000 and tcp.getsockopt(zmq.HEARTBEAT_TIMEOUT) == 5000
        assert Path(f"{folder}/s").stat().st_mode & 0o777 == 0o600
