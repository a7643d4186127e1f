"""The rate at which this machine multiplies matrices: no update can be faster than its products at that
rate."""

from __future__ import annotations

import time

import torch

SIZES = {"cpu": 2048, "cuda": 8192}
"""Device -> rows of the square matrices: so large that a larger product is no faster."""
LEAST_S, LEAST_PRODUCTS = 1.0, 5


def product_rate(device: torch.device, precision: str, size: int | None = None) -> float:
    """Returns FLOP/s of the fastest of some products, on as many threads as torch computes with.

    ``precision``: ``float32`` or ``bfloat16``, which the factors have. ``size``: rows of the square matrices;
    None: those of ``SIZES``.
    """
    size = size or SIZES[device.type]
    a, b = torch.randn(2, size, size, device=device, dtype=getattr(torch, precision)).unbind()
    out = torch.empty_like(a)
    _seconds(a, b, out)  # the first one sets libraries up
    taken: list[float] = []
    while len(taken) < LEAST_PRODUCTS or sum(taken) < LEAST_S:
        taken.append(_seconds(a, b, out))
    return 2.0 * size**3 / min(taken)


def _seconds(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> float:
    start = time.perf_counter()
    torch.mm(a, b, out=out)
    if a.device.type == "cuda":
        torch.cuda.synchronize(a.device)
    return time.perf_counter() - start
