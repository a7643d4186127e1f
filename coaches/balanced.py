"""A coach's scores without what it gives to a kind of task, a role or a length for its own sake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from coaches.base import Coach, HindsightCoach, Unit, Verdict, judges_turns
from coaches.bias import effects
from coaches.bias.effects import Fit, Ledger
from coaches.inner import build
from coaches.judging import learning
from coaches.judging.learning import JudgedEpisode
from conf import ConfigError
from envs.types import Outcome, Turn

Offsets = Mapping[tuple[str, str], float]
"""(factor, level) -> points to take away."""


class Balanced:
    """Takes from another coach's scores the offsets that outcomes do not explain (``coaches.bias.effects``).

    In MAPPA (arXiv 2601.23228) the coach scored regression above classification, and the agents drifted
    there. Here the scores of every finished step enter a ledger, and the next step's are corrected by what
    the ledger proves: an effect counts where it stands out against ``confidence``, over all the effects
    looked at together, and then less its doubt (``Effect.shrunk``). Until then, and for a coach without a
    bias, scores pass as they are. Corrected scores are clipped to [0, 10].

    The ledger holds the inner coach's own scores, so a correction never feeds on itself. The first step is
    never corrected, and neither is a run without learning (an evaluation, ``coaches.score``). Blame, cost and
    usage are the inner coach's, its verdict is ``parts[0]``.
    """

    judges: Unit
    """As the inner coach does."""

    @dataclass(frozen=True)
    class Config:
        coach: Any
        """The coach to be corrected: a coach node."""
        factors: list[str]
        """What is corrected, of ``kind``, ``role`` and ``length``; all are accounted for in any case."""
        confidence: float
        """That no effect is removed which is not there."""
        half_life: float | None
        """Steps after which a score counts half, so that a coach may change; null: never."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` when the inner coach cannot be built or a setting is out of range."""
        if unknown := set(config.factors) - set(effects.FACTORS):
            raise ConfigError(
                f"coach balanced: no factor {unknown.pop()!r}; there are {', '.join(effects.FACTORS)}"
            )
        if not 0.5 <= config.confidence < 1.0:
            raise ConfigError("coach balanced: confidence lies in [0.5, 1)")
        if config.half_life is not None and config.half_life <= 0.0:
            raise ConfigError("coach balanced: half_life is a positive number of steps, or null")
        self.config = config
        self.coach = build(config.coach)
        self._ledger = Ledger()
        self._offsets: Offsets = {}
        self.judges = "turns" if judges_turns(self.coach) else "episodes"

    @property
    def offsets(self) -> Offsets:
        """What is taken away at present, in points."""
        return dict(self._offsets)

    def learn(self, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        """Takes in a step. Logs the offsets that the step was scored with, what they moved a score by on
        average (``removed``), and how many scores they would have moved out of [0, 10] (``clipped``)."""
        inner = [episode.part(0) for episode in episodes]
        row = self._account(inner) | learning.learn(self.coach, inner)
        if self.config.half_life is not None:
            self._ledger.fade(0.5 ** (1.0 / self.config.half_life))
        self._ledger.add(effects.samples(inner))
        self._offsets = offsets(self._ledger, self.config)
        return row

    def state(self) -> dict[str, Any]:
        return {"ledger": self._ledger.state(), "coach": learning.state(self.coach)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._ledger = Ledger.read(state["ledger"])
        self._offsets = offsets(self._ledger, self.config)
        learning.restore(self.coach, state["coach"])

    def judge(self, history: Sequence[Turn]) -> Verdict:
        return self._corrected(cast(Coach, self.coach).judge(history), history[-1])

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        verdicts = cast(HindsightCoach, self.coach).judge_episode(turns, outcome)
        return [
            None if verdict is None else self._corrected(verdict, turn)
            for verdict, turn in zip(verdicts, turns, strict=True)
        ]

    def _corrected(self, verdict: Verdict, turn: Turn) -> Verdict:
        due = self._due(turn)
        score = min(10.0, max(0.0, verdict.score - sum(due.values())))
        said = ", ".join(f"{points:+.2f} for {level}" for level, points in due.items())
        note = f" [balanced: {verdict.score:.2f} had {said}]" if due else ""
        return replace(
            verdict,
            score=score,
            rationale=verdict.rationale + note,
            source="balanced",
            parts=(verdict,),
        )

    def _due(self, turn: Turn) -> dict[str, float]:
        """What is to be taken from the turn's score, by level."""
        found = zip(effects.FACTORS, effects.levels(turn), strict=True)
        return {f"{key[0]} {key[1]}": self._offsets[key] for key in found if self._offsets.get(key)}

    def _account(self, inner: Sequence[JudgedEpisode]) -> dict[str, float]:
        row = {f"balanced/{factor}/{level}": points for (factor, level), points in self._offsets.items()}
        moves, clipped = [], 0
        for episode in inner:
            for turn, verdict in zip(episode.turns, episode.verdicts, strict=True):
                if verdict is not None:
                    wanted = verdict.score - sum(self._due(turn).values())
                    clipped += not 0.0 <= wanted <= 10.0
                    moves.append(abs(min(10.0, max(0.0, wanted)) - verdict.score))
        removed = sum(sorted(moves)) / len(moves) if moves else 0.0
        return row | {"balanced/removed": removed, "balanced/clipped": float(clipped)}


def offsets(ledger: Ledger, config: Balanced.Config) -> Offsets:
    """What the ledger proves, shrunk by its doubt: 0 for every level whose effect could be chance."""
    fit = Fit(ledger)
    found = {
        (factor, level): effect
        for factor in config.factors
        for level, effect in fit.effects(factor, confidence=config.confidence).items()
    }
    tests = len(found) - len({factor for factor, _ in found})  # the last of a factor follows from the others
    bar = effects.bar(fit, tests, config.confidence)
    return {key: effect.shrunk(bar) for key, effect in found.items()}
