"""The graded problems: their answers, computed twice from their texts, and what a file of them must be."""

from __future__ import annotations

import json
import re
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest

import envs
from envs.mathchat import graded
from envs.mathchat.answers import accepted, grade
from envs.mathchat.equivalence import Checker
from envs.mathchat.graded import FAMILIES, PATH, generate
from envs.mathchat.graded.family import Family
from envs.mathchat.identity import fingerprint
from tests.envs.mathchat import brute_force
from tests.fakes import FakeBackend

RECORDS: list[dict[str, Any]] = json.loads(PATH.read_text(encoding="utf-8"))


def given(template: str, text: str) -> dict[str, Any]:
    """Returns what stands in a problem's text, in the order of the names."""
    seen: set[str] = set()
    pattern = ""
    for position, part in enumerate(re.split(r"\{(\w)\}", template)):
        if position % 2 == 0:
            pattern += re.escape(part)
        else:
            pattern += f"(?P={part})" if part in seen else f"(?P<{part}>\\d+|[A-D]+)"
            seen.add(part)
    match = re.fullmatch(pattern, text)
    assert match, text
    found = sorted(match.groupdict().items())
    return {name: int(value) if value.isdigit() else value for name, value in found}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_answers_agree_with_a_second_method_that_reads_the_text(family: Family) -> None:
    for rank, level in enumerate(family.levels, 1):
        records = [one for one in RECORDS if (one["family"], one["kind"]) == (family.name, f"level_{rank}")]
        assert len(records) == 10
        for record in records:
            numbers = given(level.text, record["problem"])
            answer = brute_force.solve(family.name, rank, numbers)
            assert answer == Fraction(record["answer"]) == level.answer(**numbers), record


def test_the_file_is_the_output_of_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert generate() == RECORDS
    monkeypatch.setattr(graded, "PATH", tmp_path / "graded.json")
    graded.main()
    assert (tmp_path / "graded.json").read_bytes() == PATH.read_bytes()


def test_problems_are_distinct_single_lines_of_every_family_and_level() -> None:
    assert len(RECORDS) == 480 == len({record["id"] for record in RECORDS})
    assert len({fingerprint(record["problem"]) for record in RECORDS}) == 480
    assert all("\n" not in record["problem"] for record in RECORDS)
    assert Counter(record["kind"] for record in RECORDS) == {f"level_{rank}": 120 for rank in range(1, 5)}
    assert Counter(Counter(record["family"] for record in RECORDS).values()) == {40: 12}


def test_answers_are_exact_and_cannot_be_guessed() -> None:
    for record in RECORDS:
        answer = record["answer"]
        assert type(answer) is int or str(Fraction(answer)) == answer != str(Fraction(answer).numerator)
        assert Fraction(answer) >= 0
    asked = Counter((record["family"], record["kind"], record["answer"]) for record in RECORDS)
    assert max(asked.values()) == 2


def test_the_grader_takes_every_answer_and_no_other() -> None:
    checker = Checker(30)
    for record in RECORDS[::7]:
        gold, value = accepted(record["answer"]), Fraction(record["answer"])
        assert grade(f"\\boxed{{{record['answer']}}}", gold, checker) == "ok"
        written = f"\\frac{{{3 * value.numerator}}}{{{3 * value.denominator}}}"
        assert grade(f"\\boxed{{{written}}}", gold, checker) == "ok"
        assert grade(f"\\boxed{{{value + 1}}}", gold, checker) == "wrong"


def test_every_level_is_trained_on_and_held_out() -> None:
    scenario = envs.make("mathchat", sandbox=FakeBackend(), tasks="bundled:graded").scenario
    assert Counter(task.kind for task in scenario.tasks("train")) == {f"level_{n}": 90 for n in range(1, 5)}
    assert Counter(task.kind for task in scenario.tasks("heldout")) == {f"level_{n}": 30 for n in range(1, 5)}


@pytest.mark.parametrize(("style", "kinds"), [("full", 4), ("compact", 10)])
def test_the_problems_go_with_the_style_unless_they_are_named(style: str, kinds: int) -> None:
    scenario = envs.make("mathchat", sandbox=FakeBackend(), style=style).scenario
    assert len({task.kind for task in scenario.tasks("train")}) == kinds
