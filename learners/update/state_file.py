"""Reads the file of a policy's state (``LocalLearner.save``) without a second copy of it in memory."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from learners.update.fsdp import distribute_like

_mapped: dict[int, int] = {}
"""Bytes of every storage that is mapped from a file at present, by address."""


@contextmanager
def open_state(path: Path) -> Iterator[dict[str, Any]]:
    """Yields what was saved in ``path``, on whatever device; tensors are mapped from the file, on the CPU.

    Nothing is read before it is used. Tensors must be copied (``copy_into``), and are invalid afterwards.
    """
    state: dict[str, Any] = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    own = {storage.data_ptr(): storage.nbytes() for storage in _storages(state)}
    _mapped.update(own)
    try:
        yield state
    finally:
        for address in own:
            _mapped.pop(address, None)


@torch.no_grad()
def copy_into(target: torch.Tensor, value: torch.Tensor) -> None:
    """Copies ``value`` into ``target``, which may be sharded and on any device.

    Pages of a mapped file are dropped once they are read: otherwise all of it would be in memory twice at the
    end.
    """
    target.copy_(distribute_like(value, target))
    storage = value.untyped_storage()
    if storage.data_ptr() in _mapped:
        _drop_pages(storage.data_ptr(), storage.nbytes())


def _drop_pages(address: int, size: int) -> None:
    """Unmaps pages that hold nothing but what is in their file: a later access reads it again."""
    start = address - address % mmap.PAGESIZE
    libc = ctypes.CDLL(None)
    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(address + size - start), mmap.MADV_DONTNEED)


def _storages(tree: Any) -> Iterator[torch.UntypedStorage]:
    if isinstance(tree, torch.Tensor):
        yield tree.untyped_storage()
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _storages(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _storages(value)
