"""Families of problems in levels of difficulty."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

Numbers = Mapping[str, Any]
"""What stands in a problem's text, by the name of its place."""


@dataclass(frozen=True)
class Level:
    """Problems of one difficulty that differ only in their numbers."""

    text: str
    """The problem in one line, with ``{a}``, ``{b}``, … for the numbers."""
    draw: Callable[[random.Random], Numbers]
    answer: Callable[..., int | Fraction]
    """The exact answer, from the numbers alone and without going through all cases."""


@dataclass(frozen=True)
class Family:
    """Four levels, from one step of arithmetic to a problem in which all cases cannot be tried by hand."""

    name: str
    levels: tuple[Level, Level, Level, Level]


def between(**bounds: tuple[int, int]) -> Callable[[random.Random], Numbers]:
    """Returns what draws each number between two bounds, both included."""
    return lambda rng: {name: rng.randint(*pair) for name, pair in bounds.items()}


def until(
    draw: Callable[[random.Random], Numbers], valid: Callable[..., bool]
) -> Callable[[random.Random], Numbers]:
    """Returns what draws until the numbers are valid."""

    def drawn(rng: random.Random) -> Numbers:
        while not valid(**(numbers := draw(rng))):
            pass
        return numbers

    return drawn
