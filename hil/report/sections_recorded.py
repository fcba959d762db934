"""Sections of a flight that was fed from recordings: what came in and where it has gaps, what an estimator makes of it, events
beside times that somebody annotated.

An estimate is found by its fields: any message with `t_valid_ns`, a number `x` and its 1 sigma `sigma_x`. A measurement of it is a
recorded input with a field `x`. `innov_x` and `innov_sigma_x` are an innovation and its 1 sigma. Events are found by pairs of
fields `t_x_s` and `annotated_x_s`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from flightsw.errors import LogError
from hil.report.facts import generic_rows, table
from hil.report.figures import GRAY, ORANGE, PALETTE, RED, Figure, Line, Row
from hil.report.sections import Context, Section, number
from hil.report.signals import Array, seconds

_UNITS = {"_m_s2": "m/s2", "_m_s": "m/s", "_rad_s": "rad/s", "_deg_s": "deg/s", "_m": "m", "_s": "s", "_rad": "rad", "_deg": "deg",
          "_pa": "Pa", "_kg": "kg", "_n": "N", "_k": "K"}
_GAP_FACTOR = 5.0      # times the usual interval
_MOST_GAPS, _MOST_TOPICS, _MOST_FIELDS = 60, 8, 8


def titled(name: str) -> str:
    """A field's name in words: `v_up_m_s` is "v up, m/s"."""
    suffix = next((s for s in _UNITS if name.endswith(s)), "")
    return name[: len(name) - len(suffix)].replace("_", " ") + (f", {_UNITS[suffix]}" if suffix else "")


def feeds(ctx: Context) -> dict[str, str]:
    """Topics of the log that a recording fed, to the name of the board that it stood for."""
    told = ctx.signals.log.metadata.get("recorded_topics", {})
    return {t: b for t, b in told.items() if ctx.signals.log.topics.get(t, 0) > 0}


def times(data: Array) -> Array:
    """When messages belong, s: their own time of validity, else when they arrived."""
    return seconds(data, "t_valid_ns") if "t_valid_ns" in (data.dtype.names or ()) else seconds(data)


def gaps(t: Array) -> list[tuple[float, float]]:
    """(begin, end), s, of intervals more than five times as long as the usual one."""
    step = np.diff(t)
    if len(step) < 3:
        return []
    long = np.flatnonzero(step > _GAP_FACTOR * np.median(step))
    return [(float(t[k]), float(t[k + 1])) for k in long]


def shaded(figure: Figure, spans: Sequence[tuple[float, float]]) -> Figure:
    """Mark spans of time through all rows of a figure."""
    figure["layout"]["shapes"] += [
        {"type": "rect", "xref": "x", "yref": "paper", "x0": round(a, 4), "x1": round(b, 4), "y0": 0, "y1": 1, "layer": "below",
         "line": {"width": 0}, "fillcolor": RED, "opacity": 0.16}
        for a, b in sorted(spans, key=lambda s: s[0] - s[1])[:_MOST_GAPS]
    ]
    return figure


# ---- what came in ------------------------------------------------------------------------------------------------------


def recorded(ctx: Context) -> Section | None:
    """Each recorded input: rate, gaps, every field over time."""
    fed = feeds(ctx)
    if not fed:
        return None
    rows, figures = list[tuple[str, ...]](), list[Figure]()
    for topic, board in fed.items():
        data = ctx.signals.read(topic)
        if data is None or len(data) == 0:
            continue
        t = times(data)
        found = gaps(t)
        longest = max(found, key=lambda g: g[1] - g[0]) if found else None
        usual = number(float(np.median(np.diff(t))) * 1e3) if len(t) > 1 else "-"
        words = f"{longest[1] - longest[0]:.2f} s at {longest[0]:.2f} s" if longest else "none"
        rows.append((html.escape(topic), html.escape(board), str(len(t)), f"{t[0]:.3f}", f"{t[-1]:.3f}", usual, str(len(found)),
                     words))
        lines = generic_rows(data)
        if lines and len(figures) < _MOST_TOPICS:
            lines[0] = Row(f"{topic}: {lines[0].title}", lines[0].lines, lines[0].height, lines[0].span, lines[0].most)
            figures.append(shaded(ctx.rows(lines), found))
    sources = ctx.signals.log.metadata.get("recordings", {})
    origin = "; ".join(f"{html.escape(b)}: {html.escape(sources[b])}" for b in dict.fromkeys(fed.values()) if b in sources)
    text = (f"These messages came from files, each in the tick in which it is due. Nothing was put between rows; times without a "
            f"row for more than {_GAP_FACTOR:.0f} usual intervals are marked red. {origin}.")
    head = ("topic", "board", "rows", "first, s", "last, s", "usual interval, ms", "gaps", "longest")
    return Section("recorded", "Recorded inputs", text, figures, table(head, rows))


# ---- what an estimator makes of it -----------------------------------------------------------------------------------


def _scalars(data: Array) -> list[str]:
    return [n for n in data.dtype.names or () if data[n].ndim == 1 and data[n].dtype.kind == "f"]


def _measured(ctx: Context, name: str) -> list[tuple[str, Array]]:
    """(topic, messages) of recorded inputs that have a number of this name."""
    out = []
    for topic in feeds(ctx):
        data = ctx.signals.read(topic)
        if data is not None and len(data) and name in _scalars(data):
            out.append((topic, data))
    return out


def estimates(ctx: Context) -> list[Section]:
    """Every estimate with its bounds, over the recorded measurements of the same name, and its innovations."""
    out = []
    known = feeds(ctx)
    if not known:
        return []
    for topic in ctx.signals.log.topics:
        if topic in known or "sigma_" not in " ".join(fields_of(ctx, topic)) or "t_valid_ns" not in fields_of(ctx, topic):
            continue
        data = ctx.signals.read(topic)
        if data is None or len(data) < 2:
            continue
        section = _estimate(ctx, topic, data)
        if section is not None:
            out.append(section)
    return out


def fields_of(ctx: Context, topic: str) -> tuple[str, ...]:
    """Names of a topic's fields; none when its layout is not known."""
    try:
        return tuple(ctx.signals.log.dtype(topic).names or ())
    except LogError:
        return ()


def _estimate(ctx: Context, topic: str, data: Array) -> Section | None:
    scalars = _scalars(data)
    names = [n for n in scalars if f"sigma_{n}" in scalars][:_MOST_FIELDS]
    if not names:
        return None
    t = times(data)
    spans: list[tuple[float, float]] = []
    rows = []
    for name in names:
        lines = [Line("3 sigma", t, 3.0 * data[f"sigma_{name}"], GRAY, band=True, center=data[name])]
        for source, rows_in in _measured(ctx, name):
            t_in = times(rows_in)
            spans += gaps(t_in)
            lines.append(Line(f"recorded, {source}", t_in, rows_in[name], ORANGE, points=True))
        rows.append(Row(titled(name), [*lines, Line("estimate", t, data[name], PALETTE[0])], 170, _around(data[name])))
    figures = [_with_events(ctx, shaded(ctx.rows(rows), list(dict.fromkeys(spans))))]
    innovations, words = _innovations(data, t)
    if innovations:
        figures.append(_with_events(ctx, ctx.rows(innovations)))
    text = f"{html.escape(topic)}: the estimate (line) within three of the sigmas that it states (gray)"
    text += ", and what was recorded (dots). Gaps of the record are red. " if spans else ". "
    ident = "estimate-" + "".join(c if c.isalnum() else "-" for c in topic.strip("/"))
    return Section(ident, f"Estimate {topic}", text + words, figures)


def _around(y: Array) -> tuple[float, float] | None:
    """Range of an estimate's values: a sigma that has not settled would hide them."""
    good = y[np.isfinite(y)]
    if not len(good):
        return None
    low, high = float(good.min()), float(good.max())
    edge = 0.06 * (high - low) or 1.0
    return low - edge, high + edge


def _innovations(data: Array, t: Array) -> tuple[list[Row], str]:
    rows, words = [], []
    scalars = _scalars(data)
    for name in [n[6:] for n in scalars if n.startswith("innov_") and f"innov_sigma_{n[6:]}" in scalars]:
        e, s = data[f"innov_{name}"], data[f"innov_sigma_{name}"]
        fresh = (s > 0) & np.r_[True, (np.diff(e) != 0) | (np.diff(s) != 0)]  # kept until the next one
        if not fresh.any():
            continue
        e, s, at = e[fresh], s[fresh], t[fresh]
        rows.append(Row(f"innovation, {titled(name)}", [Line("3 sigma", at, 3.0 * s, GRAY, band=True),
                                                      Line("measured minus predicted", at, e, PALETTE[0], points=True)], 130))
        outside = 100.0 * float(np.mean(np.abs(e) > 3.0 * s))
        words.append(f"{titled(name).split(',')[0]}: {len(e)} innovations, mean normalised square {number(np.mean((e / s) ** 2))}, "
                     f"{number(outside)} % beyond 3 sigma")
    return rows, ("; ".join(words) + ". " if words else "")


# ---- events beside annotated times -------------------------------------------------------------------------------------


def _pairs(ctx: Context) -> list[tuple[str, float, float]]:
    """(event, time found, time annotated), s, of the last message of every topic that has such pairs."""
    out = []
    for topic in ctx.signals.log.topics:
        names = fields_of(ctx, topic)
        events = [n[2:-2] for n in names if n.startswith("t_") and n.endswith("_s") and f"annotated_{n[2:-2]}_s" in names]
        data = ctx.signals.read(topic) if events else None
        if data is not None and len(data):
            out += [(e, float(data[f"t_{e}_s"][-1]), float(data[f"annotated_{e}_s"][-1])) for e in events]
    return out


def annotated(ctx: Context) -> Section | None:
    """Table of events found beside annotated ones."""
    pairs = _pairs(ctx)
    if not pairs:
        return None
    rows = [(html.escape(e.replace("_", " ")), f"{t:.2f}" if np.isfinite(t) else "not found", f"{a:.0f}",
             f"{t - a:.2f}" if np.isfinite(t) else "-") for e, t, a in pairs]
    text = ("Times of events as found in the estimate, beside times that people annotated to a second. In the diagrams of the "
            "estimate, lines mark what was found and dots what was annotated.")
    return Section("annotated", "Events beside annotated times", text,
                   html=table(("event", "found, s", "annotated, s", "difference, s"), rows))


def _with_events(ctx: Context, figure: Figure) -> Figure:
    for _, found, told in _pairs(ctx):
        figure["layout"]["shapes"] += [
            {"type": "line", "xref": "x", "yref": "paper", "x0": round(x, 4), "x1": round(x, 4), "y0": 0, "y1": 1, "layer": "below",
             "line": {"width": 1.2, "color": color, **dash}, "opacity": 0.6}
            for x, color, dash in ((found, PALETTE[0], {}), (told, ORANGE, {"dash": "dot"})) if np.isfinite(x)
        ]
    return figure
