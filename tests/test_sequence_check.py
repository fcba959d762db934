"""`flightsw sequence check`: a good sequence is explored to its end, a bad one is answered with the shortest way to what it violates."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from flightsw._native import ffi, lib
from flightsw.cli import run_cli
from hil.sequence import Sequence
from hil.sequence.load import compile_sequence
from hil.sequence.proof import Explorer, Proof, c_table
from hil.sequence.timeline import timeline, told

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "bench_configs" / "sequences" / "tq12_class.toml"
# the shipped sequence with short times, so that an exploration takes a second
_SHORT = {"start_max_s": 0.12, "igniter_s": 0.11, "unburnt_kg": 1.8, "rearm_s": 0.03, "recover_s": 0.03, "gate_s": 0.07, "purge_min_s": 0.04}
_SHORT_STEPS = {
    "purge": ("lasts_s = 0.5", "lasts_s = 0.04"), "check": ("max_s = 2.0", "max_s = 0.05"), "chill": ("max_s = 30.0", "max_s = 0.06"),
    "igniter": ("max_s = 0.2", "max_s = 0.04"), "closed": ("lasts_s = 0.28", "lasts_s = 0.03"), "after": ("lasts_s = 1.0", "lasts_s = 0.04"),
}


def in_step(step: str, old: str, new: str, text: str) -> str:
    head, mark, rest = text.partition(f'[[step]]\nname = "{step}"')
    assert mark and old in rest.partition("[[step]]")[0], (step, old)
    return head + mark + rest.replace(old, new, 1)


def short_text() -> str:
    text = SHIPPED.read_text("utf-8").replace("starts = 3 ", "starts = 2 ")
    for key, value in _SHORT.items():
        text, n = re.subn(rf"(?m)^{key} = [\d.]+", f"{key} = {value}", text)
        assert n == 1, key
    for step, (old, new) in _SHORT_STEPS.items():
        text = in_step(step, old, new, text)
    return text


SHORT = short_text()


def sequence(text: str) -> Sequence:
    return compile_sequence(text, Path("seq.toml"))


def explored(text: str) -> tuple[Sequence, Proof]:
    compiled = sequence(text)
    return compiled, Explorer(compiled).run()


def test_a_good_sequence_holds_in_every_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, svg = tmp_path / "short.toml", tmp_path / "short.svg"
    file.write_text(SHORT, "utf-8")
    assert run_cli(["-q", "sequence", "check", str(file), "--svg", str(svg)]) == 0
    said = capsys.readouterr().out
    assert "all 40 invariants hold in every reachable state under every input" in said
    assert f"state diagram: {svg}" in said
    assert "check           check" in said
    assert "unburnt 1.8 kg = 0.06 s" in said
    found = re.search(r"explored: (\d+) states, (\d+) transitions", said)
    assert found is not None
    assert int(found[1]) > 1000 and int(found[2]) > 100 * int(found[1])
    assert "FAILS" not in said and "enumerated apart" in said
    assert ElementTree.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_same_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "short.toml"
    file.write_text(in_step("igniter", 'keep = ["link"]\n', "", SHORT), "utf-8")
    assert run_cli(["-q", "sequence", "check", str(file), "--svg", str(tmp_path / "x.svg"), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    proof = said["proof"]
    assert (proof["holds"], proof["complete"]) == (False, True)
    assert [i["name"] for i in proof["invariants"] if not i["holds"]] == ["I11"]
    (example,) = proof["counter_examples"]
    assert example["timeline"][0]["step"] == "OFF -> check"
    assert said["parameters"]["seq_steps"] == 10


def test_a_vehicle_file_stands_for_the_sequence_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture goes to the current folder by default."""
    monkeypatch.chdir(tmp_path)
    vehicle = ROOT / "bench_configs" / "vehicles" / "zhuque3.toml"
    assert run_cli(["sequence", "check", str(vehicle), "--no-explore"]) == 0
    said = capsys.readouterr().out
    assert "TQ-12 class engine, oxidiser first: 10 steps" in said and "explored" not in said
    assert (tmp_path / "tq12_class.svg").is_file()


# ---- what is wrong, and the shortest way to it --------------------------------------------------------------------------

_PURGE = re.compile(r'\[\[step\]\]\nname = "purge".*?(?=\[\[step\]\])', re.S)
BAD = {
    "fuel first": (in_step("lead", '"oxidiser"', '"fuel"', SHORT), "I1", "igniter -> lead"),
    "both at once": (in_step("lead", '"oxidiser"', '"oxidiser", "fuel"', SHORT), "I1", "igniter -> lead"),
    "no purge": (_PURGE.sub("", SHORT), "I2", "igniter -> lead"),
    "short purge": (in_step("purge", "lasts_s = 0.04", "lasts_s = 0.03", SHORT), "I2", "igniter -> lead"),
    "warm start": (in_step("chill", '"pump_cold", ', "", SHORT), "I3", "chill -> igniter"),
    "purge into propellant": (in_step("lead", '"oxidiser"]', '"oxidiser", "purge"]', SHORT), "I9", "igniter -> lead"),
    "deaf to the link": (in_step("igniter", 'keep = ["link"]\n', "", SHORT), "I11", "igniter -> lead"),
    "igniter in main stage": (in_step("main", '["oxidiser", "fuel"]', '["igniter", "oxidiser", "fuel"]', SHORT), "I13", "rise -> main"),
    "igniter not confirmed": (in_step("igniter", 'leave_if = ["igniter"]', "leave_if = []", SHORT), "I22", "igniter -> lead"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_sequence_is_answered_with_the_shortest_way_to_what_it_violates(what: str) -> None:
    text, invariant, last = BAD[what]
    compiled, proof = explored(text)
    assert not proof.holds and proof.complete
    example = next(c for c in proof.counter_examples if c.invariant.name == invariant)
    lines = timeline(compiled, example)
    assert lines[0].step == "OFF -> check" and lines[-1].step == last
    # it ends in the state that the C comes to with the same inputs, in time that passes step by step
    table, _ = c_table(compiled)
    engine, out = ffi.new("fsw_seq_engine_t *"), ffi.new("fsw_seq_out_t *")
    lib.fsw_seq_engine_init(engine)
    for move in example.moves:
        lib.fsw_seq_step(engine, move.is_, table, out)
    assert (engine.row, engine.valves) == (example.moves[-1].row, example.moves[-1].valves)
    assert lines[-1].last_s == pytest.approx(sum(m.advances for m in example.moves) * 0.01)
    text_lines = told(compiled, example)
    assert text_lines[0] == f"violated: {invariant}, {example.invariant.text}"
    assert text_lines[-1] == f"  the last move violates {invariant}"


def test_the_timeline_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Purge too short: one step into check, three in it, three of purge, one to be ready, one of igniter."""
    file = tmp_path / "bad.toml"
    file.write_text(BAD["short purge"][0], "utf-8")
    assert run_cli(["-q", "sequence", "check", str(file), "--svg", str(tmp_path / "x.svg")]) == 1
    said = capsys.readouterr().out
    assert "39 of 40 invariants hold" in said
    block = said.partition("violated: I2, a main valve opens only after the purge has run for its least time in one go\n")[2].splitlines()
    assert re.fullmatch(r"  shortest way there, from OFF: \d+ moves, 9 steps of time, 0\.09 s", block[0]), block[0]
    assert block[1].split() == ["time", "s", "step", "energised", "commanded", "holds", "changed", "said"]
    table = [re.split(r"  +", line.strip()) for line in block[2:]]
    steps = [row[1] for row in table if len(row) > 2]
    assert [s for s in steps if "->" in s] == ["OFF -> check", "check -> purge", "purge -> chill", "chill -> igniter", "igniter -> lead"]
    start = next(row for row in table if row[1:2] == ["chill -> igniter"])
    assert start[2] == "igniter" and "RUN" in start[3] and "pump_cold" in start[4] and start[6] == "ENGINE_START"
    assert next(row for row in table if row[1:2] == ["igniter -> lead"])[2] == "igniter oxidiser"


def test_the_way_is_the_shortest() -> None:
    """Nothing reaches propellant in fewer steps: 1 into check, 3 in it, purge 4, hold 1, igniter 1; the start itself takes no time."""
    _, proof = explored(BAD["both at once"][0])
    example = next(c for c in proof.counter_examples if c.invariant.name == "I1")
    assert sum(m.advances for m in example.moves) == 1 + 3 + 4 + 1 + 1


# ---- the exploration itself ---------------------------------------------------------------------------------------------


def test_every_step_and_every_flip_is_made() -> None:
    compiled, proof = explored(SHORT)
    assert proof.holds
    assert all(n > 0 for n in proof.rows[: 3 + len(compiled.rows)]) and sum(proof.rows) == proof.states
    assert proof.flips >= proof.states * 20 * 8 * 8  # states x bits x inputs, at least


def test_memory_that_is_too_small_grows_and_one_that_may_not_proves_nothing() -> None:
    compiled, proof = explored(SHORT)
    grown = Explorer(compiled, nodes=256).run(flips=False)
    assert (grown.states, grown.transitions, grown.holds) == (proof.states, proof.transitions, True)
    small = Explorer(compiled, nodes=256, most=1000).run()
    assert not small.complete and not small.holds


def test_an_interrupted_check_ends_with_130(tmp_path: Path) -> None:
    # where the tests run in the background, SIGINT is ignored by what they start
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from flightsw.cli import main; main()"
    args = [sys.executable, "-c", code, "sequence", "check", str(SHIPPED), "--svg", str(tmp_path / "x.svg")]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    assert first.startswith("exploring: ")
    assert process.returncode == 130
    assert "interrupted" in rest and "Traceback" not in rest


def test_files_that_cannot_be_used_end_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = tmp_path / "bare.toml"
    bare.write_text('[vehicle]\nname = "x"\n', "utf-8")
    for args, sentence in (
        ([str(tmp_path / "none.toml")], "none.toml: there is no such file"),
        ([str(bare)], "bare.toml: sequence: is missing: neither a sequence file, nor a vehicle file"),
        ([str(SHIPPED), "--no-explore", "--svg", str(tmp_path / "no" / "x.svg")], "--svg: cannot be written: No such file or directory"),
    ):
        assert run_cli(["sequence", "check", *args]) == 2
        assert sentence in capsys.readouterr().err
