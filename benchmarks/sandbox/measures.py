"""The measurements. Methods alternate, so that other work on the machine affects all of them alike."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.common.spread import Spread, rotations
from benchmarks.sandbox.lanes import Lane, MethodError
from benchmarks.sandbox.methods import Method, backend, preload
from benchmarks.sandbox.workloads import SNIPPET, Workload
from sandbox.base import Backend, SandboxSpec

OVERLOAD = 2.0
"""The duty (``PoolWait.duty``) of a pool that cannot keep up."""


@dataclass(frozen=True)
class Plan:
    """The amount of measurement."""

    rounds: int
    turn: int
    """Runs of one program that a fast method makes in succession, in one round."""
    turn_s: float
    """Seconds of a method's turn after which no further run begins; the first run always takes place."""
    levels: tuple[int, ...]
    """Numbers of programs in flight."""
    windows: int
    """Throughput windows for each method and level."""
    window_s: float
    pools: tuple[int, ...]
    """Pool sizes, each with as many episodes in flight."""
    duty: float
    """Share of the time in which the pool's starters work, where the pool keeps up."""
    takes: int
    """Minimum number of sandboxes taken from each pool, not counting the first of each episode in flight."""


FULL = Plan(15, 5, 0.25, (1, 2, 8), 3, 2.0, (2, 8), 0.5, 24)
QUICK = Plan(2, 3, 0.1, (1, 2), 1, 0.3, (1,), 0.5, 2)


def check(lane: Lane, workload: Workload) -> float:
    """Runs a program once and returns its seconds. Raises ``MethodError`` for unexpected output."""
    ran = lane.run(workload.code)
    if ran.stdout != workload.prints:
        raise MethodError(f"{workload.name} printed {ran.stdout!r}, not {workload.prints!r}")
    return ran.seconds


@dataclass(frozen=True)
class Lanes:
    """Open lanes of each method, one for each program in flight, and the seconds that each took to open."""

    of: Mapping[str, list[Lane]]
    starts: Mapping[str, list[float]]

    @classmethod
    def open(cls, methods: Sequence[Method], count: int) -> Lanes:
        """Opens ``count`` lanes of each method, one at a time, alternating. Raises ``MethodError``."""
        lanes = cls({method.name: [] for method in methods}, {method.name: [] for method in methods})
        try:
            for order in rotations(methods, count):
                for method in order:
                    opened = method.open()
                    lanes.of[method.name].append(opened.lane)
                    if opened.seconds is not None:
                        lanes.starts[method.name].append(opened.seconds)
        except BaseException:
            lanes.close()
            raise
        return lanes

    def close(self) -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda lane: lane.close(), [lane for some in self.of.values() for lane in some]))


def latencies(
    methods: Sequence[Method], lanes: Lanes, workloads: Sequence[Workload], plan: Plan
) -> dict[str, dict[str, list[list[float]]]]:
    """Returns seconds by method, workload and round, one program in flight; a first run of each is not
    counted."""
    seconds: dict[str, dict[str, list[list[float]]]] = {
        method.name: {workload.name: [] for workload in workloads} for method in methods
    }
    for method in methods:
        for workload in workloads:
            check(lanes.of[method.name][0], workload)
    for order in rotations(methods, plan.rounds):
        for workload in workloads:
            for method in order:
                seconds[method.name][workload.name].append(_runs(lanes.of[method.name][0], workload, plan))
    return seconds


def _runs(lane: Lane, workload: Workload, plan: Plan) -> list[float]:
    until, values = time.perf_counter() + plan.turn_s, [check(lane, workload)]
    while len(values) < plan.turn and time.perf_counter() < until:
        values.append(check(lane, workload))
    return values


def throughputs(methods: Sequence[Method], lanes: Lanes, plan: Plan) -> dict[str, dict[int, list[float]]]:
    """Returns headline programs per second, by method and programs in flight: one value for each window."""
    rates: dict[str, dict[int, list[float]]] = {m.name: {n: [] for n in plan.levels} for m in methods}
    for order in rotations(methods, plan.windows):
        for level in plan.levels:
            for method in order:
                rates[method.name][level].append(_window(lanes.of[method.name][:level], plan.window_s))
    return rates


def _window(lanes: Sequence[Lane], seconds: float) -> float:
    """Returns the completed programs over the seconds until the last one ended; none begins after the
    window."""
    gate = threading.Barrier(len(lanes))

    def work(lane: Lane) -> tuple[int, float, float]:
        gate.wait()
        started, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() < started + seconds:
            check(lane, SNIPPET)
            count += 1
        return count, started, time.perf_counter()

    with ThreadPoolExecutor(len(lanes)) as threads:
        counts, starts, ends = zip(*threads.map(work, lanes), strict=True)
    return float(sum(counts) / (max(ends) - min(starts)))


@dataclass(frozen=True)
class PoolWait:
    """Waiting times for sandboxes from a pool of as many sandboxes as there are episodes in flight."""

    in_flight: int
    episode_s: float
    """Mean length of an episode, in seconds."""
    duty: float
    """Sandboxes that the episodes need over those that the starters can start; above 1 the pool runs
    empty."""
    waits_ms: Spread
    over_5_ms: float
    """Share of the waits that took longer than 5 ms."""
    first_ms: Spread
    """The first wait of each episode in flight, while the pool was empty; not part of ``waits_ms``."""


def pool_wait(in_flight: int, start_s: float, duty: float, takes: int) -> PoolWait:
    """Plays at least ``takes`` episodes on the docker backend. ``start_s``: seconds to start a cold sandbox.

    An episode takes a sandbox, runs the headline program three times, evenly spaced as between an agent's
    turns, and closes it; then the next one begins. Its length varies by up to a quarter in both directions.
    """
    config = {"pool": in_flight, "starting": 1}
    episode_s = in_flight * start_s / (config["starting"] * duty)
    each = 1 + -(-takes // in_flight)
    built = backend("docker", **config)
    try:
        with ThreadPoolExecutor(in_flight) as threads:
            plays = [threads.submit(_episodes, built, episode_s, each, seed) for seed in range(in_flight)]
            waits = [play.result() for play in plays]
    finally:
        built.close()
    later = [1e3 * wait for some in waits for wait in some[1:]]
    return PoolWait(
        in_flight,
        episode_s,
        duty,
        Spread.of(later),
        sum(wait > 5 for wait in later) / len(later),
        Spread.of([1e3 * some[0] for some in waits]),
    )


def _episodes(built: Backend, length: float, count: int, seed: int) -> list[float]:
    """Plays episodes one after the other and returns the seconds that each waited for its sandbox."""
    lengths, waits, spec = random.Random(seed), [], SandboxSpec(preload())
    for _ in range(count):
        started = time.perf_counter()
        box = built.open(spec)
        waits.append(time.perf_counter() - started)
        pause = length * lengths.uniform(0.75, 1.25) / 3
        for _ in range(3):
            result = box.run(SNIPPET.code)
            if result.stdout != SNIPPET.prints:
                raise MethodError(f"{result.status}: {result.stderr}")
            time.sleep(max(0.0, pause - result.wall_s))
        box.close()
    return waits
