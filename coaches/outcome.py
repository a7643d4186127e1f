"""The sparse baseline: the reward that reinforcement learning has without a coach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coaches.base import Verdict
from envs.types import Outcome, Turn


class OutcomeCoach:
    """Scores every action of an episode with ten times the episode's outcome score.

    This is the outcome-only reward of GRPO and RLOO, for a team: it knows whether the team did well, not
    which action is responsible. Every action gets it, not only the last one, because ``credit=action`` passes
    nothing back from later actions. It blames nobody.
    """

    @dataclass(frozen=True)
    class Config:
        """There are no settings."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """Returns the same verdict for every turn. Never raises ``CoachError``."""
        verdict = Verdict(10.0 * outcome.score, f"the outcome is: {outcome.failure_code}", source="outcome")
        return [verdict] * len(turns)
