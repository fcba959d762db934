"""What a bench file and a schedule file may contain.

Models are strict: unknown keys, booleans where numbers belong, numbers that are not finite and values out of range are
refused, all of a file at once, each as `file: key: problem, allowed range`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from flightsw.errors import ConfigError, Problem
from flightsw.params import suggestion
from hil.endpoints import endpoint_problem
from hil.toml_file import Table, file_of, key_of

_GROUP = re.compile(r"^(zmq|serial|emulator):[A-Za-z]([A-Za-z0-9_]|\{k\}){0,63}$")
NAME_RULE = "letters, digits and _, beginning with a letter"


def _one_or_more(value: object) -> object:
    """A single value stands for a list of one."""
    return value if isinstance(value, list) else [value]


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]([A-Za-z0-9_]|\{k\}){0,66}$")]
Ref = Annotated[str, StringConstraints(pattern=r"^[^.\s]+\.[^.\s]+$")]
Paths = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=1000)]], BeforeValidator(_one_or_more)]
Refs = Annotated[list[Ref], BeforeValidator(_one_or_more), Field(min_length=1)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Count = Annotated[int, Field(ge=1, le=256)]
Ticks = Annotated[int, Field(ge=1, le=1_000_000)]
Micros = Annotated[int, Field(ge=0, le=1_000_000_000)]
Sigmas = Annotated[list[Annotated[float, Field(ge=0.0)]], BeforeValidator(_one_or_more), Field(min_length=1)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True, populate_by_name=False)


class Stop(_Model):
    """When a flight is over: a field of a topic has had a value for so long."""

    topic: Ref
    field: str
    equals: float
    hold_s: float = Field(0.0, ge=0.0, le=1e6)


class Plugin(_Model):
    """A user's library of C tasks, with the headers that declare their structs. exact = false: fly it although it fails the checks
    of flight code, and say so in the log.
    """

    library: str
    headers: Paths = []
    exact: bool = True


class RealTimeSection(_Model):
    """The bench against the wall clock (flightsw.RealTimeConfig)."""

    speed: float = Field(1.0, gt=0.0, le=1000.0)
    priority: int = Field(0, ge=0, le=99)
    spin_us: int = Field(0, ge=0, le=1000)
    cpu: int = Field(-1, ge=-1, le=4095)
    lock_memory: bool = False
    shed_ticks: int = Field(2, ge=0, le=1_000_000)
    stop_ticks: int = Field(0, ge=0, le=1_000_000)
    miss_limit: int = Field(3, ge=1, le=1_000_000)
    warm_up_ticks: int = Field(100, ge=0, le=1_000_000)
    noise_s: float = Field(1.0, ge=0.0, le=60.0)


class BenchSection(_Model):
    """The bench as a whole. Paths are relative to the file."""

    name: Name
    title: str = ""
    vehicle: Paths = []
    base_tick_ns: int = Field(1_000_000, ge=1_000, le=1_000_000_000)
    duration_s: float = Field(gt=0.0, le=1e6)
    seed: int = Field(1, ge=0, le=2**63 - 1)
    success: Name = "lands"
    expect: Name | None = None
    keyframe_s: float = Field(5.0, gt=0.0, le=1e6)
    real_time: RealTimeSection | None = None
    stop: Stop | None = None
    tasks: Paths = []
    plugins: list[Plugin] = []
    messages: Paths = []


class Task(_Model):
    """One row of a schedule table. `type` and a rate may be left out where the row replaces another."""

    name: Name
    type: str | None = None
    period_ticks: Ticks | None = None
    rate_hz: float | None = Field(None, gt=0.0, le=1e6)
    phase_ticks: int = Field(0, ge=0, le=1_000_000)
    budget_us: Micros = 0
    deadline_us: Micros = 0
    critical: bool = False
    on_miss: Literal["warn", "skip", "safe", "stop"] = "warn"
    reads: dict[str, str] = {}
    writes: dict[str, str] = {}
    params: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_rate(self) -> Task:
        if self.period_ticks is not None and self.rate_hz is not None:
            raise ValueError("give period_ticks or rate_hz, not both")
        return self


class RecordedField(_Model):
    """Columns that make a field of a message. A column with a minus sign in front is turned round: axes of another frame."""

    columns: Annotated[list[Text], BeforeValidator(_one_or_more), Field(min_length=1)]
    unit: str = ""
    integrate: bool = False


class RecordedPosition(_Model):
    """Columns with a geodetic position (WGS 84) that make an Earth-fixed one. height: a column, or a number.

    velocity: three columns north, east and down, or east, north and up with minus signs as for other fields, that make an
    Earth-fixed velocity in `velocity_field`.
    """

    field: str
    latitude: str
    longitude: str
    height: str | float = 0.0
    unit: str = "deg"
    height_unit: str = "m"
    velocity_field: str | None = None
    velocity_ned: Annotated[list[Text], Field(min_length=3, max_length=3)] | None = None
    velocity_unit: str = "m/s"

    @model_validator(mode="after")
    def _both_or_none(self) -> RecordedPosition:
        if (self.velocity_field is None) != (self.velocity_ned is None):
            raise ValueError("velocity_field and velocity_ned go together")
        return self


class RecordedRows(_Model):
    """Which rows of a file with rows of several kinds are meant: those with a value in a column."""

    column: Text
    equals: str | float


class Recording(_Model):
    """A file played as if it were a board: one topic, one message per row. May stand in a file of its own (`mapping`)."""

    mapping: Text | None = None
    file: Text
    origin: str
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    format: Literal["csv", "json", "parquet", "ulog"] | None = None
    message: Text | None = None
    multi_id: int = Field(0, ge=0, le=255)
    delimiter: Literal[",", ";", "\t", " "] = ","
    headings: bool = True
    where: RecordedRows | None = None
    gaps: Literal["refuse", "skip"] = "refuse"
    topic: Name
    type: str
    time_column: str
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    time_zero: Literal["clock", "first_row", "log_start"] = "clock"
    time_offset_s: float = Field(0.0, ge=-1e10, le=1e10)
    fields: dict[str, RecordedField] = {}
    position: RecordedPosition | None = None
    values: dict[str, Any] = {}


class Node(_Model):
    """A node, or `for` nodes whose names and strings differ by {k} = 0, 1, ..."""

    name: Pattern
    for_: Count | None = Field(None, alias="for")
    role: str = ""
    record: Literal["all", "outputs", "none"] = "outputs"
    where: str = "here"
    schedule: str | None = None
    task: list[Task] = []
    log: dict[str, Annotated[int, Field(ge=0, le=65535)]] = {}
    recording: Recording | None = None

    @model_validator(mode="after")
    def _plays_or_runs(self) -> Node:
        if self.recording is not None and (self.schedule is not None or self.task or self.where != "here" or self.log):
            raise ValueError("a recording stands in the place of a board: no schedule, tasks, log or where beside it")
        return self

    @field_validator("where")
    @classmethod
    def _a_place(cls, where: str) -> str:
        if where != "here" and not _GROUP.match(where):
            raise ValueError(f'"{where}" is not "here", "zmq:<group>", "serial:<group>" or "emulator:<group>", where '
                             f"<group> is a name ({NAME_RULE})")
        return where


class Usb(_Model):
    """What a USB adapter says it is."""

    vid: int = Field(ge=0, le=0xFFFF)
    pid: int = Field(ge=0, le=0xFFFF)
    serial: Text


class Remote(_Model):
    """Where a group of boards runs (without `endpoint`: in a process that the bench starts), its pacing, and what follows when no answer comes:
    in lockstep the bench waits limit_s of wall time and stops; with free pacing it goes on, and after hold_ticks without an
    answer does on_loss.
    """

    key: Text | None = None      # before endpoint, whose check depends on it
    peer: Text | None = None
    endpoint: str | None = None
    limit_s: float = Field(10.0, gt=0.0, le=3600.0)
    retry_s: float = Field(0.5, gt=0.0, le=60.0)
    pacing: Literal["lockstep", "free"] = "lockstep"
    on_loss: Literal["stop", "hold_last", "neutral"] = "stop"
    hold_ticks: int = Field(0, ge=0, le=1_000_000)
    port: Text | None = None
    usb: Usb | None = None
    baud: int = Field(115_200, ge=300, le=12_000_000)
    serial: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None
    resume: bool = False
    live: bool = False
    live_key: Text | None = None
    firmware: Text | None = None
    send: Literal["all", "linked"] | None = None
    compare: Literal["in_process", "nothing"] | None = None

    @field_validator("port")
    @classmethod
    def _absolute(cls, port: str) -> str:
        if not port.startswith("/") and port not in ("uart", "ethernet"):
            raise ValueError(f'"{port}" is not an absolute path, as in /dev/serial/by-id/usb-... (or "uart" or "ethernet" of an emulator)')
        return port

    @model_validator(mode="after")
    def _fits_together(self) -> Remote:
        if (self.key is None) != (self.peer is None):
            raise ValueError("key and peer go together")
        given = [k for k in ("endpoint", "port", "usb") if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(f"one of {', '.join(given)} is wanted, not several")
        if self.live and self.serial is None:
            raise ValueError("live = true needs `serial`, the serial number of the board")
        if self.resume and self.live:
            raise ValueError("resume = true and live = true do not go together: outputs that went safe stay safe")
        if self.resume and self.pacing == "free":
            raise ValueError("resume = true is for lockstep: with free pacing, on_loss says what follows")
        return self

    @field_validator("endpoint")
    @classmethod
    def _a_right_one(cls, endpoint: str, info: ValidationInfo) -> str:
        problem = endpoint_problem(endpoint, bool(info.data.get("key")))
        if problem:
            raise ValueError(problem)
        return endpoint


class Link(_Model):
    """From one topic to others, arriving latency_ticks later."""

    from_: Ref = Field(alias="from")
    to: Refs
    for_: Count | None = Field(None, alias="for")
    latency_ticks: int = Field(1, ge=1, le=10_000)


class Disperse(_Model):
    """A parameter that varies from seed to seed: normally with 1 sigma, or uniformly."""

    key: str
    sigma: Sigmas | None = None
    sigma_percent: Annotated[float, Field(ge=0.0, le=1000.0)] | None = None
    uniform: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    nodes: Annotated[list[str], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_law(self) -> Disperse:
        given = [k for k in ("sigma", "sigma_percent", "uniform") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(f"one of sigma, sigma_percent and uniform is wanted, {' and '.join(given) or 'none'} given")
        if self.uniform is not None and self.uniform[0] > self.uniform[1]:
            raise ValueError("uniform = [lowest, highest]: the first number is greater than the second")
        return self


class Criterion(_Model):
    """What must hold at the end: the last value of a field within limits."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    topic: Ref
    field: str
    min: float | None = None
    max: float | None = None
    equals: float | None = None
    unit: str = ""

    @model_validator(mode="after")
    def _a_limit(self) -> Criterion:
        if self.min is None and self.max is None and self.equals is None:
            raise ValueError("a limit is wanted: min, max or equals")
        if self.equals is not None and (self.min is not None or self.max is not None):
            raise ValueError("equals stands alone, without min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min = {self.min:g} is greater than max = {self.max:g}")
        return self


class Condition(_Model):
    """A named outcome: the last value of a field equals a number."""

    topic: Ref
    field: str
    equals: float


class At(_Model):
    """When a fault begins: one of these."""

    time_s: float | None = Field(None, ge=0.0, le=1e6)
    altitude_m: float | None = Field(None, ge=-1e6, le=1e9)
    phase: str | None = None
    engine_start: Annotated[int, Field(ge=0, le=8)] | None = None
    engine_lit: Annotated[int, Field(ge=0, le=8)] | None = None

    @model_validator(mode="after")
    def _one_trigger(self) -> At:
        given = [k for k in type(self).model_fields if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(f"one of {', '.join(type(self).model_fields)} is wanted, {' and '.join(given) or 'none'} given")
        return self


class Fault(_Model):
    """One injected fault. Meaning of severity by target and type: docs/reference/faults.md."""

    target: str
    type: str
    at: At = Field(default_factory=lambda: At.model_validate({"time_s": 0.0}))
    after_s: float = Field(0.0, ge=0.0, le=1e6)
    for_s: float | None = Field(None, gt=0.0, le=1e6)
    severity: float | None = Field(None, ge=-1e9, le=1e9)


class Upset(_Model):
    """One bit of the state of a task in one string is turned: what a particle does to a memory without protection."""

    string: int = Field(ge=0, le=2)
    at_s: float = Field(ge=0.0, le=1e6)
    task: Name
    field: Name
    bit: int = Field(0, ge=0, le=65535)


class Strings(_Model):
    """A flight computer flown in two or three, and voted (hil.strings)."""

    of: Name
    where: Annotated[list[str], Field(min_length=2, max_length=3)]
    check_ticks: Ticks = 10
    restore_ticks: Ticks = 100
    rejoin_votes: Ticks = 10
    upset: list[Upset] = []

    @field_validator("where")
    @classmethod
    def _places(cls, where: list[str]) -> list[str]:
        for place in where:
            if place != "here" and not _GROUP.match(place):
                raise ValueError(f'"{place}" is not "here" or a place as in `where` of a node')
        return where


class BenchFile(_Model):
    """A whole bench file, after `extends` was followed."""

    bench: BenchSection
    constants: dict[str, Any] = {}
    node: Annotated[list[Node], Field(min_length=1)]
    link: list[Link] = []
    disperse: list[Disperse] = []
    criterion: list[Criterion] = []
    fault: list[Fault] = []
    outcome: dict[Name, Condition] = {}
    remote: dict[Name, Remote] = {}
    strings: Strings | None = None


class ScheduleFile(_Model):
    """A schedule table in a file of its own."""

    task: Annotated[list[Task], Field(min_length=1)]


M = TypeVar("M", bound=BaseModel)
_KINDS = {"int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number", "string_type": "a text",
          "bool_type": "true or false", "list_type": "a list", "dict_type": "a table", "model_type": "a table",
          "model_attributes_type": "a table"}
_LIMITS = {"greater_than_equal": "at least {ge}", "greater_than": "greater than {gt}", "less_than_equal": "at most {le}",
           "less_than": "less than {lt}"}


def validate(model: type[M], root: Table, default_file: str) -> M:
    """Table to model. Raises ConfigError with every problem, each with the file in which the value was written."""
    try:
        return model.model_validate(root)
    except ValidationError as exc:
        problems = [_problem(model, root, error, default_file) for error in exc.errors(include_url=False)]
    raise ConfigError(dict.fromkeys(p for p in problems if p is not None))


def _problem(model: type[BaseModel], root: Table, error: Any, default_file: str) -> Problem | None:
    location = list(error["loc"])
    file, key = file_of(root, location, default_file), key_of(root, location)
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(file, key, f"unknown key{suggestion(str(location[-1]), _keys_at(model, location[:-1]))}")
    if kind == "missing":
        return Problem(file, key, "is missing" + _range_of(model, location, ", allowed "))
    if kind == "value_error":
        return Problem(file, key, str(context["error"]))
    if kind in _LIMITS:
        return Problem(file, key, f"{_brief(value)} is out of range, allowed " +
                       (_range_of(model, location, "") or _LIMITS[kind].format(**{k: _plain(v) for k, v in context.items()})))
    if kind in _KINDS:
        return Problem(file, key, f"{_brief(value)} is not {_KINDS[kind]}" + _range_of(model, location, ", allowed "))
    if kind == "finite_number":
        return Problem(file, key, f"{_brief(value)} is not a finite number" + _range_of(model, location, ", allowed "))
    if kind == "literal_error":
        return Problem(file, key, f"{_brief(value)} is not one of {context['expected']}")
    if kind == "string_pattern_mismatch":
        return Problem(file, key, f"{_brief(value)} is not {_pattern_text(context['pattern'])}")
    if kind in ("too_short", "too_long"):
        wanted = context.get("min_length", context.get("max_length"))
        least = "at least" if kind == "too_short" else "at most"
        return Problem(file, key, f"{context['actual_length']} entries given, {least} {wanted} wanted")
    return Problem(file, key, f"{_brief(value)}: {error['msg']}")


def _pattern_text(pattern: str) -> str:
    if r"\." in pattern:
        return 'of the form "node.topic"'
    return f"a name ({NAME_RULE}{', with {k} where a number goes' if '{k}' in pattern.replace(chr(92), '') else ''})"


def _brief(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _models_in(annotation: object) -> Iterable[type[BaseModel]]:
    """Models anywhere in a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)


def _field_at(model: type[BaseModel], location: Iterable[object]) -> tuple[type[BaseModel] | None, Any]:
    """(model at a location, or None; the last field passed on the way)."""
    here: type[BaseModel] | None = model
    last = None
    for part in location:
        if isinstance(part, int) or here is None:
            continue
        fields = {f.alias or name: f for name, f in here.model_fields.items()}
        if part not in fields:
            continue
        last = fields[str(part)]
        here = next(iter(_models_in(last.annotation)), None)
    return here, last


def _keys_at(model: type[BaseModel], location: Iterable[object]) -> list[str]:
    here, _ = _field_at(model, location)
    return [f.alias or name for name, f in here.model_fields.items()] if here is not None else []


def _range_of(model: type[BaseModel], location: Iterable[object], before: str) -> str:
    """The range of a numeric field as text, or nothing."""
    _, found = _field_at(model, location)
    limits: dict[str, object] = {}
    for item in (*getattr(found, "metadata", ()), *_nested_metadata(getattr(found, "annotation", None))):
        for name in ("ge", "gt", "le", "lt"):
            if getattr(item, name, None) is not None:
                limits[name] = getattr(item, name)
    low = _plain(limits["ge"]) if "ge" in limits else f"more than {_plain(limits['gt'])}" if "gt" in limits else ""
    high = _plain(limits["le"]) if "le" in limits else ""
    if low and high:
        return f"{before}{low} to {high}"
    return f"{before}{low + ' or more' if low else high + ' or less'}" if low or high else ""


def _nested_metadata(annotation: object) -> Iterable[object]:
    for item in getattr(annotation, "__metadata__", ()):
        yield item
        yield from getattr(item, "metadata", ())
    for inner in getattr(annotation, "__args__", ()):
        yield from _nested_metadata(inner)


def unknown(word: str, known: Iterable[str]) -> str:
    """`unknown ..., did you mean`: with the whole list when it is short."""
    words = list(known)
    near = suggestion(word, words)
    return near or (f", known: {', '.join(sorted(words))}" if 0 < len(words) <= 12 else "")


def numbers_only(value: object) -> bool:
    """A finite number, or lists of such."""
    if isinstance(value, list):
        return all(numbers_only(v) for v in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value == value and abs(value) != float("inf")
