"""What a coach is: one score in [0, 10] for every action, in context (MAPPA, arXiv 2601.23228)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, Protocol, runtime_checkable

from conf import ConfigError
from conf.text import replace_unencodable
from envs.types import Outcome, Turn
from sandbox.store import ArtifactStore

Unit = Literal["turns", "episodes"]
"""What a coach judges at a time."""
Sight = Literal["none", "answer", "outcome"]
"""What a coach is shown besides the turns: nothing; the task's answer; or what the grader says of the team's
result as it is after the turn."""


class CoachError(Exception):
    """There is no verdict. The turn is masked out of training and counted; a score is never made up.

    Each cause has its own subclass: turns without a verdict are counted by cause.
    """


class BudgetError(Exception):
    """The budget for verdicts is spent. Not a ``CoachError``: the run ends here, with a checkpoint."""


class History(tuple[Turn, ...]):
    """Turns together with what only a coach may have.


    ``CoachReward`` passes one wherever the environment knows its task. A slice of it is a plain tuple.
    """

    answer: Any
    """``Task.answer``, as the grader has it."""
    outcomes: Mapping[int, Outcome]
    """Index of a turn -> the outcome if the episode had ended with it; only of turns whose coach asks."""

    store: ArtifactStore | None
    """The files that the turns list, by hash, for a coach that examines them (``reads_files``); None: not
    kept."""

    def __new__(
        cls,
        turns: Iterable[Turn],
        answer: Any,
        outcomes: Mapping[int, Outcome] | None = None,
        store: ArtifactStore | None = None,
    ) -> History:
        history = super().__new__(cls, turns)
        history.answer, history.outcomes, history.store = answer, dict(outcomes or {}), store
        return history

    def __reduce__(self) -> tuple[type[History], tuple[tuple[Turn, ...], Any, Mapping[int, Outcome]]]:
        """Pickles the answer and the outcomes as well, for a coach in another process, and no files."""
        return History, (tuple(self), self.answer, self.outcomes)


@dataclass(frozen=True)
class Sees:
    """What a coach is shown besides the turns, by the agent that acted.

    The reference of MAPPA (arXiv 2601.23228) shows its coach the answer when the verifier has acted:

    >>> Sees({"verifier": "answer"}).of("code_executor")
    'none'
    """

    agents: Mapping[str, Sight]
    others: Sight = "none"

    def of(self, agent: str) -> Sight:
        """Returns what the coach is shown when it judges ``agent``."""
        return self.agents.get(agent, self.others)


@dataclass(frozen=True)
class Usage:
    """What it took to reach a verdict.

    >>> Usage(5210, 96, calls=1, seconds=2.4).cached
    False
    """

    prompt_tokens: int
    completion_tokens: int
    calls: int
    """Requests, including those that failed or gave no verdict."""
    seconds: float
    cached: bool = False
    """The verdict came from the cache: the other numbers are those of the original request, and nothing was
    paid this time."""


@dataclass(frozen=True)
class Verdict:
    """A coach's judgement of one turn.

    The modeler fitted a model but did not save it; the rules say so and blame the modeler itself:

    >>> rules = Verdict(0.5, "turn 1 of 4: code ran; model.pkl missing", blame="modeler", source="rules")

    A language model judges the same turn. Its verdict also says what it cost:

    >>> usage = Usage(5210, 96, calls=1, seconds=2.4)
    >>> model = Verdict(2.0, "model.pkl was not saved.", "modeler", cost=0.0009, source="llm", usage=usage)

    An ensemble takes the mean of the two and keeps both as its parts:

    >>> both = Verdict(1.25, "mean of 2", "modeler", 0.0009, "ensemble", usage, parts=(rules, model))
    >>> [part.score for part in both.parts if part is not None]
    [0.5, 2.0]
    """

    score: float
    """In [0, 10]."""
    rationale: str
    blame: str | None = None
    """The agent at fault; None where nothing failed."""
    cost: float = 0.0
    """US dollars that the verdict costs, whether or not they were paid this time (``usage.cached``)."""
    source: str = ""
    """The coach that gave it, e.g. ``rules``."""
    usage: Usage | None = None
    """None: no model was asked."""
    blocked: bool = False
    """The turn failed on artifacts that arrived broken. Its score is for diagnosis: it says nothing about the
    action, so algorithms that credit single actions do not train on it."""
    parts: tuple[Verdict | None, ...] = ()
    """The verdicts of the inner coaches that this one was made from: one per inner coach, in order, None for
    one without a verdict. ``cost`` and ``usage`` include theirs."""

    def __post_init__(self) -> None:
        if not isinstance(self.score, Real) or isinstance(self.score, bool):
            raise ConfigError(f"Verdict: score must be a number from 0 to 10; got {self.score!r:.60}")
        for name, text in (("rationale", self.rationale), ("blame", self.blame or "")):
            if not isinstance(text, str):
                raise ConfigError(f"Verdict: {name} must be a text; got {text!r:.60}")
        object.__setattr__(self, "rationale", replace_unencodable(self.rationale))  # it is written to files
        if not 0.0 <= self.score <= 10.0:
            raise CoachError(f"a score must be in [0, 10], not {self.score}")


@runtime_checkable
class Coach(Protocol):
    """Judges each turn as it happens."""

    def judge(self, history: Sequence[Turn]) -> Verdict:
        """Returns the verdict on the last turn of ``history``; the earlier turns, of all agents, are its
        context.

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
    """Has both methods and declares which one to call, as a coach does that judges the way its inner coach
    does."""

    judges: Unit


@runtime_checkable
class CompositeCoach(Protocol):
    """A coach that asks other coaches: what they need to be given, it needs to be given."""

    @property
    def inner(self) -> Sequence[object]:
        """The coaches that it asks."""
        ...


AnyCoach = Coach | HindsightCoach


def family(coach: object) -> Iterator[object]:
    """Yields the coach and every coach that it asks."""
    yield coach
    for one in coach.inner if isinstance(coach, CompositeCoach) else ():
        yield from family(one)


def sees(coach: object) -> tuple[Sees, ...]:
    """Returns what the coaches of a family are shown besides the turns: their attribute ``sees``."""
    return tuple(seen for one in family(coach) for seen in getattr(one, "sees", ()))


def check_agents(coach: object, agents: Iterable[str]) -> None:
    """Raises ``ConfigError`` if a coach of the family is to see more of an agent that is not among
    ``agents``."""
    known = list(agents)
    for name in (name for one in sees(coach) for name in one.agents):
        if name not in known:
            raise ConfigError(
                f"coach.sees names {name!r}, which is no agent here; there are {', '.join(known)}"
            )


def reads_files(coach: object) -> bool:
    """Returns whether a coach of the family examines the content of files: it declares ``reads_files``.

    Such a coach finds them in ``History.store``, if whoever asks it has them.
    """
    return any(getattr(one, "reads_files", False) is True for one in family(coach))


def judges_turns(coach: AnyCoach) -> bool:
    """Returns whether to call ``judge`` after each turn; if not, call ``judge_episode`` after the last one.

    The only place that decides it: by the method that the coach has, or, if it has both, by ``judges``.

    Raises:
        ConfigError: the coach has neither method.
    """
    if isinstance(coach, FlexibleCoach):
        return coach.judges == "turns"
    if not isinstance(coach, Coach | HindsightCoach):
        kind = type(coach)
        raise ConfigError(f"{kind.__module__}.{kind.__qualname__} has no method judge or judge_episode")
    return isinstance(coach, Coach)
