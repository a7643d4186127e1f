"""The sparse baseline: what reinforcement learning has without a coach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coaches.base import Verdict
from envs.types import Outcome, Turn


class OutcomeCoach:
    """Credits every action of an episode with the episode's outcome score, times ten.

    The outcome-only reward of GRPO and RLOO, for a team: it knows whether the team did well and not which
    action made it so. All actions get the same, and not the last one alone, because ``credit=action`` passes
    nothing back from later actions. As a hindsight coach it is paid when the episode ends. It blames nobody.
    """

    @dataclass(frozen=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """The same verdict for every turn, on the scale of 0 to 10. Never None."""
        verdict = Verdict(
            10.0 * outcome.score, f"the episode ended with: {outcome.failure_code}", source="outcome"
        )
        return [verdict] * len(turns)
