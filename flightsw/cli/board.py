"""flightsw board: boards as processes of their own, on serial ports, and who may use them. """

from __future__ import annotations

import click

from flightsw.cli.lazy_group import LazyGroup

# name: (module in this package, help line shown without importing it)
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("board_serve", "Serve simulated boards to a bench."),
    "list": ("board_list", "Serial ports, who answers there, and the TOML lines for a bench file."),
    "build": ("board_build", "Make firmware for a board."),
    "sniff": ("board_sniff", "Show the frames on a line."),
    "keygen": ("board_keygen", "Make the key file that boards with live outputs ask for."),
    "lock": ("board_lock", "Reserve a bench or a port for yourself."),
    "release": ("board_lock", "End a reservation."),
    "status": ("board_lock", "Who holds a bench or a port."),
}


@click.group(name="board", cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Boards: serve them, find them, reserve them."""
