"""The map to a load blob, as a log carries it: names, types and offsets, so that a replay needs no bench file.

Attachment "layout/<node>": JSON. What the software at hand has must agree with it; each difference is named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flightsw.errors import LogError
from flightsw.messages import MessageType
from flightsw.params import suggestion
from flightsw.schedule import CompiledNode, CompiledTask, TaskSpec, Topic
from flightsw.tasks import TaskType

LAYOUT_FORMAT = 1


def describe(dtype: np.dtype[Any] | None) -> list[str]:
    """A struct's fields as text, one per line of a comparison: "f8[3] name at 8"."""
    if dtype is None:
        return []
    out = []
    for name in dtype.names or ():
        assert dtype.fields is not None
        field, offset = dtype.fields[name][:2]
        base, shape = field.subdtype or (field, ())
        kind = base.str[1:] if base.names is None else "(" + ", ".join(describe(base)) + ")"
        out.append(f"{kind}{''.join(f'[{n}]' for n in shape)} {name} at {offset}")
    return [*out, f"size {dtype.itemsize}"]


def layout_of(compiled: CompiledNode) -> bytes:
    """The attachment for a compiled node."""
    topics = [{"name": t.name, "type": t.type.name, "type_hash": f"{t.type.type_hash:016x}", "schema": t.type.schema,
               "offset": t.offset, "writer": t.writer, "readers": list(t.readers)} for t in compiled.topics.values()]
    tasks = [{"name": t.spec.name, "type": t.type.name, "python": t.type.python is not None,
              "period_ticks": t.spec.period_ticks, "phase_ticks": t.spec.phase_ticks, "budget_us": t.spec.budget_us,
              "deadline_us": t.spec.deadline_us, "critical": t.spec.critical, "on_miss": t.spec.on_miss,
              "reads": dict(t.reads), "writes": dict(t.writes),
              "state_offset": t.state_offset, "state": describe(t.type.state_dtype),
              "params_offset": t.params_offset, "params": describe(t.type.params_dtype)} for t in compiled.tasks]
    return json.dumps({"format": LAYOUT_FORMAT, "node": compiled.name, "hash": f"{compiled.hash:016x}",
                       "fingerprint": f"{compiled.fingerprint:016x}", "base_tick_ns": compiled.base_tick_ns,
                       "hyperperiod": compiled.hyperperiod, "image_size": compiled.image_size,
                       "topics": topics, "tasks": tasks}).encode()  # not indented: the encoder in C does not do that


@dataclass(frozen=True)
class Library:
    """The software at hand: task types and messages by name."""

    tasks: Mapping[str, TaskType]
    messages: Mapping[str, MessageType]


def node_of(blob: bytes, layout: bytes, library: Library, file: str) -> CompiledNode:
    """A compiled node from a log's attachments, bound to the software at hand.

    Raises LogError with every difference between the two.
    """
    try:
        raw = json.loads(layout)
        if raw["format"] != LAYOUT_FORMAT:
            raise LogError(f"{file}: layouts of format {raw['format']} in it, this software reads {LAYOUT_FORMAT}")
        node = _build(raw, blob, library)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise LogError(f"{file}: a layout in it cannot be read: {type(exc).__name__} {exc}") from None
    problems, compiled = node
    if problems:
        raise LogError("\n".join(f'{file}: node "{raw["node"]}": {p}' for p in problems))
    assert compiled is not None
    return compiled


def _build(raw: Mapping[str, Any], blob: bytes, library: Library) -> tuple[list[str], CompiledNode | None]:
    problems: list[str] = []
    hash_ = int.from_bytes(blob[8:16], "little")
    if int(raw["hash"], 16) != hash_:
        return [f"its layout is of load blob {raw['hash']}, its load blob is {hash_:016x}"], None
    topics = {}
    for t in raw["topics"]:
        message = library.messages.get(t["type"])
        problem = _message_difference(t, message)
        if message is None or problem:
            problems.append(problem)
        else:
            topics[t["name"]] = Topic(t["name"], message, int(t["offset"]), t["writer"], tuple(t["readers"]))
    tasks = []
    for t in raw["tasks"]:
        kind = library.tasks.get(t["type"])
        found = _task_differences(t, kind, library)
        problems += found
        if kind is not None and not found:
            spec = TaskSpec(t["name"], t["type"], t["period_ticks"], t["phase_ticks"], t["budget_us"], t["deadline_us"],
                            t["critical"], t["on_miss"])
            tasks.append(CompiledTask(spec, kind, t["reads"], t["writes"], t["state_offset"], t["params_offset"]))
    if problems:
        return list(dict.fromkeys(problems)), None
    return [], CompiledNode(raw["node"], blob, hash_, raw["base_tick_ns"], raw["hyperperiod"], topics, tuple(tasks),
                            raw["image_size"], int(raw["fingerprint"], 16), frozenset())


def _message_difference(t: Mapping[str, Any], here: MessageType | None) -> str:
    if here is None:
        return f"message {t['type']} of topic \"{t['name']}\" is not known to this software"
    if int(t["type_hash"], 16) == here.type_hash:
        return ""
    return f"message {t['type']} differs: {_first_difference(t['schema'].splitlines(), here.schema.splitlines())}"


def _task_differences(t: Mapping[str, Any], here: TaskType | None, library: Library) -> list[str]:
    if here is None:
        return [f"task \"{t['name']}\" is of type \"{t['type']}\", which this software does not have"
                f"{suggestion(t['type'], library.tasks)}"]
    out = []
    where = f"task \"{t['name']}\" ({t['type']})"
    for kind, dtype in (("state", here.state_dtype), ("params", here.params_dtype)):
        if t[kind] != describe(dtype):
            out.append(f"{where}: its {kind} differ: {_first_difference(t[kind], describe(dtype))}")
    for side, ports in (("reads", here.reads), ("writes", here.writes)):
        names = [p.name for p in ports]
        if list(t[side]) != names:
            out.append(f"{where}: its {side} differ: {_first_difference(list(t[side]), names)}")
    return out


def _first_difference(log: list[str], here: list[str]) -> str:
    for k in range(max(len(log), len(here))):
        a, b = (side[k] if k < len(side) else "nothing" for side in (log, here))
        if a != b:
            return f'"{a}" in the log, "{b}" here'
    return "only in its name"


def structure_differences(log: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Every difference between two layouts (attachment "layout/<node>", parsed) except values: schedule, ports, structs, messages.

    Empty: images of the one can be read as images of the other.
    """
    out = []
    if log["base_tick_ns"] != here["base_tick_ns"]:
        out.append(f"base tick {log['base_tick_ns']} ns in the log, {here['base_tick_ns']} ns here")
    theirs, ours = ({t["name"]: t for t in side["tasks"]} for side in (log, here))
    out += [f'task "{n}" ({t["type"]}) is in the log, not here' for n, t in theirs.items() if n not in ours]
    out += [f'task "{n}" ({t["type"]}) is here, not in the log' for n, t in ours.items() if n not in theirs]
    order = [[n for n in side if n in theirs and n in ours] for side in (theirs, ours)]
    if order[0] != order[1]:
        out.append(f"tasks run in another order: {', '.join(order[0])} in the log, {', '.join(order[1])} here")
    for name in order[0]:
        out += _task_row_differences(theirs[name], ours[name])
    topics = [{t["name"]: t for t in side["topics"]} for side in (log, here)]
    out += _topic_differences(*topics)
    if not out and (list(topics[0]) != list(topics[1]) or log["image_size"] != here["image_size"]
                    or any(t["offset"] != topics[1][n]["offset"] for n, t in topics[0].items())):
        out.append("its topics lie in another order in the image")
    return list(dict.fromkeys(out))


_ROW_KEYS = ("type", "period_ticks", "phase_ticks", "budget_us", "deadline_us", "critical", "on_miss")


def _task_row_differences(log: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    where = f'task "{log["name"]}"'
    out = [f"{where}: {key} {_shown(log[key])} in the log, {_shown(here[key])} here" for key in _ROW_KEYS if log[key] != here[key]]
    if log["type"] != here["type"]:
        return out[:1]  # ports and structs of another type differ as a matter of course
    for side in ("reads", "writes"):
        for port in dict.fromkeys([*log[side], *here[side]]):
            a, b = log[side].get(port), here[side].get(port)
            if a != b:
                out.append(f'{where}: {side} {port} bound to {_shown(a)} in the log, to {_shown(b)} here')
    for part in ("state", "params"):
        if log[part] != here[part]:
            out.append(f"{where}: its {part} differ: {_first_difference(log[part], here[part])}")
    return out


def _topic_differences(log: Mapping[str, Mapping[str, Any]], here: Mapping[str, Mapping[str, Any]]) -> list[str]:
    out = [f'topic "{n}" ({t["type"]}) is in the log, not here' for n, t in log.items() if n not in here]
    out += [f'topic "{n}" ({t["type"]}) is here, not in the log' for n, t in here.items() if n not in log]
    for name, a in log.items():
        b = here.get(name)
        if b is None:
            continue
        if a["type"] != b["type"]:
            out.append(f'topic "{name}" is {a["type"]} in the log, {b["type"]} here')
        elif a["type_hash"] != b["type_hash"]:
            lines = _first_difference(a["schema"].splitlines(), b["schema"].splitlines())
            out.append(f"message {a['type']} differs: {lines}")
        if a["writer"] != b["writer"]:
            out.append(f'topic "{name}" is written by {_writer(a)} in the log, by {_writer(b)} here')
    return out


def _writer(topic: Mapping[str, Any]) -> str:
    return f'task "{topic["writer"]}"' if topic["writer"] else "a link"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
