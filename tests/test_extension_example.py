"""The worked example outside the package: own vehicle, message, C task and Python task are built and fly."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hil

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A copy of the example with its library built as the source file says."""
    folder = tmp_path_factory.mktemp("extension") / "examples" / "extension"
    shutil.copytree(ROOT / "examples" / "extension", folder, ignore=shutil.ignore_patterns("build"))
    shutil.copytree(ROOT / "bench_configs", folder.parents[1] / "bench_configs")
    include = subprocess.run([sys.executable, "-m", "flightsw.include"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "build").mkdir()
    subprocess.run(["cc", "-std=c11", "-O2", "-ffp-contract=off", "-Wall", "-Werror", "-fPIC", "-shared", f"-I{include}", "-o",
                    "build/libgauge.so", "gauge.c"], cwd=folder, check=True)
    return folder


def test_the_extension_flies_and_lands(example):
    bench = hil.Bench.load(example / "bench.toml")
    with bench.start(seed=0) as flight:
        flight.run()
        fcc = flight.node("fcc")
        gauge, advice = fcc.topic("gauge"), fcc.topic("advice")
        truth = flight.node("world").topic("state")["propellant_kg"]
        assert flight.verdict().outcome == "lands"
        assert gauge["updates"] > 1000
        assert abs(gauge["propellant_kg"] - truth) < 0.05 * 19000.0  # an estimate from thrust, not a copy of the truth
        assert fcc.writes_of("advice") == -(-int(gauge["updates"]) // 10)
        assert advice["go"] == 1


def test_the_same_flight_twice_has_the_same_images(example):
    bench = hil.Bench.load(example / "bench.toml")
    digests = []
    for _ in range(2):
        with bench.start(seed=3) as flight:
            flight.run(until=8.0)
            digests.append(flight.graph.digests())
    assert digests[0] == digests[1]
