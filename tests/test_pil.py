"""Processor in the loop: the flight computer as firmware on an emulated Cortex-M7 does what it does in process, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import serial
from click.testing import CliRunner

from flightsw.cli.board_build import build as build_command
from flightsw.cli.run import command as run_command
from flightsw.errors import BenchUnavailable, ConfigError
from flightsw.log import Log
from flightsw.replay import replay
from hil import Bench, board_build
from hil.link import emulator, protocol, told
from hil.link.emulator import Emulator
from hil.link.selection import mask_of, sent
from hil.link.transport import StreamTransport
from hil.report import write_report
from hil.run import Continuation, run_bench, run_continued

CONFIGS = Path(__file__).resolve().parents[1] / "bench_configs"
NEEDS = {**board_build.TOOLS, emulator.PROGRAM: "qemu-system-arm"}


@pytest.fixture(scope="session")
def firmware(tmp_path_factory):
    """The firmware of the sources as they are, in a cache of its own."""
    missing = [f"{n} (apt: {p})" for n, p in NEEDS.items() if shutil.which(n) is None]
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {', '.join(missing)}")
    with pytest.MonkeyPatch.context() as m:
        m.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield board_build.cached()


@pytest.fixture(autouse=True)
def emulators(monkeypatch):
    """Emulators started in this test; none outlives it."""
    made, init = [], Emulator.__init__

    def noted(self, *args, **more):
        made.append(self)
        init(self, *args, **more)

    monkeypatch.setattr(Emulator, "__init__", noted)
    yield made
    made = [e for e in made if hasattr(e, "folder")]
    assert all(e.process.poll() is not None and not e.folder.exists() for e in made)


def bench(port="ethernet", **remote):
    return Bench.load(CONFIGS / "pil_cortex_m7.toml", overlay={"remote": {"m7": {"port": port, **remote}}})


def at(tick, seed=1):
    """A snapshot of the flight in process."""
    with Bench.load(CONFIGS / "zhuque3_landing.toml").start(seed) as flight:
        flight.step(tick)
        return flight.snapshot()


def continued(loaded, snap, ticks, out):
    """A run of so many ticks from a snapshot."""
    t_s = (snap.tick + ticks) * 1e-3
    return run_continued(loaded, 1, out, None, Continuation(lambda f: f.restore(snap), snap.tick * 1e-3, t_s, {}, report=False))


# ---- the same flight ---------------------------------------------------------------------------------------------------


def test_start_and_ignition_over_ethernet(firmware, tmp_path):
    for snap in (at(0), at(29_000)):
        result = continued(bench(), snap, 600, tmp_path)
        c = result.run["links"]["comparison"]
        assert c["identical"] and c["sentence"] == ""
        assert c["boards"] == ["fcc"] and c["messages"] > 2000 and c["keyframes"] >= 2
        group = result.run["links"]["groups"][0]
        assert group["manifest"]["role"] == "flight_computer" and "token" not in group["manifest"]
        assert group["outcomes"]["answered"] == 600 == group["round_trip_us"]["count"] == sum(group["round_trip_us"]["histogram"])
        assert group["not_sent"] == {}
        assert group["sent_bytes"] > 600 * 400


def test_touchdown_over_the_uart(firmware, tmp_path):
    result = continued(bench("uart"), at(45_900), 300, tmp_path)
    run = result.run["links"]
    assert run["comparison"]["identical"], run["comparison"]["sentence"]
    assert {"nav", "imu_voted", "control"} <= set(run["groups"][0]["not_sent"]["fcc"])
    assert run["groups"][0]["received_bytes"] < 300 * 200 + 2 * 38_000  # with all topics 450 bytes a tick; and the images
    log = Log.open(result.log_path)
    assert "/fcc/nav" not in log and "/fcc/guidance" in log
    assert log.complete
    replayed = replay(log)  # and what is there replays, up to the images at keyframes
    assert replayed.identical and replayed.keyframes >= 2 and replayed.notes == replay(log).notes


def test_a_difference_fails_the_run(firmware, tmp_path, monkeypatch):
    take = Bench.start

    def other(self, seed=None, log=None, prepare=None):
        flight = take(self, seed, log, prepare)
        if self.plans[-1].where == "here":  # the flight in process: the last bit of a parameter
            gain = flight.node("fcc").params("control")["kp_1_s"]
            gain[...] = np.nextafter(gain, 0.0)
        return flight

    monkeypatch.setattr(Bench, "start", other)
    result = run_bench(Bench.load(CONFIGS / "pil_cortex_m7.toml", ["bench.duration_s=0.3", "bench.expect=lost"]), 1, tmp_path, report=False)
    c = result.run["links"]["comparison"]
    assert result.verdict.outcome == "lost" and not result.verdict.met and not result.run["met"]
    assert not c["identical"]
    first = c["first_difference"]
    assert (first["node"], first["task"], first["kind"]) == ("fcc", "control", "value") and first["field"] and first["tick"] < 300
    assert "from the link" in c["sentence"] and "in process" in c["sentence"]


def test_a_state_that_differs_is_found(firmware, tmp_path):
    """What is not sent is compared where it lies: in the images."""
    result = continued(bench("uart"), at(100), 20, tmp_path)
    flown = Log.open(result.log_path)

    class Changed:
        def keyframes(self):
            return [(s, {**d, "fcc": d["fcc"] ^ 1}) for s, d in flown.keyframes()]

    assert told._images(flown, flown, ["fcc"]) == (2, "")
    assert 'tick 100: the image of "fcc" differs' in told._images(flown, Changed(), ["fcc"])[1]


def test_back_and_fork(firmware, emulators):
    with bench().start(seed=2) as flight:
        flight.step(50)
        kept = flight.snapshot()
        flight.step(50)
        first = flight.graph.digests()
        with flight.fork() as other:
            assert len(emulators) == 2
            other.step(10)
            flight.step(10)
            assert other.graph.digests() == flight.graph.digests()
        flight.restore(kept)
        flight.step(50)
        assert flight.graph.digests() == first
    with Bench.load(CONFIGS / "zhuque3_landing.toml").start(seed=2) as here:
        here.step(100)
        assert here.graph.digests() == first


# ---- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", ["ethernet", "uart"])
@pytest.mark.parametrize("sent_signal, words", [(signal.SIGKILL, r"the emulator has ended \(exit code -9\)"),
                                                (signal.SIGSTOP, r"no answer within 0\.5 s")])
def test_lost_emulator(firmware, emulators, tmp_path, sent_signal, words, port):
    flight = bench(port, limit_s=0.5, send="all").start(seed=1, log=tmp_path / "a.mcap")
    flight.step(20)
    pid = emulators[0].process.pid
    os.kill(pid, sent_signal)
    began = time.monotonic()
    with pytest.raises(BenchUnavailable, match=f'boards "m7": {words}') as caught:
        flight.step(1000)
    assert caught.value.exit_code == 4
    with pytest.raises(BenchUnavailable, match="are lost"):
        flight.snapshot()
    flight.close()
    assert time.monotonic() - began < 5.0
    assert not flight.log.complete
    assert len(flight.log["/fcc/nav"]) >= 20


def test_firmware_that_is_not_there(tmp_path):
    if shutil.which(emulator.PROGRAM) is None:
        pytest.skip("not installed: qemu-system-arm")
    with pytest.raises(BenchUnavailable, match=r"there is no firmware .*none\.elf"):
        bench(firmware=str(tmp_path / "none.elf")).start()
    (tmp_path / "bad.elf").write_bytes(b"no firmware")
    with pytest.raises(BenchUnavailable, match=r"no answer within|the emulator has ended"):
        bench(firmware=str(tmp_path / "bad.elf"), limit_s=1.0).start()


def test_emulator_that_is_not_installed(firmware, monkeypatch):
    monkeypatch.setattr(emulator, "PROGRAM", "qemu-system-none")
    with pytest.raises(BenchUnavailable, match="qemu-system-none is not installed") as caught:
        bench().start()
    assert "apt: qemu-system-arm" in str(caught.value)


@pytest.mark.parametrize("remote, key", [({"port": "usb"}, "port"), ({"send": "some"}, "send"), ({"compare": 1}, "compare")])
def test_bad_remote(remote, key):
    with pytest.raises(ConfigError, match=f"remote.m7.{key}: "):
        Bench.load(CONFIGS / "pil_cortex_m7.toml", overlay={"remote": {"m7": remote}})


# ---- what is sent ------------------------------------------------------------------------------------------------------


def test_choice_of_topics():
    loaded = Bench.load(CONFIGS / "pil_cortex_m7_uart.toml")
    plan = next(p for p in loaded.plans if p.name == "fcc")
    linked = {k.src_topic for k in loaded.links if k.src_node == "fcc"}
    events = {f"{n}_events" for n in ("vote", "nav", "touchdown", "guidance", "seq")}
    assert sent(loaded, plan) == linked | events
    assert {c.topic for c in loaded.channels() if c.node == "fcc"} >= linked | events | {"imu0", "_inputs"}
    judged = Bench.load(CONFIGS / "pil_cortex_m7_uart.toml", overlay={"outcome": {"far": {"topic": "fcc.nav", "field": "valid", "equals": 9}}})
    assert sent(judged, plan) == linked | events | {"nav"}
    everything = bench("uart", send="all")
    assert {"nav", "control"} <= sent(everything, plan)
    assert mask_of(["a", "b", "c"], frozenset("ac")) == b"\x05" and mask_of(["a"], frozenset()) == b""


# ---- the emulator ------------------------------------------------------------------------------------------------------


def test_pseudo_terminal(firmware):
    """To who opens it, a serial port like any other; all byte values pass."""
    running = Emulator(firmware, uart="pty")
    try:
        running.go()
        with serial.Serial(running.pty, 115200, timeout=0) as port:
            link = StreamTransport("pty", port.fileno(), port.read, port.write, lambda: None)
            payload = bytes(range(256)) + b"\x01a\x01x\x01h" * 10  # what is a command to QEMU's own terminal
            question = protocol.encode(protocol.PING, payload, sequence=7)
            answers, until = [], time.monotonic() + 10.0
            asked = 0.0
            while not answers and time.monotonic() < until:
                if time.monotonic() - asked > 2.0:  # the first may take a second: QEMU looks once a second
                    link.send(memoryview(question))
                    asked = time.monotonic()
                answers += link.receive(0.1)
            frame = protocol.decode(answers[0])
            assert (frame.type, frame.sequence, frame.payload) == (protocol.PONG, 7, payload)
    finally:
        running.close()


# ---- building ----------------------------------------------------------------------------------------------------------


def test_build_command(firmware, tmp_path):
    out = tmp_path / "fw.elf"
    told_json = CliRunner().invoke(build_command, ["cortex-m7", "--out", str(out), "--json"], standalone_mode=False)
    made = json.loads(told_json.stdout)
    assert made["path"] == str(out) and out.read_bytes() == firmware.read_bytes()
    assert not made["made"] and made["text"] > 50_000 and made["bss"] > 100_000
    assert made["messages"] == protocol.messages_fingerprint()
    text = CliRunner().invoke(build_command, ["cortex-m7"], standalone_mode=False).stdout
    assert str(firmware) in text and "code and constants" in text


def test_changed_sources_are_built_again(firmware, monkeypatch):
    made = []
    monkeypatch.setattr(board_build, "firmware_fingerprint", lambda tree: "0" * 16)
    monkeypatch.setattr(board_build, "_make", lambda tree, folder, serial: made.append(folder) or board_build.Firmware(
        str(folder / "x"), "", serial, "", "", "", "", 0, 0, 0))
    board_build.build()
    assert made == [firmware.parent]


def test_missing_tools_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(board_build, "TOOLS", {"cmake": "cmake", "no-such-gcc": "gcc-arm-none-eabi"})
    with pytest.raises(BenchUnavailable, match=r"not installed: no-such-gcc \(apt: gcc-arm-none-eabi\)") as caught:
        board_build.build()
    assert caught.value.exit_code == 4


def test_sources_that_are_not_there(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"--source: .* does not hold the sources of flightsw"):
        board_build.build(source=tmp_path)
    monkeypatch.setattr(board_build.flightsw, "__file__", str(tmp_path / "site-packages" / "flightsw" / "__init__.py"))
    with pytest.raises(ConfigError, match="--source: is needed: this flightsw was installed without its sources"):
        board_build.build()
    with pytest.raises(BenchUnavailable, match="there is no firmware: --source"):
        board_build.cached()


def test_other_sources_are_refused(monkeypatch):
    monkeypatch.setattr(board_build, "source_fingerprint", lambda native: "f" * 16)
    with pytest.raises(ConfigError, match="are not those that the flightsw which runs here was built from"):
        board_build.build()


@pytest.mark.parametrize("text", ["", "a" * 64, 'a"b', "a;b", "ä"])
def test_bad_serial_number(text):
    with pytest.raises(ConfigError, match="--serial: 1 to 63 printable ASCII"):
        board_build.build(serial=text)


def test_compiler_that_fails(monkeypatch, tmp_path):
    with pytest.raises(BenchUnavailable, match="firmware cannot be built: sh says:\nbroken"):
        board_build._run(["sh", "-c", "echo broken; exit 3"])


# ---- a board of one's own ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_board(firmware, tmp_path_factory):
    """examples/board_c, built in a copy beside the bench files: (folder, its bench file)."""
    root = tmp_path_factory.mktemp("own")
    shutil.copytree(CONFIGS, root / "bench_configs")
    folder = root / "examples" / "board_c"
    shutil.copytree(CONFIGS.parent / "examples" / "board_c", folder, ignore=shutil.ignore_patterns("build"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={CONFIGS.parent}/cmake/cortex-m7.cmake"
    for build, more in (("build/m7", [toolchain]), ("build/host", [])):
        for command in (["-G", "Ninja", "-S", ".", "-B", build, f"-DPython_EXECUTABLE={sys.executable}", *more], ["--build", build]):
            done = subprocess.run(["cmake", *command], cwd=folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder, folder / "bench.toml"


def over(where, path, ticks=300, **remote):
    """Last reading and state of all after so many ticks. A board with outputs wants no pause above 90 ms: a loaded computer tries again."""
    loaded = Bench.load(path, ["gauge.pressure.lamp_pa=200000"],
                        overlay={"node": [{"name": "gauge", "where": where}], **({"remote": {"gauge": remote}} if remote else {})})
    for attempt in range(5):
        try:
            with loaded.start(seed=3) as flight:
                flight.step(ticks)
                return flight.node("gauge").topic("pressure").tobytes(), flight.graph.digests()
        except BenchUnavailable as exc:
            if "silent for too long" not in str(exc) or attempt == 4:
                raise
    raise AssertionError


def test_own_board_is_the_same_everywhere(own_board):
    """In process, as firmware over both of its ports, and as a program over a pseudo-terminal."""
    folder, path = own_board
    here = over("here", path)
    assert np.frombuffer(here[0], "<f8")[1] == pytest.approx(101325.0, rel=0.01)  # it follows with a lag
    assert over("emulator:gauge", path) == here
    assert over("emulator:gauge", path, port="uart", firmware="build/m7/pressure_board") == here
    program = subprocess.Popen([folder / "build/host/pressure_board"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert over("serial:gauge", path, port=program.stdout.readline().strip(), serial="emulated-0001") == here
    finally:
        program.kill()
        program.communicate()


def test_lamp_goes_out_when_the_bench_falls_silent(own_board):
    folder, path = own_board
    program = subprocess.Popen([folder / "build/host/pressure_board"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        tty = program.stdout.readline().strip()
        loaded = Bench.load(path, ["gauge.pressure.lamp_pa=200000"],
                            overlay={"node": [{"name": "gauge", "where": "serial:gauge"}], "remote": {"gauge": {"port": tty}}})
        with loaded.start(seed=3) as flight:
            flight.step(1)
            said = [program.stderr.readline() for _ in range(2)]
            began = time.monotonic()
            said.append(program.stderr.readline())
            assert said == ["lamp off\n", "lamp on\n", "lamp off\n"]
            assert time.monotonic() - began < 1.0  # 0.1 s, on a computer that is not overloaded
            with pytest.raises(BenchUnavailable, match="silent for too long"):
                flight.step(1)
    finally:
        program.kill()
        program.communicate()


def test_other_firmware_refuses_the_task(own_board, firmware):
    with pytest.raises(BenchUnavailable, match=r"a task of the bundle is not linked into this board|the board is a flight_computer"):
        over("emulator:gauge", own_board[1], firmware=str(firmware))


# ---- the report --------------------------------------------------------------------------------------------------------


def test_report_shows_the_link(firmware, tmp_path):
    result = run_bench(Bench.load(CONFIGS / "pil_cortex_m7.toml", ["bench.duration_s=0.2"]), 1, tmp_path)
    page = (result.run_dir / "report.html").read_text("utf-8")
    assert "bit-identical" in page and "cortex_m7" in page and "answered" in page
    run = json.loads((result.run_dir / "run.json").read_text("utf-8"))
    run["links"]["comparison"] |= {"identical": False, "sentence": "tick 5: <b>"}
    run["links"]["groups"][0]["round_trip_us"] = {"count": 0}
    (result.run_dir / "run.json").write_text(json.dumps(run), "utf-8")
    write_report(result.run_dir)
    page = (result.run_dir / "report.html").read_text("utf-8")
    assert "tick 5: &lt;b&gt;" in page and "bit-identical" not in page


def test_exit_code_of_a_run(firmware, tmp_path, monkeypatch):
    monkeypatch.setattr(told, "compare_in_process", lambda *a: {"identical": False, "sentence": "x", "boards": []})
    monkeypatch.setattr("hil.run.compare_in_process", told.compare_in_process)
    code = CliRunner().invoke(run_command, [str(CONFIGS / "pil_cortex_m7.toml"), "--set", "bench.duration_s=0.05", "--set", "bench.expect=lost",
                                            "--no-report", "--out", str(tmp_path)], standalone_mode=False).return_value
    assert code == 1


# ---- pacing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("port", "pacing", "against_the_clock", "until"), [
    ("ethernet", "lockstep", True, 1.5), ("ethernet", "free", True, 1.5), ("ethernet", "free", False, 1.5), ("uart", "free", False, 0.4)])
def test_every_pacing_replays_identically_twice(firmware, tmp_path, port, pacing, against_the_clock, until):
    """With free pacing what the board's answers meet depends on the computer; what it made of what entered it does not."""
    overlay = {"remote": {"m7": {"port": port, "pacing": pacing, "on_loss": "hold_last", "hold_ticks": 1000}}}
    loaded = Bench.load(CONFIGS / "pil_cortex_m7.toml", overlay=overlay, real_time=against_the_clock or None)
    with loaded.start(seed=1, log=tmp_path / "a.mcap") as flight:
        flight.run(until=until)
        counters = flight._remote.groups[0].counters
    ticks = round(until * 1000)
    assert 0 < counters["answered"] <= ticks and counters["corrupt"] == counters["wrong_tick"] == 0
    for _ in range(2):
        result = replay(Log.open(tmp_path / "a.mcap"))
        assert result.identical and result.exact and result.ticks == ticks, result.divergence
