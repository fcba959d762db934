"""The report of a navigation run: scores, trajectory, errors inside their bounds, innovations, biases, rejected measurements."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from flightsw.navigation import KINDS, OUTCOMES, TAKEN, geodetic_to_ecef, ned_axes
from hil.report.facts import table
from hil.report.figures import BLUE, GRAY, GREEN, ORANGE, PALETTE, RED, Figure, Line, Row, packed, time_figure, xy_figure
from hil.report.page import document
from hil.report.sections import Section, number
from hil.report.signals import stride

if TYPE_CHECKING:
    from hil.nav.run import NavResult

Array: TypeAlias = np.ndarray[Any, Any]
_AXES, _DEG = ("north", "east", "down"), 180.0 / np.pi
_MOST_LISTED = 200
_QUANTITIES = (("position", "m", 1.0), ("velocity", "m/s", 1.0), ("attitude", "deg", _DEG))


def write_nav_report(target: Path, result: NavResult) -> None:
    """Write the page: one file with all it needs. Raises OSError."""
    t = result.solution.t_s
    span = (float(t[0]), max(float(t[-1]), float(t[0]) + 1e-3)) if len(t) else (0.0, 1.0)
    with np.errstate(all="ignore"):
        made = [s for s in (_trajectory(result, span), _errors(result, span), *_innovations(result, span), _biases(result, span),
                            _rejected(result), _facts(result)) if s is not None]
    figures: dict[str, Any] = {}
    body = [_head(result), *(_html(s, figures) for s in made)]
    target.write_text(document(result.job.config.nav.title, [(s.ident, s.title) for s in made], "\n".join(body), figures), "utf-8")


def _html(section: Section, figures: dict[str, Any]) -> str:
    plots = []
    for k, figure in enumerate(section.figures):
        ident = f"{section.ident}-{k}"
        figures[ident] = figure
        plots.append(f'<div class="plot" id="{ident}" style="min-height:{int(figure["layout"]["height"])}px"></div>')
    return (f'<section id="{section.ident}"><h2>{html.escape(section.title)}</h2><p>{section.text}</p>{"".join(plots)}'
            f"{section.html}</section>")


def _head(result: NavResult) -> str:
    c = result.content
    broken = [f"{x['name']} {number(x['value'])} {x['unit']} (limit {number(x['limit'])})" for x in c["limits"] if not x["ok"]]
    word, good = ("Outside its limits", " bad") if broken else ("Within all limits", " good") if c["limits"] else ("Navigation run", "")
    why = f"<p>{html.escape('; '.join(broken))}.</p>" if broken else ""
    text = f"{c['title']}: {c['span_s']:.1f} s of data in {c['wall_s']:.2f} s"
    return f'<div class="verdict{good}"><h1>{word}</h1>{why}<p class="title">{html.escape(text)}</p></div>{_scores(c)}'


def _scores(content: dict[str, Any]) -> str:
    if not content["scores"]:
        return '<p class="note">There is no truth in this mapping: no errors.</p>'
    limits = {x["name"]: x for x in content["limits"]}
    rows = []
    for w in content["scores"]:
        cells = [html.escape(w["name"]), f"{number(w['from_s'])} to {number(w['to_s'])}"]
        for quantity, unit, _ in _QUANTITIES:
            limit = limits.get(f"{w['name']}: {quantity}, RMS")
            mark = "" if limit is None else f' <span class="{"ok" if limit["ok"] else "no"}">({number(limit["limit"])})</span>'
            cells += [f"{number(w[quantity]['rms'])} {unit}{mark}", f"{number(w[quantity]['max'])} {unit}"]
        rows.append((*cells, number(w["nees_per_state"])))
    head = ("window", "s", *(x for q, _, _ in _QUANTITIES for x in (f"{q}, RMS (limit)", "greatest")), "NEES per state")
    return table(head, rows)


def _trajectory(result: NavResult, span: tuple[float, float]) -> Section | None:
    s, truth = result.solution, result.job.truth
    if not len(s.rows):
        return None
    lat, lon, height = s.geodetic()
    here, axes = geodetic_to_ecef(lat[0], lon[0], height[0]), ned_axes(lat[0], lon[0])

    def local(r_e: Array) -> Array:
        return np.asarray((r_e - here) @ axes.T)

    ned = local(s.rows["r_e"])
    every = stride(len(ned), 4000)
    traces = [_trace("estimate", ned[every], BLUE)]
    lines = [Line("estimate", s.t_s, height, BLUE)]
    for k, fixes in enumerate(result.job.sensors["gnss"]):
        ok = fixes[fixes["valid"] != 0]
        traces.append(_trace(f"fixes {k}", local(ok["r_e"])[stride(len(ok), 2000)], GRAY, "markers"))
    if truth is not None:
        t_every = stride(len(truth.t_s), 4000)
        true = local(geodetic_to_ecef(*truth.geodetic[t_every].T))
        traces.append(_trace("truth", true, ORANGE, dash="dash"))
        lines.append(Line("truth", truth.t_s, truth.geodetic[:, 2], ORANGE, "dash"))
    speed = [Line(a, s.t_s, s.velocity_ned()[:, k], PALETTE[k]) for k, a in enumerate(_AXES)]
    figures = [xy_figure(traces, "east of the first row, m", "north, m"),
               time_figure([Row("height above the ellipsoid, m", lines), Row("velocity, m/s", speed)], (), span)]
    return Section("trajectory", "Trajectory", "Position of the IMU.", figures)


def _trace(name: str, ned: Array, color: str, mode: str = "lines", dash: str = "solid") -> Figure:
    return {"type": "scatter", "mode": mode, "name": name, "x": packed(ned[:, 1]), "y": packed(ned[:, 0]),
            "line": {"color": color, "dash": dash}, "marker": {"size": 3, "color": color}}


def _errors(result: NavResult, span: tuple[float, float]) -> Section | None:
    e = result.errors
    if e is None or not len(e.t_s):
        return None
    rows = []
    for q, (name, unit, scale) in enumerate(_QUANTITIES):
        for axis in range(3):
            k = 3 * q + axis
            if np.isfinite(e.error[:, k]).any():
                rows.append(Row(f"{name} {_AXES[axis]}, {unit}",
                                [Line("3 sigma", e.t_s, 3 * scale * e.sigma[:, k], GRAY, band=True),
                                 Line("estimate minus truth", e.t_s, scale * e.error[:, k], BLUE)], 110))
    rows.append(Row("NEES per state", [Line("NEES", e.t_s, e.nees / e.dof, GREEN)], 110))
    text = ("Estimate minus truth, and three standard deviations of the filter's own covariance: a right filter leaves the band in 0.27 % of "
            "the time, and its normalised error squared (NEES) is about 1 per state on average over many runs.")
    return Section("errors", "Errors against the truth", text, [time_figure(rows, (), span)])


def _innovations(result: NavResult, span: tuple[float, float]) -> list[Section]:
    from hil.nav.run import channels, sources

    out = []
    for kind, unit, name, o in sources(result.solution.outcomes):
        rows = []
        for k, channel in enumerate(channels(kind)):
            seen = o[o["sigma"][:, k] > 0]
            if not len(seen):
                continue
            t, taken = seen["t_valid_ns"] * 1e-9, seen["outcome"] < TAKEN
            limit = 3 * seen["sigma"][:, k]
            span_y = 1.6 * float(np.max(limit[taken])) if taken.any() else float(np.max(limit))
            lines = [Line("3 sigma", t, limit, GRAY, band=True), Line("fused", t[taken], seen["innovation"][taken, k], BLUE, points=True),
                     Line("rejected", t[~taken], np.clip(seen["innovation"][~taken, k], -span_y, span_y), RED, points=True)]
            rows.append(Row(f"{channel.replace('_', ' ')}, {'m/s' if k >= 3 else 'm'}", [x for x in lines if len(x.t)], 110, (-span_y, span_y)))
        if rows:
            told = result.content["innovations"][name]
            text = ("Measured minus predicted before the measurement was used, with three standard deviations of what the filter expects. "
                    f"Of those fused: {_told(told)}. Rejected ones beyond the diagram stand at its edge.")
            out.append(Section(f"innovations-{KINDS[kind]}-{unit}", f"Innovations, {name}", text, [time_figure(rows, (), span)]))
    return out


def _told(rows: dict[str, dict[str, float]]) -> str:
    words = [f"{n.replace('_', ' ')} {r['mean']:+.2f} ± {r['std']:.2f} sigma" for n, r in rows.items() if "std" in r]
    words += [f"{n.replace('nis', 'NIS').replace('_', ' of ')} {r['mean']:.3f} per degree of freedom"
              for n, r in rows.items() if "std" not in r]
    return ", ".join(words) or "none"


def _biases(result: NavResult, span: tuple[float, float]) -> Section | None:
    s = result.solution
    groups = (("b_a", 9, "accelerometer bias, m/s2", 1.0), ("b_g", 12, "gyro bias, deg/s", _DEG), ("s_a", 15, "accelerometer scale, ppm", 1e6),
              ("s_g", 18, "gyro scale, ppm", 1e6), ("b_n", 21, "receiver, Earth-fixed, m", 1.0))
    rows = []
    for name, at, title, scale in groups:
        if s.rows["sigma"][:, at:at + 3].any():
            bands = [Line(f"3 sigma {a}", s.t_s, 3 * scale * s.rows["sigma"][:, at + k], PALETTE[k], band=True,
                          center=scale * s.rows[name][:, k]) for k, a in enumerate("xyz")]
            rows.append(Row(title, [*bands, *(Line(a, s.t_s, scale * s.rows[name][:, k], PALETTE[k]) for k, a in enumerate("xyz"))]))
    for name, at, title in (("b_ra", 24, "altimeter bias, m"), ("b_baro", 25, "barometer bias, m")):
        if s.rows["sigma"][:, at].any():
            rows.append(Row(title, [Line("3 sigma", s.t_s, 3 * s.rows["sigma"][:, at], GRAY, band=True, center=s.rows[name]),
                                    Line("estimate", s.t_s, s.rows[name], BLUE)], 110))
    text = "Estimated sensor errors with three standard deviations. Those that the parameters leave out are not shown."
    return Section("biases", "Biases", text, [time_figure(rows, (), span)]) if rows else None


def _rejected(result: NavResult) -> Section:
    from hil.nav.run import channels

    fates = [(html.escape(n), html.escape(fate), str(k)) for n, c in result.content["measurements"].items() for fate, k in c.items()]
    lost = result.solution.outcomes[result.solution.outcomes["outcome"] > 0]
    rows = []
    for o in lost[:_MOST_LISTED]:
        sizes = [(abs(o["innovation"][k]) / o["sigma"][k], name, k) for k, name in enumerate(channels(int(o["kind"]))) if o["sigma"][k] > 0]
        size, name, k = max(sizes, default=(0.0, "", 0))
        worst = f"{name.replace('_', ' ')} {number(o['innovation'][k])} {'m/s' if k >= 3 else 'm'}" if sizes else "-"
        rows.append((f"{o['t_valid_ns'] * 1e-9:.3f}", f"{KINDS[o['kind']]} {o['unit']}", html.escape(OUTCOMES[o["outcome"]]),
                     html.escape(worst), number(size) if sizes else "-"))
    more = f"<p>{len(lost) - _MOST_LISTED} more stand in measurements.csv.</p>" if len(lost) > _MOST_LISTED else ""
    refused = result.content["imu"]["refused"]
    text = f"{len(lost)} of {len(result.solution.outcomes)} measurements were not fused as they came; {refused} IMU samples were refused."
    listed = table(("time, s", "source", "why", "greatest innovation", "sigmas"), rows) if rows else ""
    return Section("rejected", "Rejected measurements", text, [], table(("source", "what became of it", "measurements"), fates) + listed + more)


def _facts(result: NavResult) -> Section:
    c = result.content
    rows: Sequence[Sequence[str]] = [(html.escape(k), html.escape(str(v))) for k, v in c["parameters"].items()]
    files = [(html.escape(f["file"]), f"<code>{f['sha256']}</code>") for f in c["files"]]
    text = (f"Mapping {html.escape(c['mapping'])}. Everything not given here has the default of <code>nav.h</code>; "
            "lever arms not given are zero.")
    return Section("facts", "Parameters and files", text, [], table(("parameter", "value"), rows) + table(("file", "SHA-256"), files))
