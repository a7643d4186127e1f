"""Signals of an outcome survive being recorded."""

from __future__ import annotations

import pytest

from coaches.episodes import _outcome
from coaches.recording.fields import BadRowError
from envs.types import Outcome


def test_signals_are_read_back_from_recorded_episodes() -> None:
    outcome = {"success": True, "score": 1.0, "failure_code": "ok", "metrics": {}}
    assert _outcome({"outcome": outcome}) == Outcome(True, 1.0, {"fair": 1.0}, "ok")
    assert _outcome({"outcome": outcome | {"signals": {"perfect": "rmse is 0"}}}) == Outcome(
        True, 1.0, {"fair": 1.0}, "ok", {"perfect": "rmse is 0"}
    )
    with pytest.raises(BadRowError):
        _outcome({"outcome": outcome | {"signals": {"perfect": 3}}})
