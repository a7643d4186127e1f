from __future__ import annotations

import math
from typing import Any

import pytest

from coaches.base import CoachError, Verdict
from coaches.judging.verdicts import judge_episode, judge_turn
from conf import ConfigError
from envs.types import Outcome, Role, Turn

TURN = Turn("t", "k", "a", Role("a", "", 1), 0, 0, (), "", None, None, (), (), (), True)
OUTCOME = Outcome(True, 1.0, {"fair": 1.0}, "ok")
FINE = Verdict(5.0, "")


class Own:
    def __init__(self, returned: Any) -> None:
        self.returned = returned

    def judge(self, history: Any) -> Any:
        return self.returned


class OwnHindsight:
    def __init__(self, returned: Any) -> None:
        self.returned = returned

    def judge_episode(self, turns: Any, outcome: Any) -> Any:
        return self.returned


@pytest.mark.parametrize("returned", [None, 5.0, "good", (5.0, "good"), {"score": 5}])
def test_a_coach_that_returns_no_verdict_is_one_line(returned: Any) -> None:
    with pytest.raises(ConfigError, match=r"Own\.judge must return a Verdict; got"):
        judge_turn(Own(returned), [TURN])


@pytest.mark.parametrize("returned", [None, 5.0, [], [FINE], [FINE, FINE, FINE], [FINE, 5.0], FINE])
def test_a_hindsight_coach_that_returns_something_else_is_one_line(returned: Any) -> None:
    with pytest.raises(ConfigError, match=r"OwnHindsight\.judge_episode"):
        judge_episode(OwnHindsight(returned), [TURN, TURN], OUTCOME)


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.5, 10.5, 55])
def test_a_score_out_of_range_is_no_verdict(score: float) -> None:
    with pytest.raises(CoachError, match=r"a score must be in \[0, 10\]"):
        Verdict(score, "")


@pytest.mark.parametrize("parts", [("7", ""), (None, ""), (True, ""), (5.0, None), (5.0, "", 7)])
def test_a_verdict_of_other_types_is_one_line(parts: Any) -> None:
    with pytest.raises(ConfigError, match=r"Verdict: (score|rationale|blame) must be"):
        Verdict(*parts)
