"""Every reachable state of one engine's sequence under every input, by the C that flies (native/include/flightsw/proof.h).

The table is made by fsw_seq_table() from the same parameters that a flight gets; what is stepped is fsw_seq_step() itself. Memory is numpy's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from flightsw._native import ffi, lib
from flightsw.errors import FlightswError
from hil.sequence.load import Sequence
from hil.sequence.model import VALVES

SLICE = 4_000_000       # transitions per call, about 0.2 s
FLIP_SLICE = 20_000     # states per call
FIRST_NODES, MOST_NODES = 1 << 22, 1 << 27   # states; the memory of those never reached is never touched
_NODE_BYTES = int(ffi.sizeof("fsw_proof_node_t"))
# sensing that `fsw_seq_table` also takes; it has no part in the step
_SENSING = {"lit_share": 0.15, "rise_share": 0.02, "dead_share": 0.3, "disagree_share": 0.08, "range_share": 8.0, "lit_steps": 2.0,
            "rise_steps": 2.0, "dead_steps": 3.0, "disqualify_steps": 5.0, "grace_s": 1.6}

Progress = Callable[[str, int, int, int], None]  # what is done, so far, known so far (states), transitions or flips


@dataclass(frozen=True)
class Invariant:
    """One sentence that must hold on every transition. holds: it did on all that were made."""

    number: int
    name: str
    text: str
    holds: bool


@dataclass(frozen=True)
class Move:
    """One step of a counter-example. t_s: time after it; is_: what held and was commanded; valves: energised after it.

    row, before: numbers of rows; events: codes of events.h; advances: it was a step of time; watched: bits that `before` looks at.
    """

    t_s: float
    before: int
    row: int
    is_: int
    valves: int
    flags: int
    events: tuple[int, ...]
    advances: bool
    watched: int


@dataclass(frozen=True)
class CounterExample:
    """The shortest way to a violated invariant. moves: from OFF; flipped: it ends in a state of which one bit was turned."""

    invariant: Invariant
    moves: tuple[Move, ...]
    flipped: bool = False


@dataclass(frozen=True)
class Proof:
    """What an exploration found. states, transitions, flips: numbers; rest_s: longest way to rest; complete: every state was stepped.

    seconds: wall time of exploration and of flips.
    """

    states: int
    transitions: int
    flips: int
    rest_s: float
    complete: bool
    invariants: tuple[Invariant, ...]
    counter_examples: tuple[CounterExample, ...]
    explore_s: float
    flips_s: float
    rows: tuple[int, ...]

    @property
    def holds(self) -> bool:
        """Every invariant on every transition of every reachable state."""
        return self.complete and all(i.holds for i in self.invariants)


def c_table(sequence: Sequence) -> tuple[Any, Any]:
    """(fsw_seq_table_t, fsw_seq_sense_limits_t) of a sequence, by the function that flies.

    FlightswError when the C refuses what the checks of the file let pass: a fault of this software.
    """
    params = ffi.new("fsw_sequencer_params_t *", _SENSING)
    for name, given in sequence.constants().items():
        setattr(params, name, given.value)
    table, limits = ffi.new("fsw_seq_table_t *"), ffi.new("fsw_seq_sense_limits_t *")
    problem = int(lib.fsw_seq_table(params, sequence.step_s, table, limits))
    if problem:
        raise FlightswError(f"{sequence.path}: the flight software refuses row {problem - 1} of the table that was made of this file")
    return table, limits


def requirements(sequence: Sequence) -> Any:
    """fsw_proof_requirements_t of a sequence."""
    engine = sequence.file.engine
    return ffi.new("fsw_proof_requirements_t *", {"cold": sequence.cold, "purge_min": round(engine.purge_min_s / sequence.step_s),
                                                  "lead_fuel": int(engine.lead == "fuel")})


class Explorer:
    """One exploration at work. Memory grows when it must: then the exploration begins anew."""

    def __init__(self, sequence: Sequence, nodes: int = FIRST_NODES, most: int = MOST_NODES) -> None:
        self.sequence, self.nodes, self.most = sequence, nodes, most
        self.table, _ = c_table(sequence)
        self.need = requirements(sequence)

    def _room(self) -> Any:
        n, bits = self.nodes, (self.nodes * 2 - 1).bit_length()
        self._memory = (np.empty(n * _NODE_BYTES, np.uint8), np.empty(n, np.uint32), np.empty(n, np.uint32), np.zeros(1 << bits, np.uint32))
        nodes, parent, via, slots = (ffi.from_buffer(m) for m in self._memory)
        return ffi.new("fsw_proof_t *", {
            "nodes": ffi.cast("fsw_proof_node_t *", nodes), "parent": ffi.cast("uint32_t *", parent), "via": ffi.cast("uint32_t *", via),
            "slots": ffi.cast("uint32_t *", slots), "max_nodes": n, "slot_bits": bits})

    def run(self, progress: Progress | None = None, flips: bool = True) -> Proof:
        """Explore, then turn every bit. progress is told now and then, and may raise to end it."""
        began = time.perf_counter()
        w = self._explore(progress)
        explored = time.perf_counter()
        if flips and not w.full and not w.violated:
            self._flip(w, progress)
        done = time.perf_counter()
        found = invariants(int(w.violated))
        bad = tuple(self._counter_example(w, i) for i in found if not i.holds)
        return Proof(int(w.n_nodes), int(w.n_transitions), int(w.n_flips), w.worst_rest * self.sequence.step_s, not w.full, found,
                     tuple(sorted(bad, key=lambda c: (len(c.moves), c.invariant.number))), explored - began, done - explored,
                     tuple(w.row_states))

    def _explore(self, progress: Progress | None) -> Any:
        while True:
            w = self._room()
            lib.fsw_proof_begin(w, self.table, self.need)
            while not lib.fsw_proof_explore(w, self.table, self.need, SLICE):
                if progress is not None:
                    progress("exploring", w.next, w.n_nodes, w.n_transitions)
            if not w.full or self.nodes * 4 > self.most:
                return w
            self.nodes *= 4

    def _flip(self, w: Any, progress: Progress | None) -> None:
        """Every bit of every state, on all processors: states are independent, each slice has an account of its own."""
        def one(first: int) -> tuple[int, Any]:
            own = ffi.new("fsw_proof_t *", w[0])
            own.n_flips = 0
            last = min(first + FLIP_SLICE, w.n_nodes)
            lib.fsw_proof_flips(own, self.table, first, last)
            return last - first, own

        done = 0
        pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        try:
            for states, own in pool.map(one, range(0, w.n_nodes, FLIP_SLICE)):
                done += states
                w.n_flips += own.n_flips
                for k in range(int(lib.FSW_PROOF_INVARIANTS)):
                    if own.violated & ~w.violated & 1 << k:
                        getattr(w, "from")[k], w.input[k] = getattr(own, "from")[k], own.input[k]
                w.violated |= own.violated
                if progress is not None:
                    progress("bit flips", done, w.n_nodes, w.n_flips)
        finally:
            pool.shutdown(cancel_futures=True)

    def _counter_example(self, w: Any, invariant: Invariant) -> CounterExample:
        k = invariant.number
        inputs, node = [int(w.input[k])], int(getattr(w, "from")[k])
        while w.parent[node] != node:
            inputs.append(int(w.via[node]))
            node = int(w.parent[node])
        inputs.reverse()
        if invariant.name == TABLE:
            return CounterExample(invariant, ())
        flipped = invariant.name == FLIP
        return CounterExample(invariant, tuple(self.play(inputs[:-1] if flipped else inputs)), flipped)

    def play(self, inputs: list[int]) -> list[Move]:
        """From OFF through these inputs."""
        engine, out = ffi.new("fsw_seq_engine_t *"), ffi.new("fsw_seq_out_t *")
        lib.fsw_seq_engine_init(engine)
        moves, t = [], 0
        for is_ in inputs:
            before = int(engine.row)
            advances = bool(is_ & lib.FSW_SEQ_CMD_ADVANCE)
            t += advances
            lib.fsw_seq_step(engine, is_, self.table, out)
            moves.append(Move(t * self.sequence.step_s, before, int(engine.row), is_, int(out.valves), int(engine.flags),
                              tuple(out.code[0 : out.n_events]), advances, int(lib.fsw_seq_watched(self.table, before))))
        return moves


FLIP, TABLE = "I18", "I42"


def invariants(violated: int) -> tuple[Invariant, ...]:
    """All that are checked, in their order; violated: bits of those that did not hold."""
    out = []
    for k in range(int(lib.FSW_PROOF_INVARIANTS)):
        name = lib.fsw_proof_name(k)
        if name == ffi.NULL:
            break
        out.append(Invariant(k, ffi.string(name).decode(), ffi.string(lib.fsw_proof_text(k)).decode(), not violated >> k & 1))
    return tuple(out)


def valve_names(valves: int) -> list[str]:
    """Names of energised valves, in the order of the file format."""
    return [name for name, bit in VALVES.items() if valves & bit]
