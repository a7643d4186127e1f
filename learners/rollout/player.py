"""Plays episodes with what one process has: an environment, sandboxes, a coach and a team."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coaches.base import Coach, HindsightCoach
from coaches.reward import CoachReward
from envs.base import Scenario
from envs.pipeline import PipelineEnv
from learners.base import Actor
from learners.rollout.episode import Assignment, Rollout, play
from sandbox.base import Backend, warning


@dataclass(frozen=True)
class Isolation:
    """What programs run in, for a run's records."""

    backend: str
    guarantees: tuple[str, ...]
    libraries: Mapping[str, str]
    warning: str
    """What it does not hold, as a line for a person; empty where it holds everything."""


class LocalPlayer:
    """See ``learners.base.Player``. Every method may be called by many threads at once."""

    def __init__(
        self,
        scenario: Scenario,
        backend: Backend,
        coach: Coach | HindsightCoach,
        team: Mapping[str, Actor],
        *,
        deferred: bool,
    ) -> None:
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
        """What the programs of these episodes run in."""
        backend = self._backend
        return Isolation(
            backend.name, tuple(sorted(backend.guarantees)), dict(backend.versions), warning(backend)
        )

    def close(self) -> None:
        """Ends every sandbox."""
        self._backend.close()
