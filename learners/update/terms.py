"""What a loss makes of single tokens, kept where the loss is computed and only if somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from learners.algorithms.losses import Terms
from learners.types import Batch, TokenTerms
from learners.update.logprobs import rows_of


class TermsReader:
    """The terms of an optimiser step's tokens, which stay on the device until they are read.

    Args:
        algorithm: has the method ``terms`` (``learners.algorithms.base.PolicyGradient``).
        batches: the micro-batches of the step's rows.
    """

    def __init__(self, algorithm: Any, batches: Sequence[Batch]) -> None:
        self._algorithm = algorithm
        self._batches = batches
        self._logprobs: list[torch.Tensor] = []
        self._terms: list[Terms] = []

    def add(self, logprobs: torch.Tensor, batch: Batch) -> None:
        """Keeps the terms of the next micro-batch of N tokens, or of an idle one after all others.

        ``logprobs`` [N]: the new ones, without gradient, on the device of ``batch``.
        """
        self._logprobs.append(logprobs)
        self._terms.append(self._algorithm.terms(logprobs, batch))

    def read(self) -> dict[int, TokenTerms]:
        """Returns the terms by the number of the row in the step."""
        if not self._batches:
            return {}
        logprobs = rows_of(self._batches, self._logprobs)
        ratio = rows_of(self._batches, [terms.ratio for terms in self._terms])
        importance = rows_of(self._batches, [terms.importance for terms in self._terms])
        marks = {
            name: rows_of(self._batches, [terms.marks[name] for terms in self._terms])
            for name in self._terms[0].marks
        }
        return {
            row: TokenTerms(
                tuple(values.tolist()),
                tuple(ratio[row].tolist()),
                tuple(importance[row].tolist()),
                {name: tuple(np.flatnonzero(marked[row]).tolist()) for name, marked in marks.items()},
            )
            for row, values in logprobs.items()
        }
