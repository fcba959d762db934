"""Mapping files of recorded telemetry: as good as tables of the bench, told by their own names; the report; the tutorial."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from flightsw.errors import ConfigError
from flightsw.log import Log
from hil import Bench, run_bench
from hil.recording import VARIABLE

BENCH = """
[bench]
name = "r"
duration_s = 1.0
base_tick_ns = 10_000_000
tasks = "t.py"
messages = "m.h"
[[node]]
name = "board"
[node.recording]
mapping = "maps/m.toml"
[[node]]
name = "n"
role = "flight_computer"
record = "all"
[[node.task]]
name = "t"
type = "my.t"
period_ticks = 1
[[link]]
from = "board.baro"
to = ["n.baro"]
"""
MAPPING = """
file = "a.csv"
origin = "nowhere"
topic = "baro"
type = "fsw_baro_t"
time_column = "time"
time_unit = "ms"
values = { valid = 1 }
fields.p_pa = { columns = "p", unit = "hPa" }
"""
HEADER = """#include <stdint.h>
/* cffi: begin */
typedef struct {
  int64_t t_valid_ns;
  double p_pa;
  double sigma_p_pa;
  double innov_p_pa;
  double innov_sigma_p_pa;
  double t_start_s;
  double annotated_start_s;
} mean_t;
/* cffi: end */
"""
TASK = """
from flightsw import python_task
@python_task("my.t", reads={"baro": "fsw_baro_t"}, writes={"mean": "mean_t"}, state="typedef struct { double mean; } my_mean_t;")
def t(io):
    out = io.writes["mean"]
    if io.age_ticks("baro") != 0:
        io.withhold("mean")
        return
    z, s = io.reads["baro"], io.state
    out["innov_p_pa"], out["innov_sigma_p_pa"] = z["p_pa"] - s["mean"], 1.0
    s["mean"] += 0.5 * out["innov_p_pa"]
    out["t_valid_ns"], out["p_pa"], out["sigma_p_pa"] = z["t_valid_ns"], s["mean"], 0.5
    out["t_start_s"], out["annotated_start_s"] = 0.125, 1.0
"""


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """write(bench, mapping, {file: content}) -> path of the bench."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    (tmp_path / "maps").mkdir()
    (tmp_path / "t.py").write_text(TASK)
    (tmp_path / "m.h").write_text(HEADER)

    def write_all(text=BENCH, table=MAPPING, **content):
        for name, rows in ({"a": "time,p\n0,1\n100,2\n"} | content).items():
            (tmp_path / f"{name}.csv").write_text(rows)
        (tmp_path / "maps" / "m.toml").write_text(table)
        (tmp_path / "r.toml").write_text(text)
        return tmp_path / "r.toml"

    return write_all


def problems(path) -> str:
    with pytest.raises(ConfigError) as caught:
        Bench.load(path).start()
    return str(caught.value)


def test_a_mapping_file_is_as_good_as_a_table(bench, tmp_path):
    digests = []
    inline = BENCH.replace('mapping = "maps/m.toml"', MAPPING)
    for k, text in enumerate((BENCH, inline)):
        with Bench.load(bench(text)).start(log=tmp_path / f"{k}.mcap") as flight:
            flight.run()
        assert flight.log["/n/baro"]["p_pa"].tolist() == [100.0, 200.0]
        digests.append(flight.graph.digests())
    assert digests[0] == digests[1]
    log = Log.open(tmp_path / "0.mcap")
    assert log.attachments["config/maps/m.toml"].decode() == MAPPING
    assert log.metadata["recorded_topics"] == {"/n/baro": "board"}


def test_keys_beside_a_mapping_rule_over_it(bench):
    text = BENCH.replace('mapping = "maps/m.toml"', 'mapping = "maps/m.toml"\nfile = "b.csv"\nfields.p_pa.unit = "kPa"')
    with Bench.load(bench(text, b="time,p\n50,7\n")).start() as flight:
        flight.run()
        assert flight.node("n").topic("baro")["p_pa"] == 7000.0


def test_an_extending_bench_changes_the_file(bench, tmp_path):
    bench(b="time,p\n50,7\n")
    (tmp_path / "sub").mkdir()
    own = tmp_path / "sub" / "own.toml"
    own.write_text('extends = "../r.toml"\n[[node]]\nname = "board"\nrecording.file = "b.csv"\n')
    with Bench.load(own).start() as flight:
        flight.run()
        assert flight.node("n").topic("baro")["p_pa"] == 700.0


@pytest.mark.parametrize(("old", "new", "text"), [
    ("time_unit", "time_unti", 'maps/m.toml: time_unti: unknown key, did you mean "time_unit"?'),
    ('"ms"', '"h"', "maps/m.toml: time_unit: \"h\" is not one of 's', 'ms', 'us' or 'ns'"),
    ('unit = "hPa"', 'unit = "psi"', 'maps/m.toml: fields.p_pa.unit: "psi" is not a known unit'),
    ("fields.p_pa", "fields.p_pb", 'maps/m.toml: fields.p_pb: fsw_baro_t has no such field, did you mean "p_pa"?'),
    ("valid = 1", 'valid = "yes"', "maps/m.toml: values.valid: is not a number"),
    ('columns = "p"', "columns = []", "maps/m.toml: fields.p_pa.columns: 0 entries given, at least 1 wanted"),
    ('"a.csv"', '"a.dat"', "maps/m.toml: file: the suffix of \"a.dat\" does not tell the format: give format = one of csv, json"),
    ('"a.csv"', '"a.parquet.gz"', "maps/m.toml: file: a parquet file cannot be read packed"),
    ('"a.csv"', '"a.ulg"', "maps/m.toml: file: a ULog holds many messages: say which one"),
    ('origin', 'message = "x"\norigin', "maps/m.toml: message: belongs to a ULog, this is another format"),
    ('origin', 'time_zero = "log_start"\norigin', "maps/m.toml: time_zero: only a ULog has a start of the log"),
    ('origin', 'gaps = "fill"\norigin', "maps/m.toml: gaps: \"fill\" is not one of 'refuse' or 'skip'"),
    ('origin', 'time_offset_s = inf\norigin', "maps/m.toml: time_offset_s: inf is not a finite number"),
    ('origin', 'headings = 1\norigin', "maps/m.toml: headings: 1 is not true or false"),
    ('origin', 'where = { column = "k" }\norigin', "maps/m.toml: where.equals: is missing"),
    ('"a.csv"', '"c.csv"', 'maps/m.toml: file: there is no file "c.csv"'),
    ('"a.csv"', '"../a.csv"', "maps/m.toml: file: \"../a.csv\" must be a relative path"),
    ('origin', 'mapping = "other.toml"\norigin', "maps/m.toml: mapping: a mapping file cannot build on another one"),
    ("file =", "file = =", "maps/m.toml: line 2: "),
    ("values = { valid = 1 }", "values = { valid = 1, p_pa = 3.0 }", "maps/m.toml: fields: p_pa is given twice"),
    ('"p"', '"q"', "a.csv: q: there is no such column"),
])
def test_a_bad_mapping_is_told_with_its_own_file(bench, old, new, text):
    assert old in MAPPING
    assert text in problems(bench(table=MAPPING.replace(old, new, 1)))


def test_bad_mappings_of_a_bench(bench):
    assert "r.toml: node[board].recording.topic: is missing" in problems(bench(table=MAPPING.replace('topic = "baro"\n', "")))
    told = problems(bench(BENCH.replace("maps/m.toml", "maps/n.toml")))
    assert "maps/n.toml: there is no such file (named by" in told and "r.toml: node[board].recording.mapping)" in told
    told = problems(bench(BENCH.replace('mapping = "maps/m.toml"', "mapping = 3")))
    assert "r.toml: node[board].recording.mapping: 3 is not a text" in told
    told = problems(bench(BENCH.replace('mapping = "maps/m.toml"', 'mapping = "maps/m.toml"\nfields.p_pa.unit = "psi"')))
    assert 'fields.p_pa.unit: "psi" is not a known unit' in told and "r.toml" in told


# ---- a flight with a gap, and what its report shows -----------------------------------------------------------------------


def test_a_gap_in_the_record_is_a_gap_in_the_flight(bench, tmp_path):
    rows = [k for k in range(0, 1000, 20) if not 300 < k < 600]
    path = bench(a="time,p\n" + "".join(f"{k},{'' if k == 200 else 1000 + k}\n" for k in rows),
                 table=MAPPING.replace("origin", 'gaps = "skip"\norigin', 1))
    result = run_bench(Bench.load(path), out_root=tmp_path / "runs")
    log = Log.open(result.log_path)
    arrived = [k for k in rows if k != 200 and k < 990]
    assert log["/n/baro"]["t_valid_ns"].tolist() == [k * 1_000_000 for k in arrived]
    assert log["/n/mean"]["log_t_ns"].tolist() == [k * 1_000_000 + 10_000_000 for k in arrived]
    page = (result.run_dir / "report.html").read_text("utf-8")
    assert "<td>/n/baro</td><td>board</td>" in page and "0.30 s at 0.30 s" in page
    assert "board: a.csv, SHA-256 not given, from nowhere" in page
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.S)[1])
    red = [(s["x0"], s["x1"]) for s in figures["estimate-n-mean-0"]["layout"]["shapes"] if s["type"] == "rect"]
    assert red == [(0.3, 0.6)]
    drawn = {}
    for trace in figures["estimate-n-mean-0"]["data"]:
        values = np.frombuffer(base64.b64decode(trace["y"]["bdata"]), "<f4")
        drawn.setdefault(trace["name"], []).append(values)
    mean, low, high = drawn["estimate"][0], *drawn["3 sigma"]
    assert np.allclose(mean, log["/n/mean"]["p_pa"]) and np.allclose(drawn["recorded, /n/baro"][0], log["/n/baro"]["p_pa"])
    assert np.allclose(high - mean, 1.5, atol=0.01) and np.allclose(mean - low, 1.5, atol=0.01)  # three times 0.5
    assert "innovation, p, Pa" in str(figures["estimate-n-mean-1"])
    assert '<td class="n">0.12</td><td class="n">1</td><td class="n">-0.88</td>' in page


def test_a_flight_without_recordings_has_no_such_sections(bench, tmp_path):
    path = bench(BENCH.replace('[node.recording]\nmapping = "maps/m.toml"',
                               '[[node.task]]\nname = "s"\ntype = "my.s"\nperiod_ticks = 1'))
    (tmp_path / "t.py").write_text(TASK + '@python_task("my.s", reads={}, writes={"baro": "fsw_baro_t"})\ndef s(io): pass\n')
    page = (run_bench(Bench.load(path), out_root=tmp_path / "runs").run_dir / "report.html").read_text("utf-8")
    assert "Recorded inputs" not in page and "Estimate /n/mean" not in page


# ---- the tutorial ----------------------------------------------------------------------------------------------------------


def test_the_tutorial_is_true(tmp_path, monkeypatch):
    """The files of docs/recorded-telemetry.md fly, and give the output that the page shows."""
    import runpy

    from click.testing import CliRunner

    from flightsw.cli import cli

    page = (Path(__file__).resolve().parents[1] / "docs" / "recorded-telemetry.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "data")
    for name, content in re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", page, re.M | re.S):
        (tmp_path / name).write_text(content, "utf-8")
    runpy.run_path("make_log.py")
    told = CliRunner().invoke(cli, ["run", "altimeter.toml"])
    assert told.exit_code == 0, told.output
    shown = page.split("```text\n")[1].splitlines()
    assert told.stdout.splitlines()[:2] == shown[:2]
    again = CliRunner().invoke(cli, ["replay", "runs/latest"])
    assert again.stdout.splitlines()[0] == shown[4]
    report = Path("runs/latest/report.html").read_text("utf-8")
    assert "<h2>Estimate /fcc/climb</h2>" in report and "<h2>Recorded inputs</h2>" in report
    Path("altimeter_mapping.toml").write_text(Path("altimeter_mapping.toml").read_text().replace("altitude_ft", "altitud_ft"))
    wrong = CliRunner().invoke(cli, ["run", "altimeter.toml"])
    assert isinstance(wrong.exception, ConfigError)
    assert f"flightsw: {wrong.exception}\n" in page
