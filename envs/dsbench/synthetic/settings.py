"""Settings of the synthetic family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from conf.ranges import Natural, Range, Seed, Share

Rows = Annotated[int, Range(least=50, most=100_000)]
Noise = Annotated[float, Range(least=0, most=0.9)]


@dataclass(frozen=True)
class Synthetic:
    """Which tasks there are, and what they are like. A share of 0.3 is the probability that a task has the
    property; a task that has it keeps it when the share grows."""

    seed: Seed
    train: Natural
    """Number of training tasks."""
    heldout: Natural
    """Number of held-out tasks."""
    train_rows: Rows
    test_rows: Rows
    missing: Share
    """Tasks with missing values."""
    categories: Share
    """Tasks with text columns."""
    dates: Share
    """Tasks with a date column."""
    leaks: Share
    """Tasks with a column that repeats the target in train.csv and is of no use in test.csv."""
    imbalance: Share
    """Classification tasks with rare classes."""
    noise: Noise
    """Share of the target's variance that no column explains."""
