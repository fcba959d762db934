"""flightsw nav run: mapping files, every format of recorded data, scores, report, and the bars on the data sets."""

import csv
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import telemetry_support as made
from test_navigation_api import boat

from flightsw import python_task
from flightsw.cli import run_cli
from flightsw.errors import ConfigError
from flightsw.graph import Graph
from flightsw.log import ChannelDef, LogWriter
from flightsw.messages import builtin
from flightsw.navigation import NavigationFilter, Start, ecef_to_geodetic, ned_axes
from flightsw.schedule import NodeSpec, TaskSpec, compile_node
from hil.nav import load_job, run_job
from hil.recording import VARIABLE

ROOT = Path(__file__).resolve().parents[1]
MAPPINGS = ROOT / "bench_configs" / "mappings"
IMU, GNSS, START, TRUTH = boat()
TICK = 10_000_000

HEAD = """
[nav]
name = "boat"
title = "A boat on a lake"
rate_hz = 10.0
[filter]
site_lat_deg = 46.4
site_lon_deg = 6.5
site_height_m = 372.0
gnss_x_m = 1.5
gnss_y_m = -0.4
cov_period_ticks = 5
init_sigma_r_m = [2.0, 2.0, 2.0]
init_sigma_v_m_s = [0.2, 0.2, 0.2]
init_sigma_att_deg = [1.0, 1.0, 2.0]
[start]
latitude_deg = 46.4
longitude_deg = 6.5
height_m = 372.0
velocity_ned_m_s = [6.0, 0.0, 0.0]
attitude = [1.0, 0.0, 0.0, 0.0]
"""
FILES = """
[imu]
file = "imu.csv"
origin = "here"
time_column = "timestamp"
time_unit = "us"
values = { valid = 1 }
fields.dtheta_b = { columns = ["gx", "gy", "gz"], unit = "rad" }
fields.dv_b = { columns = ["ax", "ay", "az"], unit = "m/s" }
[gnss]
file = "gnss.csv"
origin = "here"
time_column = "timestamp"
time_unit = "us"
values = { valid = 1, sigma_r_m = [1.0, 1.0, 1.0], sigma_v_m_s = [0.05, 0.05, 0.05] }
position = { field = "r_e", latitude = "lat", longitude = "lon", height = "h", velocity_field = "v_e", velocity_ned = ["vn", "ve", "vd"] }
"""
TRUE = """
[truth]
file = "truth.csv"
origin = "here"
time_column = "timestamp"
time_unit = "us"
fields.geodetic = { columns = ["lat", "lon"], unit = "deg" }
fields.height_m = { columns = "h" }
fields.v_ned_m_s = { columns = ["vn", "ve", "vd"] }
fields.q_nb = { columns = ["w", "x", "y", "z"] }
[[window]]
name = "second half"
from_s = 15.0
position_m = 1.0
velocity_m_s = 0.2
attitude_deg = 2.5
"""


def us(t_ns):
    return (np.asarray(t_ns) // 1000).tolist()


def geodetic(r_e, v_e):
    lat, lon, h = ecef_to_geodetic(r_e)
    v = np.einsum("nij,nj->ni", ned_axes(lat, lon), v_e)
    return {"lat": np.rad2deg(lat).tolist(), "lon": np.rad2deg(lon).tolist(), "h": h.tolist(), "vn": v[:, 0].tolist(), "ve": v[:, 1].tolist(),
            "vd": v[:, 2].tolist()}


TABLES = {
    "imu": {"timestamp": us(IMU["t_valid_ns"]), **{n: IMU["dtheta_b"][:, k].tolist() for k, n in enumerate(("gx", "gy", "gz"))},
            **{n: IMU["dv_b"][:, k].tolist() for k, n in enumerate(("ax", "ay", "az"))}},
    "gnss": {"timestamp": us(GNSS["t_valid_ns"]), **geodetic(GNSS["r_e"], GNSS["v_e"])},
    "truth": {"timestamp": us(np.rint(TRUTH["t"] * 1e9).astype(int)), **geodetic(TRUTH["r_e"], TRUTH["v_e"]),
              **{n: TRUTH["q_nb"][:, k].tolist() for k, n in enumerate("wxyz")}},
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """write(mapping text, {table: change}) -> path of the mapping, with CSV files of all tables."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    (tmp_path / "data").mkdir()

    def write(text=HEAD + FILES + TRUE, **tables):
        for name, table in (TABLES | tables).items():
            made.write_csv(tmp_path / "data" / f"{name}.csv", table)
        path = tmp_path / "boat_nav.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def rows(path):
    return np.loadtxt(path, delimiter=",")


# ---- what a run leaves -------------------------------------------------------------------------------------------------


def test_a_run_and_what_it_writes(place, tmp_path):
    result = run_job(load_job(place()), tmp_path / "runs")
    assert result.met
    names = {p.name for p in result.run_dir.iterdir()}
    assert names == {"nav.json", "report.html", "solution.csv", "states.csv", "measurements.csv"}
    told = json.loads((result.run_dir / "nav.json").read_text())
    assert [w["name"] for w in told["scores"]] == ["whole record", "second half"]
    assert told["measurements"] == {"gnss": {"fused": 150}}
    assert told["imu"] == {"samples": 3000, "refused": 0}
    assert [x["ok"] for x in told["limits"]] == [True] * 3
    assert abs(told["innovations"]["gnss"]["nis"]["mean"] - 1) < 0.25
    solution = rows(result.run_dir / "solution.csv")
    assert solution.shape == (300, 11)
    assert np.allclose(np.diff(solution[:, 0]), 0.1)
    page = (result.run_dir / "report.html").read_text("utf-8")
    for part in ("Errors against the truth", "Innovations, gnss", "Biases", "Rejected measurements", "Within all limits"):
        assert part in page
    assert "http://" not in page.split("<script>")[0]
    assert (tmp_path / "runs" / "latest").resolve() == result.run_dir


def test_scores_are_those_of_an_independent_calculation(place, tmp_path):
    result = run_job(load_job(place()), tmp_path / "runs", report=False)
    r = np.array([np.interp(result.solution.t_s, TRUTH["t"], TRUTH["r_e"][:, k]) for k in range(3)]).T
    late = result.solution.t_s >= 15.0
    e = (result.solution.rows["r_e"] - r)[late]
    window = result.content["scores"][1]
    assert window["position"]["rms"] == pytest.approx(np.sqrt((e**2).sum(1).mean()), rel=1e-3)
    heading = 2 * np.arctan2(result.solution.q_nb()[:, 3], result.solution.q_nb()[:, 0]) - 0.05 * result.solution.t_s
    assert np.allclose(result.errors.error[:, 8], (heading + np.pi) % (2 * np.pi) - np.pi, atol=2e-4)
    assert result.errors.dof == 9
    assert 0.2 < window["nees_per_state"] < 3.0


def test_measurements_say_why(place, tmp_path):
    fixes = {k: list(v) for k, v in TABLES["gnss"].items()}
    fixes["h"][50] += 400.0
    result = run_job(load_job(place(gnss=fixes)), tmp_path / "runs")
    assert result.content["measurements"]["gnss"] == {"fused": 149, "rejected by the gate": 1}
    with (result.run_dir / "measurements.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == 150
    bad = [r for r in table if r["outcome"] != "fused"]
    assert [r["outcome"] for r in bad] == ["rejected by the gate"]
    assert float(bad[0]["t_s"]) == pytest.approx(10.2)
    assert float(bad[0]["innovation_2"]) == pytest.approx(-400.0, abs=5.0)
    page = (result.run_dir / "report.html").read_text("utf-8")
    assert "1 of 150 measurements were not fused" in page and "10.200" in page


# ---- formats -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def expected(place, tmp_path):
    return run_job(load_job(place(HEAD + FILES)), tmp_path / "first", report=False).solution


@pytest.mark.parametrize("name", ["a.csv.gz", "a.json", "rows.json", "a.parquet", "a.ulg"])
def test_every_format_gives_the_same_solution(expected, place, tmp_path, name):
    if name.endswith(("parquet", "ulg")):
        pytest.importorskip("pyarrow" if name.endswith("parquet") else "pyulog")
    text = HEAD + FILES.replace('"imu.csv"', f'"imu_{name}"').replace('"gnss.csv"', f'"gnss_{name}"')
    if name.endswith("ulg"):
        text = text.replace('origin = "here"', 'origin = "here"\nmessage = "sensor"')
    path = place(text)
    for kind in ("imu", "gnss"):
        made.WRITERS[name](tmp_path / "data" / f"{kind}_{name}", TABLES[kind])
    solution = run_job(load_job(path), tmp_path / "runs", report=False).solution
    assert solution.rows.tobytes() == expected.rows.tobytes()
    assert solution.outcomes.tobytes() == expected.outcomes.tobytes()


@python_task("nav_run.boat", reads={}, writes={"imu": "fsw_imu_t", "gnss": "fsw_gnss_t"})
def sensors(io):
    io.writes["imu"][()] = IMU[io.tick]
    if io.tick % 20 == 19:
        io.writes["gnss"][()] = GNSS[io.tick // 20]
    else:
        io.withhold("gnss")


def test_a_log_of_this_software(place, tmp_path, capsys):
    node = compile_node(NodeSpec("n", [TaskSpec("s", "nav_run.boat", 1)], TICK), {sensors.name: sensors}, builtin(), {})
    graph = Graph([node], [], builtin(), 3)
    path = place(HEAD + '[imu]\nfile = "a.mcap"\norigin = "here"\nmessage = "/n/imu"\n'
                        '[gnss]\nfile = "a.mcap"\norigin = "here"\nmessage = "/n/gnss"\n')
    writer = LogWriter(tmp_path / "data" / "a.mcap", [ChannelDef("n", t.name, t.type) for t in node.topics.values()], {}, {}, TICK)
    graph.attach_recorder(writer.recorder, writer.channel_map)
    while graph.run(len(IMU)):
        writer.drain()
    writer.close()
    job = load_job(path)
    nav = job.filter()
    solution = nav.run(job.sensors["imu"][0], job.sensors["gnss"], every=10)
    own = Start.geodetic(0.0, 46.4, 6.5, 372.0, [6.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0])
    direct = NavigationFilter(job.params, own).run(IMU, GNSS, every=10)
    assert solution.rows.tobytes() == direct.rows.tobytes()
    path.write_text(path.read_text().replace("/n/gnss", "/n/gns"), "utf-8")
    assert run_cli(["nav", "run", str(path)]) == 2
    assert 'gnss[#1].message: there is no topic "/n/gns" in this log, did you mean "/n/gnss"?' in capsys.readouterr().err
    path.write_text(path.read_text().replace("/n/gns", "/n/imu"), "utf-8")
    assert run_cli(["nav", "run", str(path)]) == 2
    assert 'the messages of "/n/imu" are not fsw_gnss_t' in capsys.readouterr().err


# ---- the command -------------------------------------------------------------------------------------------------------


def test_command_line(place, tmp_path, capsys):
    path = place()
    assert run_cli(["nav", "run", str(path), "--out", str(tmp_path / "r"), "--no-report"]) == 0
    out = capsys.readouterr().out
    assert "A boat on a lake: within all limits" in out and "gnss: 150 fused" in out and "NIS per degree of freedom" in out
    path.write_text(path.read_text().replace("position_m = 1.0", "position_m = 0.001"), "utf-8")
    assert run_cli(["nav", "run", str(path), "--out", str(tmp_path / "r"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["met"] and [x["ok"] for x in told["limits"]] == [False, True, True]
    assert "Outside its limits" in (Path(told["run_dir"]) / "report.html").read_text("utf-8")


def test_data_folder_by_option(place, tmp_path, monkeypatch, capsys):
    path = place()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert run_cli(["nav", "run", str(path), "--out", str(tmp_path / "r")]) == 2
    assert 'imu.file: there is no file "imu.csv"' in capsys.readouterr().err
    assert run_cli(["nav", "run", str(path), "--out", str(tmp_path / "r"), "--no-report", "--data", str(tmp_path / "data")]) == 0


@pytest.mark.parametrize(("old", "new", "text"), [
    ("gnss_x_m", "gnss_x", 'filter.gnss_x: unknown parameter, did you mean "gnss_x_m"?'),
    ("site_height_m = 372.0", "", "filter.site_height_m: is missing, allowed -500 to 9000"),
    ("gnss_x_m = 1.5", "gnss_x_m = 900.0", "filter.gnss_x_m: 900 is out of range, allowed -200 to 200"),
    ("rate_hz = 10.0", "rate_hz = 0.0", "nav.rate_hz: 0.0 is out of range"),
    ("rate_hz = 10.0", "rate_h = 10.0", "nav.rate_h: unknown key"),
    ("attitude = [1.0", "attitude = [9.0", "start.attitude"),
    ("latitude_deg = 46.4\nlongitude", 'from = "truth"\nlatitude_deg = 46.4\nlongitude', "exclude each other"),
    ('unit = "rad" }', 'unit = "turn" }', "imu.fields.dtheta_b.unit: \"turn\" is not a known unit"),
    ("fields.dv_b", "fields.dv", 'imu.fields.dv: fsw_imu_t has no such field, did you mean "dv_b"?'),
    ('columns = ["ax", "ay", "az"]', 'columns = ["ax", "ay"]', "imu.fields.dv_b: 2 given, fsw_imu_t.dv_b has 3"),
    ('file = "gnss.csv"', 'file = "../gnss.csv"', "gnss[#1].file"),
    ('file = "gnss.csv"', f'file = "gnss.csv"\nsha256 = "{"0" * 64}"', "its SHA-256 differs"),
    ('file = "gnss.csv"', 'file = "gnss.csv"\ndelay_s = -1.0', "gnss[#1].delay_s: -1.0 is out of range, allowed 0 to 1000"),
    ("fields.height_m", "fields.heigth_m", "truth.fields.heigth_m: truth has no such field"),
    ('"lat", longitude', '"latt", longitude', "latt: there is no such column"),
    ("cov_period_ticks = 5", "cov_period_ticks = 5\nimu_period_ms = 1.0", "imu_period_ms: is 1, but the samples are 10 ms apart"),
    ("from_s = 15.0", "from_s = 15.0\nto_s = 14.0", "to_s must be greater than from_s"),
    ("[imu]\n", "[imu]\nmapping = \"none.toml\"\n", "there is no such file"),
    ("height_m = 372.0\nvel", "height_m = 372.0\ntime_s = 900.0\nvel", "start.time_s: there is no IMU sample after it"),
])
def test_bad_mappings_are_one_clear_sentence(place, tmp_path, capsys, old, new, text):
    whole = HEAD + FILES + TRUE
    assert old in whole
    assert run_cli(["nav", "run", str(place(whole.replace(old, new, 1))), "--out", str(tmp_path / "r")]) == 2
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err and not (tmp_path / "r").exists()


def test_windows_need_a_truth(place):
    with pytest.raises(ConfigError, match="and there is none"):
        load_job(place(HEAD + FILES + "[[window]]\nname = 'a'\n"))
    with pytest.raises(ConfigError, match=r"there is no \[truth\]"):
        load_job(place((HEAD + FILES).replace("latitude_deg = 46.4\nlongitude_deg = 6.5\nheight_m = 372.0\n", 'from = "truth"\n')
                       .replace("attitude = [1.0, 0.0, 0.0, 0.0]\n", "")))


# ---- data sets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "data", "start_s"), [("booster", "booster_synth", 0.6), ("navego", "navego_synth_imu1", 0.005)])
def test_the_bars_on_the_data_sets(data_set, tmp_path, monkeypatch, name, data, start_s):
    """The limits stand in the mapping files; the data set's own scoring reads our solution and agrees with our scores."""
    folder = data_set("estimation")
    monkeypatch.setenv(VARIABLE, str(folder.parent))
    result = run_job(load_job(MAPPINGS / f"{name}_nav.toml"), tmp_path / "runs", report=False)
    assert result.met, [x for x in result.content["limits"] if not x["ok"]]
    assert len(result.content["limits"]) >= 3
    spec = importlib.util.spec_from_file_location("score", folder / "score.py")
    score = importlib.util.module_from_spec(spec)
    sys.modules["score"] = score
    spec.loader.exec_module(score)
    solution, truth = rows(result.run_dir / "solution.csv"), rows(folder / score.TRUTH_OF[data])
    for window in result.content["scores"][1:]:
        theirs = score.accuracy(solution, truth, window["from_s"], window["to_s"])
        for ours, key in (("position", "pos_m"), ("velocity", "vel_mps"), ("attitude", "att_deg")):
            assert window[ours]["rms"] == pytest.approx(theirs[key]["rms_3d"], rel=1e-3)
            assert window[ours]["max"] == pytest.approx(theirs[key]["max_3d"], rel=1e-3)
    for nis in ("nis", "nis_velocity"):
        assert abs(result.content["innovations"]["gnss"][nis]["mean"] - 1) < 0.05
    assert result.solution.t_s[0] > start_s


def test_a_wrong_lever_arm_breaks_the_bars(data_set, tmp_path, monkeypatch):
    folder = data_set("estimation")
    monkeypatch.setenv(VARIABLE, str(folder.parent))
    text = (MAPPINGS / "booster_nav.toml").read_text("utf-8").replace("gnss_x_m = 2.0", "gnss_x_m = -2.0")
    (tmp_path / "wrong.toml").write_text(text, "utf-8")
    assert not run_job(load_job(tmp_path / "wrong.toml"), tmp_path / "runs", report=False).met


def test_hedys_sensors(data_set, tmp_path, monkeypatch):
    """Mapping files of the bench serve here as well; the receiver repeats one position from 36 s to 104 s and is seen frozen."""
    folder = data_set("telemetry/hprocket")
    monkeypatch.setenv(VARIABLE, str(folder.parents[1]))
    result = run_job(load_job(MAPPINGS / "hedy_nav.toml"), tmp_path / "runs", report=False)
    assert result.errors is None and result.content["scores"] == []
    outcomes = result.solution.outcomes
    frozen = outcomes[(outcomes["kind"] == 1) & (outcomes["outcome"] == 8)]["t_valid_ns"] * 1e-9
    assert ((frozen > 40) & (frozen < 100)).sum() > 50
    height = result.solution.geodetic()[2] - 144.0
    assert height[result.solution.t_s < 38.0].max() == pytest.approx(
        np.genfromtxt(folder / "hedy_flightInfo.csv", delimiter=",", names=True)["height"].max(), abs=15.0)
