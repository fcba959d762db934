"""IMU voting, alone in a node: samples that cannot belong to this tick are not used."""

import numpy as np
import pytest

import flightsw
from flightsw import Graph, NodeSpec, TaskSpec, compile_node

MS = 1_000_000


def rig():
    messages = flightsw.load_messages([])
    spec = NodeSpec("n", [TaskSpec("vote", "gnc.imu_vote", 1)], MS, frozenset({"imu0", "imu1", "imu2"}))
    graph = Graph([compile_node(spec, flightsw.builtin_tasks(), messages, {})], [], messages)
    samples = []
    for k in range(3):
        sample = np.zeros((), messages["fsw_imu_t"].dtype)
        sample["valid"], sample["dv_b"][0] = 1, 0.01 + 1e-6 * k
        samples.append(sample)
    return graph, samples


def fly(graph, samples, ms, skew_ns=(0, 0, 0)):
    node = graph.nodes["n"]
    for _ in range(ms):
        for k, sample in enumerate(samples):
            sample["seq"] += 1
            sample["t_valid_ns"] = graph.tick * MS + skew_ns[k]
            # a live unit has noise: equal samples in a row are a frozen one
            sample["dtheta_b"][0] = 1e-7 * ((int(sample["seq"]) * (7 + k)) % 11)
            node.input(f"imu{k}", sample)
        graph.run(graph.tick + 1)
    return node.topic("imu_voted")


def test_three_that_agree_are_used():
    out = fly(*rig(), 50)
    assert out["valid"] == 1
    assert out["used_mask"] == 0b111
    assert out["dv_b"][0] == pytest.approx(0.010001, abs=1e-9)  # the middle one


@pytest.mark.parametrize("skew_s", [-1.0, 1.0])
def test_unit_whose_clock_is_wrong_is_excluded_and_comes_back(skew_s):
    graph, samples = rig()
    fly(graph, samples, 50)
    out = fly(graph, samples, 50, (0, int(skew_s * 1e9), 0))
    assert out["used_mask"] == 0b101
    assert out["excluded_mask"] & 0b010
    out = fly(graph, samples, 5000)
    assert out["used_mask"] == 0b111
