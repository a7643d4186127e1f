"""Which processes of a run share a machine and its GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from learners.runtimes.distributed.base import Placement


@dataclass(frozen=True)
class Resources:
    """What processes need."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class PlacementPlan:
    """Where the ranks and engines of every group of policies go.

    Where a group has as many engines as ranks, rank i and engine i share a bundle: they are on one machine,
    and share a GPU if their fractions allow it. Otherwise each process has a bundle of its own.
    """

    groups: int
    ranks: int
    """Per group."""
    engines: int
    """Per group."""
    rank: Resources
    """Of one rank."""
    engine: Resources
    """Of one engine."""

    def bundles(self) -> list[tuple[float, float]]:
        """Returns (CPUs, GPUs) of every bundle, in order."""
        rank, engine = (self.rank.cpus, self.rank.gpus), (self.engine.cpus, self.engine.gpus)
        if self._paired:
            both = (rank[0] + engine[0], rank[1] + engine[1])
            return [both] * (self.ranks * self.groups)
        return ([rank] * self.ranks + [engine] * self.engines) * self.groups

    def of_rank(self, group: int, index: int) -> Placement:
        """Returns where a rank of a group goes."""
        return Placement(self._first(group) + index, self.rank.cpus, self.rank.gpus)

    def of_engine(self, group: int, index: int) -> Placement:
        """Returns where an engine of a group goes."""
        skipped = 0 if self._paired else self.ranks
        return Placement(self._first(group) + skipped + index, self.engine.cpus, self.engine.gpus)

    @property
    def _paired(self) -> bool:
        return self.ranks == self.engines

    def _first(self, group: int) -> int:
        return group * (self.ranks if self._paired else self.ranks + self.engines)


def total(bundles: Sequence[tuple[float, float]]) -> Resources:
    """Returns what all bundles need together."""
    return Resources(sum(cpus for cpus, _ in bundles), sum(gpus for _, gpus in bundles))
