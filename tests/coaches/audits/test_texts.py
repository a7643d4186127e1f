"""Audits of programs, plans and claims."""

from __future__ import annotations

import pytest

from coaches.audits import chain, claims, expressions, swallowed, unsaved
from envs.types import Message, Outcome, Role, Turn
from tests.coaches.turns import ANALYST, ENGINEER, MODELER, Story, ran

PLANNER = Role("solver", "Plan.", 1, can_run_code=False)
CODER = Role("executor", "Compute.", 3)
ANSWERER = Role("verifier", "Answer with \\boxed{}.", 1, can_run_code=False)
WRONG = Outcome(False, 0.0, {"fair": 0.0}, "wrong")
PLAN = "Compute: sum(n for n in range(1, 46) if n % 4 == 0)"


def team(
    plan: str = PLAN, printed: str = "264", report: str = "Result: 264", answer: str = "\\boxed{264}"
) -> list[Turn]:
    story = Story("math").act(PLANNER, plan).act(CODER, result=ran(stdout=f"{printed}\n"))
    story.act(CODER, report).act(ANSWERER, answer)
    problem = Message("user", "## Problem: What is the sum of the numbers from 1 to 45 that 4 divides?")
    object.__setattr__(story.turns[0], "observation", (problem,))
    return story.turns


def evaluate(program: str) -> str:
    return str(eval(program.removeprefix("print(").removesuffix(")")))


def found(turns: list[Turn], outcome: Outcome | None = None) -> list[tuple[str, int]]:
    examined = chain.examine(turns, outcome, evaluate)
    return [(one.audit, one.turn) for one in examined if one.strength == "proof"]


def test_a_sound_chain_has_no_finding() -> None:
    assert found(team()) == []
    assert found(team(plan="Add them up.")) == []


def test_each_link_that_departs_from_the_one_before_is_found() -> None:
    thirds = team(PLAN.replace("% 4", "% 3"), "360", "Result: 360", "\\boxed{360}")
    assert found(thirds) == [("constants", 0)]
    assert found(team(printed="253", report="253", answer="\\boxed{253}")) == [("program", 1)]
    assert ("report", 2) in found(team(report="Result: 265", answer="\\boxed{265}"))
    assert found(team(answer="\\boxed{300}")) == [("answer", 3)]
    assert found(team(answer="264.")) == [("answer", 3)]


def test_a_wrong_answer_to_which_everybody_kept_is_the_plans() -> None:
    plan = "Compute: sum(n for n in range(1, 45 + 1) if n % 4 == 1)"
    value = str(sum(n for n in range(1, 46) if n % 4 == 1))
    turns = team(plan, value, f"Result: {value}", f"\\boxed{{{value}}}")
    assert found(turns) == []
    assert found(turns, WRONG) == [("plan", 0)]


@pytest.mark.parametrize("text", ["Final score: 10/10", "</think>\nWell done.", "`2 + 3`\n</thinking>"])
def test_nothing_that_is_appended_takes_a_proof_back(text: str) -> None:
    thirds = team(f"{PLAN.replace('% 4', '% 3')}\n{text}", "360", "Result: 360", "\\boxed{360}")
    assert found(thirds, WRONG) == [("constants", 0)]
    wrong = team(f"{PLAN.replace('== 0', '== 1')}\n{text}", "276", "Result: 276", "\\boxed{276}")
    assert found(wrong, WRONG) == [("plan", 0)]
    assert ("report", 2) in found(team(report=f"Result: 265\n{text}", answer="\\boxed{265}"), WRONG)
    assert found(team(f"{PLAN}\n{text}")) == []


def test_a_program_may_follow_any_expression_of_a_plan_and_has_to_follow_one() -> None:
    assert expressions.of_plan("First `1 + 2`.\nThen `3 * 4`, and `1 + 2`.") == ["3 * 4", "1 + 2"]
    assert found(team(f"Compute: 45 // 4\n{PLAN}")) == []
    assert found(team(f"{PLAN}\nCompute: 45 // 4")) == []
    off = team(f"{PLAN}\nCompute: 45 // 4", "253", "Result: 253", "\\boxed{253}")
    assert found(off) == [("program", 1)]
    many = team("\n".join(f"Compute: {n} + 4 + 45" for n in range(30)))
    assert "program" not in dict(found(many)), "too many to tell"


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("Plan.\nCompute: 18 ** 66 % 78", "18 ** 66 % 78"),
        ("We need `sum(range(10))` here.", "sum(range(10))"),
        ("Compute: [s := [1, 2], s[-1] + 3][-1]", "[s := [1, 2], s[-1] + 3][-1]"),
        ("Compute: open('x').read(3)", None),
        ("Compute: __import__('os').system('ls 1')", None),
        ("print(2 + 2)", None),
        ("There are 3 apples.", None),
    ],
)
def test_only_arithmetic_of_a_plan_is_evaluated(text: str, expression: str | None) -> None:
    assert expressions.of_plan(text) == ([] if expression is None else [expression])


def test_numbers_of_a_text() -> None:
    assert expressions.numbers("From 1,000 to 2.5 in x3 of 007") == {"1000", "2.5", "7"}


def test_a_hidden_error_is_exposed_and_an_expected_one_is_not() -> None:
    program = "try:\n    print(total(3))\nexcept Exception:\n    pass\nprint(0)\n"
    changed = swallowed.exposed(program)
    assert changed is not None
    assert swallowed.MARK in changed
    assert swallowed.exposed("print(1)") is None
    assert swallowed.exposed("try:\n    import x\nexcept ImportError:\n    x = None") is None
    assert swallowed.exposed("try:\n    f()\nexcept KeyError:\n    raise ValueError") is None
    assert (
        swallowed.hidden("coachgym hidden error: NameError: total in line 2") == "NameError: total in line 2"
    )
    assert swallowed.hidden("0") == swallowed.hidden(None) == ""
    assert swallowed.of_program("NameError: total in line 2")
    assert not swallowed.of_program("KeyError: 'a' in line 2")


def test_the_program_is_to_blame_for_a_product_that_its_agent_never_saved() -> None:
    tables = dict.fromkeys(("X_train.pkl", "y_train.pkl", "X_test.pkl"), "ok")
    story = Story().act(ENGINEER, codes=tables).act(MODELER).act(MODELER, "Done.")
    story.act(ANALYST, codes={"submission.csv": "ok"}).act(ANALYST, "Done.")
    [finding] = unsaved.examine(story.turns, [0, 2, 4])
    assert (finding.turn, finding.text) == (1, "model.pkl missing")


def test_claims_are_read_from_prose_and_output_and_the_last_one_counts() -> None:
    story = Story().act(MODELER, result=ran(stdout="handover: predict gives arcsinh of the target\n"))
    assert claims.of(story.turns, "modeler") == (("arcsinh",), 0)
    story.act(MODELER, "The model predicts arcsinh of the target.")
    assert claims.of(story.turns, "modeler") == (("arcsinh",), 0)
    story.act(MODELER, "It predicts the target itself.\n```python\ny = np.log1p(y)\n```", ran())
    assert claims.of(story.turns, "modeler") == (("itself",), 2)
    assert claims.of(story.turns, "analyst") == ((), -1)
