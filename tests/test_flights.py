"""The benches fly to the verdict they expect, and their logs tell why: each failure is seen in time and answered rightly."""

from pathlib import Path

import pytest

import hil
from flightsw.log import Log
from hil.story import events

BENCHES = Path(__file__).resolve().parents[1] / "bench_configs"
SEED = 3
MISSION = ["zhuque3_landing", "fail_no_light", "fail_dies_3s", "fail_no_light_one_pair", "fail_imu_altimeter", "fail_gnss_lost",
           "fail_beyond_saving", "hopper"]


@pytest.fixture(scope="module")
def flown(tmp_path_factory):
    """name -> (run.json content, events), each bench flown once."""
    cache = {}

    def fly(name):
        if name not in cache:
            bench = hil.Bench.load(BENCHES / f"{name}.toml")
            result = hil.run_bench(bench, SEED, tmp_path_factory.mktemp(name), None, report=False)
            cache[name] = (result.run, events(Log.open(result.log_path)))
        return cache[name]

    return fly


def first(story, name, subject=None):
    """Time of the first event of a name, and of a subject where given."""
    return next((e.t_s for e in story if e.name == name and subject in (None, e.subject)), None)


@pytest.mark.parametrize("name", MISSION)
def test_bench_ends_as_it_expects(flown, name):
    run, _ = flown(name)
    assert run["met"], [c for c in run["criteria"] if not c["ok"]]
    assert run["expected"] == ("lost" if name == "fail_beyond_saving" else "lands")


@pytest.mark.parametrize("name", MISSION)
def test_feasibility_is_declared_before_the_run(flown, name):
    run, _ = flown(name)
    assert run["feasibility"]["feasible"] is (name != "fail_beyond_saving")


def test_nominal_uses_one_engine_and_no_spare(flown):
    run, story = flown("zhuque3_landing")
    assert run["summary"]["engines_started"] == [0]
    assert run["summary"]["engines_failed"] == []
    assert first(story, "ENGINE_START", 0) < first(story, "ENGINE_LIT", 0) < first(story, "LANDED")


def test_no_light_is_seen_within_its_time_and_a_pair_takes_over(flown):
    _, story = flown("fail_no_light")
    started, seen = first(story, "ENGINE_START", 0), first(story, "ENGINE_NO_LIGHT", 0)
    assert 0.9 < seen - started <= 1.26
    pair = {e.subject for e in story if e.name == "ENGINE_LIT"}
    assert pair in ({1, 5}, {3, 7})
    assert abs(first(story, "ENGINE_START", min(pair)) - first(story, "ENGINE_START", max(pair))) < 0.005


def test_engine_that_died_is_never_started_again(flown):
    _, story = flown("fail_dies_3s")
    lit, died = first(story, "ENGINE_LIT", 0), first(story, "ENGINE_DIED", 0)
    assert 2.9 < died - lit < 3.4
    assert sum(e.name == "ENGINE_START" and e.subject == 0 for e in story) == 1


def test_unavailable_pair_is_not_commanded(flown):
    _, story = flown("fail_no_light_one_pair")
    commanded = {e.subject for e in story if e.name == "ENGINE_START"}
    assert commanded == {0, 3, 7}


def test_lying_sensors_are_named(flown):
    _, story = flown("fail_imu_altimeter")
    assert 15.0 <= first(story, "IMU_EXCLUDED", 1) < 15.1
    assert first(story, "RADALT_EXCLUDED", 0) is not None or first(story, "RADALT_LOST", 0) is not None
    assert first(story, "IMU_EXCLUDED", 0) is None and first(story, "IMU_EXCLUDED", 2) is None


def test_gnss_loss_is_noticed(flown):
    _, story = flown("fail_gnss_lost")
    assert first(story, "GNSS_LOST") > first(story, "IGNITION_DECIDED")


def test_beyond_saving_gives_up_the_pad_and_says_so(flown):
    run, story = flown("fail_beyond_saving")
    assert first(story, "DIVERT") is not None
    assert "no engine" in run["feasibility"]["reason"]


def test_hopper_relights(flown):
    _, story = flown("hopper")
    lit = [e.t_s for e in story if e.name == "ENGINE_LIT" and e.subject == 0]
    cutoff = first(story, "CUTOFF")
    assert len(lit) == 2 and lit[0] < cutoff < lit[1]


@pytest.mark.parametrize("name", MISSION)
def test_touchdown_is_not_decided_in_the_air(flown, name):
    _, story = flown(name)
    landed, contact = first(story, "LANDED"), first(story, "TOUCHDOWN_CONTACT")
    assert landed is None or (contact is not None and contact <= landed)
