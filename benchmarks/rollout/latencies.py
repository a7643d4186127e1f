"""How long everything takes, drawn before anything runs, so that every mode has the same work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Medians:
    """Median seconds of an action, a program and a verdict."""

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
        """Draws log-normal times with ``sigma`` as the standard deviation of the logarithm."""
        rng = np.random.default_rng(seed)
        shape = (episodes, turns)
        drawn = [
            median * np.exp(sigma * rng.standard_normal(shape))
            for median in (medians.model, medians.tool, medians.coach)
        ]
        return cls(*drawn)

    def played(self, in_flight: int) -> float:
        """Returns a lower bound of the seconds without a coach, with ``in_flight`` episodes at once: the
        longest episode, or the sum of all episodes shared evenly."""
        return _share_evenly((self.model + self.tool).sum(axis=1), in_flight)

    def bound(self, in_flight: int) -> float:
        """Returns a lower bound of the seconds of any schedule with a coach: a turn starts when the previous
        turn has ended, a verdict starts when its turn has ended, and an episode ends with its last
        verdict."""
        over = np.cumsum(self.model + self.tool, axis=1)
        return max(float((over + self.coach).max()), self.played(in_flight))

    def blocking(self, in_flight: int) -> float:
        """Returns a lower bound of the seconds when every turn waits for its verdict."""
        return _share_evenly((self.model + self.tool + self.coach).sum(axis=1), in_flight)

    def one_by_one(self, in_flight: int) -> float:
        """Returns a lower bound of the seconds when the coach gives one verdict at a time over all
        episodes."""
        return max(self.blocking(in_flight), float(self.coach.sum()))


def _share_evenly(seconds: Array, in_flight: int) -> float:
    return max(float(seconds.max()), float(seconds.sum()) / in_flight)
