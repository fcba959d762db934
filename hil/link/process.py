"""Boards in processes that the bench starts: `python -m hil.link.process` with one line of JSON on stdin.

The bench holds the other end of stdin: when that closes, whatever the reason, the process ends, and its outputs are safe.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from hil.endpoints import MAX_IPC_PATH
from hil.link.protocol import LinkError
from hil.link.transport import OWN_TCP, open_socket


@dataclass
class Child:
    """A worker process with its private folder."""

    process: subprocess.Popen[bytes]
    folder: Path

    def last_words(self) -> str:
        """Last line that it wrote to stderr."""
        lines = (self.folder / "stderr").read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def alive(self) -> None:
        """LinkError when it has ended."""
        if self.process.poll() is not None:
            words, code = self.last_words(), self.process.returncode
            raise LinkError(f"their process has ended (exit code {code}){': ' + words if words else ''}")

    def end(self) -> None:
        """Let it end, or end it; removes its folder."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def private_folder() -> Path:
    """A folder for one process, of this user only."""
    return Path(tempfile.mkdtemp(prefix="flightsw-"))  # mode 0700


def own_endpoint(context: zmq.Context[Any], folder: Path) -> zmq.Socket[Any]:
    """A socket that nobody else on this computer can reach where the system has such; LinkError when there is none."""
    path = f"ipc://{folder / 'link'}"
    usable = zmq.has("ipc") and len(os.fsencode(path)) <= MAX_IPC_PATH
    return open_socket(context, path if usable else OWN_TCP, bind=True)


def launch(start: dict[str, Any], folder: Path) -> Child:
    """Start a worker. start: what it reads from stdin: endpoint, token, name."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}  # the packages of this process
    with (folder / "stderr").open("wb") as errors:
        process = subprocess.Popen([sys.executable, "-P", "-m", "hil.link.process"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   stderr=errors, env=environment, start_new_session=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(start).encode() + b"\n")
    process.stdin.flush()
    return Child(process, folder)


def _exit_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> None:
    """Entry of the process that a bench starts."""
    from hil.link.session import BoardSession, Identity, serve
    from hil.link.transport import ZmqTransport
    from hil.load import python_tasks

    start = json.loads(sys.stdin.buffer.readline(1 << 20))
    threading.Thread(target=_exit_with_stdin, daemon=True).start()
    tasks = [t for path in start["tasks"] for t in python_tasks(Path(path))]
    with zmq.Context() as context, open_socket(context, start["endpoint"], bind=False) as socket:
        serve(ZmqTransport(socket, start["name"]), BoardSession(Identity(start["name"], token=start["token"]), tasks))


if __name__ == "__main__":
    main()
