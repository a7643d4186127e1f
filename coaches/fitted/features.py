"""What ``coach=learned`` looks at, as numbers: the evidence of an episode and what its audits found.

None of them is read from what agents say: a text can change a number only as far as it changes a verdict of
``rules`` or a finding of an audit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coaches.audits.findings import Finding, first
from coaches.base import Verdict
from coaches.evidence import checks, lineage
from envs.types import Outcome, Turn

FEATURES: Mapping[str, str] = {
    "failed": "1 if the episode failed",
    "lost": "what the outcome's score lacks of 1",
    "doubted": "what the score of `rules` lacks of 10, as a share; 0.5 without a verdict",
    "accused": "1 if `rules` blames the agent of the turn for it",
    "blocked": "1 if `rules` finds that the turn failed on what arrived broken",
    "proven": "1 if the first finding with proof is about the turn",
    "proven again": "1 if a later finding with proof is about the turn",
    "after the proof": "1 if the first finding with proof is about an earlier turn",
    "before the proof": "1 if the first finding with proof is about a later turn",
    "suspected": "1 if nothing is proven, and the first doubtful finding is about the turn",
    "another suspected": "1 if nothing is proven, and the first doubtful finding is about another turn",
    "traced": "1 if there is no finding, and the failure is traced back to the turn",
    "traced elsewhere": "1 if there is no finding, and the failure is traced back to another turn",
    "error": "1 if the program of the turn ended with an error",
    "broken products": "share of the artifacts that the agent must leave and that are not in order",
    "broken inputs": "share of the artifacts that the agent must receive and that are not in order",
    "ends": "1 if the agent's part ends with the turn",
    "repaired": "1 if a later turn of the agent left all of its products in order, or ran without an error",
    "place": "place of the turn in the episode, from 0 to 1",
    "no files": "1 if the files of the episode could not be audited",
}
"""Name of a feature -> its meaning. Every value is in [0, 1]. The order is that of the columns."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """What is known of an episode."""

    turns: Sequence[Turn]
    outcome: Outcome
    verdicts: Sequence[Verdict | None]
    """Of ``rules``."""
    findings: Sequence[Finding]
    audited: bool
    """Whether its files were."""


def table(evidence: Evidence) -> Array:
    """Returns the features of every turn: [turns, features]."""
    findings = list(evidence.findings)
    proof, doubt = first(findings, "proof"), first(findings, "doubt")
    traced = None if findings else lineage.culprit(evidence.turns, evidence.outcome)
    suspect = doubt if proof is None else None
    common = {
        "failed": not evidence.outcome.success,
        "lost": 1.0 - evidence.outcome.score,
        "no files": not evidence.audited,
    }
    rows = []
    for turn, verdict in zip(evidence.turns, evidence.verdicts, strict=True):
        at = turn.index
        row: dict[str, float] = {
            **common,
            "proven": proof is not None and proof.turn == at,
            "proven again": any(
                one.strength == "proof" and one.turn == at > proof.turn for one in findings if proof
            ),
            "after the proof": proof is not None and proof.turn < at,
            "before the proof": proof is not None and proof.turn > at,
            "suspected": suspect is not None and suspect.turn == at,
            "another suspected": suspect is not None and suspect.turn != at,
            "traced": traced is not None and traced.turn == at,
            "traced elsewhere": traced is not None and traced.turn != at,
            **_judged(turn, verdict),
            **_own(evidence.turns, turn),
        }
        rows.append([float(row[name]) for name in FEATURES])
    return np.array(rows, np.float64).reshape(len(rows), len(FEATURES))


def _judged(turn: Turn, verdict: Verdict | None) -> dict[str, float]:
    if verdict is None:
        return {"doubted": 0.5, "accused": False, "blocked": False}
    return {
        "doubted": 1.0 - verdict.score / 10.0,
        "accused": verdict.blame == turn.agent,
        "blocked": verdict.blocked,
    }


def _own(turns: Sequence[Turn], turn: Turn) -> dict[str, float]:
    later = [one for one in turns[turn.index + 1 :] if one.agent == turn.agent]
    return {
        "error": turn.result is not None and turn.result.status != "ok",
        "broken products": _broken(checks.product_codes(turn)),
        "broken inputs": _broken(checks.input_codes(turn)),
        "ends": turn.last,
        "repaired": any(map(_in_order, later)),
        "place": turn.index / max(1, len(turns) - 1),
    }


def _broken(codes: Mapping[str, str]) -> float:
    return sum(code != "ok" for code in codes.values()) / max(1, len(codes))


def _in_order(turn: Turn) -> bool:
    if turn.role.produces:
        return _broken(checks.product_codes(turn)) == 0.0
    return turn.result is not None and turn.result.status == "ok"
