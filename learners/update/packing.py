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
        """Tokens that it occupies in a bin: prompt and completion."""
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
    """Packs rows into micro-batches of at most ``max_tokens`` tokens each, padding included.

    First-fit decreasing into bins as long as the longest row (longer bins would only make attention more
    expensive); bins that are about equally full then share a micro-batch. A row is never split: one longer
    than ``max_tokens`` is a micro-batch of its own. ``Batch.row`` holds indices into ``rows``.

    ``Batch`` has a worked example.

    Raises:
        ValueError: a row has no prompt or no sampled token.
    """
    for row in rows:
        if not row.completion.prompt_ids or not row.completion.token_ids:
            raise ValueError("a training row needs a prompt and at least one sampled token")
    bins = _first_fit(rows, capacity=max(map(len, rows), default=0))
    groups: list[list[list[int]]] = []
    for members in sorted(bins, key=lambda members: -_fill(rows, members)):
        if groups and (len(groups[-1]) + 1) * _fill(rows, groups[-1][0]) <= max_tokens:
            groups[-1].append(members)
        else:
            groups.append([members])
    return [_batch(rows, group) for group in groups]


def padding_share(batches: Sequence[Batch]) -> float:
    """Returns the share of all positions that are padding; 0 without batches."""
    total = sum(batch.segment.numel() for batch in batches)
    used = sum(int((batch.segment > 0).sum()) for batch in batches)
    return 1.0 - used / total if total else 0.0


def _first_fit(rows: Sequence[Row], capacity: int) -> list[list[int]]:
    bins: list[list[int]] = []
    free: list[int] = []  # tokens that still fit into each bin
    for index in sorted(range(len(rows)), key=lambda i: -len(rows[i])):
        size = len(rows[index])
        fit = next((b for b, space in enumerate(free) if space >= size), None)
        if fit is None:
            bins.append([index])
            free.append(capacity - size)
        else:
            bins[fit].append(index)
            free[fit] -= size
    return bins


def _fill(rows: Sequence[Row], members: Sequence[int]) -> int:
    return sum(len(rows[i]) for i in members)


def _batch(rows: Sequence[Row], bins: Sequence[Sequence[int]]) -> Batch:
    longest = max(_fill(rows, members) for members in bins)
    ids, segment, position = (torch.zeros(len(bins), longest, dtype=torch.long) for _ in range(3))
    source: list[int] = []
    order: list[int] = []
    for b, members in enumerate(bins):
        start = 0
        for number, index in enumerate(members, start=1):
            row, end = rows[index], start + len(rows[index])
            ids[b, start:end] = torch.tensor(row.completion.prompt_ids + row.completion.token_ids)
            segment[b, start:end] = number
            position[b, start:end] = torch.arange(end - start)
            # The hidden state at a position predicts the NEXT token: the first completion token is
            # predicted from the last one of the prompt.
            first = b * longest + start + len(row.completion.prompt_ids) - 1
            source += range(first, first + len(row.completion.token_ids))
            order.append(index)
            start = end
    packed = [rows[index] for index in order]
    return Batch(
        ids=ids,
        segment=segment,
        position=position,
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
