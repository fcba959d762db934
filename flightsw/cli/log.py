"""flightsw log: look into a log, export it, mend it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flightsw.log import Log


@click.group("log")
def command() -> None:
    """Look into a log, export it, mend it."""


def _info(log: Log) -> dict[str, Any]:
    topics = []
    for name, count in log.topics.items():
        channel = log.channel(name)
        try:
            records = log.records(name)
            times = records.times()
            span, size = (int(times[-1] - times[0]) if count else 0), int(count) * records.length
        except Exception:  # a topic of another program: counted, not measured
            span, size = 0, 0
        topics.append({"topic": name, "type": channel.metadata.get("type", ""), "messages": count, "bytes": size,
                       "rate_hz": (count - 1) * 1e9 / span if span else 0.0, "every": channel.metadata.get("every", "1")})
    frames = [s.tick for s, _ in log.keyframes()]
    hidden = ("log", "log_end")
    return {"path": str(log.path), "bytes": log.size_bytes, "complete": log.complete, "problems": log.problems,
            "duration_s": log.duration_ns * 1e-9, "base_tick_ns": log.base_tick_ns, "chunks": log.n_chunks,
            "messages": sum(log.topics.values()), "topics": topics,
            "keyframe_ticks": frames,
            "metadata": {k: v for k, v in log.metadata.items() if k not in hidden},
            "attachments": {k: len(v) for k, v in log.attachments.items()}}


def _print_info(info: dict[str, Any]) -> None:
    whole = "complete" if info["complete"] else "not complete"
    click.echo(f"{info['path']}: {whole}, {info['duration_s']:.3f} s, {info['messages']} messages, "
               f"{info['bytes'] / 1e6:.1f} MB, {info['chunks']} chunks, {len(info['keyframe_ticks'])} keyframes")
    for problem in info["problems"]:
        click.echo(f"  {problem}")
    if info["topics"]:
        width = max(len(t["topic"]) for t in info["topics"])
        click.echo(f"\n{'topic':{width}}  {'messages':>9}  {'rate/Hz':>8}  {'MB':>7}  type")
        for t in info["topics"]:
            click.echo(f"{t['topic']:{width}}  {t['messages']:>9}  {t['rate_hz']:>8.1f}  {t['bytes'] / 1e6:>7.2f}  {t['type']}")
    for name, values in info["metadata"].items():
        click.echo(f"\n{name}")
        for key, value in values.items():
            text = value if len(value) <= 100 else value[:97] + "..."
            click.echo(f"  {key} = {text}")
    if info["attachments"]:
        click.echo("\nattachments")
        for name, size in info["attachments"].items():
            click.echo(f"  {name} ({size} bytes)")


@command.command("info")
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def info_command(log: Path, as_json: bool) -> None:
    """Say what LOG holds: topics, rates, how it was made, and what is missing or damaged.

    LOG is a log file or a run directory, for example runs/latest.
    """
    from flightsw.log import Log

    info = _info(Log.open(log))
    if as_json:
        click.echo(json.dumps(info, indent=1))
    else:
        _print_info(info)


@command.command("export")
@click.argument("log", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--topic", "topics", multiple=True, help="Only this topic (may be given several times).")
@click.option("--format", "kind", type=click.Choice(["csv", "parquet", "npz"]), default="csv", show_default=True,
              help="csv: a text file per topic whose numbers read back exactly; parquet: a file per topic, bit for bit (needs "
              "pyarrow); npz: one file of numpy arrays.")
@click.option("--json", "as_json", is_flag=True, help="Print the files written as JSON.")
def export_command(log: Path, folder: Path, topics: tuple[str, ...], kind: str, as_json: bool) -> None:
    """Write topics of LOG into FOLDER."""
    from flightsw.log import Log
    from flightsw.log.export import export

    opened = Log.open(log)
    _warn(opened)
    paths = export(opened, folder, kind, topics)
    click.echo(json.dumps({"files": [str(p) for p in paths]}) if as_json else "\n".join(map(str, paths)))


@command.command("repair")
@click.argument("log", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def repair_command(log: Path, target: Path, as_json: bool) -> None:
    """Write all that is sound in LOG to the new file TARGET, with an index, so that every reader opens it.

    LOG is only read. Exit status 0: nothing that was recorded is missing; 1: TARGET is a part.
    """
    from flightsw.log import Log, repair

    opened = Log.open(log)
    _warn(opened)
    whole = repair(opened, target)
    mended = Log.open(target)
    messages = sum(mended.topics.values())
    if as_json:
        click.echo(json.dumps({"path": str(target), "whole": whole, "messages": messages, "problems": opened.problems}))
    else:
        click.echo(f"{target}: {messages} messages, {'nothing missing' if whole else 'a part of what was recorded'}")
    sys.exit(0 if whole else 1)


def _warn(log: Log) -> None:
    for problem in log.problems:
        click.echo(problem, err=True)
