"""A control: scores length alone, to check that a benchmark of coaches exposes such a bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1

from coaches.base import Verdict
from conf.ranges import Positive
from envs.types import Turn


class Length:
    """Scores a turn by the length of its action alone: 10 (1 - exp(-characters / scale))."""

    @dataclass(frozen=True)
    class Config:
        scale: Positive
        """Positive number of characters: an action of this length scores 6.3."""

    def __init__(self, config: Config) -> None:
        self._scale = config.scale

    def judge(self, history: Sequence[Turn]) -> Verdict:
        """Returns the verdict on the last turn. Never raises ``CoachError``."""
        length = len(history[-1].action)
        return Verdict(-10.0 * expm1(-length / self._scale), f"{length} characters", source="length")
