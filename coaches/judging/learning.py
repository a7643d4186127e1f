"""Coaches that change with what they see of a run, in a way that a killed run can repeat.

Such a coach learns between steps only, from all the episodes of a finished one: whatever it says within a
step depends on earlier steps alone, never on which of the episodes at play ended first. ``state`` is JSON and
all that it has learned; a checkpoint keeps it. Coaches without these methods need none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from coaches.base import Verdict
from envs.types import Outcome, Turn


@dataclass(frozen=True)
class JudgedEpisode:
    """A finished episode and what a coach said of it."""

    task_id: str
    turns: tuple[Turn, ...]
    verdicts: tuple[Verdict | None, ...]
    """One a turn; None where there is none."""
    outcome: Outcome

    def part(self, place: int) -> JudgedEpisode:
        """The same episode with the verdicts of the coach at ``place`` among those that were wrapped."""
        return replace(self, verdicts=tuple(_part(verdict, place) for verdict in self.verdicts))


@runtime_checkable
class LearningCoach(Protocol):
    """What a coach has on top of judging that learns."""

    def learn(self, episodes: Sequence[JudgedEpisode]) -> Mapping[str, float]:
        """Takes in a finished step's episodes, with the coach's own verdicts; returns what to log.

        The order of ``episodes`` must not matter.
        """
        ...

    def state(self) -> Mapping[str, Any]:
        """All that was learned, as JSON."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Puts the coach back to ``state``."""
        ...


def learn(coach: object, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
    """Lets ``coach`` learn, if it is one that does."""
    return dict(coach.learn(episodes)) if isinstance(coach, LearningCoach) else {}


def state(coach: object) -> dict[str, Any]:
    """What ``coach`` has learned; nothing for one that does not."""
    return dict(coach.state()) if isinstance(coach, LearningCoach) else {}


def restore(coach: object, state: Mapping[str, Any]) -> None:
    """Puts ``coach`` back to ``state``, if it is one that learns."""
    if isinstance(coach, LearningCoach):
        coach.restore(state)


def _part(verdict: Verdict | None, place: int) -> Verdict | None:
    return verdict.parts[place] if verdict is not None and place < len(verdict.parts) else None
