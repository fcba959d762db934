"""Serving boards on a serial line: one bench after the other, and the line may go and come back."""

from __future__ import annotations

import math
from collections.abc import Callable

from hil.link.ports import PortIdentity
from hil.link.protocol import LinkError, Unplugged
from hil.link.serial_port import Pty, SerialTransport
from hil.link.session import BoardSession, serve


def serve_pty(pty: Pty, session: BoardSession, say: Callable[[str], None], sessions: int = 0,
              keep_on: Callable[[], bool] = lambda: True) -> None:
    """Serve on a pseudo-terminal, for ever or so many benches."""
    line, done = pty.transport(), 0
    while keep_on() and (not sessions or done < sessions):
        say(f"waiting for a bench on {pty.path}")
        serve(line, session, keep_on, say)
        done += 1
        say("the bench has said goodbye")


def serve_port(port: PortIdentity, baud: int, session: BoardSession, say: Callable[[str], None], sessions: int = 0) -> None:
    """Serve on a serial port of this computer, for ever or so many benches. LinkError when it cannot be used."""
    line, done = SerialTransport(str(port), port, baud), 0
    try:
        while not sessions or done < sessions:
            say(f"waiting for a bench on {port}")
            try:
                serve(line, session, say=say)
            except Unplugged as exc:
                say(f"{exc}; waiting for it")
                line.reopen(math.inf)
                continue
            except LinkError as exc:
                say(f"the line {exc}")
                continue
            done += 1
            say("the bench has said goodbye")
    finally:
        line.close()
