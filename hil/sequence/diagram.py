"""The state diagram of a sequence as SVG: a column of steps with what they energise, ways out to the right, what is compared below.

Drawn by hand: one column needs no layout program. Colours follow the reader's light or dark setting.
"""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass, field

from hil.report.figures import BLUE, CYAN, GRAY, GREEN, ORANGE, PURPLE, RED
from hil.sequence.load import Row, Sequence
from hil.sequence.model import BUILT_IN, CLOSING, PREPARATION, START

_LEFT, _BOX, _LANE, _WIDTH = 150, 440, 176, 980   # left edge of the steps, their width, room for the ways out, width of all
_RIGHT, _MIDDLE = _LEFT + _BOX, _LEFT + _BOX // 2
_CHIPS = {"chill": "CHILL", "igniter": "IGNITER", "oxidiser": "OXIDISER", "fuel": "FUEL", "purge": "PURGE"}
_COLORS = {**dict.fromkeys(PREPARATION, BLUE), **dict.fromkeys(START, ORANGE), "main": GREEN, "shutdown": PURPLE, "after": CYAN}
_ROLE = {"check": "preparation: check", "purge": "preparation: purge", "chill": "preparation: chill", "igniter": "start: igniter",
         "lead": "start: lead", "rise": "start: rise", "main": "main stage", "shutdown": "shutdown", "after": "after a shutdown"}
_STYLE = f"""
  svg {{ --paper: #ffffff; --card: #f7f8fa; --ink: #1d2329; --soft: #66707b; --line: #c9cfd6; --bad: {RED}; }}
  @media (prefers-color-scheme: dark) {{
    svg {{ --paper: #14181d; --card: #1d2329; --ink: #e8ebee; --soft: #9aa4af; --line: #3a434d; --bad: #ea6a66; }}
  }}
  text {{ font: 12px system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: var(--ink); }}
  .title {{ font-size: 19px; font-weight: 650; }}
  .name {{ font-size: 15px; font-weight: 650; }}
  .soft {{ fill: var(--soft); }}
  .head {{ font-weight: 650; }}
  .small {{ font-size: 11px; }}
  .chip {{ font-size: 10px; font-weight: 650; letter-spacing: .04em; text-anchor: middle; }}
  .bad {{ fill: var(--bad); }}
  .way {{ fill: none; stroke: var(--soft); stroke-width: 1.6; }}
  .wrong {{ fill: none; stroke: var(--bad); stroke-width: 1.4; }}
  .back {{ fill: none; stroke: var(--soft); stroke-width: 1.3; stroke-dasharray: 5 4; }}
"""


@dataclass
class _Page:
    """Elements so far, and how far down they reach."""

    parts: list[str] = field(default_factory=list)
    y: float = 0.0

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "") -> None:
        """One line of text; (x, y) is its base line."""
        style = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
        self.parts.append(f'<text x="{x:g}" y="{y:g}"{style}>{html.escape(words)}</text>')

    def path(self, d: str, kind: str, head: str = "") -> None:
        """A line, with an arrow head at its end."""
        marker = f' marker-end="url(#{head})"' if head else ""
        self.parts.append(f'<path d="{d}" class="{kind}"{marker}/>')

    def box(self, at: tuple[float, float], size: tuple[float, float], style: str, round_: float = 8) -> None:
        """A rectangle with round corners."""
        self.parts.append(f'<rect x="{at[0]:g}" y="{at[1]:g}" width="{size[0]:g}" height="{size[1]:g}" rx="{round_:g}" {style}/>')

    def pill(self, x: float, y: float, words: str) -> None:
        """A built-in state: everything closed. (x, y): its centre."""
        width = 18 + 9 * len(words)
        self.box((x - width / 2, y - 14), (width, 28), f'fill="var(--card)" stroke="{GRAY}" stroke-width="1.6"', 14)
        self.text(x, y + 4, words, "head", "middle")


@dataclass(frozen=True)
class _Place:
    """Where a step is drawn."""

    row: Row
    top: float
    bottom: float

    @property
    def middle(self) -> float:
        """Height at which ways leave and arrive at its sides."""
        return (self.top + self.bottom) / 2


def diagram(sequence: Sequence) -> str:
    """SVG text of the state diagram."""
    page = _Page()
    about = sequence.file.sequence
    page.text(28, 38, about.title or about.name, "title")
    page.text(28, 58, f"{about.name}, steps of {about.step_s:g} s; lead: {sequence.file.engine.lead}", "soft")
    off = 96.0
    page.pill(_MIDDLE, off, "OFF")
    page.y = off + 14
    places = _steps(page, sequence)
    safed = page.y + 54
    _ways(page, sequence, places, safed)
    page.pill(_MIDDLE, safed, "SAFED")
    _wrong_ways(page, sequence, places, off, safed)
    _loop(page, sequence, places, safed)
    page.y = safed + 44
    _legend(page, sequence)
    return _whole(page, sequence)


def _whole(page: _Page, sequence: Sequence) -> str:
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse">'
        f'<path d="M0 1 L9 5 L0 9 z" fill="{color}"/></marker>' for name, color in (("go", "var(--soft)"), ("stop", "var(--bad)")))
    height = page.y + 10
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" width="{_WIDTH}" height="{height:g}" role="img" '
            f'aria-label="State diagram of the engine sequence {html.escape(sequence.name)}"><style>{_STYLE}</style><defs>{heads}</defs>\n'
            f'<rect width="{_WIDTH}" height="{height:g}" fill="var(--paper)"/>\n' + "\n".join(page.parts) + "\n</svg>\n")


# ---- steps ---------------------------------------------------------------------------------------------------------------


def _details(row: Row) -> list[tuple[str, str]]:
    """Lines in a step's box: (what, which)."""
    s = row.step
    out = []
    if s.pulsed:
        out.append(("rests", f"{', '.join(s.pulsed)} while {' and '.join(s.rest_if)}"))
    if s.keep:
        out.append(("keep", ", ".join(s.keep)))
    if s.redlines:
        out.append(("redlines", ", ".join(s.redlines)))
    if s.gate_s is not None:
        out.append(("gate", f"{' or '.join(s.gate)} at {s.gate_s:g} s after the start command"))
    return [(k if i == 0 else "", line) for k, words in out for i, line in enumerate(textwrap.wrap(words, 60))]


def _steps(page: _Page, sequence: Sequence) -> list[_Place]:
    places = []
    entered = {k: r.step.enter_if for k, r in enumerate(sequence.rows)}
    labels = [_label(sequence, k) for k in range(len(sequence.rows))]
    first = ["wanted" + (f" and {', '.join(entered[0])}" if entered[0] else "")]
    for k, row in enumerate(sequence.rows):
        above = first if k == 0 else labels[k - 1]
        top = page.y + 22 + 14 * max(len(above), 1)
        bottom = top + 62 + 16 * len(_details(row))
        _box(page, row, top, bottom)
        places.append(_Place(row, top, bottom))
        page.y = bottom
    page.path(f"M{_MIDDLE} 110 V{places[0].top - 1:g}", "way", "go")
    _lines(page, _MIDDLE + 10, (110 + places[0].top) / 2, first)
    return places


def _box(page: _Page, row: Row, top: float, bottom: float) -> None:
    s = row.step
    color = _COLORS[s.role]
    page.box((_LEFT, top), (_BOX, bottom - top), 'fill="var(--card)" stroke="var(--line)"')
    page.parts.append(f'<path d="M{_LEFT + 8} {top:g} h-2 a6 6 0 0 0 -6 6 V{bottom - 6:g} a6 6 0 0 0 6 6 h2 z" fill="{color}"/>')
    page.text(_LEFT + 20, top + 22, s.name, "name")
    page.text(_RIGHT - 14, top + 21, _ROLE[s.role] + (", holds" if s.hold else ""), "soft", "end")
    x = float(_LEFT + 20)
    for valve, word in _CHIPS.items():
        width = 16 + 7 * len(word)
        on, pulsed = valve in s.energise, valve in s.pulsed
        style = f'fill="{color}" stroke="{color}"' if on and not pulsed else f'fill="{color}" fill-opacity=".25" stroke="{color}" ' \
            'stroke-width="1.5" stroke-dasharray="4 3"' if on else 'fill="none" stroke="var(--line)"'
        page.box((x, top + 32), (width, 18), style, 9)
        ink = ' style="fill:#fff"' if on and not pulsed else "" if on else ' style="fill:var(--soft);opacity:.55"'
        page.parts.append(f'<text x="{x + width / 2:g}" y="{top + 44.5:g}" class="chip"{ink}>{word}</text>')
        x += width + 6
    for i, (what, words) in enumerate(_details(row)):
        page.text(_LEFT + 20, top + 67 + 16 * i, what, "soft small")
        page.text(_LEFT + 74, top + 67 + 16 * i, words, "small")


def _lines(page: _Page, x: float, middle: float, lines: list[str], kind: str = "small") -> None:
    for i, words in enumerate(lines):
        page.text(x, middle + 4 + 14 * (i - (len(lines) - 1) / 2), words, kind)


def _label(sequence: Sequence, k: int) -> list[str]:
    """What is needed to go on from a step."""
    row = sequence.rows[k]
    s = row.step
    if s.role == "main":
        return ["no longer to run"]
    needs = list(s.leave_if)
    following = next((r.step for r in sequence.rows if r.step.name == row.next), None)
    needs += [n for n in (following.enter_if if following is not None else []) if n not in needs]
    words = ("RUN, with " if s.hold else "") + ", ".join(needs) if needs else "RUN" if s.hold else ""
    if row.min_s and not s.hold:
        words = f"{words}, after {row.min_s:g} s" if words else f"after {row.min_s:g} s"
    return textwrap.wrap(words, 56) or ["at once"]


# ---- ways ----------------------------------------------------------------------------------------------------------------


def _ways(page: _Page, sequence: Sequence, places: list[_Place], safed: float) -> None:
    """Where each step leads when its conditions hold: down, or round what is left out."""
    at = {p.row.step.name: p for p in places}
    around = 0
    for k, p in enumerate(places):
        target = p.row.next
        following = places[k + 1].row.step.name if k + 1 < len(places) else "safed"
        below = safed - 15 if target == "safed" else at[target].top - 1
        if target == following:
            page.path(f"M{_MIDDLE} {p.bottom:g} V{below:g}", "way", "go")
            _lines(page, _MIDDLE + 10, (p.bottom + below) / 2 - 2, _label(sequence, k))
            continue
        around += 1
        x = _LEFT - 14 - 14 * around
        end = f"V{safed:g} H{_MIDDLE - 33}" if target == "safed" else f"V{at[target].middle:g} H{_LEFT - 1}"
        page.path(f"M{_LEFT} {p.middle:g} H{x} {end}", "way", "go")
        _lines(page, 12, p.middle - 16, textwrap.wrap(" ".join(_label(sequence, k)), 20))


def _causes(row: Row) -> str:
    """Why a step is left along its abort path, in few words."""
    s = row.step
    words = [f"> {row.max_s:g} s"] if row.max_s is not None and (s.leave_if or s.role not in PREPARATION) and row.max_s > row.min_s else []
    words += ["too long"] if s.role == "rise" else []
    words += ["no sign"] if s.gate else []
    words += ["lost"] if s.keep else []
    words += ["redline"] if s.redlines else []
    return ", ".join(words if s.role == "main" else [*words, "fire"])


def _wrong_ways(page: _Page, sequence: Sequence, places: list[_Place], off: float, safed: float) -> None:
    """Abort paths, to the right: one lane for each place where they end."""
    at = {p.row.step.name: p for p in places}
    leaving = [p for p in places if p.row.step.role not in CLOSING]
    targets = list(dict.fromkeys(p.row.abort for p in leaving))
    for p in leaving:
        x = _RIGHT + _LANE + 26 * targets.index(p.row.abort)
        page.path(f"M{_RIGHT} {p.middle:g} H{x}", "wrong")
        page.text(_RIGHT + 10, p.middle - 6, _causes(p.row), "small bad")
    for k, target in enumerate(targets):
        x = _RIGHT + _LANE + 26 * k
        first, last = min(_middles(leaving, target)), max(_middles(leaving, target))
        if target == "inhibited":
            page.path(f"M{x} {first:g} V{last:g}", "wrong")
            y = (first + last) / 2
            page.path(f"M{x} {y:g} H{_RIGHT + _LANE + 44}", "wrong", "stop")
            _inhibited(page, sequence, y, off)
        elif target == "safed":
            page.path(f"M{x} {first:g} V{safed:g} H{_MIDDLE + 33}", "wrong", "stop")
        else:
            page.path(f"M{x} {first:g} V{at[target].middle:g} H{_RIGHT + 2}", "wrong", "stop")


def _middles(places: list[_Place], target: str) -> list[float]:
    return [p.middle for p in places if p.row.abort == target]


def _inhibited(page: _Page, sequence: Sequence, y: float, off: float) -> None:
    x = _RIGHT + _LANE + 100
    page.pill(x, y, "INHIBITED")
    page.path(f"M{x} {y - 15:g} V{off:g} H{_MIDDLE + 24}", "back", "go")
    limits = sequence.file.limits
    words = f"{limits.recover_s:g} s of {', '.join(limits.recover_needs)}, if its cause can pass"
    _lines(page, _RIGHT + 14, off + 26, textwrap.wrap(words, 40), "small soft")


def _loop(page: _Page, sequence: Sequence, places: list[_Place], safed: float) -> None:
    """From SAFED to a further start."""
    limits = sequence.file.limits
    x = 44
    page.path(f"M{_MIDDLE - 33} {safed:g} H{x} V{places[0].middle:g} H{_LEFT - 1}", "back", "go")
    words = f"wanted again, after {limits.rearm_s:g} s; {limits.starts} start{'s' if limits.starts > 1 else ''} in all"
    _lines(page, x + 10, safed - 34, textwrap.wrap(words, 26), "small soft")


# ---- legend --------------------------------------------------------------------------------------------------------------


def _legend(page: _Page, sequence: Sequence) -> None:
    limits, engine = sequence.file.limits, sequence.file.engine
    top = page.y
    page.path(f"M28 {top:g} H{_WIDTH - 28}", "way")
    left = [(c.name, f"{c} for {c.samples * sequence.step_s:g} s" + (f", let go at {c.release:g}" if c.release != c.value else ""), c.redline)
            for c in sequence.comparisons]
    named = {n for r in sequence.rows for n in (*r.step.enter_if, *r.step.leave_if, *r.step.keep, *r.step.redlines, *r.step.gate,
                                                *r.step.rest_if)} | set(limits.recover_needs)
    left += [(name, text, name == "flame_out") for name, (_, text) in BUILT_IN.items() if name in named]
    page.text(28, top + 26, "Conditions and redlines", "head")
    for i, (name, words, redline) in enumerate(left):
        page.text(28, top + 46 + 17 * i, name, "small bad" if redline else "small")
        page.text(150, top + 46 + 17 * i, words, "small soft")
    right = [
        f"start command to lit: at most {limits.start_max_s:g} s",
        f"igniter on: at most {limits.igniter_s:g} s per start",
        f"unburnt propellant: at most {limits.unburnt_kg:g} kg, {sequence.unburnt_s:g} s at {limits.unlit_flow_kg_s:g} kg/s",
        f"purge before propellant: at least {engine.purge_min_s:g} s in one go",
        *([f"when a start begins: {', '.join(engine.cold)}"] if engine.cold else []),
        "an abort closes everything from every state, at once",
        "preparation no longer wanted: OFF; a start: shutdown",
    ]
    x = _RIGHT - 20
    page.text(x, top + 26, "Limits", "head")
    for i, words in enumerate(right):
        page.text(x, top + 46 + 17 * i, words, "small soft")
    page.y = top + 46 + 17 * max(len(left), len(right))
