"""flightsw board list: serial ports, who answers there, and what to write into a bench file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from flightsw.cli import OK


@click.command(name="list")
@click.argument("more", nargs=-1, type=click.Path(path_type=Path), metavar="[PORT]...")
@click.option("--baud", type=click.IntRange(300, 12_000_000), default=115_200, show_default=True)
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.05, 60.0), default=1.0, show_default=True,
              help="Wait so long for an answer, s.")
@click.option("--probe/--no-probe", default=True, help="Ask who is there, with one HELLO that begins no session.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def list_(more: tuple[Path, ...], baud: int, timeout_s: float, probe: bool, as_json: bool) -> int:
    """Show the serial ports, who answers, and the TOML lines to paste.

    PORT: further ports that the system does not list, such as pseudo-terminals. Ports that are in
    use are shown with who uses them, and not touched.
    """
    rows = [_row(info, baud, timeout_s, probe) for info in _ports(more)]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return OK
    if not rows:
        click.echo("no serial ports")
    for row in rows:
        _print(row)
    return OK


def _ports(more: tuple[Path, ...]) -> list[Any]:
    from hil.link.ports import PortInfo, ports

    found = ports()
    known = {p.device for p in found} | {p.stable for p in found}
    return found + [PortInfo(str(p), str(p), None, "") for p in more if str(p) not in known]


def _row(info: Any, baud: int, timeout_s: float, ask: bool) -> dict[str, Any]:
    from hil import bench_lock
    from hil.link.ports import stable_name, toml_lines
    from hil.link.probe import probe

    row: dict[str, Any] = {"device": info.device, "name": info.stable, "usb": list(info.usb) if info.usb else None, "text": info.text,
                           "toml": toml_lines(info), "used": "", "answer": "", "board": None, "fits": None}
    name = stable_name(info.device)
    holder = bench_lock.running(name) or bench_lock.reserved(name)
    if holder is not None:
        row["used"] = holder.told()
    if not ask or (holder is not None and holder.pid):
        return row
    if Path(info.device).name in _consoles():
        row["answer"] = "the console of this computer: not asked"
        return row
    answer = probe(info.device, baud, timeout_s)
    if not answer.manifest:
        row["answer"] = answer.why
        return row
    board = {k: answer.manifest.get(k) for k in ("name", "role", "serial", "mode", "protocol", "messages", "sources", "capacity")}
    row |= {"board": board, "fits": answer.fits, "toml": [*row["toml"], *_board_lines(board, baud)]}
    return row


def _consoles() -> list[str]:
    """Terminals on which the kernel writes and people log in."""
    try:
        return Path("/sys/class/tty/console/active").read_text("utf-8").split()
    except OSError:
        return []


def _board_lines(board: dict[str, Any], baud: int) -> list[str]:
    out = [f"baud = {baud}"]
    if board.get("serial"):
        out.append(f"serial = {json.dumps(str(board['serial']))}")
    return [*out, "live = true"] if board.get("mode") == "LIVE" else out


def _print(row: dict[str, Any]) -> None:
    click.echo(row["device"] + (f"   {row['text']}" if row["text"] else ""))
    if row["used"]:
        click.echo(f"    {row['used']}")
    board = row["board"]
    if board is not None:
        serial = f", serial number {board['serial']}" if board["serial"] else ""
        click.echo(f"    {board['mode']} board \"{board['name']}\", role {board['role']}{serial}")
        if not row["fits"]:
            click.echo(f"    its messages ({board['messages']}) or protocol ({board['protocol']}) are not ours: a bench would be refused")
    elif row["answer"]:
        click.echo(f"    {row['answer']}")
    click.echo("    [remote.NAME]")
    for line in row["toml"]:
        click.echo(f"    {line}")
