"""A board of one's own in Python: two radar altimeters behind one serial line.

    python board.py                                     # prints the path of its pseudo-terminal
    flightsw run bench.toml --port /dev/pts/N

The bench says when a tick is, brings what the altimeters see, and takes what they measure. `measure` is the board; the rest is its mounting.
"""

from flightsw import TaskIO, python_task


@python_task(
    "example.radalt",
    reads={"truth": "fsw_truth_t"},
    writes={"radalt": "fsw_radalt_t"},
    state="typedef struct { uint32_t seq; uint32_t pad0; } example_radalt_state_t;",
    params="typedef struct { double step_m; /* [0.001, 1] = 0.01 */ uint32_t index; /* [0, 1] = 0 : which one */ uint32_t pad0; }"
           " example_radalt_params_t;",
)
def measure(io: TaskIO) -> None:
    """Height above the pad in whole steps; the second altimeter is mounted half a metre higher."""
    truth, out, params = io.reads["truth"], io.writes["radalt"], io.params
    io.state["seq"] += 1
    out["range_m"] = round((truth["h_m"] + 0.5 * params["index"]) / params["step_m"]) * params["step_m"]
    out["t_valid_ns"], out["seq"], out["valid"] = truth["t_ns"], io.state["seq"], 1


def main() -> None:
    """Serve on a pseudo-terminal. On a real port: serve_port(PortIdentity("/dev/serial/by-id/..."), 115200, session, print)."""
    from hil.link.serial_port import Pty
    from hil.link.serial_serving import serve_pty
    from hil.link.session import BoardSession, Identity

    pty = Pty()
    print(pty.path, flush=True)
    serve_pty(pty, BoardSession(Identity("altimeters", role="sensor", serial="RA-1"), [measure]), lambda text: None)


if __name__ == "__main__":
    main()
