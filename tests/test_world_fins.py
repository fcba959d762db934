"""Grid fins over Mach number: the share of their slope at mach_bp acts where the vehicle flies, and only there."""

from pathlib import Path

import pytest

import hil

BENCH = Path(__file__).resolve().parents[1] / "bench_configs" / "zhuque3_landing.toml"
NOMINAL = [1.0, 1.0, 0.95, 0.7, 0.8, 0.95, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]  # at Mach 0 0.5 0.8 1 1.2 1.5 2 3


def roll_moment(factor, seconds=0.2):
    """(roll moment about the stage axis, N m, Mach number) with all fins turned the same way."""
    bench = hil.Bench.load(BENCH, overlay={"constants": {"fin_mach_factor": factor}})
    with bench.start(seed=0) as flight:
        flight.run(until=seconds)
        world = flight.node("world")
        command = flight.node("world").topic("fins").copy()
        for _ in range(400):
            command["fin_rad"][:] = 0.1
            world.input("fins", command)
            flight.step()
        state = world.topic("state")
        return float(state["m_total_b"][0]), float(state["mach"])


def test_half_the_slope_gives_half_the_moment():
    full, mach = roll_moment([1.0] * 12)
    half, _ = roll_moment([0.5] * 12)
    assert mach > 1.4
    assert abs(full) > 1e4
    assert half == pytest.approx(0.5 * full, rel=0.1)


def test_only_the_neighbouring_break_points_count():
    moment, mach = roll_moment(NOMINAL)
    assert 1.2 < mach < 2.0
    assert roll_moment([0.0, 0.0, 0.0, 0.0, *NOMINAL[4:7], 0.0, 0.0, 0.0, 0.0, 0.0])[0] == moment
