"""Tests of whether two policies differ, over episodes, tasks and runs. All p-values are two-sided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from benchmarks.common.estimates import SEED, Array

_FLIPS = 9999
"""Sign changes of a permutation test: all where there are no more, otherwise as many random ones."""
_CONSTANT = 1e-12
"""Runs whose means are this close are equal but for rounding."""


@dataclass(frozen=True)
class Flips:
    """Pairs of episodes by what became of them, and the exact test of Q. McNemar (Psychometrika 12, 1947)."""

    pairs: int
    gained: int
    """Only the second succeeds."""
    lost: int
    """Only the first succeeds."""
    p: float

    @property
    def disagreement(self) -> float:
        """Share of the pairs in which one of the two succeeds."""
        return (self.gained + self.lost) / self.pairs


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> Flips:
    """Compares the successes of pairs of episodes.

    Raises:
        ValueError: the lengths differ, or there are no pairs.
    """
    pairs = list(zip(first, second, strict=True))
    if not pairs:
        raise ValueError("there are no pairs")
    gained = sum(after and not before for before, after in pairs)
    lost = sum(before and not after for before, after in pairs)
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Flips(len(pairs), gained, lost, p)


def permutation(differences: Array) -> float:
    """Returns the p-value of the mean of ``differences``, shape (tasks,), when their signs are changed: all
    ways, or 9,999 random ones with a fixed seed.

    With one pair of episodes for each task, this is McNemar's test.
    """
    changed = differences[differences != 0.0]  # the sign of 0 changes nothing
    if len(changed) < 2:
        return 1.0
    result = stats.permutation_test(
        (changed,),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_FLIPS,
        random_state=np.random.default_rng(SEED),
    )
    return float(result.pvalue)


def welch(first: Array, second: Array) -> float | None:
    """Returns the p-value of Welch's t test of the means of runs, shapes (runs,); None where a group has
    fewer than two runs, or no runs differ."""
    if min(len(first), len(second)) < 2 or max(np.ptp(first), np.ptp(second)) < _CONSTANT:
        return None
    return float(stats.ttest_ind(first, second, equal_var=False).pvalue)


def student(gains: Array) -> float | None:
    """Returns the p-value of Student's t test that the mean gain of runs, shape (runs,), is 0; None with
    fewer than two runs, or if they do not differ."""
    if len(gains) < 2 or np.ptp(gains) < _CONSTANT:
        return None
    return float(stats.ttest_1samp(gains, 0.0).pvalue)
