"""The page of the report: verdict on top, sections below, everything it needs inside one file."""

from __future__ import annotations

import html
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flightsw.errors import LogError
from hil.report import (
    facts,
    sections,
    sections_engines,
    sections_link,
    sections_realtime,
    sections_recorded,
    sections_reference,
    sections_starts,
)
from hil.report.sections import Context, Section, number
from hil.report.signals import Array, Signals
from hil.story import EVENTS_TYPE, events

_WORDS = {"lands": "LANDED", "diverts": "DIVERTED", "lost": "LOST", "done": "DONE"}
_HERE = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "worker-src blob:; base-uri 'none'; form-action 'none'"
)
_Maker = Callable[[Context], Section | None]
# what it is called when it is missing, what it is made from, who makes it
_SECTIONS: Sequence[tuple[str, str, _Maker]] = (
    ("feasibility", "no entry in run.json", facts.feasibility),
    ("events", "no fsw_events_t with anything in it", facts.event_section),
    ("trajectory", "neither fsw_world_state_t nor fsw_nav_t", sections.trajectory),
    ("engines", "no fsw_engines_t", sections_engines.engines),
    ("engine starts", "none in fsw_engines_t", sections_starts.starts),
    ("attitude", "neither fsw_world_state_t nor fsw_nav_t", sections.attitude),
    ("navigation error", "fsw_world_state_t and fsw_nav_t are wanted", sections.navigation),
    ("propellant, thrust and loads", "no fsw_world_state_t", sections.forces),
    ("wind", "no fsw_world_state_t", sections.wind),
    ("fins, gimbals and thrusters", "none of fsw_fin_cmd_t, fsw_tvc_cmd_t, fsw_rcs_cmd_t", sections.actuators),
    ("slosh", "no fsw_world_state_t with slosh in it", sections.slosh),
    ("schedule", "no load blobs", facts.schedule),
)


def render_file(path: Path) -> Path:
    """Report of a run directory or a log file; see hil.report.write_report."""
    from flightsw.log import Log

    folder = path if path.is_dir() else path.parent
    source = path / "flight.mcap" if path.is_dir() else path
    log = Log.open(source)
    known = source.name == "flight.mcap"
    run = _run_json(folder / "run.json") if known else {}
    target = folder / "report.html" if known else source.with_suffix(".html")
    text = render(log, run)
    try:
        target.write_text(text, "utf-8")
    except OSError as exc:
        raise LogError(f"{target}: cannot be written: {exc.strerror}") from None
    return target


def _run_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise LogError(f"{path}: cannot be read: {exc}") from None
    if not isinstance(found, dict):
        raise LogError(f"{path}: an object is wanted")
    return found


def render(log: Any, run: Mapping[str, Any]) -> str:
    """The whole page. A log full of garbage makes a page full of gaps, not an error."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN|Mean of empty", RuntimeWarning)
        return _render(log, run)


def _render(log: Any, run: Mapping[str, Any]) -> str:
    signals = Signals(log)
    start, end = log.start_ns * 1e-9, log.end_ns * 1e-9
    ctx = Context(signals, run, events(log), (start, max(end, start + 1e-3)))
    signals.used.update(signals.all_of(EVENTS_TYPE))
    outcome = signals.get("fsw_outcome_t")
    made, missing = [], []
    for title, needs, maker in _SECTIONS:
        section = maker(ctx)
        if section is None:
            missing.append(f"{title} ({needs})")
        else:
            made.append(section)
    clock = sections_realtime.real_time(ctx)  # few benches run against the clock: its absence is not worth a word
    redundant = sections_link.strings(ctx)
    made += [redundant] if redundant is not None else []
    elsewhere = sections_link.links(ctx)
    made += [s for s in (clock, elsewhere) if s is not None]
    made += [s for s in (sections_recorded.annotated(ctx), *sections_recorded.estimates(ctx), sections_reference.beside(ctx),
                         sections_recorded.recorded(ctx)) if s is not None]  # few benches are fed from recordings: likewise
    made.append(facts.facts(ctx))
    others = facts.generic(ctx)
    figures: dict[str, Any] = {}
    body = [_verdict(ctx, outcome), *(_section(s, figures) for s in made)]
    if missing:
        body.insert(1, f'<p class="note">Not in this log, so not shown: {html.escape("; ".join(missing))}.</p>')
    if others:
        body.append(
            '<section id="topics"><h2>Other topics</h2><p>What the sections above do not use: every numeric field, thinned.</p>'
            + "".join(_folded(s, figures) for s in others)
            + "</section>"
        )
    links = [(s.ident, s.title) for s in made] + ([("topics", "Other topics")] if others else [])
    title = str(run.get("title") or run.get("bench") or "Flight report")
    return document(title, links, "\n".join(body), figures)


def _verdict(ctx: Context, outcome: Array | None) -> str:
    run = ctx.run
    meta = ctx.signals.log.metadata.get("run", {})
    title = str(run.get("title") or meta.get("title") or run.get("bench") or meta.get("bench") or "Flight log")
    if "outcome" not in run:
        return (
            '<div class="verdict"><h1>No verdict</h1><p>There is no run.json beside this log.</p>'
            f'<p class="title">{html.escape(title)}</p></div>' + _numbers(ctx, outcome)
        )
    word = str(run["outcome"])
    met = bool(run.get("met"))
    expected = str(run.get("expected", ""))
    words = "as expected" if met else f"expected: {expected}"
    good = "good" if met else "bad"
    failed = [c for c in run.get("criteria", []) if not c.get("ok")]
    why = ""
    if failed:
        broken = [f"{c.get('name')} {number(c.get('value'))} {c.get('unit', '')} (limit {_limit(c)})" for c in failed]
        why = f"<p>Outside its limit: {html.escape('; '.join(broken))}.</p>"
    return (
        f'<div class="verdict {good}"><h1>{html.escape(_WORDS.get(word, word.upper()))}, {html.escape(words)}</h1>{why}'
        f'<p class="title">{html.escape(title)}, seed {html.escape(str(run.get("seed", "")))}</p></div>'
        + _numbers(ctx, outcome)
        + _criteria(run.get("criteria", []))
    )


def _limit(criterion: Mapping[str, Any]) -> str:
    return str(criterion.get("limit_text", "")).replace("<= ", "≤\N{NO-BREAK SPACE}").replace(">= ", "≥\N{NO-BREAK SPACE}")


def _criteria(criteria: Sequence[Mapping[str, Any]]) -> str:
    if not criteria:
        return ""
    rows = []
    for c in criteria:
        ok = '<span class="ok">met</span>' if c.get("ok") else '<span class="no">not met</span>'
        unit = html.escape(str(c.get("unit", "")))
        limit = html.escape(_limit(c))
        value, margin = (f"{number(c.get(key))} {unit}".strip() for key in ("value", "margin"))
        rows.append((html.escape(str(c.get("name", ""))), value, limit, margin, ok))
    return facts.table(("criterion", "value", "limit", "margin", ""), rows)


def _numbers(ctx: Context, outcome: Array | None) -> str:
    """Cards with what people ask first."""
    cards: list[tuple[str, str]] = []
    if outcome is not None and outcome[-1]["touched"]:
        o = outcome[-1]
        cards += [
            (f"{o['v_down_m_s']:.2f} m/s", "touchdown speed, down"),
            (f"{o['v_across_m_s']:.2f} m/s", "touchdown speed, across"),
            (f"{o['tilt_deg']:.2f} deg", "tilt at touchdown"),
            (f"{o['miss_m']:.2f} m", "from the pad centre"),
            (f"{o['propellant_kg']:.0f} kg", "propellant left"),
            (f"{o['t_touch_ns'] * 1e-9:.2f} s", "time of touchdown"),
        ]
    engines = ctx.signals.get("fsw_engines_t")
    if engines is not None and len(engines):
        lit = np.bitwise_or.reduce(engines["lit_mask"]) if len(engines) else 0
        used = [str(k) for k in range(16) if int(lit) >> k & 1]
        plural = "s" if len(used) > 1 else ""
        cards.append((f"engine{plural} {', '.join(used)}" if used else "no engine", "lit in this flight"))
    return (
        '<div class="numbers">'
        + "".join(f"<div><b>{html.escape(a)}</b><span>{html.escape(b)}</span></div>" for a, b in cards)
        + "</div>"
        if cards
        else ""
    )


def _plots(section: Section, figures: dict[str, Any]) -> str:
    out = []
    for k, figure in enumerate(section.figures):
        ident = f"{section.ident}-{k}"
        figures[ident] = figure
        out.append(f'<div class="plot" id="{ident}" style="min-height:{int(figure["layout"]["height"])}px"></div>')
    if section.ident == "trajectory":
        out = [f'<div class="pair">{"".join(out[:2])}</div>', *out[2:]]
    return "".join(out)


def _section(section: Section, figures: dict[str, Any]) -> str:
    plots = _plots(section, figures)
    head = f'<section id="{section.ident}"><h2>{html.escape(section.title)}</h2>'
    return f"{head}<p>{section.text}</p>{plots}{_parts(section, figures)}{section.html}</section>"


def _parts(section: Section, figures: dict[str, Any]) -> str:
    """Panels of a section that has some: the first ones open."""
    if not isinstance(section, sections_starts.Starts):
        return ""
    out = []
    for k, part in enumerate(section.parts):
        inside = f"<p>{part.text}</p>{_plots(part, figures)}{part.html}"
        title = html.escape(part.title)
        shown = k < sections_starts.OPEN_STARTS
        out.append(f'<h3 id="{part.ident}">{title}</h3>{inside}' if shown else f"<details><summary>{title}</summary>{inside}</details>")
    return "".join(out)


def _folded(section: Section, figures: dict[str, Any]) -> str:
    plots = _plots(section, figures)
    return f"<details><summary>{html.escape(section.title)}</summary><p>{section.text}</p>{plots}{section.html}</details>"


def _finite(value: Any) -> Any:
    """JSON has no word for what is not a finite number: null."""
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def document(title: str, links: Sequence[tuple[str, str]], body: str, figures: Mapping[str, Any]) -> str:
    """A whole page around `body`, with all it needs inside. links: (id, title) of sections. figures: by the id of their plots."""
    from plotly.offline import get_plotlyjs

    title = html.escape(title)
    data = (
        json.dumps(_finite(figures), separators=(",", ":"), allow_nan=False).replace("</", "<\\/").replace("<!--", "<\\u0021--")
    )
    nav = "".join(f'<a href="#{ident}">{html.escape(name)}</a>' for ident, name in links)
    script = get_plotlyjs().replace("</script", "<\\/script")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{(_HERE / "page.css").read_text("utf-8")}</style>
</head>
<body>
<nav>{nav}</nav>
{body}
<noscript><p>The diagrams need JavaScript; it is inside this file, nothing is loaded from elsewhere.</p></noscript>
<script>{script}</script>
<script type="application/json" id="figures">{data}</script>
<script>
{(_HERE / "page.js").read_text("utf-8")}</script>
</body>
</html>
"""
