"""What Python tasks use instead of `math` and `random`: the mathematics and the random numbers of the core."""

import numpy as np

from flightsw import Graph, NodeSpec, TaskIO, TaskSpec, compile_node, exactmath, load_messages, python_task
from flightsw._native import digest, ffi, lib

MESSAGES = load_messages([])


def test_the_cores_mathematics() -> None:
    rng = np.random.default_rng(3)
    for name in ("sin", "cos", "tan", "atan", "exp", "asin", "acos", "log", "sqrt"):
        for x in rng.uniform(-1.0, 1.0, 50).tolist():
            a, b = getattr(exactmath, name)(x), getattr(lib, f"fsw_{name}" if name != "sqrt" else "fsw_soft_sqrt")(x)
            assert a == b or (a != a and b != b)
    assert exactmath.atan2(1.0, -2.0) == lib.fsw_atan2(1.0, -2.0) and exactmath.pow(2.0, 0.3) == lib.fsw_pow(2.0, 0.3)
    assert exactmath.sqrt(2.0) == np.sqrt(2.0) and np.isnan(exactmath.sin(1e6))


def test_uniform_numbers_are_those_of_the_core() -> None:
    drawn = []

    @python_task("own.draws", reads={}, writes={"cmd": "fsw_engine_cmd_t"}, exact=False)
    def draws(io: TaskIO) -> None:
        drawn.append(io.uniform(7))

    node = compile_node(NodeSpec("n", [TaskSpec("t", "own.draws", 1)], 1_000_000), {draws.name: draws}, MESSAGES, {})
    Graph([node], [], MESSAGES, 11).run(3)
    rng, out = ffi.new("fsw_rng_t *", {"seed": 11, "stream": digest(b"n") & 0xFFFFFFFF}), ffi.new("double[4]")
    for tick, row in enumerate(drawn):
        lib.fsw_rng_uniform4(rng, tick, 7, out)
        assert row.tolist() == list(out) and row.min() > 0.0 and row.max() < 1.0
