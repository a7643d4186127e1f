"""Numbers with 95 % intervals.

Bootstraps resample tasks, not episodes, because episodes of one task are correlated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from learners.run.metrics import Interval, wilson

ROUNDS = 1000
"""Resamples of the bootstrap."""
SEED = 20260123
"""Of every bootstrap, so that the same samples have the same interval."""

Array = NDArray[np.float64]
Sample = tuple[str, float]
"""A task and a value."""


@dataclass(frozen=True)
class Estimate:
    """A value, the ends of its interval, and the number of samples: ``Estimate(0.82, 0.71, 0.90, 60)``.

    NaN with 0 samples where there was nothing to measure.
    """

    value: float
    low: float
    high: float
    n: int


NOTHING = Estimate(nan, nan, nan, 0)


def mean(samples: Sequence[Sample]) -> Estimate:
    """Returns the mean, with the percentile bootstrap over tasks (B. Efron, Annals of Statistics 7, 1979)."""
    return difference(samples, None)


def difference(first: Sequence[Sample], second: Sequence[Sample] | None) -> Estimate:
    """Returns the first mean minus the second, with tasks resampled jointly. A ``second`` of None counts as
    0."""
    if not first or (second is not None and not second):
        return NOTHING
    tasks = sorted({task for task, _ in (*first, *(second or ()))})
    draws = drawn(len(tasks), ROUNDS, np.random.default_rng(SEED))

    def statistic_of(weights: Array) -> Array:
        means = _means(first, tasks, weights)
        return means if second is None else means - _means(second, tasks, weights)

    value = float(statistic_of(np.ones((1, len(tasks))))[0])
    low, high = _ends(statistic_of(draws))
    return Estimate(value, low, high, len(first) + len(second or ()))


def share(samples: Sequence[Sample]) -> Estimate:
    """Returns a mean of values in [0, 1]; on either side the wider of the bootstrap's and Wilson's interval.

    The bootstrap alone has no width where all values are equal; Wilson's ignores that tasks are correlated.
    """
    if not samples:
        return NOTHING
    bootstrap = mean(samples)
    low, high = wilson(sum(value for _, value in samples), len(samples))
    return Estimate(bootstrap.value, min(low, bootstrap.low), max(high, bootstrap.high), bootstrap.n)


def student(values: Sequence[float]) -> Interval:
    """Returns Student's t interval of the mean; the whole line for a single value."""
    if len(values) < 2:
        return Interval(-inf, inf)
    margin = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Interval(float(np.mean(values)) - margin, float(np.mean(values)) + margin)


def slope(values: Sequence[float]) -> Estimate:
    """Returns the slope per step of the least-squares line through ``values``, with Student's t interval.

    Needs at least three values.
    """
    line = stats.linregress(range(len(values)), values)
    error = float(line.stderr) if max(values) > min(values) else 0.0  # scipy has none for a constant
    margin = float(stats.t.ppf(0.975, len(values) - 2)) * error
    value = float(line.slope)
    return Estimate(value, value - margin, value + margin, len(values))


def statistic(
    groups: Sequence[Sequence[tuple[float, float]]], compute: Callable[[Array, Array], float]
) -> Estimate:
    """Returns any statistic of pairs, with the bootstrap over groups (tasks).

    ``groups`` contains the pairs of each task; ``compute`` gets two arrays of shape (pairs,). Resamples for
    which ``compute`` returns NaN (because they have one class only, for example) are left out.
    """
    arrays = [np.array(group, np.float64).reshape(-1, 2) for group in groups if group]
    if not arrays:
        return NOTHING
    whole = np.concatenate(arrays)
    value = compute(whole[:, 0], whole[:, 1])
    rng = np.random.default_rng(SEED)
    resampled = []
    for _ in range(ROUNDS // 4):
        again = np.concatenate([arrays[i] for i in rng.integers(len(arrays), size=len(arrays))])
        resampled.append(compute(again[:, 0], again[:, 1]))
    low, high = _ends(np.array(resampled))
    return Estimate(value, low, high, len(whole))


def drawn(units: int, rounds: int, rng: np.random.Generator) -> Array:
    """Returns how often each resample draws each of the units, tasks for example: shape (rounds, units)."""
    return rng.multinomial(units, np.full(units, 1 / units), size=rounds).astype(np.float64)


def calibration_error(scores: Array, sound: Array) -> float:
    """Returns the expected calibration error of ``scores / 10`` as the probability that a turn is sound, in
    ten equal bins (M. Pakdaman Naeini et al., AAAI 2015). Both arrays have shape (turns,); ``sound`` is 0 or
    1."""
    bins = np.minimum((scores).astype(int), 9)
    error = 0.0
    for index in np.unique(bins):
        inside = bins == index
        error += float(inside.mean()) * abs(float(scores[inside].mean()) / 10.0 - float(sound[inside].mean()))
    return error


def auc(scores: Array, sound: Array) -> float:
    """Returns the probability that a sound turn scores above a faulty one, ties counting half; NaN without
    both kinds."""
    good, bad = scores[sound > 0.5], scores[sound <= 0.5]
    if not len(good) or not len(bad):
        return nan
    return float(stats.mannwhitneyu(good, bad).statistic / (len(good) * len(bad)))


def _means(samples: Sequence[Sample], tasks: Sequence[str], weights: Array) -> Array:
    """Returns the mean under each row of ``weights``, shape (rows,); NaN where a row draws no task that has
    values."""
    index_of = {task: i for i, task in enumerate(tasks)}
    sums, counts = np.zeros(len(tasks)), np.zeros(len(tasks))
    for task, value in samples:
        sums[index_of[task]] += value
        counts[index_of[task]] += 1
    with np.errstate(invalid="ignore"):
        means: Array = (weights @ sums) / (weights @ counts)
    return means


def _ends(values: Array) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return nan, nan
    low, high = np.percentile(known, [2.5, 97.5]).tolist()
    return low, high
