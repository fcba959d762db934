"""Sequence files: what a good one compiles to, and the sentence for everything that can be wrong with one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flightsw._native import ffi, lib
from flightsw.cli import run_cli
from flightsw.errors import ConfigError
from hil.bench import Bench
from hil.sequence import Sequence, diagram, load_sequence
from hil.sequence.load import compile_sequence
from hil.sequence.proof import c_table

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "bench_configs" / "sequences" / "tq12_class.toml"
TEXT = SHIPPED.read_text("utf-8")


def compiled(text: str) -> Sequence:
    return compile_sequence(text, Path("seq.toml"))


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compiled(text)
    return [str(p) for p in caught.value.problems]


def with_(old: str, new: str, text: str = TEXT) -> str:
    assert text.count(old) == 1, (old, text.count(old))
    return text.replace(old, new)


def in_step(step: str, old: str, new: str, text: str = TEXT) -> str:
    """Text with a line of one step changed."""
    head, mark, rest = text.partition(f'[[step]]\nname = "{step}"')
    assert mark and old in rest.partition("[[step]]")[0], (step, old)
    return head + mark + rest.replace(old, new, 1)


# ---- what it compiles to ------------------------------------------------------------------------------------------------


def test_the_shipped_sequence_compiles_to_the_numbers_of_the_sequencer_before_it() -> None:
    """Times in steps of 10 ms, as the sequencer with a fixed sequence had them as defaults of its parameters."""
    table, limits = c_table(load_sequence(SHIPPED))
    assert (table.n_rows, table.max_starts, table.start_max, table.igniter_limit, table.unburnt_limit) == (13, 3, 220, 240, 130)
    rows = [table.row[k] for k in range(table.n_rows)]
    assert [(r.min, r.max) for r in rows[1:]] == [(20, 20), (20, 20), (3, 200), (50, 50), (0, 3000), (1, 20), (1, 1), (1, 0), (0, 0), (2, 2),
                                                 (28, 28), (100, 100)]
    valves = {"chill": 1, "igniter": 2, "fuel": 4, "ox": 8, "purge": 16}
    assert [r.valves for r in rows] == [0, 0, 0, 0, valves["purge"], valves["chill"], valves["igniter"], 2 | 8, 2 | 4 | 8, 4 | 8, 4, 0, 16]
    assert [r.next for r in rows[3:]] == [4, 5, 6, 7, 8, 9, 10, 11, 12, int(lib.FSW_SEQ_ROW_SAFED)]
    assert [r.abort for r in rows[3:10]] == [2, 2, 2, 10, 10, 10, 10]
    assert (rows[8].gate, rows[8].gate_t, rows[8].exit) == (int(lib.FSW_SEQ_IS_SIGN), 125, int(lib.FSW_SEQ_IS_LIT))
    assert (rows[5].pulsed, rows[5].hold, rows[5].pulse) == (1, 1, 1 << 11)
    assert rows[9].redline == int(lib.FSW_SEQ_IS_OUT) | 1 << 12
    found = [(c.value, c.release, c.persist, c.op) for c in (limits.condition[k] for k in range(limits.n_conditions))]
    below, above = int(lib.FSW_SEQ_BELOW), int(lib.FSW_SEQ_ABOVE)
    assert found == [(4000, 4000, 3, above), (2e5, 2e5, 2, above), (116, 116, 2, below), (114, 115, 1, below), (1.3, 1.3, 12, above)]


def test_every_parameter_of_the_sequence_is_given_and_no_other() -> None:
    names = {name for name, _ in ffi.typeof("fsw_sequencer_params_t").fields if name.startswith("seq_")}
    assert set(load_sequence(SHIPPED).constants()) == names


def test_a_vehicle_that_names_a_sequence_carries_it_and_its_text() -> None:
    bench = Bench.load(ROOT / "bench_configs" / "hopper.toml")
    (name,) = [n for n in bench.texts if n.endswith("tq12_class.toml")]
    assert bench.texts[name] == TEXT
    assert bench.constants["seq_steps"].value == 10
    assert (bench.constants["seq_start_max_s"].file, bench.constants["seq_start_max_s"].key) == (name, "limits.start_max_s")
    params = bench.params("fcc", "sequencer", 0)
    assert list(params["seq_role"][:10]) == [1, 2, 3, 4, 5, 6, 7, 8, 8, 11]


def test_lasts_s_is_short_for_min_and_max() -> None:
    long = in_step("purge", "lasts_s = 0.5", "min_s = 0.5\nmax_s = 0.5")
    assert {k: g.value for k, g in compiled(long).constants().items()} == {k: g.value for k, g in compiled(TEXT).constants().items()}


def test_unburnt_propellant_is_rounded_down_to_whole_steps() -> None:
    assert compiled(with_("unburnt_kg = 38.2", "unburnt_kg = 38.1")).unburnt_s == 1.29
    assert compiled(with_("unburnt_kg = 38.2", "unburnt_kg = 38.129")).unburnt_s == 1.3
    assert compiled(with_("unburnt_kg = 38.2", "unburnt_kg = 38.4")).unburnt_s == 1.3


# ---- what is wrong ------------------------------------------------------------------------------------------------------

BAD = [
    # the file
    ('step_s = 0.01 ', 'step_s = 0.0001 ', "seq.toml: sequence.step_s: 0.0001 is out of range, allowed 0.001 to 1"),
    ('lead = "oxidiser" ', 'lead = "both" ', "seq.toml: engine.lead: \"both\" is not one of 'oxidiser' or 'fuel'"),
    ('starts = 3 ', 'starts = 0 ', "seq.toml: limits.starts: 0 is out of range, allowed 1 to 200"),
    ('starts = 3 ', 'starts = true ', "seq.toml: limits.starts: true is not a whole number, allowed 1 to 200"),
    ('rearm_s = 0.2 ', 'rearm_s = nan ', "seq.toml: limits.rearm_s: nan is not a finite number, allowed 0 to 600"),
    ('rearm_s = 0.2 ', 'rearm_ms = 200 ', 'seq.toml: limits.rearm_ms: unknown key, did you mean "rearm_s"?'),
    # times
    ('rearm_s = 0.2 ', 'rearm_s = 0.205 ', "seq.toml: limits.rearm_s: 0.205 is not a whole multiple of step_s = 0.01, nearest 0.2"),
    ('purge_min_s = 0.5 ', 'purge_min_s = 0.127 ',
     "seq.toml: engine.purge_min_s: 0.127 is not a whole multiple of step_s = 0.01, nearest 0.13"),
    ('unburnt_kg = 38.2 ', 'unburnt_kg = 0.1 ',
     "seq.toml: limits.unburnt_kg: 0.1 is out of range, allowed 0.2933 to 17598 (one step of 29.33 kg/s, and 60000)"),
    ('for_s = 0.12 ', 'for_s = 2.6 ', "seq.toml: redline[overpressure].for_s: 2.6 is out of range, allowed 0 to 2.5 (250 steps)"),
    ('for_s = 0.12 ', 'for_s = 0.0 ', "seq.toml: redline[overpressure].for_s: 0 is out of range, allowed 0.01 or more (one sample)"),
    ('max_s = 2.0 ', 'max_s = 0.02 ', "seq.toml: step[check].min_s: 0.03 is out of range, allowed 0 to 0.02 (max_s)"),
    ('max_s = 2.0 ', '',
     "seq.toml: step[check].max_s: is missing, allowed 0.001 to 600: no step may last for ever (lasts_s gives it a fixed length)"),
    ('gate_s = 1.25 ', 'gate_s = 2.25 ', "seq.toml: step[rise].gate_s: 2.25 is out of range, allowed up to 2.2 (limits.start_max_s)"),
    ('gate_s = 1.25 ', '', "seq.toml: step[rise]: gate and gate_s go together"),
    ('lasts_s = 0.5 ', 'lasts_s = 0.5\nmax_s = 0.5 ', "seq.toml: step[purge]: lasts_s stands alone, without min_s and max_s"),
    # conditions
    ('when = "pc >= 1.3" ', 'when = "pc > 1.3" ',
     'seq.toml: redline[overpressure].when: "pc > 1.3" is not of the form "channel <= number" or "channel >= number"'),
    ('when = "pc >= 1.3" ', 'when = "pump_t >= 1.3" ',
     'seq.toml: redline[overpressure].when: there is no channel "pump_t", did you mean "pump_k"?'),
    ('when = "pc >= 1.3" ', 'when = "pc >= 13e6" ',
     "seq.toml: redline[overpressure].when: 1.3e+07 is out of range, allowed 0 to 100 of nominal"),
    ('release = 115 ', 'release = 113 ',
     "seq.toml: condition[pump_colder].release: 113 is out of range, allowed 114 or more: what falls to it is let go on the other side"),
    ('name = "pump_colder" ', 'name = "pump_cold" ',
     'seq.toml: condition[pump_cold].name: "pump_cold" is already used by another condition or redline'),
    ('name = "pump_colder" ', 'name = "lit" ',
     'seq.toml: condition[lit].name: "lit" is built in (ignition decided by chamber pressure and acceleration): give this one another name'),
    ('rest_if = ["pump_colder"]', 'rest_if = ["pump_coldest"]', 'seq.toml: step[chill].rest_if: there is no condition "pump_coldest", '
                                                               'did you mean "pump_colder"?'),
    ('rest_if = ["pump_colder"]', 'rest_if = ["overpressure"]', 'seq.toml: step[chill].rest_if: "overpressure" is a redline: it belongs into '
                                                                '`redlines`, conditions are declared as [[condition]]'),
    ('redlines = ["overpressure", "flame_out"]', 'redlines = ["overpressure", "pump_cold"]',
     'seq.toml: step[main].redlines: "pump_cold" is a condition, not a redline: what ends a step is declared as [[redline]]'),
    ('rest_if = ["pump_colder"]', 'rest_if = ["quiet"]', "seq.toml: condition[pump_colder]: is used nowhere"),
    # steps
    ('name = "lead"\nrole = "lead"', 'name = "igniter"\nrole = "lead"',
     'seq.toml: step[igniter].name: "igniter" is already used by another step'),
    ('name = "closed"\n', 'name = "safed"\n', 'seq.toml: step[safed].name: "safed" is built in: give this step another name'),
    ('role = "lead"', 'role = "check"', 'seq.toml: step[lead].role: "check" cannot stand behind "igniter", the order is '
                                        "check, purge, chill, igniter, lead, rise, main, shutdown, after"),
    ('energise = ["chill"]\n', 'energise = ["chill", "fuel"]\n',
     'seq.toml: step[chill].energise: "fuel" is not allowed in a step with role = "chill", allowed "chill", "purge"'),
    ('pulsed = ["chill"] ', 'pulsed = ["purge"] ', 'seq.toml: step[chill].pulsed: "purge" is not energised in this step'),
    ('name = "closed"\nrole = "shutdown"\n', 'name = "closed"\nrole = "shutdown"\nenergise = ["oxidiser"]\n',
     'seq.toml: step[closed].energise: "oxidiser" is never open when this step begins, and a shutdown only closes; a step with '
     'role = "after" may open the purge valve'),
    ('hold = true ', 'hold = false ', "seq.toml: step[chill].hold: is missing: the last step of preparation waits with hold = true until "
                                      "the engine is to run"),
    ('hold = true ', 'hold = true\nmin_s = 0.5 ',
     "seq.toml: step[chill].min_s: is not allowed in a step with hold = true: it is ready as soon as its conditions hold"),
    ('name = "main"\nrole = "main"\n', 'name = "main"\nrole = "main"\nmax_s = 1.0\n',
     "seq.toml: step[main].max_s: main stage has no end of its own: it lasts until the engine is no longer to run"),
    ('name = "closed"\nrole = "shutdown"\n', 'name = "closed"\nrole = "shutdown"\nabort = "safed"\n',
     'seq.toml: step[closed].abort: is not allowed in a step with role = "shutdown": a shutdown and what comes after it has no abort '
     "path: it ends in the safe state"),
    ('abort = "inhibited" ', 'abort = "closed" ',
     'seq.toml: step[check].abort: "closed" is not where this step can end, allowed "inhibited", "safed"'),
    ('name = "lead"\nrole = "lead"\n', 'name = "lead"\nrole = "lead"\nnext = "chill"\n',
     'seq.toml: step[lead].next: "chill" cannot follow this step, allowed "rise", "main"'),
    ('name = "purge"\nrole = "purge"\n', 'name = "purge"\nrole = "purge"\nhold = 1\n', "seq.toml: step[purge].hold: 1 is not true or false"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), BAD, ids=[str(k) for k in range(len(BAD))])
def test_each_problem_is_one_sentence(old: str, new: str, sentence: str) -> None:
    assert sentence in problems(with_(old, new))


def test_steps_that_nothing_leads_to_and_steps_that_are_missing() -> None:
    skipping = in_step("close_oxidiser", 'role = "shutdown"', 'role = "shutdown"\nnext = "after"')
    assert problems(skipping) == ["seq.toml: step[closed]: is never reached: no step names it in `next` or `abort`, or comes right before it"]
    head, _, _ = TEXT.partition('[[step]]\nname = "main"')
    found = problems(head)
    assert 'seq.toml: step: no step has role = "main", exactly one is wanted' in found
    assert 'seq.toml: step: no step has role = "shutdown", at least one is wanted' in found


def test_all_problems_are_reported_together() -> None:
    text = with_("max_s = 2.0 ", "max_s = 2.001 ", with_("rearm_s = 0.2 ", "rearm_s = 0.201 ", with_('"pc >= 1.3"', '"pd >= 1.3"')))
    assert len(problems(text)) == 3


def test_a_vehicle_without_a_sequence_is_told_what_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vehicle = (ROOT / "bench_configs" / "vehicles" / "hopper.toml").read_text("utf-8")
    (tmp_path / "vehicle.toml").write_text(re.sub(r"(?m)^sequence = .*$", "", vehicle), "utf-8")
    bench = f'extends = "{ROOT}/bench_configs/hopper.toml"\n[bench]\nname = "bare"\nvehicle = "vehicle.toml"\n'
    (tmp_path / "bench.toml").write_text(bench, "utf-8")
    assert run_cli(["schedule", str(tmp_path / "bench.toml")]) == 2
    said = capsys.readouterr().err
    assert said.count("the vehicle names no engine sequence: give the vehicle file, above its first section, a line sequence = ") == 1
    assert "seq_" not in said


@pytest.mark.parametrize(("line", "sentence"), [
    ('sequence = 3', "sequence: 3 is not the path of a sequence file"),
    ('sequence = "none.toml"', "none.toml: there is no such file (named by "),
    ('sequence = "seq.toml"', "limits.starts: 0 is out of range, allowed 1 to 200"),
])
def test_a_bad_sequence_of_a_vehicle_names_the_file_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str,
                                                                  sentence: str) -> None:
    (tmp_path / "seq.toml").write_text(with_("starts = 3 ", "starts = 0 "), "utf-8")
    (tmp_path / "vehicle.toml").write_text(f'{line}\n[vehicle]\nname = "x"\n', "utf-8")
    assert run_cli(["sequence", "check", str(tmp_path / "vehicle.toml"), "--svg", str(tmp_path / "x.svg")]) == 2
    assert sentence in capsys.readouterr().err


# ---- the picture --------------------------------------------------------------------------------------------------------


def test_the_diagram_is_xml_and_says_everything(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    text = diagram(load_sequence(SHIPPED))
    words = " ".join("".join(e.itertext()) for e in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text"))
    for name in ("check", "purge", "chill", "igniter", "lead", "rise", "main", "close_oxidiser", "closed", "after", "OFF", "SAFED", "INHIBITED",
                 "pump_k <= 116 for 0.02 s", "pc >= 1.3 for 0.12 s", "sign_of_light at 1.25 s after the start command", "after 0.28 s",
                 "RUN, with link, pump_cold, inlet_pressure", "at most 38.2 kg"):
        assert name in words, name


# ---- whatever is valid compiles, and the C takes it ---------------------------------------------------------------------

_TIMES = st.integers(1, 400).map(lambda n: n / 100)
_HELD = st.lists(st.sampled_from(["link", "quiet", "igniter", "a", "b"]), unique=True, max_size=3)
_VALVES = st.lists(st.sampled_from(["chill", "purge"]), unique=True)
_ALL = st.lists(st.sampled_from(["chill", "igniter", "fuel", "oxidiser", "purge"]), unique=True)


@st.composite
def sequences(draw: st.DrawFn) -> str:
    """Text of a valid file: any number of steps of each role, any valves that the role allows, any times."""
    def step(role: str, k: int, **keys: Any) -> str:
        low, more = draw(_TIMES), draw(_TIMES)
        times = {} if role == "main" else {"min_s": 0.0 if keys.get("hold") else low, "max_s": round(low + more, 2)}
        lines = [f"{key} = {json.dumps(v)}" for key, v in {**times, **keys}.items()]
        return "\n".join(["[[step]]", f'name = "{role}{k}"', f'role = "{role}"', *lines])

    steps: list[tuple[str, dict[str, Any]]] = []
    for role in draw(st.lists(st.sampled_from(["check", "purge", "chill"]), min_size=1, max_size=3).map(sorted_roles)):
        steps.append((role, {"energise": draw(_VALVES), "leave_if": draw(_HELD), "keep": draw(_HELD), "enter_if": draw(_HELD)}))
    steps[-1][1]["hold"] = True
    for role in draw(st.lists(st.sampled_from(["igniter", "lead", "rise"]), min_size=1, max_size=4).map(sorted_roles)):
        steps.append((role, {"energise": draw(_ALL), "leave_if": draw(_HELD), "keep": draw(_HELD), "redlines": ["red"]}))
    steps.append(("main", {"energise": draw(_ALL), "redlines": ["red", "flame_out"]}))
    steps.append(("shutdown", {}))
    if draw(st.booleans()):
        steps.append(("after", {"energise": draw(_VALVES)}))
    body = "\n".join(step(role, k, **keys) for k, (role, keys) in enumerate(steps))
    limits = "\n".join(f"{n} = {draw(_TIMES)}" for n in ("start_max_s", "igniter_s", "rearm_s", "recover_s"))
    return f"""
[sequence]
name = "random"
[engine]
lead = "{draw(st.sampled_from(["oxidiser", "fuel"]))}"
purge_min_s = {draw(_TIMES)}
cold = ["a", "b"]
[limits]
starts = {draw(st.integers(1, 5))}
{limits}
unburnt_kg = {draw(_TIMES)}
unlit_flow_kg_s = 1.0
recover_needs = ["link"]
[[condition]]
name = "a"
when = "pump_k <= 116"
[[condition]]
name = "b"
when = "inlet_pa >= 2e5"
[[redline]]
name = "red"
when = "pc >= 1.3"
for_s = {draw(_TIMES) / 2:.2f}
{body}
"""


def sorted_roles(roles: list[str]) -> list[str]:
    order = ["check", "purge", "chill", "igniter", "lead", "rise"]
    return sorted(roles, key=order.index)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sequences(), st.lists(st.integers(0, 2**29 - 1), max_size=200))
def test_any_valid_file_compiles_is_drawn_and_is_stepped_without_harm(text: str, inputs: list[int]) -> None:
    sequence = compiled(text)
    table, _ = c_table(sequence)  # raises when the C refuses what the file's checks let pass
    assert diagram(sequence).count('class="name"') == len(sequence.rows)
    engine, out = ffi.new("fsw_seq_engine_t *"), ffi.new("fsw_seq_out_t *")
    lib.fsw_seq_engine_init(engine)
    for is_ in inputs:
        lib.fsw_seq_step(engine, is_, table, out)
        assert engine.row < table.n_rows
        assert engine.check == lib.fsw_seq_check_word(engine)
        assert out.valves == engine.valves
        assert not is_ & lib.FSW_SEQ_CMD_ABORT or out.valves == 0
