"""Areas under curves, bands over seeds, and paired differences, all with Student's t.

*Over seeds* asks whether a difference would be found again with other seeds on the same held-out tasks;
*over tasks* whether it would be found again on other tasks with the same seeds. Neither contains the other's
variation; with few seeds the first is the wider one, and it is what the text of the study goes by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import TypeVar

import numpy as np

from benchmarks.common.estimates import NOTHING, Estimate, student

K = TypeVar("K", int, str)
"""A seed or a task."""


def area(steps: Sequence[float], values: Sequence[float]) -> float:
    """Returns the area under the line through the points, divided by its width: the mean height of the curve.

    NaN for fewer than two points.
    """
    if len(steps) < 2:
        return nan
    return float(np.trapezoid(values, steps)) / (steps[-1] - steps[0])


def mean(values: Sequence[float]) -> Estimate:
    """Returns the mean with Student's t interval, which is the whole line for a single value."""
    if not values:
        return NOTHING
    low, high = student(values)
    return Estimate(float(np.mean(values)), low, high, len(values))


def band(curves: Sequence[Sequence[float]]) -> list[Estimate]:
    """Returns ``mean`` at each point of curves with the same points: the curve's pointwise 95 % band."""
    return [mean(values) for values in zip(*curves, strict=True)]


def paired(first: Mapping[K, float], second: Mapping[K, float]) -> Estimate:
    """Returns the mean of ``first`` minus ``second`` over the keys that both have; ``n`` counts these."""
    return mean([value - second[key] for key, value in first.items() if key in second])


def over_tasks(first: Sequence[Mapping[str, float]], second: Sequence[Mapping[str, float]]) -> Estimate:
    """Returns the mean over tasks of ``first`` minus ``second``, each task averaged over seeds before.

    Each element has one seed's tasks; the elements of ``first`` and ``second`` belong to the same seeds.
    """
    return paired(_averaged(first), _averaged(second))


def _averaged(seeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns each task's mean over seeds, of tasks that all seeds have."""
    if not seeds:
        return {}
    common = set(seeds[0]).intersection(*seeds[1:])
    return {task: float(np.mean([one[task] for one in seeds])) for task in sorted(common)}
