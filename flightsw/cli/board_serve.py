"""flightsw board serve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flightsw.cli import OK, say


@click.command(name="serve")
@click.argument("endpoint", required=False)
@click.option("--pty", is_flag=True, help="Make a pseudo-terminal, print its path and serve there.")
@click.option("--baud", type=click.IntRange(300, 12_000_000), default=115_200, show_default=True, help="Of a serial port.")
@click.option("--tasks", type=click.Path(path_type=Path), multiple=True, help="A file with Python tasks of your own; may be repeated.")
@click.option("--name", default="boards", show_default=True, help="Name in the manifest.")
@click.option("--role", default="boards", show_default=True, help='Role in the manifest; "boards" takes nodes of any role.')
@click.option("--serial", default="", help="Serial number in the manifest.")
@click.option("--key", type=click.Path(path_type=Path), help="Own key (NAME.key): for an endpoint that is not on this computer.")
@click.option("--allow", type=click.Path(path_type=Path), multiple=True, help="Public key (NAME.pub) of a bench that is admitted.")
@click.option("--sessions", type=click.IntRange(1), help="End after so many benches; without it, serve until interrupted.")
def serve(endpoint: str | None, pty: bool, baud: int, tasks: tuple[Path, ...], name: str, role: str, serial: str,
          key: Path | None, allow: tuple[Path, ...], sessions: int | None) -> int:
    """Serve simulated boards at ENDPOINT: ipc:///absolute/path, tcp://127.0.0.1:PORT, or a serial port.

    A bench joins them with `endpoint = "..."` or `port = "..."` in its [remote.<group>] table and
    sends them what they are to be. ZeroMQ: loopback and ipc only, unless --key and --allow are given
    (`flightsw board keygen --link NAME`). These boards are SIM: they have no outputs.
    """
    if (key is None) != (not allow):
        raise click.UsageError("--key and --allow go together")
    if pty == (endpoint is not None):
        raise click.UsageError("one of ENDPOINT and --pty is wanted")
    own = _tasks(tasks)
    if pty:
        return _serve_pty(own, (name, role, serial), sessions or 0)
    assert endpoint is not None
    if endpoint.startswith("/"):
        return _serve_port(endpoint, baud, own, (name, role, serial), sessions or 0)
    return _serve_zmq(endpoint, own, sessions or 0, key, allow)


def _tasks(files: tuple[Path, ...]) -> list[Any]:
    from hil.load import python_tasks

    return [t for path in files for t in python_tasks(path)]


def _session(own: list[Any], who: tuple[str, str, str]) -> Any:
    from hil.link.session import BoardSession, Identity

    return BoardSession(Identity(*who), own)


def _serve_pty(own: list[Any], who: tuple[str, str, str], sessions: int) -> int:
    from hil.link.serial_port import Pty
    from hil.link.serial_serving import serve_pty

    pty = Pty()
    try:
        click.echo(pty.path)
        sys.stdout.flush()
        serve_pty(pty, _session(own, who), say, sessions)
    finally:
        pty.close()
    return OK


def _serve_port(path: str, baud: int, own: list[Any], who: tuple[str, str, str], sessions: int) -> int:
    from flightsw.errors import ConfigError
    from hil.link.ports import PortIdentity, path_problem
    from hil.link.serial_serving import serve_port

    problem = path_problem(path)
    if problem:
        raise ConfigError.one("ENDPOINT", "", problem)
    serve_port(PortIdentity(path), baud, _session(own, who), say, sessions)
    return OK


def _serve_zmq(endpoint: str, own: list[Any], sessions: int, key: Path | None, allow: tuple[Path, ...]) -> int:
    from flightsw.errors import ConfigError
    from hil.endpoints import endpoint_problem

    problem = endpoint_problem(endpoint, key is not None)
    if problem:
        raise ConfigError.one("ENDPOINT", "", problem)
    from hil.link.serving import serve_zmq

    curve = None
    if key is not None:
        from hil.link.curve import read_curve

        curve = read_curve(key, allow)
    serve_zmq(endpoint, say, sessions, own, curve)
    return OK
