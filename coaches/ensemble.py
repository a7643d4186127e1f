"""Several coaches asked at once: their scores become one, and where they disagree too much, none."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from scipy.stats import trim_mean  # type: ignore[import-untyped]

from coaches.base import AnyCoach, Coach, CoachError, Unit, Verdict, judges_turns
from coaches.inner import (
    build,
    clipped,
    judge_all,
    total_cost,
    total_usage,
)
from coaches.judging import learning
from coaches.judging.learning import JudgedEpisode
from conf import ConfigError
from envs.types import Outcome, Turn

Vote = Verdict | str
"""A member's verdict, or in one word why it has none."""


class Disagreement(CoachError):  # noqa: N818 (the name is the cause that is counted)
    """The members' scores lie too far apart."""


class TooFewVotes(CoachError):  # noqa: N818
    """Fewer members than the quorum had a verdict."""


class Ensemble:
    """Asks its members at the same time, in threads, and combines what they say.

    The score is the median, mean or trimmed mean of the members' that had one. The blame is the agent that
    most of those name, or nobody where at least half of them blame nobody. Fewer verdicts than ``min_votes``,
    or scores further apart than ``limit``, give no verdict (causes ``TooFewVotes``, ``Disagreement``), or in
    the second case, when told so, the word of a stronger coach. Cost and usage are the sum over all that
    answered. ``Verdict.parts`` holds every member's own verdict, and last the stronger coach's where it was
    asked. If all members judge turns as they happen, so does the ensemble; else it waits for the outcome.
    """

    judges: Unit
    """``turns`` if every member does."""

    @dataclass(frozen=True)
    class Config:
        coaches: list[Any]
        """The members: coach nodes."""
        combine: str
        """``median``, ``mean`` or ``trimmed_mean``."""
        trim: float
        """Share of the scores that a trimmed mean leaves out at either end, below a half."""
        min_votes: int
        """Quorum: members that must have a verdict."""
        disagreement: str
        """``range``: the highest score less the lowest; ``mad``: the median distance from the median."""
        limit: float | None
        """The most disagreement, in points, that is combined; null: any."""
        on_disagreement: str
        """``mask``: no verdict; ``escalate``: the stronger coach's."""
        stronger: Any
        """A coach node, or null."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` when a member cannot be built or the settings do not fit together."""
        _check(config)
        self.config = config
        self.members: list[AnyCoach] = [build(node) for node in config.coaches]
        self.names = [str(node["name"]) for node in config.coaches]
        self.stronger = None if config.stronger is None else build(config.stronger)
        self.judges = "turns" if all(judges_turns(coach) for coach in self._all()) else "episodes"

    def learn(self, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        """Lets every member learn from its own verdicts.

        Logs, by the member's place, the turns that were judged without it (``ensemble/1/absent``) and what it
        logs itself (``1/…``), and the turns that were ``escalated``.
        """
        made = [verdict.parts for episode in episodes for verdict in episode.verdicts if verdict is not None]
        row = {"ensemble/escalated": float(sum(len(parts) > len(self.members) for parts in made))}
        for place, coach in enumerate(self._all()):
            if place < len(self.members):
                row[f"ensemble/{place}/absent"] = float(sum(parts[place] is None for parts in made))
            learned = learning.learn(coach, [episode.part(place) for episode in episodes])
            row |= {f"{place}/{name}": value for name, value in learned.items()}
        return row

    def state(self) -> dict[str, Any]:
        return {str(place): learning.state(coach) for place, coach in enumerate(self._all())}

    def restore(self, state: Mapping[str, Any]) -> None:
        for place, coach in enumerate(self._all()):
            learning.restore(coach, state[str(place)])

    def _all(self) -> list[AnyCoach]:
        return [*self.members, *([] if self.stronger is None else [self.stronger])]

    def judge(self, history: Sequence[Turn]) -> Verdict:
        def ask(coach: AnyCoach) -> Vote:
            try:
                return cast(Coach, coach).judge(history)
            except CoachError as error:
                return type(error.__cause__ or error).__name__

        with ThreadPoolExecutor(len(self.members), "coach") as pool:
            votes = list(pool.map(ask, self.members))
        return self._combine(votes, lambda: cast(Coach, self.stronger).judge(history))

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        with ThreadPoolExecutor(len(self.members), "coach") as pool:
            ballots = list(pool.map(lambda coach: judge_all(coach, turns, outcome), self.members))
        verdicts: list[Verdict | None] = []
        second: list[list[Verdict | None]] = []  # the stronger coach's, asked once and only if need be

        def escalate(place: int) -> Verdict:
            if not second:
                assert self.stronger is not None
                second.append(judge_all(self.stronger, turns, outcome))
            if (verdict := second[0][place]) is None:
                raise CoachError("the stronger coach has no verdict either")
            return verdict

        for place in range(len(turns)):
            votes = [ballot[place] or "none" for ballot in ballots]
            try:
                verdicts.append(self._combine(votes, lambda place=place: escalate(place)))  # type: ignore[misc]
            except CoachError:
                verdicts.append(None)
        return verdicts

    def _combine(self, votes: Sequence[Vote], escalate: Callable[[], Verdict]) -> Verdict:
        parts = tuple(vote if isinstance(vote, Verdict) else None for vote in votes)
        given = [verdict for verdict in parts if verdict is not None]
        said = "; ".join(_said(name, vote) for name, vote in zip(self.names, votes, strict=True))
        if len(given) < self.config.min_votes:
            raise TooFewVotes(f"{len(given)} of {len(votes)} had a verdict: {said}")
        scores = [verdict.score for verdict in given]
        apart = spread(scores, self.config.disagreement)
        summary = f"{self.config.combine} of {len(given)}, {self.config.disagreement} {apart:.1f}"
        if self.config.limit is None or apart <= self.config.limit:
            score, blame, reason = combined(scores, self.config), majority(given), f"{summary}: {said}"
        elif self.config.on_disagreement == "mask":
            raise Disagreement(f"{summary}: {said}")
        else:
            last = escalate()
            parts, score, blame = (*parts, last), last.score, last.blame
            reason = f"{summary}: {said}; asked in the end, {_said(self.config.stronger['name'], last)}"
        return Verdict(score, reason, blame, total_cost(parts), "ensemble", total_usage(parts), parts)


def combined(scores: Sequence[float], config: Ensemble.Config) -> float:
    """One score of several, in [0, 10]."""
    if config.combine == "median":
        return statistics.median(scores)
    return float(trim_mean(scores, config.trim if config.combine == "trimmed_mean" else 0.0))


def spread(scores: Sequence[float], measure: str) -> float:
    """How far scores lie apart, in points: ``range`` or ``mad``."""
    if measure == "range":
        return max(scores) - min(scores)
    middle = statistics.median(scores)
    return statistics.median(abs(score - middle) for score in scores)


def majority(verdicts: Sequence[Verdict]) -> str | None:
    """The agent most blamed (of equals, by the first member), or None if at least half blame nobody."""
    named = Counter(verdict.blame for verdict in verdicts if verdict.blame is not None)
    return None if 2 * named.total() <= len(verdicts) else named.most_common(1)[0][0]


def _said(name: str, vote: Vote) -> str:
    if isinstance(vote, str):
        return f"{name} no verdict ({vote})"
    blame = "" if vote.blame is None else f", blames {vote.blame}"
    return f"{name} {vote.score:.1f}{blame} ({clipped(vote.rationale)})"


def _check(config: Ensemble.Config) -> None:
    choices = {
        "combine": ("median", "mean", "trimmed_mean"),
        "disagreement": ("range", "mad"),
        "on_disagreement": ("mask", "escalate"),
    }
    for key, known in choices.items():
        if getattr(config, key) not in known:
            raise ConfigError(f"coach ensemble: {key} is one of {', '.join(known)}")
    if not config.coaches or not 1 <= config.min_votes <= len(config.coaches):
        raise ConfigError("coach ensemble: min_votes lies between 1 and the number of coaches")
    if not 0.0 <= config.trim < 0.5:
        raise ConfigError("coach ensemble: trim lies in [0, 0.5)")
    if config.on_disagreement == "escalate" and config.stronger is None:
        raise ConfigError("coach ensemble: to escalate it needs a stronger coach")
