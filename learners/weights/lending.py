"""Weights in files that engines read: written once, however many engines there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from learners.types import Lent
from learners.weights.scratch import Scratch, size_of


class Writer(Protocol):
    """Weights that can be written: see ``learners.base.Weights``."""

    def save_for_engines(self, folder: Path | None, *, base: bool = False) -> None:
        """Writes what an engine loads."""
        ...


def write(weights: Writer, scratch: Scratch, *, base: bool) -> Lent:
    """Writes what an engine loads into a new folder of ``scratch``; raises as ``Source.lend``."""
    folder = scratch.new()
    try:
        weights.save_for_engines(folder, base=base)
    except BaseException:
        scratch.drop(folder)
        raise
    size = size_of(folder)
    return Lent(folder, size, size)


@contextmanager
def lent(weights: Writer, root: Path | None, *, base: bool) -> Iterator[Lent]:
    """Yields what an engine of this process loads; see ``Source.lend``."""
    scratch = Scratch(root)
    try:
        yield write(weights, scratch, base=base)
    finally:
        scratch.close()
