"""What coaches that wrap other coaches share: building them, and asking any of them about a whole episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import conf
from coaches.base import (
    AnyCoach,
    Coach,
    CoachError,
    HindsightCoach,
    History,
    Usage,
    Verdict,
    judges_turns,
)
from envs.types import Outcome, Turn

_THREADS = 8
"""Turns of one episode that a coach is asked about at once."""


def build(node: Mapping[str, Any]) -> AnyCoach:
    """The coach of a node within a wrapper's settings; what the node leaves out comes from its own YAML.

    Raises:
        ConfigError: there is no such coach, or its settings are wrong.
    """
    if not isinstance(node, Mapping) or "name" not in node:
        raise conf.ConfigError(f"a coach within a coach is a node such as {{name: rules}}, not {node!r}")
    return cast(AnyCoach, conf.build("coaches", conf.fill_defaults("coach", node)))


def judge_all(coach: AnyCoach, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
    """Any coach's verdicts on an episode that is over; None where it has none.

    A coach that judges turns is shown each as it was at the time: with what came before, and no more.

    Raises:
        ValueError: the coach did not return one entry a turn.
    """
    if not judges_turns(coach):
        try:
            verdicts = cast(HindsightCoach, coach).judge_episode(turns, outcome)
        except CoachError:
            return [None] * len(turns)
        if len(verdicts) != len(turns):
            raise ValueError(f"{type(coach).__name__} gave {len(verdicts)} verdicts for {len(turns)} turns")
        return verdicts

    def one(place: int) -> Verdict | None:
        try:
            return cast(Coach, coach).judge(prefix(turns, place + 1))
        except CoachError:
            return None

    with ThreadPoolExecutor(_THREADS, "coach") as pool:
        return list(pool.map(one, range(len(turns))))


def prefix(turns: Sequence[Turn], length: int) -> Sequence[Turn]:
    """The first turns, with the answer of their task if they came with one."""
    first = turns[:length]
    return History(first, turns.answer) if isinstance(turns, History) else first


def total_cost(verdicts: Sequence[Verdict | None]) -> float:
    """What the verdicts cost together, in US dollars."""
    return sum(verdict.cost for verdict in verdicts if verdict is not None)


def total_usage(verdicts: Sequence[Verdict | None]) -> Usage | None:
    """What the verdicts took of models together; None where no model was asked."""
    known = [verdict.usage for verdict in verdicts if verdict is not None and verdict.usage is not None]
    if not known:
        return None
    return Usage(
        sum(usage.prompt_tokens for usage in known),
        sum(usage.completion_tokens for usage in known),
        calls=sum(usage.calls for usage in known),
        seconds=sum(usage.seconds for usage in known),
        cached=all(usage.cached for usage in known),
    )


def clipped(text: str, limit: int = 200) -> str:
    """``text`` on one line of at most ``limit`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
