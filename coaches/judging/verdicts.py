"""Asks any coach about turns and episodes: one rule for errors, histories and threads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, cast

from coaches.base import AnyCoach, Coach, CoachError, HindsightCoach, History, Usage, Verdict, judges_turns
from conf import ConfigError
from conf.counts import plural
from envs.types import Outcome, Turn

THREADS = 8
"""Turns of one episode that a coach judges in parallel, where nothing else runs in parallel."""
WITHHELD = "withheld"
"""The cause where a coach returned None for a turn of an episode that it judged."""


class Judged(NamedTuple):
    """What a coach made of one turn."""

    verdict: Verdict | None
    cause: str
    """Why there is no verdict: the name of the exception or of its cause, or ``WITHHELD``; "" with a
    verdict."""
    message: str = ""
    """What the exception says."""


def judge_turn(coach: Coach, history: Sequence[Turn]) -> Judged:
    """Returns the coach's verdict on the last turn of ``history``. Every error but ``CoachError``
    propagates.

    Raises:
        ConfigError: the coach returned something else than a verdict.
    """
    try:
        return Judged(_verdict(coach, "judge", coach.judge(history)), "")
    except CoachError as error:
        return Judged(None, _cause(error), str(error))


def judge_episode(
    coach: AnyCoach, turns: Sequence[Turn], outcome: Outcome | None, *, threads: int = 1
) -> list[Judged]:
    """Returns what any coach makes of every turn of a finished episode, in order.

    A coach that judges turns sees each one as it would have during the episode: with the turns before it and
    no later ones. ``outcome`` may be None for such a coach. Every error but ``CoachError`` propagates.

    Raises:
        ConfigError: the coach did not return one entry per turn, each a verdict or None.
        ValueError: the coach needs an outcome.
    """
    if not judges_turns(coach):
        return _in_hindsight(cast(HindsightCoach, coach), turns, outcome)
    histories = [prefix(turns, end) for end in range(1, len(turns) + 1)]
    if threads == 1:
        return [judge_turn(cast(Coach, coach), history) for history in histories]
    with ThreadPoolExecutor(threads, "coach") as pool:
        return list(pool.map(lambda history: judge_turn(cast(Coach, coach), history), histories))


def prefix(turns: Sequence[Turn], length: int) -> Sequence[Turn]:
    """Returns the first ``length`` turns, with what ``turns`` has beside them."""
    first = turns[:length]
    if not isinstance(turns, History):
        return first
    return History(first, turns.answer, turns.outcomes, turns.store)


def total_cost(verdicts: Sequence[Verdict | None]) -> float:
    """Returns the cost of all verdicts together, in US dollars."""
    return sum(verdict.cost for verdict in verdicts if verdict is not None)


def total_usage(verdicts: Sequence[Verdict | None]) -> Usage | None:
    """Returns the usage of all verdicts together; None if no model was asked."""
    usages = [verdict.usage for verdict in verdicts if verdict is not None and verdict.usage is not None]
    if not usages:
        return None
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        calls=sum(usage.calls for usage in usages),
        seconds=sum(usage.seconds for usage in usages),
        cached=all(usage.cached for usage in usages),
    )


def _in_hindsight(coach: HindsightCoach, turns: Sequence[Turn], outcome: Outcome | None) -> list[Judged]:
    name = type(coach).__name__
    if outcome is None:
        raise ValueError(f"{name} judges whole episodes and needs their outcome")
    try:
        verdicts = coach.judge_episode(turns, outcome)
    except CoachError as error:
        return [Judged(None, _cause(error), str(error))] * len(turns)
    if not isinstance(verdicts, list | tuple):
        raise ConfigError(f"{name}.judge_episode must return a list of verdicts; got {verdicts!r:.60}")
    if len(verdicts) != len(turns):
        raise ConfigError(
            f"{name}.judge_episode returned {plural(len(verdicts), 'verdict')} for "
            f"{plural(len(turns), 'turn')}"
        )
    withheld = Judged(None, WITHHELD, f"{name} gives no verdict on this turn")
    return [
        withheld if verdict is None else Judged(_verdict(coach, "judge_episode", verdict), "")
        for verdict in verdicts
    ]


def _verdict(coach: AnyCoach, method: str, verdict: object) -> Verdict:
    if not isinstance(verdict, Verdict):
        raise ConfigError(f"{type(coach).__name__}.{method} must return a Verdict; got {verdict!r:.60}")
    return verdict


def _cause(error: CoachError) -> str:
    """Names what lies behind the error, so that a timeout is not counted as an unreadable reply."""
    return type(error.__cause__ or error).__name__
