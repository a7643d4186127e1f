"""A coach that scores vowels, reaches no verdict without one, and learns how many turns it has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coaches.base import BudgetError, CoachError, Verdict
from coaches.judging.learning import JudgedEpisode
from envs.types import Turn


class Vowels:
    @dataclass
    class Config:
        each: float
        budget: int | None
        """How many verdicts the budget allows."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.seen = 0
        self._asked = 0

    def judge(self, history: Sequence[Turn]) -> Verdict:
        self._asked += 1
        if self.config.budget is not None and self._asked > self.config.budget:
            raise BudgetError("spent")
        count = sum(history[-1].action.count(letter) for letter in "aeiou")
        if not count:
            raise CoachError("no vowel") from LookupError("vowel")
        return Verdict(min(10.0, count * self.config.each + self.seen / 1000), history.answer, "a")  # type: ignore[attr-defined]

    def learn(self, episodes: Sequence[JudgedEpisode]) -> Mapping[str, float]:
        self.seen += sum(verdict is not None for one in episodes for verdict in one.verdicts)
        return {"seen": float(self.seen)}

    def state(self) -> Mapping[str, Any]:
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]
