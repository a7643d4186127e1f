"""One agent's view of a team as a Gymnasium environment, for learners that train a single agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
from pettingzoo import AECEnv  # type: ignore[import-untyped]

Observation = dict[str, Any]
Actor = Callable[[Observation], str]
"""Chooses an action."""


class SingleAgentEnv(gymnasium.Env[Observation, str]):
    """``agent``'s view of ``env``, in which ``others`` choose the actions of the other agents.

    A step takes ``agent``'s action and then those of the others until it is ``agent``'s turn again or the
    episode ends. The reward is that of ``last()``: everything that ``agent`` received since its previous
    action. The episode ends when the team's episode ends, so the outcome's reward arrives with ``agent``'s
    last step. ``env`` may be wrapped.

    ``SingleAgentEnv(make("mathchat"), "verifier", {"problem_solver": plan, "code_executor": compute})``
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"]}  # noqa: RUF012 - Gymnasium's name and type

    def __init__(
        self,
        env: AECEnv,
        agent: str,
        others: Mapping[str, Actor],
        *,
        render_mode: str | None = None,
    ) -> None:
        """Raises ``ValueError`` if ``env`` has no such agent, or if ``others`` are not exactly the other
        agents, each with a function."""
        _check_team(env.possible_agents, agent, others)
        self.env = env
        self.agent = agent
        self.others = dict(others)
        self.observation_space = env.observation_space(agent)
        self.action_space = env.action_space(agent)
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode and takes the others' actions up to ``agent``'s first turn; ``options`` go to
        ``env``."""
        super().reset(seed=seed)
        self.env.reset(seed=seed, options=options)
        observation, _, _, _, info = self._until_our_turn()
        return observation, info

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self.env.step(action)
        return self._until_our_turn()

    def render(self) -> str:
        """Returns the episode so far as text."""
        return str(self.env.render())

    def close(self) -> None:
        self.env.close()

    def _until_our_turn(self) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        while (name := self.env.agent_selection) != self.agent:
            observation, _, terminated, truncated, _ = self.env.last()
            self.env.step(None if terminated or truncated else self.others[name](observation))
        observation, reward, terminated, truncated, info = self.env.last()
        return observation, float(reward), terminated, truncated, info


def _check_team(team: Sequence[str], agent: str, others: Mapping[str, Actor]) -> None:
    known = ", ".join(team)
    if agent not in team:
        raise ValueError(f"there is no agent {agent!r}; the agents are {known}")
    if agent in others:
        raise ValueError(f"others has an actor for {agent}, whose actions are those of step()")
    if unknown := [name for name in others if name not in team]:
        raise ValueError(f"others names {unknown[0]!r}, which is no agent; the agents are {known}")
    if missing := [name for name in team if name != agent and name not in others]:
        raise ValueError(f"others lacks an actor for {', '.join(missing)}")
    for name, actor in others.items():
        if not callable(actor):
            raise ValueError(f"others[{name!r}] must be a function of the observation; got {actor!r:.80}")
