"""The scripted team of the corpus: it solves table and mathematics tasks soundly, from what it reads.

Every action is a function of the messages and a seed, so an agent reacts when its input changes. It
follows what its colleagues say, as it stands; it repairs its own slips and nobody else's faults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.corpus import tables, words
from benchmarks.corpus.styles import STYLES, Manner
from conf import ConfigError
from envs.types import Message

Player = Callable[[Sequence[Message], Manner], str]

_PLAYERS: Mapping[str, Player] = {
    "data_engineer": tables.data_engineer,
    "modeler": tables.modeler,
    "analyst": tables.analyst,
    "problem_solver": words.problem_solver,
    "code_executor": words.code_executor,
    "verifier": words.verifier,
}


class Team:
    """Plays every role of DSBench and MathChat on the tasks that ship with us."""

    @dataclass(frozen=True)
    class Config:
        style: str | None = None
        """One of ``styles.STYLES``; null: the seed says which."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` for a style that is not there."""
        if config.style is not None and config.style not in STYLES:
            raise ConfigError(f"the team's style is one of {', '.join(STYLES)}, not {config.style!r}")
        self.config = config

    def act(self, agent: str, messages: Sequence[Message], seed: int) -> str:
        """What ``agent`` writes, having read ``messages``. Same messages and seed, same action.

        Raises:
            KeyError: there is no such role.
            ValueError: a task that it cannot read.
        """
        return _PLAYERS[agent](messages, Manner.of(seed, self.config.style))
