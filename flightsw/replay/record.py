"""The log of a replay: what the flight computers would have written, in the format of any log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from flightsw.errors import StepError
from flightsw.graph import INPUTS, SKIPS
from flightsw.log.layout import layout_of
from flightsw.log.reader import Log
from flightsw.log.writer import ChannelDef, LogWriter
from flightsw.messages import builtin
from flightsw.replay.feed import feed
from flightsw.replay.plan import Plan
from flightsw.replay.result import Options
from flightsw.replay.run import build_graph, end_tick
from flightsw.software import software

_ABOUT_THE_FLIGHT = ("run", "bench_file", "vehicle_file", "extensions", "recordings", "links", "fork")


def record(log: Log, plan: Plan, options: Options, path: Path, changes: Mapping[str, object]) -> None:
    """Replay once more and write a log; changes: those that the plan was made with.

    It has the channels of the flight computers, and keyframes where the recorded one has.
    """
    graph, _ = build_graph(plan)
    base_tick_ns = plan.nodes[0].base_tick_ns
    feed(log, plan, graph, True)
    end = end_tick(log, options.until_s, base_tick_ns, graph.tick)
    stops = sorted({s.tick for s, _ in log.keyframes() if graph.tick <= s.tick <= end} | {graph.tick, end})
    complete = True
    metadata = _metadata(log, plan, graph.tick)
    if options.at_hand is not None:
        metadata["run"]["sets"] = json.dumps([*options.at_hand.sets, *(f"{k}={json.dumps(v)}" for k, v in changes.items())])
    with LogWriter(path, _channels(log, plan), metadata, _attachments(log, plan), base_tick_ns) as writer:
        graph.attach_recorder(writer.recorder, writer.channel_map)
        try:
            for stop in stops:
                while graph.tick < stop:
                    graph.run(stop)
                    writer.drain()
                if stop == end:
                    graph.flush_inputs()
                writer.keyframe(graph.snapshot(), graph.digests())
        except StepError:  # the comparing pass has told of it
            complete = False
        writer.close(complete)


def _channels(log: Log, plan: Plan) -> list[ChannelDef]:
    out = []
    for node in plan.nodes:
        for topic in node.topics.values():
            name = f"/{node.name}/{topic.name}"
            every = int(log.channel(name).metadata.get("every", "1")) if name in log else 1
            out.append(ChannelDef(node.name, topic.name, topic.type, every))
        if f"/{node.name}/{INPUTS}" in log:
            out.append(ChannelDef(node.name, INPUTS, builtin()["fsw_gate_t"]))
        if f"/{node.name}/{SKIPS}" in log:
            out.append(ChannelDef(node.name, SKIPS, builtin()["fsw_skip_t"]))
    return out


def _metadata(log: Log, plan: Plan, start: int) -> dict[str, dict[str, str]]:
    names = [n.name for n in plan.nodes]
    out = {k: {name: text for name, text in v.items() if not name.startswith("flightsw.")} for k, v in log.metadata.items()
           if k in _ABOUT_THE_FLIGHT}
    out["run"] = {**out.get("run", {}), "seed": str(plan.seed), "flight_computers": json.dumps(names),
                  "roles": json.dumps(dict.fromkeys(names, "flight_computer"))}
    out["software"] = software()
    out["schedule"] = {n.name: f"{n.hash:016x}" for n in plan.nodes}
    changes = json.dumps({d.key: d.here for d in plan.parameters})
    out["replay"] = {"of_run": log.metadata.get("log", {}).get("run_id", ""), "tick": str(start), "changes": changes,
                     "ignored": json.dumps(plan.ignored)}
    return out


def _attachments(log: Log, plan: Plan) -> dict[str, bytes]:
    config = {k: v for k, v in log.attachments.items() if k.startswith("config/")}
    return config | {f"blob/{n.name}": n.blob for n in plan.nodes} | {f"layout/{n.name}": layout_of(n) for n in plan.nodes}
