"""Which processes of a run share a machine and its GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from learners.runtimes.distributed.base import Place


@dataclass(frozen=True)
class Need:
    """What one process takes."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Places:
    """Where ranks and engines of every group go.

    Rank i and engine i of a group are neighbours where there are as many of the one as of the other: they
    share a GPU if their fractions allow it. Otherwise each is placed by itself.
    """

    groups: int
    ranks: int
    engines: int
    """Of each group."""
    rank: Need
    engine: Need

    def bundles(self) -> list[tuple[float, float]]:
        """(CPUs, GPUs) of every place, in order."""
        rank, engine = (self.rank.cpus, self.rank.gpus), (self.engine.cpus, self.engine.gpus)
        if self._paired:
            both = (rank[0] + engine[0], rank[1] + engine[1])
            return [both] * (self.ranks * self.groups)
        return ([rank] * self.ranks + [engine] * self.engines) * self.groups

    def of_rank(self, group: int, index: int) -> Place:
        return Place(self._first(group) + index, self.rank.cpus, self.rank.gpus)

    def of_engine(self, group: int, index: int) -> Place:
        skipped = 0 if self._paired else self.ranks
        return Place(self._first(group) + skipped + index, self.engine.cpus, self.engine.gpus)

    @property
    def _paired(self) -> bool:
        return self.ranks == self.engines

    def _first(self, group: int) -> int:
        return group * (self.ranks if self._paired else self.ranks + self.engines)


def total(bundles: Sequence[tuple[float, float]]) -> Need:
    """What all places take together."""
    return Need(sum(cpus for cpus, _ in bundles), sum(gpus for _, gpus in bundles))
