"""A coach whose weights are fitted: how likely each turn is at fault, given the evidence and the audits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from coaches.audit import Audit
from coaches.base import Unit, Verdict
from coaches.fitted import features
from coaches.fitted.features import FEATURES, Array, Evidence
from coaches.fitted.model import SHIPPED, FaultModel
from coaches.judging.inner import build, check_ready
from coaches.judging.verdicts import judge_episode, total_cost
from conf import ConfigError
from conf.ranges import Range
from envs.types import Outcome, Turn

_SHOWN = 3
"""Features that a rationale names."""


class Learned:
    """Scores each turn of a finished episode by ten times the probability that it is not at fault.

    The probability is that of a calibrated logistic model (``python -m coaches.fit``) of the features in
    ``coaches.fitted.features``, which come from an ``audit`` coach and the coach within it. The most likely
    turn is blamed if its probability is at least ``blame``. The weights never change during a run.
    """

    judges: Unit = "episodes"

    @dataclass(frozen=True)
    class Config:
        path: str | None
        """The fitted model; null: the one that ships."""
        blame: Annotated[float, Range(least=0, most=1)]
        """Least probability of fault at which a turn is blamed."""
        audit: Any
        """The node of the ``audit`` coach that finds the evidence, as when the model was fitted."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` if there is no model with these features, or ``audit`` is no such coach."""
        self.config = config
        self.model = FaultModel.read(SHIPPED if config.path is None else Path(config.path))
        self.audit = auditor(config.audit)

    @property
    def inner(self) -> Sequence[object]:
        """The coach that audits."""
        return (self.audit,)

    def check_ready(self) -> None:
        """Lets the audits check what they need; raises as ``DependentPart.check_ready``."""
        check_ready(self.audit)

    def close(self) -> None:
        """Ends the sandboxes of the audits."""
        self.audit.close()

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """Returns one verdict per turn. Raises ``AuditSandboxError`` as ``Audit`` does."""
        evidence = gather(self.audit, turns, outcome)
        rows = features.table(evidence)
        likely, parts = self.model.probabilities(rows), self.model.parts(rows)
        top = int(np.argmax(likely))
        culprit = top if likely[top] >= self.config.blame else None
        return [
            self._verdict(turn, evidence, float(likely[place]), parts[place], culprit == place)
            for place, turn in enumerate(turns)
        ]

    def _verdict(self, turn: Turn, evidence: Evidence, likely: float, parts: Array, blamed: bool) -> Verdict:
        strongest = sorted(zip(FEATURES, parts, strict=True), key=lambda pair: -abs(pair[1]))[:_SHOWN]
        reason = f"probability of fault {likely:.2f}: "
        reason += ", ".join(f"{name} {part:+.1f}" for name, part in strongest)
        own = [one for one in evidence.findings if one.turn == turn.index]
        reason = "; ".join([reason, *(f"{one.audit}: {one.text}" for one in own)])
        inner = evidence.verdicts[turn.index]
        return Verdict(
            10.0 * (1.0 - likely),
            reason,
            turn.agent if blamed else None,
            total_cost([inner]),
            "learned",
            None if inner is None else inner.usage,
            blocked=inner is not None and inner.blocked and not own,
            parts=(inner,),
        )


def auditor(node: Any) -> Audit:
    """Returns the coach of an ``audit`` node. Raises ``ConfigError`` if it is another coach."""
    coach = build(node)
    if not isinstance(coach, Audit):
        raise ConfigError(f"coach learned: audit must be an audit coach, not {node['name']!r}")
    return coach


def gather(audit: Audit, turns: Sequence[Turn], outcome: Outcome) -> Evidence:
    """Returns what the audits and the coach within them find in an episode."""
    verdicts = [one.verdict for one in judge_episode(audit.coach, turns, outcome, threads=1)]
    findings, note = audit.findings(turns, outcome)
    return Evidence(turns, outcome, verdicts, findings, audited=not note)
