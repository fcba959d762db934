"""Links that may leave this computer: who has no key that is on the list gets nothing, and costs bounded memory."""

from __future__ import annotations

import contextlib
import resource
import socket as sockets
import threading
from pathlib import Path

import pytest
import zmq

from flightsw.errors import BenchUnavailable, ConfigError
from hil import Bench
from hil.endpoints import endpoint_problem
from hil.link import protocol
from hil.link.curve import Curve, admitted, make_keys, read_curve
from hil.link.protocol import LinkError
from hil.link.session import BoardSession, serve
from hil.link.transport import MAX_PART, ZmqTransport, open_socket

CONFIGS = Path(__file__).resolve().parents[1] / "bench_configs"


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    return {name: make_keys(tmp_path, name) for name in ("board", "bench", "stranger")}


def curve_of(keys: dict[str, tuple[Path, Path]], who: str, *peers: str) -> Curve:
    return read_curve(keys[who][0], [keys[p][1] for p in peers])


class Server:
    """A board behind CURVE on a loopback port, served on a thread of its own."""

    def __init__(self, curve: Curve) -> None:
        self.context, self.curve = zmq.Context(), curve
        self.port = 0
        self.stop, self.ready = threading.Event(), threading.Event()
        self.received = 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        assert self.ready.wait(10.0)

    def run(self) -> None:
        with self.context as context, admitted(context, self.curve):
            free = sockets.socket()
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
            free.close()
            with open_socket(context, f"tcp://127.0.0.1:{self.port}", bind=True, curve=self.curve) as s:
                self.ready.set()
                session = BoardSession()
                take = session.take

                def counted(frame: bytes) -> memoryview | None:
                    self.received += 1
                    return take(frame)

                session.take = counted  # type: ignore[method-assign]
                while not self.stop.is_set():
                    serve(ZmqTransport(s, "board"), session, lambda: not self.stop.is_set())

    def close(self) -> None:
        self.stop.set()
        self.thread.join(10.0)
        assert not self.thread.is_alive()


@pytest.fixture
def server(keys):
    made = Server(curve_of(keys, "board", "bench"))
    yield made
    made.close()


def hello() -> bytes:
    manifest = {"protocol": protocol.PROTOCOL, "messages": protocol.messages_fingerprint(), "mode": "SIM"}
    return protocol.encode(protocol.HELLO, protocol.pack(manifest))


def answer(server: Server, socket: zmq.Socket, wait_ms: int) -> bytes | None:
    socket.connect(f"tcp://127.0.0.1:{server.port}")
    if not socket.poll(wait_ms, zmq.POLLOUT):
        return None
    for _ in range(max(1, wait_ms // 500)):  # a board that has not seen its last bench go takes nobody else yet
        with contextlib.suppress(zmq.Again):
            socket.send(hello(), zmq.NOBLOCK)
        if socket.poll(500 if wait_ms > 500 else wait_ms):
            return socket.recv()
    return None


def client(context: zmq.Context, curve: Curve | None = None) -> zmq.Socket:
    s = context.socket(zmq.PAIR)
    s.linger = 0
    s.immediate = True
    if curve is not None:
        curve.protect(s, False)
    return s


def test_who_is_on_the_list_is_answered(server, keys):
    with zmq.Context() as context, client(context, curve_of(keys, "bench", "board")) as s:
        said = answer(server, s, 10_000)
    assert said is not None and protocol.decode(said).type == protocol.MANIFEST


@pytest.mark.parametrize("who", ["unknown key", "plain", "wrong server key"])
def test_who_is_not_gets_nothing(server, keys, who):
    made = {"unknown key": curve_of(keys, "stranger", "board"), "plain": None, "wrong server key": curve_of(keys, "bench", "stranger")}[who]
    with zmq.Context() as context, client(context, made) as s:
        assert answer(server, s, 400) is None
    assert server.received == 0
    with zmq.Context() as context, client(context, curve_of(keys, "bench", "board")) as s:
        assert answer(server, s, 10_000) is not None  # and others are served as before


def test_half_open_peers_and_floods_cost_bounded_memory(server, keys):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    raw = [sockets.create_connection(("127.0.0.1", server.port)) for _ in range(64)]  # say nothing
    for s in raw[:32]:
        s.setblocking(False)
        s.send(b"\xff" + b"\0" * 8 + b"\x7f\x03\0CURVE" + bytes(16) + b"\x01" + bytes(31))  # a greeting of ZMTP
        try:
            for _ in range(64):
                s.send(b"\x06" + (1 << 62).to_bytes(8, "big") + bytes(60_000))  # a frame that says it is 2^62 bytes long
        except (BlockingIOError, OSError):
            pass
    with zmq.Context() as context, client(context, curve_of(keys, "bench", "board")) as s:
        assert answer(server, s, 10_000) is not None
        try:
            s.setsockopt(zmq.SNDTIMEO, 200)
            for _ in range(20_000):
                s.send(bytes(600))
        except zmq.Again:
            pass
        with contextlib.suppress(zmq.Again):
            s.send(bytes(MAX_PART + 1))  # cuts this peer off
    for s in raw:
        s.close()
    assert server.received > 0
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 64 * 1024, grown_kib
    with zmq.Context() as context, client(context, curve_of(keys, "bench", "board")) as s:
        assert answer(server, s, 10_000) is not None


def test_off_this_computer_only_with_keys(keys):
    assert "CURVE" in endpoint_problem("tcp://192.168.1.7:5555")
    assert endpoint_problem("tcp://192.168.1.7:5555", keys=True) is None
    for wrong in ("tcp://0.0.0.0:5555", "tcp://[::]:5555", "tcp://*:5555", "tcp://example.org:5555", "tcp://224.0.0.1:5555"):
        assert endpoint_problem(wrong, keys=True)
    with zmq.Context() as context, pytest.raises(LinkError, match="not on this computer"):
        open_socket(context, "tcp://192.168.1.7:5555", bind=False)


def test_bench_file(keys, tmp_path):
    def load(**remote: str) -> Bench:
        return Bench.load(CONFIGS / "zhuque3_zmq.toml", overlay={"remote": {"boards": remote}})

    with pytest.raises(ConfigError, match=r"remote\.boards.*key and peer go together"):
        load(endpoint="tcp://127.0.0.1:5555", key=str(keys["bench"][0]))
    with pytest.raises(ConfigError, match=r"remote\.boards\.endpoint.*not on this computer"):
        load(endpoint="tcp://192.168.1.7:5555")
    load(endpoint="tcp://192.168.1.7:5555", key=str(keys["bench"][0]), peer=str(keys["board"][1]))


def test_a_flight_over_curve_is_the_same(server, keys):
    endpoint = f"tcp://127.0.0.1:{server.port}"
    overlay = {"remote": {"boards": {"endpoint": endpoint, "key": str(keys["bench"][0]), "peer": str(keys["board"][1])}}}
    with Bench.load(CONFIGS / "zhuque3_zmq.toml", overlay=overlay).start(seed=2) as flight:
        flight.step(100)
        there = flight.graph.digests()
    with Bench.load(CONFIGS / "zhuque3_landing.toml").start(seed=2) as flight:
        flight.step(100)
        assert flight.graph.digests() == there
    other = {"remote": {"boards": {**overlay["remote"]["boards"], "key": str(keys["stranger"][0]), "limit_s": 0.5}}}
    with pytest.raises(BenchUnavailable, match="no answer within"):
        Bench.load(CONFIGS / "zhuque3_zmq.toml", overlay=other).start(seed=2)


def test_key_files(keys, tmp_path):
    secret, public = keys["board"]
    assert secret.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="cannot be made: File exists"):
        make_keys(tmp_path, "board")
    secret.chmod(0o640)
    with pytest.raises(ConfigError, match="others may read this secret"):
        curve_of(keys, "board", "bench")
    with pytest.raises(ConfigError, match="is not a key file"):
        read_curve(public, [public])
    with pytest.raises(ConfigError, match="is not a file with a public key"):
        read_curve(keys["bench"][0], [secret])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_curve(tmp_path / "none.key", [])
    with pytest.raises(ConfigError, match="of no use"):
        read_curve(keys["bench"][0], [])
    public.write_text("flightsw-curve-public nonsense\n")
    with pytest.raises(ConfigError, match="holds no key"):
        curve_of(keys, "bench", "board")


def test_commands(tmp_path, capsys, monkeypatch):
    from flightsw.cli import run_cli

    monkeypatch.chdir(tmp_path)
    assert run_cli(["board", "keygen", "--link", "mine"]) == 0
    assert capsys.readouterr().out.split() == ["mine.key", "mine.pub"]
    assert run_cli(["board", "keygen", "--link", "mine"]) == 2
    assert run_cli(["board", "serve", "tcp://192.168.1.7:5555"]) == 2
    assert run_cli(["board", "serve", "tcp://192.168.1.7:5555", "--key", "mine.key"]) == 2
    assert "--key and --allow go together" in capsys.readouterr().err
