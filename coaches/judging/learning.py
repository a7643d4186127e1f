"""Coaches that learn during a run, in a way that a resumed run can repeat.

Such a coach learns between steps only, from all episodes of a finished step. What it says within a step
therefore depends on earlier steps alone, never on the order in which concurrent episodes end. ``state`` is
everything that it has learned, as JSON, and is part of a checkpoint. Coaches that do not learn need none of
these methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from coaches.base import Verdict
from envs.types import Outcome, Turn


@dataclass(frozen=True)
class JudgedEpisode:
    """A finished episode with the verdicts of one coach."""

    task_id: str
    turns: tuple[Turn, ...]
    verdicts: tuple[Verdict | None, ...]
    """One per turn; None where there is none."""
    outcome: Outcome

    def part(self, place: int) -> JudgedEpisode:
        """Returns the same episode with the verdicts of the inner coach at ``place`` (``Verdict.parts``)."""
        return replace(self, verdicts=tuple(_part(verdict, place) for verdict in self.verdicts))


@runtime_checkable
class LearningCoach(Protocol):
    """What a coach that learns has in addition to judging."""

    def learn(self, episodes: Sequence[JudgedEpisode]) -> Mapping[str, float]:
        """Learns from a finished step's episodes, with the coach's own verdicts; returns metrics to log.

        The result must not depend on the order of ``episodes``.
        """
        ...

    def state(self) -> Mapping[str, Any]:
        """Returns everything that was learned, as JSON."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state`` returned."""
        ...


def learn(coach: object, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
    """Lets ``coach`` learn, if it is one that does; returns metrics to log."""
    return dict(coach.learn(episodes)) if isinstance(coach, LearningCoach) else {}


def state(coach: object) -> dict[str, Any]:
    """Returns what ``coach`` has learned; empty for a coach that does not learn."""
    return dict(coach.state()) if isinstance(coach, LearningCoach) else {}


def restore(coach: object, state: Mapping[str, Any]) -> None:
    """Restores ``coach`` to ``state``, if it is one that learns."""
    if isinstance(coach, LearningCoach):
        coach.restore(state)


def _part(verdict: Verdict | None, place: int) -> Verdict | None:
    return verdict.parts[place] if verdict is not None and place < len(verdict.parts) else None
