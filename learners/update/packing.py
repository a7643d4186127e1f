"""Training rows -> packed batches. Pure: no model, no device, no randomness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from learners.types import Batch, Completion, Transition

Ids = np.ndarray[Any, np.dtype[np.int32]]
Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, eq=False)
class Row:
    """One sampled action of P prompt tokens and L sampled ones, as it is trained on: arrays alone."""

    prompt_ids: Ids
    """[P]."""
    token_ids: Ids
    """[L]."""
    logprobs: Floats
    """[L], at sampling time."""
    advantages: Floats
    """[L]; empty where the row is only scored."""
    token_weight: float
    """Share of the loss of each of its tokens, normalised over the whole optimiser step."""
    ref_logprobs: Floats | None = None
    """[L]."""
    prox_logprobs: Floats | None = None
    """[L]."""

    @classmethod
    def of(
        cls,
        completion: Completion,
        advantages: Sequence[float],
        token_weight: float,
        ref_logprobs: Sequence[float] | None = None,
        prox_logprobs: Sequence[float] | None = None,
    ) -> Row:
        """Returns the row of a completion, with one number per sampled token in every sequence."""
        return cls(
            np.array(completion.prompt_ids, np.int32),
            np.array(completion.token_ids, np.int32),
            np.array(completion.logprobs, np.float32),
            np.array(advantages, np.float32),
            token_weight,
            None if ref_logprobs is None else np.array(ref_logprobs, np.float32),
            None if prox_logprobs is None else np.array(prox_logprobs, np.float32),
        )

    def __len__(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.prompt_ids) + len(self.token_ids)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))


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
        rows.append(Row.of(transition.completion, values, weight, transition.ref_logprobs, prox))
    return rows


def split_indices(rows: Sequence[Row], world_size: int) -> list[list[int]]:
    """Splits the rows of an optimiser step among workers, about equally by tokens; a worker may get none.

    Advantages and weights were computed on the whole step, so the losses and gradients of the workers *sum*
    to those of a single one: reduce by sum, not mean.

    Returns:
        The indices of the rows of each worker.
    """
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
        if not len(row.prompt_ids) or not len(row.token_ids):
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
    sizes = torch.tensor([len(row.token_ids) for row in packed])
    source, start = [], 0
    for row in packed:
        # The hidden state at a position predicts the NEXT token: the first completion token is predicted from
        # the last one of the prompt.
        first = start + len(row.prompt_ids) - 1
        source.append(torch.arange(first, first + len(row.token_ids)))
        start += len(row)
    return Batch(
        ids=_ids([part for row in packed for part in (row.prompt_ids, row.token_ids)]),
        position=torch.cat([torch.arange(len(row)) for row in packed]),
        lengths=tuple(map(len, packed)),
        source=torch.cat(source),
        target=_ids([row.token_ids for row in packed]),
        row=torch.tensor(order).repeat_interleave(sizes),
        sampling_logprobs=_floats([row.logprobs for row in packed]),
        prox_logprobs=_all_or_none([row.prox_logprobs for row in packed]),
        ref_logprobs=_all_or_none([row.ref_logprobs for row in packed]),
        advantages=_floats([row.advantages for row in packed]),
        token_weights=torch.tensor([row.token_weight for row in packed]).repeat_interleave(sizes),
    )


def _all_or_none(rows: Sequence[Floats | None]) -> torch.Tensor | None:
    """The values of all rows in one tensor, or None if a row has none."""
    values = [row for row in rows if row is not None]
    return _floats(values) if len(values) == len(rows) else None


def _ids(values: Sequence[Ids]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(values)).long()


def _floats(values: Sequence[Floats]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(values))
