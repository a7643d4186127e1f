"""Ranges of settings: ``lr: NonNegative`` in a plug-in's ``Config`` is a float whose range is checked too.

Each type is ``int`` or ``float`` with a ``Range`` beside it, which ``conf.typed`` reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Annotated

LARGEST = 10**12
"""Upper bound of every integer: anything larger is a typing error."""


@dataclass(frozen=True)
class Range:
    """The numbers from ``least`` (or above ``above``) to ``most`` (or below ``below``)."""

    least: float = -inf
    most: float = inf
    above: float = -inf
    below: float = inf

    def mistake(self, value: float) -> str:
        """Returns what is wrong with ``value``, as ``must be at least 1``; empty if it is in the range."""
        if not value >= self.least:
            return f"must be at least {self.least:g}"
        if not value > self.above:
            return f"must be above {self.above:g}"
        if not value <= self.most:
            return f"must be at most {self.most:g}"
        return "" if value < self.below else f"must be below {self.below:g}"


Count = Annotated[int, Range(least=1, most=LARGEST)]
Natural = Annotated[int, Range(least=0, most=LARGEST)]
Seed = Annotated[int, Range(least=0, most=2**63 - 1)]
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(least=0)]
Share = Annotated[float, Range(least=0, most=1)]
"""From 0 to 1."""
PositiveShare = Annotated[float, Range(above=0, most=1)]
Score = Annotated[float, Range(least=0, most=10)]
"""On the scale of the coaches."""
