"""A few numbers for many: medians, spreads, and ratios of what was measured in the same rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np


@dataclass(frozen=True)
class Spread:
    """What a list of measurements amounts to: ``Spread(n=3, median=2.0, low=1.5, high=2.5, p90=2.8)``."""

    n: int
    median: float
    low: float
    """The lower quartile."""
    high: float
    """The upper quartile."""
    p90: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises ``ValueError`` for no values."""
        if not values:
            raise ValueError("nothing was measured")
        low, middle, high, p90 = np.percentile(values, [25, 50, 75, 90]).tolist()
        return cls(len(values), middle, low, high, p90)


@dataclass(frozen=True)
class Ratio:
    """One method's time over another's: of the medians over all, and the quartiles of the rounds' own."""

    median: float
    low: float
    high: float


Rounds = Sequence[Sequence[float]]
"""For each round, what was measured in it."""


def flat(rounds: Rounds) -> list[float]:
    return [value for values in rounds for value in values]


def ratio(ours: Rounds, theirs: Rounds) -> Ratio:
    """Of two methods that took turns in the same rounds. Raises ``ValueError`` unless they did."""
    pairs = [median(a) / median(b) for a, b in zip(ours, theirs, strict=True)]
    low, high = np.percentile(pairs, [25, 75]).tolist()
    return Ratio(median(flat(ours)) / median(flat(theirs)), low, high)
