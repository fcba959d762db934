"""The report of a run and the story of a flight, from logs made here."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsw import LogError, load_messages
from flightsw._native import ffi, lib
from flightsw.cli.report import command
from flightsw.log import ChannelDef, Log, LogWriter
from flightsw.messages import builtin, messages_of
from flightsw.schedule import NodeSpec, TaskSpec, compile_node
from flightsw.tasks import python_task
from hil.report import landing_image, sections_engines, signals, write_report
from hil.story import Event, event_name, events, sentence, tell

MS = 1_000_000
LIT, STARTED, DECIDED, NO_LIGHT, FAULT = 21, 20, 2, 22, 70
SECTIONS = ("events", "trajectory", "engines", "attitude", "navigation", "forces", "wind", "actuators", "slosh", "feasibility",
            "schedule", "facts")


def write_log(path: Path, topics: Mapping[str, tuple[str, np.ndarray]], attachments: Mapping[str, bytes] | None = None,
              types: Mapping[str, Any] | None = None) -> Path:
    """Log of ready arrays; topic "/node/topic" to (type, records), each written at its t_ns or 3 ms after its t_valid_ns."""
    types = types or builtin()
    channels = [ChannelDef(*name.strip("/").split("/"), types[kind]) for name, (kind, _) in topics.items()]
    meta = {"run": {"bench": "made", "title": "A made flight", "seed": "3"}}
    with LogWriter(path, channels, meta, attachments or {}, MS) as writer:
        rows = []
        for (kind, data), c in zip(topics.values(), channels, strict=True):
            field = next((f for f in ("t_ns", "t_valid_ns") if f in data.dtype.names), None)
            number = writer.channel_map[c.node, c.topic][0]
            late = 3 * MS if field == "t_valid_ns" else 0
            rows += [(int(r[field]) + late if field else k * MS, number, k, r.tobytes()) for k, r in enumerate(data)]
            assert data.dtype == types[kind].dtype
        for i, (t, channel, k, payload) in enumerate(sorted(rows, key=lambda r: r[:3])):
            lib.fsw_record(writer.recorder, channel, k, t, ffi.from_buffer(payload), len(payload))
            if i % 1000 == 999:  # several chunks
                writer.drain()
    return path


def zeros(kind: str, n: int) -> np.ndarray:
    return np.zeros(n, builtin()[kind].dtype)


def upright(data: np.ndarray, field: str) -> None:
    data[field] = signals.Q_UPRIGHT


def events_of(*rows: tuple[float, int, int, float, float]) -> np.ndarray:
    data = zeros("fsw_events_t", len(rows))
    for row, (t, code, subject, a, b) in zip(data, rows, strict=True):
        row["t_ns"], row["count"] = round(t * 1e9), 1
        row["code"][0], row["subject"][0], row["arg0"][0], row["arg1"][0] = code, subject, a, b
    return data


def flight(n: int = 400, lag: int = 3) -> dict[str, tuple[str, np.ndarray]]:
    """Twenty seconds of a braked fall. Navigation is exact, but `lag` ms old when it is logged."""
    t = np.arange(n) * (20.0 / n)
    state = zeros("fsw_world_state_t", n)
    state["t_ns"] = np.round(t * 1e9)
    height, fall = 2000.0 - 200.0 * t + 5.0 * t**2, -200.0 + 10.0 * t
    state["r_bl_l"][:, 2], state["v_bl_l"][:, 2], state["r_bl_l"][:, 0] = height, fall, 5.0
    upright(state, "q_bl")
    state["mass_kg"], state["propellant_kg"] = 30000.0 - 100.0 * t, 5000.0 - 100.0 * t
    state["thrust_n"][:, 0], state["f_thrust_b"][:, 0], state["alpha_rad"], state["axial_g"] = 6e5, 6e5, np.pi - 0.02, 2.0
    state["slosh_m"][:, 1], state["wind_l"][:, 0], state["fin_rad"][:, 2] = 0.1 * np.sin(t), 4.0, 0.05
    nav, status = zeros("fsw_nav_t", n), zeros("fsw_nav_status_t", n)
    age = lag * 1e-3
    nav["t_valid_ns"] = status["t_valid_ns"] = np.round((t - age) * 1e9)
    nav["r_bl_l"][:, 2] = 2000.0 - 200.0 * (t - age) + 5.0 * (t - age) ** 2
    nav["v_bl_l"][:, 2] = -200.0 + 10.0 * (t - age)
    nav["r_bl_l"][:, 0], nav["valid"] = 5.0, 1
    upright(nav, "q_bl")
    status["sigma_r_m"], status["sigma_v_m_s"], status["sigma_att_rad"] = 0.5, 0.02, 0.001
    guidance = zeros("fsw_guidance_t", n // 10)
    guidance["t_ns"], guidance["phase"], guidance["thrust_cmd_n"] = state["t_ns"][::10], 4, 6e5
    upright(guidance, "q_cmd_bl")
    guidance["divert"][-5:], guidance["target_l"][-5:] = 1, (250.0, 0.0, 0.0)
    engines = zeros("fsw_engines_t", n)
    engines["t_ns"], engines["pc_pa"][:, 0], engines["starts"][:, 0] = state["t_ns"], 8e6, 1
    engines["state"][:, 0] = np.where(t < 4, 3, np.where(t < 5, 6, 7))
    engines["lit_mask"] = np.where(t < 5, 0, 1)
    ecu, cmd = zeros("fsw_engine_status_t", n), zeros("fsw_engine_cmd_t", n)
    ecu["t_valid_ns"], ecu["valid"], ecu["throttle"] = state["t_ns"], 1, 0.8
    control, outcome = zeros("fsw_control_t", n), zeros("fsw_outcome_t", 2)
    control["t_ns"] = state["t_ns"]
    outcome["t_ns"], outcome["touched"], outcome["t_touch_ns"] = (0, 19_900 * MS), (0, 1), 19_800 * MS
    outcome["v_down_m_s"], outcome["tilt_deg"], outcome["miss_m"] = 1.25, 0.5, 4.5
    tvc, fins, rcs = zeros("fsw_tvc_cmd_t", n), zeros("fsw_fin_cmd_t", n), zeros("fsw_rcs_cmd_t", n)
    tvc["gimbal_rad"][:, 0], fins["fin_rad"][:, 2], rcs["on_mask"] = 0.01, 0.05, 5
    return {
        "/world/state": ("fsw_world_state_t", state), "/world/outcome": ("fsw_outcome_t", outcome),
        "/fcc/nav": ("fsw_nav_t", nav), "/fcc/nav_status": ("fsw_nav_status_t", status),
        "/fcc/guidance": ("fsw_guidance_t", guidance),
        "/fcc/engines": ("fsw_engines_t", engines), "/fcc/engine_status0": ("fsw_engine_status_t", ecu),
        "/fcc/engine_cmd1": ("fsw_engine_cmd_t", cmd), "/fcc/control": ("fsw_control_t", control),
        "/fcc/tvc": ("fsw_tvc_cmd_t", tvc), "/fcc/fins": ("fsw_fin_cmd_t", fins), "/fcc/rcs": ("fsw_rcs_cmd_t", rcs),
        "/fcc/events": ("fsw_events_t", events_of((4.0, STARTED, 0, 1.0, 0.0), (5.0, LIT, 0, 1.71, 0.78))),
        "/faults/events": ("fsw_events_t", events_of((4.5, FAULT, 1, lib.FSW_FAULT_NO_LIGHT, lib.FSW_TARGET_ENGINE))),
    }


RUN = {
    "bench": "made", "title": "A made flight", "seed": 3, "outcome": "lands", "expected": "lands", "met": True, "sim_s": 20.0,
    "criteria": [{"name": "speed, down", "value": 1.25, "limit_text": "<= 2", "margin": 0.75, "unit": "m/s", "ok": True},
                 {"name": "tilt", "value": None, "limit_text": "<= 3", "margin": None, "unit": "deg", "ok": False}],
    "feasibility": {"feasible": True, "reason": "one engine stops it", "table": [{"engines": 1, "lowest_m": 900.0}]},
    "software": {"version": "0.1.0"}, "hashes": {"fcc": "00ff"},
}


@python_task("report.tick", reads={}, writes={"nav": "fsw_nav_t"})
def _tick(io: Any) -> None:
    """Does nothing; stands in a schedule table."""


def blob() -> bytes:
    task = TaskSpec("navigate", "report.tick", 2, budget_us=120)
    return compile_node(NodeSpec("fcc", [task], MS), {_tick.name: _tick}, load_messages([]), {}).blob


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    config = (b'[bench]\nname = "made"\n[[task]]\nname = "navigate"\ntype = "report.tick"\n'
              b'[[link]]\nfrom = "a.x"\nto = ["b.x"]\nlatency_ticks = 7\n')
    write_log(tmp_path / "flight.mcap", flight(), {"blob/fcc": blob(), "config/made.toml": config})
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    return tmp_path


def page(path: Path) -> str:
    return write_report(path).read_text("utf-8")


def without_plotly(text: str) -> str:
    """The page without the plotting library, which is the one script of a megabyte."""
    return re.sub(r"<script>(.*?)</script>", lambda m: "" if len(m[1]) > 1_000_000 else m[0], text, flags=re.S)


def figures(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.S)
    assert found is not None
    assert "</" not in found[1]
    return json.loads(found[1])


def values(packed: Mapping[str, str]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["bdata"]), "<f4")


def trace(figure: Mapping[str, Any], name: str, axis: str) -> np.ndarray:
    return values(next(d for d in figure["data"] if d.get("name") == name and d.get("yaxis") == axis)["y"])


# ---- story ---------------------------------------------------------------------------------------------------------------

def test_events_become_sentences_in_time_order(tmp_path: Path) -> None:
    log = Log.open(write_log(tmp_path / "flight.mcap", flight()))
    told = events(log)
    assert [(e.t_s, e.node, e.name, e.subject) for e in told] == [
        (4.0, "fcc", "ENGINE_START", 0), (4.5, "faults", "FAULT_BEGIN", 1), (5.0, "fcc", "ENGINE_LIT", 0)]
    assert told[2].text == "engine 0: lit, chamber pressure 1.71 MPa, 0.78 s after its command"
    assert told[1].text == "fault injected: type no light on target engine, unit 1"


def test_all_slots_of_an_event_message_are_told(tmp_path: Path) -> None:
    data = events_of((1.0, LIT, 2, 1.0, 0.5))
    data["count"], data["code"][0, :3], data["subject"][0, :3] = 3, (LIT, NO_LIGHT, 4711), (2, 3, 4)
    told = events(Log.open(write_log(tmp_path / "flight.mcap", {"/a/said": ("fsw_events_t", data)})))
    assert [e.name for e in told] == ["ENGINE_LIT", "ENGINE_NO_LIGHT", "EVENT_4711"]
    assert told[2].text == "event 4711 of subject 4 (0, 0)"


def test_tell_aligns_times() -> None:
    lines = tell([Event(1.5, "a", "X", 0, "first"), Event(131.204, "a", "X", 0, "second")]).splitlines()
    assert lines == ["    1.50 s  first", "  131.20 s  second"]


@given(code=st.integers(0, 0xFFFF), subject=st.integers(0, 0xFFFF), a=st.floats(), b=st.floats())
@settings(max_examples=300, deadline=None)
def test_any_event_has_a_sentence_without_gaps(code: int, subject: int, a: float, b: float) -> None:
    text = sentence(code, subject, a, b)
    assert text and "{" not in text and event_name(code)


def test_names_of_states_and_phases_are_those_of_the_core() -> None:
    for prefix, names in (("FSW_ENGINE_", sections_engines.STATES), ("FSW_PHASE_", sections_engines.PHASES)):
        for number, name in enumerate(names):
            assert getattr(lib, prefix + name.split()[0].upper()) == number


# ---- signals ----------------------------------------------------------------------------------------------------------------

@given(n=st.integers(1, 3000), most=st.integers(4, 400), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_thinning_keeps_order_ends_and_extremes(n: int, most: int, seed: int) -> None:
    y = np.random.default_rng(seed).normal(size=n)
    t = np.arange(n) * 0.5
    ts, ys = signals.thin(t, y, most)
    assert len(ts) <= most + 2 and (np.diff(ts) > 0).all()
    assert ts[0] == t[0] and ts[-1] == t[-1]
    assert ys.min() == y.min() and ys.max() == y.max()
    assert np.array_equal(ys, y[(ts / 0.5).astype(int)])


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=4))
def test_hermite_is_exact_for_cubics(c: list[float]) -> None:
    p = np.polynomial.Polynomial(c)
    knots = np.array([0.0, 1.0, 3.0, 4.0])
    t = np.linspace(0, 4, 33)
    got = signals.interpolate_hermite(t, knots, p(knots)[:, None], p.deriv()(knots)[:, None])
    assert np.allclose(got[:, 0], p(t), atol=1e-9)


def turn(axis: int, angle: float) -> np.ndarray:
    q = np.zeros(4)
    q[0], q[1 + axis] = np.cos(angle / 2), np.sin(angle / 2)
    return q


@given(lean=st.floats(0.0, 3.1), heading=st.floats(-3.1, 3.1), roll=st.floats(-3.0, 3.0))
def test_tilt_and_roll(lean: float, heading: float, roll: float) -> None:
    swing = signals.quat_mul(signals.quat_mul(turn(2, heading), turn(0, lean)), turn(2, -heading))  # about a level axis of L
    q = signals.quat_mul(swing, signals.quat_mul(signals.Q_UPRIGHT, turn(0, roll)))
    assert signals.tilt_rad(q[None])[0] == pytest.approx(lean, abs=1e-6)
    if lean < 2.9:
        assert np.angle(np.exp(1j * (signals.roll_rad(q[None])[0] - roll))) == pytest.approx(0.0, abs=1e-6)


def test_rotation_error_is_a_vector_in_l() -> None:
    q = turn(1, 0.4)
    assert np.allclose(signals.rotation_error(signals.quat_mul(turn(2, 1e-4), q)[None], -q[None]), [[0, 0, 1e-4]], atol=1e-10)


# ---- report -----------------------------------------------------------------------------------------------------------------

def test_report_has_verdict_and_all_sections(run_dir: Path) -> None:
    text = page(run_dir)
    assert "<h1>LANDED, as expected</h1>" in text
    for ident in SECTIONS:
        assert f'<section id="{ident}">' in text, ident
    plain = without_plotly(text)
    assert "Not in this log" not in plain
    for words in ("1.25 m/s", "≤\N{NO-BREAK SPACE}2", "not met", "fault injected: type no light on target engine, unit 1",
                  "navigate", "report.tick", "One engine stops it.", "flightsw replay", '<td class="n">7</td>', "4.50 m"):
        assert words in plain, words
    assert len(text) < 8_000_000


def test_report_loads_nothing_and_says_so_to_the_browser(run_dir: Path) -> None:
    text = page(run_dir)
    plain = without_plotly(text)
    assert "default-src 'none'" in plain and "connect-src" not in plain
    assert not re.findall(r"https?://|@import|<link|url\(", plain)
    assert not [m for m in re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', plain) if not m.startswith("#")]


def test_report_is_deterministic(run_dir: Path) -> None:
    first = write_report(run_dir).read_bytes()
    assert write_report(run_dir).read_bytes() == first


def test_navigation_error_is_taken_at_the_time_of_validity(run_dir: Path) -> None:
    """Navigation here is exact but 3 ms old at up to 200 m/s: compared at the log's time it would be wrong by 0.6 m."""
    found = figures(page(run_dir))
    up = trace(found["navigation-0"], "error", "y3")
    assert len(up) > 100 and np.abs(up).max() < 1e-3
    assert np.abs(trace(found["navigation-1"], "error", "y3")).max() < 1e-6
    assert np.abs(trace(found["navigation-2"], "error", "y")).max() < 1e-6


def test_navigation_error_has_its_sign(tmp_path: Path) -> None:
    made = flight()
    made["/fcc/nav"][1]["r_bl_l"][:, 1] += 2.0
    text = page(write_log(tmp_path / "flight.mcap", made))
    assert trace(figures(text)["navigation-0"], "error", "y2") == pytest.approx(2.0, abs=1e-4)
    assert "position 66.7 %" in text  # one axis of three is outside


def test_diagrams_do_not_grow_with_the_log(tmp_path: Path) -> None:
    small = page(write_log(tmp_path / "flight.mcap", flight(4000)))
    most = max(len(values(d["y"])) for f in figures(small).values() for d in f["data"] if isinstance(d.get("y"), dict))
    assert most <= 1600


def test_engine_states_are_bars_with_their_times(run_dir: Path) -> None:
    data = figures(page(run_dir))["engines-0"]["data"]
    bars = {(d["name"], y): (base, x) for d in data for y, base, x in zip(d["y"], d["base"], d["x"], strict=True)}
    assert bars["chill", "engine 0"] == (0.0, 4.0)
    assert bars["rise", "engine 0"] == (4.0, 1.0)
    assert bars["main stage", "engine 0"] == pytest.approx((5.0, 14.953))


def test_lost_flight_names_what_failed(run_dir: Path) -> None:
    (run_dir / "run.json").write_text(json.dumps({**RUN, "outcome": "lost", "met": False}))
    plain = without_plotly(page(run_dir))
    assert "<h1>LOST, expected: lands</h1>" in plain and "Outside its limit: tilt" in plain


def test_text_from_files_is_not_markup(run_dir: Path) -> None:
    bad = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'
    run = {**RUN, "title": bad, "feasibility": {"feasible": False, "reason": bad}, "software": {bad: bad}, "bench": bad}
    (run_dir / "run.json").write_text(json.dumps(run))
    plain = without_plotly(page(run_dir))
    assert "<img" not in plain and "<script>alert" not in plain


def test_log_of_unknown_messages_still_makes_a_page(tmp_path: Path) -> None:
    own = messages_of("typedef struct { int64_t t_ns; double level_m[2]; uint32_t mode; uint32_t pad0; } tank_t;", "tank.h")
    data = np.zeros(50, own["tank_t"].dtype)
    data["t_ns"], data["level_m"][:, 1] = np.arange(50) * 10 * MS, np.linspace(0, 4, 50)
    text = page(write_log(tmp_path / "flight.mcap", {"/plant/tank": ("tank_t", data)}, types=own))
    plain = without_plotly(text)
    assert "No verdict" in plain and "Not in this log, so not shown: " in plain and "/plant/tank" in plain
    assert trace(figures(text)["topic-plant-tank-0"], "level_m[1]", "y")[-1] == 4.0
    assert not any(f'<section id="{ident}">' in plain for ident in SECTIONS if ident != "facts")


def test_message_of_another_version_is_not_taken_for_ours(tmp_path: Path) -> None:
    other = messages_of("typedef struct { int64_t t_ns; double height_m; } fsw_nav_t;", "other.h")
    data = np.zeros(5, other["fsw_nav_t"].dtype)
    data["t_ns"] = np.arange(5) * MS
    plain = without_plotly(page(write_log(tmp_path / "flight.mcap", {"/fcc/nav": ("fsw_nav_t", data)}, types=other)))
    assert '<section id="trajectory">' not in plain and "/fcc/nav" in plain


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_garbage_in_every_number_makes_gaps_not_errors(tmp_path: Path, value: float) -> None:
    made = flight(60)
    for kind, data in made.values():
        for name in data.dtype.names:
            if data.dtype[name].base.kind == "f" and kind != "fsw_outcome_t":
                data[name] = value
            elif data.dtype[name].base == np.uint8:
                data[name] = 255
    assert '<section id="trajectory">' in page(write_log(tmp_path / "flight.mcap", made))


def test_empty_log_makes_a_page(tmp_path: Path) -> None:
    made = {k: (kind, data[:0]) for k, (kind, data) in flight().items()}
    assert "No verdict" in page(write_log(tmp_path / "flight.mcap", made))


def test_single_messages_make_a_page(tmp_path: Path) -> None:
    made = {k: (kind, data[:1]) for k, (kind, data) in flight().items()}
    assert "No verdict" in page(write_log(tmp_path / "flight.mcap", made))


def test_cut_log_is_reported_as_not_complete(run_dir: Path) -> None:
    log = run_dir / "flight.mcap"
    log.write_bytes(log.read_bytes()[: log.stat().st_size * 2 // 3])
    plain = without_plotly(page(run_dir))
    assert "not complete" in plain and '<section id="trajectory">' in plain


def test_log_with_another_name_gets_a_report_of_that_name(run_dir: Path) -> None:
    other = (run_dir / "flight.mcap").rename(run_dir / "kept.mcap")
    assert write_report(other) == run_dir / "kept.html"
    assert "No verdict" in (run_dir / "kept.html").read_text("utf-8")


def test_command_prints_the_path(run_dir: Path) -> None:
    done = CliRunner().invoke(command, [str(run_dir)])
    assert done.exit_code == 0 and done.stdout.strip() == str(run_dir / "report.html")
    done = CliRunner().invoke(command, ["--json", str(run_dir / "flight.mcap")])
    assert json.loads(done.stdout)["report"] == str(run_dir / "report.html")


def test_no_log_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"flight\.mcap: there is no such log"):
        write_report(tmp_path)


def test_damaged_run_json_is_one_sentence(run_dir: Path) -> None:
    (run_dir / "run.json").write_text("{")
    with pytest.raises(LogError, match=r"run\.json: cannot be read"):
        write_report(run_dir)


# ---- picture ----------------------------------------------------------------------------------------------------------------

def test_landing_image_is_a_small_self_contained_svg(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = run_dir / "images" / "landing.svg"
    assert landing_image.main([str(run_dir), str(target)]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    text = target.read_text("utf-8")
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and len(text) < 60_000
    assert len(root.findall(".//{http://www.w3.org/2000/svg}polyline")) == 2
    assert "href" not in text and "@import" not in text and "url(" not in text
    assert "engine 0" in text and "lit" in text


def test_landing_image_of_nothing_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(tmp_path / "flight.mcap", {"/a/said": ("fsw_events_t", events_of((1.0, LIT, 0, 1.0, 1.0)))})
    assert landing_image.main([str(tmp_path), str(tmp_path / "x.svg")]) == 2
    assert "nothing to draw" in capsys.readouterr().err
