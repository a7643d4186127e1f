"""A coach's scores, on the scale of what they foretell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from coaches.base import Coach, HindsightCoach, Unit, Verdict, judges_turns
from coaches.calibrate import ScoreMap
from coaches.inner import build
from coaches.judging import learning
from coaches.judging.learning import JudgedEpisode
from conf import ConfigError
from envs.types import Outcome, Turn


class Calibrated:
    """Replaces another coach's score by ten times the outcome that such a score foretells.

    The map is fitted beforehand on recorded episodes (``python -m coaches.calibrate``) and never changes: it
    is monotone, so the order of two scores is kept, though different ones may become equal. It belongs to the
    coach whose verdicts it was fitted on, by their ``source``; at the first verdict of another the run stops.
    The inner coach's verdict is ``parts[0]``.
    """

    judges: Unit
    """As the inner coach does."""

    @dataclass(frozen=True)
    class Config:
        coach: Any
        """The coach to be calibrated: a coach node."""
        map: str | None
        """Path of the map; there is no default."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` when the inner coach cannot be built or there is no map."""
        if config.map is None:
            raise ConfigError(
                "coach calibrated: no map; fit one with python -m coaches.calibrate and name it in coach.map"
            )
        self.config = config
        self.map = ScoreMap.read(Path(config.map))
        self.coach = build(config.coach)
        self.judges = "turns" if judges_turns(self.coach) else "episodes"

    def learn(self, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        """Lets the inner coach learn from its own verdicts."""
        return learning.learn(self.coach, [episode.part(0) for episode in episodes])

    def state(self) -> dict[str, Any]:
        return learning.state(self.coach)

    def restore(self, state: Mapping[str, Any]) -> None:
        learning.restore(self.coach, state)

    def judge(self, history: Sequence[Turn]) -> Verdict:
        return self._mapped(cast(Coach, self.coach).judge(history))

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        verdicts = cast(HindsightCoach, self.coach).judge_episode(turns, outcome)
        return [None if verdict is None else self._mapped(verdict) for verdict in verdicts]

    def _mapped(self, verdict: Verdict) -> Verdict:
        if verdict.source != self.map.source:
            raise ConfigError(
                f"{self.config.map} was fitted on {self.map.source!r} and means nothing for the scores of "
                f"{verdict.source!r}"
            )
        score = 10.0 * self.map.outcome(verdict.score)
        note = f" [calibrated: {verdict.score:.2f} -> {score:.2f}]"
        rationale = verdict.rationale + note
        return replace(verdict, score=score, rationale=rationale, source="calibrated", parts=(verdict,))
