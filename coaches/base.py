"""What a coach is (MAPPA, arXiv 2601.23228: one score in [0, 10] for every action, in context)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from envs.types import Outcome, Turn


class CoachError(Exception):
    """No verdict could be had. The turn is masked out of training and counted; its score is never made up."""


class BudgetError(Exception):
    """The money or the tokens set aside for coaching are spent: the run ends, with a checkpoint."""


@dataclass(frozen=True)
class Usage:
    """What verdicts took of a model's endpoint."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    calls: int = 0
    """Requests that were sent, those that failed included."""
    seconds: float = 0.0
    cached: int = 0
    """Answers that came from the cache."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))


@dataclass(frozen=True)
class Verdict:
    """A coach's word on one turn.

    ``Verdict(3.0, "model.pkl was not saved", "modeler", source="rules")``
    """

    score: float
    """In [0, 10]."""
    rationale: str
    blame: str | None = None
    """The agent at fault, where something failed."""
    cost: float = 0.0
    """US dollars."""
    source: str = ""
    usage: Usage | None = None
    """None: no model was asked."""
    parts: tuple[Verdict | None, ...] = ()
    """The verdicts that this one was made of, by a coach that wraps others: one for each of them, in order,
    None where one had none. ``cost`` and ``usage`` are the whole's."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 10.0:
            raise CoachError(f"a score must lie in [0, 10], not {self.score}")


class Coach(Protocol):
    """Judges turns as they happen."""

    def judge(self, history: Sequence[Turn]) -> Verdict:
        """The verdict on the last turn of ``history``; the others, all agents', are its context.

        Raises:
            CoachError: no verdict could be had.
        """
        ...


class HindsightCoach(Protocol):
    """Judges a whole episode, knowing how it ended."""

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """One verdict a turn, in order; None where none could be had."""
        ...
