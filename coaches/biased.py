"""A control: another coach with a planted preference for one kind of task, to see what such a bias does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from coaches.base import Verdict
from coaches.judging.inner import RevisingCoach
from conf.ranges import Range
from envs.types import Turn


class Biased(RevisingCoach):
    """Adds ``points`` to another coach's scores of one kind of task, whatever the agents did.

    MAPPA's authors report of their coach that it scored regression 0.5 to 1.8 points above classification.
    Sums are clipped to [0, 10]. Blame, cost and usage are those of the inner coach, whose verdict is
    ``parts[0]``.
    """

    @dataclass(frozen=True)
    class Config:
        coach: Any
        """The coach that gets the bias: a coach node."""
        kind: str
        """Kind of task: ``regression``."""
        points: Annotated[float, Range(least=-10, most=10)]
        """What is added to its scores, in [-10, 10]."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` if the inner coach cannot be built."""
        super().__init__(config.coach)
        self.config = config

    def revise(self, verdict: Verdict, turn: Turn) -> Verdict:
        """Returns the verdict with the points added if the turn belongs to a task of the kind."""
        score = verdict.score
        if turn.kind == self.config.kind:
            score = min(10.0, max(0.0, score + self.config.points))
        return replace(verdict, score=score, source="biased", parts=(verdict,))
