"""Accident scenarios: ours passes, the naive twin fails as documented, and a scenario without teeth is found out."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from flightsw.cli import run_cli
from flightsw.errors import ConfigError
from hil.accidents import Scenario, find_scenarios, fly_scenarios
from hil.accidents.constants import ACCEPTED, BY_RANGE, BY_REHEARSAL, Constant, changed, gate, lands
from hil.accidents.suite import BROKEN, HOLDS, TOOTHLESS
from hil.bench import Bench
from hil.toml_file import merge

BENCHES = Path(__file__).resolve().parents[1] / "bench_configs"
FOLDER = BENCHES / "accidents"
LANDING = BENCHES / "zhuque3_landing.toml"
FILES = sorted(FOLDER.glob("*.toml"))
NUMBERS = {"HAS-02", "HAS-03", "HAS-04", "HAS-05", "HAS-06", "HAS-07", "HAS-08", "HAS-09", "HAS-13", "HAS-22", "HAS-23", "HAS-24", "HAS-25",
           "HAS-26", "HAS-27", "HAS-30"}
TWIN = {"node": [{"name": "fcc", "task": [{"name": "sequencer", "type": "naive.sequencer", "period_ticks": 10}]}]}


NO_LIGHT = '[[fault]]\ntarget = "engine[0]"\ntype = "no_light"\n'
RELIT = '[[naive.mechanism]]\nname = "starts of the lost"\ntopic = "judge.engines"\nfield = "starts_of_lost"\nmin = 1\n'


def scenario(folder: Path, *, fault: str = NO_LIGHT, twin: str = "", accident: str = "", naive: str = RELIT) -> Scenario:
    """A small scenario: the landing engine does not light, unless said otherwise."""
    text = f"""
extends = "{(FOLDER / "bench" / "landing.toml").as_posix()}"
[accident]
number = "HAS-26"
story = "One. Two. Three."
{accident}
{fault}
[[criterion]]
name = "distance from the pad centre"
topic = "world.outcome"
field = "miss_m"
max = 30.0
[naive]
text = "commands the dead engine again"
{naive}
{twin}
"""
    path = folder / "own.toml"
    path.write_text(text, "utf-8")
    return Scenario.load(path)


NAIVE_SEQUENCER = """
[[naive.node]]
name = "fcc"
[[naive.node.task]]
name = "sequencer"
type = "naive.sequencer"
period_ticks = 10
"""


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_ours_passes_and_the_naive_twin_fails_by_its_mechanism(path: Path) -> None:
    result, = fly_scenarios([Scenario.load(path)], seeds=1, offsets=1)
    assert result.side(False) and result.side(True)
    assert result.verdict == HOLDS, [r.why for r in result.runs if not r.met]


def test_every_accident_in_reach_is_there_with_its_story() -> None:
    found = [Scenario.load(p, check=False) for p in FILES]
    assert {s.accident.number for s in found} == NUMBERS
    for s in found:
        assert len(re.findall(r"\.(?:\s|$)", s.accident.story)) >= 3 and s.name.startswith(s.accident.number.lower().replace("-", ""))


def test_twins_are_small() -> None:
    functions = [n for n in ast.parse((FOLDER / "bench" / "naive.py").read_text("utf-8")).body if isinstance(n, ast.FunctionDef)]
    assert functions and all((f.end_lineno or 0) - f.lineno < 40 for f in functions)


@pytest.mark.parametrize("name", ["landing", "hopper"])
def test_the_naive_sequencer_flies_the_mission_when_nothing_fails(name: str) -> None:
    assert lands(Bench.load(FOLDER / "bench" / f"{name}.toml", [], TWIN), 1)


@pytest.mark.parametrize("name", [p.stem for p in FILES if p.stem[:5] in ("has02", "has03", "has04", "has05", "has06", "has07", "has09")])
def test_the_naive_navigation_flies_the_mission_when_nothing_fails(name: str) -> None:
    own = Scenario.load(FOLDER / f"{name}.toml", check=False)
    tables = merge(own.tables, own.twin_tables)
    tables.put("fault", [], name)
    tables.put("criterion", [c for c in tables["criterion"] if c["name"] != "units isolated"], name)  # who would be, without a fault
    assert lands(Bench.load(own.base, [], tables), 1)


SATURATED = """
[[fault]]
target = "imu[*]"
type = "saturate_accel"
at = { engine_lit = 0 }
after_s = 2.0
for_s = 0.1
"""


@pytest.mark.parametrize(("units", "end"), [("*", 0), ("1", 2)])
def test_what_saturates_together_is_the_environment_and_alone_it_is_the_unit(tmp_path: Path, units: str, end: int) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'extends = "{(FOLDER / "bench" / "landing_nav.toml").as_posix()}"\n' + SATURATED.replace("*", units), "utf-8")
    with Bench.load(path).start(1) as flight:
        excluded, until = 0, 0.0
        while flight.t_s > until - 0.01:
            until += 0.05
            flight.run(until)
            excluded |= int(flight.node("fcc").topic("imu_voted")["excluded_mask"])
        errors = flight.node("nav_judge").topic("nav_errors")
        assert excluded == end and flight.node("fcc").topic("imu_voted")["excluded_mask"] == 0  # isolation is reversible
        assert float(errors["v_err_added_m_s"]) < 0.5 and flight.verdict().outcome == "lands"


def test_without_a_naive_twin_there_are_no_teeth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = scenario(tmp_path)
    assert [r.verdict for r in fly_scenarios([own], 1, 1)] == [TOOTHLESS]
    assert run_cli(["campaign", "--accidents", str(own.path), "--seeds", "1", "--offsets", "1", "--workers", "1"]) == 1
    text = capsys.readouterr().out
    assert "no teeth" in text and "the naive twin met every criterion" in text and "0 of 1 scenarios hold" in text
    assert [r.verdict for r in fly_scenarios([scenario(tmp_path, twin=NAIVE_SEQUENCER)], 1, 1)] == [HOLDS]


def test_a_twin_that_fails_otherwise_has_no_teeth(tmp_path: Path) -> None:
    naive = '[[naive.mechanism]]\nname = "runaway"\ntopic = "judge.engines"\nfield = "over_s"\nmin = 1.0'
    result, = fly_scenarios([scenario(tmp_path, twin=NAIVE_SEQUENCER, naive=naive)], 1, 1)
    assert result.verdict == TOOTHLESS and "failed, but not so: runaway" in result.side(True)[0].why


def test_ours_that_fails_is_told(tmp_path: Path) -> None:
    fault = '[[fault]]\ntarget = "engine[0]"\ntype = "no_light"\n'
    strict = '[[criterion]]\nname = "starts"\ntopic = "judge.engines"\nfield = "starts"\nmax = 1\n'
    result, = fly_scenarios([scenario(tmp_path, fault=fault + strict, twin=NAIVE_SEQUENCER)], 1, 1)
    assert result.verdict == BROKEN and "starts 3" in result.side(False)[0].why


def test_an_injection_that_never_happens_proves_nothing(tmp_path: Path) -> None:
    fault = '[[fault]]\ntarget = "engine[0]"\ntype = "no_light"\nat = { time_s = 5000.0 }\n'
    result, = fly_scenarios([scenario(tmp_path, fault=fault, twin=NAIVE_SEQUENCER)], 1, 1)
    assert not any(r.met for r in result.runs) and {r.why for r in result.runs} == {"a fault never came into force"}


def test_offsets_move_the_fault_and_workers_change_nothing(tmp_path: Path) -> None:
    own = scenario(tmp_path, twin=NAIVE_SEQUENCER, accident="offset_s = [0.0, 1.0]")
    assert own.offsets(3) == [0.0, 0.5, 1.0] and own.offsets(1) == [0.5]
    assert own.bench(offset_s=0.5).config.fault[0].after_s == 0.5
    one, = fly_scenarios([own], 2, 2, workers=1)
    two, = fly_scenarios([own], 2, 2, workers=2)
    assert one.runs == two.runs and len(one.runs) == 8


@pytest.mark.parametrize(("change", "told"), [
    ({"accident": 'judged = ["speed"]'}, 'accident.judged: there is no criterion "speed"'),
    ({"accident": "offset_s = [2.0, 1.0]"}, "the first number is greater than the second"),
    ({"accident": 'kind = "constants"'}, '`change` goes with kind = "constants"'),
    ({"accident": "seeds = 3"}, "accident.seeds: unknown key"),
    ({"naive": '[[naive.mechanism]]\nname = "x"\ntopic = "judge.engines"\nfield = "nothing"\nmin = 1'}, "naive.mechanism[#1].field"),
    ({"naive": "[naive.bench]\nseed = 1"}, "how the mechanism shows is wanted"),
    ({"naive": '[[naive.count]]\nname = "x"\nnode = "ecu0"\ntask = "controller"\nfield = "nothing"\nmin = 1'}, 'keeps "nothing"'),
])
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, change: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scenario(tmp_path, **change)
    assert told in str(caught.value) and "own.toml" in str(caught.value)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(FOLDER / "has27_settling.toml")
    assert run_cli(["campaign", "--accidents", file, "--seeds", "1", "--offsets", "1", "--workers", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    row, = told["scenarios"]
    assert (row["number"], row["ours_passed"], row["ours_flown"], row["naive_failed"], row["verdict"]) == ("HAS-27", 1, 1, 1, "holds")
    for args in (["--accidents", "-n", "3"], ["--seeds", "3", str(LANDING)], ["--accidents", str(tmp_path)], [], ["--accidents", "has99"]):
        assert run_cli(["campaign", *args]) == 2
    with pytest.raises(ConfigError, match="no scenario of this name"):
        find_scenarios(["has99"])


def test_wrong_constants_are_refused_by_range_or_rehearsal_and_a_last_bit_is_not() -> None:
    assert gate(LANDING, Constant("control", "kw_1_s", "sign", -4.0))[0] == BY_RANGE
    assert gate(LANDING, Constant("control", "kw_1_s", "NaN", changed(4.0, "NaN")))[0] == BY_RANGE
    assert gate(LANDING, Constant("control", "kw_1_s", "/ 10", 0.4))[0] == BY_REHEARSAL
    verdict, bench = gate(LANDING, Constant("control", "kw_1_s", "1 ulp", changed(4.0, "1 ulp")))
    assert verdict == ACCEPTED and bench is not None and lands(bench, 1)
