"""A real flight as recorded boards: the mapping row by row, the verdict beside the on-board estimate, replay, bad mappings."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from flightsw.errors import ConfigError
from flightsw.log import Log
from flightsw.replay import replay
from hil import Bench, run_bench
from hil.recording import VARIABLE

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(data_set):
    return data_set("telemetry/hprocket")


@pytest.fixture(scope="module")
def flown(folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder.parents[1]))
        bench = Bench.load(ROOT / "bench_configs" / "hedy_recorded.toml")
        return run_bench(bench, out_root=tmp_path_factory.mktemp("runs"), report=False)


@pytest.fixture(scope="module")
def log(flown):
    return Log.open(flown.log_path)


def column(path, *names):
    with path.open() as stream:
        headings = stream.readline().strip().split(",")
        return np.loadtxt(stream, delimiter=",", usecols=[headings.index(n) for n in names], unpack=True)


# ---- the flight --------------------------------------------------------------------------------------------------------


def test_verdict(flown):
    verdict = flown.verdict
    assert verdict.met
    assert verdict.outcome == "agrees"
    assert {c.name: c.ok for c in verdict.criteria} == {c.name: True for c in verdict.criteria}
    assert len(verdict.criteria) == 6


def test_apogee_beside_the_record(folder, log):
    nav = log["/fcc/nav"]
    before_shock = nav[nav["t_valid_ns"] < 38_000_000_000]
    height, t = column(folder / "hedy_flightInfo.csv", "height", "ts")
    assert abs(before_shock["r_bl_l"][:, 2].max() - height.max()) < 15.0
    assert abs(before_shock["t_valid_ns"][before_shock["r_bl_l"][:, 2].argmax()] * 1e-9 - 0.766 - t[height.argmax()]) < 0.5


def test_samples_enter_as_recorded(folder, log):
    imu = log["/fcc/imu0"]
    ts, ax, ay, az, gx, gy, gz = column(folder / "hedy_imu.csv", "ts", "Ax", "Ay", "Az", "Gx", "Gy", "Gz")
    n = len(imu)
    assert n == 24558  # what arrives within 245.6 s
    assert np.array_equal(imu["seq"], np.arange(1, n + 1))
    assert np.array_equal(imu["t_valid_ns"], np.rint((ts[:n] + 0.766) * 1e9).astype(int))
    assert np.array_equal(imu["log_t_ns"], imu["t_valid_ns"] + 10_000_000)  # one tick of latency
    force, rate = np.stack([-ay, ax, az], 1), np.radians(np.stack([-gy, gx, gz], 1))
    mean = lambda x: 0.5 * (x[1:n] + x[: n - 1]) * np.diff(ts[:n])[:, None]  # noqa: E731
    assert np.allclose(imu["dv_b"][1:], mean(force), rtol=0, atol=1e-6)
    assert np.allclose(imu["dtheta_b"][1:], mean(rate), rtol=0, atol=1e-6)
    assert np.all(imu["dv_b"][:3, 0] > 0.09)  # the nose is up
    assert np.array_equal(log["/fcc/baro"]["p_pa"], column(folder / "hedy_baro.csv", "P")[: len(log["/fcc/baro"])])


def test_fixes_and_their_outages(folder, log):
    gnss, nav = log["/fcc/gnss0"], log["/fcc/nav"]
    lat, lon, ts = column(folder / "hedy_gnssInfo.csv", "latitude", "longitude", "ts")
    r = gnss["r_e"]
    assert len(r) == len(ts)
    assert np.allclose(np.degrees(np.arctan2(r[:, 1], r[:, 0])), lon, atol=1e-9)
    a, e2, s = 6378137.0, 6.69437999014e-3, np.sin(np.radians(lat))
    assert np.allclose(r[:, 2], (a / np.sqrt(1 - e2 * s * s) * (1 - e2) + 144.0) * s, atol=1e-3)
    assert np.diff(ts).max() == pytest.approx(4.0, abs=0.01)
    quality = {t: int(nav["quality"][np.searchsorted(nav["t_valid_ns"], (t + 0.766) * 1e9)]) for t in (20.0, 60.0, 240.0)}
    assert quality == {20.0: 0, 60.0: 1, 240.0: 0}  # the receiver repeats one position from 36 s to 104 s


def test_replay_is_identical(log):
    result = replay(log)
    assert result.identical
    assert result.ticks == 24560


# ---- mappings ------------------------------------------------------------------------------------------------------------

BENCH = """
[bench]
name = "r"
duration_s = 1.0
base_tick_ns = 10_000_000
tasks = "t.py"
[[node]]
name = "baro{k}"
for = 2
[node.recording]
file = "p{k}.csv"
origin = "nowhere"
topic = "baro"
type = "fsw_baro_t"
time_column = "time"
time_unit = "ms"
values = { valid = 1 }
fields.p_pa = { columns = "p", unit = "hPa" }
[[node]]
name = "n"
record = "all"
[[node.task]]
name = "t"
type = "my.t"
period_ticks = 1
[[link]]
from = "baro{k}.baro"
to = ["n.in{k}"]
for = 2
latency_ticks = 3
"""
TASK = """
from flightsw import python_task
@python_task("my.t", reads={"in0": "fsw_baro_t", "in1": "fsw_baro_t"}, writes={"out": "fsw_baro_t"})
def t(io):
    io.writes["out"]["p_pa"] = io.reads["in0"]["p_pa"] - io.reads["in1"]["p_pa"]
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """write(bench text, {file: content}) -> path of the bench."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "t.py").write_text(TASK)

    def write(bench=BENCH, **files):
        for name, text in ({"p0": "x,time,p\na,-5,1\nb,0,10\nc,25,20\n", "p1": "time,p\n100,5\n"} | files).items():
            (tmp_path / "data" / f"{name}.csv").write_text(text)
        (tmp_path / "r.toml").write_text(bench)
        return tmp_path / "r.toml"

    return write


def problems(path):
    with pytest.raises(ConfigError) as caught:
        Bench.load(path).start()
    return str(caught.value)


def test_rows_arrive_at_their_tick(small, tmp_path):
    with Bench.load(small()).start(log=tmp_path / "a.mcap") as flight:
        flight.run()
    a, b = flight.log["/n/in0"], flight.log["/n/in1"]
    assert a["log_t_ns"].tolist() == [30_000_000, 60_000_000]  # 0 ms and 25 ms, three ticks of latency; before 0: left out
    assert a["p_pa"].tolist() == [1000.0, 2000.0]
    assert a["t_valid_ns"].tolist() == [0, 25_000_000]
    assert a["seq"].tolist() == [2, 3]
    assert b["log_t_ns"].tolist() == [130_000_000]


def test_restore_goes_back_in_the_recording(small):
    with Bench.load(small()).start() as flight:
        flight.step(5)
        kept = flight.snapshot()
        flight.step(20)
        first = flight.graph.digests()
        flight.restore(kept)
        flight.step(20)
        assert flight.graph.digests() == first
        assert flight.node("n").topic("in0")["p_pa"] == 2000.0


@pytest.mark.parametrize(("old", "new", "text"), [
    ('columns = "p"', 'columns = ["p", "p"]', "2 given, fsw_baro_t.p_pa has 1"),
    ("fields.p_pa", "fields.p_pb", 'fsw_baro_t has no such field, did you mean "p_pa"?'),
    ("hPa", "psi", '"psi" is not a known unit'),
    ('type = "fsw_baro_t"', 'type = "fsw_barot"', 'there is no message "fsw_barot"'),
    ("valid = 1", "valid = true", "is not a number"),
    ("valid = 1", "seq = 1", "seq is filled from"),
    ('topic = "baro"', 'topic = "bar"', 'writes no topic "baro"'),
    ('columns = "p"', 'columns = "q"', "q: there is no such column"),
    ('time_column = "time"', 'time_column = "x"', "x: there is no such column"),
    ("p{k}.csv", "../p{k}.csv", "must be a relative path"),
    ("p{k}.csv", "q{k}.csv", "it comes from nowhere"),
    ('origin = "nowhere"', f'origin = "nowhere"\nsha256 = "{"0" * 64}"', "its SHA-256 differs"),
    ('origin = "nowhere"', 'origin = "nowhere"\nsha256 = "abc"', "recording.sha256"),
    ("for = 2\n[node.recording]", 'for = 2\nwhere = "zmq:a"\n[node.recording]', "a recording stands in the place of a board"),
    ("[[link]]", '[[link]]\nfrom = "baro0.baro"\nto = "n.in0"\n[[link]]', "is already fed by"),
])
def test_bad_mappings_are_refused(small, old, new, text):
    assert text in problems(small(BENCH.replace(old, new)))


@pytest.mark.parametrize(("content", "text"), [
    ("time,p\n0,1\n0,2\n", 'row 2: "time" does not go forward'),
    ("time,p\n0,1\n5,nan\n", 'row 2: "p" is not a finite number'),
    ("time,p\n0,1\n5,abc\n", 'row 2: "p" is "abc", not a number'),
    ("time,p\n", "has no rows"),
    ("", "time: there is no such column"),
    ("time,p\n11,1\n13,2\n", "fall into one tick"),
])
def test_bad_files_are_refused(small, content, text):
    assert text in problems(small(p0=content))


def test_data_folder_must_be_named(small, monkeypatch):
    path = small()
    monkeypatch.delenv(VARIABLE)
    assert f"the folder that {VARIABLE} names, and it names none; the file comes from nowhere" in problems(path)


def test_hash_of_the_file_is_checked(small):
    content = "time,p\n0,1\n"
    sha = hashlib.sha256(content.encode()).hexdigest()
    bench = BENCH.replace('origin = "nowhere"', f'origin = "nowhere"\nsha256 = "{sha}"')
    with Bench.load(small(bench, p0=content, p1=content)).start() as flight:
        flight.run()
        assert flight.node("n").writes_of("in0") == 1


def test_report_shows_both_estimates(flown):
    from hil.report import write_report

    page = write_report(flown.run_dir).read_text("utf-8")
    section = page[page.index('id="beside"'):]
    assert "Beside the recorded estimate" in section[:400]
    assert "navigation 5" in section[:900] and "recorded 5" in section[:900]


def test_absent_recording_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match="there is no file"):
        run_bench(Bench.load(ROOT / "bench_configs" / "hedy_recorded.toml"), out_root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
