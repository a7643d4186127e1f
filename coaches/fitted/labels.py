"""Which turn of a recorded episode is at fault, by what replacing its action changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coaches.base import Verdict
from coaches.episodes import RecordedEpisode
from coaches.recording.fields import BadRowError, get

_SOURCE = "counterfactual"


def faults(row: Mapping[str, Any], episode: RecordedEpisode) -> list[bool] | None:
    """Returns for every turn whether it is at fault; None if the episode does not tell.

    A row with the key ``fault`` tells it itself: null, or an object with ``turn``, whose action is all that
    makes the episode differ from a sound one. Otherwise verdicts of ``coach=counterfactual`` tell it: the
    turn whose replacement changed the outcome most, if its agent is blamed.

    Raises:
        BadRowError: ``fault`` is no such thing.
    """
    turns = len(episode.turns)
    if "fault" in row:
        fault = get(row, "fault", (dict, type(None)), None)
        at = None if fault is None else get(fault, "turn", int)
        if at is not None and not 0 <= at < turns:
            raise BadRowError(f"fault: turn must be from 0 to {turns - 1}, not {at}")
        return [place == at for place in range(turns)]
    measured = [one for one in episode.verdicts if one is not None and one.source == _SOURCE]
    if not measured:
        return None
    worst = min(one.score for one in measured)
    at = next((place for place in range(turns) if _is(episode, place, worst)), None)
    return [place == at for place in range(turns)]


def _is(episode: RecordedEpisode, place: int, worst: float) -> bool:
    verdict: Verdict | None = episode.verdicts[place]
    return verdict is not None and verdict.score == worst and verdict.blame == episode.turns[place].agent
