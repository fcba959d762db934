"""Serving boards to whoever asks: one bench after the other on an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import zmq

from flightsw.tasks import TaskType
from hil.link.curve import Curve, admitted
from hil.link.session import BoardSession, Identity, serve
from hil.link.transport import ZmqTransport, open_socket


def serve_zmq(endpoint: str, say: Callable[[str], None], sessions: int = 0, tasks: Sequence[TaskType] = (),
              curve: Curve | None = None) -> None:
    """Serve one bench after the other on a ZeroMQ endpoint, for ever or so many times. curve: admit these keys and nobody else.

    LinkError when the endpoint is of no use.
    """
    done = 0
    with zmq.Context() as context, admitted(context, curve):
        while not sessions or done < sessions:
            with open_socket(context, endpoint, bind=True, curve=curve) as socket:
                say(f"waiting for a bench on {endpoint}")
                session = BoardSession(Identity(), tasks)
                serve(ZmqTransport(socket, endpoint), session, say=say)
            done += 1
            say("the bench has said goodbye")
