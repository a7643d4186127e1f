"""Training rows -> packed batches. Pure: no model, no device, no randomness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from learners.types import Batch, Completion, Transition


@dataclass(frozen=True)
class Row:
    """One sampled action as it is trained on. ``advantages`` has one number per token of the completion."""

    completion: Completion
    advantages: Sequence[float]
    token_weight: float
    """Share of the loss of each of its tokens, normalised over the whole optimiser step."""
    ref_logprobs: Sequence[float] | None = None
    prox_logprobs: Sequence[float] | None = None

    def __len__(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.completion.prompt_ids) + len(self.completion.token_ids)


def to_rows(
    transitions: Sequence[Transition],
    advantages: Sequence[Sequence[float]],
    token_weights: Sequence[float],
    proximal: Sequence[Sequence[float] | None] | None = None,
) -> list[Row]:
    """Returns one row per transition, in order; ``proximal``: the ``prox_logprobs`` of each, if any.

    Raises:
        ValueError: the arguments differ in length, or a row does not have one advantage per token.
    """
    rows = []
    prox_logprobs = [None] * len(transitions) if proximal is None else proximal
    for transition, values, weight, prox in zip(
        transitions, advantages, token_weights, prox_logprobs, strict=True
    ):
        if len(values) != len(transition.completion.token_ids):
            raise ValueError(f"{len(values)} advantages for {len(transition.completion.token_ids)} tokens")
        rows.append(Row(transition.completion, values, weight, transition.ref_logprobs, prox))
    return rows


def split_rows(rows: Sequence[Row], world_size: int) -> list[list[Row]]:
    """Splits an optimiser step among workers, about equally by tokens; a worker may get no row.

    Advantages and weights were computed on the whole step, so the losses and gradients of the workers *sum*
    to those of a single one: reduce by sum, not mean.
    """
    return [[rows[i] for i in part] for part in split_indices(rows, world_size)]


def split_indices(rows: Sequence[Row], world_size: int) -> list[list[int]]:
    """Returns the indices of the rows that ``split_rows`` gives each worker."""
    parts: list[list[int]] = [[] for _ in range(world_size)]
    loads = [0] * world_size
    for index in sorted(range(len(rows)), key=lambda i: len(rows[i]), reverse=True):
        lightest = loads.index(min(loads))
        parts[lightest].append(index)
        loads[lightest] += len(rows[index])
    return parts


def pack(rows: Sequence[Row], max_tokens: int) -> list[Batch]:
    """Packs rows end to end into micro-batches of at most ``max_tokens`` tokens each: first-fit decreasing.

    A row is never split: one longer than ``max_tokens`` is a micro-batch of its own. ``Batch.row`` holds
    indices into ``rows``.

    ``Batch`` has a worked example.

    Raises:
        ValueError: a row has no prompt or no sampled token.
    """
    for row in rows:
        if not row.completion.prompt_ids or not row.completion.token_ids:
            raise ValueError("a training row needs a prompt and at least one sampled token")
    return [_batch(rows, members) for members in first_fit([len(row) for row in rows], max_tokens)]


def first_fit(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Returns the indices of what shares each bin, the largest first; what exceeds ``capacity`` is alone."""
    bins: list[list[int]] = []
    free: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        fit = next((b for b, space in enumerate(free) if space >= sizes[index]), None)
        if fit is None:
            bins.append([index])
            free.append(capacity - sizes[index])
        else:
            bins[fit].append(index)
            free[fit] -= sizes[index]
    return bins


def _batch(rows: Sequence[Row], order: Sequence[int]) -> Batch:
    packed = [rows[index] for index in order]
    ids: list[int] = []
    source: list[int] = []
    for row in packed:
        # The hidden state at a position predicts the NEXT token: the first completion token is predicted from
        # the last one of the prompt.
        first = len(ids) + len(row.completion.prompt_ids) - 1
        source += range(first, first + len(row.completion.token_ids))
        ids += row.completion.prompt_ids + row.completion.token_ids
    return Batch(
        ids=torch.tensor(ids),
        position=torch.cat([torch.arange(len(row)) for row in packed]),
        lengths=tuple(map(len, packed)),
        source=torch.tensor(source),
        target=torch.tensor([token for row in packed for token in row.completion.token_ids]),
        row=torch.tensor([index for index in order for _ in rows[index].completion.token_ids]),
        sampling_logprobs=_floats([value for row in packed for value in row.completion.logprobs]),
        prox_logprobs=_all_or_none([row.prox_logprobs for row in packed]),
        ref_logprobs=_all_or_none([row.ref_logprobs for row in packed]),
        advantages=_floats([value for row in packed for value in row.advantages]),
        token_weights=_floats([row.token_weight for row in packed for _ in row.completion.token_ids]),
    )


def _all_or_none(rows: Sequence[Sequence[float] | None]) -> torch.Tensor | None:
    """The values of all rows in one tensor, or None if a row has none."""
    values: list[float] = []
    for row in rows:
        if row is None:
            return None
        values += row
    return _floats(values)


def _floats(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)
