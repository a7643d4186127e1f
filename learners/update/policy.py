"""How a policy acts and learns: one agent's, or all agents' together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from envs.types import Message
from learners.base import Algorithm, Generator, Learner, Metrics, TrainingError
from learners.types import Completion, Transition


class ActingPolicy:
    """Acts, and does not learn. ``generator`` serves others too."""

    def __init__(self, name: str, generator: Generator) -> None:
        self.name = name
        self.generator = generator

    def act(
        self, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        """See ``Generator.generate``."""
        return self.generator.generate(self.name, messages, seed=seed, order=order, temperature=temperature)


class ServedPolicy(ActingPolicy):
    """A model that others serve: all but ``act`` raises ``TrainingError``."""

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        raise self._refusal()

    def publish(self) -> None:
        raise self._refusal()

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        raise self._refusal()

    def save(self, path: Path) -> None:
        raise self._refusal()

    def restore(self, path: Path) -> None:
        raise self._refusal()

    def _refusal(self) -> TrainingError:
        return TrainingError(f"the policy {self.name} is served by others: it has no weights here")


class LearningPolicy(ActingPolicy):
    """A policy that learns; ``learner`` and ``generator`` may live in other processes than this one."""

    def __init__(self, name: str, learner: Learner, generator: Generator) -> None:
        super().__init__(name, generator)
        self.learner = learner
        self._published = 0

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        """See ``Learner.update``."""
        return self.learner.update(transitions, advantages, algorithm)

    def publish(self) -> None:
        """Gives the generator the weights, if they are newer than those it has."""
        version = self.learner.version()
        if version != self._published:
            self.generator.sync(self.name, version)
            self._published = version

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """See ``Learner.reference_logprobs``."""
        return self.learner.reference_logprobs(completions)

    def save(self, path: Path) -> None:
        """Writes all that a resumed run needs to the file ``path``."""
        self.learner.save(path)

    def restore(self, path: Path) -> None:
        """As ``Learner.restore``; the generator then samples from those weights."""
        self.learner.restore(path)
        self._published = self.learner.version()
        self.generator.sync(self.name, self._published)
