"""The loop that plays episodes."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import cast

from envs.pipeline import PipelineEnv
from learners.policy import Policy
from learners.rollout.episode import play
from learners.types import Assignment, Rollout
from tests.fakes import FakeBackend, FakeScenario
from tests.learners.run.test_stops import Quiet


def played() -> Rollout:
    scenario = FakeScenario()
    team = {role.name: cast(Policy, Quiet(role.name)) for role in scenario.roles}
    task = scenario.tasks("train")[0]
    return play(PipelineEnv(scenario, FakeBackend()), team, Assignment("e", task, 0, 0, 1.0))


def test_an_episode_says_when_its_turns_were_played() -> None:
    before = time.time()
    rollout = played()
    assert rollout.times is not None
    assert before <= rollout.times.started <= time.time()
    turns = rollout.times.turns
    assert len(turns) == len(rollout.episode.turns) == 3
    assert all(0 < one.began < one.acted < one.ended for one in turns)
    assert all(one.ended < other.began for one, other in itertools.pairwise(turns))


def test_the_times_are_no_part_of_what_was_played() -> None:
    first, second = played(), played()
    assert first.times != second.times
    assert first == second == replace(first, times=None)
