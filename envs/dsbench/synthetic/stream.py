"""Random integers that are the same in every process, on every machine and with every version of numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
T = TypeVar("T")

ONE = 1 << 16
"""The standard deviation of ``bell``."""


class Stream:
    """A sequence of random integers for one purpose: those of other purposes do not depend on it.

    It uses the raw output of PCG64 alone: numpy keeps that, but not what its distributions make of it.
    """

    def __init__(self, seed: int, task: str, purpose: str) -> None:
        words = [seed % 2**32, seed >> 32, crc32(task.encode()), crc32(purpose.encode())]
        self._bits = np.random.PCG64(np.random.SeedSequence(words))

    def integers(self, least: int, most: int, count: int) -> Integers:
        """Returns ``count`` integers from ``least`` to ``most``, at most 2**31 apart."""
        raw = (self._bits.random_raw(count) >> np.uint64(33)).astype(np.int64)
        return least + raw % (most - least + 1)

    def integer(self, least: int, most: int) -> int:
        return int(self.integers(least, most, 1)[0])

    def happens(self, share: float) -> bool:
        """Returns True with probability ``share``. Draws one number, whatever the share."""
        return self.integer(0, 999_999) < round(share * 1_000_000)

    def choice(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def permutation(self, count: int) -> Integers:
        return np.argsort(self._bits.random_raw(count), kind="stable")

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        """Returns ``count`` different options in random order."""
        return [options[place] for place in self.permutation(len(options))[:count]]

    def bell(self, count: int) -> Integers:
        """Returns approximately normal integers of mean 0 and standard deviation ``ONE``: sums of twelve."""
        raw = self._bits.random_raw(3 * count).reshape(3, count)
        total = np.full(count, -6 * (ONE - 1), dtype=np.int64)
        for shift in (0, 16, 32, 48):
            total += ((raw >> np.uint64(shift)) & np.uint64(ONE - 1)).astype(np.int64).sum(axis=0)
        return total
