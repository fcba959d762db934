"""Campaigns: rows by seed whatever the workers, flights that did not end as expected, the file of all flights."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from flightsw.cli import run_cli
from hil.campaign import Result, Row, fly_campaign, summary, write_csv

DROP = Path(__file__).parent / "drop" / "bench.toml"


def row(seed: int, met: bool, feasible: bool) -> Row:
    return Row(seed, "lands" if met else "lost", met, feasible, {"speed": 0.1 * seed}, [] if met else ["speed"], 7.5)


def test_workers_change_nothing() -> None:
    assert fly_campaign(DROP, range(3, 8), workers=1) == fly_campaign(DROP, range(3, 8), workers=2)


def test_only_feasible_flights_count() -> None:
    result = Result("x", [row(1, True, True), row(2, False, True), row(3, False, False), row(4, True, False), row(5, True, True)])
    assert (len(result.feasible), [r.seed for r in result.saved], result.share) == (3, [1, 5], pytest.approx(2 / 3))
    text = "\n".join(summary(result))
    assert "5 flights, 3 feasible, 2 of these as expected (66.7 %); 2 declared infeasible" in text
    assert "seed 2: lost: speed" in text and "seed 3" not in text
    assert Result("x", [row(1, False, False)]).share == 1.0


def test_file_of_all_flights(tmp_path: Path) -> None:
    write_csv(Result("x", [row(3, False, True), row(4, True, False)]), tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(encoding="utf-8") as stream:
        one, two = csv.DictReader(stream)
    assert (one["seed"], one["outcome"], one["met"], one["feasible"], one["broken"]) == ("3", "lost", "0", "1", "speed")
    assert (two["seed"], two["outcome"], two["met"], two["feasible"], two["broken"]) == ("4", "lands", "1", "0", "")
    assert float(one["speed"]) == 0.1 * 3


def test_exit_code_and_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["campaign", str(DROP), "-n", "2", "--workers", "1", "--csv", str(tmp_path / "x.csv")]
    assert run_cli(args) == 0 and "2 flights, 2 feasible, 2 of these as expected" in capsys.readouterr().out
    assert len((tmp_path / "x.csv").read_text("utf-8").splitlines()) == 3
    assert run_cli([*args, "--set", "bench.expect=lost"]) == 1
    assert "0 of these as expected" in capsys.readouterr().out
    assert run_cli([*args, "--set", "bench.expect=lost", "--at-least", "0"]) == 0


def test_a_flight_whose_software_fails_is_a_row(tmp_path: Path) -> None:
    text = f'extends = "{DROP.as_posix()}"\n[[node]]\nname = "fcc"\n[[node.task]]\nname = "law"\ntype = "drop.fails"\n'
    (tmp_path / "own.toml").write_text(text, "utf-8")
    result = fly_campaign(tmp_path / "own.toml", [1, 2])
    assert [r.outcome for r in result.rows] == ["error", "error"] and result.share == 0.0
    assert "ValueError: no more" in summary(result)[-1]
