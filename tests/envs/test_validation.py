from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pettingzoo.utils.conversions import turn_based_aec_to_parallel  # type: ignore[import-untyped]

from coaches.random import Random
from coaches.reward import CoachReward
from conf import ConfigError
from envs.pipeline import PipelineEnv
from envs.single_agent import SingleAgentEnv
from envs.types import Outcome, Role, Task
from sandbox.artifacts import ArtifactCheck, ArtifactSpec
from tests.fakes import FakeBackend, FakeScenario

MAKER: Any = FakeScenario().roles[0]
TASK: Any = FakeScenario().tasks("train")[0]


def made(**members: Any) -> PipelineEnv:
    """An environment of a scenario with other members."""
    scenario = FakeScenario()
    for name, value in members.items():
        setattr(scenario, name, value)
    return PipelineEnv(scenario, FakeBackend())


def tasks(*given: Any) -> Any:
    return lambda split: list(given) if split == "train" else []


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"roles": (MAKER, MAKER)}, "two roles are called maker"),
        ({"roles": ()}, "at least one Role"),
        ({"roles": ("maker",)}, "roles must be Roles"),
        ({"roles": [replace(MAKER, max_turns=0)]}, "role maker: max_turns must be at least 1; got 0"),
        ({"roles": [replace(MAKER, max_turns=True)]}, "max_turns"),
        ({"roles": [replace(MAKER, max_turns=2.0)]}, "max_turns"),
        ({"roles": [replace(MAKER, name=7)]}, "a role's name"),
        ({"roles": [replace(MAKER, name="a/b")]}, "a role's name"),
        ({"roles": [replace(MAKER, name="..")]}, "a role's name"),
        ({"roles": [replace(MAKER, name="")]}, "a role's name"),
        ({"roles": [replace(MAKER, instructions=None)]}, "instructions"),
        ({"roles": [replace(MAKER, produces=("a.txt",))]}, "produces must be a tuple of ArtifactSpecs"),
        ({"roles": [replace(MAKER, produces=(ArtifactSpec("a"), ArtifactSpec("a")))]}, "names a twice"),
        ({"roles": [replace(MAKER, produces=(ArtifactSpec("a", "csvv"),))]}, "any, csv, estimator"),  # type: ignore[arg-type]
        ({"roles": [replace(MAKER, produces=(ArtifactSpec("../a"),))]}, "plain file name"),
        ({"roles": [replace(MAKER, produces=(ArtifactSpec("/a"),))]}, "plain file name"),
        (
            {"roles": [replace(MAKER, produces=(ArtifactSpec("a", "csv", rows_of="b.csv"),))]},
            "rows_of of a is 'b.csv'",
        ),
        (
            {"roles": [replace(MAKER, produces=(ArtifactSpec("a", "csv", columns_of="b"),))]},
            "columns_of of a is 'b'",
        ),
        ({"roles": [replace(MAKER, produces=(ArtifactSpec("a", rows=3),))]}, "of a file of kind any"),
        (
            {"roles": [replace(MAKER, produces=(ArtifactSpec("a", "json", rows=-1),))]},
            "rows must be a number",
        ),
        (
            {"roles": [replace(MAKER, produces=(ArtifactSpec("a", "json", rows=1, rows_of="b"),))]},
            "a: has both rows and rows_of; give one",
        ),
        ({"roles": [Role("r", "", 1, requires=(ArtifactSpec("b"),))]}, "requires b, which no earlier role"),
        ({"session": "notebook"}, "session must be fresh or role; got 'notebook'"),
        ({"context": "prevoius"}, "context must be full or previous; got 'prevoius'"),
        ({"name": 7}, "name must be"),
        ({"name": "a/b"}, "name must be"),
        ({"preload": "numpy"}, "preload must be a tuple"),
        ({"libraries": (1,)}, "libraries must be a tuple"),
        ({"timeout": 0}, "timeout must be"),
        ({"timeout": math.nan}, "timeout must be"),
        ({"timeout": "10"}, "timeout must be"),
        ({"check": None}, "check must be a method"),
        ({"tasks": tasks()}, "at least one Task"),
        ({"tasks": lambda split: iter([TASK])}, "must return a list of Tasks"),
        ({"tasks": tasks("t")}, "must return Tasks"),
        ({"tasks": tasks(TASK, TASK)}, "two tasks have the id train-0"),
        ({"tasks": lambda split: [TASK]}, "two tasks have the id train-0"),
        ({"tasks": tasks(replace(TASK, id=3))}, "id must be a text"),
        ({"tasks": tasks(replace(TASK, prompt=""))}, "task train-0: prompt"),
        ({"tasks": tasks(replace(TASK, kind=None))}, "kind must be"),
        ({"tasks": tasks(replace(TASK, files={"../a": Path("a")}))}, "plain file name"),
        ({"tasks": tasks(replace(TASK, files={"a": "a"}))}, "file a must be a Path"),
        ({"tasks": tasks(replace(TASK, files=["a"]))}, "files must map"),
    ],
)
def test_a_scenario_that_cannot_be_played_is_one_line_before_anything_is_played(
    members: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match="FakeScenario") as error:
        made(**members)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("member", ["name", "context", "preload", "libraries", "timeout", "tasks", "check"])
def test_a_member_that_is_missing_is_named(member: str) -> None:
    class Lacking:
        def __getattr__(self, name: str) -> Any:
            if name == member:
                raise AttributeError(name)
            return getattr(FakeScenario(), name)

    with pytest.raises(ConfigError, match=f"Lacking: lacks {member}; a scenario has name, roles"):
        PipelineEnv(Lacking(), FakeBackend())


def test_a_scenario_is_examined_once() -> None:
    asked = []

    class Counting(FakeScenario):
        def tasks(self, split: Any) -> Any:
            asked.append(split)
            return super().tasks(split)

    scenario = Counting()
    for _ in range(3):
        PipelineEnv(scenario, FakeBackend())
    assert asked == ["train", "heldout"]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(True, 55, {"fair": 1.0}, "ok"), r"a score in \[0, 1\]; got 55"),
        (Outcome(True, math.nan, {"fair": 1.0}, "ok"), "a score in"),
        (Outcome(True, "1", {"fair": 1.0}, "ok"), "a score in"),  # type: ignore[arg-type]
        (Outcome(True, 1.0, {}, "ok"), "the metric fair"),
        (Outcome(True, 1.0, {"fair": 7.0}, "ok"), "a fair in"),
        (Outcome(True, 1.0, {"fair": 1.0, "auc": None}, "ok"), "a number as auc"),  # type: ignore[dict-item]
        (Outcome("yes", 1.0, {"fair": 1.0}, "ok"), "a success of"),  # type: ignore[arg-type]
        (Outcome(True, 1.0, {"fair": 1.0}, ""), "a failure_code"),
        (None, "must return an Outcome"),
        (1.0, "must return an Outcome"),
    ],
)
def test_an_outcome_that_is_none_is_one_line_when_it_is_returned(outcome: Any, said: str) -> None:
    env = made(grade=lambda *_: outcome)
    env.reset(seed=0)
    env.step("done")
    env.step("done")
    with pytest.raises(ConfigError, match=said):
        env.step("done")


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (None, "a tuple of ArtifactChecks"),
        (("a.txt",), "ArtifactChecks"),
        ((ArtifactCheck("other.txt", "ok"),), "states of a.txt for maker"),
        ((ArtifactCheck("a.txt", ""),), "a code for a.txt"),
    ],
)
def test_states_that_are_none_are_one_line_when_they_are_returned(states: Any, said: str) -> None:
    env = made(check=lambda *_: states)
    env.reset(seed=0)
    with pytest.raises(ConfigError, match=said):
        env.step("done")


def alone(env: PipelineEnv) -> SingleAgentEnv:
    say = lambda _: "done"  # noqa: E731
    return SingleAgentEnv(env, "maker", {"changer": say, "teller": say})


def coached(env: PipelineEnv) -> CoachReward:
    return CoachReward(env, Random(Random.Config(seed=0)))


@pytest.mark.parametrize("wrap", [lambda env: env, alone, coached, turn_based_aec_to_parallel])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_environment_says_how_to_branch_an_episode(wrap: Any, duplicate: Any) -> None:
    core = made()
    env = wrap(core)
    env.reset(seed=0)
    if duplicate is copy.copy and env is not core:
        return  # a wrapper around the same environment
    with pytest.raises(TypeError, match=r"to branch an episode, .* reset\(options="):
        duplicate(env)


@pytest.mark.parametrize(
    ("agent", "others", "said"),
    [
        ("maker", {"changer", "teler", "teller"}, "others names 'teler', which is no agent"),
        ("maker", {"changer"}, "lacks an actor for teller"),
        ("maker", {"maker", "changer", "teller"}, "others has an actor for maker"),
        ("makr", {"changer", "teller"}, "there is no agent 'makr'; the agents are maker, changer, teller"),
    ],
)
def test_the_others_are_exactly_the_other_agents(agent: str, others: set[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SingleAgentEnv(made(), agent, dict.fromkeys(others, lambda _: "done"))


def test_an_actor_is_a_function() -> None:
    with pytest.raises(ValueError, match=r"others\['teller'\] must be a function"):
        SingleAgentEnv(made(), "maker", {"changer": lambda _: "", "teller": "done"})


def test_tasks_of_one_split_are_enough() -> None:
    task = Task("t", "## Task: x", "k", None)
    assert made(tasks=tasks(task), roles=(Role("r", "", 1),)).possible_agents == ["r"]
