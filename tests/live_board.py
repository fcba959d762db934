"""A LIVE board in a process of its own: `python live_board.py PORT RECORD KEY SERIAL`. Its relay is a file in which each order to it stands.

Lines of RECORD: what ("drive", "safe" or "ready"), monotonic time in ns, tick.
"""

import os
import sys
import time

from hil.link.ports import PortIdentity
from hil.link.serial_serving import serve_port
from hil.link.session import BoardSession, Identity, Outputs


class Relay(Outputs):
    """Energised by `drive`, until `safe`."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, what, tick=-1):
        os.write(self.fd, f"{what} {time.monotonic_ns()} {tick}\n".encode())

    def drive(self, session):
        self.note("drive", session.c.bench.tick)

    def safe(self):
        self.note("safe")


def main(port, record, key, serial):
    relay = Relay(record)
    session = BoardSession(Identity("stand", "boards", serial, live=True, key=bytes.fromhex(key)), outputs=relay)
    relay.note("ready")
    serve_port(PortIdentity(port), 115200, session, lambda text: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
