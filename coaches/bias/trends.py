"""Trends over a run: drift of a coach's scores, and reward that rises while the outcome falls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, sqrt

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from coaches.bias.effects import CONFIDENCE, Effect

_FEWEST_STEPS = 3
_FEWEST_TASKS = 3


@dataclass(frozen=True)
class Alarm:
    """The coach's scores rose while the held-out outcome fell."""

    since: int
    """The step of the earlier evaluation."""
    step: int
    reward: float
    """Points per step by which the mean score has risen since then."""
    outcome: float
    """Change of the mean held-out score since then, in [-1, 0)."""

    def __str__(self) -> str:
        return (
            f"between steps {self.since} and {self.step} the coach's scores rose by {self.reward:.3f} per "
            f"step while the held-out score fell by {-self.outcome:.3f}: "
            "the agents may be exploiting the coach"
        )


def alarm(
    rewards: Mapping[int, float], evaluations: Sequence[tuple[int, Mapping[str, float]]]
) -> Alarm | None:
    """Returns an alarm if reward has risen and outcome fallen since an earlier evaluation; the most
    significant one.

    Since some earlier evaluation the mean scores of the steps have a rising trend (least squares, one-sided t
    test of the slope), and the held-out scores of the same tasks have fallen (one-sided paired t test over
    tasks). Both are tested at the same level: 5 % divided by the number of earlier evaluations. Steps are
    treated as independent; if they are not, the trend looks more significant than it is.

    Args:
        rewards: step -> mean score. Step n comes before the evaluation after step n.
        evaluations: (step, task -> mean outcome score), in order; the last one is tested.
    """
    if len(evaluations) < 2:
        return None
    now, scores = evaluations[-1]
    level = (1.0 - CONFIDENCE) / (len(evaluations) - 1)
    candidates: list[tuple[float, Alarm]] = []
    for since, earlier in evaluations[:-1]:
        slope, rising = _trend({step: mean for step, mean in rewards.items() if since < step <= now})
        both = sorted(scores.keys() & earlier.keys())
        change, falling = _fall([scores[task] - earlier[task] for task in both])
        candidates.append((max(rising, falling), Alarm(since, now, slope, change)))
    p_value, strongest = min(candidates, key=lambda one: one[0])
    return strongest if p_value < level else None


def drift(steps: Mapping[int, Mapping[str, Sequence[float]]]) -> Effect | None:
    """Returns by how many points per step scores change within strata; jackknife errors over steps.

    Least squares with a fixed effect per stratum. None for fewer than three steps, or if no stratum occurs in
    two of them.

    Args:
        steps: step -> stratum -> (number of samples, sum of their scores).
    """
    if len(steps) < _FEWEST_STEPS:
        return None
    estimate = _slope(steps)
    left = [_slope({step: cells for step, cells in steps.items() if step != omitted}) for omitted in steps]
    known = [value for value in left if value is not None]
    if estimate is None or len(known) < len(left):
        return None
    number = len(known)
    error = sqrt((number - 1) / number * fsum((value - estimate) ** 2 for value in known))
    reach = error * float(stats.t.ppf(0.5 + CONFIDENCE / 2, number - 1))
    return Effect(estimate, error, estimate - reach, estimate + reach)


def _trend(rewards: Mapping[int, float]) -> tuple[float, float]:
    """Returns the slope of the mean scores and its one-sided p-value."""
    if len(rewards) < _FEWEST_STEPS or len(set(rewards.values())) < 2:
        return 0.0, 1.0
    line = stats.linregress(list(rewards), list(rewards.values()), alternative="greater")
    return float(line.slope), float(line.pvalue)


def _fall(changes: Sequence[float]) -> tuple[float, float]:
    """Returns the mean of paired changes and its one-sided p-value."""
    if len(changes) < _FEWEST_TASKS:
        return 0.0, 1.0
    mean, error = float(np.mean(changes)), float(stats.sem(changes))
    if error == 0.0:
        return mean, 0.0 if mean < 0.0 else 1.0
    return mean, float(stats.t.cdf(mean / error, len(changes) - 1))


def _slope(steps: Mapping[int, Mapping[str, Sequence[float]]]) -> float | None:
    """Returns Σ n (t - mean t) y / Σ n (t - mean t)², summed over strata; None if no stratum occurs twice."""
    strata: dict[str, list[tuple[float, float, float]]] = {}
    for step, cells in steps.items():
        for name, (count, total) in cells.items():
            strata.setdefault(name, []).append((float(step), count, total))
    above = below = 0.0
    for rows in strata.values():
        middle = fsum(n * step for step, n, _ in rows) / fsum(n for _, n, _ in rows)
        above += fsum((step - middle) * total for step, _, total in rows)
        below += fsum(n * (step - middle) ** 2 for step, n, _ in rows)
    return above / below if below > 1e-9 else None
