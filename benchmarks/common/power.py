"""What McNemar's exact test can find: two-sided at 5 %, and *found* means significant with the right sign.

``disagreement`` is the share of pairs in which one of the two policies succeeds. A difference that is larger
needs as much disagreement, so the larger of the two is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats  # type: ignore[import-untyped]
from scipy.optimize import brentq  # type: ignore[import-untyped]

WANTED = 0.8
"""The usual power (J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988)."""
MOST_PAIRS = 1_000_000
_TAIL = 0.025
_SPREAD = 9
"""Standard deviations of the number of disagreements that are summed over."""


@dataclass(frozen=True)
class Power:
    """What a number of pairs of episodes can find."""

    pairs: int
    disagreement: float
    smallest: float | None
    """The difference in success that is found with a chance of 80 %; None if no difference is."""
    difference: float
    """The one that was asked for."""
    chance: float
    """Of finding ``difference``."""
    needed: int | None
    """Pairs that find ``difference`` with a chance of 80 %; None above a million."""


def powers(pairs: int, disagreement: float, difference: float) -> Power:
    """Returns what ``pairs`` can find. ``difference``: in (0, 1]."""
    return Power(
        pairs,
        disagreement,
        smallest_difference(pairs, disagreement),
        difference,
        chance(pairs, disagreement, difference),
        pairs_needed(disagreement, difference),
    )


def chance(pairs: int, disagreement: float, difference: float) -> float:
    """Returns the chance that a true ``difference`` of at least 0 is found; exact for independent pairs.

    The number m of disagreements is binomial, and so are the gains among them.
    """
    share = max(disagreement, difference)
    if not share:
        return 0.0
    middle, spread = pairs * share, sqrt(pairs * share * (1 - share))
    least, most = max(0, int(middle - _SPREAD * spread)), min(pairs, int(middle + _SPREAD * spread) + 1)
    m = np.arange(least, most + 1)
    critical = stats.binom.ppf(_TAIL, m, 0.5)  # losses up to here are significant, or up to one less
    critical = np.where(stats.binom.cdf(critical, m, 0.5) > _TAIL, critical - 1, critical)
    losing = (share - difference) / (2 * share)
    return float(stats.binom.pmf(m, pairs, share) @ stats.binom.cdf(critical, m, losing))


def smallest_difference(pairs: int, disagreement: float) -> float | None:
    """Returns the difference that ``pairs`` find with a chance of 80 %; None if there is none."""
    if chance(pairs, disagreement, 1.0) < WANTED:
        return None
    return float(brentq(lambda one: chance(pairs, disagreement, one) - WANTED, 0.0, 1.0, xtol=1e-6))


def pairs_needed(disagreement: float, difference: float) -> int | None:
    """Returns a number of pairs that finds ``difference`` with a chance of 80 %, where one pair less does
    not; None if it is above a million.

    The chance rises with the number in a saw-tooth, so that a slightly smaller number may do as well.
    """
    low, high = 1, 8
    while chance(high, disagreement, difference) < WANTED:
        low, high = high, 2 * high
        if low >= MOST_PAIRS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if chance(middle, disagreement, difference) < WANTED:
            low = middle
        else:
            high = middle
    return high if high <= MOST_PAIRS else None
