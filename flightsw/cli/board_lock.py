"""flightsw board lock, release, status: who uses a bench."""

from __future__ import annotations

import json
from typing import Any

import click

from flightsw.cli import NOT_MET, OK


def _name(name: str) -> str:
    """A path means the port that it leads to, by the name that stays."""
    from hil.link.ports import stable_name

    return stable_name(name) if name.startswith("/") else name


def _answer(as_json: bool, text: str, **values: Any) -> None:
    click.echo(json.dumps(values) if as_json else text)


@click.command(name="lock")
@click.argument("name")
@click.option("--note", default="", help="Why, for others to read.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def lock(name: str, note: str, as_json: bool) -> int:
    """Reserve NAME, a bench or the path of a serial port, for yourself.

    Runs of others are refused with your name (exit code 4) until you release it; yours go on.
    """
    from dataclasses import asdict

    from hil import bench_lock

    holder = bench_lock.reserve(_name(name), note)
    _answer(as_json, f'"{name}" is {holder.told()}', name=name, held=asdict(holder))
    return OK


@click.command(name="release")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def release(name: str, as_json: bool) -> int:
    """End a reservation. Exit code 1 when there was none."""
    from hil import bench_lock

    was = bench_lock.release(_name(name))
    _answer(as_json, f'"{name}" is released' if was else f'"{name}" was not reserved', name=name, released=was)
    return OK if was else NOT_MET


@click.command(name="status")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def status(name: str | None, as_json: bool) -> int:
    """Who holds NAME, or, without one, all that is held. Exit code 1 when it is held."""
    from dataclasses import asdict

    from hil import bench_lock

    held = bench_lock.everything()
    if name is not None:
        own = bench_lock.file_name(_name(name))
        held = {stem: found for stem, holders in held.items() if (found := [h for h in holders if stem == own or h.bench == name])}
    if as_json:
        click.echo(json.dumps({stem: [asdict(h) for h in holders] for stem, holders in held.items()}, indent=1))
    else:
        for stem, holders in held.items():
            for holder in holders:
                click.echo(f'"{stem}" is {holder.told()}')
        if not held:
            click.echo(f'"{name}" is free' if name is not None else "nothing is held")
    return NOT_MET if held and name is not None else OK
