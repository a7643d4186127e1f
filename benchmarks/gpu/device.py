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
from benchmarks.update.roofline import product_rate
from learners.models.base import resolve_device

TOY_SIZE = 256
"""Rows of the matrices whose products are timed."""


def cases(settings: Settings) -> Iterator[Case]:
    """Yields the facts, and the rates in bfloat16 and float32."""
    yield attempt("device", facts)
    here, size = torch.device(resolve_device("auto")), TOY_SIZE if settings.toy else None
    for precision in ("bfloat16", "float32"):
        yield attempt(precision, partial(_rate, here, precision, size))


def _rate(device: torch.device, precision: str, size: int | None) -> Figures:
    return {"FLOP/s": product_rate(device, precision, size)}


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


def now(device: torch.device) -> float:
    """Returns seconds of a clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
