"""Medians, quartiles, and ratios of measurements that were taken in the same rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """Summary of a list of measurements: ``Spread(n=3, median=2.0, low=1.5, high=2.5, p90=2.8)``."""

    n: int
    median: float
    low: float
    """The lower quartile."""
    high: float
    """The upper quartile."""
    p90: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarises ``values``. Raises ``ValueError`` if there are none."""
        if not values:
            raise ValueError("nothing was measured")
        low, middle, high, p90 = np.percentile(values, [25, 50, 75, 90]).tolist()
        return cls(len(values), middle, low, high, p90)


@dataclass(frozen=True)
class Ratio:
    """One method's time over another's: the ratio of the overall medians, and the quartiles of the ratios of
    the single rounds."""

    median: float
    low: float
    high: float


Rounds = Sequence[Sequence[float]]
"""For each round, what was measured in it."""


def rotations(items: Sequence[T], rounds: int) -> Iterator[list[T]]:
    """Returns for each round all ``items`` in an order that begins with the next one: ``abc``, ``bca``,
    ``cab``, …"""
    for i in range(rounds):
        first = i % len(items)
        yield [*items[first:], *items[:first]]


def flat(rounds: Rounds) -> list[float]:
    """Returns the measurements of all rounds in one list."""
    return [value for values in rounds for value in values]


def ratio(ours: Rounds, theirs: Rounds) -> Ratio:
    """Returns the ratio of two methods that were measured in the same rounds.

    Raises:
        ValueError: the numbers of rounds differ.
    """
    pairs = [median(a) / median(b) for a, b in zip(ours, theirs, strict=True)]
    low, high = np.percentile(pairs, [25, 75]).tolist()
    return Ratio(median(flat(ours)) / median(flat(theirs)), low, high)
