"""Verdict: what a flight came to, judged by the criteria of its bench file on the last values of topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from flightsw.graph import NodeView
from hil.config import Condition, Criterion
from hil.load import FieldRef

LANDS, LOST, DONE = "lands", "lost", "done"

# Fields that mean nothing before another field of the same message is set: a flight that never touched has no touchdown speed.
_TOUCHDOWN = ("v_down_m_s", "v_across_m_s", "tilt_deg", "rate_deg_s", "miss_m", "propellant_kg")
_REST = ("final_tilt_deg", "final_speed_m_s")
_LATCHED = {"fsw_outcome_t": {**dict.fromkeys(_TOUCHDOWN, "touched"), **dict.fromkeys(_REST, "settled")}}


@dataclass(frozen=True)
class CriterionResult:
    """One criterion and how far the flight stayed from its limit. margin: in the criterion's unit, negative when broken.

    value and margin are None when the topic was never written, or the value is not a number.
    """

    name: str
    value: float | None
    limit_text: str
    margin: float | None
    unit: str
    ok: bool


@dataclass(frozen=True)
class Verdict:
    """Outcome against expectation. outcome: a name of the bench's [outcome] table, else "lands" (all criteria hold), "lost",
    or "done" for a bench without criteria."""

    outcome: str
    expected: str
    met: bool
    criteria: list[CriterionResult]
    summary: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def last_value(views: Mapping[str, NodeView], ref: FieldRef) -> float | None:
    """A field as last written; None when its topic never was, or the field has not been latched."""
    view = views[ref.node]
    if view.writes_of(ref.topic) == 0:
        return None
    record = view.topic(ref.topic)
    latch = _LATCHED.get(view.compiled.topics[ref.topic].type.name, {}).get(ref.field)
    if latch is not None and not record[latch]:
        return None
    value = record[ref.field]
    return float(value if ref.index is None else value[ref.index])


def limit_text(c: Criterion) -> str:
    """Limits as people write them."""
    if c.equals is not None:
        return f"= {c.equals:g}"
    if c.min is not None and c.max is not None:
        return f"{c.min:g} to {c.max:g}"
    return f"<= {c.max:g}" if c.max is not None else f">= {c.min:g}"


def check(c: Criterion, value: float | None) -> CriterionResult:
    """Judge one criterion."""
    if value is None or not np.isfinite(value):
        return CriterionResult(c.name, None, limit_text(c), None, c.unit, False)
    if c.equals is not None:
        return CriterionResult(c.name, value, limit_text(c), -abs(value - c.equals), c.unit, value == c.equals)
    margin = min(value - c.min if c.min is not None else np.inf, c.max - value if c.max is not None else np.inf)
    return CriterionResult(c.name, value, limit_text(c), float(margin), c.unit, margin >= 0.0)


def judge(criteria: Sequence[tuple[Criterion, FieldRef]], outcomes: Mapping[str, tuple[Condition, FieldRef]], expected: str,
          views: Mapping[str, NodeView], success: str = LANDS) -> Verdict:
    """Verdict on nodes as they stand. A named outcome whose condition holds rules; then `success` if all criteria hold, else
    "lost". An expected "lost" is met by everything but `success`.
    """
    results = [check(c, last_value(views, ref)) for c, ref in criteria]
    named = next((name for name, (cond, ref) in outcomes.items() if last_value(views, ref) == cond.equals), None)
    if named is not None:
        outcome = named
    elif not results:
        outcome = DONE
    else:
        outcome = success if all(r.ok for r in results) else LOST
    met = outcome != success if expected == LOST else outcome == expected
    return Verdict(outcome, expected, met, results, _summary(views))


def _summary(views: Mapping[str, NodeView]) -> dict[str, Any]:
    """What the package's own messages say about the end, where a bench has them: engines used and failed, time of touchdown."""
    out: dict[str, Any] = {}
    for view in views.values():
        for name, topic in view.compiled.topics.items():
            if topic.writer is None or view.writes_of(name) == 0:
                continue
            record = view.topic(name)
            if topic.type.name == "fsw_engines_t":
                out["engines_started"] = [int(k) for k in np.flatnonzero(record["starts"])]
                out["engines_failed"] = [k for k in range(len(record["starts"])) if int(record["failed_mask"]) >> k & 1]
            if topic.type.name == "fsw_outcome_t" and int(record["touched"]):
                out["t_touchdown_s"] = float(record["t_touch_ns"]) * 1e-9
            if topic.type.name == "fsw_outcome_t":
                out |= {"touched": bool(record["touched"]), "broken": bool(record["broken"])}
    return out
