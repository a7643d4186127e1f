"""Host memory of a process that trains on a CPU."""

from __future__ import annotations

import ctypes
import os

M_MMAP_THRESHOLD = -3
"""Of mallopt(3)."""
HUGE = "THP_MEM_ALLOC_ENABLE"
"""Environment variable, read when torch makes its first tensor: 1 puts large ones into huge pages."""


def prepare(size: int = 2**20) -> bool:
    """Makes this process hold and wait for as little as it can. To be called before it makes tensors.

    Freed blocks of at least ``size`` bytes go back to the system at once. Left alone, glibc soon takes blocks
    of up to 32 MiB from its heap, which cannot shrink below the topmost block in use: activations that live
    until the backward pass and gradients that live until the step lie scattered among short-lived ones, and a
    CPU update holds twice the memory that its tensors need.

    Huge pages make up for what that costs: a fresh block of small pages is a fault for every 4 KiB.

    Returns:
        False where the C library is another, and nothing was changed.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    os.environ.setdefault(HUGE, "1")
    return bool(mallopt(M_MMAP_THRESHOLD, size))
