"""Which rows each rank trains, in which optimiser step: decided before anything is sent to a rank.

The processes that share an update get the arrays of their own rows, and nothing of the turns: no observation,
no text, no file.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from learners.algorithms import contract
from learners.base import Algorithm
from learners.types import Metrics, Optimizer, Transition
from learners.update.packing import Floats, Row, split_indices, to_rows


@dataclass(frozen=True)
class Position:
    """How far a policy's training is: what the division of its next update depends on."""

    optimizer: Optimizer
    seed: int
    """Of the split into minibatches."""
    steps_done: int
    """Optimiser steps."""
    version: int
    """Updates that changed the weights."""
    max_prompt_tokens: int


@dataclass(frozen=True)
class Share:
    """What one rank computes in an update.

    All shares of an update have the same number of steps; in any of them a share may have no row.
    """

    rows: tuple[Row, ...]
    """Each once, in the order of the update; their ``token_weight`` is that of no step yet."""
    numbers: tuple[int, ...]
    """Of these rows in the whole update."""
    steps: tuple[tuple[tuple[int, float], ...], ...]
    """For every optimiser step, the rows trained in it: the place in ``rows``, and the weight per token."""
    scored: tuple[int, ...]
    """Places of the rows whose proximal log-probabilities this rank computes, if the update needs them: those
    of its first epoch. Every row is in one rank's."""

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays and of the numbers."""
        steps = sum(len(step) for step in self.steps)
        return sum(row.nbytes for row in self.rows) + 8 * (len(self.numbers) + len(self.scored) + 2 * steps)

    def step(self, number: int, proximal: Sequence[Floats | None]) -> list[Row]:
        """Returns the rows of an optimiser step; ``proximal``: the ``prox_logprobs`` of all ``rows``."""
        return [
            replace(self.rows[place], token_weight=weight, prox_logprobs=proximal[place])
            for place, weight in self.steps[number]
        ]


def divide(
    transitions: Sequence[Transition],
    advantages: Sequence[Sequence[float] | None],
    algorithm: Algorithm,
    position: Position,
    ranks: int,
) -> list[Share]:
    """Divides the transitions that have advantages into optimiser steps, and each step among ``ranks``.

    Splits into minibatches are random, and new in every epoch. Each step is divided about equally by tokens.
    """
    kept = [(t, a) for t, a in zip(transitions, advantages, strict=True) if a is not None]
    given = [transition for transition, _ in kept]
    rows = to_rows(given, [values for _, values in kept], [0.0] * len(kept))
    steps: list[list[list[tuple[int, float]]]] = [[] for _ in range(ranks)]
    first_epoch, done = 0, position.steps_done
    for epoch in range(position.optimizer.epochs):
        order = f"{position.seed} {done}"
        for part in _minibatches(len(rows), position.optimizer.minibatches, order):
            weights = contract.token_weights(algorithm, [given[i] for i in part])
            for own, places in zip(steps, split_indices([rows[i] for i in part], ranks), strict=True):
                own.append([(part[place], weights[place]) for place in places])
            done += 1
            first_epoch += epoch == 0
    return [_share(rows, own, first_epoch) for own in steps]


def _share(rows: Sequence[Row], steps: Sequence[Sequence[tuple[int, float]]], first_epoch: int) -> Share:
    """``steps``: of one rank, with the numbers of rows; ``first_epoch``: how many the first epoch has."""
    numbers = sorted({number for step in steps for number, _ in step})
    places = {number: place for place, number in enumerate(numbers)}
    return Share(
        rows=tuple(rows[number] for number in numbers),
        numbers=tuple(numbers),
        steps=tuple(tuple((places[number], weight) for number, weight in step) for step in steps),
        scored=tuple(sorted(places[number] for step in steps[:first_epoch] for number, _ in step)),
    )


def _minibatches(count: int, parts: int, order: str) -> list[list[int]]:
    """Splits ``range(count)`` into at most ``parts``; at random, seeded by ``order``, if more than one."""
    indices, parts = list(range(count)), min(parts, count)
    if parts > 1:
        random.Random(order).shuffle(indices)
    return [indices[i::parts] for i in range(parts)]


def row_counts(advantages: Sequence[Sequence[float] | None]) -> Metrics:
    """Returns the counts of ``Updater.update``."""
    kept = [values for values in advantages if values is not None]
    return {
        "rows": float(len(kept)),
        "rows_skipped": float(len(advantages) - len(kept)),
        "rows_no_signal": float(sum(not any(values) for values in kept)),
        "tokens": float(sum(len(values) for values in kept)),
    }


def completion_counts(transitions: Sequence[Transition], position: Position) -> Metrics:
    """Returns ``staleness``, ``truncated`` and ``prompts_at_limit`` of ``LocalLearner.update``."""
    completions = [transition.completion for transition in transitions]
    lags = [position.version - completion.weight_version for completion in completions]
    limit = position.max_prompt_tokens
    return {
        "staleness": sum(lags) / len(lags) if lags else 0.0,
        "truncated": float(sum(c.finish_reason == "length" for c in completions)),
        "prompts_at_limit": float(sum(len(c.prompt_ids) >= limit for c in completions)),
    }
