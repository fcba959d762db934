"""Redundant flight computers: the vote, and what follows when one of them is wrong."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from flightsw import ConfigError, Graph, NodeSpec, TaskSpec, compile_node, load_messages
from flightsw.log import Log
from flightsw.params import Given
from flightsw.replay import replay
from hil import Bench, run_bench
from hil.strings import vote_type

CONFIGS = Path(__file__).resolve().parents[1] / "bench_configs"
MESSAGES = load_messages([])
UPSET = {"string": 1, "at_s": 30.0, "task": "guidance", "field": "mass_kg", "bit": 50}


# ---- the vote ----------------------------------------------------------------------------------------------------------


def voter(rejoin: int = 3) -> Graph:
    kind = vote_type(MESSAGES["fsw_baro_t"])
    params = {"size": Given(MESSAGES["fsw_baro_t"].size, "", ""), "rejoin_votes": Given(rejoin, "", "")}
    spec = NodeSpec("v", [TaskSpec("vote", kind.name, 1, params=params)], 1_000_000, frozenset({"in_a", "in_b", "in_c"}))
    return Graph([compile_node(spec, {kind.name: kind}, MESSAGES, {})], [], MESSAGES)


def step(graph: Graph, values: str) -> tuple[str, int, int, int]:
    """A tick with a message per string, "-" for none: (voted value or "-", disagree, out, no majority)."""
    view, before = graph.nodes["v"], graph.nodes["v"].writes_of("out")
    for letter, value in zip("abc", values, strict=True):
        if value != "-":
            record = view.topic(f"in_{letter}").copy()
            record["p_pa"] = float(ord(value))
            view.input(f"in_{letter}", record)
    graph.run(graph.tick + 1)
    vote = view.topic("vote")
    out = chr(int(view.topic("out")["p_pa"])) if view.writes_of("out") > before else "-"
    return out, int(vote["disagree"]), int(vote["out"]), int(vote["no_majority"])


def test_every_first_vote() -> None:
    """All presences and agreements of three strings: what two of three, or all that are there, agree on is published."""
    for values in itertools.product("xyz-", repeat=3):
        text = "".join(values)
        there = [v for v in values if v != "-"]
        out, disagree, out_mask, none = step(voter(), text)
        best = max((there.count(v) for v in there), default=0)
        if not there:
            assert out == "-", text
        elif 2 * best > len(there):
            winner = max(there, key=there.count)
            wrong = sum(1 << k for k, v in enumerate(values) if v not in ("-", winner))
            assert (out, disagree, out_mask, none) == (winner, wrong, wrong, 0), text
        else:
            assert (out, out_mask, none) == ("-", 0, 1), text


def test_a_string_that_was_outvoted_counts_again_when_it_has_agreed() -> None:
    graph = voter(rejoin=3)
    assert step(graph, "xxy") == ("x", 4, 4, 0)
    assert step(graph, "xyy") == ("-", 0, 4, 1)   # c does not count: one against one
    assert step(graph, "xx-") == ("x", 0, 4, 0)   # and is not compared where it is absent
    assert [step(graph, "xxx")[2] for _ in range(3)] == [4, 4, 0]
    assert step(graph, "xyy") == ("y", 1, 1, 0)
    graph = voter(rejoin=3)
    step(graph, "xxy")
    assert [step(graph, v)[2] for v in ("xxx", "xxx", "xxy", "xxx", "xxx", "xxx")] == [4, 4, 4, 4, 4, 0]  # in a row


def test_messages_of_one_tick_only_are_compared() -> None:
    graph = voter()
    assert step(graph, "xx-") == ("x", 0, 0, 0)
    assert step(graph, "--y") == ("y", 0, 0, 0)   # the others' are of the tick before: out for this one, not out-voted


# ---- a flight ----------------------------------------------------------------------------------------------------------


def triple(**changes: Any) -> Bench:
    strings = {"of": "fcc", "where": ["here", "here", "here"], **changes}
    return Bench.load(CONFIGS / "zhuque3_landing.toml", overlay={"strings": strings})


def test_without_a_fault_all_strings_agree(tmp_path: Path) -> None:
    with triple().start(seed=1, log=tmp_path / "a.mcap") as flight:
        flight.run(until=3.0)
        images = [flight.node(f"fcc_{c}").image.copy() for c in "abc"]
        for image in images:
            image[32:36] = 0  # random stream of the node
        assert all((image == images[0]).all() for image in images)
        assert flight.keeper.story == []
    log = Log.open(tmp_path / "a.mcap")
    assert all((log[t]["disagree"] == 0).all() and (log[t]["no_majority"] == 0).all() for t in log.topics if t.startswith("/fcc/vote_"))
    assert replay(log).identical


@pytest.mark.timeout(200)
def test_a_turned_bit_is_outvoted_restored_and_the_booster_lands(tmp_path: Path) -> None:
    with triple(upset=[UPSET]).start(seed=1, log=tmp_path / "a.mcap") as flight:
        flight.run()
        verdict, story = flight.verdict(), flight.keeper.story
        assert flight.keeper.out() == []
    assert verdict.outcome == "lands" and verdict.met
    assert [s["what"] for s in story] == ["upset", "out", "restored"] and story[2]["inputs"] > 100
    log = Log.open(tmp_path / "a.mcap")
    against = {t: log[t] for t in log.topics if t.startswith("/fcc/vote_") and (log[t]["disagree"] != 0).any()}
    assert against and all(set(v["disagree"].tolist()) <= {0, 2} for v in against.values())
    first = min(int(v["log_t_ns"][v["disagree"] != 0].min()) for v in against.values())
    assert 30_000_000_000 <= first < 30_030_000_000  # in the first message that the wrong bit changes
    for _ in range(2):
        result = replay(log)
        assert result.identical and result.exact, result.divergence


def test_a_naive_flight_with_the_same_upset_is_another_one(tmp_path: Path) -> None:
    """The same bit turned where nobody votes changes what is commanded: the vote is worth something."""
    flights = []
    for upset in (False, True):
        with Bench.load(CONFIGS / "zhuque3_landing.toml").start(seed=1) as flight:
            flight.run(until=30.0)
            if upset:
                task = next(t for t in flight.node("fcc").compiled.tasks if t.spec.name == "guidance")
                offset = task.state_offset + task.type.state_dtype.fields["mass_kg"][1]
                flight.graph.upset("fcc", offset + 6, 1 << 2)
            flight.run(until=32.0)
            flights.append(flight.graph.digests()["world"])
    assert flights[0] != flights[1]


def test_the_string_in_another_process_is_outvoted_and_restored_there() -> None:
    with triple().start(seed=1) as flight:
        flight.run(until=29.9)
        snap = flight.snapshot()
    with triple(where=["here", "zmq:b", "here"], upset=[UPSET], restore_ticks=20).start(seed=1) as flight:
        flight.restore(snap)
        flight.run(until=30.4)
        assert [s["what"] for s in flight.keeper.story] == ["upset", "out", "restored"]
        assert flight.keeper.out() == []
        flight.snapshot()  # the image over there, into the mirror
        a, b = (flight.node(f"fcc_{c}").image.copy() for c in "ab")
        a[32:36] = b[32:36] = 0  # random stream of the node
    assert (a == b).all()


def test_run_and_report_tell_the_story(tmp_path: Path) -> None:
    overlay = {"strings": {"of": "fcc", "where": ["here", "here", "here"], "upset": [{**UPSET, "at_s": 30.0}]}}
    bench = Bench.load(CONFIGS / "zhuque3_landing.toml", ["bench.duration_s=31"], overlay=overlay)
    result = run_bench(bench, 1, tmp_path)
    story = result.run["strings"]["story"]
    assert [s["text"].partition(":")[2].split()[0] for s in story] == ["bit", "out-voted;", "restored"]
    assert result.run["strings"]["out"] == []
    page = (result.run_dir / "report.html").read_text("utf-8")
    assert "Redundant flight computers" in page and all(s["text"] in page for s in story) and "All counted at the end" in page


def test_two_strings_can_only_agree(tmp_path: Path) -> None:
    with triple(where=["here", "here"]).start(seed=1) as flight:
        flight.run(until=1.0)
        assert flight.keeper.story == [] and set(flight.graph.nodes) >= {"fcc", "fcc_a", "fcc_b"} and "fcc_c" not in flight.graph.nodes


@pytest.mark.parametrize(("changes", "match"), [
    ({"of": "nobody"}, r'strings\.of: there is no node "nobody"'),
    ({"where": ["here"]}, r"strings\.where"),
    ({"where": ["here", "elsewhere"]}, r"strings\.where"),
    ({"upset": [{**UPSET, "task": "gudance"}]}, r'strings\.upset\[0\].*"gudance" is no task of it, did you mean "guidance"'),
    ({"upset": [{**UPSET, "field": "mass"}]}, r'strings\.upset\[0\].*has no state "mass"'),
    ({"upset": [{**UPSET, "bit": 64}]}, r"strings\.upset\[0\].*has 64 bits, there is no bit 64"),
    ({"where": ["here", "here"], "upset": [{**UPSET, "string": 2}]}, r"strings\.upset\[0\].*there are 2 strings"),
])
def test_bad_tables_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        triple(**changes)


def test_python_tasks_and_any_message_are_voted(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text('from flightsw import python_task\n\n@python_task("my.law", reads={}, writes={"radalt": "fsw_radalt_t"}, '
                                   'state="typedef struct { double x; } my_t;")\ndef law(io):\n    io.state["x"] += 1.0\n'
                                   '    io.writes["radalt"]["range_m"] = io.state["x"]\n\n'
                                   '@python_task("my.sink", reads={"radalt": "fsw_radalt_t"}, writes={"baro": "fsw_baro_t"})\ndef sink(io):\n'
                                   '    io.writes["baro"]["p_pa"] = io.reads["radalt"]["range_m"]\n')
    (tmp_path / "b.toml").write_text('[bench]\nname = "b"\nduration_s = 1.0\ntasks = "t.py"\n'
                                     '[strings]\nof = "f"\nwhere = ["here", "here", "here"]\n'
                                     'upset = [{ string = 2, at_s = 0.1, task = "l", field = "x", bit = 40 }]\n'
                                     '[[node]]\nname = "f"\nrole = "flight_computer"\nrecord = "all"\n'
                                     '[[node.task]]\nname = "l"\ntype = "my.law"\n'
                                     'period_ticks = 1\n[[node]]\nname = "w"\n[[node.task]]\nname = "s"\ntype = "my.sink"\nperiod_ticks = 1\n'
                                     '[[link]]\nfrom = "f.radalt"\nto = ["w.radalt"]\n')
    with Bench.load(tmp_path / "b.toml").start() as flight:
        flight.run(until=0.5)
        assert float(flight.node("w").topic("baro")["p_pa"]) == 498.0 and flight.keeper.out() == []
        assert [s["what"] for s in flight.keeper.story] == ["upset", "out", "restored"]
