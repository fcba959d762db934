"""For a board's CMakeLists.txt: `python -m flightsw.board_tree` prints source tree; fingerprint of the messages; that of the sources.

A list to CMake. Status 1 with a sentence where the sources are not at hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flightsw._fingerprint import source_fingerprint
from flightsw.messages import builtin, fingerprint


def main() -> None:
    """Print them."""
    tree = Path(__file__).resolve().parents[1]
    if not (tree / "native" / "port" / "board").is_dir():
        sys.exit(f"flightsw was installed without its sources: there is nothing in {tree} to build a board from")
    print(f"{tree};{fingerprint(builtin().values()):016x};{source_fingerprint(tree / 'native')}")


if __name__ == "__main__":
    main()
