"""Bad bench, vehicle and schedule files: each is refused with sentences that name file, key, problem and what is allowed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flightsw import ConfigError
from hil import Bench
from hil.toml_file import MAX_BYTES, parse

DROP = Path(__file__).parent / "drop"
FLAGSHIP = Path(__file__).parent.parent / "bench_configs" / "zhuque3_landing.toml"

# (file, text to replace ("" appends), its replacement, fragments of the sentences)
CASES: dict[str, tuple[str, str, str, list[str]]] = {
    # syntax and the file as such
    "syntax error": ("bench.toml", "duration_s = 60", "duration_s = ", ["bench.toml: line 5: Invalid value"]),
    "duplicate key": ("bench.toml", "duration_s = 60", "duration_s = 60\nduration_s = 61",
                      ["bench.toml: line 6: this key or table is already there"]),
    "duplicate table": ("vehicle.toml", "[start]", "[start]\n[start]",
        ["vehicle.toml: line 4: this key or table is already there"]),
    "too many dots": ("vehicle.toml", "[start]", "a.b.c.d.e.f.g.h.i.j = 1\n[start]",
        ["vehicle.toml: line 3: ", "more than 8 dots"]),
    "unclosed text": ("fcc.toml", '"law"', '"law', ["fcc.toml: line 2: "]),
    "deep nesting": ("bench.toml", "", "x = " + "[" * 5000, ["bench.toml: is nested too deeply"]),
    "too big": ("vehicle.toml", "", "#" * MAX_BYTES, ["vehicle.toml: is longer than 256 KiB"]),
    # keys of [bench]
    "unknown key": ("bench.toml", "duration_s", "duraton_s", ['bench.duraton_s: unknown key, did you mean "duration_s"?',
                                                              "bench.duration_s: is missing, allowed more than 0 to 1e+06"]),
    "unknown section": ("bench.toml", "[constants]", "[constnts]",
        ['bench.toml: constnts: unknown key, did you mean "constants"?']),
    "bool for number": ("bench.toml", "duration_s = 60", "duration_s = true",
        ["bench.duration_s: true is not a number, allowed "]),
    "not finite": ("bench.toml", "duration_s = 60", "duration_s = inf",
        ["bench.duration_s: inf is not a finite number, allowed "]),
    "out of range": ("bench.toml", "duration_s = 60", "duration_s = -1",
                     ["bench.duration_s: -1 is out of range, allowed more than 0 to 1e+06"]),
    "text for number": ("bench.toml", "duration_s = 60", 'duration_s = "60"', ['bench.duration_s: "60" is not a number']),
    "float for integer": ("bench.toml", "duration_s = 60", "duration_s = 60\nseed = 1.5",
        ["bench.seed: 1.5 is not a whole number, allowed 0"]),
    "base tick": ("bench.toml", "duration_s = 60", "duration_s = 60\nbase_tick_ns = 10",
                  ["bench.base_tick_ns: 10 is out of range, allowed 1000 to 1000000000"]),
    "bad name": ("bench.toml", '"drop"', '"../drop"', ['bench.name: "../drop" is not a name (letters, digits and _']),
    "unknown expectation": ("bench.toml", "duration_s = 60", 'duration_s = 60\nexpect = "flies"',
                            ['bench.expect: "flies" is not a known outcome, allowed lands, lost, done']),
    "missing vehicle": ("bench.toml", "vehicle.toml", "vehicel.toml", ["vehicel.toml: there is no such file (named by",
                                                                   "bench.toml: bench.vehicle)"]),
    "missing task file": ("bench.toml", '["tasks.py"]', '["task.py"]', ["task.py: there is no such file"]),
    "no nodes": ("bench.toml", '[[node]]\nname = "fcc"\nrole', '[nodes.fcc]\nrole',
        ["nodes: unknown key, did you mean \"node\"?"]),
    # nodes and tasks
    "bad record": ("bench.toml", 'record = "all"', 'record = "some"',
        ["node[fcc].record: \"some\" is not one of 'all', 'outputs' or 'none'"]),
    "missing schedule": ("bench.toml", '"fcc.toml"', '"fc.toml"', ["node[fcc].schedule: there is no file", "fc.toml"]),
    "node without tasks": ("bench.toml", 'schedule = "fcc.toml"', "",
        ["node[fcc]: a node needs a schedule or a [[node.task]]"]),
    "two nodes of a name": ("bench.toml", 'name = "fcc"', 'name = "world"',
        ['node[world].name: there are two nodes with the name "world"']),
    "for without k": ("bench.toml", 'role = "flight_computer"', "for = 2", ["node[fcc].for: the name needs a {k}"]),
    "k without for": ("bench.toml", 'name = "fcc"', 'name = "fcc{k}"', ["node[fcc{k}].for: is missing: the name has a {k}"]),
    "unknown task type": ("fcc.toml", "drop.law", "drop.lav",
        ['task[law].type: unknown task type "drop.lav", did you mean "drop.law"?']),
    "no period": ("fcc.toml", "period_ticks = 20", "", ["fcc.toml: task[law].period_ticks: is missing, allowed 1 to 1000000"]),
    "inexact rate": ("fcc.toml", "period_ticks = 20", "rate_hz = 300",
                     ["fcc.toml: task[law].rate_hz: 300 Hz is 3.33333 base ticks of 1000000 ns and cannot be exact",
                      "nearest: 333.333333 Hz (3 ticks) or 250 Hz (4 ticks)"]),
    "rate beyond the tick": ("fcc.toml", "period_ticks = 20", "rate_hz = 5000",
        ["task[law].rate_hz", "nearest: 1000 Hz (1 tick)"]),
    "rate and period": ("fcc.toml", "period_ticks = 20", "period_ticks = 20\nrate_hz = 50",
        ["task[law]: give period_ticks or rate_hz, not both"]),
    "phase": ("fcc.toml", "period_ticks = 20", "period_ticks = 20\nphase_ticks = 20",
              ["task[law].phase_ticks: 20 is out of range, allowed 0 to 19"]),
    "on_miss": ("fcc.toml", "period_ticks = 20", 'period_ticks = 20\non_miss = "panic"',
        ["fcc.toml: task[law].on_miss: \"panic\" is not one of"]),
    "bad port": ("fcc.toml", "period_ticks = 20", 'period_ticks = 20\nreads = { radar = "radalt" }',
                 ['task[law].reads.radar: drop.law has no such port']),
    "bad parameter": ("fcc.toml", "period_ticks = 20", "period_ticks = 20\nparams = { kq = 1.0, kd = 11 }",
                      ["task[law].params.kq: unknown parameter", "task[law].params.kd: 11 is out of range, allowed 0 to 10"]),
    "bool parameter": ("fcc.toml", "period_ticks = 20", "period_ticks = 20\nparams = { kp = true }",
                       ["task[law].params.kp: True is not a number, allowed 0 to 10"]),
    "unknown key in a task": ("fcc.toml", "budget_us", "budget_ms",
        ['fcc.toml: task[law].budget_ms: unknown key, did you mean "budget_us"?']),
    # links
    "link from nowhere": ("bench.toml", '"world.radalt"', '"wrld.radalt"',
        ['link[wrld.radalt].from: there is no node "wrld", did you mean "world"?']),
    "link of no topic": ("bench.toml", '"world.radalt"', '"world.radar"', ['node "world" writes no topic "radar"']),
    "link to nobody": ("bench.toml", '["fcc.radalt"]', '["fcc.radat"]',
        ['no task of node "fcc" reads a topic "radat", did you mean "radalt"?']),
    "link of two types": ("bench.toml", '["fcc.radalt"]', '["fcc.radalt", "world.cmd"]',
                          ['"world.radalt" is fsw_radalt_t, but "world.cmd" is fsw_engine_cmd_t']),
    "two links into one": ("bench.toml", '["world.cmd"]', '["world.cmd", "world.cmd"]',
        ['link[fcc.cmd].to: "world.cmd" is already fed by fcc.cmd']),
    "no latency": ("bench.toml", "latency_ticks = 3", "latency_ticks = 0",
        ["link[fcc.cmd].latency_ticks: 0 is out of range, allowed 1 to 10000"]),
    "link without a dot": ("bench.toml", '"world.radalt"', '"world"',
        ['link[world].from: "world" is not of the form "node.topic"']),
    # criteria, stop, dispersions, constants
    "no limit": ("bench.toml", "max = 2.0", "", ["criterion[touchdown speed]: a limit is wanted: min, max or equals"]),
    "field of no topic": ("bench.toml", '"v_down_m_s"', '"v_dwn_m_s"',
        ['criterion[touchdown speed].field: fsw_outcome_t has no field "v_dwn_m_s", did you mean "v_down_m_s"?']),
    "stop on an integer": ("bench.toml", '"settled"', '"t_ns"', ['bench.stop.field: "t_ns" cannot stop a flight']),
    "stop on no topic": ("bench.toml", '{ topic = "world.outcome"', '{ topic = "world.outcme"',
                         ['bench.stop.topic: node "world" has no topic "outcme", did you mean "outcome"?']),
    "two laws": ("bench.toml", "sigma = 5.0", "sigma = 5.0\nuniform = [1.0, 2.0]",
                 ["disperse[h0_m]: one of sigma, sigma_percent and uniform is wanted, sigma and uniform given"]),
    "negative sigma": ("bench.toml", "sigma = 5.0", "sigma = -5.0",
        ["disperse[h0_m].sigma", "-5.0 is out of range, allowed 0 or more"]),
    "disperse nothing": ("bench.toml", 'key = "h0_m"', 'key = "h_m"',
        ['disperse[h_m].key: no task of these nodes has a parameter "h_m"']),
    "disperse an integer": ("bench.toml", 'key = "h0_m"', 'key = "index"',
        ["disperse[index]: index is a whole number and cannot be dispersed"]),
    "disperse nowhere": ("bench.toml", "sigma = 5.0", 'sigma = 5.0\nnodes = ["wrld"]',
        ['disperse[h0_m].nodes: there is no node "wrld"']),
    "constant for nobody": ("bench.toml", "thrust_m_s2 = 20.0", "thrust_m_s = 20.0",
                            ['constants.thrust_m_s: no task has a parameter of this name, did you mean "thrust_m_s2"?']),
    "constant out of range": ("bench.toml", "thrust_m_s2 = 20.0", "thrust_m_s2 = 200.0",
                              ["bench.toml: constants.thrust_m_s2: 200 is out of range, allowed 0 to 100"]),
    "log of no topic": ("bench.toml", 'role = "flight_computer"', "log = { cmds = 1 }",
        ["node[fcc].log.cmds: the node has no such topic"]),
    # vehicles
    "vehicle bool": ("vehicle.toml", "h0_m = 50.0", "h0_m = true", ["vehicle.toml: start.h0_m: true is not a finite number"]),
    "vehicle nan": ("vehicle.toml", "h0_m = 50.0", "h0_m = nan", ["vehicle.toml: start.h0_m: nan is not a finite number"]),
    "vehicle unknown": ("vehicle.toml", "h0_m = 50.0", "h0_m = 50.0\nnoise = 1.0",
        ["vehicle.toml: start.noise: no task has a parameter of this name"]),
    "vehicle repeated name": ("vehicle.toml", "h0_m = 50.0", "h0_m = 50.0\n[again]\nh0_m = 60.0",
                              ["vehicle.toml: again.h0_m: the name h0_m is already used by start.h0_m"]),
    "vehicle out of range": ("vehicle.toml", "h0_m = 50.0", "h0_m = 1e6",
        ["vehicle.toml: start.h0_m: 1e+06 is out of range, allowed 0 to 100000"]),
    "vehicle includes itself": ("vehicle.toml", "[vehicle]", 'include = ["vehicle.toml"]\n[vehicle]', ["includes itself"]),
    "missing parameter": ("vehicle.toml", "h0_m = 50.0", "g_m_s2 = 9.8",
                          ["node[world].task[world].params.h0_m: missing, and neither the vehicle nor [constants] has it"]),
    # faults
    "fault without injector": ("bench.toml", "", '[[fault]]\ntarget = "engine[0]"\ntype = "dies"\n',
                               ['one task of type "bench.faults" is wanted to inject them, the bench has none']),
    # extensions
    "python syntax": ("tasks.py", "STATE =", "STATE = =", ["tasks.py: line 5: SyntaxError"]),
    "python error": ("tasks.py", "STATE =", "1 / 0\nSTATE =", ["tasks.py: line 5: ZeroDivisionError"]),
    "python without tasks": ("bench.toml", '["tasks.py"]', '["empty.py"]', ["empty.py: defines no task"]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the drop bench to spoil."""
    for path in DROP.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    (tmp_path / "empty.py").write_text("X = 1\n", "utf-8")
    return tmp_path


def problems(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        Bench.load(path)
    text = str(caught.value)
    assert text and all(text.splitlines()) and "Traceback" not in text
    assert len(set(text.splitlines())) == len(text.splitlines()), "a problem is told twice"
    return text


@pytest.mark.parametrize("case", CASES)
def test_bad_file(folder: Path, case: str) -> None:
    name, old, new, fragments = CASES[case]
    path = folder / name
    text = path.read_text("utf-8")
    assert old in text, "the case spoils nothing"
    path.write_text(text.replace(old, new, 1) if old else new + "\n" + text if "x = " in new else text + new, "utf-8")
    told = problems(folder / "bench.toml")
    for fragment in fragments:
        assert fragment in told, told


FAULTS: list[tuple[str, str]] = [
    ('target = "motor[0]"\ntype = "dies"', 'unknown target "motor"; known: engine, imu'),
    ('target = "engin[0]"\ntype = "dies"', 'unknown target "engin", did you mean "engine"?'),
    ('target = "engine"\ntype = "dies"', 'is not of the form "engine[0]"'),
    ('target = "engine[9]"\ntype = "dies"', "there is no engine[9], allowed 0 to 8 or *"),
    ('target = "engine[0]"\ntype = "dyes"', '"dyes" is not implemented for engine, did you mean "dies"?; implemented: off'),
    ('target = "gnss[0]"\ntype = "dies"', '"dies" is not implemented for gnss; implemented: off, stuck, wrong, garbage'),
    ('target = "engine[0]"\ntype = "low_pc"', "severity: engine low_pc needs one, allowed 0 to 1"),
    ('target = "engine[0]"\ntype = "low_pc"\nseverity = 1.5', "severity: 1.5 is out of range, allowed 0 to 1"),
    ('target = "engine[0]"\ntype = "no_light"\nseverity = 1.0', "severity: engine no_light has no severity: leave it out"),
    ('target = "imu[0]"\ntype = "wrong"\nseverity = 1.0', "say which sensor is wrong"),
    ('target = "engine[0]"\ntype = "dies"\nat = { phase = "brun" }', 'unknown phase "brun", did you mean "burn"?'),
    ('target = "engine[0]"\ntype = "dies"\nat = { time_s = 1.0, altitude_m = 2.0 }', "time_s and altitude_m given"),
    ('target = "engine[0]"\ntype = "dies"\nat = { engine_lit = 9 }', "9 is out of range, allowed 0 to 8"),
    ('target = "engine[0]"\ntype = "dies"\nfor = 2.0', 'for: unknown key'),
]


@pytest.mark.parametrize(("text", "fragment"), FAULTS)
def test_bad_fault(tmp_path: Path, text: str, fragment: str) -> None:
    path = tmp_path / "faulty.toml"
    path.write_text(f'extends = "{FLAGSHIP.as_posix()}"\n[[fault]]\n{text}\n', "utf-8")
    told = problems(path)
    assert fragment in told and "faulty.toml: fault[" in told, told


def test_too_many_faults(tmp_path: Path) -> None:
    path = tmp_path / "faulty.toml"
    one = '[[fault]]\ntarget = "engine[0]"\ntype = "dies"\n'
    path.write_text(f'extends = "{FLAGSHIP.as_posix()}"\n{13 * one}', "utf-8")
    assert "13 faults given, at most 12 allowed" in problems(path)


def test_all_problems_come_together(folder: Path) -> None:
    bench, vehicle, schedule = (folder / n for n in ("bench.toml", "vehicle.toml", "fcc.toml"))
    vehicle.write_text(vehicle.read_text("utf-8") + "a = true\nb = nan\n", "utf-8")
    schedule.write_text(schedule.read_text("utf-8").replace("budget_us", "budget"), "utf-8")
    told = problems(bench).splitlines()
    assert len(told) == 3 and {line.split(": ")[0].rsplit("/", 1)[-1] for line in told} == {"vehicle.toml", "fcc.toml"}
    text = bench.read_text("utf-8").replace("60", "0").replace('"all"', '"al"').replace("ticks = 3", "ticks = -3")
    bench.write_text(text, "utf-8")
    assert len(problems(bench).splitlines()) == 3


def test_a_problem_names_the_file_it_stands_in(folder: Path) -> None:
    own = folder / "own.toml"
    own.write_text('extends = "bench.toml"\n[bench]\nseed = -1\n[[criterion]]\nname = "touchdown speed"\n', "utf-8")
    bench = folder / "bench.toml"
    bench.write_text(bench.read_text("utf-8").replace("latency_ticks = 3", "latency_ticks = 0"), "utf-8")
    told = problems(own).splitlines()
    by_key = {line.split(": ")[1]: line.split(": ")[0].rsplit("/", 1)[-1] for line in told}
    assert by_key["bench.seed"] == "own.toml" and by_key["link[fcc.cmd].latency_ticks"] == "bench.toml"
    assert by_key["criterion[touchdown speed].topic"] == "own.toml"


def test_extends_in_a_circle(folder: Path) -> None:
    (folder / "a.toml").write_text('extends = "b.toml"\n', "utf-8")
    (folder / "b.toml").write_text('extends = "a.toml"\n', "utf-8")
    assert "extends itself through this file" in problems(folder / "a.toml")
    (folder / "c.toml").write_text('extends = "missing.toml"\n', "utf-8")
    assert "missing.toml: there is no such file" in problems(folder / "c.toml")
    (folder / "d.toml").write_text("extends = 3\n", "utf-8")
    assert "d.toml: extends: 3 is not the path of a bench file" in problems(folder / "d.toml")


def test_paths_of_an_extended_file_are_relative_to_it(folder: Path) -> None:
    sub = folder / "sub"
    sub.mkdir()
    (sub / "own.toml").write_text('extends = "../bench.toml"\n[bench]\nname = "own"\n', "utf-8")
    assert Bench.load(sub / "own.toml").name == "own"


def test_a_folder_and_bytes_are_no_bench(tmp_path: Path) -> None:
    assert "is a folder, a file is wanted" in problems(tmp_path)
    (tmp_path / "x.toml").write_bytes(b"a = 1\nb = \"\xff\"\n")
    assert "line 2: is not UTF-8 text" in problems(tmp_path / "x.toml")


def test_vehicle_files_side_by_side_and_included(folder: Path) -> None:
    bench = folder / "bench.toml"
    (folder / "more.toml").write_text("[world]\ng_m_s2 = 1.62\n", "utf-8")
    bench.write_text(bench.read_text("utf-8").replace('"vehicle.toml"', '["vehicle.toml", "more.toml"]'), "utf-8")
    assert float(Bench.load(bench).params("world", "world")["g_m_s2"]) == 1.62
    (folder / "more.toml").write_text("[world]\nh0_m = 1.0\n", "utf-8")
    assert "more.toml: world.h0_m: is already set in" in problems(bench)
    (folder / "more.toml").write_text('include = ["vehicle.toml"]\n[world]\nh0_m = 1.0\n', "utf-8")
    bench.write_text(bench.read_text("utf-8").replace('["vehicle.toml", "more.toml"]', '"more.toml"'), "utf-8")
    assert float(Bench.load(bench).params("world", "world", 0)["h0_m"]) == 1.0  # what includes rules over what is included


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60), st.integers(0, 400), st.integers(0, 40))
def test_a_spoiled_file_never_gives_a_traceback(folder: Path, junk: str, at: int, cut: int) -> None:
    text = (DROP / "bench.toml").read_text("utf-8")
    (folder / "spoiled.toml").write_text(text[:at] + junk + text[at + cut :], "utf-8", errors="replace")
    try:
        Bench.load(folder / "spoiled.toml")
    except ConfigError as exc:
        assert all(str(p) for p in exc.problems)


@given(st.text(alphabet="ab.\"'=[]{}#\n ", max_size=200))
def test_parsing_anything_gives_a_table_or_a_sentence(text: str) -> None:
    try:
        parse(text, "x.toml")
    except ConfigError as exc:
        assert str(exc).startswith("x.toml")
