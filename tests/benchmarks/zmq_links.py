"""Round trips over ZeroMQ: `python tests/benchmarks/zmq_links.py [--rounds 20000]`.

A question to a board in a process of its own and its answer (PING and PONG with 64 bytes, through frames, checksums and the
session), beside a bare echo of 64
bytes between two processes with the same sockets, in turns, in one run. Then the flagship with its boards in four processes. Times are of this
computer at this moment: nothing is asserted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import zmq

from hil import Bench
from hil.link import protocol

BENCHES = Path(__file__).parents[2] / "bench_configs"


def echo(endpoint: str) -> None:
    """The bare other end."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as s:
        s.connect(endpoint)
        while True:
            data = s.recv()
            if not data:
                return
            s.send(data)


def bare(rounds: int, endpoint: str) -> np.ndarray:
    """Round trips of a bare echo, us."""
    process = multiprocessing.get_context("spawn").Process(target=echo, args=(endpoint,))
    out = np.zeros(rounds)
    with zmq.Context() as context, context.socket(zmq.PAIR) as s:
        s.bind(endpoint)
        process.start()
        data = bytes(64)
        for k in range(rounds):
            began = time.perf_counter_ns()
            s.send(data)
            s.recv()
            out[k] = time.perf_counter_ns() - began
        s.send(b"")
        process.join()
    return out[rounds // 10 :] * 1e-3


def ours(rounds: int) -> np.ndarray:
    """Round trips of PING and PONG to boards in another process, us."""
    out = np.zeros(rounds)
    with Bench.load(BENCHES / "zhuque3_zmq.toml").start(seed=1) as flight:
        group = flight._remote.groups[0]
        for k in range(rounds):
            began = time.perf_counter_ns()
            group.ask(protocol.PING, bytes(64), protocol.PONG)
            out[k] = time.perf_counter_ns() - began
    return out[rounds // 10 :] * 1e-3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=4)
    args = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    ratios = []
    for pair in range(args.pairs):
        with tempfile.TemporaryDirectory() as folder:
            a = bare(args.rounds // args.pairs, f"ipc://{folder}/e")
        b = ours(args.rounds // args.pairs)
        ratios.append(np.median(b) / np.median(a))
        print(f"pair {pair}: bare pyzmq echo p50 {np.median(a):.1f} us, p99 {np.quantile(a, 0.99):.0f}; "
              f"PING through the link p50 {np.median(b):.1f}, p99 {np.quantile(b, 0.99):.0f}; ratio of p50 {ratios[-1]:.2f}")
    print(f"median ratio {np.median(ratios):.2f} (wanted: at most 1.5)")
    with Bench.load(BENCHES / "zhuque3_zmq4.toml").start(seed=1) as flight:
        flight.step(500)
        began = time.perf_counter()
        flight.step(5000)
        print(f"boards in four processes, lockstep: {5.0 / (time.perf_counter() - began):.2f} times real time (wanted: at least 1)")


if __name__ == "__main__":
    main()
