# my_parts/last_error.py
"""After a failure, blames the last turn whose program failed, or else the last turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coaches.base import Verdict
from envs.types import Outcome, Turn


class LastError:
    @dataclass
    class Config:
        failed: float
        """The score of the blamed turn, in [0, 10]."""
        others: float
        """The score of every other turn of a failed episode, in [0, 10]."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """One verdict per turn, in order."""
        if outcome.success:
            return [Verdict(10.0, "the episode succeeded", source="last_error") for _ in turns]
        errors = [turn for turn in turns if turn.result is not None and turn.result.status != "ok"]
        culprit = errors[-1] if errors else turns[-1]
        reason = f"turn {culprit.index} of {culprit.agent} explains the failure"
        return [
            Verdict(
                self.config.failed if turn is culprit else self.config.others,
                reason,
                blame=culprit.agent,
                source="last_error",
            )
            for turn in turns
        ]
