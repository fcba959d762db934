"""The replay gate can fail: tasks that depend on more than their inputs, and logs with one wrong bit, are found and named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replay_support import mend

from flightsw._native import include_dir
from flightsw.log import Log
from flightsw.log.mcap_format import MESSAGE_HEAD
from flightsw.replay import Library, Options, replay
from hil import Bench

ROOT = Path(__file__).resolve().parents[1]
TEETH = Path(__file__).parent / "teeth"
DROP = Path(__file__).parent / "drop"
PERIOD = 20  # ticks of the bad task


# ---- tasks that depend on more than their inputs ------------------------------------------------------------------------


def compiled(source: Path, folder: Path) -> Path:
    """A user's library made of one C source."""
    library = folder / f"lib{source.stem}.so"
    subprocess.run(["cc", "-std=c11", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared",
                    f"-I{include_dir()}", "-o", str(library), str(source)], check=True)
    return library


def bench(folder: Path, kind: str, tasks: str = "", plugins: str = "") -> Path:
    """The drop bench with one bad task more, whose output nobody reads."""
    path = folder / "bad.toml"
    path.write_text(f'extends = "{(DROP / "bench.toml").as_posix()}"\n[bench]\nname = "bad"\nduration_s = 1.0\n'
                    f'tasks = ["{(DROP / "tasks.py").as_posix()}"{tasks}]\nplugins = [{plugins}]\n'
                    f'[[node]]\nname = "fcc"\n[[node.task]]\nname = "tooth"\ntype = "{kind}"\nperiod_ticks = {PERIOD}\n', "utf-8")
    return path


def c_bench(folder: Path, name: str) -> Path:
    library = compiled(TEETH / f"{name}.c", folder)
    return bench(folder, f"teeth.{name}", plugins=f'{{ library = "{library.as_posix()}", exact = false }}')


def python_bench(folder: Path, name: str) -> Path:
    return bench(folder, f"teeth.{name}", tasks=f', "{(TEETH / "tasks.py").as_posix()}"')


def fly(loaded: Bench, folder: Path) -> Path:
    """Fly a bench in this process, and leave a log."""
    log = folder / "flight.mcap"
    with loaded.start(seed=1, log=log) as flight:
        flight.run(until=1.0)
    return log


def told(log: Path, *options: str) -> dict[str, Any]:
    """What `flightsw replay --json` says, in a process of its own: other addresses, another hash seed."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env.pop("PYTHONHASHSEED", None)
    done = subprocess.run([sys.executable, "-m", "flightsw.cli", "replay", str(log), "--json", *options], capture_output=True,
                          text=True, env=env, check=False)
    assert done.returncode in (0, 1), done.stderr
    out = json.loads(done.stdout)
    assert out["identical"] == (done.returncode == 0)
    return out


def names_the_tooth(divergence: dict[str, Any]) -> None:
    assert (divergence["node"], divergence["task"], divergence["topic"], divergence["field"]) == ("fcc", "tooth", "tooth", "p_pa")
    assert divergence["kind"] == "value" and divergence["tick"] % PERIOD == 0 and divergence["a_bits"] != divergence["b_bits"]


def not_exact(log: Path, why: str) -> None:
    said = Log.open(log).metadata["run"]["exact"]
    assert said.startswith("not exact: teeth.") and why in said


@pytest.mark.parametrize(("name", "why"), [
    ("clock", "libclock.so calls clock_gettime"), ("random", "librandom.so calls getrandom"),
    ("address", "libaddress.so calls malloc"), ("own_address", "libown_address.so: it is declared with exact=False")])
def test_a_c_task_is_found(tmp_path: Path, name: str, why: str) -> None:
    log = fly(Bench.load(c_bench(tmp_path, name)), tmp_path)
    not_exact(log, why)
    out = told(log)
    names_the_tooth(out["divergence"])
    assert any(n.startswith("flown as not exact: teeth.") and why in n for n in out["notes"])


@pytest.mark.parametrize(("make", "name", "why"), [(c_bench, "memory", "keeps the variable steps_so_far"),
                                                   (python_bench, "py_memory", "changes STEPS[0]")])
def test_a_variable_outside_the_image_is_found(tmp_path: Path, make: Any, name: str, why: str) -> None:
    """In the same process, where it goes on counting."""
    loaded = Bench.load(make(tmp_path, name))
    log = fly(loaded, tmp_path)
    not_exact(log, why)
    d = replay(Log.open(log), library=Library(loaded.task_types, loaded.messages)).divergence
    assert d is not None
    names_the_tooth(d.as_dict())


def test_an_uninitialised_byte_is_found_by_hunting(tmp_path: Path) -> None:
    """It may well be the same in both runs; with unused memory filled with two patterns it is not."""
    loaded = Bench.load(c_bench(tmp_path, "stack"))
    log = Log.open(fly(loaded, tmp_path))
    library = Library(loaded.task_types, loaded.messages)
    found = replay(log, library=library, options=Options(hunt=True))
    assert found.divergence is not None
    names_the_tooth(found.divergence.as_dict())
    if replay(log, library=library).identical:
        assert found.found_with in (0x55, 0xAA) and any("nobody wrote" in n for n in found.notes)


def test_hunting_finds_nothing_where_nothing_is(tmp_path: Path) -> None:
    loaded = Bench.load(DROP / "bench.toml")
    found = replay(Log.open(fly(loaded, tmp_path)), library=Library(loaded.task_types, loaded.messages), options=Options(hunt=True))
    assert found.identical and len(found.hunted) == 2 and found.found_with is None


@pytest.mark.parametrize(("name", "why"), [
    ("py_clock", "tasks.py line 17 uses time.perf_counter"), ("py_random", "uses random.random"),
    ("py_numpy_random", "uses np.random.normal"), ("py_urandom", "uses os.urandom"), ("py_address", "uses id"),
    ("py_hash", "uses hash"), ("py_set", "loops over the set")])
def test_a_python_task_is_found(tmp_path: Path, name: str, why: str) -> None:
    log = fly(Bench.load(python_bench(tmp_path, name)), tmp_path)
    not_exact(log, why)
    for _ in range(4):  # two processes may well order a set the same way, or hash a word to the same 16 bits
        found = told(log)["divergence"]
        if found is not None:
            break
    names_the_tooth(found)


# ---- one wrong bit in the log -------------------------------------------------------------------------------------------

WITH_MORE = """
from flightsw import python_task


@python_task("flip.idle", reads={"outcome": "fsw_outcome_t"}, writes={"touch": "fsw_touch_t"})
def idle(io):
    io.writes["touch"]["seq"] += 1
"""


class Recorded:
    """A log that is exact, to be hurt. library: the software that flew."""

    def __init__(self, path: Path, library: Library) -> None:
        self.path, self.library = path, library
        self.bytes = path.read_bytes()
        self.log = Log.open(path)
        assert self.replay(self.log).identical

    def replay(self, log: Log) -> Any:
        return replay(log, library=self.library)

    def flipped(self, topic: str, message: int, bit: int) -> tuple[Any, int]:
        """(divergence of the log with one bit of a payload turned, tick of that message). The checksums are right."""
        records = self.log.records(topic)
        at = int(records.offsets[message]) + MESSAGE_HEAD + bit // 8
        data = bytearray(self.bytes)
        data[at] ^= 1 << bit % 8
        mend(self.log, data, at)
        changed = self.path.with_name("changed.mcap")
        changed.write_bytes(data)
        opened = Log.open(changed)
        assert opened.complete
        return self.replay(opened).divergence, int(records.times()[message]) // 1_000_000

    def size(self, topic: str) -> int:
        return int(self.log.records(topic).length) - MESSAGE_HEAD


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The drop with decisions not to run tasks, and an input that nobody uses."""
    folder = tmp_path_factory.mktemp("flip")
    (folder / "idle.py").write_text(WITH_MORE, "utf-8")
    path = folder / "flip.toml"
    path.write_text(
        f'extends = "{(DROP / "bench.toml").as_posix()}"\n[bench]\nduration_s = 2.0\n'
        f'tasks = ["{(DROP / "tasks.py").as_posix()}", "idle.py"]\n'
        '[[node]]\nname = "fcc"\n[[node.task]]\nname = "idle"\ntype = "flip.idle"\nperiod_ticks = 5\n'
        '[[link]]\nfrom = "world.outcome"\nto = ["fcc.outcome"]\n', "utf-8")
    loaded = Bench.load(path)
    with loaded.start(seed=1, log=folder / "flight.mcap") as flight:
        for tick in range(0, 2000, 100):
            flight.run(until=tick * 1e-3)
            flight.graph.skip("fcc", [("law", "idle")[tick // 100 % 2]])
        flight.run(until=2.0)
    return Recorded(folder / "flight.mcap", Library(loaded.task_types, loaded.messages))


@pytest.fixture(scope="module")
def hopper(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The first seconds of a flight whose tasks are all in C."""
    path = tmp_path_factory.mktemp("hopper") / "flight.mcap"
    loaded = Bench.load(ROOT / "bench_configs" / "hopper.toml")
    with loaded.start(seed=1, log=path) as flight:
        flight.run(until=3.0)
    return Recorded(path, Library(loaded.task_types, loaded.messages))


def topics(log: Log, inputs: bool) -> list[tuple[str, str, str]]:
    """(topic, message type, task that writes it) of the flight computer's topics with a message in the log."""
    layout = json.loads(log.attachments["layout/fcc"])
    return [(t["name"], t["type"], t["writer"] or "") for t in layout["topics"]
            if (t["writer"] is None) == inputs and f"/fcc/{t['name']}" in log and len(log.records(f"/fcc/{t['name']}").offsets)]


def place(data: st.DataObject, flown: Recorded, topic: str) -> tuple[int, int]:
    """Any bit of any message of a topic."""
    message = data.draw(st.integers(0, len(flown.log.records(topic).offsets) - 1), "message")
    return message, data.draw(st.integers(0, 8 * flown.size(topic) - 1), "bit")


FEW = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(data=st.data())
def test_any_bit_of_the_hoppers_log_is_found_at_its_tick(hopper: Recorded, data: st.DataObject) -> None:
    """Of an input, or of an output in its field."""
    inputs = data.draw(st.booleans(), "inputs")
    topic, kind, task = data.draw(st.sampled_from(topics(hopper.log, inputs)), "topic")
    message, bit = place(data, hopper, f"/fcc/{topic}")
    d, tick = hopper.flipped(f"/fcc/{topic}", message, bit)
    assert d is not None and (d.node, d.tick) == ("fcc", tick)
    if not inputs:
        assert (d.kind, d.task, d.topic) == ("value", task, topic)
        assert d.field == field_at(hopper.library.messages[kind].dtype, bit // 8)


@FEW
@given(data=st.data(), topic=st.sampled_from(["/fcc/radalt", "/fcc/outcome", "/fcc/_skips"]))
def test_any_bit_of_any_input_is_found_at_its_tick(flown: Recorded, data: st.DataObject, topic: str) -> None:
    """Also of an input that no task uses, also in padding, also a decision about a task that does not exist."""
    d, tick = flown.flipped(topic, *place(data, flown, topic))
    assert d is not None and (d.node, d.tick) == ("fcc", tick)
    assert d.kind != "input" or topic.removeprefix("/fcc/") in d.topic.split(", ")


def field_at(dtype: np.dtype[Any], byte: int) -> str:
    """Name of the field that holds a byte, with the index in an array."""
    assert dtype.fields is not None
    for name, (kind, offset, *_) in dtype.fields.items():
        if offset <= byte < offset + kind.itemsize:
            return f"{name}[{(byte - offset) // kind.base.itemsize}]" if kind.shape else name
    raise AssertionError(byte)


@FEW
@given(data=st.data(), topic=st.sampled_from(["/fcc/cmd", "/fcc/touch"]))
def test_any_bit_of_any_output_is_found_in_its_field(flown: Recorded, data: st.DataObject, topic: str) -> None:
    message, bit = place(data, flown, topic)
    d, tick = flown.flipped(topic, message, bit)
    dtype = flown.library.messages[{"/fcc/cmd": "fsw_engine_cmd_t", "/fcc/touch": "fsw_touch_t"}[topic]].dtype
    assert d is not None and (d.kind, d.tick, f"/{d.node}/{d.topic}") == ("value", tick, topic)
    assert d.task == {"/fcc/cmd": "law", "/fcc/touch": "idle"}[topic] and d.field == field_at(dtype, bit // 8)
    a, b = (np.frombuffer(bytes.fromhex(x), np.uint8) for x in (d.a_bits, d.b_bits))
    assert int(np.unpackbits(a ^ b).sum()) == 1


def test_a_lost_and_an_invented_decision_are_found(flown: Recorded) -> None:
    """The task of a turned bit runs, or does not, in that tick."""
    times = flown.log.records("/fcc/_skips").times()
    assert len(times) == 20
    for message, bit in ((4, 0), (4, 1), (5, 1)):
        d, tick = flown.flipped("/fcc/_skips", message, bit)
        assert d is not None and d.tick == tick == 100 * message


def test_the_bits_of_a_digest_of_inputs_are_themselves_held(flown: Recorded) -> None:
    """Whoever changes the digest instead of the input is found as well."""
    d, _ = flown.flipped("/fcc/_inputs", 3, 64 + 64 * 10 + 5)
    assert d is not None and d.kind == "input" and d.tick == int(flown.log["/fcc/_inputs"]["first_tick"][3]) + 10
