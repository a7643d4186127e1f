"""How long everything takes, drawn before anything runs: every way of scheduling has the same to do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Medians:
    """Seconds."""

    model: float
    tool: float
    coach: float


@dataclass(frozen=True)
class Latencies:
    """Seconds for each turn of each episode; every array is of shape (episodes, turns)."""

    model: Array
    tool: Array
    coach: Array

    @classmethod
    def draw(cls, episodes: int, turns: int, medians: Medians, sigma: float, seed: int) -> Latencies:
        """Log-normal, with ``sigma`` as the standard deviation of the logarithm."""
        rng = np.random.default_rng(seed)
        shape = (episodes, turns)
        drawn = [
            median * np.exp(sigma * rng.standard_normal(shape))
            for median in (medians.model, medians.tool, medians.coach)
        ]
        return cls(*drawn)

    def played(self) -> float:
        """Seconds until the longest episode is over when nobody judges: all episodes start at once."""
        return float((self.model + self.tool).sum(axis=1).max())

    def bound(self) -> float:
        """Seconds that no schedule can undercut: no turn starts before the one before it is over, no verdict
        before its turn is, and an episode is done with its last verdict."""
        over = np.cumsum(self.model + self.tool, axis=1)
        return float((over + self.coach).max())

    def blocking(self) -> float:
        """Seconds at best when every turn waits for its verdict."""
        return float((self.model + self.tool + self.coach).sum(axis=1).max())

    def one_by_one(self) -> float:
        """Seconds at least when verdicts are reached one at a time over all episodes."""
        return max(self.blocking(), float(self.coach.sum()))
