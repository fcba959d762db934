"""Parameters of a load blob: read, compared, changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flightsw import params as parameters
from flightsw._native import digest, ffi
from flightsw.errors import LogError
from flightsw.messages import dtype_of
from flightsw.replay.result import ParameterDifference
from flightsw.schedule import CompiledNode, CompiledTask

_BLOB = dtype_of(ffi.typeof("fsw_blob_head_t"))


def image_at(blob: bytes) -> int:
    """Offset of the initial image in a load blob."""
    return int(np.frombuffer(blob, _BLOB, 1)["off_image"][0])


def params_of(node: CompiledNode, task: CompiledTask) -> bytes:
    """Bytes of a task's parameters as they stand in the load blob; none when it has no parameters."""
    if task.type.params_dtype is None:
        return b""
    at = image_at(node.blob) + task.params_offset
    return node.blob[at : at + task.type.params_dtype.itemsize]


def patched(nodes: Sequence[CompiledNode], changes: Mapping[str, object], path: object) -> list[CompiledNode]:
    """The nodes with parameters changed in their load blobs; what a task's init makes of them follows.

    changes: "node.task.parameter" to a number or list. LogError when there is no such parameter or its range forbids the value.
    """
    out = {n.name: n for n in nodes}
    for key, value in changes.items():
        parts = key.split(".")
        known = [f"{n.name}.{t.spec.name}.{p}" for n in nodes for t in n.tasks if t.type.params_dtype is not None
                 for p in t.type.params_dtype.names or () if not p.startswith("pad")]
        if key not in known:
            raise LogError(f"{path}: {key}: no such parameter in the flight computers of this log"
                           f"{parameters.suggestion(key, known)}")
        out[parts[0]] = _patch(out[parts[0]], parts[1], parts[2], value)
    return [out[n.name] for n in nodes]


def _patch(node: CompiledNode, task: str, name: str, value: object) -> CompiledNode:
    t = next(t for t in node.tasks if t.spec.name == task)
    kind = t.type
    assert kind.params_dtype is not None and kind.params_dtype.fields is not None
    rule = kind.params.get(name) or parameters.ParamField(name, -np.inf, np.inf, False, None, "")
    checked = parameters._check(rule, kind.params_dtype.fields[name][0], value)
    if isinstance(checked, str):
        raise LogError(f"{node.name}.{task}.{name}: {checked}")
    blob = bytearray(node.blob)
    at = image_at(node.blob)
    record = np.frombuffer(params_of(node, t), kind.params_dtype).copy()[0:1].reshape(())
    record[name] = checked
    blob[at + t.params_offset : at + t.params_offset + record.nbytes] = record.tobytes()
    state = kind.initial_state(record)
    blob[at + t.state_offset : at + t.state_offset + len(state)] = state
    hash_ = digest(bytes(blob[16:]))
    blob[8:16] = hash_.to_bytes(8, "little")
    return replace(node, blob=bytes(blob), hash=hash_)


def parameter_differences(flown: CompiledNode, here: CompiledNode) -> Iterator[ParameterDifference]:
    """Every parameter, element by element, that is not the same in both, for tasks of the same name and type."""
    other = {t.spec.name: t for t in here.tasks}
    for task in flown.tasks:
        mate = other.get(task.spec.name)
        dtype = task.type.params_dtype
        if mate is None or dtype is None or mate.type.params_dtype != dtype or mate.type.name != task.type.name:
            continue
        a, b = params_of(flown, task), params_of(here, mate)
        if a == b:
            continue
        for name in dtype.names or ():
            assert dtype.fields is not None
            field, at = dtype.fields[name][:2]
            base, shape = field.subdtype or (field, ())
            for k in range(int(np.prod(shape, dtype=int))):
                place = at + k * base.itemsize
                if a[place : place + base.itemsize] != b[place : place + base.itemsize]:
                    x, y = (np.frombuffer(side, base, 1, place)[0].item() for side in (a, b))
                    index = "".join(f"[{i}]" for i in np.unravel_index(k, shape)) if shape else ""
                    yield ParameterDifference(f"{flown.name}.{task.spec.name}.{name}{index}", x, y)


def as_recorded(image: bytes, flown: CompiledNode, recorded: CompiledNode) -> bytes:
    """An image with the hash and the parameters of another load blob of the same layout: what is left is what was computed."""
    out: Any = bytearray(image)
    out[:8] = recorded.hash.to_bytes(8, "little")
    for task, mate in zip(flown.tasks, recorded.tasks, strict=True):
        values = params_of(recorded, mate)
        out[task.params_offset : task.params_offset + len(values)] = values
    return bytes(out)
