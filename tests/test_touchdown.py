"""Touchdown decision, alone in a node: what may switch the engines off, and what must not."""

import numpy as np
import pytest

import flightsw
from flightsw import Graph, NodeSpec, TaskSpec, compile_node

MS = 1_000_000
BURN = 4


class Rig:
    """The task at 200 Hz with inputs set by hand; `fly` holds them for so many milliseconds."""

    def __init__(self):
        messages = flightsw.load_messages([])
        spec = NodeSpec("n", [TaskSpec("touchdown", "gnc.touchdown", 5)], MS, frozenset({"nav", "touch", "guidance"}))
        self.graph = Graph([compile_node(spec, flightsw.builtin_tasks(), messages, {})], [], messages)
        self.node = self.graph.nodes["n"]
        self.nav = np.zeros((), messages["fsw_nav_t"].dtype)
        self.touch = np.zeros((), messages["fsw_touch_t"].dtype)
        self.guidance = np.zeros((), messages["fsw_guidance_t"].dtype)
        self.nav["valid"] = self.touch["valid"] = 1
        self.nav["f_b"][0] = 20.0  # braking, not at rest
        self.touch["n_legs"] = 4
        self.guidance["phase"] = BURN

    def fly(self, ms, height, down, feet=(), phase=BURN, switches=True):
        self.nav["r_bl_l"][2], self.nav["v_bl_l"][2], self.guidance["phase"] = height, -down, phase
        self.touch["contact"][:] = [k in feet for k in range(4)]
        for _ in range(ms):
            self.node.input("nav", self.nav)
            self.node.input("guidance", self.guidance)
            if switches:
                self.node.input("touch", self.touch)
            self.graph.run(self.graph.tick + 1)
        return bool(self.node.topic("touchdown")["landed"])

    def contacts(self):
        """Contact events counted since start, by what the topic says now and before."""
        return int(self.node.writes_of("touchdown_events"))


def test_two_feet_for_long_enough_decide():
    rig = Rig()
    assert not rig.fly(95, 2.0, 0.5, feet=(0, 2))
    assert rig.fly(30, 2.0, 0.5, feet=(0, 2))


@pytest.mark.parametrize("height", [2.9, 10.0, 40.0, 1500.0])
@pytest.mark.parametrize("ms", [5, 20, 33])
def test_transients_never_decide(height, ms):
    rig = Rig()
    for _ in range(6):
        assert not rig.fly(ms, height, 5.0, feet=(0, 1, 2, 3))
        assert not rig.fly(20, height, 5.0)


def test_switches_stuck_closed_do_not_decide_above_the_arming_height():
    rig = Rig()
    assert not rig.fly(500, 40.0, 5.0, feet=(0, 1, 2, 3))
    assert not rig.fly(60, 2.5, 5.0)       # they open; nothing was latched
    assert not rig.fly(40, 0.4, 1.0)


def test_no_decision_outside_the_burn_or_too_fast():
    rig = Rig()
    assert not rig.fly(500, 0.1, 0.5, feet=(0, 1, 2), phase=3)
    assert not rig.fly(500, 0.1, 30.0, feet=(0, 1, 2))


def test_stale_switches_do_not_decide():
    rig = Rig()
    assert not rig.fly(20, 2.9, 0.2, feet=(0, 1))
    assert not rig.fly(2000, 2.9, 0.2, feet=(0, 1), switches=False)  # the last report is not repeated for ever


def test_contact_is_told_again_after_the_logic_was_disarmed():
    rig = Rig()
    rig.fly(20, 2.0, 1.0, feet=(1,))
    told = rig.contacts()
    rig.fly(20, 2.0, 1.0, feet=(1,))
    assert rig.contacts() == told          # once is enough
    rig.fly(20, 50.0, 1.0)
    rig.fly(20, 2.0, 1.0, feet=(1,))
    assert rig.contacts() > told


def test_decision_cannot_be_taken_back():
    rig = Rig()
    assert rig.fly(200, 0.05, 0.2, feet=(0, 1, 2))
    assert rig.fly(50, 10.0, 5.0)
