"""What a sequence file may contain: tables, keys, ranges. What the keys mean together is checked in hil.sequence.check."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flightsw._native import lib
from hil.config import Name, Text

VALVES = {"chill": int(lib.FSW_VALVE_CHILL), "igniter": int(lib.FSW_VALVE_IGNITER), "fuel": int(lib.FSW_VALVE_FUEL),
          "oxidiser": int(lib.FSW_VALVE_OX), "purge": int(lib.FSW_VALVE_PURGE)}
ROLES = {"check": int(lib.FSW_ENGINE_CHECK), "purge": int(lib.FSW_ENGINE_PURGE), "chill": int(lib.FSW_ENGINE_CHILL),
         "igniter": int(lib.FSW_ENGINE_IGNITER), "lead": int(lib.FSW_ENGINE_LEAD), "rise": int(lib.FSW_ENGINE_RISE),
         "main": int(lib.FSW_ENGINE_MAIN), "shutdown": int(lib.FSW_ENGINE_SHUTDOWN), "after": int(lib.FSW_ENGINE_AFTER)}
PREPARATION = ("check", "purge", "chill")
START = ("igniter", "lead", "rise")
CLOSING = ("shutdown", "after")
MAX_STEPS, MAX_CONDITIONS, MAX_SAMPLES, MOST_TICKS = int(lib.FSW_SEQ_STEPS), int(lib.FSW_SEQ_CONDITIONS), 250, 60_000
ROW_FIRST, ROW_SAFED, ROW_INHIBITED = int(lib.FSW_SEQ_ROW_FIRST), int(lib.FSW_SEQ_ROW_SAFED), int(lib.FSW_SEQ_ROW_INHIBITED)
RESERVED = {"off": int(lib.FSW_SEQ_ROW_OFF), "safed": ROW_SAFED, "inhibited": ROW_INHIBITED}
FIRST_CONDITION = int(lib.FSW_SEQ_FIRST_CONDITION)
# what the flight software decides by itself: name -> (bit, what it says)
BUILT_IN = {
    "link": (int(lib.FSW_SEQ_IS_LINK), "the engine controller's samples arrive and it vouches for them"),
    "fire": (int(lib.FSW_SEQ_IS_FIRE), "bay temperature switch"),
    "igniter": (int(lib.FSW_SEQ_IS_IGNITER), "the igniter draws its current"),
    "quiet": (int(lib.FSW_SEQ_IS_QUIET), "a usable pressure sensor reads about nothing"),
    "lit": (int(lib.FSW_SEQ_IS_LIT), "ignition decided by chamber pressure and acceleration"),
    "sign_of_light": (int(lib.FSW_SEQ_IS_SIGN), "chamber pressure rises, or acceleration does"),
    "flame": (int(lib.FSW_SEQ_IS_FLAME), "chamber pressure says that something burns"),
    "flame_out": (int(lib.FSW_SEQ_IS_OUT), "flame-out decided by both sensors and acceleration"),
}
ENDS = ("fire", "flame_out")  # of them, those that end a step: for `redlines` alone
# channel: (number in sense.h, unit, least and greatest number that makes sense)
CHANNELS = {
    "pc": (int(lib.FSW_SEQ_CHANNEL_PC), "of nominal", 0.0, 100.0),
    "inlet_pa": (int(lib.FSW_SEQ_CHANNEL_INLET), "Pa", 0.0, 1e9),
    "pump_k": (int(lib.FSW_SEQ_CHANNEL_PUMP), "K", 1.0, 2000.0),
    "throttle": (int(lib.FSW_SEQ_CHANNEL_THROTTLE), "of full", 0.0, 1.0),
    "axial_m_s2": (int(lib.FSW_SEQ_CHANNEL_AXIAL), "m/s2", -1000.0, 1000.0),
    "pc_over_expected": (int(lib.FSW_SEQ_CHANNEL_PC_OVER), "of nominal above the throttle's promise", -100.0, 100.0),
}

Valve = Literal["chill", "igniter", "fuel", "oxidiser", "purge"]
Role = Literal["check", "purge", "chill", "igniter", "lead", "rise", "main", "shutdown", "after"]
Span = Annotated[float, Field(ge=0.0, le=600.0)]      # s
Limit = Annotated[float, Field(ge=0.001, le=600.0)]   # s


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True, populate_by_name=False)


class About(_Model):
    """The sequence as a whole. step_s: length of a step of time; the task's period times step_ticks must be the same."""

    name: Name
    title: Text | None = None
    step_s: float = Field(0.01, ge=0.001, le=1.0)


class Engine(_Model):
    """What the engine demands whatever the steps say; the check holds the steps against it.

    lead: which propellant is admitted first. purge_min_s: purge in one go before propellant may follow. cold: conditions that must hold
    in the step in which a start begins.
    """

    lead: Literal["oxidiser", "fuel"]
    purge_min_s: Span
    cold: list[Name] = []


class Limits(_Model):
    """Per engine and per start.

    starts: start commands of one engine. start_max_s: start command to lit. igniter_s: igniter on. unburnt_kg: propellant through open
    main valves without flame, at a flow of unlit_flow_kg_s. rearm_s: rest after a shutdown before a further start. recover_s: how long
    recover_needs must hold before an engine that was inhibited is available again.
    """

    starts: int = Field(ge=1, le=200)
    start_max_s: Limit
    igniter_s: Limit
    unburnt_kg: float = Field(gt=0.0, le=1e6)
    unlit_flow_kg_s: float = Field(gt=0.0, le=1e5)
    rearm_s: Span
    recover_s: Limit
    recover_needs: Annotated[list[Name], Field(min_length=1)]


class Condition(_Model):
    """A measured value compared with a number: `when` in for_s of samples in a row. Once it holds, it holds until `release` is passed."""

    name: Name
    when: Text
    for_s: Annotated[float, Field(ge=0.0, le=10.0)] | None = None
    release: float | None = None


class Step(_Model):
    """One step. lasts_s = x is short for min_s = x and max_s = x."""

    name: Name
    role: Role
    energise: list[Valve] = []
    enter_if: list[Name] = []
    leave_if: list[Name] = []
    keep: list[Name] = []
    redlines: list[Name] = []
    lasts_s: Limit | None = None
    min_s: Span | None = None
    max_s: Limit | None = None
    gate_s: Limit | None = None
    gate: list[Name] = []
    hold: bool = False
    pulsed: list[Valve] = []
    rest_if: list[Name] = []
    next: Name | None = None
    abort: Name | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Step:
        if self.lasts_s is not None and (self.min_s is not None or self.max_s is not None):
            raise ValueError("lasts_s stands alone, without min_s and max_s")
        if (self.gate_s is None) != (not self.gate):
            raise ValueError("gate and gate_s go together")
        if bool(self.pulsed) != bool(self.rest_if):
            raise ValueError("pulsed and rest_if go together")
        return self


class SequenceFile(_Model):
    """A whole file."""

    sequence: About
    engine: Engine
    limits: Limits
    condition: list[Condition] = []
    redline: list[Condition] = []
    step: Annotated[list[Step], Field(min_length=1, max_length=MAX_STEPS)]
