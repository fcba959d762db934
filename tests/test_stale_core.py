"""A C core that does not belong to the sources beside it, or would not compute exactly, is refused at import, with the way out."""

import subprocess
import sys

import pytest


def start(prelude):
    """Import the core in a fresh process after `prelude`; returns (exit code, stderr)."""
    code = f"{prelude}\nimport flightsw._native"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def test_fresh_core_loads():
    assert start("") == (0, "")


@pytest.mark.parametrize(("prelude", "words"), [
    ("import flightsw._fingerprint as f; f.source_fingerprint = lambda native: '0' * 16", "built from other sources"),
    ("import sys; sys.modules['flightsw._core'] = None", "not built or cannot be loaded"),
    ("""
import flightsw._core as c, types
real = c.lib
class Lib:
    def __getattr__(self, name):
        return (lambda: 1) if name == 'fsw_contracted' else getattr(real, name)
c.lib = Lib()
""", "fused multiply-add"),
])
def test_wrong_core_is_refused_with_the_way_out(prelude, words):
    status, text = start(prelude)
    last = text.strip().splitlines()[-1]
    assert status == 1
    assert last.startswith("ImportError: flightsw:")
    assert words in last
    assert "pip install -e ." in last


def test_every_source_counts(tmp_path):
    from flightsw._fingerprint import source_fingerprint

    source = tmp_path / "native" / "gnc" / "law.c"
    source.parent.mkdir(parents=True)
    source.write_text("int a;\n")
    before = source_fingerprint(tmp_path / "native")
    source.write_text("int b;\n")
    assert source_fingerprint(tmp_path / "native") != before
