"""flightsw board: boards as processes of their own, on serial ports, and who may use them. """

from __future__ import annotations

import importlib
from typing import Any

import click

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


class BoardGroup(click.Group):
    """Knows its commands by name; imports a command's module when it is asked for. A module's command is its attribute of that name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"flightsw.cli.{COMMANDS[cmd_name][0]}")
        found: Any = getattr(module, cmd_name, None) or getattr(module, f"{cmd_name}_", None)
        if not isinstance(found, click.Command):
            raise TypeError(f"flightsw.cli.{COMMANDS[cmd_name][0]} defines no click command {cmd_name}")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help lines from the table: no command is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(name="board", cls=BoardGroup)
def command() -> None:
    """Boards: serve them, find them, reserve them."""
