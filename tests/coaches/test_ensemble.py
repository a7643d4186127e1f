from __future__ import annotations

import statistics
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import conf
from coaches.base import BudgetError, Usage, Verdict, judges_turns
from coaches.ensemble import Disagreement, Ensemble, TooFewVotes, combined, disagreement, majority
from coaches.judging import learning
from coaches.judging.verdicts import Judged, judge_turn
from conf import ConfigError
from envs.types import Outcome, Turn
from tests.coaches.scripted import judged, node, step, turn

FAILED = Outcome(False, 0.0, {"fair": 0.0}, "missing")


def ensemble(*coaches: dict[str, Any], **settings: Any) -> Ensemble:
    made = conf.load("coach", "ensemble", coaches=list(coaches), **settings)
    built = conf.build("coaches", made)
    assert isinstance(built, Ensemble)
    return built


def test_the_median_is_the_middle_member_s_score_and_costs_add_up() -> None:
    coach = ensemble(node(add=1.0), node(), node(add=5.0))
    verdict = coach.judge([turn("3")])
    assert (verdict.score, verdict.cost, verdict.source) == (4.0, 1.5, "ensemble")
    assert [part and part.score for part in verdict.parts] == [4.0, 3.0, 8.0]
    assert "median of 3, range 5.0" in verdict.rationale


@given(
    scores=st.lists(st.floats(0.0, 10.0), min_size=1, max_size=9),
    trim=st.floats(0.0, 0.49),
    combine=st.sampled_from(["median", "mean", "trimmed_mean"]),
)
def test_the_combined_score_equals_a_plain_computation_and_is_within_the_members_range(
    scores: list[float], trim: float, combine: str
) -> None:
    config = Ensemble.Config([], combine, trim, 1, "range", None, "mask", None)
    ordered, cut = sorted(scores), int(trim * len(scores)) if combine == "trimmed_mean" else 0
    middle = statistics.median(scores)
    slow = middle if combine == "median" else statistics.mean(ordered[cut : len(ordered) - cut])
    combined_score = combined(scores, config)
    assert combined_score == pytest.approx(slow)
    assert min(scores) - 1e-9 <= combined_score <= max(scores) + 1e-9
    assert disagreement(scores, "range") == ordered[-1] - ordered[0]
    assert disagreement(scores, "mad") == statistics.median([abs(score - middle) for score in scores])


def test_a_blocked_verdict_counts_only_if_all_are_blocked() -> None:
    coach = ensemble(node(), node(), node())
    free, held = Judged(Verdict(8.0, "fine"), ""), Judged(Verdict(3.0, "inputs broken", blocked=True), "")

    def combine(*votes: Judged) -> tuple[float, bool]:
        verdict = coach._combine(votes, escalate=pytest.fail)
        return verdict.score, verdict.blocked

    assert combine(free, held, held) == (8.0, False)
    assert combine(held, held, held) == (3.0, True)


def test_a_failing_member_is_omitted_and_named_and_a_quorum_is_required() -> None:
    members = (node(), node(mute=True), node(add=2.0))
    verdict = ensemble(*members, combine="mean").judge([turn("3")])
    assert verdict.score == 4.0
    assert "no verdict (TimeoutError)" in verdict.rationale
    assert [part is None for part in verdict.parts] == [False, True, False]
    with pytest.raises(TooFewVotes):
        ensemble(*members, min_votes=3).judge([turn("3")])


def test_too_much_disagreement_masks_the_turn_and_is_its_own_cause() -> None:
    coach = ensemble(node(), node(add=4.0), limit=3.9)
    with pytest.raises(Disagreement):
        coach.judge([turn("3")])
    masked = judge_turn(coach, [turn("3")])
    assert (masked.verdict, masked.cause) == (None, "Disagreement")
    assert ensemble(node(), node(add=4.0), limit=4.0).judge([turn("3")]).score == 5.0


def test_the_stronger_coach_decides_if_the_others_disagree_and_is_not_asked_otherwise() -> None:
    coach = ensemble(
        node(), node(add=4.0), limit=3.0, on_disagreement="escalate", stronger=node(add=1.5, blame="x")
    )
    verdict = coach.judge([turn("3")])
    assert (verdict.score, verdict.blame, verdict.cost, len(verdict.parts)) == (4.5, "x", 1.5, 3)
    agreed = coach.judge([turn("10")])
    assert (agreed.score, agreed.cost, len(agreed.parts)) == (10.0, 1.0, 2)


def test_if_the_stronger_coach_fails_there_is_no_verdict() -> None:
    coach = ensemble(node(), node(add=4.0), limit=3.0, on_disagreement="escalate", stronger=node(mute=True))
    assert judge_turn(coach, [turn("3")]).cause == "TimeoutError"


def test_the_agent_most_blamed_is_blamed_unless_half_blame_nobody() -> None:
    def votes(*blames: str | None) -> list[Verdict]:
        return [Verdict(1.0, "", blame) for blame in blames]

    assert majority(votes("a", "b", "b")) == "b"
    assert majority(votes("a", "b", None)) == "a"
    assert majority(votes("a", None)) is None
    assert majority(votes("a", "a", None, None)) is None


def test_a_spent_budget_is_raised_and_not_a_missing_vote() -> None:
    with pytest.raises(BudgetError):
        ensemble(node(), node(add=1.0)).judge([turn("broke")])


def test_members_are_asked_in_parallel() -> None:
    coach = ensemble(node(), node())
    both = threading.Barrier(2, timeout=10.0)

    class Meeting:
        def judge(self, history: Sequence[Turn]) -> Verdict:
            both.wait()
            return Verdict(1.0, "", usage=Usage(10, 2, calls=1, seconds=0.5))

    coach.members = [Meeting(), Meeting()]
    verdict = coach.judge([turn("3")])
    assert verdict.usage == Usage(20, 4, calls=2, seconds=1.0)


def test_an_ensemble_with_a_hindsight_member_judges_episodes() -> None:
    coach = ensemble(node(), {"name": "outcome"}, combine="mean")
    assert not judges_turns(coach)
    verdicts = coach.judge_episode([turn("4"), turn("mute", index=1)], FAILED)
    assert [verdict and verdict.score for verdict in verdicts] == [2.0, None]
    assert judges_turns(ensemble(node(), {"name": "rules"}))


def test_disagreement_masks_or_escalates_turn_by_turn_in_hindsight_too() -> None:
    turns = [turn("1"), turn("9", index=1)]
    settings = {"limit": 3.0, "combine": "mean"}
    masked = ensemble(node(), {"name": "outcome"}, **settings).judge_episode(turns, FAILED)
    assert [verdict and verdict.score for verdict in masked] == [0.5, None]
    raised = ensemble(
        node(), {"name": "outcome"}, on_disagreement="escalate", stronger=node(add=-2.0), **settings
    )
    assert [verdict and verdict.score for verdict in raised.judge_episode(turns, FAILED)] == [0.5, 7.0]


def test_members_learn_from_their_own_verdicts() -> None:
    balanced = {"name": "balanced", "coach": node(regression=1.5)}
    coach = ensemble(balanced, node(mute=True), min_votes=1)
    episodes = judged(coach, step(np.random.default_rng(0), [0.0] * 12))
    row = learning.learn(coach, episodes)
    assert row["ensemble/1/absent"] == sum(len(one.turns) for one in episodes)
    assert row["0/balanced/removed"] == 0.0
    alone = conf.build("coaches", conf.fill_defaults("coach", balanced))
    learning.learn(alone, [one.part(0) for one in episodes])
    assert learning.state(coach)["0"] == learning.state(alone)
    again = ensemble(balanced, node(mute=True), min_votes=1)
    learning.restore(again, learning.state(coach))
    assert learning.state(again) == learning.state(coach)
    later = step(np.random.default_rng(1), [0.0] * 12)
    assert judged(again, later) == judged(coach, later) != judged(ensemble(node(), min_votes=1), later)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"combine": "mode"}, "combine must be one of"),
        ({"min_votes": 3}, "coaches has 2 members, and min_votes is 3"),
        ({"coaches": ["rules"]}, r"'rules' in coaches must have a name: \{name: rules\}"),
        ({"coaches": []}, "coaches is empty"),
        ({"trim": 0.5}, "trim"),
        ({"on_disagreement": "escalate"}, "stronger"),
        ({"coaches": ["rules"], "min_votes": 1}, "must have a name"),
        ({"coaches": [{"name": "ruels"}], "min_votes": 1}, "no coach called 'ruels'"),
    ],
)
def test_settings_that_do_not_fit_together_are_rejected(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        conf.build("coaches", conf.load("coach", "ensemble", **settings))
