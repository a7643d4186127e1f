"""What the study asks, and the training runs that answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conf import ConfigError

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
    "audit": ("coach=audit",),
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
    Question(
        "i", "Does a coach that looks into the files train a better team?", pairs=(("audit", REFERENCE),)
    ),
)

SIZES = {"small": "abh", "full": "".join(one.letter for one in QUESTIONS)}
"""Size of a study -> the letters of its questions."""


def questions(asked: str) -> list[Question]:
    """Returns the questions of a study: of a size (``small``, ``full``) or of letters (``ai``).

    Raises:
        ConfigError: a letter is of no question.
    """
    letters = SIZES.get(asked, asked)
    if not letters or set(letters) - set(SIZES["full"]):
        raise ConfigError(
            f"--study {asked}: expected {', '.join(SIZES)} or letters of questions, {QUESTIONS[0].letter} to "
            f"{QUESTIONS[-1].letter}"
        )
    return [one for one in QUESTIONS if one.letter in letters]


def arms(asked: Sequence[Question]) -> list[str]:
    """Returns the arms that answer the questions ``asked``, in the order in which they are trained."""
    needed = {arm for question in asked for arm in question.arms}
    return [arm for arm in ARMS if arm in needed]
