"""``tokens.jsonl``: of each sampled token, how likely it was and what the update made of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from learners.run import files
from learners.run.folder import RunFolder
from learners.types import TokenTerms, TokenTexts, Transition

DECIMALS = 4
"""Of log-probabilities: the error of a probability is at most 0.005 % of it."""
DIGITS = 5
"""Significant ones, of ratios, weights and advantages."""


@dataclass(frozen=True)
class TokenRow:
    """One action of a policy that learns, token by token."""

    transition: Transition
    texts: TokenTexts
    advantages: Sequence[float] | None
    """[L]; None: the row was not trained on."""
    terms: TokenTerms | None
    """None: as above."""


class TokenLog:
    """Writes ``tokens.jsonl``, one line for each turn.

    Args:
        which: ``all`` episodes, or ``sample``, the first of each task in every step.
    """

    def __init__(self, folder: RunFolder, which: str) -> None:
        self._path = folder.path / "tokens.jsonl"
        self._which = which

    def wanted(self, transitions: Sequence[Transition]) -> set[str]:
        """Returns the ids of the episodes of a step whose tokens are recorded."""
        first: dict[str, str] = {}
        for one in transitions:
            first.setdefault(one.turn.task_id if self._which == "sample" else one.episode, one.episode)
        return set(first.values())

    def write(self, step: int, rows: Sequence[TokenRow]) -> None:
        """Appends the rows of a step; those without a token are left out. What cannot be written is a
        ``TrainingError``."""
        lines = [
            json.dumps(token_row(step, row), ensure_ascii=False, separators=(",", ":")) + "\n"
            for row in rows
            if row.transition.completion.token_ids
        ]
        with files.writing(self._path):
            files.append(self._path, "".join(lines))


def token_row(step: int, row: TokenRow) -> dict[str, Any]:
    """Returns a line of the file. A number in place of a list is that of every token.

    ``marks`` names metrics of the update, and the places of the tokens that each counts.
    """
    completion, terms = row.transition.completion, row.terms
    reference = row.transition.ref_logprobs
    return {
        "step": step,
        "episode": row.transition.episode,
        "turn": row.transition.turn.index,
        "agent": row.transition.turn.agent,
        "ids": list(completion.token_ids),
        "text": list(row.texts.pieces),
        "names": {str(place): name for place, name in row.texts.names.items()},
        "logprob": _logprobs(completion.logprobs),
        "update_logprob": None if terms is None else _logprobs(terms.logprobs),
        "reference_logprob": None if reference is None else _logprobs(reference),
        "ratio": None if terms is None else _short(terms.ratio),
        "importance": None if terms is None else _short(terms.importance),
        "marks": {} if terms is None else {name: list(at) for name, at in terms.marks.items() if at},
        "advantage": None if row.advantages is None else _short(row.advantages),
    }


def _logprobs(values: Sequence[float]) -> list[float]:
    return [round(value, DECIMALS) + 0.0 for value in values]  # + 0.0: never -0.0


def _short(values: Sequence[float]) -> float | list[float]:
    """Returns the values, or one of them if all are equal."""
    rounded = [float(f"{value:.{DIGITS}g}") + 0.0 for value in values]
    return rounded[0] if len(set(rounded)) == 1 else rounded
