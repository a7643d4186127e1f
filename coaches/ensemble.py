"""Several coaches asked in parallel: their scores become one, or none where they disagree too much."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, cast

from scipy.stats import trim_mean  # type: ignore[import-untyped]

from coaches.base import AnyCoach, Coach, CoachError, Unit, Verdict, judges_turns
from coaches.judging import learning
from coaches.judging.inner import build_coach, check_ready
from coaches.judging.learning import JudgedEpisode
from coaches.judging.verdicts import THREADS, Judged, judge_episode, judge_turn, total_cost, total_usage
from conf import ConfigError
from conf.ranges import Count, NonNegative, Range
from envs.types import Outcome, Turn

_QUOTED_CHARS = 200
"""Characters of a member's rationale that the ensemble's rationale quotes."""


class Disagreement(CoachError):  # noqa: N818 (the name is the cause that is counted)
    """The members' scores are too far apart."""


class TooFewVotes(CoachError):  # noqa: N818
    """Fewer members than the quorum have a verdict."""


class Ensemble:
    """Asks its members in parallel, in threads, and combines their verdicts.

    The score is the median, mean or trimmed mean of the members that have a verdict. The agent blamed is the
    one that most of those blame, or nobody if at least half of them blame nobody. With fewer verdicts than
    ``min_votes``, or scores further apart than ``limit``, there is no verdict (causes ``TooFewVotes``,
    ``Disagreement``), or in the second case, if so configured, a stronger coach decides. The score of a
    blocked verdict counts only if all are blocked (``Verdict.blocked``). Cost and usage are
    the sum over all verdicts. ``Verdict.parts`` has every member's verdict, followed by the stronger coach's
    if it was asked. The ensemble judges turns if all its coaches do; otherwise it waits for the outcome.
    """

    judges: Unit

    @dataclass(frozen=True)
    class Config:
        coaches: list[Any]
        """The members: coach nodes."""
        combine: str
        """``median``, ``mean`` or ``trimmed_mean``."""
        trim: Annotated[float, Range(least=0, below=0.5)]
        """Share of the scores that a trimmed mean drops at either end, in [0, 0.5)."""
        min_votes: Count
        """Quorum: members that must have a verdict."""
        disagreement: str
        """Measure of disagreement: ``range``, the highest score minus the lowest, or ``mad``, the median
        absolute deviation from the median."""
        limit: NonNegative | None
        """The largest disagreement, in points, at which scores are combined; null: any."""
        on_disagreement: str
        """``mask``: no verdict; ``escalate``: the verdict of the stronger coach."""
        stronger: Any
        """A coach node, or null."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` if a coach cannot be built or the settings do not fit together."""
        _check(config)
        self.config = config
        self.members: list[AnyCoach] = [build_coach(node) for node in config.coaches]
        self.names = [str(node["name"]) for node in config.coaches]
        self.stronger: AnyCoach | None = None if config.stronger is None else build_coach(config.stronger)
        self.judges = "turns" if all(judges_turns(coach) for coach in self._coaches()) else "episodes"

    def check_ready(self) -> None:
        """Lets every coach check what it needs; raises as ``DependentPart.check_ready``."""
        for coach in self._coaches():
            check_ready(coach)

    @property
    def inner(self) -> Sequence[object]:
        """The members, and the stronger coach."""
        return self._coaches()

    def judge(self, history: Sequence[Turn]) -> Verdict:
        """Returns the combined verdict on the last turn.

        Raises:
            TooFewVotes, Disagreement: the members have no common verdict.
            CoachError: the stronger coach was asked and has none.
        """
        with ThreadPoolExecutor(len(self.members), "coach") as pool:
            votes = list(pool.map(lambda coach: judge_turn(cast(Coach, coach), history), self.members))
        return self._combine(votes, lambda: cast(Coach, self.stronger).judge(history))

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """Returns the combined verdicts; None where ``judge`` would raise ``CoachError``."""

        def ask(coach: AnyCoach) -> list[Judged]:
            return judge_episode(coach, turns, outcome, threads=THREADS)

        with ThreadPoolExecutor(len(self.members), "coach") as pool:
            by_member = list(pool.map(ask, self.members))
        second: list[Judged] = []  # of the stronger coach, which is asked at most once and only if needed

        def escalate(place: int) -> Verdict:
            if not second:
                second.extend(ask(cast(AnyCoach, self.stronger)))
            if (verdict := second[place].verdict) is None:
                raise CoachError("the stronger coach has no verdict either")
            return verdict

        verdicts: list[Verdict | None] = []
        for place in range(len(turns)):
            votes = [judged[place] for judged in by_member]
            try:
                verdicts.append(self._combine(votes, lambda place=place: escalate(place)))  # type: ignore[misc]
            except CoachError:
                verdicts.append(None)
        return verdicts

    def learn(self, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        """Lets every member learn from its own verdicts.

        Returns, by the member's position, the number of verdicts made without it (``ensemble/1/absent``) and
        its own metrics (``1/…``), and the number of turns that the stronger coach decided (``escalated``).
        """
        made = [verdict.parts for episode in episodes for verdict in episode.verdicts if verdict is not None]
        metrics = {"ensemble/escalated": float(sum(len(parts) > len(self.members) for parts in made))}
        for place, coach in enumerate(self._coaches()):
            if place < len(self.members):
                metrics[f"ensemble/{place}/absent"] = float(sum(parts[place] is None for parts in made))
            learned = learning.learn(coach, [episode.part(place) for episode in episodes])
            metrics |= {f"{place}/{name}": value for name, value in learned.items()}
        return metrics

    def state(self) -> dict[str, Any]:
        """Returns what each coach has learned, by its position."""
        return {str(place): learning.state(coach) for place, coach in enumerate(self._coaches())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state`` returned."""
        for place, coach in enumerate(self._coaches()):
            learning.restore(coach, state[str(place)])

    def _coaches(self) -> list[AnyCoach]:
        return [*self.members, *([] if self.stronger is None else [self.stronger])]

    def _combine(self, votes: Sequence[Judged], escalate: Callable[[], Verdict]) -> Verdict:
        parts = tuple(vote.verdict for vote in votes)
        given = [verdict for verdict in parts if verdict is not None]
        listed = "; ".join(_described(name, vote) for name, vote in zip(self.names, votes, strict=True))
        if len(given) < self.config.min_votes:
            raise TooFewVotes(f"{len(given)} of {len(votes)} have a verdict: {listed}")
        blocked = all(verdict.blocked for verdict in given)
        scores = [verdict.score for verdict in given if blocked or not verdict.blocked]
        apart = disagreement(scores, self.config.disagreement)
        summary = f"{self.config.combine} of {len(given)}, {self.config.disagreement} {apart:.1f}"
        if self.config.limit is None or apart <= self.config.limit:
            score, blame, reason = combined(scores, self.config), majority(given), f"{summary}: {listed}"
        elif self.config.on_disagreement == "mask":
            raise Disagreement(f"{summary}: {listed}")
        else:
            last = escalate()
            parts, score, blame, blocked = (*parts, last), last.score, last.blame, last.blocked
            decision = _described(self.config.stronger["name"], Judged(last, ""))
            reason = f"{summary}: {listed}; decided by {decision}"
        cost, usage = total_cost(parts), total_usage(parts)
        return Verdict(score, reason, blame, cost, "ensemble", usage, blocked, parts)


def combined(scores: Sequence[float], config: Ensemble.Config) -> float:
    """Returns one score for several, in [0, 10]."""
    if config.combine == "median":
        return statistics.median(scores)
    return float(trim_mean(scores, config.trim if config.combine == "trimmed_mean" else 0.0))


def disagreement(scores: Sequence[float], measure: str) -> float:
    """Returns how far apart the scores are, in points, by ``measure``: ``range`` or ``mad``."""
    if measure == "range":
        return max(scores) - min(scores)
    middle = statistics.median(scores)
    return statistics.median(abs(score - middle) for score in scores)


def majority(verdicts: Sequence[Verdict]) -> str | None:
    """Returns the agent most often blamed (ties: the one blamed first), or None if at least half blame
    nobody."""
    named = Counter(verdict.blame for verdict in verdicts if verdict.blame is not None)
    return None if 2 * named.total() <= len(verdicts) else named.most_common(1)[0][0]


def _described(name: str, vote: Judged) -> str:
    if vote.verdict is None:
        return f"{name} no verdict ({vote.cause})"
    blame = "" if vote.verdict.blame is None else f", blames {vote.verdict.blame}"
    return f"{name} {vote.verdict.score:.1f}{blame} ({_quoted(vote.verdict.rationale)})"


def _quoted(text: str) -> str:
    """Returns the start of ``text`` on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED_CHARS else f"{line[: _QUOTED_CHARS - 1]}…"


def _check(config: Ensemble.Config) -> None:
    choices = {
        "combine": ("median", "mean", "trimmed_mean"),
        "disagreement": ("range", "mad"),
        "on_disagreement": ("mask", "escalate"),
    }
    for key, known in choices.items():
        if getattr(config, key) not in known:
            raise ConfigError(f"coach ensemble: {key} must be one of {', '.join(known)}")
    for each in config.coaches:
        if isinstance(each, str):
            raise ConfigError(f"coach ensemble: {each!r} in coaches must have a name: {{name: {each}}}")
    members = len(config.coaches)
    if not 1 <= config.min_votes <= members:
        raise ConfigError(
            f"coach ensemble: coaches has {members} members, and min_votes is {config.min_votes}: it must be "
            "between 1 and their number; with fewer members, set coach.min_votes too"
            if members
            else "coach ensemble: coaches is empty"
        )
    if not 0.0 <= config.trim < 0.5:
        raise ConfigError("coach ensemble: trim must be in [0, 0.5)")
    if config.on_disagreement == "escalate" and config.stronger is None:
        raise ConfigError("coach ensemble: on_disagreement=escalate needs a stronger coach")
