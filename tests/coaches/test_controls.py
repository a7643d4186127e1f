"""The two control coaches: random scores and scores of length alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import conf
from coaches.length import Length
from coaches.random import Random
from conf import ConfigError
from envs.types import Role, Turn

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


def test_invalid_settings_are_rejected() -> None:
    with pytest.raises(ConfigError, match="scale must be above 0"):
        conf.build("coaches", {"name": "length", "scale": 0.0})
    with pytest.raises(ConfigError, match="seed must be at least 0"):
        conf.build("coaches", {"name": "random", "seed": -1})
