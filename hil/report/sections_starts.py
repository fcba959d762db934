"""Section of the report on starts: for every engine and start its sequence over what was measured, and why each decision was taken."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from flightsw._native import lib
from hil.report.facts import table as html_table
from hil.report.figures import BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, Figure, Line, Row, time_figure
from hil.report.sections import Context, Section, number
from hil.report.sections_engines import STATE_COLORS, engine_count
from hil.report.sequence_told import (
    FIRST,
    INHIBITED,
    MAIN,
    ROLES,
    SHUTDOWN,
    Change,
    Measured,
    Table,
    because,
    by_role,
    flown,
    told,
)
from hil.report.signals import Array, runs_of, seconds
from hil.story import Event, cause_words

MOST_STARTS = 12
OPEN_STARTS = 4
_POINTS = 360
_BEFORE_S, _PREPARATION_S, _BURN_S, _AFTER_S = 1.5, 6.0, 5.0, 0.4  # what a figure shows at least, or at most
_VALVES = (("chill", 1, "#6cc0e5"), ("purge", 16, "#8fa3b5"), ("igniter", 2, "#f2c230"), ("oxidiser", 8, "#3a86d1"), ("fuel", 4, "#d65c9b"))
_EARLIER_S = 0.3  # specific force before a flame-out
_BAR_ROW, _BAR_GAP = 19, 40
_TOLD = {"ENGINE_GATE", "SENSOR_DISAGREE", "LOW_THRUST", "FAULT_BEGIN", "FAULT_END"}  # events told among the decisions
_PLANNED = (int(lib.FSW_SEQ_CAUSE_NONE), int(lib.FSW_SEQ_CAUSE_COMMAND))
_ENGINE_FAULTS = "on target engine"


@dataclass
class Starts(Section):
    """A section of panels, one per start."""

    parts: list[Section] = field(default_factory=list)


@dataclass(frozen=True)
class Decision:
    """One decision: time (s), from row to row (equal: within it), why, whether it is trouble."""

    t_s: float
    a: str
    b: str
    why: str
    bad: bool = False


@dataclass(frozen=True)
class Attempt:
    """One start of an engine in the telemetry: samples at which preparation began, it was commanded, became lit (or -1), ended."""

    engine: int
    number: int
    begin: int
    command: int
    lit: int
    end: int


class Telemetry:
    """What the log knows of one engine: rows and bits as the sequencer sees them, measurements of its controller."""

    def __init__(self, ctx: Context, data: Array, engine: int, table: Table | None) -> None:
        self.engine = engine
        self.t = seconds(data)
        self.table = table or by_role()
        own_rows = table is not None and bool(data["row"].any())
        if not own_rows:
            self.table = by_role()
        self.row = data["row" if own_rows else "state"][:, engine].astype(int)
        self.role = data["state"][:, engine].astype(int)
        self.is_, self.cause = data["holds"][:, engine], data["cause"][:, engine]
        self.starts, self.pc = data["starts"][:, engine].astype(int), data["pc_pa"][:, engine] * 1e-6
        self.throttle = data["throttle"][:, engine]
        self.told = bool(self.is_.any())
        status = ctx.signals.indexed("fsw_engine_status_t").get(engine)
        self.status = status if status is not None and len(status) else None
        self.arrived = self.status["log_t_ns"] * 1e-9 if self.status is not None else np.zeros(0)
        command = ctx.signals.indexed("fsw_engine_cmd_t").get(engine)
        self.command = command if command is not None and len(command) else None
        nav = ctx.signals.get("fsw_nav_t")
        self.nav = nav[nav["valid"] > 0] if nav is not None else None
        self.guidance = ctx.signals.get("fsw_guidance_t")
        self.touchdown = ctx.signals.get("fsw_touchdown_t")
        self.permit = ctx.signals.get("fsw_permit_t")

    def name(self, row: int) -> str:
        """Name of a row."""
        return self.table.step(row).name

    def axial(self, t: float) -> float:
        """Specific force along the stage axis (m/s2) as navigation knew it at a time."""
        if self.nav is None or not len(self.nav):
            return float("nan")
        k = int(np.searchsorted(self.nav["log_t_ns"] * 1e-9, t + 1e-9, "right")) - 1
        return float(self.nav["f_b"][k, 0]) if k >= 0 else float("nan")

    def measured(self, k: int, command_s: float) -> Measured:
        """What was known at sample k. command_s: time of the start command, not a number where there is none."""
        t = float(self.t[k])
        burning = k > 0 and self.role[k - 1] == MAIN
        then = t - _EARLIER_S if burning else command_s
        known = Measured(
            qualified=float(self.pc[k]), axial=self.axial(t), wish=self.wish(t),
            axial_before=self.axial(then) if np.isfinite(then) and then < t else float("nan"),
            before=f"{_EARLIER_S:g} s before" if burning else "at the command",
            promised=float(self.throttle[max(k - 1, 0)]) * self.table.pc_nominal_pa * 1e-6,
        )
        j = int(np.searchsorted(self.arrived, t + 1e-9, "right")) - 1
        if self.status is None or j < 0:
            return known
        s = self.status[j]
        good = np.flatnonzero(self.status["valid"][: j + 1] > 0)
        age = t - float(self.status["t_valid_ns"][good[-1]]) * 1e-9 if len(good) else float("nan")
        return replace(known, pc=(float(s["pc_a_pa"]) * 1e-6, float(s["pc_b_pa"]) * 1e-6), inlet=float(s["inlet_pa"]) * 1e-6,
                       pump_k=float(s["chill_k"]), throttle=float(s["throttle"]), age_s=age)

    def wish(self, t: float) -> str:
        """Who wants what of the engines at a time."""
        down = _latest(self.touchdown, t)
        if down is not None and down["landed"]:
            return "touchdown decided"
        permit = _latest(self.permit, t)
        if permit is not None and permit["state"] == int(lib.FSW_PERMIT_ABORT):
            return "abort commanded from outside"
        g = _latest(self.guidance, t)
        if g is None:
            return ""
        if int(g["phase"]) == int(lib.FSW_PHASE_LANDED):
            return "guidance: landed"
        n = int(g["engines"])
        return f"guidance wants {n or 'no'} engine{'s' if n != 1 else ''}"


def _latest(data: Array | None, t: float) -> Any:
    if data is None or not len(data):
        return None
    k = int(np.searchsorted(data["log_t_ns"] * 1e-9, t + 1e-9, "right")) - 1
    return data[k] if k >= 0 else None


# ---- starts and decisions -------------------------------------------------------------------------------------------------


def attempts(x: Telemetry) -> list[Attempt]:
    """Starts that were commanded within the log."""
    at = np.flatnonzero(np.diff(x.starts) > 0) + 1
    still = np.isin(x.role, (0, 9, 10))  # off, safed, inhibited
    out = []
    for n, k in enumerate(at):
        before = np.flatnonzero(still[:k])
        later = np.flatnonzero(still[k:])
        stop = int(at[n + 1]) if n + 1 < len(at) else len(x.t) - 1
        end = min(stop, int(k + later[0])) if len(later) else stop
        lit = np.flatnonzero(x.role[k : end + 1] == MAIN)
        begin = int(before[-1]) + 1 if len(before) else 0
        if n and begin <= at[n - 1]:
            begin = int(at[n - 1])
        out.append(Attempt(x.engine, int(x.starts[k]), begin, int(k), int(k + lit[0]) if len(lit) else -1, end))
    return out


def _changes(x: Telemetry, first: int, last: int) -> list[int]:
    """Samples in [first, last] whose row differs from the one before."""
    k = np.flatnonzero(np.diff(x.row)) + 1
    return [int(v) for v in k if first <= v <= last]


def _decision(x: Telemetry, k: int, command_s: float) -> Decision:
    a, b, t = int(x.row[k - 1]), int(x.row[k]), float(x.t[k])
    entered = np.flatnonzero(x.row[:k] != a)
    at_s = t - float(x.t[entered[-1] + 1] if len(entered) else x.t[0])
    since = t - command_s if np.isfinite(command_s) else float("nan")
    change = Change(x.table, a, b, int(x.is_[k]), int(x.cause[k]), at_s, since, x.measured(k, command_s))
    bad = b == INHIBITED or (x.role[k] == SHUTDOWN and x.role[k - 1] != SHUTDOWN and int(x.cause[k]) not in _PLANNED)
    return Decision(t, x.name(a), x.name(b), because(change) if x.told else "", bad)


def _ready(x: Telemetry, first: int, last: int, command_s: float) -> list[Decision]:
    """The sample at which a step that holds had its exit conditions for the first time."""
    for k in range(first, last):
        step = x.table.step(int(x.row[k]))
        if step.hold and step.exit and int(x.is_[k]) & step.exit == step.exit:
            why = told(step.exit, True, x.table, x.measured(k, command_s))
            return [Decision(float(x.t[k]), step.name, "ready", f"{why}; holds until a start is commanded")]
    return []


def _remarks(x: Telemetry, events: Sequence[Event], start_s: float, end_s: float) -> list[Decision]:
    """Events of this engine that no change of row tells."""
    out = []
    for e in events:
        if e.name not in _TOLD or not start_s <= e.t_s <= end_s:
            continue
        if e.subject != x.engine or (e.name.startswith("FAULT_") and _ENGINE_FAULTS not in e.text):
            continue
        text = e.text.removeprefix(f"engine {x.engine}: ")
        out.append(Decision(e.t_s, "", "", text, e.name != "ENGINE_GATE"))
    return out


def decisions(x: Telemetry, a: Attempt, events: Sequence[Event]) -> list[Decision]:
    """All decisions of a start in order of time."""
    command_s = float(x.t[a.command])
    rows = [_decision(x, k, command_s) for k in _changes(x, max(a.begin, 1), a.end)]
    rows += _ready(x, a.begin, a.command, command_s)
    rows += _remarks(x, events, float(x.t[a.begin]), float(x.t[a.end]))
    return sorted(rows, key=lambda d: d.t_s)


# ---- figure ---------------------------------------------------------------------------------------------------------------


def _cut(t: Array, y: Array, span: tuple[float, float], zero_s: float) -> tuple[Array, Array]:
    inside = (t >= span[0] + zero_s) & (t <= span[1] + zero_s)
    return t[inside] - zero_s, y[inside]


def _line(name: str, ty: tuple[Array, Array], color: str, dash: str = "") -> list[Line]:
    return [Line(name, *ty, color, dash)] if len(ty[0]) > 1 else []


def _level(name: str, value: float, span: tuple[float, float]) -> list[Line]:
    return [Line(name, np.array(span), np.full(2, value), GRAY, "dot")] if value > 0.0 else []


def _signal_rows(x: Telemetry, span: tuple[float, float], zero_s: float) -> list[Row]:
    mpa = x.table.pc_nominal_pa * 1e-6
    pressure, inlet, pump = [], [], []
    if x.status is not None:
        s, t = x.status, x.status["t_valid_ns"] * 1e-9
        ok = s["valid"] > 0
        pressure += _line("sensor A", _cut(t[ok], s["pc_a_pa"][ok] * 1e-6, span, zero_s), BLUE)
        pressure += _line("sensor B", _cut(t[ok], s["pc_b_pa"][ok] * 1e-6, span, zero_s), ORANGE, "dash")
        inlet = _line("inlet", _cut(t[ok], s["inlet_pa"][ok] * 1e-6, span, zero_s), GREEN)
        pump = _line("pump", _cut(t[ok], s["chill_k"][ok], span, zero_s), PURPLE)
    pressure += _line("qualified", _cut(x.t, x.pc, span, zero_s), RED, "dot")
    high = max((float(np.nanmax(line.y)) for line in pressure if np.isfinite(line.y).any()), default=0.0)
    lit = x.table.lit_share * mpa
    pressure += _level(f"lit above {number(lit)}", lit, span)
    high = max(high, lit)
    rows = [Row("chamber pressure, MPa", pressure, 150, (-0.05 * high, 1.1 * high) if high > 0.0 else None, _POINTS)]
    if x.nav is not None:
        force = _line("along the axis", _cut(x.nav["t_valid_ns"] * 1e-9, x.nav["f_b"][:, 0], span, zero_s), "#1fa3b5")
        rows += [Row("specific force, m/s2", force, 90, None, _POINTS)] if force else []
    for title, lines, channel, factor in (("inlet pressure, MPa", inlet, 1, 1e-6), ("pump temperature, K", pump, 2, 1.0)):
        for c in x.table.ready():
            if c.channel == channel and lines:
                lines += _level(f"{c.name or 'ready'}: at {'least' if c.above else 'most'} {number(c.value * factor)}", c.value * factor, span)
        rows += [Row(title, lines, 76, None, _POINTS)] if lines else []
    return rows


def _bars(x: Telemetry, span: tuple[float, float], zero_s: float) -> tuple[list[Figure], list[str]]:
    """Steps, and the valves as commanded, as horizontal bars."""
    low, high = span[0] + zero_s, span[1] + zero_s
    steps: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for a, b, row in runs_of(x.row):
        start, end = max(float(x.t[a]), low), min(float(x.t[b]) if b < len(x.t) else high, high)
        step = x.table.step(row)
        if end > start and step.role != 0:
            color = STATE_COLORS.get(ROLES[step.role] if 0 <= step.role < len(ROLES) else "", GRAY)
            steps.setdefault((step.name, color), []).append((start - zero_s, end - start))
    traces = [_bar(name, color, "step", spans, True) for (name, color), spans in steps.items()]
    source = x.command if x.command is not None else x.status
    rows = ["step"]
    if source is not None:
        t = source["log_t_ns"] * 1e-9
        for name, bit, color in _VALVES:
            on = (source["valves"] & bit) != 0
            cut = [(max(float(t[a]), low), min(float(t[b]) if b < len(t) else high, high)) for a, b, v in runs_of(on) if v]
            spans = [(a - zero_s, b - a) for a, b in cut if b > a]
            if spans:
                rows.append(name)
                traces.append(_bar(name, color, name, spans[:60], False))
    return traces, rows


def _bar(name: str, color: str, row: str, spans: Sequence[tuple[float, float]], named: bool) -> Figure:
    return {
        "type": "bar", "orientation": "h", "name": html.escape(name), "marker": {"color": color, "line": {"width": 0}},
        "width": 0.86 if named else 0.5, "y": [row] * len(spans), "x": [round(d, 4) for _, d in spans],
        "base": [round(s, 4) for s, _ in spans], "yaxis": "y98", "hoverinfo": "skip", "showlegend": named, "legend": "legend98",
    }


def _names(bars: Sequence[Figure], span: tuple[float, float]) -> list[Figure]:
    """Names of steps inside those of their bars that are wide enough."""
    per_letter = 0.011 * (span[1] - span[0])
    return [
        {"x": round(start + 0.5 * width, 4), "y": "step", "xref": "x", "yref": "y98", "text": bar["name"], "showarrow": False,
         "font": {"size": 11, "color": "#10161b"}}
        for bar in bars if bar["showlegend"] for start, width in zip(bar["base"], bar["x"], strict=True)
        if width > per_letter * len(bar["name"])
    ]


def _marks(found: Sequence[Decision], span: tuple[float, float], zero_s: float) -> tuple[list[Figure], list[Figure]]:
    """Vertical lines and numbers; numbers that would cover each other become one."""
    shown = [(k + 1, d.t_s - zero_s, d.bad) for k, d in enumerate(found) if span[0] <= d.t_s - zero_s <= span[1]]
    lines = [
        {"type": "line", "xref": "x", "yref": "paper", "x0": round(t, 4), "x1": round(t, 4), "y0": 0, "y1": 1, "layer": "below",
         "line": {"width": 1.2, "dash": "dot", "color": RED if bad else GRAY}, "opacity": 0.75} for _, t, bad in shown
    ]
    groups: list[list[tuple[int, float, bool]]] = []
    for item in shown:
        if groups and item[1] - groups[-1][0][1] < (0.03 if len(groups[-1]) == 1 else 0.065) * (span[1] - span[0]):
            groups[-1].append(item)
        else:
            groups.append([item])
    labels = [
        {"x": round(g[0][1], 4), "y": 1, "xref": "x", "yref": "paper", "yanchor": "bottom", "xanchor": "left" if len(g) > 1 else "center",
         "text": f"<b>{g[0][0]}{f' to {g[-1][0]}' if len(g) > 1 else ''}</b>", "showarrow": False,
         "font": {"size": 12, **({"color": RED} if any(i[2] for i in g) else {})}} for g in groups
    ]
    return lines, labels


def figure(x: Telemetry, found: Sequence[Decision], span: tuple[float, float], zero_s: float) -> Figure:
    """Steps and valves over pressures, specific force, inlet and pump; time in s from zero_s."""
    out = time_figure(_signal_rows(x, span, zero_s), [], span)
    layout = out["layout"]
    margins = layout["margin"]["t"] + layout["margin"]["b"]
    old = layout["height"] - margins
    bars, rows = _bars(x, span, zero_s)
    added = _BAR_ROW * (len(rows) + 0.4) + _BAR_GAP
    new = old + added
    for key, part in layout.items():
        if key.startswith("yaxis"):
            part["domain"] = [v * old / new for v in part["domain"]]
        elif key.startswith("legend"):
            part["y"] = part["y"] * old / new
    layout["yaxis98"] = {
        "domain": [(old + 12) / new, 1 - 26 / new], "categoryorder": "array", "categoryarray": rows[::-1], "fixedrange": True,
        "range": [-0.6, len(rows) - 0.4], "showgrid": False, "anchor": "x", "tickfont": {"size": 11},
    }
    layout["legend98"] = {**layout["legend"], "y": 1 - 26 / new,
                          "title": {"text": "<b>sequence</b>&nbsp; ", "side": "left", "font": {"size": 12}}}
    layout["height"] = int(new + margins)
    layout["shapes"], numbers = _marks(found, span, zero_s)
    layout["annotations"] = numbers + _names(bars, span)
    layout["barmode"] = "overlay"
    layout["margin"]["t"] += 20  # numbers below the buttons
    layout["height"] += 20
    layout["xaxis"]["title"]["text"] = "time from the start command, s"
    out["data"] += bars
    out.pop("time")
    return out


def _spans(x: Telemetry, a: Attempt) -> list[tuple[float, float]]:
    """What figures show, from the start command (s): the start, and the end of a long burn."""
    zero = float(x.t[a.command])
    begin, end = float(x.t[a.begin]) - zero, float(x.t[a.end]) - zero
    low = begin - 0.1 if begin > -_PREPARATION_S else -_BEFORE_S
    if a.lit < 0 or end - (float(x.t[a.lit]) - zero) < _BURN_S:
        return [(low, end + _AFTER_S)]
    lit = float(x.t[a.lit]) - zero
    off = np.flatnonzero(x.role[a.lit : a.end + 1] != MAIN)
    spans = [(low, min(end, lit + 0.6 * _BURN_S))]
    if len(off):
        spans.append((float(x.t[a.lit + off[0]]) - zero - 1.0, end + _AFTER_S))
    return spans


# ---- page -----------------------------------------------------------------------------------------------------------------


def _table(found: Sequence[Decision], zero_s: float) -> str:
    rows = []
    for k, d in enumerate(found):
        step = f"{html.escape(d.a)} → {html.escape(d.b)}" if d.a else "<i>within the step</i>"
        why = html.escape(d.why) or "-"
        rows.append((str(k + 1), f"{d.t_s - zero_s:z.2f}", step, f'<span class="no">{why}</span>' if d.bad else why))
    return html_table(("", "t, s", "step", "because"), rows)


def _preparation(x: Telemetry, a: Attempt) -> str:
    """Preparation in short."""
    parts = []
    for p, q, row in runs_of(x.row[a.begin : a.command]):
        lasted = float(x.t[a.begin + q] - x.t[a.begin + p])
        parts.append(f"{x.name(row)} {lasted:.2f} s")
    return f"Preparation: {', '.join(parts)}." if parts else ""


def _faults(x: Telemetry, events: Sequence[Event], start_s: float) -> str:
    """Faults of this engine that were injected before its preparation began, and last."""
    last = {e.text.split(": ", 1)[-1]: e for e in events if _ENGINE_FAULTS in e.text and e.subject == x.engine and e.t_s < start_s}
    return " ".join(f"Since {e.t_s:.2f} s: {e.text}." for e in last.values() if e.name == "FAULT_BEGIN")


def _result(x: Telemetry, a: Attempt) -> str:
    zero = float(x.t[a.command])
    if a.lit < 0:
        causes = {int(c) for c in x.cause[a.command : a.end + 1]} - set(_PLANNED)
        if not causes or int(lib.FSW_SEQ_CAUSE_NO_LIGHT) in causes:
            return "did not light" if causes or not x.told else "ended before it was lit"
        return f"not lit, because {cause_words(min(causes))}"
    off = np.flatnonzero(x.role[a.lit : a.end + 1] != MAIN)
    lit = f"lit {float(x.t[a.lit]) - zero:.2f} s after the command"
    return f"{lit}, main stage for {float(x.t[a.lit + off[0]] - x.t[a.lit]):.2f} s" if len(off) else f"{lit}, burning at the end of the log"


def _panel(x: Telemetry, a: Attempt, ctx: Context) -> Section:
    zero = float(x.t[a.command])
    found = decisions(x, a, ctx.events)
    title = f"Engine {a.engine}, start {a.number}: {_result(x, a)}"
    text = html.escape(f"Commanded at {zero:.3f} s. {_preparation(x, a)} {_faults(x, ctx.events, float(x.t[a.begin]))}".strip())
    figures = [figure(x, found, span, zero) for span in _spans(x, a)]
    return Section(f"start-{a.engine}-{a.number}", title, text, figures, _table(found, zero))


def _unstarted(x: Telemetry) -> list[tuple[str, ...]]:
    """Decisions of an engine that was prepared but never started."""
    if np.diff(x.starts).any() or not ((x.row >= FIRST) | (x.row == INHIBITED)).any():
        return []
    ready = _ready(x, 0, len(x.t), float("nan"))
    found = sorted([_decision(x, k, float("nan")) for k in _changes(x, 1, len(x.t) - 1)] + ready, key=lambda d: d.t_s)
    return [(str(x.engine), f"{d.t_s:.2f}", f"{html.escape(d.a)} → {html.escape(d.b)}",
             f'<span class="no">{html.escape(d.why)}</span>' if d.bad else html.escape(d.why)) for d in found[:40]]


def starts(ctx: Context) -> Section | None:
    """Every start of every engine, the first ones open, the rest folded."""
    data = ctx.signals.get("fsw_engines_t")
    if data is None or len(data) < 2:
        return None
    node = ctx.signals.channels("fsw_engines_t")[0].split("/")[1]
    table = flown(ctx.signals.log, node)
    engines = [Telemetry(ctx, data, k, table) for k in range(engine_count(ctx))]
    found = sorted(((float(x.t[a.command]), a.engine, x, a) for x in engines for a in attempts(x)), key=lambda item: item[:2])
    idle = [row for x in engines for row in _unstarted(x)]
    if not found and not idle:
        return None
    parts = [_panel(x, a, ctx) for _, _, x, a in found[:MOST_STARTS]]
    text = (
        "Each start on its own clock. Bars: steps of the sequence and valves as commanded; numbers on top are the rows of the table "
        "below, red ones trouble. Reasons are made from the sequence as flown and from the conditions that the sequencer saw in the "
        "step in which it decided."
    )
    if table is None:
        text += " This log carries no sequence, so steps are named by their role and reasons are short."
    elif table.file:
        text += f" Names are those of {html.escape(table.file)}."
    if len(found) > MOST_STARTS:
        text += f" {len(found) - MOST_STARTS} more starts are in the log."
    more = ""
    if idle:
        more = ("<details><summary>Engines that were prepared and not started</summary>"
                + html_table(("engine", "t, s", "step", "because"), idle) + "</details>")
    return Starts("starts", "Engine starts", text, [], more, parts)
