"""flightsw board sniff: the frames on a line, decoded."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import click

from flightsw.cli import OK

_COUNTERS = ("frames", "truncated", "overlong", "unsynced_bytes")


@click.command(name="sniff")
@click.argument("port")
@click.option("--baud", type=click.IntRange(300, 12_000_000), default=115_200, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.0), help="End after so long; without it, when interrupted or unplugged.")
@click.option("--count", type=click.IntRange(1), help="End after so many frames.")
@click.option("--quiet", "-q", is_flag=True, help="Only the counters at the end.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout: one line per frame, and one of counters.")
def sniff(port: str, baud: int, seconds: float | None, count: int | None, quiet: bool, as_json: bool) -> int:
    """Show what arrives at PORT, frame by frame, and count what is damaged. Nothing is ever sent.

    To listen to a bench and its board, join the receiving wire of a second adapter to the line. Tokens and proofs are not shown.
    """
    from hil.link.protocol import LinkError
    from hil.link.serial_port import line

    began, seen, damaged = time.monotonic(), 0, 0
    tap = line(port, baud)
    try:
        with contextlib.suppress(KeyboardInterrupt, LinkError):
            while (seconds is None or time.monotonic() - began < seconds) and (count is None or seen < count):
                for raw in tap.receive(0.05):
                    damaged += not _show(raw, time.monotonic() - began, quiet, as_json)
                    seen += 1
    finally:
        tap.close()
    counters = {name: int(getattr(tap.decoder.c, name)) for name in _COUNTERS} | {"damaged": damaged, "bytes": tap.received_bytes}
    click.echo(json.dumps({"counters": counters}) if as_json else ", ".join(f"{k} {v}" for k, v in counters.items()))
    return OK


def _show(raw: bytes, at_s: float, quiet: bool, as_json: bool) -> bool:
    """Print a frame; False when it is damaged."""
    from hil.link.probe import told

    said = told(raw)
    if not quiet:
        if as_json:
            click.echo(json.dumps({"at_s": round(at_s, 6), **(said or {"type": "damaged", "bytes": len(raw)})}))
        else:
            click.echo(f"{at_s:10.4f} s  {_words(said) if said is not None else f'damaged, {len(raw)} bytes'}")
    return said is not None


def _words(said: dict[str, Any]) -> str:
    text = f"{said['type']:<10} {said['src']:>3} > {said['dst']:<3} sequence {said['sequence']:<8} tick {said['tick']:<9} {said['bytes']} bytes"
    return text + (f"  {said['says']}" if "says" in said else "")
