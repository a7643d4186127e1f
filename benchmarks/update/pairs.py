"""Counts the pairs of tokens whose attention an update computes, beside the fewest that its rows need. Pure
functions of lengths, in tokens.

A kernel that computes causal rows block by block computes a little more at the diagonal; that is not counted.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ROWS, PROMPT, MEDIAN, LONGEST, MICRO_TOKENS = 384, 8106, 4800, 16384, 32768
"""A step of a large run: its rows, the tokens of each prompt, the median and the limit of the sampled tokens,
and ``model.update_tokens``."""


@dataclass(frozen=True)
class Packed:
    """What one way of packing makes of a step."""

    micro_batches: int
    masked: int
    """Number of micro-batches whose attention needs a mask of T x T."""
    largest_mask: int
    """Elements of the largest mask; 0 without any."""
    pairs: float
    """Pairs that attention computes, relative to ``needed``."""


def needed(lengths: Sequence[int]) -> int:
    """Returns the pairs that causal rows of these lengths need: a token attends to itself and to all tokens
    before it in its row."""
    return sum(length * (length + 1) // 2 for length in lengths)


def padded(lengths: Sequence[int], width: int) -> int:
    """Returns the pairs of rows that are padded to ``width``: all, unless no row needs padding and so no
    mask."""
    if all(length == width for length in lengths):
        return needed(lengths)
    return len(lengths) * width**2


def step_lengths(seed: int = 0) -> list[int]:
    """Returns the lengths of the rows of the large step: log-normal completions (sigma 0.7) after prompts."""
    numbers = random.Random(f"step {seed}")
    sampled = [int(MEDIAN * numbers.lognormvariate(0.0, 0.7)) for _ in range(ROWS)]
    return [PROMPT + max(1, min(LONGEST, count)) for count in sampled]


def end_to_end(lengths: Sequence[int], micro_tokens: int) -> Packed:
    """Returns what ``learners.update.packing`` makes of a step; its attention computes each row by itself."""
    from learners.update.packing import first_fit

    return Packed(len(first_fit(lengths, micro_tokens)), 0, 0, 1.0)


def binned(lengths: Sequence[int], micro_tokens: int) -> Packed:
    """Returns what packing under masks makes of a step: bins as long as the longest row, as many in a
    micro-batch as fit, and a mask where a bin has several rows."""
    from learners.update.packing import first_fit

    bins = [[lengths[i] for i in members] for members in first_fit(lengths, max(lengths))]
    batches: list[list[list[int]]] = []
    for members in sorted(bins, key=sum, reverse=True):
        if batches and (len(batches[-1]) + 1) * sum(batches[-1][0]) <= micro_tokens:
            batches[-1].append(members)
        else:
            batches.append([members])
    shapes = [(len(batch), max(map(sum, batch))) for batch in batches]
    masked = [any(len(members) > 1 for members in batch) for batch in batches]
    squares = [count * width**2 for (count, width), mask in zip(shapes, masked, strict=True) if mask]
    plain = [[width] * count for (count, width), mask in zip(shapes, masked, strict=True) if not mask]
    computed = sum(squares) + sum(map(needed, plain))
    return Packed(len(batches), sum(masked), max(squares, default=0), computed / needed(lengths))


def packed(lengths: Sequence[int], micro_tokens: int) -> dict[str, Packed]:
    """Returns both ways of packing a step, by name."""
    ours, peer = end_to_end(lengths, micro_tokens), binned(lengths, micro_tokens)
    return {"end to end": ours, "bins under masks": peer}


def step_line(step: Mapping[str, Packed]) -> str:
    """Returns one line on what packing makes of the large step."""
    parts = [
        f"{name}: {way.pairs:.2f} times the pairs that the rows need, {way.micro_batches} micro-batches, "
        f"{way.masked} with a mask (up to {2 * way.largest_mask / 2**30:.2f} GiB in bfloat16)"
        for name, way in step.items()
    ]
    return f"attention of {ROWS} rows packed " + "; ".join(parts)
