"""Means over runs and tasks, with 95 % intervals for other runs and other tasks of their kind.

All runs have the same tasks, so runs and tasks are drawn independently, and a task that is drawn is drawn for
all runs: the pigeonhole bootstrap (A. B. Owen, Annals of Applied Statistics 1, 2007). Drawing tasks anew
within each run would take the tasks for as many more as there are runs.

A percentile interval over few units is too narrow. Its percentiles are moved outwards until they agree with
Student's t: the expanded percentile interval (T. Hesterberg, The American Statistician 69, 2015), here with
the degrees of freedom of F. E. Satterthwaite (Biometrics Bulletin 2, 1946) for the variances between runs and
between tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan, nan, sqrt

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from benchmarks.common.estimates import SEED, Array, Estimate, drawn
from learners.run.metrics import wilson

ROUNDS = 2000
"""Resamples."""


def mean(cells: Array) -> Estimate:
    """Returns the mean of ``cells``, shape (runs, tasks), in which every run and every task counts the same.

    A single run or task is not drawn: the interval is for this one. NaN ends with one of both. For two groups
    whose runs are pairs, such as before and after, pass the differences.
    """
    return _estimate([cells])


def share(cells: Array) -> Estimate:
    """Returns the mean of shares, with the wider of the interval of ``mean`` and Wilson's for the tasks,
    which has a width even where all shares are equal."""
    estimate = mean(cells)
    if isnan(estimate.low):
        return estimate
    tasks = cells.shape[1]
    low, high = wilson(estimate.value * tasks, tasks)
    return replace(estimate, low=min(low, estimate.low), high=max(high, estimate.high))


def difference(first: Array, second: Array) -> Estimate:
    """Returns the mean of ``second`` minus that of ``first``: shapes (runs, tasks), with the same tasks and
    unrelated runs."""
    return _estimate([second, -first])


def _estimate(groups: Sequence[Array]) -> Estimate:
    """Returns the sum of the means of ``groups``, whose runs are unrelated and whose tasks are the same."""
    value, cells = float(sum(group.mean() for group in groups)), sum(group.size for group in groups)
    tasks = groups[0].shape[1]
    rng = np.random.default_rng(SEED)
    by_task = np.zeros((ROUNDS, tasks))
    variances = list[tuple[float, int]]()
    for group in groups:
        runs = len(group)
        by_task += drawn(runs, ROUNDS, rng) @ group / runs
        if runs > 1:
            variances.append((float(np.var(group.mean(axis=1))) / runs, runs))
    if tasks > 1:
        variances.append((float(np.var(sum(group.mean(axis=0) for group in groups))) / tasks, tasks))
    if not variances:
        return Estimate(value, nan, nan, cells)
    resampled = (by_task * drawn(tasks, ROUNDS, rng)).sum(axis=1) / tasks
    tail = 100 * float(stats.norm.cdf(-_margin(variances)))
    low, high = np.percentile(resampled, [tail, 100 - tail]).tolist()
    return Estimate(value, low, high, cells)


def _margin(variances: Sequence[tuple[float, int]]) -> float:
    """Returns how many standard deviations of the bootstrap half an interval has. ``variances``: for each
    kind of unit the bootstrap's variance and the number of units, which makes it too small by (n - 1) / n."""
    corrected = [(variance * units / (units - 1), units - 1) for variance, units in variances]
    total, bootstrap = sum(one for one, _ in corrected), sum(one for one, _ in variances)
    if not total:
        return float(stats.norm.ppf(0.975))  # all units are equal, and so are all resamples
    freedom = total**2 / sum(one**2 / free for one, free in corrected)
    return sqrt(total / bootstrap) * float(stats.t.ppf(0.975, freedom))
