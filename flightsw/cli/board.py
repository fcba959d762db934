"""flightsw board: boards as processes of their own."""

from __future__ import annotations

import click

from flightsw.cli import OK, say


@click.group(name="board")
def command() -> None:
    """Serve boards to a bench."""


@command.command(name="serve")
@click.argument("endpoint")
@click.option("--sessions", type=click.IntRange(1), help="End after so many benches; without it, serve until interrupted.")
def serve(endpoint: str, sessions: int | None) -> int:
    """Serve simulated boards at ENDPOINT: ipc:///absolute/path or tcp://127.0.0.1:PORT.

    A bench joins them with `endpoint = "..."` in its [remote.<group>] table and sends them what
    they are to be. Loopback and ipc only.
    """
    from flightsw.errors import ConfigError
    from hil.endpoints import endpoint_problem

    problem = endpoint_problem(endpoint)
    if problem:
        raise ConfigError.one("ENDPOINT", "", problem)
    from hil.link.serving import serve_zmq

    serve_zmq(endpoint, say, sessions or 0)
    return OK
