"""Everything in this process: objects are plain objects, episodes are threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from learners.base import In, Out
from learners.config import RunConfig
from learners.rollout.lockstep import Lockstep
from learners.rollout.threads import run_pool, run_waves
from learners.run.build import Parts, assemble


class Local:
    """Runs items in waves of threads, or in a pool of them.

    Waves are for generators whose batches must not depend on timing (``learners.rollout.lockstep``): a pool hands a
    free slot to the next item as soon as one ends, so that timing decides which requests meet in a batch.
    """

    @dataclass
    class Config:
        torch_threads: int | None
        """Threads of one torch operation; None leaves torch's choice. One is best for models of a few million
        parameters. The number may change the last bits of results, so a resumed run must keep it."""

    restarts = 0  # nothing can be lost but all

    def __init__(self, config: Config) -> None:
        if config.torch_threads is not None:
            torch.set_num_threads(config.torch_threads)

    def assemble(self, config: RunConfig) -> Parts:
        """Everything in this process; raises as ``learners.run.build.build``."""
        return assemble(config, self)

    def map(
        self, fn: Callable[[In], Out], items: Iterable[In], *, limit: int, waves: bool
    ) -> list[Out | Exception]:
        """Runs ``fn`` on every item, ``limit`` threads at once; results in the order of the items.

        An ``Exception`` stands where ``fn`` raised it. Anything graver, an interrupt say, is raised here.
        """
        return run_waves(fn, items, limit, Lockstep) if waves else run_pool(fn, items, limit)

    def each(self, fn: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
        """One after the other: they would share the processors anyway."""
        return [fn(item) for item in items]

    def close(self) -> None:
        """There is no other process."""
