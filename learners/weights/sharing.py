"""Weights in GPU memory that another process maps (CUDA IPC): nothing is written, and no copy is whole.

A process that frees what another one still maps does not get that memory back until the other one has let
go: torch counts who has it. vLLM needs this, which keeps the weights of a layer until it has all of them, and
a layer may be divided between two parts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.multiprocessing.reductions import reduce_tensor

from learners.types import Place, Shared

LIMIT = 2**30
"""Bytes that are shared at a time."""

Named = Iterable[tuple[str, torch.Tensor]]
Export = Callable[[torch.Tensor], Mapping[str, tuple[Any, ...]]]


def place(device: torch.device) -> Place:
    """Returns where this process has what is on ``device``."""
    return Place(os.getpid(), gpu_id(device) if device.type == "cuda" else None)


def gpu_id(device: torch.device) -> str:
    """Returns the UUID of a GPU, which is the same in every process."""
    return str(torch.cuda.get_device_properties(device).uuid)


def whole(state: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields each tensor once, by the first of its names, as engines compute with it: not sharded, in
    ``dtype``. All processes among which the weights are sharded must iterate in step."""
    seen = set[int]()
    for name, value in state.items():
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield name, _for_engines(value.detach(), dtype)


def export_cuda(tensor: torch.Tensor) -> Mapping[str, tuple[Any, ...]]:
    """Returns how another process can map ``tensor``; it must be kept for as long."""
    arguments: tuple[Any, ...] = reduce_tensor(tensor)[1]  # type: ignore[no-untyped-call]
    return {gpu_id(tensor.device): arguments}


def share(named: Named, *, limit: int = LIMIT, export: Export = export_cuda) -> Iterator[Shared]:
    """Yields all tensors in their order, in parts of at most ``limit`` bytes; a larger one is a part alone.

    The tensors of a part are kept until the next part is asked for.
    """
    part: list[tuple[str, torch.Tensor]] = []
    for name, tensor in named:
        if part and _size(part) + tensor.nbytes > limit:
            yield _shared(part, export)
            _release(part)
        part.append((name, tensor))
        del tensor
    if part:
        yield _shared(part, export)
        _release(part)


def merge(parts: Sequence[Shared | None]) -> Shared | None:
    """Returns one part from those that several processes, each with its own GPU, share at the same time;
    None if none of them has any left.

    Raises:
        ValueError: they are not the same weights.
    """
    present = [part for part in parts if part is not None]
    if not present:
        return None
    first = present[0]
    same = all(replace(part, handles=first.handles) == first for part in present)
    if len(present) < len(parts) or not same:
        raise ValueError("ranks share different weights at the same time")
    handles = zip(*(part.handles for part in present), strict=True)
    return replace(first, handles=tuple({k: v for own in each for k, v in own.items()} for each in handles))


def _shared(part: Sequence[tuple[str, torch.Tensor]], export: Export) -> Shared:
    tensors = [tensor for _, tensor in part]
    if tensors[0].is_cuda:
        torch.cuda.synchronize(tensors[0].device)  # what computes them has ended before anyone reads them
    return Shared(
        names=tuple(name for name, _ in part),
        dtypes=tuple(str(tensor.dtype).removeprefix("torch.") for tensor in tensors),
        shapes=tuple(tuple(tensor.shape) for tensor in tensors),
        handles=tuple(map(export, tensors)),
        size=_size(part),
    )


def _for_engines(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    own = value.full_tensor() if isinstance(value, DTensor) else value
    return (own.to(dtype) if own.is_floating_point() else own).contiguous()


def _size(part: Sequence[tuple[str, torch.Tensor]]) -> int:
    return sum(tensor.nbytes for _, tensor in part)


def _release(part: list[tuple[str, torch.Tensor]]) -> None:
    on_gpu = part[0][1].is_cuda
    part.clear()
    if on_gpu:
        torch.cuda.ipc_collect()  # type: ignore[no-untyped-call]
