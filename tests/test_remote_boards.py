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

from flightsw._native import ffi
from flightsw.errors import BenchUnavailable, ConfigError, FlightswError, StepError
from hil import Bench, remote, remote_worker, wire
from hil.endpoints import endpoint_problem

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
    children, launch = [], remote._launch

    def noted(*args):
        children.append(launch(*args))
        return children[-1]

    monkeypatch.setattr(remote, "_launch", noted)
    yield children
    gc.collect()
    assert all(c.process.poll() is not None and not c.folder.exists() for c in children)


@pytest.fixture
def worker(there):
    """(flight, pid of the process of its boards)."""
    with there.start(seed=1) as flight:
        yield flight, flight._remote.groups[0]._child.process


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
    os.kill(flight._remote.groups[0]._child.process.pid, signal.SIGKILL)
    with pytest.raises(BenchUnavailable):
        flight.step(20)
    flight.close()
    assert not flight.log.complete
    assert len(flight.log["/fcc/nav"]) >= 20


def test_silent_process_stops_the_bench(there):
    bench = Bench.load(CONFIGS / "zhuque3_zmq.toml", overlay={"remote": {"boards": {"limit_s": 0.3}}})
    with bench.start(seed=1) as flight:
        pid = flight._remote.groups[0]._child.process.pid
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
    child = flight._remote.groups[0]._child
    assert child.folder.stat().st_mode & 0o777 == 0o700
    assert all(p.stat().st_mode & 0o077 == 0 for p in child.folder.iterdir() if p.is_socket())
    flight.step(3)
    flight.close()
    flight.close()
    assert child.process.returncode == 0
    assert not child.folder.exists()
    assert threading.active_count() == threads
    flight = there.start(seed=1)
    child = flight._remote.groups[0]._child
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
    refused(there, monkeypatch, "refused: messages of the bench is 0123", **{"wire.messages_fingerprint": lambda: "0123"})


def test_other_protocol_is_refused(there, monkeypatch):
    refused(there, monkeypatch, "refused: protocol of the bench is 99, of these boards 1", **{"wire.PROTOCOL": 99})


def test_changed_blob_is_refused(there, monkeypatch):
    whole = wire.chunks
    refused(there, monkeypatch, 'refused: board "imu0": its load blob has another hash',
            **{"wire.chunks": lambda data: whole(data[:-1] + b"\x7f")})


def test_wrong_description_is_refused(there, monkeypatch):
    about = remote._about

    def renamed(node):
        return {**about(node), "topics": [["x", *rest] for _, *rest in about(node)["topics"]]}

    refused(there, monkeypatch, 'refused: board "imu0": topic "x" is not the one', **{"remote._about": renamed})


def test_stranger_is_refused(there, monkeypatch):
    launch = remote._launch
    refused(there, monkeypatch, "is not the process that was started",
            **{"remote._launch": lambda endpoint, token, folder: launch(endpoint, "guess", folder)})


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
    server = threading.Thread(target=remote_worker.serve, args=(endpoint, said.append, 2))
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
    with pytest.raises(ConfigError, match='is not "here" or "zmq:<group>"'):
        Bench.load(CONFIGS / "zhuque3_landing.toml", overlay={"node": [{"name": "feet", "where": where}]})


def test_python_task_is_refused(tmp_path):
    (tmp_path / "t.py").write_text("from flightsw import python_task\n"
                                   "@python_task('my.t', reads={}, writes={'a': 'fsw_baro_t'})\ndef t(io):\n    pass\n")
    (tmp_path / "b.toml").write_text('[bench]\nname = "b"\nduration_s = 1.0\ntasks = "t.py"\n'
                                     '[[node]]\nname = "n"\nwhere = "zmq:g"\n'
                                     '[[node.task]]\nname = "t"\ntype = "my.t"\nperiod_ticks = 1\n')
    with pytest.raises(ConfigError, match=r'node\[n\]\.where: task "t" is a Python task'):
        Bench.load(tmp_path / "b.toml").start()


# ---- hostile bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [
    [b""], [b"x" * 700], [bytes(28)], [wire.mark(wire.TICK)], [wire.mark(wire.GET)],
    [wire.mark(wire.HELLO), b"\xdd\xff\xff\xff\xff"],
    [wire.mark(wire.HELLO), b"\x91" * 60000], [wire.mark(wire.LOAD, board=1), b"\x80", b"x"], [wire.mark(7)],
    [wire.mark(wire.PUT, board=9, payload=bytes(8)), b"x"], [wire.mark(wire.HELLO), wire.pack({"protocol": True})],
])
def test_worker_answers_nonsense(parts):
    context = zmq.Context()
    with context, context.socket(zmq.PAIR) as client, context.socket(zmq.PAIR) as server:
        server.bind("inproc://nonsense")
        client.connect("inproc://nonsense")
        for s in (client, server):
            s.setsockopt(zmq.LINGER, 0)
            s.setsockopt(zmq.RCVTIMEO, 5000)
        session = remote_worker.Session(server, "", lambda: None, lambda text: None)
        for part in parts[:-1]:
            client.send(part, zmq.SNDMORE)
        client.send(parts[-1])
        client.send(wire.mark(wire.BYE))
        session.run()
        answer = wire.receive(client, lambda: None)
        assert wire.unpack(answer[1])["kind"] == "link"


def test_oversize_part_is_cut_off():
    context = zmq.Context()
    waits = []

    def wait():
        waits.append(0)
        if len(waits) > 4:
            raise TimeoutError

    with (context, wire.open_socket(context, "tcp://127.0.0.1:*", bind=True) as server,
          wire.open_socket(context, server.get_string(zmq.LAST_ENDPOINT), bind=False) as client):
        wire.send(client, [bytes(wire.MAX_PART + 1)], lambda: None)
        with pytest.raises(TimeoutError):
            wire.receive(server, wait)
