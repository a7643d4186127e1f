from __future__ import annotations

from coaches.outcome import OutcomeCoach
from envs.types import Outcome
from tests.coaches.test_reward import Relay


def test_every_action_scores_ten_times_the_outcome_and_nobody_is_blamed() -> None:
    env = Relay()
    env.reset()
    for _ in range(6):
        env.step(1)
    coach = OutcomeCoach(OutcomeCoach.Config())
    verdicts = coach.judge_episode(env.turns, Outcome(True, 0.37, {"fair": 0.37}, "ok"))
    assert [(v and v.score, v and v.blame) for v in verdicts] == [(3.7, None)] * 6


def test_a_failed_episode_scores_zero_and_says_why() -> None:
    env = Relay()
    env.reset()
    env.step(1)
    coach = OutcomeCoach(OutcomeCoach.Config())
    [verdict] = coach.judge_episode(env.turns, Outcome(False, 0.0, {"fair": 0.0}, "missing"))
    assert verdict is not None
    assert (verdict.score, "missing" in verdict.rationale) == (0.0, True)
