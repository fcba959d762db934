"""The documentation is true: links resolve, commands and options exist, pages made by a script are current, snippets run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest

from flightsw.cli import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(p.relative_to(ROOT)) for p in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"(?<!`)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^|(?<=[\s/]))flightsw ((?:-{1,2}[a-z][\w-]* )*[a-z][a-z_-]*(?:[^\n`]*))", re.M)


def prose(text: str) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", text)


def slug(heading: str) -> str:
    """Anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(h) for h in re.findall(r"^#{1,6} (.*)$", prose(page.read_text("utf-8")), re.M)}


def marked(page: Path, mark: str, language: str) -> list[str]:
    """Code blocks with `<!-- mark -->` on the line before."""
    return re.findall(rf"^<!-- {mark} -->\n```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_resolve(name: str) -> None:
    page = ROOT / name
    broken = []
    for target in LINK.findall(prose(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            broken.append(target)
    assert not broken


def commands(text: str) -> list[str]:
    """Everything that a page says after the word `flightsw` as a command: in code blocks for a shell, and in `inline code`."""
    blocks = [body for language, body in FENCE.findall(text) if language in ("sh", "bash")]
    inline = re.findall(r"`([^`\n]+)`", prose(text)) + re.findall(r"^#+ (flightsw .*)$", prose(text), re.M)
    lines = [line.split("#")[0] for part in [*blocks, *inline] for line in part.splitlines()]
    return [m for line in lines for m in COMMAND.findall(line)]


def wrong(said: str) -> str | None:
    """What does not exist in a command line, or None."""
    command: click.Command = cli
    context = click.Context(cli, info_name="flightsw")
    options = known(command, context)
    for word in said.split():
        if isinstance(command, click.Group) and not word.startswith("-"):
            if not re.fullmatch(r"[a-z][a-z_-]*", word):
                return None  # a placeholder such as COMMAND
            found = command.get_command(context, word)
            if found is None:
                return f"no command {word}"
            command, context = found, click.Context(found, parent=context, info_name=word)
            options |= known(command, context)
        elif re.match(r"--?[a-zA-Z]", word) and word.split("=")[0].rstrip(",;.)") not in options:
            return f"no option {word}"
    return None


def known(command: click.Command, context: click.Context) -> set[str]:
    return {o for p in command.get_params(context) if isinstance(p, click.Option) for o in [*p.opts, *p.secondary_opts]}


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_options_exist(name: str) -> None:
    said = commands((ROOT / name).read_text("utf-8"))
    assert not [(s, wrong(s)) for s in said if wrong(s)]


def test_the_check_of_commands_sees_what_is_wrong() -> None:
    text = "`flightsw fly x`\n```sh\n.venv/bin/flightsw run a.toml --loud   # not there\n.venv/bin/flightsw log eat x\n```\n"
    assert [wrong(s) for s in commands(text)] == ["no option --loud", "no command eat", "no command fly"]


def test_options_of_the_command_page_are_those_of_the_program() -> None:
    """Every option of every command stands in its section of docs/cli.md, and none stands there that is not one."""
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    sections = dict(re.findall(r"^## flightsw (\w+)[^\n]*\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    context = click.Context(cli, info_name="flightsw")
    assert sorted(sections) == sorted(cli.list_commands(context))
    for name, section in sections.items():
        command = cli.get_command(context, name)
        assert command is not None
        parts = [command]
        if isinstance(command, click.Group):
            parts = [part for n in command.list_commands(context) if (part := command.get_command(context, n)) is not None]
        options = set().union(*(known(c, context) for c in parts)) - {"-h", "--help"}
        told = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", section))
        missing = options - told - {"--log"}  # the default of --no-log
        assert not missing, (name, missing)
        assert told <= options | {"-h", "--help"}, (name, told - options)


def test_the_task_reference_is_current() -> None:
    from flightsw.task_reference import reference

    page = (ROOT / "docs" / "reference" / "tasks.md").read_text("utf-8")
    assert page == reference(), "write it again: python -m flightsw.task_reference > docs/reference/tasks.md"


def test_the_fault_page_has_what_is_implemented() -> None:
    from hil.faults import IMPLEMENTED, PHASES, TARGETS

    page = (ROOT / "docs" / "reference" / "faults.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| 0 to [^|]*\| (.*) \|$", page, re.M)
    table = {kind: re.findall(r"`(\w+)`", types) for kind, types in rows}
    assert table == {kind: list(types) for kind, types in IMPLEMENTED.items()} and set(table) == set(TARGETS)
    effects: dict[str, list[str]] = {}
    kind = ""
    for first, name in re.findall(r"^\| (?:`(\w+)`)? ?\| `(\w+)` \| [^|]+ \| [^|]+ \|[^|]*\|$", page, re.M):
        kind = first or kind
        effects.setdefault(kind, []).append(name)
    assert {k: set(v) for k, v in effects.items()} == {k: set(v) for k, v in IMPLEMENTED.items()}
    assert all(f"`{p}`" in page for p in PHASES)


def test_the_bench_page_has_every_key() -> None:
    from hil import config

    page = (ROOT / "docs" / "bench-files.md").read_text("utf-8")
    for model in (config.BenchSection, config.RealTimeSection, config.Stop, config.Strings, config.Upset, config.Plugin, config.Node,
                  config.Task, config.Link, config.Disperse,
                  config.Fault, config.At, config.Criterion, config.Condition, config.Remote, config.Recording,
                  config.RecordedField, config.RecordedPosition, config.RecordedRows):
        keys = [f.alias or name for name, f in model.model_fields.items()]
        both = page + (ROOT / "docs" / "reference" / "faults.md").read_text("utf-8")
        assert not [k for k in keys if not re.search(rf"`{k}[`.]|\b{k} = ", both)], model.__name__


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the project to a snippet, and into which it may write."""
    for name in ("bench_configs", "examples"):
        (tmp_path / name).symlink_to(ROOT / name, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [n for n in NAMES if marked(ROOT / n, "run", "python")])
def test_snippets_run(name: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {"__name__": "snippet"}
    for number, code in enumerate(marked(ROOT / name, "run", "python"), 1):
        exec(compile(code, f"{name}, snippet {number}", "exec"), namespace)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", [n for n in NAMES if marked(ROOT / n, "bench", "toml")])
def test_bench_examples_fly(name: str, tmp_path: Path) -> None:
    from hil import Bench

    for code in marked(ROOT / name, "bench", "toml"):
        path = tmp_path / "own.toml"
        path.write_text(code, "utf-8")
        with Bench.load(path).start() as flight:
            flight.run()
            assert flight.verdict().met
