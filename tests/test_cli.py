"""The command line: exit codes, where output goes, help without numpy, errors in sentences, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flightsw.cli import run_cli

ROOT = Path(__file__).parent.parent
DROP = Path(__file__).parent / "drop" / "bench.toml"


def extend(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(f'extends = "{DROP.as_posix()}"\n{text}', "utf-8")
    return path


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell starts background jobs with it ignored, and children inherit that


def python(*args: str, cwd: Path | None = None, **more: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, env=env, cwd=cwd, timeout=60, check=False,
                          preexec_fn=_hear_interrupts)


def test_expectation_met_is_0_and_not_met_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path), "--no-report"]
    assert run_cli(["run", str(DROP), *out]) == 0
    text = capsys.readouterr().out
    assert "lands, as expected" in text and "touchdown speed" in text and "margin +1.4" in text
    assert str(tmp_path / next(p.name for p in tmp_path.iterdir() if "drop" in p.name)) in text.replace("\n", "")
    assert run_cli(["run", str(DROP), *out, "--set", "bench.expect=lost"]) == 1
    assert 'expected "lost"' in capsys.readouterr().out
    assert run_cli(["run", str(DROP), *out, "--set", "thrust_m_s2=5", "--set", "bench.expect=lost"]) == 0
    assert "BROKEN touchdown speed" in capsys.readouterr().out
    assert run_cli(["run", str(DROP), *out, "--set", "fcc.law.kp=0"]) == 1  # hovers until the time is up
    text = capsys.readouterr().out
    assert "no value (limit <= 2 m/s)" in text and "no touchdown within 60.0 s" in text


def test_json_is_the_run_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["run", str(DROP), "--out", str(tmp_path), "--no-report", "--seed", "9", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    written = json.loads((Path(told.pop("run_dir")) / "run.json").read_text("utf-8"))
    assert told == written and told["seed"] == 9 and told["met"] is True


def test_no_log_leaves_only_the_verdict(tmp_path: Path) -> None:
    assert run_cli(["-q", "run", str(DROP), "--out", str(tmp_path), "--no-log"]) == 0
    assert sorted(p.name for p in (tmp_path / "latest").iterdir()) == ["run.json"]


@pytest.mark.parametrize("args", [
    ["run"], ["run", "no_such.toml"], ["run", str(DROP), "--seed", "-1"], ["run", str(DROP), "--set", "x"], ["fly"],
    ["run", "--loud"], ["schedule", str(DROP), "--node", "fc"], ["schedule", str(DROP.parent)],
])
def test_usage_and_configuration_errors_are_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(args) == 2
    streams = capsys.readouterr()
    assert streams.out == "" and streams.err and "Traceback" not in streams.err


def test_a_mistyped_command_is_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["shcedule"]) == 2
    assert 'there is no command "shcedule", did you mean "schedule"?' in capsys.readouterr().err


def test_every_problem_of_a_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["run", str(extend(tmp_path, "[bench]\nseed = -1\nduraton_s = 3\n"))]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all("own.toml: bench." in line for line in lines)


def test_a_place_that_cannot_hold_runs_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").write_text("a file", "utf-8")
    assert run_cli(["run", str(DROP), "--out", str(tmp_path / "runs")]) == 2
    assert "the run directory cannot be made" in capsys.readouterr().err


def test_a_campaign_that_cannot_end_well_flies_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["campaign", str(DROP), "-n", "2", "--workers", "1"]
    assert run_cli([*args, "--csv", str(tmp_path / "no" / "file.csv")]) == 2
    assert "--csv: " in (err := capsys.readouterr().err) and "cannot be written" in err
    assert run_cli([*args, "--csv", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert run_cli([*args, "--first", str(2**63 - 1)]) == 2  # its second flight could not be flown again by `run --seed`
    assert "the last seed is out of range" in capsys.readouterr().err


def test_links_in_a_circle_are_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    assert run_cli(["run", str(tmp_path / "loop.toml")]) == 2
    assert "loop.toml: cannot be read: its links lead in a circle" in capsys.readouterr().err
    assert run_cli(["run", str(extend(tmp_path, '[bench]\nvehicle = ["loop.toml"]\n'))]) == 2
    assert "loop.toml: cannot be read: its links lead in a circle" in capsys.readouterr().err


@pytest.mark.parametrize(("numbers", "text"), [([], "no engine"), ([0], "engine 0"), ([0, 1, 5], "engines 0, 1, 5")])
def test_an_engine_number_does_not_read_like_a_count(numbers: list[int], text: str) -> None:
    from flightsw.cli.run import _engines

    assert _engines(numbers) == text


def test_a_failing_task_is_3_and_leaves_its_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = extend(tmp_path, '[[node]]\nname = "fcc"\n[[node.task]]\nname = "law"\ntype = "drop.fails"\n')
    assert run_cli(["run", str(path), "--out", str(tmp_path / "runs")]) == 3
    err = capsys.readouterr().err
    assert 'node "fcc", tick 100: ValueError: no more' in err and "Traceback" not in err
    assert "ValueError: no more" in (tmp_path / "runs" / "latest" / "traceback.txt").read_text("utf-8")


def test_an_unexpected_error_is_3_and_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    import hil.flight

    def broken(*_: object) -> None:
        raise RuntimeError("something inside\nand more")

    monkeypatch.setattr(hil.flight, "judge", broken)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert run_cli(["run", str(DROP), "--out", str(tmp_path)]) == 3
    err = capsys.readouterr().err.splitlines()
    assert err[0] == "flightsw: internal error: RuntimeError: something inside" and len(err) == 2
    assert "RuntimeError" in Path(err[1].removeprefix("flightsw: details are in ")).read_text("utf-8")


def test_a_bench_that_is_not_there_is_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    import hil.bench
    from flightsw import BenchUnavailable

    def gone(*_: object) -> None:
        raise BenchUnavailable("board 7 does not answer")

    monkeypatch.setattr(hil.bench.Bench, "start", gone)
    assert run_cli(["run", str(DROP), "--out", str(tmp_path)]) == 4
    assert capsys.readouterr().err == "flightsw: board 7 does not answer\n"
    assert json.loads((tmp_path / "latest" / "run.json").read_text("utf-8"))["outcome"] == "error"


def test_help_and_version_need_neither_numpy_nor_the_core() -> None:
    code = ("import sys; from flightsw.cli import run_cli; rc = [run_cli(['--help']), run_cli(['--version'])]; "
            "heavy = ('numpy', 'flightsw._core', 'cffi', 'pydantic', 'rich', 'plotly', 'zmq'); "
            "print(rc, [m for m in heavy if m in sys.modules])")
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[0, 0] []"
    assert "Fly one bench to its verdict." in done.stdout and "flightsw 0." in done.stdout


def test_help_of_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    from flightsw.cli import cli

    for name in cli.list_commands(None):  # type: ignore[arg-type]
        assert run_cli([name, "--help"]) == 0
        assert f"Usage: flightsw {name}" in capsys.readouterr().out


def test_schedule_shows_table_timeline_flow_and_load(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["schedule", str(DROP)]) == 0
    text = capsys.readouterr().out
    for fragment in ("law   drop.law      20      0       50        100", "#...................",
                     "radalt: [world.radalt, 1 tick] -> law", "cmd: [fcc.cmd, 3 ticks] -> world",
                     "load: worst 100 us in tick 0 (10.0 % of 1000 us), mean 5.0 us (0.5 %)"):
        assert fragment in text, text
    assert run_cli(["schedule", str(DROP), "--node", "world"]) == 0
    assert "drop.law" not in capsys.readouterr().out


def test_schedule_as_json_and_one_tick_delays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = extend(tmp_path, """
[[node]]
name = "loop"
[[node.task]]
name = "early"
type = "drop.law"
period_ticks = 2
phase_ticks = 1
budget_us = 30
writes = { cmd = "cmd0" }
[[node.task]]
name = "late"
type = "drop.world"
period_ticks = 3
budget_us = 50
reads = { throttle = "cmd0" }
""")
    assert run_cli(["schedule", str(path), "--json", "--node", "loop"]) == 0
    (node,) = json.loads(capsys.readouterr().out)["nodes"]
    assert node["delayed_reads"] == [{"reader": "early", "topic": "radalt", "writer": "late"}]
    assert node["hyperperiod"] == 6
    assert node["load"]["worst_us"] == 80 and node["load"]["worst_tick"] == 3
    assert node["load"]["mean_us"] == pytest.approx(30 / 2 + 50 / 3)
    assert run_cli(["schedule", str(path), "--node", "loop"]) == 0
    text = capsys.readouterr().out
    assert "radalt: late -> early (one tick later)" in text and ".#.#.#" in text and "#..#.." in text


ENDLESS = """
import os
from flightsw import python_task


@python_task("own.signals", reads={"radalt": "fsw_radalt_t"}, writes={"cmd": "fsw_engine_cmd_t"}, exact=False)
def signals(io):
    io.writes["cmd"]["throttle"] = 0.4905
    if io.tick == 2000:
        os.kill(os.getpid(), SIGNAL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_closes_the_log(tmp_path: Path, number: int) -> None:
    (tmp_path / "own_tasks.py").write_text(ENDLESS.replace("SIGNAL", str(int(number))), "utf-8")
    path = extend(tmp_path, f'[bench]\nduration_s = 1e5\ntasks = ["{(DROP.parent / "tasks.py").as_posix()}", "own_tasks.py"]\n'
                  '[constants]\nh0_m = 1e4\n[[node]]\nname = "fcc"\n[[node.task]]\nname = "law"\ntype = "own.signals"\n')
    done = python("-m", "flightsw.cli", "run", str(path), "--out", "runs", cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr and "Traceback" not in done.stderr and done.stdout == ""
    run = json.loads((tmp_path / "runs" / "latest" / "run.json").read_text("utf-8"))
    assert run["outcome"] == "interrupted" and run["met"] is False and run["sim_s"] >= 2.0

    from flightsw.log import Log

    log = Log.open(tmp_path / "runs" / "latest")
    assert not log.complete and log.problems and len(log["/fcc/cmd"]) >= 100


def test_results_go_to_stdout_and_progress_to_stderr(tmp_path: Path) -> None:
    done = python("-m", "flightsw.cli", "run", str(DROP), "--no-report", cwd=tmp_path)
    assert done.returncode == 0 and "lands" in done.stdout and "\x1b[" not in done.stdout + done.stderr
    assert done.stderr == "" or all(line.startswith("flying:") for line in done.stderr.splitlines())
    assert (tmp_path / "runs" / "latest" / "flight.mcap").is_file()


def test_progress_is_told_in_flight_time_unless_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("flightsw.cli.progress._EVERY_S", 0.0)  # a line whenever there is something to tell
    out = ["--out", str(tmp_path), "--no-report"]
    assert run_cli(["run", str(DROP), *out]) == 0
    flown = capsys.readouterr().err
    assert re.match(r"flying: \d+\.\d s of at most 60 s\n", flown), flown
    assert run_cli(["replay", str(tmp_path / "latest")]) == 0
    assert re.search(r"^replayed: \d+\.\d s of at most [\d.]+ s$", capsys.readouterr().err, re.MULTILINE)
    assert run_cli(["--quiet", "run", str(DROP), *out]) == 0
    assert capsys.readouterr().err == ""


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", "flightsw.cli", "schedule", str(DROP), "--json"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=env) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 141  # as a program that SIGPIPE ends: neither success nor a verdict
