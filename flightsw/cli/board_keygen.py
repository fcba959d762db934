"""flightsw board keygen."""

from __future__ import annotations

from pathlib import Path

import click

from flightsw.cli import OK


@click.command(name="keygen")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--link", metavar="NAME", help="Instead: keys of one party of a link to another computer, "
              "NAME.key and NAME.pub in the folder PATH.")
def keygen(path: Path | None, link: str | None) -> int:
    """Make a bench's own key, in a new file that only you can read (PATH; else in your configuration).

    A LIVE board gets the same key when it is built or set up. It is never shown, and a file that
    is there is never written over.

    With --link: a pair of CURVE keys. NAME.key stays where it is, NAME.pub goes to the other party.
    """
    if link is not None:
        from hil.link.curve import make_keys

        for made in make_keys(path or Path(), link):
            click.echo(str(made))
        return OK
    from hil.link.live import default_key_file, make_key

    path = path or default_key_file()
    make_key(path)
    click.echo(str(path))
    return OK
