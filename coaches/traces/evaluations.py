"""Verdicts as evaluations of OpenTelemetry's conventions: the attributes of their events, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coaches.base import Verdict
from coaches.traces import texts
from coaches.traces.spans import Event

EVALUATION = "gen_ai.evaluation.result"
PASS = 5.0
"""A verdict's label is ``pass`` from this score on, and ``fail`` below it; ``blocked`` says that it is."""
PART = "coachgym.verdict.part"
"""The place of a part in its verdict, and "" of the verdict itself. Evaluations of others have none."""


def attributes(verdict: Verdict, place: str = "") -> Iterator[dict[str, Any]]:
    """Yields the evaluation of a turn, and then those that its parts gave; None stands for no attribute."""
    label = "blocked" if verdict.blocked else "pass" if verdict.score >= PASS else "fail"
    yield {
        "gen_ai.evaluation.name": texts.plain(verdict.source) or "coach",
        "gen_ai.evaluation.score.value": float(verdict.score),
        "gen_ai.evaluation.score.label": label,
        "gen_ai.evaluation.explanation": texts.plain(verdict.rationale),
        "coachgym.verdict.blame": None if verdict.blame is None else texts.plain(verdict.blame),
        "coachgym.verdict.cost": verdict.cost or None,
        PART: place,
    }
    for number, part in enumerate(verdict.parts):
        if part is not None:
            yield from attributes(part, f"{place}.{number}".lstrip("."))


def verdict(events: Sequence[Event]) -> dict[str, Any] | None:
    """Returns the verdict that the events of a turn have by ``attributes``, with its parts, or else None.

    A part after the last one with a verdict is lost: it has no event.
    """
    told = [one.attributes for one in events if one.name == EVALUATION]
    return _at("", {str(one.get(PART, "")): one for one in told})


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
