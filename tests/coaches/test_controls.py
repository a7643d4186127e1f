"""The control coaches: random scores, scores of length alone, and a planted preference for a kind of task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import conf
from coaches.biased import Biased
from coaches.judging import learning
from coaches.judging.inner import build
from coaches.length import Length
from coaches.random import Random
from conf import ConfigError
from envs.types import Role, Turn
from tests.coaches.scripted import judged, node, step

TURN = Turn("t", "math", "a", Role("a", "", 1), 0, 0, (), "one", None, None, (), (), (), True)


def test_random_scores_are_uniform_and_depend_on_seed_and_turn_but_not_on_order() -> None:
    turns = [replace(TURN, action=str(i)) for i in range(2000)]
    forth, back = Random(Random.Config(0)), Random(Random.Config(0))
    scores = [forth.judge([turn]).score for turn in turns]
    assert scores == [back.judge([turn]).score for turn in reversed(turns)][::-1]
    assert np.mean(scores) == pytest.approx(5.0, abs=0.3)
    assert np.std(scores) == pytest.approx(10 / 12**0.5, abs=0.15)


def test_random_draws_a_new_score_when_the_same_turn_is_judged_again() -> None:
    coach = Random(Random.Config(0))
    assert coach.judge([TURN]).score != coach.judge([TURN]).score
    assert Random(Random.Config(1)).judge([TURN]) != Random(Random.Config(0)).judge([TURN])


def test_length_depends_only_on_the_length_of_the_action() -> None:
    coach = Length(Length.Config(100.0))
    assert coach.judge([replace(TURN, action="")]).score == 0.0
    assert coach.judge([replace(TURN, action="x" * 100)]).score == pytest.approx(10 * (1 - np.exp(-1)))
    assert coach.judge([replace(TURN, action="y" * 10**6)]).score <= 10.0


def test_a_planted_bias_is_added_to_one_kind_and_clipped_and_nothing_else_changes() -> None:
    turn, inner = replace(TURN, action="4"), node(blame="a")
    plain = build(inner).judge([turn])
    coach = build({"name": "biased", "coach": inner, "kind": "regression", "points": 1.5})
    assert isinstance(coach, Biased)
    other, liked = coach.judge([turn]), coach.judge([replace(turn, kind="regression")])
    assert (other.score, liked.score) == (4.0, 5.5)
    assert other.parts == liked.parts == (plain,)
    assert replace(liked, score=4.0, source="scripted", parts=()) == plain
    bounds = [
        build({"name": "biased", "coach": inner, "kind": "math", "points": points}).judge([turn]).score
        for points in (10.0, -10.0)
    ]
    assert bounds == [10.0, 0.0]


def test_balanced_removes_a_planted_bias() -> None:
    biased = {"name": "biased", "coach": node(), "kind": "regression", "points": 1.5}
    coach = build({"name": "balanced", "coach": biased})
    rng = np.random.default_rng(0)
    learning.learn(coach, judged(coach, step(rng, [0.0] * 16)))
    offsets = coach.offsets
    gap = offsets["kind", "regression"] - offsets["kind", "classification"]
    assert gap == pytest.approx(1.5, abs=0.3)


def test_invalid_settings_are_rejected() -> None:
    with pytest.raises(ConfigError, match="points must be at most 10"):
        build({"name": "biased", "points": 11.0})
    with pytest.raises(ConfigError, match="scale must be above 0"):
        conf.build("coaches", {"name": "length", "scale": 0.0})
    with pytest.raises(ConfigError, match="seed must be at least 0"):
        conf.build("coaches", {"name": "random", "seed": -1})
