"""Forged, replayed, reordered and damaged commands against the receiver that flies: `python tests/fuzz/forged_commands.py --commands 1e7`.

Compiles native/test/test_command.c, which lists the kinds, with native/core/receiver.c and native/core/blake2s.c and runs it. Every 16
hostile commands a genuine one is delivered, which must be accepted. Prints what was tried of each kind and its time. Exit code 0, 1 when a
hostile command was accepted or a genuine one was not, 2 for wrong words or without a C compiler.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import frame_programs as fp

NATIVE = fp.ROOT / "native"
SOURCES = (NATIVE / "test" / "test_command.c", NATIVE / "core" / "receiver.c", NATIVE / "core" / "blake2s.c")


def count(text: str) -> int:
    """A whole number such as 1e7, from 1 to 1e12. ArgumentTypeError otherwise."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 1e12 or value != int(value):
        raise argparse.ArgumentTypeError(f"{text}: a whole number from 1 to 1e12 is wanted")
    return int(value)


def attack(commands: int, folder: Path, sources: tuple[Path, ...] = SOURCES) -> subprocess.CompletedProcess[str]:
    """Builds the program in a folder and runs it; sources: what it is made of."""
    program = fp.build(folder / "test_command", sources=sources, options=("-O2", "-ffp-contract=off"))
    return subprocess.run([str(program), str(commands)], capture_output=True, text=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Hostile commands against the command receiver.")
    parser.add_argument("--commands", type=count, default=10**7, metavar="N", help="how many (default 1e7)")
    commands = parser.parse_args().commands
    with tempfile.TemporaryDirectory() as folder:
        done = attack(commands, Path(folder))
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    return 1 if done.returncode else 0


if __name__ == "__main__":
    raise SystemExit(main())
