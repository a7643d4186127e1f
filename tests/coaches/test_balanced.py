"""The bias of MAPPA's coach, planted and corrected: simulated runs over many seeds."""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from coaches.balanced import Balanced
from coaches.base import CoachError, judges_turns
from coaches.bias import effects
from coaches.bias.effects import Fit, Moments
from coaches.judging import learning
from coaches.judging.inner import build
from coaches.judging.learning import JudgedEpisode
from coaches.monitor import Monitor
from conf import ConfigError
from envs.types import Outcome
from tests.coaches.scripted import judged, node, step, turn

PLANTED = 1.5
SEEDS = range(12)


def balanced(liking: float, **settings: Any) -> Balanced:
    built = build({"name": "balanced", "coach": node(regression=liking), **settings})
    assert isinstance(built, Balanced)
    return built


def run(coach: Any, seed: int, steps: int = 4, tasks: int = 16) -> list[list[JudgedEpisode]]:
    """Returns the judged episodes of a run; the coach prefers some tasks, by about 0.15 points."""
    rng = np.random.default_rng(seed)
    likings = [float(liking) for liking in rng.normal(0.0, 0.15, tasks)]
    played = []
    for _ in range(steps):
        played.append(judged(coach, step(rng, likings)))
        learning.learn(coach, played[-1])
    return played


def gap(episodes: list[JudgedEpisode]) -> effects.Effect:
    moments = Moments()
    moments.add(effects.samples(episodes))
    effect = Fit(moments).gap("kind", "regression", "classification", confidence=0.95)
    assert effect is not None
    return effect


def mean_and_interval(values: list[float]) -> tuple[float, float, float]:
    low, high = stats.t.interval(0.95, len(values) - 1, loc=fmean(values), scale=stats.sem(values))
    return fmean(values), float(low), float(high)


def test_the_monitor_reports_a_planted_bias_of_one_and_a_half_points() -> None:
    gaps, covered = [], 0
    for seed in SEEDS:
        monitor = Monitor()
        coach = build(node(regression=PLANTED))
        row: dict[str, float] = {}
        for number, episodes in enumerate(run(coach, seed), 1):
            row = monitor.step(number, episodes)
        gaps.append(row["bias/gap"])
        covered += row["bias/gap_low"] < PLANTED < row["bias/gap_high"]
    mean, low, high = mean_and_interval(gaps)
    assert 1.3 < low <= mean <= high < 1.7
    assert sum(abs(value - PLANTED) < 0.2 for value in gaps) >= 0.9 * len(gaps)
    assert covered >= 0.85 * len(SEEDS), "the 95 % interval"


def test_raw_means_are_misleading_where_the_adjusted_gap_is_not() -> None:
    monitor = Monitor()
    row = monitor.step(1, run(build(node()), 0, steps=1)[0])
    raw = row["coach/kind/regression"] - row["coach/kind/classification"]
    assert raw > 0.5, "regression succeeds more often in the simulation"
    assert abs(row["bias/gap"]) < 0.3


def test_balanced_leaves_less_than_a_fifth_of_a_point_of_the_bias() -> None:
    left = [gap(run(balanced(PLANTED, half_life=None), seed)[-1]).estimate for seed in SEEDS]
    mean, low, high = mean_and_interval(left)
    assert -0.2 < low <= mean <= high < 0.2


def test_balanced_leaves_an_unbiased_coach_unchanged() -> None:
    moved, touched = [], 0
    for seed in SEEDS:
        coach = balanced(0.0, half_life=None)
        last = run(coach, seed)[-1]
        changes = [
            verdict.score - verdict.parts[0].score
            for one in last
            for verdict in one.verdicts
            if verdict is not None and verdict.parts[0] is not None
        ]
        moved.append(fmean(map(abs, changes)))
        touched += any(coach.offsets.values())
    _, low, high = mean_and_interval(moved)
    assert low <= high < 0.02, "points that a score moves, on average"
    assert touched <= 0.15 * len(SEEDS)


def test_a_correction_leaves_the_mean_score_unchanged() -> None:
    coach = balanced(PLANTED)
    last = run(coach, 0)[-1]
    scores = [verdict for one in last for verdict in one.verdicts if verdict is not None]
    raw = fmean(verdict.parts[0].score for verdict in scores if verdict.parts[0] is not None)
    assert fmean(verdict.score for verdict in scores) == pytest.approx(raw, abs=0.05)


def test_a_step_is_corrected_by_earlier_steps_only_and_independently_of_episode_order() -> None:
    first, second = balanced(PLANTED), balanced(PLANTED)
    episodes = step(np.random.default_rng(3), [0.0] * 16)
    before = judged(first, episodes)
    assert [v and v.score for one in before for v in one.verdicts] == [
        v and v.parts[0] and v.parts[0].score for one in before for v in one.verdicts
    ], "the first step is judged as it is"
    learning.learn(first, before)
    learning.learn(second, judged(second, episodes)[::-1])
    assert learning.state(first) == learning.state(second)
    assert first.offsets == second.offsets
    assert first.offsets["kind", "regression"] > 0.3


def test_a_restored_coach_continues_bit_for_bit() -> None:
    coach, again = balanced(PLANTED), balanced(PLANTED)
    run(coach, 0, steps=2)
    learning.restore(again, json.loads(json.dumps(learning.state(coach))))
    rng = np.random.default_rng(9)
    for _ in range(2):
        episodes = step(rng, [0.0] * 16)
        assert judged(again, episodes) == judged(coach, episodes)
        assert learning.learn(again, judged(again, episodes)) == learning.learn(
            coach, judged(coach, episodes)
        )
    assert learning.state(again) == learning.state(coach)


def test_the_removed_offset_and_clipped_scores_are_logged() -> None:
    coach = balanced(PLANTED)
    run(coach, 0)
    offset = coach.offsets["kind", "regression"]
    verdict = coach.judge([turn("5", kind="regression")])
    assert verdict.score == pytest.approx(6.5 - sum(coach._due(turn("5", kind="regression")).values()))
    assert f"{offset:+.2f} for kind regression" in verdict.rationale
    assert (verdict.blame, verdict.cost, verdict.source) == (None, 0.5, "balanced")
    top, low = turn("10", kind="classification"), turn("0", kind="classification")
    assert coach.judge([top]).score == 10.0
    outcome = Outcome(True, 1.0, {}, "ok")
    turns = (top, replace(low, index=1))
    coach_due, raised = coach._due(low), coach.judge([low]).score
    row = learning.learn(coach, judged(coach, [JudgedEpisode("t", turns, (), outcome)]))
    assert row["balanced/kind/regression"] == offset
    assert row["balanced/clipped"] == 1.0
    assert raised == pytest.approx(-sum(coach_due.values()))
    assert row["balanced/removed"] == pytest.approx(raised / 2)


def test_only_the_configured_factors_are_corrected() -> None:
    coach = balanced(PLANTED, factors=["role"])
    run(coach, 0)
    assert {factor for factor, _ in coach.offsets} == {"role"}


def test_a_bias_that_disappears_is_forgotten_with_the_half_life() -> None:
    coach = balanced(PLANTED, half_life=1.0)
    run(coach, 0)
    assert coach.offsets["kind", "regression"] > 0.3
    rng = np.random.default_rng(5)
    for _ in range(8):
        learning.learn(coach, judged(balanced(0.0), step(rng, [0.0] * 16)))
    assert abs(coach.offsets["kind", "regression"]) < 0.1


def test_a_missing_verdict_stays_missing_and_a_hindsight_coach_is_wrapped_as_one() -> None:
    with pytest.raises(CoachError):
        balanced(0.0).judge([turn("mute")])
    waiting = build({"name": "balanced", "coach": {"name": "outcome"}})
    assert isinstance(waiting, Balanced)
    assert not judges_turns(waiting)
    [verdict] = waiting.judge_episode([turn("1")], Outcome(True, 0.4, {}, "ok"))
    assert verdict is not None
    assert verdict.score == 4.0


@pytest.mark.parametrize("settings", [{"factors": ["colour"]}, {"confidence": 1.0}, {"half_life": 0.0}])
def test_settings_out_of_range_are_rejected(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="balanced"):
        balanced(0.0, **settings)
