"""Plays episodes: the only loop that steps an environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coaches.base import Verdict
from coaches.reward import CoachReward
from envs.pipeline import PipelineEnv
from envs.types import Episode, Message, Task
from learners.base import Actor
from learners.rollout.seeds import derive_seed
from learners.types import Completion, Transition


@dataclass(frozen=True)
class Assignment:
    """One episode to play."""

    id: str
    task: Task
    seed: int
    order: int
    """Its number among the episodes played together: its place in every batch."""
    temperature: float


@dataclass(frozen=True)
class Rollout:
    """One played episode: what happened, what was sampled, what the coach said; aligned by turn."""

    episode: Episode
    completions: tuple[Completion, ...]
    verdicts: tuple[Verdict | None, ...]
    """None where the coach had no verdict, and throughout when nobody coached."""
    coach_errors: Mapping[str, int] = field(default_factory=dict)
    """How many turns the coach had no verdict on, by cause."""

    def transitions(self) -> list[Transition]:
        """The training rows, in the order of play."""
        return [
            Transition(
                episode=self.episode.id,
                turn=turn,
                completion=completion,
                verdict=verdict,
                reward=None if verdict is None else verdict.score,
            )
            for turn, completion, verdict in zip(
                self.episode.turns, self.completions, self.verdicts, strict=True
            )
        ]


def play(env: PipelineEnv | CoachReward, team: Mapping[str, Actor], assignment: Assignment) -> Rollout:
    """Plays one episode to its end and closes the environment.

    Raises:
        SandboxError: the sandbox was lost; there is no outcome to count.
    """
    completions: list[Completion] = []
    try:
        env.reset(seed=assignment.seed % 2**32, options={"task": assignment.task})
        while env.agents:
            agent = env.agent_selection
            observation, _, terminated, truncated, _ = env.last()
            if terminated or truncated:
                env.step(None)
                continue
            completion = team[agent].act(
                _messages(observation["messages"]),
                seed=derive_seed(assignment.seed, len(completions)),
                order=assignment.order,
                temperature=assignment.temperature,
            )
            completions.append(completion)
            env.step(completion.text)
        return _rollout(env, assignment, completions)
    finally:
        env.close()


def _messages(chat: Sequence[Mapping[str, str]]) -> tuple[Message, ...]:
    return tuple(Message(message["role"], message["content"]) for message in chat)  # type: ignore[arg-type]


def _rollout(
    env: PipelineEnv | CoachReward, assignment: Assignment, completions: list[Completion]
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
    return Rollout(episode, tuple(completions), tuple(verdicts), dict(env.coach_errors) if coached else {})
