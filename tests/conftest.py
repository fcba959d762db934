"""Data sets: recordings and reference data that are not part of the repository, see docs/data-sets.md."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ORIGIN = {
    "nesc": "NASA/NESC 6-DOF check cases, nescacademy.nasa.gov/flightsim, files as in github.com/nasa/simupy-flight, NESC_data/",
    "telemetry/falcon9": "github.com/shahar603/Telemetry-Data, commit b245d3b, <mission>/JSON/stage1 raw.json and events.json",
    "telemetry/hprocket": "github.com/RocketPy-Team/RocketPy, data/rockets/hedy/cats_tust, commit d41dd11",
    "estimation": "synthetic booster flight and its generator, this project's own",
    "pdg": "fuel-optimal landings and the script that computes them, this project's own",
}


def _find(name: str) -> Path:
    """Folder of a data set. Skips where it is missing; fails instead where CI is set."""
    root = Path(os.environ.get("FLIGHTSW_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    folder = root / name
    if not folder.is_dir():
        text = f"no folder {name} below the folder that FLIGHTSW_DATA names. Origin: {ORIGIN[name]}; docs/data-sets.md"
        if os.environ.get("CI"):
            pytest.fail(text, pytrace=False)
        pytest.skip(text)
    return folder


@pytest.fixture(scope="session")
def data_set() -> Callable[[str], Path]:
    """data_set(name): the folder of a data set, one of ORIGIN."""
    return _find
