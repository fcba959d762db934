"""Commands: the host's bytes and the receiver's C are the same, nothing hostile passes, and no engine starts without ARM and FIRE.

Every state of the permit and the receiver's limits are tested in C: native/test/test_command.c and test_command_permit.c.
`python tests/fuzz/forged_commands.py --commands 1e7` does at length what is sampled here.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import re
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzz import forged_commands
from fuzz.frame_programs import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

import hil
from flightsw._native import ffi, lib
from flightsw.cli import run_cli
from flightsw.errors import ConfigError
from flightsw.log import Log
from hil import commands
from hil.story import events

BENCH = ROOT / "bench_configs" / "zhuque3_commanded.toml"
KEY = bytes(range(32))
U64 = st.integers(0, 2**64 - 1)
KEYS = st.binary(min_size=16, max_size=32)


def c_key(key: bytes) -> Any:
    out = ffi.new("fsw_command_key_t *")
    out.bytes, out.size = key.ljust(32, b"\0"), len(key)
    return out


class Receiver:
    """The C receiver, as a flight has it."""

    def __init__(self, key: bytes) -> None:
        self.key, self.state, self.out = c_key(key), ffi.new("fsw_command_receiver_t *"), ffi.new("fsw_command_t *")
        self.t_ns = 0

    def open(self, data: bytes) -> int:
        self.t_ns += 10**9
        return int(lib.fsw_command_open(self.key, data, len(data), self.state, self.t_ns, self.out))


# ---- the same on both sides ------------------------------------------------------------------------------------------------


@given(KEYS, U64, U64, st.integers(0, 65535), st.integers(0, 65535), st.binary(min_size=4, max_size=4))
def test_c_makes_the_tag_that_hashlib_makes(key: bytes, counter: int, token: int, command: int, source: int, reserved: bytes) -> None:
    signed = struct.pack("<QQHH", counter, token, command, source) + reserved
    there, back, made = ffi.new("fsw_command_t *"), ffi.new("uint8_t[40]"), ffi.new("uint8_t[16]")
    there.counter, there.token, there.id, there.source, there.pad0 = counter, token, command, source, list(reserved)
    lib.fsw_command_pack(there, back)
    assert bytes(back)[:24] == signed
    lib.fsw_command_tag(c_key(key), back, made)
    wanted = hashlib.blake2s(signed, key=key, digest_size=16).digest()
    assert bytes(made) == wanted == commands.tag(key, signed)
    lib.fsw_command_unpack(signed + wanted, there)
    assert (there.counter, there.token, there.id, there.source, bytes(there.pad0)) == (counter, token, command, source, reserved)
    assert bytes(there.tag) == wanted


@given(KEYS, U64)
def test_c_makes_the_token_that_hashlib_makes(key: bytes, counter: int) -> None:
    assert lib.fsw_command_token(c_key(key), counter) == commands.token_of(key, counter) != 0


def test_the_message_is_the_wire_format() -> None:
    assert ffi.sizeof("fsw_command_t") == commands.COMMAND_BYTES == lib.FSW_COMMAND_BYTES
    assert [ffi.offsetof("fsw_command_t", f) for f in ("counter", "token", "id", "source", "pad0", "tag")] == [0, 8, 16, 18, 20, 24]
    assert (commands.DISARM, commands.ARM, commands.FIRE, commands.ABORT) == (
        lib.FSW_COMMAND_DISARM, lib.FSW_COMMAND_ARM, lib.FSW_COMMAND_FIRE, lib.FSW_COMMAND_ABORT)
    assert commands.TOKEN_S * 1e9 == lib.FSW_PERMIT_TOKEN_NS
    assert (commands.KEY_MIN, commands.KEY_MAX, commands.TAG_BYTES) == (lib.FSW_COMMAND_KEY_MIN, lib.FSW_COMMAND_KEY_MAX, lib.FSW_COMMAND_TAG)


@given(KEYS, st.lists(st.sampled_from(["arm", "fire", "disarm", "abort"]), min_size=1, max_size=8), st.integers(1, 2**64 - 1))
@settings(max_examples=30, deadline=None)
def test_what_the_sender_makes_the_receiver_takes_once(tmp_path_factory: pytest.TempPathFactory, key: bytes, words: list[str],
                                                       token: int) -> None:
    sender = commands.CommandSender(key, tmp_path_factory.mktemp("count") / "counter", 9)
    receiver, sent = Receiver(key), []
    for word in words:
        made = sender.fire(token) if word == "fire" else getattr(sender, word)()
        assert receiver.open(made.data) == lib.FSW_COMMAND_ACCEPTED
        out = receiver.out
        assert (out.counter, out.id, out.source) == (made.counter, made.id, 9)
        assert out.token == (commands.token_of(key, made.counter) if word == "arm" else made.token)
        sent.append(made.data)
        assert {receiver.open(data) for data in sent} == {lib.FSW_COMMAND_REFUSED_COUNTER}


# ---- hostile commands ----------------------------------------------------------------------------------------------------------


def test_no_hostile_command_is_accepted(tmp_path: Path) -> None:
    done = forged_commands.attack(100_000, tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"hostile commands: 100000, accepted: 0; genuine in between: (\d+), accepted: \1;", done.stdout)


@pytest.mark.parametrize(("right", "wrong"), [
    ("if (c->counter <= r->counter) return", "if (c->counter < r->counter) return"),
    ("if (c->counter <= r->counter) return", "if ((int64_t)(c->counter - r->counter) <= 0) return"),
    ("fsw_same_secret(tag, bytes + FSW_COMMAND_SIGNED, FSW_COMMAND_TAG)", "fsw_same_secret(tag, bytes + FSW_COMMAND_SIGNED, 2)"),
    ("if (n != FSW_COMMAND_BYTES) return", "if (n > FSW_COMMAND_BYTES) return"),
    ("bytes, FSW_COMMAND_SIGNED, tag,", "bytes, 23, tag,"),
    ("  r->counter = c->counter;\n", ""),
])
def test_a_receiver_with_a_hole_is_found_out(tmp_path: Path, right: str, wrong: str) -> None:
    source = forged_commands.SOURCES[1]
    text = source.read_text("utf-8")
    assert right in text
    holed = tmp_path / "receiver.c"
    holed.write_text(text.replace(right, wrong, 1), "utf-8")
    test, _, hashing = forged_commands.SOURCES
    assert forged_commands.attack(200_000, tmp_path, (test, holed, hashing)).returncode == 1


def test_the_attack_by_command() -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, forged_commands.__file__, *words], capture_output=True, text=True)

    assert "hostile commands: 2000, accepted: 0" in run("--commands", "2e3").stdout
    for words in ("0", "1.5", "1e13", "x"):
        done = run("--commands", words)
        assert done.returncode == 2
        assert "a whole number from 1 to 1e12 is wanted" in done.stderr


# ---- keys and counters on the host ---------------------------------------------------------------------------------------------


def key_file(path: Path, key: bytes = KEY) -> Path:
    path.write_text(key.hex() + "\n")
    path.chmod(0o600)
    return path


def test_a_key_made_by_keygen_is_read_and_never_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "range.key"
    assert run_cli(["board", "keygen", str(path)]) == 0
    key = commands.read_key(path)
    assert len(key) == 32
    assert key.hex() not in capsys.readouterr().out
    sender = commands.CommandSender(key, tmp_path / "counter")
    assert key.hex() not in repr(sender) and repr(key) not in repr(sender)
    with pytest.raises(TypeError, match="holds a key"):
        pickle.dumps(sender)
    assert key.hex() not in repr(sender.arm())


@pytest.mark.parametrize("size", [16, 24, 32])
def test_keys_of_every_length_that_is_allowed(tmp_path: Path, size: int) -> None:
    assert commands.read_key(key_file(tmp_path / "k", KEY[:size])) == KEY[:size]


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda p: p.chmod(0o640), "open to others (mode 0640): chmod 600 it"), (lambda p: p.unlink(), "flightsw board keygen"),
    (lambda p: p.write_text("0" * 30), "32 to 64 hexadecimal digits"), (lambda p: p.write_text("0" * 33), "32 to 64 hexadecimal digits"),
    (lambda p: p.write_text("0" * 66), "32 to 64 hexadecimal digits"), (lambda p: p.write_text("g" * 64), "32 to 64 hexadecimal digits"),
    (lambda p: p.write_bytes(b"\xff" * 64), "32 to 64 hexadecimal digits"), (lambda p: p.write_text("00 " * 16), "32 to 64 hexadecimal digits"),
    (lambda p: p.write_text("0" * 64 + " " * 2000), "32 to 64 hexadecimal digits"),
    (lambda p: p.rename(p.with_name("o")) and p.symlink_to(p.with_name("o")), "cannot be read"),
    (lambda p: p.unlink() or p.mkdir(), "not a regular file"), (lambda p: p.unlink() or os.mkfifo(p), "not a regular file"),
])
def test_key_files_that_are_refused(tmp_path: Path, spoil: Callable[[Path], object], says: str) -> None:
    path = key_file(tmp_path / "range.key")
    spoil(path)
    with pytest.raises(ConfigError) as caught:
        commands.read_key(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert KEY.hex()[:16] not in str(caught.value)


def test_a_key_in_an_inherited_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(commands.KEY_FD, raising=False)
    assert commands.inherited_key() is None
    read, write = os.pipe()
    os.write(write, KEY.hex().encode())
    os.close(write)
    monkeypatch.setenv(commands.KEY_FD, str(read))
    assert commands.inherited_key() == KEY
    assert commands.KEY_FD not in os.environ
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)
    for number in (str(read), "x", "-1", "9" * 30):
        monkeypatch.setenv(commands.KEY_FD, number)
        with pytest.raises(ConfigError, match="is not the number of an open descriptor"):
            commands.inherited_key()


def test_an_inherited_file_must_be_closed_to_others_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file(tmp_path / "k")
    path.chmod(0o604)
    monkeypatch.setenv(commands.KEY_FD, str(os.open(path, os.O_RDONLY)))
    with pytest.raises(ConfigError, match="open to others"):
        commands.inherited_key()
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setenv(commands.KEY_FD, str(write))
    with pytest.raises(ConfigError, match="cannot be read"):
        commands.inherited_key()


def take(path: Path, n: int, out: Any) -> None:
    counter = commands.Counter(path)
    out.put([counter.next() for _ in range(n)])


def test_no_counter_is_given_twice(tmp_path: Path) -> None:
    context, path = multiprocessing.get_context("spawn"), tmp_path / "counter"
    out = context.Queue()
    processes = [context.Process(target=take, args=(path, 50, out)) for _ in range(3)]
    for p in processes:
        p.start()
    given_out = [out.get(timeout=60) for _ in processes]
    for p in processes:
        p.join()
    assert sorted(n for some in given_out for n in some) == list(range(1, 151))
    assert all(some == sorted(some) for some in given_out)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_counter_is_on_disk_before_the_command_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counter"
    sender = commands.CommandSender(KEY, path)
    on_disk = []
    monkeypatch.setattr(commands, "tag", lambda key, signed: on_disk.append(path.read_text()) or b"\0" * 16)
    assert [sender.arm().counter, sender.abort().counter] == [1, 2]
    assert on_disk == ["1\n", "2\n"]
    assert commands.CommandSender(KEY, path).disarm().counter == 3


def test_a_counter_that_cannot_be_written_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counter"
    path.write_text("41\n")
    sender = commands.CommandSender(KEY, path)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
            sender.arm()
    assert path.read_text() == "41\n"
    assert sender.arm().counter == 42


@pytest.mark.parametrize("text", ["", "x", "-1\n", "1.5", "1 2", "18446744073709551616", "9" * 30, "\xff", "1\n2\n"])
def test_a_counter_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "counter"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match="is not a counter of commands"):
        commands.Counter(path).next()
    assert path.read_bytes() == text.encode("latin-1")


def test_limits_of_the_sender(tmp_path: Path) -> None:
    path = tmp_path / "counter"
    path.write_text(str(2**64 - 2))
    sender = commands.CommandSender(KEY, path)
    assert sender.arm().counter == 2**64 - 1
    with pytest.raises(ConfigError, match="at its end"):
        sender.arm()
    for token in (0, -1, 2**64):
        with pytest.raises(ConfigError, match=r"command token: .* allowed 1 to"):
            sender.fire(token)
    for key in (b"", KEY[:15], KEY + b"x"):
        with pytest.raises(ConfigError, match="16 to 32 are wanted"):
            commands.CommandSender(key, path)
    with pytest.raises(ConfigError, match="allowed 0 to 65535"):
        commands.CommandSender(KEY, path, 65536)
    with pytest.raises(ConfigError, match="cannot be locked"):
        commands.Counter(tmp_path / "nowhere" / "counter").next()


# ---- flights -----------------------------------------------------------------------------------------------------------------------


def fly(folder: Path, *sets: str, until: float | None = None) -> tuple[dict[str, Any], Log]:
    """run.json (empty with `until`, s) and log of a flight of the commanded bench."""
    bench = hil.Bench.load(BENCH, list(sets))
    if until is not None:
        with bench.start(log=folder / "flight.mcap") as flight:
            flight.run(until=until)
        return {}, Log.open(folder / "flight.mcap")
    result = hil.run_bench(bench, 3, folder, None, report=False)
    return result.run, Log.open(result.log_path)


def states(log: Log) -> list[int]:
    """Of the permit, each change."""
    every = [int(s) for s in log["/fcc/permit"]["state"]]
    return [s for k, s in enumerate(every) if k == 0 or s != every[k - 1]]


def test_armed_and_fired_it_lands(tmp_path: Path) -> None:
    run, log = fly(tmp_path)
    assert run["outcome"] == "lands" and run["met"], [c for c in run["criteria"] if not c["ok"]]
    assert states(log)[:3] == [lib.FSW_PERMIT_SAFE, lib.FSW_PERMIT_ARMED, lib.FSW_PERMIT_FIRE]
    told = log["/fcc/permit"]
    assert (told["t_expires_ns"] != 0).tolist() == (told["token"] != 0).tolist() == (told["state"] == lib.FSW_PERMIT_ARMED).tolist()
    sent, passed = log["/range/command"], log["/receiver/accepted"]
    assert sent["id"].tolist() == passed["id"].tolist() == [commands.ARM, commands.FIRE]
    assert int(passed["token"][0]) == int(sent["token"][1]) == commands.token_of(KEY, 1)
    assert not passed["tag"].any()


@pytest.mark.parametrize("sets", [("range.script.fire_s=-1",), ("range.script.arm_s=-1",)])
def test_without_both_no_engine_is_ever_started(tmp_path: Path, sets: tuple[str, ...]) -> None:
    run, log = fly(tmp_path, *sets, "bench.expect=lost")
    assert run["outcome"] == "lost" and run["met"]
    assert run["summary"]["engines_started"] == []
    story = {e.name for e in events(log)}
    assert "IGNITION_DECIDED" in story  # guidance wanted them
    assert "ENGINE_START" not in story
    assert not any(log[f"/fcc/engine_cmd{k}"]["valves"].any() for k in range(9))  # nor made ready
    assert lib.FSW_PERMIT_FIRE not in states(log)


def test_disarmed_while_it_burns_it_lands_on_the_engine_that_runs(tmp_path: Path) -> None:
    run, log = fly(tmp_path, "range.script.disarm_s=35")
    assert run["outcome"] == "lands"
    assert states(log) == [lib.FSW_PERMIT_SAFE, lib.FSW_PERMIT_ARMED, lib.FSW_PERMIT_FIRE, lib.FSW_PERMIT_SAFE]
    burning = [e.t_s for e in events(log) if e.name in ("ENGINE_LIT", "LANDED")]
    assert len(burning) == 2 and burning[0] < 35.0 < burning[1]


def test_aborted_while_it_burns_every_valve_closes(tmp_path: Path) -> None:
    _, log = fly(tmp_path, "range.script.abort_s=35", until=36.0)
    for k in range(9):
        given = log[f"/fcc/engine_cmd{k}"]
        late = log.records(f"/fcc/engine_cmd{k}").times() > 35.0215e9  # 20 ms by radio, a tick from the receiver
        assert late.any() and not given["valves"][late].any()
        assert k != 0 or given["valves"][~late].any()
    assert states(log)[-1] == lib.FSW_PERMIT_ABORT


def test_the_token_expires(tmp_path: Path) -> None:
    _, log = fly(tmp_path, "range.script.fire_s=-1", until=12.0)
    assert states(log) == [lib.FSW_PERMIT_SAFE, lib.FSW_PERMIT_ARMED, lib.FSW_PERMIT_SAFE]
    armed = log["/fcc/permit"]["t_ns"][log["/fcc/permit"]["state"] == lib.FSW_PERMIT_ARMED]
    assert 9.9e9 <= armed[-1] - armed[0] < 10e9


def test_hostile_commands_change_nothing_in_flight(tmp_path: Path) -> None:
    hostile = ["range.script.replay_s=3", "range.script.flip_s=4", "range.script.flip_bit=130", "range.script.forge_s=5"]
    _, log = fly(tmp_path, *hostile, until=6.0)
    assert len(log["/range/command"]) == 5
    assert log["/receiver/accepted"]["id"].tolist() == [commands.ARM, commands.FIRE]
    assert log["/receiver/status"]["reason"].tolist() == [0, 0, lib.FSW_COMMAND_REFUSED_COUNTER, lib.FSW_COMMAND_REFUSED_TAG,
                                                          lib.FSW_COMMAND_REFUSED_TAG]
    assert states(log)[-1] == lib.FSW_PERMIT_FIRE


def test_no_key_in_the_flight_computer(tmp_path: Path) -> None:
    """Neither in its load blob nor in its image nor in a message; the simulated receiver, in whose place there is a board, has it in both."""
    with hil.Bench.load(BENCH).start(log=tmp_path / "flight.mcap") as flight:
        flight.run(until=3.0)
        blobs = {n.name: n.compiled.blob for n in flight.graph.nodes.values()}
        images = flight.snapshot().images
    for held in (blobs, images):
        assert {name for name, data in held.items() if KEY in bytes(data)} == {"range", "receiver"}
    log = Log.open(tmp_path / "flight.mcap")
    assert not any(KEY in log[topic].tobytes() for topic in log.topics)
