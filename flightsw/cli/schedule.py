"""flightsw schedule: the table of a bench, its timeline, its data flow, its load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flightsw.cli import OK, USAGE, console

if TYPE_CHECKING:
    from flightsw.schedule import CompiledNode
    from hil.bench import Bench

_WIDEST = 100  # columns of the timeline


@click.command(name="schedule")
@click.argument("bench", type=click.Path(path_type=Path))
@click.option("--node", "names", multiple=True, help="Only this node (may be given several times).")
@click.option("--ticks", type=click.IntRange(1, 10_000), default=40, show_default=True, help="Ticks of the timeline.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="As for run.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def command(bench: Path, names: tuple[str, ...], ticks: int, sets: tuple[str, ...], as_json: bool) -> int:
    """Show the schedule of each node of a bench: table, timeline, who waits for whom, load."""
    from hil.bench import Bench

    loaded = Bench.load(bench, sets)
    nodes = {c.name: c for c in loaded.compiled(0)}
    for name in names:
        if name not in nodes:
            from flightsw.errors import ConfigError
            from hil.config import unknown

            raise ConfigError.one("--node", name, f"there is no such node{unknown(name, nodes)}")
    chosen = [c for c in nodes.values() if not names or c.name in names]
    described = [describe(loaded, c) for c in chosen]
    if as_json:
        click.echo(json.dumps({"bench": loaded.name, "base_tick_ns": loaded.base_tick_ns, "nodes": described}, indent=1))
        return OK
    if not chosen:
        return USAGE
    base_us = loaded.base_tick_ns / 1e3
    click.echo(f"{loaded.title}: base tick {base_us:g} us, {len(nodes)} nodes, {len(loaded.links)} links")
    for node in _alike(described):
        _print(node, ticks, base_us)
    return OK


def describe(bench: Bench, node: CompiledNode) -> dict[str, Any]:
    """All about the schedule of one node, as plain data."""
    tasks = [{
        "name": t.spec.name, "type": t.type.name, "period_ticks": t.spec.period_ticks, "phase_ticks": t.spec.phase_ticks,
        "rate_hz": 1e9 / (t.spec.period_ticks * node.base_tick_ns), "budget_us": t.spec.budget_us,
        "deadline_us": t.spec.deadline_us, "critical": t.spec.critical, "on_miss": t.spec.on_miss,
        "reads": {p: topic for p, topic in t.reads.items() if topic is not None},
        "writes": {p: topic for p, topic in t.writes.items() if topic is not None},
    } for t in node.tasks]
    arriving = {k.dst_topic: k for k in bench.links if k.dst_node == node.name}
    leaving: dict[str, list[str]] = {}
    for k in bench.links:
        if k.src_node == node.name:
            leaving.setdefault(k.src_topic, []).append(f"{k.dst_node}.{k.dst_topic}")
    flow = []
    for name, topic in node.topics.items():
        link = arriving.get(name)
        flow.append({"topic": name, "type": topic.type.name, "writer": topic.writer, "readers": list(topic.readers),
                     "from": f"{link.src_node}.{link.src_topic}" if link else None,
                     "latency_ticks": link.latency_ticks if link else 0, "to": leaving.get(name, [])})
    delayed = [{"reader": r, "topic": t, "writer": w} for r, t, w in node.delayed_reads()]
    return {"name": node.name, "hash": f"{node.hash:016x}", "hyperperiod": node.hyperperiod, "image_bytes": node.image_size,
            "tasks": tasks, "topics": flow, "delayed_reads": delayed, "load": load(node)}


def load(node: CompiledNode) -> dict[str, float | int]:
    """Sum of the budgets of the tasks released in a tick: greatest and the first tick that has it, mean, shares of the tick."""
    import numpy as np

    total = np.zeros(node.hyperperiod, np.int64)
    for t in node.tasks:
        total[t.spec.phase_ticks % node.hyperperiod :: t.spec.period_ticks] += t.spec.budget_us
    worst, base_us = int(total.max()), node.base_tick_ns / 1e3
    mean = float(total.mean())
    return {"worst_us": worst, "worst_tick": int(total.argmax()), "mean_us": mean, "worst_share": worst / base_us,
            "mean_share": mean / base_us, "without_budget": sum(t.spec.budget_us == 0 for t in node.tasks)}


def _alike(described: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Nodes that differ only in their number are shown once: `ecu0 ecu1 ... ecu8`."""
    out: list[dict[str, Any]] = []
    seen: dict[str, dict[str, Any]] = {}
    for node in described:
        key = json.dumps([node["tasks"], node["hyperperiod"], [(t["topic"], t["latency_ticks"]) for t in node["topics"]]])
        if key in seen:
            seen[key]["names"].append(node["name"])
        else:
            seen[key] = {**node, "names": [node["name"]]}
            out.append(seen[key])
    return out


def _title(names: Sequence[str]) -> str:
    return " ".join(names) if len(names) <= 3 else f"{names[0]} {names[1]} ... {names[-1]} ({len(names)} alike)"


def _print(node: dict[str, Any], ticks: int, base_us: float) -> None:
    out = console()
    out.print()
    out.print(f"[bold]{_title(node['names'])}[/]  repeats after {node['hyperperiod']} ticks, image {node['image_bytes']} bytes")
    for line in table_lines(node["tasks"]):
        out.print(line, markup=False)
    out.print("  timeline (one column per tick, # released)", markup=False)
    for line in timeline_lines(node["tasks"], min(ticks, _WIDEST, max(node["hyperperiod"], 1))):
        out.print(line, markup=False)
    out.print("  data flow", markup=False)
    for line in _flow_lines(node):
        out.print(line, markup=False)
    figures = node["load"]
    if any(t["budget_us"] for t in node["tasks"]):
        rest = f"; {figures['without_budget']} task(s) without a budget" if figures["without_budget"] else ""
        share = f"{100 * figures['worst_share']:.1f} % of {base_us:g} us"
        worst = f"{figures['worst_us']} us in tick {figures['worst_tick']} ({share})"
        mean = f"{figures['mean_us']:.1f} us ({100 * figures['mean_share']:.1f} %)"
        out.print(f"  load: worst {worst}, mean {mean}{rest}", markup=False)
    else:
        out.print("  load: no task has a budget", markup=False)


def table_lines(tasks: Sequence[dict[str, Any]]) -> list[str]:
    """The table, columns lined up."""
    head = ("task", "type", "period", "phase", "rate Hz", "budget us", "deadline us", "on miss", "critical")
    rows = [(t["name"], t["type"], str(t["period_ticks"]), str(t["phase_ticks"]), f"{t['rate_hz']:.6g}",
             str(t["budget_us"] or "-"), str(t["deadline_us"] or "-"), t["on_miss"], "yes" if t["critical"] else "no")
            for t in tasks]
    widths = [max(len(r[k]) for r in (head, *rows)) for k in range(len(head))]
    left = (0, 1, 7, 8)

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(c.ljust(w) if k in left else c.rjust(w) for k, (c, w) in enumerate(cells)).rstrip()

    return ["  " + line(row) for row in (head, *rows)]


def timeline_lines(tasks: Sequence[dict[str, Any]], ticks: int) -> list[str]:
    """Which task is released in which of the first ticks."""
    width = max(len(t["name"]) for t in tasks)
    ruler = "".join(str(k // 10 % 10) if k % 10 == 0 else "." if k % 5 == 0 else " " for k in range(ticks))
    lines = [f"  {'':<{width}}  {ruler}"]
    for t in tasks:
        released = set(range(t["phase_ticks"], ticks, t["period_ticks"]))
        marks = "".join("#" if k in released else "." for k in range(ticks))
        lines.append(f"  {t['name']:<{width}}  {marks}")
    return lines


def _flow_lines(node: dict[str, Any]) -> list[str]:
    late = {(d["reader"], d["topic"]) for d in node["delayed_reads"]}
    lines = []
    for t in node["topics"]:
        ticks = f"{t['latency_ticks']} tick{'s' if t['latency_ticks'] > 1 else ''}"
        source = t["writer"] or (f"[{t['from']}, {ticks}]" if t["from"] else "-")
        readers = [f"{r} (one tick later)" if (r, t["topic"]) in late else r for r in t["readers"]]
        to = [f"[{x}]" for x in t["to"]]
        if len(to) > 3:
            to = [to[0], to[1], f"... {len(to)} in all"]
        lines.append(f"    {t['topic']}: {source} -> {', '.join([*readers, *to]) or 'nobody'}")
    return lines
