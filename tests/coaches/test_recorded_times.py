"""Times of play in recorded episodes."""

from __future__ import annotations

from typing import Any

import pytest

from coaches import episodes
from coaches.recording import times
from coaches.recording.times import Times, TurnTimes

ONE = {"began": 0, "acted": 1.5, "ended": 1.5}


def row(*moments: Any, **keys: Any) -> dict[str, Any]:
    turns = [{"agent": "a", "action": "x", "times": one} for one in moments]
    return {"turns": turns, "started": 7.0, **keys}


def test_times_are_read_and_rounded_when_they_are_written() -> None:
    read = episodes.episode(row(ONE, {"began": 1.50001, "acted": 2, "ended": 3})).times
    assert read == Times(7.0, (TurnTimes(0.0, 1.5, 1.5), TurnTimes(1.50001, 2.0, 3.0)))
    whole, of_turns = times.written(read)
    assert whole == {"started": 7.0}
    assert of_turns[1] == {"times": {"began": 1.5, "acted": 2.0, "ended": 3.0}}


def test_a_recording_without_times_or_with_some_alone_has_none() -> None:
    assert episodes.episode(row(ONE, None)).times is None
    assert episodes.episode(row(ONE, started=None)).times is None
    old = {"turns": [{"agent": "a", "action": "x"}]}
    assert episodes.episode(old).times is None


@pytest.mark.parametrize(
    ("moments", "complaint"),
    [
        ("soon", r"times must be dict, not str"),
        ({"began": 0, "acted": 1}, r"turns\[0\]: times: ended is missing"),
        ({**ONE, "acted": True}, r"turns\[0\]: times: acted must be int or float, not bool"),
        ({**ONE, "began": -1}, r"turns\[0\]: times must be in order from 0 on"),
        ({**ONE, "acted": float("nan")}, r"turns\[0\]: times must be in order"),
        ({**ONE, "ended": 10**400}, r"turns\[0\]: times: ended is too large"),
    ],
)
def test_times_that_cannot_be_are_named(moments: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        episodes.episode(row(moments))


@pytest.mark.parametrize("started", [float("inf"), float("nan"), -1, 1e300])
def test_a_start_that_cannot_be_is_named(started: float) -> None:
    with pytest.raises(ValueError, match="started must be in seconds since 1970, not"):
        episodes.episode(row(ONE, started=started))
