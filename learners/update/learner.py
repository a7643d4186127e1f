"""One policy's training: its weights, their optimiser, and the number of updates so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from learners.base import Algorithm, Weights
from learners.models.base import empty_cache
from learners.models.pieces import token_texts
from learners.types import Completion, Metrics, TokenTerms, TokenTexts, Transition
from learners.update.logprobs import batch_logprobs, score_rows
from learners.update.packing import Floats, Row
from learners.update.shares import Position, Share, completion_counts, divide, row_counts
from learners.update.state_file import open_state
from learners.update.updater import Updater


class LocalLearner:
    """A policy's training in this process: see ``learners.base.Learner``."""

    def __init__(self, weights: Weights, updater: Updater) -> None:
        self.weights = weights
        self.updater = updater
        self._version = 0
        empty_cache()

    def version(self) -> int:
        """Returns how many updates have changed the weights."""
        return self._version

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
        terms: dict[int, TokenTerms] | None = None,
    ) -> Metrics:
        """Trains on the rows that have advantages; without any, the weights do not change and ``rows`` is 0.

        Of several ranks, each one's ``terms`` are those of its own rows.

        Returns:
            The metrics of ``Updater.update``, and of all rows: ``truncated``, the number of truncated
            completions; ``prompts_at_limit``, the number of prompts of the maximum length (almost all of
            which lost their middle); ``staleness``, the number of updates between the weights that sampled
            and those that are trained (the mean over rows, 0 without any).
        """
        position, ranks = self.position(), self.updater.ranks
        shares = divide(transitions, advantages, algorithm, position, ranks.size)
        metrics = row_counts(advantages) | self.train(shares[ranks.index], algorithm, terms)
        return metrics | completion_counts(transitions, position)

    def position(self) -> Position:
        """Returns what the division of the next update depends on."""
        return self.updater.position(self._version)

    def train(
        self, share: Share, algorithm: Algorithm, terms: dict[int, TokenTerms] | None = None
    ) -> Metrics:
        """Trains on this rank's share of an update: see ``Updater.train``."""
        metrics = self.updater.train(share, algorithm, terms)
        empty_cache()
        if share.steps:
            self._version += 1
        return metrics

    def texts(self, completions: Sequence[Completion]) -> list[TokenTexts]:
        """See ``Learner.texts``."""
        return self.spell([completion.token_ids for completion in completions])

    def spell(self, rows: Sequence[Sequence[int]]) -> list[TokenTexts]:
        """``texts`` of the sampled ids of each row."""
        return [token_texts(self.weights.loaded.tokenizer, ids) for ids in rows]

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """Returns the logprobs (natural log) of the sampled tokens under the initial weights, by completion.

        Raises:
            ValueError: this policy has no reference.
        """
        rows = [Row.of(completion, [0.0] * len(completion.token_ids), 0.0) for completion in completions]
        return [tuple(values.tolist()) for values in self.score_reference(rows)]

    def score_reference(self, rows: Sequence[Row]) -> list[Floats]:
        """``reference_logprobs`` of rows, as arrays."""
        with self.weights.reference() as loaded:
            model, config = loaded.model, loaded.config
            logprobs = score_rows(
                lambda batch: batch_logprobs(model, batch, config), rows, config.update_tokens
            )
        empty_cache()
        return logprobs

    def sent(self) -> int:
        """Nothing is sent: rows are trained in this process."""
        return 0

    def save(self, path: Path) -> None:
        """Writes weights, optimiser and counters to the file ``path``.

        All processes that share the update must call this; the first one writes.
        """
        state = {
            "weights": self.weights.state(),
            "updater": self.updater.state(),
            "version": self._version,
        }
        if self.updater.ranks.index == 0:
            _write(state, path)

    def restore(self, path: Path) -> None:
        """Restores everything to exactly what it was when ``path`` was written.

        Raises:
            ConfigError: it was trained from other initial weights than this policy's reference.
        """
        with open_state(path) as state:
            self.weights.restore(state["weights"])
            self.updater.restore(state["updater"])
            self._version = state["version"]


def _write(state: Mapping[str, Any], path: Path) -> None:
    """Writes with ``torch.save``, and raises the ``OSError`` that it hides behind an error of its own."""
    try:
        with path.open("wb") as file:
            torch.save(state, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
