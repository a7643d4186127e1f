"""One agent's view of a team as a Gymnasium environment, for learners that train a single agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from pettingzoo import AECEnv  # type: ignore[import-untyped]

from envs import making
from envs.players import Observation, Player, act, read_others


class SingleAgentEnv(gymnasium.Env[Observation, str]):
    """``agent``'s view of ``env``, in which ``others`` choose the actions of the other agents.

    A step takes ``agent``'s action and then those of the others until it is ``agent``'s turn again or the
    episode ends. The reward is that of ``last()``: everything that ``agent`` received since its previous
    action. The episode ends when the team's episode ends, so the outcome's reward arrives with ``agent``'s
    last step. ``env`` may be wrapped, and is closed by ``close()``.

    ``SingleAgentEnv(make("mathchat"), "verifier", {"problem_solver": plan, "code_executor": "silent"})``
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - Gymnasium's name and type

    def __init__(
        self,
        env: AECEnv,
        agent: str,
        others: Player | Mapping[str, Player],
        *,
        render_mode: str | None = None,
    ) -> None:
        """``others``: who plays the other agents, one for all or one for each: a function of the observation,
        ``silent`` (ends its part at once), ``random`` (short random text) or ``module:function``.

        Raises:
            ValueError: ``env`` has no such agent, or ``others`` are not exactly the other agents.
        """
        self.env = env
        self.agent = agent
        self.others = read_others(env.possible_agents, agent, others)
        self.observation_space = env.observation_space(agent)
        self.action_space = env.action_space(agent)
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode and takes the others' actions up to ``agent``'s first turn; ``options`` go to
        ``env``.

        Raises:
            ValueError: ``options["turns"]`` has all turns of ``agent``, so that nothing is left to choose.
        """
        super().reset(seed=seed)
        self.env.reset(seed=seed, options=options)
        observation, _, terminated, truncated, info = self._until_our_turn()
        if terminated or truncated:
            raise ValueError(f'options["turns"] leaves no turn to {self.agent}')
        return observation, info

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Takes ``agent``'s action and then those of the others until its next turn.

        Raises:
            RuntimeError: the episode is over.
        """
        if self.env.terminations[self.agent] or self.env.truncations[self.agent]:
            raise RuntimeError("the episode is over: call reset() first")
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
            over = terminated or truncated
            self.env.step(None if over else act(name, self.others[name], observation, self.np_random))
        observation, reward, terminated, truncated, info = self.env.last()
        return observation, float(reward), terminated, truncated, info


def make(
    name: str,
    role: str,
    *,
    others: Player | Mapping[str, Player] = "silent",
    render_mode: str | None = None,
    **settings: Any,
) -> SingleAgentEnv:
    """Makes ``role``'s view of ``envs.make(name, **settings)``; the entry point of the Gymnasium ids."""
    env = making.make(name, render_mode=render_mode, **settings)
    try:
        return SingleAgentEnv(env, role, others, render_mode=render_mode)
    except BaseException:
        env.close()
        raise
