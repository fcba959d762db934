"""Figures as plain dictionaries in Plotly's JSON form: signals over one common time axis, bars of states, a path in space.

Colours are chosen to be readable on light and dark paper; the page sets the colours of text and grid when it draws.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hil.report.signals import Array, thin
from hil.story import Event

BLUE, ORANGE, GREEN, RED, PURPLE, CYAN, PINK, OLIVE, GRAY = (
    "#3a86d1",
    "#e0851b",
    "#2f9e68",
    "#d64541",
    "#8f6fd0",
    "#1fa3b5",
    "#d65c9b",
    "#94930f",
    "#808a94",
)
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, CYAN, PINK, OLIVE, GRAY)
MOST_POINTS = 1200
_MARGIN_L, _MARGIN_R, _MARGIN_T, _MARGIN_B, _GAP, _STRIP = 70, 14, 26, 40, 44, 12
_QUIET = {"GATE"}  # events that come in swarms: in the table, not as marks
_MOST_MARKS = 60

Figure = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """A signal to draw: name, times (s), values, colour, dash ("", "dash", "dot"); band: values are a half-width about zero, or
    about `center`; points: dots in place of a line.
    """

    name: str
    t: Array
    y: Array
    color: str = BLUE
    dash: str = ""
    band: bool = False
    steps: bool = False
    points: bool = False
    center: Array | None = None


@dataclass(frozen=True)
class Row:
    """Lines that share a value axis; title carries the unit. height in px; span: fixed range of values."""

    title: str
    lines: Sequence[Line]
    height: int = 150
    span: tuple[float, float] | None = None
    most: int = field(default=MOST_POINTS)


def packed(values: Array) -> dict[str, str]:
    """Numbers as base64 of 4-byte floats, which Plotly reads as they are; what is not finite becomes a gap."""
    v = np.asarray(values, np.float64)
    v = np.where(np.isfinite(v) & (np.abs(v) < 3e38), v, np.nan)
    return {"dtype": "f4", "bdata": base64.b64encode(v.astype("<f4").tobytes()).decode()}


def marks(events: Sequence[Event]) -> list[Event]:
    """Events worth a mark on a time axis."""
    return [e for e in events if e.name not in _QUIET][:_MOST_MARKS]


def _band(line: Line, axis: str, legend: str, most: int) -> list[Figure]:
    t, y = thin(line.t, line.y, most // 2)
    low, high = -y, y
    if line.center is not None:
        every = slice(None, None, max(1, -(-len(line.t) // (most // 2))))
        t, low, high = line.t[every], (line.center - line.y)[every], (line.center + line.y)[every]
    style = {
        "type": "scatter",
        "mode": "lines",
        "x": packed(t),
        "yaxis": axis,
        "legend": legend,
        "hoverinfo": "skip",
        "line": {"width": 1, "color": line.color, "dash": "dot"},
        "name": html.escape(line.name),
    }
    return [
        {**style, "y": packed(low), "showlegend": False},
        {**style, "y": packed(high), "fill": "tonexty", "fillcolor": "rgba(128,138,148,0.16)"},
    ]


def _trace(line: Line, axis: str, legend: str, most: int) -> Figure:
    t, y = thin(line.t, line.y, most)
    style: Figure = {"color": line.color, "width": 1.6}
    if line.dash:
        style["dash"] = line.dash
    if line.steps:
        style["shape"] = "hv"
    return {
        "type": "scatter",
        "mode": "markers" if line.points else "lines",
        **({"marker": {"size": 3, "color": line.color}} if line.points else {}),
        "x": packed(t),
        "y": packed(y),
        "name": html.escape(line.name),
        "line": style,
        "yaxis": axis,
        "legend": legend,
        "hovertemplate": "%{y:.5~g}",
    }


def _event_strip(events: Sequence[Event], axis: str) -> Figure:
    shown = marks(events)
    return {
        "type": "scatter",
        "mode": "markers",
        "x": packed(np.array([e.t_s for e in shown])),
        "y": [0] * len(shown),
        "yaxis": axis,
        "showlegend": False,
        "marker": {"symbol": "diamond", "size": 7, "color": [_event_color(e) for e in shown]},
        "text": [f"{e.t_s:.2f} s  {html.escape(e.text)}" for e in shown],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _event_color(event: Event) -> str:
    bad = (
        "FAULT_BEGIN",
        "ENGINE_NO_LIGHT",
        "ENGINE_DIED",
        "NO_SPARES",
        "REDLINE",
        "ENGINE_ABORT",
        "ABORT",
        "DIVERT",
        "ENGINE_INHIBITED",
        "LOW_THRUST",
        "SENSOR_DISAGREE",
        "IMU_EXCLUDED",
        "IMU_NONE",
        "GNSS_LOST",
        "RADALT_EXCLUDED",
        "NAV_RESET",
    )
    return RED if event.name in bad else GRAY


def _event_lines(events: Sequence[Event]) -> list[Figure]:
    return [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": round(e.t_s, 4),
            "x1": round(e.t_s, 4),
            "y0": 0,
            "y1": 1,
            "layer": "below",
            "line": {"width": 1, "dash": "dot", "color": _event_color(e)},
            "opacity": 0.45,
        }
        for e in marks(events)
    ]


def _legend(title: str, top: float) -> Figure:
    return {
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "y": top,
        "yanchor": "bottom",
        "bgcolor": "rgba(0,0,0,0)",
        "title": {"text": f"<b>{html.escape(title)}</b>&nbsp; ", "side": "left", "font": {"size": 12}},
        "font": {"size": 12},
        "itemwidth": 30,
        "tracegroupgap": 0,
    }


def _x_axis(span: tuple[float, float], anchor: str) -> Figure:
    return {
        "title": {"text": "time, s", "standoff": 6},
        "anchor": anchor,
        "range": [round(span[0], 4), round(span[1], 4)],
        "zeroline": False,
        "hoverformat": ".3f",
    }


def time_figure(rows: Sequence[Row], events: Sequence[Event], span: tuple[float, float]) -> Figure:
    """Rows over one time axis of the given span (s), events as marks on top and as thin lines through all rows."""
    inner = _STRIP + sum(r.height + _GAP for r in rows)
    layout: Figure = {
        "height": inner + _MARGIN_T + _MARGIN_B,
        "margin": {"l": _MARGIN_L, "r": _MARGIN_R, "t": _MARGIN_T, "b": _MARGIN_B},
        "hovermode": "x unified",
        "shapes": _event_lines(events),
        "showlegend": True,
    }
    data = []
    top = float(inner)
    if marks(events):
        layout["yaxis99"] = {"domain": [(inner - _STRIP) / inner, 1], "visible": False, "fixedrange": True, "range": [-1, 1]}
        data.append(_event_strip(events, "y99"))
    top -= _STRIP
    for k, row in enumerate(rows):
        suffix = "" if k == 0 else str(k + 1)
        top -= _GAP
        low = max(0.0, top - row.height)
        axis: Figure = {
            "domain": [low / inner, top / inner],
            "zeroline": False,
            "exponentformat": "SI",
            "nticks": max(3, row.height // 30),
        }
        if row.span is not None:
            axis["range"] = list(row.span)
        layout["yaxis" + suffix] = axis
        layout["legend" + suffix] = _legend(row.title, top / inner)
        for line in row.lines:
            draw = (
                _band(line, "y" + suffix, "legend" + suffix, row.most)
                if line.band
                else [_trace(line, "y" + suffix, "legend" + suffix, row.most)]
            )
            data += draw
        top = low
    layout["xaxis"] = _x_axis(span, "y" if len(rows) == 1 else f"y{len(rows)}")
    return {"data": data, "layout": layout, "time": True}


@dataclass(frozen=True)
class Bar:
    """A stretch of time on one row of a state timeline."""

    row: str
    start_s: float
    end_s: float
    state: str


def timeline_figure(
    bars: Sequence[Bar], rows: Sequence[str], colors: dict[str, str], events: Sequence[Event], span: tuple[float, float]
) -> Figure:
    """States as coloured bars, one row per name, first row on top."""
    data: list[Figure] = []
    for state, color in colors.items():
        mine = [b for b in bars if b.state == state]
        if mine:
            data.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": html.escape(state),
                    "marker": {"color": color},
                    "width": 0.7,
                    "y": [b.row for b in mine],
                    "x": [round(b.end_s - b.start_s, 4) for b in mine],
                    "base": [round(b.start_s, 4) for b in mine],
                    "text": [f"{b.start_s:.2f} to {b.end_s:.2f} s" for b in mine],
                    "textposition": "none",
                    "hovertemplate": "%{y}: " + html.escape(state) + ", %{text}<extra></extra>",
                }
            )
    layout = {
        "height": 24 * len(rows) + 74 + _MARGIN_B,
        "margin": {"l": _MARGIN_L, "r": _MARGIN_R, "t": 74, "b": _MARGIN_B},
        "barmode": "overlay",
        "hovermode": "closest",
        "showlegend": True,
        "shapes": _event_lines(events),
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 12}, "itemwidth": 30},
        "yaxis": {
            "categoryorder": "array",
            "categoryarray": list(reversed(rows)),
            "range": [-0.6, len(rows) - 0.4],
            "fixedrange": True,
        },
        "xaxis": _x_axis(span, "y"),
    }
    return {"data": data, "layout": layout, "time": True}


def xy_figure(lines: Sequence[Figure], x_title: str, y_title: str, height: int = 460) -> Figure:
    """Ready traces in one plain diagram."""
    layout = {
        "height": height,
        "margin": {"l": _MARGIN_L, "r": _MARGIN_R, "t": 34, "b": 46},
        "hovermode": "closest",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        "xaxis": {"title": {"text": x_title}, "zeroline": False},
        "yaxis": {"title": {"text": y_title}, "zeroline": False},
    }
    return {"data": list(lines), "layout": layout}


@dataclass(frozen=True)
class Point:
    """A marked place in space, east north up in m."""

    name: str
    r_l: Sequence[float]
    color: str
    symbol: str = "circle"


def space_figure(paths: Sequence[tuple[str, Array, str]], points: Sequence[Point]) -> Figure:
    """Paths (name, (n, 3) east north up, colour) and marked points. The horizontal scale is stretched to make them visible."""
    data: list[Figure] = []
    for name, r, color in paths:
        data.append(
            {
                "type": "scatter3d",
                "mode": "lines",
                "name": html.escape(name),
                "line": {"color": color, "width": 5},
                "x": packed(r[:, 0]),
                "y": packed(r[:, 1]),
                "z": packed(r[:, 2]),
                "hovertemplate": "east %{x:.1f} m, north %{y:.1f} m, up %{z:.1f} m",
            }
        )
    for p in points:
        data.append(
            {
                "type": "scatter3d",
                "mode": "markers",
                "name": html.escape(p.name),
                "x": [float(p.r_l[0])],
                "y": [float(p.r_l[1])],
                "z": [float(p.r_l[2])],
                "marker": {"size": 5, "color": p.color, "symbol": p.symbol},
            }
        )
    layout = {
        "height": 460,
        "margin": {"l": 0, "r": 0, "t": 30, "b": 0},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        "scene": {
            "xaxis": {"title": {"text": "east, m"}},
            "yaxis": {"title": {"text": "north, m"}},
            "zaxis": {"title": {"text": "up, m"}},
            "aspectmode": "manual",
            "aspectratio": {"x": 1, "y": 1, "z": 1.2},
            "camera": {"eye": {"x": 1.75, "y": -1.75, "z": 0.55}, "center": {"x": 0, "y": 0, "z": -0.12}},
        },
    }
    return {"data": data, "layout": layout}


def stacked_bars(
    x: Sequence[int], parts: Sequence[tuple[str, Sequence[float]]], titles: tuple[str, str], limit: float
) -> Figure:
    """Stacked bars per x with a line at the limit (0: none)."""
    data: list[Figure] = [
        {
            "type": "bar",
            "name": html.escape(name),
            "x": list(x),
            "y": [round(float(v), 3) for v in values],
            "marker": {"color": PALETTE[k % len(PALETTE)]},
            "hovertemplate": "%{y} us",
        }
        for k, (name, values) in enumerate(parts)
    ]
    figure = xy_figure(data, titles[0], titles[1], 300)
    figure["layout"] |= {"barmode": "stack", "hovermode": "x unified"}
    if limit:
        figure["layout"]["shapes"] = [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": limit,
                "y1": limit,
                "line": {"color": RED, "width": 1.5, "dash": "dash"},
            }
        ]
    return figure
