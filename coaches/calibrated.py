"""A coach's scores on the scale of the outcomes that they predict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coaches.base import Verdict
from coaches.calibrate import ScoreMap
from coaches.judging.inner import RevisingCoach
from conf import ConfigError
from envs.types import Turn


class Calibrated(RevisingCoach):
    """Replaces another coach's score by ten times the outcome that the score predicts.

    The map is fitted beforehand on recorded episodes (``python -m coaches.calibrate``) and never changes. It
    is monotone: it keeps the order of two scores, though different ones may become equal. It belongs to the
    coach whose verdicts it was fitted on, known by their ``source``; at the first verdict of another coach
    the run stops with a ``ConfigError``.
    """

    @dataclass(frozen=True)
    class Config:
        coach: Any
        """The coach to calibrate: a coach node."""
        map: str | None
        """Path of the map. Required: null is an error."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` if the inner coach cannot be built or there is no map."""
        if config.map is None:
            raise ConfigError(
                "coach calibrated: no map; fit one with python -m coaches.calibrate and set coach.map=<path>"
            )
        self.config = config
        self.map = ScoreMap.read(Path(config.map))
        super().__init__(config.coach)

    def revise(self, verdict: Verdict, turn: Turn) -> Verdict:
        """Returns the calibrated verdict. Raises ``ConfigError`` if the map belongs to another coach."""
        if verdict.source != self.map.source:
            raise ConfigError(
                f"{self.config.map} was fitted on scores of {self.map.source!r} and cannot calibrate "
                f"those of {verdict.source!r}"
            )
        score = 10.0 * self.map.outcome(verdict.score)
        note = f" [calibrated: {verdict.score:.2f} -> {score:.2f}]"
        rationale = verdict.rationale + note
        return replace(verdict, score=score, rationale=rationale, source="calibrated", parts=(verdict,))
