"""What the study asks, and the training runs that answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

REFERENCE = "reference"
"""The default run."""

ARMS: dict[str, tuple[str, ...]] = {
    REFERENCE: (),
    "outcome": ("coach=outcome",),
    "biased": ("coach=biased",),
    "biased-balanced": ("coach=balanced", "coach.coach={name: biased}"),
    "lr-zero": ("model.optimizer.lr=0",),
    "baseline": ("algorithm=reinforcepp_baseline",),
    "grpo": ("algorithm=grpo",),
    "rloo": ("algorithm=rloo",),
    "credit-agent": ("algorithm.credit=agent",),
    "credit-team": ("algorithm.credit=team",),
    "baseline-credit-agent": ("algorithm=reinforcepp_baseline", "algorithm.credit=agent"),
    "baseline-credit-team": ("algorithm=reinforcepp_baseline", "algorithm.credit=team"),
    "shared": ("policies=shared",),
    "weak-alone": ("learn=[data_engineer]",),
    "previous": ("env.context=previous",),
}
"""Arm -> the settings in which it differs from the default run, in the order in which arms are trained."""


@dataclass(frozen=True)
class Question:
    """Arms that are shown in one table and one plot, and the pairs of them that are compared.

    >>> QUESTIONS[0].arms
    ('reference', 'outcome')
    """

    letter: str
    text: str
    pairs: tuple[tuple[str, str], ...]
    """(arm, the arm that is subtracted from it)."""
    by_kind: bool = False
    """Whether classification and regression are compared as well."""

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms of the pairs, those that are subtracted first."""
        return tuple(dict.fromkeys([*(base for _, base in self.pairs), *(arm for arm, _ in self.pairs)]))


QUESTIONS: tuple[Question, ...] = (
    Question("a", "Do process rewards beat the sparse outcome?", pairs=(("outcome", REFERENCE),)),
    Question(
        "b",
        "Does a team drift towards regression if its coach gives it 1.5 points more, and does balanced help?",
        pairs=(("biased", REFERENCE), ("biased-balanced", REFERENCE), ("biased-balanced", "biased")),
        by_kind=True,
    ),
    Question(
        "c",
        "Whose later scores should an action be credited with?",
        pairs=(
            ("credit-agent", REFERENCE),
            ("credit-team", REFERENCE),
            ("baseline-credit-agent", "baseline"),
            ("baseline-credit-team", "baseline"),
        ),
    ),
    Question(
        "d",
        "REINFORCE++, its baseline variant, GRPO or RLOO?",
        pairs=(("baseline", REFERENCE), ("grpo", REFERENCE), ("rloo", REFERENCE)),
    ),
    Question("e", "One policy for each agent, or one for all?", pairs=(("shared", REFERENCE),)),
    Question("f", "Do agents need what came before their predecessor?", pairs=(("previous", REFERENCE),)),
    Question(
        "g",
        "Does it suffice to train the agent that breaks most episodes?",
        pairs=(("weak-alone", REFERENCE), ("weak-alone", "lr-zero")),
    ),
    Question("h", "Does anything change without learning?", pairs=(("lr-zero", REFERENCE),)),
)

SMALL = "abh"
"""Letters of the questions of ``--study small``. Its runs are runs of the whole study, too."""


def questions(size: str) -> list[Question]:
    """Returns the questions of a study of the size ``small`` or ``full``."""
    return [one for one in QUESTIONS if size == "full" or one.letter in SMALL]


def arms(asked: Sequence[Question]) -> list[str]:
    """Returns the arms that answer the questions ``asked``, in the order in which they are trained."""
    needed = {arm for question in asked for arm in question.arms}
    return [arm for arm in ARMS if arm in needed]
