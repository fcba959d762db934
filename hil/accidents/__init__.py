"""Accident scenarios: what once went wrong, flown by this flight software, which must cope, and by a naive twin, which must not."""

from hil.accidents.scenario import Scenario, find_scenarios
from hil.accidents.suite import Run, ScenarioResult, fly_scenarios

__all__ = ["Run", "Scenario", "ScenarioResult", "find_scenarios", "fly_scenarios"]
