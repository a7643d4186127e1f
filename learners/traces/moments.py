"""When the spans of an episode began and ended, in nanoseconds since 1970."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coaches.episodes import RecordedEpisode
from coaches.recording.times import Times, TurnTimes
from envs.types import Turn


@dataclass(frozen=True)
class Moments:
    """Of one turn."""

    began: int
    acted: int
    ran: int
    """Its program had ended."""
    ended: int


@dataclass(frozen=True)
class Schedule:
    """Of an episode."""

    started: int
    turns: tuple[Moments, ...]
    ended: int
    estimated: bool
    """The recording has no times: turns are laid end to end, as long as their programs ran."""


def schedule(episode: RecordedEpisode, recorded: float) -> Schedule:
    """Returns the moments of an episode; one without times began ``recorded`` seconds after 1970."""
    times = episode.times or _estimated(episode.turns, recorded)
    start = round(times.started * 1e9)
    turns = tuple(_moments(start, one, turn) for one, turn in zip(times.turns, episode.turns, strict=True))
    ended = max((one.ended for one in turns), default=start)
    return Schedule(start, turns, ended, episode.times is None)


def _estimated(turns: Sequence[Turn], recorded: float) -> Times:
    now, made = 0.0, []
    for turn in turns:
        made.append(TurnTimes(now, now, now := now + _ran(turn)))
    return Times(recorded, tuple(made))


def _moments(start: int, times: TurnTimes, turn: Turn) -> Moments:
    began, acted, ended = (start + round(value * 1e9) for value in vars(times).values())
    return Moments(began, acted, min(ended, acted + round(_ran(turn) * 1e9)), ended)


def _ran(turn: Turn) -> float:
    """How long the program of a turn ran, in seconds; a recording may say anything."""
    seconds = 0.0 if turn.result is None else turn.result.wall_s
    return seconds if 0.0 <= seconds < 1e6 else 0.0
