"""The leaderboard's numbers against slow and obvious ones, and against closed forms."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest

from benchmarks.common import estimates
from learners.run.metrics import wilson


def test_the_interval_of_a_mean_is_that_of_whole_tasks_drawn_again() -> None:
    rng = np.random.default_rng(0)
    groups = {f"t{i}": rng.normal(rng.normal(), 0.1, size=1 + i % 3).tolist() for i in range(12)}
    estimate = estimates.mean([(task, value) for task, values in groups.items() for value in values])
    names, slow = list(groups), []
    for _ in range(4000):
        drawn = [groups[names[i]] for i in rng.integers(len(names), size=len(names))]
        slow.append(np.mean([value for values in drawn for value in values]))
    assert estimate.value == pytest.approx(np.mean([v for values in groups.values() for v in values]))
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])), abs=0.06)


def test_intervals_of_a_mean_hold_the_truth_about_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        samples = [(f"t{i}", 2.0 + shift + rng.normal()) for i, shift in enumerate(rng.normal(size=30))]
        estimate = estimates.mean(samples)
        held += estimate.low <= 2.0 <= estimate.high
    assert 0.88 <= held / 200 <= 0.99


def test_a_difference_over_the_same_tasks_is_free_of_what_tasks_have_in_common() -> None:
    first = [(f"t{i}", 10.0 * i + 1.0) for i in range(8)]
    second = [(f"t{i}", 10.0 * i) for i in range(8)]
    estimate = estimates.difference(first, second)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1.0, 1.0, 1.0))


def test_a_share_of_ones_is_not_certain() -> None:
    estimate = estimates.share([(f"t{i}", 1.0) for i in range(10)])
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(wilson(10, 10).low)


def test_nothing_measured_is_no_number() -> None:
    for estimate in (estimates.mean([]), estimates.share([]), estimates.statistic([], estimates.auc)):
        assert estimate.n == 0 and isnan(estimate.value)  # noqa: PT018


def test_the_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(2)
    scores, sound = rng.integers(0, 11, 60).astype(float), rng.integers(0, 2, 60).astype(float)
    pairs = [
        (a > b) + 0.5 * (a == b)
        for a, good in zip(scores, sound, strict=True)
        if good
        for b, fine in zip(scores, sound, strict=True)
        if not fine
    ]
    assert estimates.auc(scores, sound) == pytest.approx(np.mean(pairs))
    assert isnan(estimates.auc(scores, np.ones(60)))


def test_the_calibration_error_by_hand() -> None:
    scores = np.array([9.0, 9.5, 9.5, 9.9, 10.0, 1.0, 1.5, 2.0])
    sound = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0])
    top, low, lone = abs(0.958 - 0.8) * 5, abs(0.125 - 0.0) * 2, abs(0.2 - 1.0)
    assert estimates.calibration_error(scores, sound) == pytest.approx((top + low + lone) / 8)


def test_what_is_always_right_in_its_chances_has_no_calibration_error() -> None:
    scores, sound = np.repeat([2.0, 8.0], 10), np.tile([1.0] * 2 + [0.0] * 8, 2)
    sound[10:] = 1.0 - sound[10:]
    assert estimates.calibration_error(scores, sound) == pytest.approx(0.0)


def test_students_interval_by_hand() -> None:
    low, high = estimates.student([1.0, 2.0, 4.0])
    mean, error = 7 / 3, np.std([1.0, 2.0, 4.0], ddof=1) / 3**0.5
    assert (low, high) == pytest.approx((mean - 4.302653 * error, mean + 4.302653 * error))
    assert estimates.student([1.0]) == (float("-inf"), float("inf"))
