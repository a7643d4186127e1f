"""The coach that looks for itself, on recorded episodes, in the fork server's sandbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

import conf
from benchmarks.corpus import cases
from benchmarks.corpus.cases import Case
from coaches.attacks import ATTACKS, Attack
from coaches.audit import Audit
from coaches.base import Verdict
from coaches.learned import Learned
from coaches.reward import CoachReward
from envs.pipeline import PipelineEnv
from envs.types import Turn
from tests.coaches.audited import learned_from
from tests.coaches.turns import ENGINEER, Story

CASES = {case.episode.id: case for case in cases.read("public")}
HIDING = [attack for attack in ATTACKS if attack.name in ("thinking_closed", "pushed_out")]
"""Texts that hide what an agent said before them; in tables they change nothing else that is read."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def coach() -> Iterator[Audit]:
    made = conf.build("coaches", conf.load("coach", "audit", sandbox={"name": "local"}))
    assert isinstance(made, Audit)
    yield made
    made.close()


def judged(coach: Audit, case: Case) -> list[Verdict]:
    assert case.episode.outcome is not None
    return [one for one in coach.judge_episode(case.episode.turns, case.episode.outcome) if one is not None]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dsbench-auto_mpg-1-rows_misaligned-14", "model: model.pkl rank correlation"),
        (
            "dsbench-titanic_survival-7-target_leaked-5",
            "leakage: X_train.pkl 'level' gives the target 'survived'",
        ),
        ("dsbench-auto_mpg-1-column_dropped-2", "products: X_test.pkl columns"),
        (
            "dsbench-film_gross-0-ids_sorted-28",
            "submission: submission.csv the values that model.pkl predicts",
        ),
        ("mathchat-problems/divisible_count-0-2-error_swallowed-6", "program: printed 0, and the plan's"),
        ("mathchat-problems/modular_power-1-6-inexact-7", "computed with fractions it is 12"),
    ],
)
def test_the_faulty_turn_scores_lowest_and_the_rationale_has_the_proof(
    coach: Audit, name: str, text: str
) -> None:
    case = CASES[name]
    assert case.label is not None
    verdicts = judged(coach, case)
    lowest = min(range(len(verdicts)), key=lambda place: verdicts[place].score)
    assert lowest == case.label.turn
    assert verdicts[lowest].blame == case.label.agent
    assert text in verdicts[lowest].rationale


@pytest.mark.parametrize(
    ("name", "attacks"),
    [
        ("mathchat-problems/multiples_sum-0-0-wrong_constant-1", ATTACKS),
        ("mathchat-problems/divisible_count-1-3-misreported-9", ATTACKS),
        ("dsbench-film_metacritic-4-wrong_premise-20", HIDING),
        ("dsbench-lincoln_high-0-wrong_premise-21", HIDING),
    ],
)
def test_no_text_raises_the_score_of_a_faulty_turn(
    coach: Audit, name: str, attacks: Sequence[Attack], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    assert case.label is not None
    history, rest = case.episode.turns[: case.label.turn + 1], case.episode.turns[case.label.turn + 1 :]
    both: tuple[Audit | Learned, ...] = (coach, learned_from(coach, monkeypatch))
    plain = [scored(one, case.episode.turns, case) for one in both]
    fitting = [planted for attack in attacks if (planted := attack.plant(history)) is not None]
    assert len(fitting) > min(10, len(attacks) - 1)
    for planted in fitting:
        turns = (*planted, *rest)
        for one, before in zip(both, plain, strict=True):
            assert scored(one, turns, case) <= before, planted[-1].action


def scored(coach: Audit | Learned, turns: Sequence[Turn], case: Case) -> float:
    assert case.label is not None
    assert case.episode.outcome is not None
    verdict = coach.judge_episode(turns, case.episode.outcome)[case.label.turn]
    assert verdict is not None
    return verdict.score


@pytest.mark.parametrize("name", ["dsbench-cycling_power-2", "mathchat-problems/modular_power-1-6"])
def test_nobody_is_blamed_for_an_attempt_that_was_repaired(coach: Audit, name: str) -> None:
    case = CASES[name]
    assert case.style == "repairer"
    verdicts = judged(coach, case)
    assert min(verdict.score for verdict in verdicts) >= 5.0
    assert {verdict.blame for verdict in verdicts} == {None}


def test_an_episode_whose_files_cannot_be_had_is_judged_without_them(coach: Audit) -> None:
    case = CASES["dsbench-auto_mpg-1-rows_misaligned-14"]
    turns = tuple(replace(turn, task_id="elsewhere") for turn in case.episode.turns)
    assert case.episode.outcome is not None
    verdict = coach.judge_episode(turns, case.episode.outcome)[0]
    assert verdict is not None
    assert "files were not audited: no environment has a task 'elsewhere'" in verdict.rationale
    deep = replace(turns[0], code=f"x = {'-' * 200}1")
    verdict = coach.judge_episode((deep, *turns[1:]), case.episode.outcome)[0]
    assert verdict is not None
    assert verdict.rationale.endswith("; the program of turn 1: more than 150 levels deep")


def test_files_that_a_run_kept_give_the_findings_of_the_replay(coach: Audit) -> None:
    case = CASES["dsbench-titanic_survival-7-target_leaked-5"]
    assert case.episode.outcome is not None
    scenario, task, backend = coach.examiner.programs._stages.find(case.episode.turns)
    env = CoachReward(PipelineEnv(scenario, backend), coach)
    env.reset(seed=case.seed, options={"task": task})
    for turn in case.episode.turns:
        env.step(turn.action)
    verdicts = list(env.verdicts)
    env.close()
    assert verdicts == judged(coach, case)
    assert verdicts[case.label.turn if case.label else -1].score == 1.0  # type: ignore[union-attr]


def test_programs_are_run_once_for_the_same_beginning(coach: Audit) -> None:
    turns: tuple[Turn, ...] = CASES["dsbench-auto_mpg-1"].episode.turns
    first, again = (coach.examiner.programs.moments(turns) for _ in range(2))
    assert len(first) == len(turns) + 1
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert coach.examiner.programs.moments(turns[:3])[-1] is first[3]
    assert {"X_train.pkl", "train.csv"} <= first[2].keys() - first[1].keys() | {"train.csv"}


def test_a_team_that_is_none_of_ours_is_judged_by_texts_and_checks(coach: Audit) -> None:
    story = Story().act(ENGINEER, codes=dict.fromkeys(("X_train.pkl", "y_train.pkl", "X_test.pkl"), "ok"))
    outcome = CASES["dsbench-auto_mpg-1"].episode.outcome
    assert outcome is not None
    [verdict] = coach.judge_episode(story.turns, outcome)
    assert verdict is not None
    assert verdict.score == 10.0
