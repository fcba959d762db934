"""docs/log-format.md is enough to write a reader: tests/crash/page_reader.py is one, and sees in a log what `Log` sees."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from crash import damage, page_reader, rig

from flightsw._native import digest
from flightsw.log import Log
from hil import Bench

PAGE = rig.ROOT / "docs" / "log-format.md"


@pytest.fixture(scope="module", params=["small bench", "hopper", "python tasks"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("page") / "flight.mcap"
    if request.param == "python tasks":
        damage.write_log(target)
        return target
    bench = rig.SMALL if request.param == "small bench" else rig.ROOT / "bench_configs" / "hopper.toml"
    with Bench.load(bench, ["bench.keyframe_s=0.1"]).start(log=target) as flight:
        flight.run(until=0.4)
    return target


def test_the_page_reader_reads_what_log_reads(path: Path) -> None:
    log, page = Log.open(path), page_reader.read(path.read_bytes())
    assert log.complete
    assert page.metadata == log.metadata and page.attachments == log.attachments
    compared = 0
    for topic, count in log.topics.items():
        table, theirs = log[topic], page.topic(topic)
        assert len(theirs) == count == len(table)
        for row, (t, sequence, values) in zip(table, theirs, strict=True):
            assert (row["log_t_ns"], row["log_seq"]) == (t, sequence)
            for name in row.dtype.names[2:]:
                assert np.asarray(values[name], row[name].dtype).tobytes() == row[name].tobytes(), (topic, name)
                compared += 1
    assert compared > 1000
    mine = [(s.tick, digests.get(name, 0), name, image) for s, digests in log.keyframes()
            for name, image in [*s.images.items(), ("", s.links)]]
    assert page.keyframes == mine and len(page.keyframes) >= 4
    computers = [n for n, role in json.loads(log.metadata["run"].get("roles", "{}")).items() if role == "flight_computer"]
    assert bool(page.summary.get("ticks with inputs", 0) > 100) == bool(computers)


def test_digests_and_hashes_are_what_the_page_says(path: Path) -> None:
    """XXH64 with seed 0: of a type's name, a newline and its definition; of an image (those of the world hold no NaN)."""
    page = page_reader.read(path.read_bytes())
    for schema, _, _, more in list(page.channels.values())[2:]:
        text = f"{more['type']}\n{page.schemas[schema][2]}"
        assert more["type_hash"] == f"{digest(text.encode()):016x}"
    for _, stated, name, image in page.keyframes:
        if name in ("world", "n"):
            assert stated == digest(image)


def test_the_page_reader_uses_nothing_of_ours() -> None:
    names = set()
    for node in ast.walk(ast.parse(Path(page_reader.__file__).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
    assert names <= sys.stdlib_module_names
    code = f"import sys; sys.path[:0] = [{str(rig.HERE.parent)!r}]; from crash import page_reader; print('flightsw' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_page_reader_refuses_what_the_page_does_not_say(path: Path) -> None:
    """It is a judge, not only a reader: a log in which a byte of any record is another is refused."""
    data = path.read_bytes()
    places = np.random.default_rng(1).choice(len(data), 12, replace=False)
    for at in [*places.tolist(), 9, len(data) - 20]:
        changed = bytearray(data)
        changed[at] ^= 0x10
        with pytest.raises((AssertionError, UnicodeDecodeError, KeyError, IndexError)):
            page_reader.read(bytes(changed))
