"""A coach's scores without what it gives to a kind of task, a role or a length regardless of the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from coaches.base import Verdict
from coaches.bias import effects
from coaches.bias.effects import Fit, Moments
from coaches.judging import learning
from coaches.judging.inner import RevisingCoach
from coaches.judging.learning import JudgedEpisode
from conf import ConfigError
from conf.ranges import Positive, Range
from envs.types import Turn

Offsets = Mapping[tuple[str, str], float]
"""(factor, level) -> points to subtract."""


class Balanced(RevisingCoach):
    """Subtracts from another coach's scores the offsets that outcomes do not explain
    (``coaches.bias.effects``).

    In MAPPA (arXiv 2601.23228) the coach scored regression above classification, and the agents drifted
    towards it. Here the scores of every finished step are added to running sums, and the scores of the next
    step are corrected by what these sums prove: an effect counts if it is significant at ``confidence``,
    corrected for the number of effects tested, and is then shrunk by its uncertainty (``Effect.shrunk``).
    Until then, and for an unbiased coach, scores pass unchanged. Corrected scores are clipped to [0, 10].

    The sums are of the inner coach's own scores, so a correction never feeds back on itself. The first step
    is never corrected, and neither is a run without learning (an evaluation, ``coaches.score``). Blame, cost
    and usage are those of the inner coach, whose verdict is ``parts[0]``.
    """

    @dataclass(frozen=True)
    class Config:
        coach: Any
        """The coach to correct: a coach node."""
        factors: list[str]
        """What is corrected: any of ``kind``, ``role`` and ``length``. All three are always in the
        regression."""
        confidence: Annotated[float, Range(above=0, below=1)]
        """Confidence required before an effect is corrected, in [0.5, 1)."""
        half_life: Positive | None
        """Steps after which a score counts half, so that the estimates follow a coach that changes; null:
        never."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` if the inner coach cannot be built or a setting is out of range."""
        if unknown := set(config.factors) - set(effects.FACTORS):
            raise ConfigError(
                f"coach balanced: unknown factor {unknown.pop()!r}; there are {', '.join(effects.FACTORS)}"
            )
        if not 0.5 <= config.confidence < 1.0:
            raise ConfigError("coach balanced: confidence must be in [0.5, 1)")
        if config.half_life is not None and config.half_life <= 0.0:
            raise ConfigError("coach balanced: half_life must be a positive number of steps, or null")
        super().__init__(config.coach)
        self.config = config
        self._moments = Moments()
        self._offsets: Offsets = {}

    @property
    def offsets(self) -> Offsets:
        """What is subtracted at present, in points."""
        return dict(self._offsets)

    def learn(self, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        """Adds a step's scores and updates the offsets.

        Returns the offsets that the step was scored with, the mean absolute correction (``removed``), and the
        number of scores that the correction would have moved out of [0, 10] (``clipped``).
        """
        inner = [episode.part(0) for episode in episodes]
        metrics = self._metrics(inner) | learning.learn(self.coach, inner)
        if self.config.half_life is not None:
            self._moments.fade(0.5 ** (1.0 / self.config.half_life))
        self._moments.add(effects.samples(inner))
        self._offsets = offsets(self._moments, self.config)
        return metrics

    def state(self) -> dict[str, Any]:
        """Returns the sums and what the inner coach has learned."""
        return {"moments": self._moments.state(), "coach": learning.state(self.coach)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state`` returned."""
        self._moments = Moments.read(state["moments"])
        self._offsets = offsets(self._moments, self.config)
        learning.restore(self.coach, state["coach"])

    def revise(self, verdict: Verdict, turn: Turn) -> Verdict:
        """Returns the verdict with the offsets of the turn's levels subtracted."""
        due = self._due(turn)
        score = min(10.0, max(0.0, verdict.score - sum(due.values())))
        listed = ", ".join(f"{points:+.2f} for {level}" for level, points in due.items())
        note = f" [balanced: {verdict.score:.2f} included {listed}]" if due else ""
        return replace(
            verdict,
            score=score,
            rationale=verdict.rationale + note,
            source="balanced",
            parts=(verdict,),
        )

    def _due(self, turn: Turn) -> dict[str, float]:
        """Returns what to subtract from the turn's score, by level."""
        keys = zip(effects.FACTORS, effects.levels(turn), strict=True)
        return {f"{key[0]} {key[1]}": self._offsets[key] for key in keys if self._offsets.get(key)}

    def _metrics(self, inner: Sequence[JudgedEpisode]) -> dict[str, float]:
        metrics = {f"balanced/{factor}/{level}": points for (factor, level), points in self._offsets.items()}
        moves, clipped = [], 0
        for episode in inner:
            for turn, verdict in zip(episode.turns, episode.verdicts, strict=True):
                if verdict is not None:
                    corrected = verdict.score - sum(self._due(turn).values())
                    clipped += not 0.0 <= corrected <= 10.0
                    moves.append(abs(min(10.0, max(0.0, corrected)) - verdict.score))
        removed = sum(sorted(moves)) / len(moves) if moves else 0.0
        return metrics | {"balanced/removed": removed, "balanced/clipped": float(clipped)}


def offsets(moments: Moments, config: Balanced.Config) -> Offsets:
    """Returns the significant effects, shrunk by their uncertainty; 0 for every level whose effect could be
    chance."""
    fit = Fit(moments)
    estimates = {
        (factor, level): effect
        for factor in config.factors
        for level, effect in fit.effects(factor, confidence=config.confidence).items()
    }
    # The last level of a factor follows from the others, so it is not a test of its own.
    tests = len(estimates) - len({factor for factor, _ in estimates})
    threshold = effects.significance_threshold(fit, tests, config.confidence)
    return {key: effect.shrunk(threshold) for key, effect in estimates.items()}
