"""Random seeds by name: the same part of a run draws the same numbers, whatever ran before it."""

from __future__ import annotations

import numpy as np


def derive_seed(*parts: int | str) -> int:
    """Returns a 63-bit seed for a named part of a run, e.g. ``derive_seed(seed, "train", step, number)``."""
    words = [part if isinstance(part, int) else int.from_bytes(part.encode(), "big") for part in parts]
    high, low = np.random.SeedSequence(words).generate_state(2, np.uint32)
    return (int(high) << 31) ^ int(low)
