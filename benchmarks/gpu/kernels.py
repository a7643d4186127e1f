"""Attention of rows that lie end to end, forward and backward: the kernel that a run uses on this device, one
call for each row, and one call under a mask of T x T; with the heads of Qwen3-4B."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch

from benchmarks.gpu.cases import attempt
from benchmarks.gpu.device import now
from benchmarks.gpu.records import Case, Figures, Settings
from benchmarks.update.masked import masked
from benchmarks.update.pairs import needed
from benchmarks.update.watch import peak_bytes, reset_peak
from learners.models.attention import Borders, Kernel, choose, row_by_row
from learners.models.base import resolve_device

TOKENS, TOY_TOKENS = 32768, 192
"""Of a micro-batch: ``model.update_tokens`` of the experiments with Qwen3-4B."""
HEADS, KEYS, WIDTH = 32, 8, 128
ROUNDS = 3
GIB = 2.0**30


def cases(settings: Settings) -> Iterator[Case]:
    """Yields every kernel on even and uneven rows."""
    tokens, device = TOY_TOKENS if settings.toy else TOKENS, torch.device(resolve_device("auto"))
    chosen = choose(device, torch.bfloat16, WIDTH)
    kernels = {kernel.__name__: kernel for kernel in (chosen, row_by_row, masked)}  # type: ignore[attr-defined]
    for kind, lengths in (("16 even rows", [tokens // 16] * 16), ("uneven rows", uneven(tokens))):
        reference: list[torch.Tensor] = []
        for name, kernel in kernels.items():
            yield attempt(f"{kind}: {name}", partial(_measure, kernel, lengths, device, reference))


def uneven(tokens: int) -> list[int]:
    """Returns lengths of rows, each half of the one before: the spread of a step's rows, and the mask's worst
    case."""
    lengths = []
    while tokens > 16:
        lengths.append(tokens // 2)
        tokens -= tokens // 2
    return [*lengths, tokens]


def _measure(
    kernel: Kernel, lengths: Sequence[int], device: torch.device, reference: list[torch.Tensor]
) -> Figures:
    """``reference``: the output of the first kernel that was measured, to compare with."""
    total, borders = sum(lengths), Borders.of(lengths, device)
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(total, heads, WIDTH, device=device, dtype=torch.bfloat16, requires_grad=True)
        for heads in (HEADS, KEYS, KEYS)
    )
    reset_peak(device)
    seconds = []
    for _ in range(ROUNDS + 1):
        start = now(device)
        attended = kernel(query, key, value, borders, WIDTH**-0.5)
        attended.float().square().mean().backward()  # type: ignore[no-untyped-call]
        seconds.append(now(device) - start)
        query.grad = key.grad = value.grad = None
    if not reference:
        reference.append(attended.detach())
    gap = (attended.detach().float() - reference[0].float()).abs().max()
    pairs = needed(lengths)
    return {
        "ms": 1e3 * min(seconds[1:]),
        "FLOP/s": 12.0 * HEADS * WIDTH * pairs / min(seconds[1:]),
        "peak GiB": peak_bytes(device) / GIB,
        "pairs": float(pairs),
        "rows": float(len(lengths)),
        "largest difference from the first": float(gap),
    }
