"""Options of commands that fly a bench with boards of its own: which port, which LIVE boards, how long to wait for a bench that is held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flightsw.cli import say

if TYPE_CHECKING:
    from hil.bench import Bench


@dataclass(frozen=True)
class BoardOptions:
    """The options of `board_options`, as click gives them."""

    ports: tuple[str, ...] = ()
    live: tuple[str, ...] = ()
    wait_s: float = 0.0


def board_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: --port, --live and --wait, which BoardOptions takes."""
    for option in (
        click.option("--port", "ports", multiple=True, metavar="[GROUP=]PATH", help="Serial port of the boards, as /dev/serial/by-id/..."),
        click.option("--live", multiple=True, metavar="SERIAL",
                     help="Drive the LIVE board with this serial number: its outputs move something."),
        click.option("--wait", "wait_s", type=click.FloatRange(0.0, 86400.0), default=0.0, metavar="S",
                     help="Wait so long for a bench that somebody else holds."),
    ):
        function = option(function)
    return function


def load_bench(path: Path, sets: Sequence[str], real_time: bool | None, options: BoardOptions) -> Bench:
    """A bench with these options. ConfigError when they do not fit it."""
    from flightsw.errors import ConfigError
    from hil.bench import Bench
    from hil.link.budget import lines
    from hil.link.live import Access, unknown_boards

    bench = Bench.load(path, sets, real_time=real_time)
    if options.ports:
        bench = Bench.load(path, sets, _overlay(bench, options.ports), real_time=real_time)
    bench.access = Access(options.live, options.wait_s, say)
    problems = unknown_boards(bench)
    if problems:
        raise ConfigError(problems)
    for line in lines(bench):
        say(line.told())
    return bench


def _overlay(bench: Bench, ports: Sequence[str]) -> dict[str, Any]:
    """Ports into the tables of their groups."""
    from flightsw.errors import ConfigError

    groups = list(dict.fromkeys(p.where.partition(":")[2] for p in bench.plans if p.where.startswith("serial:")))
    out: dict[str, dict[str, Any]] = {}
    for given in ports:
        name, _, path = given.rpartition("=") if not given.startswith("/") else ("", "", given)
        if not groups:
            raise ConfigError.one("--port", given, "this bench has no boards on a serial line")
        if not name and len(groups) > 1:
            raise ConfigError.one("--port", given, f"this bench has several serial lines: write {groups[0]}={given}")
        if name and name not in groups:
            raise ConfigError.one("--port", given, f'there is no serial line "{name}", known: {", ".join(groups)}')
        group = name or groups[0]
        if group in out:
            raise ConfigError.one("--port", given, f'the line "{group}" is given twice')
        settings = bench.config.remote.get(group)
        out[group] = {"port": path} | ({"usb": None} if settings is not None and settings.usb is not None else {})
    return {"remote": out}
