"""The scripted team of the corpus, which solves table and mathematics tasks from its messages.

Every action is a function of the messages and a seed, so an agent reacts to changes of its input. It follows
the notes of its teammates literally; it fixes its own deliberate errors and no fault of others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.corpus import dsbench, mathchat
from benchmarks.corpus.styles import STYLES, Manner
from conf import ConfigError
from envs.types import Message

Script = Callable[[Sequence[Message], Manner], str]

_SCRIPTS: Mapping[str, Script] = {
    "data_engineer": dsbench.data_engineer,
    "modeler": dsbench.modeler,
    "analyst": dsbench.analyst,
    "problem_solver": mathchat.problem_solver,
    "code_executor": mathchat.code_executor,
    "verifier": mathchat.verifier,
}


class Team:
    """Plays every role of DSBench and MathChat on the bundled tasks."""

    @dataclass(frozen=True)
    class Config:
        style: str | None = None
        """One of ``styles.STYLES``; null: the seed selects one."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` for an unknown style."""
        if config.style is not None and config.style not in STYLES:
            raise ConfigError(f"style must be one of {', '.join(STYLES)}; got {config.style!r}")
        self.config = config

    def act(self, agent: str, messages: Sequence[Message], seed: int) -> str:
        """Returns the action of ``agent`` after ``messages``; the same messages and seed give the same
        action.

        Raises:
            KeyError: there is no such role.
            ValueError: it cannot read the task.
        """
        return _SCRIPTS[agent](messages, Manner.of(seed, self.config.style))
