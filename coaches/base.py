"""What a coach is (MAPPA, arXiv 2601.23228: one score in [0, 10] for every action, in context)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from envs.types import Outcome, Turn

Unit = Literal["turns", "episodes"]
"""What a coach judges at a time."""


class CoachError(Exception):
    """No verdict could be had. The turn is masked out of training and counted; its score is never made up.

    A subclass names the cause: turns without a verdict are counted by it.
    """


class BudgetError(Exception):
    """The money for verdicts is spent. Not a ``CoachError``: the run ends here, with a checkpoint."""


class History(tuple[Turn, ...]):
    """Turns that come with the answer of their task, for coaches whose settings let them see it.

    ``CoachReward`` hands one over wherever the environment knows its task. A slice of it is a plain tuple.
    """

    answer: Any
    """``Task.answer``, as the grader has it."""

    def __new__(cls, turns: Iterable[Turn], answer: Any) -> History:
        history = super().__new__(cls, turns)
        history.answer = answer
        return history

    def __reduce__(self) -> tuple[type[History], tuple[tuple[Turn, ...], Any]]:
        """The answer goes along where a coach lives in another process."""
        return History, (tuple(self), self.answer)


@dataclass(frozen=True)
class Usage:
    """What it took to reach a verdict. ``Usage(5210, 96, calls=1, seconds=2.4)``"""

    prompt_tokens: int
    completion_tokens: int
    calls: int
    """Requests, those that failed or gave no verdict included."""
    seconds: float
    cached: bool = False
    """Taken from the cache: the other numbers are those of the time when it was reached, and nothing was paid
    now."""


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
    """US dollars that reaching it costs, whether or not it was paid this time (``usage.cached``)."""
    source: str = ""
    usage: Usage | None = None
    parts: tuple[Verdict | None, ...] = ()
    """The verdicts that this one was made of, by a coach that wraps others: one for each of them, in order,
    None where one had none. ``cost`` and ``usage`` are the whole's."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 10.0:
            raise CoachError(f"a score must lie in [0, 10], not {self.score}")


@runtime_checkable
class Coach(Protocol):
    """Judges each turn as it happens."""

    def judge(self, history: Sequence[Turn]) -> Verdict:
        """Returns the verdict on the last turn of ``history``; the earlier turns, of all agents, are its context.

        Raises:
            CoachError: there is no verdict.
        """
        ...


@runtime_checkable
class HindsightCoach(Protocol):
    """Judges a whole episode, knowing how it ended."""

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """Returns one verdict per turn, in order; None for a turn without one.

        Raises:
            CoachError: there is no verdict on any turn.
        """
        ...


@runtime_checkable
class FlexibleCoach(Coach, HindsightCoach, Protocol):
    """Has both methods and declares which one to call, as a coach does that judges the way its inner coach does."""

    judges: Unit


AnyCoach = Coach | HindsightCoach


def judges_turns(coach: AnyCoach) -> bool:
    """Returns whether to call ``judge`` after each turn; if not, call ``judge_episode`` after the last one.

    The only place that decides it: by the method that the coach has, or, if it has both, by ``judges``.
    """
    if isinstance(coach, FlexibleCoach):
        return coach.judges == "turns"
    return isinstance(coach, Coach)
