"""When the turns of a recorded episode were played. Nothing that a run computes depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coaches.recording.fields import BadRowError, Row, get, number

_DIGITS = 4
"""Of a second, in files: a tenth of a millisecond."""
_LATEST = 1e10
"""Seconds: later moments have no place in the nanoseconds that traces count."""


@dataclass(frozen=True)
class TurnTimes:
    """Three moments of a turn, in seconds since the episode's start.

    >>> times = TurnTimes(began=0.02, acted=1.31, ended=2.04)   # sampled for 1.29 s, then a program ran
    """

    began: float
    """The agent was asked for its action. Waiting for a batch to be complete counts as sampling."""
    acted: float
    """Its action had been read."""
    ended: float
    """The environment had taken the action: its program had run, and the coach had judged it unless it judges
    later."""


@dataclass(frozen=True)
class Times:
    """When an episode was played."""

    started: float
    """Seconds since 1970, by the clock of the machine that played it."""
    turns: tuple[TurnTimes, ...]


def written(times: Times) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the keys that the row of an episode gets, and those that each of its turns gets."""
    turns = [
        {"times": {key: round(value, _DIGITS) for key, value in vars(one).items()}} for one in times.turns
    ]
    return {"started": round(times.started, _DIGITS)}, turns


def read(row: Row, turns: Sequence[Row]) -> Times | None:
    """Returns the times of an episode; None if it, or a turn of it, has none.

    Raises:
        BadRowError: they are no times, or not in order.
    """
    if row.get("started") is None or any(turn.get("times") is None for turn in turns):
        return None
    started = number(row, "started")
    if not 0.0 <= started < _LATEST:
        raise BadRowError(f"started must be in seconds since 1970, not {started}")
    return Times(started, tuple(_turn(turn, place) for place, turn in enumerate(turns)))


def _turn(turn: Row, place: int) -> TurnTimes:
    given = get(turn, "times", dict)
    try:
        times = TurnTimes(number(given, "began"), number(given, "acted"), number(given, "ended"))
    except BadRowError as error:
        raise BadRowError(f"turns[{place}]: times: {error}") from None
    if not 0.0 <= times.began <= times.acted <= times.ended < _LATEST:
        raise BadRowError(f"turns[{place}]: times must be in order from 0 on: began, acted, ended")
    return times
