"""The contract suite finds what it looks for."""

from __future__ import annotations

from typing import Any

import pytest

from envs import contract
from envs.pipeline import PipelineEnv
from tests.fakes import EchoBackend, FakeScenario


def act(observation: dict[str, Any], index: int) -> str:
    return contract.PRINT_AND_STOP[index % 2]


class Unpaid(PipelineEnv):
    """Its rewards change without ``last()``."""

    def step(self, action: str | None) -> None:
        super().step(action)
        for agent in self.rewards:
            self.rewards[agent] += 1.0


class Forgetful(PipelineEnv):
    """Loses the second turn."""

    def step(self, action: str | None) -> None:
        super().step(action)
        self.turns = self.turns[:1] + self.turns[2:]


class Editing(PipelineEnv):
    """Records other actions than those it is given."""

    def step(self, action: str | None) -> None:
        super().step(action if action is None else action.strip(".0{}"))


class Untold(PipelineEnv):
    """Does not say how the episode ended."""

    def step(self, action: str | None) -> None:
        super().step(action)
        for info in self.infos.values():
            info.pop("outcome", None)


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Unpaid, "its rewards add up to 1.0|rewards were never paid"),
        (Forgetful, "turn 1 of maker is lost or changed"),
        (Editing, "turn 1 of maker is lost or changed"),
        (Untold, "maker does not learn the outcome"),
    ],
)
def test_rewards_turns_and_ends_that_go_missing_are_found(cls: type[PipelineEnv], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        contract.check_accounts(lambda: cls(FakeScenario(), EchoBackend()), act)


def test_an_observation_outside_of_its_space_is_found_for_every_agent() -> None:
    class Wordy(PipelineEnv):
        def observe(self, agent: str) -> dict[str, Any]:
            return {**super().observe(agent), "role": agent * 300}

    with pytest.raises(AssertionError, match="observation"):
        contract.check_every_agent(lambda: Wordy(FakeScenario(), EchoBackend()))
