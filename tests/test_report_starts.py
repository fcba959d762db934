"""The section "Engine starts" of the report: panels, decisions and the sentences that give their reasons, from benches that fly and from
logs made to hold a decision that benches seldom take."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hil
from flightsw._native import ffi, lib
from flightsw.log import ChannelDef, Log, LogWriter
from flightsw.messages import builtin
from hil.report import write_report
from hil.report.sections_starts import MOST_STARTS
from hil.story import CAUSES, sentence

BENCHES = Path(__file__).resolve().parents[1] / "bench_configs"
SEED = 3
MS = 1_000_000
BENCH = 'extends = "{folder}/zhuque3_landing.toml"\n[bench]\nname = "made"\ntitle = "made"\n'
DEAD_IN_IGNITER = '[[fault]]\ntarget = "engine[0]"\ntype = "off"\nat = {{ time_s = {t} }}\n'
# rows of bench_configs/sequences/tq12_class.toml and bits of sequence.h
OFF, SAFED, INHIBITED, CHECK, PURGE, CHILL, IGNITER, LEAD, RISE, MAIN, CLOSE, CLOSED, AFTER = range(13)
ROLE = (0, 9, 10, 1, 2, 3, 4, 5, 6, 7, 8, 8, 11)
LINK, FIRE, IGNITED, QUIET, LIT, SIGN, FLAME, OUT = (1 << k for k in range(8))
ALIVE, INLET, COLD, OVER = 0x100, 0x200, 0x400, 0x1000
READY, RUN, ABORT, INHIBIT, STEP = (1 << k for k in range(24, 29))
WELL = LINK | ALIVE | INLET | COLD | STEP
PREPARED = [(OFF, 5, STEP, 0), (CHECK, 4, WELL | QUIET | READY, 0), (PURGE, 50, WELL | QUIET | READY, 0), (CHILL, 50, WELL | READY, 0)]
LEADING = [*PREPARED, (IGNITER, 2, WELL | RUN, 0), (LEAD, 1, WELL | RUN | IGNITED, 0)]
RISING = [*LEADING, (RISE, 60, WELL | RUN | IGNITED, 0)]
BURNING = [*RISING, (MAIN, 100, WELL | RUN | LIT | SIGN | FLAME, 0)]


def cause(name: str) -> int:
    return int(getattr(lib, f"FSW_SEQ_CAUSE_{name}"))


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Bench file -> log and page, each flown once."""
    cache: dict[str, tuple[Log, str]] = {}

    def fly(name: str, text: str = "") -> tuple[Log, str]:
        if name not in cache:
            folder = tmp_path_factory.mktemp(name)
            path = BENCHES / f"{name}.toml"
            if text:
                path = folder / f"{name}.toml"
                path.write_text(BENCH.format(folder=BENCHES.as_posix()) + text)
            result = hil.run_bench(hil.Bench.load(path), SEED, folder, None, report=False)
            cache[name] = Log.open(result.log_path), write_report(result.log_path.parent).read_text("utf-8")
        return cache[name]

    return fly


def section(page: str) -> str:
    found = re.search(r'<section id="starts">(.*?)</section>', page, re.S)
    assert found is not None
    return found[1]


def plain(part: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", part)).strip()


def tables(page: str) -> dict[str, list[list[str]]]:
    """Rows of text by the title of their panel; "": engines that were prepared and not started."""
    out: dict[str, list[list[str]]] = {}
    titled = r'(?:<h3 id="[^"]*">|<details><summary>)(.*?)(?:</h3>|</summary>)(.*?)(?=<h3|<details|$)'
    for title, part in re.findall(titled, section(page), re.S):
        rows = [[plain(c) for c in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)] for row in re.findall(r"<tr>(.*?)</tr>", part, re.S)]
        out["" if title.startswith("Engines that") else plain(title)] = [r for r in rows if r]
    return out


def figures(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    assert found is not None
    return {k: v for k, v in json.loads(found[1]).items() if k.startswith("start-")}


def why(rows: list[list[str]], step: str) -> str:
    """Reason of the first decision that took this step."""
    return next(r[-1] for r in rows if r[-2] == step)


# ---- benches --------------------------------------------------------------------------------------------------------------


def test_no_light_is_explained_by_gate_pressure_and_acceleration(flown: Any) -> None:
    rows = tables(flown("fail_no_light")[1])["Engine 0, start 1: did not light"]
    t, text = next((r[1], r[3]) for r in rows if r[2] == "rise → close oxidiser")
    assert t == "1.25"
    assert re.match(r"at the gate \(1\.25 s after the command\) no sign of light: chamber pressure -?0\.\d\d and -?0\.\d\d MPa, "
                    r"acceleration did not rise \(specific force [\d.]+ m/s2 at the command, [\d.]+ now\)", text)
    assert why(rows, "chill → igniter").startswith("start commanded (guidance wants 1 engine), and it is ready: the link lives; inlet pressure")
    assert re.match(r"igniter draws its current \(0\.0\d s in this step, at least 0\.01 s\)", why(rows, "igniter → lead"))
    assert why(rows, "lead → rise") == "0.01 s have passed"
    assert re.search(r"pump cold: pump temperature at most 116 K \(it is 11[0-6]\.\d K\)", why(rows, "chill → ready"))


def test_the_fault_that_was_there_before_is_told(flown: Any) -> None:
    assert "Since 0.00 s: fault injected: type no light on target engine, unit 0." in section(flown("fail_no_light")[1])


def test_spares_are_lit_and_shut_down_after_touchdown(flown: Any) -> None:
    found = tables(flown("fail_no_light")[1])
    lit = [k for k in found if re.match(r"Engine \d, start 1: lit \d\.\d\d s after the command, main stage for", k)]
    assert len(lit) == 2
    for title in lit:
        text = why(found[title], "rise → main")
        measured = re.match(r"pressure and acceleration say lit \(chamber pressure ([\d.]+) and ([\d.]+) MPa; lit is 1\.5; specific force",
                            text)
        assert measured is not None
        assert float(measured[1]) > 1.3 and float(measured[2]) > 1.3
        assert why(found[title], "main → close oxidiser").startswith("commanded off (")
    assert {r[0] for r in found[""]} == {"1", "3", "5", "7"} - {title.split()[1].rstrip(",") for title in lit}
    assert all(r[3] for r in found[""])


def test_flame_out_is_explained_by_its_witnesses(flown: Any) -> None:
    log, page = flown("fail_dies_3s")
    found = tables(page)
    title = next(k for k in found if k.startswith("Engine 0, start 1: lit"))
    rows = found[title]
    fault = next(i for i, r in enumerate(rows) if r[3] == "fault injected: type dies on target engine, unit 0")
    text = why(rows[fault:], "main → close oxidiser")
    numbers = re.match(r"its witnesses say flame-out \(chamber pressure ([\d.]+) and [\d.]+ MPa; the throttle promises about ([\d.]+) MPa; "
                       r"specific force ([\d.]+) m/s2 0\.3 s before, ([\d.]+) now\)", text)
    assert numbers is not None
    pressure, promised, before, now = map(float, numbers.groups())
    assert pressure < 0.31 * promised
    assert now < before - 1.0
    data, nav = log["/fcc/engines"], log["/fcc/nav"]
    died = data["t_ns"][np.flatnonzero(data["cause"][:, 0] == cause("DIED"))[0]]
    forces = [nav["f_b"][np.searchsorted(nav["log_t_ns"], died - ago, "right") - 1, 0] for ago in (300 * MS, 0)]
    assert [before, now] == pytest.approx(forces, abs=0.051)


def test_a_dead_controller_before_commitment_is_a_lost_link(flown: Any) -> None:
    log = flown("fail_no_light")[0]
    data = log["/fcc/engines"]
    command = data["t_ns"][np.flatnonzero(np.diff(data["starts"][:, 0]) > 0)[0] + 1] * 1e-9  # the same flight until then
    rows = tables(flown("dead", DEAD_IN_IGNITER.format(t=round(float(command) + 0.005, 3)))[1])
    title = "Engine 0, start 1: not lit, because the link to its controller was lost"
    assert re.match(r"link lost: no fresh sample that the controller vouches for \(last valid sample 0\.0\d\d s ago\)",
                    why(rows[title], "igniter → close oxidiser"))


@pytest.mark.parametrize("name", ["fail_no_light", "fail_dies_3s"])
def test_every_change_of_row_is_told_at_its_time_with_a_reason(flown: Any, name: str) -> None:
    log, page = flown(name)
    data, found, checked = log["/fcc/engines"], tables(page), 0
    for title, rows in found.items():
        head = re.match(r"Engine (\d), start (\d+)", title)
        if head is None:
            continue
        k, t = int(head[1]), data["t_ns"] * 1e-9
        zero = t[np.flatnonzero(data["starts"][:, k] == int(head[2]))[0]]
        times = [float(r[1]) for r in rows]
        assert times == sorted(times)
        assert all(r[3] not in ("", "-") for r in rows)
        changes = t[np.flatnonzero(np.diff(data["row"][:, k].astype(int))) + 1] - zero
        inside = changes[(changes >= times[0] - 0.006) & (changes <= times[-1] + 0.006)]
        steps = [float(r[1]) for r in rows if "→" in r[2] and not r[2].endswith("ready")]
        assert np.allclose(inside, steps, atol=0.006)
        checked += len(inside)
    assert checked > 20


def test_figures_show_steps_valves_and_measurements_on_the_clock_of_the_start(flown: Any) -> None:
    shown = figures(flown("fail_no_light")[1])
    assert {"start-0-1-0"} <= set(shown)
    figure = shown["start-0-1-0"]
    bars = {d["name"]: d for d in figure["data"] if d["type"] == "bar"}
    assert {"chill", "igniter", "lead", "rise", "close oxidiser", "closed", "after", "oxidiser", "fuel"} <= set(bars)
    assert bars["rise"]["base"][0] + bars["rise"]["x"][0] == pytest.approx(1.25, abs=0.011)
    assert bars["oxidiser"]["base"][0] == pytest.approx(bars["lead"]["base"][0], abs=0.002)
    lines = {d["name"] for d in figure["data"] if d["type"] == "scatter"}
    assert {"sensor A", "sensor B", "qualified", "lit above 1.5", "along the axis", "inlet", "pump", "pump cold: at most 116"} <= lines
    assert figure["layout"]["xaxis"]["range"][0] < 0 < 1.25 < figure["layout"]["xaxis"]["range"][1]
    assert not figure.get("time")  # its axis is not that of the flight
    at = [s["x0"] for s in figure["layout"]["shapes"]]
    assert any(abs(x - 1.25) < 0.011 for x in at) and 0.0 in at


def test_a_long_burn_has_a_figure_of_its_end(flown: Any) -> None:
    log, page = flown("fail_no_light")
    k = next(k for k in range(1, 9) if f"start-{k}-1-1" in figures(page))
    low, high = figures(page)[f"start-{k}-1-1"]["layout"]["xaxis"]["range"]
    data = log["/fcc/engines"]
    t, row = data["t_ns"] * 1e-9, data["row"][:, k]
    zero = t[np.flatnonzero(data["starts"][:, k])[0]]
    off = t[np.flatnonzero((row[:-1] == MAIN) & (row[1:] == CLOSE))[-1] + 1] - zero
    assert low < off < high
    assert high - low < 6.0


def test_figures_stay_small_and_the_page_asks_for_nothing(flown: Any) -> None:
    page = flown("fail_no_light")[1]
    assert max(len(json.dumps(f)) for f in figures(page).values()) < 60_000
    assert not re.search(r'(?:src|href)="https?:', section(page))


# ---- made logs ------------------------------------------------------------------------------------------------------------

Samples = list[tuple[int, int, int, int]]  # row, steps in it, bits of the first, cause


def made(path: Path, samples: Samples, attachments: Mapping[str, bytes], starts: int = 1) -> str:
    """Page of a log of engine 0 in steps of 10 ms; a start is counted where IGNITER is entered."""
    known = builtin()
    channels = [ChannelDef("fcc", "engines", known["fsw_engines_t"]), ChannelDef("world", "engine_status0", known["fsw_engine_status_t"])]
    engines = np.zeros(sum(n for _, n, _, _ in samples) * starts, known["fsw_engines_t"].dtype)
    status = np.zeros(len(engines), known["fsw_engine_status_t"].dtype)
    at = count = 0
    for row, n, bits, why_ in samples * starts:
        part = engines[at : at + n]
        count += row == IGNITER
        part["row"][:, 0], part["state"][:, 0], part["cause"][:, 0], part["starts"][:, 0] = row, ROLE[row], why_, count
        part["holds"][:, 0] = bits
        at += n
    engines["t_ns"] = status["t_valid_ns"] = np.arange(len(engines)) * 10 * MS
    engines["throttle"], status["valid"], status["inlet_pa"], status["chill_k"] = 0.8, 1, 3e5, 100.0
    status["pc_a_pa"], status["pc_b_pa"] = 14e6, 13.5e6
    with LogWriter(path, channels, {"run": {"bench": "made"}}, dict(attachments), MS) as writer:
        numbers = [writer.channel_map[key][0] for key in (("world", "engine_status0"), ("fcc", "engines"))]
        for k in range(len(engines)):
            for channel, data in zip(numbers, (status, engines), strict=True):
                payload = data[k].tobytes()
                lib.fsw_record(writer.recorder, channel, k, k * 10 * MS, ffi.from_buffer(payload), len(payload))
            if k % 200 == 199:
                writer.drain()
    return write_report(path).read_text("utf-8")


@pytest.fixture
def carried(flown: Any) -> Mapping[str, bytes]:
    """What a log of the shipped sequence carries."""
    return flown("fail_no_light")[0].attachments


CASES: list[tuple[str, Samples, str, str]] = [
    ("redline", [*BURNING, (CLOSE, 2, WELL | OVER, cause("REDLINE"))], "main → close oxidiser",
     "redline: overpressure: chamber pressure at least 1.3 of nominal (chamber pressure 14.00 and 13.50 MPa)"),
    ("commanded off", [*RISING, (CLOSE, 2, WELL | READY, cause("COMMAND"))], "rise → close oxidiser", "commanded off"),
    ("abort", [*BURNING, (CLOSE, 2, WELL | ABORT, cause("ABORT"))], "main → close oxidiser", "abort commanded"),
    ("not to be used", [*BURNING, (INHIBITED, 2, WELL | INHIBIT, cause("INHIBIT"))], "main → inhibited", "this engine is not to be used"),
    ("corrupted", [*BURNING, (INHIBITED, 2, WELL | RUN, cause("CORRUPT"))], "main → inhibited",
     "its state was corrupted: nothing in it can be believed"),
    ("no igniter", [*PREPARED, (IGNITER, 20, WELL | RUN, 0), (CLOSE, 2, WELL | RUN, cause("IGNITER"))], "igniter → close oxidiser",
     "within 0.2 s: igniter does not draw its current"),
    ("igniter lost", [*LEADING, (CLOSE, 2, WELL | RUN, cause("IGNITER"))], "lead → close oxidiser", "igniter does not draw its current"),
    ("igniter too long", [*LEADING, (RISE, 237, WELL | RUN, 0), (CLOSE, 2, WELL | RUN | SIGN, cause("IGNITER"))], "rise → close oxidiser",
     "igniter on for 2.4 s, its limit in one start"),
    ("start too long", [*LEADING, (RISE, 217, WELL | RUN, 0), (CLOSE, 2, WELL | RUN | SIGN, cause("NO_LIGHT"))], "rise → close oxidiser",
     "2.2 s after the command, the longest that a start may take: not lit (chamber pressure 14.00 and 13.50 MPa; lit is 1.5)"),
    ("unburnt", [*LEADING, (RISE, 129, WELL | RUN, 0), (CLOSE, 2, WELL | RUN | SIGN, cause("UNBURNT"))], "rise → close oxidiser",
     "a main valve has been open without flame for 1.3 s, the limit on unburnt propellant"),
    ("fire", [*RISING, (CLOSE, 2, WELL | RUN | FIRE, cause("FIRE"))], "rise → close oxidiser", "the bay temperature switch has tripped"),
    ("no start: fire", [*PREPARED, (INHIBITED, 2, WELL | FIRE | READY, cause("FIRE"))], "chill → inhibited",
     "the bay temperature switch has tripped"),
    ("no start: check", [(OFF, 5, STEP, 0), (CHECK, 200, LINK | STEP | READY, 0), (INHIBITED, 2, LINK | ALIVE | STEP | READY, cause("CHECK"))],
     "check → inhibited", "within 2 s: the chamber is not quiet (chamber pressure 14.00 and 13.50 MPa)"),
    ("no start: warm", [*PREPARED[:3], (CHILL, 3000, (WELL ^ COLD) | READY, 0), (INHIBITED, 2, (WELL ^ COLD) | READY, cause("CHILL"))],
     "chill → inhibited", "within 30 s: not pump cold: pump temperature at most 116 K for 0.02 s (it is 100.0 K)"),
    ("no start: link", [*PREPARED, (INHIBITED, 2, (WELL ^ LINK) | READY, cause("STALE"))], "chill → inhibited",
     "link lost: no fresh sample that the controller vouches for (last valid sample 0.000 s ago)"),
    ("no start: not wanted", [*PREPARED, (OFF, 2, WELL, 0)], "chill → off", "not wanted any more"),
    ("well again", [*PREPARED, (INHIBITED, 22, (WELL ^ LINK) | READY, cause("STALE")), (OFF, 2, WELL | QUIET, cause("STALE"))],
     "inhibited → off", "all well again for 0.2 s: the link lives; the chamber is quiet (chamber pressure 14.00 and 13.50 MPa); "
     "inlet alive: inlet pressure at least 0.004 MPa (it is 0.300 MPa)"),
]


@pytest.mark.parametrize(("samples", "step", "text"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_way_out_of_a_step_has_its_sentence(tmp_path: Path, carried: Mapping[str, bytes], samples: Samples, step: str, text: str) -> None:
    found = tables(made(tmp_path / "x.mcap", samples, carried))
    assert why(next(iter(found.values())), step) == text


def test_an_engine_that_never_was_lit_names_its_cause_in_the_title(tmp_path: Path, carried: Mapping[str, bytes]) -> None:
    found = tables(made(tmp_path / "x.mcap", [*RISING, (CLOSE, 2, WELL | RUN | FIRE, cause("FIRE"))], carried))
    assert list(found) == ["Engine 0, start 1: not lit, because its bay temperature switch tripped"]


def test_without_the_file_steps_are_called_by_their_role(tmp_path: Path, carried: Mapping[str, bytes]) -> None:
    without = {k: v for k, v in carried.items() if not k.startswith("config/")}
    rows = next(iter(tables(made(tmp_path / "x.mcap", [*BURNING, (CLOSE, 2, WELL | OVER, cause("REDLINE"))], without)).values()))
    assert why(rows, "main stage → shutdown").startswith("redline: chamber pressure at least 1.3 of nominal")
    assert "pump temperature at most 116 K" in why(rows, "chill → igniter")


def test_names_of_another_sequence_are_not_taken(tmp_path: Path, carried: Mapping[str, bytes]) -> None:
    name = next(k for k in carried if k.endswith("tq12_class.toml"))
    other = carried[name].replace(b'role = "lead"', b'role = "rise"').replace(b'name = "lead"', b'name = "second_igniter"')
    page = made(tmp_path / "x.mcap", BURNING, {**carried, name: other})
    assert {"igniter → lead", "lead → rise", "rise → main stage"} <= {r[2] for r in next(iter(tables(page).values()))}
    assert "Names are those of" not in section(page)


@pytest.mark.parametrize("spoil", ["nothing", "not json", "short blob"])
def test_without_a_sequence_in_the_log_there_are_roles_and_a_word_about_it(tmp_path: Path, carried: Mapping[str, bytes], spoil: str) -> None:
    given = {k: v for k, v in carried.items() if spoil != "nothing" and k.startswith(("blob/fcc", "layout/fcc"))}
    given = {k: (b"{" if spoil == "not json" and k.startswith("layout/") else v[:96] if spoil == "short blob" and k.startswith("blob/") else v)
             for k, v in given.items()}
    page = made(tmp_path / "x.mcap", [*BURNING, (CLOSE, 2, WELL | RUN | OUT, cause("DIED"))], given)
    rows = tables(page)["Engine 0, start 1: lit 0.63 s after the command, main stage for 1.00 s"]
    assert "This log carries no sequence" in section(page)
    assert why(rows, "main stage → shutdown").startswith("its witnesses say flame-out")
    assert {"check → purge", "igniter → lead", "rise → main stage"} <= {r[2] for r in rows}


def test_many_starts_do_not_blow_up_the_page(tmp_path: Path, carried: Mapping[str, bytes]) -> None:
    samples = [*BURNING, (CLOSE, 2, WELL, cause("COMMAND")), (SAFED, 5, WELL, cause("COMMAND"))]
    page = made(tmp_path / "x.mcap", samples, carried, MOST_STARTS + 3)
    assert len([k for k in tables(page) if k]) == MOST_STARTS
    assert "3 more starts are in the log." in section(page)


def test_no_start_no_section(tmp_path: Path, carried: Mapping[str, bytes]) -> None:
    page = made(tmp_path / "x.mcap", [(OFF, 20, STEP, 0)], carried)
    assert 'id="starts"' not in page
    assert "engine starts (none in fsw_engines_t)" in page


# ---- story ----------------------------------------------------------------------------------------------------------------


def constants() -> Iterator[str]:
    return (n.removeprefix("FSW_SEQ_CAUSE_") for n in dir(lib) if n.startswith("FSW_SEQ_CAUSE_"))


def test_every_cause_of_the_core_has_words() -> None:
    assert set(constants()) == set(CAUSES)
    assert len(set(CAUSES.values())) == len(CAUSES)


def test_story_gives_causes_as_words() -> None:
    inhibited, aborted = int(lib.FSW_SEQ_CAUSE_NO_LIGHT), int(lib.FSW_SEQ_CAUSE_IGNITER)
    assert sentence(25, 3, inhibited, 0.0) == "engine 3: inhibited, not available, because it did not light"
    assert sentence(32, 2, 4.0, aborted) == "engine 2: start aborted in step igniter, because " + CAUSES["IGNITER"]
    assert sentence(25, 3, 99.0, 0.0) == "engine 3: inhibited, not available, because of cause 99"
    for odd in (float("nan"), float("inf"), -1.0, 1e300):
        assert sentence(25, 3, odd, 0.0).startswith("engine 3: inhibited, not available (cause ")
