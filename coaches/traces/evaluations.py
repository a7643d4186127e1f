"""Verdicts as evaluations of OpenTelemetry's conventions: ``learners.traces.spans`` writes them, this reads
them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coaches.traces.spans import Event

EVALUATION = "gen_ai.evaluation.result"
_PART = "coachgym.verdict.part"


def verdict(events: Sequence[Event]) -> dict[str, Any] | None:
    """Returns the verdict of a turn of ours with its parts; None if it has none.

    A part after the last one with a verdict is lost: it has no event.
    """
    told = [one.attributes for one in events if one.name == EVALUATION]
    return _at("", {str(one.get(_PART, "")): one for one in told})


def _at(place: str, told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    if (given := told.get(place)) is None:
        return None
    start = f"{place}." if place else ""
    inner = [key.removeprefix(start) for key in told if key.startswith(start)]
    most = max((int(number) for number in inner if number.isdecimal() and len(number) < 4), default=-1)
    return {
        "score": given.get("gen_ai.evaluation.score.value"),
        "rationale": given.get("gen_ai.evaluation.explanation", ""),
        "blame": given.get("coachgym.verdict.blame"),
        "cost": given.get("coachgym.verdict.cost", 0.0),
        "source": given.get("gen_ai.evaluation.name", ""),
        "blocked": given.get("gen_ai.evaluation.score.label") == "blocked",
        "parts": [_at(f"{start}{number}", told) for number in range(most + 1)],
    }
