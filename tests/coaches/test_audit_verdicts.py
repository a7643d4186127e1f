"""What the audit coach makes of the turns around a fault, whatever found it."""

from __future__ import annotations

import pytest

import conf
from coaches.audit import Audit
from coaches.audits.findings import Finding
from coaches.base import Verdict
from envs.types import Outcome
from tests.coaches.turns import ANALYST, CODE, ENGINEER, MODELER, TABLES, Story, ok, ran

FAILED = Outcome(False, 0.0, {"fair": 0.0}, "missing")
BROKEN = {**ok(TABLES), "X_test.pkl": "columns"}
NOT_PYTHON = "```python\nmodel = = fit()\n```"


@pytest.fixture
def coach() -> Audit:
    made = conf.build("coaches", conf.load("coach", "audit"))
    assert isinstance(made, Audit)
    return made


def judged(
    coach: Audit, monkeypatch: pytest.MonkeyPatch, story: Story, *findings: Finding
) -> list[tuple[float, str | None]]:
    monkeypatch.setattr(coach, "findings", lambda *_: (list(findings), ""))
    verdicts = coach.judge_episode(story.turns, FAILED)
    return [(verdict.score, verdict.blame) for verdict in verdicts if isinstance(verdict, Verdict)]


def proof(turn: int) -> Finding:
    return Finding("consistency", turn, "proof", "X_test.pkl lacks a column")


def test_others_that_ran_into_a_fault_are_not_to_blame(coach: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story().act(ENGINEER, codes=BROKEN).act(ENGINEER, "I am done.").act(MODELER, result=ran("error"))
    fault, closing, met = judged(coach, monkeypatch, story, proof(0))
    assert fault == (1.0, "engineer")
    assert closing == (2.0, "engineer"), "leaving a fault as it is, is no worse than making it"
    assert met == (5.0, "engineer")


def test_what_failed_for_reasons_of_its_own_keeps_its_verdict(
    coach: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story().act(ENGINEER, codes=ok(TABLES)).act(MODELER, NOT_PYTHON, ran("error"))
    story.act(MODELER, "I give up.")
    fault, broken, gave_up = judged(coach, monkeypatch, story, proof(0))
    assert fault == (1.0, "engineer")
    assert broken == (0.5, "modeler")
    assert gave_up == (0.0, "modeler")


def test_what_came_before_a_fault_is_not_blamed_on_it(coach: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story().act(ENGINEER, result=ran("error")).act(ENGINEER, codes=ok(TABLES))
    story.act(MODELER, CODE, codes=ok(["model.pkl"])).act(ANALYST, codes={"submission.csv": "ids"})
    attempt, repair, sound, fault = judged(coach, monkeypatch, story, proof(3))
    assert attempt == (5.0, None), "it was repaired within its stage"
    assert repair[1] is None
    assert sound[1] is None
    assert fault == (1.0, "analyst")


def test_a_further_fault_is_that_of_its_own_agent(coach: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story().act(ENGINEER, codes=ok(TABLES)).act(MODELER, codes=ok(["model.pkl"]))
    first, second = judged(coach, monkeypatch, story, proof(0), proof(1))
    assert (first, second) == ((1.0, "engineer"), (2.0, "modeler"))
