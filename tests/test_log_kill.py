"""kill -9 at a random moment: the log opens, and no chunk that the operating system had taken is missing or changed.

`python tests/crash/kill_campaign.py --kills 10000` does it ten thousand times.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crash import rig
from crash.kill_campaign import check_killed

CAMPAIGN = rig.HERE / "kill_campaign.py"


def campaign(*options: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, CAMPAIGN, *options, "--json"], capture_output=True, text=True, env=rig.environment())
    assert done.returncode == 0, done.stdout + done.stderr
    out: dict[str, Any] = json.loads(done.stdout)
    return out


def test_three_hundred_flights_killed() -> None:
    found = campaign("--kills", "320", "--workers", "2", "--repair-every", "16")["forked"]
    assert found["lost"] == found["wrong"] == 0
    assert found["kills"] + found["whole"] >= 300 and found["kills"] > 150
    assert found["acknowledged"] > 4 * found["kills"]  # kills span many chunks
    assert found["repaired"] >= 15


def test_processes_of_the_command_killed() -> None:
    found = campaign("--kills", "0", "--processes", "6")["processes"]
    assert found["lost"] == found["wrong"] == 0
    assert found["kills"] + found["whole"] >= 6 and found["acknowledged"] >= 6


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> rig.Reference:
    """A log of the small bench, made in another process, because its run id is not random."""
    path = tmp_path_factory.mktemp("reference") / "flight.mcap"
    code = f"""
import sys; sys.path[:0] = [{str(rig.HERE.parent)!r}]
from crash import rig
from hil import Bench
rig.same_run_id(); rig.small_buffers(4096)
with Bench.load({str(rig.SMALL)!r}).start(log={str(path)!r}) as flight: flight.run()
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=rig.environment())
    return rig.Reference.of(path)


def test_the_judge_sees_what_is_lost_and_what_is_wrong(reference: rig.Reference, tmp_path: Path) -> None:
    """What the campaign counts as lost or wrong, on files made to be so."""
    path, ends = tmp_path / "flight.mcap", [after for _, _, after in reference.chunks]
    assert len(ends) > 8
    path.write_bytes(reference.data[: ends[4]])
    assert (t := check_killed(path, reference, ends[:5])).lost == 0 and t.wrong == 0 and t.chunks == 5 and t.not_noted == 0
    assert (t := check_killed(path, reference, ends[:4])).lost == 0 and t.wrong == 0 and t.not_noted == 1
    assert (t := check_killed(path, reference, ends[:7])).lost == 2 and t.wrong == 0
    assert check_killed(path, reference, [end + 1 for end in ends[:5]]).wrong == 1
    changed = bytearray(reference.data[: ends[4]])
    changed[reference.chunks[2][1] - 3] ^= 1
    path.write_bytes(changed)
    assert (t := check_killed(path, reference, ends[:5])).lost == 1 and t.wrong == 2  # not those bytes, not those chunks
    path.unlink()
    assert check_killed(path, reference, []).lost == 0 and check_killed(path, reference, ends[:3]).lost == 3


def test_numbers_noted_outlive_the_process(tmp_path: Path) -> None:
    code = f"""
import os, sys; sys.path[:0] = [{str(rig.HERE.parent)!r}]
from pathlib import Path
from crash import rig
notes = rig.Notes(Path({str(tmp_path / "notes")!r}))
notes.begin()
for end in (10, 20, 30):
    notes.acknowledged(end)
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], env=rig.environment()).returncode == -9
    notes = rig.Notes(tmp_path / "notes")
    assert notes.opened and notes.ends == [10, 20, 30]
