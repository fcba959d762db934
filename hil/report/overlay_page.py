"""The page of two logs over one another: what changed, the first difference, the topics and the signals that differ most."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flightsw.errors import LogError
from flightsw.log import Log
from flightsw.log.compare import Divergence
from hil.report.facts import table
from hil.report.figures import BLUE, GRAY, ORANGE, Figure, Line, Row, time_figure
from hil.report.overlay import Signal, TopicChange, compare
from hil.report.page import document
from hil.report.sections import number

MOST_BYTES = 5_000_000
_POINT = 11.0        # bytes of a point on the page: two numbers of 4 bytes, as base64
_AROUND = 40_000     # bytes of the page around its figures, beside tables and the drawing library
_FEWEST, _MOST = 120, 1000


@dataclass(frozen=True)
class Page:
    """What stands above the diagrams. labels: of the two logs. good: colour of the headline (None: neither).

    lists: (heading, sentences); from_ns, until_ns: the time that both have in common. tables: HTML made elsewhere.
    """

    title: str
    headline: str
    labels: tuple[str, str]
    good: bool | None = None
    lists: Sequence[tuple[str, Sequence[str]]] = ()
    divergence: Divergence | None = None
    from_ns: int = 0
    until_ns: int | None = None
    tables: Sequence[tuple[str, str]] = field(default=())


def write_overlay(target: Path, a: Log, b: Log, page: Page) -> list[TopicChange]:
    """Write the page of two logs; returns how each topic differs. The same input gives the same bytes. Raises LogError."""
    changes, signals = compare(a, b, page.from_ns, page.until_ns)
    text = _render(page, changes, signals)
    try:
        target.write_text(text, "utf-8")
    except OSError as exc:
        raise LogError(f"{target}: cannot be written: {exc.strerror}") from None
    return changes


def _render(page: Page, changes: Sequence[TopicChange], signals: Sequence[Signal]) -> str:
    from plotly.offline import get_plotlyjs

    good = "" if page.good is None else " good" if page.good else " bad"
    body = [f'<div class="verdict{good}"><h1>{html.escape(page.headline)}</h1><p class="title">{html.escape(page.title)}</p></div>']
    links = []
    for k, (heading, sentences) in enumerate(page.lists):
        if sentences:
            items = "".join(f"<li>{html.escape(s)}</li>" for s in sentences)
            body.append(f'<section id="list{k}"><h2>{html.escape(heading)}</h2><ul>{items}</ul></section>')
            links.append((f"list{k}", heading))
    for k, (heading, content) in enumerate(page.tables):
        body.append(f'<section id="table{k}"><h2>{html.escape(heading)}</h2>{content}</section>')
        links.append((f"table{k}", heading))
    if page.divergence is not None:
        body.append(f'<section id="first"><h2>First divergence</h2>{_divergence(page.divergence, page.labels)}</section>')
        links.append(("first", "First divergence"))
    if changes:
        body.append(f'<section id="topics"><h2>Topics that differ</h2>{_topics(changes, page.labels)}</section>')
        links.append(("topics", "Topics that differ"))
    room = MOST_BYTES - _AROUND - len(get_plotlyjs().encode()) - sum(map(len, body))
    most = int(np.clip(room / _POINT / max(1, 3 * len(signals)), _FEWEST, _MOST))
    figures, plots = _plots(page, signals, most)
    body += plots
    links += [("signals", "Signals")] if plots else []
    return document(page.title, links, "\n".join(body), figures)


def _divergence(d: Divergence, labels: tuple[str, str]) -> str:
    rows = [("tick", str(d.tick)), ("time", f"{d.t_ns * 1e-9:.6f} s"), ("node", html.escape(d.node)), ("task", html.escape(d.task)),
            ("topic", html.escape(d.topic)), ("field", html.escape(d.field)), ("kind", d.kind)]
    if d.a_bits or d.b_bits:
        rows += [(html.escape(label), f"{html.escape(repr(value))} &nbsp; 0x{bits}") for label, value, bits in
                 zip(labels, (d.a, d.b), (d.a_bits, d.b_bits), strict=True)]
    return table(("", ""), [r for r in rows if r[1]])


def _topics(changes: Sequence[TopicChange], labels: tuple[str, str]) -> str:
    rows = []
    for c in sorted(changes, key=lambda c: c.first_s):
        most = f"{html.escape(c.field)}: {number(c.greatest)} {html.escape(c.unit)}".strip() if c.field else ""
        rows.append((html.escape(c.topic), f"{c.first_s:.6f}", str(c.different), str(c.messages[0]), str(c.messages[1]), most))
    head = ("topic", "from, s", "messages that differ", *(html.escape(f"messages, {n}") for n in labels), "greatest difference")
    return table(head, rows)


def _plots(page: Page, signals: Sequence[Signal], most: int) -> tuple[dict[str, Any], list[str]]:
    """Figures by id, and their places on the page: one per topic, each signal with its difference below."""
    figures: dict[str, Any] = {}
    out: list[str] = []
    for k, topic in enumerate(dict.fromkeys(s.topic for s in signals)):
        mine = [s for s in signals if s.topic == topic]
        figure = _figure(page, mine, most)
        figures[f"overlay-{k}"] = figure
        out.append(f"<h3>{html.escape(topic)}</h3>"
                   f'<div class="plot" id="overlay-{k}" style="min-height:{int(figure["layout"]["height"])}px"></div>')
    if not out:
        return figures, []
    a, b = (html.escape(n) for n in page.labels)
    text = (f"<p>The {len(signals)} signals that differ most, against their own span: {a} solid, {b} dashed, and below each the "
            f"difference, {b} minus {a}. Thinned for drawing so that every peak stays; the logs hold every value.</p>")
    return figures, [f'<section id="signals"><h2>Signals</h2>{text}{"".join(out)}</section>']


def _figure(page: Page, signals: Sequence[Signal], most: int) -> Figure:
    rows = []
    for s in signals:
        unit = f", {s.unit}" if s.unit else ""
        both = [Line(page.labels[0], s.t[0], s.y[0], BLUE), Line(page.labels[1], s.t[1], s.y[1], ORANGE, "dash")]
        rows.append(Row(f"{s.field}{unit}", both, 150, most=most))
        rows.append(Row(f"difference{unit}", [Line("difference", s.t[2], s.d, GRAY)], 80, most=most))
    times = np.concatenate([t for s in signals for t in s.t[:2] if len(t)])
    return time_figure(rows, (), (float(times.min()), max(float(times.max()), float(times.min()) + 1e-3)))
