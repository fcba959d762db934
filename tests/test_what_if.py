"""What a what-if and `flightsw diff --report` leave behind: the replayed log, the page with both over one another, the numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from flightsw.cli.diff import command as diff_command
from flightsw.cli.replay import command
from flightsw.log import Log
from flightsw.replay import replay
from hil import Bench
from hil.report.overlay import compare, units_of
from hil.report.overlay_page import MOST_BYTES, Page, write_overlay
from hil.what_if import what_if

BENCH = Path(__file__).resolve().parents[1] / "bench_configs" / "zhuque3_landing.toml"
GAIN = "fcc.control.kp_1_s=2"


def call(what: click.Command, *args: str) -> Result:
    return CliRunner().invoke(what, args, catch_exceptions=False, standalone_mode=False)


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 8.02 s: not a multiple of the 64 ticks of a digest message."""
    path = tmp_path_factory.mktemp("flown") / "flight.mcap"
    with Bench.load(BENCH, ["bench.keyframe_s=2.0"]).start(log=path) as flight:
        flight.run(until=8.02)
    return path


@pytest.fixture(scope="module")
def asked(flown: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Folder of a what-if with a changed gain, and what the command printed as JSON."""
    out = tmp_path_factory.mktemp("runs")
    (out / "latest").mkdir()
    told = call(command, str(flown), "--what-if", "--set", GAIN, "--out", str(out), "--json")
    assert told.return_value == 0
    found = json.loads(told.stdout)
    folder = Path(found["what_if_dir"])
    assert folder.parent == out and re.fullmatch(r"\d{8}T\d{6}Z-zhuque3_landing-what_if-[0-9a-f]{6}", folder.name)
    assert not list((out / "latest").iterdir()) and not (out / "latest").is_symlink()
    return folder, found


def test_the_replayed_log_is_a_log_like_any_other(flown: Path, asked: tuple[Path, dict[str, Any]]) -> None:
    recorded, replayed = Log.open(flown), Log.open(asked[0] / "replayed.mcap")
    assert replayed.complete and not replayed.problems
    mine = {t for t in recorded.topics if t.startswith("/fcc/")}
    assert set(replayed.topics) == mine
    for topic in ("/fcc/imu0", "/fcc/nav", "/fcc/_inputs"):
        assert np.array_equal(recorded[topic], replayed[topic])
    assert not np.array_equal(recorded["/fcc/fins"]["fin_rad"], replayed["/fcc/fins"]["fin_rad"])
    assert [s.tick for s, _ in replayed.keyframes()] == [0, 2000, 4000, 6000, 8000, 8020]
    again = replay(replayed)
    assert again.identical and again.exact and again.ticks == 8020
    assert call(command, str(asked[0] / "replayed.mcap")).return_value == 0  # against the bench at hand, too
    assert replayed.metadata["replay"]["of_run"] == recorded.metadata["log"]["run_id"]
    assert json.loads(replayed.metadata["replay"]["changes"]) == {"fcc.control.kp_1_s": 2.0}


def test_the_page_needs_nothing_from_elsewhere(asked: tuple[Path, dict[str, Any]]) -> None:
    path = asked[0] / "what_if.html"
    text = path.read_text("utf-8")
    assert path.stat().st_size < MOST_BYTES
    assert "default-src 'none'; script-src 'unsafe-inline'" in text
    head, _, rest = text.partition("<script>")
    assert not re.search(r'(src|href)="(?!#)', head + rest.partition("</script>")[2])
    for words in ("Different from 0.020000 s on (tick 20)", "fcc.control.kp_1_s: 1.5 in the log, 2.0 in --set", "First divergence",
                  "Topics that differ", "/fcc/fins", "fin_rad["):
        assert words in text, words


def test_the_page_draws_both_and_their_difference(asked: tuple[Path, dict[str, Any]]) -> None:
    text = (asked[0] / "what_if.html").read_text("utf-8")
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.S)
    assert found is not None
    figures = json.loads(found[1])
    traces = [t for f in figures.values() for t in f["data"]]
    names = [t["name"] for t in traces]
    assert names.count("recorded") == names.count("replayed") == names.count("difference") > 2
    assert all((t["line"].get("dash") == "dash") == (t["name"] == "replayed") for t in traces)
    titles = [v["title"]["text"] for f in figures.values() for k, v in f["layout"].items() if k.startswith("legend")]
    assert any(re.search(r"fin_rad\[\d\], rad", t) for t in titles)


def test_the_result_as_json(asked: tuple[Path, dict[str, Any]]) -> None:
    folder, printed = asked
    kept = json.loads((folder / "what_if.json").read_text("utf-8"))
    assert kept["divergence"] == printed["divergence"] and kept["changes"] == {"fcc.control.kp_1_s": 2}
    assert kept["parameters"] == [{"key": "fcc.control.kp_1_s", "recorded": 1.5, "here": 2.0, "origin": "--set"}]
    by_topic = {t["topic"]: t for t in kept["topics_compared"]}
    assert {d["topic"] for d in kept["differences"]} == set(by_topic)
    for d in kept["differences"]:
        assert by_topic[d["topic"]]["different"] == d["messages"]
    assert by_topic["/fcc/fins"]["unit"] == "rad" and by_topic["/fcc/fins"]["first_s"] == pytest.approx(0.02)


def test_a_what_if_that_changes_nothing(flown: Path, tmp_path: Path) -> None:
    told = call(command, str(flown), "--what-if", "--out", str(tmp_path))
    folder = Path(told.stdout.splitlines()[-1])
    assert told.return_value == 0 and "identical" in told.stdout
    assert "The same in every message" in (folder / "what_if.html").read_text("utf-8")


def test_a_log_that_is_not_whole_lists_what_was_ignored(flown: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mcap"
    path.write_bytes(flown.read_bytes()[: flown.stat().st_size * 3 // 4])
    result, folder = _what_if(path, tmp_path)
    assert not result["exact"] and result["ignored"] and 0 < result["ticks"] < 8020
    text = (folder / "what_if.html").read_text("utf-8")
    assert "What was ignored" in text and "cut.mcap" in text


def _what_if(path: Path, out: Path) -> tuple[dict[str, Any], Path]:
    told = call(command, str(path), "--what-if", "--out", str(out), "--json")
    found = json.loads(told.stdout)
    return found, Path(found["what_if_dir"])


def test_words_of_a_log_are_no_markup(flown: Path, tmp_path: Path) -> None:
    log = Log.open(flown)
    log.metadata["run"] |= {"title": "<script>alert(1)</script>", "bench": "../../<b>"}
    from flightsw.replay import Options
    _, folder = what_if(log, {}, None, Options(), tmp_path)
    assert folder.parent == tmp_path
    assert "<script>alert" not in (folder / "what_if.html").read_text("utf-8")


def test_the_same_input_gives_the_same_page(asked: tuple[Path, dict[str, Any]], flown: Path, tmp_path: Path) -> None:
    a, b = Log.open(flown), Log.open(asked[0] / "replayed.mcap")
    page = Page("title", "headline", ("a", "b"))
    for name in ("x.html", "y.html"):
        write_overlay(tmp_path / name, a, b, page)
    assert (tmp_path / "x.html").read_bytes() == (tmp_path / "y.html").read_bytes()


def test_compare_finds_the_greatest_difference(asked: tuple[Path, dict[str, Any]], flown: Path) -> None:
    a, b = Log.open(flown), Log.open(asked[0] / "replayed.mcap")
    changes, signals = compare(a, b, 0)
    fins = next(c for c in changes if c.topic == "/fcc/fins")
    d = np.abs(b["/fcc/fins"]["fin_rad"] - a["/fcc/fins"]["fin_rad"])
    spans = [np.ptp(np.concatenate((a["/fcc/fins"]["fin_rad"][:, k], b["/fcc/fins"]["fin_rad"][:, k]))) for k in range(4)]
    best = int(np.argmax(d.max(axis=0) / spans))
    assert (fins.field, fins.greatest) == (f"fin_rad[{best}]", d[:, best].max())
    assert [s.score for s in signals] == sorted((s.score for s in signals), reverse=True)
    assert compare(a, a, 0) == ([], [])
    assert compare(a, b, 0, 20_000_000) == ([], [])


def test_units_come_from_the_headers(flown: Path) -> None:
    units = units_of(Log.open(flown))
    assert units["fsw_imu_t"]["dv_b"] == "m/s" and units["fsw_imu_t"]["t_valid_ns"] == "ns" and "seq" not in units["fsw_imu_t"]


def test_diff_with_a_page(asked: tuple[Path, dict[str, Any]], flown: Path, tmp_path: Path) -> None:
    other, page = asked[0] / "replayed.mcap", tmp_path / "diff.html"
    told = call(diff_command, str(flown), str(other), "--report", str(page), "--json")
    found = json.loads(told.stdout)
    assert told.return_value == 1 and found["divergence"]["task"] == "control" and found["divergence"]["tick"] == 20
    text = page.read_text("utf-8")
    assert page.stat().st_size < MOST_BYTES and "Different from 0.020000 s on (tick 20)" in text
    same = call(diff_command, str(flown), str(other), "--until", "0.02")
    assert same.return_value == 0 and "identical" in same.stdout
    assert CliRunner().invoke(diff_command, [str(flown), str(other), "--from", "3", "--until", "2"]).exit_code == 2
