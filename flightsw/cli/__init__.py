"""The command `flightsw`: one file per command, imported when it is used, and one place that turns errors into exit codes.

Exit codes: 0 expectation met, 1 not met, 2 usage or configuration, 3 internal error, 4 bench unavailable, 130 interrupted.
Results go to stdout, progress and messages to stderr.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import click

OK, NOT_MET, USAGE, INTERNAL, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130

# name: (module in this package, help line shown without importing it)
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "Fly one bench to its verdict."),
    "replay": ("replay", "Re-execute a log and compare every write."),
    "diff": ("diff", "Compare two logs."),
    "campaign": ("campaign", "Fly one bench with many seeds."),
    "report": ("report", "Write the report of a run again."),
    "log": ("log", "Look into, export or repair a log."),
    "schedule": ("schedule", "The schedule table, its timeline, its load, who waits for whom."),
    "sequence": ("sequence", "Check an engine's start and shutdown sequence, exhaustively, and draw it."),
    "nav": ("nav", "The navigation filter alone on recorded data; Monte Carlo of its honesty."),
    "board": ("board", "Serve boards to a bench."),
    "doctor": ("doctor", "What this computer grants for real time and boards, and how to mend it."),
}


class _Unheard(Exception):
    """Nobody reads stdout any more."""


class LazyGroup(click.Group):
    """Knows its commands by name; imports a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"flightsw.cli.{COMMANDS[cmd_name][0]}")
        found: Any = getattr(module, "command", None) or getattr(module, cmd_name, None)
        if not isinstance(found, click.Command):
            raise TypeError(f"flightsw.cli.{COMMANDS[cmd_name][0]} defines no click command named `command`")
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a mistyped name."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.list_commands(ctx):
            import difflib

            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1, cutoff=0.6)
            hint = f', did you mean "{near[0]}"?' if near else f"; commands: {', '.join(self.list_commands(ctx))}"
            raise click.UsageError(f'there is no command "{name}"{hint}', ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does; it would turn a closed pipe into exit code 1, which means something else here."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _Unheard from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help lines from the table: no command is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


class Settings:
    """What the options of the group say. verbosity: -1 quiet, 0, 1 or more; color: may colours be used."""

    def __init__(self, verbosity: int = 0, color: bool = True) -> None:
        self.verbosity, self.color = verbosity, color


def settings() -> Settings:
    """Settings of the command that runs."""
    context = click.get_current_context(silent=True)
    found = context.find_object(Settings) if context is not None else None
    return found or Settings()


def say(text: str, level: int = 0) -> None:
    """A message for people, on stderr. level: -1 always, 0 unless quiet, 1 with -v."""
    if settings().verbosity >= level:
        click.echo(text, err=True)


def console(stderr: bool = False) -> Any:
    """rich Console that respects --no-color and plain files."""
    from rich.console import Console

    plain = not settings().color
    return Console(stderr=stderr, no_color=plain or None, highlight=False, soft_wrap=True)


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import flightsw

        click.echo(f"flightsw {flightsw.__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-v", "--verbose", count=True, help="Say more on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors on stderr.")
@click.option("--no-color", is_flag=True, help="No colours (NO_COLOR in the environment does the same).")
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version,
              help="Print the version and end.")
@click.pass_context
def cli(ctx: click.Context, verbose: int, quiet: bool, no_color: bool) -> None:
    """Flight software and hardware-in-the-loop bench for reusable rockets."""
    ctx.obj = Settings(-1 if quiet else verbose, not (no_color or os.environ.get("NO_COLOR")))


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def write_traceback(exc: BaseException) -> Path | None:
    """Traceback of an exception in a file: in the run directory, if there is one, else among temporary files."""
    text = "".join(traceback.format_exception(exc))
    folder = getattr(exc, "run_dir", None)
    try:
        if folder is not None:
            path = Path(folder) / "traceback.txt"
            path.write_text(text, "utf-8")
            return path
        handle, name = tempfile.mkstemp(prefix="flightsw-", suffix="-traceback.txt")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        return Path(name)
    except OSError:
        return None


def _unexpected(exc: BaseException) -> int:
    first = (str(exc).splitlines() or [""])[0]
    click.echo(f"flightsw: internal error: {type(exc).__name__}: {first}", err=True)
    path = write_traceback(exc)
    if path is not None:
        click.echo(f"flightsw: details are in {path}", err=True)
    return INTERNAL


def _known(exc: Exception) -> int:
    for line in str(exc).splitlines() or [type(exc).__name__]:
        click.echo(f"flightsw: {line}", err=True)
    if exc.__cause__ is not None:
        path = write_traceback(exc)
        if path is not None:
            click.echo(f"flightsw: details are in {path}", err=True)
    return int(getattr(exc, "exit_code", INTERNAL))


def _unheard() -> int:
    """Whoever read stdout has seen enough. Keeps the interpreter from complaining at exit; the code is that of SIGPIPE."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13


def run_cli(args: list[str] | None = None) -> int:
    """Run a command line and return its exit code. No exception comes out of it."""
    from flightsw.errors import FlightswError

    try:
        result = cli.main(args, prog_name="flightsw", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else OK
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        exc.show()
        return USAGE
    except (KeyboardInterrupt, click.Abort) as exc:
        folder = getattr(exc, "run_dir", None) or getattr(exc.__context__, "run_dir", None)
        click.echo("flightsw: interrupted" + (f"; what there is lies in {folder}" if folder else ""), err=True)
        return INTERRUPTED
    except (BrokenPipeError, _Unheard):
        return _unheard()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else OK if exc.code is None else INTERNAL
    except FlightswError as exc:
        return _known(exc)
    except Exception as exc:
        return _unexpected(exc)


def main() -> None:
    """Entry point of the program."""
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(run_cli())
