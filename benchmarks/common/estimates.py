"""Numbers with their 95 % intervals. Tasks are what varies: episodes of one task hang together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

ROUNDS = 1000
"""Of the bootstrap."""
_SEED = 20260123
_Z = float(stats.norm.ppf(0.975))

Array = NDArray[np.float64]
Sample = tuple[str, float]
"""A task and a value."""


@dataclass(frozen=True)
class Estimate:
    """``Estimate(0.82, 0.71, 0.90, 60)``: a value, the ends of its interval, and how many values are in it.

    NaN, and 0 values, where there was nothing to measure.
    """

    value: float
    low: float
    high: float
    n: int


NOTHING = Estimate(nan, nan, nan, 0)


def mean(samples: Sequence[Sample]) -> Estimate:
    """The mean, with the percentile bootstrap over tasks (B. Efron, Annals of Statistics 7, 1979)."""
    return difference(samples, None)


def difference(first: Sequence[Sample], second: Sequence[Sample] | None) -> Estimate:
    """The first mean less the second, tasks drawn once for both; ``None`` counts as 0."""
    if not first or (second is not None and not second):
        return NOTHING
    tasks = sorted({task for task, _ in (*first, *(second or ()))})
    draws = _draws(len(tasks))

    def both(weights: Array) -> Array:
        found = _means(first, tasks, weights)
        return found if second is None else found - _means(second, tasks, weights)

    value = float(both(np.ones((1, len(tasks))))[0])
    low, high = _ends(both(draws))
    return Estimate(value, low, high, len(first) + len(second or ()))


def share(samples: Sequence[Sample]) -> Estimate:
    """A mean of values in [0, 1]: the wider end of the bootstrap's interval and of Wilson's, on either side.

    The bootstrap alone has no width where every value is the same, Wilson's knows nothing of tasks.
    """
    if not samples:
        return NOTHING
    found = mean(samples)
    low, high = wilson(sum(value for _, value in samples), len(samples))
    return Estimate(found.value, min(low, found.low), max(high, found.high), found.n)


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's score interval (E. B. Wilson, JASA 22, 1927), for successes that may be shared."""
    p, n, z = successes / trials, trials, _Z
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def statistic(
    groups: Sequence[Sequence[tuple[float, float]]], compute: Callable[[Array, Array], float]
) -> Estimate:
    """Any statistic of pairs, with the bootstrap over groups (tasks).

    ``groups``: for each task its pairs, in floats; ``compute`` gets two arrays of shape (pairs,). NaN from
    ``compute`` (a draw that has only one class, say) leaves the draw out.
    """
    arrays = [np.array(group, np.float64).reshape(-1, 2) for group in groups if group]
    if not arrays:
        return NOTHING
    whole = np.concatenate(arrays)
    value = compute(whole[:, 0], whole[:, 1])
    rng = np.random.default_rng(_SEED)
    found = []
    for _ in range(ROUNDS // 4):
        drawn = np.concatenate([arrays[i] for i in rng.integers(len(arrays), size=len(arrays))])
        found.append(compute(drawn[:, 0], drawn[:, 1]))
    low, high = _ends(np.array(found))
    return Estimate(value, low, high, len(whole))


def calibration_error(scores: Array, sound: Array) -> float:
    """Expected calibration error of ``scores / 10`` as the chance that a turn is sound, in ten equal bins
    (M. Pakdaman Naeini et al., AAAI 2015). Shapes (turns,); ``sound`` is 0 or 1."""
    bins = np.minimum((scores).astype(int), 9)
    error = 0.0
    for each in np.unique(bins):
        inside = bins == each
        error += float(inside.mean()) * abs(float(scores[inside].mean()) / 10.0 - float(sound[inside].mean()))
    return error


def auc(scores: Array, sound: Array) -> float:
    """Chance that a sound turn scores above a faulty one, ties counting half; NaN without both kinds."""
    good, bad = scores[sound > 0.5], scores[sound <= 0.5]
    if not len(good) or not len(bad):
        return nan
    return float(stats.mannwhitneyu(good, bad).statistic / (len(good) * len(bad)))


def _draws(tasks: int) -> Array:
    """How often each task is drawn: shape (``ROUNDS``, tasks)."""
    drawn = np.random.default_rng(_SEED).multinomial(tasks, np.full(tasks, 1 / tasks), size=ROUNDS)
    return drawn.astype(np.float64)


def _means(samples: Sequence[Sample], tasks: Sequence[str], weights: Array) -> Array:
    """The mean under each row of ``weights``, shape (rows,); NaN where a row drew no task that has values."""
    place = {task: i for i, task in enumerate(tasks)}
    sums, counts = np.zeros(len(tasks)), np.zeros(len(tasks))
    for task, value in samples:
        sums[place[task]] += value
        counts[place[task]] += 1
    with np.errstate(invalid="ignore"):
        found: Array = (weights @ sums) / (weights @ counts)
    return found


def _ends(values: Array) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return nan, nan
    low, high = np.percentile(known, [2.5, 97.5]).tolist()
    return low, high
