"""The input of every variant: the model's shape, the rows and the settings. This module does not import
torch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

VARIANTS = ("ours", "trl", "plain")


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder with random weights; the cost of an update does not depend on their values."""

    kind: str
    """``llama`` or ``qwen3``."""
    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int


SHAPES = {
    "smollm2-135m": Shape("llama", 49152, 576, 1536, 30, 9, 3, 64),
    "qwen3-1.7b": Shape("qwen3", 151936, 2048, 6144, 28, 16, 8, 128),
    "tiny": Shape("llama", 256, 32, 64, 2, 4, 2, 8),
}


@dataclass(frozen=True)
class Row:
    """One sampled action: random token ids and one advantage for all its tokens."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    advantage: float

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True)
class Job:
    """One variant in one process."""

    variant: str
    shape: str
    rows: str
    """``even``: each row has ``prompt`` and ``completion`` tokens; ``uneven``: at most as many
    (``lengths``)."""
    count: int
    prompt: int
    completion: int
    precision: str
    """``bfloat16``: float32 weights under autocast; ``float32``: no autocast."""
    checkpointing: bool
    steps: int
    """Optimiser steps; the first one warms up and is not timed."""
    micro_tokens: int
    """Tokens of a micro-batch; used by ours, while the peers take all rows at once."""
    threads: int
    device: str
    allocator: str = "own"
    """Of the peers, on CPUs. ``own``: unchanged; ``ours``: after ``learners.update.allocator.prepare``."""
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.variant}, {self.rows} rows"


def lengths(job: Job) -> list[tuple[int, int]]:
    """Returns (prompt, completion) tokens of each row.

    Uneven prompts are uniform between half of ``prompt`` and ``prompt``; uneven completions are log-normal
    (sigma 0.7, median 0.35 of the limit ``completion``) and cut at the limit, which one row reaches.
    """
    if job.rows == "even":
        return [(job.prompt, job.completion)] * job.count
    numbers = random.Random(f"lengths {job.seed}")
    sizes = []
    for _ in range(job.count):
        sampled = int(job.completion * 0.35 * numbers.lognormvariate(0.0, 0.7))
        sizes.append((numbers.randint(job.prompt // 2, job.prompt), max(1, min(job.completion, sampled))))
    return [(sizes[0][0], job.completion), *sizes[1:]]


def rows(job: Job) -> list[Row]:
    """Returns the rows of a job; the same for every variant."""
    numbers = random.Random(f"rows {job.seed}")
    vocab = SHAPES[job.shape].vocab

    def ids(count: int) -> tuple[int, ...]:
        return tuple(numbers.randrange(3, vocab) for _ in range(count))

    return [Row(ids(prompt), ids(completion), numbers.gauss(0.0, 1.0)) for prompt, completion in lengths(job)]


def tokens(given: Sequence[Row]) -> int:
    """Returns the number of tokens in prompts and completions, without padding."""
    return sum(map(len, given))


def flops(shape: Shape, given: Sequence[Row], *, recomputed: bool = False) -> float:
    """Returns the FLOPs of the matrix products that one update needs: 6 for each matrix weight and token, and
    attention.

    The head counts for sampled tokens only. Attention counts what a causal mask leaves:
    6 x layers x heads x head_dim x T^2 for a row of T tokens. ``recomputed``: with gradient checkpointing,
    the layers' forward pass counts twice, but for a layer's last product, whose result no gradient needs.
    """
    width = shape.heads * shape.head_dim
    layer = shape.hidden * (2 * width + 2 * shape.kv_heads * shape.head_dim + 3 * shape.intermediate)
    trained = sum(len(row.completion) for row in given)
    attention = 6.0 * shape.layers * width * sum(len(row) ** 2 for row in given)
    total = 6.0 * (shape.layers * layer * tokens(given) + shape.vocab * shape.hidden * trained) + attention
    if recomputed:
        again = layer - shape.hidden * shape.intermediate
        total += 2.0 * shape.layers * again * tokens(given) + attention / 3
    return total
