"""Where boards in other processes may be: on this computer, or, with keys on both sides, on another whose address is given."""

from __future__ import annotations

import ipaddress
import os
import re

_TCP = re.compile(r"^tcp://(?P<host>\[[0-9a-fA-F:.%]+\]|[^:/\[\]]+):(?P<port>\d{1,5})$")
MAX_IPC_PATH = 100  # bytes; sockets of the file system have room for little more


def endpoint_problem(endpoint: str, keys: bool = False) -> str | None:
    """What is wrong with a ZeroMQ endpoint, or None. Only absolute `ipc://` paths and numeric loopback addresses are right; with
    keys (CURVE and an allow-list, hil.link.curve) other numeric addresses of one interface too.

    Names are refused, "localhost" too: what a name means is decided elsewhere. There is no option to allow more.
    """
    if endpoint.startswith("ipc://"):
        path = endpoint.removeprefix("ipc://")
        if not path.startswith("/"):
            return f'"{endpoint}" is not an absolute path, as in ipc:///run/user/1000/boards'
        if len(os.fsencode(path)) > MAX_IPC_PATH:
            return f'"{endpoint}": the path is longer than {MAX_IPC_PATH} bytes'
        return None
    found = _TCP.match(endpoint)
    if found is None:
        return f'"{endpoint}" is not an endpoint, allowed: ipc:///absolute/path or tcp://127.0.0.1:PORT'
    if not 1 <= int(found["port"]) <= 65535:
        return f'"{endpoint}": the port is out of range, allowed 1 to 65535'
    try:
        address = ipaddress.ip_address(found["host"].strip("[]"))
    except ValueError:
        return f'"{endpoint}": a name is not allowed, write the address: 127.0.0.1 or [::1]'
    if address.is_unspecified or address.is_multicast:
        return f'"{endpoint}" is not the address of one interface'
    if address.is_loopback or keys:
        return None
    return f'"{endpoint}" is not on this computer: without `key` and `peer` (CURVE) boards are served on loopback or ipc:// only'
