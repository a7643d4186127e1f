"""A few combinations of options in which every two values of different options occur together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any


def pairwise(options: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Combinations that cover all pairs. Greedy and deterministic: each covers as many new pairs as
    possible."""
    candidates = {
        values: set(itertools.combinations(enumerate(values), 2))
        for values in itertools.product(*options.values())
    }
    missing: set[Any] = set().union(*candidates.values())
    chosen = []
    while missing:
        best = max(candidates, key=lambda values: len(candidates[values] & missing))
        chosen.append(best)
        missing -= candidates[best]
    return [dict(zip(options, values, strict=True)) for values in chosen]
