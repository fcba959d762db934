"""The story of a flight: every coded event of a log as one sentence, in time order.

The words come from the core (events.h); codes that it does not know, those of a user's own tasks, get a neutral sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from flightsw._native import ffi, lib
from flightsw.messages import builtin

EVENTS_TYPE = "fsw_events_t"
_PLACE = re.compile(r"\{(s|0|1)(?::\.(\d)f)?\}")
_CAUSE = re.compile(r" \(cause \{(0|1):\.0f\}\)")
# arguments that are numbers of something with a name: constants of the core whose names begin like this
_WORDS: Mapping[str, Mapping[str, str]] = {
    "FAULT_BEGIN": {"0": "FSW_FAULT_", "1": "FSW_TARGET_"},
    "FAULT_END": {"0": "FSW_FAULT_", "1": "FSW_TARGET_"},
    "ENGINE_ABORT": {"0": "FSW_ENGINE_"},
}
_CAUSES_OF = {"ENGINE_INHIBITED", "ENGINE_ABORT"}  # events whose cause is one of an engine's sequence
# why an engine left its sequence: FSW_SEQ_CAUSE_* of sequence.h
CAUSES: Mapping[str, str] = {
    "NONE": "no cause is known",
    "COMMAND": "it was commanded off",
    "STALE": "the link to its controller was lost",
    "CHECK": "a check was not passed",
    "CHILL": "it did not get or stay cold and purged",
    "IGNITER": "its igniter was not confirmed, was lost or was on for too long",
    "LEAD": "the lead of the first propellant was not completed",
    "UNBURNT": "too much propellant had passed unburnt",
    "NO_LIGHT": "it did not light",
    "DIED": "it died",
    "REDLINE": "a redline was crossed",
    "FIRE": "its bay temperature switch tripped",
    "ABORT": "an abort was commanded",
    "INHIBIT": "it is not to be used",
    "CORRUPT": "its state was corrupted",
}
_EVERY_UNIT = 255


@dataclass(frozen=True)
class Event:
    """One thing that happened: mission time, the node that said so, name of the code, subject (engine, unit), sentence."""

    t_s: float
    node: str
    name: str
    subject: int
    text: str


def _string(pointer: Any) -> str:
    return "" if pointer == ffi.NULL else str(ffi.string(pointer).decode())


@lru_cache(maxsize=16)
def _constants(prefix: str) -> Mapping[int, str]:
    """Value to words, of the core's constants with this prefix: FSW_FAULT_NO_LIGHT is "no light"."""
    names = [n for n in dir(lib) if n.startswith(prefix) and not n.endswith("_SLOTS")]
    return {int(getattr(lib, n)): n[len(prefix):].lower().replace("_", " ") for n in names}


def cause_words(cause: int) -> str:
    """Words for a cause of an engine's sequence, to follow "because"; one that this version does not know keeps its number."""
    known = {int(getattr(lib, f"FSW_SEQ_CAUSE_{name}")): words for name, words in CAUSES.items()}
    return known.get(cause, f"of cause {cause}")


def event_name(code: int) -> str:
    """Name of an event code, for example "ENGINE_LIT"."""
    return _string(lib.fsw_event_name(code)) or f"EVENT_{code}"


def sentence(code: int, subject: int, arg0: float, arg1: float) -> str:
    """The words for an event."""
    template = _string(lib.fsw_event_text(code))
    if not template:
        return f"event {code} of subject {subject} ({arg0:g}, {arg1:g})"
    name = event_name(code)
    words = _WORDS.get(name, {})

    def fill(match: re.Match[str]) -> str:
        place, digits = match[1], match[2]
        if place == "s":
            return "all" if subject == _EVERY_UNIT and name.startswith("FAULT_") else str(subject)
        value = arg0 if place == "0" else arg1
        if place in words and np.isfinite(value) and int(value) in _constants(words[place]):
            return _constants(words[place])[int(value)]
        return f"{value:.{digits}f}" if digits else f"{value:g}"

    def why(match: re.Match[str]) -> str:
        value = arg0 if match[1] == "0" else arg1
        return f", because {cause_words(int(value))}" if 0.0 <= value < 256.0 else _PLACE.sub(fill, match[0])

    if name in _CAUSES_OF:
        template = _CAUSE.sub(why, template)
    return _PLACE.sub(fill, template)


def message_types(log: Any) -> dict[str, str]:
    """C type of each channel that holds messages, in the order of the log.

    "" where the log does not say, or where it means another message of the same name than this version of the package.
    """
    known = builtin()
    out = {}
    for topic, count in log.topics.items():
        if count:
            told = log.channel(topic).metadata
            name = told.get("type", "")
            same = name not in known or told.get("type_hash") == f"{known[name].type_hash:016x}"
            out[topic] = name if same else ""
    return out


def events(log: Any) -> list[Event]:
    """All events of a log, sorted by time (those of one tick in the order of the log's channels)."""
    out = []
    for channel in [topic for topic, kind in message_types(log).items() if kind == EVENTS_TYPE]:
        node = channel.strip("/").split("/")[0]
        data = log[channel]
        for row in data[data["count"] > 0]:
            for k in range(min(int(row["count"]), len(row["code"]))):
                code, subject = int(row["code"][k]), int(row["subject"][k])
                text = sentence(code, subject, float(row["arg0"][k]), float(row["arg1"][k]))
                out.append(Event(int(row["t_ns"]) * 1e-9, node, event_name(code), subject, text))
    return sorted(out, key=lambda e: e.t_s)


def tell(told: Iterable[Event]) -> str:
    """The story for a terminal, one line per event, times aligned."""
    return "\n".join(f"{e.t_s:8.2f} s  {e.text}" for e in told)
