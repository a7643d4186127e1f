"""Plays episodes: the only loop that steps an environment."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from coaches.recording.times import Times, TurnTimes
from coaches.reward import CoachReward
from envs.pipeline import PipelineEnv
from envs.types import Episode, Message
from learners.policy import Policy
from learners.seeds import derive_seed
from learners.types import Assignment, Completion, Rollout


def play(env: PipelineEnv | CoachReward, team: Mapping[str, Policy], assignment: Assignment) -> Rollout:
    """Plays one episode to its end and closes the environment.

    Raises:
        SandboxError: the sandbox was lost; there is no outcome to count.
    """
    completions: list[Completion] = []
    clock = _Clock()
    try:
        env.reset(seed=assignment.seed % 2**32, options={"task": assignment.task})
        while env.agents:
            agent = env.agent_selection
            observation, _, terminated, truncated, _ = env.last()
            if terminated or truncated:
                env.step(None)
                continue
            messages, began = _messages(observation["messages"]), clock.now()
            completion = team[agent].act(
                messages,
                seed=derive_seed(assignment.seed, len(completions)),
                order=assignment.order,
                temperature=assignment.temperature,
            )
            completions.append(completion)
            acted = clock.now()
            env.step(completion.text)
            clock.turns.append(TurnTimes(began, acted, clock.now()))
        return _rollout(env, assignment, completions, Times(clock.started, tuple(clock.turns)))
    finally:
        env.close()


class _Clock:
    """Times the turns of an episode by a clock that never goes back."""

    def __init__(self) -> None:
        self.started = time.time()
        self._zero = time.perf_counter()
        self.turns: list[TurnTimes] = []

    def now(self) -> float:
        """Seconds since the episode's start."""
        return time.perf_counter() - self._zero


def _messages(chat: Sequence[Mapping[str, str]]) -> tuple[Message, ...]:
    return tuple(Message(message["role"], message["content"]) for message in chat)  # type: ignore[arg-type]


def _rollout(
    env: PipelineEnv | CoachReward, assignment: Assignment, completions: list[Completion], times: Times
) -> Rollout:
    core = env.unwrapped
    coached = isinstance(env, CoachReward)
    verdicts = env.verdicts if coached else (None,) * len(completions)
    episode = Episode(
        id=assignment.id,
        task_id=assignment.task.id,
        kind=assignment.task.kind,
        seed=assignment.seed,
        turns=core.turns,
        outcome=core.outcome,
    )
    errors = dict(env.coach_errors) if coached else {}
    return Rollout(episode, tuple(completions), tuple(verdicts), errors, times)
