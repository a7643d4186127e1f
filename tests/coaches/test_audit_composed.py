"""The audit coach around other coaches, and within them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import conf
from coaches.audits.examiner import Examiner
from coaches.audits.findings import Finding
from coaches.base import Verdict, judges_turns, reads_files
from coaches.judging.inner import build_coach
from coaches.judging.learning import JudgedEpisode
from coaches.judging.verdicts import judge_episode
from envs.types import Outcome, Turn
from tests.coaches.turns import ANALYST, ENGINEER, MODELER, TABLES, Story, ok

FAILED = Outcome(False, 0.0, {"fair": 0.0}, "worse")
FOUND = [Finding("leakage", 0, "proof", "X_train.pkl 'level' gives the target away")]
AUDIT: dict[str, Any] = {"name": "audit"}


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Examiner, "findings", lambda *_: (FOUND, "; 1 not audited: model: KeyError: 'a'"))


def turns() -> list[Turn]:
    story = Story().act(ENGINEER, codes=ok(TABLES)).act(MODELER, codes=ok(["model.pkl"]))
    return story.act(ANALYST, codes=ok(["submission.csv"])).turns


def judged(node: Mapping[str, Any]) -> list[Verdict]:
    coach = build_coach(node)
    assert reads_files(coach)
    assert not judges_turns(coach)
    verdicts = [one.verdict for one in judge_episode(coach, turns(), FAILED)]
    found = [verdict for verdict in verdicts if verdict is not None]
    assert len(found) == 3
    return found


@pytest.mark.parametrize("inner", ["rules", "hindsight", "outcome", "length"])
def test_it_revises_whatever_coach_it_is_given(inner: str) -> None:
    first, *_ = verdicts = judged(AUDIT | {"coach": {"name": inner}})
    assert (first.score <= 1.0, first.blame) == (True, "engineer")
    assert [verdict.parts[0].source for verdict in verdicts if verdict.parts[0]] == [inner] * 3
    assert all("1 not audited: model: KeyError: 'a'" in verdict.rationale for verdict in verdicts)


def test_an_ensemble_has_its_verdicts_as_parts() -> None:
    node = {"name": "ensemble", "coaches": [{"name": "rules"}, AUDIT], "combine": "mean"}
    first, *_ = judged(node)
    assert first.score <= 5.5
    assert {part.source for part in first.parts if part is not None} == {"rules", "audit"}


def test_balanced_removes_effects_from_its_scores_and_learns_from_them() -> None:
    node = {"name": "balanced", "coach": AUDIT}
    verdicts = judged(node)
    assert verdicts[0].blame == "engineer"
    assert verdicts[0].score <= min(verdict.score for verdict in verdicts[1:])
    coach: Any = build_coach(node)
    assert isinstance(coach.learn([JudgedEpisode("t", tuple(turns()), tuple(verdicts), FAILED)]), dict)
    coach.restore(coach.state())


def test_hindsight_shares_out_what_it_says() -> None:
    verdicts = judged({"name": "hindsight", "coach": AUDIT})
    assert verdicts[0].score < verdicts[1].score
    assert conf.load("coach", "audit").coach.name == "rules"
