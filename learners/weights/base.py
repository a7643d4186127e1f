"""What every kind of weights shares: the checksum that ties a checkpoint to its initial weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from conf import ConfigError

Named = Iterable[tuple[str, torch.Tensor]]
CHUNK = 2**24
"""Elements that are hashed at a time."""
TOLERANCE = 1e-9
"""Relative difference that sums of other orders may have; two random models differ by far more."""


def fingerprint(weights: Named) -> str:
    """Returns a SHA-256 of names, dtypes, shapes and bytes: it does not depend on devices and threads."""
    digest = hashlib.sha256()
    for name, tensor in weights:
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        for chunk in _chunks(tensor):
            digest.update(chunk.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def total_bytes(state: Mapping[str, torch.Tensor]) -> int:
    """Returns the bytes of all tensors; one that has several names counts once."""
    return sum({value.data_ptr(): value.nbytes for value in state.values()}.values())


def cast(state: Mapping[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Returns all floating-point tensors in ``dtype``; one that has several names is cast once."""
    known: dict[int, torch.Tensor] = {}
    for value in state.values():
        if value.data_ptr() not in known:
            known[value.data_ptr()] = value.to(dtype) if value.is_floating_point() else value
    return {name: known[value.data_ptr()] for name, value in state.items()}


def check_origin(name: str, state: Mapping[str, Any], origin: str | None, weights: Named) -> None:
    """Checks that ``state`` was trained from the initial ``weights``, whose fingerprint is ``origin``.

    A state or a policy without a reference (None) has no origin, and nothing is checked. Checkpoints of
    before fingerprints have a sum of absolute values instead, which must agree up to rounding.

    Raises:
        ConfigError: it was trained from others.
    """
    recorded = state["origin"]
    if recorded is None or origin is None:
        return
    if isinstance(recorded, float):
        same = math.isclose(recorded, _absolute_sum(weights), rel_tol=TOLERANCE)
    else:
        same = recorded == origin
    if not same:
        raise ConfigError(f"the initial weights of {name} are not those its checkpoint was trained from")


def _absolute_sum(weights: Named) -> float:
    return math.fsum(float(chunk.double().abs().sum()) for _, tensor in weights for chunk in _chunks(tensor))


def _chunks(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yields the elements in order, ``CHUNK`` at a time, contiguous and in host memory."""
    flat = tensor.detach().reshape(-1)
    for start in range(0, flat.numel(), CHUNK):
        yield flat[start : start + CHUNK].cpu().contiguous()
