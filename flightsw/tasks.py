"""Task types: C tasks of the package, C tasks of a user's library, Python tasks.

All declare the same: topics read and written, a state struct, a parameter struct. Python tasks are ordinary functions of one
argument, a `TaskIO`; their structs are C text, so that defaults and ranges are declared the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI

from flightsw._native import ffi, include_dir, lib
from flightsw.errors import ConfigError
from flightsw.flight_code import DECLARED, refuse
from flightsw.flight_code.library import NOT_ELF, check_library
from flightsw.messages import MessageType, cffi_section, dtype_of
from flightsw.params import ParamField, parse_struct


@dataclass(frozen=True)
class Port:
    """One expanded port of a task type."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True)
class TaskType:
    """What can be put into a schedule by its name."""

    name: str
    doc: str
    reads: tuple[Port, ...]
    writes: tuple[Port, ...]
    state_name: str
    state_dtype: np.dtype[Any] | None
    params_dtype: np.dtype[Any] | None
    params: Mapping[str, ParamField]
    desc: Any = field(repr=False)
    python: Callable[[TaskIO], None] | None = None
    exact: bool = True             # False: the user let it pass the checks of flight code
    doubts: tuple[str, ...] = ()   # of a C task: what those checks found, or why they were not made

    def initial_state(self, params: np.ndarray[Any, Any]) -> bytes:
        """State bytes that the task's init makes of its parameters."""
        if self.state_dtype is None:
            return b""
        state = bytearray(self.state_dtype.itemsize)
        if self.desc.init != ffi.NULL:
            raw = bytearray(params.tobytes() or b"\0")
            self.desc.init(ffi.from_buffer(state), ffi.from_buffer(raw))
        return bytes(state)


class TaskIO:
    """What a Python task sees in a step: topics it declared, state, parameters, tick. Views into the image: no copies.

    `reads[port]`, `writes[port]`: numpy records (None where an optional port is not bound); `state`, `params`: records.
    """

    __slots__ = ("_heads", "_io", "_write_bits", "params", "reads", "state", "writes")

    def __init__(self, io: Any, task: TaskType, messages: Mapping[str, MessageType]) -> None:
        self._io = io
        self.reads: dict[str, Any] = {}
        self.writes: dict[str, Any] = {}
        self._heads: dict[str, Any] = {}
        self._write_bits = {p.name: 1 << k for k, p in enumerate(task.writes)}
        inputs = getattr(io, "in")  # a keyword in Python
        for k, port in enumerate(task.reads):
            self.reads[port.name] = _record(inputs[k], messages[port.type].dtype)
            self._heads[port.name] = io.in_head[k]
        for k, port in enumerate(task.writes):
            self.writes[port.name] = _record(io.out[k], messages[port.type].dtype)
        self.state = _record(io.state, task.state_dtype)
        self.params = _record(io.params, task.params_dtype)

    @property
    def tick(self) -> int:
        """Base ticks since start."""
        return int(self._io.tick)

    @property
    def t_ns(self) -> int:
        """Mission elapsed time, ns."""
        return int(self._io.t_ns)

    @property
    def dt_ns(self) -> int:
        """Period of this task, ns."""
        return int(self._io.dt_ns)

    def age_ticks(self, port: str) -> int | None:
        """Ticks since the topic was last written; None if it never was, or the port is not bound."""
        head = self._heads[port]
        return None if head == ffi.NULL or head.tick < 0 else int(self._io.tick - head.tick)

    def gauss(self, channel: int) -> np.ndarray[Any, Any]:
        """Four standard normal numbers of this run's seed, node and tick: the same ones whenever the tick is run again."""
        return self._draw(lib.fsw_rng_gauss4, channel)

    def uniform(self, channel: int) -> np.ndarray[Any, Any]:
        """Four numbers between 0 and 1, both excluded, drawn as those of `gauss`: from a channel, take one or the other."""
        return self._draw(lib.fsw_rng_uniform4, channel)

    def _draw(self, function: Any, channel: int) -> np.ndarray[Any, Any]:
        out = np.zeros(4)
        rng = ffi.new("fsw_rng_t *", {"seed": self._io.seed, "stream": self._io.stream})
        function(rng, self._io.tick, channel, ffi.from_buffer("double[]", out, require_writable=True))
        return out

    def withhold(self, port: str) -> None:
        """Do not count this write port as written in this tick."""
        self._io.publish &= ~self._write_bits[port]


def _record(pointer: Any, dtype: np.dtype[Any] | None) -> Any:
    if pointer == ffi.NULL or dtype is None:
        return None
    raw = ffi.cast("uint8_t *", pointer)
    return np.frombuffer(ffi.buffer(raw, dtype.itemsize), dtype)[0:1].reshape(())


def _ports(ports: Any, count: int) -> tuple[Port, ...]:
    out = []
    for i in range(count):
        p = ports[i]
        name, kind = ffi.string(p.name).decode(), ffi.string(p.type).decode()
        if p.count == 1:
            out.append(Port(name, kind, p.required > 0))
        else:
            out += [Port(f"{name}{k}", kind, k < p.required) for k in range(p.count)]
    return tuple(out)


def _text(pointer: Any) -> str:
    return "" if pointer == ffi.NULL else ffi.string(pointer).decode()


def _from_desc(desc: Any, ffi_: Any, headers: Mapping[str, str]) -> TaskType:
    state_name, params_name = _text(desc.state_type), _text(desc.params_type)
    state = dtype_of(ffi_.typeof(state_name)) if desc.state_size else None
    params = dtype_of(ffi_.typeof(params_name)) if desc.params_size else None
    fields: dict[str, ParamField] = {}
    for text in headers.values():
        fields = fields or parse_struct(text, params_name)
    return TaskType(_text(desc.name), _text(desc.doc), _ports(desc.reads, desc.n_reads), _ports(desc.writes, desc.n_writes),
                    state_name, state, params, fields, desc)


@lru_cache(maxsize=1)
def builtin_tasks() -> Mapping[str, TaskType]:
    """C tasks of the package, by name."""
    headers = {p.name: p.read_text("utf-8") for p in sorted((include_dir() / "flightsw").glob("*.h"))}
    n = ffi.new("uint32_t *")
    table = lib.fsw_builtin_tasks(n)
    return {t.name: t for t in (_from_desc(table[i], ffi, headers) for i in range(n[0]))}


def load_plugin(library: Path, headers: Iterable[Path], exact: bool = True) -> dict[str, TaskType]:
    """C tasks of a user's shared library; `headers` declare their state and parameter structs between cffi markers.

    exact=False: load it also when it calls what flight code may not call; a log with its tasks says so. Raises ConfigError when the
    library or a header cannot be used, or when the library calls what flight code may not call: one problem per function.
    """
    n = ffi.new("uint32_t *")
    problem = ffi.new("char[512]")
    if not library.is_file():
        raise ConfigError.one(str(library), "", "there is no such library; build it first")
    found = check_library(library)
    if found and exact:
        raise ConfigError(found)
    doubts = [f"{library.name}: {NOT_ELF}"] if found is None else [f"{library.name} {p.key or p.text}" for p in found]
    if not exact and not doubts:
        doubts = [f"{library.name}: {DECLARED}"]
    table = lib.fsw_plugin_open(str(library.resolve()).encode(), n, problem, 512)
    if table == ffi.NULL:
        raise ConfigError.one(str(library), "", f"cannot be loaded: {ffi.string(problem).decode(errors='replace')}")
    ffi_ = FFI()
    texts = {}
    for header in headers:
        texts[str(header)] = header.read_text("utf-8")
        ffi_.cdef(cffi_section(texts[str(header)]))
    types = (_from_desc(table[i], ffi_, texts) for i in range(n[0]))
    return {t.name: replace(t, exact=exact, doubts=tuple(doubts)) for t in types}


_KEEP: list[Any] = []  # C memory of Python task descriptors, for the life of the process


def python_task(name: str, *, reads: Mapping[str, str], writes: Mapping[str, str], state: str = "", params: str = "",
                optional: Iterable[str] = (), doc: str = "",
                exact: bool = True) -> Callable[[Callable[[TaskIO], None]], TaskType]:
    """Declare a Python function as a task: `@python_task("my.law", reads={"nav": "fsw_nav_t"}, writes={...})`.

    reads, writes: port name to message type. state, params: C text of one struct each, with the annotations of task.h.
    The function gets a `TaskIO`, returns nothing, and must depend on nothing else (no clock, no randomness, no state of its own): a
    bench or a graph with one that does is refused. exact=False lets a prototype pass; a log with it says so.
    """

    def wrap(function: Callable[[TaskIO], None]) -> TaskType:
        wanted = set(optional)
        ports = {"reads": [Port(p, t, p not in wanted) for p, t in reads.items()],
                 "writes": [Port(p, t, p not in wanted) for p, t in writes.items()]}
        sdt, pdt = _struct_dtype(state), _struct_dtype(params)
        desc = ffi.new("fsw_task_desc_t *")
        strings: list[Any] = []

        def c(text: str) -> Any:
            strings.append(ffi.new("char[]", text.encode()))
            return strings[-1]

        desc.name, desc.step = c(name), lib.fsw_py_step
        for side, plist in ports.items():
            array = ffi.new("fsw_port_t[]", max(1, len(plist)))
            for k, p in enumerate(plist):
                array[k].name, array[k].type = c(p.name), c(p.type)
                array[k].count, array[k].required = 1, int(p.required)
            setattr(desc, side, array)
            setattr(desc, f"n_{side}", len(plist))
            strings.append(array)
        desc.state_size = sdt.itemsize if sdt is not None else 0
        desc.params_size = pdt.itemsize if pdt is not None else 0
        _KEEP.append((desc, strings))
        fields = parse_struct(params, _struct_name(params)) if params else {}
        return TaskType(name, doc or (function.__doc__ or "").strip(), tuple(ports["reads"]), tuple(ports["writes"]),
                        _struct_name(state) if state else "", sdt, pdt, fields, desc, function, exact)

    return wrap


def _struct_name(text: str) -> str:
    found = re.search(r"}\s*(\w+)\s*;", text)
    if found is None:
        raise ConfigError.one("python task", "", "state and params are C text: typedef struct { double x; } name_t;")
    return found[1]


def _struct_dtype(text: str) -> np.dtype[Any] | None:
    if not text:
        return None
    ffi_ = FFI()
    ffi_.cdef(text)
    return dtype_of(ffi_.typeof(_struct_name(text)))


_RUNNING: dict[Any, tuple[Callable[[TaskIO], None], TaskIO]] = {}  # by address, as a pointer: equal ones have equal hashes
_FAILURE: list[BaseException] = []


def bind_python(io: Any, task: TaskType, messages: Mapping[str, MessageType]) -> Any:
    """Called when a node with a Python task is loaded: from here on the C schedule can call it. Returns its handle.

    Raises ConfigError when the task uses what flight code may not use.
    """
    assert task.python is not None
    refuse(task)
    handle = ffi.cast("fsw_io_t *", io)
    _RUNNING[handle] = (task.python, TaskIO(io, task, messages))
    return handle


def unbind_python(handle: Any) -> None:
    """Forget a bound Python task."""
    _RUNNING.pop(handle, None)


def take_failure() -> BaseException | None:
    """The exception that a Python task raised in the last run, once."""
    return _FAILURE.pop() if _FAILURE else None


def keep_failure(kind: type[BaseException], value: BaseException, trace: Any) -> None:
    """For callbacks from C: what they raise is kept for `take_failure`."""
    _FAILURE[:] = [value.with_traceback(trace)]


@ffi.def_extern(error=-100, onerror=keep_failure)  # type: ignore[untyped-decorator]
def fsw_py_step(io: Any) -> int:
    function, task_io = _RUNNING[io]
    function(task_io)
    return 0
