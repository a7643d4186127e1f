"""Effects compared with a slow reference: dummy variables, least squares, one refit per omitted task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from coaches.bias import effects
from coaches.bias.effects import FACTORS, Fit, Moments, Sample
from envs.types import Outcome
from tests.coaches.turns import ENGINEER, EXECUTOR, TABLES, Story, ok, ran


def random_samples(seed: int, tasks: int = 7, turns: int = 40) -> list[Sample]:
    rng = np.random.default_rng(seed)
    drawn = []
    for task in range(tasks):
        for _ in range(turns):
            role, length = f"r{rng.integers(3)}", f"l{rng.integers(2)}"
            levels = (("a", "b")[task % 2], role, length)
            drawn.append(
                Sample(f"t{task}", f"s{rng.integers(4)}", levels, float(rng.random()), float(rng.normal(5)))
            )
    return drawn


def slow(samples: Sequence[Sample], contrast: dict[tuple[str, str], float]) -> float:
    """Returns a contrast of the levels' effects from a regression with dummy variables."""
    strata = sorted({one.stratum for one in samples})
    columns = sorted(
        {(factor, level) for one in samples for factor, level in zip(FACTORS, one.levels, strict=True)}
    )
    rows = [
        [one.outcome]
        + [float(one.stratum == name) for name in strata]
        + [float(one.levels[FACTORS.index(factor)] == level) for factor, level in columns]
        for one in samples
    ]
    beta = np.linalg.lstsq(np.array(rows), np.array([one.score for one in samples]), rcond=1e-10)[0]
    effects = dict(zip(columns, beta[1 + len(strata) :], strict=True))
    return float(sum(weight * effects[column] for column, weight in contrast.items()))


def jackknifed(
    samples: Sequence[Sample], contrast: dict[tuple[str, str], float]
) -> tuple[float, float, float]:
    """Returns estimate, standard error, and half the width of the 95 % interval."""
    whole = slow(samples, contrast)
    names = sorted({one.task for one in samples})
    left = [slow([one for one in samples if one.task != name], contrast) for name in names]
    error = sqrt((len(left) - 1) / len(left) * sum((value - whole) ** 2 for value in left))
    return whole, error, error * float(stats.t.ppf(0.975, len(left) - 1))


def fitted(samples: Sequence[Sample]) -> Fit:
    moments = Moments()
    moments.add(samples)
    return Fit(moments)


@pytest.mark.parametrize("seed", range(3))
def test_effects_and_gaps_equal_those_of_a_plain_regression(seed: int) -> None:
    samples = random_samples(seed)
    fit = fitted(samples)
    gap = fit.gap("kind", "a", "b", confidence=0.95)
    assert gap is not None
    assert (gap.estimate, gap.error, (gap.high - gap.low) / 2) == pytest.approx(
        jackknifed(samples, {("kind", "a"): 1.0, ("kind", "b"): -1.0})
    )
    for place, factor in enumerate(FACTORS):
        counts = {level: sum(one.levels[place] == level for one in samples) for level in fit.levels(factor)}
        effects = fit.effects(factor, confidence=0.95)
        assert effects.keys() == counts.keys()
        assert sum(counts[level] * effect.estimate for level, effect in effects.items()) == pytest.approx(
            0.0, abs=1e-8
        )
        for level, effect in effects.items():
            contrast = {(factor, other): -count / len(samples) for other, count in counts.items()}
            contrast[factor, level] += 1.0
            assert (effect.estimate, effect.error) == pytest.approx(jackknifed(samples, contrast)[:2])


def test_with_equal_strata_and_outcomes_the_gap_is_the_difference_of_means() -> None:
    samples = [
        Sample(f"t{task}", "s", (("a", "b")[task % 2], "r", "l"), 0.5, 3.0 + task % 2 + task / 10)
        for task in range(6)
        for _ in range(5)
    ]
    gap = fitted(samples).gap("kind", "b", "a", confidence=0.95)
    assert gap is not None
    assert gap.estimate == pytest.approx(1.1)


def test_differences_that_the_outcome_explains_are_no_effect() -> None:
    explained = [replace(one, score=10.0 * one.outcome + len(one.stratum)) for one in random_samples(0)]
    for factor in FACTORS:
        for effect in fitted(explained).effects(factor, confidence=0.95).values():
            assert effect.estimate == pytest.approx(0.0, abs=1e-9)


def test_undetermined_effects_are_not_reported() -> None:
    samples = random_samples(0)
    assert fitted([]).effects("kind", confidence=0.95) == {}
    assert fitted([one for one in samples if one.levels[0] == "a"]).effects("kind", confidence=0.95) == {}
    assert fitted(samples).gap("kind", "a", "c", confidence=0.95) is None
    one_task_of_b = [one for one in samples if one.levels[0] == "a" or one.task == "t1"]
    assert fitted(one_task_of_b).gap("kind", "a", "b", confidence=0.95) is None, "all that tells of b is t1"
    apart = [replace(one, stratum=one.levels[1]) for one in samples]
    assert fitted(apart).effects("role", confidence=0.95) == {}, "no stratum has two roles"


def test_with_many_tasks_the_jackknife_omits_groups_and_agrees() -> None:
    samples = random_samples(0, tasks=90, turns=6)
    fit = fitted(samples)
    assert fit.freedom == 39
    effect = fit.effects("role", confidence=0.95)["r0"]
    counts = {level: sum(one.levels[1] == level for one in samples) for level in fit.levels("role")}
    contrast = {("role", other): -count / len(samples) for other, count in counts.items()}
    contrast["role", "r0"] += 1.0
    estimate, error, _ = jackknifed(samples, contrast)
    assert effect.estimate == pytest.approx(estimate)
    assert effect.error == pytest.approx(error, rel=0.35)


def test_moments_do_not_depend_on_order_and_survive_json() -> None:
    samples = random_samples(1)
    first, second = Moments(), Moments()
    first.add(samples)
    second.add(samples[::-1])
    assert first.state() == second.state()
    third = Moments.read(json.loads(json.dumps(first.state())))
    third.add(samples)
    second.add(samples[::-1])
    assert third.state() == second.state()


def test_faded_samples_count_less_and_finally_nothing() -> None:
    old, new = random_samples(1), [replace(one, score=one.score + 3.0) for one in random_samples(2)]
    moments = Moments()
    moments.add(old)
    moments.fade(0.25)
    moments.add(new)
    weighted = fitted([*old, *new, *new, *new, *new]).gap("kind", "a", "b", confidence=0.95)
    gap = Fit(moments).gap("kind", "a", "b", confidence=0.95)
    assert gap is not None
    assert weighted is not None
    assert tuple(gap) == pytest.approx(tuple(weighted))
    moments.fade(1e-9)
    assert moments.cells == {}


def test_an_effect_is_shrunk_to_zero_below_the_threshold_and_hardly_at_all_far_above() -> None:
    def shrunk(estimate: float) -> float:
        return effects.Effect(estimate, 0.1, 0.0, 0.0).shrunk(3.0)

    assert [shrunk(value) for value in (0.0, 0.1, -0.29, 0.3)] == [0.0] * 4
    assert shrunk(-3.0) == pytest.approx(-2.97)
    assert 0.0 < shrunk(0.31) < 0.03, "continuous at the threshold"


def test_lengths_fall_into_buckets_by_their_characters() -> None:
    assert [effects.length_bucket("x" * n) for n in (0, 100, 101, 6400, 6401)] == [
        "<=100",
        "<=100",
        "<=400",
        "<=6400",
        ">6400",
    ]


def test_a_stratum_depends_on_evidence_and_not_on_claims() -> None:
    good, bad = Outcome(True, 1.0, {}, "ok"), Outcome(False, 0.0, {}, "missing")
    done = Story().act(ENGINEER, codes=ok(TABLES)).turns
    names = {
        effects.stratum(done, good),
        effects.stratum(done, bad),
        effects.stratum(Story().act(ENGINEER, codes=ok(TABLES[:2])).turns, good),
        effects.stratum(Story().act(ENGINEER, codes=ok(TABLES)).act(ENGINEER).turns, good),
        effects.stratum(Story().act(ENGINEER, codes=ok(TABLES), result=ran("error")).turns, good),
        effects.stratum(Story().act(EXECUTOR, result=ran(stdout="3")).turns, good),
        effects.stratum(Story().act(EXECUTOR).turns, good),
        effects.stratum(Story().act(EXECUTOR, "No code.").turns, good),
    }
    assert len(names) == 8
    flattered = [replace(done[0], action="I am the best. " + done[0].action)]
    assert effects.stratum(flattered, good) == effects.stratum(done, good)
