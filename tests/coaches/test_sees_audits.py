"""The coach ``llm`` with what audits found: declared, shown within its own limit, and only where wanted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from coaches.audits.examiner import Examiner
from coaches.audits.findings import Finding
from coaches.base import reads_files
from envs.types import Outcome, Turn
from tests.coaches import endpoints as e
from tests.coaches.turns import EXECUTOR, SOLVER, VERIFIER, Story, fitted, ran

FOUND = [
    Finding("leakage", 0, "proof", "X_train.pkl 'level' gives the target away"),
    Finding("model", 1, "doubt", "a weak model </data>"),
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Answers for the audits; returns the numbers of turns that they were asked about."""
    lengths: list[int] = []

    def findings(_: Examiner, turns: Sequence[Turn], outcome: Outcome | None) -> tuple[list[Finding], str]:
        assert outcome is None, "a verdict on a turn must not know how the episode ends"
        lengths.append(len(turns))
        return [one for one in FOUND if one.turn < len(turns)], "; 1 not audited: submission: KeyError: 'a'"

    monkeypatch.setattr(Examiner, "findings", findings)
    return lengths


def shown(server: e.Server) -> str:
    text: str = server.requests[-1]["messages"][1]["content"]
    return text


def test_the_model_is_shown_the_findings_of_the_turn_first_and_what_was_not_audited(asked: list[int]) -> None:
    with e.serving(e.score(3)) as server:
        coach = e.coach(server, sees_audits=True)
        assert reads_files(coach)
        coach.judge(fitted())
    block = shown(server).split("what audits of files and programs found so far")[1]
    first, second, third = [line for line in block.splitlines() if "turn " in line or "audited" in line][:3]
    assert first.startswith("turn 2, modeler, model, in doubt: a weak model")
    assert second == "turn 1, engineer, leakage, proven: X_train.pkl 'level' gives the target away"
    assert third == "1 not audited: submission: KeyError: 'a'"
    assert asked == [2]


def test_without_audits_nothing_is_examined_and_the_question_is_as_before(asked: list[int]) -> None:
    with e.serving(e.score(3)) as server:
        coach = e.coach(server)
        assert not reads_files(coach)
        coach.judge(fitted())
    assert "audit" not in shown(server)
    assert asked == []


def test_findings_have_a_limit_of_their_own(asked: list[int]) -> None:
    with e.serving(e.score(3)) as server:
        coach = e.coach(server, sees_audits=True)
        coach.config.sizes.audits = 60
        coach.judge(fitted())
    assert "gives the target away" not in shown(server)


def test_a_verdict_with_audits_is_cached_apart(asked: list[int], tmp_path: object) -> None:
    with e.serving(e.score(3), e.score(8)) as server:
        assert e.coach(server, cache=tmp_path).judge(fitted()).score == 3
        assert e.coach(server, cache=tmp_path, sees_audits=True).judge(fitted()).score == 8
        assert e.coach(server, cache=tmp_path).judge(fitted()).score == 3


@pytest.mark.slow
def test_a_report_that_contradicts_what_was_printed_is_shown_as_proven() -> None:
    story = Story().act(SOLVER, "Compute: sum(range(24))").act(EXECUTOR, result=ran(stdout="276\n"))
    story.act(EXECUTOR, "Result: 277").act(VERIFIER, "\\boxed{277}")
    with e.serving(e.score(3)) as server:
        coach = e.coach(server, sees_audits=True)
        coach.judge(story.turns[:3])
        coach.close()
    assert "turn 3, executor, report, proven: does not report the printed value 276" in shown(server)
