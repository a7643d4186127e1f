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

    def played(self, in_flight: int) -> float:
        """Seconds at best when nobody judges and ``in_flight`` episodes run at once: neither the longest
        episode can be undercut, nor all of them shared out evenly."""
        return _shared_out((self.model + self.tool).sum(axis=1), in_flight)

    def bound(self, in_flight: int) -> float:
        """Seconds that no schedule can undercut: no turn starts before the one before it is over, no verdict
        before its turn is, and an episode is done with its last verdict, for which none waits."""
        over = np.cumsum(self.model + self.tool, axis=1)
        return max(float((over + self.coach).max()), self.played(in_flight))

    def blocking(self, in_flight: int) -> float:
        """Seconds at best when every turn waits for its verdict."""
        return _shared_out((self.model + self.tool + self.coach).sum(axis=1), in_flight)

    def one_by_one(self, in_flight: int) -> float:
        """Seconds at least when verdicts are reached one at a time over all episodes."""
        return max(self.blocking(in_flight), float(self.coach.sum()))


def _shared_out(seconds: Array, in_flight: int) -> float:
    return max(float(seconds.max()), float(seconds.sum()) / in_flight)
