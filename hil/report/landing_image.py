"""The picture of a landing for a README: altitude and speed over time above the engines' timeline, as one small SVG.

python -m hil.report.landing_image RUN_DIR OUT.svg
"""

from __future__ import annotations

import html
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flightsw.errors import FlightswError, LogError
from hil.report.sections import Context, nav_motion, true_motion
from hil.report.sections_engines import STATE_COLORS, STATES, engine_count
from hil.report.signals import Array, Signals, runs_of, seconds, stride
from hil.story import Event, events

_WIDTH, _LEFT, _RIGHT, _TOP, _PLOT = 860, 64, 64, 58, 250
_ROW, _ROW_GAP = 15, 46
_ALTITUDE, _SPEED = "#2f7dcc", "#d9781a"
_GROUPS = (
    ("waiting", ("check", "purge", "chill")),
    ("starting", ("igniter", "lead", "rise")),
    ("main stage", ("main stage",)),
    ("ending", ("shutdown", "safed")),
    ("inhibited", ("inhibited",)),
)
_SHOWN = {
    "waiting": "#b9c7d3",
    "starting": "#e87722",
    "main stage": STATE_COLORS["main stage"],
    "ending": "#8f78b8",
    "inhibited": STATE_COLORS["inhibited"],
}
_TOLD = {
    "IGNITION_DECIDED": "burn decided",
    "ENGINE_LIT": "lit",
    "ENGINE_DIED": "engine died",
    "ENGINE_NO_LIGHT": "did not light",
    "SPARES": "spares",
    "DIVERT": "divert",
    "CUTOFF": "cut-off",
    "LANDED": "touchdown",
}
_STYLE = """
text { font: 13px system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif; fill: #333c44 }
.t { font-size: 16px; font-weight: 600 } .s { font-size: 12px; fill: #6b7680 }
.g { stroke: #dfe4e8; stroke-width: 1 } .e { stroke: #8a949d; stroke-width: 1; stroke-dasharray: 2 4 }
.p { fill: none; stroke-width: 2.4; stroke-linejoin: round } .bg { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #dfe5ea } .s { fill: #9aa6b0 } .g { stroke: #333d45 } .bg { fill: #14191d } }
"""


def _nice(most: float) -> tuple[float, float]:
    """(step, top) of an axis from 0 that shows `most`."""
    step = float(next((s for s in (m * 10.0**e for e in range(-3, 8) for m in (1, 2, 5)) if most / s <= 6), most))
    return step, float(np.ceil(most / step - 1e-9) * step)


class _Picture:
    """Grows an SVG; x maps mission time to the page."""

    def __init__(self, span: tuple[float, float], height: int) -> None:
        self.span, self.height = span, height
        self.parts: list[str] = []

    def x(self, t: float) -> float:
        return _LEFT + (t - self.span[0]) / (self.span[1] - self.span[0]) * (_WIDTH - _LEFT - _RIGHT)

    def text(self, at: tuple[float, float], content: str, more: str = "") -> None:
        self.parts.append(f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" {more}>{html.escape(content)}</text>')

    def line(self, a: tuple[float, float], b: tuple[float, float], kind: str) -> None:
        self.parts.append(f'<path class="{kind}" d="M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}"/>')

    def curve(self, t: Array, y: Array, color: str, dash: str = "") -> None:
        points = " ".join(f"{self.x(float(a)):.1f},{float(b):.1f}" for a, b in zip(t, y, strict=True))
        style = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline class="p" stroke="{color}"{style} points="{points}"/>')

    def svg(self, title: str) -> str:
        body = "\n".join(self.parts)
        size = f'viewBox="0 0 {_WIDTH} {self.height}" width="{_WIDTH}" height="{self.height}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
            f'role="img" aria-label="{html.escape(title)}">\n<style>{_STYLE}</style>\n'
            f'<rect class="bg" width="{_WIDTH}" height="{self.height}" rx="8"/>\n{body}\n</svg>\n'
        )


def _axes(p: _Picture, altitude: tuple[float, float], speed: tuple[float, float]) -> None:
    bottom = _TOP + _PLOT
    step, top = altitude
    for k in range(round(top / step) + 1):
        y = bottom - k * step / top * _PLOT
        p.line((_LEFT, y), (_WIDTH - _RIGHT, y), "g")
        p.text((_LEFT - 8, y + 4), f"{k * step / 1000:g}", f'text-anchor="end" style="fill:{_ALTITUDE}"')
    step, top = speed
    for k in range(round(top / step) + 1):
        y = bottom - k * step / top * _PLOT
        p.text((_WIDTH - _RIGHT + 8, y + 4), f"{k * step:g}", f'style="fill:{_SPEED}"')
    step, _ = _nice(p.span[1] - p.span[0])
    for k in range(int((p.span[1] - p.span[0]) / step + 1e-9) + 1):
        t = p.span[0] + k * step
        p.line((p.x(t), bottom), (p.x(t), bottom + 5), "g")
        p.text((p.x(t), bottom + 20), f"{t:g}" + (" s" if k == 0 else ""), 'text-anchor="middle" class="s"')
    p.text((_LEFT, _TOP - 12), "altitude, km", f'style="fill:{_ALTITUDE}"')
    p.text((_WIDTH - _RIGHT, _TOP - 12), "speed, m/s", f'text-anchor="end" style="fill:{_SPEED}"')


def _events(p: _Picture, told: Sequence[Event], bottom: float) -> None:
    ends = [-1e9] * 3  # of the words in each of three lines, so that none is written over another
    said: dict[str, float] = {}
    for e in told:
        if e.name not in _TOLD:
            continue
        x, words = p.x(e.t_s), _TOLD[e.name]
        p.line((x, _TOP), (x, bottom), "e")
        if x - said.get(words, -1e9) < 40:
            continue
        said[words] = x
        wide = 8 + 6.8 * len(words)
        left = x - wide if x + wide > _WIDTH - _RIGHT else x
        row = next((k for k, end in enumerate(ends) if left > end), None)
        if row is not None:
            p.text((left + 4, _TOP + 12 + 16 * row), words, 'class="s"')
            ends[row] = left + wide


def _engine_rows(p: _Picture, data: Array, count: int, top: float) -> None:
    t = seconds(data)
    group = {state: name for name, states in _GROUPS for state in states}
    for k in range(count):
        y = top + k * _ROW
        p.text((_LEFT - 8, y + 11), f"engine {k}" if k == 0 else str(k), 'text-anchor="end" class="s"')
        p.line((_LEFT, y + 7), (_WIDTH - _RIGHT, y + 7), "g")
        shown = [group.get(STATES[min(int(s), len(STATES) - 1)], "") for s in range(256)]
        codes = np.array([list(_SHOWN).index(n) if n else -1 for n in shown])
        for a, b, code in runs_of(codes[data["state"][:, k]]):
            end = float(t[b]) if b < len(t) else p.span[1]
            if code >= 0:
                width = max(0.6, p.x(end) - p.x(float(t[a])))
                p.parts.append(
                    f'<rect x="{p.x(float(t[a])):.1f}" y="{y + 2:.1f}" width="{width:.1f}" height="10" '
                    f'fill="{list(_SHOWN.values())[code]}"/>'
                )
    x = float(_LEFT)
    y = top + count * _ROW + 20
    for name, color in _SHOWN.items():
        p.parts.append(f'<rect x="{x:.0f}" y="{y - 9:.0f}" width="14" height="10" fill="{color}"/>')
        p.text((x + 20, y), name, 'class="s"')
        x += 40 + 7.2 * len(name)


def draw(log: Any, title: str = "") -> str:
    """SVG of a log. LogError when there is no motion in it."""
    told = events(log)
    ctx = Context(Signals(log), {}, told, (0.0, 1.0))
    m = true_motion(ctx) or nav_motion(ctx)
    if m is None:
        raise LogError("the log has neither fsw_world_state_t nor fsw_nav_t: there is nothing to draw")
    outcome = ctx.signals.get("fsw_outcome_t")
    end = float(m.t[-1])
    if outcome is not None and outcome[-1]["touched"]:
        end = min(end, float(outcome[-1]["t_touch_ns"]) * 1e-9 + 3.0)
    use = (m.t <= end) & np.isfinite(m.r).all(axis=1) & np.isfinite(m.v).all(axis=1)
    t, height, speed = m.t[use], m.r[use, 2], np.linalg.norm(m.v[use], axis=1)
    if len(t) < 2:
        raise LogError("the motion in the log is not a number: there is nothing to draw")
    engines = ctx.signals.get("fsw_engines_t")
    count = engine_count(ctx) if engines is not None else 0
    bottom = _TOP + _PLOT + (_ROW_GAP + count * _ROW if count else 10)
    p = _Picture((float(t[0]), end), int(bottom + (36 if count else 24)))
    p.text((_LEFT, 26), title or log.metadata.get("run", {}).get("title", "Flight"), 'class="t"')
    altitude, fast = _nice(float(height.max())), _nice(float(speed.max()))
    _axes(p, altitude, fast)
    _events(p, [e for e in told if e.t_s <= end], _TOP + _PLOT + (_ROW_GAP + count * _ROW if count else 0))
    s = stride(len(t), 320)
    p.curve(t[s], _TOP + _PLOT - np.maximum(height[s], 0) / altitude[1] * _PLOT, _ALTITUDE)
    p.curve(t[s], _TOP + _PLOT - speed[s] / fast[1] * _PLOT, _SPEED, "7 4")
    if engines is not None:
        near = engines[seconds(engines) <= end]
        _engine_rows(p, near, count, _TOP + _PLOT + _ROW_GAP - 12)
    return p.svg(title or "Altitude, speed and engines over time")


def main(arguments: Sequence[str]) -> int:
    """Command line: run directory (or log file) and the SVG to write."""
    from flightsw.log import Log

    if len(arguments) != 2:
        print("usage: python -m hil.report.landing_image RUN_DIR OUT.svg", file=sys.stderr)
        return 2
    try:
        text = draw(Log.open(arguments[0]))
        target = Path(arguments[1])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    except (FlightswError, OSError) as exc:
        print(exc, file=sys.stderr)
        return 2
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
