"""How the links to boards elsewhere went, and whether the boards did what they do in process."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np

from hil.report.facts import cell, table
from hil.report.figures import PALETTE, Figure, packed, xy_figure
from hil.report.sections import Context, Section, number


def strings(ctx: Context) -> Section | None:
    """What happened to redundant flight computers, and in how many votes each was wrong."""
    told = ctx.run.get("strings")
    if not isinstance(told, dict):
        return None
    names = told["strings"]
    wrong = dict.fromkeys(names, 0)
    votes = 0
    log = ctx.signals.log
    for topic in log.topics:
        if topic.startswith(f"/{told['of']}/vote_"):
            table_ = log[topic]
            votes += len(table_)
            for k, name in enumerate(names):
                wrong[name] += int((table_["disagree"] >> k & 1).sum())
    counts = ", ".join(f"{html.escape(n)} in {c}" for n, c in wrong.items())
    text = (f"{len(names)} flight computers ran the same software on the same inputs; what they commanded was voted to the bit, {votes} times. "
            f"Votes in which one differed from the majority: {counts}. "
            + (f"Out at the end: {html.escape(', '.join(told['out']))}." if told["out"] else "All counted at the end."))
    rows = [[f"{s['t_s']:.3f}", str(s["tick"]), html.escape(s["text"])] for s in told["story"]]
    return Section("strings", "Redundant flight computers", text, html=table(("time, s", "tick", "what happened"), rows) if rows else "")


def links(ctx: Context) -> Section | None:
    """Who answered, round trips, bytes and outcomes of each link, and the comparison with the same flight in process."""
    told = ctx.run.get("links")
    if not isinstance(told, Mapping) or not told.get("groups"):
        return None
    groups = told["groups"]
    figure = _round_trips(groups)
    return Section("links", "Boards elsewhere", _sentence(told.get("comparison")), [figure] if figure is not None else [],
                   html="".join(_group(g) for g in groups))


def _sentence(c: Any) -> str:
    if not isinstance(c, Mapping):
        return "What these boards sent was not compared with a flight in process."
    boards = html.escape(", ".join(c["boards"]))
    if c["identical"]:
        return (f"What {boards} sent is bit-identical, tick by tick, to the same flight in one process: {c['messages']} messages of "
                f"{c['topics']} topics from tick {c['first_tick']} to {c['last_tick']}, and all images at {c['keyframes']} keyframes. "
                "The flight in process was flown after this one, and everything that both logs hold was compared.")
    return f"<strong>{boards} did not do what it does in process.</strong> First difference: {html.escape(c['sentence'])}."


def _round_trips(groups: list[dict[str, Any]]) -> Figure | None:
    traces = []
    for g, color in zip(groups, PALETTE * len(groups), strict=False):
        trips = g["round_trip_us"]
        if not trips["count"]:
            continue
        counts = np.array(trips["histogram"], np.float64)
        shown = np.flatnonzero(counts)
        k = np.arange(int(shown[0]), int(shown[-1]) + 1)
        traces.append({"type": "bar", "name": g["name"], "x": packed(2.0 ** (k / 2.0) * 1e-3), "y": packed(100.0 * counts[k] / counts.sum()),
                       "marker": {"color": color}, "hovertemplate": "from %{x:.3g} ms: %{y:.3g} %"})
    if not traces:
        return None
    figure = xy_figure(traces, "from the inputs of a tick to all answers, ms (each bar up to 1.41 times its value)", "ticks, %", 280)
    figure["layout"]["xaxis"]["type"] = "log"
    figure["layout"]["barmode"] = "group"
    return figure


def _group(g: dict[str, Any]) -> str:
    trips, m = g["round_trip_us"], g["manifest"]
    link = f"{g['kind']}, {g['port']}" if g["port"] else g["kind"]
    rows = [["boards", cell(g["boards"])], ["link", cell(link)], ["pacing", cell(g["pacing"])]]
    if trips["count"]:
        rows += [[f"round trip, {name}", f"{number(trips[key] * 1e-3)} ms"]
                 for name, key in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p99_9"), ("greatest", "max"), ("mean", "mean"))]
    for name in ("sent", "received"):
        total = g[f"{name}_bytes"]
        if total is not None:
            each = f" ({total / trips['count']:.0f} a tick)" if trips["count"] else ""
            rows.append([f"bytes {name}", cell(f"{total}{each}")])
    rows += [[f"outcome: {k.replace('_', ' ')}", cell(v)] for k, v in g["outcomes"].items()]
    rows += [[f"manifest: {html.escape(str(k))}", cell(v)] for k, v in m.items()]
    rows += [[f"not sent by {html.escape(n)}", cell(", ".join(topics))] for n, topics in g["not_sent"].items()]
    return f"<h3>{html.escape(g['name'])}</h3>{table(('', ''), rows)}"
