"""The board of examples/board_python, and the same tasks served by the command: both measure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flightsw.cli import run_cli
from hil import Bench

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def example(tmp_path, monkeypatch):
    monkeypatch.setenv("FLIGHTSW_LOCKS", str(tmp_path / "locks"))
    shutil.copytree(ROOT / "examples" / "board_python", tmp_path / "examples" / "board_python")
    shutil.copytree(ROOT / "bench_configs", tmp_path / "bench_configs")
    return tmp_path / "examples" / "board_python"


@pytest.mark.parametrize("command", [
    ["board.py"], ["-m", "flightsw.cli", "-q", "board", "serve", "--pty", "--tasks", "board.py", "--serial", "RA-1", "--sessions", "1"],
])
def test_it_measures(example, command, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen([sys.executable, *command], cwd=example, env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as board:
        try:
            port = board.stdout.readline().decode().strip()
            bench = Bench.load(example / "bench.toml", overlay={"remote": {"altimeters": {"port": port}}})
            with bench.start(log=tmp_path / "a.mcap") as flight:
                flight.step(2000)
                first, second = (flight.log[f"/radalt{k}/radalt"] for k in range(2))
                truth = flight.node("world").topic("truth")["h_m"]
            assert len(first) == len(second) == 100
            assert abs(first["range_m"][-1] - truth) < 1.0
            assert abs(second["range_m"] - first["range_m"] - 0.5).max() < 0.011
            assert run_cli(["replay", str(tmp_path / "a.mcap")]) == 0
        finally:
            board.terminate()


def test_it_is_short():
    """As the documentation says: a board is about 30 lines."""
    code = [line for line in (ROOT / "examples" / "board_python" / "board.py").read_text("utf-8").splitlines() if line.strip()]
    assert len(code) <= 40
