"""flightsw board build: firmware for a board, from the sources of the package."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from flightsw.cli import OK, say


@click.command(name="build")
@click.argument("target", type=click.Choice(["cortex-m7"]))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Put it there as well (default: in the cache only).")
@click.option("--serial", default="emulated-0001", show_default=True, metavar="TEXT", help="Serial number that the board tells.")
@click.option("--source", type=click.Path(path_type=Path, file_okay=False), help="The source tree (default: that of this installation).")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
def build(target: str, out: Path | None, serial: str, source: Path | None, as_json: bool) -> int:
    """Make firmware for TARGET: a flight computer that takes what it flies over its link.

    A bench flies it with `where = "emulator:<group>"`, and makes it by itself when it is missing.
    """
    from hil.board_build import build as make

    made = make(out, serial, source, say)
    if as_json:
        click.echo(json.dumps(asdict(made), indent=1))
        return OK
    click.echo(f"{made.path}: {target}, serial number {made.serial}, {'built now' if made.made else 'as built before'}")
    click.echo(f"  code and constants {made.text} bytes, data {made.data}, zeroed memory {made.bss}")
    click.echo(f"  messages {made.messages}, sources {made.sources}, {made.compiler}")
    return OK
