"""Everything in this process: components are plain objects, episodes are threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from conf.ranges import Count
from learners.config import RunConfig
from learners.rollout.lockstep import Lockstep
from learners.rollout.threads import run_pool, run_waves
from learners.runtimes.base import In, Out, Parts
from learners.runtimes.parts import assemble


class Local:
    """Runs items in waves of threads, in one or more groups, or in a thread pool.

    Waves are for generators whose batches must not depend on timing (``learners.rollout.lockstep``). A pool
    gives a free slot to the next item as soon as one ends, so timing decides which requests are batched
    together.
    """

    @dataclass
    class Config:
        torch_threads: Count | None
        """Threads of one torch operation; None: torch's default. One is fastest for models of a few million
        parameters. The number may change the last bits of results, so a resumed run must keep it."""

    restarts = 0  # there is only this process to lose

    def __init__(self, config: Config) -> None:
        if config.torch_threads is not None:
            torch.set_num_threads(config.torch_threads)

    def assemble(self, config: RunConfig) -> Parts:
        """Builds everything in this process; raises as ``Runtime.assemble``."""
        return assemble(config, self)

    def map(
        self, fn: Callable[[In], Out], items: Iterable[In], *, limit: int, groups: int | None
    ) -> list[Out | Exception]:
        """Runs ``fn`` on every item, in ``limit`` threads at once; results in the order of the items.

        An ``Exception`` takes the place of the result where ``fn`` raised it. Anything else that ``fn``
        raises, such as an interrupt, is raised here.
        """
        if groups is None:
            return run_pool(fn, items, limit)
        turn = threading.Lock()  # there is one set of cores to sample on
        return run_waves(fn, items, limit, groups, lambda wave: Lockstep(len(wave), turn))

    def each(self, fn: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
        """Runs ``fn`` on one item after the other: in parallel they would share the processors anyway."""
        return [fn(item) for item in items]

    def close(self) -> None:
        """Does nothing: there is no other process."""
