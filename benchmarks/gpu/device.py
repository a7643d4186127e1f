"""The device: its name, its libraries, and the rate of matrix products that it reaches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.gpu.cases import attempt
from benchmarks.gpu.records import Case, Figures, Settings
from benchmarks.update.child import describe
from benchmarks.update.report import peak_flops
from learners.models.base import resolve_device

SIZE, TOY_SIZE = 8192, 256
ROUNDS = 5


def cases(settings: Settings) -> Iterator[Case]:
    """Yields the facts, and the rates in bfloat16 and float32."""
    yield attempt("device", facts)
    size = TOY_SIZE if settings.toy else SIZE
    for dtype in (torch.bfloat16, torch.float32):
        yield attempt(str(dtype).removeprefix("torch."), partial(_product, size, dtype))


def facts() -> Figures:
    """Returns name, memory and versions. torch's defaults stay: float32 products are exact, not TF32."""
    here = describe()
    shown: dict[str, float | str | None] = {"device": here.device, **here.versions}
    if here.device != "cuda":
        return shown
    properties = torch.cuda.get_device_properties(0)
    return shown | {
        "name": here.name,
        "memory GiB": properties.total_memory / 2**30,
        "capability": f"{properties.major}.{properties.minor}",
        "CUDA": torch.version.cuda,
        "stated bfloat16 FLOP/s": peak_flops(here.name),
    }


def _product(size: int, dtype: torch.dtype) -> Figures:
    return {"FLOP/s": matmul_rate(torch.device(resolve_device("auto")), dtype, size)}


def matmul_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """Returns the FLOP/s of the fastest of some products of two square matrices with ``size`` rows."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(ROUNDS + 1):
        start = now(device)
        torch.mm(a, b)
        best = min(best, now(device) - start)
    return 2.0 * size**3 / best


def now(device: torch.device) -> float:
    """Returns seconds of a clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
