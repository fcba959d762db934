"""The same mistakes in Python, each declared with exact=False so that a bench lets it pass."""

import os
import random
import time

import numpy as np

from flightsw import TaskIO, python_task

STEPS = [0]
PORTS = {"reads": {"radalt": "fsw_radalt_t"}, "writes": {"tooth": "fsw_baro_t"}}


@python_task("teeth.py_clock", **PORTS, exact=False)
def clock(io: TaskIO) -> None:
    io.writes["tooth"]["p_pa"] = time.perf_counter()


@python_task("teeth.py_random", **PORTS, exact=False)
def draws(io: TaskIO) -> None:
    io.writes["tooth"]["p_pa"] = random.random()


@python_task("teeth.py_numpy_random", **PORTS, exact=False)
def draws_numpy(io: TaskIO) -> None:
    io.writes["tooth"]["p_pa"] = np.random.normal()


@python_task("teeth.py_urandom", **PORTS, exact=False)
def draws_bytes(io: TaskIO) -> None:
    io.writes["tooth"]["p_pa"] = float(os.urandom(2)[0])


@python_task("teeth.py_address", **PORTS, exact=False)
def address(io: TaskIO) -> None:
    io.writes["tooth"]["p_pa"] = float(id(io) >> 4)


@python_task("teeth.py_hash", **PORTS, exact=False)
def hashes(io: TaskIO) -> None:
    io.writes["tooth"]["p_pa"] = float(hash("radalt") & 0xFFFF)


@python_task("teeth.py_set", **PORTS, exact=False)
def order(io: TaskIO) -> None:
    io.writes["tooth"]["p_pa"] = float("".join(str(len(word)) for word in {"a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg"}))


@python_task("teeth.py_memory", **PORTS, exact=False)
def memory(io: TaskIO) -> None:
    STEPS[0] += 1
    io.writes["tooth"]["p_pa"] = float(STEPS[0])
