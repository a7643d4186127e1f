"""The bias that MAPPA's coach had, planted and taken out again: simulated runs over many seeds."""

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
    found = build({"name": "balanced", "coach": node(regression=liking), **settings})
    assert isinstance(found, Balanced)
    return found


def run(coach: Any, seed: int, steps: int = 4, tasks: int = 16) -> list[list[JudgedEpisode]]:
    """The judged episodes of a run; some tasks are liked better than others, by 0.15 points or so."""
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
    found = Fit(moments).gap("kind", "regression", "classification", confidence=0.95)
    assert found is not None
    return found


def mean_and_interval(values: list[float]) -> tuple[float, float, float]:
    low, high = stats.t.interval(0.95, len(values) - 1, loc=fmean(values), scale=stats.sem(values))
    return fmean(values), float(low), float(high)


def test_the_monitor_reports_a_planted_bias_of_one_and_a_half_points() -> None:
    found, covered = [], 0
    for seed in SEEDS:
        monitor = Monitor()
        coach = build(node(regression=PLANTED))
        row: dict[str, float] = {}
        for number, episodes in enumerate(run(coach, seed), 1):
            row = monitor.step(number, episodes)
        found.append(row["bias/gap"])
        covered += row["bias/gap_low"] < PLANTED < row["bias/gap_high"]
    mean, low, high = mean_and_interval(found)
    assert 1.3 < low <= mean <= high < 1.7
    assert sum(abs(value - PLANTED) < 0.2 for value in found) >= 0.9 * len(found)
    assert covered >= 0.85 * len(SEEDS), "the 95 % interval"


def test_raw_means_would_be_misled_where_the_adjusted_gap_is_not() -> None:
    monitor = Monitor()
    row = monitor.step(1, run(build(node()), 0, steps=1)[0])
    raw = row["coach/kind/regression"] - row["coach/kind/classification"]
    assert raw > 0.5, "regression succeeds more often in the simulation"
    assert abs(row["bias/gap"]) < 0.3


def test_balanced_leaves_less_than_a_fifth_of_a_point_of_it() -> None:
    left = [gap(run(balanced(PLANTED, half_life=None), seed)[-1]).estimate for seed in SEEDS]
    mean, low, high = mean_and_interval(left)
    assert -0.2 < low <= mean <= high < 0.2


def test_balanced_does_not_touch_a_coach_without_a_bias() -> None:
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


def test_a_correction_leaves_the_mean_score_where_it_was() -> None:
    coach = balanced(PLANTED)
    last = run(coach, 0)[-1]
    scores = [verdict for one in last for verdict in one.verdicts if verdict is not None]
    raw = fmean(verdict.parts[0].score for verdict in scores if verdict.parts[0] is not None)
    assert fmean(verdict.score for verdict in scores) == pytest.approx(raw, abs=0.05)


def test_a_step_is_corrected_by_earlier_steps_alone_and_the_order_of_its_episodes_does_not_matter() -> None:
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


def test_a_coach_that_was_restored_goes_on_bit_by_bit_as_if_nothing_had_happened() -> None:
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


def test_it_says_how_much_it_took_and_counts_what_it_cut_off() -> None:
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


def test_only_the_factors_that_are_named_are_corrected() -> None:
    coach = balanced(PLANTED, factors=["role"])
    run(coach, 0)
    assert {factor for factor, _ in coach.offsets} == {"role"}


def test_a_bias_that_goes_away_is_forgotten_with_the_half_life() -> None:
    coach = balanced(PLANTED, half_life=1.0)
    run(coach, 0)
    assert coach.offsets["kind", "regression"] > 0.3
    rng = np.random.default_rng(5)
    for _ in range(8):
        learning.learn(coach, judged(balanced(0.0), step(rng, [0.0] * 16)))
    assert abs(coach.offsets["kind", "regression"]) < 0.1


def test_no_verdict_stays_none_and_a_coach_that_waits_for_the_end_is_waited_for() -> None:
    with pytest.raises(CoachError):
        balanced(0.0).judge([turn("mute")])
    waiting = build({"name": "balanced", "coach": {"name": "outcome"}})
    assert isinstance(waiting, Balanced)
    assert not judges_turns(waiting)
    [verdict] = waiting.judge_episode([turn("1")], Outcome(True, 0.4, {}, "ok"))
    assert verdict is not None
    assert verdict.score == 4.0


@pytest.mark.parametrize("settings", [{"factors": ["colour"]}, {"confidence": 1.0}, {"half_life": 0.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="coach balanced"):
        balanced(0.0, **settings)
