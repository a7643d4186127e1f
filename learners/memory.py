"""Host memory: what is freed goes back to the system."""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3
"""Of mallopt(3)."""


def return_freed(size: int = 2**20) -> bool:
    """Makes this process give freed blocks of at least ``size`` bytes back to the system at once.

    Left alone, glibc soon takes blocks of up to 32 MiB from its heap, which cannot shrink below the topmost
    block in use: activations that live until the backward pass and gradients that live until the step lie
    scattered among short-lived ones, and a CPU update holds twice the memory that its tensors need.

    Returns:
        False where the C library is another, and nothing was changed.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, size))
