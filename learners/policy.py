"""Weights, how they act and how they learn: one agent's, or all agents' together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envs.types import Message
from learners.base import Algorithm, Generator, Metrics
from learners.logprobs import completion_logprobs
from learners.types import Completion, Transition
from learners.updater import Updater
from learners.weights.base import Weights


class LocalPolicy:
    """A policy in this process. ``generator`` serves others too."""

    def __init__(self, *, weights: Weights, generator: Generator, updater: Updater) -> None:
        self.name = weights.name
        self.weights = weights
        self.generator = generator
        self.updater = updater
        self.version = 0
        self._published = 0

    def act(
        self, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        """See ``Generator.generate``."""
        return self.generator.generate(self.name, messages, seed=seed, order=order, temperature=temperature)

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        """Trains on the rows that have advantages; without any, the weights stay and ``rows`` is 0.

        Returns:
            The updater's metrics, with ``rows`` trained on, ``truncated`` completions and
            ``prompts_at_limit`` (as long as the longest allowed: as good as always, their middle was cut).
        """
        metrics = self.updater.update(transitions, advantages, algorithm)
        if metrics["rows"]:
            self.version += 1
        completions = [transition.completion for transition in transitions]
        limit = self.weights.loaded.config.max_prompt_tokens
        metrics["truncated"] = float(sum(c.finish_reason == "length" for c in completions))
        metrics["prompts_at_limit"] = float(sum(len(c.prompt_ids) >= limit for c in completions))
        return metrics

    def publish(self) -> None:
        """Gives the generator the weights, if they are newer than those it has."""
        if self.version != self._published:
            self.generator.sync(self.name, self.version)
            self._published = self.version

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """Logprobs of the sampled tokens under the initial weights, natural log; one tuple a completion.

        Raises:
            ValueError: this policy keeps no reference.
        """
        with self.weights.reference() as loaded:
            return completion_logprobs(loaded.model, completions, loaded.config)

    def state(self) -> Mapping[str, Any]:
        """Weights, optimiser, counters; live tensors, so write them out before the next update."""
        return {
            "weights": self.weights.state(),
            "updater": self.updater.state(),
            "version": self.version,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Makes everything as it was when ``state`` was taken, exactly, in the generator too.

        Raises:
            ConfigError: ``state`` was trained against other initial weights than this policy's reference.
        """
        self.weights.restore(state["weights"])
        self.updater.restore(state["updater"])
        self._published = self.version = state["version"]
        self.generator.sync(self.name, self.version)
