"""What an audit proves about a turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Strength = Literal["proof", "doubt"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and the turn that did it.

    ``Finding("alignment", 1, "proof", "X_train.pkl: 'age' has the values of train.csv in another order …")``
    """

    audit: str
    turn: int
    """Index of the turn."""
    strength: Strength
    """``proof``: files, programs or printed values contradict each other. ``doubt``: likely wrong; tells
    whom to suspect if the episode failed."""
    text: str


def first(findings: list[Finding], strength: Strength) -> Finding | None:
    """Returns the finding of that strength about the earliest turn: what comes later may follow from it."""
    return min((one for one in findings if one.strength == strength), key=lambda one: one.turn, default=None)
