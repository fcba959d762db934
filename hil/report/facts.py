"""Sections of the report that are tables: events, feasibility, schedule and its load, facts of the run, topics nobody knows."""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flightsw._native import digest, ffi
from flightsw.messages import dtype_of
from flightsw.tasks import builtin_tasks
from hil.report.figures import PALETTE, Line, Row, stacked_bars, time_figure
from hil.report.sections import Context, Section, number
from hil.report.signals import Array, seconds, stride

_ON_MISS = ("warn", "skip", "safe", "stop")
_MOST_TICKS = 100
_BASIC = {
    "bench": "bench",
    "title": "title",
    "seed": "seed",
    "started_utc": "started, UTC",
    "sim_s": "flown, s",
    "wall_s": "computed in, s",
    "x_realtime": "times real time",
}
_OPEN_EVENTS = 30
_GENERIC_POINTS, _GENERIC_LINES, _GENERIC_ROWS = 300, 240, 8


def cell(value: object) -> str:
    """A value as text of a table cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value)) if value else "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {cell(v)}" for k, v in value.items())
    return "" if value is None else html.escape(str(value))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """HTML table of ready cells. A cell that looks like a number is set to the right."""
    body = []
    for row in rows:
        cells = "".join(
            f'<td class="n">{c}</td>' if re.fullmatch(r"-?[\d.,]+(e[-+]?\d+)?( [\w/%]+)?", c) else f"<td>{c}</td>" for c in row
        )
        body.append(f"<tr>{cells}</tr>")
    top = "".join(f"<th>{h}</th>" for h in head)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def event_section(ctx: Context) -> Section | None:
    """The story as a table."""
    if not ctx.events:
        return None
    shown = [e for e in ctx.events if e.name != "GATE"][:500]
    hidden = len(ctx.events) - len(shown)
    rows = [(f"{e.t_s:.3f}", html.escape(e.node), html.escape(e.text)) for e in shown]
    text = f"{len(shown)} events, as the software told them."
    if hidden:
        text += f" {hidden} more (single measurements rejected, or beyond the first 500) are in the log."
    head = ("time, s", "node", "what happened")
    more = (
        f"<details><summary>{len(rows) - _OPEN_EVENTS} more</summary>{table(head, rows[_OPEN_EVENTS:])}</details>"
        if len(rows) > _OPEN_EVENTS + 5
        else ""
    )
    return Section("events", "Events", text, html=table(head, rows[:_OPEN_EVENTS] if more else rows) + more)


def _sentence(text: str) -> str:
    text = html.escape(text.strip())
    return text[:1].upper() + text[1:] + ("" if not text or text[-1] in ".!?" else ".")


def feasibility(ctx: Context) -> Section | None:
    """What the calculation before the run said."""
    data = ctx.run.get("feasibility")
    if not isinstance(data, Mapping) or not data:
        return None
    words = {
        True: "Calculated before the run, from physics alone: it can be landed.",
        False: "Calculated before the run, from physics alone: it cannot be landed, whatever the software does.",
    }
    reason = str(data.get("reason") or "")
    said = "" if reason.startswith("not assessed") else words.get(data.get("feasible", None), "Calculated before the run.")
    text = " ".join(filter(None, (said, _sentence(reason))))
    rows = [r for r in data.get("table") or [] if isinstance(r, Mapping)]
    head = list(dict.fromkeys(k for r in rows for k in r))
    return Section(
        "feasibility",
        "Feasibility",
        text,
        html=table([html.escape(str(h)).replace("_", " ") for h in head], [[cell(r.get(h)) for h in head] for r in rows])
        if rows
        else "",
    )


# ---- schedule ---------------------------------------------------------------------------------------------------------


def _read(blob: bytes, ctype: str, offset: int, count: int) -> Array:
    dtype = dtype_of(ffi.typeof(ctype))
    return np.frombuffer(blob, dtype, count, offset)


def _names(ctx: Context) -> dict[int, str]:
    """Hash to word, of task types of the package and of all words in the configuration that flew."""
    words = set(builtin_tasks())
    for name, data in ctx.signals.log.attachments.items():
        if not name.startswith("blob/"):
            words |= set(re.findall(r'"([\w.{}-]{1,64})"', data.decode("utf-8", "replace")))
    return {digest(w.encode()): w for w in words}


def _node_tables(ctx: Context) -> dict[str, tuple[Array, Array, Array, int]]:
    """Per node: task rows, starts, entries of its timeline, base tick (ns), from the load blobs in the log."""
    out = {}
    for name, blob in sorted(ctx.signals.log.attachments.items()):
        if not name.startswith("blob/"):
            continue
        try:
            head = _read(blob, "fsw_blob_head_t", 0, 1)[0]
            tasks = _read(blob, "fsw_blob_task_t", int(head["off_tasks"]), int(head["n_tasks"]))
            starts = np.frombuffer(blob, "<u4", int(head["hyperperiod"]) + 1, int(head["off_starts"]))
            entries = np.frombuffer(blob, "<u2", int(head["n_entries"]), int(head["off_entries"]))
        except (ValueError, IndexError):
            continue
        out[name[5:]] = (tasks, starts, entries, int(head["base_tick_ns"]))
    return out


def schedule(ctx: Context) -> Section | None:
    """Tables of all nodes as flown, and the load by budget of the one with most tasks."""
    nodes = _node_tables(ctx)
    if not nodes:
        return None
    names = _names(ctx)
    main = max(nodes, key=lambda n: (len(nodes[n][0]), n))
    tasks, starts, entries, base_ns = nodes[main]
    ticks = min(len(starts) - 1, _MOST_TICKS)
    load = np.zeros((len(tasks), ticks))
    for tick in range(ticks):
        for index in entries[starts[tick] : starts[tick + 1]]:
            load[index, tick] = tasks["budget_us"][index]
    label = [names.get(int(t["name_hash"]), names.get(int(t["type_hash"]), f"task {k}")) for k, t in enumerate(tasks)]
    peak = float(load.sum(axis=0).max())
    text = (
        f"Tasks of every node as flown. On {html.escape(main)} the budgets of a tick add up to at most {number(peak)} us "
        f"of {number(base_ns / 1e3)} us."
    )
    figure = stacked_bars(
        range(ticks),
        [(label[k], load[k].tolist()) for k in range(len(tasks))],
        ("tick of the repeating table", "budget, us"),
        base_ns / 1e3 if peak > base_ns / 2e3 else 0.0,
    )
    rows = []
    for node in [main, *(n for n in nodes if n != main)]:
        for k, t in enumerate(nodes[node][0]):
            kind = names.get(int(t["type_hash"]), "")
            name = names.get(int(t["name_hash"]), kind or f"task {k}")
            period = int(t["period_ticks"]) * nodes[node][3] * 1e-6
            rows.append(
                [
                    cell(node),
                    cell(name),
                    cell(kind),
                    number(period),
                    number(float(t["phase_ticks"])),
                    number(float(t["budget_us"])),
                    number(float(t["deadline_us"])),
                    cell(bool(t["critical"])),
                    _ON_MISS[min(3, int(t["on_miss"]))],
                ]
            )
    head = ("node", "task", "type", "period, ms", "phase, ticks", "budget, us", "deadline, us", "critical", "on miss")
    more = f"<details><summary>All {len(rows)} tasks</summary>{table(head, rows)}</details>"
    return Section("schedule", "Schedule", text + _timing_words(ctx), [figure] if peak else [], _timing(ctx) + more)


def _timing_words(ctx: Context) -> str:
    return (
        " Times measured in this run stand below."
        if ctx.run.get("timing")
        else " In simulated time nothing is measured: these are the static numbers."
    )


def _timing(ctx: Context) -> str:
    timing = ctx.run.get("timing")
    if isinstance(timing, Mapping) and timing:
        return pairs(timing)
    if isinstance(timing, list) and timing and isinstance(timing[0], Mapping):
        head = list(timing[0])
        return table([cell(h) for h in head], [[cell(r.get(h)) for h in head] for r in timing])
    return ""


# ---- facts ------------------------------------------------------------------------------------------------------------


def pairs(values: Mapping[Any, Any]) -> str:
    """Two-column table."""
    return table(("", ""), [(cell(k), cell(v)) for k, v in values.items()])


def commands(ctx: Context) -> list[str]:
    """Command lines that fly this again and check it."""
    run, meta = ctx.run, ctx.signals.log.metadata.get("run", {})
    fly = run.get("command")
    if isinstance(fly, list):
        fly = " ".join(map(str, fly))
    file = run.get("bench_path") or ctx.signals.log.metadata.get("extensions", {}).get("bench_path")
    if not fly and not file and (run.get("bench") or meta.get("bench")):
        file = f"bench_configs/{run.get('bench') or meta.get('bench')}.toml"
    if not fly and file:
        fly = f"flightsw run {file} --seed {run.get('seed', meta.get('seed', ''))}"
        sets = run.get("sets")
        fly += "".join(f" --set '{s}'" for s in sets) if isinstance(sets, list) else ""
    log = ctx.signals.log
    return [*([str(fly)] if fly else []), f"flightsw replay {Path(log.path).name}{'' if log.complete else ' --what-if'}"]


def _links(log: Any) -> list[tuple[str, str, str, str]]:
    """Link entries of the bench files that flew."""
    out = []
    for name, data in sorted(log.attachments.items()):
        if not name.startswith("config/") or not name.endswith(".toml"):
            continue
        try:
            entries = tomllib.loads(data.decode("utf-8")).get("link", [])
        except ValueError:
            continue
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, Mapping):
                ticks = number(entry.get("latency_ticks", 1))
                out.append((cell(entry.get("from")), cell(entry.get("to")), ticks, cell(name[7:])))
    return out


def facts(ctx: Context) -> Section:
    """Where this run came from and how to have it again."""
    log, run = ctx.signals.log, ctx.run
    basic = {label: run[k] for k, label in _BASIC.items() if k in run}
    parts = [pairs(basic)] if basic else []
    for name in ("software", "hashes", "dispersed", "summary"):
        if isinstance(run.get(name), Mapping) and run[name]:
            parts.append(f"<details><summary>{name.capitalize()}</summary>{pairs(run[name])}</details>")
    links = _links(log)
    if links:
        head = ("from", "to", "latency, ticks", "file")
        parts.append(
            f"<details><summary>Links and their latency ({len(links)} entries)</summary>{table(head, links)}</details>"
        )
    told = {"software", "schedule"} if "hashes" in run and "software" in run else set()
    for name in sorted(log.metadata):
        if log.metadata[name] and name not in told:
            parts.append(f"<details><summary>Log metadata: {html.escape(name)}</summary>{pairs(log.metadata[name])}</details>")
    topics = [(html.escape(t), number(float(n)), cell(log.channel(t).metadata.get("type", ""))) for t, n in log.topics.items()]
    parts.append(
        f"<details><summary>Topics in the log ({len(topics)})</summary>{table(('topic', 'messages', 'type'), topics)}</details>"
    )
    files = [(html.escape(n), number(float(len(d)))) for n, d in sorted(log.attachments.items())]
    if files:
        parts.append(
            f"<details><summary>Files in the log ({len(files)})</summary>{table(('attachment', 'bytes'), files)}</details>"
        )
    state = "complete" if log.complete else "not complete: " + "; ".join(re.sub(r"^.*?: ", "", p) for p in log.problems)
    text = (
        f"The log holds {sum(log.topics.values())} messages and is {html.escape(state)}. Fly it again, and check that the "
        f"flight software answers bit for bit as recorded{'' if log.complete else ', as far as the log goes'}:"
    )
    return Section("facts", "This run", text, html=f"<pre>{html.escape(chr(10).join(commands(ctx)))}</pre>" + "".join(parts))


# ---- topics without a section of their own ------------------------------------------------------------------------------


def generic(ctx: Context) -> list[Section]:
    """Numeric fields of every topic that no other section used, as folded sections; as many lines as the page can bear."""
    out, lines = [], 0
    left = []
    for topic in ctx.signals.rest():
        data = ctx.signals.read(topic)
        if data is None or len(data) < 2 or lines >= _GENERIC_LINES:
            left.append(topic)
            continue
        rows = generic_rows(data)
        lines += sum(len(r.lines) for r in rows)
        if rows:
            ident = "topic" + re.sub(r"\W+", "-", topic)
            kind = ctx.signals.log.channel(topic).metadata.get("type", "")
            out.append(
                Section(
                    ident,
                    topic,
                    f"{len(data)} messages of type {html.escape(kind or 'unknown')}.",
                    [time_figure(rows, [], ctx.span)],
                )
            )
    if left:
        out.append(
            Section(
                "topics-left",
                "Topics not drawn",
                "Too few messages, or beyond what a page can bear; `flightsw log export` has them: "
                + html.escape(", ".join(left))
                + ".",
            )
        )
    return out


def generic_rows(data: Array) -> list[Row]:
    """A row for each numeric field of a topic, padding and time stamps left out."""
    rows: list[Row] = []
    s = stride(len(data), 20 * _GENERIC_POINTS)
    t = seconds(data)[s]
    for name in (data.dtype.names or ())[2:]:
        values = data[name][s]
        if name.startswith("pad") or re.fullmatch(r"t(_\w+)?_ns", name) or values.dtype.kind not in "iuf":
            continue
        columns = values.reshape(len(values), -1)[:, :9]
        live = [k for k in range(columns.shape[1]) if columns.shape[1] == 1 or np.any(columns[:, k] != 0)]
        labels = [f"{name}[{k}]" if columns.shape[1] > 1 else name for k in range(columns.shape[1])]
        drawn = [Line(labels[k], t, columns[:, k], PALETTE[k], steps=values.dtype.kind != "f") for k in live]
        if drawn and len(rows) < _GENERIC_ROWS:
            rows.append(Row(name, drawn, 84, most=_GENERIC_POINTS))
    return rows
