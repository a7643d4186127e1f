"""Where a failed run of an unknown team went wrong, without roles, checks or a model: at its first action."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from coaches.base import Verdict
from conf.ranges import Score
from envs.actions.parsing import strip_thinking
from envs.types import Outcome, Turn

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SHOWN = 3
"""Numbers that a rationale names."""


class Origin:
    """Suspects the first action of a failed run, because what follows rests on it.

    An action is a turn with a program or a result; in a run without any, the turn of another agent than the
    one that opened it, as the answer to an instruction is. Talk, plans and instructions are less suspect, and
    so are later turns: they are more often consequences. A turn without a program that states a number which
    nothing before it shows is more suspect than its like.

    For diagnosis, not for training: after a success every turn scores 10, and after a failure the place of a
    turn counts more than what it did.
    """

    @dataclass(frozen=True)
    class Config:
        """Scores of the turns of a failed run, in [0, 10]."""

        first: Score
        """The first action."""
        action: Score
        """A later action."""
        talk: Score
        """Any other turn."""
        later: Score
        """What a turn at the end would have more than one at the start; in between, its share."""
        unsupported: Score
        """What a turn has less if it states a number that nothing before it shows."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """Returns one verdict per turn, in order. Never raises ``CoachError``."""
        if outcome.success:
            return [Verdict(10.0, "the run succeeded", source="origin") for _ in turns]
        acted = actions(turns)
        first = acted[0] if acted else min(1, len(turns) - 1)
        claimed = list(unsupported(turns))
        return [
            self._verdict(turn, place, len(turns), first, acted, claimed[place])
            for place, turn in enumerate(turns)
        ]

    def _verdict(
        self, turn: Turn, place: int, count: int, first: int, acted: Sequence[int], claimed: Sequence[str]
    ) -> Verdict:
        config = self.config
        if place == first:
            score, reason = config.first, "the first action of a run that failed: what follows rests on it"
        elif place in acted:
            score, reason = config.action, f"an action after turn {first + 1}, on which it rests"
        else:
            score, reason = config.talk, "no action"
        score += config.later * place / count
        if claimed:
            score -= config.unsupported
            reason += f"; states {', '.join(claimed[:_SHOWN])}, which nothing before it shows"
        blame = turn.agent if place == first else None
        return Verdict(min(10.0, max(0.0, score)), reason, blame, source="origin")


def actions(turns: Sequence[Turn]) -> list[int]:
    """Returns the places of the turns with a program or a result; in a run without any, of those of other
    agents than the first one's."""
    ran = [place for place, turn in enumerate(turns) if turn.code is not None or turn.result is not None]
    return ran or [place for place, turn in enumerate(turns) if turn.agent != turns[0].agent]


def unsupported(turns: Sequence[Turn]) -> Iterator[list[str]]:
    """Yields for each turn the numbers of two or more characters in its words that neither earlier turns and
    their output nor what it read shows; none for one with a program, which has constants."""
    shown: set[str] = set()
    for turn in turns:
        shown |= {number for message in turn.observation for number in _NUMBER.findall(message.content)}
        stated = _NUMBER.findall(strip_thinking(turn.action))
        new = dict.fromkeys(number for number in stated if len(number) > 1 and number not in shown)
        yield [] if turn.code is not None else list(new)
        shown |= set(_NUMBER.findall(turn.action))
        if turn.result is not None:
            shown |= set(_NUMBER.findall(turn.result.stdout + turn.result.stderr))
