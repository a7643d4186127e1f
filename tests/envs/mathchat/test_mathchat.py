from __future__ import annotations

from typing import Any

import pytest

import conf
import envs
from envs.mathchat import MathChat
from envs.mathchat.problems import FAMILIES
from envs.pipeline import PipelineEnv
from tests.fakes import FakeBackend, program


def make(**settings: Any) -> PipelineEnv:
    return envs.make(
        "mathchat", sandbox=FakeBackend(), **{"tasks": "bundled:basic", "style": "compact"} | settings
    )


def play(env: PipelineEnv, *actions: str) -> PipelineEnv:
    env.reset(seed=0, options={"task": "problems/modular_power-0"})
    for action in actions:
        env.step(action)
    return env


def test_the_environment_is_built_by_its_name() -> None:
    assert conf.plugin_class("envs", "mathchat") is MathChat


def test_bundled_problems_are_split_within_every_family() -> None:
    scenario = make().scenario
    train, heldout = scenario.tasks("train"), scenario.tasks("heldout")
    assert (len(train), len(heldout)) == (120, 40)
    for family in FAMILIES:
        assert sum(task.kind == family.name for task in heldout) == 4
    assert not {task.prompt for task in train} & {task.prompt for task in heldout}


def test_another_split_seed_holds_out_other_problems() -> None:
    first = make().scenario.tasks("heldout")
    assert make(split_seed=0).scenario.tasks("heldout") == first
    assert make(split_seed=1).scenario.tasks("heldout") != first


def test_a_team_that_computes_answers_correctly() -> None:
    env = make()
    env.reset(seed=0, options={"task": "problems/modular_power-0"})
    a, b, c = (int(word) for word in env.task.prompt.replace("?", "").split() if word.isdigit())
    env.step("Compute the power and its remainder.")
    env.step(program(f"print({a} ** {b} % {c})"))
    env.step("That is it.")
    assert f"## From code_executor: ok; printed {env.task.answer[0]}" in str(env.observe("verifier"))
    env.step(f"<think>\\boxed{{0}}</think>The answer is \\boxed{{{env.task.answer[0]}}}.")
    assert env.outcome.success
    assert env.outcome.score == 1.0
    assert env.outcome.metrics == {"accuracy": 1.0, "fair": 1.0}
    assert env.outcome.failure_code == "ok"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("\\boxed{1000}", "wrong"),
        ("It is 5.", "no_answer"),
        ("<think>\\boxed{5}", "no_answer"),
        ("\\boxed{9^{9^{9^9}}}", "timeout"),
    ],
)
def test_a_wrong_answer_scores_0_with_its_failure_code(answer: str, code: str) -> None:
    env = play(make(grading_timeout=0.5), "plan", "no code", answer)
    assert not env.outcome.success
    assert env.outcome.score == env.outcome.metrics["fair"] == 0.0
    assert env.outcome.failure_code == code


def test_only_the_verifiers_answer_counts() -> None:
    env = make()
    env.reset(seed=0)
    right = f"\\boxed{{{env.task.answer[0]}}}"
    for action in (right, right, "no box"):
        env.step(action)
    assert env.outcome.failure_code == "no_answer"


def test_the_problem_is_the_first_line_of_every_agents_task() -> None:
    env = play(make(), "plan")
    for agent in env.possible_agents:
        chat = env.observe(agent)["messages"]
        assert chat[0]["content"].startswith(f"## Role: {agent} (")
        assert chat[1]["content"].startswith("## Problem: What is the remainder when ")


def test_the_verifier_is_told_to_box_its_answer() -> None:
    assert "\\boxed{" in make().scenario.roles[-1].instructions
