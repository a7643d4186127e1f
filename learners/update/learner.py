"""One policy's training: its weights, their optimiser, and how often they have changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from learners.base import Algorithm, Metrics
from learners.models.base import release
from learners.types import Completion, Transition
from learners.update.logprobs import completion_logprobs
from learners.update.updater import Updater
from learners.weights.base import Weights


class LocalLearner:
    """A policy's training in this process: see ``learners.base.Learner``."""

    def __init__(self, weights: Weights, updater: Updater) -> None:
        self.weights = weights
        self.updater = updater
        self._version = 0
        release()

    def version(self) -> int:
        """How many updates have changed the weights."""
        return self._version

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        """Trains on the rows that have advantages; without any, the weights stay and ``rows`` is 0.

        Returns:
            The updater's metrics, with ``rows`` trained on, ``truncated`` completions, ``prompts_at_limit``
            (as long as the longest allowed: as good as always, their middle was cut) and ``staleness`` (how
            many updates the weights were ahead of those that sampled; a mean over rows, 0 without any).
        """
        completions = [transition.completion for transition in transitions]
        behind = [self._version - completion.weight_version for completion in completions]
        metrics = self.updater.update(transitions, advantages, algorithm)
        release()
        if metrics["rows"]:
            self._version += 1
        limit = self.weights.loaded.config.max_prompt_tokens
        metrics["staleness"] = sum(behind) / len(behind) if behind else 0.0
        metrics["truncated"] = float(sum(c.finish_reason == "length" for c in completions))
        metrics["prompts_at_limit"] = float(sum(len(c.prompt_ids) >= limit for c in completions))
        return metrics

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """Logprobs of the sampled tokens under the initial weights, natural log; one tuple a completion.

        Raises:
            ValueError: this policy keeps no reference.
        """
        with self.weights.reference() as loaded:
            found = completion_logprobs(loaded.model, completions, loaded.config)
        release()
        return found

    def save(self, path: Path) -> None:
        """Writes weights, optimiser and counters to the file ``path``.

        On several processes all must call this; the first one writes.
        """
        state = {
            "weights": self.weights.state(),
            "updater": self.updater.state(),
            "version": self._version,
        }
        if self.updater.ranks.index == 0:
            torch.save(state, path)

    def restore(self, path: Path) -> None:
        """Makes everything as it was when ``path`` was written, exactly.

        Raises:
            ConfigError: it was trained against other initial weights than this policy's reference.
        """
        state = torch.load(path, weights_only=True)
        self.weights.restore(state["weights"])
        self.updater.restore(state["updater"])
        self._version = state["version"]
