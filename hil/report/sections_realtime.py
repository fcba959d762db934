"""How a run against the wall clock went: lateness, missed ticks, execution times, what the kernel granted."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from hil.report.facts import cell, table
from hil.report.figures import GRAY, PALETTE, RED, Figure, Line, Row, packed, xy_figure
from hil.report.sections import Context, Section, number


def real_time(ctx: Context) -> Section | None:
    """Release lateness over time and as a histogram beside the computer's own noise, and execution times per task."""
    r, noise = ctx.run.get("real_time"), ctx.run.get("noise")
    if not isinstance(r, dict):
        return None
    late = r["late_us"]
    text = (
        f"{r['ticks']} ticks of {number(r['period_us'])} us; {r['missed']} of them missed: they began a whole period late or more, and were "
        f"run at once; {r['shed']} ran without the non-critical tasks. Release lateness: p50 {number(late['p50'])} us, p99 "
        f"{number(late['p99'])} us, p99.9 {number(late['p99_9'])} us, greatest {number(late['max'])} us at tick {r['late_max_tick']}."
    )
    if isinstance(noise, dict):
        alone = noise["late_us"]
        text += (
            f" A thread that did nothing but wait, measured for {number(noise['ticks'] * noise['period_us'] * 1e-6)} s before the flight: "
            f"p50 {number(alone['p50'])} us, p99 {number(alone['p99'])} us, greatest {number(alone['max'])} us: that much is this "
            "computer's, not the flight's."
        )
    blocks = np.array(r["late_blocks_us"], np.float64)
    t = np.linspace(ctx.span[0], ctx.span[1], len(blocks))
    period = Line("period", np.array(ctx.span), np.full(2, r["period_us"]), RED, dash="dash")
    figures = [ctx.rows([Row("greatest release lateness in a part of the run, us", [Line("lateness", t, blocks, PALETTE[0]), period])]),
               _histogram(r, noise if isinstance(noise, dict) else None)]
    return Section("realtime", "Against the wall clock", text, figures, html=_grants(r) + _tasks(r))


def _histogram(r: dict[str, Any], noise: dict[str, Any] | None) -> Figure:
    traces = []
    for name, side, color in (("flight", r, PALETTE[0]), ("nothing but waiting", noise, GRAY)):
        if side is None:
            continue
        counts = np.array(side["histogram"], np.float64)
        shown = np.flatnonzero(counts)
        first, last = (int(shown[0]), int(shown[-1]) + 1) if len(shown) else (0, 1)
        traces.append({"type": "bar", "name": name, "x": packed(2.0 ** np.arange(first, last) * 1e-3),
                       "y": packed(100.0 * counts[first:last] / max(1.0, counts.sum())), "marker": {"color": color},
                       "hovertemplate": "from %{x:.3g} us: %{y:.3g} %"})
    figure = xy_figure(traces, "release lateness, us (each bar up to twice its value)", "ticks, %", 280)
    figure["layout"]["xaxis"]["type"] = "log"
    figure["layout"]["barmode"] = "group"
    return figure


def _grants(r: dict[str, Any]) -> str:
    rows = [[cell(k.replace("_", " ")), cell(v)] for k, v in r["granted"].items()]
    rows += [["sleeps of the thread", number(r["sleeps"])], ["voluntary context switches", number(r["switches"])],
             ["preemptions", number(r["preempted"])], ["page faults", number(r["page_faults"])]]
    return f"<h3>What the kernel granted, and the thread's own figures</h3>{table(('', ''), rows)}"


def _tasks(r: dict[str, Any]) -> str:
    head = ("node", "task", "runs", "mean, us", "greatest, us", "at tick", "budget, us", "over budget", "deadline, us", "missed", "skipped")
    rows = [[html.escape(t["node"]), html.escape(t["task"]) + (" (Python)" if t["python"] else ""), number(t["runs"]), f"{t['mean_us']:.2f}",
             f"{t['max_us']:.1f}", number(t["max_tick"]), number(t["budget_us"]), number(t["overruns"]), number(t["deadline_us"]),
             number(t["misses"]), number(t["skipped"])] for t in r["tasks"]]
    return f"<h3>Execution times</h3>{table(head, rows)}"
