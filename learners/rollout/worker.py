"""Plays episodes with what one process has: an environment, sandboxes, a coach and a team."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coaches.base import AnyCoach, check_agents
from coaches.reward import CoachReward
from conf import ConfigError
from envs.base import Scenario
from envs.pipeline import PipelineEnv
from envs.sizes import check_scenario
from learners.policy import Policy
from learners.rollout.episode import play
from learners.types import Assignment, Isolation, Rollout
from sandbox.base import Backend, warning


class LocalRolloutWorker:
    """See ``learners.base.RolloutWorker``. Every method may be called by many threads at once."""

    def __init__(
        self,
        scenario: Scenario,
        backend: Backend,
        coach: AnyCoach,
        team: Mapping[str, Policy],
        *,
        deferred: bool,
        told_tokens: Mapping[str, int | None] | None = None,
    ) -> None:
        """Builds a worker.

        Args:
            scenario: what is played.
            backend: of the sandboxes.
            coach: of all episodes.
            team: the policy of each agent.
            deferred: see ``CoachReward``.
            told_tokens: what each agent is told of the longest reply; None: what ``scenario`` says.

        Raises:
            ConfigError: the files of a task do not fit into the backend's sandboxes, or the coach is to see
                more of an agent that is not there.
        """
        try:
            check_scenario(scenario, backend)
            check_agents(coach, [role.name for role in scenario.roles])
        except ConfigError:
            backend.close()
            raise
        if told_tokens is not None:
            told: Any = scenario
            told.reply_tokens = dict(told_tokens)
        self._scenario = scenario
        self._backend = backend
        self._coach = coach
        self._team = team
        self._deferred = deferred

    def play(self, assignment: Assignment, *, coached: bool) -> Rollout:
        """Plays one episode to its end.

        Raises:
            SandboxError: the sandbox was lost; there is no outcome to count.
        """
        core = PipelineEnv(self._scenario, self._backend)
        env = CoachReward(core, self._coach, deferred=self._deferred) if coached else core
        return play(env, self._team, assignment)

    def isolation(self) -> Isolation:
        """Describes the sandboxes in which the programs of these episodes run."""
        backend = self._backend
        return Isolation(
            backend.name, tuple(sorted(backend.guarantees)), dict(backend.versions), warning(backend)
        )

    def close(self) -> None:
        """Ends every sandbox."""
        self._backend.close()
