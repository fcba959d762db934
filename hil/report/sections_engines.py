"""Sections of the report on engines: a timeline of every engine's start, burn and end, and what the sequencer decided from."""

from __future__ import annotations

import numpy as np

from hil.report.figures import GRAY, PALETTE, Bar, Line, Row, timeline_figure
from hil.report.sections import Context, Section, number
from hil.report.signals import Array, runs_of, seconds

STATES = ("off", "check", "purge", "chill", "igniter", "lead", "rise", "main stage", "shutdown", "safed", "inhibited", "after purge")
STATE_COLORS = {
    "check": "#b9c2ca",
    "purge": "#8fa3b5",
    "chill": "#6cc0e5",
    "igniter": "#f2c230",
    "lead": "#eea02b",
    "rise": "#e87722",
    "main stage": "#2f9e68",
    "shutdown": "#a06fd0",
    "after purge": "#c3b3dd",
    "safed": "#7d8791",
    "inhibited": "#d64541",
}
PHASES = ("idle", "ascent", "coast", "aero", "burn", "landed", "abort")
PHASE_COLORS = {
    "phase: ascent": "#c98bdb",
    "phase: coast": "#c9d3dc",
    "phase: aero": "#8db7e2",
    "phase: burn": "#f0a35e",
    "phase: landed": "#7fc8a0",
    "phase: abort": "#e58a87",
}


def _bars(row: str, t: Array, values: Array, names: tuple[str, ...], end_s: float, prefix: str = "") -> list[Bar]:
    out = []
    for a, b, value in runs_of(values):
        name = prefix + (names[value] if 0 <= value < len(names) else str(value))
        out.append(Bar(row, float(t[a]), float(t[b]) if b < len(t) else end_s, name))
    return out


def engine_count(ctx: Context) -> int:
    """Engines that the log knows of."""
    numbered = {**ctx.signals.indexed("fsw_engine_cmd_t"), **ctx.signals.indexed("fsw_engine_status_t")}
    return min(max(numbered) + 1, 9) if numbered else 9


def _words(engines: Array, count: int) -> str:
    last = engines[-1]
    lit = [k for k in range(count) if ((engines["lit_mask"] >> k) & 1).any()]
    failed = [k for k in range(count) if int(last["failed_mask"]) >> k & 1]
    t, parts = seconds(engines), []
    for k in lit:
        burns = [f"{number(t[a])} to {number(t[b - 1])} s" for a, b, on in runs_of((engines["lit_mask"] >> k) & 1) if on]
        parts.append(f"engine {k} from {' and '.join(burns[:6])}")
    text = ("Confirmed burning: " + ", ".join(parts) + ".") if parts else "No engine was confirmed burning."
    if failed:
        text += f" Failed: {', '.join(map(str, failed))}."
    return text


def engines(ctx: Context) -> Section | None:
    """State of each engine as a bar, chamber pressure and throttle."""
    data = ctx.signals.get("fsw_engines_t")
    if data is None or len(data) < 2:
        return None
    t, count = seconds(data), engine_count(ctx)
    rows = [f"engine {k}" for k in range(count)]
    bars = [b for k in range(count) for b in _bars(rows[k], t, data["state"][:, k], STATES, ctx.span[1])]
    guidance = ctx.signals.get("fsw_guidance_t")
    if guidance is not None and len(guidance):
        bars += _bars("phase", seconds(guidance), guidance["phase"], PHASES, ctx.span[1], "phase: ")
        rows = ["phase", *rows]
    figure = timeline_figure(bars, rows, STATE_COLORS | PHASE_COLORS, ctx.events, ctx.span)
    text = (
        "State of each engine as the sequencer commands it; diamonds and dotted lines are events, red ones trouble. "
        + _words(data, count)
    )
    return Section("engines", "Engines", text, [figure, ctx.rows(_pressure_rows(ctx, data, count))])


def _active(data: Array, count: int) -> list[int]:
    """Engines that were started or showed pressure; the centre one when none did."""
    pc = np.nanmax(data["pc_pa"][:, :count], axis=0)
    return [
        k for k in range(count) if np.isin(data["state"][:, k], (4, 5, 6, 7, 8)).any() or data["starts"][-1, k] or pc[k] > 1e6
    ] or [0]


def _pressure_rows(ctx: Context, data: Array, count: int) -> list[Row]:
    t = seconds(data)
    status = ctx.signals.indexed("fsw_engine_status_t")
    active = _active(data, count)
    pressure, throttle, thrust = [], [], []
    for k in active:
        color = PALETTE[k % len(PALETTE)]
        pressure.append(Line(f"engine {k}", t, data["pc_pa"][:, k] * 1e-6, color))
        throttle.append(Line(f"{k} commanded", t, data["throttle"][:, k], color, "dash"))
        thrust.append(Line(f"engine {k}", t, data["thrust_n"][:, k] * 1e-3, color, "dash"))
        if k in status and len(active) <= 4:
            valve = status[k][status[k]["valid"] > 0]
            if len(valve) > 1:
                throttle.append(Line(f"{k} valve", seconds(valve, "t_valid_ns"), valve["throttle"], color))
    world = ctx.signals.get("fsw_world_state_t")
    if world is not None and len(world) > 1:
        thrust += [
            Line(f"{k} true", seconds(world, "t_ns"), world["thrust_n"][:, k] * 1e-3, PALETTE[k % len(PALETTE)]) for k in active
        ]
    guidance = ctx.signals.get("fsw_guidance_t")
    rows = [
        Row("chamber pressure, MPa", pressure),
        Row("throttle", throttle, 120, (0.0, 1.08)),
        Row("thrust, kN: estimated and true", thrust, 130),
    ]
    if guidance is not None and len(guidance) > 1:
        need = np.where(guidance["throttle_need"] > 0, np.minimum(guidance["throttle_need"], 3.0), np.nan)
        rows.append(
            Row(
                "throttle needed to stop at the pad (above 1: beyond the lit engines)",
                [Line("needed", seconds(guidance), need, GRAY)],
                90,
            )
        )
    return rows
