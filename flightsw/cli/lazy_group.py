"""A group of commands, each in a module of its own that is imported only when the command is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """table: name -> (module in this package, help line shown without importing it).

    A module's command is its attribute `name`, `name_` or `command`.
    """

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported."""
        if cmd_name not in self.table:
            return None
        module = importlib.import_module(f"flightsw.cli.{self.table[cmd_name][0]}")
        found = [getattr(module, name, None) for name in (cmd_name, f"{cmd_name}_", "command")]
        command = next((c for c in found if isinstance(c, click.Command)), None)
        if command is None:
            raise TypeError(f"{module.__name__} defines no click command {cmd_name}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help lines from the table: no command is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])
